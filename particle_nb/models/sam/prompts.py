"""What goes into SAM: pixels, windows, prompts and sketches, checked and brought to its frame."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image as Pillow
from scipy import ndimage

from particle_nb.core.errors import ImageError, PromptError
from particle_nb.core.masks import Prompt
from particle_nb.models.protocols import Embedding
from particle_nb.models.sam.crops import Frame

_MEAN = (0.485, 0.456, 0.406)

_STD = (0.229, 0.224, 0.225)

_ORIGINAL_MEAN = (123.675, 116.28, 103.53)

_ORIGINAL_STD = (58.395, 57.12, 57.375)

_DOUBT = 1e-3  # a sketched pixel is 99.9% sure: logits of +-6.9


def resized(size: tuple[int, int], side: int) -> tuple[int, int]:
    """Return (h, w) of an image whose longer side becomes `side`, rounded as SAM rounds.

    Examples
    --------
    >>> resized((600, 800), 1024)
    (768, 1024)
    """
    scale = side * 1.0 / max(size)
    return int(size[0] * scale + 0.5), int(size[1] * scale + 0.5)


@dataclass(frozen=True)
class Preprocessing:
    """How pixels become the encoder's input.

    segment-anything and transformers resize with Pillow's antialiased bilinear filter to a long
    side of 1024 and pad with zeros on the right and below; they differ in the rounding of the
    normalisation only (below 1e-6): transformers scales to 0..1 first, the original package does
    not. With torchvision installed, transformers resizes by torchvision instead of Pillow, which
    moves single grey values by 1; that is not imitated.

    Parameters
    ----------
    side : int
        Side of the encoder's input in pixels.
    original : bool
        Round as the original package does.
    mean, std : three floats
        Per channel, of grey values scaled to 0..1 (not used when `original`).
    """

    side: int
    original: bool = False
    mean: tuple[float, ...] = _MEAN
    std: tuple[float, ...] = _STD

    def __call__(self, rgb: np.ndarray) -> tuple[torch.Tensor, tuple[int, int]]:
        """Return float32 (1, 3, side, side) and the size of the image in it."""
        height, width = resized((rgb.shape[0], rgb.shape[1]), self.side)
        if min(height, width) < 1:
            raise ImageError(
                f"a window of {rgb.shape[1]} x {rgb.shape[0]} px is too thin for SAM; "
                "choose one closer to a square."
            )
        picture = Pillow.fromarray(rgb).resize((width, height), Pillow.Resampling.BILINEAR)
        values = np.asarray(picture)
        if self.original:
            scaled = torch.from_numpy(values.copy()).permute(2, 0, 1)
            mean, std = (torch.tensor(v).view(-1, 1, 1) for v in (_ORIGINAL_MEAN, _ORIGINAL_STD))
            scaled = (scaled - mean) / std
        else:
            unit = (values.astype(np.float64) * (1 / 255)).astype(np.float32)
            normal = (unit - np.array(self.mean, np.float32)) / np.array(self.std, np.float32)
            scaled = torch.from_numpy(normal).permute(2, 0, 1)
        padded = torch.zeros(1, 3, self.side, self.side)
        padded[0, :, :height, :width] = scaled
        return padded, (height, width)


def checked_prompt(prompt: Prompt, embedding: Embedding) -> None:
    """Raise `PromptError` where a part of the prompt lies outside the encoded window."""
    prompt.check(embedding.shape)
    x0, y0, x1, y1 = embedding.window
    for x, y in prompt.points:
        if not (x0 - 0.5 <= x <= x1 - 0.5 and y0 - 0.5 <= y <= y1 - 0.5):
            raise PromptError(
                f"the point ({x:g}, {y:g}) lies outside the encoded window {embedding.window}; "
                "encode a window that holds the whole prompt."
            )
    if prompt.box is not None and (
        prompt.box[0] >= x1 or prompt.box[1] >= y1 or prompt.box[2] < x0 or prompt.box[3] < y0
    ):
        raise PromptError(
            f"the box {prompt.box} lies outside the encoded window {embedding.window}."
        )
    if prompt.sketch is not None and not prompt.sketch[y0:y1, x0:x1].any():
        raise PromptError(f"the sketch lies outside the encoded window {embedding.window}.")


def sketch_logits(sketch: np.ndarray, frame: Frame) -> np.ndarray:
    """Return a drawing as SAM's mask prompt, float32 logits (low, low).

    Each low-resolution pixel gets the log-odds of its covered share, held between 0.1% and
    99.9% (-6.9 to 6.9, the range of SAM's own confident masks); padding is background.

    Examples
    --------
    >>> logits = sketch_logits(np.ones((16, 16), bool), Frame(4, 16, (16, 16), (16, 16)))
    >>> logits.shape, round(float(logits.min()), 1)
    ((4, 4), 6.9)
    """
    factor = frame.low / frame.padded
    height, width = (max(1, round(n * factor)) for n in frame.resized)
    picture = Pillow.fromarray(sketch.astype(np.float32))
    covered = np.asarray(picture.resize((width, height), Pillow.Resampling.BOX))
    share = np.zeros((frame.low, frame.low), np.float32)
    share[:height, :width] = np.clip(covered, 0, 1)
    share = np.clip(share, _DOUBT, 1 - _DOUBT)
    return np.log(share / (1 - share)).astype(np.float32)


def innermost(sketch: np.ndarray, origin: tuple[int, int]) -> tuple[float, float]:
    """Return the pixel (x, y) of a drawing that is farthest from its outline."""
    depth = ndimage.distance_transform_edt(np.pad(sketch, 1))[1:-1, 1:-1]
    row, col = np.unravel_index(int(np.argmax(depth)), depth.shape)
    return float(origin[0] + col), float(origin[1] + row)
