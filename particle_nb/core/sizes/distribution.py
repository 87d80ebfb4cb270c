"""Size distributions of measured particles: Q_r, q_r, percentiles, moments and intervals."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from particle_nb.core.errors import DataError
from particle_nb.core.image import METRES
from particle_nb.core.masks import MaskSet
from particle_nb.core.sizes.curves import (
    CONVENTIONS,
    Density,
    log_classes,
    log_density,
    moment_mean,
    percent,
    positive,
    read_off,
    steps,
    unit_factor,
)
from particle_nb.core.sizes.finding import SegmentationErrors, checked_sets, widened
from particle_nb.core.sizes.intervals import (
    FEW_IMAGES,
    ConfidenceInterval,
    Quantity,
    Sample,
    limits,
    what_it_holds,
    what_it_lacks,
)
from particle_nb.core.sizes.laws import RRSB, LogNormal, fit_lognormal, fit_rrsb, lognormal_misfit
from particle_nb.core.sizes.uncertainty import (
    FEWEST_CARRYING,
    check_share,
    checked_draws,
    percentile_count,
    warn_if_few,
)


@dataclass(frozen=True, eq=False)
class SizeDistribution:
    """The sizes of n particles and how they are counted; made by `size_distribution`.

    Parameters
    ----------
    x : float array (N,)
        Sizes in `unit`, increasing.
    weights : float array (N,)
        Number weight of each particle: 1, or its edge weight.
    r : 0, 1, 2 or 3
        Type of quantity: number, length, area, volume. A particle counts with weight * x^r.
    unit : str
        "px", "nm", "um", ...
    size : str
        Which size it is, e.g. "x_A".
    convention : "midpoint", "step" or "linear"
        With c the cumulative share up to a particle and w its own share, Q passes through
        c - w/2 ("midpoint", the default), jumps to c ("step": the smallest size that reaches
        the share), or runs straight between the c ("linear").
    images : array (N,) or None
        Which image each particle is from (any labels); intervals need it. None is not known.
    rows : int array (N,) or None
        Which row of a table of `measure` each particle is.

    Raises
    ------
    DataError
        If sizes or weights are not positive finite numbers, or a choice is unknown.

    Examples
    --------
    >>> from particle_nb.core.sizes import size_distribution
    >>> q3 = size_distribution([1.0, 2.0, 3.0, 4.0], unit="um")
    >>> round(q3.percentile(50), 3), round(q3.mean(4, 3), 3)
    (3.604, 3.54)

    References
    ----------
    ISO 9276-1:1998 (Q_r, q_r), ISO 9276-2:2014 (moments).
    """

    x: np.ndarray
    weights: np.ndarray
    r: int = 3
    unit: str = "px"
    size: str = "x"
    convention: str = "midpoint"
    images: np.ndarray | None = None
    rows: np.ndarray | None = None

    def __post_init__(self) -> None:
        x, weights = positive(self.x, "sizes"), np.asarray(self.weights, float)
        if weights.shape != x.shape or not np.isfinite(weights).all() or (weights < 0).any():
            raise DataError("weights are one finite number >= 0 for every size.")
        keep = weights > 0
        if not keep.any():
            raise DataError(
                "no particle is left to count: every weight is 0 (all touch the rim of the frame)."
            )
        order = np.argsort(x[keep], kind="stable")
        images = _image_codes(self.images, len(x))
        if images is not None:
            # images of which no particle counts are none
            images = np.unique(images[keep], return_inverse=True)[1][order]
            images.flags.writeable = False
        object.__setattr__(self, "images", images)
        if self.rows is not None:
            rows = np.asarray(self.rows)
            if rows.shape != keep.shape or not np.issubdtype(rows.dtype, np.integer):
                raise DataError("rows are one whole number for every size.")
            object.__setattr__(self, "rows", rows[keep][order])
        x, weights = x[keep][order], weights[keep][order]
        if self.r not in (0, 1, 2, 3) or isinstance(self.r, bool):
            raise DataError(f"r is 0 (number), 1, 2 or 3 (volume), not {self.r!r}.")
        if self.unit != "px" and self.unit not in METRES:
            raise DataError(f"unit is px or one of {', '.join(METRES)}, not {self.unit!r}.")
        if self.convention not in CONVENTIONS:
            raise DataError(
                f"convention is one of {', '.join(CONVENTIONS)}, not {self.convention!r}."
            )
        for array in (x, weights):
            array.flags.writeable = False
        object.__setattr__(self, "x", x)
        object.__setattr__(self, "weights", weights)
        object.__setattr__(self, "r", int(self.r))

    @property
    def n(self) -> int:
        """Number of particles that count."""
        return len(self.x)

    @property
    def image_count(self) -> int:
        """Number of images that the particles are from; 0 where it is not known."""
        return 0 if self.images is None else int(self.images.max()) + 1

    @cached_property
    def amounts(self) -> np.ndarray:
        """Share of the quantity that each particle carries, float (N,), summing to 1."""
        amounts = self.weights * (self.x / self.x[-1]) ** self.r
        return amounts / amounts.sum()

    def counted_by(self, r: int) -> SizeDistribution:
        """Return the same particles weighted by another type of quantity.

        Examples
        --------
        >>> from particle_nb.core.sizes import size_distribution
        >>> size_distribution([1.0, 2.0, 9.0]).counted_by(0).percentile(50)
        2.0
        """
        return replace(self, r=r)

    def to(self, unit: str) -> SizeDistribution:
        """Return the distribution in another unit of length.

        Examples
        --------
        >>> from particle_nb.core.sizes import size_distribution
        >>> size_distribution([1.0, 2.0], unit="um").to("nm").x.tolist()
        [1000.0, 2000.0]
        """
        return replace(self, x=self.x * unit_factor(self.unit, unit), unit=unit)

    def percentile(self, p: float | Sequence[float] | np.ndarray) -> Any:
        """Return x_{p,r}, the size below which p per cent of the quantity lies.

        Parameters
        ----------
        p : float or sequence of float
            In per cent, 0 to 100. A number gives a float, a sequence of (K,) an array (K,).

        Examples
        --------
        >>> from particle_nb.core.sizes import size_distribution
        >>> size_distribution([1.0, 2.0, 3.0], r=0).percentile([0, 50, 100]).tolist()
        [1.0, 2.0, 3.0]
        """
        share = percent(p) / 100
        found = read_off(self.x, self.amounts, np.atleast_1d(share), self.convention)
        return found if share.ndim else float(found[0])

    def Q(self, x: float | Sequence[float] | np.ndarray) -> Any:
        """Return the cumulative share Q_r below x, 0 to 1: the inverse of `percentile`.

        A number gives a float, sizes in the distribution's unit an array of their shape.

        Examples
        --------
        >>> from particle_nb.core.sizes import size_distribution
        >>> size_distribution([1.0, 2.0, 3.0], r=0).Q(2.0)
        0.5
        """
        try:
            at = np.asarray(x, float)
        except (TypeError, ValueError):
            raise DataError(f"Q is asked at sizes, not at {x!r}.") from None
        sizes, c = steps(self.x, self.amounts, self.convention)
        if self.convention == "step":
            found = np.r_[0.0, c][np.searchsorted(sizes, at, side="right")]
        else:
            found = np.interp(at, sizes, c, left=0.0, right=1.0)
        return found if at.ndim else float(found)

    def q(
        self, bins: int | Sequence[float] | np.ndarray | None = None, per: str = "ln x"
    ) -> Density:
        """Return the density q_r over the logarithm of size, binned in equal classes of it.

        Parameters
        ----------
        bins : int, class limits, or None
            None takes 2 n^(1/3) classes (Rice), between 5 and 40.
        per : "ln x" or "log10 x"
            Which logarithm the density is per.

        Examples
        --------
        >>> from particle_nb.core.sizes import size_distribution
        >>> density = size_distribution([1.0, 2.0, 4.0], r=0).q(bins=2)
        >>> density.shares.round(3).tolist()
        [0.333, 0.667]
        """
        edges = log_classes(self.x, bins)
        shares, _ = np.histogram(self.x, bins=edges, weights=self.amounts)
        return log_density(edges, shares, self.r, self.unit, per)

    def mean(self, p: int, q: int) -> float:
        """Return the moment-ratio mean D[p, q] = (M_p / M_q)^(1 / (p - q)), M_k = sum w x^k.

        It does not depend on `r`; D[p, p] is its limit, the geometric mean weighted by x^p.

        Examples
        --------
        >>> from particle_nb.core.sizes import size_distribution
        >>> size_distribution([1.0, 3.0]).mean(1, 0)
        2.0

        References
        ----------
        ISO 9276-2:2014; ASTM E799.
        """
        return moment_mean(self.x, self.weights, p, q)

    @property
    def span(self) -> float:
        """Width (x_90 - x_10) / x_50 of the distribution as it is counted."""
        low, middle, high = self.percentile([10, 50, 90])
        return float((high - low) / middle)

    def counts_needed(self, p: float, relative: float = 0.05, level: float = 0.95) -> int:
        """Return how many particles carry x_{p,r} to within ``+-relative``.

        For a log-normal distribution as wide as this one; the large-sample variance of a
        percentile of single particles, each weighted by its x^r. At GSD 1.6, x_{90,3} takes
        38,000 for 5 % in 95 of 100 samples.

        Parameters
        ----------
        p : float
            In per cent, inside 0..100.
        relative : float
            Half-width of the interval, relative to the percentile.
        level : float
            Its confidence.

        Examples
        --------
        >>> from particle_nb.core.sizes import size_distribution
        >>> from scipy import stats
        >>> x = np.exp(np.log(1.6) * stats.norm.ppf((np.arange(999) + 0.5) / 999))
        >>> size_distribution(x).counts_needed(50) // 100
        40

        References
        ----------
        See `particle_nb.core.sizes.uncertainty` for the formula and for why others are larger.
        """
        share = percent(p) / 100
        check_share("level", level)
        check_share("relative", relative)
        if share.ndim:
            raise DataError(f"counts_needed takes one percentile at a time, not {p!r}.")
        if not 0 < share < 1:
            raise DataError(f"no count settles the percentile {p!r}; take one inside 0..100.")
        independent = percentile_count(
            float(share), self.lognormal().sigma, self.r, relative, level
        )
        # uneven weights make n particles count for fewer
        uneven = self.n * (self.weights**2).sum() / self.weights.sum() ** 2
        return max(1, math.ceil(independent * uneven))

    def interval(
        self,
        p: float | Sequence[float],
        level: float = 0.95,
        method: str = "bootstrap",
        rng: np.random.Generator | int | None = None,
        resamples: int = 1000,
        *,
        masks: MaskSet | Sequence[MaskSet] | None = None,
        errors: SegmentationErrors | None = None,
    ) -> Any:
        """Return the confidence interval of x_{p,r}.

        Where the particles are from several images, their differences are in it; where they are
        from one, or it is not known, it holds the sampling of particles alone and says so in
        `lacks`. See `particle_nb.core.sizes.intervals` for the methods and what they cover.

        Parameters
        ----------
        p : float or sequence of float
            In per cent. A number gives a `ConfidenceInterval` (low, high), which knows what it
            holds and what it lacks, a sequence an array (K, 2).
        level : float
            Confidence, inside 0..1.
        method : "bootstrap", "particles" or "parametric"
            "bootstrap" draws images and particles, "particles" particles alone, whatever image
            they are from. Both warn where too few lie beyond the percentile, for then they are too
            narrow. "parametric" takes the sizes for log-normal: right for few particles if the
            law holds, and centred on the fitted percentile; it warns where the sizes are not.
        rng : Generator, seed or None
            None is the fixed seed 0: the same data give the same interval.
        resamples : int
            Draws, at least 100.
        masks : MaskSet, sequence of MaskSet, or None
            The masks that were measured, one set an image in the order of the table's rows. Missed
            and false particles and where outlines lie are then in the interval, too, and `shares`
            says how much each cause makes of it; see `particle_nb.core.sizes.finding`.
        errors : SegmentationErrors or None
            How good such masks are; None is what the embedded segmenter reached on micrographs
            that it never saw.

        Warns
        -----
        UserWarning
            Where the count does not carry a bootstrap interval (how many there are, how many
            +-5 % would take), where two to four images are to tell how images vary, and where a
            log-normal law does not fit (Anderson-Darling test at 1 %).

        Examples
        --------
        >>> from particle_nb.core.sizes import size_distribution
        >>> x = np.exp(np.random.default_rng(1).normal(0, 0.2, 4000))
        >>> low, high = found = size_distribution(x, r=0).interval(50)
        >>> low < 1.0 < high, found.holds
        (True, 'sampling of particles')
        """
        share = percent(p) / 100
        if method not in ("bootstrap", "particles", "parametric"):
            raise DataError(f"method is 'bootstrap', 'particles' or 'parametric', not {method!r}.")
        rng = self._checked(level, rng, resamples)
        shares = np.atleast_1d(share)
        if method == "parametric":
            self._warn_if_no_law(shares)
        else:
            warn_if_few(shares, self.n, self.r, self.lognormal().sigma, self.counts_needed)
        if method != "particles":
            self._warn_if_few_images()
        found = self._percentile_limits(shares, level, method, (rng, resamples))
        if masks is not None:
            alone = self._percentile_limits(shares, level, "particles", (rng, resamples))
            read = (0.0, self.r, self.convention)
            asked = [Quantity("percentile", share, *read) for share in shares.tolist()]
            sets = checked_sets(masks, self.rows)
            assert self.rows is not None
            found = widened(
                self._sample(),
                self.rows,
                sets,
                list(zip(asked, found, alone, strict=True)),
                (rng, min(resamples, 400)),
                errors or SegmentationErrors.shipped(),
            )
        return np.array(found) if share.ndim else found[0]

    def mean_interval(
        self,
        p: int,
        q: int,
        level: float = 0.95,
        rng: np.random.Generator | int | None = None,
        resamples: int = 1000,
    ) -> ConfidenceInterval:
        """Return the confidence interval of D[p, q]; images count as in `interval`.

        Warns
        -----
        UserWarning
            Where a few large particles carry the mean, or two to four images are to tell how images
            vary.

        Examples
        --------
        >>> from particle_nb.core.sizes import size_distribution
        >>> q3 = size_distribution(np.exp(np.random.default_rng(2).normal(0, 0.2, 4000)))
        >>> low, high = q3.mean_interval(4, 3)
        >>> bool(low < np.exp(3.5 * 0.2**2) < high)
        True
        """
        rng = self._checked(level, rng, resamples)
        self.mean(p, q)  # names what is no power
        amounts = self.weights * (self.x / self.x[-1]) ** float(max(p, q))
        carried = float(amounts.sum() ** 2 / (amounts**2).sum())
        if carried < FEWEST_CARRYING:
            warnings.warn(
                f"D[{p},{q}] of {self.n} particles rests on the largest: they count like "
                f"{carried:.1f} equal ones, so that its interval is too narrow. Measure more.",
                stacklevel=2,
            )
        self._warn_if_few_images()
        quantity = Quantity("mean", float(p), float(q))
        return limits(self._sample(), [quantity], level, (rng, resamples))[0]

    def span_interval(
        self,
        level: float = 0.95,
        rng: np.random.Generator | int | None = None,
        resamples: int = 1000,
    ) -> ConfidenceInterval:
        """Return the confidence interval of the span; images count as in `interval`.

        Examples
        --------
        >>> from particle_nb.core.sizes import size_distribution
        >>> q0 = size_distribution(np.exp(np.random.default_rng(2).normal(0, 0.2, 4000)), r=0)
        >>> low, high = q0.span_interval()
        >>> bool(low < 2 * np.sinh(0.2 * 1.2816) < high)
        True
        """
        rng = self._checked(level, rng, resamples)
        ends = np.array([0.1, 0.9])
        warn_if_few(ends, self.n, self.r, self.lognormal().sigma, self.counts_needed)
        self._warn_if_few_images()
        quantity = Quantity("span", r=self.r, convention=self.convention)
        return limits(self._sample(), [quantity], level, (rng, resamples))[0]

    def summary(
        self, level: float = 0.95, rng: np.random.Generator | int | None = None
    ) -> pd.DataFrame:
        """Return percentiles, span and means with their intervals, one row each.

        Returns
        -------
        DataFrame
            Index ``D10 D50 D90 span D[3,2] D[4,3]``; ``value``, ``low``, ``high``, ``unit``,
            ``doubt`` (what was warned of, else empty), ``holds`` and ``lacks``: what is in the
            interval and what is not. Limits are NaN for fewer than three particles.

        Examples
        --------
        >>> from particle_nb.core.sizes import size_distribution
        >>> rows = size_distribution([1.0, 2.0, 3.0, 4.0], unit="um").summary()
        >>> rows.index.tolist(), bool(rows.loc["D50", "low"] < rows.loc["D50", "value"])
        (['D10', 'D50', 'D90', 'span', 'D[3,2]', 'D[4,3]'], True)
        """
        check_share("level", level)
        rng = checked_draws(rng, 1000)
        asked: dict[str, tuple[float, str, Any]] = {}
        for p in (10, 50, 90):
            value = self.percentile(p)
            asked[f"D{p}"] = (value, self.unit, lambda p=p: self.interval(p, level, rng=rng))
        asked["span"] = (self.span, "", lambda: self.span_interval(level, rng))
        for p, q in ((3, 2), (4, 3)):
            found = self.mean(p, q)
            asked[f"D[{p},{q}]"] = (
                found,
                self.unit,
                lambda p=p, q=q: self.mean_interval(p, q, level, rng),
            )
        rows = {}
        for name, (value, unit, find) in asked.items():
            low = high = math.nan
            doubt = "" if self.n >= 3 else f"{self.n} particles give no interval"
            if self.n >= 3:
                with warnings.catch_warnings(record=True) as said:
                    warnings.simplefilter("always")
                    low, high = find()
                doubt = " ".join(str(one.message) for one in said)
            told = what_it_holds(self.image_count), what_it_lacks(self.image_count)
            rows[name] = (value, low, high, unit, doubt, *told)
        columns = ["value", "low", "high", "unit", "doubt", "holds", "lacks"]
        return pd.DataFrame.from_dict(rows, orient="index", columns=columns)

    def _checked(self, level: float, rng: Any, resamples: int) -> np.random.Generator:
        check_share("level", level)
        rng = checked_draws(rng, resamples)
        if self.n < 3:
            raise DataError(f"{self.n} particles give no interval; it takes at least 3.")
        return rng

    def _sample(self) -> Sample:
        return Sample(self.x, self.weights, self.images)

    def _percentile_limits(
        self,
        shares: np.ndarray,
        level: float,
        method: str,
        draws: tuple[np.random.Generator, int],
    ) -> list[ConfidenceInterval]:
        sample, (rng, resamples) = self._sample(), draws
        if method == "particles":
            sample = replace(sample, images=None)
        if method != "parametric":
            read = (0.0, self.r, self.convention)
            wanted = [Quantity("percentile", share, *read) for share in shares.tolist()]
            return limits(sample, wanted, level, draws)
        if self.image_count > 1:
            wanted = [Quantity("law", share, 0.0, self.r) for share in shares.tolist()]
            return limits(sample, wanted, level, draws)
        drawn = self.lognormal().draw_percentiles(shares, rng, resamples)
        ends = np.quantile(drawn, [(1 - level) / 2, (1 + level) / 2], axis=0).T
        return [
            ConfidenceInterval(tuple(end), level, "log-normal law", self.image_count)
            for end in ends
        ]

    def _warn_if_few_images(self) -> None:
        if 2 <= self.image_count < FEW_IMAGES:
            warnings.warn(
                f"the particles are from {self.image_count} images, too few to know how much "
                "images vary: the interval is wide, and covers less than it says where they vary "
                f"much. Take {FEW_IMAGES} images or more.",
                stacklevel=3,
            )

    def _warn_if_no_law(self, shares: np.ndarray) -> None:
        misfit, chance = lognormal_misfit(self.x, self.weights, self.images)
        if chance >= 0.01:
            return
        names = ", ".join(f"x_{100 * share:g},{self.r}" for share in shares)
        told = "less than 1e-6" if chance < 1e-6 else f"{chance:.2g}"
        warnings.warn(
            f"the sizes are not log-normal (Anderson-Darling A2 = {misfit:.3g}, chance {told}), "
            f"so that the parametric interval of {names} need not hold the truth, however many "
            "particles there are; use method='bootstrap'.",
            stacklevel=3,
        )

    def lognormal(self) -> LogNormal:
        """Fit a log-normal distribution to the number-weighted sizes (maximum likelihood)."""
        return fit_lognormal(self.x, self.weights, self.r, self.unit)

    def rrsb(self, smallest: float | None = None) -> RRSB:
        """Fit an RRSB (Rosin-Rammler) distribution of Q_r to the particles by likelihood.

        Parameters
        ----------
        smallest : float or None
            Size from which on particles were seen; None is the smallest one measured.
        """
        return fit_rrsb(self.x, self.weights, self.r, self.unit, smallest)

    def __repr__(self) -> str:
        low, middle, high = self.percentile([10, 50, 90])
        return (
            f"<SizeDistribution Q_{self.r} of {self.size}, {self.n} particles, "
            f"x_10 {low:.4g}, x_50 {middle:.4g}, x_90 {high:.4g} {self.unit}>"
        )


def _image_codes(images: Any, count: int) -> np.ndarray | None:
    """Return labels of images as whole numbers from 0; a missing label is an image too."""
    if images is None:
        return None
    codes = pd.factorize(np.asarray(images), use_na_sentinel=False)[0]
    if codes.shape != (count,):
        raise DataError(f"images are one label for every size, not {len(codes)} for {count}.")
    return codes
