"""Weights of every model: hub, folder or file, digest, device; errors that say what to do."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open

from particle_nb.core.errors import ModelError
from particle_nb.core.files import atomic


def read_weights(
    source: str, own: Path, script: str
) -> tuple[Path, dict[str, torch.Tensor], dict[str, str]]:
    """The file, its tensors as stored, and metadata.

    Parameters
    ----------
    source : str
        Path of a .safetensors file; empty for `own`, the one of the package.
    own : Path
    script : str
        The module of ``training`` that makes such weights.

    Raises
    ------
    ModelError
        If the file is missing or is no safetensors file.

    Examples
    --------
    >>> read_weights("no such file", Path("depth.safetensors"), "depth.train")
    Traceback (most recent call last):
    ...
    particle_nb.core.errors.ModelError: ...
    """
    if not isinstance(source, str):
        raise ModelError(f"weights are named by a path as text, not {source!r}.")
    path = Path(source).expanduser() if source else own
    if not path.is_file():
        raise ModelError(
            f"no weights at {path}; reinstall particle-nb, or train them with "
            f"`python -m training.{script}` in a checkout of its repository."
        )
    try:
        with safe_open(str(path), framework="pt") as stream:
            stored = {key: stream.get_tensor(key) for key in stream.keys()}  # noqa: SIM118
            return path, stored, stream.metadata() or {}
    except (SafetensorError, OSError) as error:
        raise ModelError(f"{path} cannot be read as safetensors: {error}") from None


def parse_weights(data: bytes, what: str) -> tuple[dict[str, torch.Tensor], dict[str, str]]:
    """The tensors and metadata that the bytes of a safetensors file hold.

    Raises
    ------
    ModelError
        If they are no such file; `what` names them in the message.

    Examples
    --------
    >>> parse_weights(b"none", "these bytes")
    Traceback (most recent call last):
    ...
    particle_nb.core.errors.ModelError: ...
    """
    from safetensors.torch import load

    try:
        length = int.from_bytes(data[:8], "little")
        metadata = json.loads(data[8 : 8 + length]).get("__metadata__") or {}
        return load(data), metadata
    except (SafetensorError, ValueError, AttributeError) as error:
        raise ModelError(f"{what} cannot be read as safetensors: {error}") from None


def packed(tensors: Mapping[str, torch.Tensor], metadata: Mapping[str, Any]) -> bytes:
    """Tensors and facts as the bytes of a safetensors file; what is no text becomes JSON."""
    from safetensors.torch import save

    words = {
        key: value if isinstance(value, str) else json.dumps(value)
        for key, value in metadata.items()
    }
    held = {key: value.detach().cpu().contiguous() for key, value in tensors.items()}
    return save(held, words)


def file_digest(data: bytes) -> str:
    """SHA-256 of a weights file, 16 hex digits."""
    return hashlib.sha256(data).hexdigest()[:16]


def write_weights(path: str | os.PathLike[str], data: bytes) -> Path:
    """Write the bytes of a weights file, whole or not at all.

    Raises
    ------
    ModelError
        If the name does not end in ``.safetensors``.
    DataError
        If nothing can be written there.

    Examples
    --------
    >>> write_weights("mine.pth", b"")
    Traceback (most recent call last):
    ...
    particle_nb.core.errors.ModelError: ...
    """
    if not isinstance(path, (str, os.PathLike)) or Path(path).suffix != ".safetensors":
        raise ModelError(
            f"weights are saved as a .safetensors file, not as {str(path)[:80]!r}; name it "
            "like 'mine.safetensors'."
        )
    with atomic(path) as stream:
        stream.write(data)
    return Path(path)


def read_metadata(path: Path) -> dict[str, str]:
    """What a safetensors file says of itself; empty where it says nothing.

    Raises
    ------
    ModelError
        If it is missing, damaged or no safetensors file.

    Examples
    --------
    >>> read_metadata(Path("no such.safetensors"))
    Traceback (most recent call last):
    ...
    particle_nb.core.errors.ModelError: ...
    """
    if not path.is_file():
        raise ModelError(f"no weights at {str(path)!r}; give the path of a .safetensors file.")
    try:
        with safe_open(str(path), framework="pt") as stream:
            return stream.metadata() or {}
    except (SafetensorError, OSError) as error:
        raise ModelError(
            f"{str(path)!r} is no whole safetensors file ({error}): it was cut short or is "
            "something else; save it again."
        ) from None


def find_folder(source: str, what: str, example: str) -> Path:
    """Return the folder of a checkpoint named by a path or a hub id.

    Parameters
    ----------
    source : str
        A folder, or a hub id whose files lie in the local cache.
    what, example : str
        What is looked for (``"depth model"``) and a hub id of one, for the message.

    Raises
    ------
    ModelError
        If it is neither, or not there.

    Examples
    --------
    >>> find_folder("/no/such/folder", "depth model", "Intel/dpt-large")
    Traceback (most recent call last):
    ...
    particle_nb.core.errors.ModelError: ...
    """
    if not isinstance(source, str) or not source.strip():
        raise ModelError(f"name a {what}: a folder or a hub id such as {example!r}.")
    folder = Path(source).expanduser()
    if folder.is_dir():
        return folder
    if not re.fullmatch(r"[\w.-]+/[\w.-]+", source):
        raise ModelError(
            f"no {what} {source!r}: it is neither a folder nor a hub id of the form "
            f"owner/name. Get one with: hf download {example}"
        )
    return cached(source)


def read_model(
    folder: Path, source: str, auto: Any, what: str, unused: re.Pattern[str] | None = None
) -> tuple[Any, str]:
    """Return a model and the digest of its weights, all of them from the folder.

    Parameters
    ----------
    folder : Path
        With ``config.json`` and ``*.safetensors``.
    source : str
        What the user called it.
    auto : class
        The transformers class whose ``from_pretrained`` builds the model.
    what : str
        What it should be, for the message.
    unused : pattern or None
        Names of tensors that the forward pass never reads, so that files may lack them.

    Raises
    ------
    ModelError
        If files are absent, damaged or of another kind, or lack tensors of the model.
    """
    from safetensors import SafetensorError

    if not list(folder.glob("*.safetensors")):
        raise ModelError(
            f"{str(folder)!r} has no *.safetensors; get the whole model with: hf download {source}"
        )
    try:
        loaded: Any = auto.from_pretrained(
            folder,
            local_files_only=True,
            use_safetensors=True,
            dtype=torch.float32,
            output_loading_info=True,
        )
    except (
        OSError,
        ValueError,
        RuntimeError,
        KeyError,
        TypeError,
        ImportError,
        SafetensorError,
    ) as error:
        raise ModelError(
            f"the weights in {str(folder)!r} cannot be read as a {what} "
            f"({str(error).splitlines()[0]}); get them with: hf download {source}"
        ) from None
    model, report = loaded
    absent = sorted(k for k in report["missing_keys"] if not (unused and unused.search(k)))
    wrong = sorted(map(str, report.get("mismatched_keys") or ()))
    if absent or wrong:
        raise ModelError(
            f"the weights in {str(folder)!r} lack {len(absent) + len(wrong)} tensors of the "
            f"model, e.g. {(absent or wrong)[0]!r}."
        )
    made_up = set(report["missing_keys"])
    tensors = {k: v for k, v in model.state_dict().items() if k not in made_up}
    return model, weights_digest(tensors)


def read_json(path: Path, source: str) -> dict[str, Any]:
    """Return the object that a JSON file of a checkpoint holds.

    Raises
    ------
    ModelError
        If it cannot be read, or holds no object.
    """
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ModelError(
            f"{str(path)!r} cannot be read ({error}); get the model with: hf download {source}"
        ) from None
    if not isinstance(found, dict):
        raise ModelError(f"{str(path)!r} holds no JSON object.")
    return found


def normalisation(given: dict[str, Any], path: Path) -> tuple[Any, Any]:
    """Return mean and standard deviation per channel of a preprocessor's settings.

    Raises
    ------
    ModelError
        If they are there and unusable.
    """
    mean, std = given.get("image_mean", [0.5] * 3), given.get("image_std", [0.5] * 3)
    try:
        usable = np.shape(mean) == np.shape(std) == (3,) and min(map(float, std)) > 0
    except (TypeError, ValueError):
        usable = False
    if not usable:
        raise ModelError(f"{str(path)!r} has no usable image_mean and image_std.")
    return mean, std


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
