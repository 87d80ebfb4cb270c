"""Samples compared: differences of percentiles and shapes, with intervals and a test.

Intervals of a difference come from the intervals of its two sides, each of which knows its images
(`particle_nb.core.sizes.intervals`), by the method of variance estimates recovery (G. Y. Zou,
A. Donner, 2008, doi:10.1002/sim.3095): with estimates a, b and limits (la, ua), (lb, ub),

    low = b - a - sqrt((b - lb)^2 + (ua - a)^2),  high = b - a + sqrt((ub - b)^2 + (a - la)^2).

The test asks whether the images of both samples could as well be shuffled between them: a
permutation test over whole images, never over single particles where images are known, for
particles of one image are relatives. With few images there are few ways to shuffle, and no
difference can be significant; the result says so. Where a sample is one image, or images are not
named, particles are shuffled instead and the result says that image-to-image variation is not in
it.
"""

from __future__ import annotations

import itertools
import math
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from particle_nb.core.errors import DataError
from particle_nb.core.sizes.distribution import SizeDistribution
from particle_nb.core.sizes.intervals import Quantity, what_it_holds, what_it_lacks
from particle_nb.core.sizes.measured import size_distribution
from particle_nb.core.sizes.uncertainty import check_share, checked_draws
from particle_nb.core.sizes.variation import SHAPES, shape_means

_PERCENTS = (10, 50, 90)
_DRAWS = 1999
_CELLS = 2048  # of the logarithm of size, in which shuffled samples are counted
_TOGETHER = 64  # shuffles that are counted at once
#: What of a table's ``attrs`` must be alike for its numbers to be comparable.
_SAME = ("estimator", "grid_px")


@dataclass(frozen=True, eq=False)
class Comparison:
    """Samples side by side and their differences from the first; made by `compare`.

    Parameters
    ----------
    size, unit : str
        E.g. ``"x_A"`` in ``"um"``.
    r : int
        How sizes are counted: 0 number, 3 volume.
    distributions : dict of str to SizeDistribution
        In the order given, all in `unit`.
    samples : DataFrame
        Index sample; ``n`` (particles that count), ``images`` (0 where not named), ``D10 D50 D90``.
    differences : DataFrame
        One row per sample and quantity (``D10 D50 D90``, the whole ``distribution``, shapes):
        ``sample``, ``against`` (the first), ``quantity``, ``first``, ``second``, ``difference``
        (second - first) with ``low high``, ``unit``, ``percent`` with ``percent_low
        percent_high``, ``p`` of the test, ``p_holm`` (for all quantities of a pair together),
        ``doubt``.
    test, holds, lacks : str
        What was shuffled; what is in intervals and test, and what is not.
    level : float
        Confidence of the intervals.
    notes : tuple of str
        What speaks against the comparison.
    """

    size: str
    unit: str
    r: int
    distributions: dict[str, SizeDistribution]
    samples: pd.DataFrame
    differences: pd.DataFrame
    test: str
    holds: str
    lacks: str
    level: float
    notes: tuple[str, ...] = ()

    def __repr__(self) -> str:
        medians = ", ".join(f"{name} D50 {row.D50:.4g}" for name, row in self.samples.iterrows())
        return f"<Comparison of {self.size}, Q_{self.r}: {medians} {self.unit}; {self.test}>"


def compare(
    tables: Mapping[str, pd.DataFrame],
    size: str = "x_A",
    r: int = 3,
    *,
    weights: str | None = None,
    level: float = 0.95,
    rng: np.random.Generator | int | None = None,
) -> Comparison:
    """Compare the particles of two or more samples: every sample against the first.

    Parameters
    ----------
    tables : mapping of str to DataFrame
        From `measure` or a batch; the column ``image`` says which image a particle is from.
    size, r, weights :
        As in `size_distribution`.
    level : float
        Confidence of the intervals.
    rng : Generator, seed or None
        Shuffles and draws; None is seed 0, so that a report repeats.

    Returns
    -------
    Comparison

    Raises
    ------
    DataError
        If there are fewer than two tables, one is empty or in pixels and another is not, or an
        option is out of range.

    Warns
    -----
    UserWarning
        As `size_distribution` where particles are cut by the rim and nothing makes up for it.

    Examples
    --------
    >>> rng = np.random.default_rng(1)
    >>> def powder(median):
    ...     image = np.repeat(list("abcdef"), 50)
    ...     sizes = median * np.exp(0.2 * rng.standard_normal(300))
    ...     return pd.DataFrame({"image": image, "x_A_um": sizes})
    >>> found = compare({"dry": powder(1.0), "dispersed": powder(0.8)}, r=0)
    >>> d50 = found.differences.set_index("quantity").loc["D50"]
    >>> bool(d50.percent_low < -20 < d50.percent_high), bool(d50.p < 0.05)
    (True, True)
    >>> found.test
    'images shuffled between the samples'
    """
    checked = _checked(tables)
    check_share("level", level)
    rng = checked_draws(rng, _DRAWS)
    names = list(checked)
    first = size_distribution(checked[names[0]], size, r, weights)
    distributions = {names[0]: first}
    for name in names[1:]:
        found = size_distribution(checked[name], size, r, weights)
        if (found.unit == "px") != (first.unit == "px"):
            raise DataError(
                f"{names[0]!r} is in {first.unit} and {name!r} in {found.unit}; lengths in pixels "
                "compare with nothing: give both a scale."
            )
        distributions[name] = found if found.unit == first.unit else found.to(first.unit)
    by_image = all(one.image_count > 1 for one in distributions.values())
    rows: list[dict[str, Any]] = []
    notes = _attr_notes(checked)
    for name in names[1:]:
        pair = _Pair(
            (names[0], name),
            (checked[names[0]], checked[name]),
            (first, distributions[name]),
            by_image,
            weights,
        )
        rows += pair.rows(level, rng)
        notes += pair.notes()
    least = min(one.image_count for one in distributions.values())
    return Comparison(
        first.size,
        first.unit,
        first.r,
        distributions,
        _samples(distributions),
        pd.DataFrame(rows),
        f"{'images' if by_image else 'particles'} shuffled between the samples",
        what_it_holds(least if by_image else 0),
        what_it_lacks(least),
        float(level),
        tuple(dict.fromkeys(notes)),
    )


def _checked(tables: Any) -> dict[str, pd.DataFrame]:
    if not isinstance(tables, Mapping) or not all(isinstance(name, str) for name in tables):
        raise DataError(
            "compare takes a dict of names and tables, compare({'dry': a, 'dispersed': b}), not "
            f"{type(tables).__name__}."
        )
    if len(tables) < 2:
        raise DataError(f"a comparison takes two samples or more, not {len(tables)}.")
    for name, table in tables.items():
        if not isinstance(table, pd.DataFrame):
            raise DataError(
                f"the sample {name!r} is no table of measure but a {type(table).__name__}."
            )
    return dict(tables)


def _attr_notes(tables: Mapping[str, pd.DataFrame]) -> list[str]:
    """What the tables say of how they were measured, where it is not the same."""
    notes = []
    for key in _SAME:
        told = {name: table.attrs[key] for name, table in tables.items() if key in table.attrs}
        if len(set(map(str, told.values()))) > 1:
            which = ", ".join(f"{name}: {value}" for name, value in told.items())
            notes.append(f"the samples were measured differently ({key}; {which})")
    return notes


def _samples(distributions: Mapping[str, SizeDistribution]) -> pd.DataFrame:
    rows = {
        name: (one.n, one.image_count, *one.percentile(list(_PERCENTS)))
        for name, one in distributions.items()
    }
    columns = ["n", "images", *(f"D{p}" for p in _PERCENTS)]
    return pd.DataFrame.from_dict(rows, orient="index", columns=columns)


def recovered(
    first: tuple[float, float, float], second: tuple[float, float, float]
) -> tuple[float, float, float]:
    """Return second - first and its interval from (estimate, low, high) of both sides.

    Examples
    --------
    >>> recovered((1.0, 0.7, 1.3), (2.0, 1.6, 2.4))
    (1.0, 0.5, 1.5)
    """
    (a, a_low, a_high), (b, b_low, b_high) = first, second
    down, up = math.hypot(b - b_low, a_high - a), math.hypot(b_high - b, a - a_low)
    return b - a, b - a - down, b - a + up


@dataclass(frozen=True, eq=False)
class _Pair:
    """One sample against the first."""

    names: tuple[str, str]
    tables: tuple[pd.DataFrame, pd.DataFrame]
    sizes: tuple[SizeDistribution, SizeDistribution]
    by_image: bool
    weights: str | None

    def rows(self, level: float, rng: np.random.Generator) -> list[dict[str, Any]]:
        """Every quantity with its difference, interval and chance."""
        rows = [*self._percentiles(level, rng), self._whole(), *self._shapes(level)]
        chances = self._chances([row["quantity"] for row in rows], rng)
        for row, p, adjusted in zip(rows, chances, _holm(chances), strict=True):
            row |= {"p": p, "p_holm": adjusted}
        return [{"sample": self.names[1], "against": self.names[0], **row} for row in rows]

    def notes(self) -> list[str]:
        """What the number of images does not allow."""
        if not self.by_image:
            few = [n for n, d in zip(self.names, self.sizes, strict=True) if d.image_count < 2]
            return [
                "image-to-image variation is not in intervals and test "
                f"({' and '.join(few)}: one image, or images not named): two images of one "
                "sample can differ as much"
            ]
        count = 4 + len(self._shape_names())
        ways = math.comb(sum(d.image_count for d in self.sizes), self.sizes[0].image_count)
        least = _least(*(d.image_count for d in self.sizes))
        if count * least <= 0.05:
            return []
        counts = " and ".join(str(d.image_count) for d in self.sizes)
        return [
            f"{counts} images can be shuffled in {ways} ways only: p cannot fall below "
            f"{least:.2g}, nor p_holm below {min(1.0, count * least):.2g}, however large the "
            "difference; take more images"
        ]

    def _percentiles(self, level: float, rng: np.random.Generator) -> Iterator[dict[str, Any]]:
        sides = []
        for one in self.sizes:
            values = one.percentile(list(_PERCENTS))
            limits, doubt = np.full((len(_PERCENTS), 2), np.nan), f"{one.n} particles"
            if one.n >= 3:
                with warnings.catch_warnings(record=True) as said:
                    warnings.simplefilter("always")
                    limits = one.interval(list(_PERCENTS), level, rng=rng)
                doubt = " ".join(str(w.message) for w in said)
            sides.append((values, limits, doubt))
        for k, p in enumerate(_PERCENTS):
            a, b = ((float(v[k]), float(lim[k][0]), float(lim[k][1])) for v, lim, _ in sides)
            about = {n: d for n, (*_, d) in zip(self.names, sides, strict=True) if d}
            doubt = " ".join(f"{name}: {text}" for name, text in about.items())
            yield _row(f"D{p}", a, b, self.sizes[0].unit, doubt)

    def _whole(self) -> dict[str, Any]:
        """The largest distance of the two sums, in per cent."""
        a, b = self.sizes
        at = np.unique(np.r_[a.x, b.x])
        gap = 100 * float(np.abs(a.Q(at) - b.Q(at)).max())
        missing = dict.fromkeys(
            ("first", "second", "low", "high", "percent", "percent_low", "percent_high"), math.nan
        )
        return {"quantity": "distribution", **missing, "difference": gap, "unit": "%", "doubt": ""}

    def _shapes(self, level: float) -> Iterator[dict[str, Any]]:
        known = self._shape_names()
        if not known:
            return
        sides = [
            shape_means(table, known, weights=self.weights, level=level) for table in self.tables
        ]
        for name in known:
            a, b = (tuple(map(float, one.loc[name, ["mean", "low", "high"]])) for one in sides)
            yield _row(name, a, b, "", "")  # type: ignore[arg-type]

    def _shape_names(self) -> list[str]:
        return [
            name
            for name in SHAPES
            if all(
                name in table
                and pd.api.types.is_numeric_dtype(table[name])
                and np.isfinite(table[name].to_numpy(float)).any()
                for table in self.tables
            )
        ]

    def _chances(self, quantities: Sequence[str], rng: np.random.Generator) -> list[float]:
        """The chance of differences as large in samples that are shuffled, quantity by quantity."""
        sums = _Sums.of(self, [name for name in quantities if name in SHAPES])
        seen: np.ndarray | None = None
        beyond, count = np.zeros(len(quantities)), 0
        for first in _shuffles(sums.owners, sums.first, rng):
            found = sums.statistics(first)
            if seen is None:
                seen, found = found[0], found[1:]  # the samples as they are come first
            beyond += (found >= seen * (1 - 1e-9) - 1e-12).sum(axis=0)
            count += len(found)
        return [float(p) for p in (1 + beyond) / (1 + count)]


def _row(
    quantity: str,
    first: tuple[float, float, float],
    second: tuple[float, float, float],
    unit: str,
    doubt: str,
) -> dict[str, Any]:
    difference, low, high = recovered(first, second)
    logs = [math.nan] * 3
    if min(first[0], second[0]) > 0:
        # a limit that is not positive has no logarithm, and nothing is said of that side
        sides = [[math.log(v) if v > 0 else -math.inf for v in side] for side in (first, second)]
        logs = list(recovered(tuple(sides[0]), tuple(sides[1])))  # type: ignore[arg-type]
    percent = [100 * math.expm1(value) if value < 700 else math.inf for value in logs]
    return {
        "quantity": quantity,
        "first": first[0],
        "second": second[0],
        "difference": difference,
        "low": low,
        "high": high,
        "unit": unit,
        "percent": percent[0],
        "percent_low": percent[1],
        "percent_high": percent[2],
        "doubt": doubt,
    }


def _holm(chances: Sequence[float]) -> list[float]:
    """Holm's step-down adjustment (1979), in the order given."""
    order = np.argsort(chances, kind="stable")
    adjusted, worst = np.empty(len(chances)), 0.0
    for place, k in enumerate(order):
        worst = max(worst, min(1.0, (len(chances) - place) * chances[k]))
        adjusted[k] = worst
    return [float(p) for p in adjusted]


def _least(first: int, second: int) -> float:
    """The smallest chance that so many images allow: a split and, of equal halves, its mirror."""
    return (2 if first == second else 1) / math.comb(first + second, first)


def _shuffles(owners: int, first: int, rng: np.random.Generator) -> Iterator[np.ndarray]:
    """Yield bool (K, owners), which belong to the first sample; as they are comes first."""
    as_they_are = np.arange(owners) < first
    if math.comb(owners, first) <= _DRAWS + 1:
        ways = []
        for chosen in itertools.combinations(range(owners), first):
            row = np.zeros(owners, bool)
            row[list(chosen)] = True
            ways.append(row)  # the first one is (0, 1, ..., first - 1)
        yield np.array(ways)
        return
    yield as_they_are[None]
    for start in range(0, _DRAWS, _TOGETHER):
        count = min(_TOGETHER, _DRAWS - start)
        yield rng.permuted(np.tile(as_they_are, (count, 1)), axis=1)


@dataclass(frozen=True, eq=False)
class _Sums:
    """What shuffling needs of every owner (an image, or one particle).

    Parameters
    ----------
    amounts : float array (owners, cells), or the cell and amount of each owner
        Weight times x^r in cells of ln x.
    edges : float array (cells,)
        ln x of each cell.
    held, summed : float array (owners, shapes)
        Weights, and weights times the descriptor.
    """

    amounts: np.ndarray
    cells: np.ndarray | None
    logs: np.ndarray
    held: np.ndarray
    summed: np.ndarray
    first: int

    @property
    def owners(self) -> int:
        return len(self.amounts)

    @classmethod
    def of(cls, pair: _Pair, shapes: Sequence[str]) -> _Sums:
        a, b = pair.sizes
        logs = np.log(np.r_[a.x, b.x])
        low, high = float(logs.min()), float(logs.max())
        wide = max(high - low, 1e-9)
        cell = np.minimum(((logs - low) / wide * _CELLS).astype(int), _CELLS - 1)
        middles = low + (np.arange(_CELLS) + 0.5) / _CELLS * wide
        weights = np.r_[a.weights, b.weights] * np.exp(a.r * (logs - high))
        held, summed = _shape_sums(pair, shapes)
        if pair.by_image:
            owner = np.r_[a.images, b.images + a.image_count]  # type: ignore[operator]
            count = a.image_count + b.image_count
            amounts = np.bincount(owner * _CELLS + cell, weights, count * _CELLS)
            return cls(amounts.reshape(count, _CELLS), None, middles, held, summed, a.image_count)
        return cls(weights, cell, middles, held, summed, a.n)

    def statistics(self, first: np.ndarray) -> np.ndarray:
        """Return the size of every difference for splits (K, owners), float (K, quantities)."""
        a, b = self._percentiles(first), self._percentiles(~first)
        sizes = np.abs(a[0] - b[0])
        whole = np.abs(a[1] - b[1]).max(axis=1, keepdims=True)
        parts = [sizes, whole]
        if self.held.shape[1]:
            parts.append(np.abs(self._means(first) - self._means(~first)))
        return np.hstack(parts)

    def _percentiles(self, chosen: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """ln of the percentiles (K, 3), and the sums (K, cells)."""
        if self.cells is None:
            amounts = chosen.astype(float) @ self.amounts
        else:
            amounts = np.stack(
                [np.bincount(self.cells[row], self.amounts[row], _CELLS) for row in chosen]
            )
        # amounts are weighted by x^r already
        wanted = [Quantity("percentile", p / 100, r=0) for p in _PERCENTS]
        found = np.stack([one.drawn(self.logs, amounts) for one in wanted], axis=1)
        sums = np.cumsum(amounts, axis=1)
        return found, sums / sums[:, -1:]

    def _means(self, chosen: np.ndarray) -> np.ndarray:
        chosen = chosen.astype(float)
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.nan_to_num(chosen @ self.summed / (chosen @ self.held))


def _shape_sums(pair: _Pair, shapes: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """Weights and weighted sums of every shape, by owner in the order of the sizes."""
    held, summed = [], []
    for table, sizes in zip(pair.tables, pair.sizes, strict=True):
        weights = np.ones(len(table))
        if pair.weights is not None:
            weights = table["edge_weight"].to_numpy(float)
        keep = weights > 0
        values = (
            np.stack([table[name].to_numpy(float) for name in shapes], axis=1)
            if (shapes)
            else np.zeros((len(table), 0))
        )
        values, weights = values[keep], weights[keep, None]
        known = np.isfinite(values)
        counted = weights * known
        if pair.by_image:
            codes = pd.factorize(table["image"], use_na_sentinel=False)[0][keep]
            codes = np.unique(codes, return_inverse=True)[1]
            sums = np.zeros((2, sizes.image_count, values.shape[1]))
            np.add.at(sums[0], codes, counted)
            np.add.at(sums[1], codes, counted * np.where(known, values, 0))
        else:
            sums = np.stack([counted, counted * np.where(known, values, 0)])
        held.append(sums[0])
        summed.append(sums[1])
    return np.vstack(held), np.vstack(summed)
