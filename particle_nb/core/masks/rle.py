"""Run-length codes of masks in the COCO form, made from the crop and not from the full frame."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from particle_nb.core.errors import DataError
from particle_nb.core.files import Allowance
from particle_nb.core.masks.masks import CARRIED, Mask

#: Largest frame that a run-length code may claim, in pixels; a code is a few bytes for any frame.
MAX_PIXELS = 2**31

# codes of so few characters or runs are read without arrays, which takes a tenth of the time
_FEW = 200


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


def decode(code: dict[str, Any], allowance: Allowance | None = None, **scores: Any) -> Mask:
    """Return the mask of a COCO run-length code, compressed or not.

    Parameters
    ----------
    code : dict
        ``{"size": [H, W], "counts": ...}`` with counts a list of int, a str or bytes.
    allowance : Allowance or None
        What the file of the code may still unfold to; that of one small file when left out.
    **scores
        Further fields of the `Mask`, such as ``predicted_iou``.

    Raises
    ------
    DataError
        If size or counts are missing, do not fit each other, no pixel is set, or the mask is
        larger than any particle.

    Examples
    --------
    >>> mask = decode({"size": [4, 3], "counts": [5, 2, 5]})
    >>> mask.origin, mask.area
    ((1, 1), 2)
    """
    runs = _runs_of(code)
    (Allowance() if allowance is None else allowance).take_pixels(_box_area(runs))
    return Mask((runs.top, runs.left), _unfolded(runs), runs.frame, **scores)


class CodedMask(Mask):
    """A mask that stays a run-length code until somebody looks at its pixels.

    An annotation keeps every state of every mask, of which few are looked at again: a history of
    many corrections of one large particle would fill the memory otherwise.

    Parameters
    ----------
    code : dict
        As for `decode`, compressed.
    **scores
        Further fields of the `Mask`.

    Raises
    ------
    DataError
        As `decode`: the code is checked at once, only its pixels are made later.

    Examples
    --------
    >>> mask = CodedMask({"size": [4, 3], "counts": "525"}, label="round")
    >>> "crop" in vars(mask), mask.area, "crop" in vars(mask)
    (False, 2, True)
    """

    def __init__(self, code: dict[str, Any], **scores: Any) -> None:
        runs = _runs_of(code)
        if _box_area(runs) > MAX_PIXELS:
            raise DataError("a mask is larger than any image.")
        # the other fields are checked by a mask of one pixel
        tiny = Mask(runs.first, np.ones((1, 1), bool), runs.frame, **scores)
        held = self.__dict__
        held.update(vars(tiny))
        del held["crop"], held["origin"]
        held["_code"] = code

    def __getattr__(self, name: str) -> Any:
        # only asked for what is not there yet
        code = self.__dict__.get("_code")
        if name not in ("crop", "origin") or code is None:
            raise AttributeError(name)
        runs = _runs_of(code)
        crop = _unfolded(runs)
        crop.flags.writeable = False
        self.__dict__["crop"], self.__dict__["origin"] = crop, (runs.top, runs.left)
        del self.__dict__["_code"]
        return self.__dict__[name]

    @property
    def unfolds_to(self) -> int:
        """Pixels of the bounding box, all of which are held once somebody has looked."""
        code = self.__dict__.get("_code")
        return self.crop.size if code is None else _box_area(_runs_of(code))

    def replace(self, **changes: Any) -> Mask:
        """Return a copy with some fields changed, as `Mask.replace`."""
        whole = Mask._tight(self.origin, self.crop, self.shape)
        for name in CARRIED:
            whole.__dict__[name] = getattr(self, name)
        return whole.replace(**changes)


@dataclass(frozen=True, eq=False)
class _Runs:
    """Checked runs of set pixels, down the columns, and the box around them."""

    frame: tuple[int, int]
    starts: np.ndarray
    stops: np.ndarray
    top: int
    bottom: int
    left: int
    right: int

    @property
    def first(self) -> tuple[int, int]:
        """Row and column of the first set pixel."""
        return int(self.starts[0] % self.frame[0]), int(self.starts[0] // self.frame[0])


def _box_area(runs: _Runs) -> int:
    return (runs.bottom - runs.top) * (runs.right - runs.left)


def _runs_of(code: dict[str, Any]) -> _Runs:
    if not isinstance(code, dict) or not {"size", "counts"} <= code.keys():
        raise DataError(
            "a run-length code is a dict with 'size' [H, W] and 'counts'; "
            f"this is {type(code).__name__}."
        )
    height, width = _frame(code["size"])
    counts = code["counts"]
    if isinstance(counts, (str, bytes)) and len(counts) <= _FEW:
        return _few_runs(_short(counts), height, width)
    if isinstance(counts, (str, bytes)):
        runs = decompress(counts)
    elif (
        isinstance(counts, list) and len(counts) <= _FEW and all(type(run) is int for run in counts)
    ):
        return _few_runs(counts, height, width)
    else:
        try:
            runs = np.asarray(counts)
        except (TypeError, ValueError, OverflowError) as error:
            raise DataError(f"the counts of a run-length code are no list: {error}") from None
        if runs.ndim != 1 or (runs.size and not np.issubdtype(runs.dtype, np.integer)):
            raise DataError("the counts of a run-length code are a list of whole numbers or a str.")
        if runs.size and int(runs.max()) > MAX_PIXELS:
            raise DataError("a run of a run-length code is longer than any image.")
        runs = runs.astype(np.int64)
    total = height * width
    if (runs < 0).any() or (runs > total).any() or int(runs.sum()) != total:
        raise _misfit(int(runs.sum()), height, width)
    edges = np.cumsum(runs)
    starts, stops = edges[0:-1:2], edges[1::2]
    keep = stops > starts
    if not keep.all():
        starts, stops = starts[keep], stops[keep]
    if not starts.size:
        raise DataError("a run-length code without a single set pixel; drop it.")
    left, right = int(starts[0] // height), int((stops[-1] - 1) // height) + 1
    if (starts // height == (stops - 1) // height).all():
        top = int((starts % height).min())
        bottom = int(((stops - 1) % height).max()) + 1
    else:
        top, bottom = 0, height
    return _Runs((height, width), starts, stops, top, bottom, left, right)


def _few_runs(counts: list[int], height: int, width: int) -> _Runs:
    """As the rest of `_runs_of`, for a short list."""
    starts, stops = [], []
    place, inside, whole = 0, False, True
    top, bottom = height, 0
    for run in counts:
        if run < 0:
            raise _misfit(sum(counts), height, width)
        if inside and run:
            first, last = place % height, (place + run - 1) % height
            whole &= place // height == (place + run - 1) // height
            top, bottom = min(top, first), max(bottom, last + 1)
            starts.append(place)
            stops.append(place + run)
        place += run
        inside = not inside
    if place != height * width:
        raise _misfit(place, height, width)
    if not starts:
        raise DataError("a run-length code without a single set pixel; drop it.")
    left, right = starts[0] // height, (stops[-1] - 1) // height + 1
    if not whole:
        top, bottom = 0, height
    return _Runs((height, width), np.array(starts), np.array(stops), top, bottom, left, right)


def _misfit(total: int, height: int, width: int) -> DataError:
    return DataError(
        f"the runs of a code add up to {total}, but its frame of {height} x {width} has "
        f"{height * width} pixels; the file is damaged or its size is given as [W, H]."
    )


def _short(text: str | bytes) -> list[int]:
    """As `decompress`, for a short text."""
    values: list[int] = []
    value = shift = 0
    for digit in _raw(text):
        digit -= 48
        if not 0 <= digit <= 63:
            raise DataError("compressed run lengths hold characters outside '0' to 'o'.")
        value |= (digit & 0x1F) << shift
        shift += 5
        if digit & 0x20:
            continue
        if shift > 60:
            raise DataError("compressed run lengths hold a number of more than 60 bits.")
        if digit & 0x10:
            value -= 1 << shift
        values.append(value + values[-2] if len(values) > 2 else value)
        value = shift = 0
    if shift:
        raise DataError("compressed run lengths stop in the middle of a number.")
    return values


def _raw(text: str | bytes) -> bytes:
    try:
        return text.encode("ascii") if isinstance(text, str) else bytes(text)
    except UnicodeEncodeError:
        raise DataError("compressed run lengths hold characters that are not ASCII.") from None


def _unfolded(runs: _Runs) -> np.ndarray:
    """The pixels of the box, bool (h, w)."""
    height, h = runs.frame[0], runs.bottom - runs.top
    # runs stay whole inside the kept rows, so places shift column by column
    marks = np.zeros((runs.right - runs.left) * h + 1, np.int8)
    starts, last = runs.starts, runs.stops - 1
    # no two runs begin, or end, at one pixel; one may end where the next begins
    marks[(starts // height - runs.left) * h + starts % height - runs.top] += 1
    marks[(last // height - runs.left) * h + last % height - runs.top + 1] -= 1
    np.cumsum(marks[:-1], dtype=np.int8, out=marks[:-1])
    columns = marks[:-1].view(bool).reshape(runs.right - runs.left, h)
    crop = np.empty((h, len(columns)), bool)
    # a strip at a time: turned over at once, every pixel would miss the cache
    for left in range(0, len(columns), 256):
        crop[:, left : left + 256] = columns[left : left + 256].T
    return crop


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
    digits = np.frombuffer(_raw(text), np.uint8)
    if not digits.size:
        return np.zeros(0, np.int64)
    # one byte a digit: eight would make gigabytes of a long text
    digits = digits - np.uint8(48)
    if digits.max() > 63:
        raise DataError("compressed run lengths hold characters outside '0' to 'o'.")
    last = (digits & 0x20) == 0
    if not last[-1]:
        raise DataError("compressed run lengths stop in the middle of a number.")
    ends = np.flatnonzero(last)
    del last
    sizes = np.diff(ends, prepend=-1)
    if sizes.max() > 12:
        raise DataError("compressed run lengths hold a number of more than 60 bits.")
    begins = ends - sizes + 1
    values = (digits[begins] & 0x1F).astype(np.int64)
    for place in range(1, int(sizes.max())):
        longer = np.flatnonzero(sizes > place)
        digit = (digits[begins[longer] + place] & 0x1F).astype(np.int64)
        values[longer] |= digit << (5 * place)
    negative = (digits[ends] & 0x10) != 0
    values[negative] -= np.int64(1) << (5 * sizes[negative])
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
    except (TypeError, ValueError, OverflowError):
        raise DataError(f"the size of a run-length code is [H, W], not {size!r:.80}.") from None
    if height < 1 or width < 1 or math.prod((height, width)) > MAX_PIXELS:
        raise DataError(f"a run-length code for a frame of {height} x {width} pixels.")
    return height, width
