"""Long straight particles whole: pieces of a rod that no edge parts are one.

The network looks for particles about as wide as long; of a rod that lies alone it sees one piece
after the other. Where the foreground is a bar of even width, the bar is the particle if the network
sees no boundary at the seams of its pieces, or if it is believed more than they are.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor

from particle_nb.models.embedded.one_pass import Dense, pieces_of
from particle_nb.models.embedded.regions import FEATURES
from particle_nb.models.embedded.views import View

#: Least ratio of length to width, and least area of a bar in cells.
LONG, LEAST_AREA = 2.5, 48
#: Share of the rectangle with its second moments that a bar fills.
FILLED = (0.85, 1.1)
#: Width at the tenth part of a bar's length that is narrowest, less its ends, against the median.
EVEN = 0.8
#: Highest mean probability of a boundary at the seams.
SEAM = 0.35


def bars(labels: np.ndarray, dense: Dense) -> list[tuple[np.ndarray, bool]]:
    """The labels of each straight bar of several pieces, int (K,), and whether no edge parts them.

    Parameters
    ----------
    labels : int array (h, w)
        0 is background.
    dense : Dense
        Maps of the same cells.
    """
    parts, count = ndimage.label(labels > 0)
    if not count or labels.max() == count:
        return []
    owner = np.zeros(int(labels.max()) + 1, np.int32)
    owner[labels.ravel()] = parts.ravel()
    several = np.flatnonzero(np.bincount(owner[1:], minlength=count + 1) > 1)
    places = ndimage.find_objects(parts)
    found = [number for number in several.tolist() if lies_bar(parts, number, places[number - 1])]
    if not found:
        return []
    pieces = pieces_of(labels, dense)
    walls = pieces.seams[:, 1] / pieces.seams[:, 0].clip(1.0)
    out = []
    for number in found:
        own = np.flatnonzero(owner == number)
        between = walls[np.isin(pieces.pairs[:, 0] + 1, own)]
        out.append((own, bool(between.max(initial=0.0) <= SEAM)))
    return out


def bar_box(view: View, spot: Tensor) -> Tensor | None:
    """Box (4,) in image pixels around the straight bar of foreground under a spot (2,), if any."""
    height, width = (view.size[0] + 1) // 2, (view.size[1] + 1) // 2
    parts, _ = ndimage.label(view.maps[0, FEATURES, :height, :width].cpu().numpy() > 0.0)
    column, row = ((view.into(spot) + 0.5) / 2.0).long().tolist()
    if not (0 <= row < height and 0 <= column < width) or not parts[row, column]:
        return None
    number = int(parts[row, column])
    ((rows, columns),) = ndimage.find_objects((parts == number).astype(np.uint8))
    if not lies_bar(parts, number, (rows, columns)):
        return None
    low = spot.new_tensor([columns.start, rows.start])
    high = spot.new_tensor([columns.stop, rows.stop])
    return torch.cat([view.out(2.0 * low - 0.5), view.out(2.0 * high - 0.5)])


def lies_bar(parts: np.ndarray, number: int, place: tuple[slice, slice]) -> bool:
    """Whether a part of a numbered map (h, w) is a straight bar that lies within the frame.

    What the frame cuts along both axes may be straight for that.
    """
    framed = sum(s.start == 0 or s.stop == n for s, n in zip(place, parts.shape, strict=True))
    return framed <= 1 and is_bar(ndimage.binary_fill_holes(parts[place] == number))


def joined(labels: np.ndarray, groups: Sequence[np.ndarray]) -> np.ndarray:
    """The label map (h, w) with the labels of each group as one, numbered without gaps.

    Examples
    --------
    >>> joined(np.array([[1, 2, 0, 3]]), [np.array([1, 3])]).tolist()
    [[1, 2, 0, 1]]
    """
    to = np.arange(int(labels.max()) + 1)
    for group in groups:
        to[group] = group[0]
    distinct = np.unique(to)
    return np.asarray(np.searchsorted(distinct, to)[labels], np.int32)


def is_bar(crop: np.ndarray) -> bool:
    """Whether a bool array (h, w) is long, straight and of even width.

    Examples
    --------
    >>> is_bar(np.ones((8, 40), bool)), is_bar(np.ones((20, 40), bool))
    (True, False)
    """
    rows, columns = np.nonzero(crop)
    area = len(rows)
    if area < LEAST_AREA:
        return False
    spots = np.stack([columns - columns.mean(), rows - rows.mean()])
    spread, axes = np.linalg.eigh(spots @ spots.T / area)
    width, length = (math.sqrt(12.0 * value + 1.0) for value in spread.clip(0.0))
    if length < LONG * width or not FILLED[0] <= area / (length * width) <= FILLED[1]:
        return False
    along = axes[:, 1] @ spots
    steps = np.linspace(-0.5 * (length - width), 0.5 * (length - width), 12)
    # every cell is spread over its own length, so that no step holds a row more than the next
    before = np.array([(step - along + 0.5).clip(0.0, 1.0).sum() for step in steps])
    widths = np.diff(before) / np.diff(steps)
    return bool(widths.min() >= EVEN * np.median(widths))
