"""One mask as a small JSON object, for prompt logs and archives."""

from __future__ import annotations

import math
from typing import Any

from particle_nb.core import rle
from particle_nb.core.errors import DataError
from particle_nb.core.masks import Mask


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
    """Return the mask of `pack`.

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
    except (KeyError, TypeError, ValueError, AttributeError):
        raise DataError("a stored mask is damaged: its pixels or scores are missing.") from None
    if not isinstance(counts, str) or not isinstance(label, str):
        raise DataError("a stored mask is damaged: its pixels are no compressed run lengths.")
    return rle.decode(
        {"size": list(shape), "counts": counts},
        predicted_iou=iou,
        stability_score=stability,
        label=label,
        grid_px=grid,
    )
