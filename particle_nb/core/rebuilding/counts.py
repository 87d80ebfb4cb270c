"""Counts of a volume beside those that its sections ask for, as the kernels take them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from particle_nb.core.rebuilding import _kernels as kernels
from particle_nb.core.rebuilding.sections import Sections

_DIRECTIONS = (
    (1, 0, 0),
    (0, 1, 0),
    (0, 0, 1),
    (0, 1, 1),
    (0, 1, -1),
    (1, 0, 1),
    (1, 0, -1),
    (1, 1, 0),
    (1, -1, 0),
)

#: Directions that lie in no section; of an isotropic material they are known all the same.
_ASLANT = ((1, 1, 1), (1, 1, -1), (1, -1, 1), (-1, 1, 1))

#: Patterns that occur less often in a section are counted together.
_RARE = 5

#: Longest segments along an axis, a square's diagonal and a cube's, in steps. The spacing of the
#: last lies between two that a section holds, which serves short ones.
_FARTHEST = {1: 56, 2: 8, 3: 4}

#: Lags and lengths in voxels of the grid: dense where curves bend, then further apart.
_LAGS = (1, 2, 3, 4, 5, 6, 8, 10, 12, 14, 16, 20, 24, 28, 32, 40, 48, 56, 64)
_LENGTHS = (1, 2, 3, 4, 6, 8, 11, 15, 20, 26, 32, 44, 56)


@dataclass(frozen=True)
class Terms:
    """What the energy holds: weights of two-point correlation and segments; pattern distances.

    Parameters
    ----------
    pairs, segments, patterns : float
        Weights; 0 leaves a term out.
    distances : tuple of int
        Distances between the cells of a pattern, in voxels of the grid.
    """

    pairs: float = 1.0
    segments: float = 0.0
    patterns: float = 0.0
    distances: tuple[int, ...] = ()


@dataclass(frozen=True, eq=False)
class Counts:
    """The state of an annealing; the kernels change `index` and every count with it.

    Parameters
    ----------
    index : uint8 (D, H, W)
    arguments : tuple
        Wraps, pairs, lines and patterns, for the kernels.
    excess : int64 (K,)
        Voxels of each phase beyond those wanted.
    cells : tuple or None
        What blocks of voxels must keep, see `_kernels.exchange`.
    """

    index: np.ndarray
    arguments: tuple[Any, ...]
    excess: np.ndarray
    cells: tuple[Any, ...] | None = None

    def energy(self) -> float:
        """Sum of all terms."""
        _, (_, _, _, hits, wanted, weights, _), lines, patterns = self.arguments
        total = float((weights * (hits - wanted) ** 2).sum())
        total += float((lines[5] * (lines[3] - lines[4]) ** 2).sum())
        return total + float((patterns[6] * (patterns[4] - patterns[5]) ** 2).sum())

    def errors(self) -> np.ndarray:
        """Greatest difference of the two-point correlation from that wanted, by phase (K,)."""
        hits, wanted = self.arguments[1][3:5]
        return np.abs(hits - wanted).max(axis=0, initial=0.0) / self.index.size


def counted(
    index: np.ndarray,
    sections: Sections,
    stride: int,
    terms: Terms,
    cells: tuple[Any, ...] | None = None,
) -> Counts:
    """Count what a volume holds, with what the sections ask for on a grid of that stride.

    Parameters
    ----------
    index : uint8 (D, H, W)
        Places of the phases.
    sections : Sections
    stride : int
        Pixels of the sections between two voxels.
    terms : Terms
    cells : tuple or None
        What blocks of voxels must keep, see `_kernels.exchange`; None for nothing.
    """
    held = np.bincount(index.ravel(), minlength=len(sections.phases))
    wraps = tuple(np.tile(np.arange(n), 3) for n in index.shape)
    pairs = _pairs(index, sections, stride, terms)
    lines = _lines(index, sections, stride, terms, pairs)
    return Counts(
        index,
        (wraps, pairs, lines, _patterns(index, sections, stride, terms)),
        held - whole_voxels(sections.fractions, index.size),
        cells,
    )


def whole_voxels(fractions: np.ndarray, size: int) -> np.ndarray:
    """Return the numbers of voxels int64 (K,), `size` in all, that come nearest to fractions.

    Examples
    --------
    >>> whole_voxels(np.array([0.5, 0.3, 0.2]), 64).tolist()
    [32, 19, 13]
    """
    exact = fractions * size
    wanted = np.floor(exact).astype(np.int64)
    rest = size - int(wanted.sum())
    wanted[np.argsort(wanted - exact, kind="stable")[:rest]] += 1
    return wanted


def _pairs(index: np.ndarray, sections: Sections, stride: int, terms: Terms) -> tuple[Any, ...]:
    size, count = index.size, len(sections.phases)
    steps, wanted = [], []
    for direction in _DIRECTIONS:
        reach = min(n for n, d in zip(index.shape, direction, strict=True) if d) // 2
        for lag in _LAGS:
            far = lag * stride
            step = (direction[0] * far, direction[1] * far, direction[2] * far)
            if max(lag - reach, lag * stride - sections.shortest // 2) > 0:
                continue
            if not sections.covers(step):
                continue
            steps.append([d * lag for d in direction])
            wanted.append(sections.pairs(step) * size)
    moves = np.array(steps, np.int64).reshape(-1, 3)
    aims = np.array(wanted, float).reshape(-1, count)
    halo = int(np.abs(moves).max(initial=max(_lengths(index, sections))))
    around = np.pad(index, halo, mode="wrap")
    hits = kernels.pair_counts(index, moves, count)
    weights = np.tile(terms.pairs / (size * np.maximum(sections.fractions, 1e-3)), (len(aims), 1))
    slopes = 2 * weights * (hits - aims)
    return around.ravel(), halo, _strides(moves, index, halo), hits, aims, weights, slopes


def _strides(moves: np.ndarray, index: np.ndarray, halo: int) -> np.ndarray:
    """Steps (z, y, x) as steps in a flat volume with a halo."""
    rows, columns = (n + 2 * halo for n in index.shape[1:])
    return np.asarray(moves @ np.array([rows * columns, columns, 1]))


def _lengths(index: np.ndarray, sections: Sections) -> list[int]:
    longest = min(min(index.shape), sections.shortest) // 2
    return [n for n in _LENGTHS if n <= longest]


def _lines(
    index: np.ndarray, sections: Sections, stride: int, terms: Terms, pairs: tuple[Any, ...]
) -> tuple[Any, ...]:
    size, count = index.size, len(sections.phases)
    around, halo = pairs[:2]
    # only where voxels touch do lines of voxels say what the material holds between them
    used = stride == 1 and terms.segments > 0
    lengths = np.array(_lengths(index, sections), np.int64)
    steps = [d for d in (*_DIRECTIONS, *_ASLANT) if used and sections.crosses(d)]
    along = _strides(np.array(steps, np.int64).reshape(-1, 3), index, halo)
    farthest = np.array([min(_FARTHEST[sum(map(abs, d))], lengths[-1]) for d in steps], np.int64)
    runs = kernels.segment_counts(around, halo, index.shape, along, lengths, count)
    aims, scales = np.zeros(runs.shape), np.zeros(runs.shape)
    for place, step in enumerate(steps):
        known = lengths[lengths <= farthest[place]]
        runs[place, len(known) :] = 0
        wanted = sections.segments(step, known) * size
        aims[place, : len(known)] = wanted
        scales[place, : len(known)] = terms.segments / (wanted + _noise(size, sections))
    return along, farthest, lengths, runs, aims, scales, 2 * scales * (runs - aims)


def _patterns(index: np.ndarray, sections: Sections, stride: int, terms: Terms) -> tuple[Any, ...]:
    size, count, cells = index.size, len(sections.phases), sections.stencil
    room = min(sections.shortest // 4, min(index.shape) * stride // 3)
    distances = [d for d in terms.distances if d * stride <= room] if terms.patterns else []
    powers = count ** np.arange(len(cells), dtype=np.int64)
    offsets: list[list[tuple[int, ...]]] = []
    which: list[int] = []
    shares: list[np.ndarray] = []
    for distance in distances:
        for axis in sections.planes:
            # of an isotropic material all three planes count into one table
            alike = sections.isotropic and axis != min(sections.planes)
            if not alike:
                shares.append(sections.patterns(axis, distance * stride) * size)
            offsets.append([_across(axis, i * distance, j * distance) for i, j in cells])
            which.append(len(shares) - 1)
    per = len(sections.planes) if sections.isotropic else 1
    shares = [one * per for one in shares]
    table = np.array(shares).reshape(-1, count ** len(cells))
    places = np.array(offsets, np.int64).reshape(-1, len(cells), 3)
    codes = np.zeros(
        (len(places), *index.shape), np.uint16 if table.shape[1] <= 2**16 else np.uint32
    )
    each = kernels.pattern_codes(index, places, powers, codes, table.shape[1])
    middle = np.arange(table.shape[1]) // powers[cells.index((0, 0))] % count
    kinds, table = _pooled(table, middle, _RARE * per * _noise(size, sections))
    seen = np.zeros(table.shape, np.int64)
    for place, one in zip(which, each, strict=True):
        np.add.at(seen[place], kinds[place], one)
    # what stands for many patterns strays as they do together
    many = np.ones(table.shape)
    for place, one in enumerate(kinds):
        many[place] = np.maximum(np.bincount(one, minlength=table.shape[1]), 1)
    costs = terms.patterns / (table + 3 * np.sqrt(many) * _noise(size, sections))
    off = 2 * (seen - table)
    tilts = np.stack([costs * (off - 1), costs * (off + 1)], axis=-1).astype(np.float32)
    return places, powers, codes, kinds, seen, table, costs, tilts, np.array(which, np.int64)


def _pooled(table: np.ndarray, middle: np.ndarray, least: float) -> tuple[np.ndarray, np.ndarray]:
    """Count rare patterns together, by the phase in their middle.

    One by one they would cost next to nothing, however many there are of them.

    Parameters
    ----------
    table : float (tables, codes)
        Wanted counts.
    middle : int (codes,)
    least : float
        Rare is what is wanted less often.

    Returns
    -------
    kinds : int32 (tables, codes)
        What each pattern counts as.
    table : float (tables, codes + K)
        Wanted counts of these.
    """
    codes = table.shape[1]
    rare = table < least
    kinds = np.where(rare, codes + middle, np.arange(codes)).astype(np.int32)
    pooled = np.zeros((len(table), codes + int(middle.max()) + 1))
    for place, one in enumerate(table):
        np.add.at(pooled[place], kinds[place], one)
    return kinds, pooled


def _across(axis: int, i: int, j: int) -> tuple[int, ...]:
    """A step (z, y, x) of (i, j) in the plane across an axis."""
    step = [i, j]
    step.insert(axis, 0)
    return tuple(step)


def _noise(size: int, sections: Sections) -> float:
    """Count in the volume that one pixel of the sections stands for."""
    return size / max(plane.size for plane in sections.planes.values())
