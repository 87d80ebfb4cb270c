"""Lines through readings that both have errors: Deming and Passing-Bablok regression.

Imported through `particle_nb.core.agreement`.
"""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import stats

from particle_nb.core.agreement.correlation import confidence, paired
from particle_nb.core.errors import DataError

_FEW_PAIRS = 30

_MANY_PAIRS = 5000


@dataclass(frozen=True)
class Regression:
    """A line y = intercept + slope x for two methods that both have errors.

    Parameters
    ----------
    slope, intercept : float
    slope_interval, intercept_interval : (low, high)
        NaN or infinite where there are too few pairs for a limit.
    n : int
    level : float
        Coverage of the intervals.
    method : str
        The estimator, with its assumption on the errors.
    """

    slope: float
    intercept: float
    slope_interval: tuple[float, float]
    intercept_interval: tuple[float, float]
    n: int
    level: float
    method: str

    @property
    def proportional_bias(self) -> bool:
        """Whether the interval of the slope leaves out 1."""
        # a limit that is 1 in decimal readings is 1 + 2e-16 in binary ones
        return not self.slope_interval[0] <= 1 + 1e-9 <= self.slope_interval[1] + 2e-9

    @property
    def constant_bias(self) -> bool:
        """Whether the interval of the intercept leaves out 0."""
        return not self.intercept_interval[0] <= 0 <= self.intercept_interval[1]

    def predict(self, x: Any) -> np.ndarray:
        """Return the line at x, float of its shape."""
        return self.intercept + self.slope * np.asarray(x, float)

    def __repr__(self) -> str:
        return (
            f"<{self.method}: y = {self.intercept:.4g} + {self.slope:.4g} x, slope "
            f"{self.slope_interval[0]:.4g} to {self.slope_interval[1]:.4g}, n {self.n}>"
        )


def deming(x: Any, y: Any, ratio: float = 1.0, level: float = 0.95) -> Regression:
    """Fit a line by least squares in both directions, with jackknife intervals.

    Parameters
    ----------
    x, y : float (N,)
        Readings of the reference and of the method under test; at least four pairs.
    ratio : float
        Variance of the errors of y over that of the errors of x; 1 for equal errors
        (orthogonal regression). Some programs state the inverse.
    level : float
        Coverage of the intervals, Student's t with n - 2 degrees of freedom.

    Raises
    ------
    DataError
        If the pairs cannot be used, the ratio is not positive, or x and y are uncorrelated.

    References
    ----------
    Linnet 1993, Clin. Chem. 39, 424-432.

    Examples
    --------
    >>> deming([1, 2, 3, 4], [3.0, 5.0, 7.0, 9.0]).slope
    2.0
    """
    a, b = paired(x, y, least=4)
    confidence(level)
    number = isinstance(ratio, (int, float, np.number)) and not isinstance(ratio, bool)
    if not number or not 0 < ratio < math.inf:
        raise DataError(f"ratio is the error variance of y over that of x, above 0, not {ratio!r}.")
    n = len(a)
    # sums without pair i follow from the sums of all pairs by one term, so no loop is needed
    da, db = a - a.mean(), b - b.mean()
    share = n / (n - 1)
    xx, yy, xy = float(da @ da), float(db @ db), float(da @ db)
    slope = float(_deming_slope(xx, yy, xy, float(ratio)))
    slopes = _deming_slope(
        xx - share * da * da, yy - share * db * db, xy - share * da * db, float(ratio)
    )
    intercept = float(b.mean() - slope * a.mean())
    intercepts = (b.mean() - db / (n - 1)) - slopes * (a.mean() - da / (n - 1))
    if not math.isfinite(slope) or not np.isfinite(slopes).all():
        raise DataError(
            "x and y are uncorrelated (with or without one of the pairs); a line through them "
            "has no direction."
        )
    t = float(stats.t.ppf((1 + level) / 2, n - 2))
    return Regression(
        slope=slope,
        intercept=intercept,
        slope_interval=_jackknife(slope, slopes, t),
        intercept_interval=_jackknife(intercept, intercepts, t),
        n=n,
        level=level,
        method=f"Deming, error variance ratio y/x {ratio:g}",
    )


def passing_bablok(x: Any, y: Any, level: float = 0.95) -> Regression:
    """Fit a line by the shifted median of all pairwise slopes, robust against outliers.

    Parameters
    ----------
    x, y : float (N,)
        Readings of the two methods, 3 to 5,000 pairs; their exchange gives the inverse line.
    level : float
        Coverage of the intervals.

    Raises
    ------
    DataError
        If the pairs cannot be used, or no slope can be formed.

    Warns
    -----
    UserWarning
        If there are fewer than 30 pairs, with which the intervals tell little.

    References
    ----------
    Passing and Bablok 1983, doi:10.1515/cclm.1983.21.11.709.

    Examples
    --------
    >>> x = np.arange(30.0)
    >>> passing_bablok(x, 1.5 * x + 2).slope
    1.5
    """
    a, b = paired(x, y, least=3)
    confidence(level)
    n = len(a)
    if n > _MANY_PAIRS:
        raise DataError(f"{n} pairs have too many slopes; draw at most {_MANY_PAIRS} at random.")
    if n < _FEW_PAIRS:
        warnings.warn(
            f"Passing-Bablok regression of {n} pairs: at least {_FEW_PAIRS} are advised, and 50 or "
            "more for a decision on equality.",
            UserWarning,
            stacklevel=2,
        )
    slopes = _pairwise_slopes(a, b)
    count = len(slopes)
    if not count and np.ptp(a) > 0:
        raise DataError(
            "every two pairs have slope -1, which this method leaves out: x and y run against each "
            "other; exchange the sign of one of them."
        )
    if not count:
        raise DataError("no two pairs differ by a usable slope; all points coincide.")
    below = int(np.count_nonzero(slopes < -1))
    middle = [(count - 1) // 2 + below, count // 2 + below]
    if middle[1] >= count:
        raise DataError("x and y run against each other; exchange the sign of one of them.")
    slope = float(slopes[middle].mean())
    if not math.isfinite(slope):
        raise DataError("most pairs share one x; a line through them has no finite slope.")
    reach = float(stats.norm.ppf((1 + level) / 2)) * math.sqrt(n * (n - 1) * (2 * n + 5) / 18)
    first = math.floor((count - reach) / 2 + 0.5)
    last = count - first + 1
    limits = [
        float(slopes[rank - 1 + below]) if 0 <= rank - 1 + below < count else math.nan
        for rank in (first, last)
    ]
    low, high = (
        float(np.median(b - limit * a)) if math.isfinite(limit) else math.nan
        for limit in reversed(limits)
    )
    return Regression(
        slope=slope,
        intercept=float(np.median(b - slope * a)),
        slope_interval=(limits[0], limits[1]),
        intercept_interval=(low, high),
        n=n,
        level=level,
        method="Passing-Bablok",
    )


def _deming_slope(xx: Any, yy: Any, xy: Any, ratio: float) -> np.ndarray:
    difference = yy - ratio * xx
    root = np.sqrt(difference**2 + 4 * ratio * xy**2)
    with np.errstate(divide="ignore", invalid="ignore"):
        # two forms of one root: whichever adds instead of cancelling
        return np.where(
            difference >= 0, (difference + root) / (2 * xy), 2 * ratio * xy / (root - difference)
        )


def _jackknife(value: float, without: np.ndarray, t: float) -> tuple[float, float]:
    n = len(without)
    pseudo = n * value - (n - 1) * without
    reach = t * float(pseudo.std(ddof=1)) / math.sqrt(n)
    return value - reach, value + reach


def _pairwise_slopes(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Sorted slopes of all pairs of points; without 0/0 and, as x and y may swap, without -1."""
    i, j = np.triu_indices(len(x), 1)
    dx, dy = x[j] - x[i], y[j] - y[i]
    # readings of few digits tie, and binary fractions must not turn a tie into a huge slope
    tiny = 1e-12 * max(np.abs(x).max(), np.abs(y).max())
    dx, dy = np.where(np.abs(dx) <= tiny, 0, dx), np.where(np.abs(dy) <= tiny, 0, dy)
    keep = ((dx != 0) | (dy != 0)) & (np.abs(dx + dy) > tiny)
    dx, dy = dx[keep], dy[keep]
    # plus and minus infinity are the same vertical line; the shift treats slopes as a circle
    upright = dx == 0
    return np.sort(np.where(upright, np.inf, dy / np.where(upright, 1, dx)))
