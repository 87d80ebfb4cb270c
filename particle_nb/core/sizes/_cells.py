"""Cells of a table in a text file: how they are cut apart, and the numbers in them."""

from __future__ import annotations

import csv
import math
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from particle_nb.core.errors import DataError
from particle_nb.core.files import read_regular
from particle_nb.core.sizes._headings import LENGTH, MICROMETRES, units_in

PAN = re.compile(r"\b(pan|boden|bottom|tray|receiver|siebpfanne|auffangschale)\b", re.IGNORECASE)


_BODY = (
    r"(?:[1-9]\d{0,2}(?:['’\u00a0\u202f ]\d{3})+(?:[.,]\d+)?|\d[\d.,]*|[.,]\d+)(?:[eE][+-]?\d+)?"
)

CELL = re.compile(
    rf"(?P<side>[<>≤≥]=?|[-+])?\s?(?P<body>{_BODY})\s?(?P<unit>%|g|kg|mesh|{LENGTH}|in\.?|\"|”|″)?",
    re.IGNORECASE,
)

RANGE = re.compile(
    rf"(?P<low>{_BODY})\s?(?P<lowunit>{LENGTH})?\s?(?:-|–|—|\.\.\.?|to|bis)\s?"
    rf"(?P<high>{_BODY})\s?(?P<unit>{LENGTH})?",
    re.IGNORECASE,
)

FRACTION = re.compile(
    r"(?:(?P<whole>\d+)[\s-])?(?P<top>\d+)/(?P<bottom>\d+)\s?(?P<unit>in\.?|inch(?:es)?|\"|”|″)?",
    re.IGNORECASE,
)

NUMBERED = re.compile(
    r"(?:(?:us|u\.s\.|astm|sieve)\s){0,2}(?:no\.?|nr\.?|#|mesh)\s?(?P<number>\d{1,3})(?:\s?mesh)?"
    r"|(?P<mesh>\d{1,3})\s?(?:mesh|#)",
    re.IGNORECASE,
)


def is_number_cell(cell: str) -> bool:
    return len(cell) <= 60 and bool(CELL.fullmatch(cell))


def is_value_cell(cell: str) -> bool:
    """Whether a cell is a number, a class of sizes, a sieve or the pan."""
    if len(cell) > 60 or not cell:
        return False
    return any(pattern.fullmatch(cell) for pattern in (CELL, RANGE, FRACTION, NUMBERED)) or bool(
        PAN.search(cell)
    )


_THREE = re.compile(r"[1-9]\d{0,2}([.,])\d{3}")


def decimal_sign(columns: Sequence[Sequence[str]], path: Path) -> str:
    """Return the decimal sign of a block of cells, by all of them together.

    ``1,000`` alone is one or a thousand; what else stands in the block tells. Where nothing does,
    it is a thousand if only that keeps a column in order, and refused otherwise.

    Raises
    ------
    DataError
        If cells contradict each other or nothing tells.

    Examples
    --------
    >>> decimal_sign([["0,063", "1,000"], ["4", "100"]], Path("a.csv"))
    ','
    """
    votes: dict[str, str] = {}
    unsure: dict[str, str] = {}
    for cell in (cell for column in columns for cell in column):
        for body in _bodies(cell):
            vote = _vote(body)
            if vote in (".", ","):
                votes.setdefault(vote, cell)
            elif vote:
                unsure.setdefault(vote[1], cell)
    if len(votes) == 2:
        raise DataError(
            f"{path} has numbers with a decimal point ({votes['.']!r}) and with a decimal comma "
            f"({votes[',']!r}); pass decimal='.' or decimal=','."
        )
    if votes:
        return next(iter(votes))
    if not unsure:
        return "."
    cell = next(iter(unsure.values()))
    told = set()
    for column in columns:
        if any(_THREE.fullmatch(body) for c in column for body in _bodies(c)):
            ways = {sign: in_order([cell_number(c, sign) for c in column]) for sign in ".,"}
            told |= {sign for sign in ".," if ways[sign] and not ways["," if sign == "." else "."]}
    if len(told) == 1:
        return told.pop()
    if set(unsure) == {"."} and not told:
        return "."
    raise DataError(
        f"{path}: {cell!r} may be a thousand or have three decimals, and nothing else in the table "
        "tells; pass decimal='.' or decimal=','."
    )


def _bodies(cell: str) -> list[str]:
    match = CELL.fullmatch(cell) if len(cell) <= 60 else None
    if match:
        return [match["body"].strip()]
    match = RANGE.fullmatch(cell) if len(cell) <= 60 else None
    return [match["low"].strip(), match["high"].strip()] if match else []


def _vote(body: str) -> str:
    """``"."`` or ``","`` for a number that tells its decimal sign, ``"?,"`` for 1,000, else ""."""
    body = re.sub(r"[eE].*|[\s'’]", "", body)
    signs = re.findall(r"[.,]", body)
    if not signs:
        return ""
    other = {".": ",", ",": "."}
    if len(set(signs)) == 2:
        return signs[-1]
    if len(signs) > 1:
        return other[signs[0]]
    return "?" + signs[0] if _THREE.fullmatch(body) else signs[0]


def in_order(values: list[float]) -> bool:
    known = [v for v in values if math.isfinite(v)]
    steps = np.diff(known)
    return len(known) > 1 and bool((steps > 0).all() or (steps < 0).all())


def cell_number(cell: str, decimal: str) -> float:
    match = CELL.fullmatch(cell) if len(cell) <= 60 else None
    if match is None:
        return math.nan
    value = number_of(match["body"], decimal)
    return -value if match["side"] == "-" else value


def number_of(body: str, decimal: str) -> float:
    """The number of a body of digits; NaN where its signs do not fit the decimal sign."""
    body = re.sub(r"['’\s]", "", body)
    number, _, power = re.split(r"([eE])", body, maxsplit=1) if re.search("[eE]", body) else (
        body, "", "")  # fmt: skip
    thousands = "," if decimal == "." else "."
    if not re.fullmatch(
        rf"(\d+|\d{{1,3}}(?:\{thousands}\d{{3}})+)?(?:\{decimal}\d*)?", number
    ) or not re.search(r"\d", number):
        return math.nan
    number = number.replace(thousands, "").replace(decimal, ".")
    try:
        return float(number + ("e" + power if power else ""))
    except (ValueError, OverflowError):
        return math.nan


def decoded(data: bytes, path: Path) -> str:
    """Return the text of a file in UTF-8, UTF-16 or Windows-1252, with or without a mark.

    Raises
    ------
    DataError
        If it is no text.
    """
    if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return data.decode("utf-16", errors="replace")
    if b"\0" in data:
        # without a mark: Latin letters have their zero in every second byte
        even, odd = data[0::2][:4000].count(0), data[1::2][:4000].count(0)
        half = len(data[:8000]) / 2
        if odd > 0.4 * half and even < 0.05 * half:
            return data.decode("utf-16-le", errors="replace")
        if even > 0.4 * half and odd < 0.05 * half:
            return data.decode("utf-16-be", errors="replace")
        raise DataError(f"{path} is no text; export the distribution as CSV.")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        return data.decode("cp1252", errors="replace")


def _blank_cells(line: str) -> list[str]:
    """Cells of a line whose columns are set apart by blanks; units and sieves stay with numbers."""
    return re.split(r"[ \t]{2,}|[ \t](?=[-+.<>\d])", line.strip())


def worded(line: str, width: int) -> list[str]:
    """Headings of a line set apart by blanks, cut so that there is one for each column."""
    for cut in (r"\s{2,}", r"(?<=[\])%])\s+", r"\s+"):
        heads = re.split(cut, line.strip())
        if len(heads) == width:
            return heads
    return []


def _against(cell: str) -> float:
    """How much a cell that is no value counts against the separator that cut it out."""
    return 2.0 if re.search(r"[\t;|]", cell) else 0.5 if cell else 0.0


def _separated(text: str) -> tuple[list[list[str]], str]:
    """Return the cells of each line under the separator that finds most values, and it."""
    lines = [line for line in text.splitlines() if line.strip()]
    best, chosen, name = 0.0, [], ""
    for separator in ("\t", ";", "|", ",", " "):
        if separator != " " and separator not in text:
            continue
        if separator == " " and best and name != ",":
            continue  # blanks beside tabs or semicolons are part of words and of thousands
        if separator == " ":
            rows = [_blank_cells(line) for line in lines]
        else:
            try:
                rows = [[c.strip() for c in row] for row in csv.reader(lines, delimiter=separator)]
            except csv.Error:
                continue
        score = 0.0
        for row in rows:
            values = sum(map(is_value_cell, row))
            labels = sum(bool(PERCENTILE.fullmatch(c)) for c in row if len(c) <= 60)
            if values >= 2 or (values and labels):
                # words between the numbers count against a separator
                score += values + labels - sum(_against(c) for c in row if not is_value_cell(c))
        if score > best:
            best, chosen, name = score, rows, separator
    return chosen, name


def read_grid(path: Path) -> tuple[list[list[str]], str]:
    """Return the cells of a text file, or of the fullest sheet of an Excel file; the separator.

    Raises
    ------
    DataError
        If the file cannot be read, is empty or no text.
    """
    data, _ = read_regular(path, _LARGEST)
    if not data.strip():
        raise DataError(f"{path} is empty.")
    if data[:4] == b"PK\x03\x04":
        from particle_nb.core.workbooks import read_sheets

        sheets = read_sheets(path)
        return max(sheets.values(), key=lambda rows: sum(map(len, rows)), default=[]), ""
    text = decoded(data, path)
    cells, separator = _separated(text)
    # where no separator cuts values apart, a line is one cell
    return cells or [[line.strip()] for line in text.splitlines() if line.strip()], separator


PERCENTILE = re.compile(
    r"(?:[dx]\s?[_\[(]?\s?(?:[vnx]|[vn],|v\s?,)?\s?|[dx][vnx]\s?[_(\[]?|percentile\s|perzentil\s)"
    # x10,3 is the tenth percentile of Q3; a comma before another digit is a decimal sign
    r"(?P<p>0?[.,]\d+|\d{1,2}(?:\.\d+|,[4-9]\d*|,\d{2,})?)\s?%?\s?[\])]?(?:,\s?(?P<r>[0-3]))?"
    r"(?:\s?[\[(/]?\s?(?P<unit>nm|µm|μm|um|mm)[\])]?)?",
    re.IGNORECASE,
)

_LARGEST = 2**20  # bytes: no export of one distribution comes near, and every cell is looked at

#: US sieve numbers and their openings in um (ASTM E11).
MESH = {
    4: 4750, 5: 4000, 6: 3350, 7: 2800, 8: 2360, 10: 2000, 12: 1700, 14: 1400, 16: 1180,
    18: 1000, 20: 850, 25: 710, 30: 600, 35: 500, 40: 425, 45: 355, 50: 300, 60: 250, 70: 212,
    80: 180, 100: 150, 120: 125, 140: 106, 170: 90, 200: 75, 230: 63, 270: 53, 325: 45, 400: 38,
    450: 32, 500: 25, 635: 20,
}  # fmt: skip

#: Tyler numbers and their openings in um.
TYLER = {
    4: 4750, 5: 4000, 6: 3350, 7: 2800, 8: 2360, 9: 2000, 10: 1700, 12: 1400, 14: 1180, 16: 1000,
    20: 850, 24: 710, 28: 600, 32: 500, 35: 425, 42: 355, 48: 300, 60: 250, 65: 212, 80: 180,
    100: 150, 115: 125, 150: 106, 170: 90, 200: 75, 250: 63, 270: 53, 325: 45, 400: 38, 500: 25,
}  # fmt: skip


_BETWEEN = re.compile(r"[-−]\s?\d{1,3}\s?/?\s?\+\s?(\d{1,3})(?:\s?mesh)?", re.IGNORECASE)


def opening(
    cell: str, decimal: str, heading: str, role: str, numbers: dict[int, int], path: Path
) -> float:
    """The opening of a sieve in um: by number, in inches, or a length with its unit."""
    if not cell or len(cell) > 60:
        return math.nan
    if PAN.search(cell):
        return 0.0
    if match := NUMBERED.fullmatch(cell):
        number = int(match["number"] or match["mesh"])
        if number not in numbers:
            raise DataError(f"{path}: there is no sieve number {number} in {heading!r}.")
        return float(numbers[number])
    if role == "mesh" and (match := _BETWEEN.fullmatch(cell)):
        # -18+35 passes 18 and lies on 35, which is the size that what lies on it is named by
        return opening(match[1], decimal, heading, role, numbers, path)
    if match := FRACTION.fullmatch(cell):
        if int(match["bottom"]) == 0:
            return math.nan
        return 25_400 * (int(match["whole"] or 0) + int(match["top"]) / int(match["bottom"]))
    match = CELL.fullmatch(cell)
    if match is None:
        return math.nan
    value = number_of(match["body"], decimal)
    side = match["side"] or ""
    if match["unit"] and match["unit"].lower() in MICROMETRES:
        return value * MICROMETRES[match["unit"].lower()]
    units = units_in(heading)
    if role != "mesh" and len(units) == 1:
        return value * {"nm": 1e-3, "um": 1.0, "mm": 1e3, "cm": 1e4, "inch": 25_400}[units.pop()]
    if role == "mesh" and side[:1] in ("<", "-"):
        return 0.0  # what passes the finest sieve, as -325 is written
    if role == "mesh" and value == 0:
        return 0.0
    if role == "mesh" and value in numbers:
        return float(numbers[int(value)])
    if math.isfinite(value):
        raise DataError(
            f"{path}: {cell!r} under {heading!r} is no sieve number that is known and has no unit; "
            "write the openings in um."
        )
    return math.nan
