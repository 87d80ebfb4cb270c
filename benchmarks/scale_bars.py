"""Scale bars drawn into micrographs: how many are found, refused, missed, or wrong.

    OMP_NUM_THREADS=1 python benchmarks/scale_bars.py IMAGES --count 240 --seed 10000

IMAGES is a folder of micrographs; the upper part of each is a ground, on which a bar and its length
are drawn: white, black or coloured, lying or upright, the text beside it, upright or turned, in
whatever TrueType fonts ``fc-list`` names, saved as PNG or JPEG. A bar is right where both ends are
within 1.5 px of what was drawn; a length is right where it is the one that was drawn.
"""

from __future__ import annotations

import argparse
import io
import subprocess
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import PIL.Image
import PIL.ImageDraw
import PIL.ImageFont

import particle_nb as pnb

COLOURS = {
    "red": (255, 0, 0),
    "yellow": (255, 255, 0),
    "green": (0, 255, 0),
    "cyan": (0, 255, 255),
    "magenta": (255, 0, 255),
    "blue": (0, 0, 255),
    "orange": (255, 140, 0),
    "dark red": (170, 20, 30),
    "dark green": (0, 128, 0),
}
LENGTHS = ("10 nm", "20nm", "50 nm", "100 nm", "200 nm", "500nm", "300 nm", "0.5 µm", "1 µm")
LENGTHS += (
    "2 µm",
    "5 µm",
    "10µm",
    "20 µm",
    "2.5 µm",
    "1 um",
    "400 nm",
    "1.00 µm",
    "100 µm",
    "1 mm",
)


@dataclass(frozen=True)
class Drawn:
    """What was drawn: the truth."""

    pixels: np.ndarray
    ends: tuple[float, float, float, float]
    value: float
    unit: str
    colour: str
    way: str
    font: str
    size: int


def fonts() -> list[str]:
    """TrueType files of the system that can write digits and "µ"."""
    told = subprocess.run(["fc-list", ":", "file"], capture_output=True, text=True, check=True)
    found = sorted(line.split(":")[0] for line in told.stdout.splitlines())
    return [path for path in found if path.endswith((".ttf", ".otf")) and "Math" not in path]


def ground(path: Path, rng: np.random.Generator) -> PIL.Image.Image:
    """The upper part of a micrograph, at a random size."""
    picture = PIL.Image.open(path).convert("RGB")
    wide, tall = picture.size
    picture = picture.crop((0, 0, wide, int(0.6 * tall)))
    width = int(rng.integers(420, 900))
    height = int(rng.integers(360, 700))
    picture = picture.resize((width, height), PIL.Image.Resampling.BILINEAR)
    return picture.transpose(PIL.Image.Transpose.FLIP_LEFT_RIGHT)


def written(text: str, font: str, size: int, turn: int) -> PIL.Image.Image:
    """A text as a mask (L), turned by quarters."""
    face = PIL.ImageFont.truetype(font, size)
    x0, y0, x1, y1 = (int(n) for n in face.getbbox(text))
    mask = PIL.Image.new("L", (x1 - x0 + 2, y1 - y0 + 2))
    PIL.ImageDraw.Draw(mask).text((1 - x0, 1 - y0), text, 255, face)
    return mask.rotate(turn, expand=True)


def drawn(seed: int, paths: list[Path], faces: list[str]) -> Drawn:
    """Draw one."""
    rng = np.random.default_rng(seed)
    picture = ground(paths[int(rng.integers(len(paths)))], rng)
    wide, tall = picture.size
    way = str(
        rng.choice(["lying", "upright", "turned left", "turned right"], p=[0.4, 0.3, 0.2, 0.1])
    )
    name = str(
        rng.choice(["white", "black", *COLOURS], p=[0.2, 0.1] + [0.7 / len(COLOURS)] * len(COLOURS))
    )
    colour = {"white": (255, 255, 255), "black": (0, 0, 0), **COLOURS}[name]
    text = str(rng.choice(LENGTHS))
    size, font = int(rng.integers(13, 34)), str(rng.choice(faces))
    ink = written(text, font, size, {"turned left": 90, "turned right": 270}.get(way, 0))
    length, thick = int(rng.integers(50, 200)), int(rng.integers(2, 11))
    bar = (length, thick) if way == "lying" else (thick, length)
    gap = int(rng.integers(5, 14))
    x, y, tx, ty, box = placed(rng, (wide, tall), bar, ink.size, gap, way)
    if name in ("white", "black"):  # nobody draws white on white
        name = "white" if np.asarray(picture.convert("L").crop(box)).mean() < 128 else "black"
        colour = (255, 255, 255) if name == "white" else (0, 0, 0)
    draw = PIL.ImageDraw.Draw(picture)
    boxed = rng.random() < 0.25
    if boxed:
        dark = np.dot(colour, (0.3, 0.59, 0.11)) > 110
        draw.rectangle(box, fill=(0, 0, 0) if dark else (255, 255, 255))
    draw.rectangle((x, y, x + bar[0] - 1, y + bar[1] - 1), fill=colour)
    tint = colour
    if name in COLOURS and not boxed and rng.random() < 0.15:
        tint = (255, 255, 255)
    picture.paste(tint, (tx, ty), ink)
    if rng.random() < 0.5:
        stream = io.BytesIO()
        picture.save(stream, "JPEG", quality=int(rng.integers(70, 96)))
        picture = PIL.Image.open(stream)
    pixels = np.asarray(picture)
    if way == "lying":
        middle = y + (thick - 1) / 2
        ends = (x - 0.5, middle, x + length - 0.5, middle)
    else:
        middle = x + (thick - 1) / 2
        ends = (middle, y - 0.5, middle, y + length - 0.5)
    value, unit = text.replace("µ", "u").replace("nm", " nm").replace("um", " um").split()
    return Drawn(pixels, ends, float(value), unit, name, way, Path(font).stem, size)


def placed(rng, frame, bar, ink, gap, way):
    """Top left corners of bar and text, and the box around both."""
    (wide, tall), (bw, bh), (iw, ih) = frame, bar, ink
    side = str(rng.choice(["below", "above", "right", "left"]))
    if way == "upright" or way.startswith("turned"):
        side = str(rng.choice(["right", "left"], p=[0.6, 0.4]))
        if way == "upright" and rng.random() < 0.25:
            side = str(rng.choice(["above", "below"]))
    across = max(bw, iw) if side in ("above", "below") else bw + gap + iw
    down = max(bh, ih) if side in ("left", "right") else bh + gap + ih
    x = int(rng.integers(12, max(wide - across - 12, 13)))
    y = int(rng.integers(max(int(0.2 * tall), 12), max(tall - down - 12, int(0.2 * tall) + 13)))
    if side in ("above", "below"):
        bx, tx = x + (across - bw) // 2, x + (across - iw) // 2
        by, ty = (y, y + bh + gap) if side == "below" else (y + ih + gap, y)
    else:
        by, ty = y + (down - bh) // 2, y + (down - ih) // 2
        bx, tx = (x, x + bw + gap) if side == "right" else (x + iw + gap, x)
    return bx, by, tx, ty, (x - 8, y - 8, x + across + 8, y + down + 8)


def judged(truth: Drawn) -> str:
    """Right, bar only, missed, wrong bar or wrong length."""
    found = pnb.find_scale_bar(truth.pixels)
    if not found:
        return "missed"
    a, b = np.array(found.ends), np.array(truth.ends)
    off = min(np.abs(a - b).max(), np.abs(a[[2, 3, 0, 1]] - b).max())
    if found.value is None:
        return "bar only" if off <= 1.5 else "wrong bar, no length"
    if off > 1.5 or (found.value, found.unit) != (truth.value, truth.unit):
        return "WRONG"
    return "right"


def main() -> None:
    """Draw, look, and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("images", type=Path)
    parser.add_argument("--count", type=int, default=240)
    parser.add_argument("--seed", type=int, default=10_000)
    parser.add_argument("--show", action="store_true", help="each that is not right")
    parser.add_argument("--keep", type=Path, help="folder for pictures that are not right")
    given = parser.parse_args()
    paths = sorted(p for p in given.images.iterdir() if p.suffix in (".png", ".jpg", ".tif"))
    faces = fonts()
    by: dict[str, Counter[str]] = {}
    for seed in range(given.seed, given.seed + given.count):
        truth = drawn(seed, paths, faces)
        said = judged(truth)
        kind = "coloured" if truth.colour in COLOURS else "white, black"
        for key in ("all", f"{kind}, {'lying' if truth.way == 'lying' else 'upright bar'}"):
            by.setdefault(key, Counter())[said] += 1
        if said != "right" and given.show:
            print(
                seed, said, truth.value, truth.unit, truth.colour, truth.way, truth.font, truth.size
            )
        if said != "right" and given.keep:
            given.keep.mkdir(exist_ok=True)
            PIL.Image.fromarray(truth.pixels).save(given.keep / f"{seed} {said}.png")
    for key in sorted(by):
        told = ", ".join(f"{count} {said}" for said, count in by[key].most_common())
        print(f"{key}: {told}")


if __name__ == "__main__":
    main()
