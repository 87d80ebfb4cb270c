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
from particle_nb.core.sizes.curves import (
    CONVENTIONS,
    Density,
    log_classes,
    log_density,
    moment_mean,
    percent,
    positive,
    read_off,
    size_column,
    steps,
    unit_factor,
)
from particle_nb.core.sizes.laws import RRSB, LogNormal, fit_lognormal, fit_rrsb
from particle_nb.core.sizes.uncertainty import (
    bootstrap,
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

    Raises
    ------
    DataError
        If sizes or weights are not positive finite numbers, or a choice is unknown.

    Examples
    --------
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

    def __post_init__(self) -> None:
        x, weights = positive(self.x, "sizes"), np.asarray(self.weights, float)
        if weights.shape != x.shape or not np.isfinite(weights).all() or (weights < 0).any():
            raise DataError("weights are one finite number >= 0 for every size.")
        keep = weights > 0
        if not keep.any():
            raise DataError(
                "no particle is left to count: every weight is 0 (all touch the rim of the frame)."
            )
        x, weights = x[keep], weights[keep]
        order = np.argsort(x, kind="stable")
        x, weights = x[order], weights[order]
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

    @cached_property
    def amounts(self) -> np.ndarray:
        """Share of the quantity that each particle carries, float (N,), summing to 1."""
        amounts = self.weights * (self.x / self.x[-1]) ** self.r
        return amounts / amounts.sum()

    def counted_by(self, r: int) -> SizeDistribution:
        """Return the same particles weighted by another type of quantity.

        Examples
        --------
        >>> size_distribution([1.0, 2.0, 9.0]).counted_by(0).percentile(50)
        2.0
        """
        return replace(self, r=r)

    def to(self, unit: str) -> SizeDistribution:
        """Return the distribution in another unit of length.

        Examples
        --------
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
    ) -> Any:
        """Return the confidence interval of x_{p,r}.

        Parameters
        ----------
        p : float or sequence of float
            In per cent. A number gives (low, high), a sequence an array (K, 2).
        level : float
            Confidence, inside 0..1.
        method : "bootstrap" or "parametric"
            "bootstrap" draws particles with replacement; it warns where too few lie beyond the
            percentile, for then it is too narrow. "parametric" takes the sizes for log-normal
            and draws the two parameters from their sampling distribution: right for few
            particles if the law holds, and centred on the fitted percentile.
        rng : Generator, seed or None
            None is the fixed seed 0: the same data give the same interval.
        resamples : int
            Draws, at least 100. The bootstrap takes time in proportion to n * resamples.

        Warns
        -----
        UserWarning
            Where the count does not carry a bootstrap interval: how many there are, how many
            ±5 % would take.

        Examples
        --------
        >>> x = np.exp(np.random.default_rng(1).normal(0, 0.2, 4000))
        >>> low, high = size_distribution(x, r=0).interval(50)
        >>> low < 1.0 < high
        True
        """
        share = percent(p) / 100
        check_share("level", level)
        if method not in ("bootstrap", "parametric"):
            raise DataError(f"method is 'bootstrap' or 'parametric', not {method!r}.")
        rng = checked_draws(rng, resamples)
        shares = np.atleast_1d(share)
        if self.n < 3:
            raise DataError(f"{self.n} particles give no interval; it takes at least 3.")
        if method == "parametric":
            draws = self.lognormal().draw_percentiles(shares, rng, resamples)
        else:
            warn_if_few(shares, self.n, self.r, self.lognormal().sigma, self.counts_needed)
            repeats = (rng, resamples)
            draws = bootstrap(self.x, self.amounts, shares, self.convention, repeats)
        tail = (1 - level) / 2
        found = np.quantile(draws, [tail, 1 - tail], axis=0).T
        return found if share.ndim else (float(found[0, 0]), float(found[0, 1]))

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


def size_distribution(
    table: pd.DataFrame | Sequence[float] | np.ndarray,
    size: str = "x_A",
    r: int = 3,
    weights: str | Sequence[float] | np.ndarray | None = None,
    *,
    unit: str | None = None,
) -> SizeDistribution:
    """Make a size distribution from a table of `measure` or from bare sizes.

    Parameters
    ----------
    table : DataFrame, or sequence of float
        Sizes of single particles.
    size : str
        ``"x_A"`` finds ``x_A_um``, ``x_A_nm`` or ``x_A_px`` by itself.
    r : 0, 1, 2 or 3
        Weighted by number (0) to volume (3).
    weights : None, "miles_lantuejoul", or sequence of float
        "miles_lantuejoul" takes the table's ``edge_weight``: particles at the rim drop out and
        large ones count more, which makes up for it. A sequence gives number weights, one each,
        such as the counts of classes.
    unit : str or None
        Unit of bare sizes (default "px"); with a table, the unit to convert to.

    Raises
    ------
    DataError
        If the size is missing, in mixed units, NaN or not positive, or nothing is left.

    Warns
    -----
    UserWarning
        Where particles cut by the rim of the frame are counted at the size that is left of them.

    Examples
    --------
    >>> table = pd.DataFrame({"x_A_um": [1.0, 2.0, 4.0]})
    >>> size_distribution(table, size="x_A", r=0)
    <SizeDistribution Q_0 of x_A, 3 particles, x_10 1, x_50 2, x_90 4 um>
    """
    if not isinstance(size, str):
        raise DataError(f"size is the name of a column such as 'x_A', not {size!r}.")
    if not isinstance(table, pd.DataFrame):
        if isinstance(weights, str):
            raise DataError(f"weights={weights!r} needs a table of measure, not bare sizes.")
        x = positive(table, "sizes")
        counted = np.ones(len(x)) if weights is None else weights
        return SizeDistribution(x, np.asarray(counted, float), r, unit or "px", size)
    if table.empty:
        raise DataError("the table has no rows: no particle was measured or kept.")
    column, found_unit = size_column(table, size)
    x = positive(table[column].to_numpy(), f"sizes in column {column!r}")
    if isinstance(weights, str):
        if weights != "miles_lantuejoul":
            raise DataError(f"weights is None, 'miles_lantuejoul' or numbers, not {weights!r}.")
        if "edge_weight" not in table:
            raise DataError("weights='miles_lantuejoul' needs the column 'edge_weight' of measure.")
        counted = table["edge_weight"].to_numpy(float)
    elif weights is not None:
        counted = np.asarray(weights, float)
    else:
        counted = np.ones(len(x))
        touching = int(table["touches_edge"].sum()) if "touches_edge" in table else 0
        if touching:
            warnings.warn(
                f"{touching} of {len(x)} particles are cut by the rim of the frame and counted at "
                "the size that is left of them; use weights='miles_lantuejoul', which drops them "
                "and corrects for it.",
                stacklevel=2,
            )
    name = column[: -len(found_unit) - 1]
    made = SizeDistribution(x, counted, r, found_unit, name)
    return made if unit is None else made.to(unit)
