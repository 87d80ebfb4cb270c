"""Maps of networks as features of pixels: brought to the image along the image's own edges."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from particle_nb.core.image import Image
from particle_nb.core.phases import DenseFeatures, Plane

#: Half the side of the squares, in cells, and how strong an edge of the guide counts (its
#: variance is about 0.25): in these a map is a line in the grey value.
_RADIUS, _EDGE = 2, 0.02
#: Pictures are brought to whole multiples of this; larger ones are looked at in tiles.
MULTIPLE = 32
_TILE, _MARGIN = 1024, 96


def standard_grey(image: Image) -> np.ndarray:
    """Return grey values, 0 in the middle of their range and 1 at its ends (percentiles 1 and 99).

    Parameters
    ----------
    image : Image

    Returns
    -------
    float32 (H, W), from -3 to 3.

    Examples
    --------
    >>> float(standard_grey(Image(np.zeros((4, 4), np.uint8))).max())
    0.0
    """
    grey = image.grey
    step = max(1, int(np.sqrt(grey.size / 250_000)))
    low, high = (float(v) for v in np.percentile(grey[::step, ::step], (1, 99)))
    half = max((high - low) / 2, 1e-6 * max(abs(high), 1.0))
    return np.clip((grey - (low + high) / 2) / half, -3, 3).astype(np.float32)


def edge_plane(
    maps: Tensor, picture: Tensor, names: Sequence[str], stride: float, family: str = "network"
) -> Plane:
    """Return maps as a plane that takes its edges from the picture (joint upsampling).

    Around every cell the maps are a line in the picture, fitted in squares of five cells; sampled,
    the line takes the picture's pixels and not the cells' means.

    Parameters
    ----------
    maps : tensor (1, C, h, w)
    picture : tensor (1, 1, H, W)
        What the maps were made of; what the plane is later steered by.
    names : sequence of str (C,)
    stride : float
        Pixels of the picture across a cell.
    family : str

    References
    ----------
    K. He, J. Sun, 2015, arXiv:1505.00996 (fast guided filter).

    Examples
    --------
    >>> step = torch.zeros(1, 1, 16, 16); step[..., 8:] = 1
    >>> edge_plane(torch.ones(1, 2, 4, 4), step, ("a", "b"), 4.0).values.shape
    (4, 4, 2)
    """
    maps = maps.float()
    coarse = F.interpolate(picture, size=maps.shape[2:], mode="area")

    def mean(x: Tensor) -> Tensor:
        return F.avg_pool2d(x, 2 * _RADIUS + 1, 1, _RADIUS, count_include_pad=False)

    about, level = mean(coarse), mean(maps)
    variance = mean(coarse * coarse) - about * about
    slope = (mean(coarse * maps) - about * level) / (variance + _EDGE)
    steep = mean(slope)
    # what the line does not tell stays as it is: only the edges are the picture's
    return Plane(_cells(maps - steep * coarse), tuple(names), stride, _cells(steep), family)


def _cells(maps: Tensor) -> np.ndarray:
    return np.asarray(maps[0].permute(1, 2, 0).float().cpu().numpy())


def padded(picture: Tensor, multiple: int = MULTIPLE) -> Tensor:
    """Repeat the last row and column of (1, C, H, W) up to whole multiples.

    Examples
    --------
    >>> padded(torch.zeros(1, 1, 33, 64)).shape[2:]
    torch.Size([64, 64])
    """
    height, width = picture.shape[2:]
    return F.pad(picture, (0, -width % multiple, 0, -height % multiple), mode="replicate")


def tiled(
    picture: Tensor, network: Callable[[Tensor], Sequence[Tensor]], strides: Sequence[int]
) -> list[Tensor]:
    """Return a network's maps of a large picture, made in tiles that see their neighbours.

    Parameters
    ----------
    picture : tensor (1, 1, H, W)
        H and W multiples of 32.
    network : function
        From (1, 1, h, w) to maps (1, C, h / stride, w / stride), one for each of the strides.
    strides : sequence of int
        Divisors of 32.

    Examples
    --------
    >>> halve = lambda x: [F.avg_pool2d(x, 2)]
    >>> tiled(torch.ones(1, 1, 64, 2048), halve, [2])[0].shape
    torch.Size([1, 1, 32, 1024])
    """
    height, width = picture.shape[2:]
    if height <= _TILE and width <= _TILE:
        return [m.float() for m in network(picture)]
    out: list[Tensor] = []
    for top in range(0, height, _TILE):
        for left in range(0, width, _TILE):
            bottom, right = min(top + _TILE, height), min(left + _TILE, width)
            y0, x0 = max(top - _MARGIN, 0), max(left - _MARGIN, 0)
            y1, x1 = min(bottom + _MARGIN, height), min(right + _MARGIN, width)
            found = network(picture[:, :, y0:y1, x0:x1])
            if not out:
                out = [
                    m.new_empty((1, m.shape[1], height // s, width // s), dtype=torch.float32)
                    for m, s in zip(found, strides, strict=True)
                ]
            for whole, part, s in zip(out, found, strides, strict=True):
                rows = slice((top - y0) // s, (bottom - y0) // s)
                columns = slice((left - x0) // s, (right - x0) // s)
                whole[:, :, top // s : bottom // s, left // s : right // s] = part[
                    :, :, rows, columns
                ]
    return out


def dense_of(
    image: Image,
    network: Callable[[Tensor], Sequence[Tensor]],
    levels: Mapping[str, int],
    about: tuple[str, str],
    device: torch.device,
    families: Sequence[str] = (),
) -> DenseFeatures:
    """Return a network's maps as features of an image, steered by its own edges.

    Parameters
    ----------
    image : Image
    network : function
        As of `tiled`, of the picture of `standard_grey`.
    levels : mapping of str to int
        Tag and stride of every map.
    about : (str, str)
        What made them, with the digest of its weights, and their licence.
    device : torch.device
    families : sequence of str
        One for each of the levels, see `Plane`; all of one where left out.
    """
    families = families or ["network"] * len(levels)
    grey = standard_grey(image)
    picture = padded(torch.from_numpy(grey)[None, None].to(device))
    with torch.inference_mode():
        found = tiled(picture, network, list(levels.values()))
        planes = tuple(
            edge_plane(maps, picture, _numbered(tag, maps), float(stride), families[place])
            for place, (maps, (tag, stride)) in enumerate(zip(found, levels.items(), strict=True))
        )
    return DenseFeatures(planes, image.shape, grey, about[:1], about[1])


def _numbered(tag: str, maps: Tensor) -> list[str]:
    return [f"{tag}.{i}" for i in range(maps.shape[1])]
