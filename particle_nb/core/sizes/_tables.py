"""The table of a size distribution in a file, found and told apart by its headings."""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

from particle_nb.core.errors import DataError
from particle_nb.core.sizes._cells import (
    CELL,
    FRACTION,
    MESH,
    NUMBERED,
    PAN,
    PERCENTILE,
    RANGE,
    TYLER,
    cell_number,
    decimal_sign,
    in_order,
    is_number_cell,
    is_value_cell,
    number_of,
    opening,
    read_grid,
    worded,
)
from particle_nb.core.sizes._columns import Column, Layout, Table
from particle_nb.core.sizes._headings import (
    KINDS,
    MICROMETRES,
    PLACES,
    SHARES,
    is_bare,
    plain_heading,
    role_of,
    units_in,
)


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
    counts = [sum(map(is_value_cell, row)) for row in cells]
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
        title = worded("  ".join(cells[start - 1]), width) or title
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
        bare = next((k for k in range(1, len(title)) if title[k] and is_bare(title[k])), None)
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
        if k > run > 0 and counts[run - 1] == 1 and is_number_cell(cells[run - 1][0]):
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
    roles = {role_of(cell) for cell in title if not is_bare(cell)}
    if len(above) > 1 and not (roles & {*SHARES}):
        over = above[-2]
        title = [
            f"{over[c] if c < len(over) else ''} {title[c] if c < len(title) else ''}".strip()
            for c in range(max(len(over), len(title)))
        ]
    return [cell.strip("\" '") for cell in title]


def _across(block: list[list[str]]) -> bool:
    """Whether sizes stand in a row: every row begins with words, and few rows are long."""
    named = sum(bool(row[0]) and not is_value_cell(row[0]) for row in block)
    return (
        named == len(block) and len(block) <= 4 and sum(map(is_value_cell, block[0])) > len(block)
    )


def _turned(title: list[str], block: list[list[str]]) -> tuple[list[str], list[list[str]]]:
    rows = block
    if sum(map(is_value_cell, title)) >= 2:
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
            (k for k in range(period) if role_of(heads[k]) in {role for role, _ in PLACES}), 0
        )
        sizes = [cell_number(cell, decimal) for cell in joined[place]]
        if not in_order(sizes):
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
    ranges = sum(bool(RANGE.fullmatch(cell)) for cell in cells if len(cell) <= 60)
    if ranges and ranges >= 0.5 * sum(map(bool, cells)):
        low, high = zip(*(_limits(cell, decimal) for cell in cells), strict=True)
        unit = _cell_unit(cells)
        return [
            Column("lower", np.array(low), heading, unit),
            Column("upper", np.array(high), heading, unit),
        ]
    sizes = {role for role, _ in PLACES}
    named = any(NUMBERED.fullmatch(c) or FRACTION.fullmatch(c) for c in cells if len(c) <= 60)
    units = {m["unit"].lower() for c in cells if (m := CELL.fullmatch(c)) and m["unit"]}
    lengths = units & MICROMETRES.keys()
    if role == "mesh" or ((role in sizes or not role) and (named or lengths)):
        numbers = MESH if "tyler" not in plain_heading(heading) else TYLER
        if re.search(r"\bbs\b|british|iso 565", plain_heading(heading)):
            raise DataError(
                f"{path}: {heading!r} counts another mesh than ASTM's or Tyler's; replace the "
                "numbers by openings in um."
            )
        values = [opening(c, decimal, heading, role, numbers, path) for c in cells]
        return [Column("mesh" if role in ("", "mesh") else role, np.array(values), heading, "um")]
    values = [_checked(cell, decimal, path, heading) for cell in cells]
    if role == "phi":
        sizes_um = [1000 * 2.0 ** (-v) if abs(v) < 60 else math.nan for v in values]
        sizes_um = [0.0 if PAN.search(c) else v for c, v in zip(cells, sizes_um, strict=True)]
        return [Column("phi", np.array(sizes_um), heading, "um")]
    return [Column(role, np.array(values), heading)]


def _cell_unit(cells: list[str]) -> str:
    found = {m["unit"].lower() for c in cells if (m := RANGE.fullmatch(c)) and m["unit"]}
    names = set().union(*(units_in(unit) for unit in found)) if found else set()
    return names.pop() if len(names) == 1 else ""


def _limits(cell: str, decimal: str) -> tuple[float, float]:
    if match := RANGE.fullmatch(cell):
        return number_of(match["low"], decimal), number_of(match["high"], decimal)
    match = CELL.fullmatch(cell)
    side = match["side"] if match else ""
    if match and side and side[0] in "<≤":
        return 0.0, number_of(match["body"], decimal)
    if match and side and side[0] in ">≥":
        return number_of(match["body"], decimal), math.nan
    return (0.0, math.nan) if PAN.search(cell) else (math.nan, math.nan)


def _checked(cell: str, decimal: str, path: Path, heading: str) -> float:
    """The number of a cell; NaN for words, 0 for the pan; one of the wrong sign is refused."""
    value = cell_number(cell, decimal)
    if math.isnan(value) and is_number_cell(cell) and re.search(r"[.,]", cell):
        raise DataError(
            f"{path}: {cell!r} under {heading!r} is no number with the decimal sign {decimal!r}; "
            "pass decimal='.' or decimal=','."
        )
    return 0.0 if math.isnan(value) and PAN.search(cell) else value


def _paired(columns: list[Column]) -> list[Column]:
    """Two columns of sizes beside each other, each row going on where the last ended, are limits.

    Camsizers head them with one word over both, or with the same word twice.
    """
    sizes = {role for role, _ in PLACES}
    for k, (a, b) in enumerate(itertools.pairwise(columns)):
        if a.role not in sizes or a.role in ("mesh", "phi"):
            continue
        if b.role not in sizes and not is_bare(b.heading) and b.heading:
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
                role = column.role if column.role in SHARES else ""
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
        for same in (lambda h: h == name, lambda h: plain_heading(h) == plain_heading(name)):
            found = [k for k, heading in enumerate(table.headings) if same(heading)]
            if found:
                return found[0]
        if name.isdigit() and int(name) < len(table.columns):
            return int(name)
    raise DataError(f"{table.path} has no column {name!r}; there are {table.headings}.")


_RESULT = re.compile(r"result\s+(between|below|above|in|under|over)\b.*siz", re.IGNORECASE)


def _results_across(cells: list[list[str]], path: Path, layout: Layout) -> Table | None:
    """Mastersizer's export of results: one row a sample, the sizes in a row above."""
    for k, row in enumerate(cells):
        place = next((c for c, cell in enumerate(row) if _RESULT.search(cell)), None)
        if place is None:
            continue
        head = row[place]
        rows = [other for other in cells[k + 1 :] if len(other) > place]
        sizes = next((r for r in rows if sum(map(is_number_cell, r[place:])) >= 3), None)
        if sizes is None:
            return None
        end = place
        while end < len(sizes) and is_number_cell(sizes[end]):
            end += 1
        after = rows[[id(r) for r in rows].index(id(sizes)) + 1 :]
        samples = [r for r in after if sum(map(is_number_cell, r[place:end])) >= 3]
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


def _named_percentile(line: str) -> tuple[str, str] | None:
    """Label and value of a line such as ``D10: 105.3 um`` or ``d(0.5) = 0.4 mm``."""
    label, sign, value = line[:200].partition("=" if "=" in line else ":")
    label, value = label.strip(), value.strip()
    if sign and PERCENTILE.fullmatch(label) and is_number_cell(value):
        return label, value
    return None


def _percentiles(cells: list[list[str]], path: Path, layout: Layout) -> Table | None:
    """A table of D10, D50, D90 ..., in lines or across, where that is all the numbers there are."""
    if layout.columns is not None:
        return None
    pairs: list[tuple[str, str]] = []
    for k, row in enumerate(cells):
        labels = [c for c, cell in enumerate(row) if PERCENTILE.fullmatch(cell)]
        if len(labels) >= 2 and k + 1 < len(cells) and not pairs:
            below = cells[k + 1]
            pairs = [
                (row[c], below[c]) for c in labels if c < len(below) and is_number_cell(below[c])
            ]
            if len(pairs) >= 2 and all(
                len([c for c in r if is_number_cell(c)]) < 2 for r in cells[k + 2 :]
            ):
                break
            pairs = []
        if labels == [0] and len(row) > 1 and is_number_cell(row[1]):
            pairs.append((row[0], row[1]))
    lines = sum(sum(map(is_value_cell, row)) >= 2 for row in cells)
    if len(pairs) < 2:
        pairs = [pair for row in cells if (pair := _named_percentile(" ".join(row)))]
    if len(pairs) < 2 or lines > 1:
        return None
    values = [value for _, value in pairs]
    decimal = layout.decimal or decimal_sign([values], path)
    share, units = [], set()
    for label, value in pairs:
        match = PERCENTILE.fullmatch(label)
        assert match is not None
        p = float(match["p"].replace(",", "."))
        share.append(100 * p if p < 1 else p)
        cell = CELL.fullmatch(value)
        for unit in (match["unit"], cell["unit"] if cell else None):
            units |= units_in(unit) if unit else set()
    sizes = np.array([_checked(value, decimal, path, "percentiles") for value in values])
    letters = {m[1].lower() for label, _ in pairs if (m := re.match(r"[dx]\W?([vn])", label, re.I))}
    kind = {"v": "volume ", "n": "number "}.get("".join(letters), "")
    types = {m["r"] for label, _ in pairs if (m := PERCENTILE.fullmatch(label))} - {None}
    kind = f"Q{types.pop()} " if len(types) == 1 else kind
    heading = f"{kind}percentile (%)"
    heading = heading[0].upper() + heading[1:]
    text = "\n".join(" ".join(row) for row in cells)
    return Table(
        path,
        (
            Column("size", sizes, "Size", units.pop() if len(units) == 1 else ""),
            Column("Q", np.array(share), heading),
        ),
        text,
    )
