"""Predicted masks matched one to one with true ones.

A prediction or a truth is a `MaskSet`, whose masks may overlap and are compared with all their
pixels, or an integer label image (H, W) with background 0. Scores of whole segmentations build
on this in `particle_nb.core.matching.scores`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from particle_nb.core.errors import DataError
from particle_nb.core.masks import MaskSet
from particle_nb.core.matching.overlap import Overlap, iou_thresholds, share


@dataclass(frozen=True, eq=False)
class Matching:
    """One-to-one matches between predicted and true masks at one IoU threshold.

    Parameters
    ----------
    threshold : float
        Pairs of this IoU or more count as matches.
    pairs : int array (K, 2)
        Position of the predicted and of the true mask of each match.
    iou : float array (K,)
        Their intersection over union.
    predicted, truth : DataFrame
        One row a mask: ``id`` (label, or index in the `MaskSet`), ``area_px2`` and ``best_iou``,
        the largest IoU with any mask of the other side.

    Notes
    -----
    `precision`, `recall`, `f1`, `mean_iou` and `panoptic_quality` are NaN where they are 0/0.

    Examples
    --------
    >>> truth = np.array([[1, 1, 0, 2, 2]])
    >>> matching = match(np.array([[5, 5, 0, 0, 7]]), truth)
    >>> matching.tp, matching.f1, matching.mean_iou
    (2, 1.0, 0.75)
    """

    threshold: float
    pairs: np.ndarray
    iou: np.ndarray
    predicted: pd.DataFrame
    truth: pd.DataFrame

    @property
    def tp(self) -> int:
        """Matched pairs."""
        return len(self.pairs)

    @property
    def fp(self) -> int:
        """Predicted masks without a match."""
        return len(self.predicted) - self.tp

    @property
    def fn(self) -> int:
        """True masks without a match."""
        return len(self.truth) - self.tp

    @property
    def precision(self) -> float:
        """tp / (tp + fp)."""
        return share(self.tp, self.tp + self.fp)

    @property
    def recall(self) -> float:
        """tp / (tp + fn)."""
        return share(self.tp, self.tp + self.fn)

    @property
    def f1(self) -> float:
        """2 tp / (2 tp + fp + fn)."""
        return share(2 * self.tp, 2 * self.tp + self.fp + self.fn)

    @property
    def mean_iou(self) -> float:
        """Mean IoU of the matched pairs (segmentation quality)."""
        return share(float(self.iou.sum()), self.tp)

    @property
    def panoptic_quality(self) -> float:
        """Sum of matched IoU / (tp + fp/2 + fn/2); Kirillov et al., doi:10.1109/CVPR.2019.00963."""
        return share(float(self.iou.sum()), self.tp + 0.5 * self.fp + 0.5 * self.fn)

    def table(self) -> pd.DataFrame:
        """Return one row per true mask, then one per predicted mask that matches none.

        Columns ``truth`` and ``predicted`` (ids, missing where there is no partner), ``iou`` (of
        the match), ``best_iou`` (with any mask of the other side), areas in px^2, equivalent
        circle diameters in px and the deviation of the predicted one in per cent of the true.

        Examples
        --------
        >>> table = match(np.array([[5, 5, 0, 0, 7]]), np.array([[1, 1, 0, 2, 2]])).table()
        >>> table[["truth", "predicted", "iou"]].values.tolist()
        [[1, 5, 1.0], [2, 7, 0.5]]
        """
        n_truth = len(self.truth)
        partner = np.full(n_truth, -1)
        partner[self.pairs[:, 1]] = self.pairs[:, 0]
        left_over = np.setdiff1d(np.arange(len(self.predicted)), self.pairs[:, 0])
        true_at = np.concatenate([np.arange(n_truth), np.full(len(left_over), -1)])
        predicted_at = np.concatenate([partner, left_over])
        iou = np.full(len(true_at), np.nan)
        iou[self.pairs[:, 1]] = self.iou
        area_true = _values_at(self.truth["area_px2"], true_at)
        area_predicted = _values_at(self.predicted["area_px2"], predicted_at)
        best = np.where(
            true_at >= 0,
            _values_at(self.truth["best_iou"], true_at),
            _values_at(self.predicted["best_iou"], predicted_at),
        )
        return pd.DataFrame(
            {
                "truth": pd.array(_values_at(self.truth["id"], true_at)).astype("Int64"),
                "predicted": pd.array(_values_at(self.predicted["id"], predicted_at)).astype(
                    "Int64"
                ),
                "iou": iou,
                "best_iou": best,
                "area_truth_px2": area_true,
                "area_predicted_px2": area_predicted,
                "x_A_truth_px": np.sqrt(4 * area_true / math.pi),
                "x_A_predicted_px": np.sqrt(4 * area_predicted / math.pi),
                "x_A_deviation_percent": 100 * (np.sqrt(area_predicted / area_true) - 1),
            }
        )

    def __repr__(self) -> str:
        return (
            f"<Matching at IoU >= {self.threshold:g}: {self.tp} matched, {self.fp} false, "
            f"{self.fn} missed, F1 {self.f1:.3f}>"
        )


@dataclass(frozen=True, eq=False)
class IouCalibration:
    """How far predicted IoU can be trusted.

    Parameters
    ----------
    expected_error : float
        Expected calibration error: mean over bins of \\|mean true - mean predicted\\|, weighted
        by their counts (Naeini et al. 2015, there for class probabilities).
    largest_error : float
        The largest of these differences.
    bias : float
        Mean predicted minus mean true IoU; positive when the model boasts.
    n : int
        Number of masks used.
    table : DataFrame
        The reliability curve, one row per non-empty bin: ``low high n predicted true``.
    """

    expected_error: float
    largest_error: float
    bias: float
    n: int
    table: pd.DataFrame

    def __repr__(self) -> str:
        return f"<IouCalibration: ECE {self.expected_error:.3f}, bias {self.bias:+.3f}, n {self.n}>"


def match(
    predicted: MaskSet | np.ndarray, truth: MaskSet | np.ndarray, threshold: float = 0.5
) -> Matching:
    """Match predicted to true masks one to one: as many pairs as possible, then the largest IoU.

    Parameters
    ----------
    predicted, truth : MaskSet or int array (H, W)
        Of the same frame; overlapping masks are compared with all their pixels.
    threshold : float
        Least IoU of a match, above 0 and at most 1.

    Raises
    ------
    DataError
        If frames differ, an input is neither a `MaskSet` nor an array, or the threshold is not
        in (0, 1].
    ImageError
        If an array is no label image.

    Examples
    --------
    >>> match(np.array([[1, 1, 0]]), np.array([[1, 1, 1]]), threshold=0.7).f1
    0.0
    """
    (threshold,) = iou_thresholds([threshold])
    overlap = Overlap.of(predicted, truth)
    pairs, iou = overlap.assign(threshold)
    return Matching(threshold, pairs, iou, *overlap.frames())


def best_iou(predicted: MaskSet | np.ndarray, truth: MaskSet | np.ndarray) -> np.ndarray:
    """Return for each predicted mask its largest IoU with any true one, float (N,).

    This is the truth that a model's own predicted IoU claims to foresee; see `calibration`.

    Raises
    ------
    DataError, ImageError
        As `match`.

    Examples
    --------
    >>> best_iou(np.array([[1, 1, 0, 2]]), np.array([[1, 0, 0, 0]])).tolist()
    [0.5, 0.0]
    """
    table, _ = Overlap.of(predicted, truth).frames()
    return table["best_iou"].to_numpy()


def calibration(predicted: Any, true: Any, bins: int = 10) -> IouCalibration:
    """Compare predicted with true IoU in equal bins of the predicted one over 0 to 1.

    Parameters
    ----------
    predicted, true : float (N,)
        E.g. ``masks.predicted_iou`` and ``best_iou(masks, truth)``. Pairs with NaN are left out;
        predicted values outside 0 to 1, as networks give, are clipped.
    bins : int
        Number of bins, 1 to 1000.

    Raises
    ------
    DataError
        If lengths differ, no pair is left, or `bins` is out of range.

    Examples
    --------
    >>> calibration([0.9, 0.9, 0.5, 0.5], [0.8, 0.6, 0.5, 0.5]).expected_error
    0.1...
    """
    try:
        x, y = np.asarray(predicted, float), np.asarray(true, float)
    except (TypeError, ValueError) as error:
        raise DataError(f"predicted and true IoU must be numbers: {error}.") from None
    if x.ndim != 1 or x.shape != y.shape:
        raise DataError(f"predicted and true IoU are (N,) each, not {x.shape} and {y.shape}.")
    if isinstance(bins, bool) or not isinstance(bins, (int, np.integer)) or not 1 <= bins <= 1000:
        raise DataError(f"bins must be a whole number from 1 to 1000, not {bins!r}.")
    keep = np.isfinite(x) & np.isfinite(y)
    if not keep.any():
        raise DataError(
            "no pair of finite IoU values; this model gives no predicted IoU or there are no masks."
        )
    x, y = np.clip(x[keep], 0, 1), y[keep]
    if y.min() < 0 or y.max() > 1:
        raise DataError(f"true IoU lies between 0 and 1, not {y.min():g} to {y.max():g}.")
    # 0.9 * 10 is 9.000000000000002 or 8.99..: rounding keeps a value on its own bin edge
    place = np.minimum(np.floor(np.round(x * bins, 9)).astype(int), bins - 1)
    count = np.bincount(place, minlength=bins)
    used = np.flatnonzero(count)
    mean_x = np.bincount(place, x, minlength=bins)[used] / count[used]
    mean_y = np.bincount(place, y, minlength=bins)[used] / count[used]
    gap = np.abs(mean_y - mean_x)
    table = pd.DataFrame(
        {
            "low": used / bins,
            "high": (used + 1) / bins,
            "n": count[used],
            "predicted": mean_x,
            "true": mean_y,
        }
    )
    return IouCalibration(
        expected_error=float((gap * count[used]).sum() / len(x)),
        largest_error=float(gap.max()),
        bias=float((x - y).mean()),
        n=len(x),
        table=table,
    )


def _values_at(column: pd.Series, positions: np.ndarray) -> np.ndarray:
    """Values at positions, NaN where the position is -1."""
    values = np.append(column.to_numpy(float), np.nan)
    return values[positions]
