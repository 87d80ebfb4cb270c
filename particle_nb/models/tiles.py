"""Cutting an image into overlapping squares for a depth model, and joining its answers."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from particle_nb.core.errors import ModelError
from particle_nb.core.masks import Mask
from particle_nb.models.protocols import Window


@dataclass(frozen=True)
class DepthSettings:
    """How an image is cut up for a depth model.

    Parameters
    ----------
    tile : int or None
        Side of the squares in image pixels; None takes the shorter side of what is asked for.
    overlap : float
        Share of a square that it has in common with the next, 0.1 to 0.75.
    orientation : str
        ``"auto"`` (by the model's type), ``"nearer"`` or ``"farther"``: what larger outputs mean.

    Raises
    ------
    ModelError
        If one of them is out of range.

    Examples
    --------
    >>> DepthSettings(tile=512).overlap
    0.25
    """

    tile: int | None = None
    overlap: float = 0.25
    orientation: str = "auto"

    def __post_init__(self) -> None:
        if self.tile is not None and not (isinstance(self.tile, int) and self.tile >= 16):
            raise ModelError(f"a tile is at least 16 image pixels wide, not {self.tile!r}.")
        if not 0.1 <= self.overlap <= 0.75:
            raise ModelError(f"tiles overlap by 0.1 to 0.75, not {self.overlap!r}.")
        if self.orientation not in ("auto", "nearer", "farther"):
            raise ModelError(
                f"orientation is 'auto', 'nearer' or 'farther', not {self.orientation!r}."
            )


def particle_window(mask: Mask, margin: float = 0.3) -> Window:
    """Return a square window around a particle, moved and cut to stay inside the image.

    Parameters
    ----------
    mask : Mask
    margin : float
        Free space around the particle, as a share of its longer side, on each side.

    Examples
    --------
    >>> particle_window(Mask((10, 20), np.ones((10, 20), bool), (100, 100)), 0.5)
    (10, 0, 50, 40)
    """
    number = isinstance(margin, (int, float, np.number)) and not isinstance(margin, bool)
    if not number or not 0 <= margin < math.inf:
        raise ModelError(f"the margin around a particle is 0 or more, not {margin!r}.")
    r0, c0, r1, c1 = mask.bbox
    side = math.ceil(max(r1 - r0, c1 - c0) * (1 + 2 * margin))
    ends = []
    for low, high, size in ((c0, c1, mask.shape[1]), (r0, r1, mask.shape[0])):
        start = min(max((low + high - side) // 2, 0), max(size - side, 0))
        ends.append((start, min(start + side, size)))
    (x0, x1), (y0, y1) = ends
    return x0, y0, x1, y1


def estimate_tiled(
    rgb: np.ndarray,
    squares: Callable[[list[np.ndarray]], list[np.ndarray]],
    settings: DepthSettings | None = None,
) -> np.ndarray:
    """Return heights of a picture from a function that takes squares, float32 (h, w).

    Each square's heights have their own scale and offset. Both are fitted over all overlaps at
    once, scales by the ratio of standard deviations and offsets by least squares, and the
    squares are faded into each other.

    Parameters
    ----------
    rgb : uint8 (h, w, 3)
    squares : function
        From a list of uint8 (s, s, 3) to a list of float (s, s).
    settings : DepthSettings or None

    Examples
    --------
    >>> ramp = np.repeat(np.arange(90, dtype=np.uint8)[None, :, None], 30, 0).repeat(3, 2)
    >>> own_scale = lambda parts: [p[..., 0] * 2.0 - p.mean() for p in parts]
    >>> heights = estimate_tiled(ramp, own_scale)
    >>> bool(np.allclose(np.diff(heights[5]), 2, atol=1e-3))
    True
    """
    settings = settings or DepthSettings()
    h, w = rgb.shape[:2]
    side = min(settings.tile or min(h, w), h, w)
    corners = [
        (r, c)
        for r in _starts(h, side, settings.overlap)
        for c in _starts(w, side, settings.overlap)
    ]
    found = squares([rgb[r : r + side, c : c + side] for r, c in corners])
    if len(found) != len(corners) or any(d.shape != (side, side) for d in found):
        raise ModelError("the depth model did not answer with one map for every square.")
    if len(found) == 1:
        return np.asarray(found[0], np.float32)
    scales, offsets = _align(found, corners, side)
    ramp = np.minimum(np.arange(side) + 0.5, side - np.arange(side) - 0.5)
    ramp = np.sin(0.5 * np.pi * np.minimum(ramp / max(settings.overlap * side, 1), 1)) ** 2
    fade = np.outer(ramp, ramp) + 1e-6
    total, weight = np.zeros((h, w)), np.zeros((h, w))
    for heights, (r, c), scale, offset in zip(found, corners, scales, offsets, strict=True):
        total[r : r + side, c : c + side] += fade * (scale * heights + offset)
        weight[r : r + side, c : c + side] += fade
    return (total / weight).astype(np.float32)


def _starts(size: int, side: int, overlap: float) -> list[int]:
    count = 1 if size <= side else 1 + math.ceil((size - side) / (side * (1 - overlap)))
    return [round(i * (size - side) / max(count - 1, 1)) for i in range(count)]


def _align(
    found: list[np.ndarray], corners: list[tuple[int, int]], side: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return scale and offset of every square so that overlaps agree; their mean scale is 1."""
    count = len(found)
    rows: list[tuple[int, int, float, float, float, float]] = []
    for i in range(count):
        for j in range(i + 1, count):
            dr, dc = corners[j][0] - corners[i][0], corners[j][1] - corners[i][1]
            if abs(dr) >= side or abs(dc) >= side:
                continue
            a = found[i][max(dr, 0) : side + min(dr, 0), max(dc, 0) : side + min(dc, 0)]
            b = found[j][max(-dr, 0) : side + min(-dr, 0), max(-dc, 0) : side + min(-dc, 0)]
            sa, sb = float(a.std()), float(b.std())
            if sa > 0 and sb > 0:
                likeness = float(((a - a.mean()) * (b - b.mean())).mean() / (sa * sb))
            else:
                likeness = 0.0
            # overlaps that do not look alike say little about the scale, and flat ones nothing
            trust = a.size * max(likeness, 0.0) ** 2
            ratio = math.log(sa / sb) if trust > 0 else 0.0
            rows.append((i, j, ratio, trust, float(a.mean()), float(b.mean())))
    biggest = max((row[3] for row in rows), default=0.0) or 1.0
    logs = _differences(count, [(i, j, r, t / biggest + 1e-6) for i, j, r, t, _, _ in rows])
    scales = np.exp(logs)
    scales /= scales.mean()
    means = [(i, j, scales[i] * a - scales[j] * b, 1.0) for i, j, _, _, a, b in rows]
    return scales, _differences(count, means)


def _differences(count: int, pairs: list[tuple[int, int, float, float]]) -> np.ndarray:
    """Solve ``v[j] - v[i] = difference`` for all pairs by weighted least squares, mean 0."""
    system, target = np.zeros((len(pairs) + 1, count)), np.zeros(len(pairs) + 1)
    for row, (i, j, difference, weight) in enumerate(pairs):
        system[row, j], system[row, i] = weight, -weight
        target[row] = weight * difference
    system[-1] = 1e-3
    return np.linalg.lstsq(system, target, rcond=None)[0]
