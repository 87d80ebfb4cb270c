"""Silhouette roughness. The truth is an analytic outline, or the surface of a simulated sphere."""

import numpy as np
import pytest

from particle_nb.core.errors import DataError
from particle_nb.core.image import Calibration
from particle_nb.core.masks import Mask, MaskSet
from particle_nb.core.surface import contour_roughness
from particle_nb.core.surface.profile import (
    AREAL_RATIO,
    SHORTEST,
    contour_noise_floor,
    contour_profile,
)


def wavy(radius, amplitude, waves, half=None, ratio=1.0, tilt=0.0):
    """A mask of a circle or an ellipse with a sine along its outline."""
    half = half or int(1.15 * radius + amplitude) + 4
    y, x = np.mgrid[-half : half + 1, -half : half + 1] + 0.23
    u, v = x * np.cos(tilt) + y * np.sin(tilt), (y * np.cos(tilt) - x * np.sin(tilt)) / ratio
    return Mask.from_full(np.hypot(u, v) < radius + amplitude * np.sin(waves * np.arctan2(v, u)))


@pytest.mark.parametrize("amplitude", [1.0, 2.5])
@pytest.mark.parametrize("waves", [6, 15])
def test_a_sine_on_a_circle_is_measured(amplitude, waves):
    profile = contour_profile(wavy(120, amplitude, waves))
    assert profile.Rq == pytest.approx(amplitude / np.sqrt(2), rel=0.04)
    assert profile.Ra == pytest.approx(amplitude * 2 / np.pi, rel=0.04)
    assert profile.axes[0] == pytest.approx(120, rel=2e-3)


def test_a_smooth_ellipse_is_at_the_floor_and_its_axes_are_found():
    mask = wavy(110, 0, 1, ratio=0.6, tilt=0.4)
    profile = contour_profile(mask, "ellipse")
    floor, spread = contour_noise_floor(80)
    assert profile.Rq < floor + 4 * spread
    assert profile.axes == pytest.approx((110, 66), rel=3e-3)
    assert contour_profile(mask, "circle").Rq > 10  # the form left in


@pytest.mark.parametrize("amplitude", [0.3, 0.4])  # steep waves are longer along the contour
def test_smoothing_halves_the_stated_wavelength(amplitude):
    waves = round(2 * np.pi * 150 / SHORTEST)
    profile = contour_profile(wavy(150, amplitude, waves))
    x, y = (profile.points - profile.centre).T
    # only what keeps step with the wave: pixel noise does not
    seen = 2 * np.abs(np.mean(profile.residual * np.exp(1j * waves * np.arctan2(y, x))))
    assert seen / amplitude == pytest.approx(0.5, abs=0.05)


@pytest.mark.parametrize("radius", [12, 40, 90])
def test_floor_is_that_of_other_discs_of_the_size(radius):
    rng = np.random.default_rng(radius)
    found = []
    half = radius + 4
    y, x = np.mgrid[-half : half + 1, -half : half + 1]
    for dx, dy in rng.uniform(-0.5, 0.5, (20, 2)):
        found.append(contour_profile(Mask.from_full(np.hypot(x - dx, y - dy) < radius)).Rq)
    floor, spread = contour_noise_floor(radius, rng=99)
    assert np.mean(found) == pytest.approx(floor, abs=2 * spread)
    assert 0.05 < floor < 0.2


def test_table_of_several_particles():
    frame = np.zeros((420, 640), int)
    for label, (r, c, mask) in enumerate(
        [(10, 10, wavy(70, 0, 1)), (200, 20, wavy(70, 2, 12)), (30, 300, wavy(90, 0, 1))], start=1
    ):
        h, w = mask.crop.shape
        frame[r : r + h, c : c + w][mask.crop] = label
    frame[200:420, 600:640] = 4  # cut by the frame
    masks = MaskSet.from_labels(frame)
    table = contour_roughness(masks, Calibration(5, "nm"))
    assert table["particle"].tolist() == [0, 1, 2, 3]
    assert "not above the pixel noise" in table["flags"][0]
    assert table["flags"][1] == ""
    assert table["Rq_corrected_nm"][1] == pytest.approx(5 * 2 / np.sqrt(2), rel=0.05)
    assert table["Rq_corrected_nm"][0] < 0.3 * table["Rq_corrected_nm"][1]
    assert "touches the frame" in table["flags"][3]
    assert table["own_share"][3] < 0.9 or np.isnan(table["own_share"][3])
    assert "0.59 to 0.80" in table.attrs["note"]
    pixels = contour_roughness(masks)
    np.testing.assert_allclose(pixels["Rq_px"] * 5, table["Rq_nm"])


def test_contact_with_a_neighbour_is_left_out():
    y, x = np.mgrid[:260, :360]
    left = np.hypot(x - 120, y - 130) < 90
    right = (np.hypot(x - 270, y - 130) < 80) & ~left
    masks = MaskSet((Mask.from_full(left), Mask.from_full(right)))
    table = contour_roughness(masks)
    assert table["own_share"][1] < 0.85
    assert table["a_px"][1] == pytest.approx(80, rel=0.01)
    assert table["Rq_px"][1] < 0.25
    alone = contour_profile(masks[1])
    assert alone.Rq > 10 * table["Rq_px"][1]  # with the dent counted in


def test_silhouette_is_smoother_than_the_surface_by_the_stated_factor():
    # a Gaussian field around the rim of a sphere of radius 1: random waves, correlation 0.06
    rng = np.random.default_rng(0)
    length, sq, waves = 0.06, 0.02, 250
    ratios = []
    angle = np.linspace(0, 2 * np.pi, 360, endpoint=False)
    lift = np.linspace(-0.45, 0.45, 61)[:, None]
    for _ in range(3):
        k = rng.normal(0, np.sqrt(2) / length, (waves, 3)).astype(np.float32)
        phase = rng.uniform(0, 2 * np.pi, waves).astype(np.float32)
        p = np.stack(
            [np.cos(lift) * np.cos(angle), np.cos(lift) * np.sin(angle), np.sin(lift) + 0 * angle],
            axis=-1,
        ).astype(np.float32)
        field = np.zeros(p.shape[:2], np.float32)
        for one, shift in zip(k, phase, strict=True):
            field += np.cos(p @ one + shift)
        field *= np.sqrt(2 / waves) * sq
        outline = ((1 + field) * np.cos(lift)).max(axis=0)  # the outermost on each line of sight
        scale, half = 150, 190
        y, x = np.mgrid[-half : half + 1, -half : half + 1]
        edge = np.interp(np.arctan2(y, x) % (2 * np.pi), angle, outline, period=2 * np.pi)
        mask = Mask.from_full(np.hypot(x, y) < scale * edge)
        ratios.append(contour_profile(mask).Rq / (scale * field.std()))
    assert AREAL_RATIO[0] - 0.06 < np.mean(ratios) < AREAL_RATIO[1] + 0.06


@pytest.mark.parametrize(
    "call",
    [
        lambda: contour_profile(wavy(40, 0, 1), "square"),
        lambda: contour_roughness(wavy(40, 0, 1), form="square"),
        lambda: contour_roughness([1, 2]),  # type: ignore[arg-type]
        lambda: contour_profile("mask"),  # type: ignore[arg-type]
        lambda: contour_profile(Mask((0, 0), np.ones((2, 2), bool), (9, 9))),
        lambda: contour_profile(Mask((0, 0), np.ones((60, 60), bool), (60, 60))),
        lambda: contour_noise_floor(1),
    ],
)
def test_bad_input_is_named(call):
    with pytest.raises(DataError):
        call()
