"""Notebooks run by papermill, each into a folder of its own."""

from __future__ import annotations

import datetime
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from particle_nb.core.errors import DataError, ImageError
from particle_nb.validation.page import write_html
from particle_nb.validation.results import plain, read_json, software, write_json


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
    package = Path(__file__).parent.parent
    folders = [package / "notebooks", package.parent / "notebooks"]
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
        If there is no such notebook, the file is none, or it is not in Python or names no
        language.

    Examples
    --------
    >>> "segmenter" in notebook_parameters("report")
    True
    """
    import papermill

    path = notebook_path(name)
    _check_language(path)
    found = papermill.inspect_notebook(str(path))
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
    error = ""
    about = {
        "notebook": name,
        "parameters": {key: plain(value) for key, value in given.items()},
        "started": began.isoformat(timespec="seconds"),
    }
    # what a run that is killed leaves behind
    write_json(target / "results.json", {**about, "ok": False, "error": "not finished"})
    try:
        papermill.execute_notebook(
            _no_fields(source),
            _no_fields(notebook),
            {**{key: plain(value) for key, value in given.items()}, "out": str(target.resolve())},
            progress_bar=progress,
            log_output=False,
            kernel_name="python3",
            cwd=_no_fields(os.getcwd()),
            # what the kernel says of its transport is no news to the reader of a report
            extra_arguments=["--IPKernelApp.log_level=50"],
        )
    except papermill.PapermillExecutionError as failure:
        error = f"{failure.ename}: {failure.evalue}"
    html = write_html(notebook)
    results = read_json(target / "results.json")
    results.update(
        {
            **about,
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


def _check_language(path: Path) -> None:
    """Papermill writes parameters in the notebook's language and stumbles where none is named."""
    import nbformat

    try:
        about = nbformat.read(path, as_version=4).metadata
    except (OSError, ValueError, nbformat.ValidationError) as error:
        raise DataError(f"{path} is no notebook: {error}") from None
    kernel, info = about.get("kernelspec") or {}, about.get("language_info") or {}
    language = kernel.get("language") or info.get("name")
    if not language:
        raise DataError(
            f"{path} does not say in which language it is written (metadata: kernelspec, "
            "language), so no parameter can be put into it. Open it in JupyterLab, choose the "
            "kernel Python 3 and save it."
        )
    if str(language).lower() != "python":
        raise DataError(f"{path} is written in {language}; validate runs Python notebooks only.")
    if not kernel.get("language"):
        raise DataError(
            f"{path} names no kernel with a language (metadata: kernelspec, language), which "
            "papermill needs. Open it in JupyterLab, choose the kernel Python 3 and save it."
        )


def _no_fields(path: str | os.PathLike[str]) -> str:
    """A path for papermill, which fills in what stands in braces."""
    return str(path).replace("{", "{{").replace("}", "}}")


def _new_folder(out: Path, name: str) -> Path:
    stamp = datetime.datetime.now().strftime("%Y%m%d-%H%M%S")
    folder, number = out / f"{name}-{stamp}", 2
    while folder.exists():
        folder, number = out / f"{name}-{stamp}-{number}", number + 1
    return folder
