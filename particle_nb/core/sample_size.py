"""How many particles a percentile takes.

Of 1500 simulated samples of 38,090 particles each, log-normal with GSD 1.6, 95.9 % gave x_{90,3}
within 5 % of the truth, as `percentile_count` promises. Larger numbers in use answer other
questions:

- 66,000 particles come within 5 % in 99 of 100 samples, 149,000 within 2.5 % in 95.
- ISO 13322-1:2004 asks for 61,000 "for percentiles, e.g. D90" beside 6000 for the volume mean.
  The 6000 are Masuda and Iinoya's count for the mean volume to 5 % in 95 of 100 samples,
  (1.96/0.05)^2 9 s^2 (1 + 4.5 s^2) = 6092 with s = ln 1.6. The 61,000 are ten times as many (a
  tenth of the volume lies beyond D90): on the safe side, but not the percentile's own variance.

A percentile that is calculated from a fitted log-normal law (Hatch-Choate) needs fewer, 3400 for
that x_{90,3}, but only where the law holds far into the tail.
"""

from __future__ import annotations

import math

from scipy import stats


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
