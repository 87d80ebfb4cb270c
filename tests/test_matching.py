"""Mask matching and segmentation scores.

Truth: StarDist 0.9.2 (``stardist.matching``) for counts and panoptic quality, scikit-image for the
adapted Rand error, rectangles worked out by hand, and slow full-frame forms of the definitions.
"""

from __future__ import annotations

import itertools
import math
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage
from skimage.metrics import adapted_rand_error

from particle_nb.core.errors import DataError, ImageError
from particle_nb.core.masks import Mask, MaskSet
from particle_nb.core.matching import best_iou, calibration, match, pool, score
from particle_nb.core.matching.overlap import Overlap


def scene() -> tuple[np.ndarray, np.ndarray]:
    """60 ellipses, and a prediction that shifts, swells, splits, drops and invents some."""
    rows, cols = np.mgrid[:256, :320]
    truth = np.zeros((256, 320), np.int32)
    predicted = np.zeros_like(truth)
    for k in range(60):
        y = 12 + (0.5 + 0.7548776662466927 * k) % 1 * 232
        x = 12 + (0.5 + 0.5698402909980532 * k) % 1 * 296
        a, b = 8 + k % 7, 6 + k % 5
        truth[((rows - y) / b) ** 2 + ((cols - x) / a) ** 2 <= 1] = k + 1
        if k % 9 == 4:
            continue
        grow, shift = 1 + 0.08 * (k % 5 - 2), 0.6 * (k % 6)
        inside = ((rows - y - shift) / (b * grow)) ** 2 + ((cols - x) / (a * grow)) ** 2 <= 1
        predicted[inside] = 1000 + 3 * k
        if k % 11 == 5:
            predicted[inside & (cols > x)] = 1001 + 3 * k
    predicted[3:9, 3:9] = 7
    return predicted, truth


# stardist.matching.matching(truth, predicted, thresh) of StarDist 0.9.2 on scene():
# thresh, tp, fp, fn, precision, recall, f1, mean_matched_score, panoptic_quality, accuracy
STARDIST = """
0.50 48 10 12 0.827586207 0.8 0.813559322 0.74106129 0.602897321 0.685714286
0.55 46 12 14 0.793103448 0.766666667 0.779661017 0.749555754 0.584399401 0.638888889
0.60 45 13 15 0.775862069 0.75 0.762711864 0.753920746 0.575024298 0.616438356
0.65 40 18 20 0.689655172 0.666666667 0.677966102 0.770737553 0.522533934 0.512820513
0.70 32 26 28 0.551724138 0.533333333 0.542372881 0.794638515 0.430990381 0.372093023
0.75 17 41 43 0.293103448 0.283333333 0.288135593 0.853841165 0.24602203 0.168316832
0.80 13 45 47 0.224137931 0.216666667 0.220338983 0.877464735 0.193339687 0.123809524
0.85 7 51 53 0.120689655 0.116666667 0.118644068 0.913440568 0.108374305 0.063063063
0.90 4 54 56 0.068965517 0.066666667 0.06779661 0.951793909 0.064528401 0.035087719
0.95 2 56 58 0.034482759 0.033333333 0.033898305 1.0 0.033898305 0.017241379
"""


def test_counts_and_panoptic_quality_agree_with_stardist() -> None:
    predicted, truth = scene()
    expected = np.array([[float(v) for v in line.split()] for line in STARDIST.split("\n") if line])
    result = score(predicted, truth, thresholds=expected[:, 0])
    columns = ["threshold", "tp", "fp", "fn", "precision", "recall", "f1", "mean_iou"]
    columns += ["panoptic_quality", "average_precision"]
    np.testing.assert_allclose(result.by_threshold[columns], expected, atol=1e-9)
    for row in expected:
        one = match(predicted, truth, row[0])
        got = [one.threshold, one.tp, one.fp, one.fn, one.precision, one.recall, one.f1]
        got += [one.mean_iou, one.panoptic_quality]
        np.testing.assert_allclose(got, row[:9], atol=1e-9)


def test_below_one_half_no_pair_is_lost_against_stardist() -> None:
    """StarDist 0.9.2 at 0.3 gives 52 6 8 and a mean IoU of 0.716655584.

    Where masks have rivals it lets pairs below the threshold weigh in, so its mean is 9e-8 short
    of the best assignment, which `test_assignment_is_optimal` demands.
    """
    found = match(*scene(), 0.3)
    assert (found.tp, found.fp, found.fn) == (52, 6, 8)
    assert 0.716655584 < found.mean_iou < 0.716655684


def test_rand_error_agrees_with_scikit_image() -> None:
    predicted, truth = scene()
    expected, _, _ = adapted_rand_error(truth, predicted, ignore_labels=(0,))
    assert score(predicted, truth).rand_error == pytest.approx(expected, abs=1e-12)


def kumar_aji(predicted: list[np.ndarray], truth: list[np.ndarray]) -> float:
    """AJI exactly as algorithm 1 of Kumar et al. 2017 is written, on full frames."""
    intersection, union, used = 0, 0, set()
    for true in truth:
        iou = [np.sum(true & mask) / np.sum(true | mask) for mask in predicted]
        j = int(np.argmax(iou)) if iou else -1
        if j < 0 or iou[j] == 0:
            union += true.sum()
            continue
        intersection += np.sum(true & predicted[j])
        union += np.sum(true | predicted[j])
        used.add(j)
    union += sum(mask.sum() for j, mask in enumerate(predicted) if j not in used)
    return intersection / union


def plus_aji(predicted: list[np.ndarray], truth: list[np.ndarray]) -> float:
    """AJI+ by trying every one-to-one assignment."""
    best, small, large = (-1.0, 0.0), truth, predicted
    if len(small) > len(large):
        small, large = large, small
    for chosen in itertools.permutations(range(len(large)), len(small)):
        total, intersection, union, paired = 0.0, 0, 0, set()
        for mask, j in zip(small, chosen, strict=True):
            both = np.sum(mask & large[j])
            union += mask.sum() + (large[j].sum() - both if both else 0)
            if both:
                paired.add(j)
                total += both / np.sum(mask | large[j])
                intersection += both
        union += sum(mask.sum() for j, mask in enumerate(large) if j not in paired)
        best = max(best, (total, intersection / union))
    return best[1]


def test_aji_follows_the_published_algorithm() -> None:
    predicted, truth = scene()
    slow = kumar_aji(
        [predicted == k for k in np.unique(predicted)[1:]],
        [truth == k for k in np.unique(truth)[1:]],
    )
    assert score(predicted, truth).aji == pytest.approx(slow, abs=1e-12)


@st.composite
def mask_sets(draw: st.DrawFn) -> MaskSet:
    boxes = draw(
        st.lists(st.tuples(*[st.integers(0, 9), st.integers(1, 6)] * 2), min_size=1, max_size=4)
    )
    masks = [
        Mask((r, c), np.ones((min(h, 10 - r), min(w, 10 - c)), bool), (10, 10))
        for r, h, c, w in boxes
    ]
    return MaskSet(masks, (10, 10))


@settings(deadline=None)
@given(mask_sets(), mask_sets())
def test_overlapping_masks_score_as_full_frames_do(predicted: MaskSet, truth: MaskSet) -> None:
    """Rectangles that overlap at will: crop-based numbers equal full-frame ones."""
    one, two = [m.full() for m in predicted], [m.full() for m in truth]
    iou = np.array([[np.sum(a & b) / np.sum(a | b) for b in two] for a in one])
    overlap = Overlap.of(predicted, truth)
    np.testing.assert_allclose(overlap.iou.toarray(), iou, atol=1e-12)
    np.testing.assert_allclose(best_iou(predicted, truth), iou.max(axis=1), atol=1e-12)
    result = score(predicted, truth)
    second, first = np.sort(np.pad(iou, ((1, 0), (0, 0))), axis=0)[-2:]
    if ((second < first) | (first == 0)).all():  # a tie leaves the definition free to choose
        assert result.aji == pytest.approx(kumar_aji(one, two), abs=1e-12)
    assert result.aji_plus <= 1
    a, b = np.any(one, axis=0), np.any(two, axis=0)
    assert result.pixel_error == pytest.approx(np.mean(a != b))
    assert result.dice == pytest.approx(2 * np.sum(a & b) / (a.sum() + b.sum()))


@settings(deadline=None)
@given(mask_sets(), mask_sets(), st.sampled_from([0.05, 0.2, 0.5]))
def test_assignment_is_optimal(predicted: MaskSet, truth: MaskSet, threshold: float) -> None:
    """Every one-to-one assignment tried: none has more pairs, nor as many with more IoU."""
    iou = Overlap.of(predicted, truth).iou.toarray()
    small = iou if iou.shape[0] <= iou.shape[1] else iou.T
    best = (0, 0.0)
    for chosen in itertools.permutations(range(small.shape[1]), small.shape[0]):
        values = small[np.arange(len(small)), chosen]
        values = values[values >= threshold]
        best = max(best, (len(values), round(float(values.sum()), 9)))
    found = match(predicted, truth, threshold)
    assert (found.tp, round(float(found.iou.sum()), 9)) == best
    assert len(set(found.pairs[:, 0])) == len(set(found.pairs[:, 1])) == found.tp


def strip(*spans: tuple[int, int]) -> MaskSet:
    """Masks one pixel high on a strip of 40."""
    return MaskSet([Mask((0, a), np.ones((1, b - a), bool), (1, 40)) for a, b in spans], (1, 40))


def test_aji_plus_gives_each_prediction_once() -> None:
    """By hand: one prediction of 20 px over two truths of 10 px; IoU 0.5 with each.

    AJI takes it twice: (10 + 10) / (20 + 20). AJI+ once: 10 / (20 + 10).
    """
    result = score(strip((0, 20)), strip((0, 10), (10, 20)))
    assert result.aji == 0.5
    assert result.aji_plus == pytest.approx(1 / 3)
    assert (result.tp[0], result.n_predicted, result.n_truth) == (1, 1, 2)


@pytest.mark.parametrize("case", range(6))
def test_aji_plus_is_the_best_assignment(case: int) -> None:
    """All assignments tried, for random rectangles of a seeded generator."""
    rng = np.random.default_rng(case)

    def rectangles(n: int) -> MaskSet:
        corner, size = rng.integers(0, 20, (n, 2)), rng.integers(4, 12, (n, 2))
        return MaskSet(
            [Mask(tuple(c), np.ones(s, bool), (32, 32)) for c, s in zip(corner, size, strict=True)]
        )

    predicted, truth = rectangles(5), rectangles(4 + case % 3)
    slow = plus_aji([m.full() for m in predicted], [m.full() for m in truth])
    assert score(predicted, truth).aji_plus == pytest.approx(slow, abs=1e-12)


def test_optimal_matching_beats_greedy() -> None:
    """By hand: A has IoU 6/8 with 1 and 6/10 with 2, B only with 1 (6/12); greedy loses a pair."""
    predicted, truth = strip((4, 12), (0, 9)), strip((4, 10), (6, 12))
    iou = Overlap.of(predicted, truth).iou.toarray()
    np.testing.assert_allclose(iou, [[6 / 8, 6 / 8], [5 / 10, 3 / 12]])
    found = match(predicted, truth, 0.5)
    assert found.pairs.tolist() == [[1, 0], [0, 1]]
    assert found.f1 == 1


def test_label_images_and_mask_sets_score_alike() -> None:
    predicted, truth = scene()
    expected = score(predicted, truth).to_dict()
    sets = MaskSet.from_labels(predicted), MaskSet.from_labels(truth)
    for pair in [(sets[0], truth), (predicted, sets[1]), sets]:
        assert score(*pair).to_dict() == expected
    huge = truth.astype(np.int64) * 10**12
    assert score(predicted, huge).to_dict() == expected
    assert match(predicted, huge).table()["truth"].max() == 60 * 10**12


def test_order_of_masks_does_not_matter() -> None:
    predicted, truth = (MaskSet.from_labels(labels) for labels in scene())
    turned = score(predicted[::-1], truth[::-1]).to_dict()
    assert turned == pytest.approx(score(predicted, truth).to_dict(), abs=1e-12)


def test_table_has_every_particle_once() -> None:
    predicted, truth = scene()
    table = match(predicted, truth, 0.5).table()
    assert sorted(table["truth"].dropna()) == np.unique(truth)[1:].tolist()
    assert sorted(table["predicted"].dropna()) == np.unique(predicted)[1:].tolist()
    for row in table[table["iou"].notna()].itertuples():
        a, b = predicted == row.predicted, truth == row.truth
        assert row.iou == pytest.approx(np.sum(a & b) / np.sum(a | b))
        assert (row.area_predicted_px2, row.area_truth_px2) == (a.sum(), b.sum())
        expected = 100 * (math.sqrt(a.sum()) / math.sqrt(b.sum()) - 1)
        assert row.x_A_deviation_percent == pytest.approx(expected)
    missed = table[table["predicted"].isna()]
    assert len(missed) == 12
    assert (missed["best_iou"] < 0.5).all()


def test_boundary_of_a_shifted_square() -> None:
    """By hand: a 10 x 10 outline has 36 px; shifted by 3 px, both long sides leave tolerance 2.

    Of the shifted outline, columns 3..12: the near side (column 3) is 3 px from column 0, but its
    end pixels lie on the horizontal sides. All else of the top and bottom is within 2 px up to
    column 11; column 12 is 3 px from column 9, so its 10 px are lost; column 3 keeps the rows
    within 2 px of top or bottom: 6 of 10.
    """
    truth = np.zeros((30, 40), int)
    truth[10:20, 10:20] = 1
    predicted = np.roll(truth, 3, axis=1)
    result = score(predicted, truth, boundary_tolerance=2)
    assert result.boundary_counts == (22, 36, 22, 36)
    assert score(predicted, truth, boundary_tolerance=3).boundary_f == 1
    assert score(np.roll(truth, 1, axis=1), truth, boundary_tolerance=1).boundary_f == 1
    assert score(truth, truth, boundary_tolerance=0).boundary_f == 1


def test_boundary_agrees_with_distance_transforms() -> None:
    predicted, truth = scene()

    def outline(labels: np.ndarray) -> np.ndarray:
        cross = ndimage.generate_binary_structure(2, 1)
        low = ndimage.minimum_filter(labels, footprint=cross, mode="nearest")
        high = ndimage.maximum_filter(labels, footprint=cross, mode="nearest")
        return (labels > 0) & (low != high)

    one, two = outline(predicted), outline(truth)
    near_two = ndimage.distance_transform_edt(~two)[one] <= 2
    near_one = ndimage.distance_transform_edt(~one)[two] <= 2
    result = score(predicted, truth)
    assert result.boundary_precision == pytest.approx(near_two.mean(), abs=1e-12)
    assert result.boundary_recall == pytest.approx(near_one.mean(), abs=1e-12)
    harmonic = 2 / (1 / near_two.mean() + 1 / near_one.mean())
    assert result.boundary_f == pytest.approx(harmonic, abs=1e-12)


def test_pooling_adds_counts() -> None:
    """Two images side by side, far apart, are one image: the pooled scores are its scores."""
    predicted, truth = scene()
    half = predicted[:, :150] * (predicted[:, :150] == 7), truth[:, :150] * 0
    gap = np.zeros((256, 20), int)
    joined = [
        np.hstack([a, gap, b + 10_000 * (b > 0)])
        for a, b in zip((predicted, truth), half, strict=True)
    ]
    pooled = pool([score(predicted, truth), score(*half)]).to_dict()
    together = score(*joined).to_dict()
    # the gap adds true background, which only the pixel error counts
    together["pixel_error"] *= 490 / 470
    assert pooled == pytest.approx(together, abs=1e-12)


def test_nothing_to_find() -> None:
    nothing, something = MaskSet((), (1, 40)), strip((0, 10))
    empty = score(nothing, nothing)
    assert math.isnan(empty.f1)
    assert math.isnan(empty.aji)
    assert math.isnan(empty.boundary_f)
    assert empty.pixel_error == 0
    missed = score(nothing, something)
    assert (missed.f1, missed.recall, missed.aji, missed.aji_plus) == (0, 0, 0, 0)
    assert math.isnan(missed.precision)
    invented = score(something, nothing)
    assert (invented.f1, invented.precision, invented.aji, invented.boundary_f) == (0, 0, 0, 0)
    assert match(nothing, something).table()["truth"].tolist() == [0]
    assert pool([empty, score(something, something)]).f1 == 1
    assert best_iou(nothing, something).shape == (0,)
    assert best_iou(something, nothing).tolist() == [0]


def test_thousand_particles_on_four_megapixels_within_a_second() -> None:
    rows, cols = np.mgrid[:2000, :2000]
    cell = (rows // 62) * 33 + cols // 62 + 1
    truth = np.where((rows % 62 - 30) ** 2 + (cols % 62 - 30) ** 2 <= 22**2, cell, 0)
    predicted = np.roll(truth, (2, 3), axis=(0, 1))
    assert len(np.unique(truth)) > 1000
    sets = MaskSet.from_labels(predicted), MaskSet.from_labels(truth)
    for pair in [(predicted, truth), sets]:
        spent = []
        for _ in range(3):
            start = time.process_time()
            score(*pair)
            spent.append(time.process_time() - start)
        assert min(spent) < 1


def test_calibration_error_by_hand() -> None:
    """A model that always claims 0.1 too much, and one with opposite errors that cancel."""
    predicted = np.linspace(0.15, 0.95, 17)
    boasting = calibration(predicted, predicted - 0.1)
    assert boasting.expected_error == pytest.approx(0.1)
    assert boasting.bias == pytest.approx(0.1)
    assert boasting.table["n"].sum() == 17
    mixed = calibration([0.25, 0.25, 0.75, 0.75], [0.15, 0.15, 0.95, 0.95])
    assert mixed.expected_error == pytest.approx(0.15)
    assert mixed.largest_error == pytest.approx(0.2)
    assert mixed.bias == pytest.approx(-0.05)
    assert mixed.table[["low", "high", "n"]].values.tolist() == [[0.2, 0.3, 2], [0.7, 0.8, 2]]
    # values on a bin edge belong to the bin above it, in spite of binary fractions
    edges = calibration(np.arange(1, 10) / 10, np.arange(1, 10) / 10)
    np.testing.assert_allclose(edges.table["low"], np.arange(1, 10) / 10)


def test_calibration_leaves_out_masks_without_a_score() -> None:
    result = calibration([0.9, np.nan, 1.02], [0.8, 0.5, 1.0])
    assert result.n == 2
    assert result.table["predicted"].max() == pytest.approx(0.95)


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda t: match(t, t[:5]), DataError, "same image"),
        (lambda t: match(t, t, 0), DataError, "above 0"),
        (lambda t: match(t, t, 1.1), DataError, "above 0"),
        (lambda t: match(t, t, math.nan), DataError, "finite"),
        (lambda t: match(t > 0, t), ImageError, "label image"),
        (lambda t: match(t * 1.0, t), ImageError, "float64"),
        (lambda t: match(t, -t), ImageError, "negative"),
        (lambda t: match(t[0], t), ImageError, "label image"),
        (lambda t: match(t[:0], t), ImageError, "non-empty"),
        (lambda t: match([[1]], t), DataError, "list"),
        (lambda t: match(None, t), DataError, "MaskSet"),
        (lambda t: score(t, t, thresholds=[]), DataError, "thresholds"),
        (lambda t: score(t, t, thresholds=[0.6, 0.5]), DataError, "increase"),
        (lambda t: score(t, t, thresholds=0.5), DataError, "sequence"),
        (lambda t: score(t, t, boundary_tolerance=-1), DataError, "0 or more"),
        (lambda t: score(t, t, boundary_tolerance="two"), DataError, "finite"),
        (lambda t: pool([]), DataError, "at least one"),
        (lambda t: pool([1]), DataError, "SegmentationScores"),
        (lambda t: score(t, t) + score(t, t, thresholds=[0.5]), DataError, "same settings"),
        (lambda t: calibration([0.5], [0.5, 0.6]), DataError, "(N,)"),
        (lambda t: calibration([np.nan], [0.5]), DataError, "no pair"),
        (lambda t: calibration([0.5], [1.5]), DataError, "between 0 and 1"),
        (lambda t: calibration([0.5], [0.5], bins=0), DataError, "bins"),
        (lambda t: calibration(["x"], [0.5]), DataError, "numbers"),
    ],
)
def test_bad_input_is_named(call, error, words) -> None:
    with pytest.raises(error, match=words.replace("(", r"\(").replace(")", r"\)")):
        call(scene()[1])
