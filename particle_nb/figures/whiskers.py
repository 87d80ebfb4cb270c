"""Figure of shape percentiles: boxes of measured particles, marks of a reference."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd
import plotly.graph_objects as go

from particle_nb.core.errors import DataError
from particle_nb.figures.style import INK, PALETTE, layout

_NEEDED = ("parameter", "D10", "D25", "D50", "D75", "D90")


def shape_whiskers(
    measured: Mapping[str, pd.DataFrame],
    references: Mapping[str, pd.DataFrame] | None = None,
    *,
    title: str | None = None,
) -> go.Figure:
    """Draw a box per shape parameter and series: D25 to D75, whiskers from D10 to D90.

    A reference is a mark at its D50 with bars to its D10 and D90; the ends of its own whiskers
    (``low``, ``high``), where known, are thin lines beyond.

    Parameters
    ----------
    measured : dict of name -> DataFrame
        From `core.shape_reference.shape_percentiles`.
    references : dict of name -> DataFrame, or None
        From `core.shape_reference.read_shapes`.
    title : str or None

    Raises
    ------
    DataError
        If there is nothing to draw or a table has other columns.

    Examples
    --------
    >>> from particle_nb.core.shape_reference import shape_percentiles
    >>> table = shape_percentiles(pd.DataFrame({"convexity": [0.9, 0.92, 1.0]}))
    >>> fig = shape_whiskers({"dispersed": table})
    >>> fig.data[0].median
    (0.92,)
    """
    if not isinstance(measured, Mapping) or not measured:
        raise DataError("shape_whiskers draws a dict of name -> shape_percentiles(table).")
    for name, table in measured.items():
        if not isinstance(table, pd.DataFrame) or not set(_NEEDED) <= set(table):
            raise DataError(f"{name!r} is no table of shape_percentiles.")
    fig = go.Figure()
    order = list(dict.fromkeys(p for table in measured.values() for p in table["parameter"]))
    colours = (PALETTE[0], PALETTE[5], PALETTE[2], PALETTE[3])
    for number, (name, table) in enumerate(measured.items()):
        fig.add_trace(
            go.Box(
                x=[text.replace("_", " ") for text in table["parameter"]],
                lowerfence=table["D10"].tolist(),
                q1=table["D25"].tolist(),
                median=table["D50"].tolist(),
                q3=table["D75"].tolist(),
                upperfence=table["D90"].tolist(),
                name=str(name),
                offsetgroup=str(name),
                marker={"color": colours[number % len(colours)]},
                line={"width": 1.6},
            )
        )
    for number, (name, table) in enumerate((references or {}).items()):
        table = table[table["parameter"].isin(order)]
        shown = [text.replace("_", " ") for text in table["parameter"]]
        colour = (INK, PALETTE[3], PALETTE[2])[number % 3]
        # a box of no height: only boxes stand beside one another in groups
        fig.add_trace(
            go.Box(
                x=shown,
                lowerfence=table["D10"].tolist(),
                q1=table["D50"].tolist(),
                median=table["D50"].tolist(),
                q3=table["D50"].tolist(),
                upperfence=table["D90"].tolist(),
                name=f"{name} (D10, D50, D90)",
                offsetgroup=f"reference {name}",
                marker={"color": colour},
                line={"width": 2.2},
            )
        )
        if {"low", "high"} <= set(table) and table[["low", "high"]].notna().to_numpy().any():
            fig.add_trace(
                go.Box(
                    x=shown,
                    lowerfence=table["low"].fillna(table["D10"]).tolist(),
                    q1=table["D50"].tolist(),
                    median=table["D50"].tolist(),
                    q3=table["D50"].tolist(),
                    upperfence=table["high"].fillna(table["D90"]).tolist(),
                    name=f"{name} (whiskers)",
                    offsetgroup=f"reference {name} whiskers",
                    marker={"color": "#8a949e"},
                    line={"width": 1.2},
                )
            )
    layout(
        fig,
        title if title is not None else "Shapes: boxes D25 to D75, whiskers D10 to D90",
        width=900,
        height=460,
        boxmode="group",
    )
    fig.update_yaxes(title="shape parameter")
    fig.update_layout(legend={"orientation": "h", "x": 0, "y": -0.12, "yanchor": "top"})
    return fig
