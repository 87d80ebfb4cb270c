"""The estimator of `contour` in compiled loops, mask by mask.

Lengths are in px of the crop and areas in px^2. All compiled functions stand in this one file:
numba keeps machine code as long as the file of the outermost function does not change, whatever
happens to the files of those it calls.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from particle_nb.core.compiled import compiled

#: Exit edge of a cell by 4 * code + entry edge. Corners count 1, 2, 4, 8 clockwise from the upper
#: left, edges 0 to 3 clockwise from the top. Where two opposite corners are inside (codes 5 and
#: 10) they belong together: parts hang together over corners, holes do not.
_EXITS = np.zeros((16, 4), np.int64)

for _code, _pairs in {
    1: [(0, 3)],
    2: [(0, 1)],
    3: [(1, 3)],
    4: [(1, 2)],
    5: [(0, 1), (2, 3)],
    6: [(0, 2)],
    7: [(2, 3)],
    8: [(2, 3)],
    9: [(0, 2)],
    10: [(0, 3), (1, 2)],
    11: [(1, 2)],
    12: [(1, 3)],
    13: [(0, 1)],
    14: [(0, 3)],
}.items():
    for _a, _b in _pairs:
        _EXITS[_code, _a], _EXITS[_code, _b] = _b, _a

#: Where the middles of a cell's edges are, and how far it is from one to another: (x, y).
_MIDDLES = np.array([(0.5, 0.0), (1.0, 0.5), (0.5, 1.0), (0.0, 0.5)])

#: By the same number: the edge by which the next cell is entered (opposite to the exit), and the
#: way to there.
_ENTRIES = (_EXITS ^ 2).reshape(64)

_WAYS = (_MIDDLES[_EXITS] - _MIDDLES).reshape(64, 2)

#: A crop of so many pixels or fewer has room for the points of any contour without counting them.
_SMALL = 2**14
#: Of straight edges, in pixels: how near to a tangent, how much is left out at either end, the
#: shortest half of what remains, how far it may be bent or tilted, and how far by a single step.
_NEAR, _ROUNDED, _SHORTEST, _BENT, _TILTED, _STEPPED = 1.3, 2.0, 2.5, 0.25, 0.15, 0.8


@compiled
def _scan(pixels, h, w, grid, out):
    """Copy a crop into `grid` with a rim of 1 px; fill area in px^2 and centroid (x, y) in px."""
    stride = w + 2
    for p in range(stride * (h + 2)):
        grid[p] = 0
    area, sum_x, sum_y = 0, 0, 0
    for i in range(h):
        row, copy = pixels[i * w : (i + 1) * w], grid[(i + 1) * stride + 1 :]
        in_row, weighted = np.int32(0), np.int64(0)
        for j in range(w):
            copy[j] = row[j]
            in_row += np.int32(row[j])
            weighted += np.int64(np.int32(row[j]) * np.int32(j))
        area += int(in_row)
        sum_x += int(weighted)
        sum_y += int(in_row) * i
    out[0], out[1], out[2] = area, sum_x / area, sum_y / area


@compiled
def _count_points(grid, h, w):
    """Return the number of px edges between inside and outside: of points of all loops (no unit).

    `grid` is the crop of h x w px with a rim of 1 px.
    """
    stride = w + 2
    count = 0
    for i in range(h + 1):
        row, below = grid[i * stride : (i + 1) * stride], grid[(i + 1) * stride :]
        in_row = np.int32(0)
        for j in range(w + 1):
            in_row += np.int32(row[j] ^ row[j + 1]) + np.int32(row[j] ^ below[j])
        count += int(in_row)
    return count


@compiled
def _follow(grid, stride, start, entries, steps, ways, x, y, n):
    """Write the loop to the left of pixel `start`; return its end and twice its area in px^2.

    Points lie in the middle of pixel edges; coordinates are px of the crop, one less than of the
    grid. The inside lies to the right, so outer loops run clockwise on the screen and have a
    positive area, loops around holes a negative one. Pixels entered from the left become 3. There
    is no branch but the last: where a contour turns nobody can foretell.
    """
    first = start - stride - 1  # the cell above the edge, entered from below
    cell, edge = first, 2
    x_now, y_now = cell % stride - 0.5, cell // stride + 0.0
    twice_area = 0.0
    while True:
        below = grid[cell + stride + 1]
        upper = int(grid[cell] & 1) + 2 * int(grid[cell + 1] & 1)
        lower = 4 * int(below & 1) + 8 * int(grid[cell + stride] & 1)
        state = 4 * (upper + lower) + edge
        # on the way up the pixel to the right is entered from the left
        grid[cell + stride + 1] = below | np.uint8(2 * (edge == 2))
        x[n], y[n] = x_now, y_now
        n += 1
        x_next, y_next = x_now + ways[state, 0], y_now + ways[state, 1]
        twice_area += x_now * y_next - x_next * y_now
        x_now, y_now = x_next, y_next
        cell += steps[state]
        edge = entries[state]
        if cell == first and edge == 2:
            return n, twice_area


@compiled
def _largest_loop(grid, h, w, entries, steps, ways, x, y, out):
    """Leave the largest outer loop at the front of x and y, px; count parts and holes.

    Returns its number of points and its area in px^2.
    """
    n, best = 0, 0.0
    stride = w + 2
    for state in range(64):
        entry = entries[state]
        across = 1 if entry == 3 else -1
        steps[state] = stride * (1 - entry) if entry % 2 == 0 else across
    end = stride * (h + 1)
    for first in range(stride + 1, end, 64):
        here, before = grid[first : first + 64], grid[first - 1 : first + 63]
        size, found = min(64, end - first), np.uint8(0)
        for p in range(size):
            found |= np.uint8((here[p] == 1) & (before[p] == 0))
        if found == 0:
            continue
        for p in range(first, first + size):
            # a row enters the inside here, and no loop has passed yet
            if grid[p] != 1 or grid[p - 1] != 0:
                continue
            last, twice_area = _follow(grid, stride, p, entries, steps, ways, x, y, n)
            if twice_area < 0:
                out[10] += 1
                continue
            out[9] += 1
            if twice_area > best:
                best = twice_area
                for m in range(n, last):
                    x[m - n], y[m - n] = x[m], y[m]
                n = last - n
    return n, 0.5 * best


@compiled
def _blur(source, target, n, t):
    """Write the Gaussian of n coordinates in px that are preceded by 8 and followed by 8 more."""
    t0, t1, t2, t3, t4, t5, t6, t7, t8 = t[0], t[1], t[2], t[3], t[4], t[5], t[6], t[7], t[8]
    s = source
    for j in range(n):
        target[j] = (
            t0 * s[j + 8]
            + t1 * (s[j + 7] + s[j + 9])
            + t2 * (s[j + 6] + s[j + 10])
            + t3 * (s[j + 5] + s[j + 11])
            + t4 * (s[j + 4] + s[j + 12])
            + t5 * (s[j + 3] + s[j + 13])
            + t6 * (s[j + 2] + s[j + 14])
            + t7 * (s[j + 1] + s[j + 15])
            + t8 * (s[j] + s[j + 16])
        )


@compiled
def _smooth(values, n, taps, room):
    """Smooth the first n coordinates in px of a closed loop in place; `taps` has no unit."""
    # g*(2v - g*v): twice the reach of values from the other end stand before and behind
    for j in range(16):
        room[j], room[n + 16 + j] = values[(j - 16) % n], values[j % n]
    middle = room[16:]
    for j in range(n):
        middle[j] = values[j]
    once = room[n + 32 :]
    _blur(room, once, n + 16, taps)
    middle = room[8:]
    for j in range(n + 16):
        once[j] = 2.0 * middle[j] - once[j]
    _blur(once, values, n, taps)


@compiled
def _sorted_along(key, side, most, begin, n, order):
    """Order the points of one side of a loop by their key in px; return how many they are.

    From point `begin`, which has the least key, the keys run up but for small detours: insertion
    sorts them in linear time. A loop with long detours takes a Shell sort. (Numba's argsort would
    double the time to compile.)
    """
    count, moves, top = 0, 20 * n, key[begin]
    for part in range(2):
        for j in range(0 if part else begin, begin if part else n):
            if side[j] > most:
                continue
            place, this = count, key[j]
            count += 1
            if this >= top:
                top = this
            elif moves > 0:
                while place > 0 and key[order[place - 1]] > this:
                    order[place] = order[place - 1]
                    place -= 1
                    moves -= 1
            order[place] = j
    gap = count if moves <= 0 else 1
    while gap > 1:
        gap = max(1, gap * 5 // 11)
        for k in range(gap, count):
            j, place = order[k], k
            while place >= gap and key[order[place - gap]] > key[j]:
                order[place] = order[place - gap]
                place -= gap
            order[place] = j
    return count


@compiled
def _hull(x, y, n, hx, hy):
    """Write the convex hull (Andrew's monotone chain), the first point also last; return its size.

    Points are in px, the size is their number. They are sorted along a direction that no pixel grid
    has, so that none tie. The smoothed contour of a thin mask may cross itself, which rules out the
    methods for simple polygons.
    """
    key, side, order = np.empty(n), np.empty(n), np.empty(n, np.int64)
    low, high, least, most = 0, 0, np.inf, -np.inf
    for j in range(n):
        this = 0.8342 * x[j] + 0.5515 * y[j]
        key[j] = this
        if this < least:
            low, least = j, this
        if this > most:
            high, most = j, this
    # either chain gets the points of its side of the line between the two, and those so near to
    # the line that rounding may put them on either
    sx, sy, x_low, y_low = x[high] - x[low], y[high] - y[low], x[low], y[low]
    near = 0.01 * math.sqrt(sx * sx + sy * sy)
    for j in range(n):
        side[j] = sx * (y[j] - y_low) - sy * (x[j] - x_low)
    size = 0
    for sweep in range(2):
        floor = size
        for k in range(_sorted_along(key, side, near, high if sweep else low, n, order)):
            px, py = x[order[k]], y[order[k]]
            while size - floor > 1 and (
                (hx[size - 1] - hx[size - 2]) * (py - hy[size - 2])
                - (px - hx[size - 2]) * (hy[size - 1] - hy[size - 2])
                <= 0.0
            ):
                size -= 1
            hx[size], hy[size] = px, py
            size += 1
        size -= 1  # the last point begins the other chain
        for j in range(n):
            key[j], side[j] = -key[j], -side[j]
    hx[size], hy[size] = hx[0], hy[0]
    return size


@compiled
def _calipers(hx, hy, n, out):
    """Fill perimeter, area, least and greatest Feret diameter of a hull of n points; px and px^2.

    Returns the side along which the least one was found. Point n repeats point 0. For every side
    the farthest vertex is found by going on from that of the side before; whatever is passed on the
    way is opposite to the side's first point.
    """
    length, area, least, most = 0.0, 0.0, np.inf, 0.0
    k, narrow = 1, 0
    for e in range(n):
        ax, ay = hx[e], hy[e]
        sx, sy = hx[e + 1] - ax, hy[e + 1] - ay
        side = math.sqrt(sx * sx + sy * sy)
        length += side
        area += 0.5 * (ax * hy[e + 1] - hx[e + 1] * ay)
        height = sx * (hy[k] - ay) - sy * (hx[k] - ax)
        most = max(most, (hx[k] - ax) ** 2 + (hy[k] - ay) ** 2)
        for _ in range(n):
            after = k + 1 if k + 1 < n else 0
            further = sx * (hy[after] - ay) - sy * (hx[after] - ax)
            if further < height:
                break
            k, height = after, further
            most = max(most, (hx[k] - ax) ** 2 + (hy[k] - ay) ** 2)
        if side > 0.0 and height / side < least:
            least, narrow = height / side, e
    out[4], out[5], out[6], out[7] = length, area, least, math.sqrt(most)
    return narrow


@compiled
def _light_length(x, y, n):
    """Length, px, of the contour after binomial weights 1 4 6 4 1: less than half as smooth."""
    length, x0, y0 = 0.0, 0.0, 0.0
    for j in range(n + 1):
        a, b, c = (j - 2) % n, (j - 1) % n, j % n
        d, e = (j + 1) % n, (j + 2) % n
        x1 = (x[a] + x[e] + 4.0 * (x[b] + x[d]) + 6.0 * x[c]) / 16.0
        y1 = (y[a] + y[e] + 4.0 * (y[b] + y[d]) + 6.0 * y[c]) / 16.0
        if j > 0:
            length += math.sqrt((x1 - x0) ** 2 + (y1 - y0) ** 2)
        x0, y0 = x1, y1
    return length


@compiled
def _edge_depth(x, y, n, hx, hy, narrow, least):
    """How far, px, straight edges lie together behind the tangents of the least Feret diameter.

    An oblique straight edge keeps ripples of its staircase, and a tangent touches their crests.
    The points within `_NEAR` of a tangent are taken for an edge where they run along it without a
    gap and are neither bent nor tilted beyond `_BENT`; their mean distance from it is the edge's.
    A round outline is bent, a corner is short: both give 0. Ends are left out: they are rounded.

    Steps as long as the edge itself make it look tilted, and bent by up to `_STEPPED`. Where the
    two edges tilt against each other, the particle lies askew and its sides are parallel: their
    means count. Otherwise, in an edge longer than the particle is wide, a bulge of a pixel is not
    told from a step. Returns both, px: what is known to lie behind the tangents, and what may.
    """
    ax, ay = hx[narrow], hy[narrow]
    ux, uy = hx[narrow + 1] - ax, hy[narrow + 1] - ay
    side = math.sqrt(ux * ux + uy * uy)
    if not side > 0.0:
        return 0.0, 0.0
    ux, uy = ux / side, uy / side
    total, doubt, first_tilt = 0.0, 0.0, 0.0
    for tangent in range(2):
        low, high, run = np.inf, -np.inf, 0.0
        was, before = False, 0.0
        for j in range(n + 1):
            dx, dy = x[j % n] - ax, y[j % n] - ay
            along, depth = dx * ux + dy * uy, ux * dy - uy * dx
            if tangent == 1:
                depth = least - depth
            near = depth < _NEAR
            if near:
                low, high = min(low, along), max(high, along)
                if was:
                    run += abs(along - before)
            was, before = near, along
        half = 0.5 * (high - low) - _ROUNDED
        if (
            half < max(_SHORTEST, 0.25 * least)
            or run < 0.9 * (high - low)
            or (run > 1.2 * (high - low))
        ):
            continue
        middle = 0.5 * (high + low)
        s0, s1, s2, s3, s4, d0, d1, d2 = 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0
        for j in range(n):
            dx, dy = x[j] - ax, y[j] - ay
            along, depth = (dx * ux + dy * uy - middle) / half, ux * dy - uy * dx
            if tangent == 1:
                depth = least - depth
            if depth < _NEAR and abs(along) <= 1.0:
                one, other = (j - 1) % n, (j + 1) % n
                weight = abs((x[other] - x[one]) * ux + (y[other] - y[one]) * uy)
                s0 += weight
                s1 += weight * along
                s2 += weight * along**2
                s3 += weight * along**3
                s4 += weight * along**4
                d0 += weight * depth
                d1 += weight * depth * along
                d2 += weight * depth * along**2
        if s0 <= 0.0:
            continue
        # least squares of a parabola, its mean taken off first
        m1, m2, mean = s1 / s0, s2 / s0, d0 / s0
        c11, c12 = s2 / s0 - m1 * m1, s3 / s0 - m1 * m2
        c22 = s4 / s0 - m2 * m2
        e1, e2 = d1 / s0 - m1 * mean, d2 / s0 - m2 * mean
        determinant = c11 * c22 - c12 * c12
        if determinant <= 1e-12:
            continue
        tilt = (e1 * c22 - e2 * c12) / determinant
        bend = (e2 * c11 - e1 * c12) / determinant
        if abs(bend) > _STEPPED or abs(tilt) > _STEPPED:
            continue
        if abs(tilt) < _TILTED and abs(bend) < _BENT:
            total += mean
        elif half > 0.5 * least:
            doubt += mean
        if tangent == 0:
            first_tilt = tilt
        elif min(abs(tilt), abs(first_tilt)) > 0.1 and tilt * first_tilt < 0.0:
            total, doubt = total + doubt, 0.0
    return total, doubt


@compiled
def _measure_loop(x, y, n, raw_area, room, out, more):
    """Fill perimeter, hull and Feret diameters, px and px^2, the share of area left; and MORE.

    `raw_area` in px^2 is that before smoothing, of which the share (no unit) is left.
    """
    area, length = 0.0, 0.0
    x0, y0 = x[n - 1], y[n - 1]
    for m in range(n):
        x1, y1 = x[m], y[m]
        area += x0 * y1 - x1 * y0
        length += math.sqrt((x1 - x0) ** 2 + (y1 - y0) ** 2)
        x0, y0 = x1, y1
    out[3], out[8] = length, 0.5 * area / raw_area
    hx, hy = room[: 2 * n + 2], room[2 * n + 2 :]
    narrow = _calipers(hx, hy, _hull(x, y, n, hx, hy), out)
    more[0] /= length
    more[1] = 0.5 * area
    more[2], more[3] = _edge_depth(x, y, n, hx, hy, narrow, out[6])


@compiled
def _measure_all(pixels, offsets, heights, widths, entries, ways, taps, out, more):
    """Fill one row of QUANTITIES and of MORE per mask, px and px^2; crops one behind the other.

    `offsets`, `heights` and `widths` are px. Returns the smoothed contour (x, y) of the last
    mask, px.
    """
    largest = 0
    for m in range(len(offsets)):
        largest = max(largest, (heights[m] + 2) * (widths[m] + 2))
    grid = np.empty(largest, np.uint8)
    steps = np.empty(64, np.int64)
    capacity = 2 * min(largest, _SMALL)  # no more edges than that between so many pixels
    x, y, room = np.empty(capacity), np.empty(capacity), np.empty(4 * capacity + 64)
    n = 0
    for m in range(len(offsets)):
        h, w = heights[m], widths[m]
        crop = pixels[offsets[m] : offsets[m] + h * w]
        _scan(crop, h, w, grid, out[m])
        if (h + 2) * (w + 2) > _SMALL:
            need = _count_points(grid, h, w)
            if need > len(x):
                x, y, room = np.empty(2 * need), np.empty(2 * need), np.empty(8 * need + 64)
        n, raw_area = _largest_loop(grid, h, w, entries, steps, ways, x, y, out[m])
        more[m, 0] = _light_length(x, y, n)
        _smooth(x, n, taps, room)
        _smooth(y, n, taps, room)
        _measure_loop(x, y, n, raw_area, room, out[m], more[m])
    return x[:n], y[:n]


def measure_crops(
    crops: Sequence[np.ndarray], taps: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return `QUANTITIES` of bool crops, float64 (N, 11), the last contour, and `MORE` (N, 4).

    Parameters
    ----------
    crops : sequence of bool array (h, w)
        One at least, none of them empty.
    taps : float64 array (9,)
        Weights of the smoothing, from the middle outwards.
    """
    heights = np.array([crop.shape[0] for crop in crops], np.int64)
    widths = np.array([crop.shape[1] for crop in crops], np.int64)
    ends = np.cumsum(heights * widths)
    pixels = np.concatenate([crop.reshape(-1) for crop in crops]).view(np.uint8)
    out, more = np.zeros((len(crops), 11)), np.zeros((len(crops), 4))
    last = _measure_all(
        pixels, ends - heights * widths, heights, widths, _ENTRIES, _WAYS, taps, out, more
    )
    return out, np.stack(last, axis=1), more


@compiled
def run_lengths(reach: np.ndarray, height: int) -> np.ndarray:
    """Count the runs of each length along rows where a number is at least `height`, int64 (W + 1,).

    Parameters
    ----------
    reach : int32 array (H, W)
        How many pixels of a column, this one and those above it, are set without a gap, in px.
    height : int
        In px.
    """
    rows, cols = reach.shape
    counts = np.zeros(cols + 1, np.int64)
    for row in range(rows):
        length = 0
        for col in range(cols):
            if reach[row, col] >= height:
                length += 1
            elif length:
                counts[length] += 1
                length = 0
        if length:
            counts[length] += 1
    return counts
