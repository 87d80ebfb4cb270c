"""Size distributions against published examples and log-normal and RRSB laws."""

from __future__ import annotations

import warnings

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from particle_nb.core.errors import DataError
from particle_nb.core.shape import edge_weights
from particle_nb.core.sizes import SizeDistribution, size_distribution
from particle_nb.core.sizes.curves import CONVENTIONS

# ASTM E799, worked example: class limits in um and droplets counted
ASTM_EDGES = np.array(
    [240, 360, 450, 562.5, 703, 878, 1097, 1371, 1713, 2141, 2676, 3345, 4181, 5226, 6532]
)
ASTM_COUNTS = np.array([65, 119, 232, 410, 629, 849, 990, 981, 825, 579, 297, 111, 21, 1])
ASTM_VOLUME_PERCENT = np.array(
    [0.005, 0.021, 0.081, 0.280, 0.837, 2.202, 5.010, 9.687, 15.900, 21.788, 21.826, 15.930, 5.885,
     0.547]
)  # fmt: skip


def lognormal_sample(gsd: float, n: int, median: float = 1.0) -> np.ndarray:
    """Particles at equal steps of probability: a sample without scatter."""
    return median * np.exp(np.log(gsd) * stats.norm.ppf((np.arange(n) + 0.5) / n))


def astm_droplets() -> SizeDistribution:
    """The droplets of each class spread evenly over it, as the standard takes them."""
    places = (np.arange(400) + 0.5) / 400
    x = (ASTM_EDGES[:-1, None] + np.diff(ASTM_EDGES)[:, None] * places).ravel()
    return size_distribution(x, weights=np.repeat(ASTM_COUNTS, 400), unit="um")


@pytest.mark.parametrize(
    ("p", "q", "published"),
    [
        (1, 0, 1459.37), (2, 0, 1646.57), (2, 1, 1857.79), (3, 0, 1832.40),
        (3, 1, 2053.27), (3, 2, 2269.32), (4, 3, 2670.75),
    ],
)  # fmt: skip
def test_astm_e799_means(p: int, q: int, published: float) -> None:
    assert astm_droplets().mean(p, q) == pytest.approx(published, rel=1e-5)


def test_astm_e799_volume_per_class() -> None:
    density = astm_droplets().q(ASTM_EDGES)
    np.testing.assert_allclose(100 * density.shares, ASTM_VOLUME_PERCENT, atol=6e-4)


@pytest.mark.parametrize(
    ("p", "q", "published"),
    [
        (1, 0, 2.676),
        (2, 0, 3.033),
        (2, 1, 3.436),
        (3, 2, 4.412),
        (4, 3, 5.666),
        (3, 3, 5.0),
        (0, 0, 2.362),
    ],
)
def test_iso_9276_example_means(p: int, q: int, published: float) -> None:
    """The standard's log-normal example: sigma 0.5, x_50,3 5 um; means in um, four digits."""
    z = np.linspace(-9, 12, 4001)
    particles = size_distribution(5.0 * np.exp(-3 * 0.25 + 0.5 * z), weights=stats.norm.pdf(z))
    assert particles.mean(p, q) == pytest.approx(published, abs=1.1e-3)


@pytest.mark.parametrize(("gsd", "ratio"), [(1.25, 1.16), (1.4, 1.40), (1.6, 1.94)])
def test_volume_median_over_number_median(gsd: float, ratio: float) -> None:
    q3 = size_distribution(lognormal_sample(gsd, 200_000))
    found = q3.percentile(50) / q3.counted_by(0).percentile(50)
    assert found == pytest.approx(np.exp(3 * np.log(gsd) ** 2), rel=2e-3)
    assert found == pytest.approx(ratio, abs=6e-3)


def test_hatch_choate_of_the_fit() -> None:
    x = lognormal_sample(1.5, 100_000, 7.0)
    fit = size_distribution(x, r=2, unit="nm").lognormal()
    assert fit.gsd == pytest.approx(1.5, rel=1e-3)
    for r in (0, 1, 2, 3):
        assert fit.counted_by(r).x50 == pytest.approx(7 * np.exp(r * np.log(1.5) ** 2), rel=1e-3)
    assert fit.percentile(84.134) == pytest.approx(fit.x50 * 1.5, rel=1e-3)
    assert fit.Q(fit.percentile(30)) == pytest.approx(0.3, abs=1e-12)


def test_conventions_by_hand() -> None:
    """Four equal particles 1..4 by number: c = 1/4, 1/2, 3/4, 1 after them."""
    read = {
        name: [
            SizeDistribution(np.arange(1.0, 5), np.ones(4), 0, "px", "x", name).percentile(p)
            for p in (25, 50, 60, 100)
        ]
        for name in CONVENTIONS
    }
    assert read["midpoint"] == pytest.approx([1.5, 2.5, 2.9, 4.0])
    assert read["step"] == pytest.approx([1, 2, 3, 4])
    assert read["linear"] == pytest.approx([1, 2, 2.4, 4])


def test_midpoint_by_number_is_hazens_percentile() -> None:
    x = np.random.default_rng(2).lognormal(size=57)
    p = np.linspace(0, 100, 41)
    expected = np.percentile(x, p, method="hazen")
    np.testing.assert_allclose(size_distribution(x, r=0).percentile(p), expected, rtol=1e-12)


@pytest.mark.parametrize("convention", CONVENTIONS)
def test_q_and_percentile_undo_each_other(convention: str) -> None:
    x = np.round(np.random.default_rng(3).lognormal(size=300), 2) + 0.01  # with equal sizes
    q3 = SizeDistribution(x, np.ones(300), 3, "um", "x_A", convention)
    assert (np.diff(q3.Q(np.geomspace(0.01, 50, 500))) >= 0).all()
    if convention == "step":
        assert q3.Q(q3.percentile(40)) >= 0.4
        assert q3.Q(q3.percentile(40) - 1e-9) < 0.4
    else:
        p = np.linspace(100 * q3.Q(q3.x[0]), 100 * q3.Q(q3.x[-1]), 33)
        np.testing.assert_allclose(100 * q3.Q(q3.percentile(p)), p, atol=1e-9)


def test_weights_are_counts() -> None:
    counted = size_distribution([1.0, 2.0, 3.0], weights=[5, 2, 1], r=3)
    spelled = size_distribution([1.0] * 5 + [2.0] * 2 + [3.0])
    p = np.linspace(0, 100, 21)
    np.testing.assert_allclose(counted.percentile(p), spelled.percentile(p), rtol=1e-12)
    assert counted.mean(3, 2) == pytest.approx(spelled.mean(3, 2))


def test_density_integrates_to_one_and_finds_the_peak() -> None:
    q3 = size_distribution(lognormal_sample(1.5, 50_000, 10.0), unit="um")
    for per, height in (("ln x", 1.0), ("log10 x", np.log(10))):
        density = q3.q(60, per)
        assert density.shares.sum() == pytest.approx(1, abs=1e-12)
        # of a normal density of ln x: 1 / (sigma sqrt(2 pi)) at the median of Q_3
        peak = height / (np.log(1.5) * np.sqrt(2 * np.pi))
        assert density.density.max() == pytest.approx(peak, rel=0.03)
    middle = density.centres[density.density.argmax()]
    assert middle == pytest.approx(10 * np.exp(3 * np.log(1.5) ** 2), rel=0.06)
    assert len(size_distribution([2.0, 2.0]).q().density) == 5


@pytest.mark.parametrize(
    ("n", "cut", "r"), [(2.2, 0.2, 3), (3.0, 0.2, 3), (5.0, 0.1, 3), (1.5, 0.05, 0)]
)
def test_rrsb_recovers_its_parameters_from_single_particles(n: float, cut: float, r: int) -> None:
    """Particles drawn from f(x) / x^r down to a smallest visible size, f the Weibull density."""
    at = np.geomspace(cut, 8, 200_001)
    density = n * at ** (n - 1) * np.exp(-(at**n)) * at ** (-float(r))
    total = np.concatenate([[0], np.cumsum((density[1:] + density[:-1]) / 2 * np.diff(at))])
    rng = np.random.default_rng(11)
    inside = np.zeros(2)
    fits = []
    for _ in range(16):
        x = 10 * np.interp(rng.random(3000), total / total[-1], at)
        fit = size_distribution(x, r=r, unit="um").rrsb(smallest=10 * cut)
        inside += (
            fit.n_interval[0] < n < fit.n_interval[1],
            fit.x_prime_interval[0] < 10 < fit.x_prime_interval[1],
        )
        fits.append((fit.n, fit.x_prime))
    # the mean of 16 estimates is good to a quarter of their scatter: three times that is allowed
    assert (np.abs(np.mean(fits, axis=0) - (n, 10.0)) < 0.75 * np.std(fits, axis=0)).all()
    assert (inside >= 12).all()  # of 16 at 95 %: fewer happens once in a thousand
    assert fit.Q(fit.x_prime) == pytest.approx(1 - np.exp(-1))
    assert fit.distance < 0.15


def test_rrsb_of_exact_quantiles() -> None:
    x = 10 * (-np.log1p(-(np.arange(20_000) + 0.5) / 20_000)) ** (1 / 2.5)
    fit = size_distribution(x, r=0, unit="um").rrsb()
    assert (fit.n, fit.x_prime) == pytest.approx((2.5, 10.0), rel=2e-3)
    assert fit.distance < 1e-3
    with pytest.raises(DataError, match="carry no RRSB"):
        size_distribution([3.0] * 20).rrsb()


@pytest.mark.parametrize(
    ("p", "relative", "level", "known"),
    [(50, 0.05, 0.95, 4100), (90, 0.05, 0.95, 38_100), (90, 0.1, 0.95, 10_000),
     (90, 0.05, 0.8, 16_300)],
)  # fmt: skip
def test_counts_needed_is_what_simulation_needs(
    p: float, relative: float, level: float, known: int
) -> None:
    """At GSD 1.6, that many particles put x_{p,3} so near to the truth in so many samples.

    The percentile of a sample is taken by its definition here: where the cumulative sum of cubes
    reaches the share.
    """
    law = size_distribution(lognormal_sample(1.6, 100_000))
    needed = law.counts_needed(p, relative, level)
    assert needed == pytest.approx(known, rel=0.02)
    rng, s = np.random.default_rng(5), np.log(1.6)
    truth = np.exp(3 * s**2 + s * stats.norm.ppf(p / 100))
    inside, samples = 0, 150
    for _ in range(samples):
        x = np.sort(np.exp(s * rng.standard_normal(needed)))
        volume = np.cumsum(x**3)
        inside += abs(x[np.searchsorted(volume, p / 100 * volume[-1])] / truth - 1) < relative
    # three standard errors of a share of so many samples
    assert abs(inside / samples - level) < 3 * np.sqrt(level * (1 - level) / samples)


def test_the_count_of_the_iso_standard_is_another_one() -> None:
    """ISO 13322-1:2004: 6000 particles for the volume mean and 61,000 for D90 at GSD 1.6."""
    s2 = np.log(1.6) ** 2
    mean_volume = (1.96 / 0.05) ** 2 * 9 * s2 * (1 + 4.5 * s2)
    assert mean_volume == pytest.approx(6092, abs=1)
    law = size_distribution(lognormal_sample(1.6, 100_000))
    assert law.counts_needed(90) < 10 * mean_volume < law.counts_needed(90, level=0.99)


def test_the_count_is_warned_about_and_the_parametric_interval_covers() -> None:
    """150 particles at GSD 1.6: a bootstrap of x_90,3 covers less than half of what it says."""
    rng, s = np.random.default_rng(0), np.log(1.6)
    truth = np.exp(3 * s**2 + s * stats.norm.ppf(0.9))
    hits = np.zeros(2)
    for _ in range(80):
        q3 = size_distribution(np.exp(s * rng.standard_normal(150)))
        with pytest.warns(UserWarning, match="150 particles"):
            low, high = q3.interval(90, rng=rng, resamples=200)
        hits[0] += low < truth < high
        low, high = q3.interval(90, method="parametric", rng=rng, resamples=400)
        hits[1] += low < truth < high
    assert hits[0] / 80 < 0.6
    assert hits[1] / 80 > 0.88


def test_a_bootstrap_that_carries_is_silent_and_covers() -> None:
    rng, s = np.random.default_rng(1), np.log(1.3)
    hits = 0
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for _ in range(40):
            q0 = size_distribution(np.exp(s * rng.standard_normal(800)), r=0)
            low, high = q0.interval(50, rng=rng, resamples=200)
            hits += low < 1.0 < high
    assert hits >= 34  # of 40 at 95 %
    both = q0.interval([10, 90], resamples=200)
    assert both.shape == (2, 2)
    np.testing.assert_array_equal(both, q0.interval([10, 90], resamples=200))


def border_bias(median_share: float, weighted: bool) -> float:
    """Bias of x_50,3 in per cent over discs in a frame where those at the rim are dropped.

    GSD 1.6 by number; the number median is a given share of the frame.
    """
    frame, n = 1000, 300_000
    rng = np.random.default_rng(1)
    diameter = median_share * frame * np.exp(np.log(1.6) * rng.standard_normal(n))
    centre = rng.uniform(0, frame, (n, 2))
    low, high = centre - diameter[:, None] / 2, centre + diameter[:, None] / 2
    boxes = np.clip(np.hstack([np.floor(low), np.ceil(high)]), 0, frame).astype(int)
    weights = edge_weights(boxes, (frame, frame))
    whole = weights > 0
    found = size_distribution(diameter[whole], weights=weights[whole] if weighted else None)
    return 100 * float(found.percentile(50) / size_distribution(diameter).percentile(50) - 1)


@pytest.mark.parametrize(("share", "dropped"), [(0.03, -2.7), (0.06, -5.6), (0.10, -10.1)])
def test_edge_weights_take_the_border_bias_away(share: float, dropped: float) -> None:
    assert border_bias(share, weighted=False) == pytest.approx(dropped, abs=0.5)
    assert abs(border_bias(share, weighted=True)) <= 0.6


def table(**columns: list[float]) -> pd.DataFrame:
    return pd.DataFrame(columns)


def test_columns_units_and_weights_of_a_table() -> None:
    frame = table(x_A_um=[1.0, 2, 3], x_Fmax_um=[2.0, 3, 4], edge_weight=[1.0, 0, 2.0])
    assert size_distribution(frame).unit == "um"
    assert size_distribution(frame, size="x_Fmax_um").size == "x_Fmax"
    assert size_distribution(frame, unit="nm").x.tolist() == [1000, 2000, 3000]
    weighted = size_distribution(frame, weights="miles_lantuejoul")
    assert weighted.n == 2
    assert weighted.weights.tolist() == [1, 2]
    frame["touches_edge"] = [False, True, False]
    with pytest.warns(UserWarning, match="1 of 3 particles"):
        size_distribution(frame)
    with pytest.raises(DataError, match="cannot be given"):
        size_distribution(table(x_A_px=[1.0, 2.0]), unit="um")


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (table(x_A_um=[1.0], x_A_nm=[1.0]), "several units"),
        (table(x_B_um=[1.0]), "no size"),
        (table(x_A_um=[1.0, np.nan]), "position 1"),
        (table(x_A_um=[1.0, 0.0]), "positive"),
        (table(x_A_um=[1.0, -2.0]), "positive"),
        (table(x_A_um=[np.inf]), "positive"),
        (table(x_A_um=[]), "no rows"),
        ([], "non-empty"),
        ([[1.0, 2.0]], "shape"),
        ("x_A", "numbers"),
        (None, "shape|numbers"),
        ([1.0, "a"], "numbers"),
        ([np.nan], "positive"),
        ({"a": 1}, "numbers"),
    ],
)
def test_bad_sizes_are_named(bad: object, message: str) -> None:
    with pytest.raises(DataError, match=message):
        size_distribution(bad)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "call",
    [
        lambda d: d.percentile(101),
        lambda d: d.percentile(-1),
        lambda d: d.percentile(np.nan),
        lambda d: d.percentile("half"),
        lambda d: d.percentile([[1, 2]]),
        lambda d: d.Q("x"),
        lambda d: d.mean("3", 2),
        lambda d: d.mean(np.inf, 2),
        lambda d: d.q(0),
        lambda d: d.q(10**9),
        lambda d: d.q([3, 2, 1]),
        lambda d: d.q([0, 1]),
        lambda d: d.q(5, per="log2"),
        lambda d: d.interval(50, level=1.5),
        lambda d: d.interval(50, method="jackknife"),
        lambda d: d.interval(50, resamples=3),
        lambda d: d.interval(50, resamples="many"),
        lambda d: d.counts_needed(0),
        lambda d: d.counts_needed(50, relative=-1),
        lambda d: d.to("px"),
        lambda d: d.to("parsec"),
        lambda d: d.counted_by(4),
        lambda d: d.rrsb(smallest=-1),
        lambda d: size_distribution([1.0], r=3).interval(50),
        lambda d: size_distribution([1.0], r=5),
        lambda d: size_distribution([1.0], r=True),
        lambda d: size_distribution([1.0], unit="parsec"),
        lambda d: size_distribution([1.0, 2.0], weights=[1.0]),
        lambda d: size_distribution([1.0, 2.0], weights=[1.0, -1.0]),
        lambda d: size_distribution([1.0, 2.0], weights=[0.0, 0.0]),
        lambda d: size_distribution([1.0, 2.0], weights="miles_lantuejoul"),
        lambda d: size_distribution(table(x_A_um=[1.0]), weights="miles_lantuejoul"),
        lambda d: size_distribution(table(x_A_um=[1.0]), weights="horvitz"),
        lambda d: size_distribution(table(x_A_um=[1.0]), size=3),  # type: ignore[arg-type]
        lambda d: SizeDistribution(d.x, d.weights, convention="spline"),
    ],
)
def test_bad_arguments_are_named(call: object) -> None:
    with pytest.raises(DataError):
        call(size_distribution([1.0, 2.0, 4.0, 7.0, 9.0], unit="um"))  # type: ignore[operator]


def test_huge_and_tiny_sizes_do_not_overflow() -> None:
    x = np.array([1e-150, 2e-150, 5e-150])
    assert size_distribution(x).mean(4, 3) == pytest.approx(
        1e-150 * size_distribution([1, 2, 5]).mean(4, 3)
    )
    assert np.isfinite(size_distribution(x * 1e300).percentile([1, 50, 99])).all()
    assert size_distribution([5.0]).percentile([0, 50, 100]).tolist() == [5, 5, 5]
