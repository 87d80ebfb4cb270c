"""Crops of a label image by scipy's `find_objects`."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from particle_nb.core.masks._labels import _negative, _renumbered


def _crops_by_scipy(labels: np.ndarray) -> list[tuple[tuple[int, int], np.ndarray]]:
    if labels.min() < 0:
        raise _negative()
    if labels.max() > labels.size:
        labels = _renumbered(labels)
    found = []
    for number, where in enumerate(ndimage.find_objects(labels), start=1):
        if where is not None:
            crop = labels[where] == number
            crop.flags.writeable = False
            found.append(((where[0].start, where[1].start), crop))
    return found
