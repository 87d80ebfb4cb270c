"""Area fractions of phases with intervals that know that neighbouring pixels are alike."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from scipy import fft, stats

from particle_nb.core.agreement.correlation import confidence
from particle_nb.core.errors import DataError

#: Correlations are summed up to so many times the side of the integral range.
_REACH = 2.0
#: With fewer independent areas than this in the image the integral range is not known.
_FEWEST = 20


def phase_fractions(
    labels: np.ndarray, names: Sequence[str], interval: float | None = 0.95
) -> pd.DataFrame:
    """Return the area fraction of every phase, and where that of the material may lie.

    An image counts for as many independent points as there are integral ranges in it: the integral
    of the correlation of a phase over all shifts, taken from the image itself. What lies in the
    interval is the material's fraction if the image is a random section of it; errors of the
    classifier are not in it.

    Parameters
    ----------
    labels : int (H, W)
        Phases 0 to K - 1; pixels below 0 are left out.
    names : sequence of str (K,)
    interval : float or None
        Coverage, inside 0..1; None for no intervals.

    Returns
    -------
    DataFrame
        Indexed by name: ``phase``, ``fraction``, ``low``, ``high``, ``pixels``, ``independent``
        (areas that count) and ``flag``: ``"absent"``, ``"one phase"``, or ``"few"`` where fewer
        than 20 areas are independent, or shapes reach across the image, so that the interval is a
        guess on the wide side.

    Raises
    ------
    DataError
        If the interval is none, or no pixel has a phase.

    References
    ----------
    A. Dahari et al., 2024, arXiv:2410.19568 (ImageRep: from one image); T. Kanit et al., 2003,
    doi:10.1016/S0020-7683(03)00143-4 (integral range). Interval for few and extreme counts:
    C. J. Clopper, E. S. Pearson, 1934, doi:10.1093/biomet/26.4.404, with the independent areas as
    the count.

    Examples
    --------
    >>> coins = np.random.default_rng(0).integers(0, 2, (100, 100))
    >>> table = phase_fractions(coins, ("heads", "tails"))
    >>> bool(table["low"]["heads"] < 0.5 < table["high"]["heads"])
    True
    """
    level = None if interval is None else confidence(interval)
    known = labels >= 0
    total = int(known.sum())
    if not total:
        raise DataError("no pixel has a phase; there are no fractions.")
    counts = np.bincount(labels[known], minlength=len(names))
    rows: list[dict[str, Any]] = [
        {"phase": phase, "fraction": int(n) / total, "pixels": int(n)}
        for phase, n in enumerate(counts)
    ]
    if level is not None:
        found = [_independent(labels == phase, known, total) for phase in range(len(names))]
        # a phase that is not seen has no correlation of its own: the coarsest of the others
        seen = [areas for areas, flag in found if flag not in ("absent", "one phase")]
        for row, (areas, flag) in zip(rows, found, strict=True):
            areas = min(seen, default=1.0) if flag in ("absent", "one phase") else areas
            low, high = _bounds(float(row["fraction"]), areas, level)
            row |= {"low": low, "high": high, "independent": areas, "flag": flag}
    columns = ["phase", "fraction", "low", "high", "pixels", "independent", "flag"]
    table = pd.DataFrame(rows, index=pd.Index(list(names), name="name"))
    table = table[[c for c in columns if c in table]]
    table.attrs["interval"] = level
    return table


def _bounds(fraction: float, areas: float, level: float) -> tuple[float, float]:
    """Clopper and Pearson's limits for a share of so many independent areas."""
    tail = (1 - level) / 2
    hits = fraction * areas
    low = float(stats.beta.ppf(tail, hits, areas - hits + 1)) if hits > 0 else 0.0
    high = float(stats.beta.ppf(1 - tail, hits + 1, areas - hits)) if hits < areas else 1.0
    return low, high


def _independent(inside: np.ndarray, known: np.ndarray, total: int) -> tuple[float, str]:
    """How many independent areas an image holds of a phase, and what is to be said of that."""
    fraction = int(inside[known].sum()) / total
    height, width = known.shape
    if fraction in (0.0, 1.0):
        return 1.0, "absent" if fraction == 0.0 else "one phase"
    deviations = np.where(known, inside - fraction, 0.0)
    shape = [fft.next_fast_len(2 * n, real=True) for n in known.shape]
    pairs = _autocorrelation(known.astype(float), shape)
    products = _autocorrelation(deviations, shape)
    down = np.minimum(np.arange(shape[0]), shape[0] - np.arange(shape[0]))
    across = np.minimum(np.arange(shape[1]), shape[1] - np.arange(shape[1]))
    distance = np.hypot(down[:, None], across[None, :])
    longest = min(height, width) / 2
    shells = np.rint(distance).astype(int)
    near = (distance <= longest) & (pairs > 0.5)
    covariance = np.divide(products, pairs, where=near, out=np.zeros_like(products))
    sums = np.bincount(shells[near], weights=covariance[near])
    lags = np.bincount(shells[near])
    area = np.cumsum(sums) / (fraction * (1 - fraction))
    counted = np.cumsum(lags)
    with np.errstate(divide="ignore", invalid="ignore"):
        # the image's own fraction in place of the material's makes covariances too small
        ranges = area / (1 - (counted - area) / total)
    for shell, value in enumerate(ranges):
        if counted[shell] >= total / 2:
            break
        if value > 0 and shell >= _REACH * math.sqrt(value):
            areas = total / max(value, 1.0)
            if areas < _FEWEST:
                return max(areas / 2, 1.0), "few"
            # the sum is itself uncertain by this share (N. Madras, A. Sokal, 1988)
            return areas / (1 + math.sqrt(2 * counted[shell] / total)), ""
    most = float(np.nanmax(np.where(np.isfinite(ranges), ranges, np.nan)))
    return float(np.clip(total / max(most, 1.0) / 2, 1.0, _FEWEST / 2)), "few"


def _autocorrelation(values: np.ndarray, shape: list[int]) -> np.ndarray:
    spectrum = fft.rfft2(values, s=shape)
    power = spectrum.real**2 + spectrum.imag**2
    return np.asarray(fft.irfft2(power, s=shape))
