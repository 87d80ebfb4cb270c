"""Depth models of the real layout, made small: load, orient, cut, blend.

The truth of the blending is a known surface seen through squares with random scale and offset.
"""

import json

import numpy as np
import pytest

from particle_nb.core.errors import ImageError, ModelError
from particle_nb.core.image import Image
from particle_nb.core.masks import Mask
from particle_nb.models.depth import ORIENTATION, load, orientation_score
from particle_nb.models.tiles import DepthSettings, estimate_tiled, particle_window

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")


def save(model, folder, **preprocessor):
    model.save_pretrained(folder)
    if preprocessor:
        (folder / "preprocessor_config.json").write_text(json.dumps(preprocessor))
    return str(folder)


@pytest.fixture(scope="module")
def dpt(tmp_path_factory):
    torch.manual_seed(1)
    config = transformers.DPTConfig(
        hidden_size=32,
        num_hidden_layers=4,
        num_attention_heads=2,
        intermediate_size=48,
        image_size=64,
        patch_size=16,
        backbone_out_indices=[0, 1, 2, 3],
        neck_hidden_sizes=[8, 8, 8, 8],
        fusion_hidden_size=8,
        initializer_range=0.2,
    )
    model = transformers.DPTForDepthEstimation(config).eval()
    with torch.no_grad():  # the last layer ends in a ReLU: keep it from putting out all zeros
        model.head.head[-2].bias.fill_(3.0)
    folder = tmp_path_factory.mktemp("dpt")
    size = {"height": 64, "width": 64}
    return save(model, folder, size=size, image_mean=[0.5] * 3, image_std=[0.5] * 3), model


@pytest.fixture(scope="module")
def depth_anything(tmp_path_factory):
    def make(kind):
        torch.manual_seed(2)
        backbone = transformers.Dinov2Config(
            hidden_size=24,
            num_hidden_layers=4,
            num_attention_heads=2,
            image_size=70,
            patch_size=14,
            out_indices=[1, 2, 3, 4],
            reshape_hidden_states=False,
            apply_layernorm=True,
            initializer_range=0.2,
        )
        config = transformers.DepthAnythingConfig(
            backbone_config=backbone,
            reassemble_hidden_size=24,
            neck_hidden_sizes=[8, 8, 8, 8],
            fusion_hidden_size=8,
            head_hidden_size=4,
            depth_estimation_type=kind,
            max_depth=20 if kind == "metric" else None,
        )
        model = transformers.DepthAnythingForDepthEstimation(config).eval()
        with torch.no_grad():
            model.head.conv3.bias.fill_(0.5)
        folder = tmp_path_factory.mktemp(kind)
        return save(model, folder, size={"height": 70, "width": 70})

    return make


def picture(shape=(64, 64), seed=0):
    return Image(np.random.default_rng(seed).integers(0, 255, shape, dtype=np.uint8))


def test_square_input_gives_what_transformers_gives(dpt):
    folder, model = dpt
    image = picture()
    pixels = np.repeat(image.pixels[None], 3, 0).astype(np.float32) / 255 * 2 - 1
    with torch.no_grad():
        truth = model(torch.from_numpy(pixels[None])).predicted_depth[0].numpy()
    assert truth.shape == (64, 64)
    assert truth.std() > 1e-3  # else any output would do
    found = load(folder, "cpu").estimate(image)
    np.testing.assert_allclose(found, truth, rtol=1e-5, atol=1e-5 * np.abs(truth).max())


@pytest.mark.parametrize("shape", [(48, 131), (200, 64), (33, 33)])
def test_any_shape_goes_through_as_squares(dpt, shape):
    found = load(dpt[0], "cpu").estimate(picture(shape))
    assert found.shape == shape
    assert found.dtype == np.float32
    assert np.isfinite(found).all()
    assert found.std() > 0


def test_a_window_is_seen_at_the_models_resolution(dpt):
    model, image = load(dpt[0], "cpu"), picture((300, 400))
    found = model.estimate(image, (100, 50, 164, 114))
    np.testing.assert_array_equal(found, model.estimate(Image(image.pixels[50:114, 100:164])))
    with pytest.raises(ImageError, match="does not lie within"):
        model.estimate(image, (100, 50, 500, 114))


def test_orientation_follows_the_type(depth_anything, dpt):
    relative, metric = depth_anything("relative"), depth_anything("metric")
    image = picture((70, 70))
    near = load(relative, "cpu")
    assert (near.sign, near.side) == (1, 70)
    far = load(metric, "cpu")
    assert far.sign == -1
    assert (far.estimate(image) < 0).all()  # metres from the camera, turned over
    turned = load(metric, "cpu", DepthSettings(orientation="nearer"))
    np.testing.assert_array_equal(turned.estimate(image), -far.estimate(image))
    assert load(dpt[0], "cpu").sign == 1
    assert ORIENTATION["zoedepth"] == -1


def test_zoedepth_loads_and_is_turned_over(tmp_path):
    torch.manual_seed(3)
    backbone = transformers.BeitConfig(
        hidden_size=32,
        num_hidden_layers=4,
        num_attention_heads=2,
        intermediate_size=32,
        image_size=64,
        patch_size=16,
        out_indices=[1, 2, 3, 4],
        reshape_hidden_states=False,
        use_relative_position_bias=True,
    )
    config = transformers.ZoeDepthConfig(
        backbone_config=backbone,
        neck_hidden_sizes=[8, 8, 8, 8],
        fusion_hidden_size=8,
        bottleneck_features=8,
        num_relative_features=4,
        bin_embedding_dim=8,
        num_attractors=[4, 2, 2, 1],
        bin_configurations=[{"n_bins": 8, "min_depth": 0.001, "max_depth": 10.0, "name": "nyu"}],
    )
    folder = save(transformers.ZoeDepthForDepthEstimation(config).eval(), tmp_path)
    found = load(folder, "cpu").estimate(picture((80, 64)))
    assert found.shape == (80, 64)
    assert (found < 0).all()


def test_digest_follows_the_weights(dpt, tmp_path):
    folder, model = dpt
    assert load(folder, "cpu").digest == load(folder, "cpu").digest
    other = transformers.DPTForDepthEstimation(model.config)
    assert load(save(other, tmp_path), "cpu").digest != load(folder, "cpu").digest


def test_tiles_with_their_own_scale_join_without_a_seam():
    y, x = np.mgrid[:180, :260]
    truth = np.sin(x / 40) + 0.7 * np.cos(y / 30) + 0.05 * np.sin(x / 5) * np.cos(y / 4)
    rgb = np.repeat(np.rint((truth + 2) * 60).astype(np.uint8)[..., None], 3, 2)
    rng = np.random.default_rng(5)

    def squares(parts):
        return [rng.uniform(0.3, 3) * (p[..., 0] / 60.0 - 2) + rng.uniform(-9, 9) for p in parts]

    found = estimate_tiled(rgb, squares, DepthSettings(tile=80))
    seen = rgb[..., 0] / 60.0 - 2
    fit = np.polyfit(seen.ravel(), found.ravel(), 1)
    assert fit[0] > 0
    assert np.abs(np.polyval(fit, seen) - found).max() < 1e-3 * np.ptp(found)


def test_particle_window_is_square_and_inside():
    mask = Mask((0, 40), np.ones((30, 60), bool), (200, 300))
    x0, y0, x1, y1 = particle_window(mask, 0.25)
    assert (x1 - x0, y1 - y0) == (90, 90)
    assert x0 <= 40
    assert x1 >= 100
    assert y0 == 0


def test_orientation_score_sees_a_swap():
    class Ball:
        name = digest = ""

        def __init__(self, sign):
            self.sign = sign

        def estimate(self, image, window=None):
            n = image.shape[0]
            y, x = np.mgrid[:n, :n] - (n - 1) / 2
            return self.sign * -np.hypot(x, y)

    assert orientation_score(Ball(1)) > 0.9
    assert orientation_score(Ball(-1)) < -0.9


def test_nothing_is_fetched_unasked(tmp_path, monkeypatch, dpt):
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    monkeypatch.delenv("PARTICLE_NB_DOWNLOAD", raising=False)
    with pytest.raises(ModelError, match="hf download Intel/dpt-large"):
        load("Intel/dpt-large", "cpu")
    with pytest.raises(ModelError, match="neither a folder nor a hub id"):
        load("no such place at all", "cpu")
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    with pytest.raises(ModelError, match="'bert' model; known depth models"):
        load(str(tmp_path), "cpu")
    (tmp_path / "config.json").write_text('{"model_type": "dpt"}')
    with pytest.raises(ModelError, match=r"no \*\.safetensors"):
        load(str(tmp_path), "cpu")
    (tmp_path / "config.json").write_text(dpt[1].config.to_json_string())
    (tmp_path / "model.safetensors").write_bytes(b"\0" * 64)
    with pytest.raises(ModelError, match="cannot be read"):
        load(str(tmp_path), "cpu")


def test_a_checkpoint_with_missing_weights_is_refused(dpt, tmp_path):
    from safetensors.torch import load_file, save_file

    folder, model = dpt
    tensors = load_file(f"{folder}/model.safetensors")
    unused = {k: v for k, v in tensors.items() if "layers.0.residual_layer1" not in k}
    assert len(unused) < len(tensors)
    (tmp_path / "config.json").write_text(model.config.to_json_string())
    save_file(unused, tmp_path / "model.safetensors", {"format": "pt"})
    image = picture()  # official DPT files lack these, and the forward pass never reads them
    np.testing.assert_array_equal(
        load(str(tmp_path), "cpu").estimate(image), load(folder, "cpu").estimate(image)
    )
    partial = {k: v for k, v in tensors.items() if not k.startswith("head")}
    save_file(partial, tmp_path / "model.safetensors", {"format": "pt"})
    with pytest.raises(ModelError, match=r"lack .* tensors"):
        load(str(tmp_path), "cpu")


@pytest.mark.parametrize("wrong", [{"tile": 4}, {"overlap": 0.9}, {"orientation": "up"}])
def test_settings_are_checked(wrong):
    with pytest.raises(ModelError):
        DepthSettings(**wrong)
