"""Repeated annotations of the same images: particles in common, and what outlines cost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from particle_nb.core.errors import DataError, check_number
from particle_nb.core.masks import MaskSet
from particle_nb.core.matching import match
from particle_nb.core.sizes import SizeDistribution, size_distribution
from particle_nb.validation.percentiles import PERCENTS

#: An image, an operator and the operator's repeat.
Key = tuple[str, str, int]


def common_particles(
    sets: Mapping[Key, MaskSet], tables: Mapping[Key, pd.DataFrame], columns: Sequence[str]
) -> pd.DataFrame:
    """Return the particles that every annotation of an image holds, matched to its first one.

    Parameters
    ----------
    sets : mapping
        (image, operator, repeat) -> masks.
    tables : mapping
        The same keys -> tables of `measure`, a row for each mask.
    columns : names
        Columns of these tables to take along.

    Returns
    -------
    DataFrame
        One row a particle and annotation: ``image``, ``particle`` (numbered within its image),
        ``operator``, ``repeat`` and the columns.

    Raises
    ------
    DataError
        If an annotation has no table, or one of another length than its masks.

    Examples
    --------
    >>> from particle_nb.core.masks import Mask
    >>> one = MaskSet((Mask((5, 5), np.ones((9, 9), bool), (30, 30)),))
    >>> sets = {("a.tif", "A", 1): one, ("a.tif", "B", 1): one}
    >>> tables = {key: pd.DataFrame({"x_A_px": [10.2]}) for key in sets}
    >>> common_particles(sets, tables, ["x_A_px"])["operator"].tolist()
    ['A', 'B']
    """
    for key, masks in sets.items():
        if key not in tables or len(tables[key]) != len(masks):
            raise DataError(f"annotation {key} needs a table with one row for each of its masks.")
    rows = []
    for image in dict.fromkeys(key[0] for key in sets):
        partners = _partners({key: masks for key, masks in sets.items() if key[0] == image})
        common = np.flatnonzero(np.all([p >= 0 for p in partners.values()], axis=0))
        for number, particle in enumerate(common):
            for key, partner in partners.items():
                row = tables[key].iloc[partner[particle]]
                rows.append(
                    {"image": image, "particle": number, "operator": key[1], "repeat": key[2]}
                    | {column: row[column] for column in columns}
                )
    return pd.DataFrame(rows, columns=["image", "particle", "operator", "repeat", *columns])


def _partners(sets: Mapping[Key, MaskSet]) -> dict[Key, np.ndarray]:
    """For each annotation of one image the index of every mask of the first one, -1 for none."""
    first, *others = sets
    partners = {first: np.arange(len(sets[first]))}
    for key in others:
        pairs = match(sets[key], sets[first]).pairs
        partners[key] = np.full(len(sets[first]), -1)
        partners[key][pairs[:, 1]] = pairs[:, 0]
    return partners


def outline_budget(
    distribution: SizeDistribution,
    habit_sd: float,
    own_sd: float,
    rng: np.random.Generator,
    draws: int = 2000,
) -> pd.DataFrame:
    """Return what shifted outlines and the count alone do to D10, D50 and D90.

    Parameters
    ----------
    distribution : SizeDistribution
        Of one annotation.
    habit_sd : float
        Standard deviation of the shift that an annotation gives all its outlines, in the
        distribution's unit; a diameter changes by twice the shift.
    own_sd : float
        Standard deviation of what each particle's outline is shifted beyond that.
    rng : numpy Generator
    draws : int
        Simulated annotations, 100 or more.

    Returns
    -------
    DataFrame
        One row a ``source`` (``"outline"``, ``"count"``, ``"both"``); ``D50 -`` and ``D50 +`` are
        the ends of the 95 % interval in per cent of the value.

    Raises
    ------
    DataError
        If a standard deviation is negative or there are too few draws.

    Examples
    --------
    >>> sizes = size_distribution(np.full(50, 10.0), r=0)
    >>> budget = outline_budget(sizes, 0.1, 0.0, np.random.default_rng(0), 400)
    >>> bool(3.5 < budget.set_index("source").loc["outline", "D50 +"] < 4.5)  # 1.96 x 2 x 0.1 / 10
    True
    """
    check_number("habit_sd", habit_sd, 0, 1e12)
    check_number("own_sd", own_sd, 0, 1e12)
    check_number("draws", draws, 100, 1e6)
    middle = np.asarray(distribution.percentile(PERCENTS), float)
    rows = []
    for source, shifted, counted in (
        ("outline", True, False),
        ("count", False, True),
        ("both", True, True),
    ):
        found = np.empty((int(draws), len(PERCENTS)))
        for k in range(int(draws)):
            n = distribution.n
            drawn = rng.integers(0, n, n) if counted else np.arange(n)
            x = distribution.x[drawn]
            if shifted:
                x = x + 2 * (rng.normal(0, habit_sd) + rng.normal(0, own_sd, len(x)))
            changed = size_distribution(
                np.maximum(x, 1e-9), r=distribution.r, weights=distribution.weights[drawn]
            )
            found[k] = changed.percentile(PERCENTS)
        ends = 100 * (np.quantile(found, [0.025, 0.975], axis=0) / middle - 1)
        row: dict[str, object] = {"source": source}
        for place, p in enumerate(PERCENTS):
            row |= {f"D{p} -": ends[0, place], f"D{p} +": ends[1, place]}
        rows.append(row)
    return pd.DataFrame(rows)
