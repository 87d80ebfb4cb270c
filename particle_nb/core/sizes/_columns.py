"""What a table of a size distribution holds: columns with roles, units and what they count."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from particle_nb.core.errors import DataError
from particle_nb.core.sizes._headings import SHARES, SIEVE, plain_heading, quantity_of, units_in


@dataclass(frozen=True, eq=False)
class Column:
    """One column of numbers: what it is, its values (NaN for none) and its heading.

    Parameters
    ----------
    role : str
        ``"Q"``, ``"R"``, ``"cumulative"`` (one of the two), ``"share"``, ``"density"``;
        ``"mesh"``, ``"phi"``, ``"lower"``, ``"upper"``, ``"centre"``, ``"size"``; else "".
    values : float array
    heading : str
    unit : str
        Of sizes, where cells carry one or it was turned: ``"um"``; else "".
    """

    role: str
    values: np.ndarray
    heading: str
    unit: str = ""


@dataclass(frozen=True, eq=False)
class Table:
    """The block of numbers in a file, and the text before it.

    Parameters
    ----------
    path : Path
    columns : tuple of Column
    text : str
        All lines above the numbers.
    notes : tuple of str
        What had to be guessed to read the numbers.
    """

    path: Path
    columns: tuple[Column, ...]
    text: str
    notes: tuple[str, ...] = field(default=())

    @property
    def headings(self) -> list[str]:
        """Headings of all columns, as they stand."""
        return [column.heading for column in self.columns]

    def first(self, *roles: str) -> Column | None:
        """Return the first column of the first of these roles that there is."""
        found = (column for role in roles for column in self.columns if column.role == role)
        return next(found, None)

    def share(self, r: int | None = None) -> Column:
        """Return the cumulative column, or else the one with shares or densities.

        Raises
        ------
        DataError
            If there is none, or several fit and nothing tells which.
        """
        for role in SHARES:
            found = [column for column in self.columns if column.role == role]
            for keep in (
                lambda c: r is not None and quantity_of(c.heading) == r,
                lambda c: quantity_of(c.heading) == 3,
                lambda c: bool(re.search(r"retain|r(ü|ue)ckst", plain_heading(c.heading))),
                lambda c: "%" in c.heading,
            ):
                if len(found) > 1:
                    found = [column for column in found if keep(column)] or found
            if len(found) > 1:
                names = ", ".join(repr(column.heading) for column in found)
                raise DataError(
                    f"{self.path} has {len(found)} columns that may be meant ({names}); "
                    f"pass columns=({self._size_heading()!r}, {found[0].heading!r})."
                )
            if found:
                return found[0]
        raise DataError(
            f"{self.path}: no column is headed as a share (Q3, cumulative, passing, retained, "
            f"volume %, ...); the headings are {self.headings}. Pass columns=(size, value) and "
            "kind='undersize', 'oversize', 'share' or 'density'."
        )

    def _size_heading(self) -> str:
        found = self.first("mesh", "phi", "upper", "size", "lower", "centre")
        return found.heading if found is not None else "size"

    def size(self, value: Column) -> Column:
        """Return the column of sizes; cumulative values belong to upper limits.

        Raises
        ------
        DataError
            If there is none.
        """
        classes = value.role in ("share", "density")
        order = ("lower", "upper", "centre", "size") if classes else ("upper", "size", "lower")
        found = self.first("mesh", "phi", *order, "centre")
        if found is None:
            raise DataError(
                f"{self.path}: no column is headed as a size (x, size, diameter, opening, mesh, "
                f"...); the headings are {self.headings}. Pass columns=(size, value)."
            )
        return found

    def is_sieve(self, *columns: Column) -> bool:
        """Whether what lies on a size is coarser than it."""
        text = " ".join(plain_heading(column.heading) for column in columns)
        return bool(re.search(SIEVE, text)) or any(c.role in ("mesh", "phi") for c in columns)

    def unit(self, size: Column) -> str:
        """Return the unit that the sizes' heading, the other headings or the text name.

        Raises
        ------
        DataError
            If there is none, or several.
        """
        if size.unit:
            return size.unit
        for text in (size.heading, " ".join(self.headings), self.text):
            units = units_in(text)
            if len(units) == 1:
                return units.pop()
            if units:
                raise DataError(
                    f"{self.path} names several units ({', '.join(sorted(units))}); pass unit=."
                )
        raise DataError(
            f"{self.path} names no unit of size; pass it: read_distribution(path, unit='um')."
        )

    def quantity(self, heading: str) -> tuple[int, list[str]]:
        """Return r from the heading of the shares or the text, and a note where it is guessed."""
        r = quantity_of(heading)
        if r is not None:
            return r, []
        # "number" in free text counts measurements, so there it has to stand with the distribution
        text = plain_heading(self.text)
        near = r"[^\n]{0,40}(distrib|verteil|basis|base|weight|result|dichte|densit|art\b|type)"
        for r, word in ((3, "vol"), (3, "mass"), (0, "number"), (0, "anzahl"), (2, "surface")):
            if re.search(
                rf"\b{word}\w*{near}|(distrib|verteil|basis|base)[^\n]{{0,40}}{word}", text
            ):
                return r, []
        sieve = any(
            re.search(SIEVE + "|passing|durchgang", plain_heading(h)) for h in self.headings
        )
        if sieve or any(column.role in ("mesh", "phi") for column in self.columns):
            return 3, []
        return 3, [f"{heading!r} names no type of quantity: taken as volume (r = 3)"]


@dataclass(frozen=True)
class Layout:
    """What the caller says of a file, each None where it is to be read from the file.

    Parameters
    ----------
    columns : tuple of 2 str or int
        Column of the sizes and column of the values, by heading or by number from 0.
    kind : str
        One of `KINDS`: what the values are.
    decimal : str
        ``"."`` or ``","``.
    """

    columns: tuple[str | int, str | int] | None = None
    kind: str | None = None
    decimal: str | None = None
