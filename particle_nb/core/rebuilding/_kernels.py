"""Compiled annealing of a volume that repeats: counts of pairs, runs and patterns, voxel by voxel.

`index` is uint8 (D, H, W): the place of each voxel's phase. Steps and lengths are in voxels;
energies have no unit.
"""

from __future__ import annotations

import numpy as np

from particle_nb.core.compiled import compiled


@compiled
def pair_counts(index, steps, count):
    """Pairs of voxels one step apart, both in the phase: int64 (steps, count)."""
    nz, ny, nx = index.shape
    found = np.zeros((len(steps), count), np.int64)
    for s in range(len(steps)):
        dz, dy, dx = steps[s]
        for z in range(nz):
            for y in range(ny):
                own, other = index[z, y], index[(z + dz) % nz, (y + dy) % ny]
                for x in range(nx):
                    if own[x] == other[(x + dx) % nx]:
                        found[s, own[x]] += 1
    return found


@compiled
def segment_counts(lines, lengths, count):
    """Segments of so many steps inside a phase, along the middle axis (A, N, B), which wraps.

    A line of one phase counts as one run of its N voxels. -> int64 (lengths, count).
    """
    outer, n, inner = lines.shape
    found = np.zeros((len(lengths), count), np.int64)
    for a in range(outer):
        for b in range(inner):
            start = 0
            while start < n and lines[a, start, b] == lines[a, start - 1 if start else n - 1, b]:
                start += 1
            if start == n:
                for k in range(len(lengths)):
                    found[k, lines[a, 0, b]] += max(n - lengths[k], 0)
                continue
            run = 0
            for i in range(n):
                run += 1
                own = lines[a, (start + i) % n, b]
                if i == n - 1 or lines[a, (start + i + 1) % n, b] != own:
                    for k in range(len(lengths)):
                        found[k, own] += max(run - lengths[k], 0)
                    run = 0
    return found


@compiled
def pattern_codes(index, offsets, powers, codes, count):
    """Number every neighbourhood of voxels, into `codes` int32 (sets, D, H, W), and count them.

    offsets (sets, cells, 3) in voxels; the code is the sum of powers[cell] times the phase there.
    -> int64 (sets, count): how often each code occurs.
    """
    nz, ny, nx = index.shape
    found = np.zeros((len(offsets), count), np.int64)
    for s in range(len(offsets)):
        for z in range(nz):
            for y in range(ny):
                for x in range(nx):
                    code = 0
                    for k in range(len(powers)):
                        dz, dy, dx = offsets[s, k]
                        code += powers[k] * index[(z + dz) % nz, (y + dy) % ny, (x + dx) % nx]
                    codes[s, z, y, x] = code
                    found[s, code] += 1
    return found


@compiled
def _reach(index, z, y, x, axis, phase):
    """Voxels of a phase that follow each other on both sides of a voxel, along an axis."""
    n = index.shape[axis]
    one, other = 0, 0
    if axis == 0:
        i = z - 1 if z > 0 else n - 1
        while one < n - 1 and index[i, y, x] == phase:
            one += 1
            i = i - 1 if i > 0 else n - 1
        i = z + 1 if z < n - 1 else 0
        while one + other < n - 1 and index[i, y, x] == phase:
            other += 1
            i = i + 1 if i < n - 1 else 0
    elif axis == 1:
        i = y - 1 if y > 0 else n - 1
        while one < n - 1 and index[z, i, x] == phase:
            one += 1
            i = i - 1 if i > 0 else n - 1
        i = y + 1 if y < n - 1 else 0
        while one + other < n - 1 and index[z, i, x] == phase:
            other += 1
            i = i + 1 if i < n - 1 else 0
    else:
        i = x - 1 if x > 0 else n - 1
        while one < n - 1 and index[z, y, i] == phase:
            one += 1
            i = i - 1 if i > 0 else n - 1
        i = x + 1 if x < n - 1 else 0
        while one + other < n - 1 and index[z, y, i] == phase:
            other += 1
            i = i + 1 if i < n - 1 else 0
    return one, other


@compiled
def _paths(one, other, step):
    """Straight paths of so many voxels that go through one between so many of its phase."""
    return one + other + 1 - step - max(one - step, 0) - max(other - step, 0)


@compiled
def _cost(index, z, y, x, new, wraps, pairs, lines, patterns):
    """Energy, which has no unit, that it would cost to give one voxel another phase.

    From the slopes of the energy at the counts of now, and each count's own curvature.
    """
    around, halo, strides, _, _, weights, slopes = pairs
    old = index[z, y, x]
    wz, wy, wx = wraps
    nz, ny, nx = index.shape
    py, px = ny + 2 * halo, nx + 2 * halo
    middle = ((z + halo) * py + y + halo) * px + x + halo
    energy = 0.0
    for s in range(len(strides)):
        one, other = around[middle + strides[s]], around[middle - strides[s]]
        lost = np.int64(one == old) + np.int64(other == old)
        won = np.int64(one == new) + np.int64(other == new)
        energy += won * (slopes[s, new] + won * weights[s, new])
        energy -= lost * (slopes[s, old] - lost * weights[s, old])
    lengths, _, _, scales, rises = lines
    if len(lengths):
        for axis in range(3):
            for phase, sign in ((old, -1), (new, 1)):
                one, other = _reach(index, z, y, x, axis, phase)
                whole = one + other + 1
                for k in range(len(lengths)):
                    step = lengths[k]
                    if whole <= step:
                        break
                    change = sign * _paths(one, other, step)
                    energy += change * (rises[axis, k, phase] + change * scales[axis, k, phase])
    offsets, powers, codes, _, _, _, tilts, which = patterns
    shift = np.int64(new) - np.int64(old)
    for s in range(len(offsets)):
        table = which[s]
        for k in range(len(powers)):
            cz = wz[z - offsets[s, k, 0] + nz]
            cy = wy[y - offsets[s, k, 1] + ny]
            cx = wx[x - offsets[s, k, 2] + nx]
            code = np.int64(codes[s, cz, cy, cx])
            after = code + shift * powers[k]
            energy += tilts[table, after, 1] - tilts[table, code, 0]
    return energy


@compiled
def _change(index, z, y, x, new, wraps, pairs, lines, patterns):
    """Give one voxel another phase, and change all counts (voxels) and slopes with it."""
    around, halo, strides, hits, wanted, weights, slopes = pairs
    old = index[z, y, x]
    wz, wy, wx = wraps
    nz, ny, nx = index.shape
    py, px = ny + 2 * halo, nx + 2 * halo
    middle = ((z + halo) * py + y + halo) * px + x + halo
    for s in range(len(strides)):
        one, other = around[middle + strides[s]], around[middle - strides[s]]
        hits[s, old] -= np.int64(one == old) + np.int64(other == old)
        hits[s, new] += np.int64(one == new) + np.int64(other == new)
        for phase in (old, new):
            slopes[s, phase] = 2 * weights[s, phase] * (hits[s, phase] - wanted[s, phase])
    lengths, runs, aims, scales, rises = lines
    if len(lengths):
        for axis in range(3):
            for phase, sign in ((old, -1), (new, 1)):
                one, other = _reach(index, z, y, x, axis, phase)
                whole = one + other + 1
                for k in range(len(lengths)):
                    step = lengths[k]
                    if whole <= step:
                        break
                    runs[axis, k, phase] += sign * _paths(one, other, step)
                    off = runs[axis, k, phase] - aims[axis, k, phase]
                    rises[axis, k, phase] = 2 * scales[axis, k, phase] * off
    offsets, powers, codes, seen, shares, costs, tilts, which = patterns
    shift = np.int64(new) - np.int64(old)
    for s in range(len(offsets)):
        table = which[s]
        for k in range(len(powers)):
            dz, dy, dx = offsets[s, k]
            cz, cy, cx = wz[z - dz + nz], wy[y - dy + ny], wx[x - dx + nx]
            code = np.int64(codes[s, cz, cy, cx])
            after = code + shift * powers[k]
            codes[s, cz, cy, cx] = after
            seen[table, code] -= 1
            seen[table, after] += 1
            for c in (code, after):
                off = 2 * (seen[table, c] - shares[table, c])
                tilts[table, c, 0] = costs[table, c] * (off - 1)
                tilts[table, c, 1] = costs[table, c] * (off + 1)
    index[z, y, x] = new
    # the halo repeats the volume once on every side
    for i in range((z + halo) % nz, nz + 2 * halo, nz):
        for j in range((y + halo) % ny, py, ny):
            for k in range((x + halo) % nx, px, nx):
                around[(i * py + j) * px + k] = new


@compiled
def _beside_another(index, z, y, x, wraps):
    """Whether one of a voxel's six neighbours has another phase."""
    wz, wy, wx = wraps
    nz, ny, nx = index.shape
    own = index[z, y, x]
    return (
        index[wz[z + 1 + nz], y, x] != own
        or index[wz[z - 1 + nz], y, x] != own
        or index[z, wy[y + 1 + ny], x] != own
        or index[z, wy[y - 1 + ny], x] != own
        or index[z, y, wx[x + 1 + nx]] != own
        or index[z, y, wx[x - 1 + nx]] != own
    )


@compiled
def _block(z, y, x, ny, nx, factor):
    """Number of the coarse voxel that a voxel lies in."""
    return (z // factor * (ny // factor) + y // factor) * (nx // factor) + x // factor


@compiled
def _stays(held, block, lost, won, kept):
    """Whether a block's own group stays the largest when one voxel goes from group to group."""
    own = kept[block]
    mine = held[block, own] - np.int64(lost == own) + np.int64(won == own)
    for g in range(held.shape[1]):
        if g != own and held[block, g] - np.int64(lost == g) + np.int64(won == g) >= mine:
            return False
    return True


@compiled
def anneal(index, wraps, pairs, lines, patterns, cells, temperature, proposals, rng):
    """Exchange voxels of different phases at a temperature, which has no unit.

    Nine in ten of them lie at a surface. cells (factor in voxels, held, group, kept, rule): with
    rule 1 every block of factor^3 voxels keeps its most frequent group, with rule 2 the number of
    voxels of each group. -> number accepted, mean size of the costs.
    """
    _nz, ny, nx = index.shape
    factor, held, group, kept, rule = cells
    accepted, tried, sizes = 0, 0, 0.0
    for _ in range(proposals):
        anywhere = rng.random() < 0.1
        z, y, x = 0, 0, 0
        for _ in range(200):
            i = int(rng.random() * index.size)
            z, y, x = i // (ny * nx), i // nx % ny, i % nx
            if anywhere or _beside_another(index, z, y, x, wraps):
                break
        own = index[z, y, x]
        near = rule == 2 or (rule == 1 and rng.random() < 0.5)
        found = False
        z2, y2, x2 = 0, 0, 0
        for _ in range(50 if near else 200):
            if near:
                z2 = z // factor * factor + int(rng.random() * factor)
                y2 = y // factor * factor + int(rng.random() * factor)
                x2 = x // factor * factor + int(rng.random() * factor)
            else:
                i = int(rng.random() * index.size)
                z2, y2, x2 = i // (ny * nx), i // nx % ny, i % nx
            if index[z2, y2, x2] != own and (
                anywhere or near or _beside_another(index, z2, y2, x2, wraps)
            ):
                found = True
                break
        if not found:
            continue
        other = index[z2, y2, x2]
        one, two = 0, 0
        if rule:
            one = _block(z, y, x, ny, nx, factor)
            two = _block(z2, y2, x2, ny, nx, factor)
            g, h = group[own], group[other]
            if (
                one != two
                and g != h
                and not (_stays(held, one, g, h, kept) and _stays(held, two, h, g, kept))
            ):
                continue
        cost = _cost(index, z, y, x, other, wraps, pairs, lines, patterns)
        cost += _cost(index, z2, y2, x2, own, wraps, pairs, lines, patterns)
        tried += 1
        sizes += abs(cost)
        if cost <= 0 or rng.random() < np.exp(-cost / temperature):
            accepted += 1
            _change(index, z, y, x, other, wraps, pairs, lines, patterns)
            _change(index, z2, y2, x2, own, wraps, pairs, lines, patterns)
            if rule:
                held[one, group[own]] -= 1
                held[one, group[other]] += 1
                held[two, group[other]] -= 1
                held[two, group[own]] += 1
    return accepted, sizes / max(tried, 1)


@compiled
def shift(index, cells, excess, rng):
    """Turn voxels of phases in excess into those that lack, where their block stays what it is.

    excess int64 (K,) voxels, changed in place towards 0; what cannot be placed is left.
    """
    _nz, ny, nx = index.shape
    factor, held, group, kept, rule = cells
    for _ in range(40 * index.size):
        i = int(rng.random() * index.size)
        z, y, x = i // (ny * nx), i // nx % ny, i % nx
        own = index[z, y, x]
        if excess[own] <= 0:
            if excess.max() <= 0:
                return
            continue
        new = np.argmin(excess)
        block = _block(z, y, x, ny, nx, factor)
        if group[own] != group[new]:
            if rule == 2 or not _stays(held, block, group[own], group[new], kept):
                continue
            held[block, group[own]] -= 1
            held[block, group[new]] += 1
        index[z, y, x] = new
        excess[own] -= 1
        excess[new] += 1
