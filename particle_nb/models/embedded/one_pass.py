"""Particles from the dense maps of a view in one pass: seeds, basins, and joining of basins.

Everything here is counted in cells, two view pixels each, and is done for all pieces at once: a
piece is a row of sums, so joining two of them adds rows and never goes back to the maps.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage
from skimage.segmentation import watershed

from particle_nb.models.embedded.judges import Judge
from particle_nb.models.embedded.regions import FEATURES, RADIUS_UNIT, SIDE_UNIT
from particle_nb.models.embedded.views import View

#: Smallest foreground x centreness of a seed.
LEAST_PEAK = 0.1
#: Pieces smaller than this many cells are dropped.
LEAST_CELLS = 4
#: Rounds of joining; each may halve the number of pieces of a particle.
ROUNDS = 8


@dataclass(frozen=True, eq=False)
class Dense:
    """Dense maps (h, w) of a view without its padding, float32, cells of two view pixels."""

    logit: np.ndarray  # foreground
    foreground: np.ndarray
    boundary: np.ndarray
    centre: np.ndarray
    radius: np.ndarray  # logarithm of cells
    sides: np.ndarray  # (4, h, w) left, top, right, bottom
    grey: np.ndarray

    @classmethod
    def of(cls, view: View) -> Dense:
        """Those of a view."""
        height, width = (view.size[0] + 1) // 2, (view.size[1] + 1) // 2
        raw = view.maps[0, FEATURES:, :height, :width].cpu().numpy()
        image = view.image[0, 0, : 2 * height, : 2 * width].cpu().numpy()
        grey = image.reshape(height, 2, width, 2).mean((1, 3))
        low = 1.0 / (1.0 + np.exp(-raw[:3].clip(-20, 20)))
        radius = np.log(0.5 * RADIUS_UNIT) + raw[3].clip(-3.0, 3.5)
        sides = 0.5 * SIDE_UNIT * np.exp(raw[4:8].clip(-4.0, 4.6))
        return cls(raw[0], low[0], low[1], low[2], radius, sides, grey)


def seeds(dense: Dense) -> np.ndarray:
    """Markers int32 (h, w): local maxima of foreground x centreness, numbered from 1."""
    smooth = ndimage.uniform_filter(dense.centre * dense.foreground, 3, mode="nearest")
    top = ndimage.maximum_filter(smooth, 3, mode="nearest")
    found = (smooth >= top) & (smooth > LEAST_PEAK) & (dense.logit > 0)
    markers, _ = ndimage.label(found, np.ones((3, 3), int))
    return np.asarray(markers, np.int32)


def basins(dense: Dense) -> np.ndarray:
    """Labels (h, w) of the foreground, parted where the boundary between seeds is highest."""
    height = 255 * (0.7 * dense.boundary + 0.3 * (1.0 - dense.centre))
    return watershed(height.clip(0, 255).astype(np.uint8), seeds(dense), mask=dense.logit > 0)


#: Columns of `Pieces.sums`: cells, weight, weighted boxes and their squares, and sums of maps.
AREA, WEIGHT, BOX, SQUARE, FORE, WALL, MIDDLE, REACH = 0, 1, 2, 6, 10, 11, 12, 13
SUMS = 14


@dataclass(frozen=True, eq=False)
class Pieces:
    """What is known of N pieces and of the E pairs of them that touch.

    sums (N, SUMS), peak (N,) highest centreness, box (N, 4) x0, y0, x1, y1; pairs (E, 2) first
    below second; seams (E, 4): cells along which they touch and sums of boundary, centreness and
    foreground there.
    """

    sums: np.ndarray
    peak: np.ndarray
    box: np.ndarray
    pairs: np.ndarray
    seams: np.ndarray

    @property
    def expected(self) -> np.ndarray:
        """Mean boxes (N, 4) that the cells of each piece expect."""
        return self.sums[:, BOX : BOX + 4] / self.sums[:, WEIGHT : WEIGHT + 1]

    def joined(self, group: np.ndarray) -> Pieces:
        """Pieces of the same `group` (N,), numbers from 0 without gaps, as one."""
        count = int(group.max()) + 1 if len(group) else 0
        sums = np.zeros((count, SUMS))
        np.add.at(sums, group, self.sums)
        peak = np.zeros(count)
        np.maximum.at(peak, group, self.peak)
        box = np.empty((count, 4))
        box[:, :2], box[:, 2:] = np.inf, -np.inf
        np.minimum.at(box[:, :2], group, self.box[:, :2])
        np.maximum.at(box[:, 2:], group, self.box[:, 2:])
        pairs = np.sort(group[self.pairs], 1)
        apart = pairs[:, 0] != pairs[:, 1]
        pairs, seams = summed(pairs[apart], self.seams[apart], count)
        return Pieces(sums, peak, box, pairs, seams)


def summed(pairs: np.ndarray, values: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Distinct pairs (E, 2) of numbers below `count`, and the sums of their values (E, K)."""
    key = pairs[:, 0].astype(np.int64) * max(count, 1) + pairs[:, 1]
    distinct, index = np.unique(key, return_inverse=True)
    total = np.stack([np.bincount(index, column, len(distinct)) for column in values.T], 1).reshape(
        len(distinct), values.shape[1]
    )
    return np.stack([distinct // max(count, 1), distinct % max(count, 1)], 1), total


def pieces_of(labels: np.ndarray, dense: Dense) -> Pieces:
    """What is known of the pieces 1 to N of a label map (h, w); piece k comes in row k - 1."""
    rows, columns = np.nonzero(labels)
    label = labels[rows, columns] - 1
    count = int(label.max()) + 1 if len(label) else 0
    at = rows, columns
    weight = (dense.centre[at] + 0.02).astype(float)
    left, top, right, bottom = dense.sides[:, rows, columns]
    boxes = (columns - left, rows - top, columns + right, rows + bottom)
    values = [np.ones(len(label)), weight]
    values += [weight * part for part in boxes] + [weight * part * part for part in boxes]
    values += [dense.foreground[at], dense.boundary[at], dense.centre[at], dense.radius[at]]
    sums = np.stack([np.bincount(label, value, count) for value in values], 1)
    peak = np.zeros(count)
    np.maximum.at(peak, label, dense.centre[at])
    box = np.zeros((count, 4))
    for number, place in enumerate(ndimage.find_objects(labels)):
        if place is not None:
            box[number] = place[1].start, place[0].start, place[1].stop, place[0].stop
    pairs, seams = [], []
    for here, there in (
        ((slice(None), slice(None, -1)), (slice(None), slice(1, None))),
        ((slice(None, -1), slice(None)), (slice(1, None), slice(None))),
    ):
        a, b = labels[here], labels[there]
        meet = (a != b) & (a > 0) & (b > 0)
        pairs.append(np.sort(np.stack([a[meet], b[meet]], 1) - 1, 1))
        walls = np.maximum(dense.boundary[here][meet], dense.boundary[there][meet])
        middles = np.minimum(dense.centre[here][meet], dense.centre[there][meet])
        fore = np.minimum(dense.foreground[here][meet], dense.foreground[there][meet])
        seams.append(np.stack([np.ones(len(walls)), walls, middles, fore], 1))
    return Pieces(sums, peak, box, *summed(np.concatenate(pairs), np.concatenate(seams), count))


def box_iou(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """IoU (N,) of boxes (N, 4), row by row."""
    low, high = np.maximum(a[:, :2], b[:, :2]), np.minimum(a[:, 2:], b[:, 2:])
    shared = (high - low).clip(0).prod(1)
    both = (a[:, 2:] - a[:, :2]).clip(0).prod(1) + (b[:, 2:] - b[:, :2]).clip(0).prod(1)
    return np.asarray(shared / (both - shared).clip(1e-9))


def pair_features(pieces: Pieces) -> np.ndarray:
    """What the judge of joining looks at, (E, 19); the smaller piece of a pair comes first."""
    pairs = pieces.pairs
    area = pieces.sums[:, AREA]
    swap = area[pairs[:, 0]] > area[pairs[:, 1]]
    pairs = np.where(swap[:, None], pairs[:, ::-1], pairs)
    one, other = pairs.T
    cells = pieces.seams[:, 0]
    wall, middle, fore = pieces.seams[:, 1:].T / cells
    expected, box = pieces.expected, pieces.box
    both = np.concatenate(
        [np.minimum(box[one, :2], box[other, :2]), np.maximum(box[one, 2:], box[other, 2:])], 1
    )
    mean = pieces.sums / area[:, None]
    fits = mean[:, REACH] - 0.5 * np.log(area / np.pi)
    total = 0.5 * np.log((area[one] + area[other]) / np.pi)
    return np.stack(
        [
            wall,
            middle,
            middle / np.minimum(pieces.peak[one], pieces.peak[other]).clip(0.02),
            fore,
            pieces.peak[one],
            pieces.peak[other],
            box_iou(expected[one], expected[other]),
            box_iou(expected[one], both),
            box_iou(expected[other], both),
            box_iou(expected[one], box[one]),
            box_iou(expected[other], box[other]),
            np.log(area[one]),
            np.log(area[other]),
            np.log(cells / np.sqrt(area[one])),
            fits[one],
            fits[other],
            mean[one, REACH] - total,
            mean[one, WALL],
            mean[other, WALL],
        ],
        1,
    )


def join_once(pieces: Pieces, value: np.ndarray, least: float = 0.5) -> np.ndarray | None:
    """Groups (N,) that join each piece with its best neighbour where both want each other."""
    count = len(pieces.sums)
    best = np.full(count, -1.0)
    for side in (0, 1):
        np.maximum.at(best, pieces.pairs[:, side], value)
    wanted = (value > least) & (value >= best[pieces.pairs[:, 0]])
    wanted &= value >= best[pieces.pairs[:, 1]]
    if not wanted.any():
        return None
    group = np.arange(count)
    for one, other in pieces.pairs[wanted].tolist():
        # ties may chain
        group[other] = group[one]
    return np.asarray(np.unique(group, return_inverse=True)[1])


def join(pieces: Pieces, judge: Judge) -> np.ndarray:
    """Final group (N,) of every piece, numbers from 0."""
    final = np.arange(len(pieces.sums))
    for _ in range(ROUNDS):
        if not len(pieces.pairs):
            break
        group = join_once(pieces, judge(pair_features(pieces))[:, 0])
        if group is None:
            break
        final, pieces = group[final], pieces.joined(group)
    return final


def relabelled(labels: np.ndarray, group: np.ndarray) -> np.ndarray:
    """The map (h, w) with pieces of one group as one label, small ones dropped, without gaps."""
    labels = np.concatenate([[0], group + 1])[labels]
    sizes = np.bincount(labels.ravel())
    kept = sizes >= LEAST_CELLS
    kept[0] = False
    return np.asarray((np.cumsum(kept) * kept)[labels], np.int32)


def instance_features(labels: np.ndarray, dense: Dense, scale: float) -> np.ndarray:
    """What the judge of particles looks at, (N, 27), of the labels 1 to N of a view."""
    pieces = pieces_of(labels, dense)
    count = len(pieces.sums)
    if not count:
        return np.zeros((0, 27))
    area = pieces.sums[:, AREA]
    mean = pieces.sums / area[:, None]
    expected, box = pieces.expected, pieces.box
    square = pieces.sums[:, SQUARE : SQUARE + 4] / pieces.sums[:, WEIGHT : WEIGHT + 1]
    size = np.sqrt(area)
    scatter = np.sqrt((square - expected**2).clip(0).mean(1)) / size
    extent = box[:, 2:] - box[:, :2]
    # Along the rim: boundary and foreground, what lies behind, and the step of grey across it.
    rim = np.zeros((count, 8))
    padded = np.pad(labels, 3)
    grey = np.pad(dense.grey, 3, mode="edge")
    height, width = labels.shape

    def shifted(array: np.ndarray, dy: int, dx: int) -> np.ndarray:
        return array[3 + dy : 3 + dy + height, 3 + dx : 3 + dx + width]

    for dy, dx in ((0, 1), (1, 0), (0, -1), (-1, 0)):
        next_ = shifted(padded, dy, dx)
        out = (labels > 0) & (next_ != labels)
        at = labels[out] - 1
        inner = shifted(grey, -dy, -dx)[out]
        step = inner - shifted(grey, 2 * dy, 2 * dx)[out]
        outside = np.zeros_like(out)
        outside[3:-3, 3:-3] = True
        frame = ~outside[out]
        values = (
            np.ones(len(at)),
            (next_[out] > 0).astype(float),
            frame.astype(float),
            dense.boundary[out],
            dense.foreground[out],
            step,
            step * step,
            np.abs(step),
        )
        for column, value in enumerate(values):
            rim[:, column] += np.bincount(at, value, count)
    length = rim[:, 0].clip(1)
    rim_mean = rim / length[:, None]
    steps = np.abs(np.diff(dense.grey, axis=1))
    noise = (float(np.median(steps)) if steps.size else 0.0) + 0.02
    total = float(area.sum())
    context = [
        float((area * pieces.peak).sum() / total),
        float((area * mean[:, FORE]).sum() / total),
        float(np.log(count)),
        float(total / labels.size),
        float(np.log(np.median(area))),
        float((area * box_iou(expected, box)).sum() / total),
        np.log(noise),
    ]
    own = [
        np.log(area),
        np.full(count, np.log(scale)),
        mean[:, FORE],
        mean[:, WALL],
        mean[:, MIDDLE],
        pieces.peak,
        box_iou(expected, box),
        scatter,
        mean[:, REACH] - 0.5 * np.log(area / np.pi),
        length / size,
        area / extent.prod(1),
        np.log(extent.max(1) / extent.min(1)),
        rim_mean[:, 1],
        rim_mean[:, 2],
        rim_mean[:, 3],
        rim_mean[:, 4],
        np.abs(rim_mean[:, 5]) / noise,
        rim_mean[:, 5],
        np.abs(rim_mean[:, 5]) / np.sqrt(rim_mean[:, 6]).clip(1e-3),
        np.log(area) - np.log(np.median(area)),
    ]
    return np.stack(own + [np.full(count, value) for value in context], 1)
