"""One page of a TIFF file: pixels, vendor tags and resolution."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import tifffile

from particle_nb.core.errors import ImageError
from particle_nb.core.image.scale import Reading, from_imagej, from_ome, resolution
from particle_nb.core.image.vendors import as_text, from_tags, vendor_tags

_UNCOMPRESSED = 1

_MIN_IS_WHITE, _PALETTE, _SEPARATED, _RGB = 0, 3, 5, 2

_SUBSAMPLED = 1  # NewSubfileType: a smaller copy of another page

# compressed bytes held while decoding; tifffile would read up to 256 MB at a time
_BUFFER = 2**24

# Olympus SIS, TVIPS and Micro-Manager: tifffile takes these tags apart
_PARSED = (33560, 37706, 51123)

Bomb = Callable[[Path, int, int, int, int], None]


def read_tiff(
    file: Path, page: int | None, refuse: Bomb
) -> tuple[np.ndarray, list[Reading], dict[str, Any], list[str]]:
    """Read one page of a TIFF file.

    Parameters
    ----------
    file : Path
    page : int or None
        None takes the only page, and refuses a stack.
    refuse : callable
        Called with file, width, height, unfolded and stored bytes before anything is decoded.

    Returns
    -------
    pixels, readings, info, notes
        pixels (H, W) or (H, W, C), contiguous.

    Raises
    ------
    ImageError
        If the file is a stack and no page is named, the page does not exist, or data are missing.
    """
    with _opened(file) as tif:
        if not len(tif.pages) or not tif.series:
            raise ImageError(f"{file.name} is a TIFF without a page; save it anew.")
        planes, channels, notes = _planes(tif, file, page)
        first = planes[0]
        height, width = int(first.imagelength), int(first.imagewidth)
        for plane in {id(plane): plane for plane in planes}.values():
            samples = int(plane.samplesperpixel)
            nbytes = height * width * samples * max(1, int(plane.bitspersample) // 8)
            refuse(file, int(plane.imagewidth), int(plane.imagelength), nbytes, _stored(plane))
            _complete(tif, plane, nbytes, file)
        if first.photometric == _SEPARATED:
            raise ImageError(f"{file.name} is CMYK, made for print; save it as grey or RGB.")
        if channels == 1 and not tif.is_imagej:
            pixels = _pixels(first, notes)
        elif channels == 1:
            pixels = _pixels(first, notes) if len(tif.pages) > 1 else _imagej(tif, page or 0)
        elif len(tif.pages) >= channels:
            pixels = np.stack([plane.asarray(buffersize=_BUFFER) for plane in planes], axis=-1)
        else:
            pixels = np.ascontiguousarray(np.moveaxis(_contiguous(tif), 0, -1))
        if pixels.ndim not in (2, 3) or pixels.shape[:2] != (height, width):
            raise ImageError(
                f"{file.name} is damaged: its tags say {height} x {width} pixels, its data have "
                f"the shape {pixels.shape}; copy it again from the microscope."
            )
        info: dict[str, Any] = {"pages": _count(tif), "makers": makers(tif)}
        if page is not None:
            info["page"] = page
        return pixels, _readings(tif, first, width), info, notes


@contextmanager
def _opened(file: Path) -> Iterator[tifffile.TiffFile]:
    """The file, without its OME description where that is too damaged to tell the pages apart."""
    with tifffile.TiffFile(file) as tif:
        try:
            whole = len(tif.series) > 0 or not tif.is_ome
        except (KeyError, ValueError, TypeError, IndexError, ZeroDivisionError):
            if not tif.is_ome:
                raise
            whole = False
        if whole:
            yield tif
            return
    with tifffile.TiffFile(file, is_ome=False) as tif:
        yield tif


def _count(tif: tifffile.TiffFile) -> int:
    """Planes of the file; ImageJ writes large stacks under one page."""
    whole = [page for page in _pages(tif) if not int(page.subfiletype) & _SUBSAMPLED]
    shape, axes = tif.series[0].shape, tif.series[0].axes
    planes = 1
    for length, axis in zip(shape, axes, strict=True):
        planes *= length if axis not in "YXS" else 1
    return max(len(whole), planes)


def _pages(tif: tifffile.TiffFile) -> list[Any]:
    return [tif.pages[i].aspage() for i in range(len(tif.pages))]


def _planes(
    tif: tifffile.TiffFile, file: Path, page: int | None
) -> tuple[list[Any], int, list[str]]:
    """The page to read, or the pages of the channels; its number of channels; notes."""
    notes: list[str] = []
    whole = [p for p in _pages(tif) if not int(p.subfiletype) & _SUBSAMPLED]
    whole = whole or _pages(tif)
    count = _count(tif)
    if page is not None:
        if not 0 <= page < count:
            raise ImageError(f"{file.name} has {count} pages, from 0 to {count - 1}; not {page}.")
        return [whole[page] if page < len(whole) else whole[0]], 1, notes
    if count == 1:
        return whole[:1], 1, notes
    series = tif.series[0]
    extra = [
        (n, a) for n, a in zip(series.shape, series.axes, strict=True) if a not in "YXS" and n > 1
    ]
    if len(extra) == 1 and extra[0][1] == "C" and extra[0][0] <= 16 and "S" not in series.axes:
        notes.append(f"{extra[0][0]} channels")
        planes = whole[: extra[0][0]] if len(whole) >= extra[0][0] else whole[:1]
        return planes, extra[0][0], notes
    areas = [int(p.imagewidth) * int(p.imagelength) for p in whole]
    if len(whole) > 1 and areas[0] >= 4 * max(areas[1:]):
        notes.append(f"{len(whole) - 1} smaller previews in the file were left out")
        return whole[:1], 1, notes
    raise ImageError(
        f"{file.name} is a stack of {count} pages; name the one to measure with page=0 to "
        f"page={count - 1}."
    )


def _stored(page: Any) -> int:
    return int(sum(int(v) for v in page.databytecounts)) or 1


def _complete(tif: tifffile.TiffFile, page: Any, nbytes: int, file: Path) -> None:
    """Refuse a page whose data lie outside the file: a copy that was cut short."""
    size = tif.filehandle.size
    ends = [int(o) + int(n) for o, n in zip(page.dataoffsets, page.databytecounts, strict=False)]
    if not ends or max(ends) > size:
        raise ImageError(
            f"{file.name} is cut short: its pixels end at byte {max(ends, default=0)}, the file "
            f"at {size}; copy it again from the microscope."
        )
    exact = int(page.bitspersample) % 8 == 0 and not page.is_tiled and not page.is_subsampled
    if page.compression == _UNCOMPRESSED and exact and sum(page.databytecounts) < nbytes:
        raise ImageError(
            f"{file.name} is cut short: {sum(page.databytecounts)} of {nbytes} bytes of pixels "
            "are there; copy it again from the microscope."
        )


def _pixels(page: Any, notes: list[str]) -> np.ndarray:
    """Pixels of a page, channels last, palettes applied, white-is-zero turned over."""
    pixels = np.asarray(page.asarray(buffersize=_BUFFER))
    if pixels.ndim == 3 and page.planarconfig == 2 and page.samplesperpixel > 1:
        pixels = np.moveaxis(pixels, 0, -1)
    elif pixels.ndim > 3:
        raise ImageError(f"a page of shape {pixels.shape} is a volume; save it as a stack of pages")
    if page.photometric == _PALETTE and page.colormap is not None and pixels.ndim == 2:
        colours = (np.asarray(page.colormap) >> 8).astype(np.uint8)
        if (colours[0] == colours[1]).all() and (colours[0] == colours[2]).all():
            pixels = colours[0][pixels]
        else:
            notes.append("colours of the palette")
            pixels = colours.T[pixels]
    elif page.photometric == _MIN_IS_WHITE and np.issubdtype(pixels.dtype, np.unsignedinteger):
        notes.append("white was stored as 0 and has been turned over")
        np.subtract(2 ** int(page.bitspersample) - 1, pixels, out=pixels, casting="unsafe")
    elif page.photometric == _MIN_IS_WHITE and pixels.dtype == bool:
        pixels = ~pixels
    if page.photometric == _RGB and pixels.ndim == 3 and pixels.shape[2] == 4:
        notes.append("the alpha channel was left out")
        pixels = pixels[..., :3]
    alpha = tuple(int(v) for v in page.extrasamples or ())
    if pixels.ndim == 3 and pixels.shape[2] == 2 and alpha in ((1,), (2,)):
        notes.append("the alpha channel was left out")
        pixels = pixels[..., 0]
    if pixels.dtype.byteorder == ">":
        pixels = pixels.astype(pixels.dtype.newbyteorder("="))
    return np.ascontiguousarray(pixels)


def _contiguous(tif: tifffile.TiffFile) -> np.ndarray:
    """All planes (N, H, W) that ImageJ wrote one behind the other under a single page."""
    series = tif.series[0]
    data = np.asarray(series.asarray())
    return data.reshape(-1, *data.shape[-2:])


def _imagej(tif: tifffile.TiffFile, plane: int) -> np.ndarray:
    """One plane; only its own bytes are read where the stack is one block."""
    series = tif.series[0]
    page = tif.pages[0].aspage()
    if _count(tif) == 1 or page.samplesperpixel > 1:
        return _pixels(page, [])
    if series.dataoffset is None:
        return _contiguous(tif)[plane]
    shape = (int(page.imagelength), int(page.imagewidth))
    dtype = np.dtype(tif.byteorder + series.dtype.char)
    count = shape[0] * shape[1]
    offset = int(series.dataoffset) + plane * count * dtype.itemsize
    if offset + count * dtype.itemsize > tif.filehandle.size:
        raise ImageError(f"the stack is cut short before page {plane}; copy it again")
    tif.filehandle.seek(offset)
    data = np.frombuffer(tif.filehandle.read(count * dtype.itemsize), dtype).reshape(shape)
    return data.astype(dtype.newbyteorder("="), copy=False)


def _readings(tif: tifffile.TiffFile, page: Any, width: int) -> list[Reading]:
    """Everything in the page that gives a scale, most trusted first."""
    # the instrument writes its tags on the first page; a stack made of them keeps them there
    first = tif.pages[0].aspage()
    tags = {}
    for code in vendor_tags():
        tag = page.tags.get(code) or first.tags.get(code)
        if tag is not None:
            tags[code] = _raw(tif, tag)
    found = from_tags(tags, width, int(page.imagelength))
    # Micro-Manager writes two descriptions into one page, OME's and ImageJ's
    texts = [as_text(value) for value in _descriptions(first)]
    for text in texts:
        if "<OME" in text[:4000] or "<OME:" in text[:4000] or ":OME" in text[:4000]:
            ome = from_ome(text)
            found += [ome] if ome else []
    x, y = (_ratio(page.tags.get(code) or first.tags.get(code)) for code in (282, 283))
    if x is None or y is None:
        return found
    tag = page.tags.get(296) or first.tags.get(296)
    written = None if tag is None else _whole_tag(tag)
    for text in texts:
        if text.lstrip().startswith("ImageJ="):
            lines = dict(line.split("=", 1) for line in text.splitlines() if "=" in line)
            lines = {key.strip(): value.strip() for key, value in lines.items()}
            # without the tag ImageJ counts per unit of its description, not per inch
            per = {2: "inch", 3: "cm"}.get(written or 1)
            imagej = from_imagej(lines, x, y, per, found)
            if imagej is not None:
                return [*found, imagej]
    unit = {2: "inch", 3: "cm"}.get(2 if written is None else written)
    if unit is not None:
        found.append(resolution(x, y, unit, "TIFF resolution"))
    return found


def _descriptions(page: Any) -> list[Any]:
    return [tag.value for tag in page.tags.getall(270, default=[])]


def _whole_tag(tag: Any) -> int | None:
    try:
        return int(tag.value)
    except (TypeError, ValueError):
        return None


def makers(tif: tifffile.TiffFile) -> str:
    """Make, Model and Software of the first page, one after another."""
    tags = tif.pages[0].aspage().tags
    found = [tags.get(code) for code in (271, 272, 305)]
    return " ".join(as_text(tag.value) for tag in found if tag is not None)


def _raw(tif: tifffile.TiffFile, tag: Any) -> Any:
    """The bytes of a tag as stored, where tifffile parses some of them and loses the rest.

    Numbers, and blocks whose parts lie elsewhere in the file, come as tifffile reads them.
    """
    if tag.code in _PARSED or int(tag.dtype) not in (1, 2, 6, 7):
        return tag.value if tag.count <= 2**20 else b""
    if tag.count > 2**26:
        return b""
    tif.filehandle.seek(tag.valueoffset)
    return bytes(tif.filehandle.read(int(tag.count)))


def _ratio(tag: Any) -> float | None:
    if tag is None:
        return None
    try:
        numerator, denominator = tag.value
        return float(numerator) / float(denominator)
    except (TypeError, ValueError, ZeroDivisionError):
        return None
