"""Figures as PNG, SVG or PDF for slides and papers."""

from __future__ import annotations

import os
from pathlib import Path

import plotly.graph_objects as go

from particle_nb.core.errors import DataError
from particle_nb.core.files import atomic

#: What a slide takes, in CSS pixels: 16 to 9.
_WIDE, _HIGH = 1280, 720


def write_slide(
    figure: go.Figure, path: str | os.PathLike[str], *, scale: float = 2.0, font: int = 20
) -> None:
    """Write a figure in the form of a slide, 16 to 9, with letters that are read from the back.

    Parameters
    ----------
    figure : plotly Figure
        Stays as it is.
    path : path
        Ends in ``.png``, ``.svg`` or ``.pdf``; PowerPoint takes the first two.
    scale : float
        Pixels of a PNG a CSS pixel: 2 gives 2560 x 1440.
    font : int
        Size of the letters in CSS pixels.

    Raises
    ------
    DataError
        If it is no figure, the ending is another, or kaleido or its Chromium is missing.

    Examples
    --------
    >>> write_slide(go.Figure(), "a.gif")
    Traceback (most recent call last):
    ...
    particle_nb.core.errors.DataError: a slide is written as .png, .svg or .pdf, not '.gif'.
    """
    if not isinstance(figure, go.Figure):
        raise DataError(f"a slide shows a plotly figure, not {type(figure).__name__}.")
    kind = Path(path).suffix.lower()
    if kind not in (".png", ".svg", ".pdf"):
        raise DataError(f"a slide is written as .png, .svg or .pdf, not {kind!r}.")
    slide = go.Figure(figure)
    slide.update_layout(width=_WIDE, height=_HIGH, font={"size": font})
    slide.update_layout(title={"font": {"size": round(1.3 * font)}}, margin={"t": 4 * font})
    try:
        data = slide.to_image(format=kind[1:], scale=scale)
    except (RuntimeError, ValueError, OSError, ImportError) as error:
        raise DataError(
            f"the figure did not become a picture ({type(error).__name__}: {str(error)[:200]}); it "
            "takes kaleido and a Chromium: pip install kaleido, or use figure.write_html."
        ) from None
    with atomic(path) as stream:
        stream.write(data)
