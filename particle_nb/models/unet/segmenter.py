"""A trained UNet++ behind the `Segmenter` protocol: connected regions of its foreground."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from particle_nb.core.errors import DataError, ModelError
from particle_nb.core.image import Image
from particle_nb.core.image.window import checked_window
from particle_nb.core.masks import MaskSet, Prompt
from particle_nb.models.lookup import every_region, looked_up
from particle_nb.models.own import KIND
from particle_nb.models.protocols import Embedding, Encode, Progress, Window
from particle_nb.models.tuning.crops import normalise
from particle_nb.models.unet.network import NestedUnet
from particle_nb.models.unet.settings import UnetSettings
from particle_nb.models.unet.weight_maps import particles_of
from particle_nb.models.weights import (
    file_digest,
    packed,
    parse_weights,
    pick_device,
    write_weights,
)

#: Side of the tiles of a large image, and what a tile sees of its neighbours, px.
TILE, MARGIN = 768, 64


@dataclass(frozen=True, eq=False)
class Unet:
    """A UNet++ trained with `train_unet`.

    It answers pixel by pixel whether there is a particle; particles are connected regions, so
    prompts only choose among these, and no mask has a confidence.

    Parameters
    ----------
    network : NestedUnet
    settings : UnetSettings
    about : str
        What it was trained on, in words.
    log : tuple of (step, loss)
    weights : str
        Kind of weight maps of the loss.
    data : bytes
        Its file.
    """

    network: NestedUnet = field(repr=False)
    settings: UnetSettings
    about: str = ""
    log: tuple[tuple[int, float], ...] = field(repr=False, default=())
    weights: str = "distance"
    data: bytes = field(repr=False, default=b"")
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))

    @property
    def digest(self) -> str:
        """SHA-256 of its file, 16 hex digits."""
        return file_digest(self.data)

    @property
    def name(self) -> str:
        """``unet++`` and the kind of weight maps."""
        return f"unet++-{self.weights}"

    def probability(self, image: Image, window: Window | None = None) -> np.ndarray:
        """Probability of foreground, float32 (h, w) of the window."""
        x0, y0, x1, y1 = checked_window(window, image.shape)
        grey = normalise(np.asarray(image.grey))[y0:y1, x0:x1]
        out = np.empty(grey.shape, np.float32)
        height, width = grey.shape
        for top in range(0, height, TILE):
            for left in range(0, width, TILE):
                low = max(top - MARGIN, 0), max(left - MARGIN, 0)
                part = grey[low[0] : top + TILE + MARGIN, low[1] : left + TILE + MARGIN]
                tile = self._answered(torch.from_numpy(np.ascontiguousarray(part)))
                rows = slice(top, min(top + TILE, height))
                columns = slice(left, min(left + TILE, width))
                out[rows, columns] = tile[
                    top - low[0] : rows.stop - low[0], left - low[1] : columns.stop - low[1]
                ]
        return out

    def _answered(self, part: Tensor) -> np.ndarray:
        height, width = part.shape
        m = self.network.multiple
        pad = (0, -width % m, 0, -height % m)
        with torch.inference_mode():
            picture = F.pad(part[None, None].to(self.device), pad, mode="replicate")
            answer = torch.sigmoid(self.network(picture))[0, :height, :width]
        return np.asarray(answer.cpu().numpy())

    def encode(self, image: Image, window: Window | None = None) -> Embedding:
        """Segment the window once; prompts are then looked up in the label image."""
        place = checked_window(window, image.shape)
        labels = particles_of(self.probability(image, place) > 0.5, self.settings.least_area)
        return Embedding(
            self.name, self.digest, image.digest, image.shape, place, {"labels": labels}
        )

    def predict(self, embedding: Embedding, prompt: Prompt) -> MaskSet:
        """The region under the points, in the box or under the sketch, then its neighbourhood.

        Raises
        ------
        PromptError
            If the prompt lies outside the image.
        """
        return looked_up(np.asarray(embedding.arrays["labels"]), embedding, prompt)

    def generate(
        self, image: Image, encode: Encode | None = None, progress: Progress | None = None
    ) -> MaskSet:
        """Every connected region."""
        return every_region((encode or self.encode)(image, None), progress)

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write weights, settings and origin; ``Session(segmenter=path)`` loads them.

        Raises
        ------
        ModelError
            If the name does not end in ``.safetensors``.
        DataError
            If nothing can be written there.
        """
        return write_weights(path, self.data)


def unet_file(network: NestedUnet, metadata: Mapping[str, Any]) -> bytes:
    """The bytes of a file of weights and facts."""
    return packed(network.state_dict(), {KIND: "unet", **metadata})


def parsed(data: bytes, what: str, device: torch.device) -> Unet:
    """The UNet++ that the bytes of a file hold; `what` names them in errors.

    Raises
    ------
    ModelError
        If they are damaged or of another network.
    """
    stored, metadata = parse_weights(data, what)
    try:
        settings = UnetSettings(**_tuples(json.loads(metadata["settings"])))
        network = NestedUnet(settings.widths)
        network.load_state_dict(stored)
        log = tuple((int(step), float(loss)) for step, loss in json.loads(metadata["log"]))
        about, weights = metadata["about"], metadata["weights"]
    except (KeyError, TypeError, ValueError, RuntimeError, DataError) as error:
        raise ModelError(f"{what} holds no UNet++ of this package: {error}") from None
    network.to(device).eval().requires_grad_(False)
    return Unet(network, settings, about, log, weights, data, device)


def _tuples(values: dict[str, Any]) -> dict[str, Any]:
    return {key: tuple(v) if isinstance(v, list) else v for key, v in values.items()}


def load(source: str, device: str = "auto") -> Unet:
    """Load a UNet++ that `Unet.save` wrote.

    Raises
    ------
    ModelError
        If the file is missing, damaged, or of another network.

    Examples
    --------
    >>> load("no such.safetensors", "cpu")
    Traceback (most recent call last):
    ...
    particle_nb.core.errors.ModelError: ...
    """
    where = pick_device(device)
    path = Path(source).expanduser()
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ModelError(f"no weights at {str(path)!r}: {error.strerror}.") from None
    return parsed(data, str(path), where)
