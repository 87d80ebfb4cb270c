"""Figures of tables: the audit funnel and the shape parameters."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from particle_nb.core.cascade import STAGES
from particle_nb.core.errors import DataError
from particle_nb.figures.style import INK, PALETTE, layout, words_and_symbol

_STAGE_WORDS = {
    "region": "inside the region",
    "confidence": "confidence",
    "stability": "stability",
    "area": "area",
    "contrast": "contrast",
    "form_factor": "form factor",
    "duplicates": "duplicates",
    "edge": "cut by the frame",
}

#: Shape parameters that are shown when none are named; the paper's first.
SHAPES = ("aspect_ratio", "circularity", "form_factor", "roundness", "convexity", "solidity")


def funnel(audit: pd.DataFrame, *, title: str = "Masks left after each stage") -> go.Figure:
    """Draw how many masks each stage of the cascade left and removed.

    Parameters
    ----------
    audit : DataFrame
        From `cascade`; audits of several images may be stacked if their ``mask`` differs.

    Raises
    ------
    DataError
        If it is no audit table.

    Examples
    --------
    >>> audit = pd.DataFrame({"mask": [0, 1], "stage": "area", "verdict": ["kept", "removed"]})
    >>> list(funnel(audit).data[0].x)
    [2, 1]
    """
    if not isinstance(audit, pd.DataFrame) or not {"stage", "verdict", "mask"} <= set(audit):
        raise DataError("an audit table has the columns mask, stage and verdict; use cascade's.")
    proposed = audit["mask"].nunique()
    stages = [s for s in STAGES if ((audit["stage"] == s) & (audit["verdict"] != "off")).any()]
    left, removed = [proposed], [0]
    for stage in stages:
        gone = int(((audit["stage"] == stage) & (audit["verdict"] == "removed")).sum())
        left.append(left[-1] - gone)
        removed.append(gone)
    names = ["proposed", *(_STAGE_WORDS[stage] for stage in stages)]
    fig = go.Figure()
    fig.add_trace(
        go.Bar(
            y=names,
            x=left,
            orientation="h",
            marker_color=PALETTE[0],
            text=left,
            textposition="auto",
            name="left",
            hovertemplate="%{y}: %{x} left<extra></extra>",
        )
    )
    fig.add_trace(
        go.Bar(
            y=names,
            x=removed,
            orientation="h",
            marker={"color": "white", "line": {"color": PALETTE[5], "width": 1}},
            marker_pattern={"shape": "/", "fgcolor": PALETTE[5], "size": 6},
            text=[f"−{gone}" if gone else "" for gone in removed],
            textposition="outside",
            cliponaxis=False,
            name="removed here",
            hovertemplate="%{y}: %{x} removed<extra></extra>",
        )
    )
    layout(fig, title, barmode="stack", height=80 + 44 * len(names), width=860)
    fig.update_yaxes(autorange="reversed", showgrid=False)
    fig.update_xaxes(title="number of masks", range=[0, max(1, proposed) * 1.08])
    fig.update_layout(
        margin={"l": 125, "b": 55, "t": 55},
        legend={"orientation": "h", "x": 1, "xanchor": "right", "y": 1.0, "yanchor": "bottom"},
    )
    return fig


def shapes(
    table: pd.DataFrame,
    parameters: tuple[str, ...] | None = None,
    *,
    by: str | None = None,
    kind: str = "violin",
    title: str | None = None,
) -> go.Figure:
    """Draw the distribution of the shape parameters, one panel each.

    Parameters
    ----------
    table : DataFrame
        From `measure`.
    parameters : tuple of str
        Dimensionless columns; the common six when left out.
    by : str or None
        A column to split by (``"image"``, ``"class"``).
    kind : {"violin", "box"}

    Raises
    ------
    DataError
        If a column is missing or `kind` is unknown.

    Examples
    --------
    >>> len(shapes(pd.DataFrame({"aspect_ratio": [0.5, 0.7, 0.9]})).data)
    1
    """
    if kind not in ("violin", "box"):
        raise DataError(f"kind is 'violin' or 'box', not {kind!r}.")
    if not isinstance(table, pd.DataFrame) or table.empty:
        raise DataError("shapes needs a table of particles; use measure.")
    names = parameters or tuple(name for name in SHAPES if name in table)
    missing = [name for name in (*names, *([by] if by else ())) if name not in table]
    if missing or not names:
        raise DataError(f"the table has no column {(missing or SHAPES)[0]!r}.")
    fig = make_subplots(1, len(names), horizontal_spacing=0.045, subplot_titles=[" "] * len(names))
    groups = [("", table)] if by is None else list(table.groupby(by, sort=True))
    for column, name in enumerate(names, start=1):
        for number, (group, rows) in enumerate(groups):
            values = rows[name].to_numpy(float)
            values = values[np.isfinite(values)]
            colour = PALETTE[number % (len(PALETTE) - 1)]
            common = {
                "y": values,
                "name": str(group),
                "x": np.full(values.size, number, float),
                "width": 0.8,
                "legendgroup": str(group),
                "showlegend": by is not None and column == 1,
                "line": {"color": colour, "width": 1.5},
                "hoverinfo": "y",
            }
            if kind == "violin" and values.size >= 5:
                trace = go.Violin(
                    **common,
                    box={
                        "visible": True,
                        "width": 0.12,
                        "fillcolor": "white",
                        "line": {"color": INK, "width": 1},
                    },
                    meanline={"visible": False},
                    points=False,
                    spanmode="hard",
                    scalemode="width",
                    side="both",
                    fillcolor=colour,
                    opacity=0.65,
                )
            else:
                trace = go.Box(**common, boxpoints="outliers", marker={"color": colour, "size": 3})
            fig.add_trace(trace, row=1, col=column)
        words, symbol = words_and_symbol(name)
        fig.layout.annotations[column - 1].update(
            text=f"{words}<br><span style='font-size:11px'>{symbol}</span>",
            font={"size": 13, "color": INK},
        )
    text = title if title is not None else f"Shape of {len(table)} particles"
    layout(fig, text, height=430, width=max(420, 170 * len(names) + 60))
    fig.update_xaxes(
        showticklabels=False, ticks="", showgrid=False, range=[-0.6, len(groups) - 0.4]
    )
    fig.update_yaxes(title="")
    fig.update_layout(margin={"t": 105, "l": 50, "b": 30}, violinmode="overlay", boxmode="overlay")
    return fig


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
        From `core.shape.shape_percentiles`.
    references : dict of name -> DataFrame, or None
        From `core.shape.read_shapes`.
    title : str or None

    Raises
    ------
    DataError
        If there is nothing to draw or a table has other columns.

    Examples
    --------
    >>> from particle_nb.core.shape import shape_percentiles
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
