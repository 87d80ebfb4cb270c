"""Join pieces of one particle: the automatic mode cuts rods across where nothing divides them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from scipy import ndimage

from particle_nb.core.masks import Mask
from particle_nb.models.embedded.inference import refine
from particle_nb.models.embedded.network import PromptableNetwork
from particle_nb.models.embedded.regions import FEATURES, box_rois, sample_points
from particle_nb.models.embedded.views import (
    RIM,
    Decoded,
    View,
    cell_px,
    decode_fitting,
    fitting,
    main_part,
    pixel_mask,
    stretches,
)

#: Two masks touch if they come this close, px.
_NEAR = 2


@dataclass(frozen=True, eq=False)
class Pair:
    """Two masks that touch: both as one mask, and the points (N, 2) of the seam, (x, y)."""

    first: int
    second: int
    union: Mask
    seam: np.ndarray


def touching(masks: Sequence[Mask]) -> list[Pair]:
    """Pairs of masks that touch, and their seams.

    >>> one, other = np.zeros((8, 9), bool), np.zeros((8, 9), bool)
    >>> one[2:5, 1:4], other[2:5, 4:8] = True, True
    >>> [pair.union.area for pair in touching([Mask.from_full(one), Mask.from_full(other)])]
    [21]
    """
    if not masks:
        return []
    boxes = np.array([mask.bbox for mask in masks])
    pairs = []
    for index, here in enumerate(boxes):
        near = (boxes[:index, :2] <= here[2:] + _NEAR) & (boxes[:index, 2:] + _NEAR >= here[:2])
        for other in np.flatnonzero(near.all(1)).tolist():
            pair = _pair(masks, index, other)
            if pair is not None:
                pairs.append(pair)
    return pairs


def _pair(masks: Sequence[Mask], first: int, second: int) -> Pair | None:
    boxes = np.array([masks[first].bbox, masks[second].bbox])
    low, high = boxes[:, :2].min(0), boxes[:, 2:].max(0)
    planes = np.zeros((2, *(high - low + 2 * _NEAR)), bool)
    for plane, mask in zip(planes, (masks[first], masks[second]), strict=True):
        r0, c0, r1, c1 = np.array(mask.bbox) - np.tile(low, 2) + _NEAR
        plane[r0:r1, c0:c1] = mask.crop
    wide = [ndimage.binary_dilation(plane, iterations=_NEAR) for plane in planes]
    strip = wide[0] & wide[1]
    if np.count_nonzero(strip) < 4:
        return None
    both = ndimage.binary_closing(planes[0] | planes[1], iterations=_NEAR)
    # its ends lie on the outline of the union, where there is a boundary whatever divides the two
    inner = strip & ndimage.binary_erosion(both, iterations=_NEAR)
    rows, columns = np.nonzero(inner if np.count_nonzero(inner) >= 4 else strip)
    both = both[_NEAR:-_NEAR, _NEAR:-_NEAR]
    if ndimage.label(both)[1] != 1:
        return None
    union = Mask((int(low[0]), int(low[1])), both, masks[first].shape)
    seam = np.stack([columns + low[1], rows + low[0]], 1) - float(_NEAR)
    return Pair(first, second, union, seam)


def undivided(view: View, frame: tuple[int, int], strength: float) -> list[Mask]:
    """What hangs together as foreground without a boundary of this probability across, as masks."""
    parts, solid = stretches(view, strength)
    masks = []
    cell = 2.0 / view.scale
    for number, place in enumerate(ndimage.find_objects(parts), 1):
        low = [max(s.start - RIM - 1, 0) for s in place]
        high = [min(s.stop + RIM + 1, n) for s, n in zip(place, solid.shape, strict=True)]
        window = slice(low[0], high[0]), slice(low[1], high[1])
        inner = parts[window] == number
        if np.count_nonzero(inner) < 8:
            continue
        whole = ndimage.binary_dilation(inner, iterations=RIM) & solid[window]
        y0, x0 = (view.origin[1] + low[0] * cell, view.origin[0] + low[1] * cell)
        rows = np.arange(max(round(y0), 0), min(round(y0 + len(whole) * cell), frame[0]))
        columns = np.arange(max(round(x0), 0), min(round(x0 + whole.shape[1] * cell), frame[1]))
        if not len(rows) or not len(columns):
            continue
        at = ((rows + 0.5 - y0) / cell).astype(int).clip(0, whole.shape[0] - 1)
        on = ((columns + 0.5 - x0) / cell).astype(int).clip(0, whole.shape[1] - 1)
        crop = whole[np.ix_(at, on)]
        if crop.any():
            masks.append(Mask((int(rows[0]), int(columns[0])), crop, frame))
    return masks


def seam_strength(views: Sequence[View], pair: Pair) -> float:
    """Mean boundary probability that the network sees along the seam of a pair."""
    r0, c0, r1, c1 = pair.union.bbox
    view = views[fitting(views, 1.4 * max(r1 - r0, c1 - c0))]
    points = view.into(torch.from_numpy(pair.seam).to(view.maps))[None]
    maps = view.maps[:, FEATURES + 1 : FEATURES + 2]
    return float(torch.sigmoid(sample_points(maps, points, view.frame)).mean())


def box_decoded(
    network: PromptableNetwork, views: Sequence[View], masks: Sequence[Mask]
) -> Decoded:
    """Decode the boxes of masks, and decode again what that gives."""
    boxes = np.array([mask.bbox for mask in masks], np.float32)[:, [1, 0, 3, 2]] - 0.5
    corners = torch.from_numpy(boxes).to(views[0].maps)
    points = corners.new_full((len(corners), 1, 3), -1.0)
    rois = box_rois(corners, least=12.0 / views[0].scale)
    first = decode_fitting(network, views, rois, points, corners)
    return refine(network, views, first, points, corners)


def decoded_mask(
    views: Sequence[View],
    decoded: Decoded,
    index: int,
    frame: tuple[int, int],
    window: tuple[int, int, int, int],
) -> Mask | None:
    """One decoded mask in image pixels, its main part only; None if it is empty or tiny."""
    made = pixel_mask(decoded.logits[index], decoded.rois[index], window)
    if made is None:
        return None
    crop = main_part(made[1])
    if np.count_nonzero(crop) < 9:
        return None
    return Mask(
        made[0],
        crop,
        frame,
        predicted_iou=float(decoded.score[index]),
        stability_score=float(decoded[slice(index, index + 1)].stability()[0]),
        grid_px=cell_px(views, decoded.rois[index]),
    )


def diameter(mask: Mask, scale: float) -> float:
    """Diameter of the circle as large as a mask, in pixels of a view of this scale."""
    return 2.0 * math.sqrt(mask.area / math.pi) * scale
