"""Irregular and rough ellipsoids on the pixel grid.

A net of triangles over the nodes of the table of radii says about where every ray meets the
surface; a look-up or two in the table then say exactly where. Rays beside the net's outline, and
those for which that fails, are searched from outside.
"""

from __future__ import annotations

import math

import numpy as np

from particle_nb.core.compiled import compiled
from particle_nb.core.noise import displacement
from particle_nb.core.radii import face_nodes, radius_at

#: Where a ray and the surface are met, px.
_TOLERANCE = 0.003
#: The last move along a ray is at most so long; it leaves an error of about a tenth of it, px.
_LAST_MOVE = 0.03


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
def _least(a, b, c, d):
    a, c = a if a < b else b, c if c < d else d
    return a if a < c else c


@compiled
def _nets(table, nodes, rotation, semi, left, up, above, below):
    """Height and slopes (3, h, w) of the side seen from above and of that seen from below.

    Pixel (r, c) is at x = c - left, y = r - up; where no triangle lies the heights stay infinite.
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
                first_row = math.ceil(_least(ay, cy, y0, y1))
                end_row = math.floor(-_least(-ay, -cy, -y0, -y1)) + 1
                first = math.ceil(_least(ax, cx, x0, x1))
                end = math.floor(-_least(-ax, -cx, -x0, -x1)) + 1
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
def _polish(table, nodes, a, b, x, y, net, r, c):
    """From the net to the surface along the ray a + z b; z and the radius there; nan for a miss."""
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
def _beside(table, nodes, a, b, top, bottom, reaches):
    """Whether a ray beside the net may meet the surface, which bulges beyond its triangles.

    `top` and `bottom` are the heights of the net on a ray next to it.
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
    """Draw one displaced ellipsoid, as `solids.raster` draws other parts."""
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
    _nets(table, nodes, rotation, semi, left, up, above, below)
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
            if not known and not _beside(
                table, nodes, a, b, above[0, i, j], min(below[0, i, j], above[0, i, j]), reaches
            ):
                continue
            if known:
                high, near = _polish(table, nodes, a, b, x, y, above, r, c)
            if math.isnan(high):
                high, near = _meet(table, nodes, bounds, a, b, 1.0, square, half, rest, near)
                if math.isnan(high):
                    continue
            if below[0, r, c] < np.inf:
                low, far = _polish(table, nodes, a, b, x, y, below, r, c)
            if math.isnan(low):
                low, far = _meet(table, nodes, bounds, a, b, -1.0, square, -half, rest, far)
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
