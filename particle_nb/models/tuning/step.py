"""One training step: encode crops, decode prompts, decode again what a user would correct."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from particle_nb.models.embedded.inference import widened
from particle_nb.models.embedded.network import PromptableNetwork
from particle_nb.models.embedded.regions import (
    FEATURES,
    MASK,
    RoiPrompts,
    box_rois,
    mask_boxes,
    point_boxes,
    resample_masks,
)
from particle_nb.models.tuning.crops import Batch
from particle_nb.models.tuning.losses import RoiTruth, dense_loss, roi_loss, roi_truth
from particle_nb.models.tuning.prompts import PromptShares, correct, rough_sketch, sample_prompts

Parts = dict[str, Tensor]


@dataclass(frozen=True, eq=False)
class Round:
    """Decoded prompts of B x n ROIs and what they should have been."""

    rois: Tensor
    points: Tensor
    boxes: Tensor
    target: Tensor
    areas: Tensor
    truth: RoiTruth
    logits: Tensor
    quality: Tensor


@dataclass(frozen=True)
class StepSettings:
    """Kinds of prompts, ROIs a crop in the first and second round, and bf16 on any device."""

    shares: PromptShares
    first: int
    again: int
    half: bool = False


@dataclass(frozen=True, eq=False)
class TrainingStep:
    """What the rounds of one step share: the encoded batch and the sources of chance."""

    settings: StepSettings
    network: PromptableNetwork
    batch: Batch
    maps: Tensor
    rng: np.random.Generator
    generator: torch.Generator

    @property
    def device(self) -> torch.device:
        """Where the tensors are."""
        return self.maps.device

    def uniform(self, *shape: int) -> Tensor:
        """Random numbers from 0 to 1 of this shape, on the device."""
        return torch.rand(shape, generator=self.generator, device=self.device)

    def decode(self, rois: Tensor, prompts: RoiPrompts) -> tuple[Tensor, Tensor]:
        """Mask logits (B, n, MASK, MASK) and IoU logits (B, n)."""
        with half_precision(self.device, self.settings.half):
            return self.network.decode(self.maps, self.batch.image, rois, prompts)

    def first(self) -> Round:
        """Decode sampled prompts on every crop."""
        shares, count = self.settings.shares, self.settings.first
        batch, side = self.batch, self.batch.image.shape[-1]
        with torch.no_grad():
            raw = self.maps[:, FEATURES:]
            objectness = (torch.sigmoid(raw[:, 0]) * torch.sigmoid(raw[:, 2])).cpu().numpy()
        sampled = sample_prompts(batch, objectness, shares, count, self.rng)
        rois, points, boxes, target, dense, sketch = (
            torch.from_numpy(array).to(self.device)
            for array in (
                sampled.rois,
                sampled.points,
                sampled.boxes,
                sampled.target,
                sampled.dense,
                sampled.sketch,
            )
        )
        with torch.no_grad():
            guess = box_rois(point_boxes(self.maps, points[:, :, 0, :2], (side, side)))
            guess = torch.cat([guess[..., :2], guess[..., 2:].clamp(max=1.6 * side)], -1)
            rois = torch.where(dense[..., None], guess, rois)
        areas = torch.stack(
            [
                torch.from_numpy(np.concatenate([[0], area])[chosen]).to(self.device)
                for area, chosen in zip(batch.areas, sampled.target, strict=True)
            ]
        ).float()
        truth = roi_truth(batch.labels, rois, target, areas)
        drawn = rough_sketch(truth.mask, self.generator).reshape(*target.shape, MASK, MASK)
        prompts = RoiPrompts(points, boxes, drawn * sketch[..., None, None], sketch.float())
        return Round(rois, points, boxes, target, areas, truth, *self.decode(rois, prompts))

    def second(self, old: Round) -> Round:
        """Decode some prompts again: cropped to the own mask, mostly with a correcting click."""
        again = self.settings.again
        crops, count = old.target.shape
        order = self.uniform(crops, count).argsort(1)[:, :again]
        pick = (order + count * torch.arange(crops, device=self.device)[:, None]).flatten()
        truth = RoiTruth(old.truth.mask[pick], old.truth.area[pick], old.truth.present[pick])
        with torch.no_grad():
            logits = old.logits.flatten(0, 1)[pick].detach()
            frames = old.rois.flatten(0, 1)[pick]
            points = old.points.flatten(0, 1)[pick]
            clicked = correct(logits, frames, truth, points, self.generator)
            points = torch.where(self.uniform(len(pick), 1, 1) < 0.6, clicked, points)
            rois = box_rois(widened(mask_boxes(logits > 0, frames), points))
            grow = torch.exp(self.uniform(len(pick), 1) * 0.4 - 0.15)
            rois = torch.cat([rois[:, :2], rois[:, 2:] * grow], 1)
            before = resample_masks(torch.sigmoid(logits), frames, rois)
        shape = (crops, again)
        rois, points = rois.reshape(*shape, 4), points.reshape(*shape, -1, 3)
        boxes = old.boxes.flatten(0, 1)[pick].reshape(*shape, 4)
        target, areas = old.target.flatten()[pick], old.areas.flatten()[pick]
        target, areas = target.reshape(shape), areas.reshape(shape)
        truth = roi_truth(self.batch.labels, rois, target, areas)
        before = before.reshape(*shape, MASK, MASK)
        prompts = RoiPrompts(points, boxes, before, torch.ones(shape, device=self.device))
        return Round(rois, points, boxes, target, areas, truth, *self.decode(rois, prompts))


def half_precision(device: torch.device, wanted: bool = False) -> torch.autocast:
    """bf16 where it is fast; CPUs mostly lack the instructions, so there it must be wanted."""
    return torch.autocast(device.type, torch.bfloat16, enabled=wanted or device.type == "cuda")


def scored(done: Round, suffix: str, weight: float) -> tuple[Parts, dict[str, float]]:
    """Losses of a round and what to log of it."""
    quality = done.quality.flatten()
    parts, real = roi_loss(done.logits.flatten(0, 1), quality, done.rois.flatten(0, 1), done.truth)
    present = done.truth.present
    stats = {}
    if present.any():
        stats["iou" + suffix] = float(real[present].mean())
    if (~present).any():
        empty = torch.sigmoid(quality.detach()[~present])
        stats["empty_score" + suffix] = float(empty.mean())
    return {name + suffix: weight * value for name, value in parts.items()}, stats


def step_losses(
    network: PromptableNetwork,
    batch: Batch,
    settings: StepSettings,
    rng: np.random.Generator,
    generator: torch.Generator,
) -> tuple[Tensor, dict[str, float]]:
    """Loss of one batch through both rounds, a number of shape (), and what to log."""
    with half_precision(batch.image.device, settings.half):
        maps = network.encode(batch.image)
    step = TrainingStep(settings, network, batch, maps.float(), rng, generator)
    parts = dense_loss(step.maps[:, FEATURES:], batch)
    first = step.first()
    losses, stats = scored(first, "", 1.0)
    parts |= losses
    losses, more = scored(step.second(first), "2", 0.7)
    parts |= losses
    stats |= more | {name: float(value.detach()) for name, value in parts.items()}
    return torch.stack(list(parts.values())).sum(), stats
