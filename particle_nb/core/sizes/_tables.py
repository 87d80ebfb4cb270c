"""The table of a size distribution in a text file, found and told apart by its headings."""

from __future__ import annotations

import csv
import itertools
import math
import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from particle_nb.core.errors import DataError
from particle_nb.core.files import read_regular

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

#: What a caller may say that a column of values is.
KINDS = ("undersize", "oversize", "share", "density")

_MICROMETRES = {
    "nm": 1e-3, "µm": 1.0, "μm": 1.0, "um": 1.0, "micron": 1.0, "microns": 1.0, "mm": 1e3,
    "cm": 1e4, "in": 25_400.0, "in.": 25_400.0, "inch": 25_400.0, "inches": 25_400.0,
    "zoll": 25_400.0, '"': 25_400.0, "”": 25_400.0, "″": 25_400.0, "micrometer": 1.0,
    "micrometers": 1.0, "micrometre": 1.0, "micrometres": 1.0, "mikrometer": 1.0,
    "nanometer": 1e-3, "millimeter": 1e3, "millimetre": 1e3, "mikron": 1.0,
}  # fmt: skip

_LENGTH = (
    r"nm|µm|μm|um|mm|cm|microns?|mikron|mi[ck]romet(?:er|re)s?|nanomet(?:er|re)s?"
    r"|millimet(?:er|re)s?|inch(?:es)?|zoll"
)

_UNIT = re.compile(rf"(?<![a-zµμ])({_LENGTH})(?![a-z²³])", re.IGNORECASE)

# "in" is a word too, so it is a unit in brackets or after a number only
_INCH = re.compile(r"[\[(]\s?(in\.?|\"|”|″)\s?[\])]", re.IGNORECASE)

PER_LENGTH = re.compile(rf"(?:1|%)\s?/\s?(?:{_LENGTH})|(?:{_LENGTH})\s?(?:-1|⁻¹|\^-1)")

_PAN = re.compile(r"\b(pan|boden|bottom|tray|receiver|siebpfanne|auffangschale)\b", re.IGNORECASE)

# what a heading says, in lower case and without accents on digits; the first that fits decides
_INDEX = (
    r"^(no|nr|n°|#|index|i|lfd\.? ?nr|row|line|record|id|channel|kanal|klasse|class|bin)"
    r"\.?\s?(#|no|nr|number|nummer)?\.?$|channel (number|no\b|#)|kanal(nummer| ?nr)"
)

_OVER = (
    r"over ?size|überkorn|ueberkorn|coarser|gr(ö|oe)(ß|ss)er|greater|larger|bigger|above"
    r"|\bover\b|(cum|kum|total|accum|summe|sum of|akkum).*(retain|r(ü|ue)ckst|residue|refus)"
    r"|(retain|r(ü|ue)ckst|residue|refus).*(cum|kum|summe|total|accum|akkum)"
    r"|(1|100) ?%? ?[-−–] ?[qdf]|% ?>|> ?%|cum[^<]*>|ccdf|survival|>\s?(size|x\b|d\b|stated)"
    r"|^r_?[0-3r]?(\(x\))? ?([\[(/,%]|in %|$)"
)

_UNDER = (
    r"under|below|finer|smaller|\bless|pass|durchgang|unterkorn|kleiner|feiner|tamisat"
    r"|% ?<|< ?%|cum.*<|<\s?(size|x\b|d\b|stated)|^[df]\(x\)"
)

_CUMULATIVE = r"cum|kum|\bcdf\b|summe|accumul|akkumul|perzentil|percentile|quantil|distribution fu"

_SHARE = (
    r"retain|r(ü|ue)ckst|residue|refus|density|dichte|diff|freq|h(ä|ae)ufig|mass|masse|weight"
    r"|gewicht|vol|%|percent|prozent|count|number|anzahl|anteil|fraction|fraktion|share|pdf"
    r"|^[pm]_?[0-3]|^(d|δ|delta) ?q|histogram"
)

_PLACES = (
    ("phi", r"\bphi\b|[φϕ]"),
    ("mesh", r"\bmesh\s*(no|number|#|nr)|^(us |u\.s\. |tyler |astm )*mesh\b|mesh$|tyler"
             r"|sieve\s*(no\b|number|#)|sieb(nummer|\s?nr)|^(us |u\.s\. |astm )+(std|standard|s)"),
    ("lower", r"\bx_?u\b|\blow|from\b|\bvon\b|untere|untergr|(\b|_)min\b|≥"),
    ("upper", r"\bx_?o\b|upp|obere|obergr|(\b|_)max\b|\bto\b|\bbis\b"),
    ("centre", r"\bx_?m\b|mid|mean|cent|mitte|mittel|average"),
    ("lower", r"size class|gr(ö|oe)(ß|ss)enklasse|kornklasse"),
    ("size", r"size|diam|^[xd](_?[a-z]{1,4})?\b|opening|aperture|maschen|gr(ö|oe)(ß|ss)e"
             r"|durchmesser|sieve|sieb|mesh|korn|klasse|class|lochweite|tamis|bin\b"),
)  # fmt: skip

_SIEVE = r"sieve|sieb|mesh|opening|aperture|maschen|retain|r(ü|ue)ckstand|phi|[φϕ]|tamis|lochweite"

_SHARES = ("Q", "R", "cumulative", "share", "density")


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
        for role in _SHARES:
            found = [column for column in self.columns if column.role == role]
            for keep in (
                lambda c: r is not None and quantity_of(c.heading) == r,
                lambda c: quantity_of(c.heading) == 3,
                lambda c: bool(re.search(r"retain|r(ü|ue)ckst", _plain(c.heading))),
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
        text = " ".join(_plain(column.heading) for column in columns)
        return bool(re.search(_SIEVE, text)) or any(c.role in ("mesh", "phi") for c in columns)

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
        text = _plain(self.text)
        near = r"[^\n]{0,40}(distrib|verteil|basis|base|weight|result|dichte|densit|art\b|type)"
        for r, word in ((3, "vol"), (3, "mass"), (0, "number"), (0, "anzahl"), (2, "surface")):
            if re.search(
                rf"\b{word}\w*{near}|(distrib|verteil|basis|base)[^\n]{{0,40}}{word}", text
            ):
                return r, []
        sieve = any(re.search(_SIEVE + "|passing|durchgang", _plain(h)) for h in self.headings)
        if sieve or any(column.role in ("mesh", "phi") for column in self.columns):
            return 3, []
        return 3, [f"{heading!r} names no type of quantity: taken as volume (r = 3)"]


def quantity_of(heading: str) -> int | None:
    """Return r as a heading of shares names it, or None.

    Examples
    --------
    >>> quantity_of("Q0 [%]"), quantity_of("Diff. Volume %"), quantity_of("Passing (%)")
    (0, 3, None)
    """
    text = _plain(heading)
    digit = re.search(r"(?:^|[^a-z])(?:[qrp]|d ?q|δ ?q)_?([0-3])", text)
    if digit:
        return int(digit[1])
    if re.search(r"vol|mass|weight|gewicht|\(?\bk?g\b", text):
        return 3
    if re.search(r"\bnumber|anzahl|count|partikelzahl", text):
        return 0
    return 2 if re.search(r"surface|oberfl", text) else None


def units_in(text: str) -> set[str]:
    """Return the units of length that a text names, each as ``"nm"``, ``"um"`` or ``"mm"`` etc.

    Examples
    --------
    >>> units_in("Opening [mm]"), units_in("Size (in.)"), units_in("Volume In %")
    ({'mm'}, {'inch'}, set())
    """
    # a density per length names no unit of the sizes
    text = PER_LENGTH.sub(" ", unicodedata.normalize("NFKC", text).lower())
    names = {_MICROMETRES[match.lower()] for match in _UNIT.findall(text)}
    names |= {25_400.0 for _ in _INCH.findall(text)}
    return {{1e-3: "nm", 1.0: "um", 1e3: "mm", 1e4: "cm", 25_400.0: "inch"}[v] for v in names}


def _plain(heading: str) -> str:
    """A heading in lower case, with plain digits, single blanks and no quotes."""
    return re.sub(r"\s+", " ", unicodedata.normalize("NFKC", heading).lower()).strip(" \"'")


def role_of(heading: str) -> str:
    """Return what a column is by its heading, "" where nothing tells.

    Examples
    --------
    >>> role_of("Q3 [%]"), role_of("% Pass"), role_of("Kumulierter Rückstand (%)"), role_of("xo/µm")
    ('Q', 'Q', 'R', 'upper')
    """
    text = _plain(heading)
    if not text or re.search(_INDEX, text):
        return ""
    given = unicodedata.normalize("NFKC", heading).strip(" \"'")
    if re.match(r"Q_?[0-3r]?(?![a-z])", given):
        return "Q"  # the capital is the sum, the small letter its density
    if re.match(r"q_?[0-3r]?(lg|ln|log|\*)?(?![a-z])", given):
        return "share" if re.match(r"q ?[\[(]?%[\])]?$", given) else "density"
    if re.search(r"^(d|δ|delta) ?[qvnmws]\w{0,8} ?/ ?(d|δ|delta)", text):
        return "density"
    a_length = bool(units_in(text)) and "%" not in text and not PER_LENGTH.search(text)
    if a_length:
        # "Size class" with a unit of length is a size even where "class" or "under" stands in it
        found = next((role for role, pattern in _PLACES[2:] if re.search(pattern, text)), "")
        return found or ("" if re.search(r"\bmean|median|mode|std|dev", text) else "size")
    if any(re.search(pattern, text) for role, pattern in _PLACES[:2]):
        return next(role for role, pattern in _PLACES if re.search(pattern, text))
    for role, pattern in (("R", _OVER), ("Q", _UNDER), ("cumulative", _CUMULATIVE)):
        if re.search(pattern, text):
            return role
    if re.search(_SHARE, text):
        return "density" if re.search(r"density|dichte|pdf", text) else "share"
    return next((role for role, pattern in _PLACES if re.search(pattern, text)), "")


# --------------------------------------------------------------------------- numbers in cells

_BODY = (
    r"(?:[1-9]\d{0,2}(?:['’\u00a0\u202f ]\d{3})+(?:[.,]\d+)?|\d[\d.,]*|[.,]\d+)(?:[eE][+-]?\d+)?"
)

_CELL = re.compile(
    rf"(?P<side>[<>≤≥]=?|[-+])?\s?(?P<body>{_BODY})\s?(?P<unit>%|g|kg|mesh|{_LENGTH}|in\.?|\"|”|″)?",
    re.IGNORECASE,
)

_RANGE = re.compile(
    rf"(?P<low>{_BODY})\s?(?P<lowunit>{_LENGTH})?\s?(?:-|–|—|\.\.\.?|to|bis)\s?"
    rf"(?P<high>{_BODY})\s?(?P<unit>{_LENGTH})?",
    re.IGNORECASE,
)

_FRACTION = re.compile(
    r"(?:(?P<whole>\d+)[\s-])?(?P<top>\d+)/(?P<bottom>\d+)\s?(?P<unit>in\.?|inch(?:es)?|\"|”|″)?",
    re.IGNORECASE,
)

_NUMBERED = re.compile(
    r"(?:(?:us|u\.s\.|astm|sieve)\s){0,2}(?:no\.?|nr\.?|#|mesh)\s?(?P<number>\d{1,3})(?:\s?mesh)?"
    r"|(?P<mesh>\d{1,3})\s?(?:mesh|#)",
    re.IGNORECASE,
)


def _is_number(cell: str) -> bool:
    return len(cell) <= 60 and bool(_CELL.fullmatch(cell))


def _is_value(cell: str) -> bool:
    """Whether a cell is a number, a class of sizes, a sieve or the pan."""
    if len(cell) > 60 or not cell:
        return False
    return any(
        pattern.fullmatch(cell) for pattern in (_CELL, _RANGE, _FRACTION, _NUMBERED)
    ) or bool(_PAN.search(cell))


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
            ways = {sign: _ordered([_parsed(c, sign) for c in column]) for sign in ".,"}
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
    match = _CELL.fullmatch(cell) if len(cell) <= 60 else None
    if match:
        return [match["body"].strip()]
    match = _RANGE.fullmatch(cell) if len(cell) <= 60 else None
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


def _ordered(values: list[float]) -> bool:
    known = [v for v in values if math.isfinite(v)]
    steps = np.diff(known)
    return len(known) > 1 and bool((steps > 0).all() or (steps < 0).all())


def _parsed(cell: str, decimal: str) -> float:
    match = _CELL.fullmatch(cell) if len(cell) <= 60 else None
    if match is None:
        return math.nan
    value = _value(match["body"], decimal)
    return -value if match["side"] == "-" else value


def _value(body: str, decimal: str) -> float:
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


# ------------------------------------------------------------------------- text, lines, cells


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


def _worded(line: str, width: int) -> list[str]:
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
            values = sum(map(_is_value, row))
            labels = sum(bool(_PERCENTILE.fullmatch(c)) for c in row if len(c) <= 60)
            if values >= 2 or (values and labels):
                # words between the numbers count against a separator
                score += values + labels - sum(_against(c) for c in row if not _is_value(c))
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
    return _separated(decoded(data, path))


# ------------------------------------------------------------------------------- the table


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


def read_table(path: Path, layout: Layout | None = None) -> Table:
    """Find the table in a text file: the longest run of lines with two numbers or more.

    Pages that repeat the headings, below or beside each other, are joined where the sizes go on;
    a table with the sizes across is turned.

    Raises
    ------
    DataError
        If the file cannot be read or holds no such run under a line of headings.
    """
    layout = layout or Layout()
    cells, separator = read_grid(path)
    across = _results_across(cells, path, layout)
    if across is not None:
        return _chosen(across, replace(layout, columns=None))
    table = _percentiles(cells, path, layout)
    if table is None:
        title, block, above = _block(cells, path, separator)
        width = max(len(row) for row in block)
        block = [row + [""] * (width - len(row)) for row in block]
        if _across(block):
            title, block = _turned(title, block)
            width = len(title)
        title = _fitted(title, width)
        width = len(title)
        block = [row + [""] * (width - len(row)) for row in block]
        filled = sum(map(bool, title))
        if filled and all(sum(map(bool, row)) >= 2 * filled for row in block):
            raise DataError(
                f"{path}: the rows have {width} cells under {filled} headings; is the comma both "
                "separator and decimal sign? Save it with semicolons, or quote the numbers."
            )
        columns = [[row[c] for row in block] for c in range(width)]
        table = _made(title, columns, above, path, layout)
    return _chosen(table, layout)


def _block(
    cells: list[list[str]], path: Path, separator: str
) -> tuple[list[str], list[list[str]], str]:
    """The headings, the rows under them, and the text above."""
    counts = [sum(map(_is_value, row)) for row in cells]
    runs = [(start, end) for start, end in _runs(counts, cells) if end - start >= 2]
    if not runs:
        raise DataError(
            f"{path} holds no table of a size distribution: two or more lines with a size and a "
            "share (Q3, volume %, mass retained or passing), under headings."
        )
    start, end = max(runs, key=lambda run: run[1] - run[0])
    title, block = _title(cells, start), cells[start:end]
    if separator == " " and start:
        width = max(len(row) for row in block)
        title = _worded("  ".join(cells[start - 1]), width) or title
    for other, until in runs:
        # a page further down repeats the headings; its rows are those of one table
        if other > start and _title(cells, other) == title and any(title):
            block = block + cells[other:until]
    return title, block, "\n".join(" ".join(row) for row in cells[:start])


def _fitted(title: list[str], width: int) -> list[str]:
    """Headings of as many columns; a unit that the separator cut off goes back to its heading."""
    title = list(title)
    while len(title) > width and not title[-1]:
        del title[-1]
    while len(title) > width:
        bare = next((k for k in range(1, len(title)) if title[k] and _bare(title[k])), None)
        if bare is None:
            break
        title[bare - 1 : bare + 1] = [f"{title[bare - 1]} {title[bare]}"]
    return title + [""] * (width - len(title))


def _runs(counts: list[int], cells: list[list[str]]) -> Iterator[tuple[int, int]]:
    k = 0
    while k < len(counts):
        run = k
        # a lone number continues a table: the last class limit has no share
        while k < len(counts) and (counts[k] >= 2 or (counts[k] == 1 and k > run)):
            k += 1
        start = run
        # one may also open it, if it stands in a column of numbers and not in a line of text
        if k > run > 0 and counts[run - 1] == 1 and _is_number(cells[run - 1][0]):
            start -= 1
        if k > run:
            yield start, k
        k = max(k, run + 1)


def _title(cells: list[list[str]], start: int) -> list[str]:
    """The headings above a row: a line of units or of further words is joined to the one above."""
    above = [row for row in cells[:start] if sum(map(bool, row)) >= 2]
    if not above:
        return []
    title = above[-1]
    roles = {role_of(cell) for cell in title if not _bare(cell)}
    if len(above) > 1 and not (roles & {*_SHARES}):
        over = above[-2]
        title = [
            f"{over[c] if c < len(over) else ''} {title[c] if c < len(title) else ''}".strip()
            for c in range(max(len(over), len(title)))
        ]
    return [cell.strip("\" '") for cell in title]


def _bare(cell: str) -> bool:
    """Whether a heading is only a unit or a per cent sign."""
    return bool(
        re.fullmatch(rf"[\[(/\s]*(%|vol-?%|{_LENGTH}|in\.?)[\])\s]*", cell.strip(), re.IGNORECASE)
    )


def _across(block: list[list[str]]) -> bool:
    """Whether sizes stand in a row: every row begins with words, and few rows are long."""
    named = sum(bool(row[0]) and not _is_value(row[0]) for row in block)
    return named == len(block) and len(block) <= 4 and sum(map(_is_value, block[0])) > len(block)


def _turned(title: list[str], block: list[list[str]]) -> tuple[list[str], list[list[str]]]:
    rows = block
    if sum(map(_is_value, title)) >= 2:
        rows = [title, *block]
    heads = [row[0] for row in rows]
    width = max(len(row) for row in rows)
    return heads, [[row[c] if c < len(row) else "" for row in rows] for c in range(1, width)]


def _made(
    title: list[str], columns: list[list[str]], text: str, path: Path, layout: Layout
) -> Table:
    """The table of columns of cells, folded pages joined and sizes read."""
    decimal = layout.decimal or decimal_sign(columns, path)
    if layout.columns is None:
        title, columns = _unfolded(title, columns, decimal, path)
    found = []
    for heading, column in zip(title, columns, strict=True):
        found += _columns(heading, column, decimal, path)
    table = Table(path, tuple(_paired(found)), text)
    return table


def _unfolded(
    title: list[str], columns: list[list[str]], decimal: str, path: Path
) -> tuple[list[str], list[list[str]]]:
    """Blocks of equal headings beside each other are pages of one table if the sizes go on."""
    filled = [c for c, head in enumerate(title) if head or any(columns[c])]
    heads = [title[c] for c in filled]
    for period in range(2, len(heads) // 2 + 1):
        if len(heads) % period or heads != heads[:period] * (len(heads) // period):
            continue
        if not any(heads[:period]) or len(set(heads[:period])) < period:
            continue
        pages = [filled[k : k + period] for k in range(0, len(filled), period)]
        joined = [[cell for page in pages for cell in columns[page[k]]] for k in range(period)]
        place = next(
            (k for k in range(period) if role_of(heads[k]) in {role for role, _ in _PLACES}), 0
        )
        sizes = [_parsed(cell, decimal) for cell in joined[place]]
        if not _ordered(sizes):
            raise DataError(
                f"{path} has {len(pages)} tables of equal headings {heads[:period]} beside each "
                "other whose sizes do not go on from one to the next: several samples? Pass "
                f"columns=({pages[0][0]}, {pages[0][1]}) for the first."
            )
        return heads[:period], joined
    return title, columns


def _columns(heading: str, cells: list[str], decimal: str, path: Path) -> list[Column]:
    """The column of a heading, as numbers; a column of classes becomes its two limits."""
    role = role_of(heading)
    ranges = sum(bool(_RANGE.fullmatch(cell)) for cell in cells if len(cell) <= 60)
    if ranges and ranges >= 0.5 * sum(map(bool, cells)):
        low, high = zip(*(_limits(cell, decimal) for cell in cells), strict=True)
        unit = _cell_unit(cells)
        return [
            Column("lower", np.array(low), heading, unit),
            Column("upper", np.array(high), heading, unit),
        ]
    sizes = {role for role, _ in _PLACES}
    named = any(_NUMBERED.fullmatch(c) or _FRACTION.fullmatch(c) for c in cells if len(c) <= 60)
    units = {m["unit"].lower() for c in cells if (m := _CELL.fullmatch(c)) and m["unit"]}
    lengths = units & _MICROMETRES.keys()
    if role == "mesh" or ((role in sizes or not role) and (named or lengths)):
        numbers = MESH if "tyler" not in _plain(heading) else TYLER
        if re.search(r"\bbs\b|british|iso 565", _plain(heading)):
            raise DataError(
                f"{path}: {heading!r} counts another mesh than ASTM's or Tyler's; replace the "
                "numbers by openings in um."
            )
        values = [_opening(c, decimal, heading, role, numbers, path) for c in cells]
        return [Column("mesh" if role in ("", "mesh") else role, np.array(values), heading, "um")]
    values = [_checked(cell, decimal, path, heading) for cell in cells]
    if role == "phi":
        sizes_um = [1000 * 2.0 ** (-v) if abs(v) < 60 else math.nan for v in values]
        sizes_um = [0.0 if _PAN.search(c) else v for c, v in zip(cells, sizes_um, strict=True)]
        return [Column("phi", np.array(sizes_um), heading, "um")]
    return [Column(role, np.array(values), heading)]


def _cell_unit(cells: list[str]) -> str:
    found = {m["unit"].lower() for c in cells if (m := _RANGE.fullmatch(c)) and m["unit"]}
    names = set().union(*(units_in(unit) for unit in found)) if found else set()
    return names.pop() if len(names) == 1 else ""


def _limits(cell: str, decimal: str) -> tuple[float, float]:
    if match := _RANGE.fullmatch(cell):
        return _value(match["low"], decimal), _value(match["high"], decimal)
    match = _CELL.fullmatch(cell)
    side = match["side"] if match else ""
    if match and side and side[0] in "<≤":
        return 0.0, _value(match["body"], decimal)
    if match and side and side[0] in ">≥":
        return _value(match["body"], decimal), math.nan
    return (0.0, math.nan) if _PAN.search(cell) else (math.nan, math.nan)


def _opening(
    cell: str, decimal: str, heading: str, role: str, numbers: dict[int, int], path: Path
) -> float:
    """The opening of a sieve in um: by number, in inches, or a length with its unit."""
    if not cell or len(cell) > 60:
        return math.nan
    if _PAN.search(cell):
        return 0.0
    if match := _NUMBERED.fullmatch(cell):
        number = int(match["number"] or match["mesh"])
        if number not in numbers:
            raise DataError(f"{path}: there is no sieve number {number} in {heading!r}.")
        return float(numbers[number])
    if match := _FRACTION.fullmatch(cell):
        if int(match["bottom"]) == 0:
            return math.nan
        return 25_400 * (int(match["whole"] or 0) + int(match["top"]) / int(match["bottom"]))
    match = _CELL.fullmatch(cell)
    if match is None:
        return math.nan
    value = _value(match["body"], decimal)
    side = match["side"] or ""
    if match["unit"] and match["unit"].lower() in _MICROMETRES:
        return value * _MICROMETRES[match["unit"].lower()]
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


def _checked(cell: str, decimal: str, path: Path, heading: str) -> float:
    """The number of a cell; NaN for words, 0 for the pan; one of the wrong sign is refused."""
    value = _parsed(cell, decimal)
    if math.isnan(value) and _is_number(cell) and re.search(r"[.,]", cell):
        raise DataError(
            f"{path}: {cell!r} under {heading!r} is no number with the decimal sign {decimal!r}; "
            "pass decimal='.' or decimal=','."
        )
    return 0.0 if math.isnan(value) and _PAN.search(cell) else value


def _paired(columns: list[Column]) -> list[Column]:
    """Two columns of sizes beside each other, each row going on where the last ended, are limits.

    Camsizers head them with one word over both, or with the same word twice.
    """
    sizes = {role for role, _ in _PLACES}
    for k, (a, b) in enumerate(itertools.pairwise(columns)):
        if a.role not in sizes or a.role in ("mesh", "phi"):
            continue
        if b.role not in sizes and not _bare(b.heading) and b.heading:
            continue
        if {a.role, b.role} == {"lower", "upper"} and a.role == "lower":
            return columns
        both = np.isfinite(a.values) & np.isfinite(b.values)
        low, high = a.values[both], b.values[both]
        if len(low) < 2 or not (high > low).all():
            continue
        order = np.argsort(low)
        goes_on = np.isclose(high[order][:-1], low[order][1:], rtol=1e-3)
        if goes_on.mean() >= 0.8:
            lower = replace(a, role="lower")
            unit = units_in(a.heading) or units_in(b.heading)
            heading = b.heading if units_in(b.heading) else f"{b.heading} {' '.join(unit)}"
            if not units_in(a.heading) and unit:
                lower = replace(lower, heading=f"{a.heading} [{next(iter(unit))}]")
            pair = [lower, replace(b, role="upper", heading=heading.strip())]
            return [*columns[:k], *pair, *columns[k + 2 :]]
    return columns


def _chosen(table: Table, layout: Layout) -> Table:
    """The table with what the caller said of its columns."""
    columns = list(table.columns)
    if layout.columns is not None:
        size, value = (_place(table, name) for name in layout.columns)
        if size == value:
            raise DataError("columns names two columns, of the sizes and of the values.")
        roles = {"lower", "upper", "centre", "mesh", "phi"}
        for k, column in enumerate(columns):
            if k == size:
                columns[k] = replace(column, role=column.role if column.role in roles else "size")
            elif k == value:
                role = column.role if column.role in _SHARES else ""
                if not role and layout.kind is None:
                    raise DataError(
                        f"{table.path}: {column.heading!r} does not say what it is; pass kind= as "
                        f"one of {', '.join(KINDS)}."
                    )
                columns[k] = replace(column, role=role or "share")
            elif column.role not in ("lower", "upper"):
                columns[k] = replace(column, role="")
        # the other limit stays, unless both are of other tables
        if columns[size].role == "size":
            columns = [
                replace(c, role="") if c.role in ("lower", "upper") and k != size else c
                for k, c in enumerate(columns)
            ]
    if layout.kind is not None:
        role = {"undersize": "Q", "oversize": "R"}.get(layout.kind, layout.kind)
        chosen = replace(table, columns=tuple(columns)).share()
        columns = [replace(c, role=role) if c is chosen else c for c in columns]
    return replace(table, columns=tuple(columns))


def _place(table: Table, name: str | int) -> int:
    if isinstance(name, (int, np.integer)) and not isinstance(name, bool):
        if 0 <= name < len(table.columns):
            return int(name)
    elif isinstance(name, str):
        for same in (lambda h: h == name, lambda h: _plain(h) == _plain(name)):
            found = [k for k, heading in enumerate(table.headings) if same(heading)]
            if found:
                return found[0]
        if name.isdigit() and int(name) < len(table.columns):
            return int(name)
    raise DataError(f"{table.path} has no column {name!r}; there are {table.headings}.")


# ------------------------------------------------------------ sizes across, tables of percentiles

_RESULT = re.compile(r"result\s+(between|below|above|in|under|over)\b.*siz", re.IGNORECASE)


def _results_across(cells: list[list[str]], path: Path, layout: Layout) -> Table | None:
    """Mastersizer's export of results: one row a sample, the sizes in a row above."""
    for k, row in enumerate(cells):
        place = next((c for c, cell in enumerate(row) if _RESULT.search(cell)), None)
        if place is None:
            continue
        head = row[place]
        rows = [other for other in cells[k + 1 :] if len(other) > place]
        sizes = next((r for r in rows if sum(map(_is_number, r[place:])) >= 3), None)
        if sizes is None:
            return None
        end = place
        while end < len(sizes) and _is_number(sizes[end]):
            end += 1
        after = rows[[id(r) for r in rows].index(id(sizes)) + 1 :]
        samples = [r for r in after if sum(map(_is_number, r[place:end])) >= 3]
        if not samples:
            return None
        named = samples
        if layout.columns is not None:
            wanted = str(layout.columns[1])
            named = [r for r in samples if r[0] == wanted] or samples
        if len(named) > 1:
            names = ", ".join(repr(r[0]) for r in named[:6])
            raise DataError(
                f"{path} has {len(named)} samples ({names}); pass columns=('size', {named[0][0]!r})"
            )
        values = (named[0][place:end] + [""] * (end - place))[: end - place]
        word = _RESULT.search(head)
        assert word is not None
        role = {"below": "Q", "under": "Q", "above": "R", "over": "R"}.get(word[1].lower(), "share")
        columns = [sizes[place:end], values]
        decimal = layout.decimal or decimal_sign(columns, path)
        size, share = (
            np.array([_checked(cell, decimal, path, head) for cell in column]) for column in columns
        )
        return Table(
            path,
            (Column("lower" if role == "share" else "size", size, head), Column(role, share, head)),
            "\n".join(" ".join(line) for line in cells[: k + 1]),
        )
    return None


_PERCENTILE = re.compile(
    r"(?:[dx]\s?[_\[(]?\s?(?:[vnx]|[vn],|v\s?,)?\s?|[dx][vnx]\s?[_(\[]?|percentile\s|perzentil\s)"
    r"(?P<p>0?[.,]\d+|\d{1,2}(?:[.,]\d+)?)\s?%?\s?[\])]?(?:,[0-3])?"
    r"(?:\s?[\[(/]?\s?(?P<unit>nm|µm|μm|um|mm)[\])]?)?",
    re.IGNORECASE,
)


def _percentiles(cells: list[list[str]], path: Path, layout: Layout) -> Table | None:
    """A table of D10, D50, D90 ..., in lines or across, where that is all the numbers there are."""
    if layout.columns is not None:
        return None
    pairs: list[tuple[str, str]] = []
    for k, row in enumerate(cells):
        labels = [c for c, cell in enumerate(row) if _PERCENTILE.fullmatch(cell)]
        if len(labels) >= 2 and k + 1 < len(cells) and not pairs:
            below = cells[k + 1]
            pairs = [(row[c], below[c]) for c in labels if c < len(below) and _is_number(below[c])]
            if len(pairs) >= 2 and all(
                len([c for c in r if _is_number(c)]) < 2 for r in cells[k + 2 :]
            ):
                break
            pairs = []
        if labels == [0] and len(row) > 1 and _is_number(row[1]):
            pairs.append((row[0], row[1]))
    lines = sum(sum(map(_is_value, row)) >= 2 for row in cells)
    if len(pairs) < 2 or lines > 1:
        return None
    values = [value for _, value in pairs]
    decimal = layout.decimal or decimal_sign([values], path)
    share, units = [], set()
    for label, value in pairs:
        match = _PERCENTILE.fullmatch(label)
        assert match is not None
        p = float(match["p"].replace(",", "."))
        share.append(100 * p if p < 1 else p)
        cell = _CELL.fullmatch(value)
        for unit in (match["unit"], cell["unit"] if cell else None):
            units |= units_in(unit) if unit else set()
    sizes = np.array([_checked(value, decimal, path, "percentiles") for value in values])
    letters = {m[1].lower() for label, _ in pairs if (m := re.match(r"[dx]\W?([vn])", label, re.I))}
    kind = {"v": "volume ", "n": "number "}.get("".join(letters), "")
    heading = f"{kind}percentile (%)".capitalize()
    text = "\n".join(" ".join(row) for row in cells)
    return Table(
        path,
        (
            Column("size", sizes, "Size", units.pop() if len(units) == 1 else ""),
            Column("Q", np.array(share), heading),
        ),
        text,
    )
