"""Figures of samples compared: their distributions with bands, and their differences."""

from __future__ import annotations

import warnings

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from particle_nb.core.errors import DataError
from particle_nb.core.sizes import Comparison, SizeDistribution
from particle_nb.core.sizes.curves import QUANTITY
from particle_nb.figures.sizes import log_ticks
from particle_nb.figures.style import (
    GRID,
    INK,
    PALETTE,
    axis_title,
    footnote,
    layout,
    unit_text,
)

#: Where the band of a distribution is drawn, in per cent.
_BAND = (2, 5, 10, 15, 20, 30, 40, 50, 60, 70, 80, 85, 90, 95, 98)


def compare(comparison: Comparison, *, title: str | None = None) -> go.Figure:
    """Draw the sums of all samples with their bands, and the differences with their intervals.

    The band of a sample is the interval of its percentiles, point by point; the line below says
    what is in bands and intervals and what is not.

    Parameters
    ----------
    comparison : Comparison
        From `particle_nb.compare`.
    title : str or None

    Raises
    ------
    DataError
        If it is no `Comparison`.

    Examples
    --------
    >>> import pandas as pd
    >>> from particle_nb.core.sizes import compare as compared
    >>> tables = {n: pd.DataFrame({"x_A_um": [1.0, 2, 3, 4 + k]}) for k, n in enumerate("ab")}
    >>> fig = compare(compared(tables, r=0))
    >>> fig.layout.xaxis.type
    'log'
    """
    if not isinstance(comparison, Comparison):
        raise DataError(
            f"compare draws what particle_nb.compare returns, not {type(comparison).__name__}."
        )
    fig = make_subplots(1, 2, column_widths=[0.58, 0.42], horizontal_spacing=0.17)
    for k, (name, one) in enumerate(comparison.distributions.items()):
        colour = PALETTE[k % len(PALETTE)]
        for trace in _curve(one, name, colour, comparison.level):
            fig.add_trace(trace, 1, 1)
    rows = comparison.differences
    shown = rows[np.isfinite(rows["percent"])]
    others = list(dict.fromkeys(shown["sample"]))
    names = list(dict.fromkeys(shown["quantity"]))
    for name in others:
        part = shown[shown["sample"] == name].set_index("quantity").reindex(names)
        place = list(comparison.distributions).index(name)
        fig.add_trace(_differences(part, name, place, len(others)), 1, 2)
    r = comparison.r
    heading = "Samples compared" if title is None else title
    layout(fig, heading, width=1040, height=560)
    fig.update_xaxes(
        type="log",
        title=axis_title(comparison.size, comparison.unit),
        exponentformat="none",
        row=1,
        col=1,
    )
    sizes = np.concatenate([one.x[[0, -1]] for one in comparison.distributions.values()])
    low, high = np.log10(sizes.min()) - 0.03, np.log10(sizes.max()) + 0.03
    fig.update_xaxes(range=[low, high], **log_ticks(low, high), row=1, col=1)
    fig.update_yaxes(
        title=f"cumulative {QUANTITY[r]} Q<sub>{r}</sub> / %", range=[0, 101], row=1, col=1
    )
    first = next(iter(comparison.distributions))
    fig.update_xaxes(
        title=f"difference from {first} / % (filled: p<sub>Holm</sub> < 0.05)",
        row=1,
        col=2,
        zeroline=True,
    )
    fig.update_xaxes(zerolinecolor=INK, zerolinewidth=1.5, row=1, col=2)
    places = list(range(len(names)))
    fig.update_yaxes(
        tickmode="array",
        tickvals=places,
        ticktext=[f"x<sub>{n[1:]},{r}</sub>" if n[0] == "D" else axis_title(n) for n in names],
        range=[len(names) - 0.4, -0.6],
        gridcolor=GRID,
        row=1,
        col=2,
    )
    told = (
        f"{100 * comparison.level:g} % bands and intervals. In them: {comparison.holds}."
        f"<br>Not in them: {comparison.lacks}."
    )
    if comparison.notes:
        told += "<br>" + "<br>".join(note[0].upper() + note[1:] + "." for note in comparison.notes)
    footnote(fig, told, -0.05, -0.17)
    fig.update_layout(
        legend={"x": 0.485, "y": 0.03, "xanchor": "right", "yanchor": "bottom"},
        margin={"b": 105 + 15 * len(comparison.notes), "l": 75},
    )
    return fig


def _curve(one: SizeDistribution, name: str, colour: str, level: float) -> list[go.Scatter]:
    """The sum of one sample and its band."""
    traces = []
    if one.n >= 3:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the comparison names what is doubtful
            limits = np.asarray(one.interval(list(_BAND), level))
        # an interval of a single percentile may cross that of its neighbour; a sum cannot fall
        low, high = np.maximum.accumulate(limits, axis=0).T
        low, high = np.clip(low, one.x[0] / 3, None), np.clip(high, None, one.x[-1] * 3)
        traces.append(
            go.Scatter(
                x=[*low, *high[::-1]],
                y=[*_BAND, *_BAND[::-1]],
                fill="toself",
                fillcolor=colour,
                opacity=0.18,
                line={"width": 0},
                hoverinfo="skip",
                showlegend=False,
                name=f"band of {name}",
            )
        )
    percents = np.r_[0, np.linspace(0.5, 99.5, 200), 100]
    images = f", {one.image_count} images" if one.image_count else ""
    traces.append(
        go.Scatter(
            x=one.percentile(percents),
            y=percents,
            mode="lines",
            line={"color": colour, "width": 2.5},
            name=f"{name}, n = {one.n}{images}",
            hovertemplate=f"{name} %{{x:.4g}} {unit_text(one.unit)}: %{{y:.1f}} %<extra></extra>",
        )
    )
    return traces


def _differences(table: pd.DataFrame, name: str, place: int, count: int) -> go.Scatter:
    """The differences of one sample from the first, with intervals, a little beside each other."""
    values = table["percent"].to_numpy(float)
    low = np.clip(table["percent_low"].to_numpy(float), -100, None)
    high = table["percent_high"].to_numpy(float)
    high = np.where(np.isfinite(high), high, values)
    chances = table["p_holm"].to_numpy(float)
    offset = 0.0 if count == 1 else 0.5 * ((place - 1) / (count - 1) - 0.5)
    return go.Scatter(
        x=values,
        y=np.arange(len(values)) + offset,
        mode="markers",
        marker={
            "size": 10,
            "color": PALETTE[place % len(PALETTE)],
            "symbol": np.where(chances < 0.05, "circle", "circle-open").tolist(),
            "line": {"width": 2, "color": PALETTE[place % len(PALETTE)]},
        },
        error_x={
            "type": "data",
            "symmetric": False,
            "array": np.maximum(high - values, 0),
            "arrayminus": np.maximum(values - low, 0),
            "thickness": 1.8,
            "width": 5,
            "color": PALETTE[place % len(PALETTE)],
        },
        customdata=np.stack([table["p"].to_numpy(float), chances], axis=1),
        hovertemplate="%{x:+.3g} %, p = %{customdata[0]:.3g}, for all quantities together "
        "%{customdata[1]:.3g}<extra></extra>",
        name=f"difference of {name}",
        showlegend=False,
    )
