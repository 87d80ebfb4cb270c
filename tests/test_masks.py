"""Masks as crops: the same numbers as full frames, for any label image."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import ndimage

from particle_nb import Calibration, DataError, Image, ImageError, Mask, MaskSet, Prompt
from particle_nb.core.errors import CalibrationError, PromptError

LABELS = hnp.arrays(
    np.uint8, st.tuples(st.integers(1, 12), st.integers(1, 12)), elements={"max_value": 5}
)


# no deadline: the first example compiles
@settings(deadline=None)
@given(LABELS)
def test_labels_survive_the_round_trip(labels: np.ndarray) -> None:
    masks = MaskSet.from_labels(labels)
    values = [value for value in np.unique(labels) if value]
    back = masks.to_labels()
    assert len(masks) == len(values)
    for index, value in enumerate(values):
        np.testing.assert_array_equal(back == index + 1, labels == value)
        np.testing.assert_array_equal(masks[index].full(), labels == value)
        assert masks[index].area == np.count_nonzero(labels == value)
    assert masks.coverage() == pytest.approx(np.count_nonzero(labels) / labels.size)


@settings(deadline=None)
@given(LABELS, LABELS)
def test_intersections_equal_those_of_full_frames(a: np.ndarray, b: np.ndarray) -> None:
    shape = np.minimum(a.shape, b.shape)
    first = MaskSet.from_labels(a[: shape[0], : shape[1]])
    second = MaskSet.from_labels(b[: shape[0], : shape[1]])
    common, iou = first.intersections(second).toarray(), first.iou(second).toarray()
    for i, one in enumerate(first):
        for j, other in enumerate(second):
            both = np.count_nonzero(one.full() & other.full())
            assert common[i, j] == both
            assert iou[i, j] == pytest.approx(both / np.count_nonzero(one.full() | other.full()))
    np.testing.assert_array_equal(first.intersections().toarray(), np.diag(first.areas))


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.uint32, np.int64, np.uint64])
def test_boxes_and_crops_are_those_of_scipy(dtype: type) -> None:
    """Truth: scipy.ndimage.find_objects, on runs longer and shorter than the blocks of 16."""
    rng = np.random.default_rng(3)
    field = ndimage.gaussian_filter(rng.standard_normal((90, 131)), 2.5)
    labels = ndimage.label(field > field.std() / 2)[0]
    labels[rng.random(labels.shape) < 0.02] = 99  # one label scattered over all others
    labels[:, 120:] = 0
    labels[-1] = 5
    wanted = [(n, w) for n, w in enumerate(ndimage.find_objects(labels), 1) if w is not None]
    for image in (labels.astype(dtype), np.asfortranarray(labels.astype(dtype))):
        masks = MaskSet.from_labels(image)
        assert len(masks) == len(wanted)
        for mask, (number, where) in zip(masks, wanted, strict=True):
            assert mask.bbox == (where[0].start, where[1].start, where[0].stop, where[1].stop)
            np.testing.assert_array_equal(mask.crop, labels[where] == number)
            assert not mask.crop.flags.writeable
    many = np.array([[0, 2**31 - 1, 7], [2**31 - 1, 0, 70]], np.int64)
    assert [m.area for m in MaskSet.from_labels(many)] == [1, 1, 2]
    # beyond 32 bits: cut off they would be one label, or the ground
    large = np.array([[0, 2**32, 1], [2**40 + 1, 2**40 + 1, 2**32]], np.int64)
    assert [m.area for m in MaskSet.from_labels(large)] == [1, 2, 2]
    with pytest.raises(ImageError, match="negative"):
        MaskSet.from_labels(np.array([[0, -(2**40)], [1, 1]]))


def test_to_labels_puts_the_smaller_mask_on_top() -> None:
    big = Mask((0, 0), np.ones((8, 8), bool), (10, 10))
    small = Mask((2, 2), np.ones((2, 2), bool), (10, 10))
    for order in ([big, small], [small, big]):
        labels = MaskSet(order).to_labels()
        assert np.count_nonzero(labels == order.index(small) + 1) == 4


def test_a_mask_is_trimmed_and_frozen() -> None:
    crop = np.zeros((6, 7), bool)
    crop[2:4, 3:6] = True
    mask = Mask((10, 20), crop, (50, 60))
    assert (mask.origin, mask.crop.shape, mask.bbox) == ((12, 23), (2, 3), (12, 23, 14, 26))
    assert mask.centroid == (24.0, 12.5)
    with pytest.raises(ValueError, match="read-only"):
        mask.crop[0, 0] = False
    assert not mask.touches_edge
    assert Mask((48, 3), np.ones((2, 2), bool), (50, 60)).touches_edge


def test_picking() -> None:
    masks = MaskSet.from_labels(np.array([[1, 2, 3]]))
    assert len(masks[1:]) == 2
    assert len(masks[np.array([True, False, True])]) == 2
    assert masks[[2]][0].bbox == (0, 2, 1, 3)
    assert masks[-1].bbox == (0, 2, 1, 3)
    with pytest.raises(DataError):
        masks[np.array([True])]
    with pytest.raises(IndexError):
        masks[7]


def test_bad_masks_are_named() -> None:
    frame = (10, 10)
    for crop in (np.zeros((3, 3), bool), np.ones((3, 3)), np.ones(3, bool)):
        with pytest.raises(DataError):
            Mask((0, 0), crop, frame)
    for origin in ((-1, 0), (8, 8), "here", (1,)):
        with pytest.raises(DataError):
            Mask(origin, np.ones((3, 3), bool), frame)
    for grid in (0, -1, np.nan, np.inf, "coarse", None):
        with pytest.raises(DataError, match="grid_px"):
            Mask((0, 0), np.ones((3, 3), bool), frame, grid_px=grid)
    for labels in (np.zeros((3, 3)), np.zeros(3, int), np.zeros((0, 3), int), np.array([[-1]])):
        with pytest.raises(ImageError):
            MaskSet.from_labels(labels)
    with pytest.raises(ImageError, match="binary"):
        MaskSet.from_labels(np.ones((3, 3), bool))
    with pytest.raises(DataError, match="shape"):
        MaskSet(())
    with pytest.raises(DataError, match="from_labels"):
        MaskSet(np.ones((3, 3), int))
    with pytest.raises(DataError):
        MaskSet(4)


def test_calibration_reads_and_refuses() -> None:
    assert Calibration.parse("0.31 um").to("nm") == 310
    assert Calibration.parse("1.5e-3 µm").unit == "um"
    assert Calibration.parse((2, "nm")).pixel_size == 2
    for text in ("2 nm/px", "2nm / pixel", "2 nm per px", "2 nm per pixels"):
        assert Calibration.parse(text) == Calibration(2, "nm")
    with pytest.raises(CalibrationError, match="with a point"):
        Calibration.parse("0,31 um")
    for bad in ("0.31", "um", "0.31 parsec", "-1 um", "0 nm", "nan nm", 0.31, None, "1e9 m"):
        with pytest.raises(CalibrationError):
            Calibration.parse(bad)
    for size in (0, -1, np.nan, np.inf, "x", True, None):
        with pytest.raises(CalibrationError):
            Calibration(size, "um")


def test_images_refuse_what_is_no_picture() -> None:
    for bad in (
        np.zeros((0, 3)),
        np.zeros(3),
        np.zeros((3, 3, 3, 3)),
        np.zeros((4, 4, 99)),
        np.full((3, 3), np.nan),
        np.array([["a"]]),
        np.zeros((3, 3), complex),
        None,
    ):
        with pytest.raises(ImageError):
            Image(bad)
    with pytest.raises(CalibrationError):
        Image(np.zeros((3, 3)), 0.31)
    picture = Image(np.array([[np.nan, 1.0], [2.0, 3.0]]))
    assert np.isfinite(picture.grey).all()


def test_the_digest_depends_on_every_pixel_the_shape_and_the_type() -> None:
    pixels = np.arange(12, dtype=np.uint8).reshape(3, 4)
    other = pixels.copy()
    other[2, 3] += 1
    digests = {
        Image(array).digest
        for array in (pixels, other, pixels.reshape(4, 3), pixels.astype(np.int16))
    }
    assert len(digests) == 4
    assert Image(np.asfortranarray(pixels)).digest == Image(pixels).digest


def test_prompts_refuse_what_cannot_be_meant() -> None:
    for bad in (
        {},
        {"points": ((1, 2, 3),)},
        {"points": ((1, np.nan),)},
        {"points": ((1, 2),), "labels": (1, 0)},
        {"points": ((1, 2),), "labels": (2,)},
        {"points": "here"},
        {"box": (1, 2, 1, 5)},
        {"box": (1, 2, 3)},
        {"box": (0, 0, np.inf, 1)},
        {"sketch": np.zeros((4, 4), bool)},
        {"sketch": np.ones((4, 4))},
        {"points": ((1e12, 0),)},
    ):
        with pytest.raises(PromptError):
            Prompt(**bad)
    assert Prompt(box=(5, 6, 1, 2)).box == (1, 2, 5, 6)
    for prompt in (
        Prompt(points=((50, 2),)),
        Prompt(box=(30, 1, 40, 2)),
        Prompt(sketch=np.ones((3, 3), bool)),
    ):
        with pytest.raises(PromptError):
            prompt.check((20, 20))


@pytest.mark.parametrize(
    "box", [(2, 9.5, 5, 12), (14.5, 2, 17, 5), (2, -3, 5, -0.5), (-3, 2, -0.5, 5)]
)
def test_a_box_beside_the_image_is_refused(box: tuple[float, ...]) -> None:
    """Half a pixel beyond the middle of the last one, on each side."""
    with pytest.raises(PromptError, match="image"):
        Prompt(box=box).check((10, 15))
    Prompt(box=(14, 9, 20, 20)).check((10, 15))
    Prompt(box=(-5, -5, 0, 0)).check((10, 15))
