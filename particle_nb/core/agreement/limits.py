"""Agreement of two methods: Bland-Altman limits and percentile deviations.

Correlation, regression and reliability, which stand in modules of their own, come with it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd
from scipy import stats

from particle_nb.core.agreement.correlation import confidence, paired
from particle_nb.core.errors import DataError


@dataclass(frozen=True, eq=False)
class BlandAltman:
    """Bias and limits of agreement of two methods, each with its interval.

    Parameters
    ----------
    mode : str
        ``"difference"`` a - b, in the unit of the readings; ``"log_ratio"`` ln(a / b);
        ``"percent"`` 100 (a - b) / mean of a and b.
    method : str
        ``"exact"`` or ``"approximate"`` intervals of the limits.
    bias, sd : float
        Mean and standard deviation of the differences.
    lower, upper : float
        Limits of agreement: bias -+ z sd, z = 1.96 for a coverage of 0.95.
    bias_interval, sd_interval, lower_interval, upper_interval : (low, high)
    slope, slope_interval, slope_p : float, (low, high), float
        Line of the differences over the means (over ln of the mean in mode ``"log_ratio"``): a
        difference that grows with size shows here. NaN where all means are equal.
    n : int
    level, coverage : float
        Confidence of the intervals; share of differences meant to lie between the limits.
    mean, difference : float (N,)
        What a Bland-Altman plot draws; the mean is geometric in mode ``"log_ratio"``.
    """

    mode: str
    method: str
    bias: float
    sd: float
    lower: float
    upper: float
    bias_interval: tuple[float, float]
    sd_interval: tuple[float, float]
    lower_interval: tuple[float, float]
    upper_interval: tuple[float, float]
    slope: float
    slope_interval: tuple[float, float]
    slope_p: float
    n: int
    level: float
    coverage: float
    mean: np.ndarray
    difference: np.ndarray

    def ratios(self) -> pd.DataFrame:
        """Return bias and limits of mode ``"log_ratio"`` as ratios a / b, with their intervals.

        Raises
        ------
        DataError
            In another mode.

        Examples
        --------
        >>> result = bland_altman([2, 4, 8], [1, 2, 4], mode="log_ratio")
        >>> float(round(result.ratios().loc["bias", "ratio"], 9))
        2.0
        """
        if self.mode != "log_ratio":
            raise DataError(f"mode {self.mode!r} has no ratios; use mode='log_ratio'.")
        rows = {
            "bias": (self.bias, *self.bias_interval),
            "lower": (self.lower, *self.lower_interval),
            "upper": (self.upper, *self.upper_interval),
        }
        logs = pd.DataFrame.from_dict(rows, orient="index", columns=["ratio", "low", "high"])
        return logs.map(math.exp)

    def __repr__(self) -> str:
        return (
            f"<BlandAltman {self.mode}: bias {self.bias:.4g} ({self.bias_interval[0]:.4g} to "
            f"{self.bias_interval[1]:.4g}), limits {self.lower:.4g} to {self.upper:.4g}, "
            f"n {self.n}>"
        )


def bland_altman(
    a: Any,
    b: Any,
    mode: Literal["difference", "log_ratio", "percent"] = "difference",
    level: float = 0.95,
    *,
    coverage: float = 0.95,
    method: Literal["exact", "approximate"] = "exact",
) -> BlandAltman:
    """Compare two methods on the same specimens by their differences a - b.

    Parameters
    ----------
    a, b : float (N,)
        Readings of the method under test and of the reference; at least three pairs. In mode
        ``"log_ratio"`` above zero.
    mode : str
        Differences, their logarithms (for errors in proportion to size), or per cent.
    level : float
        Confidence of every interval.
    coverage : float
        Share of future differences meant to lie between the limits.
    method : str
        Intervals of the limits: ``"exact"`` by the noncentral t distribution (Carkeet 2015,
        doi:10.1097/OPX.0000000000000513), or Bland and Altman's ``"approximate"`` standard error
        (1999, doi:10.1177/096228029900800204). Those of bias and sd are exact in both.

    Raises
    ------
    DataError
        If the pairs cannot be used in this mode, or an option is unknown.

    References
    ----------
    Bland and Altman 1986, doi:10.1016/S0140-6736(86)90837-8.

    Examples
    --------
    >>> result = bland_altman([10.2, 11.1, 9.8, 12.0], [10.0, 11.0, 10.0, 11.5])
    >>> round(result.bias, 3), round(result.lower, 2), round(result.upper, 2)
    (0.15, -0.42, 0.72)
    """
    x, y = paired(a, b, least=3, constant=True)
    confidence(level)
    confidence(coverage)
    if method not in ("exact", "approximate"):
        raise DataError(f"method is 'exact' or 'approximate', not {method!r}.")
    mean, difference, position = _differences(x, y, mode)
    n = len(x)
    bias, sd = float(difference.mean()), float(difference.std(ddof=1))
    tails = ((1 - level) / 2, (1 + level) / 2)
    t = float(stats.t.ppf(tails[1], n - 1))
    z = float(stats.norm.ppf((1 + coverage) / 2))
    if method == "exact":
        # (limit - bias) sqrt(n) / sd follows a noncentral t with z sqrt(n)
        near, far = (
            float(stats.nct.ppf(tail, n - 1, z * math.sqrt(n))) / math.sqrt(n) for tail in tails
        )
    else:
        reach = t * math.sqrt(1 / n + z**2 / (2 * (n - 1)))
        near, far = z - reach, z + reach
    chi = stats.chi2.ppf(tails[::-1], n - 1)
    slope, slope_interval, slope_p = _trend(position, difference, tails[1])
    return BlandAltman(
        mode=mode,
        method=method,
        bias=bias,
        sd=sd,
        lower=bias - z * sd,
        upper=bias + z * sd,
        bias_interval=(bias - t * sd / math.sqrt(n), bias + t * sd / math.sqrt(n)),
        sd_interval=(sd * math.sqrt((n - 1) / chi[0]), sd * math.sqrt((n - 1) / chi[1])),
        lower_interval=(bias - far * sd, bias - near * sd),
        upper_interval=(bias + near * sd, bias + far * sd),
        slope=slope,
        slope_interval=slope_interval,
        slope_p=slope_p,
        n=n,
        level=float(level),
        coverage=float(coverage),
        mean=mean,
        difference=difference,
    )


def percentile_deviation(
    measured: Any, reference: Any, percentiles: Sequence[float] = (10, 50, 90)
) -> pd.DataFrame:
    """Compare percentiles of two size distributions, e.g. D10, D50 and D90.

    Parameters
    ----------
    measured, reference : SizeDistribution
        Anything with ``.percentile(p)``, p in per cent; of the same weighting ``r`` and ``unit``
        where both name one.
    percentiles : floats
        Each above 0 and below 100.

    Returns
    -------
    DataFrame
        Columns ``percentile measured reference deviation deviation_percent``; the deviation is
        measured - reference, in the unit of the distributions and in per cent of the reference.

    Raises
    ------
    DataError
        If a percentile is out of range, or the distributions cannot be compared.

    Examples
    --------
    >>> class Uniform:
    ...     def __init__(self, top): self.top = top
    ...     def percentile(self, p): return self.top * np.asarray(p) / 100
    >>> percentile_deviation(Uniform(150), Uniform(100), [50]).deviation_percent.tolist()
    [50.0]
    """
    try:
        points = np.array(percentiles, float)
    except (TypeError, ValueError):
        points = np.empty(0)
    if points.ndim != 1 or not points.size or not ((points > 0) & (points < 100)).all():
        raise DataError(
            "percentiles are numbers above 0 and below 100, e.g. (10, 50, 90), "
            f"not {percentiles!r}."
        )
    for name in ("r", "unit"):
        one, two = getattr(measured, name, None), getattr(reference, name, None)
        if one is not None and two is not None and one != two:
            raise DataError(
                f"the distributions differ in {name}: {one!r} measured, {two!r} in the reference; "
                "build both the same way, or convert one with .to(unit)."
            )
    first, second = (
        _percentiles(d, points, n) for d, n in ((measured, "measured"), (reference, "reference"))
    )
    return pd.DataFrame(
        {
            "percentile": points,
            "measured": first,
            "reference": second,
            "deviation": first - second,
            "deviation_percent": 100 * (first / second - 1),
        }
    )


def _differences(
    x: np.ndarray, y: np.ndarray, mode: str
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Means to draw, differences, and the positions that the trend is fitted over."""
    if mode == "difference":
        return (x + y) / 2, x - y, (x + y) / 2
    if mode == "percent":
        mean = (x + y) / 2
        if (mean == 0).any():
            raise DataError(
                f"pair {int(np.argmax(mean == 0))} has a mean of zero; per cent of it is undefined."
            )
        return mean, 100 * (x - y) / mean, mean
    if mode == "log_ratio":
        if min(x.min(), y.min()) <= 0:
            bad = int(np.argmax((x <= 0) | (y <= 0)))
            raise DataError(
                f"pair {bad} is ({x[bad]:g}, {y[bad]:g}); log_ratio needs readings above zero."
            )
        return np.sqrt(x) * np.sqrt(y), np.log(x) - np.log(y), (np.log(x) + np.log(y)) / 2
    raise DataError(f"mode is 'difference', 'log_ratio' or 'percent', not {mode!r}.")


def _trend(x: np.ndarray, y: np.ndarray, upper: float) -> tuple[float, tuple[float, float], float]:
    """Least-squares slope of y over x, its interval and p."""
    dx, dy = x - x.mean(), y - y.mean()
    spread = float(dx @ dx)
    if spread == 0:
        return math.nan, (math.nan, math.nan), math.nan
    slope = float(dx @ dy) / spread
    df = len(x) - 2
    error = math.sqrt(float(((dy - slope * dx) ** 2).sum()) / df / spread)
    reach = float(stats.t.ppf(upper, df)) * error
    if error == 0:
        return slope, (slope, slope), 0.0 if slope else 1.0
    p = 2 * float(stats.t.sf(abs(slope) / error, df))
    return slope, (slope - reach, slope + reach), p


def _percentiles(distribution: Any, points: np.ndarray, name: str) -> np.ndarray:
    if not callable(getattr(distribution, "percentile", None)):
        raise DataError(
            f"{name} is {type(distribution).__name__}, which has no percentile(p); give what "
            "size_distribution or read_distribution returns."
        )
    values = np.asarray(distribution.percentile(points), float)
    if values.shape != points.shape or not np.isfinite(values).all() or (values <= 0).any():
        raise DataError(
            f"{name} gives the percentiles {values.tolist()} at {points.tolist()}; "
            "sizes must be finite and above zero."
        )
    return values
