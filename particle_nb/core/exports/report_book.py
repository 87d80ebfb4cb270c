"""A whole report as one Excel workbook: tables, sizes, settings, text and figures."""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from particle_nb.core.errors import DataError
from particle_nb.core.exports.methods import methods_text
from particle_nb.core.exports.tables import plain_value
from particle_nb.core.files import atomic
from particle_nb.core.sizes import SizeDistribution, image_variation, shape_means
from particle_nb.core.workbooks import write_sheets

Sheet = tuple[Sequence[str], Sequence[Sequence[Any]]]

_PNG = b"\x89PNG\r\n\x1a\n"


def write_workbook(
    path: str | os.PathLike[str],
    table: pd.DataFrame,
    *,
    distribution: SizeDistribution | None = None,
    figures: Mapping[str, Any] | None = None,
    settings: Mapping[str, Any] | None = None,
    methods: str | None = None,
) -> None:
    """Write a report as an Excel workbook; needs openpyxl (the extra ``excel``).

    Sheets: particles; sizes with intervals; the sum Q_r in steps of 1 %; means of shapes; images,
    where there are several; settings and provenance; the methods paragraph; one sheet a figure.

    Parameters
    ----------
    path : path
    table : DataFrame
        From `measure` or a batch.
    distribution : SizeDistribution or None
        None leaves the sheets of sizes out.
    figures : mapping of str to figure or PNG bytes, or None
        A plotly figure becomes a picture, for which it needs kaleido and a Chromium.
    settings : mapping or None
        Written beside what the table says of itself, such as ``{"sample": "batch 12"}`` or
        ``vars(FilterSettings())``.
    methods : str or None
        The paragraph, from `methods_text` with all that you know; None makes one of what the table
        and the distribution say.

    Raises
    ------
    DataError
        If something is not what it should be, does not fit into a sheet, or a package is missing.

    Examples
    --------
    >>> import tempfile
    >>> from particle_nb.core.exports.tables import read_xlsx
    >>> table = pd.DataFrame({"x_A_um": [1.5, 2.5]})
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_workbook(f"{folder}/a.xlsx", table, settings={"sample": "A"})
    ...     read_xlsx(f"{folder}/a.xlsx", "particles")["x_A_um"].tolist()
    [1.5, 2.5]
    """
    if not isinstance(table, pd.DataFrame):
        raise DataError(f"a table is a pandas DataFrame, not {type(table).__name__}.")
    if distribution is not None and not isinstance(distribution, SizeDistribution):
        raise DataError(
            f"distribution is a SizeDistribution, not {type(distribution).__name__}; use "
            "size_distribution(table)."
        )
    for name, given in (("figures", figures), ("settings", settings)):
        if given is not None and not isinstance(given, Mapping):
            raise DataError(f"{name} are a dict, not {type(given).__name__}.")
    if methods is not None and not isinstance(methods, str):
        raise DataError(f"methods is a text, not {type(methods).__name__}; see methods_text.")
    pictures = {str(name): _picture(name, one) for name, one in (figures or {}).items()}
    sheets = {"particles": _rows(table)}
    if distribution is not None:
        sheets |= _sizes(distribution)
    sheets |= _summaries(table)
    sheets["settings"] = _settings(table, settings or {})
    text = (
        methods_text(table, distribution=distribution)
        if methods is None and len(table)
        else methods
    )
    if text:
        sheets["methods"] = (["text for a paper; read it before you print it"], [[text]])
    with atomic(path) as stream:
        write_sheets(stream, sheets, pictures)


def _rows(table: pd.DataFrame) -> Sheet:
    rows = [[plain_value(value) for value in row] for row in table.itertuples(index=False)]
    return [str(name) for name in table.columns], rows


def _sizes(distribution: SizeDistribution) -> dict[str, Sheet]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what they say stands in the column `doubt`
        summary = distribution.summary()
    percents = np.arange(101)
    unit, r = distribution.unit, distribution.r
    curve = pd.DataFrame(
        {f"Q_{r} / %": percents, f"{distribution.size} / {unit}": distribution.percentile(percents)}
    )
    named = summary.rename_axis(f"of Q_{r}, {distribution.size}").reset_index()
    return {"sizes": _rows(named), "distribution": _rows(curve)}


def _summaries(table: pd.DataFrame) -> dict[str, Sheet]:
    """Means of shapes, and the images, as far as the table has them."""
    found = {}
    weights = "miles_lantuejoul" if _whole(table) else None
    try:
        shapes = shape_means(table, weights=weights)
        found["shapes"] = _rows(shapes.rename_axis("descriptor").reset_index())
    except DataError:
        pass  # a table without shapes has no sheet of them
    if "image" in table and table["image"].nunique() > 1:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", UserWarning)
                varied = image_variation(table, weights=weights)
        except DataError:
            return found
        found["images"] = _rows(varied.images)
    return found


def _whole(table: pd.DataFrame) -> bool:
    return "edge_weight" in table and bool((table["edge_weight"] > 0).any())


def _settings(table: pd.DataFrame, settings: Mapping[str, Any]) -> Sheet:
    rows = [["table", str(key), str(value)] for key, value in table.attrs.items()]
    rows += [["given", str(key), str(value)] for key, value in settings.items()]
    return ["of", "key", "value"], rows


def _picture(name: Any, figure: Any) -> bytes:
    """A figure as PNG."""
    if isinstance(figure, (bytes, bytearray)):
        data = bytes(figure)
    elif hasattr(figure, "to_image"):
        try:
            data = figure.to_image(format="png", width=1100, height=650, scale=2)
        except (RuntimeError, ValueError, OSError, ImportError) as error:
            raise DataError(
                f"the figure {name!r} did not become a picture ({type(error).__name__}: "
                f"{str(error)[:200]}); it takes kaleido and a Chromium: pip install kaleido. Or "
                "give PNG bytes."
            ) from None
    else:
        raise DataError(
            f"the figure {name!r} is a plotly figure or PNG bytes, not {type(figure).__name__}."
        )
    if not data.startswith(_PNG):
        raise DataError(f"the picture {name!r} is no PNG.")
    return data
