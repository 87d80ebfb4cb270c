"""Grey values as a screen shows them, made only where somebody looks: `Tones`."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from particle_nb.core.image.image import Image

_SAMPLES = 1024


class Tones:
    """An image's grey values stretched to 0..255, converted part by part.

    A stretched copy of 100 megapixels costs more than a gigabyte on its way; a thumbnail or a tile
    needs a few thousand of its values. Indexing works as on the array of `Image.to_uint8` and gives
    the same values, except where pixels are not finite: those are the darkest here.

    Parameters
    ----------
    image : Image

    Examples
    --------
    >>> image = Image(np.arange(100.0).reshape(10, 10))
    >>> bool((Tones(image)[2:4, ::3] == image.to_uint8()[2:4, ::3]).all())
    True
    """

    def __init__(self, image: Image) -> None:
        self._pixels = image.pixels
        self.shape = image.shape
        height, width = image.shape
        rows, cols = (slice(None, None, max(1, n // _SAMPLES)) for n in (height, width))
        sample = self._grey((rows, cols))
        sample = sample[np.isfinite(sample)]
        low = high = math.nan
        if sample.size:
            low, high = (float(v) for v in np.percentile(sample, (0.1, 99.9)))
        if not high > low:
            low, high = self._extremes()
        # of double precision, as in `Image.to_uint8`, so that both round alike
        self._low = np.float64(low)
        self._scale = np.float64(255.0 / (high - low) if high > low else 0.0)

    def __getitem__(self, where: Any) -> np.ndarray:
        grey = self._grey(where)
        shown = (grey - self._low) * self._scale + 0.5 * (self._scale > 0)
        return np.nan_to_num(np.clip(shown, 0, 255), nan=0.0).astype(np.uint8)

    def _grey(self, where: Any) -> np.ndarray:
        """One channel of some pixels as float32: luma of colours, else the mean of detectors."""
        part = self._pixels[where]
        if self._pixels.ndim == 2:
            return part.astype(np.float32)
        if self._pixels.shape[2] >= 3:
            return part[..., :3].astype(np.float32) @ np.array([0.299, 0.587, 0.114], np.float32)
        return part.mean(axis=-1, dtype=np.float32)

    def _extremes(self) -> tuple[float, float]:
        low, high = math.inf, -math.inf
        for row in range(0, self.shape[0], _SAMPLES):
            part = self._grey(slice(row, row + _SAMPLES))
            part = part[np.isfinite(part)]
            if part.size:
                low, high = min(low, float(part.min())), max(high, float(part.max()))
        return low, high
