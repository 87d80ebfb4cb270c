"""Weights files that a user made with this package: which network is in one, and its loading."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from safetensors import safe_open

from particle_nb.core.errors import ModelError
from particle_nb.models.weights import read_metadata

#: Key of the metadata of a weights file that says which kind of network is in it.
KIND = "particle_nb"


def load(source: str, device: str = "auto") -> Any:
    """Load a segmenter from a ``.safetensors`` file: tuned, trained, or an official SAM.

    Raises
    ------
    ModelError
        If the file is missing or damaged, or holds another model's weights.

    Examples
    --------
    >>> load("no such.safetensors")
    Traceback (most recent call last):
    ...
    particle_nb.core.errors.ModelError: ...
    """
    if not source:
        raise ModelError(
            "which weights? Give the path of the file that `Tuned.save` or `Unet.save` wrote."
        )
    path = Path(source).expanduser()
    metadata = read_metadata(path)
    kind = metadata.get(KIND, "embedded" if "settings" in metadata else "")
    if kind == "embedded":
        from particle_nb.models.embedded.segmenter import load as load_embedded

        return load_embedded(str(path), device)
    if kind == "unet":
        from particle_nb.models.unet.segmenter import load as load_unet

        return load_unet(str(path), device)
    if kind == "sam":
        from particle_nb.models.sam.tuned import load as load_tuned

        return load_tuned(str(path), device)
    with safe_open(str(path), framework="pt") as stream:
        names = list(stream.keys())
    if any("image_encoder." in name for name in names):
        from particle_nb.models.sam import load as load_sam

        return load_sam(str(path), device)
    raise ModelError(
        f"{str(path)!r} holds {len(names)} tensors of another program"
        f"{f' ({names[0]}, ...)' if names else ''}; a segmenter is loaded from a file that "
        "`Tuned.save` or `Unet.save` wrote, or from an official Segment Anything checkpoint."
    )
