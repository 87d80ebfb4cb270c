"""A tuned mask decoder of Segment Anything in a file of its own, put back onto its encoder."""

from __future__ import annotations

import copy
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from particle_nb.core.errors import ModelError
from particle_nb.models.sam.sam import Sam
from particle_nb.models.sam.sam import load as load_sam
from particle_nb.models.weights import parse_weights, weights_digest

#: What the names of the decoder's tensors begin with.
DECODER = "mask_decoder."


def with_decoder(model: Any, decoder: Any) -> Any:
    """A SAM with another mask decoder; everything else is shared with `model`."""
    made = copy.copy(model)
    made._modules = dict(model._modules)
    made.mask_decoder = decoder
    return made


def parsed(data: bytes, what: str, base: Sam) -> Sam:
    """The SAM that the bytes of a file of `Tuned.save` make of its base.

    Raises
    ------
    ModelError
        If they are damaged, or were made from another base.
    """
    stored, metadata = parse_weights(data, what)
    try:
        if metadata["base_digest"] != base.digest:
            raise ModelError(
                f"{what} was tuned from {metadata['base']!r} with weights "
                f"{metadata['base_digest']}, and {base.name!r} has {base.digest}; give the file "
                "that it was tuned from."
            )
        decoder = copy.deepcopy(base.model.mask_decoder)
        decoder.load_state_dict({k.removeprefix(DECODER): v for k, v in stored.items()})
        name = metadata["name"]
    except (KeyError, RuntimeError, ValueError) as error:
        if isinstance(error, ModelError):
            raise
        raise ModelError(f"{what} holds no mask decoder of {base.name!r}: {error}") from None
    model = with_decoder(base.model, decoder.to(base.device).eval().requires_grad_(False))
    return replace(base, model=model, name=name, digest=weights_digest(model.state_dict()))


def load(source: str, device: str = "auto") -> Sam:
    """Load a tuned decoder with the SAM that it was tuned from.

    That is looked for where it was when it was tuned, and beside the file.

    Raises
    ------
    ModelError
        If one of the two is missing or damaged, or they do not go together.

    Examples
    --------
    >>> load("no such.safetensors", "cpu")
    Traceback (most recent call last):
    ...
    particle_nb.core.errors.ModelError: ...
    """
    path = Path(source).expanduser()
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ModelError(f"no weights at {str(path)!r}: {error.strerror}.") from None
    metadata = parse_weights(data, str(path))[1]
    try:
        wanted = str(metadata["base"])
        json.loads(metadata["parentage"])
    except (KeyError, ValueError):
        raise ModelError(f"{str(path)!r} does not say which SAM it was tuned from.") from None
    beside = path.parent / Path(wanted).name
    try:
        base = load_sam(str(beside) if beside.exists() else wanted, device)
    except ModelError as error:
        raise ModelError(
            f"{str(path)!r} holds a tuned decoder only; the SAM that it was tuned from, "
            f"{wanted!r}, cannot be loaded. Put it beside the file. ({error})"
        ) from None
    return parsed(data, str(path), base)
