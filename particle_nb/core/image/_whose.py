"""Whether a text near a scale bar is its length, or says something else on the same strip."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

Box = tuple[int, int, int, int]
Place = tuple[float, float, float, float]

_INK = 0.5  # share of the way from ground to letters from which a pixel is theirs
_GROUND = 60  # levels from the letters' tone from which a pixel beside them is ground
_NEARER = 0.6  # share of the distance of the text that was read, from which another is a doubt


def another(part: np.ndarray, tone: float, box: Box, own: Place, lines: list[Box]) -> str:
    """Return why a text may not be the length of a bar; empty where nothing says so.

    Parameters
    ----------
    part : array (H, W)
        Grey levels 0 to 255 around bar and text.
    tone : float
        Grey value of the letters.
    box : (x0, y0, x1, y1)
        The text, ends excluded.
    own : (x0, y0, x1, y1)
        The bar with its ticks, pixel centres at integers, the last row excluded.
    lines : list of (x0, y0, x1, y1)
        What may be lines of text in any tone.
    """
    x0, y0, x1, y1 = box
    pad = max(2, (y1 - y0) // 4)
    around = part[max(y0 - pad, 0) : y1 + pad, max(x0 - pad, 0) : x1 + pad]
    others = around[np.abs(around - tone) > _GROUND]
    if not len(others):
        return ""
    ink = np.abs(part - tone) < (1 - _INK) * abs(tone - float(np.median(others)))
    left, top, right, foot = own
    ink[max(int(top) - 1, 0) : int(foot) + 1, max(int(left) - 1, 0) : int(right) + 3] = False
    if _labelled(ink, box):
        return "other letters stand before"
    aside = box[2] <= left + 1 or box[0] >= right - 1
    if aside and _walled(ink, box, own):
        return "a line stands between the bar and"
    if aside and any(_titles(line, box) for line in lines):
        return "another text stands above"
    if any(_nearer(line, box, own, ink) for line in lines):
        return "another text stands nearer than"
    return ""


def _glyphs(ink: np.ndarray, rows: slice, columns: slice) -> list[Box]:
    """Boxes of connected ink in a part, from left to right."""
    part = ink[rows, columns]
    if not part.size:  # a text at the rim
        return []
    found = ndimage.find_objects(ndimage.label(part, np.ones((3, 3), int))[0])
    at = ((b[1].start, b[0].start, b[1].stop, b[0].stop) for b in found)
    x, y = columns.start, rows.start
    return sorted((a + x, b + y, c + x, d + y) for a, b, c, d in at)


def _labelled(ink: np.ndarray, box: Box) -> bool:
    """Whether letters stand on the line before a number, as in "WD 10.2 mm"."""
    x0, y0, x1, y1 = box
    inside = _glyphs(ink, slice(y0, y1), slice(x0, x1))
    digit = next((b for b in inside if b[3] - b[1] > 0.5 * (y1 - y0)), None)
    if digit is None:
        return False
    top, foot = digit[1], digit[3]
    tall = foot - top
    rows = slice(max(top - tall // 3, 0), foot + tall // 2)
    before = _glyphs(ink, rows, slice(max(x0 - 4 * tall, 0), max(x0 - 1, 0)))
    next_to, count = x0, 0
    for a, b, c, d in reversed(before):
        off = abs(d - foot) > max(1, 0.15 * tall)
        if d - b < 0.45 * tall or (off and c - a < 0.35 * tall):  # a point, a dash, or a piece
            continue
        if next_to - c > (1.8 if count == 0 else 0.8) * tall:
            break
        if off or c - a > 1.5 * tall or d - b > 1.3 * tall:
            break
        next_to, count = a, count + 1
    return count >= 2


def _walled(ink: np.ndarray, box: Box, own: Place) -> bool:
    """Whether an upright line separates a text from the bar beside it."""
    x0, y0, x1, y1 = box
    first, last = (x1 + 1, int(own[0]) - 1) if x1 <= own[0] + 1 else (int(own[2]) + 3, x0 - 1)
    more = (y1 - y0) // 2
    between = ink[max(y0 - more, 0) : y1 + more, max(first, 0) : max(last, 0)]
    if not between.size:
        return False
    share = between.mean(axis=0)
    if x1 <= own[0] + 1:
        share = share[::-1]
    free = np.flatnonzero(share < 0.5)  # the bar's own blurred side is no line
    return bool(len(free)) and bool((share[int(free[0]) :] > 0.95).any())


def _titles(line: Box, box: Box) -> bool:
    """Whether a line of text stands right above another, as "WD" above "10.2 mm"."""
    tall = box[3] - box[1]
    return (
        abs(line[0] - box[0]) <= 0.6 * tall
        and 0 <= box[1] - line[3] <= 1.2 * tall
        and 0.5 * tall <= line[3] - line[1] <= 1.5 * tall
        and tall <= line[2] - line[0]
    )


def _nearer(line: Box, box: Box, own: Place, ink: np.ndarray) -> bool:
    """Whether a line of text that was not read stands nearer to the bar than the one read."""
    tall = box[3] - box[1]
    if not 0.6 * tall <= line[3] - line[1] <= 1.6 * tall or line[2] - line[0] < 1.5 * tall:
        return False
    if min(line[2], box[2]) > max(line[0], box[0]) and min(line[3], box[3]) > max(line[1], box[1]):
        return False
    # letters leave ground free; what is filled or nearly empty is none
    share = float(ink[line[1] : line[3], line[0] : line[2]].mean())
    return 0.12 < share < 0.6 and _away(line, own) < _NEARER * _away(box, own) - 1


def _away(box: Box, own: Place) -> float:
    """Pixels between a text and a bar."""
    across = max(own[0] - box[2], box[0] - own[2], 0.0)
    return float(np.hypot(across, max(own[1] - box[3], box[1] - own[3], 0.0)))
