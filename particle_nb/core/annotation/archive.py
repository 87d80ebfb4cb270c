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
import time
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from particle_nb.core.annotation._json import (
    pack,
    pack_draft,
    pack_particle,
    unpack,
    unpack_draft,
    unpack_particle,
)
from particle_nb.core.annotation.history import History, State, Step
from particle_nb.core.errors import DataError, ParticleError
from particle_nb.core.image import Calibration, Image
from particle_nb.core.masks import Mask, rle

FORMAT = "particle_nb.annotation"

VERSION = 1

_LIMITS = {
    "manifest.json": 2**20,
    "log.jsonl": 2**28,
    "history.json": 2**29,
    "masks.json": 2**29,
    "image.npy": 2**32,
}

_MOST_PIXELS = 2**30

_NEEDED = ("manifest.json", "log.jsonl", "history.json", "masks.json")


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

    _packed: dict[Mask, str] = field(default_factory=dict, repr=False)
    _coco: dict[Mask, str] = field(default_factory=dict, repr=False)
    _records: dict[Step, str] = field(default_factory=dict, repr=False)

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
            "version": VERSION,
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
                info.compress_type = zipfile.ZIP_DEFLATED
                archive.writestr(info, data)
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
                str(n): None if p is None else pack_particle(p, index)
                for n, p in step.after.items()
            }
            steps.append({"after": changes, "draft": pack_draft(step.draft, index)})
        for mask in numbers:
            if mask not in self._packed:
                self._packed[mask] = json.dumps(pack(mask), allow_nan=False)
        stored = ",".join(self._packed[mask] for mask in numbers)
        # what no step refers to any more was undone and overwritten
        self._packed = {mask: self._packed[mask] for mask in numbers}
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
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(temporary, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
        _sync_folder(path.parent)
        _sweep(path)
    except OSError as error:
        if temporary.exists():
            temporary.unlink()
        raise DataError(f"cannot write {path}: {error}. Give another path to save to.") from None


def _sync_folder(folder: Path) -> None:
    """Make the rename itself durable; not every system can open a folder."""
    if not hasattr(os, "O_DIRECTORY"):
        return
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _sweep(path: Path) -> None:
    """Remove what killed kernels left half written more than an hour ago."""
    for rest in path.parent.glob(f".{path.name}.*.part"):
        if time.time() - rest.stat().st_mtime > 3600:
            rest.unlink(missing_ok=True)


# ---------------------------------------------------------------------------------------- reading


def read_archive(path: str | os.PathLike[str]) -> Archive:
    """Read a ``.pnb`` file; everything in it is checked before it is used.

    Raises
    ------
    DataError
        If it is missing, no zip, damaged, from a newer version, not an annotation, or holds
        members that it should not (foreign names, paths, links, sizes beyond the limits).
    """
    if not isinstance(path, (str, os.PathLike)):
        raise DataError(f"a .pnb file is named by a path, not {type(path).__name__}.")
    path = Path(path)
    try:
        with zipfile.ZipFile(path) as archive:
            members = _read_members(archive, path)
    except FileNotFoundError:
        raise DataError(f"there is no file {path}; check the path.") from None
    except (
        zipfile.BadZipFile,
        OSError,
        EOFError,
        NotImplementedError,
        zlib.error,
    ) as error:
        raise DataError(f"{path} is damaged or no .pnb file: {error}") from None
    manifest = _manifest(members, path)
    try:
        history = _history(members, manifest, path)
        image = _read_image(members, manifest) if "image.npy" in members else None
    except ParticleError as error:
        raise DataError(f"{path} is damaged: {error}") from None
    except (KeyError, TypeError, ValueError, IndexError, AttributeError, OverflowError) as error:
        raise DataError(f"{path} is damaged: {type(error).__name__} {error}") from None
    return Archive(history, manifest, image)


def _read_members(archive: zipfile.ZipFile, path: Path) -> dict[str, bytes]:
    members: dict[str, bytes] = {}
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
            data = file.read(_LIMITS[name] + 1)
        if len(data) != info.file_size:
            raise DataError(f"{path} is damaged: {name} is not as long as it claims.")
        members[name] = data
    missing = [name for name in _NEEDED if name not in members]
    if missing:
        raise DataError(f"{path} is no annotation of particle_nb: {missing[0]} is missing.")
    return members


def _json(data: bytes, what: str, path: Path) -> Any:
    def refuse(text: str) -> Any:
        raise ValueError(f"{text} is no JSON number")

    try:
        return json.loads(data.decode("utf-8"), parse_constant=refuse)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path} is damaged: {what} cannot be read: {error}") from None


def _manifest(members: Mapping[str, bytes], path: Path) -> dict[str, Any]:
    manifest = _json(members["manifest.json"], "manifest.json", path)
    if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
        raise DataError(f"{path} is no annotation of particle_nb; its manifest says otherwise.")
    version = manifest.get("version")
    if not isinstance(version, int) or version < 1:
        raise DataError(f"{path} is damaged: its version is {version!r}.")
    if version > VERSION:
        raise DataError(
            f"{path} was written by a newer particle_nb (format {version}, this one reads "
            f"{VERSION}); update the package."
        )
    noted = manifest.get("members")
    if not isinstance(noted, dict) or set(noted) != set(members) - {"manifest.json"}:
        raise DataError(f"{path} is damaged: its members are not those of its manifest.")
    for name, about in noted.items():
        digest = about.get("sha256") if isinstance(about, dict) else None
        if digest != hashlib.sha256(members[name]).hexdigest():
            raise DataError(f"{path} is damaged: the checksum of {name} is wrong.")
    return manifest


def _history(members: Mapping[str, bytes], manifest: Mapping[str, Any], path: Path) -> History:
    height, width = manifest["shape"]
    shape = (int(height), int(width))
    if min(shape) < 1 or shape[0] * shape[1] > _MOST_PIXELS:
        raise DataError(f"an image of {shape[0]} x {shape[1]} pixels is not possible.")
    content = _json(members["history.json"], "history.json", path)
    masks = [unpack(packed, shape) for packed in content["masks"]]
    lines = [_json(line, "log.jsonl", path) for line in members["log.jsonl"].splitlines() if line]
    if len(lines) != len(content["steps"]):
        raise DataError(f"{len(lines)} log lines do not fit {len(content['steps'])} steps.")
    history = History(shape)
    for record, step in zip(lines, content["steps"], strict=True):
        changes = {
            int(number): None if packed is None else unpack_particle(packed, masks)
            for number, packed in step["after"].items()
        }
        state = history.state.put(changes).drafting(unpack_draft(step["draft"], masks))
        history = history.do(record, state)
    return history.jump(int(manifest["position"]))


def _read_image(members: Mapping[str, bytes], manifest: Mapping[str, Any]) -> Image:
    pixels = np.load(io.BytesIO(members["image.npy"]), allow_pickle=False)
    about = manifest.get("image")
    about = about if isinstance(about, Mapping) else {}
    scale = about.get("calibration")
    calibration = None
    if isinstance(scale, Mapping):
        calibration = Calibration(scale["pixel_size"], scale["unit"], scale.get("source", ""))
    image = Image(pixels, calibration, str(about.get("name", "")))
    if image.shape != tuple(manifest["shape"]):
        raise DataError(f"the stored image is {image.shape}, the masks are on {manifest['shape']}.")
    return image
