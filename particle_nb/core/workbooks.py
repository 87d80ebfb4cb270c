"""Excel workbooks (``.xlsx``) as rows of text and back; needs openpyxl."""

from __future__ import annotations

import datetime
import io
import re
import zipfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from particle_nb.core.errors import DataError
from particle_nb.core.files import read_regular

_LARGEST = 2**28
# up to 10 MB of file these are read within seconds; a larger workbook gets more in proportion
_UNFOLDED, _MOST_CELLS, _TEN_MB = 2**26, 1_000_000, 10 * 2**20
_DAMAGE = (
    zipfile.BadZipFile,
    zlib.error,
    OSError,
    EOFError,
    ValueError,
    KeyError,
    TypeError,
    IndexError,
    AttributeError,
    SyntaxError,
    NotImplementedError,
    RuntimeError,
    OverflowError,
)


def read_sheets(path: Path) -> dict[str, list[list[str]]]:
    """Return the rows of every sheet as text, by its name; empty rows are left out.

    Numbers are written with a decimal point, shares shown in per cent with their sign; of a formula
    the value that Excel stored.

    Raises
    ------
    DataError
        If openpyxl is missing, or the file is no workbook, damaged or far too large.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     with open(f"{folder}/a.xlsx", "wb") as stream:
    ...         write_sheets(stream, {"table": (["size", "Q3"], [[0.5, 0.1], [1.0, 1.0]])})
    ...     read_sheets(Path(f"{folder}/a.xlsx"))
    {'table': [['size', 'Q3'], ['0.5', '0.1'], ['1', '1']]}
    """
    with _opened(path) as book:
        return {sheet.title: _rows(sheet, path) for sheet in book.worksheets}


def read_sheet(path: Path, sheet: str | None = None) -> list[list[Any]]:
    """Return the rows of one sheet as numbers, texts, dates and None; None takes the first sheet.

    Raises
    ------
    DataError
        As `read_sheets`, or if there is no such sheet.
    """
    with _opened(path) as book:
        names = [page.title for page in book.worksheets]
        if sheet is not None and sheet not in names:
            raise DataError(f"{path} has no sheet {sheet!r}; there are {names}.")
        page = book[names[0] if sheet is None else sheet]
        rows: list[list[Any]] = []
        count = 0
        for row in page.iter_rows(values_only=True):
            count += len(row)
            if count > _MOST_CELLS * _share(path):
                raise DataError(f"{path} has {count:,} cells and more; split it, or write CSV.")
            if any(value is not None for value in row):
                rows.append(list(row))
        return rows


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    """The workbook; what openpyxl raises on a damaged one becomes a `DataError`."""
    openpyxl = _openpyxl()
    try:
        data, _ = read_regular(path, _LARGEST)
        stream = io.BytesIO(data)
        with zipfile.ZipFile(stream) as archive:
            most = _UNFOLDED * _share(path)
            if sum(entry.file_size for entry in archive.infolist()) > most:
                raise DataError(f"{path} unfolds to more than {int(most) >> 20} MB; split it.")
        book = openpyxl.load_workbook(stream, read_only=True, data_only=True, keep_links=False)
        try:
            yield book
        finally:
            book.close()
    except DataError:
        raise
    except _DAMAGE as error:
        raise DataError(
            f"{path} is no Excel workbook (.xlsx) or is damaged ({type(error).__name__}: "
            f"{str(error)[:200]}); save it anew, or export the table as CSV."
        ) from None


def _share(path: Path) -> float:
    """How much more than a file of 10 MB this one may hold."""
    return max(1.0, path.stat().st_size / _TEN_MB)


def _rows(sheet: Any, path: Path) -> list[list[str]]:
    rows: list[list[str]] = []
    count = 0
    for row in sheet.iter_rows():
        cells = [_text(cell) for cell in row]
        while cells and not cells[-1]:
            del cells[-1]
        count += len(cells)
        if count > _MOST_CELLS * _share(path):
            raise DataError(f"{path} has {count:,} cells and more; split it, or write CSV.")
        if cells:
            rows.append(cells)
    return rows


def _text(cell: Any) -> str:
    value = cell.value
    if value is None or isinstance(value, bool):
        return "" if value is None else str(value)
    if isinstance(value, (int, float)):
        if "%" in str(getattr(cell, "number_format", "")):
            return f"{100 * value:.15g}%"
        return f"{value:.15g}"
    if isinstance(value, (datetime.date, datetime.time)):
        return value.isoformat()
    return str(value).strip()


def write_sheets(
    stream: BinaryIO,
    sheets: Mapping[str, tuple[Sequence[str], Sequence[Sequence[Any]]]],
    pictures: Mapping[str, bytes] | None = None,
) -> None:
    """Write sheets of headings and rows; text stays text, also where it begins like a formula.

    Every picture (PNG bytes by name) gets a sheet of its own behind them.

    Raises
    ------
    DataError
        If openpyxl is missing, or there are more rows or columns than a sheet has.
    """
    openpyxl = _openpyxl()
    from openpyxl.cell import WriteOnlyCell
    from openpyxl.cell.cell import ILLEGAL_CHARACTERS_RE

    book = openpyxl.Workbook(write_only=True)
    for name, (headings, rows) in sheets.items():
        if len(rows) >= 2**20 or len(headings) > 2**14:
            raise DataError(
                "a sheet holds 1,048,575 rows under its headings and 16,384 columns, not "
                f"{len(rows)} and {len(headings)}; write CSV or Parquet."
            )
        page = book.create_sheet(name)
        for row in (headings, *rows):
            cells = []
            for value in row:
                if isinstance(value, str):
                    # control characters and lone surrogates have no place in XML
                    text = ILLEGAL_CHARACTERS_RE.sub(" ", value)[:32_767]
                    text = text.encode("utf-8", "backslashreplace").decode("utf-8")
                    value = WriteOnlyCell(page, text)
                    value.data_type = "s"
                cells.append(value)
            page.append(cells)
    for title, data in _titled(pictures or {}, sheets).items():
        from openpyxl.drawing.image import Image as Drawing

        book.create_sheet(title).add_image(Drawing(io.BytesIO(data)), "A1")
    book.save(stream)


def _titled(pictures: Mapping[str, bytes], sheets: Mapping[str, Any]) -> dict[str, bytes]:
    """Pictures by titles that a sheet may bear: short, of allowed characters, no two alike."""
    taken, found = {name.lower() for name in sheets}, {}
    for name, data in pictures.items():
        plain = re.sub(r"[\[\]:*?/\\\x00-\x1f]", " ", name).strip(" '")[:31] or "figure"
        title, count = plain, 2
        while title.lower() in taken:
            title, count = f"{plain[:27]} {count}", count + 1
        taken.add(title.lower())
        found[title] = data
    return found


def _openpyxl() -> Any:
    try:
        import openpyxl
    except ImportError:
        raise DataError(
            "Excel workbooks need openpyxl; run: pip install openpyxl, or use CSV."
        ) from None
    return openpyxl
