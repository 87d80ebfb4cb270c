"""The reader of printed lengths: ink of one line of text to ``"200 nm"``, without torch.

A small convolutional network, trained by this project on rendered text only
(``training/scale_text.py``), gives a probability of each character along the line; the most
probable text that has the form of a length is read off, and how probable it is stands beside it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import PIL.Image

#: What the reader tells apart; every other letter is ``"?"``, and "µ" is read as "u".
ALPHABET = "0123456789.num?"

#: Rows of a line as the network sees it, and rows that the letters of a line fill.
HEIGHT, INK = 24, 16

_LENGTH = re.compile(r"(\d{1,4}(?:\.\d{1,3})?)(nm|um|mm)")

_POOLS = ((2, 2), (2, 1), (2, 1), None, None)


@dataclass(frozen=True)
class PrintedLength:
    """A length as it is printed beside a bar."""

    value: float
    unit: str
    text: str
    confidence: float
    span: tuple[float, float]  # share of the line from which to which it stands


@cache
def _weights() -> dict[str, np.ndarray]:
    with np.load(Path(__file__).with_name("scale_text.npz")) as file:
        return {key: file[key].astype(np.float32) for key in file.files}


def _convolved(x: np.ndarray, weight: np.ndarray, bias: np.ndarray, pad: int) -> np.ndarray:
    """Convolve (C, H, W) with (O, C, h, w): "same" along the line, across it as `pad` says."""
    out, channels, h, w = weight.shape
    wide = x.shape[2]
    padded = np.zeros((channels, x.shape[1] + 2 * pad, wide + w - 1), np.float32)
    padded[:, pad : pad + x.shape[1], w // 2 : w // 2 + wide] = x
    tall = padded.shape[1] - h + 1
    c, down, right = padded.strides
    shape, strides = (channels, h, w, tall, wide), (c, down, right, down, right)
    windows = np.ndarray(shape, np.float32, padded, 0, strides).reshape(channels * h * w, -1)
    return (weight.reshape(out, -1) @ windows + bias[:, None]).reshape(out, tall, wide)


def _pooled(x: np.ndarray, rows: int, columns: int) -> np.ndarray:
    """The largest value of each block of (C, H, W)."""
    down = [x[:, k::rows] for k in range(rows)]
    x = down[0] if rows == 1 else np.maximum(*down)
    along = [x[:, :, k::columns] for k in range(columns)]
    return along[0] if columns == 1 else np.maximum(*along)


def probabilities(line: np.ndarray) -> np.ndarray:
    """Return (W/2, 16) probabilities of "nothing new" and of each character along a line.

    Parameters
    ----------
    line : array (HEIGHT, W)
        Ink from 0 (ground) to 1 (letters).
    """
    weights = _weights()
    x = np.asarray(line, np.float32)[None]
    if x.shape[2] % 2:
        x = np.pad(x, ((0, 0), (0, 0), (0, 1)))
    for k, pool in enumerate(_POOLS):
        x = np.maximum(_convolved(x, weights[f"w{k}"], weights[f"b{k}"], 1 if k < 3 else 0), 0)
        if pool:
            x = _pooled(x, *pool)
    score = _convolved(x, weights["w5"], weights["b5"], 0)[:, 0].T
    score = np.exp(score - score.max(axis=1, keepdims=True))
    return score / score.sum(axis=1, keepdims=True)


def prepared(ink: np.ndarray, box: tuple[int, int, int, int]) -> np.ndarray:
    """Cut a line out of an ink map and bring it to the reader's size, (HEIGHT, W) float32.

    Parameters
    ----------
    ink : array (H, W)
        0 for the ground to 1 for letters.
    box : (x0, y0, x1, y1)
        What the letters fill, in pixels, ends excluded.
    """
    x0, y0, x1, y1 = box
    scale = INK / max(y1 - y0, 1)
    margin = 0.35 * (y1 - y0)
    middle = (y0 + y1) / 2
    place = (x0 - margin, middle - HEIGHT / 2 / scale, x1 + margin, middle + HEIGHT / 2 / scale)
    wide = int(np.clip((place[2] - place[0]) * scale, 16, 1200))
    picture = PIL.Image.fromarray((255 * np.clip(ink, 0, 1)).astype(np.uint8))
    if scale >= 0.7:
        method, kind = PIL.Image.Transform.EXTENT, PIL.Image.Resampling.BILINEAR
        line = picture.transform((wide, HEIGHT), method, place, kind)
    else:
        left, top, right, bottom = (round(value) for value in place)
        line = picture.crop((left, top, right, bottom)).resize(
            (wide, HEIGHT), PIL.Image.Resampling.BILINEAR
        )
    return np.asarray(line, np.float32) / 255


def read_line(line: np.ndarray) -> PrintedLength | None:
    """Read the one printed length of a line, None where there is none of its form.

    Examples
    --------
    >>> read_line(np.zeros((HEIGHT, 60))) is None
    True
    """
    likely = probabilities(line)
    best = likely.argmax(axis=1).tolist()
    steps = [t for t in range(len(best)) if best[t] and (t == 0 or best[t] != best[t - 1])]
    text = "".join(ALPHABET[best[t] - 1] for t in steps)
    matches = list(_LENGTH.finditer(text))
    if len(matches) != 1:
        return None
    (match,) = matches
    # a digit, point or letter that touches the length belongs to it: "15.0kV" is no "0 nm"
    if text[: match.start()].endswith((".", "?")) and _near(steps, match.start() - 1, likely):
        return None
    first = steps[match.start()]
    last = steps[match.end() - 1]
    begin = (steps[match.start() - 1] + first) // 2 if match.start() else 0
    end = (last + steps[match.end()]) // 2 if match.end() < len(steps) else len(best)
    sure = spelled(likely[begin:end], match.group())
    span = (begin / len(best), end / len(best))
    return PrintedLength(float(match[1]), match[2], f"{match[1]} {match[2]}", sure, span)


def _near(steps: list[int], at: int, likely: np.ndarray) -> bool:
    """Whether two characters stand as close as those of one word."""
    return steps[at + 1] - steps[at] < 8


def spelled(likely: np.ndarray, text: str) -> float:
    """Return the probability that a stretch of the line spells exactly this text.

    Parameters
    ----------
    likely : array (T, 16)
        As `probabilities` returns.
    text : str
        Characters of `ALPHABET`.
    """
    marks = [0]
    for letter in text:
        marks += [1 + ALPHABET.index(letter), 0]
    state = np.zeros(len(marks))
    state[0] = 1.0
    for t, row in enumerate(likely):
        new = state.copy()
        new[1:] += state[:-1]
        for k in range(3, len(marks), 2):
            if marks[k] != marks[k - 2]:
                new[k] += state[k - 2]
        if t == 0:
            new = np.zeros(len(marks))
            new[:2] = 1.0
        state = new * row[marks]
    return float(min(state[-1] + state[-2], 1.0))
