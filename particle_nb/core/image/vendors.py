"""What the instrument wrote: one row an instrument, in `VENDORS`, for its tags and its sidecar."""

from __future__ import annotations

import re
import struct
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from particle_nb.core.image.scale import RANKS, Reading, ini, metres, whole

_TESCAN_TEXT_BLOCKS = {2: "main", 3: "sem", 4: "gama", 5: "fib"}

_LARGEST_SIDECAR = 4 * 2**20


@dataclass(frozen=True)
class Written:
    """What one instrument left with a picture: the values of its tags, or the text of a sidecar.

    Parameters
    ----------
    tags : mapping of int to bytes, str or parsed value
        By tag code; empty for a sidecar.
    text : str
        Of the sidecar; empty for tags.
    sidecar : str
        File name of the sidecar.
    width, height : int
        Of the picture, in pixels.
    """

    tags: Mapping[int, Any] = field(default_factory=dict)
    text: str = ""
    sidecar: str = ""
    width: int = 0
    height: int = 0

    @property
    def where(self) -> str:
        """``"tag"``, or the sidecar with its name."""
        return f"sidecar {self.sidecar}" if self.sidecar else "tag"


@dataclass(frozen=True)
class Vendor:
    """One instrument: by which tags or words it is known, who reads them, and how far they count.

    Parameters
    ----------
    name : str
        In messages and tables.
    rank : int
        One of `RANKS`; the reading of the lowest rank gives the scale. A sidecar never counts
        before the tags of an instrument.
    parser : callable
        From `Written` to a list of `Reading`, most trusted first; empty where nothing is said.
    tags : tuple of int
        TIFF tags that it writes.
    marks : tuple of str
        Words, each of which tells its sidecar.
    maker : str
        Word in Make, Model or Software of a file that needs the sidecar for its scale.
    says : str
        What is read, for the table in the documentation.
    """

    name: str
    rank: int
    parser: Callable[[Written], list[Reading]]
    tags: tuple[int, ...] = ()
    marks: tuple[str, ...] = ()
    maker: str = ""
    says: str = ""


def vendor_tags() -> tuple[int, ...]:
    """Return the codes of all tags that instruments write.

    Examples
    --------
    >>> 34118 in vendor_tags()
    True
    """
    return tuple(code for vendor in VENDORS for code in vendor.tags)


def from_tags(tags: Mapping[int, Any], width: int, height: int = 0) -> list[Reading]:
    """Read the scale from the vendor tags of a TIFF page.

    Parameters
    ----------
    tags : mapping of int to bytes, str or parsed value
        Raw values by tag code.
    width, height : int
        Of the page, in pixels.

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
    for vendor in VENDORS:
        own = {code: tags[code] for code in vendor.tags if code in tags}
        if own:
            written = Written(own, width=width, height=height)
            found += [replace(reading, rank=vendor.rank) for reading in vendor.parser(written)]
    return sorted(found, key=lambda reading: reading.rank)


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


def _zeiss(written: Written) -> list[Reading]:
    """SmartSEM: numbers without names, then pairs of lines, a key and ``Name = value unit``."""
    text, width = as_text(next(iter(written.tags.values()))), written.width
    values: dict[str, str] = {}
    named: dict[str, str] = {}
    unnamed: list[str] = []
    key = ""
    for line in (line.strip("\x00") for line in text.splitlines()):
        if re.fullmatch(r"[A-Z][A-Z0-9_]*", line):
            key = line
            continue
        name, equals, value = line.partition("=")
        if not equals:
            name, _, value = line.partition(": ")
        value = value.strip() or line.strip()
        if equals:
            named.setdefault(name.strip().lower(), value)
        if key:
            values[key] = value
            key = ""
        elif not values:
            unnamed.append(line.strip())
    store = re.match(r"\s*(\d+)\s*[*x]\s*(\d+)", values.get("DP_IMAGE_STORE", ""))
    stored_width = int(store[1]) if store else None
    rows = int(store[2]) if store else None
    size = metres(values.get("AP_IMAGE_PIXEL_SIZE", ""))
    source = "Zeiss tag AP_IMAGE_PIXEL_SIZE"
    if size is None and (size := metres(named.get("image pixel size", ""))) is not None:
        source = "Zeiss tag Image Pixel Size"
    if size is None:
        # older files: the fourth number is the pixel on a display of 1024 columns, in metres
        size = metres(unnamed[3]) if len(unnamed) > 3 else None
        size = size or metres(values.get("AP_PIXEL_SIZE", ""))
        across = stored_width or width
        size = size * 1024 / across if size and across else None
        source = "Zeiss tag 34118 (display pixel of 1024 columns)"
    found = [Reading(source, size, size, rows, None, stored_width)]
    field_width = metres(values.get("AP_WIDTH", ""))
    across = stored_width or width
    if field_width and across:
        edge = field_width / across
        found.append(Reading("Zeiss tag AP_WIDTH", edge, edge, rows, None, stored_width))
    return found


def _fei(written: Written) -> list[Reading]:
    """FEI and Thermo Fisher: INI text, lengths in metres; ResolutionY counts specimen rows only."""
    found = []
    for value in written.tags.values():
        text = as_text(value)
        if text.strip():  # Titan files carry an empty one beside their XML
            found.append(_fei_ini(text))
    return found


def _fei_ini(text: str) -> Reading:
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
    return Reading(
        source, x, y or x, rows or None, bar or None, columns or None, specimen_only=True
    )


def _element(text: str, name: str, start: int = 0) -> tuple[str, str, int]:
    """Attributes and text of the first XML element of that name, and where it ends (-1: none).

    No XML parser runs on the text of a file, and every search moves forwards only, so that the
    time stays linear whatever the text is.
    """
    at = start
    while (at := text.find(f"<{name}", at)) >= 0:
        at += len(name) + 1
        if text[at : at + 1] not in (">", " ", "\t", "\r", "\n"):
            continue
        close = text.find(">", at)
        end = text.find("<", close)
        if close < 0 or end < 0:
            break
        return text[at:close], text[close + 1 : end].strip(), end
    return "", "", -1


def _attribute(text: str, name: str) -> str:
    """Value of an XML attribute, in either kind of quotes; empty where it is not there."""
    found = re.search(rf"""(?<![\w:.-]){name}\s{{0,9}}=\s{{0,9}}(?:"([^"<]*)"|'([^'<]*)')""", text)
    return (found[1] or found[2] or "") if found else ""


def _phenom(written: Written) -> list[Reading]:
    """Phenom: XML with the unit as an attribute."""
    (value,) = written.tags.values()
    text = as_text(value)
    edges = []
    for key in ("pixelWidth", "pixelHeight"):
        about, number, end = _element(text, key)
        edges.append(metres(number, _attribute(about, "unit")) if end >= 0 else None)
    bar = whole(_element(text, "databarHeight")[1] or None)
    if edges[0] is None and bar is None:
        return []
    return [Reading("Phenom tag pixelWidth", edges[0], edges[1] or edges[0], None, bar)]


def _titan(written: Written) -> list[Reading]:
    """Titan, Talos and others of FEI's TEMs: XML with PixelSize X and Y, in metres."""
    (value,) = written.tags.values()
    text = as_text(value)
    _, _, start = _element(text, "PixelSize")
    if start < 0:
        return []
    stop = text.find("</PixelSize", start)
    inside = text[start : stop if stop >= 0 else start + 2000]
    edges = []
    for axis in "XY":
        about, number, end = _element(inside, axis)
        power = _attribute(about, "unitPrefixPower").strip()
        edge = metres(number, _attribute(about, "unit") or "m") if end >= 0 else None
        if edge is not None and re.fullmatch(r"[+-]?\d{1,2}", power):
            edge *= 10.0 ** int(power)
        edges.append(edge)
    if edges[0] is None:
        return []
    _, _, start = _element(text, "ImageSize")
    columns = whole(_element(text, "X", start)[1] or None) if start >= 0 else None
    return [Reading("Titan tag PixelSize", edges[0], edges[1] or edges[0], None, None, columns)]


def _olympus(written: Written) -> list[Reading]:
    """Olympus SIS: a block that tifffile takes apart; lengths in metres."""
    (value,) = written.tags.values()
    if not isinstance(value, Mapping):
        return []
    x, y = (metres(value.get(key)) for key in ("pixelsizex", "pixelsizey"))
    return [Reading("Olympus SIS tag pixelsizex", x, y or x)] if x else []


def _tvips(written: Written) -> list[Reading]:
    """TVIPS cameras: a block that tifffile takes apart; lengths in nanometres."""
    (value,) = written.tags.values()
    if not isinstance(value, Mapping):
        return []
    x, y = (metres(value.get(key), "nm") for key in ("PixelSizeX", "PixelSizeY"))
    return [Reading("TVIPS tag PixelSizeX", x, y or x)] if x else []


def _gatan(written: Written) -> list[Reading]:
    """Gatan DigitalMicrograph: the unit as text and the pixel as a number, for either axis."""
    edges = []
    for unit, scale in ((65003, 65009), (65004, 65010)):
        name = written.tags.get(unit)
        if isinstance(name, (bytes, bytearray)) and b"\0" in bytes(name).rstrip(b"\0"):
            name = bytes(name).decode("utf-16-le", "replace").rstrip("\0")
        text = "" if name is None else as_text(name)
        edges.append(metres(written.tags.get(scale), text) if text.strip() else None)
    if edges[0] is None:
        return []
    return [Reading("Gatan tag 65009", edges[0], edges[1] or edges[0])]


def _micromanager(written: Written) -> list[Reading]:
    """Micro-Manager: JSON that tifffile takes apart; micrometres, 0 where not calibrated."""
    (value,) = written.tags.values()
    if not isinstance(value, Mapping):
        return []
    x = metres(value.get("PixelSizeUm"), "um")
    return [Reading("Micro-Manager tag PixelSizeUm", x, x)] if x else []


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


def _tescan(written: Written) -> list[Reading]:
    """TESCAN: lengths in metres; ImageStripSize is the height of the info bar."""
    text = written.text
    if not written.sidecar:
        (value,) = written.tags.values()
        text = _tescan_text(_as_bytes(value))
    values = ini(text)
    x, y = (
        metres(values.get(f"main.{key}") or values.get(key, ""))
        for key in ("pixelsizex", "pixelsizey")
    )
    strip = whole(values.get("main.imagestripsize") or values.get("imagestripsize"))
    if x is None and strip is None:
        return []
    return [Reading(f"TESCAN {written.where} PixelSizeX", x, y or x, None, strip)]


def sidecars(path: Path) -> list[Path]:
    """Return the files that `from_sidecar` looks at, in its order; a change of one is a change of
    the picture.

    Examples
    --------
    >>> sidecars(Path("no_such_picture.tif"))
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
        except OSError:
            continue
    return seen


def from_sidecar(path: Path) -> list[Reading]:
    """Read the text file that JEOL, Hitachi or TESCAN leaves beside a picture, if there is one.

    Examples
    --------
    >>> from_sidecar(Path("no_such_picture.tif"))
    []
    """
    for sidecar in sidecars(path):
        try:
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
        vendor = next((v for v in VENDORS if any(mark in text for mark in v.marks)), None)
        if vendor is None:
            continue
        # however far an instrument counts, its tags know these very pixels
        rank = max(vendor.rank, RANKS["sidecar"])
        found = [
            replace(reading, rank=rank)
            for reading in vendor.parser(Written(text=text, sidecar=name))
        ]
        if any(reading.x for reading in found):
            return found
        best = best or found
    return best


def without_sidecar(readings: list[Reading], makers: Iterable[Any]) -> list[Reading]:
    """Return the readings, and first what is missing where the instrument's sidecar is.

    Parameters
    ----------
    readings : list of Reading
        Those of the file and of its sidecar, most trusted first.
    makers : iterable of str or bytes
        What the file says of Make, Model and Software.

    Examples
    --------
    >>> without_sidecar([], ["JEOL Ltd.", b"JSM-7600F"])[0].source
    'JEOL sidecar'
    """
    words = " ".join(as_text(value) for value in makers).lower()
    vendor = next((v for v in VENDORS if v.maker and v.maker.lower() in words), None)
    scaled = [r for r in readings if r.x is not None]
    if vendor is None or any(r.rank <= RANKS["sidecar"] for r in scaled):
        return readings
    note = (
        f"{vendor.name} keeps the scale in a .txt file beside the picture, and there is none; "
        "copy it along"
    )
    # the resolution of such files is that of a screen or of a print
    kept = [r for r in readings if r.x is None or r.rank < RANKS["resolution"]]
    missing = Reading(f"{vendor.name} sidecar", notes=(note,), rank=RANKS["sidecar"], lost=True)
    return [missing, *kept]


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


def _jeol(written: Written) -> list[Reading]:
    """JEOL: ``$KEY value`` lines; the scale bar in pixels and the length it stands for."""
    values: dict[str, str] = {}
    for line in written.text.splitlines():
        key, _, value = line.strip().lstrip("$").partition(" ")
        if line.strip().startswith("$"):
            values.setdefault(key.upper(), value.strip())
    bar = metres(values.get("SM_MICRON_BAR", ""), "m")  # a count of pixels, read as a number
    marker = metres(values.get("SM_MICRON_MARKER", ""), "")
    size = [whole(v) for v in values.get("CM_FULL_SIZE", "").split()[:2]]
    columns, rows = size if len(size) == 2 else (None, None)
    edge = marker / bar if bar and marker else None
    return [Reading(f"JEOL {written.where}", edge, edge, rows or None, None, columns or None)]


def _hitachi(written: Written) -> list[Reading]:
    """Hitachi: ``[SemImageFile]`` with PixelSize in nanometres and DataSize as ``1280x960``."""
    values = {key.split(".", 1)[-1]: value for key, value in ini(written.text).items()}
    edge = metres(values.get("pixelsize", ""), "nm")
    size = re.match(r"\s*(\d+)\s*x\s*(\d+)", values.get("datasize", ""))
    columns, rows = (int(size[1]), int(size[2])) if size else (None, None)
    notes = () if edge else (f"Hitachi {written.where} has no PixelSize and so no scale",)
    return [Reading(f"Hitachi {written.where}", edge, edge, rows, None, columns, notes)]


_TAG, _SIDECAR, _DESCRIPTION = RANKS["tag"], RANKS["sidecar"], RANKS["description"]

#: Every instrument that is known, most trusted first among equal ranks. Layouts: tifffile and
#: RosettaSciIO (Zeiss, FEI, Olympus SIS, TVIPS, Gatan), Bio-Formats' FEITiffReader (Titan), and
#: files and manuals of the makers.
VENDORS: tuple[Vendor, ...] = (
    Vendor("Zeiss SmartSEM", _TAG, _zeiss, (34118,), says="AP_IMAGE_PIXEL_SIZE, AP_WIDTH"),
    Vendor("Zeiss Orion", _TAG, _zeiss, (34119,), says="Image Pixel Size"),
    Vendor("FEI, Thermo Fisher", _TAG, _fei, (34680, 34682), says="PixelWidth, or the field width"),
    Vendor("Phenom", _TAG, _phenom, (34683,), says="pixelWidth (XML)"),
    Vendor("FEI Titan, Talos", _TAG, _titan, (34683,), says="PixelSize (XML)"),
    Vendor("TESCAN", _TAG, _tescan, (50431,), ("PixelSizeX",), says="PixelSizeX"),
    Vendor("Olympus SIS", _TAG, _olympus, (33560,), says="pixelsizex"),
    Vendor("TVIPS", _TAG, _tvips, (37706,), says="PixelSizeX"),
    Vendor(
        "Gatan DigitalMicrograph", _TAG, _gatan, (65003, 65004, 65009, 65010), says="65003, 65009"
    ),
    Vendor(
        "JEOL",
        _SIDECAR,
        _jeol,
        marks=("SM_MICRON_BAR", "$CM_"),
        maker="JEOL",
        says="SM_MICRON_BAR, SM_MICRON_MARKER",
    ),
    Vendor(
        "Hitachi",
        _SIDECAR,
        _hitachi,
        marks=("[SemImageFile]", "[TemImageFile]"),
        maker="Hitachi",
        says="PixelSize",
    ),
    Vendor("Micro-Manager", _DESCRIPTION, _micromanager, (51123,), says="PixelSizeUm"),
)
