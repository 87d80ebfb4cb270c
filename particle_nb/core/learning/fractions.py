"""How much of a sample each class is, and its sizes, with what the classifier confuses."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from particle_nb.core.errors import DataError, check_number
from particle_nb.core.learning._samples import UNKNOWN, design_effect
from particle_nb.core.learning.classifier import ShapeClassifier
from particle_nb.core.learning.features import FeatureTable
from particle_nb.core.sizes import size_distribution

_DRAWS = 1000
#: Steps of the mixture's expectation maximisation, which converges within a few dozen.
_STEPS = 60
_KINDS = {"number": 0, "area": 2, "volume": 3}


def class_fractions(
    classifier: ShapeClassifier,
    features: FeatureTable | np.ndarray,
    sizes: Sequence[float] | np.ndarray | None = None,
    level: float = 0.95,
    rng: np.random.Generator | int | None = None,
) -> pd.DataFrame:
    """Return the fraction of each class, freed of the classifier's confusion, with intervals.

    Particles are counted by their most probable class; the confusion that cross-validation found
    between held-out labels (`ShapeClassifier.scores`) is then undone: the fractions are those that
    would most probably be told as these were. An interval holds the sampling of particles (of
    images where there are five or more) and that the confusion is known from few labels. Novel
    particles are left out and counted in ``attrs``, and so are those too small to measure.

    Parameters
    ----------
    classifier : ShapeClassifier
        Fitted; labels must be chosen without looking at how easily they are told.
    features : FeatureTable or float array (N, D)
    sizes : float array (N,) or None
        x_A in any unit, for fractions by area and volume; None gives those by number alone.
    level : float
        Of the intervals, inside 0..1.
    rng : Generator, seed or None

    Returns
    -------
    DataFrame
        Indexed by class: ``told`` (particles), ``number number_low number_high``, and with sizes
        the same for ``area`` (x_A^2) and ``volume`` (x_A^3, as if all classes were alike in depth).
        ``attrs``: ``novel``, ``unmeasured``, ``drawn`` ("images" or "particles").

    Raises
    ------
    DataError
        If the classifier is not fitted, lengths differ, a size is not positive, or no particle is
        left.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> values = np.repeat([[0.0], [4.0]], 30, axis=0) + rng.normal(0, 0.5, (60, 1))
    >>> labels = {i: "cube" if i < 30 else "rod" for i in range(0, 60, 3)}
    >>> classes = ShapeClassifier(novelty=0).fit(values, labels)
    >>> class_fractions(classes, values)["number"].round(2).tolist()
    [0.5, 0.5]

    References
    ----------
    Counts corrected by a confusion matrix: A. Tenenbein, 1970, doi:10.1080/01621459.1970.10481170.
    """
    generator = _generator(rng)
    check_number("level", level, 1e-6, 1 - 1e-6)
    probable, kept, counts = _told(classifier, features)
    x = _sizes(sizes, len(kept))
    told = probable.argmax(axis=1)
    groups = np.array(getattr(features, "images", ("",) * len(kept)), object)
    drawings, drawn = _drawings(groups, kept, generator)
    confusion = _confusions(classifier, generator)
    names = [str(name) for name in classifier.classes_]
    found: dict[str, Any] = {"told": np.bincount(told[kept], minlength=len(names))}
    for kind, r in _KINDS.items():
        if x is None and r:
            continue
        amounts = np.ones(len(kept)) if x is None else x**r
        shares = np.stack(
            [drawings[:, kept] @ (amounts * (told == k))[kept] for k in range(len(names))], 1
        )
        values = _unmixed(shares / shares.sum(axis=1, keepdims=True), confusion)
        low, high = np.quantile(values[1:], ((1 - level) / 2, (1 + level) / 2), axis=0)
        found[kind] = values[0]
        found[f"{kind}_low"] = np.minimum(low, values[0])
        found[f"{kind}_high"] = np.maximum(high, values[0])
    table = pd.DataFrame(found, index=pd.Index(names, name="class"))
    table.attrs.update(counts, level=level, drawn=drawn)
    return table


def class_sizes(
    table: pd.DataFrame,
    classes: pd.DataFrame,
    size: str = "x_A",
    r: int = 0,
    level: float = 0.95,
    rng: np.random.Generator | int | None = None,
) -> pd.DataFrame:
    """Return D10, D50 and D90 of every class, with intervals that hold doubtful classes.

    Each particle counts in every class with its probability there, so that what is told wrongly
    of a class does not stand in its sizes at full weight. Intervals draw particles (or images,
    from five on) and with each draw the class of every particle from its probabilities.

    Parameters
    ----------
    table : DataFrame (N rows)
        From `measure`; a column ``image`` says which particles are relatives.
    classes : DataFrame (N rows)
        From `ShapeClassifier.predict`: the columns behind ``probability`` are the classes. Rows
        called "unknown" count by their probabilities too; leave novel ones out of both tables.
    size : str
        As in `size_distribution`.
    r : 0, 1, 2 or 3
        Type of quantity.
    level : float
        Of the intervals, inside 0..1.
    rng : Generator, seed or None

    Returns
    -------
    DataFrame
        Indexed by class: ``particles`` (sum of probabilities), ``x_10 x_10_low x_10_high`` and so
        on for 50 and 90, in the size's unit (``attrs["unit"]``).

    Raises
    ------
    DataError
        If lengths differ, the classes have no probabilities, or a size is missing.

    Examples
    --------
    >>> sizes = pd.DataFrame({"x_A_nm": [10.0, 11, 12, 30, 31, 32]})
    >>> told = pd.DataFrame({"class": list("aaabbb"), "probability": 1.0, "a": [1.0] * 3 + [0] * 3})
    >>> told["b"] = 1 - told["a"]
    >>> class_sizes(sizes, told)["x_50"].round(1).tolist()
    [11.0, 31.0]
    """
    generator = _generator(rng)
    check_number("level", level, 1e-6, 1 - 1e-6)
    if not isinstance(table, pd.DataFrame) or not isinstance(classes, pd.DataFrame):
        raise DataError("class_sizes needs a table of measure and one of ShapeClassifier.predict.")
    names = [name for name in classes if name not in ("class", "probability")]
    if not names or "probability" not in classes:
        raise DataError(
            "the classes have no probabilities; give what ShapeClassifier.predict gives."
        )
    if len(classes) != len(table):
        raise DataError(f"{len(classes)} classes for {len(table)} particles; give one each.")
    whole = np.nan_to_num(classes[names].to_numpy(float))
    kept = whole.sum(axis=1) > 0
    groups = (table["image"] if "image" in table else pd.Series([""] * len(table))).to_numpy(object)
    drawings, drawn = _drawings(groups, kept, generator, draws=200)
    edges = np.cumsum(whole, axis=1)
    places = (10, 50, 90)
    rows = {}
    for place, name in enumerate(names):
        soft = np.where(kept, whole[:, place], 0.0)
        if soft.sum() < 1e-9:
            rows[str(name)] = [0.0] + [np.nan] * 9
            continue
        first = size_distribution(table, size, r, soft)
        found = first.percentile(places)
        values = []
        for times in drawings[1:]:
            chance = generator.random(len(table)) * edges[:, -1]
            mine = (chance < edges[:, place]) & (chance >= edges[:, place] - whole[:, place])
            weights = times * (mine & kept)
            if weights.any():
                values.append(size_distribution(table, size, r, weights).percentile(places))
        ends = np.quantile(values, ((1 - level) / 2, (1 + level) / 2), axis=0) if values else None
        row = [float(soft.sum())]
        for k, value in enumerate(found):
            low, high = (np.nan, np.nan) if ends is None else ends[:, k]
            row += [float(value), float(np.fmin(low, value)), float(np.fmax(high, value))]
        rows[str(name)] = row
        unit = first.unit
    columns = ["particles", *(f"x_{p}{e}" for p in places for e in ("", "_low", "_high"))]
    result = pd.DataFrame.from_dict(rows, orient="index", columns=columns)
    result.index.name = "class"
    result.attrs.update(unit=unit, r=r, level=level, drawn=drawn)
    return result


def _generator(rng: Any) -> np.random.Generator:
    try:
        return np.random.default_rng(0 if rng is None else rng)
    except (TypeError, ValueError):
        raise DataError(f"rng is a Generator or a seed (0, 1, ...), not {rng!r}.") from None


def _sizes(sizes: Any, count: int) -> np.ndarray | None:
    if sizes is None:
        return None
    try:
        x = np.asarray(sizes, float)
    except (TypeError, ValueError):
        raise DataError(f"sizes are numbers, one a particle, not {type(sizes).__name__}.") from None
    if x.shape != (count,) or not (np.isfinite(x) & (x > 0)).all():
        raise DataError(f"sizes are {count} positive numbers, one a particle, not {x.shape}.")
    return x


def _told(classifier: Any, features: Any) -> tuple[np.ndarray, np.ndarray, dict[str, int]]:
    """Probabilities (N, K), which rows count, and how many do not for what reason."""
    if not isinstance(classifier, ShapeClassifier):
        raise DataError(
            f"class_fractions needs a ShapeClassifier, not {type(classifier).__name__}."
        )
    probable = classifier.predict_proba(features)
    reasons = np.array(classifier.reasons(features), object)
    kept = ~np.isin(reasons.astype(str), ("novel", "not measurable"))
    if not kept.any():
        raise DataError(f"no particle is left: all are novel or too small ({UNKNOWN}).")
    counts = {
        "novel": int((reasons == "novel").sum()),
        "unmeasured": int((reasons == "not measurable").sum()),
    }
    return np.nan_to_num(probable), kept, counts


def _drawings(
    groups: np.ndarray, kept: np.ndarray, rng: np.random.Generator, draws: int = _DRAWS
) -> tuple[np.ndarray, str]:
    """How often each particle counts (1 + draws, N): once in the first row, then as drawn."""
    count = len(kept)
    names, codes = np.unique(groups[kept].astype(str), return_inverse=True)
    found = np.zeros((draws + 1, count))
    found[0, kept] = 1
    places = np.flatnonzero(kept)
    if len(names) >= 5:
        times = rng.multinomial(len(names), np.full(len(names), 1 / len(names)), draws)
        found[1:, places] = times[:, codes]
        return found, "images"
    found[1:, places] = rng.multinomial(len(places), np.full(len(places), 1 / len(places)), draws)
    return found, "particles"


def _confusions(classifier: ShapeClassifier, rng: np.random.Generator) -> np.ndarray:
    """Confusion rates (1 + draws, K, K), truth by told: the likeliest, then as few labels allow."""
    size = len(classifier.classes_)
    told = classifier._held_out.argmax(axis=1)
    counts = np.zeros((size, size))
    np.add.at(counts, (classifier._targets, told), 1)
    effect = design_effect(told == classifier._targets, classifier._groups)
    # errors that were never seen are possible
    counts = counts / effect + 0.5 / size
    first = counts / counts.sum(axis=1, keepdims=True)
    drawn = np.stack([rng.dirichlet(row, _DRAWS) for row in counts], axis=1)
    return np.concatenate([first[None], drawn])


def _unmixed(told: np.ndarray, confusion: np.ndarray) -> np.ndarray:
    """Fractions (B, K) of the classes that are told as these shares (B, K) under confusions."""
    found = np.full(told.shape, 1 / told.shape[1])
    for _ in range(_STEPS):
        expected = np.einsum("bk,bkj->bj", found, confusion)
        found = found * np.einsum("bkj,bj->bk", confusion, told / np.maximum(expected, 1e-12))
    return found / found.sum(axis=1, keepdims=True)
