"""Confidence intervals of a size distribution that know which image each particle is from.

Particles of one image are relatives: they share a focus, a magnification and a place on the stub.
How much that matters is seen in how the images differ, and images are few, so that everything
here is about small numbers of them:

- Five images and more: every image multiplies the sizes by a factor of its own, log-normal from
  image to image, and what is left over has one distribution in all images. The two variances and
  the mean are drawn from their sampling law (chi-squared and normal, as for a one-way random
  model: S. Weerahandi, 1993, doi:10.1080/01621459.1993.10476355), the leftovers by a bootstrap,
  and the quantity is that of the population which each draw describes. A percentile that is
  weighted by volume depends on the variance between images as well as on the mean, and so the
  interval is not symmetric.
- Where the leftovers differ in shape from image to image (a test of homogeneity says so at 5 %),
  or there are two to four images: the jackknife over images on the logarithm, with Student's t
  and the degrees of freedom that unequal images leave (L. Kish, Survey Sampling, 1965).
- One image: a bootstrap over its particles. Image-to-image variation is then not in the interval.

Simulated coverage of 95 % intervals, 100 log-normal particles an image, GSD 1.25, images that
scatter by 0, 10 and 20 %: 90 to 97 % from five images on, for D50,0, D10,3, D50,3, D90,3, D[3,2],
D[4,3] and span (D50,3 alone: 93 to 97 %). A bootstrap over five images covers 80 %, one over the
particles 28 to 76 %.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import stats

from particle_nb.core.errors import DataError
from particle_nb.core.sizes.curves import moment_mean, read_off
from particle_nb.core.sizes.uncertainty import bootstrap

#: With fewer images their scatter has no distribution worth drawing from.
FEW_IMAGES = 5
#: More particles than this are drawn in groups of equal number and amount.
_SINGLE = 4096
_CLASSES = 2048  # by number and by amount: a group holds a two-thousandth of either at most
_CELLS = 1024  # of the logarithm of size, between the smallest and the largest
_ROWS = 500  # draws that are worked on at once
_MOST_GROUPS = 50  # a jackknife over more images leaves several out together
_HOMOGENEITY = 0.05


_FOUND = "missed and false particles, outlines"


class ConfidenceInterval(tuple[float, float]):
    """The limits (low, high) of an interval, and what is in it and what is not.

    Attributes
    ----------
    low, high : float
    level : float
        Confidence.
    method : str
        How it was found.
    images : int
        Number of images; 0 where it is not known which image a particle is from.
    shares : dict of str to float
        Which share of its variance each cause has, where more than sampling is in it.
    holds, lacks : str
        What is in the interval, and what is not.

    Examples
    --------
    >>> low, high = found = ConfidenceInterval((1.0, 2.0), 0.95, "particles", 1)
    >>> found.holds, "image-to-image" in found.lacks
    ('sampling of particles', True)
    """

    level: float
    method: str
    images: int
    shares: dict[str, float]

    def __new__(
        cls,
        limits: tuple[float, float],
        level: float,
        method: str,
        images: int,
        shares: dict[str, float] | None = None,
    ) -> ConfidenceInterval:
        self = super().__new__(cls, (float(limits[0]), float(limits[1])))
        self.level, self.method, self.images = level, method, images
        self.shares = dict(shares or {})
        return self

    def __getnewargs__(self) -> tuple[Any, ...]:
        return tuple(self), self.level, self.method, self.images, self.shares

    @property
    def low(self) -> float:
        """The lower limit."""
        return self[0]

    @property
    def high(self) -> float:
        """The upper limit."""
        return self[1]

    @property
    def holds(self) -> str:
        """What makes it as wide as it is."""
        held = what_it_holds(self.images)
        return f"{held}, {_FOUND}" if self.shares else held

    @property
    def lacks(self) -> str:
        """What would make it wider and is not known here."""
        lacking = what_it_lacks(self.images)
        return lacking.replace(f"{_FOUND}, ", "") if self.shares else lacking


def what_it_holds(images: int) -> str:
    """Say what is in an interval of particles from so many images; 0 is not known.

    Examples
    --------
    >>> what_it_holds(8)
    'sampling of particles, variation from image to image (8 images)'
    """
    if images < 2:
        return "sampling of particles"
    few = "" if images >= FEW_IMAGES else ", too few to know it well"
    return f"sampling of particles, variation from image to image ({images} images{few})"


def what_it_lacks(images: int) -> str:
    """Say what is not in an interval of particles from so many images; 0 is not known.

    Examples
    --------
    >>> what_it_lacks(8)
    'missed and false particles, outlines, scale, how the sample was taken'
    """
    always = f"{_FOUND}, scale, how the sample was taken"
    if images > 1:
        return always
    why = "one image" if images else "images not named"
    return f"image-to-image variation ({why}), {always}"


@dataclass(frozen=True)
class Quantity:
    """A length of a size distribution, as intervals need it: its logarithm, sample by sample.

    Parameters
    ----------
    kind : "percentile", "mean", "span" or "law"
        x_{p,r}; D[p, q]; (x_90 - x_10) / x_50; x_{p,r} of the fitted log-normal law.
    first, second : float
        The share p; p and q.
    r : int
    convention : str

    Examples
    --------
    >>> round(Quantity("mean", 1, 0).of(np.array([1.0, 3.0]), np.ones(2)), 6)  # ln 2
    0.693147
    """

    kind: str
    first: float = 0.0
    second: float = 0.0
    r: int = 0
    convention: str = "midpoint"

    @property
    def power(self) -> float:
        """The power of size by which a particle counts most."""
        return float(max(self.first, self.second) if self.kind == "mean" else self.r)

    @property
    def smooth(self) -> bool:
        """True where the quantity of a smooth population is what is asked for."""
        if self.kind == "mean":
            return max(abs(self.first), abs(self.second)) <= 6
        return self.kind == "span" or (self.kind == "percentile" and 0 < self.first < 1)

    def of(self, x: np.ndarray, weights: np.ndarray) -> float:
        """Return the quantity's logarithm of sizes (N,), increasing, with number weights."""
        if self.kind == "mean":
            return math.log(moment_mean(x, weights, self.first, self.second))
        if self.kind == "law":
            return float(self.drawn(np.log(x), weights[None])[0])
        amounts = weights * (x / x[-1]) ** self.r
        shares = np.array([self.first] if self.kind == "percentile" else [0.1, 0.5, 0.9])
        found = read_off(x, amounts, shares, self.convention)
        value = found[0] if self.kind == "percentile" else (found[2] - found[0]) / found[1]
        return math.log(value) if value > 0 else -math.inf

    def drawn(self, logs: np.ndarray, shares: np.ndarray) -> np.ndarray:
        """Return it of many samples at once, float (D,).

        Parameters
        ----------
        logs : float array (G,)
            Logarithms of size, increasing.
        shares : float array (D, G)
            What each sample holds there by number, in any unit.
        """
        if self.kind == "mean":
            p, q = self.first, self.second
            if p == q:
                tilted = shares * np.exp(p * (logs - logs[-1]))
                return (tilted @ logs) / tilted.sum(axis=1)
            sums = [np.log(shares @ np.exp(k * (logs - logs[-1]))) for k in (p, q)]
            return logs[-1] + (sums[0] - sums[1]) / (p - q)
        if self.kind == "law":
            total = shares.sum(axis=1)
            mean = shares @ logs / total
            variance = np.maximum(shares @ logs**2 / total - mean**2, 0)
            return mean + self.r * variance + stats.norm.ppf(self.first) * np.sqrt(variance)
        amounts = shares * np.exp(self.r * (logs - logs[-1]))
        reached = np.cumsum(amounts, axis=1)
        total = reached[:, -1:].copy()
        if self.convention == "midpoint":
            reached -= amounts / 2
        reached /= total
        if self.kind == "percentile":
            return _read(logs, reached, self.first, self.convention)
        low, middle, high = (_read(logs, reached, p, self.convention) for p in (0.1, 0.5, 0.9))
        with np.errstate(divide="ignore"):
            return np.log(np.exp(high - middle) - np.exp(low - middle))


def _read(logs: np.ndarray, reached: np.ndarray, share: float, convention: str) -> np.ndarray:
    """Return where rows of cumulative shares (D, G) pass a share."""
    rows = np.arange(len(reached))
    after = np.clip((reached < share - 1e-12).sum(axis=1), 1, len(logs) - 1)
    if convention == "step":
        return np.where(reached[:, 0] >= share - 1e-12, logs[0], logs[after])
    before, behind = reached[rows, after - 1], reached[rows, after]
    part = (share - before) / np.maximum(behind - before, 1e-300)
    return logs[after - 1] + (logs[after] - logs[after - 1]) * np.clip(part, 0, 1)


@dataclass(frozen=True, eq=False)
class Sample:
    """Particles that an interval is drawn from: sizes (N,) increasing, weights, images.

    Parameters
    ----------
    x, weights : float array (N,)
    images : int array (N,) or None
        Which image each is from, 0 to m - 1.
    """

    x: np.ndarray
    weights: np.ndarray
    images: np.ndarray | None

    @property
    def count(self) -> int:
        """Number of images; 0 where it is not known."""
        return 0 if self.images is None else int(self.images.max()) + 1


def limits(
    sample: Sample,
    quantities: Sequence[Quantity],
    level: float,
    draws: tuple[np.random.Generator, int],
) -> list[ConfidenceInterval]:
    """Return the confidence interval of each quantity, all from the same draws.

    Parameters
    ----------
    sample : Sample
    quantities : sequence of Quantity
        Percentiles are of one r and one convention.
    level : float
    draws : Generator and int
        What draws, and how often.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> image = np.arange(500) % 5
    >>> x = np.exp(0.1 * rng.standard_normal(5)[image] + 0.2 * rng.standard_normal(500))
    >>> order = np.argsort(x)
    >>> sample = Sample(x[order], np.ones(500), image[order])
    >>> (found,) = limits(sample, [Quantity("percentile", 0.5)], 0.95, (rng, 400))
    >>> found.low < 1 < found.high, found.method
    (True, 'images of one shape')
    """
    if sample.count < 2:
        ends = [np.quantile(one, _tails(level)) for one in _particles(sample, quantities, draws)]
        return [
            ConfidenceInterval(tuple(np.exp(end)), level, "particles", sample.count) for end in ends
        ]
    model = _scales(sample) if sample.count >= FEW_IMAGES else None
    smooth = [one for one in quantities if model is not None and one.smooth]
    found: dict[Quantity, ConfidenceInterval] = {}
    if model is not None and smooth:
        parts = [
            [one.drawn(logs, shares) + away * (one.kind != "span") for one in smooth]
            for logs, shares, away in model.populations(*draws)
        ]
        for one, drawn in zip(smooth, np.concatenate(parts, axis=1), strict=True):
            low, high = np.quantile(drawn, _tails(level))
            # the population's quantity is no weighted mean of the images', and rarely lies beyond
            value = one.of(sample.x, sample.weights)
            around = np.exp([min(low, value), max(high, value)])
            found[one] = ConfidenceInterval(
                tuple(around), level, "images of one shape", sample.count
            )
    return [found.get(one) or _left_out(sample, one, level) for one in quantities]


def _tails(level: float) -> np.ndarray:
    return np.array([(1 - level) / 2, (1 + level) / 2])


def _left_out(sample: Sample, quantity: Quantity, level: float) -> ConfidenceInterval:
    """The jackknife over images, on the logarithm."""
    value = quantity.of(sample.x, sample.weights)
    error, freedom = _jackknife(sample, quantity)
    away = float(stats.t.ppf((1 + level) / 2, freedom)) * error
    around = np.exp(np.clip([value - away, value + away], -700, 700))
    return ConfidenceInterval(tuple(around), level, "images left out in turn", sample.count)


def _particles(
    sample: Sample, quantities: Sequence[Quantity], draws: tuple[np.random.Generator, int]
) -> list[np.ndarray]:
    """Draw particles with replacement; return each quantity's logarithm, float (draws,)."""
    rng, count = draws
    x, weights = sample.x, sample.weights
    first = quantities[0]
    if first.kind == "percentile" and len(x) <= _SINGLE:
        amounts = weights * (x / x[-1]) ** first.r
        shares = np.array([one.first for one in quantities])
        return list(np.log(bootstrap(x, amounts, shares, first.convention, draws)).T)
    logs, heads, each = _grouped(x, weights, max(one.power for one in quantities))
    found = []
    for start in range(0, count, _ROWS):
        rows = min(_ROWS, count - start)
        drawn = rng.multinomial(len(x), heads / len(x), size=rows) * each
        found.append([one.drawn(logs, drawn) for one in quantities])
    return list(np.concatenate(found, axis=1))


def _grouped(
    x: np.ndarray, weights: np.ndarray, power: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Put neighbours in size together; return ln x, number and mean weight of every group.

    A group holds at most a two-thousandth of the particles and of the amount, so that what it
    holds varies with the number drawn from it and hardly with which of its particles they are.
    """
    starts = _group_starts(x, weights, power)
    heads = np.diff(np.r_[starts, len(x)])
    total = np.add.reduceat(weights, starts)
    logs = np.add.reduceat(weights * np.log(x), starts) / total
    return logs, heads, total / heads


def _group_starts(x: np.ndarray, weights: np.ndarray, power: float) -> np.ndarray:
    if len(x) <= 2 * _CLASSES:
        return np.arange(len(x))
    amounts = np.cumsum(weights * (x / x[-1]) ** power)
    place = np.arange(len(x)) * _CLASSES // len(x)
    place += (amounts / amounts[-1] * _CLASSES).astype(np.int64)
    return np.flatnonzero(np.r_[True, np.diff(place) > 0])


def _jackknife(sample: Sample, quantity: Quantity) -> tuple[float, float]:
    """Standard error of the quantity's logarithm over images, and its degrees of freedom."""
    x, weights, images = sample.x, sample.weights, sample.images
    assert images is not None
    amount = np.bincount(images, weights * (x / x[-1]) ** quantity.power)
    if sample.count > _MOST_GROUPS:
        place = np.random.default_rng(0).permutation(sample.count) % _MOST_GROUPS
        images, amount = place[images], np.bincount(place, amount)
    m = len(amount)
    if len(x) <= _SINGLE:
        rests = ((x[images != i], weights[images != i]) for i in range(m))
        found = np.array([quantity.of(*rest) for rest in rests])
    else:
        starts = _group_starts(x, weights, quantity.power)
        group = np.repeat(np.arange(len(starts)), np.diff(np.r_[starts, len(x)]))
        held = np.bincount(images * len(starts) + group, weights, m * len(starts))
        held = held.reshape(m, len(starts))
        total = held.sum(axis=0)
        logs = np.add.reduceat(weights * np.log(x), starts) / total
        found = quantity.drawn(logs, total - held)
    found = found[np.isfinite(found)]
    if len(found) < 2:
        return math.inf, 1.0
    error = math.sqrt((len(found) - 1) * float(np.var(found)))
    return error, max(float(amount.sum() ** 2 / (amount**2).sum()) - 1, 1.0)


@dataclass(frozen=True, eq=False)
class _Scales:
    """Images that multiply the sizes of one population by factors of their own.

    `leftover` is ln x without its image's mean, `within` its variance; `between` is the variance
    of the images' means, of which `noise` comes from the number of particles; `share` is the sum
    of squared shares of the images, and the mean of all is `mean`.
    """

    leftover: np.ndarray
    weights: np.ndarray
    between: float
    noise: float
    share: float
    mean: float

    def populations(
        self, rng: np.random.Generator, count: int
    ) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
        """Yield ln x (G,), number shares (D, G) and shifts (D,) of populations, `count` in all.

        A shift is what is added to ln x of one row.
        """
        freedom = 1 / self.share - 1
        total = self.between * freedom / rng.chisquare(freedom, count)
        shift = self.mean + np.sqrt(total * self.share) * rng.standard_normal(count)
        spread = np.maximum(total - self.noise, 0)
        most = float(np.quantile(spread, 0.99))
        spread = np.minimum(spread, most)
        room = 4 * math.sqrt(most)
        low, high = float(self.leftover.min()) - room, float(self.leftover.max()) + room
        grid = np.linspace(low, high, _CELLS)
        step = grid[1] - grid[0]
        cell = np.rint((self.leftover - low) / step).astype(np.int64)
        heads = np.bincount(cell, minlength=_CELLS)
        held = np.flatnonzero(heads)
        each = np.bincount(cell, self.weights, _CELLS)[held] / heads[held]
        waves = 2 * math.pi * np.fft.rfftfreq(_CELLS, step)
        for start in range(0, count, _ROWS):
            part = slice(start, min(start + _ROWS, count))
            shares = np.zeros((part.stop - start, _CELLS))
            drawn = rng.multinomial(len(self.leftover), heads[held] / heads.sum(), len(shares))
            shares[:, held] = drawn * each
            shares /= shares.sum(axis=1, keepdims=True)
            # the scatter of the mean is in the shift already
            away = shift[part] - shares @ grid
            blur = np.exp(-0.5 * spread[part, None] * waves**2)
            wide = np.fft.irfft(np.fft.rfft(shares, axis=1) * blur, _CELLS, axis=1)
            yield grid, np.maximum(wide, 0), away


def _scales(sample: Sample) -> _Scales | None:
    """Fit the model of one population; None where the images differ in more than a factor."""
    images, weights, logs = sample.images, sample.weights, np.log(sample.x)
    assert images is not None
    held = np.bincount(images, weights)
    part, size = held / held.sum(), held**2 / np.bincount(images, weights**2)
    means = np.bincount(images, weights * logs) / held
    leftover = logs - means[images]
    left = 1 - float((part / size).sum())
    raw = float((weights * leftover**2).sum() / weights.sum())
    share = float((part**2).sum())
    # one particle an image, or all of one size, or one image that holds nearly all
    if left < 1e-3 or raw < 1e-18 or share > 0.5 or not _homogeneous(leftover, images):
        return None
    within = raw / left
    leftover = leftover * math.sqrt(within / raw)
    mean = float((part * means).sum())
    between = float((part * (means - mean) ** 2).sum()) / (1 - share)
    noise = within * float((part * (1 - part) / size).sum()) / (1 - share)
    return _Scales(leftover, weights, between, noise, share, mean)


def _homogeneous(leftover: np.ndarray, images: np.ndarray) -> bool:
    """Whether leftovers have one distribution in all images: chi-squared over classes of them.

    It is told only where there are particles enough for three classes of five in each image.
    """
    count = int(images.max()) + 1
    classes = min(len(leftover) // count // 5, 10)
    if classes < 3:
        return True
    limits_ = np.quantile(leftover, np.arange(1, classes) / classes)
    place = np.searchsorted(limits_, leftover, side="right")
    seen = np.bincount(images * classes + place, minlength=count * classes)
    seen = seen.reshape(count, classes)
    expected = seen.sum(axis=1, keepdims=True) * seen.sum(axis=0) / seen.sum()
    known = expected > 0
    statistic = float((((seen - expected) ** 2)[known] / expected[known]).sum())
    return bool(stats.chi2.sf(statistic, (count - 1) * (classes - 1)) > _HOMOGENEITY)


def mean_limits(
    values: np.ndarray, weights: np.ndarray, images: np.ndarray | None, level: float
) -> ConfidenceInterval:
    """Return the interval of a weighted mean: over images where there are several, by Student's t.

    Parameters
    ----------
    values, weights : float array (N,)
    images : int array (N,) or None
        0 to m - 1.
    level : float

    Raises
    ------
    DataError
        If there are fewer than two values.

    Notes
    -----
    Ratio estimator with images as clusters: W. G. Cochran, Sampling Techniques, 3rd ed., 1977,
    section 11.8; degrees of freedom of unequal clusters after L. Kish.

    Examples
    --------
    >>> found = mean_limits(np.array([1.0, 2.0, 3.0]), np.ones(3), None, 0.95)
    >>> round(found.low, 3), round(found.high, 3)  # 2 +- t(2) / sqrt(3)
    (-0.484, 4.484)
    """
    if len(values) < 2:
        raise DataError(f"{len(values)} value gives no interval of a mean; it takes at least 2.")
    count = 0 if images is None else int(images.max()) + 1
    owner = np.arange(len(values)) if images is None or count < 2 else images
    mean = float(np.average(values, weights=weights))
    held = np.bincount(owner, weights)
    gaps = np.bincount(owner, weights * (values - mean))
    m = len(held)
    error = math.sqrt(m / (m - 1) * float((gaps**2).sum())) / float(held.sum())
    freedom = max(float(held.sum() ** 2 / (held**2).sum()) - 1, 1.0)
    away = float(stats.t.ppf((1 + level) / 2, freedom)) * error
    how = "particles, Student's t" if count < 2 else "images, Student's t"
    return ConfidenceInterval((mean - away, mean + away), level, how, count)
