"""Numbers of an outline. Truths: discs, squares, triangles, stadiums, in closed form."""

import csv
import math
from pathlib import Path

import numpy as np
import pytest

from particle_nb.core.image import Image
from particle_nb.core.learning import ShapeClassifier, particle_numbers
from particle_nb.core.learning._outline import NAMES, outline_numbers
from particle_nb.core.masks import Mask, MaskSet

Y, X = np.mgrid[-70:71, -70:71]
DISC = np.hypot(X, Y) <= 50
SQUARE = (np.abs(X) <= 40) & (np.abs(Y) <= 40)
TURNED = (np.abs(X + Y) <= 57) & (np.abs(X - Y) <= 57)
TRIANGLE = (Y <= 30) & (math.sqrt(3) * np.abs(X) - 60 <= Y)


def numbers(crop: np.ndarray) -> dict[str, float]:
    return dict(zip(NAMES, outline_numbers(Mask.from_full(crop)), strict=True))


def test_a_disc_has_no_corner() -> None:
    found = numbers(DISC)
    chord = 6 / 128
    assert found["corner_turn"] == pytest.approx(chord, abs=0.012)
    assert found["flat_share"] == found["concave_share"] == 0
    assert found["radius_sd"] == pytest.approx(0, abs=0.01)
    assert found["rectangle_fill"] == pytest.approx(math.pi / 4, abs=0.02)
    assert found["ellipse_misfit"] == pytest.approx(0, abs=0.01)
    assert found["moment_ratio"] == pytest.approx(1, abs=0.01)


@pytest.mark.parametrize("crop", [SQUARE, TURNED])
def test_a_square_has_four_however_it_lies(crop: np.ndarray) -> None:
    found = numbers(crop)
    assert found["four_corners"] == pytest.approx(1, abs=0.06)
    assert found["three_corners"] == pytest.approx(0.5, abs=0.04)
    assert found["more_corners"] == pytest.approx(0, abs=0.02)
    assert found["rectangle_fill"] == pytest.approx(1, abs=0.04)
    # its ellipse is a circle of radius a/sqrt(3), which leaves 0.194 of the square's area apart
    assert found["ellipse_misfit"] == pytest.approx(0.194, abs=0.01)
    # the root mean square of the distance of a square's edge from its middle, less its mean
    assert found["radius_sd"] == pytest.approx(0.11, abs=0.01)


def test_a_triangle_has_three() -> None:
    found = numbers(TRIANGLE)
    assert found["three_corners"] == pytest.approx(1, abs=0.05)
    assert found["rectangle_fill"] == pytest.approx(0.5, abs=0.03)
    assert found["flat_share"] == pytest.approx(1 - 3 * 12 / 128, abs=0.06)


def test_a_notch_is_seen() -> None:
    whole, notched = numbers(DISC), numbers(DISC & ~((np.abs(X) < 6) & (Y < -25)))
    assert whole["deepest_notch"] == 0
    assert notched["deepest_notch"] > 0.15
    assert notched["concave_share"] > 0.03


def test_the_ratio_of_moments_is_that_of_the_sides() -> None:
    assert numbers((np.abs(X) <= 60) & (np.abs(Y) <= 15))["moment_ratio"] == pytest.approx(
        31 / 121, rel=1e-6
    )


def test_where_grey_values_tell_the_classes_they_are_weighed_more() -> None:
    """All discs; half of them are rough inside."""
    rng = np.random.default_rng(0)
    side, count = 40, 80
    y, x = np.mgrid[:side, :side] - 19.5
    grey, masks, names = np.zeros((side, side * count)), [], []
    for place in range(count):
        disc = np.hypot(x, y * rng.uniform(0.7, 1)) <= rng.uniform(10, 16)
        rough = place % 2
        part = grey[:, place * side : (place + 1) * side]
        part[:] = rng.normal(0, 4, part.shape) + disc * (
            100 + rng.normal(0, 8 + 7 * rough, (side, side))
        )
        masks.append(Mask((0, place * side), disc, grey.shape))
        names.append("rough" if rough else "smooth")
    table = particle_numbers(Image(grey), MaskSet(tuple(masks), grey.shape))
    classes = ShapeClassifier(reject=0, novelty=0).fit(table, dict(enumerate(names[:20])))
    assert classes.scores().attrs["weights"] == {"outline": 1.0, "others": 1.0, "network": 1.0}
    told = classes.predict(table[20:])["class"].to_numpy()
    assert (told == names[20:]).mean() > 0.85


@pytest.mark.parametrize(
    ("one", "other"), [("pass_1", "pass_2"), ("pass_1", "pass_3"), ("pass_2", "pass_3")]
)
def test_the_named_particles_agree_as_the_card_says(one: str, other: str) -> None:
    folder = Path(__file__).parent / "data"
    with (folder / "emps_classes.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    first, second = (np.array([row[name] for row in rows]) for name in (one, other))
    kinds = np.unique([first, second])
    shares = [(first == kind).mean() * (second == kind).mean() for kind in kinds]
    same = (first == second).mean()
    kappa = (same - sum(shares)) / (1 - sum(shares))
    card = " ".join((folder / "emps_classes.md").read_text().split())
    told = card[card.index(f"`{one}` with `{other}`") :]
    assert len(rows) == len({(row["image"], row["label"]) for row in rows}) == 600
    assert f"{np.count_nonzero(first == second)} of 600 alike" in told[:200]
    assert f"kappa {kappa:.3f}" in told[:250]
    assert all(f"| {kind} |" in card for kind in kinds)


def test_what_is_scored_was_named_alike_in_all_passes() -> None:
    folder = Path(__file__).parent / "data"
    with (folder / "emps_classes.csv").open() as stream:
        rows = [[row[f"pass_{i}"] for i in (1, 2, 3)] for row in csv.DictReader(stream)]
    alike = [names[0] for names in rows if len(set(names)) == 1]
    shapes = {"sphere", "oval", "rod", "cube", "faceted", "irregular"}
    card = " ".join((folder / "emps_classes.md").read_text().split())
    assert f"Only the {len(alike)} particles that all three passes" in card
    assert f"({sum(name in shapes for name in alike)} of the six shapes)" in card
