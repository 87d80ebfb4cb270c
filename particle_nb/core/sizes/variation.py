"""How a size distribution varies from image to image of one sample."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from particle_nb.core.agreement.correlation import confidence
from particle_nb.core.errors import DataError
from particle_nb.core.sizes.intervals import (
    FEW_IMAGES,
    mean_limits,
    what_it_holds,
    what_it_lacks,
)
from particle_nb.core.sizes.measured import size_distribution
from particle_nb.core.sizes.uncertainty import check_share

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
        the interval that knows the images (`SizeDistribution.interval`), NaN for fewer than five
        images.
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

    Particles of one image are alike more than particles of several, so the interval is that of
    `SizeDistribution.interval`, which counts images and not particles alone.

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
    rows = []
    for name, group in table.groupby("image", sort=False, observed=True):
        counted = group if weights is None else group[group["edge_weight"] > 0]
        if counted.empty:
            continue
        part = size_distribution(counted, size, r, weights, unit=whole.unit)
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
    low, high = np.full(len(points), np.nan), np.full(len(points), np.nan)
    if whole.image_count >= FEW_IMAGES:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of few particles: `interval` itself says so
            found = whole.interval(points.tolist(), level, rng=rng or np.random.default_rng(0))
        low, high = found.T
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


#: Ratios whose means `shape_means` gives, as far as the table has them.
SHAPES = (
    "aspect_ratio",
    "elongation",
    "circularity",
    "form_factor",
    "roundness",
    "convexity",
    "solidity",
)


def shape_means(
    table: pd.DataFrame,
    columns: Sequence[str] = SHAPES,
    *,
    weights: str | None = None,
    level: float = 0.95,
) -> pd.DataFrame:
    """Return the means of shape descriptors with their intervals, one row each.

    Where the table is of several images (column ``image``), the interval is over images, by
    Student's t, because particles of one image are relatives; else over particles.

    Parameters
    ----------
    table : DataFrame
        From `measure`.
    columns : sequence of str
        Numeric columns; of the default ones those that the table has.
    weights : None or "miles_lantuejoul"
        As in `size_distribution`.
    level : float

    Returns
    -------
    DataFrame
        Index descriptor; ``mean``, ``low``, ``high``, ``n`` (particles with a value), ``images``
        (0 where not named), ``holds`` and ``lacks``: what is in the interval and what is not.
        Limits are NaN for fewer than two particles.

    Raises
    ------
    DataError
        If a column is missing or no number, none is there, or an option is out of range.

    Examples
    --------
    >>> table = pd.DataFrame({"image": list("aabb"), "aspect_ratio": [0.6, 0.8, 0.7, 0.9]})
    >>> rows = shape_means(table)
    >>> round(float(rows.loc["aspect_ratio", "mean"]), 3), int(rows["images"].iloc[0])
    (0.75, 2)
    """
    if not isinstance(table, pd.DataFrame):
        raise DataError(f"shape_means takes a table of measure, not {type(table).__name__}.")
    check_share("level", level)
    if weights not in (None, "miles_lantuejoul"):
        raise DataError(f"weights is None or 'miles_lantuejoul', not {weights!r}.")
    if weights and "edge_weight" not in table:
        raise DataError("weights='miles_lantuejoul' needs the column 'edge_weight' of measure.")
    asked = [name for name in columns if columns is not SHAPES or name in table]
    missing = [name for name in asked if name not in table]
    if missing or not asked:
        raise DataError(
            f"the table has no shape {', '.join(missing) or 'descriptor'}; it has the columns "
            f"{', '.join(map(str, table.columns))}."
        )
    counted = np.ones(len(table)) if weights is None else table["edge_weight"].to_numpy(float)
    owner = pd.factorize(table["image"], use_na_sentinel=False)[0] if "image" in table else None
    rows = {}
    for name in asked:
        if not pd.api.types.is_numeric_dtype(table[name]):
            raise DataError(f"the column {name!r} holds no numbers and has no mean.")
        values = table[name].to_numpy(float)
        known = np.isfinite(values) & (counted > 0)
        images = None if owner is None else np.unique(owner[known], return_inverse=True)[1]
        count = 0 if images is None or not known.any() else int(images.max()) + 1
        mean = float(np.average(values[known], weights=counted[known])) if known.any() else math.nan
        low = high = math.nan
        if known.sum() > 1:
            low, high = mean_limits(values[known], counted[known], images, level)
        told = what_it_holds(count), what_it_lacks(count)
        rows[name] = (mean, low, high, int(known.sum()), count, *told)
    names = ["mean", "low", "high", "n", "images", "holds", "lacks"]
    return pd.DataFrame.from_dict(rows, orient="index", columns=names)
