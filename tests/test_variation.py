"""Variation between images. Truth: simulated samples of known scatter, and percentiles by hand."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest

from particle_nb.core.errors import DataError
from particle_nb.core.sizes import image_variation, size_distribution


def sample(
    rng: np.random.Generator, images: int = 20, per_image: int = 200, between: float = 0.1
) -> pd.DataFrame:
    """Log-normal sizes, median 10 um and ln GSD 0.3, the medians of images scattered about it."""
    shift = rng.normal(0, between, images) if between else np.zeros(images)
    logs = math.log(10) + shift[:, None] + rng.normal(0, 0.3, (images, per_image))
    names = np.repeat([f"i{k}" for k in range(images)], per_image)
    return pd.DataFrame({"image": names, "x_A_um": np.exp(logs).ravel()})


def test_percentiles_are_those_of_the_pooled_and_of_each_image() -> None:
    table = sample(np.random.default_rng(0), images=6)
    result = image_variation(table, r=3)
    whole = size_distribution(table, r=3)
    assert result.pooled.index.tolist() == ["D10", "D50", "D90"]
    assert result.pooled["value"].tolist() == pytest.approx(whole.percentile([10, 50, 90]))
    assert sorted(result.images["image"]) == [f"i{k}" for k in range(6)]
    for row in result.images.itertuples():
        own = size_distribution(table[table["image"] == row.image], r=3).percentile(50)
        assert row.D50_um == pytest.approx(own)
        assert row.deviation_percent == pytest.approx(100 * (own / whole.percentile(50) - 1))
        assert row.n == 200


def test_modified_score_by_hand() -> None:
    """Medians e^0, e^1, e^2, e^3, e^12: median 2, MAD 1; scores 0.6745 (v - 2), the last 6.745."""
    medians = np.exp([0.0, 1.0, 2.0, 3.0, 12.0])
    table = pd.DataFrame({"image": list("abcde") * 3, "x_A_px": np.tile(medians, 3)})
    result = image_variation(table, r=0)
    scores = result.images.set_index("image")["score"]
    assert scores["e"] == pytest.approx(6.745)
    assert scores["a"] == pytest.approx(-1.349)
    assert scores["c"] == pytest.approx(0)
    assert result.outliers == ["e"]
    assert result.images["image"].tolist()[0] == "e"
    assert result.unit == "px"


def test_a_wrong_scale_stands_first() -> None:
    """One of 20 images read at twice its pixel size."""
    table = sample(np.random.default_rng(1))
    table.loc[table["image"] == "i7", "x_A_um"] *= 2
    result = image_variation(table)
    assert result.outliers == ["i7"]
    assert result.images["image"].iloc[0] == "i7"
    assert result.images["deviation_percent"].iloc[0] == pytest.approx(100, abs=40)


def test_scatter_between_images_is_recovered() -> None:
    """Medians scatter by 10%; 1,000 particles each add 1.25 * 0.3 / sqrt(1000) = 1.2%."""
    result = image_variation(sample(np.random.default_rng(2), 40, 1000), r=0)
    assert result.between_percent == pytest.approx(10, abs=2.6)
    flat = image_variation(sample(np.random.default_rng(2), 40, 1000, between=0), r=0)
    assert flat.between_percent < 1.8


def test_interval_covers_what_particles_alone_would_miss() -> None:
    """80 samples of 20 images that scatter by 10%: the median interval covers 10 um in 85 to 99%
    of them (a bootstrap over 20 images is a little narrow); one over particles is a third as wide.
    """
    hits, widths = 0, []
    for seed in range(80):
        table = sample(np.random.default_rng(seed), 20, 60)
        row = image_variation(table, r=0).pooled.loc["D50"]
        hits += row["low"] <= 10 <= row["high"]
        widths.append(row["high"] - row["low"])
    assert 0.85 <= hits / 80 <= 0.99
    # the scatter of a median of 1,200 particles, and that of a mean of 20 images
    particles = 2 * 1.96 * 10 * 1.25 * 0.3 / math.sqrt(1200)
    images = 2 * 1.96 * 10 * math.hypot(0.1, 1.25 * 0.3 / math.sqrt(60)) / math.sqrt(20)
    assert np.mean(widths) == pytest.approx(images, rel=0.2)
    assert np.mean(widths) > 1.8 * particles


def test_the_same_table_gives_the_same_interval() -> None:
    table = sample(np.random.default_rng(3))
    first, second = image_variation(table), image_variation(table)
    pd.testing.assert_frame_equal(first.pooled, second.pooled)
    other = image_variation(table, rng=np.random.default_rng(9))
    assert not other.pooled["low"].equals(first.pooled["low"])


def test_few_images_get_no_interval_and_no_verdict() -> None:
    result = image_variation(sample(np.random.default_rng(4), images=2))
    assert result.pooled["low"].isna().all()
    assert not result.images["outlier"].any()
    alone = image_variation(sample(np.random.default_rng(4), images=1))
    assert math.isnan(alone.between_percent)
    assert alone.images["deviation_percent"].iloc[0] == pytest.approx(0, abs=1e-9)


def test_images_that_agree_exactly_have_no_outlier() -> None:
    table = pd.DataFrame({"image": list("abcd"), "x_A_px": [2.0] * 4})
    assert image_variation(table).outliers == []


def test_edge_weights_count() -> None:
    """A particle of weight 3 counts as three of weight 1; one of weight 0 not at all."""
    table = pd.DataFrame(
        {"image": ["a", "a", "b"], "x_A_um": [1.0, 4.0, 9.0], "edge_weight": [1.0, 3.0, 0.0]}
    )
    weighted = image_variation(table, r=0, weights="miles_lantuejoul")
    repeated = pd.DataFrame({"image": ["a"] * 4, "x_A_um": [1.0, 4, 4, 4]})
    expected = image_variation(repeated, r=0)
    assert weighted.pooled["value"].tolist() == pytest.approx(expected.pooled["value"].tolist())
    assert weighted.images["image"].tolist() == ["a"]


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda t: image_variation(t.drop(columns="image")), "column 'image'"),
        (lambda t: image_variation(t["x_A_um"]), "column 'image'"),
        (lambda t: image_variation(t[:0]), "no rows"),
        (lambda t: image_variation(t, size="x_B"), "x_B"),
        (lambda t: image_variation(t, percentiles=[0]), "above 0"),
        (lambda t: image_variation(t, level=2), "level"),
    ],
)
def test_bad_input_is_named(call, words) -> None:
    with pytest.raises(DataError, match=words):
        call(sample(np.random.default_rng(5), images=3))
