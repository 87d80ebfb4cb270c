"""A scale bar that is drawn into a picture: proposed, never applied by itself."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from particle_nb.core.errors import CalibrationError
from particle_nb.core.image._bars import Bar, clear_ends
from particle_nb.core.image._printed import Found, doubt
from particle_nb.core.image._views import (
    LIKELY,
    UNREAD,
    Box,
    Candidate,
    candidates,
    channels,
    planes,
)
from particle_nb.core.image.image import METRES, Calibration, Image
from particle_nb.core.image.reading import read_pixels
from particle_nb.core.image.region import RegionPart

_READ = 0.5  # probability from which a printed length counts as read
_CLEAR = 0.4  # likeness that an upright or coloured one has at least
_LEVEL = 0.3  # likeness from which a level bar at the text of an upright one is a doubt
_DRAWN = 0.7  # likeness from which a bar without a printed length is proposed
_AGREE = 0.04  # two readings of one scale differ by less


@dataclass(frozen=True)
class ScaleBar:
    """What `find_scale_bar` proposes; nothing of it is used before somebody confirms it.

    Parameters
    ----------
    ends : (x0, y0, x1, y1) or None
        Ends of the bar in pixels, sub-pixel, pixel centres at integers; None where none is found.
    thickness : float
        Pixels across the bar itself, without ticks.
    value, unit : float, str or None
        The printed length; None where none can be read.
    confidence : float
        0 to 1: how probable the reading is, less where the text stands far from the bar.
    box : (x0, y0, x1, y1) or None
        Bar and text in whole pixels, ends excluded: what is no specimen.
    kind : str
        ``"bar"``, ``"ticks"`` (strokes at the ends), ``"dots"`` (a ruler of dots, from the middle
        of the first to that of the last) or ``"split"`` (text in the middle of the bar).
    note : str
        What was found and what not, in words.

    Raises
    ------
    CalibrationError
        If there is a length without a bar, or the bar has no length.

    Examples
    --------
    >>> bar = ScaleBar((9.5, 40, 109.5, 40), 4, 200.0, "nm", 0.9)
    >>> bar.calibration()
    Calibration(pixel_size=2.0, unit='nm', source="scale bar found: 100.0 px reads '200 nm'")
    """

    ends: tuple[float, float, float, float] | None
    thickness: float = 0.0
    value: float | None = None
    unit: str | None = None
    confidence: float = 0.0
    box: tuple[int, int, int, int] | None = None
    kind: str = ""
    note: str = ""

    def __post_init__(self) -> None:
        if self.ends is None:
            if self.value is not None:
                raise CalibrationError("a printed length needs the ends of its bar.")
            return
        if len(self.ends) != 4 or not np.isfinite(self.ends).all() or not self.pixels > 0:
            raise CalibrationError(
                f"the ends of a bar are x0, y0, x1, y1 at a distance, not {self.ends!r}."
            )

    def __bool__(self) -> bool:
        return self.ends is not None

    @property
    def pixels(self) -> float:
        """Length of the bar in pixels; 0 where none is found."""
        if self.ends is None:
            return 0.0
        x0, y0, x1, y1 = self.ends
        return float(np.hypot(x1 - x0, y1 - y0))

    @property
    def text(self) -> str:
        """The printed length as read, e.g. ``"200 nm"``; empty where it is not."""
        return "" if self.value is None else f"{self.value:g} {self.unit}"

    @property
    def left_out(self) -> RegionPart | None:
        """Bar and text as a part of a region that is not analysed; None where there is no `box`.

        Examples
        --------
        >>> ScaleBar((10, 40, 110, 40), 4, 200.0, "nm", 0.9, (8, 20, 113, 43)).left_out
        RegionPart(corners=((8.0, 20.0), (112.0, 20.0), (112.0, 42.0), (8.0, 42.0)), include=False)
        """
        if self.box is None:
            return None
        x0, y0, x1, y1 = self.box
        return RegionPart.box(x0, y0, x1 - 1, y1 - 1, include=False)

    def calibration(self, length: str | None = None) -> Calibration:
        """Return the pixel size of the proposal, or of its bar and a length that you give.

        Parameters
        ----------
        length : str or None
            What the bar says, e.g. ``"200 nm"``; None takes what was read.

        Raises
        ------
        CalibrationError
            If no bar was found, or no length was read and none is given.
        """
        if self.ends is None:
            raise CalibrationError(f"{self.note or 'no scale bar was found'}.")
        if length is None and self.value is None:
            raise CalibrationError(
                f"{self.note or 'the printed length could not be read'}. "
                "Give it: .calibration('200 nm')."
            )
        if length is None:
            value, unit = float(self.value or 0.0), str(self.unit)
            said = f"reads '{self.text}'"
        else:
            given = Calibration.parse(length)
            value, unit, said = given.pixel_size, given.unit, f"is {length.strip()}, typed"
        source = f"scale bar found: {self.pixels:.1f} px {said}"
        return Calibration(float(f"{value / self.pixels:.6g}"), unit, source)

    def __str__(self) -> str:
        return self.note


def find_scale_bar(image: Image | np.ndarray | str | os.PathLike[str]) -> ScaleBar:
    """Propose the scale bar of a micrograph and the length that is printed at it.

    The proposal is shown and confirmed, never applied: a burned-in bar is read from its pixels.
    Bars that lie or stand upright are found, white, black or coloured, with or without strokes at
    their ends, rulers of dots, with the text above, below, beside or within, at an upright bar also
    turned; lengths in nm, µm and mm. A bar without a readable text is proposed without a length,
    and so is one whose ends, or whose text, are not clear. Where two bars disagree, no length is
    proposed.

    Parameters
    ----------
    image : Image, array (H, W) or (H, W, C), or path
        Of an `Image` whose info bar was left out on reading, that bar is searched, too; ends
        below the picture then lie in it.

    Returns
    -------
    ScaleBar
        False in a condition where no bar was found; `ScaleBar.note` says so.

    Raises
    ------
    ImageError
        If it is no image.

    Examples
    --------
    >>> pixels = np.zeros((200, 300), np.uint8)
    >>> pixels[180:184, 50:150] = 255
    >>> found = find_scale_bar(pixels)
    >>> found.ends, found.text
    ((49.5, 181.5, 149.5, 181.5), '')
    """
    pixels = _whole(image)
    grey = _levels(pixels)
    if min(grey.shape) < 24:
        return ScaleBar(None, note=f"no scale bar in {grey.shape[1]} x {grey.shape[0]} pixels")
    seen = _without_ticks(list(candidates(planes(grey, pixels))))
    read = sorted((one for one in seen if _is_read(one)), key=lambda one: -_worth(one))
    if not read:
        drawn = [one for one in seen if _is_drawn(one)]
        return _longest(drawn) if drawn else ScaleBar(None, note="no scale bar was found")
    # a stroke beside the text is half a bar where there is another one on the other side
    best = next(
        (one for one in read if one.bar.kind == "split" and _one_text(one, read[0])), read[0]
    )
    if best.bar.kind != "split" and _half(best.grey, best.bar, best.text):
        why = "the text stands in the middle of it and its other half is not like it"
        return _unread(best, why)
    rival = next((one for one in seen if _stands_nearer(one, best) or _lies_at(one, best)), None)
    if rival is not None:
        return _unread(rival, f"whether '{best.text.printed.text}' is its length is not clear")
    if any(_piece(best, other) for other in seen):
        return _unread(best, "where it ends is not clear")
    for other in read:
        apart = abs(np.log(_size(best) / _size(other)))
        if not _one_text(best, other) and _worth(other) > 0.6 * _worth(best) and apart > _AGREE:
            return _doubtful(best, other)
    why = doubt(best.text)
    if why:
        return _unread(best, f"whether its length is read rightly is not clear: {why}")
    clear = _with_clear_ends(_sharpest(best, read), read, channels(grey, pixels))
    if clear is None:
        return _unread(best, "where it ends is not clear")
    return _proposal(clear)


def _whole(image: Any) -> np.ndarray:
    """The pixels with the info bar, where it is still there."""
    if isinstance(image, (str, os.PathLike)):
        return read_pixels(image).pixels
    if not isinstance(image, Image):
        return Image(image).pixels
    rows = int(image.info.get("info_bar_rows", 0) or 0)
    base = image.pixels.base
    cropped = rows > 0 and isinstance(base, np.ndarray)
    if cropped and base.shape == (image.shape[0] + rows, *image.pixels.shape[1:]):  # type: ignore[union-attr]
        return base  # type: ignore[return-value]
    return image.pixels


def _levels(pixels: np.ndarray) -> np.ndarray:
    """Grey levels 0 to 255 as float32."""
    grey = Image(pixels).grey
    if pixels.dtype == np.uint8:
        return grey
    low, high = float(grey.min()), float(grey.max())
    return (grey - low) * np.float32(255 / (high - low)) if high > low else np.zeros_like(grey)


def _within(bar: Bar, text: Found) -> bool:
    """Whether the bar is a stroke of the text's own letters."""
    x0, y0, x1, y1 = text.box
    if bar.kind == "split":  # its text stands between the strokes
        return not (bar.x0 < x0 and x1 < bar.x1)
    down = min(bar.bottom + 1, y1) - max(bar.top, y0)
    across = min(bar.x1, x1) - max(bar.x0, x0)
    return down > 0 and across > 0.5 * bar.length


def _label_rim(grey: np.ndarray, bar: Bar, text: Found) -> bool:
    """Whether the bar is the rim of the label on which the text is written."""
    x0, y0, x1, y1 = text.box
    across = min(bar.x1, x1) - max(bar.x0, x0)
    if across < 0.3 * (x1 - x0) or bar.kind in ("split", "dots"):
        return False
    around = grey[max(y0 - 2, 0) : y1 + 2, max(x0 - 2, 0) : x1 + 2]
    rim = np.concatenate([around[0], around[-1], around[:, 0], around[:, -1]])
    return abs(float(np.median(rim)) - bar.level) < 30


def _half(grey: np.ndarray, bar: Bar, text: Found) -> bool:
    """Whether a stroke like the bar goes on beyond a text that stands beside it."""
    x0, y0, x1, y1 = text.box
    tall = y1 - y0
    if bar.bottom < y0 or bar.top >= y1:
        return False
    if bar.x1 <= x0 + 1:
        beyond = slice(x1 + 1, x1 + 2 * tall + 8)
    elif bar.x0 >= x1 - 2:
        beyond = slice(max(x0 - 2 * tall - 8, 0), max(x0 - 1, 0))
    else:
        return False
    row = np.abs(grey[bar.top : bar.bottom + 1, beyond].mean(axis=0) - bar.level)
    return int((row < 0.4 * abs(bar.level - bar.ground)).sum()) >= max(8, tall)


def _sharpest(best: Candidate, read: list[Candidate]) -> Candidate:
    """The same bar as it is seen in grey, where it is: JPEG keeps colours at half the pixels."""
    twins = [
        one
        for one in read
        if one.sharp
        and one.turn == best.turn
        and one.bar.kind == best.bar.kind
        and _one_text(one, best)
        and np.abs(np.subtract(one.ends, best.ends)).max() < 4
    ]
    return best if best.sharp or not twins else twins[0]


def _with_clear_ends(
    best: Candidate, read: list[Candidate], picture: np.ndarray
) -> Candidate | None:
    """The bar with ends that all colours confirm, where another view of it has them, that one."""
    turned = {turn: np.rot90(picture, turn) for turn in {one.turn for one in read}}
    same = [
        one
        for one in read
        if one is not best
        and one.turn == best.turn
        and one.bar.kind != "split"
        and _one_text(one, best)
        and min(one.bar.x1, best.bar.x1) - max(one.bar.x0, best.bar.x0) > 0.8 * best.bar.length
        and one.bar.top <= best.bar.bottom + 2
        and best.bar.top <= one.bar.bottom + 2
    ]
    for one in (best, *same):
        ends = clear_ends(turned[one.turn], one.bar)
        if ends is not None:
            return replace(one, bar=replace(one.bar, x0=ends[0], x1=ends[1]))
    return None


def _without_ticks(seen: list[Candidate]) -> list[Candidate]:
    """Leave out the strokes at the ends of bars: what a longer one crosses."""
    boxes = [_box(one, False) for one in seen]
    return [
        one
        for one, (x0, y0, x1, y1) in zip(seen, boxes, strict=True)
        if not any(
            other.turn != one.turn
            and other.bar.length > one.bar.length
            and other.bar.score >= LIKELY
            and min(x1, box[2]) > max(x0, box[0])
            and min(y1, box[3]) > max(y0, box[1])
            for other, box in zip(seen, boxes, strict=True)
        )
    ]


def _is_drawn(one: Candidate) -> bool:
    """Whether a bar without a length is proposed; stems of letters stand upright as well."""
    long = not one.turn or one.bar.length >= max(48, 0.08 * one.grey.shape[1])
    return long and one.bar.score >= _DRAWN and one.bar.kind != "split"


def _is_read(one: Candidate) -> bool:
    """Whether the length at a bar counts as read, and as this bar's."""
    bar, text = one.bar, one.text
    x0, y0, x1, y1 = text.box
    # stems of letters are no bars, and neither is every upright edge that has a text near
    least, near = (2.5, 0.5) if one.turn else (1.2, 0.25)
    return (
        text is not UNREAD
        and text.printed.value > 0
        and bar.score >= (LIKELY if one.sharp and not one.turn else _CLEAR)
        and bar.length > least * min(x1 - x0, y1 - y0)
        and text.printed.confidence >= _READ
        and text.score >= near
        and not _within(bar, text)
        and not _label_rim(one.grey, bar, text)
    )


def _stands_nearer(one: Candidate, best: Candidate) -> bool:
    """Whether a longer bar that is drawn as well stands nearer to the text than the best one."""
    if one.text is not UNREAD or not _is_drawn(one) or one.bar.length < 1.5 * best.bar.length:
        return False
    return _away(_box(one, False), best.place) < 0.7 * _away(_box(best, False), best.place) - 2


def _lies_at(one: Candidate, best: Candidate) -> bool:
    """Whether a level bar lies at the text of an upright one, at least as near."""
    if one.turn or not best.turn or one.bar.score < _LEVEL:
        return False
    x0, y0, x1, y1 = best.place
    away = _away(_box(one, False), best.place)
    long = one.bar.length > 0.8 * max(x1 - x0, y1 - y0) and not _within(one.bar, _as_it_lies(best))
    return long and away < min(x1 - x0, y1 - y0) and away <= _away(_box(best, False), best.place)


def _as_it_lies(best: Candidate) -> Found:
    """The text with its box in the picture."""
    return replace(best.text, box=best.place)


def _away(a: Box, b: Box) -> float:
    """Pixels between two boxes."""
    across = max(a[0] - b[2], b[0] - a[2], 0)
    return float(np.hypot(across, max(a[1] - b[3], b[1] - a[3], 0)))


def _worth(one: Candidate) -> float:
    """How probable the reading is, less for a bar that looks less like a drawn one."""
    return one.text.score * (0.3 + 0.7 * one.bar.score)


def _one_text(one: Candidate, other: Candidate) -> bool:
    """Whether two bars have their length from the same text."""
    a, b = one.place, other.place
    wide, tall = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    most = max((box[2] - box[0]) * (box[3] - box[1]) for box in (a, b))
    same = one.text.printed.text == other.text.printed.text
    return same and wide > 0 and tall > 0 and 2 * wide * tall > most


def _piece(best: Candidate, other: Candidate) -> bool:
    """Whether another bar lies on this one and ends elsewhere, as two pieces of one bar do."""
    a, b = best.bar, other.bar
    if other.turn != best.turn or "split" in (a.kind, b.kind) or b.score < 0.5 * a.score:
        return False
    near = max(a.top - b.bottom, b.top - a.bottom) <= 5 and abs(a.level - b.level) < 90
    common = min(a.x1, b.x1) - max(a.x0, b.x0)
    differ = abs(np.log(a.length / b.length)) > _AGREE
    return bool(near and differ and common > 0.5 * min(a.length, b.length))


def _size(one: Candidate) -> float:
    """Metres a pixel."""
    printed = one.text.printed
    return printed.value * METRES[printed.unit] / one.bar.length


def _box(one: Candidate, text: bool) -> Box:
    """Bar and text with two pixels around them, in the picture."""
    bar = one.bar
    x0, x1 = int(np.floor(bar.x0)) - 2, int(np.ceil(bar.x1)) + 3
    y0, y1 = bar.rows[0] - 2, bar.rows[1] + 3
    if text:
        a, b, c, d = one.text.box
        x0, y0, x1, y1 = min(x0, a - 2), min(y0, b - 2), max(x1, c + 2), max(y1, d + 2)
    x0, y0, x1, y1 = one.in_picture((x0, y0, x1, y1))
    return max(x0, 0), max(y0, 0), x1, y1


def _way(one: Candidate) -> str:
    return "upright bar" if one.turn else "bar"


def _proposal(one: Candidate) -> ScaleBar:
    bar, printed = one.bar, one.text.printed
    sure = round(float(min(one.text.score, 0.99)), 3)
    return ScaleBar(
        one.ends,
        float(bar.bottom - bar.top + 1),
        printed.value,
        printed.unit,
        sure,
        _box(one, True),
        bar.kind,
        f"{_way(one)} of {bar.length:.1f} px found, reads '{printed.text}' "
        f"(confidence {sure:.2f}); please confirm",
    )


def _unread(one: Candidate, why: str = "no length could be read at it") -> ScaleBar:
    bar = one.bar
    return ScaleBar(
        one.ends,
        float(bar.bottom - bar.top + 1),
        confidence=round(0.5 * bar.score, 3),
        box=_box(one, False),
        kind=bar.kind,
        note=f"{_way(one)} of {bar.length:.1f} px found, but {why}",
    )


def _longest(drawn: list[Candidate]) -> ScaleBar:
    """Propose the bar without a length that is drawn best; strokes of letters are, but short."""

    def worth(one: Candidate) -> float:
        share = one.bar.length / (0.12 * one.grey.shape[1])
        return one.bar.score * min(1.0, share)

    return _unread(max(drawn, key=worth))


def _doubtful(one: Candidate, other: Candidate) -> ScaleBar:
    return _unread(
        one,
        f"two bars disagree: {one.bar.length:.1f} px reads '{one.text.printed.text}', "
        f"{other.bar.length:.1f} px reads '{other.text.printed.text}'",
    )
