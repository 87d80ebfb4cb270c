"""Where a particle's relative depth begins and ends: the base and relief that a scale hangs on."""

from __future__ import annotations

import math

import numpy as np

from particle_nb.core.errors import DataError

#: Points looked at to find the scale and the form; more would not move the fourth digit.
SAMPLE = 40_000


def spread_sample(n: int, count: int = SAMPLE) -> np.ndarray:
    """Return at most `count` of the indices 0 to n - 1, spread evenly and without a stride.

    A golden-ratio jitter inside equal strata keeps a row-major grid from being sampled along a
    few of its columns.

    Examples
    --------
    >>> spread_sample(3).tolist(), spread_sample(100, 4).tolist()
    ([0, 1, 2], [0, 40, 55, 96])
    """
    if n <= count:
        return np.arange(n)
    strata = np.arange(count)
    jitter = (strata * 0.6180339887498949) % 1.0
    return ((strata + jitter) * (n / count)).astype(np.int64)


def relief_of(
    patch: np.ndarray, inside: np.ndarray, index: np.ndarray | None = None
) -> tuple[float, float, str]:
    """Return base, relief (top minus base) in depth units, and how they were found.

    Parameters
    ----------
    patch : float array (h, w)
        Relative heights around a particle.
    inside : bool array (h, w)
        Its pixels.
    index : int array (N,) or None
        Their flat indices, where they are known already.

    Raises
    ------
    DataError
        If the depth inside is constant.

    Examples
    --------
    >>> y, x = np.mgrid[-60:61, -60:61]
    >>> dome = np.sqrt(np.maximum(57.3**2 - x**2 - y**2, 0))
    >>> base, relief, how = relief_of(3 * dome + 7, dome > 0)
    >>> round(base), round(relief / 3), how
    (7, 57, 'half-ellipsoid law')
    """
    index = np.flatnonzero(inside) if index is None else index
    rows, cols = np.divmod(index[spread_sample(index.size)], inside.shape[1])
    # a 3 x 3 median takes single outliers off; outside the mask the pixel stands for itself
    centre = patch[rows, cols].astype(np.float64)
    stack = [centre]
    height, width = patch.shape
    for dr, dc in ((-1, -1), (-1, 0), (-1, 1), (0, -1), (0, 1), (1, -1), (1, 0), (1, 1)):
        r, c = np.clip(rows + dr, 0, height - 1), np.clip(cols + dc, 0, width - 1)
        stack.append(np.where(inside[r, c], patch[r, c], centre))
    levels = np.sort(np.median(stack, axis=0))
    share = (np.arange(levels.size) + 0.5) / levels.size
    middle = (share > 0.2) & (share < 0.9)
    slope, base = np.polyfit(np.sqrt(share[middle]), levels[middle], 1)
    lowest, low, highest = np.interp([0.001, 0.02, 0.999], share, levels)
    spread = float(np.abs(levels).max())
    if not highest - lowest > 1e-6 * spread:
        raise DataError(
            "the depth is constant inside the mask, so that no height can be read off it; "
            "check that the depth map belongs to this image."
        )
    if slope > 0 and low < base + slope * (math.sqrt(0.02) + 0.1):
        return float(base), float(slope), "half-ellipsoid law"
    return float(lowest), float(highest - lowest), "99.8 % range"
