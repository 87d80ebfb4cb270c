"""The automatic mode: pieces and views against drawn maps, the weights against drawn particles."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from scipy import ndimage  # noqa: E402

from particle_nb.core.errors import DataError, ModelError  # noqa: E402
from particle_nb.core.image import Image  # noqa: E402
from particle_nb.core.masks import (  # noqa: E402
    Mask,
    MaskSet,
    Prompt,
)
from particle_nb.core.matching import score  # noqa: E402
from particle_nb.models.embedded import (  # noqa: E402
    one_pass,
    pyramid,
    segmenter,
    settling,
    straight,
    views,
)
from particle_nb.models.embedded.judges import Judge  # noqa: E402
from particle_nb.models.embedded.regions import FEATURES  # noqa: E402
from particle_nb.session import Session  # noqa: E402


@pytest.fixture(scope="module")
def model() -> segmenter.EmbeddedSegmenter:
    return segmenter.load(device="cpu")


def seen(labels: np.ndarray, scale: float = 1.0, walls: bool = True) -> views.View:
    """A view whose dense maps are the truth about labels (h, w) of its cells."""
    height, width = labels.shape
    maps = torch.zeros(1, 32, height, width)
    inside = labels > 0
    padded = np.pad(labels, 1)
    apart = np.zeros_like(inside)
    for dy, dx in ((0, 1), (1, 0), (0, -1), (-1, 0)):
        other = padded[1 + dy : 1 + dy + height, 1 + dx : 1 + dx + width]
        apart |= other != labels
    wall = apart if walls else apart & ~ndimage.binary_erosion(inside, border_value=1)
    depth = np.zeros(labels.shape)
    for number, place in enumerate(ndimage.find_objects(labels), 1):
        if place is None:
            continue
        own = np.pad(labels[place] == number, 1)
        far = ndimage.distance_transform_edt(own)
        depth[place] += (far / far.max())[1:-1, 1:-1]
        rows, columns = np.nonzero(labels == number)
        sides = (
            columns - place[1].start + 0.5,
            rows - place[0].start + 0.5,
            place[1].stop - columns - 0.5,
            place[0].stop - rows - 0.5,
        )
        for k, side in enumerate(sides):
            maps[0, FEATURES + 4 + k, rows, columns] = torch.from_numpy(
                np.log(side / 4.0).astype(np.float32)
            )
        radius = np.sqrt(len(rows) / np.pi)
        maps[0, FEATURES + 3, rows, columns] = float(np.log(radius / 8.0))
    maps[0, FEATURES] = torch.from_numpy(np.where(inside, 5.0, -5.0))
    maps[0, FEATURES + 1] = torch.from_numpy(np.where(wall, 4.0, -4.0))
    maps[0, FEATURES + 2] = torch.from_numpy(
        np.log(depth.clip(0.01, 0.99) / (1 - depth.clip(0.01, 0.99)))
    )
    image = torch.from_numpy(np.kron(inside, np.ones((2, 2))).astype(np.float32))[None, None]
    return views.View(image, maps, (2 * height, 2 * width), (0.0, 0.0), scale)


def never(features: int, outputs: int, bias: float) -> Judge:
    """A judge that always says the same."""
    layers = [(np.zeros((n, m)), np.zeros(n)) for m, n in ((features, 4), (4, 4), (4, outputs))]
    layers[-1] = (layers[-1][0], np.full(outputs, bias))
    return Judge(np.zeros(features), np.ones(features), tuple(layers))


def level(labels: np.ndarray, scale: float, sure: Sequence[float]) -> settling.Level:
    """A level that proposes these labels, this sure of each."""
    view = seen(labels, scale)
    known = one_pass.instance_features(labels, one_pass.Dense.of(view), scale)
    confidence = np.array(sure, float)
    return settling.Level(
        view, one_pass.Dense.of(view), labels.astype(np.int32), confidence, confidence, known
    )


# ---- pieces -------------------------------------------------------------------------------------


def test_touching_squares_are_parted_at_the_wall_between_them() -> None:
    labels = np.zeros((40, 60), np.int32)
    labels[10:30, 10:30], labels[10:30, 30:50] = 1, 2
    found = one_pass.basins(one_pass.Dense.of(seen(labels)))
    assert found.max() == 2
    left = found == found[20, 20]
    assert np.count_nonzero(left ^ (labels == 1)) <= 20  # the wall itself may go to either


def test_joined_pieces_are_what_the_whole_is() -> None:
    """Sums, boxes and seams of joined rows equal those of the joined label map."""
    rng = np.random.default_rng(0)
    labels = np.kron(rng.integers(0, 6, (6, 8)), np.ones((5, 5), int)).astype(np.int32)
    parts = ndimage.label(labels > 0, np.ones((3, 3)))[0] * 0 + labels
    dense = one_pass.Dense.of(seen(parts))
    pieces = one_pass.pieces_of(parts, dense)
    group = np.array([0, 1, 0, 2, 1])
    direct = one_pass.pieces_of(np.concatenate([[0], group + 1])[parts].astype(np.int32), dense)
    joined = pieces.joined(group)
    np.testing.assert_allclose(joined.sums, direct.sums)
    np.testing.assert_allclose(joined.box, direct.box)
    np.testing.assert_allclose(joined.peak, direct.peak)
    np.testing.assert_array_equal(joined.pairs, direct.pairs)
    np.testing.assert_allclose(joined.seams, direct.seams)


def test_pieces_that_the_judge_joins_become_one_however_many() -> None:
    """Sixteen pieces of a rod in a row, each touching the next."""
    labels = np.zeros((12, 70), np.int32)
    for k in range(16):
        labels[3:9, 3 + 4 * k : 7 + 4 * k] = k + 1
    pieces = one_pass.pieces_of(labels, one_pass.Dense.of(seen(labels)))
    assert one_pass.join(pieces, never(19, 1, 3.0)).max() == 0
    assert len(set(one_pass.join(pieces, never(19, 1, -3.0)))) == 16


# ---- views --------------------------------------------------------------------------------------


def discs_on_cells(side: int, spots: Sequence[tuple[float, float]], radius: float) -> np.ndarray:
    rows, columns = np.mgrid[:side, :side]
    labels = np.zeros((side, side), np.int32)
    for number, (x, y) in enumerate(spots, 1):
        labels[np.hypot(columns - x, rows - y) < radius] = number
    return labels


SPOTS = [(12.0 + 13 * i, 12.0 + 13 * j) for i in range(4) for j in range(4)]


def test_a_coarse_sheet_does_not_settle_the_spheres_in_it() -> None:
    """Sixteen spheres and a sheet over all of them that claims to be surer than each."""
    fine = level(discs_on_cells(64, SPOTS, 6), 1.0, [0.9] * 16)
    sheet = np.zeros((32, 32), np.int32)
    sheet[2:29, 2:29] = 1
    kept = settling.settle([fine, level(sheet, 0.5, [0.95])])
    assert [c.level for c in kept] == [0] * 16
    # but one grainy particle is not its grains, if those are not believed
    doubtful = level(discs_on_cells(64, SPOTS, 6), 1.0, [0.3] * 16)
    kept = settling.settle([doubtful, level(sheet, 0.5, [0.95])])
    assert [(c.level, c.label) for c in kept] == [(1, 1)]


def test_many_particles_far_apart_are_not_settled_by_the_ground_between_them() -> None:
    """Two megapixels of ground with 734 particles came as one sure mask: they cover a sixth."""
    spots = [(8.0 + 16 * i, 8.0 + 16 * j) for i in range(16) for j in range(16)]
    fine = level(discs_on_cells(256, spots, 3), 1.0, [0.9] * 256)
    sheet = np.ones((128, 128), np.int32)
    kept = settling.settle([fine, level(sheet, 0.5, [0.98])])
    assert [c.level for c in kept] == [0] * 256
    # two specks on a large particle are specks
    pair = level(discs_on_cells(256, spots[:2], 3), 1.0, [0.9] * 2)
    kept = settling.settle([pair, level(sheet, 0.5, [0.98])])
    assert [c.level for c in kept] == [1]


def test_a_particle_seen_in_two_views_comes_once() -> None:
    fine = level(discs_on_cells(64, [(32, 32)], 20), 1.0, [0.8])
    coarse = level(discs_on_cells(32, [(15.75, 15.75)], 10), 0.5, [0.81])
    assert [c.level for c in settling.settle([fine, coarse])] == [0]
    surer = level(discs_on_cells(32, [(15.75, 15.75)], 10), 0.5, [0.95])
    assert [c.level for c in settling.settle([fine, surer])] == [1]
    (iou, sure), *_ = settling.support([fine, coarse])[0]
    assert iou > 0.9
    assert sure == pytest.approx(0.81)


def test_the_view_with_the_better_outline_settles_a_particle_of_which_both_are_sure() -> None:
    """A sphere cut off by a fine view, which knows that its outline is poor."""
    whole = level(discs_on_cells(32, [(15.75, 15.75)], 10), 0.5, [0.999])
    cut = discs_on_cells(64, [(32, 32)], 20)
    cut[:, :22] = 0
    fine = replace(level(cut, 1.0, [0.993]), iou=np.array([0.75]))
    assert [c.level for c in settling.settle([fine, whole])] == [1]
    good = replace(level(discs_on_cells(64, [(32, 32)], 20), 1.0, [0.993]), iou=np.array([0.99]))
    assert [c.level for c in settling.settle([good, whole])] == [0]


def test_a_committee_says_the_mean_of_its_members() -> None:
    rng = np.random.default_rng(0)
    middle, spread = rng.normal(0, 1, 5), rng.uniform(1, 2, 5)

    def member() -> Judge:
        sizes = ((5, 4), (4, 4), (4, 2))
        layers = tuple((rng.normal(0, 0.5, (m, n)), rng.normal(0, 0.5, m)) for n, m in sizes)
        return Judge(middle, spread, layers)

    members = [member() for _ in range(3)]
    rows = rng.normal(0, 2, (50, 5))
    logits = [np.log(p / (1 - p)) for p in (judge(rows) for judge in members)]
    together = Judge.committee(members)(rows)
    np.testing.assert_allclose(np.log(together / (1 - together)), np.mean(logits, 0), atol=1e-3)
    twice = Judge.committee([Judge.committee(members[:2]), Judge.committee(members[:2])])
    np.testing.assert_allclose(twice(rows), Judge.committee(members[:2])(rows), atol=1e-5)


@pytest.mark.parametrize("scale", [1.0, 0.5, 1.5])
def test_an_outline_from_cells_is_that_of_the_disc(scale: float) -> None:
    """A logit that falls linearly through the edge of a disc: the crop is the disc in pixels."""
    x, y, radius = 40.3, 35.8, 17.0
    side = 96
    view = seen(np.zeros((int(side * scale / 2), int(side * scale / 2)), np.int32), scale)
    cells = (2 * np.arange(view.maps.shape[3]) + 1) / scale - 0.5
    reach = np.hypot(cells[None] - x, cells[:, None] - y)
    labels = (reach < radius).astype(np.int32)
    dense = one_pass.Dense.of(view)
    object.__setattr__(dense, "logit", (radius - reach).astype(np.float32))
    lev = settling.Level(view, dense, labels, np.ones(1), np.ones(1), np.zeros((1, 27)))
    made = settling.pixel_crop(lev, 1, ndimage.find_objects(labels)[0], (0, 0, side, side))
    assert made is not None
    mask = Mask(*made, (side, side))
    rows, columns = np.mgrid[:side, :side]
    truth = Mask.from_full(np.hypot(columns - x, rows - y) < radius)
    assert mask.iou(truth) > 0.97
    assert mask.area == pytest.approx(truth.area, rel=0.02)


def test_tiles_part_a_picture_and_see_their_neighbours() -> None:
    for height, width in ((600, 900), (1216, 1920), (3072, 4096), (64, 30016)):
        covered = np.zeros((height // 2, width // 2), int)
        for (x0, y0, x1, y1), (left, top, right, bottom) in pyramid.tile_boxes(height, width):
            assert (bottom - top) * (right - left) <= pyramid.LARGEST_TILE
            assert not {x0 % 2, y0 % 2, left % 2, top % 2} - {0}
            covered[y0 // 2 : y1 // 2, x0 // 2 : x1 // 2] += 1
            assert x0 - left == (min(pyramid.MARGIN, x0))
            assert bottom - y1 == min(pyramid.MARGIN, height - y1)
        assert (covered == 1).all()


# ---- confidence ---------------------------------------------------------------------------------


def test_confidence_is_a_probability_or_nothing() -> None:
    square = np.ones((4, 4), bool)
    assert Mask((0, 0), square, (9, 9)).confidence is None
    assert Mask((0, 0), square, (9, 9), confidence=np.float32(0.25)).confidence == 0.25
    for wrong in (-0.1, 1.5, float("nan"), "sure"):
        with pytest.raises(DataError, match="confidence"):
            Mask((0, 0), square, (9, 9), confidence=wrong)  # type: ignore[arg-type]


def test_masks_are_picked_by_confidence_and_drawn_ones_stay() -> None:
    square = np.ones((4, 4), bool)
    judged = [Mask((0, k), square, (9, 19), confidence=c) for k, c in enumerate((0.9, 0.5, 0.2))]
    masks = MaskSet((*judged, Mask((0, 9), square, (9, 19))))
    assert [m.confidence for m in masks.where(confidence=0.5)] == [0.9, 0.5, None]
    assert np.array_equal(masks.confidence, [0.9, 0.5, 0.2, np.nan], equal_nan=True)
    assert len(MaskSet.from_labels(np.eye(3, dtype=int)).where(confidence=1.0)) == 1
    with pytest.raises(DataError, match="limit"):
        masks.where(confidence=50)


# ---- the weights of the package -----------------------------------------------------------------


def field(size: float, pitch: float, shape: tuple[int, int] = (384, 512)) -> tuple[Image, MaskSet]:
    """Equal balls with a dim middle on a darker plain ground, slightly off a square lattice."""
    rng = np.random.default_rng(0)
    rows, columns = np.mgrid[: shape[0], : shape[1]]
    grey, labels = np.full(shape, 60.0), np.zeros(shape, np.int32)
    slack = 0.45 * (pitch - 1.0) * size
    number = 0
    for y in np.arange(size, shape[0] - size, pitch * size):
        for x in np.arange(size, shape[1] - size, pitch * size):
            number += 1
            cx, cy = x + rng.uniform(-slack, slack), y + rng.uniform(-slack, slack)
            box = np.s_[int(cy - size) : int(cy + size) + 2, int(cx - size) : int(cx + size) + 2]
            far = np.hypot(columns[box] - cx, rows[box] - cy) / (0.5 * size)
            grey[box][far < 1] = (110 + 70 * far**3)[far < 1]
            labels[box][far < 1] = number
    grey = ndimage.gaussian_filter(grey, 0.6) + 5 * rng.standard_normal(shape)
    return Image(grey.clip(0, 255).astype(np.uint8)), MaskSet.from_labels(labels)


def found_share(model: segmenter.EmbeddedSegmenter, image: Image, truth: MaskSet) -> float:
    return float(score(model.generate(image), truth).tp[0]) / len(truth)


@pytest.mark.parametrize("pitch", [1.05, 1.25, 2.0, 3.0])
@pytest.mark.parametrize("size", [6, 8, 24, 60])
def test_dense_fields_of_equal_spheres_are_found(
    model: segmenter.EmbeddedSegmenter, size: int, pitch: float
) -> None:
    """A sheet of spheres is no particle, however dense."""
    assert found_share(model, *field(size, pitch)) >= 0.95


def test_sparse_dots_are_found_in_every_part_of_a_large_picture(
    model: segmenter.EmbeddedSegmenter,
) -> None:
    """The finest view hardly believes dots of 8 px; where a closer look does, all are looked at."""
    rng = np.random.default_rng(17)
    shape = (1000, 1400)
    grey, labels = np.full(shape, 60.0), np.zeros(shape, np.int32)
    rows, columns = np.mgrid[: shape[0], : shape[1]]
    spots = [(x, y) for x in range(60, 1400, 100) for y in range(60, 1000, 72)]
    for number, (x, y) in enumerate(spots, 1):
        cx, cy = x + rng.uniform(-25, 25), y + rng.uniform(-20, 20)
        box = np.s_[int(cy) - 6 : int(cy) + 8, int(cx) - 6 : int(cx) + 8]
        far = np.hypot(columns[box] - cx, rows[box] - cy) / 4
        grey[box][far < 1] += 60 + 40 * np.sqrt(1 - far[far < 1] ** 2)
        labels[box][far < 1] = number
    grey = ndimage.gaussian_filter(grey, 0.7) + 5 * rng.standard_normal(shape)
    image = Image(grey.clip(0, 255).astype(np.uint8))
    assert found_share(model, image, MaskSet.from_labels(labels)) >= 0.95


@pytest.mark.parametrize("radius", [25, 60, 110, 200])
@pytest.mark.parametrize("grain", [1.0, 2.5])
def test_one_click_takes_a_grainy_particle(
    model: segmenter.EmbeddedSegmenter, radius: int, grain: float
) -> None:
    rng = np.random.default_rng(radius)
    speck = ndimage.gaussian_filter(rng.standard_normal((512, 640)), grain)
    grey = 170 + 6 * rng.standard_normal((512, 640))
    rows, columns = np.mgrid[:512, :640]
    inside = np.hypot(columns - 330, rows - 250) < radius
    grey[inside] = (90 + 38 * speck / speck.std())[inside]
    grey = ndimage.gaussian_filter(grey, 0.6)
    image = Image(grey.clip(0, 255).astype(np.uint8))
    answer = Session(model).predict(image, Prompt(points=((330.0, 250.0),)))
    assert answer[0].iou(Mask.from_full(inside)) > 0.85


def test_a_long_lone_rod_is_one_particle(model: segmenter.EmbeddedSegmenter) -> None:
    ratio = 16
    rng = np.random.default_rng(ratio)
    rows, columns = np.mgrid[:512, :1024].astype(float)
    angle, length = np.deg2rad(-16), 800.0
    u = (columns - 512) * np.cos(angle) + (rows - 256) * np.sin(angle)
    v = (rows - 256) * np.cos(angle) - (columns - 512) * np.sin(angle)
    inside = (np.abs(u) < length / 2) & (np.abs(v) < length / ratio / 2)
    grey = ndimage.gaussian_filter(np.where(inside, 60.0, 190.0), 1)
    image = Image((grey + 5 * rng.standard_normal(grey.shape)).clip(0, 255).astype(np.uint8))
    truth = Mask.from_full(inside)
    assert max(mask.iou(truth) for mask in model.generate(image)) > 0.8
    answer = model.predict(model.encode(image), Prompt(points=((512.0, 256.0),)))
    assert answer[0].iou(truth) > 0.8


@pytest.mark.parametrize(
    ("inside", "ratio"), [("plain", 6), ("grainy", 10), ("grainy", 16), ("tube", 16)]
)
def test_a_lone_rod_comes_whole_whatever_is_in_it(
    model: segmenter.EmbeddedSegmenter, inside: str, ratio: int
) -> None:
    """One dark rod on a plain ground came in two to a hundred pieces, or not at all."""
    rng = np.random.default_rng(ratio)
    rows, columns = np.mgrid[:512, :1024].astype(float)
    turn = np.deg2rad(-16)
    along = (columns - 512) * np.cos(turn) + (rows - 256) * np.sin(turn)
    across = (rows - 256) * np.cos(turn) - (columns - 512) * np.sin(turn)
    width = 880 / ratio
    rod = (abs(along) < 440) & (abs(across) < width / 2)
    grain = ndimage.gaussian_filter(rng.normal(size=rod.shape), 2)
    grain /= grain.std()
    grey = 190 + 5 * rng.normal(size=rod.shape)
    core = np.where(abs(across) < 0.28 * width, 130, 70) + 15 * grain
    grey[rod] = {"plain": 60 + 0 * grain, "grainy": 90 + 30 * grain, "tube": core}[inside][rod]
    grey = ndimage.gaussian_filter(grey, 1) + 3 * rng.normal(size=rod.shape)
    image = Image(grey.clip(0, 255).astype(np.uint8))
    found, truth = model.generate(image), Mask.from_full(rod)
    assert max((mask.iou(truth) for mask in found), default=0) > 0.8
    assert len(found) <= 2
    answer = model.predict(model.encode(image), Prompt(points=((512.0, 256.0),)))
    assert answer[0].iou(truth) > 0.8


def test_what_is_no_straight_bar_is_left_in_pieces() -> None:
    rows, columns = np.mgrid[:40, :120]
    chain = np.hypot(rows - 20, (columns - 15) % 20 - 10) < 10.5
    bent = (abs(np.hypot(rows - 60, columns - 60) - 50) < 5) & (rows < 40)
    for shape in (chain, bent, abs(columns - 60) < 25):
        assert not straight.is_bar(shape & (columns > 4) & (columns < 115) & (rows < 36))
    assert straight.is_bar((abs(rows - 20 - 0.1 * (columns - 60)) < 5) & (abs(columns - 60) < 50))
    # squares side by side with a wall between them are no rod, unless the judge says so
    labels = np.zeros((40, 120), np.int32)
    labels[10:30, 10:110] = 1 + (np.arange(100) // 20)[None]
    ((own, is_plain),) = straight.bars(labels, one_pass.Dense.of(seen(labels)))
    assert own.tolist() == [1, 2, 3, 4, 5]
    assert not is_plain


def test_a_click_on_a_large_image_needs_no_window(model: segmenter.EmbeddedSegmenter) -> None:
    """Balls of 24 px and one of 1500 px on 12 Mpx, each with one click."""
    rng = np.random.default_rng(0)
    rows, columns = np.mgrid[:3072, :4096].astype(np.float32)
    grey = np.full(rows.shape, 60, np.float32)
    truth = {}
    for x, y, size in ((700, 800, 24), (760, 820, 24), (3900, 3000, 24), (2400, 1500, 1500)):
        far = np.hypot(columns - x, rows - y) / (size / 2)
        grey[far < 1] = (110 + 70 * far**3)[far < 1]
        truth[x, y] = Mask.from_full(far < 1)
    grey += 6 * rng.standard_normal(grey.shape, np.float32)
    image = Image(grey.clip(0, 255).astype(np.uint8))
    session = Session(model)
    for (x, y), mask in truth.items():
        answer = session.predict(image, Prompt(points=((float(x), float(y)),)))
        assert answer[0].iou(mask) > 0.7, (x, y)
        assert answer.shape == image.shape


def test_every_proposal_says_how_sure_it_is(model: segmenter.EmbeddedSegmenter) -> None:
    masks = model.generate(field(24, 1.5)[0])
    assert ((masks.confidence >= model.settings.least_score) & (masks.confidence <= 1)).all()
    assert (np.diff(masks.confidence) <= 0).all()
    bare = segmenter.EmbeddedSegmenter(model.network, "other", "0")
    with pytest.raises(ModelError, match="judges"):
        bare.generate(field(24, 1.5)[0])


@pytest.mark.parametrize("side", [320, 512])
def test_a_lone_particle_that_fills_the_picture_is_one(
    model: segmenter.EmbeddedSegmenter, side: int
) -> None:
    """Three views whatever the size of the picture: the coarsest sees it whole."""
    rng = np.random.default_rng(side)
    rows, columns = np.mgrid[:side, :side].astype(float)
    far = np.hypot(columns - 0.47 * side, rows - 0.52 * side) / (0.38 * side)
    grain = 12 * ndimage.gaussian_filter(rng.standard_normal((side, side)), 3) / 0.09
    grey = np.where(far < 1, 150 + grain, 60.0) + 6 * rng.standard_normal((side, side))
    truth = Mask.from_full(far < 1)
    found = model.generate(Image(grey.clip(0, 255).astype(np.uint8)))
    assert max((mask.iou(truth) for mask in found), default=0.0) > 0.85
