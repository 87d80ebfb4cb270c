"""Size distributions of measured particles, from tables and from bare sizes."""

from __future__ import annotations

import re
import warnings
from collections.abc import Sequence

import numpy as np
import pandas as pd

from particle_nb.core.errors import DataError
from particle_nb.core.sizes.curves import UNITS, positive, size_column
from particle_nb.core.sizes.distribution import SizeDistribution


def size_distribution(
    table: pd.DataFrame | Sequence[float] | np.ndarray,
    size: str = "x_A",
    r: int = 3,
    weights: str | Sequence[float] | np.ndarray | None = None,
    *,
    unit: str | None = None,
) -> SizeDistribution:
    """Make a size distribution from a table of `measure` or from bare sizes.

    Parameters
    ----------
    table : DataFrame, Series, or sequence of float
        Sizes of single particles. A Series whose name ends in a unit, as ``table["x_A_nm"]``, has
        that unit. A table's column ``image`` says which image each particle is from, which
        intervals need.
    size : str
        ``"x_A"`` finds ``x_A_um``, ``x_A_nm`` or ``x_A_px`` by itself.
    r : 0, 1, 2 or 3
        Weighted by number (0) to volume (3).
    weights : None, "miles_lantuejoul", or sequence of float
        "miles_lantuejoul" takes the table's ``edge_weight``: particles at the rim drop out and
        large ones count more, which makes up for it. A sequence gives number weights, one each,
        such as the counts of classes.
    unit : str or None
        Unit of bare sizes (default "px"); with a table, the unit to convert to.

    Raises
    ------
    DataError
        If the size is missing, in mixed units, NaN or not positive, or nothing is left; if a
        Series' name says one unit and `unit` another, or it holds areas or places.

    Warns
    -----
    UserWarning
        Where particles cut by the rim of the frame are counted at the size that is left of them.

    Examples
    --------
    >>> table = pd.DataFrame({"x_A_um": [1.0, 2.0, 4.0]})
    >>> size_distribution(table, size="x_A", r=0)
    <SizeDistribution Q_0 of x_A, 3 particles, x_10 1, x_50 2, x_90 4 um>
    """
    if not isinstance(size, str):
        raise DataError(f"size is the name of a column such as 'x_A', not {size!r}.")
    if not isinstance(table, pd.DataFrame):
        if isinstance(weights, str):
            raise DataError(f"weights={weights!r} needs a table of measure, not bare sizes.")
        if isinstance(table, pd.Series):
            size, unit = _named_size(table, size, unit)
        x = positive(table, "sizes")
        counted = np.ones(len(x)) if weights is None else weights
        return SizeDistribution(x, np.asarray(counted, float), r, unit or "px", size)
    if table.empty:
        raise DataError("the table has no rows: no particle was measured or kept.")
    column, found_unit = size_column(table, size)
    x = positive(table[column].to_numpy(), f"sizes in column {column!r}")
    if isinstance(weights, str):
        if weights != "miles_lantuejoul":
            raise DataError(f"weights is None, 'miles_lantuejoul' or numbers, not {weights!r}.")
        if "edge_weight" not in table:
            raise DataError("weights='miles_lantuejoul' needs the column 'edge_weight' of measure.")
        counted = table["edge_weight"].to_numpy(float)
    elif weights is not None:
        counted = np.asarray(weights, float)
    else:
        counted = np.ones(len(x))
        touching = int(table["touches_edge"].sum()) if "touches_edge" in table else 0
        if touching:
            warnings.warn(
                f"{touching} of {len(x)} particles are cut by the rim of the frame and counted at "
                "the size that is left of them; use weights='miles_lantuejoul', which drops them "
                "and corrects for it.",
                stacklevel=2,
            )
    name = column[: -len(found_unit) - 1]
    images = table["image"].to_numpy() if "image" in table else None
    rows = np.arange(len(x))
    made = SizeDistribution(x, counted, r, found_unit, name, images=images, rows=rows)
    return made if unit is None else made.to(unit)


def _named_size(series: pd.Series, size: str, unit: str | None) -> tuple[str, str | None]:
    """Return size and unit as a Series' name tells them, after checking them with `unit`."""
    name = series.name if isinstance(series.name, str) else ""
    if name in ("x_px", "y_px") or re.fullmatch(rf".+_({'|'.join(UNITS)})2", name):
        what = "places of centroids" if name in ("x_px", "y_px") else "areas"
        raise DataError(
            f"the series {name!r} holds {what}, no sizes; take a length such as table['x_A_um']."
        )
    told = re.fullmatch(rf"(.+)_({'|'.join(UNITS)})", name)
    if told is None:
        return size, unit
    if unit is not None and unit != told[2]:
        raise DataError(
            f"the series is called {name!r} and unit={unit!r} is given, and only one can be right: "
            f"leave unit out and convert with .to({unit!r}), or, where the numbers are in {unit} "
            "already, take the name off with series.rename(None)."
        )
    return told[1], told[2]
