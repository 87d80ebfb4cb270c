"""Shape percentiles of another instrument beside those of measured particles."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from particle_nb.core.errors import DataError
from particle_nb.core.files import read_regular
from particle_nb.core.shape.descriptors import DESCRIPTORS

_LARGEST = 2**20  # bytes

#: Heading of an instrument or a paper -> the descriptor with that formula.
SYNONYMS = {
    "sphericity": "circularity",
    "perimeter_regularity": "circularity",
    "breadth_to_length": "aspect_ratio",
    "bl3": "aspect_ratio",
}

#: Descriptors without a unit, all from 0 to 1.
SHAPES = tuple(name for name, entry in DESCRIPTORS.items() if entry.dimension == 0)

#: The four that do not follow from one another, and solidity.
INDEPENDENT = ("aspect_ratio", "circularity", "roundness", "convexity", "solidity")

_PERCENTS = (10, 25, 50, 75, 90)


def read_shapes(path: str | os.PathLike[str]) -> pd.DataFrame:
    """Read shape percentiles of another instrument (dynamic image analysis) from a CSV file.

    One row a shape parameter: ``parameter``, ``D10``, ``D50``, ``D90`` and, where known, the ends
    of the whiskers ``low`` and ``high`` and the ``series`` (``dispersed``, ``dry``) it belongs to.
    Separator comma, semicolon or tab; with a semicolon the decimal mark may be a comma.
    "Sphericity" is read as `circularity`, the same formula.

    Parameters
    ----------
    path : path

    Returns
    -------
    DataFrame
        ``parameter series D10 D50 D90 low high``; NaN where not given, "" for no series.

    Raises
    ------
    DataError
        If the file cannot be read, a column is missing, a parameter is unknown or stands twice, a
        value leaves 0..1 or percentiles fall.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> file = Path(tempfile.mkdtemp()) / "shapes.csv"
    >>> _ = file.write_text("parameter;D10;D50;D90\\nSphericity;0,82;0,87;0,92\\n")
    >>> read_shapes(file)[["parameter", "D50"]].to_numpy().tolist()
    [['circularity', 0.87]]
    """
    if not isinstance(path, (str, os.PathLike)):
        raise DataError(f"path names a CSV file, not {type(path).__name__}.")
    try:
        text = read_regular(path, _LARGEST)[0].decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(f"cannot read {str(path)!r}: {error}.") from None
    lines = [line for line in text.splitlines() if line.strip()]
    if len(lines) < 2:
        raise DataError(f"{path} holds no table: it needs headings and a row a parameter.")
    separator = max(";\t,", key=lines[0].count)
    heads = [cell.strip().strip('"').lower() for cell in lines[0].split(separator)]
    missing = {"parameter", "d10", "d50", "d90"} - set(heads)
    if missing:
        raise DataError(
            f"{path} has no column {', '.join(sorted(missing))}; it begins with {lines[0]!r:.80}."
        )
    rows = []
    for number, line in enumerate(lines[1:], start=2):
        cells = [cell.strip().strip('"') for cell in line.split(separator)]
        if len(cells) != len(heads):
            raise DataError(f"{path}, row {number}: {len(cells)} cells for {len(heads)} headings.")
        rows.append(_row(dict(zip(heads, cells, strict=True)), f"{path}, row {number}"))
    table = pd.DataFrame(rows)
    twice = table.duplicated(["parameter", "series"])
    if twice.any():
        raise DataError(f"{path}: {table.loc[twice, 'parameter'].iloc[0]} stands twice.")
    return table


def _row(cells: dict[str, str], where: str) -> dict[str, Any]:
    name = cells["parameter"].lower().replace(" ", "_").replace("-", "_")
    name = SYNONYMS.get(name, name)
    if name not in SHAPES:
        raise DataError(
            f"{where}: unknown shape parameter {cells['parameter']!r}; known are "
            f"{', '.join((*SHAPES, *SYNONYMS))}."
        )
    values = {}
    for key in ("d10", "d50", "d90", "low", "high"):
        text = cells.get(key, "")
        try:
            value = float(text.replace(",", ".")) if text else np.nan
        except ValueError:
            raise DataError(f"{where}: {key} is no number: {text!r}.") from None
        if not (0 <= value <= 1.0001 or (np.isnan(value) and key in ("low", "high"))):
            raise DataError(
                f"{where}: {key} of {name} lies from 0 to 1, not at {text or 'nothing'}."
            )
        values[key.upper() if key.startswith("d") else key] = value
    order = [values[key] for key in ("low", "D10", "D50", "D90", "high")]
    known = [value for value in order if value == value]
    if sorted(known) != known:
        raise DataError(f"{where}: low, D10, D50, D90, high of {name} must not fall.")
    return {"parameter": name, "series": cells.get("series", ""), **values}


def shape_percentiles(
    table: pd.DataFrame,
    size: str | None = None,
    r: int = 0,
    parameters: Sequence[str] = INDEPENDENT,
) -> pd.DataFrame:
    """Return D10, D25, D50, D75 and D90 of the shapes of measured particles.

    Particles that the frame cuts (``edge_weight`` 0) stay out; with `r` = 3 a particle counts by
    its volume, as in most instruments' exports, then `size` names the column of its diameter.

    Parameters
    ----------
    table : DataFrame
        From `measure`.
    size : str or None
        Column of the diameters, e.g. ``"x_A_um"``; needed unless r is 0.
    r : 0, 1, 2 or 3
    parameters : sequence of str
        Those of `SHAPES` that are columns of the table.

    Raises
    ------
    DataError
        If there is no such column or no whole particle.

    Examples
    --------
    >>> shape_percentiles(pd.DataFrame({"convexity": [0.9, 0.92, 1.0]}))["D50"].tolist()
    [0.92]
    """
    if not isinstance(table, pd.DataFrame):
        raise DataError(
            f"shape_percentiles takes a table from measure, not {type(table).__name__}."
        )
    if r not in (0, 1, 2, 3) or isinstance(r, bool):
        raise DataError(f"r is 0 (number), 1, 2 or 3 (volume), not {r!r}.")
    if r and size not in table:
        raise DataError(f"to count by r = {r} name the column of the diameters, not {size!r}.")
    whole = table[table["edge_weight"] > 0] if "edge_weight" in table else table
    if whole.empty:
        raise DataError("no whole particle is left to count.")
    amounts = (
        whole["edge_weight"].to_numpy(float) if "edge_weight" in whole else np.ones(len(whole))
    )
    if r:
        diameters = whole[size].to_numpy(float)
        amounts = amounts * (diameters / diameters.max()) ** r
    rows = []
    for name in parameters:
        if name not in whole:
            continue
        values = whole[name].to_numpy(float)
        keep = np.isfinite(values)
        if not keep.any():
            continue
        order = np.argsort(values[keep], kind="stable")
        v, w = values[keep][order], amounts[keep][order]
        # the midpoint convention of `SizeDistribution`
        reached = (np.cumsum(w) - w / 2) / w.sum()
        found = np.interp(np.array(_PERCENTS) / 100, reached, v)
        rows.append(
            {"parameter": name, "n": int(keep.sum())}
            | {f"D{p}": value for p, value in zip(_PERCENTS, found, strict=True)}
        )
    if not rows:
        raise DataError(f"the table has none of {', '.join(parameters)}; measure the masks first.")
    return pd.DataFrame(rows)


def compare_shapes(measured: pd.DataFrame, reference: pd.DataFrame) -> pd.DataFrame:
    """Lay measured shape percentiles beside those of a reference.

    Parameters
    ----------
    measured : DataFrame
        From `shape_percentiles`.
    reference : DataFrame
        From `read_shapes`, of one series.

    Returns
    -------
    DataFrame
        A row per parameter and percentile that both have: ``parameter percentile measured
        reference deviation deviation_percent``, and ``within_whiskers``: whether the measured
        value lies in the reference's low..high. Where those are not given only D50 is judged, by
        the reference's D10..D90; None else.

    Raises
    ------
    DataError
        If they share no parameter.

    Examples
    --------
    >>> measured = shape_percentiles(pd.DataFrame({"convexity": [0.9, 0.92, 1.0]}))
    >>> reference = pd.DataFrame({"parameter": ["convexity"], "D10": 0.8, "D50": 0.9, "D90": 0.95})
    >>> compare_shapes(measured, reference)["within_whiskers"].tolist()
    [None, True, None]
    """
    rows = []
    theirs = reference.set_index("parameter")
    for mine in measured.to_dict("records"):
        if mine["parameter"] not in theirs.index:
            continue
        other = theirs.loc[mine["parameter"]]
        low, high = (other.get(key, np.nan) for key in ("low", "high"))
        given = low == low and high == high
        for p in ("D10", "D50", "D90"):
            ends = (low, high) if given else (other["D10"], other["D90"])
            inside = bool(ends[0] <= mine[p] <= ends[1]) if given or p == "D50" else None
            rows.append(
                {
                    "parameter": mine["parameter"],
                    "percentile": p,
                    "measured": mine[p],
                    "reference": float(other[p]),
                    "deviation": mine[p] - float(other[p]),
                    "deviation_percent": 100 * (mine[p] / float(other[p]) - 1),
                    "within_whiskers": inside,
                }
            )
    if not rows:
        raise DataError(
            f"the reference has none of {', '.join(measured['parameter'])}; it has "
            f"{', '.join(map(str, theirs.index)) or 'nothing'}."
        )
    return pd.DataFrame(rows)
