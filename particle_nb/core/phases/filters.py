"""A bank of filters at several scales, as trainable segmenters use them."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from particle_nb.core.errors import ImageError
from particle_nb.core.image import Image
from particle_nb.core.phases._kernels import _medians
from particle_nb.core.phases.dense import DenseFeatures, Plane
from particle_nb.core.synthetic.smoothing import blur

#: Scales in pixels, and the widths of the cells that each is kept on.
SIGMAS = (1, 2, 4, 8, 16)
_STRIDES = (1, 1, 2, 4, 8)
#: What these features are called together.
FAMILY = "filters"
_KINDS = (
    "gaussian",
    "gradient",
    "ridge",
    "valley",
    "edge_strong",
    "edge_weak",
    "sd",
    "min",
    "max",
    "median",
    "band",
)


def channels_of(image: Image) -> np.ndarray:
    """Return what every detector shows, float32 (C, H, W).

    Colours that are all alike are one channel, transparency is none; what is not finite takes the
    channel's smallest finite value.

    Raises
    ------
    ImageError
        If `image` is no `Image`.

    Examples
    --------
    >>> channels_of(Image(np.zeros((4, 5, 2), np.uint8))).shape
    (2, 4, 5)
    """
    if not isinstance(image, Image):
        raise ImageError(
            f"expected a particle_nb.Image, not {type(image).__name__}; "
            "use read_image(path) or Image(array)."
        )
    pixels = image.pixels[..., None] if image.pixels.ndim == 2 else image.pixels
    if pixels.shape[2] == 4 and (pixels[..., 3] == pixels[0, 0, 3]).all():
        pixels = pixels[..., :3]
    if pixels.shape[2] == 3 and (pixels == pixels[..., :1]).all():
        pixels = pixels[..., :1]
    planes = np.ascontiguousarray(np.moveaxis(pixels, 2, 0), np.float32)
    for plane in planes:
        finite = np.isfinite(plane)
        if not finite.all():
            plane[~finite] = plane[finite].min() if finite.any() else 0
    return planes


def filter_bank(image: Image) -> DenseFeatures:
    """Return a bank of filters at 1 to 16 pixels of every channel.

    At each scale: Gaussian, gradient magnitude, eigenvalues of the Hessian (ridge, valley) and of
    the structure tensor (edge_strong, edge_weak), standard deviation, least, largest and middle
    value around, and the difference to the next finer scale (band). Coarse scales are kept on
    coarse cells and interpolated.

    Parameters
    ----------
    image : Image

    Returns
    -------
    DenseFeatures
        56 numbers a channel.

    Raises
    ------
    ImageError
        If `image` is no `Image`.

    References
    ----------
    I. Arganda-Carreras et al., 2017, doi:10.1093/bioinformatics/btx180 (Trainable Weka
    Segmentation).

    Examples
    --------
    >>> len(filter_bank(Image(np.eye(40))).names)
    56
    """
    planes: list[Plane] = []
    for number, channel in enumerate(channels_of(image)):
        planes.append(Plane(channel[..., None], (f"c{number}.grey",), family=FAMILY))
        finer, cells, stride = channel, channel, 1
        for sigma, wanted in zip(SIGMAS, _STRIDES, strict=True):
            while stride < wanted:
                cells, finer, stride = halved(cells), halved(finer), 2 * stride
            found = _scale(cells, finer, sigma, stride)
            planes.append(Plane(found, _names(number, sigma), stride, family=FAMILY))
            finer = planes[-1].values[..., 0]
    return DenseFeatures(tuple(planes), image.shape, origin=("filters 1",))


def _names(channel: int, sigma: int) -> tuple[str, ...]:
    return tuple(f"c{channel}.{kind}.{sigma}" for kind in _KINDS)


def _scale(cells: np.ndarray, finer: np.ndarray, sigma: float, stride: int) -> np.ndarray:
    """All filters of one scale on cells of that stride, float32 (h, w, 11)."""
    # averages over cells have blurred already
    left = float(np.sqrt(max(sigma**2 - (stride**2 - 1) / 12, 0.1))) / stride
    smooth = blur(cells, left)
    dy, dx = np.gradient(smooth) if min(smooth.shape) > 1 else (0 * smooth, 0 * smooth)
    dyy, dyx = np.gradient(dy) if min(smooth.shape) > 1 else (0 * smooth, 0 * smooth)
    dxx = np.gradient(dx, axis=1) if smooth.shape[1] > 1 else 0 * smooth
    high, low = _eigenvalues(dyy, dxx, dyx)
    tensor = [blur(np.asarray(v, np.float32), left) for v in (dy * dy, dx * dx, dy * dx)]
    strong, weak = _eigenvalues(*tensor)
    middle = float(cells.mean())
    about = cells - np.float32(middle)
    spread = blur(about * about, left) - (smooth - np.float32(middle)) ** 2
    radius = 1 if sigma == 1 else 2
    side = 2 * radius + 1
    medians = np.empty_like(cells)
    _medians(np.pad(cells, radius, mode="edge"), radius, medians)
    return np.stack(
        [
            smooth,
            np.hypot(dy, dx),
            high,
            low,
            np.sqrt(np.maximum(strong, 0)),
            np.sqrt(np.maximum(weak, 0)),
            np.sqrt(np.maximum(spread, 0)),
            ndimage.minimum_filter(cells, side, mode="nearest"),
            ndimage.maximum_filter(cells, side, mode="nearest"),
            medians,
            smooth - finer,
        ],
        axis=-1,
        dtype=np.float32,
    )


def _eigenvalues(a: np.ndarray, b: np.ndarray, c: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Larger and smaller eigenvalue of ((a, c), (c, b))."""
    mean, half = (a + b) / 2, np.hypot((a - b) / 2, c)
    return mean + half, mean - half


def halved(values: np.ndarray) -> np.ndarray:
    """Return means over cells of 2 x 2, the last row and column repeated where it is odd.

    >>> halved(np.array([[1.0, 3.0, 5.0]], np.float32)).tolist()
    [[2.0, 5.0]]
    """
    even = np.pad(values, [(0, n % 2) for n in values.shape], mode="edge")
    return (even[::2, ::2] + even[1::2, ::2] + even[::2, 1::2] + even[1::2, 1::2]) / np.float32(4)
