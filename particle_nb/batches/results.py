"""Many images in one run: resumable, on processes of this machine or on a Dask cluster."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from particle_nb.batches.running import pool_of, run
from particle_nb.batches.store import Store, counts_of, finish
from particle_nb.batches.work import BatchSettings, Job, scale_text, whole
from particle_nb.core.errors import DataError
from particle_nb.core.exports.methods import model_text

#: Endings that `batch` looks for in a folder.
SUFFIXES = (".tif", ".tiff", ".btf", ".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".bmp", ".dib")


@dataclass(frozen=True, eq=False)
class BatchResult:
    """What a batch left in its folder; `read_batch` reads it again.

    Parameters
    ----------
    folder : Path
        Holds ``particles.parquet`` (one row group per image), ``images.parquet`` and ``parts``.
    images : DataFrame
        One row per file, in the order given: ``image``, ``path``, ``status`` (``"done"``,
        ``"failed"`` or ``"duplicate"``), ``n`` particles, ``proposed`` masks, size, scale,
        models, classes, digests, ``seconds``, ``notes`` and, where it failed, ``error`` and
        ``message``.
    """

    folder: Path
    images: pd.DataFrame

    @property
    def errors(self) -> pd.DataFrame:
        """The images that failed: ``image path error message``."""
        failed = self.images[self.images["status"] == "failed"]
        return failed[["image", "path", "error", "message"]].reset_index(drop=True)

    def particles(self) -> pd.DataFrame:
        """Read the particles of all images, as `measure` gives them, with the column ``image``.

        ``attrs`` says how many images were done, at which scales, by which models, with which
        estimator and filters, as far as all images agree: `methods_text` tells it.
        """
        with _named_damage(self.folder / "particles.parquet") as path:
            table = pq.read_table(path).to_pandas()
        with _named_damage(self.folder / "images.parquet"):
            table.attrs.update(_provenance(self.images))
        return table

    def by_image(self) -> Iterator[tuple[str, pd.DataFrame]]:
        """Read the particles image by image, so that memory holds one at a time."""
        with (
            _named_damage(self.folder / "particles.parquet") as path,
            pq.ParquetFile(path) as file,
        ):
            for group in range(file.num_row_groups):
                table = file.read_row_group(group).to_pandas()
                yield str(table["image"].iloc[0]), table

    def __repr__(self) -> str:
        counts = self.images["status"].value_counts()
        text = ", ".join(f"{counts[status]} {status}" for status in counts.index)
        return f"<BatchResult: {text}, {int(self.images['n'].sum())} particles in {self.folder}>"


def _provenance(images: pd.DataFrame) -> dict[str, Any]:
    """What the images of a batch have in common, and how many were done."""
    done = images[images["status"] == "done"]
    found: dict[str, Any] = {"images": len(done)}
    if done.empty:
        return found
    if "scale" in done:
        found["scales"] = {str(scale): int(n) for scale, n in done["scale"].value_counts().items()}
    if {"segmenter", "weights"} <= set(done):
        models = done[["segmenter", "weights"]].drop_duplicates().itertuples(index=False)
        found["model"] = " and ".join(model_text(*map(str, model)) for model in models)
    for name in ("estimator", "filters"):
        values = set(done[name]) if name in done else {""}
        if len(values) == 1 and values != {""}:
            found[name] = values.pop()
    if "filters" in found:
        removed: Counter[str] = Counter()
        for text in done["removed"]:
            removed.update(counts_of(text))
        found["filters"] = dict(json.loads(found["filters"]))
        found |= {"proposed": int(done["proposed"].sum()), "removed": dict(removed)}
    return found


def batch(
    images: str | os.PathLike[str] | Sequence[str | os.PathLike[str]] | Mapping[Any, str],
    settings: BatchSettings | None = None,
    out: str | os.PathLike[str] = "batch",
    *,
    workers: int = 1,
    client: Any = None,
    progress: bool = True,
) -> BatchResult:
    """Segment, filter and measure any number of images into one table of particles.

    It can be stopped or killed at any time and called again: images that are done with the same
    settings, model and content are not done again, half-written ones are. An image that cannot be
    read or measured is recorded with its message and skipped; it is tried again next time.
    The same picture under two names counts once, the second is marked ``"duplicate"``.

    Parameters
    ----------
    images : folder, sequence of paths, or mapping of path to pixel size
        A folder gives the image files below it. Paths must be readable by every worker.
    settings : BatchSettings
    out : path
        Folder of the results; made where missing.
    workers : int
        Processes on this machine; 1 works in this process. A script that starts more must be
        guarded with ``if __name__ == "__main__":``.
    client : dask.distributed.Client or None
        A Dask cluster to work on instead.
    progress : bool
        Show a bar.

    Returns
    -------
    BatchResult

    Raises
    ------
    DataError
        If there is no image, or an argument cannot be used.
    ModelError
        If the segmenter cannot be loaded, or no worker starts.

    Examples
    --------
    >>> import numpy as np, tempfile, PIL.Image
    >>> picture = np.zeros((64, 64), np.uint8); picture[20:40, 20:40] = 200
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     PIL.Image.fromarray(picture).save(f"{folder}/a.png")
    ...     settings = BatchSettings("0.5 um", segmenter="classical")
    ...     result = batch(folder, settings, f"{folder}/out", progress=False)
    ...     result.particles().image.tolist(), result.images.status.tolist()
    (['a.png'], ['done'])
    """
    settings = BatchSettings() if settings is None else settings
    if not isinstance(settings, BatchSettings):
        raise DataError(f"settings must be BatchSettings, not {type(settings).__name__}.")
    workers = whole(workers, "workers")
    folder = Path(out)
    jobs = _jobs(images, settings, folder)
    store = Store(folder)
    with pool_of(settings, workers, client) as pool:
        rows = run(jobs, settings, store, pool, progress)
    finish(folder, rows, store)
    return read_batch(folder)


def read_batch(out: str | os.PathLike[str]) -> BatchResult:
    """Read what the last completed `batch` left in its folder.

    Raises
    ------
    DataError
        If the folder holds no completed batch.

    Examples
    --------
    >>> read_batch("no-such-folder")
    Traceback (most recent call last):
    ...
    particle_nb.core.errors.DataError: no completed batch in 'no-such-folder'; ...
    """
    folder = Path(out)
    if not (folder / "images.parquet").is_file():
        raise DataError(
            f"no completed batch in {str(out)!r}; run batch(images, settings, out) to its end."
        )
    with _named_damage(folder / "images.parquet") as path:
        images = pd.read_parquet(path)
    missing = {"image", "path", "status", "n", "message", "error", "notes"} - set(images.columns)
    if missing:
        raise DataError(f"{path} is not the table of a batch: {min(missing)!r} is missing.")
    return BatchResult(folder, images)


@contextmanager
def _named_damage(path: Path) -> Iterator[Path]:
    """Say which table of a batch is damaged, whatever its reader raises of it."""
    try:
        if not path.is_file():
            raise DataError(f"no completed batch in {str(path.parent)!r}: there is no {path.name}.")
        yield path
    except (OSError, pa.ArrowException, ValueError, KeyError, IndexError, TypeError) as error:
        if isinstance(error, DataError):
            raise
        raise DataError(
            f"{path} is damaged ({type(error).__name__}: {str(error)[:200]}); run the batch again: "
            "what is done is not done again."
        ) from None


def _jobs(images: Any, settings: BatchSettings, out: Path) -> list[Job]:
    sizes: Mapping[Any, str] = images if isinstance(images, Mapping) else {}
    if isinstance(images, (str, os.PathLike)):
        root = Path(images)
        if root.is_file():
            paths = [root]
        elif root.is_dir():
            inside = out.absolute()
            paths = [
                path
                for path in sorted(root.rglob("*"))
                if path.suffix.lower() in SUFFIXES
                and path.is_file()
                and not path.name.startswith(".")
                and inside not in path.absolute().parents
            ]
        else:
            raise DataError(f"there is no folder or file {str(root)!r}.")
    else:
        try:
            paths = [Path(path) for path in images]
        except TypeError:
            raise DataError(
                "images are a folder, paths, or a mapping of paths to pixel sizes, not "
                f"{type(images).__name__}; save arrays to files first."
            ) from None
    if not paths:
        raise DataError(f"no image to work on: {images!r} gives none of {', '.join(SUFFIXES)}.")
    full = [path.absolute() for path in paths]
    twice = {str(path) for path, count in pd.Series(full).value_counts().items() if count > 1}
    if twice:
        raise DataError(f"given twice: {', '.join(sorted(twice)[:3])}; name every file once.")
    common = Path(os.path.commonpath([path.parent for path in full]))
    scales = {Path(path).absolute(): scale_text(size) for path, size in sizes.items()}
    return [
        Job(path, _name(path.relative_to(common)), scales.get(path, settings.pixel_size))
        for path in full
    ]


def _name(path: Path) -> str:
    """A name for tables: a path need not be text."""
    return path.as_posix().encode("utf-8", "backslashreplace").decode("utf-8")
