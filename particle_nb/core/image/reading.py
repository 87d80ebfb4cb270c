"""Micrograph files: pixels, scale and info bar from TIFF, PNG, JPEG and BMP."""

from __future__ import annotations

import difflib
import os
import re
import struct
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import tifffile

from particle_nb.core.errors import ImageError
from particle_nb.core.image.image import Calibration, Image, freeze
from particle_nb.core.image.infobar import find_info_bar
from particle_nb.core.image.scale import Reading, calibrate, resolution
from particle_nb.core.image.tiff import read_tiff, refuse_bomb
from particle_nb.core.image.vendors import from_sidecar, without_sidecar

_SUFFIXES = {
    "TIFF": (".tif", ".tiff", ".btf", ".tf8"),
    "PNG": (".png",),
    "JPEG": (".jpg", ".jpeg", ".jpe", ".jfif"),
    "BMP": (".bmp", ".dib"),
}

_TALLEST_BAR = 0.4  # share of the picture that a stated bar may take

# what decoders raise on damaged files; programming errors such as AttributeError stay visible
DAMAGE = (
    OSError,
    ValueError,
    KeyError,
    IndexError,
    TypeError,
    RuntimeError,
    EOFError,
    SyntaxError,
    OverflowError,
    ZeroDivisionError,
    NotImplementedError,
    MemoryError,
    struct.error,
    zlib.error,
    tifffile.TiffFileError,
)


@dataclass(frozen=True)
class Raw:
    """Pixels of a file as stored, with everything that it says about them."""

    pixels: np.ndarray
    readings: tuple[Reading, ...] = ()
    info: dict[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def read_image(
    path: str | os.PathLike[str],
    pixel_size: str | tuple[float, str] | Calibration | None = None,
    *,
    page: int | None = None,
    channel: int | None = None,
    crop_bar: bool | int = True,
) -> Image:
    """Read a micrograph with its scale and without its info bar.

    TIFF (8 to 64 bit, float, RGB, palette, planar, tiled, compressed, BigTIFF, one page of many),
    PNG, JPEG and BMP, told by their content. The scale is the typed one, else that of the vendor
    tags (Zeiss, FEI/Thermo, Phenom, TESCAN), a JEOL, Hitachi or TESCAN sidecar, OME or ImageJ
    tags, or a resolution that is no print default.

    Parameters
    ----------
    path : str or path
        The file; a sidecar is looked for beside it.
    pixel_size : str, (float, str), Calibration or None
        ``"0.31 um"``; wins over what the file says.
    page : int or None
        Page of a stack, from 0. A stack without a page is refused.
    channel : int or None
        One channel, detector or colour, from 0; None keeps all, of which `Image.grey` is the luma
        (three colours) or the mean.
    crop_bar : bool or int
        True looks for the info bar and leaves it out, False keeps it, a number is its rows.

    Returns
    -------
    Image
        pixels (H, W) or (H, W, C) in the dtype of the file; ``info`` has ``file``, ``format``,
        ``info_bar_rows``, ``info_bar_source``, ``scale_sources`` and ``notes``.

    Raises
    ------
    ImageError
        If there is no such file, it is no image, is damaged, holds no finite value, has pixels
        that are not square, or is a stack.
    CalibrationError
        If `pixel_size` cannot be read.

    Warns
    -----
    CalibrationWarning
        If two sources of the scale differ by more than 2 %.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     PIL.Image.new("L", (6, 4)).save(f"{folder}/a.png")
    ...     read_image(f"{folder}/a.png", "0.31 um")
    <Image 'a' 6 x 4 px uint8, 0.31 um/px (typed)>
    """
    bar = _checked_bar(crop_bar)
    raw = read_pixels(path, page, channel=channel)
    file, pixels = Path(path), raw.pixels
    height, width = pixels.shape[:2]
    readings = without_sidecar(
        sorted([*raw.readings, *from_sidecar(file)], key=lambda reading: reading.rank),
        raw.info.get("makers", ()),
    )
    calibration = calibrate(readings, pixel_size, width=width, height=height, name=file.name)
    rows, source = (bar, "given") if bar is not None else _info_bar(pixels, readings)
    if rows >= height:
        raise ImageError(f"{file.name}: an info bar of {rows} rows leaves nothing of {height}.")
    notes = [*raw.notes, *(note for reading in readings for note in reading.notes)]
    info = {
        "file": file.name,
        **{key: value for key, value in raw.info.items() if key != "makers"},
        "info_bar_rows": rows,
        "info_bar_source": source if rows else "",
        "scale_sources": [r.source for r in readings if r.x is not None],
        "notes": notes,
    }
    freeze(pixels)  # nobody else has it, so `Image` need not copy it
    try:
        return Image(pixels[: height - rows] if rows else pixels, calibration, file.stem, info)
    except ImageError as error:
        raise ImageError(f"{file.name}: {error}") from None


def read_pixels(
    path: str | os.PathLike[str],
    page: int | None = None,
    *,
    channel: int | None = None,
    stored: bool = False,
) -> Raw:
    """Read the pixels of an image file with what the file says of them; nothing is cropped.

    Parameters
    ----------
    path : str or path
    page, channel : int or None
        As in `read_image`.
    stored : bool
        The numbers as stored, for label images: colour tables are not applied and white is not
        turned over.

    Raises
    ------
    ImageError
        As `read_image`.
    """
    file = checked_path(path)
    for name, value in (("page", page), ("channel", channel)):
        if value is not None and (
            isinstance(value, bool) or not isinstance(value, (int, np.integer))
        ):
            raise ImageError(f"{name} is a whole number from 0, not {value!r}.")
    page = None if page is None else int(page)
    channel = None if channel is None else int(channel)
    kind = _kind(file)
    notes: tuple[str, ...] = ()
    if file.suffix.lower() not in _SUFFIXES[kind]:
        notes = (f"the file is named {file.suffix or 'without a suffix'} but holds {kind}",)
    with _named(file):
        if kind == "TIFF":
            pixels, readings, info, said = read_tiff(file, page, channel=channel, stored=stored)
            raw = Raw(pixels, tuple(readings), info, tuple(said))
        else:
            raw = _read_pillow(file, kind, page, stored)
            if channel is not None:
                raw = _one_of(raw, channel, file)
    return replace(raw, info={"format": kind, **raw.info}, notes=notes + raw.notes)


def _one_of(raw: Raw, channel: int, file: Path) -> Raw:
    """One channel of a colour picture."""
    count = raw.pixels.shape[2] if raw.pixels.ndim == 3 else 1
    if not 0 <= channel < count:
        raise ImageError(
            f"{file.name} has {count} channel{'s' if count > 1 else ''}, from 0 to {count - 1}; "
            f"not {channel}."
        )
    pixels = raw.pixels if raw.pixels.ndim == 2 else np.ascontiguousarray(raw.pixels[..., channel])
    return replace(raw, pixels=pixels, notes=(*raw.notes, f"channel {channel} of {count}"))


@contextmanager
def _named(file: Path) -> Iterator[None]:
    """Turn what a decoder raises on a damaged file into an `ImageError` that names the file."""
    try:
        yield
    except ImageError as error:
        text = str(error)
        raise ImageError(text if file.name in text else f"{file.name}: {text}") from None
    except PIL.Image.DecompressionBombError as error:
        raise ImageError(f"{file.name}: too many pixels ({error}); save it as TIFF.") from None
    except MemoryError:
        raise ImageError(f"{file.name} does not fit into memory; crop or split it.") from None
    except PermissionError:
        raise ImageError(f"{file}: no permission to read it; ask for access or copy it.") from None
    except ImportError as error:
        raise ImageError(
            f"{file.name} is compressed in a way that needs imagecodecs ({error}); "
            "run: pip install imagecodecs"
        ) from None
    except DAMAGE as error:
        raise ImageError(
            f"{file.name} is damaged or cut short ({type(error).__name__}: {error}); "
            "copy it again from the microscope, or save it anew."
        ) from None


def checked_path(path: Any) -> Path:
    """Return the path of a readable, non-empty file.

    Raises
    ------
    ImageError
        If it is no path, missing (near names are suggested), a folder, or empty.
    """
    if not isinstance(path, (str, os.PathLike)) or isinstance(os.fspath(path), bytes):
        raise ImageError(
            f"one file is named by a str or a path, not {type(path).__name__}; "
            "for an array write Image(pixels), for several files read one after another."
        )
    file = Path(path)
    if re.match(r"[a-zA-Z][a-zA-Z+.-]+://", str(path)):
        raise ImageError(f"{str(path)[:200]} is an address; download the file and name that.")
    try:
        if file.is_dir():
            raise ImageError(f"{file} is a folder; name one image file in it.")
        if not file.exists():
            raise ImageError(f"{str(file)[-300:]} does not exist{_near(file)}")
        size = file.stat().st_size
    except (OSError, ValueError) as error:  # ValueError is also what ImageError is
        if isinstance(error, ImageError):
            raise
        if isinstance(error, PermissionError):
            raise ImageError(f"{file}: no permission to look at it.") from None
        raise ImageError(f"{str(file)[:200]!r} is no usable file name: {error}") from None
    if not file.is_file():
        raise ImageError(f"{file} is no regular file; name an image file.")
    if size == 0:
        raise ImageError(f"{file} is empty (0 bytes); copy it again from the microscope.")
    return file


def _near(file: Path) -> str:
    try:
        names = os.listdir(file.parent)
    except OSError:
        return f": there is no folder {file.parent}."
    by_lower = {name.lower(): name for name in names}
    near = difflib.get_close_matches(file.name.lower(), by_lower, n=3, cutoff=0.6)
    if not near:
        return f" in {file.parent.resolve()}; check the name and the working directory."
    return "; did you mean " + " or ".join(repr(by_lower[name]) for name in near) + "?"


def _kind(file: Path) -> str:
    """The format by the first bytes."""
    try:
        with open(file, "rb") as stream:
            head = stream.read(16)
    except PermissionError:
        raise ImageError(f"{file}: no permission to read it; ask for access or copy it.") from None
    except OSError as error:
        raise ImageError(f"{file} cannot be read: {error}") from None
    if head[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"):
        return "TIFF"
    if head.startswith(b"\x89PNG\r\n\x1a\n"):
        return "PNG"
    if head.startswith(b"\xff\xd8\xff"):
        return "JPEG"
    if head.startswith(b"BM"):
        return "BMP"
    raise ImageError(
        f"{file.name} is no TIFF, PNG, JPEG or BMP (it begins with {head[:8]!r}); "
        "open it in the microscope's software or Fiji and save it as TIFF."
    )


def _read_pillow(file: Path, kind: str, page: int | None, stored: bool = False) -> Raw:
    if page not in (None, 0):
        raise ImageError(f"{file.name} is {kind} and has one page; leave page out.")
    notes: list[str] = []
    with warnings.catch_warnings():
        # refuse_bomb has its own limit; Pillow's warning for 89 megapixels would alarm for nothing
        warnings.simplefilter("ignore", PIL.Image.DecompressionBombWarning)
        with PIL.Image.open(file, formats=[kind]) as picture:
            width, height = picture.size
            channels = {"RGBA": 4, "RGB": 3, "CMYK": 4, "YCbCr": 3, "P": 3}.get(picture.mode, 2)
            refuse_bomb(file, width, height, width * height * channels, file.stat().st_size)
            readings = _pillow_resolution(picture, kind)
            if picture.getexif().get(0x0112, 1) != 1:
                notes.append("the camera turned the picture (EXIF orientation); read as stored")
            pixels = _deep_png(file, kind)
            if pixels is None:
                index = stored and picture.mode in ("P", "1")
                pixels = np.array(picture) if index else _pillow_pixels(picture, notes)
    if pixels.ndim == 3 and pixels.shape[2] in (2, 4):
        notes.append("the alpha channel was left out")
        pixels = np.ascontiguousarray(pixels[..., :-1])
    if pixels.ndim == 3 and pixels.shape[2] == 1:
        pixels = pixels[..., 0]
    return Raw(pixels, tuple(readings), {}, tuple(notes))


def _pillow_pixels(picture: PIL.Image.Image, notes: list[str]) -> np.ndarray:
    if picture.mode == "P":
        colours = "RGBA" if "transparency" in picture.info else "RGB"
        pixels = np.asarray(picture.convert(colours))[..., :3]
        if (pixels[..., :1] == pixels[..., 1:]).all():
            return np.ascontiguousarray(pixels[..., 0])  # a palette of greys
        notes.append("colours of the palette")
        return np.ascontiguousarray(pixels)
    if picture.mode in ("CMYK", "YCbCr", "LAB", "HSV"):
        notes.append(f"{picture.mode} was converted to RGB")
        return np.asarray(picture.convert("RGB"))
    if picture.mode == "1":
        return np.asarray(picture.convert("L"))
    pixels = np.asarray(picture)
    # Pillow gives 16-bit grey as int32 in some versions
    if pixels.dtype == np.int32 and pixels.size and pixels.min() >= 0 and pixels.max() < 2**16:
        pixels = pixels.astype(np.uint16)
    return pixels


def _deep_png(file: Path, kind: str) -> np.ndarray | None:
    """Colour PNG of 16 bits, which Pillow would cut to 8; None for every other file."""
    if kind != "PNG":
        return None
    with open(file, "rb") as stream:
        head = stream.read(26)
    if len(head) < 26 or head[24] != 16 or head[25] not in (2, 4, 6):
        return None
    import imagecodecs

    return np.asarray(imagecodecs.png_decode(file.read_bytes()))


def _pillow_resolution(picture: PIL.Image.Image, kind: str) -> list[Reading]:
    dpi = picture.info.get("dpi")
    if not isinstance(dpi, tuple) or len(dpi) != 2 or picture.info.get("jfif_unit") == 0:
        return []
    try:
        x, y = float(dpi[0]), float(dpi[1])
    except (TypeError, ValueError, ZeroDivisionError):
        return []
    return [resolution(x, y, "inch", f"{kind} resolution")]


def _checked_bar(crop_bar: bool | int) -> int | None:
    """Rows given by the caller, 0 to keep all, None to look."""
    if isinstance(crop_bar, (bool, np.bool_)):
        return None if crop_bar else 0
    if not isinstance(crop_bar, (int, np.integer)) or crop_bar < 0:
        raise ImageError(f"crop_bar is True, False or a number of rows, not {crop_bar!r}.")
    return int(crop_bar)


def _info_bar(pixels: np.ndarray, readings: list[Reading]) -> tuple[int, str]:
    """Rows of the info bar and who says so: the instrument, or else the look of the picture."""
    height, width = pixels.shape[:2]
    for reading in readings:
        if reading.stored_width not in (None, width):
            continue  # resized or cut since: its rows are not those of this picture
        rows = None if reading.specimen_rows is None else height - reading.specimen_rows
        if rows is not None and 0 < rows <= _TALLEST_BAR * height:
            return rows, reading.source
        if rows == 0 and reading.specimen_only:
            return 0, reading.source
        stated = reading.bar_rows
        if stated is not None and reading.stored_width is None and stated <= _TALLEST_BAR * height:
            return stated, reading.source
    rows = find_info_bar(pixels)
    return rows, "seen"
