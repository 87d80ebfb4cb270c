"""Embeddings kept on the disk, so that they outlive the kernel."""

from __future__ import annotations

import hashlib
import json
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from particle_nb.core.errors import DataError
from particle_nb.core.files import atomic
from particle_nb.models.protocols import Embedding

Key = tuple[str, ...]


def save_embedding(path: Path, key: Key, embedding: Embedding) -> None:
    """Write an embedding under its key; where that cannot be done, warn and go on."""
    tensors = any(hasattr(array, "detach") for array in embedding.arrays.values())
    header = {
        "key": json.dumps(key),
        "arrays": "torch" if tensors else "numpy",
        "digest": _digest(embedding.arrays),
        "embedding": json.dumps(
            {
                "model": embedding.model,
                "weights": embedding.weights,
                "image": embedding.image,
                "shape": list(embedding.shape),
                "window": list(embedding.window),
                "meta": dict(embedding.meta),
            }
        ),
    }
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic(path) as stream:
            if tensors:
                from safetensors.torch import save as save_tensors

                held = {k: v.detach().cpu().contiguous() for k, v in embedding.arrays.items()}
                stream.write(save_tensors(held, header))
            else:
                from safetensors.numpy import save as save_arrays

                arrays = {k: np.ascontiguousarray(v) for k, v in embedding.arrays.items()}
                stream.write(save_arrays(arrays, header))
    except (OSError, DataError) as error:
        warnings.warn(
            f"the embedding cache {path.parent} cannot be written ({error}); going on without it.",
            stacklevel=2,
        )


def _digest(arrays: Mapping[str, Any]) -> str:
    """Digest of names, types, shapes and values of arrays or tensors."""
    found = hashlib.blake2b(digest_size=16)
    for name in sorted(arrays):
        value = arrays[name]
        found.update(f"{name} {value.dtype} {tuple(value.shape)};".encode())
        if hasattr(value, "detach"):
            import torch

            value = value.detach().cpu().reshape(-1).contiguous().view(torch.uint8).numpy()
        found.update(np.ascontiguousarray(value).data)
    return found.hexdigest()


def load_embedding(path: Path | None, key: Key, device: str) -> Embedding | None:
    """Return what was written under this key, or None where it is missing or damaged."""
    if path is None or not path.exists():
        return None
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, "np") as file:
            header = file.metadata() or {}
        if json.loads(header["key"]) != list(key):
            return None
        about = json.loads(header["embedding"])
        if header["arrays"] == "torch":
            from safetensors.torch import load_file as load_tensors

            arrays: dict[str, Any] = load_tensors(path)
        else:
            from safetensors.numpy import load_file as load_arrays

            arrays = load_arrays(path)
        # a bit that turned over on the disk would be another mask, and nobody would know
        if _digest(arrays) != header["digest"]:
            return None
        if header["arrays"] == "torch":
            arrays = {name: value.to(device) for name, value in arrays.items()}
        return Embedding(
            about["model"],
            about["weights"],
            about["image"],
            tuple(about["shape"]),
            tuple(about["window"]),
            arrays,
            about["meta"],
        )
    except (SafetensorError, OSError, KeyError, ValueError, TypeError):
        # a damaged entry is as good as none: it is computed again and written over
        return None
