"""Samples compared: known shifts are found, none is invented, and images are what is counted."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pandas as pd
import PIL.Image
import pytest
from scipy import stats

import particle_nb as pnb
from particle_nb import DataError
from particle_nb.cli import main
from particle_nb.core.sizes.comparing import _holm, _least, recovered


def powder(
    rng: np.random.Generator, median: float = 1.0, images: int = 6, scatter: float = 0.05
) -> pd.DataFrame:
    """Log-normal particles, 40 an image, whose images scatter."""
    own = np.exp(scatter * rng.standard_normal(images))
    image = np.repeat(np.arange(images), 40)
    sizes = median * own[image] * np.exp(0.2 * rng.standard_normal(len(image)))
    names = [f"i{k}" for k in image]
    shape = rng.beta(8, 2, len(image))
    return pd.DataFrame({"image": names, "x_A_um": sizes, "aspect_ratio": shape})


def row(found: pnb.Comparison, quantity: str) -> pd.Series:
    return found.differences.set_index("quantity").loc[quantity]


def test_a_known_shift_is_found_and_lies_in_its_interval():
    rng = np.random.default_rng(5)
    found = pnb.compare({"dry": powder(rng), "dispersed": powder(rng, 0.8)}, r=0)
    for name in ("D10", "D50", "D90"):
        one = row(found, name)
        assert one.percent_low < -20 < one.percent_high
        assert one.percent_high < 0
        assert one.p < 0.01
    assert row(found, "distribution").p < 0.01
    shape = row(found, "aspect_ratio")
    assert shape.low < 0 < shape.high
    assert shape.p > 0.05
    assert "6 images" in found.holds


def test_the_interval_is_that_of_two_independent_means():
    """Of equal variances, recovery gives the textbook interval of a difference."""
    half = stats.norm.ppf(0.975)
    difference, low, high = recovered((1.0, 1 - half, 1 + half), (3.0, 3 - half, 3 + half))
    assert difference == 2
    assert (low, high) == pytest.approx((2 - half * math.sqrt(2), 2 + half * math.sqrt(2)))


def test_without_a_difference_few_are_found_though_images_scatter():
    """Of 30 pairs alike, about 1 in 20 is called different; counting particles calls most so."""
    by_image, by_particle, covered = 0, 0, 0
    for seed in range(30):
        rng = np.random.default_rng(seed)
        tables = {name: powder(rng, images=5, scatter=0.2) for name in "ab"}
        one = row(pnb.compare(tables, r=0), "D50")
        by_image += one.p <= 0.05
        covered += one.low < 0 < one.high
        if seed < 8:
            bare = {name: table.drop(columns="image") for name, table in tables.items()}
            by_particle += row(pnb.compare(bare, r=0), "D50").p <= 0.05
    assert by_image <= 5  # binomial(30, 0.05): more than 5 in 0.3 % of such tests
    assert covered >= 25
    assert by_particle >= 3


def test_it_is_the_permutation_test_of_scipy():
    """Means of images with one particle each: scipy's exact test gives the same chance."""
    rng = np.random.default_rng(2)
    shapes = [rng.uniform(0.5, 0.9, 5), rng.uniform(0.6, 1.0, 5)]
    tables = {
        name: pd.DataFrame(
            {"image": list("abcde"), "x_A_um": rng.uniform(1, 2, 5), "solidity": shapes[k]}
        )
        for k, name in enumerate(("a", "b"))
    }
    exact = stats.permutation_test(
        shapes, lambda a, b, axis=-1: np.abs(a.mean(axis) - b.mean(axis)), alternative="greater"
    )
    assert row(pnb.compare(tables, r=0), "solidity").p == pytest.approx(exact.pvalue)


def test_few_images_and_unnamed_ones_are_said():
    rng = np.random.default_rng(1)
    few = pnb.compare({"a": powder(rng, 1, 3), "b": powder(rng, 3, 3)})
    assert row(few, "D50").p == pytest.approx(_least(3, 3)) == pytest.approx(0.1)
    assert "20 ways only" in few.notes[0]
    one = pnb.compare({"a": powder(rng, 1, 1), "b": powder(rng, 1, 6)})
    assert one.test.startswith("particles")
    assert "image-to-image variation is not in" in one.notes[0]
    assert "image-to-image variation" in one.lacks


def test_units_are_brought_together_and_the_same_sample_does_not_differ():
    rng = np.random.default_rng(1)
    table = powder(rng)
    small = table.rename(columns={"x_A_um": "x_A_nm"}).assign(x_A_nm=1000 * table["x_A_um"])
    found = pnb.compare({"um": table, "nm": small})
    assert found.unit == "um"
    assert row(found, "D50").percent == pytest.approx(0, abs=1e-9)
    assert row(found, "D50").p == 1


def test_tables_that_were_measured_differently_are_named():
    rng = np.random.default_rng(1)
    a, b = powder(rng), powder(rng)
    a.attrs["estimator"], b.attrs["estimator"] = "contour", "pixels"
    assert "measured differently" in pnb.compare({"a": a, "b": b}).notes[0]
    with pytest.raises(DataError, match="pixels compare with nothing"):
        pnb.compare({"a": a, "b": b.rename(columns={"x_A_um": "x_A_px"})})


def test_holms_adjustment():
    assert _holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])


def test_batches_on_the_command_line(tmp_path: Path, capsys):
    rng = np.random.default_rng(0)
    for name, radius in (("dry", 14), ("dispersed", 10)):
        (tmp_path / name).mkdir()
        for k in range(4):
            rows, columns = np.mgrid[:160, :160]
            picture = np.full((160, 160), 40.0)
            for cy in (40, 120):
                for cx in (40, 120):
                    own = radius * (0.9 + 0.025 * ((cy + cx) // 80 + k))
                    picture[np.hypot(rows - cy, columns - cx) <= own] = 200
            picture += rng.normal(0, 2, picture.shape)
            PIL.Image.fromarray(picture.astype(np.uint8)).save(tmp_path / name / f"{k}.png")
        settings = pnb.BatchSettings("0.5 um", segmenter="classical")
        pnb.batch(tmp_path / name, settings, tmp_path / f"out_{name}", progress=False)
    folders = [str(tmp_path / f"out_{name}") for name in ("dry", "dispersed")]
    out = tmp_path / "compared"
    assert main(["compare", *folders, "--names", "dry", "dispersed", "--out", str(out)]) == 0
    said = capsys.readouterr().out
    assert "dispersed - dry  D50" in said
    page = (out / "comparison.html").read_text(encoding="utf-8")
    assert "images shuffled between the samples" in page
    assert "http" not in page.split("<script")[0]
    table = pnb.exports.read_csv(out / "comparison.csv")
    d50 = table.set_index("quantity").loc["D50"]
    assert d50.percent == pytest.approx(100 * (10 / 14 - 1), abs=2)
    assert d50.percent_low < d50.percent < d50.percent_high < 0
    assert main(["compare", folders[0], "--out", str(out)]) == 2
