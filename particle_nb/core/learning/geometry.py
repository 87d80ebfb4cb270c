"""Lengths that a class of particles is known by: diameter, edge, length along the axis, corners.

Ideal bodies with rounded corners are fitted to the pixels themselves, not to a smoothed outline, so
that corners keep their radius: a pixel counts by how far it lies from the body's edge.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from scipy import ndimage

from particle_nb.core.errors import DataError
from particle_nb.core.image import Calibration
from particle_nb.core.learning._bodies import MISFIT, Pixels, fitted
from particle_nb.core.masks import Mask, MaskSet
from particle_nb.core.masks.masks import checked_masks
from particle_nb.core.shape.measuring import choose_unit, scale_facts

#: Words for a class -> the body that it is measured as.
BODIES = {
    "sphere": "sphere",
    "sphere-like": "sphere",
    "circle": "sphere",
    "disc": "sphere",
    "disk": "sphere",
    "dot": "sphere",
    "cube": "square",
    "square": "square",
    "plate": "rectangle",
    "rectangle": "rectangle",
    "cuboid": "rectangle",
    "rod": "rod",
    "fibre": "rod",
    "fiber": "rod",
    "wire": "rod",
    "needle": "rod",
    "triangle": "triangle",
    "truncated triangle": "triangle",
    "pentagon": "pentagon",
    "hexagon": "hexagon",
    "ellipse": "ellipsoid",
    "ellipsoid": "ellipsoid",
}
_LENGTHS = ("d", "edge", "length", "width", "corner_radius")
#: A mask is measured on no more pixels across than this; larger ones are thinned.
_SIDE = 400


def class_geometry(
    masks: Any,
    table: pd.DataFrame | pd.Series | Sequence[str],
    calibration: Calibration | None = None,
    unit: str | None = None,
) -> pd.DataFrame:
    """Measure each particle as the body that its class names.

    Spheres by the circle of equal area; cubes, plates, triangles, pentagons and hexagons by the
    polygon with rounded corners that agrees best with the pixels; rods along their axis, straight
    or curved; ellipsoids by their second moments. What is seen is a projection: a cube is taken to
    lie on a face, a plate flat, a rod in the plane.

    Parameters
    ----------
    masks : MaskSet
    table : DataFrame with a column ``class``, or names (N,)
        From `ShapeClassifier.predict`. `BODIES` lists the words that are understood; others,
        "unknown" among them, are left empty.
    calibration : Calibration or None
        None gives lengths in pixels.
    unit : "px", "nm", "um" or None
        As in `measure`.

    Returns
    -------
    DataFrame
        One row a mask: ``label class body``; with the unit behind ``d`` (sphere), ``edge`` (cube
        and polygons, the mean of their sides, from corner to corner of the sharp polygon),
        ``length`` and ``width`` (rod along and across its axis, plate, axes of an ellipsoid),
        ``corner_radius``; ``truncation``, the share of a triangle's edge lost at each corner if
        corners are cut straight (the same missing area as the radius, seen otherwise);
        ``curvature``, the angle in radians that a rod's axis turns; ``misfit``, the area where
        particle and body disagree over the particle's; ``flag``: ``misfit`` above 0.08, ``edge``
        (cut by the frame: not measured), ``holes``, ``parts``, ``small`` (below 12 px across).

    Raises
    ------
    DataError
        If lengths differ.
    CalibrationError
        If a physical unit is asked for without a calibration.

    Examples
    --------
    >>> labels = np.zeros((60, 60), int)
    >>> labels[10:50, 10:50] = 1
    >>> found = class_geometry(labels, ["cube"], Calibration(0.5, "um"))
    >>> found["edge_um"].round(1).tolist()
    [20.0]

    References
    ----------
    Edge lengths by class: J. Bals, M. Epple, 2023. Rounded polygons: as intersections of offset
    half-planes (Minkowski sum with a disc).
    """
    if isinstance(masks, np.ndarray):
        masks = MaskSet.from_labels(masks)
    masks = checked_masks(masks)
    if isinstance(table, pd.DataFrame):
        if "class" not in table:
            raise DataError("the table has no column 'class'; use that of ShapeClassifier.predict.")
        table = table["class"]
    try:
        names = ["" if not isinstance(name, str) else name for name in table]
    except TypeError:
        raise DataError(
            f"classes are a table with a column 'class' or names, not {type(table).__name__}."
        ) from None
    if len(names) != len(masks):
        raise DataError(f"{len(names)} classes for {len(masks)} masks; give one each.")
    unit, pixel = choose_unit(calibration, unit)
    bodies = [_body(name) for name in names]
    # what the frame cuts has no length that could be known
    rows = [
        _measured(mask, "" if mask.touches_edge else body)
        for mask, body in zip(masks, bodies, strict=True)
    ]
    columns: dict[str, Any] = {
        "label": np.arange(1, len(masks) + 1),
        "class": names,
        "body": bodies,
    }
    for length in _LENGTHS:
        values = np.array([row.get(length, math.nan) for row in rows], float)
        columns[f"{length}_{unit}"] = values * pixel
    for ratio in ("truncation", "curvature", "misfit"):
        columns[ratio] = np.array([row.get(ratio, math.nan) for row in rows], float)
    columns["flag"] = [_flag(mask, row) for mask, row in zip(masks, rows, strict=True)]
    found = pd.DataFrame(columns)
    found.attrs.update(scale_facts(masks, calibration, unit))
    return found


def _body(name: str) -> str:
    """The body that a class is measured as, "" for none; plurals are understood."""
    word = " ".join(name.lower().replace("_", " ").split())
    return BODIES.get(word, "") or BODIES.get(word.removesuffix("s"), "")


def _measured(mask: Mask, body: str) -> dict[str, float]:
    """Lengths in pixels of one mask, taken as a body; nothing for an unknown one."""
    if not body:
        return {}
    filled = ndimage.binary_fill_holes(mask.crop)
    parts, count = ndimage.label(filled, np.ones((3, 3)))
    if count > 1:
        filled = parts == 1 + np.argmax(ndimage.sum_labels(filled, parts, range(1, count + 1)))
    step = max(1, math.ceil(max(filled.shape) / _SIDE))
    if step > 1:
        # each cell of step x step pixels by the majority of them
        pad = [(0, -side % step) for side in filled.shape]
        cells = np.pad(filled, pad)
        high, wide = (side // step for side in cells.shape)
        filled = cells.reshape(high, step, wide, step).mean(axis=(1, 3)) >= 0.5
    found = fitted(body, Pixels.of(filled))
    return {name: value * (step if name in _LENGTHS else 1) for name, value in found.items()} | {
        "parts": count
    }


def _flag(mask: Mask, row: dict[str, float]) -> str:
    if not row:
        return "edge" if mask.touches_edge else ""
    across = math.sqrt(4 * mask.area / math.pi)
    holes = ndimage.binary_fill_holes(mask.crop).sum() > mask.crop.sum()
    flags = {
        "misfit": row["misfit"] > MISFIT,
        "holes": bool(holes),
        "parts": row["parts"] > 1,
        "small": across < 12,
    }
    return ";".join(name for name, raised in flags.items() if raised)
