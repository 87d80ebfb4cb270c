"""Segment Anything's mask decoder on a user's own masks; its image encoder stays as it is."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from particle_nb.models.own import KIND
from particle_nb.models.pixels import to_rgb
from particle_nb.models.sam.prompts import resized
from particle_nb.models.sam.sam import Sam
from particle_nb.models.sam.tuned import DECODER, parsed, with_decoder
from particle_nb.models.tuning.lessons import Lesson
from particle_nb.models.tuning.scoring import LEAST_AREA
from particle_nb.models.tuning.settings import TuneSettings
from particle_nb.models.weights import file_digest, packed

#: The decoder is small and well trained: it takes this share of the learning rate.
SLOWER = 0.125
#: Weights are averaged over about 1 / (1 - AVERAGE) steps.
AVERAGE = 0.97


@dataclass(frozen=True, eq=False)
class EncodedLesson:
    """What the frozen encoder says of an image (1, C, h, w), the labels (low, low) in the frame of
    the mask logits, and boxes (N, 4) x0, y0, x1, y1 in pixels of the encoder's square."""

    embedding: Tensor
    labels: np.ndarray
    full: np.ndarray
    numbers: np.ndarray
    boxes: np.ndarray
    scale: float

    @classmethod
    def of(cls, base: Sam, lesson: Lesson) -> EncodedLesson:
        """Encode an annotated image once."""
        side, low = base.preprocessing.side, base.decoder.low
        full = lesson.labels
        pixels, _ = base.preprocessing(to_rgb(lesson.image))
        with torch.no_grad():
            embedding = base.model.get_image_embeddings(pixels.to(base.device)).float()
        height, width = full.shape
        tall, wide = resized((height, width), side)
        at = (np.arange(low) + 0.5) * side / low
        rows = np.floor(at * height / tall).astype(int)
        columns = np.floor(at * width / wide).astype(int)
        inside = (rows < height)[:, None] & (columns < width)[None]
        labels = full[np.ix_(rows.clip(0, height - 1), columns.clip(0, width - 1))]
        labels = np.where(inside, labels, 0)
        seen = np.unique(labels)
        areas = np.bincount(full.ravel())
        numbers = np.array([n for n in seen if n and areas[n] >= LEAST_AREA], int)
        scale = wide / width
        boxes = [np.array(lesson.masks[n - 1].bbox, float)[[1, 0, 3, 2]] * scale for n in numbers]
        return cls(embedding, labels, full, numbers, np.array(boxes).reshape(-1, 4), scale)


class SamLearner:
    """A copy of SAM's mask decoder while it learns.

    Parameters
    ----------
    base : Sam
    lessons : sequence of Lesson
    settings : TuneSettings
    """

    def __init__(self, base: Sam, lessons: Sequence[Lesson], settings: TuneSettings) -> None:
        self.base, self.settings = base, settings
        self.rng = np.random.default_rng([settings.seed, 4])
        encoded = [EncodedLesson.of(base, lesson.small(1024)) for lesson in lessons]
        self.lessons = [lesson for lesson in encoded if len(lesson.numbers)]
        self.model = with_decoder(base.model, copy.deepcopy(base.model.mask_decoder))
        self.model.mask_decoder.requires_grad_(True)
        self.average = copy.deepcopy(base.model.mask_decoder)
        self.optimiser = torch.optim.AdamW(
            self.model.mask_decoder.parameters(), settings.rate * SLOWER, weight_decay=0.01
        )
        self.steps = 0

    def step(self, progress: float) -> float:
        """One step of descent, `progress` from 0 to 1 of the whole; returns the loss."""
        rate = self.settings.rate * SLOWER * (0.05 + 0.95 * 0.5 * (1 + np.cos(np.pi * progress)))
        for group in self.optimiser.param_groups:
            group["lr"] = rate * min(1.0, (self.steps + 1) / 15)
        lesson = self.lessons[self.rng.integers(len(self.lessons))]
        count = min(2 * self.settings.prompts, len(lesson.numbers))
        chosen = self.rng.choice(len(lesson.numbers), count, replace=False)
        answer = self.model(
            image_embeddings=lesson.embedding,
            multimask_output=True,
            **self._prompts(lesson, chosen),
        )
        truth = np.stack([lesson.labels == lesson.numbers[k] for k in chosen])
        target = torch.from_numpy(truth).to(lesson.embedding)
        loss = best_of_three(answer.pred_masks[0], answer.iou_scores[0], target)
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.model.mask_decoder.parameters(), 1.0)
        self.optimiser.step()
        self.steps += 1
        decay = min(AVERAGE, self.steps / (self.steps + 9.0))
        with torch.no_grad():
            now = self.model.mask_decoder.parameters()
            for mean, value in zip(self.average.parameters(), now, strict=True):
                mean.lerp_(value, 1.0 - decay)
        return float(loss.detach())

    def _prompts(self, lesson: EncodedLesson, chosen: np.ndarray) -> dict[str, Tensor]:
        """Clicks inside particles, or boxes around them with a hand's error."""
        boxes = lesson.boxes[chosen]
        if self.rng.random() < 0.4:
            extent = np.tile(boxes[:, 2:] - boxes[:, :2], 2)
            noisy = boxes + self.rng.uniform(-0.1, 0.1, boxes.shape) * extent
            return {"input_boxes": torch.from_numpy(noisy)[None].to(lesson.embedding)}
        points = []
        for number in lesson.numbers[chosen]:
            rows, columns = np.nonzero(lesson.full == number)
            at = self.rng.integers(len(rows))
            points.append([columns[at] * lesson.scale, rows[at] * lesson.scale])
        spots = torch.tensor(points, dtype=torch.float32)[None, :, None]
        labels = torch.ones(spots.shape[:3], dtype=torch.int64)
        device = lesson.embedding.device
        return {"input_points": spots.to(device), "input_labels": labels.to(device)}

    def segmenter(self) -> Sam:
        """The averaged decoder behind the encoder as it was."""
        decoder = copy.deepcopy(self.average).eval().requires_grad_(False)
        return replace(self.base, model=with_decoder(self.base.model, decoder))

    def finished(self, going: Callable[[], bool] = lambda: True) -> Sam:
        """The same; SAM has no judges."""
        return self.segmenter()

    def variants(self, made: Sam) -> list[tuple[float, Sam]]:
        """This alone."""
        return [(1.0, made)]

    def packed(self, made: Any, about: dict[str, Any]) -> tuple[Any, bytes]:
        """A segmenter as its file will give it, and the bytes of that file."""
        name = self.base.name
        if about["kept"]:
            given = json.dumps([one["masks"] for one in about["annotations"]])
            name = f"{name.partition('+')[0]}+{file_digest(given.encode())[:6]}"
        tensors = {DECODER + k: v for k, v in made.model.mask_decoder.state_dict().items()}
        data = packed(
            tensors,
            {
                KIND: "sam",
                "name": name,
                "base": self.base.source or self.base.name,
                "base_digest": self.base.digest,
                "parentage": about,
            },
        )
        return parsed(data, "the tuned weights", self.base), data


def best_of_three(logits: Tensor, quality: Tensor, truth: Tensor) -> Tensor:
    """Loss of three masks (N, 3, H, W) with predicted IoUs (N, 3) against truth (N, H, W): only
    the best of each three learns its mask, all learn their IoU."""
    wide = truth[:, None].expand_as(logits)
    probability = torch.sigmoid(logits)
    cross = F.binary_cross_entropy_with_logits(logits, wide, reduction="none")
    focal = (cross * (probability - wide).abs() ** 2).mean((2, 3))
    inter = (probability * wide).sum((2, 3))
    dice = 1.0 - (2.0 * inter + 1.0) / (probability.sum((2, 3)) + wide.sum((2, 3)) + 1.0)
    losses = 20.0 * focal + dice
    with torch.no_grad():
        mask = (logits > 0).float()
        both = (mask * wide).sum((2, 3))
        real = both / (mask.sum((2, 3)) + wide.sum((2, 3)) - both).clamp(min=1.0)
    return losses.amin(1).mean() + F.mse_loss(quality, real)
