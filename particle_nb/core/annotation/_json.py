"""Particles and drafts of an annotation as small JSON objects that name their masks by number."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

from particle_nb.core.annotation.history import Draft, Particle
from particle_nb.core.errors import DataError
from particle_nb.core.masks import Mask, rle


def mask_json(mask: Mask) -> dict[str, Any]:
    """Return a mask as JSON: compressed COCO RLE in its frame, scores and class.

    Examples
    --------
    >>> import numpy as np
    >>> mask_json(Mask((1, 1), np.ones((2, 1), bool), (4, 3)))
    {'counts': '525'}
    """
    stored: dict[str, Any] = {"counts": rle.compress(rle.counts_of(mask))}
    for key, score in (("iou", mask.predicted_iou), ("stability", mask.stability_score)):
        if math.isfinite(score):
            stored[key] = score
    if mask.confidence is not None:
        stored["confidence"] = mask.confidence
    if mask.label:
        stored["label"] = mask.label
    if mask.grid_px != 1:
        stored["grid"] = mask.grid_px
    return stored


def mask_of(stored: Any, shape: tuple[int, int]) -> Mask:
    """Return the mask of `mask_json`; its pixels are made when they are first looked at.

    Raises
    ------
    DataError
        If it is damaged.

    Examples
    --------
    >>> mask_of({"counts": "525"}, (4, 3)).bbox
    (1, 1, 3, 2)
    """
    try:
        counts = stored["counts"]
        iou, stability = (float(stored.get(key, math.nan)) for key in ("iou", "stability"))
        label, grid = stored.get("label", ""), float(stored.get("grid", 1.0))
        sure = None if stored.get("confidence") is None else float(stored["confidence"])
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
        confidence=sure,
    )


_FLAGS = ("visible", "locked", "kept")

_TEXTS = ("name", "note", "review", "source")

#: Gives the number of a stored mask.
Index = Callable[[Mask | None], int | None]


def particle_json(particle: Particle, index: Index) -> dict[str, Any]:
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
    >>> particle_json(Particle(mask, note="cut"), lambda mask: 3)
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


def draft_json(draft: Draft | None, index: Index) -> dict[str, Any] | None:
    """Return a draft as JSON, masks as `particle_json` does; None for none.

    Examples
    --------
    >>> draft_json(None, lambda mask: 0) is None
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


def particle_of(stored: Mapping[str, Any], masks: list[Mask]) -> Particle:
    """Return the particle of `particle_json`; `masks` are those that are stored.

    Raises
    ------
    DataError
        If a mask is not among them, or the particle has unknown fields.

    Examples
    --------
    >>> import numpy as np
    >>> mask = Mask((0, 0), np.ones((2, 2), bool), (4, 4))
    >>> particle_of({"mask": 0, "note": "cut"}, [mask]).note
    'cut'
    """
    fields = {key: stored[key] for key in (*_FLAGS, *_TEXTS) if key in stored}
    if set(stored) - set(fields) - {"mask"}:
        raise DataError(f"a particle has unknown fields {sorted(set(stored) - set(fields))}.")
    return Particle(_pick(masks, stored["mask"]), **fields)


def draft_of(stored: Mapping[str, Any] | None, masks: list[Mask]) -> Draft | None:
    """Return the draft of `draft_json`.

    Raises
    ------
    DataError
        If a mask is not among those that are stored.

    Examples
    --------
    >>> draft_of(None, []) is None
    True
    """
    if stored is None:
        return None
    box, window, refines = stored["box"], stored["window"], stored["refines"]
    return Draft(
        points=tuple((float(x), float(y)) for x, y in stored["points"]),
        labels=tuple(int(label) for label in stored["labels"]),
        box=None if box is None else tuple(float(v) for v in box),  # type: ignore[arg-type]
        sketch=None if stored["sketch"] is None else _pick(masks, stored["sketch"]),
        window=None if window is None else tuple(int(v) for v in window),  # type: ignore[arg-type]
        target=str(stored["target"]),
        candidates=tuple(_pick(masks, index) for index in stored["candidates"]),
        choice=int(stored["choice"]),
        refines=None if refines is None else int(refines),
    )
