"""Regions of interest of an encoded view: sampling, and what the decoder sees of a prompt.

Coordinates are pixels of the encoded image, pixel centres at integers; an ROI is (cx, cy, w, h)
and a box is (x0, y0, x1, y1), both with continuous edges (a pixel covers -0.5 to +0.5).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

FEATURES = 24
DENSE = 8  # foreground, boundary, centreness, log radius, left, top, right, bottom
GRID = 48  # samples along an ROI side; masks come out at twice that
MASK = 2 * GRID
RADIUS_UNIT = 16.0
SIDE_UNIT = 8.0


@dataclass(frozen=True)
class RoiPrompts:
    """Prompts of B x n ROIs as tensors.

    points (B, n, K, 3): x, y, label (1 positive, 0 negative, -1 unused); boxes (B, n, 4), NaN where
    there is none; previous (B, n, MASK, MASK) mask probabilities in the ROI frame, or None;
    has_previous (B, n) is 1 where `previous` counts.
    """

    points: Tensor
    boxes: Tensor
    previous: Tensor | None = None
    has_previous: Tensor | None = None


def dense_sides(raw: Tensor) -> Tensor:
    """Distances to the four box sides in pixels from their raw maps, of one shape."""
    return SIDE_UNIT * torch.exp(raw.clamp(-4.0, 4.6))


def roi_coordinates(rois: Tensor, samples: int) -> tuple[Tensor, Tensor]:
    """Pixel coordinates x and y, (B, n, samples) each, of the sampling grid of the ROIs."""
    steps = (torch.arange(samples, device=rois.device, dtype=rois.dtype) + 0.5) / samples - 0.5
    return rois[..., 0:1] + rois[..., 2:3] * steps, rois[..., 1:2] + rois[..., 3:4] * steps


def sample_rois(maps: Tensor, rois: Tensor, samples: int, size: tuple[int, int]) -> Tensor:
    """Bilinear samples (B*n, C, samples, samples) of maps (B, C, h, w) that span `size` (H, W)."""
    batch, count = rois.shape[:2]
    x, y = roi_coordinates(rois, samples)
    height, width = size
    u = (2.0 * (x + 0.5) / width - 1.0)[:, :, None, :].expand(-1, -1, samples, -1)
    v = (2.0 * (y + 0.5) / height - 1.0)[:, :, :, None].expand(-1, -1, -1, samples)
    grid = torch.stack([u, v], -1).reshape(batch, count * samples, samples, 2)
    out = F.grid_sample(maps, grid.to(maps.dtype), mode="bilinear", align_corners=False)
    out = out.reshape(batch, maps.shape[1], count, samples, samples)
    return out.transpose(1, 2).reshape(batch * count, maps.shape[1], samples, samples)


def sample_points(maps: Tensor, points: Tensor, size: tuple[int, int]) -> Tensor:
    """Values (B, n, C) of maps (B, C, h, w) at points (B, n, 2), pixels of an image of `size`."""
    scale = points.new_tensor([size[1], size[0]])
    grid = (2.0 * (points + 0.5) / scale - 1.0)[:, :, None, :]
    out = F.grid_sample(
        maps, grid.to(maps.dtype), mode="bilinear", padding_mode="border", align_corners=False
    )
    return out[..., 0].transpose(1, 2)


def point_boxes(maps: Tensor, points: Tensor, size: tuple[int, int]) -> Tensor:
    """Boxes (B, n, 4) that the dense maps predict at points (B, n, 2)."""
    raw = sample_points(maps[:, FEATURES + 4 : FEATURES + 8], points, size)
    sides = dense_sides(raw)
    return torch.cat([points - sides[..., :2], points + sides[..., 2:]], -1)


class Sight(NamedTuple):
    """What T prompts see of a view: maps (T, 32, GRID, GRID) and the picture (T, 4, GRID, GRID) on
    their ROIs, and the spot (T, 2) of each and the maps (T, 32) there."""

    maps: Tensor
    picture: Tensor
    spot: Tensor
    there: Tensor


def seeds(rois: Tensor, prompts: RoiPrompts) -> Tensor:
    """The spots (..., 2) surely on the particle: a click, or the middle of the box or ROI."""
    points, labels = prompts.points[..., :2], prompts.points[..., 2]
    positive = (labels > 0.5).to(rois.dtype)
    boxes = prompts.boxes
    middle = 0.5 * (boxes[..., :2] + boxes[..., 2:])
    centre = torch.where(torch.isfinite(middle), middle, rois[..., :2])
    # The first positive click is surely on the particle, the mean of several may not be.
    index = positive.argmax(-1)[..., None, None].expand(*points.shape[:-2], 1, 2)
    first = torch.gather(points, -2, index)[..., 0, :]
    return torch.where(positive.sum(-1, keepdim=True) > 0, first, centre)


def look(maps: Tensor, image: Tensor, rois: Tensor, spots: Tensor) -> Sight:
    """Sample maps (B, 32, h, w) and image (B, 1, H, W) for rois (B, n, 4) and spots (B, n, 2)."""
    size = (image.shape[2], image.shape[3])
    picture = F.pixel_unshuffle(sample_rois(image, rois, MASK, size), 2)
    there = sample_points(maps, spots, size).reshape(-1, maps.shape[1])
    return Sight(sample_rois(maps, rois, GRID, size), picture, spots.reshape(-1, 2), there)


def assemble(sight: Sight, rois: Tensor, prompts: RoiPrompts) -> Tensor:
    """The decoder's input channels (T, C, GRID, GRID) of rois (T, 4) and prompts (T, ...)."""
    total = len(rois)
    features, dense = sight.maps[:, :FEATURES], sight.maps[:, FEATURES:]
    points, labels = prompts.points[..., :2], prompts.points[..., 2]
    has_box = torch.isfinite(prompts.boxes[..., :1])
    boxes = torch.where(has_box, prompts.boxes, torch.zeros_like(prompts.boxes))
    reach = dense_sides(sight.there[:, FEATURES + 4 : FEATURES + 8].detach())
    predicted = torch.cat([sight.spot - reach[:, :2], sight.spot + reach[:, 2:]], 1)
    reference = torch.where(has_box, boxes, predicted).reshape(total, 4, 1, 1)

    x, y = roi_coordinates(rois, GRID)
    x = x.reshape(total, 1, GRID).expand(-1, GRID, -1)
    y = y.reshape(total, GRID, 1).expand(-1, -1, GRID)
    sides = dense_sides(dense[:, 4:8].float())
    own = torch.stack([x - sides[:, 0], y - sides[:, 1], x + sides[:, 2], y + sides[:, 3]], 1)
    extent = (reference[:, 2:] - reference[:, :2]).clamp(min=1.0).repeat(1, 2, 1, 1)
    offset = ((own - reference) / extent).clamp(-2.0, 2.0)
    overlap = _box_iou(own, reference)

    seed_feature = sight.there[:, :FEATURES].reshape(total, FEATURES, 1, 1)
    # Written out: `cosine_similarity` over channels is slow on a CPU.
    lengths = (features * features).sum(1, keepdim=True) * (seed_feature**2).sum(1, keepdim=True)
    alike = (features * seed_feature).sum(1, keepdim=True) * torch.rsqrt(lengths + 1e-6)

    spread_x = 0.03 * rois[:, 2].reshape(total, 1, 1, 1)
    spread_y = 0.03 * rois[:, 3].reshape(total, 1, 1, 1)
    flat = points[:, :, :, None, None]
    distance = ((x[:, None] - flat[:, :, 0]) / spread_x) ** 2
    distance = distance + ((y[:, None] - flat[:, :, 1]) / spread_y) ** 2
    bump = torch.exp(-0.5 * distance)
    kind = labels.reshape(total, -1, 1, 1)
    clicks = torch.stack(
        [(bump * (kind > 0.5)).amax(1), (bump * ((kind > -0.5) & (kind < 0.5))).amax(1)], 1
    )

    box = boxes.reshape(total, 4, 1, 1)
    softness = 0.02 * (spread_x + spread_y) / 0.06
    gap = torch.stack([x - box[:, 0], y - box[:, 1], box[:, 2] - x, box[:, 3] - y], 1).amin(1)
    inside = torch.sigmoid(gap[:, None] / softness) * has_box.reshape(total, 1, 1, 1)

    if prompts.previous is None or prompts.has_previous is None:
        previous = x.new_zeros(total, 5, GRID, GRID)
    else:
        flag = prompts.has_previous.reshape(total, 1, 1, 1).to(x.dtype)
        quarter = F.pixel_unshuffle(prompts.previous[:, None], 2) * flag
        previous = torch.cat([quarter, flag.expand(-1, -1, GRID, GRID)], 1)
    log_size = torch.log(rois[:, 2:] / 64.0).reshape(total, 2, 1, 1).expand(-1, -1, GRID, GRID)
    return torch.cat(
        [
            features,
            dense[:, :4],
            offset,
            overlap,
            alike,
            clicks,
            inside,
            sight.picture,
            previous,
            log_size,
        ],
        1,
    )


def _box_iou(a: Tensor, b: Tensor) -> Tensor:
    low = torch.maximum(a[:, :2], b[:, :2])
    high = torch.minimum(a[:, 2:], b[:, 2:])
    inter = (high - low).clamp(min=0.0).prod(1, keepdim=True)
    area_a = (a[:, 2:] - a[:, :2]).clamp(min=0.0).prod(1, keepdim=True)
    area_b = (b[:, 2:] - b[:, :2]).clamp(min=0.0).prod(1, keepdim=True)
    return inter / (area_a + area_b - inter).clamp(min=1e-3)


def mask_boxes(inside: Tensor, rois: Tensor) -> Tensor:
    """Boxes (T, 4) around the true samples of `inside` (T, S, S) on ROIs (T, 4).

    Where nothing is true it is the ROI itself.
    """
    samples = inside.shape[-1]
    index = torch.arange(samples, device=rois.device)
    edges = []
    for axis, centre, extent in ((1, 0, 2), (2, 1, 3)):
        hit = inside.any(axis)
        low = torch.where(hit, index, samples).amin(1)
        high = torch.where(hit, index, -1).amax(1) + 1
        empty = high <= low
        low, high = torch.where(empty, 0, low), torch.where(empty, samples, high)
        start = rois[:, centre] - 0.5 * rois[:, extent]
        edges.append(
            (start + rois[:, extent] * low / samples, start + rois[:, extent] * high / samples)
        )
    return torch.stack([edges[0][0], edges[1][0], edges[0][1], edges[1][1]], 1)


def box_rois(boxes: Tensor, margin: float = 1.4, least: float = 12.0) -> Tensor:
    """ROIs (..., 4) around boxes (..., 4), no thinner than a quarter of their length."""
    extent = (boxes[..., 2:] - boxes[..., :2]).clamp(min=1.0) * margin
    extent = torch.maximum(extent, 0.25 * extent.amax(-1, keepdim=True)).clamp(min=least)
    return torch.cat([0.5 * (boxes[..., :2] + boxes[..., 2:]), extent], -1)


def resample_masks(values: Tensor, old: Tensor, new: Tensor) -> Tensor:
    """Values (T, S, S) on ROIs `old` (T, 4) sampled on ROIs `new` (T, 4), 0 outside."""
    samples = values.shape[-1]
    x, y = roi_coordinates(new, samples)
    u = 2.0 * (x - old[:, 0:1]) / old[:, 2:3]
    v = 2.0 * (y - old[:, 1:2]) / old[:, 3:4]
    grid = torch.stack(
        [u[:, None, :].expand(-1, samples, -1), v[:, :, None].expand(-1, -1, samples)], -1
    )
    return F.grid_sample(values[:, None], grid.to(values.dtype), align_corners=False)[:, 0]
