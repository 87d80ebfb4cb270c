"""Prompts on an encoded image: clicks, boxes and sketches to ranked candidates."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from particle_nb.models.embedded.network import PromptableNetwork
from particle_nb.models.embedded.regions import MASK, box_rois, resample_masks
from particle_nb.models.embedded.straight import bar_box
from particle_nb.models.embedded.views import (
    Decoded,
    View,
    agreement,
    alike,
    decode_fitting,
    overlap,
    seam,
    stretch_box,
)

#: Sides of the square ROIs tried around a click, in pixels of the finest view. Few and far apart:
#: that finds the particle as surely as a dense bank, and the candidates differ more.
BANK = (30.0, 87.0, 250.0, 720.0)
#: Sides above so many times the radius that the network expects there are not tried. Of the views
#: the one that expects most counts: the finest sees a grain where a coarser one sees the particle.
FAR = 17.0
#: Candidates below this share of the best value are not refined.
HOPEFUL = 0.8
#: From this ratio of its box's sides on a mask counts as long.
LONG = 1.5
#: Candidates of a click inside a box score no more than this share of what the box gives.
OTHERS = 0.95
#: Masks whose boxes and areas agree by this share are taken for one.
SAME = 0.85
#: Foreground under a click is one stretch where no boundary of probability STRENGTH crosses it. If
#: it is GROWN times as long as the best mask, it is tried as a box, too; as the first candidate
#: only where the outline of that mask is a boundary inside it with less than SEAM in the mean.
STRENGTH, GROWN, SEAM = 0.45, 1.25, 0.22
#: A straight bar of foreground with boundaries across it is one particle, and not a row of them,
#: where the best mask is not about so many squares as wide as the bar.
BLOCK = (0.4, 1.6)


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
    """Crop to every mask's own box and decode again with the mask as previous mask.

    `points` are clicks (T, K, 3) as x, y in px and label, `boxes` (T, 4) in px.
    """
    rois = box_rois(widened(old.boxes(), points), least=12.0 / views[0].scale)
    before = resample_masks(torch.sigmoid(old.logits), old.rois, rois)
    return decode_fitting(network, views, rois, points, boxes, before)


def bank(views: Sequence[View], points: Tensor) -> Tensor:
    """The ROIs (T, 4) tried for the clicks (K, 3) of one particle."""
    scale = views[0].scale
    positive = points[points[:, 2] > 0.5, :2]
    low, high = positive.amin(0), positive.amax(0)
    centre = positive[0] if len(positive) == 1 else 0.5 * (low + high)
    longest = 1.7 * max(views[0].size)
    # The expected size is too rough to choose by, but what is far above it is in vain.
    far = FAR * max(float(v.radius(positive[:1])[0]) * scale / v.scale for v in views)
    sides = [side / scale for side in BANK if side < longest and side <= max(far, BANK[1])]
    lengths = torch.tensor(sides or [longest / scale]).to(points)
    lengths = torch.unique(lengths.clamp(min=1.3 * float((high - low).max())))
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
    order = distinct(first, torch.argsort(value, descending=True))[:keep]
    # Poor ones stay as they are: a second look at them takes time and changes nothing.
    able = value[order] >= HOPEFUL * value[order[0]]
    top = first[order[able]]
    second = Decoded.join([refine(network, views, top, spots[: len(top)]), first[order[~able]]])
    value = second.score * (0.5 + 0.5 * agreement(second, spots[: len(second)]))
    best = second[torch.argsort(value, descending=True)[:1]]
    third = longer(network, views, best, points)
    if third is not None:
        second = Decoded.join([second, third])
    return second, points[None].expand(len(second), -1, -1)


def distinct(decoded: Decoded, order: Tensor) -> Tensor:
    """Those of `order` (T,) that are not nearly the same mask as an earlier one."""
    areas = decoded.areas()[order]
    least = torch.minimum(areas[:, None], areas[None]) / torch.maximum(areas[:, None], areas[None])
    same = ((alike(decoded.boxes()[order]) > SAME) & (least > SAME)).tolist()
    kept: list[int] = []
    for index, row in enumerate(same):
        if not any(row[other] for other in kept):
            kept.append(index)
    return order[torch.tensor(kept)]


def longer(
    network: PromptableNetwork, views: Sequence[View], best: Decoded, points: Tensor
) -> Decoded | None:
    """Another look where the best mask, one, may be a piece: rods are seen in part at first.

    `points` are its clicks (K, 3) as x, y in px and label.
    """
    spots, corners = points[None], best.boxes()[0]
    extent = corners[2:] - corners[:2]
    spot = points[points[:, 2] > 0.5][0, :2]
    bar = bar_box(views[0], spot)
    around = bar if bar is not None else stretch_box(views[0], spot, STRENGTH)
    if around is not None and (around[2:] - around[:2]).max() > GROWN * extent.max():
        box_ = around[None]
        found = decode_fitting(
            network, views, box_rois(box_, least=12.0 / views[0].scale), spots, box_
        )
        found = refine(network, views, found, spots, box_)
        if bar is not None and not BLOCK[0] < _blocks(found, best) < BLOCK[1]:
            found = replace(found, score=torch.maximum(found.score, 1.02 * best.score))
        elif seam(views, found, best) > SEAM:
            found = replace(found, score=torch.minimum(found.score, 0.95 * best.score))
        return found
    if float(extent.max()) < LONG * float(extent.min()):
        return None
    return refine(network, views, best, spots)


def _blocks(bar: Decoded, piece: Decoded) -> float:
    """Area of a piece in squares as wide as the bar: one where a bar is a row of blocks."""
    area, sides = float(bar.areas()[0]), (bar.boxes()[0, 2:] - bar.boxes()[0, :2])
    width = area / max(float(torch.linalg.vector_norm(sides)), 1.0)
    return float(piece.areas()[0]) / max(width, 1.0) ** 2


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
    # Masks that are the same have much the same box: only those are laid over each other.
    near = (alike(every.boxes()) > 0.8 * same).tolist()
    chosen: list[int] = []
    for index in range(len(every)):
        if len(chosen) == keep:
            break
        rivals = [every[k : k + 1] for k in chosen if near[index][k]]
        if not any(overlap(every[index : index + 1], rival) > same for rival in rivals):
            chosen.append(index)
    return every[torch.tensor(chosen)]


def box(network: PromptableNetwork, views: Sequence[View], box_: Tensor, points: Tensor) -> Decoded:
    """Candidates for a box (4,) with optional clicks (K, 3), best first."""
    rois = box_rois(box_[None], least=12.0 / views[0].scale)
    spots = points[None]
    first = decode_fitting(network, views, rois, spots, box_[None])
    second = refine(network, views, first, spots, box_[None])
    # What a click would give comes behind: a part of what is boxed, or one particle of several.
    clicks = points[points[:, 2] > 0.5]
    if not len(clicks):
        middle = 0.5 * (box_[:2] + box_[2:])
        clicks = torch.cat([middle, middle.new_ones(1)])[None]
    others = click_candidates(network, views, clicks, 2)[0]
    least = OTHERS * torch.minimum(first.score, second.score)
    others = replace(others, score=torch.minimum(others.score, least))
    return ranked([first, second, others], spots)


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
