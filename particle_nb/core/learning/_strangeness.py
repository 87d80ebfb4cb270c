"""How strange a particle is beside labelled ones."""

from __future__ import annotations

import math

import numpy as np
from scipy import stats


def strangeness(known: np.ndarray, targets: np.ndarray, asked: np.ndarray) -> np.ndarray:
    """P-values (N,) of distances to the two nearest labelled rows, as log-normal.

    The distances of labelled rows to others of their class say what is usual; from a few of them
    Student's distribution makes a wide guess.
    """
    among = distances(known, known)
    np.fill_diagonal(among, np.inf)
    among[targets[:, None] != targets[None]] = np.inf
    pairs = np.sort(among, axis=1)[:, :2]
    usual = np.where(np.isfinite(pairs[:, 1]), pairs.mean(axis=1), pairs[:, 0])
    floor = 1e-6 * max(float(usual.max()), 1e-12)
    logs = np.log(usual + floor)
    found = np.empty(len(asked))
    for start in range(0, len(asked), 2048):
        part = np.sort(distances(asked[start : start + 2048], known), axis=1)[:, :2]
        found[start : start + 2048] = np.log(part.mean(axis=1) + floor)
    # distances within a class share their ends: one less of them than labels says something new
    count = len(targets) - len(set(targets.tolist()))
    spread = max(float(logs.std(ddof=1)), 0.1) * math.sqrt(1 + 1 / count)
    return stats.t.sf((found - logs.mean()) / spread, max(count - 1, 1))


def distances(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return Euclidean distances (N, M) between rows (N, D) and (M, D).

    >>> distances(np.zeros((1, 2)), np.array([[3.0, 4.0]])).tolist()
    [[5.0]]
    """
    squares = (a**2).sum(axis=1)[:, None] + (b**2).sum(axis=1)[None] - 2 * a @ b.T
    return np.sqrt(np.maximum(squares, 0))
