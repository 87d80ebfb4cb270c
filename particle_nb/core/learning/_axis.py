"""The axis of a bent body, and where pixels lie along and beside it."""

from __future__ import annotations

import numpy as np
from scipy import ndimage
from skimage.graph import route_through_array
from skimage.morphology import skeletonize


def bent_axis(crop: np.ndarray) -> np.ndarray | None:
    """The smoothed axis (M, 2) of a bent body as (x, y), led on straight beyond both ends."""
    thin = skeletonize(crop)
    rows, cols = np.nonzero(thin)
    if len(rows) < 8:
        return None
    # from any point to the farthest, and from there to the farthest: the ends of the axis
    cost = np.where(thin, 1.0, 1e6)
    first = _farthest(thin, (int(rows[0]), int(cols[0])))
    second = _farthest(thin, first)
    path, _ = route_through_array(cost, first, second, fully_connected=True, geometric=True)
    line = np.array(path, float)[:, ::-1]
    if len(line) < 8:
        return None
    place = np.concatenate([[0.0], np.cumsum(np.hypot(*np.diff(line, axis=0).T))])
    place /= place[-1]
    # the skeleton bends into corners at its ends; what lies before tells the direction
    inner = (place >= 0.05) & (place <= 0.95)
    degree = min(9, max(2, int(np.count_nonzero(inner)) // 12))
    fits = [np.polynomial.Polynomial.fit(place[inner], line[inner, k], degree) for k in (0, 1)]
    smooth = np.column_stack([fit(np.linspace(0.05, 0.95, 200)) for fit in fits])
    return _led_on(smooth, 3 * inner_width(crop) + 4)


def _led_on(line: np.ndarray, reach: float) -> np.ndarray:
    """Lead a line on straight beyond both ends."""
    head, tail = line[0] - line[8], line[-1] - line[-9]
    head, tail = (way / max(float(np.hypot(*way)), 1e-9) for way in (head, tail))
    steps = np.linspace(0, 1, 9)[1:, None] * reach
    return np.concatenate([(line[0] + steps * head)[::-1], line, line[-1] + steps * tail])


def centred(axis: np.ndarray, x: np.ndarray, y: np.ndarray, width: float) -> np.ndarray | None:
    """Move an axis to the middle of the pixels beside it, piece by piece."""
    along, across = along_axis(axis, x, y)
    first, last = float(along.min()) + 0.6 * width, float(along.max()) - 0.6 * width
    count = int((last - first) / max(0.4 * width, 2.0))
    if count < 4:
        return None
    edges = np.linspace(first, last, count + 1)
    piece = np.digitize(along, edges) - 1
    within = (piece >= 0) & (piece < count)
    sizes = np.bincount(piece[within], minlength=count)
    if not sizes.all():
        return None
    aside = np.bincount(piece[within], across[within], count) / sizes
    place = np.bincount(piece[within], along[within], count) / sizes
    steps = np.diff(axis, axis=0)
    lengths = np.hypot(*steps.T)
    marks = np.concatenate([[0.0], np.cumsum(lengths)])
    at = np.column_stack([np.interp(place, marks, axis[:, k]) for k in (0, 1)])
    ways = steps / np.maximum(lengths, 1e-9)[:, None]
    way = ways[np.clip(np.searchsorted(marks, place) - 1, 0, len(ways) - 1)]
    points = at + aside[:, None] * np.column_stack([-way[:, 1], way[:, 0]])
    degree = min(11, max(2, (2 * count) // 3))
    share = (place - place[0]) / (place[-1] - place[0])
    fits = [np.polynomial.Polynomial.fit(share, points[:, k], degree) for k in (0, 1)]
    smooth = np.column_stack([fit(np.linspace(0, 1, 200)) for fit in fits])
    return _led_on(smooth, 3 * width + 4)


def inner_width(crop: np.ndarray) -> float:
    """Diameter in pixels of the largest inscribed circle."""
    return 2 * float(ndimage.distance_transform_edt(np.pad(crop, 1)).max())


def _farthest(thin: np.ndarray, start: tuple[int, int]) -> tuple[int, int]:
    """The pixel of a skeleton with the longest way to another, step by step."""
    seen = np.zeros(thin.shape, bool)
    seen[start] = True
    front = [start]
    last = start
    while front:
        last = front[-1]
        ahead = []
        for row, col in front:
            top, left = max(row - 1, 0), max(col - 1, 0)
            near = np.argwhere(
                thin[top : row + 2, left : col + 2] & ~seen[top : row + 2, left : col + 2]
            )
            for r, c in (near + np.array([top, left])).tolist():
                seen[r, c] = True
                ahead.append((r, c))
        front = ahead
    return last


def along_axis(axis: np.ndarray, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Place along an axis of points, and their signed distance from it."""
    steps = np.diff(axis, axis=0)
    lengths = np.hypot(*steps.T)
    starts = np.concatenate([[0.0], np.cumsum(lengths)[:-1]])
    best = np.full(len(x), np.inf)
    along, across = np.zeros(len(x)), np.zeros(len(x))
    for (ax, ay), (sx, sy), length, start in zip(axis, steps, lengths, starts, strict=False):
        if length <= 0:
            continue
        share = np.clip(((x - ax) * sx + (y - ay) * sy) / length**2, 0, 1)
        dx, dy = x - ax - share * sx, y - ay - share * sy
        squares = dx * dx + dy * dy
        nearer = squares < best
        best[nearer] = squares[nearer]
        along[nearer] = start + share[nearer] * length
        across[nearer] = ((sx * dy - sy * dx) / length)[nearer]
    return along, across
