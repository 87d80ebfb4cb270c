"""How far classes lie apart in the space of their features, with intervals."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from particle_nb.core.errors import DataError, check_number
from particle_nb.core.learning._samples import UNKNOWN
from particle_nb.core.learning._strangeness import distances
from particle_nb.core.learning.features import FeatureTable, plain_table, standard

#: Distances of more particles than this are not looked at: a random part stands for all.
_MOST = 1500
_DRAWS = 400
_MOST_TRIES = 20 * _DRAWS
_MEASURES = ("silhouette", "davies_bouldin", "calinski_harabasz")
_BETTER = ("higher", "lower", "higher")
#: Rows of distances that are held at a time.
_BLOCK = 256


def plane(features: FeatureTable | np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the principal plane of standardised features.

    Parameters
    ----------
    features : FeatureTable or float array (N, D)

    Returns
    -------
    points : float array (N, 2)
        NaN for particles with a number that cannot be told.
    shares : float array (2,)
        Share of the variance along either axis.
    loadings : float array (2, D)
        Unit vectors of the axes; the largest entry of each is positive.

    Raises
    ------
    DataError
        If there are fewer than three particles, or nothing differs between them.

    Examples
    --------
    >>> points, shares, _ = plane(np.array([[0.0, 1], [1, 1], [3, 1], [4, 1]]))
    >>> shares.tolist(), points[:, 0].round(2).tolist()
    ([1.0, 0.0], [-0.89, -0.45, 0.45, 0.89])
    """
    values, usable = standardised(features)
    if np.count_nonzero(usable) < 3:
        raise DataError("a plane needs three particles that can be measured.")
    _, sizes, axes = np.linalg.svd(values[usable], full_matrices=False)
    total = float((sizes**2).sum())
    if total <= 0:
        raise DataError("all particles have the same features; there is no plane.")
    axes = np.vstack([axes, np.zeros((2, axes.shape[1]))])[:2]
    signs = np.array([math.copysign(1.0, float(axis[np.abs(axis).argmax()])) for axis in axes])
    axes = axes * signs[:, None]
    points = np.full((len(values), 2), math.nan)
    points[usable] = values[usable] @ axes.T
    shares = np.append(sizes**2 / total, [0.0, 0.0])[:2]
    return points, shares, axes


def standardised(features: Any) -> tuple[np.ndarray, np.ndarray]:
    """Return rows (N, D) that count as in `ShapeClassifier`, and which of them are whole (N,).

    A number that is missing is 0.

    Raises
    ------
    DataError
        If no particle can be measured.

    Examples
    --------
    >>> standardised(np.array([[1.0], [3.0]]))[0].tolist()
    [[-1.0], [1.0]]
    """
    table = plain_table(features)
    centre, factor = standard(table)
    usable = np.isfinite(table.values).all(axis=1)
    return np.where(usable[:, None], (table.values - centre) * factor, 0), usable


def separation(
    features: FeatureTable | np.ndarray,
    classes: Sequence[str] | pd.Series | np.ndarray,
    groups: Sequence[Any] | None = None,
    level: float = 0.95,
    rng: np.random.Generator | int | None = None,
) -> pd.DataFrame:
    """Say by three numbers how well classes are told apart by their features, with intervals.

    For judging a synthesis: forms that become distinct move apart from batch to batch. Particles
    called "unknown", without a class, or too small to measure are left out. Calinski-Harabasz
    grows with the number of particles: compare it between batches of like size only.

    Parameters
    ----------
    features : FeatureTable or float array (N, D)
    classes : sequence of str (N,)
        Names, e.g. the column ``class`` of `ShapeClassifier.predict`.
    groups : sequence (N,) or None
        Images or batches, drawn as a whole; five at least. None draws particles.
    level : float
        Of the intervals, inside 0..1.
    rng : Generator, seed or None

    Returns
    -------
    DataFrame
        Indexed by ``silhouette`` (-1 to 1), ``davies_bouldin`` (0 is best), ``calinski_harabasz``:
        ``value low high better``; intervals are percentiles of the bootstrap. ``attrs`` says how
        many particles of which class were counted.

    Raises
    ------
    DataError
        If lengths differ, or fewer than two classes have three particles.

    Examples
    --------
    >>> values = np.r_[np.eye(4) * 0.1, np.eye(4) * 0.1 + 5]
    >>> found = separation(values, ["disc"] * 4 + ["rod"] * 4)
    >>> bool(found["value"]["silhouette"] > 0.9), list(found)
    (True, ['value', 'low', 'high', 'better'])

    References
    ----------
    P. Rousseeuw, 1987, doi:10.1016/0377-0427(87)90125-7; D. Davies, D. Bouldin, 1979,
    doi:10.1109/TPAMI.1979.4766909; T. Calinski, J. Harabasz, 1974, doi:10.1080/03610927408827101.
    For synthesis: F. Barnatan et al., 2025.
    """
    check_number("level", level, 1e-6, 1 - 1e-6)
    try:
        generator = np.random.default_rng(0 if rng is None else rng)
    except (TypeError, ValueError):
        raise DataError(f"rng is a Generator or a seed (0, 1, ...), not {rng!r}.") from None
    values, usable = standardised(features)
    try:
        names = np.array([_name(name) for name in classes], object)
    except TypeError:
        raise DataError(f"classes are names, one each, not {type(classes).__name__}.") from None
    if len(names) != len(values):
        raise DataError(f"{len(names)} classes for {len(values)} particles; give one each.")
    kept = usable & (names != "") & (names != UNKNOWN)
    known, counts = np.unique(names[kept].astype(str), return_counts=True)
    small = known[counts < 3]
    kept &= ~np.isin(names.astype(str), small)
    known = known[counts >= 3]
    if len(known) < 2:
        raise DataError(
            "two classes with three particles each are needed at least; there are "
            + (
                ", ".join(f"{n} of {str(c)!r}" for c, n in zip(known, counts, strict=False))
                or "none"
            )
        )
    members = np.flatnonzero(kept)
    of_group = _grouped(groups, len(values))
    if len(members) > _MOST:
        members = np.sort(generator.choice(members, _MOST, replace=False))
    values = values[members]
    targets = np.searchsorted(known, names[members].astype(str))
    weights = _weights(of_group[members] if of_group is not None else None, targets, generator)
    found = _measured(values, targets, weights)
    low, high = np.quantile(found[1:], ((1 - level) / 2, (1 + level) / 2), axis=0)
    table = pd.DataFrame(
        {"value": found[0], "low": low, "high": high, "better": _BETTER},
        index=pd.Index(_MEASURES, name="measure"),
    )
    counted = np.bincount(targets, minlength=len(known))
    table.attrs.update(
        particles={str(name): int(n) for name, n in zip(known, counted, strict=True)},
        left_out=int(len(names) - np.count_nonzero(kept)),
        thinned=bool(np.count_nonzero(kept) > _MOST),
        drawn="groups" if of_group is not None else "particles",
        level=level,
    )
    return table


def _name(value: Any) -> str:
    return "" if pd.api.types.is_scalar(value) and pd.isna(value) else str(value)


def _grouped(groups: Sequence[Any] | None, count: int) -> np.ndarray | None:
    if groups is None:
        return None
    found = np.unique([str(group) for group in groups], return_inverse=True)[1]
    if len(found) != count:
        raise DataError(f"{len(found)} groups for {count} particles; give one each.")
    if found.max(initial=-1) < 4:
        raise DataError("an interval over groups needs five of them; leave groups out.")
    return found


def _weights(
    groups: np.ndarray | None, targets: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    """How often each particle is drawn (1 + draws, N); the first row takes each once."""
    count = len(targets)
    rows = [np.ones(count)]
    present = [targets == k for k in range(int(targets.max()) + 1)]
    for _ in range(_MOST_TRIES):
        if groups is None:
            drawn = np.zeros(count)
            for member in present:
                # the number of each class stands: what is asked is how far they lie apart
                own = np.flatnonzero(member)
                drawn += np.bincount(rng.choice(own, len(own)), minlength=count)
        else:
            number = int(groups.max()) + 1
            drawn = np.bincount(rng.integers(number, size=number), minlength=number)[groups]
        if min(np.count_nonzero(drawn[member]) for member in present) >= 2:
            rows.append(drawn.astype(float))
        if len(rows) > _DRAWS:
            return np.array(rows)
    raise DataError("a class is in too few of the groups; leave groups out, or that class.")


def _measured(values: np.ndarray, targets: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """The three measures (B, 3) for how often each particle counts, (B, N)."""
    size = int(targets.max()) + 1
    member = np.eye(size)[targets]
    totals = weights @ member
    sums = np.stack([weights[:, targets == k] @ values[targets == k] for k in range(size)], axis=1)
    centres = sums / totals[..., None]
    whole = sums.sum(axis=1) / weights.sum(axis=1)[:, None]
    squares = (values**2).sum(axis=1)
    within = (weights * squares) @ member - totals * (centres**2).sum(axis=2)
    between = (totals * ((centres - whole[:, None]) ** 2).sum(axis=2)).sum(axis=1)
    count = weights.sum(axis=1)
    calinski = (between / (size - 1)) / np.maximum(within.sum(axis=1) / (count - size), 1e-30)
    silhouettes = np.zeros(len(weights))
    scatter = np.zeros((len(weights), size))
    for start in range(0, len(values), _BLOCK):
        part = slice(start, start + _BLOCK)
        own = targets[part]
        apart = distances(values[part], values)
        silhouettes += _silhouette_sums(apart, own, member, weights, part)
        for k in range(size):
            mine = values[part][own == k]
            gaps = distances(centres[:, k], mine)
            scatter[:, k] += (weights[:, part][:, own == k] * gaps).sum(axis=1)
    scatter /= totals
    gap = np.sqrt(((centres[:, :, None] - centres[:, None]) ** 2).sum(axis=3))
    ratio = (scatter[:, :, None] + scatter[:, None]) / np.maximum(gap, 1e-30)
    ratio[:, np.arange(size), np.arange(size)] = 0
    davies = ratio.max(axis=2).mean(axis=1)
    return np.column_stack([silhouettes / count, davies, calinski])


def _silhouette_sums(
    apart: np.ndarray, own: np.ndarray, member: np.ndarray, weights: np.ndarray, part: slice
) -> np.ndarray:
    """Sum of the silhouettes of some particles, each against all, for every drawing (B,)."""
    places = np.arange(len(own))
    totals = weights @ member
    # mean distance of each to each class: (B, rows, K); copies of a particle are no neighbours
    of_class = [member[:, k] > 0 for k in range(member.shape[1])]
    mean = np.stack([weights[:, k] @ apart[:, k].T for k in of_class], axis=2)
    mine = weights[:, part]
    others = totals[:, own] - mine
    inside = mean[:, places, own] / np.maximum(others, 1e-30)
    mean = mean / totals[:, None, :]
    mean[:, places, own] = np.inf
    outside = mean.min(axis=2)
    value = (outside - inside) / np.maximum(np.maximum(inside, outside), 1e-30)
    return (np.where(others > 0, value, 0) * mine).sum(axis=1)
