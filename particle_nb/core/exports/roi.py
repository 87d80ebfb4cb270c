"""Masks as an ImageJ ROI zip and back, pixel for pixel."""

from __future__ import annotations

import io
import math
import os
import re
import struct
import warnings
import zipfile
import zlib
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import roifile

from particle_nb.core.errors import DataError
from particle_nb.core.exports.polygons import checked_frame, outlines, rasterise
from particle_nb.core.files import Allowance, atomic, read_regular
from particle_nb.core.image.reading import checked_path
from particle_nb.core.masks import Mask, MaskSet
from particle_nb.core.masks.masks import checked_masks, probability

_MOVE, _LINE, _CLOSE = 0.0, 1.0, 4.0
_SEGMENTS = {0: 1, 1: 1, 2: 2, 3: 3, 4: 0}  # points of a move, line, quadratic, cubic, close
_CURVE = 128  # points of a whole turn, where nothing asks for more

_LARGEST_ROI, _LARGEST_ZIP = 2**26, 2**31

# what the ROIs of a zip may unfold to, beside so many times its size
_UNFOLDED_ROIS, _ROI_RATIO = 2**26, 20

_OVAL_ROWS = 2**22  # pixels of an ellipse that are worked on at a time

_AREAS = (roifile.ROI_TYPE.POLYGON, roifile.ROI_TYPE.FREEHAND, roifile.ROI_TYPE.TRACED)

_NUMBERS = ("predicted_iou", "stability_score", "grid_px")

_DAMAGE = (ValueError, struct.error, IndexError, KeyError, TypeError, RuntimeError, OverflowError)


class RoiWarning(UserWarning):
    """A ROI zip holds something that is no area."""


def write_rois(masks: MaskSet, path: str | os.PathLike[str]) -> None:
    """Write masks as a ROI zip for ImageJ's ROI Manager; nothing of them is lost.

    One simple part is a traced polygon along pixel edges, holes and several parts are a composite
    ROI. Frame, scores and class stand in the properties of each ROI.

    Raises
    ------
    DataError
        If masks is no MaskSet or the file cannot be written.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     masks = MaskSet.from_labels(np.array([[0, 1], [2, 2]]))
    ...     write_rois(masks, f"{folder}/a.zip")
    ...     read_rois(f"{folder}/a.zip").digest == masks.digest
    True
    """
    masks = checked_masks(masks)
    assert masks.shape is not None
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.comment = f"particle_nb {masks.shape[0]} {masks.shape[1]}".encode()
        for index, mask in enumerate(masks, start=1):
            # a fixed date makes equal masks equal files
            entry = zipfile.ZipInfo(f"{index:05d}.roi", (1980, 1, 1, 0, 0, 0))
            entry.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(entry, _roi(mask, index).tobytes())
    with atomic(path) as stream:
        stream.write(packed.getbuffer())


def _roi(mask: Mask, index: int) -> roifile.ImagejRoi:
    polygons = outlines(mask)
    r0, c0, r1, c1 = mask.bbox
    if len(polygons) == 1 and len(polygons[0]) == 1:
        roi = roifile.ImagejRoi.frompoints(polygons[0][0], name=f"{index:05d}")
        roi.roitype = roifile.ROI_TYPE.TRACED
    else:
        roi = roifile.ImagejRoi()
        roi.roitype = roifile.ROI_TYPE.RECT
        path: list[float] = []
        for ring in (ring for polygon in polygons for ring in polygon):
            points = np.column_stack([np.full(len(ring), _LINE), ring])
            points[0, 0] = _MOVE
            path += [*points.ravel().tolist(), _CLOSE]
        roi.multi_coordinates = np.array(path, np.float32)
        roi.shape_roi_size = len(path)
        roi.name = f"{index:05d}"
    roi.version = 228
    roi.top, roi.left, roi.bottom, roi.right = r0, c0, r1, c1
    facts: dict[str, Any] = {"frame_height": mask.shape[0], "frame_width": mask.shape[1]}
    for key in ("predicted_iou", "stability_score"):
        if math.isfinite(getattr(mask, key)):
            facts[key] = repr(getattr(mask, key))
    if mask.confidence is not None:
        facts["confidence"] = repr(mask.confidence)
    if mask.grid_px != 1:
        facts["grid_px"] = repr(mask.grid_px)
    if mask.label:
        # properties are lines of UTF-16 whose length roifile counts in characters
        facts["label"] = re.sub(
            "[\\\\\n\r\ud800-\udfff\U00010000-\U0010ffff]",
            lambda found: f"\\U{ord(found[0]):08x}",
            mask.label,
        )
    roi.props = "".join(f"{key}: {value}\n" for key, value in facts.items())
    return roi


def read_rois(path: str | os.PathLike[str], shape: tuple[int, int] | None = None) -> MaskSet:
    """Read a ROI zip, or one .roi file, of ImageJ as masks.

    Areas are polygons, freehand and traced outlines, rectangles with and without round corners,
    ovals, ellipses, rotated rectangles and composites of lines and curves, whole or sub-pixel.
    Pixels are those whose centres an outline holds. Lines, points and text are left out.

    Parameters
    ----------
    path : str or path
    shape : (H, W) or None
        Size of the image; needed for files that particle_nb did not write.

    Raises
    ------
    ImageError
        If there is no such file.
    DataError
        If it is no ROI file, is damaged or dangerous, or the shape is missing.

    Warns
    -----
    RoiWarning
        If ROIs that are no areas were left out; says how many.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_rois(MaskSet((), (4, 4)), f"{folder}/a.zip")
    ...     read_rois(f"{folder}/a.zip")
    <MaskSet of 0 masks on 4 x 4 px>
    """
    file = checked_path(path)
    rois, frame = _contents(file)
    allowance = Allowance(sum(len(data) for _, data in rois))
    if shape is not None:
        frame = checked_frame(shape)
    parsed = []
    for name, data in rois:
        try:
            roi = roifile.ImagejRoi.frombytes(data)
            rings = _rings_of(roi, data)
            parsed.append((name, rings, _facts(roi.props)))
        except (*_DAMAGE, NotImplementedError, MemoryError) as error:
            raise DataError(f"{file.name}: {name} is damaged ({error}); save it anew.") from None
    if frame is None:
        frame = next((f["frame"] for *_, f in parsed if "frame" in f), None)
    if frame is None:
        raise DataError(
            f"{file.name} does not say how large its image is; give shape=(rows, columns)."
        )
    masks, others = [], 0
    for name, coordinates, facts in parsed:
        try:
            mask = rasterise(coordinates, frame, allowance)
        except DataError as error:
            raise DataError(f"{file.name}: {name}: {error}") from None
        if mask is None:
            others += 1
            continue
        scores = {key: facts[key] for key in (*_NUMBERS, "confidence") if key in facts}
        try:
            if scores or facts.get("label"):
                mask = mask.replace(**scores, label=facts.get("label", ""))
            masks.append(mask)
        except DataError as error:
            raise DataError(f"{file.name}: {name}: {error}") from None
    if others:
        warnings.warn(
            f"{file.name}: {others} of {len(parsed)} ROIs are no areas inside the image "
            "(lines, points, text, or outside it) and were left out.",
            RoiWarning,
            stacklevel=2,
        )
    return MaskSet(tuple(masks), frame)


def _contents(file: Path) -> tuple[list[tuple[str, bytes]], tuple[int, int] | None]:
    """Names and bytes of the ROIs, read in memory: nothing is unpacked onto the disk."""
    stored, _ = read_regular(file, _LARGEST_ZIP)
    if stored[:4] == b"Iout":
        if len(stored) > _LARGEST_ROI:
            raise DataError(f"{file.name} is too large for a ROI.")
        return [(file.name, stored)], None
    try:
        with zipfile.ZipFile(io.BytesIO(stored)) as archive:
            entries = [entry for entry in archive.infolist() if not entry.is_dir()]
            size = sum(entry.file_size for entry in entries)
            if size > max(_UNFOLDED_ROIS, _ROI_RATIO * len(stored)):
                raise DataError(
                    f"{file.name} claims to unfold from {len(stored)} bytes to {size}; refused."
                )
            rois = []
            for entry in entries:
                name = PurePosixPath(entry.filename.replace("\\", "/"))
                if name.is_absolute() or ".." in name.parts or ":" in entry.filename:
                    raise DataError(
                        f"{file.name}: entry {entry.filename!r} points elsewhere; refused."
                    )
                if name.suffix.lower() != ".roi":
                    continue
                if entry.file_size > _LARGEST_ROI:
                    raise DataError(f"{file.name}: {entry.filename} unfolds to too much; refused.")
                with archive.open(entry) as member:
                    rois.append((entry.filename, member.read(_LARGEST_ROI + 1)))
            words = archive.comment.split()
    except RuntimeError as error:
        if not isinstance(error, NotImplementedError):
            raise DataError(f"{file.name} is locked with a password ({error}).") from None
        raise DataError(f"{file.name} is packed in a way unknown here ({error}).") from None
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError, *_DAMAGE) as error:
        if isinstance(error, DataError):
            raise
        raise DataError(f"{file.name} is no ROI zip or is damaged ({error}).") from None
    ours = len(words) == 3 and words[0] == b"particle_nb"
    if ours and not (words[1].isdigit() and words[2].isdigit()):
        raise DataError(
            f"{file.name}: its comment {archive.comment[:60]!r} should end with height and width "
            "of the image; it is damaged."
        )
    if not rois and not ours:
        raise DataError(f"{file.name} holds no .roi file; save it from ImageJ's ROI Manager.")
    return rois, (checked_frame((int(words[1]), int(words[2]))) if ours else None)


def _facts(props: str) -> dict[str, Any]:
    """Frame, scores and class of the properties that `write_rois` leaves."""
    lines = dict(line.split(": ", 1) for line in props.split("\n") if ": " in line)
    facts: dict[str, Any] = {}
    for key in _NUMBERS:
        if key in lines:
            facts[key] = float(lines[key])
    if "confidence" in lines:
        facts["confidence"] = probability(float(lines["confidence"]))
    if "frame_height" in lines and "frame_width" in lines:
        facts["frame"] = checked_frame((lines["frame_height"], lines["frame_width"]))
    if "label" in lines:
        facts["label"] = re.sub(
            r"\\U(00[0-9a-f]{6})", lambda found: chr(int(found[1], 16)), lines["label"]
        )
    return facts


def _rings_of(roi: Any, data: bytes) -> list[np.ndarray]:
    """Outlines of an area as (x, y), empty for what is none; curves as polygons."""
    kind, sub = roi.roitype, roi.subtype
    kinds, subs = roifile.ROI_TYPE, roifile.ROI_SUBTYPE
    if roi.multi_coordinates is not None and sub == subs.UNDEFINED:
        return _path_rings(np.asarray(roi.multi_coordinates, float))
    if kind in (kinds.RECT, kinds.OVAL) and sub == subs.UNDEFINED:
        left, top, right, bottom = roi.left, roi.top, roi.right, roi.bottom
        if roi.subpixelrect and roi.widthd > 0 and roi.heightd > 0:
            left, top = roi.xd, roi.yd
            right, bottom = left + roi.widthd, top + roi.heightd
        if not all(map(math.isfinite, (left, top, right, bottom))):
            raise ValueError("its box is no number")
        return [_box(left, top, right, bottom, roi.rounded_rect_arc_size, kind == kinds.OVAL)]
    if kind not in _AREAS or sub not in (subs.UNDEFINED, subs.ELLIPSE, subs.ROTATED_RECT):
        return []
    rings: list[np.ndarray] = list(roi.coordinates(multi=True))
    if sub == subs.UNDEFINED or (rings and len(rings[0]) >= 3):
        return rings
    # the tools for ellipses and rotated rectangles leave an axis, and here no polygon
    (wide,) = struct.unpack(">f", data[52:56])
    a, b = np.array([roi.x1, roi.y1]), np.array([roi.x2, roi.y2])
    axis = b - a
    length = float(np.hypot(*axis))
    if not (math.isfinite(length) and math.isfinite(wide) and length > 0 and wide > 0):
        raise ValueError("its axis has no length")
    across = np.array([-axis[1], axis[0]]) / length
    if sub == subs.ROTATED_RECT:
        half = across * wide / 2
        return [np.array([a + half, b + half, b - half, a - half])]
    angle = np.linspace(0, 2 * np.pi, _CURVE, endpoint=False)[:, None]
    minor = across * wide * length / 2
    return [(a + b) / 2 + np.cos(angle) * axis / 2 + np.sin(angle) * minor]


def _box(
    left: float, top: float, right: float, bottom: float, arc: float, oval: bool
) -> np.ndarray:
    """A rectangle, perhaps with round corners of the diameter `arc`, or the ellipse in it."""
    width, height = right - left, bottom - top
    if oval or arc > 0:
        rx = width / 2 if oval else min(arc, width) / 2
        ry = height / 2 if oval else min(arc, height) / 2
        # as many points as the outline has pixels, so that no pixel is told wrong
        count = int(np.clip(2 * (width + height), _CURVE, 4096)) // 4
        angle = np.linspace(0, np.pi / 2, count)
        corner = np.stack([rx * np.cos(angle), ry * np.sin(angle)], axis=1)
        centres = [(right - rx, bottom - ry), (left + rx, bottom - ry)]
        centres += [(left + rx, top + ry), (right - rx, top + ry)]
        turned = [corner, corner[::-1] * [-1, 1], -corner, corner[::-1] * [1, -1]]
        return np.concatenate([np.array(c) + t for c, t in zip(centres, turned, strict=True)])
    return np.array([[left, top], [right, top], [right, bottom], [left, bottom]], float)


def _path_rings(path: np.ndarray) -> list[np.ndarray]:
    """Rings of a composite: moves, lines, quadratic and cubic curves, as Java's shapes are."""
    rings: list[np.ndarray] = []
    points: list[np.ndarray] = []
    place = 0
    while place < len(path):
        kind = int(path[place]) if math.isfinite(path[place]) else -1
        count = _SEGMENTS.get(kind)
        if count is None or place + 1 + 2 * count > len(path):
            raise ValueError(f"its path has a segment of kind {path[place]:g} at {place}")
        given = path[place + 1 : place + 1 + 2 * count].reshape(-1, 2)
        place += 1 + 2 * count
        if kind in (_MOVE, _CLOSE) and points:
            if len(points) > 2:
                rings.append(np.array(points))
            points = [points[0]] if kind == _CLOSE else []
        if kind == _MOVE:
            points = [given[0]]
        elif count and not points:
            raise ValueError("its path begins without a place")
        elif kind == _LINE:
            points.append(given[0])
        elif count > 1:
            points += list(_curve(np.vstack([points[-1], given])))
    if len(points) > 2:
        rings.append(np.array(points))
    return rings


def _curve(control: np.ndarray) -> np.ndarray:
    """Points of a Bezier curve after its first."""
    t = np.linspace(0, 1, _CURVE // 4 + 1)[1:, None]
    degree = len(control) - 1
    found = np.zeros((len(t), 2))
    for k in range(degree + 1):
        found += math.comb(degree, k) * t**k * (1 - t) ** (degree - k) * control[k]
    return found
