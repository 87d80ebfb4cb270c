"""The residual surface as a map: how it is unrolled, autocorrelation, power, sections."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace

import numpy as np
from scipy import fft, ndimage

from particle_nb.core.errors import DataError
from particle_nb.core.surface.cloud import PointCloud
from particle_nb.core.surface.levelling import Levelled, level

#: Standard deviation of the ISO Gaussian per cut-off wavelength: sqrt(ln 2 / 2) / pi.
SIGMA_PER_CUTOFF = math.sqrt(math.log(2) / 2) / math.pi


@dataclass(frozen=True, eq=False)
class TextureMap:
    """Heights above the form on a square grid.

    Parameters
    ----------
    heights : float32 (h, w)
        Residuals in nm; NaN outside the particle and at spikes.
    pixel_size : float
        Pitch of the grid in nm.
    area : float32 (h, w) or None
        Surface that a pixel stands for, in pixels; None where all stand for as much.
    lateral : str
        ``"equal-area"``: distances are on the sphere, unrolled about its pole by J. H. Lambert's
        projection (areas exact, lengths within 10 % up to 52 degrees from the pole);
        ``"projected"``: distances are in the image plane.
    s_filter, l_filter : float or None
        Cut-offs applied, nm.
    """

    heights: np.ndarray
    pixel_size: float
    area: np.ndarray | None = None
    lateral: str = "projected"
    s_filter: float | None = None
    l_filter: float | None = None

    def filtered(self, s_filter: float | None = None, l_filter: float | None = None) -> TextureMap:
        """Return the map after an areal Gaussian S-filter and L-filter.

        Parameters
        ----------
        s_filter : float or None
            Wavelengths below this (nm) are taken out, half of the amplitude at the cut-off.
        l_filter : float or None
            Wavelengths above this (nm) are taken out: the waviness.

        Raises
        ------
        DataError
            If a cut-off is not positive, below two pixels, or if the two cross.

        Notes
        -----
        ISO 16610-61 (areal Gaussian), with weights normalised over the pixels that exist, so
        that no height is made up beyond the rim.

        Examples
        --------
        >>> wave = np.sin(2 * np.pi * np.arange(200) / 20)[None] * np.ones((200, 1))
        >>> half = TextureMap(wave, 1.0).filtered(s_filter=20).heights
        >>> round(float(half[100, 60:140].std() / wave[100, 60:140].std()), 2)
        0.5
        """
        short = check_cutoff(s_filter, "s_filter", self.pixel_size)
        long = check_cutoff(l_filter, "l_filter", self.pixel_size)
        if short is not None and long is not None and short >= long:
            raise DataError(f"the S-filter ({short:g} nm) must cut below the L-filter ({long:g}).")
        heights = np.asarray(self.heights, np.float32)
        if short is not None:
            heights = gaussian_mean(heights, SIGMA_PER_CUTOFF * short / self.pixel_size)
        if long is not None:
            heights = heights - gaussian_mean(heights, SIGMA_PER_CUTOFF * long / self.pixel_size)
        return replace(
            self, heights=heights, s_filter=short or self.s_filter, l_filter=long or self.l_filter
        )


def check_cutoff(value: float | None, name: str, pixel_size: float) -> float | None:
    """Return a cut-off wavelength in nm as a float, or None.

    Raises
    ------
    DataError
        If it is not a finite length of at least two pixels.
    """
    if value is None:
        return None
    try:
        number = math.nan if isinstance(value, bool) else float(value)
    except (TypeError, ValueError):
        number = math.nan
    if not (math.isfinite(number) and number >= 2 * pixel_size):
        raise DataError(
            f"{name} is a wavelength in nm of at least two pixels ({2 * pixel_size:g} nm), "
            f"not {value!r}."
        )
    return number


def gaussian_mean(heights: np.ndarray, sigma: float) -> np.ndarray:
    """Return the Gaussian mean of a map over the pixels that are not NaN; NaN stays NaN.

    Parameters
    ----------
    heights : float array (h, w)
    sigma : float
        Standard deviation in pixels.

    Examples
    --------
    >>> gaussian_mean(np.array([[1.0, 1.0, np.nan]]), 1.0).tolist()
    [[1.0, 1.0, nan]]
    """
    valid = np.isfinite(heights)
    total = _blur(np.where(valid, heights, 0).astype(np.float32), sigma)
    weight = _blur(valid.astype(np.float32), sigma)
    result = np.full(heights.shape, np.nan, np.float32)
    result[valid] = total[valid] / np.maximum(weight[valid], 1e-6)
    return result


def _blur(values: np.ndarray, sigma: float) -> np.ndarray:
    """Gaussian with zeros outside, up to a factor; by Fourier transform once the kernel is wide."""
    if sigma < 6:
        return ndimage.gaussian_filter(values, sigma, mode="constant", truncate=5)
    if 5 * sigma > max(values.shape):
        # wider than the map: a frame for the transform would grow with the kernel, without limit
        down, across = (_gaussian_matrix(n, sigma) for n in values.shape)
        return down @ values @ across
    pad = int(5 * sigma) + 1
    shape = [fft.next_fast_len(n + pad, real=True) for n in values.shape]
    transform = fft.rfft2(values, shape)
    rows, cols = fft.fftfreq(shape[0]), fft.rfftfreq(shape[1])
    transform *= np.exp(-2 * (np.pi * sigma * rows) ** 2).astype(np.float32)[:, None]
    transform *= np.exp(-2 * (np.pi * sigma * cols) ** 2).astype(np.float32)[None]
    return fft.irfft2(transform, shape)[: values.shape[0], : values.shape[1]]


def _gaussian_matrix(size: int, sigma: float) -> np.ndarray:
    """Gaussian of the distances between `size` places in a row, 1 at 0, float32 (size, size)."""
    place = np.arange(size)
    return np.exp(-0.5 * ((place[:, None] - place) / sigma) ** 2).astype(np.float32)


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
