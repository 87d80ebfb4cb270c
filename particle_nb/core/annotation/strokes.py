"""Masks drawn by hand: brush strokes, polygons, cuts, unions, filled holes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy import ndimage

from particle_nb.core.errors import PromptError
from particle_nb.core.masks import Mask

_MOST_POINTS = 20_000

_MOST_RADIUS = 2_000.0

# pixels that a stroke or an outline may look at; the largest that a hand draws takes a tenth
_MOST_WORK = 2**28

_BAND = 64  # rows that are drawn at a time

_VERTEX = 1e-12


def read_path(path: Any, least: int = 1) -> np.ndarray:
    """Return a drawn path as float (N, 2) of x, y in image pixels.

    Raises
    ------
    PromptError
        If there are too few or too many points or a coordinate is not finite.

    Examples
    --------
    >>> read_path([[0, 1], [2, 3]]).shape
    (2, 2)
    """
    try:
        points = np.asarray(path, float)
    except (TypeError, ValueError):
        points = np.empty((0, 0))
    if points.ndim != 2 or points.shape[1] != 2 or len(points) < least:
        raise PromptError(f"a drawn path needs at least {least} points (x, y), not {path!r:.60}.")
    if len(points) > _MOST_POINTS:
        raise PromptError(f"a path of {len(points)} points; at most {_MOST_POINTS} are taken.")
    if not np.isfinite(points).all() or np.abs(points).max() > 1e7:
        raise PromptError("a drawn path must have finite coordinates in image pixels.")
    return points


def stroke(path: Any, radius: float, shape: tuple[int, int]) -> Mask:
    """Return the pixels whose centres lie within `radius` of a drawn path.

    Parameters
    ----------
    path : (N, 2) of x, y
        In image pixels, pixel centres at integers.
    radius : float
        Half the width of the brush in pixels, 0.5 to 2000.
    shape : (H, W)

    Raises
    ------
    PromptError
        If the path or the radius cannot be used, the stroke lies outside the image, or is too long
        for so wide a brush.

    Examples
    --------
    >>> stroke([[5, 5]], 1, (10, 10)).area
    5
    """
    points = read_path(path)
    if (
        not isinstance(radius, (int, float))
        or isinstance(radius, bool)
        or not 0.5 <= radius <= _MOST_RADIUS
    ):
        raise PromptError(f"a brush has a radius of 0.5 to {_MOST_RADIUS:g} px, not {radius!r}.")
    height, width = shape
    x0, y0 = np.floor(points.min(axis=0) - radius).astype(int)
    x1, y1 = np.ceil(points.max(axis=0) + radius).astype(int) + 1
    x0, y0, x1, y1 = max(x0, 0), max(y0, 0), min(x1, width), min(y1, height)
    if x0 >= x1 or y0 >= y1:
        raise PromptError(f"the stroke lies outside the image of {width} x {height} px.")
    crop = np.zeros((y1 - y0, x1 - x0), bool)
    ends = points[1:] if len(points) > 1 else points
    work = 0
    for (ax, ay), (bx, by) in zip(points, ends, strict=False):
        left = max(math.floor(min(ax, bx) - radius), x0)
        right = min(math.ceil(max(ax, bx) + radius) + 1, x1)
        top = max(math.floor(min(ay, by) - radius), y0)
        bottom = min(math.ceil(max(ay, by) + radius) + 1, y1)
        if left >= right or top >= bottom:
            continue
        ux, uy = bx - ax, by - ay
        length2 = ux * ux + uy * uy
        for upper in range(top, bottom, _BAND):
            lower = min(upper + _BAND, bottom)
            first, last = _reached((ax, bx), (ay, by), (upper - radius, lower - 1 + radius))
            if first > last:
                continue
            first = max(math.floor(first - radius), left)
            last = min(math.ceil(last + radius) + 1, right)
            if first >= last:
                continue
            work += (lower - upper) * (last - first)
            if work > _MOST_WORK:
                raise PromptError(
                    f"a stroke of {len(points)} points with a radius of {radius:g} px is too long; "
                    "draw it in several, or with a smaller brush."
                )
            dx = np.arange(first, last)[None, :] - ax
            dy = np.arange(upper, lower)[:, None] - ay
            along = np.clip((dx * ux + dy * uy) / length2, 0, 1) if length2 > 0 else 0.0
            near = (dx - along * ux) ** 2 + (dy - along * uy) ** 2 <= radius * radius
            crop[upper - y0 : lower - y0, first - x0 : last - x0] |= near
    if not crop.any():
        raise PromptError(f"the stroke lies outside the image of {width} x {height} px.")
    return Mask((y0, x0), crop, shape)


def _reached(
    x: tuple[float, float], y: tuple[float, float], rows: tuple[float, float]
) -> tuple[float, float]:
    """Least and greatest x of the part of a segment that lies in these rows."""
    low, high = min(y), max(y)
    if low >= rows[0] and high <= rows[1]:
        return min(x), max(x)
    if high < rows[0] or low > rows[1]:
        return math.inf, -math.inf
    slope = (x[1] - x[0]) / (y[1] - y[0]) if high > low else 0.0
    ends = [x[0] + (min(max(row, low), high) - y[0]) * slope for row in rows]
    # a pixel more than rounding could take away
    return min(ends) - 1, max(ends) + 1


def outline(path: Any, shape: tuple[int, int]) -> Mask:
    """Return the pixels whose centres lie inside a closed outline (even-odd rule) or on it.

    Raises
    ------
    PromptError
        If there are fewer than three points, no pixel centre lies inside, or it is too jagged.

    Notes
    -----
    J. O'Rourke, Computational Geometry in C, 2nd ed. 1998, 7.4: a point is outside where a ray to
    the right and one to the left both cross an even number of edges.

    Examples
    --------
    >>> outline([[0.5, 0.5], [4.5, 0.5], [4.5, 3.5], [0.5, 3.5]], (10, 10)).area
    12
    """
    points = read_path(path, least=3)
    x, y = points.T
    height, width = shape
    top, left = max(int(y.min()), 0), max(int(x.min()), 0)
    bottom, right = min(math.ceil(y.max()) + 1, height), min(math.ceil(x.max()) + 1, width)
    crop = np.zeros((max(bottom - top, 0), max(right - left, 0)), bool)
    before_x, before_y = np.roll(x, 1), np.roll(y, 1)
    columns = np.arange(left, right, dtype=float)
    work = 0
    for row in range(top, bottom) if columns.size else ():
        y0, y1 = y - row, before_y - row
        over, under = (y0 > 0) != (y1 > 0), (y0 < 0) != (y1 < 0)
        crossing = np.flatnonzero(over | under)
        work += len(x) + len(crossing) * len(columns)
        if work > _MOST_WORK:
            raise PromptError(f"an outline of {len(x)} points is too jagged; draw it more simply.")
        to_right = np.zeros(len(columns), bool)
        to_left = np.zeros(len(columns), bool)
        for edge in crossing:
            x0, x1 = x[edge] - columns, before_x[edge] - columns
            # where the edge meets the row, seen from each pixel
            meets = (x0 * y1[edge] - x1 * y0[edge]) / (y1[edge] - y0[edge])
            if over[edge]:
                to_right ^= meets > 0
            if under[edge]:
                to_left ^= meets < 0
        inside = to_right | to_left
        for corner in x[np.abs(y0) < _VERTEX]:
            inside |= np.abs(corner - columns) < _VERTEX
        crop[row - top] = inside
    if not crop.any():
        raise PromptError("the outline holds no pixel of the image; draw it larger.")
    return Mask((top, left), crop, shape)


def _frame(masks: Sequence[Mask], pad: int = 0) -> tuple[int, int, int, int]:
    boxes = np.array([mask.bbox for mask in masks])
    height, width = masks[0].shape
    r0, c0 = boxes[:, :2].min(axis=0) - pad
    r1, c1 = boxes[:, 2:].max(axis=0) + pad
    return max(int(r0), 0), max(int(c0), 0), min(int(r1), height), min(int(c1), width)


def _within(mask: Mask, frame: tuple[int, int, int, int]) -> np.ndarray:
    """The part of a mask inside a frame (row0, col0, row1, col1), bool array of its size."""
    r0, c0, r1, c1 = frame
    a0, b0, a1, b1 = mask.bbox
    part = np.zeros((r1 - r0, c1 - c0), bool)
    top, left, bottom, right = max(r0, a0), max(c0, b0), min(r1, a1), min(c1, b1)
    if top < bottom and left < right:
        part[top - r0 : bottom - r0, left - c0 : right - c0] = mask.crop[
            top - a0 : bottom - a0, left - b0 : right - b0
        ]
    return part


def union(masks: Sequence[Mask]) -> Mask:
    """Return one mask of all pixels of several; scores are dropped, the first label is kept.

    Raises
    ------
    PromptError
        If there is none.

    Examples
    --------
    >>> a = Mask((0, 0), np.ones((2, 2), bool), (8, 8))
    >>> union([a, Mask((0, 1), np.ones((2, 2), bool), (8, 8))]).area
    6
    """
    if not masks:
        raise PromptError("nothing to merge; select particles first.")
    frame = _frame(masks)
    crop = np.zeros((frame[2] - frame[0], frame[3] - frame[1]), bool)
    for mask in masks:
        crop |= _within(mask, frame)
    label = next((mask.label for mask in masks if mask.label), "")
    return Mask(frame[:2], crop, masks[0].shape, label=label)


def subtract(mask: Mask, other: Mask) -> Mask | None:
    """Return a mask without the pixels of another; None if nothing is left.

    Examples
    --------
    >>> a = Mask((0, 0), np.ones((2, 2), bool), (8, 8))
    >>> subtract(a, Mask((0, 1), np.ones((2, 2), bool), (8, 8))).area
    2
    """
    crop = mask.crop & ~_within(other, mask.bbox)
    if not crop.any():
        return None
    return Mask(mask.origin, crop, mask.shape, label=mask.label)


def moved(mask: Mask, shift: Any, shape: tuple[int, int]) -> Mask | None:
    """Return a mask moved by whole pixels into a frame; None if nothing of it lies there.

    What reaches out of the frame is cut off. The class stays; the model's scores are dropped: it
    never saw the particle there.

    Parameters
    ----------
    mask : Mask
    shift : (dx, dy)
        Columns and rows, rounded to whole pixels.
    shape : (H, W)
        The frame.

    Raises
    ------
    PromptError
        If the shift is no pair of finite numbers.

    Examples
    --------
    >>> square = Mask((2, 3), np.ones((4, 4), bool), (10, 10), predicted_iou=0.9)
    >>> moved(square, (5, 0), (10, 10)).bbox
    (2, 8, 6, 10)
    >>> moved(square, (20, 0), (10, 10)) is None
    True
    """
    try:
        dx, dy = (round(float(v)) for v in shift)
    except (TypeError, ValueError, OverflowError):
        raise PromptError(f"a shift is (dx, dy) in pixels, not {shift!r:.60}.") from None
    row, col = mask.origin[0] + dy, mask.origin[1] + dx
    top, left = max(0, -row), max(0, -col)
    crop = mask.crop[top : max(0, shape[0] - row), left : max(0, shape[1] - col)]
    if not crop.any():
        return None
    return Mask((row + top, col + left), crop, shape, label=mask.label, grid_px=mask.grid_px)


def fill_holes(mask: Mask) -> Mask:
    """Return a mask whose holes (background not 4-connected to the outside) are filled.

    Examples
    --------
    >>> ring = np.ones((3, 3), bool); ring[1, 1] = False
    >>> fill_holes(Mask((2, 2), ring, (8, 8))).area
    9
    """
    return mask.replace(crop=ndimage.binary_fill_holes(mask.crop))


def cut(mask: Mask, path: Any) -> list[Mask]:
    """Return the parts into which a drawn line cuts a mask; every pixel stays in one part.

    Parameters
    ----------
    mask : Mask
    path : (N, 2) of x, y

    Returns
    -------
    list of Mask
        The largest first; the mask alone where the line does not part it.

    Examples
    --------
    >>> block = Mask((0, 0), np.ones((9, 20), bool), (16, 32))
    >>> [part.area for part in cut(block, [[9.5, -2], [9.5, 12]])]
    [90, 90]
    """
    # a line of half-width 0.75 px is 8-connected, so no 4-connected neighbours join across it
    line = _within(stroke(read_path(path, least=2), 0.75, mask.shape), mask.bbox)
    before = ndimage.label(mask.crop)[1]
    parts, count = ndimage.label(mask.crop & ~line)
    if count:
        # crumbs between the line and the rim are no particles
        sizes = np.bincount(parts.ravel(), minlength=count + 1)
        crumbs = sizes < max(4, 0.002 * mask.area)
        parts[crumbs[parts]] = 0
        kept = np.flatnonzero(~crumbs[1:]) + 1
    if not count or len(kept) <= before:
        return [mask]
    nearest = ndimage.distance_transform_edt(
        parts == 0, return_distances=False, return_indices=True
    )
    parts = np.where(mask.crop, parts[tuple(nearest)], 0)
    pieces = [Mask(mask.origin, parts == number, mask.shape, label=mask.label) for number in kept]
    return sorted(pieces, key=lambda piece: -piece.area)
