"""Pieces of every size distribution: densities, reading off percentiles, units and checks."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from particle_nb.core.errors import DataError
from particle_nb.core.image import METRES

#: How a percentile is read between particles; see `SizeDistribution`.
CONVENTIONS = ("midpoint", "step", "linear")
#: What a distribution of each type of quantity counts by.
QUANTITY = {0: "number", 1: "length", 2: "area", 3: "volume"}
#: Units that the name of a length may end in.
UNITS = ("px", *METRES)


@dataclass(frozen=True)
class Density:
    """A log-binned density: what share of the quantity lies in each class of size.

    Parameters
    ----------
    edges : float array (K + 1,)
        Class limits, increasing, in `unit`.
    density : float array (K,)
        dQ_r / d ln x (or d log10 x, see `per`): class widths on a log axis make up for heights.
    r : int
        0 number, 3 volume.
    unit : str
    per : "ln x" or "log10 x"
    """

    edges: np.ndarray
    density: np.ndarray
    r: int
    unit: str
    per: str

    @property
    def centres(self) -> np.ndarray:
        """Geometric middle of each class, float (K,)."""
        return np.sqrt(self.edges[1:] * self.edges[:-1])

    @property
    def shares(self) -> np.ndarray:
        """Share dQ_r of each class, float (K,); they sum to at most 1."""
        return self.density * _log_widths(self.edges, self.per)


def _log_widths(edges: np.ndarray, per: str) -> np.ndarray:
    return np.diff(np.log(edges) if per == "ln x" else np.log10(edges))


def log_density(edges: np.ndarray, shares: np.ndarray, r: int, unit: str, per: str) -> Density:
    """Make a `Density` from class limits, float (K + 1,), and the share of each class, float (K,).

    Raises
    ------
    DataError
        If the limits do not increase or `per` is unknown.
    """
    if per not in ("ln x", "log10 x"):
        raise DataError(f"per is 'ln x' or 'log10 x', not {per!r}.")
    edges = class_limits(edges)
    return Density(edges, shares / _log_widths(edges, per), r, unit, per)


def percent(p: Any) -> np.ndarray:
    """Return percentages as a float array of their shape after checking that they lie in 0..100.

    Raises
    ------
    DataError
        If one does not.
    """
    try:
        values = np.asarray(p, float)
    except (TypeError, ValueError):
        raise DataError(f"percentiles are numbers from 0 to 100, not {p!r}.") from None
    if values.ndim > 1 or not ((values >= 0) & (values <= 100)).all():
        raise DataError(f"percentiles lie between 0 and 100 per cent, not {p!r}.")
    return values


def steps(x: np.ndarray, v: np.ndarray, convention: str) -> tuple[np.ndarray, np.ndarray]:
    """Return sizes and the cumulative share reached there, equal sizes taken as one.

    Parameters
    ----------
    x, v : float arrays (N,)
        Sizes, increasing, and amounts.
    convention : str
        "midpoint" takes half of a size's own share, the others all of it.

    Returns
    -------
    Two float arrays (M,), M <= N.

    Examples
    --------
    >>> [values.tolist() for values in steps(np.array([1.0, 2, 2]), np.ones(3), "step")]
    [[1.0, 2.0], [0.3333333333333333, 1.0]]
    """
    first = np.flatnonzero(np.r_[True, x[1:] > x[:-1]])
    if len(first) < len(x):
        x, v = x[first], np.add.reduceat(v, first)
    c = np.cumsum(v)
    return x, (c - v / 2 if convention == "midpoint" else c) / c[-1]


def read_off(x: np.ndarray, v: np.ndarray, share: np.ndarray, convention: str) -> np.ndarray:
    """Return the sizes at cumulative shares, float of the shape of `share`.

    `x` and `v`, float (N,), are sizes in increasing order and amounts above 0.
    """
    x, c = steps(x, v, convention)
    if convention == "step":
        # a share that is reached up to rounding is reached
        return x[np.minimum(np.searchsorted(c, share - 1e-12), len(x) - 1)]
    return np.interp(share, c, x)


def unit_factor(unit: str, to: str) -> float:
    """Return what a length in one unit is multiplied with to have it in another.

    Raises
    ------
    DataError
        If there is no way between them, as from px to um without a calibration.
    """
    if unit == to:
        return 1.0
    if unit not in METRES or to not in METRES:
        raise DataError(
            f"a length in {unit} cannot be given in {to}; units of length are {', '.join(METRES)}."
        )
    return float(f"{METRES[unit] / METRES[to]:.12g}")


def positive(values: Any, what: str) -> np.ndarray:
    """Return values as a new float array (N,) after checking that all are positive and finite.

    Raises
    ------
    DataError
        If one is not, or there is none; `what` names them.
    """
    try:
        array = np.asarray(values, float)
    except (TypeError, ValueError):
        raise DataError(
            f"{what} are numbers, not {type(values).__name__} {values!r:.80}."
        ) from None
    if array.ndim != 1 or array.size == 0:
        raise DataError(f"{what} are a non-empty sequence of numbers, not of shape {array.shape}.")
    bad = ~(np.isfinite(array) & (array > 0))
    if bad.any():
        first = int(np.flatnonzero(bad)[0])
        raise DataError(
            f"{what} are positive finite numbers; {int(bad.sum())} are not, the first is "
            f"{array[first]} at position {first}. Drop those rows (see the column 'flag')."
        )
    return array.copy()


def class_limits(values: Any) -> np.ndarray:
    """Return two or more increasing positive sizes as a float array (K,), or raise `DataError`."""
    edges = positive(values, "class limits")
    if len(edges) < 2 or not (np.diff(edges) > 0).all():
        raise DataError("class limits are two or more increasing sizes.")
    return edges


def log_classes(x: np.ndarray, bins: Any) -> np.ndarray:
    """Return the limits of classes of equal width in the logarithm of size, float (K + 1,).

    Parameters
    ----------
    x : float array (N,)
        Sizes, increasing; all of them lie inside.
    bins : int, class limits or None
        Number of classes, None for 2 N^(1/3) (Rice) between 5 and 40; limits are only checked.

    Raises
    ------
    DataError
        If the number lies outside 1 to 100000, or the limits do not increase.

    Examples
    --------
    >>> log_classes(np.array([1.0, 4.0]), 2).round(6).tolist()
    [1.0, 2.0, 4.0]
    """
    if bins is None:
        bins = int(np.clip(round(2 * len(x) ** (1 / 3)), 5, 40))
    if isinstance(bins, bool) or not isinstance(bins, (int, np.integer)):
        return class_limits(bins)
    count = int(bins)
    if not 1 <= count <= 100_000:
        raise DataError(f"bins is a number of classes from 1 to 100000, not {bins!r}.")
    low, high = math.log(x[0]), math.log(x[-1])
    if high - low < 1e-9:  # all of one size: one class of some width around it
        low, high = low - 0.05, high + 0.05
    edges = np.exp(np.linspace(low, high, count + 1))
    # exp(log(x)) may fall short of x: the extreme particles belong inside
    edges[0], edges[-1] = min(edges[0], x[0]), max(edges[-1], x[-1])
    return edges


def moment_mean(x: np.ndarray, weights: np.ndarray, p: float, q: float) -> float:
    """Return D[p, q] of sizes with number weights, float (N,) each; see `SizeDistribution.mean`.

    Raises
    ------
    DataError
        If p or q is no number from -50 to 50.

    Examples
    --------
    >>> round(moment_mean(np.array([1.0, 3.0]), np.ones(2), 1, 0), 9)
    2.0
    """
    for name, value in (("p", p), ("q", q)):
        if isinstance(value, bool) or not isinstance(value, (int, float, np.number)):
            raise DataError(f"D[p, q] takes two numbers, not {name} = {value!r}.")
        if not math.isfinite(value) or abs(value) > 50:
            raise DataError(f"D[p, q] takes powers from -50 to 50, not {name} = {value!r}.")
    logs = np.log(x)
    if p == q:
        terms = weights * np.exp(p * (logs - logs.max()))
        return float(np.exp((terms * logs).sum() / terms.sum()))
    total = [_log_sum(weights, power * logs) for power in (float(p), float(q))]
    return float(np.exp((total[0] - total[1]) / (p - q)))


def _log_sum(weights: np.ndarray, exponents: np.ndarray) -> float:
    top = exponents.max()
    return float(top + np.log((weights * np.exp(exponents - top)).sum()))


def size_column(table: pd.DataFrame, size: str) -> tuple[str, str]:
    """Return the one column of a table of `measure` that holds a size, and its unit.

    Raises
    ------
    DataError
        If there is none, or several.

    Examples
    --------
    >>> size_column(pd.DataFrame({"x_px": [7.0], "x_A_um": [3.0]}), "x_A")
    ('x_A_um', 'um')
    """
    # places of the centroid end in _px as well, and are no sizes
    columns = [str(name) for name in table.columns if name not in ("x_px", "y_px")]
    ending = re.fullmatch(rf"(.+)_({'|'.join(UNITS)})", size)
    if ending and size in columns:
        return size, ending[2]
    found = [(name, unit) for unit in UNITS for name in columns if name == f"{size}_{unit}"]
    if len(found) == 1:
        return found[0]
    if found:
        raise DataError(
            f"the table has {size!r} in several units ({', '.join(name for name, _ in found)}); "
            "measure all images with the same unit=, or name the column."
        )
    sizes = [name for name in columns if re.search(rf"_({'|'.join(UNITS)})$", name)]
    raise DataError(
        f"the table has no size {size!r}; its lengths are {', '.join(sizes) or 'none'}."
    )
