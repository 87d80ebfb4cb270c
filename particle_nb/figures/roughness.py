"""Figures of one particle's roughness: section and histogram of heights."""

from __future__ import annotations

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots
from scipy import stats

from particle_nb.core.errors import DataError
from particle_nb.core.levelling import level
from particle_nb.core.roughness import Roughness, roughness
from particle_nb.core.surface import PointCloud
from particle_nb.core.texture import Section, texture_map
from particle_nb.figures.style import INK, PALETTE, layout

_BINS = 81
_PAPER_FORM = {"Sa": "Ra", "Sq": "Rq", "Sz": "PV"}


def cross_section(cut: Section, *, title: str | None = None) -> go.Figure:
    """Draw a section through a particle: heights above, what is left without the form below.

    Parameters
    ----------
    cut : Section
        From `core.texture.section`.

    Raises
    ------
    DataError
        If it is no Section.

    Examples
    --------
    >>> x = np.linspace(-50, 50, 11)
    >>> cut = Section(x, 100 - x**2 / 100, np.sin(x), 0.6, 0.7, 0.0, 0.0, {"form": "sphere"})
    >>> cross_section(cut).layout.yaxis2.title.text
    'residual / nm'
    """
    if not isinstance(cut, Section):
        raise DataError(f"expected a Section, not {type(cut).__name__}; use texture.section.")
    fig = make_subplots(2, 1, shared_xaxes=True, vertical_spacing=0.08, row_heights=[0.55, 0.45])
    position, height, residual = _with_gaps(cut.position, cut.height, cut.residual)
    for row, values, colour, name in (
        (1, height, PALETTE[0], "height"),
        (2, residual, PALETTE[5], "residual"),
    ):
        fig.add_trace(
            go.Scatter(
                x=position,
                y=values,
                mode="lines",
                line={"color": colour, "width": 1.8},
                name=name,
                showlegend=False,
                hovertemplate="%{x:.5g} nm: %{y:.4g} nm<extra></extra>",
            ),
            row=row,
            col=1,
        )
    fig.add_hline(y=0, line={"color": INK, "width": 1, "dash": "dot"}, row=2, col=1)
    fig.add_hrect(
        y0=-cut.Rq, y1=cut.Rq, fillcolor="rgba(213,94,0,0.12)", line_width=0, row=2, col=1
    )
    form, cutoff = cut.info.get("form", ""), cut.info.get("l_filter")
    removed = f"{form} removed" if form else "form removed"
    if cutoff is not None:
        removed += f", waves above {cutoff:g} nm removed"
    fig.add_annotation(
        x=0.995,
        xref="x2 domain",
        y=1.0,
        yref="y2 domain",
        xanchor="right",
        yanchor="bottom",
        showarrow=False,
        text=f"{removed}: Rq = {cut.Rq:.3g} nm (band), Ra = {cut.Ra:.3g} nm",
        font={"size": 12},
    )
    words = f"Section at {cut.angle:g}°"
    if cut.offset:
        words += f", {cut.offset:g} nm off the middle"
    layout(fig, title if title is not None else words, width=860, height=520)
    fig.update_xaxes(exponentformat="none", separatethousands=True)
    fig.update_yaxes(exponentformat="none", separatethousands=True, nticks=6)
    fig.update_xaxes(title="distance along the cut / nm", row=2, col=1)
    fig.update_yaxes(title="height z / nm", row=1, col=1)
    fig.update_yaxes(title="residual / nm", row=2, col=1)
    return fig


def heights(
    cloud: PointCloud,
    form: str,
    *,
    s_filter: float | None = None,
    l_filter: float | None = None,
    title: str | None = None,
) -> go.Figure:
    """Draw the histogram of heights with Sa, Sq, Ssk and Sku, and say what form was taken off.

    Parameters
    ----------
    cloud : PointCloud
        In nm.
    form, s_filter, l_filter :
        As in `roughness`; ``form="none"`` leaves the particle's roundness in and shows what a
        perfectly smooth particle gives.

    Raises
    ------
    DataError, CalibrationError
        As `roughness`.

    Examples
    --------
    >>> y, x = np.mgrid[-60:61, -60:61].reshape(2, -1).astype(float)
    >>> z = np.sqrt(100.0**2 - x**2 - y**2) + np.random.default_rng(0).normal(0, 1, x.size)
    >>> fig = heights(PointCloud(np.stack([x, y, z], axis=1)), "sphere")
    >>> fig.layout.xaxis.title.text
    'height above the sphere / nm'
    """
    found = roughness(cloud, form, s_filter, l_filter)
    values, area = _drawn(cloud, form, s_filter, l_filter)
    total = area.sum(dtype=np.float64)
    mean = float((area * values).sum(dtype=np.float64) / total)
    if form == "none":
        mean_shown = mean
    else:
        values, mean_shown = values - mean, 0.0
    counts, edges = np.histogram(values, _BINS, weights=area)
    width = np.diff(edges)
    share = "share of the points" if form == "none" else "share of the surface"
    fig = go.Figure()
    fig.add_trace(
        go.Bar(
            x=(edges[:-1] + edges[1:]) / 2,
            y=100 * counts / total,
            width=width,
            marker={"color": PALETTE[4], "line": {"width": 0}},
            name=share,
            hovertemplate="%{x:.4g} nm: %{y:.2f} %<extra></extra>",
        )
    )
    at = np.linspace(edges[0], edges[-1], 300)
    if found.Sq > 0:
        fig.add_trace(
            go.Scatter(
                x=at,
                y=100 * width[0] * stats.norm.pdf(at, mean_shown, found.Sq),
                mode="lines",
                line={"color": INK, "width": 1.8, "dash": "dash"},
                name=f"normal law of the same {symbol_of('Sq', form)}",
                hoverinfo="skip",
            )
        )
    for side in (-1, 1):
        fig.add_vline(
            x=mean_shown + side * found.Sq, line={"color": PALETTE[5], "width": 1.5, "dash": "dot"}
        )
    words = title if title is not None else _form_title(found)
    layout(fig, words + _numbers(found), width=860, height=520, bargap=0)
    what = "height z" if form == "none" else f"height above the {form}"
    fig.update_layout(
        xaxis={"title": f"{what} / nm", "exponentformat": "none", "separatethousands": True},
        # room for the legend above the bars
        yaxis={"title": f"{share} / %", "range": [0, 122 * float(counts.max() / total)]},
        margin={"l": 75, "r": 25, "t": 105 if found.null is None else 122, "b": 60},
        legend={"x": 0.99, "y": 0.99, "xanchor": "right", "yanchor": "top"},
    )
    return fig


def _drawn(
    cloud: PointCloud, form: str, s_filter: float | None, l_filter: float | None
) -> tuple[np.ndarray, np.ndarray]:
    """The heights and areas that `roughness` takes its parameters of."""
    if form == "none":
        return np.asarray(cloud.xyz[:, 2], np.float64), np.ones(len(cloud))
    levelled = level(cloud, form)
    if s_filter is None and l_filter is None:
        kept = levelled.kept
        return levelled.residual[kept].astype(np.float64), levelled.area[kept].astype(np.float64)
    texture = texture_map(levelled).filtered(s_filter, l_filter)
    known = np.isfinite(texture.heights)
    area = np.ones(texture.heights.shape) if texture.area is None else texture.area
    return texture.heights[known].astype(np.float64), np.asarray(area, np.float64)[known]


def _form_title(found: Roughness) -> str:
    if found.form == "none":
        return "Heights, form included"
    filters = [
        f"{word} {cutoff:g} nm"
        for word, cutoff in (("S-filter", found.s_filter), ("L-filter", found.l_filter))
        if cutoff is not None
    ]
    return ", ".join([f"Heights, form removed ({found.form})", *filters])


def _numbers(found: Roughness) -> str:
    """Lines below the title: the parameters, and the smooth particle's beside them."""
    small = "<br><span style='font-size:12px'>"
    sa, sq, sz = (symbol_of(name, found.form) for name in ("Sa", "Sq", "Sz"))
    text = f"{small}{sa} {found.Sa:.3g} nm, {sq} {found.Sq:.3g} nm, {sz} {found.Sz:.3g} nm, "
    text += f"Ssk {_minus(found.Ssk)}, Sku {found.Sku:.2f} ({found.n_points:,} points; "
    text += f"dotted: ± {sq})</span>"
    if found.null is not None:
        null = found.null
        text += (
            f"{small}a perfectly smooth particle gives Ra {null.Ra:.3g}, Rq {null.Rq:.3g}, "
            f"PV {null.PV:.3g} nm, Ssk {_minus(null.Ssk)}, Sku {null.Sku:.2f}</span>"
        )
    return text


def _minus(value: float) -> str:
    return f"{value:.2f}".replace("-", "−")


def symbol_of(name: str, form: str) -> str:
    """The main paper's names where the form is left in."""
    return _PAPER_FORM.get(name, name) if form == "none" else name


def _with_gaps(position: np.ndarray, *columns: np.ndarray) -> list[np.ndarray]:
    """Put a NaN where points are missing, so that no line bridges the hole."""
    steps = np.diff(position)
    holes = np.flatnonzero(steps > 1.5 * np.median(steps)) + 1
    return [np.insert(np.asarray(values, float), holes, np.nan) for values in (position, *columns)]
