"""A volume from sections: `reconstruct`."""

from __future__ import annotations

import time
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
from particle_nb.core.volume import Volume, lineal_path, two_point
from particle_nb.progress import progress_bar

Progress = Callable[[str, float], None]

#: Edges of a volume in voxels.
_LEAST, _MOST = 8, 512

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
    beyond its frame. Interrupt it (Ctrl-C, the stop button) and it returns the best so far.

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
    return annealed(shape, sections, terms, plan, run, rng, start), network


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
    longest = min(min(volume.shape), sections.shortest) // 2
    found: dict[str, dict[str, float]] = {name: {} for name in sections.names}
    for what, function, mean in (
        ("S2", two_point, "isotropic"),
        ("lineal_path", lineal_path, "mean"),
    ):
        table = function(volume, longest=longest)
        columns = ["phase", "name", "direction", "lag", "value"]
        table = table.set_axis(columns, axis=1)
        for axis, plane in sections.planes.items():
            flat = Volume(plane, names=dict(enumerate(sections.names)))
            own = function(flat, longest=longest).set_axis(columns, axis=1)
            axes = [a for i, a in enumerate("zyx") if i != axis]
            same = {mean: mean} if sections.isotropic else dict(zip("yx", axes, strict=True))
            for place, (label, name) in enumerate(
                zip(sections.phases, sections.names, strict=True)
            ):
                for theirs, ours in same.items():
                    a = table[(table["phase"] == label) & (table["direction"] == ours)]
                    b = own[(own["phase"] == place) & (own["direction"] == theirs)]
                    # mean lags of a shell differ a little between two and three dimensions
                    there = np.interp(a["lag"] / volume.voxel, b["lag"], b["value"])
                    off = float(np.abs(a["value"] - there).max())
                    found[name][what] = max(found[name].get(what, 0.0), off)
            if sections.isotropic:
                break
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
