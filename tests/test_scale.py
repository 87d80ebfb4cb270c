"""The scale of files that carry the tags and sidecars of the instruments.

Truths: the lengths written into the files, whose layouts follow the published descriptions:
SmartSEM's pairs of lines, FEI's INI text, TESCAN's chain of blocks, JEOL's and Hitachi's sidecars.
"""

from __future__ import annotations

import struct
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from growth import grows_linearly
from PIL import Image as Picture
from vendor_files import H, W, fei, noise, tescan, tiff, zeiss

from particle_nb.core.errors import CalibrationError, ImageError
from particle_nb.core.image import Calibration, CalibrationWarning, read_image, vendors
from particle_nb.core.image.scale import RANKS, Reading, calibrate, from_ome, metres, resolution
from particle_nb.core.image.vendors import VENDORS


def test_zeiss(tmp_path: Path) -> None:
    image = read_image(tiff(tmp_path / "a.tif", [(34118, zeiss())]))
    assert image.calibration == Calibration(26.37, "nm", "Zeiss tag AP_IMAGE_PIXEL_SIZE")
    assert image.shape == (H, W)


@pytest.mark.parametrize(
    ("size", "nanometres"),
    [("558.2 pm", 0.5582), ("1.116 µm", 1116), ("1.116 um", 1116), ("97.66 nm", 97.66)],
)
def test_zeiss_units(size: str, nanometres: float, tmp_path: Path) -> None:
    field = f"{nanometres * W:.4g} nm"
    image = read_image(tiff(tmp_path / "a.tif", [(34118, zeiss(size, field=field))]))
    assert image.calibration is not None
    assert image.calibration.to("nm") == pytest.approx(nanometres, rel=1e-9)


def test_zeiss_before_it_named_the_pixel(tmp_path: Path) -> None:
    # the fourth number is the pixel of a display 1024 columns wide, whatever was stored
    text = "\r\n".join(["0", "0", "0", "3.296e-09", "AP_MAG", "Mag = 10.00 K X"]).encode()
    calibration = read_image(tiff(tmp_path / "a.tif", [(34118, text)])).calibration
    assert calibration is not None
    assert calibration.to("nm") == pytest.approx(3.296 * 1024 / W)


def test_zeiss_field_of_view_that_disagrees(tmp_path: Path) -> None:
    with pytest.warns(CalibrationWarning, match=r"AP_IMAGE_PIXEL_SIZE.*AP_WIDTH"):
        read_image(tiff(tmp_path / "a.tif", [(34118, zeiss(field="6.75 µm"))]))


def test_a_resized_picture_warns(tmp_path: Path) -> None:
    with pytest.warns(CalibrationWarning, match="written for 1024 columns"):
        read_image(tiff(tmp_path / "a.tif", [(34118, zeiss(store="1024 * 768"))]))


@pytest.mark.parametrize("kind", [1, 2, 7])
@pytest.mark.parametrize("code", [34680, 34682])
def test_fei(code: int, kind: int, tmp_path: Path) -> None:
    extra = [(code, kind, len(fei()), fei(), True)]
    tifffile.imwrite(tmp_path / "a.tif", noise(), extratags=extra, metadata=None)
    image = read_image(tmp_path / "a.tif")
    assert image.calibration == Calibration(2.5, "nm", "FEI tag PixelWidth")


def test_fei_from_the_field_of_an_ion_beam(tmp_path: Path) -> None:
    text = f"[IBeam]\nHFW=2.56e-6\nVFW=1.92e-6\n[Image]\nResolutionX={W}\nResolutionY={H}\n"
    calibration = read_image(tiff(tmp_path / "a.tif", [(34682, text.encode())])).calibration
    assert calibration is not None
    assert calibration.to("nm") == pytest.approx(20)
    assert calibration.source == "FEI tag ibeam.hfw"


def test_phenom(tmp_path: Path) -> None:
    text = b'<FeiImage><pixelWidth unit="um">0.05</pixelWidth><pixelHeight unit="um">0.05'
    text += b"</pixelHeight><databarHeight>12</databarHeight></FeiImage>"
    image = read_image(tiff(tmp_path / "a.tif", [(34683, text)]))
    assert image.calibration == Calibration(50, "nm", "Phenom tag pixelWidth")
    assert image.shape == (H - 12, W)


def test_tescan(tmp_path: Path) -> None:
    image = read_image(tiff(tmp_path / "a.tif", [(50431, tescan())]))
    assert image.calibration == Calibration(8.138, "nm", "TESCAN tag PixelSizeX")


def test_tescan_with_a_broken_chain_of_blocks(tmp_path: Path) -> None:
    image = read_image(tiff(tmp_path / "a.tif", [(50431, b"\xff" * 40 + tescan(thumbnail=3))]))
    assert image.calibration == Calibration(8.138, "nm", "TESCAN tag PixelSizeX")


def test_signed_bytes_as_tescan_also_writes_them(tmp_path: Path) -> None:
    text = tescan()
    extra = [(50431, 6, len(text), np.frombuffer(text, np.int8), True)]
    tifffile.imwrite(tmp_path / "a.tif", noise(), extratags=extra, metadata=None)
    assert read_image(tmp_path / "a.tif").calibration is not None


@pytest.mark.parametrize("name", ["a-tif.hdr", "a.hdr", "a.HDR"])
def test_tescan_sidecar(name: str, tmp_path: Path) -> None:
    tiff(tmp_path / "a.tif")
    (tmp_path / name).write_text(
        "[MAIN]\nImageStripSize=16\nPixelSizeX=1.5e-8\nPixelSizeY=1.5e-8\n[SEM]\nHV=15000\n"
    )
    image = read_image(tmp_path / "a.tif")
    assert image.calibration == Calibration(15, "nm", f"TESCAN sidecar {name} PixelSizeX")
    assert image.info["info_bar_rows"] == 16


JEOL = """$CM_FORMAT PC-SEM
$CM_INSTRUMENT JSM-7600F
$CM_FULL_SIZE 128 80
$CM_MAG 5000
$$SM_MICRON_BAR 160
$$SM_MICRON_MARKER 5{mu}m
$$SM_FILM_NUMBER 7
"""


@pytest.mark.parametrize(
    ("mu", "encoding"),
    [
        ("u", "ascii"),
        ("µ", "cp1252"),
        ("μ", "shift-jis"),
        ("µ", "utf-8"),
        ("μ", "utf-16"),
        ("u", "utf-16-le"),
        ("u", "utf-16-be"),
        ("µ", "utf-8-sig"),
    ],
)
def test_jeol_sidecar(mu: str, encoding: str, tmp_path: Path) -> None:
    tiff(tmp_path / "a.tif")
    (tmp_path / "a.txt").write_bytes(JEOL.format(mu=mu).replace("\n", "\r\n").encode(encoding))
    image = read_image(tmp_path / "a.tif")
    assert image.calibration == Calibration(31.25, "nm", "JEOL sidecar a.txt")
    # CM_FULL_SIZE counts specimen rows; what the file has more is the banner
    assert image.shape == (80, W)
    assert image.info["info_bar_source"] == "JEOL sidecar a.txt"


@pytest.mark.parametrize("encoding", ["ascii", "utf-16"])
@pytest.mark.parametrize("suffix", [".tif", ".jpg", ".bmp"])
def test_hitachi_sidecar(suffix: str, encoding: str, tmp_path: Path) -> None:
    Picture.fromarray(noise()).save(tmp_path / f"a{suffix}")
    text = f"[SemImageFile]\r\nInstructName=SU8010\r\nDataSize={W}x{H}\r\nPixelSize=24.80469\r\n"
    (tmp_path / "a.TXT").write_bytes((text + "SampleName=\r\n").encode(encoding))
    assert read_image(tmp_path / f"a{suffix}").calibration == Calibration(
        24.80469, "nm", "Hitachi sidecar a.TXT"
    )


def test_a_sidecar_of_something_else_is_left_alone(tmp_path: Path) -> None:
    tiff(tmp_path / "a.tif")
    (tmp_path / "a.txt").write_text("remember: 20 kV, PixelSize=3\n")
    assert read_image(tmp_path / "a.tif").calibration is None


@pytest.mark.parametrize(
    ("unit", "nanometres"),
    [("um", 310), ("micron", 310), ("\\u00B5m", 310), ("nm", 0.31), ("mm", 310_000)],
)
def test_imagej(unit: str, nanometres: float, tmp_path: Path) -> None:
    edge = 0.31
    tifffile.imwrite(
        tmp_path / "a.tif",
        noise(),
        imagej=True,
        resolution=(1 / edge,) * 2,
        metadata={"unit": unit},
    )
    calibration = read_image(tmp_path / "a.tif").calibration
    assert calibration is not None
    assert calibration.to("nm") == pytest.approx(nanometres, rel=1e-6)
    assert calibration.source == "ImageJ tag"


def test_imagej_in_pixels_is_no_scale(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", noise(), imagej=True, metadata={"unit": "pixel"})
    assert read_image(tmp_path / "a.tif").calibration is None


@pytest.mark.parametrize(("unit", "nanometres"), [("µm", 65), ("nm", 0.065), ("Å", 0.0065)])
def test_ome(unit: str, nanometres: float, tmp_path: Path) -> None:
    sizes = {"PhysicalSizeX": 0.065, "PhysicalSizeXUnit": unit}
    sizes |= {"PhysicalSizeY": 0.065, "PhysicalSizeYUnit": unit}
    tifffile.imwrite(tmp_path / "a.ome.tif", noise(), ome=True, metadata=sizes)
    calibration = read_image(tmp_path / "a.ome.tif").calibration
    assert calibration is not None
    assert calibration.to("nm") == pytest.approx(nanometres, rel=1e-9)
    assert calibration.source == "OME tag PhysicalSizeX"


@pytest.mark.parametrize("dpi", [72, 96, 150, 300, 600, 1200])
@pytest.mark.parametrize("unit", ["inch", "cm"])
def test_print_resolutions_are_no_scale_and_say_so(dpi: float, unit: str, tmp_path: Path) -> None:
    value = dpi if unit == "inch" else dpi / 2.54
    path = tiff(
        tmp_path / "a.tif",
        resolution=(value, value),
        resolutionunit={"inch": 2, "cm": 3}[unit],
    )
    image = read_image(path)
    assert image.calibration is None
    assert any("no scale" in note for note in image.info["notes"])


def test_a_resolution_in_real_units_is_a_scale(tmp_path: Path) -> None:
    path = tiff(tmp_path / "a.tif", resolution=(1e4 / 0.31,) * 2, resolutionunit=3)
    calibration = read_image(path).calibration
    assert calibration is not None
    assert calibration.to("um") == pytest.approx(0.31, rel=1e-6)
    assert calibration.source == "TIFF resolution"


def test_print_resolution_of_png_and_jpeg_is_no_scale(tmp_path: Path) -> None:
    for name in ("a.png", "a.jpg", "a.bmp"):
        Picture.fromarray(noise()).save(tmp_path / name, dpi=(96, 96))
        image = read_image(tmp_path / name)
        assert image.calibration is None
        assert any("no scale" in note for note in image.info["notes"])


# -------------------------------------------------------------------------------- which one counts


def test_the_typed_size_wins_and_a_disagreement_names_both(tmp_path: Path) -> None:
    path = tiff(tmp_path / "a.tif", [(34682, fei())])
    with pytest.warns(CalibrationWarning, match=r"a\.tif.*0\.31 um/px \(typed\).*2\.5 nm/px \(FEI"):
        image = read_image(path, "0.31 um")
    assert image.calibration == Calibration(0.31, "um", "typed")
    assert image.info["scale_sources"] == ["FEI tag PixelWidth"]


@pytest.mark.parametrize(("typed", "warns"), [("2.54 nm", False), ("2.56 nm", True)])
def test_two_percent_is_the_line(typed: str, warns: bool, tmp_path: Path) -> None:
    path = tiff(tmp_path / "a.tif", [(34682, fei())])
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        read_image(path, typed)
    assert bool([c for c in caught if issubclass(c.category, CalibrationWarning)]) is warns


def test_tag_and_sidecar_that_disagree(tmp_path: Path) -> None:
    path = tiff(tmp_path / "a.tif", [(34682, fei())])
    (tmp_path / "a.txt").write_text(f"[SemImageFile]\nPixelSize=5\nDataSize={W}x{H}\n")
    with pytest.warns(CalibrationWarning, match=r"2\.5 nm/px \(FEI.*5 nm/px \(Hitachi"):
        assert read_image(path).calibration == Calibration(2.5, "nm", "FEI tag PixelWidth")


def test_the_warning_points_at_the_caller(tmp_path: Path) -> None:
    path = tiff(tmp_path / "a.tif", [(34682, fei())])
    with pytest.warns(CalibrationWarning) as caught:
        read_image(path, "0.31 um")
    assert caught[0].filename == __file__


def test_pixels_that_are_not_square(tmp_path: Path) -> None:
    path = tiff(tmp_path / "a.tif", [(34682, fei(y="2.6e-9"))])
    with pytest.raises(ImageError, match=r"a\.tif: FEI.*not square.*resample"):
        read_image(path)
    assert read_image(path, "2.5 nm").calibration == Calibration(2.5, "nm")
    path = tiff(tmp_path / "b.tif", resolution=(40_000, 20_000), resolutionunit=3)
    with pytest.raises(ImageError, match="not square"):
        read_image(path)
    # 0.8 % is within the tolerance of a tag
    read_image(tiff(tmp_path / "c.tif", [(34682, fei(y="2.52e-9"))]))


@pytest.mark.parametrize("typed", ["0.31", "um", "-1 um", "0 um", "nan um", 5, [], ("x", "um"), ""])
def test_a_typed_size_that_is_none(typed: object, tmp_path: Path) -> None:
    with pytest.raises(CalibrationError):
        read_image(tiff(tmp_path / "a.tif"), typed)  # type: ignore[arg-type]


def test_typed_in_every_form(tmp_path: Path) -> None:
    path = tiff(tmp_path / "a.tif")
    for typed in ("0.31 um", "310nm", "0.31 µm", (0.31, "um")):
        calibration = read_image(path, typed).calibration
        assert calibration is not None
        assert calibration.to("nm") == 310
    measured = Calibration(0.31, "um", "scale bar")
    assert read_image(path, measured).calibration == measured


@pytest.mark.parametrize("size", ["0 nm", "-3 nm", "abc", "nan nm", "1e300 m", "", "5 furlong"])
def test_a_tag_that_makes_no_sense_gives_no_scale(size: str, tmp_path: Path) -> None:
    text = f"AP_IMAGE_PIXEL_SIZE\r\nImage Pixel Size = {size}\r\n".encode()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", CalibrationWarning)
        assert read_image(tiff(tmp_path / "a.tif", [(34118, text)])).calibration is None


@pytest.mark.parametrize("code", [34118, 34680, 34682, 34683, 50431, 270])
def test_garbage_in_vendor_tags_does_no_harm(code: int, tmp_path: Path) -> None:
    rng = np.random.default_rng(code)
    for length in (1, 5, 6, 7, 40, 3000):
        data = rng.integers(0, 256, length, np.uint8).tobytes()
        image = read_image(tiff(tmp_path / "a.tif", [(code, data)]))
        assert image.calibration is None


def test_lengths_as_instruments_write_them() -> None:
    assert metres("26,37 nm") == 2.637e-08
    assert metres("1e-9") == 1e-9
    assert metres("5 Å") == 5e-10
    bads: tuple[object, ...] = ("", "nm", "1 2 nm", "inf m", "nan", None, [], "-1 nm")
    for bad in bads:
        assert metres(bad) is None


def test_readings_without_a_scale() -> None:
    assert calibrate([]) is None
    assert calibrate([Reading("x")]) is None
    assert resolution(0, 0, "inch", "x").x is None
    assert resolution(float("inf"), 1, "inch", "x").x is None


# ------------------------------------------------------- descriptions as their writers write them


def described(path: Path, text: str, **options: Any) -> Path:
    """A TIFF with a description; resolution and its unit as given."""
    options = {"metadata": None, "photometric": "minisblack"} | options
    tifffile.imwrite(path, noise(), description=text, **options)
    return path


def scale_of(path: Path) -> tuple[float | None, list[str]]:
    """Pixel in nanometres, and what was warned about."""
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        calibration = read_image(path).calibration
    return (
        None if calibration is None else calibration.to("nm"),
        [str(w.message) for w in told if issubclass(w.category, CalibrationWarning)],
    )


@pytest.mark.parametrize("per", [2, 3])
@pytest.mark.parametrize(
    "unit", ["um", "micron", "microns", "\\u00B5m", "\\u03bcm", "µm", "'um'", "Micrometers", "UM"]
)
def test_a_resolution_per_cm_or_inch_beside_another_unit(
    unit: str, per: int, tmp_path: Path
) -> None:
    """Pixels are counted per unit of the tag, as ImageJ and Bio-Formats read it: 0.31 um each."""
    value = {2: 25_400 / 0.31, 3: 1e4 / 0.31}[per]
    text = f"ImageJ=1.53t\nunit={unit}\n".encode("latin-1" if "µ" in unit else "ascii")
    path = tmp_path / "a.tif"
    tifffile.imwrite(
        path,
        noise(),
        metadata=None,
        extratags=[(270, 2, len(text) + 1, text + b"\0", True)],
        resolution=(value, value),
        resolutionunit=per,
    )
    nanometres, _ = scale_of(path)
    assert nanometres == pytest.approx(310, rel=1e-5)


def test_a_unit_of_resolution_that_only_the_other_reading_makes_sense_of(tmp_path: Path) -> None:
    """Pixels per um written with the unit of resolution left at inch or cm: guessed, and said."""
    for per in (2, 3):
        path = described(
            tmp_path / "a.tif",
            "ImageJ=1.53t\nunit=um\n",
            resolution=(1 / 0.31, 1 / 0.31),
            resolutionunit=per,
        )
        nanometres, told = scale_of(path)
        assert nanometres == pytest.approx(310, rel=1e-5)
        with pytest.warns(CalibrationWarning, match="guessed"):
            calibration = read_image(path).calibration
        assert calibration is not None
        assert "guessed" in calibration.source
        assert len(told) == 1


def test_a_print_resolution_that_replaced_the_scale(tmp_path: Path) -> None:
    """72 or 300 dpi beside ``unit=um``: another program saved it; 1/72 um would be wrong."""
    for dpi, per in ((72, 2), (300, 2), (300 / 2.54, 3)):
        path = described(
            tmp_path / "a.tif",
            "ImageJ=1.53t\nunit=um\n",
            resolution=(dpi, dpi),
            resolutionunit=per,
        )
        nanometres, told = scale_of(path)
        assert nanometres is None
        assert len(told) == 1
        assert "no scale" in told[0]
        assert scale_of(path)[0] is None
        assert read_image(path, "1 um").calibration == Calibration(1, "um")


def test_two_descriptions_agree_and_settle_it(tmp_path: Path) -> None:
    """Micro-Manager writes OME's and ImageJ's; 5 nm pixels per nm or per cm: OME decides."""
    ome = '<OME><Image><Pixels PhysicalSizeX="{}" PhysicalSizeXUnit="nm"/></Image></OME>'
    for edge, value in ((5.0, 1 / 5.0), (5e4, 1 / 5e-3)):
        texts = [ome.format(edge).encode(), b"ImageJ=1.52\nunit=nm\n"]
        extra = [(270, 2, len(text) + 1, text + b"\0", True) for text in texts]
        tifffile.imwrite(
            tmp_path / "a.tif",
            noise(),
            metadata=None,
            extratags=extra,
            resolution=(value, value),
            resolutionunit=3,
        )
        nanometres, told = scale_of(tmp_path / "a.tif")
        assert nanometres == pytest.approx(edge)
        assert told == []


def test_two_descriptions_that_disagree_are_told(tmp_path: Path) -> None:
    texts = [
        b'<OME><Image><Pixels PhysicalSizeX="0.5"/></Image></OME>',
        b"ImageJ=1.52\nunit=um\n",
    ]
    extra = [(270, 2, len(text) + 1, text + b"\0", True) for text in texts]
    tifffile.imwrite(
        tmp_path / "a.tif",
        noise(),
        metadata=None,
        extratags=extra,
        resolution=(1 / 0.3, 1 / 0.3),
        resolutionunit=1,
    )
    with pytest.warns(CalibrationWarning, match=r"0\.5 um/px \(OME.*0\.3 um/px \(ImageJ"):
        calibration = read_image(tmp_path / "a.tif").calibration
    assert calibration == Calibration(0.5, "um", "OME tag PhysicalSizeX")


@pytest.mark.parametrize(
    ("attributes", "nanometres"),
    [
        ("PhysicalSizeX='0.065' PhysicalSizeY='0.065'", 65),
        ("PhysicalSizeX = '0.065'\n PhysicalSizeXUnit = '&#181;m'", 65),
        ('PhysicalSizeX="0.065" PhysicalSizeXUnit="&#xB5;m"', 65),
        ('PhysicalSizeX="0.065" PhysicalSizeXUnit="&#956;m"', 65),
        ('PhysicalSizeX="6.5e-2" PhysicalSizeXUnit="micron"', 65),
        ('PhysicalSizeX="0.065" PhysicalSizeXUnit="micrometre"', 65),
        ('PhysicalSizeX="650" PhysicalSizeXUnit="\\u212B"', 65),
        ('PhysicalSizeX="65" PhysicalSizeXUnit="nanometers"', 65),
        ('PhysicalSizeXUnit="pixel" PhysicalSizeX="1"', None),
        ('PhysicalSizeXUnit="reference frame" PhysicalSizeX="1"', None),
        ('PhysicalSizeXUnit="Mm" PhysicalSizeX="1"', None),
        ('SizeX="4"', None),
    ],
)
@pytest.mark.parametrize("prefix", ["", "OME:"])
def test_ome_as_its_writers_write_it(
    prefix: str, attributes: str, nanometres: float | None, tmp_path: Path
) -> None:
    text = f"<{prefix}OME><{prefix}Image><{prefix}Pixels {attributes}></{prefix}OME>"
    found = from_ome(text)
    got = None if found is None or found.x is None else found.x * 1e9
    assert got == (None if nanometres is None else pytest.approx(nanometres))
    path = described(tmp_path / "a.tif", text.encode("ascii", "xmlcharrefreplace").decode())
    assert scale_of(path)[0] == (None if nanometres is None else pytest.approx(nanometres))


def test_images_of_one_ome_description_that_differ_are_a_guess() -> None:
    found = from_ome('<OME><Pixels PhysicalSizeX="1"/><Pixels PhysicalSizeX="2"/></OME>')
    assert found is not None
    assert "several images" in found.guess


def test_descriptions_are_read_in_linear_time() -> None:
    for head, piece in (("", "<Pixels "), ("", "Pixels"), ("<Pixels ", "PhysicalSizeX ")):

        def read(count: int, head: str = head, piece: str = piece) -> None:
            from_ome(head + piece * count)

        assert grows_linearly(read, 60_000), piece


def test_a_resolution_like_a_scanner_s_is_a_guess(tmp_path: Path) -> None:
    path = tiff(tmp_path / "a.tif", resolution=(1000, 1000), resolutionunit=3)
    with pytest.warns(CalibrationWarning, match="2540 dpi"):
        calibration = read_image(path).calibration
    assert calibration is not None
    assert calibration.to("um") == pytest.approx(10)
    assert "guessed" in calibration.source


# ------------------------------------------------------------------------------------ resampling


@pytest.mark.parametrize("factor", [0.5, 0.25, 2.0])
@pytest.mark.parametrize("bar", [0, 64])
def test_a_picture_resampled_after_recording(factor: float, bar: int, tmp_path: Path) -> None:
    """Half as many pixels are twice as large: in the value, in a warning and in the provenance."""
    rows, columns = int(768 * factor), int(1024 * factor)
    text = "[Scan]\nPixelWidth=2e-9\nPixelHeight=2e-9\n[Image]\nResolutionX=1024\n"
    text += f"ResolutionY={768 - bar}\n" + (f"[PrivateFei]\nDatabarHeight={bar}\n" if bar else "")
    extra = [(34682, 1, len(text), text.encode(), True)]
    tifffile.imwrite(
        tmp_path / "a.tif",
        noise((rows, columns)),
        extratags=extra,
        metadata=None,
        photometric="minisblack",
    )
    with pytest.warns(CalibrationWarning, match="resampled from 1024"):
        calibration = read_image(tmp_path / "a.tif").calibration
    assert calibration is not None
    assert calibration.to("nm") == pytest.approx(2 / factor)
    assert "guessed: resampled from 1024" in calibration.source


def test_a_picture_that_was_cut_keeps_its_pixels(tmp_path: Path) -> None:
    text = b"[Scan]\nPixelWidth=2e-9\n[Image]\nResolutionX=1024\nResolutionY=768\n"
    tifffile.imwrite(
        tmp_path / "a.tif",
        noise((700, 300)),
        extratags=[(34682, 1, len(text), text, True)],
        metadata=None,
        photometric="minisblack",
    )
    with pytest.warns(CalibrationWarning, match="1024 columns"):
        calibration = read_image(tmp_path / "a.tif").calibration
    assert calibration == Calibration(2, "nm", "FEI tag PixelWidth")


# ----------------------------------------------------------------------- the table of instruments


def test_a_vendor_in_the_table_alone_counts_as_its_rank_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A row more, and nothing else: its tag is read and wins over a sidecar, or loses to it."""
    path = tiff(tmp_path / "a.tif", [(65_123, b"edge 7 nm")])
    (tmp_path / "a.txt").write_text(f"[SemImageFile]\nPixelSize=5\nDataSize={W}x{H}\n")

    def parser(written: vendors.Written) -> list[Reading]:
        (value,) = written.tags.values()
        edge = metres(vendors.as_text(value).removeprefix("edge"))
        return [Reading("New instrument", edge, edge)]

    for rank, expected in ((RANKS["tag"], "New instrument"), (25, "Hitachi sidecar a.txt")):
        row = vendors.Vendor("New", rank, parser, tags=(65_123,))
        monkeypatch.setattr(vendors, "VENDORS", (*VENDORS, row))
        with pytest.warns(CalibrationWarning, match="given twice"):
            calibration = read_image(path).calibration
        assert calibration is not None
        assert calibration.source == expected
        assert calibration.to("nm") == {"New instrument": 7}.get(expected, 5)


def test_a_sidecar_in_the_table_alone_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tiff(tmp_path / "a.tif")
    (tmp_path / "a.txt").write_text("NEW INSTRUMENT\n3 nm\n")

    def parser(written: vendors.Written) -> list[Reading]:
        edge = metres(written.text.splitlines()[1])
        return [Reading(f"New {written.where}", edge, edge)]

    row = vendors.Vendor("New", RANKS["sidecar"], parser, marks=("NEW INSTRUMENT",))
    monkeypatch.setattr(vendors, "VENDORS", (*VENDORS, row))
    assert read_image(tmp_path / "a.tif").calibration == Calibration(3, "nm", "New sidecar a.txt")


def test_titan(tmp_path: Path) -> None:
    """XML in the tag of Phenom, an empty INI tag beside it, lengths in metres."""
    text = b"<Metadata><BinaryResult><PixelSize><X unit='m' unitPrefixPower='0'>1.5E-10</X>"
    text += b"<Y unit='m'>1.5E-10</Y></PixelSize></BinaryResult></Metadata>"
    image = read_image(tiff(tmp_path / "a.tif", [(34682, b"\0"), (34683, text)]))
    assert image.calibration == Calibration(0.15, "nm", "Titan tag PixelSize")


def test_olympus_sis(tmp_path: Path) -> None:
    """A block of SIS0, whose part with the general data lies elsewhere in the file."""
    general = struct.pack("<10xhdd8xd2x34s32s", -6, 0.32, 0.32, 500.0, b"camera", b"picture")
    head = struct.pack("<4s6xhhhhh6x32sH", b"SIS0", 1, 2, 3, 4, 120, b"name", 1)
    block = head + struct.pack("<hhI", 1, 1, 0) + general
    path = tiff(tmp_path / "a.tif", [(33560, block)])
    data = bytearray(path.read_bytes())
    place = data.index(b"SIS0")
    struct.pack_into("<I", data, place + len(head) + 4, place + len(head) + 8)
    path.write_bytes(bytes(data))
    assert read_image(path).calibration == Calibration(0.32, "um", "Olympus SIS tag pixelsizex")


def test_gatan(tmp_path: Path) -> None:
    unit = "µm".encode("latin-1") + b"\0"
    extra = [(code, 2, len(unit), unit, True) for code in (65003, 65004)]
    extra += [(code, 12, 1, 0.02, True) for code in (65009, 65010)]
    tifffile.imwrite(tmp_path / "a.tif", noise(), extratags=extra, metadata=None)
    assert read_image(tmp_path / "a.tif").calibration == Calibration(20, "nm", "Gatan tag 65009")


def test_micro_manager(tmp_path: Path) -> None:
    text = b'{"PixelSizeUm": 0.325, "Width": 128}'
    extra = [(51123, 2, len(text) + 1, text + b"\0", True)]
    tifffile.imwrite(tmp_path / "a.tif", noise(), extratags=extra, metadata=None)
    found = read_image(tmp_path / "a.tif").calibration
    assert found == Calibration(0.325, "um", "Micro-Manager tag PixelSizeUm")


@pytest.mark.parametrize("tag", [271, 272, 305])
def test_jeol_without_its_sidecar_is_said_and_not_guessed(tag: int, tmp_path: Path) -> None:
    """The resolution of such a file, 0.2 um a pixel here, is not taken for the scale."""
    text = b"JEOL JSM-7600F"
    tifffile.imwrite(
        tmp_path / "a.tif",
        noise(),
        extratags=[(tag, 2, len(text) + 1, text + b"\0", True)],
        metadata=None,
        software=False,
        resolution=(50_000, 50_000),
        resolutionunit=3,
    )
    with pytest.warns(CalibrationWarning, match=r"JEOL keeps the scale in a \.txt"):
        image = read_image(tmp_path / "a.tif")
    assert image.calibration is None
    assert any("JEOL" in note for note in image.info["notes"])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert read_image(tmp_path / "a.tif", "1 um").calibration == Calibration(1, "um")


def test_garbage_in_the_new_tags_does_no_harm(tmp_path: Path) -> None:
    rng = np.random.default_rng(5)
    for code in (33560, 34119, 37706, 51123, 65003, 65009):
        for length in (1, 5, 60, 300, 3000):
            data = rng.integers(0, 256, length, np.uint8).tobytes()
            assert read_image(tiff(tmp_path / "a.tif", [(code, data)])).calibration is None


def test_vendor_tags_are_read_in_linear_time() -> None:
    for code, head, piece, tail, size in (
        (34118, "AP_IMAGE_PIXEL_SIZE\r\n", " ", "x", 200_000),
        (34683, '<pixelWidth unit="nm">', " ", "", 200_000),
        (34683, "", "<pixelWidth ", "", 40_000),
        (34683, "<PixelSize>", "<X", "", 100_000),
        (34682, "", "[", "", 200_000),
    ):

        def read(
            count: int, code: int = code, text: tuple[str, str, str] = (head, piece, tail)
        ) -> None:
            vendors.from_tags({code: text[0] + text[1] * count + text[2]}, 128)

        assert grows_linearly(read, size), (code, piece)
