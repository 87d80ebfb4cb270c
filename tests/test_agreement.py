"""Agreement statistics.

Truth: Bland and Altman 1986 (PEFR data), Shrout and Fleiss 1979, the NCSS manual (Deming), R's mcr
(Passing-Bablok), the NIST handbook (tolerance factors), Chesher 2008 (repeatability); numbers
computed with scipy 1.17.1, statsmodels 0.15.0 and pingouin 0.7.0; rational arithmetic; simulations
with a known answer.
"""

from __future__ import annotations

import itertools
import math
import statistics
import warnings
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from particle_nb.core import agreement
from particle_nb.core.errors import DataError
from particle_nb.core.sizes import size_distribution

# Bland and Altman 1986, table 1: peak expiratory flow rate in l/min, first readings.
WRIGHT = [494, 395, 516, 434, 476, 557, 413, 442, 650, 433, 417, 656, 267, 478, 178, 423, 427]
MINI = [512, 430, 520, 428, 500, 600, 364, 380, 658, 445, 432, 626, 260, 477, 259, 350, 451]

# Shrout and Fleiss 1979, table 2: 6 targets read by 4 judges.
JUDGES = [[9, 2, 5, 8], [6, 1, 3, 2], [8, 4, 6, 8], [7, 1, 2, 6], [10, 5, 6, 9], [6, 2, 4, 7]]

# NCSS manual, chapter 303, example 5.
DEMING_X = [7, 8.3, 10.5, 9, 5.1, 8.2, 10.2, 10.3, 7.1, 5.9]
DEMING_Y = [7.9, 8.2, 9.6, 9, 6.5, 7.3, 10.2, 10.6, 6.3, 5.2]
# Serum and plasma creatinine in mg/dl of 108 patients, from R's mcr; two incomplete pairs left out.
CREATININE = """
0.82 0.79 1.83 1.62 1.39 1.36 0.81 1.3 1.72 1.88 3.23 3.35 1.23 1.06 1.37 1.34 1.72 1.56 0.96 0.94
0.76 0.69 1.15 1.16 0.95 0.71 1 0.83 1.52 1.44 1.56 1.26 2.45 2.36 1.85 1.9 0.89 0.95 0.82 0.77
1.01 0.82 0.96 0.88 3.38 3.42 1.31 1.15 1.1 0.96 1.26 1.12 1.15 1.02 1.2 1.29 1.01 0.87 1.33 1.13
0.87 0.82 1.66 1.33 1.41 1.14 1.08 0.93 1.17 1.09 1.77 1.89 1.33 1.57 1.23 1.29 1.21 1.13 1.2 1.11
1.49 1.61 0.89 0.79 1.09 1.19 1.03 0.96 1.07 1.25 0.89 0.87 1.39 1.36 0.96 0.86 1.06 1.03 1.17 0.86
0.9 0.8 1.39 1.22 0.91 0.86 2.28 2.25 0.9 0.87 1.34 1.3 1.32 1.04 1.02 0.92 1.04 1.01 1.27 1.21
1.08 1.11 1.1 1.21 1.39 1.54 1.07 0.99 0.79 0.79 1.02 1.06 0.94 1.02 1.99 2.15 0.7 0.56 0.84 1.01
0.66 0.59 1.1 1.17 0.9 0.82 2.06 2.09 1.31 1.44 1.03 1.22 1.61 1.77 1.52 1.6 1.11 1.13 0.85 1.06
1.2 1.38 1.09 1.24 1.27 1.29 2.06 2.08 1.21 1.31 0.77 0.82 1.06 1.28 1.02 1.15 1 1.04 1.47 1.51
0.97 1.13 1.7 1.84 1.78 1.94 0.93 1.32 0.92 1.36 1.59 1.88 0.68 0.73 0.7 0.78 1.08 1.01 0.83 0.9
1.17 1.3 0.98 0.96 0.77 0.61 0.91 1.27 1.1 1.05 0.8 1.12 0.85 0.72 0.82 0.87
"""


def pairs(text: str) -> np.ndarray:
    return np.array(text.split(), float).reshape(-1, 2).T


def quietly(x: object, y: object) -> agreement.Regression:
    """Passing-Bablok without its advice on few pairs."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        return agreement.passing_bablok(x, y)


# ---------------------------------------------------------------- Bland-Altman


def test_pefr_data_of_bland_and_altman() -> None:
    """The Lancet: -2.1, 38.8, and -22.0 to 17.8 for the bias; the slope is that of statsmodels."""
    result = agreement.bland_altman(WRIGHT, MINI)
    assert round(result.bias, 1) == -2.1
    assert round(result.sd, 1) == 38.8
    assert np.round(result.bias_interval, 1).tolist() == [-22.0, 17.8]
    assert result.lower == pytest.approx(result.bias - 1.959964 * result.sd)
    assert result.upper == pytest.approx(result.bias + 1.959964 * result.sd)
    assert result.slope == pytest.approx(0.02868745, abs=1e-8)
    assert result.slope_interval == pytest.approx((-0.15932006, 0.21669495), abs=1e-8)
    assert result.slope_p == pytest.approx(0.74949853, abs=1e-8)


def test_log_ratio_mode_is_the_difference_of_logarithms() -> None:
    """Slope over the mean logarithm by statsmodels' OLS; ratios are the exponentials."""
    result = agreement.bland_altman(WRIGHT, MINI, mode="log_ratio")
    assert result.bias == pytest.approx(-0.011784539961353157)
    assert result.sd == pytest.approx(0.12188802806765506)
    assert result.slope == pytest.approx(0.15102049, abs=1e-8)
    assert result.slope_interval == pytest.approx((-0.07350519, 0.37554616), abs=1e-8)
    assert result.slope_p == pytest.approx(0.17218633, abs=1e-8)
    table = result.ratios()
    assert table.loc["bias", "ratio"] == pytest.approx(
        math.exp(np.mean(np.log(WRIGHT) - np.log(MINI)))
    )
    assert (table["low"] < table["ratio"]).all()
    assert (table["ratio"] < table["high"]).all()
    np.testing.assert_allclose(result.mean, np.sqrt(np.multiply(WRIGHT, MINI)))


def test_percent_mode() -> None:
    """By hand: 11 against 9 is 20 per cent of their mean 10."""
    result = agreement.bland_altman([11, 22, 110], [9, 18, 90], mode="percent")
    assert result.difference == pytest.approx([20, 20, 20])
    assert (result.bias, result.sd) == (pytest.approx(20), pytest.approx(0, abs=1e-12))


@pytest.mark.parametrize(
    ("n", "share", "confidence", "factor"),
    [
        (10, 0.95, 0.95, 2.911),
        (20, 0.95, 0.95, 2.396),
        (30, 0.95, 0.95, 2.220),
        (43, 0.90, 0.99, 1.8740),
    ],
)
def test_exact_limits_are_tolerance_factors(
    n: int, share: float, confidence: float, factor: float
) -> None:
    """The far end of an exact limit is bias + k sd, k the one-sided normal tolerance factor.

    The last k is the example of the NIST handbook, section 7.2.6.3, the others stand in any table
    of them (e.g. Hahn and Meeker 1991, table A.12d).
    """
    values = np.random.default_rng(0).normal(0, 1, n)
    result = agreement.bland_altman(
        values, np.zeros(n), level=2 * confidence - 1, coverage=2 * share - 1
    )
    digits = 4 if factor == 1.8740 else 3
    assert round((result.upper_interval[1] - result.bias) / result.sd, digits) == factor
    assert round((result.bias - result.lower_interval[0]) / result.sd, digits) == factor


def test_approximate_limits_have_the_published_standard_error() -> None:
    """Bland and Altman 1999: about 1.71 sd / sqrt(n) for large samples."""
    values = np.random.default_rng(0).normal(0, 1, 20_000)
    result = agreement.bland_altman(values, np.zeros(20_000), method="approximate")
    error = (result.upper_interval[1] - result.upper_interval[0]) / 2 / 1.96
    assert error / (result.sd / math.sqrt(20_000)) == pytest.approx(1.71, abs=0.005)
    exact = agreement.bland_altman(values, np.zeros(20_000))
    assert exact.upper_interval == pytest.approx(result.upper_interval, abs=2e-3)


def test_intervals_cover_the_truth_as_often_as_they_say() -> None:
    """2000 studies of 8 pairs, true bias 1, sd 2, no trend: 95% each, within 3.5 sigma."""
    rng = np.random.default_rng(7)
    truth = {
        "bias_interval": 1.0,
        "sd_interval": 2.0,
        "lower_interval": 1 - 1.959964 * 2,
        "upper_interval": 1 + 1.959964 * 2,
        "slope_interval": 0.0,
    }
    hits = dict.fromkeys(truth, 0)
    for _ in range(2000):
        mean = rng.uniform(50, 90, 8)
        difference = rng.normal(1, 2, 8)
        result = agreement.bland_altman(mean + difference / 2, mean - difference / 2)
        for name, value in truth.items():
            low, high = getattr(result, name)
            hits[name] += low <= value <= high
    reach = 3.5 * math.sqrt(0.95 * 0.05 / 2000)
    for name, count in hits.items():
        assert abs(count / 2000 - 0.95) < reach, name


def test_identical_methods_and_equal_means() -> None:
    same = agreement.bland_altman(WRIGHT, WRIGHT)
    assert (same.bias, same.sd, same.lower, same.slope, same.slope_p) == (0, 0, 0, 0, 1)
    level = agreement.bland_altman([1, 2, 3], [3, 2, 1])
    assert math.isnan(level.slope)
    assert level.bias == 0


@settings(deadline=None)
@given(st.lists(st.tuples(*[st.floats(1, 1e3)] * 2), min_size=3, max_size=20), st.floats(1e-9, 1e9))
def test_exchange_and_unit(values: list[tuple[float, float]], unit: float) -> None:
    """Exchanged methods turn the signs; another unit scales differences and leaves ratios."""
    a, b = np.array(values).T
    forth, back = agreement.bland_altman(a, b), agreement.bland_altman(b, a)
    close: dict[str, Any] = {"rel": 1e-6, "abs": 1e-6}
    assert back.bias == pytest.approx(-forth.bias, **close)
    assert back.lower_interval == pytest.approx([-v for v in forth.upper_interval[::-1]], **close)
    scaled = agreement.bland_altman(a * unit, b * unit)
    assert scaled.upper / unit == pytest.approx(forth.upper, **close)
    for mode in ("log_ratio", "percent"):
        one = agreement.bland_altman(a, b, mode=mode)
        two = agreement.bland_altman(a * unit, b * unit, mode=mode)
        assert two.lower == pytest.approx(one.lower, **close)


# ---------------------------------------------------------------- correlation


def test_interval_of_the_main_paper() -> None:
    """r = 0.64 with n = 9 has a 95% interval of -0.04 to 0.92."""
    low, high = agreement.correlation_interval(0.64, 9)
    assert (round(low, 2), round(high, 2)) == (-0.04, 0.92)
    x = np.arange(9.0) - 4
    across = x**2 - np.mean(x**2)
    y = 0.64 * x / np.linalg.norm(x) + math.sqrt(1 - 0.64**2) * across / np.linalg.norm(across)
    result = agreement.pearson(x, y)
    assert result.value == pytest.approx(0.64)
    assert (round(result.low, 2), round(result.high, 2)) == (-0.04, 0.92)


def test_correlations_agree_with_scipy() -> None:
    """scipy.stats.pearsonr, its confidence_interval, and spearmanr on the PEFR data."""
    linear = agreement.pearson(WRIGHT, MINI)
    assert linear.value == pytest.approx(0.9432794468909461, abs=1e-12)
    assert linear.p == pytest.approx(1.3995013398870331e-08)
    assert (linear.low, linear.high) == pytest.approx((0.8463588087924647, 0.9797313373519239))
    ranks = agreement.spearman(WRIGHT, MINI)
    assert ranks.value == pytest.approx(0.8995098039215688, abs=1e-12)
    assert ranks.p == pytest.approx(8.964818375507003e-07)


def test_bonett_wright_interval_by_hand() -> None:
    """r = 0.5, n = 28: z = 0.5493, error sqrt(1.125 / 25) = 0.2121; 0.1327 to 0.7465."""
    low, high = agreement.correlation_interval(0.5, 28, kind="spearman")
    assert (round(low, 4), round(high, 4)) == (0.1327, 0.7465)


def test_perfect_correlation() -> None:
    result = agreement.pearson([1, 2, 3, 4], [1e-9, 2e-9, 3e-9, 4e-9])
    assert (result.value, result.low, result.high) == pytest.approx((1, 1, 1))
    assert result.p == pytest.approx(0, abs=1e-9)
    assert agreement.spearman([1, 2, 3, 4], [9, 8, 7, 6]).value == pytest.approx(-1)


def test_concordance_by_its_definition() -> None:
    """rho_c is 1 - E(x - y)^2 / (that of independent x and y); PEFR by Lin's formula 0.9427."""
    result = agreement.ccc(WRIGHT, MINI)
    x, y = np.array(WRIGHT, float), np.array(MINI, float)
    expected = 1 - np.mean((x - y) ** 2) / (x.var() + y.var() + (x.mean() - y.mean()) ** 2)
    assert result.value == pytest.approx(expected, abs=1e-12)
    assert round(result.value, 4) == 0.9427
    assert result.value == pytest.approx(result.pearson * result.c_b, abs=1e-12)
    assert result.c_b <= 1
    assert agreement.ccc(x, x).value == pytest.approx(1)
    assert agreement.ccc(x, 1000 - x).value < 0


def test_concordance_interval_covers_the_truth() -> None:
    """3000 simulated studies of 40 pairs with rho 0.9, shift 0.3 and scale 1.2, whose rho_c is
    2 * 0.9 * 1.2 / (1 + 1.44 + 0.09); 95% within 0.02, as the interval is asymptotic."""
    rng = np.random.default_rng(3)
    truth = 2 * 0.9 * 1.2 / (1 + 1.2**2 + 0.3**2)
    hits = 0
    for _ in range(3000):
        x = rng.normal(0, 1, 40)
        y = 1.2 * (0.9 * x + math.sqrt(1 - 0.81) * rng.normal(0, 1, 40)) + 0.3
        result = agreement.ccc(x, y)
        hits += result.low <= truth <= result.high
    assert hits / 3000 == pytest.approx(0.95, abs=0.02)


def test_rank_correlation_interval_covers_the_truth() -> None:
    """Normal pairs of rho 0.7 have a Spearman coefficient of 6/pi asin(0.35)."""
    rng = np.random.default_rng(4)
    truth = 6 / math.pi * math.asin(0.35)
    hits = 0
    for _ in range(3000):
        x = rng.normal(0, 1, 50)
        y = 0.7 * x + math.sqrt(1 - 0.49) * rng.normal(0, 1, 50)
        result = agreement.spearman(x, y)
        hits += result.low <= truth <= result.high
    assert hits / 3000 == pytest.approx(0.95, abs=0.02)


# ---------------------------------------------------------------- several raters


@pytest.mark.parametrize(
    ("kind", "value", "low", "high", "f", "df2"),
    [
        ("1", 0.1657417684054755, -0.13, 0.72, 1.7946784922394683, 18),
        ("A,1", 0.28976377952755916, 0.02, 0.76, 11.027247956403299, 15),
        ("C,1", 0.7148407148407154, 0.34, 0.95, 11.027247956403299, 15),
        ("k", 0.44279713367926876, -0.88, 0.91, 1.7946784922394683, 18),
        ("A,k", 0.6200505475989893, 0.07, 0.93, 11.027247956403299, 15),
        ("C,k", 0.9093155423770697, 0.68, 0.99, 11.027247956403299, 15),
    ],
)
def test_intraclass_of_shrout_and_fleiss(
    kind: str, value: float, low: float, high: float, f: float, df2: int
) -> None:
    """Published .17 .29 .71 .44 .62 .91; all digits and the intervals from pingouin 0.7.0."""
    result = agreement.icc(JUDGES, kind)
    assert result.value == pytest.approx(value, abs=1e-12)
    assert (round(result.low, 2), round(result.high, 2)) == (low, high)
    assert result.f == pytest.approx(f)
    assert (result.df1, result.df2, result.n, result.k) == (5, df2, 6, 4)


@pytest.mark.parametrize("kind", ["1", "A,1", "C,1", "k", "A,k", "C,k"])
def test_intraclass_has_no_unit(kind: str) -> None:
    one, other = agreement.icc(JUDGES, kind), agreement.icc(25.4 * np.array(JUDGES) - 7, kind)
    assert (other.value, other.low, other.high) == pytest.approx((one.value, one.low, one.high))


def test_intraclass_of_perfect_raters() -> None:
    table = np.array([[1.0, 1.0], [2, 2], [5, 5]])
    for kind in ("1", "A,1", "C,1"):
        result = agreement.icc(table, kind)
        assert (result.value, result.low, result.high) == (1, 1, 1)
    offset = table + np.array([0, 10])
    assert agreement.icc(offset, "C,1").value == pytest.approx(1)
    assert agreement.icc(offset, "A,1").value < 0.2


def test_intraclass_interval_covers_the_truth() -> None:
    """4000 studies of 12 subjects and 3 fixed raters: variance 4 of subjects, 1 of the rest.

    Then ICC(C,1) is 4/5 and its interval exact: 95% within 3.5 sigma.
    """
    rng = np.random.default_rng(5)
    raters = np.array([0.0, 0.7, -1.1])
    hits = 0
    for _ in range(4000):
        table = rng.normal(0, 2, (12, 1)) + raters + rng.normal(0, 1, (12, 3))
        result = agreement.icc(table, "C,1")
        hits += result.low <= 4 / 5 <= result.high
    assert abs(hits / 4000 - 0.95) < 3.5 * math.sqrt(0.95 * 0.05 / 4000)


def test_repeatability_of_calcium() -> None:
    """Chesher 2008, Clin. Biochem. Rev. 29 Suppl. 1, S23: 5 days x 3, s_r 0.023, s_total 0.026."""
    days = [[2.015, 2.013, 1.963], [2.019, 2.002, 1.979], [2.025, 1.959, 2.000]]
    days += [[1.972, 1.950, 1.973], [1.981, 1.956, 1.957]]
    result = agreement.repeatability(days)
    assert round(result.repeatability_sd, 3) == 0.023
    assert round(result.reproducibility_sd, 3) == 0.026
    assert round(result.mean, 3) == 1.984
    assert (result.n, result.operators) == (15, 5)


def test_repeatability_with_unequal_numbers() -> None:
    """Variances 1 within and 4 between, 400 operators with 2 to 5 readings: within 3 sigma."""
    rng = np.random.default_rng(6)
    groups = [rng.normal(rng.normal(0, 2), 1, 2 + i % 4) for i in range(400)]
    result = agreement.repeatability(groups)
    assert result.repeatability_sd == pytest.approx(1, abs=3 / math.sqrt(2 * 1000))
    assert result.between_sd == pytest.approx(2, abs=0.25)
    alike = agreement.repeatability([[1.0, 3.0], [1.0, 3.0]])
    assert (alike.between_sd, alike.reproducibility_sd) == (0, pytest.approx(math.sqrt(2)))


# ---------------------------------------------------------------- lines


def test_deming_example_of_the_ncss_manual() -> None:
    """NCSS states its error ratio as x over y: 0.032 / 0.008 = 4, here 1/4."""
    line = agreement.deming(DEMING_X, DEMING_Y, ratio=0.25)
    assert line.slope == pytest.approx(1.0011942, abs=5e-8)
    assert line.intercept == pytest.approx(-0.0897449, abs=5e-8)
    assert line.slope_interval == pytest.approx((0.5695632, 1.4328253), abs=1e-7)
    assert not line.proportional_bias
    assert not line.constant_bias
    assert "0.25" in line.method


def test_deming_of_equal_errors_is_the_principal_axis() -> None:
    x, y = np.array(DEMING_X), np.array(DEMING_Y)
    axis = np.linalg.svd(np.column_stack([x - x.mean(), y - y.mean()]))[2][0]
    assert agreement.deming(x, y).slope == pytest.approx(axis[1] / axis[0], abs=1e-12)


def test_deming_jackknife_by_leaving_pairs_out() -> None:
    """The closed sums against 10 refits, by the definition of the jackknife standard error."""
    x, y = np.array(DEMING_X), np.array(DEMING_Y)
    line = agreement.deming(x, y, ratio=2)
    refits = [agreement.deming(np.delete(x, i), np.delete(y, i), ratio=2) for i in range(len(x))]
    for name, interval in (("slope", line.slope_interval), ("intercept", line.intercept_interval)):
        values = np.array([getattr(refit, name) for refit in refits])
        error = math.sqrt(9 / 10 * np.sum((values - values.mean()) ** 2))
        # 2.306004 is Student's t of 8 degrees of freedom at 97.5%
        reach = 2.306004 * error
        middle = getattr(line, name)
        assert interval == pytest.approx((middle - reach, middle + reach), rel=1e-5)


def test_passing_bablok_in_rational_arithmetic() -> None:
    """The definition of 1983 on decimal readings with many ties, without any rounding."""
    numbers = [Fraction(word) for word in CREATININE.split()]
    x, y = numbers[::2], numbers[1::2]
    slopes: list[Any] = []
    for (a, b), (c, d) in itertools.combinations(zip(x, y, strict=True), 2):
        if (a, b) != (c, d) and c - a != b - d:
            slopes.append(math.inf if a == c else (d - b) / (c - a))
    slopes.sort()
    shift = sum(slope < -1 for slope in slopes)
    middle = slopes[(len(slopes) - 1) // 2 + shift], slopes[len(slopes) // 2 + shift]
    slope = (middle[0] + middle[1]) / 2
    intercept = statistics.median(b - slope * a for a, b in zip(x, y, strict=True))
    line = agreement.passing_bablok(*pairs(CREATININE))
    assert line.slope == pytest.approx(float(slope), abs=1e-12)
    assert line.intercept == pytest.approx(float(intercept), abs=1e-12)


@pytest.mark.parametrize("n", range(6, 40, 3))
@pytest.mark.filterwarnings("ignore:Passing-Bablok")
def test_passing_bablok_interval_by_its_ranks(n: int) -> None:
    """M1 = (N - C) / 2 rounded, M2 = N - M1 + 1, with C of Kendall's variance: by hand."""
    rng = np.random.default_rng(n)
    x = np.sort(rng.normal(0, 3, n))
    y = 1.3 * x + rng.normal(0, 0.3, n)
    slopes = sorted((y[j] - y[i]) / (x[j] - x[i]) for i in range(n) for j in range(i + 1, n))
    shift = sum(slope < -1 for slope in slopes)
    # 1.959964 is the normal's 97.5 %; Kendall's S has the variance n (n - 1) (2 n + 5) / 18
    reach = 1.959964 * math.sqrt(n * (n - 1) * (2 * n + 5) / 18)
    first = int((len(slopes) - reach) / 2 + 0.5)
    expected = slopes[first - 1 + shift], slopes[len(slopes) - first + shift]
    assert agreement.passing_bablok(x, y).slope_interval == pytest.approx(expected)


def test_passing_bablok_on_creatinine_as_mcr() -> None:
    """R's mcr: slope 1.0880089 (1 to 1.173005), intercept -0.1171729 (-0.2001149 to -0.02).

    Without the tolerance for ties this module gives 1.0880089 and -0.1171729 too: mcr takes some
    tied readings, equal in decimals, as different in binary. Hence agreement to 2e-4.
    """
    line = agreement.passing_bablok(*pairs(CREATININE))
    assert line.n == 108
    assert line.slope == pytest.approx(1.0880089, abs=2e-4)
    assert line.slope_interval == pytest.approx((1, 1.173005), abs=2e-4)
    assert line.intercept == pytest.approx(-0.1171729, abs=2e-4)
    assert line.intercept_interval == pytest.approx((-0.2001149, -0.02), abs=2e-4)
    assert not line.proportional_bias
    assert line.constant_bias


def test_passing_bablok_ignores_outliers() -> None:
    x, y = pairs(CREATININE)
    line = agreement.passing_bablok(x, y)
    spoilt = agreement.passing_bablok([*x, 1.0, 1.1], [*y, 90.0, 80.0])
    assert spoilt.slope == pytest.approx(line.slope, rel=0.03)


def test_few_pairs_are_advised_against() -> None:
    with pytest.warns(UserWarning, match="at least 30"):
        agreement.passing_bablok(DEMING_X, DEMING_Y)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        agreement.passing_bablok(*pairs(CREATININE)[:, :30])


@settings(deadline=None)
@given(st.integers(0, 10_000), st.floats(0.2, 5), st.floats(-3, 3))
def test_exchanged_axes_give_the_inverse_line(seed: int, slope: float, intercept: float) -> None:
    rng = np.random.default_rng(seed)
    x = rng.uniform(1, 10, 31)
    y = intercept + slope * x + rng.normal(0, 0.2 * slope, 31)
    forth, back = agreement.deming(x, y, 2.0), agreement.deming(y, x, 0.5)
    assert back.slope == pytest.approx(1 / forth.slope, rel=1e-9)
    assert back.intercept == pytest.approx(-forth.intercept / forth.slope, rel=1e-9, abs=1e-9)
    forth, back = agreement.passing_bablok(x, y), agreement.passing_bablok(y, x)
    # medians of an even number of slopes are means, and 1 / mean is not the mean of 1 / slope
    assert back.slope == pytest.approx(1 / forth.slope, rel=2e-2)
    low, high = forth.slope_interval
    assert back.slope_interval == pytest.approx((1 / high, 1 / low), rel=1e-9)


@settings(deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)), min_size=3, max_size=12),
    st.sampled_from([0.1, 0.3, 1.0]),
)
def test_coarse_readings_stay_finite_or_are_refused(
    values: list[tuple[int, int]], step: float
) -> None:
    x, y = step * np.array(values, float).T
    assume(np.ptp(x) > 0 and np.ptp(y) > 0)
    try:
        line = quietly(x, y)
    except DataError:
        return
    # steps of 0.1 are no binary fractions; the line must be that of the whole numbers
    exact = quietly(*np.array(values, float).T)
    assert line.slope == pytest.approx(exact.slope, rel=1e-9, abs=1e-12)


# ---------------------------------------------------------------- distributions


class LogNormal:
    """Percentiles of a log-normal distribution of median 10 and geometric deviation 1.5."""

    r, unit = 3, "um"

    def __init__(self, scale: float = 1.0) -> None:
        self.scale = scale

    def percentile(self, p: np.ndarray) -> np.ndarray:
        from scipy.stats import norm

        return self.scale * 10 * 1.5 ** norm.ppf(np.asarray(p) / 100)


def test_percentile_deviation_of_a_scaled_distribution() -> None:
    """All percentiles of a distribution 10% larger are 10% larger."""
    table = agreement.percentile_deviation(LogNormal(1.1), LogNormal())
    assert table["percentile"].tolist() == [10, 50, 90]
    assert table["deviation_percent"].to_numpy() == pytest.approx([10, 10, 10])
    assert table["deviation"][1] == pytest.approx(1)
    # 1.2815516 is the normal quantile of 90%
    assert table["reference"].tolist() == pytest.approx(
        [10 / 1.5**1.2815516, 10, 10 * 1.5**1.2815516]
    )


def test_percentiles_of_measured_distributions() -> None:
    """D50 by number of 1..99 um is 50 um by symmetry; doubled sizes deviate by 100%."""
    sizes = np.arange(1.0, 100.0)
    one = size_distribution(sizes, r=0, unit="um")
    two = size_distribution(2 * sizes, r=0, unit="um")
    table = agreement.percentile_deviation(two, one, [50])
    assert table["reference"].iloc[0] == pytest.approx(50)
    assert table["deviation_percent"].iloc[0] == pytest.approx(100)
    with pytest.raises(DataError, match="differ in unit"):
        agreement.percentile_deviation(two.to("nm"), one)
    with pytest.raises(DataError, match="differ in r"):
        agreement.percentile_deviation(two.counted_by(3), one)


def test_percentiles_of_different_weights_are_refused() -> None:
    number = LogNormal()
    number.r = 0
    with pytest.raises(DataError, match="differ in r"):
        agreement.percentile_deviation(number, LogNormal())
    nano = LogNormal()
    nano.unit = "nm"
    with pytest.raises(DataError, match="differ in unit"):
        agreement.percentile_deviation(nano, LogNormal())


# ---------------------------------------------------------------- bad input


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda a: a.bland_altman([1, 2], [1, 2]), "at least 3 pairs"),
        (lambda a: a.bland_altman([1, 2, 3], [1, 2]), "paired"),
        (lambda a: a.bland_altman([1, 2, np.nan], [1, 2, 3]), "first at 2"),
        (lambda a: a.bland_altman([1, 2, np.inf], [1, 2, 3]), "infinite"),
        (lambda a: a.bland_altman(["a", "b", "c"], [1, 2, 3]), "numbers"),
        (lambda a: a.bland_altman([[1, 2, 3]], [[1, 2, 3]]), "paired"),
        (lambda a: a.bland_altman([1, 2, 3], [1, 2, 3], mode="ratio"), "mode is"),
        (lambda a: a.bland_altman([1, 2, 0], [1, 2, 3], mode="log_ratio"), "pair 2"),
        (lambda a: a.bland_altman([1, 2, -3], [1, 2, 3], mode="percent"), "pair 2"),
        (lambda a: a.bland_altman([1, 2, 3], [1, 2, 3], level=95), "level"),
        (lambda a: a.bland_altman([1, 2, 3], [1, 2, 3], coverage=0), "level"),
        (lambda a: a.bland_altman([1, 2, 3], [1, 2, 3], method="bootstrap"), "method"),
        (lambda a: a.bland_altman([1, 2, 1e200], [1, 2, 3]), "1e150"),
        (lambda a: a.bland_altman([1, 2, 3], [3, 2, 1]).ratios(), "log_ratio"),
        (lambda a: a.pearson([1, 2, 3], [1, 2, 3]), "at least 4"),
        (lambda a: a.pearson([1, 1, 1, 1], [1, 2, 3, 4]), "variation"),
        (lambda a: a.spearman([1, 2, 3, 4], [2, 2, 2, 2]), "variation"),
        (lambda a: a.ccc([], []), "at least 4"),
        (lambda a: a.correlation_interval(1.2, 9), "between -1 and 1"),
        (lambda a: a.correlation_interval(math.nan, 9), "between -1 and 1"),
        (lambda a: a.correlation_interval(0.5, 3), "at least 4"),
        (lambda a: a.correlation_interval(0.5, 9, kind="kendall"), "kind"),
        (lambda a: a.icc([1, 2, 3]), "2 x 2"),
        (lambda a: a.icc([[1, 2], [3, np.nan]]), "missing"),
        (lambda a: a.icc([[1, 1], [1, 1]]), "equal"),
        (lambda a: a.icc(JUDGES, "2,1"), "kind is one of"),
        (lambda a: a.repeatability([[1, 2]]), "two operators"),
        (lambda a: a.repeatability([[1], [2]]), "at least twice"),
        (lambda a: a.repeatability(3), "sequence"),
        (lambda a: a.deming([1, 2, 3, 4], [1, 2, 3, 4], ratio=0), "above 0"),
        (lambda a: a.deming([1, 2, 3, 4], [1, 2, 3, 4], ratio=math.nan), "above 0"),
        (lambda a: a.deming([1, -1, 1, -1], [1, 1, -1, -1]), "uncorrelated"),
        (lambda a: quietly([1, 2], [1, 2]), "at least 3"),
        (lambda a: a.passing_bablok(np.arange(5001), np.arange(5001)), "at most 5000"),
        (lambda a: a.percentile_deviation(LogNormal(), LogNormal(), [0]), "above 0"),
        (lambda a: a.percentile_deviation(LogNormal(), LogNormal(), []), "above 0"),
        (lambda a: a.percentile_deviation(LogNormal(), LogNormal(), "D50"), "above 0"),
        (lambda a: a.percentile_deviation([1, 2], LogNormal()), "no percentile"),
        (lambda a: a.percentile_deviation(LogNormal(0), LogNormal()), "above zero"),
    ],
)
def test_bad_input_is_named(call, words) -> None:
    with pytest.raises(DataError, match=words):
        call(agreement)


def test_opposite_readings_are_refused_by_passing_bablok() -> None:
    x = np.arange(40.0)
    with pytest.raises(DataError, match="against each other"):
        agreement.passing_bablok(x, -3 * x)


def test_passing_bablok_of_readings_that_run_against_each_other_says_so() -> None:
    """All slopes are -1, which the method leaves out; the points do not coincide."""
    x = np.arange(40.0)
    with pytest.raises(DataError, match="run against each other"):
        agreement.passing_bablok(x, 100 - x)
