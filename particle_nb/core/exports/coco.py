"""Masks as COCO JSON and back, scores and overlaps kept."""

from __future__ import annotations

import json
import math
import os
from pathlib import Path
from typing import Any

import numpy as np

from particle_nb.core.errors import DataError
from particle_nb.core.exports.polygons import left_out, rasterise, union
from particle_nb.core.files import Allowance, atomic, parse_json, read_regular
from particle_nb.core.image import Calibration
from particle_nb.core.image.image import checked_calibration
from particle_nb.core.image.reading import checked_path
from particle_nb.core.masks import Mask, MaskSet, rle
from particle_nb.core.masks.masks import checked_masks, probability

#: Category of masks without a class.
UNNAMED = "particle"

_LARGEST_FILE = 2**31

# so many annotations are taken of any file; of more, each must have at least so many bytes
_MANY, _LEAST_BYTES = 40_000, 120


def write_coco(
    masks: MaskSet,
    path: str | os.PathLike[str],
    calibration: Calibration | None = None,
    name: str = "",
) -> None:
    """Write masks as COCO JSON with compressed run-length codes; nothing of them is lost.

    Category is the class of the mask (``particle`` for none), ``score`` the predicted IoU; the
    image entry carries ``pixel_size``, ``pixel_unit`` and ``pixel_size_source``.

    Parameters
    ----------
    masks : MaskSet
    path : str or path
    calibration : Calibration or None
    name : str
        File name of the image.

    Raises
    ------
    DataError
        If masks is no MaskSet or the file cannot be written.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     masks = MaskSet.from_labels(np.array([[0, 1], [2, 2]]))
    ...     write_coco(masks, f"{folder}/a.json")
    ...     read_coco(f"{folder}/a.json").digest == masks.digest
    True
    """
    masks = checked_masks(masks)
    checked_calibration(calibration)
    assert masks.shape is not None
    height, width = masks.shape
    image: dict[str, Any] = {"id": 1, "file_name": str(name), "width": width, "height": height}
    if calibration is not None:
        image |= {
            "pixel_size": calibration.pixel_size,
            "pixel_unit": calibration.unit,
            "pixel_size_source": calibration.source,
        }
    names = sorted({mask.label or UNNAMED for mask in masks} | {UNNAMED})
    document = {
        "info": {"description": "particle masks written by particle_nb"},
        "images": [image],
        "categories": [{"id": i, "name": text} for i, text in enumerate(names, start=1)],
        "annotations": [
            annotation(mask, index, names.index(mask.label or UNNAMED) + 1)
            for index, mask in enumerate(masks, start=1)
        ],
    }
    with atomic(path) as stream:
        stream.write(json.dumps(document, allow_nan=False).encode("utf-8"))


def annotation(mask: Mask, number: int, category: int) -> dict[str, Any]:
    """Return the COCO annotation of a mask.

    Examples
    --------
    >>> annotation(Mask((1, 1), np.ones((2, 1), bool), (4, 3)), 1, 1)["bbox"]
    [1, 1, 1, 2]
    """
    r0, c0, r1, c1 = mask.bbox
    entry: dict[str, Any] = {
        "id": number,
        "image_id": 1,
        "category_id": category,
        "iscrowd": 0,
        "bbox": [c0, r0, c1 - c0, r1 - r0],
        "area": mask.area,
        "segmentation": {"size": list(mask.shape), "counts": rle.compress(rle.counts_of(mask))},
        "label": mask.label,
    }
    for key, value in (("score", mask.predicted_iou), ("stability_score", mask.stability_score)):
        if math.isfinite(value):
            entry[key] = value
    if mask.confidence is not None:
        entry["confidence"] = mask.confidence
    if mask.grid_px != 1:
        entry["grid_px"] = mask.grid_px
    return entry


class _TurnedError(DataError):
    """Rows and columns of the whole file are confused."""


def read_coco(path: str | os.PathLike[str], image: int | str | None = None) -> MaskSet:
    """Read the masks of one image of a COCO file: run-length codes, compressed or not, or polygons.

    Polygons become the pixels whose centres they hold; several of one annotation are united. Lists
    of results and the files of Segment Anything, one an image, are read too.

    Parameters
    ----------
    path : str or path
    image : int, str or None
        Id or file name of the image, where the file has several.

    Raises
    ------
    ImageError
        If there is no such file.
    DataError
        If it is no COCO file, is damaged, does not say which image is meant, or none of its
        annotations is a mask.

    Warns
    -----
    AnnotationWarning
        If annotations without area (boxes alone, polygons of two points, polygons between pixel
        centres) or damaged ones were left out; says how many, and why the first.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_coco(MaskSet((), (4, 4)), f"{folder}/a.json")
    ...     read_coco(f"{folder}/a.json")
    <MaskSet of 0 masks on 4 x 4 px>
    """
    file = checked_path(path)
    data, _ = read_regular(file, _LARGEST_FILE)
    document, allowance = _document(parse_json(data, file.name), file), Allowance(len(data))
    if len(document["annotations"]) > max(_MANY, len(data) // _LEAST_BYTES):
        raise DataError(
            f"{file.name} has {len(document['annotations'])} annotations in {len(data)} bytes: "
            "too few for each to be a particle."
        )
    entry = _image(document, image, file)
    try:
        shape = (int(entry["height"]), int(entry["width"]))
    except (KeyError, TypeError, ValueError, OverflowError):
        raise DataError(f"{file.name}: the image entry has no 'height' and 'width'.") from None
    if shape[0] < 1 or shape[1] < 1 or shape[0] * shape[1] > rle.MAX_PIXELS:
        raise DataError(f"{file.name}: the image entry has the size {shape[1]} x {shape[0]}.")
    names = {
        _key(c.get("id")): str(c.get("name", ""))
        for c in _list_of(document, "categories", file)
        if _dict(c)
    }
    masks: list[Mask] = []
    bad: list[str] = []
    partly: list[str] = []
    wanted = _key(entry.get("id"))
    for number, item in enumerate(document["annotations"]):
        if not _dict(item):
            bad.append(f"annotation {number} is no object")
            continue
        if _key(item.get("image_id", entry.get("id"))) != wanted:
            continue
        try:
            mask, lost = _mask(item, shape, names, allowance)
        except _TurnedError as error:
            raise DataError(f"{file.name}, annotation {number}: {error}") from None
        except DataError as error:
            if allowance.spent:
                raise DataError(f"{file.name}: {error}") from None
            bad.append(f"annotation {number}: {str(error).rstrip('.')}")
            continue
        masks.append(mask)
        if lost:
            partly.append(f"annotation {number} has {lost} without area")
    if bad and not masks:
        raise DataError(f"{file.name}, {bad[0]}.")
    left_out(file.name, bad, partly, len(bad) + len(masks))
    return MaskSet(tuple(masks), shape)


def _dict(value: Any) -> bool:
    return isinstance(value, dict)


def _key(value: Any) -> str:
    """An id as text: 7, 7.0 and "7" are one, "007" is another."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return str(value)


def _list_of(document: dict[str, Any], name: str, file: Path) -> list[Any]:
    found = document.get(name)
    if found is not None and not isinstance(found, list):
        raise DataError(f"{file.name}: {name!r} is no list; a COCO file is needed.")
    return found or []


def _document(document: Any, file: Path) -> dict[str, Any]:
    """A COCO document of what stands in the file: lists of results have no images of their own."""
    if isinstance(document, list):
        document = {"annotations": document}
    if not _dict(document) or not isinstance(document.get("annotations"), list):
        raise DataError(f"{file.name} has no 'annotations'; a COCO file is needed.")
    if _dict(document.get("image")):  # Segment Anything's own, one file an image
        image = dict(document["image"])
        image.setdefault("id", image.get("image_id"))
        own = [
            {key: value for key, value in item.items() if key != "image_id"}
            if _dict(item)
            else item
            for item in document["annotations"]
        ]
        document = {**document, "images": [image], "annotations": own}
    if "images" not in document:
        sizes: dict[str, dict[str, Any]] = {}
        for item in document["annotations"]:
            code = item.get("segmentation") if isinstance(item, dict) else None
            size = code.get("size") if isinstance(code, dict) else None
            if isinstance(size, list) and len(size) == 2:
                key = item.get("image_id")
                found = {"id": key, "height": size[0], "width": size[1]}
                sizes.setdefault(_key(key), found)
        if not sizes:
            raise DataError(
                f"{file.name} has no 'images' and no run-length code with a 'size', so that the "
                "size of the picture is not known; a COCO file is needed."
            )
        document = {**document, "images": [*sizes.values()]}
    return document


def _image(document: dict[str, Any], wanted: int | str | None, file: Path) -> dict[str, Any]:
    images = [entry for entry in _list_of(document, "images", file) if _dict(entry)]
    if wanted is not None:
        asked = _key(wanted)
        images = [e for e in images if asked in (_key(e.get("id")), str(e.get("file_name")))]
        if not images:
            raise DataError(f"{file.name} has no image {wanted!r}.")
    if len(images) != 1:
        some = ", ".join(repr(e.get("file_name", e.get("id"))) for e in images[:5])
        raise DataError(
            f"{file.name} has {len(images)} images ({some}); name one with image='file name'."
        )
    return images[0]


def _mask(
    item: dict[str, Any], shape: tuple[int, int], names: dict[str, str], allowance: Allowance
) -> tuple[Mask, str]:
    """The mask of an annotation, and which of its polygons have no area, in words."""
    category = names.get(_key(item.get("category_id")), "")
    label = item.get("label", "" if category == UNNAMED else category)
    score = "score" if "score" in item else "predicted_iou"
    scores = {
        "predicted_iou": _score(item, score),
        "stability_score": _score(item, "stability_score"),
        "label": str(label),
        "grid_px": _score(item, "grid_px") if "grid_px" in item else 1.0,
        "confidence": probability(item.get("confidence")),
    }
    segmentation = item.get("segmentation")
    if isinstance(segmentation, dict):
        mask = rle.decode(segmentation, allowance, **scores)
        if mask.shape != shape:
            # turned round it is not this annotation that is wrong but the size of the image
            kind = _TurnedError if mask.shape == shape[::-1] else DataError
            raise kind(f"its code is for {mask.shape}, the image is {shape}.")
        return mask, ""
    if not isinstance(segmentation, list) or not segmentation:
        raise DataError("it has no 'segmentation'; boxes alone are no masks.")
    if not isinstance(segmentation[0], (list, tuple)):
        segmentation = [segmentation]  # one polygon that is not in a list of its own
    found = []
    problems = []
    for polygon in segmentation:
        try:
            part = rasterise([_points(polygon)], shape, allowance)
        except DataError as error:
            problems.append(str(error))
            continue
        if part is None:
            problems.append("its polygons hold no pixel centre of the image.")
        else:
            found.append(part)
    if not found:
        raise DataError(problems[0])
    lost = f"{len(problems)} of {len(segmentation)} polygons" if problems else ""
    return union(found, allowance).replace(**scores), lost


def _points(polygon: Any) -> np.ndarray:
    try:
        points = np.asarray(polygon, float)
    except (TypeError, ValueError, OverflowError):
        raise DataError("a polygon is a list of numbers x, y, x, y, ...") from None
    if points.ndim != 1 or len(points) % 2 or len(points) < 6:
        raise DataError("a polygon is a list of at least three x, y pairs.")
    return points.reshape(-1, 2)


def _score(item: dict[str, Any], key: str) -> float:
    value = item.get(key)
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return math.nan
    try:
        return float(value)
    except OverflowError:  # JSON has whole numbers of any length
        return math.nan
