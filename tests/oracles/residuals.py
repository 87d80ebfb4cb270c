"""The passes of `residuals` in array operations, without compiled loops.

They work through blocks, so that the temporaries stay in the processor's cache.
"""

from __future__ import annotations

import numpy as np

from particle_nb.core.surface.forms import Form
from particle_nb.core.surface.levelling import BLOCK, outliers_among


def places(
    rows: np.ndarray, cols: np.ndarray, shape: tuple[int, int], margin: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return the flat cell of every point and the map of point numbers, -1 where there is none.

    Examples
    --------
    >>> place, index = places(np.array([0, 0]), np.array([0, 1]), (3, 4), 1)
    >>> place.tolist(), index[1].tolist()
    ([5, 6], [-1, 0, 1, -1])
    """
    place = (rows.astype(np.int32) + margin) * np.int32(shape[1]) + cols + margin
    index = np.full(shape, -1, np.int32)
    index.reshape(-1)[place] = np.arange(place.size, dtype=np.int32)
    return place, index


def residuals(
    xyz: np.ndarray, form: Form, corner: np.ndarray, unit: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return residual, normal_z and foot of every point, float32.

    Examples
    --------
    >>> from particle_nb.core.surface.forms import SphereForm
    >>> points = np.array([[0.0, 0, 2], [0, 3, 4]])
    >>> residuals(points, SphereForm(0, 0, 0, 1), np.zeros(2), 1.0)[0].tolist()
    [1.0, 4.0]
    """
    count = len(xyz)
    residual, up = np.empty(count, np.float32), np.empty(count, np.float32)
    foot = np.empty((count, 2), np.float32)
    for start in range(0, count, BLOCK):
        part = slice(start, start + BLOCK)
        x, y, z = np.ascontiguousarray(xyz[part].T, np.float64)
        distance, nx, ny, up[part] = form.residual(x, y, z)
        residual[part] = distance
        foot[part, 0] = (x - corner[0] - distance * nx) * unit
        foot[part, 1] = (y - corner[1] - distance * ny) * unit
    return residual, up, foot


def spikes(
    index: np.ndarray,
    place: np.ndarray,
    residual: np.ndarray,
    candidates: np.ndarray,
    factor: float,
    least: float,
) -> np.ndarray:
    """Tell which candidates leave the median of their 24 neighbours, as `residuals.spikes` does.

    Examples
    --------
    >>> rows, cols = np.mgrid[:5, :5].reshape(2, -1)
    >>> place, index = places(rows, cols, (9, 9), 2)
    >>> heights = np.where(rows * 5 + cols == 12, 9.0, 0.0).astype(np.float32)
    >>> spikes(index, place, heights, np.array([11, 12]), 4.5, 1.0).tolist()
    [False, True]
    """
    cells, width = index.reshape(-1), index.shape[1]
    steps = [dr * width + dc for dr in range(-2, 3) for dc in range(-2, 3) if dr or dc]
    found = np.zeros(candidates.size, bool)
    for start in range(0, candidates.size, BLOCK):
        part = slice(start, start + BLOCK)
        here = place[candidates[part]]
        beside = np.stack([cells[here + step] for step in steps], axis=1)
        around = np.where(beside >= 0, residual[beside], np.float32(np.nan))
        found[part] = outliers_among(around, residual[candidates[part]], factor, least)
    return found


def areas(
    index: np.ndarray, place: np.ndarray, foot: np.ndarray, up: np.ndarray, steepest: float
) -> np.ndarray:
    """Return the area that the feet of the neighbours span around every point, float32 (N,).

    Examples
    --------
    >>> rows, cols = np.mgrid[:3, :3].reshape(2, -1)
    >>> place, index = places(rows, cols, (7, 7), 2)
    >>> foot = np.stack([2.0 * cols, rows], axis=1)
    >>> areas(index, place, foot, np.ones(9), 0.05).tolist()[:2]
    [2.0, 2.0]
    """
    cells, width = index.reshape(-1), index.shape[1]
    area = np.empty(place.size, np.float32)
    for start in range(0, place.size, BLOCK):
        part = slice(start, start + BLOCK)
        here = place[part]
        own = np.arange(start, start + here.size)
        spans = []
        for step, alone in ((1, (1.0, 0.0)), (width, (0.0, 1.0))):
            before, after = cells[here - step], cells[here + step]
            number = (before >= 0).astype(np.int8) + (after >= 0)
            span = foot[np.where(after >= 0, after, own)].astype(np.float64)
            span -= foot[np.where(before >= 0, before, own)]
            span /= np.maximum(number, 1)[:, None]
            span[number == 0] = alone  # a point alone in its row or column spans one pixel there
            spans.append(span)
        (xx, xy), (yx, yy) = spans[0].T, spans[1].T
        # a spike that was kept can fold the feet over each other
        spread = np.maximum(xx * yy - xy * yx, 0)
        area[part] = np.minimum(spread / up[part], 1 / steepest)
    return area
