"""Figure of several size distributions at once: their sums over one logarithmic axis."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go

from particle_nb.core.distribution import SizeDistribution
from particle_nb.core.errors import DataError
from particle_nb.core.psd_reference import ReferenceDistribution
from particle_nb.figures.distributions import _log_ticks
from particle_nb.figures.style import INK, PALETTE, axis_title, layout, number, unit_text

#: Colours in an order in which neighbours differ most; references are drawn in ink.
_COLOURS = (PALETTE[0], PALETTE[5], PALETTE[2], PALETTE[3], PALETTE[1], PALETTE[4])


def sums(
    distributions: Mapping[str, SizeDistribution | ReferenceDistribution],
    *,
    medians: bool = True,
    dashed: Sequence[str] = (),
    title: str | None = None,
) -> go.Figure:
    """Draw the cumulative sums Q_r of several distributions over one logarithmic size axis.

    Parameters
    ----------
    distributions : dict of name -> SizeDistribution or ReferenceDistribution
        All of one type of quantity r; lengths are converted to the unit of the first. References
        are dashed.
    medians : bool
        Mark x_50 of each and write it beside the mark.
    dashed : sequence of str
        Names that are dashed in the colour of the one before, e.g. the truth beside the found.
    title : str or None

    Raises
    ------
    DataError
        If there is none, something else is among them, or they count different quantities.

    Examples
    --------
    >>> from particle_nb.core.distribution import size_distribution
    >>> fine, coarse = (size_distribution([f, 2 * f, 3 * f], unit="um") for f in (1.0, 10.0))
    >>> [trace.name for trace in sums({"fine": fine, "coarse": coarse}).data][:2]
    ['fine, n = 3', 'coarse, n = 3']
    """
    items = _checked(distributions)
    first = next(iter(items.values()))
    unit, r = first.unit, first.r
    fig = go.Figure()
    marks: list[tuple[float, str]] = []
    low, high = math.inf, -math.inf
    number_of = -1
    for name, one in items.items():
        reference = isinstance(one, ReferenceDistribution)
        count = f", n = {one.n}" if isinstance(one, SizeDistribution) else ""
        if not reference and name not in dashed:
            number_of += 1
        colour = INK if reference else _COLOURS[max(number_of, 0) % len(_COLOURS)]
        x, share = _curve(one)
        low, high = min(low, float(x[0])), max(high, float(x[-1]))
        fig.add_trace(
            go.Scatter(
                x=x,
                y=100 * share,
                mode="lines",
                name=f"{name}{count}",
                line={
                    "color": colour,
                    "width": 1.8 if reference or name in dashed else 2.6,
                    "dash": "dash" if reference else "dot" if name in dashed else "solid",
                },
                hovertemplate=f"{name} %{{x:.4g}} {unit_text(unit)}: %{{y:.1f}} %<extra></extra>",
            )
        )
        middle = float(one.percentile(50))
        if medians and math.isfinite(middle):
            marks.append((middle, colour))
    for middle, colour in marks:
        fig.add_trace(
            go.Scatter(
                x=[middle],
                y=[50],
                mode="markers",
                marker={"color": colour, "size": 9, "line": {"color": "white", "width": 1}},
                hovertemplate=f"x50 = %{{x:.4g}} {unit_text(unit)}<extra></extra>",
                showlegend=False,
            )
        )
    _write_medians(fig, marks, low, high)
    wide = math.log10(high / low)
    margin = max(0.04 * wide, 0.02)
    ends = math.log10(low) - margin, math.log10(high) + margin
    layout(fig, title if title is not None else f"Sums Q<sub>{r}</sub>", width=900, height=480)
    size = getattr(first, "size", "x")
    fig.update_xaxes(
        title=axis_title(size, unit),
        type="log",
        range=list(ends),
        exponentformat="none",
        **_log_ticks(*ends),
    )
    fig.update_yaxes(title=f"Q<sub>{r}</sub> / %", range=[0, 101], dtick=20)
    # below the axis: four curves leave no corner that none of them crosses
    fig.update_layout(
        legend={"orientation": "h", "x": 0, "y": -0.2, "yanchor": "top", "borderwidth": 0},
        margin={"b": 115},
    )
    return fig


def _checked(
    distributions: Any,
) -> dict[str, SizeDistribution | ReferenceDistribution]:
    if not isinstance(distributions, Mapping) or not distributions:
        raise DataError("sums draws a dict of name -> distribution with at least one in it.")
    items: dict[str, SizeDistribution | ReferenceDistribution] = {}
    first: Any = None
    for name, one in distributions.items():
        if not isinstance(one, (SizeDistribution, ReferenceDistribution)):
            raise DataError(
                f"{name!r} is {type(one).__name__}, no distribution; use size_distribution(table) "
                "or read_distribution(file)."
            )
        first = one if first is None else first
        if one.r != first.r:
            raise DataError(
                f"{name!r} counts Q_{one.r}, the first one Q_{first.r}; give both the same r."
            )
        items[str(name)] = one if one.unit == first.unit else one.to(first.unit)
    return items


def _curve(one: SizeDistribution | ReferenceDistribution) -> tuple[np.ndarray, np.ndarray]:
    """Sizes and Q there; many particles are thinned out, the ends stay."""
    if isinstance(one, ReferenceDistribution):
        percents = np.linspace(0.5, 99.5, 200)
        sizes = np.asarray(one.percentile(percents), float)
        known = np.isfinite(sizes)
        return sizes[known], percents[known] / 100
    x = one.x
    if len(x) > 1500:
        x = np.unique(np.quantile(x, np.linspace(0, 1, 1500)))
    return x, np.asarray(one.Q(x), float)


def _write_medians(fig: go.Figure, marks: list[tuple[float, str]], low: float, high: float) -> None:
    """Write the medians beside their marks; those that lie close together go below one another."""
    near = 0.12 * math.log10(high / low)
    row, last = 0, -math.inf
    for middle, colour in sorted(marks):
        place = math.log10(middle)
        row = row + 1 if place - last < near else 0
        last = place
        fig.add_annotation(
            x=place,
            y=50,
            text=f"x<sub>50</sub> = {number(middle, 3)}",
            showarrow=False,
            xanchor="left",
            yanchor="top",
            xshift=9,
            yshift=-4 - 17 * row,
            bgcolor="rgba(255,255,255,0.8)",
            font={"size": 12, "color": colour},
        )
