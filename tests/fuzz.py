"""Damaged and hostile input for every reader: whatever the bytes, an error of the toolkit's own.

Good files of every kind, which are made here, are changed at random: bytes flipped, cut out, put
in, exchanged with another file's; numbers in text made huge, negative or no numbers; nodes of JSON
replaced, also inside archives whose checksums are made right again. A reader may then give a value
or raise a `ParticleError`, within seconds and a gigabyte.

    python -m tests.fuzz --count 20000
"""

from __future__ import annotations

import argparse
import collections
import contextlib
import functools
import hashlib
import io
import json
import logging
import math
import re
import resource
import shutil
import struct
import sys
import tempfile
import time
import traceback
import warnings
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import hypothesis
import numpy as np
import pandas as pd
import PIL.Image
import tifffile
from hypothesis import strategies as st

import particle_nb as pnb
from particle_nb.batches import BatchSettings, batch, read_batch
from particle_nb.batches.store import Store, finish
from particle_nb.core import exports
from particle_nb.core.annotation.actions import load_line, perform
from particle_nb.core.annotation.annotation import Annotation
from particle_nb.core.annotation.archive import ArchiveWriter, read_archive
from particle_nb.core.annotation.history import History
from particle_nb.core.annotation.replaying import read_log, replay
from particle_nb.core.shape.reference import read_shapes
from particle_nb.validation import collect

SECONDS, MEGABYTES = 5.0, 1500
Change = tuple[str, int, int]


@dataclass(frozen=True)
class Reader:
    """What is fuzzed: good inputs by name, and what a person would do with one.

    `structured` tells how the bytes are also changed from inside: "", "json" or "zip".
    """

    seeds: Callable[[], dict[str, bytes]]
    use: Callable[[Path], Any]
    structured: str = ""


# ------------------------------------------------------------------------------------- good inputs


def _picture() -> np.ndarray:
    rows, cols = np.mgrid[:40, :48]
    grey = 30 + np.random.default_rng(0).normal(0, 3, rows.shape)
    for y, x, r in ((12, 12, 7), (26, 33, 9)):
        grey[(rows - y) ** 2 + (cols - x) ** 2 < r * r] += 150
    return grey.clip(0, 255).astype(np.uint8)


PIXELS = _picture()
IMAGE = pnb.Image(PIXELS, pnb.Calibration(0.5, "um"), "fuzz")
LABELS = (PIXELS > 100).astype(np.uint8)
LABELS[:, 24:] *= 2
MASKS = pnb.MaskSet.from_labels(LABELS.astype(int))


class Blob:
    """A session whose answer to every prompt is the mask below the first point."""

    class segmenter:  # noqa: N801 - stands for an instance
        name, digest = "blob", "0" * 16

    def predict(self, image: pnb.Image, prompt: pnb.Prompt, window: Any = None) -> pnb.MaskSet:
        return MASKS[:2]


def _written(write: Callable[[Path], Any], name: str) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / name
        write(path)
        return path.read_bytes()


def _tiff(pixels: np.ndarray = PIXELS, **options: Any) -> bytes:
    stream = io.BytesIO()
    tifffile.imwrite(stream, pixels, **{"metadata": None, "photometric": "minisblack"} | options)
    return stream.getvalue()


def _pillow(kind: str, mode: str = "L", **options: Any) -> bytes:
    stream = io.BytesIO()
    PIL.Image.fromarray(PIXELS).convert(mode).save(stream, kind, **options)
    return stream.getvalue()


def _tagged(code: int, text: bytes) -> bytes:
    return _tiff(extratags=[(code, 1, len(text), text, True)])


ZEISS = b"\r\n0\r\n0\r\n3.2e-09\r\nAP_IMAGE_PIXEL_SIZE\r\nImage Pixel Size = 26.3 nm\r\n"
ZEISS += b"DP_IMAGE_STORE\r\nStore resolution = 48 * 40\r\nAP_WIDTH\r\nWidth = 3.375 um\r\n"
FEI = b"[Scan]\r\nPixelWidth=2.5e-9\r\nPixelHeight=2.5e-9\r\n[Image]\r\nResolutionX=48\r\n"
FEI += b"ResolutionY=40\r\n[PrivateFei]\r\nDatabarHeight=0\r\n"
PHENOM = b'<FeiImage><pixelWidth unit="nm">5.0</pixelWidth><pixelHeight unit="nm">5.0</pixelHeight>'
PHENOM += b"<databarHeight>0</databarHeight></FeiImage>"
OME = (
    '<?xml version="1.0"?><OME><Image><Pixels SizeX="48" PhysicalSizeX="0.5" PhysicalSizeXUnit="um"'
    ' PhysicalSizeY="0.5"/></Image></OME>'
)


def _images() -> dict[str, bytes]:
    stack = np.stack([PIXELS, PIXELS])
    colours = np.stack([PIXELS] * 3, axis=-1)
    imagej = {"imagej": True, "metadata": {"unit": "um"}, "resolution": (2, 2)}
    return {
        "grey.tif": _tiff(),
        "deep.tif": _tiff(PIXELS.astype(np.uint16) * 257),
        "float.tif": _tiff(PIXELS.astype(np.float32)),
        "colour.tif": _tiff(colours, photometric="rgb"),
        "packed.tif": _tiff(compression="zlib"),
        "tiles.tif": _tiff(tile=(16, 16)),
        "big.tif": _tiff(bigtiff=True),
        "stack.tif": _tiff(stack),
        "imagej.tif": _tiff(**imagej),
        "ome.tif": _tiff(description=OME),
        "zeiss.tif": _tagged(34118, ZEISS),
        "fei.tif": _tagged(34682, FEI),
        "phenom.tif": _tagged(34683, PHENOM),
        "grey.png": _pillow("PNG"),
        "palette.png": _pillow("PNG", "P"),
        "alpha.png": _pillow("PNG", "RGBA"),
        "grey.jpg": _pillow("JPEG"),
        "colour.jpg": _pillow("JPEG", "RGB"),
        "grey.bmp": _pillow("BMP"),
    }


def _labels() -> dict[str, bytes]:
    stream = io.BytesIO()
    PIL.Image.fromarray(LABELS).save(stream, "PNG")
    npy = io.BytesIO()
    np.save(npy, LABELS)
    return {
        "labels.tif": _written(lambda path: exports.write_labels(MASKS, path), "a.tif"),
        "labels.png": stream.getvalue(),
        "labels.npy": npy.getvalue(),
        "cells_seg.npy": _written(lambda path: exports.write_labels(MASKS, path), "a_seg.npy"),
    }


def _geojson() -> dict[str, bytes]:
    scale = pnb.Calibration(0.5, "um")
    ours = _written(lambda path: exports.write_geojson(MASKS, path, scale), "a.geojson")
    ring = [[1, 1], [9, 1], [9, 9], [1, 1]]
    kind = {"objectType": "annotation", "classification": {"name": "round"}}
    kind["measurements"] = [{"name": "confidence", "value": 0.5}]
    holed = {"type": "MultiPolygon", "coordinates": [[ring], [[[20, 20], [30, 20], [25, 30]]]]}
    several = {"type": "GeometryCollection", "geometries": [holed]}
    features = [
        {"type": "Feature", "geometry": geometry, "properties": kind}
        for geometry in (holed, several)
    ]
    return {"ours.geojson": ours, "qupath.geojson": json.dumps(features).encode()}


def _workbooks() -> dict[str, bytes]:
    table = pd.DataFrame({"Size (um)": [1.0, 2.0, 4.0], "Q3 / %": [10.0, 60.0, 100.0]})
    return {"sums.xlsx": _written(lambda path: exports.write_xlsx(table, path), "a.xlsx")}


def _checkpoints() -> dict[str, bytes]:
    """Two tensors are enough to be taken for a checkpoint."""
    import torch
    from safetensors.torch import save

    tensors = {
        "prompt_encoder.pe_layer.positional_encoding_gaussian_matrix": torch.ones(2, 4),
        "image_encoder.patch_embed.proj.weight": torch.ones(8, 3, 2, 2),
    }
    stream = io.BytesIO()
    torch.save({"model_state": tensors}, stream)
    return {"a.pth": stream.getvalue(), "b.safetensors": save(tensors)}


def _cached() -> dict[str, bytes]:
    with tempfile.TemporaryDirectory() as folder:
        pnb.Session("classical", cache_dir=folder).encode(IMAGE)
        (made,) = Path(folder).iterdir()
        return {made.name: made.read_bytes()}


def _sidecars() -> dict[str, bytes]:
    jeol = "$CM_FULL_SIZE 48 40\r\n$$SM_MICRON_BAR 20\r\n$$SM_MICRON_MARKER 1um\r\n"
    hitachi = "[SemImageFile]\r\nPixelSize=5.0\r\nDataSize=48x40\r\n"
    tescan = "[MAIN]\r\nPixelSizeX=8e-9\r\nPixelSizeY=8e-9\r\nImageStripSize=0\r\n"
    return {
        "jeol.txt": jeol.encode(),
        "hitachi.txt": hitachi.encode("utf-16"),
        "tescan.txt": tescan.encode(),
    }


def _coco() -> dict[str, bytes]:
    polygons = {
        "images": [{"id": 1, "file_name": "a", "width": 48, "height": 40}],
        "categories": [{"id": 1, "name": "round"}],
        "annotations": [
            {"id": 1, "image_id": 1, "category_id": 1, "segmentation": [[1, 1, 9, 1, 9, 9]]},
            {
                "id": 2,
                "image_id": 1,
                "score": 0.5,
                "segmentation": {"size": [40, 48], "counts": [5, 3, 1912]},
            },
        ],
    }
    written = _written(lambda path: exports.write_coco(MASKS, path), "a.json")
    return {"ours.json": written, "polygons.json": json.dumps(polygons).encode()}


def _rois() -> dict[str, bytes]:
    import roifile

    oval = roifile.ImagejRoi()
    oval.roitype = roifile.ROI_TYPE.OVAL
    oval.version, oval.right, oval.bottom = 228, 9, 7
    packed = _written(lambda path: exports.write_rois(MASKS, path), "a.zip")
    return {"ours.zip": packed, "oval.roi": oval.tobytes()}


LINES: list[dict[str, Any]] = [
    load_line(MASKS),
    {"action": "polygon", "path": [[2, 2], [9, 2], [9, 9], [2, 9]], "label": "round"},
    {"action": "brush", "path": [[20, 20], [25, 22]], "radius": 3, "id": 3},
    {"action": "set", "ids": [3], "name": "three", "note": "ünï", "label": "flat"},
    {"action": "filter", "settings": {"min_area": 20}},
    {"action": "point", "x": 12, "y": 12, "label": 1, "window": [0, 0, 48, 40]},
    {"action": "candidate", "choice": 1},
    {"action": "commit"},
    {"action": "split", "path": [[12, 0], [12, 39]]},
    {"action": "merge", "ids": [1, 3]},
    {"action": "accept", "ids": [1]},
    {"action": "delete", "ids": [2]},
    {"action": "box", "box": [1, 1, 20, 20]},
]


@functools.cache
def _history() -> History:
    history = History(IMAGE.shape)
    for line in LINES:
        history = perform(history, line, IMAGE, Blob())
    return history


def _archives() -> dict[str, bytes]:
    about = {"image": {"digest": IMAGE.digest, "name": "fuzz"}}

    def write(image: pnb.Image | None) -> bytes:
        return _written(lambda path: ArchiveWriter().write(path, _history(), about, image), "a")

    return {"bare.pnb": write(None), "whole.pnb": write(IMAGE)}


def _logs() -> dict[str, bytes]:
    return {"log.jsonl": _history().log(image={"digest": IMAGE.digest}).encode()}


def _distributions() -> dict[str, bytes]:
    sieve = "Opening (mm);Passing (mass %)\n0,5;10\n1,0;60\n2,0;100\n"
    camera = "Sample,1\nxo/um,Q3/%,q3lg\n1,0,0\n2,20.5,0.9\n4,70,1.2\n8,100,0.1\n"
    classes = "Lower [um]\tUpper [um]\tVolume %\n0.5\t1\t10\n1\t2\t60\n2\t4\t30\n"
    table = "Size Classes (um)  Volume In %\n0.10  1.5\n1.00  48.5\n10.0  50.0\n"
    texts = {"sieve.csv": sieve, "camera.csv": camera, "classes.txt": classes, "t.txt": table}
    return {name: text.encode() for name, text in texts.items()}


def _shapes() -> dict[str, bytes]:
    text = "parameter;D10;D50;D90;low;high;series\nSphericity;0,82;0,87;0,92;0,5;1;dry\n"
    return {"shapes.csv": text.encode(), "plain.csv": b"parameter,D10,D50,D90\nconvexity,.8,.9,1\n"}


def _results() -> dict[str, bytes]:
    about: dict[str, Any] = {
        "notebook": "report",
        "parameters": {"images": ["a.tif"], "filters": {"min_area": 3}},
        "started": "2026-01-01T00:00:00",
        "seconds": 1.5,
        "ok": True,
        "error": "",
        "files": {"table": "particles.csv"},
        "size": {"D50_3_um": 12.5},
        "headline": {"D50": 12.5},
    }
    return {"results.json": json.dumps(about).encode()}


@functools.cache
def _batch() -> dict[str, bytes]:
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        (root / "a.png").write_bytes(_pillow("PNG"))
        settings = BatchSettings("0.5 um", segmenter="classical")
        batch([root / "a.png"], settings, root / "out", progress=False)
        return {
            path.relative_to(root / "out").as_posix(): path.read_bytes()
            for path in sorted((root / "out").rglob("*.*"))
            if path.is_file()
        }


def _records() -> dict[str, bytes]:
    return {name: data for name, data in _batch().items() if name.endswith(".json")}


def _tables() -> dict[str, bytes]:
    return {name: data for name, data in _batch().items() if name.endswith(".parquet")}


def _csv() -> dict[str, bytes]:
    return {"images.csv": _batch()["images.csv"]}


# ----------------------------------------------------------------------------------- what is done


def _read_image(path: Path) -> None:
    image = pnb.read_image(path)
    assert image.digest
    assert image.grey.shape == image.shape
    assert repr(image)


def _read_labels(path: Path) -> None:
    masks = exports.read_labels(path)
    assert len(masks.areas) == len(masks)


def _read_sidecar(path: Path) -> None:
    shutil.copy(path, path.with_name("picture.txt"))
    path.with_name("picture.tif").write_bytes(_tiff())
    pnb.read_image(path.with_name("picture.tif"))


def _read_masks(path: Path) -> None:
    read = exports.read_coco if path.suffix == ".json" else exports.read_rois
    masks = read(path) if path.suffix in (".json", ".zip") else exports.read_rois(path, (40, 48))
    assert len(masks.areas) == len(masks)
    exports.write_csv(pnb.measure(masks), path.with_name("out.csv"))


def _read_geojson(path: Path) -> None:
    masks = exports.read_geojson(path, IMAGE.shape)
    assert len(masks.areas) == len(masks)


def _read_workbook(path: Path) -> None:
    table = exports.read_xlsx(path)
    exports.write_xlsx(table, path.with_name("again.xlsx"))
    found = pnb.read_distribution(path)
    assert math.isfinite(found.x[0])


def _read_checkpoint(path: Path) -> None:
    from particle_nb.models.sam.checkpoint import read_checkpoint

    assert all(isinstance(name, str) for name in read_checkpoint(path))


def _encode(path: Path) -> None:
    session = pnb.Session("classical", cache_dir=path.parent)
    found = session.encode(IMAGE)
    assert len(session.predict(IMAGE, pnb.Prompt(points=((12, 12),)))) <= 3
    assert found.shape == IMAGE.shape


def _read_archive(path: Path) -> None:
    archive = read_archive(path)
    made = Annotation(Blob(), archive.image or IMAGE, autosave=path)
    assert repr(made)
    assert len(made.masks.areas) == len(made.masks)
    made.jump(0)
    made.jump(len(made.history.steps))
    assert made.log
    for action in ({"action": "commit"}, {"action": "polygon", "path": [[1, 1], [5, 1], [5, 5]]}):
        try:
            made.do(**action)
        except pnb.ParticleError:
            continue
    assert len(made.table) <= len(made.state.particles)
    replay(made.log, Blob(), made.image)


def _read_log(path: Path) -> None:
    read_log(path)
    replay(path, Blob(), IMAGE)


def _read_distribution(path: Path) -> None:
    found = pnb.read_distribution(path)
    assert repr(found)
    assert math.isfinite(found.x[0])


def _collect(path: Path) -> None:
    runs = path.parent / "runs" / "one"
    runs.mkdir(parents=True)
    shutil.copy(path, runs / "results.json")
    exports.write_csv(collect(path.parent / "runs"), path.with_name("runs.csv"))


def _resume(path: Path) -> None:
    out = path.parent / "out"
    for name, data in _batch().items():
        (out / name).parent.mkdir(parents=True, exist_ok=True)
        good = out / name
        # the changed file carries the name of what it was
        good.write_bytes(path.read_bytes() if name.replace("/", "_") == path.name else data)
    store = Store(out)
    part = next(out.glob("parts/*.json")).stem
    record = store.read(part)
    rows = [{"image": "a", "path": "a", "status": "failed", "n": 0}]
    finish(out, rows if record is None else [record | {"image": "a"}], store)
    result = read_batch(out)
    assert repr(result)
    result.particles()


def _read_result(path: Path) -> None:
    out = path.parent / "out"
    out.mkdir()
    for name in ("images.parquet", "particles.parquet"):
        kind = path.name.endswith(name)
        (out / name).write_bytes(path.read_bytes() if kind else _batch()[name])
    result = read_batch(out)
    assert repr(result)
    assert len(result.errors) <= len(result.images)
    result.particles()
    list(result.by_image())


def _read_csv(path: Path) -> None:
    table = exports.read_csv(path)
    exports.write_csv(table, path.with_name("again.csv"))


READERS: dict[str, Reader] = {
    "image": Reader(_images, _read_image),
    "labels": Reader(_labels, _read_labels),
    "sidecar": Reader(_sidecars, _read_sidecar),
    "coco": Reader(_coco, _read_masks, "json"),
    "roi": Reader(_rois, _read_masks, "zip"),
    "archive": Reader(_archives, _read_archive, "zip"),
    "log": Reader(_logs, _read_log, "lines"),
    "distribution": Reader(_distributions, _read_distribution),
    "shapes": Reader(_shapes, read_shapes),
    "results": Reader(_results, _collect, "json"),
    "record": Reader(_records, _resume, "json"),
    "table": Reader(_tables, _read_result),
    "part": Reader(_tables, _resume),
    "csv": Reader(_csv, _read_csv),
    "geojson": Reader(_geojson, _read_geojson, "json"),
    "workbook": Reader(_workbooks, _read_workbook, "zip"),
    "checkpoint": Reader(_checkpoints, _read_checkpoint),
    "cache": Reader(_cached, _encode),
}


# ---------------------------------------------------------------------------------------- changes

#: What takes the place of a value in JSON, or of a number in text.
WEIRD: tuple[Any, ...] = (
    None, True, False, 0, -1, 1, 2, 40, 1e308, -1e308, 5e-324, 10**30, 2**31, 2**63, -(2**63), 0.5,
    float("nan"), float("inf"), float("-inf"), "", "x", "0", "-1", "\ud800", "a" * 5000, "=1+1",
    "\x00", [], {}, [[]], [None], {"a": 1}, [0, 0], [1e400], {"size": [1, 1]}, "0" * 4400,
)  # fmt: skip
BYTES = (0, 1, 127, 128, 255, 10, 13, 32, 44, 59, 45, 46, 34, 91, 123, 80, 75)
INTEGERS = (0, 1, 2, 255, 2**15, 2**16 - 1, 2**24, 2**31 - 1, 2**31, 2**32 - 1)
NUMBERS = (
    "", "0", "-1", "1e999", "-1e308", "nan", "inf", "9" * 30, "9" * 4500, "1,5", "0.0000001", "1/0",
    "x", " ", "²", "٣", "1e-320", "%",
)  # fmt: skip
KINDS = ("flip", "byte", "cut", "put", "twice", "end", "splice", "integer", "number", "node")
# what changes the bytes of a zip is mostly found by its checksums: the inside counts more
FREQUENT = (*KINDS, "node", "node", "node", "number")


_NO_ZIP = (
    zipfile.BadZipFile,
    zlib.error,
    struct.error,
    ValueError,
    OSError,
    RuntimeError,
    EOFError,
    LookupError,
)


def changed(data: bytes, change: Change, reader: Reader) -> bytes:
    """The bytes after one change; the same change of the same bytes gives the same."""
    kind, where, what = change
    if kind == "node":
        return _inside(data, where, what, reader.structured)
    at = where % max(len(data), 1)
    if kind == "flip" and data:
        return data[:at] + bytes([data[at] ^ (1 << what % 8)]) + data[at + 1 :]
    if kind == "byte":
        return data[:at] + bytes([BYTES[what % len(BYTES)]]) + data[at + 1 :]
    if kind == "cut":
        return data[:at] + data[at + 1 + what % 40 :]
    if kind == "put":
        return data[:at] + bytes([BYTES[what % len(BYTES)]]) * (1 + what % 60) + data[at:]
    if kind == "twice":
        return data[: at + what % 200] + data[at:]
    if kind == "end":
        return data[:at]
    if kind == "splice":
        others = list(reader.seeds().values())
        other = others[what % len(others)]
        return data[:at] + other[at % max(len(other), 1) :]
    if kind == "integer":
        size = (2, 4, 8)[what % 3]
        value = INTEGERS[what // 3 % len(INTEGERS)] % 2 ** (8 * size)
        return data[:at] + value.to_bytes(size, ("little", "big")[what % 2]) + data[at + size :]
    found = list(re.finditer(rb"[-+]?\d[\d.eE+]{0,20}", data[:200_000]))
    if not found:
        return data
    match = found[where % len(found)]
    text = NUMBERS[what % len(NUMBERS)].encode()
    return data[: match.start()] + text + data[match.end() :]


def _inside(data: bytes, where: int, what: int, structured: str) -> bytes:
    """Change a node of JSON, or a member of a zip whose checksums are made right again."""
    if structured == "json":
        return _node(data, where, what)
    if structured == "lines":
        lines = data.split(b"\n")
        at = where % len(lines)
        lines[at] = _node(lines[at], where // len(lines), what)
        return b"\n".join(lines)
    if structured != "zip":
        return data
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            members = {name: archive.read(name) for name in archive.namelist()}
            comment = archive.comment
    except _NO_ZIP:
        return data
    if not members:
        return data
    name = sorted(members)[where % len(members)]
    inner = "lines" if name.endswith("l") else "json" if name.endswith("json") else ""
    if inner:
        members[name] = _inside(members[name], where // len(members), what, inner)
    else:
        small = Reader(lambda: {"": members[name]}, len)
        kind = KINDS[what % (len(KINDS) - 1)]
        members[name] = changed(members[name], (kind, where // len(members), what // 9), small)
    if "manifest.json" in members and name != "manifest.json":
        members["manifest.json"] = _summed(members)
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.comment = comment
        for key, value in members.items():
            archive.writestr(key, value)
    return stream.getvalue()


def _summed(members: dict[str, bytes]) -> bytes:
    try:
        about = json.loads(members["manifest.json"])
        about["members"] = {
            key: {"bytes": len(value), "sha256": hashlib.sha256(value).hexdigest()}
            for key, value in members.items()
            if key != "manifest.json"
        }
        return json.dumps(about).encode()
    except (ValueError, TypeError):
        return members["manifest.json"]


def _node(data: bytes, where: int, what: int) -> bytes:
    """JSON with one of its nodes replaced, left out or put in twice."""
    try:
        root = json.loads(data)
    except (ValueError, RecursionError):
        return data
    places: list[tuple[Any, Any]] = []

    def walk(node: Any) -> None:
        items = node.items() if isinstance(node, dict) else enumerate(node)
        for key, value in list(items):
            places.append((node, key))
            if isinstance(value, (dict, list)):
                walk(value)

    if isinstance(root, (dict, list)):
        walk(root)
    if not places or what % 31 == 0:
        return json.dumps(WEIRD[where % len(WEIRD)]).encode()
    holder, key = places[where % len(places)]
    if what % 11 == 0:
        del holder[key]
    elif what % 11 == 1 and isinstance(holder, list):
        holder.append(holder[key])
    else:
        holder[key] = WEIRD[what // 11 % len(WEIRD)]
    return json.dumps(root).encode()


# -------------------------------------------------------------------------------------- the check


class WrongAnswerError(AssertionError):
    """An error without one of the toolkit's names, or a reader that takes too long."""


def check(name: str, seed: str, changes: list[Change]) -> None:
    """Change a good input and read it; `WrongAnswerError` where the answer is not right."""
    reader = READERS[name]
    data = reader.seeds()[seed]
    for change in changes:
        data = changed(data, change, reader)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / seed.replace("/", "_")
        path.write_bytes(data)
        start = time.process_time()
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                reader.use(path)
        except pnb.ParticleError as error:
            if len(str(error)) < 10:
                raise WrongAnswerError(f"{type(error).__name__} says {str(error)!r}") from None
        except Exception as error:
            place = traceback.extract_tb(error.__traceback__)
            ours = [f for f in place if "particle_nb" in f.filename] or list(place)
            at = f"{Path(ours[-1].filename).name}:{ours[-1].lineno}"
            raise WrongAnswerError(
                f"{name} {at}: {type(error).__name__} {str(error)[:120]}"
            ) from error
        spent = time.process_time() - start
        if spent > SECONDS:
            raise WrongAnswerError(f"{name} takes {spent:.1f} s for {len(data)} bytes")


@functools.cache
def _seeds() -> list[tuple[str, str]]:
    return [(name, seed) for name, reader in READERS.items() for seed in reader.seeds()]


def cases() -> st.SearchStrategy[tuple[tuple[str, str], list[Change]]]:
    """A good input and what is done to it."""
    # every reader as often as the others, however many inputs it has
    one = st.sampled_from(sorted(READERS)).flatmap(
        lambda name: st.sampled_from([pair for pair in _seeds() if pair[0] == name])
    )
    number = st.integers(0, 2**32 - 1)
    change = st.tuples(st.sampled_from(FREQUENT), number, number)
    return st.tuples(one, st.lists(change, min_size=1, max_size=5))


def memory() -> float:
    """Most megabytes that this process has held so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=20_000, help="changed inputs")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", choices=sorted(READERS), help="one reader")
    given = parser.parse_args()
    # tifffile logs what it makes of each damaged tag
    logging.disable(logging.CRITICAL)
    tally: collections.Counter[str] = collections.Counter()
    found: dict[str, tuple[str, str, list[Change]]] = {}
    settings = hypothesis.settings(
        max_examples=given.count,
        database=None,
        deadline=None,
        phases=[hypothesis.Phase.generate],
        suppress_health_check=list(hypothesis.HealthCheck),
    )

    @hypothesis.seed(given.seed)
    @settings
    @hypothesis.given(cases())
    def run(case: tuple[tuple[str, str], list[Change]]) -> None:
        (name, seed), changes = case
        if given.only not in (None, name):
            name = given.only
            seed = sorted(READERS[name].seeds())[len(changes) % len(READERS[name].seeds())]
        tally[name] += 1
        try:
            check(name, seed, changes)
        except AssertionError as error:
            found.setdefault(str(error).split("\n")[0], (name, seed, changes))

    start = time.process_time()
    # interrupted, it says what was found until then
    with contextlib.suppress(KeyboardInterrupt):
        run()
    for text, (name, seed, changes) in found.items():
        print(f"{text}\n    check({name!r}, {seed!r}, {changes!r})")
    print(
        f"{sum(tally.values())} changed inputs in {time.process_time() - start:.0f} s of CPU, at "
        f"most {memory():.0f} MB, {len(found)} kinds of wrong answers; "
        + ", ".join(f"{name} {count}" for name, count in sorted(tally.items()))
    )
    return 1 if found or memory() > MEGABYTES else 0


if __name__ == "__main__":
    sys.exit(main())
