"""Compiled passes against array operations and against numpy's own medians and determinants.

What a form fit must swallow is projected here, independently of the fit: random fields on the
sphere, freed of the functions that moving the form's parameters adds to them.
"""

import numpy as np
import pytest
from oracles import heights
from oracles import residuals as residuals_numpy
from test_roughness import R, cap, rough_sphere

from particle_nb.core.errors import DataError
from particle_nb.core.image import Calibration
from particle_nb.core.masks import Mask
from particle_nb.core.surface import (
    DepthMap,
    PointCloud,
    areal,
    areal_parameters,
    levelling,
    point_cloud,
    roughness,
)
from particle_nb.core.surface import cloud as cloud_module
from particle_nb.core.surface._kernels import STEEPEST
from particle_nb.core.surface.cloud import assembled
from particle_nb.core.surface.forms import EllipsoidForm, PolynomialForm, SphereForm
from particle_nb.core.surface.levelling import Grid, areas, grid_of, residuals, spikes

FORMS = [
    SphereForm(30.0, -20.0, 10.0, 990.0),
    SphereForm(0.0, 0.0, 2000.0, 1010.0, -1.0),
    EllipsoidForm(
        np.array([10.0, 5.0, -30.0]),
        np.linalg.cholesky(np.array([[1, 0.1, 0], [0.1, 1.4, 0.2], [0, 0.2, 0.9]])) / 1000,
    ),
    PolynomialForm(2, (3.0, 4.0), 900.0, np.array([900, 20, -30, -300, 10, -250.0])),
    PolynomialForm(5, (3.0, 4.0), 900.0, np.linspace(-80, 90, 21)),
]


def gridded(cloud: PointCloud) -> Grid:
    found = grid_of(cloud)
    assert found is not None
    return found


def ragged(dtype=np.float64):
    """A rough cap with a hole and some wild points, none at the origin."""
    points = np.array(cap(rough_sphere(30, 60, seed=11, pixel=12.0)[0]).xyz)
    points = points[np.hypot(points[:, 0] - 200, points[:, 1]) > 90] + [7000, 300, 0]
    rng = np.random.default_rng(1)
    wild = rng.random(len(points)) < 0.1
    points[wild, 2] += rng.uniform(-300, 300, wild.sum())
    return PointCloud(points.astype(dtype))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("form", FORMS, ids=lambda form: form.name)
def test_residuals_are_those_of_the_form(form, dtype):
    cloud = ragged(dtype)
    corner = cloud.xyz[0, :2].astype(float)
    unit = 1 / cloud.pitch
    distance, nx, ny, up = form.residual(*cloud.xyz.astype(float).T)
    found, found_up, foot = residuals(cloud, form)
    assert {found.dtype, found_up.dtype, foot.dtype} == {np.dtype(np.float32)}
    np.testing.assert_allclose(found, distance, rtol=1e-6, atol=1e-6 * np.ptp(distance))
    np.testing.assert_allclose(found_up, up, rtol=1e-6)
    where = (cloud.xyz[:, :2] - np.stack([nx, ny], axis=1) * distance[:, None] - corner) * unit
    np.testing.assert_allclose(foot, where, atol=1e-4)
    for ours, plain in zip(
        (found, found_up, foot),
        residuals_numpy.residuals(cloud.xyz, form, corner, unit),
        strict=True,
    ):
        np.testing.assert_allclose(ours, plain, rtol=3e-7, atol=3e-5)


def test_the_grid_holds_every_point_in_its_cell():
    cloud = ragged()
    grid, (rows, cols, shape) = gridded(cloud), cloud.grid_index()
    assert grid.index.shape == (shape[0] + 4, shape[1] + 4)
    np.testing.assert_array_equal(grid.index[rows + 2, cols + 2], np.arange(len(cloud)))
    assert (grid.index >= 0).sum() == len(cloud)
    place, index = residuals_numpy.places(rows, cols, grid.index.shape, 2)
    np.testing.assert_array_equal(grid.place, place)
    np.testing.assert_array_equal(grid.index, index)
    assert grid_of(PointCloud(np.random.default_rng(0).random((99, 3)))) is None
    with pytest.raises(DataError, match="pixel size"):
        grid_of(PointCloud(np.eye(3) * 1e6, pixel_size=1.0))


def test_the_order_of_the_points_does_not_matter():
    rows, cols = np.mgrid[-6:7, -9:10].reshape(2, -1)
    points = np.stack([2.0 * cols, 2.0 * rows, np.hypot(rows, cols)], axis=1)
    order = np.random.default_rng(3).permutation(len(points))
    plain, mixed = (grid_of(PointCloud(p, pixel_size=2.0)) for p in (points, points[order]))
    assert mixed.index.shape == plain.index.shape
    assert np.array_equal(mixed.place, plain.place[order])


def test_spikes_are_told_by_the_median_of_the_neighbours():
    cloud = ragged()
    grid, (rows, cols, shape) = gridded(cloud), cloud.grid_index()
    residual = residuals(cloud, SphereForm(7000.0, 300.0, 0.0, 1000.0))[0]
    suspects = np.flatnonzero(np.abs(residual) > 60)
    frame = np.full((shape[0] + 4, shape[1] + 4), np.nan)
    frame[rows + 2, cols + 2] = residual
    truth = []
    for point in suspects:
        around = frame[rows[point] : rows[point] + 5, cols[point] : cols[point] + 5].copy()
        around[2, 2] = np.nan
        middle = np.nanmedian(around)
        spread = 1.4826 * np.nanmedian(np.abs(around - middle))
        truth.append(abs(residual[point] - middle) > max(4.5 * spread, 70))
    assert 0.1 < np.mean(truth) < 0.9
    np.testing.assert_array_equal(spikes(grid, residual, suspects, 4.5, 70), truth)
    plain = residuals_numpy.spikes(grid.index, grid.place, residual, suspects, 4.5, 70)
    np.testing.assert_array_equal(plain, truth)


@pytest.mark.parametrize("neighbours", range(25))
def test_any_number_of_neighbours_has_its_median(neighbours):
    # even and odd counts, and a rim of exactly half: those where two middle values count
    rng = np.random.default_rng(neighbours)
    y, x = np.mgrid[:5, :5].reshape(2, -1)
    order = np.array([k for k in range(25) if k != 12])
    keep = np.sort(np.concatenate([rng.permutation(order)[:neighbours], [0, 12, 24]]))
    keep = np.unique(keep)
    cloud = PointCloud(np.stack([x, y, 0.0 * x], axis=1)[keep], pixel_size=1)
    centre = np.flatnonzero(keep == 12)
    for _ in range(40):
        residual = rng.normal(size=keep.size).astype(np.float32)
        residual[centre] = rng.uniform(1, 8)
        others = np.delete(residual, centre)
        middle = np.median(others)
        spread = 1.4826 * np.median(np.abs(others - middle))
        truth = np.abs(residual[centre] - middle) > max(4.5 * spread, 0.5)
        np.testing.assert_array_equal(spikes(gridded(cloud), residual, centre, 4.5, 0.5), truth)


def test_areas_are_those_that_the_feet_span():
    cloud = ragged()
    grid = gridded(cloud)
    _, up, foot = residuals(cloud, SphereForm(7000.0, 300.0, 0.0, 1000.0))
    kept = np.random.default_rng(3).random(len(cloud)) < 0.8
    plain = residuals_numpy.areas(
        np.where(np.isin(grid.index, np.flatnonzero(kept)), grid.index, -1),
        grid.place,
        foot,
        up.copy(),
        0.05,
    )
    found = areas(grid, foot, up, kept)
    np.testing.assert_allclose(found, plain, rtol=1e-6)
    # a sheared and stretched sheet: the determinant, wherever a point has neighbours
    y, x = np.mgrid[:20, :30].reshape(2, -1)
    sheet = np.stack([1.5 * x + 0.2 * y, 0.1 * x + 0.7 * y], axis=1).astype(np.float32)
    flat = PointCloud(np.stack([x, y, 0.0 * x], axis=1), pixel_size=1)
    every = np.ones(x.size, bool)
    found = areas(gridded(flat), sheet, np.full(x.size, 0.5, np.float32), every)
    np.testing.assert_allclose(found, (1.5 * 0.7 - 0.2 * 0.1) / 0.5, rtol=1e-5)


def test_marked_heights_count_as_if_they_were_alone():
    rng = np.random.default_rng(5)
    heights, area = rng.normal(2, 3, 100_001), rng.random(100_001)
    heights[::777] = np.nan
    kept = rng.random(heights.size) < 0.9
    marked, alone = (
        areal_parameters(heights, area, kept),
        areal_parameters(heights[kept], area[kept]),
    )
    assert marked == pytest.approx(alone, rel=1e-12)
    good = kept & np.isfinite(heights)
    mean = np.average(heights[good], weights=area[good])
    assert marked["Sq"] == pytest.approx(
        np.sqrt(np.average((heights[good] - mean) ** 2, weights=area[good])), rel=1e-12
    )
    assert marked["Sz"] == np.ptp(heights[good])
    with pytest.raises(DataError, match="marks"):
        areal_parameters(heights, None, kept[1:])


def test_points_are_put_together_row_by_row():
    rng = np.random.default_rng(6)
    inside = rng.random((40, 30)) < 0.5
    inside[7:11] = False  # whole rows without a pixel
    z = rng.random((40, 30)).astype(np.float32)
    points = assembled(np.flatnonzero(inside).astype(np.int32), z[inside], 0.3, 30, (5, 9), 2.5)
    rows, cols = np.nonzero(inside & (z >= 0.3))
    np.testing.assert_array_equal(points[:, 0], (cols + 9) * 2.5)
    np.testing.assert_array_equal(points[:, 1], (rows + 5) * 2.5)
    np.testing.assert_array_equal(points[:, 2], z[rows, cols])


def without_the_compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    """Put the array operations of the oracles in the place of every compiled pass."""

    def grid_of_arrays(cloud):
        rows, cols, (height, width) = cloud.grid_index()
        margin = levelling.MARGIN
        shape = height + 2 * margin, width + 2 * margin
        return Grid(*residuals_numpy.places(rows, cols, shape, margin))

    def in_array_operations(index, z, least, width, row, col, pixel):
        keep = z >= least
        rows, cols = np.divmod(index[keep], np.int32(width))
        stacked = [(cols + col) * pixel, (rows + row) * pixel, z[keep]]
        return np.stack(stacked, axis=1).astype(np.float32)

    passes = {
        "grid_of": grid_of_arrays,
        "residuals": lambda cloud, form: residuals_numpy.residuals(
            cloud.xyz, form, cloud.xyz[0, :2].astype(np.float64), 1 / cloud.pitch
        ),
        "spikes": lambda grid, *rest: residuals_numpy.spikes(grid.index, grid.place, *rest),
        "_areas": lambda index, place, foot, up: np.copyto(
            up, residuals_numpy.areas(index, place, foot, up, STEEPEST)
        ),
    }
    for name, instead in passes.items():
        monkeypatch.setattr(levelling, name, instead)
    monkeypatch.setattr(areal, "_first_moments", heights._block_firsts)
    monkeypatch.setattr(areal, "_central_moments", heights._block_centrals)
    monkeypatch.setattr(cloud_module, "_assemble", in_array_operations)


def test_without_the_compiler_the_numbers_are_the_same(monkeypatch):
    rng = np.random.default_rng(0)
    y, x = np.mgrid[-90:91, -90:91]
    up = np.sqrt(np.maximum(80.3**2 - x**2 - y**2, 0))
    wild = np.where(rng.random(up.shape) < 0.1, rng.uniform(-40, 40, up.shape), 0)
    depth = DepthMap(up + rng.normal(0, 1, up.shape) + wild)

    def numbers():
        cloud = point_cloud(depth, Mask.from_full(up > 0), Calibration(10, "nm"))
        found = [
            roughness(cloud, form=form).to_dict()
            for form in ("none", "sphere", "ellipsoid", "polynomial-3")
        ]
        return [{k: v for k, v in one.items() if isinstance(v, float)} for one in found]

    results = [numbers()]
    without_the_compiler(monkeypatch)
    results.append(numbers())
    assert len(results[0]) == 4
    for compiled, plain in zip(*results, strict=True):
        assert compiled == pytest.approx(plain, rel=1e-6, nan_ok=True)


def left_by_least_squares(points, form):
    """Share of Sq that is left when the functions of a form's parameters are projected out."""
    distance = np.linalg.norm(points, axis=1)
    x, y, z = (points / distance[:, None]).T
    functions = [np.ones_like(x), x, y, z]
    if form == "ellipsoid":
        functions += [x * y, x * z, y * z, x * x - y * y, z * z]
    weight = 1 / np.sqrt(z)  # root of the area
    basis = np.linalg.qr(np.stack(functions, axis=1) * weight[:, None])[0]
    height = (distance - R) * weight
    mean = weight / np.linalg.norm(weight)
    whole = height - mean * (mean @ height)
    return np.linalg.norm(height - basis @ (basis.T @ height)) / np.linalg.norm(whole)


@pytest.mark.parametrize(("form", "expected"), [("sphere", 0.958), ("ellipsoid", 0.909)])
def test_a_fit_takes_the_long_waves_that_any_fit_must(form, expected):
    # gentle slopes, so that nothing is hidden and the cut through the heights takes little
    shares, excess = [], []
    for seed in range(12):
        points, truth = rough_sphere(12, 150, 300 + seed, 9.0)
        cloud = cap(points)
        left = left_by_least_squares(cloud.xyz, form)
        shares.append(left)
        excess.append(roughness(cloud, form=form).Sq / truth / left - 1)
    assert np.mean(shares) == pytest.approx(expected, abs=0.025)  # of 12 particles
    assert np.abs(excess).max() < 0.03
    assert abs(np.mean(excess)) < 0.015


@pytest.mark.parametrize("degree", [4, 6])
def test_a_flag_says_when_long_waves_went_with_a_polynomial(degree):
    """Truth: the Sq of the heights that were added, area-weighted; roughness() states -17 % for
    degree 4 at this correlation length, and next to nothing at 0.03 R."""
    lost, said = {150: [], 30: []}, {150: [], 30: []}
    for length, seed in [(length, seed) for length in lost for seed in range(4)]:
        points, truth = rough_sphere(12, length, 300 + seed, 12.0)
        found = roughness(cap(points), form=f"polynomial-{degree}")
        flags = [flag for flag in found.flags if flag.startswith("long waves")]
        lost[length].append(1 - found.Sq / truth)
        said[length] += [float(flag.split("about ")[1].split(" %")[0]) / 100 for flag in flags]
    assert len(said[150]) == 4
    assert 0.5 * np.mean(lost[150]) < np.mean(said[150]) < 1.2 * np.mean(lost[150])
    assert not said[30]


def test_a_flag_says_when_long_waves_went_with_the_form():
    said = {150: 0, 40: 0}
    for length, seed in [(length, seed) for length in said for seed in range(1000, 1006)]:
        found = roughness(cap(rough_sphere(12, length, seed, 9.0)[0]), form="ellipsoid")
        # the share that `form_error` tells of: eight modes gone, six there
        gone = 100 * (1 - 1 / np.sqrt(1 + 8 / 6 * (found.form_error / found.Sq) ** 2))
        flags = [flag for flag in found.flags if flag.startswith("long waves")]
        assert len(flags) == (gone > 5)
        assert all(f"about {gone:.0f} %" in flag for flag in flags)
        said[length] += len(flags)
    assert said[150] >= 4
    assert said[40] == 0
