"""Views of a whole image however large: each scale encoded in tiles and put together again."""

from __future__ import annotations

from itertools import pairwise

from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from particle_nb.models.embedded.network import STRIDE, PromptableNetwork
from particle_nb.models.embedded.views import View

#: Pixels encoded in one go, and what tiles see of their neighbours on each side.
LARGEST_TILE, MARGIN = 1_600_000, 64
Box = tuple[int, int, int, int]


def cuts(extent: int, count: int) -> list[tuple[int, int]]:
    """Even starts and ends of `count` pieces of a length.

    >>> cuts(10, 2)
    [(0, 4), (4, 10)]
    """
    edges = [0, *(2 * round(extent * k / count / 2) for k in range(1, count)), extent]
    return list(pairwise(edges))


def tile_boxes(height: int, width: int, most: int = LARGEST_TILE) -> list[tuple[Box, Box]]:
    """Cores (x0, y0, x1, y1) that part a picture, and the wider boxes to be encoded for them.

    >>> tile_boxes(600, 800)
    [((0, 0, 800, 600), (0, 0, 800, 600))]
    """
    rows = columns = 1
    while True:
        tall, wide = height / rows, width / columns
        if (tall + 2 * MARGIN * (rows > 1)) * (wide + 2 * MARGIN * (columns > 1)) <= most:
            break
        rows, columns = (rows + 1, columns) if tall > wide else (rows, columns + 1)
    out = []
    for y0, y1 in cuts(height, rows):
        for x0, x1 in cuts(width, columns):
            low = max(x0 - MARGIN, 0), max(y0 - MARGIN, 0)
            high = min(x1 + MARGIN, width), min(y1 + MARGIN, height)
            out.append(((x0, y0, x1, y1), (*low, *high)))
    return out


def encoded(network: PromptableNetwork, picture: Tensor) -> tuple[Tensor, Tensor]:
    """The picture (1, 1, H, W) padded to whole strides, and its maps (1, 32, H/2, W/2)."""
    height, width = picture.shape[2:]
    picture = F.pad(picture, (0, -width % STRIDE, 0, -height % STRIDE), mode="replicate")
    boxes = tile_boxes(*picture.shape[2:])
    if len(boxes) == 1:
        return picture, network.encode(picture).float().contiguous()
    maps = picture.new_empty(1, 0, 0, 0)
    for (x0, y0, x1, y1), (left, top, right, bottom) in boxes:
        part = picture[:, :, top:bottom, left:right]
        pad = (0, -part.shape[3] % STRIDE, 0, -part.shape[2] % STRIDE)
        got = network.encode(F.pad(part, pad, mode="replicate")).float()
        if not maps.numel():
            maps = got.new_empty(1, got.shape[1], picture.shape[2] // 2, picture.shape[3] // 2)
        rows = slice((y0 - top) // 2, (y1 - top) // 2)
        columns = slice((x0 - left) // 2, (x1 - left) // 2)
        maps[:, :, y0 // 2 : y1 // 2, x0 // 2 : x1 // 2] = got[:, :, rows, columns]
    return picture, maps


def view_of(
    network: PromptableNetwork, part: Tensor, scale: float, origin: tuple[float, float]
) -> View:
    """One view of a normalised window (1, 1, H, W) whose first pixel is `origin` (x, y)."""
    height, width = part.shape[2:]
    size = (max(1, round(height * scale)), max(1, round(width * scale)))
    picture = part
    if size != (height, width):
        picture = F.interpolate(
            part, size=size, mode="bilinear", antialias=scale < 1, align_corners=False
        )
    picture, maps = encoded(network, picture)
    return View(picture, maps, size, origin, scale)
