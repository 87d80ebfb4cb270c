"""A volume from sections: `reconstruct`."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from particle_nb.core.errors import DataError
from particle_nb.core.rebuilding import (
    METHODS,
    Course,
    ReconstructSettings,
    Sections,
    Terms,
    annealed,
    sections_of,
    stages,
)
from particle_nb.core.rebuilding.windows import pieced
from particle_nb.core.volume import Volume, diffusivity, lineal_path, two_point
from particle_nb.core.volume.transport import ConvergenceWarning
from particle_nb.progress import progress_bar

Progress = Callable[[str, float], None]

#: Edges of a volume in voxels.
_LEAST, _MOST = 8, 512

#: Places of the frame that are compared, at most; and voxels in all of them together.
_PLACES, _LOOKED = 64, 64**4

#: What measures a curve, and what it calls the mean over directions.
_CURVES = {"S2": (two_point, "isotropic"), "lineal_path": (lineal_path, "mean")}

#: Weights of the terms on the coarse grids and on the finest.
_COARSE = {
    "patterns": Terms(1.0, 0.0, 1.0, (1, 2)),
    "network": Terms(1.0, 0.0, 1.0, (1, 2)),
    "s2": Terms(1.0),
}
#: On the second finest, begun from windows: more patterns hold it to features several voxels wide.
_PIECED = Terms(1.0, 0.0, 1.0, (1, 2, 3, 5))
_FINE = {
    "patterns": Terms(4.0, 1.0, 1.0, (1, 3)),
    "network": Terms(4.0, 1.0, 1.0, (1, 3)),
    "s2": Terms(1.0),
}


def reconstruct(
    phases: Any,
    shape: tuple[int, int, int] = (64, 64, 64),
    settings: ReconstructSettings | None = None,
    progress: Progress | bool = True,
    **changes: Any,
) -> Volume:
    """Rebuild a volume whose sections have the statistics of the given ones.

    From one section the material is taken to be isotropic; sections in several directions hold
    each direction to its own. Fractions are those of the sections to the voxel. The volume repeats
    beyond its frame. Up to 128^3 the frame is laid where the two-point correlation inside it is
    near to the sections', up to 88^3 also where transport is what other such places of the frame
    have in the mean. Interrupt it (Ctrl-C, the stop button) and it returns the best so far.

    Parameters
    ----------
    phases : phase map, section, integer array (H, W), or dict {"z": ..., "y": ..., "x": ...}
        In a dict two or three sections by the axis across which each was cut: ``"z"`` holds
        (y, x), ``"y"`` holds (z, x), ``"x"`` holds (z, y). Each at least 16 pixels a side; to
        stand for a material, several times its largest features.
    shape : (D, H, W)
        Voxels, 8 to 512 each; a voxel is as large as a pixel.
    settings : ReconstructSettings or None
    progress : bool or callable
        A bar, or a function that is called with a text (the error of every phase) and the share
        that is done, 0 to 1.
    **changes :
        Values of `ReconstructSettings` by name, such as ``method="s2"``, ``minutes=2``, ``seed=1``.

    Returns
    -------
    Volume
        With names and calibration of the sections; ``info`` holds ``method``, ``statistics``,
        ``network`` (which one, or None), ``settings``, digests of the ``sections``, ``stopped``
        (empty if all sweeps were done), and ``errors``: by phase ``S2`` and ``lineal_path``, the
        greatest differences from the sections' curves.

    Raises
    ------
    DataError
        If there is no section, one is too small, the shape is none, or a setting is unknown.
    CalibrationError
        If the sections' pixel sizes differ.
    ModelError
        If the network asked for is not there.

    References
    ----------
    C. L. Y. Yeong, S. Torquato 1998, doi:10.1103/PhysRevE.57.495 (annealing on S2 and lineal
    path, there by exchanges); C. Deutsch 1992, PhD thesis, Stanford (pattern counts in
    annealing); J. Kopf et al. 2007, doi:10.1145/1276377.1276380 (windows of sections, where it
    begins); L. Gatys et al. 2015, arXiv:1505.07376 (Gram matrices).

    Examples
    --------
    >>> stripes = np.arange(32)[:, None] // 4 % 2 * np.ones((1, 32), int)
    >>> made = reconstruct(stripes, (16, 16, 16), sweeps=2, progress=False)
    >>> made.fractions, made.info["method"]
    ({'phase 0': 0.5, 'phase 1': 0.5}, 'patterns')
    """
    settings = ReconstructSettings() if settings is None else settings
    if not isinstance(settings, ReconstructSettings):
        raise DataError(f"settings are ReconstructSettings, not {type(settings).__name__}.")
    settings = settings.replace(**changes)
    sections = sections_of(phases)
    size = _checked_shape(shape)
    if not isinstance(progress, bool) and not callable(progress):
        raise DataError(f"progress is True, False or a function, not {progress!r}.")
    with told(progress) as tell:
        run = Course(tell, sections.names, time.monotonic() + 60 * settings.minutes)
        index, network = _made(sections, size, settings, run)
    labels = np.array(sections.phases)[index]
    names = dict(zip(sections.phases, sections.names, strict=True))
    info = {
        "method": settings.method,
        "statistics": list(METHODS[settings.method]),
        "network": network,
        "settings": {name: getattr(settings, name) for name in settings.__dataclass_fields__},
        "sections": list(sections.digests),
        "isotropic": sections.isotropic,
        "stopped": run.stopped or ("short of time: cooled faster" if run.hurried else ""),
    }
    made = Volume(labels, sections.calibration, names, info)
    made.info["errors"] = section_errors(made, sections)
    return made


def _made(
    sections: Sections, shape: tuple[int, int, int], settings: ReconstructSettings, run: Course
) -> tuple[np.ndarray, str | None]:
    rng = np.random.default_rng(settings.seed)
    plan = stages(shape, sections, settings.sweeps)
    method = settings.method
    start, network = None, None

    def terms(stride: int) -> Terms:
        if stride == 1:
            return _FINE[method]
        return _PIECED if method == "patterns" and start is not None else _COARSE[method]

    if method == "network" and len(sections.phases) > 1:
        # torch is needed here only
        from particle_nb.models.soft_volume import find_maps, softened

        maps = find_maps(settings.network, settings.seed)
        network = f"{maps.name} ({maps.licence}, {maps.digest})"
        if len(plan) > 1:
            start = annealed(shape, sections, terms, plan[:-1], run, rng)
        start = softened(sections, shape, maps, start, 3 * settings.sweeps, run)
        plan = plan[-1:]
    if method == "patterns" and len(sections.phases) > 1 and len(plan) > 1:
        # chance alone leads to too few contacts between large features
        start = pieced(shape, sections, plan[-2].stride, run, rng)
        plan = plan if start is None else plan[-2:]
    index = annealed(shape, sections, terms, plan, run, rng, start)
    return (index if run.stopped or run.hurried else framed(index, sections, run)), network


def framed(index: np.ndarray, sections: Sections, run: Course) -> np.ndarray:
    """Lay the frame of a volume that repeats where its inside is most like the material.

    What is held to the sections is held across the frame; what a measurement sees inside depends on
    where the frame cuts large features. Of the places where S2 inside it is nearest to the
    sections', that is taken whose effective diffusivities are nearest to their mean.

    Parameters
    ----------
    index : uint8 (D, H, W)
        Places of the phases.
    sections : Sections
    run : Course

    Returns
    -------
    uint8 (D, H, W)
        The same volume, moved round by quarters of its edges.

    Examples
    --------
    >>> section = np.random.default_rng(0).integers(0, 2, (32, 32))
    >>> index = np.random.default_rng(1).integers(0, 2, (8, 8, 8), np.uint8)
    >>> run = Course(None, ("a", "b"), 0.0)
    >>> bool(framed(index, sections_of(section), run).sum() == index.sum())
    True
    """
    places = min(_PLACES, _LOOKED // index.size)
    if places < 2 or len(sections.phases) < 2:
        return index
    names = dict(enumerate(sections.names))
    longest = _longest(index.shape, sections)
    wanted = _wanted(sections, "S2", longest)
    off: list[float] = []
    order = np.zeros(1, int)
    transport: list[list[float]] = []
    try:
        for place in range(places):
            volume = Volume(_moved(index, place), names=names)
            off.append(max(_differences(volume, "S2", longest, wanted)))
        order = np.argsort(off, kind="stable")[: max(places // 8, 1)]
        # of two none is nearer to their mean
        for one in order if len(order) > 2 else ():
            volume = Volume(_moved(index, int(one)), names=names)
            transport.append([_conducted(volume, phase) for phase in volume.phases])
    except KeyboardInterrupt:
        run.stopped = "interrupted on the frame"
        return _moved(index, int(np.argmin(off)) if off else 0)
    if not transport:
        return _moved(index, int(order[0]))
    seen = np.array(transport)
    mean = seen.mean(axis=0)
    strays = (((seen - mean) / np.maximum(mean, 1e-12)) ** 2).sum(axis=1)
    return _moved(index, int(order[strays.argmin()]))


def _moved(index: np.ndarray, place: int) -> np.ndarray:
    """Move a volume round by quarters of its edges: halves first, so that few lie far apart."""
    steps = [
        (2 * (place >> 2 - axis & 1) + (place >> 5 - axis & 1)) * n // 4
        for axis, n in enumerate(index.shape)
    ]
    return np.ascontiguousarray(np.roll(index, steps, (0, 1, 2)))


def _conducted(volume: Volume, phase: int) -> float:
    """Effective diffusivity of a phase, the mean over the axes; 0 where it is not known."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        runs = [diffusivity(volume, phase, axis).effective for axis in volume.axes]
    return float(np.nan_to_num(runs).mean())


def _checked_shape(shape: Any) -> tuple[int, int, int]:
    try:
        edges = tuple(shape)
    except TypeError:
        edges = ()
    whole = [isinstance(n, (int, np.integer)) and not isinstance(n, bool) for n in edges]
    if len(edges) != 3 or not all(whole) or not all(_LEAST <= n <= _MOST for n in edges):
        raise DataError(
            f"shape is (D, H, W), whole numbers of voxels from {_LEAST} to {_MOST}, not {shape!r}."
        )
    return int(edges[0]), int(edges[1]), int(edges[2])


def section_errors(volume: Volume, sections: Sections) -> dict[str, dict[str, float]]:
    """Return by phase how far S2 and lineal path of a volume are from its sections' at most.

    Parameters
    ----------
    volume : Volume
        (D, H, W).
    sections : Sections
        Of an isotropic material means over all directions are compared, else axis by axis.

    Examples
    --------
    >>> section = np.random.default_rng(0).integers(0, 2, (32, 32))
    >>> volume = Volume(np.random.default_rng(1).integers(0, 2, (16, 32, 32)))
    >>> section_errors(volume, sections_of(section))["phase 0"]["S2"] < 0.05
    True
    """
    longest = _longest(volume.shape, sections)
    found: dict[str, dict[str, float]] = {name: {} for name in sections.names}
    for what in _CURVES:
        off = _differences(volume, what, longest, _wanted(sections, what, longest))
        for name, one in zip(sections.names, off, strict=True):
            found[name][what] = one
    return found


def _longest(shape: tuple[int, ...], sections: Sections) -> int:
    return min(min(shape), sections.shortest) // 2


def _curves(volume: Volume, what: str, longest: int) -> list[dict[str, tuple[Any, Any]]]:
    """Lags in voxels and values, by phase and direction."""
    table = _CURVES[what][0](volume, longest=longest)
    table = table.set_axis(["phase", "name", "direction", "lag", "value"], axis=1)
    return [
        {
            str(direction): (part["lag"].to_numpy() / volume.voxel, part["value"].to_numpy())
            for direction, part in table[table["phase"] == label].groupby("direction")
        }
        for label in volume.phases
    ]


def _wanted(sections: Sections, what: str, longest: int) -> list[tuple[str, list[tuple[Any, Any]]]]:
    """Curves of the sections, one a phase, and the direction in the volume that each stands for."""
    mean = _CURVES[what][1]
    found = []
    for axis, plane in sections.planes.items():
        flat = Volume(plane, names=dict(enumerate(sections.names)))
        own = _curves(flat, what, longest)
        axes = [a for i, a in enumerate("zyx") if i != axis]
        same = {mean: mean} if sections.isotropic else dict(zip("yx", axes, strict=True))
        found += [(ours, [one[theirs] for one in own]) for theirs, ours in same.items()]
        if sections.isotropic:
            break
    return found


def _differences(
    volume: Volume, what: str, longest: int, wanted: list[tuple[str, list[tuple[Any, Any]]]]
) -> list[float]:
    """Greatest difference of a volume's curves from those wanted, by phase."""
    own = _curves(volume, what, longest)
    found = [0.0] * len(own)
    for direction, curves in wanted:
        for place, (lags, values) in enumerate(curves):
            at, mine = own[place][direction]
            # mean lags of a shell differ a little between two and three dimensions
            off = float(np.abs(mine - np.interp(at, lags, values)).max())
            found[place] = max(found[place], off)
    return found


@contextmanager
def told(progress: Progress | bool) -> Iterator[Progress | None]:
    """Hand on a function for progress: the user's own, that of a bar, or none."""
    if not isinstance(progress, bool):
        yield progress
        return
    if not progress:
        yield None
        return
    with progress_bar("rebuilding", 100) as bar:

        def tell(text: str, share: float) -> None:
            bar.set_description_str(text, refresh=False)
            bar.update(round(100 * share) - bar.n)

        yield tell
