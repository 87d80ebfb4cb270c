"""Solids with exact top and bottom heights: the particles of synthetic micrographs.

A particle is one or more parts (an agglomerate has many). Every part is an ellipsoid, a convex
polyhedron, a cylinder or a capsule, rotated freely, with an optional irregular outline and an
optional roughness. Both are Gaussian-correlated random fields added along the surface normal.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from particle_nb.core.synthetic._kernels import (
    CYLINDER,
    ELLIPSOID,
    FINEST,
    OUTLINE_LIMIT,
    POLYHEDRON,
    ROUGH_LIMIT,
    VOLUME,
    VOXELS_PER_CORRELATION,
    _extent_of,
    _fill_radii,
    _shadow_area,
    raster,
    raster_displaced,
    raster_faceted,
    raster_smooth,
    sample,
)
from particle_nb.core.synthetic.smoothing import blur


def shadow_area(rotation: np.ndarray, semi: np.ndarray) -> np.ndarray:
    """Area of the shadow that smooth ellipsoids cast along z: pi sqrt(sum of (b c n_a)^2).

    Parameters
    ----------
    rotation : float (..., 3, 3)
        World to local axes; n_a are the components of z along the local axes.
    semi : float (..., 3)
        Semi-axes a, b, c.

    Examples
    --------
    >>> bool(shadow_area(np.eye(3), np.array([3.0, 2.0, 1.0])) == 6 * math.pi)
    True
    """
    a, n = np.asarray(semi, float), np.asarray(rotation, float)[..., 2]
    first = (a[..., 1] * a[..., 2] * n[..., 0]) ** 2
    second = (a[..., 0] * a[..., 2] * n[..., 1]) ** 2
    third = (a[..., 0] * a[..., 1] * n[..., 2]) ** 2
    return math.pi * np.sqrt(first + second + third)


def noise_volume(rng: np.random.Generator, size: int = VOLUME) -> np.ndarray:
    """Return periodic noise whose B-spline interpolation has mean 0 and variance 1.

    Float32 (size + 2,) * 3, one voxel of the next period around it; the interpolated field has
    the autocorrelation exp(-(r / tau)^2) with tau = `VOXELS_PER_CORRELATION` voxels.

    Examples
    --------
    >>> noise_volume(np.random.default_rng(0), 8).shape
    (10, 10, 10)
    """
    white = rng.standard_normal((size, size, size), dtype=np.float32)
    smooth = blur(white, 1.0, 5.0, "wrap")
    smooth -= smooth.mean()
    samples = sample(np.pad(smooth, 1, mode="wrap"), rng.random((20000, 3)) * size)
    return np.pad((smooth / samples.std()).astype(np.float32), 1, mode="wrap")


def spacing(fields: np.ndarray) -> float:
    """Distance of the nodes in pixels: half a voxel of the finer of the fields (2, 5) in use.

    >>> spacing(np.array([[0.0, 0, 0, 0, 0], [1.0, 0.25, 0, 0, 0]]))
    2.0
    """
    return 0.5 / float(fields[fields[:, 0] > 0, 1].max())


def tabulate(
    semi: np.ndarray, fields: np.ndarray, volume: np.ndarray
) -> tuple[np.ndarray, int, tuple[float, float, float]]:
    """Radii of a displaced ellipsoid, nodes a face, and (least, largest, steepest per radian).

    >>> _, _, bounds = tabulate(np.ones(3), np.array([[0.0] * 5, [1e-9, 1, 0, 0, 0]]),
    ...                          np.zeros((10, 10, 10), np.float32))
    >>> bounds
    (1.0, 1.0, 0.0)
    """
    # nowhere farther apart than a 1.25th of what an even grid on the cube's face would have
    nodes = max(4, math.ceil(1.6 * float(semi.max()) / spacing(fields)))
    table = np.empty(6 * (nodes + 3) ** 2)
    return table, nodes, _fill_radii(table, nodes, semi, fields, volume)


def shadow(rotation: np.ndarray, semi: np.ndarray, fields: np.ndarray, volume: np.ndarray) -> float:
    """Area of the outline of a displaced ellipsoid seen from above, px^2, to about 0.1 %.

    >>> round(shadow(np.eye(3), np.full(3, 10.0), np.array([[0.0] * 5, [1e-9, 1, 0, 0, 0]]),
    ...              np.zeros((10, 10, 10), np.float32)), 6) == round(100 * math.pi, 6)
    True
    """
    table, nodes, _ = tabulate(semi, fields, volume)
    return float(_shadow_area(table, nodes, rotation, semi))


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
class Raster:
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


def draw(parts: list[Part], volume: np.ndarray, shift: tuple[float, float] = (0.0, 0.0)) -> Raster:
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
    first, end, left, right, floor = _extent_of(ids, bottom)
    if right <= left:  # smaller than a pixel and between two centres: one pixel stands for it
        top[half_y, half_x], bottom[half_y, half_x], ids[half_y, half_x] = 0.5, 0.0, 0
        first, end, left, right, floor = half_y, half_y + 1, half_x, half_x + 1, 0.0
    window = slice(first, end), slice(left, right)
    low = np.float32(floor)
    return Raster(
        top[window] - low,
        bottom[window] - low,
        relief[window].copy(),
        ids[window].copy(),
        (half_x + shift[0] - float(left), half_y + shift[1] - float(first), -float(floor)),
    )
