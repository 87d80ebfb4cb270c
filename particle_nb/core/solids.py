"""Solids with exact top and bottom heights: the particles of synthetic micrographs.

A particle is one or more parts (an agglomerate has many). Every part is an ellipsoid, a convex
polyhedron, a cylinder or a capsule, rotated freely, with an optional irregular outline and an
optional roughness. Both are Gaussian-correlated random fields added along the surface normal.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from particle_nb.core import ellipsoids
from particle_nb.core.compiled import compiled
from particle_nb.core.noise import (
    OUTLINE_LIMIT,
    ROUGH_LIMIT,
    VOXELS_PER_CORRELATION,
    displacement,
)

#: The kinds of part that `_distance` and `_span` know.
ELLIPSOID, POLYHEDRON, CYLINDER, CAPSULE = range(4)


@compiled
def _smooth_max(a, b, k):
    gap = k - abs(a - b)
    return max(a, b) + (gap * gap / (4.0 * k) if gap > 0.0 else 0.0)


@compiled
def _distance(kind, semi, planes, k, x, y, z):
    """Signed distance to the smooth solid: exact for spheres and capsules, else to first order."""
    if kind == ELLIPSOID:
        u, v, w = x / semi[0], y / semi[1], z / semi[2]
        k0 = math.sqrt(u * u + v * v + w * w)
        u, v, w = u / semi[0], v / semi[1], w / semi[2]
        k1 = math.sqrt(u * u + v * v + w * w)
        if k1 < 1e-12:
            return -min(semi[0], min(semi[1], semi[2]))
        return k0 * (k0 - 1.0) / k1
    if kind == POLYHEDRON:
        d = planes[0, 0] * x + planes[0, 1] * y + planes[0, 2] * z - planes[0, 3]
        for i in range(1, planes.shape[0]):
            e = planes[i, 0] * x + planes[i, 1] * y + planes[i, 2] * z - planes[i, 3]
            d = _smooth_max(d, e, k) if k > 0.0 else max(d, e)
        return d
    if kind == CYLINDER:
        a, b = math.sqrt(x * x + y * y) - semi[0], abs(z) - semi[2]
        return _smooth_max(a, b, k) if k > 0.0 else max(a, b)
    half = semi[2] - semi[0]
    w = z - min(max(z, -half), half)
    return math.sqrt(x * x + y * y + w * w) - semi[0]


@compiled
def _quadric(a, b, c):
    """Both roots of a t^2 + 2 b t + c = 0, or an empty interval."""
    root = b * b - a * c
    if root < 0.0 or a <= 0.0:
        return 1.0, -1.0
    root = math.sqrt(root)
    return (-b - root) / a, (-b + root) / a


@compiled
def _span(kind, semi, planes, p, d):
    """Where the ray p + t d runs inside the smooth solid: (t of entry, t of exit)."""
    low, high = -1e30, 1e30
    if kind == ELLIPSOID:
        a = b = c = 0.0
        for i in range(3):
            q = 1.0 / (semi[i] * semi[i])
            a += d[i] * d[i] * q
            b += d[i] * p[i] * q
            c += p[i] * p[i] * q
        return _quadric(a, b, c - 1.0)
    if kind == POLYHEDRON:
        for i in range(planes.shape[0]):
            slope = planes[i, 0] * d[0] + planes[i, 1] * d[1] + planes[i, 2] * d[2]
            gap = planes[i, 3] - planes[i, 0] * p[0] - planes[i, 1] * p[1] - planes[i, 2] * p[2]
            if abs(slope) < 1e-12:
                if gap < 0.0:
                    return 1.0, -1.0
            elif slope > 0.0:
                high = min(high, gap / slope)
            else:
                low = max(low, gap / slope)
        return low, high
    half = semi[2] if kind == CYLINDER else semi[2] - semi[0]
    if abs(d[2]) > 1e-12:
        t0, t1 = (-half - p[2]) / d[2], (half - p[2]) / d[2]
        low, high = min(t0, t1), max(t0, t1)
    elif abs(p[2]) > half:
        low, high = 1.0, -1.0
    a = d[0] * d[0] + d[1] * d[1]
    c = p[0] * p[0] + p[1] * p[1] - semi[0] * semi[0]
    if a > 1e-12:
        t0, t1 = _quadric(a, d[0] * p[0] + d[1] * p[1], c)
        low, high = max(low, t0), min(high, t1)
        if t0 > t1:
            low, high = 1.0, -1.0
    elif c > 0.0:
        low, high = 1.0, -1.0
    if kind == CYLINDER:
        return low, high
    if low > high:
        low, high = 1e30, -1e30
    for end in (-half, half):
        w = p[2] - end
        t0, t1 = _quadric(1.0, d[0] * p[0] + d[1] * p[1] + d[2] * w, c + w * w)
        if t0 <= t1:
            low, high = min(low, t0), max(high, t1)
    return low, high


@compiled
def _relief(kind, semi, fields, volume, x, y, z):
    """Displacement along the normal at a point: irregularity and roughness apart."""
    if kind == ELLIPSOID:  # radial projection, exact for a sphere
        u, v, w = x / semi[0], y / semi[1], z / semi[2]
        k0 = math.sqrt(u * u + v * v + w * w)
        if k0 > 1e-9:
            x, y, z = x / k0, y / k0, z / k0
    return displacement(fields, volume, x, y, z)


@compiled
def _march(kind, semi, planes, k, fields, volume, p, d, start, stop, near):
    """Follow the ray p + t d from t = start towards stop until it meets the surface.

    `near` is where a neighbouring ray met it (nan for unknown): the search begins a little before.
    Returns t and the roughness there; t is nan for a miss.
    """
    sign = -1.0 if stop < start else 1.0
    shell = OUTLINE_LIMIT * fields[0, 0] + ROUGH_LIMIT * fields[1, 0]
    # a displaced surface is steeper than its base: shorten the steps by the fields' slope
    relax = 1.0 / (1.02 + 1.8 * (fields[0, 0] * fields[0, 1] + fields[1, 0] * fields[1, 1]))
    warm = not math.isnan(near)
    t = start
    if warm:
        t = near - sign * (1.5 + 3.0 * fields[1, 0])
        if (t - start) * sign < 0.0:
            t, warm = start, False
    fine, gap, before, last, known = 0.0, 0.0, 0.0, t, False
    for _ in range(120):
        x, y, z = p[0] + t * d[0], p[1] + t * d[1], p[2] + t * d[2]
        gap = _distance(kind, semi, planes, k, x, y, z)
        if gap > shell + 0.25:
            move, known = gap - shell, False
        else:
            coarse, fine = _relief(kind, semi, fields, volume, x, y, z)
            gap -= coarse + fine
            if abs(gap) < 0.01:
                if known and before > gap:  # one secant step, forward or back
                    t += min(max((t - last) * gap / (before - gap), -0.1), 0.1)
                return t, fine
            if gap < 0.0:
                if known:  # went through: back by regula falsi
                    t = last + (t - last) * min(max(before / (before - gap), 0.02), 0.98)
                    if abs(t - last) < 2e-3:
                        return t, fine
                    continue
                if warm:  # the neighbour was of no help: from the outside again
                    t, warm = start, False
                    continue
                return t, fine
            move = gap * relax
            if known and before > gap:  # the slope along the ray allows longer steps
                slope = (before - gap) / abs(t - last)
                move = min(max(move, 0.9 * gap / max(slope, 0.05)), 2.0 * gap)
            known = True
        before, last = gap, t
        t += sign * max(move, 4e-3)
        if (t - stop) * sign > 0.0:
            break
    return math.nan, 0.0


@compiled
def raster(
    kind,
    rotation,
    centre,
    semi,
    planes,
    k,
    fields,
    volume,
    x0,
    y0,
    part,
    top,
    bottom,
    relief,
    parts,
):
    """Draw one part into the crops of its particle, in pixels; pixel (0, 0) is at (x0, y0).

    `top` keeps the higher, `bottom` the lower height of all parts drawn so far; `relief` is the
    roughness along the normal and `parts` the number of the part, both at the top.
    """
    rows, cols = top.shape
    amplitude = OUTLINE_LIMIT * fields[0, 0] + ROUGH_LIMIT * fields[1, 0]
    marched = amplitude > 0.0 or (k > 0.0 and (kind in (POLYHEDRON, CYLINDER)))
    reach = 0.0
    if kind == POLYHEDRON:
        reach = semi[2]  # circumradius
    elif kind == CYLINDER:
        reach = math.sqrt(semi[0] * semi[0] + semi[2] * semi[2])
    else:
        reach = max(semi[0], max(semi[1], semi[2]))
    reach += amplitude + 0.5
    direction = np.empty(3)
    point = np.empty(3)
    for i in range(3):
        direction[i] = rotation[i, 2]
    for r in range(rows):
        y = y0 + r - centre[1]
        if abs(y) > reach:
            continue
        high = low = math.nan
        for c in range(cols):
            x = x0 + c - centre[0]
            if x * x + y * y > reach * reach:
                continue
            for i in range(3):
                point[i] = rotation[i, 0] * x + rotation[i, 1] * y
            fine = 0.0
            if marched:
                far = math.sqrt(max(reach * reach - x * x - y * y, 0.25))
                near = -far
                if amplitude == 0.0:  # rounding only takes away from the sharp body
                    near, far = _span(kind, semi, planes, point, direction)
                    if near >= far:
                        continue
                high, fine = _march(
                    kind, semi, planes, k, fields, volume, point, direction, far, near, high
                )
                if math.isnan(high):
                    continue
                low, _ = _march(
                    kind, semi, planes, k, fields, volume, point, direction, near, far, low
                )
                if math.isnan(low) or low > high:
                    low = high
            else:
                low, high = _span(kind, semi, planes, point, direction)
                if low >= high:
                    continue
            if high + centre[2] > top[r, c]:
                top[r, c] = high + centre[2]
                relief[r, c] = fine
                parts[r, c] = part
            if low + centre[2] < bottom[r, c]:
                bottom[r, c] = low + centre[2]


@dataclass(frozen=True, eq=False)
class Part:
    """One convex body of a particle; lengths in units that `scaled` turns into pixels.

    `rotation` turns world into local axes; `extent` holds the smooth body's full lengths along
    the local axes. `fields` holds a row for the irregular outline and one
    for the roughness: standard deviation, correlation length and three offsets in voxels.
    """

    kind: int
    rotation: np.ndarray
    centre: np.ndarray
    semi: np.ndarray
    planes: np.ndarray
    rounding: float
    fields: np.ndarray
    extent: np.ndarray

    def scaled(self, factor: float) -> Part:
        """Return the part enlarged by a factor about the particle's centre."""
        planes = self.planes.copy()
        planes[:, 3] *= factor
        fields = self.fields.copy()
        fields[:, :2] *= factor
        return Part(
            self.kind,
            self.rotation,
            self.centre * factor,
            self.semi * factor,
            planes,
            self.rounding * factor,
            fields,
            self.extent * factor,
        )

    @property
    def reach(self) -> float:
        """Radius of a ball about `centre` that holds the part."""
        if self.kind == CYLINDER:
            body = math.hypot(self.semi[0], self.semi[2])
        else:
            body = float(self.semi.max())
        outward = OUTLINE_LIMIT * self.fields[0, 0] + ROUGH_LIMIT * self.fields[1, 0]
        return body + float(outward) + 0.5


@dataclass(frozen=True, eq=False)
class Crop:
    """A particle on the pixel grid: heights above its own lowest point, in pixels.

    `top` is -inf and `bottom` +inf outside; `relief` is the roughness along the normal; `parts`
    numbers the part seen from above, -1 outside; `centre` is the particle's own origin
    (column, row, height).
    """

    top: np.ndarray
    bottom: np.ndarray
    relief: np.ndarray
    parts: np.ndarray
    centre: tuple[float, float, float]

    @property
    def inside(self) -> np.ndarray:
        """The outline, bool (h, w)."""
        return self.parts >= 0


def _draw_part(
    part: Part,
    number: int,
    volume: np.ndarray,
    corner: tuple[float, float],
    maps: tuple[np.ndarray, ...],
) -> None:
    fields = part.fields.copy()
    used = fields[:, 0] > 0
    fields[used, 1] = VOXELS_PER_CORRELATION / fields[used, 1]
    frame = part.rotation, part.centre, part.semi
    if part.kind == ELLIPSOID and used.any() and ellipsoids.spacing(fields) >= ellipsoids.FINEST:
        table, nodes, bounds = ellipsoids.tabulate(part.semi, fields, volume)
        ellipsoids.raster_displaced(
            *frame, fields, volume, table, nodes, bounds, *corner, number, *maps
        )
        return
    shape = part.planes, part.rounding, fields, volume
    raster(part.kind, *frame, *shape, *corner, number, *maps)


def draw(parts: list[Part], volume: np.ndarray, shift: tuple[float, float] = (0.0, 0.0)) -> Crop:
    """Put a particle on the pixel grid, its centre `shift` (x, y) off the crop's middle pixel."""
    reach_x = max(abs(part.centre[0]) + part.reach for part in parts) + 1.0
    reach_y = max(abs(part.centre[1]) + part.reach for part in parts) + 1.0
    half_x, half_y = math.ceil(reach_x), math.ceil(reach_y)
    size = (2 * half_y + 1, 2 * half_x + 1)
    top = np.full(size, -np.inf, np.float32)
    bottom = np.full(size, np.inf, np.float32)
    relief = np.zeros(size, np.float32)
    ids = np.full(size, -1, np.int32)
    maps = top, bottom, relief, ids
    corner = -half_x - shift[0], -half_y - shift[1]
    if all(part.kind == ELLIPSOID and not part.fields[:, 0].any() for part in parts):
        ellipsoids.raster_smooth(
            np.array([part.rotation for part in parts]),
            np.array([part.centre for part in parts]),
            np.array([part.semi for part in parts]),
            *corner,
            *maps,
        )
    else:
        for number, part in enumerate(parts):
            _draw_part(part, number, volume, corner, maps)
    inside = ids >= 0
    if not inside.any():  # smaller than a pixel and between two centres: one pixel stands for it
        inside[half_y, half_x] = True
        top[half_y, half_x], bottom[half_y, half_x], ids[half_y, half_x] = 0.5, 0.0, 0
    rows, cols = np.flatnonzero(inside.any(axis=1)), np.flatnonzero(inside.any(axis=0))
    window = (slice(rows[0], rows[-1] + 1), slice(cols[0], cols[-1] + 1))
    floor = bottom[inside].min()
    return Crop(
        top[window] - floor,
        bottom[window] - floor,
        relief[window].copy(),
        ids[window].copy(),
        (half_x + shift[0] - float(cols[0]), half_y + shift[1] - float(rows[0]), -float(floor)),
    )
