"""What the blocks of a fine volume must keep, so that it averages down to a coarse one."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from particle_nb.core.errors import DataError
from particle_nb.core.rebuilding import _kernels as kernels
from particle_nb.core.rebuilding.sections import Sections
from particle_nb.core.volume import Volume

#: Rules of `_kernels.exchange`.
MAJORITY, COUNTS = 1, 2

Cells = tuple[int, np.ndarray, np.ndarray, np.ndarray, int]


def block_view(labels: np.ndarray, factor: int) -> np.ndarray:
    """Return the voxels of every block of factor^3, (blocks, factor^3), copied.

    Examples
    --------
    >>> block_view(np.arange(64).reshape(4, 4, 4), 2).shape
    (8, 8)
    """
    d, h, w = (n // factor for n in labels.shape)
    parts = labels.reshape(d, factor, h, factor, w, factor).transpose(0, 2, 4, 1, 3, 5)
    return np.ascontiguousarray(parts).reshape(d * h * w, factor**3)


def from_blocks(blocks: np.ndarray, shape: tuple[int, ...], factor: int) -> np.ndarray:
    """Return a volume (D, H, W) from its blocks (blocks, factor^3)."""
    d, h, w = shape
    parts = blocks.reshape(d, h, w, factor, factor, factor).transpose(0, 3, 1, 4, 2, 5)
    return np.ascontiguousarray(parts).reshape(d * factor, h * factor, w * factor)


def coarsened(labels: np.ndarray, factor: int, group: np.ndarray) -> np.ndarray:
    """Most frequent group of every block, int (D, H, W); -1 where two are equally frequent.

    Parameters
    ----------
    labels : uint8 (D, H, W)
        Places of the phases.
    factor : int
    group : int (K,)
        Group of each phase.

    Examples
    --------
    >>> coarsened(np.ones((2, 2, 2), np.uint8), 2, np.array([0, 1])).item()
    1
    """
    blocks = group[block_view(labels, factor)]
    counts = np.stack([(blocks == g).sum(axis=1) for g in range(int(group.max()) + 1)])
    most = np.sort(counts, axis=0)
    found = counts.argmax(axis=0)
    if len(counts) > 1:
        found = np.where(most[-1] > most[-2], found, -1)
    return found.reshape([n // factor for n in labels.shape])


def groups_of(
    coarse: Volume, sections: Sections, groups: Mapping[Any, Any] | None
) -> tuple[np.ndarray, bool]:
    """Return which coarse phase each fine phase belongs to, (K,), and whether some were guessed.

    Fine phases go to the coarse phase of their label. Those without one go where fractions of the
    sections fit best to the coarse volume.

    Parameters
    ----------
    coarse : Volume
    sections : Sections
    groups : mapping {coarse phase: fine phase or several} or None

    Raises
    ------
    DataError
        If a coarse phase has no fine one, or a fine one belongs to none or to several.
    """
    if groups is not None:
        return _given(coarse, sections, groups), False
    found = np.array(
        [coarse.phases.index(p) if p in coarse.phases else -1 for p in sections.phases]
    )
    lost = [p for i, p in enumerate(coarse.phases) if i not in found and _occurs(coarse, p)]
    if lost:
        raise DataError(
            f"phases {lost} of the coarse volume are not among those of the section, "
            f"{list(sections.phases)}; say what they hold: groups={{coarse: (fine, ...)}}."
        )
    free = np.flatnonzero(found < 0)
    if not free.size:
        return found, False
    shares = np.array(list(coarse.fractions.values()))
    best = None
    for choice in itertools.product(range(len(shares)), repeat=min(free.size, 6)):
        trial = found.copy()
        trial[free[: len(choice)]] = choice
        trial[trial < 0] = 0
        off = np.abs(np.bincount(trial, sections.seen, len(shares)) - shares).sum()
        if best is None or off < best[0]:
            best = off, trial
    assert best is not None
    return best[1], True


def _occurs(coarse: Volume, phase: int) -> bool:
    return bool(coarse.fractions[coarse.name(phase)] > 0)


def _given(coarse: Volume, sections: Sections, groups: Any) -> np.ndarray:
    if not isinstance(groups, Mapping):
        raise DataError(f"groups is a mapping {{coarse phase: fine phases}}, not {groups!r}.")
    found = np.full(len(sections.phases), -1)
    for key, value in groups.items():
        several = isinstance(value, Sequence | set | frozenset) and not isinstance(value, str)
        for one in value if several else [value]:
            known = [i for i, p in enumerate(sections.phases) if one in (p, sections.names[i])]
            if not known:
                raise DataError(
                    f"groups: there is no phase {one!r} in the section; it has "
                    f"{dict(zip(sections.phases, sections.names, strict=True))}."
                )
            if found[known[0]] >= 0:
                raise DataError(f"groups: phase {one!r} belongs to two coarse phases.")
            found[known[0]] = coarse.place(key)
    if (found < 0).any():
        left = [p for p, g in zip(sections.phases, found, strict=True) if g < 0]
        raise DataError(f"groups: the fine phases {left} belong to no coarse phase; add them.")
    empty = [p for i, p in enumerate(coarse.phases) if i not in found and _occurs(coarse, p)]
    if empty:
        raise DataError(f"groups: the coarse phases {empty} hold no fine phase; add them.")
    return found


def contents(sections: Sections, factor: int, group: np.ndarray, count: int) -> np.ndarray:
    """Return the share of each fine phase in the blocks of a coarse phase, (count, K).

    From the blocks of the sections themselves, at every offset: what a coarse voxel that was given
    its most frequent phase holds of the others.
    """
    fine = len(sections.phases)
    held = np.zeros((count, fine))
    for plane in {id(p): p for p in sections.planes.values()}.values():
        sums = []
        for place in range(fine):
            total = np.pad(np.cumsum(np.cumsum(plane == place, 0), 1), ((1, 0), (1, 0)))
            f = factor
            sums.append(total[f:, f:] - total[:-f, f:] - total[f:, :-f] + total[:-f, :-f])
        inside = np.array(sums).reshape(fine, -1)
        by_group = np.stack([inside[group == g].sum(axis=0) for g in range(count)])
        which = by_group.argmax(axis=0)
        for g in range(count):
            held[g] += inside[:, which == g].sum(axis=1)
    for g in range(count):
        if held[g].sum() == 0:
            held[g] = np.where(group == g, sections.seen, 0)
        total = held[g].sum()
        own = (group == g).astype(float)
        held[g] = held[g] / total if total else own / max(own.sum(), 1)
    return held


def by_majority(
    coarse: Volume, sections: Sections, factor: int, group: np.ndarray, rng: np.random.Generator
) -> tuple[np.ndarray, Cells, Sections]:
    """Return a first fine volume whose blocks have the coarse phases, what they keep, the aims.

    Parameters
    ----------
    coarse : Volume
        (D, H, W).
    sections : Sections
    factor : int
    group : int (K,)
    rng : numpy Generator
    """
    count = len(coarse.phases)
    kept = coarse.indices.reshape(-1).astype(np.int64)
    held = contents(sections, factor, group, count)
    shares = np.bincount(kept, minlength=count) / kept.size
    aim = shares @ held
    blocks = np.empty((kept.size, factor**3), np.uint8)
    for g in range(count):
        mine = kept == g
        weights = np.where(group == g, held[g], 0)
        if mine.any():
            size = (int(mine.sum()), factor**3)
            blocks[mine] = rng.choice(len(group), size, p=weights / weights.sum())
    index = from_blocks(blocks, coarse.shape, factor)
    counts = np.zeros((kept.size, count), np.int64)
    counts[np.arange(kept.size), kept] = factor**3
    cells = factor, counts, group.astype(np.int64), kept, MAJORITY
    wanted = np.floor(aim * index.size).astype(np.int64)
    wanted[int(aim.argmax())] += index.size - int(wanted.sum())
    excess = np.bincount(index.reshape(-1), minlength=len(group)) - wanted
    kernels.shift(index, cells, excess, rng)
    reached = np.bincount(index.reshape(-1), minlength=len(group)) / index.size
    return index, cells, replace(sections, aim=reached)


def by_counts(
    fractions: np.ndarray, sections: Sections, factor: int
) -> tuple[np.ndarray, Cells, Sections]:
    """Return a first fine volume whose blocks hold given fractions, what they keep, the aims.

    Parameters
    ----------
    fractions : float (K, D, H, W)
        Of each phase, adding up to 1; brought to whole voxels by largest remainders.
    sections : Sections
    factor : int
    """
    kinds = len(fractions)
    shape = fractions.shape[1:]
    size = factor**3
    exact = np.ascontiguousarray(fractions.reshape(kinds, -1).T) * size
    wanted = np.floor(exact + 1e-9).astype(np.int64)
    rest = size - wanted.sum(axis=1)
    order = np.argsort(np.argsort(wanted - exact, axis=1, kind="stable"), axis=1)
    wanted += order < rest[:, None]
    blocks = np.zeros((len(wanted), size), np.uint8)
    taken = np.zeros(blocks.shape, bool)
    for place in range(kinds):
        # where neighbours hold much of a phase it lies on their side of the block
        score = block_view(smooth(fractions[place], factor), factor)
        rank = np.argsort(np.argsort(np.where(taken, -np.inf, score), axis=1), axis=1)
        mine = rank >= size - wanted[:, [place]]
        blocks[mine], taken = place, taken | mine
    index = from_blocks(blocks, shape, factor)
    reached = wanted.sum(axis=0) / index.size
    group = np.arange(kinds)
    cells = factor, wanted, group, np.zeros(len(wanted), np.int64), COUNTS
    return index, cells, replace(sections, aim=reached)


def smooth(values: np.ndarray, factor: int) -> np.ndarray:
    """Interpolate (D, H, W) linearly to voxels `factor` times finer, cell centres kept."""
    found = values.astype(np.float64)
    for axis, n in enumerate(values.shape):
        at = (np.arange(n * factor) + 0.5) / factor - 0.5
        low = np.clip(np.floor(at).astype(int), 0, n - 1)
        high = np.minimum(low + 1, n - 1)
        part = np.clip(at - low, 0, 1).reshape([-1 if a == axis else 1 for a in range(3)])
        found = np.take(found, low, axis) * (1 - part) + np.take(found, high, axis) * part
    return found
