"""Labels, groups and folds that a classifier learns from, and what its held-out answers say."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from scipy import optimize, special
from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold

from particle_nb.core.errors import DataError, check_number
from particle_nb.core.learning.features import FeatureTable

#: What a particle is called that belongs to no class, or to none for certain.
UNKNOWN = "unknown"
#: Columns of the table that `ShapeClassifier.predict` gives, which no class may be called.
_TAKEN = (UNKNOWN, "class", "probability")
_FOLDS = 5
#: Standard deviation of the logarithm of the temperature that is expected before any label.
_TEMPERATURE = 0.5


def check_parameters(parameters: Mapping[str, Any]) -> None:
    """Refuse parameters of `ShapeClassifier` that are out of range."""
    if parameters["reject"] != "conformal":
        if isinstance(parameters["reject"], str):
            raise DataError(
                f"reject is a probability or 'conformal', not {parameters['reject']!r}."
            )
        check_number("reject", parameters["reject"], 0, 1)
    check_number("alpha", parameters["alpha"], 0.01, 0.5)
    check_number("novelty", parameters["novelty"], 0, 0.5)
    check_number("strength", parameters["strength"], 1e-6, 1e6)
    weight = parameters["class_weight"]
    if weight is None or weight == "balanced":
        return
    if not isinstance(weight, Mapping) or not all(v > 0 for v in weight.values()):
        raise DataError(
            f"class_weight is None, 'balanced' or {{name: positive weight}}, not {weight!r}."
        )


def read_labels(labels: Any, count: int) -> tuple[np.ndarray, np.ndarray]:
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


def read_groups(groups: Any, table: FeatureTable, rows: np.ndarray) -> np.ndarray:
    """Group of each labelled row: what was given, else the image of the table."""
    if groups is None:
        return np.array(table.images, object)[rows]
    found = [str(group) for group in groups]
    if len(found) != len(table):
        raise DataError(f"{len(found)} groups for {len(table)} rows; give one a row.")
    return np.array(found, object)[rows]


Folds = list[tuple[np.ndarray, np.ndarray]]


def split(targets: np.ndarray, groups: np.ndarray) -> tuple[Folds, bool]:
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


def logits_of(rows: np.ndarray, slopes: np.ndarray, intercepts: np.ndarray) -> np.ndarray:
    """Return logits (N, K) of rows (N, D)."""
    return rows @ slopes.T + intercepts


def fitted_temperature(logits: np.ndarray, targets: np.ndarray) -> float:
    """Return the most probable divisor of held-out logits, expected near 1."""
    picked = np.arange(len(targets)), targets

    def loss(log_temperature: float) -> float:
        logs = special.log_softmax(logits / math.exp(log_temperature), axis=1)
        return float(-logs[picked].sum() + 0.5 * (log_temperature / _TEMPERATURE) ** 2)

    found = optimize.minimize_scalar(loss, bounds=(-2, 3), method="bounded")
    return math.exp(float(found.x))


def held_out_losses(logits: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """Return minus the logarithm of each true class's calibrated probability (N,)."""
    logs = special.log_softmax(logits / fitted_temperature(logits, targets), axis=1)
    return -logs[np.arange(len(targets)), targets]


def score_table(
    held_out: np.ndarray,
    targets: np.ndarray,
    groups: np.ndarray,
    classes: np.ndarray,
    level: float,
) -> pd.DataFrame:
    """Return F1 with intervals, precision and recall by class of held-out logits (N, K)."""
    size = len(classes)
    counts = np.bincount(targets, minlength=size)
    told = held_out.argmax(axis=1)
    confusion = np.zeros((size, size))
    np.add.at(confusion, (targets, told), 1)
    effect = design_effect(told == targets, groups)
    rng = np.random.default_rng(0)
    rates = np.stack(
        [rng.dirichlet(row / effect + 1 / size, 4000) * row.sum() for row in confusion], axis=1
    )
    drawn = f1_scores(rates)[0]
    low, high = np.quantile(
        np.column_stack([drawn, drawn.mean(axis=1)]), ((1 - level) / 2, (1 + level) / 2), axis=0
    )
    f1, precision, recall = (value[0] for value in f1_scores(confusion[None]))
    found = np.append(f1, f1.mean())
    table = pd.DataFrame(
        {
            "f1": found,
            # drawn rates never reach 0 or 1, found ones do
            "low": np.minimum(low, found),
            "high": np.maximum(high, found),
            "precision": [*precision, precision.mean()],
            "recall": [*recall, recall.mean()],
            "labels": [*counts.tolist(), int(counts.sum())],
        },
        index=pd.Index([*classes, "macro"], name="class"),
    )
    table.attrs.update(
        level=level,
        design_effect=round(effect, 3),
        confusion=confusion.astype(int).tolist(),
    )
    return table


def design_effect(right: np.ndarray, groups: np.ndarray) -> float:
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


def f1_scores(confusion: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """F1, precision and recall (B, K) of confusion matrices (B, K, K), truth by prediction."""
    hits = np.diagonal(confusion, axis1=1, axis2=2)
    truth, told = confusion.sum(axis=2), confusion.sum(axis=1)
    precision = np.divide(hits, told, out=np.zeros_like(hits), where=told > 0)
    return 2 * hits / (truth + told), precision, hits / truth
