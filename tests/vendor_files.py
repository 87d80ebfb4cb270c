"""TIFF files with the tags of the instruments, byte for byte as they lay them out.

SmartSEM writes pairs of lines, FEI INI text, TESCAN a chain of blocks (size, type, data). No file
of an instrument is copied; the noise is ours.
"""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import numpy as np
import tifffile

H, W = 96, 128


def noise(shape: tuple[int, ...] = (H, W), dtype: Any = np.uint8) -> np.ndarray:
    """Grey noise over the whole depth; no row of it looks like an info bar."""
    values = np.random.default_rng(0).normal(0.5, 0.12, shape).clip(0, 1)
    if np.issubdtype(dtype, np.floating):
        return values.astype(dtype)
    return (values * np.iinfo(dtype).max).astype(dtype)


def tiff(path: Path, tags: list[tuple[int, bytes]] = [], rows: int = H, **options: Any) -> Path:  # noqa: B006
    """A TIFF with vendor tags as their instruments write them: byte type, first page."""
    extra = [(code, 1, len(text), text, True) for code, text in tags]
    options = {"metadata": None, "photometric": "minisblack"} | options
    tifffile.imwrite(path, noise((rows, W)), extratags=extra, **options)
    return path


def zeiss(size: str = "26.37 nm", store: str = f"{W} * {H}", field: str = "3.375 µm") -> bytes:
    lines = ["", "0", "0", "0", "3.296e-09", "1", "5", "AP_IMAGE_PIXEL_SIZE"]
    lines += [f"Image Pixel Size = {size}", "AP_PIXEL_SIZE", "Pixel Size = 3.296 nm"]
    lines += ["DP_IMAGE_STORE", f"Store resolution = {store}", "AP_WIDTH", f"Width = {field}"]
    lines += ["AP_MAG", "Mag =  10.00 K X", "AP_TIME", "Time :12:06:57", "SV_USER_TEXT", "AP_WD"]
    return "\r\n".join(lines).encode("cp1252")


def fei(x: str = "2.5e-009", y: str = "2.5e-009", rows: int = H, bar: int = 0) -> bytes:
    text = "[User]\r\nDate=01/02/2020\r\n[Beam]\r\nHV=5000\r\n[Scan]\r\n"
    text += f"PixelWidth={x}\r\nPixelHeight={y}\r\nHorFieldsize=3.2e-007\r\n"
    text += f"[Image]\r\nResolutionX={W}\r\nResolutionY={rows}\r\n"
    return (text + f"[PrivateFei]\r\nDatabarHeight={bar}\r\n\x00").encode()


def tescan(strip: int = 0, thumbnail: int = 900) -> bytes:
    """Blocks of size (with the type), type, data: a JPEG thumbnail, MAIN, SEM, the end."""
    main = f"AccFrames=1\r\nDevice=MIRA3 LMH\r\nImageStripSize={strip}\r\n"
    main += "PixelSizeX=8.138e-9\r\nPixelSizeY=8.138e-9\r\n"
    blocks = [
        (1, bytes(thumbnail)),
        (2, main.encode()),
        (3, b"HV=15000.0\r\nWD=0.0051\r\n"),
        (0, b""),
    ]
    return b"".join(struct.pack("<IH", len(data) + 2, kind) + data for kind, data in blocks)
