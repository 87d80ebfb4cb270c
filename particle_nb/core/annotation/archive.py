"""Annotations on disk: the ``.pnb`` file, one zip of manifest, log, history and COCO masks.

Members (all UTF-8 JSON but the picture, nothing is ever unpickled or extracted):

- ``manifest.json``: format, version, image, model, SHA-256 and size of every other member;
- ``log.jsonl``: the prompt log, also of the steps that were undone;
- ``history.json``: what each step changed, so that undo works after reopening;
- ``masks.json``: the committed masks in COCO's format, for other programs;
- ``image.npy``: the pixels, where they were asked for.
"""

from __future__ import annotations

import hashlib
import io
import json
import math
import os
import struct
import tokenize
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from particle_nb.core.annotation._json import (
    draft_json,
    draft_of,
    mask_json,
    mask_of,
    particle_json,
    particle_of,
)
from particle_nb.core.annotation.history import History, State, Step
from particle_nb.core.annotation.premises import DECISIVE, Premises
from particle_nb.core.errors import DataError, ParticleError
from particle_nb.core.files import Allowance, atomic, parse_json, read_regular, sweep
from particle_nb.core.image import Calibration, Image, RegionOfInterest
from particle_nb.core.image.region import read_parts
from particle_nb.core.masks import Mask, rle

FORMAT = "particle_nb.annotation"

#: The newest that is read. Files whose log holds what older packages would pass over have it, and
#: all others 1.
VERSION = 2

_LIMITS = {
    "manifest.json": 2**20,
    "log.jsonl": 2**28,
    "history.json": 2**29,
    "masks.json": 2**29,
    "image.npy": 2**32,
}

_MOST_PIXELS = 2**30

_LARGEST_FILE = 2**33

# what the members may unfold to in all, beside so many times the size of the file
_UNFOLDED, _RATIO = 2**28, 26

_MOST_FRAMES = 16  # masks that overlap so often make no sense

_CHUNK = 2**20

_NEEDED = ("manifest.json", "log.jsonl", "history.json", "masks.json")


class DamagedArchiveError(DataError):
    """A file that `ArchiveWriter` wrote, with something in it that is wrong since."""


@dataclass(frozen=True, eq=False)
class Archive:
    """What a ``.pnb`` file holds.

    Parameters
    ----------
    history : History
    manifest : dict
        As written: ``image``, ``model``, ``facts``.
    image : Image or None
        Only where the pixels were saved too.
    """

    history: History
    manifest: dict[str, Any]
    image: Image | None = None

    @property
    def original(self) -> Image | None:
        """The image as it was before a scale or a region was drawn on it; None without pixels."""
        about = self.manifest.get("image")
        if self.image is None or not isinstance(about, Mapping):
            return self.image
        changes: dict[str, Any] = {}
        if "own_calibration" in about:
            changes["calibration"] = _scale(about["own_calibration"])
        if "own_region" in about:
            changes["region"] = _region(about["own_region"], self.image.shape)
        return self.image.replace(**changes)


@dataclass(eq=False)
class ArchiveWriter:
    """Writes one annotation again and again; what did not change is not encoded again.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = ArchiveWriter().write(Path(folder) / "a.pnb", History((8, 8)), {})
    ...     read_archive(path).history.shape
    (8, 8)
    """

    _codes: dict[Mask, str] = field(default_factory=dict, repr=False)
    _coco: dict[Mask, str] = field(default_factory=dict, repr=False)
    _records: dict[Step, str] = field(default_factory=dict, repr=False)
    #: SHA-256 of what was written last, known before it takes the place of the older file.
    written: str = field(default="", repr=False)

    def write(
        self,
        path: str | os.PathLike[str],
        history: History,
        facts: Mapping[str, Any],
        image: Image | None = None,
    ) -> Path:
        """Write the annotation atomically: the old file stays whole until the new one is on disk.

        Parameters
        ----------
        path : path
        history : History
        facts : mapping
            Goes into the manifest: ``image`` (digest, name), ``model`` (name, digest), ...
        image : Image or None
            Its pixels are stored too.

        Raises
        ------
        DataError
            If the file cannot be written.
        """
        path = Path(path)
        members = self._members(history, facts)
        if image is not None:
            members["image.npy"] = _image_bytes(image)
        manifest = {
            "format": FORMAT,
            "version": VERSION if any(s.record["action"] in DECISIVE for s in history.steps) else 1,
            "shape": list(history.shape),
            "position": history.position,
            "steps": len(history.steps),
            "particles": len(history.state.particles),
            **facts,
            "members": {
                name: {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
                for name, data in members.items()
            },
        }
        file = io.BytesIO()
        with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
            # a fixed date makes equal annotations equal files
            for name, data in {"manifest.json": _bytes(manifest), **members}.items():
                info = zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0))
                # the manifest stays legible, so that half a file can be told from a foreign one
                stored = name == "manifest.json"
                info.compress_type = zipfile.ZIP_STORED if stored else zipfile.ZIP_DEFLATED
                archive.writestr(info, data)
        self.written = hashlib.sha256(file.getbuffer()).hexdigest()
        _replace(path, file.getvalue())
        return path

    def _members(self, history: History, facts: Mapping[str, Any]) -> dict[str, bytes]:
        numbers: dict[Mask, int] = {}

        def index(mask: Mask | None) -> int | None:
            return None if mask is None else numbers.setdefault(mask, len(numbers))

        log, steps = [], []
        for step in history.steps:
            if step not in self._records:
                self._records[step] = json.dumps(dict(step.record), allow_nan=False)
            log.append(self._records[step] + "\n")
            changes = {
                str(n): None if p is None else particle_json(p, index)
                for n, p in step.after.items()
            }
            steps.append({"after": changes, "draft": draft_json(step.draft, index)})
        for mask in numbers:
            if mask not in self._codes:
                self._codes[mask] = json.dumps(mask_json(mask), allow_nan=False)
        stored = ",".join(self._codes[mask] for mask in numbers)
        # what no step refers to any more was undone and overwritten
        self._codes = {mask: self._codes[mask] for mask in numbers}
        self._records = {step: self._records[step] for step in history.steps}
        return {
            "log.jsonl": "".join(log).encode(),
            "history.json": f'{{"steps":{json.dumps(steps)},"masks":[{stored}]}}'.encode(),
            "masks.json": self._coco_bytes(history.state, facts),
        }

    def _coco_bytes(self, state: State, facts: Mapping[str, Any]) -> bytes:
        height, width = state.shape
        kept = {n: p for n, p in state.particles.items() if p.kept}
        names = sorted({p.mask.label or "particle" for p in kept.values()})
        fresh = {}
        rows = []
        for number, particle in kept.items():
            mask = particle.mask
            if mask not in self._coco:
                self._coco[mask] = json.dumps(_coco_part(mask), allow_nan=False)[1:-1]
            fresh[mask] = self._coco[mask]
            category = names.index(mask.label or "particle") + 1
            rows.append(
                f'{{"id":{number},"image_id":1,"category_id":{category},"iscrowd":0,{fresh[mask]}}}'
            )
        self._coco = fresh
        about = facts.get("image")
        name = about.get("name", "") if isinstance(about, Mapping) else ""
        images = [{"id": 1, "file_name": name, "width": width, "height": height}]
        categories = [{"id": i, "name": label} for i, label in enumerate(names, start=1)]
        return (
            f'{{"images":{json.dumps(images)},"categories":{json.dumps(categories)},'
            f'"annotations":[{",".join(rows)}]}}'
        ).encode()


def _coco_part(mask: Mask) -> dict[str, Any]:
    r0, c0, r1, c1 = mask.bbox
    part: dict[str, Any] = {
        "segmentation": {
            "size": list(mask.shape),
            "counts": rle.compress(rle.counts_of(mask)),
        },
        "bbox": [c0, r0, c1 - c0, r1 - r0],
        "area": mask.area,
    }
    if math.isfinite(mask.predicted_iou):
        part["score"] = mask.predicted_iou
    if mask.confidence is not None:
        part["confidence"] = mask.confidence
    return part


def _image_bytes(image: Image) -> bytes:
    file = io.BytesIO()
    np.save(file, np.ascontiguousarray(image.pixels), allow_pickle=False)
    return file.getvalue()


def _bytes(value: Any) -> bytes:
    try:
        return json.dumps(value, allow_nan=False).encode()
    except (TypeError, ValueError) as error:
        raise DataError(f"the manifest takes JSON values only: {error}") from None


def _replace(path: Path, data: bytes) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic(path, durable=True) as stream:
            stream.write(data)
        # what killed kernels left half written
        sweep(path.parent, path.name)
    except (OSError, DataError) as error:
        raise DataError(f"cannot write {path}: {error}. Give another path to save to.") from None


# ---------------------------------------------------------------------------------------- reading


def read_archive(path: str | os.PathLike[str], *, frame: int = 0, trusted: bool = False) -> Archive:
    """Read a ``.pnb`` file; everything in it is checked before it is used.

    Parameters
    ----------
    path : path
    frame : int
        Pixels of the image that the file goes with, where it is at hand.
    trusted : bool
        Lifts the limits on what the file may unfold to, for one that you made yourself.

    Raises
    ------
    DataError
        If it is missing, cannot be read now, is from a newer version, not an annotation, or holds
        members that it should not (foreign names, paths, links, sizes beyond the limits).
    DamagedArchiveError
        If it is an annotation, but damaged.
    """
    if not isinstance(path, (str, os.PathLike)):
        raise DataError(f"a .pnb file is named by a path, not {type(path).__name__}.")
    path = Path(path)
    return parse_archive(read_regular(path, _LARGEST_FILE)[0], path, frame=frame, trusted=trusted)


def parse_archive(data: bytes, path: Path, *, frame: int = 0, trusted: bool = False) -> Archive:
    """Return what the bytes of a ``.pnb`` file hold.

    Parameters
    ----------
    data : bytes
    path : Path
        Named in errors.
    frame, trusted
        As in `read_archive`.

    Raises
    ------
    DataError
        As `read_archive`.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            members = _read_members(archive, path, None if trusted else len(data))
    except OSError as error:
        raise DataError(f"cannot read {path}: {error}; try again later.") from None
    except MemoryError:
        raise DataError(f"{path} does not fit into memory.") from None
    except (
        zipfile.BadZipFile,
        EOFError,
        NotImplementedError,
        zlib.error,
        struct.error,
        ValueError,
        IndexError,
        OverflowError,
        RuntimeError,
    ) as error:
        if isinstance(error, ParticleError):
            raise
        if is_ours(data):
            raise DamagedArchiveError(f"{path} is damaged: {error}") from None
        raise DataError(f"{path} is no .pnb file: {error}") from None
    manifest = _manifest(members, path)
    try:
        history = _history(members, manifest, path)
        image = _read_image(members, manifest) if "image.npy" in members else None
    except MemoryError:
        raise DataError(f"{path} does not fit into memory.") from None
    except ParticleError as error:
        text = str(error)
        text = text if text.startswith(str(path)) else f"{path} is damaged: {text}"
        raise DamagedArchiveError(text) from None
    except (
        KeyError,
        TypeError,
        ValueError,
        IndexError,
        AttributeError,
        OverflowError,
        RecursionError,
        EOFError,
        SyntaxError,
        tokenize.TokenError,
        struct.error,
    ) as error:
        raise DamagedArchiveError(f"{path} is damaged: {type(error).__name__} {error}") from None
    if not trusted:
        _check_room(history, Allowance(len(data)), frame, path)
    return Archive(history, manifest, image)


def _check_room(history: History, allowance: Allowance, frame: int, path: Path) -> None:
    """Refuse masks that would fill the memory as soon as somebody looks at them."""
    # the states of the past stay folded up; of an image that is there its own masks may be held
    allowance.pixels = max(allowance.pixels, _MOST_FRAMES * frame)
    try:
        for particle in history.state.particles.values():
            mask = particle.mask
            allowance.take_pixels(mask.unfolds_to if isinstance(mask, rle.CodedMask) else mask.area)
    except DataError as error:
        raise DataError(
            f"{path} is refused: {error} If you made it yourself, read_archive(path, trusted=True) "
            "reads it."
        ) from None


def is_ours(data: bytes) -> bool:
    """Whether a file begins as an `ArchiveWriter` begins it, however it goes on.

    Examples
    --------
    >>> is_ours(b"PK\x03\x04 some other zip"), is_ours(b"")
    (False, False)
    """
    name = b"manifest.json"
    if data[:4] != b"PK\x03\x04" or data[26:28] != b"\r\x00" or data[30:43] != name:
        return False
    (extra,) = struct.unpack_from("<H", data, 28)
    body = data[43 + extra : 43 + extra + 4096]
    if data[8:10] == b"\x08\x00":
        try:
            body = zlib.decompressobj(-15).decompress(body, 4096)
        except zlib.error:
            body = b""
    start = f'{{"format": "{FORMAT}"'.encode()
    return bool(body) and body[: len(start)] == start[: len(body)]


def _read_members(archive: zipfile.ZipFile, path: Path, stored: int | None) -> dict[str, bytes]:
    members: dict[str, bytes] = {}
    whole = sum(info.file_size for info in archive.infolist())
    if stored is not None and whole > max(_UNFOLDED, _RATIO * stored):
        raise DataError(
            f"{path} is refused: its {stored} bytes claim to unfold to {whole}. If you made it "
            "yourself, open it with trusted=True."
        )
    for info in archive.infolist():
        name = info.filename
        if name not in _LIMITS or name in members:
            raise DataError(
                f"{path} is refused: it holds {name!r}, which is no part of an annotation; "
                "it was not written by particle_nb."
            )
        # deflate packs at most 1032 to 1: more than that is a lie about the size
        if info.file_size > _LIMITS[name] or info.file_size > 1100 * info.compress_size + 1024:
            raise DataError(f"{path} is refused: {name} claims {info.file_size} bytes.")
        if info.flag_bits & 1:
            raise DataError(f"{path} is refused: {name} is encrypted.")
        with archive.open(info) as file:
            # piece by piece: one large read copies what it has again and again
            chunks = []
            while chunk := file.read(_CHUNK):
                chunks.append(chunk)
            data = b"".join(chunks)
        if len(data) != info.file_size:
            raise DamagedArchiveError(f"{path} is damaged: {name} is not as long as it claims.")
        members[name] = data
    missing = [name for name in _NEEDED if name not in members]
    if missing:
        raise DataError(f"{path} is no annotation of particle_nb: {missing[0]} is missing.")
    return members


def _json(data: bytes, what: str, path: Path) -> Any:
    try:
        return parse_json(data.decode("utf-8"), what, constants=False)
    except (UnicodeDecodeError, DataError) as error:
        raise DataError(f"{path} is damaged: {what} cannot be read: {error}") from None


def _manifest(members: Mapping[str, bytes], path: Path) -> dict[str, Any]:
    manifest = _json(members["manifest.json"], "manifest.json", path)
    if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
        raise DataError(f"{path} is no annotation of particle_nb; its manifest says otherwise.")
    version = manifest.get("version")
    if not isinstance(version, int) or isinstance(version, bool) or version < 1:
        raise DamagedArchiveError(f"{path} is damaged: its version is {version!r:.60}.")
    if version > VERSION:
        raise DataError(
            f"{path} was written by a newer particle_nb (format {version}, this one reads "
            f"{VERSION}); update the package."
        )
    noted = manifest.get("members")
    if not isinstance(noted, dict) or set(noted) != set(members) - {"manifest.json"}:
        raise DamagedArchiveError(f"{path} is damaged: its members are not those of its manifest.")
    for name, about in noted.items():
        digest = about.get("sha256") if isinstance(about, dict) else None
        if digest != hashlib.sha256(members[name]).hexdigest():
            raise DamagedArchiveError(f"{path} is damaged: the checksum of {name} is wrong.")
    return manifest


def _history(members: Mapping[str, bytes], manifest: Mapping[str, Any], path: Path) -> History:
    height, width = manifest["shape"]
    shape = (_whole(height), _whole(width))
    if min(shape) < 1 or shape[0] * shape[1] > _MOST_PIXELS:
        raise DataError(f"an image of {shape[0]} x {shape[1]} pixels is not possible.")
    content = _json(members["history.json"], "history.json", path)
    masks = [mask_of(stored, shape) for stored in content["masks"]]
    lines = [_json(line, "log.jsonl", path) for line in members["log.jsonl"].splitlines() if line]
    if len(lines) != len(content["steps"]):
        raise DataError(f"{len(lines)} log lines do not fit {len(content['steps'])} steps.")
    steps = []
    before, premises = State(shape), Premises()
    for record, step in zip(lines, content["steps"], strict=True):
        if not isinstance(record, dict) or not isinstance(record.get("action"), str):
            raise DataError("a line of the log names no action.")
        premises = premises.after(record)
        if record["action"] == "region" and premises.parts:
            RegionOfInterest(shape, premises.parts)
        changes = {
            int(number): None if stored is None else particle_of(stored, masks)
            for number, stored in step["after"].items()
        }
        was = {number: before.particles.get(number) for number in changes}
        draft = draft_of(step["draft"], masks)
        steps.append(Step(record, changes, was, draft, before.draft))
        before = before.put(changes).drafting(draft)
    return History(shape, tuple(steps), len(steps), before).jump(_whole(manifest["position"]))


def _whole(value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise DataError(f"{value!r:.60} is no whole number.")
    return value


def _read_image(members: Mapping[str, bytes], manifest: Mapping[str, Any]) -> Image:
    pixels = np.load(io.BytesIO(members["image.npy"]), allow_pickle=False)
    about = manifest.get("image")
    about = about if isinstance(about, Mapping) else {}
    image = Image(pixels, _scale(about.get("calibration")), str(about.get("name", "")))
    image = image.replace(region=_region(manifest.get("region"), image.shape))
    if image.shape != tuple(manifest["shape"]):
        raise DataError(f"the stored image is {image.shape}, the masks are on {manifest['shape']}.")
    return image


def _scale(stored: Any) -> Calibration | None:
    if not isinstance(stored, Mapping):
        return None
    return Calibration(stored["pixel_size"], stored["unit"], stored.get("source", ""))


def _region(stored: Any, shape: tuple[int, int]) -> RegionOfInterest | None:
    return None if stored is None else RegionOfInterest(shape, read_parts(stored))
