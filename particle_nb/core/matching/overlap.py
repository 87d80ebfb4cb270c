"""Pixels that two segmentations of one image share, and the assignment of their masks."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
from scipy import optimize, sparse
from scipy.sparse import csgraph

from particle_nb.core.errors import DataError, ImageError
from particle_nb.core.masks import MaskSet


@dataclass(frozen=True, eq=False)
class Segmentation:
    """A prediction or a truth in the form that comparisons need; made by `Segmentation.of`.

    Parameters
    ----------
    labels : int array (H, W)
        Masks numbered 1..N without gaps; where they overlap, the smaller one.
    areas : int array (N,)
        Pixels of the whole masks, hidden parts included.
    ids : int array (N,)
        The label in a label image, or the index in a `MaskSet`.
    masks : MaskSet or None
        None for a label image, whose masks cannot overlap.
    """

    labels: np.ndarray
    areas: np.ndarray
    ids: np.ndarray
    masks: MaskSet | None

    @classmethod
    def of(cls, value: MaskSet | np.ndarray, name: str) -> Segmentation:
        """Read a `MaskSet` or a label image, int (H, W); messages say `name`.

        Raises
        ------
        DataError
            If it is neither.
        ImageError
            If it is an array but no label image.

        Examples
        --------
        >>> Segmentation.of(np.array([[0, 7, 7, 9]]), "truth").labels.tolist()
        [[0, 1, 1, 2]]
        """
        if isinstance(value, MaskSet):
            return cls(value.to_labels(), value.areas, np.arange(len(value)), value)
        if not isinstance(value, np.ndarray):
            raise DataError(
                f"{name} must be a MaskSet or an integer label image, not {type(value).__name__}."
            )
        integer = np.issubdtype(value.dtype, np.integer)
        if value.ndim != 2 or value.size == 0 or not integer:
            raise ImageError(
                f"{name}: a label image is a non-empty integer array (H, W), not {value.dtype} "
                f"{value.shape}; number the parts of a binary image first, e.g. with "
                "skimage.measure.label."
            )
        if value.min() < 0:
            raise ImageError(f"{name}: a label image has no negative labels; 0 is the background.")
        if int(value.max()) < 4 * value.size + 256:
            # a count per label is far cheaper than sorting all pixels
            count = np.bincount(value.ravel())
            ids = np.flatnonzero(count[1:]) + 1
            lookup = np.zeros(len(count), np.int32)
            lookup[ids] = np.arange(1, len(ids) + 1)
            return cls(lookup[value], count[ids], ids, None)
        ids, dense = np.unique(value, return_inverse=True)
        dense = dense.reshape(value.shape).astype(np.int32) + np.int32(ids[0] != 0)
        ids = ids[ids != 0]
        return cls(dense, np.bincount(dense.ravel(), minlength=len(ids) + 1)[1:], ids, None)


@dataclass(frozen=True, eq=False)
class Overlap:
    """Two segmentations of one frame laid over each other.

    Raises
    ------
    DataError
        If their frames differ.

    Examples
    --------
    >>> overlap = Overlap.of(np.array([[1, 1, 0]]), np.array([[1, 1, 1]]))
    >>> overlap.common.toarray().tolist(), overlap.iou.toarray().round(2).tolist()
    ([[2]], [[0.67]])
    """

    predicted: Segmentation
    truth: Segmentation

    def __post_init__(self) -> None:
        if self.predicted.labels.shape != self.truth.labels.shape:
            raise DataError(
                f"predicted is {self.predicted.labels.shape} and truth {self.truth.labels.shape} "
                "pixels; both must lie in the frame of the same image."
            )

    @classmethod
    def of(cls, predicted: MaskSet | np.ndarray, truth: MaskSet | np.ndarray) -> Overlap:
        """Lay two `MaskSet` or label images, int (H, W), over each other."""
        return cls(Segmentation.of(predicted, "predicted"), Segmentation.of(truth, "truth"))

    @cached_property
    def contingency(self) -> sparse.csr_array:
        """Pixels of each pair of flattened labels, background first, sparse (N + 1, M + 1)."""
        first, second = self.predicted.labels, self.truth.labels
        n, m = len(self.predicted.areas) + 1, len(self.truth.areas) + 1
        if n * m <= 4 * first.size:
            flat = first.ravel() * np.int64(m) + second.ravel()
            return sparse.csr_array(np.bincount(flat, minlength=n * m).reshape(n, m))
        ones = np.ones(first.size, np.int64)
        return sparse.coo_array((ones, (first.ravel(), second.ravel())), (n, m)).tocsr()

    @cached_property
    def common(self) -> sparse.csr_array:
        """Pixels that each pair of whole masks shares, sparse (N, M)."""
        first, second = self.predicted.masks, self.truth.masks
        if first is not None and second is not None:
            return first.intersections(second)
        if first is not None:
            return _shared_pixels(first, self.truth)
        if second is not None:
            return sparse.csr_array(_shared_pixels(second, self.predicted).T)
        return sparse.csr_array(self.contingency[1:, 1:])

    @cached_property
    def iou(self) -> sparse.csr_array:
        """Intersection over union of each pair of whole masks, sparse (N, M)."""
        pairs = self.common.tocoo()
        i, j = pairs.coords
        union = self.predicted.areas[i] + self.truth.areas[j] - pairs.data
        return sparse.csr_array((pairs.data / union, (i, j)), shape=self.common.shape)

    def frames(self) -> tuple[pd.DataFrame, pd.DataFrame]:
        """Return ``id area_px2 best_iou`` of the predicted and of the true masks."""
        return _best_matches(self.predicted, self.iou), _best_matches(
            self.truth, self.iou.T.tocsr()
        )

    def assign(self, threshold: float) -> tuple[np.ndarray, np.ndarray]:
        """Return one-to-one pairs of positions (K, 2), in the order of the truth, and their IoU.

        Pairs need `threshold`; as many pairs as possible, then the largest total IoU. A threshold
        of 0 asks for the largest total IoU alone, as AJI+ does.
        """
        edges = self.iou.tocoo()
        keep = edges.data >= threshold
        rows, cols = (axis[keep] for axis in edges.coords)
        values = edges.data[keep]
        n, m = self.iou.shape
        # masks without a rival need no assignment, and rivals form small separate groups, so
        # that the cubic algorithm never sees the whole image
        one_row = np.bincount(rows, minlength=n)[rows] == 1
        one_col = np.bincount(cols, minlength=m)[cols] == 1
        alone = one_row & one_col
        pairs, found = [np.column_stack([rows[alone], cols[alone]])], [values[alone]]
        rows, cols, values = rows[~alone], cols[~alone], values[~alone]
        if len(rows):
            graph = sparse.coo_array((np.ones(len(rows)), (rows, cols + n)), (n + m, n + m))
            _, part = csgraph.connected_components(graph, directed=False)
            order = np.argsort(part[rows], kind="stable")
            for group in np.split(order, np.flatnonzero(np.diff(part[rows][order])) + 1):
                i, at_i = np.unique(rows[group], return_inverse=True)
                j, at_j = np.unique(cols[group], return_inverse=True)
                # one more pair outweighs any gain in IoU, which is at most the number of pairs
                bonus = 1.0 + min(len(i), len(j)) if threshold > 0 else 0.0
                gain = np.zeros((len(i), len(j)))
                gain[at_i, at_j] = values[group] + bonus
                a, b = optimize.linear_sum_assignment(gain, maximize=True)
                real = gain[a, b] > 0
                a, b = a[real], b[real]
                pairs.append(np.column_stack([i[a], j[b]]))
                found.append(gain[a, b] - bonus)
        joined, iou = np.concatenate(pairs), np.concatenate(found)
        order = np.argsort(joined[:, 1], kind="stable")
        return joined[order], iou[order]


def iou_thresholds(values: Sequence[float]) -> tuple[float, ...]:
    """Return increasing IoU thresholds, each above 0 and at most 1, as floats.

    Raises
    ------
    DataError
        If they are anything else.

    Examples
    --------
    >>> iou_thresholds([0.5, 0.75])
    (0.5, 0.75)
    """
    try:
        numbers = tuple(finite(value, "an IoU threshold") for value in values)
    except TypeError:
        raise DataError(f"IoU thresholds are a sequence of numbers, not {values!r}.") from None
    increasing = all(a < b for a, b in itertools.pairwise(numbers))
    if not numbers or not increasing or not 0 < numbers[0] <= numbers[-1] <= 1:
        raise DataError(f"IoU thresholds increase and lie above 0 and up to 1, not {values!r}.")
    return numbers


def finite(value: Any, name: str) -> float:
    """Return a finite float, or raise `DataError` naming what it was meant to be."""
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = math.nan
    if isinstance(value, bool) or not math.isfinite(number):
        raise DataError(f"{name} must be a finite number, not {value!r}.")
    return number


def share(part: float, whole: float) -> float:
    """Return part / whole, NaN for 0/0."""
    return float(part / whole) if whole else math.nan


def _shared_pixels(masks: MaskSet, other: Segmentation) -> sparse.csr_array:
    """Common pixels of whole masks (rows) with the masks of a label image (columns)."""
    rows, cols, counts = [], [], []
    for index, mask in enumerate(masks):
        r0, c0, r1, c1 = mask.bbox
        found, count = np.unique(other.labels[r0:r1, c0:c1][mask.crop], return_counts=True)
        inside = found > 0
        rows.append(np.full(int(inside.sum()), index))
        cols.append(found[inside] - 1)
        counts.append(count[inside])
    shape = (len(masks), len(other.areas))
    if not rows:
        return sparse.csr_array(shape, dtype=np.int64)
    values = (np.concatenate(counts), (np.concatenate(rows), np.concatenate(cols)))
    return sparse.csr_array(values, shape=shape)


def _best_matches(side: Segmentation, iou: sparse.csr_array) -> pd.DataFrame:
    best = iou.max(axis=1).toarray().ravel() if iou.nnz else np.zeros(len(side.areas))
    return pd.DataFrame({"id": side.ids, "area_px2": side.areas, "best_iou": best})
