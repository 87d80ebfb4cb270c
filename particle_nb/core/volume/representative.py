"""How well a volume stands for its material, and how large it would have to be."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from particle_nb.core.agreement.correlation import confidence
from particle_nb.core.errors import check_number
from particle_nb.core.volume.correlation import Radial, checked_lag, radial
from particle_nb.core.volume.volume import Volume, as_volume

#: The integral is taken up to so many times the edge of the integral range.
_REACH = 2.0

#: Fewer integral ranges than this in the volume and nothing is said.
_FEWEST = 20

#: Slabs an axis is cut into to see whether the fraction drifts, and the level of that test.
_SLABS, _DRIFT = 8, 1e-4


@dataclass(frozen=True)
class Range:
    """Integral range of one phase; made by `integral_range`.

    Parameters
    ----------
    edge : float
        Edge of the cube (side of the square) of that size, voxels; NaN where it cannot be told.
    relative_sd : float
        Standard error of its volume over that volume.
    share : float
        Integral range over the size of the specimen.
    """

    edge: float
    relative_sd: float
    share: float


def representativity(
    volume: Any, *, error: float = 0.05, periodic: bool = False, level: float = 0.95
) -> pd.DataFrame:
    """Tell how sure the fraction of each phase is, and how large a volume would have to be.

    The variance of a fraction f in a volume V of a stationary material is f (1 - f) A / V, where
    the integral range A is the integral of (S2 - f^2) / (f (1 - f)). S2 comes from the specimen
    itself; A is summed up to twice its own edge, the bias from using the specimen's own f is taken
    out, and its standard error is that of such a windowed sum.

    Parameters
    ----------
    volume : Volume, phase map, or integer array (D, H, W) or (H, W)
    error : float
        Half-width of the interval that is wanted, relative to the fraction.
    periodic : bool
        How S2 is taken, as in `two_point`.
    level : float
        Coverage of the intervals.

    Returns
    -------
    DataFrame
        One row a phase: ``phase``, ``name``, ``fraction`` with ``fraction_low`` and
        ``fraction_high``, ``fraction_relative_sd``, ``integral_range_um`` (edge of the cube) with
        ``_low`` and ``_high``, ``edge_needed_um`` with ``_low`` and ``_high`` (edge of the volume
        in which the interval of the fraction is ``+-error`` of it), and ``flag``: ``"one phase"``,
        ``"too small"`` (the specimen holds fewer than 20 integral ranges, or S2 has not levelled
        off: NaN), or ``"drifts along z"`` (the fractions of eight slabs differ by more than the
        integral range allows: the material is not the same throughout, or is correlated further
        than was seen; the numbers are then too good).

    Raises
    ------
    DataError
        If it is no volume, or `error` or `level` is out of range.

    References
    ----------
    T. Kanit et al. 2003, doi:10.1016/S0020-7683(03)00143-4 (integral range, after Matheron and
    Lantuejoul); A. Dahari et al. 2024, arXiv:2410.19568 (from the S2 of one image); N. Madras,
    A. Sokal 1988, doi:10.1007/BF01022990 (window and its error).

    Examples
    --------
    >>> grains = np.random.default_rng(0).integers(0, 2, (32, 32, 32))
    >>> representativity(grains)["fraction_relative_sd"].round(3).tolist()
    [0.005, 0.005]
    """
    volume = as_volume(volume)
    check_number("error", error, 1e-4, 1)
    confidence(level)
    found = radial(volume, periodic, checked_lag(volume, periodic, None))
    rows = [
        {"phase": label, "name": volume.name(label)} | row
        for label, row in zip(volume.phases, rows_of(volume, found, error, level), strict=True)
    ]
    table = pd.DataFrame(rows)
    table.attrs |= {"volume": volume.digest, "error": error, "level": level}
    return table


def rows_of(volume: Volume, found: Radial, error: float, level: float) -> list[dict[str, Any]]:
    """Rows of `representativity` from S2."""
    dimensions = volume.labels.ndim
    size = volume.labels.size
    rows = []
    slabs = _slabs(volume)
    for place, fraction in enumerate(volume.fractions.values()):
        share = integral_range(found, place, fraction, size, dimensions)
        flag = ""
        if fraction in (0.0, 1.0):
            flag = "one phase"
        elif math.isnan(share.edge):
            flag = "too small"
        else:
            drifting = _drift([axis[:, place] for axis in slabs], fraction, share.share)
            if drifting:
                names = ", ".join(volume.axes[axis] for axis in drifting)
                flag = f"drifts along {names}"
        rows.append(_row(volume, fraction, share, (error, level)) | {"flag": flag})
    return rows


def _row(
    volume: Volume, fraction: float, found: Range, wanted: tuple[float, float]
) -> dict[str, float]:
    error, level = wanted
    dimensions, unit = volume.labels.ndim, volume.unit
    known = not math.isnan(found.edge)
    sd = math.sqrt(fraction * (1 - fraction) * found.share) if known else math.nan
    # the variance is known to a relative error; as many degrees of freedom have that error
    t = float(stats.t.ppf(0.5 + level / 2, 2 / found.relative_sd**2)) if known else math.nan
    z = float(stats.norm.ppf(0.5 + level / 2))
    low = high = needed = math.nan
    if known:
        # on the logit, so that the interval stays between 0 and 1
        logit, half = math.log(fraction / (1 - fraction)), t * sd / (fraction * (1 - fraction))
        low, high = (1 / (1 + math.exp(-logit + sign * half)) for sign in (1, -1))
        cells = (1 - fraction) / fraction * (z / error) ** 2
        needed = found.edge * cells ** (1 / dimensions)
    factor = math.exp(z * found.relative_sd / dimensions) if known else math.nan
    return {
        "fraction": fraction,
        "fraction_low": low,
        "fraction_high": high,
        "fraction_relative_sd": sd / fraction if fraction else math.nan,
        f"integral_range_{unit}": found.edge * volume.voxel,
        f"integral_range_{unit}_low": found.edge / factor * volume.voxel,
        f"integral_range_{unit}_high": found.edge * factor * volume.voxel,
        f"edge_needed_{unit}": needed * volume.voxel,
        f"edge_needed_{unit}_low": needed / factor * volume.voxel,
        f"edge_needed_{unit}_high": needed * factor * volume.voxel,
    }


def integral_range(found: Radial, place: int, fraction: float, size: int, dimensions: int) -> Range:
    """Return the integral range from the S2 of a phase in a specimen of `size` voxels.

    With the specimen's own fraction in place of the true one every covariance is too small by the
    variance of the fraction, A f (1 - f) / V, and so is f (1 - f); solved for A.
    """
    nothing = Range(math.nan, math.nan, math.nan)
    variance = fraction * (1 - fraction)
    if variance <= 0:
        return nothing
    # products of deviations from the fraction, so that a phase and its complement agree
    covariance = found.probability[place] - 2 * fraction * found.ends[place] + fraction**2
    sums = np.cumsum(found.lags * covariance) / variance
    lags = np.cumsum(found.lags)
    with np.errstate(divide="ignore", invalid="ignore"):
        ranges = sums / (1 - (lags - sums) / size)
    for shell, value in enumerate(ranges):
        if lags[shell] >= size / 2:
            break
        if value > 0 and found.radius[shell] >= _REACH * value ** (1 / dimensions):
            if value * _FEWEST > size:
                return nothing
            spread = math.sqrt(2 * lags[shell] / size)
            return Range(float(value ** (1 / dimensions)), spread, float(value / size))
    return nothing


def _slabs(volume: Volume) -> list[np.ndarray]:
    """Fractions of the phases in slabs along each axis: arrays (slabs, phases)."""
    found = []
    for axis, n in enumerate(volume.shape):
        edges = np.linspace(0, n, min(_SLABS, n) + 1).astype(int)
        parts = np.split(np.moveaxis(volume.indices, axis, 0), edges[1:-1])
        counts = [np.bincount(part.ravel(), minlength=len(volume.phases)) for part in parts]
        found.append(np.array([c / c.sum() for c in counts]))
    return found


def _drift(slabs: list[np.ndarray], fraction: float, share: float) -> list[int]:
    """Axes along which the slabs differ by more than an integral range explains."""
    axes = []
    for axis, values in enumerate(slabs):
        n = len(values)
        expected = fraction * (1 - fraction) * share * n
        excess = ((values - values.mean()) ** 2).sum() / expected
        if n > 1 and stats.chi2.sf(excess, n - 1) < _DRIFT / len(slabs):
            axes.append(axis)
    return axes
