"""The info bar below a micrograph: a flat band with text, which is no specimen."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise

import numpy as np
from scipy import ndimage

from particle_nb.core.errors import ImageError

_WIDEST = 2048  # columns looked at; wider pictures are thinned

_NEAR = 14  # grey levels of 255 that still count as the band's background (JPEG, resampling)

_TALLEST = 0.30  # share of the picture that a bar may take

_MOST_ROWS = 1024  # of a bar: bounds the memory on very large pictures

_LOWEST = 9  # rows; no text fits in fewer


def find_info_bar(pixels: np.ndarray) -> int:
    """Return the height in rows of the info bar at the bottom, 0 where none is certain.

    A bar is drawn, a specimen is recorded: one grey level fills most of each row of a bar, even
    between letters, while noise spreads a specimen over many; the bar begins at one straight
    row across the picture, and what is not its background looks like text. All of that must
    hold, so a doubtful bar stays in the picture rather than specimen being cut away.

    Parameters
    ----------
    pixels : array (H, W) or (H, W, C)
        Grey values or colours of any numeric dtype.

    Returns
    -------
    int
        Rows to leave out at the bottom.

    Raises
    ------
    ImageError
        If it is no image array.

    Examples
    --------
    >>> find_info_bar(np.random.default_rng(0).integers(0, 255, (200, 300)))
    0
    """
    pixels = np.asarray(pixels)
    if pixels.ndim not in (2, 3) or pixels.size == 0:
        raise ImageError(f"an image is (H, W) or (H, W, C), not {pixels.shape}.")
    height, width = pixels.shape[:2]
    tall = min(int(height * _TALLEST), _MOST_ROWS)
    if tall < _LOWEST + 4 or width < 48:
        return 0
    # room above the tallest bar, so that its edge can be seen
    lower = _levels(pixels[height - min(height, 2 * tall) :: 1, :: -(-width // _WIDEST)])
    for level in _candidates(lower):
        rows = _band(lower, level, tall)
        if rows and _is_bar(lower, level, rows):
            return rows
        # ground as dark as the bar: there is no step of grey, but a line or where noise begins
        for rows in (_ruled_band(lower, level, tall), _still_band(lower, level, tall)):
            if rows and _has_text(np.abs(lower[-rows:] - level) > 60):
                return rows
    return 0


def _levels(pixels: np.ndarray) -> np.ndarray:
    """Grey levels 0 to 255 as float32, whatever the depth."""
    grey = pixels[..., :3].mean(axis=2, dtype=np.float32) if pixels.ndim == 3 else pixels
    grey = grey.astype(np.float32)
    if pixels.dtype == np.uint8:
        return grey
    finite = np.isfinite(grey)
    if not finite.all():
        grey = np.where(finite, grey, grey[finite].min() if finite.any() else 0)
    low, high = float(grey.min()), float(grey.max())
    return (grey - low) * (255 / (high - low)) if high > low else np.zeros_like(grey)


def _candidates(lower: np.ndarray) -> list[float]:
    """The commonest levels of the last rows: the background of a bar is among them."""
    found: list[float] = []
    for depth in (max(4, len(lower) // 40), max(12, len(lower) // 12)):
        counts = np.bincount(np.clip(lower[-depth:], 0, 255).astype(int).ravel(), minlength=256)
        counts = np.convolve(counts, np.ones(5, int), "same")
        level = float(np.argmax(counts))
        if all(abs(level - other) > 4 for other in found):
            found.append(level)
    return found


def _band(lower: np.ndarray, level: float, tall: int) -> int:
    """Rows of the band of one level that reaches the bottom edge; 0 where it is none."""
    share = (np.abs(lower - level) <= _NEAR).mean(axis=1)
    flat = share >= 0.42
    # ruled lines and letters interrupt the band, also at the very bottom
    gap = max(3, len(lower) // 60)
    top, misses = len(lower), 0
    for row in range(len(lower) - 1, max(len(lower) - tall, 0) - 1, -1):
        if flat[row]:
            top, misses = row, 0
        else:
            misses += 1
            if misses > gap:
                break
    else:
        return 0  # flat as far as one may look: a dark or bright specimen, not a bar
    rows = len(lower) - top
    # a frame line around the bar belongs to it; plain ground is even, too, as far as one looks
    ground = float(np.median(lower[max(top - 6, 0) : max(top - 3, 1)]))
    for step in range(1, 4):
        above = top - step
        even = above > 0 and np.ptp(lower[above, 2:-2]) < 24 and share[above] < 0.42
        if even and abs(float(np.median(lower[above])) - ground) > 12:
            rows = len(lower) - above
    return rows if rows >= _LOWEST else 0


def _ruled_band(lower: np.ndarray, level: float, tall: int) -> int:
    """Rows from a ruled line across the whole picture down, if all below is of one drawn level."""
    near = np.abs(lower - level)
    still = (near <= 3).mean(axis=1)
    whole = (np.ptp(lower[:, 2:-2], axis=1) < 24) & (near.mean(axis=1) > 60)
    for row in range(max(len(lower) - tall, 1), len(lower) - _LOWEST):
        if not whole[row]:
            continue
        below = row + 1 + int(np.argmin(whole[row + 1 :]))
        bar = near[below:]
        drawn = (bar <= 3).sum() >= 0.9 * (bar <= _NEAR).sum() and (bar <= _NEAR).mean() >= 0.5
        if drawn and below - row <= 4 and (still[below : below + 3] > 0.9).all():
            return len(lower) - row
    return 0


def _still_band(lower: np.ndarray, level: float, tall: int) -> int:
    """Rows of a band of exactly one level, where a recorded ground of about that level ends."""
    foot = lower[-max(12, len(lower) // 12) :].round()
    level = float(Counter(foot[np.abs(foot - level) <= 4].tolist()).most_common(1)[0][0])
    near = np.abs(lower - level)
    exact = near <= 1
    share = exact.mean(axis=1)
    top, misses = len(lower), 0
    for row in range(len(lower) - 1, max(len(lower) - tall, 0) - 1, -1):
        if share[row] >= 0.42:
            top, misses = row, 0
        else:
            misses += 1
            if misses > max(3, len(lower) // 60):
                break
    else:
        return 0
    rows = len(lower) - top
    if rows < _LOWEST or top < 12:
        return 0
    bar, above = near[top:], near[max(top - max(rows, 12), 0) : top]
    if (bar <= 1).sum() < 0.9 * (bar <= _NEAR).sum():
        return 0
    # noise: of the dark ground only some pixels are of that very level
    if (above <= 1).sum() > 0.6 * (above <= _NEAR).sum():
        return 0
    # one straight row across the picture: nearly everywhere noise above it and none below
    starts = np.linspace(0, lower.shape[1], 17).astype(int)
    straight = [
        exact[top - 8 : top, a:b].mean() < 0.7 and exact[top : top + 5, a:b].mean() > 0.85
        for a, b in pairwise(starts)
    ]
    return rows if np.mean(straight) >= 0.8 else 0


def _is_bar(lower: np.ndarray, level: float, rows: int) -> bool:
    """Whether the lowest rows are a drawn bar and not a dark or bright part of the specimen."""
    bar, above = lower[-rows:], lower[: len(lower) - rows]
    above = above[-max(rows, 12) :]
    near = np.abs(bar - level)
    if (near <= _NEAR).mean() < 0.5:
        return False
    # drawn: the background is one level, to the ringing of JPEG; recorded: it has noise
    if (near <= 3).sum() < 0.72 * (near <= _NEAR).sum():
        return False
    if (np.abs(above - level) <= _NEAR).mean() > 0.35:
        return False
    # the edge: nearly every column steps away from the level within a few rows
    edge = np.abs(above[-4:] - level).max(axis=0) > _NEAR
    if edge.mean() < 0.8:
        return False
    return _has_text(near > 60)


def _has_text(ink: np.ndarray) -> bool:
    """Whether ink looks like letters: many small pieces side by side, on little of the area."""
    if not 0.004 <= ink.mean() <= 0.4:
        return False
    labels, count = ndimage.label(ink, np.ones((3, 3), int))
    if count < 6:
        return False
    boxes = ndimage.find_objects(labels)
    tall = np.array([box[0].stop - box[0].start for box in boxes])
    wide = np.array([box[1].stop - box[1].start for box in boxes])
    letters = (tall >= 4) & (tall <= 0.9 * len(ink)) & (wide <= 2.5 * tall) & (wide >= 1)
    return int(letters.sum()) >= 5
