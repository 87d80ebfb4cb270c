"""Automatic mode: every particle from the dense maps in one pass, the prompt decoder in doubt."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from particle_nb.core.errors import DataError
from particle_nb.core.masks import Mask
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

#: Proposals of the finest view with a smaller diameter, in view pixels, are looked at twice as
#: finely, where a box of CLOSE_UP image pixels has at least FEWEST of them.
SMALL, CLOSE_UP, FEWEST = 15.0, 512, 3

#: Side of the spot looked at closely where the finest view sees nothing small, image pixels.
PROBE = 224

#: What close-ups see around their box, image pixels.
AROUND = 24

#: A box (x0, y0, x1, y1) of the image, and what gives the view of one at a scale.
Box = tuple[int, int, int, int]

Closer = Callable[[Box, float], View]


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


@dataclass(frozen=True, eq=False)
class Place:
    """Where proposals are made: shape of the image, window in it, and how to look closer."""

    frame: tuple[int, int]
    window: tuple[int, int, int, int]
    closer: Closer | None = None


def close_ups(finest: Level, place: Place, judges: Judges) -> list[Level]:
    """Levels twice as fine for the parts of a window in which there are small particles.

    Each proposes only what lies in its own box and does not end where it is cut.
    """
    if place.closer is None:
        return []
    scale = finest.view.scale
    boxes = boxes_of(place.window, CLOSE_UP)
    wanted = small_ones(finest, boxes) >= FEWEST
    if not wanted.any():
        wanted = probed(finest, place, judges, boxes)
    out = []
    for core in (box for box, is_wanted in zip(boxes, wanted, strict=True) if is_wanted):
        box = around(core, place.window)
        level = Level.of(place.closer(box, 2.0 * scale), judges.joining, judges.particle)
        out.append(own_part(level, core, box, place.window))
    return out


def boxes_of(window: Box, side: int) -> list[Box]:
    """Boxes of at most this side that part a window."""
    x0, y0, x1, y1 = window
    return [
        (left, top, min(left + side, x1), min(top + side, y1))
        for top in range(y0, y1, side)
        for left in range(x0, x1, side)
    ]


def around(core: Box, window: Box) -> Box:
    """A box with AROUND pixels more on each side, as far as the window goes."""
    low = max(core[0] - AROUND, window[0]), max(core[1] - AROUND, window[1])
    return *low, min(core[2] + AROUND, window[2]), min(core[3] + AROUND, window[3])


def small_ones(level: Level, boxes: Sequence[Box], least: float = 0.15) -> np.ndarray:
    """How many small proposals (B,), at least this sure, have their middle in each box."""
    size = np.bincount(level.labels.ravel(), minlength=len(level.confidence) + 1)[1:]
    small = (4.0 * np.sqrt(size / math.pi) < SMALL) & (level.confidence > least)
    if not small.any():
        return np.zeros(len(boxes), int)
    places = ndimage.find_objects(level.labels)
    own = [place for place, is_small in zip(places, small, strict=True) if is_small]
    middles = np.array([(c.start + c.stop, r.start + r.stop) for r, c in own])
    spots = middles / level.view.scale + np.array(level.view.origin)  # a cell is two pixels
    return np.array([((spots >= b[:2]) & (spots < b[2:])).all(1).sum() for b in boxes])


def probed(finest: Level, place: Place, judges: Judges, boxes: Sequence[Box]) -> np.ndarray:
    """Which boxes (B,) to look at closely, by a look at the spot with the finest texture.

    Where particles of a few pixels lie side by side the finest view may see none of them.
    """
    no = np.zeros(len(boxes), bool)
    if place.closer is None:
        return no
    grey, scale = finest.dense.grey, finest.view.scale
    busy = np.abs(ndimage.laplace(grey))
    cells = max(4, int(PROBE * scale / 2))
    mean = ndimage.uniform_filter(busy, cells, mode="nearest")
    row, column = np.unravel_index(int(mean.argmax()), mean.shape)
    low = (
        int(2 * column / scale + finest.view.origin[0] - PROBE / 2),
        int(2 * row / scale + finest.view.origin[1] - PROBE / 2),
    )
    x0, y0, x1, y1 = place.window
    left, top = max(min(low[0], x1 - PROBE), x0), max(min(low[1], y1 - PROBE), y0)
    box = (left, top, min(left + PROBE, x1), min(top + PROBE, y1))
    look = Level.of(place.closer(box, 2.0 * scale), judges.joining, judges.particle)
    size = np.bincount(look.labels.ravel(), minlength=len(look.confidence) + 1)[1:]
    small = (2.0 * np.sqrt(size / math.pi) < SMALL) & (look.confidence > 0.5)
    if small.sum() < 4 * FEWEST or small.sum() < 0.5 * (look.confidence > 0.2).sum():
        return no
    levels = []
    for x_low, y_low, x_high, y_high in boxes:
        rows = slice(
            int((y_low - finest.view.origin[1]) * scale / 2),
            int((y_high - finest.view.origin[1]) * scale / 2) + 1,
        )
        columns = slice(
            int((x_low - finest.view.origin[0]) * scale / 2),
            int((x_high - finest.view.origin[0]) * scale / 2) + 1,
        )
        levels.append(float(mean[rows, columns].max()))
    return np.array(levels) > 0.5 * float(mean.max())


def own_part(
    level: Level,
    core: Box,
    box: Box,
    window: Box,
) -> Level:
    """A close-up that leaves to others what lies outside its core or is cut by its box."""
    height, width = level.labels.shape
    unit = 2.0 / level.view.scale
    sure = level.confidence.copy()
    for index, place in enumerate(ndimage.find_objects(level.labels)):
        (r0, r1), (c0, c1) = ((s.start, s.stop) for s in place)
        x, y = box[0] + 0.5 * unit * (c0 + c1), box[1] + 0.5 * unit * (r0 + r1)
        cut = (
            (c0 == 0 and box[0] > window[0])
            or (r0 == 0 and box[1] > window[1])
            or (c1 >= width - 1 and box[2] < window[2])
            or (r1 >= height - 1 and box[3] < window[3])
        )
        if cut or not (core[0] <= x < core[2] and core[1] <= y < core[3]):
            sure[index] = 0.0
    return replace(level, confidence=sure)


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
