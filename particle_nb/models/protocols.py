"""What a model is to the rest of the toolkit: three protocols and what passes between."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

import numpy as np

from particle_nb.core.image import Image
from particle_nb.core.image.window import Window
from particle_nb.core.masks import MaskSet, Prompt


@dataclass(frozen=True, eq=False)
class Embedding:
    """What a segmenter keeps of an image, or of a window of it, to answer prompts.

    Parameters
    ----------
    model, weights : str
        Name of the model and digest of its weights.
    image : str
        Digest of the image.
    shape : (H, W)
        Size of the whole image in pixels.
    window : (x0, y0, x1, y1)
        The encoded part; the whole image when it spans it.
    arrays : mapping of str to array or tensor
        The cached numbers; the model alone knows what they mean.
    meta : mapping of str to number, str or list
        Small facts that go with them; must survive a round trip through JSON.
    """

    model: str
    weights: str
    image: str
    shape: tuple[int, int]
    window: Window
    arrays: Mapping[str, Any] = field(default_factory=dict)
    meta: Mapping[str, Any] = field(default_factory=dict)

    @property
    def nbytes(self) -> int:
        """Size of the cached numbers in bytes."""
        return int(sum(array.nbytes for array in self.arrays.values()))


#: Called with (done, total); the caller shows it.
Progress = Callable[[int, int], None]

#: How a model gets an embedding of a window: the session answers from its cache.
Encode = Callable[[Image, Window | None], Embedding]


@runtime_checkable
class Segmenter(Protocol):
    """Encode once, prompt many.

    `settings` holds all that changes what `generate` proposes (a frozen dataclass, None where
    nothing can be set): its text is part of every key that proposals and batches are kept under.

    It may also have `windows(shape, prompt)`, the windows of an image of shape (H, W) in which a
    prompt is best answered, narrowest first; without it the whole image is encoded.
    """

    name: str
    digest: str
    settings: Any

    def encode(self, image: Image, window: Window | None = None) -> Embedding:
        """Return what is needed to answer prompts in the window (the whole image if None)."""
        ...

    def predict(self, embedding: Embedding, prompt: Prompt) -> MaskSet:
        """Return up to three candidates in the full image's frame, best predicted IoU first.

        The prompt is in full-image pixels. A sketch is a mask prompt: a rough drawing or the
        previous mask to be refined.
        """
        ...

    def generate(
        self, image: Image, encode: Encode | None = None, progress: Progress | None = None
    ) -> MaskSet:
        """Automatic mode: propose every particle; `encode` serves embeddings from a cache."""
        ...


def missing_members(model: Any, protocol: Any) -> list[str]:
    """Return what an object lacks of a protocol; `settings` may be left out for "nothing to set".

    Examples
    --------
    >>> missing_members(object(), FeatureExtractor)
    ['digest', 'extract', 'name']
    """
    methods = {name for name, value in vars(protocol).items() if callable(value)}
    needed = {name for name in methods | set(protocol.__annotations__) if name[0] != "_"}
    needed.discard("settings")
    return sorted(name for name in needed if not hasattr(model, name))


def settings_key(model: Any) -> str:
    """Return the text of a segmenter's settings, as it stands in keys of what was computed."""
    return repr(getattr(model, "settings", None))


def answering(model: Any, image: Image) -> Any:
    """Return whose weights answer for an image: the model's own, or those before tuning."""
    ask = getattr(model, "answering", None)
    return ask(image) if callable(ask) else model


@runtime_checkable
class DepthEstimator(Protocol):
    """Relative height from one image: larger is nearer to the detector."""

    name: str
    digest: str

    def estimate(self, image: Image, window: Window | None = None) -> np.ndarray:
        """Return relative heights, float32 (h, w) of the window."""
        ...


@runtime_checkable
class FeatureExtractor(Protocol):
    """One vector per particle.

    It may also have `names` (one a column, its tag and a point in front) and `licence`; columns
    without names are numbered behind the model's name.
    """

    name: str
    digest: str

    def extract(self, image: Image, masks: MaskSet) -> np.ndarray:
        """Return float32 (N, D)."""
        ...
