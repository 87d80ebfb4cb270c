"""How far two sets of paired readings go together: correlation and concordance.

Imported through `particle_nb.core.agreement`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from scipy import special, stats

from particle_nb.core.errors import DataError


@dataclass(frozen=True)
class Correlation:
    """A correlation coefficient with its interval.

    Parameters
    ----------
    name : str
        ``"Pearson"`` or ``"Spearman"``.
    value, low, high : float
        The coefficient and its interval, -1 to 1.
    p : float
        Two-sided, for a true value of zero (t distribution with n - 2 degrees of freedom).
    n : int
    level : float
        Coverage of the interval.
    method : str
        How the interval was found.
    """

    name: str
    value: float
    low: float
    high: float
    p: float
    n: int
    level: float
    method: str

    def __repr__(self) -> str:
        return (
            f"<{self.name} r {self.value:.3f}, {100 * self.level:g}% interval {self.low:.2f} to "
            f"{self.high:.2f}, n {self.n}>"
        )


@dataclass(frozen=True)
class Concordance:
    """Lin's concordance correlation coefficient and its parts.

    Parameters
    ----------
    value, low, high : float
        rho_c and its interval.
    pearson : float
        Precision: how close the pairs lie to a line.
    c_b : float
        Bias correction, 0 to 1: how close that line is to y = x; ``value = pearson * c_b``.
    scale_shift, location_shift : float
        Ratio of the standard deviations (first over second), and the difference of the means
        (first less second) in units of their geometric mean.
    n : int
    level : float
    """

    value: float
    low: float
    high: float
    pearson: float
    c_b: float
    scale_shift: float
    location_shift: float
    n: int
    level: float

    def __repr__(self) -> str:
        return (
            f"<CCC {self.value:.3f}, {100 * self.level:g}% interval {self.low:.2f} to "
            f"{self.high:.2f}, C_b {self.c_b:.3f}, n {self.n}>"
        )


def pearson(a: Any, b: Any, level: float = 0.95) -> Correlation:
    """Correlate two sets of paired readings linearly, with Fisher's z interval.

    Parameters
    ----------
    a, b : float (N,)
        Finite, at least four pairs, each with some variation.
    level : float
        Coverage of the interval.

    Raises
    ------
    DataError
        If the pairs cannot be used.

    Examples
    --------
    >>> pearson([1, 2, 3, 4, 5], [1, 3, 2, 5, 4]).value
    0.8
    """
    x, y = paired(a, b, least=4)
    value = _pearson_r(x, y)
    low, high = correlation_interval(value, len(x), level)
    return Correlation(
        "Pearson", value, low, high, _p_value(value, len(x)), len(x), level, "Fisher z"
    )


def spearman(a: Any, b: Any, level: float = 0.95) -> Correlation:
    """Correlate the ranks of paired readings, with the Bonett-Wright interval.

    Parameters, errors: as `pearson`. Source of the interval: Bonett and Wright 2000,
    doi:10.1007/BF02294183.

    Examples
    --------
    >>> round(spearman([1, 2, 3, 4, 5], [1, 8, 27, 64, 125]).value, 12)
    1.0
    """
    x, y = paired(a, b, least=4)
    value = _pearson_r(stats.rankdata(x), stats.rankdata(y))
    low, high = correlation_interval(value, len(x), level, kind="spearman")
    p = _p_value(value, len(x))
    return Correlation("Spearman", value, low, high, p, len(x), level, "Bonett-Wright")


def correlation_interval(
    r: float, n: int, level: float = 0.95, kind: Literal["pearson", "spearman"] = "pearson"
) -> tuple[float, float]:
    """Return the interval of a published correlation coefficient from r and n alone.

    Fisher's z with standard error 1 / sqrt(n - 3) for Pearson's r; with
    sqrt((1 + r^2 / 2) / (n - 3)) for Spearman's (Bonett and Wright 2000).

    Raises
    ------
    DataError
        If r is outside -1 to 1, n is below 4, or the kind is unknown.

    Examples
    --------
    >>> low, high = correlation_interval(0.64, 9)
    >>> f"{low:.2f} to {high:.2f}"
    '-0.04 to 0.92'
    """
    confidence(level)
    if kind not in ("pearson", "spearman"):
        raise DataError(f"kind is 'pearson' or 'spearman', not {kind!r}.")
    if not -1 <= r <= 1:
        raise DataError(f"a correlation coefficient lies between -1 and 1, not {r!r}.")
    if n < 4:
        raise DataError(f"an interval of a correlation needs at least 4 pairs, not {n}.")
    error = math.sqrt((1 + (r * r / 2 if kind == "spearman" else 0)) / (n - 3))
    reach = float(stats.norm.ppf((1 + level) / 2)) * error
    z = np.arctanh(r) if abs(r) < 1 else math.copysign(math.inf, r)
    return float(np.tanh(z - reach)), float(np.tanh(z + reach))


def ccc(a: Any, b: Any, level: float = 0.95) -> Concordance:
    """Return Lin's concordance correlation coefficient with its interval by Fisher's z.

    Parameters, errors: as `pearson`.

    References
    ----------
    Lin 1989, doi:10.2307/2532051, with the correction of the standard error of 2000.

    Examples
    --------
    >>> result = ccc([1, 2, 3, 4], [2, 3, 4, 5])
    >>> round(result.pearson, 12), round(result.value, 3), round(result.c_b, 3)
    (1.0, 0.714, 0.714)
    """
    x, y = paired(a, b, least=4)
    confidence(level)
    n = len(x)
    r = _pearson_r(x, y)
    sx, sy = float(x.std()), float(y.std())
    shift, scale = float(x.mean() - y.mean()) / math.sqrt(sx * sy), sx / sy
    c_b = 2 / (scale + 1 / scale + shift**2)
    value = r * c_b
    # Lin writes the variance with divisions by r; in terms of c_b it also holds at r = 0
    variance = (
        (1 - r**2) * c_b**2 * (1 - value**2)
        + 2 * value**2 * (1 - value) * shift**2 * c_b
        - 0.5 * value**2 * c_b**2 * shift**4
    ) / (n - 2)
    if abs(value) < 1:
        reach = float(stats.norm.ppf((1 + level) / 2)) * math.sqrt(max(variance, 0))
        reach /= 1 - value**2
        low, high = (float(np.tanh(np.arctanh(value) + sign * reach)) for sign in (-1, 1))
    else:
        low = high = value
    return Concordance(value, low, high, r, c_b, scale, shift, n, level)


def paired(a: Any, b: Any, least: int, constant: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """Return paired readings as float (N,) each, or raise `DataError` naming what is wrong.

    Examples
    --------
    >>> paired([1, 2], (3, 4), least=2)[1]
    array([3., 4.])
    """
    x, y = readings_of(a, "the first readings"), readings_of(b, "the second readings")
    if x.ndim != 1 or x.shape != y.shape:
        raise DataError(f"paired readings are (N,) each, not {x.shape} and {y.shape}.")
    if len(x) < least:
        raise DataError(f"this needs at least {least} pairs, not {len(x)}.")
    for values, name in ((x, "first"), (y, "second")):
        if not constant and values.min() == values.max():
            raise DataError(f"the {name} readings are all {values[0]:g}; this needs variation.")
    return x, y


def confidence(level: float) -> float:
    """Return a coverage between 0 and 1 exclusive, or raise `DataError`."""
    number = isinstance(level, (int, float, np.number)) and not isinstance(level, bool)
    if not number or not 0 < level < 1:
        raise DataError(f"level is a share between 0 and 1, e.g. 0.95, not {level!r}.")
    return float(level)


def readings_of(values: Any, name: str) -> np.ndarray:
    """Return finite numbers as a float array of their shape, or raise `DataError` naming `name`."""
    try:
        array = np.asarray(values, float)
    except (TypeError, ValueError) as error:
        raise DataError(f"{name} cannot be read as numbers: {error}.") from None
    bad = ~np.isfinite(array)
    if bad.any():
        where = tuple(int(v) for v in np.argwhere(bad)[0])
        raise DataError(
            f"{name} hold {int(bad.sum())} missing or infinite values, the first at "
            f"{where[0] if len(where) == 1 else where}; drop these pairs first."
        )
    if array.size and np.abs(array).max() > 1e150:
        raise DataError(f"{name} exceed 1e150, whose squares cannot be computed; check the unit.")
    return array


def _pearson_r(x: np.ndarray, y: np.ndarray) -> float:
    # scaled first, as squares of very small lengths in metres would vanish
    x, y = x - x.mean(), y - y.mean()
    x, y = x / np.abs(x).max(), y / np.abs(y).max()
    return float(np.clip((x @ y) / math.sqrt((x @ x) * (y @ y)), -1, 1))


def _p_value(r: float, n: int) -> float:
    # the regularised incomplete beta function is the two-sided t test of r
    return float(special.betainc((n - 2) / 2, 0.5, 1 - r * r))
