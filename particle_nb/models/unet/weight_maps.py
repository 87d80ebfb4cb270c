"""Pixel weights that make a network look at what separates particles (Bals and Epple 2023)."""

from __future__ import annotations

import numpy as np
from scipy import ndimage
from skimage.segmentation import expand_labels

from particle_nb.core.errors import DataError

#: Distances are looked for up to so many sigma; further out the first term is below 1e-3.
REACH = 3.0


def parted_foreground(labels: np.ndarray) -> np.ndarray:
    """Foreground bool (H, W) of labels (H, W), less the rims of particles that touch.

    Only so can connected regions of the answer be particles; see `particles_of` for the way back.
    """
    padded = np.pad(labels, 1)
    inside = labels > 0
    for dy, dx in ((0, 1), (1, 0), (0, -1), (-1, 0)):
        height, width = labels.shape
        other = padded[1 + dy : 1 + dy + height, 1 + dx : 1 + dx + width]
        inside &= (other == labels) | (other == 0)
    return np.asarray(inside)


def particles_of(foreground: np.ndarray, least_area: int = 1) -> np.ndarray:
    """Labels int32 (H, W) of the connected regions of a foreground bool (H, W), without gaps
    where particles touch: the pixel line that parts them goes to the nearer one."""
    labels, _ = ndimage.label(foreground)
    sizes = np.bincount(labels.ravel())
    kept = sizes >= least_area
    kept[0] = False
    labels = ((np.cumsum(kept) * kept)[labels]).astype(np.int32)
    none = np.iinfo(np.int32).max
    high = ndimage.maximum_filter(labels, 5)
    low = ndimage.minimum_filter(np.where(labels > 0, labels, none), 5)
    seam = (labels == 0) & (low < high)
    return np.where(seam, expand_labels(labels, 1), labels).astype(np.int32)


def nearest_two(labels: np.ndarray, reach: float) -> tuple[np.ndarray, np.ndarray]:
    """Distances d1 and d2 (H, W), px, to the nearest and second-nearest particle; `inf` beyond
    `reach`."""
    first = np.full(labels.shape, np.inf)
    second = np.full(labels.shape, np.inf)
    pad = int(np.ceil(reach)) + 1
    for number, place in enumerate(ndimage.find_objects(labels), start=1):
        if place is None:
            continue
        window = tuple(
            slice(max(part.start - pad, 0), min(part.stop + pad, extent))
            for part, extent in zip(place, labels.shape, strict=True)
        )
        distance = ndimage.distance_transform_edt(labels[window] != number)
        distance = np.where(distance > reach, np.inf, distance)
        nearer = distance < first[window]
        second[window] = np.where(nearer, first[window], np.minimum(second[window], distance))
        first[window] = np.where(nearer, distance, first[window])
    return first, second


def weight_map(
    labels: np.ndarray,
    grey: np.ndarray | None = None,
    w0: float = 10.0,
    sigma: float = 7.0,
    gamma: float = 0.0,
) -> np.ndarray:
    """Weights of pixels for the loss: more where background is narrow, or bright.

    On background ``w0 exp(-(d1 + d2)^2 / (2 sigma^2)) + gamma I + 1``, with the distances to the
    nearest two particles and the grey value from 0 to 1; on particles 1. The line between
    particles that touch is background.

    Parameters
    ----------
    labels : (H, W) int
        0 is background.
    grey : (H, W) array or None
        Needed with `gamma`.
    w0, sigma, gamma : float
        Bals and Epple: 10, 7 px, and 2 for STEM or 0 for SE.

    Raises
    ------
    DataError
        If the two are of different frames, or `gamma` comes without grey values.

    References
    ----------
    Bals and Epple 2023, equation 1, doi:10.1039/d2ra07812k, after Ronneberger et al. 2015,
    doi:10.1007/978-3-319-24574-4_28.

    Examples
    --------
    >>> labels = np.zeros((1, 9), int); labels[0, :3], labels[0, 6:] = 1, 2
    >>> [round(float(w), 2) for w in weight_map(labels)[0, 2:5]]
    [1.0, 9.49, 9.49]
    """
    labels = np.asarray(labels)
    if labels.ndim != 2 or not np.issubdtype(labels.dtype, np.integer):
        raise DataError(f"labels are whole numbers (H, W), not {labels.dtype} {labels.shape}.")
    ground = ~parted_foreground(labels)
    first, second = nearest_two(labels, REACH * sigma)
    with np.errstate(over="ignore", invalid="ignore"):
        near = np.exp(-((first + second) ** 2) / (2.0 * sigma**2))
    weights = 1.0 + w0 * np.where(np.isfinite(near), near, 0.0)
    if gamma:
        if grey is None or np.shape(grey) != labels.shape:
            raise DataError("gamma needs the grey values of the same frame.")
        low, high = np.percentile(grey, (0.5, 99.5))
        share = ((np.asarray(grey, float) - low) / max(float(high - low), 1e-9)).clip(0, 1)
        weights += gamma * share
    return np.where(ground, weights, 1.0).astype(np.float32)
