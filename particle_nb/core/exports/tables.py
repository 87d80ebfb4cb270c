"""Tables as CSV and Parquet."""

from __future__ import annotations

import os
from typing import Any

import pandas as pd

from particle_nb.core.errors import DataError
from particle_nb.core.exports.labels import _harmless
from particle_nb.core.files import atomic


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
