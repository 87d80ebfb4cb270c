"""From low-resolution mask logits to cropped masks, computing only the pixels that matter.

SAM's logits are upsampled twice (to the padded square, then to the image). Both steps are local,
so a mask of 60 x 40 px needs 60 x 40 px of them and not the whole frame. The numbers are those of
``torch.nn.functional.interpolate`` bit for bit where torch uses fused multiply-add
(every x86 CPU with AVX2), so masks, boxes and stability scores do not change.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from particle_nb.core.errors import ModelError
from particle_nb.models.sam._kernels import resample, survey

_ROUNDING = 1e-3  # interpolation rounds: look a little below the threshold, then compare exactly


@dataclass(frozen=True)
class _Taps:
    """Two taps and their weights for every output position along one axis."""

    first: np.ndarray
    second: np.ndarray
    near: np.ndarray
    far: np.ndarray
    identity: bool

    def reach(self, low: int, high: int) -> tuple[int, int]:
        """Return the output range [start, stop) that reads any input in [low, high)."""
        start = int(np.searchsorted(self.second, low, side="left"))
        stop = int(np.searchsorted(self.first, high, side="left"))
        return start, max(start, stop)


@lru_cache(maxsize=64)
def _taps(source: int, target: int, keep: int) -> _Taps:
    """Taps of bilinear resampling (align_corners=False), the first `keep` outputs."""
    scale = np.float32(source) / np.float32(target)
    place = np.arange(keep, dtype=np.float32) + np.float32(0.5)
    # torch fuses scale * (i + 0.5) - 0.5; the product of two float32 is exact in float64
    where = (np.float64(scale) * place.astype(np.float64) - 0.5).astype(np.float32)
    where = np.maximum(where, np.float32(0))
    first = np.minimum(where.astype(np.int64), source - 1)
    second = np.minimum(first + 1, source - 1)
    far = np.clip(where - first.astype(np.float32), 0, 1).astype(np.float32)
    return _Taps(first, second, np.float32(1) - far, far, source == target)


@dataclass(frozen=True)
class MaskCrop:
    """A mask before it has a frame: its first row and column, its pixels, its stability."""

    row: int
    col: int
    pixels: np.ndarray
    stability: float

    @property
    def box(self) -> tuple[int, int, int, int]:
        """Outermost columns and rows (x0, y0, x1, y1), ends inclusive; zeros when empty."""
        rows = np.flatnonzero(self.pixels.any(axis=1))
        if not rows.size:
            return 0, 0, 0, 0
        cols = np.flatnonzero(self.pixels.any(axis=0))
        return (
            self.col + int(cols[0]),
            self.row + int(rows[0]),
            self.col + int(cols[-1]),
            self.row + int(rows[-1]),
        )


@dataclass(frozen=True)
class Frame:
    """The way from low-resolution logits to the pixels of an encoded window.

    Parameters
    ----------
    low : int
        Side of the logits (256 for SAM).
    padded : int
        Side of the padded square that the encoder sees (1024).
    resized : (h, w)
        Size of the window inside that square.
    size : (H, W)
        Size of the window in image pixels.

    Examples
    --------
    >>> frame = Frame(4, 16, (16, 16), (16, 16))
    >>> logits = np.full((4, 4), -9, np.float32); logits[1:3, 1:3] = 9
    >>> frame.crop(logits, offset=1.0).box
    (4, 4, 11, 11)
    """

    low: int
    padded: int
    resized: tuple[int, int]
    size: tuple[int, int]

    def __post_init__(self) -> None:
        if min(self.low, self.padded, *self.resized, *self.size) < 1:
            raise ModelError(f"a window of {self.size} pixels is too thin for this model.")

    @property
    def grid_px(self) -> float:
        """Side of one logit in pixels of the window, at least 1: masks know nothing finer.

        Examples
        --------
        >>> Frame(256, 1024, (768, 1024), (1536, 2048)).grid_px
        8.0
        """
        return max(1.0, self.padded / self.low * max(self.size) / max(self.resized))

    def logits(self, low: np.ndarray, lowest: float) -> tuple[int, int, np.ndarray]:
        """Return (row, col, float32 logits) of the part where logits may exceed `lowest`."""
        active = low > lowest
        rows, cols = np.flatnonzero(active.any(axis=1)), np.flatnonzero(active.any(axis=0))
        if not rows.size:
            return 0, 0, np.empty((0, 0), np.float32)
        part, top, left = np.ascontiguousarray(low, np.float32), 0, 0
        reach = [(int(rows[0]), int(rows[-1]) + 1), (int(cols[0]), int(cols[-1]) + 1)]
        steps = [
            tuple(_taps(self.low, self.padded, n) for n in self.resized),
            tuple(_taps(n, m, m) for n, m in zip(self.resized, self.size, strict=True)),
        ]
        for step, (down, across) in enumerate(steps):
            if down.identity and across.identity:
                continue
            (r0, r1), (c0, c1) = down.reach(*reach[0]), across.reach(*reach[1])
            reach = [(r0, r1), (c0, c1)]
            if r0 >= r1 or c0 >= c1:
                return 0, 0, np.empty((0, 0), np.float32)
            if step == 0:  # the second step reads one neighbour beyond
                r0, c0 = max(r0 - 1, 0), max(c0 - 1, 0)
                r1, c1 = min(r1 + 1, self.resized[0]), min(c1 + 1, self.resized[1])
            out = np.empty((r1 - r0, c1 - c0), np.float32)
            resample(
                part,
                top,
                left,
                np.stack([down.first[r0:r1], down.second[r0:r1]]),
                np.stack([down.near[r0:r1], down.far[r0:r1]]),
                np.stack([across.first[c0:c1], across.second[c0:c1]]),
                np.stack([across.near[c0:c1], across.far[c0:c1]]),
                out,
            )
            part, top, left = out, r0, c0
        return top, left, part

    def crop(self, low: np.ndarray, offset: float, threshold: float = 0.0) -> MaskCrop:
        """Binarise one mask; stability is |logits > t + offset| / |logits > t - offset|.

        Parameters
        ----------
        low : float array (low, low)
        offset, threshold : float
            In logits.
        """
        row, col, logits = self.logits(low, threshold - abs(offset) - _ROUNDING)
        pixels = np.empty(logits.shape, bool)
        inner, outer = survey(logits, threshold, offset, pixels) if logits.size else (0, 0)
        # the original packages divide int32 tensors: a float32 quotient, NaN where nothing is above
        stability = float(np.float32(inner) / np.float32(outer)) if outer else float("nan")
        return MaskCrop(row, col, pixels, stability)


def non_maximum_suppression(boxes: np.ndarray, scores: np.ndarray, threshold: float) -> np.ndarray:
    """Return the indices kept, best score first; ties in their given order.

    The arithmetic is torchvision's: float32, boxes (N, 4) as (x0, y0, x1, y1) in px without +1,
    and a box goes when its IoU with a kept one is greater than the threshold.

    Examples
    --------
    >>> boxes = np.array([[0, 0, 10, 10], [0, 0, 10, 9], [20, 20, 30, 30]])
    >>> non_maximum_suppression(boxes, np.array([0.9, 0.95, 0.5]), 0.7)
    array([1, 2])
    """
    boxes = np.asarray(boxes, np.float32).reshape(-1, 4)
    scores = np.asarray(scores, np.float32)
    x0, y0, x1, y1 = boxes.T
    areas = (x1 - x0) * (y1 - y0)
    order = np.argsort(-scores, kind="stable")
    gone = np.zeros(len(boxes), bool)
    kept = []
    limit = np.float32(threshold)
    for place, i in enumerate(order):
        if gone[i]:
            continue
        kept.append(i)
        rest = order[place + 1 :]
        rest = rest[~gone[rest]]
        wide = np.maximum(np.minimum(x1[i], x1[rest]) - np.maximum(x0[i], x0[rest]), 0)
        high = np.maximum(np.minimum(y1[i], y1[rest]) - np.maximum(y0[i], y0[rest]), 0)
        both = wide * high
        with np.errstate(invalid="ignore", divide="ignore"):
            overlap = both / (areas[i] + areas[rest] - both)
        gone[rest[overlap > limit]] = True
    return np.array(kept, np.int64)
