"""One particle, one mask: what the views of an image propose, settled between them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, replace

import numpy as np

from particle_nb.models.embedded.judges import Judge
from particle_nb.models.embedded.one_pass import (
    Dense,
    basins,
    instance_features,
    join,
    pieces_of,
    relabelled,
)
from particle_nb.models.embedded.straight import bars, joined
from particle_nb.models.embedded.views import View

#: Share of a proposal that lies in another one from which it counts as a part of it.
PART = 0.6
#: A coarser mask of the same particle must be surer by this much: finer ones have better outlines.
FINER = 0.03
#: Parts that cover this share of the whole may stand for it: gaps between particles are normal.
COVER = 0.4
#: More parts than this need to cover less and be less sure: a sheet under many particles is none,
#: however wide the gaps between them.
MANY = 4
#: Proposals less sure than this take no part.
LEAST = 0.1


@dataclass(frozen=True, eq=False)
class Judges:
    """The learned judges: of joining pieces, of one view's proposals, of what is left when the
    views are settled, and of that once the prompt decoder was asked, too."""

    joining: Judge
    particle: Judge
    settled: Judge
    asked: Judge

    @classmethod
    def read(cls, stored: Mapping[str, np.ndarray]) -> Judges:
        """Those among stored arrays; KeyError where one lacks."""
        return cls(*(Judge.read(stored, item.name) for item in fields(cls)))

    def towards(self, other: Judges, share: float) -> Judges:
        """Judges that lie a share of the way to others of the same size and scales."""
        made = {}
        for item in fields(self):
            own, its = getattr(self, item.name), getattr(other, item.name)
            layers = [
                tuple((1.0 - share) * a + share * b for a, b in zip(*pair, strict=True))
                for pair in zip(own.layers, its.layers, strict=True)
            ]
            made[item.name] = replace(its, layers=tuple(layers))
        return Judges(**made)

    def stored(self) -> dict[str, np.ndarray]:
        """Arrays that `read` makes these judges of again; their shapes are those of the layers."""
        return {
            key: value
            for item in fields(self)
            for key, value in getattr(self, item.name).stored(item.name).items()
        }


@dataclass(frozen=True, eq=False)
class Level:
    """What one view proposes: labels (h, w) of its cells, and per label 1 to N its confidence and
    expected IoU, both (N,)."""

    view: View
    dense: Dense
    labels: np.ndarray
    confidence: np.ndarray
    iou: np.ndarray
    features: np.ndarray

    @classmethod
    def of(cls, view: View, joining: Judge, particle: Judge) -> Level:
        """Decode one view."""
        dense = Dense.of(view)
        labels = basins(dense)
        labels = relabelled(labels, join(pieces_of(labels, dense), joining))

        def judge(made: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            features = instance_features(made, dense, view.scale)
            return features, particle(features)

        features, judged = judge(labels)
        whole = _whole_bars(labels, dense, judged[:, 0], lambda made: judge(made)[1][:, 0])
        if whole:
            labels = joined(labels, whole)
            features, judged = judge(labels)
        return cls(view, dense, labels, judged[:, 0], judged[:, 1], features)

    @property
    def worth(self) -> np.ndarray:
        """What proposals (N,) of several levels are weighed by: confidence times expected IoU."""
        return self.confidence * self.iou

    def stability(self) -> np.ndarray:
        """IoU (N,) of each label's cells above a foreground logit of +1 with those above -1, the
        band between 0 and -1 taken as wide as that between 0 and 1."""
        high = np.bincount(self.labels[self.dense.logit > 1.0], minlength=len(self.iou) + 1)[1:]
        every = np.bincount(self.labels.ravel(), minlength=len(self.iou) + 1)[1:]
        return np.asarray(high / (2.0 * every - high).clip(1.0))

    def under(self, finer: Level) -> np.ndarray:
        """Own labels (h, w) at the middles of the cells of a finer level; 0 outside of it."""
        index = []
        for axis, (count, limit) in enumerate(
            zip(finer.labels.shape, self.labels.shape, strict=True)
        ):
            image = (2 * np.arange(count) + 1) / finer.view.scale + finer.view.origin[1 - axis]
            at = np.floor((image - self.view.origin[1 - axis]) * self.view.scale / 2).astype(int)
            index.append((at.clip(0, limit - 1), (at >= 0) & (at < limit)))
        (rows, tall), (columns, wide) = index
        return np.asarray(self.labels[np.ix_(rows, columns)] * (tall[:, None] & wide[None]))


def _whole_bars(
    labels: np.ndarray,
    dense: Dense,
    confidence: np.ndarray,
    judge: Callable[[np.ndarray], np.ndarray],
) -> list[np.ndarray]:
    """Labels of each straight bar that is one particle rather than its pieces."""
    found = bars(labels, dense)
    if not found:
        return []
    made = joined(labels, [own for own, _ in found])
    believed = judge(made)
    areas = np.bincount(labels.ravel(), minlength=len(confidence) + 1)[1:]
    out = []
    for own, is_plain in found:
        whole = believed[made[labels == own[0]][0] - 1]
        if is_plain or whole >= np.average(confidence[own - 1], weights=areas[own - 1]):
            out.append(own)
    return out


@dataclass(frozen=True)
class Choice:
    """A proposal that stays: number of its level and its label there."""

    level: int
    label: int


def overlaps(fine: Level, coarse: Level) -> tuple[np.ndarray, np.ndarray]:
    """Pairs (P, 2) of labels, fine and coarse, and their common area in cells of the fine level."""
    if fine.view.scale == coarse.view.scale:  # close-ups part the image between them
        return np.zeros((0, 2), np.int64), np.zeros(0, np.int64)
    other = coarse.under(fine)
    both = (fine.labels > 0) & (other > 0)
    width = len(coarse.confidence) + 1
    key, count = np.unique(
        fine.labels[both].astype(np.int64) * width + other[both], return_counts=True
    )
    return np.stack([key // width, key % width], 1), count


def support(levels: Sequence[Level]) -> list[np.ndarray]:
    """For each proposal of each level the best that another level has for it, (N, 2): their IoU
    and the other's confidence."""
    out = [np.zeros((len(level.confidence), 2)) for level in levels]
    for coarse in range(1, len(levels)):
        for fine in range(coarse):
            a, b = levels[fine], levels[coarse]
            pairs, common = overlaps(a, b)
            unit = (2.0 / a.view.scale) ** 2
            one = unit * np.bincount(a.labels.ravel(), minlength=len(a.confidence) + 1)
            other = (2.0 / b.view.scale) ** 2 * np.bincount(
                b.labels.ravel(), minlength=len(b.confidence) + 1
            )
            shared = unit * common
            iou = shared / (one[pairs[:, 0]] + other[pairs[:, 1]] - shared)
            order = np.argsort(iou)  # the last one written is the best
            i, j, iou = pairs[order, 0] - 1, pairs[order, 1] - 1, iou[order]
            for number, at, sure in ((fine, i, b.confidence[j]), (coarse, j, a.confidence[i])):
                better = iou > out[number][at, 0]
                out[number][at[better]] = np.stack([iou[better], sure[better]], 1)
    return out


def settle(levels: Sequence[Level]) -> list[Choice]:
    """The proposals of all levels, finest first, that stay.

    A coarse mask that holds several good finer ones never settles them: it must be surer than
    they are together.
    """
    areas = [np.bincount(level.labels.ravel())[1:].astype(float) for level in levels]
    kept: list[set[int]] = []
    for number, level in enumerate(levels):
        mine = {int(k) + 1 for k in np.flatnonzero(level.confidence > LEAST)}
        if number:
            _settle_one(levels, areas, kept, mine, number)
        kept.append(mine)
    return [Choice(number, label) for number, some in enumerate(kept) for label in sorted(some)]


def _settle_one(
    levels: Sequence[Level],
    areas: list[np.ndarray],
    kept: list[set[int]],
    mine: set[int],
    number: int,
) -> None:
    """Settle one coarse level with what is kept of the finer ones; changes `kept` and `mine`."""
    level = levels[number]
    # of each own label: (level, label, common area and own area in units of the image, both)
    rivals: dict[int, list[tuple[int, int, float, float, float]]] = {}
    for other, finer in enumerate(levels[:number]):
        pairs, common = overlaps(finer, level)
        unit = (2.0 / finer.view.scale) ** 2
        own = unit * areas[other]
        whole = (2.0 / level.view.scale) ** 2 * areas[number]
        for (fine, coarse), count in zip(pairs.tolist(), common.tolist(), strict=True):
            if fine in kept[other] and coarse in mine:
                entry = (other, fine, unit * count, own[fine - 1], whole[coarse - 1])
                rivals.setdefault(coarse, []).append(entry)
    for label in sorted(rivals, key=lambda k: -level.worth[k - 1]):
        near = [r for r in rivals[label] if r[1] in kept[r[0]]]
        parts = [r for r in near if r[2] > PART * r[3]]
        around = [r for r in near if r[2] > PART * r[4] and r[2] <= PART * r[3]]
        value = float(level.worth[label - 1])
        if any(levels[r[0]].worth[r[1] - 1] >= value - FINER for r in around):
            mine.discard(label)
            continue
        if parts:
            weight = np.array([r[2] for r in parts])
            sure = np.array([levels[r[0]].worth[r[1] - 1] for r in parts])
            good = sure > 0.5 * sure.max()
            cover = float(weight[good].sum()) / parts[0][4]
            together = float((weight * sure)[good].sum() / weight[good].sum())
            crowd = max(1.0, float(good.sum()) / MANY)
            together = together * min(1.0, cover * np.sqrt(crowd) / COVER)
            together += FINER * (1.0 + np.log2(crowd))
            if good.sum() > 2:
                together += FINER
            if together >= value:
                mine.discard(label)
                continue
        for other, fine, *_ in parts + around:
            kept[other].discard(fine)


def pixel_crop(
    level: Level, label: int, place: tuple[slice, slice], window: tuple[int, int, int, int]
) -> tuple[tuple[int, int], np.ndarray] | None:
    """Origin (row, col) and bool crop in image pixels of one label, `place` its box in cells.

    The outline is where the foreground passes one half, between cells; against another particle
    it lies where both are equally sure.
    """
    height, width = level.labels.shape
    top, left = max(place[0].start - 1, 0), max(place[1].start - 1, 0)
    bottom, right = min(place[0].stop + 1, height), min(place[1].stop + 1, width)
    labels = level.labels[top:bottom, left:right]
    logit = level.dense.logit[top:bottom, left:right].clip(-8.0, 8.0)
    own = labels == label
    value = np.where(
        own, logit.clip(0.05), np.where(labels > 0, -np.abs(logit), logit.clip(None, -0.05))
    )
    scale, origin = level.view.scale, level.view.origin
    spans = []
    for axis, (start, stop, limit) in enumerate(((top, bottom, height), (left, right, width))):
        first, last = (edge * 2.0 / scale + origin[1 - axis] - 0.5 for edge in (start, stop))
        if stop == limit:  # the last cell may be half padding
            last = max(last, window[3 - axis] - 0.5)
        low, high = (
            max(int(np.ceil(first)), window[1 - axis]),
            min(int(np.ceil(last)), window[3 - axis]),
        )
        pixels = np.arange(low, high)
        cells = ((pixels + 0.5 - origin[1 - axis]) * scale / 2.0 - 0.5 - start).clip(
            0, stop - start - 1
        )
        spans.append((low, cells))
    (row, down), (column, across) = spans
    if not len(down) or not len(across):
        return None
    field = _spread(down, len(value)) @ value.astype(np.float32) @ _spread(across, value.shape[1]).T
    mask = field > 0
    return ((row, column), mask) if mask.any() else None


def _spread(position: np.ndarray, count: int) -> np.ndarray:
    """Linear interpolation at positions 0 to count - 1 as a matrix (N, count)."""
    out = np.zeros((len(position), count), np.float32)
    low = np.floor(position).astype(int).clip(0, max(count - 2, 0))
    part = (position - low).astype(np.float32)
    index = np.arange(len(position))
    out[index, low] = 1 - part
    if count > 1:
        out[index, low + 1] = part
    return out
