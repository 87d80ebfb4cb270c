"""From a detector's signal to the grey values of a file: blur, noise, tone and the info bar."""

from __future__ import annotations

import math

import numpy as np
from scipy.signal import fftconvolve

from particle_nb.core.synthetic.detectors import Exposure
from particle_nb.core.synthetic.smoothing import blur, blur_axis

# 3 x 5 glyphs, a row of three bits each, for the figures and units of a scale bar
_GLYPHS = {
    "0": (7, 5, 5, 5, 7),
    "1": (2, 6, 2, 2, 7),
    "2": (7, 1, 7, 4, 7),
    "3": (7, 1, 7, 1, 7),
    "4": (5, 5, 7, 1, 1),
    "5": (7, 4, 7, 1, 7),
    "6": (7, 4, 7, 5, 7),
    "7": (7, 1, 2, 2, 2),
    "8": (7, 5, 7, 5, 7),
    "9": (7, 5, 7, 1, 7),
    ".": (0, 0, 0, 0, 2),
    " ": (0, 0, 0, 0, 0),
    "n": (0, 6, 5, 5, 5),
    "m": (0, 7, 7, 5, 5),
    "u": (0, 5, 5, 5, 7),
    "k": (4, 5, 6, 6, 5),
    "V": (5, 5, 5, 5, 2),
    "x": (0, 5, 2, 2, 5),
    "S": (7, 4, 7, 1, 7),
    "E": (7, 4, 6, 4, 7),
    "B": (6, 5, 6, 5, 6),
    "T": (7, 2, 2, 2, 2),
    "M": (5, 7, 7, 5, 5),
    "W": (5, 5, 7, 7, 5),
    "D": (6, 5, 5, 5, 6),
    "H": (5, 5, 7, 5, 5),
    "-": (0, 0, 7, 0, 0),
    ":": (0, 2, 0, 2, 0),
}


def _text(text: str, zoom: int) -> np.ndarray:
    columns = []
    for sign in text:
        rows = _GLYPHS.get(sign, _GLYPHS[" "])
        columns.append([[bool(row >> bit & 1) for bit in (2, 1, 0)] + [False] for row in rows])
    return np.kron(np.concatenate(columns, axis=1), np.ones((zoom, zoom), bool)).astype(bool)


def scale_bar(pixel_nm: float, width: int) -> tuple[int, str]:
    """Return a round length for a scale bar: pixels and its label.

    Examples
    --------
    >>> scale_bar(10.0, 512)
    (100, '1 um')
    """
    wish = 0.28 * width * pixel_nm
    decade = 10.0 ** math.floor(math.log10(wish))
    length = next(step * decade for step in (5, 2, 1) if step * decade <= wish * 1.0000001)
    label = f"{length:g} nm" if length < 1000 else f"{length / 1000:g} um"
    return round(length / pixel_nm), label


def banner_rows(height: int) -> int:
    """Rows of an info bar in a picture of this height."""
    return 12 * max(1, height // 300)


def with_banner(grey: np.ndarray, rows: int, pixel_nm: float, kind: str) -> np.ndarray:
    """Append an info bar with a scale bar, uint8 (H + rows, W)."""
    width = grey.shape[1]
    zoom = rows // 12
    bar = np.zeros((rows, width), np.uint8)
    bar[:zoom] = 255
    image = _text(f"{kind} 15 kV  WD 8.1 mm", zoom)
    room = bar[4 * zoom : 9 * zoom, 4 * zoom : 4 * zoom + image.shape[1]]
    room[image[:, : room.shape[1]]] = 235
    pixels, label = scale_bar(pixel_nm, width)
    image = _text(label, zoom)
    left = width - 4 * zoom - image.shape[1]
    if left > pixels + 4 * zoom:
        bar[4 * zoom : 9 * zoom, left : left + image.shape[1]][image] = 255
        bar[6 * zoom : 8 * zoom, left - 3 * zoom - pixels : left - 3 * zoom] = 255
    return np.concatenate([grey, bar])


def annotate(grey: np.ndarray, pixel_nm: float, rng: np.random.Generator) -> None:
    """Write a letter and a scale bar into a picture (H, W), as published figures carry them."""
    height, width = grey.shape
    zoom = max(1, height // 160)
    ink, paper = (255, 0) if rng.random() < 0.7 else (0, 255)
    pixels, label = scale_bar(pixel_nm, round(width * 0.7))
    boxed = rng.random() < 0.35
    letter = _text(str(rng.choice(list("SEBTMWDH"))), zoom + int(rng.integers(0, 3)))
    text = _text(label, zoom)
    block = np.zeros((text.shape[0] + 4 * zoom, max(text.shape[1], pixels)), bool)
    block[: text.shape[0], : text.shape[1]] = text
    block[-2 * zoom :, :pixels] = True
    for number, ink_on in enumerate((letter, block)):
        h, w = ink_on.shape
        margin = 3 * zoom
        if h + 2 * margin >= height or w + 2 * margin >= width:
            continue
        row = margin if number == 0 else height - h - margin
        col = margin if rng.random() < 0.6 else width - w - margin
        room = grey[row - zoom : row + h + zoom, col - zoom : col + w + zoom]
        if boxed:
            room[:] = paper
        room[zoom:-zoom, zoom:-zoom][ink_on] = ink


def expose(
    signal: np.ndarray,
    exposure: Exposure,
    rng: np.random.Generator,
) -> np.ndarray:
    """Turn a detector's signal into grey values, uint8 (H, W).

    The random numbers drawn do not depend on the signal, so that a difference in the last bit
    between two machines moves a grey value by at most one step.

    Examples
    --------
    >>> expose(np.eye(8, dtype=np.float32), Exposure(), np.random.default_rng(0)).dtype
    dtype('uint8')
    """
    height, width = signal.shape
    values = signal.astype(np.float32)
    if exposure.charging:
        # slow discharge: bright streaks trail along the fast scan behind steep bright edges
        bright = np.maximum(values - np.float32(values.mean() + 1.2 * values.std()), 0)
        trail = blur_axis(bright, 18.0, 1, 2.5)
        trail = np.roll(trail, 20, axis=1)
        wander = rng.standard_normal((height, 1), dtype=np.float32)
        strength = 0.6 + 0.4 * blur_axis(wander, 1.0, 0, 4.0, "symmetric")
        halo = blur(bright, 5.0, 2.5, "symmetric")
        values += exposure.charging * (2.0 * trail * strength + halo)
    if exposure.defocus > 0.05 or exposure.astigmatism > 0.05:
        values = _defocus(values, exposure)
    if exposure.invert:
        values = -values
    mean, spread = float(values.mean()), float(values.std())
    # percentiles, so that a few bright edges do not squeeze everything else into two greys
    least, low, middle, high, most = np.percentile(values[::2, ::2], (0.5, 5, 50, 95, 99.5))
    pivot = 0.5 * float(middle) + 0.5 * mean
    spread = max(float(high - low) / 3.3, 0.35 * spread, 1e-6)
    # Nobody lets the particles burn out: a blurred edge next to a clipped grey moves outwards.
    spread = max(
        spread,
        exposure.contrast * float(most - pivot) / max(1.0 - exposure.brightness, 0.02),
        exposure.contrast * float(pivot - least) / max(exposure.brightness, 0.02),
    )
    grey = (values - pivot) * (exposure.contrast / spread)
    grey += exposure.brightness
    y = np.linspace(-1, 1, height, dtype=np.float32)[:, None]
    x = np.linspace(-1, 1, width, dtype=np.float32)[None, :]
    g = rng.standard_normal(5, dtype=np.float32)
    if exposure.gradient:
        slope = (
            g[0] * x
            + g[1] * y
            + 0.5 * g[2] * x * y
            + 0.4 * g[3] * (x * x - 0.33)
            + 0.4 * g[4] * (y * y - 0.33)
        )
        grey += exposure.gradient * slope
    if exposure.vignette:
        grey *= 1.0 - exposure.vignette * 0.5 * (x * x + y * y)
    np.clip(grey, 0.0, 1.0, out=grey)
    if exposure.gamma != 1.0:
        grey **= np.float32(exposure.gamma)
    noise = rng.standard_normal(signal.shape, dtype=np.float32)
    if exposure.dose:
        # Poisson in its Gaussian limit: the draws stay the same on every machine
        grey += noise * np.sqrt((grey + 0.05) / np.float32(exposure.dose))
    lines = rng.standard_normal((height, 1), dtype=np.float32)
    grey += np.float32(exposure.line_noise) * lines
    return np.rint(np.clip(grey, 0, 1) * 255).astype(np.uint8)


def _defocus(values: np.ndarray, exposure: Exposure) -> np.ndarray:
    """Blur with an elliptic Gaussian whose axes lie at `stigma_angle`."""
    if exposure.astigmatism <= 0.05:
        return blur(values, exposure.defocus, 3.5)
    major, minor = exposure.defocus + exposure.astigmatism, max(exposure.defocus, 0.3)
    angle = math.radians(exposure.stigma_angle)
    cos, sin = math.cos(angle), math.sin(angle)
    reach = max(1, math.ceil(3 * major))
    y, x = np.mgrid[-reach : reach + 1, -reach : reach + 1].astype(np.float32)
    u, v = x * cos + y * sin, -x * sin + y * cos
    kernel = np.exp(-0.5 * ((u / major) ** 2 + (v / minor) ** 2))
    pad = np.pad(values, reach, mode="edge")
    return fftconvolve(pad, kernel / kernel.sum(), mode="valid").astype(np.float32)
