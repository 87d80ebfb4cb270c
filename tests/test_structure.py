"""Axis, thickness, holes, grey values and box dimension against shapes of known ones."""

import math

import numpy as np
import pytest

from particle_nb import Calibration, Image, Mask, MaskSet, particle_structure

Y, X = np.mgrid[-110:111, -110:111].astype(float)


def turned(degrees: float) -> tuple[np.ndarray, np.ndarray]:
    """Coordinates along and across an axis, against the clock from x (y points down)."""
    c, s = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    return X * c - Y * s, X * s + Y * c


def one(full: np.ndarray, **options):
    return particle_structure(MaskSet((Mask.from_full(full),)), **options).iloc[0]


@pytest.mark.parametrize("degrees", [0, 17, 45, 90, 130, 179])
@pytest.mark.parametrize("width", [9, 16, 31])
def test_a_bar_has_its_direction_and_its_thickness(degrees: float, width: float) -> None:
    along, across = turned(degrees)
    # no pixel centre on its rim
    found = one((abs(along) < 90.2) & (abs(across - 0.13) < width / 2 + 0.01))
    apart = (found["orientation_deg"] - degrees + 90) % 180 - 90
    assert abs(apart) < 0.5
    # the rim of an oblique mask is a staircase, whose steps an inscribed disc does not enter
    assert width - 1.2 < found["thickness_max_px"] <= width + 0.6
    assert width - 2.2 < found["thickness_px"] <= width + 0.1
    truth = math.sqrt((180.4**2 + width**2) / 12)
    assert found["gyration_px"] == pytest.approx(truth, rel=0.01)


def test_two_thicknesses_are_averaged_by_their_area() -> None:
    full = np.zeros((60, 220), bool)
    full[10:40, 10:110] = True
    full[20:30, 110:210] = True
    found = one(full)
    assert found["thickness_max_px"] == 30
    assert found["thickness_px"] == pytest.approx((3000 * 30 + 1000 * 10) / 4000, rel=0.05)


def test_round_particles_have_no_axis() -> None:
    found = one(np.hypot(X, Y) < 40)
    assert math.isnan(found["orientation_deg"])
    assert found["thickness_px"] == pytest.approx(79, rel=0.04)
    assert found["gyration_px"] == pytest.approx(40 / math.sqrt(2), rel=0.01)


def test_holes_and_grey_values_in_their_units() -> None:
    far = np.hypot(X, Y)
    ring = (far < 40) & (far > 20)
    grey = np.where(X < 0, 100, 140).astype(np.uint8)
    image = Image(grey, Calibration(2.0, "nm"))
    found = one(ring, image=image)
    assert found["hole_area_nm2"] == pytest.approx(math.pi * 20**2 * 4, rel=0.03)
    assert found["thickness_nm"] == pytest.approx(2 * 20, rel=0.06)
    assert found["mean_grey"] == pytest.approx(120, abs=1)
    assert found["sd_grey"] == pytest.approx(20, abs=0.1)
    assert "mean_grey" not in one(ring)


def carpet(cells: list[list[int]], depth: int) -> np.ndarray:
    made = np.ones((1, 1), bool)
    for _ in range(depth):
        made = np.kron(np.array(cells, bool), made)
    return made


@pytest.mark.parametrize(
    ("cells", "dimension"),
    [
        ([[1, 1, 1], [1, 0, 1], [1, 1, 1]], math.log(8) / math.log(3)),
        ([[0, 1, 0], [1, 1, 1], [0, 1, 0]], math.log(5) / math.log(3)),
        ([[1, 0], [1, 1]], math.log(3) / math.log(2)),
        ([[1, 1], [1, 1]], 2.0),
        ([[1, 0], [0, 1]], 1.0),
    ],
)
def test_box_dimension_of_known_fractals(cells: list[list[int]], dimension: float) -> None:
    found = one(carpet(cells, 5 if len(cells) == 3 else 8))["box_dimension"]
    assert dimension - 0.12 < found < dimension + 0.03


def test_small_particles_have_no_box_dimension_and_no_masks_no_rows() -> None:
    assert math.isnan(one(np.hypot(X, Y) < 12)["box_dimension"])
    assert len(particle_structure(MaskSet((), (20, 30)))) == 0
