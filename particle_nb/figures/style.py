"""Colours, fonts and layout that every figure shares."""

from __future__ import annotations

import base64
import io
from typing import Any

import numpy as np
import plotly.graph_objects as go
from PIL import Image as PILImage

from particle_nb.core.shape import DESCRIPTORS, PAPER_NAMES

#: Okabe and Ito's colours, told apart with any kind of colour vision; black last.
PALETTE = (
    "#0072B2",
    "#E69F00",
    "#009E73",
    "#CC79A7",
    "#56B4E9",
    "#D55E00",
    "#F0E442",
    "#000000",
)
INK = "#1f2933"
GRID = "#e4e7eb"

_UNITS = {"um": "µm", "um2": "µm²", "nm2": "nm²", "px2": "px²", "mm2": "mm²"}


def unit_text(unit: str) -> str:
    """Return how a unit is written in a figure.

    Examples
    --------
    >>> unit_text("um")
    'µm'
    """
    return _UNITS.get(unit, unit)


def footnote(fig: go.Figure, text: str, x: float, y: float) -> None:
    """Put small print below a figure: what is in its intervals and what is not.

    Parameters
    ----------
    fig : Figure
    text : str
    x, y : float
        Its upper left corner, in shares of the plotting area; y below 0 lies under it.

    Examples
    --------
    >>> fig = go.Figure(); footnote(fig, "n = 3", 0, -0.2); fig.layout.annotations[0].text
    'n = 3'
    """
    fig.add_annotation(
        x=x,
        y=y,
        xref="paper",
        yref="paper",
        xanchor="left",
        yanchor="top",
        align="left",
        showarrow=False,
        text=text,
        font={"size": 11, "color": "#5b6770"},
    )


def number(value: float, digits: int = 4) -> str:
    """Return a number with so many significant digits, without an exponent where one can read it.

    Examples
    --------
    >>> number(18061.4), number(0.31), number(2e9)
    ('18060', '0.31', '2e+09')
    """
    if not 1e-4 <= abs(value) < 1e7:
        return f"{value:.{digits}g}"
    rounded = float(f"{value:.{digits}g}")
    return f"{rounded:.12g}"


def words_and_symbol(name: str) -> tuple[str, str]:
    """Return how a column is called on an axis and its symbol as HTML, "" where it has none.

    Both stand in `DESCRIPTORS`; the main paper's names keep their words.

    Examples
    --------
    >>> words_and_symbol("x_A"), words_and_symbol("Circularity"), words_and_symbol("my_width")
    (('equivalent circle diameter', 'x<sub>A</sub>'), ('Circularity', '4πA/P²'), ('my width', ''))
    """
    known = DESCRIPTORS.get(PAPER_NAMES.get(name, name))
    words = name.replace("_", " ")
    if known is None:
        return words, ""
    return words if name in PAPER_NAMES else known.words or words, known.html


def axis_title(name: str, unit: str = "") -> str:
    """Return "words symbol / unit" for a column stem such as ``"x_A"``.

    Examples
    --------
    >>> axis_title("x_A", "um")
    'equivalent circle diameter x<sub>A</sub> / µm'
    """
    words, symbol = words_and_symbol(name)
    text = f"{words} {symbol}".strip()
    return f"{text} / {unit_text(unit)}" if unit else text


def layout(fig: go.Figure, title: str = "", **changes: Any) -> go.Figure:
    """Give a figure the house's look; returns it."""
    fig.update_layout(
        template="none",
        font={"family": "Inter, Segoe UI, Helvetica, Arial, sans-serif", "size": 13, "color": INK},
        title={"text": title, "x": 0.01, "xanchor": "left", "font": {"size": 16}},
        colorway=PALETTE,
        paper_bgcolor="white",
        plot_bgcolor="white",
        margin={"l": 70, "r": 25, "t": 60 if title else 30, "b": 60},
        hoverlabel={"bgcolor": "white", "bordercolor": GRID, "font": {"size": 12, "color": INK}},
        legend={"bgcolor": "rgba(255,255,255,0.8)", "bordercolor": GRID, "borderwidth": 1},
    )
    fig.update_xaxes(gridcolor=GRID, linecolor=INK, ticks="outside", tickcolor=INK, zeroline=False)
    fig.update_yaxes(gridcolor=GRID, linecolor=INK, ticks="outside", tickcolor=INK, zeroline=False)
    fig.update_layout(**changes)
    return fig


def png_uri(picture: np.ndarray, longest: int = 1600) -> str:
    """Return a uint8 picture (H, W), (H, W, 3) or (H, W, 4) as a data URI, downscaled for show."""
    image = PILImage.fromarray(np.ascontiguousarray(picture))
    if max(image.size) > longest:
        scale = longest / max(image.size)
        size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
        image = image.resize(size, PILImage.Resampling.LANCZOS if image.mode != "P" else 0)
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()


def instance_colours(count: int, seed: int = 7) -> np.ndarray:
    """Return `count` distinguishable colours, uint8 (count, 3), the same ones every time.

    Examples
    --------
    >>> instance_colours(3).shape
    (3, 3)
    """
    golden = 0.6180339887498949
    hue = (seed * golden + np.arange(count) * golden) % 1.0
    light = np.array([0.95, 0.75, 0.85])[np.arange(count) % 3]
    chroma = np.array([0.65, 0.85, 0.75])[np.arange(count) % 3]
    sector = (hue[:, None] * 6 + np.array([0, 4, 2])) % 6
    rgb = light[:, None] * (1 - chroma[:, None] * (1 - np.clip(abs(sector - 3) - 1, 0, 1)))
    return np.round(rgb * 255).astype(np.uint8)
