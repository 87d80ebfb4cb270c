"""What lies beside and over a particle: numbers that tell covered and cut ones."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pandas as pd
from scipy import ndimage
from skimage.morphology import convex_hull_image

from particle_nb.core.errors import DataError
from particle_nb.core.image import Image
from particle_nb.core.learning.classifier import ShapeClassifier
from particle_nb.core.learning.features import NEIGHBOURS, FeatureTable, grey_range
from particle_nb.core.masks import MaskSet

#: Pixels across which two masks are beside each other; drawn outlines leave a gap of one or two.
_GAP = 2
#: So many pixels of another mask make it a neighbour.
_LEAST = 3


def neighbour_features(
    image: Image, masks: MaskSet, features: FeatureTable | None = None
) -> FeatureTable:
    """Measure what lies beside each particle and which of two lies over the other.

    Give all masks of the image: a particle that is not there is no neighbour. Where one particle
    bites into the outline of another, the bitten one lies below: the hull of the visible part then
    reaches into the other one, and not the other way round.

    Parameters
    ----------
    image : Image
    masks : MaskSet
        On the image's frame, all particles of it.
    features : FeatureTable or None
        Of the same masks, as from `Session.features`; the new columns are put behind its own.

    Returns
    -------
    FeatureTable
        ``contact_share``, the share of the outline with another mask within 2 px;
        ``neighbours``, how many; ``hidden_share``, what the hull has in other masks over the
        particle's area; ``covering_share``, what it has in the hulls of others; ``order``, the
        first less the second; ``overlap_share``, pixels that another mask claims too;
        ``frame_share``, pixels at the frame over the girth of a disc of equal area;
        ``size_beside``, decimal logarithm of the ratio of x_A to that of the neighbours;
        ``seam_step``, how much brighter it is than they along the contact, in parts of the image's
        grey range. Rows of `features` keep their place.

    Raises
    ------
    DataError
        If the masks are of another frame, or the features of other particles.

    Examples
    --------
    >>> labels = np.zeros((40, 60), int)
    >>> labels[10:30, 5:30], labels[15:25, 22:50] = 1, 2  # the second bites into the first
    >>> table = neighbour_features(Image(np.eye(40, 60)), MaskSet.from_labels(labels))
    >>> bool(table["order"][0] > 0 > table["order"][1])
    True

    References
    ----------
    The class "covered": J. Bals, M. Epple, 2023.
    """
    if not isinstance(image, Image):
        raise DataError(f"neighbour_features needs an Image, not {type(image).__name__}.")
    if not isinstance(masks, MaskSet) or masks.shape != image.shape:
        raise DataError(f"the masks must be a MaskSet on the image's frame {image.shape}.")
    found = FeatureTable(_measured(image, masks), NEIGHBOURS, images=(image.digest,) * len(masks))
    if features is None:
        return found
    if not isinstance(features, FeatureTable) or features.images != found.images:
        raise DataError(
            "the features are not those of these masks: give what session.features(image, masks) "
            "gives, for the same image and all its masks."
        )
    return replace(
        features,
        values=np.hstack([features.values, found.values]),
        names=(*features.names, *found.names),
    )


def classified(
    classifier: ShapeClassifier, image: Image, masks: MaskSet, features: FeatureTable
) -> pd.DataFrame:
    """Return what a classifier predicts, with `neighbour_features` where it was fitted on them.

    Raises
    ------
    DataError
        If it is no ShapeClassifier, is not fitted, or was fitted on other features.
    """
    if not isinstance(classifier, ShapeClassifier):
        raise DataError(
            f"classify needs a ShapeClassifier, not {type(classifier).__name__}; "
            "read one with ShapeClassifier.load(path)."
        )
    if classifier.knows_neighbours:
        features = neighbour_features(image, masks, features)
    return classifier.predict(features)


def _measured(image: Image, masks: MaskSet) -> np.ndarray:
    labels = masks.to_labels()
    count = len(masks)
    claims = np.zeros(image.shape, np.uint16)
    for mask in masks:
        r0, c0, r1, c1 = mask.bbox
        claims[r0:r1, c0:c1] += mask.crop
    areas = np.array([mask.area for mask in masks], float)
    low, high = grey_range(image.grey)
    reach = np.zeros((count, 2))
    rows = np.zeros((count, len(NEIGHBOURS)))
    for place, mask in enumerate(masks):
        r0, c0, r1, c1 = mask.bbox
        top, left = max(r0 - _GAP, 0), max(c0 - _GAP, 0)
        window = slice(top, r1 + _GAP), slice(left, c1 + _GAP)
        near = labels[window]
        inside = np.zeros(near.shape, bool)
        inside[r0 - top : r1 - top, c0 - left : c1 - left] = mask.crop
        others = (near > 0) & (near != place + 1) & ~inside
        ring = ndimage.binary_dilation(inside, np.ones((3, 3)), iterations=_GAP) & ~inside
        beside = np.bincount(near[ring & others], minlength=count + 1)
        touching = np.flatnonzero(beside >= _LEAST) - 1
        hull = convex_hull_image(inside) & others
        reach[place, 0] = np.count_nonzero(hull)
        reach[:, 1] += np.bincount(near[hull], minlength=count + 1)[1:]
        rows[place, 0] = np.count_nonzero(ring & others) / max(int(np.count_nonzero(ring)), 1)
        rows[place, 1] = len(touching)
        rows[place, 5] = np.count_nonzero(claims[window][inside] > 1) / areas[place]
        edge = _at_frame(mask.crop, mask.bbox, image.shape)
        rows[place, 6] = edge / math.sqrt(4 * math.pi * areas[place])
        if len(touching):
            rows[place, 7] = 0.5 * math.log10(areas[place] / areas[touching].mean())
            rows[place, 8] = _step(image.grey[window], inside, ring & others) / (high - low)
    rows[:, 2:4] = reach / np.maximum(areas, 1)[:, None]
    rows[:, 4] = rows[:, 2] - rows[:, 3]
    return rows


def _at_frame(crop: np.ndarray, box: tuple[int, int, int, int], shape: tuple[int, int]) -> int:
    """Pixels of a mask in the outermost rows and columns of the frame."""
    r0, c0, r1, c1 = box
    lines = (
        crop[0] if r0 == 0 else crop[:0],
        crop[-1] if r1 == shape[0] else crop[:0],
        crop[:, 0] if c0 == 0 else crop[:0],
        crop[:, -1] if c1 == shape[1] else crop[:0],
    )
    return sum(int(np.count_nonzero(line)) for line in lines)


def _step(grey: np.ndarray, inside: np.ndarray, across: np.ndarray) -> float:
    """Mean grey of the pixels inside along a contact, less that of the pixels across it."""
    along = inside & ndimage.binary_dilation(across, np.ones((3, 3)), iterations=_GAP)
    if not along.any() or not across.any():
        return 0.0
    return float(grey[along].mean()) - float(grey[across].mean())
