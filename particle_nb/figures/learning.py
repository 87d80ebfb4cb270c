"""Figures of classes: the plane of the features, with the particles themselves on hover."""

from __future__ import annotations

import base64
import html
import io
import json
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from PIL import Image as PILImage
from plotly.subplots import make_subplots

from particle_nb.core.errors import DataError
from particle_nb.core.image import Image
from particle_nb.core.masks import Mask, MaskSet
from particle_nb.figures.style import INK, PALETTE, layout, words_and_symbol

if TYPE_CHECKING:
    from particle_nb.core.learning import FeatureTable

#: Side of a thumbnail in pixels, and how many there are at most: the page must stay small.
_SIDE, _MOST = 64, 2000
_GREY = "#9aa5b1"
_SYMBOLS = ("circle", "square", "diamond", "triangle-up", "cross", "star", "hexagon", "pentagon")
_SCRIPT = """
const gd = document.getElementById('{plot_id}'), about = ABOUT;
const tip = document.createElement('div');
tip.className = 'pnb-thumbnail';
Object.assign(tip.style, {position: 'fixed', width: about.side + 'px', height: about.side + 'px',
  transform: 'scale(2)', transformOrigin: 'top left', backgroundImage: 'url(' + about.atlas + ')',
  border: '1px solid INK', pointerEvents: 'none', display: 'none', zIndex: 1000});
document.body.appendChild(tip);
gd.on('plotly_hover', (data) => {
  const place = about.places[data.points[0].customdata[0]];
  if (place === undefined) return;
  const row = Math.floor(place / about.columns), column = place % about.columns;
  tip.style.backgroundPosition = `-${column * about.side}px -${row * about.side}px`;
  const x = data.event.clientX, y = data.event.clientY, wide = 2 * about.side + 20;
  tip.style.left = (x + wide > window.innerWidth ? x - wide : x + 20) + 'px';
  tip.style.top = Math.max(y - wide, 4) + 'px';
  tip.style.display = 'block';
});
gd.on('plotly_unhover', () => { tip.style.display = 'none'; });
""".replace("INK", INK)


class FeatureMap(go.Figure):
    """A plotly figure that shows, where it is drawn as HTML, the particle under the pointer.

    In a notebook, in `to_html` and `write_html`; pictures (`write_image`) have no pointer.
    """

    _atlas: str = ""

    def _scripts(self, given: Any) -> list[str]:
        asked = [given] if isinstance(given, str) else list(given or [])
        return [*asked, self._atlas] if self._atlas else asked

    def to_html(self, *args: Any, **kwargs: Any) -> str:
        """Return the figure as HTML, as plotly's `to_html` does.

        Examples
        --------
        >>> "newPlot" in FeatureMap().to_html(include_plotlyjs=False)
        True
        """
        kwargs["post_script"] = self._scripts(kwargs.get("post_script"))
        return super().to_html(*args, **kwargs)

    def write_html(self, *args: Any, **kwargs: Any) -> None:
        """Write the figure to an HTML file, as plotly's `write_html` does.

        Examples
        --------
        >>> stream = io.StringIO()
        >>> FeatureMap().write_html(stream, include_plotlyjs=False)
        >>> "newPlot" in stream.getvalue()
        True
        """
        kwargs["post_script"] = self._scripts(kwargs.get("post_script"))
        super().write_html(*args, **kwargs)

    def _repr_mimebundle_(self, *args: Any, **kwargs: Any) -> dict[str, Any]:
        if not self._atlas:
            return super()._repr_mimebundle_(*args, **kwargs)
        # with plotly.js inside, as nothing may be fetched
        return {"text/html": self.to_html(full_html=False, include_plotlyjs=True)}


def feature_map(
    features: FeatureTable | np.ndarray,
    table: pd.DataFrame | Sequence[str] | None = None,
    image: Image | None = None,
    masks: MaskSet | None = None,
    *,
    title: str | None = None,
    projection: str = "pca",
) -> FeatureMap:
    """Draw all particles in a plane of their features, coloured by class.

    Parameters
    ----------
    features : FeatureTable or float array (N, D)
    table : DataFrame with a column ``class``, or names (N,), or None
        From `ShapeClassifier.predict`; ``probability`` is shown on hover.
    image : Image or None
    masks : MaskSet or None
        With both, the particle under the pointer is shown (of 2,000 at most).
    title : str or None
    projection : "pca" or "umap"
        The principal plane; or UMAP's, where the package umap-learn is installed (it is no
        dependency). UMAP keeps who is beside whom, not how far groups lie apart.

    Raises
    ------
    DataError
        If lengths do not fit together, there are fewer than three particles, or UMAP is asked for
        and not installed.

    Examples
    --------
    >>> values = np.random.default_rng(0).normal(size=(20, 5))
    >>> fig = feature_map(values, ["disc", "rod"] * 10)
    >>> [(trace.name, len(trace.x)) for trace in fig.data]
    [('disc (10)', 10), ('rod (10)', 10)]
    """
    # scikit-learn comes with it, which other figures need not wait for
    from particle_nb.core.learning import UNKNOWN, plane

    points, shares, loadings = plane(features)
    if projection != "pca":
        points = _umap(features, projection)
    count = len(points)
    names, chances = _classes(table, count)
    if (image is None) != (masks is None):
        raise DataError("thumbnails need both the image and its masks; give both or none.")
    if masks is not None and (not isinstance(masks, MaskSet) or len(masks) != count):
        raise DataError(f"{count} rows of features need as many masks; give those of the rows.")
    if (
        image is not None
        and masks is not None
        and (not isinstance(image, Image) or image.shape != masks.shape)
    ):
        raise DataError("the masks lie on another frame than the image; give those of the image.")
    fig = FeatureMap()
    shown = np.isfinite(points).all(axis=1)
    known = sorted(set(names[shown].tolist()) - {UNKNOWN, ""})
    for place, name in enumerate([*known, UNKNOWN, ""]):
        rows = np.flatnonzero(shown & (names == name))
        if not rows.size:
            continue
        named = place < len(known)
        marker: dict[str, Any] = {
            "color": PALETTE[place % (len(PALETTE) - 1)] if named else _GREY,
            "symbol": _SYMBOLS[place % len(_SYMBOLS)] if named else "x-thin-open",
            "size": 8,
            "opacity": 0.85,
            "line": {"width": 0.8 if named else 1.5, "color": "white" if named else _GREY},
        }
        fig.add_trace(
            go.Scatter(
                x=points[rows, 0],
                y=points[rows, 1],
                mode="markers",
                marker=marker,
                name=f"{html.escape(name) or 'no class'} ({len(rows)})",
                customdata=rows[:, None],
                text=[_hover(row, names[row], chances[row]) for row in rows.tolist()],
                hovertemplate="%{text}<extra></extra>",
            )
        )
    hidden = count - int(shown.sum())
    text = title if title is not None else f"{count} particles in the plane of their features"
    if hidden and title is None:
        text += f" ({hidden} too small to measure)"
    layout(fig, text, width=820, height=600, hovermode="closest")
    tags = getattr(features, "names", None)
    for axis, share, loading in zip("xy", shares, loadings, strict=True):
        number = "first" if axis == "x" else "second"
        words = (
            f"{number} principal axis, {100 * share:.0f} % of the variance{_leading(tags, loading)}"
            if projection == "pca"
            else f"{number} axis of UMAP<br><sup>neighbours are kept, distances are not</sup>"
        )
        fig.update_layout({f"{axis}axis_title": words})
    fig.update_yaxes(scaleanchor="x", scaleratio=1)
    if image is not None and masks is not None:
        fig._atlas = _script(image, masks)
    return fig


def _umap(features: Any, projection: str) -> np.ndarray:
    """UMAP's plane of the particles that can be measured, NaN for the others."""
    from particle_nb.core.learning.clusters import standardised

    if projection != "umap":
        raise DataError(f"projection is 'pca' or 'umap', not {projection!r}.")
    try:
        from umap import UMAP  # type: ignore[import-not-found,unused-ignore]
    except ImportError:
        raise DataError(
            "projection='umap' needs the package umap-learn: pip install umap-learn, or take 'pca'."
        ) from None
    values, usable = standardised(features)
    points = np.full((len(values), 2), math.nan)
    near = min(15, int(usable.sum()) - 1)
    points[usable] = UMAP(n_neighbors=near, random_state=0).fit_transform(values[usable])
    return points


def separation_series(
    batches: Mapping[str, pd.DataFrame], *, title: str | None = None
) -> go.Figure:
    """Draw how far classes lie apart in batch after batch of a synthesis, with intervals.

    Parameters
    ----------
    batches : mapping of str to DataFrame
        Name of each batch, in order, and what `particle_nb.separation` says of it.
    title : str or None

    Raises
    ------
    DataError
        If there is no batch, or one is no table of `separation`.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> from particle_nb import separation
    >>> apart = lambda gap: separation(
    ...     np.r_[rng.normal(0, 1, (20, 3)), rng.normal(gap, 1, (20, 3))], ["a"] * 20 + ["b"] * 20
    ... )
    >>> fig = separation_series({"1 h": apart(1), "2 h": apart(4)})
    >>> fig.data[0].x, bool(fig.data[0].y[1] > fig.data[0].y[0])
    (('1 h', '2 h'), True)

    References
    ----------
    For judging a synthesis: F. Barnatan et al., 2025.
    """
    wanted = {"value", "low", "high", "better"}
    if not isinstance(batches, Mapping) or not batches:
        raise DataError("separation_series needs {name of the batch: table of separation}.")
    for name, table in batches.items():
        if not isinstance(table, pd.DataFrame) or not wanted <= set(table):
            raise DataError(f"batch {name!r} is no table of separation; give pnb.separation(...).")
    tables = list(batches.values())
    measures = list(tables[0].index)
    fig = make_subplots(len(measures), 1, shared_xaxes=True, vertical_spacing=0.06)
    for row, measure in enumerate(measures, 1):
        value, low, high = (
            np.array([table.loc[measure, name] for table in tables], float)
            for name in ("value", "low", "high")
        )
        trace = go.Scatter(
            x=[str(name) for name in batches],
            y=value,
            mode="lines+markers",
            error_y={
                "type": "data",
                "symmetric": False,
                "array": high - value,
                "arrayminus": value - low,
            },
            line={"color": PALETTE[0], "width": 1.5},
            marker={"size": 8},
            hovertemplate="%{x}: %{y:.3g}<extra></extra>",
            showlegend=False,
        )
        fig.add_trace(trace, row, 1)
        better = tables[0].loc[measure, "better"]
        words = str(measure).replace("_", "-").title()
        fig.update_yaxes(title=f"{words}<br><sup>{better} is further apart</sup>", row=row, col=1)
    level = tables[0].attrs.get("level")
    told = f", intervals of {100 * level:.0f} %" if level else ""
    layout(fig, title or f"Classes in {len(tables)} batches{told}", width=760, height=640)
    fig.update_xaxes(title="batch", type="category", row=len(measures), col=1)
    return fig


def _classes(table: Any, count: int) -> tuple[np.ndarray, np.ndarray]:
    chances = np.full(count, math.nan)
    if table is None:
        return np.full(count, "", object), chances
    if isinstance(table, pd.DataFrame):
        if "class" not in table:
            raise DataError("the table has no column 'class'; use that of ShapeClassifier.predict.")
        if "probability" in table and len(table) == count:
            chances = table["probability"].to_numpy(float)
        table = table["class"]
    names = np.array([name if isinstance(name, str) else "" for name in table], object)
    if len(names) != count:
        raise DataError(f"{len(names)} classes for {count} rows of features; give one each.")
    return names, chances


def _hover(row: int, name: str, chance: float) -> str:
    probable = f", probability {chance:.2f}" if chance == chance else ""
    return f"particle {row}<br>{html.escape(name) or 'no class'}{probable}"


def _leading(names: tuple[str, ...] | None, loading: np.ndarray) -> str:
    """The two of our own numbers that count most along an axis, in words."""
    if names is None:
        return ""
    own = [i for i, name in enumerate(names) if "." not in name]
    first = sorted(own, key=lambda i: -abs(loading[i]))[:2]
    words = [
        f"{'+' if loading[i] > 0 else '−'} {words_and_symbol(names[i])[0]}"
        for i in first
        if abs(loading[i]) > 0
    ]
    return f"<br><sup>{', '.join(words)}</sup>" if words else ""


def _script(image: Image, masks: MaskSet) -> str:
    """What shows thumbnails: one picture that holds them all, and the place of each."""
    step = max(1, math.ceil(len(masks) / _MOST))
    rows = range(0, len(masks), step)
    columns = max(1, math.ceil(math.sqrt(len(rows))))
    atlas = PILImage.new("L", (columns * _SIDE, max(1, math.ceil(len(rows) / columns)) * _SIDE))
    grey = image.to_uint8()
    for place, row in enumerate(rows):
        part = PILImage.fromarray(_thumbnail(grey, masks[row]))
        part = part.resize((_SIDE, _SIDE), PILImage.Resampling.BILINEAR)
        atlas.paste(part, (place % columns * _SIDE, place // columns * _SIDE))
    buffer = io.BytesIO()
    atlas.save(buffer, "JPEG", quality=80)
    about = {
        "atlas": "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode(),
        "columns": columns,
        "side": _SIDE,
        "places": {row: place for place, row in enumerate(rows)},
    }
    return _SCRIPT.replace("ABOUT", json.dumps(about))


def _thumbnail(grey: np.ndarray, mask: Mask) -> np.ndarray:
    """A square around a particle, what does not belong to it at half its brightness."""
    r0, c0, r1, c1 = mask.bbox
    side = math.ceil(1.3 * max(r1 - r0, c1 - c0))
    top, left = (r0 + r1 - side) // 2, (c0 + c1 - side) // 2
    part = np.zeros((side, side), np.uint8)
    rows = slice(max(top, 0), min(top + side, grey.shape[0]))
    cols = slice(max(left, 0), min(left + side, grey.shape[1]))
    part[rows.start - top : rows.stop - top, cols.start - left : cols.stop - left] = (
        grey[rows, cols] // 2
    )
    inside = np.zeros((side, side), bool)
    inside[r0 - top : r1 - top, c0 - left : c1 - left] = mask.crop
    part[inside] = grey[r0:r1, c0:c1][mask.crop]
    return part
