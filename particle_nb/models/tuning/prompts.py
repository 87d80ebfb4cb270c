"""Prompts for training: boxes, clicks, background clicks, sketches and correcting clicks."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from particle_nb.models.tuning.crops import Batch
from particle_nb.models.tuning.losses import RoiTruth

#: Sides of the square ROIs that clicks are trained on besides those that fit the particle.
BANK = (16.0, 28.0, 50.0, 90.0, 162.0, 290.0)

#: Most clicks in one prompt.
POINTS = 4

#: Particles with fewer visible pixels in a crop are not prompted.
LEAST_AREA = 12

Spot = tuple[float, float]


@dataclass(frozen=True)
class PromptShares:
    """How often each kind of prompt is drawn; the rest are clicks on particles."""

    background: float = 0.24
    box: float = 0.30
    sketch: float = 0.08
    negative: float = 0.15


@dataclass(frozen=True, eq=False)
class Sampled:
    """Prompts of B x n ROIs on the host.

    rois (B, n, 4), points (B, n, POINTS, 3), boxes (B, n, 4) with NaN for none, target (B, n) the
    label meant (0 is none), dense (B, n) whether the ROI is to be replaced by the one that the
    dense maps expect at the click, sketch (B, n) whether a rough mask is given.
    """

    rois: np.ndarray
    points: np.ndarray
    boxes: np.ndarray
    target: np.ndarray
    dense: np.ndarray
    sketch: np.ndarray

    @classmethod
    def blank(cls, crops: int, count: int) -> Sampled:
        """Arrays to be filled."""
        return cls(
            np.zeros((crops, count, 4), np.float32),
            np.full((crops, count, POINTS, 3), -1.0, np.float32),
            np.full((crops, count, 4), np.nan, np.float32),
            np.zeros((crops, count), np.int64),
            np.zeros((crops, count), bool),
            np.zeros((crops, count), bool),
        )


def sample_prompts(
    batch: Batch,
    objectness: np.ndarray,
    shares: PromptShares,
    count: int,
    rng: np.random.Generator,
) -> Sampled:
    """Boxes, clicks and background clicks for every crop.

    `objectness` (B, H/2, W/2) is where the model now sees particle centres: where it does so in
    the background it gets background clicks.
    """
    crops = len(batch.host_labels)
    out = Sampled.blank(crops, count)
    for b in range(crops):
        labels = batch.host_labels[b]
        able = np.flatnonzero(batch.areas[b] >= LEAST_AREA) + 1
        for n in range(count):
            draw = rng.random()
            spot = None
            if not len(able) or draw < shares.background:
                spot = _background_spot(labels, objectness[b], rng)
            if spot is not None:
                extent = BANK[rng.integers(len(BANK))] * np.exp(rng.uniform(-0.25, 0.25))
                out.points[b, n, 0] = (*spot, 1.0)
                out.rois[b, n] = (*spot, extent, extent)
                out.dense[b, n] = rng.random() < 0.4
            elif len(able):
                label = int(able[rng.integers(len(able))])
                out.target[b, n] = label
                boxed = draw < shares.background + shares.box
                _particle_prompt(out, (b, n), batch, label, boxed, shares, rng)
            else:  # a crop of crumbs without background: look at nothing
                out.rois[b, n] = (0.5 * labels.shape[1], 0.5 * labels.shape[0], 16.0, 16.0)
    return out


def _particle_prompt(
    out: Sampled,
    at: tuple[int, int],
    batch: Batch,
    label: int,
    boxed: bool,
    shares: PromptShares,
    rng: np.random.Generator,
) -> None:
    b, _ = at
    labels, centre = batch.host_labels[b], batch.host_centre[b]
    box = batch.boxes[b][label - 1]
    extent = box[2:] - box[:2]
    if boxed:
        jitter = 0.0 if rng.random() < 0.25 else 0.15
        noisy = box + rng.uniform(-jitter, jitter, 4).astype(np.float32) * np.tile(extent, 2)
        out.boxes[at] = noisy
        grow = 1.4 * np.exp(rng.uniform(-0.1, 0.1))
        out.rois[at] = _around(noisy, (noisy[2:] - noisy[:2]) * grow)
        if rng.random() < 0.85:
            return
    own = labels == label
    middle = own & (centre > (0.7 if rng.random() < 0.6 else 0.12))
    spot = _pixel(middle, rng) or _pixel(own, rng)
    if spot is None:
        return
    out.points[at][0] = (*spot, 1.0)
    if rng.random() < shares.negative:
        left, top, near = _neighbourhood(labels, box, 0.4)
        other = _pixel(near != label, rng) if near.size else None
        if other is not None:
            out.points[at][1] = (other[0] + left, other[1] + top, 0.0)
    if boxed:
        return
    if rng.random() < shares.sketch:
        out.sketch[at] = True
        if rng.random() < 0.5:
            out.points[at] = -1.0
        out.rois[at] = _around(box, extent * rng.uniform(1.2, 1.7))
        return
    size, out.dense[at] = _click_side(float(extent.max()), rng)
    size = float(np.clip(size, 12.0, 1.6 * labels.shape[0]))
    shift = rng.normal(0, 0.12, 2) * size if rng.random() < 0.2 else np.zeros(2)
    out.rois[at] = (spot[0] + shift[0], spot[1] + shift[1], size, size)


def _around(box: np.ndarray, size: np.ndarray) -> tuple[float, ...]:
    """An ROI around the middle of a box, no thinner than a quarter of its length."""
    size = np.maximum(size, 12.0)
    return (*(0.5 * (box[:2] + box[2:])), *np.maximum(size, 0.25 * size.max()))


def _click_side(longest: float, rng: np.random.Generator) -> tuple[float, bool]:
    """Side of the ROI of a click: near the particle's, from the bank, or what the maps expect."""
    kind = rng.random()
    if kind < 0.5:
        return longest * float(np.exp(rng.uniform(np.log(0.8), np.log(3.2)))), False
    if kind < 0.75:
        nearest = int(np.argmin(np.abs(np.log(np.array(BANK) / (1.6 * longest)))))
        return BANK[int(np.clip(nearest + rng.integers(-2, 3), 0, len(BANK) - 1))], False
    return 1.6 * longest, True


def _pixel(mask: np.ndarray, rng: np.random.Generator) -> Spot | None:
    flat = np.flatnonzero(mask)
    if not len(flat):
        return None
    row, column = divmod(int(flat[rng.integers(len(flat))]), mask.shape[1])
    return float(column), float(row)


def _neighbourhood(
    labels: np.ndarray, box: np.ndarray, margin: float
) -> tuple[int, int, np.ndarray]:
    """First column, first row and labels of the box widened by a margin."""
    extent = box[2:] - box[:2]
    left = max(int(box[0] - margin * extent[0]), 0)
    top = max(int(box[1] - margin * extent[1]), 0)
    right = int(box[2] + margin * extent[0]) + 1
    bottom = int(box[3] + margin * extent[1]) + 1
    return left, top, labels[top:bottom, left:right]


def _background_spot(
    labels: np.ndarray, objectness: np.ndarray, rng: np.random.Generator
) -> Spot | None:
    """A pixel of no particle: anywhere, in a gap, or where the model believes in one."""
    empty = labels == 0
    kind = rng.random()
    if kind < 0.45:
        likely = np.where(empty[::2, ::2], objectness, 0.0) ** 2
        cumulative = np.cumsum(likely.ravel())
        if cumulative[-1] > 1e-6:
            index = int(np.searchsorted(cumulative, rng.random() * cumulative[-1]))
            row, column = divmod(min(index, likely.size - 1), likely.shape[1])
            return 2.0 * column, 2.0 * row
    elif kind < 0.8:
        # Gaps: background with particles on opposite sides within a few pixels.
        reach = int(rng.integers(3, 12))
        solid = ~empty
        gap = np.zeros_like(empty)
        gap[:, reach:-reach] = solid[:, : -2 * reach] & solid[:, 2 * reach :]
        gap[reach:-reach] |= solid[: -2 * reach] & solid[2 * reach :]
        spot = _pixel(gap & empty, rng)
        if spot is not None:
            return spot
    return _pixel(empty, rng)


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
