"""Many images in one run: resumable, on processes of this machine or on a Dask cluster."""

from __future__ import annotations

import concurrent.futures as futures
import dataclasses
import functools
import hashlib
import json
import multiprocessing
import os
import time
import traceback
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from particle_nb.core.cascade import FilterSettings, cascade
from particle_nb.core.errors import DataError, ImageError, ModelError
from particle_nb.core.image import Calibration
from particle_nb.core.reading import read_image
from particle_nb.core.shape import measure
from particle_nb.core.writing import atomic
from particle_nb.session import Session

#: Endings that `batch` looks for in a folder.
SUFFIXES = (".tif", ".tiff", ".btf", ".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".bmp", ".dib")
# embeddings that tiles of one image share; more would only pile up images that are done
_CACHE_BYTES = 128 << 20
_FORMAT = 1


@dataclass(frozen=True)
class BatchSettings:
    """What is done with every image of a batch.

    Parameters
    ----------
    pixel_size : str or None
        ``"0.31 um"`` for all images; None takes each file's own scale.
    segmenter : str
        As in `Session`; an object cannot travel to other processes.
    filters : FilterSettings
    unit : str
        ``"um"``, ``"nm"`` or ``"px"``: one unit for all, since sizes in px and um cannot be
        pooled. An image without a scale is recorded as failed unless the unit is ``"px"``.
    crop_bar : bool or int
        As in `read_image`.
    device : str
        As in `Session`; ``"cpu"`` by default, as workers would crowd one GPU.
    cache_dir : str or None
        Folder of embeddings that runs and workers share.
    threads : int or None
        Threads of one worker; None shares the cores out.

    Raises
    ------
    DataError, CalibrationError
        If a value is unusable.

    Examples
    --------
    >>> BatchSettings(pixel_size="310 nm", segmenter="classical").unit
    'um'
    """

    pixel_size: str | None = None
    segmenter: str = "embedded"
    filters: FilterSettings = field(default_factory=FilterSettings)
    unit: str = "um"
    crop_bar: bool | int = True
    device: str = "cpu"
    cache_dir: str | None = None
    threads: int | None = None

    def __post_init__(self) -> None:
        if self.pixel_size is not None:
            object.__setattr__(self, "pixel_size", _scale_text(self.pixel_size))
        if not isinstance(self.segmenter, str):
            raise DataError(
                f"segmenter must be a name or a path, not {type(self.segmenter).__name__}: "
                "each worker loads its own."
            )
        if not isinstance(self.filters, FilterSettings):
            raise DataError(f"filters must be FilterSettings, not {type(self.filters).__name__}.")
        if self.unit not in ("um", "nm", "px"):
            raise DataError(f"unit is 'um', 'nm' or 'px', not {self.unit!r}.")
        if self.cache_dir is not None:
            object.__setattr__(self, "cache_dir", str(Path(self.cache_dir).absolute()))
        if self.threads is not None:
            _whole(self.threads, "threads")

    def result_key(self, weights: str) -> str:
        """Digest of all that changes a result, `weights` being the digest of the model's."""
        about = dataclasses.asdict(self)
        for name in ("device", "cache_dir", "threads", "pixel_size"):
            del about[name]  # how, not what; the pixel size is added image by image
        text = json.dumps([_FORMAT, about, weights], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]


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
        digests, ``seconds``, ``notes`` and, where it failed, ``error`` and ``message``.
    """

    folder: Path
    images: pd.DataFrame

    @property
    def errors(self) -> pd.DataFrame:
        """The images that failed: ``image path error message``."""
        failed = self.images[self.images["status"] == "failed"]
        return failed[["image", "path", "error", "message"]].reset_index(drop=True)

    def particles(self) -> pd.DataFrame:
        """Read the particles of all images, as `measure` gives them, with the column ``image``."""
        return pq.read_table(self.folder / "particles.parquet").to_pandas()

    def by_image(self) -> Iterator[tuple[str, pd.DataFrame]]:
        """Read the particles image by image, so that memory holds one at a time."""
        with pq.ParquetFile(self.folder / "particles.parquet") as file:
            for group in range(file.num_row_groups):
                table = file.read_row_group(group).to_pandas()
                yield str(table["image"].iloc[0]), table

    def __repr__(self) -> str:
        counts = self.images["status"].value_counts()
        text = ", ".join(f"{counts[status]} {status}" for status in counts.index)
        return f"<BatchResult: {text}, {int(self.images['n'].sum())} particles in {self.folder}>"


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
    >>> import tempfile, PIL.Image
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
    workers = _whole(workers, "workers")
    folder = Path(out)
    jobs = _jobs(images, settings, folder)
    store = _Store(folder)
    with _pool(settings, workers, client) as pool:
        key = settings.result_key(pool.weights)
        rows = _run(jobs, settings, key, store, pool, progress)
    return _finish(folder, rows, store)


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
    try:
        images = pd.read_parquet(folder / "images.parquet")
    except (OSError, pa.ArrowException) as error:
        raise DataError(
            f"no completed batch in {str(out)!r}; run batch(images, settings, out) to its end "
            f"({type(error).__name__})."
        ) from None
    return BatchResult(folder, images)


# ---------------------------------------------------------------- what there is to do


@dataclass(frozen=True)
class _Job:
    path: Path
    name: str
    pixel_size: str | None


def _jobs(images: Any, settings: BatchSettings, out: Path) -> list[_Job]:
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
    scales = {Path(path).absolute(): _scale_text(size) for path, size in sizes.items()}
    return [
        _Job(path, path.relative_to(common).as_posix(), scales.get(path, settings.pixel_size))
        for path in full
    ]


def _scale_text(size: Any) -> str:
    scale = size if isinstance(size, Calibration) else Calibration.parse(size)
    return f"{scale.pixel_size!r} {scale.unit}"


def _whole(value: Any, name: str) -> int:
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < 1:
        raise DataError(f"{name} must be a whole number of at least 1, not {value!r}.")
    return int(value)


# ---------------------------------------------------------------- what a worker does


@functools.lru_cache(maxsize=1)
def _session(segmenter: str, device: str, cache_dir: str | None) -> Session:
    # one per worker process: loading a model takes longer than most images
    return Session(segmenter, device=device, cache_bytes=_CACHE_BYTES, cache_dir=cache_dir)


def _weights(settings: BatchSettings) -> str:
    model = _session(settings.segmenter, settings.device, settings.cache_dir).segmenter
    return f"{model.name} {model.digest}"


def _limit_threads(threads: int) -> None:
    """Keep a worker process from using all cores; runs in it before any model is loaded."""
    for name in ("OMP", "MKL", "OPENBLAS", "NUMBA"):
        os.environ[f"{name}_NUM_THREADS"] = str(threads)
    import threadpoolctl

    threadpoolctl.threadpool_limits(threads)


def _work(job: _Job, settings: BatchSettings) -> tuple[dict[str, Any], bytes]:
    """Do one image; the caller alone writes files."""
    start = time.perf_counter()
    session = _session(settings.segmenter, settings.device, settings.cache_dir)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        image = read_image(job.path, job.pixel_size, crop_bar=settings.crop_bar)
        if settings.unit != "px" and image.calibration is None:
            raise ImageError(
                "the file has no scale; give pixel_size='0.31 um', or measure in unit='px'."
            )
        proposals = session.propose(image, progress=False)
        masks, audit = cascade(proposals, image, settings.filters)
        table = measure(masks, image.calibration, image=job.name, unit=settings.unit)
    session.cache_clear()
    removed = audit.loc[audit["verdict"] == "removed", "stage"].value_counts()
    record = {
        "n": len(table),
        "proposed": len(proposals),
        "removed": {str(stage): int(count) for stage, count in removed.items()},
        "height_px": image.shape[0],
        "width_px": image.shape[1],
        "scale": "none" if image.calibration is None else str(image.calibration),
        "image_digest": image.digest,
        "masks_digest": masks.digest,
        "segmenter": session.segmenter.name,
        "weights": session.segmenter.digest,
        "seconds": round(time.perf_counter() - start, 3),
        "notes": "; ".join(dict.fromkeys(str(warning.message) for warning in caught)),
    }
    sink = pa.BufferOutputStream()
    pq.write_table(pa.Table.from_pandas(table, preserve_index=False), sink)
    return record, sink.getvalue().to_pybytes()


# ---------------------------------------------------------------- who does it


@dataclass
class _Pool:
    """Something with submit(); `renew` replaces it after a worker process died."""

    executor: Any
    width: int
    weights: str
    renew: Callable[[int], Any] | None


@contextmanager
def _pool(settings: BatchSettings, workers: int, client: Any) -> Iterator[_Pool]:
    if client is not None:
        if not callable(getattr(client, "get_executor", None)):
            raise DataError(
                f"client must be a dask.distributed.Client, not {type(client).__name__}."
            )
        # results differ by what is in the files, so equal calls are not the same to Dask
        executor = client.get_executor(pure=False)
        width = max(1, sum(client.nthreads().values()))
        renew = None
    elif workers == 1:
        executor, width, renew = futures.ThreadPoolExecutor(1), 1, None
    else:
        threads = settings.threads or max(1, (os.cpu_count() or 1) // workers)

        def renew(count: int) -> Any:
            return futures.ProcessPoolExecutor(
                count, multiprocessing.get_context("spawn"), _limit_threads, (threads,)
            )

        executor, width = renew(workers), workers
    pool = _Pool(executor, width, "", renew)
    try:
        try:
            pool.weights = executor.submit(_weights, settings).result()
        except futures.process.BrokenProcessPool:
            raise ModelError(
                "the worker processes do not start. A script must guard its call of batch with "
                "if __name__ == '__main__':; or the model is too large for this many workers."
            ) from None
        yield pool
    finally:
        pool.executor.shutdown(wait=True, cancel_futures=True)


def _run(
    jobs: list[_Job],
    settings: BatchSettings,
    key: str,
    store: _Store,
    pool: _Pool,
    progress: bool,
) -> list[dict[str, Any]]:
    """Do what is not done yet; returns one record per job in their order."""
    from tqdm.auto import tqdm

    rows: dict[int, dict[str, Any]] = {}
    owner: dict[str, str] = {}
    running: dict[futures.Future, tuple[int, str, str]] = {}
    suspects: list[tuple[int, str, str]] = []
    todo = iter(enumerate(jobs))
    exhausted = False

    with tqdm(total=len(jobs), desc="images", disable=not progress) as bar:

        def settle(index: int, part: str, outcome: futures.Future) -> None:
            rows[index] = _outcome(jobs[index], part, outcome, store)
            bar.update()

        while not exhausted or running or suspects:
            # a queue twice as long as the pool is wide keeps it busy, and memory bounded
            while not exhausted and len(running) < 2 * pool.width and not suspects:
                index, job = next(todo, (-1, None))
                if job is None:
                    exhausted = True
                    break
                known = _known(job, key, store, owner)
                if "part" not in known:
                    rows[index] = known
                    bar.update()
                    continue
                part = known["part"]
                running[pool.executor.submit(_work, job, settings)] = (index, part, known["file"])
            if suspects and not running:
                index, part, file = suspects.pop()
                # alone in its pool, an image that kills its worker can be told from its neighbours
                with pool.renew(1) as single:  # type: ignore[misc]
                    outcome = single.submit(_work, jobs[index], settings)
                    futures.wait([outcome])
                settle(index, part, outcome)
                if not suspects:
                    pool.executor = pool.renew(pool.width)  # type: ignore[misc]
                continue
            done, _ = futures.wait(running, return_when=futures.FIRST_COMPLETED)
            for outcome in done:
                index, part, file = running.pop(outcome)
                died = isinstance(outcome.exception(), futures.process.BrokenProcessPool)
                if died and pool.renew is not None:
                    suspects.append((index, part, file))
                else:
                    settle(index, part, outcome)
    return [rows[index] for index in range(len(jobs))]


def _known(job: _Job, key: str, store: _Store, owner: dict[str, str]) -> dict[str, Any]:
    """The record of a job that needs no work, else the name of the part it will fill."""
    base = {"image": job.name, "path": str(job.path)}
    try:
        digest = store.file_digest(job.path)
    except OSError as error:
        return base | _failure(error)
    text = json.dumps([digest, job.pixel_size, key])
    part = hashlib.sha256(text.encode()).hexdigest()[:32]
    if part in owner:
        return base | {"status": "duplicate", "n": 0, "message": f"same as {owner[part]}"}
    owner[part] = job.name
    record = store.read(part)
    return base | {"part": part, "file": digest} if record is None else record | base


def _outcome(job: _Job, part: str, outcome: futures.Future, store: _Store) -> dict[str, Any]:
    base = {"image": job.name, "path": str(job.path)}
    # whatever one image raises is that image's failure: the others go on
    error = outcome.exception()
    if error is not None:
        return base | _failure(error)
    record, data = outcome.result()
    record = base | {"status": "done", **record, "part": part}
    store.write(part, record, data, job.path)
    return record


def _failure(error: BaseException) -> dict[str, Any]:
    message = str(error) or type(error).__name__
    if isinstance(error, futures.process.BrokenProcessPool):
        message = "the worker process died on this image; is there enough memory?"
    where = traceback.extract_tb(error.__traceback__)
    at = f"{Path(where[-1].filename).name}:{where[-1].lineno}" if where else ""
    return {
        "status": "failed",
        "n": 0,
        "error": type(error).__name__,
        "message": message,
        "error_at": at,
    }


# ---------------------------------------------------------------- what is on the disk


class _Store:
    """One Parquet and one JSON file per finished image in ``parts``; the JSON makes it count."""

    def __init__(self, folder: Path) -> None:
        self.parts = folder / "parts"
        try:
            self.parts.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise DataError(f"the folder {str(folder)!r} cannot be made: {error}.") from None
        self._records: dict[str, dict[str, Any]] = {}
        self._files: dict[str, tuple[list[int], str]] = {}
        for path in self.parts.glob("*.json"):
            try:
                record = json.loads(path.read_text(encoding="utf-8"))
                self._records[path.stem] = record
                self._files[record["path"]] = (record["stat"], record["file_digest"])
            except (OSError, ValueError, KeyError, TypeError):
                continue  # damaged by a crash of the machine: that image is done again

    def parquet(self, part: str) -> Path:
        return self.parts / f"{part}.parquet"

    def read(self, part: str) -> dict[str, Any] | None:
        """The record of a finished part, or None where it is missing or half-written."""
        record = self._records.get(part)
        try:
            if record is None or self.parquet(part).stat().st_size != record["bytes"]:
                return None
            if pq.read_metadata(self.parquet(part)).num_rows != record["n"]:
                return None
        except (OSError, KeyError, pa.ArrowException):
            return None
        return record

    def write(self, part: str, record: dict[str, Any], data: bytes, path: Path) -> None:
        stat, digest = self._files[str(path)]
        whole = record | {"bytes": len(data), "stat": stat, "file_digest": digest}
        with atomic(self.parquet(part)) as stream:
            stream.write(data)
        with atomic(self.parts / f"{part}.json") as stream:
            stream.write(json.dumps(whole, indent=1).encode())
        self._records[part] = whole

    def file_digest(self, path: Path) -> str:
        """SHA-256 of a file's bytes; not read again while its size and time stay as recorded."""
        found = path.stat()
        stat = [found.st_size, found.st_mtime_ns]
        known = self._files.get(str(path))
        if known is None or list(known[0]) != stat:
            with open(path, "rb") as stream:
                digest = hashlib.file_digest(stream, "sha256").hexdigest()
            known = self._files[str(path)] = (stat, digest)
        return known[1]


def _finish(folder: Path, rows: list[dict[str, Any]], store: _Store) -> BatchResult:
    """Join the parts, in the order of the images, one row group each."""
    done = [row for row in rows if row["status"] == "done" and row["n"]]
    empty = [row for row in rows if row["status"] == "done" and not row["n"]]
    schema = pq.read_schema(store.parquet((done or empty)[0]["part"])) if done or empty else None
    with atomic(folder / "particles.parquet") as stream:
        if schema is None:
            schema = pa.schema([("image", pa.string())])
        # pandas' own note on the first table would be repeated for all
        with pq.ParquetWriter(stream, schema.remove_metadata()) as writer:
            for row in done:
                table = pq.read_table(store.parquet(row["part"])).cast(schema)
                # a file may have been renamed since it was measured
                names = pa.array([row["image"]] * table.num_rows, pa.string())
                table = table.set_column(table.schema.get_field_index("image"), "image", names)
                writer.write_table(
                    table.cast(schema.remove_metadata()), row_group_size=table.num_rows
                )
    images = _images_table(rows)
    with atomic(folder / "images.parquet") as stream:
        pq.write_table(pa.Table.from_pandas(images, preserve_index=False), stream)
    with atomic(folder / "images.csv") as stream:
        stream.write(images.to_csv(index=False).encode())
    return BatchResult(folder, images)


def _images_table(rows: list[dict[str, Any]]) -> pd.DataFrame:
    texts = ("image", "path", "status", "scale", "image_digest", "masks_digest", "segmenter")
    texts += ("weights", "notes", "error", "message", "error_at", "part")
    table = pd.DataFrame(rows).drop(columns=["bytes", "stat"], errors="ignore")
    for name in texts:
        column = table[name] if name in table else pd.Series("", index=table.index)
        table[name] = column.fillna("").astype(str)
    for name in ("n", "proposed", "height_px", "width_px"):
        column = table[name] if name in table else pd.Series(0, index=table.index)
        table[name] = column.fillna(0).astype(np.int64)
    table["seconds"] = table["seconds"].astype(float) if "seconds" in table else np.nan
    removed = table.pop("removed") if "removed" in table else pd.Series(None, index=table.index)
    table["removed"] = [
        ", ".join(f"{count} {stage}" for stage, count in entry.items())
        if isinstance(entry, Mapping)
        else ""
        for entry in removed
    ]
    order = ["image", "status", "n", "proposed", "removed", "seconds", "message", "error"]
    order += ["notes", "path", "height_px", "width_px", "scale", "segmenter", "weights"]
    order += ["image_digest", "masks_digest", "error_at", "part"]
    return table[order]
