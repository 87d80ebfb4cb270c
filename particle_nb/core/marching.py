"""Rays followed step by step to the surface of a displaced solid."""

from __future__ import annotations

import math

from particle_nb.core.compiled import compiled
from particle_nb.core.noise import OUTLINE_LIMIT, ROUGH_LIMIT, displacement

#: The kinds of part.
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
def _relief(kind, semi, fields, volume, x, y, z):
    """Displacement along the normal at a point: irregularity and roughness apart."""
    if kind == ELLIPSOID:  # radial projection, exact for a sphere
        u, v, w = x / semi[0], y / semi[1], z / semi[2]
        k0 = math.sqrt(u * u + v * v + w * w)
        if k0 > 1e-9:
            x, y, z = x / k0, y / k0, z / k0
    return displacement(fields, volume, x, y, z)


@compiled
def march(kind, semi, planes, k, fields, volume, p, d, start, stop, near):
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
