"""Masks drawn onto pixels: thumbnails and the still picture of an annotation."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Mapping, Sequence
from functools import cached_property

import numpy as np

from particle_nb.core.annotation.history import Particle
from particle_nb.core.image.tones import Tones
from particle_nb.core.masks import Mask

#: Colour-blind-safe colours (Okabe and Ito 2008), without black.
OKABE_ITO = np.array(
    [
        (230, 159, 0),
        (86, 180, 233),
        (0, 158, 115),
        (240, 228, 66),
        (0, 114, 178),
        (213, 94, 0),
        (204, 121, 167),
    ],
    np.uint8,
)


def thumbnail(grey: np.ndarray | Tones, masks: Sequence[Mask], side: int) -> np.ndarray:
    """Return a square picture of some masks with a margin, uint8 (side, side, 3).

    Parameters
    ----------
    grey : uint8 array (H, W) or Tones
    masks : sequence of Mask
        The whole image is shown where there is none.
    side : int
        Pixels.

    Examples
    --------
    >>> thumbnail(np.zeros((20, 30), np.uint8), (), 16).shape
    (16, 16, 3)
    """
    height, width = grey.shape
    if masks:
        boxes = np.array([mask.bbox for mask in masks])
        r0, c0 = boxes[:, :2].min(axis=0)
        r1, c1 = boxes[:, 2:].max(axis=0)
    else:
        r0, c0, r1, c1 = 0, 0, height, width
    reach = max(r1 - r0, c1 - c0) * (0.65 if masks else 0.5) + (2 if masks else 0)
    y = (r0 + r1) / 2 - reach + (np.arange(side) + 0.5) * 2 * reach / side
    x = (c0 + c1) / 2 - reach + (np.arange(side) + 0.5) * 2 * reach / side
    rows, cols = np.floor(y).astype(int), np.floor(x).astype(int)
    inside = ((rows >= 0) & (rows < height))[:, None] & ((cols >= 0) & (cols < width))[None, :]
    safe_rows, safe_cols = np.clip(rows, 0, height - 1), np.clip(cols, 0, width - 1)
    picture = np.where(inside, grey[np.ix_(safe_rows, safe_cols)], 40).astype(np.uint8)
    picture = np.repeat(picture[..., None], 3, axis=2)
    for number, mask in enumerate(masks):
        a0, b0, a1, b1 = mask.bbox
        in_rows = (rows >= a0) & (rows < a1)
        in_cols = (cols >= b0) & (cols < b1)
        if not in_rows.any() or not in_cols.any():
            continue
        cover = np.zeros((side, side), bool)
        cover[np.ix_(in_rows, in_cols)] = mask.crop[np.ix_(rows[in_rows] - a0, cols[in_cols] - b0)]
        _draw(picture, cover, OKABE_ITO[number % 7 if len(masks) > 1 else 3], fill=0.15)
    return picture


class Still:
    """The image with its particles as one picture.

    The image is reduced once; particles that came behind those of the last picture are drawn onto
    it, so that one more costs the same where there are many.

    Parameters
    ----------
    grey : uint8 array (H, W) or Tones
    most : int
        The longer side of the picture in pixels; larger images are reduced.

    Examples
    --------
    >>> Still(np.zeros((20, 30), np.uint8)).draw({}).shape
    (20, 30, 3)
    """

    def __init__(self, grey: np.ndarray | Tones, most: int = 1200) -> None:
        height, width = grey.shape
        self._grey = grey
        self._step = step = min(max(1, -(-max(height, width) // most)), height, width)
        self._rows = step // 2 + step * np.arange(height // step)
        self._cols = step // 2 + step * np.arange(width // step)
        self._drawn: list[tuple[int, Mask]] = []
        self._last: np.ndarray | None = None

    @cached_property
    def _ground(self) -> np.ndarray:
        return np.repeat(_reduced(self._grey, self._step)[..., None], 3, axis=2)

    def draw(self, particles: Mapping[int, Particle]) -> np.ndarray:
        """Return the image with fills and contours of its kept particles, uint8 (h, w, 3).

        Parameters
        ----------
        particles : mapping of int to Particle
        """
        shown = [(n, p.mask) for n, p in particles.items() if p.kept and p.visible]
        done = len(self._drawn)
        # masks have no equality of their own: these are the same objects in the same order
        if self._last is None or shown[:done] != self._drawn:
            self._last, done = self._ground.copy(), 0
        for number, mask in shown[done:]:
            self._add(self._last, number, mask)
        self._drawn = shown
        return self._last.copy()

    def _add(self, picture: np.ndarray, number: int, mask: Mask) -> None:
        r0, c0, r1, c1 = mask.bbox
        i0, i1 = np.searchsorted(self._rows, (r0, r1))
        j0, j1 = np.searchsorted(self._cols, (c0, c1))
        if i0 == i1 or j0 == j1:
            return
        inside = np.ix_(self._rows[i0:i1] - r0, self._cols[j0:j1] - c0)
        colour = OKABE_ITO[(number - 1) % 7]
        _draw(picture[i0:i1, j0:j1], mask.crop[inside], colour, fill=0.3)


def png(picture: np.ndarray) -> bytes:
    """Return a picture as a PNG file (ISO/IEC 15948), for where somebody waits for it.

    Rows are compressed as they are, fast: Pillow tries five filters on each row of grainy pictures
    in vain, and holds Python's lock meanwhile, which this does not.

    Parameters
    ----------
    picture : uint8 array (h, w, 3)

    Examples
    --------
    >>> png(np.zeros((2, 2, 3), np.uint8))[1:4]
    b'PNG'
    """
    height, width, _ = picture.shape
    rows = np.zeros((height, 1 + 3 * width), np.uint8)  # each begins with its filter: none
    rows[:, 1:] = picture.reshape(height, -1)
    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    parts = [(b"IHDR", head), (b"IDAT", zlib.compress(rows.data, 1)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        for name, data in parts
    )


def _reduced(grey: np.ndarray | Tones, step: int) -> np.ndarray:
    """Means of squares of `step` px, uint8; band by band, so that no large copy is made."""
    height, width = grey.shape[0] // step, grey.shape[1] // step
    small = np.empty((height, width), np.uint8)
    for row in range(height):
        band = grey[row * step : (row + 1) * step][:, : width * step]
        small[row] = band.reshape(step, width, step).mean(axis=(0, 2), dtype=np.float32)
    return small


def _draw(picture: np.ndarray, cover: np.ndarray, colour: np.ndarray, fill: float) -> None:
    """Blend a colour into the covered pixels and draw their rim solid, in place."""
    inner = np.pad(cover, 1)
    rim = cover & ~(inner[:-2, 1:-1] & inner[2:, 1:-1] & inner[1:-1, :-2] & inner[1:-1, 2:])
    picture[cover] = (picture[cover] * (1 - fill) + colour * fill).astype(np.uint8)
    picture[rim] = colour
