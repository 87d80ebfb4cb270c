"""Classes from a few labels.

Truths: Gaussian clusters whose Bayes classifier is known in closed form, rasterised bodies of known
form, and scikit-learn's own logistic regression.
"""

import json

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression

from particle_nb.core.archives import unpacked, write_archive
from particle_nb.core.errors import DataError
from particle_nb.core.image import Calibration, Image
from particle_nb.core.learning import FeatureTable, ShapeClassifier, particle_numbers
from particle_nb.core.learning._mixture import COLUMNS
from particle_nb.core.learning._samples import design_effect
from particle_nb.core.masks import Mask, MaskSet


def clusters(rng, count=100, apart=2.5, noise=3):
    """Two classes, unit variance, `apart` along the first axis; other columns are noise."""
    truth = np.arange(2 * count) % 2
    values = rng.normal(size=(2 * count, 1 + noise))
    values[:, 0] += apart * truth
    return values, np.array(["disc", "rod"], object)[truth], truth


def polygon(n, side, rng, jitter=0.0):
    """A regular n-gon (disc for 0) of random size and place, turned at random."""
    radius = side / 2 * rng.uniform(0.8, 1.2)
    y, x = np.mgrid[:side, :side] - (side - 1) / 2 + rng.uniform(-0.5, 0.5, (2, 1, 1))
    angle = np.arctan2(y, x) - rng.uniform(0, 2 * np.pi)
    distance = np.hypot(x, y) / (0.8 * radius)
    edge = np.ones_like(distance)
    if n:
        edge = np.cos(np.pi / n) / np.cos((angle % (2 * np.pi / n)) - np.pi / n)
    elif jitter:
        edge = 1 - jitter + jitter * np.cos(5 * angle)
    return distance <= edge


def bodies(rng, kinds, count):
    """Masks in a frame, their classes, and an image of bright bodies on noise."""
    side, columns = 48, 10
    names = [name for name in kinds for _ in range(count)]
    rows = -(-len(names) // columns)
    shape = (rows * side, columns * side)
    masks = []
    for place, name in enumerate(names):
        crop = polygon(kinds[name], side, rng, 0.28 if name == "star" else 0)
        masks.append(Mask((place // columns * side, place % columns * side), crop, shape))
    found = MaskSet(tuple(masks), shape)
    grey = rng.normal(60, 8, shape) + 100 * (found.to_labels() > 0)
    return Image(np.clip(grey, 0, 255).astype(np.uint8)), found, np.array(names)


def test_probabilities_are_those_of_bayes() -> None:
    values, names, _ = clusters(np.random.default_rng(0), 400)
    classes = ShapeClassifier(novelty=0).fit(values[:400], names[:400])
    table = classes.predict(values[400:])
    truth = 1 / (1 + np.exp(-(values[400:, 0] - 1.25) * 2.5))  # equal priors, unit variance
    assert np.abs(table["rod"] - truth).mean() < 0.04
    assert np.allclose(table["disc"] + table["rod"], 1)
    certain = table["probability"] >= 0.75
    assert (table["class"][~certain] == "unknown").all()
    right = table["class"][certain] == names[400:][certain]
    assert right.mean() == pytest.approx(table["probability"][certain].mean(), abs=0.04)
    assert list(table.columns) == ["class", "probability", "disc", "rod"]
    assert table.attrs["unknown"] == {"low probability": int((~certain).sum())}


def test_the_solution_is_that_of_logistic_regression() -> None:
    """Found in the span of the rows, it is that of all columns."""
    rng = np.random.default_rng(1)
    values, names, targets = clusters(rng, 15, noise=80)
    classes = ShapeClassifier().fit(values, names)
    inside = classes._space(values.astype(np.float32))
    model = LogisticRegression(C=10.0, max_iter=5000, tol=1e-8).fit(inside, targets)
    logits = inside @ (classes._coefficients[1] - classes._coefficients[0])
    logits = logits + classes._intercepts[1] - classes._intercepts[0]
    np.testing.assert_allclose(logits, model.decision_function(inside), atol=0.02)


def test_two_labels_a_class_are_enough_and_one_is_not() -> None:
    rng = np.random.default_rng(2)
    kinds = {"disc": 0, "triangle": 3, "square": 4}
    image, masks, names = bodies(rng, kinds, 20)
    features = particle_numbers(image, masks)
    some = {i: names[i] for i in (0, 1, 20, 21, 40, 41)}
    found = ShapeClassifier(reject=0).fit(features, some).predict(features)
    named = found["class"] != "unknown"
    assert named.mean() > 0.5
    assert (found["class"][named] == names[named]).mean() > 0.9
    del some[41]
    with pytest.raises(DataError, match="1 of 'square'"):
        ShapeClassifier().fit(features, some)
    with pytest.raises(DataError, match="two classes"):
        ShapeClassifier().fit(features, {0: "disc", 1: "disc"})


def test_a_form_of_no_class_is_unknown_and_not_the_nearest() -> None:
    rng = np.random.default_rng(3)
    image, masks, names = bodies(rng, {"disc": 0, "triangle": 3, "square": 4, "star": 0}, 40)
    features = particle_numbers(image, masks)
    chosen = [i for start in (0, 40, 80) for i in range(start, start + 10)]
    classes = ShapeClassifier().fit(features, {i: names[i] for i in chosen})
    others = np.setdiff1d(np.arange(160), chosen)
    found = classes.predict(features)["class"].to_numpy()
    known = np.intersect1d(others, np.arange(120))
    assert (found[120:] == "unknown").mean() >= 0.8
    assert (found[known] == "unknown").mean() <= 0.1
    assert (found[known] == names[known])[found[known] != "unknown"].mean() > 0.97
    assert set(classes.reasons(features[120:])) <= {"novel", "low probability", ""}
    without = ShapeClassifier(novelty=0).fit(features, {i: names[i] for i in chosen})
    assert (without.predict(features)["class"][120:] == "unknown").mean() < 0.8


def test_conformal_sets_hold_the_true_class_as_often_as_they_say() -> None:
    rng = np.random.default_rng(4)
    held, single = [], []
    for _ in range(8):
        values, names, _ = clusters(rng, 150, apart=1.5)
        classes = ShapeClassifier(reject="conformal", alpha=0.1, novelty=0)
        classes.fit(values[:60], names[:60])
        sets = classes.sets(values[60:])
        held += [name in found for name, found in zip(names[60:], sets, strict=True)]
        told = classes.predict(values[60:])["class"]
        single.append(np.mean([len(found) == 1 for found in sets]))
        assert ((told != "unknown") == np.array([len(found) == 1 for found in sets])).all()
    assert np.mean(held) == pytest.approx(0.9, abs=0.03)
    assert 0.3 < np.mean(single) < 1
    with pytest.warns(UserWarning, match="Label 9 or raise"):
        classes.fit(values[:6], names[:6])


def test_scores_are_those_of_a_confusion_that_is_known() -> None:
    rng = np.random.default_rng(5)
    values, names, _ = clusters(rng, 300, apart=2.0, noise=1)
    scores = ShapeClassifier().fit(values, names).scores()
    truth = stats.norm.cdf(1.0)  # of the best boundary, halfway
    assert scores["f1"]["disc"] == pytest.approx(truth, abs=0.04)
    assert (scores["low"] < truth).all()
    assert (scores["high"] > truth).all()
    assert scores["labels"].tolist() == [300, 300, 600]
    assert list(scores.index) == ["disc", "rod", "macro"]
    few = ShapeClassifier().fit(values, dict(enumerate(names[:20]))).scores()
    assert (few["high"] - few["low"] > 2 * (scores["high"] - scores["low"])).all()


def test_scores_keep_images_apart() -> None:
    """A column that knows the image, and so the label, is of no use in another image."""
    rng = np.random.default_rng(6)
    groups = np.repeat(np.arange(8), 10)
    names = np.array(["disc", "rod"])[(groups + np.arange(80) // 5) % 2]
    mark = rng.normal(size=(16, 30))[2 * groups + (names == "rod")]
    values = mark + 0.1 * rng.normal(size=(80, 30))
    alone = ShapeClassifier().fit(values, names).scores()
    apart = ShapeClassifier().fit(values, names, groups).scores()
    assert "single particles" in alone.attrs["folds"]
    assert "whole groups" in apart.attrs["folds"]
    assert alone["f1"]["macro"] > 0.95
    assert apart["f1"]["macro"] < 0.8
    assert apart.attrs["design_effect"] > 2
    table = FeatureTable(values, [f"c{i}" for i in range(30)], images=groups.astype(str))
    assert ShapeClassifier().fit(table, names).scores().equals(apart)


def test_the_design_effect_runs_from_one_to_the_size_of_a_group() -> None:
    rng = np.random.default_rng(2)
    groups = np.repeat(np.arange(40), 10)
    alike = np.repeat(np.arange(40) % 2 == 0, 10)
    assert design_effect(alike, groups) == 10
    free = [design_effect(rng.random(400) < 0.5, groups) for _ in range(200)]
    assert min(free) == 1
    assert 1 < np.mean(free) < 1.2, "independent errors: 1, but for what is cut off below"
    assert design_effect(np.ones(400, bool), groups) == 1


def test_weights_move_the_boundary() -> None:
    values, names, _ = clusters(np.random.default_rng(7), 200, apart=1.0)
    rare = np.r_[np.flatnonzero(names == "disc"), np.flatnonzero(names == "rod")[:20]]
    names = np.where(np.isin(np.arange(400), rare), names, "")
    plain = ShapeClassifier().fit(values, names).predict_proba(values)[:, 1].mean()
    even = ShapeClassifier(class_weight="balanced").fit(values, names)
    named = ShapeClassifier(class_weight={"rod": 10.0}).fit(values, names)
    assert plain < 0.3 < even.predict_proba(values)[:, 1].mean()
    np.testing.assert_allclose(named.predict_proba(values), even.predict_proba(values), atol=0.05)
    with pytest.raises(DataError, match="cube"):
        ShapeClassifier(class_weight={"cube": 2.0}).fit(values, names)


def test_what_decided_is_named() -> None:
    rng = np.random.default_rng(8)
    image, masks, names = bodies(rng, {"triangle": 3, "square": 4}, 10)
    classes = ShapeClassifier().fit(particle_numbers(image, masks), names)
    told = classes.explain(0)
    assert told.attrs["text"].startswith("triangle rather than square: ")
    assert told["feature"][0] in told.attrs["text"]
    assert {
        "symmetry_3",
        "symmetry_4",
        "roundness",
        "form_factor",
        "circularity",
        "inscribed",
    } & set(told["feature"][:3])
    assert (told["weight"].abs().diff().dropna() <= 0).all()
    wide = FeatureTable(
        np.hstack([classes._rows.values, rng.normal(size=(20, 50))]),
        (*classes._rows.names, *(f"net.{i}" for i in range(50))),
    )
    rows = ShapeClassifier().fit(wide, names).explain(wide[3])
    assert "net (50 columns)" in set(rows["feature"])
    with pytest.raises(DataError, match="0 to 19"):
        classes.explain(20)


def test_saved_and_read_again_without_pickle(tmp_path) -> None:
    rng = np.random.default_rng(9)
    image, masks, names = bodies(rng, {"disc": 0, "square": 4}, 10)
    features = particle_numbers(image, masks)
    classes = ShapeClassifier(reject=0.6, class_weight={"disc": 2.0}).fit(features, names)
    path = classes.save(tmp_path / "my.pnbclasses")
    again = ShapeClassifier.load(path)
    assert again.get_params() == classes.get_params()
    assert again.predict(features).equals(classes.predict(features))
    assert again.scores().equals(classes.scores())
    assert again.explain(features[3]).equals(classes.explain(3))
    with np.load(path, allow_pickle=False) as stored:
        assert json.loads(stored["about"].tobytes())["classes"] == ["disc", "square"]
    scaled = Image(image.pixels, Calibration(2, "nm"))
    with pytest.raises(DataError, match="log_x_A_px"):
        again.predict(particle_numbers(scaled, masks))
    other = FeatureTable(features.values, features.names, "net", "0123")
    with pytest.raises(DataError, match="0123"):
        again.predict(other)
    with pytest.warns(UserWarning, match="no names"):
        again.predict(np.asarray(features))
    with pytest.raises(DataError, match="columns"):
        again.predict(np.asarray(features)[:, :5])
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0xFF
    for content in (bytes(data), b"", b"PK\x03\x04", path.read_bytes()[:-40]):
        (tmp_path / "bad").write_bytes(content)
        with pytest.raises(DataError):
            ShapeClassifier.load(tmp_path / "bad")


def test_a_few_pixels_are_not_classified() -> None:
    rng = np.random.default_rng(10)
    image, masks, names = bodies(rng, {"disc": 0, "square": 4}, 10)
    dot = Mask((0, 0), np.ones((1, 1), bool), masks.shape)
    features = particle_numbers(image, MaskSet((*masks, dot)))
    classes = ShapeClassifier().fit(features, {i: names[i] for i in range(20)})
    last = classes.predict(features).iloc[-1]
    assert last["class"] == "unknown"
    assert np.isnan(last["probability"])
    assert classes.reasons(features)[-1] == "not measurable"
    with pytest.warns(UserWarning, match=r"\[20\]"):
        classes.fit(features, {**{i: names[i] for i in range(20)}, 20: "disc"})


def test_conventions_of_scikit_learn() -> None:
    values, names, _ = clusters(np.random.default_rng(11), 20)
    made = ShapeClassifier(reject=0.5, strength=3.0)
    assert clone(made).get_params() == made.get_params()
    assert made.set_params(alpha=0.2).alpha == 0.2
    assert made.fit(values, names) is made
    assert made.predict_proba(values).shape == (40, 2)
    assert made.n_features_in_ == 4
    assert made.predict(values[:0]).empty
    told = pd.Series(names).where(np.arange(40) < 30, pd.NA)
    assert made.fit(values, told).scores()["labels"]["macro"] == 30


@pytest.mark.parametrize(
    ("made", "labels", "said"),
    [
        ({"reject": 2}, None, "reject"),
        ({"reject": "maybe"}, None, "conformal"),
        ({"alpha": 0}, None, "alpha"),
        ({"class_weight": "heavy"}, None, "class_weight"),
        ({}, {0: "disc", 99: "rod"}, "99"),
        ({}, {0: "unknown", 1: "rod"}, "cannot be the name"),
        ({}, {-1: "rod"}, "-1"),
        ({}, ["disc"], "1 labels for 40 rows"),
        ({}, 3, "int"),
        ({}, {}, "none"),
    ],
)
def test_what_cannot_be_learned_from_is_refused(made, labels, said) -> None:
    values, names, _ = clusters(np.random.default_rng(12), 20)
    with pytest.raises(DataError, match=said):
        ShapeClassifier(**made).fit(values, names if labels is None else labels)
    with pytest.raises(DataError, match="fit it"):
        ShapeClassifier().predict(values)


def test_tables_of_other_kinds_are_not_joined() -> None:
    one = FeatureTable(np.eye(3), ("a", "b", "net.0"), "m", "1", images=("x", "y", "z"))
    assert FeatureTable.join([one, one[1:]]).images == ("x", "y", "z", "y", "z")
    assert one.blocks == ("", "", "net")
    assert one.columns("net")[1, 0] == 0
    assert one[np.array([True, False, True])]["net.0"].tolist() == [0, 1]
    with pytest.raises(DataError, match="other features"):
        FeatureTable.join([one, one.columns("")])
    with pytest.raises(DataError, match="twice"):
        FeatureTable(np.eye(2), ("a", "a"))
    with pytest.raises(ValueError, match="read-only"):
        one.values[0, 0] = 2


def clouds(rng, counts):
    """A feature table of Gaussian clouds of forms on a line: "a", "new" in the middle, "b".

    Nine columns, each cloud 0.25 wide in the logarithm; 3 of these widths lie between neighbours.
    """
    places = {"a": 0.0, "new": 0.5, "b": 1.0}
    names = np.repeat(list(counts), list(counts.values()))
    centre = np.array([places[name] for name in names])[:, None]
    direction = np.where(np.arange(len(COLUMNS)) < 4, 1.5, 0.0)
    values = np.exp(centre * direction + rng.normal(0, 0.25, (len(names), len(COLUMNS)))) - 0.02
    return FeatureTable(np.abs(values), COLUMNS), names


def test_a_class_between_the_named_ones_is_seen_in_the_rows_without_a_label() -> None:
    """Each column tells neighbours apart by 3 widths, four together by 6."""
    lost, found, alone = [], [], []
    for seed in range(3):
        rng = np.random.default_rng(seed)
        table, names = clouds(rng, {"a": 120, "b": 120, "new": 60})
        labels = {i: names[i] for i in (*range(30), *range(120, 150))}
        classes = ShapeClassifier(reject=0, novelty=0.1).fit(table, labels)
        unknown = classes.predict(table)["class"].to_numpy() == "unknown"
        rest = np.setdiff1d(np.arange(300), list(labels))
        lost.append(unknown[rest][names[rest] != "new"].mean())
        found.append(unknown[rest][names[rest] == "new"].mean())
        # the same labels, and nothing else to look at
        few = table[list(labels)]
        given = dict(enumerate(labels.values()))
        told = ShapeClassifier(reject=0, novelty=0.1).fit(few, given).predict(table)["class"]
        alone.append((told.to_numpy()[names == "new"] == "unknown").mean())
    assert np.mean(found) >= 0.95
    assert np.mean(lost) == pytest.approx(0.1, abs=0.04)
    assert np.mean(alone) < np.mean(found)


def test_where_every_class_has_a_name_few_are_lost() -> None:
    lost = []
    for seed in range(3):
        table, names = clouds(np.random.default_rng(10 + seed), {"a": 150, "b": 150})
        labels = {i: names[i] for i in (*range(30), *range(150, 180))}
        classes = ShapeClassifier(reject=0, novelty=0.1).fit(table, labels)
        rest = np.setdiff1d(np.arange(300), list(labels))
        lost.append((classes.predict(table[rest])["class"] == "unknown").mean())
    assert 0.01 < np.mean(lost) <= 0.1


def test_what_is_known_of_strange_forms_is_kept(tmp_path) -> None:
    table, names = clouds(np.random.default_rng(20), {"a": 60, "b": 60, "new": 40})
    labels = {i: names[i] for i in (*range(10), *range(60, 70))}
    classes = ShapeClassifier(novelty=0.1).fit(table, labels)
    again = ShapeClassifier.load(classes.save(tmp_path / "a.pnbclasses"))
    assert again.reasons(table) == classes.reasons(table)
    assert "novel" in again.reasons(table)
    about, arrays = unpacked(tmp_path / "a.pnbclasses", 1 << 20)
    damaged = {
        "cloud_shares": arrays["cloud_shares"][1:],
        "cloud_columns": arrays["cloud_columns"] + 100,
        "cloud_means": arrays["cloud_means"] * np.nan,
        "held_strangeness": arrays["held_strangeness"][:3],
    }
    emptied = {"cloud_shares": arrays["cloud_shares"] * 0}
    for name, values in (*damaged.items(), *emptied.items()):
        write_archive(tmp_path / "b", about, arrays | {name: values})
        with pytest.raises(DataError, match=name):
            ShapeClassifier.load(tmp_path / "b")
    words = (("clouds", [[5, 5], [7, 2]], "clouds"), ("usual", [[0, 1]], "clouds"))
    for key, value, said in (
        *words,
        ("usual", [[0, 1], [0, 0]], "usual"),
        ("format", 3, "up to 2"),
    ):
        write_archive(tmp_path / "b", about | {key: value}, arrays)
        with pytest.raises(DataError, match=said):
            ShapeClassifier.load(tmp_path / "b")


def test_a_file_of_the_first_format_is_still_read(tmp_path) -> None:
    """It held mean, standard deviation and number of the logarithms of held-out distances."""
    table, names = clouds(np.random.default_rng(21), {"a": 12, "b": 12})
    classes = ShapeClassifier(novelty=0.05).fit(table, names)
    about, arrays = unpacked(classes.save(tmp_path / "a"), 1 << 20)
    held = arrays["held_strangeness"]
    kept = {name: v for name, v in arrays.items() if not name.startswith(("held_s", "cloud"))}
    facts = about | {"format": 1, "usual": [held.mean(), held.std(ddof=1), len(held)]}
    write_archive(tmp_path / "old", {k: v for k, v in facts.items() if k != "clouds"}, kept)
    old = ShapeClassifier.load(tmp_path / "old")
    asked = clouds(np.random.default_rng(22), {"a": 20, "new": 20})[0]
    assert old.reasons(asked) == classes.reasons(asked)
    assert {"novel", ""} <= set(old.reasons(asked))
