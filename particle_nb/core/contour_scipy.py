"""The estimator of `contour`, written with SciPy and scikit-image instead of compiled loops.

It stands in where numba's compiler is switched off (``NUMBA_DISABLE_JIT=1``), at about a
thousand particles a second, and it is the independent tool that the compiled one is tested with.
"""

from __future__ import annotations

import math

import numpy as np
from scipy import ndimage, spatial
from skimage.measure import find_contours


def _area(points: np.ndarray) -> float:
    x, y = np.concatenate([points, points[:1]]).T
    return 0.5 * float(np.dot(x[:-1], y[1:]) - np.dot(x[1:], y[:-1]))


def smoothed_outline(
    crop: np.ndarray, sigma: float, reach: int
) -> tuple[np.ndarray, float, int, int]:
    """Return the smoothed largest outer loop (M, 2) as (x, y), its raw area, parts and holes."""
    # joined over corners as in the compiled tracer; row and column become (x, y) of the crop
    found = find_contours(np.pad(crop, 1).astype(float), 0.5, fully_connected="high")
    loops = [loop[:0:-1, ::-1] - 1.0 for loop in found]
    areas = np.array([_area(loop) for loop in loops])
    if areas[np.abs(areas).argmax()] < 0:  # the largest loop of all is never a hole
        loops, areas = [loop[::-1] for loop in loops], -areas
    outer = loops[int(areas.argmax())]

    g = np.exp(-0.5 * (np.arange(-reach, reach + 1) / sigma) ** 2)
    g /= g.sum()
    both = np.pad(2 * g, reach) - np.convolve(g, g)  # 2g - g*g in one pass
    smooth = ndimage.convolve1d(outer, both, axis=0, mode="wrap")
    return smooth, float(areas.max()), int((areas > 0).sum()), int((areas < 0).sum())


def measure_crop(crop: np.ndarray, sigma: float, reach: int) -> list[float]:
    """Return the `QUANTITIES` of one bool crop (h, w) in crop pixels."""
    rows, cols = np.nonzero(crop)
    points, raw_area, parts, holes = smoothed_outline(crop, sigma, reach)
    steps = np.diff(points, axis=0, append=points[:1])
    try:
        hull = points[spatial.ConvexHull(points).vertices]
    except spatial.QhullError:  # all points on one line or in one place
        hull = points
    sides = np.roll(hull, -1, axis=0) - hull
    lengths = np.hypot(*sides.T)
    normals = (
        np.stack([-sides[:, 1], sides[:, 0]], axis=1) / np.maximum(lengths, 1e-300)[:, None]
    )[lengths > 0]
    widths = np.ptp(hull @ normals.T, axis=0)
    return [
        float(len(rows)),
        float(cols.mean()),
        float(rows.mean()),
        float(np.hypot(*steps.T).sum()),
        float(lengths.sum()),
        abs(_area(hull)),
        float(widths.min()) if len(widths) else math.inf,
        float(spatial.distance.pdist(hull).max()),
        _area(points) / raw_area,
        float(parts),
        float(holes),
    ]
