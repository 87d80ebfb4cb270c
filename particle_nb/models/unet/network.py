"""UNet++: a U-Net whose skip connections pass through nested blocks.

Zhou et al. 2018, doi:10.1007/978-3-030-00889-5_1. Ours is narrower than the published one, and
normalises by groups, since a step sees one patch.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812


class ConvBlock(nn.Sequential):
    """Two 3x3 convolutions; (B, inputs, H, W) to (B, outputs, H, W)."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__(
            nn.Conv2d(inputs, outputs, 3, padding=1, bias=False),
            nn.GroupNorm(8, outputs),
            nn.ReLU(inplace=True),
            nn.Conv2d(outputs, outputs, 3, padding=1, bias=False),
            nn.GroupNorm(8, outputs),
            nn.ReLU(inplace=True),
        )


class NestedUnet(nn.Module):
    """Image (B, 1, H, W) to foreground logits (B, H, W); H and W multiples of 2^(levels - 1).

    Node (i, j) at level i sees all nodes of its level before it and, enlarged, node
    (i + 1, j - 1).
    """

    def __init__(self, widths: tuple[int, ...]) -> None:
        super().__init__()
        self.widths = widths
        blocks = {}
        for level, width in enumerate(widths):
            blocks[f"{level}_0"] = ConvBlock(widths[level - 1] if level else 1, width)
            for number in range(1, len(widths) - level):
                blocks[f"{level}_{number}"] = ConvBlock(number * width + widths[level + 1], width)
        self.blocks = nn.ModuleDict(blocks)
        self.head = nn.Conv2d(widths[0], 1, 1)
        with torch.no_grad():
            self.head.get_parameter("bias").fill_(-1.0)  # particles cover a minority of pixels

    @property
    def multiple(self) -> int:
        """What sides of an image must be multiples of."""
        return 2 ** (len(self.widths) - 1)

    @property
    def count(self) -> int:
        """Number of weights."""
        return sum(value.numel() for value in self.parameters())

    def forward(self, image: Tensor) -> Tensor:
        """Foreground logits (B, H, W) of normalised images (B, 1, H, W)."""
        depth = len(self.widths)
        nodes: list[list[Tensor]] = [[] for _ in range(depth)]
        x = image
        for level in range(depth):
            x = self.blocks[f"{level}_0"](F.max_pool2d(x, 2) if level else x)
            nodes[level].append(x)
            # every node whose coarser neighbour is there by now
            for number in range(1, level + 1):
                at = level - number
                up = F.interpolate(nodes[at + 1][number - 1], scale_factor=2.0, mode="nearest")
                seen = torch.cat([*nodes[at][:number], up], 1)
                nodes[at].append(self.blocks[f"{at}_{number}"](seen))
        return self.head(nodes[0][-1])[:, 0]
