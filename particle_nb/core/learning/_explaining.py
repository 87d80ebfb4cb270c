"""Why a particle is of one class and not of another, number by number."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd

from particle_nb.core.learning.features import FeatureTable


def explanation(
    values: np.ndarray,
    probable: np.ndarray,
    known: FeatureTable,
    targets: np.ndarray,
    classes: np.ndarray,
    slopes: np.ndarray,
) -> pd.DataFrame:
    """Return the table of `ShapeClassifier.explain` for one row (1, D) and its probabilities (K,).

    `known` are the labelled rows and `targets` their classes; `slopes` (K, D) say what a feature
    adds to the logarithm of a class's odds.
    """
    first, second = np.argsort(-np.nan_to_num(probable), kind="stable")[:2]
    means = [known.values[targets == k].mean(axis=0) for k in (first, second)]
    slope = slopes[first] - slopes[second]
    weights = slope * np.nan_to_num(values[0] - (means[0] + means[1]) / 2)
    names = [str(classes[k]) for k in (first, second)]
    rows: list[tuple[str, float, float, float, float]] = []
    blocks = np.array(known.blocks)
    for block in dict.fromkeys(known.blocks):
        places = np.flatnonzero(blocks == block)
        if block:
            name = f"{block} ({len(places)} columns)"
            total = float(weights[places].sum())
            rows.append((name, math.nan, math.nan, math.nan, total))
            continue
        for i in places:
            value, first_mean, second_mean, weight = (
                float(v[i]) for v in (values[0], *means, weights)
            )
            rows.append((known.names[i], value, first_mean, second_mean, weight))
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
    )
    return table
