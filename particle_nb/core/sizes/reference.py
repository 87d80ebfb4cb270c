"""Size distributions of other instruments: `ReferenceDistribution`, `read_distribution`."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from particle_nb.core.errors import DataError
from particle_nb.core.image import METRES
from particle_nb.core.sizes._tables import Table, read_table
from particle_nb.core.sizes.curves import Density, log_density, percent, unit_factor


@dataclass(frozen=True, eq=False)
class ReferenceDistribution:
    """A cumulative distribution Q_r at given sizes, as instruments export it.

    Parameters
    ----------
    x : float array (K,)
        Sizes in `unit`, strictly increasing, at least two.
    cumulative : float array (K,)
        Q_r there, 0 to 1, not decreasing.
    r : 0, 1, 2 or 3
        Type of quantity: 0 number, 3 volume or mass.
    unit : str
    source : str
        Shown in legends; the file's name.
    notes : tuple of str
        What the reader assumed or corrected.

    Raises
    ------
    DataError
        If sizes do not increase or Q_r falls or leaves 0..1.

    Examples
    --------
    >>> ref = ReferenceDistribution([1.0, 10.0, 100.0], [0.0, 0.5, 1.0], 3, "um")
    >>> round(ref.percentile(50), 6), ref.Q(10.0)
    (10.0, 0.5)
    """

    x: np.ndarray
    cumulative: np.ndarray
    r: int
    unit: str
    source: str = ""
    notes: tuple[str, ...] = field(default=())

    def __post_init__(self) -> None:
        try:
            x, c = np.array(self.x, float), np.array(self.cumulative, float)
        except (TypeError, ValueError):
            raise DataError("sizes and cumulative shares of a reference are numbers.") from None
        if x.ndim != 1 or len(x) < 2 or x.shape != c.shape:
            raise DataError("a reference needs two or more sizes and one share for each.")
        if not (np.isfinite(x).all() and (x > 0).all() and (np.diff(x) > 0).all()):
            raise DataError("the sizes of a reference are positive and strictly increasing.")
        if not np.isfinite(c).all() or (np.diff(c) < -1e-9).any():
            raise DataError("the cumulative share of a reference never falls with size.")
        if c[0] < -1e-9 or c[-1] > 1 + 1e-9 or c[-1] <= c[0]:
            raise DataError(
                f"the cumulative share of a reference runs within 0..1, not {c[0]:g} to {c[-1]:g}."
            )
        if self.r not in (0, 1, 2, 3) or isinstance(self.r, bool):
            raise DataError(f"r is 0 (number), 1, 2 or 3 (volume), not {self.r!r}.")
        if self.unit not in METRES:
            raise DataError(f"unit is one of {', '.join(METRES)}, not {self.unit!r}.")
        c = np.clip(np.maximum.accumulate(c), 0, 1)
        for array in (x, c):
            array.flags.writeable = False
        object.__setattr__(self, "x", x)
        object.__setattr__(self, "cumulative", c)
        object.__setattr__(self, "notes", tuple(self.notes))

    def to(self, unit: str) -> ReferenceDistribution:
        """Return the distribution in another unit of length."""
        return replace(self, x=self.x * unit_factor(self.unit, unit), unit=unit)

    def Q(self, x: float | Sequence[float] | np.ndarray) -> Any:
        """Return Q_r below x, 0 to 1: straight between the given points over ln x."""
        try:
            at = np.asarray(x, float)
        except (TypeError, ValueError):
            raise DataError(f"Q is asked at sizes, not at {x!r}.") from None
        with np.errstate(divide="ignore", invalid="ignore"):
            found = np.interp(np.log(at), np.log(self.x), self.cumulative)
        return found if at.ndim else float(found)

    def percentile(self, p: float | Sequence[float] | np.ndarray) -> Any:
        """Return x_{p,r}; p in per cent; NaN where the data do not reach that share."""
        share = percent(p) / 100
        c = self.cumulative
        # sizes within a flat stretch carry nothing: its first and last point bound it
        keep = np.r_[True, (np.diff(c[:-1]) > 0) | (np.diff(c[1:]) > 0), True]
        found = np.interp(share, c[keep], np.log(self.x[keep]), left=np.nan, right=np.nan)
        return np.exp(found) if share.ndim else float(np.exp(found))

    def q(self, per: str = "ln x") -> Density:
        """Return the density q_r over the logarithm of size between the given points."""
        return log_density(self.x, np.diff(self.cumulative), self.r, self.unit, per)

    @property
    def span(self) -> float:
        """Width (x_90 - x_10) / x_50."""
        low, middle, high = self.percentile([10, 50, 90])
        return float((high - low) / middle)

    def __repr__(self) -> str:
        low, middle, high = self.percentile([10, 50, 90])
        return (
            f"<ReferenceDistribution Q_{self.r} {self.source!r}, {len(self.x)} points, "
            f"x_10 {low:.4g}, x_50 {middle:.4g}, x_90 {high:.4g} {self.unit}>"
        )


def read_distribution(
    path: str | Path,
    unit: str | None = None,
    r: int | None = None,
    classes: str | None = None,
) -> ReferenceDistribution:
    """Read a size distribution exported by another instrument from a text file.

    Understood are cumulative tables (dynamic image analysis: x_o, Q3, q3lg; laser diffraction:
    size, undersize or oversize %), tables of volume-% or number-% by class, and sieve analyses
    (opening or US mesh number with mass retained, % retained or % passing). Separators are
    semicolon, tab, comma or blanks; decimal point or comma; any number of lines before the table;
    UTF-8, UTF-16 or Windows-1252. A cumulative column is preferred to a density.

    Parameters
    ----------
    path : str or Path
    unit : str or None
        Unit of the sizes; None reads it from the headings. Mesh numbers are turned into um.
    r : 0, 1, 2, 3 or None
        Type of quantity; None reads it from the headings (Q3, volume, mass, number), else 3, and
        says so in `notes`.
    classes : "upper", "lower", "centre" or None
        Which size of its class a row of shares names. None goes by the headings and by where the
        odd value is missing; sieves are lower limits, all else is taken as centres.

    Returns
    -------
    ReferenceDistribution

    Raises
    ------
    DataError
        If the file cannot be read, or has no such table or no unit.

    Examples
    --------
    >>> import tempfile
    >>> file = Path(tempfile.mkdtemp()) / "sieve.csv"
    >>> _ = file.write_text("Opening (mm);Passing (mass %)\\n0,5;10\\n1,0;60\\n2,0;100\\n")
    >>> read_distribution(file)
    <ReferenceDistribution Q_3 'sieve.csv', 3 points, x_10 0.5, x_50 0.8706, x_90 1.682 mm>
    """
    try:
        path = Path(path)
    except TypeError:
        raise DataError(f"path names a file, not {path!r}.") from None
    if classes not in (None, "upper", "lower", "centre"):
        raise DataError(f"classes is 'upper', 'lower', 'centre' or None, not {classes!r}.")
    table = read_table(path)
    size, value = table.size(), table.share()
    found_unit = "um" if size.role == "mesh" else unit or table.unit(size.heading)
    notes: list[str] = []
    if r is None:
        r, notes = table.quantity(value.heading)
    if value.role == "share":
        limits, c, more = _from_classes(table, classes)
        notes += more
    else:
        keep = np.isfinite(size.values) & np.isfinite(value.values) & (size.values > 0)
        limits, y = _increasing(size.values[keep], value.values[keep], path)
        c = _cumulative(value.role, y, path)
    made = ReferenceDistribution(limits, c, r, found_unit, path.name, tuple(notes))
    return made if unit is None else made.to(unit)


def _increasing(x: np.ndarray, y: np.ndarray, path: Path) -> tuple[np.ndarray, np.ndarray]:
    order = np.argsort(x, kind="stable")
    x, y = x[order], y[order]
    if len(x) < 2 or (np.diff(x) <= 0).any():
        raise DataError(f"{path}: a size stands twice, or fewer than two rows are complete.")
    return x, y


def _cumulative(role: str, y: np.ndarray, path: Path) -> np.ndarray:
    """Return Q from a cumulative column in per cent or as a share; "R" is the oversize."""
    share = y / (100.0 if np.abs(y).max() > 1.5 else 1.0)
    if role == "R":
        share = 1 - share
    if (share < -0.005).any() or (share > 1.005).any():
        raise DataError(f"{path}: a cumulative share leaves 0..100 %.")
    if (np.diff(share) < -0.005).any():
        raise DataError(
            f"{path}: the cumulative share falls with size; is it a density or an oversize?"
        )
    return np.clip(np.maximum.accumulate(share), 0, 1)


def _from_classes(table: Table, classes: str | None) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Return class limits, Q there and notes from a column of shares or of densities."""
    size, value = table.size(), table.share()
    x, y, notes = size.values, value.values, []
    given = np.isfinite(x)
    odd = given & ~np.isfinite(y)
    place = classes or ("lower" if table.is_sieve() else size.role)
    if place == "size":
        if odd.sum() == 1 and (odd[0] or odd[-1]):
            # one limit more than there are shares: it is the first or the last of them
            place = "lower" if x[odd][0] == x[given].max() else "upper"
        else:
            place = "centre"
            notes.append("shares by size without class limits: sizes taken as class centres")
    if (y[np.isfinite(y)] < 0).any():
        raise DataError(f"{table.path}: a share is negative.")
    keep = given & np.isfinite(y) & (x > 0)
    pan = float(y[given & np.isfinite(y) & (x == 0)].sum())  # finer than the finest sieve
    if not np.isfinite(y).any() or not y[keep].sum() > 0:
        raise DataError(f"{table.path}: all shares are 0.")
    partner = table.first("upper" if place == "lower" else "lower")
    ends = x[odd] if partner is None else partner.values[keep]
    x, y = _increasing(x[keep], y[keep], table.path)
    if place == "centre":
        inner = np.sqrt(x[1:] * x[:-1])
        limits = np.r_[x[0] ** 2 / inner[0], inner, x[-1] ** 2 / inner[-1]]
    elif place == "lower":
        above = ends[ends > x[-1]]
        limits = np.r_[x, above.max() if len(above) else x[-1] ** 2 / x[-2]]
    else:
        below = ends[(ends > 0) & (ends < x[0])]
        limits = np.r_[below.min() if len(below) else x[0] ** 2 / x[1], x]
    if table.is_density():
        y = y * np.diff(np.log(limits))
    elif 50 < pan + y.sum() < 98 and not table.is_sieve():
        notes.append(f"shares sum to {pan + y.sum():.3g}; scaled to 100 %")
    c = (pan + np.r_[0.0, np.cumsum(y)]) / (pan + y.sum())
    if not math.isfinite(c[-1]):
        raise DataError(f"{table.path}: the shares do not add up to a finite number.")
    return limits, c, notes
