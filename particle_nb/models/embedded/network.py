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

from particle_nb.models.embedded.regions import (
    DENSE,
    FEATURES,
    GRID,
    MASK,
    RoiPrompts,
    assemble,
    look,
    seeds,
)

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
        """Return features of the shape of `x`, (B, C, H, W)."""
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
        """Return features (B, fine, 2 H, 2 W) of a coarse level (B, coarse, H, W) and a finer."""
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

    def pyramid(self, image: Tensor) -> list[Tensor]:
        """Return the maps (B, C, h, w) of every level on the way down, finest (stride 2) first."""
        x = self.stem(F.pixel_unshuffle(image, 2))
        kept = []
        for index, level in enumerate(self.levels):
            if index:
                x = self.downs[index - 1](x)
            x = level(x)
            kept.append(x)
        return kept

    def decoded(self, kept: list[Tensor]) -> Tensor:
        """Return maps (B, C, H/2, W/2) of the way up from the levels (B, C, h, w) of `pyramid`."""
        x = kept[-1]
        # One vector for the whole view: its contrast and typical particle size.
        x = x + self.context(x.mean((2, 3)))[:, :, None, None]
        for up, fine in zip(self.ups, kept[-2::-1], strict=True):
            x = up(x, fine)
        return x

    def forward(self, image: Tensor) -> Tensor:
        """Return features and dense maps (B, 32, H/2, W/2) of a normalised image (B, 1, H, W)."""
        x = self.decoded(self.pyramid(image))
        return torch.cat([self.features(x), self.dense(x)], 1)


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
        """Mask logits (B*n, MASK, MASK) and predicted-IoU logits (B*n,) of ROIs (B, n, 4)."""
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
        sight = look(maps, image, rois, seeds(rois, prompts))
        total = rois.shape[0] * rois.shape[1]
        previous, flag = prompts.previous, prompts.has_previous
        return assemble(
            sight,
            rois.reshape(total, 4),
            RoiPrompts(
                prompts.points.reshape(total, -1, 3),
                prompts.boxes.reshape(total, 4),
                None if previous is None else previous.reshape(total, MASK, MASK),
                None if flag is None else flag.reshape(total),
            ),
        )


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
