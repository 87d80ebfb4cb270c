"""Every compiled ray and raster loop of the renderer, in one file.

One file, because numba's cache on disk looks at the file of the function that is called and does
not see a change in a function called from another one. Lengths and heights are in px, areas in
px^2, places in the noise in voxels; what has no unit says so.
"""

from __future__ import annotations

import math

import numpy as np

from particle_nb.core.compiled import compiled


@compiled
def raster_smooth(rotation, centre, semi, x0, y0, top, bottom, relief, parts):
    """Draw N smooth ellipsoids at once: rotation (N, 3, 3), centre and semi-axes (N, 3) in px.

    Pixel (0, 0) lies at (x0, y0) px; the four pictures are as for `raster`.
    """
    rows, cols = top.shape
    for n in range(len(semi)):
        turn, axes = rotation[n], semi[n]
        # z of the surface over (x, y): the roots of a z^2 + 2 (bx x + by y) z + ... = 1
        a = bx = by = cxx = cxy = cyy = 0.0
        for i in range(3):
            q = 1.0 / (axes[i] * axes[i])
            a += turn[i, 2] * turn[i, 2] * q
            bx += turn[i, 2] * turn[i, 0] * q
            by += turn[i, 2] * turn[i, 1] * q
            cxx += turn[i, 0] * turn[i, 0] * q
            cxy += turn[i, 0] * turn[i, 1] * q
            cyy += turn[i, 1] * turn[i, 1] * q
        reach = max(axes[0], max(axes[1], axes[2]))
        left, high = centre[n, 0] - x0, centre[n, 1] - y0
        for r in range(max(0, math.ceil(high - reach)), min(rows, math.floor(high + reach) + 1)):
            y = r - high
            width = math.sqrt(max(reach * reach - y * y, 0.0))
            for c in range(
                max(0, math.ceil(left - width)), min(cols, math.floor(left + width) + 1)
            ):
                x = c - left
                b = bx * x + by * y
                root = b * b - a * (cxx * x * x + 2.0 * cxy * x * y + cyy * y * y - 1.0)
                if root <= 0.0:
                    continue
                root = math.sqrt(root)
                if centre[n, 2] + (root - b) / a > top[r, c]:
                    top[r, c] = centre[n, 2] + (root - b) / a
                    relief[r, c] = 0.0
                    parts[r, c] = n
                if centre[n, 2] - (root + b) / a < bottom[r, c]:
                    bottom[r, c] = centre[n, 2] - (root + b) / a


@compiled
def corners(planes):
    """Return the vertices (N, 3) of the polyhedron n.p <= d: where three planes meet on it.

    A row of `planes` is a normal of length 1 and a distance d in px, or in any other unit, which
    the vertices then have too.
    """
    count = planes.shape[0]
    found = np.empty((count * count * count // 6 + 1, 3))
    number = 0
    for i in range(count):
        for j in range(i + 1, count):
            a, b = planes[i], planes[j]
            ux = a[1] * b[2] - a[2] * b[1]
            uy = a[2] * b[0] - a[0] * b[2]
            uz = a[0] * b[1] - a[1] * b[0]
            for k in range(j + 1, count):
                c = planes[k]
                volume = ux * c[0] + uy * c[1] + uz * c[2]
                if abs(volume) < 1e-6:
                    continue
                px = a[3] * (b[1] * c[2] - b[2] * c[1]) + b[3] * (c[1] * a[2] - c[2] * a[1])
                py = a[3] * (b[2] * c[0] - b[0] * c[2]) + b[3] * (c[2] * a[0] - c[0] * a[2])
                pz = a[3] * (b[0] * c[1] - b[1] * c[0]) + b[3] * (c[0] * a[1] - c[1] * a[0])
                px = (px + c[3] * ux) / volume
                py = (py + c[3] * uy) / volume
                pz = (pz + c[3] * uz) / volume
                inside = True
                for m in range(count):
                    q = planes[m]
                    if q[0] * px + q[1] * py + q[2] * pz > q[3] + 1e-7:
                        inside = False
                        break
                if inside:
                    found[number, 0], found[number, 1], found[number, 2] = px, py, pz
                    number += 1
    return found[:number]


@compiled
def hull_area(points):
    """Return the area, px^2, of the convex hull of points (N, 2 or more), px, sorted by x.

    Points in another unit give its square.
    """
    count = len(points)
    area = 0.0
    chain = np.empty((count, 2))
    for side in (1.0, -1.0):  # the lower chain, then the upper one
        number = 0
        for i in range(count):
            x, y = points[i, 0], points[i, 1]
            while number > 1:
                ux = chain[number - 1, 0] - chain[number - 2, 0]
                uy = chain[number - 1, 1] - chain[number - 2, 1]
                if side * (ux * (y - chain[number - 2, 1]) - uy * (x - chain[number - 2, 0])) > 0.0:
                    break
                number -= 1
            chain[number, 0], chain[number, 1] = x, y
            number += 1
        for i in range(1, number):
            width = chain[i, 0] - chain[i - 1, 0]
            area -= side * 0.5 * width * (chain[i, 1] + chain[i - 1, 1])
    return area


#: Newton's last step, px; it squares from step to step.
_LAST_STEP = 1e-3


@compiled
def _smooth_maximum_slope(a, a_slope, b, b_slope, k):
    """Return the smooth maximum of two distances, px, and its slope along the ray (no unit).

    It is sharp where `k`, px, is 0.
    """
    if b > a:
        a, a_slope, b, b_slope = b, b_slope, a, a_slope
    gap = k - (a - b)
    if gap <= 0.0:
        return a, a_slope
    share = gap / (2.0 * k)
    return a + 0.5 * gap * share, a_slope + share * (b_slope - a_slope)


@compiled
def _face_distance(gaps, slopes, k, t):
    """Return the distance to a polyhedron, px, and its slope (no unit), at t px along the ray.

    `gaps` are how far inside its faces t = 0 lies, px, `slopes` what that loses a px (no unit);
    `k` px rounds the edges.
    """
    value, slope = slopes[0] * t - gaps[0], slopes[0]
    for i in range(1, len(gaps)):
        other = slopes[i] * t - gaps[i]
        if other > value - k:
            value, slope = _smooth_maximum_slope(value, slope, other, slopes[i], k)
    return value, slope


@compiled
def _meet_faces(gaps, slopes, k, start, stop):
    """Where the ray, coming from t = start, meets a rounded polyhedron, px; nan for a miss.

    `gaps`, `slopes` and `k` are as for `_face_distance`; start and stop are px along the ray.
    """
    t = start
    sign = 1.0 if start > stop else -1.0
    for _ in range(40):
        value, slope = _face_distance(gaps, slopes, k, t)
        if value <= 0.0:
            return t
        if slope * sign <= 1e-9:
            break
        move = value / slope
        t -= move
        if (t - stop) * sign < 0.0:
            break
        if abs(move) < _LAST_STEP:
            return t
    return math.nan


@compiled
def raster_faceted(rotation, centre, planes, reach, k, x0, y0, part, top, bottom, relief, parts):
    """Draw a polyhedron, as `raster` draws other parts; `k` px rounds its edges.

    Centre, distances of the planes, reach, x0 and y0 are px.
    """
    rows, cols = top.shape
    count = len(planes)
    # the planes seen from outside: slope along z, distance at z = 0 linear in x and y
    slopes, across, down = np.empty(count), np.empty(count), np.empty(count)
    for i in range(count):
        a, b, c = planes[i, 0], planes[i, 1], planes[i, 2]
        across[i] = a * rotation[0, 0] + b * rotation[1, 0] + c * rotation[2, 0]
        down[i] = a * rotation[0, 1] + b * rotation[1, 1] + c * rotation[2, 1]
        slopes[i] = a * rotation[0, 2] + b * rotation[1, 2] + c * rotation[2, 2]
    gaps = np.empty(count)
    left, up = centre[0] - x0, centre[1] - y0
    for r in range(max(0, math.ceil(up - reach)), min(rows, math.floor(up + reach) + 1)):
        y = r - up
        width = math.sqrt(max(reach * reach - y * y, 0.0))
        for c in range(max(0, math.ceil(left - width)), min(cols, math.floor(left + width) + 1)):
            x = c - left
            low, high = -1e30, 1e30
            for i in range(count):
                gap = planes[i, 3] - across[i] * x - down[i] * y
                gaps[i] = gap
                slope = slopes[i]
                if abs(slope) < 1e-12:
                    if gap < 0.0:
                        low = 1e30
                elif slope > 0.0:
                    high = min(high, gap / slope)
                else:
                    low = max(low, gap / slope)
                if low >= high:
                    break
            if low >= high:
                continue
            if k > 0.0:
                first, last = low, high
                high = _meet_faces(gaps, slopes, k, last, first)
                if math.isnan(high):
                    continue
                low = _meet_faces(gaps, slopes, k, first, last)
                if math.isnan(low) or low > high:
                    low = high
            if high + centre[2] > top[r, c]:
                top[r, c] = high + centre[2]
                relief[r, c] = 0.0
                parts[r, c] = part
            if low + centre[2] < bottom[r, c]:
                bottom[r, c] = low + centre[2]


@compiled
def cylinder_meet(semi, k, p, d, start, stop):
    """Where the ray p + t d, coming from t = start, meets a rounded cylinder, px; nan for a miss.

    `semi` holds radius and half height, px; `k` rounds the rims, px; d has length 1.
    """
    t = start
    sign = 1.0 if start > stop else -1.0
    for _ in range(40):
        x, y, z = p[0] + t * d[0], p[1] + t * d[1], p[2] + t * d[2]
        radius = max(math.sqrt(x * x + y * y), 1e-12)
        side, side_slope = radius - semi[0], (x * d[0] + y * d[1]) / radius
        end, end_slope = abs(z) - semi[2], d[2] if z > 0.0 else -d[2]
        value, slope = _smooth_maximum_slope(side, side_slope, end, end_slope, k)
        if value <= 1e-12:
            return t
        if slope * sign <= 1e-9:
            break
        move = value / slope
        t -= move
        if (t - stop) * sign < 0.0:
            break
        if abs(move) < _LAST_STEP:
            return t
    return math.nan


@compiled
def _blur_columns(padded, half, out):
    """Blur along the first axis, in double precision; the far weights are added first.

    Values keep their unit; `half` are weights (no unit) from the middle outwards, 1 px apart.
    """
    rows, cols = out.shape
    radius = len(half) - 1
    total = np.empty(cols)
    for r in range(rows):
        centre = padded[r + radius]
        for c in range(cols):
            total[c] = np.float64(centre[c]) * half[0]
        for k in range(radius, 0, -1):
            before, after, weight = padded[r + radius - k], padded[r + radius + k], half[k]
            for c in range(cols):
                total[c] += (np.float64(before[c]) + np.float64(after[c])) * weight
        for c in range(cols):
            out[r, c] = total[c]


@compiled
def _blur_rows(padded, half, out):
    """Blur along the second axis, as `_blur_columns` does along the first, 1 px a weight."""
    rows, cols = out.shape
    radius = len(half) - 1
    line, total = np.empty(cols + 2 * radius), np.empty(cols)
    for r in range(rows):
        row = padded[r]
        for c in range(len(line)):  # assigned as a slice this takes seconds more to compile
            line[c] = row[c]
        for c in range(cols):
            total[c] = line[radius + c] * half[0]
        for k in range(radius, 0, -1):
            before, after, weight = line[radius - k :], line[radius + k :], half[k]
            for c in range(cols):
                total[c] += (before[c] + after[c]) * weight
        for c in range(cols):
            out[r, c] = total[c]


#: Edge of the periodic noise volume in voxels.
VOLUME = 64

# The quadratic B-spline that interpolates the volume is itself a smoothing of variance 1/4 voxel
# squared; with the Gaussian of sigma 1 before it the autocorrelation exp(-(r/tau)^2) has
# tau = 2 sqrt(1 + 1/4) voxels.
VOXELS_PER_CORRELATION = 2.0 * math.sqrt(1.25)

# Displacements end at this many standard deviations: the irregular outline is bounded by choice,
# the cut of the roughness takes 6e-5 of its values.
OUTLINE_LIMIT = 2.5

ROUGH_LIMIT = 4.0


@compiled
def _bspline(volume, x, y, z):
    """Return the quadratic B-spline of the padded periodic volume at (x, y, z) in voxels.

    The noise has a standard deviation of 1 (no unit).
    """
    size = volume.shape[0] - 2
    fx, fy, fz = np.floor(x + 0.5), np.floor(y + 0.5), np.floor(z + 0.5)
    # single precision, as the volume has it: a millionth of its standard deviation
    dx, dy, dz = np.float32(x - fx), np.float32(y - fy), np.float32(z - fz)
    half, most = np.float32(0.5), np.float32(0.75)
    ay, by, cy = half * (half - dy) * (half - dy), most - dy * dy, half * (half + dy) * (half + dy)
    az, bz, cz = half * (half - dz) * (half - dz), most - dz * dz, half * (half + dz) * (half + dz)
    # the remainder by floor: integer division is slow; unsigned: no look for indices below zero
    i = np.uint64(np.int64(fx - size * np.floor(fx / size)))
    j = np.uint64(np.int64(fy - size * np.floor(fy / size)))
    k = np.uint64(np.int64(fz - size * np.floor(fz / size)))
    one, two = np.uint64(1), np.uint64(2)
    j1, j2, k1, k2 = j + one, j + two, k + one, k + two
    wx, total = half * (half - dx) * (half - dx), np.float32(0.0)
    for step in range(3):
        total += wx * (
            ay * (az * volume[i, j, k] + bz * volume[i, j, k1] + cz * volume[i, j, k2])
            + by * (az * volume[i, j1, k] + bz * volume[i, j1, k1] + cz * volume[i, j1, k2])
            + cy * (az * volume[i, j2, k] + bz * volume[i, j2, k1] + cz * volume[i, j2, k2])
        )
        i += one
        wx = most - dx * dx if step == 0 else half * (half + dx) * (half + dx)
    return np.float64(total)


@compiled
def sample(volume, points):
    """Return the noise (no unit) at points (N, 3) in voxels, float (N,)."""
    values = np.empty(points.shape[0])
    for i in range(points.shape[0]):
        values[i] = _bspline(volume, points[i, 0], points[i, 1], points[i, 2])
    return values


@compiled
def displacement(fields, volume, x, y, z):
    """Return the displacements along the normal at a point, px: irregularity and roughness apart.

    The point is px from the centre. `fields` (2, 5) holds a row for each: standard deviation in px,
    voxels a px, three offsets in voxels.
    """
    coarse = fine = 0.0
    if fields[0, 0] > 0.0:
        s = fields[0, 1]
        value = _bspline(volume, x * s + fields[0, 2], y * s + fields[0, 3], z * s + fields[0, 4])
        coarse = fields[0, 0] * min(max(value, -OUTLINE_LIMIT), OUTLINE_LIMIT)
    if fields[1, 0] > 0.0:
        s = fields[1, 1]
        value = _bspline(volume, x * s + fields[1, 2], y * s + fields[1, 3], z * s + fields[1, 4])
        fine = fields[1, 0] * min(max(value, -ROUGH_LIMIT), ROUGH_LIMIT)
    return coarse, fine


#: The kinds of part.
ELLIPSOID, POLYHEDRON, CYLINDER, CAPSULE = range(4)


@compiled
def _smooth_maximum(a, b, k):
    """Return the smooth maximum of two distances, px; `k` px is where smoothing begins."""
    gap = k - abs(a - b)
    return max(a, b) + (gap * gap / (4.0 * k) if gap > 0.0 else 0.0)


@compiled
def _distance(kind, semi, planes, k, x, y, z):
    """Return the signed distance to the smooth solid, px, from a point px off its centre.

    It is exact for spheres and capsules, else to first order.
    """
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
            d = _smooth_maximum(d, e, k) if k > 0.0 else max(d, e)
        return d
    if kind == CYLINDER:
        a, b = math.sqrt(x * x + y * y) - semi[0], abs(z) - semi[2]
        return _smooth_maximum(a, b, k) if k > 0.0 else max(a, b)
    half = semi[2] - semi[0]
    w = z - min(max(z, -half), half)
    return math.sqrt(x * x + y * y + w * w) - semi[0]


@compiled
def _displacement_at(kind, semi, fields, volume, x, y, z):
    """Return the displacements along the normal at a point, px: irregularity and roughness apart.

    The point (x, y, z) is px from the centre of the smooth solid.
    """
    if kind == ELLIPSOID:  # radial projection, exact for a sphere
        u, v, w = x / semi[0], y / semi[1], z / semi[2]
        k0 = math.sqrt(u * u + v * v + w * w)
        if k0 > 1e-9:
            x, y, z = x / k0, y / k0, z / k0
    return displacement(fields, volume, x, y, z)


@compiled
def march(kind, semi, planes, k, fields, volume, p, d, start, stop, near):
    """Follow the ray p + t d from t = start towards stop until it meets the surface; all px.

    `near` is where a neighbouring ray met it (nan for unknown): the search begins a little before.
    Returns t and the roughness there in px; t is nan for a miss.
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
            coarse, fine = _displacement_at(kind, semi, fields, volume, x, y, z)
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


#: Node distances finer than this in pixels would cost more than marching along the rays.
FINEST = 1.0

#: An outline is searched for up to this slope from the middle, 50 degrees, in so many steps and
#: at so many azimuths: irregular outlines are correlated over 0.45 radians or more.
_STEEPEST, _STEPS, _AZIMUTHS = 1.2, 8, 64

#: Least radius: the deepest dents of very irregular bodies end before the centre.
_LEAST_RADIUS = 0.05


@compiled
def _even_coordinate(u):
    """Where u, -1 to 1 on a face of the cube, lies among evenly spaced nodes, -1 to 1; no unit."""
    square = u * u
    return u * (1.265 + square * (0.12 * square - 0.385))


@compiled
def face_nodes(nodes):
    """Coordinates u of the nodes of a face and of one more on either side.

    `_even_coordinate` inverted: no unit, -1 and 1 at the edges of the face; float (nodes + 3,).
    """
    found = np.empty(nodes + 3)
    for i in range(nodes + 3):
        aim = 2.0 * (i - 1) / nodes - 1.0
        u = aim
        for _ in range(30):
            square = u * u
            slope = 1.265 + square * (0.6 * square - 1.155)
            u -= (_even_coordinate(u) - aim) / slope
        found[i] = u
    found[1], found[nodes + 1] = -1.0, 1.0
    return found


@compiled
def _fill_radii(table, nodes, semi, fields, volume):
    """Write the radii; return their least, their largest and the steepest change per radian.

    Radii have no unit: they are shares of the ellipsoid's own radius in that direction, whose
    semi-axes `semi` are px.
    """
    low, high = 1e30, -1e30
    width = nodes + 3
    along = face_nodes(nodes)
    flatter = 1.0 / semi
    for face in range(6):
        axis, sign = face // 2, 1.0 - 2.0 * (face % 2)
        for i in range(width):
            u = along[i]
            for j in range(width):
                v = along[j]
                scale = 1.0 / math.sqrt(1.0 + u * u + v * v)
                q0, q1, q2 = sign * scale, u * scale, v * scale
                if axis == 1:
                    q0, q1, q2 = q2, q0, q1
                elif axis == 2:
                    q0, q1, q2 = q1, q2, q0
                coarse, fine = displacement(
                    fields, volume, q0 * semi[0], q1 * semi[1], q2 * semi[2]
                )
                # one unit of radius is 1 / steep pixels along the ellipsoid's normal
                q0, q1, q2 = q0 * flatter[0], q1 * flatter[1], q2 * flatter[2]
                value = 1.0 + math.sqrt(q0 * q0 + q1 * q1 + q2 * q2) * (coarse + fine)
                value = value if value > _LEAST_RADIUS else _LEAST_RADIUS
                table[(face * width + i) * width + j] = value
                low = value if value < low else low
                high = value if value > high else high
    steps = 1.0 / (along[1:] - along[:-1])
    slope = 0.0
    for face in range(6):
        for i in range(1, width - 1):
            u = along[i]
            for j in range(1, width - 1):
                v = along[j]
                at = (face * width + i) * width + j
                du = (table[at + width] - table[at]) * steps[i]
                dv = (table[at + 1] - table[at]) * steps[j]
                # the gradient on the unit sphere in coordinates of the plane that touches it
                square = (1.0 + u * u) * du * du + 2.0 * u * v * du * dv + (1.0 + v * v) * dv * dv
                slope = max(slope, square * (1.0 + u * u + v * v))
    return low, high, math.sqrt(slope)


@compiled
def radius_at(table, nodes, x, y, z):
    """Return the radius in the direction (x, y, z) of any length, as a share (no unit).

    The share is of the ellipsoid's own radius in that direction; see `_fill_radii`.
    """
    ax, ay, az = abs(x), abs(y), abs(z)
    if ax >= ay and ax >= az:
        face = 0 if x > 0.0 else 1
        scale = 1.0 / max(ax, 1e-12)
        u, v = y * scale, z * scale
    elif ay >= az:
        face = 2 if y > 0.0 else 3
        scale = 1.0 / ay
        u, v = z * scale, x * scale
    else:
        face = 4 if z > 0.0 else 5
        scale = 1.0 / az
        u, v = x * scale, y * scale
    u, v = (
        0.5 * (_even_coordinate(u) + 1.0) * nodes + 1.0,
        0.5 * (_even_coordinate(v) + 1.0) * nodes + 1.0,
    )
    i, j = min(int(u), nodes), min(int(v), nodes)
    u, v = u - i, v - j
    # Catmull-Rom weights
    v0 = v * (-0.5 + v * (1.0 - 0.5 * v))
    v1 = 1.0 + v * v * (1.5 * v - 2.5)
    v2 = v * (0.5 + v * (2.0 - 1.5 * v))
    v3 = v * v * (0.5 * v - 0.5)
    u0 = u * (-0.5 + u * (1.0 - 0.5 * u))
    u1 = 1.0 + u * u * (1.5 * u - 2.5)
    u2 = u * (0.5 + u * (2.0 - 1.5 * u))
    u3 = u * u * (0.5 * u - 0.5)
    # unsigned: no look for indices below zero
    one, two, three = np.uint64(1), np.uint64(2), np.uint64(3)
    width = np.uint64(nodes + 3)
    a = np.uint64(face * (nodes + 3) + i - 1) * width + np.uint64(j - 1)
    b = a + width
    c = b + width
    d = c + width
    return (
        u0 * (v0 * table[a] + v1 * table[a + one] + v2 * table[a + two] + v3 * table[a + three])
        + u1 * (v0 * table[b] + v1 * table[b + one] + v2 * table[b + two] + v3 * table[b + three])
        + u2 * (v0 * table[c] + v1 * table[c + one] + v2 * table[c + two] + v3 * table[c + three])
        + u3 * (v0 * table[d] + v1 * table[d + one] + v2 * table[d + two] + v3 * table[d + three])
    )


@compiled
def _shadow_area(table, nodes, rotation, semi):
    """Area of the outline seen along z, px^2, from the outermost point at `_AZIMUTHS` azimuths.

    The body is star-shaped and so is its shadow: the outline lies on the meridian of its azimuth,
    at the peak of a parabola through the outermost of the points looked at and its neighbours.
    """
    squares = np.empty(2 * _STEPS + 1)
    total = 0.0
    for i in range(_AZIMUTHS):
        angle = 2.0 * math.pi * i / _AZIMUTHS
        cos, sin = math.cos(angle), math.sin(angle)
        best = 0
        for j in range(2 * _STEPS + 1):
            z = _STEEPEST * (j - _STEPS) / _STEPS
            x0 = (rotation[0, 0] * cos + rotation[0, 1] * sin + rotation[0, 2] * z) / semi[0]
            x1 = (rotation[1, 0] * cos + rotation[1, 1] * sin + rotation[1, 2] * z) / semi[1]
            x2 = (rotation[2, 0] * cos + rotation[2, 1] * sin + rotation[2, 2] * z) / semi[2]
            radius = radius_at(table, nodes, x0, x1, x2)
            squares[j] = radius * radius / (x0 * x0 + x1 * x1 + x2 * x2)
            if squares[j] > squares[best]:
                best = j
        total += squares[best]
        if 0 < best < 2 * _STEPS:
            before, after = squares[best - 1], squares[best + 1]
            bend = 2.0 * squares[best] - before - after
            if bend > 0.0:
                total += 0.125 * (after - before) ** 2 / bend
    return total * math.pi / _AZIMUTHS


#: Where a ray and the surface are met, px.
_TOLERANCE = 0.003

#: The last move along a ray is at most so long; it leaves an error of about a tenth of it, px.
_LAST_MOVE = 0.03


@compiled
def _meet_surface(table, nodes, bounds, a, b, sign, square, half, rest, guess):
    """Outermost point of the surface along a + t sign b: t in px and the radius; nan for a miss.

    a (no unit) and b (1/px) are in units of the semi-axes; `square`, `half`, `rest` are the
    coefficients of |a + t sign b|^2; `bounds` is what `_fill_radii` returns; radii and `guess` are
    shares.
    """
    low, high, slope = bounds
    radius, last = guess, 0.0
    for turn in range(10):
        root = half * half - square * (rest - radius * radius)
        if root <= 0.0:
            break
        root = math.sqrt(root)
        # Where the ray is steep enough no displacement can hide this point behind another:
        # tan(angle to the radius) x slope < 1, there and all the way out.
        if math.sqrt(max(radius * radius * square - root * root, 0.0)) * slope > 0.95 * low * root:
            break
        t = (root - half) / square
        s = sign * t
        found = radius_at(table, nodes, a[0] + s * b[0], a[1] + s * b[1], a[2] + s * b[2])
        move = found - radius
        if abs(move) * radius < _TOLERANCE * root:
            return t + move * radius / root, found
        if turn and abs(move) < 0.7 * abs(last):  # what a series of such moves comes to
            found = radius + move / (1.0 - move / last)
        radius, last = found, found - radius
    root = half * half - square * (rest - high * high)
    if root <= 0.0:
        return math.nan, guess
    root = math.sqrt(root)
    t, end = (root - half) / square, (-root - half) / square
    length = math.sqrt(square)
    steepest = 1.0 / (length * math.sqrt(1.0 + (slope / low) ** 2))
    last, before = t, 0.0
    for _ in range(250):
        s = sign * t
        x, y, z = a[0] + s * b[0], a[1] + s * b[1], a[2] + s * b[2]
        radius = radius_at(table, nodes, x, y, z)
        gap = math.sqrt(x * x + y * y + z * z) - radius
        if gap < 0.0:
            inner, below = t, gap
            for _ in range(12):  # between the last point outside and this one inside
                t = last + (inner - last) * min(max(before / (before - below), 0.05), 0.95)
                s = sign * t
                x, y, z = a[0] + s * b[0], a[1] + s * b[1], a[2] + s * b[2]
                radius = radius_at(table, nodes, x, y, z)
                gap = math.sqrt(x * x + y * y + z * z) - radius
                if abs(gap) < 0.3 * _TOLERANCE * length or last - inner < _TOLERANCE:
                    break
                if gap > 0.0:
                    last, before = t, gap
                else:
                    inner, below = t, gap
            return t, radius
        move = max(gap * steepest, 0.4)
        if before > gap:  # the slope along the ray allows longer steps
            move = min(max(move, 0.8 * gap * (last - t) / (before - gap)), 2.0 * move)
        last, before = t, gap
        t -= move
        if t < end:
            break
    return math.nan, guess


@compiled
def _least_of_four(a, b, c, d):
    """Return the least of four lengths, px."""
    a, c = a if a < b else b, c if c < d else d
    return a if a < c else c


@compiled
def _surface_nets(table, nodes, rotation, semi, left, up, above, below):
    """Write height, px, and slopes (3, h, w) of the side seen from above and from below.

    Pixel (r, c) is at x = c - left, y = r - up, px; where no triangle lies heights stay infinite.
    """
    row = np.empty((2, nodes + 1, 3))
    along = face_nodes(nodes)
    width = nodes + 3
    for face in range(6):
        axis, sign = face // 2, 1.0 - 2.0 * (face % 2)
        for i in range(nodes + 1):
            u = along[i + 1]
            now, before = row[i % 2], row[1 - i % 2]
            for j in range(nodes + 1):
                v = along[j + 1]
                scale = table[(face * width + i + 1) * width + j + 1]
                scale /= math.sqrt(1.0 + u * u + v * v)
                q0, q1, q2 = sign * scale, u * scale, v * scale
                if axis == 1:
                    q0, q1, q2 = q2, q0, q1
                elif axis == 2:
                    q0, q1, q2 = q1, q2, q0
                q0, q1, q2 = q0 * semi[0], q1 * semi[1], q2 * semi[2]
                now[j, 0] = left + rotation[0, 0] * q0 + rotation[1, 0] * q1 + rotation[2, 0] * q2
                now[j, 1] = up + rotation[0, 1] * q0 + rotation[1, 1] * q1 + rotation[2, 1] * q2
                now[j, 2] = rotation[0, 2] * q0 + rotation[1, 2] * q1 + rotation[2, 2] * q2
            if i == 0:
                continue
            for j in range(1, nodes + 1):
                ax, ay, az = before[j - 1, 0], before[j - 1, 1], before[j - 1, 2]
                cx, cy, cz = now[j, 0], now[j, 1], now[j, 2]
                x0, y0, x1, y1 = before[j, 0], before[j, 1], now[j - 1, 0], now[j - 1, 1]
                first_row = math.ceil(_least_of_four(ay, cy, y0, y1))
                end_row = math.floor(-_least_of_four(-ay, -cy, -y0, -y1)) + 1
                first = math.ceil(_least_of_four(ax, cx, x0, x1))
                end = math.floor(-_least_of_four(-ax, -cx, -x0, -x1)) + 1
                # twice the areas of the triangles A, along v, C and A, along u, C
                side0 = (x0 - ax) * (cy - ay) - (cx - ax) * (y0 - ay)
                side1 = (x1 - ax) * (cy - ay) - (cx - ax) * (y1 - ay)
                for r in range(max(first_row, 0), min(end_row, above.shape[1])):
                    for c in range(max(first, 0), min(end, above.shape[2])):
                        side = (c - ax) * (cy - ay) - (cx - ax) * (r - ay)
                        for half in range(2):
                            area = side0 if half == 0 else side1
                            if side * area < 0.0 or abs(area) < 1e-12:
                                continue
                            bx, by, bz = x0, y0, before[j, 2]
                            if half == 1:
                                bx, by, bz = x1, y1, now[j - 1, 2]
                            inner = 1.0 if area > 0.0 else -1.0
                            if (
                                inner * ((bx - ax) * (r - ay) - (by - ay) * (c - ax)) < 0.0
                                or inner * ((cx - bx) * (r - by) - (cy - by) * (c - bx)) < 0.0
                            ):
                                continue
                            zx = ((bz - az) * (cy - ay) - (cz - az) * (by - ay)) / area
                            zy = ((bx - ax) * (cz - az) - (cx - ax) * (bz - az)) / area
                            z = az + zx * (c - ax) + zy * (r - ay)
                            # A, along u, C turns about the outward normal where `sign` is 1
                            if area * sign * (2 * half - 1) > 0.0:
                                if z > above[0, r, c]:
                                    above[0, r, c], above[1, r, c], above[2, r, c] = z, zx, zy
                            elif z < below[0, r, c]:
                                below[0, r, c], below[1, r, c], below[2, r, c] = z, zx, zy


@compiled
def _refine_height(table, nodes, a, b, x, y, net, r, c):
    """From the net to the surface along the ray a + z b; z in px and the radius; nan for a miss.

    a (no unit) and b (1/px) are as for `_meet_surface`; x and y are px, `net` is one of the two
    that `_surface_nets` wrote.
    """
    z, last, before = net[0, r, c], 0.0, 0.0
    start, found = z, 1.0
    # how far the ray runs while the surface moves outwards by its own radius
    gain = z - net[1, r, c] * x - net[2, r, c] * y
    for turn in range(6):
        q0, q1, q2 = a[0] + z * b[0], a[1] + z * b[1], a[2] + z * b[2]
        found = radius_at(table, nodes, q0, q1, q2)
        short = found / math.sqrt(q0 * q0 + q1 * q1 + q2 * q2) - 1.0
        if turn and abs(before - short) > 1e-12:
            gain = (z - last) / (before - short)
        move = gain * short
        last, before = z, short
        z += move
        if abs(z - start) > 3.0:
            break
        if abs(move) < _LAST_MOVE:
            return z, found
    return math.nan, found


@compiled
def _bulges_there(table, nodes, a, b, top, bottom, reaches):
    """Whether a ray beside the net may meet the surface, which bulges beyond its triangles.

    `top` and `bottom` are the heights in px of the net on a ray next to it; a and b are as for
    `_meet_surface`.
    """
    half = 0.25 * max(top - bottom, 2.0)
    best = 0
    for k in range(5):
        z = 0.5 * (top + bottom) + (k - 2) * half
        q0, q1, q2 = a[0] + z * b[0], a[1] + z * b[1], a[2] + z * b[2]
        reaches[k] = radius_at(table, nodes, q0, q1, q2) / math.sqrt(q0 * q0 + q1 * q1 + q2 * q2)
        if reaches[k] > reaches[best]:
            best = k
    peak = reaches[best]
    if 0 < best < 4:  # of the parabola through the three
        bend = 2.0 * peak - reaches[best - 1] - reaches[best + 1]
        if bend > 0.0:
            peak += 0.125 * (reaches[best + 1] - reaches[best - 1]) ** 2 / bend
    return peak >= 1.0


@compiled
def raster_displaced(
    rotation,
    centre,
    semi,
    fields,
    volume,
    table,
    nodes,
    bounds,
    x0,
    y0,
    part,
    top,
    bottom,
    relief,
    parts,
):
    """Draw one displaced ellipsoid, as `raster` draws other parts.

    Centre, semi-axes, x0 and y0 are px; `table`, `nodes` and `bounds` are what `_fill_radii` made.
    """
    reach = max(semi[0], max(semi[1], semi[2])) * bounds[1] + 1.5
    left, up = centre[0] - x0, centre[1] - y0
    first_row, first_col = max(0, math.floor(up - reach)), max(0, math.floor(left - reach))
    rows = min(top.shape[0], math.ceil(up + reach) + 1) - first_row
    cols = min(top.shape[1], math.ceil(left + reach) + 1) - first_col
    if rows <= 0 or cols <= 0:
        return
    left, up = left - first_col, up - first_row
    above, below = np.empty((3, rows, cols)), np.empty((3, rows, cols))
    above[0], below[0] = -np.inf, np.inf
    _surface_nets(table, nodes, rotation, semi, left, up, above, below)
    a, b, reaches = np.empty(3), np.empty(3), np.empty(5)
    square = 0.0
    for i in range(3):
        b[i] = rotation[i, 2] / semi[i]
        square += b[i] * b[i]
    near = far = 1.0
    for r in range(rows):
        y = r - up
        for c in range(cols):
            x = c - left
            known = above[0, r, c] > -np.inf
            i, j = r, c
            if not known:  # a neighbour on the net, if there is one
                if c > 0 and above[0, r, c - 1] > -np.inf:
                    j = c - 1
                elif c < cols - 1 and above[0, r, c + 1] > -np.inf:
                    j = c + 1
                elif r > 0 and above[0, r - 1, c] > -np.inf:
                    i = r - 1
                elif r < rows - 1 and above[0, r + 1, c] > -np.inf:
                    i = r + 1
                else:
                    continue
            half = rest = 0.0
            for k in range(3):
                a[k] = (rotation[k, 0] * x + rotation[k, 1] * y) / semi[k]
                half += a[k] * b[k]
                rest += a[k] * a[k]
            high = low = math.nan
            if not known and not _bulges_there(
                table, nodes, a, b, above[0, i, j], min(below[0, i, j], above[0, i, j]), reaches
            ):
                continue
            if known:
                high, near = _refine_height(table, nodes, a, b, x, y, above, r, c)
            if math.isnan(high):
                high, near = _meet_surface(
                    table, nodes, bounds, a, b, 1.0, square, half, rest, near
                )
                if math.isnan(high):
                    continue
            if below[0, r, c] < np.inf:
                low, far = _refine_height(table, nodes, a, b, x, y, below, r, c)
            if math.isnan(low):
                low, far = _meet_surface(table, nodes, bounds, a, b, -1.0, square, -half, rest, far)
                low = -low
            if math.isnan(low) or low > high:
                low = high
            row, col = r + first_row, c + first_col
            if high + centre[2] > top[row, col]:
                top[row, col] = high + centre[2]
                parts[row, col] = part
                if fields[1, 0] > 0.0:
                    q0, q1, q2 = a[0] + high * b[0], a[1] + high * b[1], a[2] + high * b[2]
                    scale = 1.0 / math.sqrt(q0 * q0 + q1 * q1 + q2 * q2)
                    q0, q1, q2 = q0 * scale, q1 * scale, q2 * scale
                    if fields[0, 0] > 0.0:
                        relief[row, col] = displacement(
                            fields, volume, q0 * semi[0], q1 * semi[1], q2 * semi[2]
                        )[1]
                    else:  # the radius holds nothing else
                        q0, q1, q2 = q0 / semi[0], q1 / semi[1], q2 / semi[2]
                        relief[row, col] = (near - 1.0) / math.sqrt(q0 * q0 + q1 * q1 + q2 * q2)
            if low + centre[2] < bottom[row, col]:
                bottom[row, col] = low + centre[2]


@compiled
def _roots(a, b, c):
    """Return both roots of a t^2 + 2 b t + c = 0, px along a ray, or an empty interval."""
    root = b * b - a * c
    if root < 0.0 or a <= 0.0:
        return 1.0, -1.0
    root = math.sqrt(root)
    return (-b - root) / a, (-b + root) / a


@compiled
def _chord(kind, semi, planes, p, d):
    """Where the ray p + t d runs inside the smooth solid: (t of entry, t of exit), px."""
    low, high = -1e30, 1e30
    if kind == ELLIPSOID:
        a = b = c = 0.0
        for i in range(3):
            q = 1.0 / (semi[i] * semi[i])
            a += d[i] * d[i] * q
            b += d[i] * p[i] * q
            c += p[i] * p[i] * q
        return _roots(a, b, c - 1.0)
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
        t0, t1 = _roots(a, d[0] * p[0] + d[1] * p[1], c)
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
        t0, t1 = _roots(1.0, d[0] * p[0] + d[1] * p[1] + d[2] * w, c + w * w)
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
    """Draw one part into the crops of its particle, in px; pixel (0, 0) is at (x0, y0).

    `top` keeps the higher, `bottom` the lower height of all parts drawn so far, px; `relief` is the
    roughness along the normal, px, and `parts` the number of the part, both at the top.
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
                low, high = _chord(kind, semi, planes, point, direction)
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


@compiled
def _extent_of(ids, bottom):
    """Return rows and columns that a particle spans, as of slices, and its lowest height; px."""
    first, end, left, right = ids.shape[0], 0, ids.shape[1], 0
    floor = np.float32(np.inf)
    for r in range(ids.shape[0]):
        for c in range(ids.shape[1]):
            if ids[r, c] >= 0:
                first, end = min(first, r), r + 1
                left, right = min(left, c), max(right, c + 1)
                floor = min(floor, bottom[r, c])
    return first, end, left, right, floor


@compiled
def _touching_centres(radii, hosts, directions, compactness):
    """Return centres, px, of primaries that touch an earlier one, close to the middle if compact.

    `radii` are px; `hosts` (shares of those placed before), `directions` and `compactness` have no
    unit.
    """
    count, tries = hosts.shape
    centres = np.zeros((count, 3))
    # dense ones are sintered; chains grow outwards
    contact, inwards = 0.94 - 0.12 * compactness, 1.5 * compactness - 0.3
    spot, best_spot, middle, mean = np.zeros(3), np.zeros(3), np.zeros(3), np.zeros(3)
    for i in range(1, count):
        best = 1e30
        for axis in range(3):
            mean[axis] = middle[axis] / i
        for t in range(tries):
            host = int(hosts[i, t] * i)
            x, y, z = directions[i, t, 0], directions[i, t, 1], directions[i, t, 2]
            length = math.sqrt(x * x + y * y + z * z)
            distance = 0.0
            for axis in range(3):
                spot[axis] = centres[host, axis] + directions[i, t, axis] / length * contact * (
                    radii[host] + radii[i]
                )
                distance += (spot[axis] - mean[axis]) ** 2
            cost = inwards * math.sqrt(distance)
            if cost >= best:  # overlaps only add to it
                continue
            for j in range(i):
                reach = radii[j] + radii[i]
                square = 0.0
                for axis in range(3):
                    square += (spot[axis] - centres[j, axis]) ** 2
                if square < reach * reach:
                    # sintered necks are allowed, deeper overlap costs
                    cost += 8.0 * max((reach - math.sqrt(square)) / radii[i] - 0.3, 0.0)
                    if cost >= best:
                        break
            if cost < best - 1e-6:
                best = cost
                for axis in range(3):
                    best_spot[axis] = spot[axis]
        for axis in range(3):
            centres[i, axis] = best_spot[axis]
            middle[axis] += best_spot[axis]
    return centres


_ROWS_APART = 8


@compiled
def _height_at_rest(ground, bottom, row, col, limit):
    """Return the height at which the crop comes to rest on `ground`; early exit above `limit`.

    Heights and the place (row, col) of the crop's first pixel are px.
    """
    height = 0.0
    r0, r1 = max(0, -row), min(bottom.shape[0], ground.shape[0] - row)
    c0, c1 = max(0, -col), min(bottom.shape[1], ground.shape[1] - col)
    for first in range(_ROWS_APART):  # every eighth row first: what is in the way is met sooner
        for r in range(r0 + first, r1, _ROWS_APART):
            for c in range(c0, c1):
                gap = ground[row + r, col + c] - bottom[r, c]
                if gap > height:
                    height = gap
                    if height > limit:
                        return height
    return height


@compiled
def _is_free(ground, inside, row, col, gap):
    """Whether nothing lies under the outline, nor within `gap` px of it along the axes."""
    rows, cols = ground.shape
    for r in range(inside.shape[0]):
        for c in range(inside.shape[1]):
            if inside[r, c]:
                for step in range(5):
                    dr = gap if step == 1 else (-gap if step == 2 else 0)
                    dc = gap if step == 3 else (-gap if step == 4 else 0)
                    y, x = row + r + dr, col + c + dc
                    if 0 <= y < rows and 0 <= x < cols and ground[y, x] > 0.0:
                        return False
    return True


@compiled
def _roll_downhill(ground, bottom, row, col, stride, moves, low, high):
    """Roll downhill in steps of `stride` px while that lowers the height at rest.

    Returns row and column of the crop's first pixel and its height, px.
    """
    best = _height_at_rest(ground, bottom, row, col, 1e30)
    for _ in range(moves):
        found, r_best, c_best = best - 1e-3, row, col
        for dr in (-stride, 0, stride):
            for dc in (-stride, 0, stride):
                r, c = row + dr, col + dc
                if (dr == 0 and dc == 0) or r < low[0] or c < low[1] or r > high[0] or c > high[1]:
                    continue
                height = _height_at_rest(ground, bottom, r, c, found)
                if height < found:
                    found, r_best, c_best = height, r, c
        if r_best == row and c_best == col:
            if stride == 1:
                break
            stride = max(1, stride // 2)
        else:
            row, col, best = r_best, c_best, found
    return row, col, best


@compiled
def _slide_towards(ground, bottom, row, col, to_row, to_col, limit):
    """Slide along the substrate towards a target until something is in the way; all px.

    Returns row and column reached and whether the first place was free up to height `limit`.
    """
    steps = max(abs(to_row - row), abs(to_col - col))
    r_last, c_last, ok = row, col, False
    for step in range(steps + 1):
        r = row + math.floor((to_row - row) * step / max(steps, 1) + 0.5)
        c = col + math.floor((to_col - col) * step / max(steps, 1) + 0.5)
        if _height_at_rest(ground, bottom, r, c, limit) > limit:
            break
        r_last, c_last, ok = r, c, True
    return r_last, c_last, ok


@compiled
def _lay_down(
    ground,
    labels,
    parts,
    relief,
    crop_top,
    crop_bottom,
    crop_relief,
    crop_parts,
    row,
    col,
    height,
    number,
    first_part,
):
    """Put a particle into the scene, `height` px up: the higher surface wins.

    Heights and relief are px, `row` and `col` the place of the crop's first pixel.
    """
    for r in range(max(0, -row), min(crop_top.shape[0], ground.shape[0] - row)):
        for c in range(max(0, -col), min(crop_top.shape[1], ground.shape[1] - col)):
            if crop_parts[r, c] < 0:
                continue
            z = crop_top[r, c] + height
            if z > ground[row + r, col + c]:
                ground[row + r, col + c] = z
                labels[row + r, col + c] = number
                parts[row + r, col + c] = first_part + crop_parts[r, c]
                relief[row + r, col + c] = crop_relief[r, c]


@compiled
def _surface_slopes(height, labels, gx, gy):
    """Write the slopes of a height map in px along x and y, no unit; one-sided at outlines."""
    rows, cols = height.shape
    for r in range(rows):
        for c in range(cols):
            own = labels[r, c]
            up, down = max(r - 1, 0), min(r + 1, rows - 1)
            left, right = max(c - 1, 0), min(c + 1, cols - 1)
            # one-sided across an outline: the step there is no slope of the surface
            if labels[up, c] != own:
                up = r
            if labels[down, c] != own:
                down = r
            if labels[r, left] != own:
                left = c
            if labels[r, right] != own:
                right = c
            gy[r, c] = (height[down, c] - height[up, c]) / max(down - up, 1)
            gx[r, c] = (height[r, right] - height[r, left]) / max(right - left, 1)


@compiled
def _raise_horizon(steep, seen, own, inverse):
    """Raise the steepest slope so far (no unit) towards one side, for a row of points.

    `seen` and `own` are heights in px, `inverse` is 1 over their distance, 1/px.
    """
    for c in range(len(steep)):
        steep[c] = max(steep[c], (seen[c] - own[c]) * inverse)


@compiled
def _add_horizon(steep, ux, uy, total, ax, ay):
    """Add the share of sky (no unit) above a horizon of that slope, and its direction."""
    one = np.float32(1.0)
    for c in range(len(steep)):
        # cos^2 of the horizon angle: the share of a Lambertian sky above it; "/" would look for
        # zeros, point by point
        share = np.divide(one, one + steep[c] * steep[c])
        total[c] += share
        ax[c] += share * ux
        ay[c] += share * uy


@compiled
def _sky_share(height, padded, margin, strides, sky, sx, sy):
    """Share and mean direction of the sky (no unit) from 8 horizons, a picture row at a time.

    `padded` is the height in px with `margin` px of very low ground around it; `strides` are px.
    """
    rows, cols = height.shape
    zero = np.float32(0.0)
    steep = np.empty(cols, np.float32)
    for r in range(rows):
        own, total, ax, ay = height[r], sky[r], sx[r], sy[r]
        total[:] = zero
        ax[:] = zero
        ay[:] = zero
        for d in range(8):
            dr = 0 if d == 0 or d == 4 else (1 if d < 4 else -1)
            dc = 0 if d == 2 or d == 6 else (1 if d == 0 or d == 1 or d == 7 else -1)
            unit = 1.0 if d % 2 == 0 else 1.4142135623730951
            ux, uy = np.float32(dc / unit), np.float32(dr / unit)
            steep[:] = zero
            for stride in strides:
                first = margin + dc * stride
                seen = padded[r + margin + dr * stride, first : first + cols]
                _raise_horizon(steep, seen, own, np.float32(1.0 / (stride * unit)))
            _add_horizon(steep, ux, uy, total, ax, ay)
        for c in range(cols):
            total[c] *= np.float32(0.125)
            ax[c] *= np.float32(0.25)
            ay[c] *= np.float32(0.25)
