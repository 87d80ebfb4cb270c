"""An executed notebook as one HTML file that needs no network."""

from __future__ import annotations

import html
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from particle_nb.core.errors import DataError
from particle_nb.core.files import atomic

#: What Markdown of a notebook may use of HTML.
_TAGS = re.compile(r"<(?!/?(?:sub|sup|b|i|em|strong|code|br|small)\s*/?>)(?=[a-zA-Z/!?])")


_LINK = re.compile(r'(<a\s[^<>"]{0,200}\bhref=")([^"]*)')


def _safe_link(found: re.Match[str]) -> str:
    """A link of the page that leads to a page, not to a script."""
    address = "".join(c for c in html.unescape(found[2]) if c.isprintable() and c != " ")
    scheme = re.match(r"([a-zA-Z][a-zA-Z0-9+.-]*):", address)
    safe = scheme is None or scheme[1].lower() in ("http", "https", "mailto", "file")
    return found[0] if safe else f"{found[1]}#"


def literal(text: Any) -> str:
    """Return text for Markdown in which nothing of it is markup: file names, errors, notes.

    Examples
    --------
    >>> literal("a<b>`.png")
    'a&#60;b&#62;&#96;&#46;png'
    """
    plain = str(text).encode("utf-8", "backslashreplace").decode("utf-8")
    return "".join(c if c.isalnum() or c == " " else f"&#{ord(c)};" for c in plain)


def write_html(notebook: str | os.PathLike[str]) -> Path:
    """Convert an executed notebook to one HTML file beside it that needs no network.

    Cells tagged ``hide-input`` show their output only.

    Raises
    ------
    DataError
        If it is no notebook.
    """
    import nbformat
    from nbconvert import HTMLExporter

    path = Path(notebook)
    try:
        book = nbformat.read(path, as_version=4)
    except (OSError, nbformat.reader.NotJSONError, nbformat.ValidationError) as error:
        raise DataError(f"{path} is no notebook: {error}") from None
    # widget state wants a CDN; every widget of ours also leaves a picture
    book.metadata.pop("widgets", None)
    _draw_plotly(book)
    _disarm(book)
    _shield(book)
    exporter = HTMLExporter(template_name="lab", embed_images=True)
    exporter.mathjax_url = ""
    exporter.require_js_url = ""
    exporter.jquery_url = ""
    exporter.mermaid_js_url = ""
    exporter.exclude_input_prompt = True
    exporter.exclude_output_prompt = True
    for processor in exporter._preprocessors:
        if type(processor).__name__ == "TagRemovePreprocessor":
            processor.enabled = True
            processor.remove_input_tags = {"hide-input", "parameters", "injected-parameters"}
    body, _ = exporter.from_notebook_node(book, {"metadata": {"name": path.stem}})
    body = re.sub(r"<script[^>]*\ssrc=\"(?:https?:)?//[^>]*></script>", "", body)
    body = re.sub(r"<script[^>]*\ssrc=\"\"[^>]*></script>", "", body)
    body = _LINK.sub(_safe_link, _unshielded(body))
    target = path.with_suffix(".html")
    with atomic(target) as stream:
        stream.write(body.encode("utf-8"))
    return target


def _change_markdown(book: Any, change: Callable[[str], str]) -> None:
    """Change the text of every Markdown output."""
    for cell in book.cells:
        for output in cell.get("outputs", []):
            data = output.get("data", {})
            text = data.get("text/markdown")
            if text is not None:
                text = text if isinstance(text, str) else "".join(map(str, text))
                data["text/markdown"] = change(text)


def _disarm(book: Any) -> None:
    """Show HTML in a Markdown output as text: it came in with a file name or the like."""
    _change_markdown(book, lambda text: _TAGS.sub("&lt;", text))


#: What stands for < and > of tags that nbconvert would close at once when it embeds images.
_OPEN, _CLOSE = "\ue000", "\ue001"


def _shield(book: Any) -> None:
    """Hide the tags of Markdown from nbconvert, which makes ``<sub></sub>3`` of ``<sub>3</sub>``.

    It looks into every tag for an image to embed, and writes back one that is whole.
    """
    tag = re.compile(r"<(/?(?:sub|sup|b|i|em|strong|small))>")

    def hide(text: str) -> str:
        return tag.sub(rf"{_OPEN}\1{_CLOSE}", text)

    for cell in book.cells:
        if cell.cell_type == "markdown":
            cell.source = hide(cell.source)
    _change_markdown(book, hide)


def _unshielded(body: str) -> str:
    """Bring the tags back; none in attributes, such as the anchor of a heading."""
    hidden = re.compile(f"{_OPEN}[^{_CLOSE}]*{_CLOSE}|%EE%80%80[^%]*%EE%80%81")
    body = re.sub(r'\b(?:id|href)="[^"]*"', lambda found: hidden.sub("", found[0]), body)
    return body.replace(_OPEN, "<").replace(_CLOSE, ">")


def _draw_plotly(book: Any) -> None:
    """Turn plotly's own outputs into HTML; the first one brings the script for all."""
    from plotly.io import to_html

    kind, script = "application/vnd.plotly.v1+json", True
    for cell in book.cells:
        for output in cell.get("outputs", []):
            figure = output.get("data", {}).get(kind)
            if figure is None:
                continue
            output["data"] = {
                "text/html": to_html(
                    {"data": figure["data"], "layout": figure["layout"]},
                    config=figure.get("config"),
                    full_html=False,
                    include_plotlyjs=script,
                    validate=False,
                )
            }
            script = False
