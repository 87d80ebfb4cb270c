"""Parameterised notebooks run by papermill into offline reports, and their collected results."""

from __future__ import annotations

import datetime
import importlib.metadata
import json
import math
import os
import platform
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from particle_nb.core.errors import DataError, ImageError
from particle_nb.core.image import Image
from particle_nb.core.writing import atomic

if TYPE_CHECKING:
    from particle_nb.session import Session

#: Packages whose versions a report names: those that can change a number.
PACKAGES = (
    "particle_nb",
    "numpy",
    "scipy",
    "pandas",
    "scikit-image",
    "scikit-learn",
    "numba",
    "torch",
    "transformers",
    "tifffile",
    "pillow",
    "plotly",
    "papermill",
)


@dataclass(frozen=True)
class Run:
    """One executed notebook.

    `folder` holds ``<name>.ipynb``, ``<name>.html`` (one file, works offline) and
    ``results.json``; `error` is the message of the cell that failed, "" where none did.
    """

    name: str
    folder: Path
    html: Path
    notebook: Path
    results: Mapping[str, Any] = field(default_factory=dict)
    error: str = ""

    @property
    def ok(self) -> bool:
        """Whether every cell ran."""
        return not self.error


def notebook_path(name: str) -> Path:
    """Return the notebook of that name: of the package, or a path to your own.

    Raises
    ------
    DataError
        If there is none; the message lists those that there are.

    Examples
    --------
    >>> notebook_path("report").name
    'report.ipynb'
    """
    given = Path(str(name))
    if given.suffix == ".ipynb" and given.is_file():
        return given.resolve()
    folders = [Path(__file__).parent / "notebooks", Path(__file__).parent.parent / "notebooks"]
    for folder in folders:
        found = folder / f"{name}.ipynb"
        if found.is_file():
            return found
    known = sorted({path.stem for folder in folders for path in folder.glob("*.ipynb")})
    raise DataError(f"no notebook {str(name)!r}; there are {', '.join(known) or 'none'}.")


def notebook_parameters(name: str) -> dict[str, str]:
    """Return the parameters of a notebook with their defaults as Python source.

    Raises
    ------
    DataError
        If there is no such notebook.

    Examples
    --------
    >>> "segmenter" in notebook_parameters("report")
    True
    """
    import papermill

    found = papermill.inspect_notebook(str(notebook_path(name)))
    return {key: str(value["default"]) for key, value in found.items() if key != "out"}


def validate(
    name: str,
    parameters: Mapping[str, Any] | None = None,
    out: str | os.PathLike[str] = "runs",
    *,
    folder: str | os.PathLike[str] | None = None,
    progress: bool = False,
) -> Run:
    """Run a notebook with parameters into a folder of its own below `out`.

    The folder gets the executed notebook, an offline HTML report and ``results.json`` (inputs,
    versions, digests, results, the figures' data). Where a cell fails, the report holds the error
    and `Run.error` says it; nothing is raised.

    Parameters
    ----------
    name : str
        Notebook of the package (``"report"``, ``"validate_roughness"``, ...) or a path.
    parameters : mapping
        Values for its parameter cell; paths are taken relative to the present folder.
    out : path
        Folder of all runs.
    folder : path or None
        Folder of this run; ``out/<name>-<date>-<time>`` when left out.

    Raises
    ------
    DataError
        If the notebook or a parameter is unknown; the message lists the known ones.

    Examples
    --------
    >>> validate("report", {"colour": 3})
    Traceback (most recent call last):
    ...
    particle_nb.core.errors.DataError: report has no parameter 'colour'; it has ...
    """
    import papermill

    source = notebook_path(name)
    name = source.stem
    given = dict(parameters or {})
    known = notebook_parameters(str(source))
    unknown = sorted(set(given) - set(known))
    if unknown:
        raise DataError(
            f"{name} has no parameter {unknown[0]!r}; it has {', '.join(known) or 'none'}."
        )
    target = Path(folder) if folder is not None else _new_folder(Path(out), name)
    target.mkdir(parents=True, exist_ok=True)
    notebook = target / f"{name}.ipynb"
    began, start = datetime.datetime.now(datetime.UTC), time.perf_counter()
    (target / "results.json").unlink(missing_ok=True)
    error = ""
    try:
        papermill.execute_notebook(
            str(source),
            str(notebook),
            {**{key: _plain(value) for key, value in given.items()}, "out": str(target.resolve())},
            progress_bar=progress,
            log_output=False,
            kernel_name="python3",
            cwd=os.getcwd(),
            # what the kernel says of its transport is no news to the reader of a report
            extra_arguments=["--IPKernelApp.log_level=50"],
        )
    except papermill.PapermillExecutionError as failure:
        error = f"{failure.ename}: {failure.evalue}"
    html = write_html(notebook)
    results = _read_json(target / "results.json")
    results.update(
        {
            "notebook": name,
            "parameters": {key: _plain(value) for key, value in given.items()},
            "started": began.isoformat(timespec="seconds"),
            "seconds": round(time.perf_counter() - start, 2),
            "ok": not error,
            "error": error,
            "software": software(),
        }
    )
    write_json(target / "results.json", results)
    return Run(name, target, html, notebook, results, error)


def report(
    images: Sequence[str | os.PathLike[str]],
    out: str | os.PathLike[str] = "runs",
    *,
    folder: str | os.PathLike[str] | None = None,
    **parameters: Any,
) -> Run:
    """Make a size-and-shape report of one or more micrographs.

    Parameters
    ----------
    images : sequence of path
        Files that `read_image` reads.
    out, folder : path
        As in `validate`.
    **parameters
        Those of the notebook ``report``: ``pixel_size``, ``segmenter``, ``reference``,
        ``filters``, ...

    Raises
    ------
    ImageError
        If no image is given or a file is missing.
    DataError
        If a parameter is unknown.

    Examples
    --------
    >>> report([])
    Traceback (most recent call last):
    ...
    particle_nb.core.errors.ImageError: no image given; name one or more files.
    """
    if isinstance(images, (str, os.PathLike)):
        images = [images]
    paths = [Path(image) for image in images]
    if not paths:
        raise ImageError("no image given; name one or more files.")
    for path in paths:
        if not path.is_file():
            raise ImageError(f"no file {path}; check the name and the folder.")
    return validate(
        "report",
        {"images": [str(path.resolve()) for path in paths], **parameters},
        out,
        folder=folder,
    )


def collect(folder: str | os.PathLike[str]) -> pd.DataFrame:
    """Gather the results of all runs below a folder into one table, one row a run.

    Nested results become columns with dots (``size.D50``); lists and figures' data stay out.

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
    rows = []
    for path in sorted(root.rglob("results.json")):
        flat = _flatten(_read_json(path))
        rows.append({"run": path.parent.name, **flat})
    if not rows:
        raise DataError(f"no run below {str(folder)!r}: no results.json there.")
    return pd.DataFrame(rows)


def software() -> dict[str, str]:
    """Return the versions that a number depends on.

    Examples
    --------
    >>> "numpy" in software()
    True
    """
    versions = {"python": platform.python_version(), "system": platform.platform()}
    for package in PACKAGES:
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return versions


def provenance(session: Session, images: Sequence[Image]) -> dict[str, Any]:
    """Return what is needed to repeat a result: images, scales, model, weights, software.

    Examples
    --------
    >>> from particle_nb.session import Session
    >>> about = provenance(Session("classical"), [Image(np.zeros((2, 3)), name="a")])
    >>> about["segmenter"]["name"], about["images"][0]["name"]
    ('classical', 'a')
    """
    model = session.segmenter
    return {
        "segmenter": {
            "name": model.name,
            "weights": model.digest,
            "about": str(getattr(model, "about", "")),
            "settings": repr(getattr(model, "settings", None)),
        },
        "images": [
            {
                "name": image.name,
                "digest": image.digest,
                "height": image.shape[0],
                "width": image.shape[1],
                "scale": str(image.calibration) if image.calibration is not None else "none",
                **{key: _plain(value) for key, value in image.info.items()},
            }
            for image in images
        ],
        "software": software(),
    }


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
    target = path.with_suffix(".html")
    with atomic(target) as stream:
        stream.write(body.encode("utf-8"))
    return target


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


def write_json(path: str | os.PathLike[str], values: Mapping[str, Any]) -> None:
    """Write a mapping as JSON, whole or not at all; numpy values, NaN and paths are made plain."""
    with atomic(path) as stream:
        stream.write(json.dumps(_plain(dict(values)), indent=1, allow_nan=False).encode("utf-8"))


def _read_json(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _new_folder(out: Path, name: str) -> Path:
    stamp = datetime.datetime.now().strftime("%Y%m%d-%H%M%S")
    folder, number = out / f"{name}-{stamp}", 2
    while folder.exists():
        folder, number = out / f"{name}-{stamp}-{number}", number + 1
    return folder


def _plain(value: Any) -> Any:
    """Make a value that JSON and papermill can carry."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, set, np.ndarray)):
        return [_plain(item) for item in value]
    if isinstance(value, (bool, np.bool_)):
        return bool(value)
    if isinstance(value, (int, np.integer)):
        return int(value)
    if isinstance(value, (float, np.floating)):
        return float(value) if math.isfinite(value) else None
    return value if value is None or isinstance(value, str) else str(value)


def _flatten(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, Mapping):
            if key not in ("figures", "software"):
                flat |= _flatten(value, f"{prefix}{key}.")
        elif not isinstance(value, list):
            flat[f"{prefix}{key}"] = value
    return flat
