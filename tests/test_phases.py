"""Phases from strokes: features of pixels, the forest, the map, its shares and their intervals."""

import dataclasses
import json
import zipfile

import numpy as np
import pytest
import tifffile
from scipy import ndimage
from scipy.stats import norm
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.ensemble import RandomForestClassifier

import particle_nb as pnb
from particle_nb.core.errors import DataError, ImageError, PromptError
from particle_nb.core.phases import (
    Committee,
    DenseFeatures,
    Growth,
    Plane,
    Stroke,
    StrokeLog,
    appoint,
    channels_of,
    filter_bank,
    grow,
    guided,
    joined,
    phase_fractions,
)
from particle_nb.core.phases.forest import Forest
from particle_nb.core.synthetic import CompositeSettings, composite
from particle_nb.validation.painting import mean_iou, random_strokes

FAST = pnb.PhaseSettings(trees=30)


@pytest.fixture(scope="module")
def section():
    return composite(CompositeSettings(shape=(160, 160)), 3)


def painted(labels, each, seed=0):
    """Some pixels of every phase, at random."""
    rng = np.random.default_rng(seed)
    strokes = np.full(labels.shape, -1)
    for phase in range(int(labels.max()) + 1):
        rows, columns = np.nonzero(labels == phase)
        at = rng.choice(len(rows), each, replace=False)
        strokes[rows[at], columns[at]] = phase
    return strokes


# ------------------------------------------------------------------------------- features


def test_filters_of_a_ramp_are_its_slope() -> None:
    ramp = pnb.Image(np.tile(np.arange(64.0) * 3, (48, 1)))
    bank = filter_bank(ramp)
    at = bank.at(np.full(16, 24), np.arange(24, 40))
    column = dict(zip(bank.names, at.T, strict=True))
    np.testing.assert_allclose(column["c0.grey"], np.arange(24, 40) * 3.0)
    np.testing.assert_allclose(column["c0.gaussian.4"], np.arange(24, 40) * 3.0, atol=0.05)
    # a cell of two pixels sees twice the slope, at one pixel the slope itself
    np.testing.assert_allclose(column["c0.gradient.1"], 3.0, atol=1e-3)
    np.testing.assert_allclose(column["c0.gradient.4"], 6.0, atol=1e-2)
    np.testing.assert_allclose(column["c0.ridge.2"], 0.0, atol=1e-3)
    np.testing.assert_allclose(column["c0.max.2"] - column["c0.min.2"], 12.0)
    np.testing.assert_allclose(column["c0.median.2"], column["c0.grey"])


def test_the_sd_is_that_of_noise() -> None:
    noise = np.random.default_rng(0).normal(1000, 5, (200, 200))
    sd = filter_bank(pnb.Image(noise)).maps(["c0.sd.4"])
    assert float(sd[40:160, 40:160].mean()) == pytest.approx(5 / np.sqrt(4) * 1.0, rel=0.06)


def test_coarse_planes_lie_where_their_pixels_are() -> None:
    """Cells of 4 x 4 pixels of a ramp, interpolated, are the ramp again."""
    ramp = np.arange(40.0) * 2
    cells = ramp.reshape(10, 4).mean(axis=1)
    plane = Plane(np.tile(cells, (10, 1))[..., None], ("x",), 4)
    found = DenseFeatures((plane,), (40, 40)).maps()[20, 2:38, 0]
    np.testing.assert_allclose(found, ramp[2:38], atol=1e-4)


def test_a_plane_with_a_slope_takes_the_edges_of_the_guide() -> None:
    guide = np.zeros((32, 32), np.float32)
    guide[:, 17:] = 1
    plane = Plane(np.ones((4, 4, 1)), ("x",), 8, np.full((4, 4, 1), 2.0))
    found = DenseFeatures((plane,), (32, 32), guide).maps()[..., 0]
    np.testing.assert_array_equal(found, 1 + 2 * guide)


def test_every_detector_counts_and_grey_in_colours_counts_once() -> None:
    grey = np.random.default_rng(0).integers(0, 255, (20, 20)).astype(np.uint8)
    assert len(channels_of(pnb.Image(np.repeat(grey[..., None], 3, 2)))) == 1
    assert len(channels_of(pnb.Image(np.stack([grey, grey.T], -1)))) == 2
    rgba = np.dstack([grey, grey.T, grey, np.full_like(grey, 255)])
    assert len(channels_of(pnb.Image(rgba))) == 3
    bank = filter_bank(pnb.Image(np.stack([grey, grey.T], -1)))
    assert len(bank.names) == 2 * 56
    one = filter_bank(pnb.Image(grey.T.copy())).maps()
    np.testing.assert_allclose(bank.maps()[..., 56:], one)


def test_pixels_without_a_number_have_no_phase(section) -> None:
    pixels = section.image.pixels.astype(np.float32).copy()
    pixels[5:9, 7:12, 1] = np.nan
    image = pnb.Image(pixels)
    classifier = pnb.PhaseClassifier(features="filters", settings=FAST)
    phases = classifier.fit(image, painted(section.labels, 20)).predict(image)
    assert (phases.labels[5:9, 7:12] == -1).all()
    assert (phases.labels >= 0).sum() == phases.labels.size - 20
    assert np.isnan(phases.certainty[6, 8])
    assert phases.fractions(interval=None)["pixels"].sum() == phases.labels.size - 20


@pytest.mark.parametrize("shape", [(1, 1), (1, 40), (3, 2), (17, 33)])
def test_small_and_odd_frames_have_features(shape) -> None:
    bank = filter_bank(pnb.Image(np.random.default_rng(0).normal(size=shape)))
    assert bank.maps().shape == (*shape, 56)
    assert np.isfinite(bank.maps()).all()


# ------------------------------------------------------------------------------- the forest


def test_the_forest_votes_as_scikit_learn_does() -> None:
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(300, 7)).astype(np.float32)
    targets = (rows[:, 0] + rows[:, 1] ** 2 > 0.5).astype(int) + (rows[:, 2] > 1)
    forest = grow(rows, targets, Growth(trees=25, seed=4))
    peer = RandomForestClassifier(25, class_weight="balanced", random_state=4).fit(rows, targets)
    asked = rng.normal(size=(200, 7)).astype(np.float32)
    np.testing.assert_allclose(forest.probabilities(asked), peer.predict_proba(asked), atol=1e-5)


def test_arrays_that_are_no_forest_are_refused() -> None:
    rows = np.random.default_rng(0).normal(size=(40, 3)).astype(np.float32)
    arrays = grow(rows, (rows[:, 0] > 0).astype(int), Growth(trees=3)).arrays()
    for name, values in (
        ("children", np.zeros_like(arrays["children"])),  # a walk that never ends
        ("feature", arrays["feature"] + 9),
        ("roots", arrays["roots"] + 10**6),
        ("leaves", arrays["leaves"][:-1]),
    ):
        with pytest.raises(DataError, match="no forest"):
            Forest(**{**arrays, name: values}, width=3)


def test_every_family_of_features_has_a_forest_and_a_linear_judge() -> None:
    rng = np.random.default_rng(5)
    rows = rng.normal(size=(300, 5)).astype(np.float32)
    targets = (rows[:, 0] + rows[:, 3] > 0).astype(int) + (rows[:, 1] > 1)
    families = ["filters", "filters", "filters", "network", "network"]
    made = appoint(rows, targets, families, Growth(trees=9))
    asked = rng.normal(size=(200, 5)).astype(np.float32)
    votes = []
    for part in (slice(0, 3), slice(3, 5)):
        own, its = rows[:, part], asked[:, part]
        votes.append(grow(own, targets, Growth(trees=9)).probabilities(its))
        middle, spread = own.mean(axis=0), own.std(axis=0)
        peer = LinearDiscriminantAnalysis(solver="lsqr", shrinkage="auto", priors=[1 / 3] * 3)
        peer.fit((own - middle) / spread, targets)
        votes.append(peer.predict_proba((its - middle) / spread))
    np.testing.assert_allclose(made.probabilities(asked), np.mean(votes, axis=0), atol=1e-5)
    arrays = made.arrays()
    same = Committee.of_arrays(arrays, 5)
    np.testing.assert_array_equal(same.probabilities(asked), made.probabilities(asked))
    # files of before hold the linear judge of the filters alone
    older = {**arrays, "slopes": arrays["slopes"][0], "levels": arrays["levels"][0]}
    np.testing.assert_allclose(
        Committee.of_arrays(older, 5).probabilities(asked),
        np.mean([votes[0], votes[1], votes[2]], axis=0),
        atol=1e-5,
    )
    for name, values in (("slopes", arrays["slopes"][:1]), ("levels", arrays["levels"][:, :2])):
        with pytest.raises(DataError, match="no forest"):
            Committee.of_arrays({**arrays, name: values}, 5)


# ------------------------------------------------------------------------------- classifier


def test_both_detectors_beat_either(section) -> None:
    strokes = painted(section.labels, 40)
    scores = {}
    for name, pixels in (
        ("SE", section.image.pixels[..., 0]),
        ("BSE", section.image.pixels[..., 1]),
        ("both", section.image.pixels),
    ):
        image = pnb.Image(pixels.copy())
        classifier = pnb.PhaseClassifier(features="filters", settings=FAST)
        found = classifier.fit(image, strokes).predict(image).labels
        scores[name] = mean_iou(found, section.labels)
    assert scores["both"] > max(scores["SE"], scores["BSE"]) + 0.03, scores


def test_a_seed_gives_one_map_and_the_file_gives_it_again(section, tmp_path) -> None:
    strokes = painted(section.labels, 20)
    make = lambda seed: pnb.PhaseClassifier(features="filters", settings=FAST, seed=seed)  # noqa: E731
    names = {0: "resin", 3: "void"}
    first = make(1).fit(section.image, strokes, names)
    phases = first.predict(section.image)
    again = make(1).fit(section.image, strokes).predict(section.image)
    np.testing.assert_array_equal(phases.labels, again.labels)
    path = first.save(tmp_path / "sorts.pnbclasses")
    read = pnb.PhaseClassifier.load(path)
    found = read.predict(section.image)
    np.testing.assert_array_equal(found.labels, phases.labels)
    assert found.names == phases.names == {0: "resin", 1: "phase 1", 2: "phase 2", 3: "void"}
    assert found.info["painted"] == {"resin": 20, "phase 1": 20, "phase 2": 20, "void": 20}
    assert found.info["features"] == ["filters 1"]
    assert found.calibration == section.image.calibration
    with zipfile.ZipFile(path) as archive:
        assert all(not name.endswith((".pkl", ".pickle")) for name in archive.namelist())


def test_phases_need_not_be_numbered_without_gaps(section) -> None:
    strokes = painted(section.labels, 20)
    strokes[strokes == 1] = 7
    classifier = pnb.PhaseClassifier(features="filters", settings=FAST)
    phases = classifier.fit(section.image, strokes).predict(section.image)
    assert set(np.unique(phases.labels)) <= {0, 2, 3, 7}
    assert phases.probabilities.shape[2] == len(phases.names) == 8
    assert (phases.labels == 7).any()


def test_other_channels_and_features_are_refused(section) -> None:
    strokes = painted(section.labels, 20)
    classifier = pnb.PhaseClassifier(features="filters", settings=FAST).fit(section.image, strokes)
    with pytest.raises(DataError, match=r"1 channels.*learned from 2"):
        classifier.predict(section.image.pixels[..., 0])
    other = lambda image: image.pixels.astype(float)  # noqa: E731
    own = pnb.PhaseClassifier(features=["filters", other], settings=FAST)
    with pytest.raises(DataError, match=r"learned from 112 features.*these are 114"):
        classifier.predict_maps(own.maps(section.image), section.image)


def test_own_features_are_used_and_must_be_given_again(section, tmp_path) -> None:
    truth = section.labels[..., None].astype(float)
    strokes = painted(section.labels, 20)
    blind = pnb.Image(np.zeros(section.labels.shape, np.uint8) + np.uint8(3))
    # a picture without edges has none to smooth along
    plain = dataclasses.replace(FAST, smooth=0)
    own = pnb.PhaseClassifier(features="filters", settings=plain).fit(blind, strokes, own=truth)
    assert mean_iou(own.predict(blind, own=truth).labels, section.labels) > 0.9
    with pytest.raises(DataError, match="57 features"):
        own.predict(blind)
    know = lambda image: truth  # noqa: E731
    called = pnb.PhaseClassifier(features=know, settings=plain).fit(blind, strokes)
    called.save(tmp_path / "own")
    with pytest.raises(DataError, match="pass features="):
        pnb.PhaseClassifier.load(tmp_path / "own")
    read = pnb.PhaseClassifier.load(tmp_path / "own", features=know)
    assert mean_iou(read.predict(blind).labels, section.labels) > 0.9


def test_one_classifier_for_several_images_a_folder_and_a_stack(section, tmp_path) -> None:
    images = [pnb.Image(section.image.pixels[:, i : i + 80]) for i in (0, 80)]
    strokes = [painted(section.labels[:, :80], 15), np.full((160, 80), -1)]
    classifier = pnb.PhaseClassifier(features="filters", settings=FAST).fit(images, strokes)
    assert sum(classifier.painted.values()) == 60
    with pytest.raises(DataError, match="1 arrays of strokes for 2 images"):
        classifier.fit(images, strokes[:1])
    grey = pnb.PhaseClassifier(features="filters", settings=FAST).fit(
        [image.pixels[..., 1] for image in images], strokes
    )
    pages = np.stack([image.pixels[..., 1] for image in images])
    tifffile.imwrite(tmp_path / "stack.tif", pages, photometric="minisblack")
    stack = list(grey.predict_all(tmp_path / "stack.tif", tmp_path / "out"))
    assert len(stack) == 2
    np.testing.assert_array_equal(stack[1].labels, grey.predict(images[1].pixels[..., 1]).labels)
    assert len(list((tmp_path / "out").iterdir())) == 2
    folder = tmp_path / "folder"
    folder.mkdir()
    for i, page in enumerate(pages):
        tifffile.imwrite(folder / f"{i}.tif", page)
    found = [phases.labels for phases in grey.predict_all(folder)]
    np.testing.assert_array_equal(found[0], stack[0].labels)
    with pytest.raises(DataError, match="no image"):
        list(grey.predict_all([]))


def test_a_damaged_or_foreign_file_is_no_classifier(section, tmp_path) -> None:
    classifier = pnb.PhaseClassifier(features="filters", settings=FAST)
    path = classifier.fit(section.image, painted(section.labels, 10)).save(tmp_path / "a")
    data = path.read_bytes()
    for name, wrong in (("half", data[: len(data) // 2]), ("empty", b""), ("text", b"phases")):
        (tmp_path / name).write_bytes(wrong)
        with pytest.raises(DataError, match="nothing that save wrote"):
            pnb.PhaseClassifier.load(tmp_path / name)
    with pytest.raises(DataError, match="holds 'phase classifier'"):
        pnb.PhaseMap.load(path)


# ------------------------------------------------------------------------------- the map


def test_a_map_is_kept_with_all_it_knows(tmp_path) -> None:
    rng = np.random.default_rng(0)
    probable = rng.dirichlet([1, 1, 1], (6, 7))
    made = pnb.PhaseMap(
        probable.argmax(axis=2), probable, ("a", "b", "c"), pnb.Calibration(5, "nm"), "x", {"k": 1}
    )
    read = pnb.PhaseMap.load(made.save(tmp_path / "map"))
    np.testing.assert_array_equal(read.labels, made.labels)
    np.testing.assert_array_equal(read.probabilities, made.probabilities)
    assert (read.names, read.name, read.info) == (made.names, "x", {"k": 1})
    assert read.calibration == made.calibration
    np.testing.assert_allclose(made.certainty, probable.max(axis=2), atol=1e-3)


def test_the_label_tiff_holds_the_phases_and_the_scale(tmp_path) -> None:
    labels = np.array([[0, 1, 2], [2, -1, 0]])
    pnb.PhaseMap(labels, calibration=pnb.Calibration(20, "nm")).save(tmp_path / "a.tif")
    assert tifffile.imread(tmp_path / "a.tif").tolist() == [[0, 1, 2], [2, 255, 0]]
    assert pnb.read_image(tmp_path / "a.tif").calibration.to("nm") == pytest.approx(20)


def test_regions_of_a_phase_can_be_measured() -> None:
    labels = np.zeros((40, 40), int)
    labels[5:15, 5:25], labels[30:33, 30:33] = 1, 1
    phases = pnb.PhaseMap(labels, names=("matrix", "grain"))
    assert phases.particles("grain").areas.tolist() == [200, 9]
    assert phases.particles(1, least=10).areas.tolist() == [200]
    assert phases.mask("matrix").sum() == 1600 - 209
    with pytest.raises(DataError, match="0 \\(matrix\\), 1 \\(grain\\)"):
        phases.mask("pore")
    assert pnb.microstructure(phases) is not None


# ------------------------------------------------------------------------------- fractions


@pytest.mark.parametrize(("length", "fraction"), [(2, 0.3), (5, 0.1)])
def test_intervals_hold_the_truth_as_often_as_they_say(length, fraction) -> None:
    rng = np.random.default_rng(5)
    limit, hits, few = norm.ppf(1 - fraction), 0, 0
    for _ in range(100):
        noise = rng.standard_normal((96 + 8 * length,) * 2)
        field = ndimage.gaussian_filter(noise, length)[4 * length : -4 * length, 4 * length :][
            :, :96
        ]
        field *= np.sqrt(4 * np.pi) * length
        row = phase_fractions((field > limit).astype(int), ("a", "b")).loc["b"]
        hits += row["low"] <= fraction <= row["high"]
        few += row["flag"] == "few"
    assert 88 <= hits <= 100
    assert few < 50


def test_intervals_widen_with_correlation_and_stay_honest_where_little_is_known() -> None:
    rng = np.random.default_rng(1)
    fine = rng.integers(0, 2, (128, 128))
    coarse = np.kron(rng.integers(0, 2, (16, 16)), np.ones((8, 8), int))
    widths = [np.ptp(phase_fractions(x, "ab")[["low", "high"]].loc["b"]) for x in (fine, coarse)]
    assert 5 < widths[1] / widths[0] < 12  # cells of 8 x 8 pixels count once
    half = np.zeros((64, 64), int)
    half[:, 32:] = 1
    row = phase_fractions(half, "ab").loc["b"]
    assert row["flag"] == "few"
    assert row["high"] - row["low"] > 0.5
    alone = phase_fractions(np.zeros((9, 9), int), ("a", "b")).loc["b"]
    assert (alone["flag"], alone["low"]) == ("absent", 0.0)
    assert alone["high"] > 0.9


# ------------------------------------------------------------------------------- strokes


def test_strokes_are_undone_redone_written_and_painted_again(tmp_path) -> None:
    log = StrokeLog((40, 60), {0: "a", 1: "b"}, "digest")
    log.add(Stroke("brush", 0, ((5, 5), (20, 5)), 2))
    log.add(Stroke("polygon", 1, ((30, 10), (50, 10), (50, 30), (30, 30))))
    full = log.labels.copy()
    assert (full == 1).sum() == pytest.approx(400, abs=45)
    log.add(Stroke("eraser", 0, ((40, 20),), 5))
    assert (log.labels == 1).sum() < (full == 1).sum()
    assert log.undo()
    np.testing.assert_array_equal(log.labels, full)
    read = StrokeLog.read(log.write(tmp_path / "a.strokes"))
    np.testing.assert_array_equal(read.labels, full)
    assert (read.names, read.image, read.position, len(read.strokes)) == (log.names, "digest", 2, 3)
    assert read.redo()
    assert not read.redo()
    read.add(Stroke("brush", 1, ((1, 1),), 1))
    assert len(read.strokes) == 4
    assert [read.undo() for _ in range(5)] == [True] * 4 + [False]
    assert (read.labels == -1).all()


def test_a_log_paints_the_same_pixels_again_wherever_the_hand_was(tmp_path) -> None:
    rng = np.random.default_rng(0)
    log = StrokeLog((60, 60))
    for phase in range(12):
        log.add(Stroke("brush", phase % 3, rng.uniform(5, 55, (4, 2)), rng.uniform(0.6, 6)))
    read = StrokeLog.read(log.write(tmp_path / "a"))
    np.testing.assert_array_equal(read.labels, log.labels)


def test_a_stroke_that_cannot_be_painted_changes_nothing() -> None:
    log = StrokeLog((20, 20))
    for wrong in (
        lambda: Stroke("spray", 0, ((1, 1),)),
        lambda: Stroke("brush", -1, ((1, 1),)),
        lambda: Stroke("brush", 1.5, ((1, 1),)),
        lambda: Stroke("brush", 1, "path"),
        lambda: log.add(Stroke("brush", 1, ((1e9, 1),))),
        lambda: log.add(Stroke("brush", 1, ((500, 500),), 2)),
        lambda: log.add(Stroke("brush", 1, ((5, 5),), 0)),
        lambda: log.add(Stroke("polygon", 1, ((5, 5), (6, 6)))),
    ):
        with pytest.raises(PromptError):
            wrong()
    assert not log.strokes
    assert (log.labels == -1).all()


@pytest.mark.parametrize(
    "wrong",
    [
        {"kind": "phases"},
        {"format": 9},
        {"shape": [0, 4]},
        {"shape": [10**6, 10**6]},
        {"position": 7},
        {"strokes": [{"tool": "brush"}]},
        {"strokes": [{"tool": "brush", "phase": 0, "path": [[1, 1]], "code": "x"}]},
        {"names": 3},
    ],
)
def test_a_foreign_log_is_refused(wrong, tmp_path) -> None:
    good = {"kind": "strokes", "format": 1, "shape": [8, 8], "image": "", "names": {}}
    text = json.dumps({**good, "strokes": [], "position": 0, **wrong})
    (tmp_path / "a").write_text(text)
    with pytest.raises(DataError):
        StrokeLog.read(tmp_path / "a")


# ------------------------------------------------------------------------------- refusals


def test_votes_are_smoothed_along_edges_only() -> None:
    picture = np.zeros((40, 40), np.float32)
    picture[:, 20:] = 1
    noisy = picture[..., None] + np.random.default_rng(0).normal(0, 0.3, (40, 40, 1))
    found = guided(noisy, picture, 4)[..., 0]
    assert np.abs(found[:, 19] - 0).mean() < 0.12
    assert np.abs(found[:, 20] - 1).mean() < 0.12
    np.testing.assert_array_equal(guided(noisy, picture, 0), noisy.astype(np.float32))


def test_planes_that_do_not_fit_are_refused() -> None:
    one = DenseFeatures((Plane(np.zeros((4, 4, 1)), ("a",)),), (4, 4))
    for wrong in (
        lambda: Plane(np.zeros((4, 4, 2)), ("a",)),
        lambda: Plane(np.full((4, 4, 1), np.nan), ("a",)),
        lambda: Plane(np.zeros((4, 4, 1)), ("a",), 0),
        lambda: Plane(np.zeros((4, 4, 1)), ("a",), 1, np.zeros((3, 4, 1))),
        lambda: DenseFeatures((), (4, 4)),
        lambda: DenseFeatures(
            (Plane(np.zeros((4, 4, 1)), ("a",), 1, np.zeros((4, 4, 1))),), (4, 4)
        ),
        lambda: joined([one, one]),
        lambda: joined([]),
        lambda: joined([one, DenseFeatures((Plane(np.zeros((5, 4, 1)), ("b",)),), (5, 4))]),
        lambda: one.maps(["b"]),
    ):
        with pytest.raises(DataError):
            wrong()


def test_no_image_is_no_image(section) -> None:
    for wrong in (None, "a.tif", [], {}, [None]):
        with pytest.raises(ImageError):
            pnb.PhaseClassifier(features="filters").fit(wrong, section.labels)


# ------------------------------------------------------------------------------- simulated strokes


def test_simulated_strokes_stay_within_their_phase_and_have_the_asked_size() -> None:
    truth = np.kron(np.random.default_rng(0).integers(0, 3, (6, 6)), np.ones((20, 20), int))
    truth[:5] = -1
    strokes = random_strokes(truth, 0.02, 1)
    some = strokes >= 0
    np.testing.assert_array_equal(strokes[some], truth[some])
    wanted = round(0.02 * truth.size / 3)
    assert [int((strokes == k).sum()) for k in range(3)] == [wanted] * 3
    np.testing.assert_array_equal(random_strokes(truth, 0.02, 1), strokes)
    assert (random_strokes(truth, 0.02, 2) != strokes).any()
    for wrong in ((truth.astype(float), 0.1), (truth, 0), (truth, np.nan), (truth[0], 0.1)):
        with pytest.raises(DataError):
            random_strokes(*wrong, 0)


def test_mean_iou_is_that_of_its_phases() -> None:
    truth = np.array([[0, 0, 1, 1, -1]])
    assert mean_iou(np.array([[0, 1, 1, 1, 0]]), truth) == pytest.approx((1 / 2 + 2 / 3) / 2)
    with pytest.raises(DataError):
        mean_iou(truth, truth.T)
