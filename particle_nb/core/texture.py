"""The residual surface as a map: how it is unrolled, autocorrelation, power, sections."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
from scipy import fft, ndimage

from particle_nb.core.errors import DataError
from particle_nb.core.levelling import Levelled, level
from particle_nb.core.surface import PointCloud
from particle_nb.core.texture_filter import (
    SIGMA_PER_CUTOFF,
    TextureMap,
    check_cutoff,
    gaussian_mean,
)


def texture_map(levelled: Levelled) -> TextureMap:
    """Return the residuals of a levelled cloud as a map, unrolled where the form is a sphere.

    Raises
    ------
    DataError
        If the points lie on no grid.
    """
    cloud, form = levelled.cloud, levelled.form
    pitch = cloud.pitch
    heights = cloud.grid(np.where(levelled.kept, levelled.residual, np.float32(np.nan)))
    if pitch is None:
        raise DataError("these points lie on no regular grid.")
    centre = form.parameters
    if form.name != "sphere" or form.radius < 4 * pitch:
        return TextureMap(heights, pitch, cloud.grid(levelled.area))
    radius = form.radius
    x0, y0 = float(cloud.xyz[:, 0].min()), float(cloud.xyz[:, 1].min())
    reach = float(np.hypot(cloud.xyz[:, 0] - centre["x"], cloud.xyz[:, 1] - centre["y"]).max())
    angle = math.asin(min(reach / radius, 1.0))
    half = math.ceil(2 * radius * math.sin(angle / 2) / pitch)
    v, u = np.mgrid[-half : half + 1, -half : half + 1].astype(np.float32) * np.float32(pitch)
    # Lambert: distance from the pole 2 R sin(t/2); in the image plane it is R sin t
    squared = np.minimum((u * u + v * v) / np.float32(4 * radius**2), 1)
    stretch = np.sqrt(1 - squared)
    cols = np.rint((centre["x"] - x0 + u * stretch) / pitch).astype(np.int32)
    rows = np.rint((centre["y"] - y0 + v * stretch) / pitch).astype(np.int32)
    inside = (squared <= 0.5) & (rows >= 0) & (cols >= 0)
    inside &= (rows < heights.shape[0]) & (cols < heights.shape[1])
    nearest = rows[inside], cols[inside]  # between samples the shortest waves would lose power
    unrolled, area = (np.full(u.shape, np.nan, np.float32) for _ in range(2))
    unrolled[inside] = heights[nearest]
    # a pixel at angle t from the pole fills 1 / cos t cells, whatever its own area is
    area[inside] = cloud.grid(levelled.area)[nearest] * (1 - 2 * squared[inside])
    return TextureMap(unrolled, pitch, area, "equal-area")


def residual_map(cloud: PointCloud, form: str, outliers: str = "spikes") -> TextureMap:
    """Return the heights of a cloud above its fitted form as a map.

    Raises
    ------
    CalibrationError
        If z has no scale.
    DataError
        If the form cannot be fitted or the points lie on no grid.

    Examples
    --------
    >>> y, x = np.mgrid[-60:61, -60:61].reshape(2, -1).astype(float)
    >>> dome = PointCloud(np.stack([x, y, np.sqrt(100.0**2 - x**2 - y**2)], axis=1))
    >>> residual_map(dome, "sphere").lateral
    'equal-area'
    """
    return texture_map(level(cloud, form, outliers))


@dataclass(frozen=True, eq=False)
class SpatialParameters:
    """How the heights of a texture hang together laterally.

    Parameters
    ----------
    Sal : float
        Autocorrelation length, nm: the shortest distance at which the autocorrelation falls to
        0.2, over all directions; NaN where it does not within the map.
    Str : float
        Texture aspect ratio, Sal over the longest such distance, 0 to 1; NaN if there is none.
    correlation_length : float
        Distance at which the mean over all directions falls to 1/e, nm.
    lags, autocorrelation : float (K,)
        Distance in nm and the autocorrelation averaged over directions.
    frequency, power : float (M,)
        Spatial frequency in 1/nm and areal power spectral density in nm**4, averaged over
        directions; integrated over the plane it gives the variance in nm**2.
    lateral : str
        What distances mean, as in `TextureMap`.
    """

    Sal: float
    Str: float
    correlation_length: float
    lags: np.ndarray
    autocorrelation: np.ndarray
    frequency: np.ndarray
    power: np.ndarray
    lateral: str
    info: dict[str, float] = field(default_factory=dict)


def spatial_parameters(texture: TextureMap, threshold: float = 0.2) -> SpatialParameters:
    """Return autocorrelation length, texture aspect ratio and power spectrum of a map.

    Parameters
    ----------
    texture : TextureMap
    threshold : float
        Level of the autocorrelation that ends Sal; ISO 25178-2 has 0.2 as default.

    Raises
    ------
    DataError
        If the map has too few pixels or no relief at all.

    Notes
    -----
    ISO 25178-2 (Sal, Str). Products are divided by the number of pixel pairs at each lag, so
    that the missing pixels around a particle bias nothing; lags with less than a quarter of all
    pairs are left out.

    Examples
    --------
    >>> rng = np.random.default_rng(1)
    >>> noise = gaussian_mean(rng.normal(size=(400, 400)), 5 / 2)
    >>> spatial = spatial_parameters(TextureMap(noise, 1.0))
    >>> bool(abs(spatial.Sal / (5 * np.log(5) ** 0.5) - 1) < 0.1)
    True
    """
    if not 0 < threshold < 1:
        raise DataError(f"the autocorrelation threshold lies between 0 and 1, not {threshold!r}.")
    heights = np.asarray(texture.heights, np.float64)
    valid = np.isfinite(heights)
    if np.count_nonzero(valid) < 100:
        raise DataError("fewer than 100 pixels of texture; no autocorrelation can be read off.")
    values = np.where(valid, heights - heights[valid].mean(), 0)
    variance = float((values**2).sum() / valid.sum())
    if not variance > 0:
        raise DataError("the texture is flat to the last digit; it has no autocorrelation.")
    h, w = heights.shape
    shape = [fft.next_fast_len(2 * n, real=True) for n in (h, w)]
    transform = fft.rfft2(values, shape)
    pairs = np.maximum(fft.irfft2(np.abs(fft.rfft2(valid.astype(float), shape)) ** 2, shape), 0)
    products = fft.irfft2(np.abs(transform) ** 2, shape)
    enough = pairs >= 0.25 * pairs[0, 0]
    correlation = np.where(enough, products / np.maximum(pairs, 1) / variance, np.nan)
    correlation = np.fft.fftshift(correlation)
    middle = np.array(correlation.shape) // 2
    angles = np.radians(np.arange(0, 180, 2.0))
    reach = np.arange(0, 0.5 * math.hypot(h, w), 0.25)
    rays = ndimage.map_coordinates(
        correlation,
        [
            middle[0] + np.sin(angles)[:, None] * reach,
            middle[1] + np.cos(angles)[:, None] * reach,
        ],
        order=1,
        cval=np.nan,
    )
    ends = np.array([_first_below(reach, ray, threshold) for ray in rays])
    reached = np.isfinite(ends).any()
    shortest = float(np.nanmin(ends)) if reached else math.nan
    longest = float(ends.max()) if np.isfinite(ends).all() else math.nan
    known = np.isfinite(rays).all(axis=0)
    mean = rays[:, known].mean(axis=0)
    pixel = texture.pixel_size
    # one-sided bins of |f|; the periodogram of the masked map, per unit of covered area
    f = np.hypot(fft.fftfreq(shape[0], pixel)[:, None], fft.rfftfreq(shape[1], pixel)[None])
    density = np.abs(transform) ** 2 * pixel**2 / valid.sum()
    bins = np.arange(0.5, min(h, w) // 2) / (min(h, w) * pixel)
    index = np.digitize(f.reshape(-1), bins)
    count = np.bincount(index, minlength=bins.size + 1)[1:-1]
    power = np.bincount(index, density.reshape(-1), bins.size + 1)[1:-1] / np.maximum(count, 1)
    return SpatialParameters(
        shortest * pixel,
        shortest / longest,
        _first_below(reach[known], mean, math.exp(-1)) * pixel,
        reach[known] * pixel,
        mean,
        (bins[:-1] + bins[1:]) / 2,
        power,
        texture.lateral,
        {"threshold": threshold, "Sq": math.sqrt(variance)},
    )


def _first_below(distance: np.ndarray, values: np.ndarray, level: float) -> float:
    """Return where values first fall to a level, linearly between samples; NaN if never."""
    below = np.flatnonzero(values <= level)
    if not below.size or below[0] == 0 or not np.isfinite(values[below[0] - 1]):
        return math.nan
    i = int(below[0])
    share = (values[i - 1] - level) / (values[i - 1] - values[i])
    return float(distance[i - 1] + share * (distance[i] - distance[i - 1]))


@dataclass(frozen=True, eq=False)
class Section:
    """A cut through a particle: heights, and what is left of them without the form.

    Parameters
    ----------
    position, height, residual : float (K,)
        Distance along the cut in the image plane, z, and residual along the form's normal; nm.
    Ra, Rq : float
        Arithmetical mean and root mean square deviation of the residual profile, nm.
    angle, offset : float
        Direction in degrees from x towards y, and distance of the cut from the middle in nm.
    """

    position: np.ndarray
    height: np.ndarray
    residual: np.ndarray
    Ra: float
    Rq: float
    angle: float
    offset: float
    info: dict[str, float | str | None] = field(default_factory=dict)


def section(
    cloud: PointCloud,
    form: str,
    angle: float = 0,
    offset: float = 0,
    l_filter: float | None = None,
) -> Section:
    """Cut a particle through its middle and return the profile with its Ra and Rq.

    Parameters
    ----------
    cloud : PointCloud
        On a grid, in nm.
    form : str
        Form that is fitted to the whole cloud and taken off the profile.
    angle, offset : float
        Direction in degrees from x towards y (down in the image); distance from the middle, nm.
    l_filter : float or None
        Cut-off of a Gaussian profile filter in nm that takes the waviness out (ISO 16610-21).

    Raises
    ------
    CalibrationError
        If z has no scale.
    DataError
        If the points lie on no grid or the cut misses the particle.

    Notes
    -----
    ISO 21920-2 (Ra, Rq of the profile; ISO 4287 before).

    Examples
    --------
    >>> y, x = np.mgrid[-60:61, -60:61].reshape(2, -1).astype(float)
    >>> dome = PointCloud(np.stack([x, y, np.sqrt(100.0**2 - x**2 - y**2)], axis=1))
    >>> bool(section(dome, "sphere", angle=30).Rq < 1e-3)
    True
    """
    if not (math.isfinite(float(angle)) and math.isfinite(float(offset))):
        raise DataError(f"angle and offset are finite numbers, not {angle!r} and {offset!r}.")
    levelled = level(cloud, form)
    pitch = cloud.pitch
    residuals = cloud.grid(np.where(levelled.kept, levelled.residual, np.float32(np.nan)))
    heights = cloud.grid()
    assert pitch is not None  # grid() has refused scattered points
    long = check_cutoff(l_filter, "l_filter", pitch)
    h, w = heights.shape
    dx, dy = math.cos(math.radians(angle)), math.sin(math.radians(angle))
    reach = np.arange(-0.5 * math.hypot(h, w), 0.5 * math.hypot(h, w) + 1)
    cols = (w - 1) / 2 + reach * dx - offset / pitch * dy
    rows = (h - 1) / 2 + reach * dy + offset / pitch * dx
    z = ndimage.map_coordinates(heights, [rows, cols], order=1, cval=np.nan)
    r = ndimage.map_coordinates(residuals, [rows, cols], order=1, cval=np.nan)
    known = np.isfinite(z) & np.isfinite(r)
    if np.count_nonzero(known) < 8:
        raise DataError("the cut meets fewer than eight points; choose a smaller offset.")
    profile = r[known].astype(np.float64)
    if long is not None:
        sigma = SIGMA_PER_CUTOFF * long / pitch
        profile -= gaussian_mean(np.where(known, r, np.nan)[None], sigma)[0][known]
    profile -= profile.mean()
    return Section(
        reach[known] * pitch,
        z[known].astype(np.float64),
        profile,
        float(np.abs(profile).mean()),
        float(np.sqrt((profile**2).mean())),
        float(angle),
        float(offset),
        {"form": levelled.form.name, "l_filter": long},
    )
