"""Executed notebooks for the site: run where they are out of date, kept in a build folder.

As with make, an executed notebook is good while it is newer than its source and than the package.
``make test`` runs the notebooks too and leaves them in the same folder (the variable
``PARTICLE_NB_EXECUTED``), so that ``make docs`` after it only has to render.
"""

from __future__ import annotations

import json
import os
import tempfile
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import nbformat

ROOT = Path(__file__).parents[2]
NOTEBOOKS = ROOT / "notebooks"
#: The notebook that makes no sense without images: it is run on scikit-image's photograph of coins.
REPORT = "report"
#: What decides about an output; compiled files and the cards of the models do not.
_SOURCES = (".py", ".js", ".css", ".safetensors")


def sources() -> list[Path]:
    """Return the notebooks of the repository, in the order of their names."""
    return sorted(NOTEBOOKS.glob("*.ipynb"))


def changed() -> float:
    """Return when the package or a file beside the notebooks was last changed, in seconds."""
    files = [path for path in (ROOT / "particle_nb").rglob("*") if path.suffix in _SOURCES]
    files += [path for path in NOTEBOOKS.iterdir() if path.is_file() and path.suffix != ".ipynb"]
    return max(path.stat().st_mtime for path in files)


def fresh(source: Path, folder: Path, since: float) -> bool:
    """Whether `folder` holds this notebook, run to its end after everything it depends on."""
    executed, results = folder / source.name, folder / "results.json"
    try:
        ok = bool(json.loads(results.read_text(encoding="utf-8"))["ok"])
        ran = nbformat.read(executed, as_version=4)
    except (OSError, ValueError, KeyError, nbformat.reader.NotJSONError):
        return False
    cells = [cell.source for cell in ran.cells if not _injected(cell)]
    same = cells == [cell.source for cell in nbformat.read(source, as_version=4).cells]
    return ok and same and executed.stat().st_mtime > max(since, source.stat().st_mtime)


def _injected(cell: nbformat.NotebookNode) -> bool:
    return "injected-parameters" in cell.metadata.get("tags", [])


def execute(target: Path, workers: int = 2) -> dict[str, Path]:
    """Run what is out of date into folders below `target`; return the notebooks by name.

    Raises
    ------
    SystemExit
        If a cell of a notebook fails; the message says which notebook and what it said.
    """
    since = changed()
    stale = [path for path in sources() if not fresh(path, target / path.stem, since)]
    with ProcessPoolExecutor(workers) as pool:
        errors = pool.map(_run, [p.stem for p in stale], [target / p.stem for p in stale])
        failures = [text for text in errors if text]
    if failures:
        raise SystemExit("notebooks failed:\n" + "\n".join(failures))
    return {path.stem: target / path.stem / path.name for path in sources()}


def _run(name: str, folder: Path) -> str:
    """Run one notebook with its defaults, in an empty folder; return its error or nothing."""
    from skimage import data, io

    from particle_nb.validation.running import report, validate

    os.environ["HF_HUB_OFFLINE"] = "1"
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    with tempfile.TemporaryDirectory() as empty:
        os.chdir(empty)
        if name == REPORT:
            io.imsave("coins.png", data.coins(), check_contrast=False)
            run = report(["coins.png"], folder=folder)
        else:
            run = validate(name, folder=folder)
        os.chdir(ROOT)
    return "" if run.ok else f"{name}: {run.error}"
