"""Bodies of synthetic scenes against their equations, scipy's blur, and shadows known exactly."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import ndimage

from particle_nb.core.synthetic import Population, SceneSettings, Sizes, scene, smoothing
from particle_nb.core.synthetic._kernels import POLYHEDRON, VOXELS_PER_CORRELATION, displacement
from particle_nb.core.synthetic.detectors import topography
from particle_nb.core.synthetic.population import build, outline_areas
from particle_nb.core.synthetic.solids import Part, Raster, draw, noise_volume

NO_NOISE = np.zeros((3, 3, 3), np.float32)


def columns_of(crop: Raster) -> tuple[np.ndarray, np.ndarray]:
    """x and y of every pixel of a crop, seen from the particle's own origin."""
    rows, cols = np.indices(crop.top.shape)
    return cols - crop.centre[0], rows - crop.centre[1]


# primaries of agglomerates


@pytest.mark.parametrize("seed", range(3))
def test_shadow_of_a_primary_is_the_ellipse_of_its_quadric(seed: int) -> None:
    """Truth: x^T A x = 1 casts the ellipse of A's Schur complement, area pi / sqrt(det)."""
    population = Population("agglomerate", aspect=(0.25, 0.9), primaries=(30, 30))
    parts = build(population, 80.0, 1.0, NO_NOISE, np.random.default_rng(seed))
    for part, area in zip(parts, outline_areas(parts, NO_NOISE), strict=True):
        quadric = part.rotation.T @ np.diag(part.semi**-2.0) @ part.rotation
        seen = quadric[:2, :2] - np.outer(quadric[:2, 2], quadric[2, :2]) / quadric[2, 2]
        assert area == pytest.approx(math.pi / math.sqrt(np.linalg.det(seen)), rel=1e-9)
        assert area < math.pi * part.semi.max() ** 2 * (1 - 1e-4)  # squashed, not a sphere


def test_a_lone_primary_is_as_large_as_its_particle() -> None:
    """Truth: an agglomerate of one ellipsoid has the outline, and so the x_A, of the ellipsoid."""
    population = Population(
        "agglomerate", sizes=Sizes("lognormal", 300, 1.3), aspect=(0.3, 0.6), primaries=(1, 1)
    )
    made = scene(SceneSettings(shape=(256, 256), populations=(population,), count=12), 0)
    assert len(made.primary_truth) == len(made.truth) > 5
    assert made.primary_truth.x_A_nm.to_numpy() == pytest.approx(made.truth.size_nm, rel=1e-9)
    # from pixels alone: a count of N pixels is good to about sqrt(perimeter)
    assert made.primary_truth.x_A_nm.to_numpy() == pytest.approx(made.truth.x_A_nm, rel=0.02)


def test_irregular_primaries_have_the_area_that_is_drawn() -> None:
    volume = noise_volume(np.random.default_rng(0))
    population = Population("agglomerate", irregularity=0.1, primaries=(6, 6))
    parts = build(population, 120.0, 1.0, volume, np.random.default_rng(1))
    for part, area in zip(parts, outline_areas(parts, volume), strict=True):
        assert np.count_nonzero(draw([part], volume).inside) == pytest.approx(area, rel=0.01)


def test_every_primary_has_a_number_of_its_own() -> None:
    """Parts that nobody sees count as well, or the next particle's parts would share numbers."""
    population = Population("agglomerate", sizes=Sizes("mono", 300), primaries=(30, 40))
    population = Population(**{**population.__dict__, "compactness": 1.0})
    made = scene(SceneSettings(shape=(300, 300), populations=(population,), count=20), 1)
    assert made.primary_truth.part.is_unique
    owner = made.primary_truth.set_index("part").label
    labels = made.labels()
    seen = made.primaries > 0
    assert np.array_equal(owner.loc[made.primaries[seen]].to_numpy(), labels[seen])
    assert len(np.unique(made.primaries[seen])) < len(made.primary_truth)  # some are hidden


# rounded bodies


def soft_distance(part: Part, points: np.ndarray) -> np.ndarray:
    """Smooth maximum of the distances to a body's faces, in the order in which they are given."""
    local = points @ part.rotation.T
    if part.kind == POLYHEDRON:
        faces = local @ part.planes[:, :3].T - part.planes[:, 3]
    else:
        side = np.hypot(local[..., 0], local[..., 1]) - part.semi[0]
        faces = np.stack([side, np.abs(local[..., 2]) - part.semi[2]], axis=-1)
    found = faces[..., 0]
    for i in range(1, faces.shape[-1]):
        gap = np.maximum(part.rounding - np.abs(found - faces[..., i]), 0)
        found = np.maximum(found, faces[..., i]) + gap**2 / (4 * part.rounding)
    return found


@pytest.mark.parametrize("shape", ["cube", "polyhedron", "hexagon", "triangle", "rod"])
@pytest.mark.parametrize("rounding", [0.02, 0.15])
def test_rounded_bodies_lie_where_their_equation_puts_them(shape: str, rounding: float) -> None:
    """Truth: the equation itself; and every ray that is left out stays outside of the body."""
    population = Population(shape, rounding=rounding, flat=False, aspect=(0.4, 0.8))
    for seed in range(3):
        part = build(population, 36.0, 1.0, NO_NOISE, np.random.default_rng(seed))[0]
        crop = draw([part], NO_NOISE, (0.3, -0.2))
        x, y = columns_of(crop)
        on = crop.inside
        for heights in (crop.top, crop.bottom):
            z = heights[on] - crop.centre[2]
            off = soft_distance(part, np.stack([x[on], y[on], z], axis=-1))
            assert np.abs(off).max() < 2e-3
        out = np.stack([x[~on], y[~on]], axis=-1)
        z = np.arange(-40, 40, 0.05)
        rays = np.concatenate(
            [
                np.repeat(out[:, None], len(z), axis=1),
                np.broadcast_to(z[:, None], (len(out), len(z), 1)),
            ],
            axis=-1,
        )
        if len(out):
            assert soft_distance(part, rays).min() > -2e-3


# displaced bodies


@pytest.mark.parametrize(
    ("shape", "settings"),
    [
        ("blob", {"irregularity": 0.2}),
        ("sphere", {"sq_nm": 1.2, "correlation_nm": 6.0}),
        ("ellipsoid", {"sq_nm": 0.6, "correlation_nm": 7.0, "irregularity": 0.1}),
    ],
)
def test_displaced_bodies_hide_and_show_what_their_equation_says(
    shape: str, settings: dict[str, float]
) -> None:
    """Truth: rays sampled every 0.04 px through the surface's own equation, overhangs included."""
    volume = noise_volume(np.random.default_rng(3))
    population = Population(shape, flat=False, **settings)
    part = build(population, 30.0, 1.0, volume, np.random.default_rng(4))[0]
    crop = draw([part], volume)
    fields = part.fields.copy()
    used = fields[:, 0] > 0
    fields[used, 1] = VOXELS_PER_CORRELATION / fields[used, 1]
    x, y = columns_of(crop)
    z = np.arange(24, -24, -0.04)
    differ = tops = looked = 0
    # half of the pixels by the outline, on both sides of it, where overhangs are
    rim = ndimage.binary_dilation(crop.inside) & ~ndimage.binary_erosion(crop.inside, iterations=2)
    rows, cols = np.nonzero(rim)
    for row, col in list(zip(rows, cols, strict=True))[::2]:
        points = np.stack([np.full(len(z), x[row, col]), np.full(len(z), y[row, col]), z], axis=1)
        local = points @ part.rotation.T
        radius = np.sqrt(((local / part.semi) ** 2).sum(axis=1))
        near = np.abs(radius - 1) < 0.6
        foot = local / radius[:, None]
        moved = np.zeros(len(z))
        moved[near] = [sum(displacement(fields, volume, *p)) for p in foot[near]]
        steep = np.sqrt(((foot / part.semi**2) ** 2).sum(axis=1))
        inside = radius < 1 + steep * moved
        reach = (1 + steep * moved - radius)[near] if near.any() else np.array([-1.0])
        if abs(reach.max()) * part.semi.min() < 0.02:
            continue  # grazes the surface: either answer is right
        looked += 1
        if inside.any() != crop.inside[row, col]:
            differ += 1
        elif inside.any() and reach.max() * part.semi.min() > 0.1:
            top = z[np.argmax(inside)]
            tops += abs(top - (crop.top[row, col] - crop.centre[2])) > 0.25
    assert looked > 80
    assert differ == 0
    assert tops == 0


# what detectors are made of


@pytest.mark.parametrize("shape", [(64, 96), (5, 40), (33, 7)])
@pytest.mark.parametrize(
    "outside", [("edge", "nearest"), ("wrap", "wrap"), ("symmetric", "reflect")]
)
def test_blur_has_the_bits_of_scipy(shape: tuple[int, int], outside: tuple[str, str]) -> None:
    values = np.random.default_rng(0).standard_normal(shape, dtype=np.float32) * 40
    for sigma, truncate in ((0.3, 3.0), (1.0, 3.5), (2.5, 3.0), (4.0, 2.5)):
        expected = ndimage.gaussian_filter(values, sigma, mode=outside[1], truncate=truncate)
        np.testing.assert_allclose(
            smoothing.blur(values, sigma, truncate, outside[0]), expected, rtol=0, atol=1e-5
        )


def test_open_sky_of_a_wall_is_the_cosine_law() -> None:
    """Truth: a wall of height h at distance d hides 1 - 1 / (1 + (h / d)^2) of its direction."""
    height = np.zeros((40, 60), np.float32)
    height[:, 30:] = 8.0
    labels = (height > 0).astype(np.int32)
    gx, gy, sky, sx, sy = topography(height, labels, 10.0)  # strides 1, 2, 4 and 10 pixels
    assert not gx.any()
    assert not gy.any()  # the step is no slope of either surface
    straight = 1 / (1 + (8 / 4) ** 2)  # pixel 26 meets the wall at a stride of 4
    slanted = 1 / (1 + (8 / (4 * math.sqrt(2))) ** 2)
    assert sky[20, 26] == pytest.approx((5 + straight + 2 * slanted) / 8, rel=1e-5)
    open_side = straight - 1 + 2 * (slanted - 1) / math.sqrt(2)
    assert sx[20, 26] == pytest.approx(open_side / 4, rel=1e-5)
    assert sy[20, 26] == pytest.approx(0, abs=1e-6)
    assert (sky[:, 31:] == 1).all()
