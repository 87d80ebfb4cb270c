"""Automatic mode: every particle from the dense maps in one pass, the prompt decoder in doubt."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from particle_nb.core.errors import DataError
from particle_nb.core.masks import Mask
from particle_nb.models.embedded.close_ups import Place, close_ups
from particle_nb.models.embedded.network import PromptableNetwork
from particle_nb.models.embedded.regions import FEATURES, box_rois, sample_rois
from particle_nb.models.embedded.settling import Judges, Level, pixel_crop, settle, support
from particle_nb.models.embedded.views import (
    Decoded,
    View,
    cell_px,
    decode_fitting,
    main_part,
    pixel_mask,
)

#: Smallest mask, px^2.
SMALLEST = 9


@dataclass(frozen=True)
class OnePassSettings:
    """Thresholds of the automatic mode.

    Parameters
    ----------
    least_score : float
        Smallest confidence of what is proposed.
    doubt, sure : float
        Proposals with a confidence between these are shown to the prompt decoder.
    most : int
        Most proposals shown to it, the most doubtful ones first.
    left : float
        A mask goes if a surer one leaves less than this share of it.

    Raises
    ------
    DataError
        If a value is out of range.

    Examples
    --------
    >>> OnePassSettings(least_score=0.5).most
    160
    """

    least_score: float = 0.35
    doubt: float = 0.1
    sure: float = 0.8
    most: int = 160
    left: float = 0.5

    def __post_init__(self) -> None:
        for name in ("least_score", "doubt", "sure", "left"):
            if not 0.0 <= getattr(self, name) <= 1.0:
                raise DataError(f"{name} must lie in 0 .. 1, not {getattr(self, name)!r}.")
        if not 0 <= self.most <= 100_000:
            raise DataError(f"most must lie in 0 .. 100000, not {self.most!r}.")


@dataclass(frozen=True, eq=False)
class Proposal:
    """A mask in image pixels with its confidence, and what that was judged by."""

    mask: Mask
    features: np.ndarray

    @property
    def value(self) -> float:
        """What proposals are ranked by."""
        return self.mask.confidence if self.mask.confidence is not None else math.nan

    def judged(self, confidence: float, iou: float) -> Proposal:
        """The same with what a judge says."""
        return replace(self, mask=self.mask.replace(confidence=confidence, predicted_iou=iou))


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


def passed(
    levels: Sequence[Level], frame: tuple[int, int], window: tuple[int, int, int, int]
) -> list[Proposal]:
    """What the dense maps of all levels say, one mask for every particle; not yet judged."""
    backing = support(levels)
    places = [ndimage.find_objects(level.labels) for level in levels]
    stability = [level.stability() for level in levels]
    masks, rows = [], []
    for choice in settle(levels):
        level, index = levels[choice.level], choice.label - 1
        made = pixel_crop(level, choice.label, places[choice.level][index], window)
        if made is None or np.count_nonzero(made[1]) < SMALLEST:
            continue
        grid = max(1.0, 1.0 / level.view.scale)
        stable = float(stability[choice.level][index])
        crop = main_part(made[1])
        masks.append(Mask(made[0], crop, frame, stability_score=stable, grid_px=grid))
        own = [level.confidence[index], level.iou[index], *backing[choice.level][index]]
        rows.append(np.concatenate([level.features[index], own]))
    if not rows:
        return []
    sure = np.array([row[-4] for row in rows])
    # how many the image has in all, and how sure they are
    crowd = [math.log(len(rows)), float(sure.mean()), float(np.median(sure))]
    return [Proposal(m, np.concatenate([row, crowd])) for m, row in zip(masks, rows, strict=True)]


def asked(
    network: PromptableNetwork,
    views: Sequence[View],
    found: Sequence[Proposal],
    window: tuple[int, int, int, int],
) -> list[tuple[Mask | None, np.ndarray]]:
    """What the prompt decoder answers to a box around each proposal, and what is known then."""
    if not found:
        return []
    boxes = np.array([p.mask.bbox for p in found], np.float32)[:, [1, 0, 3, 2]] - 0.5
    corners = torch.from_numpy(boxes).to(views[0].maps)
    rois = box_rois(corners, least=12.0 / views[0].scale)
    decoded = decode_fitting(
        network, views, rois, corners.new_full((len(corners), 1, 3), -1.0), corners
    )
    share = foreground_share(views[0], decoded).tolist()
    stability = decoded.stability().tolist()
    out: list[tuple[Mask | None, np.ndarray]] = []
    for index, proposal in enumerate(found):
        made = pixel_mask(decoded.logits[index], decoded.rois[index], window)
        crop = None if made is None else main_part(made[1])
        score = float(decoded.score[index])
        mask = None
        if made is not None and crop is not None and np.count_nonzero(crop) >= SMALLEST:
            mask = Mask(
                made[0],
                crop,
                proposal.mask.shape,
                predicted_iou=score,
                stability_score=stability[index],
                grid_px=cell_px(views, decoded.rois[index]),
            )
        same = 0.0 if mask is None else mask.iou(proposal.mask)
        ratio = 0.0 if mask is None else math.log(mask.area / proposal.mask.area)
        more = [score, stability[index], share[index], same, ratio]
        out.append((mask, np.concatenate([proposal.features, more])))
    return out


def propose(
    network: PromptableNetwork,
    views: Sequence[View],
    place: Place,
    judges: Judges,
    settings: OnePassSettings,
) -> list[Proposal]:
    """Proposals for a place, surest first; each particle once."""
    frame, window = place.frame, place.window
    levels = [Level.of(view, judges.joining, judges.particle) for view in views]
    levels = close_ups(levels[0], place, judges) + levels
    found = passed(levels, frame, window)
    if not found:
        return []
    judged = judges.settled(np.stack([p.features for p in found]))
    found = [p.judged(*row) for p, row in zip(found, judged.tolist(), strict=True)]
    doubtful = [
        index for index, p in enumerate(found) if settings.doubt <= p.value <= settings.sure
    ]
    doubtful = sorted(doubtful, key=lambda k: abs(found[k].value - 0.5))[: settings.most]
    answers = asked(network, views, [found[k] for k in doubtful], window)
    if answers:
        judged = judges.asked(np.stack([features for _, features in answers]))
        for index, (mask, _), row in zip(doubtful, answers, judged.tolist(), strict=True):
            # the outline that is expected to fit better
            found[index] = found[index].judged(*row[:2])
            if mask is not None and row[3] > row[1]:
                found[index] = replace(found[index], mask=mask).judged(*row[2:])
    return trimmed([p for p in found if p.value >= settings.least_score], settings.left)


def trimmed(found: Sequence[Proposal], left: float) -> list[Proposal]:
    """Surest first; what overlaps goes to the surer of two masks."""
    order = sorted(found, key=lambda p: -p.value)
    out: list[Proposal] = []
    if not order:
        return out
    taken = np.zeros(order[0].mask.shape, bool)
    for proposal in order:
        r0, c0, r1, c1 = proposal.mask.bbox
        there = taken[r0:r1, c0:c1]
        rest = proposal.mask.crop & ~there
        if np.count_nonzero(rest) < max(SMALLEST, left * proposal.mask.area):
            continue
        there |= rest
        if rest.all() or np.array_equal(rest, proposal.mask.crop):
            out.append(proposal)
        else:
            out.append(replace(proposal, mask=proposal.mask.replace(crop=main_part(rest))))
    return out
