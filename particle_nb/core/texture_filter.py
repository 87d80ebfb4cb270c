"""Heights above a form on a square grid, and their Gaussian S- and L-filters (ISO 16610-61)."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from scipy import fft, ndimage

from particle_nb.core.errors import DataError

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
