"""Figures of roughness over many particles: one parameter compared, and calibration laws."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots
from scipy import stats

from particle_nb.core.errors import DataError
from particle_nb.core.surface import (
    CalibrationLaw,
    PointCloud,
    Roughness,
    Section,
    level,
    roughness,
    texture_map,
)
from particle_nb.figures.style import INK, PALETTE, layout, unit_text

_BINS = 81

_PAPER_FORM = {"Sa": "Ra", "Sq": "Rq", "Sz": "PV"}


def cross_section(cut: Section, *, title: str | None = None) -> go.Figure:
    """Draw a section through a particle: heights above, what is left without the form below.

    Parameters
    ----------
    cut : Section
        From `core.surface.section`.

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
    values, area = _heights_and_areas(cloud, form, s_filter, l_filter)
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
    layout(fig, words + _parameter_lines(found), width=860, height=520, bargap=0)
    what = "height z" if form == "none" else f"height above the {form}"
    fig.update_layout(
        xaxis={"title": f"{what} / nm", "exponentformat": "none", "separatethousands": True},
        # room for the legend above the bars
        yaxis={"title": f"{share} / %", "range": [0, 122 * float(counts.max() / total)]},
        margin={"l": 75, "r": 25, "t": 105 if found.null is None else 122, "b": 60},
        legend={"x": 0.99, "y": 0.99, "xanchor": "right", "yanchor": "top"},
    )
    return fig


def _heights_and_areas(
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


def _parameter_lines(found: Roughness) -> str:
    """Lines below the title: the parameters, and the smooth particle's beside them."""
    small = "<br><span style='font-size:12px'>"
    sa, sq, sz = (symbol_of(name, found.form) for name in ("Sa", "Sq", "Sz"))
    text = f"{small}{sa} {found.Sa:.3g} nm, {sq} {found.Sq:.3g} nm, {sz} {found.Sz:.3g} nm, "
    text += f"Ssk {_signed_text(found.Ssk)}, Sku {found.Sku:.2f} ({found.n_points:,} points; "
    text += f"dotted: ± {sq})</span>"
    if found.null is not None:
        null = found.null
        text += (
            f"{small}a perfectly smooth particle gives Ra {null.Ra:.3g}, Rq {null.Rq:.3g}, "
            f"PV {null.PV:.3g} nm, Ssk {_signed_text(null.Ssk)}, Sku {null.Sku:.2f}</span>"
        )
    return text


def _signed_text(value: float) -> str:
    return f"{value:.2f}".replace("-", "−")


def symbol_of(name: str, form: str) -> str:
    """The main paper's names where the form is left in."""
    return _PAPER_FORM.get(name, name) if form == "none" else name


def _with_gaps(position: np.ndarray, *columns: np.ndarray) -> list[np.ndarray]:
    """Put a NaN where points are missing, so that no line bridges the hole."""
    steps = np.diff(position)
    holes = np.flatnonzero(steps > 1.5 * np.median(steps)) + 1
    return [np.insert(np.asarray(values, float), holes, np.nan) for values in (position, *columns)]


#: Parameter -> words.
WORDS = {
    "Sa": "arithmetical mean height",
    "Sq": "root mean square height",
    "Sz": "maximum height",
    "Ssk": "skewness",
    "Sku": "kurtosis",
    "Ra": "arithmetical mean deviation",
    "Rq": "root mean square deviation",
    "radius": "fitted radius",
    "form_error": "form error",
    "cap_angle": "cap angle",
}


def roughness_comparison(
    tables: pd.DataFrame | Mapping[str, pd.DataFrame],
    parameter: str = "Sq",
    reference: Any = None,
    *,
    title: str | None = None,
) -> go.Figure:
    """Draw one parameter per particle, doubtful rows hatched, with references over them.

    Parameters
    ----------
    tables : DataFrame, or dict of name -> DataFrame
        From `roughness_table` or `contour_roughness`; several are drawn side by side.
    parameter : str
        ``"Sq"``, ``"Sa"``, ``"Ssk"``, ... : the column without its unit.
    reference : float (N,), a column's name, or None
        E.g. AFM values in the unit of the column, in the order of the rows; NaN where unknown.

    Raises
    ------
    DataError
        If a column is missing or the references do not fit.

    Examples
    --------
    >>> table = pd.DataFrame({"particle": [0, 1], "Sq_nm": [4.0, 6.0], "flags": ["", "small"]})
    >>> fig = roughness_comparison(table, reference=[4.5, 5.5])
    >>> fig.layout.yaxis.title.text, len(fig.data)
    ('root mean square height Sq / nm', 2)
    """
    named = dict(tables) if isinstance(tables, Mapping) else {"": tables}
    if not named:
        raise DataError("roughness_comparison needs at least one table; use roughness_table.")
    fig = go.Figure()
    units, flagged, rows = set(), 0, 0
    for number, (name, table) in enumerate(named.items()):
        column, unit = _parameter_column(table, parameter)
        units.add(unit)
        flags = table["flags"].fillna("").astype(str) if "flags" in table else None
        doubtful = np.zeros(len(table), bool) if flags is None else (flags != "").to_numpy()
        flagged, rows = flagged + int(doubtful.sum()), rows + len(table)
        colour = PALETTE[number % len(PALETTE)]
        fig.add_trace(
            go.Bar(
                x=table["particle"].to_numpy(),
                y=table[column].to_numpy(float),
                name=name or symbol_of(parameter, _form_of(table)),
                marker={
                    "color": colour,
                    "line": {"color": colour, "width": 1},
                    "pattern": {
                        "shape": np.where(doubtful, "/", ""),
                        "fillmode": "replace",
                        "size": 6,
                    },
                },
                text=None if flags is None else flags.str.replace("; ", "<br>").to_numpy(),
                textposition="none",
                hovertemplate=f"particle %{{x}}<br>{parameter} %{{y:.4g}} {unit_text(unit)}"
                "<br>%{text}<extra></extra>",
            )
        )
        # the null is one of heights with their form in, and says nothing of others
        with_form = parameter == "Rq" or (parameter == "Sq" and _form_of(table) == "none")
        if with_form and "null_Rq_nm" in table:
            fig.add_trace(
                go.Scatter(
                    x=table["particle"].to_numpy(),
                    y=table["null_Rq_nm"].to_numpy(float),
                    mode="markers",
                    marker={"symbol": "line-ew-open", "size": 16, "color": INK, "line_width": 2.5},
                    name=f"{name + ': ' if name else ''}smooth particle of this size",
                )
            )
    if len(units) > 1:
        raise DataError(f"the tables give {parameter} in {sorted(units)}; use one unit.")
    unit = units.pop()
    if reference is not None:
        first = next(iter(named.values()))
        fig.add_trace(
            go.Scatter(
                x=first["particle"].to_numpy(),
                y=_reference_values(first, reference),
                mode="markers",
                marker={
                    "symbol": "diamond",
                    "size": 9,
                    "color": "white",
                    "line": {"color": INK, "width": 2},
                },
                name="reference",
                hovertemplate=f"reference %{{y:.4g}} {unit_text(unit)}<extra></extra>",
            )
        )
    forms = {_form_of(table) for table in named.values()} - {""}
    words = title if title is not None else f"{parameter} of {len(next(iter(named.values())))}"
    if title is None:
        words += " particles"
        if len(forms) == 1:
            form = forms.pop()
            words += ", form included" if form == "none" else f", {form} removed"
        if flagged:
            words += f"; hatched: {flagged} doubtful of {rows}"
    layout(fig, words, width=min(1200, max(620, 26 * rows + 260)), height=460, barmode="group")
    suffix = f" / {unit_text(unit)}" if unit else ""
    names = np.unique(np.concatenate([table["particle"] for table in named.values()]))
    fig.update_xaxes(title="particle", showgrid=False, nticks=20)
    if len(names) <= 40:
        fig.update_xaxes(tickvals=names)
    fig.update_yaxes(title=f"{WORDS.get(parameter, '')} {parameter}".strip() + suffix)
    fig.update_layout(
        showlegend=len(fig.data) > 1,
        legend={"x": 1.01, "y": 1, "xanchor": "left", "yanchor": "top", "borderwidth": 0},
    )
    return fig


def calibration_law(
    law: CalibrationLaw,
    estimates: Any = None,
    references: Any = None,
    *,
    title: str | None = None,
) -> go.Figure:
    """Draw a calibration law with the interval of one new value, and the pairs it came from.

    Parameters
    ----------
    law : CalibrationLaw
        From `core.surface.fit_law`.
    estimates, references : float (N,) or None
        The pairs in nm, both or neither.

    Raises
    ------
    DataError
        If it is no law, or the pairs do not fit together.

    Examples
    --------
    >>> from particle_nb.core.surface import fit_law
    >>> x, y = [60, 75, 90, 105], [10, 21, 29, 40]
    >>> fig = calibration_law(fit_law(x, y, provenance={"reference": "AFM Sq"}), x, y)
    >>> fig.layout.yaxis.title.text
    'AFM Sq / nm'
    """
    if not isinstance(law, CalibrationLaw):
        raise DataError(f"expected a CalibrationLaw, not {type(law).__name__}; use fit_law.")
    x = np.linspace(law.valid_from, law.valid_to, 80)
    low, high = law.interval(x)
    fig = go.Figure()
    fig.add_trace(
        go.Scatter(
            x=np.concatenate([x, x[::-1]]),
            y=np.concatenate([high, low[::-1]]),
            fill="toself",
            fillcolor="rgba(0,114,178,0.15)",
            line={"width": 0},
            mode="lines",
            name=f"{100 * law.confidence:g} % interval of one new value",
            hoverinfo="skip",
        )
    )
    slope = f"{law.slope:.3g} [{law.slope_interval[0]:.3g}, {law.slope_interval[1]:.3g}]"
    offset = ""
    if law.kind == "linear":
        ends = law.intercept_interval
        offset = f",<br>intercept {law.intercept:.3g} [{ends[0]:.3g}, {ends[1]:.3g}] nm"
    fig.add_trace(
        go.Scatter(
            x=x,
            y=law.apply(x),
            mode="lines",
            line={"color": PALETTE[0], "width": 2.5},
            name=f"{law.kind} law: slope {slope}{offset}".replace("-", "−"),
            hovertemplate="%{x:.4g} nm → %{y:.4g} nm<extra></extra>",
        )
    )
    fig.add_trace(
        go.Scatter(
            x=x[[0, -1]],
            y=x[[0, -1]],
            mode="lines",
            line={"color": INK, "width": 1, "dash": "dot"},
            name="without a law",
            hoverinfo="skip",
        )
    )
    if (estimates is None) != (references is None):
        raise DataError("estimates and references go in pairs; give both or neither.")
    if estimates is not None:
        pairs = [_number_array(v, n) for v, n in ((estimates, "estimates"), (references, "refs"))]
        if pairs[0].shape != pairs[1].shape:
            raise DataError(f"{pairs[0].size} estimates and {pairs[1].size} references.")
        fig.add_trace(
            go.Scatter(
                x=pairs[0],
                y=pairs[1],
                mode="markers",
                marker={"color": PALETTE[5], "size": 9, "line": {"color": "white", "width": 1}},
                name=f"{pairs[0].size} pairs",
                hovertemplate="estimate %{x:.4g} nm<br>reference %{y:.4g} nm<extra></extra>",
            )
        )
    note = (
        f"<br><span style='font-size:12px'>leave-one-out error {law.loo_rmse:.3g} nm, without a "
        f"law {law.uncalibrated_rmse:.3g} nm; n = {law.n}, valid {law.valid_from:.3g} to "
        f"{law.valid_to:.3g} nm{'; ' + law.source if law.source else ''}</span>"
    )
    layout(fig, (title if title is not None else "Calibration law") + note, width=880, height=520)
    fig.update_xaxes(title=f"{law.method or 'estimate'} / nm", exponentformat="none")
    fig.update_yaxes(title=f"{law.reference or 'reference'} / nm", exponentformat="none")
    fig.update_layout(
        margin={"l": 75, "r": 25, "t": 75, "b": 60},
        legend={"x": 1.01, "y": 1, "xanchor": "left", "yanchor": "top", "borderwidth": 0},
    )
    return fig


def _form_of(table: pd.DataFrame) -> str:
    forms = set(table["form"].dropna()) if "form" in table else set()
    return str(forms.pop()) if len(forms) == 1 else ""


def _parameter_column(table: Any, parameter: str) -> tuple[str, str]:
    if not isinstance(table, pd.DataFrame) or "particle" not in table or table.empty:
        raise DataError("a roughness table has rows and a column 'particle'; use roughness_table.")
    for unit in ("nm", "um", "px", "deg"):
        if f"{parameter}_{unit}" in table:
            return f"{parameter}_{unit}", unit
    if parameter in table and pd.api.types.is_numeric_dtype(table[parameter]):
        return parameter, ""
    raise DataError(f"the table has no parameter {parameter!r}; its columns are {list(table)}.")


def _reference_values(table: pd.DataFrame, reference: Any) -> np.ndarray:
    if isinstance(reference, str):
        if reference not in table:
            raise DataError(f"the table has no column {reference!r}.")
        return table[reference].to_numpy(float)
    values = _number_array(reference, "references")
    if len(values) != len(table):
        raise DataError(f"{len(values)} references for {len(table)} particles; NaN where unknown.")
    return values


def _number_array(values: Any, name: str) -> np.ndarray:
    try:
        array = np.asarray(values, float)
    except (TypeError, ValueError):
        raise DataError(f"{name} must be numbers, not {values!r}.") from None
    if array.ndim != 1:
        raise DataError(f"{name} are (N,), not {array.shape}.")
    return array
