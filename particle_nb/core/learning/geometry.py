"""Lengths that a class of particles is known by: diameter, edge, length along the axis, corners.

Ideal bodies with rounded corners are fitted to the pixels themselves, not to a smoothed outline, so
that corners keep their radius: a pixel counts by how far it lies from the body's edge.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from scipy import ndimage, optimize
from skimage.graph import route_through_array
from skimage.morphology import skeletonize

from particle_nb.core.errors import DataError
from particle_nb.core.image import Calibration
from particle_nb.core.masks import Mask, MaskSet
from particle_nb.core.masks.masks import checked_masks
from particle_nb.core.shape.measuring import choose_unit

#: Words for a class -> the body that it is measured as.
BODIES = {
    "sphere": "sphere",
    "sphere-like": "sphere",
    "circle": "sphere",
    "disc": "sphere",
    "disk": "sphere",
    "dot": "sphere",
    "cube": "square",
    "square": "square",
    "plate": "rectangle",
    "rectangle": "rectangle",
    "cuboid": "rectangle",
    "rod": "rod",
    "fibre": "rod",
    "fiber": "rod",
    "wire": "rod",
    "needle": "rod",
    "triangle": "triangle",
    "truncated triangle": "triangle",
    "pentagon": "pentagon",
    "hexagon": "hexagon",
    "ellipse": "ellipsoid",
    "ellipsoid": "ellipsoid",
}
_REGULAR = {"pentagon": 5, "hexagon": 6}
_LENGTHS = ("d", "edge", "length", "width", "corner_radius")
#: Pixels within so many of the mask's edge are fitted.
_NEAR = 3.0
#: A body that disagrees with more than this share of the particle is flagged.
_MISFIT = 0.08
#: A mask is measured on no more pixels across than this; larger ones are thinned.
_SIDE = 400
_Distance = Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]


@dataclass(frozen=True)
class _Pixels:
    """Pixels near the edge of a mask, in units of pixels, and whether they belong to it."""

    x: np.ndarray
    y: np.ndarray
    inside: np.ndarray
    area: float
    centre: tuple[float, float]
    moments: tuple[float, float, float]
    crop: np.ndarray

    @classmethod
    def of(cls, crop: np.ndarray) -> _Pixels:
        padded = np.pad(crop, math.ceil(_NEAR) + 1)
        apart = np.where(
            padded,
            ndimage.distance_transform_edt(padded),
            ndimage.distance_transform_edt(~padded),
        )
        rows, cols = np.nonzero(apart <= _NEAR + 0.5)
        every = np.nonzero(padded)
        y, x = (float(v.mean()) for v in every)
        dx, dy = every[1] - x, every[0] - y
        # a pixel is a square, not a point: it has a moment of its own
        moments = (
            float((dx * dx).mean() + 1 / 12),
            float((dx * dy).mean()),
            float((dy * dy).mean() + 1 / 12),
        )
        return cls(cols - x, rows - y, padded[rows, cols], float(len(dx)), (x, y), moments, padded)

    def axes(self) -> tuple[float, float, float]:
        """Greatest and least axis of the ellipse of equal moments, and the angle of the first."""
        xx, xy, yy = self.moments
        mean, half = (xx + yy) / 2, math.hypot((xx - yy) / 2, xy)
        angle = 0.5 * math.atan2(2 * xy, xx - yy)
        return 4 * math.sqrt(mean + half), 4 * math.sqrt(max(mean - half, 1e-9)), angle


def class_geometry(
    masks: Any,
    table: pd.DataFrame | pd.Series | Sequence[str],
    calibration: Calibration | None = None,
    unit: str | None = None,
) -> pd.DataFrame:
    """Measure each particle as the body that its class names.

    Spheres by the circle of equal area; cubes, plates, triangles, pentagons and hexagons by the
    polygon with rounded corners that agrees best with the pixels; rods along their axis, straight
    or curved; ellipsoids by their second moments. What is seen is a projection: a cube is taken to
    lie on a face, a plate flat, a rod in the plane.

    Parameters
    ----------
    masks : MaskSet
    table : DataFrame with a column ``class``, or names (N,)
        From `ShapeClassifier.predict`. `BODIES` lists the words that are understood; others,
        "unknown" among them, are left empty.
    calibration : Calibration or None
        None gives lengths in pixels.
    unit : "px", "nm", "um" or None
        As in `measure`.

    Returns
    -------
    DataFrame
        One row a mask: ``label class body``; with the unit behind ``d`` (sphere), ``edge`` (cube
        and polygons, the mean of their sides, from corner to corner of the sharp polygon),
        ``length`` and ``width`` (rod along and across its axis, plate, axes of an ellipsoid),
        ``corner_radius``; ``truncation``, the share of a triangle's edge lost at each corner if
        corners are cut straight (the same missing area as the radius, seen otherwise);
        ``curvature``, the angle in radians that a rod's axis turns; ``misfit``, the area where
        particle and body disagree over the particle's; ``flag``: ``misfit`` above 0.08, ``edge``
        (cut by the frame: not measured), ``holes``, ``parts``, ``small`` (below 12 px across).

    Raises
    ------
    DataError
        If lengths differ.
    CalibrationError
        If a physical unit is asked for without a calibration.

    Examples
    --------
    >>> labels = np.zeros((60, 60), int)
    >>> labels[10:50, 10:50] = 1
    >>> found = class_geometry(labels, ["cube"], Calibration(0.5, "um"))
    >>> found["edge_um"].round(1).tolist()
    [20.0]

    References
    ----------
    Edge lengths by class: J. Bals, M. Epple, 2023. Rounded polygons: as intersections of offset
    half-planes (Minkowski sum with a disc).
    """
    if isinstance(masks, np.ndarray):
        masks = MaskSet.from_labels(masks)
    masks = checked_masks(masks)
    if isinstance(table, pd.DataFrame):
        if "class" not in table:
            raise DataError("the table has no column 'class'; use that of ShapeClassifier.predict.")
        table = table["class"]
    try:
        names = ["" if not isinstance(name, str) else name for name in table]
    except TypeError:
        raise DataError(
            f"classes are a table with a column 'class' or names, not {type(table).__name__}."
        ) from None
    if len(names) != len(masks):
        raise DataError(f"{len(names)} classes for {len(masks)} masks; give one each.")
    unit, pixel = choose_unit(calibration, unit)
    bodies = [_body(name) for name in names]
    # what the frame cuts has no length that could be known
    rows = [
        _measured(mask, "" if mask.touches_edge else body)
        for mask, body in zip(masks, bodies, strict=True)
    ]
    columns: dict[str, Any] = {
        "label": np.arange(1, len(masks) + 1),
        "class": names,
        "body": bodies,
    }
    for length in _LENGTHS:
        values = np.array([row.get(length, math.nan) for row in rows], float)
        columns[f"{length}_{unit}"] = values * pixel
    for ratio in ("truncation", "curvature", "misfit"):
        columns[ratio] = np.array([row.get(ratio, math.nan) for row in rows], float)
    columns["flag"] = [_flag(mask, row) for mask, row in zip(masks, rows, strict=True)]
    found = pd.DataFrame(columns)
    found.attrs.update(
        unit=unit,
        pixel_size=pixel,
        calibration="none" if calibration is None else str(calibration),
        masks=masks.digest,
    )
    return found


def _body(name: str) -> str:
    """The body that a class is measured as, "" for none; plurals are understood."""
    word = " ".join(name.lower().replace("_", " ").split())
    return BODIES.get(word, "") or BODIES.get(word.removesuffix("s"), "")


def _measured(mask: Mask, body: str) -> dict[str, float]:
    """Lengths in pixels of one mask, taken as a body; nothing for an unknown one."""
    if not body:
        return {}
    filled = ndimage.binary_fill_holes(mask.crop)
    parts, count = ndimage.label(filled, np.ones((3, 3)))
    if count > 1:
        filled = parts == 1 + np.argmax(ndimage.sum_labels(filled, parts, range(1, count + 1)))
    step = max(1, math.ceil(max(filled.shape) / _SIDE))
    if step > 1:
        # each cell of step x step pixels by the majority of them
        pad = [(0, -side % step) for side in filled.shape]
        cells = np.pad(filled, pad)
        high, wide = (side // step for side in cells.shape)
        filled = cells.reshape(high, step, wide, step).mean(axis=(1, 3)) >= 0.5
    pixels = _Pixels.of(filled)
    if body == "sphere":
        found = _sphere(pixels)
    elif body == "ellipsoid":
        found = _ellipsoid(pixels)
    elif body in _REGULAR:
        found = _regular(pixels, _REGULAR[body])
    elif body == "triangle":
        found = _triangle(pixels)
    elif body == "rod":
        found = _rod(pixels)
    else:
        found = _rectangle(pixels, body == "square")
    return {name: value * (step if name in _LENGTHS else 1) for name, value in found.items()} | {
        "parts": count
    }


def _flag(mask: Mask, row: dict[str, float]) -> str:
    if not row:
        return "edge" if mask.touches_edge else ""
    across = math.sqrt(4 * mask.area / math.pi)
    holes = ndimage.binary_fill_holes(mask.crop).sum() > mask.crop.sum()
    flags = {
        "misfit": row["misfit"] > _MISFIT,
        "holes": bool(holes),
        "parts": row["parts"] > 1,
        "small": across < 12,
    }
    return ";".join(name for name, raised in flags.items() if raised)


def _sphere(pixels: _Pixels) -> dict[str, float]:
    radius = math.sqrt(pixels.area / math.pi)
    return {"d": 2 * radius, "misfit": _misfit(pixels, np.hypot(pixels.x, pixels.y) - radius)}


def _ellipsoid(pixels: _Pixels) -> dict[str, float]:
    long, short, angle = pixels.axes()
    along = pixels.x * math.cos(angle) + pixels.y * math.sin(angle)
    across = pixels.y * math.cos(angle) - pixels.x * math.sin(angle)
    scaled = np.hypot(along / (long / 2), across / (short / 2))
    return {
        "length": long,
        "width": short,
        "misfit": _misfit(pixels, (scaled - 1) * math.sqrt(long * short) / 2),
    }


def _misfit(pixels: _Pixels, signed: np.ndarray) -> float:
    """Area of disagreement over the particle's, from signed distances of the pixels at its edge."""
    apart = float(np.abs(_covered(signed) - pixels.inside).sum())
    # even the true body disagrees with its own pixels by a quarter of each on the edge
    rim = np.count_nonzero(pixels.crop & ~ndimage.binary_erosion(pixels.crop))
    return max(apart - 0.25 * rim, 0.0) / pixels.area


def _covered(signed: np.ndarray) -> np.ndarray:
    return np.clip(0.5 - signed, 0, 1)


def _fit(pixels: _Pixels, signed: _Distance, start: Sequence[float]) -> np.ndarray:
    """Parameters of the body that agrees best with the pixels near the edge, by least squares."""

    def residual(parameters: np.ndarray) -> np.ndarray:
        return _covered(signed(parameters, pixels.x, pixels.y)) - pixels.inside

    return optimize.least_squares(
        residual, start, method="trf", x_scale="jac", diff_step=1e-3, max_nfev=60
    ).x


def _polygon(x: np.ndarray, y: np.ndarray, corners: np.ndarray, radius: float) -> np.ndarray:
    """Signed distances to a convex polygon (n, 2), counter-clockwise, blown up by a radius."""
    nearest = np.full(len(x), np.inf)
    outside = np.full(len(x), -np.inf)
    for place, (ax, ay) in enumerate(corners):
        bx, by = corners[(place + 1) % len(corners)]
        sx, sy = bx - ax, by - ay
        length = max(math.hypot(sx, sy), 1e-9)
        along = np.clip(((x - ax) * sx + (y - ay) * sy) / length**2, 0, 1)
        nearest = np.minimum(nearest, np.hypot(x - ax - along * sx, y - ay - along * sy))
        outside = np.maximum(outside, ((x - ax) * sy - (y - ay) * sx) / length)
    return np.where(outside > 0, nearest, -nearest) - radius


def _meeting(angles: np.ndarray, offsets: np.ndarray) -> np.ndarray:
    """Corners (n, 2) of half-planes by the angle of their normal (ascending) and their offset."""
    others, far = np.roll(angles, -1), np.roll(offsets, -1)
    turn = np.sin(others - angles)
    turn = np.where(np.abs(turn) < 1e-6, 1e-6, turn)
    x = (offsets * np.sin(others) - far * np.sin(angles)) / turn
    y = (far * np.cos(angles) - offsets * np.cos(others)) / turn
    return np.column_stack([x, y])


def _turn(pixels: _Pixels, fold: int) -> float:
    """Angle of the corners of an n-fold body, from the n-fold moment of its pixels."""
    rows, cols = np.nonzero(pixels.crop)
    x, y = cols - pixels.centre[0], rows - pixels.centre[1]
    moment = ((x + 1j * y) ** fold * np.hypot(x, y) ** 2).sum()
    return float(np.angle(moment)) / fold


def _regular(pixels: _Pixels, fold: int) -> dict[str, float]:
    step = 2 * math.pi / fold

    def corners(p: np.ndarray) -> tuple[np.ndarray, float]:
        radius = min(abs(p[4]), 0.98 * abs(p[3]))
        around = p[2] + step * np.arange(fold)
        circum = (abs(p[3]) - radius) / math.cos(step / 2)
        points = np.column_stack([p[0] + circum * np.cos(around), p[1] + circum * np.sin(around)])
        return points, radius

    def signed(p: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        return _polygon(x, y, *corners(p))

    apothem = math.sqrt(pixels.area / (fold * math.tan(step / 2)))
    best = _fit(pixels, signed, (0, 0, _turn(pixels, fold), apothem, 0.1 * apothem))
    return {
        "edge": 2 * abs(best[3]) * math.tan(step / 2),
        "corner_radius": corners(best)[1],
        "misfit": _misfit(pixels, signed(best, pixels.x, pixels.y)),
    }


def _triangle(pixels: _Pixels) -> dict[str, float]:
    """Three free sides: a triangle need not be regular."""

    def corners(p: np.ndarray) -> tuple[np.ndarray, float]:
        radius = min(abs(p[6]), 0.9 * max(float(p[3:6].min()), 1e-3))
        return _meeting(p[:3], p[3:6] - radius), radius

    def signed(p: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        return _polygon(x, y, *corners(p))

    inner = math.sqrt(pixels.area / (3 * math.sqrt(3)))
    # normals of the sides lie opposite to the corners
    around = _turn(pixels, 3) + math.pi + 2 * math.pi / 3 * np.arange(3)
    best = _fit(pixels, signed, [*around, inner, inner, inner, 0.15 * inner])
    sharp = _meeting(best[:3], best[3:6])
    edges = np.hypot(*(np.roll(sharp, -1, 0) - sharp).T)
    whole = 0.5 * abs(
        float(
            np.sum(sharp[:, 0] * np.roll(sharp[:, 1], -1) - np.roll(sharp[:, 0], -1) * sharp[:, 1])
        )
    )
    missing = max(whole - pixels.area, 0.0)
    return {
        "edge": float(edges.mean()),
        "corner_radius": corners(best)[1],
        # three small triangles of the same form are cut off
        "truncation": math.sqrt(missing / (3 * whole)),
        "misfit": _misfit(pixels, signed(best, pixels.x, pixels.y)),
    }


def _box(length: float, width: float, radius: float, along: np.ndarray, across: np.ndarray) -> Any:
    """Signed distances to a rectangle around the origin with rounded corners."""
    a, b = np.abs(along) - length / 2 + radius, np.abs(across) - width / 2 + radius
    outer = np.hypot(np.maximum(a, 0), np.maximum(b, 0))
    return outer + np.minimum(np.maximum(a, b), 0) - radius


def _fitted_box(pixels: _Pixels, square: bool) -> tuple[np.ndarray, np.ndarray]:
    """Length, width, radius, angle of the best rectangle, and signed distances of the pixels."""

    def signed(p: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        c, s = math.cos(p[2]), math.sin(p[2])
        along, across = (x - p[0]) * c + (y - p[1]) * s, (y - p[1]) * c - (x - p[0]) * s
        width = abs(p[4])
        length = abs(p[3])
        radius = min(abs(p[5]), 0.5 * min(length, width))
        return _box(length, width, radius, along, across)

    long, short, angle = pixels.axes()
    if square or long < 1.15 * short:
        # second moments say nothing of the direction of a square; its corners lie on diagonals
        angle = _turn(pixels, 4) + math.pi / 4
    ratio = 1.0 if square else long / short
    length, width = math.sqrt(pixels.area * ratio), math.sqrt(pixels.area / ratio)
    best = _fit(pixels, signed, (0, 0, angle, length, width, 0.1 * width))
    values = signed(best, pixels.x, pixels.y)
    sides = sorted((abs(best[3]), abs(best[4])), reverse=True)
    turned = best[2] + (0 if abs(best[3]) >= abs(best[4]) else math.pi / 2)
    return np.array([*sides, min(abs(best[5]), 0.5 * sides[1]), turned]), values


def _rectangle(pixels: _Pixels, square: bool) -> dict[str, float]:
    (length, width, radius, _), signed = _fitted_box(pixels, square)
    found = {"corner_radius": float(radius), "misfit": _misfit(pixels, signed)}
    if square:
        return found | {"edge": float(length + width) / 2}
    return found | {"length": float(length), "width": float(width)}


def _rod(pixels: _Pixels) -> dict[str, float]:
    """A rod bent along an arc of a circle, or along any axis where that agrees better."""

    def signed(p: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        c, s = math.cos(p[2]), math.sin(p[2])
        length, width = abs(p[3]), abs(p[4])
        along, across = _unbent(
            (x - p[0]) * c + (y - p[1]) * s, (y - p[1]) * c - (x - p[0]) * s, p[6] / length
        )
        return _box(length, width, min(abs(p[5]), 0.5 * min(length, width)), along, across)

    long, short, angle = pixels.axes()
    if long < 1.15 * short:
        return _rectangle(pixels, square=False) | {"curvature": 0.0}
    rows, cols = np.nonzero(pixels.crop)
    x, y = cols - pixels.centre[0], rows - pixels.centre[1]
    along = x * math.cos(angle) + y * math.sin(angle)
    across = y * math.cos(angle) - x * math.sin(angle)
    squares = along**2 - (along**2).mean()
    bend = 2 * float((squares * across).sum() / (squares**2).sum())
    length, width = math.sqrt(pixels.area * long / short), math.sqrt(pixels.area * short / long)
    turn = float(np.clip(bend * length, -3, 3))
    best = _fit(pixels, signed, (0, 0, angle, length, width, 0.3 * width, turn or 1e-3))
    length, width = abs(best[3]), abs(best[4])
    arc = {
        "length": float(length),
        "width": float(width),
        "corner_radius": float(min(abs(best[5]), 0.5 * min(length, width))),
        "curvature": float(abs(best[6])),
        "misfit": _misfit(pixels, signed(best, pixels.x, pixels.y)),
    }
    if width > length:
        return _rectangle(pixels, square=False) | {"curvature": 0.0}
    other = _curved(pixels) if arc["misfit"] > _MISFIT / 2 else None
    return other if other is not None and other["misfit"] < arc["misfit"] - 0.01 else arc


def _unbent(x: np.ndarray, y: np.ndarray, bend: float) -> tuple[np.ndarray, np.ndarray]:
    """Place along, and distance from, an arc through the origin along x, of a curvature."""
    if abs(bend) < 1e-9:
        return x, y
    ahead = 1 - bend * y
    along = np.arctan2(bend * x, ahead) / bend
    across = (2 * y - bend * (x * x + y * y)) / (1 + np.hypot(bend * x, ahead))
    return along, across


def _curved(pixels: _Pixels) -> dict[str, float] | None:
    """Length and width along the axis of a bent rod or fibre; None where there is no such axis."""
    axis = _axis(pixels.crop)
    if axis is None:
        return None
    rows, cols = np.nonzero(pixels.crop)
    px, py = cols.astype(float), rows.astype(float)
    for _ in range(3):
        moved = _centred(axis, px, py, _width(pixels.crop))
        if moved is None:
            return None
        axis = moved
    along, across = _along(axis, px, py)
    first, last = float(along.min()) - 0.5, float(along.max()) + 0.5
    width = pixels.area / (last - first)
    for _ in range(3):
        # the middle part, whose width the ends do not touch
        low, high = first + 0.75 * width, last - 0.75 * width
        if high - low < width:
            return None
        middle = (along > low) & (along < high)
        width = float(np.count_nonzero(middle)) / (high - low)
    aside = float(across[middle].mean())
    # the length is that of a strip along the axis: round ends are longest there
    strip = np.abs(across - aside) <= max(0.15 * width, 1.0)
    density = float(np.count_nonzero(strip & middle)) / (high - low)
    ends = [float(np.count_nonzero(strip & part)) for part in (along <= low, along >= high)]
    length = high - low + sum(ends) / density
    x, y = pixels.x + pixels.centre[0], pixels.y + pixels.centre[1]
    there, beside = _along(axis, x, y)
    missing = max((length * width - pixels.area) / (4 - math.pi), 0.0)
    radius = min(math.sqrt(missing), width / 2)
    begin = low - ends[0] / density
    signed = _box(length, width, radius, there - begin - length / 2, beside - aside)
    steps = np.diff(axis, axis=0)
    angles = np.unwrap(np.arctan2(steps[:, 1], steps[:, 0]))
    return {
        "length": length,
        "width": width,
        "corner_radius": radius,
        "curvature": float(np.abs(np.diff(angles)).sum()),
        "misfit": _misfit(pixels, signed),
    }


def _axis(crop: np.ndarray) -> np.ndarray | None:
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
    return _led_on(smooth, 3 * _width(crop) + 4)


def _led_on(line: np.ndarray, reach: float) -> np.ndarray:
    """Lead a line on straight beyond both ends."""
    head, tail = line[0] - line[8], line[-1] - line[-9]
    head, tail = (way / max(float(np.hypot(*way)), 1e-9) for way in (head, tail))
    steps = np.linspace(0, 1, 9)[1:, None] * reach
    return np.concatenate([(line[0] + steps * head)[::-1], line, line[-1] + steps * tail])


def _centred(axis: np.ndarray, x: np.ndarray, y: np.ndarray, width: float) -> np.ndarray | None:
    """Move an axis to the middle of the pixels beside it, piece by piece."""
    along, across = _along(axis, x, y)
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


def _width(crop: np.ndarray) -> float:
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


def _along(axis: np.ndarray, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
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
