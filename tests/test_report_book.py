"""What leaves the toolkit for Excel, a paper, slides and napari, read back by other means."""

from __future__ import annotations

import io

import numpy as np
import pandas as pd
import PIL.Image
import plotly.graph_objects as go
import pytest

import particle_nb as pnb
from particle_nb import Calibration, DataError, FilterSettings, Image, MaskSet, Session
from particle_nb.core import exports

openpyxl = pytest.importorskip("openpyxl", reason="openpyxl is the extra excel")

PIXELS = np.full((120, 160), 40, np.uint8)
for place in range(6):
    PIXELS[10 + 50 * (place // 3) : 40 + 50 * (place // 3), 10 + 45 * (place % 3) :][:, :30] = 200
IMAGE = Image(PIXELS, Calibration(5, "nm", "FEI tag PixelWidth"), "a")


@pytest.fixture(scope="module")
def found() -> tuple[MaskSet, pd.DataFrame, pd.DataFrame]:
    masks, audit = pnb.cascade(Session("classical").propose(IMAGE, progress=False), IMAGE)
    return masks, audit, pnb.measure(masks, IMAGE.calibration, image="a")


def png(colour: int) -> bytes:
    stream = io.BytesIO()
    PIL.Image.new("L", (40, 30), colour).save(stream, "PNG")
    return stream.getvalue()


def test_the_workbook_holds_tables_settings_text_and_pictures(tmp_path, found):
    _, _, table = found
    two = pd.concat([table, table.assign(image="b")], ignore_index=True)
    two.attrs = table.attrs
    q3 = pnb.size_distribution(two, weights="miles_lantuejoul")
    path = tmp_path / "report.xlsx"
    exports.write_workbook(
        path,
        two,
        distribution=q3,
        figures={"a/b": png(10), "A b": png(200), "sizes": png(90)},
        settings={"sample": "=1+1"},
    )
    book = openpyxl.load_workbook(path)
    tables = ["particles", "sizes", "distribution", "shapes", "images", "settings", "methods"]
    assert book.sheetnames == [*tables, "a b", "A b 2", "sizes 2"]
    assert [len(book[name]._images) for name in book.sheetnames[7:]] == [1, 1, 1]
    data = book["A b 2"]._images[0]._data()
    assert PIL.Image.open(io.BytesIO(data)).getpixel((3, 3)) == 200
    back = exports.read_xlsx(path, "particles")
    pd.testing.assert_series_equal(back["x_A_nm"], two["x_A_nm"])
    sizes = exports.read_xlsx(path, "sizes").set_index("of Q_3, x_A")
    assert sizes.loc["D50", "value"] == pytest.approx(q3.percentile(50))
    assert sizes.loc["D50", "low"] <= sizes.loc["D50", "value"] <= sizes.loc["D50", "high"]
    curve = exports.read_xlsx(path, "distribution")
    assert curve["x_A / nm"].iloc[50] == pytest.approx(q3.percentile(50))
    settings = exports.read_xlsx(path, "settings").set_index("key")["value"]
    assert settings["sample"] == "=1+1"  # text, no formula
    assert book["settings"]["C" + str(book["settings"].max_row)].data_type == "s"
    assert "FEI tag PixelWidth" in settings["calibration"]
    assert "two" not in book["methods"]["A2"].value
    assert f"{len(two)} particles were measured" in book["methods"]["A2"].value


def test_a_figure_that_cannot_be_drawn_says_what_it_takes(tmp_path, found):
    class Broken:
        def to_image(self, **_):
            raise RuntimeError("no browser")

    with pytest.raises(DataError, match="kaleido"):
        exports.write_workbook(tmp_path / "a.xlsx", found[2], figures={"psd": Broken()})
    assert not (tmp_path / "a.xlsx").exists()


def test_the_paragraph_tells_what_was_done_and_what_is_not_known(found):
    masks, audit, table = found
    session = Session("classical")
    q0 = pnb.size_distribution(table, r=0, weights="miles_lantuejoul")
    text = pnb.methods_text(
        table, session=session, audit=audit, distribution=q0, corrected="Two masks were redrawn."
    )
    proposed = audit.attrs["proposals"]
    for told in (
        "One micrograph was segmented",
        pnb.__version__,
        f"'{session.segmenter.name}'",
        session.segmenter.digest[:16],
        f"Of {proposed} proposed masks {len(masks)} were kept",
        "min_area = 30 (default)",
        "Two masks were redrawn. ",
        f"{len(table)} particles were measured",
        "5 nm/px (FEI tag PixelWidth)",
        "ISO 9276-6",
        "weighted by number",
        f"x_50,0 = {q0.percentile(50):.4g} nm",
        "image-to-image variation (one image)",
        "MIT licence",
    ):
        assert told in text, told
    bare = pnb.methods_text(pd.DataFrame({"x_A_px": [1.0]}))
    for told in ("model was not recorded", "Filters", "not recorded", "source of the scale"):
        assert told in bare
    _, audit = pnb.cascade(masks, IMAGE, FilterSettings(min_area=500))
    assert "min_area = 500;" in pnb.methods_text(table, audit=audit)


def test_the_paragraph_of_several_images(found):
    masks, audit, table = found
    empty = pnb.measure(masks[[]], IMAGE.calibration)
    coarse = pnb.measure(masks, pnb.Calibration(0.010, "um", "typed"), unit="nm")
    with pytest.raises(DataError, match="lengths in nm and um"):
        pnb.methods_text([table, pnb.measure(masks, IMAGE.calibration, unit="um")])
    text = pnb.methods_text([table, empty, coarse], audit=[audit] * 3)
    for told in (
        "3 micrographs were",
        f"Of {3 * audit.attrs['proposals']} proposed masks {3 * len(masks)} were kept",
        f"{len(table) + len(coarse)} particles were measured (outline: ",
        "at 5 nm/px (FEI tag PixelWidth) on 2 images; at 0.01 um/px (typed) on one image.",
    ):
        assert told in text, told
    # joined by pandas the tables have lost their scales, and the audits what was proposed
    joined = pd.concat([table.assign(image="a"), coarse.assign(image="b")])
    assert "source of the scale was not recorded" in pnb.methods_text(joined)
    with pytest.raises(DataError, match="1 audits of 2 images"):
        pnb.methods_text(joined, audit=audit)
    _, other = pnb.cascade(masks, IMAGE, FilterSettings(min_area=500))
    with pytest.raises(DataError, match="joined by"):
        pnb.methods_text([table, coarse], audit=pd.concat([audit, other]))
    for nothing in ([], [empty], "table", [table, 1]):
        with pytest.raises(DataError, match="at least one particle"):
            pnb.methods_text(nothing)


def test_no_interval_is_printed_that_says_nothing():
    """Two images that differ: Student's t of one degree of freedom spans many decades."""
    rng = np.random.default_rng(0)
    sizes = [rng.lognormal(np.log(median), 0.1, 40) for median in (1.0, 3.0)]
    table = pd.DataFrame({"x_A_um": np.concatenate(sizes), "image": ["a"] * 40 + ["b"] * 40})
    q0 = pnb.size_distribution(table, r=0)
    text = pnb.methods_text(table, distribution=q0)
    assert "no interval: too few particles or images" in text
    assert "e+" not in text


def test_layers_as_napari_takes_them(found):
    masks, _, table = found
    (pixels, about, kind), (labels, shown, labelled) = exports.napari_layers(IMAGE, masks, table)
    assert (kind, labelled) == ("image", "labels")
    assert about["scale"] == shown["scale"] == (5.0, 5.0)
    assert about["units"] == ("nm", "nm")
    assert pixels is IMAGE.pixels
    features = shown["features"]
    assert features["index"].tolist() == list(range(len(masks) + 1))
    for n, mask in enumerate(masks, start=1):
        assert (labels == n).sum() == mask.area
        assert features["area_nm2"].iloc[n] == 25 * mask.area
    stack = Image(np.zeros((8, 9, 2), np.uint8))
    (data, about, _) = exports.napari_layers(stack)[0]
    assert data.shape == (2, 8, 9)
    assert not about["rgb"]
    assert about["scale"] == (1.0, 1.0, 1.0)


def test_slides(tmp_path):
    pytest.importorskip("kaleido", reason="kaleido draws plotly figures")
    figure = go.Figure(go.Scatter(x=[1, 2], y=[1, 3]), layout={"title": "a"})
    try:
        pnb.figures.write_slide(figure, tmp_path / "a.svg")
    except DataError as error:
        assert "kaleido" in str(error)  # noqa: PT017
        pytest.skip("kaleido has no Chromium here")
    assert (tmp_path / "a.svg").read_text(encoding="utf-8").startswith("<svg")
    assert figure.layout.width is None
    pnb.figures.write_slide(figure, tmp_path / "a.png")
    assert PIL.Image.open(tmp_path / "a.png").size == (2560, 1440)
