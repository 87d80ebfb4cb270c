"""Solids with exact top and bottom heights: the particles of synthetic micrographs.

A particle is one or more parts (an agglomerate has many). Every part is an ellipsoid, a convex
polyhedron, a cylinder or a capsule, rotated freely, with an optional irregular outline and an
optional roughness. Both are Gaussian-correlated random fields added along the surface normal.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from particle_nb.core.compiled import compiled
from particle_nb.core.displaced import raster_displaced
from particle_nb.core.ellipsoids import raster_smooth
from particle_nb.core.marching import CYLINDER, ELLIPSOID, POLYHEDRON, march
from particle_nb.core.noise import OUTLINE_LIMIT, ROUGH_LIMIT, VOXELS_PER_CORRELATION
from particle_nb.core.radii import FINEST, spacing, tabulate
from particle_nb.core.rounded import cylinder_meet, raster_faceted


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
    rounded = kind == CYLINDER and k > 0.0
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
            if amplitude > 0.0:
                far = math.sqrt(max(reach * reach - x * x - y * y, 0.25))
                high, fine = march(
                    kind, semi, planes, k, fields, volume, point, direction, far, -far, high
                )
                if math.isnan(high):
                    continue
                low, _ = march(
                    kind, semi, planes, k, fields, volume, point, direction, -far, far, low
                )
                if math.isnan(low) or low > high:
                    low = high
            else:
                low, high = _span(kind, semi, planes, point, direction)
                if low >= high:
                    continue
                if rounded:  # rounding only takes away from the sharp body
                    first, last = low, high
                    high = cylinder_meet(semi, k, point, direction, last, first)
                    if math.isnan(high):
                        continue
                    low = cylinder_meet(semi, k, point, direction, first, last)
                    if math.isnan(low) or low > high:
                        low = high
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
        planes = self.planes
        if self.kind == POLYHEDRON:
            planes = planes.copy()
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
    def smooth(self) -> bool:
        """Whether it has neither an irregular outline nor a roughness."""
        return bool(self.fields[0, 0] == 0 and self.fields[1, 0] == 0)

    @property
    def reach(self) -> float:
        """Radius of a ball about `centre` that holds the part."""
        semi = self.semi.tolist()  # an agglomerate has hundreds: numpy's max takes ten times longer
        body = math.hypot(semi[0], semi[2]) if self.kind == CYLINDER else max(semi)
        if self.smooth:
            return body + 0.5
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
    frame = part.rotation, part.centre, part.semi
    if part.kind == POLYHEDRON and part.smooth:
        faces = part.planes, part.reach, part.rounding
        raster_faceted(part.rotation, part.centre, *faces, *corner, number, *maps)
        return
    fields = part.fields.copy()
    used = fields[:, 0] > 0
    fields[used, 1] = VOXELS_PER_CORRELATION / fields[used, 1]
    if part.kind == ELLIPSOID and not part.smooth and spacing(fields) >= FINEST:
        table, nodes, bounds = tabulate(part.semi, fields, volume)
        raster_displaced(*frame, fields, volume, table, nodes, bounds, *corner, number, *maps)
        return
    shape = part.planes, part.rounding, fields, volume
    raster(part.kind, *frame, *shape, *corner, number, *maps)


@compiled
def _bounds(ids, bottom):
    """Rows and columns that a particle spans, as slices, and its lowest height."""
    first, end, left, right = ids.shape[0], 0, ids.shape[1], 0
    floor = np.float32(np.inf)
    for r in range(ids.shape[0]):
        for c in range(ids.shape[1]):
            if ids[r, c] >= 0:
                first, end = min(first, r), r + 1
                left, right = min(left, c), max(right, c + 1)
                floor = min(floor, bottom[r, c])
    return first, end, left, right, floor


def draw(parts: list[Part], volume: np.ndarray, shift: tuple[float, float] = (0.0, 0.0)) -> Crop:
    """Put a particle on the pixel grid, its centre `shift` (x, y) off the crop's middle pixel."""
    reaches = [part.reach for part in parts]
    centres = np.array([part.centre for part in parts])
    reach_x, reach_y = (np.abs(centres[:, :2]) + np.array(reaches)[:, None]).max(axis=0) + 1.0
    half_x, half_y = math.ceil(reach_x), math.ceil(reach_y)
    size = (2 * half_y + 1, 2 * half_x + 1)
    top = np.full(size, -np.inf, np.float32)
    bottom = np.full(size, np.inf, np.float32)
    relief = np.zeros(size, np.float32)
    ids = np.full(size, -1, np.int32)
    maps = top, bottom, relief, ids
    corner = -half_x - shift[0], -half_y - shift[1]
    if all(part.kind == ELLIPSOID and part.smooth for part in parts):
        raster_smooth(
            np.array([part.rotation for part in parts]),
            centres,
            np.array([part.semi for part in parts]),
            *corner,
            *maps,
        )
    else:
        for number, part in enumerate(parts):
            _draw_part(part, number, volume, corner, maps)
    first, end, left, right, floor = _bounds(ids, bottom)
    if right <= left:  # smaller than a pixel and between two centres: one pixel stands for it
        top[half_y, half_x], bottom[half_y, half_x], ids[half_y, half_x] = 0.5, 0.0, 0
        first, end, left, right, floor = half_y, half_y + 1, half_x, half_x + 1, 0.0
    window = slice(first, end), slice(left, right)
    low = np.float32(floor)
    return Crop(
        top[window] - low,
        bottom[window] - low,
        relief[window].copy(),
        ids[window].copy(),
        (half_x + shift[0] - float(left), half_y + shift[1] - float(first), -float(floor)),
    )
