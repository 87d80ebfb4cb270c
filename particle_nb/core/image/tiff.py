"""One page of a TIFF file: pixels, vendor tags and resolution."""

from __future__ import annotations

import math
from collections.abc import Iterator
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
_YCBCR, _CIELAB, _ICCLAB = 6, 8, 9
_JPEG = (6, 7, 33007, 34892)  # whose decoder gives RGB
_RAW = {32803: "a sensor mosaic", 34892: "a raw sensor image", 32844: "LogL", 32845: "LogLuv"}

_SUBSAMPLED = 1  # NewSubfileType: a smaller copy of another page

# so many pages are taken of any file; of more, each must have at least so many bytes
_MANY_PAGES, _LEAST_PAGE = 500, 4096

# compressed bytes held while decoding; tifffile would read up to 256 MB at a time
_BUFFER = 2**24

# Olympus SIS, TVIPS and Micro-Manager: tifffile takes these tags apart
_PARSED = (33560, 37706, 51123)

#: Larger pictures than this are refused: 46,340 x 46,340 pixels.
MAX_PIXELS = 2**31

# a small file that claims to unfold to more than this many times its size is a bomb, not a picture
_BOMB_RATIO, _BOMB_BYTES = 26, 2**28


def read_tiff(
    file: Path, page: int | None, *, channel: int | None = None, stored: bool = False
) -> tuple[np.ndarray, list[Reading], dict[str, Any], list[str]]:
    """Read one page of a TIFF file.

    Parameters
    ----------
    file : Path
    page : int or None
        None takes the only page, and refuses a stack.
    channel : int or None
        One channel, from 0, instead of all.
    stored : bool
        The numbers as stored: no colour table is applied and white is not turned over.

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
        planes, channels, notes, count = _planes(tif, file, page)
        first = planes[0]
        height, width = int(first.imagelength), int(first.imagewidth)
        for plane in {id(plane): plane for plane in planes}.values():
            samples = int(plane.samplesperpixel)
            nbytes = height * width * samples * max(1, int(plane.bitspersample) // 8)
            size = int(plane.imagewidth), int(plane.imagelength)
            refuse_bomb(file, *size, nbytes, _stored(plane))
            _complete(tif, plane, nbytes, file)
        if first.photometric == _SEPARATED:
            raise ImageError(f"{file.name} is CMYK, made for print; save it as grey or RGB.")
        if int(first.photometric) in _RAW:
            raise ImageError(
                f"{file.name} is {_RAW[int(first.photometric)]}; develop it and save grey or RGB."
            )
        if channels == 1:
            stack = tif.is_imagej and len(tif.pages) == 1 and count > 1
            pixels = _imagej(tif, page or 0) if stack else _decoded(first)
        elif len(tif.pages) >= channels:
            pixels = np.stack([_decoded(plane) for plane in planes], axis=-1)
        else:
            pixels = np.moveaxis(_contiguous(tif), 0, -1)
        if channel is not None:
            pixels = _one_channel(pixels, channel, file, notes)
        if not stored:
            pixels = _shown(pixels, first, notes, alone=channel is not None)
        pixels = np.ascontiguousarray(pixels, pixels.dtype.newbyteorder("="))
        if pixels.ndim not in (2, 3) or pixels.shape[:2] != (height, width):
            raise ImageError(
                f"{file.name} is damaged: its tags say {height} x {width} pixels, its data have "
                f"the shape {pixels.shape}; copy it again from the microscope."
            )
        info: dict[str, Any] = {"pages": count, "makers": _makers(tif)}
        if page is not None:
            info["page"] = page
        return pixels, _readings(tif, first, width), info, notes


def refuse_bomb(file: Path, width: int, height: int, nbytes: int, stored: int) -> None:
    """Refuse a picture that is empty, absurdly large, or unfolds far beyond its size on disk.

    Raises
    ------
    ImageError
        If so.
    """
    if width < 1 or height < 1:
        raise ImageError(f"{file.name} has no pixels ({width} x {height}); save it anew.")
    if width * height > MAX_PIXELS:
        raise ImageError(
            f"{file.name} claims {width} x {height} pixels, more than {MAX_PIXELS}; split it."
        )
    if nbytes > _BOMB_BYTES and nbytes > _BOMB_RATIO * stored:
        raise ImageError(
            f"{file.name} claims to unfold from {stored} bytes to {nbytes}: that is no micrograph. "
            "If it is one, save it without compression."
        )


@contextmanager
def _opened(file: Path) -> Iterator[tifffile.TiffFile]:
    """The file, without its OME description where that is too damaged to tell the pages apart."""
    with tifffile.TiffFile(file) as tif:
        # before anything looks at them one by one
        if len(tif.pages) > max(_MANY_PAGES, tif.filehandle.size // _LEAST_PAGE):
            raise ImageError(
                f"{file.name} claims {len(tif.pages)} pages in {tif.filehandle.size} bytes."
            )
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


def _planes(
    tif: tifffile.TiffFile, file: Path, page: int | None
) -> tuple[list[Any], int, list[str], int]:
    """The page to read, or the pages of the channels; their number; notes; planes of the file."""
    notes: list[str] = []
    pages = [tif.pages[i].aspage() for i in range(len(tif.pages))]
    whole = [p for p in pages if not int(p.subfiletype) & _SUBSAMPLED]
    series = tif.series[0]
    # ImageJ writes large stacks under one page
    planes_of_axes = [n for n, a in zip(series.shape, series.axes, strict=True) if a not in "YXS"]
    count = max(len(whole), math.prod(planes_of_axes))
    whole = whole or pages
    if page is not None:
        if not 0 <= page < count:
            raise ImageError(f"{file.name} has {count} pages, from 0 to {count - 1}; not {page}.")
        return [whole[page] if page < len(whole) else whole[0]], 1, notes, count
    if count == 1:
        return whole[:1], 1, notes, count
    extra = [
        (n, a) for n, a in zip(series.shape, series.axes, strict=True) if a not in "YXS" and n > 1
    ]
    if len(extra) == 1 and extra[0][1] == "C" and extra[0][0] <= 16 and "S" not in series.axes:
        notes.append(f"{extra[0][0]} channels")
        planes = whole[: extra[0][0]] if len(whole) >= extra[0][0] else whole[:1]
        return planes, extra[0][0], notes, count
    areas = [int(p.imagewidth) * int(p.imagelength) for p in whole]
    if len(whole) > 1 and areas[0] >= 4 * max(areas[1:]):
        notes.append(f"{len(whole) - 1} smaller previews in the file were left out")
        return whole[:1], 1, notes, count
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


def _decoded(page: Any) -> np.ndarray:
    """The samples of a page as stored, channels last."""
    subsampled = page.is_subsampled and int(page.compression) not in _JPEG
    if page.photometric == _YCBCR and subsampled:
        raise ImageError("its colours are stored at half resolution (YCbCr); save it as RGB")
    pixels = np.asarray(page.asarray(buffersize=_BUFFER))
    if pixels.ndim == 3 and page.planarconfig == 2 and page.samplesperpixel > 1:
        pixels = np.moveaxis(pixels, 0, -1)
    elif pixels.ndim > 3:
        raise ImageError(f"a page of shape {pixels.shape} is a volume; save it as a stack of pages")
    return pixels


def _one_channel(pixels: np.ndarray, channel: int, file: Path, notes: list[str]) -> np.ndarray:
    count = pixels.shape[2] if pixels.ndim == 3 else 1
    if not 0 <= channel < count:
        raise ImageError(
            f"{file.name} has {count} channel{'s' if count > 1 else ''}, from 0 to {count - 1}; "
            f"not {channel}."
        )
    notes.append(f"channel {channel} of {count}")
    return pixels[..., channel] if pixels.ndim == 3 else pixels


def _shown(pixels: np.ndarray, page: Any, notes: list[str], alone: bool) -> np.ndarray:
    """Grey values or colours of what was stored: tables applied, white as 0 turned over.

    `alone` is one channel of several, which stays as it is unless white is 0.
    """
    kind = int(page.photometric)
    if kind == _PALETTE and page.colormap is not None and pixels.ndim == 2:
        return _coloured(pixels, np.asarray(page.colormap), notes)
    if kind == _MIN_IS_WHITE:
        notes.append("white was stored as 0 and has been turned over")
        return _turned_over(pixels, int(page.bitspersample))
    if alone or pixels.ndim != 3:
        return pixels
    if kind == _YCBCR and pixels.shape[2] == 3 and int(page.compression) not in _JPEG:
        notes.append("YCbCr was converted to RGB")
        return _from_ycbcr(pixels, page)
    if kind in (_CIELAB, _ICCLAB) and pixels.shape[2] == 3:
        notes.append("CIELAB was converted to RGB")
        return _from_lab(pixels, kind)
    return _without_alpha(pixels, page, notes)


def _without_alpha(pixels: np.ndarray, page: Any, notes: list[str]) -> np.ndarray:
    """Samples without those that the file calls transparency; all others are kept."""
    extra = [int(v) for v in page.extrasamples or ()]
    base = pixels.shape[2] - len(extra)
    alpha = [base + k for k, kind in enumerate(extra) if kind in (1, 2)]
    if page.photometric == _RGB and pixels.shape[2] == 4 and not alpha:
        # a fourth sample without a meaning is transparency where it is the same everywhere
        last = pixels[..., 3]
        alpha = [3] if (last == last.flat[0]).all() else []
    if alpha and len(alpha) < pixels.shape[2]:
        notes.append("the alpha channel was left out")
        keep = [k for k in range(pixels.shape[2]) if k not in alpha]
        pixels = pixels[..., keep[0]] if len(keep) == 1 else pixels[..., keep]
    if pixels.ndim == 3 and pixels.shape[2] > 3 and int(page.samplesperpixel) > 1:
        notes.append(f"{pixels.shape[2]} channels")
    return pixels


def _coloured(index: np.ndarray, table: np.ndarray, notes: list[str]) -> np.ndarray:
    """Colours of a table (3, N) of 16-bit entries, or of 8-bit ones that some programs write."""
    eight = int(table.max(initial=0)) < 256
    grey = bool((table[0] == table[1]).all() and (table[0] == table[2]).all())
    if eight:
        table = table.astype(np.uint8)
        notes.append("the entries of the colour table have 8 bits")
    elif not grey or (table == (table >> 8) * 257).all() or not (table & 0xFF).any():
        table = (table >> 8).astype(np.uint8)
    if grey:
        return table[0][index]
    notes.append("colours of the palette")
    return table.T[index]


def _turned_over(pixels: np.ndarray, bits: int) -> np.ndarray:
    """White as 0 turned over; in place where that is possible."""
    if pixels.dtype == bool:
        return ~pixels
    if np.issubdtype(pixels.dtype, np.unsignedinteger):
        if not pixels.flags.writeable:
            pixels = pixels.copy()
        return np.subtract(2**bits - 1, pixels, out=pixels, casting="unsafe")
    if np.issubdtype(pixels.dtype, np.signedinteger):
        return np.invert(pixels)  # -1 - x: the range of a signed number, turned over
    finite = pixels[np.isfinite(pixels)]
    return (finite.max() + finite.min() - pixels) if finite.size else pixels


def _from_ycbcr(pixels: np.ndarray, page: Any) -> np.ndarray:
    """RGB of full-resolution YCbCr by the coefficients and ranges that the file states."""
    weights = _floats(page.tags.get(529), 3) or [0.299, 0.587, 0.114]
    top = float(np.iinfo(pixels.dtype).max) if pixels.dtype.kind == "u" else 1.0
    middle = (top + 1) / 2 if top > 1 else 0.5
    ranges = _floats(page.tags.get(532), 6) or [0, top, middle, top, middle, top]
    values = pixels.astype(np.float64)
    y, cb, cr = (
        (values[..., k] - ranges[2 * k]) / (ranges[2 * k + 1] - ranges[2 * k]) for k in range(3)
    )
    # the chroma runs from -1/2 to 1/2 about its middle, so that its range counts half
    cb, cr = cb * (top - middle) / top, cr * (top - middle) / top
    red = y + (2 - 2 * weights[0]) * cr
    blue = y + (2 - 2 * weights[2]) * cb
    green = (y - weights[0] * red - weights[2] * blue) / weights[1]
    rgb = np.stack([red, green, blue], axis=-1)
    if pixels.dtype.kind != "u":
        return rgb.astype(pixels.dtype)
    return np.clip(np.rint(rgb * top), 0, top).astype(pixels.dtype)


def _from_lab(pixels: np.ndarray, kind: int) -> np.ndarray:
    """sRGB, uint8, of CIELAB with 8 or 16 bits; a and b signed (CIELAB) or shifted (ICCLAB)."""
    from skimage.color import lab2rgb

    if pixels.dtype.kind == "f":
        lab = pixels.astype(np.float64)
    else:
        bits = 8 * pixels.dtype.itemsize
        whole = pixels.astype(np.int64) & (2**bits - 1)
        chroma = whole[..., 1:]
        if kind == _CIELAB:
            chroma = np.where(chroma >= 2 ** (bits - 1), chroma - 2**bits, chroma)
        else:
            chroma = chroma - 2 ** (bits - 1)
        unit = 1.0 if bits == 8 else 256.0
        lightness = whole[..., :1] * 100.0 / (2**bits - 1)
        lab = np.concatenate([lightness, chroma / unit], axis=-1)
    return np.rint(np.clip(lab2rgb(lab), 0, 1) * 255).astype(np.uint8)


def _floats(tag: Any, count: int) -> list[float]:
    """The numbers of a tag of rationals, or an empty list where they make no sense."""
    if tag is None:
        return []
    try:
        flat = [float(v) for v in np.ravel(tag.value)]
    except (TypeError, ValueError):
        return []
    if len(flat) == 2 * count:
        if not all(flat[1::2]):
            return []
        flat = [a / b for a, b in zip(flat[::2], flat[1::2], strict=True)]
    if len(flat) != count or (count == 6 and any(flat[2 * k] == flat[2 * k + 1] for k in range(3))):
        return []
    return flat if count != 3 or flat[1] else []


def _contiguous(tif: tifffile.TiffFile) -> np.ndarray:
    """All planes (N, H, W) that ImageJ wrote one behind the other under a single page."""
    series = tif.series[0]
    data = np.asarray(series.asarray())
    return data.reshape(-1, *data.shape[-2:])


def _imagej(tif: tifffile.TiffFile, plane: int) -> np.ndarray:
    """One plane; only its own bytes are read where the stack is one block."""
    series = tif.series[0]
    page = tif.pages[0].aspage()
    if page.samplesperpixel > 1:
        return _decoded(page)
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


def _makers(tif: tifffile.TiffFile) -> list[Any]:
    """Values of Make, Model and Software of the first page, as stored."""
    tags = tif.pages[0].aspage().tags
    return [tag.value for code in (271, 272, 305) if (tag := tags.get(code)) is not None]


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
