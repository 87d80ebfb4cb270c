"""What lies behind a particle's outline: axis, thickness, holes, grey values, fractal dimension."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pandas as pd
from scipy import ndimage

from particle_nb.core.errors import DataError
from particle_nb.core.image import Calibration, Image
from particle_nb.core.masks import Mask, MaskSet
from particle_nb.core.masks.masks import checked_masks
from particle_nb.core.shape.measuring import choose_unit, scale_facts

#: Second moments that differ by less than this share have no long axis.
_ROUND = 0.02

#: Widths that local thickness is told apart by, at most.
_LEVELS = 24

#: Box counting asks for so many sizes of boxes, from two pixels up to an eighth of the particle.
_FEWEST_SIZES = 3


def particle_structure(
    masks: MaskSet | np.ndarray,
    image: Image | None = None,
    calibration: Calibration | None = None,
    unit: str | None = None,
) -> pd.DataFrame:
    """Measure what an outline alone does not say.

    Parameters
    ----------
    masks : MaskSet, or label image int (H, W)
    image : Image or None
        For the grey values; its calibration counts where none is given.
    calibration : Calibration or None
        None measures in pixels.
    unit : str or None
        ``"nm"``, ``"um"``, ``"mm"`` or ``"px"``, as in `measure`.

    Returns
    -------
    DataFrame
        One row a mask, lengths as ``_nm``, ``_um`` or ``_px``:

        ``label``
        ``orientation_deg`` direction of the long axis, 0 along x, against the clock, 0 to 180; of
        the second moments. Angles are axial: average ``exp(2i angle)``. NaN for round particles.
        ``gyration`` radius of gyration, the root mean square distance from the centroid.
        ``thickness``, ``thickness_max`` local thickness: the diameter of the largest disc within
        the mask that covers a pixel, its mean over the pixels and its greatest value. In an
        oblique mask discs keep out of the steps of the rim: 0.5 to 2 px too low there.
        ``hole_area`` area of the holes, in the unit squared.
        ``mean_grey``, ``sd_grey`` of the grey values inside; only with an image.
        ``box_dimension`` by box counting, 1 a line, 2 a plane; meant for agglomerates and
        branched particles. NaN below 64 px. Particles of 100 to 250 px come out 0.05 to 0.2 too
        low, because their rim is a line.

    Raises
    ------
    DataError
        If the masks are none, or the image is of another size.
    CalibrationError
        If a physical unit is asked for without a calibration.

    References
    ----------
    Local thickness: T. Hildebrand and P. Ruegsegger, J. Microsc. 185 (1997) 67,
    doi:10.1046/j.1365-2818.1997.1340694.x.

    Examples
    --------
    >>> labels = np.zeros((40, 90), int)
    >>> labels[10:22, 5:85] = 1
    >>> found = particle_structure(labels, calibration=Calibration(2.0, "nm"))
    >>> found[["orientation_deg", "thickness_max_nm", "hole_area_nm2"]].iloc[0].tolist()
    [0.0, 24.0, 0.0]
    """
    if isinstance(masks, np.ndarray):
        masks = MaskSet.from_labels(masks)
    masks = checked_masks(masks)
    if image is not None and not isinstance(image, Image):
        raise DataError(f"grey values are those of an Image, not of {type(image).__name__}.")
    if image is not None and masks.shape is not None and image.shape != masks.shape:
        raise DataError(f"masks of {masks.shape} do not belong to an image of {image.shape}.")
    if calibration is None and image is not None:
        calibration = image.calibration
    unit, pixel = choose_unit(calibration, unit)
    axes = np.array([_moments(mask) for mask in masks], float).reshape(-1, 2)
    thick = np.array([_thickness(mask.crop) for mask in masks], float).reshape(-1, 2)
    columns: dict[str, Any] = {
        "label": np.arange(1, len(masks) + 1),
        "orientation_deg": axes[:, 0],
        f"gyration_{unit}": axes[:, 1] * pixel,
        f"thickness_{unit}": thick[:, 0] * pixel,
        f"thickness_max_{unit}": thick[:, 1] * pixel,
        f"hole_area_{unit}2": np.array([_holes(mask.crop) for mask in masks], float) * pixel**2,
    }
    if image is not None:
        inside = [_grey(mask, image.grey) for mask in masks]
        columns["mean_grey"] = [float(values.mean()) for values in inside]
        columns["sd_grey"] = [float(values.std()) for values in inside]
    columns["box_dimension"] = [_box_dimension(mask.crop) for mask in masks]
    found = pd.DataFrame(columns)
    found.attrs.update(scale_facts(masks, calibration, unit))
    return found


def _moments(mask: Mask) -> tuple[float, float]:
    """Direction of the long axis, degrees or NaN where there is none; radius of gyration, px."""
    rows, cols = np.nonzero(mask.crop)
    x, y = cols - cols.mean(), rows.mean() - rows
    # a pixel is a square, not a point: 1/12 along either axis
    xx, yy, xy = (x @ x) / x.size + 1 / 12, (y @ y) / x.size + 1 / 12, (x @ y) / x.size
    apart = math.hypot(xx - yy, 2 * xy)
    angle = math.degrees(0.5 * math.atan2(2 * xy, xx - yy)) % 180
    return (angle if apart > _ROUND * (xx + yy) else math.nan), math.sqrt(xx + yy)


def _thickness(crop: np.ndarray) -> tuple[float, float]:
    """Mean and greatest local thickness of a bool crop (h, w), px."""
    # nodes on the middles of the pixels and on their corners and edges: the rim is a node
    nodes = np.zeros((2 * crop.shape[0] + 1, 2 * crop.shape[1] + 1), bool)
    nodes[1::2, 1::2] = crop
    nodes[1::2, 2:-1:2] = crop[:, 1:] & crop[:, :-1]
    nodes[2:-1:2] = nodes[1:-2:2] & nodes[3::2]
    reach = ndimage.distance_transform_edt(nodes)  # in half pixels, so a diameter in pixels, too
    levels = np.unique(reach[nodes])[::-1]
    if levels.size > _LEVELS:
        levels = np.linspace(levels[0], levels[-1], _LEVELS)
    covered, last = np.zeros(nodes.shape), levels[0]
    for level in levels.tolist():
        near = ndimage.distance_transform_edt(reach < level - 1e-9) < level
        # discs between this level and the last: on average halfway
        covered[near & (covered == 0)] = (level + last) / 2
        last = level
    return float(covered[1::2, 1::2][crop].mean()), float(levels[0])


def _holes(crop: np.ndarray) -> int:
    return int(np.count_nonzero(ndimage.binary_fill_holes(crop) & ~crop))


def _grey(mask: Mask, grey: np.ndarray) -> np.ndarray:
    r0, c0, r1, c1 = mask.bbox
    return grey[r0:r1, c0:c1][mask.crop].astype(np.float64)


def _box_dimension(crop: np.ndarray) -> float:
    """Slope of the number of boxes over their size; at each size the place with the fewest."""
    sizes = [2**k for k in range(1, 12) if 2**k <= max(crop.shape) / 8]
    if len(sizes) < _FEWEST_SIZES:
        return math.nan
    counts = []
    for size in sizes:
        steps = range(0, size, max(1, size // 4))
        counts.append(min(_boxes(crop, size, row, col) for row in steps for col in steps))
    return float(-np.polyfit(np.log(sizes), np.log(counts), 1)[0])


def _boxes(crop: np.ndarray, size: int, row: int, col: int) -> int:
    """How many boxes hold a pixel, of a grid that begins so far before the crop."""
    high, wide = (-(-(n + first) // size) for n, first in zip(crop.shape, (row, col), strict=True))
    padded = np.zeros((high * size, wide * size), bool)
    padded[row : row + crop.shape[0], col : col + crop.shape[1]] = crop
    return int(np.count_nonzero(padded.reshape(high, size, wide, size).any(axis=(1, 3))))
