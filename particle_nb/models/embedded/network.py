"""The network of the embedded segmenter: encode an image once, decode prompts on regions of it.

The encoder is a residual U-Net whose stride-2 features and dense maps are kept. The decoder looks
at one region of interest (ROI) at a time: features, dense maps, image and prompts are sampled to a
fixed grid with `grid_sample`, and a small U-Net gives mask logits and a predicted IoU.

Coordinates are pixels of the encoded image, pixel centres at integers; an ROI is (cx, cy, w, h)
and a box is (x0, y0, x1, y1), both with continuous edges (a pixel covers -0.5 to +0.5).
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

FEATURES = 24
DENSE = 8  # foreground, boundary, centreness, log radius, left, top, right, bottom
GRID = 48  # samples along an ROI side; masks come out at twice that
MASK = 2 * GRID
RADIUS_UNIT = 16.0
SIDE_UNIT = 8.0
STRIDE = 32  # encoded images are padded to a multiple of this


@dataclass(frozen=True)
class NetworkSettings:
    """Widths of the network, stored with the weights.

    >>> NetworkSettings().encoder[0]
    24
    """

    encoder: tuple[int, ...] = (24, 48, 80, 128, 176)
    blocks: tuple[int, ...] = (1, 2, 2, 2, 2)
    decoder: tuple[int, ...] = (32, 64, 112)

    def __post_init__(self) -> None:
        if len(self.encoder) != len(self.blocks) or len(self.decoder) != 3:
            raise ValueError(
                "encoder and blocks must be equally long and decoder must hold 3 widths"
            )


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


def _norm(channels: int) -> nn.GroupNorm:
    return nn.GroupNorm(8, channels)


class Residual(nn.Module):
    """Two 3x3 convolutions with GroupNorm around an identity path."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.norm1 = _norm(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.norm2 = _norm(channels)
        nn.init.constant_(self.norm2.weight, 0.2)

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(self.norm1(self.conv1(x)), inplace=True)
        return F.relu(x + self.norm2(self.conv2(y)), inplace=True)


class Down(nn.Sequential):
    """Halve the resolution and change the width."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__(
            nn.Conv2d(inputs, outputs, 3, stride=2, padding=1, bias=False),
            _norm(outputs),
            nn.ReLU(inplace=True),
        )


class Up(nn.Module):
    """Double the resolution, add the finer level, refine with a residual block."""

    def __init__(self, coarse: int, fine: int) -> None:
        super().__init__()
        self.reduce = nn.Conv2d(coarse, fine, 1)
        self.skip = nn.Conv2d(fine, fine, 1)
        self.norm = _norm(fine)
        self.block = Residual(fine)

    def forward(self, coarse: Tensor, fine: Tensor) -> Tensor:
        up = F.interpolate(self.reduce(coarse), scale_factor=2.0, mode="nearest")
        return self.block(F.relu(self.norm(up + self.skip(fine)), inplace=True))


class Encoder(nn.Module):
    """Image (B, 1, H, W) to features and dense maps (B, 32, H/2, W/2); H and W multiples of 32."""

    def __init__(self, settings: NetworkSettings) -> None:
        super().__init__()
        widths = settings.encoder
        self.stem = nn.Sequential(
            nn.Conv2d(4, widths[0], 3, padding=1, bias=False),
            _norm(widths[0]),
            nn.ReLU(inplace=True),
        )
        self.downs = nn.ModuleList(Down(a, b) for a, b in pairwise(widths))
        self.levels = nn.ModuleList(
            nn.Sequential(*[Residual(width) for _ in range(count)])
            for width, count in zip(widths, settings.blocks, strict=True)
        )
        self.context = nn.Sequential(
            nn.Linear(widths[-1], widths[-1]),
            nn.ReLU(inplace=True),
            nn.Linear(widths[-1], widths[-1]),
        )
        self.ups = nn.ModuleList(
            Up(coarse, fine) for fine, coarse in zip(widths[-2::-1], widths[:0:-1], strict=True)
        )
        self.features = nn.Conv2d(widths[0], FEATURES, 3, padding=1)
        self.dense = nn.Sequential(
            nn.Conv2d(widths[0], 24, 3, padding=1), nn.ReLU(inplace=True), nn.Conv2d(24, DENSE, 1)
        )

    def forward(self, image: Tensor) -> Tensor:
        x = self.stem(F.pixel_unshuffle(image, 2))
        kept = []
        for index, level in enumerate(self.levels):
            if index:
                x = self.downs[index - 1](x)
            x = level(x)
            kept.append(x)
        # One vector for the whole view: its contrast and typical particle size.
        x = x + self.context(x.mean((2, 3)))[:, :, None, None]
        for up, fine in zip(self.ups, kept[-2::-1], strict=True):
            x = up(x, fine)
        return torch.cat([self.features(x), self.dense(x)], 1)


def dense_sides(raw: Tensor) -> Tensor:
    """Distances to the four box sides in pixels from their raw maps."""
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


class Decoder(nn.Module):
    """Prompts on ROIs to mask logits (B*n, MASK, MASK) and predicted-IoU logits (B*n,)."""

    def __init__(self, settings: NetworkSettings) -> None:
        super().__init__()
        a, b, c = settings.decoder
        inputs = FEATURES + 4 + 4 + 1 + 1 + 2 + 1 + 4 + 4 + 1 + 2
        self.stem = nn.Sequential(
            nn.Conv2d(inputs, a, 3, padding=1, bias=False), _norm(a), nn.ReLU(inplace=True)
        )
        self.fine = Residual(a)
        self.down1 = Down(a, b)
        self.middle = nn.Sequential(Residual(b), Residual(b))
        self.down2 = Down(b, c)
        self.coarse = nn.Sequential(Residual(c), Residual(c))
        self.up1 = Up(c, b)
        self.up2 = Up(b, a)
        self.mask = nn.Conv2d(a, 4, 3, padding=1)
        self.quality = nn.Sequential(
            nn.Linear(c + 2 * a + 2, 64), nn.ReLU(inplace=True), nn.Linear(64, 1)
        )

    def forward(
        self, maps: Tensor, image: Tensor, rois: Tensor, prompts: RoiPrompts
    ) -> tuple[Tensor, Tensor]:
        return self.answer(self.inputs(maps, image, rois, prompts))

    def answer(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Mask logits (T, MASK, MASK) and predicted-IoU logits (T,) of input channels."""
        x = x.contiguous(memory_format=torch.channels_last)
        fine = self.fine(self.stem(x))
        middle = self.middle(self.down1(fine))
        coarse = self.coarse(self.down2(middle))
        top = self.up2(self.up1(coarse, middle), fine)
        quarter = self.mask(top)
        logits = F.pixel_shuffle(quarter, 2)[:, 0]
        # The quality head sees what lies inside the mask, what lies outside, and how sharp it is.
        probability = torch.sigmoid(quarter.detach().float()).mean(1, keepdim=True)
        inside = probability.sum((2, 3)) + 1.0
        outside = (1.0 - probability).sum((2, 3)) + 1.0
        sharp = (2.0 * probability - 1.0).abs().mean((2, 3))
        pooled = torch.cat(
            [
                coarse.mean((2, 3)),
                (top * probability).sum((2, 3)) / inside,
                (top * (1.0 - probability)).sum((2, 3)) / outside,
                sharp,
                inside / (GRID * GRID),
            ],
            1,
        )
        return logits.float(), self.quality(pooled)[:, 0].float()

    def inputs(self, maps: Tensor, image: Tensor, rois: Tensor, prompts: RoiPrompts) -> Tensor:
        """The decoder's input channels (B*n, C, GRID, GRID)."""
        batch, count = rois.shape[:2]
        total = batch * count
        size = (image.shape[2], image.shape[3])
        sampled = sample_rois(maps, rois, GRID, size)
        picture = F.pixel_unshuffle(sample_rois(image, rois, MASK, size), 2)
        features, dense = sampled[:, :FEATURES], sampled[:, FEATURES:]

        points, labels = prompts.points[..., :2], prompts.points[..., 2]
        positive = (labels > 0.5).to(rois.dtype)
        has_point = positive.sum(-1, keepdim=True) > 0
        has_box = torch.isfinite(prompts.boxes[..., :1])
        boxes = torch.where(has_box, prompts.boxes, torch.zeros_like(prompts.boxes))
        centre = torch.where(has_box, 0.5 * (boxes[..., :2] + boxes[..., 2:]), rois[..., :2])
        # The first positive click is surely on the particle, the mean of several may not be.
        first = torch.gather(points, 2, positive.argmax(-1)[..., None, None].expand(-1, -1, 1, 2))[
            :, :, 0
        ]
        seed = torch.where(has_point, first, centre)
        with torch.no_grad():
            predicted = point_boxes(maps, seed, size)
        reference = torch.where(has_box, boxes, predicted).reshape(total, 4, 1, 1)

        x, y = roi_coordinates(rois, GRID)
        x = x.reshape(total, 1, GRID).expand(-1, GRID, -1)
        y = y.reshape(total, GRID, 1).expand(-1, -1, GRID)
        sides = dense_sides(dense[:, 4:8].float())
        own = torch.stack([x - sides[:, 0], y - sides[:, 1], x + sides[:, 2], y + sides[:, 3]], 1)
        extent = (reference[:, 2:] - reference[:, :2]).clamp(min=1.0).repeat(1, 2, 1, 1)
        offset = ((own - reference) / extent).clamp(-2.0, 2.0)
        overlap = _box_iou(own, reference)

        seed_feature = sample_points(maps[:, :FEATURES], seed, size).reshape(total, FEATURES, 1, 1)
        # Written out: `cosine_similarity` over channels is slow on a CPU.
        lengths = (features * features).sum(1, keepdim=True) * (seed_feature**2).sum(
            1, keepdim=True
        )
        alike = (features * seed_feature).sum(1, keepdim=True) * torch.rsqrt(lengths + 1e-6)

        spread_x = 0.03 * rois[..., 2].reshape(total, 1, 1, 1)
        spread_y = 0.03 * rois[..., 3].reshape(total, 1, 1, 1)
        flat = points.reshape(total, -1, 2)[:, :, :, None, None]
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
            quarter = F.pixel_unshuffle(prompts.previous.reshape(total, 1, MASK, MASK), 2) * flag
            previous = torch.cat([quarter, flag.expand(-1, -1, GRID, GRID)], 1)
        log_size = (
            torch.log(rois[..., 2:] / 64.0).reshape(total, 2, 1, 1).expand(-1, -1, GRID, GRID)
        )
        return torch.cat(
            [
                features,
                dense[:, :4],
                offset,
                overlap,
                alike,
                clicks,
                inside,
                picture,
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


class PromptableNetwork(nn.Module):
    """Encoder and decoder with one set of weights."""

    def __init__(self, settings: NetworkSettings | None = None) -> None:
        super().__init__()
        self.settings = settings or NetworkSettings()
        self.encoder = Encoder(self.settings)
        self.decoder = Decoder(self.settings)
        with torch.no_grad():
            # Particles cover a minority of the pixels, and boundaries fewer still.
            bias = self.encoder.dense[-1].get_parameter("bias")
            bias.zero_()
            bias[1], bias[2] = -2.0, -1.0
            self.decoder.mask.get_parameter("bias").fill_(-1.0)

    def encode(self, image: Tensor) -> Tensor:
        """Features and raw dense maps (B, 32, H/2, W/2) of a normalised image (B, 1, H, W)."""
        return self.encoder(image.contiguous(memory_format=torch.channels_last))

    def decode(
        self, maps: Tensor, image: Tensor, rois: Tensor, prompts: RoiPrompts
    ) -> tuple[Tensor, Tensor]:
        """Mask logits (B, n, MASK, MASK) and IoU logits (B, n) of prompts on ROIs (B, n, 4)."""
        batch, count = rois.shape[:2]
        logits, quality = self.decoder(maps, image, rois, prompts)
        return logits.reshape(batch, count, MASK, MASK), quality.reshape(batch, count)


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
