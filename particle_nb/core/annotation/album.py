"""Many images and how far each has been worked on; what the gallery shows."""

from __future__ import annotations

import json
import os
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from particle_nb.core.annotation.annotation import Annotation
from particle_nb.core.errors import DataError, ParticleError
from particle_nb.core.files import Stamp, atomic, parse_json, read_regular
from particle_nb.core.image import Calibration, Image, read_image
from particle_nb.core.sizes import SizeDistribution

#: How far an image has been worked on: not at all; masks proposed; changed by a person; more than a
#: tenth of its particles doubtful to the model and accepted by nobody; not readable.
STATES = ("new", "proposed", "corrected", "doubtful", "failed")

_SUFFIXES = (".tif", ".tiff", ".btf", ".png", ".jpg", ".jpeg", ".bmp")

_LARGEST = 2**26

_UNSURE, _MANY_UNSURE = 0.5, 0.1


@dataclass
class Page:
    """One image of an album.

    Parameters
    ----------
    name : str
        As it stands in tables; unique.
    path : Path
    state : str
        One of `STATES`.
    unit : str
        Of `sizes`.
    sizes, weights : list of float
        x_A of the kept particles, and what each counts (0 where the frame cuts it).
    message : str
        Why it failed.
    doubtful : int
        Particles that the model doubts and nobody accepted.
    touched : bool
        Whether a person changed anything.
    proposer : str
        Digest of the model whose proposals these are, as far as it is known.
    """

    name: str
    path: Path
    state: str = "new"
    unit: str = ""
    sizes: list[float] = field(default_factory=list)
    weights: list[float] = field(default_factory=list)
    message: str = ""
    doubtful: int = 0
    touched: bool = False
    proposer: str = ""

    def distribution(self, r: int = 3) -> SizeDistribution | None:
        """Return its size distribution, None where no whole particle counts."""
        if not any(self.weights):
            return None
        x, weights = np.array(self.sizes), np.array(self.weights)
        return SizeDistribution(x, weights, r, self.unit, "x_A")


class Album:
    """The images of a folder, their annotations in another, and one summary for all.

    An image is read when it is opened, and its annotation is one ``.pnb`` file; beside it lies what
    the summary needs of it, so that the album of 300 images opens without reading any.

    Parameters
    ----------
    images : folder, or sequence of paths
    out : path or None
        Folder of the annotations; None is ``annotations`` in the folder of the images.
    pixel_size : str, (float, str), Calibration or None
        Of all images; None takes what each file says.

    Raises
    ------
    DataError
        If there is no image, or the folder cannot be made.
    CalibrationError
        If `pixel_size` cannot be read.
    """

    def __init__(
        self,
        images: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
        out: str | os.PathLike[str] | None = None,
        pixel_size: Any = None,
    ) -> None:
        paths, root = _paths(images)
        self.out = Path(out) if out is not None else root / "annotations"
        self.pixel_size = pixel_size
        if pixel_size is not None and not isinstance(pixel_size, Calibration):
            Calibration.parse(pixel_size)
        try:
            self.out.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise DataError(f"the folder {str(self.out)!r} cannot be made: {error}.") from None
        inside = self.out.absolute()
        paths = [path for path in paths if inside not in path.absolute().parents]
        if not paths:
            raise DataError(
                f"no image in {str(images)!r}; give a folder of {', '.join(_SUFFIXES)}."
            )
        self.pages = [Page(_name(path, root), path) for path in paths]
        for page in self.pages:
            self._recall(page)

    def __len__(self) -> int:
        return len(self.pages)

    def __getitem__(self, name: str | int) -> Page:
        """Return a page by its name or its number.

        Raises
        ------
        DataError
            If there is none.
        """
        if isinstance(name, int) and 0 <= name < len(self.pages):
            return self.pages[name]
        for page in self.pages:
            if page.name == name:
                return page
        raise DataError(f"there is no image {name!r} among the {len(self.pages)} of the album.")

    def file(self, page: Page) -> Path:
        """Return where the annotation of a page is saved."""
        return self.out / f"{page.name.replace('/', '__')}.pnb"

    def read(self, page: Page) -> Image:
        """Read the picture of a page.

        Raises
        ------
        ImageError, CalibrationError
            As `read_image`.
        """
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of the scale: the image's own notes say so
            return read_image(page.path, self.pixel_size)

    def note(self, page: Page, annotation: Annotation) -> bool:
        """Take over what an annotation says, and keep it beside the file; True where it is news."""
        table = annotation.table
        column = next((str(c) for c in table if str(c).startswith("x_A_")), "")
        before = (page.state, page.sizes, page.weights)
        page.unit = column.rpartition("_")[2]
        page.sizes = [float(x) for x in table[column]] if column else []
        page.weights = [float(w) for w in table["edge_weight"]] if len(table) else []
        page.state, page.message = state_of(annotation), ""
        page.doubtful, page.touched = len(_unsure(annotation)), bool(_done(annotation) - {"load"})
        if not self.file(page).exists():
            return before != (page.state, page.sizes, page.weights)
        stamp = list(_stamp(self.file(page)))
        record = {**asdict(page), "path": "", "stamp": stamp}
        with atomic(self._record(page)) as stream:
            stream.write(json.dumps(record).encode())
        return before != (page.state, page.sizes, page.weights)

    def fail(self, page: Page, error: ParticleError) -> None:
        """Say of a page that it cannot be read."""
        page.state, page.message = "failed", str(error)

    def distribution(self, r: int = 3) -> SizeDistribution | None:
        """Return the sizes of all images pooled, each particle knowing its image.

        Particles that the frame cuts drop out (Miles-Lantuejoul weights). Where some images have a
        scale and others none, only those with one count. None where no whole particle is there.
        """
        counted = [page for page in self.pages if any(page.weights)]
        units = [page.unit for page in counted if page.unit != "px"]
        if units:
            counted = [page for page in counted if page.unit != "px"]
        if not counted:
            return None
        unit = max(set(units), key=units.count) if units else "px"
        parts = []
        for k, page in enumerate(counted):
            found = SizeDistribution(np.array(page.sizes), np.array(page.weights), r, page.unit)
            found = found if page.unit == unit else found.to(unit)
            parts.append((found.x, found.weights, np.full(found.n, k)))
        x, weights, images = (np.concatenate(part) for part in zip(*parts, strict=True))
        return SizeDistribution(x, weights, r, unit, "x_A", images=images)

    def particles(self) -> pd.DataFrame:
        """Return the tables of all annotated images as one, with the column ``image``.

        Every image is read once more, one after the other.

        Raises
        ------
        DataError
            If nothing has been annotated.
        """
        tables = [table for table in self._tables() if len(table)]
        if not tables:
            raise DataError("no image of the album has particles yet; open one.")
        return pd.concat(tables, ignore_index=True)

    def annotation(self, page: Page) -> Annotation:
        """Read the picture and the annotation of a page.

        Raises
        ------
        ImageError, CalibrationError, DataError
            If one of them cannot be read.
        """
        return Annotation(None, self.read(page), autosave=self.file(page))

    def _tables(self) -> Iterator[pd.DataFrame]:
        for page in self.pages:
            if page.state in ("new", "failed") or not self.file(page).exists():
                continue
            table = self.annotation(page).table
            table.insert(0, "image", page.name)
            yield table

    def _record(self, page: Page) -> Path:
        return self.file(page).with_suffix(".json")

    def _recall(self, page: Page) -> None:
        """What was noted of a page, if its annotation is still that one."""
        if not self.file(page).exists():
            return
        page.state = "proposed"  # there is an annotation; opening it tells more
        try:
            data, _ = read_regular(self._record(page), _LARGEST)
            record = parse_json(data, self._record(page).name)
            if record["stamp"] != list(_stamp(self.file(page))) or record["state"] not in STATES:
                return
            sizes, weights = ([float(v) for v in record[key]] for key in ("sizes", "weights"))
            if len(sizes) != len(weights):
                return
            page.sizes, page.weights = sizes, weights
            page.state, page.unit = record["state"], str(record["unit"])
            page.doubtful = int(record.get("doubtful", 0))
            # of a note without this nothing is known: better to take it for touched
            page.touched = bool(record.get("touched", True))
            page.proposer = str(record.get("proposer", ""))
        except (DataError, KeyError, TypeError, ValueError):
            return  # a damaged note is as good as none


def state_of(annotation: Annotation) -> str:
    """Return which of `STATES` an annotation is in.

    Examples
    --------
    >>> state_of(Annotation(None, Image(np.zeros((8, 8), np.uint8)), autosave=False))
    'new'
    """
    done = _done(annotation)
    if not done:
        return "new"
    kept = [p for p in annotation.state.particles.values() if p.kept]
    if len(_unsure(annotation)) > _MANY_UNSURE * len(kept):
        return "doubtful"
    return "proposed" if done <= {"load"} else "corrected"


def _done(annotation: Annotation) -> set[str]:
    """Kinds of actions that were done and not taken back."""
    history = annotation.history
    return {str(step.record.get("action")) for step in history.steps[: history.position]}


def _unsure(annotation: Annotation) -> list[Any]:
    """Kept particles that the model doubts and nobody accepted."""
    kept = [p for p in annotation.state.particles.values() if p.kept]
    return [p for p in kept if p.review != "accepted" and p.doubt > _UNSURE]


def _stamp(path: Path) -> tuple[int, int]:
    found = Stamp.of(os.stat(path))
    return found.size, found.written


def _paths(images: Any) -> tuple[list[Path], Path]:
    if isinstance(images, (str, os.PathLike)):
        root = Path(images)
        if not root.is_dir():
            raise DataError(f"there is no folder {str(root)!r}; give one, or a list of paths.")
        files = sorted(root.rglob("*"))
        names = [p for p in files if p.suffix.lower() in _SUFFIXES and not p.name.startswith(".")]
        return [p for p in names if p.is_file()], root
    try:
        paths = [Path(path) for path in images]
    except TypeError:
        raise DataError(
            f"images are a folder or paths, not {type(images).__name__}; save arrays to files."
        ) from None
    if not paths:
        raise DataError("no image is given; give a folder or paths.")
    root = Path(os.path.commonpath([path.absolute().parent for path in paths]))
    return [path.absolute() for path in paths], root


def _name(path: Path, root: Path) -> str:
    name = path.absolute().relative_to(root.absolute()).as_posix()
    return name.encode("utf-8", "backslashreplace").decode("utf-8")
