"""A first volume whose windows, several voxels wide, look like windows of the sections."""

from __future__ import annotations

import time

import numpy as np

from particle_nb.core.rebuilding import _kernels as kernels
from particle_nb.core.rebuilding.annealing import Course
from particle_nb.core.rebuilding.sections import Sections

#: Cells of a window on either side of its middle: on the coarsest grid, and on the others.
_REACH = (3, 4)

#: Searches and votes on a grid, at most: on the coarsest, and on the others.
_ROUNDS = (12, 10)

#: What a tile costs, in cells, for every mean use beyond one and a half.
_WEAR = 2.0

#: Fewer changes than this share of the voxels end the work on a grid.
_STILL = 0.003

#: Share of the time that this may take.
_SHARE = 0.3


def pieced(
    shape: tuple[int, ...], sections: Sections, stride: int, run: Course, rng: np.random.Generator
) -> np.ndarray | None:
    """Return places of phases uint8 (D, H, W), alike in cubes of `stride` voxels; None for no room.

    From chance, on grids from coarse to fine: search for the window of a section that each voxel's
    own window in every plane looks most like, let all cells of these windows vote for the voxels
    they lie on, and repeat. Parts that are used too often cost more, and votes are weighed until
    fractions are right.

    Parameters
    ----------
    shape : (D, H, W)
    sections : Sections
    stride : int
        Pixels between two voxels of the finest grid.
    run : Course
    rng : numpy Generator

    References
    ----------
    J. Kopf et al. 2007, doi:10.1145/1276377.1276380 (solid textures from sections); C. Barnes et
    al. 2009, doi:10.1145/1531326.1531330 (search).
    """
    step = stride
    while min(shape) // (2 * step) >= 8 and _fits(sections, 2 * step, _REACH[0]):
        step *= 2
    if step == stride or not _fits(sections, stride, _REACH[1]):
        return None
    count = len(sections.phases)
    grid = tuple(-(-n // step) for n in shape)
    index = rng.choice(count, size=grid, p=sections.fractions).astype(np.uint8)
    windows = _Windows(sections, rng)
    until = time.monotonic() + _SHARE * (run.end - time.monotonic())
    match, first = windows.drawn(index, step * _REACH[0]), True
    try:
        while True:
            place = 0 if first else 1
            windows.settle(index, match, step, _REACH[place], _ROUNDS[place], until)
            if step == stride:
                break
            step //= 2
            first = False
            grid = tuple(-(-n // step) for n in shape)
            index, match = windows.finer(index, match, step, grid, _REACH[1])
    except KeyboardInterrupt:
        run.stopped = "interrupted on windows"
    run.hurried |= time.monotonic() > until
    for axis in range(3):
        index = np.repeat(index, step, axis)
    return np.ascontiguousarray(index[: shape[0], : shape[1], : shape[2]])


def _fits(sections: Sections, step: int, reach: int) -> bool:
    """Whether a section holds windows enough to choose from."""
    return sections.shortest - 2 * reach * step >= 16


class _Windows:
    """Pictures that windows are taken from: of an isotropic material turned and mirrored too."""

    def __init__(self, sections: Sections, rng: np.random.Generator) -> None:
        self.rng, self.fractions = rng, sections.fractions
        self.normals = np.array(sorted(sections.planes), np.int64)
        views: list[np.ndarray] = []
        which: list[tuple[int, int]] = []
        for axis in self.normals:
            plane = sections.planes[int(axis)]
            if sections.isotropic and which:
                which.append(which[0])
                continue
            own = [plane]
            if sections.isotropic:
                own = [np.rot90(one, k) for one in (plane, plane[:, ::-1]) for k in range(4)]
            which.append((len(views), len(own)))
            views += own
        self.which = np.array(which, np.int64)
        self.sizes = np.array([view.shape for view in views], np.int64)
        self.pictures = np.zeros((len(views), *self.sizes.max(axis=0)), np.uint8)
        for picture, view in zip(self.pictures, views, strict=True):
            picture[: view.shape[0], : view.shape[1]] = view

    def drawn(self, index: np.ndarray, edge: int) -> np.ndarray:
        """Windows by chance, int32 (A, D, H, W, 3), at least `edge` pixels inside."""
        match = np.empty((len(self.normals), *index.shape, 3), np.int32)
        for one, (begin, many) in zip(match, self.which, strict=True):
            one[..., 0] = begin + self.rng.integers(0, many, index.shape)
            for side in range(2):
                room = self.sizes[one[..., 0], side] - 2 * edge
                one[..., 1 + side] = edge + self.rng.random(index.shape) * room
        return match

    def settle(
        self,
        index: np.ndarray,
        match: np.ndarray,
        step: int,
        reach: int,
        rounds: int,
        until: float,
    ) -> None:
        """Search and vote until hardly a voxel changes, in place."""
        count = len(self.fractions)
        wraps = tuple(np.tile(np.arange(n), 3) for n in index.shape)
        costs = np.zeros(match.shape[:-1], np.float32)
        tiles = -(-self.sizes.max(axis=0) // (4 * step)) + 1
        used = np.zeros((len(self.pictures), *tiles))
        worn = np.zeros_like(used)
        rooms = np.prod(self.sizes - 2 * reach * step, axis=1).sum() / (4 * step) ** 2
        bias = np.zeros(count)
        kind = (self.pictures, self.sizes, self.normals, self.which)
        for turn in range(rounds):
            for _ in range(1 if turn else 3):
                kernels.search_windows(
                    index, wraps, *kind, match, costs, reach, step, worn, self.rng
                )
                kernels.count_uses(match, step, used)
                worn[:] = _WEAR * np.maximum(used * rooms / costs.size - 1.5, 0)
            ballots = np.zeros((*index.shape, count), np.float32)
            kernels.vote_windows(
                match, costs, wraps, self.pictures, self.normals, reach, step, ballots
            )
            shares = (ballots / ballots.sum(axis=-1, keepdims=True)).reshape(-1, count)
            chosen = elected(shares.astype(float), self.fractions, bias).reshape(index.shape)
            changed = float((chosen != index).mean())
            index[:] = chosen
            if changed < _STILL or time.monotonic() > until:
                break

    def finer(
        self, index: np.ndarray, match: np.ndarray, step: int, grid: tuple[int, ...], reach: int
    ) -> tuple[np.ndarray, np.ndarray]:
        """Every voxel and its window by eight, whose windows lie a step apart."""
        for axis in range(3):
            index, match = np.repeat(index, 2, axis), np.repeat(match, 2, axis + 1)
        cut = tuple(slice(0, n) for n in grid)
        index = np.ascontiguousarray(index[cut])
        match = np.ascontiguousarray(match[(slice(None), *cut)])
        odd = np.indices(grid) % 2 * step
        for one, normal in zip(match, self.normals, strict=True):
            sides = [axis for axis in range(3) if axis != normal]
            for side, axis in enumerate(sides):
                last = self.sizes[one[..., 0], side] - reach * step - 1
                one[..., 1 + side] = np.clip(one[..., 1 + side] + odd[axis], reach * step, last)
        return index, match


def elected(shares: np.ndarray, fractions: np.ndarray, bias: np.ndarray) -> np.ndarray:
    """Return the phase with most votes, uint8 (N,), weighed so that fractions come out nearly.

    Parameters
    ----------
    shares : float (N, K)
    fractions : float (K,)
    bias : float (K,)
        Votes added to every voxel's; changed in place.

    Examples
    --------
    >>> votes = np.array([[0.9, 0.1], [0.8, 0.2], [0.7, 0.3], [0.6, 0.4]])
    >>> elected(votes, np.array([0.5, 0.5]), np.zeros(2)).tolist()
    [0, 0, 1, 1]
    """
    chosen = np.argmax(shares + bias, axis=1)
    for _ in range(60):
        off = fractions - np.bincount(chosen, minlength=len(fractions)) / len(chosen)
        if np.abs(off).max() < 2e-3:
            break
        bias += 0.3 * (off - off.mean())
        chosen = np.argmax(shares + bias, axis=1)
    return chosen.astype(np.uint8)
