"""The cascade on masks whose fate is known by construction."""

import numpy as np
import pytest

from particle_nb import (
    DataError,
    FilterSettings,
    Image,
    ImageError,
    Mask,
    MaskSet,
    cascade,
    mask_values,
    measure,
)
from particle_nb.core.shape import contour

SHAPE = (200, 300)
ROWS, COLS = np.mgrid[: SHAPE[0], : SHAPE[1]]


def disc(x: float, y: float, r: float, **scores: float) -> Mask:
    return Mask.from_full((COLS - x) ** 2 + (ROWS - y) ** 2 <= r * r, **scores)


def picture(masks: list[Mask], level: float = 100) -> Image:
    pixels = np.zeros(SHAPE)
    for mask in masks:
        pixels[mask.full()] = level
    return Image(pixels)


def verdicts(audit, index: int) -> dict[str, str]:
    rows = audit[audit["mask"] == index]
    return dict(zip(rows["stage"], rows["verdict"], strict=True))


def test_each_stage_removes_what_it_should_and_says_so() -> None:
    good = disc(60, 60, 20, predicted_iou=0.95, stability_score=0.97)
    doubtful = disc(120, 60, 20, predicted_iou=0.4, stability_score=0.97)
    shaky = disc(180, 60, 20, predicted_iou=0.95, stability_score=0.5)
    speck = disc(240, 60, 2, predicted_iou=0.95, stability_score=0.97)
    ghost = disc(60, 140, 20, predicted_iou=0.95, stability_score=0.97)
    full = np.zeros(SHAPE, bool)
    full[130:136, 110:200] = True
    rod = Mask.from_full(full, predicted_iou=0.95, stability_score=0.97)
    cut = disc(295, 140, 20, predicted_iou=0.95, stability_score=0.97)
    masks = [good, doubtful, shaky, speck, ghost, rod, cut]
    image = picture([good, doubtful, shaky, speck, rod, cut])
    settings = FilterSettings(0.88, 0.9, 30, None, 0.05, 0.8, edge="exclude")
    kept, audit = cascade(MaskSet(masks), image, settings)
    assert [mask.digest for mask in kept] == [good.digest]
    removed = audit[audit.verdict == "removed"].set_index("mask")["stage"].to_dict()
    assert removed == {
        1: "confidence",
        2: "stability",
        3: "area",
        4: "contrast",
        5: "form_factor",
        6: "edge",
    }
    assert verdicts(audit, 1) == {"confidence": "removed"}
    row = audit[(audit["mask"] == 3) & (audit["stage"] == "area")].iloc[0]
    assert (row["value"], row["threshold"]) == (speck.area, ">= 30")


def test_every_switch_is_independent() -> None:
    masks = MaskSet([disc(60, 60, 20, predicted_iou=0.1), disc(295, 140, 20, predicted_iou=0.9)])
    off = FilterSettings(None, None, None, None, None, None, None, "keep", "keep")
    kept, audit = cascade(masks, picture(list(masks)), off)
    assert len(kept) == 2
    assert set(audit["verdict"]) == {"off"}
    assert len(audit) == 2 * 7


def test_a_mask_without_a_score_is_not_held_against_it() -> None:
    masks = MaskSet([disc(60, 60, 20)])
    kept, _ = cascade(masks, picture(list(masks)), FilterSettings(min_predicted_iou=0.9))
    assert len(kept) == 1


def test_what_is_more_likely_no_particle_goes_first_and_the_audit_says_by_which_score() -> None:
    sure = disc(60, 60, 20, predicted_iou=0.9, confidence=0.9)
    unsure = disc(120, 60, 20, predicted_iou=0.9, confidence=0.3)
    rough = disc(180, 60, 20, predicted_iou=0.4, confidence=0.9)
    drawn = disc(240, 60, 20)
    masks = MaskSet([sure, unsure, rough, drawn])
    kept, audit = cascade(masks, picture(list(masks)), FilterSettings())
    assert [mask.digest for mask in kept] == [sure.digest, drawn.digest]
    first = audit[audit.stage == "confidence"].set_index("mask")
    assert first["verdict"].tolist() == ["kept", "removed", "removed", "kept"]
    assert first["value"].tolist()[:3] == [0.9, 0.3, 0.4]
    assert len(cascade(masks, picture(list(masks)), FilterSettings(min_confidence=0.2))[0]) == 3


def test_of_two_duplicates_the_surer_one_stays() -> None:
    masks = MaskSet(
        [
            disc(60, 60, 20, predicted_iou=0.95, confidence=0.6),
            disc(61, 60, 20, predicted_iou=0.9, confidence=0.8),
        ]
    )
    kept, _ = cascade(masks, picture(list(masks)), FilterSettings())
    assert [mask.confidence for mask in kept] == [0.8]


def test_of_two_duplicates_the_more_confident_stays() -> None:
    masks = MaskSet([disc(60, 60, 20, predicted_iou=0.7), disc(61, 60, 20, predicted_iou=0.9)])
    kept, audit = cascade(masks, picture(list(masks)), FilterSettings())
    assert [mask.predicted_iou for mask in kept] == [0.9]
    reason = audit[(audit.stage == "duplicates") & (audit.verdict == "removed")].iloc[0]
    assert "duplicate of mask 1" in reason["threshold"]
    assert reason["value"] == pytest.approx(masks[0].iou(masks[1]))


def test_every_pair_of_duplicates_is_looked_at() -> None:
    """Also the pairs behind one of which a mask is gone already."""
    masks = MaskSet(
        [disc(x + k, 60, 20, predicted_iou=s) for x, k, s in ((60, 0, 0.9), (60, 1, 0.8))]
        + [disc(x + k, 60, 20, predicted_iou=s) for x, k, s in ((180, 0, 0.7), (180, 1, 0.6))]
    )
    kept, _ = cascade(masks, picture(list(masks)), FilterSettings())
    assert [mask.predicted_iou for mask in kept] == [0.9, 0.7]


def test_a_feature_on_a_particle_goes_and_the_particle_stays() -> None:
    whole, spot = disc(100, 100, 40, predicted_iou=0.9), disc(110, 95, 9, predicted_iou=0.95)
    kept, audit = cascade(
        MaskSet([spot, whole]), picture([whole]), FilterSettings(min_contrast=None)
    )
    assert [mask.area for mask in kept] == [whole.area]
    assert "inside mask 1" in audit[audit.verdict == "removed"]["threshold"].iloc[0]


@pytest.mark.parametrize(("confidence", "left"), [(0.6, 2), (0.95, 1)])
def test_a_particle_split_in_two_and_an_agglomerate_are_told_apart_by_confidence(
    confidence: float, left: int
) -> None:
    # two halves inside one outline: confident whole -> whole, confident halves -> halves
    whole = disc(100, 100, 40, predicted_iou=confidence)
    half = whole.full() & (COLS < 100)
    parts = [Mask.from_full(half, predicted_iou=0.85)]
    parts += [Mask.from_full(whole.full() & ~half, predicted_iou=0.85)]
    kept, _ = cascade(MaskSet([whole, *parts]), picture([whole]), FilterSettings(min_contrast=None))
    assert len(kept) == left


def test_parts_that_do_not_fill_a_particle_are_features_of_it() -> None:
    whole = disc(100, 100, 40, predicted_iou=0.7)
    spots = [disc(x, 100, 9, predicted_iou=0.9) for x in (80, 120)]
    settings = FilterSettings(min_contrast=None)
    kept, audit = cascade(MaskSet([whole, *spots]), picture([whole]), settings)
    assert [mask.area for mask in kept] == [whole.area]
    assert (audit[audit.verdict == "removed"]["value"] == 1).all(), "all of each spot lies inside"


def test_what_is_gone_does_not_keep_the_smaller_ones_from_being_looked_at() -> None:
    """The largest is a duplicate and gone; a spot on a smaller particle still goes."""
    settings = FilterSettings(min_contrast=None)
    masks = [disc(70, 100, 41, predicted_iou=0.5), disc(70, 100, 40, predicted_iou=0.9)]
    masks += [disc(200, 100, 30, predicted_iou=0.9), disc(205, 100, 8, predicted_iou=0.9)]
    kept, _ = cascade(MaskSet(masks), picture(masks), settings)
    assert [mask.area for mask in kept] == [masks[1].area, masks[2].area]


def test_contrast_is_that_of_the_rim() -> None:
    """A disc whose middle is another level: only the step around the rim counts."""
    body, core = disc(100, 100, 40), disc(100, 100, 25)
    pixels = np.zeros(SHAPE)
    pixels[body.full()], pixels[core.full()] = 60, 100
    # smoothed over one pixel and looked at over five, a step of 60 % keeps most of its height
    found = mask_values(MaskSet([body]), Image(pixels))["contrast"][0]
    assert 0.5 < found < 0.6
    plain = mask_values(MaskSet([body]), Image(np.where(body.full(), 60.0, 0)))["contrast"][0]
    assert 0.85 < plain < 1
    assert found / plain == pytest.approx(0.6, abs=0.001)


def test_overlaps_may_be_kept() -> None:
    whole, spot = disc(100, 100, 40), disc(110, 95, 9)
    settings = FilterSettings(nested="keep", duplicate_iou=None, min_contrast=None)
    assert len(cascade(MaskSet([whole, spot]), picture([whole]), settings)[0]) == 2


def test_thresholds_move_without_measuring_again() -> None:
    masks = MaskSet([disc(40 + 50 * i, 60, 10 + 2 * i, predicted_iou=0.9) for i in range(5)])
    image = picture(list(masks))
    values = mask_values(masks, image)
    for least in (0, 400, 800, 5000):
        settings = FilterSettings(min_area=least)
        fresh, audit = cascade(masks, image, settings)
        quick, same = cascade(masks, image, settings, values)
        assert fresh.digest == quick.digest
        assert audit.equals(same)


def test_the_papers_defaults_remove_half_of_real_particles() -> None:
    paper = FilterSettings.paper()
    assert (paper.min_area, paper.max_area, paper.min_form_factor) == (10, 1000, 0.8)
    masks = MaskSet([disc(60, 60, r, predicted_iou=0.95, stability_score=0.99) for r in (17, 19)])
    kept, _ = cascade(masks[:1], picture(list(masks)), paper)
    assert len(kept) == 1
    assert len(cascade(masks[1:], picture(list(masks)), paper)[0]) == 0, "37 px across is too large"


def test_an_empty_set_passes_through() -> None:
    kept, audit = cascade(MaskSet((), SHAPE), Image(np.zeros(SHAPE)), FilterSettings())
    assert len(kept) == 0
    assert len(audit) == 0


def test_bad_input_is_named() -> None:
    masks, image = MaskSet([disc(60, 60, 20)]), Image(np.zeros(SHAPE))
    for bad in (-0.1, 1.5, np.nan, "high"):
        with pytest.raises(DataError, match="min_predicted_iou"):
            FilterSettings(min_predicted_iou=bad)
    with pytest.raises(DataError, match="exceeds"):
        FilterSettings(min_area=50, max_area=10)
    for bad in ({"nested": "maybe"}, {"edge": "cut"}):
        with pytest.raises(DataError):
            FilterSettings(**bad)
    with pytest.raises(TypeError):
        FilterSettings(min_circularity=0.8)
    with pytest.raises(DataError, match="no min_circularity"):
        FilterSettings().replace(min_circularity=0.8)
    with pytest.raises(DataError, match="frame"):
        cascade(masks, Image(np.zeros((5, 5))))
    with pytest.raises(DataError):
        cascade(np.zeros(SHAPE), image)
    with pytest.raises(ImageError):
        cascade(masks, np.zeros(SHAPE))
    with pytest.raises(DataError):
        cascade(masks, image, {"min_area": 3})


def test_only_what_is_filtered_by_is_measured_and_no_mask_is_traced_twice(monkeypatch) -> None:
    labels = np.zeros((60, 80), int)
    labels[5:25, 5:25], labels[30:50, 20:60], labels[40:42, 70:72] = 1, 2, 3
    image = Image(np.where(labels > 0, 200, 20).astype(np.uint8))
    traced: list[int] = []
    original = contour.measure_particles

    def counted(crops):
        traced.append(len(crops))
        return original(crops)

    monkeypatch.setattr(contour, "measure_particles", counted)
    cascade(MaskSet.from_labels(labels), image)
    assert traced == []  # no form factor was asked for
    masks = MaskSet.from_labels(labels)
    kept, audit = cascade(masks, image, FilterSettings(min_form_factor=0.1))
    assert traced == [2]  # the speck of 4 px had gone before
    assert len(measure(kept)) == 2
    assert traced == [2]
    by_form = audit[audit["stage"] == "form_factor"].set_index("mask")["value"]
    assert by_form.tolist() == measure(masks)["form_factor"][by_form.index].tolist()
