"""The sub-pixel contour of a mask and what is measured on it, in one compiled pass.

One contour serves perimeter, hull and Feret diameters. It is the 0.5 level of the binary mask
(marching squares: it runs through the middles of the edges between inside and outside pixels),
whose points are then smoothed along the contour by a compensated Gaussian, ``2 g - g*g`` with a
standard deviation of 2 points, which is 1.4 to 2 px and 1.57 px on average. The pixel staircase
is gone after that; the second term cancels the second moment of the first, so that neither a
disc shrinks nor a corner is cut as by ``g`` alone. On a disc the perimeter is right to 0.3 %
from 20 px across.

Smoothing the mask in two dimensions by the same filter was tried and found worse: where it
removes as much of the staircase it rounds the corners of a square half as much again.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from particle_nb.core.shape import _kernels

#: Standard deviation of the smoothing, in points of the contour.
SIGMA = 2.0

#: The same in pixels: points lie 1 px (along an axis) to 0.71 px (on a diagonal) apart, on average
#: over all directions pi/4.
SIGMA_PX = SIGMA * math.pi / 4

#: The estimator that every length refers to, as written into tables and reports.
ESTIMATOR = "0.5 contour of the mask, compensated Gaussian (2g - g*g) of 2 points along it"

#: What one row of `measure_crops` holds, in this order; lengths in px, areas in px2.
QUANTITIES = (
    "area",
    "x",
    "y",
    "perimeter",
    "hull_perimeter",
    "hull_area",
    "feret_min",
    "feret_max",
    "kept",
    "n_parts",
    "n_holes",
)

_REACH = 8  # four standard deviations: what is cut off is below 1e-4

_TAPS = np.exp(-0.5 * (np.arange(_REACH + 1) / SIGMA) ** 2)

_TAPS /= 2 * _TAPS.sum() - _TAPS[0]


def measure_crops(crops: Sequence[np.ndarray]) -> np.ndarray:
    """Measure bool crops (h, w), none empty: float64 (N, 11), the `QUANTITIES` in crop pixels.

    Area, parts and holes are those of the pixels (parts hang together over corners). Perimeter,
    hull and Feret diameters belong to the outer contour of the largest part. ``kept`` is the
    share of that contour's area which the smoothing has left: 1 but for details of a few pixels.

    Examples
    --------
    >>> row = measure_crops([np.ones((20, 20), bool)])[0]
    >>> float(row[0]), round(float(row[6]))
    (400.0, 20)
    """
    if not len(crops):
        return np.zeros((0, len(QUANTITIES)))
    return _kernels.measure_crops(crops, _TAPS)[0]


def outline(crop: np.ndarray) -> np.ndarray:
    """Return the contour of a bool crop (h, w) as (x, y) in crop pixels, float64 (M, 2).

    It is the smoothed outer contour of the largest part, clockwise on the screen, not closed.

    Examples
    --------
    >>> points = outline(np.ones((20, 30), bool))
    >>> [float(v) for v in points.max(axis=0).round(1)]
    [29.6, 19.6]
    """
    return _kernels.measure_crops([crop], _TAPS)[1]
