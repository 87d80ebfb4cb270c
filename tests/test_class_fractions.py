"""Covered particles and fractions of classes. Truths: drawn scenes, clusters in closed form."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

import particle_nb as pnb
from particle_nb.core.errors import DataError
from particle_nb.core.learning import FeatureTable

HEAP = pnb.synthetic.SceneSettings(
    shape=(300, 300),
    populations=(
        pnb.synthetic.Population("sphere", sizes=pnb.synthetic.Sizes("lognormal", 220, 1.6)),
    ),
    count=150,
    packing="heap",
)


def area_under_curve(values: np.ndarray, positive: np.ndarray) -> float:
    found = stats.mannwhitneyu(values[positive], values[~positive]).statistic
    return float(found / positive.sum() / (~positive).sum())


@pytest.fixture(scope="module")
def heap() -> pnb.synthetic.Scene:
    return pnb.synthetic.scene(HEAP, 3)


def test_the_bitten_one_lies_below(heap: pnb.synthetic.Scene) -> None:
    truth = heap.truth[: len(heap.masks)]
    table = pnb.neighbour_features(heap.image, heap.masks)
    whole = ~truth["cut"].to_numpy(bool)
    hidden = truth["covered"].to_numpy() > 0.1
    assert 20 < hidden[whole].sum() < whole.sum() - 20
    assert area_under_curve(table["order"][whole].astype(float), hidden[whole]) > 0.85
    alone = table["contact_share"] == 0
    assert (table["neighbours"][alone] == 0).all()
    assert (table["hidden_share"][alone] < 0.02).all()
    np.testing.assert_allclose(table["overlap_share"], 0)
    np.testing.assert_array_equal(
        table["frame_share"] > 0, [mask.touches_edge for mask in heap.masks]
    )


def test_masks_that_overlap_are_seen() -> None:
    shape = (50, 70)
    masks = []
    for col in (10, 25):
        full = np.zeros(shape, bool)
        full[10:40, col : col + 30] = True
        masks.append(pnb.Mask.from_full(full))
    table = pnb.neighbour_features(pnb.Image(np.eye(*shape)), pnb.MaskSet(tuple(masks), shape))
    np.testing.assert_allclose(table["overlap_share"], 0.5)


def test_sizes_beside_are_a_ratio_of_diameters() -> None:
    """Squares of 20 and 40 px side by side: half and twice as large across."""
    shape = (60, 90)
    masks = [pnb.Mask((20, 10), np.ones((20, 20), bool), shape)]
    masks += [pnb.Mask((10, 31), np.ones((40, 40), bool), shape)]
    grey = np.full(shape, 50, np.uint8)
    grey[20:40, 10:30], grey[10:50, 31:71] = 120, 200
    table = pnb.neighbour_features(pnb.Image(grey), pnb.MaskSet(tuple(masks), shape))
    assert table["neighbours"].tolist() == [1, 1]
    np.testing.assert_allclose(table["size_beside"], [-np.log10(2), np.log10(2)])
    np.testing.assert_allclose(table["seam_step"], [-80 / 150, 80 / 150])


def test_columns_stand_behind_those_of_the_session(heap: pnb.synthetic.Scene) -> None:
    own = pnb.core.learning.particle_numbers(heap.image, heap.masks)
    both = pnb.neighbour_features(heap.image, heap.masks, own)
    assert both.names[: len(own.names)] == own.names
    np.testing.assert_array_equal(both.values[:, : len(own.names)], own.values)
    with pytest.raises(DataError, match="not those of these masks"):
        pnb.neighbour_features(heap.image, heap.masks, own[:5])


def test_covered_ones_are_learned_from_twenty_labels(heap: pnb.synthetic.Scene) -> None:
    names, tables = [], []
    for seed in (3, 4):
        scene = heap if seed == 3 else pnb.synthetic.scene(HEAP, seed)
        truth = scene.truth[: len(scene.masks)]
        own = pnb.core.learning.particle_numbers(scene.image, scene.masks)
        tables.append(pnb.neighbour_features(scene.image, scene.masks, own))
        names.append(np.where(truth["covered"] > 0.1, "covered", "sphere"))
        names[-1][truth["cut"]] = ""
    first, second = tables
    labels = {}
    for name in ("covered", "sphere"):
        usable = np.flatnonzero((names[0] == name) & np.isfinite(first.values).all(axis=1))
        labels |= {int(row): name for row in usable[:10]}
    classes = pnb.ShapeClassifier(reject=0, novelty=0).fit(first, labels)
    asked = np.flatnonzero((names[1] != "") & np.isfinite(second.values).all(axis=1))
    told = classes.predict(second[asked])["class"].to_numpy()
    assert (told == names[1][asked]).mean() > 0.85


def test_leaving_covered_ones_out_is_biased_and_the_weights_mend_it() -> None:
    """Learned on some scenes, judged on others of the same settings."""
    known = pnb.cover_bias(HEAP, scenes=6)
    assert known.covered([100.0])[0] > known.covered([400.0])[0] + 0.2  # the small ones are hidden
    assert known.bias["x_50,0"] > 0.1
    found = known.table["covered"]
    np.testing.assert_allclose(known.covered(known.table["x_nm"]), found, atol=0.12)
    truth = pd.concat([pnb.synthetic.scene(HEAP, seed).truth for seed in range(20, 26)])
    truth = truth[~truth["cut"]].reset_index(drop=True)
    names = np.where(truth["covered"] > 0.1, "covered", "sphere")
    left = pnb.exclude_classes(truth, names, correction=known)
    assert left.attrs["excluded"] == {"covered": int((names == "covered").sum())}
    sizes = left["x_A_nm"].to_numpy()
    true = np.median(truth["x_A_nm"])
    plain = pnb.size_distribution(sizes, r=0, unit="nm").percentile(50)
    mended = pnb.size_distribution(sizes, r=0, weights=left["weight"], unit="nm").percentile(50)
    assert plain / true - 1 > 0.1
    assert abs(mended - true) < 0.5 * abs(plain - true)


def test_cut_and_unknown_ones_are_left_out_by_rule() -> None:
    table = pd.DataFrame({"x_A_px": [1.0, 2, 3, 4], "touches_edge": [True, False, False, False]})
    names = ["rod", "covered", "unknown", "rod"]
    assert pnb.exclude_classes(table, names)["x_A_px"].tolist() == [3, 4]
    left = pnb.exclude_classes(table, names, unknown=True)
    assert left["x_A_px"].tolist() == [4]
    assert left.attrs["excluded"] == {"covered": 1, "edge": 1, "unknown": 1}
    assert len(pnb.exclude_classes(table, names, names=())) == 4
    with pytest.raises(DataError, match="pixel size"):
        pnb.exclude_classes(
            table, names, correction=pnb.core.learning.CoverBias((0, 0, 0), 1, 0.1, table, {})
        )


def sample(rng: np.random.Generator, counts: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    truth = np.repeat([0, 1], counts)
    return rng.normal(size=(len(truth), 1)) + 2.0 * truth[:, None], truth


def test_fractions_are_freed_of_the_confusion() -> None:
    """A tenth is rod; at two standard deviations apart a sixth is told wrongly."""
    rng = np.random.default_rng(0)
    values, truth = sample(rng, (60, 60))
    classes = pnb.ShapeClassifier(novelty=0).fit(values, np.array(["disc", "rod"])[truth])
    inside, raw, mended = [], [], []
    for _ in range(20):
        asked, _ = sample(rng, (450, 50))
        found = pnb.class_fractions(classes, asked).loc["rod"]
        inside.append(found["number_low"] <= 0.1 <= found["number_high"])
        raw.append(found["told"] / 500)
        mended.append(found["number"])
    assert np.mean(raw) > 0.18
    assert np.mean(mended) == pytest.approx(0.1, abs=0.05)
    assert np.mean(inside) >= 0.85


def test_fractions_by_area_and_volume_are_those_of_the_sizes() -> None:
    values = np.repeat([[0.0], [9.0]], 40, axis=0) + np.linspace(0, 0.5, 80)[:, None]
    labels = {i: "small" if i < 40 else "large" for i in range(0, 80, 2)}
    classes = pnb.ShapeClassifier(novelty=0).fit(values, labels)
    sizes = np.repeat([1.0, 2.0], 40)
    found = pnb.class_fractions(classes, values, sizes)
    for kind, share in (("number", 1 / 2), ("area", 4 / 5), ("volume", 8 / 9)):
        assert found[kind]["large"] == pytest.approx(share, abs=0.02)
        assert found[f"{kind}_low"]["large"] < share < found[f"{kind}_high"]["large"]
        assert found[kind].sum() == pytest.approx(1)


def test_images_are_drawn_where_there_are_five() -> None:
    rng = np.random.default_rng(1)
    values, truth = sample(rng, (60, 60))
    images = tuple(str(i) for i in np.arange(120) % 6)
    table = FeatureTable(values, ("a",), images=images)
    classes = pnb.ShapeClassifier(novelty=0).fit(table, np.array(["disc", "rod"])[truth])
    assert pnb.class_fractions(classes, table).attrs["drawn"] == "images"
    assert pnb.class_fractions(classes, table[:20]).attrs["drawn"] == "images"
    few = FeatureTable(values, ("a",), images=("x",) * 120)
    assert pnb.class_fractions(classes, few).attrs["drawn"] == "particles"


def test_sizes_of_a_class_hold_its_doubt() -> None:
    rng = np.random.default_rng(2)
    sizes = pd.DataFrame({"x_A_nm": np.r_[rng.normal(50, 3, 200), rng.normal(100, 3, 200)]})
    sure = pd.DataFrame({"class": "a", "probability": 1.0, "a": np.repeat([1.0, 0], 200)})
    sure["b"] = 1 - sure["a"]
    found = pnb.class_sizes(sizes, sure)
    assert found.loc["a", "x_50"] == pytest.approx(50, abs=1)
    assert found.loc["b", "x_50"] == pytest.approx(100, abs=1)
    assert found.loc["b", "x_10"] == pytest.approx(100 + 3 * stats.norm.ppf(0.1), abs=1)
    assert found.loc["a", "x_50_high"] - found.loc["a", "x_50_low"] < 2
    doubtful = sure.assign(a=np.clip(sure["a"], 0.25, 0.75), b=np.clip(sure["b"], 0.25, 0.75))
    wide = pnb.class_sizes(sizes, doubtful)
    assert wide.loc["a", "x_90_high"] - wide.loc["a", "x_90_low"] > 1.5
    assert wide.loc["a", "particles"] == pytest.approx(200)
