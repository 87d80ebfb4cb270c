"""Compiled annealing of a volume that repeats, by counts, and search for windows of sections.

`index` is uint8 (D, H, W): the place of each voxel's phase. Steps and lengths are in voxels;
energies have no unit.
"""

from __future__ import annotations

import numpy as np

from particle_nb.core.compiled import compiled

#: Windows looked at: from neighbours in the plane, from the planes beside it, and drawn.
_IN_PLANE, _BESIDE, _DRAWN = 4, 2, 8

#: Edge of the tiles whose uses are counted, in cells.
_TILE = 4


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
def _ahead(around, middle, stride, phase, longest):
    """Voxels of a phase that follow the one in the middle, step by step, up to `longest`."""
    for n in range(longest):
        middle += stride
        if around[middle] != phase:
            return n
    return longest


@compiled
def _paths(one, other, step):
    """Segments of so many steps through a voxel with so many of its phase on either side."""
    return max(min(one, step) + min(other, step) + 1 - step, 0)


@compiled
def _flat(z, y, x, shape, halo):
    """Place of a voxel in a flat volume of that shape with a halo, so many voxels deep."""
    return ((z + halo) * (shape[1] + 2 * halo) + y + halo) * (shape[2] + 2 * halo) + x + halo


@compiled
def segment_counts(around, halo, shape, strides, lengths, count):
    """Segments of so many steps inside a phase, by direction: int64 (strides, lengths, count).

    `around` is the volume (D, H, W) of that shape, flat, with its own repetition `halo` voxels deep
    on every side; strides are steps in it.
    """
    nz, ny, nx = shape
    found = np.zeros((len(strides), len(lengths), count), np.int64)
    for m in range(len(strides)):
        for z in range(nz):
            for y in range(ny):
                for x in range(nx):
                    middle = _flat(z, y, x, shape, halo)
                    own = around[middle]
                    ahead = _ahead(around, middle, strides[m], own, lengths[-1])
                    for k in range(len(lengths)):
                        if ahead < lengths[k]:
                            break
                        found[m, k, own] += 1
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
def _cost(index, z, y, x, new, wraps, pairs, lines, patterns):
    """Energy, which has no unit, that it would cost to give one voxel another phase.

    From the slopes of the energy at the counts of now, and each count's own curvature.
    """
    around, halo, strides, _, _, weights, slopes = pairs
    old = index[z, y, x]
    wz, wy, wx = wraps
    nz, ny, nx = index.shape
    middle = _flat(z, y, x, index.shape, halo)
    energy = 0.0
    for s in range(len(strides)):
        one, other = around[middle + strides[s]], around[middle - strides[s]]
        lost = np.int64(one == old) + np.int64(other == old)
        won = np.int64(one == new) + np.int64(other == new)
        energy += won * (slopes[s, new] + won * weights[s, new])
        energy -= lost * (slopes[s, old] - lost * weights[s, old])
    along, farthest, lengths, _, _, scales, rises = lines
    for m in range(len(along)):
        for phase, sign in ((old, -1), (new, 1)):
            one = _ahead(around, middle, along[m], phase, farthest[m])
            other = _ahead(around, middle, -along[m], phase, farthest[m])
            for k in range(len(lengths)):
                if one + other < lengths[k] or farthest[m] < lengths[k]:
                    break
                change = sign * _paths(one, other, lengths[k])
                energy += change * (rises[m, k, phase] + change * scales[m, k, phase])
    offsets, powers, codes, kinds, _, _, _, tilts, which = patterns
    shift = np.int64(new) - np.int64(old)
    for s in range(len(offsets)):
        table = which[s]
        for k in range(len(powers)):
            cz = wz[z - offsets[s, k, 0] + nz]
            cy = wy[y - offsets[s, k, 1] + ny]
            cx = wx[x - offsets[s, k, 2] + nx]
            code = np.int64(codes[s, cz, cy, cx])
            before, after = kinds[table, code], kinds[table, code + shift * powers[k]]
            if before != after:
                energy += tilts[table, after, 1] - tilts[table, before, 0]
    return energy


@compiled
def _change(index, z, y, x, new, wraps, pairs, lines, patterns):
    """Give one voxel another phase, and change all counts (voxels) and slopes with it."""
    around, halo, strides, hits, wanted, weights, slopes = pairs
    old = index[z, y, x]
    wz, wy, wx = wraps
    nz, ny, nx = index.shape
    py, px = ny + 2 * halo, nx + 2 * halo
    middle = _flat(z, y, x, index.shape, halo)
    for s in range(len(strides)):
        one, other = around[middle + strides[s]], around[middle - strides[s]]
        hits[s, old] -= np.int64(one == old) + np.int64(other == old)
        hits[s, new] += np.int64(one == new) + np.int64(other == new)
        for phase in (old, new):
            slopes[s, phase] = 2 * weights[s, phase] * (hits[s, phase] - wanted[s, phase])
    along, farthest, lengths, runs, aims, scales, rises = lines
    for m in range(len(along)):
        for phase, sign in ((old, -1), (new, 1)):
            one = _ahead(around, middle, along[m], phase, farthest[m])
            other = _ahead(around, middle, -along[m], phase, farthest[m])
            for k in range(len(lengths)):
                if one + other < lengths[k] or farthest[m] < lengths[k]:
                    break
                runs[m, k, phase] += sign * _paths(one, other, lengths[k])
                off = runs[m, k, phase] - aims[m, k, phase]
                rises[m, k, phase] = 2 * scales[m, k, phase] * off
    offsets, powers, codes, kinds, seen, shares, costs, tilts, which = patterns
    shift = np.int64(new) - np.int64(old)
    for s in range(len(offsets)):
        table = which[s]
        for k in range(len(powers)):
            dz, dy, dx = offsets[s, k]
            cz, cy, cx = wz[z - dz + nz], wy[y - dy + ny], wx[x - dx + nx]
            code = np.int64(codes[s, cz, cy, cx])
            codes[s, cz, cy, cx] = code + shift * powers[k]
            before, after = kinds[table, code], kinds[table, code + shift * powers[k]]
            seen[table, before] -= 1
            seen[table, after] += 1
            for c in (before, after):
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
def _neighbour(index, z, y, x, wraps, which):
    """Phase of one of a voxel's six neighbours."""
    wz, wy, wx = wraps
    nz, ny, nx = index.shape
    step = 1 if which % 2 else -1
    if which < 2:
        return index[wz[z + step + nz], y, x]
    if which < 4:
        return index[z, wy[y + step + ny], x]
    return index[z, y, wx[x + step + nx]]


@compiled
def _beside_another(index, z, y, x, wraps):
    """Whether one of a voxel's six neighbours has another phase."""
    own = index[z, y, x]
    others = 0
    for which in range(6):
        others += int(_neighbour(index, z, y, x, wraps, which) != own)
    return others > 0


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
def exchange(index, wraps, pairs, lines, patterns, cells, temperature, proposals, rng):
    """Exchange voxels of different phases within what blocks must keep, at a temperature.

    Nine in ten of them lie at a surface. cells (factor in voxels, held, group, kept, rule): with
    rule 1 every block of factor^3 voxels keeps its most frequent group, with rule 2 the number of
    voxels of each group. Temperature and costs have no unit. -> number accepted, mean size of the
    costs.
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
        near = rule == 2 or rng.random() < 0.5
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
            held[one, g] -= 1
            held[one, h] += 1
            held[two, h] -= 1
            held[two, g] += 1
    return accepted, sizes / max(tried, 1)


@compiled
def flip(index, wraps, pairs, lines, patterns, excess, stiffness, temperature, proposals, rng):
    """Give single voxels another phase at a temperature, which has no unit.

    Nine in ten take the phase of a neighbour. excess int64 (K,) is how many voxels a phase has
    beyond those wanted, changed in place; its square times stiffness is part of the energy.
    -> number accepted, mean size of the costs.
    """
    _nz, ny, nx = index.shape
    accepted, tried, sizes = 0, 0, 0.0
    for _ in range(proposals):
        anywhere = rng.random() < 0.1
        z, y, x = 0, 0, 0
        own, new = np.int64(0), np.int64(0)
        for _ in range(200):
            i = int(rng.random() * index.size)
            z, y, x = i // (ny * nx), i // nx % ny, i % nx
            own = np.int64(index[z, y, x])
            if anywhere:
                new = np.int64(rng.random() * len(excess))
            else:
                new = np.int64(_neighbour(index, z, y, x, wraps, int(rng.random() * 6)))
            if new != own:
                break
        if new == own:
            continue
        cost = _cost(index, z, y, x, np.uint8(new), wraps, pairs, lines, patterns)
        tried += 1
        sizes += abs(cost)
        cost += stiffness * 2 * (1 + excess[new] - excess[own])
        if cost <= 0 or rng.random() < np.exp(-cost / temperature):
            accepted += 1
            excess[own] -= 1
            excess[new] += 1
            _change(index, z, y, x, np.uint8(new), wraps, pairs, lines, patterns)
    return accepted, sizes / max(tried, 1)


@compiled
def settle(index, wraps, pairs, lines, patterns, excess, tries, rng):
    """Turn voxels of phases in excess into those that lack, the cheapest of so many drawn each.

    excess int64 (K,) voxels, changed in place to 0.
    """
    _nz, ny, nx = index.shape
    while excess.max() > 0:
        own, new = np.argmax(excess), np.argmin(excess)
        best, z, y, x = np.inf, -1, 0, 0
        drawn = 0
        for _ in range(1000 * tries):
            i = int(rng.random() * index.size)
            a, b, c = i // (ny * nx), i // nx % ny, i % nx
            if index[a, b, c] != own:
                continue
            cost = _cost(index, a, b, c, np.uint8(new), wraps, pairs, lines, patterns)
            if cost < best:
                best, z, y, x = cost, a, b, c
            drawn += 1
            if drawn == tries:
                break
        if z < 0:
            return
        _change(index, z, y, x, np.uint8(new), wraps, pairs, lines, patterns)
        excess[own] -= 1
        excess[new] += 1


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


@compiled
def _at(z, y, x, normal, up, i, j, wraps):
    """Where the voxel lies that is `up` planes and (i, j) voxels away."""
    wz, wy, wx = wraps
    nz, ny, nx = len(wz) // 3, len(wy) // 3, len(wx) // 3
    if normal == 0:
        return wz[z + up + nz], wy[y + i + ny], wx[x + j + nx]
    if normal == 1:
        return wz[z + i + nz], wy[y + up + ny], wx[x + j + nx]
    return wz[z + i + nz], wy[y + j + ny], wx[x + up + nx]


@compiled
def _unlike(index, place, normal, wraps, picture, row, column, reach, step, most):
    """Cells in which two windows differ, at most so many."""
    z, y, x = place
    off = 0
    for i in range(-reach, reach + 1):
        for j in range(-reach, reach + 1):
            if (
                index[_at(z, y, x, normal, 0, i, j, wraps)]
                != picture[row + i * step, column + j * step]
            ):
                off += 1
        if off >= most:
            return most
    return off


@compiled
def search_windows(
    index, wraps, pictures, sizes, normals, which, match, costs, reach, step, worn, rng
):
    """Look for better windows: those of neighbours moved along, and some by chance.

    pictures uint8 (P, h, w) of sizes (P, 2) px hold the sections; normals int64 (A,) are the axes
    across which they were cut, which int64 (A, 2) the first picture and the number of pictures of
    each. match int32 (A, D, H, W, 3) is the picture, row and column of every voxel's window; its
    cells lie `step` px apart, `reach` of them on either side. costs float32 (A, D, H, W): cells in
    which windows differ. worn (P, tiles, tiles): what a tile of a picture costs besides, in cells,
    for being used too often. Both match and costs change in place.
    """
    _nz, ny, nx = index.shape
    edge = reach * step
    tile = step * _TILE
    backward = rng.random() < 0.5
    for t in range(index.size):
        n = index.size - 1 - t if backward else t
        z, y, x = n // (ny * nx), n // nx % ny, n % nx
        for a in range(len(normals)):
            normal = normals[a]
            q, r, c = match[a, z, y, x]
            far = (2 * reach + 1) ** 2
            best = worn[q, r // tile, c // tile] + _unlike(
                index, (z, y, x), normal, wraps, pictures[q], r, c, reach, step, far
            )
            bq, br, bc = q, r, c
            for k in range(_IN_PLANE + _BESIDE + _DRAWN):
                if best <= 0:
                    break
                if k < _IN_PLANE:
                    sign = 2 * (k % 2) - 1
                    i, j = (sign, 0) if k < 2 else (0, sign)
                    q, r, c = match[a][_at(z, y, x, normal, 0, i, j, wraps)]
                    r, c = r - i * step, c - j * step
                elif k < _IN_PLANE + _BESIDE:
                    up = 2 * (k % 2) - 1
                    q, r, c = match[a][_at(z, y, x, normal, up, 0, 0, wraps)]
                elif k % 2:
                    q = which[a, 0] + int(rng.random() * which[a, 1])
                    r = edge + int(rng.random() * (sizes[q, 0] - 2 * edge))
                    c = edge + int(rng.random() * (sizes[q, 1] - 2 * edge))
                else:
                    wide = 2.0 ** (rng.random() * 5) * step
                    q = bq
                    r = br + int((2 * rng.random() - 1) * wide)
                    c = bc + int((2 * rng.random() - 1) * wide)
                if r < edge or c < edge or r >= sizes[q, 0] - edge or c >= sizes[q, 1] - edge:
                    continue
                extra = worn[q, r // tile, c // tile]
                if extra >= best:
                    continue
                most = int(np.ceil(best - extra))
                cost = extra + _unlike(
                    index, (z, y, x), normal, wraps, pictures[q], r, c, reach, step, most
                )
                if cost < best:
                    best, bq, br, bc = cost, q, r, c
            match[a, z, y, x, 0], match[a, z, y, x, 1], match[a, z, y, x, 2] = bq, br, bc
            costs[a, z, y, x] = best - worn[bq, br // tile, bc // tile]


@compiled
def count_uses(match, step, used):
    """Count how often tiles of pictures are used, into `used` (P, tiles, tiles).

    A tile has an edge of so many cells, which lie `step` px apart.
    """
    tile = step * _TILE
    used[:] = 0
    flat = match.reshape(-1, 3)
    for n in range(len(flat)):
        used[flat[n, 0], flat[n, 1] // tile, flat[n, 2] // tile] += 1


@compiled
def vote_windows(match, costs, wraps, pictures, normals, reach, step, ballots):
    """Every cell of every window votes for its phase, into `ballots` float32 (D, H, W, K)."""
    nz, ny, nx = ballots.shape[:3]
    for a in range(len(normals)):
        for z in range(nz):
            for y in range(ny):
                for x in range(nx):
                    q, r, c = match[a, z, y, x]
                    weight = (1.0 + costs[a, z, y, x]) ** -0.6
                    for i in range(-reach, reach + 1):
                        for j in range(-reach, reach + 1):
                            k, m, n = _at(z, y, x, normals[a], 0, i, j, wraps)
                            ballots[k, m, n, pictures[q, r + i * step, c + j * step]] += weight
