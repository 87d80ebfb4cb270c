"""Features from the encoder of the embedded segmenter: offline, on a CPU, by default."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from particle_nb.core.image import Image
from particle_nb.core.masks import MaskSet
from particle_nb.core.phases import DenseFeatures
from particle_nb.models.embedded import segmenter
from particle_nb.models.features.crops import extract_rows, pooled
from particle_nb.models.features.maps import dense_of

#: Side in pixels that a particle's crop is brought to.
SIDE = 64
#: Levels of the encoder that are pooled, 1 the finest one below the stem's.
LEVELS = (2, 3, 4)
#: Levels whose maps are features of pixels; coarser ones tell particles, and blur phases.
MAP_LEVELS = (0, 1)
TAG = "embedded"


@dataclass(frozen=True, eq=False)
class EmbeddedFeatures:
    """Maps of the embedded encoder, pooled over each particle, behind `FeatureExtractor`.

    Each particle is seen at its own scale with its surroundings taken away, so that the vector
    tells form and texture, not size or neighbours. The encoder was trained to find particles, not
    to tell their classes: it is no match for a large self-supervised network.

    Attributes
    ----------
    name, digest : str
        The segmenter's name and the digest of its weights.
    names : tuple of str
        ``"embedded.0"`` and so on.
    """

    model: segmenter.EmbeddedSegmenter
    licence: str = "MIT"

    @property
    def name(self) -> str:
        """Name of the encoder's weights."""
        return f"{self.model.name} encoder"

    @property
    def digest(self) -> str:
        """Digest of the weights, 16 hex digits."""
        return self.model.digest

    @property
    def names(self) -> tuple[str, ...]:
        """Name of every column."""
        widths = self.model.network.settings.encoder
        return tuple(f"{TAG}.{i}" for i in range(2 * sum(widths[level] for level in LEVELS)))

    def extract(self, image: Image, masks: MaskSet) -> np.ndarray:
        """Return one vector per mask, float32 (N, D).

        Raises
        ------
        DataError
            If the masks are of another frame.
        """
        return extract_rows(image, masks, SIDE, self._rows, len(self.names))

    def maps(self, image: Image) -> DenseFeatures:
        """Return the encoder's maps at every pixel, brought to the edges of the image.

        The image is looked at twice as large and the maps are averaged: that tells phases better.

        Raises
        ------
        ImageError
            If the image holds nothing finite.
        """
        encoder = self.model.network.encoder

        def network(picture: Tensor) -> list[Tensor]:
            large = F.interpolate(picture, scale_factor=2.0, mode="bicubic", align_corners=False)
            kept = encoder.pyramid(large)
            found = [*(kept[level] for level in MAP_LEVELS), encoder.decoded(kept)]
            return [F.avg_pool2d(maps.float(), 2) for maps in found]

        levels = {f"{TAG}.{level}": 2 << level for level in MAP_LEVELS} | {f"{TAG}.top": 2}
        about = (f"{self.name} {self.digest}, maps 2", self.licence)
        families = [f"{TAG} encoder"] * len(MAP_LEVELS) + [f"{TAG} decoder"]
        return dense_of(image, network, levels, about, self.model.device, families)

    def _rows(self, pixels: Tensor, shares: Tensor) -> Tensor:
        device = self.model.device
        levels = self.model.network.encoder.pyramid(pixels.to(device))
        return torch.cat([pooled(levels[i], shares.to(device)) for i in LEVELS], 1)


def load(source: str = "", device: str = "auto") -> EmbeddedFeatures:
    """Load the encoder that comes with the package, or of another weights file of its kind.

    Parameters
    ----------
    source : str
        Path of a .safetensors file; empty for the one of the package.
    device : str
        ``"auto"``, ``"cpu"``, ``"cuda"`` or ``"mps"``.

    Raises
    ------
    ModelError
        If the weights are missing or of another network, or the device is not there.

    Examples
    --------
    >>> load("no such file")
    Traceback (most recent call last):
    ...
    particle_nb.core.errors.ModelError: ...
    """
    return EmbeddedFeatures(segmenter.load(source, device))
