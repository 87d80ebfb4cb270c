"""Labelled classes and what nobody has named yet, as one mixture of Gaussians."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import special

#: Numbers of the outline that the mixture is of; with all of them few labels tell no covariance.
COLUMNS = (
    "moment_ratio",
    "ellipse_misfit",
    "solidity",
    "corner_turn",
    "rectangle_fill",
    "radius_sd",
    "symmetry_3",
    "symmetry_4",
    "outline_detail",
)
#: So many clouds stand beside those of the classes; two mixtures, whose answers are averaged.
EXTRA = (2, 4)
#: Fewer rows without a label say nothing of classes that were not named.
LEAST = 40
#: A label weighs as so many rows without one.
_LABEL = 10.0
#: So many rows say as much of a cloud's covariance as what all classes share does.
_PRIOR = 64.0
#: Share of a cloud as wide as twice everything, which takes what is far from all others.
_BROAD = 0.02
#: Share of rows that no class is expected to hold, before any is looked at.
_NEW = 0.3
#: Clouds of no class begin among this share of the rows, those furthest from all classes.
_FAR = 0.4
_ROUNDS = 15
#: More rows cost time and say nothing more.
_MOST = 1500


@dataclass(frozen=True, eq=False)
class Mixture:
    """Gaussian clouds (K + J + 1): the classes', those of no class, and one wider than all.

    Attributes
    ----------
    means : float array (M, D)
    precisions : float array (M, D, D)
        Inverse covariances.
    shares : float array (M,)
    classes : int
        The first so many clouds are those of labelled classes.
    """

    means: np.ndarray
    precisions: np.ndarray
    shares: np.ndarray
    classes: int

    def odds(self, rows: np.ndarray) -> np.ndarray:
        """Logarithm of the odds (N,) that a row (N, D) is of no labelled class, tamed by arsinh."""
        # seen from the middle, so that what is far from 0 loses no digits
        middle = self.means[-1]
        rows, means = rows - middle, self.means - middle
        logs = _log_densities(rows, _products(rows), means, self.precisions, self.shares)
        apart = special.logsumexp(logs[:, self.classes :], axis=1) - special.logsumexp(
            logs[:, : self.classes], axis=1
        )
        return np.arcsinh(apart)


def fitted(known: np.ndarray, targets: np.ndarray, others: np.ndarray, extra: int) -> Mixture:
    """Fit a mixture to labelled rows (N, D), which stay in their classes, and rows without label.

    Expectation and maximisation, where rows without a label may go to any cloud.

    References
    ----------
    K. Nigam et al., 2000, doi:10.1023/A:1007692713085; with clouds of no class: D. J. Miller,
    J. Browning, 2003, doi:10.1109/TPAMI.2003.1240120.
    """
    others = others[:: -(-len(others) // _MOST)]
    present = np.unique(targets)
    member = np.searchsorted(present, targets)
    size, width = len(present), known.shape[1]
    middle = others.mean(axis=0)
    # seen from the middle, so that what is far from 0 loses no digits
    known, others = known - middle, others - middle
    rows = np.concatenate([known, others])
    means = np.array([known[member == k].mean(axis=0) for k in range(size)])
    left = known - means[member]
    squares, free = left.T @ left, max(len(known) - size, 1)
    even = np.trace(squares) / width / free * np.eye(width) + 1e-3 * np.eye(width)
    within = (squares + 8 * even) / (free + 8)
    means = np.concatenate([means, _beginnings(others, means, np.linalg.inv(within), extra)])
    precisions = np.repeat(np.linalg.inv(within)[None], size + extra, axis=0)
    shares = np.repeat([(1 - _NEW) / size, _NEW / extra], [size, extra]) * (1 - _BROAD)
    centre = rows.mean(axis=0)
    wide = np.linalg.inv(4 * np.cov(rows.T) + 1e-3 * np.eye(width))
    sure = np.zeros((len(known), size + extra))
    sure[np.arange(len(known)), member] = _LABEL
    products = _products(rows)
    outside = rows[len(known) :], products[len(known) :]
    for _ in range(_ROUNDS):
        logs = _log_densities(
            *outside,
            np.concatenate([means, centre[None]]),
            np.concatenate([precisions, wide[None]]),
            np.append(shares, _BROAD),
        )
        logs = np.exp(logs - logs.max(axis=1, keepdims=True))
        belongs = (logs / logs.sum(axis=1, keepdims=True))[:, :-1]
        weights = np.concatenate([sure, belongs])
        counts = weights.sum(axis=0) + 1e-9
        means = weights.T @ rows / counts[:, None]
        squares = (weights.T @ products).reshape(-1, width, width)
        squares -= counts[:, None, None] * means[:, :, None] * means[:, None]
        shared = squares[:size].sum(axis=0) / counts[:size].sum() + 1e-3 * np.eye(width)
        precisions = np.linalg.inv((squares + _PRIOR * shared) / (counts + _PRIOR)[:, None, None])
        shares = belongs.sum(axis=0) + 1
        shares *= (1 - _BROAD) / shares.sum()
    return Mixture(
        np.concatenate([means, centre[None]]) + middle,
        np.concatenate([precisions, wide[None]]),
        np.append(shares, _BROAD),
        size,
    )


def _products(rows: np.ndarray) -> np.ndarray:
    """Products of all pairs of columns (N, D * D) of rows (N, D)."""
    return (rows[:, :, None] * rows[:, None]).reshape(len(rows), -1)


def _log_densities(
    rows: np.ndarray,
    products: np.ndarray,
    means: np.ndarray,
    precisions: np.ndarray,
    shares: np.ndarray,
) -> np.ndarray:
    """Logarithms (N, M) of share times density, less what all clouds have in common."""
    # (x - m) P (x - m) by parts, so that all clouds are two products of matrices
    pulled = np.einsum("mij,mj->mi", precisions, means)
    found = rows @ pulled.T - 0.5 * products @ precisions.reshape(len(means), -1).T
    found -= 0.5 * (pulled * means).sum(axis=1)
    return found + np.log(shares) + 0.5 * np.linalg.slogdet(precisions)[1]


def _beginnings(
    others: np.ndarray, means: np.ndarray, precision: np.ndarray, extra: int
) -> np.ndarray:
    """Where clouds of no class begin (J, D): far from all classes, and from each other."""
    whiten = np.linalg.cholesky(precision)
    seen, classes = others @ whiten, means @ whiten
    apart = ((seen[:, None] - classes[None]) ** 2).sum(axis=2).min(axis=1)
    far = np.flatnonzero(apart >= np.quantile(apart, 1 - _FAR))
    cloud = seen[far]
    chosen = [int(np.argsort(apart[far])[len(far) // 2])]
    for _ in range(extra - 1):
        distance = ((cloud[:, None] - cloud[chosen][None]) ** 2).sum(axis=2).min(axis=1)
        chosen.append(int(np.argsort(distance)[int(0.9 * (len(far) - 1))]))
    centres = cloud[chosen]
    for _ in range(8):
        nearest = ((cloud[:, None] - centres[None]) ** 2).sum(axis=2).argmin(axis=1)
        centres = np.array(
            [
                cloud[nearest == j].mean(axis=0) if (nearest == j).any() else centres[j]
                for j in range(extra)
            ]
        )
    return np.array(
        [
            others[far[nearest == j]].mean(axis=0)
            if (nearest == j).any()
            else others[far[chosen[j]]]
            for j in range(extra)
        ]
    )
