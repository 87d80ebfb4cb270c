"""Many runs as one table and as one page that links their reports."""

from __future__ import annotations

import html
import os
import warnings
from collections.abc import Mapping
from numbers import Number
from pathlib import Path, PurePath
from typing import Any
from urllib.parse import quote

import pandas as pd

from particle_nb.core.errors import DataError
from particle_nb.core.files import atomic
from particle_nb.validation.results import flatten, read_json

#: What is known of every run and is no result of it.
_ABOUT = (
    *("notebook", "parameters", "started", "seconds", "ok", "error", "software", "provenance"),
    *("files", "figures", "inputs", "headline", "failed", "run"),
)
#: Numbers shown of a run that names no headline itself.
_SHOWN = 4

_STYLE = """
body { font: 15px/1.45 Inter, "Segoe UI", Helvetica, Arial, sans-serif; color: #1f2933;
  margin: 2em auto; max-width: 1100px; padding: 0 1em; }
h1 { font-size: 1.5em; } table { border-collapse: collapse; width: 100%; }
th, td { text-align: left; vertical-align: top; padding: .45em .7em;
  border-bottom: 1px solid #e4e7eb; }
th { border-bottom: 2px solid #1f2933; } td.number { white-space: nowrap; }
.ok, .bad { border-radius: 3px; padding: .1em .5em; color: white; white-space: nowrap; }
.ok { background: #009e73; } .bad { background: #d55e00; } .error { color: #a63c00; }
dl { margin: 0; display: grid; grid-template-columns: max-content 1fr; column-gap: .8em; }
dt { color: #5b6770; } dd { margin: 0; } small { color: #5b6770; overflow-wrap: anywhere; }
"""


def collect(folder: str | os.PathLike[str], *, index: bool = True) -> pd.DataFrame:
    """Gather the results of all runs below a folder into one table, one row a run, and a page.

    Nested results become columns with dots (``size.D50``); lists and figures' data stay out. The
    page ``index.html`` in that folder works offline: it links each report, failures first, then
    the latest, with status and headline numbers.

    Parameters
    ----------
    folder : path
        The `out` of `validate`.
    index : bool
        Whether to write the page; a folder that cannot be written gives a warning only.

    Raises
    ------
    DataError
        If the folder is missing or holds no run.

    Examples
    --------
    >>> collect("no-such-folder")
    Traceback (most recent call last):
    ...
    particle_nb.core.errors.DataError: no folder 'no-such-folder' ...
    """
    root = Path(folder) if isinstance(folder, (str, os.PathLike)) else None
    if root is None or not root.is_dir():
        raise DataError(f"no folder {str(folder)!r} with runs in it; give the `out` of validate.")
    runs = []
    for path in sorted(root.rglob("results.json")):
        name = path.parent.relative_to(root).as_posix()
        runs.append((root.name if name == "." else name, path.parent, read_json(path)))
    if not runs:
        raise DataError(f"no run below {str(folder)!r}: no results.json there.")
    if index:
        try:
            with atomic(root / "index.html") as stream:
                stream.write(_page(root, runs).encode("utf-8"))
        except (OSError, DataError) as error:
            warnings.warn(f"the page {root / 'index.html'} was not written: {error}", stacklevel=2)
    return pd.DataFrame([{"run": name, **flatten(results)} for name, _, results in runs])


def _page(root: Path, runs: list[tuple[str, Path, dict[str, Any]]]) -> str:
    ordered = sorted(runs, key=lambda run: str(run[2].get("started") or ""), reverse=True)
    ordered.sort(key=lambda run: run[2].get("ok") is True)  # stable: the latest first in each
    failed = sum(run[2].get("ok") is not True for run in runs)
    rows = "\n".join(_row(root, *run) for run in ordered)
    word = "run" if len(runs) == 1 else "runs"
    return f"""<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>{html.escape(root.resolve().name)}: runs</title>
<meta name="viewport" content="width=device-width"><style>{_STYLE}</style></head><body>
<h1>{len(runs)} {word}, {failed} failed</h1>
<table><thead><tr><th>status</th><th>report</th><th>results</th><th>parameters</th><th>started</th>
<th>seconds</th></tr></thead><tbody>
{rows}
</tbody></table></body></html>
"""


def _row(root: Path, name: str, folder: Path, results: Mapping[str, Any]) -> str:
    notebook = str(results.get("notebook") or "")
    notebook = notebook if _below(f"{notebook}.html") else ""
    place = folder.relative_to(root)
    pages = [folder / f"{notebook}.html"] if notebook else sorted(folder.glob("*.html"))
    page = next((path for path in pages if path.is_file() and path.name != "index.html"), None)
    title = html.escape(notebook or name)
    if page is not None:
        title = f'<a href="{quote((place / page.name).as_posix())}">{title}</a>'
    links = ", ".join(
        f'<a href="{quote((place / file).as_posix())}">{html.escape(str(word))}</a>'
        for word, file in {**_files(results), "results": "results.json"}.items()
        if _below(file) and (folder / file).is_file()
    )
    if results.get("ok") is True:
        status, told = '<span class="ok">done</span>', _list(_headline(results))
    else:
        reason = results.get("error") or "results.json is damaged or was not finished"
        status = '<span class="bad">failed</span>'
        told = f'<span class="error">{html.escape(str(reason)[:600])}</span>'
    given = results.get("parameters")
    seconds = results.get("seconds")
    return (
        f"<tr><td>{status}</td><td>{title}<br><small>{html.escape(name)}<br>{links}</small></td>"
        f"<td>{told}</td><td>{_list(given if isinstance(given, Mapping) else {})}</td>"
        f"<td>{html.escape(str(results.get('started') or '')[:16].replace('T', ' '))}</td>"
        f'<td class="number">{_text(seconds) if seconds is not None else ""}</td></tr>'
    )


def _below(file: str) -> bool:
    """Whether a file named in results.json lies in the folder of its run."""
    path = PurePath(file)
    return bool(file) and "\0" not in file and not path.is_absolute() and ".." not in path.parts


def _files(results: Mapping[str, Any]) -> dict[str, str]:
    files = results.get("files")
    return {str(k): str(v) for k, v in files.items()} if isinstance(files, Mapping) else {}


def _headline(results: Mapping[str, Any]) -> dict[str, Any]:
    """What the notebook put under ``headline``, or the first numbers among its results."""
    own = results.get("headline")
    if isinstance(own, Mapping) and own:
        return flatten(own)
    found = flatten({key: value for key, value in results.items() if key not in _ABOUT})
    numbers = {
        key: value
        for key, value in found.items()
        if isinstance(value, Number) and not isinstance(value, bool)
    }
    return dict(list(numbers.items())[:_SHOWN])


def _list(values: Mapping[str, Any]) -> str:
    rows = "".join(
        f"<dt>{html.escape(str(key))}</dt><dd>{html.escape(_text(value))}</dd>"
        for key, value in values.items()
    )
    return f"<dl>{rows}</dl>" if rows else ""


def _text(value: Any) -> str:
    text = f"{value:.4g}" if isinstance(value, float) else str(value)
    return text if len(text) <= 120 else f"{text[:117]}..."
