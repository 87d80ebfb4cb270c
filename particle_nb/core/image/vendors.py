"""What the instrument wrote: TIFF tags of Zeiss, FEI/Thermo, TESCAN, sidecars of JEOL, Hitachi."""

from __future__ import annotations

import re
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from particle_nb.core.image.scale import Reading, ini, metres, whole

ZEISS_TAG = 34118

FEI_TAGS = (34680, 34682)

PHENOM_TAG = 34683

TESCAN_TAG = 50431

_TESCAN_TEXT_BLOCKS = {2: "main", 3: "sem", 4: "gama", 5: "fib"}

_LARGEST_SIDECAR = 4 * 2**20


def from_tags(tags: Mapping[int, Any], width: int) -> list[Reading]:
    """Read the scale from the vendor tags of a TIFF page.

    Parameters
    ----------
    tags : mapping of int to bytes, str or parsed value
        Raw values by tag code.
    width : int
        Columns of the page.

    Returns
    -------
    list of Reading
        Most trusted first.

    Examples
    --------
    >>> text = "[Scan]\\r\\nPixelWidth=2e-9\\r\\nPixelHeight=2e-9\\r\\n"
    >>> from_tags({34682: text}, 1024)[0].x
    2e-09
    """
    found: list[Reading] = []
    if ZEISS_TAG in tags:
        found += _zeiss(as_text(tags[ZEISS_TAG]), width)
    for code in FEI_TAGS:
        if code in tags:
            found += _fei(as_text(tags[code]))
    if PHENOM_TAG in tags:
        found += _phenom(as_text(tags[PHENOM_TAG]))
    if TESCAN_TAG in tags:
        found += _tescan(_tescan_text(_as_bytes(tags[TESCAN_TAG])), "TESCAN tag")
    return found


def _as_bytes(value: Any) -> bytes:
    if isinstance(value, (bytes, bytearray)):
        return bytes(value)
    if isinstance(value, str):
        return value.encode("latin-1", "replace")
    try:
        return bytes(v & 0xFF for v in value)  # signed bytes come as a tuple of int
    except TypeError:
        return b""


def as_text(value: Any) -> str:
    """Return the text of a tag, whatever its type; cp1252 where it is not UTF-8.

    Examples
    --------
    >>> as_text(b"5 \\xb5m")
    '5 µm'
    """
    if isinstance(value, str):
        return value
    raw = _as_bytes(value).rstrip(b"\x00")
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        return raw.decode("cp1252", "replace")


def _zeiss(text: str, width: int) -> list[Reading]:
    """SmartSEM: numbers without names, then pairs of lines, a key and ``Name = value unit``."""
    lines = [line.strip("\x00") for line in text.splitlines()]
    values: dict[str, str] = {}
    unnamed: list[str] = []
    key = ""
    for line in lines:
        if re.fullmatch(r"[A-Z][A-Z0-9_]*", line):
            key = line
        elif key:
            values[key] = re.split(r"\s*=\s*|:\s+", line, maxsplit=1)[-1].strip()
            key = ""
        elif not values:
            unnamed.append(line.strip())
    store = re.match(r"\s*(\d+)\s*[*x]\s*(\d+)", values.get("DP_IMAGE_STORE", ""))
    stored_width = int(store[1]) if store else None
    rows = int(store[2]) if store else None
    size = metres(values.get("AP_IMAGE_PIXEL_SIZE", ""))
    source = "Zeiss tag AP_IMAGE_PIXEL_SIZE"
    if size is None:
        # older files: the fourth number is the pixel on a display of 1024 columns, in metres
        size = metres(unnamed[3]) if len(unnamed) > 3 else None
        size = size or metres(values.get("AP_PIXEL_SIZE", ""))
        size = size * 1024 / width if size else None
        source = "Zeiss tag 34118 (display pixel of 1024 columns)"
    found = [Reading(source, size, size, rows, None, stored_width)]
    field = metres(values.get("AP_WIDTH", ""))
    if field and width:
        found.append(Reading("Zeiss tag AP_WIDTH", field / width, field / width))
    return found


def _fei(text: str) -> list[Reading]:
    """FEI and Thermo Fisher: INI text, lengths in metres; ResolutionY counts specimen rows only."""
    values = ini(text)
    columns, rows = whole(values.get("image.resolutionx")), whole(values.get("image.resolutiony"))
    x = y = None
    source = "FEI tag PixelWidth"
    for section in ("scan", "escan", "iscan"):
        x, y = (metres(values.get(f"{section}.{key}", "")) for key in ("pixelwidth", "pixelheight"))
        if x:
            break
    if not x:
        for section, across, down in (
            ("scan", "horfieldsize", "verfieldsize"),
            ("ebeam", "hfw", "vfw"),
            ("ibeam", "hfw", "vfw"),
            ("irbeam", "hfw", "vfw"),
        ):
            fields = [metres(values.get(f"{section}.{key}", "")) for key in (across, down)]
            if fields[0] and columns:
                x = fields[0] / columns
                y = fields[1] / rows if fields[1] and rows else x
                source = f"FEI tag {section}.{across}"
                break
    bar = whole(values.get("privatefei.databarheight"))
    return [Reading(source, x, y or x, rows or None, bar or None, columns or None)]


def _phenom(text: str) -> list[Reading]:
    """Phenom and FEI Titan: XML with the unit as an attribute."""
    edges = []
    for key in ("pixelWidth", "pixelHeight"):
        match = re.search(rf'<{key}\s+unit="([^"]*)"\s*>\s*([^<]*)<', text)
        edges.append(metres(match[2].strip(), match[1]) if match else None)
    bar = re.search(r"<databarHeight>\s*(\d+)\s*<", text)
    if edges[0] is None and bar is None:
        return []
    rows = int(bar[1]) if bar else None
    return [Reading("Phenom tag pixelWidth", edges[0], edges[1] or edges[0], None, rows)]


def _tescan_text(raw: bytes) -> str:
    """The text blocks of tag 50431 with their names as INI sections.

    The tag is a chain of blocks: size (uint32, counts the type too), type (uint16), data. Type 1
    is a JPEG thumbnail, 2 to 5 are text, 0 ends the chain. A chain that does not add up is
    searched for the text instead.
    """
    parts: list[str] = []
    place = 0
    while place + 6 <= len(raw):
        size, kind = struct.unpack_from("<IH", raw, place)
        if size < 2 or place + 4 + size > len(raw) or kind > 64:
            break
        if kind in _TESCAN_TEXT_BLOCKS:
            block = raw[place + 6 : place + 4 + size]
            parts.append(f"[{_TESCAN_TEXT_BLOCKS[kind]}]\n{as_text(block)}")
        place += 4 + size
        if kind == 0:
            break
    text = "\n".join(parts)
    if "PixelSizeX" not in text:
        start = max(raw.find(b"AccFrames="), 0)
        text = "[main]\n" + as_text(raw[start:]) if b"PixelSizeX" in raw else ""
    return text


def _tescan(text: str, source: str) -> list[Reading]:
    """TESCAN: lengths in metres; ImageStripSize is the height of the info bar."""
    values = ini(text)
    x, y = (
        metres(values.get(f"main.{key}") or values.get(key, ""))
        for key in ("pixelsizex", "pixelsizey")
    )
    strip = whole(values.get("main.imagestripsize") or values.get("imagestripsize"))
    if x is None and strip is None:
        return []
    return [Reading(f"{source} PixelSizeX", x, y or x, None, strip)]


def from_sidecar(path: Path) -> list[Reading]:
    """Read the text file that JEOL, Hitachi or TESCAN leaves beside a picture, if there is one.

    Examples
    --------
    >>> from_sidecar(Path("no_such_picture.tif"))
    []
    """
    suffix = path.suffix.lstrip(".")
    names = [f"{path.stem}{end}" for end in (".txt", ".TXT", ".Txt")]
    names += [f"{path.name}{end}" for end in (".txt", ".hdr")]
    names += [f"{path.stem}-{suffix}{end}" for end in (".hdr", ".HDR")]
    names += [f"{path.stem}{end}" for end in (".hdr", ".HDR")]
    seen: list[Path] = []
    for name in names:
        sidecar = path.with_name(name)
        try:
            # a folder that ignores case shows one file under several names
            if not sidecar.is_file() or any(sidecar.samefile(other) for other in seen):
                continue
            seen.append(sidecar)
            if sidecar.stat().st_size > _LARGEST_SIDECAR:
                continue
            raw = sidecar.read_bytes()
        except OSError:
            continue
        found = _sidecar(raw, sidecar.name)
        if found:
            return found
    return []


def _sidecar(raw: bytes, name: str) -> list[Reading]:
    """Try the encodings of instrument PCs until one gives a scale."""
    best: list[Reading] = []
    for text in _decoded(raw):
        if "SM_MICRON_BAR" in text or "$CM_" in text:
            found = _jeol(text, name)
        elif "[SemImageFile]" in text or "[TemImageFile]" in text:
            found = _hitachi(text, name)
        elif "PixelSizeX" in text:
            found = _tescan(text, f"TESCAN sidecar {name}")
        else:
            continue
        if any(reading.x for reading in found):
            return found
        best = best or found
    return best


def _decoded(raw: bytes) -> list[str]:
    if raw[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return [raw.decode("utf-16", "replace")]
    if raw[1:40:2].count(0) > 10:
        return [raw.decode("utf-16-le", "replace")]
    if raw[0:40:2].count(0) > 10:
        return [raw.decode("utf-16-be", "replace")]
    texts = []
    for encoding in ("utf-8-sig", "cp1252", "cp932", "latin-1"):
        try:
            texts.append(raw.decode(encoding))
        except UnicodeDecodeError:
            continue
    return texts


def _jeol(text: str, name: str) -> list[Reading]:
    """JEOL: ``$KEY value`` lines; the scale bar in pixels and the length it stands for."""
    values: dict[str, str] = {}
    for line in text.splitlines():
        key, _, value = line.strip().lstrip("$").partition(" ")
        if line.strip().startswith("$"):
            values.setdefault(key.upper(), value.strip())
    bar = metres(values.get("SM_MICRON_BAR", ""), "m")  # a count of pixels, read as a number
    marker = metres(values.get("SM_MICRON_MARKER", ""), "")
    size = [whole(v) for v in values.get("CM_FULL_SIZE", "").split()[:2]]
    columns, rows = size if len(size) == 2 else (None, None)
    edge = marker / bar if bar and marker else None
    return [Reading(f"JEOL sidecar {name}", edge, edge, rows or None, None, columns or None)]


def _hitachi(text: str, name: str) -> list[Reading]:
    """Hitachi: ``[SemImageFile]`` with PixelSize in nanometres and DataSize as ``1280x960``."""
    values = {key.split(".", 1)[-1]: value for key, value in ini(text).items()}
    edge = metres(values.get("pixelsize", ""), "nm")
    size = re.match(r"\s*(\d+)\s*x\s*(\d+)", values.get("datasize", ""))
    columns, rows = (int(size[1]), int(size[2])) if size else (None, None)
    return [Reading(f"Hitachi sidecar {name}", edge, edge, rows, None, columns)]
