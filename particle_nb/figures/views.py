"""The scene of a surface in space: axes with units, and buttons for its views and a cut."""

from __future__ import annotations

from typing import Any

import numpy as np
import plotly.graph_objects as go

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
    cut_at, cut = _cut(x, y, z)
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


def _cut(x: np.ndarray, y: np.ndarray, z: np.ndarray) -> tuple[float, list[Any]]:
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
