"""How much of a form a cloud samples, how well the form describes it, and how far that fixes Sq."""

from __future__ import annotations

import math

import numpy as np
from scipy.spatial import ConvexHull, QhullError

from particle_nb.core.surface._kernels import _cell_sums
from particle_nb.core.surface.forms import EllipsoidForm
from particle_nb.core.surface.levelling import Levelled

_LAGS = 64  # cells a side over which the autocorrelation is looked at
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


def sq_correlated(
    heights: np.ndarray, weights: np.ndarray, rows: np.ndarray, cols: np.ndarray
) -> float:
    """Return the standard uncertainty of Sq of a finite area from how the heights are correlated.

    A surface whose heights are correlated over an area I = integral of the squared
    autocorrelation holds A / I independent pieces, and so Sq scatters by Sq sqrt(I / (2 A)). This
    is right where the cells of `sq_uncertainty` are no longer wider than the roughness is
    correlated; where it is short, the cells are better, and the larger of the two counts.

    Parameters
    ----------
    heights, weights, rows, cols : array (N,)
        As in `sq_uncertainty`; rows and cols in one unit.

    Returns
    -------
    float
        NaN where the heights are all alike or on a line.

    Notes
    -----
    Normal heights; M. S. Bartlett, 1946, doi:10.2307/2983611, for the variance of a variance of a
    correlated series. The autocorrelation is that of means over cells, at lags up to where it
    falls below a tenth: what is beyond is noise of one particle.

    Examples
    --------
    >>> from scipy import ndimage
    >>> rng = np.random.default_rng(0)
    >>> field = ndimage.gaussian_filter(rng.normal(size=(200, 200)), 8, mode="wrap")
    >>> y, x = np.mgrid[:200, :200].reshape(2, -1)
    >>> u = sq_correlated(field.ravel(), np.ones(x.size), y, x)
    >>> # correlation exp(-d^2 / (4 * 8^2)), so I = 2 pi 8^2
    >>> bool(abs(u / field.std() / np.sqrt(np.pi * 64 / 200**2) - 1) < 0.3)
    True
    """
    low_r, low_c = float(rows.min()), float(cols.min())
    span = max(float(rows.max()) - low_r, float(cols.max()) - low_c)
    if not span > 0:
        return math.nan
    side = int(np.clip(math.sqrt(heights.size / 4), 8, _LAGS))
    place = np.minimum(((rows - low_r) * (side / span)).astype(np.int64), side - 1) * side
    place += np.minimum(((cols - low_c) * (side / span)).astype(np.int64), side - 1)
    weights = np.asarray(weights, float)
    held = np.bincount(place, weights, side * side)
    area = float(held.sum())
    mean = float(weights @ heights) / area
    variance = float(weights @ (heights - mean) ** 2) / area
    if not variance > 0:
        return math.nan
    known = held > 0.05 * held.max()
    level = np.bincount(place, weights * (heights - mean), side * side)
    level = np.where(known, level / np.where(known, held, 1), 0).reshape(side, side)
    shape = (2 * side, 2 * side)
    waves = np.fft.rfft2(level, shape)
    pairs = np.fft.rfft2(known.reshape(side, side).astype(float), shape)
    products = np.fft.irfft2(np.abs(waves) ** 2, shape)
    count = np.round(np.fft.irfft2(np.abs(pairs) ** 2, shape))
    lag = np.minimum(np.arange(2 * side), 2 * side - np.arange(2 * side))
    far = np.hypot(lag[:, None], lag)
    usable = (count > 0.1 * count[0, 0]) & (far < side)
    alike = np.where(usable, products / np.maximum(count, 1), 0) / variance
    ring = np.rint(far).astype(np.int64)
    rings = np.bincount(ring[usable], alike[usable]) / np.maximum(np.bincount(ring[usable]), 1)
    fallen = np.flatnonzero(rings < 0.1 * rings[0])
    reach = int(fallen[0]) if fallen.size else side
    pieces = float((alike[usable & (ring < reach)] ** 2).sum()) / float(known.sum())
    return math.sqrt(variance * pieces / 2)


def uncertainty_of_sq(points: tuple[np.ndarray, ...], sq: float, loss: float) -> float:
    """Return the standard uncertainty of Sq from a finite area and from taking a form off, nm.

    A particle whose Sq came out low states a small scatter as well, and what the form took along
    is missing in all of them; so the scatter is that at the upper end (Sq is multiplied, not
    shifted) and what is missing is added to it, not squared. Sq +- twice this then holds the
    roughness of the process in 95 of 100.

    Parameters
    ----------
    points : tuple of 4 arrays (N,)
        Heights, weights, rows and columns as in `sq_uncertainty`.
    sq : float
        nm.
    loss : float
        Share of Sq that went with the form, from `taken_with_form`; NaN counts as none.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> y, x = np.mgrid[:100, :100].reshape(2, -1)
    >>> points = rng.normal(0, 5, x.size), np.ones(x.size), y, x
    >>> uncertainty_of_sq(points, 5.0, 0.1) - uncertainty_of_sq(points, 5.0, math.nan)
    0.5
    """
    scatter = max(sq_uncertainty(*points), sq_correlated(*points), key=_or_zero)
    if not (math.isfinite(scatter) and sq > 0):
        return scatter
    return scatter * (1 + 2 * scatter / sq) + _or_zero(loss) * sq


def _or_zero(value: float) -> float:
    return value if math.isfinite(value) else 0.0


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
    index = levelled.sample
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


def taken_with_form(levelled: Levelled, sq: float, error: float) -> float:
    """Return the share of Sq that the fit is expected to have taken along; NaN if unknown.

    A form can follow as many long waves as it has parameters besides the mean, and takes them. Of
    the fourteen that a surface of degree four can follow, the others are still there, and
    `form_error` is their root mean square: those taken along held as much each. A polynomial
    leaves none of its own; the waves up to two degrees above it then stand for them. (One of degree
    2 or 3 leaves more of a sphere's form than roughness there, and tells nothing.)

    Examples
    --------
    >>> from particle_nb.core.surface.levelling import level
    >>> from particle_nb.core.surface.cloud import PointCloud
    >>> y, x = np.mgrid[-60:61, -60:61].reshape(2, -1).astype(float)
    >>> dome = PointCloud(np.stack([x, y, np.sqrt(100.0**2 - x**2 - y**2)], axis=1))
    >>> round(taken_with_form(level(dome, "sphere"), sq=1.0, error=0.5), 2)
    0.03
    """
    form, extent = levelled.form, levelled.form.radius
    followed, degree = {"sphere": 3.0, "ellipsoid": 8.0}.get(form.name, math.nan), 4
    if form.name == "polynomial" and form.parameters["degree"] >= degree:
        own = int(form.parameters["degree"])
        followed, degree = own * (own + 3) / 2, own + 2
        error = form_error(levelled, degree)
        extent = levelled.cloud.extent / 2
    left = degree * (degree + 3) / 2 - followed
    # where there is next to no roughness, what is left of the form is not told from its long waves
    if not (sq > 0 and error > 1e-3 * extent):
        return math.nan
    return 1 - 1 / math.sqrt(1 + followed / left * (error / sq) ** 2)


def form_left(levelled: Levelled) -> float:
    """Return the share of Sq that a sphere leaves of an ellipsoid's form; 0 where none is seen.

    A sphere leaves of a mild ellipsoid what has two and four lobes around the pole: u^2 - v^2, u v
    and (u^2 + v^2)^2. Roughness fills these no more than the eight other long waves of a surface of
    degree four; where they hold more than four times as much each (F test at 5 %), they are form,
    and Sq is larger by that than it would be without.

    Examples
    --------
    >>> from particle_nb.core.surface import PointCloud
    >>> from particle_nb.core.surface.levelling import level
    >>> y, x = np.mgrid[-60:61, -60:61].reshape(2, -1).astype(float)
    >>> egg = PointCloud(np.stack([x, y, 80 * np.sqrt(1 - (x / 100) ** 2 - (y / 90) ** 2)], axis=1))
    >>> form_left(level(egg, "sphere")) > 0.5, form_left(level(egg, "ellipsoid"))
    (True, 0.0)
    """
    index = levelled.sample
    if levelled.form.name != "sphere" or len(index) < _FEWEST:
        return 0.0
    points = levelled.cloud.xyz[index].astype(np.float64)
    weight = np.asarray(levelled.area[index], np.float64)
    residual = levelled.residual[index].astype(np.float64)
    residual -= np.average(residual, weights=weight)
    u, v = ((points[:, :2] - points[:, :2].mean(axis=0)) / np.ptp(points[:, :2], axis=0).max()).T
    flat = u * u + v * v
    gone, form = [np.ones_like(u), u, v, flat], [u * u - v * v, u * v, flat * flat]
    others = [u**3, u * u * v, u * v * v, v**3, u**4 - v**4, u**3 * v, u * v**3, (u * v) ** 2]
    root = np.sqrt(weight)
    columns = np.linalg.qr(np.stack([*gone, *form, *others], axis=1) * root[:, None])[0]
    power = (columns.T @ (residual * root)) ** 2
    here, beside = float(power[4:7].sum()), float(power[7:].sum())
    whole = float(weight @ residual**2)
    extent = float(levelled.form.radius)
    # where there is next to no roughness the lobes are of pixels and of rounding
    if whole <= (1e-3 * extent) ** 2 * float(weight.sum()) or here / 3 <= 4 * beside / 8:
        return 0.0
    return 1 / math.sqrt(max(1 - here / whole, 1e-6)) - 1


def radius_spread(levelled: Levelled) -> float:
    """Return the relative standard deviation of an ellipsoid's radius; 0 for other forms.

    What the residuals leave open of the nine parameters, carried to the geometric mean of the
    semi-axes. Points are correlated: they count as many as the pieces over which the residuals
    are alike (`sq_correlated`).

    Examples
    --------
    >>> from particle_nb.core.surface import PointCloud
    >>> from particle_nb.core.surface.levelling import level
    >>> y, x = np.mgrid[-60:61, -60:61].reshape(2, -1).astype(float)
    >>> z = 80 * np.sqrt(1 - (x / 100) ** 2 - (y / 90) ** 2)
    >>> z += np.random.default_rng(0).normal(0, 0.5, z.size)
    >>> 0 < radius_spread(level(PointCloud(np.stack([x, y, z], axis=1)), "ellipsoid")) < 0.1
    True
    """
    form = levelled.form
    if not isinstance(form, EllipsoidForm):
        return 0.0
    index = levelled.sample[:: max(1, len(levelled.cloud.sample()) // 1500)]
    points = levelled.cloud.xyz[index].astype(np.float64)
    weight = np.asarray(levelled.area[index], np.float64)
    weight /= weight.sum()
    residual = levelled.residual[index].astype(np.float64)
    sq = float(
        np.sqrt(np.average((residual - np.average(residual, weights=weight)) ** 2, weights=weight))
    )
    alike = sq_correlated(residual, weight, points[:, 1], points[:, 0])
    if not (sq > 0 and math.isfinite(alike) and alike > 0):
        return 0.0
    pieces = min(sq**2 / (2 * alike**2), float(len(index)))
    rows, cols = np.tril_indices(3)
    # moves that are small against the particle, whatever its unit
    moves = np.r_[np.full(3, 1e-5 * form.radius), np.full(6, 1e-5 / form.radius)]
    slopes, gains = [], []
    for k, move in enumerate(moves):
        sides = []
        for sign in (1.0, -1.0):
            centre, lower = form.centre.copy(), form.lower.copy()
            if k < 3:
                centre[k] += sign * move
            else:
                lower[rows[k - 3], cols[k - 3]] += sign * move
            moved = EllipsoidForm(centre, lower)
            sides.append((moved.residual(*points.T)[0], math.log(moved.radius)))
        slopes.append((sides[0][0] - sides[1][0]) / 2)
        gains.append((sides[0][1] - sides[1][1]) / 2)
    system = np.stack(slopes, axis=1)
    matrix = system.T @ (system * weight[:, None])
    gain = np.array(gains)
    variance = float(gain @ np.linalg.pinv(matrix, rcond=1e-12) @ gain) * sq**2 / pieces
    return math.sqrt(max(variance, 0.0))


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
    points = levelled.cloud.xyz[levelled.sample].astype(np.float64)
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
