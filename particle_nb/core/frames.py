"""Tables of many short columns, put together in a fraction of what `pandas.DataFrame` takes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import pandas as pd

try:  # pandas 3; older ones take the usual way
    from pandas.api.internals import create_dataframe_from_blocks
except ImportError:
    create_dataframe_from_blocks = None


@lru_cache(maxsize=64)
def _header(names: tuple[str, ...]) -> pd.Index:
    return pd.Index(names)


def frame(columns: Mapping[str, np.ndarray | Sequence[str]]) -> pd.DataFrame:
    """Return ``pandas.DataFrame(columns)`` for columns of numbers and of texts.

    The usual way looks at every column by itself, which for the 28 particles of an image takes
    longer than measuring them. Here columns of one type go in as one block, all texts are
    converted together, and a header is made once for all tables that have it.

    Parameters
    ----------
    columns : mapping of str to array (N,) or list of str
        Arrays of float, int or bool, lists of texts without gaps; all of one length.

    Examples
    --------
    >>> frame({"x_px": np.array([1.0, 2.0]), "flag": ["", "holes"]})
       x_px   flag
    0   1.0
    1   2.0  holes
    """
    texts = [name for name, column in columns.items() if not isinstance(column, np.ndarray)]
    rows = len(next(iter(columns.values()), ()))
    if create_dataframe_from_blocks is None or not rows:
        return pd.DataFrame(columns)
    together: list[str] = []
    for name in texts:
        together += columns[name]
    converted = pd.Series(together)
    if texts and not isinstance(converted.dtype, pd.StringDtype):
        return pd.DataFrame(columns)
    grouped: dict[np.dtype, list[int]] = {}
    blocks: list[tuple[Any, np.ndarray]] = []
    values = list(columns.values())
    for place, column in enumerate(values):
        if isinstance(column, np.ndarray):
            grouped.setdefault(column.dtype, []).append(place)
        else:
            first = rows * len(blocks)
            blocks.append((converted.array[first : first + rows], np.array([place])))
    for places in grouped.values():
        blocks.append((np.stack([values[place] for place in places]), np.array(places)))
    # a view of the header: who renames it renames their own
    header = _header(tuple(columns)).view()
    return create_dataframe_from_blocks(blocks, index=pd.RangeIndex(rows), columns=header)
