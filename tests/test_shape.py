"""Size and shape of rasterised bodies against their analytic values, and against SciPy's tools."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np
import pandas as pd
import pytest
from oracles import contour as contour_scipy
from scipy import ndimage, special
from skimage.measure import find_contours

from particle_nb.core.errors import CalibrationError, DataError, ImageError
from particle_nb.core.image import Calibration
from particle_nb.core.masks import Mask, MaskSet
from particle_nb.core.shape import (
    DESCRIPTORS,
    PAPER_NAMES,
    Descriptor,
    MeasureSettings,
    Region,
    contour,
    edge_weights,
    measure,
    measuring,
)
from particle_nb.core.shape.descriptors import _circularity

Inside = Callable[[np.ndarray, np.ndarray], np.ndarray]


def disc(r: float) -> Inside:
    return lambda u, v: u**2 + v**2 < r**2


def ellipse(a: float, b: float) -> Inside:
    return lambda u, v: (u / a) ** 2 + (v / b) ** 2 < 1


def rectangle(a: float, b: float) -> Inside:
    return lambda u, v: (abs(u) < a / 2) & (abs(v) < b / 2)


def raster(inside: Inside, reach: float, rng: np.random.Generator) -> Mask:
    """Sample a body at pixel centres, at a random place within a pixel and a random angle."""
    n = int(2 * reach) + 8
    (dx, dy), angle = rng.random(2) + n / 2, rng.random() * 2 * np.pi
    y, x = np.mgrid[:n, :n].astype(float)
    u = np.cos(angle) * (x - dx) + np.sin(angle) * (y - dy)
    v = -np.sin(angle) * (x - dx) + np.cos(angle) * (y - dy)
    full = inside(u, v)
    rows, cols = np.flatnonzero(full.any(1)), np.flatnonzero(full.any(0))
    crop = full[rows[0] : rows[-1] + 1, cols[0] : cols[-1] + 1]
    return Mask((1, 1), crop, (2 * n, 2 * n))


@lru_cache
def measured(kind: str, size: float) -> pd.DataFrame:
    """200 samples of a body of this equivalent diameter (60 of the large ones)."""
    rng = np.random.default_rng(int(size * 10) + len(kind))
    r = size / 2
    inside, reach = {
        "disc": (disc(r), r),
        "ellipse": (ellipse(r * 2**0.5, r / 2**0.5), 1.5 * r),
        "square": (rectangle(r * np.pi**0.5, r * np.pi**0.5), 1.3 * r),
    }[kind]
    # the frame differs from body to body, so the masks go one by one into one table
    masks = [raster(inside, reach, rng) for _ in range(200 if size <= 40 else 40)]
    return measure(MaskSet(tuple(masks), masks[0].shape))


def bias(table: pd.DataFrame, column: str, truth: float) -> float:
    return 100 * (float(table[column].mean()) / truth - 1)


@pytest.mark.parametrize("ecd", [20, 40, 100])
@pytest.mark.parametrize("kind", ["disc", "ellipse"])
def test_smooth_bodies_are_measured_to_the_bars(kind: str, ecd: float) -> None:
    table, r = measured(kind, ecd), ecd / 2
    a, b = (r, r) if kind == "disc" else (r * 2**0.5, r / 2**0.5)
    perimeter = 4 * a * special.ellipe(1 - (b / a) ** 2)
    feret = 1.0 if ecd >= 40 else 1.5
    assert abs(bias(table, "area_px2", np.pi * r**2)) <= 0.3
    assert abs(bias(table, "x_A_px", ecd)) <= 0.15
    assert abs(bias(table, "perimeter_px", perimeter)) <= 0.5
    assert abs(bias(table, "x_Fmin_px", 2 * b)) <= feret
    assert abs(bias(table, "x_Fmax_px", 2 * a)) <= feret
    assert abs(bias(table, "circularity", 2 * np.pi * r / perimeter)) <= 1.0
    assert abs(bias(table, "form_factor", (2 * np.pi * r / perimeter) ** 2)) <= 1.0
    assert abs(bias(table, "roundness", (r / a) ** 2)) <= 2 * feret + 0.3
    assert table["convexity"].mean() >= 0.995
    assert table["solidity"].mean() == pytest.approx(1, abs=0.005)
    assert (table["flag"] == "").all()
    if kind == "disc":
        assert table["aspect_ratio"].mean() >= (0.98 if ecd >= 40 else 0.97)
    else:
        assert table["aspect_ratio"].mean() == pytest.approx(0.5, rel=0.02)


@pytest.mark.parametrize("ecd", [40, 100])
def test_squares_are_measured_to_the_bars(ecd: float) -> None:
    table, side = measured("square", ecd), ecd / 2 * np.pi**0.5
    assert abs(bias(table, "perimeter_px", 4 * side)) <= 2.0
    assert abs(bias(table, "x_Fmax_px", side * 2**0.5)) <= 2.5
    assert abs(bias(table, "x_Fmin_px", side)) <= 1.5
    assert table["solidity"].mean() == pytest.approx(1, abs=0.016)


def test_small_discs_are_flagged_and_still_sensible() -> None:
    table = measured("disc", 8)
    assert abs(bias(table, "perimeter_px", np.pi * 8)) <= 1.0
    assert table["flag"].str.contains("too_small").all()


def test_the_estimator_does_not_depend_on_the_angle() -> None:
    """One ellipse of 3:1 turned through 24 angles: lengths scatter by less than a pixel."""
    masks = []
    for k in range(24):
        angle, n = k * np.pi / 24, 140
        y, x = np.mgrid[:n, :n] - 69.7
        u, v = np.cos(angle) * x + np.sin(angle) * y, np.cos(angle) * y - np.sin(angle) * x
        masks.append(Mask.from_full(ellipse(60, 20)(u, v)))
    table = measure(MaskSet(tuple(masks)))
    assert table["x_Fmax_px"].std() < 0.5
    assert table["x_Fmin_px"].std() < 0.5
    assert table["perimeter_px"].std() < 1.0


def test_quarter_turns_mirrors_and_shifts_change_nothing() -> None:
    rng = np.random.default_rng(4)
    blob = ndimage.gaussian_filter(rng.random((60, 80)), 4) > 0.5
    masks = [
        Mask.from_full(np.pad(np.rot90(blob, k)[:: 1 - 2 * m], (k + 1, 3)))
        for k in range(4)
        for m in (0, 1)
    ]
    rows = np.array([contour.measure_crops([mask.crop])[0] for mask in masks])
    np.testing.assert_allclose(
        rows[:, [0, *range(3, 11)]], np.tile(rows[0, [0, *range(3, 11)]], (8, 1)), rtol=1e-9
    )


def blobs(n: int) -> list[np.ndarray]:
    """Random shapes with holes, specks, thin necks and single pixels."""
    rng = np.random.default_rng(9)
    found = []
    for k in range(n):
        size = rng.integers(1, 60, 2)
        field = ndimage.gaussian_filter(rng.standard_normal(size), (k % 5) / 1.5)
        crop = field > np.quantile(field, rng.uniform(0.05, 0.95))
        found.append(crop if crop.any() else np.ones((1, 1), bool))
    return found


def test_the_compiled_kernel_agrees_with_scipy_and_skimage() -> None:
    crops = blobs(200)
    fast = contour.measure_crops(crops)
    plain = contour_scipy.measure_crops(crops, contour.SIGMA, 8)
    np.testing.assert_array_equal(fast[:, [0, 9, 10]], plain[:, [0, 9, 10]])
    np.testing.assert_allclose(fast, plain, rtol=1e-9, atol=1e-9)


def test_both_tracers_find_the_contours_of_skimage() -> None:
    """Truth: scikit-image's marching squares, loop by loop: the same points, one after another."""
    for crop in blobs(60):
        found = find_contours(np.pad(crop, 1).astype(float), 0.5, fully_connected="high")
        theirs = {frozenset(map(tuple, loop[1:, ::-1] - 1.0)): len(loop) - 1 for loop in found}
        loops = contour_scipy.trace([np.ones((2, 2), bool), crop])
        ours = loops.chosen(np.flatnonzero(loops.crops == 1))
        parts = np.split(ours.points, ours.starts[1:])
        assert {frozenset(map(tuple, part)): len(part) for part in parts} == theirs
        for part, area in zip(parts, ours.areas, strict=True):
            gaps = np.abs(np.roll(part, -1, axis=0) - part).sum(axis=1)
            assert (gaps == 1).all()  # along an axis, or half a pixel each way round a corner
            x, y = np.vstack([part, part[:1]]).T
            twice = np.sum(x[:-1] * y[1:] - x[1:] * y[:-1])
            assert area == pytest.approx(twice / 2)
        n_parts, n_holes = contour.measure_crops([crop])[0, 9:]
        assert (n_parts, n_holes) == ((ours.areas > 0).sum(), (ours.areas < 0).sum())


def test_parts_and_holes_are_those_of_labelling() -> None:
    for crop in blobs(100):
        row = contour.measure_crops([crop])[0]
        parts = ndimage.label(crop, np.ones((3, 3)))[1]
        holes = ndimage.label(~np.pad(crop, 1))[1] - 1
        assert (row[9], row[10]) == (parts, holes)


def test_the_contour_belongs_to_the_largest_part_and_its_outside() -> None:
    full = np.zeros((80, 120), bool)
    y, x = np.mgrid[:80, :120]
    full[(x - 40) ** 2 + (y - 40) ** 2 < 30**2] = True
    whole = measure(MaskSet((Mask.from_full(full),)))
    full[(x - 40) ** 2 + (y - 40) ** 2 < 8**2] = False
    full[10:13, 100:104] = True
    broken = measure(MaskSet((Mask.from_full(full),)))
    for column in ("perimeter_px", "x_Fmin_px", "x_Fmax_px", "convexity"):
        assert broken[column][0] == pytest.approx(whole[column][0], rel=1e-12)
    assert broken["area_px2"][0] == full.sum()
    assert (broken["n_parts"][0], broken["n_holes"][0]) == (2, 1)
    assert broken["flag"][0] == "parts;holes"


def test_tiny_and_thin_masks_are_flagged() -> None:
    shapes = [(1, 1), (1, 2), (2, 2), (1, 30), (3, 3), (4, 4)]
    masks = MaskSet(tuple(Mask((0, 0), np.ones(s, bool), (40, 40)) for s in shapes))
    table = measure(masks)
    assert table["flag"].str.contains("too_small").all()
    assert table["flag"].str.contains("no_contour").tolist() == [
        True,
        True,
        True,
        False,
        True,
        False,
    ]
    lengths = table[["perimeter_px", "x_Fmin_px", "x_Fmax_px", "form_factor"]]
    assert lengths.isna().all(axis=1).tolist() == table["flag"].str.contains("no_contour").tolist()
    assert table["x_A_px"].notna().all()
    # a line one pixel wide keeps its length to its ends' rounding, and says that it is fine
    assert table["x_Fmax_px"][3] == pytest.approx(30, abs=1.2)
    assert "fine_detail" in table["flag"][3]


def test_units_stand_in_the_names_and_scale_the_values() -> None:
    masks = MaskSet((Mask((5, 5), np.ones((30, 40), bool), (100, 100)),))
    px = measure(masks)
    um = measure(masks, Calibration(0.5, "um", "typed"))
    nm = measure(masks, Calibration(0.5, "um"), unit="nm")
    assert px["area_px2"][0] == 1200
    assert um["area_um2"][0] == pytest.approx(300)
    assert nm["area_nm2"][0] == pytest.approx(3e8)
    assert nm["x_Fmax_nm"][0] == pytest.approx(500 * px["x_Fmax_px"][0])
    for name in ("circularity", "aspect_ratio", "convexity", "x_px", "y_px", "edge_weight"):
        assert um[name][0] == px[name][0] == nm[name][0]
    assert measure(masks, Calibration(2, "nm")).attrs["unit"] == "nm"
    assert measure(masks, Calibration(50, "pm")).attrs["unit"] == "nm"
    assert measure(masks, Calibration(1, "mm")).attrs["unit"] == "um"
    assert measure(masks, Calibration(1, "mm"), unit="px")["area_px2"][0] == 1200
    assert um.attrs["calibration"] == "0.5 um/px (typed)"
    assert um.attrs["masks"] == masks.digest
    assert (px["x_px"][0], px["y_px"][0]) == (24.5, 19.5)


def test_names_of_the_paper() -> None:
    table = measured("ellipse", 40)
    rng = np.random.default_rng(0)
    masks = [raster(ellipse(30, 14), 31, rng)]
    paper = measure(MaskSet(tuple(masks)), names="paper").iloc[0]
    area, perimeter = paper["area_px2"], paper["perimeter_px"]
    low, high = paper["x_Fmin_px"], paper["x_Fmax_px"]
    by_table_3 = {
        "Aspect Ratio": low / high,
        "Sphericity": np.sqrt(4 * np.pi * area) / perimeter,
        "Elongation": 1 - low / high,
        "Roundness": 4 * area / (np.pi * high**2),
        "Circularity": 4 * np.pi * area / perimeter**2,
        "Perimeter Regularity": np.pi * np.sqrt(4 * area / np.pi) / perimeter,
    }
    for name, value in by_table_3.items():
        assert paper[name] == pytest.approx(value, rel=1e-12)
    assert 0.995 < paper["Convexity"] <= 1
    assert set(PAPER_NAMES) <= set(paper.index)
    assert not set(PAPER_NAMES) & set(table.columns)


def test_descriptors_of_your_own() -> None:
    masks = MaskSet.from_labels(np.kron(np.array([[0, 1, 0, 2, 2]]), np.ones((20, 20), int)))
    table = measure(
        masks,
        Calibration(2.0, "um"),
        descriptors={
            "fill": lambda region: region.area / region.hull_area,
            "height": Descriptor(lambda region: np.ptp(region.contour[:, 1]), "h", 1, "test"),
            "turns": lambda region: len(region.contour),
        },
    )
    assert table["fill"].tolist() == pytest.approx(table["solidity"].tolist())
    assert table["height_um"].tolist() == pytest.approx([40.0, 40.0], abs=0.5)
    assert table["turns"].tolist() == [80, 120]
    x, y = Region.of(masks[1]).contour.T
    assert (x.min(), x.max()) == pytest.approx((59.5, 99.5), abs=0.1)
    assert (y.min(), y.max()) == pytest.approx((-0.5, 19.5), abs=0.1)
    assert all(entry.source and entry.symbol for entry in DESCRIPTORS.values())


def test_several_images_stack_into_one_table() -> None:
    masks = MaskSet.from_labels(np.eye(3, dtype=int))
    both = pd.concat([measure(masks, image="a"), measure(masks, image="b")], ignore_index=True)
    assert both["image"].tolist() == ["a", "b"]
    empty = measure(MaskSet((), (10, 10)), Calibration(1, "um"))
    assert len(empty) == 0
    assert {"x_A_um", "area_um2", "flag", "edge_weight"} <= set(empty.columns)
    assert list(empty.columns) == list(measure(masks, Calibration(1, "um")).columns)


def test_scores_classes_and_edges_are_carried() -> None:
    mask = Mask((0, 3), np.ones((20, 20), bool), (50, 50), 0.9, 0.8, "rod")
    inner = Mask((9, 9), np.ones((20, 30), bool), (50, 50))
    table = measure(MaskSet((mask, inner)))
    assert table["touches_edge"].tolist() == [True, False]
    assert table["edge_weight"].tolist() == pytest.approx([0, 2500 / (29 * 19)])
    assert table["predicted_iou"][0] == 0.9
    assert table["stability_score"][0] == 0.8
    assert table["class_name"].tolist() == ["rod", ""]
    assert table["label"].tolist() == [1, 2]


def test_coarse_grids_are_flagged_by_cells_across() -> None:
    """A disc 60 px wide is well drawn on pixels, and 7.5 cells wide on a grid of 8 px."""
    masks = MaskSet((raster(disc(30), 31, np.random.default_rng(0)),))
    assert measure(masks)["flag"][0] == ""
    assert measure(masks, grid_px=8)["flag"][0] == "too_small"


def test_masks_bring_the_grid_of_their_model() -> None:
    """Untiled SAM at 2048 px: 8 px a cell, so what is under 80 px across is flagged."""
    rng = np.random.default_rng(0)
    drawn, made = raster(disc(30), 60, rng), raster(disc(30), 60, rng).replace(grid_px=8.0)
    large = raster(disc(45), 60, rng).replace(grid_px=8.0)
    masks = MaskSet((drawn, made, large))
    table = measure(masks)
    assert table["flag"].tolist() == ["", "too_small", ""]
    assert table.attrs["grid_px"] == 8
    assert measure(masks[1:], grid_px=1)["flag"].tolist() == ["", ""]
    assert measure(masks[:1]).attrs["grid_px"] == 1


anything: Any = measure  # the calls below are wrong on purpose


@pytest.mark.parametrize(
    ("call", "error"),
    [
        (lambda m: anything(None), DataError),
        (lambda m: anything(m[0]), DataError),
        (lambda m: anything([m[0]]), DataError),
        (lambda m: anything("labels.png"), DataError),
        (lambda m: anything(np.ones((4, 4))), ImageError),
        (lambda m: anything(np.full((4, 4), np.nan)), ImageError),
        (lambda m: anything(np.zeros((0, 4), int)), ImageError),
        (lambda m: anything(m, unit="um"), CalibrationError),
        (lambda m: anything(m, 0.31), CalibrationError),
        (lambda m: anything(m, "0.31 um"), CalibrationError),
        (lambda m: anything(m, unit="mm"), DataError),
        (lambda m: anything(m, unit=3), DataError),
        (lambda m: anything(m, names="french"), DataError),
        (lambda m: anything(m, grid_px=0), DataError),
        (lambda m: anything(m, grid_px=np.nan), DataError),
        (lambda m: anything(m, grid_px="8"), DataError),
        (lambda m: anything(m, sigma=2), DataError),
        (lambda m: anything(m, settings="paper"), DataError),
        (lambda m: anything(m, descriptors=5), DataError),
        (lambda m: anything(m, descriptors={"area": abs}), DataError),
        (lambda m: anything(m, descriptors={"mine": 5}), DataError),
        (lambda m: anything(m, descriptors={3: abs}), DataError),
        (lambda m: anything(m, descriptors={"mine": lambda r: "round"}), DataError),
        (lambda m: Descriptor(_circularity, "x", 3), DataError),
        (lambda m: MeasureSettings(unit="parsec"), DataError),
        (lambda m: edge_weights(np.ones((2, 3)), (9, 9)), DataError),
        (lambda m: Region(1, 1, 1, 1, 1, 1).contour, DataError),
    ],
)
def test_bad_input_is_named(call: Callable[[MaskSet], object], error: type) -> None:
    masks = MaskSet((Mask((0, 0), np.ones((5, 5), bool), (9, 9)),))
    with pytest.raises(error):
        call(masks)


def test_measuring_without_the_compiler_gives_the_same() -> None:
    crop = np.hypot(*np.mgrid[-9:10, -12:13]) < 9.3
    here = contour.measure_crops([crop])
    there = contour_scipy.measure_crops([crop], contour.SIGMA, 8)
    np.testing.assert_allclose(there, here, rtol=1e-9, atol=1e-9)
    points = contour_scipy.smoothed_outlines([crop], contour.SIGMA, 8)[0].points
    assert len(points) == len(contour.outline(crop))


@pytest.mark.parametrize("rows", [0, 1, 30])
@pytest.mark.parametrize("older", [False, True])
def test_a_frame_is_what_pandas_makes_of_the_same_columns(
    rows: int, older: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if older:  # pandas before 3 has no such function
        monkeypatch.setattr(measuring, "create_dataframe_from_blocks", None)
    rng = np.random.default_rng(rows)
    columns = {
        "label": np.arange(rows),
        "x_px": rng.random(rows),
        "flag": [("", "holes")[k % 2] for k in range(rows)],
        "edge": rng.random(rows) < 0.5,
        "y_px": np.where(rng.random(rows) < 0.3, np.nan, 1.0),
        "class_name": ["µ"] * rows,
    }
    made, usual = measuring.frame(columns), pd.DataFrame(columns)
    pd.testing.assert_frame_equal(made, usual, check_exact=True)
    # tables of one header stay apart, and so do a table and the columns it was made from
    made.columns.name, made["x_px"] = "quantity", 0.0
    pd.testing.assert_frame_equal(measuring.frame(columns), usual, check_exact=True)
    pd.testing.assert_frame_equal(
        pd.concat([usual, usual]), pd.concat([measuring.frame(columns)] * 2)
    )
