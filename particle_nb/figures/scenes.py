"""Contact sheet of synthetic micrographs."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from particle_nb.core.errors import DataError
from particle_nb.core.image import Image
from particle_nb.figures.pictures import scale_bar
from particle_nb.figures.style import INK, layout, png_uri

_CELL = 236  # px on the screen
_STORED = 360  # px kept of each picture, for screens of high density


def gallery(
    scenes: Iterable[tuple[str, Any]], *, columns: int = 5, title: str | None = None
) -> go.Figure:
    """Draw a contact sheet of named micrographs, each with its scale bar.

    Parameters
    ----------
    scenes : iterable of (title, Scene or Image)
        E.g. `synthetic.gallery()`.
    columns : int
        Pictures in a row, 1 to 12.

    Raises
    ------
    DataError
        If there are none or more than 200, or an element is no pair of a name and a picture.

    Examples
    --------
    >>> from particle_nb.core.synthetic import SceneSettings, scene
    >>> made = scene(SceneSettings(shape=(64, 64), count=4), 0)
    >>> len(gallery([("one", made), ("two", made)]).layout.images)
    2
    """
    whole = isinstance(columns, int) and not isinstance(columns, bool)
    if not whole or not 1 <= columns <= 12:
        raise DataError(f"columns is a whole number from 1 to 12, not {columns!r}.")
    items = _pairs(scenes)
    columns = min(columns, len(items))
    rows = math.ceil(len(items) / columns)
    fig = make_subplots(
        rows,
        columns,
        horizontal_spacing=0.06 / columns,
        vertical_spacing=0.16 / rows,
        subplot_titles=[name for name, _ in items],
    )
    for index, (_, image) in enumerate(items):
        where = {"row": index // columns + 1, "col": index % columns + 1}
        _cell(fig, image, where)
    count = "micrograph" if len(items) == 1 else "micrographs"
    text = title if title is not None else f"{len(items)} synthetic {count} with known truth"
    for note in fig.layout.annotations[: len(items)]:
        note.update(font={"size": 12, "color": INK}, yshift=-2)
    layout(fig, text)
    fig.update_xaxes(visible=False)
    fig.update_yaxes(visible=False)
    fig.update_layout(
        width=columns * _CELL + 20,
        height=rows * (_CELL + 26) + 70,
        margin={"l": 10, "r": 10, "t": 75, "b": 10},
    )
    return fig


def _pairs(scenes: Any) -> list[tuple[str, Image]]:
    wanted = "gallery takes pairs of a title and a Scene or Image, e.g. synthetic.gallery()"
    if isinstance(scenes, (str, bytes)) or not isinstance(scenes, Iterable):
        raise DataError(f"{wanted}, not {type(scenes).__name__}.")
    items = []
    for item in scenes:
        if not isinstance(item, (tuple, list)) or len(item) != 2:
            raise DataError(f"{wanted}; {item!r} is no pair.")
        picture = getattr(item[1], "image", item[1])
        if not isinstance(picture, Image):
            raise DataError(f"{wanted}; {item[0]!r} is a {type(item[1]).__name__}.")
        items.append((str(item[0]), picture))
        if len(items) > 200:
            raise DataError("a contact sheet of more than 200 pictures is unreadable; split it.")
    if not items:
        raise DataError(f"{wanted}; there are none.")
    return items


def _cell(fig: go.Figure, image: Image, where: dict[str, int]) -> None:
    """One picture in a square cell, centred, with its scale bar."""
    height, width = image.shape
    side = max(height, width)
    # an invisible trace makes plotly draw the axes that the picture hangs on
    fig.add_trace(go.Scatter(x=[0], y=[0], opacity=0, showlegend=False, hoverinfo="skip"), **where)
    fig.add_layout_image(
        {
            "source": png_uri(image.to_uint8(), _STORED),
            "x": -0.5,
            "y": -0.5,
            "xanchor": "left",
            "yanchor": "top",
            "sizex": width,
            "sizey": height,
            "sizing": "stretch",
            "layer": "below",
        },
        **where,
    )
    middle = ((width - 1) / 2, (height - 1) / 2)
    fig.update_xaxes(range=[middle[0] - side / 2, middle[0] + side / 2], **where)
    fig.update_yaxes(range=[middle[1] + side / 2, middle[1] - side / 2], **where)
    # above the information bar, where there is one
    rows = height - int(image.info.get("info_bar_rows", 0) or 0)
    mark_scale(fig, image, (0.0, 0.0), rows, **where)


def mark_scale(
    fig: go.Figure, image: Image, corner: tuple[float, float], rows: int, **where: int
) -> None:
    """Lay a scale bar into the lower left of a picture of `rows` rows; nothing without a scale.

    Parameters
    ----------
    corner : (x, y)
        Of the picture's first pixel on the axes.
    where :
        ``row`` and ``col`` of the subplot.

    Examples
    --------
    >>> fig = make_subplots(1, 1)
    >>> mark_scale(fig, Image([[0, 1]]), (0, 0), 1, row=1, col=1)
    >>> len(fig.layout.shapes)
    0
    """
    if image.calibration is None:
        return
    height, width = image.shape
    length, text = scale_bar(image)
    x0, y0 = corner[0] + 0.04 * width, corner[1] + rows - 0.06 * height
    box = {"type": "rect", "fillcolor": "white", "line": {"color": "black", "width": 1}}
    fig.add_shape(x0=x0, x1=x0 + length, y0=y0, y1=y0 + 0.018 * height, **box, **where)
    fig.add_annotation(
        x=x0,
        y=y0,
        text=f"<b>{text}</b>",
        showarrow=False,
        xanchor="left",
        yanchor="bottom",
        font={"color": "white", "size": 10},
        bgcolor="rgba(0,0,0,0.5)",
        borderpad=1,
        **where,
    )
