"""Checks of the built site: every link leads somewhere, and nothing is fetched from elsewhere."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

#: What a browser fetches by itself, by element and attribute; all else is followed by people.
_FETCHED = {
    ("script", "src"), ("img", "src"), ("iframe", "src"), ("source", "src"), ("video", "src"),
    ("audio", "src"), ("embed", "src"), ("object", "data"), ("link", "href"), ("use", "href"),
    ("image", "href"), ("div", "data-source"),
}  # fmt: skip
_CSS_URL = re.compile(r"(?:url\(|@import(?!\s+url))\s*[\"']?([^\"')\s]+)")
#: A host with a dot, no blanks: what an address on the web must have.
_HOST = re.compile(r"[a-z0-9-]+(\.[a-z0-9-]+)+", re.I)
#: Links that need no page behind them.
_SCHEMES = ("mailto", "data", "javascript", "doi")


@dataclass
class Document:
    """What one HTML file names: its anchors, its links, and what a browser fetches for it."""

    anchors: set[str] = field(default_factory=set)
    links: list[str] = field(default_factory=list)
    fetched: list[str] = field(default_factory=list)


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found = Document()
        self._style = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        self._style = tag == "style"
        self.found.anchors |= {given[name] for name in ("id", "name") if given.get(name)}
        for name, value in given.items():
            if (tag, name) in _FETCHED and not (tag == "link" and _only_said(given)):
                self.found.fetched.append(value)
            elif name in ("href", "src"):
                self.found.links.append(value)
            elif name == "style":
                self.found.fetched += _CSS_URL.findall(value)

    def handle_data(self, data: str) -> None:
        if self._style:
            self.found.fetched += _CSS_URL.findall(data)

    def handle_endtag(self, tag: str) -> None:
        self._style = False


def _only_said(link: dict[str, str]) -> bool:
    """Whether a <link> names a relation only, which no browser fetches."""
    return link.get("rel") in ("canonical", "prev", "next", "alternate")


def read(path: Path) -> Document:
    """Read the anchors and links of one HTML file."""
    reader = _Reader()
    reader.feed(path.read_text(encoding="utf-8"))
    return reader.found


def check(site: Path) -> tuple[list[str], set[str]]:
    """Return what is wrong with a built site, and the addresses on the web that it links to."""
    pages = {path.resolve(): read(path) for path in sorted(site.rglob("*.html"))}
    wrong: list[str] = [] if pages else [f"there is no page below {site}"]
    outside: set[str] = set()
    for path, page in pages.items():
        name = path.relative_to(site.resolve())
        for link in page.fetched:
            if _remote(link):
                wrong.append(f"{name}: fetches {link[:100]} from the network")
        for link in [*page.fetched, *page.links]:
            if _remote(link):
                outside.add(link)
                if not _HOST.fullmatch(urlsplit(link).hostname or ""):
                    wrong.append(f"{name}: {link[:100]} is no address")
                continue
            problem = _local(path, link, pages)
            if problem:
                wrong.append(f"{name}: {link[:100]} {problem}")
    for sheet in site.rglob("*.css"):
        for link in _CSS_URL.findall(sheet.read_text(encoding="utf-8")):
            if _remote(link):
                wrong.append(f"{sheet.name}: fetches {link[:100]} from the network")
    return wrong, outside


def _remote(link: str) -> bool:
    return link.startswith(("http://", "https://", "//"))


def _local(page: Path, link: str, pages: dict[Path, Document]) -> str:
    """Say what is wrong with a link inside the site, "" where nothing is."""
    parts = urlsplit(link)
    if parts.scheme in _SCHEMES:
        return ""
    if parts.scheme or parts.path.startswith("/"):
        return "does not work from a disk"
    target = (page.parent / unquote(parts.path)).resolve() if parts.path else page
    if target.is_dir():
        target /= "index.html"
    if not target.is_file():
        return "leads nowhere"
    anchor = unquote(parts.fragment)
    if anchor and target in pages and anchor not in pages[target].anchors:
        return f"names an anchor that {target.name} has not"
    return ""
