"""Losses of the segmenter and the truth they compare with."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from particle_nb.models.embedded.regions import MASK, dense_sides, sample_rois
from particle_nb.models.tuning.crops import Batch

#: How much more a boundary between two particles counts than one against the ground.
CONTACT = 1.5


def dense_loss(raw: Tensor, batch: Batch) -> dict[str, Tensor]:
    """Losses of the dense maps (B, 8, H/2, W/2) against a batch's targets."""
    foreground, boundary, centre, radius = raw[:, 0:1], raw[:, 1:2], raw[:, 2:3], raw[:, 3:4]
    out = {"foreground": 2.0 * F.binary_cross_entropy_with_logits(foreground, batch.foreground)}
    # Contacts count more: they are few, and each one missed makes one particle of two.
    cross = F.binary_cross_entropy_with_logits(
        boundary, batch.boundary, pos_weight=raw.new_tensor(3.0), reduction="none"
    )
    out["boundary"] = (cross * (1.0 + CONTACT * batch.contact)).mean()
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
    size = (labels.shape[1], labels.shape[2])
    masks = []
    for b in range(len(rois)):  # one image at a time keeps the (n, H, W) stack small
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
    """Mask and predicted-IoU losses over flat ROIs (T, 4); also the true IoU (T,)."""
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
