"""Size and shape of particles: `measure`, its settings, flags and edge weights."""

from __future__ import annotations

import dataclasses
import math
import os
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from types import MappingProxyType
from typing import Any

import numpy as np
import pandas as pd

from particle_nb.core.errors import CalibrationError, DataError
from particle_nb.core.image import Calibration, RegionOfInterest
from particle_nb.core.image.region import held, region_mask
from particle_nb.core.image.scale import CalibrationWarning
from particle_nb.core.masks import MaskSet
from particle_nb.core.shape._kernels import run_lengths
from particle_nb.core.shape.contour import (
    AREA,
    ESTIMATOR,
    FERET_MIN,
    KEPT,
    N_HOLES,
    N_PARTS,
    UNMEASURABLE,
    X,
    Y,
    measured_masks,
)
from particle_nb.core.shape.descriptors import DESCRIPTORS, PAPER_NAMES, Descriptor, Region

try:  # pandas 3; older ones take the usual way
    from pandas.api.internals import create_dataframe_from_blocks
except ImportError:
    create_dataframe_from_blocks = None


@lru_cache(maxsize=64)
def _header(names: tuple[str, ...]) -> pd.Index:
    return pd.Index(names)


def frame(columns: Mapping[str, np.ndarray | Sequence[str]]) -> pd.DataFrame:
    """Return ``pandas.DataFrame(columns)`` for columns of numbers and of texts.

    The usual way looks at every column by itself, which for the 28 particles of an image takes
    longer than measuring them. Here columns of one type go in as one block, all texts are
    converted together, and a header is made once for all tables that have it.

    Parameters
    ----------
    columns : mapping of str to array (N,) or list of str
        Arrays of float, int or bool, lists of texts without gaps; all of one length.

    Examples
    --------
    >>> frame({"x_px": np.array([1.0, 2.0]), "flag": ["", "holes"]})
       x_px   flag
    0   1.0
    1   2.0  holes
    """
    texts = [name for name, column in columns.items() if not isinstance(column, np.ndarray)]
    rows = len(next(iter(columns.values()), ()))
    if create_dataframe_from_blocks is None or not rows:
        return pd.DataFrame(columns)
    together: list[str] = []
    for name in texts:
        together += columns[name]
    converted = pd.Series(together)
    if texts and not isinstance(converted.dtype, pd.StringDtype):
        return pd.DataFrame(columns)
    grouped: dict[np.dtype, list[int]] = {}
    blocks: list[tuple[Any, np.ndarray]] = []
    values = list(columns.values())
    for place, column in enumerate(values):
        if isinstance(column, np.ndarray):
            grouped.setdefault(column.dtype, []).append(place)
        else:
            first = rows * len(blocks)
            blocks.append((converted.array[first : first + rows], np.array([place])))
    for places in grouped.values():
        blocks.append((np.stack([values[place] for place in places]), np.array(places)))
    # a view of the header: who renames it renames their own
    header = _header(tuple(columns)).view()
    return create_dataframe_from_blocks(blocks, index=pd.RangeIndex(rows), columns=header)


_LENGTH_UNITS = ("px", "nm", "um")

#: Columns of `measure` that are no descriptors.
_COLUMNS = {"label", "image", "x_px", "y_px", "touches_edge", "n_parts", "n_holes", "edge_weight"}

_COLUMNS |= {"predicted_iou", "stability_score", "confidence", "class_name", "flag"}

#: Fewer grid cells across than this and the grid, not the image, limits a particle.
_CELLS_ACROSS = 10

#: The same for its width, x_Fmin: an edge is known to a fraction of a pixel at best.
_CELLS_WIDE = 8

#: Share of x_Fmin by which a single step in a long edge may put it off.
_EDGE_DOUBT = 0.02

#: Smoothing that changes the contour's area by this share has removed details of the mask,
_FINE_DETAIL = 0.02

#: and so it has where a lightly smoothed contour is longer by this share.
_FINE_LENGTH = 0.015


@dataclass(frozen=True)
class MeasureSettings:
    """How `measure` reports.

    Parameters
    ----------
    unit : "px", "nm", "um" or None
        None takes the calibration's own unit if it is nm or um, nm for pm, um for larger ones,
        and px without a calibration.
    names : "iso" or "paper"
        "paper" gives the main paper's seven columns under its names, beside the sizes.
    grid_px : float or None
        Size in image pixels of one cell of the grid that the masks were made on. None takes each
        mask's own `Mask.grid_px`, which the segmenters set: 1 for masks drawn on pixels,
        max(H, W) / 256 for SAM on an untiled image. Give it for masks that were read from a file
        which does not say. Particles less than ten cells across are flagged ``too_small``.
    descriptors : mapping of str to Descriptor or function
        More columns; a bare function ``Region -> float`` gives a ratio.
    region : RegionOfInterest, bool array (H, W) or None
        The part of the image that is analysed, e.g. ``image.region`` or ``editor.region``: rows of
        masks outside it are left out, and it stands for the frame in ``touches_edge`` and
        ``edge_weight``.

    Raises
    ------
    DataError
        If a field has no such choice.

    Examples
    --------
    >>> MeasureSettings(names="paper").names
    'paper'
    """

    unit: str | None = None
    names: str = "iso"
    grid_px: float | None = None
    descriptors: Mapping[str, Descriptor | Callable[[Region], float]] = field(default_factory=dict)
    region: RegionOfInterest | np.ndarray | None = field(default=None, compare=False)

    def __post_init__(self) -> None:
        if self.unit is not None:
            unit = {"µm": "um", "μm": "um"}.get(str(self.unit), self.unit)
            if unit not in _LENGTH_UNITS:
                raise DataError(f"unit is one of {', '.join(_LENGTH_UNITS)}, not {self.unit!r}.")
            object.__setattr__(self, "unit", unit)
        if self.names not in ("iso", "paper"):
            raise DataError(f"names is 'iso' or 'paper', not {self.names!r}.")
        grid = self.grid_px
        if grid is not None:
            if isinstance(grid, bool) or not isinstance(grid, (int, float, np.number)):
                raise DataError(f"grid_px is a number of pixels, not {grid!r}.")
            if not 0 < grid < math.inf:
                raise DataError(f"grid_px is a positive number of pixels, not {grid!r}.")
            object.__setattr__(self, "grid_px", float(grid))
        try:
            given = dict(self.descriptors)
        except (TypeError, ValueError):
            raise DataError(
                f"descriptors is a mapping of names to functions, not {self.descriptors!r}."
            ) from None
        for name, entry in given.items():
            taken = DESCRIPTORS.keys() | PAPER_NAMES.keys() | _COLUMNS
            if not isinstance(name, str) or not name or name in taken:
                raise DataError(f"{name!r} cannot name a descriptor; use a new, non-empty name.")
            if not isinstance(entry, Descriptor):
                given[name] = Descriptor(entry, name)
        object.__setattr__(self, "descriptors", MappingProxyType(given))


def choose_unit(calibration: Calibration | None, unit: str | None) -> tuple[str, float]:
    """Return the unit of the columns and the pixel size in it."""
    if calibration is None:
        if unit not in (None, "px"):
            raise CalibrationError(
                f"lengths in {unit} need a pixel size and there is none: pass one, e.g. "
                "measure(masks, Calibration(0.31, 'um')), or leave unit out to measure in px."
            )
        return "px", 1.0
    if not isinstance(calibration, Calibration):
        raise CalibrationError(
            f"calibration must be a Calibration or None, not {type(calibration).__name__}; "
            "write Calibration(0.31, 'um')."
        )
    if unit is None:
        unit = {"nm": "nm", "pm": "nm"}.get(calibration.unit, "um")
    return unit, 1.0 if unit == "px" else calibration.to(unit)


def scale_facts(masks: MaskSet, calibration: Calibration | None, unit: str) -> dict[str, Any]:
    """Return what a table of masks says of its lengths: unit, pixel size, scale, digest of masks.

    Examples
    --------
    >>> scale_facts(MaskSet((), (4, 4)), Calibration(2.0, "nm"), "nm")["pixel_size"]
    2.0
    """
    return {
        "unit": unit,
        "pixel_size": choose_unit(calibration, unit)[1],
        "calibration": "none" if calibration is None else str(calibration),
        "masks": masks.digest,
    }


def _flags(quantities: np.ndarray, judged: np.ndarray, grid_px: np.ndarray) -> list[str]:
    """Name what keeps each particle from being measured as the estimator promises."""
    area, lost = quantities[:, AREA], np.abs(quantities[:, KEPT] - 1)
    (detail, doubt), wide = judged.T, quantities[:, FERET_MIN]
    small = np.sqrt(4 * area / math.pi) < _CELLS_ACROSS * grid_px
    found = {
        "no_contour": ~(lost <= UNMEASURABLE),
        "too_small": small,
        "narrow": ~small & ((wide < _CELLS_WIDE * grid_px) | (doubt > _EDGE_DOUBT * wide)),
        "fine_detail": (lost > _FINE_DETAIL) | (detail > 1 + _FINE_LENGTH),
        "parts": quantities[:, N_PARTS] > 1,
        "holes": quantities[:, N_HOLES] > 0,
    }
    flags = [""] * len(quantities)
    for name, rows in found.items():
        for row in rows.nonzero()[0].tolist():
            flags[row] += f";{name}" if flags[row] else name
    return flags


def edge_weights(
    boxes: np.ndarray,
    shape: tuple[int, int],
    region: RegionOfInterest | np.ndarray | None = None,
) -> np.ndarray:
    """Return the Miles-Lantuejoul weight of each bounding box, float64 (N,).

    A particle that is wide or high is less likely to lie whole within the frame; its weight is
    the inverse of that chance, ``W H / ((W - Fx)(H - Fy))``, and 0 for one that touches the rim.
    On a pixel grid a mask of w columns has W - 1 - w places that keep clear of both rims, and
    that is what stands for W - Fx here.

    Parameters
    ----------
    boxes : int array (N, 4)
        First row, first column, one past the last row, one past the last column.
    shape : (H, W)
        Size of the frame.
    region : RegionOfInterest, bool array (H, W) or None
        The part of the frame that is analysed. Of any shape: the weight is its area over the
        number of places where the box and a rim of one pixel around it lie whole inside, and 0 for
        a box that does not.

    Raises
    ------
    DataError
        If `boxes` is something else.
    ImageError
        If the region is none of this frame.

    Examples
    --------
    >>> edge_weights(np.array([[0, 3, 5, 9], [40, 40, 49, 49]]), (100, 100)).round(3).tolist()
    [0.0, 1.235]

    References
    ----------
    R. E. Miles, 1974; C. Lantuejoul, 1980; also in ISO 13322-1.
    """
    boxes = np.asarray(boxes)
    if boxes.ndim != 2 or boxes.shape[1] != 4 or not np.issubdtype(boxes.dtype, np.integer):
        raise DataError(
            f"boxes is an int array (N, 4) as MaskSet.boxes, not {boxes.dtype} {boxes.shape}."
        )
    height, width = shape
    analysed = None if region is None else region_mask(region, shape)
    if analysed is not None:
        return _region_weights(boxes, analysed)
    r0, c0, r1, c1 = boxes.T
    inside = (r0 > 0) & (c0 > 0) & (r1 < height) & (c1 < width)
    places = (height - 1.0 - (r1 - r0)) * (width - 1.0 - (c1 - c0))
    weights = np.zeros(len(boxes))
    np.divide(height * width, places, out=weights, where=inside & (places > 0))
    return weights


def _region_weights(boxes: np.ndarray, inside: np.ndarray) -> np.ndarray:
    weights = np.zeros(len(boxes))
    whole = ~touches(boxes, inside.shape, inside)
    area = int(np.count_nonzero(inside))
    rows = np.flatnonzero(inside.any(axis=1))
    cols = np.flatnonzero(inside.any(axis=0))
    reach = _reach(inside[rows[0] : rows[-1] + 1, cols[0] : cols[-1] + 1])
    lengths = np.arange(reach.shape[1] + 1)
    heights, widths = boxes[:, 2] - boxes[:, 0], boxes[:, 3] - boxes[:, 1]
    for height in np.unique(heights[whole]):
        runs = run_lengths(reach, int(height) + 2)
        for place in np.flatnonzero(whole & (heights == height)):
            places = int((runs * np.maximum(lengths - (widths[place] + 2) + 1, 0)).sum())
            weights[place] = area / places
    return weights


def _reach(inside: np.ndarray) -> np.ndarray:
    """How many set pixels end at each one, down its column, int32 (H, W)."""
    rows = np.arange(1, len(inside) + 1, dtype=np.int32)[:, None]
    last_gap = np.maximum.accumulate(np.where(inside, 0, rows), axis=0)
    return np.ascontiguousarray(rows - last_gap, np.int32)


def _scale_of(masks: MaskSet, given: Calibration | None) -> Calibration | None:
    """The scale to measure in; loud where it is not the one that a person drew for these masks."""
    drawn = masks.drawn_scale
    if given is None or drawn is None or not isinstance(given, Calibration):
        return given if drawn is None or given is not None else drawn
    if abs(given.to("nm") / drawn.to("nm") - 1) > 1e-6:
        warnings.warn(
            f"measured with {given}, but in the annotator of these masks the scale {drawn} was "
            "drawn; measure(editor.masks, editor.calibration) takes that one.",
            CalibrationWarning,
            stacklevel=3,
        )
    return given


def measure(
    masks: MaskSet | np.ndarray,
    calibration: Calibration | None = None,
    image: str = "",
    settings: MeasureSettings | None = None,
    **changes: Any,
) -> pd.DataFrame:
    """Measure size and shape of every mask: one row each, with the unit in the column's name.

    Area is the pixel count, holes left out and all parts counted. Perimeter, hull and Feret
    diameters belong to one sub-pixel contour, the outer one of the largest part (`ESTIMATOR`);
    they are NaN, with the flag ``no_contour``, for a mask of a few pixels that has none. Ratios
    are of the part with the contour; where it holds less than 95 % of the pixels, as in two
    particles under one mask, the contour's numbers and the ratios are NaN and the flag is
    ``parts``. Where pixel count and contour contradict each other, so that a ratio would pass 1
    (round outlines up to 20 px), the area within the contour stands in all ratios of that particle
    (`particle_nb.core.shape.contour.measured_masks`). x_Fmin is measured to the middle of the
    ripples that smoothing leaves of a straight oblique edge, not to their crests: without that it
    is 0.35 to 0.5 px too large there, at any size.

    Parameters
    ----------
    masks : MaskSet, or int label image (H, W)
    calibration : Calibration or None
        None measures in pixels, or in the scale that was drawn in the annotator that the masks
        come from; given another scale than that one, the given one counts and a
        `CalibrationWarning` says so.
    image : str
        Name written into the column ``image``; stack several images with `pandas.concat`.
    settings : MeasureSettings or None
    **changes
        Fields of `MeasureSettings` by name: ``measure(masks, scale, unit="nm", names="paper")``.

    Returns
    -------
    DataFrame
        One row a mask (of a region: a mask inside it): ``label`` (mask index + 1), ``image`` where
        named, centroid ``x_px y_px``, ``area_um2``, ``perimeter_um``, ``x_A_um``, ``x_Fmin_um``,
        ``x_Fmax_um`` (or ``_nm``, ``_px``), the ratios, ``touches_edge``, ``n_parts``, ``n_holes``,
        ``edge_weight`` (Miles-Lantuejoul),
        ``predicted_iou``, ``stability_score``, ``confidence``, ``class_name`` and ``flag``. A flag
        names what limits the row: ``too_small`` (less than ten cells of the grid that the mask was
        made on across, see `MeasureSettings.grid_px`), ``narrow`` (less than eight cells wide:
        x_Fmin of one particle, and ratios with it, may be off by 5 % and more; or a step in a long
        edge, which a bulge of a pixel would look like, puts it off by over 2 %), ``fine_detail``
        (the smoothing changes the contour's area by over 2 %, or takes about 8 % or more of its
        length, as of corners and spikes of a few pixels), ``no_contour`` (the area by over 25 %),
        ``parts``, ``holes``. ``attrs`` says estimator, unit, frame, source of the scale, digest
        of the masks and the coarsest ``grid_px`` among them.

    Raises
    ------
    CalibrationError
        If a physical unit is asked for without a calibration.
    DataError
        If `masks` is no MaskSet, or a setting is unknown.

    Examples
    --------
    >>> labels = np.zeros((40, 40), int)
    >>> labels[5:25, 5:35] = 1
    >>> table = measure(MaskSet.from_labels(labels), Calibration(0.5, "um"))
    >>> float(table.area_um2[0]), round(float(table.aspect_ratio[0]), 2)
    (150.0, 0.58)
    """
    if isinstance(masks, np.ndarray):
        masks = MaskSet.from_labels(masks)
    if not isinstance(masks, MaskSet):
        raise DataError(
            f"measure needs a MaskSet, not {type(masks).__name__}; for one mask write "
            "MaskSet((mask,)), for a label image MaskSet.from_labels(labels)."
        )
    if not isinstance(image, (str, os.PathLike)):
        raise DataError(
            f"image is the name of the image, not {type(image).__name__}; settings are passed as "
            "settings=MeasureSettings(...)."
        )
    if settings is not None and not isinstance(settings, MeasureSettings):
        raise DataError(f"settings must be MeasureSettings, not {type(settings).__name__}.")
    settings = settings or MeasureSettings()
    try:
        settings = dataclasses.replace(settings, **changes) if changes else settings
    except TypeError:
        known = ", ".join(item.name for item in dataclasses.fields(MeasureSettings))
        raise DataError(
            f"no such setting of measure among {sorted(changes)}; it has {known}."
        ) from None
    calibration = _scale_of(masks, calibration)
    unit, pixel = choose_unit(calibration, settings.unit)
    shape = masks.shape
    assert shape is not None  # MaskSet guarantees it; this is for the type checker
    numbers = np.arange(1, len(masks) + 1)
    region = masks.drawn_region if settings.region is None else settings.region
    inside = None if region is None else region_mask(region, shape)
    if inside is not None:
        chosen = held(inside, masks.masks)
        masks, numbers = masks[chosen], numbers[chosen]
    boxes = masks.boxes
    quantities, own, judged = measured_masks(masks)
    everything = Region.columns(quantities, own)

    grid = np.array([mask.grid_px for mask in masks], float)
    if settings.grid_px is not None:
        grid[:] = settings.grid_px
    columns: dict[str, Any] = {"label": numbers}
    if image:
        columns["image"] = [str(image)] * len(masks)
    columns["x_px"] = quantities[:, X] + boxes[:, 1]
    columns["y_px"] = quantities[:, Y] + boxes[:, 0]

    ratios = [name for name in DESCRIPTORS if DESCRIPTORS[name].dimension == 0]
    wanted = {name: DESCRIPTORS[name] for name in DESCRIPTORS if name not in ratios}
    if settings.names == "paper":
        wanted |= {name: DESCRIPTORS[iso] for name, iso in PAPER_NAMES.items()}
    else:
        wanted |= {name: DESCRIPTORS[name] for name in ratios}
    wanted |= settings.descriptors  # type: ignore[arg-type]
    regions: list[Region] | None = None
    for name, entry in wanted.items():
        if entry.columnar:
            values = np.asarray(entry.function(everything), float)
        else:
            if regions is None:
                regions = Region.rows(quantities, own, masks)
            values = np.array([_value(entry, name, region) for region in regions], float)
        ending = ("", f"_{unit}", f"_{unit}2")[entry.dimension]
        columns[name + ending] = values * pixel**entry.dimension if entry.dimension else values

    columns |= {
        "touches_edge": touches(boxes, shape, inside),
        "n_parts": quantities[:, N_PARTS].astype(np.int64),
        "n_holes": quantities[:, N_HOLES].astype(np.int64),
        "edge_weight": edge_weights(boxes, shape, inside),
        "predicted_iou": masks.predicted_iou,
        "stability_score": masks.stability_score,
        "confidence": masks.confidence,
        "class_name": [mask.label for mask in masks],
        "flag": _flags(quantities, judged, grid),
    }
    table = frame(columns)
    table.attrs.update(
        estimator=ESTIMATOR,
        unit=unit,
        pixel_size=pixel,
        calibration="none" if calibration is None else str(calibration),
        shape=list(shape),
        masks=masks.digest,
        grid_px=float(grid.max(initial=1.0)) if settings.grid_px is None else settings.grid_px,
    )
    if inside is not None:
        table.attrs["analysed_px"] = int(np.count_nonzero(inside))
    return table


def touches(
    boxes: np.ndarray, shape: tuple[int, int], region: RegionOfInterest | np.ndarray | None = None
) -> np.ndarray:
    """Tell which bounding boxes (N, 4), as in `edge_weights`, touch the rim of a frame, bool (N,).

    Of a region's rim those count as cut whose box, with one pixel around it, is not whole inside.

    Examples
    --------
    >>> touches(np.array([[0, 3, 5, 9], [40, 40, 49, 49]]), (100, 100)).tolist()
    [True, False]
    """
    r0, c0, r1, c1 = boxes.T
    inside = None if region is None else region_mask(region, shape)
    if inside is not None:
        # sums over boxes from sums over the rectangles between them and the first pixel
        sums = np.pad(inside, 2).cumsum(axis=0, dtype=np.int64).cumsum(axis=1)
        top, left, bottom, right = r0, c0, r1 + 2, c1 + 2
        held_px = sums[bottom, right] - sums[top, right] - sums[bottom, left] + sums[top, left]
        return held_px < (r1 - r0 + 2) * (c1 - c0 + 2)
    return (r0 == 0) | (c0 == 0) | (r1 == shape[0]) | (c1 == shape[1])


def _value(entry: Descriptor, name: str, region: Region) -> float:
    value = entry.function(region)
    try:
        return float(value)
    except (TypeError, ValueError):
        raise DataError(
            f"descriptor {name!r} returned {value!r}; it has to return one number."
        ) from None
