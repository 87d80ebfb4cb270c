"""Several judges of a pixel, whose votes are averaged: a forest and a linear one a family."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import special
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

from particle_nb.core.errors import DataError
from particle_nb.core.phases.forest import Forest, Growth, grow


@dataclass(frozen=True, eq=False)
class Committee:
    """Forests on columns of D features, and slopes of J linear discriminants of K classes.

    Parameters
    ----------
    forests : tuple of (columns, Forest)
        Columns are an int array (d,) of what the forest looks at.
    slopes, levels : float arrays (J, K, D) and (J, K), or None
        Linear discriminants: each the softmax of ``rows @ slopes[j].T + levels[j]``.

    Raises
    ------
    DataError
        If the arrays do not fit together.
    """

    forests: tuple[tuple[np.ndarray, Forest], ...]
    slopes: np.ndarray | None = None
    levels: np.ndarray | None = None

    def __post_init__(self) -> None:
        if not self.forests:
            raise DataError("these arrays are no forest: the file is damaged.")
        classes = {forest.leaves.shape[1] for _, forest in self.forests}
        fits = len(classes) == 1 and all(len(at) == forest.width for at, forest in self.forests)
        if self.slopes is not None and self.levels is not None:
            fits = fits and self.slopes.ndim == 3 and self.levels.shape == self.slopes.shape[:2]
            fits = fits and {self.slopes.shape[1]} == classes
            fits = fits and bool(np.isfinite(self.slopes).all() and np.isfinite(self.levels).all())
        if not fits:
            raise DataError("these arrays are no forest: the file is damaged.")

    @property
    def classes(self) -> int:
        """Number of classes K."""
        return int(self.forests[0][1].leaves.shape[1])

    def probabilities(self, rows: np.ndarray) -> np.ndarray:
        """Return the mean of the votes, float32 (N, K) of rows (N, D)."""
        parts = [forest.probabilities(rows[:, at]) for at, forest in self.forests]
        if self.slopes is not None and self.levels is not None:
            for slopes, levels in zip(self.slopes, self.levels, strict=True):
                logits = rows @ slopes.T.astype(np.float32) + levels.astype(np.float32)
                parts.append(special.softmax(logits, axis=1))
        return np.asarray(np.mean(parts, axis=0), np.float32)

    def arrays(self) -> dict[str, np.ndarray]:
        """Return all arrays by name, for a file."""
        found: dict[str, np.ndarray] = {}
        for number, (at, forest) in enumerate(self.forests):
            found |= {f"{number}.{name}": values for name, values in forest.arrays().items()}
            found[f"{number}.columns"] = at
        if self.slopes is not None and self.levels is not None:
            found |= {"slopes": self.slopes, "levels": self.levels}
        return found

    @classmethod
    def of_arrays(cls, arrays: Mapping[str, Any], width: int) -> Committee:
        """Put together what `arrays` took apart, arrays of D = `width` features.

        Raises
        ------
        DataError
            If it does not fit together.
        """
        forests: list[tuple[np.ndarray, Forest]] = []
        while f"{len(forests)}.columns" in arrays:
            mark = f"{len(forests)}."
            parts = {k.removeprefix(mark): v for k, v in arrays.items() if k.startswith(mark)}
            at = np.asarray(parts.pop("columns"), np.int64)
            if at.ndim != 1 or not len(at) or at.min() < 0 or at.max() >= width:
                raise DataError("these arrays are no forest: the file is damaged.")
            forests.append((at, Forest(**parts, width=len(at))))
        slopes, levels = arrays.get("slopes"), arrays.get("levels")
        if slopes is not None and levels is not None and slopes.ndim == 2:
            slopes, levels = slopes[None], levels[None]  # an older file, with one of them
        if slopes is not None and slopes.shape[2:] != (width,):
            raise DataError("these arrays are no forest: the file is damaged.")
        return cls(tuple(forests), slopes, levels)


def appoint(
    rows: np.ndarray, targets: np.ndarray, families: Sequence[str], growth: Growth
) -> Committee:
    """Teach a forest and a linear judge for each family of columns.

    Features of another family do not drown those that tell phases. A judge that weighs all of a
    family at once sees what single questions do not, and errs less on another image.

    Parameters
    ----------
    rows : float32 (N, D)
    targets : int (N,)
        0 to K - 1, each of which occurs.
    families : sequence of str (D,)
    growth : Growth

    Examples
    --------
    >>> rows = np.array([[0.0], [0.1], [0.9], [1.0]], np.float32)
    >>> judges = appoint(rows, np.array([0, 0, 1, 1]), ["filters"], Growth(trees=8))
    >>> judges.probabilities(rows).argmax(axis=1).tolist()
    [0, 0, 1, 1]
    """
    names = np.asarray(families)
    forests = []
    for family in dict.fromkeys(families):
        at = np.flatnonzero(names == family)
        forests.append((at, grow(rows[:, at], targets, growth)))
    if not growth.linear or np.bincount(targets).min() < 2:
        return Committee(tuple(forests))
    judges = []
    for at, _ in forests:
        slopes, levels = _discriminant(rows[:, at].astype(float), targets)
        whole = np.zeros((len(slopes), rows.shape[1]))
        whole[:, at] = slopes
        judges.append((whole, levels))
    slopes, levels = (np.stack(parts) for parts in zip(*judges, strict=True))
    return Committee(tuple(forests), slopes, levels)


def _discriminant(rows: np.ndarray, targets: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Slopes (K, D) and levels (K,) of a linear discriminant, its covariance shrunk.

    O. Ledoit, M. Wolf, 2004, doi:10.1016/S0047-259X(03)00096-4; every class as likely as another.
    """
    size = int(targets.max()) + 1
    centre = rows.mean(axis=0)
    spread = np.maximum(rows.std(axis=0), 1e-9 * max(float(np.abs(rows).max()), 1e-9))
    model = LinearDiscriminantAnalysis(
        solver="lsqr", shrinkage="auto", priors=np.full(size, 1 / size)
    ).fit((rows - centre) / spread, targets)
    slopes, levels = model.coef_, model.intercept_
    if size == 2:
        slopes, levels = np.stack([-slopes[0], slopes[0]]) / 2, np.r_[-levels, levels] / 2
    slopes = slopes / spread
    return slopes, levels - slopes @ centre
