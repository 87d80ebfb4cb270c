"""How far repeated readings by several raters agree: intraclass correlation, repeatability.

Imported through `particle_nb.core.agreement`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import stats

from particle_nb.core.agreement.correlation import confidence, readings_of
from particle_nb.core.errors import DataError


@dataclass(frozen=True)
class Intraclass:
    """An intraclass correlation coefficient with its F-based interval.

    Parameters
    ----------
    kind : str
        ``"1"``, ``"A,1"``, ``"C,1"``, or the same with ``k`` for the mean of all raters.
    value, low, high : float
    f, df1, df2, p : float
        The F test of a true value of zero.
    n, k : int
        Subjects and raters.
    level : float
    """

    kind: str
    value: float
    low: float
    high: float
    f: float
    df1: int
    df2: int
    p: float
    n: int
    k: int
    level: float

    def __repr__(self) -> str:
        return (
            f"<ICC({self.kind}) {self.value:.3f}, {100 * self.level:g}% interval {self.low:.2f} "
            f"to {self.high:.2f}, {self.n} subjects x {self.k} raters>"
        )


@dataclass(frozen=True)
class Repeatability:
    """Spread of repeated readings within and between operators (ISO 5725-2).

    Parameters
    ----------
    mean : float
    repeatability_sd : float
        s_r, within operators.
    between_sd : float
        s_L, between operators; 0 where the estimate of its square is negative.
    reproducibility_sd : float
        s_R, the root of s_r^2 + s_L^2.
    n, operators : int
        Readings and operators.
    """

    mean: float
    repeatability_sd: float
    between_sd: float
    reproducibility_sd: float
    n: int
    operators: int


def icc(readings: Any, kind: str = "A,1", level: float = 0.95) -> Intraclass:
    """Return an intraclass correlation of subjects (rows) read by raters (columns).

    ``"1"`` one-way random (raters differ from subject to subject), ``"A,1"`` absolute agreement,
    ``"C,1"`` consistency (constant offsets of a rater forgiven); ``"k"``, ``"A,k"`` and ``"C,k"``
    are those of the mean of all raters. They are Shrout and Fleiss's (1,1), (2,1), (3,1), (1,k),
    (2,k), (3,k).

    Parameters
    ----------
    readings : float (n, k)
        At least two subjects and two raters, complete.
    kind : str
    level : float

    Raises
    ------
    DataError
        If the table is incomplete, too small or constant, or the kind is unknown.

    References
    ----------
    McGraw and Wong 1996, doi:10.1037/1082-989X.1.1.30.

    Examples
    --------
    >>> round(icc([[9, 2, 5, 8], [6, 1, 3, 2], [8, 4, 6, 8], [7, 1, 2, 6],
    ...            [10, 5, 6, 9], [6, 2, 4, 7]], "A,1").value, 2)
    0.29
    """
    table = readings_of(readings, "readings")
    if table.ndim != 2 or min(table.shape) < 2:
        raise DataError(
            f"readings are (subjects, raters), at least 2 x 2, not {table.shape}; use "
            "frame.pivot(index='subject', columns='rater', values=...)."
        )
    if kind not in ("1", "A,1", "C,1", "k", "A,k", "C,k"):
        raise DataError(f"kind is one of '1', 'A,1', 'C,1', 'k', 'A,k', 'C,k', not {kind!r}.")
    confidence(level)
    n, k = table.shape
    rows, cols = table.mean(axis=1), table.mean(axis=0)
    mean = table.mean()
    ms_rows = k * float(((rows - mean) ** 2).sum()) / (n - 1)
    ms_cols = n * float(((cols - mean) ** 2).sum()) / (k - 1)
    ss_rest = float(((table - rows[:, None] - cols + mean) ** 2).sum())
    ms_rest = ss_rest / ((n - 1) * (k - 1))
    ms_within = (ss_rest + (k - 1) * ms_cols) / (n * (k - 1))
    if ms_rows == 0 and ms_within == 0:
        raise DataError("all readings are equal; an intraclass correlation needs variation.")
    one_way = kind in ("1", "k")
    noise, df2 = (ms_within, n * (k - 1)) if one_way else (ms_rest, (n - 1) * (k - 1))
    df1 = n - 1
    f = ms_rows / noise if noise else math.inf
    upper_f = float(stats.f.ppf((1 + level) / 2, df1, df2))
    lower_f = float(stats.f.ppf((1 + level) / 2, df2, df1))
    if kind[0] == "A":
        value, low, high = _absolute_agreement(ms_rows, ms_cols, ms_rest, table.shape, level)
    elif math.isinf(f):
        value = low = high = 1.0
    else:
        value, low, high = ((g - 1) / (g + k - 1) for g in (f, f / upper_f, f * lower_f))
    if kind[-1] == "k":
        value, low, high = (k * v / (1 + (k - 1) * v) for v in (value, low, high))
    p = float(stats.f.sf(f, df1, df2))
    return Intraclass(kind, value, low, high, f, df1, df2, p, n, k, level)


def repeatability(groups: Sequence[Any]) -> Repeatability:
    """Return the repeatability and reproducibility standard deviations of repeated readings.

    Parameters
    ----------
    groups : sequence of float (n_i,)
        The readings of one quantity, one array per operator; numbers of readings may differ, at
        least two operators and one operator with two readings.

    Raises
    ------
    DataError
        If there are too few, or values are not finite.

    References
    ----------
    ISO 5725-2, one-way analysis of variance.

    Examples
    --------
    >>> result = repeatability([[10.0, 10.2], [11.0, 11.2]])
    >>> round(result.repeatability_sd, 3), round(result.reproducibility_sd, 3)
    (0.141, 0.714)
    """
    try:
        values = [readings_of(group, f"operator {i}") for i, group in enumerate(groups)]
    except TypeError:
        raise DataError("groups are a sequence of arrays, one per operator.") from None
    if len(values) < 2 or any(group.ndim != 1 or not group.size for group in values):
        raise DataError("give at least two operators, each with a 1-D array of readings.")
    sizes = np.array([len(group) for group in values], float)
    n, p = sizes.sum(), len(values)
    if n <= p:
        raise DataError("repeatability needs an operator who measured at least twice.")
    means = np.array([group.mean() for group in values])
    mean = float((sizes * means).sum() / n)
    within = sum(float(((g - m) ** 2).sum()) for g, m in zip(values, means, strict=True)) / (n - p)
    between = float((sizes * (means - mean) ** 2).sum()) / (p - 1)
    typical = (n - (sizes**2).sum() / n) / (p - 1)
    operators = max(0.0, (between - within) / typical)
    return Repeatability(
        mean, math.sqrt(within), math.sqrt(operators), math.sqrt(within + operators), int(n), p
    )


def _absolute_agreement(
    ms_rows: float, ms_cols: float, ms_rest: float, shape: tuple[int, ...], level: float
) -> tuple[float, float, float]:
    """ICC(A,1) and its interval by Satterthwaite's degrees of freedom; McGraw and Wong, table 7."""
    n, k = shape
    value = (ms_rows - ms_rest) / (ms_rows + (k - 1) * ms_rest + k / n * (ms_cols - ms_rest))
    if value == 1:
        return 1.0, 1.0, 1.0
    a = k * value / (n * (1 - value))
    b = 1 + k * value * (n - 1) / (n * (1 - value))
    top = (a * ms_cols + b * ms_rest) ** 2
    bottom = (a * ms_cols) ** 2 / (k - 1) + (b * ms_rest) ** 2 / ((n - 1) * (k - 1))
    df = top / bottom if bottom else 1.0
    upper_f = float(stats.f.ppf((1 + level) / 2, n - 1, df))
    lower_f = float(stats.f.ppf((1 + level) / 2, df, n - 1))
    others = k * ms_cols + (k * n - k - n) * ms_rest
    low = n * (ms_rows - upper_f * ms_rest) / (upper_f * others + n * ms_rows)
    high = n * (lower_f * ms_rows - ms_rest) / (others + n * lower_f * ms_rows)
    return value, low, high
