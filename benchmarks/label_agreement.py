"""How far the passes of tests/data/emps_classes.csv agree: share alike, Cohen's kappa, by class.

    python benchmarks/label_agreement.py [--first pass_1] [--second pass_3]

Intervals are percentiles of 4,000 draws of whole images. Prints Markdown for the card.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

TABLE = Path(__file__).parent.parent / "tests" / "data" / "emps_classes.csv"


def agreed(rows: pd.DataFrame) -> pd.Series:
    """Whether all passes gave a particle the same name."""
    passes = [name for name in rows if str(name).startswith("pass_")]
    return rows[passes].nunique(axis=1) == 1


def kappa(confusion: np.ndarray) -> np.ndarray:
    """Cohen's kappa of confusion matrices (..., K, K).

    >>> float(kappa(np.array([[20, 5], [10, 15]])).round(3))
    0.4
    """
    count = confusion.sum(axis=(-2, -1))
    alike = np.trace(confusion, axis1=-2, axis2=-1) / count
    chance = (confusion.sum(axis=-1) * confusion.sum(axis=-2)).sum(axis=-1) / count**2
    with np.errstate(invalid="ignore"):
        return (alike - chance) / (1 - chance)


def counted(first: pd.Series, second: pd.Series, kinds: Sequence[str]) -> np.ndarray:
    """Confusion matrix (K, K), first by second."""
    return pd.crosstab(first, second).reindex(index=kinds, columns=kinds, fill_value=0).to_numpy()


def one_against_rest(confusion: np.ndarray) -> np.ndarray:
    """Confusion matrices (..., K, 2, 2) of each class against all others."""
    both = np.diagonal(confusion, axis1=-2, axis2=-1)
    first, second = confusion.sum(axis=-1) - both, confusion.sum(axis=-2) - both
    rest = confusion.sum(axis=(-2, -1))[..., None] - both - first - second
    return np.stack([np.stack([both, first], -1), np.stack([second, rest], -1)], -2)


def drawn(rows: pd.DataFrame, pair: tuple[str, str], kinds: Sequence[str]) -> np.ndarray:
    """Confusion matrices (4000, K, K) of images drawn again with replacement."""
    each = np.stack(
        [counted(part[pair[0]], part[pair[1]], kinds) for _, part in rows.groupby("image")]
    )
    rng = np.random.default_rng(0)
    times = rng.multinomial(len(each), np.full(len(each), 1 / len(each)), 4000)
    return np.tensordot(times, each, 1)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--first", default="pass_1")
    parser.add_argument("--second", default="pass_3")
    given = parser.parse_args(arguments)
    rows = pd.read_csv(TABLE)
    pair = given.first, given.second
    kinds = sorted(set(rows[pair[0]]) | set(rows[pair[1]]))
    whole, again = counted(rows[pair[0]], rows[pair[1]], kinds), drawn(rows, pair, kinds)
    low, high = np.quantile(kappa(again), (0.025, 0.975))
    alike = np.trace(again, axis1=1, axis2=2) / again.sum(axis=(1, 2))
    least, most = np.quantile(alike, (0.025, 0.975))
    print(
        f"{pair[0]}, {pair[1]}: {np.trace(whole)} of {len(rows)} alike "
        f"({np.trace(whole) / len(rows):.1%}, {least:.1%} to {most:.1%}); "
        f"kappa {kappa(whole):.3f} ({low:.3f} to {high:.3f})\n"
    )
    print(f"| name | {pair[0]} | {pair[1]} | alike | alike of either | kappa | 95 % |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    alone, spread = kappa(one_against_rest(whole)), kappa(one_against_rest(again))
    for i, kind in enumerate(kinds):
        first, second, both = whole[i].sum(), whole[:, i].sum(), whole[i, i]
        ends = np.nanquantile(spread[:, i], (0.025, 0.975))
        print(
            f"| {kind} | {first} | {second} | {both} | {both / (first + second - both):.0%} "
            f"| {alone[i]:.2f} | {ends[0]:.2f} to {ends[1]:.2f} |"
        )
    print(f"\n| {pair[0]} \\ {pair[1]} | " + " | ".join(kinds) + " |")
    print("| --- |" + " --- |" * len(kinds))
    for kind, line in zip(kinds, whole, strict=True):
        print(f"| {kind} | " + " | ".join(str(n) if n else "" for n in line) + " |")
    print(f"\nalike in all passes: {int(agreed(rows).sum())}")
    print(rows[agreed(rows)][pair[0]].value_counts().to_dict())


if __name__ == "__main__":
    main()
