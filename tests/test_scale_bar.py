"""Scale bars drawn into pictures: the truth is what was drawn, in a font the reader never saw."""

from __future__ import annotations

import io
from dataclasses import dataclass, replace

import numpy as np
import PIL.Image
import PIL.ImageDraw
import PIL.ImageFont
import pytest
from scipy import ndimage

import particle_nb as pnb
from particle_nb import CalibrationError, Image, find_scale_bar
from particle_nb.core.image._bars import Bar
from particle_nb.core.image._printed import Found, _next_best, doubt
from particle_nb.core.image._views import UNREAD, UPRIGHT, Candidate, turned
from particle_nb.core.image._whose import another
from particle_nb.core.image.scale_bar import _lies_at
from particle_nb.core.image.scale_text import ALPHABET, PrintedLength


@dataclass(frozen=True)
class Drawing:
    """A bar and its text on a ground."""

    text: str = "200 nm"
    length: int = 120
    thick: int = 5
    size: int = 22
    white: bool = True
    where: str = "below"  # of the text
    style: str = "bar"
    ground: str = "specimen"


def ground(kind: str, rng: np.random.Generator) -> np.ndarray:
    """A specimen, or plain grey."""
    if kind == "plain":
        return np.full((400, 520), 120.0)
    noise = ndimage.gaussian_filter(rng.normal(0, 1, (400, 520)), 3)
    return np.clip(120 + 28 * noise / noise.std() + rng.normal(0, 6, noise.shape), 20, 225)


def drawn(drawing: Drawing, seed: int = 0) -> tuple[np.ndarray, tuple[float, float]]:
    """The picture as uint8 (400, 520), and the true ends x0, x1 of its bar."""
    rng = np.random.default_rng(seed)
    pixels = ground(drawing.ground, rng)
    picture = PIL.Image.fromarray(pixels.astype(np.uint8))
    draw = PIL.ImageDraw.Draw(picture)
    ink = 255 if drawing.white else 0
    x, y = 180, 340
    end = x + drawing.length - 1
    if drawing.style == "box":
        draw.rectangle((x - 30, y - 50, end + 30, y + 50), fill=255 - ink)
    if drawing.style == "dots":
        for k in range(11):
            at = x + round(k * drawing.length / 10)
            draw.rectangle((at - 1, y, at + 1, y + 6), fill=ink)
        ends = (float(x), float(x + drawing.length))
    else:
        draw.rectangle((x, y, end, y + drawing.thick - 1), fill=ink)
        ends = (x - 0.5, end + 0.5)
    if drawing.style == "ticks":
        for at in (x, end - 1):
            draw.rectangle((at, y - 8, at + 1, y + drawing.thick + 7), fill=ink)
    font = PIL.ImageFont.load_default(drawing.size)
    left, top, right, bottom = font.getbbox(drawing.text.replace("µ", "g"))
    wide, tall = right - left, bottom - top
    gap = 12
    places = {
        "below": (x + drawing.length / 2 - wide / 2, y + drawing.thick + gap),
        "above": (x + drawing.length / 2 - wide / 2, y - gap - tall),
        "right": (end + gap, y - tall / 2),
        "left": (x - gap - wide, y - tall / 2),
    }
    px, py = places[drawing.where]
    write(draw, (px - left, py - top), drawing.text, ink, font)
    return np.array(picture), ends


def write(draw, place, text, ink, font):
    """Write text; the font has no "µ", which is drawn as "u" with its stem."""
    draw.text(place, text.replace("µ", "u"), ink, font)
    if "µ" in text:
        left = font.getlength(text[: text.index("µ")])
        x0, _, _, foot = font.getbbox("u")
        thick = max(round(font.size / 10), 1)
        x, y = place[0] + left + x0, place[1] + foot - font.size // 4
        draw.rectangle((x, y, x + thick - 1, y + font.size // 2 - 1), fill=ink)


DRAWINGS = [
    Drawing(),
    Drawing("1 µm", white=False),
    Drawing("5 µm", where="above"),
    Drawing("0.5 um", where="right"),
    Drawing("100nm", 77, 2, white=False, where="left"),
    Drawing("50 nm", 150, 8, 30, style="box"),
    Drawing("2 µm", 133, 3, style="ticks", where="above"),
    Drawing("5.00 µm", 200, style="dots", ground="plain"),
    Drawing("10 mm", 90, 4, 16, ground="plain"),
    Drawing("2.5 µm", 210, 1, white=False, ground="plain"),
]


@pytest.mark.parametrize("drawing", DRAWINGS, ids=lambda d: f"{d.text}, {d.style}, {d.where}")
def test_what_was_drawn_is_proposed(drawing):
    pixels, (x0, x1) = drawn(drawing)
    found = find_scale_bar(Image(pixels))
    assert found
    assert found.ends[0] == pytest.approx(x0, abs=0.6)
    assert found.ends[2] == pytest.approx(x1, abs=0.6)
    value, unit = drawing.text.replace("µ", "u").replace("nm", " nm").split()
    assert (found.value, found.unit) == (float(value), unit)
    assert found.confidence > 0.5
    scale = found.calibration()
    assert scale.pixel_size == pytest.approx(float(value) / (x1 - x0), rel=0.01)
    assert f"reads '{found.text}'" in scale.source
    assert "scale bar found" in scale.source


def test_ends_are_sub_pixel():
    """A bar at thirds of pixels, recorded by averaging, is found to a fifth of a pixel."""
    fine = np.full((300, 1800), 40.0)
    fine[240:252, 301:1001] = 255.0  # in ninths of the area: thirds of a pixel along each axis
    pixels = fine.reshape(100, 3, 600, 3).mean(axis=(1, 3))
    found = find_scale_bar(pixels.astype(np.uint8))
    assert found.ends[0] == pytest.approx(301 / 3 - 0.5, abs=0.2)
    assert found.ends[2] == pytest.approx(1001 / 3 - 0.5, abs=0.2)
    assert found.thickness == 4


def test_sixteen_bits_and_colours():
    pixels, _ = drawn(Drawing("500 nm"))
    wide = (pixels.astype(np.uint16) * 100 + 1000).astype(np.uint16)
    assert find_scale_bar(wide).text == "500 nm"
    assert find_scale_bar(np.stack([pixels] * 3, axis=-1)).text == "500 nm"


def test_no_bar_is_said():
    found = find_scale_bar(ground("specimen", np.random.default_rng(3)).astype(np.uint8))
    assert not found
    assert found.value is None
    assert "no scale bar" in str(found)
    with pytest.raises(CalibrationError, match="no scale bar"):
        found.calibration()
    with pytest.raises(CalibrationError, match="no scale bar"):
        found.calibration("200 nm")


@pytest.mark.parametrize("text", ["", "15.0 kV", "x20,000", "abcd"])
def test_a_bar_without_a_length_gets_none(text):
    found = find_scale_bar(drawn(Drawing(text, ground="plain"))[0])
    assert found
    assert found.value is None
    with pytest.raises(CalibrationError, match=r"Give it: \.calibration"):
        found.calibration()
    typed = found.calibration("200 nm")
    assert typed.to("nm") == pytest.approx(200 / 120, rel=0.01)
    assert "typed" in typed.source


def test_two_bars_that_disagree_give_no_length():
    pixels, _ = drawn(Drawing("200 nm"))
    other, _ = drawn(Drawing("500 nm"))
    both = np.vstack([pixels, other])
    found = find_scale_bar(both)
    assert found.value is None
    assert "disagree" in found.note


def test_the_box_holds_bar_and_text():
    pixels, _ = drawn(Drawing("500 nm", where="above"))
    bare, _ = drawn(Drawing("500 nm", where="above"))
    x0, y0, x1, y1 = find_scale_bar(pixels).box
    bare[y0:y1, x0:x1] = 120
    rest = (bare >= 250).sum()
    assert rest == 0  # nothing that was drawn is left


def test_a_bar_in_the_info_bar_that_was_left_out(tmp_path):
    """`read_image` cuts the info bar away; the bar in it is found all the same."""
    specimen = ground("specimen", np.random.default_rng(1))[:300]
    strip = np.zeros((60, 520))
    picture = PIL.Image.fromarray(np.vstack([specimen, strip]).astype(np.uint8))
    draw = PIL.ImageDraw.Draw(picture)
    font = PIL.ImageFont.load_default(16)
    draw.text((10, 320), "EHT = 15.00 kV   WD = 8.3 mm", 255, font)
    draw.rectangle((380, 315, 459, 318), fill=255)
    write(draw, (395, 328), "2 µm", 255, font)
    picture.save(tmp_path / "sem.png")
    image = pnb.read_image(tmp_path / "sem.png")
    assert image.info["info_bar_rows"] > 50
    for given in (image, tmp_path / "sem.png"):
        found = find_scale_bar(given)
        assert found.text == "2 um"
        assert found.pixels == pytest.approx(80, abs=0.5)
        assert found.ends[1] == pytest.approx(316.5, abs=0.6)


def overlaid(colour, bar, text, turn=0, white_text=False, quality=None, on="specimen"):
    """An RGB picture (400, 520, 3) with a coloured bar (x, y, wide, tall) and a text (x, y)."""
    grey = ground(on, np.random.default_rng(2)).astype(np.uint8)
    picture = PIL.Image.fromarray(grey).convert("RGB")
    x, y, wide, tall = bar
    PIL.ImageDraw.Draw(picture).rectangle((x, y, x + wide - 1, y + tall - 1), fill=colour)
    (px, py), letters = text
    font = PIL.ImageFont.load_default(24)
    x0, y0, x1, y1 = (int(v) for v in font.getbbox(letters))
    ink = PIL.Image.new("L", (x1 - x0 + 2, y1 - y0 + 2))
    PIL.ImageDraw.Draw(ink).text((1 - x0, 1 - y0), letters, 255, font)
    ink = ink.rotate(turn, expand=True)
    picture.paste((255, 255, 255) if white_text else colour, (px, py), ink)
    if quality is not None:
        stream = io.BytesIO()
        picture.save(stream, "JPEG", quality=quality)
        picture = PIL.Image.open(stream)
    return np.asarray(picture)


@pytest.mark.parametrize(
    ("colour", "quality"),
    [((255, 0, 0), None), ((255, 255, 0), None), ((0, 160, 0), None), ((255, 0, 0), 90)],
    ids=["red", "yellow", "dark green", "red, JPEG"],
)
def test_coloured_bars(colour, quality):
    """As grey levels, red and dark green are no brighter than the specimen."""
    text = ((225, 308), "200 nm")
    pixels = overlaid(colour, (200, 340, 120, 6), text, quality=quality, on="plain")
    found = find_scale_bar(pixels)
    assert found.ends == pytest.approx((199.5, 342.5, 319.5, 342.5), abs=1.0)
    assert found.text == "200 nm"


def test_a_white_text_at_a_red_bar():
    pixels = overlaid((255, 0, 0), (200, 340, 120, 6), ((225, 308), "500 nm"), white_text=True)
    assert find_scale_bar(pixels).text == "500 nm"


@pytest.mark.parametrize("turn", [0, 90, 270], ids=["level text", "turned left", "turned right"])
@pytest.mark.parametrize("colour", [(255, 255, 255), (255, 0, 0)], ids=str)
def test_upright_bars(turn, colour):
    text = ((320, 160), "500 nm")
    pixels = overlaid(colour, (300, 100, 6, 150), text, turn, on="plain")
    found = find_scale_bar(Image(pixels))
    assert found.ends == pytest.approx((302.5, 99.5, 302.5, 249.5), abs=0.6)
    assert found.pixels == pytest.approx(150, abs=1)
    assert found.text == "500 nm"
    assert "upright bar" in found.note
    x0, y0, x1, y1 = found.box
    rest = pixels.copy()
    rest[y0:y1, x0:x1] = 120
    inked = np.abs(rest.astype(int) - np.array(colour)).max(axis=2) < 5
    assert not inked.any()


def test_a_stem_of_a_letter_is_no_upright_bar():
    pixels, _ = drawn(Drawing("1 µm", thick=1, length=1, ground="plain"))
    found = find_scale_bar(pixels)
    assert found.value is None
    assert not found


def test_upright_bars_that_disagree_give_no_length():
    one = overlaid((255, 255, 255), (300, 100, 6, 150), ((320, 160), "500 nm"))
    two = overlaid((255, 255, 255), (300, 100, 6, 150), ((320, 160), "200 nm"))
    found = find_scale_bar(np.hstack([one, two]))
    assert found.value is None
    assert "disagree" in found.note


def lettered(pieces, bar=(180, 340, 120, 5)):
    """Grey pixels (400, 520) with a white bar (x, y, wide, tall) and pieces of text in own tones.

    Each piece is (x, letters, tone), all on one line below the bar.
    """
    pixels = np.full((400, 520), 110, np.uint8)
    picture = PIL.Image.fromarray(pixels)
    draw = PIL.ImageDraw.Draw(picture)
    x, y, wide, tall = bar
    draw.rectangle((x, y, x + wide - 1, y + tall - 1), fill=255)
    font = PIL.ImageFont.load_default(24)
    for at, letters, tone in pieces:
        draw.text((at, 352), letters, tone, font)
    return np.array(picture)


def test_a_length_that_is_printed_whole_is_read():
    """What the refusals below have in common with it is no reason to refuse."""
    assert find_scale_bar(lettered([(210, "5 um", 255)])).text == "5 um"
    assert find_scale_bar(lettered([(205, "100 um", 255)])).text == "100 um"
    assert find_scale_bar(lettered([(205, "1.00 um", 255)])).text == "1 um"


@pytest.mark.parametrize(
    ("pieces", "why"),
    [
        ([(191, "0.", 200), (212, "5 um", 255)], "before '5 um'"),
        ([(205, "1", 255), (217, ".", 155), (224, "00 um", 255)], "decimal point"),
        ([(205, "05 um", 255)], "decimal point"),
        ([(205, "37 nm", 255)], "no usual length"),
    ],
    ids=["faint 0.", "faint point", "05", "37"],
)
def test_a_length_that_may_have_lost_its_point_is_not_read(pieces, why):
    found = find_scale_bar(lettered(pieces))
    assert found.ends == pytest.approx((179.5, 342, 299.5, 342), abs=0.6)
    assert found.value is None
    assert why in found.note


@pytest.mark.parametrize(("stroke", "why"), [(0, ""), (24, "begins within a letter")])
def test_a_number_that_begins_within_a_letter_is_a_doubt(stroke, why):
    ink = (lettered([(210, "5 um", 255)])[348:390].astype(float) - 110) / 145
    rows, columns = np.nonzero(ink)
    spot = (int(columns.min()), int(rows.min()), int(columns.max()) + 1, int(rows.max()) + 1)
    ink[spot[1] + 4 : spot[1] + 10, spot[0] - stroke : spot[0]] = 1
    printed = PrintedLength(5.0, "um", "5 um", 0.9, (0, 1))
    said = doubt(Found(printed, spot, 0.9, ink, spot))
    assert said.endswith(why)
    assert bool(said) == bool(why)


def test_a_bar_that_runs_into_something_has_no_length():
    pixels = lettered([(210, "5 um", 255)], bar=(180, 340, 120, 3))
    assert find_scale_bar(pixels).text == "5 um"
    pixels[290:344, 300:312] = 255
    found = find_scale_bar(pixels)
    assert found.value is None
    assert "where it ends is not clear" in found.note


def test_a_bar_that_something_crosses_has_no_length():
    """What is found ends at the stroke, 30 px too early."""
    pixels = lettered([(195, "5 um", 255)])
    pixels[340:345, 180:300] = 180
    assert find_scale_bar(pixels).text == "5 um"
    pixels[280:399, 270:276] = 255
    found = find_scale_bar(pixels)
    assert found.value is None
    assert "where it ends is not clear" in found.note


def test_a_bar_that_fades_has_no_length():
    pixels = lettered([(210, "5 um", 255)])
    pixels[340:345, 300:312] = np.linspace(255, 110, 14)[1:-1].astype(np.uint8)
    pixels[340:345, 300:306] = 255 - 6 * np.arange(6)
    found = find_scale_bar(pixels)
    assert found
    assert found.value is None
    assert "where it ends is not clear" in found.note


def test_the_colour_that_differs_most_tells_the_end():
    """In grey, a red bar runs on into the specimen at its end; in green and blue it does not."""
    pixels = np.stack([lettered([])] * 3, axis=-1)
    pixels[:, 300:303] = 79
    pixels[lettered([(210, "5 um", 255)]) > 200] = (255, 0, 0)
    found = find_scale_bar(pixels)
    assert found.text == "5 um"
    assert found.ends == pytest.approx((179.5, 342, 299.5, 342), abs=0.6)


@pytest.mark.parametrize("beside", [True, False])
def test_an_upright_stroke_is_no_bar_of_a_text_that_lies_at_a_level_one(beside):
    grey = np.zeros((400, 520), np.float32)
    text = Found(PrintedLength(5.0, "um", "5 um", 0.9, (0, 1)), (210, 352, 260, 376), 0.9)
    stands = turned(text.box, grey.shape, UPRIGHT)
    across = np.rot90(grey, UPRIGHT)
    upright = Candidate(
        Bar(40.5, 140.5, 280, 285, 255, 0, 0.9), replace(text, box=stands), across, UPRIGHT
    )
    level = Bar(179.5, 299.5, 340 if beside else 100, 344 if beside else 104, 200, 0, 0.5)
    assert _lies_at(Candidate(level, UNREAD, grey), upright) == beside


def stripped(draws, high=70, ink=255, wide=520):
    """Grey pixels (400, wide) with a strip below: rectangles (x, y, w, h) and texts (x, y, text).

    Rows are counted from the top of the strip.
    """
    top = 400 - high
    pixels = np.full((400, wide), 120, np.uint8)
    pixels[:top] = ground("specimen", np.random.default_rng(5)).astype(np.uint8)[:top, :wide]
    pixels[top:] = 255 - ink
    picture = PIL.Image.fromarray(pixels)
    draw = PIL.ImageDraw.Draw(picture)
    font = PIL.ImageFont.load_default(18)
    for what in draws:
        if len(what) == 4:
            x, y, w, h = what
            draw.rectangle((x, top + y, x + w - 1, top + y + h - 1), fill=ink)
        else:
            write(draw, (what[0], top + what[1]), what[2], ink, font)
    return np.array(picture)


def test_a_strip_of_a_microscope_is_read():
    words = [(10, 6, "WD"), (10, 34, "10.2 mm"), (110, 6, "HV"), (110, 34, "15.0 kV")]
    for ink in (255, 0):
        found = find_scale_bar(stripped([*words, (240, 20, 200, 3), (310, 34, "5 µm")], ink=ink))
        assert found.text == "5 um"
        assert found.ends[::2] == pytest.approx((239.5, 439.5), abs=0.6)


@pytest.mark.parametrize(
    "words",
    [
        [(180, 26, "WD 5.0 mm")],
        [(212, 26, "10.2 mm")],
        [(222, 8, "WD"), (222, 31, "10 mm")],
        [(212, 26, "10 mm"), (291, 0, 1, 70)],
    ],
    ids=["after letters", "no usual length", "below a title", "behind a line"],
)
def test_another_number_of_the_strip_is_no_length_of_the_bar(words):
    """The bar's own text, beside it on the right, cannot be read."""
    found = find_scale_bar(stripped([*words, (300, 35, 140, 3)]))
    assert found.value is None
    assert found.ends[::2] == pytest.approx((299.5, 439.5), abs=0.6)


def test_a_text_that_was_not_read_stands_nearer():
    bar = (20, 35, 200, 3)
    assert find_scale_bar(stripped([bar, (238, 26, "10 mm")])).text == "10 mm"
    found = find_scale_bar(stripped([bar, (238, 26, "10 mm"), (84, 41, "abcd")]))
    assert found.value is None
    assert "stands nearer" in found.note


@pytest.mark.parametrize(("bright", "why"), [(0.1, ""), (0.45, "stands before '5 um'")])
def test_a_number_that_begins_on_something_bright_is_a_doubt(bright, why):
    """The 2 and the point of "2.5" may be one with a particle."""
    ink = (lettered([(210, "5 um", 255)])[348:390].astype(float) - 110) / 145
    rows, columns = np.nonzero(ink)
    spot = (int(columns.min()), int(rows.min()), int(columns.max()) + 1, int(rows.max()) + 1)
    before = ink[:, spot[0] - 60 : spot[0]]
    np.maximum(before, bright, out=before)
    said = doubt(Found(PrintedLength(5.0, "um", "5 um", 0.9, (0, 1)), spot, 0.9, ink, spot))
    assert (why in said) if why else not said


@pytest.mark.parametrize("letter", ["5", "6", "8"])
def test_a_digit_that_may_be_another_is_a_doubt(letter):
    likely = np.full((30, 16), 1e-6)
    likely[:, 0] = 1.0
    for at, (what, share) in {
        5: (letter, 0.7),
        9: ("u", 0.99),
        14: ("m", 0.99),
    }.items():
        likely[at, 0] = 0.0
        likely[at, 1 + ALPHABET.index(what)] = share
    likely[5, 1 + ALPHABET.index("3")] = 0.3
    assert _next_best(likely, letter, "um") == "3 um"
    likely[5, 1 + ALPHABET.index("3")] = 0.01
    assert _next_best(likely, letter, "um") == ""


@pytest.mark.parametrize(("up", "down", "tone"), [(0, 6, 250), (6, 0, 250), (1, 1, 238)])
def test_something_bright_at_the_end_of_a_bar_is_a_doubt(up, down, tone):
    """It goes on for four pixels with nearly the bar's tone: the bar would be that much longer."""
    pixels = lettered([(210, "5 um", 255)])
    assert find_scale_bar(pixels).text == "5 um"
    pixels[340 - up : 345 + down, 300:304] = tone
    found = find_scale_bar(pixels)
    assert found.value is None
    assert "where it ends is not clear" in found.note


@pytest.mark.parametrize("thick", [1, 2])
def test_a_thin_bar_that_jpeg_made_uneven_is_found_whole(thick):
    pixels = stripped([(120, 20, 360, thick), (280, 34, "5 µm")]).astype(float)
    noise = np.random.default_rng(3).normal(0, 12, pixels.shape)
    pixels[330:] += noise[330:]
    found = find_scale_bar(np.clip(pixels, 0, 255).astype(np.uint8))
    assert found.ends[::2] == pytest.approx((119.5, 479.5), abs=0.6)


def test_small_letters_of_a_picture_made_smaller_are_read():
    large = stripped([(60, 14, 300, 4), (180, 30, "10 µm")])
    picture = PIL.Image.fromarray(large)
    part = 0.6
    small = picture.resize((round(520 * part), round(400 * part)), PIL.Image.Resampling.BILINEAR)
    found = find_scale_bar(np.array(small))
    assert found.text == "10 um"
    ends = [(x + 0.5) * part - 0.5 for x in (59.5, 359.5)]
    assert found.ends[::2] == pytest.approx(ends, abs=0.6)


@pytest.mark.parametrize("x", [0, 1, 2])
def test_a_text_at_the_rim_is_looked_at(x):
    pixels = stripped([(60, 20, 120, 3), (60, 34, "5 µm")])[:, 60 - x :]
    found = find_scale_bar(pixels)
    assert not found or found.text in ("", "5 um")
    ink = np.zeros((40, 60))
    ink[10:24, x : x + 40 : 4] = 255.0
    box, own = (x, 10, x + 40, 24), (5.0, 30.0, 50.0, 34.0)
    assert another(ink, 255.0, box, own, [box]) == ""
