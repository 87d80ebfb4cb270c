"""Loading SAM: folders, official checkpoints, the hub cache, and everything that can be wrong.

Truth: the two packages' own names and sizes; the layout of huggingface_hub's cache.
"""

from __future__ import annotations

import copy
import json
import os
import pickle
import re
import shutil
import sys

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from sam_weights import official, random_sam, save

from particle_nb.core.errors import ModelError
from particle_nb.models import Segmenter, load_model
from particle_nb.models.sam import load, load_original
from particle_nb.models.sam.checkpoint import config_of, sizes_of, to_transformers
from particle_nb.models.sam.decoder import FastDecoder, Workspace
from particle_nb.models.weights import multiplies_bf16, pick_device, weights_digest

SIDE = 256  # of the encoder's input: a small SAM with SAM's own decoder


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    model = random_sam(seed=0, hidden=64, layers=2, side=SIDE, mlp=64)
    return model, *save(model, tmp_path_factory.mktemp("sam"))


@pytest.fixture(scope="module")
def sam(weights):
    return load(str(weights[1]), "cpu")


def test_folder_and_official_file_are_the_same_weights(weights, sam):
    again = load(str(weights[2]), "cpu")
    assert again.digest == sam.digest
    assert len(sam.digest) == 16
    assert int(sam.digest, 16) >= 0
    assert (sam.name, again.name) == ("sam_vit_test", "sam_vit_test")
    assert isinstance(sam, Segmenter)
    assert not sam.model.training
    # each home rounds its own way
    assert sam.model.config.mask_decoder_config.layer_norm_eps == 1e-6
    assert again.model.config.mask_decoder_config.layer_norm_eps == 1e-5


def test_another_weight_is_another_digest(weights, sam, tmp_path):
    tensors = official(weights[0])
    tensors["mask_decoder.iou_token.weight"][0, 0] += 1
    torch.save(tensors, tmp_path / "other.pth")
    assert load(str(tmp_path / "other.pth"), "cpu").digest != sam.digest


def test_load_model_finds_it(weights, sam):
    assert load_model(str(weights[1]), "segmenter", "cpu").digest == sam.digest
    assert load_model(f"sam:{weights[2]}", "segmenter", "cpu").digest == sam.digest


@pytest.mark.parametrize("wrapper", ["model_state", "state_dict", "model"])
def test_training_checkpoints_of_that_format(wrapper, weights, sam, tmp_path):
    tensors = {f"sam.{k}": v for k, v in official(weights[0]).items()}
    torch.save({wrapper: tensors, "epoch": 3}, tmp_path / "best.pt")
    assert load(str(tmp_path / "best.pt"), "cpu").digest == sam.digest


# Table of sizes: Kirillov et al. 2023, appendix A; the package's build_sam.py
@pytest.mark.parametrize(
    ("name", "hidden", "layers", "heads", "attend"),
    [
        ("vit_b", 768, 12, 12, (2, 5, 8, 11)),
        ("vit_l", 1024, 24, 16, (5, 11, 17, 23)),
        ("vit_h", 1280, 32, 16, (7, 15, 23, 31)),
    ],
)
def test_sizes_are_recognised_from_the_tensors(name, hidden, layers, heads, attend, weights):
    """The big ones by shape alone: meta tensors take no memory."""
    head = hidden // heads
    tensors = dict(official(weights[0]))
    for key in [k for k in tensors if k.startswith("image_encoder.blocks.")]:
        del tensors[key]
    meta = {"device": "meta"}
    tensors["image_encoder.patch_embed.proj.weight"] = torch.empty(hidden, 3, 16, 16, **meta)
    tensors["image_encoder.pos_embed"] = torch.empty(1, 64, 64, hidden, **meta)
    for i in range(layers):
        reach = 127 if i in attend else 27
        block = f"image_encoder.blocks.{i}"
        tensors[f"{block}.attn.rel_pos_h"] = torch.empty(reach, head, **meta)
        tensors[f"{block}.mlp.lin1.weight"] = torch.empty(4 * hidden, hidden, **meta)
    sizes = sizes_of(tensors)
    assert sizes.name == name
    assert (sizes.heads, sizes.global_layers, sizes.window) == (heads, attend, 14)
    config = config_of(sizes).vision_config
    assert (config.image_size, config.hidden_size, config.num_hidden_layers) == (
        1024, hidden, layers,
    )  # fmt: skip


def test_conversion_names_every_tensor(weights):
    model, *_ = weights
    renamed = to_transformers(official(model))
    expected = model.state_dict()
    assert set(renamed) == set(expected)
    assert all(torch.equal(renamed[k], expected[k]) for k in expected)


class _Evil:
    def __reduce__(self):
        return (eval, ("__import__('os').environ.__setitem__('PWNED', '1')",))


def test_a_malicious_pickle_is_refused_and_not_run(tmp_path, monkeypatch):
    monkeypatch.delenv("PWNED", raising=False)
    torch.save({"x": _Evil()}, tmp_path / "evil.pth")
    (tmp_path / "plain.pth").write_bytes(pickle.dumps(_Evil(), protocol=2))
    for name in ("evil.pth", "plain.pth"):
        with pytest.raises(ModelError, match="run code"):
            load(str(tmp_path / name), "cpu")
    assert "PWNED" not in os.environ


def test_damaged_and_foreign_files(weights, tmp_path):
    whole = weights[2].read_bytes()
    (tmp_path / "half.pth").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "empty.pth").write_bytes(b"")
    (tmp_path / "text.pth").write_text("not a checkpoint")
    (tmp_path / "short.safetensors").write_bytes(b"\x10\0\0\0\0\0\0\0{}")
    torch.save({"fc.weight": torch.zeros(2, 2)}, tmp_path / "other.pth")
    torch.save([1, 2], tmp_path / "list.pth")
    lacking = official(weights[0])
    del lacking["mask_decoder.transformer.norm_final_attn.weight"]
    torch.save(lacking, tmp_path / "lacking.pth")
    for name, words in {
        "half.pth": "truncated|damaged",
        "empty.pth": "empty",
        "text.pth": "no PyTorch checkpoint|damaged|cannot be read|truncated",
        "short.safetensors": "safetensors",
        "other.pth": "another model",
        "list.pth": "a list",
        "lacking.pth": "lacks 'mask_decoder.transformer.layer_norm_final_attn.weight'",
        "missing.pth": "no checkpoint at",
    }.items():
        with pytest.raises(ModelError, match=words):
            load(str(tmp_path / name), "cpu")


def test_folders_that_are_no_sam(weights, tmp_path):
    with pytest.raises(ModelError, match=r"no config\.json"):
        load(str(tmp_path), "cpu")
    (tmp_path / "config.json").write_text('{"model_type": "sam2"}')
    with pytest.raises(ModelError, match="'sam2' model"):
        load(str(tmp_path), "cpu")
    config = json.loads((weights[1] / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(ModelError, match=r"no \*\.safetensors"):
        load(str(tmp_path), "cpu")
    whole = (weights[1] / "model.safetensors").read_bytes()
    (tmp_path / "model.safetensors").write_bytes(whole[:-1000])
    with pytest.raises(ModelError, match="cannot be read"):
        load(str(tmp_path), "cpu")


def test_a_hub_id_is_not_fetched_unasked(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    monkeypatch.delenv("PARTICLE_NB_DOWNLOAD", raising=False)
    with pytest.raises(ModelError, match="hf download owner/no-such-sam") as error:
        load("owner/no-such-sam", "cpu")
    assert str(tmp_path) in str(error.value)
    monkeypatch.setenv("PARTICLE_NB_DOWNLOAD", "1")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(ModelError, match="HF_HUB_OFFLINE"):
        load("owner/no-such-sam", "cpu")


def test_a_hub_id_in_the_cache_loads(weights, sam, tmp_path, monkeypatch):
    """The cache's layout is huggingface_hub's: refs/main names the snapshot."""
    repository = tmp_path / "models--owner--tiny-sam"
    snapshot = repository / "snapshots" / "0123abc"
    snapshot.mkdir(parents=True)
    for file in weights[1].iterdir():
        (snapshot / file.name).write_bytes(file.read_bytes())
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text("0123abc")
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    found = load("owner/tiny-sam", "cpu")
    assert (found.name, found.digest) == ("owner/tiny-sam", sam.digest)


@pytest.mark.parametrize("source", ["", "   ", "a b/c d/e", None, 7])
def test_sources_that_name_nothing(source):
    with pytest.raises(ModelError):
        load(source, "cpu")


def test_devices():
    assert pick_device("cpu").type == "cpu"
    with pytest.raises(ModelError, match="unknown device"):
        pick_device("abacus")
    if not torch.cuda.is_available():
        with pytest.raises(ModelError, match="no device"):
            pick_device("cuda")


@pytest.mark.parametrize(("generation", "fast"), [((7, 5), False), ((8, 0), True), ((9, 0), True)])
def test_bf16_is_for_hardware_that_multiplies_it(generation, fast, monkeypatch):
    """Turing only emulates it, Ampere and Hopper do not; the second card is asked for itself."""
    asked = []
    monkeypatch.setattr(
        torch.cuda, "get_device_capability", lambda device: asked.append(device) or generation
    )
    assert multiplies_bf16(torch.device("cuda:1")) is fast
    assert asked == [torch.device("cuda:1")]
    assert not multiplies_bf16(torch.device("cpu"))
    assert not multiplies_bf16(torch.device("mps"))


@pytest.mark.parametrize("chunk", [1, 4])
def test_the_decoder_stays_on_its_device(chunk, weights):
    """On torch's meta device an operation with a tensor left on the CPU fails."""
    model = copy.deepcopy(weights[0]).to("meta")
    with torch.device("meta"), torch.inference_mode():
        decoder = FastDecoder(model)
    space = Workspace(decoder.device)
    with torch.inference_mode():
        image = torch.empty(decoder.grid**2, 256, device="meta")
        shared = decoder.share(image, decoder.no_mask())
        points = decoder.coordinates(np.zeros((4, 1, 2)))
        labels = torch.ones(4, 1, dtype=torch.int64, device="meta")
        boxes = decoder.coordinates(np.zeros((4, 4)))
        iou, tokens, keys = decoder.tokens(
            shared, decoder.sparse(points, labels, boxes), space, chunk
        )
        logits = decoder.masks(tokens, keys, space, chunk)
        drawn = decoder.dense(torch.empty(decoder.low, decoder.low, device="meta"))
    for tensor in (iou, tokens, keys, logits, drawn, *shared.values()):
        assert tensor.device.type == "meta"
        assert tensor.dtype == torch.float32
    assert iou.shape == (4, 4)
    assert logits.shape == (4, 3, decoder.low, decoder.low)


def test_the_original_package_is_optional(weights, monkeypatch):
    monkeypatch.setitem(sys.modules, "segment_anything.modeling", None)
    with pytest.raises(ModelError, match="pip install segment-anything torchvision"):
        load_original(str(weights[2]), "cpu")
    with pytest.raises(ModelError, match="which checkpoint"):
        load_original("", "cpu")


# ------------------------------------------------------- tensors that a plain SAM has no place for

ADAPTERS = {
    "LoRA": "image_encoder.blocks.0.attn.qkv.linear_a_q.weight",
    "an adapter": "image_encoder.blocks.1.MLP_Adapter.D_fc1.weight",
    "HQ-SAM": "mask_decoder.hf_token.weight",
    "": "image_encoder.blocks.0.extra.weight",
}


@pytest.mark.parametrize("kind", ADAPTERS)
@pytest.mark.parametrize("end", ["pth", "safetensors"])
def test_a_tuned_checkpoint_is_not_loaded_as_the_untuned_one(kind, end, weights, tmp_path):
    tensors = official(weights[0])
    tensors[ADAPTERS[kind]] = torch.ones(2, 3)
    path = tmp_path / f"tuned.{end}"
    if end == "pth":
        torch.save({"model_state": tensors}, path)
    else:
        save_file(tensors, path)
    words = f"1 tensors that a plain SAM has no place for.*{re.escape(ADAPTERS[kind])}"
    with pytest.raises(ModelError, match=words) as told:
        load(str(path), "cpu")
    assert ("they look like " + kind in str(told.value)) is bool(kind)


def test_pixel_statistics_are_no_adapter(weights, sam, tmp_path):
    tensors = official(weights[0])
    tensors["pixel_mean"] = torch.tensor([123.675, 116.28, 103.53])[:, None, None]
    tensors["pixel_std"] = torch.tensor([58.395, 57.12, 57.375])[:, None, None]
    torch.save(tensors, tmp_path / "a.pth")
    assert load(str(tmp_path / "a.pth"), "cpu").digest == sam.digest
    tensors["pixel_mean"] = torch.zeros(3)
    torch.save(tensors, tmp_path / "b.pth")
    with pytest.raises(ModelError, match="pixel_mean"):
        load(str(tmp_path / "b.pth"), "cpu")


def test_two_models_in_one_checkpoint(weights, tmp_path):
    tensors = official(weights[0])
    both = tensors | {f"model.{key}": value + 1 for key, value in tensors.items()}
    torch.save(both, tmp_path / "two.pth")
    with pytest.raises(ModelError, match="twice, of two models"):
        load(str(tmp_path / "two.pth"), "cpu")


def test_a_folder_with_an_adapter(weights, tmp_path):
    folder = tmp_path / "tuned"
    shutil.copytree(weights[1], folder)
    tensors = load_file(folder / "model.safetensors")
    tensors["vision_encoder.layers.0.attn.lora_A.weight"] = torch.ones(2, 3)
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ModelError, match=r"no place for.*lora_A.*LoRA"):
        load(str(folder), "cpu")
    shutil.copytree(weights[1], tmp_path / "peft")
    (tmp_path / "peft" / "adapter_config.json").write_text("{}")
    with pytest.raises(ModelError, match="merge_and_unload"):
        load(str(tmp_path / "peft"), "cpu")


def test_every_tensor_is_in_the_digest(weights, tmp_path):
    """One value more or less in any of them is another digest."""
    plain = weights_digest(official(weights[0]))
    for key, value in official(weights[0]).items():
        changed = official(weights[0])
        changed[key] = value.clone()
        changed[key].view(-1)[-1] += 1
        assert weights_digest(changed) != plain, key
