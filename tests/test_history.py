"""History, actions and replay: equal states after undo and redo, masks known in closed form."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pytest
from fake_session import FakeSegmenter, FakeSession, squares
from hypothesis import given, settings
from hypothesis import strategies as st

from particle_nb.core.annotation import read_log, replay, strokes
from particle_nb.core.annotation.actions import ACTIONS, load_line, paste_line, perform
from particle_nb.core.annotation.drafts import encoding_window
from particle_nb.core.annotation.history import History, Particle, State
from particle_nb.core.errors import DataError, PromptError
from particle_nb.core.image import Image
from particle_nb.core.masks import Mask, MaskSet

IMAGE = squares(3, 4)
FACTS = {"image": {"digest": IMAGE.digest}, "model": {"name": "flood", "digest": "0" * 16}}


def run(*lines: dict[str, Any], history: History | None = None) -> History:
    session = FakeSession()
    history = history or History(IMAGE.shape)
    for line in lines:
        history = perform(history, line, IMAGE, session)
    return history


def point(x: float, y: float, label: int = 1) -> dict[str, Any]:
    return {"action": "point", "x": x, "y": y, "label": label}


def key(state: State) -> Any:
    """Everything of a state that can be compared."""
    draft = state.draft
    return (
        [
            (
                n,
                p.mask.digest,
                p.mask.label,
                p.mask.confidence,
                p.name,
                p.note,
                p.visible,
                p.locked,
                p.kept,
                p.review,
            )
            for n, p in state.particles.items()
        ],
        draft and (draft.points, draft.labels, draft.box, draft.choice, draft.refines),
        draft and [mask.digest for mask in draft.candidates],
        state.next_id,
    )


COMMIT = {"action": "commit"}
BOX = {"action": "polygon", "path": [[1, 1], [9, 1], [9, 9], [1, 9]]}
#: Anything a person may do next; whatever cannot be done raises and changes nothing.
ANY = st.sampled_from(
    [
        point(43, 43),
        point(107, 43),
        point(60, 60, 0),
        {"action": "box", "box": [84, 84, 132, 132]},
        {"action": "sketch", "path": [[150, 85], [195, 86], [196, 131], [151, 131]]},
        {"action": "candidate", "choice": 1},
        {"action": "target", "target": "feature"},
        COMMIT,
        {"action": "cancel"},
        BOX,
        {"action": "brush", "path": [[30, 30], [70, 70]], "radius": 5},
        {"action": "brush", "path": [[30, 30], [70, 70]], "radius": 5, "id": 1},
        {"action": "erase", "path": [[30, 30]], "radius": 6, "id": 1},
        {"action": "split", "path": [[43, 0], [43, 90]]},
        {"action": "merge", "ids": [1, 2]},
        {"action": "fill", "ids": [1]},
        {"action": "delete", "ids": [2]},
        {"action": "set", "ids": [1], "label": "round", "note": "n"},
        {"action": "set", "ids": [1], "locked": True},
        {"action": "accept", "ids": [1]},
        {"action": "refine", "id": 1},
        {"action": "filter", "settings": {"min_area": 1500}},
        load_line(MaskSet((Mask((88, 24), np.ones((40, 40), bool), IMAGE.shape, 0.7, 0.8),))),
    ]
)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.one_of(ANY, st.sampled_from(["undo", "redo", "first"])), max_size=25))
def test_undo_redo_and_replay_give_equal_states(moves: list[Any]) -> None:
    session, history = FakeSession(), History(IMAGE.shape)
    for move in moves:
        if move == "undo":
            history = history.undo()
        elif move == "redo":
            history = history.redo()
        elif move == "first":
            history = history.jump(0)
        else:
            try:
                history = perform(history, move, IMAGE, session)
            except (PromptError, DataError):
                continue
    there = key(history.state)
    states = [key(history.jump(i).state) for i in range(len(history.steps) + 1)]
    # the same way again, step by step, from nothing
    again = history.jump(0)
    assert key(again.state) == key(State(IMAGE.shape))
    for state in states[1:]:
        again = again.redo()
        assert key(again.state) == state
    assert key(again.jump(history.position).state) == there
    # a log knows no undo: executed again it gives the state that is in force
    replayed = replay(history.log(**FACTS), FakeSession(), IMAGE)
    assert key(replayed.history.state) == there
    assert replayed.identical


def test_a_step_holds_only_what_it_changed() -> None:
    full = load_line(FakeSession().propose(IMAGE))
    history = run(
        full, {"action": "delete", "ids": [5]}, {"action": "set", "ids": [7], "name": "a"}
    )
    assert [len(step.after) for step in history.steps] == [12, 1, 1]
    first = history.jump(1).state
    assert all(
        history.state.particles[n] is first.particles[n] for n in first.particles if n not in (5, 7)
    )


def test_doing_something_after_undo_drops_the_undone() -> None:
    history = run(BOX, BOX, BOX).undo().undo()
    history = run(BOX, history=history)
    assert len(history.steps) == 2
    assert list(history.state.particles) == [1, 2]
    assert history.redo() is history


def test_points_candidates_and_commit() -> None:
    history = run(point(43, 43), {"action": "candidate", "choice": 1}, {**COMMIT, "label": "a"})
    (mask,) = history.state.masks
    assert mask.bbox[0] < 24 < 64 < mask.bbox[2]
    assert (mask.label, mask.predicted_iou) == ("a", 0.8)
    assert history.state.draft is None
    best = run(point(43, 43), {"action": "target", "target": "feature"}).state.draft
    assert best is not None
    assert best.mask is not None
    assert best.mask.area == 36 * 36, "the smallest candidate is the square eroded by 2 px"


def test_a_refined_particle_keeps_its_number_and_words() -> None:
    history = run(
        BOX,
        {"action": "set", "ids": [1], "name": "x", "label": "y"},
        {"action": "refine", "id": 1},
        point(43, 43),
        COMMIT,
    )
    particle = history.state[1]
    assert (particle.name, particle.mask.label, particle.source) == ("x", "y", "model")
    assert particle.mask.area == 1600


def test_negative_points_alone_ask_no_model() -> None:
    session = FakeSession()
    history = perform(History(IMAGE.shape), point(5, 5, 0), IMAGE, session)
    assert session.calls == []
    with pytest.raises(PromptError, match="nothing to commit"):
        perform(history, COMMIT, IMAGE, session)


def test_locked_particles_refuse_edits() -> None:
    history = run(BOX, {"action": "set", "ids": [1], "locked": True})
    for line in (
        {"action": "delete", "ids": [1]},
        {"action": "brush", "path": [[3, 3]], "radius": 2, "id": 1},
        {"action": "set", "ids": [1], "label": "a"},
        {"action": "refine", "id": 1},
    ):
        with pytest.raises(PromptError, match="locked"):
            run(line, history=history)
    assert (
        len(
            run(
                {"action": "set", "ids": [1], "locked": False},
                {"action": "delete", "ids": [1]},
                history=history,
            ).state.masks
        )
        == 0
    )


def test_filter_hides_proposals_only_and_comes_back() -> None:
    history = run(load_line(FakeSession().propose(IMAGE)), BOX, {"action": "accept", "ids": [1]})
    lowest = history.state[1].mask.predicted_iou
    hidden = run({"action": "filter", "settings": {"min_predicted_iou": 0.99}}, history=history)
    assert lowest < 0.99
    assert len(hidden.state.masks) == 2, "the accepted proposal and what was drawn by hand stay"
    back = run({"action": "filter", "settings": {"min_predicted_iou": None}}, history=hidden)
    assert len(back.state.masks) == 13


@pytest.mark.parametrize(
    ("line", "error"),
    [
        ({}, DataError),
        ({"action": "fly"}, DataError),
        ({"action": "point"}, DataError),
        ({"action": "point", "x": 1, "y": 2, "z": 3}, DataError),
        ({"action": "point", "x": "a", "y": 2}, PromptError),
        ({"action": "point", "x": math.nan, "y": 2}, PromptError),
        ({"action": "point", "x": 1e9, "y": 2}, PromptError),
        ({"action": "point", "x": -1, "y": 2}, PromptError),
        ({"action": "point", "x": 1, "y": 2, "label": 3}, PromptError),
        ({"action": "point", "x": 1, "y": 2, "window": [0, 0, 9999, 9]}, PromptError),
        ({"action": "point", "x": 5, "y": 5}, PromptError),
        ({"action": "box", "box": [1, 1, 1, 9]}, PromptError),
        ({"action": "box", "box": "abc"}, PromptError),
        ({"action": "sketch", "path": []}, PromptError),
        ({"action": "polygon", "path": [[0, 0], [1, 1]]}, PromptError),
        ({"action": "polygon", "path": [[-9, -9], [-5, -9], [-5, -5]]}, PromptError),
        ({"action": "brush", "path": [[1, 1]], "radius": 0}, PromptError),
        ({"action": "brush", "path": [[1, 1]], "radius": math.inf}, PromptError),
        ({"action": "brush", "path": [[-500, 1]], "radius": 3}, PromptError),
        ({"action": "erase", "path": [[1, 1]], "radius": 3}, PromptError),
        ({"action": "split", "path": [[0, 0], [9, 9]]}, PromptError),
        ({"action": "merge", "ids": []}, PromptError),
        ({"action": "delete", "ids": [99]}, DataError),
        ({"action": "delete", "ids": "12"}, DataError),
        ({"action": "set", "ids": [], "wings": 2}, DataError),
        ({"action": "commit"}, PromptError),
        ({"action": "cancel"}, PromptError),
        ({"action": "target", "target": "moon"}, DataError),
        ({"action": "load", "masks": [{"counts": "~"}]}, DataError),
        ({"action": "load", "masks": "x"}, DataError),
        ({"action": "filter", "settings": {"min_wings": 2}}, DataError),
        ({"action": "filter", "settings": {"min_area": -2}}, DataError),
    ],
)
def test_what_cannot_be_done_is_said(line: dict[str, Any], error: type[Exception]) -> None:
    with pytest.raises(error):
        run(line)


def test_every_action_is_refused_with_nonsense() -> None:
    for action in ACTIONS:
        with pytest.raises((DataError, PromptError)):
            run({"action": action, "nonsense": 1})


# ---------------------------------------------------------------------------------------- copies


def test_a_moved_mask_keeps_its_pixels_and_claims_no_score() -> None:
    rng = np.random.default_rng(3)
    shape = (30, 40)
    for _ in range(60):
        crop = rng.random((7, 9)) < 0.5
        crop[3, 4] = True
        mask = Mask((8, 12), crop, shape, 0.9, 0.8, "round", 2.0)
        dx, dy = (int(v) for v in rng.integers(-30, 45, 2))
        # the same by brute force: every pixel by itself
        rows, cols = np.nonzero(mask.full())
        inside = (rows + dy >= 0) & (rows + dy < 30) & (cols + dx >= 0) & (cols + dx < 40)
        got = strokes.moved(mask, (dx, dy), shape)
        if not inside.any():
            assert got is None
            continue
        assert got is not None
        want = np.zeros(shape, bool)
        want[rows[inside] + dy, cols[inside] + dx] = True
        assert np.array_equal(got.full(), want)
        assert (got.label, got.grid_px) == ("round", 2.0)
        assert math.isnan(got.predicted_iou)
        assert math.isnan(got.stability_score)
    for shift in ((1,), "ab", (math.nan, 0), (math.inf, 0), None):
        with pytest.raises(PromptError, match="a shift is"):
            strokes.moved(mask, shift, shape)


def test_copies_lie_where_they_are_told_and_replay_without_what_was_copied() -> None:
    made = run(BOX, {"action": "set", "ids": [1], "label": "round", "locked": True, "note": "n"})
    made = run({"action": "duplicate", "ids": [1], "shift": [20, 5]}, history=made)
    copy = made.state[2]
    assert made.state[1].mask.bbox == (1, 1, 10, 10)
    assert copy.mask.bbox == (6, 21, 15, 30)
    assert (copy.mask.label, copy.note, copy.locked, copy.source) == ("round", "n", False, "hand")
    # two together around a place; what lies beyond the rim is cut off or left out
    pair = [made.state[1].mask, made.state[2].mask]
    line = paste_line(pair, (IMAGE.shape[1] - 12, 100), IMAGE.shape)
    made = run(line, history=made)
    boxes = [made.state[n].mask.bbox for n in (3, 4)]
    width = IMAGE.shape[1]
    # the box around both is 29 columns and 14 rows: its middle is column 14 and row 6.5 of it
    assert boxes[0][:2] == (93, width - 12 - 14)
    assert boxes[1] == (boxes[0][0] + 5, boxes[0][1] + 20, boxes[0][2] + 5, width)
    log = made.log(**FACTS)
    assert replay(log, FakeSession(), IMAGE).identical
    for masks, centre, said in (
        ([], (5, 5), "nothing was copied"),
        (pair, (-500, 5), "nothing of the copy"),
        (pair, (math.nan, 5), "x and y"),
    ):
        with pytest.raises(PromptError, match=said):
            paste_line(masks, centre, IMAGE.shape)
    with pytest.raises(PromptError, match="nothing of the copy"):
        run({"action": "duplicate", "ids": [1], "shift": [900, 0]}, history=made)
    with pytest.raises(DataError):
        run({"action": "duplicate", "ids": [77]}, history=made)


# ------------------------------------------------------------------------------------------- log


def test_the_log_is_json_lines_and_hash_checked() -> None:
    history = run(
        point(43, 43), COMMIT, {"action": "brush", "path": [[70, 40]], "radius": 3, "id": 1}
    )
    log = history.log(**FACTS)
    header, *lines = [json.loads(line) for line in log.splitlines()]
    assert header["model"] == FACTS["model"]
    assert [line["action"] for line in lines] == ["point", "commit", "brush"]
    session = FakeSession(segmenter=FakeSegmenter(digest="0" * 16))
    done = replay(log, session, IMAGE)
    assert done.same_model
    assert done.identical
    assert done.masks.digest == history.state.masks.digest
    # a changed hash on the same weights is an error, on other weights a row of the report
    lines[1]["result"]["masks"]["1"] = "f" * 16
    bad = [header, *lines]
    with pytest.raises(DataError, match=r"step 2 \(commit\) gave another mask"):
        replay(bad, session, IMAGE)
    other = replay(bad, FakeSession(), IMAGE)
    assert other.same_model is False
    assert not other.identical
    assert other.report.iou.tolist() == [1.0, 1.0], (
        "the pixels themselves are those that were logged"
    )


def test_rounding_on_another_processor_is_a_warning() -> None:
    """Same weights, one pixel of 1600 fewer: reported, and no reason to stop."""

    class Rounder(FakeSession):
        def predict(self, image: Image, prompt: Any, window: Any = None) -> MaskSet:
            found = []
            for mask in super().predict(image, prompt, window):
                crop = mask.crop.copy()
                crop[0, crop[0].argmax()] = False
                found.append(mask.replace(crop=crop))
            return MaskSet(tuple(found), image.shape)

    log = run(point(43, 43), COMMIT).log(**FACTS)
    session = Rounder(segmenter=FakeSegmenter(digest="0" * 16))
    with pytest.warns(UserWarning, match="single pixels"):
        report = replay(log, session, IMAGE).report
    assert not report.identical[0]
    assert report.iou[0] == pytest.approx(1599 / 1600)


def test_other_weights_report_their_iou() -> None:
    class Grower(FakeSession):
        def predict(self, image: Image, prompt: Any, window: Any = None) -> MaskSet:
            return super().predict(image, prompt, window)[1:]

    log = run(point(43, 43), COMMIT).log(**FACTS)
    report = replay(log, Grower(), IMAGE).report
    assert not report.identical[0]
    # a 40 px square dilated three times by a cross: 1600 + 4 sides x 3 x 40 + 4 corners x 3 px
    assert report.iou[0] == pytest.approx(1600 / (1600 + 480 + 4 * 3))


def test_damaged_and_foreign_logs(tmp_path: Any) -> None:
    log = run(BOX).log(**FACTS)
    path = tmp_path / "a.jsonl"
    path.write_text(log)
    assert read_log(path)[1][0]["action"] == "polygon"
    assert replay(str(path), None, IMAGE).identical
    for bad, text in (
        ("", "no prompt log"),
        ("{}\n", "no prompt log"),
        (log + "{\n", "line 3"),
        (log + "[]\n", "line 3"),
        (log + '{"a": 1}\n', "names no action"),
        (str(tmp_path / "none.jsonl"), "cannot read"),
        ("[" * 100_000 + "\n\n", "line 1"),
    ):
        with pytest.raises(DataError, match=text):
            read_log(bad)
    with pytest.raises(DataError):
        read_log(7)  # type: ignore[arg-type]
    with pytest.raises(DataError, match="another image"):
        replay(log, None, Image(np.zeros(IMAGE.shape, np.uint8)))
    with pytest.raises(DataError, match="shape"):
        replay(log, None, Image(np.zeros((9, 9), np.uint8)))


# --------------------------------------------------------------------------------------- drawing


def test_a_disc_and_a_capsule_have_the_area_of_their_formula() -> None:
    disc = strokes.stroke([[100.3, 99.8]], 40, (200, 200))
    assert disc.area == pytest.approx(math.pi * 40**2, rel=0.005)
    capsule = strokes.stroke([[50, 50], [150, 125]], 20, (200, 200))
    assert capsule.area == pytest.approx(math.pi * 20**2 + 40 * 125, rel=0.005)


def test_an_outline_holds_the_pixel_centres_inside() -> None:
    angle = np.linspace(0, 2 * np.pi, 400, endpoint=False)
    ring = np.stack([100.2 + 40 * np.cos(angle), 99.7 + 40 * np.sin(angle)], axis=1)
    mask = strokes.outline(ring, (200, 200))
    rows, cols = np.mgrid[:200, :200]
    true = (cols - 100.2) ** 2 + (rows - 99.7) ** 2 < (40 * np.cos(np.pi / 400)) ** 2
    assert np.count_nonzero(mask.full() != true) <= 4


def test_cutting_loses_no_pixel() -> None:
    disc = strokes.stroke([[60, 60]], 40, (128, 128))
    left, right = strokes.cut(disc, [[61.5, 0], [58.5, 120]])
    assert left.area + right.area == disc.area
    assert left.intersection(right) == 0
    assert strokes.union([left, right]).digest == disc.digest
    assert abs(left.area - right.area) < 0.05 * disc.area
    assert strokes.cut(disc, [[0, 60], [60, 60]]) == [disc], "half way through does not part it"


def test_holes_are_filled_and_subtraction_is_exact() -> None:
    outer, inner = (
        strokes.stroke([[60, 60]], 40, (128, 128)),
        strokes.stroke([[60, 60]], 20, (128, 128)),
    )
    ring = strokes.subtract(outer, inner)
    assert ring is not None
    assert ring.area == outer.area - inner.area
    assert strokes.fill_holes(ring).digest == outer.digest
    assert strokes.subtract(inner, outer) is None


@settings(max_examples=200, deadline=None)
@given(
    st.integers(64, 9000),
    st.integers(64, 9000),
    st.floats(0, 1),
    st.floats(0, 1),
    st.floats(0.01, 1),
    st.floats(0.01, 1),
)
def test_the_encoded_window_holds_the_view(
    height: int, width: int, x: float, y: float, w: float, h: float
) -> None:
    x0, y0 = x * width * (1 - w), y * height * (1 - h)
    view = (x0, y0, x0 + w * width, y0 + h * height)
    window = encoding_window(view, (height, width))
    if window is None:
        return
    left, top, right, bottom = window
    assert 0 <= left <= x0
    assert right <= width
    assert right >= min(view[2], width) - 1e-6
    assert 0 <= top <= y0
    assert bottom <= height
    assert bottom >= min(view[3], height) - 1e-6


def test_doubt_orders_the_queue() -> None:
    masks = [
        Mask((i * 10, 0), np.ones((5, 5), bool), (64, 64), score, stability)
        for i, (score, stability) in enumerate(
            [(0.9, 0.9), (0.5, 0.9), (math.nan, math.nan), (0.99, 0.99)]
        )
    ]
    state = State((64, 64)).add(*(Particle(mask) for mask in masks))
    order = [state.most_doubtful()]
    for _ in range(3):
        order.append(state.most_doubtful(order[-1]))
    assert order == [2, 3, 1, 4]
    done = state.put({n: p.replace(review="accepted") for n, p in state.particles.items()})
    assert done.most_doubtful() is None
