"""Prompts on an encoded image: the bank of ROIs, refinement, masks as pixel crops.

An image is encoded as a few views, each half as fine as the one before. ROIs, boxes, clicks and
masks in here are in image pixels; only `decode` and the dense maps know the pixels of a view.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from particle_nb.models.embedded.network import (
    FEATURES,
    MASK,
    PromptableNetwork,
    RoiPrompts,
    box_rois,
    mask_boxes,
    point_boxes,
    resample_masks,
    sample_points,
)

#: Sides of the square ROIs tried around a click, in pixels of the finest view. Few and far apart:
#: that finds the particle as surely as a dense bank, and the candidates differ more.
BANK = (30.0, 87.0, 250.0, 720.0)
#: A given ROI is decoded on the finest view in which it is no larger than this.
LARGEST_ROI = 240.0
#: Candidates below this share of the best value are not refined.
HOPEFUL = 0.8
#: From this ratio of its box's sides on a mask counts as long.
LONG = 1.5
#: ROIs decoded in one go; larger batches spend their time in page faults on a CPU.
BATCH = 8


@dataclass(frozen=True, eq=False)
class View:
    """One encoding of a window: tensors and the way to and from image pixels.

    image (1, 1, H, W) normalised, maps (1, 32, H/2, W/2); `size` is the part (h, w) that is no
    padding; `origin` (x, y) and `scale` place it: view = (image - origin + 0.5) * scale - 0.5.
    """

    image: Tensor
    maps: Tensor
    size: tuple[int, int]
    origin: tuple[float, float] = (0.0, 0.0)
    scale: float = 1.0

    def into(self, points: Tensor) -> Tensor:
        """Image coordinates (..., 2) to view coordinates."""
        return (points - points.new_tensor(self.origin) + 0.5) * self.scale - 0.5

    def out(self, points: Tensor) -> Tensor:
        """View coordinates (..., 2) to image coordinates."""
        return (points + 0.5) / self.scale - 0.5 + points.new_tensor(self.origin)

    def guess(self, spots: Tensor) -> Tensor:
        """ROIs (T, 4) in image pixels around the boxes that the dense maps expect at (T, 2)."""
        inside = self.into(spots)
        boxes = point_boxes(self.maps, inside[None], self.frame)[0]
        rois = box_rois(boxes)
        rois = torch.cat([rois[:, :2], rois[:, 2:].clamp(max=1.7 * max(self.size))], 1)
        return torch.cat([self.out(rois[:, :2]), rois[:, 2:] / self.scale], 1)

    def radius(self, spots: Tensor) -> Tensor:
        """Expected radii (T,) in view pixels of particles at (T, 2)."""
        maps = self.maps[:, FEATURES + 3 : FEATURES + 4]
        values = sample_points(maps, self.into(spots)[None], self.frame)[0, :, 0]
        return 16.0 * torch.exp(values.clamp(-3.0, 3.5))

    @property
    def frame(self) -> tuple[int, int]:
        """Height and width with padding."""
        return int(self.image.shape[2]), int(self.image.shape[3])


@dataclass(frozen=True, eq=False)
class Decoded:
    """Masks of T prompts: logits (T, MASK, MASK) on rois (T, 4) in image pixels, scores (T,).

    A score is the predicted IoU before calibration.
    """

    logits: Tensor
    rois: Tensor
    score: Tensor

    def __getitem__(self, index: Tensor | slice) -> Decoded:
        return Decoded(self.logits[index], self.rois[index], self.score[index])

    def __len__(self) -> int:
        return len(self.rois)

    @staticmethod
    def join(parts: Sequence[Decoded]) -> Decoded:
        """One value of several."""
        return Decoded(
            torch.cat([p.logits for p in parts]),
            torch.cat([p.rois for p in parts]),
            torch.cat([p.score for p in parts]),
        )

    def stability(self, offset: float = 1.0) -> Tensor:
        """IoU (T,) of the masks at logits above +offset and above -offset."""
        high = (self.logits > offset).sum((1, 2))
        low = (self.logits > -offset).sum((1, 2))
        return high / low.clamp(min=1)

    def boxes(self) -> Tensor:
        """Boxes (T, 4) of the masks; the ROI where a mask is empty."""
        return mask_boxes(self.logits > 0, self.rois)

    def areas(self) -> Tensor:
        """Areas (T,) in px^2."""
        cell = self.rois[:, 2] * self.rois[:, 3] / (MASK * MASK)
        return (self.logits > 0).sum((1, 2)) * cell


def inputs(
    network: PromptableNetwork,
    view: View,
    rois: Tensor,
    points: Tensor,
    boxes: Tensor | None,
    previous: Tensor | None,
) -> Tensor:
    """What the decoder sees of T prompts on one view."""
    inner = torch.cat([view.into(rois[:, :2]), rois[:, 2:] * view.scale], 1)
    clicks = torch.cat([view.into(points[..., :2]), points[..., 2:]], -1)
    if boxes is None:
        corners = rois.new_full((len(rois), 4), float("nan"))
    else:
        corners = torch.cat([view.into(boxes[:, :2]), view.into(boxes[:, 2:])], 1)
    before = None if previous is None else previous[None]
    flag = None if previous is None else rois.new_ones(1, len(rois))
    prompts = RoiPrompts(clicks[None], corners[None], before, flag)
    return network.decoder.inputs(view.maps, view.image, inner[None], prompts)


def decode(
    network: PromptableNetwork,
    view: View,
    rois: Tensor,
    points: Tensor,
    boxes: Tensor | None = None,
    previous: Tensor | None = None,
) -> Decoded:
    """Decode T prompts: rois (T, 4), points (T, K, 3), boxes (T, 4), previous (T, MASK, MASK)."""
    logits, score = [], []
    for start in range(0, len(rois), BATCH):
        part = slice(start, start + BATCH)
        x = inputs(
            network,
            view,
            rois[part],
            points[part],
            None if boxes is None else boxes[part],
            None if previous is None else previous[part],
        )
        a, b = network.decoder.answer(x)
        logits.append(a)
        score.append(torch.sigmoid(b))
    return Decoded(torch.cat(logits), rois, torch.cat(score))


def fitting(views: Sequence[View], extent: float) -> int:
    """Number of the finest view in which an ROI of this side in image pixels is not too large."""
    for number, view in enumerate(views):
        if extent * view.scale <= LARGEST_ROI:
            return number
    return len(views) - 1


def decode_fitting(
    network: PromptableNetwork,
    views: Sequence[View],
    rois: Tensor,
    points: Tensor,
    boxes: Tensor | None = None,
    previous: Tensor | None = None,
) -> Decoded:
    """Like `decode`, every ROI on the view that suits its size."""
    which = np.array([fitting(views, extent) for extent in rois[:, 2:].amax(1).tolist()])
    order = np.argsort(which, kind="stable")
    if len(rois) > BATCH:
        parts = [
            decode(
                network,
                views[number],
                rois[at],
                points[at],
                None if boxes is None else boxes[at],
                None if previous is None else previous[at],
            )
            for number in np.unique(which)
            for at in [torch.from_numpy(np.flatnonzero(which == number))]
        ]
        return Decoded.join(parts)[torch.from_numpy(np.argsort(order))]
    # A few go through the decoder together, whatever their views: calls of one cost twice as much.
    seen = []
    for number in np.unique(which):
        at = torch.from_numpy(np.flatnonzero(which == number))
        box_ = None if boxes is None else boxes[at]
        before = None if previous is None else previous[at]
        seen.append(inputs(network, views[number], rois[at], points[at], box_, before))
    logits, score = network.decoder.answer(torch.cat(seen))
    back = torch.from_numpy(np.argsort(order))
    return Decoded(logits[back], rois, torch.sigmoid(score)[back])


def widened(boxes: Tensor, points: Tensor) -> Tensor:
    """Boxes (T, 4) enlarged to hold their positive clicks (T, K, 3)."""
    positive = points[..., 2:] > 0.5
    low = torch.where(positive, points[..., :2], torch.inf).amin(1)
    high = torch.where(positive, points[..., :2], -torch.inf).amax(1)
    return torch.cat([torch.minimum(boxes[:, :2], low), torch.maximum(boxes[:, 2:], high)], 1)


def refine(
    network: PromptableNetwork,
    views: Sequence[View],
    old: Decoded,
    points: Tensor,
    boxes: Tensor | None = None,
) -> Decoded:
    """Crop to every mask's own box and decode again with the mask as previous mask."""
    rois = box_rois(widened(old.boxes(), points), least=12.0 / views[0].scale)
    before = resample_masks(torch.sigmoid(old.logits), old.rois, rois)
    return decode_fitting(network, views, rois, points, boxes, before)


def overlap(a: Decoded, b: Decoded, samples: int = 64) -> np.ndarray:
    """IoU (len(a), len(b)) of masks on ROIs, sampled on a common grid."""
    boxes_a, boxes_b = a.boxes(), b.boxes()
    out = np.zeros((len(a), len(b)))
    for i in range(len(a)):
        for j in range(len(b)):
            low = torch.minimum(boxes_a[i, :2], boxes_b[j, :2])
            high = torch.maximum(boxes_a[i, 2:], boxes_b[j, 2:])
            roi = torch.cat([0.5 * (low + high), high - low])[None]
            frames = [
                resample_masks((d.logits[k : k + 1] > 0).float(), d.rois[k : k + 1], roi)[0] > 0.5
                for d, k in ((a, i), (b, j))
            ]
            both = int((frames[0] & frames[1]).sum())
            out[i, j] = both / max(int((frames[0] | frames[1]).sum()), 1)
    return out


def agreement(decoded: Decoded, points: Tensor) -> Tensor:
    """Share (T,) of the clicks that the masks obey: positives inside, negatives outside."""
    x = 2.0 * (points[..., 0] - decoded.rois[:, None, 0]) / decoded.rois[:, None, 2]
    y = 2.0 * (points[..., 1] - decoded.rois[:, None, 1]) / decoded.rois[:, None, 3]
    grid = torch.stack([x, y], -1)[:, None]
    at = F.grid_sample(
        torch.sigmoid(decoded.logits)[:, None], grid, align_corners=False, padding_mode="zeros"
    )[:, 0, 0]
    used = points[..., 2] > -0.5
    right = torch.where(points[..., 2] > 0.5, at > 0.4, at < 0.5)
    return (right & used).sum(1) / used.sum(1).clamp(min=1)


def bank(views: Sequence[View], points: Tensor) -> Tensor:
    """The ROIs (T, 4) tried for the clicks (K, 3) of one particle."""
    scale = views[0].scale
    positive = points[points[:, 2] > 0.5, :2]
    low, high = positive.amin(0), positive.amax(0)
    centre = positive[0] if len(positive) == 1 else 0.5 * (low + high)
    longest = 1.7 * max(views[0].size)
    sides = [side / scale for side in BANK if side < longest] or [longest / scale]
    lengths = torch.tensor(sides).to(points).clamp(min=1.3 * float((high - low).max()))
    lengths = torch.unique(lengths)
    return torch.cat([centre.expand(len(lengths), 2), lengths[:, None].expand(-1, 2)], 1)


def click(
    network: PromptableNetwork, views: Sequence[View], points: Tensor, keep: int = 3
) -> Decoded:
    """Up to `keep` candidates for the clicks (K, 3) of one particle, best first."""
    found, spots = click_candidates(network, views, points, keep)
    return ranked([found], spots, keep)


def click_candidates(
    network: PromptableNetwork, views: Sequence[View], points: Tensor, keep: int
) -> tuple[Decoded, Tensor]:
    """What the bank gives for the clicks (K, 3), refined, and the clicks for each."""
    rois = bank(views, points)
    spots = points[None].expand(len(rois), -1, -1)
    first = decode_fitting(network, views, rois, spots)
    value = first.score * (0.5 + 0.5 * agreement(first, spots))
    order = torch.argsort(value, descending=True)[:keep]
    # Poor ones stay as they are: a second look at them takes time and changes nothing.
    able = value[order] >= HOPEFUL * value[order[0]]
    top = first[order[able]]
    second = Decoded.join([refine(network, views, top, spots[: len(top)]), first[order[~able]]])
    # Once more if the best is long: a rod is not always seen to its ends at first.
    value = second.score * (0.5 + 0.5 * agreement(second, spots[: len(second)]))
    best = second[torch.argsort(value, descending=True)[:1]]
    extent = best.boxes()[0, 2:] - best.boxes()[0, :2]
    if float(extent.max()) < LONG * float(extent.min()):
        return second, spots[: len(second)]
    third = refine(network, views, best, spots[:1])
    return Decoded.join([second, third]), points[None].expand(len(second) + 1, -1, -1)


def ranked(parts: Sequence[Decoded], points: Tensor, keep: int = 3, same: float = 0.9) -> Decoded:
    """The best candidates first, near duplicates dropped.

    The predicted IoU is lowered where a mask does not obey the clicks, `points` (any T, K, 3).
    """
    every = Decoded.join(parts)
    spots = points[:1].expand(len(every), -1, -1)
    value = every.score
    if bool((spots[..., 2] > -0.5).any()):
        value = value * (0.3 + 0.7 * agreement(every, spots))
    value = torch.where(every.areas() > 0, value, torch.zeros_like(value))
    every = replace(every, score=value)[torch.argsort(value, descending=True)]
    chosen: list[int] = []
    for index in range(len(every)):
        if len(chosen) == keep:
            break
        here = every[slice(index, index + 1)]
        if chosen and overlap(here, every[torch.tensor(chosen)]).max() > same:
            continue
        chosen.append(index)
    return every[torch.tensor(chosen)]


def box(network: PromptableNetwork, views: Sequence[View], box_: Tensor, points: Tensor) -> Decoded:
    """Candidates for a box (4,) with optional clicks (K, 3), best first."""
    rois = box_rois(box_[None], least=12.0 / views[0].scale)
    spots = points[None]
    first = decode_fitting(network, views, rois, spots, box_[None])
    second = refine(network, views, first, spots, box_[None])
    return ranked([first, second], spots)


def sketch(
    network: PromptableNetwork,
    views: Sequence[View],
    drawn: Tensor,
    frame: Tensor,
    points: Tensor,
) -> Decoded:
    """Candidates for a rough mask `drawn` (h, w) that lies on the ROI `frame` (4,)."""
    soft = F.interpolate(
        drawn[None, None].float(), size=(MASK, MASK), mode="bilinear", antialias=True
    )[0]
    spots = points[None]
    rough = Decoded(soft * 8.0 - 4.0, frame[None], frame.new_zeros(1))
    rois = box_rois(widened(rough.boxes(), spots), least=12.0 / views[0].scale)
    before = resample_masks(soft, frame[None], rois)
    first = decode_fitting(network, views, rois, spots, None, before)
    second = refine(network, views, first, spots)
    parts = [first, second]
    if bool((points[:, 2] > 0.5).any()):
        # A previous mask may be so wrong that the clicks alone do better.
        parts.append(click_candidates(network, views, points, 2)[0])
    return ranked(parts, spots)


def pixel_mask(
    logits: Tensor, roi: Tensor, window: tuple[int, int, int, int]
) -> tuple[tuple[int, int], np.ndarray] | None:
    """Origin (row, col) and bool crop of one mask within `window` (x0, y0, x1, y1), or None."""
    cx, cy, w, h = (float(v) for v in roi)
    x0 = max(int(np.ceil(cx - w / 2)), window[0])
    y0 = max(int(np.ceil(cy - h / 2)), window[1])
    x1 = min(int(np.floor(cx + w / 2)) + 1, window[2])
    y1 = min(int(np.floor(cy + h / 2)) + 1, window[3])
    if x1 <= x0 or y1 <= y0:
        return None
    rows = np.clip((np.arange(y0, y1) - (cy - h / 2)) / h * MASK - 0.5, 0, MASK - 1)
    columns = np.clip((np.arange(x0, x1) - (cx - w / 2)) / w * MASK - 0.5, 0, MASK - 1)
    # Separable bilinear sampling; a matrix product each way is the fastest on small crops.
    field = _weights(rows) @ logits.cpu().numpy() @ _weights(columns).T
    mask = field > 0
    return ((y0, x0), mask) if mask.any() else None


def _weights(position: np.ndarray) -> np.ndarray:
    low = np.minimum(np.floor(position).astype(int), MASK - 2)
    part = (position - low).astype(np.float32)
    out = np.zeros((len(position), MASK), np.float32)
    index = np.arange(len(position))
    out[index, low] = 1 - part
    out[index, low + 1] = part
    return out


def main_part(mask: np.ndarray, spots: np.ndarray | None = None) -> np.ndarray:
    """The largest connected part and the parts under the positive clicks (N, 2) as (row, col)."""
    parts, count = ndimage.label(mask)
    if count <= 1:
        return mask
    sizes = np.bincount(parts.ravel())
    sizes[0] = 0
    keep = np.zeros(count + 1, bool)
    keep[sizes.argmax()] = True
    for row, column in np.asarray([] if spots is None else spots, int).reshape(-1, 2):
        if 0 <= row < mask.shape[0] and 0 <= column < mask.shape[1]:
            keep[parts[row, column]] = True
    keep[0] = False
    return keep[parts]
