"""What a worker does with one image."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
import multiprocessing
import multiprocessing.connection
import os
import threading
import time
import warnings
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from particle_nb.core.cascade import FilterSettings, cascade
from particle_nb.core.errors import DataError, ImageError
from particle_nb.core.files import Stamp
from particle_nb.core.image import Calibration, Image, read_image
from particle_nb.core.image.reading import checked_path
from particle_nb.core.image.vendors import sidecars
from particle_nb.core.shape import ESTIMATOR, measure
from particle_nb.models.protocols import settings_key
from particle_nb.session import Session

if TYPE_CHECKING:
    import pandas as pd

    from particle_nb.core.learning import ShapeClassifier

# embeddings that tiles of one image share; more would only pile up images that are done
_CACHE_BYTES = 128 << 20
# raised whenever the same settings would give another table
_FORMAT = 2
# how often an image is read that somebody writes to
_ATTEMPTS = 2


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
        Threads of one worker process; None shares the cores out. Not used with one worker, or on
        a cluster, which has its own setting.
    classes : str or None
        File of `ShapeClassifier.save`: every particle gets ``class``, ``class_probability`` and one
        column ``p_<class>`` a class. Another content of the file does the images anew.
    features : str
        As in `Session`, what the classes were learned with.

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
    classes: str | None = None
    features: str = "embedded"

    def __post_init__(self) -> None:
        if self.pixel_size is not None:
            object.__setattr__(self, "pixel_size", scale_text(self.pixel_size))
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
            whole(self.threads, "threads")
        if not isinstance(self.features, str):
            raise DataError(
                f"features must be a name or a path, not {type(self.features).__name__}."
            )
        if self.classes is not None:
            object.__setattr__(self, "classes", str(Path(self.classes).absolute()))
            _classifier(self.classes, "")  # now, not image by image

    def result_key(self, model: str) -> str:
        """Digest of all that changes a result, `model` naming model, weights and their settings."""
        about = dataclasses.asdict(self)
        for name in ("device", "cache_dir", "threads", "pixel_size", "classes", "features"):
            del about[name]  # how, not what; the pixel size is added image by image
        if self.classes is not None:
            about |= {"classes": classes_digest(self.classes), "features": self.features}
        text = json.dumps([_FORMAT, ESTIMATOR, about, model], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]


@dataclass(frozen=True)
class Job:
    """One image of a batch: its file, its name in the tables, and its pixel size if given."""

    path: Path
    name: str
    pixel_size: str | None


def scale_text(size: Any) -> str:
    """Return a pixel size as text that reads back to the bit, e.g. ``"0.31 um"``.

    Raises
    ------
    CalibrationError
        If it is no length.

    Examples
    --------
    >>> scale_text("310 nm")
    '310.0 nm'
    """
    scale = size if isinstance(size, Calibration) else Calibration.parse(size)
    return f"{scale.pixel_size!r} {scale.unit}"


def whole(value: Any, name: str) -> int:
    """Return a count as int.

    Raises
    ------
    DataError
        If it is no whole number of at least 1; `name` stands in the message.

    Examples
    --------
    >>> whole(np.int64(3), "workers")
    3
    """
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < 1:
        raise DataError(f"{name} must be a whole number of at least 1, not {value!r}.")
    return int(value)


@dataclass(frozen=True)
class Inputs:
    """What the files of one image were when they were read: the picture and its sidecars.

    Parameters
    ----------
    digest : str
        SHA-256 of the contents of all of them.
    stamps : tuple of Stamp
        In the same order, so that unchanged files need not be read again.
    """

    digest: str
    stamps: tuple[Stamp, ...]

    @classmethod
    def of(cls, path: Path) -> Inputs:
        """Read all files that the result depends on; `OSError` where one cannot be read."""
        digests, stamps = [], []
        for file in (path, *sidecars(path)):
            with open(file, "rb") as stream:
                stamps.append(Stamp.of(os.fstat(stream.fileno())))
                digests.append(hashlib.file_digest(stream, "sha256").hexdigest())
        whole = hashlib.sha256(json.dumps(digests).encode()).hexdigest()
        return cls(whole, tuple(stamps))


@functools.lru_cache(maxsize=1)
def _session(segmenter: str, device: str, cache_dir: str | None, features: str) -> Session:
    # one per worker process: loading a model takes longer than most images
    return Session(
        segmenter,
        device=device,
        features=features,
        cache_bytes=_CACHE_BYTES,
        cache_dir=cache_dir,
    )


def classes_digest(path: str) -> str:
    """Return the SHA-256 of a file of classes."""
    with open(path, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


@functools.lru_cache(maxsize=1)
def _classifier(path: str, digest: str) -> ShapeClassifier:
    # the digest is there so that another content of the file is read
    from particle_nb.core.learning import ShapeClassifier

    return ShapeClassifier.load(path)


def _add_classes(table: pd.DataFrame, told: pd.DataFrame) -> None:
    """Write what `ShapeClassifier.predict` found beside the sizes of the same particles."""
    table["class"] = told["class"].astype(str)
    table["class_probability"] = told["probability"].astype(float)
    for name in told.columns[2:]:
        table[f"p_{name}"] = told[name].astype(float)


def _session_of(settings: BatchSettings) -> Session:
    return _session(settings.segmenter, settings.device, settings.cache_dir, settings.features)


def model_key(settings: BatchSettings) -> str:
    """Return name, weights digest and settings of the segmenter: what of it changes a result."""
    model = _session_of(settings).segmenter
    return f"{model.name} {model.digest} {settings_key(model)}"


def start_worker(threads: int) -> None:
    """Keep a worker process to its share of the cores and its parent's lifetime.

    Runs in it before any model is loaded.
    """
    for name in ("OMP", "MKL", "OPENBLAS", "NUMBA"):
        os.environ[f"{name}_NUM_THREADS"] = str(threads)
    import threadpoolctl

    threadpoolctl.threadpool_limits(threads)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """A parent that is killed cannot stop its workers, which would wait for work for ever."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        multiprocessing.connection.wait([parent.sentinel])
        os._exit(1)


def work(job: Job, settings: BatchSettings) -> tuple[dict[str, Any], bytes]:
    """Do one image; the caller alone writes files."""
    start = time.perf_counter()
    session = _session_of(settings)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        inputs, image = _read(job, settings)
        if settings.unit != "px" and image.calibration is None:
            raise ImageError(
                "the file has no scale; give pixel_size='0.31 um', or measure in unit='px'."
            )
        proposals = session.propose(image, progress=False)
        masks, audit = cascade(proposals, image, settings.filters)
        table = measure(masks, image.calibration, image=job.name, unit=settings.unit)
        classes = {}
        if settings.classes is not None:
            digest = classes_digest(settings.classes)
            told = session.classify(image, masks, _classifier(settings.classes, digest))
            _add_classes(table, told)
            about = told.attrs
            classes = {
                "classes": f"{Path(settings.classes).name} {digest[:16]}",
                "features": f"{about['features']} {about['digest']}",
            }
    session.cache_clear()
    removed = audit.loc[audit["verdict"] == "removed", "stage"].value_counts()
    record = {
        "inputs": inputs.digest,
        "n": len(table),
        "proposed": len(proposals),
        "removed": {str(stage): int(count) for stage, count in removed.items()},
        "height_px": image.shape[0],
        "width_px": image.shape[1],
        "scale": "none" if image.calibration is None else str(image.calibration),
        "image_digest": image.digest,
        "masks_digest": masks.digest,
        "estimator": ESTIMATOR,
        "filters": dataclasses.asdict(settings.filters),
        "segmenter": session.segmenter.name,
        "weights": session.segmenter.digest,
        **classes,
        "seconds": round(time.perf_counter() - start, 3),
        "notes": "; ".join(dict.fromkeys(str(warning.message) for warning in caught)),
    }
    sink = pa.BufferOutputStream()
    pq.write_table(pa.Table.from_pandas(table, preserve_index=False), sink)
    return record, sink.getvalue().to_pybytes()


def _read(job: Job, settings: BatchSettings) -> tuple[Inputs, Image]:
    """The image and what it was read from: the same before and after, or else it is read again."""
    inputs = Inputs.of(_regular(job.path))
    for _ in range(_ATTEMPTS):
        image = read_image(job.path, job.pixel_size, crop_bar=settings.crop_bar)
        before, inputs = inputs, Inputs.of(_regular(job.path))
        if inputs == before:
            return inputs, image
    raise ImageError(
        f"{job.path.name} or its sidecar changed while it was read; run the batch again when "
        "nobody writes to it."
    )


def _regular(path: Path) -> Path:
    """The path of a file; `read_image` says what else it is, and does not wait for a pipe."""
    return path if path.is_file() else checked_path(path)
