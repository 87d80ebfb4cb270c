"""Figures of size distributions: density and sum on one axis, and the RRSB grid."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go

from particle_nb.core.errors import DataError
from particle_nb.core.sizes import ReferenceDistribution, SizeDistribution
from particle_nb.core.sizes.curves import QUANTITY
from particle_nb.core.sizes.intervals import what_it_holds, what_it_lacks
from particle_nb.figures.style import (
    GRID,
    INK,
    PALETTE,
    axis_title,
    footnote,
    layout,
    number,
    unit_text,
    words_and_symbol,
)

_MARKED = (10, 50, 90)


def psd(
    distribution: SizeDistribution,
    reference: Any = None,
    *,
    bins: int | None = None,
    level: float | None = 0.95,
    title: str | None = None,
) -> go.Figure:
    """Draw cumulative Q_r and log-binned density q_r over a logarithmic size axis.

    The marked percentiles carry their confidence intervals; the line below the axis says what is in
    them and what is not, and a star marks those that the count of particles or images does not
    carry (`SizeDistribution.interval` says why).

    Parameters
    ----------
    distribution : SizeDistribution
    reference : SizeDistribution, ReferenceDistribution or None
        Drawn over it, converted to the same unit; it must count the same quantity.
    bins : int or None
        Classes of the density, equal in ln x.
    level : float or None
        Confidence of the intervals; None draws none.

    Raises
    ------
    DataError
        If the two do not count the same quantity, or one is in pixels and the other is not.

    Examples
    --------
    >>> from particle_nb.core.sizes import size_distribution
    >>> fig = psd(size_distribution([1.0, 2.0, 4.0], unit="um"))
    >>> fig.layout.xaxis.type
    'log'
    """
    _check_distribution(distribution)
    unit, r = distribution.unit, distribution.r
    density = distribution.q(bins)
    edges = np.asarray(density.edges, float)
    fig = go.Figure()
    fig.add_trace(
        go.Bar(
            x=np.sqrt(edges[1:] * edges[:-1]),
            width=np.diff(edges),
            y=density.density,
            marker={"color": PALETTE[4], "line": {"color": "white", "width": 0.5}},
            opacity=0.75,
            name=f"q<sub>{r}</sub> (density)",
            customdata=np.stack([edges[:-1], edges[1:], 100 * density.shares], axis=1),
            hovertemplate="%{customdata[0]:.4g} to %{customdata[1]:.4g} "
            + unit_text(unit)
            + "<br>%{customdata[2]:.2f} %<extra></extra>",
        )
    )
    x, share = _sum_curve(distribution)
    fig.add_trace(
        go.Scatter(
            x=x,
            y=100 * share,
            mode="lines",
            line={"color": PALETTE[0], "width": 2.5},
            name=f"Q<sub>{r}</sub> (sum), n = {distribution.n}",
            yaxis="y2",
            hovertemplate="%{x:.4g} " + unit_text(unit) + ": %{y:.1f} %<extra></extra>",
        )
    )
    drawn = [edges[0], edges[-1]]
    if reference is not None:
        other = _reference_in_unit(reference, unit, r)
        percents = np.linspace(0.5, 99.5, 200)
        sizes = np.asarray(other.percentile(percents), float)
        known = np.isfinite(sizes)
        fig.add_trace(
            go.Scatter(
                x=sizes[known],
                y=percents[known],
                mode="lines",
                line={"color": PALETTE[5], "width": 2.2, "dash": "dash"},
                name=f"reference{_name_of(other)}",
                yaxis="y2",
                hovertemplate="reference %{x:.4g} "
                + unit_text(unit)
                + ": %{y:.1f} %<extra></extra>",
            )
        )
        drawn += [sizes[known].min(), sizes[known].max()]
    intervals = _intervals(distribution, level)
    for p in _MARKED:
        value = distribution.percentile(p)
        low, high, doubtful = intervals.get(p, (value, value, False))
        fig.add_trace(
            go.Scatter(
                x=[value, value],
                y=[0, p],
                mode="lines+markers",
                line={"color": INK, "width": 1, "dash": "dot"},
                marker={"size": [0, 7], "color": PALETTE[0]},
                showlegend=False,
                hoverinfo="skip",
                yaxis="y2",
            )
        )
        between = ""
        if p in intervals:
            between = f" ({number(low)} to {number(high)}){'*' if doubtful else ''}"
            fig.add_trace(
                go.Scatter(
                    x=[value],
                    y=[p],
                    mode="markers",
                    marker={"size": 1, "color": INK},
                    error_x={
                        "type": "data",
                        "symmetric": False,
                        "array": [max(high - value, 0)],
                        "arrayminus": [max(value - low, 0)],
                        "color": INK,
                        "thickness": 1.6,
                        "width": 5,
                    },
                    name=f"{100 * level:g} % interval of x<sub>{p},{r}</sub>",  # type: ignore[operator]
                    showlegend=False,
                    hovertemplate=f"{number(low)} to {number(high)} {unit_text(unit)}"
                    "<extra></extra>",
                    yaxis="y2",
                )
            )
            # a limit that nothing holds may lie decades away, and is told in numbers
            drawn += [max(low, edges[0] / 3), min(high, 3 * edges[-1])]
        fig.add_annotation(
            x=math.log10(value),
            y=p,
            yref="y2",
            text=f"x<sub>{p},{r}</sub> = {number(value)} {unit_text(unit)}{between}",
            xanchor="right",
            yanchor="bottom",
            showarrow=False,
            xshift=-6,
            bgcolor="rgba(255,255,255,0.7)",
            font={"size": 12},
        )
    words = f"{QUANTITY[r]}-weighted size distribution"
    layout(fig, title if title is not None else words.capitalize(), width=900, height=520)
    low, high = math.log10(min(drawn)), math.log10(max(drawn))
    margin = max(0.04 * (high - low), 0.02)
    symbol, logarithm = words_and_symbol(distribution.size)[1] or "x", density.per.split()[0]
    fig.update_layout(
        xaxis={
            "type": "log",
            "title": axis_title(distribution.size, unit),
            "range": [low - 4 * margin, high + margin],
            "minor": {"ticks": "outside", "showgrid": True, "gridcolor": "#f2f4f6"},
            "exponentformat": "none",
            **log_ticks(low - 4 * margin, high + margin),
        },
        # the sum curve lies over the bars of the density
        yaxis={
            "title": f"density q<sub>{r}</sub> = dQ<sub>{r}</sub>/d({logarithm} {symbol})",
            "side": "right",
            "showgrid": False,
            "rangemode": "tozero",
            "nticks": 6,
        },
        yaxis2={
            "title": f"cumulative {QUANTITY[r]} Q<sub>{r}</sub> / %",
            "range": [0, 101],
            "side": "left",
            "overlaying": "y",
            "gridcolor": GRID,
            "linecolor": INK,
            "ticks": "outside",
            "zeroline": False,
            "dtick": 20,
        },
        legend={"x": 0.01, "y": 0.99, "yanchor": "top"},
        margin={"l": 75, "r": 85, "t": 60, "b": 65},
        bargap=0,
    )
    if intervals:
        images = distribution.image_count
        doubtful = any(found[2] for found in intervals.values())
        told = f"{100 * level:g} % intervals. In them: {what_it_holds(images)}."  # type: ignore[operator]
        star = " * Wider in truth: too few particles or images." if doubtful else ""
        footnote(fig, f"{told}{star}<br>Not in them: {what_it_lacks(images)}.", 0, -0.16)
        fig.update_layout(margin={"b": 105}, height=560)
    return fig


def _intervals(
    distribution: SizeDistribution, level: float | None
) -> dict[int, tuple[float, float, bool]]:
    """Limits of the marked percentiles, and whether something speaks against them."""
    if level is None or distribution.n < 3:
        return {}
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        limits = distribution.interval(list(_MARKED), level)
    told = [str(one.message) for one in said]
    few_images = any(not text.startswith("x_") for text in told)
    return {
        p: (low, high, few_images or any(t.startswith(f"x_{p},") for t in told))
        for p, (low, high) in zip(_MARKED, limits.tolist(), strict=True)
    }


def rrsb(distribution: SizeDistribution, *, title: str | None = None) -> go.Figure:
    """Draw the distribution in the RRSB grid, where a Rosin-Rammler law is a straight line.

    The ordinate is ln(-ln R) with R = 1 - Q_r, the abscissa ln x; the line is the likelihood fit.
    It is a law of all sizes, also of those below the smallest particle. Where it puts more than
    2 % there, the measured points, which know nothing of them, do not lie along it: a dashed curve
    then shows the law among the sizes that were seen.

    Raises
    ------
    DataError
        If it is no SizeDistribution or has fewer than 5 particles.

    References
    ----------
    DIN 66145.

    Examples
    --------
    >>> from particle_nb.core.sizes import size_distribution
    >>> x = np.random.default_rng(0).weibull(2, 200) + 0.1
    >>> len(rrsb(size_distribution(x, unit="um")).data)
    2
    """
    _check_distribution(distribution)
    if distribution.n < 5:
        raise DataError(f"an RRSB fit needs at least 5 particles, not {distribution.n}.")
    unit, r = distribution.unit, distribution.r
    with warnings.catch_warnings(record=True):
        warnings.simplefilter("always")
        fit = distribution.rrsb()
    x, share = _sum_curve(distribution)
    inside = (share > 1e-4) & (share < 1 - 1e-4)
    x, share = x[inside], share[inside]

    def grid(q: np.ndarray) -> np.ndarray:
        return np.log(-np.log1p(-np.asarray(q, float)))

    fig = go.Figure()
    fig.add_trace(
        go.Scatter(
            x=x,
            y=grid(share),
            mode="markers",
            marker={"size": 5, "color": PALETTE[0]},
            customdata=100 * share,
            name=f"{distribution.n} particles",
            hovertemplate="%{x:.4g} " + unit_text(unit) + ": %{customdata:.2f} %<extra></extra>",
        )
    )
    line = np.geomspace(x.min() / 1.1, x.max() * 1.1, 60)
    fitted = np.clip(np.asarray(fit.Q(line), float), 1e-12, 1 - 1e-12)
    fig.add_trace(
        go.Scatter(
            x=line,
            y=grid(fitted),
            mode="lines",
            line={"color": PALETTE[5], "width": 2},
            name=f"RRSB: x' = {number(fit.x_prime)} {unit_text(unit)}, n = {fit.n:.3g}",
            hoverinfo="skip",
        )
    )
    unseen = float(fit.Q(fit.smallest))
    if unseen > 0.02:
        from_smallest = line[line > fit.smallest * (1 + 1e-9)]
        seen = (np.asarray(fit.Q(from_smallest), float) - unseen) / max(1 - unseen, 1e-12)
        fig.add_trace(
            go.Scatter(
                x=from_smallest,
                y=grid(np.clip(seen, 1e-12, 1 - 1e-12)),
                mode="lines",
                line={"color": PALETTE[5], "width": 2, "dash": "dash"},
                name=f"without the {100 * unseen:.2g} % that it puts below "
                f"{number(fit.smallest)} {unit_text(unit)}",
                hoverinfo="skip",
            )
        )
    percents = [0.1, 1, 5, 10, 20, 50, 63.2, 80, 90, 95, 99, 99.9]
    layout(
        fig,
        title if title is not None else f"RRSB grid, Q<sub>{r}</sub>",
        width=900,
        height=520,
    )
    low, high = math.log10(line[0]), math.log10(line[-1])
    top, bottom = grid(np.array([0.9995])), grid(np.array([max(share.min() * 0.6, 1e-4)]))
    fig.add_hline(y=0.0, line={"color": GRID, "width": 2, "dash": "dash"})
    fig.update_layout(
        xaxis={
            "type": "log",
            "title": axis_title(distribution.size, unit),
            "range": [low, high],
            "exponentformat": "none",
            **log_ticks(low, high),
        },
        yaxis={
            "title": f"Q<sub>{r}</sub> / % on ln(−ln(1 − Q))",
            "tickvals": grid(np.array(percents) / 100),
            "ticktext": [f"{p:g}" for p in percents],
            "range": [float(bottom[0]), float(top[0])],
        },
        legend={"x": 0.01, "y": 0.99, "yanchor": "top"},
    )
    return fig


def _check_distribution(distribution: Any) -> None:
    if not isinstance(distribution, SizeDistribution):
        raise DataError(
            f"expected a SizeDistribution, not {type(distribution).__name__}; "
            "use size_distribution(table)."
        )


def _sum_curve(distribution: SizeDistribution, points: int = 1500) -> tuple[np.ndarray, np.ndarray]:
    x = distribution.x
    if len(x) > points:
        x = np.unique(np.quantile(x, np.linspace(0, 1, points)))
    return x, np.asarray(distribution.Q(x), float)


def _reference_in_unit(reference: Any, unit: str, r: int) -> Any:
    if not hasattr(reference, "percentile") or not hasattr(reference, "unit"):
        raise DataError(
            f"a reference is what read_distribution returns, not {type(reference).__name__}."
        )
    if getattr(reference, "r", r) != r:
        raise DataError(
            f"the reference counts Q_{reference.r} and the measurement Q_{r}; "
            f"make it with size_distribution(table, r={reference.r})."
        )
    if (reference.unit == "px") != (unit == "px"):
        raise DataError(
            f"a reference in {reference.unit} cannot be laid over a distribution in {unit}; "
            "give the image a pixel size."
        )
    return reference if reference.unit == unit else reference.to(unit)


def _name_of(reference: Any) -> str:
    name = str(getattr(reference, "source", "") or "")
    return f" ({name})" if name else ""


def log_ticks(low: float, high: float) -> dict[str, Any]:
    """Tick labels at 1-2-5 steps where fewer than three decades are shown; plotly's own else."""
    if high - low > 3:
        return {}
    steps: tuple[float, ...] = (1, 2, 5) if high - low > 0.8 else (1, 1.5, 2, 3, 4, 5, 6, 7, 8, 9)
    values = [
        step * 10.0**power
        for power in range(math.floor(low), math.ceil(high) + 1)
        for step in steps
        if low <= math.log10(step * 10.0**power) <= high
    ]
    if len(values) < 3:
        return {"nticks": 6}
    return {"tickvals": values, "ticktext": [number(value, 3) for value in values]}


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
    >>> from particle_nb.core.sizes import size_distribution
    >>> fine, coarse = (size_distribution([f, 2 * f, 3 * f], unit="um") for f in (1.0, 10.0))
    >>> [trace.name for trace in sums({"fine": fine, "coarse": coarse}).data][:2]
    ['fine, n = 3', 'coarse, n = 3']
    """
    items = _checked_curves(distributions)
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
        x, share = _thinned_sum(one)
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
        **log_ticks(*ends),
    )
    fig.update_yaxes(title=f"Q<sub>{r}</sub> / %", range=[0, 101], dtick=20)
    # below the axis: four curves leave no corner that none of them crosses
    fig.update_layout(
        legend={"orientation": "h", "x": 0, "y": -0.2, "yanchor": "top", "borderwidth": 0},
        margin={"b": 115},
    )
    return fig


def _checked_curves(
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


def _thinned_sum(one: SizeDistribution | ReferenceDistribution) -> tuple[np.ndarray, np.ndarray]:
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
