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
        Wraps, pairs, lines, patterns and cells, for `_kernels.anneal`.
    """

    index: np.ndarray
    arguments: tuple[Any, ...]

    def energy(self) -> float:
        """Sum of all terms."""
        _, (_, _, _, hits, wanted, weights, _), lines, patterns, _ = self.arguments
        total = float((weights * (hits - wanted) ** 2).sum())
        total += float((lines[3] * (lines[1] - lines[2]) ** 2).sum())
        return total + float((patterns[5] * (patterns[3] - patterns[4]) ** 2).sum())

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
        What blocks of voxels must keep, see `_kernels.anneal`; None for nothing.
    """
    free = (1, np.zeros((1, 1), np.int64), np.zeros(1, np.int64), np.zeros(1, np.int64), 0)
    wraps = tuple(np.tile(np.arange(n), 3) for n in index.shape)
    return Counts(
        index,
        (
            wraps,
            _pairs(index, sections, stride, terms),
            _lines(index, sections, stride, terms),
            _patterns(index, sections, stride, terms),
            free if cells is None else cells,
        ),
    )


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
    halo = int(np.abs(moves).max(initial=1))
    around = np.pad(index, halo, mode="wrap")
    strides = moves @ np.array([around.shape[1] * around.shape[2], around.shape[2], 1])
    hits = kernels.pair_counts(index, moves, count)
    weights = np.tile(terms.pairs / (size * np.maximum(sections.fractions, 1e-3)), (len(aims), 1))
    slopes = 2 * weights * (hits - aims)
    return around.ravel(), halo, strides, hits, aims, weights, slopes


def _lines(index: np.ndarray, sections: Sections, stride: int, terms: Terms) -> tuple[Any, ...]:
    size, count = index.size, len(sections.phases)
    longest = min(min(index.shape) // 2, sections.shortest // 2)
    # only where voxels touch do lines of voxels say what the material holds between them
    used = stride == 1 and terms.segments > 0
    lengths = np.array([n for n in _LENGTHS if n <= longest and used], np.int64)
    runs = np.zeros((3, len(lengths), count), np.int64)
    aims = np.zeros(runs.shape)
    for axis in range(3) if len(lengths) else ():
        before = int(np.prod(index.shape[:axis]))
        lines = index.reshape(before, index.shape[axis], -1)
        runs[axis] = kernels.segment_counts(lines, lengths, count)
        aims[axis] = sections.segments(axis, lengths) * size
    scales = terms.segments / (aims + _noise(size, sections))
    return lengths, runs, aims, scales, 2 * scales * (runs - aims)


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
    seen = np.zeros(table.shape, np.int64)
    np.add.at(seen, np.array(which, np.int64), each)
    costs = terms.patterns / (table + 3 * _noise(size, sections))
    off = 2 * (seen - table)
    tilts = np.stack([costs * (off - 1), costs * (off + 1)], axis=-1).astype(np.float32)
    return places, powers, codes, seen, table, costs, tilts, np.array(which, np.int64)


def _across(axis: int, i: int, j: int) -> tuple[int, ...]:
    """A step (z, y, x) of (i, j) in the plane across an axis."""
    step = [i, j]
    step.insert(axis, 0)
    return tuple(step)


def _noise(size: int, sections: Sections) -> float:
    """Count in the volume that one pixel of the sections stands for."""
    return size / max(plane.size for plane in sections.planes.values())
