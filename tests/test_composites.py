"""Composite scenes: what was asked for is in them, and every pixel's phase is known."""

import numpy as np
import pytest

from particle_nb.core.errors import DataError
from particle_nb.core.synthetic import CompositeSettings, Detector, Exposure, Inclusion, composite

SMALL = CompositeSettings(shape=(128, 160))


def test_a_seed_gives_one_picture_and_another_seed_another() -> None:
    one, same, other = composite(SMALL, 4), composite(SMALL, 4), composite(SMALL, 5)
    assert np.array_equal(one.image.pixels, same.image.pixels)
    assert np.array_equal(one.labels, same.labels)
    assert not np.array_equal(one.labels, other.labels)


def test_the_pores_take_the_asked_share_of_the_matrix() -> None:
    made = composite(CompositeSettings(shape=(128, 128), porosity=0.25), 1)
    matrix = np.isin(made.labels, (0, 3)).sum()
    assert (made.labels == 3).sum() == round(0.25 * matrix)
    assert sum(made.fractions.values()) == pytest.approx(1)


def test_particles_are_numbered_and_each_is_of_one_phase() -> None:
    made = composite(SMALL, 2)
    numbers = np.unique(made.particles)
    assert numbers.tolist() == list(range(made.particles.max() + 1))
    for number in numbers[1:]:
        assert len(np.unique(made.labels[made.particles == number])) == 1
    assert not made.particles[np.isin(made.labels, (0, 3))].any()


def test_fractions_come_near_what_was_asked_for() -> None:
    asked = CompositeSettings(
        shape=(384, 384), inclusions=(Inclusion("copper", 0.3, 16.0),), porosity=0.0
    )
    made = composite(asked, 3)
    assert made.phases == ("polymer", "copper")
    assert made.fractions["copper"] == pytest.approx(0.3, abs=0.04)


def test_backscatter_ranks_atomic_numbers_and_secondaries_tell_what_it_cannot() -> None:
    made = composite(CompositeSettings(shape=(192, 192), exposures=(Exposure(dose=0),)), 6)
    se, bse = (made.image.pixels[..., i].astype(float) for i in (0, 1))
    means = [[channel[made.labels == k].mean() for k in range(3)] for channel in (se, bse)]
    assert means[1][1] - means[1][0] > 50  # silica is heavier than polymer
    assert abs(means[1][1] - means[1][2]) < 12  # silica and alumina weigh alike
    assert means[0][2] - means[0][1] > 25  # but give other numbers of secondaries


def test_one_detector_gives_a_grey_image() -> None:
    made = composite(CompositeSettings(shape=(96, 96), detectors=(Detector("BSE"),)), 0)
    assert made.image.pixels.shape == (96, 96)


@pytest.mark.parametrize(
    "wrong",
    [
        {"matrix": "cheese"},
        {"porosity": 0.9},
        {"shape": (8, 64)},
        {"shape": (64.5, 64)},
        {"inclusions": ("copper",)},
        {"inclusions": (Inclusion(fraction=0.4), Inclusion(fraction=0.4))},
        {"inclusions": (Inclusion(size_px=900),)},
        {"detectors": ()},
        {"detectors": (Detector("STEM"),)},
        {"exposures": (Exposure(), Exposure(), Exposure())},
    ],
)
def test_settings_that_make_no_section_are_refused(wrong: dict) -> None:
    with pytest.raises(DataError):
        CompositeSettings(**wrong)


@pytest.mark.parametrize("rng", [None, True, -1, 0.5])
def test_no_seed_no_scene(rng: object) -> None:
    with pytest.raises(DataError, match="seed"):
        composite(SMALL, rng)
