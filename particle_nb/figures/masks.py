"""The micrograph with its masks: overlay and triptych."""

from __future__ import annotations

import html
import math
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from particle_nb.core.errors import DataError, ImageError
from particle_nb.core.image import METRES, Image
from particle_nb.core.masks import Mask, MaskSet
from particle_nb.figures.style import axis_title, instance_colours, layout, png_uri, unit_text

#: Confidence from which on a mask is more likely a particle than not.
CERTAIN = 0.5


def overlay(
    image: Image,
    masks: MaskSet,
    table: pd.DataFrame | None = None,
    *,
    opacity: float = 0.35,
    title: str | None = None,
    uncertain: MaskSet | None = None,
) -> go.Figure:
    """Draw the masks over the micrograph; hovering a particle shows its values.

    What is more likely no particle than one (a confidence below 0.5) has a dotted outline.

    Parameters
    ----------
    image : Image
    masks : MaskSet
        On the image's frame.
    table : DataFrame or None
        From `measure`, one row a mask; measured here when left out.
    opacity : float
        Of the fills, 0 to 1.
    uncertain : MaskSet or None
        Further masks on the same frame, left out for what the model said of them: drawn as
        dotted outlines, not counted.

    Raises
    ------
    ImageError, DataError
        If the arguments do not fit together.

    Examples
    --------
    >>> picture = np.zeros((32, 32), np.uint8); picture[8:24, 8:24] = 100
    >>> fig = overlay(Image(picture), MaskSet.from_labels((picture > 0).astype(int)))
    >>> len(fig.layout.images)
    1
    """
    _check_image_and_masks(image, masks)
    if not 0 <= opacity <= 1:
        raise DataError(f"opacity must lie in 0 .. 1, not {opacity!r}.")
    if table is None:
        from particle_nb.core.shape import measure

        table = measure(masks, image.calibration)
    if len(table) != len(masks):
        raise DataError(f"a table of {len(table)} rows does not fit {len(masks)} masks.")
    fig = go.Figure()
    draw_picture(fig, _coloured_particles(image, masks, opacity))
    unsure = masks.confidence < CERTAIN
    _draw_outlines(fig, masks[~unsure], "certain")
    doubtful = masks[unsure]
    if uncertain is not None:
        _check_image_and_masks(image, uncertain)
        doubtful = MaskSet((*doubtful, *uncertain), masks.shape)
    if len(doubtful):
        _draw_outlines(fig, doubtful, "uncertain", {"dash": "dot", "color": "#E69F00"})
    centres = np.array([mask.centroid for mask in masks]).reshape(-1, 2)
    fig.add_trace(
        go.Scatter(
            x=centres[:, 0],
            y=centres[:, 1],
            mode="markers",
            marker={"size": 16, "color": "rgba(0,0,0,0)"},
            text=_hover_texts(table),
            hovertemplate="%{text}<extra></extra>",
            showlegend=False,
        )
    )
    height, width = image.shape
    text = (
        title
        if title is not None
        else f"{html.escape(image.name or 'image')}: {_particle_count(masks)}"
    )
    if title is None and len(doubtful):
        text += f", {len(doubtful)} uncertain (dotted)"
    layout(fig, text, hovermode="closest", hoverdistance=60)
    frame_axes(fig, width, height)
    add_scale_bar(fig, image)
    fig.update_layout(
        width=min(1000, max(420, 900 * width / max(width, height))) + 40,
        height=min(1000, max(320, 900 * height / max(width, height))) + 70,
        margin={"l": 15, "r": 15, "t": 50, "b": 15},
    )
    return fig


def triptych(image: Image, masks: MaskSet, *, title: str | None = None) -> go.Figure:
    """Draw raw micrograph, colour labels and binary mask side by side.

    Raises
    ------
    ImageError, DataError
        If the arguments do not fit together.

    Examples
    --------
    >>> picture = np.zeros((32, 32), np.uint8); picture[8:24, 8:24] = 100
    >>> fig = triptych(Image(picture), MaskSet.from_labels((picture > 0).astype(int)))
    >>> len(fig.layout.images)
    3
    """
    _check_image_and_masks(image, masks)
    height, width = image.shape
    labels = masks.to_labels()
    colours = np.concatenate([np.zeros((1, 3), np.uint8), instance_colours(len(masks))])
    fig = make_subplots(
        1,
        3,
        horizontal_spacing=0.01,
        subplot_titles=("micrograph", _particle_count(masks), "binary mask"),
    )
    pictures = (image.to_uint8(), colours[labels], np.where(labels > 0, 255, 0).astype(np.uint8))
    for column, picture in enumerate(pictures, start=1):
        draw_picture(fig, picture, image.shape, row=1, col=column)
    text = title if title is not None else html.escape(image.name)
    layout(fig, text)
    for column in (1, 2, 3):
        frame_axes(fig, width, height, row=1, col=column)
    add_scale_bar(fig, image)
    fig.update_layout(
        width=1180,
        height=int(min(900, 385 * height / width)) + 90,
        margin={"l": 10, "r": 10, "t": 75 if text else 40, "b": 10},
    )
    return fig


def _check_image_and_masks(image: Any, masks: Any) -> None:
    if not isinstance(image, Image):
        raise ImageError(f"expected a particle_nb.Image, not {type(image).__name__}.")
    if not isinstance(masks, MaskSet):
        raise DataError(f"expected a MaskSet, not {type(masks).__name__}.")
    if masks.shape != image.shape:
        raise DataError(f"masks of a frame {masks.shape} on an image of {image.shape}.")


def _particle_count(masks: MaskSet) -> str:
    return f"{len(masks)} particle{'' if len(masks) == 1 else 's'}"


def draw_picture(
    fig: go.Figure, picture: np.ndarray, shape: tuple[int, int] | None = None, **where: int
) -> None:
    """Hang a picture (H, W) or (H, W, 3) into a figure whose axes count pixels of `shape`.

    Examples
    --------
    >>> fig = go.Figure(); draw_picture(fig, np.zeros((4, 6), np.uint8))
    >>> fig.layout.images[0].sizex
    6
    """
    height, width = shape or picture.shape[:2]
    # an invisible trace makes plotly draw the axes that the picture hangs on
    fig.add_trace(
        go.Scatter(
            x=[0, width - 1],
            y=[0, height - 1],
            mode="markers",
            marker={"opacity": 0},
            hoverinfo="skip",
            showlegend=False,
        ),
        **where,
    )
    fig.add_layout_image(
        {
            "source": png_uri(picture),
            "xref": "x",
            "yref": "y",
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


def frame_axes(fig: go.Figure, width: int, height: int, **where: int) -> None:
    """Make axes count pixels of a frame, rows downwards, and hide them.

    Examples
    --------
    >>> fig = go.Figure(); frame_axes(fig, 6, 4)
    >>> fig.layout.yaxis.range
    (3.5, -0.5)
    """
    fig.update_xaxes(
        range=[-0.5, width - 0.5], visible=False, constrain="domain", showgrid=False, **where
    )
    anchor = "x" if where.get("col", 1) == 1 else f"x{where['col']}"
    fig.update_yaxes(
        range=[height - 0.5, -0.5],
        visible=False,
        scaleanchor=anchor,
        constrain="domain",
        showgrid=False,
        **where,
    )


def _coloured_particles(image: Image, masks: MaskSet, opacity: float) -> np.ndarray:
    """The grey picture with coloured particles, uint8 (H, W, 3)."""
    labels = masks.to_labels()
    grey = image.to_uint8()
    picture = np.repeat(grey[..., None], 3, axis=2)
    inside = labels > 0
    colours = instance_colours(len(masks))[labels[inside] - 1].astype(np.float32)
    blended = opacity * colours + (1 - opacity) * grey[inside][:, None]
    picture[inside] = np.round(blended).astype(np.uint8)
    return picture


def _draw_outlines(
    fig: go.Figure, masks: MaskSet, name: str, line: dict[str, Any] | None = None
) -> None:
    x, y = _joined_outlines(masks)
    fig.add_trace(
        go.Scattergl(
            x=x,
            y=y,
            mode="lines",
            line={"color": "#56B4E9", "width": 1.4, **(line or {})},
            hoverinfo="skip",
            name=name,
            showlegend=False,
        )
    )


def _joined_outlines(masks: MaskSet) -> tuple[np.ndarray, np.ndarray]:
    """All outlines as one polyline with NaN between them: one trace for any number of masks."""
    pieces = [np.full((1, 2), np.nan, np.float32)]
    for mask in masks:
        for line in mask_outline(mask):
            pieces += [line.astype(np.float32), pieces[0]]
    points = np.concatenate(pieces)
    return points[:, 0], points[:, 1]


def mask_outline(mask: Mask) -> list[np.ndarray]:
    """Return the pixel outline of a mask as closed polylines (x, y), float (K, 2) each.

    Examples
    --------
    >>> len(mask_outline(Mask((1, 1), np.ones((3, 3), bool), (8, 8))))
    1
    """
    from skimage import measure as sk_measure

    row, col = mask.origin
    lines = sk_measure.find_contours(np.pad(mask.crop, 1).astype(np.uint8), 0.5)
    return [line[:, ::-1] + (col - 1, row - 1) for line in lines]


def _hover_texts(table: pd.DataFrame) -> list[str]:
    columns = []
    for column in table.columns:
        stem, _, unit = column.rpartition("_")
        if unit in ("px", "px2", "nm", "nm2", "um", "um2", "mm", "mm2") and stem in (
            "x_A",
            "x_Fmin",
            "x_Fmax",
        ):
            columns.append((axis_title(stem).split(" ")[-1], column, unit_text(unit)))
    for column in ("aspect_ratio", "form_factor", "convexity", "predicted_iou", "confidence"):
        if column in table and pd.api.types.is_numeric_dtype(table[column]):
            columns.append((column.replace("_", " "), column, ""))
    texts = []
    for number, row in enumerate(table.to_dict("records")):
        lines = [f"<b>particle {row.get('label', number + 1)}</b>"]
        lines += [
            f"{name} {row[column]:.4g} {unit}".rstrip()
            for name, column, unit in columns
            if not math.isnan(float(row[column]))
        ]
        texts.append("<br>".join(lines))
    return texts


def add_scale_bar(fig: go.Figure, image: Image) -> None:
    """Draw a bar of a round length in the lower left corner, where the image has a scale.

    Examples
    --------
    >>> fig = go.Figure(); add_scale_bar(fig, Image(np.zeros((4, 6))))
    >>> len(fig.layout.shapes)
    0
    """
    if image.calibration is None:
        return
    height, width = image.shape
    length, text = scale_bar(image)
    x0, y0 = 0.03 * width, 0.95 * height
    fig.add_shape(
        type="rect",
        x0=x0,
        x1=x0 + length,
        y0=y0,
        y1=y0 + 0.012 * height,
        fillcolor="white",
        line={"color": "black", "width": 1},
        xref="x",
        yref="y",
    )
    fig.add_annotation(
        x=x0 + length / 2,
        y=y0 - 0.005 * height,
        text=f"<b>{text}</b>",
        showarrow=False,
        yanchor="bottom",
        xref="x",
        yref="y",
        font={"color": "white", "size": 13},
        bgcolor="rgba(0,0,0,0.45)",
    )


def scale_bar(image: Image) -> tuple[float, str]:
    """Return length in pixels and text of a scale bar about a fifth of the image wide.

    Raises
    ------
    DataError
        If the image has no scale.

    Examples
    --------
    >>> from particle_nb.core.image import Calibration
    >>> scale_bar(Image(np.zeros((8, 1000)), Calibration(1, "nm")))
    (200.0, '200 nm')
    """
    if image.calibration is None:
        raise DataError("a scale bar needs an image with a calibration.")
    metres = image.calibration.to("m") * image.shape[1] / 5
    power = 10 ** math.floor(math.log10(metres))
    nice = max(step for step in (1, 2, 5) if step * power <= metres * 1.0001) * power
    unit = next(u for u in ("nm", "um", "mm", "m") if nice / METRES[u] < 999.5 or u == "m")
    # 12 digits: 200 px, not 199.99999999999997
    length = float(f"{nice / image.calibration.to('m'):.12g}")
    return length, f"{nice / METRES[unit]:g} {unit_text(unit)}"
