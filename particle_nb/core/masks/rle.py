"""Run-length codes of masks in the COCO form, made from the crop and not from the full frame."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from particle_nb.core.errors import DataError
from particle_nb.core.masks.masks import Mask

#: Largest frame that a run-length code may claim, in pixels; a code is a few bytes for any frame.
MAX_PIXELS = 2**31


def encode(mask: Mask) -> dict[str, Any]:
    """Return the uncompressed COCO run-length code of a mask.

    Runs are counted down the columns of the frame, background first; the time goes with the
    crop, whatever the frame.

    Returns
    -------
    dict
        ``{"size": [H, W], "counts": [...]}``, counts a list of int.

    Raises
    ------
    DataError
        If it is not a Mask.

    Examples
    --------
    >>> encode(Mask((1, 1), np.ones((2, 1), bool), (4, 3)))
    {'size': [4, 3], 'counts': [5, 2, 5]}
    """
    return {"size": list(_checked(mask).shape), "counts": counts_of(mask).tolist()}


def counts_of(mask: Mask) -> np.ndarray:
    """Return the run lengths of a mask as int64 (N,), background first, down the columns.

    Examples
    --------
    >>> counts_of(Mask((0, 0), np.ones((2, 1), bool), (2, 2)))
    array([0, 2, 2])
    """
    row, col = _checked(mask).origin
    height, width = mask.shape
    h, w = mask.crop.shape
    # a rim of background at both ends of every column makes each run start and stop inside it
    columns = np.zeros((w, h + 2), np.int8)
    columns[:, 1:-1] = mask.crop.T
    steps = np.diff(columns.ravel())
    starts, stops = np.flatnonzero(steps == 1), np.flatnonzero(steps == -1)
    starts = (starts // (h + 2) + col) * height + starts % (h + 2) + row
    stops = (stops // (h + 2) + col) * height + stops % (h + 2) + row
    # a run that reaches the foot of one column may go on at the head of the next
    joined = stops[:-1] == starts[1:]
    if joined.any():
        starts = starts[np.concatenate(([True], ~joined))]
        stops = stops[np.concatenate((~joined, [True]))]
    edges = np.empty(2 * len(starts) + 2, np.int64)
    edges[0], edges[-1] = 0, height * width
    edges[1:-1:2], edges[2:-1:2] = starts, stops
    counts = np.diff(edges)
    return counts if counts[-1] else counts[:-1]


def decode(code: dict[str, Any], **scores: Any) -> Mask:
    """Return the mask of a COCO run-length code, compressed or not.

    Parameters
    ----------
    code : dict
        ``{"size": [H, W], "counts": ...}`` with counts a list of int, a str or bytes.
    **scores
        Further fields of the `Mask`, such as ``predicted_iou``.

    Raises
    ------
    DataError
        If size or counts are missing, do not fit each other, or no pixel is set.

    Examples
    --------
    >>> mask = decode({"size": [4, 3], "counts": [5, 2, 5]})
    >>> mask.origin, mask.area
    ((1, 1), 2)
    """
    if not isinstance(code, dict) or not {"size", "counts"} <= code.keys():
        raise DataError(
            "a run-length code is a dict with 'size' [H, W] and 'counts'; "
            f"this is {type(code).__name__}."
        )
    height, width = _frame(code["size"])
    counts = code["counts"]
    if isinstance(counts, (str, bytes)):
        runs = decompress(counts)
    else:
        try:
            runs = np.asarray(counts)
        except ValueError as error:
            raise DataError(f"the counts of a run-length code are no list: {error}") from None
        if runs.ndim != 1 or (runs.size and not np.issubdtype(runs.dtype, np.integer)):
            raise DataError("the counts of a run-length code are a list of whole numbers or a str.")
        runs = runs.astype(np.int64)
    total = height * width
    if (runs < 0).any() or (runs > total).any() or int(runs.sum()) != total:
        raise DataError(
            f"the runs of a code add up to {int(runs.sum())}, but its frame of {height} x {width} "
            f"has {total} pixels; the file is damaged or its size is given as [W, H]."
        )
    edges = np.cumsum(runs)
    starts, stops = edges[0:-1:2], edges[1::2]
    keep = stops > starts
    starts, stops = starts[keep], stops[keep]
    if not starts.size:
        raise DataError("a run-length code without a single set pixel; drop it.")
    left, right = int(starts[0] // height), int((stops[-1] - 1) // height) + 1
    within = starts // height == (stops - 1) // height
    if within.all():
        top = int((starts % height).min())
        bottom = int(((stops - 1) % height).max()) + 1
    else:
        top, bottom = 0, height
    h = bottom - top
    # runs stay whole inside the kept rows, so places shift column by column
    marks = np.zeros((right - left) * h + 1, np.int8)
    np.add.at(marks, (starts // height - left) * h + starts % height - top, 1)
    last = stops - 1
    np.add.at(marks, (last // height - left) * h + last % height - top + 1, -1)
    crop = np.cumsum(marks[:-1], dtype=np.int8).astype(bool).reshape(right - left, h).T
    return Mask((top, left), crop, (height, width), **scores)


def compress(counts: Sequence[int] | np.ndarray) -> str:
    """Return run lengths as the text of pycocotools: 5 bits a character, differences of two apart.

    Parameters
    ----------
    counts : int (N,)
        Lengths in px, down the columns, background first.

    Raises
    ------
    DataError
        If counts are not whole numbers.

    Examples
    --------
    >>> compress([5, 2, 5])
    '525'
    """
    runs = np.asarray(counts)
    if runs.size == 0:
        return ""
    if runs.ndim != 1 or not np.issubdtype(runs.dtype, np.integer):
        raise DataError("run lengths are a list of whole numbers.")
    values = runs.astype(np.int64)
    values[3:] = runs[3:] - runs[1:-2]
    digits = np.empty((len(values), 13), np.int64)
    used = np.zeros((len(values), 13), bool)
    going = np.ones(len(values), bool)
    place = 0
    while going.any():
        digit = values & 0x1F
        values = values >> 5
        used[:, place] = going
        # a code ends where what is left is only the sign, and the sign bit of the digit tells it
        more = np.where(digit & 0x10, values != -1, values != 0)
        digits[:, place] = digit | np.where(more, 0x20, 0)
        going = going & more
        place += 1
    return (digits[used] + 48).astype(np.uint8).tobytes().decode("ascii")


def decompress(text: str | bytes) -> np.ndarray:
    """Return the run lengths int64 (N,) of a compressed COCO text.

    Raises
    ------
    DataError
        If the text has characters that the code does not use, or stops in the middle of a number.

    Examples
    --------
    >>> decompress("525").tolist()
    [5, 2, 5]
    """
    try:
        raw = text.encode("ascii") if isinstance(text, str) else bytes(text)
    except UnicodeEncodeError:
        raise DataError("compressed run lengths hold characters that are not ASCII.") from None
    digits = np.frombuffer(raw, np.uint8).astype(np.int64) - 48
    if not digits.size:
        return np.zeros(0, np.int64)
    if digits.min() < 0 or digits.max() > 63:
        raise DataError("compressed run lengths hold characters outside '0' to 'o'.")
    last = (digits & 0x20) == 0
    if not last[-1]:
        raise DataError("compressed run lengths stop in the middle of a number.")
    ends = np.flatnonzero(last)
    begins = np.concatenate(([0], ends[:-1] + 1))
    sizes = ends - begins + 1
    if sizes.max() > 12:
        raise DataError("compressed run lengths hold a number of more than 60 bits.")
    place = np.arange(len(digits)) - np.repeat(begins, sizes)
    values = np.add.reduceat((digits & 0x1F) << (5 * place), begins)
    negative = (digits[ends] & 0x10) != 0
    values = values - np.where(negative, np.int64(1) << (5 * sizes), 0)
    values[1::2] = np.cumsum(values[1::2])
    values[2::2] = np.cumsum(values[2::2])
    return values


def _checked(mask: Mask) -> Mask:
    if not isinstance(mask, Mask):
        raise DataError(
            f"a run-length code is made of a Mask, not {type(mask).__name__}; use Mask.from_full."
        )
    return mask


def _frame(size: Any) -> tuple[int, int]:
    """Height and width of a code, as plain ints."""
    try:
        height, width = (int(v) for v in size)
    except (TypeError, ValueError):
        raise DataError(f"the size of a run-length code is [H, W], not {size!r}.") from None
    if height < 1 or width < 1 or math.prod((height, width)) > MAX_PIXELS:
        raise DataError(f"a run-length code for a frame of {height} x {width} pixels.")
    return height, width
