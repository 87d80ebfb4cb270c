"""Figures of agreement between two methods: Bland-Altman and correlation."""

from __future__ import annotations

import math
from typing import Any, Literal

import numpy as np
import plotly.graph_objects as go

from particle_nb.core import agreement as core
from particle_nb.core.errors import DataError
from particle_nb.figures.sizes import log_ticks
from particle_nb.figures.style import INK, PALETTE, layout, unit_text

_BAND = {"bias": "rgba(0,114,178,0.16)", "limit": "rgba(213,94,0,0.14)"}
_MANY = 5000  # points above which the browser draws them by its graphics card


def bland_altman(
    readings: core.BlandAltman | tuple[Any, Any],
    unit: str = "",
    *,
    mode: Literal["difference", "log_ratio", "percent"] = "difference",
    names: tuple[str, str] = ("a", "b"),
    title: str | None = None,
) -> go.Figure:
    """Draw differences over means with bias, limits of agreement, their intervals and the trend.

    Parameters
    ----------
    readings : BlandAltman, or (a, b) of float (N,) each
        Method under test first, reference second.
    unit : str
        Of the readings, e.g. ``"um"``.
    mode : str
        As in `agreement.bland_altman`; a BlandAltman keeps its own.
    names : (str, str)
        Of the two methods.
    title : str or None

    Raises
    ------
    DataError
        If the readings cannot be compared.

    References
    ----------
    Bland and Altman 1999, doi:10.1177/096228029900800204.

    Examples
    --------
    >>> fig = bland_altman(([10.2, 11.1, 9.8, 12.0], [10.0, 11.0, 10.0, 11.5]), "um")
    >>> fig.layout.yaxis.title.text
    'difference a − b / µm'
    """
    result = (
        readings if isinstance(readings, core.BlandAltman) else _bland_altman_of(readings, mode)
    )
    first, second = _method_names(names)
    suffix = f" / {unit_text(unit)}" if unit else ""
    logs = result.mode == "log_ratio"
    x, y = result.mean, result.difference
    low, high = _axis_limits(x, logs)
    fig = go.Figure()
    numbers = {
        "upper": (result.upper, result.upper_interval, "upper limit", "limit"),
        "bias": (result.bias, result.bias_interval, "bias", "bias"),
        "lower": (result.lower, result.lower_interval, "lower limit", "limit"),
    }
    for value, interval, words, kind in numbers.values():
        fig.add_hrect(y0=interval[0], y1=interval[1], fillcolor=_BAND[kind], line_width=0)
        colour = PALETTE[0] if kind == "bias" else PALETTE[5]
        dash = "solid" if kind == "bias" else "dash"
        fig.add_hline(y=value, line={"color": colour, "width": 2, "dash": dash})
        fig.add_annotation(
            x=1.01,
            xref="paper",
            y=value,
            text=f"<b>{words} {_signed(value, result.mode)}</b><br>"
            f"{_signed(interval[0], result.mode)} to {_signed(interval[1], result.mode)}",
            showarrow=False,
            xanchor="left",
            align="left",
            font={"size": 12, "color": colour},
        )
    fig.add_hline(y=0, line={"color": INK, "width": 1, "dash": "dot"})
    fig.add_trace(
        _point_trace(
            x,
            y,
            f"{result.n} pairs",
            f"mean %{{x:.4g}} {unit_text(unit)}<br>difference %{{y:.4g}}<extra></extra>",
        )
    )
    if np.isfinite(result.slope):
        position = np.log(x) if logs else x
        ends = np.array([position.min(), position.max()])
        fig.add_trace(
            go.Scatter(
                x=np.exp(ends) if logs else ends,
                # least squares: the line runs through the mean of all points
                y=result.bias + result.slope * (ends - position.mean()),
                mode="lines",
                line={"color": PALETTE[3], "width": 2, "dash": "dashdot"},
                name=f"trend: slope {_interval(result.slope, result.slope_interval)}, "
                f"{_p_text(result.slope_p)}",
                hoverinfo="skip",
            )
        )
    ordinate, abscissa = {
        "difference": (f"difference {first} − {second}{suffix}", "mean of both"),
        "percent": (f"100 ({first} − {second}) / mean of both / %", "mean of both"),
        "log_ratio": (f"ln({first} / {second})", "geometric mean of both"),
    }[result.mode]
    text = title if title is not None else f"Agreement of {first} and {second}"
    note = (
        f"<br><span style='font-size:12px'>limits hold {100 * result.coverage:g} % of the "
        f"differences; bands are {100 * result.level:g} % intervals ({result.method})"
        + ("; labels give the ratio</span>" if logs else "</span>")
    )
    layout(fig, text + note, width=900, height=500)
    reach = [result.lower_interval[0], result.upper_interval[1], y.min(), y.max(), 0.0]
    margin = 0.06 * (max(reach) - min(reach)) or 1.0
    fig.update_layout(
        xaxis={
            "title": f"{abscissa}{suffix}",
            "range": [math.log10(low), math.log10(high)] if logs else [low, high],
            "type": "log" if logs else "linear",
            "exponentformat": "none",
            **(log_ticks(math.log10(low), math.log10(high)) if logs else {"nticks": 8}),
        },
        yaxis={"title": ordinate, "range": [min(reach) - margin, max(reach) + margin]},
        margin={"l": 75, "r": 185, "t": 75, "b": 105},
        legend={"orientation": "h", "x": 0, "y": -0.2, "yanchor": "top", "borderwidth": 0},
    )
    return fig


def correlation(
    a: Any,
    b: Any,
    *,
    unit: str = "",
    names: tuple[str, str] = ("a", "b"),
    line: core.Regression | Literal["deming", "passing_bablok"] = "deming",
    title: str | None = None,
) -> go.Figure:
    """Draw readings a over readings b with identity, fitted line and coefficients.

    Parameters
    ----------
    a, b : float (N,)
        Method under test (ordinate) and reference (abscissa), finite, at least four pairs.
    unit : str
    names : (str, str)
        Of the two methods.
    line : str or Regression
        ``"deming"`` with equal errors, ``"passing_bablok"``, or a line of y = a over x = b.
    title : str or None

    Raises
    ------
    DataError
        If the pairs cannot be used or the line is unknown.

    Examples
    --------
    >>> fig = correlation([1.1, 2.0, 3.2, 3.9], [1, 2, 3, 4], unit="nm", names=("depth", "AFM"))
    >>> fig.layout.xaxis.title.text, len(fig.data)
    ('AFM / nm', 6)
    """
    first, second = _method_names(names)
    r, rho, concordance = core.pearson(a, b), core.spearman(a, b), core.ccc(a, b)
    y, x = np.asarray(a, float), np.asarray(b, float)
    if isinstance(line, core.Regression):
        fitted = line
    elif line == "deming":
        fitted = core.deming(x, y)
    elif line == "passing_bablok":
        fitted = core.passing_bablok(x, y)
    else:
        raise DataError(f"line is 'deming', 'passing_bablok' or a Regression, not {line!r}.")
    suffix = f" / {unit_text(unit)}" if unit else ""
    ends = np.array(_axis_limits(np.concatenate([x, y]), False))
    fig = go.Figure()
    fig.add_trace(
        go.Scatter(
            x=ends,
            y=ends,
            mode="lines",
            line={"color": INK, "width": 1, "dash": "dot"},
            name="identity",
            hoverinfo="skip",
        )
    )
    span = np.array([x.min(), x.max()])
    fig.add_trace(
        go.Scatter(
            x=span,
            y=fitted.predict(span),
            mode="lines",
            line={"color": PALETTE[5], "width": 2.5},
            name=f"{fitted.method.split(',')[0]}: slope "
            f"{_interval(fitted.slope, fitted.slope_interval)},<br>intercept "
            f"{_interval(fitted.intercept, fitted.intercept_interval)}{suffix.replace(' /', '')}",
            hoverinfo="skip",
        )
    )
    fig.add_trace(
        _point_trace(
            x,
            y,
            f"{r.n} pairs",
            f"{second} %{{x:.4g}}<br>{first} %{{y:.4g}} {unit_text(unit)}<extra></extra>",
        )
    )
    for symbol, value in (("r", r), ("ρ", rho), ("CCC", concordance)):
        fig.add_trace(
            go.Scatter(
                x=[None],
                y=[None],
                mode="markers",
                marker={"color": "rgba(0,0,0,0)"},
                name=f"{symbol} = {_interval(value.value, (value.low, value.high), '.3f')}",
                hoverinfo="skip",
            )
        )
    text = title if title is not None else f"{first} against {second}"
    note = (
        f"<br><span style='font-size:12px'>brackets: {100 * r.level:g} % intervals; "
        "r Pearson, ρ Spearman, CCC Lin's concordance</span>"
    )
    layout(fig, text + note, width=840, height=560)
    ticks = {"range": list(ends), "exponentformat": "none", "constrain": "domain", "nticks": 8}
    fig.update_layout(
        xaxis={"title": f"{second}{suffix}", **ticks},
        yaxis={"title": f"{first}{suffix}", "scaleanchor": "x", **ticks},
        margin={"l": 75, "r": 20, "t": 75, "b": 60},
        legend={"x": 1.02, "y": 1, "xanchor": "left", "yanchor": "top", "borderwidth": 0},
    )
    return fig


def _bland_altman_of(readings: Any, mode: Any) -> core.BlandAltman:
    if not isinstance(readings, (tuple, list)) or len(readings) != 2:
        raise DataError(
            "bland_altman draws what agreement.bland_altman returns, or two readings (a, b), "
            f"not {type(readings).__name__}."
        )
    return core.bland_altman(readings[0], readings[1], mode)


def _method_names(names: Any) -> tuple[str, str]:
    if not isinstance(names, (tuple, list)) or len(names) != 2:
        raise DataError(f"names are those of the two methods, ('a', 'b'), not {names!r}.")
    return str(names[0]), str(names[1])


def _point_trace(x: np.ndarray, y: np.ndarray, name: str, hover: str) -> go.Scatter | go.Scattergl:
    many = len(x) > 300
    marker = {
        "color": PALETTE[0],
        "size": 5 if many else 8,
        "opacity": 0.5 if many else 0.85,
        "line": {"color": "white", "width": 0 if many else 0.7},
    }
    kind = go.Scattergl if len(x) > _MANY else go.Scatter
    return kind(x=x, y=y, mode="markers", marker=marker, name=name, hovertemplate=hover)


def _axis_limits(values: np.ndarray, logs: bool) -> tuple[float, float]:
    """Ends of an axis a little beyond the values; a factor beyond on a logarithmic one."""
    low, high = float(values.min()), float(values.max())
    if logs:
        margin = max((high / low) ** 0.05, 1.02)
        return low / margin, high * margin
    margin = 0.05 * (high - low) or 0.05 * abs(high) or 1.0
    return low - margin, high + margin


def _interval(value: float, interval: tuple[float, float], form: str = ".3g") -> str:
    return f"{value:{form}} [{interval[0]:{form}}, {interval[1]:{form}}]".replace("-", "−")


def _signed(value: float, mode: str) -> str:
    if mode == "log_ratio":
        return f"× {np.exp(value):.3g}"
    return f"{value:+.3g}{' %' if mode == 'percent' else ''}".replace("-", "−")


def _p_text(p: float) -> str:
    return "p < 0.001" if p < 0.001 else f"p = {p:.2g}"
