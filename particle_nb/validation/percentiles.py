"""Percentiles of a size distribution beside those of a reference, one row each."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import numpy as np
import pandas as pd

from particle_nb.core.agreement import percentile_deviation
from particle_nb.core.errors import DataError
from particle_nb.core.masks import MaskSet
from particle_nb.core.sizes import ReferenceDistribution, SizeDistribution

#: Percentiles that a report names where none are asked for.
PERCENTS = (10, 50, 90)


def segmentation_table(
    distribution: SizeDistribution,
    masks: Sequence[MaskSet],
    percents: Sequence[float] = PERCENTS,
) -> pd.DataFrame:
    """Return percentiles with intervals that hold the errors of finding and outlining as well.

    Parameters
    ----------
    distribution : SizeDistribution
        Of x_A.
    masks : sequence of MaskSet
        What was measured, one set an image, in the order of the table.
    percents : floats (P,)

    Returns
    -------
    DataFrame
        Index ``D10`` and so on; ``value``, ``low``, ``high``, and a column in per cent for the
        share that each cause has of the interval's variance.

    Raises
    ------
    DataError
        As `SizeDistribution.interval`.

    Examples
    --------
    >>> from particle_nb.core.shape import measure
    >>> from particle_nb.core.sizes import size_distribution
    >>> labels = np.kron(np.arange(1, 26).reshape(5, 5), np.pad(np.ones((12, 12), int), 4))
    >>> masks = MaskSet.from_labels(labels)
    >>> found = segmentation_table(size_distribution(measure(masks), r=0), [masks], [50])
    >>> bool(found.loc["D50", "low"] < found.loc["D50", "value"])
    True
    """
    rows = {}
    for percent in percents:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the plain interval has said so
            found = distribution.interval(percent, masks=masks)
        shares = {f"{name} / %": 100 * share for name, share in found.shares.items()}
        value = distribution.percentile(percent)
        rows[f"D{percent:g}"] = {"value": value, "low": found.low, "high": found.high, **shares}
    return pd.DataFrame.from_dict(rows, orient="index")


def percentile_table(
    distribution: SizeDistribution,
    intervals: Sequence[Sequence[float]] | np.ndarray,
    reference: ReferenceDistribution | SizeDistribution | None = None,
    tolerance: float = 10.0,
    percents: Sequence[float] = PERCENTS,
) -> pd.DataFrame:
    """Return percentiles with their intervals and what a reference says of them.

    Parameters
    ----------
    distribution : SizeDistribution
    intervals : float (P, 2)
        Lower and upper end for each percentile, in the distribution's unit; NaN where unknown.
    reference : ReferenceDistribution, SizeDistribution or None
        Of the same weighting and unit.
    tolerance : float
        Deviation in per cent that counts as agreement.
    percents : floats (P,)

    Returns
    -------
    DataFrame
        Columns ``n``, ``percentile`` (``"D50"``), ``value``, ``low``, ``high``, and with a
        reference ``reference``, ``deviation_percent``, ``agrees`` and ``within_interval`` (None
        where there is no interval).

    Raises
    ------
    DataError
        If there is not one interval for each percentile, or the two cannot be compared.

    Examples
    --------
    >>> from particle_nb.core.sizes import size_distribution
    >>> ours = size_distribution(np.linspace(1.0, 2.0, 101), r=0, unit="um")
    >>> theirs = ReferenceDistribution([1, 1.6, 2], [0, 0.5, 1], 0, "um", "another instrument")
    >>> row = percentile_table(ours, [(1.4, 1.65)], theirs, percents=[50]).to_dict("records")[0]
    >>> round(row["deviation_percent"], 2), row["agrees"], row["within_interval"]
    (-6.25, True, True)
    """
    limits = np.asarray(intervals, float)
    if limits.shape != (len(percents), 2):
        raise DataError(f"{len(percents)} percentiles need intervals (P, 2), not {limits.shape}.")
    table = pd.DataFrame(
        {
            "n": distribution.n,
            "percentile": [f"D{p:g}" for p in percents],
            "value": np.asarray(distribution.percentile(percents), float),
            "low": limits[:, 0],
            "high": limits[:, 1],
        }
    )
    if reference is None:
        return table
    found = percentile_deviation(distribution, reference, percents)
    table["reference"] = found["reference"]
    table["deviation_percent"] = found["deviation_percent"]
    table["agrees"] = found["deviation_percent"].abs() <= tolerance
    table["within_interval"] = [
        bool(low <= value <= high) if np.isfinite([low, high]).all() else None
        for (low, high), value in zip(limits, found["reference"], strict=True)
    ]
    return table


def quiet_intervals(
    distribution: SizeDistribution, percents: Sequence[float] = PERCENTS, seed: int = 0
) -> np.ndarray:
    """Return bootstrap intervals of percentiles without the warning of few particles, (P, 2).

    For a report that says by itself how many particles were needed. NaN where there are fewer
    than three particles.

    Examples
    --------
    >>> from particle_nb.core.sizes import size_distribution
    >>> quiet_intervals(size_distribution([1.0, 2.0])).tolist()
    [[nan, nan], [nan, nan], [nan, nan]]
    """
    if distribution.n < 3:
        return np.full((len(percents), 2), np.nan)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return np.asarray(distribution.interval(percents, rng=seed))


def counts_table(
    distribution: SizeDistribution, percents: Sequence[float] = PERCENTS
) -> pd.DataFrame:
    """Return how many particles each percentile takes to be known to 5 %, and how many there are.

    Returns
    -------
    DataFrame
        Columns ``percentile`` (``"D50,3"``), ``counted``, ``needed for ±5 %``, ``known to about``
        (per cent, at the present count) and ``enough``.

    Examples
    --------
    >>> from particle_nb.core.sizes import size_distribution
    >>> sizes = np.exp(np.random.default_rng(0).normal(0, 0.3, 500))
    >>> counts_table(size_distribution(sizes), [50]).loc[0, "percentile"]
    'D50,3'
    """
    needed = [distribution.counts_needed(p) for p in percents]
    return pd.DataFrame(
        {
            "percentile": [f"D{p:g},{distribution.r}" for p in percents],
            "counted": distribution.n,
            "needed for ±5 %": needed,
            "known to about": [5 * float(np.sqrt(n / distribution.n)) for n in needed],
            "enough": [distribution.n >= n for n in needed],
        }
    )
