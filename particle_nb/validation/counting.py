"""Simulated counts of particles whose size law is known: percentiles, intervals, the frame."""

from __future__ import annotations

import dataclasses
import math
import warnings
from collections.abc import Sequence

import numpy as np
import pandas as pd
from scipy import stats

from particle_nb.core.errors import check_number
from particle_nb.core.shape import edge_weights
from particle_nb.core.sizes import size_distribution
from particle_nb.validation.percentiles import PERCENTS

_CONVENTIONS = ("midpoint", "step", "linear")
_DISCS = 400_000
_FRAME = 1000  # px


def lognormal_percentiles(gsd: float, percents: Sequence[float] = PERCENTS) -> np.ndarray:
    """Return volume percentiles of a log-normal powder of number median 1, float (P,).

    By Hatch and Choate the volume law is the number law moved to exp(3 ln(gsd)^2).

    Parameters
    ----------
    gsd : float
        Geometric standard deviation, 1.001 to 10.
    percents : floats (P,)

    Raises
    ------
    DataError
        If the width is out of range.

    Examples
    --------
    >>> lognormal_percentiles(math.e ** 0.5, [50]).round(4).tolist()
    [2.117]
    """
    check_number("gsd", gsd, 1.001, 10)
    sigma = math.log(gsd)
    normal = stats.norm.ppf(np.asarray(percents, float) / 100)
    return np.exp(3 * sigma**2 + sigma * normal)


def convention_errors(
    counts: Sequence[int], gsd: float, repeats: int, rng: np.random.Generator
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return how far conventions of reading a percentile lie from the truth and from one another.

    Over repeated samples of a log-normal powder, counted by volume.

    Parameters
    ----------
    counts : ints
        Particles of a sample.
    gsd : float
        Geometric standard deviation of the powder, 1.001 to 10.
    repeats : int
        Samples of each count; 2 or more.
    rng : numpy Generator

    Returns
    -------
    errors : DataFrame
        Columns ``n``, ``convention``, ``percentile``, ``bias / %`` and ``scatter / %``.
    apart : DataFrame
        One row a count: ``n`` and for each percentile the mean distance in per cent between the
        greatest and the least of the conventions on the same particles.

    Raises
    ------
    DataError
        If a setting is out of range.

    Examples
    --------
    >>> errors, apart = convention_errors([100], 1.5, 3, np.random.default_rng(0))
    >>> len(errors), apart.columns.tolist()
    (9, ['n', 'D10,3', 'D50,3', 'D90,3'])
    """
    check_number("repeats", repeats, 2, 1e6)
    truth, sigma = lognormal_percentiles(gsd), math.log(gsd)
    rows, apart = [], []
    for n in counts:
        samples = [
            size_distribution(np.exp(rng.normal(0, sigma, n)), r=3) for _ in range(int(repeats))
        ]
        read = {
            name: np.array(
                [dataclasses.replace(one, convention=name).percentile(PERCENTS) for one in samples]
            )
            for name in _CONVENTIONS
        }
        for name, values in read.items():
            error = 100 * (values / truth - 1)
            rows += [
                {
                    "n": n,
                    "convention": name,
                    "percentile": f"D{p},3",
                    "bias / %": error[:, place].mean(),
                    "scatter / %": error[:, place].std(ddof=1),
                }
                for place, p in enumerate(PERCENTS)
            ]
        values = np.array(list(read.values()))
        most = 100 * ((values.max(axis=0) / values.min(axis=0)).mean(axis=0) - 1)
        apart.append({"n": n} | {f"D{p},3": m for p, m in zip(PERCENTS, most, strict=True)})
    return pd.DataFrame(rows), pd.DataFrame(apart)


def interval_coverage(
    counts: Sequence[int], gsd: float, repeats: int, rng: np.random.Generator
) -> pd.DataFrame:
    """Return in how many per cent of repeated samples a 95 % interval holds the truth.

    Parameters
    ----------
    counts, gsd, repeats, rng :
        As in `convention_errors`.

    Returns
    -------
    DataFrame
        One row a count and method of `SizeDistribution.interval`: ``n``, ``interval`` and the
        coverage of each percentile in per cent.

    Raises
    ------
    DataError
        If a setting is out of range.

    Examples
    --------
    >>> table = interval_coverage([30], 1.5, 2, np.random.default_rng(0))
    >>> table["interval"].tolist()
    ['bootstrap', 'parametric']
    """
    check_number("repeats", repeats, 1, 1e6)
    truth, sigma = lognormal_percentiles(gsd), math.log(gsd)
    rows = []
    for n in counts:
        for method in ("bootstrap", "parametric"):
            inside = np.zeros((int(repeats), len(PERCENTS)), bool)
            for k in range(int(repeats)):
                sample = size_distribution(np.exp(rng.normal(0, sigma, n)), r=3)
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")  # it says what this table shows
                    limits = sample.interval(PERCENTS, method=method, rng=rng, resamples=200)
                inside[k] = (limits[:, 0] <= truth) & (truth <= limits[:, 1])
            share = 100 * inside.mean(axis=0)
            rows.append(
                {"n": n, "interval": method}
                | {f"D{p},3": value for p, value in zip(PERCENTS, share, strict=True)}
            )
    return pd.DataFrame(rows)


def frame_bias(shares: Sequence[float], gsd: float, rng: np.random.Generator) -> pd.DataFrame:
    """Return how far D50,3 lies from the truth for three ways to treat particles that are cut.

    Discs of log-normal diameters at random places over a square frame.

    Parameters
    ----------
    shares : floats
        Number median of the diameters as a share of the frame, 0.001 to 0.5.
    gsd : float
        Geometric standard deviation of the diameters, 1.001 to 3.
    rng : numpy Generator

    Returns
    -------
    DataFrame
        One row a share: ``median size / frame``, ``discs whole`` (how many) and for each way the
        deviation in per cent.

    Raises
    ------
    DataError
        If a setting is out of range.

    References
    ----------
    Miles 1974, Lantuejoul 1980: the weight is the inverse of the chance to lie wholly inside.

    Examples
    --------
    >>> frame_bias([0.05], 1.2, np.random.default_rng(0)).columns.tolist()[2:]
    ['cut ones left out', 'cut ones counted as seen', 'Miles-Lantuejoul']
    """
    check_number("gsd", gsd, 1.001, 3)
    spread, rows = math.log(gsd), []
    for share in shares:
        check_number("share", share, 0.001, 0.5)
        x = share * _FRAME * np.exp(rng.normal(0, spread, _DISCS))
        true = share * _FRAME * math.exp(3 * spread**2)
        # centres over the frame and a margin as wide as the largest disc, so that none is favoured
        margin = x.max() / 2
        centre = rng.uniform(-margin, _FRAME + margin, (len(x), 2))
        low = np.round(centre - x[:, None] / 2).astype(int)
        high = np.round(centre + x[:, None] / 2).astype(int)
        seen = (high > 0).all(1) & (low < _FRAME).all(1)
        boxes = np.hstack([np.maximum(low, 0), np.minimum(high, _FRAME)])[seen]
        weights = edge_weights(boxes, (_FRAME, _FRAME))
        whole = weights > 0
        # the diameter of what is left of a cut disc, near enough by its box
        left = np.sqrt(np.prod(boxes[:, 2:] - boxes[:, :2], axis=1))
        ways = {
            "cut ones left out": size_distribution(x[seen][whole]),
            "cut ones counted as seen": size_distribution(np.where(whole, x[seen], left)),
            "Miles-Lantuejoul": size_distribution(x[seen][whole], weights=weights[whole]),
        }
        rows.append(
            {"median size / frame": share, "discs whole": int(whole.sum())}
            | {way: 100 * (one.percentile(50) / true - 1) for way, one in ways.items()}
        )
    return pd.DataFrame(rows)
