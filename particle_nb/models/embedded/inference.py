"""Prompts on one encoded view of an image: the bank of ROIs, refinement, masks as pixel crops.

Everything in here is in pixels of the view (the encoded, possibly scaled window); `View` converts.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor
from torch.nn import functional as F

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

#: Sides of the square ROIs tried around a click, in view pixels.
BANK = (20.0, 36.0, 64.0, 114.0, 200.0, 360.0)
#: ROIs decoded in one go; larger batches spend their time in page faults on a CPU.
BATCH = 8


@dataclass(frozen=True, eq=False)
class View:
    """An encoded window: tensors and the way to and from image pixels.

    image (1, 1, H, W) normalised, maps (1, 32, H/2, W/2); `size` is the part (h, w) that is no
    padding; `origin` (x, y) and `scale` place it: view = (image - origin + 0.5) * scale - 0.5.
    """

    image: Tensor
    maps: Tensor
    size: tuple[int, int]
    origin: tuple[float, float] = (0.0, 0.0)
    scale: float = 1.0

    def into(self, points: np.ndarray) -> np.ndarray:
        """Image coordinates (..., 2) to view coordinates."""
        return (np.asarray(points, float) - np.asarray(self.origin) + 0.5) * self.scale - 0.5

    def out(self, points: np.ndarray) -> np.ndarray:
        """View coordinates (..., 2) to image coordinates."""
        return (np.asarray(points, float) + 0.5) / self.scale - 0.5 + np.asarray(self.origin)

    def dense(self) -> Tensor:
        """Foreground, boundary and centreness probabilities (3, H/2, W/2)."""
        return torch.sigmoid(self.maps[0, FEATURES : FEATURES + 3])


@dataclass(frozen=True, eq=False)
class Decoded:
    """Masks of T prompts: logits (T, MASK, MASK) on rois (T, 4), predicted IoU (T,) before calibration."""

    logits: Tensor
    rois: Tensor
    score: Tensor

    def __getitem__(self, index: Tensor | slice) -> Decoded:
        return Decoded(self.logits[index], self.rois[index], self.score[index])

    @staticmethod
    def join(parts: list[Decoded]) -> Decoded:
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
        """Boxes (T, 4) of the masks."""
        return mask_boxes(self.logits > 0, self.rois)

    def areas(self) -> Tensor:
        """Areas (T,) in view px^2."""
        cell = self.rois[:, 2] * self.rois[:, 3] / (MASK * MASK)
        return (self.logits > 0).sum((1, 2)) * cell


def decode(
    network: PromptableNetwork,
    view: View,
    rois: Tensor,
    points: Tensor,
    boxes: Tensor | None = None,
    previous: Tensor | None = None,
) -> Decoded:
    """Decode T prompts: rois (T, 4), points (T, K, 3), boxes (T, 4), previous (T, MASK, MASK)."""
    if boxes is None:
        boxes = rois.new_full((len(rois), 4), float("nan"))
    logits, score = [], []
    for start in range(0, len(rois), BATCH):
        part = slice(start, start + BATCH)
        before = None if previous is None else previous[part][None]
        flag = None if previous is None else rois.new_ones(1, len(rois[part]))
        prompts = RoiPrompts(points[part][None], boxes[part][None], before, flag)
        a, b = network.decode(view.maps, view.image, rois[part][None], prompts)
        logits.append(a[0])
        score.append(torch.sigmoid(b[0]))
    return Decoded(torch.cat(logits), rois, torch.cat(score))


def widened(boxes: Tensor, points: Tensor) -> Tensor:
    """Boxes (T, 4) enlarged to hold their positive clicks (T, K, 3)."""
    positive = points[..., 2:] > 0.5
    low = torch.where(positive, points[..., :2], torch.inf).amin(1)
    high = torch.where(positive, points[..., :2], -torch.inf).amax(1)
    return torch.cat([torch.minimum(boxes[:, :2], low), torch.maximum(boxes[:, 2:], high)], 1)


def refine(
    network: PromptableNetwork,
    view: View,
    old: Decoded,
    points: Tensor,
    boxes: Tensor | None = None,
) -> Decoded:
    """Crop to every mask's own box and decode again with the mask as previous mask."""
    rois = box_rois(widened(old.boxes(), points))
    before = resample_masks(torch.sigmoid(old.logits), old.rois, rois)
    return decode(network, view, rois, points, boxes, before)


def overlap(a: Decoded, b: Decoded, samples: int = 64) -> np.ndarray:
    """IoU (len(a), len(b)) of masks on ROIs, sampled on a common grid."""
    boxes_a, boxes_b = a.boxes(), b.boxes()
    out = np.zeros((len(a.rois), len(b.rois)))
    for i in range(len(a.rois)):
        for j in range(len(b.rois)):
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


def bank_rois(view: View, points: Tensor) -> Tensor:
    """The ROIs (T, 4) tried for the clicks (K, 3) of one particle."""
    positive = points[points[:, 2] > 0.5, :2]
    first = positive[:1]
    longest = 1.6 * max(view.size)
    sides = [side for side in BANK if side < longest]
    squares = torch.cat(
        [first.expand(len(sides), 2), first.new_tensor(sides)[:, None].expand(-1, 2)], 1
    )
    guess = box_rois(point_boxes(view.maps, first[None], view.image.shape[2:])[0]).clamp(max=800.0)
    if len(positive) > 1:
        low, high = positive.amin(0), positive.amax(0)
        reach = float((high - low).max())
        spread = torch.cat([0.5 * (low + high)] * len(sides)).reshape(-1, 2)
        squares = torch.cat([spread, squares[:, 2:].clamp(min=1.3 * reach)], 1)
        squares = torch.unique(squares, dim=0)
    return torch.cat([squares, guess])


def click(network: PromptableNetwork, view: View, points: Tensor, keep: int = 3) -> Decoded:
    """Up to `keep` candidates for the clicks (K, 3) of one particle, best first."""
    rois = bank_rois(view, points)
    # The first click finds the particle, the others correct what it gave, as in training.
    spots = points[None].expand(len(rois), -1, -1)
    first = decode(network, view, rois, spots)
    order = torch.argsort(first.score * (0.5 + 0.5 * agreement(first, spots)), descending=True)
    top = first[order[:keep]]
    spots = spots[: len(top.rois)]
    second = refine(network, view, top, spots)
    return ranked([second], spots, keep)


def ranked(parts: list[Decoded], points: Tensor, keep: int = 3, same: float = 0.9) -> Decoded:
    """The best candidates first, near duplicates dropped; `points` (any T, K, 3) must be obeyed."""
    every = Decoded.join(parts)
    spots = points[:1].expand(len(every.rois), -1, -1)
    value = every.score * (0.3 + 0.7 * agreement(every, spots)) if spots.numel() else every.score
    value = torch.where(every.areas() > 0, value, value - 1.0)
    order = torch.argsort(value, descending=True)
    every = every[order]
    chosen: list[int] = []
    for index in range(len(order)):
        if len(chosen) == keep:
            break
        here = every[slice(index, index + 1)]
        if chosen and overlap(here, every[torch.tensor(chosen)]).max() > same:
            continue
        chosen.append(index)
    return every[torch.tensor(chosen)]


def box(network: PromptableNetwork, view: View, box_: Tensor, points: Tensor) -> Decoded:
    """Candidates for a box (4,) with optional clicks (K, 3), best first."""
    rois = box_rois(box_[None])
    spots = points[None]
    first = decode(network, view, rois, spots, box_[None])
    second = refine(network, view, first, spots, box_[None])
    return ranked([first, second], spots)


def sketch(
    network: PromptableNetwork, view: View, drawn: Tensor, frame: Tensor, points: Tensor
) -> Decoded:
    """Candidates for a rough mask `drawn` (h, w) that lies on the ROI `frame` (4,)."""
    soft = F.interpolate(
        drawn[None, None].float(), size=(MASK, MASK), mode="bilinear", antialias=True
    )[0]
    spots = points[None]
    rough = Decoded(soft * 8.0 - 4.0, frame[None], frame.new_zeros(1))
    rois = box_rois(widened(rough.boxes(), spots))
    first = decode(network, view, rois, spots, None, resample_masks(soft, frame[None], rois))
    second = refine(network, view, first, spots)
    return ranked([first, second], spots)


def pixel_mask(
    logits: Tensor, roi: Tensor, view: View, window: tuple[int, int, int, int]
) -> tuple[tuple[int, int], np.ndarray] | None:
    """Origin (row, col) and bool crop of one mask in image pixels within `window`, or None if empty."""
    cx, cy, w, h = (float(v) for v in roi)
    corners = view.out(np.array([[cx - w / 2, cy - h / 2], [cx + w / 2, cy + h / 2]]))
    x0 = max(int(np.ceil(corners[0, 0])), window[0])
    y0 = max(int(np.ceil(corners[0, 1])), window[1])
    x1 = min(int(np.floor(corners[1, 0])) + 1, window[2])
    y1 = min(int(np.floor(corners[1, 1])) + 1, window[3])
    if x1 <= x0 or y1 <= y0:
        return None
    x = view.into(np.stack([np.arange(x0, x1), np.zeros(x1 - x0)], 1))[:, 0]
    y = view.into(np.stack([np.zeros(y1 - y0), np.arange(y0, y1)], 1))[:, 1]
    rows = np.clip((y - (cy - h / 2)) / h * MASK - 0.5, 0, MASK - 1)
    columns = np.clip((x - (cx - w / 2)) / w * MASK - 0.5, 0, MASK - 1)
    field = logits.cpu().numpy()
    # Separable bilinear sampling; a matrix product each way is the fastest on small crops.
    crop = _weights(rows) @ field @ _weights(columns).T
    mask = crop > 0
    return ((y0, x0), mask) if mask.any() else None


def _weights(position: np.ndarray) -> np.ndarray:
    low = np.minimum(np.floor(position).astype(int), MASK - 2)
    part = (position - low).astype(np.float32)
    out = np.zeros((len(position), MASK), np.float32)
    index = np.arange(len(position))
    out[index, low] = 1 - part
    out[index, low + 1] = part
    return out


def main_part(mask: np.ndarray, spots: np.ndarray) -> np.ndarray:
    """The largest connected part and the parts under the positive clicks (N, 2) as (row, col)."""
    parts, count = ndimage.label(mask)
    if count <= 1:
        return mask
    sizes = np.bincount(parts.ravel())
    sizes[0] = 0
    keep = np.zeros(count + 1, bool)
    keep[sizes.argmax()] = True
    for row, column in np.asarray(spots, int).reshape(-1, 2):
        if 0 <= row < mask.shape[0] and 0 <= column < mask.shape[1]:
            keep[parts[row, column]] = True
    keep[0] = False
    return keep[parts]


def peaks(view: View, least: float = 0.12, allowed: np.ndarray | None = None) -> np.ndarray:
    """Points (N, 2) in view pixels where the dense maps expect particle centres, best first."""
    dense = view.dense()
    height, width = (view.size[0] + 1) // 2, (view.size[1] + 1) // 2
    value = (dense[0] * dense[2])[:height, :width]
    if allowed is not None:
        value = value * torch.from_numpy(allowed[:height, :width]).to(value)
    smooth = F.avg_pool2d(value[None, None], 3, 1, 1, count_include_pad=False)[0, 0]
    local = F.max_pool2d(smooth[None, None], 5, 1, 2)[0, 0]
    hit = (smooth >= local) & (smooth > least)
    rows, columns = torch.nonzero(hit, as_tuple=True)
    if not len(rows):
        return np.empty((0, 2))
    scores = smooth[rows, columns]
    points = torch.stack([2.0 * columns + 0.5, 2.0 * rows + 0.5], 1)
    log_radius = sample_points(
        view.maps[:, FEATURES + 3 : FEATURES + 4], points[None], view.image.shape[2:]
    )[0, :, 0]
    radius = (16.0 * torch.exp(log_radius.clamp(-3, 3))).cpu().numpy()
    order = torch.argsort(scores, descending=True).cpu().numpy()
    places = points.cpu().numpy()
    chosen: list[int] = []
    kept = np.empty((0, 2))
    for index in order:
        reach = max(3.0, 0.35 * radius[index])
        if len(kept) and (np.abs(kept - places[index]).max(1) < reach).any():
            continue
        chosen.append(int(index))
        kept = places[chosen]
    return places[chosen]
