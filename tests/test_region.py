"""Regions of interest: what is analysed, what is cut by their rim, and how much each box counts.

Truths: rectangles, for which the weight is known in closed form; places counted one by one.
"""

from __future__ import annotations

import numpy as np
import pytest

from particle_nb.core.cascade import FilterSettings, cascade
from particle_nb.core.errors import CalibrationError, DataError, ImageError
from particle_nb.core.image import Calibration, Image, RegionOfInterest, RegionPart
from particle_nb.core.image.region import read_parts, region_mask
from particle_nb.core.masks import Mask, MaskSet
from particle_nb.core.shape import edge_weights, measure
from particle_nb.core.shape.measuring import touches
from particle_nb.session import Session

SHAPE = (60, 80)


def region(*parts: tuple[tuple[float, ...], bool]) -> RegionOfInterest:
    return RegionOfInterest(SHAPE, tuple(RegionPart.box(*box, include) for box, include in parts))


def test_a_region_is_what_is_included_less_what_is_excluded() -> None:
    whole = np.ones(SHAPE, bool)
    assert np.array_equal(region().mask, whole)
    bar = region(((5, 50, 40, 55), False))
    whole[50:56, 5:41] = False
    assert np.array_equal(bar.mask, whole)
    assert bar.area == whole.sum() == 60 * 80 - 6 * 36
    both = region(
        ((10, 10, 30, 30), True), ((60, 10, 200, 200), True), ((20.5, 0, 24.9, 99), False)
    )
    truth = np.zeros(SHAPE, bool)
    truth[10:31, 10:31] = truth[10:, 60:] = True
    truth[:, 21:25] = False
    assert np.array_equal(both.mask, truth)
    assert both.share == truth.mean()
    triangle = RegionOfInterest(SHAPE, (RegionPart(((0, 0), (40, 0), (0, 40))),))
    assert triangle.area == 41 * 42 / 2, "centres on the rim belong to it"
    assert RegionOfInterest(SHAPE, read_parts(both.json())).area == both.area


def test_the_weight_is_the_area_over_the_places_that_there_are() -> None:
    rng = np.random.default_rng(0)
    corners = rng.integers(0, 50, (40, 2))
    boxes = np.column_stack([corners, corners + rng.integers(1, 12, (40, 2))])
    assert np.allclose(edge_weights(boxes, SHAPE, region()), edge_weights(boxes, SHAPE))
    # a rectangle is a frame of its own
    part = region(((10, 5, 69, 44), True))
    moved = boxes - [5, 10, 5, 10]
    inside = (moved[:, :2] >= 0).all(axis=1) & (moved[:, 2] <= 40) & (moved[:, 3] <= 60)
    assert np.allclose(
        edge_weights(boxes, SHAPE, part)[inside], edge_weights(moved[inside], (40, 60))
    )
    assert (edge_weights(boxes, SHAPE, part)[~inside] == 0).all()
    # any shape: every place tried
    odd = RegionOfInterest(
        SHAPE,
        (RegionPart(((3, 2), (70, 8), (75, 55), (20, 50))), RegionPart.box(30, 20, 40, 26, False)),
    )
    got = edge_weights(boxes, SHAPE, odd)
    for (r0, c0, r1, c1), weight in zip(boxes.tolist(), got, strict=True):
        h, w = r1 - r0 + 2, c1 - c0 + 2
        fits = [
            odd.mask[r : r + h, c : c + w].all()
            for r in range(SHAPE[0] - h + 1)
            for c in range(SHAPE[1] - w + 1)
        ]
        own = r0 > 0 and c0 > 0 and odd.mask[r0 - 1 : r1 + 1, c0 - 1 : c1 + 1].all()
        own = own and r1 < SHAPE[0] and c1 < SHAPE[1]
        assert weight == pytest.approx(odd.area / sum(fits) if own else 0)
    assert np.array_equal(touches(boxes, SHAPE, odd.mask), got == 0)
    assert np.array_equal(touches(boxes, SHAPE, region()), touches(boxes, SHAPE))


def test_weighted_counts_do_not_depend_on_where_the_region_lies() -> None:
    """Horvitz-Thompson: over all places of one box the weights add up to the region's area."""
    odd = RegionOfInterest(SHAPE, (RegionPart(((3, 2), (70, 8), (75, 55), (20, 50))),))
    rows, cols = np.mgrid[0:50, 0:70]
    boxes = np.column_stack([rows.ravel(), cols.ravel(), rows.ravel() + 7, cols.ravel() + 9])
    assert edge_weights(boxes, SHAPE, odd).sum() == pytest.approx(odd.area)


def _masks() -> MaskSet:
    square = np.ones((10, 10), bool)
    places = [(5, 5), (5, 35), (40, 60), (25, 33)]
    return MaskSet(tuple(Mask(place, square, SHAPE) for place in places))


def test_measure_cascade_and_propose_keep_to_the_region() -> None:
    masks, left = _masks(), region(((0, 0, 40, 59), True))
    table = measure(masks, Calibration(2, "nm"), region=left)
    assert table["label"].tolist() == [1, 2, 4], "the second and the last are cut"
    assert table["touches_edge"].tolist() == [False, True, True]
    assert (table["edge_weight"] > 0).tolist() == [True, False, False]
    assert table.attrs["analysed_px"] == 41 * 60
    assert measure(masks, region=left.mask)["label"].tolist() == [1, 2, 4]
    assert "analysed_px" not in measure(masks).attrs
    pixels = np.full(SHAPE, 20, np.uint8)
    for mask in masks:
        r0, c0, r1, c1 = mask.bbox
        pixels[r0:r1, c0:c1] = 200
    whole, part = Image(pixels), Image(pixels, region=left)
    kept, audit = cascade(masks, part)
    assert [mask.origin for mask in kept] == [(5, 5)]
    gone = audit[audit["verdict"] == "removed"]
    assert dict(zip(gone["mask"], gone["stage"], strict=True)) == {
        1: "edge",
        2: "region",
        3: "edge",
    }
    assert len(cascade(masks, part, FilterSettings(edge="keep"))[0]) == 3
    assert len(cascade(masks, whole)[0]) == 4
    assert "region" not in set(cascade(masks, whole)[1]["stage"])
    session = Session("classical")
    assert len(session.propose(whole, progress=False)) == 4
    assert len(session.propose(part, progress=False)) == 3
    assert whole.digest == part.digest, "one encoding serves both"


def test_an_image_gets_a_region_without_a_copy() -> None:
    image = Image(np.eye(60, 80), Calibration(1, "nm"), "a")
    digest, grey = image.digest, image.grey
    other = image.replace(region=region(((0, 0, 9, 9), True)), calibration=None)
    assert other.pixels is image.pixels
    assert other.grey is grey
    assert (other.digest, other.name, other.calibration) == (digest, "a", None)
    assert other.region.area == 100
    assert image.region is None
    assert image.calibration == Calibration(1, "nm")
    with pytest.raises(ImageError, match="cannot replace pixels"):
        image.replace(pixels=1)
    with pytest.raises(ImageError, match="of an image"):
        image.replace(region=RegionOfInterest((5, 5)))
    with pytest.raises(ImageError, match="must be a RegionOfInterest"):
        Image(np.eye(3), region=np.ones((3, 3), bool))
    with pytest.raises(CalibrationError):
        image.replace(calibration=2.0)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: RegionPart(((0, 0), (1, 1))), "3 to"),
        (lambda: RegionPart("abc"), "3 to"),
        (lambda: RegionPart(((0, 0), (1, 1), (np.nan, 2))), "finite"),
        (lambda: RegionPart(((0, 0), (1, 1), (0, 2)), 1), "true or false"),
        (lambda: RegionOfInterest((4, 4), (RegionPart.box(0, 0, 9, 9, False),)), "nothing of the"),
        (lambda: RegionOfInterest((4, 4), (RegionPart.box(20, 20, 29, 29),)), "nothing of the"),
        (lambda: RegionOfInterest(4), "shape"),
        (lambda: RegionOfInterest((4, 4), ("a",)), "RegionParts"),
        (lambda: read_parts({"path": []}), "list of parts"),
        (lambda: read_parts([{"paths": []}]), "'path' or 'box'"),
        (lambda: read_parts([{"box": [1, 2]}]), "a box is"),
        (lambda: region_mask(np.ones((3, 3)), (3, 3)), "bool array"),
        (lambda: region_mask(np.ones((3, 4), bool), (3, 3)), "is of an image"),
        (lambda: region_mask(np.zeros((3, 3), bool), (3, 3)), "empty"),
        (lambda: measure(_masks(), region="all"), "bool array"),
    ],
)  # fmt: skip
def test_what_is_no_region_is_refused(make, said: str) -> None:
    with pytest.raises((ImageError, DataError), match=said):
        make()
