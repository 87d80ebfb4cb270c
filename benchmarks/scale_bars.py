"""Scale bars drawn into micrographs: how many are found, refused, missed, or wrong.

    OMP_NUM_THREADS=1 python benchmarks/scale_bars.py IMAGES --count 240 --seed 10000
    OMP_NUM_THREADS=1 python benchmarks/scale_bars.py IMAGES --count 240 --seed 10000 --style vendor

IMAGES is a folder of micrographs; the upper part of each is a ground, on which a bar and its length
are drawn: white, black or coloured, lying or upright, the text beside it, upright or turned, in
whatever TrueType fonts ``fc-list`` names, saved as PNG or JPEG. A bar is right where both ends are
within 1.5 px of what was drawn; a length is right where it is the one that was drawn.

With ``--style vendor`` another routine draws what the programs of microscopes do: strips with
voltage, distance, magnification and field width beside the bar, bars with strokes at their ends,
boxes, outlined bars and letters, rulers of dots, small letters, pictures made smaller afterwards.
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
LENGTHS: tuple[str, ...] = (
    "10 nm",
    "20nm",
    "50 nm",
    "100 nm",
    "200 nm",
    "500nm",
    "300 nm",
    "0.5 µm",
    "1 µm",
)
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


STRIPS = ("zeiss", "fei", "tescan", "jeol", "hitachi")
VENDOR_LENGTHS: tuple[str, ...] = ("100 nm", "200 nm", "500 nm", "1 µm", "2 µm", "5 µm", "10 µm")
VENDOR_LENGTHS += ("20 µm", "50 µm")
VENDOR_LENGTHS += ("0.1 µm", "0.2 µm", "0.5 µm", "2.5 µm", "1.0 µm", "100 µm", "200 µm", "1.0 mm")
VENDOR_LENGTHS += ("300 nm", "400 nm", "0.5 mm", "1 mm", "3 µm", "4 µm", "30 µm", "40 µm", "600 nm")


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


class Sheet:
    """A picture that is drawn on in one ink; letters may have an outline in the other."""

    def __init__(self, picture, face, ink, rim=0):
        self.draw, self.face = PIL.ImageDraw.Draw(picture), face
        self.ink, self.other, self.rim = (ink,) * 3, (255 - ink,) * 3, rim

    def wide(self, text):
        return round(self.face.getlength(text))

    @property
    def tall(self):
        box = self.face.getbbox("0")
        return int(box[3] - box[1])

    def text(self, x, y, text):
        """Write with the digits' upper left corner at a place."""
        top = self.face.getbbox("0")[1]
        outline = {"stroke_width": self.rim, "stroke_fill": self.other} if self.rim else {}
        self.draw.text((x, y - top), text, self.ink, self.face, **outline)

    def box(self, x, y, wide, tall, ink=None):
        self.draw.rectangle((x, y, x + wide - 1, y + tall - 1), fill=ink or self.ink)

    def bar(self, x, y, wide, thick, form):
        """Draw a bar with its upper left corner at a place; return the rows it takes."""
        if self.rim:
            self.box(x - 1, y - 1, wide + 2, thick + 2, self.other)
        if form == "ruler":
            step = wide / 10
            for k in range(11):
                self.box(x + round(k * step), y, 2, max(thick, 5))
            return y, y + max(thick, 5)
        if form == "hollow":
            self.box(x, y, wide, thick + 4)
            self.box(x + 1, y + 1, wide - 2, thick + 2, self.other)
            return y, y + thick + 4
        self.box(x, y, wide, thick)
        if form in ("ticks", "posts"):
            up, down = (5, 5) if form == "ticks" else (7, 0)
            for at in (x, x + wide - max(1, thick // 2)):
                self.box(at, y - up, max(1, thick // 2), thick + up + down)
            return y - up, y + thick + down
        return y, y + thick


def with_length(sheet, rng, x, y, room, text, forms, sides):
    """Draw a bar and its text into a place of a width; return ends and the row of the middle."""
    form, side = str(rng.choice(forms)), str(rng.choice(sides))
    wide, gap, tall = sheet.wide(text), max(3, sheet.tall // 3), sheet.tall
    most = room - wide - 2 * gap if side in ("right", "left") else room - 8
    length = int(rng.integers(max(36, int(0.45 * most)), max(int(0.95 * most), 60)))
    if form == "ruler":
        length = 10 * max(4, length // 10)
    thick = int(rng.integers(1, 7)) if form != "ruler" else 5
    if form in ("ticks", "posts", "hollow"):
        thick = min(thick, 3)
    reach = {"ticks": 5, "posts": 7}.get(form, 0)
    if side == "within":  # |--- 2 µm ---|
        arm = max((length - wide) // 2 - gap, 14)
        length = 2 * arm + wide + 2 * gap
        row = y + tall // 2
        sheet.box(x, row, arm, 2)
        sheet.box(x + length - arm, row, arm, 2)
        for at in (x, x + length - 2):
            sheet.box(at, row - tall // 2, 2, tall)
        sheet.text(x + arm + gap, y, text)
        return x - 0.5, x + length - 0.5, row + 0.5
    at = y + reach + (tall + gap if side == "above" else 0)
    left = x + (wide + gap if side == "left" else 0)
    _, last = sheet.bar(left, at, length, thick, form)
    mid = left + (length - wide) // 2
    spots = {
        "above": (max(mid, x), y),
        "below": (max(mid, x), last + gap),
        "right": (left + length + gap, at + thick // 2 - tall // 2),
        "left": (x, at + thick // 2 - tall // 2),
    }
    sheet.text(*spots[side], text)
    grow = 4 if form == "hollow" else 0
    shift = 1 if form == "ruler" else 0  # from the middle of the first to that of the last mark
    begin = left - 0.5 + shift
    return begin, begin + length, at + (thick + grow - 1) / 2


def vendor_words(rng):
    """What stands beside the bar on a strip."""
    kv = f"{rng.integers(1, 31)}.{rng.choice(['0', '00'])}"
    wd = f"{rng.integers(2, 20)}.{rng.integers(10)}"
    field = rng.choice([f"{rng.integers(2, 99)}.{rng.integers(10)}", f"{rng.integers(100, 900)}"])
    unit = rng.choice(["µm", "nm", "µm", "mm"])
    mag = rng.choice([f"{rng.integers(1, 90)},000", f"{rng.integers(100, 999)}", "10.00 K"])
    return {"kv": kv, "wd": wd, "field": f"{field} {unit}", "mag": str(mag)}


def strip_drawn(picture, rng, style, faces):
    """Draw a strip of a microscope's program along the foot; return ends, row and length."""
    wide, tall = picture.size
    size = int(rng.integers(10, 22))
    face = PIL.ImageFont.truetype(str(rng.choice(faces)), size)
    ink = 255 if rng.random() < 0.75 else 0
    sheet = Sheet(picture, face, ink)
    line = sheet.tall + max(4, size // 2)
    text = str(rng.choice(VENDOR_LENGTHS))
    if rng.random() < 0.3:
        text = text.replace(" ", "")
    high = 2 * line + int(rng.integers(10, 24))
    top = tall - high
    sheet.box(0, top, wide, high, sheet.other)
    y, words = top + 6, vendor_words(rng)
    if style == "zeiss":
        room = int(0.22 * wide) + 40
        forms, sides = ["ticks", "posts", "bar"], ["above", "above", "below"]
        x0, x1, row = with_length(sheet, rng, 12, y, room, text, forms, sides)
        x = 12 + room + 24
        for first, second in (
            (f"EHT = {words['kv']} kV", f"WD = {words['wd']} mm"),
            ("Signal A = InLens", f"Mag = {words['mag']} X"),
            (f"Width = {words['field']}", "Date :12 Mar 2019"),
        ):
            sheet.text(x, y, first)
            sheet.text(x, y + line, second)
            x += max(sheet.wide(first), sheet.wide(second)) + size
    elif style in ("fei", "tescan"):
        x = 10
        marks = (
            ("HV", f"{words['kv']} kV"),
            ("mag", f"{words['mag']} x"),
            ("WD", f"{words['wd']} mm"),
            ("HFW", words["field"]),
        )
        order = rng.permutation(4)
        for k in order[: int(rng.integers(2, 5))]:
            name, value = marks[k]
            if style == "tescan":
                name = {"HFW": "View field:", "HV": "SEM HV:"}.get(name, f"{name}:")
                sheet.text(x, y + int(rng.integers(2)) * line, f"{name} {value}")
                step = sheet.wide(f"{name} {value}")
            else:
                sheet.text(x, y, name)
                sheet.text(x, y + line, value)
                step = max(sheet.wide(name), sheet.wide(value))
            x += step + size
            if rng.random() < 0.6:
                sheet.box(x - size // 2, top, 1, high)
            if x > 0.62 * wide:
                break
        room = wide - x - 16
        forms, sides = ["ticks", "posts", "bar", "bar"], ["above", "below", "within", "right"]
        x0, x1, row = with_length(sheet, rng, x + 4, y, room, text, forms, sides)
    elif style == "jeol":
        said = f"{words['kv']}kV  X{words['mag']}"
        sheet.text(10, y + line // 2, said)
        x = 10 + sheet.wide(said) + 2 * size
        room = min(int(0.3 * wide), wide - x - 20)
        sides = ["below", "right", "above", "left"]
        x0, x1, row = with_length(sheet, rng, x, y, room, text, ["bar", "bar", "ticks"], sides)
        x += room + size
        sheet.text(x, y + line // 2, f"WD {words['wd']}mm  SEI")
    else:
        said = f"S-4800 {words['kv']}kV {words['wd']}mm x{words['mag']} SE(M)"
        sheet.text(8, y + line // 2, said)
        x = 8 + sheet.wide(said) + 2 * size
        room = max(wide - x - 16, 60)
        x0, x1, row = with_length(sheet, rng, x, y, room, text, ["ruler"], ["below"])
    return (x0, x1, row), text


def overlay_drawn(picture, rng, faces):
    """Draw an outlined or boxed bar onto the specimen; return ends, row and length."""
    wide, tall = picture.size
    size = int(rng.integers(13, 36))
    face = PIL.ImageFont.truetype(str(rng.choice(faces)), size)
    text = str(rng.choice(VENDOR_LENGTHS))
    room = int(rng.integers(120, 300)) + 2 * size
    high = 3 * size + 24
    x = int(rng.choice([18, max(wide - room - 80 - 4 * size, 18)]))
    y = tall - high - int(rng.integers(10, 30))
    around = np.asarray(picture.convert("L").crop((x, y, x + room, y + high)))
    ink = 255 if around.mean() < 140 else 0
    boxed = rng.random() < 0.35
    sheet = Sheet(picture, face, ink, 0 if boxed else int(rng.integers(0, 3)) and 1)
    if boxed:
        sheet.box(x - 10, y - 10, room + 5 * size + 20, high + 10, sheet.other)
    forms = ["bar", "bar", "ticks", "posts"] + (["hollow"] if boxed else [])
    sides = ["above", "below", "right", "left"]
    return with_length(sheet, rng, x, y, room, text, forms, sides), text


def vendor_drawn(seed: int, paths: list[Path], faces: list[str]) -> Drawn:
    """Draw one as the programs of microscopes do."""
    rng = np.random.default_rng([seed, 7])
    picture = ground(paths[int(rng.integers(len(paths)))], rng)
    wide = int(rng.integers(640, 1100))
    picture = picture.resize((wide, int(wide * rng.uniform(0.6, 0.8))))
    style = str(rng.choice([*STRIPS, "overlay"], p=[0.15, 0.17, 0.13, 0.13, 0.12, 0.3]))
    if style == "overlay":
        (x0, x1, row), text = overlay_drawn(picture, rng, faces)
    else:
        (x0, x1, row), text = strip_drawn(picture, rng, style, faces)
    if rng.random() < 0.35:
        part = float(rng.uniform(0.55, 0.95))
        size = (round(part * picture.size[0]), round(part * picture.size[1]))
        part = size[0] / picture.size[0]
        how = [PIL.Image.Resampling.BILINEAR, PIL.Image.Resampling.LANCZOS]
        picture = picture.resize(size, how[int(rng.integers(2))])
        x0, x1, row = ((n + 0.5) * part - 0.5 for n in (x0, x1, row))
    if rng.random() < 0.5:
        picture = picture.convert("L")
    if rng.random() < 0.5:
        stream = io.BytesIO()
        picture.save(stream, "JPEG", quality=int(rng.integers(60, 96)))
        picture = PIL.Image.open(stream)
    unit = text[-2:].replace("µ", "u")
    number = text[:-2]
    return Drawn(np.asarray(picture), (x0, row, x1, row), float(number), unit, "", style, "", 0)


def judged(truth: Drawn, found: pnb.ScaleBar) -> str:
    """Right, bar only, missed, wrong bar or wrong length."""
    if not found:
        return "missed"
    a, b = np.array(found.ends), np.array(truth.ends)
    if truth.way in (*STRIPS, "overlay"):  # of a hollow bar, one of its lines is found
        across = abs(a[1] - b[1])
        a[1::2], b[1::2] = max(across - 3, 0), 0
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
    parser.add_argument("--style", choices=("plain", "vendor"), default="plain")
    parser.add_argument("--show", action="store_true", help="each that is not right")
    parser.add_argument("--keep", type=Path, help="folder for pictures that are not right")
    given = parser.parse_args()
    paths = sorted(p for p in given.images.iterdir() if p.suffix in (".png", ".jpg", ".tif"))
    faces = fonts()
    by: dict[str, Counter[str]] = {}
    for seed in range(given.seed, given.seed + given.count):
        truth = (vendor_drawn if given.style == "vendor" else drawn)(seed, paths, faces)
        found = pnb.find_scale_bar(truth.pixels)
        said = judged(truth, found)
        kind = "coloured" if truth.colour in COLOURS else "white, black"
        kind = f"{kind}, {'lying' if truth.way == 'lying' else 'upright bar'}"
        for key in ("all", truth.way if given.style == "vendor" else kind):
            by.setdefault(key, Counter())[said] += 1
        if said != "right" and given.show:
            what = (truth.value, truth.unit, truth.colour, truth.way, truth.font, truth.size)
            print(seed, said, *what, *np.round(truth.ends, 1), "|", found)
        if said != "right" and given.keep:
            given.keep.mkdir(exist_ok=True)
            PIL.Image.fromarray(truth.pixels).save(given.keep / f"{seed} {said}.png")
    for key in sorted(by):
        told = ", ".join(f"{count} {said}" for said, count in by[key].most_common())
        print(f"{key}: {told}")


if __name__ == "__main__":
    main()
