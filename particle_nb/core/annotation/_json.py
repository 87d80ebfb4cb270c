"""Particles and drafts of an annotation as small JSON objects that name their masks by number."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

from particle_nb.core.annotation.history import Draft, Particle
from particle_nb.core.errors import DataError
from particle_nb.core.masks import Mask, rle


def pack(mask: Mask) -> dict[str, Any]:
    """Return a mask as JSON: compressed COCO RLE in its frame, scores and class.

    Examples
    --------
    >>> import numpy as np
    >>> pack(Mask((1, 1), np.ones((2, 1), bool), (4, 3)))
    {'counts': '525'}
    """
    packed: dict[str, Any] = {"counts": rle.compress(rle.counts_of(mask))}
    for key, score in (("iou", mask.predicted_iou), ("stability", mask.stability_score)):
        if math.isfinite(score):
            packed[key] = score
    if mask.label:
        packed["label"] = mask.label
    if mask.grid_px != 1:
        packed["grid"] = mask.grid_px
    return packed


def unpack(packed: Any, shape: tuple[int, int]) -> Mask:
    """Return the mask of `pack`; its pixels are made when they are first looked at.

    Raises
    ------
    DataError
        If it is damaged.

    Examples
    --------
    >>> unpack({"counts": "525"}, (4, 3)).bbox
    (1, 1, 3, 2)
    """
    try:
        counts = packed["counts"]
        iou, stability = (float(packed.get(key, math.nan)) for key in ("iou", "stability"))
        label, grid = packed.get("label", ""), float(packed.get("grid", 1.0))
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError):
        raise DataError("a stored mask is damaged: its pixels or scores are missing.") from None
    if not isinstance(counts, str) or not isinstance(label, str):
        raise DataError("a stored mask is damaged: its pixels are no compressed run lengths.")
    return rle.CodedMask(
        {"size": list(shape), "counts": counts},
        predicted_iou=iou,
        stability_score=stability,
        label=label,
        grid_px=grid,
    )


_FLAGS = ("visible", "locked", "kept")

_TEXTS = ("name", "note", "review", "source")

#: Gives the number of a stored mask.
Index = Callable[[Mask | None], int | None]


def pack_particle(particle: Particle, index: Index) -> dict[str, Any]:
    """Return a particle as JSON; what is as usual is left out.

    Parameters
    ----------
    particle : Particle
    index : callable
        Gives a mask's number among those that are stored.

    Examples
    --------
    >>> import numpy as np
    >>> mask = Mask((0, 0), np.ones((2, 2), bool), (4, 4))
    >>> pack_particle(Particle(mask, note="cut"), lambda mask: 3)
    {'mask': 3, 'note': 'cut'}
    """
    out: dict[str, Any] = {"mask": index(particle.mask)}
    for key, usual in (
        *((key, key != "locked") for key in _FLAGS),
        *((key, "") for key in _TEXTS),
    ):
        if getattr(particle, key) != usual:
            out[key] = getattr(particle, key)
    return out


def pack_draft(draft: Draft | None, index: Index) -> dict[str, Any] | None:
    """Return a draft as JSON, masks as `pack_particle` does; None for none.

    Examples
    --------
    >>> pack_draft(None, lambda mask: 0) is None
    True
    """
    if draft is None:
        return None
    return {
        "points": [list(point) for point in draft.points],
        "labels": list(draft.labels),
        "box": draft.box,
        "sketch": index(draft.sketch),
        "window": draft.window,
        "target": draft.target,
        "candidates": [index(mask) for mask in draft.candidates],
        "choice": draft.choice,
        "refines": draft.refines,
    }


def _pick(masks: list[Mask], index: Any) -> Mask:
    if not isinstance(index, int) or not 0 <= index < len(masks):
        raise DataError(f"there is no stored mask {index!r}.")
    return masks[index]


def unpack_particle(packed: Mapping[str, Any], masks: list[Mask]) -> Particle:
    """Return the particle of `pack_particle`; `masks` are those that are stored.

    Raises
    ------
    DataError
        If a mask is not among them, or the particle has unknown fields.

    Examples
    --------
    >>> import numpy as np
    >>> mask = Mask((0, 0), np.ones((2, 2), bool), (4, 4))
    >>> unpack_particle({"mask": 0, "note": "cut"}, [mask]).note
    'cut'
    """
    fields = {key: packed[key] for key in (*_FLAGS, *_TEXTS) if key in packed}
    if set(packed) - set(fields) - {"mask"}:
        raise DataError(f"a particle has unknown fields {sorted(set(packed) - set(fields))}.")
    return Particle(_pick(masks, packed["mask"]), **fields)


def unpack_draft(packed: Mapping[str, Any] | None, masks: list[Mask]) -> Draft | None:
    """Return the draft of `pack_draft`.

    Raises
    ------
    DataError
        If a mask is not among those that are stored.

    Examples
    --------
    >>> unpack_draft(None, []) is None
    True
    """
    if packed is None:
        return None
    box, window, refines = packed["box"], packed["window"], packed["refines"]
    return Draft(
        points=tuple((float(x), float(y)) for x, y in packed["points"]),
        labels=tuple(int(label) for label in packed["labels"]),
        box=None if box is None else tuple(float(v) for v in box),  # type: ignore[arg-type]
        sketch=None if packed["sketch"] is None else _pick(masks, packed["sketch"]),
        window=None if window is None else tuple(int(v) for v in window),  # type: ignore[arg-type]
        target=str(packed["target"]),
        candidates=tuple(_pick(masks, index) for index in packed["candidates"]),
        choice=int(packed["choice"]),
        refines=None if refines is None else int(refines),
    )
