"""Compiled passes over millions of points.

Each reads the points once and keeps its intermediate values in registers, so that four million
points take some tens of milliseconds a pass and no array of float64. Lengths are in nm unless a
function says cells or pixels.
"""

from __future__ import annotations

import math

import numpy as np

from particle_nb.core.compiled import compiled


@compiled
def _assemble(index, z, least, width, row0, col0, pixel):
    """Return points x, y, z in nm, float32 (N, 3): `assembled` in one pass, without temporaries.

    `index` counts the pixels of a window of `width` px whose first one is (row0, col0); `z` and
    `least` are heights in nm, `pixel` is the pixel size in nm.
    """
    count = 0
    for i in range(z.size):
        count += z[i] >= least
    xyz = np.empty((count, 3), np.float32)
    k = row = 0
    for i in range(z.size):
        if z[i] >= least:
            while index[i] >= (row + 1) * width:  # the pixels come row by row
                row += 1
            xyz[k, 0] = (index[i] - row * width + col0) * pixel
            xyz[k, 1] = (row + row0) * pixel
            xyz[k, 2] = z[i]
            k += 1
    return xyz


#: Normals flatter than this count as if they stood here: one pixel never weighs more than 20.
STEEPEST = 0.05


@compiled
def _first_moments(heights, area, kept):
    """Return the sums of weights and of weighted heights (nm), least and greatest height (nm).

    `area` holds the weights (no unit), `kept` what counts; empty arrays stand for all alike.
    """
    total = first = 0.0
    low, high = np.inf, -np.inf
    for i in range(heights.size):
        z = float(heights[i])
        if not math.isfinite(z) or (kept.size > 0 and not kept[i]):
            continue
        w = float(area[i]) if area.size > 0 else 1.0
        total += w
        first += w * z
        low, high = z if z < low else low, z if z > high else high
    return total, first, low, high


@compiled
def _central_moments(heights, area, kept, mean):
    """Return weighted sums of |z - mean| and of its 2nd, 3rd and 4th power: nm, nm^2, nm^3, nm^4.

    `heights` and `mean` are in nm; `area` and `kept` are as for `_first_moments`.
    """
    absolute = second = third = fourth = 0.0
    for i in range(heights.size):
        z = float(heights[i]) - mean
        if not math.isfinite(z) or (kept.size > 0 and not kept[i]):
            continue
        wz = float(area[i]) * z if area.size > 0 else z
        wzz = wz * z
        absolute += abs(wz)
        second += wzz
        third += wzz * z
        fourth += wzz * z * z
    return absolute, second, third, fourth


#: Empty cells around the grid, so that neighbours two cells away can be asked for everywhere.
MARGIN = 2


@compiled
def _bounds(xyz):
    """Return least and greatest x, least and greatest y of points (N, 3), nm."""
    x0, y0 = xyz[0, 0], xyz[0, 1]
    x1, y1 = x0, y0
    for i in range(len(xyz)):
        x, y = xyz[i, 0], xyz[i, 1]
        x0, x1 = x if x < x0 else x0, x if x > x1 else x1
        y0, y1 = y if y < y0 else y0, y if y > y1 else y1
    return float(x0), float(x1), float(y0), float(y1)


@compiled
def _cells_of_points(xyz, x0, y0, per_nm, index):
    """Write the number of every point into its cell; return each point's cell, int32 (N,).

    `xyz`, `x0` and `y0` are in nm, `per_nm` is cells a nm; `index` is the map of cells.
    """
    width = index.shape[1]
    cells = index.reshape(-1)
    place = np.empty(len(xyz), np.int32)
    for i in range(len(xyz)):
        row = np.int32((xyz[i, 1] - y0) * per_nm + 0.5) + MARGIN
        place[i] = row * width + np.int32((xyz[i, 0] - x0) * per_nm + 0.5) + MARGIN
        cells[place[i]] = i
    return place


@compiled
def _sphere_residuals(xyz, form, x0, y0, unit):
    """Residual in nm, normal_z and foot in cells; as `SphereForm.residual` has them, one by one.

    `form` is centre and radius in nm and the sign, `x0` and `y0` are nm, `unit` is cells a nm.
    """
    residual, normal_z = np.empty(len(xyz), np.float32), np.empty(len(xyz), np.float32)
    foot = np.empty((len(xyz), 2), np.float32)
    cx, cy, cz, radius, sign = form
    for i in range(len(xyz)):
        dx, dy, dz = xyz[i, 0] - cx, xyz[i, 1] - cy, xyz[i, 2] - cz
        distance = math.sqrt(dx * dx + dy * dy + dz * dz)
        per = sign / max(distance, 1e-12 * radius)
        off = sign * (distance - radius)
        residual[i], normal_z[i] = off, max(dz * per, STEEPEST)
        foot[i, 0] = (xyz[i, 0] - x0 - off * dx * per) * unit
        foot[i, 1] = (xyz[i, 1] - y0 - off * dy * per) * unit
    return residual, normal_z, foot


@compiled
def _ellipsoid_residuals(xyz, form, x0, y0, unit):
    """Residual in nm, normal_z and foot in cells; as `EllipsoidForm.residual` has them, one by one.

    `form` is the centre in nm, the six numbers of the lower matrix in 1/nm and its least gradient
    in 1/nm; `x0` and `y0` are nm, `unit` is cells a nm.
    """
    residual, normal_z = np.empty(len(xyz), np.float32), np.empty(len(xyz), np.float32)
    foot = np.empty((len(xyz), 2), np.float32)
    cx, cy, cz, a, b, c, d, e, f, tiny = form
    for i in range(len(xyz)):
        dx, dy, dz = xyz[i, 0] - cx, xyz[i, 1] - cy, xyz[i, 2] - cz
        u, v, w = a * dx + b * dy + d * dz, c * dy + e * dz, f * dz
        scale = math.sqrt(u * u + v * v + w * w)
        gx, gy, gz = a * u, b * u + c * v, d * u + e * v + f * w
        per = 1 / max(math.sqrt(gx * gx + gy * gy + gz * gz), tiny)
        off = (scale - 1) * scale * per
        residual[i], normal_z[i] = off, max(gz * per, STEEPEST)
        foot[i, 0] = (xyz[i, 0] - x0 - off * gx * per) * unit
        foot[i, 1] = (xyz[i, 1] - y0 - off * gy * per) * unit
    return residual, normal_z, foot


@compiled
def _polynomial_residuals(xyz, powers, frame, x0, y0, unit):
    """Residual in nm, normal_z and foot in cells, by Horner's rule.

    `powers[i, j]`, nm, stands before u**i * v**j; `frame` is origin x, y and scale of u and v, nm;
    `x0` and `y0` are nm, `unit` is cells a nm.
    """
    residual, normal_z = np.empty(len(xyz), np.float32), np.empty(len(xyz), np.float32)
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
        residual[k], normal_z[k] = off, max(nz, STEEPEST)
        foot[k, 0] = (xyz[k, 0] - x0 + off * slope_u * nz) * unit
        foot[k, 1] = (xyz[k, 1] - y0 + off * slope_v * nz) * unit
    return residual, normal_z, foot


@compiled
def _median(values, count, network):
    """Return the median of the first `count` values, the others being infinite; sorts them.

    It has the unit of the values, here nm. `network` holds the pairs of a sorting network.
    """
    for k in range(len(network)):
        upper, lower = network[k, 0], network[k, 1]
        a, b = values[upper], values[lower]
        values[upper] = a if a < b else b
        values[lower] = b if a < b else a
    if count == 0:
        return np.float32(0)  # no neighbour: the form itself
    return (values[(count - 1) // 2] + values[count // 2]) / np.float32(2)


@compiled
def _spikes(index, place, residual, candidates, network, factor, least):
    """Tell which candidates leave the median of their 24 neighbours, bool (M,).

    `residual` and `least` are in nm; `factor` (no unit) is how many times the neighbours' median
    deviation a spike lies off; `index` and `place` are cells, `network` is as for `_median`.
    """
    cells, width = index.reshape(-1), index.shape[1]
    found = np.zeros(candidates.size, np.bool_)
    values = np.empty(24, np.float32)
    for s in range(candidates.size):
        own, here = residual[candidates[s]], place[candidates[s]]
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
            near += factor * values[k] < away
        if near > count // 2:
            found[s] = True
        elif near > (count - 1) // 2:  # between the two middle ones: only then their mean matters
            found[s] = away > factor * _median(values, count, network)
    return found


@compiled
def _areas(index, place, foot, normal_z):
    """Put the area in cells^2 that each point stands for in the place of its normal_z.

    `foot` is where the point stands on the form, in cells; `normal_z` has no unit.
    """
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
        normal_z[i] = min(max(spread, 0.0) / normal_z[i], 1.0 / STEEPEST)


_CELLS = 4  # a side: 16 cells over the bounding box, about 12 of them on a round particle


@compiled
def _cell_sums(heights, weights, rows, cols):
    """Return sums of weights, weighted heights (nm) and weighted squares (nm^2) of 4 x 4 cells.

    The cells lie over the bounding box of `rows` and `cols`, of any one unit; float (3, 16).
    """
    low_r, low_c = float(rows.min()), float(cols.min())
    per_r = _CELLS / max(float(rows.max()) - low_r, 1e-30)
    per_c = _CELLS / max(float(cols.max()) - low_c, 1e-30)
    sums = np.zeros((3, _CELLS * _CELLS))
    for i in range(heights.size):
        r = min(int((rows[i] - low_r) * per_r), _CELLS - 1)
        cell = r * _CELLS + min(int((cols[i] - low_c) * per_c), _CELLS - 1)
        z, w = float(heights[i]), float(weights[i])
        sums[0, cell] += w
        sums[1, cell] += w * z
        sums[2, cell] += w * z * z
    return sums
