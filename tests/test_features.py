"""Particle features through a small checkpoint with DINOv2's real layout, made here.

The truth of the pooling is the model's own tokens, averaged by hand over the mask.
"""

import json
import re

import numpy as np
import pytest

from particle_nb.core.errors import DataError, ModelError
from particle_nb.core.image import Image
from particle_nb.core.learning import particle_numbers
from particle_nb.core.masks import Mask, MaskSet
from particle_nb.models import MODELS, FeatureExtractor, load_model
from particle_nb.models.features import load

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

SIDE = 224


def checkpoint(folder, registers):
    torch.manual_seed(3)
    sizes = {
        "hidden_size": 24,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "image_size": 56,
        "patch_size": 14,
        "initializer_range": 0.2,
    }
    if registers:
        config = transformers.Dinov2WithRegistersConfig(**sizes, num_register_tokens=4)
        model = transformers.Dinov2WithRegistersModel(config).eval()
    else:
        model = transformers.Dinov2Model(transformers.Dinov2Config(**sizes)).eval()
    model.save_pretrained(folder)
    (folder / "preprocessor_config.json").write_text(
        json.dumps({"image_mean": [0.485, 0.456, 0.406], "image_std": [0.229, 0.224, 0.225]})
    )
    return model


@pytest.fixture(scope="module", params=[False, True], ids=["plain", "registers"])
def saved(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp("dino")
    return str(folder), checkpoint(folder, request.param), 5 if request.param else 1


def scene():
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 255, (400, 500)).astype(np.uint8)
    labels = np.zeros((400, 500), int)
    labels[20:60, 30:90] = 1
    labels[100:300, 200:400] = 2
    labels[390:400, 490:500] = 3
    labels[200, 10] = 4
    return Image(pixels), MaskSet.from_labels(labels)


def test_rows_are_the_masks_mean_tokens(saved) -> None:
    """A mask that fills its window exactly: the mean over all of the model's patch tokens."""
    folder, model, first = saved
    extractor = load(folder, "cpu")
    pixels = np.random.default_rng(1).integers(0, 255, (SIDE, SIDE)).astype(np.uint8)
    whole = MaskSet((Mask((0, 0), np.ones((SIDE, SIDE), bool), (SIDE, SIDE)),), (SIDE, SIDE))
    half = np.ones((SIDE, SIDE), bool)
    half[:, SIDE // 2 :] = False
    half[:, -1] = True  # keeps the window
    part = MaskSet((Mask((0, 0), half, (SIDE, SIDE)),), (SIDE, SIDE))
    mean = np.array([0.485, 0.456, 0.406], np.float32)
    std = np.array([0.229, 0.224, 0.225], np.float32)
    unit = (pixels[..., None].astype(np.float32) / 255 - mean) / std
    with torch.inference_mode():
        tokens = model(pixel_values=torch.from_numpy(unit.transpose(2, 0, 1)[None].copy()))
    tokens = tokens.last_hidden_state[0, first:].numpy()
    assert len(tokens) == 256
    np.testing.assert_allclose(
        extractor.extract(Image(pixels), whole)[0], tokens.mean(0), atol=1e-4
    )
    weights = half.reshape(16, 14, 16, 14).mean((1, 3)).ravel()
    wanted = (tokens * weights[:, None]).sum(0) / weights.sum()
    np.testing.assert_allclose(extractor.extract(Image(pixels), part)[0], wanted, atol=1e-4)


def test_through_the_session_and_cached(saved) -> None:
    from particle_nb.session import Session

    folder, _, _ = saved
    session = Session("classical", features=folder, device="cpu")
    image, masks = scene()
    rows = session.features(image, masks)
    ours = particle_numbers(image, masks)
    assert rows.shape == (4, 24 + ours.shape[1])
    assert rows.dtype == np.float32
    np.testing.assert_array_equal(np.asarray(rows)[:, : ours.shape[1]], ours.values)
    assert rows.names[-1] == "dinov2.23"
    assert np.isfinite(rows.columns("dinov2").values).all()
    assert (rows.model, rows.licence) == (folder, "Apache-2.0")
    assert isinstance(session.feature_model, FeatureExtractor)
    assert re.fullmatch(r"[0-9a-f]{16}", session.feature_model.digest)
    before = session.cache_info().hits
    assert session.features(image, masks) is rows
    assert session.cache_info().hits == before + 1
    assert session.features(image, MaskSet((), image.shape)).shape == (0, 24 + ours.shape[1])


def test_any_image_and_batch_gives_the_same_rows(saved) -> None:
    """Rows do not depend on what else is asked for; 16-bit and RGB images go in as well."""
    folder, _, _ = saved
    extractor = load(folder, "cpu")
    image, masks = scene()
    many = MaskSet(tuple(masks) * 5, masks.shape)
    rows = extractor.extract(image, many)
    np.testing.assert_allclose(rows[:4], extractor.extract(image, masks), atol=1e-5)
    np.testing.assert_allclose(rows[16:], rows[:4], atol=1e-5)
    colour = Image(np.repeat(image.pixels[..., None], 3, 2))
    np.testing.assert_allclose(extractor.extract(colour, masks), rows[:4], atol=1e-5)
    deep = extractor.extract(Image(image.pixels.astype(np.uint16) * 257), masks)
    assert deep.shape == (4, 24)


def test_bad_sources_say_what_to_do(saved, tmp_path) -> None:
    folder, _, _ = saved
    assert MODELS["dinov2"].kind == "features"
    with pytest.raises(ModelError, match="hf download facebook/dinov2-base"):
        load_model("nowhere", "features")
    config = tmp_path / "config.json"
    config.write_text(json.dumps({"model_type": "dinov2"}))
    with pytest.raises(ModelError, match="safetensors"):
        load(str(tmp_path))
    config.write_text(json.dumps({"model_type": "bert"}))
    with pytest.raises(ModelError, match="feature models are dinov2"):
        load(str(tmp_path))
    image, _ = scene()
    with pytest.raises(DataError, match="frame"):
        load(folder).extract(image, MaskSet((), (3, 3)))
    broken = load(folder)
    with torch.no_grad():
        broken.model.layernorm.bias.fill_(float("nan"))
    with pytest.raises(ModelError, match="NaN"):
        broken.extract(image, scene()[1])
