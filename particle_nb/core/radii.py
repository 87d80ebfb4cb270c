"""Irregular and rough ellipsoids as a table of radii.

Seen from the centre, in coordinates divided by the semi-axes, a displaced surface has one radius
in every direction. A cube map holds it, half a voxel of the noise apart and cubic in between,
so that finding a point of the surface costs look-ups and not evaluations of the noise.
"""

from __future__ import annotations

import math

import numpy as np

from particle_nb.core.compiled import compiled
from particle_nb.core.noise import displacement

#: Node distances finer than this in pixels would cost more than marching along the rays.
FINEST = 1.0
#: An outline is searched for up to this slope from the middle, 50 degrees, in so many steps and
#: at so many azimuths: irregular outlines are correlated over 0.45 radians or more.
_STEEPEST, _STEPS, _TURNS = 1.2, 8, 64
#: Least radius: the deepest dents of very irregular bodies end before the centre.
_LEAST = 0.05


def spacing(fields: np.ndarray) -> float:
    """Distance of the nodes in pixels: half a voxel of the finer field in use.

    >>> spacing(np.array([[0.0, 0, 0, 0, 0], [1.0, 0.25, 0, 0, 0]]))
    2.0
    """
    return 0.5 / float(fields[fields[:, 0] > 0, 1].max())


@compiled
def _place(u):
    """Where u, -1 to 1 on a face of the cube, lies among nodes that are evenly far apart."""
    square = u * u
    return u * (1.265 + square * (0.12 * square - 0.385))


@compiled
def face_nodes(nodes):
    """Coordinates u of the nodes of a face and of one more on either side: `_place` inverted."""
    found = np.empty(nodes + 3)
    for i in range(nodes + 3):
        aim = 2.0 * (i - 1) / nodes - 1.0
        u = aim
        for _ in range(30):
            square = u * u
            slope = 1.265 + square * (0.6 * square - 1.155)
            u -= (_place(u) - aim) / slope
        found[i] = u
    found[1], found[nodes + 1] = -1.0, 1.0
    return found


@compiled
def _fill(table, nodes, semi, fields, volume):
    """Write the radii; returns their least, their largest and the steepest change per radian."""
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
                value = value if value > _LEAST else _LEAST
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
    return table, nodes, _fill(table, nodes, semi, fields, volume)


@compiled
def radius_at(table, nodes, x, y, z):
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
    u, v = 0.5 * (_place(u) + 1.0) * nodes + 1.0, 0.5 * (_place(v) + 1.0) * nodes + 1.0
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
def _shadow(table, nodes, rotation, semi):
    """Area of the outline seen along z, px^2, from the outermost point at `_TURNS` azimuths.

    The body is star-shaped and so is its shadow: the outline lies on the meridian of its azimuth,
    at the peak of a parabola through the outermost of the points looked at and its neighbours.
    """
    squares = np.empty(2 * _STEPS + 1)
    total = 0.0
    for i in range(_TURNS):
        angle = 2.0 * math.pi * i / _TURNS
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
    return total * math.pi / _TURNS


def shadow(rotation: np.ndarray, semi: np.ndarray, fields: np.ndarray, volume: np.ndarray) -> float:
    """Area of the outline of a displaced ellipsoid seen from above, px^2, to about 0.1 %.

    >>> round(shadow(np.eye(3), np.full(3, 10.0), np.array([[0.0] * 5, [1e-9, 1, 0, 0, 0]]),
    ...              np.zeros((10, 10, 10), np.float32)), 6) == round(100 * math.pi, 6)
    True
    """
    table, nodes, _ = tabulate(semi, fields, volume)
    return float(_shadow(table, nodes, rotation, semi))
