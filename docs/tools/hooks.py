"""What the site makes by itself: pages of notebooks and model cards, tables from the code."""

from __future__ import annotations

import logging
import os
import re
import shutil
from pathlib import Path
from typing import Any

import names
import plotly
import rendering
import tables
from execution import NOTEBOOKS, REPORT, ROOT, sources
from mkdocs.structure.files import File, Files

#: Folder of executed notebooks; the build sets it.
_EXECUTED = "PARTICLE_NB_EXECUTED"
_CARDS = ROOT / "particle_nb" / "models" / "embedded"
#: Notebooks in the order of their pages; others follow by name.
_ORDER = ("quickstart", "annotate", "report", "roughness", "batteries")
_PLACE = re.compile(r'<div data-output="(\d+)"></div>')
_TABLE = re.compile(r"^<!-- table: ([a-z-]+) -->$", re.M)
_CARD = re.compile(r"<!-- card: (\w+) -->")
_FIGURE = re.compile(r'^<!-- figure: (\w+) "([^"]+)" -->$', re.M)
#: Links of a card to files beside it, which the site has not.
_FILE = re.compile(r"(?<!!)\[([^\]]+)\]\((?!https?:|#|figures/)[^)]+\)")
_PICTURE = re.compile(r"\]\((figures/[^)]+)\)")


def _ordered() -> list[Path]:
    rank = {name: number for number, name in enumerate(_ORDER)}
    return sorted(sources(), key=lambda path: (rank.get(path.stem, len(rank)), path.stem))


def on_config(config: Any) -> Any:
    """Render the notebooks, and put their pages and those of the cards into the navigation."""
    executed = Path(os.environ[_EXECUTED])
    pages = {}
    for source in _ordered():
        run = executed / source.stem / source.name
        pages[f"notebooks/{source.stem}.md"] = rendering.render(run, _intro(source.stem), "../")
    config.extra["rendered"] = pages
    cards = {
        f"models/{path.stem.removeprefix('CARD_')}.md": path
        for path in sorted(_CARDS.glob("CARD_*.md"))
    }
    config.extra["cards"] = cards
    for entry in config.nav:
        if "Notebooks" in entry:
            entry["Notebooks"] += [{page.title: path} for path, page in pages.items()]
        for section in entry.get("Explanation", []):
            if isinstance(section, dict) and "Model cards" in section:
                section["Model cards"] += list(cards)
    return config


def _intro(name: str) -> str:
    if name == REPORT:
        how = "Made by `particle-nb report coins.png`, on scikit-image's photograph of coins."
    elif name.startswith(("validate", "batteries", "roughness")):
        how = f"Made with its defaults by `particle-nb validate {name}`."
    else:
        how = f"Run from top to bottom as it comes: `notebooks/{name}.ipynb`."
    return f"*{how} [The notebook]({name}.ipynb) as a file.*{{ .made-by }}"


def on_files(files: Files, config: Any) -> Files:
    """Add the generated pages, the figures they need, and the one copy of plotly.js."""
    for path, page in config.extra["rendered"].items():
        files.append(File.generated(config, path, content=page.markdown))
        for place, content in page.files.items():
            files.append(File.generated(config, place, content=content))
        stem = Path(path).stem
        source = str(NOTEBOOKS / f"{stem}.ipynb")
        files.append(File.generated(config, f"notebooks/{stem}.ipynb", abs_src_path=source))
    pictures: set[str] = set()
    for path, card in config.extra["cards"].items():
        text = _FILE.sub(r"\1", card.read_text(encoding="utf-8"))
        for picture in sorted(set(_PICTURE.findall(text)) - pictures):
            source = str(card.parent / picture)
            files.append(File.generated(config, f"models/{picture}", abs_src_path=source))
        pictures |= set(_PICTURE.findall(text))
        files.append(File.generated(config, path, content=text))
    library = Path(plotly.__file__).parent / "package_data" / "plotly.min.js"
    files.append(File.generated(config, "assets/plotly.min.js", abs_src_path=str(library)))
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Files) -> str:
    """Fill in the tables and lists that are made from the code."""
    markdown = _TABLE.sub(lambda found: tables.TABLES[found[1]](), markdown)
    markdown = _FIGURE.sub(lambda found: _figure(found[1], found[2], config), markdown)
    markdown = _CARD.sub(lambda found: _card(found[1], page, config), markdown)
    markdown = markdown.replace("<!-- notebooks -->", _listed(config.extra["rendered"]))
    return names.fill(markdown)


def _figure(notebook: str, title: str, config: Any) -> str:
    """Return a figure of an executed notebook with its source, for a page one folder deep."""
    pages = config.extra["rendered"]
    page = pages.get(f"notebooks/{notebook}.md")
    figure = page.figure(title) if page else ""
    if not figure:
        logging.getLogger("mkdocs.hooks").warning("no figure %r in notebook %r", title, notebook)
    return (
        f"{figure}\n\n*From the notebook [{notebook}](../notebooks/{notebook}.md).*{{ .made-by }}"
    )


def _card(name: str, page: Any, config: Any) -> str:
    """Return a link to a model's card in brackets, nothing where it has none yet."""
    card = f"models/{name}.md"
    up = "../" * page.file.src_uri.count("/")
    return f" ([its card]({up}{card}))" if card in config.extra["cards"] else ""


def _listed(pages: dict[str, rendering.Page]) -> str:
    rows = [
        f"| [{page.title}]({Path(path).name}) | `{Path(path).stem}` |"
        for path, page in pages.items()
    ]
    return "\n".join(["| what | notebook |", "| --- | --- |", *rows])


def on_page_content(html: str, page: Any, config: Any, files: Files) -> str:
    """Put the outputs of a notebook's cells into their places."""
    rendered = config.extra["rendered"].get(page.file.src_uri)
    if rendered is None:
        return html
    return _PLACE.sub(
        lambda found: (
            f'<div class="cell-output" data-search-exclude>{rendered.outputs[int(found[1])]}</div>'
        ),
        html,
    )


def on_post_build(config: Any) -> None:
    """Leave out what a site on a disk has no use for, and the search's other languages."""
    site = Path(config.site_dir)
    for name in ("404.html", "sitemap.xml", "sitemap.xml.gz"):
        (site / name).unlink(missing_ok=True)
    for unused in site.rglob("*.map"):
        unused.unlink()
    shutil.rmtree(site / "assets" / "javascripts" / "lunr", ignore_errors=True)
