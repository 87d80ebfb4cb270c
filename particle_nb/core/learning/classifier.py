"""Classes of particles from a few labels, with "unknown" where the labels do not carry."""

from __future__ import annotations

import math
import os
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy import special
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression

from particle_nb.core.errors import DataError, check_number
from particle_nb.core.learning import _storage
from particle_nb.core.learning._explaining import explanation
from particle_nb.core.learning._mixture import COLUMNS, LEAST
from particle_nb.core.learning._samples import (
    UNKNOWN,
    check_parameters,
    fitted_temperature,
    held_out_losses,
    logits_of,
    read_groups,
    read_labels,
    score_table,
    split,
)
from particle_nb.core.learning._strangeness import Forms, Novelty
from particle_nb.core.learning.features import (
    NEIGHBOURS,
    WEIGHTS,
    FeatureTable,
    difference,
    kinds_of,
    plain_table,
    shape_columns,
    standard,
)

#: Weights of blocks of columns (outline, size and grey, a network) that the labels choose from.
BLENDS = (WEIGHTS, (1.0, 1.0, 1.0))
#: So many labels of each class can say which of them.
_LABELS_TO_WEIGH = 5


class ShapeClassifier(ClassifierMixin, BaseEstimator):
    """Logistic regression on standardised features, calibrated, that may say "unknown".

    The outline's columns count together as one, size and grey values as a quarter, a network's as
    a quarter, however many they are; from 5 labels a class on other weights are taken where
    held-out labels are clearly better told with them (``scores().attrs["weights"]``). The
    probabilities are calibrated by one temperature, found by cross-validation. Beyond what
    `reject` says a particle is "unknown" when its form lies further from all labelled ones than
    these from each other, and when it is too small to be measured. From 5 labels a class on, in a
    table of `session.features` with 40 particles without a label, these are asked too: a cloud of
    forms that no label lies in is a class that nobody has named.

    Parameters
    ----------
    reject : float or "conformal"
        Least probability of a class, 0 to 1; or ``"conformal"``: "unknown" unless the set of
        classes that holds the true one with probability 1 - `alpha` has just one member.
    alpha : float
        Share of wrong sets with ``"conformal"``, 0.01 to 0.5.
    class_weight : None, "balanced" or {name: weight}
        Weight of the labels of each class.
    novelty : float
        Share of labelled-like particles that may be taken for novel ones; 0 for no such test.
    strength : float
        Inverse of the penalty on the coefficients (scikit-learn's C).

    Raises
    ------
    DataError
        When fitting, where a parameter is out of range.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> values = np.repeat([[0.0, 0.0], [4.0, 1.0]], 20, axis=0) + rng.normal(0, 0.5, (40, 2))
    >>> classes = ShapeClassifier().fit(values, {0: "cube", 1: "cube", 20: "rod", 21: "rod"})
    >>> list(classes.predict(values)), classes.classes_.tolist()
    (['class', 'probability', 'cube', 'rod'], ['cube', 'rod'])

    References
    ----------
    Labels and classifier: F. Barnatan et al., 2025. "unknown" below 75 %: J. Bals, M. Epple, 2023.
    Conformal sets: V. Vovk, 2015, doi:10.1007/s10472-013-9368-4 (cross-conformal). Temperature:
    C. Guo et al., 2017, arXiv:1706.04599.
    """

    def __init__(
        self,
        reject: float | str = 0.75,
        alpha: float = 0.1,
        class_weight: str | Mapping[str, float] | None = None,
        novelty: float = 0.05,
        strength: float = 10.0,
    ) -> None:
        self.reject = reject
        self.alpha = alpha
        self.class_weight = class_weight
        self.novelty = novelty
        self.strength = strength

    # ------------------------------------------------------------------------------ learning

    def fit(
        self,
        features: FeatureTable | np.ndarray,
        labels: Mapping[int, str] | Sequence[Any],
        groups: Sequence[Any] | None = None,
    ) -> ShapeClassifier:
        """Learn the classes from labelled rows; the others help to standardise.

        Parameters
        ----------
        features : FeatureTable or float array (N, D)
        labels : mapping of int to str, or sequence (N,)
            Names of some rows, two a class at least; in a sequence None, NaN or "" is no label.
        groups : sequence (N,) or None
            What rows belong together (images, batches) in cross-validation; None takes the images
            of a FeatureTable.

        Returns
        -------
        ShapeClassifier
            Itself.

        Raises
        ------
        DataError
            If a parameter is out of range, a label names no row, or classes or labels are too few.
        """
        check_parameters(self.get_params())
        table = plain_table(features)
        rows, names = read_labels(labels, len(table))
        measured = np.isfinite(table.values[rows]).all(axis=1)
        if not measured.all():
            lost = rows[~measured].tolist()
            warnings.warn(
                f"labels of rows {lost[:5]} are left out: those particles cannot be measured.",
                stacklevel=2,
            )
            rows, names = rows[measured], names[measured]
        classes, targets = np.unique(names, return_inverse=True)
        counts = np.bincount(targets, minlength=len(classes))
        if len(classes) < 2 or counts.min() < 2:
            told = ", ".join(f"{n} of {str(c)!r}" for c, n in zip(classes, counts, strict=True))
            raise DataError(
                f"two classes with two labels each are needed at least; there are {told or 'none'}."
            )
        if isinstance(self.class_weight, Mapping) and set(self.class_weight) - set(classes):
            strange = sorted(set(self.class_weight) - set(classes))
            raise DataError(f"class_weight names {strange[0]!r}, which no label does.")
        self.classes_ = classes.astype(object)
        self.n_features_in_ = table.shape[1]
        self._plain = not isinstance(features, FeatureTable)
        self._rows = table[rows]
        self._targets = targets
        self._all: FeatureTable | None = table
        self._groups = read_groups(groups, table, rows)
        self._folds, self._grouped = split(targets, self._groups)
        many = bool(counts.min() >= _LABELS_TO_WEIGH)
        low, basis = self._weigh(table, many)
        self._look_at_forms(table, rows, many)
        self._temperature = fitted_temperature(self._held_out, targets)
        coefficients, self._intercepts = self._solve(low, targets)
        self._coefficients = coefficients @ basis
        held = special.softmax(self._held_out / self._temperature, axis=1)
        self._scores = np.sort(1 - held[np.arange(len(rows)), targets])
        if self.reject == "conformal" and len(rows) + 1 < 1 / self.alpha:
            warnings.warn(
                f"{len(rows)} labels cannot tell sets that are wrong in {self.alpha:g} of cases: "
                f"all stay unknown. Label {math.ceil(1 / self.alpha) - 1} or raise alpha.",
                stacklevel=2,
            )
        return self

    def _weigh(self, table: FeatureTable, choose: bool) -> tuple[np.ndarray, np.ndarray]:
        """Weigh blocks of columns by held-out answers; the labelled rows, in their own span.

        The first weights stay unless others do better by more than the standard error.
        """
        kinds = set(kinds_of(table.names))
        best: tuple[Any, ...] = ()
        for weights in BLENDS if choose and len(kinds) > 1 else BLENDS[:1]:
            self._standardise(table, weights)
            inside = self._space(self._rows.values)
            # a penalised solution lies in the span of the rows: fewer of these than columns
            basis = np.linalg.svd(inside, full_matrices=False)[2]
            low = inside @ basis.T
            held_out = np.zeros((len(low), len(self.classes_)))
            for train, test in self._folds:
                solved = self._solve(low[train], self._targets[train])
                held_out[test] = logits_of(low[test], *solved)
            losses = held_out_losses(held_out, self._targets)
            if best:
                gain = best[0] - losses
                if gain.mean() <= gain.std() / math.sqrt(len(gain)):
                    continue
            best = losses, weights, low, basis, held_out
        _, self._weights, low, basis, self._held_out = best
        self._standardise(table, self._weights)
        return low, basis

    def _standardise(self, table: FeatureTable, weights: tuple[float, float, float]) -> None:
        self._centre, self._factor = standard(table, weights)

    def _look_at_forms(self, table: FeatureTable, rows: np.ndarray, many: bool) -> None:
        """What the labelled forms are like; of an array all columns speak of it."""
        named = [] if self._plain else shape_columns(table.names)
        outline = np.array(named or np.flatnonzero(self._factor), np.int64)
        logs = bool(named)
        measured = np.isfinite(table.values).all(axis=1)
        usable = table.values[measured]
        spread = Forms(outline, np.ones(len(outline)), logs).space(usable).std(axis=0)
        measured[rows] = False
        others = table.values[measured]
        names = [table.names[place] for place in outline]
        several = many and logs and set(COLUMNS) <= set(names) and len(others) >= LEAST
        places = [names.index(name) for name in COLUMNS] if several else []
        self._novelty = Novelty.learned(
            Forms(outline, np.maximum(spread, 1e-6), logs),
            np.array(places, np.int64),
            self._rows.values,
            self._targets,
            self._folds,
            others,
        )

    def _space(self, values: np.ndarray) -> np.ndarray:
        """Standardised and weighed rows; a number that is not there is put at the centre."""
        return np.nan_to_num((values - self._centre) * self._factor)

    def _solve(self, rows: np.ndarray, targets: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Coefficients (K, D) and intercepts (K,) of the present classes' logistic regression."""
        weight = self.class_weight
        if isinstance(weight, Mapping):
            present = set(targets.tolist())
            named = {i: float(weight.get(c, 1.0)) for i, c in enumerate(self.classes_)}
            weight = {i: named[i] for i in present}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            model = LogisticRegression(C=self.strength, class_weight=weight, max_iter=500)
            model.fit(rows, targets)
        found, start = model.coef_, model.intercept_
        if len(model.classes_) == 2:
            found, start = np.stack([-found[0], found[0]]) / 2, np.array([-start[0], start[0]]) / 2
        return found, start

    # ------------------------------------------------------------------------------ answering

    def predict(self, features: FeatureTable | np.ndarray) -> pd.DataFrame:
        """Return the class of every row and how probable it is.

        Parameters
        ----------
        features : FeatureTable or float array (N, D)
            Of the kind that it was fitted on.

        Returns
        -------
        DataFrame
            ``class`` ("unknown" where none is certain, see `reasons`), ``probability`` of the most
            probable class, and one column a class. NaN for particles too small to measure.
            ``attrs`` says model, digest and licence of the features, the rule, the labels of each
            class and how many rows are unknown for which reason.

        Raises
        ------
        DataError
            If it is not fitted, or these are other features.
        """
        table = self._checked(features)
        probable, reasons = self._judge(table)
        best = np.nanargmax(np.nan_to_num(probable), axis=1) if len(table) else np.zeros(0, int)
        names = np.where([bool(r) for r in reasons], UNKNOWN, self.classes_[best])
        columns: dict[str, Any] = {"class": names.astype(object)}
        columns["probability"] = probable.max(axis=1) if len(table) else np.zeros(0)
        columns |= {name: probable[:, i] for i, name in enumerate(self.classes_)}
        found = pd.DataFrame(columns)
        rule = f"conformal, alpha {self.alpha:g}" if self.reject == "conformal" else self.reject
        found.attrs.update(
            features=self._rows.model,
            digest=self._rows.digest,
            licence=self._rows.licence,
            reject=rule,
            novelty=self.novelty,
            temperature=round(self._temperature, 4),
            labels={str(c): int(n) for c, n in zip(self.classes_, self._counts(), strict=True)},
            unknown={reason: reasons.count(reason) for reason in sorted(set(reasons) - {""})},
        )
        return found

    def predict_proba(self, features: FeatureTable | np.ndarray) -> np.ndarray:
        """Return calibrated probabilities float64 (N, K) in the order of `classes_`.

        Raises
        ------
        DataError
            As `predict`.
        """
        return self._probable(self._checked(features))

    def reasons(self, features: FeatureTable | np.ndarray) -> list[str]:
        """Return why each row of (N, D) features is unknown, "" where it is not.

        ``"not measurable"``, ``"novel"`` (of no labelled form), ``"low probability"``, or with
        ``"conformal"`` ``"ambiguous"`` (several classes).

        Raises
        ------
        DataError
            As `predict`.
        """
        return self._judge(self._checked(features))[1]

    def sets(self, features: FeatureTable | np.ndarray) -> list[tuple[str, ...]]:
        """Return for rows (N, D) the classes that hold the true one with probability 1 - `alpha`.

        True on average over particles like the labelled ones; those of another image are not. The
        most probable class is always in it.

        Raises
        ------
        DataError
            As `predict`.
        """
        inside = self._inside(self._probable(self._checked(features)))
        return [tuple(self.classes_[row]) for row in inside]

    @property
    def knows_neighbours(self) -> bool:
        """Whether it was fitted on the columns of `neighbour_features`; False before any fit."""
        return hasattr(self, "classes_") and set(NEIGHBOURS) <= set(self._rows.names)

    def _counts(self) -> np.ndarray:
        return np.bincount(self._targets, minlength=len(self.classes_))

    def _checked(self, features: Any) -> FeatureTable:
        if not hasattr(self, "classes_"):
            raise DataError("this ShapeClassifier has no classes yet: fit it on labels first.")
        table = plain_table(features)
        plain = not isinstance(features, FeatureTable)
        if plain and table.shape[1] == self.n_features_in_:
            if not self._plain:
                warnings.warn(
                    "an array has no names of columns: whether these are the features that the "
                    "classes were learned from cannot be told. Give what session.features gives.",
                    stacklevel=3,
                )
            return table
        if table.kind != self._rows.kind:
            raise DataError(difference(self._rows, table))
        return table

    def _probable(self, table: FeatureTable) -> np.ndarray:
        logits = logits_of(self._space(table.values), self._coefficients, self._intercepts)
        probable = special.softmax(logits / self._temperature, axis=1)
        probable[~np.isfinite(table.values).all(axis=1)] = math.nan
        return probable

    def _inside(self, probable: np.ndarray) -> np.ndarray:
        """Classes in each row's set, bool (N, K): p-value above alpha, and the most probable one.

        An empty set would only say that alpha allows more errors than there are.
        """
        least = np.searchsorted(self._scores, 1 - probable - 1e-12, side="left")
        values = (len(self._scores) - least + 1) / (len(self._scores) + 1)
        best = probable == probable.max(axis=1, keepdims=True, initial=-1)
        return (values > self.alpha) | best | ~np.isfinite(probable)

    def _judge(self, table: FeatureTable) -> tuple[np.ndarray, list[str]]:
        probable = self._probable(table)
        reasons = np.full(len(table), "", object)
        if self.reject == "conformal":
            reasons[self._inside(probable).sum(axis=1) > 1] = "ambiguous"
        else:
            reasons[probable.max(axis=1, initial=-1) < float(self.reject)] = "low probability"
        reasons[self._novel(table.values)] = "novel"
        reasons[~np.isfinite(table.values).all(axis=1)] = "not measurable"
        return probable, reasons.tolist()

    def _novel(self, values: np.ndarray) -> np.ndarray:
        """Rows whose form lies further from every class than held-out labels do."""
        if not self.novelty or not len(values):
            return np.zeros(len(values), bool)
        return self._novelty.novel(self._rows.values, self._targets, values, self.novelty)

    # ------------------------------------------------------------------------------ judging

    def scores(self, level: float = 0.95) -> pd.DataFrame:
        """Return cross-validated F1, precision and recall by class, with intervals of F1.

        Every label is predicted by a classifier that did not see it, nor any of its image where
        the labels allow (``attrs["folds"]``), without "unknown". Intervals are those of confusion
        rates under a flat prior, widened where errors come together in groups.

        Parameters
        ----------
        level : float
            Of the intervals, inside 0..1.

        Returns
        -------
        DataFrame
            Indexed by class, "macro" (mean of the classes) last: ``f1 low high precision recall
            labels``.

        Raises
        ------
        DataError
            If it is not fitted or the level is none.

        References
        ----------
        C. Goutte, E. Gaussier, 2005, doi:10.1007/978-3-540-31865-1_25.
        """
        if not hasattr(self, "classes_"):
            raise DataError("this ShapeClassifier has no classes yet: fit it on labels first.")
        check_number("level", level, 1e-6, 1 - 1e-6)
        table = score_table(self._held_out, self._targets, self._groups, self.classes_, level)
        whole = "whole groups" if self._grouped else "single particles"
        table.attrs["folds"] = f"{len(self._folds)}, {whole}"
        table.attrs["weights"] = dict(
            zip(("outline", "others", "network"), self._weights, strict=True)
        )
        return table

    def explain(self, row: int | Sequence[float] | np.ndarray | FeatureTable) -> pd.DataFrame:
        """Return which numbers speak for the most probable class, and against the next.

        Parameters
        ----------
        row : int, or numbers (D,)
            A row of the features it was fitted on, or such a row itself.

        Returns
        -------
        DataFrame
            What weighs most first: ``feature value`` of the particle, means of the labels of both
            classes, and ``weight``, what the number adds to the logarithm of their odds, seen from
            the middle between the classes. A network's columns are summed into one row.
            ``attrs["text"]`` says it in a sentence.

        Raises
        ------
        DataError
            If there is no such row, or it is of other features.

        Examples
        --------
        >>> values = np.array([[0.1, 1], [0.2, 1], [0.8, 1], [0.9, 1]])
        >>> names = ["disc", "disc", "rod", "rod"]
        >>> classes = ShapeClassifier().fit(FeatureTable(values, ("elongation", "solidity")), names)
        >>> classes.explain(3).attrs["text"]
        'rod rather than disc: elongation 0.9'
        """
        values = self._one(row)
        alone = FeatureTable(values, self._rows.names)
        table = explanation(
            values,
            self._probable(alone)[0],
            self._rows,
            self._targets,
            self.classes_,
            self._coefficients * self._factor / self._temperature,
        )
        table.attrs["reason"] = self._judge(alone)[1][0]
        return table

    def _one(self, row: Any) -> np.ndarray:
        if isinstance(row, (int, np.integer)) and not isinstance(row, bool):
            if not hasattr(self, "classes_"):
                raise DataError("this ShapeClassifier has no classes yet: fit it on labels first.")
            if self._all is None or not 0 <= row < len(self._all):
                known = f"0 to {len(self._all) - 1}" if self._all is not None else "none (loaded)"
                raise DataError(f"no row {row} among the features it was fitted on: {known}.")
            return self._all.values[int(row)][None]
        if not isinstance(row, FeatureTable):
            found = np.asarray(row, np.float32)
            if hasattr(self, "classes_") and found.shape == (self.n_features_in_,):
                return found[None]
            row = np.atleast_2d(found)
        table = self._checked(row)
        if len(table) != 1:
            raise DataError(f"one row is explained at a time, not {len(table)}.")
        return table.values

    # ------------------------------------------------------------------------------ keeping

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write classes, labelled rows and all that predicting needs to a file without pickle.

        Raises
        ------
        DataError
            If it is not fitted or cannot be written.

        Examples
        --------
        >>> ShapeClassifier().save("my.pnbclasses")
        Traceback (most recent call last):
        ...
        particle_nb.core.errors.DataError: ...
        """
        if not hasattr(self, "classes_"):
            raise DataError("this ShapeClassifier has no classes yet: fit it on labels first.")
        return _storage.write(self, path)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> ShapeClassifier:
        """Read what `save` wrote.

        Raises
        ------
        DataError
            If it cannot be read, is damaged, or of a newer format.

        Examples
        --------
        >>> ShapeClassifier.load("no such file")
        Traceback (most recent call last):
        ...
        particle_nb.core.errors.DataError: ...
        """
        return _storage.read(cls, path)
