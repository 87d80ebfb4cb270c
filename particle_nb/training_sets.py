"""Sets of synthetic micrographs with everything known, to train on: `training_set`."""

from __future__ import annotations

import concurrent.futures as futures
import dataclasses
import hashlib
import io
import json
import multiprocessing
import os
from collections.abc import Callable
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import tifffile
from PIL import Image as Picture

from particle_nb.core.errors import DataError, check_number
from particle_nb.core.exports import write_csv, write_parquet
from particle_nb.core.exports.coco import annotation
from particle_nb.core.files import atomic, parse_json, read_regular
from particle_nb.core.masks import MaskSet
from particle_nb.core.synthetic import (
    MATERIALS,
    CompositeSettings,
    Inclusion,
    SceneSettings,
    composite,
    random_settings,
    scene,
)
from particle_nb.progress import progress_bar

#: Numbers of the phases in every set: what lies under particles, pores, then the materials.
PHASES = ("substrate", "pores", *MATERIALS)

#: Raised when the same seed would give other pictures or other files.
FORMAT = 1

#: Class of the particles of a composite, which are cut and not seen whole.
SECTION = "section"

_LARGEST_PART = 2**30
_PARTS = "parts"


@dataclass(frozen=True)
class TrainingSetSettings:
    """What a training set is made of.

    Parameters
    ----------
    shape : (H, W)
        Pixels of every image, 64 to 4096 each; settings given in `kinds` bring their own.
    kinds : tuple of SceneSettings, CompositeSettings
        Scenes and composites that are made in turn; empty for random ones.
    composites : float
        Of random ones, the share of polished sections through composites, seen in SE and BSE; the
        others are powders and films on a substrate, seen by one detector.
    seed : int
        The same seed gives the same files, image by image, however many workers make them.

    Raises
    ------
    DataError
        If a value is unknown or out of range.

    Examples
    --------
    >>> TrainingSetSettings(shape=(256, 256)).composites
    0.25
    """

    shape: tuple[int, int] = (512, 512)
    kinds: tuple[SceneSettings | CompositeSettings, ...] = ()
    composites: float = 0.25
    seed: int = 0

    def __post_init__(self) -> None:
        if not isinstance(self.shape, (tuple, list)) or len(self.shape) != 2:
            raise DataError(f"TrainingSetSettings.shape must be (H, W), not {self.shape!r}.")
        for edge in self.shape:
            check_number("TrainingSetSettings.shape", edge, 64, 4096)
            if int(edge) != edge:
                raise DataError(f"TrainingSetSettings.shape is whole pixels, not {self.shape!r}.")
        object.__setattr__(self, "shape", (int(self.shape[0]), int(self.shape[1])))
        known = (SceneSettings, CompositeSettings)
        if not isinstance(self.kinds, (tuple, list)) or not all(
            isinstance(kind, known) for kind in self.kinds
        ):
            raise DataError(
                "TrainingSetSettings.kinds is a tuple of SceneSettings and CompositeSettings."
            )
        object.__setattr__(self, "kinds", tuple(self.kinds))
        check_number("TrainingSetSettings.composites", self.composites, 0, 1)
        check_number("TrainingSetSettings.seed", self.seed, 0, 2**63)
        if not isinstance(self.seed, (int, np.integer)):
            raise DataError(f"TrainingSetSettings.seed is a whole number, not {self.seed!r}.")

    @property
    def digest(self) -> str:
        """What tells this set from others, 16 hex digits."""
        text = repr((FORMAT, self.shape, self.kinds, float(self.composites), int(self.seed)))
        return hashlib.sha256(text.encode()).hexdigest()[:16]


@dataclass(frozen=True, eq=False)
class Example:
    """One synthetic micrograph and all that is known of it.

    Parameters
    ----------
    detectors : dict {name: uint8 (H, W)}
    masks : MaskSet
        Visible parts, with their class.
    height : float32 (H, W)
        nm.
    phases : uint8 (H, W)
        Numbers of `PHASES`.
    table : DataFrame
        One row a mask: ``label``, ``class``, ``material`` and what else is known.
    pixel_nm : float
    kind : str
        ``"scene"`` or ``"composite"``.
    """

    detectors: dict[str, np.ndarray]
    masks: MaskSet
    height: np.ndarray
    phases: np.ndarray
    table: pd.DataFrame
    pixel_nm: float
    kind: str


def training_set(
    settings: TrainingSetSettings | SceneSettings | CompositeSettings | None,
    count: int,
    out: str | os.PathLike[str],
    *,
    workers: int = 1,
    progress: bool = True,
) -> pd.DataFrame:
    """Write synthetic micrographs with instances, heights, classes and phases into a folder.

    ``images/00001_SE.png`` (one a detector), ``labels/00001.tif`` (instances, uint16),
    ``heights/00001.tif`` (float32, nm), ``phases/00001.tif`` (uint8, numbers in ``set.json``),
    ``annotations.json`` (COCO, masks as compressed run-length codes), ``particles.csv`` and
    ``particles.parquet`` (one row an instance), ``README.md`` (what is in it). Every file is
    written whole or not at all; a stopped run goes on where it was, and a set grows when called
    with a larger count.

    Parameters
    ----------
    settings : TrainingSetSettings, SceneSettings, CompositeSettings or None
        None for random ones.
    count : int
        Images in all.
    out : path
        A folder that is new, empty, or holds the same set.
    workers : int
        Processes. With more than one a script needs ``if __name__ == "__main__":``.
    progress : bool

    Returns
    -------
    DataFrame
        The table of the instances: ``image``, ``kind``, ``label``, ``class``, ``material``,
        ``pixel_nm``, ``area_px2``, ``x_A_px``, ``covered`` (hidden share; of a section NaN),
        ``size_nm``.

    Raises
    ------
    DataError
        If a value is out of range, or the folder holds something else, another set or a larger
        one.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     small = TrainingSetSettings(shape=(64, 64), seed=1)
    ...     table = training_set(small, 1, folder, progress=False)
    ...     sorted(p.name for p in Path(folder).iterdir())[:3]
    ['README.md', 'annotations.json', 'heights']
    """
    plan = _checked_settings(settings)
    check_number("count", count, 1, 99_999)
    check_number("workers", workers, 1, 256)
    for name, value in (("count", count), ("workers", workers)):
        if not isinstance(value, (int, np.integer)):
            raise DataError(f"{name} is a whole number, not {value!r}.")
    if not isinstance(progress, bool):
        raise DataError(f"progress is True or False, not {progress!r}.")
    folder = _open_folder(out, plan, int(count))
    left = [number for number in range(1, int(count) + 1) if _part(folder, number) is None]
    with progress_bar("micrographs", int(count), show=progress) as bar:
        bar.update(int(count) - len(left))
        _make(plan, left, folder, int(workers), bar.update)
    return _join(folder, plan, int(count))


def _checked_settings(settings: Any) -> TrainingSetSettings:
    if settings is None:
        return TrainingSetSettings()
    if isinstance(settings, (SceneSettings, CompositeSettings)):
        return TrainingSetSettings(kinds=(settings,))
    if not isinstance(settings, TrainingSetSettings):
        raise DataError(
            "settings are TrainingSetSettings, SceneSettings or CompositeSettings, not "
            f"{type(settings).__name__}."
        )
    return settings


# -------------------------------------------------------------------------------- one example


def example(settings: TrainingSetSettings, number: int) -> Example:
    """Make the micrograph of that number, from 1; it does not depend on the others.

    Examples
    --------
    >>> made = example(TrainingSetSettings(shape=(64, 64), composites=1), 1)
    >>> made.kind, list(made.detectors), made.phases.shape
    ('composite', ['SE', 'BSE'], (64, 64))
    """
    rng = np.random.default_rng([int(settings.seed), number])
    if settings.kinds:
        kind = settings.kinds[(number - 1) % len(settings.kinds)]
    elif rng.random() < settings.composites:
        kind = random_composite(rng, settings.shape)
    else:
        kind = random_settings(rng, settings.shape)
    return _composite(kind, rng) if isinstance(kind, CompositeSettings) else _scene(kind, rng)


def random_composite(rng: np.random.Generator, shape: tuple[int, int]) -> CompositeSettings:
    """Return a composite drawn widely: materials, sizes, fractions, porosity, noise, contrast.

    Parameters
    ----------
    rng : numpy Generator
    shape : (H, W)
        Pixels.

    Examples
    --------
    >>> len(random_composite(np.random.default_rng(0), (256, 256)).detectors)
    2
    """
    matrix, *others = (str(m) for m in rng.permutation(list(MATERIALS)))
    if rng.random() < 0.5:
        matrix = str(rng.choice(["polymer", "carbon"]))
    kinds = int(rng.integers(1, 4))
    names = [name for name in others if name != matrix][:kinds]
    room = 0.55 * rng.random() + 0.05
    shares = rng.dirichlet(np.full(kinds, 2.0)) * room
    largest = 0.3 * min(shape)
    inclusions = tuple(
        Inclusion(
            name,
            float(share),
            float(np.exp(rng.uniform(np.log(6), np.log(largest)))),
            float(rng.uniform(1.05, 1.8)),
            float(rng.uniform(0, 0.25)),
            float(rng.uniform(0, 0.06)),
        )
        for name, share in zip(names, shares, strict=True)
    )
    base = CompositeSettings()
    exposures = tuple(
        dataclasses.replace(
            base.exposures[0],
            dose=float(np.exp(rng.uniform(np.log(25), np.log(600)))),
            defocus=float(rng.uniform(0.3, 1.8)),
        )
        for _ in base.detectors
    )
    return CompositeSettings(
        shape=shape,
        pixel_nm=float(np.exp(rng.uniform(np.log(1), np.log(400)))),
        matrix=matrix,
        inclusions=inclusions,
        porosity=float(rng.uniform(0, 0.4)) if rng.random() < 0.8 else 0.0,
        pore_px=float(np.exp(rng.uniform(np.log(2), np.log(20)))),
        debonding=float(rng.uniform(0, 1.5)),
        roughness=float(rng.uniform(0.02, 0.6)),
        exposures=exposures,
    )


def _scene(settings: SceneSettings, rng: np.random.Generator) -> Example:
    made = scene(settings, rng)
    table = made.truth.iloc[: len(made.masks)].reset_index(drop=True)
    numbers = np.array([0, *(PHASES.index(str(m)) for m in table["material"])], np.uint8)
    labels = made.labels()
    # a banner below the picture is part of the image but not of the specimen
    height = np.zeros(made.image.shape, np.float32)
    height[: made.height.shape[0]] = made.height
    return Example(
        made.detectors,
        made.masks,
        height,
        numbers[labels],
        table[["label", "class", "material", "size_nm", "covered"]],
        settings.pixel_nm,
        "scene",
    )


def _composite(settings: CompositeSettings, rng: np.random.Generator) -> Example:
    made = composite(settings, rng)
    names = np.array([PHASES.index(name) for name in made.phases], np.uint8)
    inside = made.particles > 0
    numbers = np.unique(made.particles[inside])
    plain = MaskSet.from_labels(made.particles)
    masks = MaskSet(tuple(mask.replace(label=SECTION) for mask in plain), plain.shape)
    first = np.zeros(int(numbers.max(initial=0)) + 1, np.int64)
    flat = made.particles.reshape(-1)
    first[flat[::-1]] = np.arange(flat.size)[::-1]
    materials = [made.phases[k] for k in made.labels.reshape(-1)[first[numbers]]]
    table = pd.DataFrame(
        {
            "label": np.arange(1, len(masks) + 1),
            "class": SECTION,
            "material": materials,
            "size_nm": np.sqrt(4 * np.array(masks.areas, float) / np.pi) * settings.pixel_nm,
            "covered": np.nan,
        }
    )
    pixels = made.image.pixels
    planes = pixels[..., None] if pixels.ndim == 2 else pixels
    detectors: dict[str, np.ndarray] = {}
    for place, detector in enumerate(settings.detectors):
        name = detector.kind if detector.kind not in detectors else f"{detector.kind} {place + 1}"
        detectors[name] = np.ascontiguousarray(planes[..., place])
    return Example(
        detectors,
        masks,
        (made.height * settings.pixel_nm).astype(np.float32),
        names[made.labels],
        table,
        settings.pixel_nm,
        "composite",
    )


# ------------------------------------------------------------------------------------- files


def _open_folder(out: Any, settings: TrainingSetSettings, count: int) -> Path:
    """Return the folder with its subfolders, or refuse one that holds something else."""
    if not isinstance(out, (str, os.PathLike)) or isinstance(os.fspath(out), bytes):
        raise DataError(f"out is the path of a folder, not {type(out).__name__}.")
    if not os.fspath(out):
        raise DataError("out is the path of a folder, not an empty text.")
    folder = Path(out)
    about = folder / "set.json"
    try:
        if about.is_file():
            known = parse_json(read_regular(about, _LARGEST_PART)[0], about.name)
            if not isinstance(known, dict) or known.get("digest") != settings.digest:
                raise DataError(
                    f"{folder} holds another training set (other settings or seed); sets are not "
                    "mixed: take a new folder."
                )
            if int(known.get("count", 0)) > count:
                raise DataError(
                    f"{folder} holds {known['count']} images of this set; ask for as many or more."
                )
        elif folder.is_dir() and any(folder.iterdir()):
            raise DataError(f"{folder} is not empty and holds no training set; take a new folder.")
        for name in ("images", "labels", "heights", "phases", _PARTS):
            (folder / name).mkdir(parents=True, exist_ok=True)
    except (OSError, ValueError) as error:
        if isinstance(error, DataError):
            raise
        raise DataError(f"the folder {str(folder)[:200]!r} cannot be made: {error}.") from None
    _write_json(about, _about(settings, count))
    return folder


def _about(settings: TrainingSetSettings, count: int) -> dict[str, Any]:
    return {
        "particle_nb": "training set",
        "format": FORMAT,
        "digest": settings.digest,
        "count": count,
        "seed": int(settings.seed),
        "settings": repr(settings),
        "phases": dict(enumerate(PHASES)),
    }


def _write_json(path: Path, value: Any) -> None:
    with atomic(path) as stream:
        stream.write(json.dumps(value, allow_nan=False).encode("utf-8"))


def _part(folder: Path, number: int) -> dict[str, Any] | None:
    """What is known of a finished image; None where it is not there or its files are not."""
    path = folder / _PARTS / f"{number:05d}.json"
    try:
        found = parse_json(read_regular(path, _LARGEST_PART)[0], path.name)
        if not isinstance(found, dict) or "files" not in found:
            return None
        for name, size in found["files"].items():
            if (folder / name).stat().st_size != size:
                return None
    except (DataError, OSError, AttributeError, TypeError):
        return None
    return found


def _make(
    settings: TrainingSetSettings,
    numbers: list[int],
    folder: Path,
    workers: int,
    step: Callable[[], Any],
) -> None:
    if workers == 1 or len(numbers) < 2:
        for number in numbers:
            write_example(settings, number, folder)
            step()
        return
    context = multiprocessing.get_context("spawn")
    try:
        with futures.ProcessPoolExecutor(workers, context) as pool:
            tasks = [pool.submit(write_example, settings, number, folder) for number in numbers]
            try:
                for task in futures.as_completed(tasks):
                    task.result()
                    step()
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                raise
    except BrokenProcessPool:
        raise DataError(
            "the worker processes do not start or died. A script must guard its call of "
            'training_set with if __name__ == "__main__":; or there is too little memory for so '
            "many workers. What is done stays: call again."
        ) from None


def write_example(settings: TrainingSetSettings, number: int, folder: Path) -> None:
    """Write the files of one image, and last of all its part, which makes it count."""
    made = example(settings, number)
    stem = f"{number:05d}"
    files: list[str] = []

    def put(name: str, data: bytes) -> None:
        with atomic(folder / name) as stream:
            stream.write(data)
        files.append(name)

    images = {}
    for detector, pixels in made.detectors.items():
        images[detector] = f"images/{stem}_{detector.replace(' ', '-')}.png"
        buffer = io.BytesIO()
        Picture.fromarray(pixels).save(buffer, "PNG", compress_level=1)
        put(images[detector], buffer.getvalue())
    labels = made.masks.to_labels()
    put(f"labels/{stem}.tif", _tiff(labels.astype(np.uint16)))
    put(f"heights/{stem}.tif", _tiff(made.height))
    put(f"phases/{stem}.tif", _tiff(made.phases))
    height, width = labels.shape
    entry = {
        "id": number,
        "file_name": next(iter(images.values())),
        "detectors": images,
        "width": width,
        "height": height,
        "pixel_size": made.pixel_nm,
        "pixel_unit": "nm",
        "pixel_size_source": "synthetic",
        "kind": made.kind,
    }
    part = {
        "image": entry,
        "annotations": [annotation(mask, i, 0) for i, mask in enumerate(made.masks, 1)],
        "rows": json.loads(_rows(made, number).to_json(orient="split", double_precision=15)),
        "files": {name: (folder / name).stat().st_size for name in files},
    }
    _write_json(folder / _PARTS / f"{stem}.json", part)


def _tiff(values: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, values, compression="zlib", compressionargs={"level": 1})
    return buffer.getvalue()


def _rows(made: Example, number: int) -> pd.DataFrame:
    areas = np.array(made.masks.areas, float)
    return made.table.assign(
        image=number,
        kind=made.kind,
        pixel_nm=made.pixel_nm,
        area_px2=areas,
        x_A_px=np.sqrt(4 * areas / np.pi),
    )[
        [
            "image",
            "kind",
            "label",
            "class",
            "material",
            "pixel_nm",
            "area_px2",
            "x_A_px",
            "covered",
            "size_nm",
        ]
    ]


def _join(folder: Path, settings: TrainingSetSettings, count: int) -> pd.DataFrame:
    """Write COCO, table and card over all parts, and return the table."""
    images, annotations, tables = [], [], []
    for number in range(1, count + 1):
        part = _part(folder, number)
        if part is None:
            raise DataError(f"image {number} of {folder} is missing or damaged; call again.")
        images.append(part["image"])
        rows = part["rows"]
        tables.append(pd.DataFrame(rows["data"], columns=rows["columns"]))
        annotations += [one | {"image_id": number} for one in part["annotations"]]
    filled = [one for one in tables if len(one)] or tables[:1]
    table = pd.concat(filled, ignore_index=True).astype({"covered": float, "size_nm": float})
    classes = sorted({str(one["label"]) for one in annotations} | {SECTION})
    numbered = {name: place for place, name in enumerate(classes, 1)}
    for place, one in enumerate(annotations, 1):
        one["id"], one["category_id"] = place, numbered[str(one["label"])]
    document = {
        "info": {"description": "synthetic micrographs made by particle_nb", "version": "1"},
        "images": images,
        "categories": [{"id": place, "name": name} for name, place in numbered.items()],
        "annotations": annotations,
    }
    _write_json(folder / "annotations.json", document)
    write_csv(table, folder / "particles.csv")
    write_parquet(table, folder / "particles.parquet")
    with atomic(folder / "README.md") as stream:
        stream.write(_card(images, table, settings).encode("utf-8"))
    return table


def _card(images: list[dict[str, Any]], table: pd.DataFrame, settings: TrainingSetSettings) -> str:
    kinds = pd.Series([one["kind"] for one in images]).value_counts()
    seen = pd.Series([name for one in images for name in one["detectors"]]).value_counts()
    lines = [
        "# Synthetic micrographs",
        "",
        f"{len(images)} images, {len(table)} particles, rendered by particle_nb; nothing of it was",
        "photographed. Heights, masks, classes and phases are what the renderer drew.",
        "",
        f"- kinds: {_listed(kinds)}",
        f"- detectors: {_listed(seen)}",
        f"- classes: {_listed(table['class'].value_counts())}",
        f"- materials: {_listed(table['material'].value_counts())}",
    ]
    if len(table):
        low, middle, high = table["x_A_px"].quantile([0.05, 0.5, 0.95])
        lines.append(
            f"- visible size (equivalent circle) in px, 5, 50, 95 %: {low:.1f}, {middle:.1f}, "
            f"{high:.1f}"
        )
        whole = table["covered"].dropna()
        if len(whole):
            lines.append(f"- more than half hidden: {(whole > 0.5).mean():.1%} of the particles")
    lines += [
        "",
        f"Seed {settings.seed}, digest {settings.digest}, format {FORMAT}:",
        "the same seed, settings and version of particle_nb give the same files.",
        "",
        "Phases (`phases/*.tif`): " + ", ".join(f"{k} {name}" for k, name in enumerate(PHASES)),
        "",
        "Of composites, heights are of the polished surface and instances are sections of",
        "particles; their class is `section`. What a network learns here must be checked on real",
        "images before its numbers are believed.",
        "",
    ]
    return "\n".join(lines)


def _listed(counts: pd.Series) -> str:
    return ", ".join(f"{name} {n}" for name, n in counts.items()) or "none"
