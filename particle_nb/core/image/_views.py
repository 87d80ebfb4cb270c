"""Bars with their printed lengths in every view of a picture: its grey and its colour, as it lies
and turned, so that a bar that stands upright is found as one that lies."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from particle_nb.core.image._bars import Bar, bars
from particle_nb.core.image._printed import Found, length_near
from particle_nb.core.image.scale_text import PrintedLength

Box = tuple[int, int, int, int]

_COLOURED = 48  # levels between the strongest and the weakest of red, green and blue
LIKELY = 0.15  # likeness that a bar with a printed length has at least
UNREAD = Found(PrintedLength(0.0, "", "", 0.0, (0.0, 0.0)), (0, 0, 0, 0), 0.0)
UPRIGHT = -1  # quarter turns after which a bar that stands lies; a text turned left is level then


@dataclass(frozen=True)
class Candidate:
    """A bar, the length printed at it, and the view in which it was found."""

    bar: Bar
    text: Found  # `UNREAD`, or with its box in the frame of the bar
    grey: np.ndarray  # the view, turned so that the bar lies
    turn: int = 0  # quarter turns that the picture was turned, 0 or `UPRIGHT`
    sharp: bool = True  # whether the view is that of the grey levels

    @property
    def ends(self) -> tuple[float, float, float, float]:
        """Ends of the bar in the picture, from left to right or from top to bottom."""
        bar = self.bar
        across = (bar.top + bar.bottom) / 2
        if not self.turn:
            return (round(bar.x0, 2), across, round(bar.x1, 2), across)
        last = self.grey.shape[1] - 1
        return (across, round(last - bar.x1, 2), across, round(last - bar.x0, 2))

    @property
    def place(self) -> Box:
        """Box of the text in the picture."""
        return self.in_picture(self.text.box)

    def in_picture(self, box: Box) -> Box:
        """A box of this view in the picture."""
        return turned(box, self.grey.shape, -self.turn)


def turned(box: Box, shape: tuple[int, ...], quarters: int) -> Box:
    """A box (x0, y0, x1, y1), ends excluded, in the picture (H, W) after `np.rot90`."""
    height, width = shape
    for _ in range(quarters % 4):
        x0, y0, x1, y1 = box
        box = (y0, width - x1, y1, width - x0)
        height, width = width, height
    return box


def candidates(planes: list[np.ndarray]) -> Iterator[Candidate]:
    """Yield the bars of all views of a picture.

    Parameters
    ----------
    planes : list of array (H, W)
        Grey levels 0 to 255, float32; lengths are looked for in the bar's own plane first.
    """
    for plane in planes:
        others = [other for other in planes if other is not plane]
        for turn in (0, UPRIGHT):
            grey = np.ascontiguousarray(np.rot90(plane, turn))
            for bar in bars(grey, soft=plane is not planes[0]):
                text = UNREAD
                if bar.score >= LIKELY:
                    views = [grey, *(np.rot90(other, turn) for other in others)]
                    lengths = (_length(view, bar, turn) for view in views)
                    text = next((found for found in lengths if found is not UNREAD), UNREAD)
                yield Candidate(bar, text, grey, turn, plane is planes[0])


def _length(grey: np.ndarray, bar: Bar, turn: int) -> Found:
    """The most probable length at a bar; at one that stands, also of a text that does not."""
    best = UNREAD
    own = (round(bar.x0 + 0.5), bar.rows[0], round(bar.x1 + 0.5), bar.rows[1] + 1)
    for quarters in (0, 1, 2) if turn else (0,):
        x0, y0, x1, y1 = turned(own, grey.shape, quarters)
        place = (x0 - 0.5, y0, x1 - 0.5, y1) if quarters else (bar.x0, y0, bar.x1, y1)
        view = np.ascontiguousarray(np.rot90(grey, quarters))
        found = length_near(view, place, bar.level, bar.ground, bar.kind == "split")
        if found is not None and found.score > best.score:
            best = replace(found, box=turned(found.box, view.shape, -quarters))
    return best


def planes(levels: np.ndarray, pixels: np.ndarray) -> list[np.ndarray]:
    """Return the grey levels and, of a picture in colour, how far each pixel is from grey.

    Parameters
    ----------
    levels : array (H, W)
        Grey levels 0 to 255.
    pixels : array (H, W) or (H, W, C)
    """
    if pixels.ndim != 3 or pixels.shape[2] not in (3, 4):
        return [levels]
    colours = [np.asarray(pixels[..., k], np.float32) for k in range(3)]
    chroma = np.maximum(np.maximum(colours[0], colours[1]), colours[2])
    top = 255.0 if pixels.dtype == np.uint8 else float(chroma.max())
    chroma = chroma - np.minimum(np.minimum(colours[0], colours[1]), colours[2])
    most = float(chroma.max())
    if not top > 0 or most < _COLOURED / 255 * top:
        return [levels]
    return [levels, chroma * np.float32(255 / most)]


def channels(levels: np.ndarray, pixels: np.ndarray) -> np.ndarray:
    """Return the grey levels and, of a picture in colour, its colours and how far they are from
    grey, (H, W, C), 0 to 255."""
    if pixels.ndim != 3 or pixels.shape[2] not in (3, 4):
        return levels[..., None]
    colours = np.asarray(pixels[..., :3], np.float32)
    if pixels.dtype != np.uint8:
        low, high = float(colours.min()), float(colours.max())
        colours = (colours - low) * np.float32(255 / (high - low) if high > low else 1)
    chroma = colours.max(axis=2) - colours.min(axis=2)
    return np.concatenate([levels[..., None], colours, chroma[..., None]], axis=2)
