"""One row a phase: everything that is measured of a volume."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from particle_nb.core.agreement.correlation import confidence
from particle_nb.core.errors import DataError, check_number
from particle_nb.core.volume import connecting, representative
from particle_nb.core.volume.correlation import checked_lag, radial
from particle_nb.core.volume.interfaces import Crossings, areas, crossings, faces, spread
from particle_nb.core.volume.transport import TransportSettings, solved
from particle_nb.core.volume.volume import Volume, as_volume


@dataclass(frozen=True)
class MicrostructureSettings:
    """What `microstructure` measures and how.

    Parameters
    ----------
    transport_axes : str
        Axes along which diffusion is solved, any of ``"zyx"``; ``""`` leaves it out. Each phase
        and axis of 256 x 256 x 256 voxels takes 10 to 25 s.
    transport : TransportSettings
        Its `periodic` is that of the whole table.
    error : float
        Relative half-width of the fraction's interval that ``edge_needed`` is for.
    level : float
        Coverage of every interval.

    Raises
    ------
    DataError
        If a value is out of range.

    Examples
    --------
    >>> MicrostructureSettings(transport_axes="zyx").level
    0.95
    """

    transport_axes: str = "z"
    transport: TransportSettings = field(default_factory=TransportSettings)
    error: float = 0.05
    level: float = 0.95

    def __post_init__(self) -> None:
        axes = self.transport_axes
        if not isinstance(axes, str) or set(axes) - set("zyx") or len(set(axes)) < len(axes):
            raise DataError(f"transport_axes is made of z, y and x, or empty, not {axes!r}.")
        if not isinstance(self.transport, TransportSettings):
            raise DataError(f"transport is TransportSettings, not {type(self.transport).__name__}.")
        check_number("error", self.error, 1e-4, 1)
        confidence(self.level)


def microstructure(
    volume: Any,
    settings: MicrostructureSettings | None = None,
    progress: Callable[[str, float], None] | None = None,
) -> pd.DataFrame:
    """Measure every phase of a volume: one row a phase, units in the column names.

    Parameters
    ----------
    volume : Volume, or integer array (D, H, W); a phase map or array (H, W) is taken as a section
        Of a section there are no connectivity and no transport, and its surface assumes that the
        material is isotropic.
    settings : MicrostructureSettings or None
    progress : callable or None
        Called with what is done next and the share that is done, 0 to 1.

    Returns
    -------
    DataFrame
        ``phase``, ``name``, then (``_um`` is the unit of the calibration, ``_px`` without one):
        the columns of `representativity`; ``specific_surface_per_um`` (area of the phase's surface
        over the volume of the material) with ``_low`` and ``_high`` and, beside it,
        ``voxel_faces_per_um`` (see `interface_areas`); ``mean_chord_um`` with ``_low``, ``_high``
        (four times the fraction over the surface) and along each axis ``mean_chord_z_um`` (the
        fraction over its chords per length of test line); the columns of `connectivity`;
        ``effective_diffusivity_z`` (relative to that of the phase) and ``tortuosity_factor_z`` of
        the phase conducting alone (see `diffusivity`). A phase that does not percolate has a
        diffusivity of 0, an infinite tortuosity, and says so in ``flag``. ``attrs`` holds voxel
        size, digest, settings, and the residuals of the solver.

    Raises
    ------
    DataError
        If it is no volume, or the settings are something else.

    Examples
    --------
    >>> layers = np.zeros((12, 12, 12), int); layers[:, ::2] = 1
    >>> settings = MicrostructureSettings(transport_axes="zy")
    >>> table = microstructure(Volume(layers, names=("pore", "solid")), settings)
    >>> table[["tortuosity_factor_z", "tortuosity_factor_y"]].round(3).values.tolist()
    [[1.0, inf], [1.0, inf]]
    """
    volume = as_volume(volume)
    settings = MicrostructureSettings() if settings is None else settings
    if not isinstance(settings, MicrostructureSettings):
        raise DataError(f"settings are MicrostructureSettings, not {type(settings).__name__}.")
    periodic = settings.transport.periodic
    told = _Told(progress, len(volume.phases), settings.transport_axes)
    told("two-point correlation")
    found = radial(volume, periodic, checked_lag(volume, periodic, None))
    rows: list[dict[str, Any]] = [
        {"phase": label, "name": volume.name(label)} for label in volume.phases
    ]
    known = representative.rows_of(volume, found, settings.error, settings.level)
    flags = [[row.pop("flag")] for row in known]
    told("surfaces")
    surfaces = _surfaces(volume, crossings(volume, periodic, 4), settings.level)
    for row, first, second in zip(rows, known, surfaces, strict=True):
        row |= first | second
    attrs: dict[str, Any] = {
        "volume": volume.digest,
        "voxel": volume.voxel,
        "unit": volume.unit,
        "calibration": str(volume.calibration),
        "shape": list(volume.shape),
        "periodic": bool(periodic),
        "level": settings.level,
        "error": settings.error,
        "surface": "Crofton, 13 directions"
        if volume.labels.ndim == 3
        else "4 directions, isotropic",
        "connectivity": "6 (voxel faces)",
    }
    if volume.labels.ndim == 3:
        told("connectivity")
        attrs["solver"] = _joined(volume, settings, rows, flags, told)
    told("done")
    for row, flag in zip(rows, flags, strict=True):
        row["flag"] = "; ".join(part for part in dict.fromkeys(flag) if part)
    table = pd.DataFrame(rows)
    table.attrs |= attrs
    return table


class _Told:
    """Progress by the share of the work, in which a solve counts twice as much as all the rest."""

    def __init__(
        self, progress: Callable[[str, float], None] | None, phases: int, axes: str
    ) -> None:
        self.progress, self.done = progress, 0
        self.steps = 3 + 2 * phases * len(axes)

    def __call__(self, what: str, weight: int = 1) -> None:
        if self.progress is not None:
            self.progress(what, 1.0 if what == "done" else min(self.done / self.steps, 1.0))
        self.done += weight


def _surfaces(volume: Volume, found: Crossings, level: float) -> list[dict[str, float]]:
    """Surface and mean chords of each phase."""
    between = areas(found)
    total = between.sum(axis=2)
    mean = np.average(total, axis=0, weights=found.weight)
    half = spread(total, level)
    plain = faces(found).sum(axis=1)
    changes = found.mean()
    # a chord has two ends, so a line has half as many chords of a phase as changes to or from it
    chords = (changes.sum(axis=2) + changes.sum(axis=1)) / 2
    edge, per, unit = volume.voxel, f"per_{volume.unit}", volume.unit
    rows = []
    for place, fraction in enumerate(volume.fractions.values()):
        surface, error = mean[place], half[place]
        own = {
            f"specific_surface_{per}": surface / edge,
            f"specific_surface_{per}_low": max(surface - error, 0) / edge,
            f"specific_surface_{per}_high": (surface + error) / edge,
            f"voxel_faces_{per}": plain[place] / edge,
        }
        # where fraction and surface vary together from block to block, their ratio varies less
        share = found.fraction[:, place] - fraction / surface * total[:, place] if surface else None
        relative = math.nan if share is None else float(spread(share, level)) / fraction
        mean_chord = 4 * fraction / surface * edge if surface else math.nan
        own[f"mean_chord_{unit}"] = mean_chord
        own[f"mean_chord_{unit}_low"] = mean_chord * max(1 - relative, 0)
        own[f"mean_chord_{unit}_high"] = mean_chord * (1 + relative)
        straight = np.flatnonzero((found.steps != 0).sum(axis=1) == 1)
        for axis, which in zip(volume.axes, straight, strict=True):
            rate = chords[which, place]
            own[f"mean_chord_{axis}_{unit}"] = fraction / rate * edge if rate > 0 else math.nan
        rows.append(own)
    return rows


def _joined(
    volume: Volume,
    settings: MicrostructureSettings,
    rows: list[dict[str, Any]],
    flags: list[list[str]],
    told: _Told,
) -> dict[str, dict[str, float]]:
    """Add connectivity and transport to the rows; return how the solver ended."""
    found = connecting.find_pieces(volume.indices, settings.transport.periodic)
    for row, more in zip(rows, connecting.rows_of(volume, found), strict=True):
        row |= more
    ended = {}
    for place, row in enumerate(rows):
        values = np.zeros(len(rows))
        values[place] = 1.0
        for axis in settings.transport_axes:
            told(f"diffusion in {row['name']} along {axis}", 2)
            one = solved(
                volume, values, volume.axes.index(axis), settings.transport, (found, place)
            )
            row[f"effective_diffusivity_{axis}"] = one.effective
            row[f"tortuosity_factor_{axis}"] = one.tortuosity_factor
            if one.flag:
                flags[place].append(
                    "absent" if one.flag == "absent" else f"{one.flag} along {axis}"
                )
            if one.percolates:
                ended[f"{row['name']} {axis}"] = {
                    "imbalance": one.imbalance,
                    "energy_error": one.energy_error,
                    "iterations": one.iterations,
                }
    return ended
