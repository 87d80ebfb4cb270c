"""Micrographs and their scale: `Calibration` and `Image`."""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from particle_nb.core.errors import CalibrationError, ImageError
from particle_nb.core.image.region import RegionOfInterest

#: Length of each unit in metres.
METRES = {"pm": 1e-12, "nm": 1e-9, "um": 1e-6, "mm": 1e-3, "cm": 1e-2, "m": 1.0}

_SPELLINGS = {
    "µm": "um",
    "μm": "um",
    "micron": "um",
    "microns": "um",
    "micrometer": "um",
    "micrometre": "um",
    "nanometer": "nm",
    "nanometre": "nm",
    "millimeter": "mm",
    "millimetre": "mm",
    "meter": "m",
    "metre": "m",
}

_LENGTH = re.compile(
    r"^\s*([+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?)\s*([a-zA-Zµμ]+)"
    r"(?:\s*(?:/|per\b)\s*(?:px|pixels?))?\s*$"
)


@dataclass(frozen=True)
class Calibration:
    """Edge length of one square pixel, with its unit and where it came from.

    Parameters
    ----------
    pixel_size : float
        Edge length of a pixel in `unit`; finite and positive.
    unit : str
        One of ``"nm" "um" "mm" "cm" "m" "pm"``; ``"µm"`` and ``"micron"`` are read as ``"um"``.
    source : str
        Where the number came from: a tag, a scale bar, or ``"typed"``.

    Raises
    ------
    CalibrationError
        If the size is not a finite positive number or the unit is unknown.

    Examples
    --------
    >>> Calibration(0.31, "um").to("nm")
    310.0
    """

    pixel_size: float
    unit: str
    source: str = "typed"

    def __post_init__(self) -> None:
        try:
            size = float(self.pixel_size)
        except (TypeError, ValueError):
            size = math.nan
        if isinstance(self.pixel_size, bool) or not math.isfinite(size) or size <= 0:
            raise CalibrationError(
                f"pixel_size must be a finite positive number, not {self.pixel_size!r}. "
                "Give the edge length of one pixel, e.g. Calibration(0.31, 'um')."
            )
        unit = str(self.unit).strip()
        unit = _SPELLINGS.get(unit.lower(), unit)
        if unit not in METRES:
            raise CalibrationError(
                f"unknown unit {self.unit!r} of a pixel size; use one of {', '.join(METRES)}."
            )
        if not 1e-13 <= size * METRES[unit] <= 1e-1:
            raise CalibrationError(
                f"a pixel of {size:g} {unit} is outside 0.1 pm to 10 cm; check the unit."
            )
        object.__setattr__(self, "pixel_size", size)
        object.__setattr__(self, "unit", unit)
        object.__setattr__(self, "source", str(self.source))

    @classmethod
    def parse(cls, text: str | float | tuple[float, str], source: str = "typed") -> Calibration:
        """Read a pixel size typed as ``"0.31 um"``, ``"0.31 um/px"`` or ``(0.31, "um")``.

        Raises
        ------
        CalibrationError
            If there is no number, no unit, or either is unusable.

        Examples
        --------
        >>> Calibration.parse("310 nm").to("um")
        0.31
        """
        if isinstance(text, tuple) and len(text) == 2:
            return cls(text[0], text[1], source)
        match = _LENGTH.match(text) if isinstance(text, str) else None
        if match is None:
            comma = isinstance(text, str) and _LENGTH.match(text.replace(",", "."))
            raise CalibrationError(
                f"cannot read {text!r} as a pixel size; "
                + ("write the decimal with a point" if comma else "write a number and a unit")
                + ", e.g. pixel_size='0.31 um'."
            )
        return cls(float(match[1]), match[2], source)

    def to(self, unit: str) -> float:
        """Return the pixel size in another unit (``"nm"``, ``"um"``, ...).

        Raises
        ------
        CalibrationError
            If the unit is unknown.

        Examples
        --------
        >>> Calibration(2, "nm").to("um")
        0.002
        """
        unit = _SPELLINGS.get(str(unit).lower(), unit)
        if unit not in METRES:
            raise CalibrationError(f"unknown unit {unit!r}; use one of {', '.join(METRES)}.")
        # one rounding to 12 digits keeps 0.31 um -> 310.0 nm free of binary noise
        return float(f"{self.pixel_size * METRES[self.unit] / METRES[unit]:.12g}")

    def __str__(self) -> str:
        return f"{self.pixel_size:g} {self.unit}/px ({self.source})"


def _unmasked(pixels: Any) -> np.ndarray:
    """An array; what a masked array hides becomes NaN."""
    if not isinstance(pixels, np.ma.MaskedArray):
        return np.asarray(pixels)
    hidden = np.ma.getmaskarray(pixels)
    data = np.asarray(pixels.data)
    if not hidden.any() or data.dtype.kind not in "biuf":
        return data
    if data.dtype.kind != "f":
        data = data.astype(np.float32 if data.dtype.itemsize <= 2 else np.float64)
    return np.where(hidden, np.array(np.nan, data.dtype), data)


def _unchangeable(pixels: np.ndarray) -> bool:
    """Whether neither the array nor what it is a view of can be written."""
    array: Any = pixels
    while isinstance(array, np.ndarray):
        if array.flags.writeable:
            return False
        array = array.base
    return array is None or isinstance(array, bytes)


def freeze(pixels: np.ndarray) -> None:
    """Make an array of any shape read-only, with what it is a view of; only one of your own."""
    array: Any = pixels
    while isinstance(array, np.ndarray):
        array.flags.writeable = False
        array = array.base


def _has_alpha(pixels: np.ndarray) -> bool:
    """Whether a fourth channel is transparency: the same everywhere."""
    return pixels.shape[2] == 4 and bool((pixels[..., 3] == pixels[0, 0, 3]).all())


@dataclass(frozen=True, eq=False)
class Image:
    """A micrograph: pixels, scale, and how both were obtained.

    Parameters
    ----------
    pixels : array (H, W) or (H, W, C)
        Grey values of any numeric dtype; C channels may be colours or detectors.
        It is copied, so that later changes of the array do not reach the image, unless nobody can
        change it; its bytes are turned into the machine's order. Where a masked array hides pixels
        they become NaN.
    calibration : Calibration or None
        None means that lengths are known in pixels only.
    name : str
        Shown in tables and reports.
    info : dict
        Provenance noted by the reader (file, cropped info bar, vendor, warnings).
    region : RegionOfInterest or None
        The part that is analysed; None for all of it. Proposals and the cascade keep to it, and
        `measure` does with ``region=image.region``.

    Raises
    ------
    ImageError
        If the array is empty, not numeric, not 2-D or 3-D, or has no finite value, or the region
        is of another image.

    Examples
    --------
    >>> Image(np.zeros((4, 6), np.uint8)).shape
    (4, 6)
    """

    pixels: np.ndarray
    calibration: Calibration | None = None
    name: str = ""
    info: dict[str, Any] = field(default_factory=dict)
    region: RegionOfInterest | None = None

    def __post_init__(self) -> None:
        try:
            pixels = _unmasked(self.pixels)
        except (TypeError, ValueError) as error:
            raise ImageError(f"pixels cannot be read as an array: {error}") from None
        if pixels.dtype == bool:
            pixels = pixels.astype(np.uint8) * 255
        if pixels.dtype.kind not in "iuf":  # durations count as integers among numpy's types
            raise ImageError(
                f"pixels must be real numbers, not {pixels.dtype}; pass an array of grey values."
            )
        if pixels.ndim not in (2, 3) or pixels.size == 0:
            raise ImageError(
                f"pixels must be (H, W) or (H, W, C) and not empty, but have shape {pixels.shape}; "
                "pick one page of a stack."
            )
        if pixels.ndim == 3 and pixels.shape[2] > 16:
            raise ImageError(
                f"pixels of shape {pixels.shape} have {pixels.shape[2]} channels on their last "
                "axis; channels stand last, and a stack is read page by page."
            )
        if np.issubdtype(pixels.dtype, np.floating) and not np.isfinite(pixels).any():
            raise ImageError("pixels hold no finite value (all NaN or infinite).")
        if self.calibration is not None and not isinstance(self.calibration, Calibration):
            raise CalibrationError(
                f"calibration must be a Calibration or None, not {type(self.calibration).__name__};"
                " write Calibration(0.31, 'um')."
            )
        if not isinstance(self.info, Mapping):
            raise ImageError(f"info is a dict of notes, not {type(self.info).__name__}.")
        _check_region(self.region, pixels.shape[:2])
        if not pixels.dtype.isnative:
            pixels = pixels.astype(pixels.dtype.newbyteorder("="))
        elif not _unchangeable(pixels):
            pixels = pixels.copy()
        freeze(pixels)
        object.__setattr__(self, "pixels", pixels)
        # a file name need not be text; what is not cannot be written into tables and reports
        name = str(self.name).encode("utf-8", "backslashreplace").decode("utf-8")
        object.__setattr__(self, "name", name)

    def __setstate__(self, state: dict[str, Any]) -> None:
        # arrays come out of a pickle or a deep copy writeable
        self.__dict__.update(state)
        for value in state.values():
            if isinstance(value, np.ndarray):
                value.flags.writeable = False

    def replace(self, **changes: Any) -> Image:
        """Return the same pixels with another ``calibration``, ``region``, ``name`` or ``info``.

        Nothing is copied, and what was worked out of the pixels (`grey`, `digest`) is kept.

        Raises
        ------
        ImageError
            If something else is to be changed, or the region is of another image.
        CalibrationError
            If the calibration is none.

        Examples
        --------
        >>> Image(np.zeros((4, 6))).replace(calibration=Calibration(2, "nm")).calibration.unit
        'nm'
        """
        unknown = sorted(set(changes) - {"calibration", "region", "name", "info"})
        if unknown:
            raise ImageError(f"of an image one cannot replace {', '.join(unknown)}; make another.")
        if "calibration" in changes:
            checked_calibration(changes["calibration"])
        if "region" in changes:
            _check_region(changes["region"], self.shape)
        other = object.__new__(Image)
        other.__dict__.update(self.__dict__)
        other.__dict__.update(changes)
        return other

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width in pixels."""
        return int(self.pixels.shape[0]), int(self.pixels.shape[1])

    @property
    def channels(self) -> int:
        """Number of colours or detectors; a fourth that is the same everywhere does not count."""
        pixels = self.pixels
        return 1 if pixels.ndim == 2 else int(pixels.shape[2]) - _has_alpha(pixels)

    @cached_property
    def digest(self) -> str:
        """SHA-256 of shape, dtype and grey values, 16 hex digits: the key of every cache."""
        pixels = np.ascontiguousarray(self.pixels)
        digest = hashlib.sha256(f"{pixels.shape}{pixels.dtype.str}".encode())
        digest.update(pixels.data)
        return digest.hexdigest()[:16]

    @cached_property
    def grey(self) -> np.ndarray:
        """One channel as float32 (H, W): Rec. 601 luma of three colours, else the mean of all.

        A fourth channel that is the same everywhere is transparency and does not count.
        Non-finite values are replaced by the smallest finite one.
        """
        pixels = self.pixels
        if pixels.ndim == 3 and (pixels.shape[2] == 3 or _has_alpha(pixels)):
            grey = pixels[..., :3].astype(np.float32) @ np.array([0.299, 0.587, 0.114], np.float32)
        elif pixels.ndim == 3:
            grey = pixels.mean(axis=2, dtype=np.float32)
        else:
            grey = pixels.astype(np.float32)
        if np.issubdtype(pixels.dtype, np.floating):
            finite = np.isfinite(grey)
            if not finite.all():
                grey = np.where(finite, grey, grey[finite].min() if finite.any() else 0)
        grey = np.ascontiguousarray(grey, np.float32)
        grey.flags.writeable = False
        return grey

    def to_uint8(self, percentiles: tuple[float, float] = (0.1, 99.9)) -> np.ndarray:
        """Return grey values stretched to 0..255 between two percentiles, uint8 (H, W).

        Examples
        --------
        >>> Image(np.arange(100.0).reshape(10, 10)).to_uint8().max()
        np.uint8(255)
        """
        grey = self.grey
        sample = grey[:: max(1, grey.shape[0] // 1024), :: max(1, grey.shape[1] // 1024)]
        low, high = np.percentile(sample, percentiles)
        if high <= low:
            low, high = float(grey.min()), float(grey.max())
        scale = 255.0 / (high - low) if high > low else 0.0
        return np.clip((grey - low) * scale + 0.5 * (scale > 0), 0, 255).astype(np.uint8)

    def __repr__(self) -> str:
        height, width = self.shape
        scale = self.calibration if self.calibration is not None else "no scale"
        return f"<Image {self.name!r} {width} x {height} px {self.pixels.dtype}, {scale}>"


def _check_region(region: Any, shape: tuple[int, ...]) -> None:
    if region is not None and not isinstance(region, RegionOfInterest):
        raise ImageError(f"region must be a RegionOfInterest or None, not {type(region).__name__}.")
    if region is not None and region.shape != tuple(shape):
        raise ImageError(f"the region is of an image {region.shape}, this one is {tuple(shape)}.")


def checked_calibration(calibration: Any) -> None:
    """Say so where something else than a calibration, or None, is given.

    Raises
    ------
    CalibrationError
        If so.
    """
    if calibration is not None and not isinstance(calibration, Calibration):
        raise CalibrationError(
            f"calibration must be a Calibration or None, not {type(calibration).__name__}; "
            "write Calibration(0.31, 'um') or image.calibration."
        )
