"""Figures say what they show: the numbers of the core, with symbol and unit on every axis."""

import base64
import io

import numpy as np
import pandas as pd
import pytest
from PIL import Image as PILImage

import particle_nb as pnb
from particle_nb.core.errors import DataError
from particle_nb.figures.masks import mask_outline, scale_bar
from particle_nb.figures.style import instance_colours


@pytest.fixture(scope="module")
def scene() -> tuple[pnb.Image, pnb.MaskSet]:
    rows, cols = np.mgrid[:120, :160]
    labels = np.zeros((120, 160), int)
    for number, (x, y, r) in enumerate([(30, 30, 14), (90, 40, 20), (50, 90, 10)], start=1):
        labels[(cols - x) ** 2 + (rows - y) ** 2 <= r * r] = number
    image = pnb.Image(np.where(labels, 200, 50).astype(np.uint8), pnb.Calibration(0.5, "um"), "a")
    return image, pnb.MaskSet.from_labels(labels)


def picture_of(layer) -> np.ndarray:
    return np.asarray(PILImage.open(io.BytesIO(base64.b64decode(layer.source.split(",")[1]))))


def test_the_overlay_colours_the_particles_and_only_them(scene) -> None:
    image, masks = scene
    fig = pnb.figures.overlay(image, masks, opacity=0.5)
    drawn = picture_of(fig.layout.images[0]).astype(int)
    inside = masks.to_labels() > 0
    grey = image.to_uint8().astype(int)
    np.testing.assert_array_equal(drawn[~inside], grey[~inside][:, None].repeat(3, 1))
    for index, colour in enumerate(instance_colours(3)):
        found = drawn[masks.to_labels() == index + 1]
        expected = np.round(0.5 * colour + 0.5 * grey[masks.to_labels() == index + 1][:, None])
        np.testing.assert_allclose(found, expected, atol=1)


def test_hovering_tells_size_with_its_unit(scene) -> None:
    image, masks = scene
    fig = pnb.figures.overlay(image, masks)
    texts = next(trace.text for trace in fig.data if trace.text is not None)
    table = pnb.measure(masks, image.calibration)
    assert len(texts) == 3
    for text, size in zip(texts, table["x_A_um"], strict=True):
        assert f"{size:.4g} µm" in text


def test_outlines_run_half_a_pixel_outside_the_pixel_centres() -> None:
    (line,) = mask_outline(pnb.Mask((3, 5), np.ones((2, 4), bool), (20, 20)))
    assert line.min(0).tolist() == [4.5, 2.5]
    assert line.max(0).tolist() == [8.5, 4.5]


def test_the_scale_bar_has_a_round_length_of_the_right_number_of_pixels() -> None:
    for size, unit, width, pixels, text in (
        (0.5, "um", 160, 20, "10 µm"),
        (2.5, "nm", 1000, 200, "500 nm"),
        (6, "nm", 1000, 1000 / 6, "1 µm"),
    ):
        image = pnb.Image(np.zeros((10, width)), pnb.Calibration(size, unit))
        assert scale_bar(image) == (pytest.approx(pixels), text)


def test_the_triptych_holds_micrograph_labels_and_binary_mask(scene) -> None:
    image, masks = scene
    raw, labels, binary = (picture_of(p) for p in pnb.figures.triptych(image, masks).layout.images)
    np.testing.assert_array_equal(raw, image.to_uint8())
    np.testing.assert_array_equal(binary > 0, masks.to_labels() > 0)
    assert len(np.unique(labels.reshape(-1, 3), axis=0)) == 4


def test_psd_draws_the_distribution_it_is_given() -> None:
    x = np.exp(np.random.default_rng(1).normal(1, 0.4, 400))
    q3 = pnb.size_distribution(x, r=3, unit="um")
    fig = pnb.figures.psd(q3, reference=pnb.size_distribution(1000 * x, r=3, unit="nm"))
    bars, line, reference = fig.data[0], fig.data[1], fig.data[2]
    np.testing.assert_allclose(np.sum(bars.customdata[:, 2]), 100)
    np.testing.assert_allclose(np.interp(q3.percentile(50), line.x, line.y), 50, atol=0.2)
    np.testing.assert_allclose(
        np.interp(50, reference.y, reference.x), q3.percentile(50), rtol=1e-2
    )
    text = " ".join(note.text for note in fig.layout.annotations)
    for p in (10, 50, 90):
        assert f"{q3.percentile(p):.4g} µm" in text
    assert "µm" in fig.layout.xaxis.title.text
    assert "Q<sub>3</sub>" in fig.layout.yaxis2.title.text
    assert "q<sub>3</sub>" in fig.layout.yaxis.title.text


def test_psd_draws_its_intervals_and_says_what_is_in_them() -> None:
    """Error bars end where `interval` says; the text names the images."""
    rng = np.random.default_rng(3)
    table = pd.DataFrame(
        {"image": np.repeat(list("abcdef"), 80), "x_A_um": np.exp(0.2 * rng.standard_normal(480))}
    )
    q0 = pnb.size_distribution(table, r=0)
    fig = pnb.figures.psd(q0)
    bars = [trace for trace in fig.data if trace.type == "scatter" and trace.error_x.array]
    limits = q0.interval([10, 50, 90])
    assert [bar.y[0] for bar in bars] == [10, 50, 90]
    for bar, (low, high) in zip(bars, limits, strict=True):
        assert bar.x[0] + bar.error_x.array[0] == pytest.approx(high)
        assert bar.x[0] - bar.error_x.arrayminus[0] == pytest.approx(low)
    texts = " ".join(note.text for note in fig.layout.annotations)
    assert "image to image (6 images)" in texts
    alone = pnb.figures.psd(pnb.size_distribution(table["x_A_um"], r=0))
    assert "Not in them: image-to-image" in " ".join(n.text for n in alone.layout.annotations)
    bare = pnb.figures.psd(q0, level=None)
    assert not [t for t in bare.data if t.type == "scatter" and t.error_x.array]


def test_psd_refuses_a_reference_of_another_kind() -> None:
    q3 = pnb.size_distribution([1.0, 2.0, 3.0], r=3, unit="um")
    with pytest.raises(DataError, match="Q_0"):
        pnb.figures.psd(q3, reference=pnb.size_distribution([1.0, 2.0], r=0, unit="um"))
    with pytest.raises(DataError, match="pixel size"):
        pnb.figures.psd(q3, reference=pnb.size_distribution([1.0, 2.0], r=3, unit="px"))


def test_a_rosin_rammler_law_is_a_straight_line_of_slope_n() -> None:
    p = (np.arange(4000) + 0.5) / 4000
    x = 10 * (-np.log1p(-p)) ** (1 / 2.5)  # RRSB by number with x' = 10, n = 2.5
    fig = pnb.figures.rrsb(pnb.size_distribution(x, r=0, unit="um"))
    points, line = fig.data
    slope = np.polyfit(np.log(points.x), points.y, 1)[0]
    assert slope == pytest.approx(2.5, rel=0.02)
    assert np.polyfit(np.log(line.x), line.y, 1)[0] == pytest.approx(2.5, rel=0.03)
    assert np.interp(0, points.y, points.x) == pytest.approx(10, rel=0.01), "x' lies at 63.2 %"


def test_rrsb_shows_the_law_among_the_sizes_that_were_seen():
    """A law with half of its volume below the smallest particle: the points lie along the second
    curve, as near as the fit says of itself, and far from the line."""
    x = 400 * np.random.default_rng(3).weibull(3, 4000)
    q3 = pnb.size_distribution(x[x > 380], r=0, unit="um")
    fit = q3.rrsb()
    points, line, seen = pnb.figures.rrsb(q3).data
    size, share = np.asarray(points.x), np.asarray(points.y)
    part = np.interp(np.log(size), np.log(seen.x), seen.y)
    whole = np.interp(np.log(size), np.log(line.x), line.y)

    def q(ordinate):
        return -np.expm1(-np.exp(ordinate))

    assert np.abs(q(part) - q(share))[size > seen.x[0]].max() < fit.distance + 0.02
    assert np.abs(q(whole) - q(share)).max() > 0.3
    assert "380 µm" in seen.name


def test_the_funnel_counts_what_the_audit_says(scene) -> None:
    image, masks = scene
    _, audit = pnb.cascade(masks, image, pnb.FilterSettings(min_area=400, edge="keep"))
    left, removed = pnb.figures.funnel(audit).data
    assert left.x[0] == 3
    assert left.x[-1] == 2
    assert sum(removed.x) == 1
    assert len(left.y) == 1 + audit.loc[audit["verdict"] != "off", "stage"].nunique()


def test_shapes_draws_every_parameter_and_splits_by_a_column(scene) -> None:
    image, masks = scene
    table = pd.concat([pnb.measure(masks, image.calibration, image=name) for name in "ab"] * 3)
    assert len(pnb.figures.shapes(table).data) == 6
    split = pnb.figures.shapes(table, ("aspect_ratio",), by="image", kind="box")
    assert [trace.name for trace in split.data] == ["a", "b"]
    np.testing.assert_allclose(np.sort(split.data[0].y), np.sort(table["aspect_ratio"])[::2])
