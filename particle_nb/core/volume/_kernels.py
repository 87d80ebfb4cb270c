"""Compiled passes over the voxels of a volume. Lengths are in voxels, conductances in D0.

`index` is uint8: the place of each voxel's phase. Wrapped neighbours are those across the frame of
a volume that repeats.
"""

from __future__ import annotations

import numpy as np

from particle_nb.core.compiled import compiled


@compiled
def run_lengths(index, count, periodic):
    """Histogram of runs, in voxels, of one phase along the middle axis of an array (A, N, B).

    -> int64 (2, count, N + 1): whole runs; runs cut by the frame, or without an end where periodic.
    """
    outer, n, inner = index.shape
    found = np.zeros((2, count, n + 1), np.int64)
    length = np.empty(inner, np.int64)
    first = np.empty(inner, np.int64)
    for a in range(outer):
        for b in range(inner):
            length[b] = 1
            first[b] = 0  # length of the run that begins at the frame, 0 while it goes on
        for i in range(1, n):
            for b in range(inner):
                last = index[a, i - 1, b]
                if index[a, i, b] == last:
                    length[b] += 1
                    continue
                if first[b] == 0:
                    first[b] = length[b]
                    if not periodic:
                        found[1, last, length[b]] += 1
                else:
                    found[0, last, length[b]] += 1
                length[b] = 1
        for b in range(inner):
            last = index[a, n - 1, b]
            if first[b] == 0:
                found[1, last, n] += 1
            elif not periodic:
                found[1, last, length[b]] += 1
            elif index[a, 0, b] == last:
                found[0, last, length[b] + first[b]] += 1
            else:
                found[0, last, length[b]] += 1
                found[0, index[a, 0, b], first[b]] += 1
    return found


@compiled
def contacts(index, bounds, steps, count, periodic):
    """Pairs of voxels of different phases, the first one inside `bounds` (z0, z1, y0, y1, x0, x1).

    -> int64 (len(steps), count, count): [step, phase of the first, phase of the second].
    """
    nz, ny, nx = index.shape
    found = np.zeros((len(steps), count, count), np.int64)
    for s in range(len(steps)):
        dz, dy, dx = steps[s]
        for z in range(bounds[0], bounds[1]):
            z2 = z + dz
            if z2 >= nz or z2 < 0:
                if not periodic:
                    continue
                z2 %= nz
            for y in range(bounds[2], bounds[3]):
                y2 = y + dy
                if y2 >= ny or y2 < 0:
                    if not periodic:
                        continue
                    y2 %= ny
                for x in range(bounds[4], bounds[5]):
                    x2 = x + dx
                    if x2 >= nx or x2 < 0:
                        if not periodic:
                            continue
                        x2 %= nx
                    one, other = index[z, y, x], index[z2, y2, x2]
                    if one != other:
                        found[s, one, other] += 1
    return found


@compiled
def counted(index, bounds, count):
    """Voxels of each phase inside `bounds`, int64 (count,)."""
    found = np.zeros(count, np.int64)
    for z in range(bounds[0], bounds[1]):
        for y in range(bounds[2], bounds[3]):
            for x in range(bounds[4], bounds[5]):
                found[index[z, y, x]] += 1
    return found


@compiled
def clusters(index, parent):
    """Number the pieces of each phase that hang together by faces, into `parent` (flat, signed).

    -> number of pieces; they are numbered from 0 in the order of their first voxels.
    """
    nz, ny, nx = index.shape
    i = 0
    for z in range(nz):
        for y in range(ny):
            for x in range(nx):
                own = index[z, y, x]
                root = i
                if x > 0 and index[z, y, x - 1] == own:
                    root = parent[i - 1]
                    while parent[root] != root:
                        parent[root] = parent[parent[root]]
                        root = parent[root]
                if y > 0 and index[z, y - 1, x] == own:
                    other = parent[i - nx]
                    while parent[other] != other:
                        parent[other] = parent[parent[other]]
                        other = parent[other]
                    if other < root:
                        if root != i:
                            parent[root] = other
                        root = other
                    elif other > root:
                        parent[other] = root
                if z > 0 and index[z - 1, y, x] == own:
                    other = parent[i - ny * nx]
                    while parent[other] != other:
                        parent[other] = parent[parent[other]]
                        other = parent[other]
                    if other < root:
                        if root != i:
                            parent[root] = other
                        root = other
                    elif other > root:
                        parent[other] = root
                parent[i] = root
                i += 1
    number = 0
    # roots come before their pieces, so one pass in order finds every final number
    for i in range(parent.size):
        if parent[i] == i:
            parent[i] = -1 - number
            number += 1
        else:
            parent[i] = parent[parent[i]]
    for i in range(parent.size):
        parent[i] = -1 - parent[i]
    return number


@compiled
def pieces(numbers, index, total):
    """Voxels and phase of each piece: int64 (total,), uint8 (total,)."""
    size = np.zeros(total, np.int64)
    phase = np.zeros(total, np.uint8)
    for i in range(numbers.size):
        size[numbers[i]] += 1
        phase[numbers[i]] = index[i]
    return size, phase


@compiled
def coarser_faces(faces, rim, coarse_faces, coarse_rim):
    """Conductances of a grid of twice the edge: half the sum over the faces that cross.

    faces[a, z, y, x] lies between a voxel and the next one along axis a, 0 where nothing passes;
    the last one wraps. `rim` (2, ny, nx) leads from the first and the last layer to the electrodes.
    """
    _, nz, ny, nx = faces.shape
    half = np.float32(0.5)
    for z in range(nz):
        for y in range(ny):
            for x in range(nx):
                k, j, i = z // 2, y // 2, x // 2
                if z % 2 == 1:
                    coarse_faces[0, k, j, i] += half * faces[0, z, y, x]
                if y % 2 == 1 or y == ny - 1:
                    coarse_faces[1, k, j, i] += half * faces[1, z, y, x]
                if x % 2 == 1 or x == nx - 1:
                    coarse_faces[2, k, j, i] += half * faces[2, z, y, x]
    for side in range(2):
        for y in range(ny):
            for x in range(nx):
                coarse_rim[side, y // 2, x // 2] += half * rim[side, y, x]
    # a face of a cell with itself, where the coarse grid is one cell wide, conducts nothing
    if coarse_rim.shape[1] == 1:
        coarse_faces[1] = 0
    if coarse_rim.shape[2] == 1:
        coarse_faces[2] = 0


@compiled
def diagonal(faces, rim, total):
    """Sum of a voxel's conductances; 1 where it conducts nowhere."""
    nz, ny, nx = total.shape
    for z in range(nz):
        for y in range(ny):
            for x in range(nx):
                # behind the first voxel stands the last: its face is 0 where nothing wraps
                own = np.float32(faces[0, z, y, x]) + faces[0, z - 1 if z > 0 else nz - 1, y, x]
                own += np.float32(faces[1, z, y, x]) + faces[1, z, y - 1 if y > 0 else ny - 1, x]
                own += np.float32(faces[2, z, y, x]) + faces[2, z, y, x - 1 if x > 0 else nx - 1]
                if z == 0:
                    own += rim[0, y, x]
                if z == nz - 1:
                    own += rim[1, y, x]
                total[z, y, x] = own if own > 0 else 1


@compiled
def _inflow(faces, x, z, y, out):
    """Conductance times value of the six neighbours, summed, for one row of voxels.

    Short loops over rows, each with few arrays: so they become vector instructions.
    """
    nz, ny, nx = x.shape
    zm, zp = z - 1 if z > 0 else nz - 1, z + 1 if z + 1 < nz else 0
    ym, yp = y - 1 if y > 0 else ny - 1, y + 1 if y + 1 < ny else 0
    one, other, left, right = faces[0, z, y], faces[0, zm, y], x[zp, y], x[zm, y]
    for i in range(nx):
        out[i] = np.float32(one[i]) * left[i] + np.float32(other[i]) * right[i]
    one, other, left, right = faces[1, z, y], faces[1, z, ym], x[z, yp], x[z, ym]
    for i in range(nx):
        out[i] += np.float32(one[i]) * left[i] + np.float32(other[i]) * right[i]
    one, left = faces[2, z, y], x[z, y]
    for i in range(nx - 1):
        out[i] += np.float32(one[i]) * left[i + 1]
    for i in range(1, nx):
        out[i] += np.float32(one[i - 1]) * left[i - 1]
    out[nx - 1] += np.float32(one[nx - 1]) * left[0]
    out[0] += np.float32(one[nx - 1]) * left[nx - 1]


@compiled
def relax(faces, total, b, x, backwards):
    """One sweep of the rows, in their order or against it; within a row damped Jacobi.

    `faces` and `total` are conductances in D0; `x` (concentration) has no unit: `b` is in D0.
    The two directions are adjoint to each other, so that together they are symmetric.
    """
    nz, ny, nx = x.shape
    flow = np.empty(nx, np.float32)
    keep, take = np.float32(0.2), np.float32(0.8)
    for zz in range(nz):
        z = nz - 1 - zz if backwards else zz
        for yy in range(ny):
            y = ny - 1 - yy if backwards else yy
            _inflow(faces, x, z, y, flow)
            own, given, sums = x[z, y], b[z, y], total[z, y]
            for i in range(nx):
                own[i] = keep * own[i] + take * (given[i] + flow[i]) / np.float32(sums[i])


@compiled
def restrict_residual(faces, total, b, x, coarse):
    """Residual b - A x, summed over the two by two by two voxels of each coarse cell."""
    nz, ny, nx = x.shape
    coarse[...] = 0
    flow = np.empty(nx, np.float32)
    for z in range(nz):
        for y in range(ny):
            _inflow(faces, x, z, y, flow)
            own, given, sums = x[z, y], b[z, y], total[z, y]
            for i in range(nx):
                flow[i] += given[i] - own[i] * np.float32(sums[i])
            below = coarse[z // 2, y // 2]
            for i in range(nx // 2):
                below[i] += flow[2 * i] + flow[2 * i + 1]
            if nx % 2 == 1:
                below[nx // 2] += flow[nx - 1]


@compiled
def prolong(coarse, x):
    """Add each coarse cell's correction to its voxels."""
    nz, ny, nx = x.shape
    for z in range(nz):
        for y in range(ny):
            own, below = x[z, y], coarse[z // 2, y // 2]
            for i in range(nx // 2):
                own[2 * i] += below[i]
                own[2 * i + 1] += below[i]
            if nx % 2 == 1:
                own[nx - 1] += below[nx // 2]


@compiled
def times(faces, rim, p, inlet, out):
    """What flows out of each voxel, into float32 by way of float64; -> p . out.

    The first electrode stands at `inlet`, the last at 0; with an inlet of 0 it is A p.

    By differences of neighbours, not by a diagonal: in float32 that would leak.
    """
    nz, ny, nx = p.shape
    row = np.empty(nx)
    dot = 0.0
    for z in range(nz):
        zm, zp = z - 1 if z > 0 else nz - 1, z + 1 if z + 1 < nz else 0
        for y in range(ny):
            ym, yp = y - 1 if y > 0 else ny - 1, y + 1 if y + 1 < ny else 0
            own = p[z, y]
            one, other, left, right = faces[0, z, y], faces[0, zm, y], p[zp, y], p[zm, y]
            for i in range(nx):
                row[i] = one[i] * (np.float64(own[i]) - left[i])
                row[i] += other[i] * (np.float64(own[i]) - right[i])
            one, other, left, right = faces[1, z, y], faces[1, z, ym], p[z, yp], p[z, ym]
            for i in range(nx):
                row[i] += one[i] * (np.float64(own[i]) - left[i])
                row[i] += other[i] * (np.float64(own[i]) - right[i])
            one = faces[2, z, y]
            for i in range(nx - 1):
                row[i] += one[i] * (np.float64(own[i]) - own[i + 1])
            for i in range(1, nx):
                row[i] += one[i - 1] * (np.float64(own[i]) - own[i - 1])
            across = one[nx - 1] * (np.float64(own[nx - 1]) - own[0])
            row[nx - 1] += across
            row[0] -= across
            if z == 0:
                for i in range(nx):
                    row[i] += rim[0, y, i] * (np.float64(own[i]) - inlet)
            if z == nz - 1:
                for i in range(nx):
                    row[i] += rim[1, y, i] * np.float64(own[i])
            target = out[z, y]
            for i in range(nx):
                target[i] = row[i]
            dot += product(own, row)
    return dot


#: Values that stay in the fastest cache between two loops.
_CHUNK = 2048


@compiled
def step(x, r, p, q, alpha):
    """x += alpha p, r -= alpha q; -> x . r.

    x and p have no unit (concentration), alpha neither; r, q and what is returned are in D0.
    """
    along = 0.0
    for start in range(0, x.size, _CHUNK):
        end = min(start + _CHUNK, x.size)
        for i in range(start, end):
            x[i] += alpha * p[i]
        for i in range(start, end):
            r[i] -= alpha * q[i]
        along += product(r[start:end], x[start:end])
    return along


@compiled
def turn(p, z, beta):
    """p = z + beta p, directions of concentration; they and beta have no unit."""
    for i in range(p.size):
        p[i] = z[i] + beta * p[i]


@compiled
def product(a, b):
    """a . b in float64, in four sums that do not wait for each other.

    It has the product of the units of a and b: D0 where one is a flow and the other has no unit.
    """
    s0 = s1 = s2 = s3 = 0.0
    n = a.size // 4 * 4
    for i in range(0, n, 4):
        s0 += np.float64(a[i]) * b[i]
        s1 += np.float64(a[i + 1]) * b[i + 1]
        s2 += np.float64(a[i + 2]) * b[i + 2]
        s3 += np.float64(a[i + 3]) * b[i + 3]
    for i in range(n, a.size):
        s0 += np.float64(a[i]) * b[i]
    return s0 + s1 + s2 + s3
