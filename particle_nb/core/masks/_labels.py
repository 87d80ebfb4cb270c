"""Label images: where every label lies, and its pixels as a crop, in one compiled pass."""

from __future__ import annotations

from typing import Any

import numpy as np

from particle_nb.core.compiled import compiled
from particle_nb.core.errors import ImageError


def _checked(labels: Any) -> np.ndarray:
    """Return a label image as int32 (H, W), in order; labels beyond that are renumbered."""
    labels = np.asarray(labels)
    if labels.dtype == bool:
        raise ImageError(
            "a binary image is no label image; number its parts first, e.g. with "
            "skimage.measure.label."
        )
    if labels.ndim != 2 or labels.size == 0 or not np.issubdtype(labels.dtype, np.integer):
        raise ImageError(
            f"a label image is a non-empty integer array (H, W), not {labels.dtype} {labels.shape}."
        )
    if not np.can_cast(labels.dtype, np.int32):
        if labels.min() < 0:
            raise _negative()
        if labels.max() > labels.size:
            labels = _renumbered(labels)
    return np.ascontiguousarray(labels, np.int32)


def _negative() -> ImageError:
    return ImageError("a label image has no negative labels; 0 is the background.")


def _renumbered(labels: np.ndarray) -> np.ndarray:
    """Return the same labels as 1, 2, ... in their order."""
    values, places = np.unique(labels, return_inverse=True)
    return (places.reshape(labels.shape) + (0 if values[0] == 0 else 1)).astype(np.int32)


@compiled
def _boxes(labels):
    """Return first row, first column, last row, last column, px, of label n in row n - 1; else -1.

    The second value is the first label met that has no place there: it is negative, or so great
    that a list of places for every label would be longer than the image. It is 0 for none.
    """
    height, width = labels.shape
    boxes = np.full((256, 4), -1, np.int64)
    for i in range(height):
        row = labels[i]
        j = 0
        while j < width:
            label, start = row[j], j
            j += 1
            # a run ends within the next 16 pixels or goes on for all of them
            while j + 16 <= width:
                ahead, other = row[j : j + 16], np.int32(0)
                for k in range(16):
                    other |= ahead[k] ^ label
                if other != 0:
                    break
                j += 16
            while j < width and row[j] == label:
                j += 1
            if label == 0:
                continue
            k = label - 1
            if k < 0 or k >= len(boxes):
                if label < 0 or label > labels.size:
                    return boxes, label
                longer = np.full((max(2 * len(boxes), label), 4), -1, np.int64)
                longer[: len(boxes)] = boxes
                boxes = longer
            if boxes[k, 2] < 0:
                boxes[k, 0], boxes[k, 1], boxes[k, 3] = i, start, j - 1
            else:
                boxes[k, 1] = min(boxes[k, 1], start)
                boxes[k, 3] = max(boxes[k, 3], j - 1)
            boxes[k, 2] = i
    return boxes, np.int32(0)


@compiled
def _crops(labels, numbers, boxes, offsets, pixels):
    """Write the crop of every numbered label, one behind the other, its rows first.

    `boxes` holds first and last row and column in px, `offsets` where a crop begins in `pixels`.
    """
    for k in range(len(numbers)):
        number, place = numbers[k], offsets[k]
        first, left, last, right = boxes[k]
        width = right - left + 1
        for i in range(first, last + 1):
            row, target = labels[i, left : right + 1], pixels[place : place + width]
            for j in range(width):
                target[j] = row[j] == number
            place += width


def crops_of(labels: np.ndarray) -> list[tuple[tuple[int, int], np.ndarray]]:
    """Return ((row, col), read-only bool crop (h, w)) of every label, in the labels' order.

    Parameters
    ----------
    labels : int array (H, W)
        0 is background; a crop is as large as its label needs.

    Raises
    ------
    ImageError
        If it is not a non-empty integer array (H, W), is boolean, or has negative labels.

    Examples
    --------
    >>> [(place, crop.tolist()) for place, crop in crops_of(np.array([[0, 7, 7]]))]
    [((0, 1), [[True, True]])]
    """
    labels = _checked(labels)
    every, strange = _boxes(labels)
    if strange < 0 or (strange > 0 and labels.min() < 0):
        raise _negative()
    if strange > 0:
        labels = _renumbered(labels)
        every, _ = _boxes(labels)
    numbers = np.flatnonzero(every[:, 2] >= 0)
    boxes = every[numbers]
    heights, widths = boxes[:, 2] - boxes[:, 0] + 1, boxes[:, 3] - boxes[:, 1] + 1
    ends = np.cumsum(heights * widths)
    offsets = ends - heights * widths
    # all crops are views of one buffer: an array of its own costs each as much as its pixels
    pixels = np.empty(int(ends[-1]) if len(ends) else 0, bool)
    _crops(labels, numbers + 1, boxes, offsets, pixels)
    pixels.flags.writeable = False
    places = zip(*(column.tolist() for column in (*boxes[:, :2].T, offsets, ends)), strict=True)
    return [
        ((row, col), pixels[start:end].reshape(-1, width))
        for (row, col, start, end), width in zip(places, widths.tolist(), strict=True)
    ]
