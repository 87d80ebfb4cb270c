"""Uncertainty of size percentiles: counts, the bootstrap and its warning."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
from scipy import stats

from particle_nb.core.errors import DataError
from particle_nb.core.sizes.curves import read_off


def percentile_count(share: float, spread: float, r: int, relative: float, level: float) -> float:
    """Return how many equally weighted particles carry x_{p,r} to within ``+-relative``.

    The large-sample variance of a percentile of single particles, each counting with x^r, of a
    log-normal law.

    Parameters
    ----------
    share : float
        p as a share, inside 0..1.
    spread : float
        Standard deviation of ln x by number, ln GSD.
    r : int
        0 number, 3 volume.
    relative : float
        Half-width of the interval, relative to the percentile.
    level : float
        Its confidence, inside 0..1.

    Examples
    --------
    >>> [round(percentile_count(p, math.log(1.6), 3, 0.05, 0.95)) for p in (0.5, 0.9)]
    [4089, 38106]

    References
    ----------
    H. Masuda, K. Iinoya, 1971, doi:10.1252/jcej.4.60, treat the same question for means.
    """
    z = stats.norm.ppf(share)
    # the part of the squared weights x^2r that lies below the percentile
    below = stats.norm.cdf(z - r * spread)
    variance = math.exp((r * spread) ** 2) * (below * (1 - 2 * share) + share**2)
    scale = spread / stats.norm.pdf(z)
    wanted = math.log1p(relative) / stats.norm.ppf((1 + level) / 2)
    return variance * (scale / wanted) ** 2


#: Fewer particles than this beyond a percentile and a bootstrap interval is too narrow: with sizes
#: that count alike, and with ones that count by a power of themselves.
_TAIL = (8, 20)
#: A mean whose particles count like fewer equal ones than this has an interval that is too narrow.
FEWEST_CARRYING = 20


def check_share(name: str, value: Any) -> None:
    """Raise `DataError` unless a number lies between 0 and 1; `name` names it."""
    if not isinstance(value, (int, float, np.number)) or not 0 < value < 1:
        raise DataError(f"{name} lies between 0 and 1, both excluded, not at {value!r}.")


def checked_draws(rng: Any, resamples: Any) -> np.random.Generator:
    """Return a Generator (None is seed 0) after checking how often it is to draw.

    Raises
    ------
    DataError
        If `resamples` is no whole number from 100 to a million, or `rng` no Generator or seed.
    """
    if isinstance(resamples, bool) or not isinstance(resamples, (int, np.integer)):
        raise DataError(f"resamples is a whole number, not {resamples!r}.")
    if not 100 <= resamples <= 1_000_000:
        raise DataError(f"resamples lies between 100 and 1000000, not at {resamples}.")
    try:
        return np.random.default_rng(0 if rng is None else rng)
    except (TypeError, ValueError):
        raise DataError(f"rng is a Generator or a seed (0, 1, ...), not {rng!r}.") from None


def bootstrap(
    x: np.ndarray,
    amounts: np.ndarray,
    shares: np.ndarray,
    convention: str,
    draws: tuple[np.random.Generator, int],
) -> np.ndarray:
    """Draw particles with replacement; return the sizes at cumulative shares, float (draws, K).

    Parameters
    ----------
    x, amounts : float array (N,)
        Particles sorted by size, and what each carries.
    shares : float array (K,)
    convention : str
        As in `SizeDistribution`.
    draws : Generator and int
        What draws, and how often.

    Examples
    --------
    >>> ones = np.ones(9)
    >>> bootstrap(ones, ones, np.array([0.5]), "step", (np.random.default_rng(0), 3)).tolist()
    [[1.0], [1.0], [1.0]]
    """
    (rng, resamples), n = draws, len(x)
    found = np.empty((resamples, len(shares)))
    for k in range(resamples):
        drawn = np.bincount(rng.integers(n, size=n), minlength=n)
        keep = drawn > 0
        found[k] = read_off(x[keep], amounts[keep] * drawn[keep], shares, convention)
    return found


def warn_if_few(
    shares: np.ndarray, n: int, r: int, spread: float, needed: Callable[[float], int]
) -> None:
    """Warn, at the line that called the caller, where n particles leave too few beyond a share.

    Parameters
    ----------
    shares : float array (K,)
    n, r : int
        Number of particles, and what they are counted by.
    spread : float
        Standard deviation of the logarithm of their size.
    needed : callable
        Gives the number of particles that carries a percentile, in per cent.
    """
    for share in shares[(shares > 0) & (shares < 1)]:
        z = stats.norm.ppf(share) + r * spread
        beyond = n * min(stats.norm.cdf(z), stats.norm.sf(z))
        if beyond < _TAIL[r > 0]:
            warnings.warn(
                f"x_{100 * share:g},{r} from {n} particles: only about "
                f"{beyond:.1f} of them are expected beyond it, so the bootstrap interval is "
                f"too narrow. About {needed(100 * share):,} particles carry it to 5 %; measure "
                "more, or use method='parametric' if the sizes are log-normal.",
                stacklevel=3,
            )
