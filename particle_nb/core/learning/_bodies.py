"""Ideal bodies with rounded corners, fitted to the pixels near a mask's edge."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import ndimage, optimize

from particle_nb.core.learning._axis import along_axis, bent_axis, centred, inner_width

#: Sides of the regular polygons.
_REGULAR = {"pentagon": 5, "hexagon": 6}
#: Pixels within so many of the mask's edge are fitted.
_NEAR = 3.0
#: A body that disagrees with more than this share of the particle is flagged.
MISFIT = 0.08
_Distance = Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Pixels:
    """Pixels near the edge of a mask, in units of pixels, and whether they belong to it."""

    x: np.ndarray
    y: np.ndarray
    inside: np.ndarray
    area: float
    centre: tuple[float, float]
    moments: tuple[float, float, float]
    crop: np.ndarray

    @classmethod
    def of(cls, crop: np.ndarray) -> Pixels:
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


def fitted(body: str, pixels: Pixels) -> dict[str, float]:
    """Return lengths in pixels, ratios and misfit of the body that agrees best with the pixels."""
    if body in _REGULAR:
        return _regular(pixels, _REGULAR[body])
    plain = {"sphere": _sphere, "ellipsoid": _ellipsoid, "triangle": _triangle, "rod": _rod}
    if body in plain:
        return plain[body](pixels)
    return _rectangle(pixels, body == "square")


def _sphere(pixels: Pixels) -> dict[str, float]:
    radius = math.sqrt(pixels.area / math.pi)
    return {"d": 2 * radius, "misfit": _misfit(pixels, np.hypot(pixels.x, pixels.y) - radius)}


def _ellipsoid(pixels: Pixels) -> dict[str, float]:
    long, short, angle = pixels.axes()
    along = pixels.x * math.cos(angle) + pixels.y * math.sin(angle)
    across = pixels.y * math.cos(angle) - pixels.x * math.sin(angle)
    scaled = np.hypot(along / (long / 2), across / (short / 2))
    return {
        "length": long,
        "width": short,
        "misfit": _misfit(pixels, (scaled - 1) * math.sqrt(long * short) / 2),
    }


def _misfit(pixels: Pixels, signed: np.ndarray) -> float:
    """Area of disagreement over the particle's, from signed distances of the pixels at its edge."""
    apart = float(np.abs(_covered(signed) - pixels.inside).sum())
    # even the true body disagrees with its own pixels by a quarter of each on the edge
    rim = np.count_nonzero(pixels.crop & ~ndimage.binary_erosion(pixels.crop))
    return max(apart - 0.25 * rim, 0.0) / pixels.area


def _covered(signed: np.ndarray) -> np.ndarray:
    return np.clip(0.5 - signed, 0, 1)


def _fit(pixels: Pixels, signed: _Distance, start: Sequence[float]) -> np.ndarray:
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


def _turn(pixels: Pixels, fold: int) -> float:
    """Angle of the corners of an n-fold body, from the n-fold moment of its pixels."""
    rows, cols = np.nonzero(pixels.crop)
    x, y = cols - pixels.centre[0], rows - pixels.centre[1]
    moment = ((x + 1j * y) ** fold * np.hypot(x, y) ** 2).sum()
    return float(np.angle(moment)) / fold


def _regular(pixels: Pixels, fold: int) -> dict[str, float]:
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


def _triangle(pixels: Pixels) -> dict[str, float]:
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


def _fitted_box(pixels: Pixels, square: bool) -> tuple[np.ndarray, np.ndarray]:
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


def _rectangle(pixels: Pixels, square: bool) -> dict[str, float]:
    (length, width, radius, _), signed = _fitted_box(pixels, square)
    found = {"corner_radius": float(radius), "misfit": _misfit(pixels, signed)}
    if square:
        return found | {"edge": float(length + width) / 2}
    return found | {"length": float(length), "width": float(width)}


def _rod(pixels: Pixels) -> dict[str, float]:
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
    other = _curved(pixels) if arc["misfit"] > MISFIT / 2 else None
    return other if other is not None and other["misfit"] < arc["misfit"] - 0.01 else arc


def _unbent(x: np.ndarray, y: np.ndarray, bend: float) -> tuple[np.ndarray, np.ndarray]:
    """Place along, and distance from, an arc through the origin along x, of a curvature."""
    if abs(bend) < 1e-9:
        return x, y
    ahead = 1 - bend * y
    along = np.arctan2(bend * x, ahead) / bend
    across = (2 * y - bend * (x * x + y * y)) / (1 + np.hypot(bend * x, ahead))
    return along, across


def _curved(pixels: Pixels) -> dict[str, float] | None:
    """Length and width along the axis of a bent rod or fibre; None where there is no such axis."""
    axis = bent_axis(pixels.crop)
    if axis is None:
        return None
    rows, cols = np.nonzero(pixels.crop)
    px, py = cols.astype(float), rows.astype(float)
    for _ in range(3):
        moved = centred(axis, px, py, inner_width(pixels.crop))
        if moved is None:
            return None
        axis = moved
    along, across = along_axis(axis, px, py)
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
    there, beside = along_axis(axis, x, y)
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
