"""Outlines moved from where people or networks draw them to the steepest slope of grey."""

from __future__ import annotations

import numpy as np
from scipy import ndimage, special

from particle_nb.core.errors import DataError, ImageError
from particle_nb.core.image import Image
from particle_nb.core.masks import Mask, MaskSet

#: How far an outline may move, how finely its profile is sampled, and over what width, px.
_REACH, _STEP, _WIDTH = 2.5, 0.1, 0.5
#: Blur that turns a pixel mask into a smooth distance from its outline, px.
_SIGMA = 2.0
#: Least part of the rim that must lie free of other masks, and least number of pixels there.
_FREE, _FEWEST = 0.3, 24


def to_grey_edges(masks: MaskSet, image: Image) -> MaskSet:
    """Move each outline to where the grey value across it changes most steeply.

    One shift for each particle, inwards or outwards by up to 2.5 px, found on the mean grey profile
    across the part of its rim that no other mask touches; the form stays. People draw outlines
    outside of that edge, and networks learn it from them. A mask without enough free rim or
    without an edge within reach stays as it is.

    Parameters
    ----------
    masks : MaskSet
    image : Image
        Of the same frame.

    Raises
    ------
    DataError
        If `masks` is no MaskSet.
    ImageError
        If the image is none or of another frame.

    Examples
    --------
    >>> rows, columns = np.mgrid[:64, :64]
    >>> far = np.hypot(rows - 32, columns - 32)
    >>> picture = Image((200 - 150 / (1 + np.exp(20.0 - far))).astype(np.uint8))
    >>> drawn = MaskSet((Mask.from_full(far < 21.5),))
    >>> bool(abs(np.sqrt(to_grey_edges(drawn, picture)[0].area / np.pi) - 20) < 0.15)
    True
    """
    if not isinstance(masks, MaskSet):
        raise DataError(f"outlines are those of a MaskSet, not {type(masks).__name__}.")
    if not isinstance(image, Image) or image.shape != masks.shape:
        seen = image.shape if isinstance(image, Image) else type(image).__name__
        raise ImageError(f"the masks are of a frame {masks.shape}, the image is {seen}.")
    labels = masks.to_labels()
    grey = np.asarray(image.grey)
    out = []
    for index, mask in enumerate(masks):
        for _ in range(2):  # a pixel mask says where it lies to a fifth of a pixel at first
            mask = _moved(mask, index + 1, labels, grey)
        out.append(mask)
    return MaskSet(tuple(out), masks.shape)


def _moved(mask: Mask, label: int, labels: np.ndarray, grey: np.ndarray) -> Mask:
    pad = int(np.ceil(_REACH + 2 * _SIGMA))
    r0, c0, r1, c1 = mask.bbox
    top, left = max(r0 - pad, 0), max(c0 - pad, 0)
    window = np.s_[top : r1 + pad, left : c1 + pad]
    own = np.zeros(labels[window].shape, bool)
    own[r0 - top : r1 - top, c0 - left : c1 - left] = mask.crop
    # the frame is no edge: what ends there is taken to go on behind it
    soft = ndimage.gaussian_filter(own.astype(float), _SIGMA, mode="nearest")
    inward = _SIGMA * np.sqrt(2) * special.erfinv((2 * soft - 1).clip(-1 + 1e-9, 1 - 1e-9))
    others = (labels[window] > 0) & (labels[window] != label)
    band = np.abs(inward) < _REACH + 1.0
    free = band & ~ndimage.binary_dilation(others, iterations=int(np.ceil(_REACH)))
    if free.sum() < max(_FEWEST, _FREE * band.sum()):
        return mask
    shift = _steepest(inward[free], grey[window][free].astype(float))
    if shift is None:
        return mask
    crop = inward > shift
    parts, count = ndimage.label(crop)
    if count > 1:
        sizes = np.bincount(parts.ravel())
        sizes[0] = 0
        crop = parts == sizes.argmax()
    return mask.replace(origin=(top, left), crop=crop) if crop.any() else mask


def _steepest(inward: np.ndarray, grey: np.ndarray) -> float | None:
    """Distance, positive inwards, at which grey changes most steeply; None without an edge."""
    at = np.arange(-_REACH - _STEP, _REACH + 1.5 * _STEP, _STEP)
    weight = np.exp(-0.5 * ((inward[None] - at[:, None]) / _WIDTH) ** 2)
    total = weight.sum(1)
    mean = (weight * inward).sum(1) / total
    level = (weight * grey).sum(1) / total
    away = inward[None] - mean[:, None]
    slope = (weight * away * (grey[None] - level[:, None])).sum(1) / (weight * away**2).sum(1)
    rest = grey - np.interp(inward, at, level)
    error = np.sqrt(rest.var() / (weight * away**2).sum(1).min())
    sign = np.sign(level[-1] - level[0]) or 1.0
    rising = sign * slope
    top = int(rising.argmax())
    # an edge stands out of the noise and is steeper than what lies on either side of it
    if not 0 < top < len(at) - 1 or rising[top] < 4 * error:
        return None
    a, b, c = rising[top - 1 : top + 2]
    bend = a - 2 * b + c
    return float(at[top] + (0.5 * (a - c) / bend * _STEP if bend < 0 else 0.0))
