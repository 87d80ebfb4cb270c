"""Lengths by class: bodies of known form at any angle and place, and rendered scenes."""

import numpy as np
import pytest

import particle_nb as pnb
from particle_nb.core.errors import CalibrationError, DataError
from particle_nb.core.learning import class_geometry
from particle_nb.core.masks import Mask, MaskSet

SIDE = 128


def turned(rng):
    """Pixel coordinates (x, y) of a frame, seen from a body at a random place and angle."""
    y, x = np.mgrid[:SIDE, :SIDE] - SIDE / 2 + rng.uniform(-0.5, 0.5, (2, 1, 1))
    a = rng.uniform(0, 2 * np.pi)
    return x * np.cos(a) + y * np.sin(a), y * np.cos(a) - x * np.sin(a)


def box(x, y, length, width, radius):
    a, b = abs(x) - length / 2 + radius, abs(y) - width / 2 + radius
    rounded = np.hypot(np.maximum(a, 0), np.maximum(b, 0)) <= radius
    return (a <= radius) & (b <= radius) & (rounded | (a <= 0) | (b <= 0))


def arc(x, y, length, width, radius, turn):
    """A box bent around a circle, whose middle line keeps its length."""
    bend = length / turn
    return box(np.arctan2(y, x + bend) * bend, np.hypot(x + bend, y) - bend, length, width, radius)


def polygon(x, y, fold, edge, radius):
    """The polygon eroded by a radius and grown again, by distances to its corners and sides."""
    apothem = edge / 2 / np.tan(np.pi / fold)
    inner = apothem - radius
    reach = inner / np.cos(np.pi / fold)
    around = 2 * np.pi * np.arange(fold) / fold
    half = inner * np.tan(np.pi / fold)
    found = np.ones(x.shape, bool)
    grown = np.zeros(x.shape, bool)
    for angle in around:
        out = x * np.cos(angle) + y * np.sin(angle)
        side = y * np.cos(angle) - x * np.sin(angle)
        found &= out <= inner
        grown |= (out >= inner) & (out <= inner + radius) & (abs(side) <= half)
        corner = angle + np.pi / fold
        grown |= np.hypot(x - reach * np.cos(corner), y - reach * np.sin(corner)) <= radius
    return found | grown


BODIES = {
    "cube": (lambda x, y: box(x, y, 40, 40, 0), {"edge": 40}),
    "square": (lambda x, y: box(x, y, 40, 40, 6), {"edge": 40}),
    "plate": (lambda x, y: box(x, y, 50, 36, 4), {"length": 50, "width": 36}),
    "rod": (lambda x, y: box(x, y, 60, 20, 10), {"length": 60, "width": 20}),
    "needle": (lambda x, y: box(x, y, 80, 12, 0), {"length": 80, "width": 12}),
    "fibre": (lambda x, y: arc(x, y, 90, 12, 6, 1.5), {"length": 90, "width": 12}),
    "triangle": (lambda x, y: polygon(x, y, 3, 60, 4), {"edge": 60}),
    "pentagon": (lambda x, y: polygon(x, y, 5, 26, 3), {"edge": 26}),
    "hexagon": (lambda x, y: polygon(x, y, 6, 22, 2), {"edge": 22}),
    "sphere": (lambda x, y: np.hypot(x, y) <= 20, {"d": 40}),
    "ellipsoid": (lambda x, y: np.hypot(x / 25, y / 17) <= 1, {"length": 50, "width": 34}),
}


@pytest.mark.parametrize("name", BODIES)
def test_lengths_at_40_px_are_right_to_two_percent(name) -> None:
    inside, truth = BODIES[name]
    rng = np.random.default_rng(sorted(BODIES).index(name))
    masks = MaskSet(tuple(Mask.from_full(inside(*turned(rng))) for _ in range(6)))
    found = class_geometry(masks, [name] * 6)
    for length, value in truth.items():
        np.testing.assert_allclose(found[f"{length}_px"], value, rtol=0.02)
        assert found[f"{length}_px"].mean() == pytest.approx(value, rel=0.006)
    assert (found["flag"] == "").all()
    assert (found["misfit"] < 0.03).all()


def test_corners_keep_their_radius_and_truncation_its_share() -> None:
    rng = np.random.default_rng(1)
    for radius in (0.0, 3.0, 6.0):
        drawn = [Mask.from_full(polygon(*turned(rng), 3, 70, radius)) for _ in range(6)]
        found = class_geometry(MaskSet(tuple(drawn)), ["triangle"] * 6)
        assert found["corner_radius_px"].mean() == pytest.approx(radius, abs=0.8)
        # the area that a circle leaves of a corner of 60 degrees, as small triangles cut off
        missing = 3 * radius**2 * (np.sqrt(3) - np.pi / 3)
        truth = np.sqrt(missing / 3 / (70**2 * np.sqrt(3) / 4))
        assert found["truncation"].mean() == pytest.approx(truth, abs=0.025)


def test_a_bent_axis_is_followed() -> None:
    rng = np.random.default_rng(2)
    at = np.linspace(-45, 45, 400)
    line = np.column_stack([at, 14 * np.sin(at / 45 * np.pi)])
    truth = np.hypot(*np.diff(line, axis=0).T).sum() + 10  # round ends of radius 5
    masks = []
    for _ in range(3):
        x, y = turned(rng)
        near = np.min([np.hypot(x - a, y - b) for a, b in line[::4]], axis=0)
        masks.append(Mask.from_full(near <= 5))
    found = class_geometry(MaskSet(tuple(masks)), ["fiber"] * 3)
    np.testing.assert_allclose(found["length_px"], truth, rtol=0.02)
    np.testing.assert_allclose(found["width_px"], 10, rtol=0.02)
    feret = pnb.measure(MaskSet(tuple(masks)))["x_Fmax_px"]
    assert (found["length_px"] > 1.08 * feret).all()
    curved = class_geometry(
        MaskSet(tuple(Mask.from_full(arc(*turned(rng), 90, 12, 6, 1.5)) for _ in range(3))),
        ["rod"] * 3,
    )
    np.testing.assert_allclose(curved["curvature"], 1.5, rtol=0.05)


def test_a_triangle_need_not_be_regular() -> None:
    y, x = np.mgrid[:SIDE, :SIDE].astype(float)
    right = (x >= 20.3) & (y >= 20.4) & ((x - 20.3) / 80 + (y - 20.4) / 60 <= 1)
    found = class_geometry(MaskSet((Mask.from_full(right),)), ["triangle"])
    assert found["edge_px"][0] == pytest.approx((60 + 80 + 100) / 3, rel=0.02)


def test_rendered_bodies_have_their_size() -> None:
    sizes = pnb.synthetic.Sizes("mono", 400.0)
    for name, truth in (("cube", ("edge",)), ("rod", ("length", "width"))):
        kind = pnb.synthetic.Population(
            name, sizes=sizes, aspect=(1, 1) if name == "cube" else (0.3, 0.4)
        )
        settings = pnb.synthetic.SceneSettings(shape=(256, 256), populations=(kind,), count=6)
        scene = pnb.synthetic.scene(settings, 1)
        found = class_geometry(scene.masks, [name] * len(scene.masks), scene.image.calibration)
        whole = found["flag"] == ""
        rows = scene.truth.iloc[: len(found)][whole.to_numpy()]
        wanted = {
            "edge": rows["axis_a_nm"],
            "length": rows["axis_a_nm"],
            "width": rows["axis_c_nm"],
        }
        assert whole.sum() >= 3
        for length in truth:
            np.testing.assert_allclose(found[f"{length}_nm"][whole], wanted[length], rtol=0.02)


def test_what_cannot_be_measured_is_empty_and_says_why() -> None:
    frame = np.zeros((120, 200), bool)

    def mask(rows, cols):
        full = frame.copy()
        full[rows, cols] = True
        return full

    ring = mask(slice(60, 100), slice(60, 100))
    ring[70:80, 70:80] = False
    corner = mask(slice(60, 110), slice(120, 130))
    corner[100:110, 120:180] = True
    two = mask(slice(5, 15), slice(150, 160))
    two[5:10, 165:170] = True
    drawn = [
        mask(slice(10, 50), slice(10, 50)),
        mask(slice(0, 30), slice(60, 90)),
        ring,
        corner,
        two,
        mask(slice(20, 28), slice(120, 128)),
    ]
    masks = MaskSet(tuple(Mask.from_full(full) for full in drawn))
    names = ["unknown", "cube", "cube", "cube", "sphere", "Cube"]
    found = class_geometry(masks, told(names), pnb.Calibration(2, "nm"))
    assert found["flag"].tolist() == ["", "edge", "holes", "misfit", "misfit;parts", "small"]
    assert found["body"].tolist() == ["", "square", "square", "square", "sphere", "square"]
    assert np.isnan(found["edge_nm"][:2]).all()
    assert found["edge_nm"][2] == pytest.approx(80, rel=0.02)
    assert found["edge_nm"][5] == pytest.approx(16, rel=0.05)
    assert found.attrs["unit"] == "nm"


def told(names):
    import pandas as pd

    return pd.DataFrame({"class": names, "probability": 1.0})


def test_wrong_arguments_are_refused() -> None:
    labels = np.zeros((30, 30), int)
    labels[5:20, 5:20] = 1
    with pytest.raises(DataError, match="2 classes for 1"):
        class_geometry(labels, ["cube", "rod"])
    with pytest.raises(DataError, match="column 'class'"):
        class_geometry(labels, told(["cube"]).drop(columns="class"))
    with pytest.raises(CalibrationError):
        class_geometry(labels, ["cube"], unit="um")
    with pytest.raises(DataError, match="MaskSet"):
        class_geometry("masks", [])
    words = ["Spheres", "truncated_triangle", " rods", "agglomerate of spheres"]
    found = class_geometry(MaskSet.from_labels(labels)[[0] * 4], words)
    assert found["body"].tolist() == ["sphere", "triangle", "rod", ""]
    assert class_geometry(MaskSet((), (9, 9)), []).empty
