"""Annealing from a coarse grid to a fine one: voxels change their phase, or change places."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from particle_nb.core.rebuilding import _kernels as kernels
from particle_nb.core.rebuilding.counts import Counts, Terms, counted, whole_voxels
from particle_nb.core.rebuilding.sections import Sections

#: Changes tried in one call of the kernel, a fraction of a second: between calls it can be stopped.
_CHUNK = 20_000

#: How far fractions may stray while voxels change their phase one by one; exact in the end.
_STRAY = 2e-4

#: Voxels looked at for each that brings fractions back.
_TRIES = 200

#: A grid has at least so many voxels along its shortest edge.
_LEAST = 10

#: Share of the sweeps at the end without a temperature.
_QUENCH = 0.12


@dataclass(frozen=True)
class Stage:
    """One grid of the annealing.

    Parameters
    ----------
    stride : int
        Pixels of the sections between two voxels.
    sweeps : int
        Changes tried per voxel.
    hot, cold : float
        Temperatures at its start and its end, in mean costs of a change at its start.
    share : float
        Of the whole time.
    """

    stride: int
    sweeps: int
    hot: float
    cold: float
    share: float


@dataclass
class Course:
    """What is known of an annealing while it goes on.

    Parameters
    ----------
    stopped : str
        Empty, or why it ended before all sweeps were done.
    hurried : bool
        Whether it cooled faster than planned, for want of time.
    """

    progress: Callable[[str, float], None] | None
    names: tuple[str, ...]
    end: float
    stopped: str = ""
    hurried: bool = False
    done: float = field(default=0.0)

    def tell(self, what: str, counts: Counts, share: float) -> None:
        """Report the error of each phase."""
        if self.progress is None:
            return
        pairs = zip(self.names, counts.errors(), strict=True)
        errors = ", ".join(f"{name} {error:.3f}" for name, error in pairs)
        self.progress(f"{what}: S2 off by {errors}", min(share, 1.0))


def stages(shape: tuple[int, ...], sections: Sections, sweeps: int) -> list[Stage]:
    """Return the grids from coarse to fine.

    Parameters
    ----------
    shape : (D, H, W)
    sections : Sections
    sweeps : int
        Of the finest.
    """
    strides = [1]
    while min(shape) // (2 * strides[0]) >= _LEAST and sections.shortest // (2 * strides[0]) >= 24:
        strides.insert(0, 2 * strides[0])
        if len(strides) == 4:
            break
    made = []
    for place, stride in enumerate(strides):
        if place == 0:
            made.append(Stage(stride, max(6 * sweeps, 20), 0.5, 0.005, 0.1))
        elif stride > 1:
            made.append(Stage(stride, max(2 * sweeps, 4), 0.06, 0.004, 0.2))
        else:
            made.append(Stage(stride, sweeps, 0.025, 0.0015, 1.0))
    return made


def annealed(
    shape: tuple[int, int, int],
    sections: Sections,
    terms: Callable[[int], Terms],
    plan: list[Stage],
    run: Course,
    rng: np.random.Generator,
    start: np.ndarray | None = None,
) -> np.ndarray:
    """Return places of phases uint8 (D, H, W); where it is stopped, the best so far.

    Parameters
    ----------
    shape : (D, H, W)
    sections : Sections
    terms : callable
        The energy on a grid of a stride.
    plan : list of Stage
    run : Course
    rng : numpy Generator
    start : uint8 (D, H, W) or None
        What the first grid begins with, every voxel `stride` apart of it; None for chance.
    """
    count = len(sections.phases)
    coarse = tuple(-(-n // plan[0].stride) for n in shape)
    if start is None:
        index = rng.choice(count, size=coarse, p=sections.fractions).astype(np.uint8)
    else:
        step = plan[0].stride
        index = np.ascontiguousarray(start[::step, ::step, ::step])
    stride = plan[0].stride
    if count == 1:
        return np.zeros(shape, np.uint8)
    for place, stage in enumerate(plan):
        index = _finer(index, stride // stage.stride, tuple(-(-n // stage.stride) for n in shape))
        stride = stage.stride
        match_fractions(index, sections.fractions, rng)
        if run.stopped:
            continue
        counts = counted(index, sections, stride, terms(stride))
        left = sum(s.share for s in plan[place:])
        cooled(counts, stage, f"grid {place + 1} of {len(plan)}", stage.share / left, run, rng)
    return index


def _finer(index: np.ndarray, factor: int, shape: tuple[int, ...]) -> np.ndarray:
    """Every voxel by a cube of them, cut to a shape."""
    for axis in range(3):
        index = np.repeat(index, factor, axis)
    return np.ascontiguousarray(index[: shape[0], : shape[1], : shape[2]])


def cooled(
    counts: Counts, stage: Stage, what: str, share: float, run: Course, rng: np.random.Generator
) -> None:
    """Anneal one grid in place; ends early when time is out or the user interrupts.

    Where blocks must keep something voxels change places; else they change their phase one by one,
    and fractions are to the voxel when it ends.
    """
    total = stage.sweeps * counts.index.size
    done = 0
    try:
        # before the clock starts, as the first call may have to compile
        unit = _moved(counts, 1e-12, 0.0, 200, rng)
        begin = time.monotonic()
        room = max(run.end - begin, 0.0) * share
        while done < total:
            passed = (time.monotonic() - begin) / max(room, 1e-9)
            if passed >= 1:
                run.hurried = True
                break
            part = done / total
            # far behind the plan: cool by the clock, so that it ends cold
            if passed > part + 0.25:
                run.hurried, part = True, passed
            ramp = min(part / (1 - _QUENCH), 1.0)
            heat = unit * stage.hot * (stage.cold / stage.hot) ** ramp
            some = min(_CHUNK, total - done)
            _moved(counts, heat if ramp < 1 else 1e-12, heat, some, rng)
            done += some
            run.tell(what, counts, run.done + (1 - run.done) * share * max(part, passed))
    except KeyboardInterrupt:
        run.stopped = f"interrupted on {what}"
    if counts.cells is None:
        kernels.settle(counts.index, *counts.arguments, counts.excess, _TRIES, rng)
    run.done += (1 - run.done) * share


def _moved(
    counts: Counts, heat: float, firmness: float, some: int, rng: np.random.Generator
) -> float:
    """Try so many changes at a temperature; fractions are held at another one, `firmness`."""
    if counts.cells is not None:
        _, unit = kernels.exchange(counts.index, *counts.arguments, counts.cells, heat, some, rng)
    else:
        stray = max(_STRAY * counts.index.size, 3.0)
        stiffness = firmness / (2 * stray**2)
        _, unit = kernels.flip(
            counts.index, *counts.arguments, counts.excess, stiffness, heat, some, rng
        )
    return float(unit)


def match_fractions(index: np.ndarray, fractions: np.ndarray, rng: np.random.Generator) -> None:
    """Change as few voxels as it takes, by chance, for the fractions to be those wanted, in place.

    Parameters
    ----------
    index : uint8 (D, H, W)
    fractions : array (K,)
    rng : numpy Generator
    """
    wanted = whole_voxels(fractions, index.size)
    flat = index.reshape(-1)
    excess = np.bincount(flat, minlength=len(wanted)) - wanted
    loose = [
        rng.choice(np.flatnonzero(flat == place), many, replace=False)
        for place, many in enumerate(excess)
        if many > 0
    ]
    if loose:
        filled = np.repeat(np.arange(len(wanted)), np.maximum(-excess, 0)).astype(np.uint8)
        flat[np.concatenate(loose)] = rng.permutation(filled)
