"""What judges of the automatic mode are fitted on: proposals for pictures whose truth is known."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from particle_nb.core.masks import Mask
from particle_nb.models.embedded.close_ups import SMALL
from particle_nb.models.embedded.judges import Judge
from particle_nb.models.embedded.one_pass import (
    Dense,
    basins,
    instance_features,
    join,
    join_once,
    pair_features,
    pieces_of,
    relabelled,
)
from particle_nb.models.embedded.segmenter import view_scales


def scales_for(grey: np.ndarray, labels: np.ndarray) -> list[float]:
    """Scales of the views of a picture (H, W), with a close-up where most are small."""
    height, width = grey.shape
    scales = view_scales(width, height)
    areas = np.bincount(labels.ravel())[1:]
    sizes = np.sqrt(4 / np.pi * areas[areas > 0])
    close = len(sizes) > 2 and float(np.median(sizes)) * scales[0] < SMALL
    return [2.0 * scales[0], *scales] if close else scales


def on_cells(labels: np.ndarray, shape: tuple[int, int], scale: float) -> np.ndarray:
    """True labels at the middles of the cells (h, w) of a view."""
    rows, columns = (
        ((2 * np.arange(n) + 1) / scale).astype(int).clip(0, extent - 1)
        for n, extent in zip(shape, labels.shape, strict=True)
    )
    return np.asarray(labels[np.ix_(rows, columns)])


def table_of(a: np.ndarray, b: np.ndarray, rows: int = 0) -> np.ndarray:
    """Common pixels (n, m) of the labels of two maps, 0 included; at least `rows` of the first."""
    rows, columns = max(int(a.max()) + 1, rows), int(b.max()) + 1
    key = a.astype(np.int64).ravel() * columns + b.ravel()
    return np.bincount(key, minlength=rows * columns).reshape(rows, columns)


def pair_examples(
    dense: Dense, truth: np.ndarray, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Features (E, 19) and targets (E,) of touching pieces, in rounds of joining by truth."""
    labels = basins(dense)
    pieces = pieces_of(labels, dense)
    if not len(pieces.pairs):
        return np.zeros((0, 19)), np.zeros(0)
    common = table_of(labels, truth)[1:]
    owner, pure = common.argmax(1), common.max(1) / common.sum(1).clip(1)
    features, targets = [], []
    for _ in range(4):
        if not len(pieces.pairs):
            break
        one, other = pieces.pairs.T
        clear = (pure[one] > 0.6) & (pure[other] > 0.6) & ((owner[one] > 0) | (owner[other] > 0))
        same = (owner[one] == owner[other]) & (owner[one] > 0)
        features.append(pair_features(pieces)[clear])
        targets.append(same[clear].astype(float))
        value = np.where(same & (rng.random(len(same)) < 0.7), rng.random(len(same)), -1.0)
        group = join_once(pieces, value, 0.0)
        if group is None:
            break
        weight = pieces.sums[:, 0]
        count = int(group.max()) + 1
        first = np.zeros(count, int)
        first[group] = owner
        pure = np.bincount(group, pure * weight, count) / np.bincount(group, weight, count)
        owner, pieces = first, pieces.joined(group)
    return np.concatenate(features), np.concatenate(targets)


def instance_examples(
    dense: Dense, labels: np.ndarray, scale: float, judge: Judge
) -> tuple[np.ndarray, np.ndarray]:
    """Features (N, 27) of what the joining proposes, and the best IoU (N,) of each."""
    pieces = basins(dense)
    found = relabelled(pieces, join(pieces_of(pieces, dense), judge))
    if not found.max():
        return np.zeros((0, 27)), np.zeros(0)
    rows, columns = (
        ((np.arange(extent) + 0.5) * scale / 2).astype(int).clip(0, n - 1)
        for n, extent in zip(found.shape, labels.shape, strict=True)
    )
    wide = found[np.ix_(rows, columns)]
    # magnified views are taken apart into more cells than pixels: some labels lie between these
    common = table_of(wide, labels, int(found.max()) + 1)
    areas, true = common.sum(1)[1:, None], common.sum(0)[None, 1:]
    inner = common[1:, 1:]
    iou = (inner / (areas + true - inner).clip(1)).max(1, initial=0.0)
    return instance_features(found, dense, scale), iou


@dataclass(frozen=True, eq=False)
class Examples:
    """Features (N, F), targets (N, T), weights (N,) and the number of the picture of each."""

    features: np.ndarray
    targets: np.ndarray
    weights: np.ndarray
    pictures: np.ndarray


def gathered(parts: list[tuple[int, np.ndarray, np.ndarray]]) -> Examples:
    """Examples of all pictures; a picture weighs as the fourth root of its number of examples."""
    parts = [part for part in parts if len(part[1])]
    weights = [np.full(len(f), len(f) ** -0.75) for _, f, _ in parts]
    numbers = [np.full(len(f), number) for number, f, _ in parts]
    targets = [t if t.ndim == 2 else t[:, None] for _, _, t in parts]
    return Examples(
        np.concatenate([f for _, f, _ in parts]),
        np.concatenate(targets),
        np.concatenate(weights),
        np.concatenate(numbers),
    )


def matched(masks: list[Mask], labels: np.ndarray) -> np.ndarray:
    """Whether each mask matches a true particle at 0.5 or more, and its best IoU, (N, 2)."""
    areas = np.bincount(labels.ravel())
    out = np.zeros((len(masks), 2))
    for index, mask in enumerate(masks):
        r0, c0, r1, c1 = mask.bbox
        common = np.bincount(labels[r0:r1, c0:c1][mask.crop], minlength=len(areas))
        common[0] = 0
        iou = float((common / (areas + mask.area - common).clip(1)).max())
        out[index] = iou >= 0.5, iou
    return out
