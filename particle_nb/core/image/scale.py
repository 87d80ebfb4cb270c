"""The scale of a micrograph: what tags and sidecar files say, and which of them counts."""

from __future__ import annotations

import html
import math
import re
import unicodedata
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from particle_nb.core.errors import CalibrationError, ImageError
from particle_nb.core.image.image import METRES, Calibration

#: Two sources that differ by more than this disagree.
TOLERANCE = 0.02

#: Pixels count as square while their edges differ by less than this.
SQUARENESS = 0.01

_METRE_PER_INCH = 0.0254

# a picture with its info bar has at most so many times the rows of its specimen
_BAR_AND_ALL = 1.13

#: Printers and screens; finer ones are whole hundreds. None of them measures a specimen.
_PRINT_DPI = (600, 720, 750, 800, 900, 1000, 1200, 1440, 1800, 2400, 2880, 3200, 3600, 4000, 4800)

#: Steps of screens and printers below 508 dpi; others there may be a scale in other words.
_COMMON_DPI = (72, 75, 80, 90, 92, 96, 100, 120, 144, 150, 180, 192, 200, 203, 220, 240, 250, 254,
               256, 300, 320, 350, 360, 400, 450, 480, 500, 508)  # fmt: skip

#: Above 508 dpi and up to this one scanners and imagesetters have resolutions, and lenses too.
_SCANNER_DPI = 10_000

#: Pixels that microscopes have, in metres.
_USUAL = (5e-12, 2e-4)

#: How far sources count, the lowest first: the tags of an instrument, the file that it leaves
#: beside the picture, a description by other software, a bare resolution.
RANKS = {"tag": 10, "sidecar": 20, "description": 30, "resolution": 40}

# one spelling a unit, in lower case and without the plural; symbols that change their meaning with
# the case stand in _SYMBOLS
_UNITS = {
    "picometer": 1e-12,
    "angstrom": 1e-10,
    "ångström": 1e-10,
    "ångstrom": 1e-10,
    "nanometer": 1e-9,
    "micron": 1e-6,
    "micrometer": 1e-6,
    "mikrometer": 1e-6,
    "millimeter": 1e-3,
    "centimeter": 1e-2,
    "zentimeter": 1e-2,
    "inch": _METRE_PER_INCH,
    "inche": _METRE_PER_INCH,
    "meter": 1.0,
}

_SYMBOLS = {**METRES, "μm": 1e-6, "μ": 1e-6, "Å": 1e-10, "å": 1e-10, "in": _METRE_PER_INCH}

# capitals that software writes although they mean something else or nothing
_SYMBOLS |= {"UM": 1e-6, "Um": 1e-6, "uM": 1e-6, "NM": 1e-9, "Nm": 1e-9, "MM": 1e-3, "CM": 1e-2}

_SYMBOLS |= {"μM": 1e-6, "ΜM": 1e-6, "IN": _METRE_PER_INCH, "PM": 1e-12}

_QUANTITY = re.compile(r"^([+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)\s{0,99}([^\s\d]*)$")


class CalibrationWarning(UserWarning):
    """Two sources of a scale disagree, or the scale may not belong to these pixels."""


@dataclass(frozen=True)
class Reading:
    """What one source says about the scale and about the rows that show the specimen.

    Parameters
    ----------
    source : str
        Named in `Calibration.source`, e.g. ``"Zeiss tag AP_IMAGE_PIXEL_SIZE"``.
    x, y : float or None
        Edge lengths of a pixel in metres; None where the source gives no scale.
    specimen_rows : int or None
        Rows of specimen that the instrument stored for `stored_width` columns.
    bar_rows : int or None
        Rows of the info bar, where the source states them.
    stored_width : int or None
        Columns that the instrument stored; another width means that the picture was resized.
    notes : tuple of str
        What a person should know, e.g. that a print resolution is no scale.
    guess : str
        What was assumed to get the scale; it is warned about and stands in the source.
    rank : int
        One of `RANKS`: of two readings the one of the lower rank gives the scale.
    specimen_only : bool
        Whether `specimen_rows` never counts a bar, so that as many rows as the picture has mean
        that it has none.
    lost : bool
        Whether a scale was there but cannot be told any more; that is warned about.

    Examples
    --------
    >>> Reading("FEI tag PixelWidth", 1e-9, 1e-9).x
    1e-09
    """

    source: str
    x: float | None = None
    y: float | None = None
    specimen_rows: int | None = None
    bar_rows: int | None = None
    stored_width: int | None = None
    notes: tuple[str, ...] = field(default_factory=tuple)
    guess: str = ""
    rank: int = RANKS["resolution"]
    specimen_only: bool = False
    lost: bool = False


def calibrate(
    readings: Sequence[Reading],
    typed: Any = None,
    *,
    width: int | None = None,
    height: int | None = None,
    name: str = "image",
) -> Calibration | None:
    """Choose the scale: the typed one, else that of the reading with the lowest rank.

    A picture that has as many rows for its columns as the instrument stored, but other ones, was
    resampled: the pixel of the tag is multiplied by the ratio, and a warning says so.

    Parameters
    ----------
    readings : sequence of Reading
        Those of equal rank with the most trusted first.
    typed : str, (float, str), Calibration or None
        ``"0.31 um"``; it wins over every reading.
    width, height : int or None
        Of the picture, held against what the instrument stored.
    name : str
        Named in warnings and errors.

    Raises
    ------
    CalibrationError
        If the typed size cannot be read.
    ImageError
        If the chosen source has pixels that are not square by more than 1 %.

    Warns
    -----
    CalibrationWarning
        If another source differs by more than 2 %, the scale had to be guessed, or the picture has
        another width than the one that the scale was made for.

    Examples
    --------
    >>> calibrate([Reading("FEI tag PixelWidth", 2e-9, 2e-9)])
    Calibration(pixel_size=2.0, unit='nm', source='FEI tag PixelWidth')
    """
    if typed is None:
        chosen = None
    elif isinstance(typed, Calibration):
        chosen = typed
    else:
        chosen = Calibration.parse(typed)
    readings = sorted(readings, key=lambda reading: reading.rank)
    for reading in readings if chosen is None else ():
        aspect = _aspect(reading)
        if aspect is not None and abs(aspect - 1) > SQUARENESS:
            raise ImageError(
                f"{name}: {reading.source} says that pixels are not square "
                f"(width / height = {aspect:.4g}); resample the image to square pixels, or give "
                "pixel_size='... um' if the tag is wrong."
            )
        if reading.x is not None:
            break
    fitted = [_fitted(reading, width, height) for reading in readings if reading.x is not None]
    lost = next((reading for reading in readings if reading.lost), None)
    if chosen is None and not fitted and lost is not None:
        warnings.warn(
            f"{name} has no scale: {lost.notes[0]}. Give pixel_size='... um'.",
            CalibrationWarning,
            stacklevel=3,
        )
    winner = None
    while chosen is None and fitted:
        # a scale that no microscope has is left out with a warning, and the next one counts
        chosen, winner = _calibration(fitted[0], name), fitted[0]
        fitted = fitted[1:]
    if chosen is None:
        return None
    metres = chosen.pixel_size * METRES[chosen.unit]
    if winner is not None and winner.guess:
        warnings.warn(
            f"{name}: the scale is {chosen}; give pixel_size='... um' if that is wrong.",
            CalibrationWarning,
            stacklevel=3,
        )
    for reading in fitted:
        assert reading.x is not None
        ratio = reading.x / metres
        if abs(ratio - 1) > TOLERANCE:
            other = _calibration(reading, name)
            warnings.warn(
                f"{name}: the scale is given twice and differs by {abs(ratio - 1):.1%}: "
                f"{chosen} is used, {other} is not; check which one is right.",
                CalibrationWarning,
                stacklevel=3,
            )
    stored = None if winner is None else winner.stored_width
    if winner is not None and stored and width is not None and stored != width:
        what = "" if winner.guess else "; if it was resized, give pixel_size='... um'"
        warnings.warn(
            f"{name}: {winner.source} was written for {stored} columns, but the picture has "
            f"{width}{what}.",
            CalibrationWarning,
            stacklevel=3,
        )
    return chosen


def _fitted(reading: Reading, width: int | None, height: int | None) -> Reading:
    """The reading for a picture that was resampled whole; any other one as it is.

    A picture cut to a part keeps its pixels. One that is wider than what was stored, or has the
    same shape with or without its bar, was resampled.
    """
    stored = reading.stored_width
    if not stored or not width or stored == width or reading.x is None:
        return reading
    ratio = width / stored
    same = ratio > 1
    if height and reading.specimen_rows:
        low = high = reading.specimen_rows * ratio
        if reading.bar_rows is None:
            high *= _BAR_AND_ALL  # a bar that the source does not count
        else:
            low, high = low - reading.bar_rows * ratio, high + reading.bar_rows * ratio
        slack = max(1.0, ratio)
        same = low - slack <= height <= high + slack
    if not same:
        return reading
    y = None if reading.y is None else reading.y / ratio
    guess = f"resampled from {stored} to {width} columns, the pixel {1 / ratio:.4g} times as large"
    return replace(reading, x=reading.x / ratio, y=y, guess=guess)


def _aspect(reading: Reading) -> float | None:
    if reading.x is None or reading.y is None or not reading.y:
        return None
    return reading.x / reading.y


def _calibration(reading: Reading, name: str) -> Calibration | None:
    """A reading as a Calibration in the unit that a person would write."""
    assert reading.x is not None
    unit = "nm" if reading.x < 1e-7 else "um" if reading.x < 1e-4 else "mm"
    source = f"{reading.source}, guessed: {reading.guess}" if reading.guess else reading.source
    try:
        # 12 digits drop the noise of 1e-9 / 1e-9 in binary
        return Calibration(float(f"{reading.x / METRES[unit]:.12g}"), unit, source)
    except CalibrationError:
        warnings.warn(
            f"{name}: {reading.source} gives a pixel of {reading.x:g} m, which no microscope has; "
            "it is left out. Give pixel_size='... um'.",
            CalibrationWarning,
            stacklevel=4,
        )
        return None


def unit_metres(text: str) -> float | None:
    """Return the metres of a unit of length by symbol or word, or None for anything else.

    Escapes of Java and XML, both letters for micro, quotes, plurals and British spelling are read;
    ``Mm`` and other symbols whose capital changes the meaning are not taken for millimetres.

    Examples
    --------
    >>> unit_metres("\\u00B5m"), unit_metres("Microns"), unit_metres("pixels")
    (1e-06, 1e-06, None)
    """
    text = re.sub(r"\\u([0-9a-fA-F]{4})", lambda found: chr(int(found[1], 16)), text[:80])
    # both micro signs become one letter, and so do both Angstrom signs
    text = unicodedata.normalize("NFKC", html.unescape(text)).strip().strip("'\"").strip()
    if text in _SYMBOLS:
        return _SYMBOLS[text]
    word = text.lower().rstrip(".").replace("metre", "meter")
    return _UNITS.get(word) or _UNITS.get(word.removesuffix("s"))


def metres(value: Any, unit: str = "m") -> float | None:
    """Return a positive finite length in metres, or None for anything else.

    Examples
    --------
    >>> metres("26.37 nm"), metres("1e-9"), metres("n/a")
    (2.637e-08, 1e-09, None)
    """
    if isinstance(value, str):
        match = _QUANTITY.match(value[:99].replace("\\u00B5", "µ").replace(",", ".").strip())
        if match is None:
            return None
        value, unit = match[1], match[2] or unit
    factor = unit_metres(unit) if unit.strip() else None
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    if factor is None or not math.isfinite(number) or number <= 0:
        return None
    return float(f"{number * factor:.12g}")


def ini(text: str) -> dict[str, str]:
    """Return ``section.key`` -> value of INI text, in lower case; keys before a section have none.

    Examples
    --------
    >>> ini("[Main]\\nPixelSizeX=1e-9")
    {'main.pixelsizex': '1e-9'}
    """
    found: dict[str, str] = {}
    section = ""
    for line in text.splitlines():
        line = line.strip().strip("\x00")
        if line.startswith("[") and line.endswith("]"):
            section = line[1:-1].strip().lower() + "."
        elif "=" in line:
            key, value = line.split("=", 1)
            found.setdefault(section + key.strip().lower(), value.strip())
    return found


def whole(value: Any) -> int | None:
    """Return a whole number of 0 or more, or None for anything else.

    Examples
    --------
    >>> whole("884"), whole("n/a")
    (884, None)
    """
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return int(number) if math.isfinite(number) and number >= 0 else None


def resolution(x: float, y: float, unit: str, where: str) -> Reading:
    """Read a resolution in pixels per ``"inch"``, ``"cm"`` or ``"m"``; print defaults are no scale.

    72, 96, 300 dpi and their like describe a page, not a specimen: up to 508 dpi (50 um a pixel)
    everything does, above it the usual steps of printers and scanners.

    Examples
    --------
    >>> resolution(72, 72, "inch", "TIFF resolution").x is None
    True
    >>> resolution(50000, 50000, "cm", "TIFF resolution").x
    2e-07
    """
    edges = [metres(1 / v, unit) if v and math.isfinite(v) and v > 0 else None for v in (x, y)]
    if edges[0] is None:
        return Reading(where)
    dpi = _METRE_PER_INCH / edges[0]
    if edges[1] is not None and abs(edges[0] / edges[1] - 1) > SQUARENESS:
        if max(dpi, _METRE_PER_INCH / edges[1]) <= 508:
            return Reading(where, notes=(f"{where}: a print resolution and no scale; not used",))
        return Reading(where, edges[0], edges[1])
    if dpi <= 508 or _is_step(dpi, _PRINT_DPI):
        return Reading(
            where, notes=(f"{where}: {dpi:.4g} dpi is a print default and no scale; not used",)
        )
    guess = f"{dpi:.4g} dpi may also be that of a scanner" if dpi <= _SCANNER_DPI else ""
    return Reading(where, edges[0], edges[1] or edges[0], guess=guess)


def _is_step(dpi: float, steps: Sequence[int]) -> bool:
    return any(abs(dpi / step - 1) < 5e-4 for step in steps)


def from_imagej(
    described: Mapping[str, Any],
    x: float,
    y: float,
    per: str | None = None,
    others: Sequence[Reading] = (),
) -> Reading | None:
    """Read the unit of an ImageJ description with the resolution of the file.

    ImageJ itself counts pixels per unit of the description and writes no unit of resolution, or the
    same one. Other programs (Micro-Manager, Bio-Formats, acquisition software) count them per
    centimetre or inch, as the tag says, and give the unit of the description beside it. Which of
    the two was meant is told by another source that agrees, by ImageJ's own rule (``um`` beside
    cm), or by the one of them that a microscope can have; the last is a guess and says so.

    Parameters
    ----------
    described : mapping
        The lines of the description, with ``unit``, perhaps ``yunit``.
    x, y : float
        Pixels per unit.
    per : "inch", "cm" or None
        Unit of resolution of the file; None for none.
    others : sequence of Reading
        What other sources say.
    """
    unit = str(described.get("unit", "")).strip().strip("'\"")
    if not unit or unit.lower() in ("pixel", "pixels", "px"):
        return None
    name, factor = "ImageJ tag", unit_metres(unit)
    if factor is None:
        return Reading(
            name,
            notes=(f"ImageJ gives the unit {unit!r}, which is no length here",),
            rank=RANKS["description"],
        )
    down = str(described.get("yunit", "")).strip().strip("'\"")
    lengths = (factor, (unit_metres(down) if down else None) or factor)
    edges = [
        f / v if v and math.isfinite(v) and v > 0 else None
        for f, v in zip(lengths, (x, y), strict=True)
    ]
    if edges[0] is None:
        return Reading(name, rank=RANKS["description"])
    plain = Reading(name, _rounded(edges[0]), _rounded(edges[1]), rank=RANKS["description"])
    tag = unit_metres(per) if per else None
    if tag is None or abs(tag / factor - 1) < 1e-9:
        return plain
    edges = [tag / v if v and math.isfinite(v) and v > 0 else None for v in (x, y)]
    of_tag = replace(plain, x=_rounded(edges[0]), y=_rounded(edges[1]))
    assert plain.x is not None
    assert of_tag.x is not None
    known = [reading.x for reading in others if reading.x is not None]
    for candidate in (of_tag, plain):
        assert candidate.x is not None
        if any(abs(candidate.x / x - 1) <= TOLERANCE for x in known):
            return candidate
    said = f"the description counts in {unit}, the resolution is per {per}"
    dpi = _METRE_PER_INCH / of_tag.x
    if _is_step(dpi, (*_COMMON_DPI, *_PRINT_DPI)):
        return Reading(
            name,
            notes=(
                f"{name}: {said} and {dpi:.4g} dpi, a print default: a program that saved the "
                f"picture anew lost the scale, or a pixel has {plain.x:.4g} m; not used",
            ),
            rank=RANKS["description"],
            lost=True,
        )
    usual = [_USUAL[0] <= edge <= _USUAL[1] for edge in (plain.x, of_tag.x)]
    if usual == [True, False]:
        return replace(plain, guess=f"{said}; pixels per {unit} taken")
    if usual == [True, True] and not (per == "cm" and factor == _SYMBOLS["um"]):
        return replace(of_tag, guess=f"{said}; pixels per {per} taken, as the tag says")
    return of_tag


def _rounded(edge: float | None) -> float | None:
    return None if edge is None else float(f"{edge:.12g}")


def from_ome(xml: str) -> Reading | None:
    """Read PhysicalSizeX and Y of OME-XML; micrometres where no unit is written.

    Only the attributes of the Pixels elements are looked at, so no XML parser runs on the text of
    a file. Where several images of one file differ, the first counts and that is a guess.
    """
    found: list[tuple[float | None, float | None]] = []
    notes: list[str] = []
    for element in _pixels_elements(xml):
        edges: list[float | None] = []
        for axis in "XY":
            value = _xml_attribute(element, f"PhysicalSize{axis}")
            name = _xml_attribute(element, f"PhysicalSize{axis}Unit")
            # the schema's own default, where nothing is written
            unit = "um" if name is None else name
            edges.append(metres(value, unit) if value else None)
            if value and edges[-1] is None and unit_metres(unit) is None:
                notes.append(f"OME gives PhysicalSize{axis} in {unit!r}, which is no length here")
        found.append((edges[0], edges[1] or edges[0]))
    if not found:
        return None
    rank = RANKS["description"]
    if found[0][0] is None:
        return Reading("OME tag PhysicalSizeX", notes=tuple(notes), rank=rank) if notes else None
    x, y = found[0]
    assert x is not None
    differ = any(other and abs(other / x - 1) > TOLERANCE for other, _ in found[1:])
    guess = "the first of several images in the OME description, whose scales differ"
    return Reading("OME tag PhysicalSizeX", x, y, guess=guess if differ else "", rank=rank)


def _pixels_elements(xml: str) -> list[str]:
    """Start tags of the Pixels elements, each search going forwards only."""
    found: list[str] = []
    place = 0
    while len(found) < 1000 and (place := xml.find("Pixels", place)) >= 0:
        start, place = place, place + 6
        # <Pixels or <OME:Pixels, not </Pixels or PixelsBin
        before = xml[max(start - 40, 0) : start]
        opened = before.rfind("<")
        prefix = before[opened + 1 :]
        if opened < 0 or not re.fullmatch(r"(\w+:)?", prefix) or xml[place : place + 1].isalnum():
            continue
        end = xml.find(">", place)
        if end < 0:
            break
        found.append(xml[place:end])
        place = end
    return found


def _xml_attribute(element: str, name: str) -> str | None:
    """Value of an attribute in either kind of quotes, None where it is not there."""
    match = re.search(rf"""(?<![\w:.-]){name}\s{{0,9}}=\s{{0,9}}(?:"([^"]*)"|'([^']*)')""", element)
    return None if match is None else html.unescape(match[1] or match[2] or "").strip()
