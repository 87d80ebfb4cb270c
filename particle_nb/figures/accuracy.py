"""Figures of how an estimate's error changes with the size of a particle."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd
import plotly.graph_objects as go

from particle_nb.core.errors import DataError
from particle_nb.figures.style import PALETTE, layout

_COLOURS = tuple(PALETTE[place] for place in (0, 5, 2, 1))
_NEEDED = {"shape", "quantity", "ECD / px", "bias / %", "scatter / %", "mean"}


def error_by_size(
    accuracy: pd.DataFrame,
    outline: str,
    estimators: Mapping[str, str],
    *,
    value: str = "bias / %",
    title: str = "",
) -> go.Figure:
    """Draw estimators of one quantity over the size of an outline whose geometry is known.

    Parameters
    ----------
    accuracy : DataFrame
        From `particle_nb.validation.estimators.outline_accuracy`.
    outline : str
        E.g. ``"disc"``.
    estimators : mapping
        Quantity of the table -> words in the legend; the first is drawn thicker.
    value : str
        Column to draw: ``"bias / %"`` with one standard deviation as bars, or ``"mean"``.

    Raises
    ------
    DataError
        If the table has no such column, or lacks the outline or an estimator.

    Examples
    --------
    >>> row = {"shape": "disc", "ECD / px": 20, "quantity": "area", "mean": 314.0}
    >>> table = pd.DataFrame([row | {"bias / %": 0.1, "scatter / %": 0.2}])
    >>> error_by_size(table, "disc", {"area": "pixel count"}).data[0].y.tolist()
    [0.1]
    """
    if not isinstance(accuracy, pd.DataFrame) or not {value, *_NEEDED} <= set(accuracy):
        raise DataError("error_by_size needs a table of outline_accuracy and one of its columns.")
    drawn = accuracy[accuracy["shape"] == outline]
    fig = go.Figure()
    for number, (name, words) in enumerate(estimators.items()):
        part = drawn[drawn["quantity"] == name]
        if part.empty:
            raise DataError(f"the table has no {name!r} of {outline!r}.")
        fig.add_trace(
            go.Scatter(
                x=part["ECD / px"],
                y=part[value],
                mode="lines+markers",
                name=words,
                line={
                    "color": _COLOURS[number % len(_COLOURS)],
                    "width": 3 if number == 0 else 2,
                },
                marker={"size": 8},
                error_y={"array": part["scatter / %"]} if value == "bias / %" else None,
            )
        )
    sizes = drawn["ECD / px"].unique().tolist()
    layout(fig, title, width=860, height=420)
    fig.update_xaxes(
        title="equivalent circle diameter / px", type="log", tickvals=sizes, ticktext=sizes
    )
    fig.update_yaxes(title="deviation from the truth / %" if value == "bias / %" else value)
    return fig
