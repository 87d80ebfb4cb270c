"""Segment Anything (SAM) as a segmenter: loading, encoding, prompts.

Kirillov et al., Segment Anything, ICCV 2023, doi:10.1109/ICCV51070.2023.00371.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch

from particle_nb.core.errors import ModelError
from particle_nb.core.image import Image
from particle_nb.core.image.window import checked_window
from particle_nb.core.masks import Mask, MaskSet, Prompt
from particle_nb.models.pixels import to_rgb
from particle_nb.models.protocols import Embedding, Encode, Progress, Window
from particle_nb.models.sam.automatic import AutomaticSettings, propose
from particle_nb.models.sam.checkpoint import load_weights
from particle_nb.models.sam.crops import Frame
from particle_nb.models.sam.decoder import FastDecoder, Workspace
from particle_nb.models.sam.prompts import Preprocessing, checked_prompt, innermost, sketch_logits
from particle_nb.models.weights import multiplies_bf16, pick_device, weights_digest


def load(source: str, device: str = "auto", settings: AutomaticSettings | None = None) -> Sam:
    """Load SAM from a hub id, a folder or an official checkpoint.

    Nothing is downloaded unless the environment says ``PARTICLE_NB_DOWNLOAD=1``.

    Parameters
    ----------
    source : str
        ``"facebook/sam-vit-huge"`` (in the local hub cache), a folder with config.json and
        safetensors, or a segment-anything checkpoint (``sam_vit_b_01ec64.pth``); its size
        b, l or h is recognised from its tensors.
    device : str
        ``"auto"``, ``"cpu"``, ``"cuda"`` or ``"mps"``.
    settings : AutomaticSettings or None
        Of the automatic mode.

    Raises
    ------
    ModelError
        If it is not there, damaged, would run code when read, or is no SAM; the message says
        what was looked for, where, and the command that gets it.

    Notes
    -----
    A model rounds as its own home does: official checkpoints as the segment-anything package
    (layer norm epsilon 1e-5 in the decoder, its pixel normalisation), folders and hub ids as
    transformers (1e-6).
    """
    place = pick_device(device)
    model, name, preprocessing = load_weights(source)
    digest = weights_digest(model.state_dict())
    made = Sam(model.to(place), name, digest, preprocessing, settings or AutomaticSettings())
    return replace(made, source=source)


def load_original(source: str, device: str = "auto") -> Any:
    """Load an official checkpoint into the segment-anything package itself.

    Raises
    ------
    ModelError
        If the package or torchvision is missing (with the command that installs them), or the
        checkpoint is not usable.
    """
    from particle_nb.models.sam.original import load_original as load_package

    return load_package(source, device)


@dataclass(frozen=True, eq=False)
class Sam:
    """A loaded Segment Anything model.

    Parameters
    ----------
    model : transformers.SamModel
        In eval mode, on its device.
    name : str
        Hub id, folder or file it came from.
    digest : str
        SHA-256 of its tensors, 16 hex digits; the same for one set of weights in any format.
    preprocessing : Preprocessing
    settings : AutomaticSettings
        Of the automatic mode.
    source : str
        What it was loaded from, whole.
    """

    model: Any = field(repr=False)
    name: str
    digest: str
    preprocessing: Preprocessing
    settings: AutomaticSettings = field(default_factory=AutomaticSettings)
    source: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "decoder", FastDecoder(self.model))
        object.__setattr__(self, "_local", threading.local())

    decoder: FastDecoder = field(init=False, repr=False)
    _local: threading.local = field(init=False, repr=False)

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.decoder.device

    def workspace(self) -> Workspace:
        """Return this thread's buffers."""
        if not hasattr(self._local, "space"):
            self._local.space = Workspace(self.device)
        return self._local.space

    def batch(self) -> tuple[int, int]:
        """Return (prompts decoded together, prompts whose image side is together)."""
        # a CPU keeps one image side in its cache; a GPU wants to be filled
        return (8, 1) if self.device.type == "cpu" else (64, 64)

    def encode(self, image: Image, window: Window | None = None) -> Embedding:
        """Encode an image, or a window of it at full resolution.

        Raises
        ------
        ImageError
            If the window does not lie within the image.
        """
        place = checked_window(window, image.shape)
        x0, y0, x1, y1 = place
        pixels, size = self.preprocessing(to_rgb(image)[y0:y1, x0:x1])
        half = multiplies_bf16(self.device)
        with (
            torch.inference_mode(),
            torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=half),
        ):
            encoded = self.model.get_image_embeddings(pixels.to(self.device))
        with torch.inference_mode():
            tokens = encoded[0].float().flatten(1).t().contiguous()
            shared = self.decoder.share(tokens, self.decoder.no_mask())
        del shared["keys"]  # one addition away from the image's own tokens
        return Embedding(
            model=self.name,
            weights=self.digest,
            image=image.digest,
            shape=image.shape,
            window=place,
            arrays={"image": tokens, **shared},
            meta={"resized": list(size)},
        )

    def frame(self, embedding: Embedding) -> Frame:
        """Return the way from mask logits to the pixels of the embedding's window."""
        x0, y0, x1, y1 = embedding.window
        height, width = embedding.meta["resized"]
        return Frame(
            self.decoder.low, self.preprocessing.side, (int(height), int(width)), (y1 - y0, x1 - x0)
        )

    def shared(self, embedding: Embedding) -> dict[str, torch.Tensor]:
        """Return what all prompts without a sketch share on this embedding."""
        if embedding.weights != self.digest:
            raise ModelError(
                f"the embedding was made by {embedding.model!r} ({embedding.weights}), not by "
                f"{self.name!r} ({self.digest}); encode the image with this model."
            )
        arrays = {k: torch.as_tensor(v, device=self.device) for k, v in embedding.arrays.items()}
        with torch.inference_mode():
            arrays["keys"] = arrays["image"] + self.decoder.no_mask()
        return arrays

    def predict(self, embedding: Embedding, prompt: Prompt) -> MaskSet:
        """Return up to three candidates in the full image's frame, best predicted IoU first.

        Points and box go to SAM as they are. A sketch becomes SAM's mask prompt; since SAM
        hardly follows a mask prompt alone, the sketch's bounding box goes with it unless a box
        is given, and its innermost pixel unless there are points.

        Raises
        ------
        PromptError
            If a part of the prompt lies outside the encoded window.
        ModelError
            If the embedding was made by other weights.
        """
        checked_prompt(prompt, embedding)
        frame, shared, decoder = self.frame(embedding), self.shared(embedding), self.decoder
        x0, y0, x1, y1 = embedding.window
        points, labels, box = list(prompt.points), list(prompt.labels or ()), prompt.box
        with torch.inference_mode():
            if prompt.sketch is not None:
                sketch = prompt.sketch[y0:y1, x0:x1]
                rows, cols = np.flatnonzero(sketch.any(axis=1)), np.flatnonzero(sketch.any(axis=0))
                if box is None:
                    box = (x0 + cols[0], y0 + rows[0], x0 + cols[-1], y0 + rows[-1])
                if not points:
                    points, labels = [innermost(sketch, (x0, y0))], [1]
                logits = torch.as_tensor(sketch_logits(sketch, frame), device=self.device)
                dense = decoder.dense(logits)
                shared = decoder.share(torch.as_tensor(shared["image"]), dense)
            sparse = decoder.sparse(
                self._in_padded_square(np.array(points, float).reshape(1, -1, 2), embedding, frame)
                if points
                else None,
                torch.tensor([labels], device=self.device) if points else None,
                self._in_padded_square(
                    np.array(box, float).reshape(1, 2, 2), embedding, frame
                ).flatten(1)
                if box is not None
                else None,
            )
            iou, tokens, keys = decoder.tokens(shared, sparse, self.workspace())
            low = decoder.masks(tokens, keys, self.workspace())[0].cpu().numpy()
            scores = iou[0, -len(low) :].float().cpu().numpy()
        masks = []
        for index in np.argsort(-scores, kind="stable"):
            crop = frame.crop(low[index], self.settings.stability_score_offset)
            if crop.pixels.any():
                masks.append(
                    Mask(
                        (y0 + crop.row, x0 + crop.col),
                        crop.pixels,
                        embedding.shape,
                        float(scores[index]),
                        crop.stability,
                        grid_px=frame.grid_px,
                    )
                )
        return MaskSet(tuple(masks), embedding.shape)

    def _in_padded_square(self, xy: np.ndarray, embedding: Embedding, frame: Frame) -> torch.Tensor:
        """Full-image pixels (..., 2) -> pixels of the encoder's padded square."""
        height, width = frame.size
        moved = xy - np.array(embedding.window[:2], float)
        scale = [frame.resized[1] / width, frame.resized[0] / height]
        return self.decoder.coordinates(moved * np.array(scale))

    def generate(
        self, image: Image, encode: Encode | None = None, progress: Progress | None = None
    ) -> MaskSet:
        """Automatic mode, see `particle_nb.models.sam.automatic.propose` and `settings`."""
        return propose(self, image, encode, progress)
