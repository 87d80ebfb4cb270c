"""The embedded promptable segmenter behind the `Segmenter` protocol: offline, small, on a CPU."""

from __future__ import annotations

import functools
import hashlib
import json
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor
from torch.nn import functional as F

from particle_nb.core.errors import DataError, ImageError, ModelError, PromptError
from particle_nb.core.image import Image
from particle_nb.core.masks import Mask, MaskSet
from particle_nb.core.prompt import Prompt
from particle_nb.models import Embedding, Encode, Progress, Window
from particle_nb.models.embedded import inference
from particle_nb.models.embedded.automatic_mode import (
    AutomaticSettings,
    Proposal,
    propose,
    resolve,
    trimmed,
)
from particle_nb.models.embedded.inference import Decoded, View
from particle_nb.models.embedded.network import STRIDE, NetworkSettings, PromptableNetwork

WEIGHTS = Path(__file__).with_name("segmenter.safetensors")
#: Pixels of the largest view; a larger window is scaled down, and automatic mode tiles it.
MOST_PIXELS = 1_600_000
#: A window with a shorter long side than this is zoomed up to it.
LEAST_SIDE = 256
TILE, TILE_OVERLAP = 1024, 192


@dataclass(frozen=True, eq=False)
class EmbeddedSegmenter:
    """Encode once, prompt many, with weights that come with the package.

    Parameters
    ----------
    network : PromptableNetwork
    name, digest : str
        Model name and SHA-256 of the weights file, 16 hex digits.
    calibration : (knots, values)
        Piecewise linear map from the raw predicted IoU to the calibrated one.
    automatic : AutomaticSettings
    device : torch.device
    """

    network: PromptableNetwork
    name: str
    digest: str
    calibration: tuple[tuple[float, ...], tuple[float, ...]] = ((0.0, 1.0), (0.0, 1.0))
    automatic: AutomaticSettings = field(default_factory=AutomaticSettings)
    device: torch.device = torch.device("cpu")

    def encode(self, image: Image, window: Window | None = None) -> Embedding:
        """Encode the window of an image (all of it if None).

        Raises
        ------
        ImageError
            If the window does not lie on the image.
        """
        height, width = image.shape
        x0, y0, x1, y1 = (0, 0, width, height) if window is None else (int(v) for v in window)
        if not (0 <= x0 < x1 <= width and 0 <= y0 < y1 <= height):
            raise ImageError(
                f"the window {window} does not lie on the image of {width} x {height} px; "
                "give (x0, y0, x1, y1) with ends exclusive."
            )
        low, middle, high = _percentiles(image)
        part = torch.from_numpy(np.array(image.grey[y0:y1, x0:x1], np.float32)).to(self.device)
        part = ((part - middle) * (2.0 / max(high - low, 1e-6))).clamp(-3.0, 3.0)
        scale = _scale(x1 - x0, y1 - y0)
        size = (max(1, round((y1 - y0) * scale)), max(1, round((x1 - x0) * scale)))
        with torch.inference_mode():
            tensor = part[None, None]
            if size != (y1 - y0, x1 - x0):
                tensor = F.interpolate(
                    tensor, size=size, mode="bilinear", antialias=scale < 1, align_corners=False
                )
            pad = (0, -size[1] % STRIDE, 0, -size[0] % STRIDE)
            tensor = F.pad(tensor, pad, mode="replicate")
            maps = self.network.encode(tensor).float().contiguous()
        return Embedding(
            self.name,
            self.digest,
            image.digest,
            image.shape,
            (x0, y0, x1, y1),
            {"image": tensor, "maps": maps},
            {"scale": scale, "size": list(size)},
        )

    def view(self, embedding: Embedding) -> View:
        """The tensors of an embedding of this model.

        Raises
        ------
        ModelError
            If it was made by another model.
        """
        if (embedding.model, embedding.weights) != (self.name, self.digest):
            raise ModelError(
                f"this embedding was made by {embedding.model} ({embedding.weights}), not by "
                f"{self.name} ({self.digest}); encode the image again."
            )
        tensors = {
            key: torch.as_tensor(np.asarray(value)) if isinstance(value, np.ndarray) else value
            for key, value in embedding.arrays.items()
        }
        height, width = embedding.meta["size"]
        return View(
            tensors["image"].to(self.device).float(),
            tensors["maps"].to(self.device).float(),
            (int(height), int(width)),
            (float(embedding.window[0]), float(embedding.window[1])),
            float(embedding.meta["scale"]),
        )

    def predict(self, embedding: Embedding, prompt: Prompt) -> MaskSet:
        """Up to three candidates for one particle, best predicted IoU first.

        Raises
        ------
        PromptError
            If the prompt lies outside the image or says only what is not meant.
        """
        prompt.check(embedding.shape)
        view = self.view(embedding)
        points = self._points(view, prompt)
        positive = bool((points[:, 2] > 0.5).any())
        if not positive and prompt.box is None and prompt.sketch is None:
            raise PromptError(
                "only negative clicks; add a click on the particle, a box or a sketch."
            )
        with torch.inference_mode():
            if prompt.sketch is not None:
                decoded = self._sketch(view, prompt.sketch, points)
            elif prompt.box is not None:
                x0, y0, x1, y1 = prompt.box
                corners = view.into(np.array([[x0 - 0.5, y0 - 0.5], [x1 + 0.5, y1 + 0.5]]))
                box = torch.from_numpy(corners.reshape(4)).to(view.image)
                decoded = inference.box(self.network, view, box, points)
            else:
                decoded = inference.click(self.network, view, points)
        spots = np.array(
            [p for p, label in zip(prompt.points, prompt.labels or (), strict=True) if label]
        )
        return self._masks(view, decoded, embedding, spots.reshape(-1, 2))

    def generate(
        self, image: Image, encode: Encode | None = None, progress: Progress | None = None
    ) -> MaskSet:
        """Propose every particle of the image; each comes once, better ones first."""
        get = encode or self.encode
        windows = tiles(image.shape)
        total = len(windows)
        found: list[Proposal] = []
        for done, window in enumerate(windows):
            view = self.view(get(image, window))
            edges = window or (0, 0, image.shape[1], image.shape[0])
            with torch.inference_mode():
                part = propose(self.network, view, image.shape, edges, self.automatic)
            if window is not None:
                part = [p for p in part if _whole(p.mask, window)]
            found += part
            if progress is not None:
                progress(done + 1, total)
        found = trimmed(resolve(found, self.automatic))
        masks = [self._calibrated(p.mask) for p in found]
        return MaskSet(tuple(masks), image.shape)

    def _calibrated(self, mask: Mask) -> Mask:
        knots, values = self.calibration
        return mask.replace(predicted_iou=float(np.interp(mask.predicted_iou, knots, values)))

    @staticmethod
    def _points(view: View, prompt: Prompt) -> Tensor:
        if not prompt.points:
            return view.image.new_full((1, 3), -1.0)
        places = view.into(np.array(prompt.points, float))
        labels = np.array(prompt.labels, float)[:, None]
        return torch.from_numpy(np.concatenate([places, labels], 1)).to(view.image)

    def _sketch(self, view: View, drawn: np.ndarray, points: Tensor) -> Decoded:
        rows, columns = np.flatnonzero(drawn.any(1)), np.flatnonzero(drawn.any(0))
        r0, r1, c0, c1 = rows[0], rows[-1] + 1, columns[0], columns[-1] + 1
        corners = view.into(np.array([[c0 - 0.5, r0 - 0.5], [c1 - 0.5, r1 - 0.5]]))
        frame = torch.from_numpy(
            np.concatenate([corners.mean(0), np.maximum(corners[1] - corners[0], 2.0)])
        ).to(view.image)
        part = torch.from_numpy(drawn[r0:r1, c0:c1].copy()).to(self.device)
        return inference.sketch(self.network, view, part, frame, points)

    def _masks(
        self, view: View, decoded: Decoded, embedding: Embedding, spots: np.ndarray
    ) -> MaskSet:
        stability = decoded.stability()
        masks = []
        for index in range(len(decoded.rois)):
            made = inference.pixel_mask(
                decoded.logits[index], decoded.rois[index], view, embedding.window
            )
            if made is None:
                continue
            (row, column), crop = made
            inside = np.round(spots[:, ::-1]).astype(int) - np.array([row, column])
            crop = inference.main_part(crop, inside)
            mask = Mask(
                (row, column),
                crop,
                embedding.shape,
                predicted_iou=float(decoded.score[index]),
                stability_score=float(stability[index]),
            )
            masks.append(self._calibrated(mask))
        masks.sort(key=lambda mask: -mask.predicted_iou)
        return MaskSet(tuple(masks), embedding.shape)


def _scale(width: int, height: int) -> float:
    scale = 1.0
    if width * height > MOST_PIXELS:
        scale = math.sqrt(MOST_PIXELS / (width * height))
    elif max(width, height) < LEAST_SIDE:
        scale = min(LEAST_SIDE / max(width, height), 4.0)
    return scale


def _percentiles(image: Image) -> tuple[float, float, float]:
    grey = image.grey
    step = max(1, int(np.sqrt(grey.size / 250_000)))
    low, middle, high = np.percentile(grey[::step, ::step], (1, 50, 99))
    return float(low), float(middle), float(high)


def tiles(shape: tuple[int, int]) -> list[Window | None]:
    """Windows that automatic mode looks at: the whole image, and tiles where it had to be shrunk.

    >>> tiles((512, 512))
    [None]
    """
    height, width = shape
    if height * width <= MOST_PIXELS:
        return [None]
    starts = []
    for extent in (width, height):
        count = max(1, math.ceil((extent - TILE_OVERLAP) / (TILE - TILE_OVERLAP)))
        last = max(extent - TILE, 0)
        starts.append([round(last * k / max(count - 1, 1)) for k in range(count)])
    return [None] + [
        (x, y, min(x + TILE, width), min(y + TILE, height)) for y in starts[1] for x in starts[0]
    ]


def _whole(mask: Mask, window: Window) -> bool:
    """Whether a mask found in a tile does not end at a cut that the image goes on behind."""
    r0, c0, r1, c1 = mask.bbox
    x0, y0, x1, y1 = window
    return not (
        (r0 <= y0 and y0 > 0)
        or (c0 <= x0 and x0 > 0)
        or (r1 >= y1 and y1 < mask.shape[0])
        or (c1 >= x1 and x1 < mask.shape[1])
    )


def read_weights(path: Path) -> tuple[dict[str, Tensor], dict[str, str], str]:
    """Tensors as float32, metadata and digest of a weights file.

    Raises
    ------
    ModelError
        If the file is missing or is no safetensors file.
    """
    if not path.is_file():
        raise ModelError(
            f"no weights at {path}; reinstall particle-nb, or train them with "
            "`python -m particle_nb.models.embedded.train_segmenter`."
        )
    digest = hashlib.sha256(path.read_bytes()).hexdigest()[:16]
    try:
        with safe_open(str(path), framework="pt") as stream:
            metadata = stream.metadata() or {}
            tensors = {key: stream.get_tensor(key).float() for key in stream.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise ModelError(f"{path} cannot be read as safetensors: {error}") from None
    return tensors, metadata, digest


def load(source: str = "", device: str = "auto") -> EmbeddedSegmenter:
    """Load the segmenter that comes with the package, or another weights file of its kind.

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
    >>> load(device="cpu").name  # doctest: +SKIP
    'pnb-small-1'
    """
    where = _device(device)
    tensors, metadata, digest = read_weights(Path(source) if source else WEIGHTS)
    try:
        settings: dict[str, Any] = json.loads(metadata["settings"])
        network = PromptableNetwork(NetworkSettings(**{k: tuple(v) for k, v in settings.items()}))
        network.load_state_dict(tensors)
        knots, values = json.loads(metadata.get("calibration", "[[0, 1], [0, 1]]"))
        automatic = AutomaticSettings(**json.loads(metadata.get("automatic", "{}")))
    except (KeyError, TypeError, ValueError, RuntimeError, DataError) as error:
        raise ModelError(f"{source or WEIGHTS} holds no weights of this network: {error}") from None
    network.to(where, memory_format=torch.channels_last).eval().requires_grad_(False)
    return EmbeddedSegmenter(
        network,
        metadata.get("name", "pnb-small"),
        digest,
        (tuple(knots), tuple(values)),
        automatic,
        where,
    )


@functools.cache
def _has_cuda() -> bool:
    return torch.cuda.is_available()


def _device(name: str) -> torch.device:
    if name == "auto":
        return torch.device("cuda" if _has_cuda() else "cpu")
    known = {
        "cpu": True,
        "cuda": _has_cuda(),
        "mps": torch.backends.mps.is_available(),
    }
    if not known.get(name.split(":")[0], False):
        raise ModelError(f"no device {name!r} here; use device='auto' or 'cpu'.")
    return torch.device(name)
