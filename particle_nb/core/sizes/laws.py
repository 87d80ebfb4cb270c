"""Two-parameter size distributions fitted to particles: `LogNormal` and `RRSB`."""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import optimize, special, stats

from particle_nb.core.errors import DataError

Interval = tuple[float, float]

_LEVEL = 0.95


@dataclass(frozen=True)
class LogNormal:
    """A log-normal size distribution.

    Parameters
    ----------
    x50 : float
        Median of Q_r in `unit`.
    gsd : float
        Geometric standard deviation, at least 1; the same for every r.
    x50_interval, gsd_interval : (low, high)
        95 % confidence.
    r, unit : as in `SizeDistribution`
    n : float
        Particles that the fit rests on, uneven weights counted as fewer.

    Examples
    --------
    >>> fit = fit_lognormal(np.array([0.5, 1.0, 2.0]), np.ones(3), 0, "um")
    >>> round(fit.x50, 3), round(fit.counted_by(3).x50 / fit.x50, 3)
    (1.0, 2.614)

    References
    ----------
    ISO 9276-5:2005; T. Hatch, S. P. Choate, 1929, doi:10.1016/S0016-0032(29)91451-4 (x50_r).
    """

    x50: float
    gsd: float
    x50_interval: Interval
    gsd_interval: Interval
    r: int
    unit: str
    n: float

    @property
    def sigma(self) -> float:
        """Standard deviation of ln x."""
        return math.log(self.gsd)

    def Q(self, x: Any) -> Any:
        """Return the cumulative share Q_r below x, 0 to 1."""
        at = np.log(np.asarray(x, float) / self.x50)
        found = stats.norm.cdf(at / self.sigma) if self.sigma else (at >= 0).astype(float)
        return found if np.ndim(x) else float(found)

    def percentile(self, p: Any) -> Any:
        """Return x_{p,r}; p in per cent."""
        found = self.x50 * np.exp(self.sigma * stats.norm.ppf(np.asarray(p, float) / 100))
        return found if np.ndim(p) else float(found)

    def counted_by(self, r: int) -> LogNormal:
        """Return the same particles under another r: x50_r = x50_s exp((r - s) ln^2 gsd)."""
        mean = math.log(self.x50) - self.r * self.sigma**2
        return _lognormal(mean, self.sigma, self.n, r, self.unit)

    def draw_percentiles(
        self, shares: np.ndarray, rng: np.random.Generator, draws: int
    ) -> np.ndarray:
        """Return percentiles of r under parameters drawn from their sampling law, (draws, K).

        The generalised confidence interval of a function of a log-normal's two parameters
        (K. Krishnamoorthy, T. Mathew, 2003, doi:10.1016/S0378-3758(02)00153-2).
        """
        mean = math.log(self.x50) - self.r * self.sigma**2
        degrees = max(self.n - 1, 1e-9)
        spread = self.sigma * np.sqrt(self.n / rng.chisquare(degrees, draws))
        centre = mean + spread / math.sqrt(self.n) * rng.standard_normal(draws)
        logs = centre + self.r * spread**2
        return np.exp(logs[:, None] + spread[:, None] * stats.norm.ppf(shares))


def _lognormal(mean: float, sigma: float, n: float, r: int, unit: str) -> LogNormal:
    """Make a `LogNormal` from mean and standard deviation of ln x by number."""
    z = float(stats.norm.ppf((1 + _LEVEL) / 2))
    # variance of mean + r sigma^2, both estimated, for large n
    error = z * sigma * math.sqrt((1 + 2 * (r * sigma) ** 2) / n)
    middle = mean + r * sigma**2
    gsd_interval = (math.exp(sigma), math.exp(sigma))
    if n > 1:
        tail = (1 - _LEVEL) / 2
        low, high = (sigma * math.sqrt(n / stats.chi2.ppf(q, n - 1)) for q in (1 - tail, tail))
        gsd_interval = (math.exp(low), math.exp(min(high, 700.0)))
    x50_interval = (math.exp(middle - error), math.exp(middle + error))
    return LogNormal(math.exp(middle), math.exp(sigma), x50_interval, gsd_interval, r, unit, n)


def fit_lognormal(x: np.ndarray, weights: np.ndarray, r: int, unit: str) -> LogNormal:
    """Fit a log-normal to particles x (N,) with number weights (N,) by maximum likelihood.

    The number distribution is fitted; Q_r follows from it.
    """
    logs = np.log(x)
    share = weights / weights.sum()
    mean = float((share * logs).sum())
    sigma = math.sqrt(float((share * (logs - mean) ** 2).sum()))
    return _lognormal(mean, sigma, float(1 / (share**2).sum()), r, unit)


def lognormal_misfit(
    x: np.ndarray, weights: np.ndarray, images: np.ndarray | None = None
) -> tuple[float, float]:
    """Return how far sizes are from a log-normal law, and the chance of that under one.

    The Anderson-Darling statistic A2 of ln x with mean and standard deviation estimated, which
    looks at the tails as percentiles by volume do. Of several images it is taken of ln x without
    the mean of its own image: factors from image to image are no departure from the law.

    Parameters
    ----------
    x, weights : float array (N,)
        Sizes, increasing, and number weights.
    images : int array (N,) or None

    Returns
    -------
    statistic, chance : float
        Corrected for the count (uneven weights count as fewer); the chance is 1 below 8 particles,
        which tell nothing, and where all are of one size.

    References
    ----------
    R. B. D'Agostino, M. A. Stephens, Goodness-of-Fit Techniques, 1986, table 4.9.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> lognormal_misfit(np.sort(np.exp(rng.normal(size=500))), np.ones(500))[1] > 0.05
    True
    >>> lognormal_misfit(np.sort(rng.uniform(1, 2, 500)), np.ones(500))[1] < 0.01
    True
    """
    logs = np.log(x)
    if images is not None and images.max() > 0:
        means = np.bincount(images, weights * logs) / np.bincount(images, weights)
        own = np.bincount(images)[images]
        # an image's own mean takes a part of the spread along
        logs = (logs - means[images]) * np.sqrt(own / np.maximum(own - 1, 1))
        logs, weights = logs[own > 1], weights[own > 1]
        order = np.argsort(logs, kind="stable")
        logs, weights = logs[order], weights[order]
    count = float(weights.sum() ** 2 / (weights**2).sum()) if len(logs) else 0.0
    if count < 8:
        return 0.0, 1.0
    share = weights / weights.sum()
    mean = float(share @ logs)
    variance = float(share @ (logs - mean) ** 2) * count / (count - 1)
    if not variance > 1e-18:
        return 0.0, 1.0
    z = (logs - mean) / math.sqrt(variance)
    below, above = stats.norm.logcdf(z), stats.norm.logsf(z)
    c = np.cumsum(share)
    # n times the integral of (F_n - u)^2 / (u (1 - u)), closed between the steps of F_n
    first, last = c[:-1] ** 2, (1 - c[:-1]) ** 2
    steps = first * np.diff(below) - last * np.diff(above)
    square = count * (float(steps.sum()) - below[-1] - above[0] - 1)
    square *= 1 + 0.75 / count + 2.25 / count**2
    return square, _anderson_chance(square)


def _anderson_chance(a: float) -> float:
    """Chance of A2 under a normal law with both parameters estimated."""
    if a >= 13:
        return 0.0
    if a >= 0.6:
        return math.exp(1.2937 - 5.709 * a + 0.0186 * a * a)
    if a >= 0.34:
        return math.exp(0.9177 - 4.279 * a - 1.38 * a * a)
    if a >= 0.2:
        return 1 - math.exp(-8.318 + 42.796 * a - 59.938 * a * a)
    return 1 - math.exp(-13.436 + 101.14 * a - 223.73 * a * a)


@dataclass(frozen=True)
class RRSB:
    """An RRSB (Rosin-Rammler-Sperling-Bennett) distribution of Q_r: R = exp(-(x/x')^n).

    Parameters
    ----------
    x_prime : float
        Size at Q_r = 63.2 %, in `unit`.
    n : float
        Slope on the RRSB grid; the larger, the narrower.
    x_prime_interval, n_interval : (low, high)
        95 % confidence from the curvature of the likelihood (sandwich form).
    r, unit : as in `SizeDistribution`
    smallest : float
        Size from which on particles were seen.
    distance : float
        Greatest difference between the fitted and the measured Q_r from `smallest` on, 0 to 1:
        far above what the count explains, the law does not describe these particles.
    identified : bool
        False where the particles do not fix the law: x' lies beyond the largest, or a law without
        an upper end has a likelihood within the 95 % region. The interval of x' is open then.

    References
    ----------
    DIN 66145:1976.
    """

    x_prime: float
    n: float
    x_prime_interval: Interval
    n_interval: Interval
    r: int
    unit: str
    smallest: float
    distance: float
    identified: bool = True

    def Q(self, x: Any) -> Any:
        """Return the cumulative share Q_r below x, 0 to 1."""
        found = -np.expm1(-((np.asarray(x, float) / self.x_prime) ** self.n))
        return found if np.ndim(x) else float(found)

    def percentile(self, p: Any) -> Any:
        """Return x_{p,r}; p in per cent."""
        found = self.x_prime * (-np.log1p(-np.asarray(p, float) / 100)) ** (1 / self.n)
        return found if np.ndim(p) else float(found)


_NODES, _NODE_WEIGHTS = np.polynomial.legendre.leggauss(160)


def _log_upper_gamma(s: float, z: float) -> float:
    """Return ln of the upper incomplete gamma function, also for s <= 0; z > 0."""
    low, high = math.log(z), math.log(z + 60.0)
    at = low + (high - low) * (_NODES + 1) / 2  # over ln t, where the integrand is smooth
    logs = s * at - np.exp(at) + np.log(_NODE_WEIGHTS * (high - low) / 2)
    return float(special.logsumexp(logs))


def fit_rrsb(
    x: np.ndarray, weights: np.ndarray, r: int, unit: str, smallest: float | None = None
) -> RRSB:
    """Fit RRSB parameters of Q_r to single particles x (N,) with number weights (N,).

    If Q_r follows the Weibull density f(x), particles counted one by one follow f(x) / x^r. That
    has no finite integral for n <= r, so the likelihood is of the particles from a smallest
    visible size on, and its norm is the incomplete gamma function Gamma(1 - r/n, .). Fitting a
    Weibull law to sizes weighted by volume instead is biased and gives no interval.

    Parameters
    ----------
    smallest : float or None
        Particles below it are left out; None is the smallest size there is.

    Raises
    ------
    DataError
        If fewer than 5 particles are left or their sizes hardly differ.

    Warns
    -----
    UserWarning
        Where the particles do not identify the law (`RRSB.identified`).

    Examples
    --------
    >>> x = 10 * np.random.default_rng(0).weibull(4.0, 2000)
    >>> fit = fit_rrsb(np.sort(x), np.ones(2000), 0, "um")
    >>> fit.n_interval[0] < 4.0 < fit.n_interval[1]
    True
    """
    if smallest is not None:
        if not isinstance(smallest, (int, float, np.number)) or not 0 < smallest < math.inf:
            raise DataError(f"smallest is a positive size, not {smallest!r}.")
        weights, x = weights[x >= smallest], x[x >= smallest]
    if len(x) < 5 or x.max() / x.min() < 1.001:
        raise DataError(
            f"{len(x)} particles {'of one size ' if len(x) else ''}carry no RRSB fit; it takes at "
            "least 5 of different sizes."
        )
    scale = float(np.exp(np.average(np.log(x), weights=weights * x**r / (x**r).max())))
    logs, share = np.log(x / scale), weights / weights.sum()
    cut = (float(smallest) if smallest is not None else float(x.min())) / scale

    def log_density(theta: np.ndarray) -> np.ndarray:
        n, centre = math.exp(theta[0]), theta[1]
        powers = n * (logs - centre)
        norm = -r * centre + _log_upper_gamma(1 - r / n, (cut / math.exp(centre)) ** n)
        return theta[0] - logs - r * logs + powers - np.exp(powers) - norm

    def cost(theta: np.ndarray) -> float:
        if not (-4 < theta[0] < 6 and abs(theta[1]) < 12):
            return 1e9
        with np.errstate(over="ignore"):
            value = -float((share * log_density(theta)).sum())
        return value if math.isfinite(value) else 1e9

    start = _start(logs, share * np.exp(r * (logs - logs.max())))
    best = optimize.minimize(
        cost, start, method="Nelder-Mead", options={"xatol": 1e-7, "fatol": 1e-11, "maxiter": 2000}
    ).x
    errors = _errors(log_density, best, share)
    z = float(stats.norm.ppf((1 + _LEVEL) / 2))
    n, x_prime = math.exp(best[0]), scale * math.exp(best[1])
    high = x_prime * math.exp(min(z * errors[1], 700.0))
    far = math.log(10 * float(x.max()) / scale)
    # a law without an upper end to speak of: sizes then fall like a power, whatever x' is
    open_end = optimize.minimize_scalar(
        lambda slope: cost(np.array([slope, far])),
        bounds=(max(best[0] - 3, -3.9), best[0] + 1),
        method="bounded",
    )
    gain = 2 / float((share**2).sum()) * (float(open_end.fun) - cost(best))
    identified = bool(x_prime <= x.max() and gain > stats.chi2.ppf(_LEVEL, 1))
    if not identified:
        high = math.inf
        warnings.warn(
            f"the RRSB law is not identified by these {len(x)} particles: x' = {x_prime:.4g} "
            f"{unit} (largest particle {x.max():.4g}), and a law without an upper end fits nearly "
            f"as well (log-likelihood {max(gain, 0) / 2:.1f} lower). Neither x' nor n can be "
            "quoted; measure more and larger particles, or count them down to smaller sizes.",
            stacklevel=3,
        )
    amounts = weights * x**r
    c = (np.cumsum(amounts) - amounts / 2) / amounts.sum()
    # 1 - R(x) / R(smallest): Q_r among the particles that could be seen
    seen = -np.expm1((cut * scale / x_prime) ** n - (x / x_prime) ** n)
    return RRSB(
        x_prime,
        n,
        (x_prime * math.exp(-z * errors[1]), high),
        (n * math.exp(-z * errors[0]), n * math.exp(z * errors[0])),
        r,
        unit,
        cut * scale,
        float(np.abs(seen - c).max()),
        identified,
    )


def _start(logs: np.ndarray, amounts: np.ndarray) -> np.ndarray:
    """Return (ln n, ln x') of the straight line on the RRSB grid."""
    c = (np.cumsum(amounts) - amounts / 2) / amounts.sum()
    inner = (c > 0.02) & (c < 0.98)
    if inner.sum() < 2 or np.ptp(logs[inner]) == 0:
        return np.array([0.7, 0.0])
    slope, offset = np.polyfit(logs[inner], np.log(-np.log1p(-c[inner])), 1)
    slope = float(np.clip(slope, 0.3, 50))
    return np.array([math.log(slope), float(np.clip(-offset / slope, -5, 5))])


def _errors(log_density: Any, theta: np.ndarray, share: np.ndarray) -> np.ndarray:
    """Return the standard errors of both parameters: curvature and spread of the scores."""
    step = 1e-4
    moves = step * np.eye(2)
    scores = np.stack(
        [(log_density(theta + m) - log_density(theta - m)) / (2 * step) for m in moves]
    )

    def gradient(at: np.ndarray) -> np.ndarray:
        return np.array(
            [float((share * (log_density(at + m) - log_density(at - m))).sum()) for m in moves]
        ) / (2 * step)

    curvature = np.stack([(gradient(theta + m) - gradient(theta - m)) / (2 * step) for m in moves])
    spread = (scores * share**2) @ scores.T
    bread = np.linalg.pinv(curvature)
    return np.sqrt(np.maximum(np.diag(bread @ spread @ bread.T), 0))
