"""A scale bar that is drawn into a picture: proposed, never applied by itself."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

import numpy as np

from particle_nb.core.errors import CalibrationError
from particle_nb.core.image._bars import Bar, bars
from particle_nb.core.image._printed import Found, length_near
from particle_nb.core.image.image import METRES, Calibration, Image
from particle_nb.core.image.reading import read_pixels
from particle_nb.core.image.region import RegionPart

_READ = 0.5  # probability from which a printed length counts as read
_LIKELY = 0.15  # likeness that a bar with a printed length has at least
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
        Rows of the bar itself, without ticks.
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
    Horizontal bars are found, white or black, with or without strokes at their ends, rulers of
    dots, with the text above, below, beside or within; lengths in nm, µm and mm. A bar without a
    readable text is proposed without a length. Where two bars disagree, no length is proposed.

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
    grey = _levels(_whole(image))
    if min(grey.shape) < 24:
        return ScaleBar(None, note=f"no scale bar in {grey.shape[1]} x {grey.shape[0]} pixels")
    candidates = [(bar, length_near(grey, bar)) for bar in bars(grey)]
    read = [
        (bar, found, found.score * (0.3 + 0.7 * bar.score))
        for bar, found in candidates
        if found is not None
        and found.printed.confidence >= _READ
        and found.score >= 0.25
        and bar.score >= _LIKELY
        and not _within(bar, found)
        and not _label_rim(grey, bar, found)
    ]
    if not read:
        drawn = [bar for bar, _ in candidates if bar.score >= _DRAWN and bar.kind != "split"]
        # strokes of letters are drawn as well, but short
        drawn.sort(key=lambda bar: -bar.score * min(1.0, bar.length / (0.12 * grey.shape[1])))
        return _unread(drawn[0]) if drawn else ScaleBar(None, note="no scale bar was found")
    read.sort(key=lambda item: -item[2])
    bar, text, score = read[0]
    # a stroke beside the text is half a bar where there is another one on the other side
    whole = [one for one in read if one[0].kind == "split" and one[1].box == text.box]
    bar, text, score = whole[0] if whole else read[0]
    if not whole and _half(grey, bar, text):
        return _unread(bar, "the text stands in the middle of it and its other half is not like it")
    read = [one for one in read if one[1].box != text.box or one[0] is bar]
    for other, also, worth in read[1:]:
        size = _size(bar, text) / _size(other, also)
        if also.box != text.box and worth > 0.6 * score and abs(np.log(size)) > _AGREE:
            return _doubtful(bar, text, other, also)
    return _proposal(bar, text)


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


def _size(bar: Bar, text: Found) -> float:
    """Metres a pixel."""
    return text.printed.value * METRES[text.printed.unit] / bar.length


def _ends(bar: Bar) -> tuple[float, float, float, float]:
    middle = (bar.top + bar.bottom) / 2
    return (round(bar.x0, 2), middle, round(bar.x1, 2), middle)


def _box(bar: Bar, text: Found | None = None) -> tuple[int, int, int, int]:
    """Bar and text with two pixels around them."""
    x0, x1 = int(np.floor(bar.x0)) - 2, int(np.ceil(bar.x1)) + 3
    y0, y1 = bar.rows[0] - 2, bar.rows[1] + 3
    if text is not None:
        a, b, c, d = text.box
        x0, y0, x1, y1 = min(x0, a - 2), min(y0, b - 2), max(x1, c + 2), max(y1, d + 2)
    return max(x0, 0), max(y0, 0), x1, y1


def _proposal(bar: Bar, text: Found) -> ScaleBar:
    sure = round(float(min(text.score, 0.99)), 3)
    printed = text.printed
    return ScaleBar(
        _ends(bar),
        float(bar.bottom - bar.top + 1),
        printed.value,
        printed.unit,
        sure,
        _box(bar, text),
        bar.kind,
        f"bar of {bar.length:.1f} px found, reads '{printed.text}' (confidence {sure:.2f}); "
        "please confirm",
    )


def _unread(bar: Bar, why: str = "no length could be read at it") -> ScaleBar:
    return ScaleBar(
        _ends(bar),
        float(bar.bottom - bar.top + 1),
        confidence=round(0.5 * bar.score, 3),
        box=_box(bar),
        kind=bar.kind,
        note=f"bar of {bar.length:.1f} px found, but {why}",
    )


def _doubtful(bar: Bar, text: Found, other: Bar, also: Found) -> ScaleBar:
    return _unread(
        bar,
        f"two bars disagree: {bar.length:.1f} px reads '{text.printed.text}', "
        f"{other.length:.1f} px reads '{also.printed.text}'",
    )
