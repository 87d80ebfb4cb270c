"""Intervals that hold missed and false particles and outlines; truth: simulated segmenters."""

import warnings

import numpy as np
import pandas as pd
import pytest

from particle_nb import Calibration, Mask, MaskSet, measure, size_distribution
from particle_nb.core.errors import DataError
from particle_nb.core.sizes import SegmentationErrors

LIMITS = [5.0, 20.0, 60.0]


def table(rng: np.random.Generator, images: int = 30) -> dict[str, np.ndarray]:
    """Errors of a made-up segmenter: 10 % missed, outlines off by 1 px (sd) from image to image."""
    true = np.full((images, 2), 60)
    found = rng.binomial(60, 0.9, (images, 2))
    shift = 0.5 + rng.normal(0, 1.0, images)
    told = np.full(images, 100.0)
    return {
        "limits": LIMITS,
        "true": true,
        "found": found,
        "outline": np.repeat(shift[:, None], 2, axis=1),
        "told": told,
        "right": told,
    }


def squares(across: np.ndarray, confidence: float | None = 0.95) -> MaskSet:
    """Masks of about these x_A, px, far from the frame's rim; they may overlap."""
    side = np.maximum(2, np.sqrt(np.pi / 4) * across)
    high = side.astype(int)
    wide = np.maximum(1, np.rint(side**2 / high)).astype(int)
    return MaskSet(
        tuple(
            Mask((100, 100), np.ones((h, w), bool), (400, 400), confidence=confidence)
            for h, w in zip(high, wide, strict=True)
        )
    )


def test_the_errors_of_finding_widen_an_interval_and_each_cause_is_named() -> None:
    rng = np.random.default_rng(0)
    masks = squares(np.exp(rng.normal(np.log(25), 0.2, 300)))
    q3 = size_distribution(measure(masks, Calibration(2, "nm")))
    narrow, wide = q3.interval(50), q3.interval(50, masks=masks)
    assert wide.low < narrow.low < q3.percentile(50) < narrow.high < wide.high
    assert sum(wide.shares.values()) == pytest.approx(1)
    assert set(wide.shares) == {"sampling", "missed and false particles", "outlines"}
    assert wide.shares["outlines"] > 0.5
    assert "missed and false particles, outlines" in wide.holds
    assert "missed" not in wide.lacks
    assert "image-to-image" in wide.lacks
    assert narrow.shares == {}
    assert "missed" in narrow.lacks


def test_intervals_hold_the_truth_as_often_as_they_say() -> None:
    """Sampling alone covers half; with the errors of the segmenter it is what it says."""
    rng = np.random.default_rng(4)
    hits = {"alone": 0, "whole": 0}
    runs = 60
    for _ in range(runs):
        errors = SegmentationErrors(**table(rng))
        truth = np.exp(rng.normal(np.log(25), 0.25, 400))
        seen = truth[rng.random(400) < 0.9] + 0.5 + rng.normal()
        masks = squares(np.r_[seen, rng.uniform(8, 12, 20)])
        chance = [0.95] * len(seen) + [0.1] * 20
        masks = MaskSet(tuple(m.replace(confidence=c) for m, c in zip(masks, chance, strict=True)))
        q0 = size_distribution(measure(masks), r=0)
        wanted = np.exp(np.log(25))
        for name, more in (("alone", {}), ("whole", {"masks": masks, "errors": errors})):
            low, high = q0.interval(50, resamples=150, **more)
            hits[name] += low <= wanted <= high
    assert hits["alone"] < 0.7 * runs
    assert hits["whole"] >= 0.88 * runs


def test_several_images_share_the_errors_and_the_variation_between_them_is_named() -> None:
    rng = np.random.default_rng(1)
    sets = [squares(np.exp(rng.normal(np.log(25 + 2 * i), 0.2, 80))) for i in range(6)]
    table = pd.concat([measure(m, image=f"{i}") for i, m in enumerate(sets)], ignore_index=True)
    found = size_distribution(table, r=0).interval([10, 50], masks=sets)
    assert found.shape == (2, 2)
    one = size_distribution(table, r=0).interval(50, masks=sets)
    assert one.shares["image to image"] > 0.05
    assert "6 images" in one.holds


def test_masks_drawn_by_hand_are_complete_and_their_outlines_are_assumed() -> None:
    rng = np.random.default_rng(2)
    masks = squares(np.exp(rng.normal(np.log(25), 0.2, 300)), None)
    found = size_distribution(measure(masks), r=0).interval(50, masks=masks)
    assert found.shares["missed and false particles"] == 0
    assert found.shares["outlines"] > 0.5


def test_false_masks_count_for_what_they_are_worth() -> None:
    rng = np.random.default_rng(3)
    good, bad = squares(rng.normal(30, 2, 100)), squares(rng.normal(10, 1, 60), 0.02)
    masks = MaskSet((*good, *bad))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        q0 = size_distribution(measure(masks), r=0)
        found = q0.interval(10, masks=masks)
    assert q0.percentile(10) < 12
    assert found.high > 25


def test_masks_of_something_else_are_refused() -> None:
    masks = squares(np.linspace(10, 40, 30))
    q0 = size_distribution(measure(masks), r=0)
    with pytest.raises(DataError, match="not those of the table"):
        q0.interval(50, masks=MaskSet(tuple(reversed(tuple(masks)))))
    with pytest.raises(DataError, match="fewer than the rows"):
        q0.interval(50, masks=masks[:5])
    with pytest.raises(DataError, match="MaskSet that was measured"):
        q0.interval(50, masks=3)  # type: ignore[arg-type]
    with pytest.raises(DataError, match="table of measure"):
        size_distribution([1.0, 2.0, 3.0, 4.0]).interval(50, masks=masks)
    with pytest.raises(DataError, match="not those of the table"):
        size_distribution(measure(masks), "x_Fmax", r=0).interval(50, masks=masks)


def test_errors_that_do_not_fit_together_are_refused() -> None:
    good = table(np.random.default_rng(0))
    for change, words in (
        ({"limits": [3.0, 2.0, 9.0]}, "increasing"),
        ({"found": good["true"] + 1}, "not more"),
        ({"told": good["told"][:4]}, "one row an image"),
        ({"outline": "wide"}, "array of numbers"),
    ):
        with pytest.raises(DataError, match=words):
            SegmentationErrors(**{**good, **change})
