"""The public names of the package and where the reference describes them."""

from __future__ import annotations

import importlib
import inspect
import re
from pathlib import Path
from types import ModuleType
from typing import Any

import particle_nb

_PAGES = Path(__file__).parents[1] / "reference"
_MEMBERS = re.compile(r"^<!-- members: ([\w.]+) -->$", re.M)
_OBJECTS = re.compile(r"^::: ([\w.]+)$", re.M)
_PUBLIC = "<!-- public-names -->"
#: Public names that are values, and the page that describes them.
_VALUES = {"DESCRIPTORS": "columns.md#size-and-shape"}


def home(value: Any, name: str, module: str) -> str:
    """Return the full name under which the reference describes something."""
    return f"{getattr(value, '__module__', module)}.{name}"


def canonical(written: str) -> str:
    """Return where something is defined, given where it can be imported from."""
    module, _, name = written.rpartition(".")
    return home(getattr(importlib.import_module(module), name), name, module)


def members(module: str) -> list[str]:
    """Return the full names of what a module offers: its ``__all__``, or all it defines."""
    loaded = importlib.import_module(module)
    offered = getattr(loaded, "__all__", None)
    if offered is None:
        offered = [
            name
            for name, value in vars(loaded).items()
            if not name.startswith("_")
            and (inspect.isfunction(value) or inspect.isclass(value))
            and value.__module__ == module
        ]
    chosen = [(name, getattr(loaded, name)) for name in offered]
    return [home(value, name, module) for name, value in chosen if callable(value)]


def public() -> dict[str, str]:
    """Return the public names of the package with their full names ("" for modules)."""
    found = {}
    for name in particle_nb.__all__:
        value = getattr(particle_nb, name)
        found[name] = "" if isinstance(value, ModuleType) else home(value, name, "particle_nb")
    return found


def described() -> set[str]:
    """Return the full names that the pages of the reference describe."""
    found = set()
    for page in _PAGES.glob("*.md"):
        text = page.read_text(encoding="utf-8")
        found |= {canonical(name) for name in _OBJECTS.findall(text)}
        for module in _MEMBERS.findall(text):
            found |= set(members(module))
    return found


def fill(markdown: str) -> str:
    """Write the members of modules and the list of public names into a page."""

    def listed(match: re.Match[str]) -> str:
        headings = re.findall(r"^(#+) ", match.string[: match.start()], re.M)
        level = len(headings[-1]) + 1
        found = [
            f"::: {name}\n    options: {{heading_level: {level}}}" for name in members(match[1])
        ]
        return "\n".join(found)

    markdown = _OBJECTS.sub(lambda found: f"::: {canonical(found[1])}", markdown)
    markdown = _MEMBERS.sub(listed, markdown)
    return markdown.replace(_PUBLIC, _names()) if _PUBLIC in markdown else markdown


def _names() -> str:
    pages = {
        "agreement": "agreement.md#pnbagreement",
        "exports": "exports.md#pnbexports",
        "figures": "figures.md",
        "matching": "agreement.md#pnbmatching",
        "synthetic": "synthetic.md",
    }
    known, rest, lines = described(), [], []
    for name, full in sorted(public().items(), key=lambda item: item[0].lower()):
        if name == "__version__":
            lines.append("`__version__`")
        elif name in _VALUES or name in pages:
            lines.append(f"[`{name}`]({_VALUES.get(name) or pages[name]})")
        elif full:
            lines.append(f"[`{name}`][{full}]")
            rest += [] if full in known else [full]
        else:
            lines.append(f"`{name}`")
    text = " · ".join(lines)
    if rest:
        text += "\n\n## More\n\n" + "\n".join(f"::: {name}" for name in rest)
    return text
