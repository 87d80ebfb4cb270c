"""One particle at its own scale, everything around it taken away: what networks look at."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch.nn import functional as F  # noqa: N812

from particle_nb.core.errors import DataError, ModelError
from particle_nb.core.image import Image
from particle_nb.core.masks import Mask, MaskSet
from particle_nb.models.tiles import particle_window

#: Free space around a particle, as a share of its longer side.
MARGIN = 0.15
_BATCH = 32


def extract_rows(
    image: Image,
    masks: MaskSet,
    side: int,
    network: Callable[[torch.Tensor, torch.Tensor], torch.Tensor],
    width: int,
) -> np.ndarray:
    """Return what a network says of every particle, float32 (N, width).

    Parameters
    ----------
    image : Image
    masks : MaskSet
        On the image's frame.
    side : int
        Side in pixels that every crop is brought to.
    network : function
        From crops (B, 1, side, side), 0 in the middle of the image's grey range and 1 at its ends
        (percentiles 1 to 99), 0 outside the particle, and shares of pixels covered by it (B, 1,
        side, side), to rows (B, width).
    width : int

    Raises
    ------
    DataError
        If the masks are of another frame.
    ModelError
        If the network puts out NaN.
    """
    if not isinstance(masks, MaskSet) or masks.shape != image.shape:
        raise DataError(f"the masks must be a MaskSet on the image's frame {image.shape}.")
    grey = image.grey
    step = max(1, int(np.sqrt(grey.size / 250_000)))
    low, middle, high = np.percentile(grey[::step, ::step], (1, 50, 99))
    half = max(float(high - low) / 2, 1e-6 * max(abs(float(middle)), 1.0))
    rows = np.zeros((len(masks), width), np.float32)
    for start in range(0, len(masks), _BATCH):
        part = range(start, min(start + _BATCH, len(masks)))
        views = [_view(grey, masks[i], side, float(high + low) / 2, half) for i in part]
        pixels, shares = (torch.cat(tensors) for tensors in zip(*views, strict=True))
        with torch.inference_mode():
            rows[part.start : part.stop] = network(pixels, shares).float().cpu().numpy()
    if not np.isfinite(rows).all():
        raise ModelError("the network puts out NaN or infinite features; weights damaged?")
    return rows


def _view(
    grey: np.ndarray, mask: Mask, side: int, middle: float, half: float
) -> tuple[torch.Tensor, torch.Tensor]:
    x0, y0, x1, y1 = particle_window(mask, MARGIN)
    longest = max(x1 - x0, y1 - y0)
    inside = np.zeros((longest, longest), np.float32)
    pixels = np.zeros((longest, longest), np.float32)
    # a window that the frame cuts short is filled up, so that no particle is stretched
    top, left = (longest - (y1 - y0)) // 2, (longest - (x1 - x0)) // 2
    r0, c0, r1, c1 = mask.bbox
    place = (
        slice(top + r0 - y0, top + r1 - y0),
        slice(left + c0 - x0, left + c1 - x0),
    )
    inside[place] = mask.crop
    pixels[place] = np.clip((grey[r0:r1, c0:c1] - middle) / half, -3, 3) * mask.crop
    both = torch.from_numpy(np.stack([pixels, inside]))[None]
    both = F.interpolate(
        both, size=(side, side), mode="bilinear", antialias=longest > side, align_corners=False
    )
    return both[:, :1], both[:, 1:]


def pooled(maps: torch.Tensor, shares: torch.Tensor) -> torch.Tensor:
    """Return mean and standard deviation of maps (B, C, h, w) over shares (B, 1, H, W): (B, 2C).

    Examples
    --------
    >>> maps = torch.arange(4.0).reshape(1, 1, 2, 2)
    >>> [round(v, 3) for v in pooled(maps, torch.tensor([[[[1.0, 1.0], [0, 0]]]]))[0].tolist()]
    [0.5, 0.5]
    """
    weights = F.interpolate(shares, size=maps.shape[2:], mode="area") + 1e-6
    weights = weights / weights.sum((2, 3), keepdim=True)
    mean = (maps * weights).sum((2, 3), keepdim=True)
    spread = ((maps - mean) ** 2 * weights).sum((2, 3)).sqrt()
    return torch.cat([mean[:, :, 0, 0], spread], 1)
