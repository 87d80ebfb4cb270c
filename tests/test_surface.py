"""Scaling on the particle, clouds, files, calibration. The truth is an analytic dome."""

import json
import struct

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from particle_nb.core.errors import CalibrationError, DataError, ParticleError
from particle_nb.core.exports import write_cloud, write_surface
from particle_nb.core.image import Calibration
from particle_nb.core.masks import Mask
from particle_nb.core.surface import (
    CalibrationLaw,
    DepthMap,
    PointCloud,
    fit_law,
    point_cloud,
    roughness,
)

NM10 = Calibration(10, "nm")


def dome(a=60.0, b=60.0, c=60.0, shift=(0.3, -0.2), half=90):
    """Heights of a half-ellipsoid on pixels, and its outline."""
    y, x = np.mgrid[-half : half + 1, -half : half + 1]
    left = 1 - ((x - shift[0]) / a) ** 2 - ((y - shift[1]) / b) ** 2
    return c * np.sqrt(np.maximum(left, 0)), Mask.from_full(left > 0)


@pytest.mark.parametrize("radius", [25.0, 60.2, 83.7])
@pytest.mark.parametrize(("scale", "offset"), [(1, 0), (0.004, -30), (700, 5)])
def test_hemisphere_scale_is_that_of_the_particle(radius, scale, offset):
    heights, mask = dome(radius, radius, radius)
    cloud = point_cloud(DepthMap(heights * scale + offset), mask, NM10, substrate_percentile=0)
    truth = 10 * heights[mask.full()]
    assert cloud.xyz.dtype == np.float32
    assert np.abs(cloud.xyz[:, 2] - truth).max() < 0.015 * 10 * radius
    assert cloud.height == pytest.approx(10 * radius, rel=0.01)
    assert cloud.info["relief"] == "half-ellipsoid law"


def test_the_frame_around_the_particle_changes_nothing():
    heights, mask = dome()
    other = heights.copy()
    other[:15, :15] = 900  # a far higher particle elsewhere in the frame
    a, b = (point_cloud(DepthMap(h), mask, NM10).xyz for h in (heights, other))
    np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("height", [250.0, "250 nm", "0.25 um"])
def test_a_known_height_is_kept(height):
    heights, mask = dome(70, 40, 12)
    cloud = point_cloud(DepthMap(heights), mask, NM10, height=height)
    assert cloud.xyz[:, 2].max() == pytest.approx(250, rel=0.01)


def test_a_cone_and_a_ramp_span_the_whole_height():
    y, x = np.mgrid[-80:81, -80:81]
    mask = Mask.from_full(np.hypot(x, y) < 70)
    for shape in (70.0 - np.hypot(x, y), x * 1.0):
        cloud = point_cloud(DepthMap(shape), mask, NM10, height=500, substrate_percentile=0)
        assert np.ptp(cloud.xyz[:, 2]) == pytest.approx(500, rel=0.05)
        assert cloud.info["relief"] == "99.8 % range"


def test_a_tenth_of_wild_depths_does_not_move_the_scale():
    heights, mask = dome()
    rng = np.random.default_rng(0)
    wild = np.where(rng.random(heights.shape) < 0.1, rng.uniform(-200, 400, heights.shape), heights)
    clean = point_cloud(DepthMap(heights), mask, NM10, substrate_percentile=0).xyz[:, 2]
    found = point_cloud(DepthMap(wild), mask, NM10, substrate_percentile=0).xyz[:, 2]
    assert np.abs(np.median(found - clean)) < 0.02 * 600


def test_percentile_keeps_the_upper_share():
    heights, mask = dome()
    everything = point_cloud(DepthMap(heights), mask, NM10, substrate_percentile=0)
    upper = point_cloud(DepthMap(heights), mask, NM10)
    assert len(upper) == pytest.approx(0.6 * mask.area, abs=2)
    assert upper.xyz[:, 2].min() >= np.percentile(everything.xyz[:, 2], 39.9)
    assert upper.xyz[:, 2].min() == pytest.approx(600 * np.sqrt(0.4), rel=0.02)


def test_x_and_y_are_image_coordinates_in_nm():
    heights, mask = dome()
    cloud = point_cloud(DepthMap(heights), mask, NM10, substrate_percentile=0)
    rows, cols = np.nonzero(mask.full())
    np.testing.assert_allclose(cloud.xyz[:, 0], cols * 10)
    np.testing.assert_allclose(cloud.xyz[:, 1], rows * 10)
    grid = cloud.grid()
    assert grid.shape == mask.crop.shape
    np.testing.assert_array_equal(np.isfinite(grid), mask.crop)


def test_a_window_gives_the_same_cloud():
    heights, mask = dome()
    r0, c0, r1, c1 = mask.bbox
    window = (c0 - 5, r0 - 3, c1 + 4, r1 + 6)
    part = DepthMap(heights[r0 - 3 : r1 + 6, c0 - 5 : c1 + 4], window=window)
    np.testing.assert_array_equal(
        point_cloud(part, mask, NM10).xyz, point_cloud(DepthMap(heights), mask, NM10).xyz
    )
    with pytest.raises(DataError, match="leaves"):
        point_cloud(part, Mask((0, 0), np.ones((20, 20), bool), mask.shape), NM10)


def test_relative_clouds_have_no_roughness():
    heights, mask = dome()
    cloud = point_cloud(DepthMap(heights), mask, None, height="none")
    assert cloud.unit == "relative"
    for form in ("none", "sphere"):
        with pytest.raises(CalibrationError, match="relative depth"):
            roughness(cloud, form=form)


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({"calibration": None}, CalibrationError),
        ({"calibration": 10}, CalibrationError),
        ({"height": "tall"}, CalibrationError),
        ({"height": -5}, CalibrationError),
        ({"height": np.nan}, CalibrationError),
        ({"height": True}, CalibrationError),
        ({"substrate_percentile": 100}, DataError),
        ({"substrate_percentile": "low"}, DataError),
        ({"depth": np.ones((181, 181))}, DataError),
        ({"depth": DepthMap(np.ones((181, 181)))}, DataError),
        ({"depth": DepthMap(np.ones((18, 18)))}, DataError),
        ({"mask": "all"}, DataError),
        ({"mask": Mask((0, 0), np.ones((3, 3), bool), (181, 181))}, DataError),
    ],
)
def test_bad_input_is_named(arguments, error):
    heights, mask = dome()
    call = {"depth": DepthMap(heights), "mask": mask, "calibration": NM10} | arguments
    with pytest.raises(error):
        point_cloud(**call)


@pytest.mark.parametrize(
    "relative", [np.ones(3), np.zeros((0, 4)), [["a"]], np.full((3, 3), np.nan)]
)
def test_depth_maps_are_checked(relative):
    with pytest.raises(ParticleError):
        DepthMap(relative)


@pytest.mark.parametrize("xyz", [np.ones((4, 2)), np.zeros((0, 3)), [[1, 2, np.inf]], "cloud"])
def test_clouds_are_checked(xyz):
    with pytest.raises(DataError):
        PointCloud(xyz)


def test_pitch_is_found_and_scattered_points_have_none():
    y, x = np.mgrid[:50, :40].reshape(2, -1) * 3.7 + 900
    keep = np.random.default_rng(0).random(x.size) < 0.7
    points = np.stack([x, y, x * 0], axis=1)[keep]
    assert PointCloud(points).pitch == pytest.approx(3.7)
    assert PointCloud(points.astype(np.float32)).pitch == pytest.approx(3.7, rel=1e-4)
    scattered = PointCloud(np.random.default_rng(1).random((500, 3)))
    assert scattered.pitch is None
    with pytest.raises(DataError, match="no regular grid"):
        scattered.grid()


def small_cloud():
    heights, mask = dome(20, 20, 20, half=25)
    return point_cloud(DepthMap(heights), mask, NM10)


def test_ply_and_csv_hold_every_point(tmp_path):
    cloud = small_cloud()
    grey = np.arange(len(cloud)) % 256
    table = pd.read_csv(write_cloud(cloud, tmp_path / "a.csv", grey))
    assert list(table) == ["x_nm", "y_nm", "z_nm", "grey"]
    np.testing.assert_allclose(table[["x_nm", "y_nm", "z_nm"]], cloud.xyz, rtol=1e-6)
    raw = write_cloud(cloud, tmp_path / "a.ply", grey).read_bytes()
    header, _, data = raw.partition(b"end_header\n")
    assert f"element vertex {len(cloud)}".encode() in header
    rows = np.frombuffer(data, [("xyz", "<f4", 3), ("rgb", "u1", 3)])
    np.testing.assert_array_equal(rows["xyz"] * [1, -1, 1], cloud.xyz)
    np.testing.assert_array_equal(rows["rgb"][:, 1], grey)
    with pytest.raises(DataError, match=r"\.ply or \.csv"):
        write_cloud(cloud, tmp_path / "a.xyz")


def test_gsf_follows_gwyddions_rules(tmp_path):
    cloud = small_cloud()
    raw = write_surface(cloud, tmp_path / "a.gsf").read_bytes()
    end = raw.index(b"\0")
    header = dict(line.split(" = ") for line in raw[:end].decode().splitlines()[1:])
    rows, cols = int(header["YRes"]), int(header["XRes"])
    data = raw[-4 * rows * cols :]
    padding = raw[end : len(raw) - len(data)]
    assert 1 <= len(padding) <= 4
    assert set(padding) == {0}
    assert (end + len(padding)) % 4 == 0
    np.testing.assert_allclose(
        np.frombuffer(data, "<f4").reshape(rows, cols), cloud.grid() * 1e-9, rtol=1e-6
    )
    assert float(header["XReal"]) == pytest.approx(cols * 10e-9)


def test_text_grid_reads_back(tmp_path):
    cloud = small_cloud()
    path = write_surface(cloud, tmp_path / "a.asc")
    np.testing.assert_allclose(np.loadtxt(path), cloud.grid(), rtol=1e-6)
    assert "# Value units: nm" in path.read_text()


def test_meshes_face_up_and_cover_the_cap(tmp_path):
    cloud = small_cloud()
    raw = write_surface(cloud, tmp_path / "a.stl").read_bytes()
    count = struct.unpack("<I", raw[80:84])[0]
    kind = [("normal", "<f4", 3), ("corners", "<f4", (3, 3)), ("attr", "<u2")]
    rows = np.frombuffer(raw[84:], kind)
    assert len(rows) == count
    assert (rows["normal"][:, 2] > 0).all()
    edges = np.diff(rows["corners"][:, :, :2], axis=1)
    area = 0.5 * np.abs(edges[:, 0, 0] * edges[:, 1, 1] - edges[:, 0, 1] * edges[:, 1, 0]).sum()
    assert area == pytest.approx(len(cloud) * 100, rel=0.12)  # cells lie between the points
    raw = write_surface(cloud, tmp_path / "a.glb", grey=np.full(len(cloud), 77)).read_bytes()
    magic, version, length = struct.unpack("<4sII", raw[:12])
    assert (magic, version, length) == (b"glTF", 2, len(raw))
    size = struct.unpack("<I", raw[12:16])[0]
    scene = json.loads(raw[20 : 20 + size])
    assert scene["accessors"][1]["count"] == len(cloud)
    assert scene["accessors"][0]["count"] == 3 * count
    assert scene["bufferViews"][-1]["byteLength"] == 4 * len(cloud)


def test_calibration_law_agrees_with_leaving_out_by_hand():
    rng = np.random.default_rng(4)
    x = rng.uniform(60, 110, 12)
    y = 0.7 * x - 35 + rng.normal(0, 3, 12)
    law = fit_law(x, y, provenance={"reference": "AFM", "source": "made up for this test"})
    errors = []
    for i in range(12):
        keep = np.arange(12) != i
        errors.append(np.polyval(np.polyfit(x[keep], y[keep], 1), x[i]) - y[i])
    assert law.loo_rmse == pytest.approx(np.sqrt(np.mean(np.square(errors))))
    assert law.loo_bias == pytest.approx(np.mean(errors))
    low, high = law.slope_interval
    assert low < 0.7 < high
    line = stats.linregress(x, y)
    reach = 2.2281389 * line.stderr  # Student's t, 10 degrees of freedom, 97.5 %
    assert (low, high) == pytest.approx((line.slope - reach, line.slope + reach))
    assert CalibrationLaw.from_json(law.to_json()) == law
    with pytest.raises(DataError):
        CalibrationLaw.from_json('{"slope": 2}')


def test_calibration_interval_holds_what_it_says():
    rng = np.random.default_rng(8)
    inside, slopes, trials = 0, 0, 400
    for _ in range(trials):
        x = rng.uniform(10, 40, 9)
        law = fit_law(x, 0.5 * x + rng.normal(0, 2, 9), "scale")
        new = rng.uniform(10, 40)
        low, high = law.interval([new])
        inside += low[0] < 0.5 * new + rng.normal(0, 2) < high[0]
        slopes += law.slope_interval[0] < 0.5 < law.slope_interval[1]
    assert inside / trials == pytest.approx(0.95, abs=0.035)
    assert slopes / trials == pytest.approx(0.95, abs=0.035)


@pytest.mark.parametrize(
    "pairs", [([1], [1]), ([1, 2, 3], [1, 2]), ([2, 2, 2], [1, 2, 3]), ([1, 2, np.nan], [1, 2, 3])]
)
def test_calibration_names_bad_pairs(pairs):
    with pytest.raises(DataError):
        fit_law(*pairs)
