"""Convex bodies with plane faces and rounded edges on the pixel grid: polyhedra and cylinders.

Edges are rounded by a smooth maximum of the distances to the faces. That is convex along a ray,
so that Newton's rule from where the ray enters the sharp body runs to the surface and never past
it; on a face, away from the edges, it is there at once.
"""

from __future__ import annotations

import math

import numpy as np

from particle_nb.core.compiled import compiled

#: Newton's last step, px; it squares from step to step.
_LAST_STEP = 1e-3


@compiled
def _soft_max(a, a_slope, b, b_slope, k):
    """Smooth maximum of two distances and its slope along the ray; sharp where k is 0."""
    if b > a:
        a, a_slope, b, b_slope = b, b_slope, a, a_slope
    gap = k - (a - b)
    if gap <= 0.0:
        return a, a_slope
    share = gap / (2.0 * k)
    return a + 0.5 * gap * share, a_slope + share * (b_slope - a_slope)


@compiled
def _faces(gaps, slopes, k, t):
    """Distance to a polyhedron, and its slope, at t on the ray."""
    value, slope = slopes[0] * t - gaps[0], slopes[0]
    for i in range(1, len(gaps)):
        other = slopes[i] * t - gaps[i]
        if other > value - k:
            value, slope = _soft_max(value, slope, other, slopes[i], k)
    return value, slope


@compiled
def _faces_meet(gaps, slopes, k, start, stop):
    """Where the ray, coming from t = start, meets a rounded polyhedron; nan for a miss."""
    t = start
    sign = 1.0 if start > stop else -1.0
    for _ in range(40):
        value, slope = _faces(gaps, slopes, k, t)
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
    """Draw a polyhedron, as `solids.raster` draws other parts; `k` rounds its edges."""
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
                high = _faces_meet(gaps, slopes, k, last, first)
                if math.isnan(high):
                    continue
                low = _faces_meet(gaps, slopes, k, first, last)
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
    """Where the ray p + t d, coming from t = start, meets a rounded cylinder; nan for a miss."""
    t = start
    sign = 1.0 if start > stop else -1.0
    for _ in range(40):
        x, y, z = p[0] + t * d[0], p[1] + t * d[1], p[2] + t * d[2]
        radius = max(math.sqrt(x * x + y * y), 1e-12)
        side, side_slope = radius - semi[0], (x * d[0] + y * d[1]) / radius
        end, end_slope = abs(z) - semi[2], d[2] if z > 0.0 else -d[2]
        value, slope = _soft_max(side, side_slope, end, end_slope, k)
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
