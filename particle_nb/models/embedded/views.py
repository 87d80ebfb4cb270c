"""Views of an encoded image, decoding prompts on them, and masks as pixel crops.

An image is encoded as a few views, each half as fine as the one before. ROIs, boxes, clicks and
masks in here are in image pixels; only the decoder and the dense maps know the pixels of a view.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from particle_nb.models.embedded.network import PromptableNetwork
from particle_nb.models.embedded.regions import (
    FEATURES,
    MASK,
    RoiPrompts,
    Sight,
    assemble,
    box_rois,
    look,
    mask_boxes,
    point_boxes,
    resample_masks,
    sample_points,
    sample_rois,
    seeds,
)

#: A given ROI is decoded on the finest view in which it is no larger than this.
LARGEST_ROI = 240.0

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


def fitting(views: Sequence[View], extent: float) -> int:
    """Number of the finest view in which an ROI of this side in image pixels is not too large."""
    for number, view in enumerate(views):
        if extent * view.scale <= LARGEST_ROI:
            return number
    return len(views) - 1


def cell_px(views: Sequence[View], roi: Tensor) -> float:
    """Side in image pixels of what a mask decoded on roi (4,) is made of, at least 1."""
    extent = float(roi[2:].max())
    return max(1.0, 1.0 / views[fitting(views, extent)].scale, extent / MASK)


def decode(
    network: PromptableNetwork,
    view: View,
    rois: Tensor,
    points: Tensor,
    boxes: Tensor | None = None,
    previous: Tensor | None = None,
) -> Decoded:
    """Decode T prompts: rois (T, 4), points (T, K, 3), boxes (T, 4), previous (T, MASK, MASK)."""
    return _decode(network, [view], np.zeros(len(rois), int), rois, points, boxes, previous)


def decode_fitting(
    network: PromptableNetwork,
    views: Sequence[View],
    rois: Tensor,
    points: Tensor,
    boxes: Tensor | None = None,
    previous: Tensor | None = None,
) -> Decoded:
    """Like `decode`, every ROI (T, 4) on the view that suits its size."""
    which = np.array([fitting(views, extent) for extent in rois[:, 2:].amax(1).tolist()])
    return _decode(network, views, which, rois, points, boxes, previous)


def _decode(
    network: PromptableNetwork,
    views: Sequence[View],
    which: np.ndarray,
    rois: Tensor,
    points: Tensor,
    boxes: Tensor | None,
    previous: Tensor | None,
) -> Decoded:
    order = np.argsort(which, kind="stable")
    logits, score = [], []
    for start in range(0, len(rois), BATCH):
        index = order[start : start + BATCH]
        at = torch.from_numpy(index)
        x = _inputs(
            views,
            which[index],
            rois[at],
            points[at],
            None if boxes is None else boxes[at],
            None if previous is None else previous[at],
        )
        a, b = network.decoder.answer(x)
        logits.append(a)
        score.append(torch.sigmoid(b))
    back = torch.from_numpy(np.argsort(order))
    return Decoded(torch.cat(logits)[back], rois, torch.cat(score)[back])


def _inputs(
    views: Sequence[View],
    which: np.ndarray,
    rois: Tensor,
    points: Tensor,
    boxes: Tensor | None,
    previous: Tensor | None,
) -> Tensor:
    """What the decoder sees of T prompts, each on its view; `which` is in rising order."""
    scale = rois.new_tensor([views[number].scale for number in which])[:, None]
    origin = rois.new_tensor([views[number].origin for number in which])

    def into(spots: Tensor) -> Tensor:
        ratio, start = (t.reshape(-1, *[1] * (spots.ndim - 2), t.shape[1]) for t in (scale, origin))
        return (spots - start + 0.5) * ratio - 0.5

    inner = torch.cat([into(rois[:, :2]), rois[:, 2:] * scale], 1)
    clicks = torch.cat([into(points[..., :2]), points[..., 2:]], -1)
    if boxes is None:
        corners = torch.full_like(rois, float("nan"))
    else:
        corners = torch.cat([into(boxes[:, :2]), into(boxes[:, 2:])], 1)
    flag = None if previous is None else rois.new_ones(len(rois))
    prompts = RoiPrompts(clicks, corners, previous, flag)
    spots = seeds(inner, prompts)
    sights = []
    for number in np.unique(which):
        view, at = views[number], torch.from_numpy(np.flatnonzero(which == number))
        sights.append(look(view.maps, view.image, inner[at][None], spots[at][None]))
    sight = Sight(*(torch.cat(parts) for parts in zip(*sights, strict=True)))
    return assemble(sight, inner, prompts)


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


def alike(boxes: Tensor) -> Tensor:
    """IoU (N, N) of boxes (N, 4)."""
    low, high = boxes[:, :2], boxes[:, 2:]
    shared = torch.minimum(high[:, None], high[None]) - torch.maximum(low[:, None], low[None])
    both = shared.clamp(min=0.0).prod(-1)
    areas = (high - low).prod(-1)
    return both / (areas[:, None] + areas[None] - both)


def overlap(a: Decoded, b: Decoded) -> float:
    """IoU of two masks on ROIs, one each, sampled on a common grid."""
    box_a, box_b = a.boxes()[0], b.boxes()[0]
    low, high = torch.minimum(box_a[:2], box_b[:2]), torch.maximum(box_a[2:], box_b[2:])
    roi = torch.cat([0.5 * (low + high), high - low])[None]
    one, other = (resample_masks((d.logits > 0).float(), d.rois, roi)[0] > 0.5 for d in (a, b))
    both = int((one & other).sum())
    return both / max(int((one | other).sum()), 1)


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


#: Cells that a boundary takes on either side of a stretch.
RIM = 2


def stretches(view: View, strength: float) -> tuple[np.ndarray, np.ndarray]:
    """Numbered parts, int (h, w), of the foreground, bool (h, w), of a view without its padding:
    what hangs together without a boundary of this probability across, less its rim."""
    height, width = (view.size[0] + 1) // 2, (view.size[1] + 1) // 2
    dense = view.maps[0, FEATURES : FEATURES + 2, :height, :width].cpu().numpy()
    solid = dense[0] > 0.0
    parts, _ = ndimage.label(solid & (dense[1] < math.log(strength / (1.0 - strength))))
    return parts, solid


def stretch_box(view: View, spot: Tensor, strength: float) -> Tensor | None:
    """Box (4,) in image pixels around the stretch under a spot (2,); None where there is none."""
    parts, solid = stretches(view, strength)
    column, row = ((view.into(spot) + 0.5) / 2.0).long().tolist()
    if not (0 <= row < parts.shape[0] and 0 <= column < parts.shape[1]) or not parts[row, column]:
        return None
    here = parts == parts[row, column]
    rows, columns = np.flatnonzero(here.any(1)), np.flatnonzero(here.any(0))
    top, left = max(rows[0] - RIM, 0), max(columns[0] - RIM, 0)
    window = slice(top, rows[-1] + RIM + 1), slice(left, columns[-1] + RIM + 1)
    whole = ndimage.binary_dilation(here[window], iterations=RIM) & solid[window]
    rows, columns = np.flatnonzero(whole.any(1)), np.flatnonzero(whole.any(0))
    low = spot.new_tensor([left + columns[0], top + rows[0]])
    high = spot.new_tensor([left + columns[-1] + 1, top + rows[-1] + 1])
    return torch.cat([view.out(2.0 * low - 0.5), view.out(2.0 * high - 0.5)])


def seam(views: Sequence[View], whole: Decoded, part: Decoded) -> float:
    """Mean boundary probability within one mask along the outline of another one, both of one."""
    extent = float(whole.rois[0, 2:].max())
    view = views[fitting(views, extent)]
    inner = torch.cat([view.into(whole.rois[:, :2]), whole.rois[:, 2:] * view.scale], 1)
    boundary = view.maps[:, FEATURES + 1 : FEATURES + 2]
    boundary = torch.sigmoid(sample_rois(boundary, inner[None], MASK, view.frame))[0, 0]
    large = (whole.logits > 0).float()[:, None]
    small = (resample_masks((part.logits > 0).float(), part.rois, whole.rois) > 0.5).float()[
        :, None
    ]
    # its ends lie on the outline of the whole, where there is a boundary whatever divides the two
    inside = F.max_pool2d(1.0 - F.pad(large, (3, 3, 3, 3)), 7, 1) < 0.5
    strip = (F.max_pool2d(small, 5, 1, 2) > -F.max_pool2d(-small, 5, 1, 2)) & inside
    return float(boundary[strip[0, 0]].mean()) if bool(strip.any()) else 0.0
