"""Lines of text near a scale bar, and the length that one of them gives."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import lru_cache

import numpy as np
from scipy import ndimage

from particle_nb.core.image._whose import another
from particle_nb.core.image.scale_text import (
    HEIGHT,
    PrintedLength,
    prepared,
    probabilities,
    read_line,
    spelled,
)

_FAINT = 0.3  # ink from which a pixel belongs to a stroke
_POINT = 0.4  # ink from which a pixel between digits belongs to what may be a point
_COVERS = 0.35  # ink from which letters on it may not be seen
_CERTAIN = 0.5  # confidence from which a line is read once
_OTHERWISE = 0.04  # share of its probability with which a length with a point is a doubt
_SURE = 0.7  # confidence from which only a point in another reading is a doubt
_BLACK_ON_WHITE = 200  # levels from letters to ground from which half tones are strokes, too
_MARGIN = 0.1  # share of its probability with which a length of one other digit is a doubt
_SECOND = 0.5  # confidence from which another reading of the same line is a doubt
_USUAL = {"1", "15", "2", "25", "3", "4", "5", "6", "75", "8"}


@dataclass(frozen=True)
class Found:
    """A printed length and where it stands: (x0, y0, x1, y1) in pixels, ends excluded."""

    printed: PrintedLength
    box: tuple[int, int, int, int]
    score: float  # confidence, less for a text that stands far from the bar
    ink: np.ndarray | None = field(default=None, repr=False, compare=False)  # around the text
    spot: tuple[int, int, int, int] = (0, 0, 0, 0)  # its box in `ink`
    whose: str = ""  # why it may not be the length of this bar


def length_near(
    grey: np.ndarray,
    bar: tuple[float, float, float, float],
    level: float,
    ground: float,
    inside: bool = False,
) -> Found | None:
    """Return the printed length that belongs to a bar, None where none can be read.

    Parameters
    ----------
    grey : array (H, W)
        Grey levels 0 to 255.
    bar : (x0, y0, x1, y1)
        Ends of the bar, pixel centres at integers, and its rows with ticks, the last one excluded.
    level : float
        Its grey value.
    ground : float
        Grey value around it.
    inside : bool
        Whether the text stands between two strokes of the bar.
    """
    height, width = grey.shape
    x0, y0, x1, y1 = bar
    reach = int(max(0.16 * height, 40, 2.5 * min(x1 - x0, y1 - y0)))
    side = int(max(1.1 * (x1 - x0), 1.1 * (y1 - y0), 0.25 * width, 60))
    top, bottom = max(int(y0) - reach, 0), min(int(y1) + reach, height)
    left, right = max(int(x0) - side, 0), min(int(x1) + side + 1, width)
    part = grey[top:bottom, left:right]
    own = (x0 - left, y0 - top, x1 - left, y1 - top)
    best: Found | None = None
    best_tone = level
    seen: set[tuple[int, int, int, int]] = set()
    for tone in _tones(part, level):
        wide = abs(tone - ground) >= _BLACK_ON_WHITE
        for box in _lines(part, tone, own, inside, (45.0, 90.0, 135.0) if wide else (45.0, 90.0)):
            if box in seen:
                continue
            seen.add(box)
            found = _read(part, tone, box, own)
            if found is not None and (best is None or found.score > best.score):
                best, best_tone = found, tone
    if best is None:
        return None
    whose = "" if inside else another(part, best_tone, best.box, own, sorted(seen))
    a, b, c, d = best.box
    return replace(best, box=(a + left, b + top, c + left, d + top), whose=whose)


def _tones(part: np.ndarray, level: float) -> list[float]:
    """Grey values that letters may have: the bar's, white and black."""
    tones = [level]
    for tone in (255.0, 0.0, float(part.max()), float(part.min())):
        if all(abs(tone - other) > 30 for other in tones):
            tones.append(tone)
    return tones


def _lines(
    part: np.ndarray,
    tone: float,
    own: tuple[float, float, float, float],
    inside: bool,
    tolerances: tuple[float, ...],
) -> list[tuple[int, int, int, int]]:
    """Boxes of what may be lines of text in one tone; small letters do not reach it everywhere."""
    boxes: list[tuple[int, int, int, int]] = []
    for tolerance in tolerances:
        ink = np.abs(part - tone) < tolerance
        # the bar itself is no letter, and letters may touch it
        x0, y0, x1, y1 = own
        pad = 1
        if not inside:
            ink[max(int(y0) - pad, 0) : int(y1) + pad, max(int(x0) - 1, 0) : int(x1) + 3] = False
        letters = _letters(ink)
        for line in _chains(letters):
            box = (
                min(b[0] for b in line),
                min(b[1] for b in line),
                max(b[2] for b in line),
                max(b[3] for b in line),
            )
            if box[2] - box[0] >= 1.2 * (box[3] - box[1]) and box[3] - box[1] >= 5:
                boxes.append(box)
    return boxes


def _letters(ink: np.ndarray) -> list[tuple[int, int, int, int]]:
    """Boxes (x0, y0, x1, y1) of connected ink that may be letters or a few in one piece."""
    labels, count = ndimage.label(ink, np.ones((3, 3), int))
    if count > 4000:
        return []
    height, width = ink.shape
    found = []
    for box in ndimage.find_objects(labels):
        rows, columns = box
        tall, wide = rows.stop - rows.start, columns.stop - columns.start
        cut = rows.start == 0 or columns.start == 0 or columns.stop == width
        if cut or tall > 0.6 * height or tall < 2 or wide > 9 * max(tall, 4):
            continue
        found.append((columns.start, rows.start, columns.stop, rows.stop))
    return found


def _chains(letters: list[tuple[int, int, int, int]]) -> list[list[tuple[int, int, int, int]]]:
    """Letters that stand side by side on one line, as lists from left to right."""
    tall = sorted((b for b in letters if b[3] - b[1] >= 5), key=lambda b: b[0])
    used: set[tuple[int, int, int, int]] = set()
    chains = []
    for first in tall:
        if first in used:
            continue
        chain = [first]
        used.add(first)
        for other in tall:
            if other not in used and other[0] >= chain[-1][0] and _follows(chain, other):
                chain.append(other)
                used.add(other)
        chains.append(chain)
    return chains


def _follows(chain: list[tuple[int, int, int, int]], box: tuple[int, int, int, int]) -> bool:
    """Whether a letter continues a line."""
    top, bottom = min(b[1] for b in chain), max(b[3] for b in chain)
    high = bottom - top
    last = chain[-1]
    common = min(bottom, box[3]) - max(top, box[1])
    tall = box[3] - box[1]
    gap = box[0] - last[2]
    return (
        common >= 0.7 * min(high, tall)
        and gap <= 1.3 * max(high, tall)
        and 0.4 * high <= tall <= 2.2 * high
    )


def _read(
    part: np.ndarray,
    tone: float,
    box: tuple[int, int, int, int],
    own: tuple[float, float, float, float],
) -> Found | None:
    """Read one line, and once more where the length in it stands alone."""
    ink = _ink(part, tone, box, own)
    if ink is None:
        return None
    printed = _most_certain(ink, box)
    if printed is None:
        return None
    x0, y0, x1, y1 = box
    if printed.span[1] - printed.span[0] < 0.85:
        margin = 0.35 * (y1 - y0)
        wide = x1 - x0 + 2 * margin
        a = int(max(x0 - margin + printed.span[0] * wide, x0))
        b = int(min(x0 - margin + printed.span[1] * wide + 1, x1))
        rows = np.flatnonzero((ink[y0:y1, a:b] > 0.5).any(axis=1))
        if len(rows) < 5 or b - a < 6:
            return None
        box = (a, y0 + int(rows[0]), b, y0 + int(rows[-1]) + 1)
        again = _most_certain(ink, box)
        if again is None or (again.value, again.unit) != (printed.value, printed.unit):
            return None
        printed = again
    x0, y0, x1, y1 = box
    a, b = max(x0 - 2 * (y1 - y0), 0), max(y0 - (y1 - y0), 0)
    cut = ink[b : 2 * y1 - y0, a : 2 * (y1 - y0) + x1]
    spot = (x0 - a, y0 - b, x1 - a, y1 - b)
    return Found(printed, box, printed.confidence * _belongs(box, own), cut, spot)


def doubt(found: Found) -> str:
    """Return why a printed length may be another one than was read; empty where nothing says so.

    The point of "0.5" or "1.00" is the smallest thing in the picture, and losing it is the worst.
    """
    if found.whose:
        return f"{found.whose} '{found.printed.text}'"
    number = found.printed.text.split()[0]
    said = f"'{found.printed.text}' may have lost its decimal point"
    if "." not in number and number.startswith("0"):
        return said
    if not _usual(number):
        return f"'{found.printed.text}' is no usual length of a bar"
    if found.ink is None:
        return ""
    line = prepared(found.ink, found.spot)
    likely = probabilities(line)
    word = number + found.printed.unit
    with_point = [word[:k] + "." + word[k:] for k in range(1, len(number))] + ["0." + word]
    if "." not in number:
        sure = spelled(likely, word)
        if any(spelled(likely, other) > _OTHERWISE * sure for other in with_point):
            return said
        spot = (*_grown(found.ink, found.spot)[:2], *found.spot[2:])  # an italic digit leans out
        cut = found.ink[spot[1] : spot[3], max(spot[0] - 2, 0) : spot[0]] > 0.5
        if cut.size and cut.any(axis=0).all():
            return f"'{found.printed.text}' begins within a letter"
        line_of = _digit_rows(found.ink, spot)
        if line_of is None or _speck(found.ink, spot, line_of, len(number)):
            return said
        if _before(found.ink, spot, line_of) or _covered(found.ink, spot[0], line_of):
            return f"something stands before '{found.printed.text}' that was not read"
    other = _next_best(likely, number, found.printed.unit)
    if other:
        return f"'{found.printed.text}' may as well be '{other}'"
    for again in map(_reading, _variants(found.ink, found.spot)):
        if again is None or again.confidence < _SECOND:
            continue
        differs = (again.value, again.unit) != (found.printed.value, found.printed.unit)
        pointed = "." in again.text and "." not in number
        if differs and (pointed or found.printed.confidence < _SURE) and _usual(again.text):
            return f"'{found.printed.text}' may as well be '{again.text}'"
    return ""


def _next_best(likely: np.ndarray, number: str, unit: str) -> str:
    """A usual length that differs in one digit, or in its unit, and is not much less probable."""
    others = [(number, other) for other in ("nm", "um", "mm") if other != unit]
    for k, letter in enumerate(number):
        if letter != ".":
            digits = (digit for digit in "0123456789" if digit != letter)
            others += [(number[:k] + digit + number[k + 1 :], unit) for digit in digits]
    least = _MARGIN * spelled(likely, number + unit)
    for one, other in others:
        if _usual(one) and spelled(likely, one + other) > least:
            return f"{one} {other}"
    return ""


def _usual(text: str) -> bool:
    """Whether a length is one that bars have."""
    return text.split()[0].replace(".", "").strip("0") in _USUAL


def _digit_rows(ink: np.ndarray, spot: tuple[int, int, int, int]) -> tuple[int, int] | None:
    """First and last row, the latter excluded, of the first digit."""
    x0, y0, x1, y1 = spot
    labels, _ = ndimage.label(ink[y0:y1, x0:x1] > _FAINT, np.ones((3, 3), int))
    tall = (box for box in ndimage.find_objects(labels) if _rows(box) > 0.5 * (y1 - y0))
    first = min(tall, key=lambda box: box[1].start, default=None)
    return None if first is None else (y0 + first[0].start, y0 + first[0].stop)


def _rows(box: tuple[slice, ...]) -> int:
    return int(box[0].stop - box[0].start)


def _before(ink: np.ndarray, spot: tuple[int, int, int, int], rows: tuple[int, int]) -> bool:
    """Whether a digit or a point stands on the line, close before the first digit read."""
    top, foot = rows
    tall = foot - top
    x0 = spot[0]
    left, upper = max(x0 - round(1.2 * tall), 0), max(top - tall // 2, 0)
    part = ink[upper : foot + tall // 2, left : max(x0 - 1, 0)]
    boxes = []
    for least in (_FAINT, 0.5):
        boxes += ndimage.find_objects(ndimage.label(part > least, np.ones((3, 3), int))[0])
    for box in boxes:
        on_line = abs(upper + box[0].stop - foot) <= max(1, 0.12 * tall)
        wide = box[1].stop - box[1].start
        if on_line and upper + box[0].start >= top - max(1, 0.12 * tall):
            digit = _rows(box) >= 0.85 * tall and 0.1 * tall <= wide <= tall
            near = x0 - left - box[1].stop <= 0.8 * tall
            point = 0.08 * tall <= min(_rows(box), wide) and max(_rows(box), wide) <= 0.3 * tall
            if near and (digit or point):
                return True
    return False


def _covered(ink: np.ndarray, x0: int, rows: tuple[int, int]) -> bool:
    """Whether something of nearly the letters' tone lies before a number, to which it reaches.

    A digit on a bright particle is one with it.
    """
    top, foot = rows
    near, far = (
        ink[top:foot, max(x0 - round(share * (foot - top)), 0) : max(x0 - 1, 0)] > _COVERS
        for share in (0.5, 1.1)
    )
    return bool(near.size) and near.mean() > 0.1 and far.mean() > 0.5


def _speck(
    ink: np.ndarray, spot: tuple[int, int, int, int], rows: tuple[int, int], digits: int
) -> bool:
    """Whether something small and low stands among the digits."""
    x0, y0, x1, y1 = spot
    top, foot = rows
    tall = foot - top
    x1 = min(x1, x0 + round(0.9 * digits * tall))
    labels, _ = ndimage.label(ink[y0:y1, x0:x1] > _POINT, np.ones((3, 3), int))
    for box in ndimage.find_objects(labels):
        wide = box[1].stop - box[1].start
        small = _rows(box) <= 0.35 * tall and 0.08 * tall <= wide <= 0.4 * tall
        low = y0 + box[0].start >= top + 0.6 * tall and y0 + box[0].stop <= foot + 0.15 * tall
        if small and low:
            return True
    return False


def _variants(ink: np.ndarray, box: tuple[int, int, int, int]) -> tuple[np.ndarray, ...]:
    """The line with its faint strokes, bolder, fainter, and with a row more on both sides."""
    x0, y0, x1, y1 = whole = _grown(ink, _grown(ink, box))
    return (
        prepared(ink, whole),
        prepared(np.clip(1.6 * ink, 0, 1), whole),
        prepared(np.sqrt(ink), whole),
        prepared(ink, (x0, y0 - 1, x1, y1 + 1)),
    )


def _grown(ink: np.ndarray, box: tuple[int, int, int, int]) -> tuple[int, int, int, int]:
    """The box with the faint strokes that go on beyond it, as the thin ones of serif letters."""
    x0, y0, x1, y1 = box
    most = (y1 - y0) // 2
    lines = {
        "left": ink[y0:y1, max(x0 - most, 0) : x0].max(axis=0)[::-1],
        "right": ink[y0:y1, x1 : x1 + most].max(axis=0),
        "top": ink[max(y0 - most, 0) : y0, x0:x1].max(axis=1)[::-1],
        "foot": ink[y1 : y1 + most, x0:x1].max(axis=1),
    }
    more = {}
    for side, line in lines.items():
        faint = np.flatnonzero(line < _FAINT)
        more[side] = int(faint[0]) if len(faint) else 0  # no end: ground, no stroke
    return x0 - more["left"], y0 - more["top"], x1 + more["right"], y1 + more["foot"]


@lru_cache(4096)
def _once(line: bytes) -> PrintedLength | None:
    return read_line(np.frombuffer(line, np.uint8).reshape(HEIGHT, -1).astype(np.float32) / 255)


def _reading(line: np.ndarray) -> PrintedLength | None:
    """Read a line as `prepared` gives it; many bars of a picture lie near the same text."""
    return _once(np.rint(255 * line).astype(np.uint8).tobytes())


def _most_certain(ink: np.ndarray, box: tuple[int, int, int, int]) -> PrintedLength | None:
    """Read a line; one that is not read so, also bolder, fainter and with its faint strokes.

    None where these read it in two ways.
    """
    first = _reading(prepared(ink, box))
    whole = _grown(ink, _grown(ink, box))
    if (first is None and whole == box) or (first is not None and first.confidence >= _CERTAIN):
        return first
    others = map(_reading, _variants(ink, box))
    found = [printed for printed in (first, *others) if printed is not None]
    best = max(found, key=lambda printed: printed.confidence, default=None)
    if best is None or any(
        (printed.value, printed.unit) != (best.value, best.unit)
        and printed.confidence >= 0.5 * best.confidence
        for printed in found
    ):
        return None
    return best


def _ink(
    part: np.ndarray,
    tone: float,
    box: tuple[int, int, int, int],
    own: tuple[float, float, float, float],
) -> np.ndarray | None:
    """How much of the letters' tone each pixel has, from the ground around them."""
    x0, y0, x1, y1 = box
    pad = max(2, (y1 - y0) // 4)
    around = part[max(y0 - pad, 0) : y1 + pad, max(x0 - pad, 0) : x1 + pad]
    others = around[np.abs(around - tone) > 60]
    if len(others) < 0.2 * around.size:
        return None
    ground = float(np.median(others))
    if abs(tone - ground) < 30:
        return None  # a middle grey between brighter and darker ground
    ink = np.clip((part - ground) / (tone - ground), 0, 1)
    a, top, b, bottom = own
    keep = ink[y0:y1, x0:x1].copy()
    ink[max(int(top) - 1, 0) : int(bottom) + 1, max(int(a) - 1, 0) : int(b) + 3] = 0
    if y1 > top - 1 and y0 < bottom + 1:
        ink[y0:y1, x0:x1] = keep
    return ink


def _belongs(box: tuple[int, int, int, int], own: tuple[float, float, float, float]) -> float:
    """1 for a text at the bar, falling with the distance in heights of the text."""
    across = max(own[0] - box[2], box[0] - own[2], 0.0)
    down = max(own[1] - box[3], box[1] - own[3], 0.0)
    tall = max(box[3] - box[1], 5)
    far = np.hypot(across / 2, down) / tall
    return float(1 / (1 + max(far - 0.5, 0.0) ** 2))
