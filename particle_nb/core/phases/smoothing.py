"""Maps made smooth within regions and left sharp at the edges of the picture."""

from __future__ import annotations

import numpy as np
from scipy import ndimage


def guided(values: np.ndarray, guide: np.ndarray, radius: int, edge: float = 0.1) -> np.ndarray:
    """Return maps smoothed along the edges of a picture, float32 (H, W, C).

    In every square of 2 * radius + 1 pixels the maps are fitted by a line in the picture.

    Parameters
    ----------
    values : float array (H, W, C)
    guide : float array (H, W)
        The picture.
    radius : int
        Pixels, 1 or more; 0 leaves the maps as they are.
    edge : float
        Steps of the picture above this share of its standard deviation are kept.

    References
    ----------
    K. He, J. Sun, X. Tang, 2013, doi:10.1109/TPAMI.2012.213.

    Examples
    --------
    >>> flat = np.ones((9, 9), np.float32)
    >>> float(guided(flat[..., None], flat, 2).max().round(5))
    1.0
    """
    values = np.asarray(values, np.float32)
    if radius < 1:
        return values
    spread = float(guide.std())
    picture = (guide - np.float32(guide.mean())) / np.float32(max(spread, 1e-12))
    side = 2 * radius + 1

    def mean(field: np.ndarray) -> np.ndarray:
        return ndimage.uniform_filter(field, side, mode="nearest")

    about = mean(picture)
    variance = mean(picture * picture) - about * about
    out = np.empty_like(values)
    for k in range(values.shape[2]):
        level = mean(values[..., k])
        slope = (mean(picture * values[..., k]) - about * level) / (variance + np.float32(edge**2))
        out[..., k] = mean(slope) * picture + mean(level - slope * about)
    return out
