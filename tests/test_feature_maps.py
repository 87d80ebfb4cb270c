"""Maps of networks at every pixel: where they lie, what they keep, and no trace of the position."""

import numpy as np
import pytest

import particle_nb as pnb
from particle_nb.core.errors import DataError, ModelError

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

from particle_nb.models.features import maps as feature_maps  # noqa: E402
from particle_nb.models.features.dinov2 import load  # noqa: E402
from particle_nb.models.features.imagenet import EfficientNetLite0, load_lite0  # noqa: E402
from particle_nb.models.features.views import view_averaged  # noqa: E402


def vit(folder, kind):
    """A small transformer at random in the real layout, its code of the position a strong one."""
    torch.manual_seed(0)
    sizes = {
        "hidden_size": 24,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "intermediate_size": 48,
        "initializer_range": 0.2,
    }
    if kind == "dinov2":
        config = transformers.Dinov2Config(**sizes, image_size=224, patch_size=14)
        model = transformers.Dinov2Model(config).eval()
    else:
        config = transformers.ViTConfig(**sizes, image_size=64, patch_size=8)
        model = transformers.ViTModel(config, add_pooling_layer=False).eval()
    with torch.no_grad():
        across = config.image_size // config.patch_size
        axis = torch.linspace(-3, 3, across)
        code = model.embeddings.position_embeddings
        code[0, 1:, 0] += axis.repeat_interleave(across)
        code[0, 1:, 1] += axis.repeat(across)
    model.save_pretrained(folder)
    return load(str(folder), "cpu")


def told(learned, asked):
    """Share of the variance of rows and columns that features (h, w, C) tell.

    Learned on one texture, asked on another: what is the same in both is the position alone.
    """
    rows, columns = np.mgrid[: learned.shape[0], : learned.shape[1]]
    y = np.stack([rows.ravel(), columns.ravel()], 1).astype(float)
    y -= y.mean(0)
    flat = learned.reshape(-1, learned.shape[2])
    centre, spread = flat.mean(0), flat.std(0) + 1e-9
    x, other = (
        np.hstack([(z.reshape(len(y), -1) - centre) / spread, np.ones((len(y), 1))])
        for z in (learned, asked)
    )
    weights = np.linalg.solve(x.T @ x + 1.0 * np.eye(x.shape[1]), x.T @ y)
    return 1 - ((y - other @ weights) ** 2).sum(0) / (y**2).sum(0)


@pytest.mark.parametrize("kind", ["dinov2", "vit"])
def test_the_position_cannot_be_told_on_one_texture(kind, tmp_path) -> None:
    model = vit(tmp_path, kind)
    patch = int(model.model.config.patch_size)
    side = 20 * patch
    views, cells = [], []
    for seed in (1, 2):
        grey = np.random.default_rng(seed).integers(90, 165, (side, side)).astype(np.uint8)
        found = model.maps(pnb.Image(grey))
        (plane,) = found.planes
        guide = found.guide.reshape(20, patch, 20, patch).mean((1, 3))[..., None]
        cells.append(plane.values + plane.slope * guide)
        # the same network looking once at as much as it takes
        once = grey[: model.side, : model.side, None].astype(np.float32) / 255
        picture = ((once - model.mean) / model.std).transpose(2, 0, 1).astype(np.float32)
        tokens = model._tokens(torch.from_numpy(np.ascontiguousarray(picture))[None])
        views.append(tokens[0].numpy())
    assert cells[0].shape[:2] == (20, 20)
    assert told(*cells).max() <= 0.05
    assert told(*views).min() > 0.3


def test_views_are_put_back_where_they_came_from() -> None:
    """A network that answers with the mean of each patch: averaging must change nothing."""
    picture = np.random.default_rng(0).normal(size=(3, 44, 37)).astype(np.float32)

    def means(views):
        return torch.nn.functional.avg_pool2d(views.mean(1, keepdim=True), 4).permute(0, 2, 3, 1)

    found = view_averaged(picture, 4, 16, means)[..., 0]
    framed = np.pad(picture.mean(0), [(0, 0), (0, 3)], mode="symmetric")
    wanted = framed.reshape(11, 4, 10, 4).mean((1, 3))
    np.testing.assert_allclose(found, wanted, atol=1e-5)


def test_maps_take_the_edges_of_the_picture() -> None:
    """Cells of 8 pixels across a step: the brought-up map has the step where the picture has it."""
    guide = np.zeros((96, 96), np.float32)
    guide[:, 43:] = 1
    picture = torch.from_numpy(guide)[None, None]
    coarse = torch.nn.functional.avg_pool2d(picture * 2 - 1, 8)
    plane = feature_maps.edge_plane(coarse, picture, ["a"], 8.0)
    dense = pnb.core.phases.DenseFeatures((plane,), (96, 96), guide)
    found = dense.maps()[48, :, 0]
    jump = np.diff(found)
    assert jump.argmax() == 42
    assert jump.max() > 5 * np.delete(jump, 42).max()


def test_a_large_picture_in_tiles_is_the_same_as_at_once(monkeypatch) -> None:
    torch.manual_seed(0)
    layer = torch.nn.Conv2d(1, 3, 5, stride=4, padding=2)
    picture = torch.rand(1, 1, 256, 320)
    with torch.inference_mode():
        whole = layer(picture)
        monkeypatch.setattr(feature_maps, "_TILE", 128)
        (parts,) = feature_maps.tiled(picture, lambda x: [layer(x)], [4])
    torch.testing.assert_close(parts, whole, atol=1e-5, rtol=1e-5)


def test_the_session_keeps_maps_within_its_budget() -> None:
    image = pnb.Image(np.random.default_rng(0).integers(0, 255, (70, 90)).astype(np.uint8))
    session = pnb.Session(device="cpu")
    found = session.feature_maps(image)
    assert session.feature_maps(image) is found
    assert found.maps(found.names[:2]).shape == (70, 90, 2)
    assert session.cache_info().nbytes == found.nbytes
    assert session.feature_model.digest in found.origin[0]
    poor = pnb.Session(device="cpu", cache_bytes=1000)
    poor.feature_maps(image, "filters")
    assert poor.cache_info().entries == 0
    with pytest.raises(DataError, match="'network' or 'filters'"):
        session.feature_maps(image, "all")

    class Rows:
        name, digest = "rows", "1"

        def extract(self, image, masks):
            return np.zeros((len(masks), 1), np.float32)

    with pytest.raises(ModelError, match="makes no maps"):
        pnb.Session(features=Rows()).feature_maps(image)


def test_both_kinds_of_features_by_default() -> None:
    rng = np.random.default_rng(0)
    truth = np.zeros((64, 96), int)
    truth[:, 48:] = 1
    image = pnb.Image(rng.normal(90 + 60 * truth, 12).clip(0, 255).astype(np.uint8))
    strokes = np.full(truth.shape, -1)
    strokes[8:14, 8:30], strokes[8:14, 60:90] = 0, 1
    session = pnb.Session(device="cpu")
    classifier = pnb.PhaseClassifier(session, settings=pnb.PhaseSettings(trees=20))
    phases = classifier.fit(image, strokes).predict(image)
    assert (phases.labels == truth).mean() > 0.97
    assert len(phases.info["features"]) == 2
    assert any(name.startswith("embedded.") for name in classifier.maps(image).names)


def test_efficientnet_maps_from_a_file_of_the_layout(tmp_path) -> None:
    torch.manual_seed(0)
    path = tmp_path / "lite0.pth"
    torch.save(EfficientNetLite0().state_dict(), path)
    model = load_lite0(str(path), "cpu")
    found = model.maps(pnb.Image(np.random.default_rng(0).normal(size=(70, 64))))
    assert [plane.stride for plane in found.planes] == [2, 4, 8, 16, 16]
    assert len(found.names) == 16 + 24 + 40 + 80 + 112
    assert found.licence == "Apache-2.0"
