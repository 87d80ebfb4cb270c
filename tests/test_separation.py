"""How far classes lie apart: scikit-learn's values, and populations that are known."""

import numpy as np
import pytest
from sklearn import metrics

from particle_nb.core.errors import DataError
from particle_nb.core.learning import FeatureTable, plane, separation
from particle_nb.core.learning.features import standard


def sample(rng, count=60, apart=2.0):
    names = np.array(["disc", "rod", "cube"])[np.arange(3 * count) % 3]
    values = rng.normal(size=(3 * count, 3))
    values[:, 0] += apart * (names == "rod")
    values[:, 1] += apart * (names == "cube")
    return values, names


def test_values_are_those_of_scikit_learn() -> None:
    values, names = sample(np.random.default_rng(0), 120)
    found = separation(values, names)
    centre, factor = standard(FeatureTable(values, ("a", "b", "c")))
    inside = (values.astype(np.float32) - centre) * factor
    wanted = {
        "silhouette": metrics.silhouette_score(inside, names),
        "davies_bouldin": metrics.davies_bouldin_score(inside, names),
        "calinski_harabasz": metrics.calinski_harabasz_score(inside, names),
    }
    for name, value in wanted.items():
        assert found["value"][name] == pytest.approx(value, rel=1e-4), name
        assert found["low"][name] < value < found["high"][name], name
    assert found.attrs["particles"] == {"cube": 120, "disc": 120, "rod": 120}


def test_intervals_hold_the_value_of_the_population() -> None:
    large = separation(*sample(np.random.default_rng(1), 300))["value"]
    inside = np.zeros(2)
    for seed in range(20):
        found = separation(*sample(np.random.default_rng(100 + seed), 40)).iloc[:2]
        truth = large.iloc[:2].to_numpy()
        inside += (found["low"] <= truth) & (truth <= found["high"])
    # 20 draws at 95 %: fewer than 16 hits have a chance of one in four hundred
    assert (inside >= 16).all()


def test_a_particle_drawn_twice_is_no_neighbour_of_itself() -> None:
    """Pure noise has no clusters, and drawing with replacement must not make some."""
    rng = np.random.default_rng(2)
    found = separation(rng.normal(size=(90, 6)), np.array(["disc", "rod"])[np.arange(90) % 2])
    assert abs(found["value"]["silhouette"]) < 0.03
    assert found["high"]["silhouette"] < 0.08


def test_unknown_and_unmeasured_particles_stay_out() -> None:
    rng = np.random.default_rng(3)
    values, names = sample(rng, 30)
    more = np.r_[values, rng.normal(20, 1, (10, 3)), [[np.nan, 0, 0]]]
    told = [*names, *["unknown"] * 5, *[""] * 4, None, "disc"]
    found = separation(np.asarray(more), told)
    assert found.attrs["left_out"] == 11
    assert found.attrs["particles"] == {"cube": 30, "disc": 30, "rod": 30}


def test_whole_images_are_drawn() -> None:
    """Where images differ more than particles, intervals over images are wider."""
    rng = np.random.default_rng(4)
    values, names = sample(rng, 60, apart=1.0)
    groups = np.repeat(np.arange(6), 30)
    values[:, 0] += np.where(names == "rod", np.repeat([0, 0, 0, 8, 8, 8], 30), 0)
    alone, whole = separation(values, names), separation(values, names, groups)
    width = [(t["high"] - t["low"])["silhouette"] for t in (alone, whole)]
    assert width[1] > 1.3 * width[0]
    with pytest.raises(DataError, match="five"):
        separation(values, names, np.repeat([0, 1], 90))


def test_the_plane_is_that_of_the_largest_spread() -> None:
    rng = np.random.default_rng(5)
    hidden = rng.normal(size=200)
    values = np.column_stack([hidden + 0.1 * rng.normal(size=200) for _ in range(4)])
    values = np.column_stack([values, rng.normal(size=200)])
    points, shares, loadings = plane(values)
    assert abs(np.corrcoef(points[:, 0], hidden)[0, 1]) > 0.99
    assert shares[0] == pytest.approx(0.8, abs=0.03)
    assert shares[1] == pytest.approx(0.2, abs=0.03)
    np.testing.assert_allclose(loadings @ loadings.T, np.eye(2), atol=1e-9)
    with pytest.raises(DataError, match="three"):
        plane(values[:2])
    with pytest.raises(DataError, match="same"):
        plane(np.ones((5, 2)))


@pytest.mark.parametrize("names", [["disc"] * 6, ["disc", "rod"] * 2, ["disc", "rod"] + ["a"] * 4])
def test_too_few_are_refused(names) -> None:
    with pytest.raises(DataError):
        separation(np.random.default_rng(6).normal(size=(6, 2)), names)
