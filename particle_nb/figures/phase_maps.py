"""The phases of a micrograph beside it: labels over grey values, and how certain they are."""

from __future__ import annotations

import html

import numpy as np
import plotly.graph_objects as go
from plotly.colors import hex_to_rgb
from plotly.subplots import make_subplots

from particle_nb.core.errors import DataError, ImageError
from particle_nb.core.image import Image
from particle_nb.core.phases import PhaseMap
from particle_nb.figures.masks import add_scale_bar, draw_picture, frame_axes
from particle_nb.figures.style import PALETTE, layout

#: Longest side of a drawn picture in pixels: what a screen shows.
_LONGEST = 1400


def phases(
    image: Image, phases: PhaseMap, *, opacity: float = 0.45, title: str | None = None
) -> go.Figure:
    """Draw the phases over the micrograph and, beside it, how certain the classifier is.

    Names, shares and their intervals stand in the legend.

    Parameters
    ----------
    image : Image
        The micrograph (H, W); of several detectors their mean is shown.
    phases : PhaseMap
        Of this image.
    opacity : float
        Of the colours, 0 to 1.
    title : str or None

    Raises
    ------
    ImageError, DataError
        If the arguments do not fit together.

    Examples
    --------
    >>> labels = (np.indices((16, 24))[1] > 11).astype(int)
    >>> fig = phases(Image(labels * 90), PhaseMap(labels, names=("pore", "solid")))
    >>> [trace.name.split()[0] for trace in fig.data if trace.name]
    ['pore', 'solid']
    """
    if not isinstance(image, Image):
        raise ImageError(f"expected a particle_nb.Image, not {type(image).__name__}.")
    if not isinstance(phases, PhaseMap) or phases.shape != image.shape:
        raise DataError(f"phases must be a PhaseMap on the image's frame {image.shape}.")
    ok = isinstance(opacity, (int, float)) and not isinstance(opacity, bool)
    if not ok or not 0 <= opacity <= 1:
        raise DataError(f"opacity must lie in 0 .. 1, not {opacity!r}.")
    step = max(1, -(-max(image.shape) // _LONGEST))
    grey = image.to_uint8()[::step, ::step]
    pictures = [coloured(grey, phases.labels[::step, ::step], opacity)]
    if phases.probabilities is not None:
        certain = np.nan_to_num(phases.certainty[::step, ::step])
        pictures.append(np.repeat((certain * 255).astype(np.uint8)[..., None], 3, 2))
    heads = ["phases", "certainty (share of the votes)"][: len(pictures)]
    fig = make_subplots(1, len(pictures), subplot_titles=heads, horizontal_spacing=0.02)
    height, width = image.shape
    for place, picture in enumerate(pictures, 1):
        draw_picture(fig, picture, image.shape, row=1, col=place)
        frame_axes(fig, width, height, row=1, col=place)
    table = phases.fractions()
    for number, (name, row) in enumerate(table.iterrows()):
        share = f"{row['fraction']:.1%} ({row['low']:.1%} to {row['high']:.1%})"
        fig.add_trace(
            go.Scatter(
                x=[None],
                y=[None],
                mode="markers",
                marker={"size": 12, "symbol": "square", "color": colour(number)},
                name=f"{html.escape(str(name))} {share}",
            )
        )
    add_scale_bar(fig, image)
    text = title if title is not None else html.escape(image.name or "image")
    layout(fig, text)
    room = len(pictures) * 520
    fig.update_layout(
        width=room + 30,
        height=min(1000, max(320, 520 * height / max(width, 1))) + 130,
        margin={"l": 15, "r": 15, "t": 70, "b": 15},
        legend={"orientation": "h", "y": -0.02, "yanchor": "top"},
        showlegend=True,
    )
    return fig


def colour(phase: int) -> str:
    """Return the colour of a phase.

    Examples
    --------
    >>> colour(0) == PALETTE[0]
    True
    """
    return PALETTE[phase % len(PALETTE)]


def coloured(grey: np.ndarray, labels: np.ndarray, opacity: float) -> np.ndarray:
    """Return a grey picture (H, W) with the colours of phases over it, uint8 (H, W, 3).

    Examples
    --------
    >>> coloured(np.zeros((1, 2), np.uint8), np.array([[-1, 0]]), 1.0).tolist()
    [[[0, 0, 0], [0, 114, 178]]]
    """
    table = np.array([hex_to_rgb(colour(k)) for k in range(max(int(labels.max()), 0) + 1)], float)
    shown = np.repeat(grey[..., None].astype(float), 3, 2)
    known = labels >= 0
    shown[known] += opacity * (table[labels[known]] - shown[known])
    return np.rint(shown).astype(np.uint8)
