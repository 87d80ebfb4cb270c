"""A finer volume from a coarse one and a fine section: `super_resolve`."""

from __future__ import annotations

import time
import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np

from particle_nb.core.errors import CalibrationError, DataError
from particle_nb.core.image import Calibration
from particle_nb.core.rebuilding import Course, ReconstructSettings, Sections, Terms, sections_of
from particle_nb.core.rebuilding.annealing import Stage, cooled
from particle_nb.core.rebuilding.blocks import by_counts, by_majority, groups_of
from particle_nb.core.rebuilding.counts import counted
from particle_nb.core.volume import Volume, as_volume
from particle_nb.reconstruction import Progress, told

#: The fine volume has at most so many voxels.
_MOST = 2**27


class GroupsWarning(UserWarning):
    """Which fine phases lie in which coarse one was guessed from their fractions."""


def super_resolve(
    volume: Any,
    phases: Any,
    factor: int = 4,
    settings: ReconstructSettings | None = None,
    progress: Progress | bool = True,
    **changes: Any,
) -> Volume:
    """Refine a volume to the resolution of a section, so that it averages down to what it was.

    What averaging down means depends on what is given. Labels: in every block of factor^3 voxels
    the coarse voxel's phase is the most frequent, more frequent than any other alone. Fractions:
    every block holds each phase's share, rounded to whole voxels. Within these bounds voxels change
    places until sections have the patterns, two-point correlation and lineal path of the fine one,
    brought to the fractions that follow from the coarse volume.

    Parameters
    ----------
    volume : Volume or integer array (D, H, W), or float array (K, D, H, W)
        Labels, or the fraction of each phase of `phases` (by rising label), adding up to 1.
    phases : phase map, section, integer array (H, W), or dict by axis, as in `reconstruct`
        Its pixels are `factor` times finer than the voxels.
    factor : int
        2 to 8.
    settings : ReconstructSettings or None
        `sweeps`, `minutes`, `seed` and `method` (``"patterns"`` or ``"s2"``); None takes 8 sweeps.
    progress : bool or callable
        As in `reconstruct`.
    **changes :
        Values of the settings by name, and ``groups={coarse phase: (fine phases)}``: which fine
        phases a coarse one holds, by label or name. Without it every fine phase lies in the coarse
        one of its label.

    Returns
    -------
    Volume
        (factor D, factor H, factor W) with the section's phases; ``info`` as from `reconstruct`.

    Raises
    ------
    DataError
        If there is no volume or section, fractions do not add up to 1, factor or a setting is out
        of range, or phases do not match.
    CalibrationError
        If both are calibrated and the section's pixels are not `factor` times finer.

    Warns
    -----
    GroupsWarning
        If fine phases have no coarse one of their label and were put where fractions fit best.

    References
    ----------
    A. Dahari et al. 2023, doi:10.1002/aenm.202202407 (the task; with a network, there).

    Examples
    --------
    >>> section = np.arange(32)[:, None] // 8 % 2 * np.ones((1, 32), int)
    >>> coarse = np.arange(8)[:, None, None] // 4 % 2 * np.ones((1, 8, 8), int)
    >>> fine = super_resolve(coarse, section, 2, sweeps=1, progress=False)
    >>> fine.shape, bool((fine.labels[::2, ::2, ::2].mean() > 0.4))
    ((16, 16, 16), True)
    """
    groups = changes.pop("groups", None)
    settings = ReconstructSettings(sweeps=8) if settings is None else settings
    if not isinstance(settings, ReconstructSettings):
        raise DataError(f"settings are ReconstructSettings, not {type(settings).__name__}.")
    settings = settings.replace(**changes)
    if settings.method == "network":
        raise DataError("super_resolve has the methods patterns and s2; the network is not used.")
    if not isinstance(progress, bool) and not callable(progress):
        raise DataError(f"progress is True, False or a function, not {progress!r}.")
    times = _checked_factor(factor)
    sections = sections_of(phases)
    rng = np.random.default_rng(settings.seed)
    fractions = _fractions(volume, sections)
    notes: dict[str, Any] = {"factor": times}
    if fractions is None:
        coarse = as_volume(volume)
        if coarse.labels.ndim != 3:
            raise DataError(f"the coarse volume is (D, H, W), not {coarse.shape}.")
        _check_size(coarse.shape, times)
        calibration = _scale(coarse.calibration, sections, times)
        notes["groups"], group = _grouped(coarse, sections, groups)
        index, cells, aims = by_majority(coarse, sections, times, group, rng)
    else:
        _check_size(fractions.shape[1:], times)
        if groups is not None:
            raise DataError("groups go with labels; fractions are given for every fine phase.")
        calibration = sections.calibration
        index, cells, aims = by_counts(fractions, sections, times)
    with told(progress) as tell:
        run = Course(tell, sections.names, time.monotonic() + 60 * settings.minutes)
        if len(sections.phases) > 1:
            full = settings.method == "patterns"
            terms = Terms(2.0, 1.0, 1.0, (1, 2)) if full else Terms(2.0)
            counts = counted(index, aims, 1, terms, cells)
            stage = Stage(1, settings.sweeps, 0.02, 0.0015, 1.0)
            cooled(counts, stage, "refining", 1.0, run, rng)
    names = dict(zip(sections.phases, sections.names, strict=True))
    info = notes | {
        "method": settings.method,
        "rule": "most frequent phase of a block" if fractions is None else "fractions of a block",
        "settings": {name: getattr(settings, name) for name in settings.__dataclass_fields__},
        "sections": list(sections.digests),
        "stopped": run.stopped or ("short of time: cooled faster" if run.hurried else ""),
    }
    return Volume(np.array(sections.phases)[index], calibration, names, info)


def _grouped(
    coarse: Volume, sections: Sections, groups: Mapping[Any, Any] | None
) -> tuple[dict[str, list[str]], np.ndarray]:
    group, guessed = groups_of(coarse, sections, groups)
    held = {
        coarse.name(phase): [sections.names[k] for k in np.flatnonzero(group == place)]
        for place, phase in enumerate(coarse.phases)
    }
    if guessed:
        told_of = "; ".join(f"{key}: {', '.join(value)}" for key, value in held.items())
        warnings.warn(
            f"which fine phases a coarse one holds was guessed from their fractions ({told_of}); "
            "say it with groups={coarse: (fine, ...)}.",
            GroupsWarning,
            stacklevel=3,
        )
    return held, group


def _fractions(volume: Any, sections: Sections) -> np.ndarray | None:
    """Fractions (K, D, H, W), or None where labels are given."""
    if not isinstance(volume, np.ndarray) or not np.issubdtype(volume.dtype, np.floating):
        return None
    if volume.ndim != 4 or len(volume) != len(sections.phases) or volume.size == 0:
        raise DataError(
            f"fractions are (K, D, H, W) with one K for each of the {len(sections.phases)} phases "
            f"of the section, not {volume.shape}; labels are whole numbers."
        )
    if not np.isfinite(volume).all() or volume.min() < -1e-6:
        raise DataError("fractions are numbers from 0 to 1 without gaps.")
    off = float(np.abs(volume.sum(axis=0) - 1).max())
    if off > 1e-3:
        raise DataError(f"the fractions of a voxel add up to 1, but they are off by {off:.3g}.")
    whole = np.clip(volume.astype(float), 0, None)
    return np.asarray(whole / whole.sum(axis=0))


def _checked_factor(factor: Any) -> int:
    whole = isinstance(factor, (int, np.integer)) and not isinstance(factor, bool)
    if not whole or not 2 <= factor <= 8:
        raise DataError(f"factor is a whole number from 2 to 8, not {factor!r}.")
    return int(factor)


def _check_size(shape: tuple[int, ...], factor: int) -> None:
    voxels = int(np.prod(shape)) * factor**3
    if voxels > _MOST or min(shape) * factor < 8:
        raise DataError(
            f"a volume {shape} refined {factor} times has {voxels} voxels; it may have 8 along "
            f"each edge to {_MOST} in all: crop it."
        )


def _scale(coarse: Calibration | None, sections: Sections, factor: int) -> Calibration | None:
    """Voxel size of the fine volume, from the section or from the coarse one."""
    fine = sections.calibration
    if fine is None or coarse is None:
        if fine is None and coarse is not None:
            return Calibration(coarse.pixel_size / factor, coarse.unit, coarse.source)
        return fine
    wanted = coarse.to(fine.unit) / factor
    if abs(fine.pixel_size / wanted - 1) > 0.02:
        raise CalibrationError(
            f"the section's pixels are {fine.pixel_size:g} {fine.unit}, but voxels of "
            f"{coarse.pixel_size:g} {coarse.unit} refined {factor} times are {wanted:g} "
            f"{fine.unit}; rescale the section or take another factor."
        )
    return fine
