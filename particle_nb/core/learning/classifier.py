"""Classes of particles from a few labels, with "unknown" where the labels do not carry."""

from __future__ import annotations

import json
import math
import os
import struct
import warnings
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy import optimize, special, stats
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold

from particle_nb.core.errors import DataError, check_number
from particle_nb.core.files import atomic
from particle_nb.core.learning.features import (
    FeatureTable,
    difference,
    plain_table,
    shape_columns,
    standard,
)

#: What a particle is called that belongs to no class, or to none for certain.
UNKNOWN = "unknown"
#: Columns of the table that `ShapeClassifier.predict` gives, which no class may be called.
_TAKEN = (UNKNOWN, "class", "probability")
#: Offset of the logarithm of shape numbers, most of which are shares.
_OFFSET = 0.02
#: Novelty by all columns is judged so many times more strictly than by the outline's.
_STRICTER = 5
_FOLDS = 5
#: Standard deviation of the logarithm of the temperature that is expected before any label.
_TEMPERATURE = 0.5
_FORMAT = 1
_LARGEST_FILE = 1 << 30


class ShapeClassifier(ClassifierMixin, BaseEstimator):
    """Logistic regression on standardised features, calibrated, that may say "unknown".

    A network's columns weigh half as much together as our own ones together, however many they
    are. Probabilities are calibrated by one temperature, found by cross-validation. Beyond what
    `reject` says a particle is "unknown" when its form lies further from all labelled ones than
    these from each other, and when it is too small to be measured.

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
        self._check_parameters()
        table = plain_table(features)
        rows, names = _labels(labels, len(table))
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
        self._standardise(table)
        inside = self._space(self._rows.values)
        self._groups = _groups(groups, table, rows)
        self._folds, self._grouped = _split(targets, self._groups)
        # a penalised solution lies in the span of the rows: there are fewer of these than columns
        basis = np.linalg.svd(inside, full_matrices=False)[2]
        low = inside @ basis.T
        self._held_out = np.zeros((len(rows), len(classes)))
        for train, test in self._folds:
            self._held_out[test] = _logits(low[test], *self._solve(low[train], targets[train]))
        self._temperature = _fitted_temperature(self._held_out, targets)
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

    def _check_parameters(self) -> None:
        if self.reject != "conformal":
            if isinstance(self.reject, str):
                raise DataError(f"reject is a probability or 'conformal', not {self.reject!r}.")
            check_number("reject", self.reject, 0, 1)
        check_number("alpha", self.alpha, 0.01, 0.5)
        check_number("novelty", self.novelty, 0, 0.5)
        check_number("strength", self.strength, 1e-6, 1e6)
        weight = self.class_weight
        if weight is None or weight == "balanced":
            return
        if not isinstance(weight, Mapping) or not all(v > 0 for v in weight.values()):
            raise DataError(
                f"class_weight is None, 'balanced' or {{name: positive weight}}, not {weight!r}."
            )

    def _standardise(self, table: FeatureTable) -> None:
        """Scales of the columns, and of the logarithms of those that speak of the outline."""
        self._centre, self._factor = standard(table)
        values = table.values.astype(float)
        usable = values[np.isfinite(values).all(axis=1)]
        places = [] if self._plain else shape_columns(table.names)
        self._outline = np.array(places, np.int64)
        logs = np.log(np.abs(usable[:, self._outline]) + _OFFSET)
        self._outline_spread = np.maximum(logs.std(axis=0), 1e-6) if len(places) else np.zeros(0)

    def _space(self, values: np.ndarray) -> np.ndarray:
        """Standardised and weighed rows; a number that is not there is put at the centre."""
        return np.nan_to_num((values - self._centre) * self._factor)

    def _outline_space(self, values: np.ndarray) -> np.ndarray:
        logs = np.log(np.abs(np.nan_to_num(values[:, self._outline])) + _OFFSET)
        return logs / self._outline_spread

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
        ``"conformal"`` ``"ambiguous"`` (several classes) and ``"no class"``.

        Raises
        ------
        DataError
            As `predict`.
        """
        return self._judge(self._checked(features))[1]

    def sets(self, features: FeatureTable | np.ndarray) -> list[tuple[str, ...]]:
        """Return for rows (N, D) the classes that hold the true one with probability 1 - `alpha`.

        True on average over particles like the labelled ones; those of another image are not.

        Raises
        ------
        DataError
            As `predict`.
        """
        inside = self._inside(self._probable(self._checked(features)))
        return [tuple(self.classes_[row]) for row in inside]

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
        logits = _logits(self._space(table.values), self._coefficients, self._intercepts)
        probable = special.softmax(logits / self._temperature, axis=1)
        probable[~np.isfinite(table.values).all(axis=1)] = math.nan
        return probable

    def _inside(self, probable: np.ndarray) -> np.ndarray:
        """Classes in each row's set, bool (N, K): their p-value is above alpha."""
        least = np.searchsorted(self._scores, 1 - probable - 1e-12, side="left")
        values = (len(self._scores) - least + 1) / (len(self._scores) + 1)
        return (values > self.alpha) | ~np.isfinite(probable)

    def _judge(self, table: FeatureTable) -> tuple[np.ndarray, list[str]]:
        probable = self._probable(table)
        reasons = np.full(len(table), "", object)
        if self.reject == "conformal":
            count = self._inside(probable).sum(axis=1)
            reasons[count > 1], reasons[count == 0] = "ambiguous", "no class"
        else:
            reasons[probable.max(axis=1, initial=-1) < float(self.reject)] = "low probability"
        reasons[self._novel(table.values)] = "novel"
        reasons[~np.isfinite(table.values).all(axis=1)] = "not measurable"
        return probable, reasons.tolist()

    def _novel(self, values: np.ndarray) -> np.ndarray:
        """Rows that lie further from the labelled ones than these from each other."""
        if not self.novelty or not len(values):
            return np.zeros(len(values), bool)
        own = self._rows.values
        level = self.novelty
        novel = np.zeros(len(values), bool)
        if self._outline.size:
            known, asked = self._outline_space(own), self._outline_space(values)
            novel |= _strangeness(known, self._targets, asked) < level
            level /= _STRICTER
        return novel | (_strangeness(self._space(own), self._targets, self._space(values)) < level)

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
        size = len(self.classes_)
        told = self._held_out.argmax(axis=1)
        confusion = np.zeros((size, size))
        np.add.at(confusion, (self._targets, told), 1)
        effect = _design_effect(told == self._targets, self._groups)
        rng = np.random.default_rng(0)
        rates = np.stack(
            [rng.dirichlet(row / effect + 1 / size, 4000) * row.sum() for row in confusion], axis=1
        )
        drawn = _f1(rates)[0]
        low, high = np.quantile(
            np.column_stack([drawn, drawn.mean(axis=1)]), ((1 - level) / 2, (1 + level) / 2), axis=0
        )
        f1, precision, recall = (value[0] for value in _f1(confusion[None]))
        found = np.append(f1, f1.mean())
        table = pd.DataFrame(
            {
                "f1": found,
                # drawn rates never reach 0 or 1, found ones do
                "low": np.minimum(low, found),
                "high": np.maximum(high, found),
                "precision": [*precision, precision.mean()],
                "recall": [*recall, recall.mean()],
                "labels": [*self._counts().tolist(), int(self._counts().sum())],
            },
            index=pd.Index([*self.classes_, "macro"], name="class"),
        )
        table.attrs.update(
            folds=f"{len(self._folds)}, {'whole groups' if self._grouped else 'single particles'}",
            level=level,
            design_effect=round(effect, 3),
            confusion=confusion.astype(int).tolist(),
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
        probable = self._probable(FeatureTable(values, self._rows.names))[0]
        first, second = np.argsort(-np.nan_to_num(probable), kind="stable")[:2]
        means = [self._rows.values[self._targets == k].mean(axis=0) for k in (first, second)]
        slope = (self._coefficients[first] - self._coefficients[second]) * self._factor
        weights = slope * np.nan_to_num(values[0] - (means[0] + means[1]) / 2) / self._temperature
        names = [str(self.classes_[k]) for k in (first, second)]
        rows: list[tuple[str, float, float, float, float]] = []
        blocks = np.array(self._rows.blocks)
        for block in dict.fromkeys(self._rows.blocks):
            places = np.flatnonzero(blocks == block)
            if block:
                name = f"{block} ({len(places)} columns)"
                total = float(weights[places].sum())
                rows.append((name, math.nan, math.nan, math.nan, total))
                continue
            rows += [
                (self._rows.names[i], *(float(v[i]) for v in (values[0], *means, weights)))
                for i in places
            ]
        rows.sort(key=lambda item: -abs(item[4]))
        columns = ["feature", "value", f"mean of {names[0]}", f"mean of {names[1]}", "weight"]
        table = pd.DataFrame(rows, columns=columns)
        telling = [
            f"{name} {value:.2g}" if value == value else name
            for name, value, _, _, weight in rows
            if weight > 0.05 * max(abs(rows[0][4]), 1e-9)
        ]
        decided = ", ".join(telling[:3]) or "nothing"
        table.attrs.update(
            text=f"{names[0]} rather than {names[1]}: {decided}",
            probability=float(probable[first]),
            reason=self._judge(FeatureTable(values, self._rows.names))[1][0],
        )
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
        weight = self.class_weight
        about = {
            "format": _FORMAT,
            "parameters": {
                "reject": self.reject if isinstance(self.reject, str) else float(self.reject),
                "alpha": float(self.alpha),
                "class_weight": (
                    {name: float(value) for name, value in weight.items()}
                    if isinstance(weight, Mapping)
                    else weight
                ),
                "novelty": float(self.novelty),
                "strength": float(self.strength),
            },
            "classes": [str(name) for name in self.classes_],
            "names": list(self._rows.names),
            "model": self._rows.model,
            "digest": self._rows.digest,
            "licence": self._rows.licence,
            "images": list(self._rows.images),
            "groups": [str(group) for group in self._groups],
            "grouped": self._grouped,
            "plain": self._plain,
            "folds": len(self._folds),
            "temperature": self._temperature,
        }
        with atomic(path) as stream:
            np.savez_compressed(
                stream,
                about=np.frombuffer(json.dumps(about).encode(), np.uint8),
                rows=self._rows.values,
                **{name: getattr(self, f"_{name}") for name in _ARRAYS},
            )
        return Path(path)

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
        try:
            with zipfile.ZipFile(path) as archive:
                size = sum(entry.file_size for entry in archive.infolist())
            if size > _LARGEST_FILE:
                raise DataError(f"{path} unfolds to more than 1 GiB; these are no classes of ours.")
            with np.load(path, allow_pickle=False) as stored:
                arrays = {name: stored[name] for name in ("about", "rows", *_ARRAYS)}
            return cls._restored(json.loads(arrays.pop("about").tobytes()), arrays)
        except DataError:
            raise
        except (
            OSError,
            EOFError,
            KeyError,
            IndexError,
            TypeError,
            ValueError,
            AttributeError,
            zipfile.BadZipFile,
            zlib.error,
            struct.error,
            RuntimeError,
            MemoryError,
            SyntaxError,
        ) as error:
            raise DataError(f"{path} holds no classes written by save: {error}.") from None

    @classmethod
    def _restored(cls, about: dict[str, Any], arrays: dict[str, np.ndarray]) -> ShapeClassifier:
        if about["format"] != _FORMAT:
            raise DataError(
                f"these classes are of format {about['format']}, this version reads {_FORMAT}."
            )
        made = cls(**about["parameters"])
        made._check_parameters()
        made.classes_ = np.array(about["classes"], object)
        made._rows = FeatureTable(
            arrays.pop("rows"),
            tuple(about["names"]),
            about["model"],
            about["digest"],
            about["licence"],
            tuple(about["images"]),
        )
        count, width = made._rows.shape
        size = len(made.classes_)
        shapes = {
            "centre": (width,),
            "factor": (width,),
            "outline_spread": arrays["outline"].shape,
            "coefficients": (size, width),
            "intercepts": (size,),
            "targets": (count,),
            "held_out": (count, size),
            "scores": (count,),
        }
        for name, shape in shapes.items():
            if arrays[name].shape != shape or not np.isfinite(arrays[name]).all():
                raise DataError(f"the file is damaged: {name} is no array of {shape}.")
        for name, values in arrays.items():
            setattr(made, f"_{name}", values)
        made.n_features_in_ = width
        made._all = None
        made._plain, made._grouped = bool(about["plain"]), bool(about["grouped"])
        made._groups = np.array(about["groups"], object)
        made._folds = [(np.zeros(0, int), np.zeros(0, int))] * int(about["folds"])
        made._temperature = float(about["temperature"])
        return made


#: Arrays of a fitted classifier that a file holds beside the labelled rows.
_ARRAYS = (
    "targets",
    "centre",
    "factor",
    "outline",
    "outline_spread",
    "coefficients",
    "intercepts",
    "held_out",
    "scores",
)


def _labels(labels: Any, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows and names of what is labelled."""
    if isinstance(labels, Mapping):
        pairs = list(labels.items())
    else:
        try:
            given = list(labels)
        except TypeError:
            raise DataError(
                f"labels are {{row: name}} or one a row, not {type(labels).__name__}."
            ) from None
        if len(given) != count:
            raise DataError(f"{len(given)} labels for {count} rows; name some: {{row: name}}.")
        nothing = [(pd.api.types.is_scalar(x) and pd.isna(x)) or x == "" for x in given]
        pairs = [(i, x) for i, x in enumerate(given) if not nothing[i]]
    names = []
    for row, name in pairs:
        whole = isinstance(row, (int, np.integer)) and not isinstance(row, bool)
        if not whole or not 0 <= row < count:
            raise DataError(f"a label is for row {row!r}; there are rows 0 to {count - 1}.")
        if not isinstance(name, (str, int, np.integer)) or isinstance(name, bool):
            raise DataError(f"row {row} is labelled {name!r}; a class is named by text.")
        text = str(name).strip()
        if not text or text in _TAKEN:
            raise DataError(f"row {row} is labelled {name!r}, which cannot be the name of a class.")
        names.append(text)
    order = np.array([int(row) for row, _ in pairs], np.int64)
    return order, np.array(names, object).astype(str) if names else np.zeros(0, str)


def _groups(groups: Any, table: FeatureTable, rows: np.ndarray) -> np.ndarray:
    if groups is None:
        return np.array(table.images, object)[rows]
    found = [str(group) for group in groups]
    if len(found) != len(table):
        raise DataError(f"{len(found)} groups for {len(table)} rows; give one a row.")
    return np.array(found, object)[rows]


Folds = list[tuple[np.ndarray, np.ndarray]]


def _split(targets: np.ndarray, groups: np.ndarray) -> tuple[Folds, bool]:
    """Folds by whole groups where every class is left in every training set, else by particles."""
    size = int(targets.max()) + 1
    if len(set(groups)) > 1:
        apart = min(len(set(groups[targets == k])) for k in range(size))
        if apart >= 2:
            splitter = StratifiedGroupKFold(min(_FOLDS, apart), shuffle=True, random_state=0)
            found = list(splitter.split(targets, targets, groups))
            whole = all(len(set(targets[train])) == size and len(test) for train, test in found)
            if whole:
                return found, True
    count = int(np.bincount(targets).min())
    plain = StratifiedKFold(min(_FOLDS, count), shuffle=True, random_state=0)
    return list(plain.split(targets, targets)), False


def _logits(rows: np.ndarray, slopes: np.ndarray, intercepts: np.ndarray) -> np.ndarray:
    return rows @ slopes.T + intercepts


def _fitted_temperature(logits: np.ndarray, targets: np.ndarray) -> float:
    """Return the most probable divisor of held-out logits, expected near 1."""
    picked = np.arange(len(targets)), targets

    def loss(log_temperature: float) -> float:
        logs = special.log_softmax(logits / math.exp(log_temperature), axis=1)
        return float(-logs[picked].sum() + 0.5 * (log_temperature / _TEMPERATURE) ** 2)

    found = optimize.minimize_scalar(loss, bounds=(-2, 3), method="bounded")
    return math.exp(float(found.x))


def _strangeness(known: np.ndarray, targets: np.ndarray, asked: np.ndarray) -> np.ndarray:
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


def _design_effect(right: np.ndarray, groups: np.ndarray) -> float:
    """How many particles carry as much as one independent one, from how errors come in groups."""
    names, places = np.unique(groups.astype(str), return_inverse=True)
    share = float(right.mean())
    if len(names) < 3 or share in (0.0, 1.0):
        return 1.0
    sizes = np.bincount(places)
    hits = np.bincount(places, weights=right)
    between = ((hits - share * sizes) ** 2).sum() * len(names) / (len(names) - 1)
    most = (sizes**2).sum() / sizes.sum()
    return float(np.clip(between / (len(right) * share * (1 - share)), 1.0, most))


def _f1(confusion: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """F1, precision and recall (B, K) of confusion matrices (B, K, K), truth by prediction."""
    hits = np.diagonal(confusion, axis1=1, axis2=2)
    truth, told = confusion.sum(axis=2), confusion.sum(axis=1)
    precision = np.divide(hits, told, out=np.zeros_like(hits), where=told > 0)
    return 2 * hits / (truth + told), precision, hits / truth
