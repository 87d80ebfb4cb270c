"""Outlines of masks along pixel edges, and polygons back to pixels; GeoJSON.

Corner coordinates: pixel (row, col) covers x from col to col + 1 and y from row to row + 1. That is
where ImageJ, QuPath and COCO put polygons; prompts of particle_nb have pixel centres at integers,
half a pixel less.
"""

from __future__ import annotations

import json
import math
import os
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy import ndimage

from particle_nb.core.errors import DataError
from particle_nb.core.files import Allowance, atomic, parse_json, read_regular
from particle_nb.core.image import Calibration
from particle_nb.core.image.image import checked_calibration
from particle_nb.core.image.reading import checked_path
from particle_nb.core.masks import Mask, MaskSet
from particle_nb.core.masks.masks import checked_masks, probability

#: An exterior ring and its holes, each int64 (N, 2) of (x, y), not closed.
Polygon = list[np.ndarray]

_LARGEST_FILE = 2**31


class AnnotationWarning(UserWarning):
    """Annotations of a file that are no masks were left out; the others were read."""


# what is this small is drawn without arrays, which takes a fifth of the time
_FEW_POINTS, _FEW_ROWS = 64, 64

_CHUNK = 2**20  # crossings of rows that are worked on at a time


def outlines(mask: Mask) -> list[Polygon]:
    """Return the exact outlines of a mask along pixel edges, one polygon for each part.

    Parts are connected over edges, not corners; every ring is simple (it may touch itself or
    another at a corner only as its own ring), exteriors run clockwise on the screen, holes against.
    `rasterise` gives the same pixels back.

    Returns
    -------
    list of list of int64 array (N, 2)
        For each part its exterior ring, then its holes; (x, y) of pixel corners in the frame.

    Raises
    ------
    DataError
        If it is not a Mask.

    Examples
    --------
    >>> outlines(Mask((2, 3), np.ones((1, 2), bool), (9, 9)))[0][0].tolist()
    [[3, 2], [5, 2], [5, 3], [3, 3]]
    """
    if not isinstance(mask, Mask):
        raise DataError(f"outlines are drawn of a Mask, not {type(mask).__name__}.")
    parts, count = ndimage.label(mask.crop)
    padded = np.pad(mask.crop, 1)
    inside = padded[1:-1, 1:-1]
    width = mask.crop.shape[1] + 1
    starts, directions, owners = [], [], []
    # directed unit edges with the mask on their right: along the top, right, bottom, left of pixels
    for side, (beyond, dy, dx) in enumerate(
        (
            (padded[:-2, 1:-1], 0, 0),
            (padded[1:-1, 2:], 0, 1),
            (padded[2:, 1:-1], 1, 1),
            (padded[1:-1, :-2], 1, 0),
        )
    ):
        rows, cols = np.nonzero(inside & ~beyond)
        starts.append((rows + dy) * width + cols + dx)
        directions.append(np.full(len(rows), side))
        owners.append(parts[rows, cols])
    start, direction = np.concatenate(starts), np.concatenate(directions)
    owner = np.concatenate(owners)
    end = start + np.array([1, width, -1, -width])[direction]
    leaving = np.full((4, width * (mask.crop.shape[0] + 1)), -1)
    leaving[direction, start] = np.arange(len(start))
    # where two pixels touch at a corner, turning right keeps to the same pixel
    follower = leaving[(direction + 3) % 4, end]
    for turn in (0, 1):
        chosen = leaving[(direction + turn) % 4, end]
        follower = np.where(chosen >= 0, chosen, follower)
    corner = direction[follower] != direction
    rings = _rings(follower.tolist(), end.tolist(), corner.tolist())
    polygons: list[Polygon] = [[] for _ in range(count)]
    offset = np.array([mask.origin[1], mask.origin[0]])
    for first, vertices in rings:
        points = np.array(vertices)
        ring = np.stack([points % width, points // width], axis=1)
        polygon = polygons[owner[first] - 1]
        x, y = ring.T
        area = float(np.dot(x, np.roll(y, -1)) - np.dot(np.roll(x, -1), y))
        polygon.insert(0 if area > 0 else len(polygon), ring + offset)
    return polygons


def _rings(follower: list[int], end: list[int], corner: list[bool]) -> list[tuple[int, list[int]]]:
    """Closed rings of corners, cut apart where one meets itself; with an edge of each."""
    done = [False] * len(follower)
    rings: list[tuple[int, list[int]]] = []
    for first in range(len(follower)):
        if done[first]:
            continue
        edge, path = first, []
        while not done[edge]:
            done[edge] = True
            if corner[edge]:
                path.append(end[edge])
            edge = follower[edge]
        path = path[-1:] + path[:-1]  # begin where the first edge does
        if len(set(path)) == len(path):
            rings.append((first, path))
            continue
        place: dict[int, int] = {}
        kept: list[int] = []
        for vertex in path:
            if vertex in place:
                loop = kept[place[vertex] :]
                for gone in loop:
                    del place[gone]
                del kept[len(kept) - len(loop) :]
                rings.append((first, loop))
            place[vertex] = len(kept)
            kept.append(vertex)
        rings.append((first, kept))
    return rings


def rasterise(
    rings: Sequence[np.ndarray],
    shape: tuple[int, int],
    allowance: Allowance | None = None,
    **scores: Any,
) -> Mask | None:
    """Return the pixels whose centres lie inside rings by the even-odd rule, or None for none.

    Parameters
    ----------
    rings : sequence of float array (N, 2)
        (x, y) in corner coordinates, closed or not; holes are further rings.
    shape : (H, W)
        The frame; what lies outside is cut away.
    allowance : Allowance or None
        What the file of the rings may still unfold to; that of one small file when left out.
    **scores
        Further fields of the `Mask`.

    Raises
    ------
    DataError
        If a ring is not (N, 2), not finite, absurdly far outside the frame, or too large.

    Examples
    --------
    >>> rasterise([np.array([[3, 2], [5, 2], [5, 3], [3, 3]])], (9, 9)).area
    2
    """
    checked = [_ring(ring) for ring in rings]
    checked = [ring for ring in checked if len(ring) >= 3]
    if not checked:
        return None
    if sum(map(len, checked)) <= _FEW_POINTS:
        few = _few(checked, shape)
        if few is not None:
            return None if few[1] is None else Mask(few[0], few[1], shape, **scores)
    every = np.concatenate(checked)
    low = np.maximum(np.floor(every.min(axis=0)), 0).astype(int)
    high = np.minimum(np.ceil(every.max(axis=0)), [shape[1], shape[0]]).astype(int)
    if (high <= low).any():
        return None
    width, height = (high - low).tolist()
    allowance = Allowance() if allowance is None else allowance
    allowance.take_pixels(width * height)
    # each edge switches, in every row whose centre it crosses, all pixels to its right
    # (one byte a pixel: whether the count is odd survives that it wraps round)
    switches = np.zeros((height, width + 1), np.uint8)
    for ring in checked:
        x0, y0 = (ring - low).T
        x1, y1 = np.roll(x0, -1), np.roll(y0, -1)
        top = np.clip(np.ceil(np.minimum(y0, y1) - 0.5), 0, height).astype(int)
        bottom = np.clip(np.ceil(np.maximum(y0, y1) - 0.5), 0, height).astype(int)
        ends = np.cumsum(np.maximum(bottom - top, 0))
        allowance.take_crossings(int(ends[-1]))
        for start in range(0, int(ends[-1]), _CHUNK):
            place = np.arange(start, min(start + _CHUNK, int(ends[-1])))
            edge = np.searchsorted(ends, place, side="right")
            row = place - (ends[edge] - (bottom - top)[edge]) + top[edge]
            slope = (x1 - x0)[edge] / (y1 - y0)[edge]
            crossing = x0[edge] + (row + 0.5 - y0[edge]) * slope
            col = np.clip(np.ceil(crossing - 0.5), 0, width).astype(int)
            np.add.at(switches, (row, col), np.uint8(1))
    np.add.accumulate(switches, axis=1, out=switches)
    np.bitwise_and(switches, 1, out=switches)
    crop = switches[:, :-1].view(bool)
    if not crop.any():
        return None
    return Mask((int(low[1]), int(low[0])), crop, shape, **scores)


def _few(
    rings: list[np.ndarray], shape: tuple[int, int]
) -> tuple[tuple[int, int], np.ndarray | None] | None:
    """Origin and pixels (None where there are none) of small rings; None for larger ones.

    The same arithmetic as in `rasterise`, number by number.
    """
    lists = [ring.tolist() for ring in rings]
    left = max(math.floor(min(x for ring in lists for x, _ in ring)), 0)
    top = max(math.floor(min(y for ring in lists for _, y in ring)), 0)
    width = min(math.ceil(max(x for ring in lists for x, _ in ring)), shape[1]) - left
    height = min(math.ceil(max(y for ring in lists for _, y in ring)), shape[0]) - top
    if width <= 0 or height <= 0:
        return (0, 0), None
    if width > _FEW_ROWS or height > _FEW_ROWS:
        return None
    switches = bytearray(height * (width + 1))
    for ring in lists:
        x0, y0 = ring[-1][0] - left, ring[-1][1] - top
        for x, y in ring:
            x1, y1 = x - left, y - top
            first = min(max(math.ceil(min(y0, y1) - 0.5), 0), height)
            last = min(max(math.ceil(max(y0, y1) - 0.5), 0), height)
            if first < last:
                slope = (x1 - x0) / (y1 - y0)
                for row in range(first, last):
                    col = math.ceil(x0 + (row + 0.5 - y0) * slope - 0.5)
                    switches[row * (width + 1) + min(max(col, 0), width)] ^= 1
            x0, y0 = x1, y1
    grid = np.frombuffer(switches, np.uint8).reshape(height, width + 1)[:, :-1]
    crop = np.bitwise_xor.accumulate(grid, axis=1).view(bool)
    return (top, left), crop if crop.any() else None


def _ring(ring: Any) -> np.ndarray:
    try:
        points = np.asarray(ring, float)
    except (TypeError, ValueError, OverflowError):
        raise DataError("a polygon is a list of (x, y) numbers.") from None
    if points.ndim != 2 or points.shape[1] != 2 or not np.isfinite(points).all():
        raise DataError(f"a polygon is a finite array (N, 2) of (x, y), not {points.shape}.")
    if points.size and np.abs(points).max() > 1e7:
        raise DataError("a polygon lies more than ten million pixels from the origin.")
    return points


def union(masks: Sequence[Mask], allowance: Allowance | None = None) -> Mask:
    """Return one mask of the pixels of several; scores of the first.

    Raises
    ------
    DataError
        If the box around them is larger than any particle.

    Examples
    --------
    >>> a = Mask((0, 0), np.ones((1, 2), bool), (4, 4))
    >>> union([a, Mask((0, 1), np.ones((1, 2), bool), (4, 4))]).area
    3
    """
    boxes = np.array([mask.bbox for mask in masks])
    (top, left), (bottom, right) = boxes[:, :2].min(axis=0), boxes[:, 2:].max(axis=0)
    if len(masks) > 1:  # small parts far from each other take the box around all of them
        (allowance or Allowance()).take_pixels(int(bottom - top) * int(right - left))
    crop = np.zeros((bottom - top, right - left), bool)
    for mask in masks:
        r0, c0, r1, c1 = mask.bbox
        crop[r0 - top : r1 - top, c0 - left : c1 - left] |= mask.crop
    return masks[0].replace(origin=(int(top), int(left)), crop=crop)


def write_geojson(
    masks: MaskSet, path: str | os.PathLike[str], calibration: Calibration | None = None
) -> None:
    """Write masks as GeoJSON polygons with holes, as QuPath reads them, whole or not at all.

    Coordinates are pixels of the image from its top left corner, y down, pixel (0, 0) covering
    0 to 1; GeoJSON proper would take them for degrees, so a member ``particle_nb`` says so.

    Parameters
    ----------
    masks : MaskSet
    path : str or path
    calibration : Calibration or None
        Stated in the file; coordinates stay in pixels.

    Raises
    ------
    DataError
        If masks is no MaskSet or the file cannot be written.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_geojson(MaskSet.from_labels(np.eye(3, dtype=int)), f"{folder}/a.geojson")
    ...     len(json.load(open(f"{folder}/a.geojson"))["features"])
    1
    """
    masks = checked_masks(masks)
    checked_calibration(calibration)
    assert masks.shape is not None
    about: dict[str, Any] = {
        "coordinates": "pixels, x to the right, y down, origin at the top left corner of the image",
        "width": masks.shape[1],
        "height": masks.shape[0],
    }
    if calibration is not None:
        about |= {
            "pixel_size": calibration.pixel_size,
            "pixel_unit": calibration.unit,
            "pixel_size_source": calibration.source,
        }
    features = [_feature(mask, index) for index, mask in enumerate(masks)]
    document = {"type": "FeatureCollection", "particle_nb": about, "features": features}
    with atomic(path) as stream:
        stream.write(json.dumps(document, allow_nan=False).encode())


def _feature(mask: Mask, index: int) -> dict[str, Any]:
    # RFC 7946 wants exteriors against the clock in its own, upward y; with y down that is clockwise
    # seen on the screen, which is how `outlines` runs
    polygons = [[[*ring.tolist(), ring[0].tolist()] for ring in part] for part in outlines(mask)]
    single = len(polygons) == 1
    scores = {
        "predicted_iou": mask.predicted_iou,
        "stability_score": mask.stability_score,
        "grid_px": math.nan if mask.grid_px == 1 else mask.grid_px,
        "confidence": math.nan if mask.confidence is None else mask.confidence,
    }
    properties: dict[str, Any] = {
        "objectType": "annotation",
        "name": f"particle {index + 1}",
        "measurements": {"area_px2": mask.area}
        | {key: value for key, value in scores.items() if math.isfinite(value)},
    }
    if mask.label:
        properties["classification"] = {"name": mask.label}
    return {
        "type": "Feature",
        "id": index + 1,
        "geometry": {
            "type": "Polygon" if single else "MultiPolygon",
            "coordinates": polygons[0] if single else polygons,
        },
        "properties": properties,
    }


def left_out(name: str, bad: list[str], partly: list[str], count: int) -> None:
    """Warn about annotations that were left out, in the place of the caller of a reader."""
    said = []
    if bad:
        said.append(f"{len(bad)} of {count} annotations were left out, the first because {bad[0]}")
    if partly:
        said.append(f"parts of {len(partly)} were left out: {partly[0]}")
    if said:
        warnings.warn(f"{name}: {'; '.join(said)}.", AnnotationWarning, stacklevel=3)


def read_geojson(path: str | os.PathLike[str], shape: tuple[int, int] | None = None) -> MaskSet:
    """Read polygons of GeoJSON as masks, as `write_geojson` and QuPath write them.

    Coordinates are pixels of the image from its top left corner. Pixels are those whose centres a
    polygon holds; scores and classes come from the properties. Points and lines are left out.

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
        If it is no GeoJSON, the shape is missing, or none of its objects is an area.

    Warns
    -----
    AnnotationWarning
        If objects that are no areas inside the image were left out; says how many, and why the
        first.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     masks = MaskSet.from_labels(np.array([[0, 1], [2, 2]]))
    ...     write_geojson(masks, f"{folder}/a.geojson")
    ...     read_geojson(f"{folder}/a.geojson").digest == masks.digest
    True
    """
    file = checked_path(path)
    data, _ = read_regular(file, _LARGEST_FILE)
    document, allowance = parse_json(data, file.name), Allowance(len(data))
    features = document.get("features", [document]) if isinstance(document, dict) else document
    about = document.get("particle_nb") if isinstance(document, dict) else None
    frame = _frame_of(shape, about, file.name)
    if not isinstance(features, list):
        raise DataError(f"{file.name} has no list of 'features'; GeoJSON is needed.")
    masks: list[Mask] = []
    bad: list[str] = []
    for number, feature in enumerate(features):
        try:
            masks.append(_feature_mask(feature, frame, allowance))
        except DataError as error:
            if allowance.spent:
                raise DataError(f"{file.name}: {error}") from None
            bad.append(f"object {number}: {str(error).rstrip('.')}")
    if bad and not masks:
        raise DataError(f"{file.name}, {bad[0]}.")
    left_out(file.name, bad, [], len(features))
    return MaskSet(tuple(masks), frame)


def checked_frame(shape: Any) -> tuple[int, int]:
    """Return the size (H, W) of a frame in pixels.

    Raises
    ------
    DataError
        If it is no pair of positive whole numbers.

    Examples
    --------
    >>> checked_frame(("30", 40))
    (30, 40)
    """
    try:
        height, width = (int(v) for v in shape)
    except (TypeError, ValueError, OverflowError):
        raise DataError(f"shape is (rows, columns), not {shape!r}.") from None
    if not (0 < height < 2**31 and 0 < width < 2**31):
        raise DataError(f"shape is (rows, columns), both positive, not {shape!r}.")
    return height, width


def _frame_of(shape: Any, about: Any, name: str) -> tuple[int, int]:
    """Rows and columns by the caller, or by the member that `write_geojson` leaves."""
    if shape is None and isinstance(about, dict):
        shape = (about.get("height"), about.get("width"))
    if shape is None:
        raise DataError(f"{name} does not say how large its image is; give shape=(rows, columns).")
    return checked_frame(shape)


def _feature_mask(feature: Any, frame: tuple[int, int], allowance: Allowance) -> Mask:
    geometry = feature.get("geometry", feature) if isinstance(feature, dict) else None
    if not isinstance(geometry, dict):
        raise DataError("it has no geometry.")
    parts = []
    for polygon in _polygons_of(geometry, 0):
        if not isinstance(polygon, list):
            raise DataError("a polygon is a list of rings.")
        try:
            rings = [np.array([[p[0], p[1]] for p in ring], float) for ring in polygon]
        except (TypeError, ValueError, IndexError, KeyError, OverflowError):
            raise DataError("a ring is a list of [x, y] numbers.") from None
        part = rasterise(rings, frame, allowance)
        if part is not None:
            parts.append(part)
    if not parts:
        raise DataError("it holds no pixel centre of the image.")
    return union(parts, allowance).replace(**_properties(feature.get("properties")))


def _polygons_of(geometry: dict[str, Any], depth: int) -> list[Any]:
    """Polygons, each a list of rings, of a geometry; collections are opened."""
    kind, coordinates = geometry.get("type"), geometry.get("coordinates")
    if kind == "GeometryCollection" and depth < 8:
        inner = geometry.get("geometries")
        inner = [g for g in inner if isinstance(g, dict)] if isinstance(inner, list) else []
        return [polygon for g in inner for polygon in _polygons_of(g, depth + 1)]
    if kind not in ("Polygon", "MultiPolygon"):
        raise DataError(f"a {str(kind)[:40]!r} is no area.")
    if not isinstance(coordinates, list):
        raise DataError("it has no coordinates.")
    return [coordinates] if kind == "Polygon" else coordinates


def _properties(found: Any) -> dict[str, Any]:
    """Scores and class of a feature; QuPath has measurements as a dict, older ones as a list."""
    found = found if isinstance(found, dict) else {}
    measured = found.get("measurements")
    if isinstance(measured, list):
        measured = {str(m.get("name")): m.get("value") for m in measured if isinstance(m, dict)}
    measured = measured if isinstance(measured, dict) else {}
    scores: dict[str, Any] = {}
    for key in ("predicted_iou", "stability_score", "grid_px"):
        value = measured.get(key)
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            scores[key] = float(value) if abs(value) < 1e300 else math.nan
    scores["confidence"] = probability(measured.get("confidence"))
    kind = found.get("classification")
    names = kind.get("name") or kind.get("names") if isinstance(kind, dict) else kind
    if isinstance(names, list):
        names = ": ".join(map(str, names))  # as QuPath writes a class derived from another
    return {**scores, "label": "" if names is None else str(names)}
