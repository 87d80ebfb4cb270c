"""The scale of a micrograph: what tags and sidecar files say, and which of them counts."""

from __future__ import annotations

import math
import re
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from particle_nb.core.errors import CalibrationError, ImageError
from particle_nb.core.image.image import METRES, Calibration

#: Two sources that differ by more than this disagree.
TOLERANCE = 0.02

#: Pixels count as square while their edges differ by less than this.
SQUARENESS = 0.01

_METRE_PER_INCH = 0.0254

#: Printers and screens; finer ones are whole hundreds. None of them measures a specimen.
_PRINT_DPI = (600, 720, 750, 800, 900, 1000, 1200, 1440, 1800, 2400, 2880, 3200, 3600, 4000, 4800)

_UNITS = {**METRES, "å": 1e-10, "angstrom": 1e-10, "inch": _METRE_PER_INCH}

_UNITS |= {"µm": 1e-6, "μm": 1e-6, "micron": 1e-6, "microns": 1e-6, "micrometer": 1e-6}

_UNITS |= {"nanometer": 1e-9, "millimeter": 1e-3, "meter": 1.0, "metre": 1.0}

_QUANTITY = re.compile(r"^\s*([+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)\s*([^\s\d]*)\s*$")


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


def calibrate(
    readings: Sequence[Reading], typed: Any = None, *, width: int | None = None, name: str = "image"
) -> Calibration | None:
    """Choose the scale: the typed one, else the first reading that has one.

    Parameters
    ----------
    readings : sequence of Reading
        Most trusted first.
    typed : str, (float, str), Calibration or None
        ``"0.31 um"``; it wins over every reading.
    width : int or None
        Columns of the picture, held against those that the instrument stored.
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
        If another source differs by more than 2 %, or the picture has another width than the one
        that the scale was made for.

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
    scaled = [reading for reading in readings if reading.x is not None]
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
    if chosen is None and scaled:
        chosen = _calibration(scaled[0], name)
        scaled = scaled[1:] if chosen is not None else []
    if chosen is None:
        return None
    metres = chosen.pixel_size * METRES[chosen.unit]
    for reading in scaled:
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
    winner = next((r for r in readings if r.source == chosen.source), None)
    if winner is not None and width is not None and winner.stored_width not in (None, width):
        warnings.warn(
            f"{name}: {winner.source} was written for {winner.stored_width} columns, but the "
            f"picture has {width}; if it was resized, give pixel_size='... um'.",
            CalibrationWarning,
            stacklevel=3,
        )
    return chosen


def _aspect(reading: Reading) -> float | None:
    if reading.x is None or reading.y is None or not reading.y:
        return None
    return reading.x / reading.y


def _calibration(reading: Reading, name: str) -> Calibration | None:
    """A reading as a Calibration in the unit that a person would write."""
    assert reading.x is not None
    unit = "nm" if reading.x < 1e-7 else "um" if reading.x < 1e-4 else "mm"
    try:
        # 12 digits drop the noise of 1e-9 / 1e-9 in binary
        return Calibration(float(f"{reading.x / METRES[unit]:.12g}"), unit, reading.source)
    except CalibrationError:
        warnings.warn(
            f"{name}: {reading.source} gives a pixel of {reading.x:g} m, which no microscope has; "
            "it is left out. Give pixel_size='... um'.",
            CalibrationWarning,
            stacklevel=4,
        )
        return None


def metres(value: Any, unit: str = "m") -> float | None:
    """Return a positive finite length in metres, or None for anything else.

    Examples
    --------
    >>> metres("26.37 nm"), metres("1e-9"), metres("n/a")
    (2.637e-08, 1e-09, None)
    """
    if isinstance(value, str):
        match = _QUANTITY.match(value.replace("\\u00B5", "µ").replace(",", "."))
        if match is None:
            return None
        value, unit = match[1], match[2] or unit
    factor = _UNITS.get(unit.strip()) or _UNITS.get(unit.strip().lower())
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
    if edges[1] is not None and abs(edges[0] / edges[1] - 1) > SQUARENESS:
        return Reading(where, edges[0], edges[1])
    dpi = _METRE_PER_INCH / edges[0]
    if dpi <= 508 or any(abs(dpi / step - 1) < 5e-4 for step in _PRINT_DPI):
        return Reading(
            where, notes=(f"{where}: {dpi:.4g} dpi is a print default and no scale; not used",)
        )
    return Reading(where, edges[0], edges[1] or edges[0])


def from_imagej(described: Mapping[str, Any], x: float, y: float) -> Reading | None:
    """Read the unit of an ImageJ description with the resolution in pixels per that unit."""
    unit = str(described.get("unit", "")).replace("\\u00B5", "µ").strip()
    if not unit or unit.lower() in ("pixel", "pixels", "px"):
        return None
    edges = [metres(1 / v, unit) if v and v > 0 else None for v in (x, y)]
    if edges[0] is None:
        return Reading(
            "ImageJ tag", notes=(f"ImageJ gives the unit {unit!r}, which is no length here",)
        )
    return Reading("ImageJ tag", edges[0], edges[1])


def from_ome(xml: str) -> Reading | None:
    """Read PhysicalSizeX and Y of OME-XML; micrometres where no unit is written.

    Only the attributes of the first Pixels element are looked at, so no XML parser runs on the
    text of a file.
    """
    element = re.search(r"<(?:\w+:)?Pixels\b[^>]*>", xml)
    if element is None:
        return None
    edges = []
    for axis in "XY":
        value = re.search(rf'\bPhysicalSize{axis}\s*=\s*"([^"]*)"', element[0])
        unit = re.search(rf'\bPhysicalSize{axis}Unit\s*=\s*"([^"]*)"', element[0])
        name = unit[1] if unit else "µm"
        name = name.replace("&#181;", "µ").replace("&#xB5;", "µ").replace("&#xb5;", "µ")
        edges.append(metres(value[1], name) if value else None)
    if edges[0] is None:
        return None
    return Reading("OME tag PhysicalSizeX", edges[0], edges[1] or edges[0])
