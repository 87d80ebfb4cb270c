"""Properties that hold for any shape and any set of sizes, searched for exceptions."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import ndimage

from particle_nb.core.image import Calibration
from particle_nb.core.masks import Mask, MaskSet
from particle_nb.core.shape import measure
from particle_nb.core.shape.contour import measure_crops
from particle_nb.core.sizes import size_distribution

# rounding only: none of these relations is statistical
EPS = 1e-9


@st.composite
def shapes(draw: st.DrawFn) -> np.ndarray:
    """Noise, smoothed noise, rectangles, lines: any bool crop with a pixel in it."""
    crop = draw(arrays(bool, st.tuples(st.integers(1, 24), st.integers(1, 24))))
    grow = draw(st.integers(1, 4))
    crop = np.kron(crop, np.ones((grow, draw(st.integers(1, 4))), bool))
    if draw(st.booleans()):
        crop = ndimage.binary_closing(np.pad(crop, 3), iterations=2)[3:-3, 3:-3]
    if not crop.any():
        crop = np.ones((draw(st.integers(1, 30)), draw(st.integers(1, 30))), bool)
    return crop


@st.composite
def bodies(draw: st.DrawFn) -> np.ndarray:
    """Rotated rectangles and ellipses of 20 px and more: convex by construction."""
    a, b = draw(st.floats(20, 60)), draw(st.floats(10, 60))
    angle = draw(st.floats(0, np.pi))
    dx, dy = draw(st.floats(0, 1)), draw(st.floats(0, 1))
    y, x = np.mgrid[-50:51, -50:51].astype(float)
    u = np.cos(angle) * (x - dx) + np.sin(angle) * (y - dy)
    v = np.cos(angle) * (y - dy) - np.sin(angle) * (x - dx)
    if draw(st.booleans()):
        return (2 * u / a) ** 2 + (2 * v / b) ** 2 < 1
    return (abs(u) < a / 2) & (abs(v) < b / 2)


def largest_part(crop: np.ndarray) -> np.ndarray:
    numbered, _ = ndimage.label(crop, np.ones((3, 3)))
    sizes = np.bincount(numbered.ravel())
    sizes[0] = 0
    return numbered == sizes.argmax()


@settings(max_examples=200, deadline=None)
@given(shapes())
def test_geometry_of_contour_and_hull(crop: np.ndarray) -> None:
    row = measure_crops([crop])[0]
    area, perimeter, hull_p, hull_a, low, high = row[[0, 3, 4, 5, 6, 7]]
    assert np.isfinite(row).all()
    assert area == crop.sum()
    assert hull_p <= perimeter * (1 + EPS)  # the hull is the shortest way around
    assert low <= high * (1 + EPS)
    assert 2 * high <= hull_p * (1 + EPS) + EPS  # there and back again
    assert hull_p <= np.pi * high * (1 + EPS)  # Cauchy: the mean Feret times pi
    assert hull_p >= np.pi * low * (1 - EPS)
    assert 4 * np.pi * hull_a <= hull_p**2 * (1 + EPS)  # isoperimetric
    assert 4 * hull_a <= np.pi * high**2 * (1 + EPS)  # isodiametric
    assert high <= np.hypot(*np.array(crop.shape)) + 1


@settings(max_examples=200, deadline=None)
@given(shapes())
def test_relations_between_the_descriptors(crop: np.ndarray) -> None:
    row = measure(MaskSet((Mask.from_full(crop),))).iloc[0]
    if "no_contour" in row["flag"]:
        assert np.isnan(row["perimeter_px"])
        return
    if np.isnan(row["perimeter_px"]):
        # no contour speaks for several parts
        assert np.isnan([row[name] for name in ("circularity", "solidity", "aspect_ratio")]).all()
        assert ndimage.label(crop, np.ones((3, 3)))[1] > 1
        assert "parts" in row["flag"]
        return
    for name in ("circularity", "form_factor", "roundness", "convexity", "solidity"):
        assert 0 < row[name] <= 1 + EPS, name
    assert row["circularity"] >= row["convexity"] * np.sqrt(row["roundness"]) * (1 - EPS)
    assert row["form_factor"] == pytest.approx(row["circularity"] ** 2, rel=1e-12)
    assert row["elongation"] == pytest.approx(1 - row["aspect_ratio"], abs=1e-12)
    assert 0 < row["aspect_ratio"] <= 1 + EPS
    assert 0 < row["convexity"] <= 1 + EPS
    # width against diameter of the convex hull (roundness / solidity is the hull's roundness);
    # x_Fmin itself lies below the hull's width where straight edges have ripples
    low, high = measure_crops([crop])[0][6:8]
    assert row["x_Fmin_px"] <= low * (1 + EPS)
    a = min(low / high, 1.0)
    most = 2 / np.pi * (a * np.sqrt(1 - a**2) + np.arcsin(a))
    assert row["roundness"] / row["solidity"] <= most * (1 + 1e-6)


@settings(max_examples=60, deadline=None)
@given(bodies())
def test_convex_bodies(body: np.ndarray) -> None:
    """The hull of a pixel staircase lies within half a pixel of it, all along the contour."""
    row = measure(MaskSet((Mask.from_full(body),))).iloc[0]
    slack = 0.5 * row["perimeter_px"] / row["area_px2"]
    assert row["solidity"] == pytest.approx(1, abs=slack)
    assert row["convexity"] >= 0.97
    a = row["aspect_ratio"]
    most = 2 / np.pi * (a * np.sqrt(1 - a**2) + np.arcsin(a))
    assert row["roundness"] <= most * (1 + slack)


@settings(max_examples=60, deadline=None)
@given(shapes(), st.integers(0, 9), st.integers(0, 9))
def test_place_and_scale(crop: np.ndarray, down: int, right: int) -> None:
    frame = (crop.shape[0] + 12, crop.shape[1] + 12)
    here = measure(MaskSet((Mask((1, 1), crop, frame),))).iloc[0]
    there = measure(
        MaskSet((Mask((1 + down, 1 + right), crop, frame),)), Calibration(3, "nm")
    ).iloc[0]
    for name in ("perimeter", "x_A", "x_Fmin", "x_Fmax"):
        np.testing.assert_allclose(there[f"{name}_nm"], 3 * here[f"{name}_px"], rtol=1e-12)
    assert there["y_px"] - here["y_px"] == pytest.approx(down, abs=1e-9)
    assert there["x_px"] - here["x_px"] == pytest.approx(right, abs=1e-9)


@settings(max_examples=60, deadline=None)
@given(shapes(), st.integers(1, 3))
def test_turning_the_picture_changes_no_length(crop: np.ndarray, quarters: int) -> None:
    here, there = measure_crops([crop])[0], measure_crops([np.rot90(crop, quarters).copy()])[0]
    parts = ndimage.label(crop, np.ones((3, 3)))[1]
    if parts == 1:  # of two largest parts of one area either may be measured
        np.testing.assert_allclose(
            there[[0, *range(3, 11)]], here[[0, *range(3, 11)]], rtol=1e-6, atol=1e-9
        )


sizes = arrays(float, st.integers(1, 60), elements=st.floats(1e-3, 1e4))


@settings(max_examples=150, deadline=None)
@given(sizes, st.sampled_from([0, 1, 2, 3]))
def test_any_sizes(x: np.ndarray, r: int) -> None:
    made = size_distribution(x, r=r, unit="um")
    p = np.linspace(0, 100, 31)
    found = made.percentile(p)
    assert (np.diff(found) >= -1e-9 * found[1:]).all()
    assert x.min() * (1 - EPS) <= found[0]
    assert found[-1] <= x.max() * (1 + EPS)
    share = made.Q(np.sort(x))
    assert (np.diff(share) >= -EPS).all()
    assert ((share >= 0) & (share <= 1 + EPS)).all()
    assert made.q().shares.sum() == pytest.approx(1, abs=1e-9)
    means = [made.mean(k + 1, k) for k in range(-2, 5)]
    assert (np.diff(means) >= -1e-9 * np.array(means[1:])).all()  # Lyapunov
    assert x.min() * (1 - 1e-9) <= means[0]
    assert means[-1] <= x.max() * (1 + 1e-9)


@settings(max_examples=60, deadline=None)
@given(sizes, st.floats(1e-3, 1e3))
def test_sizes_scale(x: np.ndarray, factor: float) -> None:
    one, other = size_distribution(x), size_distribution(x * factor)
    for p in (10, 50, 90):
        assert other.percentile(p) == pytest.approx(factor * one.percentile(p), rel=1e-6)
    assert other.mean(4, 3) == pytest.approx(factor * one.mean(4, 3), rel=1e-9)
    assert other.span == pytest.approx(one.span, rel=1e-5, abs=1e-9)
