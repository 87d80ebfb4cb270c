"""Scores of a segmentation against its truth: F1, AJI, pixel, Rand and boundary errors.

Instance numbers (F1, panoptic quality, AJI, AJI+) compare every mask as it is, so overlapping
masks each count with all their pixels. Pixel, Rand and boundary numbers need one label a pixel:
there a `MaskSet` is flattened by `MaskSet.to_labels`, the smaller mask on top.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property, reduce
from typing import Any

import numpy as np
import pandas as pd
from scipy import sparse, spatial

from particle_nb.core.errors import DataError
from particle_nb.core.masks import MaskSet
from particle_nb.core.matching.overlap import Overlap, finite, iou_thresholds, share

#: IoU thresholds of the COCO convention, 0.50 to 0.95 in steps of 0.05.
IOU_THRESHOLDS = tuple(round(0.5 + 0.05 * step, 2) for step in range(10))


@dataclass(frozen=True, eq=False)
class SegmentationScores:
    """Every score of one image, or of many pooled, kept as sums so that scores add up.

    Adding two pools them: counts are added first and divided afterwards (micro average).
    All shares lie between 0 and 1 and are NaN where they are 0/0.

    Parameters
    ----------
    n_predicted, n_truth : int
        Number of masks.
    thresholds, tp, iou_sum : tuple
        Per IoU threshold, the matched pairs and the sum of their IoU.
    aji_sums, aji_plus_sums : (intersection, union) in px
    pixel_counts : (both, predicted only, truth only, neither)
    rand_sums : (joint, predicted, true) sums of squared overlaps less the pixels
    boundary_counts : (predicted near the true, predicted, true near the predicted, true)
    boundary_tolerance : float, px
    """

    n_predicted: int
    n_truth: int
    thresholds: tuple[float, ...]
    tp: tuple[int, ...]
    iou_sum: tuple[float, ...]
    aji_sums: tuple[int, int]
    aji_plus_sums: tuple[int, int]
    pixel_counts: tuple[int, int, int, int]
    rand_sums: tuple[float, float, float]
    boundary_counts: tuple[int, int, int, int]
    boundary_tolerance: float

    @cached_property
    def by_threshold(self) -> pd.DataFrame:
        """A row per IoU threshold: tp, fp, fn, precision, recall, f1, mean_iou and
        panoptic_quality; ``average_precision`` is tp / (tp + fp + fn), as in cell segmentation."""
        tp = np.array(self.tp, float)
        fp, fn = self.n_predicted - tp, self.n_truth - tp
        iou_sum = np.array(self.iou_sum)
        with np.errstate(invalid="ignore"):
            return pd.DataFrame(
                {
                    "threshold": self.thresholds,
                    "tp": self.tp,
                    "fp": fp.astype(int),
                    "fn": fn.astype(int),
                    "precision": tp / (tp + fp),
                    "recall": tp / (tp + fn),
                    "f1": 2 * tp / (2 * tp + fp + fn),
                    "mean_iou": iou_sum / tp,
                    "panoptic_quality": iou_sum / (tp + fp / 2 + fn / 2),
                    "average_precision": tp / (tp + fp + fn),
                }
            )

    @property
    def f1(self) -> float:
        """F1 at the lowest threshold, 0.5 by default."""
        return float(self.by_threshold["f1"].iloc[0])

    @property
    def precision(self) -> float:
        """Precision at the lowest threshold."""
        return float(self.by_threshold["precision"].iloc[0])

    @property
    def recall(self) -> float:
        """Recall at the lowest threshold."""
        return float(self.by_threshold["recall"].iloc[0])

    @property
    def mean_iou(self) -> float:
        """Mean IoU of the pairs matched at the lowest threshold."""
        return float(self.by_threshold["mean_iou"].iloc[0])

    @property
    def panoptic_quality(self) -> float:
        """Panoptic quality at the lowest threshold, doi:10.1109/CVPR.2019.00963."""
        return float(self.by_threshold["panoptic_quality"].iloc[0])

    @property
    def mean_f1(self) -> float:
        """Mean F1 over all thresholds."""
        return float(self.by_threshold["f1"].mean())

    @property
    def aji(self) -> float:
        """Aggregated Jaccard index, Kumar et al. 2017, doi:10.1109/TMI.2017.2677499.

        Each truth takes the predicted mask of largest IoU, so one prediction may serve twice.
        """
        return share(*self.aji_sums)

    @property
    def aji_plus(self) -> float:
        """AJI with one-to-one assignment of largest total IoU, doi:10.1016/j.media.2019.101563."""
        return share(*self.aji_plus_sums)

    @property
    def pixel_error(self) -> float:
        """Share of pixels on the wrong side of foreground against background."""
        return share(self.pixel_counts[1] + self.pixel_counts[2], sum(self.pixel_counts))

    @property
    def pixel_iou(self) -> float:
        """Intersection over union of the foregrounds."""
        return share(self.pixel_counts[0], sum(self.pixel_counts[:3]))

    @property
    def dice(self) -> float:
        """Dice coefficient (pixel F1) of the foregrounds."""
        both, predicted, true, _ = self.pixel_counts
        return share(2 * both, 2 * both + predicted + true)

    @property
    def rand_error(self) -> float:
        """Adapted Rand error over the true foreground, doi:10.3389/fnana.2015.00142."""
        joint, predicted, true = self.rand_sums
        return 1 - share(joint, (predicted + true) / 2)

    @property
    def boundary_precision(self) -> float:
        """Share of predicted boundary pixels within the tolerance of a true one."""
        return share(*self.boundary_counts[:2])

    @property
    def boundary_recall(self) -> float:
        """Share of true boundary pixels within the tolerance of a predicted one."""
        return share(*self.boundary_counts[2:])

    @property
    def boundary_f(self) -> float:
        """Harmonic mean of both; the BF score of Csurka et al. 2013, doi:10.5244/C.27.32."""
        precision, recall = self.boundary_precision, self.boundary_recall
        if math.isnan(precision) and math.isnan(recall):
            return math.nan
        if not precision > 0 or not recall > 0:
            return 0.0
        return 2 * precision * recall / (precision + recall)

    def to_dict(self) -> dict[str, float]:
        """Return the scores as one flat row for a table."""
        names = (
            "n_predicted n_truth f1 precision recall mean_f1 mean_iou panoptic_quality aji "
            "aji_plus pixel_error pixel_iou dice rand_error boundary_precision boundary_recall "
            "boundary_f"
        )
        return {name: getattr(self, name) for name in names.split()}

    def __add__(self, other: SegmentationScores) -> SegmentationScores:
        if not isinstance(other, SegmentationScores):
            return NotImplemented
        mine = (self.thresholds, self.boundary_tolerance)
        if mine != (other.thresholds, other.boundary_tolerance):
            raise DataError(
                "scores of different IoU thresholds or boundary tolerances cannot be pooled; "
                "score all images with the same settings."
            )

        def plus(name: str) -> Any:
            return tuple(
                a + b for a, b in zip(getattr(self, name), getattr(other, name), strict=True)
            )

        return SegmentationScores(
            n_predicted=self.n_predicted + other.n_predicted,
            n_truth=self.n_truth + other.n_truth,
            thresholds=self.thresholds,
            tp=plus("tp"),
            iou_sum=plus("iou_sum"),
            aji_sums=plus("aji_sums"),
            aji_plus_sums=plus("aji_plus_sums"),
            pixel_counts=plus("pixel_counts"),
            rand_sums=plus("rand_sums"),
            boundary_counts=plus("boundary_counts"),
            boundary_tolerance=self.boundary_tolerance,
        )

    def __repr__(self) -> str:
        return (
            f"<SegmentationScores: {self.n_predicted} predicted, {self.n_truth} true, "
            f"F1 {self.f1:.3f}, AJI {self.aji:.3f}, AJI+ {self.aji_plus:.3f}>"
        )


def score(
    predicted: MaskSet | np.ndarray,
    truth: MaskSet | np.ndarray,
    *,
    thresholds: Sequence[float] = IOU_THRESHOLDS,
    boundary_tolerance: float = 2.0,
) -> SegmentationScores:
    """Score a segmentation of one image by all the measures of this module.

    Parameters
    ----------
    predicted, truth : MaskSet or int array (H, W)
        Of the same frame.
    thresholds : increasing floats
        IoU thresholds, each in (0, 1].
    boundary_tolerance : float
        Euclidean distance in px within which a boundary pixel counts as found.

    Raises
    ------
    DataError
        If frames differ, or thresholds or the tolerance are out of range.
    ImageError
        If an array is no label image.

    Examples
    --------
    >>> truth = np.zeros((20, 20), int); truth[2:8, 2:8] = 1; truth[10:16, 2:8] = 2
    >>> merged = np.zeros((20, 20), int); merged[2:8, 2:8] = 1; merged[10:16, 2:8] = 1
    >>> result = score(merged, truth)
    >>> result.f1, result.pixel_iou, round(result.aji, 2), round(result.aji_plus, 2)
    (0.6666666666666666, 1.0, 0.5, 0.33)
    """
    thresholds = iou_thresholds(thresholds)
    tolerance = finite(boundary_tolerance, "boundary_tolerance")
    if tolerance < 0:
        raise DataError(f"boundary_tolerance is a distance in px of 0 or more, not {tolerance}.")
    overlap = Overlap.of(predicted, truth)
    matches = [overlap.assign(threshold) for threshold in thresholds]
    table = overlap.contingency
    both = int(table[1:, 1:].sum())
    only_predicted = int(table[1:].sum()) - both
    only_true = int(table[:, 1:].sum()) - both
    return SegmentationScores(
        n_predicted=len(overlap.predicted.areas),
        n_truth=len(overlap.truth.areas),
        thresholds=thresholds,
        tp=tuple(len(pairs) for pairs, _ in matches),
        iou_sum=tuple(float(values.sum()) for _, values in matches),
        aji_sums=_aji(overlap),
        aji_plus_sums=_aji_plus(overlap),
        pixel_counts=(both, only_predicted, only_true, int(table[0, 0])),
        rand_sums=_pixel_pairs(table[:, 1:]),
        boundary_counts=_boundary_matches(
            overlap.predicted.labels, overlap.truth.labels, tolerance
        ),
        boundary_tolerance=tolerance,
    )


def pool(scores: Iterable[SegmentationScores]) -> SegmentationScores:
    """Pool the scores of many images: counts are added, then divided (micro average).

    Raises
    ------
    DataError
        If there are none, or they were made with different thresholds.

    Examples
    --------
    >>> good = score(np.array([[1, 1]]), np.array([[1, 1]]))
    >>> bad = score(np.array([[0, 0]]), np.array([[1, 1]]))
    >>> pool([good, bad]).recall
    0.5
    """
    parts = list(scores)
    if not parts or not all(isinstance(part, SegmentationScores) for part in parts):
        raise DataError("pool takes at least one SegmentationScores, as score() returns them.")
    return reduce(lambda a, b: a + b, parts)


def _aji(overlap: Overlap) -> tuple[int, int]:
    a, b = overlap.predicted.areas, overlap.truth.areas
    # made from the same pairs, both sparse arrays share their layout
    iou, common = overlap.iou.tocsc(), overlap.common.tocsc()
    intersection, union = 0, 0
    used = np.zeros(len(a), bool)
    for j, area in enumerate(b):
        first, end = iou.indptr[j], iou.indptr[j + 1]
        if first == end:
            union += int(area)
            continue
        best = first + int(np.argmax(iou.data[first:end]))
        i, both = iou.indices[best], int(common.data[best])
        intersection += both
        union += int(a[i] + area) - both
        used[i] = True
    return intersection, union + int(a[~used].sum())


def _aji_plus(overlap: Overlap) -> tuple[int, int]:
    pairs, _ = overlap.assign(0)
    both = int(np.asarray(overlap.common[pairs[:, 0], pairs[:, 1]]).sum()) if len(pairs) else 0
    # the unions of the pairs and the masks left over are all pixels less those counted twice
    return both, int(overlap.predicted.areas.sum() + overlap.truth.areas.sum()) - both


def _pixel_pairs(table: sparse.csr_array) -> tuple[float, float, float]:
    """Sums over pairs of pixels in the true foreground; predicted background is one segment."""
    values = table.data.astype(float)
    n = values.sum()
    rows = np.asarray(table.sum(axis=1), float)
    cols = np.asarray(table.sum(axis=0), float)
    return (
        float((values**2).sum() - n),
        float((rows**2).sum() - n),
        float((cols**2).sum() - n),
    )


def _boundary_matches(
    predicted: np.ndarray, truth: np.ndarray, tolerance: float
) -> tuple[int, int, int, int]:
    first, second = _boundary_pixels(predicted), _boundary_pixels(truth)
    if not len(first) or not len(second):
        return 0, len(first), 0, len(second)
    # just above the tolerance, as a distance of exactly 2 px must count at tolerance 2
    reach = tolerance * (1 + 1e-9) + 1e-9
    to_second, _ = spatial.cKDTree(second).query(first, distance_upper_bound=reach)
    to_first, _ = spatial.cKDTree(first).query(second, distance_upper_bound=reach)
    return (
        int(np.isfinite(to_second).sum()),
        len(first),
        int(np.isfinite(to_first).sum()),
        len(second),
    )


def _boundary_pixels(labels: np.ndarray) -> np.ndarray:
    """Pixels (row, col) of a mask with a 4-neighbour of another label; the frame is no boundary."""
    edge = np.zeros(labels.shape, bool)
    down = labels[1:] != labels[:-1]
    across = labels[:, 1:] != labels[:, :-1]
    edge[1:] |= down
    edge[:-1] |= down
    edge[:, 1:] |= across
    edge[:, :-1] |= across
    edge &= labels > 0
    return np.argwhere(edge)
