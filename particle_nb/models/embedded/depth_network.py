"""The network of the embedded depth model: a residual U-Net from a grey picture to heights.

Heights come out in pixels of the input, larger is nearer to the detector. They are the sum of
maps at stride 16, 8, 4 and 1: the form lives in the coarse ones, which are smooth by their making,
so that only the finest has to speak of roughness. No layer normalises single channels: how strong
a texture is against the shading of the form is what tells a rough surface from a smooth one.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

STRIDE = 32  # inputs are multiples of this
#: Heights of the maps at stride 16, 8, 4 and 1 in pixels a unit: what each has to reach.
UNITS = (32.0, 8.0, 3.0, 1.0)


@dataclass(frozen=True)
class DepthNetworkSettings:
    """Widths and residual blocks at strides 2, 4, 8, 16 and 32, stored with the weights.

    Examples
    --------
    >>> DepthNetworkSettings().widths[0]
    32
    """

    widths: tuple[int, ...] = (32, 48, 80, 128, 160)
    blocks: tuple[int, ...] = (1, 2, 2, 3, 2)

    def __post_init__(self) -> None:
        if len(self.widths) != 5 or len(self.blocks) != 5:
            raise ValueError("a depth network has five levels of width and blocks.")


def _norm(channels: int) -> nn.GroupNorm:
    # One group: the channels keep their strengths relative to each other.
    return nn.GroupNorm(1, channels)


class DepthResidual(nn.Module):
    """Two 3x3 convolutions around an identity path."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = _norm(channels)
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1)
        nn.init.kaiming_normal_(self.conv1.weight, nonlinearity="relu")
        with torch.no_grad():
            nn.init.kaiming_normal_(self.conv2.weight, nonlinearity="relu").mul_(0.2)
        nn.init.zeros_(self.conv1.get_parameter("bias"))
        nn.init.zeros_(self.conv2.get_parameter("bias"))

    def forward(self, x: Tensor) -> Tensor:
        """Return features of the shape of `x`, (B, C, H, W)."""
        return x + self.conv2(F.relu(self.conv1(self.norm(x)), inplace=True))


class DepthUp(nn.Module):
    """Double the resolution, add the finer level, refine."""

    def __init__(self, coarse: int, fine: int) -> None:
        super().__init__()
        self.reduce = nn.Conv2d(coarse, fine, 1)
        self.skip = nn.Conv2d(fine, fine, 1)
        self.block = DepthResidual(fine)

    def forward(self, coarse: Tensor, fine: Tensor) -> Tensor:
        """Return features (B, fine, 2 H, 2 W) of a coarse level (B, coarse, H, W) and a finer."""
        up = F.interpolate(self.reduce(coarse), scale_factor=2.0, mode="bilinear")
        return self.block(up + self.skip(fine))


class DepthNetwork(nn.Module):
    """Normalised picture (B, 1, H, W) to heights in pixels (B, 1, H, W); H, W multiples of 32."""

    def __init__(self, settings: DepthNetworkSettings | None = None) -> None:
        super().__init__()
        self.settings = settings or DepthNetworkSettings()
        widths = self.settings.widths
        self.stem = nn.Conv2d(4, widths[0], 5, padding=2)
        self.downs = nn.ModuleList(
            nn.Conv2d(a, b, 3, stride=2, padding=1) for a, b in pairwise(widths)
        )
        self.levels = nn.ModuleList(
            nn.Sequential(*[DepthResidual(width) for _ in range(count)])
            for width, count in zip(widths, self.settings.blocks, strict=True)
        )
        self.context = nn.Sequential(
            nn.Linear(widths[-1], widths[-1]),
            nn.ReLU(inplace=True),
            nn.Linear(widths[-1], widths[-1]),
        )
        # What a change of grey means as a slope depends on the whole view: one gain a channel.
        self.gains = nn.Linear(widths[-1], sum(widths[:-1]))
        nn.init.zeros_(self.gains.weight)
        nn.init.zeros_(self.gains.bias)
        self.ups = nn.ModuleList(
            DepthUp(coarse, fine)
            for fine, coarse in zip(widths[-2::-1], widths[:0:-1], strict=True)
        )
        # Maps at stride 16, 8 and 4, and four heights for every position at stride 2.
        self.heads = nn.ModuleList(
            nn.Sequential(nn.ReLU(), nn.Conv2d(width, outputs, 3, padding=1))
            for width, outputs in zip(widths[-2::-1], (1, 1, 1, 4), strict=True)
        )
        for head in self.heads:
            nn.init.normal_(head.get_parameter("1.weight"), std=0.01)
            nn.init.zeros_(head.get_parameter("1.bias"))

    def forward(self, picture: Tensor) -> Tensor:
        """Return heights in px, (B, 1, H, W), of a normalised picture of that shape."""
        x = self.stem(F.pixel_unshuffle(picture, 2))
        kept = []
        for index, level in enumerate(self.levels):
            if index:
                x = self.downs[index - 1](F.relu(x))
            x = level(x)
            kept.append(x)
        # One vector for the whole view: its contrast, its detector, the size of the particle.
        view = self.context(x.mean((2, 3)))
        x = x + view[:, :, None, None]
        gains = self.gains(view).split(self.settings.widths[-2::-1], 1)
        total: Tensor | None = None
        levels = zip(self.ups, kept[-2::-1], gains, self.heads, UNITS, strict=True)
        for up, fine, gain, head, unit in levels:
            x = up(x, fine) * (1.0 + gain[:, :, None, None])
            part = unit * head(x).float()
            if part.shape[1] == 4:
                part = F.pixel_shuffle(part, 2)
            total = part if total is None else _finer(total, part.shape[-2:]) + part
        assert total is not None
        return total


def _finer(coarse: Tensor, size: torch.Size) -> Tensor:
    """Bilinear steps of two and a small blur: smooth enough to leave no grid in the slopes."""
    while coarse.shape[-1] < size[-1]:
        coarse = F.interpolate(coarse, scale_factor=2.0, mode="bilinear")
        padded = F.pad(coarse, (1, 1, 1, 1), mode="replicate")
        coarse = F.avg_pool2d(padded, 3, 1)
    return coarse


def normalised(picture: Tensor) -> Tensor:
    """Grey values (B, 1, H, W) to mean 0 and standard deviation 1, outliers held at 5.

    Examples
    --------
    >>> normalised(torch.arange(4.0).reshape(1, 1, 2, 2)).mean().abs().item() < 1e-6
    True
    """
    mean = picture.mean((2, 3), keepdim=True)
    spread = picture.std((2, 3), keepdim=True).clamp(min=0.5)
    return ((picture - mean) / spread).clamp(-5.0, 5.0)


def predict_square(network: DepthNetwork, grey: Tensor, side: int) -> Tensor:
    """Heights (B, h, w), in pixels of the pictures themselves, of grey values (B, h, w).

    The pictures are brought to `side` x `side` for the network and its heights back.

    Examples
    --------
    >>> tiny = DepthNetwork(DepthNetworkSettings((8, 8, 8, 8, 8), (1, 1, 1, 1, 1)))
    >>> predict_square(tiny, torch.rand(1, 50, 50), 64).shape
    torch.Size([1, 50, 50])
    """
    size = (int(grey.shape[-2]), int(grey.shape[-1]))
    picture = grey[:, None].float()
    if size != (side, side):
        # Averaging while shrinking: noise goes down with the pixels it is spread over.
        picture = F.interpolate(
            picture, (side, side), mode="bicubic", antialias=True, align_corners=False
        )
    heights = network(normalised(picture).contiguous(memory_format=torch.channels_last))
    if size != (side, side):
        heights = F.interpolate(heights, size, mode="bicubic", align_corners=False)
    return heights[:, 0] * (size[0] / side)
