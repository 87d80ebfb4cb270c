"""Intervals that know the image: simulated coverage, refusals, and what they say they hold."""

from __future__ import annotations

import copy
import math
import pickle
import time
import warnings

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from particle_nb.core.errors import DataError
from particle_nb.core.sizes import image_variation, shape_means, size_distribution
from particle_nb.core.sizes.laws import lognormal_misfit

SPREAD = math.log(1.25)


def table_of(
    rng: np.random.Generator, images: int, between: float, each: int = 100, spread: float = SPREAD
) -> pd.DataFrame:
    """Log-normal particles of images whose medians scatter by `between`, about 1 um."""
    image = np.repeat(np.arange(images), each)
    logs = between * rng.standard_normal(images)[image] + spread * rng.standard_normal(len(image))
    return pd.DataFrame({"image": [f"i{k}" for k in image], "x_A_um": np.exp(logs)})


@pytest.mark.parametrize("images", [5, 10])
def test_intervals_cover_whatever_images_differ(images: int) -> None:
    """D50,0, D50,3 and D[4,3] of all possible images, in 92 to 97 of 100 samples.

    The population of all images is log-normal with the two variances added (Hatch-Choate). Two
    standard errors of the share of so many samples are granted on either side.
    """
    shares = []
    for between in (0.0, 0.1, 0.2):
        rng, hits, samples = np.random.default_rng(int(100 * between) + images), np.zeros(3), 60
        variance = SPREAD**2 + between**2
        truths = np.exp(np.array([0, 3, 3.5]) * variance)
        for _ in range(samples):
            q3 = size_distribution(table_of(rng, images, between))
            found = [
                q3.counted_by(0).interval(50, rng=rng, resamples=200),
                q3.interval(50, rng=rng, resamples=200),
                q3.mean_interval(4, 3, rng=rng, resamples=200),
            ]
            hits += [low <= truth <= high for (low, high), truth in zip(found, truths, strict=True)]
        shares.append(hits / samples)
        assert (hits / samples > 0.86).all(), (between, hits / samples)
    mean = float(np.mean(shares))
    # three quantities of one sample are no independent trials: 180 are counted
    error = 2 * math.sqrt(0.95 * 0.05 / 180)
    assert 0.92 - error < mean < 0.97 + error
    assert mean > 0.9


def test_images_of_different_shapes_are_left_out_in_turn() -> None:
    """Images with more or fewer coarse particles are no factors: the jackknife takes over."""
    rng = np.random.default_rng(0)
    table = table_of(rng, 12, 0.0)
    coarse = rng.random(len(table)) < np.repeat(rng.beta(1, 3, 12), 100)
    table.loc[coarse, "x_A_um"] *= 2
    found = size_distribution(table).interval(50)
    assert found.method == "images left out in turn"
    assert size_distribution(table_of(rng, 12, 0.1)).interval(50).method == "images of one shape"


def test_the_jackknife_is_the_textbook_one() -> None:
    """Three images: ln D50,0 leaving out each, its error and Student's t, by hand."""
    table = table_of(np.random.default_rng(1), 3, 0.1)
    whole = size_distribution(table, r=0)
    with pytest.warns(UserWarning, match="from 3 images"):
        low, high = whole.interval(50)
    rests = [
        math.log(size_distribution(table[table["image"] != name], r=0).percentile(50))
        for name in ("i0", "i1", "i2")
    ]
    error = math.sqrt(2 / 3 * np.sum((np.array(rests) - np.mean(rests)) ** 2))
    away = stats.t.ppf(0.975, 2) * error
    middle = math.log(whole.percentile(50))
    assert (math.log(low), math.log(high)) == pytest.approx((middle - away, middle + away))


def test_intervals_say_what_they_hold() -> None:
    rng = np.random.default_rng(2)
    table = table_of(rng, 6, 0.1)
    many = size_distribution(table).interval(50)
    assert "image to image (6 images)" in many.holds
    assert "image-to-image" not in many.lacks
    one = size_distribution(table[table["image"] == "i0"], r=0).interval(50)
    assert one.images == 1
    assert "image-to-image variation (one image)" in one.lacks
    bare = size_distribution(table["x_A_um"]).interval(50)
    assert "image-to-image variation (images not named)" in bare.lacks
    apart = size_distribution(table).interval(50, method="particles")
    assert apart[1] - apart[0] < 0.7 * (many[1] - many[0])
    for twin in (copy.deepcopy(many), pickle.loads(pickle.dumps(many))):
        assert twin == many
        assert (twin.holds, twin.level, twin.method) == (many.holds, 0.95, many.method)


@pytest.mark.filterwarnings("ignore:x_90", "ignore:the particles are from")
def test_an_interval_from_images_left_out_lies_around_the_span() -> None:
    """Four images that share no law: the logarithm's jackknife, even on both sides."""
    rng = np.random.default_rng(8)
    table = table_of(rng, 4, 0.2)
    table["x_A_um"] = np.where(table["image"] == "i0", rng.uniform(0.2, 3, 400), table["x_A_um"])
    q3 = size_distribution(table)
    found = q3.span_interval()
    assert found.method == "images left out in turn"
    assert np.sqrt(found.low * found.high) == pytest.approx(q3.span)
    logs = [
        np.log(size_distribution(table[table["image"] != name]["x_A_um"]).span)
        for name in table["image"].unique()
    ]
    error = np.sqrt(3 / 4 * ((logs - np.mean(logs)) ** 2).sum())
    # degrees of freedom between those of one image and of all
    half = np.log(found.high / q3.span) / error
    assert stats.t.ppf(0.975, 3) < half < stats.t.ppf(0.975, 1)


def test_the_batch_and_the_distribution_say_the_same() -> None:
    table = table_of(np.random.default_rng(3), 8, 0.1)
    row = image_variation(table).pooled.loc["D50"]
    low, high = size_distribution(table).interval(50)
    # both draw from seed 0, the one after D10
    assert (row["low"], row["high"]) == pytest.approx((low, high), rel=0.03)


def test_the_parametric_interval_checks_its_law() -> None:
    """A2 is that of scipy; sizes even over a range have no log-normal percentile."""
    rng = np.random.default_rng(4)
    x = np.sort(np.exp(SPREAD * rng.standard_normal(300)))
    z = np.log(x)
    square, chance = lognormal_misfit(x, np.ones(300))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        known = stats.anderson(z, "norm").statistic
    assert square == pytest.approx(known * (1 + 0.75 / 300 + 2.25 / 300**2))
    assert chance > 0.05
    # a weight of three is three particles there
    assert lognormal_misfit(x, np.full(300, 3.0))[0] == pytest.approx(square)
    even = size_distribution(rng.uniform(1, 3, 400))
    with pytest.warns(UserWarning, match="not log-normal"):
        even.interval(50, method="parametric")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        size_distribution(x, r=0).interval(50, method="parametric")
        # factors from image to image are no departure from the law
        size_distribution(table_of(rng, 6, 0.5), r=0).interval(50, method="parametric")


def test_means_and_span_of_one_image_are_those_of_a_bootstrap_by_hand() -> None:
    rng = np.random.default_rng(5)
    x = np.exp(0.3 * rng.standard_normal(400))
    drawn = x[rng.integers(0, 400, (2000, 400))]
    by_hand = np.quantile((drawn**4).sum(axis=1) / (drawn**3).sum(axis=1), [0.025, 0.975])
    q3 = size_distribution(x)
    assert tuple(q3.mean_interval(4, 3)) == pytest.approx(tuple(by_hand), rel=0.02)
    ends = np.array([size_distribution(row, r=0).span for row in drawn[:400]])
    by_hand = np.quantile(ends, [0.025, 0.975])
    assert tuple(q3.counted_by(0).span_interval()) == pytest.approx(tuple(by_hand), rel=0.05)


def test_a_million_sizes_take_a_second() -> None:
    """CPU time; a few groups of neighbours stand for many particles and give the same."""
    x = np.exp(0.3 * np.random.default_rng(6).standard_normal(1_000_000))
    q3 = size_distribution(x)
    begun = time.process_time()
    low, high = q3.interval(50)
    assert time.process_time() - begun < 2
    # large-sample standard error of x_50,3, as `counts_needed` has it
    wide = math.log(high / low) / (2 * 1.96)
    assert wide == pytest.approx(0.05 / 1.96 * math.sqrt(q3.counts_needed(50) / 1e6), rel=0.1)


def test_few_particles_by_number_carry_their_median() -> None:
    """D50,0 of 30 particles: the bootstrap covers what it says, and nothing is warned of."""
    rng, hits = np.random.default_rng(7), 0
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for _ in range(200):
            q0 = size_distribution(np.exp(0.3 * rng.standard_normal(30)), r=0)
            low, high = q0.interval(50, rng=rng, resamples=200)
            hits += low <= 1 <= high
    assert 0.9 <= hits / 200 <= 0.985


def test_shape_means_know_their_images() -> None:
    """Means of ten images that differ: Student's t of equal clusters; coverage of 0.7."""
    rng, hits = np.random.default_rng(8), 0
    for _ in range(150):
        image = np.repeat(np.arange(6), 40)
        values = 0.7 + 0.04 * rng.standard_normal(6)[image] + 0.1 * rng.standard_normal(240)
        rows = shape_means(pd.DataFrame({"image": image, "aspect_ratio": values}))
        hits += rows.loc["aspect_ratio", "low"] <= 0.7 <= rows.loc["aspect_ratio", "high"]
    assert 0.9 <= hits / 150 <= 0.99
    means = pd.Series(values).groupby(image).mean()
    half = stats.t.ppf(0.975, 5) * means.std(ddof=1) / math.sqrt(6)
    row = rows.loc["aspect_ratio"]
    assert (row["low"], row["high"]) == pytest.approx((means.mean() - half, means.mean() + half))
    assert "6 images" in row["holds"]
    with pytest.raises(DataError, match="no shape"):
        shape_means(pd.DataFrame({"x_A_um": [1.0, 2.0]}))


def test_uneven_weights_take_more_particles() -> None:
    """Kish: n particles of weights w count for (sum w)^2 / sum w^2."""
    x = np.exp(0.3 * np.random.default_rng(9).standard_normal(500))
    even, uneven = size_distribution(x), np.where(np.arange(500) % 2, 3.0, 1.0)
    factor = 500 * (uneven**2).sum() / uneven.sum() ** 2
    sigma = size_distribution(x, weights=uneven).lognormal().sigma / even.lognormal().sigma
    assert factor == pytest.approx(1.25)
    assert sigma == pytest.approx(1, abs=0.03)
    # even weights, and as wide as the weighted sizes are
    alike = size_distribution(np.exp(np.log(x) * sigma)).counts_needed(50)
    assert size_distribution(x, weights=uneven).counts_needed(50) == pytest.approx(
        factor * alike, rel=0.002
    )


def test_a_series_brings_its_unit() -> None:
    table = pd.DataFrame(
        {"x_A_nm": [100.0, 120, 150], "area_nm2": [1.0, 2, 3], "x_px": [1.0, 2, 3]}
    )
    found = size_distribution(table["x_A_nm"])
    assert (found.unit, found.size) == ("nm", "x_A")
    assert found.percentile(50) == size_distribution(table).percentile(50)
    assert size_distribution(table["x_A_nm"], unit="nm").unit == "nm"
    assert size_distribution(table["x_A_nm"].rename(None), unit="um").unit == "um"
    assert size_distribution(pd.Series([1.0, 2, 3])).unit == "px"
    for column, unit, words in (
        ("x_A_nm", "um", "only one can be right"),
        ("area_nm2", None, "areas"),
        ("x_px", None, "places"),
    ):
        with pytest.raises(DataError, match=words):
            size_distribution(table[column], unit=unit)


def test_an_rrsb_law_that_is_not_identified_says_so() -> None:
    """Numbers of particles of a law by volume, x' = 20 and n = 1.2, seen from 2 on: 600 say little.

    No x' beyond the largest particle goes without a warning; 60,000 particles of n = 4 are silent.
    """
    rng, beyond = np.random.default_rng(0), 0
    for _ in range(25):
        u = 20 * rng.weibull(1.2, 60_000)
        u = u[u > 2]
        x = rng.choice(u, 600, p=u**-3.0 / (u**-3.0).sum())
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            fit = size_distribution(x, unit="um").rrsb(smallest=2.0)
        told = any("not identified" in str(one.message) for one in said)
        assert told != fit.identified
        if fit.x_prime > x.max():
            beyond += 1
            assert told
        if told:
            assert math.isinf(fit.x_prime_interval[1])
        elif not fit.x_prime_interval[0] < 20 < fit.x_prime_interval[1]:
            beyond += 1
    assert beyond > 0
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        wide = size_distribution(10 * rng.weibull(4.0, 3000), r=0, unit="um").rrsb()
    assert wide.identified
    assert wide.x_prime_interval[1] < 11
