"""A closer look at the places where there are particles of a few pixels."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy import ndimage

from particle_nb.models.embedded.settling import Judges, Level
from particle_nb.models.embedded.views import View

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
    boxes = boxes_of(place.window, CLOSE_UP)
    wanted = small_ones(finest, boxes) >= FEWEST
    if not wanted.any():
        wanted = probed(finest, place, judges, boxes)
    seen = small_ones(finest, boxes, least=0.0)
    if not wanted.any():
        wanted = tried(finest, place, judges, seen)
    out = looks(finest, place, judges, itertools.compress(boxes, wanted))
    # where what was hardly believed turns out to be particles, so may the rest of it
    believed = sum(sure_small_ones(level) for level in out)
    if believed >= max(FEWEST, 0.5 * seen[wanted].sum()):
        rest = (seen >= FEWEST) & ~wanted
        out += looks(finest, place, judges, itertools.compress(boxes, rest))
    return out


def looks(finest: Level, place: Place, judges: Judges, cores: Iterable[Box]) -> list[Level]:
    """Boxes looked at twice as finely as the finest view does."""
    assert place.closer is not None
    out = []
    for core in cores:
        box = around(core, place.window)
        view = place.closer(box, 2.0 * finest.view.scale)
        level = Level.of(view, judges.joining, judges.particle)
        out.append(own_part(level, core, box, place.window))
    return out


def sure_small_ones(level: Level) -> int:
    """How many particles that are small in the finest view a closer look is sure of."""
    size = np.bincount(level.labels.ravel(), minlength=len(level.confidence) + 1)[1:]
    return int(((2.0 * np.sqrt(size / math.pi) < SMALL) & (level.confidence > 0.5)).sum())


def tried(finest: Level, place: Place, judges: Judges, seen: np.ndarray) -> np.ndarray:
    """Which boxes (B,) to look at closely: those with small ones that the finest view does not
    believe, if a look at where most of them lie does. `seen` counts them (B,).
    """
    no = np.zeros(len(seen), bool)
    if seen.max(initial=0) < FEWEST:
        return no
    spots = boxes_of(place.window, CLOSE_UP // 2)
    count = small_ones(finest, spots, least=0.0)
    best = int(count.argmax())
    (look,) = looks(finest, place, judges, [spots[best]])
    believed = sure_small_ones(look)
    return seen >= FEWEST if believed >= max(FEWEST, 0.5 * count[best]) else no


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
    small = (4.0 * np.sqrt(size / math.pi) < SMALL) & (level.confidence >= least)
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
    small = sure_small_ones(look)
    if small < 4 * FEWEST or small < 0.5 * (look.confidence > 0.2).sum():
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
