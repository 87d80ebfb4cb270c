"""Tables of the reference that are made from the code, so that they cannot fall behind it."""

from __future__ import annotations

import argparse
import json
import re
import textwrap
from collections.abc import Callable, Iterator

import papermill
from execution import ROOT, sources

from particle_nb import cli
from particle_nb.core.image.vendors import VENDORS
from particle_nb.core.shape import DESCRIPTORS, PAPER_NAMES
from particle_nb.models import MODELS

_CANVAS = ROOT / "particle_nb" / "widgets" / "js" / "keys.mjs"


def _table(heads: list[str], rows: Iterator[list[str]] | list[list[str]]) -> str:
    lines = ["| " + " | ".join(heads) + " |", "|" + " --- |" * len(heads)]
    lines += ["| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in rows]
    return "\n".join(lines)


def descriptors() -> str:
    """Return the columns that `measure` computes of every particle."""
    units = {0: ("", "1"), 1: ("_um", "µm, nm or px"), 2: ("_um2", "µm², nm² or px²")}
    rows = []
    for name, entry in DESCRIPTORS.items():
        ending, unit = units[entry.dimension]
        source = "definition" if name in ("area", "perimeter") else entry.source
        rows.append([f"`{name}{ending}`", entry.html, unit, entry.meaning, entry.estimator, source])
    return _table(["column", "formula", "unit", "meaning", "estimator", "source"], rows)


def paper_names() -> str:
    """Return which of our columns each of the paper's seven names stands for."""
    rows = [[name, f"`{iso}`", DESCRIPTORS[iso].html] for name, iso in PAPER_NAMES.items()]
    return _table(['paper, `names="paper"`', "here", "formula"], rows)


def models() -> str:
    """Return the models that the package knows, and how to get those that it does not bring."""
    rows = [
        [f"`{name}`", entry.kind, entry.about, f"`{entry.get}`" if " " in entry.get and not
         entry.get.startswith("comes") else entry.get, entry.licence]
        for name, entry in MODELS.items()
    ]  # fmt: skip
    return _table(["name", "kind", "what it is", "get it", "licence"], rows)


_ARGUMENTS = {
    "images": "micrographs",
    "name": "the notebook, or a path to one of your own",
    "parameters": "a parameter and its value, as often as needed",
}


def verbs() -> str:
    """Return every verb of the command line with its options."""
    parser = cli._parser()
    chosen = next(a for a in parser._actions if isinstance(a, argparse._SubParsersAction))
    about = {action.dest: action.help or "" for action in chosen._choices_actions}
    parts = []
    for name, verb in chosen.choices.items():
        usage = re.sub(r"\s+", " ", verb.format_usage()).removeprefix("usage: ").strip()
        parts_of = re.sub(r"\[[^\[\]]*\]", lambda m: m[0].replace(" ", "\0"), usage)
        wrapped = textwrap.fill(parts_of.replace(" [-h]", ""), 84, subsequent_indent="    ")
        usage = wrapped.replace("\0", " ")
        rows = [
            [f"`{_option(action)}`", action.help or _ARGUMENTS.get(action.dest, "")]
            for action in verb._actions
            if not isinstance(action, argparse._HelpAction)
        ]
        parts.append(f"## {name}\n\n{about.get(name, '').capitalize()}.\n\n```text\n{usage}\n```")
        if rows:
            parts.append(_table(["argument", "meaning"], rows))
    return "\n\n".join(parts)


def _option(action: argparse.Action) -> str:
    metavar = action.metavar
    if isinstance(metavar, tuple):
        metavar = " ".join(metavar)
    if not action.option_strings:
        return str(metavar or action.dest)
    text = action.option_strings[-1]
    if action.nargs == 0:
        return text
    if action.choices:
        return f"{text} {{{','.join(map(str, action.choices))}}}"
    return f"{text} {metavar or action.dest.upper()}"


def parameters() -> str:
    """Return the parameters of every notebook that has some."""
    parts = []
    for source in sources():
        known = papermill.inspect_notebook(str(source))
        rows = [
            [f"`{name}`", f"`{value['default']}`", value["help"]]
            for name, value in known.items()
            if name != "out"
        ]
        if rows:
            heads = ["parameter", "default", "meaning"]
            parts.append(f"### {source.stem}\n\n" + _table(heads, rows))
    return "\n\n".join(parts)


def keys() -> str:
    """Return the keys of the annotator, as its own list has them."""
    source = _CANVAS.read_text("utf-8")
    (found,) = re.findall(r"^export const KEYS = (\[.*?\n\]);", source, re.M | re.S)
    rows = json.loads(re.sub(r",\s*\]", "]", found))
    return _table(["key", "what it does"], [[key, meaning] for key, meaning in rows])


def vendors() -> str:
    """Return where each instrument keeps its scale, in the order in which they count."""
    rows = []
    for vendor in sorted(VENDORS, key=lambda vendor: vendor.rank):
        places = []
        if vendor.tags:
            places.append(
                f"TIFF tag{'s' if len(vendor.tags) > 1 else ''} " + ", ".join(map(str, vendor.tags))
            )
        if vendor.marks:
            marks = " or ".join(f"`{mark}`" for mark in vendor.marks)
            places.append(f"a text file beside the image with {marks}: copy it along")
        rows.append([vendor.name, "; ".join(places), vendor.says])
    return _table(["written by", "where", "what is read"], rows)


TABLES: dict[str, Callable[[], str]] = {
    "descriptors": descriptors,
    "paper-names": paper_names,
    "keys": keys,
    "models": models,
    "vendors": vendors,
    "verbs": verbs,
    "parameters": parameters,
}
