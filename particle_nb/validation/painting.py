"""Strokes as a hand would paint them, drawn from known phases, and how well a map agrees."""

from __future__ import annotations

import math

import numpy as np
from scipy import ndimage

from particle_nb.core.errors import DataError, check_number

_TRIES = 400


def random_strokes(labels: np.ndarray, share: float, rng: np.random.Generator | int) -> np.ndarray:
    """Paint a share of the pixels as short strokes, three pixels wide, each within one phase.

    Every phase gets as many pixels, as far as there are.

    Parameters
    ----------
    labels : int (H, W)
        The true phases, 0 and more; pixels below 0 are not painted.
    share : float
        Of the pixels, above 0 to 0.5.
    rng : numpy Generator or int seed

    Returns
    -------
    int16 (H, W)
        The phase where it was painted, -1 elsewhere.

    Raises
    ------
    DataError
        If the labels are no phases or the share is out of range.

    Examples
    --------
    >>> truth = np.repeat([[0, 1]], 40, axis=1).repeat(60, axis=0)
    >>> strokes = random_strokes(truth, 0.01, 0)
    >>> [int((strokes == k).sum()) for k in (0, 1)]
    [24, 24]
    """
    labels = np.asarray(labels)
    if labels.ndim != 2 or labels.dtype.kind not in "iu" or not labels.size:
        raise DataError(f"labels are whole numbers (H, W), not {labels.dtype} of {labels.shape}.")
    check_number("share", share, 1e-6, 0.5)
    rng = np.random.default_rng(rng)
    phases = np.unique(labels[labels >= 0])
    painted = np.full(labels.shape, -1, np.int16)
    for phase in phases:
        inside = labels == phase
        core = ndimage.binary_erosion(inside)
        rows, columns = np.nonzero(core if core.any() else inside)
        left = max(1, round(share * labels.size / len(phases)))
        for _ in range(_TRIES):
            start = rng.integers(len(rows))
            taken = _stroke(painted < 0, inside, (rows[start], columns[start]), left, rng)
            painted[taken] = phase
            left -= int(taken.sum())
            if left <= 0:
                break
    return painted


def _stroke(
    free: np.ndarray,
    inside: np.ndarray,
    start: tuple[int, int],
    most: int,
    rng: np.random.Generator,
) -> np.ndarray:
    """Where one bent stroke runs until it leaves the phase, bool (H, W), `most` pixels at most."""
    taken = np.zeros(inside.shape, bool)
    row, column = (float(v) for v in start)
    angle, left = rng.uniform(0, 2 * math.pi), most
    for _ in range(int(rng.integers(10, 40))):
        r, c = round(row), round(column)
        if not (0 <= r < inside.shape[0] and 0 <= c < inside.shape[1] and inside[r, c]):
            break
        window = slice(max(r - 1, 0), r + 2), slice(max(c - 1, 0), c + 2)
        new = np.argwhere(inside[window] & free[window] & ~taken[window])[:left]
        taken[window][new[:, 0], new[:, 1]] = True
        left -= len(new)
        if left <= 0:
            break
        angle += rng.normal(0, 0.3)
        row, column = row + math.sin(angle), column + math.cos(angle)
    return taken


def mean_iou(found: np.ndarray, truth: np.ndarray) -> float:
    """Return the mean over the true phases of intersection over union.

    Parameters
    ----------
    found, truth : int (H, W)
        Phases; pixels whose truth is below 0 do not count.

    Raises
    ------
    DataError
        If the shapes differ.

    Examples
    --------
    >>> mean_iou(np.array([[0, 1]]), np.array([[0, 0]]))
    0.5
    """
    if np.shape(found) != np.shape(truth):
        raise DataError(f"the maps are {np.shape(found)} and {np.shape(truth)}.")
    known = np.asarray(truth) >= 0
    a, b = np.asarray(found)[known], np.asarray(truth)[known]
    shares = [((a == k) & (b == k)).sum() / ((a == k) | (b == k)).sum() for k in np.unique(b)]
    return float(np.mean(shares))
