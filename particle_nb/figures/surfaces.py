"""Figures of a particle in space: its point cloud, and its surface with the micrograph on it."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import plotly.graph_objects as go

from particle_nb.core.errors import CalibrationError, DataError, ImageError
from particle_nb.core.image import Image
from particle_nb.core.surface import PointCloud
from particle_nb.figures.style import INK, PALETTE, layout

#: Tick labels written out, 20,000 and not 20k.
PLAIN = {"exponentformat": "none", "separatethousands": True}

#: Button -> (eye, up, axis seen end-on). Scene y points up the image, as its axis runs downwards.
VIEWS: dict[str, tuple[tuple[float, ...], tuple[int, ...], str]] = {
    "oblique": ((-0.6, -0.92, 0.72), (0, 0, 1), ""),
    "top": ((0, 0, 1.3), (0, 1, 0), "z"),
    "bottom": ((0, 0, -1.3), (0, 1, 0), "z"),
    "front": ((0, -0.95, 0), (0, 0, 1), "y"),
    "left": ((-0.95, 0, 0), (0, 0, 1), "x"),
    "right": ((0.95, 0, 0), (0, 0, 1), "x"),
    # a little from above, so that the surface behind the cut can be seen
    "cross-section": ((0, -0.92, 0.25), (0, 0, 1), ""),
}


def scene(fig: go.Figure, title: str, unit: str, plane: str, xyz: tuple[np.ndarray, ...]) -> Any:
    """Give a figure of one surface its axes, equal where all three are lengths, and its buttons.

    Parameters
    ----------
    fig : Figure
        With the surface or the points as its only trace; face and line of the cut come behind it.
    title : str
    unit, plane : str
        Of the heights (``"nm"`` or ``"relative"``), and of x and y.
    xyz : three float arrays (N,)
        All points that are drawn, finite, for the ends of the axes and for the cut.

    Returns
    -------
    Figure
        The same.

    Examples
    --------
    >>> x = np.arange(9.0)
    >>> fig = scene(go.Figure(go.Scatter3d(x=x, y=x, z=x)), "points", "nm", "nm", (x, x, x))
    >>> fig.layout.updatemenus[0].buttons[-1].label
    'cross-section'
    """
    x, y, z = xyz
    cut_at, cut = _middle_cut(x, y, z)
    fig.add_traces(cut)
    pad = 0.02 * max(float(np.ptp(y)), 1e-9)
    near, far = float(y.max()) + pad, float(y.min()) - pad
    layout(fig, title, width=860, height=680)
    axis = {
        "backgroundcolor": "white",
        "gridcolor": "#d5dae0",
        "linecolor": INK,
        "showline": True,
        "zeroline": False,
        "nticks": 5,
        "tickfont": {"size": 11},
        **PLAIN,
        "showspikes": False,
    }
    # heights without a scale have no true proportion to the plane
    spans = [float(np.ptp(x)) or 1.0, float(np.ptp(y)) or 1.0]
    ratio = {"x": spans[0] / max(spans), "y": spans[1] / max(spans), "z": 0.45}
    buttons = []
    for name, (_, _, end_on) in VIEWS.items():
        here = name == "cross-section"
        change: dict[str, Any] = {
            "scene.camera": _camera(name),
            # what lies beyond the end of an axis is not drawn: the part before the cut
            "scene.yaxis.range": [cut_at if here else near, far],
        }
        # labels of an axis seen end-on lie on top of each other
        change |= {f"scene.{a}axis.visible": a != end_on for a in "xyz"}
        if unit != "nm":
            change["scene.aspectratio"] = ratio | {"y": ratio["y"] * (0.5 if here else 1)}
        buttons.append(
            {"label": name, "method": "update", "args": [{"visible": [True, here, here]}, change]}
        )
    fig.update_layout(
        scene={
            "xaxis": {"title": {"text": f"x / {plane}"}, **axis},
            # y runs down, as in the micrograph
            "yaxis": {"title": {"text": f"y / {plane}"}, "range": [near, far], **axis},
            "zaxis": {"title": {"text": "z / nm" if unit == "nm" else "relative height"}, **axis},
            "aspectmode": "data" if unit == "nm" else "manual",
            "camera": _camera("oblique"),
        },
        updatemenus=[
            {
                "type": "buttons",
                "direction": "right",
                "x": 0.01,
                "xanchor": "left",
                "y": 1.0,
                "yanchor": "bottom",
                "pad": {"b": 4},
                "bgcolor": "white",
                "showactive": False,
                "buttons": buttons,
            }
        ],
        margin={"l": 5, "r": 5, "t": 95, "b": 5},
    )
    if unit != "nm":
        fig.update_layout(scene_aspectratio=ratio)
    return fig


def _camera(name: str) -> dict[str, Any]:
    eye, up, _ = VIEWS[name]
    return {
        "eye": dict(zip("xyz", eye, strict=True)),
        "up": dict(zip("xyz", up, strict=True)),
        "center": {"x": 0, "y": 0, "z": 0},
        "projection": {"type": "orthographic"},
    }


def _middle_cut(x: np.ndarray, y: np.ndarray, z: np.ndarray) -> tuple[float, list[Any]]:
    """Where a vertical plane meets the surface in the middle of y: its place, face and line."""
    middle = (float(y.min()) + float(y.max())) / 2
    rows = np.unique(y)
    row = float(rows[np.argmin(np.abs(rows - middle))])
    here = y == row
    if np.count_nonzero(here) < 8:  # scattered points: those of a narrow band
        here = np.abs(y - middle) <= 0.01 * max(float(np.ptp(y)), 1e-9)
        row = middle
    order = np.argsort(x[here])
    along, up = x[here][order].astype(np.float32), z[here][order].astype(np.float32)
    count = along.size
    look: dict[str, Any] = {"visible": False, "showlegend": False}
    # the face is a strip of triangles between the profile and the lowest point of all
    first = np.arange(max(count - 1, 0), dtype=np.int32)
    face = go.Mesh3d(
        x=np.tile(along, 2),
        y=np.full(2 * count, row, np.float32),
        z=np.concatenate([up, np.full(count, z.min(), np.float32)]),
        i=np.concatenate([first, first + 1]),
        j=np.tile(first + count, 2),
        k=np.concatenate([first + 1, first + count + 1]),
        color="#f0ddd2",
        lighting={"ambient": 1.0, "diffuse": 0.0, "specular": 0.0},
        hoverinfo="skip",
        **look,
    )
    # a line in the plane of the face would be drawn half behind it
    step = float(np.diff(rows).min()) if rows.size > 1 else 0.0
    line = go.Scatter3d(
        x=along,
        y=np.full(count, row + step / 4, np.float32),
        z=up,
        mode="lines",
        line={"color": PALETTE[5], "width": 6},
        hovertemplate="x %{x:.5g}<br>z %{z:.4g}<extra>cut</extra>",
        **look,
    )
    return row + step / 2, [face, line]


#: Colours of heights.
SCALE = "Viridis"

_GREY = [[0, "#000000"], [1, "#ffffff"]]

#: Grid points a side that a browser takes at once.
SIDE = 700

_POINTS = 100_000


def point_cloud(
    cloud: PointCloud | np.ndarray,
    image: Image | None = None,
    *,
    limit: int = _POINTS,
    title: str | None = None,
) -> go.Figure:
    """Draw the points of a particle in space, with buttons for six views and a cross-section.

    Parameters
    ----------
    cloud : PointCloud or float array (N, 3)
        In nm.
    image : Image or None
        Gives every point its grey value; coloured by height without it.
    limit : int
        Greatest number of points, up to 1e6; a denser grid is drawn with every k-th row and
        column, and the title says so.

    Raises
    ------
    ImageError, DataError
        If it is no cloud, or its points lie outside the image.

    Examples
    --------
    >>> fig = point_cloud(PointCloud(np.random.default_rng(0).random((50, 3))))
    >>> fig.layout.scene.zaxis.title.text
    'z / nm'
    """
    cloud = _one_cloud(cloud)
    limit = _whole_number(limit, "limit", 1, 1_000_000)
    index, how = _thinned(cloud, limit)
    x, y, z = cloud.xyz[index].astype(np.float32).T
    marker: dict[str, Any] = {"size": 2.2, "line": {"width": 0}}
    if image is None:
        marker |= {"color": z, "colorscale": SCALE, "colorbar": _colour_bar(cloud.unit)}
    else:
        marker |= {"color": grey_at(cloud, image, index), "colorscale": _GREY}
        marker |= {"cmin": 0, "cmax": 255}
    fig = go.Figure(
        go.Scatter3d(
            x=x,
            y=y,
            z=z,
            mode="markers",
            marker=marker,
            hovertemplate=_hover(cloud.unit),
            showlegend=False,
        )
    )
    words = title if title is not None else f"{len(cloud):,} points{how}"
    return scene(fig, words, cloud.unit, _plane_unit(cloud), (x, y, z))


def surface(
    heights: PointCloud | np.ndarray,
    image: Image | None = None,
    *,
    pixel_size: float | None = None,
    limit: int = SIDE,
    title: str | None = None,
) -> go.Figure:
    """Draw a surface with the micrograph on it, with buttons for six views and a cross-section.

    Parameters
    ----------
    heights : PointCloud on a grid, or float array (H, W)
        In nm; NaN where there is none.
    image : Image or None
        Of the same frame; coloured by height without it.
    pixel_size : float or None
        Pitch of an array in nm; the image's calibration where it is left out.
    limit : int
        Greatest number of grid points a side, up to 2000; more are drawn with every k-th row
        and column, and the title says so.

    Raises
    ------
    ImageError, DataError
        If the heights are unusable, or lie outside the image.
    CalibrationError
        If an array comes without a pixel size.

    Examples
    --------
    >>> fig = surface(np.random.default_rng(0).random((20, 30)), pixel_size=5)
    >>> fig.data[0].z.shape, fig.layout.scene.aspectmode
    ((20, 30), 'data')
    """
    if image is not None:
        check_image(image)
    limit = _whole_number(limit, "limit", 2, 2000)
    unit, plane = "nm", "nm"
    if isinstance(heights, PointCloud):
        z, unit, plane = heights.grid(), heights.unit, _plane_unit(heights)
        pitch = float(heights.pitch or 1.0)
        corner = (float(heights.xyz[:, 0].min()), float(heights.xyz[:, 1].min()))
        grey = None if image is None else heights.grid(grey_at(heights, image))
    else:
        z = heights_of(heights, image)
        pitch = _pixel_pitch(pixel_size, image)
        corner = (0.0, 0.0)
        grey = None if image is None else image.to_uint8()
    step = max(1, math.ceil(max(z.shape) / limit))
    shown = z[::step, ::step].astype(np.float32)
    look: dict[str, Any] = {"colorscale": SCALE, "colorbar": _colour_bar(unit)}
    if grey is not None:
        texture = np.nan_to_num(grey[::step, ::step]).astype(np.uint8)
        # the micrograph holds its own light and shade: no second lamp on it
        look = {
            "surfacecolor": texture,
            "colorscale": _GREY,
            "cmin": 0,
            "cmax": 255,
            "showscale": False,
            "lighting": {"ambient": 1.0, "diffuse": 0.0, "specular": 0.0, "fresnel": 0.0},
        }
    rows, cols = shown.shape
    x = (corner[0] + pitch * step * np.arange(cols)).astype(np.float32)
    y = (corner[1] + pitch * step * np.arange(rows)).astype(np.float32)
    fig = go.Figure(go.Surface(x=x, y=y, z=shown, hovertemplate=_hover(unit), **look))
    how = f", every {ordinal(step)} row and column" if step > 1 else ""
    words = title if title is not None else f"Surface of {z.shape[1]} × {z.shape[0]} pixels{how}"
    known = np.nonzero(np.isfinite(shown))
    return scene(fig, words, unit, plane, (x[known[1]], y[known[0]], shown[known]))


def _colour_bar(unit: str) -> dict[str, Any]:
    text = "height z / nm" if unit == "nm" else "relative height"
    return {"title": {"text": text, "side": "right"}, "thickness": 14, "len": 0.6} | PLAIN


def _hover(unit: str) -> str:
    suffix = " nm" if unit == "nm" else ""
    return f"x %{{x:.5g}}, y %{{y:.5g}}<br>z %{{z:.4g}}{suffix}<extra></extra>"


def _plane_unit(cloud: PointCloud) -> str:
    # without a calibration point_cloud counts pixels: a pitch of one, and no scale on z
    return "px" if cloud.unit == "relative" and cloud.pixel_size == 1 else "nm"


def _thinned(cloud: PointCloud, limit: int) -> tuple[np.ndarray, str]:
    """Indices of the points that are drawn, and words for what was left out."""
    if len(cloud) <= limit:
        return np.arange(len(cloud)), ""
    if cloud.pitch is None:
        return cloud.sample(limit), f", {limit:,} of them drawn"
    rows, cols, _ = cloud.grid_index()
    step = math.ceil(math.sqrt(len(cloud) / limit))
    while True:
        index = np.flatnonzero((rows % step == 0) & (cols % step == 0))
        if len(index) <= limit:
            return index, f", every {ordinal(step)} row and column drawn"
        step += 1


def grey_at(cloud: PointCloud, image: Image, index: np.ndarray | None = None) -> np.ndarray:
    """Grey values uint8 (N,) of the pixels that the points came from."""
    check_image(image)
    if cloud.pitch is None:
        raise DataError("scattered points have no pixels in the image; draw them without it.")
    xy = cloud.xyz[:, :2] if index is None else cloud.xyz[index, :2]
    cols, rows = np.rint(xy / cloud.pitch).astype(np.int64).T
    height, width = image.shape
    if min(cols.min(), rows.min()) < 0 or cols.max() >= width or rows.max() >= height:
        raise DataError(
            f"the cloud reaches column {cols.max()} and row {rows.max()} and does not lie in an "
            f"image of {image.shape}; give the image that it was made from."
        )
    return image.to_uint8()[rows, cols]


def heights_of(values: Any, image: Image | None) -> np.ndarray:
    """Return heights in nm as float32 (H, W), checked.

    Raises
    ------
    DataError
        If they are no finite map of numbers, or of another frame than the image.
    """
    try:
        array = np.asarray(values)
    except ValueError as error:
        raise DataError(f"heights cannot be read as an array: {error}.") from None
    if array.dtype.kind not in "fiu" or array.ndim != 2 or min(array.shape, default=0) < 2:
        raise DataError(
            f"heights are numbers in nm, (H, W) of 2 x 2 or more, a DepthMap or a PointCloud, not "
            f"{type(values).__name__} of {array.dtype} {array.shape}."
        )
    if image is not None and array.shape != image.shape:
        raise DataError(f"heights of {array.shape} do not fit an image of {image.shape}.")
    if not np.isfinite(array).any():
        raise DataError("heights hold no finite number.")
    return array.astype(np.float32)


def _pixel_pitch(pixel_size: Any, image: Image | None) -> float:
    if pixel_size is None:
        if image is not None and image.calibration is not None:
            return image.calibration.to("nm")
        raise CalibrationError(
            "heights as an array need pixel_size in nm, or an image with a calibration."
        )
    number = isinstance(pixel_size, (int, float, np.number)) and not isinstance(pixel_size, bool)
    if not number or not 0 < pixel_size < math.inf:
        raise CalibrationError(f"pixel_size is a length in nm above 0, not {pixel_size!r}.")
    return float(pixel_size)


def _one_cloud(cloud: Any) -> PointCloud:
    if isinstance(cloud, np.ndarray):
        return PointCloud(cloud)
    if not isinstance(cloud, PointCloud):
        raise DataError(f"expected a PointCloud, not {type(cloud).__name__}; use pnb.point_cloud.")
    return cloud


def check_image(image: Any) -> None:
    """Raise `ImageError` unless it is an `Image`."""
    if not isinstance(image, Image):
        raise ImageError(f"expected a particle_nb.Image, not {type(image).__name__}.")


def _whole_number(value: Any, name: str, low: int, high: int) -> int:
    whole = isinstance(value, (int, np.integer)) and not isinstance(value, bool)
    if not whole or not low <= value <= high:
        raise DataError(f"{name} is a whole number from {low} to {high:,}, not {value!r}.")
    return int(value)


def ordinal(number: int) -> str:
    """Return how "every n-th" is written; nothing for every one.

    Examples
    --------
    >>> ordinal(2), ordinal(4)
    ('2nd', '4th')
    """
    return {1: "", 2: "2nd", 3: "3rd"}.get(number, f"{number}th")
