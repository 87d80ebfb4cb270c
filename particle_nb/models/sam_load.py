"""Finding SAM's weights and making a model of them: hub cache, folder, official checkpoint."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from particle_nb.core.errors import ModelError
from particle_nb.models.sam_convert import config_of, read_checkpoint, sizes_of, to_transformers
from particle_nb.models.sam_input import Preprocessing

_SUFFIXES = (".pth", ".pt", ".safetensors")
_HUB = "hf download facebook/sam-vit-base"
#: Set to 1 to let a hub id that is not in the cache be downloaded.
DOWNLOAD = "PARTICLE_NB_DOWNLOAD"


def pick_device(device: str) -> torch.device:
    """Return the device for ``"auto"``, ``"cpu"``, ``"cuda"``, ``"cuda:1"`` or ``"mps"``.

    Raises
    ------
    ModelError
        If the name is unknown or the machine has no such device.

    Examples
    --------
    >>> pick_device("cpu")
    device(type='cpu')
    """
    if device == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        chosen = torch.device(device)
    except (RuntimeError, TypeError):
        chosen = None
    if chosen is None or chosen.type not in ("cpu", "cuda", "mps"):
        raise ModelError(f"unknown device {device!r}; use 'auto', 'cpu', 'cuda' or 'mps'.")
    there = {
        "cpu": True,
        "cuda": torch.cuda.is_available() and (chosen.index or 0) < torch.cuda.device_count(),
        "mps": torch.backends.mps.is_available(),
    }
    if not there[chosen.type]:
        raise ModelError(f"this machine has no device {device!r}; use device='auto' or 'cpu'.")
    return chosen


def multiplies_bf16(device: torch.device) -> bool:
    """Whether the device's own hardware multiplies bfloat16: NVIDIA's from Ampere on, and AMD's.

    Older cards, a CPU without AMX and Apple's chips emulate it, which is slower than float32.

    Examples
    --------
    >>> multiplies_bf16(torch.device("cpu"))
    False
    """
    return device.type == "cuda" and torch.cuda.get_device_capability(device)[0] >= 8


def weights_digest(tensors: Mapping[str, torch.Tensor]) -> str:
    """Return SHA-256 over names, shapes, dtypes and values, 16 hex digits."""
    digest = hashlib.sha256()
    for key in sorted(tensors):
        value = tensors[key].detach().cpu().contiguous()
        digest.update(f"{key} {value.dtype} {tuple(value.shape)}\n".encode())
        digest.update(value.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()[:16]


def load_weights(source: str) -> tuple[Any, str, Preprocessing]:
    """Find a SAM and return (transformers.SamModel on the CPU, its name, its preprocessing).

    Parameters
    ----------
    source : str
        A local folder with config.json and safetensors, an official checkpoint
        (.pth, .pt, .safetensors), or a hub id in the local cache.

    Raises
    ------
    ModelError
        If nothing is found there, or what is found is damaged or no SAM.
    """
    if not isinstance(source, str) or not source.strip():
        raise ModelError(
            "which SAM? Give a hub id (facebook/sam-vit-huge), a folder with config.json, or an "
            f"official sam_vit_*.pth file. Get one with: {_HUB}"
        )
    path = Path(source).expanduser()
    if path.is_dir():
        return _from_folder(path, path.name)
    if path.is_file() or path.suffix in _SUFFIXES:
        return _from_checkpoint(path)
    return _from_folder(cached(source), source)


def _from_checkpoint(path: Path) -> tuple[Any, str, Preprocessing]:
    from transformers import SamModel

    tensors = read_checkpoint(path)
    sizes = sizes_of(tensors)
    config = config_of(sizes)
    with torch.device("meta"):  # no memory and no time for random weights
        model = SamModel._from_config(config, attn_implementation="sdpa")
    renamed = {k: v.float() for k, v in to_transformers(tensors).items()}
    wanted = {k: tuple(v.shape) for k, v in model.state_dict().items()}
    missing = sorted(set(wanted) - set(renamed))
    wrong = sorted(k for k in wanted if k in renamed and tuple(renamed[k].shape) != wanted[k])
    if missing or wrong:
        problem = f"lacks {missing[0]!r}" if missing else f"has {wrong[0]!r} in another shape"
        raise ModelError(
            f"{str(path)!r} {problem} ({len(missing)} missing, {len(wrong)} misshapen tensors); "
            "it is incomplete or not a plain SAM ViT."
        )
    model.load_state_dict({k: renamed[k] for k in wanted}, assign=True)
    return model.eval(), path.stem, Preprocessing(sizes.image, original=True)


def cached(source: str) -> Path:
    """Return the folder of a hub id, downloading only where that was asked for."""
    from huggingface_hub import constants, snapshot_download
    from huggingface_hub.errors import (
        HfHubHTTPError,
        HFValidationError,
        LocalEntryNotFoundError,
        OfflineModeIsEnabled,
    )

    offline = constants.is_offline_mode() if hasattr(constants, "is_offline_mode") else False
    offline = offline or os.environ.get("HF_HUB_OFFLINE", "").lower() in ("1", "true", "yes", "on")
    asked = os.environ.get(DOWNLOAD, "").lower() in ("1", "true", "yes", "on")
    where = os.environ.get("HF_HUB_CACHE") or constants.HF_HUB_CACHE
    patterns = [
        "config.json",
        "preprocessor_config.json",
        "*.safetensors",
        "*.safetensors.index.json",
    ]
    try:
        return Path(
            snapshot_download(
                source,
                cache_dir=where,
                allow_patterns=patterns,
                local_files_only=offline or not asked,
            )
        )
    except HFValidationError:
        raise ModelError(
            f"no SAM {source!r}: it is neither a folder, nor a checkpoint file, nor a hub id of "
            f"the form owner/name. Get one with: {_HUB}"
        ) from None
    except (LocalEntryNotFoundError, OfflineModeIsEnabled):
        why = "; HF_HUB_OFFLINE is set" if offline else ""
        raise ModelError(
            f"the model {source!r} is not in the local cache ({where}) and there is no folder or "
            f"file of that name{why}. Get it with: hf download {source}  (or set {DOWNLOAD}=1 to "
            "let particle_nb download it)."
        ) from None
    except (HfHubHTTPError, OSError) as error:
        raise ModelError(
            f"the download of {source!r} failed ({str(error).splitlines()[0]}). "
            f"Check the name and the network, or run: hf download {source}"
        ) from None


def _from_folder(folder: Path, name: str) -> tuple[Any, str, Preprocessing]:
    from safetensors import SafetensorError
    from transformers import SamConfig, SamModel

    config = _json(folder / "config.json", name)
    if config.get("model_type") != "sam":
        raise ModelError(
            f"{name!r} is a {config.get('model_type')!r} model, not SAM ('sam'); "
            "SAM 2 and SAM-HQ are other models."
        )
    if not list(folder.glob("*.safetensors")):
        raise ModelError(
            f"{str(folder)!r} has a config.json but no *.safetensors; get the whole model with: "
            f"hf download {name}"
        )
    try:
        loaded: Any = SamModel.from_pretrained(
            folder,
            config=SamConfig.from_dict(config),
            local_files_only=True,
            use_safetensors=True,
            dtype=torch.float32,
            attn_implementation="sdpa",
            output_loading_info=True,
        )
    except (OSError, ValueError, RuntimeError, KeyError, TypeError, SafetensorError) as error:
        raise ModelError(
            f"the weights in {str(folder)!r} cannot be read ({str(error).splitlines()[0]}); "
            f"get them again with: hf download {name} --force-download"
        ) from None
    model, report = loaded
    missing = sorted(report["missing_keys"])
    if missing or report.get("mismatched_keys"):
        raise ModelError(
            f"the weights in {str(folder)!r} lack {len(missing)} tensors of SAM, e.g. "
            f"{(missing or sorted(map(str, report['mismatched_keys'])))[0]!r}."
        )
    side = int(model.config.vision_config.image_size)
    saved = folder / "preprocessor_config.json"
    given = _json(saved, name) if saved.is_file() else {}
    plain = Preprocessing(side)
    try:
        mean = tuple(float(v) for v in given.get("image_mean", plain.mean))
        std = tuple(float(v) for v in given.get("image_std", plain.std))
    except (TypeError, ValueError):
        mean, std = (), ()
    if len(mean) != 3 or len(std) != 3 or not all(v > 0 for v in std):
        raise ModelError(f"{str(saved)!r} has no usable image_mean and image_std.")
    return model.eval(), name, Preprocessing(side, mean=mean, std=std)


def _json(path: Path, name: str) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ModelError(
            f"{str(path.parent)!r} has no {path.name}; a model folder holds config.json and "
            f"*.safetensors, as written by: hf download {name} --local-dir FOLDER"
        ) from None
    except (OSError, ValueError) as error:
        raise ModelError(f"{str(path)!r} cannot be read: {error}.") from None
    if not isinstance(content, dict):
        raise ModelError(f"{str(path)!r} is no JSON object.")
    return content
