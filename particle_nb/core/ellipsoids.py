"""Ellipsoids on the pixel grid: smooth ones, and irregular and rough ones from a table of radii.

Seen from the centre, in coordinates divided by the semi-axes, a displaced surface has one radius
in every direction. A cube map holds it, half a voxel of the noise apart and cubic in between,
so that finding where a ray meets the surface costs look-ups and not evaluations of the noise.
"""

from __future__ import annotations

import math

import numpy as np

from particle_nb.core.compiled import compiled
from particle_nb.core.noise import displacement

#: Node distances finer than this in pixels would cost more than marching along the rays.
FINEST = 1.0
#: Where a ray and the surface are met, px.
_TOLERANCE = 0.003
#: An outline is searched for up to this slope from the middle: 50 degrees.
_STEEPEST = 1.2


@compiled
def raster_smooth(rotation, centre, semi, x0, y0, top, bottom, relief, parts):
    """Draw N smooth ellipsoids at once: rotation (N, 3, 3), centre and semi (N, 3)."""
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


def spacing(fields: np.ndarray) -> float:
    """Distance of the nodes in pixels: half a voxel of the finer field in use.

    >>> spacing(np.array([[0.0, 0, 0, 0, 0], [1.0, 0.25, 0, 0, 0]]))
    2.0
    """
    return 0.5 / float(fields[fields[:, 0] > 0, 1].max())


@compiled
def _fill(table, nodes, semi, fields, volume):
    """Write the radii; returns their least, their largest and the steepest change per radian."""
    low, high = 1e30, -1e30
    width = nodes + 4
    for face in range(6):
        axis, sign = face // 2, 1.0 - 2.0 * (face % 2)
        for i in range(width):
            u = 2.0 * (i - 1) / nodes - 1.0
            for j in range(width):
                v = 2.0 * (j - 1) / nodes - 1.0
                length = math.sqrt(1.0 + u * u + v * v)
                q0, q1, q2 = sign / length, u / length, v / length
                if axis == 1:
                    q0, q1, q2 = q2, q0, q1
                elif axis == 2:
                    q0, q1, q2 = q1, q2, q0
                coarse, fine = displacement(
                    fields, volume, q0 * semi[0], q1 * semi[1], q2 * semi[2]
                )
                # one unit of radius is 1 / steep pixels along the ellipsoid's normal
                steep = math.sqrt((q0 / semi[0]) ** 2 + (q1 / semi[1]) ** 2 + (q2 / semi[2]) ** 2)
                value = 1.0 + steep * (coarse + fine)
                table[(face * width + i) * width + j] = value
                low, high = min(low, value), max(high, value)
    slope = 0.0
    for face in range(6):
        for i in range(1, width - 2):
            u = 2.0 * (i - 1) / nodes - 1.0
            for j in range(1, width - 2):
                v = 2.0 * (j - 1) / nodes - 1.0
                at = (face * width + i) * width + j
                du, dv = table[at + width] - table[at], table[at + 1] - table[at]
                # the gradient on the unit sphere in coordinates of the plane that touches it
                square = (1.0 + u * u) * du * du + 2.0 * u * v * du * dv + (1.0 + v * v) * dv * dv
                slope = max(slope, square * (1.0 + u * u + v * v))
    return low, high, math.sqrt(slope) * 0.5 * nodes


@compiled
def _radius(table, nodes, x, y, z):
    """Radius of the surface in the direction (x, y, z) of any length."""
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
    u, v = 0.5 * (u + 1.0) * nodes + 1.0, 0.5 * (v + 1.0) * nodes + 1.0
    i, j = min(int(u), nodes + 1), min(int(v), nodes + 1)
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
    width = nodes + 4
    a = (face * width + i - 1) * width + j - 1
    b = a + width
    c = b + width
    d = c + width
    return (
        u0 * (v0 * table[a] + v1 * table[a + 1] + v2 * table[a + 2] + v3 * table[a + 3])
        + u1 * (v0 * table[b] + v1 * table[b + 1] + v2 * table[b + 2] + v3 * table[b + 3])
        + u2 * (v0 * table[c] + v1 * table[c + 1] + v2 * table[c + 2] + v3 * table[c + 3])
        + u3 * (v0 * table[d] + v1 * table[d + 1] + v2 * table[d + 2] + v3 * table[d + 3])
    )


@compiled
def _meet(table, nodes, bounds, a, b, sign, square, half, rest, guess):
    """Outermost point of the surface along a + t sign b: t and the radius there; nan for a miss.

    `square`, `half`, `rest` are the coefficients of |a + t sign b|^2; `guess` is a radius.
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
        found = _radius(table, nodes, a[0] + s * b[0], a[1] + s * b[1], a[2] + s * b[2])
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
        radius = _radius(table, nodes, x, y, z)
        gap = math.sqrt(x * x + y * y + z * z) - radius
        if gap < 0.0:
            inner, below = t, gap
            for _ in range(12):  # between the last point outside and this one inside
                t = last + (inner - last) * min(max(before / (before - below), 0.05), 0.95)
                s = sign * t
                x, y, z = a[0] + s * b[0], a[1] + s * b[1], a[2] + s * b[2]
                radius = _radius(table, nodes, x, y, z)
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
def _outline(table, nodes, rotation, semi, turns, steepest):
    """Squared radius of the outline seen along z at `turns` azimuths, px^2.

    The body is star-shaped and so is its shadow: the outline lies on the meridian of its azimuth.
    It is searched for up to a slope of `steepest` above and below the middle.
    """
    edge = np.empty(turns)
    steps = 24
    for i in range(turns):
        angle = 2.0 * math.pi * i / turns
        cos, sin = math.cos(angle), math.sin(angle)
        best = 0.0
        for j in range(-steps, steps + 1):
            z = steepest * j / steps
            x0 = (rotation[0, 0] * cos + rotation[0, 1] * sin + rotation[0, 2] * z) / semi[0]
            x1 = (rotation[1, 0] * cos + rotation[1, 1] * sin + rotation[1, 2] * z) / semi[1]
            x2 = (rotation[2, 0] * cos + rotation[2, 1] * sin + rotation[2, 2] * z) / semi[2]
            radius = _radius(table, nodes, x0, x1, x2)
            best = max(best, radius * radius / (x0 * x0 + x1 * x1 + x2 * x2))
        edge[i] = best
    return edge


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
    """Draw one displaced ellipsoid, as `solids.raster` draws other parts."""
    rows, cols = top.shape
    reach = max(semi[0], max(semi[1], semi[2])) * bounds[1] + 0.5
    a, b = np.empty(3), np.empty(3)
    square = 0.0
    for i in range(3):
        b[i] = rotation[i, 2] / semi[i]
        square += b[i] * b[i]
    above = below = 1.0
    # pixels far outside the outline are told from the azimuth, and cost no search along the ray
    turns = 8 + 4 * nodes
    inner = 1e30
    rough = _outline(table, nodes, rotation, semi, turns, _STEEPEST)
    beyond = np.empty(turns)
    for i in range(turns):
        here = max(rough[i], max(rough[i - 1], rough[(i + 1) % turns]))
        inner = min(inner, rough[i])
        beyond[i] = (1.015 * math.sqrt(here) + 0.5) ** 2
    for r in range(max(0, math.ceil(centre[1] - reach - y0)), rows):
        y = y0 + r - centre[1]
        if y > reach:
            break
        for c in range(cols):
            x = x0 + c - centre[0]
            if x * x + y * y > reach * reach:
                continue
            if x * x + y * y > inner:
                turn = math.floor(math.atan2(y, x) * turns / (2.0 * math.pi) + 0.5)
                if x * x + y * y > beyond[turn % turns]:
                    continue
            half = rest = 0.0
            for i in range(3):
                a[i] = (rotation[i, 0] * x + rotation[i, 1] * y) / semi[i]
                half += a[i] * b[i]
                rest += a[i] * a[i]
            if half * half < square * (rest - bounds[1] * bounds[1]):
                continue
            high, above = _meet(table, nodes, bounds, a, b, 1.0, square, half, rest, above)
            if math.isnan(high):
                continue
            low, below = _meet(table, nodes, bounds, a, b, -1.0, square, -half, rest, below)
            low = -low
            if math.isnan(low) or low > high:
                low = high
            if high + centre[2] > top[r, c]:
                top[r, c] = high + centre[2]
                parts[r, c] = part
                if fields[1, 0] > 0.0:
                    x, y_, z = a[0] + high * b[0], a[1] + high * b[1], a[2] + high * b[2]
                    scale = 1.0 / math.sqrt(x * x + y_ * y_ + z * z)
                    relief[r, c] = displacement(
                        fields,
                        volume,
                        x * scale * semi[0],
                        y_ * scale * semi[1],
                        z * scale * semi[2],
                    )[1]
            if low + centre[2] < bottom[r, c]:
                bottom[r, c] = low + centre[2]


def shadow(rotation: np.ndarray, semi: np.ndarray, fields: np.ndarray, volume: np.ndarray) -> float:
    """Area of the outline of a displaced ellipsoid seen from above, px^2, to about 0.1 %.

    >>> round(shadow(np.eye(3), np.full(3, 10.0), np.array([[0.0] * 5, [1e-9, 1, 0, 0, 0]]),
    ...              np.zeros((10, 10, 10), np.float32)), 6) == round(100 * math.pi, 6)
    True
    """
    table, nodes, _ = tabulate(semi, fields, volume)
    return float(_outline(table, nodes, rotation, semi, 96, _STEEPEST).mean()) * math.pi


def tabulate(
    semi: np.ndarray, fields: np.ndarray, volume: np.ndarray
) -> tuple[np.ndarray, int, tuple[float, float, float]]:
    """Radii of a displaced ellipsoid, nodes a face, and (least, largest, steepest per radian).

    >>> _, _, bounds = tabulate(np.ones(3), np.array([[0.0] * 5, [1e-9, 1, 0, 0, 0]]),
    ...                          np.zeros((10, 10, 10), np.float32))
    >>> bounds
    (1.0, 1.0, 0.0)
    """
    nodes = max(4, math.ceil(2.0 * float(semi.max()) / spacing(fields)))
    table = np.empty(6 * (nodes + 4) ** 2)
    return table, nodes, _fill(table, nodes, semi, fields, volume)
