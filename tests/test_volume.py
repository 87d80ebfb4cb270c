"""Volumes: analytic media, exact laminates, slow counts, and other programs where installed."""

import itertools
import json
import math
import pickle
import re
import sys

import numpy as np
import pytest
import tifffile
from scipy import integrate, ndimage

import particle_nb as pnb
from particle_nb import exports
from particle_nb.core.image import CalibrationWarning
from particle_nb.core.volume import (
    ConvergenceWarning,
    MicrostructureSettings,
    TransportSettings,
    chord_lengths,
    connectivity,
    diffusivity,
    diffusivity_interval,
    interface_areas,
    lineal_path,
    representativity,
    two_point,
)
from particle_nb.core.volume.interfaces import _SHARES, STEPS

RADIUS, DENSITY = 8.0, 0.35  # eta = rho 4/3 pi R^3 of overlapping spheres


@pytest.fixture(scope="module")
def spheres() -> pnb.Volume:
    """Overlapping spheres in a box that repeats: 0 the matrix, 1 the spheres."""
    n, rng = 96, np.random.default_rng(3)
    volume = 4 / 3 * math.pi * RADIUS**3
    count = round(DENSITY * n**3 / volume)
    inside = np.zeros((n, n, n), bool)
    reach = np.arange(-math.ceil(RADIUS), math.ceil(RADIUS) + 1)
    centres = rng.uniform(0, n, (count, 3))
    for centre in centres:
        base = np.floor(centre).astype(int)
        offsets = [(reach + b + 0.5 - c) ** 2 for b, c in zip(base, centre, strict=True)]
        ball = offsets[0][:, None, None] + offsets[1][:, None] + offsets[2] <= RADIUS**2
        inside[np.ix_(*[(reach + b) % n for b in base])] |= ball
    scale, names = pnb.Calibration(0.5, "um"), ("matrix", "spheres")
    return pnb.Volume(inside.astype(np.uint8), scale, names, {"centres": centres})


def curve(table, name, direction, column):
    mine = table[(table["name"] == name) & (table["direction"] == direction)]
    return mine.iloc[:, 3].to_numpy(), mine[column].to_numpy()


# ------------------------------------------------------------------- overlapping spheres, analytic


def test_two_point_of_overlapping_spheres(spheres) -> None:
    table = two_point(spheres, periodic=True, longest=30)
    lag, found = curve(table, "matrix", "isotropic", "S2")
    # union of two spheres at distance r (Torquato 2002, eq. 5.14)
    x = np.minimum(lag / 0.5 / (2 * RADIUS), 1)
    truth = np.exp(-DENSITY * (1 + 1.5 * x - 0.5 * x**3))
    assert found[0] == pytest.approx(spheres.fractions["matrix"], abs=1e-9)
    assert np.abs(found - truth).max() < 0.012


def test_lineal_path_of_overlapping_spheres(spheres) -> None:
    table = lineal_path(spheres, periodic=True, longest=30)
    length, found = curve(table, "matrix", "mean", "probability")
    truth = np.exp(-DENSITY * (1 + 0.75 * length / 0.5 / RADIUS))
    assert np.abs(found - truth).max() < 0.015


def test_surface_of_overlapping_spheres(spheres) -> None:
    settings = MicrostructureSettings("", TransportSettings(periodic=True))
    row = pnb.microstructure(spheres, settings).loc[0]
    # of these very spheres: the share of points on each that no other one covers
    n, centres = spheres.shape[0], spheres.info["centres"]
    points = np.random.default_rng(0).normal(size=(300, 3))
    points *= RADIUS / np.linalg.norm(points, axis=1, keepdims=True)
    free = 0
    for place, centre in enumerate(centres):
        apart = (centre + points)[:, None] - np.delete(centres, place, axis=0)
        apart -= n * np.rint(apart / n)
        free += ((apart**2).sum(axis=2) > RADIUS**2).all(axis=1).sum()
    truth = free / len(points) * 4 * math.pi * RADIUS**2 / n**3 / 0.5
    # the grooves where spheres meet are narrower than a voxel at their end: 2.4 % are lost
    assert row["specific_surface_per_um"] == pytest.approx(truth, rel=0.03)
    expected = 3 * DENSITY / (RADIUS * 0.5) * math.exp(-DENSITY)
    assert row["specific_surface_per_um_low"] < expected < row["specific_surface_per_um_high"]
    # voxel faces are half as many again, which is why they are not the answer
    assert row["voxel_faces_per_um"] == pytest.approx(1.5 * truth, rel=0.03)
    # chords of the matrix are exponential with the mean 4 R / (3 eta)
    assert row["mean_chord_um"] == pytest.approx(4 * RADIUS * 0.5 / (3 * DENSITY), rel=0.08)


def test_one_ball_has_its_surface() -> None:
    n, r = 64, 22.3
    grid = np.indices((n, n, n)) - 31.7
    ball = (grid**2).sum(axis=0) <= r * r
    table = interface_areas(ball)
    area = table["area_per_volume_per_px"][0] * n**3
    # pairs near the frame see nothing, which the estimate takes for missing: (1 - 1/64) a pair
    assert area == pytest.approx(4 * math.pi * r * r, rel=0.03)


# -------------------------------------------------------------------------- exact diffusion


def layers(n: int, thick: int) -> np.ndarray:
    return (np.indices((n, n, n))[0] // thick % 2).astype(np.uint8)


@pytest.mark.parametrize("n", [12, 17])
def test_laminates_conduct_in_parallel_and_in_series(n: int) -> None:
    labels = layers(n, 2)
    share = labels.mean()
    d = {0: 1.0, 1: 7.0}
    along = share * 7 + (1 - share) * 1
    across = 1 / (share / 7 + (1 - share) / 1)
    assert diffusivity(labels, d, "x").effective == pytest.approx(along, rel=1e-6)
    assert diffusivity(labels, d, "z").effective == pytest.approx(across, rel=1e-4)
    assert math.isnan(diffusivity(labels, d, "z").tortuosity_factor)
    alone = diffusivity(labels, 1, "y")
    assert (alone.effective, alone.tortuosity_factor) == pytest.approx((share, 1.0), rel=1e-6)


def test_a_uniform_volume_and_one_that_does_not_percolate() -> None:
    one = diffusivity(np.zeros((5, 4, 3), int), 0)
    assert (one.effective, one.tortuosity_factor) == pytest.approx((1, 1), rel=1e-12)
    assert one.flag == ""
    board = np.indices((6, 6, 6)).sum(axis=0) % 2
    for phase, axis in itertools.product((0, 1), "zyx"):
        found = diffusivity(board, phase, axis)
        assert (found.effective, found.tortuosity_factor) == (0.0, math.inf)
        assert found.flag == "does not percolate"
    absent = diffusivity(pnb.Volume(board, names={0: "a", 1: "b", 2: "c"}), "c")
    assert (absent.flag, absent.effective) == ("absent", 0.0)


def test_a_bent_channel_is_as_long_as_its_resistors() -> None:
    # one voxel wide: five voxels down, six across, four down; 14 links and two halves at the ends
    labels = np.zeros((9, 8, 3), int)
    labels[:5, 0, 1] = labels[4, :7, 1] = labels[4:, 6, 1] = 1
    resistance = 4 + 6 + 4 + 2 * 0.5
    found = diffusivity(labels, 1, "z", TransportSettings(tolerance=1e-7))
    assert found.effective == pytest.approx(9 / (resistance * 24), rel=1e-7)


def dense_diffusion(labels: np.ndarray, d: dict, periodic: bool) -> float:
    """The same equations by a dense solve."""
    values = np.array([d.get(k, 0.0) for k in range(labels.max() + 1)])[labels]
    number = {tuple(p): i for i, p in enumerate(np.argwhere(values > 0))}
    a, b = np.zeros((len(number), len(number))), np.zeros(len(number))
    for p, i in number.items():
        for axis in range(3):
            q = list(p)
            q[axis] += 1
            if q[axis] == labels.shape[axis]:
                if not periodic or axis == 0:
                    continue
                q[axis] = 0
            j = number.get(tuple(q))
            if j is not None and j != i:
                c = 2 * values[p] * values[tuple(q)] / (values[p] + values[tuple(q)])
                a[i, i] += c
                a[j, j] += c
                a[i, j] -= c
                a[j, i] -= c
        for end, c in ((0, 1.0), (labels.shape[0] - 1, 0.0)):
            if p[0] == end:
                a[i, i] += 2 * values[p]
                b[i] += 2 * values[p] * c
    x = np.linalg.lstsq(a, b, rcond=None)[0]
    flux = sum(2 * values[p] * (1 - x[i]) for p, i in number.items() if p[0] == 0)
    return flux * labels.shape[0] / (labels.shape[1] * labels.shape[2])


@pytest.mark.parametrize("periodic", [False, True])
@pytest.mark.parametrize("shape", [(7, 8, 9), (9, 2, 5), (6, 6, 1)])
def test_the_solver_agrees_with_a_dense_one(shape, periodic) -> None:
    labels = np.random.default_rng(5).choice(3, shape, p=[0.3, 0.4, 0.3])
    d = {1: 1.0, 2: 0.02}
    settings = TransportSettings(tolerance=1e-7, periodic=periodic)
    truth = dense_diffusion(labels, d, periodic)
    assert truth > 0.01
    found = diffusivity(labels, d, "z", settings)
    assert found.effective == pytest.approx(truth, rel=1e-6)
    assert 0 <= found.imbalance <= 1e-7
    assert found.iterations > 1


def test_every_axis_is_the_first_one_turned(spheres) -> None:
    part = spheres.labels[:24, :30, :20]
    for axis, turn in (("y", (1, 0, 2)), ("x", (2, 1, 0))):
        one, other = diffusivity(part, 0, axis), diffusivity(part.transpose(turn), 0, "z")
        assert one.effective == pytest.approx(other.effective, rel=1e-4)


def test_too_few_iterations_give_no_number(spheres) -> None:
    with pytest.warns(ConvergenceWarning, match="did not converge"):
        found = diffusivity(spheres, 1, "z", TransportSettings(1e-9, max_iterations=2))
    assert math.isnan(found.effective)
    assert math.isnan(found.tortuosity_factor)
    assert found.flag == "not converged"


# ------------------------------------------------------------------------- counts by hand


def slow_two_point(inside: np.ndarray, lag: tuple, periodic: bool) -> float:
    if periodic:
        return float((inside & np.roll(inside, [-v for v in lag], range(inside.ndim))).mean())
    here = tuple(slice(max(0, -v), n - max(0, v)) for v, n in zip(lag, inside.shape, strict=True))
    there = tuple(slice(max(0, v), n - max(0, -v)) for v, n in zip(lag, inside.shape, strict=True))
    return float((inside[here] & inside[there]).mean())


@pytest.mark.parametrize("periodic", [False, True])
@pytest.mark.parametrize("shape", [(9, 10, 12), (11, 13)])
def test_two_point_is_the_count_of_pairs(shape, periodic) -> None:
    labels = np.random.default_rng(1).integers(0, 3, shape)
    table = two_point(labels, periodic=periodic, longest=4)
    for phase, (axis, name) in itertools.product(range(3), enumerate("zyx"[-len(shape) :])):
        _, found = curve(table, f"phase {phase}", name, "S2")
        for k in range(5):
            lag = tuple(k if a == axis else 0 for a in range(len(shape)))
            truth = slow_two_point(labels == phase, lag, periodic)
            assert found[k] == pytest.approx(truth, abs=1e-12)
    # the shell of radius 1 holds the lags of length 1 and root 2 (and no others below 1.5)
    total = hits = 0.0
    for lag in itertools.product((-1, 0, 1), repeat=len(shape)):
        if 0 < sum(v * v for v in lag) <= 2:
            pairs = math.prod(
                n if periodic else n - abs(v) for v, n in zip(lag, shape, strict=True)
            )
            total += pairs
            hits += pairs * slow_two_point(labels == 1, lag, periodic)
    _, found = curve(table, "phase 1", "isotropic", "S2")
    assert found[1] == pytest.approx(hits / total, abs=1e-12)


def test_single_precision_is_close_to_double(monkeypatch, spheres) -> None:
    from particle_nb.core.volume import correlation

    exact = two_point(spheres, longest=20)["S2"]
    monkeypatch.setattr(correlation, "_SINGLE", 0)
    assert np.abs(two_point(spheres, longest=20)["S2"] - exact).max() < 2e-6


def test_the_slope_of_s2_is_the_fraction_over_the_mean_chord(spheres) -> None:
    settings = MicrostructureSettings("", TransportSettings(periodic=True))
    row = pnb.microstructure(spheres, settings).loc[1]
    table = two_point(spheres, periodic=True, longest=2)
    for axis in "zyx":
        lag, found = curve(table, "spheres", axis, "S2")
        slope = (found[0] - found[1]) / lag[1]
        assert row["fraction"] / row[f"mean_chord_{axis}_um"] == pytest.approx(slope, rel=1e-9)


@pytest.mark.parametrize("periodic", [False, True])
def test_lineal_path_and_chords_are_the_count_of_runs(periodic) -> None:
    labels = np.random.default_rng(2).integers(0, 2, (6, 7, 8))
    table = lineal_path(labels, periodic=periodic, longest=3)
    for axis, name in enumerate("zyx"):
        _, found = curve(table, "phase 1", name, "probability")
        lines = np.moveaxis(labels, axis, -1).reshape(-1, labels.shape[axis])
        lines = np.hstack([lines, lines]) if periodic else lines
        n = labels.shape[axis]
        for k in range(4):
            starts = range(n if periodic else n - k)
            truth = np.mean([[line[s : s + k + 1].all() for s in starts] for line in lines])
            assert found[k] == pytest.approx(truth)
    chords = chord_lengths(np.array([[[0, 1, 1, 0, 1, 0, 1]]]), periodic=periodic)
    mine = chords[(chords["phase"] == 1) & (chords["direction"] == "x")]
    assert dict(zip(mine["length_px"], mine["count"], strict=True)) == (
        {1: 2, 2: 1} if periodic else {1: 1, 2: 1}
    )


def test_long_chords_keep_their_share_though_the_frame_cuts_more_of_them() -> None:
    rng = np.random.default_rng(0)
    lengths = rng.choice([3, 20], 60_000)
    line = np.repeat(np.arange(lengths.size) % 2, lengths)
    rows = line[: line.size // 40 * 40].reshape(-1, 40)
    table = chord_lengths(rows)
    mine = table[(table["phase"] == 1) & (table["direction"] == "x")].set_index("length_px")
    assert mine["share"][20.0] == pytest.approx(0.5, abs=0.02)
    assert mine["count"][20.0] < 0.4 * mine["count"].sum()
    assert 0 < mine["cut_fraction"].iloc[0] < 1


@pytest.mark.parametrize("density", [0.2, 0.45])
def test_connectivity_agrees_with_scipy(density) -> None:
    labels = (np.random.default_rng(4).random((14, 15, 16)) < density).astype(int)
    table = connectivity(labels)
    for phase in (0, 1):
        numbers, count = ndimage.label(labels == phase)
        sizes = np.bincount(numbers.ravel())[1:]
        assert table["pieces"][phase] == count
        assert table["connected_fraction"][phase] == pytest.approx(sizes.max() / sizes.sum())
        for axis, name in enumerate("zyx"):
            ends = [set(np.take(numbers, k, axis).ravel()) - {0} for k in (0, -1)]
            through = sizes[[k - 1 for k in ends[0] & ends[1]]].sum()
            assert table[f"percolates_{name}"][phase] == (through > 0)
            share = table[f"percolating_fraction_{name}"][phase]
            assert share == pytest.approx(through / sizes.sum())


def test_a_path_that_leaves_sideways_percolates_only_where_the_volume_repeats() -> None:
    labels = np.zeros((4, 5, 5), int)
    labels[:2, 2, 0] = labels[1:, 2, 4] = 1
    assert not connectivity(labels)["percolates_z"][1]
    table = connectivity(labels, periodic=True)
    assert table["percolates_z"][1]
    assert table["pieces"][1] == 1
    assert not table["percolates_x"][1]
    found = diffusivity(labels, 1, "z", TransportSettings(1e-7, periodic=True))
    # two voxels, a link across the frame, three voxels: four links and two halves
    assert found.effective == pytest.approx(4 / 5 / 25)


def test_directions_share_the_sphere_as_they_say() -> None:
    points = np.random.default_rng(0).normal(size=(400_000, 3))
    units = STEPS / np.linalg.norm(STEPS, axis=1, keepdims=True)
    nearest = np.abs(points @ units.T).argmax(axis=1)
    found = np.bincount(nearest, minlength=13) / len(points)
    wanted = [_SHARES[k] for k in (STEPS != 0).sum(axis=1)]
    assert np.abs(found - wanted).max() < 0.0015
    assert sum(wanted) == pytest.approx(1, abs=1e-5)


def test_planes_along_the_axes_show_the_stated_bias() -> None:
    labels = layers(32, 8)
    row = interface_areas(labels, periodic=True).loc[0]
    assert row["voxel_faces_per_px"] == pytest.approx(1 / 8)
    assert row["area_per_volume_per_px"] == pytest.approx((1 - 0.073) / 8, rel=1e-3)


def test_interfaces_of_three_phases_add_up_to_the_surfaces(spheres) -> None:
    labels = spheres.labels + (np.indices(spheres.shape)[0] > 50)
    between = interface_areas(labels).set_index(["phase_a", "phase_b"])["area_per_volume_per_px"]
    table = pnb.microstructure(labels, MicrostructureSettings(""))
    for phase in range(3):
        mine = sum(v for pair, v in between.items() if phase in pair)
        assert table["specific_surface_per_px"][phase] == pytest.approx(mine)


# ------------------------------------------------------------------------- representativity


def gaussian_field(rng, shape, sigma, level) -> np.ndarray:
    """A thresholded Gaussian field, cut out of a larger one so that it does not repeat."""
    margin = int(4 * sigma)
    field = rng.normal(size=[n + 2 * margin for n in shape])
    field = ndimage.gaussian_filter(field, sigma)[tuple(slice(margin, margin + n) for n in shape)]
    # variance of filtered white noise: the sum of the squared kernel
    size = 8 * margin + 1
    impulse = np.zeros(size)
    impulse[size // 2] = 1
    kernel = ndimage.gaussian_filter1d(impulse, sigma)
    return field / (kernel**2).sum() ** (len(shape) / 2) > level


def test_the_integral_range_of_a_gaussian_field_and_the_coverage_of_its_interval() -> None:
    level, sigma, n = 0.5, 2.0, 128
    fraction = 0.5 * math.erfc(level / math.sqrt(2))

    def covariance(r: float) -> float:  # Slepian's integral over the correlation of the field
        rho = math.exp(-((r / (2 * sigma)) ** 2))
        density = lambda t: math.exp(-(level**2) / (1 + t)) / math.sqrt(1 - t * t)  # noqa: E731
        return integrate.quad(density, 0, rho)[0] / (2 * math.pi)

    radii = np.linspace(1e-3, 12 * sigma, 200)
    values = np.array([covariance(r) for r in radii])
    truth = integrate.trapezoid(2 * math.pi * radii * values, radii) / (fraction * (1 - fraction))
    rng = np.random.default_rng(7)
    edges, covered = [], 0
    for _ in range(60):
        row = representativity(gaussian_field(rng, (n, n), sigma, level)).loc[1]
        edges.append(row["integral_range_px"])
        covered += row["fraction_low"] <= fraction <= row["fraction_high"]
    # the window leaves out a tail and follows the noise: within a few per cent on average
    assert np.mean(edges) == pytest.approx(math.sqrt(truth), rel=0.08)
    assert covered >= 53  # of 60 at 95 %: fewer has a probability of 2 %


def test_the_edge_needed_gives_the_interval_wanted() -> None:
    rng = np.random.default_rng(0)
    row = representativity(rng.integers(0, 2, (40, 40, 40)), error=0.02).loc[0]
    # white noise: the integral range is one voxel, and p (1 - p) / V the variance
    assert row["integral_range_px"] == pytest.approx(1, rel=0.05)
    assert row["edge_needed_px"] == pytest.approx((1.96 / 0.02) ** (2 / 3), rel=0.05)


def test_what_cannot_be_told_is_left_out_and_said() -> None:
    labels = np.zeros((20, 20, 20), int)
    labels[:10] = 1
    table = representativity(labels)
    assert table["flag"].tolist() == ["too small"] * 2
    assert table[["fraction_low", "edge_needed_px"]].isna().all(axis=None)
    assert representativity(np.ones((8, 8, 8), int))["flag"].tolist() == ["one phase"]
    rng = np.random.default_rng(0)
    tilted = rng.random((40, 40, 40)) < np.linspace(0.45, 0.55, 40)[:, None, None]
    assert "drifts along z" in representativity(tilted)["flag"][0]


# ------------------------------------------------------------------------- table, value, files


def test_the_table_has_a_row_a_phase_and_units(spheres) -> None:
    part = pnb.Volume(spheres.labels[:48, :48, :48], spheres.calibration, {0: "m", 1: "s", 7: "x"})
    seen = []
    table = pnb.microstructure(part, progress=lambda what, share: seen.append(share))
    assert table["name"].tolist() == ["m", "s", "x"]
    assert table["fraction"].sum() == pytest.approx(1)
    assert table.loc[2, "effective_diffusivity_z"] == 0
    assert "absent" in table.loc[2, "flag"]
    assert math.isinf(table.loc[2, "tortuosity_factor_z"])
    assert seen == sorted(seen)
    assert seen[-1] == 1
    assert table.attrs["voxel"] == 0.5
    alone = diffusivity(part, "m", "z")
    assert table.loc[0, "tortuosity_factor_z"] == alone.tortuosity_factor
    assert table.attrs["solver"]["m z"]["imbalance"] == alone.imbalance


def test_a_section_has_no_connectivity_and_no_transport(spheres) -> None:
    table = pnb.microstructure(pnb.Volume(spheres.labels[10], spheres.calibration))
    assert "specific_surface_per_um" in table
    assert not [c for c in table if c.startswith(("tortuosity", "percolates", "connected"))]
    with pytest.raises(pnb.DataError, match="section"):
        diffusivity(spheres.labels[10], 0)


@pytest.mark.parametrize(
    ("labels", "words"),
    [
        (np.zeros((2, 2, 2)), "whole numbers"),
        (np.zeros((2, 2, 2, 2), int), "their shape"),
        (np.zeros((0, 2, 2), int), "not empty"),
        (np.array([[[0, -1]]]), "0 or more"),
        (np.arange(64).reshape(4, 4, 4), "grey values"),
        ("abc", "whole numbers"),
    ],
)
def test_what_is_no_volume_is_refused(labels, words) -> None:
    with pytest.raises(pnb.DataError, match=words):
        pnb.Volume(labels)


def test_a_volume_is_a_value() -> None:
    labels = np.array([[[0, 85], [170, 0]]])
    volume = pnb.Volume(labels, names=("a", "b", "c"))
    labels[:] = 0
    assert volume.fractions == {"a": 0.5, "b": 0.25, "c": 0.25}
    with pytest.raises(ValueError, match="read-only"):
        volume.labels[0, 0, 0] = 1
    again = pickle.loads(pickle.dumps(volume))
    assert (again.digest, again.names) == (volume.digest, volume.names)
    assert volume.digest != pnb.Volume(volume.labels[:, ::-1]).digest
    for wrong in (("a", "b"), {0: "a"}, ("a", "a", "b"), "abc"):
        with pytest.raises(pnb.DataError):
            pnb.Volume(volume.labels, names=wrong)
    with pytest.raises(pnb.DataError, match="no phase 'd'"):
        diffusivity(volume, "d")


@pytest.mark.parametrize("shape", [(3, 4, 5), (1, 4, 5), (4, 5)])
def test_a_stack_comes_back_as_it_was(tmp_path, shape) -> None:
    labels = np.random.default_rng(0).integers(0, 3, shape) * 300
    volume = pnb.Volume(labels, pnb.Calibration(0.104, "um"), ("Poren", "Graphit µ", "c"))
    exports.write_volume(volume, tmp_path / "a.tif")
    again = exports.read_volume(tmp_path / "a.tif")
    assert np.array_equal(again.labels, volume.labels)
    assert again.names == volume.names
    assert again.calibration.to("nm") == pytest.approx(104)
    with pytest.warns(CalibrationWarning, match="labels alone"):
        exports.write_volume(volume, tmp_path / "a.npy")
    plain = exports.read_volume(tmp_path / "a.npy", "104 nm")
    assert np.array_equal(plain.labels, volume.labels)


def test_stacks_of_other_programs(tmp_path) -> None:
    labels = np.random.default_rng(0).integers(0, 2, (6, 7, 8)).astype(np.uint8)
    path = tmp_path / "a.tif"
    settings = {"imagej": True, "resolution": (10, 10)}
    metadata = {"unit": "um", "axes": "ZYX"}
    tifffile.imwrite(path, labels, metadata=metadata | {"spacing": 0.3}, **settings)
    with pytest.raises(pnb.ImageError, match="no cubes"):
        exports.read_volume(path)
    assert exports.read_volume(path, "100 nm").voxel == 100
    tifffile.imwrite(path, labels, metadata=metadata, **settings)
    with pytest.warns(CalibrationWarning, match="distance of the slices"):
        assert "guessed" in exports.read_volume(path).calibration.source
    tifffile.imwrite(path, labels, ome=True, metadata={"axes": "ZYX", "PhysicalSizeX": 0.2,
        "PhysicalSizeY": 0.2, "PhysicalSizeZ": 0.2})  # fmt: skip
    assert exports.read_volume(path).calibration.to("um") == pytest.approx(0.2)
    tifffile.imwrite(path, labels.astype(np.float32))
    assert np.array_equal(exports.read_volume(path).labels, labels)
    tifffile.imwrite(path, labels + 0.5)
    with pytest.raises(pnb.DataError, match="fractions"):
        exports.read_volume(path)
    tifffile.imwrite(path, np.zeros((6, 7, 8, 3), np.uint8), photometric="rgb")
    with pytest.raises(pnb.ImageError, match="colours"):
        exports.read_volume(path)
    path.write_bytes(path.read_bytes()[:300])
    with pytest.raises(pnb.ImageError):
        exports.read_volume(path)
    (tmp_path / "b.npy").write_bytes(b"\x93NUMPY\x01\x00")
    with pytest.raises(pnb.ImageError, match="numpy"):
        exports.read_volume(tmp_path / "b.npy")
    with pytest.raises(pnb.DataError, match=r"\.tif"):
        exports.write_volume(labels, tmp_path / "a.gsd")


# ------------------------------------------------------------------------- figures


def test_figures_show_what_core_measures(spheres) -> None:
    part = pnb.Volume(spheres.labels[:20, :24, :28], spheres.calibration, spheres.names)
    fig = pnb.figures.slices(part)
    assert [len(slider.steps) for slider in fig.layout.sliders] == [20, 24, 28]
    assert len(json.dumps(fig.to_plotly_json(), default=str)) < 400_000
    mesh = pnb.figures.solids(part).data[1]
    # twice as many triangles as faces: those inside, and those on the frame
    inside = np.pad(part.labels == 1, 1)
    quads = sum(int((np.diff(inside.astype(int), axis=a) != 0).sum()) for a in range(3))
    assert len(mesh.i) == 2 * quads
    corners = np.stack([mesh.x, mesh.y, mesh.z], axis=1)[np.stack([mesh.i, mesh.j, mesh.k], 1)]
    # a closed surface with its normals outwards holds its volume (x, y, z are turned z, y, x)
    held = np.einsum("ij,ij->", corners[:, 0], np.cross(corners[:, 1], corners[:, 2])) / 6
    assert abs(held) == pytest.approx((part.labels == 1).sum() * 0.5**3, rel=1e-4)
    smooth = pnb.figures.solids(part, "surface").data[1]
    assert 0 < len(smooth.i) < 2 * quads
    curves = pnb.figures.two_point(
        part, pnb.Volume(part.labels[3], pnb.Calibration(500, "nm"), spheres.names)
    )
    assert curves.data[0].y[0] == pytest.approx(part.fractions["matrix"])
    # the source's nanometres on the volume's axis
    assert curves.data[1].x[1] < 1
    falling = pnb.figures.chords(part).data[0].y
    assert falling[0] == pytest.approx(1)
    assert (np.diff(falling) < 0).all()
    with pytest.raises(pnb.DataError, match="scale"):
        pnb.figures.two_point(part, part.labels[3])


# ------------------------------------------------------------------------- other programs


def test_taufactor_finds_the_same_tortuosity(spheres) -> None:
    taufactor = pytest.importorskip("taufactor")
    part = spheres.labels[:40, :40, :40]
    solver = taufactor.Solver((part == 0).astype(float), device="cpu")
    solver.solve(verbose=False)
    found = diffusivity(part, 0, "z").tortuosity_factor
    assert found == pytest.approx(float(np.ravel(solver.tau)[0]), rel=2e-3)


def test_porespy_finds_the_same_two_point_correlation(spheres) -> None:
    metrics = pytest.importorskip("porespy.metrics")
    part = spheres.labels[:40, :40, :40] == 0
    # its bins as ours, shells around whole lags; it averages over lags, we over pairs
    theirs = metrics.two_point_correlation(part, bins=np.arange(0.5, 11))
    _, ours = curve(two_point(part.astype(int), longest=12), "phase 1", "isotropic", "S2")
    assert ours[1:11] == pytest.approx(theirs.probability_scaled, abs=3e-4)


# ------------------------------------------------------------------------------ VTK image data


@pytest.mark.parametrize("shape", [(3, 4, 5), (4, 5)])
def test_vtk_files_keep_labels_names_and_scale(tmp_path, shape) -> None:
    pytest.importorskip("vtkmodules")
    labels = np.arange(np.prod(shape)).reshape(shape) % 3 * 85
    volume = pnb.Volume(labels, pnb.Calibration(50, "nm"), ("pore", "active", "binder"))
    exports.write_volume(volume, tmp_path / "a.vti")
    back = exports.read_volume(tmp_path / "a.vti")
    assert np.array_equal(back.labels, labels)
    assert dict(back.names) == dict(volume.names)
    assert back.calibration.to("nm") == 50


def test_vtk_files_of_others_are_read_and_damaged_ones_refused(tmp_path) -> None:
    pytest.importorskip("vtkmodules")
    exports.write_volume(np.arange(24).reshape(2, 3, 4) % 2, tmp_path / "a.vti")
    text = (tmp_path / "a.vti").read_text()
    other = re.sub(r"<FieldData>.*?</FieldData>", "", text, flags=re.DOTALL)
    (tmp_path / "b.vti").write_text(other.replace('Spacing="1 1 1"', 'Spacing="2 2 2"'))
    with pytest.warns(CalibrationWarning, match="without a unit"):
        assert exports.read_volume(tmp_path / "b.vti").calibration is None
    assert exports.read_volume(tmp_path / "b.vti", "20 nm").voxel == 20
    bad = {
        "cubes": text.replace('Spacing="1 1 1"', 'Spacing="1 1 3"'),
        "claims": text.replace('"0 4 0 3 0 2"', '"0 4000 0 3000 0 2000"'),
        "no VTK": "<xml/>",
        "damaged": text[: len(text) // 2],
    }
    for word, content in bad.items():
        (tmp_path / "c.vti").write_text(content)
        with pytest.raises(pnb.ImageError, match=word):
            exports.read_volume(tmp_path / "c.vti")


def test_without_vtk_it_is_said(tmp_path, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "vtkmodules.util.numpy_support", None)
    with pytest.raises(pnb.DataError, match=r"particle_nb\[vtk\]"):
        exports.write_volume(np.zeros((2, 2, 2), int), tmp_path / "a.vti")
    assert list(tmp_path.iterdir()) == []


# -------------------------------------------------------------------- intervals of diffusivity


def test_blocks_of_a_laminate_are_alike() -> None:
    found = diffusivity_interval(layers(16, 2), 1, "y")
    assert found.low == pytest.approx(found.high) == pytest.approx(0.5, rel=1e-6)
    assert found.tortuosity_factor_low == pytest.approx(1, rel=1e-6)
    assert found.flag == ""


def test_intervals_of_blocks_hold_the_mean_of_the_material() -> None:
    rng = np.random.default_rng(4)
    made = [(rng.random((16, 16, 16)) < 0.7).astype(int) for _ in range(12)]
    found = [diffusivity_interval(one, 1) for one in made]
    mean = np.mean([one.whole.effective for one in found])
    held = [one.low <= mean <= one.high for one in found]
    assert sum(held) >= 10  # 95 % of 12, with the scatter of a count
    between = np.std([one.whole.effective for one in found], ddof=1)
    half = np.median([one.high - one.low for one in found]) / 2
    assert 1 < half / between < 6  # t with 7 degrees of freedom: 2.36 at large numbers


def test_blocks_must_be_large_enough() -> None:
    for parts in (1, 3, 2.5, True):
        with pytest.raises(pnb.DataError):
            diffusivity_interval(layers(16, 2), 1, parts=parts)
    with pytest.raises(pnb.DataError, match="phase"):
        diffusivity_interval(layers(16, 2), "coal")
