"""The conventional baseline: Otsu threshold, distance transform, watershed. No weights."""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass

import numpy as np
from scipy import ndimage
from skimage import filters, measure, morphology, segmentation

from particle_nb.core.errors import DataError, ModelError
from particle_nb.core.image import Image
from particle_nb.core.image.window import checked_window
from particle_nb.core.masks import MaskSet, Prompt
from particle_nb.models.lookup import every_region, looked_up
from particle_nb.models.protocols import Embedding, Encode, Progress, Window


@dataclass(frozen=True)
class ClassicalSettings:
    """Knobs of the watershed; all lengths in pixels.

    Parameters
    ----------
    smoothing : float
        Sigma of the Gaussian before thresholding.
    polarity : {"auto", "bright", "dark"}
        Whether particles are brighter or darker than what is around them. ``"auto"`` takes the
        phase that covers less of the image's rim for the particles.
    flatten : bool
        Remove a quadratic illumination surface fitted to the background.
    h : float
        Dips of the distance transform shallower than this share of the local radius do not
        split a particle (h-maxima on the relative depth).
    min_area : int
        Smaller regions are noise.

    Raises
    ------
    DataError
        If a value is out of range.

    Examples
    --------
    >>> ClassicalSettings(polarity="dark").h
    0.3
    """

    smoothing: float = 2.0
    polarity: str = "auto"
    flatten: bool = True
    h: float = 0.3
    min_area: int = 100

    def __post_init__(self) -> None:
        if self.polarity not in ("auto", "bright", "dark"):
            raise DataError(f"polarity is 'auto', 'bright' or 'dark', not {self.polarity!r}.")
        for name, low, high in (("smoothing", 0, 100), ("h", 0, 1), ("min_area", 1, 1e9)):
            value = getattr(self, name)
            if not isinstance(value, (int, float)) or not low <= value <= high:
                raise DataError(f"{name} must lie in {low:g} .. {high:g}, not {value!r}.")


@dataclass(frozen=True)
class ClassicalSegmenter:
    """Otsu + distance-transform watershed behind the `Segmenter` protocol.

    A click answers with the region under it; there is no confidence, so predicted IoU is NaN.
    """

    settings: ClassicalSettings = ClassicalSettings()
    name: str = "classical"
    device: str = "cpu"
    about: str = "Otsu threshold and distance-transform watershed, without weights"

    @property
    def digest(self) -> str:
        """Stands for the weights digest that a trained model has."""
        s = self.settings
        return f"otsu-ws-{s.smoothing:g}-{s.polarity}-{int(s.flatten)}-{s.h:g}-{s.min_area}"

    def encode(self, image: Image, window: Window | None = None) -> Embedding:
        """Segment the window once; prompts are then looked up in the label image."""
        x0, y0, x1, y1 = checked_window(window, image.shape)
        labels = watershed_labels(image.grey[y0:y1, x0:x1], self.settings)
        return Embedding(
            self.name,
            self.digest,
            image.digest,
            image.shape,
            (x0, y0, x1, y1),
            {"labels": labels},
        )

    def predict(self, embedding: Embedding, prompt: Prompt) -> MaskSet:
        """Return the region under the points or in the box, then its merged neighbourhood."""
        return looked_up(np.asarray(embedding.arrays["labels"]), embedding, prompt)

    def generate(
        self, image: Image, encode: Encode | None = None, progress: Progress | None = None
    ) -> MaskSet:
        """Return every region of the watershed; they never overlap."""
        return every_region((encode or self.encode)(image, None), progress)


def watershed_labels(grey: np.ndarray, settings: ClassicalSettings | None = None) -> np.ndarray:
    """Segment a grey image (H, W) into touching particles; returns int32 labels, 0 outside.

    Raises
    ------
    DataError
        If the image is not 2-D.

    References
    ----------
    Otsu 1979; Meyer and Beucher 1990 (watershed with markers).

    Examples
    --------
    >>> picture = np.zeros((40, 40)); picture[10:30, 10:30] = 1
    >>> int(watershed_labels(picture).max())
    1
    """
    settings = settings or ClassicalSettings()
    if grey.ndim != 2:
        raise DataError(f"the watershed takes a grey image (H, W), not {grey.shape}.")
    smooth = ndimage.gaussian_filter(grey.astype(np.float32), settings.smoothing)
    if smooth.min() == smooth.max():
        return np.zeros(grey.shape, np.int32)
    if _only_noise(grey, smooth, settings.smoothing):
        warnings.warn(
            "nothing but noise is seen: once smoothed, the grey values vary no more than those of "
            "independent pixels would, so no particle is reported; check exposure and focus, or "
            "average frames.",
            stacklevel=2,
        )
        return np.zeros(grey.shape, np.int32)
    foreground = _foreground(smooth, settings)
    if settings.flatten:
        flat = smooth - _illumination(smooth, ~foreground)
        foreground = _foreground(flat, settings)
    foreground = ndimage.binary_fill_holes(foreground)
    foreground = morphology.remove_small_objects(foreground, max_size=settings.min_area - 1)
    if not foreground.any():
        return np.zeros(grey.shape, np.int32)
    # a rim of background would split particles that the frame cuts, so it counts as inside
    padded = np.pad(foreground, 1, mode="edge")
    distance = ndimage.gaussian_filter(ndimage.distance_transform_edt(padded)[1:-1, 1:-1], 1.0)
    # h relative to the radius: on log distance a dip of h * r is log(1 / (1 - h)) at every size
    relief = np.where(foreground, np.log(np.maximum(distance, 0.5)), math.log(0.5))
    peaks = morphology.h_maxima(relief.astype(np.float32), -math.log1p(-settings.h))
    markers = measure.label((peaks > 0) & foreground)
    labels = segmentation.watershed(-distance, markers, mask=foreground)
    sizes = np.bincount(labels.ravel())
    sizes[0] = 0
    keep = sizes >= settings.min_area
    numbers = np.where(keep, np.cumsum(keep), 0)
    return numbers[labels].astype(np.int32)


def _only_noise(grey: np.ndarray, smooth: np.ndarray, sigma: float) -> bool:
    """Whether a smoothed picture varies less than 1.5 times what its pixels' noise leaves of it.

    Pixel noise after Immerkaer 1996 (Comput. Vis. Image Underst. 64, 300); a Gaussian of width
    sigma divides that of independent pixels by 2 sqrt(pi) sigma. Micrographs reach 12 and more.
    """
    if sigma < 1 or min(grey.shape) < 32:
        return False
    kernel = np.array([[1, -2, 1], [-2, 4, -2], [1, -2, 1]], np.float32)
    bends = np.abs(ndimage.convolve(grey.astype(np.float32), kernel))
    noise = math.sqrt(math.pi / 2) * float(bends.mean()) / 6
    return float(smooth.std()) < 1.5 * noise / (2 * math.sqrt(math.pi) * sigma)


def _foreground(smooth: np.ndarray, settings: ClassicalSettings) -> np.ndarray:
    bright = smooth > filters.threshold_otsu(smooth)
    if settings.polarity == "auto":
        rim = np.concatenate([bright[0], bright[-1], bright[1:-1, 0], bright[1:-1, -1]])
        return bright if rim.mean() <= 0.5 else ~bright
    return bright if settings.polarity == "bright" else ~bright


def _illumination(smooth: np.ndarray, background: np.ndarray) -> np.ndarray:
    """Quadratic surface through the background; the mean where there is too little of it."""
    step = max(1, max(smooth.shape) // 256)
    rows, cols = (np.linspace(-1, 1, n, dtype=np.float32) for n in smooth.shape)
    known = background[::step, ::step]
    if known.sum() < 64:
        return np.zeros(smooth.shape, np.float32)
    y, x = np.meshgrid(rows[::step], cols[::step], indexing="ij")
    x, y, z = x[known], y[known], smooth[::step, ::step][known]
    basis = np.stack([np.ones_like(x), x, y, x * x, x * y, y * y], axis=1)
    c = np.linalg.lstsq(basis, z, rcond=None)[0]
    y, x = rows[:, None], cols[None, :]
    return c[0] + c[1] * x + c[2] * y + c[3] * x * x + c[4] * x * y + c[5] * y * y


def load(source: str = "", device: str = "auto") -> ClassicalSegmenter:
    """Return the classical segmenter; it has no file and runs on the CPU.

    Raises
    ------
    ModelError
        If a path is given.

    Examples
    --------
    >>> load().name
    'classical'
    """
    if source:
        raise ModelError(f"the classical segmenter loads nothing, so {source!r} is too much.")
    return ClassicalSegmenter()
