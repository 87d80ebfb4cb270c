"""The depth map beside the micrograph, of a whole image or of one particle."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from particle_nb.core.errors import DataError
from particle_nb.core.image import Image
from particle_nb.core.masks import Mask
from particle_nb.core.surface import DepthMap, PointCloud
from particle_nb.figures.masks import mask_outline, scale_bar
from particle_nb.figures.style import INK, PALETTE, layout, png_uri
from particle_nb.figures.surfaces import (
    PLAIN,
    SCALE,
    SIDE,
    check_image,
    grey_at,
    heights_of,
    ordinal,
)

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
    items = _titled_images(scenes)
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
        _draw_cell(fig, image, where)
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


def _titled_images(scenes: Any) -> list[tuple[str, Image]]:
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


def _draw_cell(fig: go.Figure, image: Image, where: dict[str, int]) -> None:
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


_MARGIN = 0.15  # of a particle's box that is shown around it


def depth(
    image: Image,
    depth_map: DepthMap | PointCloud | np.ndarray,
    mask: Mask | np.ndarray | None = None,
    *,
    title: str | None = None,
) -> go.Figure:
    """Draw the micrograph beside its depth map with a colour scale.

    Parameters
    ----------
    image : Image
    depth_map : DepthMap, PointCloud or float array (H, W)
        Relative heights, the scaled cloud of one particle, or heights in nm. Maps of more than
        700 pixels a side are drawn with every k-th pixel.
    mask : Mask, bool array (H, W) or None
        Shows this particle alone: its surroundings, its outline, colours over its own heights.

    Raises
    ------
    ImageError, DataError
        If the arguments do not fit together.

    Examples
    --------
    >>> picture = Image(np.zeros((32, 40), np.uint8))
    >>> fig = depth(picture, DepthMap(np.random.default_rng(0).random((32, 40))))
    >>> fig.data[-1].colorbar.title.text
    'relative height'
    """
    check_image(image)
    one = _one_mask(mask, image)
    values, (x0, y0), unit = map_of(depth_map, image)
    box = _shown_window(one, values, (x0, y0), image)
    left, top, right, bottom = box
    crop = Image(image.to_uint8()[top:bottom, left:right], image.calibration)
    rows, cols = values.shape
    step = max(1, math.ceil(max(rows, cols) / SIDE))
    limits = _colour_limits(values, (x0, y0), one)
    fig = make_subplots(1, 2, horizontal_spacing=0.03, subplot_titles=("micrograph", "height"))
    fig.add_trace(
        go.Scatter(x=[left], y=[top], opacity=0, showlegend=False, hoverinfo="skip"), row=1, col=1
    )
    fig.add_layout_image(
        {
            "source": png_uri(crop.pixels, 1000),
            "x": left - 0.5,
            "y": top - 0.5,
            "xanchor": "left",
            "yanchor": "top",
            "sizex": right - left,
            "sizey": bottom - top,
            "sizing": "stretch",
            "layer": "below",
        },
        row=1,
        col=1,
    )
    for line in mask_outline(one) if one is not None else ():
        for column, colour in ((1, PALETTE[1]), (2, "white")):
            trace = go.Scatter(
                x=line[:, 0].astype(np.float32),
                y=line[:, 1].astype(np.float32),
                mode="lines",
                line={"color": colour, "width": 1.5},
                hoverinfo="skip",
                showlegend=False,
            )
            fig.add_trace(trace, row=1, col=column)
    word = "relative height" if unit != "nm" else "height z / nm"
    fig.add_trace(
        go.Heatmap(
            z=values[::step, ::step],
            x0=x0 + (step - 1) / 2,
            y0=y0 + (step - 1) / 2,
            dx=step,
            dy=step,
            zmin=limits[0],
            zmax=limits[1],
            colorscale=SCALE,
            colorbar={"title": {"text": word, "side": "right"}, "thickness": 16, "x": 1.01} | PLAIN,
            hovertemplate=f"x %{{x}} px, y %{{y}} px<br>{word.split(' /')[0]} %{{z:.4g}}"
            f"{' nm' if unit == 'nm' else ''}<extra></extra>",
        ),
        row=1,
        col=2,
    )
    mark_scale(fig, crop, (left - 0.5, top - 0.5), bottom - top, row=1, col=1)
    words = title if title is not None else _depth_title(image, depth_map, step)
    layout(fig, words)
    for column, anchor in ((1, "x"), (2, "x2")):
        fig.update_xaxes(
            range=[left - 0.5, right - 0.5],
            visible=False,
            constrain="domain",
            matches="x",
            row=1,
            col=column,
        )
        fig.update_yaxes(
            range=[bottom - 0.5, top - 0.5],
            visible=False,
            constrain="domain",
            scaleanchor=anchor,
            row=1,
            col=column,
        )
    ratio = (bottom - top) / (right - left)
    fig.update_layout(
        width=1010, height=int(min(850, 440 * ratio)) + 95, margin={"l": 10, "r": 110, "b": 10}
    )
    return fig


def map_of(depth_map: Any, image: Image) -> tuple[np.ndarray, tuple[int, int], str]:
    """Heights, float32 (H, W), column and row in px of the first one, and their unit."""
    if isinstance(depth_map, DepthMap):
        x0, y0, x1, y1 = depth_map.window or (0, 0, depth_map.shape[1], depth_map.shape[0])
        height, width = image.shape
        if x1 > width or y1 > height or (depth_map.window is None and (y1, x1) != image.shape):
            raise DataError(
                f"a depth map of {depth_map.shape} does not fit an image of {image.shape}; "
                "both must show the same frame."
            )
        return depth_map.relative.astype(np.float32), (x0, y0), "relative"
    if isinstance(depth_map, PointCloud):
        grey_at(depth_map, image)
        pitch = float(depth_map.pitch or 1.0)
        x0, y0 = (int(v) for v in np.rint(depth_map.xyz[:, :2].min(axis=0) / pitch))
        return depth_map.grid(), (x0, y0), depth_map.unit
    return heights_of(depth_map, image), (0, 0), "nm"


def _shown_window(
    mask: Mask | None, values: np.ndarray, corner: tuple[int, int], image: Image
) -> tuple[int, int, int, int]:
    """What is shown: the particle and its surroundings, or all that has a height."""
    height, width = image.shape
    left, top = corner
    bottom, right = top + values.shape[0], left + values.shape[1]
    if mask is not None:
        top, left, bottom, right = mask.bbox
    elif values.shape == image.shape:
        return 0, 0, width, height
    margin = math.ceil(_MARGIN * max(bottom - top, right - left))
    return (
        max(left - margin, 0),
        max(top - margin, 0),
        min(right + margin, width),
        min(bottom + margin, height),
    )


def _colour_limits(
    values: np.ndarray, corner: tuple[int, int], mask: Mask | None
) -> tuple[float | None, float | None]:
    """Range of the colours over the particle; all values where there is no mask."""
    if mask is None:
        return None, None
    x0, y0 = corner
    inside = mask.full()[y0 : y0 + values.shape[0], x0 : x0 + values.shape[1]]
    own = values[inside & np.isfinite(values)]
    if not own.size:
        raise DataError("the depth map has no height inside the mask; both must overlap.")
    return float(own.min()), float(own.max())


def _depth_title(image: Image, depth_map: Any, step: int) -> str:
    model = depth_map.model if isinstance(depth_map, DepthMap) else ""
    words = f"{image.name}: depth" if image.name else "Depth"
    words += f" by {model}" if model else ""
    return words + (f", every {ordinal(step)} pixel" if step > 1 else "")


def _one_mask(mask: Any, image: Image) -> Mask | None:
    if mask is None:
        return None
    if isinstance(mask, np.ndarray) and mask.dtype == bool and mask.ndim == 2:
        mask = Mask.from_full(mask)
    if not isinstance(mask, Mask):
        raise DataError(f"mask is one Mask or a bool array (H, W), not {type(mask).__name__}.")
    if mask.shape != image.shape:
        raise DataError(f"a mask of a frame {mask.shape} on an image of {image.shape}.")
    return mask
