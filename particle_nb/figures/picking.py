"""Micrograph and depth side by side, where clicking a particle picks it in both.

Plotly links no selection between two panels without code in the page, so this one is an HTML
fragment with a few lines of script of its own: it works in a notebook, in a written report and in
a file, offline, and asks nothing of a kernel.
"""

from __future__ import annotations

import html
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from plotly.colors import sample_colorscale

from particle_nb.core.errors import DataError
from particle_nb.core.files import atomic
from particle_nb.core.image import Image
from particle_nb.core.masks import MaskSet
from particle_nb.core.surface import DepthMap, PointCloud
from particle_nb.figures.depth_maps import map_of
from particle_nb.figures.masks import mask_outline, scale_bar
from particle_nb.figures.style import GRID, INK, PALETTE, number, png_uri
from particle_nb.figures.surfaces import SCALE, check_image, grey_at

_LONGEST = 900  # pixels of each picture
_LEVELS = 254  # of the colours; one more index is for no height


@dataclass(frozen=True, eq=False)
class LinkedPicture:
    """An HTML fragment that a notebook shows, and that `write_html` writes as a page.

    Parameters
    ----------
    title : str
    fragment : str
        HTML with its style and script, without ``<html>``.
    """

    title: str
    fragment: str

    def _repr_html_(self) -> str:
        return self.fragment

    def write_html(self, path: str | Path) -> Path:
        """Write a page that needs nothing else; returns its path.

        Raises
        ------
        DataError
            If it cannot be written.

        Examples
        --------
        >>> LinkedPicture("", "<p>one</p>").write_html("no/such/folder/x.html")
        Traceback (most recent call last):
        ...
        particle_nb.core.errors.DataError: ...
        """
        target = Path(path)
        page = (
            '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
            f"<title>{html.escape(self.title)}</title></head><body>{self.fragment}</body></html>\n"
        )
        try:
            with atomic(target) as stream:
                stream.write(page.encode())
        except OSError as error:
            raise DataError(f"{str(target)!r} cannot be written: {error}.") from None
        return target


def linked_depth(
    image: Image,
    depth_map: DepthMap | np.ndarray | PointCloud | Sequence[PointCloud],
    masks: MaskSet,
    table: pd.DataFrame | None = None,
    *,
    title: str | None = None,
) -> LinkedPicture:
    """Put the micrograph beside its depth; a click on a particle picks it in both.

    The picked particle's row of the table appears below. A double click shows the particle alone,
    Escape or a click beside all particles gives the whole picture back.

    Parameters
    ----------
    image : Image
    depth_map : DepthMap, float array (H, W), PointCloud or sequence of PointCloud
        As in `depth`; or the clouds of single particles in nm, e.g. one a mask.
    masks : MaskSet
        On the image's frame.
    table : DataFrame or None
        One row a mask, from `roughness_table` or `measure`.

    Raises
    ------
    ImageError, DataError
        If the arguments do not fit together.

    Examples
    --------
    >>> picture = Image(np.eye(20))
    >>> masks = MaskSet.from_labels(np.kron([[1, 0], [0, 2]], np.ones((10, 10), int)))
    >>> linked = linked_depth(picture, DepthMap(np.random.default_rng(0).random((20, 20))), masks)
    >>> linked.fragment.count("<svg")
    2
    """
    check_image(image)
    if not isinstance(masks, MaskSet) or masks.shape != image.shape:
        raise DataError(f"masks are a MaskSet on the image's frame {image.shape}.")
    if table is not None and (not isinstance(table, pd.DataFrame) or len(table) != len(masks)):
        raise DataError(f"the table has one row for each of the {len(masks)} masks.")
    values, unit = _heights_on_frame(depth_map, image)
    known = np.isfinite(values)
    low, high = float(values[known].min()), float(values[known].max())
    words = title if title is not None else f"{image.name or 'Micrograph'} and its depth"
    height, width = image.shape
    view = f"-0.5 -0.5 {width} {height}"
    place = f'x="-0.5" y="-0.5" width="{width}" height="{height}" preserveAspectRatio="none"'
    what = "height z / nm" if unit == "nm" else "relative height"
    outlines = "".join(
        f'<path data-i="{i}" tabindex="0" role="button" d="{_outline_svg(mask)}">'
        f"<title>particle {i}</title></path>"
        for i, mask in enumerate(masks)
    )
    data = {"rows": _row_texts(table, len(masks)), "boxes": masks.boxes.tolist(), "view": view}
    text = json.dumps(data, ensure_ascii=False).replace("</", "<\\/")
    ramp = ", ".join(sample_colorscale(SCALE, np.linspace(0, 1, 9)))
    fragment = (
        f'<div class="pnb-pick" data-picked=""><style>{_STYLE}</style>'
        f"<p class='t'>{html.escape(words)}</p><div class='panels'>"
        f'<svg viewBox="{view}" aria-label="micrograph">'
        f'<image href="{png_uri(image.to_uint8(), _LONGEST)}" {place}/>{_scale_bar_svg(image)}'
        f"<g>{outlines}</g></svg>"
        f'<svg viewBox="{view}" aria-label="depth">'
        f'<image href="{png_uri(_coloured(values, low, high), _LONGEST)}" {place}/><g></g></svg>'
        f"<div class='scale'><span>{number(high, 3)}</span>"
        f"<i style='background:linear-gradient(to top, {ramp})'></i>"
        f"<span>{number(low, 3)}</span><b>{what}</b></div></div>"
        "<p class='say' aria-live='polite'>Click a particle to pick it in both pictures, "
        "double-click to see it alone.</p>"
        f"<script>((data) => {{{_SCRIPT}}})({text})</script></div>"
    )
    return LinkedPicture(words, fragment)


def _heights_on_frame(depth_map: Any, image: Image) -> tuple[np.ndarray, str]:
    """Heights float32 on the image's frame, NaN where there are none, and their unit."""
    frame = np.full(image.shape, np.nan, np.float32)
    if isinstance(depth_map, (list, tuple)):
        units = set()
        for cloud in depth_map:
            if not isinstance(cloud, PointCloud) or cloud.pitch is None:
                raise DataError("a sequence of depths holds PointClouds on a grid, one a particle.")
            grey_at(cloud, image)
            cols, rows = np.rint(cloud.xyz[:, :2] / cloud.pitch).astype(np.int64).T
            frame[rows, cols] = cloud.xyz[:, 2]
            units.add(cloud.unit)
        if len(units) != 1:
            raise DataError("clouds to be drawn together are one at least, and all in one unit.")
        return frame, units.pop()
    values, (x0, y0), unit = map_of(depth_map, image)
    frame[y0 : y0 + values.shape[0], x0 : x0 + values.shape[1]] = values
    return frame, unit


def _coloured(values: np.ndarray, low: float, high: float) -> np.ndarray:
    """RGBA uint8 (h, w, 4); clear where there is no height."""
    share = (np.nan_to_num(values, nan=low) - low) / ((high - low) or 1.0)
    colours = [
        [int(float(part)) for part in text[4:-1].split(",")]
        for text in sample_colorscale(SCALE, np.linspace(0, 1, _LEVELS + 1))
    ]
    lut = np.column_stack([np.array(colours, np.uint8), np.full(_LEVELS + 1, 255, np.uint8)])
    rgba = lut[np.rint(share * _LEVELS).astype(np.uint8)]
    rgba[~np.isfinite(values)] = 0
    return rgba


def _outline_svg(mask: Any) -> str:
    from skimage.measure import approximate_polygon

    parts = []
    for line in mask_outline(mask):
        # not every corner of a pixel is needed: a quarter of a pixel cannot be seen
        points = approximate_polygon(line, 0.25)[:-1]
        parts.append("M" + "L".join(f"{x:g} {y:g}" for x, y in points) + "Z")
    return "".join(parts)


def _scale_bar_svg(image: Image) -> str:
    if image.calibration is None:
        return ""
    length, text = scale_bar(image)
    height, width = image.shape
    x, y, size = 0.04 * width, 0.93 * height, 0.045 * height
    return (
        f'<rect x="{x:g}" y="{y:g}" width="{length:g}" height="{0.018 * height:g}" fill="white" '
        f'stroke="black" stroke-width="{0.002 * height:g}"/><text x="{x:g}" y="{y - 0.4 * size:g}" '
        f'font-size="{size:g}" fill="white" stroke="black" stroke-width="{0.1 * size:g}" '
        f'paint-order="stroke">{html.escape(text)}</text>'
    )


def _row_texts(table: pd.DataFrame | None, count: int) -> list[list[list[str]]]:
    """Name and value of every column as text, a list for each particle."""
    if table is None:
        return [[["particle", str(i)]] for i in range(count)]
    rows = []
    for _, row in table.iterrows():
        shown = []
        for name, value in row.items():
            if isinstance(value, (float, np.floating)):
                text = number(float(value)) if np.isfinite(value) else "–"
            else:
                text = str(value)
            if text:
                shown.append([str(name), text])
        rows.append(shown)
    return rows


_STYLE = (
    f".pnb-pick{{font:13px Inter,'Segoe UI',Helvetica,Arial,sans-serif;color:{INK};"
    "background:white;max-width:1060px}"
    ".pnb-pick .t{font-size:16px;margin:4px 0 8px}"
    ".pnb-pick .panels{display:flex;gap:10px;align-items:stretch}"
    ".pnb-pick svg{flex:1 1 0;min-width:0;background:#10151b;cursor:crosshair}"
    ".pnb-pick path{fill:transparent;fill-rule:evenodd;stroke:#56B4E9;stroke-width:1.4px;"
    "vector-effect:non-scaling-stroke;cursor:pointer;outline:none}"
    ".pnb-pick path:hover,.pnb-pick path:focus{stroke:white}"
    f".pnb-pick path.on{{stroke:{PALETTE[5]};stroke-width:3.5px}}"
    ".pnb-pick .scale{display:flex;flex-direction:column;align-items:center;width:64px;"
    "position:relative}.pnb-pick .scale i{flex:1;width:14px;margin:3px 30px 3px 0}"
    ".pnb-pick .scale span{margin-right:30px;white-space:nowrap}"
    ".pnb-pick .scale b{position:absolute;right:4px;top:50%;writing-mode:vertical-rl;"
    "font-weight:normal;transform:translateY(-50%) rotate(180deg)}"
    f".pnb-pick .say{{margin:8px 0;min-height:3em}}.pnb-pick dl{{display:flex;flex-wrap:wrap;"
    f"gap:4px 18px;margin:0}}.pnb-pick dl div{{border-bottom:1px solid {GRID}}}"
    ".pnb-pick dt,.pnb-pick dd{display:inline;margin:0 4px 0 0}.pnb-pick dt{color:#5b6770}"
)
_SCRIPT = """
const root = document.currentScript.parentElement, say = root.querySelector('.say');
const [left, right] = root.querySelectorAll('svg');
right.querySelector('g').innerHTML = left.querySelector('g').innerHTML;
const look = (view) => [left, right].forEach((svg) => svg.setAttribute('viewBox', view));
const pick = (i) => {
  root.dataset.picked = i === null ? '' : String(i);
  root.querySelectorAll('path').forEach((p) =>
    p.classList.toggle('on', i !== null && Number(p.dataset.i) === i));
  if (i === null) { say.textContent = 'No particle picked.'; return; }
  const list = document.createElement('dl');
  for (const [name, value] of data.rows[i]) {
    const pair = document.createElement('div');
    for (const [tag, text] of [['dt', name], ['dd', value]]) {
      pair.appendChild(Object.assign(document.createElement(tag), {textContent: text}));
    }
    list.appendChild(pair);
  }
  say.replaceChildren(list);
};
const alone = (i) => {
  const [r0, c0, r1, c1] = data.boxes[i], pad = 0.2 * Math.max(r1 - r0, c1 - c0);
  look([c0 - pad, r0 - pad, c1 - c0 + 2 * pad, r1 - r0 + 2 * pad].join(' '));
};
const at = (event) => {
  const path = event.target.closest('path');
  return path ? Number(path.dataset.i) : null;
};
for (const svg of [left, right]) {
  svg.addEventListener('click', (event) => {
    const i = at(event);
    pick(i);
    if (i === null) look(data.view);
  });
  svg.addEventListener('dblclick', (event) => { const i = at(event); if (i !== null) alone(i); });
  svg.addEventListener('keydown', (event) => {
    const i = at(event);
    if (event.key === 'Escape') look(data.view);
    else if (i !== null && (event.key === 'Enter' || event.key === ' ')) pick(i);
    else return;
    event.preventDefault();
    event.stopPropagation();
  });
}
"""
