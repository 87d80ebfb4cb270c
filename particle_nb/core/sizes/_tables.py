"""The table of a size distribution in a text file, found and told apart by its headings."""

from __future__ import annotations

import csv
import math
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from particle_nb.core.errors import DataError

#: US sieve numbers and their openings in um (ASTM E11).
MESH = {
    4: 4750, 5: 4000, 6: 3350, 7: 2800, 8: 2360, 10: 2000, 12: 1700, 14: 1400, 16: 1180,
    18: 1000, 20: 850, 25: 710, 30: 600, 35: 500, 40: 425, 45: 355, 50: 300, 60: 250, 70: 212,
    80: 180, 100: 150, 120: 125, 140: 106, 170: 90, 200: 75, 230: 63, 270: 53, 325: 45, 400: 38,
    450: 32, 500: 25, 635: 20,
}  # fmt: skip

# What a column is, by its heading; the first that fits decides. German beside English.
_SHARES = (
    ("R", r"cum.*(retain|oversize|residue|>)|oversize|^r_?\d?\b|rückstandssumme|> ?%|% ?over"
          r"|over ?%"),
    ("Q", r"cum|undersize|passing|durchgang|summe|finer|under|% ?<|< ?%"),
    ("share", r"retain|rückstand|density|dichte|diff|freq|mass|masse|weight|gewicht|vol|%|percent"
              r"|count|number|anzahl"),
)  # fmt: skip

_PLACES = (
    ("mesh", r"\bmesh\s*(no|number|#|nr)|^(us )?mesh$|sieve\s*(no\b|number|#)"),
    ("lower", r"\bx_?u\b|low|from|untere|\bmin"),
    ("upper", r"\bx_?o\b|upp|obere|\bmax|\bto\b"),
    ("centre", r"\bx_?m\b|mid|mean|cent|mitte"),
    ("size", r"size|diam|^[xd]\b|opening|aperture|maschen|größe|durchmesser|sieve|sieb|mesh"
             r"|[µμu]m"),
)  # fmt: skip

_UNIT = re.compile(r"(?<![a-zµμ])(nm|µm|μm|um|micron|microns|mm)(?![a-z])", re.IGNORECASE)

_NUMBER = re.compile(r"[<>≤≥]?[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?%?")

_PAN = re.compile(r"\b(pan|boden|bottom|tray)\b", re.IGNORECASE)


@dataclass(frozen=True, eq=False)
class Column:
    """One column of numbers: what it is, its values (NaN for none) and its heading."""

    role: str
    values: np.ndarray
    heading: str


@dataclass(frozen=True, eq=False)
class Table:
    """The block of numbers in a file, and the text before it.

    Parameters
    ----------
    path : Path
    columns : tuple of Column
    text : str
        All lines above the numbers.
    """

    path: Path
    columns: tuple[Column, ...]
    text: str

    def first(self, *roles: str) -> Column | None:
        """Return the first column of the first of these roles that there is."""
        found = (column for role in roles for column in self.columns if column.role == role)
        return next(found, None)

    def share(self) -> Column:
        """Return the cumulative column, or else the one with shares or densities."""
        found = self.first("Q", "R", "share")
        if found is None:
            raise DataError(
                f"{self.path}: no column is headed as a share (Q3, cumulative, passing, retained, "
                f"volume %, ...); the headings are {[c.heading for c in self.columns]}."
            )
        return found

    def size(self) -> Column:
        """Return the column of sizes; cumulative values belong to upper limits."""
        classes = self.share().role == "share"
        order = ("lower", "upper", "centre", "size") if classes else ("upper", "size", "lower")
        found = self.first("mesh", *order, "centre")
        if found is None:
            raise DataError(
                f"{self.path}: no column is headed as a size (x, size, diameter, opening, mesh, "
                f"...); the headings are {[c.heading for c in self.columns]}."
            )
        if found.role != "mesh":
            return found
        numbers = [MESH.get(v, math.nan) if v else 0.0 for v in np.nan_to_num(found.values, nan=-1)]
        return Column("mesh", np.array(numbers), found.heading)

    def is_sieve(self) -> bool:
        """Whether what lies on a size is coarser than it."""
        text = f"{self.size().heading} {self.share().heading}".lower()
        return bool(re.search(r"sieve|sieb|mesh|opening|aperture|maschen|retain|rückstand", text))

    def is_density(self) -> bool:
        """Whether the shares are per logarithmic width; shares themselves sum to 100 %."""
        column = self.share()
        total = float(np.nansum(column.values))
        named = re.match(r"q_?\d|.*(density|dichte)", column.heading, re.IGNORECASE)
        return bool(named) and not (98 <= total <= 102 or 0.98 <= total <= 1.02)

    def unit(self, heading: str) -> str:
        """Return the unit that the sizes' heading, the other headings or the text name."""
        for text in (heading, " ".join(column.heading for column in self.columns), self.text):
            units = {
                {"nm": "nm", "mm": "mm"}.get(match.lower(), "um") for match in _UNIT.findall(text)
            }
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
        digit = re.match(r"[qr]_?([0-3])", heading, re.IGNORECASE)
        if digit:
            return int(digit[1]), []
        for text in (heading.lower(), self.text.lower()):
            if re.search(r"vol|mass|weight|gewicht", text):
                return 3, []
            if re.search(r"\bnumber|anzahl|count", text):
                return 0, []
        if self.is_sieve():
            return 3, []
        return 3, [f"{heading!r} names no type of quantity: taken as volume (r = 3)"]


def _decode(path: Path) -> str:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror or error}.") from None
    if not data.strip():
        raise DataError(f"{path} is empty.")
    try:
        wide = data[:2] in (b"\xff\xfe", b"\xfe\xff")
        return data.decode("utf-16" if wide else "utf-8-sig")
    except UnicodeDecodeError:
        if b"\0" in data:
            raise DataError(f"{path} is no text; export the distribution as CSV.") from None
        return data.decode("cp1252", errors="replace")


def _number(cell: str, comma: bool) -> float:
    """Read a cell; NaN for no number, 0 for the pan under a stack of sieves."""
    text = re.sub(r"\s", "", cell)
    if comma and "," in text:
        text = text.replace(".", "").replace(",", ".")
    elif re.fullmatch(r"\d{1,3}(,\d{3})+(\.\d*)?", text):
        text = text.replace(",", "")
    if _NUMBER.fullmatch(text):
        return float(text.strip("<>≤≥%"))
    return 0.0 if _PAN.search(cell) else math.nan


def _split(text: str) -> tuple[list[list[str]], list[list[float]]]:
    """Return cells and numbers of each line under the reading that finds most of them."""
    lines = [line for line in text.splitlines() if line.strip()]
    best, cells, numbers = 0, [], []
    for separator, comma in ((";", False), (";", True), ("\t", False), ("\t", True), (",", False),
                             (" ", False), (" ", True)):  # fmt: skip
        if separator == " ":
            rows = [re.split(r"\s{2,}|\s(?=[-+.<>\d])", line.strip()) for line in lines]
        else:
            try:
                rows = [[c.strip() for c in row] for row in csv.reader(lines, delimiter=separator)]
            except csv.Error:
                continue
        values = [[_number(cell, comma) for cell in row] for row in rows]
        score = sum(n for row in values if (n := sum(map(math.isfinite, row))) >= 2)
        if score > best:
            best, cells, numbers = score, rows, values
    return cells, numbers


def _role(heading: str) -> str:
    if re.match(r"[Qq]_?[0-3]", heading):  # Q3 is cumulative, q3 a density
        return "Q" if heading[0] == "Q" else "share"
    text = heading.lower()
    a_length = _UNIT.search(text) and "%" not in text and "1/" not in text
    for role, pattern in (*_PLACES, *_SHARES) if a_length else (_PLACES[0], *_SHARES, *_PLACES):
        if re.search(pattern, text):
            return role
    return ""


def read_table(path: Path) -> Table:
    """Find the table in a text file: the longest run of lines with two numbers or more.

    Raises
    ------
    DataError
        If the file cannot be read or holds no such run under a line of headings.
    """
    cells, numbers = _split(_decode(path))
    counts = [sum(map(math.isfinite, row)) for row in numbers]
    start, end, k = 0, 0, 0
    while k < len(counts):
        run = k
        # a lone number continues a table: the last class limit has no share
        while k < len(counts) and (counts[k] >= 2 or (counts[k] == 1 and k > run)):
            k += 1
        if k - run > end - start:
            start, end = run, k
        k = max(k, run + 1)
    # one may also open it, if it stands in a column of numbers and not in a line of text
    if 0 < start < len(cells) and counts[start - 1] == 1 and math.isfinite(numbers[start - 1][0]):
        start -= 1
    if end - start < 2:
        raise DataError(
            f"{path} holds no table of a size distribution: two or more lines with a size and a "
            "share (Q3, volume %, mass retained or passing), under headings."
        )
    width = max(len(row) for row in cells[start:end])
    title = next((row for row in reversed(cells[:start]) if sum(map(bool, row)) >= 2), [])
    # a line of units may stand between the headings and the numbers
    over = next(
        (row for row in reversed(cells[: max(start - 1, 0)]) if sum(map(bool, row)) >= 2), []
    )
    if title and not any(_role(cell) in ("Q", "R", "share") for cell in title if not _bare(cell)):
        title = [
            f"{over[c] if c < len(over) else ''} {title[c] if c < len(title) else ''}".strip()
            for c in range(max(len(over), len(title)))
        ]
    columns = []
    for c in range(width):
        heading = title[c].strip('" ') if c < len(title) else ""
        values = [row[c] if c < len(row) else math.nan for row in numbers[start:end]]
        columns.append(Column(_role(heading), np.array(values), heading))
    return Table(path, tuple(columns), "\n".join(" ".join(row) for row in cells[:start]))


def _bare(cell: str) -> bool:
    """Whether a heading is only a unit or a per cent sign."""
    return bool(re.fullmatch(r"[\[(/\s]*(%|nm|µm|μm|um|mm|microns?)[\])\s]*", cell, re.IGNORECASE))
