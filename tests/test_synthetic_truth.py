"""Outlines, spheres, operators and powders whose truth is known, against that truth."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import integrate

from particle_nb import Mask, MaskSet, Session, measure, particle_depth, roughness
from particle_nb.core.errors import DataError
from particle_nb.core.surface import point_cloud
from particle_nb.core.synthetic import Sizes, powder, rough_spheres, spheres
from particle_nb.core.synthetic.operators import redrawn
from particle_nb.core.synthetic.outlines import OUTLINES, KnownOutline
from particle_nb.core.synthetic.spheres import TrueHeights, random_sphere


def disc(radius: float, side: int = 200) -> Mask:
    y, x = np.mgrid[:side, :side] - side / 2
    return Mask.from_full(x**2 + y**2 < radius**2)


def test_truth_of_known_outlines_is_their_geometry() -> None:
    square = KnownOutline("square", 2 / math.sqrt(math.pi) * 30).truth()  # edges of 30 px
    assert square["area"] == pytest.approx(900)
    assert square["perimeter"] == pytest.approx(120)
    assert square["x_Fmax"] == pytest.approx(30 * math.sqrt(2))
    assert square["form_factor"] == pytest.approx(math.pi / 4)
    ellipse = KnownOutline("ellipse 2:1", math.sqrt(8) * 10).truth()  # semi-axes 20 and 10 px
    assert ellipse["x_Fmax"] == pytest.approx(40)
    assert ellipse["x_Fmin"] == pytest.approx(20)
    around, _ = integrate.quad(
        lambda t: math.hypot(20 * math.sin(t), 10 * math.cos(t)), 0, math.tau
    )
    assert ellipse["perimeter"] == pytest.approx(around, rel=1e-9)
    assert KnownOutline("disc", 20).truth()["form_factor"] == pytest.approx(1)


@pytest.mark.parametrize("kind", OUTLINES)
def test_drawn_outlines_have_the_area_on_average_and_turn(kind: str) -> None:
    rng = np.random.default_rng(4)
    outline = KnownOutline(kind, 60.0)
    masks = [outline.draw(rng) for _ in range(40)]
    assert np.mean([mask.area for mask in masks]) == pytest.approx(outline.area, rel=3e-3)
    boxes = {(mask.bbox[2] - mask.bbox[0], mask.bbox[3] - mask.bbox[1]) for mask in masks}
    assert len(boxes) > 5 or kind == "disc"
    frames = {mask.shape for mask in masks}
    assert len(frames) == 1
    # nothing is cut: a free rim all around
    height, width = masks[0].shape
    for mask in masks:
        top, left, bottom, right = mask.bbox
        assert min(top, left, height - bottom, width - right) >= 1


def test_unknown_outlines_are_refused() -> None:
    with pytest.raises(DataError, match="disc, ellipse 2:1, square"):
        KnownOutline("star", 20)
    with pytest.raises(DataError, match="diameter"):
        KnownOutline("disc", 0)


@pytest.mark.parametrize("shift", [-3.0, -0.6, 2.0, 12.0])
def test_an_operator_without_tremor_moves_a_disc_by_the_shift(shift: float) -> None:
    drawn = redrawn(MaskSet((disc(50),)), shift, 0.0, np.random.default_rng(0))
    radius = math.sqrt(drawn[0].area / math.pi)
    assert radius - math.sqrt(disc(50).area / math.pi) == pytest.approx(shift, abs=0.35)
    assert drawn.shape == (200, 200)


@pytest.mark.parametrize("shift", [-0.4, 0.4])
def test_a_shift_below_half_a_pixel_shows_with_a_tremor(shift: float) -> None:
    rng = np.random.default_rng(3)
    drawn = [redrawn(MaskSet((disc(60),)), shift, 0.7, rng)[0].area for _ in range(20)]
    radius = math.sqrt(np.mean(drawn) / math.pi)
    assert radius - math.sqrt(disc(60).area / math.pi) == pytest.approx(shift, abs=0.15)


def test_tremor_scatters_the_outline_by_its_standard_deviation() -> None:
    rng = np.random.default_rng(1)
    y, x = np.mgrid[:200, :200] - 100.0
    radii = []
    for _ in range(12):
        full = redrawn(MaskSet((disc(60),)), 0.0, 1.5, rng)[0].full()
        edge = full & ~(np.roll(full, 1, 0) & np.roll(full, -1, 0) & np.roll(full, 1, 1))
        radii.append(np.hypot(x, y)[edge & (np.hypot(x, y) > 50)])
    assert np.concatenate(radii).std() == pytest.approx(1.5, rel=0.35)


def test_operators_overlook_small_particles_as_often_as_stated() -> None:
    small = Mask((20, 20), np.ones((10, 25), bool), (60, 60))  # 250 px^2: exp(-1)
    rng = np.random.default_rng(2)
    left = [len(redrawn(MaskSet((small,)), 0.0, 0.0, rng)) for _ in range(600)]
    assert np.mean(left) == pytest.approx(1 - math.exp(-1), abs=0.05)
    assert len(redrawn(MaskSet((disc(60),)), -70.0, 0.0, rng)) == 0, "shrunk to nothing"
    with pytest.raises(DataError, match="MaskSet"):
        redrawn([disc(60)], 0.0, 0.0, rng)


def test_an_outline_at_the_frame_stays_within_it() -> None:
    mask = Mask((0, 0), np.ones((30, 30), bool), (40, 50))
    drawn = redrawn(MaskSet((mask,)), 4.0, 0.0, np.random.default_rng(0))[0]
    assert drawn.shape == (40, 50)
    assert drawn.bbox == (0, 0, 34, 34)


def test_rough_spheres_bring_one_of_each_sq_and_their_heights_give_it_back() -> None:
    made = rough_spheres((0.0, 20.0), 1200.0, 60.0, 6.0, np.random.default_rng(3))
    assert sorted(made.truth["sq_nm"]) == [0.0, 20.0]
    session = Session(depth=TrueHeights(made.height))
    found = {}
    for mask, sq in zip(made.masks, made.truth["sq_nm"], strict=True):
        depth = particle_depth(session, made.image, mask)
        cloud = point_cloud(depth, mask, made.image.calibration)
        found[sq] = roughness(cloud, form="sphere").Sq
    assert found[0.0] < 1.5
    assert found[20.0] == pytest.approx(20, rel=0.25)


def test_rough_spheres_say_when_there_is_no_room(monkeypatch) -> None:
    monkeypatch.setattr(spheres, "_MOST_PICTURES", 2)
    with pytest.raises(DataError, match="no room in 2 pictures"):
        # nine kinds drawn at random hardly ever come all
        rough_spheres(np.linspace(0, 3, 9), 150.0, 10.0, 10.0, np.random.default_rng(0))
    with pytest.raises(DataError, match="empty"):
        rough_spheres((), 60.0, 6.0, 10.0, np.random.default_rng(0))


def test_random_spheres_differ_in_size_and_detector_not_in_roughness() -> None:
    rng = np.random.default_rng(5)
    made = [random_sphere(12.0, 800.0, 60.0, 10.0, rng) for _ in range(3)]
    assert {one.truth["sq_nm"].item() for one in made} == {12.0}
    assert len({one.settings.detectors for one in made}) == 3
    # slopes are kept at bay: a correlation length of at least twice the Sq
    steep = random_sphere(50.0, 2000.0, 60.0, 20.0, rng)
    assert steep.truth["correlation_nm"].item() == 100.0
    sizes = np.log([one.truth["size_nm"].item() / 800 for one in made])
    assert np.abs(sizes).max() < 0.4
    assert np.ptp(sizes) > 0


def test_true_heights_answer_a_window_and_refuse_one_outside() -> None:
    heights = np.arange(20.0).reshape(4, 5)
    model = TrueHeights(heights)
    assert model.estimate(None).tolist() == heights.tolist()
    assert model.estimate(None, (1, 2, 3, 4)).tolist() == [[11, 12], [16, 17]]
    with pytest.raises(DataError, match=r"\(3, 0, 6, 2\) does not lie within the image of 5 x 4"):
        model.estimate(None, (3, 0, 6, 2))
    with pytest.raises(DataError, match="H, W"):
        TrueHeights(np.zeros(3))


def test_a_powder_has_the_law_of_its_sizes() -> None:
    scenes = list(powder(Sizes("lognormal", 400.0, 1.2), count=2, seed=7))
    assert [one.image.name for one in scenes] == ["sparse 1", "sparse 2"]
    whole = [~one.truth["cut"].to_numpy() for one in scenes]
    tables = [measure(one.masks, one.image.calibration) for one in scenes]
    x = np.concatenate([table["x_A_nm"][keep] for table, keep in zip(tables, whole, strict=True)])
    assert np.median(x) == pytest.approx(400, rel=0.06)
    assert np.std(np.log(x)) == pytest.approx(math.log(1.2), rel=0.15)
    again = next(powder(Sizes("lognormal", 400.0, 1.2), count=1, seed=8))
    assert again.image.digest != scenes[0].image.digest
    assert (again.image.pixels == scenes[1].image.pixels).all(), "the next seed, the next picture"
