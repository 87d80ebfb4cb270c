"""Losses and batches of the embedded depth model.

Heights are compared within each particle only: how high one particle lies against another is
mostly not to be seen in a picture from above. Three kinds of loss: heights (L1, offset free),
slopes over four distances (L1), and the strength of the roughness (log ratio), in three bands of
wavelength and as a whole with the particle's form taken off. The last is there because a
regression shrinks what it is unsure of: bumps that could as well be pits would come out flat, and
a rough particle smooth.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from training.depth.data import Surfaces
from training.depth.imaging import random_view, render_view

REACHES = (1, 2, 4, 8)  # pixels over which slopes are compared

BOXES = (3, 7, 15)  # widths of the averages between which the bands of roughness lie

FLOORS = (0.015, 0.03, 0.08)  # pixels: amplitudes below count as none

MOST_CLIPPED = 0.1  # of a particle's pixels; pictures with more are drawn again, three times

FLOOR = 0.05  # pixels: the same for the roughness as a whole

DEGREE = 6  # of the surface that stands for a particle's form

_LABELS = 256


@dataclass(frozen=True)
class LossWeights:
    """Weights of the parts of the loss; `bands` and `whole` count once `after` steps are done."""

    heights: float = 0.1
    frame: float = 0.004
    slopes: float = 1.0
    bands: float = 0.3
    whole: float = 0.4
    after: int = 500


@dataclass(frozen=True, eq=False)
class DepthBatch:
    """Pictures (B, 1, H, W) of grey values, heights in pixels and labels (int64) alike."""

    picture: Tensor
    height: Tensor
    labels: Tensor

    def to(self, device: torch.device) -> DepthBatch:
        """The same on another device."""
        return DepthBatch(self.picture.to(device), self.height.to(device), self.labels.to(device))


def clipped_share(picture: np.ndarray, inside: np.ndarray) -> float:
    """Share of the pixels inside that are black or white, where no slope can be seen.

    Examples
    --------
    >>> clipped_share(np.array([0.0, 9.0, 255.0, 0.0]), np.array([True, True, True, False]))
    0.6666666666666666
    """
    values = picture[inside]
    return float(np.mean((values < 0.5) | (values > 254.5))) if values.size else 0.0


def make_depth_batch(
    surfaces: Surfaces, crops: int, side: int, rng: np.random.Generator
) -> DepthBatch:
    """Random crops of random surfaces, each in a new view that nobody would take again."""
    pictures, heights, labels = [], [], []
    for _ in range(crops):
        height, label = surfaces.crop(side, rng)
        picture = render_view(height, label, random_view(rng), rng)
        for _ in range(3):
            if clipped_share(picture, label > 0) < MOST_CLIPPED:
                break
            picture = render_view(height, label, random_view(rng), rng)
        pictures.append(picture)
        heights.append(height)
        labels.append(label)
    return DepthBatch(
        torch.from_numpy(np.stack(pictures))[:, None],
        torch.from_numpy(np.stack(heights))[:, None],
        torch.from_numpy(np.stack(labels)).long()[:, None],
    )


def _same(labels: Tensor, reach: int) -> tuple[Tensor, Tensor]:
    """Where both ends of a step along x and along y lie on one particle."""
    along = (labels[..., reach:] == labels[..., :-reach]) & (labels[..., reach:] > 0)
    across = (labels[..., reach:, :] == labels[..., :-reach, :]) & (labels[..., reach:, :] > 0)
    return along, across


def upright(height: Tensor, labels: Tensor) -> Tensor:
    """Vertical part of the surface normal, 0 to 1: how well a pixel can be seen from above."""
    along, across = _same(labels, 1)
    dx = (height[..., 1:] - height[..., :-1]) * along
    dy = (height[..., 1:, :] - height[..., :-1, :]) * across
    slope = F.pad(dx * dx, (0, 1)) + F.pad(dy * dy, (0, 0, 0, 1))
    return torch.rsqrt(1.0 + slope)


def _groups(labels: Tensor) -> Tensor:
    """One number for every particle of the batch."""
    first = torch.arange(len(labels), device=labels.device).reshape(-1, 1, 1, 1) * _LABELS
    return (labels + first).flatten()


def _means(values: Tensor, weight: Tensor, groups: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Weighted mean of every group and its weight."""
    total = values.new_zeros(count).index_add(0, groups, (values * weight).flatten())
    mass = values.new_zeros(count).index_add(0, groups, weight.flatten())
    return total / mass.clamp(min=1e-6), mass


def _box(values: Tensor, width: int) -> Tensor:
    """Mean over a square with zeros outside, one direction after the other."""
    pad = width // 2
    rows = F.avg_pool2d(values, (1, width), 1, (0, pad))
    return F.avg_pool2d(rows, (width, 1), 1, (pad, 0))


def _averages(values: Tensor, inside: Tensor, shares: list[Tensor]) -> list[Tensor]:
    """Box averages over the particles alone, from no average to the widest."""
    kept = values * inside
    wide = [_box(kept, width) / share for width, share in zip(BOXES, shares, strict=True)]
    return [values, *wide]


def depth_losses(
    predicted: Tensor, batch: DepthBatch, weights: LossWeights, step: int
) -> tuple[Tensor, dict[str, float]]:
    """Loss of predicted heights (B, 1, H, W) and what to log of it."""
    height, labels = batch.height, batch.labels
    inside = (labels > 0).float()
    facing = upright(height, labels)
    weight = inside * facing
    groups = _groups(labels)
    count = len(labels) * _LABELS
    difference = predicted - height
    offsets, _ = _means(difference, weight, groups, count)
    own = difference - offsets[groups].view_as(difference)
    mass = weight.sum().clamp(min=1.0)
    parts = {"heights": weights.heights * (own.abs() * weight).sum() / mass}

    # The frame as a whole, ground and heights of particles above each other: weakly.
    view = (weight + 0.3 * (1 - inside)).clamp(min=0.05)
    middle = (difference * view).sum((2, 3), keepdim=True) / view.sum((2, 3), keepdim=True)
    parts["frame"] = weights.frame * ((difference - middle).abs() * view).sum() / view.sum()

    slopes = predicted.new_zeros(())
    for reach in REACHES:
        along, across = _same(labels, reach)
        dx = (own[..., reach:] - own[..., :-reach]).abs() * torch.minimum(
            weight[..., reach:], weight[..., :-reach]
        )
        dy = (own[..., reach:, :] - own[..., :-reach, :]).abs() * torch.minimum(
            weight[..., reach:, :], weight[..., :-reach, :]
        )
        slopes = slopes + ((dx * along).sum() + (dy * across).sum()) / (2 * reach * mass)
    parts["slopes"] = weights.slopes * slopes / len(REACHES)

    logs = {}
    if step >= weights.after and weights.bands > 0:
        # The particle's own top as zero keeps the averages at its rim free of large offsets.
        level, _ = _means(height, weight, groups, count)
        zero = level[groups].view_as(height)
        covered = [_box(inside, width) for width in BOXES]
        shares = [share.clamp(min=1e-3) for share in covered]
        truth = _averages(height - zero, inside, shares)
        guess = _averages(height - zero + own, inside, shares)
        clear, seen_from_above = covered[-1] > 0.995, _box(facing, 7)
        region = (clear & (seen_from_above > 0.55)).float()
        for band, floor in enumerate(FLOORS):
            true_rms, seen = _spread(truth[band] - truth[band + 1], region, groups, count)
            rms, _ = _spread(guess[band] - guess[band + 1], region, groups, count)
            counted = seen > 400
            if counted.any():
                ratio = torch.log((rms + floor) / (true_rms + floor))[counted]
                share = seen[counted] / seen[counted].sum()
                parts[f"band{band}"] = weights.bands * (ratio.abs() * share).sum()
                logs[f"bias{band}"] = float((ratio.detach() * share).sum())
        cap = (clear & (seen_from_above > 0.63)).float()
        rms, true_rms, seen = whole_roughness(height - zero + own, height - zero, cap, labels)
        counted = seen > 400
        if weights.whole > 0 and counted.any():
            ratio = torch.log((rms + FLOOR) / (true_rms + FLOOR))[counted]
            parts["whole"] = weights.whole * ratio.abs().mean()
            logs["bias_whole"] = float(ratio.detach().mean())
    logs |= {name: float(value.detach()) for name, value in parts.items()}
    return torch.stack(list(parts.values())).sum(), logs


def _spread(values: Tensor, region: Tensor, groups: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Standard deviation within the region of every particle, and its size in pixels."""
    mean, mass = _means(values, region, groups, count)
    deviation = (values - mean[groups].view_as(values)) ** 2
    variance, _ = _means(deviation, region, groups, count)
    return torch.sqrt(variance + 1e-8), mass


def whole_roughness(
    predicted: Tensor, height: Tensor, region: Tensor, labels: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Roughness in pixels of the best seen particle of every crop, its form taken off.

    The form is a polynomial surface of degree `DEGREE`, fitted on every second row and column.
    Returns predicted and true root mean squares (B,) and the number of samples.
    """
    crops = len(labels)
    counts = torch.zeros(crops * _LABELS, device=labels.device).index_add(
        0, _groups(labels), region.flatten()
    )
    best = counts.view(crops, _LABELS).argmax(1).view(-1, 1, 1, 1)
    chosen = (region * (labels == best))[..., ::2, ::2]
    weight = chosen.flatten(1).double()
    number = weight.sum(1)
    side = chosen.shape[-2:]
    y, x = (torch.linspace(-1.0, 1.0, n, dtype=torch.float64, device=labels.device) for n in side)
    across, down = x.expand(side).flatten(), y[:, None].expand(side).flatten()
    share = weight / number.clamp(min=1.0)[:, None]
    middle = torch.stack([share @ across, share @ down], 1)
    u, v = across - middle[:, :1], down - middle[:, 1:]
    extent = torch.sqrt((share * (u * u + v * v)).sum(1, keepdim=True)).clamp(min=1e-3) * 1.5
    u, v = u / extent, v / extent
    powers = [(i, k - i) for k in range(DEGREE + 1) for i in range(k + 1)]
    basis = torch.stack([u**i * v**j for i, j in powers], 1) * weight[:, None]
    both = torch.stack([predicted[..., ::2, ::2], height[..., ::2, ::2]], -1)
    both = both.reshape(crops, -1, 2).double() * weight[..., None]
    gram = basis @ basis.transpose(1, 2)
    ridge = 1e-9 * number.clamp(min=1.0).view(-1, 1, 1)
    eye = torch.eye(len(powers), dtype=torch.float64, device=labels.device)
    found = torch.linalg.solve(gram + ridge * eye, basis @ both)
    rest = both - basis.transpose(1, 2) @ found
    rms = torch.sqrt((rest * rest).sum(1) / number.clamp(min=1.0)[:, None] + 1e-8).float()
    return rms[:, 0], rms[:, 1], number
