"""Tables as CSV, Parquet and Excel workbooks, and the texts back."""

from __future__ import annotations

import io
import os
import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from particle_nb.core.errors import DataError
from particle_nb.core.files import atomic, read_regular
from particle_nb.core.workbooks import read_sheet, write_sheets

# where a spreadsheet begins a cell, whichever separator it takes, and what begins a formula
_CELL, _FORMULA = r"(?:^|(?<=[,;|\t\r\n\"]))", r"(?=[=+\-@\t\r\n＝＋－＠])"
_UNGUARDED = re.compile(f"{_CELL}('*){_FORMULA}")
_GUARDED = re.compile(f"{_CELL}'('*){_FORMULA}")
_WHOLE = re.compile(r"-?(?:0|[1-9]\d{0,17})")
#: Columns that are text whatever stands in them: an image may be called 000.
TEXTS = ("image", "class_name", "flag", "path", "name", "note", "notes", "message", "status")
_LARGEST_CSV = 2**31


def write_csv(table: pd.DataFrame, path: str | os.PathLike[str]) -> None:
    """Write a table as CSV (UTF-8, comma, point); units stand in the column names.

    Numbers are written so that they read back as the same float64. Text that a spreadsheet would
    run as a formula (an image named ``=cmd``) gets an apostrophe before it, which `read_csv` takes
    off again.

    Raises
    ------
    DataError
        If it is no DataFrame or the file cannot be written.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_csv(pd.DataFrame({"x_A_um": [0.1]}), f"{folder}/a.csv")
    ...     open(f"{folder}/a.csv").read()
    'x_A_um\\n0.1\\n'
    """
    table = _checked_table(table)
    text = _harmless(table).to_csv(index=_named(table), lineterminator="\n")
    with atomic(path) as stream:
        stream.write(text.encode("utf-8", "backslashreplace"))


def read_csv(path: str | os.PathLike[str]) -> pd.DataFrame:
    """Read a table that `write_csv` wrote: numbers as numbers, text as it was, 000 as ``"000"``.

    A column is one of numbers where every cell is written as `write_csv` writes numbers; names
    (``image``, ``class_name``, ...) are text always. An empty cell is NaN among numbers and ``""``
    among text.

    Raises
    ------
    DataError
        If there is no such file or it is no CSV.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_csv(pd.DataFrame({"image": ["000", "=1"], "x_A_um": [0.1, 2]}), f"{folder}/a.csv")
    ...     read_csv(f"{folder}/a.csv").to_numpy().tolist()
    [['000', 0.1], ['=1', 2.0]]
    """
    data, _ = read_regular(path, _LARGEST_CSV)
    try:
        table = pd.read_csv(io.BytesIO(data), dtype=str, na_filter=False, encoding="utf-8")
    except (ValueError, MemoryError) as error:  # ValueError is also what pandas' parser raises
        raise DataError(f"{path} is no CSV table: {error}") from None
    for place, name in enumerate(table.columns):
        cells = table.iloc[:, place]
        found = None if name in TEXTS else _numbers(cells)
        if found is None:
            found = cells.map(lambda text: _GUARDED.sub(r"\1", text))
        table.isetitem(place, found.array)
    return table.rename(columns=lambda name: _GUARDED.sub(r"\1", name))


def write_xlsx(table: pd.DataFrame, path: str | os.PathLike[str]) -> None:
    """Write a table as an Excel workbook with one sheet; needs openpyxl (the extra ``excel``).

    Numbers (of 16 digits) stay numbers whatever the decimal sign of the reader's Excel; text stays
    text, also ``000`` and what begins like a formula. A second sheet holds what ``table.attrs``
    says.

    Raises
    ------
    DataError
        If it is no DataFrame, openpyxl is missing, or it does not fit into a sheet.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_xlsx(pd.DataFrame({"image": ["000"], "x_A_um": [0.1]}), f"{folder}/a.xlsx")
    ...     read_xlsx(f"{folder}/a.xlsx").to_numpy().tolist()
    [['000', 0.1]]
    """
    table = _checked_table(table)
    if _named(table):
        table = table.reset_index()
    heads = [str(name) for name in table.columns]
    rows = [[plain_value(value) for value in row] for row in table.itertuples(index=False)]
    about = [[str(key), str(value)] for key, value in table.attrs.items()]
    with atomic(path) as stream:
        write_sheets(stream, {"table": (heads, rows), "about": (["key", "value"], about)})


def plain_value(value: Any) -> Any:
    """A cell as a spreadsheet has it: numbers and truth values, text, nothing for NaN."""
    if isinstance(value, (bool, np.bool_)):
        return bool(value)
    if isinstance(value, (int, np.integer)):
        # a spreadsheet counts in float64: longer numbers are kept as text
        return int(value) if abs(int(value)) < 2**53 else str(value)
    if isinstance(value, (float, np.floating)):
        return float(value) if np.isfinite(value) else None if np.isnan(value) else str(value)
    return "" if value is None or value is pd.NA or value is pd.NaT else str(value)


def read_xlsx(path: str | os.PathLike[str], sheet: str | None = None) -> pd.DataFrame:
    """Read a sheet of an Excel workbook as a table; its first row holds the names of the columns.

    A column whose cells are all numbers is one of numbers, an empty cell in it NaN; all others are
    text.

    Raises
    ------
    DataError
        If there is no such file or sheet, it is no workbook, or openpyxl is missing.
    """
    if not isinstance(path, (str, os.PathLike)) or isinstance(os.fspath(path), bytes):
        raise DataError(f"a file is named by a str or a path, not {type(path).__name__}.")
    rows = read_sheet(Path(path), sheet)
    if not rows:
        raise DataError(f"{path} has no row with something in it.")
    width = max(len(row) for row in rows)
    rows = [row + [None] * (width - len(row)) for row in rows]
    columns: dict[str, Any] = {}
    for place, name in enumerate(rows[0]):
        cells = [row[place] for row in rows[1:]]
        if name is None and all(cell is None for cell in cells):
            continue
        text = "" if name is None else str(name)
        if text in columns:
            raise DataError(f"{path} has two columns {text!r}; rename one of them.")
        known = [cell for cell in cells if cell is not None]
        if known and all(isinstance(c, (int, float)) and not isinstance(c, bool) for c in known):
            whole = len(known) == len(cells) and all(isinstance(c, int) for c in known)
            columns[text] = np.array(
                [np.nan if cell is None else cell for cell in cells], np.int64 if whole else float
            )
        elif known and len(known) == len(cells) and all(isinstance(c, bool) for c in known):
            columns[text] = np.array(cells)
        else:
            columns[text] = ["" if cell is None else str(cell) for cell in cells]
    return pd.DataFrame(columns)


def write_parquet(table: pd.DataFrame, path: str | os.PathLike[str]) -> None:
    """Write a table as Parquet, with dtypes and ``table.attrs``; `pandas.read_parquet` reads it.

    Raises
    ------
    DataError
        If it is no DataFrame, holds what Parquet cannot, or the file cannot be written.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     table = pd.DataFrame({"x_A_um": [0.1]})
    ...     table.attrs["unit"] = "um"
    ...     write_parquet(table, f"{folder}/a.parquet")
    ...     pd.read_parquet(f"{folder}/a.parquet").attrs
    {'unit': 'um'}
    """
    import pyarrow

    table = _checked_table(table)
    with atomic(path) as stream:
        try:
            table.to_parquet(stream, engine="pyarrow", index=None)
        except (TypeError, ValueError, pyarrow.ArrowException) as error:
            raise DataError(
                f"this table does not fit into Parquet: {error}; keep one type per column and "
                "plain values in table.attrs."
            ) from None


def _checked_table(table: Any) -> pd.DataFrame:
    if not isinstance(table, pd.DataFrame):
        raise DataError(f"a table is a pandas DataFrame, not {type(table).__name__}.")
    return table


def _named(table: pd.DataFrame) -> bool:
    """Whether the index holds more than row numbers."""
    return not isinstance(table.index, pd.RangeIndex)


def _numbers(cells: pd.Series) -> pd.Series | None:
    """The cells as whole numbers, numbers or truth values; None where one is none of these."""
    given = cells[cells != ""]
    if len(given) == len(cells) and given.isin(("True", "False")).all() and len(given):
        return cells == "True"
    if given.map(lambda text: _WHOLE.fullmatch(text) is not None).all():
        if len(given) == len(cells):
            return cells.astype("int64")
    elif not given.map(_is_float).all():
        return None
    return cells.map(lambda text: float(text or "nan")).astype(float)


def _is_float(text: str) -> bool:
    try:
        return repr(float(text)) == text
    except ValueError:
        return False


def _harmless(table: pd.DataFrame) -> pd.DataFrame:
    """The table with an apostrophe wherever a spreadsheet would take text for a formula."""
    guarded = table.copy()
    for place in range(table.shape[1]):
        cells = table.iloc[:, place]
        if not pd.api.types.is_numeric_dtype(cells.dtype):
            guarded.isetitem(place, cells.map(_guard).array)
    return guarded.rename(columns=_guard, index=_guard)


def _guard(value: Any) -> Any:
    if value is None or isinstance(value, (bool, int, float, np.generic)):
        return value
    return _UNGUARDED.sub(r"'\1", value) if isinstance(value, str) else value
