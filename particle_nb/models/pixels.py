"""What goes into any model: three bytes a pixel."""

from __future__ import annotations

import numpy as np

from particle_nb.core.image import Image


def to_rgb(image: Image) -> np.ndarray:
    """Return what SAM looks at, uint8 (H, W, 3).

    Eight-bit grey, RGB and RGBA images go in as they are (grey in all three channels, alpha
    dropped), so that the result is that of the peers on the same file. Everything else
    (16-bit, float, two or more than four channels) becomes one grey channel stretched by
    `Image.to_uint8`.

    Examples
    --------
    >>> to_rgb(Image(np.full((2, 2), 7, np.uint8)))[0, 0].tolist()
    [7, 7, 7]
    """
    pixels = image.pixels
    channels = 1 if pixels.ndim == 2 else pixels.shape[2]
    if pixels.dtype == np.uint8 and channels in (3, 4):
        return np.ascontiguousarray(pixels[..., :3])
    if pixels.dtype == np.uint8 and channels == 1:
        grey = pixels.reshape(image.shape)
    else:
        grey = image.to_uint8()
    return np.repeat(grey[..., None], 3, axis=2)
