"""Automatic mode: prompts from the dense maps, a few ROIs each, and one mask for every particle."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch

from particle_nb.core.errors import DataError
from particle_nb.core.masks import Mask
from particle_nb.models.embedded.inference import (
    Decoded,
    View,
    decode,
    main_part,
    peaks,
    pixel_mask,
    refine,
)
from particle_nb.models.embedded.network import (
    FEATURES,
    PromptableNetwork,
    box_rois,
    point_boxes,
    sample_points,
    sample_rois,
)


@dataclass(frozen=True)
class AutomaticSettings:
    """Thresholds of the automatic mode.

    Parameters
    ----------
    least_peak : float
        Smallest foreground x centreness of a prompt.
    least_score : float
        Smallest predicted IoU x foreground share of a proposal.
    least_stability : float
        Smallest stability score.
    overlap : float
        A mask is dropped if it shares more than this part of the smaller one with a better mask.
    passes : int
        Times that the uncovered foreground is searched again.
    most : int
        Most prompts in one view.
    refine : bool
        Decode the better ROI of every prompt a second time, cropped to its mask.

    Raises
    ------
    DataError
        If a value is out of range.

    Examples
    --------
    >>> AutomaticSettings(least_score=0.5).passes
    2
    """

    least_peak: float = 0.12
    least_score: float = 0.45
    least_stability: float = 0.5
    overlap: float = 0.5
    passes: int = 2
    most: int = 1200
    refine: bool = True

    def __post_init__(self) -> None:
        for name in ("least_peak", "least_score", "least_stability", "overlap"):
            if not 0.0 <= getattr(self, name) <= 1.0:
                raise DataError(f"{name} must lie in 0 .. 1, not {getattr(self, name)!r}.")
        if not 1 <= self.passes <= 10 or not 1 <= self.most <= 100_000:
            raise DataError("passes must lie in 1 .. 10 and most in 1 .. 100000.")


@dataclass(frozen=True, eq=False)
class Proposal:
    """A mask in image pixels with the value it is ranked by."""

    mask: Mask
    value: float


def foreground_share(view: View, decoded: Decoded) -> torch.Tensor:
    """Mean foreground probability (T,) under the masks."""
    dense = torch.sigmoid(view.maps[:, FEATURES : FEATURES + 1])
    shares = []
    for start in range(0, len(decoded.rois), 64):
        part = decoded[slice(start, start + 64)]
        field = sample_rois(dense, part.rois[None], 24, view.image.shape[2:])[:, 0]
        inside = torch.nn.functional.avg_pool2d((part.logits > 0).float()[:, None], 4)[:, 0]
        shares.append((field * inside).sum((1, 2)) / inside.sum((1, 2)).clamp(min=1e-3))
    return torch.cat(shares)


def decode_peaks(
    network: PromptableNetwork, view: View, places: np.ndarray, settings: AutomaticSettings
) -> Decoded:
    """One mask for every prompt (N, 2) in view pixels."""
    spots = torch.from_numpy(places).to(view.image)
    points = torch.cat([spots, torch.ones_like(spots[:, :1])], 1)[:, None]
    size = view.image.shape[2:]
    limit = 1.6 * max(view.size)
    guess = box_rois(point_boxes(view.maps, spots[None], size)[0]).clamp(max=limit)
    log_radius = sample_points(view.maps[:, FEATURES + 3 : FEATURES + 4], spots[None], size)[
        0, :, 0
    ]
    side = (3.6 * 16.0 * torch.exp(log_radius.clamp(-3, 3.5))).clamp(min=16.0, max=limit)
    square = torch.cat([spots, side[:, None].expand(-1, 2)], 1)
    parts = [decode(network, view, rois, points) for rois in (guess, square)]
    scores = torch.stack([part.score for part in parts])
    best = scores.argmax(0)
    rows = torch.arange(len(places), device=best.device)
    first = Decoded(
        torch.stack([part.logits for part in parts])[best, rows],
        torch.stack([part.rois for part in parts])[best, rows],
        scores[best, rows],
    )
    if not settings.refine:
        return first
    # What is surely nothing is not worth a second look.
    able = torch.nonzero((first.score > 0.5 * settings.least_score) & (first.areas() > 0))[:, 0]
    if not len(able):
        return first[able]
    return refine(network, view, first[able], points[able])


def propose(
    network: PromptableNetwork,
    view: View,
    frame: tuple[int, int],
    window: tuple[int, int, int, int],
    settings: AutomaticSettings,
) -> list[Proposal]:
    """Proposals of one view for an image of shape `frame`, before duplicates are resolved."""
    found: list[Proposal] = []
    covered: np.ndarray | None = None
    for turn in range(settings.passes):
        least = settings.least_peak if turn == 0 else 0.5 * settings.least_peak
        places = peaks(view, least, None if covered is None else ~covered)[: settings.most]
        if not len(places):
            break
        decoded = decode_peaks(network, view, places, settings)
        found += proposals_of(view, decoded, frame, window, settings)
        if turn + 1 < settings.passes:
            found = resolve(found, settings)
            covered = coverage(view, found)
    return found


def proposals_of(
    view: View,
    decoded: Decoded,
    frame: tuple[int, int],
    window: tuple[int, int, int, int],
    settings: AutomaticSettings,
) -> list[Proposal]:
    """Decoded masks that pass the thresholds, as pixel crops."""
    if not len(decoded.rois):
        return []
    share = (2.0 * foreground_share(view, decoded)).clamp(max=1.0)
    value = decoded.score * share
    stability = decoded.stability()
    good = (value > settings.least_score) & (stability > settings.least_stability)
    out = []
    for index in torch.nonzero(good)[:, 0].tolist():
        made = pixel_mask(decoded.logits[index], decoded.rois[index], view, window)
        if made is None:
            continue
        crop = main_part(made[1], np.empty((0, 2)))
        if np.count_nonzero(crop) < 9:
            continue
        mask = Mask(
            made[0],
            crop,
            frame,
            predicted_iou=float(decoded.score[index]),
            stability_score=float(stability[index]),
        )
        out.append(Proposal(mask, float(value[index])))
    return out


def resolve(found: list[Proposal], settings: AutomaticSettings) -> list[Proposal]:
    """Drop duplicates and nested masks: the better value wins where masks share too much."""
    order = sorted(found, key=lambda p: -p.value)
    boxes = np.array([p.mask.bbox for p in order]).reshape(-1, 4)
    areas = np.array([p.mask.area for p in order])
    kept: list[int] = []
    for index, proposal in enumerate(order):
        if kept:
            other = boxes[kept]
            here = boxes[index]
            near = (
                (other[:, 0] < here[2])
                & (other[:, 2] > here[0])
                & (other[:, 1] < here[3])
                & (other[:, 3] > here[1])
            )
            clash = False
            for k in np.array(kept)[near]:
                common = proposal.mask.intersection(order[k].mask)
                if common > settings.overlap * min(areas[index], areas[k]):
                    clash = True
                    break
            if clash:
                continue
        kept.append(index)
    return [order[k] for k in kept]


def coverage(view: View, found: list[Proposal]) -> np.ndarray:
    """Which stride-2 cells of the view the proposals cover, bool (H/2, W/2)."""
    height, width = view.maps.shape[2:]
    covered = np.zeros((height, width), bool)
    for proposal in found:
        r0, c0, r1, c1 = proposal.mask.bbox
        low = view.into(np.array([c0, r0], float))
        high = view.into(np.array([c1 - 1, r1 - 1], float))
        x = np.arange(max(int(low[0] // 2), 0), min(int(high[0] // 2) + 1, width))
        y = np.arange(max(int(low[1] // 2), 0), min(int(high[1] // 2) + 1, height))
        if not len(x) or not len(y):
            continue
        columns = view.out(np.stack([2.0 * x + 0.5, 0.0 * x], 1))[:, 0]
        rows = view.out(np.stack([0.0 * y, 2.0 * y + 0.5], 1))[:, 1]
        ci = np.clip(np.round(columns).astype(int) - c0, 0, c1 - c0 - 1)
        ri = np.clip(np.round(rows).astype(int) - r0, 0, r1 - r0 - 1)
        covered[y[0] : y[-1] + 1, x[0] : x[-1] + 1] |= proposal.mask.crop[np.ix_(ri, ci)]
    return covered


def trimmed(found: list[Proposal]) -> list[Proposal]:
    """Take what overlaps away from the worse of two masks, so that they hardly share pixels."""
    order = sorted(found, key=lambda p: -p.value)
    out: list[Proposal] = []
    if not order:
        return out
    taken = np.zeros(order[0].mask.shape, bool)
    for proposal in order:
        r0, c0, r1, c1 = proposal.mask.bbox
        there = taken[r0:r1, c0:c1]
        left = proposal.mask.crop & ~there
        there |= proposal.mask.crop
        if np.count_nonzero(left) < max(9, 0.3 * proposal.mask.area):
            continue
        left = main_part(left, np.empty((0, 2)))
        out.append(replace(proposal, mask=proposal.mask.replace(crop=left)))
    return out
