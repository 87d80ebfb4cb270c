"""Automatic mode: prompts from the dense maps, a few ROIs each, and one mask for every particle."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from particle_nb.core.errors import DataError
from particle_nb.core.masks import Mask
from particle_nb.models.embedded.inference import refine
from particle_nb.models.embedded.joining import (
    box_decoded,
    decoded_mask,
    diameter,
    seam_strength,
    touching,
    undivided,
)
from particle_nb.models.embedded.network import PromptableNetwork
from particle_nb.models.embedded.regions import FEATURES, sample_rois
from particle_nb.models.embedded.views import Decoded, View, decode, fitting, main_part

#: Expected radii in view pixels for which a view proposes: finest, and least of the coarser ones.
LARGEST_RADIUS, LEAST_RADIUS = 60.0, 18.0

#: Prompts decoded before looking which of the others are settled.
PORTION = 32

#: A view is left where fewer than FRUITFUL of its first PATIENCE prompts or more gave a proposal:
#: print, noise and texture have hundreds of peaks and no particle.
PATIENCE, FRUITFUL = 128, 0.03


@dataclass(frozen=True)
class AutomaticSettings:
    """Thresholds of the automatic mode.

    Parameters
    ----------
    least_peak : float
        Smallest foreground x centreness of a prompt.
    least_score, enough_score : float
        A proposal's value is its predicted IoU x min(1, twice its foreground share). It must reach
        `relative` times the median value by area in the same image, but no less than
        `least_score` and no more than `enough_score`: where all particles are hard to see,
        less is asked of each.
    relative : float
        See above.
    few, many, crowded_score : int, int, float
        Where more than `few` proposals reach `enough_score`, less is asked of the others, down to
        `crowded_score` at `many`: in a crowd the faint ones are particles, too.
    small, small_score : float
        Masks with a diameter below `small` pixels of the finest view must reach `small_score`:
        noise looks like particles of that size.
    least_stability : float
        Smallest stability score.
    sure : float
        From this value on a proposal is taken at once, and prompts inside it are not tried.
    overlap : float
        A mask is dropped if it shares more than this part of the smaller one with a better mask.
    seam, joined : float
        Touching masks are taken for pieces of one particle if the network sees a boundary between
        them with less than this mean probability, a box around both is answered with a mask of at
        least this IoU with both together, and that is worth no less than either piece.
    passes : int
        Times that the uncovered foreground is searched again.
    most : int
        Most prompts in one view.

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
    least_score: float = 0.7
    enough_score: float = 0.8
    relative: float = 0.88
    few: int = 20
    many: int = 80
    crowded_score: float = 0.65
    small: float = 20.0
    small_score: float = 0.8
    least_stability: float = 0.5
    sure: float = 0.8
    overlap: float = 0.5
    seam: float = 0.45
    joined: float = 0.75
    passes: int = 2
    most: int = 800

    def __post_init__(self) -> None:
        shares = (
            "least_peak least_score enough_score relative crowded_score small_score "
            "least_stability sure overlap seam joined"
        )
        for name in shares.split():
            if not 0.0 <= getattr(self, name) <= 1.0:
                raise DataError(f"{name} must lie in 0 .. 1, not {getattr(self, name)!r}.")
        if not 0 <= self.few < self.many:
            raise DataError(f"few must be below many, not {self.few!r} and {self.many!r}.")
        if not 1 <= self.passes <= 10 or not 1 <= self.most <= 100_000 or not self.small >= 0:
            raise DataError(
                "passes must lie in 1 .. 10, most in 1 .. 100000 and small be 0 or more."
            )

    @property
    def lowest(self) -> float:
        """The smallest value that a proposal is ever kept at."""
        return min(self.least_score, self.crowded_score)


@dataclass(frozen=True, eq=False)
class Proposal:
    """A mask in image pixels, the value it is ranked by, its diameter in finest-view pixels."""

    mask: Mask
    value: float
    diameter: float = math.inf


def peaks(view: View, least: float, allowed: np.ndarray | None = None) -> Tensor:
    """Points (N, 2) in image pixels where a view expects particle centres, best first."""
    dense = torch.sigmoid(view.maps[0, FEATURES : FEATURES + 3])
    height, width = (view.size[0] + 1) // 2, (view.size[1] + 1) // 2
    value = (dense[0] * dense[2])[:height, :width]
    if allowed is not None:
        value = value * torch.from_numpy(allowed[:height, :width]).to(value)
    smooth = F.avg_pool2d(value[None, None], 3, 1, 1, count_include_pad=False)
    local = F.max_pool2d(smooth, 5, 1, 2)[0, 0]
    smooth = smooth[0, 0]
    rows, columns = torch.nonzero((smooth >= local) & (smooth > least), as_tuple=True)
    points = torch.stack([2.0 * columns + 0.5, 2.0 * rows + 0.5], 1)
    points = points[torch.argsort(smooth[rows, columns], descending=True)]
    radius = view.radius(view.out(points)).cpu().numpy()
    places = points.cpu().numpy()
    free = np.ones(len(places), bool)
    chosen = []
    for index in range(len(places)):
        if free[index]:
            chosen.append(index)
            reach = max(3.0, 0.35 * radius[index])
            free &= np.abs(places - places[index]).max(1) >= reach
    return view.out(points[torch.tensor(chosen, dtype=torch.long)])


def foreground_share(view: View, decoded: Decoded) -> Tensor:
    """Mean foreground probability (T,) under the masks."""
    dense = torch.sigmoid(view.maps[:, FEATURES : FEATURES + 1])
    shares = []
    for start in range(0, len(decoded), 64):
        part = decoded[slice(start, start + 64)]
        rois = torch.cat([view.into(part.rois[:, :2]), part.rois[:, 2:] * view.scale], 1)
        field = sample_rois(dense, rois[None], 24, view.frame)[:, 0]
        inside = F.avg_pool2d((part.logits > 0).float()[:, None], 4)[:, 0]
        shares.append((field * inside).sum((1, 2)) / inside.sum((1, 2)).clamp(min=1e-3))
    return torch.cat(shares) if shares else decoded.score


def decode_peaks(
    network: PromptableNetwork,
    views: Sequence[View],
    number: int,
    spots: Tensor,
    settings: AutomaticSettings,
) -> Decoded:
    """One mask for every prompt (N, 2) of one view that may be a particle."""
    view = views[number]
    points = torch.cat([spots, torch.ones_like(spots[:, :1])], 1)[:, None]
    first = decode(network, view, view.guess(spots), points)
    # Where the expected box gave nothing good, a square of the expected size may.
    poor = torch.nonzero(first.score < settings.sure)[:, 0]
    if len(poor):
        side = (3.6 * view.radius(spots[poor])).clamp(16.0, 1.7 * max(view.size)) / view.scale
        square = torch.cat([spots[poor], side[:, None].expand(-1, 2)], 1)
        again = decode(network, view, square, points[poor])
        better = again.score > first.score[poor]
        take = poor[better]
        logits, rois, score = first.logits.clone(), first.rois.clone(), first.score.clone()
        logits[take], rois[take] = again.logits[better], again.rois[better]
        score[take] = again.score[better]
        first = Decoded(logits, rois, score)
    # What is surely nothing is not worth a second look.
    able = torch.nonzero((first.score > 0.6 * settings.lowest) & (first.areas() > 0))[:, 0]
    if not len(able):
        return first[able]
    return refine(network, views, first[able], points[able])


def propose(
    network: PromptableNetwork,
    views: Sequence[View],
    frame: tuple[int, int],
    window: tuple[int, int, int, int],
    settings: AutomaticSettings,
) -> list[Proposal]:
    """Proposals for a window of an image of shape `frame`; each particle once."""
    found: list[Proposal] = []
    for turn in range(settings.passes):
        before = len(found)
        least = settings.least_peak if turn == 0 else 0.5 * settings.least_peak
        # Coarse views first: they are cheap, and what they find need not be searched again.
        for number in reversed(range(len(views))):
            view = views[number]
            taken = found if turn else [p for p in found if p.value > settings.sure]
            spots = peaks(view, least, ~coverage(view, taken))
            radius = view.radius(spots)
            fits = radius < LARGEST_RADIUS if number + 1 < len(views) else radius > 0
            if number:
                fits &= radius > LEAST_RADIUS
            spots = spots[fits][: settings.most]
            tried = made = 0
            while len(spots) and (tried < PATIENCE or made >= FRUITFUL * tried):
                # In portions, so that the other prompts of a particle just found are saved.
                part, spots = spots[:PORTION], spots[PORTION:]
                decoded = decode_peaks(network, views, number, part, settings)
                fresh = proposals_of(views, number, decoded, frame, window, settings)
                found += fresh
                tried, made = tried + len(part), made + len(fresh)
                taken = [p for p in fresh if p.value > settings.sure]
                if len(spots) and taken:
                    spots = spots[~inside(spots, taken)]
        found = resolve(found, settings.overlap)
        if len(found) == before:
            break
    return join(network, views, found, frame, window, settings)


def join(
    network: PromptableNetwork,
    views: Sequence[View],
    found: list[Proposal],
    frame: tuple[int, int],
    window: tuple[int, int, int, int],
    settings: AutomaticSettings,
) -> list[Proposal]:
    """Put the pieces of rods together: those that touch, then those of one undivided piece."""
    for turn in range(4):
        if turn < 3:
            pairs = touching([p.mask for p in found])
            wholes = [p.union for p in pairs if seam_strength(views, p) < settings.seam]
        else:
            wholes = [
                mask for mask in undivided(views[0], frame, settings.seam) if in_pieces(mask, found)
            ]
        if not wholes:
            continue
        decoded = box_decoded(network, views, wholes)
        better = []
        for number, whole in enumerate(wholes):
            one = decoded[slice(number, number + 1)]
            view = fitting(views, float(one.rois[0, 2:].max()))
            made = proposals_of(views, view, one, frame, window, settings)
            if made and made[0].mask.iou(whole) >= settings.joined:
                better.append(made[0])
        for proposal in sorted(better, key=lambda p: -p.value):
            parts = [p for p in found if covered(p.mask, proposal.mask) > 0.7]
            if parts and proposal.value >= max(p.value for p in parts):
                found = [p for p in found if p not in parts] + [proposal]
    return resolve(found, settings.overlap)


def covered(mask: Mask, by: Mask) -> float:
    """Share of a mask that lies under another one."""
    return mask.intersection(by) / mask.area


def in_pieces(whole: Mask, found: list[Proposal]) -> bool:
    """Whether proposals lie in a region and none of them is about the whole of it."""
    parts = [p.mask for p in found if covered(p.mask, whole) > 0.7]
    return bool(parts) and max(mask.iou(whole) for mask in parts) < 0.7


def inside(spots: Tensor, found: list[Proposal]) -> Tensor:
    """Which points (N, 2) lie in a proposal, bool (N,)."""
    places = np.round(spots.cpu().numpy()).astype(int)
    hit = np.zeros(len(places), bool)
    for proposal in found:
        r0, c0, r1, c1 = proposal.mask.bbox
        x, y = places[:, 0] - c0, places[:, 1] - r0
        near = np.flatnonzero((x >= 0) & (y >= 0) & (x < c1 - c0) & (y < r1 - r0) & ~hit)
        hit[near] = proposal.mask.crop[y[near], x[near]]
    return torch.from_numpy(hit).to(spots.device)


def proposals_of(
    views: Sequence[View],
    number: int,
    decoded: Decoded,
    frame: tuple[int, int],
    window: tuple[int, int, int, int],
    settings: AutomaticSettings,
) -> list[Proposal]:
    """Decoded masks that pass the thresholds, as pixel crops."""
    share = (2.0 * foreground_share(views[number], decoded)).clamp(max=1.0)
    value = decoded.score * share
    stability = decoded.stability()
    good = (value > settings.lowest) & (stability > settings.least_stability)
    out = []
    for index in torch.nonzero(good)[:, 0].tolist():
        mask = decoded_mask(views, decoded, index, frame, window)
        if mask is not None:
            out.append(Proposal(mask, float(value[index]), diameter(mask, views[0].scale)))
    return out


def resolve(found: list[Proposal], overlap: float) -> list[Proposal]:
    """Drop duplicates and nested masks: the better value wins where masks share too much."""
    order = sorted(found, key=lambda p: -p.value)
    boxes = np.array([p.mask.bbox for p in order]).reshape(-1, 4)
    areas = np.array([p.mask.area for p in order])
    kept = np.zeros(len(order), bool)
    for index, proposal in enumerate(order):
        here = boxes[index]
        near = (
            kept
            & (boxes[:, 0] < here[2])
            & (boxes[:, 2] > here[0])
            & (boxes[:, 1] < here[3])
            & (boxes[:, 3] > here[1])
        )
        kept[index] = not any(
            proposal.mask.intersection(order[k].mask) > overlap * min(areas[index], areas[k])
            for k in np.flatnonzero(near)
        )
    return [order[k] for k in np.flatnonzero(kept)]


def select(found: list[Proposal], settings: AutomaticSettings) -> list[Proposal]:
    """Those of an image that are good enough beside its other proposals."""
    if not found:
        return []
    values = np.array([p.value for p in found])
    areas = np.array([p.mask.area for p in found], float)
    order = np.argsort(values)
    total = np.cumsum(areas[order])
    median = values[order][np.searchsorted(total, 0.5 * total[-1])]
    least = float(np.clip(settings.relative * median, settings.least_score, settings.enough_score))
    crowd = int((values > settings.enough_score).sum())
    limits = (settings.enough_score, settings.crowded_score)
    least = min(least, float(np.interp(crowd, (settings.few, settings.many), limits)))
    small = max(least, settings.small_score)
    return [p for p in found if p.value > (small if p.diameter < settings.small else least)]


def coverage(view: View, found: list[Proposal]) -> np.ndarray:
    """Which stride-2 cells of the view the proposals cover, bool (H/2, W/2)."""
    height, width = view.maps.shape[2:]
    covered = np.zeros((height, width), bool)
    origin, scale = np.array(view.origin), view.scale
    for proposal in found:
        r0, c0, r1, c1 = proposal.mask.bbox
        low = (np.array([c0, r0]) - origin + 0.5) * scale / 2
        high = (np.array([c1, r1]) - origin + 0.5) * scale / 2
        x = np.arange(max(int(low[0]), 0), min(int(high[0]) + 1, width))
        y = np.arange(max(int(low[1]), 0), min(int(high[1]) + 1, height))
        columns = np.round((2.0 * x + 1.0) / scale - 0.5 + origin[0]).astype(int) - c0
        rows = np.round((2.0 * y + 1.0) / scale - 0.5 + origin[1]).astype(int) - r0
        keep_x = (columns >= 0) & (columns < c1 - c0)
        keep_y = (rows >= 0) & (rows < r1 - r0)
        x, columns, y, rows = x[keep_x], columns[keep_x], y[keep_y], rows[keep_y]
        if len(x) and len(y):
            covered[y[0] : y[-1] + 1, x[0] : x[-1] + 1] |= proposal.mask.crop[np.ix_(rows, columns)]
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
        out.append(replace(proposal, mask=proposal.mask.replace(crop=main_part(left))))
    return out
