"""The scale of files that carry the tags and sidecars of the instruments.

Truths: the lengths written into the files, whose layouts follow the published descriptions:
SmartSEM's pairs of lines, FEI's INI text, TESCAN's chain of blocks, JEOL's and Hitachi's sidecars.
"""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image as Picture
from vendor_files import H, W, fei, noise, tescan, tiff, zeiss

from particle_nb.core.errors import CalibrationError, ImageError
from particle_nb.core.image import Calibration, CalibrationWarning, read_image
from particle_nb.core.image.scale import Reading, calibrate, metres, resolution


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
