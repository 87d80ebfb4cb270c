"""Residuals, places on the grid and areas of millions of points, in compiled passes over them.

Each pass reads the points once and keeps its intermediate values in registers, so that four
million points take some tens of milliseconds a pass and no array of float64.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from particle_nb.core.compiled import compiled
from particle_nb.core.errors import DataError
from particle_nb.core.fitted import (
    STEEPEST,
    EllipsoidForm,
    Form,
    PolynomialForm,
    SphereForm,
    exponents,
)
from particle_nb.core.formfit import MAD
from particle_nb.core.surface import PointCloud

#: Empty cells around the grid, so that neighbours two cells away can be asked for everywhere.
MARGIN = 2


@dataclass(frozen=True, eq=False)
class Grid:
    """Where the points of a cloud lie on its grid.

    Parameters
    ----------
    place : int32 (N,)
        Flat index of every point's cell.
    index : int32 (h, w)
        Number of the point in every cell, -1 where there is none; `MARGIN` empty cells around.
    """

    place: np.ndarray
    index: np.ndarray


def grid_of(cloud: PointCloud) -> Grid | None:
    """Return where the points of a cloud lie; None for scattered points.

    Examples
    --------
    >>> grid_of(PointCloud([[0, 0, 5], [1, 0, 6], [1, 1, 7.0]], pixel_size=1)).index[2:4, 2:4]
    array([[ 0,  1],
           [-1,  2]], dtype=int32)
    """
    pitch = cloud.pitch
    if pitch is None:
        return None
    xyz = np.ascontiguousarray(cloud.xyz)
    x0, x1, y0, y1 = _bounds(xyz)
    per_nm = 1 / pitch
    shape = _frame(int((y1 - y0) * per_nm + 0.5) + 1, int((x1 - x0) * per_nm + 0.5) + 1)
    index = np.full(shape, -1, np.int32)
    return Grid(_places(xyz, x0, y0, per_nm, index), index)


def _frame(rows: int, cols: int) -> tuple[int, int]:
    shape = rows + 2 * MARGIN, cols + 2 * MARGIN
    if shape[0] * shape[1] >= 2**31:
        raise DataError(
            f"a grid of {rows} x {cols} cells under the points is beyond what fits; "
            "does the pixel size belong to this cloud?"
        )
    return shape


def residuals(cloud: PointCloud, form: Form) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return residual (N,) in nm, normal_z (N,) and foot (N, 2) of every point, float32.

    The foot is where the point's normal meets the form, in pixels from the first point (in nm
    where the points lie on no grid).

    Examples
    --------
    >>> cloud = PointCloud([[0.0, 0, 2], [0, 3, 4]], pixel_size=1)
    >>> residual, up, foot = residuals(cloud, SphereForm(0, 0, 0, 1))
    >>> residual.tolist(), round(float(up[1]), 6), round(float(foot[1, 1]), 6)
    ([1.0, 4.0], 0.8, 0.6)
    """
    # far from the origin float32 would lose the feet
    corner = cloud.xyz[0, :2].astype(np.float64)
    unit = 1 / (cloud.pitch or 1.0)
    xyz, (x, y) = np.ascontiguousarray(cloud.xyz), corner.tolist()
    if isinstance(form, SphereForm):
        numbers = (form.x, form.y, form.z, form.radius, form.sign)
        return _off_spheres(xyz, numbers, x, y, unit)
    if isinstance(form, EllipsoidForm):
        (a, _, _), (b, c, _), (d, e, f) = form.lower.tolist()
        tiny = 1e-12 * float(np.abs(form.lower).max())
        numbers = (*form.centre.tolist(), a, b, c, d, e, f, tiny)
        return _off_ellipsoids(xyz, numbers, x, y, unit)
    if not isinstance(form, PolynomialForm):
        raise DataError(
            f"no residuals can be taken off a {type(form).__name__}; fit_form gives forms."
        )
    powers = np.zeros((form.degree + 1, form.degree + 1))
    for place, value in zip(exponents(form.degree), form.coefficients.tolist(), strict=True):
        powers[place] = value
    return _off_polynomials(xyz, powers, (*form.origin, form.scale), x, y, unit)


def spikes(
    grid: Grid, residual: np.ndarray, suspects: np.ndarray, lonely: float, least: float
) -> np.ndarray:
    """Tell which suspects leave the median of their 24 neighbours, bool (M,).

    Parameters
    ----------
    grid : Grid
    residual : float32 (N,)
    suspects : int (M,)
        Points to be asked about.
    lonely : float
        How many times the neighbours' own scatter a spike lies off.
    least : float
        And by how many nm at least.

    Examples
    --------
    >>> y, x = np.mgrid[:9, :9].reshape(2, -1)
    >>> flat = PointCloud(np.stack([x, y, 0.0 * x], axis=1), pixel_size=1)
    >>> height = np.where(x + y == 4, 5.0, 0.0).astype(np.float32) + (x == 8) * (y == 8) * 9
    >>> spikes(grid_of(flat), height.astype(np.float32), np.array([40, 80]), 4.5, 1.0).tolist()
    [False, True]
    """
    return _spikes(
        grid.index,
        grid.place,
        residual,
        suspects.astype(np.int64),
        _comparators(24),
        np.float32(lonely * MAD),
        np.float32(least),
    )


def areas(grid: Grid, foot: np.ndarray, up: np.ndarray, kept: np.ndarray) -> np.ndarray:
    """Return the area of the form around the foot of every point in pixels, float32 (N,).

    It is what the feet of the neighbours that were kept span. `up` may be overwritten.

    Examples
    --------
    >>> y, x = np.mgrid[:3, :3].reshape(2, -1)
    >>> flat = PointCloud(np.stack([x, y, 0.0 * x], axis=1), pixel_size=1)
    >>> foot = np.stack([1.5 * x, y], axis=1).astype(np.float32)
    >>> areas(grid_of(flat), foot, np.ones(9, np.float32), np.ones(9, bool)).tolist()[:3]
    [1.5, 1.5, 1.5]
    """
    thrown = np.flatnonzero(~kept)
    if thrown.size:
        places = grid.place[thrown]
        cells = grid.index.reshape(-1)
        cells[places[cells[places] == thrown]] = -1
    _areas(grid.index, grid.place, foot, up)
    return up


@compiled
def _bounds(xyz):
    """Least and greatest x, least and greatest y."""
    x0, y0 = xyz[0, 0], xyz[0, 1]
    x1, y1 = x0, y0
    for i in range(len(xyz)):
        x, y = xyz[i, 0], xyz[i, 1]
        x0, x1 = x if x < x0 else x0, x if x > x1 else x1
        y0, y1 = y if y < y0 else y0, y if y > y1 else y1
    return float(x0), float(x1), float(y0), float(y1)


@compiled
def _places(xyz, x0, y0, per_nm, index):
    """Write the number of every point into its cell; returns the cells."""
    width = index.shape[1]
    cells = index.reshape(-1)
    place = np.empty(len(xyz), np.int32)
    for i in range(len(xyz)):
        row = np.int32((xyz[i, 1] - y0) * per_nm + 0.5) + MARGIN
        place[i] = row * width + np.int32((xyz[i, 0] - x0) * per_nm + 0.5) + MARGIN
        cells[place[i]] = i
    return place


@compiled
def _off_spheres(xyz, form, x0, y0, unit):
    """Residual, normal_z and foot; as `SphereForm.residual` has them, point by point."""
    residual, up = np.empty(len(xyz), np.float32), np.empty(len(xyz), np.float32)
    foot = np.empty((len(xyz), 2), np.float32)
    cx, cy, cz, radius, sign = form
    for i in range(len(xyz)):
        dx, dy, dz = xyz[i, 0] - cx, xyz[i, 1] - cy, xyz[i, 2] - cz
        distance = math.sqrt(dx * dx + dy * dy + dz * dz)
        per = sign / max(distance, 1e-12 * radius)
        off = sign * (distance - radius)
        residual[i], up[i] = off, max(dz * per, STEEPEST)
        foot[i, 0] = (xyz[i, 0] - x0 - off * dx * per) * unit
        foot[i, 1] = (xyz[i, 1] - y0 - off * dy * per) * unit
    return residual, up, foot


@compiled
def _off_ellipsoids(xyz, form, x0, y0, unit):
    """Residual, normal_z and foot; as `EllipsoidForm.residual` has them, point by point."""
    residual, up = np.empty(len(xyz), np.float32), np.empty(len(xyz), np.float32)
    foot = np.empty((len(xyz), 2), np.float32)
    cx, cy, cz, a, b, c, d, e, f, tiny = form
    for i in range(len(xyz)):
        dx, dy, dz = xyz[i, 0] - cx, xyz[i, 1] - cy, xyz[i, 2] - cz
        u, v, w = a * dx + b * dy + d * dz, c * dy + e * dz, f * dz
        scale = math.sqrt(u * u + v * v + w * w)
        gx, gy, gz = a * u, b * u + c * v, d * u + e * v + f * w
        per = 1 / max(math.sqrt(gx * gx + gy * gy + gz * gz), tiny)
        off = (scale - 1) * scale * per
        residual[i], up[i] = off, max(gz * per, STEEPEST)
        foot[i, 0] = (xyz[i, 0] - x0 - off * gx * per) * unit
        foot[i, 1] = (xyz[i, 1] - y0 - off * gy * per) * unit
    return residual, up, foot


@compiled
def _off_polynomials(xyz, powers, frame, x0, y0, unit):
    """Residual, normal_z and foot, with `powers[i, j]` before u**i * v**j, by Horner's rule."""
    residual, up = np.empty(len(xyz), np.float32), np.empty(len(xyz), np.float32)
    foot = np.empty((len(xyz), 2), np.float32)
    degree, per = len(powers) - 1, 1 / frame[2]
    for k in range(len(xyz)):
        u, v = (xyz[k, 0] - frame[0]) * per, (xyz[k, 1] - frame[1]) * per
        height = slope_u = slope_v = 0.0
        for i in range(degree, -1, -1):
            inner = inner_v = 0.0
            for j in range(degree - i, -1, -1):
                inner_v = inner_v * v + inner
                inner = inner * v + powers[i, j]
            slope_u = slope_u * u + height
            height = height * u + inner
            slope_v = slope_v * u + inner_v
        slope_u, slope_v = slope_u * per, slope_v * per
        nz = 1 / math.sqrt(1 + slope_u * slope_u + slope_v * slope_v)
        off = (xyz[k, 2] - height) * nz
        residual[k], up[k] = off, max(nz, STEEPEST)
        foot[k, 0] = (xyz[k, 0] - x0 + off * slope_u * nz) * unit
        foot[k, 1] = (xyz[k, 1] - y0 + off * slope_v * nz) * unit
    return residual, up, foot


def _comparators(count: int) -> np.ndarray:
    """Pairs of a sorting network: K. E. Batcher's merge exchange, doi:10.1145/1468075.1468121."""
    pairs = []
    top = 1 << max(count - 1, 1).bit_length() - 1
    step = top
    while step:
        reach, mark, away = top, 0, step
        while True:
            pairs += [(i, i + away) for i in range(count - away) if i & step == mark]
            if reach == step:
                break
            away, reach, mark = reach - step, reach >> 1, step
        step >>= 1
    return np.array(pairs, np.int32)


@compiled
def _median(values, count, network):
    """Median of the first `count` values, the others being infinite; sorts them."""
    for k in range(len(network)):
        upper, lower = network[k, 0], network[k, 1]
        a, b = values[upper], values[lower]
        values[upper] = a if a < b else b
        values[lower] = b if a < b else a
    if count == 0:
        return np.float32(0)  # no neighbour: the form itself
    return (values[(count - 1) // 2] + values[count // 2]) / np.float32(2)


@compiled
def _spikes(index, place, residual, suspects, network, lonely, least):
    """Tell the suspects that leave their neighbours."""
    cells, width = index.reshape(-1), index.shape[1]
    found = np.zeros(suspects.size, np.bool_)
    values = np.empty(24, np.float32)
    for s in range(suspects.size):
        own, here = residual[suspects[s]], place[suspects[s]]
        count = below = above = 0
        for dr in range(-2, 3):
            for dc in range(-2, 3):
                beside = cells[here + dr * width + dc]
                if beside >= 0 and (dr != 0 or dc != 0):
                    values[count] = residual[beside]
                    below += values[count] < own - least
                    above += values[count] > own + least
                    count += 1
        if count > 0 and below <= (count - 1) // 2 and above <= (count - 1) // 2:
            continue  # their median is as near as that: nothing to sort
        values[count:] = np.inf
        middle = _median(values, count, network)
        away = abs(own - middle)
        if not away > least:
            continue
        near = 0
        for k in range(count):
            values[k] = abs(values[k] - middle)
            near += lonely * values[k] < away
        if near > count // 2:
            found[s] = True
        elif near > (count - 1) // 2:  # between the two middle ones: only then their mean matters
            found[s] = away > lonely * _median(values, count, network)
    return found


@compiled
def _areas(index, place, foot, up):
    """Put the area that each point stands for in the place of its normal_z."""
    cells, width = index.reshape(-1), index.shape[1]
    for i in range(place.size):
        here = place[i]
        left, right = cells[here - 1], cells[here + 1]
        above, below = cells[here - width], cells[here + width]
        across, down = (left >= 0) + (right >= 0), (above >= 0) + (below >= 0)
        left, right = left if left >= 0 else i, right if right >= 0 else i
        above, below = above if above >= 0 else i, below if below >= 0 else i
        # a point alone in its row or column spans one pixel there
        xx, xy, yx, yy = 1.0, 0.0, 0.0, 1.0
        if across > 0:
            xx, xy = (foot[right, 0] - foot[left, 0]), (foot[right, 1] - foot[left, 1])
        if down > 0:
            yx, yy = (foot[below, 0] - foot[above, 0]), (foot[below, 1] - foot[above, 1])
        spread = (xx * yy - xy * yx) / (max(across, 1) * max(down, 1))
        # a spike that was kept can fold the feet over each other
        up[i] = min(max(spread, 0.0) / up[i], 1.0 / STEEPEST)
