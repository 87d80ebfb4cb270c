"""Size distributions of other instruments: `ReferenceDistribution`, `read_distribution`."""

from __future__ import annotations

import math
import re
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from particle_nb.core.errors import DataError
from particle_nb.core.image import METRES
from particle_nb.core.sizes._columns import Column, Layout, Table
from particle_nb.core.sizes._headings import KINDS, PER_LENGTH, units_in
from particle_nb.core.sizes._tables import read_table
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
        """Return Q_r below x, 0 to 1, of its shape: straight between the given points over ln x."""
        try:
            at = np.asarray(x, float)
        except (TypeError, ValueError):
            raise DataError(f"Q is asked at sizes, not at {x!r}.") from None
        with np.errstate(divide="ignore", invalid="ignore"):
            found = np.interp(np.log(at), np.log(self.x), self.cumulative)
        return found if at.ndim else float(found)

    def percentile(self, p: float | Sequence[float] | np.ndarray) -> Any:
        """Return x_{p,r} of the shape of p, in per cent; NaN where the data do not reach it."""
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


class ReferenceWarning(UserWarning):
    """Something in the table of another instrument had to be guessed."""


def read_distribution(
    path: str | Path,
    unit: str | None = None,
    r: int | None = None,
    classes: str | None = None,
    *,
    columns: tuple[str | int, str | int] | None = None,
    kind: str | None = None,
    decimal: str | None = None,
) -> ReferenceDistribution:
    """Read a size distribution exported by another instrument from a text or Excel file.

    Understood are cumulative tables (dynamic image analysis: x_o, Q3, q3lg; laser diffraction:
    size, undersize or oversize %), tables of volume-% or number-% by class, tables of percentiles,
    and sieve analyses (opening in mm, um or inch, phi, US or Tyler mesh number, with mass retained,
    % retained or % passing), with German or English headings. Pages folded beside each other are
    joined, tables with the sizes across are turned. Separators are tab, semicolon, comma or blanks;
    decimal point or comma, with thousands; any number of lines before the table; UTF-8, UTF-16 or
    Windows-1252; ``.xlsx`` with openpyxl. A cumulative column is preferred to a density.

    Parameters
    ----------
    path : str or Path
    unit : str or None
        Unit of the sizes; None reads it from the headings. Mesh numbers and phi are turned into um.
    r : 0, 1, 2, 3 or None
        Type of quantity; None reads it from the headings (Q3, volume, mass, number), else 3, and
        says so in `notes`.
    classes : "upper", "lower", "centre" or None
        Which size of its class a row of shares names. None goes by the headings and by where the
        odd value is missing; sieves are lower limits, all else is taken as centres.
    columns : (str or int, str or int) or None
        Column of the sizes and column of the values, by heading or by number from 0.
    kind : "undersize", "oversize", "share", "density" or None
        What the values are, where the headings do not say it.
    decimal : "." or "," or None
        Decimal sign, where nothing in the table tells it.

    Returns
    -------
    ReferenceDistribution

    Raises
    ------
    DataError
        If the file cannot be read, has no such table or no unit, or could mean several things; the
        message says what was seen and which parameter settles it.

    Warns
    -----
    ReferenceWarning
        If something was guessed; it also stands in `notes`.

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
    table = read_table(path, _layout(columns, kind, decimal))
    value = table.share(r)
    size = table.size(value)
    found_unit, notes = _unit_of(table, size, unit), []
    if r is None:
        r, guessed = table.quantity(value.heading)
        notes += guessed
    role, guessed = _what(size, value, kind, path)
    notes += guessed
    value = Column(role, value.values, value.heading)
    if role in ("share", "density"):
        limits, c, more = _from_classes(table, size, value, classes, kind)
    else:
        limits, c, more = _from_sums(table, size, value)
    notes += more
    factor = 1.0
    if found_unit not in METRES:  # inches
        factor, found_unit = 25.4, "mm"
    made = ReferenceDistribution(limits * factor, c, r, found_unit, path.name, tuple(notes))
    for note in notes:
        warnings.warn(f"{path.name}: {note}", ReferenceWarning, stacklevel=2)
    return made if unit is None or unit not in METRES else made.to(unit)


def _layout(columns: Any, kind: Any, decimal: Any) -> Layout:
    """What the caller says of the file, checked."""
    if kind is not None and kind not in KINDS:
        raise DataError(f"kind is one of {', '.join(map(repr, KINDS))} or None, not {kind!r}.")
    if decimal not in (None, ".", ","):
        raise DataError(f"decimal is '.' or ',' or None, not {decimal!r}.")
    if columns is not None:
        pair = tuple(columns) if isinstance(columns, (list, tuple)) else ()
        if len(pair) != 2 or not all(
            isinstance(name, (str, int)) and not isinstance(name, bool) for name in pair
        ):
            raise DataError(
                f"columns is (size, value), each a heading or a number from 0, not {columns!r}."
            )
        columns = pair
    return Layout(columns, kind, decimal)


def _unit_of(table: Table, size: Column, unit: str | None) -> str:
    """The unit of the sizes: the heading's, or else the caller's."""
    if unit is None or size.unit:
        return table.unit(size)
    seen = units_in(size.heading)
    if seen and unit not in seen:
        found = seen.pop()
        raise DataError(
            f"{table.path}: the heading {size.heading!r} says {found}, and unit={unit!r} was "
            f"passed; leave unit out, and convert with .to({unit!r}) if you want that."
        )
    return unit


def _what(size: Column, value: Column, kind: str | None, path: Path) -> tuple[str, list[str]]:
    """Role of the values: what the headings leave open is told by the values themselves.

    Shares of a class cannot sum to far more than 100 %, so a column that runs to 100 % and stays
    in order is a sum, rising with the size below it, falling above it.
    """
    if kind is not None:
        return value.role, []
    keep = np.isfinite(size.values) & np.isfinite(value.values)
    y = value.values[keep][np.argsort(size.values[keep], kind="stable")]
    if len(y) < 2:
        return value.role, []
    steps = np.diff(y)
    rises, falls = bool((steps >= 0).all()), bool((steps <= 0).all())
    if value.role == "cumulative":
        if rises == falls:
            raise DataError(
                f"{path}: {value.heading!r} neither rises nor falls with the size throughout; pass "
                "kind= as 'undersize', 'oversize', 'share' or 'density'."
            )
        if rises:
            return "Q", []
        return "R", [f"{value.heading!r} falls with the size: taken as oversize"]
    total, most = float(y.sum()), float(y.max())
    heading = value.heading.lower()
    runs_to_whole = abs(most - 100) <= 1.5 or abs(most - 1) <= 0.015
    if value.role not in ("share", "density"):
        return value.role, []
    # an oversize need not begin at the whole, but it ends at nothing
    runs_out = falls and y[-1] <= 0.005 * most and most <= 100.5 and "%" in heading
    if not ((runs_to_whole and (rises or falls)) or runs_out) or len(y) < 4:
        return value.role, []
    if total <= 1.3 * (100 if most > 1.5 else 1):
        return value.role, []
    # so many grams or particles may well rise to a hundred
    if re.search(r"\bk?g\b|count|number|anzahl|stück", heading) and "%" not in heading:
        return value.role, []
    what = "undersize" if rises else "oversize"
    return ("Q" if rises else "R"), [
        f"{value.heading!r} runs to {most:.4g} and sums to {total:.4g}: taken as {what}"
    ]


def _increasing(x: np.ndarray, y: np.ndarray, path: Path) -> tuple[np.ndarray, np.ndarray]:
    order = np.argsort(x, kind="stable")
    x, y = x[order], y[order]
    if len(x) < 2 or (np.diff(x) <= 0).any():
        raise DataError(f"{path}: a size stands twice, or fewer than two rows are complete.")
    return x, y


def _from_sums(
    table: Table, size: Column, value: Column
) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Return sizes, Q there and notes from a cumulative column."""
    given = np.isfinite(size.values) & np.isfinite(value.values)
    if not given.any():
        raise DataError(f"{table.path}: no row has a size and a value.")
    whole, notes = _whole(value, float(np.abs(value.values[given]).max()))
    keep = given & (size.values > 0)
    limits, y = _increasing(size.values[keep], value.values[keep], table.path)
    return limits, _cumulative(value, y / whole, table.path), notes


def _whole(value: Column, most: float) -> tuple[float, list[str]]:
    """What stands for 100 % in a cumulative column."""
    if re.search(r"%|percent(?!il)|prozent", value.heading.lower()):
        if 0.985 <= most <= 1.005:
            return 1.0, [
                f"{value.heading!r} runs to {most:.4g}: taken as shares of 1, not per cent"
            ]
        return 100.0, []
    if most <= 1.005:
        return 1.0, []
    if re.search(r"[\[(,/ ]k?g\b|count|anzahl", value.heading.lower()):
        return most, [f"{value.heading!r} is no share: {most:.4g} is taken as the whole"]
    return 100.0, []


def _cumulative(value: Column, share: np.ndarray, path: Path) -> np.ndarray:
    """Return Q from a cumulative column of shares; "R" is the oversize."""
    if value.role == "R":
        share = 1 - share
    if (share < -0.005).any() or (share > 1.005).any():
        raise DataError(f"{path}: the cumulative share {value.heading!r} leaves 0..100 %.")
    if (np.diff(share) < -0.005).any():
        way, other = ("falls", "oversize") if value.role == "Q" else ("rises", "undersize")
        raise DataError(
            f"{path}: the cumulative share {value.heading!r} {way} with size; is it a density or "
            f"an {other}? Pass kind='{other}', 'share' or 'density'."
        )
    return np.clip(np.maximum.accumulate(share), 0, 1)


def _from_classes(
    table: Table, size: Column, value: Column, classes: str | None, kind: str | None
) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Return class limits, Q there and notes from a column of shares or of densities."""
    x, y, notes = size.values, value.values, []
    given = np.isfinite(x)
    odd = given & ~np.isfinite(y)
    sieve = table.is_sieve(size, value)
    role = "size" if size.role in ("mesh", "phi") else size.role
    place = classes or ("lower" if sieve and role != "upper" else role)
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
    if partner is size:
        partner = None
    pan_limit = math.nan
    if partner is not None and place == "lower" and pan > 0:
        pan_limit = float(np.nanmax(np.where(given & (x == 0), partner.values, np.nan)))
    ends = x[odd] if partner is None else partner.values[keep]
    ends = ends[np.isfinite(ends)]
    x, y = _increasing(x[keep], y[keep], table.path)
    if place == "centre":
        inner = np.sqrt(x[1:] * x[:-1])
        limits = np.r_[x[0] ** 2 / inner[0], inner, x[-1] ** 2 / inner[-1]]
    elif place == "lower":
        above = ends[ends > x[-1] * (1 + 1e-9)]
        if not len(above) and y[-1] > 0 and not (sieve and table.first("mesh", "phi")):
            notes.append(f"no size above {x[-1]:g} bounds the last class: one as wide was taken")
        limits = np.r_[x, above.max() if len(above) else x[-1] ** 2 / x[-2]]
    else:
        below = ends[(ends > 0) & (ends < x[0] * (1 - 1e-9))]
        limits = np.r_[below.min() if len(below) else x[0] ** 2 / x[1], x]
    if partner is not None and place in ("lower", "upper"):
        _adjoining(table, size, partner)
    if math.isfinite(pan_limit) and abs(pan_limit / limits[0] - 1) > 0.01:
        raise DataError(
            f"{table.path}: the finest class ends at {pan_limit:g} and the next begins at "
            f"{limits[0]:g}; is a class missing?"
        )
    total = pan + float(y.sum())
    if value.role == "density" and (kind == "density" or not _is_whole(total)):
        y = _shares_of(y, limits, value, table, kind)
        total = pan + float(y.sum())
    elif re.search(r"%|percent(?!il)|prozent", value.heading.lower()) and total > 102:
        raise DataError(
            f"{table.path}: {value.heading!r} sums to {total:.4g} %; is it cumulative or a "
            "density? Pass kind='undersize', 'oversize' or 'density', or columns=."
        )
    elif 50 < total < 98 and not sieve:
        notes.append(f"shares sum to {total:.3g}; scaled to 100 %")
    c = (pan + np.r_[0.0, np.cumsum(y)]) / total
    if not math.isfinite(c[-1]):
        raise DataError(f"{table.path}: the shares do not add up to a finite number.")
    return limits, c, notes


def _is_whole(total: float) -> bool:
    return 98 <= total <= 102 or 0.98 <= total <= 1.02


def _adjoining(table: Table, size: Column, partner: Column) -> None:
    """Classes with gaps or overlaps make no distribution."""
    low, high = sorted((size, partner), key=lambda column: column.role)
    both = np.isfinite(low.values) & np.isfinite(high.values) & (low.values > 0)
    a, b = low.values[both], high.values[both]
    order = np.argsort(a, kind="stable")
    a, b = a[order], b[order]
    if (b <= a).any() or not np.allclose(a[1:], b[:-1], rtol=0.02):
        raise DataError(
            f"{table.path}: the classes between {size.heading!r} and {partner.heading!r} do not "
            "adjoin; pass columns=(size, value) with classes='lower' or 'upper'."
        )


def _shares_of(
    y: np.ndarray, limits: np.ndarray, value: Column, table: Table, kind: str | None
) -> np.ndarray:
    """Shares of classes from their densities, over the size or its logarithm.

    The heading tells which (``q3lg``, ``q3 [1/mm]``), or else the one that integrates to the whole.
    """
    widths = {
        "log10 x": np.diff(np.log10(limits)),
        "ln x": np.diff(np.log(limits)),
        "x": np.diff(limits),
    }
    heading = value.heading.lower()
    if re.search(r"lg|log|\*", heading):
        # one constant more or less cancels when the shares are scaled to the whole
        return y * widths["log10 x"]
    if re.search(r"(?<![a-z])d?ln|q_?\d?ln", heading):
        return y * widths["ln x"]
    if PER_LENGTH.search(heading):
        return y * widths["x"]
    fits = [name for name, w in widths.items() if _near_whole(float((y * w).sum()))]
    if len(fits) == 1:
        return y * widths[fits[0]]
    if kind == "density" or re.search(r"density|dichte", heading):
        return y * widths["log10 x"]
    raise DataError(
        f"{table.path}: the density {value.heading!r} does not say over what it is one (the size "
        "or its logarithm) and integrates to the whole over neither; name a cumulative column with "
        "columns=."
    )


def _near_whole(total: float) -> bool:
    return 95 <= total <= 105 or 0.95 <= total <= 1.05
