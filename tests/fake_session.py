"""A segmenter without weights for the tests of the annotator: flood fill around what is pointed at.

Its answers are known exactly: on a picture of bright squares on a dark ground a click gives the
square, so that the truth of every test is the picture itself.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from scipy import ndimage

from particle_nb.core.image import Image
from particle_nb.core.masks import Mask, MaskSet, Prompt


@dataclass
class FakeSegmenter:
    name: str = "flood"
    digest: str = "0123456789abcdef"


@dataclass
class FakeSession:
    """Connected regions of the binarised picture; negative points take a disc away."""

    delay: float = 0.0
    segmenter: FakeSegmenter = field(default_factory=FakeSegmenter)
    calls: list[tuple[Prompt, Any]] = field(default_factory=list)
    _labels: dict[str, np.ndarray] = field(default_factory=dict)

    def regions(self, image: Image) -> np.ndarray:
        if image.digest not in self._labels:
            grey = image.grey
            self._labels[image.digest] = ndimage.label(grey > grey.mean())[0]
        return self._labels[image.digest]

    def predict(self, image: Image, prompt: Prompt, window: Any = None) -> MaskSet:
        self.calls.append((prompt, window))
        if self.delay:
            time.sleep(self.delay)
        regions = self.regions(image)
        wanted = np.zeros(image.shape, bool)
        for (x, y), label in zip(prompt.points, prompt.labels or (), strict=True):
            number = regions[round(y), round(x)]
            if label and number:
                wanted |= regions == number
        if prompt.box is not None:
            x0, y0, x1, y1 = (round(v) for v in prompt.box)
            inside = np.zeros(image.shape, bool)
            inside[max(y0, 0) : y1 + 1, max(x0, 0) : x1 + 1] = True
            wanted |= inside & (regions > 0)
        if prompt.sketch is not None:
            wanted |= prompt.sketch & (regions > 0)
        for (x, y), label in zip(prompt.points, prompt.labels or (), strict=True):
            if not label:
                rows, cols = np.ogrid[: image.shape[0], : image.shape[1]]
                wanted &= (rows - y) ** 2 + (cols - x) ** 2 > 36
        if not wanted.any():
            return MaskSet((), image.shape)
        eroded = ndimage.binary_erosion(wanted, iterations=2)
        grown = ndimage.binary_dilation(wanted, iterations=3)
        found = [Mask.from_full(wanted, predicted_iou=0.95, stability_score=0.9)]
        found.append(Mask.from_full(grown, predicted_iou=0.8, stability_score=0.7))
        if eroded.any():
            found.append(Mask.from_full(eroded, predicted_iou=0.6, stability_score=0.5))
        return MaskSet(tuple(found), image.shape)

    def encode(self, image: Image, window: Any = None) -> None:
        return None

    def propose(self, image: Image) -> MaskSet:
        regions = self.regions(image)
        found = MaskSet.from_labels(regions)
        return MaskSet(
            tuple(
                mask.replace(predicted_iou=0.5 + 0.5 * (i % 10) / 10, stability_score=0.9)
                for i, mask in enumerate(found)
            ),
            image.shape,
        )


@dataclass
class Proposing(FakeSession):
    """Proposes every bright region, and counts how often it is asked."""

    sure: float = 0.95

    def propose(self, image: Image, progress: bool = True) -> MaskSet:
        self.asked = getattr(self, "asked", 0) + 1
        found = MaskSet.from_labels(self.regions(image))
        scores = {"predicted_iou": self.sure, "stability_score": self.sure}
        return MaskSet(tuple(mask.replace(**scores) for mask in found))


def squares(rows: int = 3, cols: int = 4, side: int = 40, gap: int = 24) -> Image:
    """Bright squares of `side` px on a dark ground; (i, j) begins at gap + i (side + gap)."""
    step = side + gap
    pixels = np.full((rows * step + gap, cols * step + gap), 30, np.uint8)
    for i in range(rows):
        for j in range(cols):
            top, left = gap + i * step, gap + j * step
            pixels[top : top + side, left : left + side] = 200
    return Image(pixels, None, "squares.png")
