"""Tuned weights answer for pictures like the annotated ones, those before tuning for others."""

from __future__ import annotations

import copy
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.stats import multivariate_normal

torch = pytest.importorskip("torch")

from test_embedded_segmenter import discs  # noqa: E402

import particle_nb as pnb  # noqa: E402
from particle_nb.core.masks import Prompt  # noqa: E402
from particle_nb.models.embedded import segmenter as embedded  # noqa: E402
from particle_nb.models.embedded.familiar import Familiar, TraitSpace, known_space  # noqa: E402
from particle_nb.models.embedded.segmenter import UnfamiliarWarning  # noqa: E402
from particle_nb.models.tuning import running  # noqa: E402
from particle_nb.models.tuning.embedded import EmbeddedLearner, elsewhere_of  # noqa: E402
from particle_nb.models.tuning.lessons import read_lessons  # noqa: E402
from particle_nb.models.tuning.running import Outlook  # noqa: E402
from particle_nb.models.weights import packed, parse_weights  # noqa: E402
from particle_nb.validation.results import provenance  # noqa: E402

CLICK = Prompt(points=((60.0, 70.0),))


def balls(seed: int) -> pnb.Image:
    """Bright balls on a dark ground."""
    rng = np.random.default_rng(seed)
    spots = [
        (60 + 95 * x + rng.uniform(-9, 9), 60 + 95 * y + rng.uniform(-9, 9), rng.uniform(22, 34))
        for x in range(3)
        for y in range(3)
    ]
    return pnb.Image(discs((320, 320), spots)[0], name=f"balls {seed}")


def weave(seed: int) -> tuple[pnb.Image, pnb.MaskSet]:
    """Crossing bright threads, some of them marked."""
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[:320, :320]
    grey, labels = np.full((320, 320), 60.0), np.zeros((320, 320), int)
    for number in range(1, 15):
        angle, at = rng.uniform(0, np.pi), rng.uniform(60, 260, 2)
        across = (columns - at[0]) * np.cos(angle) + (rows - at[1]) * np.sin(angle)
        here = np.abs(across) < 5
        grey[here], labels[here] = rng.uniform(110, 200), number
    noise = rng.normal(0, 8, grey.shape)
    picture = pnb.Image((grey + noise).clip(0, 255).astype(np.uint8), name=f"weave {seed}")
    return picture, pnb.MaskSet.from_labels(labels)


@pytest.fixture(scope="module")
def base() -> Any:
    return embedded.load(device="cpu")


@pytest.fixture(scope="module")
def tuned(base: Any) -> Any:
    """What tuning on threads gives, without its training: weights a little off."""
    network = copy.deepcopy(base.network)
    with torch.no_grad():
        for value in network.encoder.dense.parameters():
            value.mul_(1.1)
    elsewhere = elsewhere_of(base, read_lessons([weave(k) for k in range(3)]))
    assert elsewhere is not None
    return replace(
        base,
        network=network,
        name="threads",
        digest="t" * 16,
        elsewhere=replace(elsewhere, quiet=False),
    )


def test_the_score_is_the_difference_of_two_normal_laws() -> None:
    rng = np.random.default_rng(0)
    space = TraitSpace(np.zeros(3), np.ones(3), np.eye(3))
    seen = np.array([1.0, -2.0, 0.5]) + rng.normal(0, 0.4, (12, 3))
    known = Familiar(space, seen, np.repeat([0, 1], 6), np.zeros((0, 3)))
    spread = (2 * np.cov(seen.T, bias=True) + 3 * 0.3 * np.eye(3)) / 5
    for place in rng.normal(size=(5, 3)):
        own = multivariate_normal(seen.mean(0), spread).logpdf(place)
        every = multivariate_normal(np.zeros(3), np.eye(3)).logpdf(place)
        assert known.score(place) == pytest.approx(own - every)
    assert known.score(seen.mean(0)) > 0 > known.score(np.array([-1.0, 2.0, 0.0]))


def test_annotated_pictures_of_many_kinds_lower_the_limit() -> None:
    """Else the new weights would answer for every second picture like them only."""
    rng = np.random.default_rng(2)
    space, whose = TraitSpace(np.zeros(8), np.ones(8), np.eye(8)), np.repeat(np.arange(12), 6)
    none = np.zeros((0, 8))
    one = Familiar(space, np.full(8, 0.8) + rng.normal(0, 0.2, (72, 8)), whose, none)
    assert one.limit == 0
    middles = np.repeat(rng.normal(size=(12, 8)), 6, axis=0)
    many = Familiar(space, middles + rng.normal(0, 0.2, (72, 8)), whose, none)
    places = rng.normal(size=(400, 8))
    held = np.mean([many.holds(place) for place in places])
    plain = np.mean([many.score(place) > 0 for place in places])
    assert many.limit < 0
    assert plain < 0.6 < 0.75 < held
    assert Familiar(space, middles[:6], whose[:6], none).limit == 0


def test_pictures_of_other_kinds_raise_the_limit_where_annotated_ones_leave_room() -> None:
    rng = np.random.default_rng(3)
    space, whose = TraitSpace(np.zeros(8), np.ones(8), np.eye(8)), np.repeat(np.arange(8), 6)
    seen = np.full(8, 0.8) + rng.normal(0, 0.2, (48, 8))
    plain = Familiar(space, seen, whose, np.zeros((0, 8)))
    near, nearer, far = (np.full(8, value) for value in (0.4, 0.79, -1.0))
    assert plain.limit == 0 < plain.score(near) < 4 < plain.score(nearer)
    assert replace(plain, others=far[None]).limit == 0
    one = replace(plain, others=np.array([far, near]))
    assert one.limit == pytest.approx(plain.score(near))
    assert not one.holds(near)
    assert one.holds(near + 0.05)
    # a picture in the middle of the annotated ones puts none of them elsewhere
    same = replace(plain, others=nearer[None])
    assert 0 < same.limit < plain.score(nearer) - 3
    assert same.holds(nearer)
    assert np.mean([same.holds(place) for place in seen]) > 0.95


def test_the_space_makes_pictures_standard_normal_by_their_weights() -> None:
    rng = np.random.default_rng(1)
    traits = rng.normal(size=(400, 4)) @ rng.normal(size=(4, 6)) + 5
    weights = rng.uniform(0.5, 2, 400)
    at = TraitSpace.of(traits, weights, 4).coordinates(traits)
    share = weights / weights.sum()
    np.testing.assert_allclose(share @ at, 0, atol=1e-6)
    np.testing.assert_allclose((share[:, None] * at).T @ at, np.eye(4), atol=1e-4)


def test_the_space_of_the_package_is_that_of_its_weights(base: Any) -> None:
    assert known_space(base.digest) is not None
    assert known_space("0" * 16) is None


@pytest.mark.parametrize("count", [1, 3])
def test_pictures_like_the_annotated_ones_are_told_from_others(base: Any, count: int) -> None:
    made = elsewhere_of(base, read_lessons([weave(k) for k in range(count)]))
    assert made is not None
    assert not any(made.holds(weave(k)[0]) for k in range(10, 16))
    assert all(made.holds(balls(k)) for k in range(6))
    # other magnification, contrast and detector noise make no other kind of it
    grey = weave(20)[0].grey.astype(float)
    assert not made.holds(pnb.Image((grey[:220, :220] ** 1.4).astype(np.float32)))
    fine = torch.nn.functional.interpolate(
        torch.from_numpy(grey)[None, None], scale_factor=0.8, mode="bilinear", antialias=True
    )
    assert not made.holds(pnb.Image(fine[0, 0].numpy()))


def test_each_picture_is_answered_by_its_weights_and_no_others(base: Any, tuned: Any) -> None:
    plain = replace(tuned, elsewhere=None)
    ours, other = weave(30)[0], balls(30)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        own = tuned.encode(ours)
        assert tuned.answers(ours)
        found = tuned.generate(ours)
    np.testing.assert_array_equal(own.arrays["maps0"], plain.encode(ours).arrays["maps0"])
    assert found.digest == plain.generate(ours).digest
    with pytest.warns(UnfamiliarWarning, match="balls 30 is unlike the pictures that threads"):
        theirs = tuned.encode(other)
    assert not tuned.answers(other)
    np.testing.assert_array_equal(theirs.arrays["maps0"], base.encode(other).arrays["maps0"])
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # said once
        tuned.encode(other, (0, 0, 200, 200))
    answer = tuned.predict(theirs, CLICK)
    assert answer.digest == base.predict(base.encode(other), CLICK).digest
    with pytest.warns(UnfamiliarWarning):
        found = tuned.generate(other)
    assert found.digest == base.generate(other).digest != plain.generate(other).digest


@pytest.mark.filterwarnings("ignore::particle_nb.models.embedded.segmenter.UnfamiliarWarning")
def test_a_session_keeps_both_kinds_of_embeddings(base: Any, tuned: Any, tmp_path: Path) -> None:
    other = balls(31)
    expected = base.predict(base.encode(other), CLICK).digest
    for _ in range(2):  # computed, and read from the disk
        session = pnb.Session(segmenter=tuned, cache_dir=tmp_path, device="cpu")
        assert session.predict(other, CLICK).digest == expected
        assert session.propose(other, progress=False).digest == base.generate(other).digest
    assert session.cache_info().disk_hits == 1
    about = provenance(session, [other, weave(31)[0]])["images"]
    assert about[0]["answered by"] == f"{base.name} ({base.digest})"
    assert "answered by" not in about[1]
    with pytest.raises(pnb.ModelError, match="made by"):
        base.predict(replace(base.encode(other), weights=tuned.digest), CLICK)


@pytest.mark.filterwarnings("ignore::particle_nb.models.embedded.segmenter.UnfamiliarWarning")
def test_a_file_holds_both_weights(base: Any, tuned: Any, tmp_path: Path) -> None:
    facts = {"name": tuned.name, **embedded.stored_facts(tuned)}
    data = packed(embedded.stored_tensors(tuned), facts)
    path = tmp_path / "threads.safetensors"
    path.write_bytes(data)
    model = pnb.Session(segmenter=str(path), device="cpu").segmenter
    first = model.elsewhere.segmenter
    assert len(repr(model)) < 800
    assert (first.name, first.digest) == (base.name, base.digest)
    for seed in (40, 41):
        assert model.answers(weave(seed)[0])
        other = balls(seed)
        assert not model.answers(other)
        assert model.generate(other).digest == base.generate(other).digest
    place = np.zeros(8)
    assert model.elsewhere.familiar.score(place) == pytest.approx(
        tuned.elsewhere.familiar.score(place), rel=1e-4
    )


@pytest.mark.parametrize("key", ["seen", "whose", "others", "axes", "middle"])
def test_a_damaged_file_is_refused(tuned: Any, key: str) -> None:
    facts = {"name": tuned.name, **embedded.stored_facts(tuned)}
    tensors = embedded.stored_tensors(tuned)
    where = torch.device("cpu")
    changed = packed({**tensors, f"familiar.{key}": torch.zeros(2, 3)}, facts)
    with pytest.raises(pnb.ModelError, match="holds no weights"):
        embedded.parsed(changed, "this file", where)
    lacking = {name: v for name, v in tensors.items() if name != f"familiar.{key}"}
    with pytest.raises(pnb.ModelError, match="holds no weights"):
        embedded.parsed(packed(lacking, facts), "this file", where)
    assert parse_weights(packed(tensors, facts), "this file")[1]["name"] == "threads"


def test_tuned_again_the_first_weights_answer_elsewhere_and_all_lessons_count(
    base: Any, tuned: Any
) -> None:
    lessons = read_lessons([(balls(50), np.eye(320, dtype=int))])
    assert tuned.elsewhere.holds(balls(51))
    again = elsewhere_of(tuned, lessons)
    assert again is not None
    assert again.segmenter is tuned.elsewhere.segmenter
    assert len(np.unique(again.familiar.whose)) == 4
    assert not again.holds(balls(51))
    assert not again.holds(weave(50)[0])


def test_a_glance_is_small_and_takes_the_middle_of_a_large_picture(base: Any) -> None:
    grey = np.zeros((3000, 4000), np.uint8)
    grey[1000:2000, 1300:2700] = np.random.default_rng(0).integers(100, 255, (1000, 1400))
    seen = base.glance(pnb.Image(grey))
    assert seen.shape[2] % 32 == seen.shape[3] % 32 == 0
    assert seen.shape[2] * seen.shape[3] < 450_000
    assert float(seen[0, 0, 60:-60, 60:-60].min()) > float(seen.min())
    assert base.glance(pnb.Image(grey[:20, :700])).shape[2] == 32


def test_tuning_gives_weights_that_leave_other_pictures_alone(
    base: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def few(model: Any, lessons: list[Any], clicks: bool = True) -> list[dict[str, Any]]:
        f1, none = (0.2 if model is base else 0.6), np.zeros(0)
        row = {"particles": 4, "f1": f1, "click": f1, "confidence": none, "iou": none}
        return [{"image": lesson.name, **row} for lesson in lessons]

    monkeypatch.setattr(running, "scores_of", few)
    monkeypatch.setattr(EmbeddedLearner, "finished", lambda self, going: self.segmenter())
    settings = pnb.TuneSettings(steps=2, crops=1, side=64, prompts=1, rehearsed=2)
    lessons = [weave(k) for k in range(4)]
    tuned = running.tune(base, lessons, settings, Outlook(24 * 60.0))
    assert tuned.kept
    assert "for pictures unlike the annotated ones the old weights answer." in tuned.notes
    assert not any("so they do for" in note for note in tuned.notes)
    model = pnb.Session(segmenter=str(tuned.save(tmp_path / "w.safetensors"))).segmenter
    assert model.answers(weave(60)[0])
    with pytest.warns(UnfamiliarWarning, match="from before tuning"):
        found = model.generate(balls(60))
    assert found.digest == base.generate(balls(60)).digest
    alone = running.tune(base, lessons, replace(settings, everywhere=True), Outlook(24 * 60.0))
    assert alone.segmenter.elsewhere is None
    assert alone.segmenter.answers(balls(60))
    assert any("judges refitted" in note for note in alone.notes)
