"""Annotations as operators of different habits would make them of one true set of masks."""

from __future__ import annotations

import math

import numpy as np
from scipy import ndimage

from particle_nb.core.errors import DataError, check_number
from particle_nb.core.masks import Mask, MaskSet
from particle_nb.core.synthetic.detectors import random_field

#: Area in px^2 at which an operator overlooks one particle of e (37 %); larger ones more rarely.
OVERLOOKED_AREA = 250
_WAVE = 8.0  # px, correlation length of the tremor along the outline
_MARGIN = 6  # px around a mask, at least


def redrawn(masks: MaskSet, shift: float, tremor: float, rng: np.random.Generator) -> MaskSet:
    """Return masks as an operator would draw them whose outlines run outside or inside.

    Small particles are overlooked now and then: each with the probability exp(-area / 250 px^2).

    Parameters
    ----------
    masks : MaskSet
        The true masks.
    shift : float
        How far the outlines move outwards, px; negative inwards; -100 to 100.
    tremor : float
        Standard deviation of the outlines about that, px; 0 to 20. Without one, shifts below half
        a pixel change nothing, because a pixel is either drawn or not.
    rng : numpy Generator

    Returns
    -------
    MaskSet
        In the same frame and order, without those overlooked or shrunk to nothing.

    Raises
    ------
    DataError
        If an argument is of the wrong type or out of range.

    Examples
    --------
    >>> square = MaskSet((Mask((10, 10), np.ones((40, 40), bool), (60, 60)),))
    >>> redrawn(square, -2.0, 0.0, np.random.default_rng(0))[0].crop.shape
    (36, 36)
    """
    if not isinstance(masks, MaskSet):
        raise DataError(f"redrawn needs a MaskSet, not {type(masks).__name__}.")
    check_number("shift", shift, -100, 100)
    check_number("tremor", tremor, 0, 20)
    margin = max(_MARGIN, math.ceil(shift + 4 * tremor))
    drawn = []
    for mask in masks:
        if rng.random() < math.exp(-mask.area / OVERLOOKED_AREA):
            continue
        crop = np.pad(mask.crop, margin)
        away = ndimage.distance_transform_edt(crop) - ndimage.distance_transform_edt(~crop)
        # a distance counts from pixel centres; the outline runs half a pixel further out
        away -= 0.5 * np.sign(away)
        noise = tremor * random_field(crop.shape, _WAVE, rng)
        full = np.zeros(np.add(mask.shape, 2 * margin), bool)
        row, col = mask.origin
        full[row : row + crop.shape[0], col : col + crop.shape[1]] = away + shift + noise > 0
        kept = full[margin:-margin, margin:-margin]
        if kept.any():
            drawn.append(Mask.from_full(kept))
    return MaskSet(tuple(drawn), masks.shape)
