"""The conventional baseline on shapes whose number and size are known, and on a real photograph."""

import numpy as np
import pytest
from skimage import data

from particle_nb import DataError, Image, ModelError, Prompt, Session
from particle_nb.models.classical import ClassicalSegmenter, ClassicalSettings, load


def discs(centres, radii, shape=(160, 200), low=60, high=190, noise=6.0) -> np.ndarray:
    rows, cols = np.mgrid[: shape[0], : shape[1]]
    picture = np.full(shape, float(low))
    for (x, y), r in zip(centres, radii, strict=True):
        picture[(cols - x) ** 2 + (rows - y) ** 2 <= r * r] = high
    return picture + np.random.default_rng(3).normal(0, noise, shape)


CENTRES, RADII = [(40, 40), (71, 40), (140, 60), (60, 115), (150, 120)], [18, 16, 22, 25, 12]


@pytest.mark.parametrize(("low", "high"), [(60, 190), (190, 60)])
def test_touching_discs_are_split_bright_or_dark(low: int, high: int) -> None:
    masks = ClassicalSegmenter().generate(Image(discs(CENTRES, RADII, low=low, high=high)))
    assert len(masks) == 5
    area = np.sort(masks.areas)
    np.testing.assert_allclose(area, np.sort(np.pi * np.square(RADII)), rtol=0.06)


def test_an_illumination_gradient_is_removed() -> None:
    slope = np.linspace(-90, 90, 200)[None, :]
    picture = Image(discs(CENTRES, RADII) + slope)
    assert len(ClassicalSegmenter().generate(picture)) == 5
    flat = ClassicalSegmenter(ClassicalSettings(flatten=False)).generate(picture)
    assert len(flat) != 5, "without flattening the gradient must defeat Otsu, or the test is idle"


def test_the_photograph_of_coins_gives_its_24_coins() -> None:
    # 24 coins are on the picture; the segmenter may miss or split a few on the dark side
    masks = Session("classical").propose(Image(data.coins()))
    assert 20 <= np.count_nonzero(masks.areas > 800) <= 26


def test_prompts_pick_regions() -> None:
    session, picture = Session("classical"), Image(discs(CENTRES, RADII))
    one = session.predict(picture, Prompt(points=((40, 40),)))
    assert one[0].area == pytest.approx(np.pi * 18**2, rel=0.06)
    assert one[1].area > 1.5 * one[0].area, "the second candidate takes the touching neighbour in"
    both = session.predict(picture, Prompt(points=((40, 40), (71, 40))))
    assert both[0].area == pytest.approx(np.pi * (18**2 + 16**2), rel=0.06)
    barred = session.predict(picture, Prompt(points=((40, 40), (71, 40)), labels=(1, 0)))
    assert len(barred) == 1
    box = session.predict(picture, Prompt(box=(115, 35, 165, 85)))
    assert box[0].area == pytest.approx(np.pi * 22**2, rel=0.06)
    sketch = np.zeros(picture.shape, bool)
    sketch[95:135, 40:80] = True
    assert session.predict(picture, Prompt(sketch=sketch))[0].centroid == pytest.approx(
        (60, 115), abs=1.5
    )
    assert len(session.predict(picture, Prompt(points=((195, 5),)))) == 0, "background"


def test_flat_and_tiny_pictures_give_no_masks() -> None:
    for picture in (np.zeros((20, 20)), np.full((1, 1), 7), np.ones((3, 200))):
        assert len(ClassicalSegmenter().generate(Image(picture))) == 0


def test_bad_settings() -> None:
    for bad in ({"polarity": "grey"}, {"h": -1}, {"min_area": 0}, {"smoothing": np.nan}):
        with pytest.raises(DataError):
            ClassicalSettings(**bad)
    with pytest.raises(ModelError):
        load("a.pth")


@pytest.mark.parametrize("seed", range(3))
def test_pure_noise_holds_no_particle_and_says_so(seed: int) -> None:
    noise = np.random.default_rng(seed).normal(60, 6, (256, 256)).clip(0, 255).astype(np.uint8)
    with pytest.warns(UserWarning, match="nothing but noise"):
        assert len(ClassicalSegmenter().generate(Image(noise))) == 0


def test_a_faint_disc_in_noise_is_still_looked_for() -> None:
    """One disc two noise widths brighter than the ground: no warning, and it is found."""
    picture = discs([(100, 80)], [30], low=60, high=72).clip(0, 255).astype(np.uint8)
    found = ClassicalSegmenter().generate(Image(picture))
    rows, cols = np.mgrid[:160, :200]
    truth = (cols - 100) ** 2 + (rows - 80) ** 2 <= 900
    assert max(np.mean(mask.full()[truth]) for mask in found) > 0.9
