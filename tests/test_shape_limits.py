"""Where contour numbers end: several parts, small and narrow masks, fine outlines."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from skimage.measure import points_in_poly

from particle_nb.core.cascade import FilterSettings, cascade
from particle_nb.core.errors import CalibrationError, DataError
from particle_nb.core.image import Calibration, Image
from particle_nb.core.masks import Mask, MaskSet
from particle_nb.core.shape import Region, measure
from particle_nb.core.shape.contour import measure_contours, measure_crops

RATIOS = ("circularity", "form_factor", "roundness", "convexity", "solidity", "aspect_ratio")


def drawn(corners: np.ndarray, rng: np.random.Generator, angle: float | None = None) -> np.ndarray:
    """Pixels whose centres lie within a polygon, turned and shifted at random."""
    angle = rng.uniform(0, 2 * np.pi) if angle is None else angle
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    at = corners @ turn.T + rng.uniform(0, 1, 2)
    low, high = np.floor(at.min(axis=0)).astype(int) - 2, np.ceil(at.max(axis=0)).astype(int) + 3
    y, x = np.mgrid[low[1] : high[1], low[0] : high[0]]
    return points_in_poly(np.c_[x.ravel(), y.ravel()], at).reshape(x.shape)


def table_of(crops: list[np.ndarray]) -> pd.DataFrame:
    frame = (max(c.shape[0] for c in crops) + 2, max(c.shape[1] for c in crops) + 2)
    return measure(MaskSet(tuple(Mask((1, 1), crop, frame) for crop in crops)))


def bar(width: float, length: float) -> np.ndarray:
    return np.array([[0, 0], [length, 0], [length, width], [0, width]], float)


def snowflake(depth: int, area: float) -> np.ndarray:
    """Koch's curve outwards around a triangle, of this area."""
    corners = np.exp(2j * np.pi * np.arange(3) / 3)
    for _ in range(depth):
        step = (np.roll(corners, -1) - corners) / 3
        tip = corners + step + step * np.exp(-1j * np.pi / 3)
        corners = np.stack([corners, corners + step, tip, corners + 2 * step], axis=1).ravel()
    after = np.roll(corners, -1)
    now = abs(np.sum(corners.real * after.imag - after.real * corners.imag)) / 2
    corners *= math.sqrt(area / now)
    return np.c_[corners.real, corners.imag]


def test_two_particles_under_one_mask_have_no_shape() -> None:
    """Area of both and contour of one gave a form factor of 1.99, which passed every filter."""
    y, x = np.mgrid[:100, :220]
    two = (np.hypot(x - 50, y - 50) < 40) | (np.hypot(x - 165, y - 50) < 40)
    row = table_of([two]).iloc[0]
    assert row["area_px2"] == two.sum()
    assert row[[*RATIOS, "perimeter_px", "x_Fmin_px", "x_Fmax_px"]].isna().all()
    assert row["flag"] == "parts"
    masks = MaskSet((Mask.from_full(two),))
    picture = Image(np.where(two, 200, 50).astype(np.uint8))
    off = {"edge": "keep", "duplicate_iou": None}
    kept, audit = cascade(masks, picture, FilterSettings(min_form_factor=0.0, **off))
    assert len(kept) == 0
    assert audit.loc[audit["verdict"] == "removed", "stage"].tolist() == ["form_factor"]
    assert len(cascade(masks, picture, FilterSettings(**off))[0]) == 1


def test_a_stray_pixel_leaves_the_shape_of_the_rest() -> None:
    y, x = np.mgrid[:60, :80]
    disc = np.hypot(x - 28.3, y - 29.6) < 20
    dusty = disc.copy()
    dusty[::10, 60::5] = True
    clean, dirty = table_of([disc]).iloc[0], table_of([dusty]).iloc[0]
    assert dirty["flag"] == "parts"
    assert dirty["area_px2"] == dusty.sum() > disc.sum()
    for name in RATIOS:
        assert dirty[name] == pytest.approx(clean[name], rel=1e-9)


def test_ratios_of_small_round_masks_stay_in_their_range() -> None:
    """Discs, ellipses and squares of 3 to 24 px; truth: the isoperimetric inequalities."""
    rng = np.random.default_rng(0)
    around = np.linspace(0, 2 * np.pi, 400)[:-1]
    crops = []
    for size in np.linspace(3, 24, 60):
        for flat in (1.0, 0.9, 0.75):
            ring = size / 2 * np.c_[np.cos(around), flat * np.sin(around)]
            crops += [drawn(ring, rng) for _ in range(3)]
        crops.append(drawn(bar(size, size), rng))
    table = table_of([crop for crop in crops if crop.any()])
    known = table["perimeter_px"].notna()
    for name in RATIOS:
        assert table.loc[known, name].between(0, 1).all(), name
    # the pixel count itself passes the contour's bound in some of them: that is the cause
    raw = measure_crops([Mask.from_full(crop).crop for crop in crops if crop.any()])
    assert (4 * np.pi * raw[:, 0] > raw[:, 3] ** 2).any()
    assert (raw[:, 0] > raw[:, 5]).any()
    assert table.loc[known, "form_factor"].equals(table.loc[known, "circularity"] ** 2)
    beyond = known.to_numpy() & (raw[:, 0] > raw[:, 5])
    # where the contour bends in nowhere the ratio is 1, elsewhere it says by how much it does
    assert table.loc[beyond, "solidity"].between(0.9, 1 - 1e-4).any()


def test_ordinary_particles_keep_their_bits() -> None:
    """A large disc: ratios of the pixel count and the contour, x_Fmin of the contour itself."""
    rng = np.random.default_rng(1)
    around = np.linspace(0, 2 * np.pi, 2000)[:-1]
    crop = Mask.from_full(drawn(np.c_[40 * np.cos(around), 34 * np.sin(around)], rng)).crop
    area, _, _, perimeter, _, hull, low, high, *_ = measure_crops([crop])[0]
    row = table_of([crop]).iloc[0]
    assert row["circularity"] == np.sqrt(4 * math.pi * area) / perimeter
    assert row["solidity"] == area / hull
    assert row["roundness"] == 4 * area / (math.pi * high**2)
    assert row["x_Fmin_px"] == low
    region = Region.of(Mask((0, 0), crop, crop.shape))
    assert (region.area, region.own_area, region.feret_min) == (area, area, low)


@pytest.mark.parametrize("width", [3, 4, 6, 10, 20])
@pytest.mark.parametrize("degrees", [6, 8, 15, 22, 30, 38])
def test_oblique_bars_are_as_wide_as_they_are(width: float, degrees: float) -> None:
    """Tangents to the crests of the staircase made a bar of 3 px 11 to 24 % too wide."""
    rng = np.random.default_rng(degrees)
    crops = [drawn(bar(width, 100), rng, np.radians(degrees)) for _ in range(12)]
    table = table_of(crops)
    assert table["x_Fmin_px"].mean() == pytest.approx(width, rel=0.02)
    assert table["flag"].eq("narrow" if width < 8 else "").all()
    raw = measure_crops(crops)[:, 6].mean()
    assert raw > width + 0.25


def test_bars_of_any_angle_are_within_two_percent_or_flagged() -> None:
    rng = np.random.default_rng(5)
    for width in (3, 5, 7, 10, 16, 24):
        table = table_of([drawn(bar(width, 90), rng) for _ in range(60)])
        if width < 8:
            assert table["flag"].str.contains("narrow|too_small").all()
        assert table["x_Fmin_px"].median() == pytest.approx(width, rel=0.02)


@pytest.mark.parametrize("width", [10, 16, 24])
def test_a_bar_with_one_step_in_its_sides_is_right_or_flagged(width: float) -> None:
    """So little askew that each side has a step or two: tangents run from step to step."""
    rng = np.random.default_rng(9)
    tilts = np.radians(rng.uniform(0.2, 2.5, 80))
    table = table_of([drawn(bar(width, 5 * width), rng, tilt) for tilt in tilts])
    off = (table["x_Fmin_px"] / width - 1).abs()
    told = table["flag"] == "narrow"
    assert (off[~told] < 0.02).all()
    assert (off[told] > 0.02).all()
    assert told.mean() < 0.5


def test_a_taper_is_as_wide_as_its_wide_end() -> None:
    """The Feret diameter is the wide end's: a slanting side is no ripple."""
    rng = np.random.default_rng(6)
    wedge = np.array([[0, -10], [80, -16], [80, 16], [0, 10]], float)
    found = table_of([drawn(wedge, rng) for _ in range(30)])["x_Fmin_px"]
    turn = np.array([6.0, 80.0]) / math.hypot(6, 80)
    truth = np.ptp(wedge @ turn)  # the least width is across one of the slanting sides
    assert found.mean() == pytest.approx(truth, rel=0.02)


@pytest.mark.parametrize(("depth", "size"), [(2, 20), (2, 40), (3, 40), (3, 100)])
def test_an_outline_that_smoothing_shortens_is_flagged(depth: int, size: float) -> None:
    """Koch's curve has (4/3)^k the perimeter of its triangle: more than 10 % of it is lost."""
    rng = np.random.default_rng(7)
    flake = snowflake(depth, math.pi / 4 * size**2)
    true = float(np.abs(np.diff((flake @ [1, 1j])[np.r_[0 : len(flake), 0]])).sum())
    table = table_of([drawn(flake, rng) for _ in range(10)])
    assert table["perimeter_px"].mean() < 0.9 * true
    assert table["flag"].str.contains("fine_detail").all()


def test_outlines_that_smoothing_keeps_are_not_flagged() -> None:
    rng = np.random.default_rng(8)
    around = np.linspace(0, 2 * np.pi, 2000)[:-1]
    bodies = [
        np.c_[20 * np.cos(around), 12 * np.sin(around)],
        bar(40, 40),
        bar(20, 60),
        snowflake(2, math.pi / 4 * 200**2),
        np.c_[(50 + 3 * np.cos(12 * around)) * np.cos(around), 50 * np.sin(around)],
    ]
    crops = [drawn(body, rng) for body in bodies for _ in range(8)]
    assert not table_of(crops)["flag"].str.contains("fine_detail|no_contour").any()
    detail = measure_contours(crops)[1][:, 0]
    assert (np.abs(detail - 1) < 0.0145).all()


def test_thresholds_in_physical_units() -> None:
    """Squares of 10, 20 and 30 px at 5 nm: 0.0025, 0.01 and 0.0225 um2."""
    labels = np.zeros((60, 120), int)
    for number, side in enumerate((10, 20, 30), start=1):
        labels[5 : 5 + side, 35 * number - 30 : 35 * number - 30 + side] = number
    picture = np.where(labels, 200, 50).astype(np.uint8)
    masks, scale = MaskSet.from_labels(labels), Calibration(5, "nm")
    off = {"min_predicted_iou": None, "edge": "keep", "duplicate_iou": None, "nested": "keep"}

    def kept(**thresholds: object) -> list[int]:
        settings = FilterSettings(**off, **thresholds)  # type: ignore[arg-type]
        return [m.area for m in cascade(masks, Image(picture, scale), settings)[0]]

    assert kept(min_area="0.009 um2") == [400, 900]
    assert kept(min_area="0.009 µm²", max_area="0.02um2") == [400]
    assert kept(min_area="9000 nm2") == kept(min_area=360) == [400, 900]
    assert kept(max_size="0.12 um") == [100, 400]  # x_A of 20 px is 112.8 nm
    assert kept(min_area=None, min_size=20) == [400, 900]
    with pytest.raises(CalibrationError, match="min_area"):
        cascade(masks, Image(picture), FilterSettings(**off, min_area="1 um2"))
    for bad, words in (
        ({"min_area": "1 um"}, "min_area is a number"),
        ({"min_size": "3 um2"}, "250 nm"),
        ({"min_area": "2 um2", "max_area": "900 nm2"}, "exceeds"),
        ({"max_size": -1}, "max_size"),
    ):
        with pytest.raises(DataError, match=words):
            FilterSettings(**bad)  # type: ignore[arg-type]
    with pytest.raises(DataError, match="contradict"):
        FilterSettings(min_size="1 um", max_area="1 nm2").in_pixels(scale)
