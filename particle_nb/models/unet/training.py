"""Training a UNet++ from scratch: patches, variation and weight maps of Bals and Epple."""

from __future__ import annotations

import datetime
import threading
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from particle_nb.core.errors import DataError
from particle_nb.models.tuning.crops import normalise
from particle_nb.models.tuning.lessons import Lesson, read_lessons
from particle_nb.models.unet.network import NestedUnet
from particle_nb.models.unet.segmenter import Unet, parsed, unet_file
from particle_nb.models.unet.settings import MOST_WEIGHTS, UnetSettings
from particle_nb.models.unet.weight_maps import parted_foreground, weight_map
from particle_nb.models.weights import pick_device
from particle_nb.progress import progress_bar

#: Kinds of weight maps: none, distances alone (SE), and distances and intensity (STEM).
WEIGHTS = ("none", "distance", "intensity")


@dataclass(frozen=True, eq=False)
class Planes:
    """Grey values, foreground and weights of an image, float32 (3, H, W)."""

    values: Tensor

    @classmethod
    def of(cls, lesson: Lesson, weights: str, settings: UnetSettings) -> Planes:
        """Those of an annotated image."""
        labels, grey = lesson.labels, lesson.grey
        if weights == "none":
            weighed = np.ones(labels.shape, np.float32)
        else:
            gamma = settings.gamma if weights == "intensity" else 0.0
            weighed = weight_map(labels, grey, settings.w0, settings.sigma, gamma)
        truth = parted_foreground(labels).astype(np.float32)
        return cls(torch.from_numpy(np.stack([normalise(grey), truth, weighed])))

    def patch(self, settings: UnetSettings, rng: np.random.Generator) -> Tensor:
        """A random patch (3, S, S): turned, flipped, sheared, zoomed, and of other intensity."""
        side, vary = settings.patch, settings.vary
        _, height, width = self.values.shape
        angle = rng.uniform(0, 2 * np.pi)
        cos, sin = np.cos(angle), np.sin(angle)
        zoom = np.exp(rng.uniform(-1, 1) * np.log1p(vary))
        shear = np.array([[1.0, rng.uniform(-vary, vary)], [0.0, 1.0]])
        flip = np.diag([1.0 if rng.random() < 0.5 else -1.0, 1.0])
        matrix = np.array([[cos, -sin], [sin, cos]]) @ shear @ flip / zoom
        half = 0.5 * side / zoom
        centre = [
            rng.uniform(min(half, extent / 2), max(extent - half, extent / 2))
            for extent in (width, height)
        ]
        size = np.array([width, height], float)
        theta = np.empty((2, 3), np.float32)
        theta[:, :2] = matrix * side / size[:, None]
        theta[:, 2] = 2.0 * np.array(centre) / size - 1.0
        shape = [1, 1, side, side]
        grid = F.affine_grid(torch.from_numpy(theta)[None], shape, align_corners=False)
        out = F.grid_sample(
            self.values[None], grid, padding_mode="reflection", align_corners=False
        )[0]
        grey = out[0] * float(np.exp(rng.uniform(-1, 1) * np.log1p(vary))) + float(
            rng.uniform(-vary, vary)
        )
        return torch.stack([grey, (out[1] > 0.5).float(), out[2]])


def patch_loss(logits: Tensor, truth: Tensor, weights: Tensor) -> Tensor:
    """Weighted cross-entropy of logits (B, H, W), over the weights' sum."""
    cross = F.binary_cross_entropy_with_logits(logits, truth, reduction="none")
    return (weights * cross).sum() / weights.sum()


def train_unet(
    images: Any,
    masks: Any,
    weights: str = "distance",
    *,
    settings: UnetSettings | None = None,
    progress: bool = True,
    stop: threading.Event | None = None,
) -> Unet:
    """Train a UNet++ of your own from scratch on annotated images.

    It learns from nothing but these images: ten to thirty are needed, and it knows no others.
    Interrupted, it returns what it has learned so far.

    Parameters
    ----------
    images : list of Image, path or array (H, W)
    masks : list of MaskSet or integer label image (H, W)
        All particles of each image: what is not marked counts as ground.
    weights : str
        Weight maps of the loss: ``"distance"`` (the paper's choice for SE images),
        ``"intensity"`` (distance and intensity, its choice for STEM), or ``"none"``.
    settings : UnetSettings or None
    progress : bool
    stop : threading.Event or None
        Ends the training early when it is set.

    Returns
    -------
    Unet
        A segmenter: ``Session(segmenter=net)``; ``net.save("mine.safetensors")``.

    Raises
    ------
    DataError
        If images and masks do not go together, nothing is marked, or the network would have two
        million weights or more.

    References
    ----------
    Bals and Epple 2023, doi:10.1039/d2ra07812k.

    Examples
    --------
    >>> grey = np.zeros((64, 64), np.uint8); grey[20:40, 20:40] = 200
    >>> few = UnetSettings(steps=2, patch=32, widths=(8, 8))
    >>> train_unet([grey], [(grey > 0).astype(int)], settings=few, progress=False).name
    'unet++-distance'
    """
    settings = settings or UnetSettings()
    if not isinstance(settings, UnetSettings):
        raise DataError(f"settings are UnetSettings, not {type(settings).__name__}.")
    if weights not in WEIGHTS:
        raise DataError(f"weights is one of {', '.join(WEIGHTS)}, not {weights!r}.")
    if stop is not None and not isinstance(stop, threading.Event):
        raise DataError(f"stop is a threading.Event, not {type(stop).__name__}.")
    lessons = read_lessons(_pairs(images, masks))
    torch.manual_seed(settings.seed)
    network = NestedUnet(settings.widths)
    if network.count >= MOST_WEIGHTS:
        raise DataError(
            f"widths {settings.widths} make {network.count:,} weights, {MOST_WEIGHTS:,} are "
            "allowed; take smaller ones."
        )
    log = _descend(network, lessons, weights, settings, progress, stop)
    date = datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M")
    count = sum(len(lesson.masks) for lesson in lessons)
    about = (
        f"UNet++ trained from scratch on {len(lessons)} images, {count} particles, {date}; "
        f"weight maps: {weights}"
    )
    data = unet_file(
        network,
        {
            "settings": asdict(settings),
            "weights": weights,
            "about": about,
            "log": log,
            "annotations": [lesson.facts for lesson in lessons],
            "date": date,
        },
    )
    return parsed(data, "the trained weights", pick_device("cpu"))


def _pairs(images: Any, masks: Any) -> list[tuple[Any, Any]]:
    for what, given in (("images", images), ("masks", masks)):
        if not isinstance(given, Sequence) or isinstance(given, (str, bytes)):
            raise DataError(f"{what} are a list, one entry an image, not {type(given).__name__}.")
    if len(images) != len(masks):
        raise DataError(f"there are {len(images)} images and masks of {len(masks)}.")
    return list(zip(images, masks, strict=True))


def _descend(
    network: NestedUnet,
    lessons: Sequence[Lesson],
    weights: str,
    settings: UnetSettings,
    show: bool,
    stop: threading.Event | None,
) -> list[tuple[int, float]]:
    """Train in place; returns (step, mean loss) now and then."""
    rng = np.random.default_rng(settings.seed)
    planes = [Planes.of(lesson, weights, settings) for lesson in lessons]
    sizes = np.array([item.values[0].numel() for item in planes], float)
    share = sizes / sizes.sum()  # larger images give more patches
    optimiser = torch.optim.Adam(network.parameters(), settings.rate)
    begin, log, losses = time.monotonic(), [], []
    network.train()
    with progress_bar("training", settings.steps, show=show, keep=True) as bar:
        try:
            for step in range(settings.steps):
                spent = (time.monotonic() - begin) / (60.0 * settings.minutes)
                if spent >= 1.0 or (stop is not None and stop.is_set()):
                    break
                done = max(spent, step / settings.steps)
                for group in optimiser.param_groups:
                    group["lr"] = settings.rate * (0.02 + 0.98 * 0.5 * (1 + np.cos(np.pi * done)))
                patch = planes[rng.choice(len(planes), p=share)].patch(settings, rng)
                loss = patch_loss(network(patch[None, :1]), patch[None, 1], patch[None, 2])
                optimiser.zero_grad(set_to_none=True)
                loss.backward()
                optimiser.step()
                losses.append(float(loss.detach()))
                if step % 20 == 19:
                    log.append((step + 1, round(float(np.mean(losses[-20:])), 4)))
                    bar.set_description(f"training, loss {log[-1][1]:.3f}", refresh=False)
                bar.update(1)
        except KeyboardInterrupt:
            pass
    return log
