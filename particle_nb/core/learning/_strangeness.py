"""How strange a particle's form is beside labelled ones."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy import stats

from particle_nb.core.learning._mixture import EXTRA, Mixture, fitted

#: Offset of the logarithm of shape numbers, most of which are shares.
_OFFSET = 0.02
#: So many labels beyond the classes' number say as much of the covariance as equal variances do.
_PRIOR = 10.0
#: And so many as much of the variance itself.
_EXPECTED = 2.0
#: So many held-out labels beyond a quantile tell alone where it lies.
_RANKS = 10


@dataclass(frozen=True, eq=False)
class Forms:
    """Classes as clouds of one covariance in the space of their logarithms, or as they are.

    On rendered and real particles of six to eight shapes, each left out of the labels in turn,
    that told new ones better than distances to the nearest labels did: to reject 80 % of the new,
    12.8 and 29.5 % of the others were lost, not 19.7 and 36.7 %.

    `columns` are those looked at, `spread` (D,) their standard deviations; `logs` whether they are
    shares.
    """

    columns: np.ndarray
    spread: np.ndarray
    logs: bool

    def space(self, values: np.ndarray) -> np.ndarray:
        """Rows (N, D) of feature values in the space of forms."""
        chosen = np.nan_to_num(values[:, self.columns].astype(float))
        return (np.log(np.abs(chosen) + _OFFSET) if self.logs else chosen) / self.spread

    def apart(self, known: np.ndarray, targets: np.ndarray, asked: np.ndarray) -> np.ndarray:
        """Mahalanobis distance of each asked row to the nearest class of the known ones (N,)."""
        known, asked = self.space(known), self.space(asked)
        present = sorted(set(targets.tolist()))
        means = np.array([known[targets == k].mean(axis=0) for k in present])
        left = known - means[np.searchsorted(present, targets)]
        free, size = len(known) - len(present), known.shape[1]
        squares = left.T @ left
        # before any label, half of the variance is within the classes
        shared = (float(np.trace(squares)) / size + 0.5 * _EXPECTED) / (free + _EXPECTED)
        within = (squares + _PRIOR * shared * np.eye(size)) / (free + _PRIOR)
        whiten = np.linalg.inv(np.linalg.cholesky(within)).T
        return distances(asked @ whiten, means @ whiten).min(axis=1)


@dataclass(frozen=True, eq=False)
class Novelty:
    """How strange a row is beside the labels, and how strange held-out labels were.

    Where the rows without a label can speak too (`_mixture`), by their odds of being of no
    labelled class; else by the distance to the nearest class. Six shapes of EMPS, each left out
    of 10 labels a class in turn: where 10 % of the others were lost, 59 % of the new were found
    with the mixtures, 44 % with the distance.

    Attributes
    ----------
    forms : Forms
    mixtures : tuple of Mixture
        Empty for the distance.
    places : int array (D,)
        The mixtures' columns among those of `forms`.
    usual : tuple of (float, float)
        Mean and standard deviation of each mixture's held-out odds.
    held : float array (N,)
        Strangeness of held-out labels; a fold that holds whole images out tells what a further
        image is like.
    """

    forms: Forms
    mixtures: tuple[Mixture, ...]
    places: np.ndarray
    usual: tuple[tuple[float, float], ...]
    held: np.ndarray

    @classmethod
    def learned(
        cls,
        forms: Forms,
        places: np.ndarray,
        known: np.ndarray,
        targets: np.ndarray,
        folds: list[tuple[np.ndarray, np.ndarray]],
        others: np.ndarray,
    ) -> Novelty:
        """Learn from labelled rows (N, D) and, where `places` name columns, from the others."""
        if not len(places):
            held = np.concatenate([forms.apart(known[a], targets[a], known[b]) for a, b in folds])
            return cls(forms, (), places, (), np.log(held + 1e-9))
        inside, outside = forms.space(known)[:, places], forms.space(others)[:, places]
        mixtures, usual, held = [], [], np.zeros(len(known))
        for extra in EXTRA:
            mixtures.append(fitted(inside, targets, outside, extra))
            odds = np.zeros(len(known))
            for train, test in folds:
                # a held-out label is a row like any other without one
                rest = np.concatenate([inside[test], outside])
                odds[test] = fitted(inside[train], targets[train], rest, extra).odds(inside[test])
            usual.append((float(odds.mean()), max(float(odds.std(ddof=1)), 0.05)))
            held += (odds - usual[-1][0]) / usual[-1][1] / len(EXTRA)
        return cls(forms, tuple(mixtures), places, tuple(usual), held)

    def scores(self, known: np.ndarray, targets: np.ndarray, asked: np.ndarray) -> np.ndarray:
        """Strangeness (N,) of asked rows beside the known ones."""
        if not self.mixtures:
            return np.log(self.forms.apart(known, targets, asked) + 1e-9)
        rows = self.forms.space(asked)[:, self.places]
        pairs = zip(self.mixtures, self.usual, strict=True)
        return np.mean([(m.odds(rows) - mean) / sd for m, (mean, sd) in pairs], axis=0)

    def novel(
        self, known: np.ndarray, targets: np.ndarray, asked: np.ndarray, share: float
    ) -> np.ndarray:
        """Whether asked rows are stranger than all but a share of the held-out labels, bool (N,).

        By their ranks, the more the more labels there are: from few, whose quantiles say little,
        by Student's distribution, which is a wide guess. Between, by the geometric mean of both.
        """
        found, count = self.scores(known, targets, asked), len(self.held)
        above = count - np.searchsorted(np.sort(self.held), found, side="left")
        ranks = (above + 1) / (count + 1)
        spread = max(float(self.held.std(ddof=1)), 0.05) * math.sqrt(1 + 1 / count)
        wide = stats.t.sf((found - self.held.mean()) / spread, max(count - 1, 1))
        weight = min(1.0, share * count / _RANKS)
        return ranks**weight * wide ** (1 - weight) <= share


def distances(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return Euclidean distances (N, M) between rows (N, D) and (M, D).

    >>> distances(np.zeros((1, 2)), np.array([[3.0, 4.0]])).tolist()
    [[5.0]]
    """
    squares = (a**2).sum(axis=1)[:, None] + (b**2).sum(axis=1)[None] - 2 * a @ b.T
    return np.sqrt(np.maximum(squares, 0))
