"""The estimator of `contour` in array operations on all masks at once, without compiled loops.

It finds the loops in another way than the compiled tracer, by ranking the points of a successor
list instead of walking, and leaves the hull to Qhull: each of the two is tested with the other,
and both with scikit-image's ``find_contours``.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy import ndimage, spatial
from scipy.sparse import csgraph, csr_array


class Loops(NamedTuple):
    """Closed contours one behind the other: points (n, 2) as (x, y) of their crop."""

    points: np.ndarray
    starts: np.ndarray
    lengths: np.ndarray
    crops: np.ndarray
    areas: np.ndarray

    def chosen(self, which: np.ndarray) -> Loops:
        """Return some of the loops."""
        lengths = self.lengths[which]
        starts = np.cumsum(lengths) - lengths
        places = np.arange(int(lengths.sum())) + np.repeat(self.starts[which] - starts, lengths)
        return Loops(self.points[places], starts, lengths, self.crops[which], self.areas[which])


def _areas(points: np.ndarray, starts: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """Signed areas of loops, positive where they run clockwise on the screen."""
    after = _after(starts, lengths)
    x, y = points.T
    return 0.5 * np.add.reduceat(x * y[after] - x[after] * y, starts)


def _after(starts: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """Place of the point that follows each point on its loop."""
    after = np.arange(1, int(lengths.sum()) + 1)
    after[starts + lengths - 1] = starts
    return after


def _successors(
    grid: np.ndarray, beside: np.ndarray, below: np.ndarray, stride: np.ndarray
) -> np.ndarray:
    """Return for every crossing of the contour with a pixel edge the one that follows.

    Crossings of `beside` lie between pixel p and p + 1, those of `below` between p and the pixel
    under it. The inside is to the right of the way, and inside pixels that meet in a corner belong
    together: the way turns left where the pixel ahead on the left is inside, goes straight where
    only the one on the right is, and turns right where neither is.
    """
    number = np.empty((2, len(grid)), np.int32)
    number[0, beside] = np.arange(len(beside))
    number[1, below] = np.arange(len(below)) + len(beside)

    def step(kind: int, p: np.ndarray, left: np.ndarray, ahead: np.ndarray, turns: list) -> None:
        to_left, straight, to_right = turns
        here = number[kind, p]
        found = np.where(
            grid[left],
            number[1 - kind, to_left],
            np.where(grid[ahead], number[kind, straight], number[1 - kind, to_right]),
        )
        following[here] = found

    following = np.empty(len(beside) + len(below), np.int32)
    up, down = beside[grid[beside + 1]], beside[grid[beside]]
    s = stride[up]
    step(0, up, up - s, up - s + 1, [up - s, up - s, up - s + 1])
    s = stride[down]
    step(0, down, down + 1 + s, down + s, [down + 1, down + s, down])
    top = grid[below]
    west, east = below[top], below[~top]
    s = stride[east]
    step(1, east, east + 1, east + s + 1, [east, east + 1, east + s])
    s = stride[west]
    step(1, west, west + s - 1, west - 1, [west + s - 1, west - 1, west - 1])
    return following


def _in_order(following: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the points loop by loop, where each loop starts, and how long it is."""
    n = len(following)
    links = csr_array((np.ones(n, np.int8), (np.arange(n), following)), shape=(n, n))
    count, loop = csgraph.connected_components(links, directed=False)
    lengths = np.bincount(loop, minlength=count)
    starts = np.cumsum(lengths) - lengths
    first = np.full(count, n)
    np.minimum.at(first, loop, np.arange(n))
    # the way to the loop's first point, doubled until all have arrived
    goal = following.copy()
    left = np.ones(n, np.int32)
    goal[first], left[first] = first, 0
    for _ in range(int(lengths.max()).bit_length()):
        left += left[goal]
        goal = goal[goal]
    order = np.empty(n, np.int64)
    rank = (lengths[loop] - left) % lengths[loop]
    order[starts[loop] + rank] = np.arange(n)
    return order, starts, lengths


def trace(crops: Sequence[np.ndarray]) -> Loops:
    """Return the 0.5 contours of bool crops (h, w), outer ones and those of holes (negative area).

    Parts hang together over corners, holes do not. Coordinates are of each crop's pixels.

    Examples
    --------
    >>> loops = trace([np.ones((2, 3), bool)])
    >>> loops.lengths.tolist(), loops.areas.tolist()
    ([10], [5.5])
    """
    shapes = np.array([crop.shape for crop in crops], np.int64)
    sizes = (shapes + 2).prod(axis=1)
    offsets = np.cumsum(sizes) - sizes
    grid = np.zeros(int(sizes.sum()), bool)
    for crop, (h, w), start, size in zip(crops, shapes.tolist(), offsets, sizes, strict=True):
        grid[start : start + size].reshape(h + 2, w + 2)[1:-1, 1:-1] = crop
    stride = np.repeat((shapes[:, 1] + 2).astype(np.int32), sizes)
    # the rim of each crop is background, so nothing crosses from one row's end to the next
    beside = np.flatnonzero(grid[:-1] != grid[1:])
    inside = np.flatnonzero(grid)
    step = stride[inside]
    over = inside - step
    below = np.concatenate([over[~grid[over]], inside[~grid[inside + step]]])
    order, starts, lengths = _in_order(_successors(grid, beside, below, stride))

    pixels = np.concatenate([beside, below])
    owner = np.searchsorted(offsets, pixels, side="right") - 1
    rows, cols = np.divmod(pixels - offsets[owner], shapes[owner, 1] + 2)
    points = np.stack([cols, rows], axis=1) - 1.0
    points[: len(beside), 0] += 0.5
    points[len(beside) :, 1] += 0.5
    points = points[order]
    return Loops(points, starts, lengths, owner[order][starts], _areas(points, starts, lengths))


def _largest(loops: Loops, crops: int) -> np.ndarray:
    """Index of the largest loop of every crop, the first of equal ones."""
    order = np.lexsort((np.arange(len(loops.areas)), -loops.areas, loops.crops))
    return order[np.searchsorted(loops.crops[order], np.arange(crops))]


def _smoothed(loops: Loops, sigma: float, reach: int) -> np.ndarray:
    """Return the points of all loops after a compensated Gaussian along each."""
    g = np.exp(-0.5 * (np.arange(-reach, reach + 1) / sigma) ** 2)
    g /= g.sum()
    both = np.pad(2 * g, reach) - np.convolve(g, g)  # 2g - g*g in one pass
    # twice the reach of points from the other end stand before and behind each loop
    room = loops.lengths + 4 * reach
    begins = np.cumsum(room) - room
    place = np.arange(int(room.sum())) - np.repeat(begins, room) - 2 * reach
    padded = loops.points[np.repeat(loops.starts, room) + place % np.repeat(loops.lengths, room)]
    smooth = ndimage.convolve1d(padded, both, axis=0)
    inner = np.arange(int(loops.lengths.sum()))
    return smooth[inner + np.repeat(begins + 2 * reach - loops.starts, loops.lengths)]


def smoothed_outlines(
    crops: Sequence[np.ndarray], sigma: float, reach: int
) -> tuple[Loops, np.ndarray, np.ndarray]:
    """Return the smoothed largest outer loop of each crop, and the numbers of parts and holes.

    The loops' `areas` are those before the smoothing.
    """
    loops = trace(crops)
    parts = np.bincount(loops.crops[loops.areas > 0], minlength=len(crops))
    holes = np.bincount(loops.crops[loops.areas < 0], minlength=len(crops))
    outer = loops.chosen(_largest(loops, len(crops)))
    return outer._replace(points=_smoothed(outer, sigma, reach)), parts, holes


def _hull(points: np.ndarray) -> tuple[float, float, float, float]:
    """Return perimeter, area, least and greatest Feret diameter of the convex hull."""
    try:
        hull = spatial.ConvexHull(points)
    except spatial.QhullError:  # all points on one line or in one place
        longest = float(spatial.distance.pdist(points).max())
        return 2 * longest, 0.0, 0.0, longest
    corners = points[hull.vertices]
    x, y = corners.T
    span = (x[:, None] - x) ** 2 + (y[:, None] - y) ** 2
    # the unit normal of every side points outwards, so all corners lie at negative distances
    depth = hull.equations[:, :2] @ corners.T + hull.equations[:, 2:]
    return hull.area, hull.volume, float(-depth.min(axis=1).max()), math.sqrt(span.max())


def measure_crops(crops: Sequence[np.ndarray], sigma: float, reach: int) -> np.ndarray:
    """Return the `QUANTITIES` of bool crops (h, w), none empty: float64 (N, 11)."""
    out = np.zeros((len(crops), 11))
    outer, out[:, 9], out[:, 10] = smoothed_outlines(crops, sigma, reach)
    for row, crop in zip(out, crops, strict=True):
        by_row, by_col = np.count_nonzero(crop, axis=1), np.count_nonzero(crop, axis=0)
        row[0] = area = by_row.sum()
        row[1] = by_col @ np.arange(len(by_col)) / area
        row[2] = by_row @ np.arange(len(by_row)) / area
    steps = outer.points[_after(outer.starts, outer.lengths)] - outer.points
    out[:, 3] = np.add.reduceat(np.hypot(*steps.T), outer.starts)
    out[:, 8] = _areas(outer.points, outer.starts, outer.lengths) / outer.areas
    for row, start, length in zip(out, outer.starts, outer.lengths, strict=True):
        row[4:8] = _hull(outer.points[start : start + length])
    return out
