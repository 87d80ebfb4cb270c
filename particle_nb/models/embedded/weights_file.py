"""The weights files of the embedded models: safetensors with what builds the network."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open

from particle_nb.core.errors import ModelError


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
        The module that trains such weights.

    Raises
    ------
    ModelError
        If the file is missing or is no safetensors file.

    Examples
    --------
    >>> read_weights("no such file", Path("depth.safetensors"), "train_depth")
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
            f"`python -m particle_nb.models.embedded.{script}`."
        )
    try:
        with safe_open(str(path), framework="pt") as stream:
            stored = {key: stream.get_tensor(key) for key in stream.keys()}  # noqa: SIM118
            return path, stored, stream.metadata() or {}
    except (SafetensorError, OSError) as error:
        raise ModelError(f"{path} cannot be read as safetensors: {error}") from None
