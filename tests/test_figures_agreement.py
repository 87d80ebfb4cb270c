"""Agreement figures draw the numbers of the core, with units, and refuse what they cannot draw."""

import base64
import io
import math

import numpy as np
import pytest
from PIL import Image as PILImage

import particle_nb as pnb
from particle_nb.core import agreement
from particle_nb.core.errors import DataError, ParticleError
from particle_nb.core.matching import calibration, score
from particle_nb.figures.masks import scale_bar


@pytest.fixture(scope="module")
def pairs() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(5)
    b = rng.lognormal(1.5, 0.5, 40)
    return 1.1 * b * np.exp(rng.normal(0, 0.05, 40)), b


def bands(fig) -> list[tuple[float, float]]:
    return [(shape.y0, shape.y1) for shape in fig.layout.shapes if shape.type == "rect"]


def lines(fig) -> list[float]:
    return [shape.y0 for shape in fig.layout.shapes if shape.type == "line"]


@pytest.mark.parametrize("mode", ["difference", "percent", "log_ratio"])
def test_bland_altman_draws_bias_limits_and_their_intervals(pairs, mode) -> None:
    a, b = pairs
    result = agreement.bland_altman(a, b, mode)
    for fig in (
        pnb.figures.bland_altman(result, "um"),
        pnb.figures.bland_altman((a, b), "um", mode=mode),
    ):
        np.testing.assert_array_equal(fig.data[0].x, result.mean)
        np.testing.assert_array_equal(fig.data[0].y, result.difference)
        assert bands(fig) == [result.upper_interval, result.bias_interval, result.lower_interval]
        assert lines(fig) == [result.upper, result.bias, result.lower, 0]
        assert "µm" in fig.layout.xaxis.title.text
        low, high = fig.layout.yaxis.range
        assert low < result.lower_interval[0] < result.upper_interval[1] < high


def test_the_trend_is_the_least_squares_line_of_difference_over_mean(pairs) -> None:
    a, b = pairs
    trend = pnb.figures.bland_altman((a, b)).data[1]
    expected = np.polyval(np.polyfit((a + b) / 2, a - b, 1), trend.x)
    np.testing.assert_allclose(trend.y, expected)
    logs = pnb.figures.bland_altman((a, b), mode="log_ratio").data[1]
    fitted = np.polyfit(np.log(a * b) / 2, np.log(a / b), 1)
    np.testing.assert_allclose(logs.y, np.polyval(fitted, np.log(logs.x)))


def test_the_titles_say_what_the_difference_is(pairs) -> None:
    names = ("SAM", "manual")
    ordinates = {
        mode: pnb.figures.bland_altman(pairs, "um", mode=mode, names=names).layout.yaxis.title.text
        for mode in ("difference", "percent", "log_ratio")
    }
    assert ordinates == {
        "difference": "difference SAM − manual / µm",
        "percent": "100 (SAM − manual) / mean of both / %",
        "log_ratio": "ln(SAM / manual)",
    }


def test_log_ratios_are_labelled_as_ratios_on_a_logarithmic_axis(pairs) -> None:
    result = agreement.bland_altman(*pairs, "log_ratio")
    fig = pnb.figures.bland_altman(result)
    text = " ".join(note.text for note in fig.layout.annotations)
    for value in result.ratios().to_numpy().ravel():
        assert f"× {value:.3g}" in text
    assert fig.layout.xaxis.type == "log"


def test_equal_means_draw_without_a_trend() -> None:
    fig = pnb.figures.bland_altman(([1.0, 2.0, 3.0], [3.0, 2.0, 1.0]))
    assert len(fig.data) == 1


def test_correlation_shows_every_coefficient_with_its_interval(pairs) -> None:
    a, b = pairs
    fig = pnb.figures.correlation(a, b, unit="nm", names=("depth", "AFM"))
    text = " ".join(trace.name for trace in fig.data).replace("−", "-")
    for value in (agreement.pearson(a, b), agreement.spearman(a, b), agreement.ccc(a, b)):
        assert f"{value.value:.3f} [{value.low:.3f}, {value.high:.3f}]" in text
    assert fig.layout.xaxis.title.text == "AFM / nm"
    assert fig.layout.yaxis.title.text == "depth / nm"
    points = next(trace for trace in fig.data if trace.name == "40 pairs")
    np.testing.assert_array_equal(points.x, b)
    np.testing.assert_array_equal(points.y, a)


@pytest.mark.parametrize("line", ["deming", "passing_bablok"])
def test_a_line_without_scatter_is_drawn_where_it_lies(line) -> None:
    x = np.arange(1.0, 41.0)
    identity, fitted = pnb.figures.correlation(2 * x + 3, x, line=line).data[:2]
    np.testing.assert_array_equal(identity.x, identity.y)
    np.testing.assert_allclose(fitted.y, 2 * np.asarray(fitted.x) + 3)
    assert (fitted.x[0], fitted.x[-1]) == (1, 40), "the line ends with the data"


def test_reliability_draws_bins_counts_and_the_calibration_error() -> None:
    rng = np.random.default_rng(2)
    predicted = rng.random(500)
    result = calibration(predicted, 0.8 * predicted)
    fig = pnb.figures.reliability(result)
    gap, _, curve, counts = fig.data
    np.testing.assert_array_equal(curve.x, result.table["predicted"])
    np.testing.assert_array_equal(curve.y, result.table["true"])
    assert sum(counts.y) == 500
    # the error is the mean gap, weighted by the counts: Naeini et al. 2015
    assert np.average(gap.y, weights=counts.y) == pytest.approx(result.expected_error)
    assert f"ECE {result.expected_error:.3f}" in fig.layout.title.text
    assert fig.layout.xaxis2.title.text == "predicted IoU"


def test_f1_falls_where_the_matches_are_lost() -> None:
    truth = np.zeros((20, 40), int)
    truth[2:12, 2:12], truth[2:12, 20:30] = 1, 2
    shifted = np.zeros_like(truth)
    shifted[2:12, 2:12], shifted[2:12, 22:32] = 1, 2  # IoU 1 and 80 / 120
    f1, precision, recall = pnb.figures.f1_curve(score(shifted, truth)).data
    for curve in (f1, precision, recall):
        np.testing.assert_array_equal(curve.y, np.where(np.asarray(curve.x) <= 2 / 3, 1, 0.5))
    assert f1.name == f"F1 (mean {0.4 * 1 + 0.6 * 0.5:.3f})"


def test_several_segmenters_share_one_figure() -> None:
    truth = np.zeros((8, 8), int)
    truth[2:6, 2:6] = 1
    fig = pnb.figures.f1_curve({"a": score(truth, truth), "b": score(truth * 0, truth)})
    assert [trace.name for trace in fig.data] == ["a (mean 1.000)", "b (mean 0.000)"]
    assert fig.layout.yaxis.title.text == "F1 = 2TP / (2TP + FP + FN)"


def test_the_gallery_shows_every_scene_with_its_scale() -> None:
    rng = np.random.default_rng(0)
    scenes = [
        (
            f"scene {n}",
            pnb.Image(rng.integers(0, 256, (512, 512), np.uint8), pnb.Calibration(n, "nm")),
        )
        for n in range(1, 8)
    ]
    fig = pnb.figures.gallery(scenes, columns=3)
    titles = [note.text for note in fig.layout.annotations]
    for number, (name, image) in enumerate(scenes):
        length, text = scale_bar(image)
        bar = fig.layout.shapes[number]
        assert bar.x1 - bar.x0 == pytest.approx(length)
        assert name in titles
        assert f"<b>{text}</b>" in titles
    # noise does not compress: this is the most that a picture can take
    assert len(fig.to_json()) < 7 * 200_000


def test_the_gallery_shows_the_pictures_as_they_are_and_takes_scenes() -> None:
    made = pnb.synthetic.scene(pnb.synthetic.SceneSettings(shape=(96, 128), count=5), 1)
    (layer,) = pnb.figures.gallery([("one", made)]).layout.images
    picture = np.asarray(PILImage.open(io.BytesIO(base64.b64decode(layer.source.split(",")[1]))))
    np.testing.assert_array_equal(picture, made.image.to_uint8())
    assert (layer.sizex, layer.sizey) == (128, 96)


def test_bad_input_is_named() -> None:
    figures = pnb.figures
    wrong = [
        lambda: figures.agreement.bland_altman([1.0, 2.0, 3.0]),
        lambda: figures.agreement.bland_altman(([1.0, 2.0], [1.0, 2.0])),
        lambda: figures.agreement.bland_altman(([1.0, math.nan, 3.0], [1.0, 2.0, 3.0])),
        lambda: figures.agreement.bland_altman(
            ([1.0, 2.0, -3.0], [1.0, 2.0, 3.0]), mode="log_ratio"
        ),
        lambda: figures.agreement.bland_altman(([1.0, 2.0, 3.0], [1.0, 2.0, 4.0]), mode="ratio"),
        lambda: figures.agreement.bland_altman(([1.0, 2.0, 3.0], [1.0, 2.0, 4.0]), names="ab"),
        lambda: figures.agreement.correlation([1.0, 2.0], [1.0, 2.0]),
        lambda: figures.agreement.correlation([1.0, 2.0, 3.0, 1e200], [1.0, 2.0, 3.0, 4.0]),
        lambda: figures.agreement.correlation(
            [1.0, 2.0, 4.0, 3.0], [1.0, 2.0, 3.0, 4.0], line="ols"
        ),
        lambda: figures.matching.reliability([0.5, 0.6]),
        lambda: figures.matching.f1_curve({}),
        lambda: figures.matching.f1_curve([0.5]),
        lambda: figures.depth_maps.gallery([]),
        lambda: figures.depth_maps.gallery("scenes"),
        lambda: figures.depth_maps.gallery([("name", np.zeros((4, 4)))]),
        lambda: figures.depth_maps.gallery([pnb.Image(np.zeros((4, 4)))]),
        lambda: figures.depth_maps.gallery([("a", pnb.Image(np.zeros((4, 4))))], columns=0),
    ]
    for call in wrong:
        with pytest.raises(ParticleError):
            call()
    with pytest.raises(DataError, match="best_iou"):
        figures.matching.reliability(None)
