"""Tuning on own masks: what is read, parted, learned, judged, kept and loaded again."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from sam_weights import random_sam  # noqa: E402
from test_embedded_segmenter import discs  # noqa: E402

import particle_nb as pnb  # noqa: E402
from particle_nb.core.annotation import Annotation  # noqa: E402
from particle_nb.models import sam  # noqa: E402
from particle_nb.models.embedded import segmenter as embedded  # noqa: E402
from particle_nb.models.embedded.judges import Judge  # noqa: E402
from particle_nb.models.embedded.network import NetworkSettings, PromptableNetwork  # noqa: E402
from particle_nb.models.embedded.one_pass import Dense  # noqa: E402
from particle_nb.models.embedded.pyramid import view_of  # noqa: E402
from particle_nb.models.tuning import examples, running  # noqa: E402
from particle_nb.models.tuning.crops import normalise  # noqa: E402
from particle_nb.models.tuning.embedded import EmbeddedLearner  # noqa: E402
from particle_nb.models.tuning.judging import refitted  # noqa: E402
from particle_nb.models.tuning.lessons import Lesson, parted, read_lessons  # noqa: E402
from particle_nb.models.tuning.running import Outlook, TuneProgress, tune  # noqa: E402
from particle_nb.models.tuning.sam import SamLearner  # noqa: E402
from particle_nb.models.tuning.scoring import automatic_f1, innermost, scores_of  # noqa: E402
from particle_nb.models.weights import (  # noqa: E402
    packed,
    read_metadata,
    weights_digest,
)
from particle_nb.validation.results import provenance  # noqa: E402

FEW = pnb.TuneSettings(steps=3, crops=1, side=64, prompts=1, rehearsed=2)
FINISHED = EmbeddedLearner.finished
LONG = 24 * 60.0  # the steps decide, not the clock of a busy machine


def picture(seed: int) -> tuple[pnb.Image, pnb.MaskSet]:
    """Four discs on 96 x 96 px."""
    rng = np.random.default_rng(seed)
    spots = [(24 + 44 * (k % 2), 24 + 46 * (k // 2), rng.uniform(9, 14)) for k in range(4)]
    grey, labels = discs((96, 96), spots)
    return pnb.Image(grey, name=f"discs {seed}"), pnb.MaskSet.from_labels(labels)


def pictures(count: int) -> list[tuple[pnb.Image, pnb.MaskSet]]:
    return [picture(number) for number in range(count)]


@pytest.fixture(scope="module")
def small() -> Any:
    """The embedded segmenter with a network of a few thousand random weights."""
    torch.manual_seed(0)
    widths = NetworkSettings(encoder=(8,) * 5, blocks=(1,) * 5, decoder=(8,) * 3)
    network = PromptableNetwork(widths).eval().requires_grad_(False)
    return replace(embedded.load(device="cpu"), network=network, name="small", digest="0" * 16)


def scored(*means: float) -> Callable[..., list[dict[str, Any]]]:
    """Stands for `scores_of` and gives these F1 one call after the other."""
    left = list(means)

    def scores(model: Any, lessons: list[Lesson], clicks: bool = True) -> list[dict[str, Any]]:
        f1, none = left.pop(0), np.zeros(0)
        row = {"particles": 4, "f1": f1, "click": f1, "confidence": none, "iou": none}
        return [{"image": lesson.name, **row} for lesson in lessons]

    return scores


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fewer drawn pictures, judges as they were, and a gain from 0.2 to 0.6."""
    monkeypatch.setattr(EmbeddedLearner, "finished", lambda self, going: self.segmenter())
    monkeypatch.setattr(running, "REMEMBERED", ("field",))
    monkeypatch.setattr(running, "LOOKS", ())
    monkeypatch.setattr(running, "scores_of", scored(0.2, 0.2, 0.4, 0.6, 0.5, 0.6, 0.6, 0.6))


# ---- what is read -------------------------------------------------------------------------------


def test_annotations_are_read_from_pairs_annotations_and_files(tmp_path: Path) -> None:
    image, masks = picture(0)
    made = Annotation(None, image, masks, autosave=False)
    path = made.save(tmp_path / "a.pnb")
    every = read_lessons([(image, masks), made, path, (np.array(image.grey), masks.to_labels())])
    assert [len(lesson.masks) for lesson in every] == [4] * 4
    assert len({lesson.facts["digest"] for lesson in every[:3]}) == 1
    assert [lesson.name for lesson in read_lessons({"b": (image, masks)})] == ["b"]
    assert len(read_lessons((image, masks))) == len(read_lessons(made)) == 1


def test_a_file_without_its_image_says_what_to_do(tmp_path: Path) -> None:
    image, masks = picture(0)
    path = Annotation(None, image, masks, autosave=False).save(tmp_path / "a.pnb", with_image=False)
    with pytest.raises(pnb.DataError, match="no image"):
        read_lessons([path])


def test_whole_images_are_held_out_or_parts_where_there_are_few() -> None:
    lessons = read_lessons(pictures(8))
    learned, held = parted(lessons, 0.25, 0)
    assert (len(held), len(learned)) == (2, 6)
    assert not {lesson.name for lesson in held} & {lesson.name for lesson in learned}
    learned, held = parted(lessons[:1], 0.25, 0)
    # no pixel is in both: the two parts make up the image
    both = np.concatenate([learned[0].grey, held[0].grey])
    assert np.array_equal(both, lessons[0].grey)
    with pytest.raises(pnb.DataError, match="too few"):
        parted([Lesson("a", lessons[0].image, lessons[0].masks[:0])], 0.25, 0)


def test_a_large_image_is_looked_at_where_the_particles_are() -> None:
    labels = np.zeros((2000, 1500), int)
    labels[1800:1810, 1400:1410], labels[1850:1860, 1300:1310], labels[10:20, 10:20] = 1, 2, 3
    lesson = Lesson("a", pnb.Image(np.zeros(labels.shape)), pnb.MaskSet.from_labels(labels))
    part = lesson.small()
    assert part.image.shape == (768, 768)
    assert len(part.masks) == 2


# ---- judges -------------------------------------------------------------------------------------


def test_a_judge_learns_the_new_and_keeps_the_old(monkeypatch: pytest.MonkeyPatch) -> None:
    """New rows at +2 turn from yes to no; what it said of old rows at -2 stays."""
    rng = np.random.default_rng(0)
    layers = [
        (rng.normal(size=(24, 2)), np.zeros(24)),
        (rng.normal(size=(24, 24)) / 5, np.zeros(24)),
        (np.zeros((1, 24)), np.array([3.0])),
    ]
    made = tuple((w.astype(np.float32), b.astype(np.float32)) for w, b in layers)
    judge = Judge(np.zeros(2, np.float32), np.ones(2, np.float32), made)
    new, old = np.full((50, 2), 2.0), np.full((50, 2), -2.0)
    for name, value in (("STEPS", 60), ("EXAMPLES", 32), ("RATE", 0.05)):
        monkeypatch.setattr(f"particle_nb.models.tuning.judging.{name}", value)
    after = refitted(judge, [(new, np.zeros((50, 1)))], [old])
    assert judge(new).mean() > 0.95
    assert after(new).mean() < 0.3
    assert after(old).mean() > 0.9


# ---- a run --------------------------------------------------------------------------------------


def test_a_run_says_how_far_it_is_and_what_it_gained(
    small: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With real scores, and judges that are fitted anew."""
    monkeypatch.setattr(running, "scores_of", scores_of)
    monkeypatch.setattr(EmbeddedLearner, "finished", FINISHED)
    monkeypatch.setattr("particle_nb.models.tuning.embedded.JUDGED", 1)
    monkeypatch.setattr("particle_nb.models.tuning.judging.STEPS", 5)
    monkeypatch.setattr("particle_nb.models.tuning.scoring.CLICKS", 1)
    told: list[TuneProgress] = []
    before = {k: v.clone() for k, v in small.network.state_dict().items()}
    tuned = tune(small, pictures(4), FEW, Outlook(LONG, told.append))
    assert all(torch.equal(before[k], v) for k, v in small.network.state_dict().items())
    assert tuned.about["steps"] == 3
    assert (told[0].doing, told[-1].doing) == ("scoring the old weights", "done")
    assert [t.steps for t in told] == sorted(t.steps for t in told)
    assert tuned.scores["kind"].tolist() == ["held out", "rehearsed"]
    assert tuned.notes
    assert tuned.about["parent"] == {"name": "small", "digest": "0" * 16}


def test_steps_change_the_network_and_lower_the_loss(small: Any) -> None:
    learner = EmbeddedLearner(small, read_lessons([picture(0)]), replace(FEW, rate=5e-3))
    losses = [learner.step(0.0) for _ in range(14)]
    # every fourth step has prompts in its loss, too
    plain = [loss for number, loss in enumerate(losses) if number % 4]
    assert np.mean(plain[-3:]) < 0.95 * np.mean(plain[:3])
    made = learner.segmenter()
    pairs = zip(made.network.parameters(), small.network.parameters(), strict=True)
    assert all(not torch.equal(a, b) for a, b in pairs)


@pytest.mark.parametrize(
    ("own", "drawn", "way"),
    [
        ((0.4, 0.5, 0.6), (0.9, 0.9, 0.9), 1.0),
        ((0.4, 0.5, 0.6), (0.9, 0.9, 0.8), 0.6),
        ((0.4, 0.5, 0.6), (0.89, 0.84, 0.8), 0.35),
    ],
)
def test_weights_between_old_and_new_are_taken_where_all_the_way_forgets(
    small: Any,
    monkeypatch: pytest.MonkeyPatch,
    own: tuple[float, ...],
    drawn: tuple[float, ...],
    way: float,
) -> None:
    """The gain on what is held out, less three times what is lost on drawings beyond 0.02."""
    given = (0.2, 0.9, *(score for pair in zip(own, drawn, strict=True) for score in pair))
    monkeypatch.setattr(running, "scores_of", scored(*given))
    learned: list[Any] = []
    variants = EmbeddedLearner.variants

    def seen(self: EmbeddedLearner, made: Any) -> Any:
        learned.append(made)
        return variants(self, made)

    monkeypatch.setattr(EmbeddedLearner, "variants", seen)
    tuned = tune(small, pictures(3), FEW, Outlook(LONG))
    assert tuned.kept
    assert any(f"{100 * way:.0f} % of the way" in note for note in tuned.notes) == (way < 1)
    new, old = learned[0].network.state_dict(), small.network.state_dict()
    for key, value in tuned.segmenter.network.state_dict().items():
        expected = (1 - way) * old[key] + way * new[key]
        torch.testing.assert_close(value, expected.half().float(), rtol=2e-3, atol=2e-4)


def test_what_must_not_be_forgotten_is_drawn_and_rendered() -> None:
    """Drawings alone did not show what real images lost: those rendered do."""
    lessons = running.remembered(pnb.TuneSettings())
    names = [lesson.name.split()[0] for lesson in lessons]
    kinds = len(running.REMEMBERED)
    assert names == ["drawn"] * kinds + ["rendered"] * 5
    assert sum(len(lesson.masks) for lesson in lessons[kinds:]) > 50
    again = running.remembered(pnb.TuneSettings())
    assert all(
        (a.image.pixels == b.image.pixels).all() for a, b in zip(lessons, again, strict=True)
    )


def test_judges_between_two_are_means_of_their_weights() -> None:
    judges = embedded.load(device="cpu").judges
    assert judges is not None
    other = judges.towards(judges, 0.3)
    x = np.random.default_rng(0).normal(size=(5, len(judges.joining.middle)))
    np.testing.assert_allclose(other.joining(x), judges.joining(x), rtol=1e-5)


def test_old_weights_stay_where_nothing_is_gained(
    small: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(running, "scores_of", scored(0.6, 0.6, 0.6, 0.6, 0.6, 0.6, 0.605, 0.6))
    tuned = tune(small, pictures(3), FEW, Outlook(LONG))
    assert not tuned.kept
    assert "small" in tuned.segmenter.about
    assert "unchanged: tuning on" in tuned.segmenter.about
    assert any("old weights stay" in note for note in tuned.notes)
    assert tuned.segmenter.name == "small"
    state, old = tuned.segmenter.network.state_dict(), small.network.state_dict()
    assert all(torch.equal(state[k], old[k].half().float()) for k in old)


def test_a_file_holds_weights_and_parentage_and_loads(small: Any, tmp_path: Path) -> None:
    tuned = tune(small, pictures(4), FEW, Outlook(LONG))
    assert tuned.kept
    assert tuned.gain == pytest.approx(0.4)
    with pytest.raises(pnb.ModelError, match="safetensors"):
        tuned.save(tmp_path / "lic.pth")
    path = tuned.save(tmp_path / "lic.safetensors")
    session = pnb.Session(segmenter=str(path))
    model = session.segmenter
    assert (model.name, model.digest) == (tuned.segmenter.name, tuned.segmenter.digest)
    assert model.name.startswith("small+")
    assert "tuned from small" in model.about
    one, other = (m.network.state_dict() for m in (model, tuned.segmenter))
    assert all(torch.equal(one[key], other[key]) for key in one)
    image, masks = picture(0)
    about = json.loads(read_metadata(path)["parentage"])
    assert about["annotations"][0]["digest"] == image.digest
    assert about["annotations"][0]["masks"] == masks.digest
    assert sum(one["held_out"] for one in about["annotations"]) == 1
    assert about["settings"]["steps"] == 3
    assert provenance(session, [image])["segmenter"]["weights"] == tuned.segmenter.digest


def test_a_session_takes_tuned_weights_and_none_of_its_old_embeddings(small: Any) -> None:
    tuned = tune(small, pictures(3), FEW, Outlook(LONG))
    image, _ = picture(0)
    session = pnb.Session(segmenter=small)
    old = session.encode(image)
    session.use(tuned)
    assert session.encode(image).weights == tuned.segmenter.digest != old.weights
    with pytest.raises(pnb.ModelError):
        session.use("no such.safetensors")
    assert session.segmenter.digest == tuned.segmenter.digest


def test_interrupted_it_gives_what_it_has(small: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    real = EmbeddedLearner.step

    def step(self: EmbeddedLearner, progress: float) -> float:
        if self.steps == 2:
            raise KeyboardInterrupt
        return real(self, progress)

    monkeypatch.setattr(EmbeddedLearner, "step", step)
    tuned = tune(small, pictures(3), replace(FEW, steps=99), Outlook(LONG))
    assert tuned.about["steps"] == 2
    assert tuned.kept
    assert any("interrupted" in note for note in tuned.notes)


def test_a_background_run_can_be_stopped_and_used(small: Any) -> None:
    session = pnb.Session(segmenter=small)
    seen: list[str] = []
    stopped = threading.Event()

    def watch(run: pnb.BackgroundTune) -> None:
        seen.append(run.state)
        if run.progress.steps >= 1 and not stopped.is_set():
            stopped.set()
            run.stop()

    many = replace(FEW, steps=10_000)
    run = pnb.BackgroundTune(session, pictures(3), LONG, settings=many, watch=watch)
    assert run.state == "waiting"
    with pytest.raises(pnb.DataError, match="not over"):
        run.use()
    run.start()
    session.encode(picture(0)[0])  # answered meanwhile
    with pytest.raises(pnb.DataError, match="started"):
        run.start()
    assert run.wait(300)
    assert run.state == seen[-1] == "done", run.error
    assert run.result.about["steps"] < 100
    assert run.use()
    assert session.segmenter is run.result.segmenter


def test_a_background_run_keeps_what_went_wrong() -> None:
    run = pnb.BackgroundTune(pnb.Session("classical"), [picture(0)]).start()
    assert run.wait(60)
    assert run.state == "failed"
    with pytest.raises(pnb.ModelError, match="cannot be tuned"):
        run.use()


# ---- files --------------------------------------------------------------------------------------


def test_damaged_and_foreign_files_are_refused_in_words(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    short, foreign, cut = (tmp_path / f"{n}.safetensors" for n in ("short", "foreign", "cut"))
    short.write_bytes(b"12345")
    save_file({"weight": torch.zeros(3)}, str(foreign))
    cut.write_bytes(embedded.WEIGHTS.read_bytes()[:90_000])
    for path, word in ((short, "cut short"), (foreign, "another program"), (cut, "cut short")):
        with pytest.raises(pnb.ModelError, match=word):
            _ = pnb.Session(segmenter=str(path)).segmenter
    with pytest.raises(pnb.ModelError, match="no weights at"):
        _ = pnb.Session(segmenter=str(tmp_path / "none.safetensors")).segmenter


def test_the_weights_of_the_package_survive_being_written() -> None:
    model = embedded.load(device="cpu")
    facts = {"settings": asdict(model.network.settings)}
    data = packed(embedded.stored_tensors(model), facts)
    again = embedded.parsed(data, "bytes", model.device)
    state = model.network.state_dict()
    assert all(torch.equal(state[k], v) for k, v in again.network.state_dict().items())
    features = np.random.default_rng(0).normal(size=(5, 27))
    assert np.array_equal(model.judges.particle(features), again.judges.particle(features))


def test_scores_of_nothing_and_the_middle_of_a_mask() -> None:
    _, masks = picture(0)
    assert automatic_f1(masks[:0], masks[:0]) == 1.0
    assert automatic_f1(masks[:0], masks) == 0.0
    assert automatic_f1(masks, masks) == 1.0
    x, y = innermost(masks[0])
    assert masks[0].full()[round(y), round(x)]


# ---- Segment Anything ---------------------------------------------------------------------------


def test_the_decoder_of_sam_is_tuned_and_kept_beside_it(tmp_path: Path) -> None:
    folder = tmp_path / "sam"
    random_sam(side=256, mlp=64, layers=1).save_pretrained(folder)
    base = sam.load(str(folder), "cpu")
    learner = SamLearner(base, read_lessons(pictures(2)), FEW)
    frozen = weights_digest(learner.model.vision_encoder.state_dict())
    assert np.isfinite([learner.step(0.0) for _ in range(3)]).all()
    made = learner.finished()
    assert weights_digest(made.model.vision_encoder.state_dict()) == frozen
    old, new = base.model.mask_decoder.state_dict(), made.model.mask_decoder.state_dict()
    assert any(not torch.equal(old[k], new[k]) for k in old)
    about = {"kept": True, "annotations": [{"masks": "x", "particles": 4}], "date": "today"}
    tuned, data = learner.packed(
        made, about | {"parent": {"name": base.name, "digest": base.digest}}
    )
    assert tuned.digest != base.digest
    path = tmp_path / "mine.safetensors"
    path.write_bytes(data)
    again = pnb.Session(segmenter=str(path), device="cpu").segmenter
    assert (again.name, again.digest) == (tuned.name, tuned.digest)
    folder.rename(tmp_path / "elsewhere")
    with pytest.raises(pnb.ModelError, match="Put it beside"):
        _ = pnb.Session(segmenter=str(path)).segmenter


def test_particles_that_lie_between_the_pixels_of_a_magnified_view_are_examples(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Of 40 px a view has five cells a pixel: the last label may be on none that is looked at."""
    model, grey = embedded.load(device="cpu"), np.full((40, 40), 90, np.uint8)
    labels = np.zeros((40, 40), int)
    labels[10:20, 10:20] = 1
    scale = 9.6
    with torch.inference_mode():
        part = torch.from_numpy(normalise(grey))[None, None]
        dense = Dense.of(view_of(model.network, part, scale, (0.0, 0.0)))
    found = np.zeros(dense.logit.shape, np.int32)
    found[48:96, 48:96] = 1
    found[0, 0] = 2
    monkeypatch.setattr(examples, "relabelled", lambda pieces, group: found)
    features, iou = examples.instance_examples(dense, labels, scale, model.judges.joining)
    assert features.shape == (2, 27)
    assert iou[0] > 0.9
    assert iou[1] == 0
