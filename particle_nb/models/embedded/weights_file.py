"""The weights files of the embedded models: safetensors with what builds the network."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open

from particle_nb.core.errors import ModelError


def read_weights(path: Path, script: str) -> tuple[dict[str, torch.Tensor], dict[str, str]]:
    """Tensors as stored, and metadata; `script` is the module that trains such weights.

    Raises
    ------
    ModelError
        If the file is missing or is no safetensors file.

    Examples
    --------
    >>> read_weights(Path("no such file"), "train_depth")
    Traceback (most recent call last):
    ...
    particle_nb.core.errors.ModelError: ...
    """
    if not path.is_file():
        raise ModelError(
            f"no weights at {path}; reinstall particle-nb, or train them with "
            f"`python -m particle_nb.models.embedded.{script}`."
        )
    try:
        with safe_open(str(path), framework="pt") as stream:
            metadata = stream.metadata() or {}
            return {key: stream.get_tensor(key) for key in stream.keys()}, metadata  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise ModelError(f"{path} cannot be read as safetensors: {error}") from None
