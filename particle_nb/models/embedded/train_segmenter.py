"""Train the embedded segmenter from scratch.

    python -m particle_nb.models.embedded.train_segmenter --data DIR --minutes 120 --out RUN --resume

DIR holds images/<name>.png and 16-bit label maps labels/<name>.png (the layout of EMPS). A sixth
of the images, chosen by a hash of the file name, is never trained on. The run can be killed at any
time and goes on from its last checkpoint with --resume; the schedule follows the minutes trained.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import signal
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor
from torch.nn import functional as F

from particle_nb.models.embedded.network import (
    FEATURES,
    MASK,
    NetworkSettings,
    PromptableNetwork,
    RoiPrompts,
    box_rois,
    dense_sides,
    mask_boxes,
    point_boxes,
    resample_masks,
    sample_rois,
)
from particle_nb.models.embedded.training_data import (
    Batch,
    Scene,
    make_batch,
    read_scenes,
    read_synthetic,
)

log = logging.getLogger("particle_nb.train_segmenter")

BANK = (16.0, 28.0, 50.0, 90.0, 162.0, 290.0)
POINTS = 4
NAN = float("nan")


@dataclass(frozen=True)
class TrainSettings:
    """What a run depends on besides the data; stored with the checkpoint."""

    seed: int = 20261121
    rate: float = 1.5e-3
    least_rate: float = 2e-5
    weight_decay: float = 0.02
    warmup: int = 60
    clip: float = 4.0
    ema: float = 0.998
    crops: int = 8
    side: int = 256
    rois: int = 6
    again: int = 3
    large_crops: int = 4
    large_side: int = 384
    large_share: float = 0.3
    synthetic_share: float = 0.4
    background: float = 0.24
    box: float = 0.30


@dataclass(frozen=True, eq=False)
class Sampled:
    """Prompts of a batch on the host: what to decode and which particle is meant (0 is none)."""

    rois: np.ndarray
    points: np.ndarray
    boxes: np.ndarray
    target: np.ndarray
    dense: np.ndarray
    sketch: np.ndarray


def _pixel(mask: np.ndarray, rng: np.random.Generator) -> tuple[float, float] | None:
    flat = np.flatnonzero(mask)
    if not len(flat):
        return None
    row, column = divmod(int(flat[rng.integers(len(flat))]), mask.shape[1])
    return float(column), float(row)


def sample_prompts(
    batch: Batch,
    objectness: np.ndarray,
    settings: TrainSettings,
    count: int,
    rng: np.random.Generator,
) -> Sampled:
    """Boxes, clicks and background clicks on the particles of every crop."""
    crops, side = batch.host_labels.shape[:2]
    rois = np.zeros((crops, count, 4), np.float32)
    points = np.full((crops, count, POINTS, 3), -1.0, np.float32)
    boxes = np.full((crops, count, 4), NAN, np.float32)
    target = np.zeros((crops, count), np.int64)
    dense = np.zeros((crops, count), bool)
    sketch = np.zeros((crops, count), bool)
    for b in range(crops):
        labels, centre = batch.host_labels[b], batch.host_centre[b]
        able = np.flatnonzero(batch.areas[b] >= 12) + 1
        for n in range(count):
            draw = rng.random()
            if not len(able) or draw < settings.background:
                _background(b, n, labels, objectness[b], points, rng)
                x, y = points[b, n, 0, :2]
                extent = BANK[rng.integers(len(BANK))] * np.exp(rng.uniform(-0.25, 0.25))
                rois[b, n] = (x, y, extent, extent)
                dense[b, n] = rng.random() < 0.4
                continue
            label = int(able[rng.integers(len(able))])
            target[b, n] = label
            box = batch.boxes[b][label - 1]
            extent = box[2:] - box[:2]
            if draw < settings.background + settings.box:
                jitter = 0.0 if rng.random() < 0.25 else 0.15
                noisy = box + rng.uniform(-jitter, jitter, 4).astype(np.float32) * np.tile(
                    extent, 2
                )
                boxes[b, n] = noisy
                size = np.maximum(
                    (noisy[2:] - noisy[:2]) * 1.4 * np.exp(rng.uniform(-0.1, 0.1)), 12.0
                )
                size = np.maximum(size, 0.25 * size.max())
                rois[b, n] = (*(0.5 * (noisy[:2] + noisy[2:])), *size)
                if rng.random() < 0.85:
                    continue
            own = labels == label
            middle = own & (centre > (0.7 if rng.random() < 0.6 else 0.12))
            spot = _pixel(middle, rng) or _pixel(own, rng)
            if spot is None:
                continue
            points[b, n, 0] = (*spot, 1.0)
            if rng.random() < 0.15:
                near = ndistance_window(labels, box, 0.4)
                other = _pixel(near != label, rng) if near.size else None
                if other is not None:
                    offset = window_origin(labels, box, 0.4)
                    points[b, n, 1] = (other[0] + offset[0], other[1] + offset[1], 0.0)
            if np.isfinite(boxes[b, n, 0]):
                continue
            if rng.random() < 0.08:
                sketch[b, n] = True
                if rng.random() < 0.5:
                    points[b, n] = -1.0
                size = np.maximum(extent * rng.uniform(1.2, 1.7), 12.0)
                rois[b, n] = (*(0.5 * (box[:2] + box[2:])), *np.maximum(size, 0.25 * size.max()))
                continue
            longest = float(extent.max())
            kind = rng.random()
            if kind < 0.5:
                size = longest * np.exp(rng.uniform(np.log(0.8), np.log(3.2)))
            elif kind < 0.75:
                nearest = int(np.argmin(np.abs(np.log(np.array(BANK) / (1.6 * longest)))))
                size = BANK[int(np.clip(nearest + rng.integers(-2, 3), 0, len(BANK) - 1))]
            else:
                size = 1.6 * longest
                dense[b, n] = True
            size = float(np.clip(size, 12.0, 1.6 * side))
            shift = rng.normal(0, 0.12, 2) * size if rng.random() < 0.2 else np.zeros(2)
            rois[b, n] = (spot[0] + shift[0], spot[1] + shift[1], size, size)
    return Sampled(rois, points, boxes, target, dense, sketch)


def window_origin(labels: np.ndarray, box: np.ndarray, margin: float) -> tuple[int, int]:
    """First column and row of the box widened by a margin."""
    extent = box[2:] - box[:2]
    return (
        max(int(box[0] - margin * extent[0]), 0),
        max(int(box[1] - margin * extent[1]), 0),
    )


def ndistance_window(labels: np.ndarray, box: np.ndarray, margin: float) -> np.ndarray:
    """The labels in the box widened by a margin."""
    extent = box[2:] - box[:2]
    left, top = window_origin(labels, box, margin)
    return labels[
        top : int(box[3] + margin * extent[1]) + 1, left : int(box[2] + margin * extent[0]) + 1
    ]


def _background(
    b: int,
    n: int,
    labels: np.ndarray,
    objectness: np.ndarray,
    points: np.ndarray,
    rng: np.random.Generator,
) -> None:
    """A click that means no particle: anywhere, in a gap, or where the model believes in one."""
    empty = labels == 0
    kind = rng.random()
    spot = None
    if kind < 0.45:
        likely = np.where(empty[::2, ::2], objectness, 0.0) ** 2
        cumulative = np.cumsum(likely.ravel())
        if cumulative[-1] > 1e-6:
            index = int(np.searchsorted(cumulative, rng.random() * cumulative[-1]))
            row, column = divmod(min(index, likely.size - 1), likely.shape[1])
            spot = (2.0 * column, 2.0 * row)
    elif kind < 0.8:
        # Gaps: background with particles on opposite sides within a few pixels.
        reach = int(rng.integers(3, 12))
        solid = ~empty
        gap = empty.copy()
        across = np.zeros_like(empty)
        across[:, reach:-reach] = solid[:, : -2 * reach] & solid[:, 2 * reach :]
        down = np.zeros_like(empty)
        down[reach:-reach] = solid[: -2 * reach] & solid[2 * reach :]
        spot = _pixel(gap & (across | down), rng)
    if spot is None:
        spot = _pixel(empty, rng) or (0.0, 0.0)
    points[b, n, 0] = (*spot, 1.0)


def dense_loss(raw: Tensor, batch: Batch) -> dict[str, Tensor]:
    """Losses of the dense maps (B, 8, H/2, W/2) against a batch's targets."""
    foreground, boundary, centre, radius = raw[:, 0:1], raw[:, 1:2], raw[:, 2:3], raw[:, 3:4]
    out = {"foreground": 2.0 * F.binary_cross_entropy_with_logits(foreground, batch.foreground)}
    out["boundary"] = F.binary_cross_entropy_with_logits(
        boundary, batch.boundary, pos_weight=raw.new_tensor(3.0)
    )
    truth = F.avg_pool2d(batch.centre[:, None], 2)
    # Cross-entropy less that of a perfect answer: squared errors stay at the mean for long.
    sure = F.binary_cross_entropy(truth, truth)
    out["centre"] = 3.0 * (F.binary_cross_entropy_with_logits(centre, truth) - sure)
    solid = (batch.labels[:, None, ::2, ::2] > 0).float()
    total = solid.sum().clamp(min=1.0)
    out["radius"] = (
        0.6
        * (F.smooth_l1_loss(radius, batch.radius, reduction="none", beta=0.2) * solid).sum()
        / total
    )
    weight = solid * (0.1 + truth)
    weight_total = weight.sum().clamp(min=1.0)
    sides = dense_sides(raw[:, 4:8])
    real = batch.sides.clamp(min=0.25)
    logs = F.smooth_l1_loss(torch.log(sides), torch.log(real), reduction="none", beta=0.2)
    inter = (torch.minimum(sides[:, 0], real[:, 0]) + torch.minimum(sides[:, 2], real[:, 2])) * (
        torch.minimum(sides[:, 1], real[:, 1]) + torch.minimum(sides[:, 3], real[:, 3])
    )
    area = (sides[:, 0] + sides[:, 2]) * (sides[:, 1] + sides[:, 3])
    area_real = (real[:, 0] + real[:, 2]) * (real[:, 1] + real[:, 3])
    overlap = inter / (area + area_real - inter).clamp(min=1.0)
    out["sides"] = (0.5 * logs.mean(1, keepdim=True) * weight).sum() / weight_total
    out["boxes"] = 0.6 * ((1.0 - overlap)[:, None] * weight).sum() / weight_total
    return out


@dataclass(frozen=True, eq=False)
class RoiTruth:
    """Truth on decoded ROIs, flat over T: soft masks (T, MASK, MASK), areas in px^2, presence."""

    mask: Tensor
    area: Tensor
    present: Tensor


def roi_truth(labels: Tensor, rois: Tensor, target: Tensor, areas: Tensor) -> RoiTruth:
    """Sample what the target particles look like on ROIs (B, n, 4)."""
    batch, count = rois.shape[:2]
    size = (labels.shape[1], labels.shape[2])
    masks = []
    for b in range(batch):  # one image at a time keeps the (n, H, W) stack small
        own = (labels[b][None] == target[b][:, None, None]) & (target[b] > 0)[:, None, None]
        masks.append(sample_rois(own[:, None].float(), rois[b][:, None], MASK, size)[:, 0])
    return RoiTruth(torch.cat(masks), areas.flatten(), (target > 0).flatten())


def true_iou(logits: Tensor, rois: Tensor, truth: RoiTruth) -> Tensor:
    """IoU (T,) of the masks logits > 0 with the truth, counting truth outside the ROI."""
    cell = rois[:, 2] * rois[:, 3] / (MASK * MASK)
    mask = (logits > 0).float()
    inter = (mask * truth.mask).sum((1, 2)) * cell
    union = mask.sum((1, 2)) * cell + torch.maximum(truth.area, inter) - inter
    return torch.where(truth.present, inter / union.clamp(min=1e-3), torch.zeros_like(inter)).clamp(
        0, 1
    )


def roi_loss(
    logits: Tensor, quality: Tensor, rois: Tensor, truth: RoiTruth
) -> tuple[dict[str, Tensor], Tensor]:
    """Mask and predicted-IoU losses over flat ROIs; also the true IoU."""
    cross = F.binary_cross_entropy_with_logits(logits, truth.mask, reduction="none").mean((1, 2))
    probability = torch.sigmoid(logits)
    inter = (probability * truth.mask).sum((1, 2))
    dice = 1.0 - (2.0 * inter + 20.0) / (probability.sum((1, 2)) + truth.mask.sum((1, 2)) + 20.0)
    present = truth.present.float()
    with torch.no_grad():
        real = true_iou(logits, rois, truth)
    score = F.binary_cross_entropy_with_logits(quality, real)
    return {
        "mask": 2.0 * cross.mean(),
        "dice": (dice * present).sum() / present.sum().clamp(min=1.0),
        "quality": score,
    }, real


def rough_sketch(truth: Tensor, generator: torch.Generator) -> Tensor:
    """What a hand draws for masks (T, MASK, MASK): the coarse shape, wobbly and shifted."""
    coarse = F.avg_pool2d(truth[:, None], 8)
    coarse = coarse + 0.25 * torch.randn(coarse.shape, generator=generator, device=truth.device)
    smooth = F.interpolate(coarse, size=truth.shape[1:], mode="bilinear", align_corners=False)[:, 0]
    return (smooth > 0.45).float()


def correct(
    logits: Tensor, rois: Tensor, truth: RoiTruth, points: Tensor, generator: torch.Generator
) -> Tensor:
    """Points (T, POINTS, 3) with one more click in the larger error region, where there is one."""
    mask = (logits > 0).float()
    missed = truth.mask * (1 - mask)
    false = (1 - truth.mask) * mask
    missing = missed.sum((1, 2)) >= false.sum((1, 2))
    error = torch.where(missing[:, None, None], missed, false)
    # The middle of a thick error region, as a person would click; noise breaks ties.
    depth = error
    for _ in range(3):
        depth = F.avg_pool2d(depth[:, None], 7, 1, 3, count_include_pad=True)[:, 0] * error
    depth = depth * (1.0 + 0.3 * torch.rand(depth.shape, generator=generator, device=depth.device))
    best, index = depth.flatten(1).max(1)
    samples = logits.shape[-1]
    x = rois[:, 0] + rois[:, 2] * ((index % samples + 0.5) / samples - 0.5)
    y = rois[:, 1] + rois[:, 3] * (
        (index.div(samples, rounding_mode="floor") + 0.5) / samples - 0.5
    )
    new = torch.stack([x, y, missing.float()], 1)
    used = points[..., 2] > -0.5
    slot = used.sum(1).clamp(max=points.shape[1] - 1)
    out = points.clone()
    rows = torch.arange(len(points), device=points.device)
    keep = (best > 0) & (used.sum(1) < points.shape[1])
    out[rows[keep], slot[keep]] = new[keep]
    return out


def widened(boxes: Tensor, points: Tensor) -> Tensor:
    """Boxes (T, 4) enlarged to hold their positive clicks (T, K, 3)."""
    positive = points[..., 2:] > 0.5
    low = torch.where(positive, points[..., :2], torch.inf).amin(1)
    high = torch.where(positive, points[..., :2], -torch.inf).amax(1)
    return torch.cat([torch.minimum(boxes[:, :2], low), torch.maximum(boxes[:, 2:], high)], 1)


class Trainer:
    """One process of a run: data, network, optimiser, checkpoint."""

    def __init__(
        self, args: argparse.Namespace, settings: TrainSettings, rank: int, world: int
    ) -> None:
        self.args, self.settings, self.rank, self.world = args, settings, rank, world
        self.device = torch.device(
            ("cuda" if torch.cuda.is_available() else "cpu")
            if args.device == "auto"
            else args.device
        )
        torch.manual_seed(settings.seed)
        self.network = PromptableNetwork(NetworkSettings())
        self.network.to(self.device, memory_format=torch.channels_last)
        self.average = {k: v.detach().clone() for k, v in self.network.state_dict().items()}
        decay = [p for p in self.network.parameters() if p.ndim > 1]
        plain = [p for p in self.network.parameters() if p.ndim <= 1]
        self.optimiser = torch.optim.AdamW(
            [
                {"params": decay, "weight_decay": settings.weight_decay},
                {"params": plain, "weight_decay": 0.0},
            ],
            lr=settings.rate,
            betas=(0.9, 0.99),
        )
        self.step, self.minutes, self.stop = 0, 0.0, False
        self.rng = np.random.default_rng([settings.seed, rank])
        self.generator = torch.Generator(self.device).manual_seed(settings.seed + rank)
        self.out = Path(args.out)
        self.checkpoint = self.out / "checkpoint.pt"
        if args.resume and self.checkpoint.exists():
            self._resume()
        self.scenes = read_scenes(Path(args.data), False, self.device, args.limit)
        self.validation = [] if rank else read_scenes(Path(args.data), True, self.device)
        self.weights = self._weights(self.scenes)
        self.synthetic: list[Scene] = []
        if args.synthetic and Path(args.synthetic).is_dir():
            self.synthetic = read_synthetic(Path(args.synthetic), self.device)
            self.synthetic_weights = self._weights(self.synthetic)
        if not self.scenes:
            raise SystemExit(f"no training images in {args.data}/images")

    @staticmethod
    def _weights(scenes: list[Scene]) -> np.ndarray:
        weights = np.array([max(scene.count, 1) ** 0.25 for scene in scenes])
        return weights / weights.sum()

    def _resume(self) -> None:
        state = torch.load(self.checkpoint, map_location=self.device, weights_only=True)
        self.network.load_state_dict(state["network"])
        self.average = state["average"]
        self.optimiser.load_state_dict(state["optimiser"])
        self.step, self.minutes = state["step"], state["minutes"]
        # A fresh stream for every resumption, never the crops of the first minutes again.
        self.rng = np.random.default_rng([self.settings.seed, self.rank, self.step])
        self.generator.manual_seed(self.settings.seed + self.rank + 7919 * self.step)

    def save(self) -> None:
        """Write the checkpoint so that a kill at any moment leaves a whole one."""
        if self.rank:
            return
        state = {
            "network": self.network.state_dict(),
            "average": self.average,
            "optimiser": self.optimiser.state_dict(),
            "step": self.step,
            "minutes": self.minutes,
            "settings": asdict(self.settings),
            "synthetic": len(self.synthetic),
        }
        part = self.checkpoint.with_suffix(".part")
        torch.save(state, part)
        os.replace(part, self.checkpoint)

    def _stop(self, *_: object) -> None:
        self.stop = True

    def record(self, entry: dict[str, Any]) -> None:
        """One line of the JSON-lines log."""
        with (self.out / "log.jsonl").open("a") as stream:
            stream.write(
                json.dumps({"step": self.step, "minutes": round(self.minutes, 3), **entry}) + "\n"
            )

    def losses(self) -> tuple[Tensor, dict[str, float]]:
        """One batch through both rounds."""
        settings = self.settings
        large = self.step > 500 and self.rng.random() < settings.large_share
        # Processes share a step's crops between them.
        crops, side = (
            (settings.large_crops, settings.large_side)
            if large
            else (settings.crops, settings.side)
        )
        crops = max(1, crops // self.world)
        count = settings.rois * 2 if large else settings.rois
        again = settings.again * 2 if large else settings.again
        synthetic = bool(self.synthetic) and self.rng.random() < settings.synthetic_share
        scenes, weights = (
            (self.synthetic, self.synthetic_weights) if synthetic else (self.scenes, self.weights)
        )
        batch = make_batch(scenes, weights, crops, side, self.rng, self.generator)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.device.type == "cuda"):
            maps = self.network.encode(batch.image)
        maps = maps.float()
        parts = dense_loss(maps[:, FEATURES:], batch)
        with torch.no_grad():
            raw = maps[:, FEATURES:].detach()
            objectness = (torch.sigmoid(raw[:, 0]) * torch.sigmoid(raw[:, 2])).cpu().numpy()
        sampled = sample_prompts(batch, objectness, settings, count, self.rng)
        to = lambda array: torch.from_numpy(array).to(self.device)  # noqa: E731
        rois, points, boxes, target = map(
            to, (sampled.rois, sampled.points, sampled.boxes, sampled.target)
        )
        size = (side, side)
        with torch.no_grad():
            guess = box_rois(point_boxes(maps, points[:, :, 0, :2], size)).clamp(max=1.6 * side)
            rois = torch.where(to(sampled.dense)[..., None], guess, rois)
        areas = torch.zeros(crops, count, device=self.device)
        for b in range(crops):
            table = np.concatenate([[0], batch.areas[b]]).astype(np.float32)
            areas[b] = to(table[sampled.target[b]])
        truth = roi_truth(batch.labels, rois, target, areas)
        sketch = to(sampled.sketch)
        previous = rough_sketch(truth.mask, self.generator).reshape(crops, count, MASK, MASK)
        prompts = RoiPrompts(points, boxes, previous * sketch[..., None, None], sketch.float())
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.device.type == "cuda"):
            logits, quality = self.network.decode(maps, batch.image, rois, prompts)
        flat, flat_rois = logits.flatten(0, 1), rois.flatten(0, 1)
        first, real = roi_loss(flat, quality.flatten(), flat_rois, truth)
        for name, value in first.items():
            parts[name] = value
        stats = self._stats("", real, quality.flatten(), truth)

        # Second round on some: cropped to the own mask, mostly with a correcting click.
        order = torch.stack(
            [
                torch.randperm(count, generator=self.generator, device=self.device)[:again]
                for _ in range(crops)
            ]
        )
        pick = (order + count * torch.arange(crops, device=self.device)[:, None]).flatten()
        with torch.no_grad():
            old = flat[pick].detach()
            old_rois, old_truth = (
                flat_rois[pick],
                RoiTruth(truth.mask[pick], truth.area[pick], truth.present[pick]),
            )
            spots = points.flatten(0, 1)[pick]
            clicked = correct(old, old_rois, old_truth, spots, self.generator)
            chosen = torch.rand(len(pick), generator=self.generator, device=self.device) < 0.6
            spots = torch.where(chosen[:, None, None], clicked, spots)
            around = widened(mask_boxes(old > 0, old_rois), spots)
            new_rois = box_rois(around)
            grow = (
                torch.rand(len(pick), 1, generator=self.generator, device=self.device) * 0.4 - 0.15
            )
            new_rois = torch.cat([new_rois[:, :2], new_rois[:, 2:] * torch.exp(grow)], 1)
            before = resample_masks(torch.sigmoid(old), old_rois, new_rois)
        shape = (crops, again)
        second = new_rois.reshape(*shape, 4)
        picked = target.flatten()[pick].reshape(shape)
        truth2 = roi_truth(batch.labels, second, picked, areas.flatten()[pick].reshape(shape))
        prompts = RoiPrompts(
            spots.reshape(*shape, POINTS, 3),
            boxes.flatten(0, 1)[pick].reshape(*shape, 4),
            before.reshape(*shape, MASK, MASK),
            torch.ones(shape, device=self.device),
        )
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.device.type == "cuda"):
            logits2, quality2 = self.network.decode(maps, batch.image, second, prompts)
        refined, real2 = roi_loss(logits2.flatten(0, 1), quality2.flatten(), new_rois, truth2)
        for name, value in refined.items():
            parts[name + "2"] = 0.7 * value
        stats |= self._stats("2", real2, quality2.flatten(), truth2)
        stats |= {name: float(value.detach()) for name, value in parts.items()}
        return torch.stack(list(parts.values())).sum(), stats

    @staticmethod
    def _stats(suffix: str, real: Tensor, quality: Tensor, truth: RoiTruth) -> dict[str, float]:
        present = truth.present
        out = {}
        if present.any():
            out["iou" + suffix] = float(real[present].mean())
        if (~present).any():
            out["empty_score" + suffix] = float(torch.sigmoid(quality.detach()[~present]).mean())
        return out

    def rate(self) -> float:
        """Learning rate now: warm-up by steps, cosine by minutes trained."""
        settings = self.settings
        progress = min(self.minutes / self.args.minutes, 1.0)
        cosine = 0.5 * (1 + np.cos(np.pi * progress))
        rate = settings.least_rate + (settings.rate - settings.least_rate) * cosine
        return float(rate * min(1.0, (self.step + 1) / settings.warmup))

    def update(self, loss: Tensor) -> bool:
        """One optimiser step over all processes; True when the time is up."""
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()
        over = self.stop or self.minutes >= self.args.minutes
        parameters = [p for p in self.network.parameters() if p.grad is not None]
        if self.world > 1:
            # The clock travels with the gradients: all must use one learning rate and stop at once.
            shared = loss.new_tensor([float(over), self.minutes])
            flat = torch.cat([p.grad.flatten() for p in parameters] + [shared])
            dist.all_reduce(flat)
            flat /= self.world
            over, self.minutes = bool(flat[-2] > 0), float(flat[-1])
            start = 0
            for parameter in parameters:
                size = parameter.numel()
                parameter.grad.copy_(flat[start : start + size].view_as(parameter.grad))
                start += size
        norm = torch.nn.utils.clip_grad_norm_(parameters, self.settings.clip)
        for group in self.optimiser.param_groups:
            group["lr"] = self.rate()
        if torch.isfinite(norm):
            self.optimiser.step()
        decay = min(self.settings.ema, (1 + self.step) / (10 + self.step))
        with torch.no_grad():
            for name, value in self.network.state_dict().items():
                self.average[name].lerp_(value, 1 - decay)
        return over

    def run(self) -> None:
        """Train until the minutes are spent."""
        from particle_nb.models.embedded.validation import quick_scores

        if not self.rank:
            self.out.mkdir(parents=True, exist_ok=True)
            self.record(
                {"event": "start", "images": len(self.scenes), "synthetic": len(self.synthetic)}
            )
        signal.signal(signal.SIGTERM, self._stop)
        sums: dict[str, list[float]] = {}
        saved = evaluated = time.monotonic()
        over = False
        while not over:
            begin = time.monotonic()
            loss, stats = self.losses()
            over = self.update(loss)
            self.step += 1
            self.minutes += (time.monotonic() - begin) / 60.0
            if self.rank:
                continue
            for name, value in stats.items():
                sums.setdefault(name, []).append(value)
            if self.step % self.args.log_every == 0:
                means = {name: round(float(np.mean(values)), 4) for name, values in sums.items()}
                self.record({"rate": self.rate(), **means})
                log.info("%d %.1f min %s", self.step, self.minutes, means)
                sums = {}
            if time.monotonic() - saved > 60.0 * self.args.save_minutes:
                self.save()
                saved = time.monotonic()
            if self.world == 1 and time.monotonic() - evaluated > 60.0 * self.args.score_minutes:
                network = PromptableNetwork(self.network.settings).to(self.device)
                network.load_state_dict(self.average)
                self.record(
                    {"event": "score", **quick_scores(network.eval(), self.validation[:20])}
                )
                evaluated = time.monotonic()
        self.save()
        if not self.rank:
            self.record({"event": "end"})


def _process(rank: int, world: int, args: argparse.Namespace, settings: TrainSettings) -> None:
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    torch.set_num_threads(args.threads)
    if world > 1:
        store = (Path(args.out) / "rendezvous").resolve()
        dist.init_process_group("gloo", init_method=f"file://{store}", rank=rank, world_size=world)
    Trainer(args, settings, rank, world).run()
    if world > 1:
        dist.destroy_process_group()


def main(argv: list[str] | None = None) -> None:
    """Parse the command line and train."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--data", required=True, help="folder with images/ and labels/")
    parser.add_argument("--synthetic", help="folder of .npz scenes with image and labels")
    parser.add_argument("--out", required=True, help="folder of checkpoint and log")
    parser.add_argument("--minutes", type=float, default=120.0, help="training time in all")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--processes", type=int, default=1, help="gloo processes on one machine")
    parser.add_argument("--resume", action="store_true")
    parser.add_argument(
        "--limit", type=int, help="train on this many images only (overfitting check)"
    )
    parser.add_argument("--log-every", type=int, default=25)
    parser.add_argument("--save-minutes", type=float, default=3.0)
    parser.add_argument("--score-minutes", type=float, default=15.0)
    args = parser.parse_args(argv)
    settings = TrainSettings()
    out = Path(args.out)
    out.mkdir(parents=True, exist_ok=True)
    (out / "rendezvous").unlink(missing_ok=True)
    if args.processes == 1:
        _process(0, 1, args, settings)
    else:
        torch.multiprocessing.spawn(_process, (args.processes, args, settings), args.processes)


if __name__ == "__main__":
    main()
