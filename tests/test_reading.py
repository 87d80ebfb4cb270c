"""Reading pixels: every kind of file that microscopes and cameras write, and damaged ones.

Truths: the arrays written with tifffile and Pillow; bars drawn on noise of known height.
"""

from __future__ import annotations

import io
import os
import struct
import subprocess
import sys
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from PIL import Image as Picture
from PIL import ImageDraw
from vendor_files import H, W, fei, noise, tescan, zeiss

from particle_nb.core.errors import CalibrationError, ImageError
from particle_nb.core.image import Image, read_image, read_pixels
from particle_nb.core.image.infobar import find_info_bar

# ------------------------------------------------------------------------------------- TIFF pixels


@pytest.mark.parametrize("dtype", ["u1", "u2", "u4", "i2", "f2", "f4", "f8"])
@pytest.mark.parametrize("byteorder", ["<", ">"])
def test_tiff_depths(dtype: str, byteorder: Any, tmp_path: Path) -> None:
    pixels = noise(dtype=np.dtype(dtype))
    tifffile.imwrite(tmp_path / "a.tif", pixels, byteorder=byteorder)
    image = read_image(tmp_path / "a.tif")
    assert np.array_equal(image.pixels, pixels)
    assert image.pixels.dtype == np.dtype(dtype)
    assert image.pixels.dtype.isnative
    assert image.name == "a"


@pytest.mark.parametrize(
    "options",
    [
        {"compression": "zlib"},
        {"compression": "lzw"},
        {"compression": "packbits"},
        {"compression": "zstd"},
        {"compression": "lzma"},
        {"compression": "zlib", "predictor": True},
        {"tile": (32, 32)},
        {"tile": (32, 32), "compression": "zlib"},
        {"rowsperstrip": 7},
        {"bigtiff": True},
    ],
    ids=str,
)
def test_tiff_storage(options: dict[str, Any], tmp_path: Path) -> None:
    pixels = noise(dtype=np.uint16)
    tifffile.imwrite(tmp_path / "a.tif", pixels, **options)
    assert np.array_equal(read_image(tmp_path / "a.tif").pixels, pixels)


@pytest.mark.parametrize("planar", ["contig", "separate"])
def test_rgb_tiff(planar: Any, tmp_path: Path) -> None:
    pixels = noise((H, W, 3))
    stored = pixels if planar == "contig" else np.moveaxis(pixels, -1, 0)
    tifffile.imwrite(tmp_path / "a.tif", stored, photometric="rgb", planarconfig=planar)
    image = read_image(tmp_path / "a.tif")
    assert np.array_equal(image.pixels, pixels)
    assert image.pixels.flags.c_contiguous


def test_alpha_is_left_out(tmp_path: Path) -> None:
    pixels = noise((H, W, 4))
    tifffile.imwrite(tmp_path / "a.tif", pixels, photometric="rgb", extrasamples=["unassalpha"])
    Picture.fromarray(pixels).save(tmp_path / "a.png")
    for name in ("a.tif", "a.png"):
        image = read_image(tmp_path / name)
        assert np.array_equal(image.pixels, pixels[..., :3])
        assert any("alpha" in note for note in image.info["notes"])


def test_palettes(tmp_path: Path) -> None:
    index = noise()
    colours = np.random.default_rng(1).integers(0, 2**16, (3, 256), np.uint16)
    tifffile.imwrite(tmp_path / "c.tif", index, photometric="palette", colormap=colours)
    expected = (colours >> 8).astype(np.uint8).T[index]
    assert np.array_equal(read_image(tmp_path / "c.tif").pixels, expected)
    grey = np.tile(np.arange(255, -1, -1, dtype=np.uint16) * 257, (3, 1))
    tifffile.imwrite(tmp_path / "g.tif", index, photometric="palette", colormap=grey)
    assert np.array_equal(read_image(tmp_path / "g.tif").pixels, 255 - index)
    picture = Picture.fromarray(index, "L").convert("P")
    picture.putpalette([v for g in range(256) for v in (255 - g,) * 3])
    picture.save(tmp_path / "p.png")
    assert np.array_equal(read_image(tmp_path / "p.png").pixels, 255 - index)


def test_white_as_zero_is_turned_over(tmp_path: Path) -> None:
    pixels = noise(dtype=np.uint16)
    tifffile.imwrite(tmp_path / "a.tif", pixels, photometric="miniswhite")
    assert np.array_equal(read_image(tmp_path / "a.tif").pixels, 65_535 - pixels)


def test_one_bit(tmp_path: Path) -> None:
    pixels = noise() > 127
    tifffile.imwrite(tmp_path / "a.tif", pixels, photometric="minisblack")
    Picture.fromarray(pixels).save(tmp_path / "a.png")
    for name in ("a.tif", "a.png"):
        assert np.array_equal(read_image(tmp_path / name).pixels, pixels * np.uint8(255))


def test_cmyk_is_refused(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", noise((H, W, 4)), photometric="separated")
    with pytest.raises(ImageError, match="CMYK"):
        read_image(tmp_path / "a.tif")


# ------------------------------------------------------------------------------------------ stacks


@pytest.mark.parametrize("imagej", [False, True])
def test_stacks_need_a_page(imagej: bool, tmp_path: Path) -> None:
    stack = noise((4, H, W), np.uint16)
    axes: dict[str, Any] = {"metadata": {"axes": "ZYX"}} if imagej else {}
    tifffile.imwrite(tmp_path / "a.tif", stack, imagej=imagej, photometric="minisblack", **axes)
    with pytest.raises(ImageError, match=r"stack of 4 pages.*page=0 to page=3"):
        read_image(tmp_path / "a.tif")
    for page in range(4):
        image = read_image(tmp_path / "a.tif", page=page)
        assert np.array_equal(image.pixels, stack[page])
        assert image.info["page"] == page
    for bad in (4, -1, 10**30):
        with pytest.raises(ImageError, match="4 pages"):
            read_image(tmp_path / "a.tif", page=bad)
    for odd in (1.5, "0", True):
        with pytest.raises(ImageError, match="page is"):
            read_image(tmp_path / "a.tif", page=odd)  # type: ignore[arg-type]


def test_a_large_imagej_stack_has_one_page_entry(tmp_path: Path) -> None:
    # above 4 GB ImageJ writes one entry and all planes behind it; the same layout, small
    stack = noise((5, H, W), np.uint16)
    tifffile.imwrite(tmp_path / "a.tif", stack, imagej=True, metadata={"axes": "ZYX"})
    with tifffile.TiffFile(tmp_path / "a.tif") as tif:
        first = tif.pages[0].aspage()
        place, entries = first.offset, len(first.tags)
    data = bytearray((tmp_path / "a.tif").read_bytes())
    struct.pack_into(">I", data, place + 2 + 12 * entries, 0)  # no next page
    (tmp_path / "a.tif").write_bytes(bytes(data))
    for page in (0, 3):
        assert np.array_equal(read_image(tmp_path / "a.tif", page=page).pixels, stack[page])


def test_channels_are_not_a_stack(tmp_path: Path) -> None:
    both = noise((2, H, W), np.uint16)
    tifffile.imwrite(tmp_path / "a.tif", both, imagej=True, metadata={"axes": "CYX"})
    image = read_image(tmp_path / "a.tif")
    assert np.array_equal(image.pixels, np.moveaxis(both, 0, -1))
    assert np.array_equal(read_image(tmp_path / "a.tif", page=1).pixels, both[1])


def test_a_preview_is_not_a_page(tmp_path: Path) -> None:
    pixels = noise()
    with tifffile.TiffWriter(tmp_path / "a.tif") as tif:
        tif.write(pixels)
        tif.write(pixels[::4, ::4], subfiletype=1)
    with tifffile.TiffWriter(tmp_path / "b.tif") as tif:
        tif.write(pixels)
        tif.write(pixels[::4, ::4])
    for name in ("a.tif", "b.tif"):
        assert np.array_equal(read_image(tmp_path / name).pixels, pixels)


# ------------------------------------------------------------------------------- PNG, JPEG and BMP


def test_png_keeps_sixteen_bits(tmp_path: Path) -> None:
    grey, colour = noise(dtype=np.uint16), noise((H, W, 3), np.uint16)
    Picture.fromarray(grey).save(tmp_path / "g.png")
    import imagecodecs

    (tmp_path / "c.png").write_bytes(imagecodecs.png_encode(colour))
    for name, pixels in (("g.png", grey), ("c.png", colour)):
        image = read_image(tmp_path / name)
        assert image.pixels.dtype == np.uint16
        assert np.array_equal(image.pixels, pixels)


def test_bmp_and_jpeg(tmp_path: Path) -> None:
    smooth = np.add.outer(np.arange(H), np.arange(W)).astype(np.uint8)
    Picture.fromarray(smooth).save(tmp_path / "a.bmp")
    Picture.fromarray(smooth).save(tmp_path / "a.jpg", quality=95)
    assert np.array_equal(read_image(tmp_path / "a.bmp").pixels, smooth)
    assert np.abs(read_image(tmp_path / "a.jpg").pixels.astype(int) - smooth).max() <= 4
    Picture.fromarray(noise((H, W, 3))).convert("CMYK").save(tmp_path / "c.jpg")
    assert read_image(tmp_path / "c.jpg").pixels.shape == (H, W, 3)
    with pytest.raises(ImageError, match="one page"):
        read_image(tmp_path / "a.bmp", page=1)


# ---------------------------------------------------------------------------------------- info bar


def micrograph(bar: int, style: str = "black", seed: int = 0) -> np.ndarray:
    """A noisy specimen of 480 rows, and below it a drawn bar with text and a scale line."""
    rng = np.random.default_rng(seed)
    specimen = rng.normal(110, 18, (480, 640)).clip(0, 255).astype(np.uint8)
    rows, cols = np.mgrid[:480, :640]
    for x, y, r in rng.uniform([0, 0, 15], [640, 480, 45], (25, 3)):
        specimen[(cols - x) ** 2 + (rows - y) ** 2 < r * r] += 60
    if not bar:
        return specimen
    paper, ink = {"black": (0, 255), "white": (255, 0), "grey": (60, 235)}[style]
    picture = Picture.new("L", (640, bar), paper)
    draw = ImageDraw.Draw(picture)
    draw.text((8, bar // 2 - 6), "EHT = 5.00 kV   WD = 4.1 mm  Mag = 50.00 K X  SE2", fill=ink)
    draw.line((480, bar // 2, 600, bar // 2), fill=ink, width=2)
    return np.vstack([specimen, np.asarray(picture)])


@pytest.mark.parametrize("style", ["black", "white", "grey"])
@pytest.mark.parametrize("bar", [20, 32, 60, 100])
def test_a_drawn_bar_is_found(bar: int, style: str, tmp_path: Path) -> None:
    pixels = micrograph(bar, style)
    assert find_info_bar(pixels) == bar
    assert find_info_bar(pixels.astype(np.uint16) * 257) == bar
    assert find_info_bar(np.stack([pixels] * 3, axis=-1)) == bar
    Picture.fromarray(pixels).save(tmp_path / "a.png")
    image = read_image(tmp_path / "a.png")
    assert image.shape == (480, 640)
    assert (image.info["info_bar_rows"], image.info["info_bar_source"]) == (bar, "seen")
    assert np.array_equal(image.pixels, pixels[:480])
    kept = read_image(tmp_path / "a.png", crop_bar=False)
    assert kept.shape == (480 + bar, 640)
    assert kept.info["info_bar_rows"] == 0


@pytest.mark.parametrize("quality", [60, 90])
def test_a_bar_in_a_jpeg_is_found(quality: int, tmp_path: Path) -> None:
    Picture.fromarray(micrograph(48)).save(tmp_path / "a.jpg", quality=quality)
    assert abs(read_image(tmp_path / "a.jpg").info["info_bar_rows"] - 48) <= 1


def powder(ground: float, line: bool, text: bool = True, white: bool = False) -> np.ndarray:
    """Bright particles on a noisy ground as dark as the bar below, 416 rows and a bar of 64."""
    rng = np.random.default_rng(5)
    specimen = ground + 3 * rng.standard_normal((416, 640))
    rows, cols = np.mgrid[:416, :640]
    for x, y, r in rng.uniform([40, 40, 15], [600, 376, 40], (16, 3)):
        inside = (cols - x) ** 2 + (rows - y) ** 2 < r * r
        specimen[inside] = 150 + 20 * rng.standard_normal(inside.sum())
    picture = Picture.new("L", (640, 64), 0)
    draw = ImageDraw.Draw(picture)
    if line:
        draw.line((0, 0, 639, 0), fill=255)
    if text:
        draw.text((8, 12), "Mag = 188 X   20 um   WD = 5.2 mm   EHT = 5.00 kV   InLens", fill=255)
        draw.text((8, 38), "Date: 11 Apr 2023   Vacuum = 5.90e-07 mbar   File = a_01.tif", fill=255)
    pixels = np.vstack([specimen.clip(0, 255).astype(np.uint8), np.asarray(picture)])
    return 255 - pixels if white else pixels


@pytest.mark.parametrize("white", [False, True])
@pytest.mark.parametrize("line", [False, True])
@pytest.mark.parametrize("ground", [6, 12, 18, 24, 40])
def test_a_bar_over_a_ground_as_dark_is_found(ground: int, line: bool, white: bool) -> None:
    """Powder on carbon tape: no step of grey marks the bar, but a line does, or the end of noise.

    The bar takes its 64 rows and none of the ground, however even that is.
    """
    assert find_info_bar(powder(ground, line, white=white)) == 64
    assert find_info_bar(powder(ground, line, white=white)[:416]) == 0
    assert find_info_bar(powder(ground, False, text=False, white=white)) == 0


def particles_on(level: int) -> np.ndarray:
    """Bright particles on a saturated background, some in the lowest rows: no bar."""
    rng = np.random.default_rng(3)
    pixels = np.full((480, 640), level, np.uint8)
    rows, cols = np.mgrid[:480, :640]
    for x, y, r in rng.uniform([0, 0, 3], [640, 480, 9], (150, 3)):
        pixels[(cols - x) ** 2 + (rows - y) ** 2 < r * r] = 255 - level
    return pixels


@pytest.mark.parametrize(
    "pixels",
    [
        micrograph(0),
        particles_on(0),
        particles_on(255),
        np.zeros((480, 640), np.uint8),
        np.full((480, 640), 7.0),
        np.vstack([micrograph(0)[:400], np.zeros((80, 640), np.uint8)]),  # black, but no text
        np.tile(np.linspace(255, 0, 480)[:, None], 640),  # vignette
        micrograph(40)[::-1],  # at the top
        np.full((480, 640), np.nan, np.float32),
        noise((5, 5)),
        noise((480, 20)),
    ],
    ids=range(11),
)
def test_no_bar_is_found_where_none_is(pixels: np.ndarray) -> None:
    assert find_info_bar(pixels) == 0


def test_rows_given_by_the_caller(tmp_path: Path) -> None:
    Picture.fromarray(noise()).save(tmp_path / "a.png")
    image = read_image(tmp_path / "a.png", crop_bar=10)
    assert image.shape == (H - 10, W)
    assert image.info["info_bar_source"] == "given"
    for bad in (H, H + 5):
        with pytest.raises(ImageError, match="leaves nothing"):
            read_image(tmp_path / "a.png", crop_bar=bad)
    for odd in (-1, 2.5, "yes", None):
        with pytest.raises(ImageError, match="crop_bar"):
            read_image(tmp_path / "a.png", crop_bar=odd)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("code", "text", "source"),
    [
        (34682, fei(rows=H - 16, bar=16), "FEI tag PixelWidth"),
        (50431, tescan(strip=16), "TESCAN tag PixelSizeX"),
        (34118, zeiss(store=f"{W} * {H - 16}"), "Zeiss tag AP_IMAGE_PIXEL_SIZE"),
    ],
)
def test_the_instrument_settles_where_the_bar_is(
    code: int, text: bytes, source: str, tmp_path: Path
) -> None:
    extra = [(code, 1, len(text), text, True)]
    tifffile.imwrite(tmp_path / "a.tif", noise(), extratags=extra, metadata=None)
    image = read_image(tmp_path / "a.tif")
    assert image.shape == (H - 16, W)
    assert (image.info["info_bar_rows"], image.info["info_bar_source"]) == (16, source)


def test_the_instrument_settles_that_there_is_none(tmp_path: Path) -> None:
    pixels = micrograph(40)
    text = f"[Image]\nResolutionX=640\nResolutionY={len(pixels)}\n".encode()
    extra = [(34682, 1, len(text), text, True)]
    tifffile.imwrite(tmp_path / "a.tif", pixels, extratags=extra, metadata=None)
    assert read_image(tmp_path / "a.tif").shape == pixels.shape


def test_rows_of_another_size_do_not_settle_it(tmp_path: Path) -> None:
    pixels = micrograph(40)
    text = b"[Image]\nResolutionX=1280\nResolutionY=400\n[Scan]\nPixelWidth=1e-9\n"
    extra = [(34682, 1, len(text), text, True)]
    tifffile.imwrite(tmp_path / "a.tif", pixels, extratags=extra, metadata=None)
    with pytest.warns(UserWarning, match="1280 columns"):
        assert read_image(tmp_path / "a.tif").info["info_bar_source"] == "seen"


# ------------------------------------------------------------------------------------ what is told


def test_info_tells_where_it_all_came_from(tmp_path: Path) -> None:
    Picture.fromarray(noise()).save(tmp_path / "a.png")
    info = read_image(tmp_path / "a.png", "1 um").info
    assert (info["file"], info["format"], info["info_bar_rows"]) == ("a.png", "PNG", 0)
    assert info["scale_sources"] == []


def test_content_counts_and_not_the_name(tmp_path: Path) -> None:
    Picture.fromarray(noise()).save(tmp_path / "a.png")
    (tmp_path / "a.png").rename(tmp_path / "a.tif")
    image = read_image(tmp_path / "a.tif")
    assert np.array_equal(image.pixels, noise())
    assert any("named .tif but holds PNG" in note for note in image.info["notes"])


# ------------------------------------------------------------------------------------ what is wrong


def test_missing_files_suggest_near_names(tmp_path: Path) -> None:
    for name in ("Al2O3_a.tif", "Al2O3_b.tif", "other.png"):
        (tmp_path / name).write_bytes(b"x")
    with pytest.raises(ImageError, match=r"does not exist; did you mean .*'Al2O3_a\.tif'"):
        read_image(tmp_path / "al2o3_a.tiff")
    with pytest.raises(ImageError, match="check the name"):
        read_image(tmp_path / "zzz")
    with pytest.raises(ImageError, match="no folder"):
        read_image(tmp_path / "no" / "a.tif")


@pytest.mark.parametrize(
    ("path", "words"),
    [
        (None, "str or a path"),
        (5, "str or a path"),
        (noise(), "Image\\(pixels\\)"),
        (b"a.tif", "str or a path"),
        ("", "folder"),
        ("a\0b", "no usable file name|does not exist"),
        ("x" * 5000, "no usable file name|does not exist"),
    ],
    ids=range(7),
)
def test_what_is_no_path(path: Any, words: str) -> None:
    with pytest.raises(ImageError, match=words):
        read_image(path)


def test_folders_empty_files_text_and_pipes(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="is a folder"):
        read_image(tmp_path)
    (tmp_path / "a.tif").write_bytes(b"")
    with pytest.raises(ImageError, match=r"empty \(0 bytes\)"):
        read_image(tmp_path / "a.tif")
    (tmp_path / "t.tif").write_text("this is a text file\n")
    with pytest.raises(ImageError, match="no TIFF, PNG, JPEG or BMP"):
        read_image(tmp_path / "t.tif")
    if hasattr(os, "mkfifo"):
        os.mkfifo(tmp_path / "pipe")
        with pytest.raises(ImageError):
            read_image(tmp_path / "pipe")


def test_no_permission(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Picture.fromarray(noise()).save(tmp_path / "a.png")

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    # root may read everything, so the refusal is played
    monkeypatch.setattr("builtins.open", refuse)
    with pytest.raises(ImageError, match="permission"):
        read_image(tmp_path / "a.png")


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_no_finite_value(value: float, tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", np.full((H, W), value, np.float32))
    with pytest.raises(ImageError, match=r"a\.tif.*no finite value"):
        read_image(tmp_path / "a.tif")


def ifd(entries: list[tuple[int, int, int, int]], tail: bytes = b"") -> bytes:
    """A little-endian TIFF of one directory, entries (tag, type, count, value)."""
    body = struct.pack("<H", len(entries))
    for tag, kind, count, value in entries:
        body += struct.pack("<HHII", tag, kind, count, value)
    return b"II*\0" + struct.pack("<I", 8) + body + struct.pack("<I", 0) + tail


def directory(width: int, height: int, stored: int, compression: int = 1) -> bytes:
    entries = [(256, 4, 1, width), (257, 4, 1, height), (258, 3, 1, 8), (259, 3, 1, compression)]
    entries += [(262, 3, 1, 1), (273, 4, 1, 122), (277, 3, 1, 1), (278, 4, 1, height)]
    return ifd([*entries, (279, 4, 1, stored)], bytes(stored))


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (directory(0, 5, 10), "no pixels|damaged"),
        (directory(5, 0, 10), "no pixels|damaged"),
        (directory(100, 100, 10), "cut short"),
        (directory(2**31, 2**31, 100, 8), "more than"),
        (directory(40_000, 40_000, 100, 8), "unfold"),
        (ifd([]), "."),
        (b"II*\0\x08\0\0\0", "."),
        (b"II*\0\xff\xff\xff\xff", "."),
        (b"MM\0*\0\0\0\x08" + b"\xff" * 50, "."),
    ],
    ids=range(9),
)
def test_tiffs_that_cannot_be(data: bytes, words: str, tmp_path: Path) -> None:
    (tmp_path / "a.tif").write_bytes(data)
    with pytest.raises(ImageError, match=words):
        read_image(tmp_path / "a.tif")


def test_decompression_bombs(tmp_path: Path) -> None:
    def chunk(kind: bytes, body: bytes) -> bytes:
        code = zlib.crc32(kind + body)
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", code)

    for width, words in ((60_000, "too many pixels|more than|unfold"), (12_000, "unfold")):
        head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, width, 16, 0, 0, 0, 0))
        png = b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", zlib.compress(bytes(99)))
        (tmp_path / "a.png").write_bytes(png + chunk(b"IEND", b""))
        with pytest.raises(ImageError, match=words):
            read_image(tmp_path / "a.png")


def written(kind: str) -> bytes:
    stream = io.BytesIO()
    if kind.startswith("tif"):
        options: dict[str, Any] = {"tif": {}, "tif-zlib": {"compression": "zlib"}}.get(
            kind, {"compression": "lzw", "tile": (32, 32)}
        )
        tifffile.imwrite(stream, noise(), **options)
    else:
        Picture.fromarray(noise()).save(stream, kind)
    return stream.getvalue()


@pytest.mark.parametrize("kind", ["tif", "tif-zlib", "tif-lzw", "png", "jpeg", "bmp"])
def test_files_cut_anywhere(kind: str, tmp_path: Path) -> None:
    whole = written(kind)
    path = tmp_path / "a.img"
    path.write_bytes(whole)
    truth = read_pixels(path).pixels
    for length in np.unique(np.linspace(1, len(whole) - 1, 60).astype(int)):
        path.write_bytes(whole[:length])
        try:
            pixels = read_pixels(path).pixels
        except ImageError:
            with pytest.raises(ImageError, match=r"a\.img"):
                read_pixels(path)
        else:  # only bytes behind the pixels are gone
            assert np.array_equal(pixels, truth)


@pytest.mark.parametrize("kind", ["tif", "tif-zlib", "tif-lzw", "png", "jpeg", "bmp"])
def test_files_with_broken_bytes_raise_nothing_else(kind: str, tmp_path: Path) -> None:
    whole = written(kind)
    path = tmp_path / "a.img"
    rng = np.random.default_rng(5)
    refused = 0
    for _ in range(80):
        broken = bytearray(whole)
        # most of the structure lies at the start
        for place in rng.integers(0, min(len(whole), 400), 3):
            broken[place] = rng.integers(256)
        path.write_bytes(bytes(broken))
        try:
            read_image(path)
        except (ImageError, CalibrationError):
            refused += 1
    assert refused > 0


# ------------------------------------------------------------------------------------------ memory


STRIPS = {"compression": "zlib", "compressionargs": {"level": 1}, "rowsperstrip": 256}


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="peak memory is read in /proc")
@pytest.mark.parametrize("options", [{}, STRIPS], ids=["plain", "zlib"])
def test_a_hundred_megapixels_fit_in_twice_their_size(
    options: dict[str, Any], tmp_path: Path
) -> None:
    pixels = np.tile(noise((100, 10_000)), (100, 1))
    tifffile.imwrite(tmp_path / "a.tif", pixels, metadata=None, **options)
    # VmHWM is the peak of this process; ru_maxrss would start at the peak of the one that forked it
    code = f"""
import re, sys, tempfile
from PIL import Image
from particle_nb.core.image import read_image

def peak():
    return int(re.search(r"VmHWM:\\s*(\\d+) kB", open("/proc/self/status").read())[1])

with tempfile.TemporaryDirectory() as folder:
    Image.new("L", (600, 600)).save(folder + "/w.tif")
    read_image(folder + "/w.tif").digest
before = peak()
image = read_image({str(tmp_path / "a.tif")!r}, "1 nm")
image.digest
assert image.pixels.shape == (10_000, 10_000), image.pixels.shape
sys.stdout.write(str((peak() - before) / 1024))
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120
    )
    above = float(done.stdout)  # MiB over the warm reader
    assert 95 <= above < 2 * 95, above  # the pixels alone are 95.4


# ------------------------------------------------------------ channels, colours and inverted greys


@pytest.mark.parametrize("count", [2, 4, 5, 8])
@pytest.mark.parametrize("where", [0, -1])
@pytest.mark.parametrize("layout", ["ome", "imagej", "samples", "planar"])
def test_every_channel_reaches_the_grey(
    layout: str, where: int, count: int, tmp_path: Path
) -> None:
    """A step of 120 in one of the detectors is 120 / count in their mean."""
    stack = np.full((count, H, W), 60, np.uint8)
    stack += np.arange(W, dtype=np.uint8) % 3  # no channel is the same everywhere
    stack[where, 20:60, 30:80] += 120
    path = tmp_path / ("a.ome.tif" if layout == "ome" else "a.tif")
    options: dict[str, Any] = {
        "ome": {"metadata": {"axes": "CYX"}},
        "imagej": {"imagej": True, "metadata": {"axes": "CYX"}},
        "samples": {"planarconfig": "contig", "metadata": None},
        "planar": {"planarconfig": "separate", "metadata": None},
    }[layout]
    data = np.moveaxis(stack, 0, -1) if layout == "samples" else stack
    tifffile.imwrite(path, data, photometric="minisblack", **options)
    image = read_image(path, "1 um")
    assert image.pixels.shape == (H, W, count)
    step = image.grey[20:60, 30:80].mean() - image.grey[70:, 90:].mean()
    assert step == pytest.approx(120 / count, abs=0.1)
    for channel in (0, count - 1):
        one = read_image(path, "1 um", channel=channel)
        assert np.array_equal(one.pixels, stack[channel])
        assert f"channel {channel} of {count}" in one.info["notes"]
    for bad in (count, -1):
        with pytest.raises(ImageError, match=f"{count} channels"):
            read_image(path, channel=bad)
    for odd in (1.5, "0", True):
        with pytest.raises(ImageError, match="channel is"):
            read_image(path, channel=odd)  # type: ignore[arg-type]


def test_one_channel_of_a_colour_picture(tmp_path: Path) -> None:
    pixels = noise((H, W, 3))
    Picture.fromarray(pixels).save(tmp_path / "a.png")
    tifffile.imwrite(tmp_path / "a.tif", pixels, photometric="rgb")
    for name in ("a.png", "a.tif"):
        assert np.array_equal(read_image(tmp_path / name, channel=2).pixels, pixels[..., 2])
        with pytest.raises(ImageError, match="3 channels"):
            read_image(tmp_path / name, channel=3)
    Picture.fromarray(pixels[..., 0]).save(tmp_path / "g.png")
    with pytest.raises(ImageError, match="1 channel, from 0 to 0"):
        read_image(tmp_path / "g.png", channel=1)


def test_a_fourth_sample_without_a_meaning(tmp_path: Path) -> None:
    """Transparency where it is the same everywhere, a detector where it is not."""
    pixels = noise((H, W, 4))
    opaque = pixels.copy()
    opaque[..., 3] = 255
    for data, channels in ((pixels, 4), (opaque, 3)):
        tifffile.imwrite(
            tmp_path / "a.tif",
            data,
            photometric="rgb",
            extrasamples=["unspecified"],
            metadata=None,
        )
        assert np.array_equal(read_image(tmp_path / "a.tif").pixels, data[..., :channels])
    rgb = opaque[..., :3].astype(np.float32) @ np.array([0.299, 0.587, 0.114], np.float32)
    assert np.allclose(Image(opaque).grey, rgb)
    assert np.allclose(Image(pixels).grey, pixels.mean(axis=2))


def test_colour_tables_of_either_depth(tmp_path: Path) -> None:
    """Entries of 8 bits, which some programs write where 16 belong, are not all black."""
    index = noise()
    rng = np.random.default_rng(2)
    colours = rng.integers(0, 256, (3, 256), np.uint16)
    tifffile.imwrite(tmp_path / "e.tif", index, photometric="palette", colormap=colours)
    assert np.array_equal(read_image(tmp_path / "e.tif").pixels, colours.astype(np.uint8).T[index])
    grey = np.tile(np.arange(255, -1, -1, dtype=np.uint16), (3, 1))
    tifffile.imwrite(tmp_path / "g.tif", index, photometric="palette", colormap=grey)
    assert np.array_equal(read_image(tmp_path / "g.tif").pixels, 255 - index)
    # 16-bit pixels with greys of their own depth keep it
    deep = noise(dtype=np.uint16)
    table = np.tile(np.arange(65_535, -1, -1, dtype=np.uint16), (3, 1))
    tifffile.imwrite(tmp_path / "d.tif", deep, photometric="palette", colormap=table)
    assert np.array_equal(read_image(tmp_path / "d.tif").pixels, 65_535 - deep)


def test_ycbcr_and_cielab_become_rgb(tmp_path: Path) -> None:
    """Truth: Pillow's conversion of YCbCr, scikit-image's of CIELAB."""
    from skimage.color import rgb2lab

    rgb = noise((H, W, 3))
    ycbcr = np.asarray(Picture.fromarray(rgb).convert("YCbCr"))
    tifffile.imwrite(
        tmp_path / "y.tif", ycbcr, photometric="ycbcr", subsampling=(1, 1), metadata=None
    )
    image = read_image(tmp_path / "y.tif")
    assert np.abs(image.pixels.astype(int) - rgb).max() <= 3
    assert "YCbCr was converted to RGB" in image.info["notes"]
    lab = rgb2lab(rgb)
    for kind, bits in (("cielab", 8), ("icclab", 8), ("cielab", 16), ("icclab", 16)):
        top, unit = 2**bits - 1, 1 if bits == 8 else 256
        light = np.rint(lab[..., :1] * top / 100)
        chroma = np.rint(lab[..., 1:] * unit)
        chroma = chroma % (top + 1) if kind == "cielab" else chroma + (top + 1) // 2
        stored = np.concatenate([light, chroma], -1).astype(f"u{bits // 8}")
        tifffile.imwrite(tmp_path / "l.tif", stored, photometric=kind, metadata=None)
        image = read_image(tmp_path / "l.tif")
        assert np.abs(image.pixels.astype(int) - rgb).max() <= (12 if bits == 8 else 1)
        assert "CIELAB was converted to RGB" in image.info["notes"]


def test_jpeg_in_tiff_is_not_converted_twice(tmp_path: Path) -> None:
    smooth = np.stack([np.add.outer(np.arange(H), np.arange(W))] * 3, -1).astype(np.uint8)
    smooth[..., 1] //= 2
    how = {"level": 95, "outcolorspace": "YCBCR"}
    tifffile.imwrite(
        tmp_path / "j.tif", smooth, photometric="rgb", compression="jpeg", compressionargs=how
    )
    with tifffile.TiffFile(tmp_path / "j.tif") as tif:
        assert tif.pages[0].aspage().photometric == 6  # YCbCr
    assert np.abs(read_image(tmp_path / "j.tif").pixels.astype(int) - smooth).max() <= 12


@pytest.mark.parametrize("dtype", ["u1", "u2", "i2", "f4"])
def test_inverted_greys_of_every_kind(dtype: str, tmp_path: Path) -> None:
    pixels = noise(dtype=np.dtype(dtype))
    tifffile.imwrite(tmp_path / "a.tif", pixels, photometric="miniswhite", metadata=None)
    got = read_image(tmp_path / "a.tif").pixels
    assert got.dtype == np.dtype(dtype)
    order = np.argsort(pixels, axis=None, kind="stable")
    assert (np.diff(got.ravel()[order].astype(float)) <= 0).all()
    assert np.ptp(got.astype(float)) == pytest.approx(np.ptp(pixels.astype(float)), rel=1e-6)


def test_an_inverted_stack_of_imagej(tmp_path: Path) -> None:
    """Every plane is turned over, also where ImageJ wrote all behind one page."""
    stack = noise((3, H, W))
    with tifffile.TiffWriter(tmp_path / "a.tif", imagej=True) as tif:
        tif.write(stack, photometric="miniswhite", metadata={"axes": "ZYX"})
    assert np.array_equal(read_image(tmp_path / "a.tif", page=2).pixels, 255 - stack[2])


def test_raw_sensor_images_are_refused(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", noise(), photometric="minisblack", metadata=None)
    data = bytearray((tmp_path / "a.tif").read_bytes())
    with tifffile.TiffFile(tmp_path / "a.tif") as tif:
        place = tif.pages[0].aspage().tags[262].valueoffset
    struct.pack_into("<H", data, place, 32803)
    (tmp_path / "a.tif").write_bytes(bytes(data))
    with pytest.raises(ImageError, match="sensor mosaic"):
        read_image(tmp_path / "a.tif")


# ------------------------------------------------------------------------------ arrays of a caller


def test_an_image_does_not_change_with_the_array_it_was_given() -> None:
    array = noise()
    for given in (array, array[::2], array.T, array.reshape(-1)[: H * W // 2].reshape(H, W // 2)):
        array[:] = noise()
        image = Image(given)
        before, digest = image.pixels.copy(), image.digest
        array[:] = 0
        assert np.array_equal(image.pixels, before)
        assert Image(image.pixels).digest == digest
        with pytest.raises(ValueError, match="read-only"):
            image.pixels[0, 0] = 1
    assert array.flags.writeable


def test_what_nobody_can_change_is_not_copied() -> None:
    array = noise()
    array.flags.writeable = False
    assert np.shares_memory(Image(array).pixels, array)
    image = Image(noise())
    assert np.shares_memory(Image(image.pixels[10:20]).pixels, image.pixels)


@pytest.mark.parametrize("kind", ["u2", "i4", "f4", "f8"])
def test_byte_order_does_not_make_another_image(kind: str) -> None:
    array = noise(dtype=np.dtype(kind))
    swapped = array.astype(array.dtype.newbyteorder())
    image = Image(swapped)
    assert image.pixels.dtype.isnative
    assert image.digest == Image(array).digest
    assert np.array_equal(image.grey, Image(array).grey)


def test_masked_pixels_are_no_pixels() -> None:
    array = noise(dtype=np.uint16)
    hidden = np.zeros(array.shape, bool)
    hidden[:20] = True
    array[:20] = 65_535
    image = Image(np.ma.MaskedArray(array, hidden))
    assert np.isnan(image.pixels[:20]).all()
    assert np.array_equal(image.pixels[20:], array[20:])
    assert image.grey[:20].max() == array[20:].min()
    plain = Image(np.ma.MaskedArray(array))
    assert plain.pixels.dtype == np.uint16
    with pytest.raises(ImageError, match="no finite"):
        Image(np.ma.MaskedArray(array, True))
    with pytest.raises(ImageError, match="real numbers"):
        Image(np.zeros((4, 4), "m8[s]"))
