"""An executed notebook as a page of the site: Markdown with places, and the HTML of its outputs.

plotly figures become small script files that a page loads when they come into view; the one copy
of plotly.js draws them. Nothing on a page is fetched from elsewhere.
"""

from __future__ import annotations

import base64
import html
import json
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import nbformat

_PLOTLY = "application/vnd.plotly.v1+json"
_WIDGET = "application/vnd.jupyter.widget-view+json"
_REMOTE_SCRIPT = re.compile(r"<script[^>]*\ssrc=[\"'](?:https?:)?//[^>]*>\s*</script>", re.I)
#: Where colours of a terminal begin and end in a traceback.
_ANSI = re.compile(r"\x1b\[[0-9;]*m")
#: Longest text output that is shown.
_LONGEST = 20_000


@dataclass
class Page:
    """A rendered notebook.

    `markdown` has one ``<div data-output="k"></div>`` for each of `outputs` (HTML); `files` are
    those that the outputs name, by their path below the site; `figures` are the places of figures
    among the outputs, by title.
    """

    title: str
    markdown: str = ""
    outputs: list[str] = field(default_factory=list)
    files: dict[str, bytes] = field(default_factory=dict)
    figures: dict[str, int] = field(default_factory=dict)

    def figure(self, title: str) -> str:
        """Return the HTML of the first figure whose title holds this, "" where there is none."""
        places = [place for text, place in self.figures.items() if title in text]
        return self.outputs[places[0]] if places else ""


def render(executed: Path, intro: str, up: str) -> Page:
    """Turn an executed notebook into a `Page`.

    Parameters
    ----------
    executed : Path
    intro : str
        Markdown that comes below the title.
    up : str
        Way from the page to the top of the site, e.g. ``"../"``.
    """
    book = nbformat.read(executed, as_version=4)
    name = executed.stem
    cells = [c for c in book.cells if "injected-parameters" not in c.metadata.get("tags", [])]
    title, rest = _titled(cells[0], name)
    page = Page(title)
    parts = [f"# {title}", intro, rest]
    for cell in cells[1:]:
        tags = cell.metadata.get("tags", [])
        if cell.cell_type == "markdown":
            parts.append(cell.source)
        elif cell.cell_type == "code":
            parts.append(_code(cell.source, tags))
            parts += [_output(page, output, name, up) for output in cell.outputs]
    page.markdown = "\n\n".join(part for part in parts if part) + "\n"
    return page


def _titled(first: Any, name: str) -> tuple[str, str]:
    line, _, rest = first.source.partition("\n")
    if first.cell_type != "markdown" or not line.startswith("# "):
        raise SystemExit(f"{name}.ipynb does not begin with a title ('# ...').")
    return line[2:].strip(), rest.strip()


def _code(source: str, tags: list[str]) -> str:
    if not source.strip():
        return ""
    fence = f"```python\n{source.rstrip()}\n```"
    if "hide-input" not in tags:
        return fence
    inside = "\n".join(f"    {line}" if line else "" for line in fence.splitlines())
    return f'??? quote "Code"\n\n{inside}'


def _output(page: Page, output: Any, name: str, up: str) -> str:
    """Return the Markdown of one output: itself, or the place where its HTML goes."""
    if output.output_type == "stream":
        return "" if output.name == "stderr" else _place(page, _text(output.text))
    if output.output_type == "error":
        return _place(page, _text("\n".join(output.traceback)))
    data = output.data
    if _WIDGET in data and not any(kind.startswith("image/") for kind in data):
        return ""  # lives in a kernel only; the widgets of the package leave a picture beside it
    number = len(page.outputs)
    if _PLOTLY in data:
        figure = data[_PLOTLY]
        return _place(page, _figure(page, figure, f"{name}-{number}", up))
    for kind, ending in (("image/png", "png"), ("image/jpeg", "jpg")):
        if kind in data:
            path = f"assets/notebooks/{name}-{number}.{ending}"
            page.files[path] = base64.b64decode(data[kind])
            return _place(
                page, f'<p><img src="{up}{path}" alt="Output of the cell" loading="lazy"></p>'
            )
    if "text/html" in data:
        return _place(page, _html(page, data["text/html"], f"{name}-{number}", up))
    if "text/markdown" in data:
        return data["text/markdown"]
    return _place(page, _text(data.get("text/plain", "")))


def _place(page: Page, made: str) -> str:
    if not made:
        return ""
    page.outputs.append(made)
    return f'<div data-output="{len(page.outputs) - 1}"></div>'


def _text(text: str) -> str:
    plain = _ANSI.sub("", text).rstrip()
    if len(plain) > _LONGEST:
        plain = plain[:_LONGEST] + "\n..."
    return f'<pre class="cell-text">{html.escape(plain)}</pre>' if plain else ""


def _html(page: Page, text: str, name: str, up: str) -> str:
    figure = plotly_figure(text)
    if figure is not None:
        return _figure(page, figure, name, up)
    if "* plotly.js v" in text:
        return ""  # the library itself: the site brings it once
    text = _REMOTE_SCRIPT.sub("", text)
    return f'<div class="cell-table">{text}</div>' if "<table" in text else f"<div>{text}</div>"


def plotly_figure(text: str) -> dict[str, Any] | None:
    """Return data, layout and config of the figure in plotly's own HTML, None where it is none.

    Examples
    --------
    >>> plotly_figure('<script>Plotly.newPlot( "a", [{"y": [1]}], {"height": 9}, {} )</script>')
    {'data': [{'y': [1]}], 'layout': {'height': 9}, 'config': {}}
    """
    call = re.search(r"Plotly\.newPlot\(\s*\"[^\"]+\"\s*,\s*", text)
    if call is None or "* plotly.js v" in text:
        return None
    decoder, place, parts = json.JSONDecoder(), call.end(), []
    for _ in ("data", "layout", "config"):
        value, place = decoder.raw_decode(text, place)
        parts.append(value)
        comma = re.match(r"\s*,\s*", text[place : place + 100])
        place += comma.end() if comma else 0
        if comma is None:
            break
    return dict(zip(("data", "layout", "config"), [*parts, {}, {}][:3], strict=True))


def _figure(page: Page, figure: Any, name: str, up: str) -> str:
    path = f"assets/notebooks/{name}.js"
    value = {key: figure.get(key, {}) for key in ("data", "layout", "config")}
    value["config"] = {"displaylogo": False, **(value["config"] or {}), "responsive": False}
    text = json.dumps(value, separators=(",", ":"), allow_nan=False).replace("</", "<\\/")
    page.files[path] = f"particleFigure({json.dumps(name)},{text});\n".encode()
    layout = value["layout"]
    title = layout.get("title") or {}
    page.figures[title.get("text", "") if isinstance(title, dict) else title] = len(page.outputs)
    width, height = layout.get("width") or 860, layout.get("height") or 450
    return (
        f'<div class="cell-figure" id="figure-{name}" data-figure="{name}" '
        f'data-source="{up}{path}" style="aspect-ratio: {width:g} / {height:g}; '
        f'max-width: {width:g}px"><noscript>An interactive figure; it needs JavaScript.</noscript>'
        "</div>"
    )
