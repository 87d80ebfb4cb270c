"""Figures of volumes: slices, surfaces of the phases, correlation and chords against a source."""

from __future__ import annotations

import base64
import io
import math
from typing import Any

import numpy as np
import plotly.graph_objects as go
from PIL import Image as PILImage
from plotly.subplots import make_subplots
from scipy import ndimage
from skimage.measure import marching_cubes

from particle_nb.core.errors import DataError
from particle_nb.core.volume import Volume, as_volume, chord_lengths
from particle_nb.core.volume import two_point as two_point_table
from particle_nb.figures.style import INK, PALETTE, instance_colours, layout, number, unit_text

#: Slices that a slider can show, and triangles of a view: a few megabytes of figure.
_POSITIONS, _TRIANGLES = 64, 200_000

_PLANES = (("z", "x", "y"), ("y", "x", "z"), ("x", "y", "z"))  # across, right, down


def _colours(volume: Volume) -> list[str]:
    """One colour a phase."""
    if len(volume.phases) <= len(PALETTE):
        return list(PALETTE[: len(volume.phases)])
    return ["#" + bytes(c).hex() for c in instance_colours(len(volume.phases))]


def _rgb(colour: str) -> tuple[int, ...]:
    return tuple(int(colour[i : i + 2], 16) for i in (1, 3, 5))


def _solid(volume: Any, what: str) -> Volume:
    volume = as_volume(volume)
    if volume.labels.ndim != 3:
        raise DataError(f"{what} shows a volume (D, H, W), not a section of shape {volume.shape}.")
    return volume


def _legend(fig: go.Figure, volume: Volume, colours: list[str]) -> None:
    """A square in the legend for every phase."""
    for (name, share), colour in zip(volume.fractions.items(), colours, strict=True):
        fig.add_trace(
            go.Scatter(
                x=[None],
                y=[None],
                mode="markers",
                marker={"symbol": "square", "size": 12, "color": colour},
                name=f"{name}, {100 * share:.3g} %",
            )
        )


def slices(volume: Any, *, title: str | None = None) -> go.Figure:
    """Draw three orthogonal slices of a volume, each with a slider; lines show where they cut.

    Parameters
    ----------
    volume : Volume or integer array (D, H, W)
        A slider has at most 64 positions; slices keep every voxel.

    Raises
    ------
    DataError
        If it is no volume, or a section.

    Examples
    --------
    >>> fig = slices(np.arange(64).reshape(4, 4, 4) % 3)
    >>> [len(slider.steps) for slider in fig.layout.sliders]
    [4, 4, 4]
    """
    volume = _solid(volume, "slices")
    colours = _colours(volume)
    palette = np.array([_rgb(colour) for colour in colours], np.uint8).ravel().tolist()
    sizes = dict(zip(volume.axes, volume.shape, strict=True))
    unit, edge = unit_text(volume.unit), volume.voxel
    names = [f"{right}{down} at {across}" for across, right, down in _PLANES]
    fig = make_subplots(1, 3, horizontal_spacing=0.075, subplot_titles=names)
    fig.update_annotations(font={"size": 13, "color": INK})
    middle = {axis: sizes[axis] // 2 for axis in volume.axes}
    lines: dict[str, list[tuple[int, str]]] = {axis: [] for axis in volume.axes}
    sliders = []
    for column, (across, right, down) in enumerate(_PLANES, 1):
        where = {"row": 1, "col": column}
        fig.add_trace(
            go.Scatter(x=[0], y=[0], opacity=0, showlegend=False, hoverinfo="skip"), **where
        )
        width, height = sizes[right] * edge, sizes[down] * edge
        fig.add_layout_image(
            {
                "source": _slice_uri(volume, across, middle[across], palette),
                "x": 0,
                "y": 0,
                "xanchor": "left",
                "yanchor": "top",
                "sizex": width,
                "sizey": height,
                "sizing": "stretch",
                "layer": "below",
            },
            **where,
        )
        fig.update_xaxes(range=[0, width], title=f"{right} / {unit}", constrain="domain", **where)
        fig.update_yaxes(
            range=[height, 0],
            title={"text": f"{down} / {unit}", "standoff": 4},
            scaleanchor=f"x{column if column > 1 else ''}",
            constrain="domain",
            **where,
        )
        for axis, side in ((right, "x"), (down, "y")):
            place = (middle[axis] + 0.5) * edge
            ends = (0, height) if side == "x" else (0, width)
            other = "y" if side == "x" else "x"
            lines[axis].append((len(fig.layout.shapes), side))
            fig.add_shape(
                type="line",
                **{
                    f"{side}0": place,
                    f"{side}1": place,
                    f"{other}0": ends[0],
                    f"{other}1": ends[1],
                },
                line={"color": "white", "width": 1, "dash": "dot"},
                **where,
            )
    for column, (across, _, _) in enumerate(_PLANES):
        positions = np.unique(
            np.linspace(0, sizes[across] - 1, min(sizes[across], _POSITIONS)).round().astype(int)
        )
        steps = []
        for position in positions:
            place = (int(position) + 0.5) * edge
            changes: dict[str, Any] = {
                f"images[{column}].source": _slice_uri(volume, across, int(position), palette)
            }
            for index, side in lines[across]:
                changes |= {f"shapes[{index}].{side}{end}": place for end in (0, 1)}
            steps.append({"method": "relayout", "args": [changes], "label": number(place)})
        domain = fig.layout[f"xaxis{column + 1 if column else ''}"].domain
        sliders.append(
            {
                "steps": steps,
                "active": int(np.argmin(abs(positions - middle[across]))),
                "x": domain[0],
                "len": domain[1] - domain[0],
                "y": -0.22,
                "pad": {"t": 0, "b": 0},
                "currentvalue": {"prefix": f"{across} / {unit} = ", "font": {"size": 12}},
                "ticklen": 0,
                "minorticklen": 0,
                "font": {"color": "rgba(0,0,0,0)", "size": 1},
            }
        )
    for slider in sliders:
        slider["currentvalue"]["font"]["color"] = INK
    _legend(fig, volume, colours)
    layout(fig, title if title is not None else _title(volume))
    fig.update_layout(
        sliders=sliders,
        width=1060,
        height=510,
        margin={"l": 60, "r": 15, "t": 80, "b": 130},
        legend={"orientation": "h", "x": 1, "xanchor": "right", "y": 1.14, "yanchor": "bottom"},
    )
    fig.update_xaxes(showgrid=False)
    fig.update_yaxes(showgrid=False)
    return fig


def _title(volume: Volume) -> str:
    size = " × ".join(number(n * volume.voxel) for n in volume.shape)
    return f"{size} {unit_text(volume.unit)}, {' × '.join(str(n) for n in volume.shape)} voxels"


def _slice_uri(volume: Volume, across: str, position: int, palette: list[int]) -> str:
    """A slice as a PNG with a palette; a byte a voxel before compression."""
    plane = np.take(volume.indices, position, volume.axes.index(across))
    picture = PILImage.fromarray(np.ascontiguousarray(plane), mode="P")
    picture.putpalette(palette)
    buffer = io.BytesIO()
    picture.save(buffer, "PNG", optimize=False)
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()


def solids(volume: Any, style: str = "voxels", *, title: str | None = None) -> go.Figure:
    """Draw the phases of a volume in space; a click on the legend takes a phase away.

    Parameters
    ----------
    volume : Volume or integer array (D, H, W)
        Drawn with every k-th voxel, so that the view has at most 200,000 triangles; the title says
        k. The most abundant phase is hidden at first.
    style : "voxels" or "surface"
        The faces of the voxels, or smoothed surfaces that hold as much volume.

    Raises
    ------
    DataError
        If it is no volume, a section, or the style is unknown.

    Examples
    --------
    >>> ball = (np.indices((12, 12, 12)) - 5.5); ball = ((ball**2).sum(0) < 20).astype(int)
    >>> fig = solids(Volume(ball, names=("matrix", "ball")))
    >>> [(trace.name, trace.visible) for trace in fig.data]
    [('matrix', 'legendonly'), ('ball', True)]
    """
    volume = _solid(volume, "solids")
    meshes = {"surface": _surface_mesh, "voxels": _voxel_mesh}
    if style not in meshes:
        raise DataError(f"style is 'surface' or 'voxels', not {style!r}.")
    step = 1
    while True:
        index = volume.indices[::step, ::step, ::step]
        made = [meshes[style](index == place) for place in range(len(volume.phases))]
        total = sum(len(triangles) for _, triangles in made)
        if total <= _TRIANGLES or min(index.shape) <= 4:
            break
        # triangles go with the square of the edge in voxels
        step = max(step + 1, int(step * math.sqrt(total / _TRIANGLES)))
    shares = list(volume.fractions.values())
    fig = go.Figure()
    for place, (corners, triangles) in enumerate(made):
        name = volume.name(volume.phases[place])
        at = corners * step * volume.voxel
        fig.add_trace(
            go.Mesh3d(
                x=at[:, 2].astype(np.float32),
                y=at[:, 1].astype(np.float32),
                z=at[:, 0].astype(np.float32),
                i=triangles[:, 0].astype(np.int32),
                j=triangles[:, 1].astype(np.int32),
                k=triangles[:, 2].astype(np.int32),
                color=_colours(volume)[place],
                flatshading=style == "voxels",
                lighting={"ambient": 0.55, "diffuse": 0.7, "specular": 0.1},
                name=name,
                showlegend=True,
                visible="legendonly" if place == int(np.argmax(shares)) else True,
                hoverinfo="name",
            )
        )
    words = title if title is not None else _title(volume)
    if step > 1 and title is None:
        words += f", every {step}{ {2: 'nd', 3: 'rd'}.get(step, 'th') } voxel drawn"
    layout(fig, words)
    unit = unit_text(volume.unit)
    scene: dict[str, Any] = {
        "aspectmode": "data",
        "camera": {"eye": {"x": 1.4, "y": -1.6, "z": 0.9}},
    }
    for axis, n in zip(volume.axes, volume.shape, strict=True):
        limits = [0, n * volume.voxel]
        # z runs down, as the slices do
        scene[f"{axis}axis"] = {
            "title": f"{axis} / {unit}",
            "range": limits[::-1] if axis == "z" else limits,
            "backgroundcolor": "white",
            "gridcolor": "#e4e7eb",
            "showbackground": True,
        }
    fig.update_layout(scene=scene, width=820, height=680, margin={"l": 0, "r": 0, "t": 60, "b": 0})
    return fig


def _surface_mesh(inside: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Surface of a phase, closed at the frame, in voxel edges from the corner."""
    if not inside.any():
        return np.empty((0, 3)), np.empty((0, 3), int)
    smooth = ndimage.gaussian_filter(inside.astype(np.float32), 0.6, mode="nearest")
    # at one half thin phases would vanish; at this level the phase keeps its fraction
    level = float(np.clip(np.quantile(smooth, 1 - inside.mean()), 0.1, 0.9))
    corners, triangles, _, _ = marching_cubes(np.pad(smooth, 1), level)
    return np.clip(corners - 0.5, 0, inside.shape), triangles


def _voxel_mesh(inside: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Faces between voxels of a phase and all others, two triangles each, corners shared."""
    padded = np.pad(inside, 1)
    squares = []
    for axis in range(3):
        change = np.diff(padded.astype(np.int8), axis=axis)
        for sign in (1, -1):
            at = np.argwhere(change == sign)
            # the face lies on the far side of `at` along its axis; the frame of zeros is one voxel
            at = at - np.array([0 if a == axis else 1 for a in range(3)])
            one, other = np.eye(3, dtype=int)[[(axis + 1) % 3, (axis + 2) % 3]]
            if sign == -1:
                one, other = other, one
            squares.append(at[:, None, :] + np.stack([0 * one, one, one + other, other]))
    corners = np.concatenate(squares).reshape(-1, 3)
    if not len(corners):
        return np.empty((0, 3)), np.empty((0, 3), int)
    unique, numbers = np.unique(corners, axis=0, return_inverse=True)
    quads = numbers.reshape(-1, 4)
    return unique, np.concatenate([quads[:, [0, 1, 2]], quads[:, [0, 2, 3]]])


def two_point(volume: Any, source: Any = None, *, title: str | None = None) -> go.Figure:
    """Draw the two-point correlation of each phase; that of a source, e.g. a section, dashed.

    Parameters
    ----------
    volume : Volume, phase map, or integer array
    source : Volume, phase map, integer array or None
        Phases are those of the same name. Both need a scale, or neither.

    Raises
    ------
    DataError
        If one is no volume, or only one of them has a scale.

    Examples
    --------
    >>> grains = np.random.default_rng(0).integers(0, 2, (8, 8, 8))
    >>> [trace.name for trace in two_point(grains, grains[0]).data]
    ['phase 0', 'phase 0, source', 'phase 1', 'phase 1, source']
    """
    volume = as_volume(volume)
    fig = go.Figure()
    for one, factor, dash, word in _pair(volume, source):
        table = two_point_table(one)
        table = table[table["direction"] == "isotropic"]
        for place, (name, share) in enumerate(volume.fractions.items()):
            mine = table[table["name"] == name]
            if mine.empty:
                continue
            colour = _colours(volume)[place]
            fig.add_trace(
                go.Scatter(
                    x=(mine[f"lag_{one.unit}"] * factor).to_numpy(),
                    y=mine["S2"].to_numpy(),
                    mode="lines",
                    line={"color": colour, "dash": dash, "width": 2},
                    name=name + word,
                    legendgroup=name,
                )
            )
            if not word:
                fig.add_hline(y=share**2, line={"color": colour, "width": 1, "dash": "dot"})
    fig.data = sorted(fig.data, key=lambda trace: list(volume.fractions).index(trace.legendgroup))
    layout(fig, title if title is not None else "Two-point correlation; dotted: fraction squared")
    fig.update_xaxes(title=f"distance r / {unit_text(volume.unit)}", rangemode="tozero")
    fig.update_yaxes(title="S<sub>2</sub>(r)", rangemode="tozero")
    fig.update_layout(width=760, height=480)
    return fig


def chords(volume: Any, source: Any = None, *, title: str | None = None) -> go.Figure:
    """Draw the share of longer chords of each phase over their length; a source dashed.

    Parameters
    ----------
    volume, source :
        As in `two_point`. Chords of all axes together, cut ones left out.

    Raises
    ------
    DataError
        As `two_point`.

    Examples
    --------
    >>> grains = np.random.default_rng(0).integers(0, 2, (8, 8, 8))
    >>> chords(grains).layout.yaxis.type
    'log'
    """
    volume = as_volume(volume)
    fig = go.Figure()
    for one, factor, dash, word in _pair(volume, source):
        table = chord_lengths(one)
        column = f"length_{one.unit}"
        axes = table["direction"].nunique()
        for place, name in enumerate(volume.fractions):
            mine = table[table["name"] == name].groupby(column)["share"].sum() / max(axes, 1)
            if mine.empty:
                continue
            # the share of chords at least as long, so that the first is 1
            longer = mine.to_numpy()[::-1].cumsum()[::-1]
            fig.add_trace(
                go.Scatter(
                    x=mine.index.to_numpy(float) * factor,
                    y=longer,
                    mode="lines",
                    line={"color": _colours(volume)[place], "dash": dash, "width": 2},
                    name=name + word,
                    legendgroup=name,
                )
            )
    fig.data = sorted(fig.data, key=lambda trace: list(volume.fractions).index(trace.legendgroup))
    layout(fig, title if title is not None else "Chords along the axes")
    fig.update_xaxes(title=f"chord length l / {unit_text(volume.unit)}", rangemode="tozero")
    fig.update_yaxes(title="share of chords at least as long", type="log", exponentformat="power")
    fig.update_layout(width=760, height=480)
    return fig


def _pair(volume: Volume, source: Any) -> list[tuple[Volume, float, str, str]]:
    """Volume and source with the factor to the volume's unit, their dash and word in the legend."""
    pair = [(volume, 1.0, "solid", "")]
    if source is not None:
        other = as_volume(source)
        if (other.calibration is None) != (volume.calibration is None):
            raise DataError(
                "one of the two has a scale and the other none, so lengths cannot be compared; "
                "give both a Calibration, or neither."
            )
        if not set(other.fractions) & set(volume.fractions):
            raise DataError(
                f"the source has the phases {list(other.fractions)}, the volume "
                f"{list(volume.fractions)}: none in common; give them the same names."
            )
        factor = 1.0
        if other.calibration is not None:
            factor = other.calibration.to(volume.unit) / other.calibration.pixel_size
        pair.append((other, factor, "dash", ", source"))
    return pair
