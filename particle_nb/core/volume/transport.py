"""Diffusion through a volume: effective diffusivity and tortuosity by finite volumes."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from particle_nb.core.errors import DataError, check_number
from particle_nb.core.volume import _kernels as kernels
from particle_nb.core.volume.connecting import ConnectedPieces, find_pieces, solid_volume
from particle_nb.core.volume.volume import Volume


class ConvergenceWarning(UserWarning):
    """The diffusion equation was not solved to the tolerance; its number is left out."""


@dataclass(frozen=True)
class TransportSettings:
    """How the diffusion equation is solved.

    Parameters
    ----------
    tolerance : float
        The solution stands when the fluxes through both faces agree to this share of their mean
        and the estimated error of the dissipated energy is below a hundredth of it.
    max_iterations : int
    periodic : bool
        Whether the volume repeats sideways; otherwise nothing passes its sides.

    Raises
    ------
    DataError
        If a value is out of range.

    Examples
    --------
    >>> TransportSettings(tolerance=1e-6).periodic
    False
    """

    tolerance: float = 1e-4
    max_iterations: int = 500
    periodic: bool = False

    def __post_init__(self) -> None:
        check_number("tolerance", self.tolerance, 1e-9, 0.1)
        check_number("max_iterations", self.max_iterations, 1, 100_000)
        if not isinstance(self.periodic, (bool, np.bool_)):
            raise DataError(f"periodic is True or False, not {self.periodic!r}.")


@dataclass(frozen=True)
class Diffusion:
    """Stationary diffusion along one axis; made by `diffusivity`.

    Parameters
    ----------
    axis : str
    fraction : float
        Share of the volume that conducts, whether it reaches both faces or not.
    effective : float
        Effective diffusivity, relative to that of the phase, or in the unit of the conductivities
        given. 0 where nothing reaches from face to face, NaN where the solver did not converge.
    tortuosity_factor : float
        ``fraction / effective``; infinite where nothing percolates, NaN for several conductivities.
    percolates : bool
    flag : str
        ``""``, ``"absent"``, ``"does not percolate"`` or ``"not converged"``.
    imbalance : float
        Difference of the fluxes through the two faces over their mean.
    energy_error : float
        Estimated relative error of the dissipated energy, from which `effective` is taken.
    iterations : int
    """

    axis: str
    fraction: float
    effective: float
    tortuosity_factor: float
    percolates: bool
    flag: str = ""
    imbalance: float = 0.0
    energy_error: float = 0.0
    iterations: int = 0

    @property
    def tortuosity(self) -> float:
        """Square root of the factor: how much longer the path is (Epstein 1989)."""
        return math.sqrt(self.tortuosity_factor)


def diffusivity(
    volume: Any,
    phase: int | str | Mapping[int | str, float],
    axis: str = "z",
    settings: TransportSettings | None = None,
    progress: Callable[[int, float], None] | None = None,
) -> Diffusion:
    """Solve stationary diffusion through a volume and return its effective diffusivity.

    Concentration is 1 on the first face along the axis and 0 on the last, half a voxel outside the
    outer voxels' centres. Neighbouring voxels exchange by the harmonic mean of their diffusivities
    (cell-centred finite volumes); a layered volume is exact. Solved by conjugate gradients with a
    multigrid preconditioner. The energy of an unfinished solution is an upper bound.

    Parameters
    ----------
    volume : Volume or integer array (D, H, W)
    phase : label, name, or mapping {label or name: diffusivity}
        What conducts. In a mapping the phases that it leaves out conduct nothing.
    axis : "z", "y" or "x"
    settings : TransportSettings or None
    progress : callable or None
        Called with the iteration and the imbalance of the fluxes.

    Raises
    ------
    DataError
        If the volume is a section, or phase or axis is unknown.

    Warns
    -----
    ConvergenceWarning
        If it did not converge; `effective` is NaN then.

    References
    ----------
    Tortuosity factor: S. J. Cooper et al. 2016, doi:10.1016/j.softx.2016.09.002; N. Epstein 1989,
    doi:10.1016/0009-2509(89)85053-5.

    Examples
    --------
    >>> layers = np.zeros((8, 8, 8), int); layers[:, ::2] = 1
    >>> along, across = (diffusivity(layers, 1, axis) for axis in "zy")
    >>> along.effective, along.tortuosity_factor, across.effective, across.tortuosity_factor
    (0.5, 1.0, 0.0, inf)
    """
    volume = solid_volume(volume, "diffusion")
    settings = checked_settings(settings)
    if axis not in volume.axes:
        raise DataError(f"axis is one of {', '.join(volume.axes)}, not {axis!r}.")
    values = _conductivities(volume, phase)
    conducts = (values > 0).astype(np.uint8)[volume.indices]
    found = find_pieces(conducts, settings.periodic)
    place = volume.axes.index(axis)
    return solved(volume, values, place, settings, (found, 1), progress)


def checked_settings(settings: Any) -> TransportSettings:
    """Return settings, the defaults for None.

    Raises
    ------
    DataError
        If they are something else.
    """
    if settings is None:
        return TransportSettings()
    if not isinstance(settings, TransportSettings):
        raise DataError(f"settings are TransportSettings, not {type(settings).__name__}.")
    return settings


def _conductivities(volume: Volume, phase: Any) -> np.ndarray:
    """Diffusivity of each phase, float64 in the order of `volume.phases`."""
    values = np.zeros(len(volume.phases))
    if not isinstance(phase, Mapping):
        values[volume.place(phase)] = 1.0
        return values
    for one, value in phase.items():
        check_number(f"the diffusivity of phase {one!r}", value, 0, 1e30)
        values[volume.place(one)] = float(value)
    if not values.any():
        raise DataError("no phase conducts; give at least one a diffusivity above 0.")
    ratio = values.max() / values[values > 0].min()
    if ratio > 1e9:
        raise DataError(
            f"diffusivities differ by a factor of {ratio:.3g}; above 1e9 the lesser one cannot be "
            "told from 0: leave it out."
        )
    return values


def solved(
    volume: Volume,
    values: np.ndarray,
    axis: int,
    settings: TransportSettings,
    known: tuple[ConnectedPieces, int],
    progress: Callable[[int, float], None] | None = None,
) -> Diffusion:
    """`diffusivity` where the pieces are known.

    Parameters
    ----------
    values : float array (P,), one a phase of `volume`
    axis : int
    known : (ConnectedPieces, int)
        The pieces, and which of their phases conducts.
    """
    found, mark = known
    name = volume.axes[axis]
    conducting = found.phase == mark
    fraction = float(found.size[conducting].sum() / volume.labels.size)
    if fraction == 0:
        return Diffusion(name, 0.0, 0.0, math.inf, False, "absent")
    through = found.spanning(axis) & conducting
    if not through.any():
        return Diffusion(name, fraction, 0.0, math.inf, False, "does not percolate")
    largest = float(values.max())
    d = through[found.numbers].astype(np.uint8)
    if np.unique(values[values > 0]).size > 1:
        d = d * (values / largest).astype(np.float32)[volume.indices]
    d = np.ascontiguousarray(np.moveaxis(d, axis, 0))
    effective, imbalance, error, iterations = _conjugate_gradients(d, settings, progress)
    flag = ""
    # the other way round, so that a NaN is no convergence
    if not (imbalance <= settings.tolerance and error <= settings.tolerance / 100):
        flag = "not converged"
        warnings.warn(
            f"diffusion along {name} did not converge in {iterations} iterations: the fluxes "
            f"through the two faces differ by {imbalance:.2g}, the energy is off by about "
            f"{error:.2g}; raise max_iterations or tolerance in TransportSettings.",
            ConvergenceWarning,
            stacklevel=3,
        )
        effective = math.nan
    single = np.count_nonzero(values) == 1
    factor = fraction / effective if single else math.nan
    return Diffusion(
        name,
        fraction,
        effective * largest,
        factor,
        True,
        flag,
        imbalance,
        error,
        iterations,
    )


def _conjugate_gradients(
    d: np.ndarray, settings: TransportSettings, progress: Callable[[int, float], None] | None
) -> tuple[float, float, float, int]:
    """Effective diffusivity along axis 0, imbalance of the fluxes, energy's error, iterations.

    The solution is float64; residual and direction are float32 and, when they say that it is done,
    the residual is computed anew from the solution: refinement until that says so too.
    """
    length, area = len(d), d[0].size
    faces = _faces(d, settings.periodic)
    rim = np.stack([2 * d[0], 2 * d[-1]]).astype(np.float32)
    grids = _Multigrid(faces, rim, d.shape)
    ramp = 1 - (np.arange(length) + 0.5) / length
    x = np.where(d > 0, ramp[:, None, None], 0.0)
    del d
    r, q, p = grids.b[0], np.zeros(x.shape, np.float32), np.zeros(x.shape, np.float32)
    along, rz, start, fresh = _residual(faces, rim, x, r), 0.0, 0.0, True
    for iteration in range(settings.max_iterations + 1):
        into, out = float((rim[0] * (1 - x[0])).sum()), float((rim[1] * x[-1]).sum())
        # of an unfinished solution: never below the energy of the finished one
        energy = float(rim[0].sum(dtype=float) - (rim[0] * x[0]).sum()) - along
        z = grids.correction()
        last, rz = rz, kernels.product(z.ravel(), r.ravel())
        imbalance = abs(into - out) / (abs(into + out) / 2)
        error = abs(rz) / energy
        if progress is not None:
            progress(iteration, imbalance)
        done = imbalance <= settings.tolerance and error <= settings.tolerance / 100
        if (done and fresh) or iteration == settings.max_iterations or not math.isfinite(rz):
            break
        if fresh:
            start = error
        elif done or error < 1e-9 * start:
            along, fresh = _residual(faces, rim, x, r), True
            continue
        kernels.turn(p.ravel(), z.ravel(), 0.0 if fresh else rz / last)
        fresh = False
        alpha = rz / kernels.times(faces, rim, p, 0.0, q)
        along = kernels.step(x.ravel(), r.ravel(), p.ravel(), q.ravel(), alpha)
    return energy * length / area, imbalance, error, iteration


def _faces(d: np.ndarray, periodic: bool) -> np.ndarray:
    """Conductances between neighbours (3, *shape): uint8 where all are 0 or 1, else float32."""
    plain = d.dtype == np.uint8
    faces = np.zeros((3, *d.shape), np.uint8 if plain else np.float32)
    for axis in range(3):
        ahead, behind = np.moveaxis(faces[axis], axis, 0), np.moveaxis(d, axis, 0)
        parts = [(ahead[:-1], behind[:-1], behind[1:])]
        if periodic and axis > 0 and len(behind) > 1:
            parts.append((ahead[-1:], behind[-1:], behind[:1]))
        for target, one, other in parts:
            if plain:
                np.bitwise_and(one, other, out=target)
            else:
                both = one * other
                np.divide(2 * both, one + other, out=target, where=both > 0)
    return faces


def _residual(faces: np.ndarray, rim: np.ndarray, x: np.ndarray, r: np.ndarray) -> float:
    """Write the residual of a solution into r; return their product."""
    dot = -float(kernels.times(faces, rim, x, 1.0, r))
    np.negative(r, out=r)
    return dot


class _Multigrid:
    """One V-cycle of the diffusion equation, a symmetric approximate inverse.

    Coarse cells join two voxels along each axis. Corrections are constant in a cell; the
    conductances of the coarse grid are those of the equation discretised anew (half the sum of the
    fine ones, for twice the distance), which for constant corrections beats Galerkin's.
    """

    def __init__(self, faces: np.ndarray, rim: np.ndarray, shape: tuple[int, ...]) -> None:
        self.faces, self.total, self.x, self.b = [], [], [], []
        while True:
            total = np.empty(shape, faces.dtype)
            kernels.diagonal(faces, rim, total)
            self.faces.append(faces)
            self.total.append(total)
            self.x.append(np.zeros(shape, np.float32))
            self.b.append(np.zeros(shape, np.float32))
            if max(shape) <= 2:
                break
            shape = tuple((n + 1) // 2 for n in shape)
            coarse_faces = np.zeros((3, *shape), np.float32)
            coarse_rim = np.zeros((2, *shape[1:]), np.float32)
            kernels.coarser_faces(faces, rim, coarse_faces, coarse_rim)
            faces, rim = coarse_faces, coarse_rim

    def correction(self) -> np.ndarray:
        """Return the approximate inverse times ``b[0]``, float32; overwritten by the next."""
        last = len(self.x) - 1
        for level in range(last):
            self.x[level][...] = 0
            self._relax(level, (False, True, False))
            kernels.restrict_residual(
                self.faces[level],
                self.total[level],
                self.b[level],
                self.x[level],
                self.b[level + 1],
            )
        self.x[last][...] = 0
        self._relax(last, (False, True) * 4)
        for level in range(last - 1, -1, -1):
            kernels.prolong(self.x[level + 1], self.x[level])
            self._relax(level, (True, False, True))
        return self.x[0]

    def _relax(self, level: int, sweeps: tuple[bool, ...]) -> None:
        """Sweeps, each forwards or backwards; those after a correction mirror those before it."""
        grid = self.faces[level], self.total[level], self.b[level], self.x[level]
        for backwards in sweeps:
            kernels.relax(*grid, backwards)
