"""How much of a form a cloud samples, how well the form describes it, and how far that fixes Sq."""

from __future__ import annotations

import math

import numpy as np
from scipy.spatial import ConvexHull, QhullError

from particle_nb.core.surface._kernels import _cell_sums
from particle_nb.core.surface.levelling import Levelled

_FEWEST = 60  # points below which a surface of degree four means nothing


def sq_uncertainty(
    heights: np.ndarray, weights: np.ndarray, rows: np.ndarray, cols: np.ndarray
) -> float:
    """Return the standard uncertainty of Sq that comes from sampling a finite area, nm.

    The particle is cut into sixteen cells, and what the mean squares of the cells scatter is
    what another side of the same particle would scatter. Cells must be wider than the roughness
    is correlated. Errors of the heights themselves, of the scale or of a depth model are not in it.

    Parameters
    ----------
    heights : float array (N,)
        Residuals in nm, not yet centred.
    weights : float array (N,)
        Area that each stands for.
    rows, cols : array (N,)
        Where they are, in any unit.

    Returns
    -------
    float
        NaN where fewer than four cells hold points, or the heights are all alike.

    Notes
    -----
    Between-cluster variance of a weighted mean: W. G. Cochran, Sampling Techniques, 3rd ed.,
    1977, chapter 11, carried over to the root.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> y, x = np.mgrid[:100, :100].reshape(2, -1)
    >>> u = sq_uncertainty(rng.normal(0, 5, x.size), np.ones(x.size), y, x)
    >>> bool(abs(u - 5 / np.sqrt(2 * x.size)) < 0.02)  # of independent normal heights
    True
    """
    total, first, second = _cell_sums(heights, weights, rows, cols)
    held = total > 0
    count, area = int(held.sum()), float(total.sum())
    if count < 4:
        return math.nan
    mean = float(first.sum()) / area
    squares = second - 2 * mean * first + mean * mean * total
    variance = float(squares.sum()) / area
    if not variance > 0:
        return math.nan
    gap = (squares - variance * total)[held]
    spread = count / (count - 1) * float((gap**2).sum()) / area**2
    return math.sqrt(spread) / (2 * math.sqrt(variance))


def _sample(levelled: Levelled) -> np.ndarray:
    index = levelled.cloud.sample()
    return index[levelled.kept[index]]


def form_error(levelled: Levelled, degree: int = 4) -> float:
    """Return the root mean square of the residuals' fit by a surface of a degree, nm.

    Examples
    --------
    >>> from particle_nb.core.surface.levelling import level
    >>> from particle_nb.core.surface.cloud import PointCloud
    >>> y, x = np.mgrid[-60:61, -60:61].reshape(2, -1).astype(float)
    >>> egg = PointCloud(np.stack([x, y, 0.5 * np.sqrt(100.0**2 - x**2 - y**2)], axis=1))
    >>> form_error(level(egg, "sphere")) > 100 * form_error(level(egg, "ellipsoid"))
    True
    """
    index = _sample(levelled)
    points = levelled.cloud.xyz[index].astype(np.float64)
    residual, weight = levelled.residual[index].astype(np.float64), levelled.area[index]
    if len(index) < _FEWEST:
        return math.nan
    u, v = ((points[:, :2] - points[:, :2].mean(axis=0)) / np.ptp(points[:, :2], axis=0).max()).T
    across, along = (np.vander(w, degree + 1, increasing=True).T for w in (u, v))
    powers = [(i, k - i) for k in range(degree + 1) for i in range(k + 1)]
    system = np.stack([across[i] * along[j] for i, j in powers], axis=1)
    weighted = system * weight[:, None]
    residual -= np.average(residual, weights=weight)
    found = np.linalg.lstsq(weighted.T @ system, weighted.T @ residual, rcond=None)[0]
    return float(np.sqrt(np.average((system @ found) ** 2, weights=weight)))


def cap_angle(levelled: Levelled) -> float:
    """Return how far from the form's pole the points reach, degrees; NaN for a polynomial.

    Examples
    --------
    >>> from particle_nb.core.surface.levelling import level
    >>> from particle_nb.core.surface.cloud import PointCloud
    >>> y, x = np.mgrid[-50:51, -50:51].reshape(2, -1).astype(float)
    >>> dome = PointCloud(np.stack([x, y, np.sqrt(100.0**2 - x**2 - y**2)], axis=1))
    >>> 44 < cap_angle(level(dome, "sphere")) < 46
    True
    """
    centre = levelled.form.parameters
    if "z" not in centre:
        return math.nan
    points = levelled.cloud.xyz[_sample(levelled)].astype(np.float64)
    aside = np.hypot(points[:, 0] - centre["x"], points[:, 1] - centre["y"])
    angle = np.arctan2(aside, np.abs(points[:, 2] - centre["z"]))
    return math.degrees(float(np.percentile(angle, 99.9)))


def sampled_area(levelled: Levelled) -> float:
    """Return the area of the form under the points, nm**2; NaN where points lie on one line.

    Examples
    --------
    >>> from particle_nb.core.surface.levelling import level
    >>> from particle_nb.core.surface.cloud import PointCloud
    >>> y, x = np.mgrid[:50, :40].reshape(2, -1) * 3.0
    >>> round(sampled_area(level(PointCloud(np.stack([x, y, 0 * x], 1)), "polynomial-1")))
    18000
    """
    cloud = levelled.cloud
    pixels = float(levelled.area.sum(dtype=np.float64))
    if cloud.pitch is not None:
        return pixels * cloud.pitch**2
    try:
        hull = ConvexHull(cloud.xyz[cloud.sample(), :2].astype(np.float64))
    except QhullError:
        return math.nan
    return pixels / len(cloud) * float(hull.volume)
