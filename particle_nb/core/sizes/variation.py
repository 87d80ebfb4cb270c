"""How a size distribution varies from image to image of one sample."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from particle_nb.core.agreement.correlation import confidence
from particle_nb.core.errors import DataError
from particle_nb.core.sizes.distribution import size_distribution

#: A modified z-score beyond this marks an outlier (Iglewicz and Hoaglin 1993).
OUTLIER_SCORE = 3.5


@dataclass(frozen=True, eq=False)
class ImageVariation:
    """Percentiles of all images pooled, and of each image; made by `image_variation`.

    Parameters
    ----------
    size, unit : str
        E.g. ``"x_A"`` in ``"um"``.
    r : int
        Weighting: 0 number, 3 volume.
    pooled : DataFrame
        Index ``D10 D50 D90`` (or the percentiles asked for); ``value``, and ``low`` ``high`` of
        the interval by a bootstrap over images, NaN for fewer than five images.
    images : DataFrame
        One row per image, the most unusual first: ``image``, ``n``, the percentiles in the unit
        (``D50_um``), ``deviation_percent`` of its median from the pooled one, ``score`` (modified
        z of ln D50) and ``outlier``.
    between_percent : float
        Relative standard deviation of the images' medians, from that of their logarithms.
    level : float
    """

    size: str
    unit: str
    r: int
    pooled: pd.DataFrame
    images: pd.DataFrame
    between_percent: float
    level: float

    @property
    def outliers(self) -> list[str]:
        """Names of the images marked as outliers."""
        return self.images.loc[self.images["outlier"], "image"].tolist()

    def __repr__(self) -> str:
        values = ", ".join(f"{name} {row.value:.4g}" for name, row in self.pooled.iterrows())
        return (
            f"<ImageVariation of {self.size}, Q_{self.r}, {len(self.images)} images: {values} "
            f"{self.unit}, between images {self.between_percent:.2g} %, "
            f"{len(self.outliers)} outliers>"
        )


def image_variation(
    table: pd.DataFrame,
    size: str = "x_A",
    r: int = 3,
    *,
    percentiles: Sequence[float] = (10, 50, 90),
    weights: str | None = None,
    level: float = 0.95,
    rng: np.random.Generator | None = None,
) -> ImageVariation:
    """Pool the particles of several images and say how the images differ.

    Particles of one image are alike more than particles of several, so the interval resamples
    whole images (300 times), not particles.

    Parameters
    ----------
    table : DataFrame
        From `measure` or a batch, with a column ``image``.
    size, r, weights :
        As in `size_distribution`.
    percentiles : floats
        Above 0 and below 100; the one nearest to 50 judges the outliers.
    level : float
        Coverage of the interval.
    rng : numpy Generator or None
        None takes seed 0, so that a report repeats.

    Raises
    ------
    DataError
        If there is no column ``image``, no particle, or an option is out of range.

    References
    ----------
    Score: Iglewicz and Hoaglin 1993, 0.6745 (v - median) / MAD.

    Examples
    --------
    >>> table = pd.DataFrame({"image": list("aabbcc"), "x_A_um": [1, 2, 1, 2.1, 5, 6.0]})
    >>> result = image_variation(table, r=0)
    >>> result.outliers, result.images["image"].tolist()[0]
    (['c'], 'c')
    """
    if not isinstance(table, pd.DataFrame) or "image" not in table:
        raise DataError(
            "image_variation needs a table with a column 'image': measure(masks, scale, "
            "image='name'), stacked with pandas.concat, or the particles of a batch."
        )
    confidence(level)
    points = np.array(percentiles, float)
    if points.ndim != 1 or not points.size or not ((points > 0) & (points < 100)).all():
        raise DataError(f"percentiles lie above 0 and below 100, not {percentiles!r}.")
    whole = size_distribution(table, size, r, weights)
    names = [f"D{point:g}" for point in points]
    columns = [f"{name}_{whole.unit}" for name in names]
    rows, parts = [], []
    for name, group in table.groupby("image", sort=False, observed=True):
        counted = group if weights is None else group[group["edge_weight"] > 0]
        if counted.empty:
            continue
        part = size_distribution(counted, size, r, weights, unit=whole.unit)
        parts.append((part.x, part.weights))
        rows.append([str(name), len(counted), *part.percentile(points)])
    images = pd.DataFrame(rows, columns=["image", "n", *columns])
    values = np.asarray(whole.percentile(points), float)
    middle = int(np.argmin(np.abs(points - 50)))
    logs = np.log(images[columns[middle]].to_numpy(float))
    images["deviation_percent"] = 100 * (np.exp(logs) / values[middle] - 1)
    images["score"] = _scores(logs)
    images["outlier"] = images["score"].abs() > OUTLIER_SCORE
    order = np.argsort(-np.nan_to_num(images["score"].abs().to_numpy()), kind="stable")
    spread = float(logs.std(ddof=1)) if len(logs) > 1 else math.nan
    low, high = _interval(parts, points, r, level, rng or np.random.default_rng(0))
    return ImageVariation(
        size=whole.size,
        unit=whole.unit,
        r=r,
        pooled=pd.DataFrame({"value": values, "low": low, "high": high}, index=names),
        images=images.iloc[order].reset_index(drop=True),
        # of a log-normal scatter, which equals its sd of logarithms where that is small
        between_percent=100 * math.sqrt(math.expm1(spread**2)),
        level=float(level),
    )


def _scores(values: np.ndarray) -> np.ndarray:
    """Modified z-scores; NaN for fewer than three values, which cannot tell an outlier."""
    if len(values) < 3:
        return np.full(len(values), np.nan)
    away = values - np.median(values)
    scale = np.median(np.abs(away)) / 0.6745
    if scale == 0:
        # more than half of the images agree exactly; the authors' fallback
        scale = 1.253314 * np.abs(away).mean()
    return away / scale if scale > 0 else np.zeros(len(values))


def _interval(
    parts: list[tuple[np.ndarray, np.ndarray]],
    points: np.ndarray,
    r: int,
    level: float,
    rng: np.random.Generator,
) -> tuple[np.ndarray, np.ndarray]:
    """Percentile bootstrap over whole images."""
    if len(parts) < 5:
        return np.full(len(points), np.nan), np.full(len(points), np.nan)
    x = np.concatenate([sizes for sizes, _ in parts])
    weights = np.concatenate([weight for _, weight in parts])
    owner = np.repeat(np.arange(len(parts)), [len(sizes) for sizes, _ in parts])
    order = np.argsort(x, kind="stable")
    x, owner = x[order], owner[order]
    amounts = weights[order] * (x / x[-1]) ** r
    found = np.empty((300, len(points)))
    for row in found:
        times = np.bincount(rng.integers(0, len(parts), len(parts)), minlength=len(parts))
        drawn = amounts * times[owner]
        kept = drawn > 0
        reached = np.cumsum(drawn[kept])
        # the midpoint convention of `SizeDistribution`, on sizes that are sorted already
        row[:] = np.interp(points / 100, (reached - drawn[kept] / 2) / reached[-1], x[kept])
    low, high = np.quantile(found, [(1 - level) / 2, (1 + level) / 2], axis=0)
    return low, high
