"""What is stated of Sq: coverage by simulation, ellipsoids by what they do to it, depth models."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import ndimage

from particle_nb.core.errors import DataError
from particle_nb.core.image import Calibration
from particle_nb.core.masks import Mask, MaskSet
from particle_nb.core.surface import (
    DepthErrors,
    DepthMap,
    PointCloud,
    RoughnessSettings,
    level,
    roughness,
    roughness_table,
)
from particle_nb.core.surface.uncertainty import radius_spread, sq_correlated

R = 1000.0


def rough_cap(
    axes: tuple[float, float, float], sq: float, length: float, rng: np.random.Generator
) -> PointCloud:
    """The upper 60 % of an ellipsoid with a rough surface, points 20 nm apart.

    The displacement is a sum of plane waves in space, of correlation exp(-d^2 / length^2), laid
    along the normal of the foot; gentle enough that points are taken where their feet are.
    """
    a, b, c = axes
    y, x = np.mgrid[-b : b + 1 : 20.0, -a : a + 1 : 20.0].reshape(2, -1)
    inside = (x / a) ** 2 + (y / b) ** 2 < 0.6
    x, y = x[inside], y[inside]
    z = c * np.sqrt(1 - (x / a) ** 2 - (y / b) ** 2)
    waves = rng.normal(size=(3, 200)) * math.sqrt(2) / length
    phase = rng.uniform(0, 2 * np.pi, 200)
    feet = np.stack([x, y, z], axis=1)
    height = sq * math.sqrt(2 / 200) * np.cos(feet @ waves + phase).sum(axis=1)
    normal = feet / np.array([a, b, c]) ** 2
    normal /= np.linalg.norm(normal, axis=1)[:, None]
    return PointCloud(feet + height[:, None] * normal)


@pytest.mark.parametrize("length", [60, 100, 150])
def test_twice_the_stated_uncertainty_holds_the_process(length: float) -> None:
    """Up to correlation lengths of 0.15 R: 95 of 100, of 60 particles at least 53."""
    rng = np.random.default_rng(length)
    found = [roughness(rough_cap((R, R, R), 15, length, rng), "sphere") for _ in range(60)]
    held = [abs(one.Sq - 15) < 2 * one.Sq_uncertainty for one in found]
    assert sum(held) >= 53
    # and it is no excuse: twice the scatter of the particles at most
    scatter = np.std([one.Sq for one in found], ddof=1)
    bias = abs(np.mean([one.Sq for one in found]) - 15)
    assert np.mean([one.Sq_uncertainty for one in found]) < 2 * math.hypot(scatter, bias)


def test_correlated_heights_scatter_as_theory_says() -> None:
    """Sq of patches of a Gaussian field: sqrt(I / 2A), I = 2 pi s^2 of a filter of s cells."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:100, :100].reshape(2, -1)
    stated, found = [], []
    for _ in range(60):
        field = ndimage.gaussian_filter(rng.normal(size=(160, 160)), 6)[30:130, 30:130].ravel()
        found.append(field.std())
        stated.append(sq_correlated(field, np.ones(x.size), y, x))
    scatter = np.std(found) / np.mean(found)
    assert scatter == pytest.approx(math.sqrt(2 * math.pi * 36 / 100**2 / 2), rel=0.3)
    assert np.mean(stated) / np.mean(found) == pytest.approx(scatter, rel=0.3)


def test_a_sphere_on_a_mild_ellipsoid_is_flagged_by_what_it_does() -> None:
    rng = np.random.default_rng(1)
    flagged, larger = {"sphere": 0, "egg": 0}, []
    for _ in range(12):
        egg = roughness(rough_cap((R, 0.95 * R, 0.95 * R), 15, 60, rng), "sphere")
        larger.append(egg.Sq)
        flagged["egg"] += any(f.startswith(("no sphere", "poor form fit")) for f in egg.flags)
        round_ = roughness(rough_cap((R, R, R), 15, 100, rng), "sphere")
        flagged["sphere"] += any(f.startswith("no sphere") for f in round_.flags)
    assert np.mean(larger) > 1.05 * 15
    assert flagged["egg"] >= 9
    assert flagged["sphere"] <= 2


def test_an_ellipsoids_radius_is_flagged_where_the_cap_leaves_it_open() -> None:
    """A rough cap: radii scatter by more than 10 %, and are said to; a smooth one fixes them."""
    rng = np.random.default_rng(2)
    rough = [rough_cap((R, 0.7 * R, 0.7 * R), 20, 60, rng) for _ in range(8)]
    found = [roughness(cloud, "ellipsoid") for cloud in rough]
    true = R * 0.7 ** (2 / 3)
    assert max(abs(one.radius / true - 1) for one in found) > 0.1
    for cloud, one in zip(rough, found, strict=True):
        if abs(one.radius / true - 1) > 0.2:
            assert any(flag.startswith("radius:") for flag in one.flags)
            assert radius_spread(level(cloud, "ellipsoid")) > 0.05
    smooth = roughness(rough_cap((R, 0.7 * R, 0.7 * R), 0.05, 60, rng), "ellipsoid")
    assert smooth.radius == pytest.approx(true, rel=0.02)
    assert not any(flag.startswith("radius:") for flag in smooth.flags)


def test_a_depth_models_own_error_is_in_the_uncertainty() -> None:
    """sqrt(u^2 + (error share times radius)^2), read off by size and by what came out."""
    y, x = np.mgrid[-80:81, -80:81]
    bumps = 0.6 * np.sin(x / 4.0) * np.sin(y / 4.0)
    dome = np.sqrt(np.maximum(60.3**2 - x**2 - y**2, 0)) + bumps * (x**2 + y**2 < 60.3**2)
    one = MaskSet((Mask.from_full(x**2 + y**2 < 60.3**2),))
    scale = Calibration(10, "nm")
    errors = DepthErrors(((60, 0.001, 0.004), (60, 0.02, 0.01), (240, 0.001, 0.002),
                          (240, 0.02, 0.006)), "by hand")  # fmt: skip
    plain = roughness_table(DepthMap(dome), one, scale, RoughnessSettings("sphere")).iloc[0]
    table = roughness_table(
        DepthMap(dome), one, scale, RoughnessSettings("sphere", depth_errors=errors)
    )
    row = table.iloc[0]
    share = row["Sq_nm"] / row["radius_nm"]
    half = [np.interp(share, [0.001, 0.02], ends) for ends in ([0.004, 0.01], [0.002, 0.006])]
    between = np.log(row["x_A_px"] / 60) / np.log(4)
    expected = (half[0] + between * (half[1] - half[0])) * row["radius_nm"]
    assert row["Sq_depth_uncertainty_nm"] == pytest.approx(expected)
    assert row["Sq_uncertainty_nm"] == pytest.approx(
        math.hypot(plain["Sq_uncertainty_nm"], expected)
    )
    assert math.isnan(plain["Sq_depth_uncertainty_nm"])
    assert "by hand" in table.attrs["Sq_uncertainty"]
    assert row["floor_Sq_nm"] == pytest.approx(errors.at(row["x_A_px"], 0.0) * row["radius_nm"])
    # no estimate is surer than a smoother one, and beyond the roughest it grows in proportion
    assert DepthErrors(((50, 0.01, 0.02), (50, 0.02, 0.01)), "").at(50, 0.02) == 0.02
    assert errors.at(60, 0.04) == pytest.approx(0.02)
    with pytest.raises(DataError, match="rows"):
        DepthErrors(((1.0, 2.0),), "")  # type: ignore[arg-type]
