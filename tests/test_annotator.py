"""The annotator without a browser: what it answers, what it saves, what it shows with no kernel."""

from __future__ import annotations

import asyncio
import base64
import dataclasses
import json
import os
import statistics
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from fake_session import FakeSession, squares
from PIL import Image as PillowImage

from particle_nb.core.annotation import replay
from particle_nb.core.annotation.actions import perform
from particle_nb.core.annotation.history import Particle, State
from particle_nb.core.annotation.snapshot import OKABE_ITO, Still, png
from particle_nb.core.annotation.strokes import stroke
from particle_nb.core.annotation.tally import Tally
from particle_nb.core.cascade import FilterSettings
from particle_nb.core.errors import DataError, ImageError, PromptError
from particle_nb.core.image import Calibration, Image
from particle_nb.core.image.tones import Tones
from particle_nb.core.masks import Mask, MaskSet
from particle_nb.core.shape import measure

annotator = pytest.importorskip("particle_nb.widgets.annotator")
IMAGE = Image(squares(3, 4).pixels, Calibration(5, "nm"), "squares.png")


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


class Browser:
    """Collects what the kernel would send, and sends what a browser would."""

    def __init__(self, editor: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        self.editor = editor
        self.got: list[Any] = []
        self.buffers: list[Any] = []
        monkeypatch.setattr(editor._canvas, "send", self._send)

    def _send(self, content: Any, buffers: Any = None) -> None:
        json.dumps(content, allow_nan=False)  # what cannot be JSON never arrives
        self.got.append(content)
        self.buffers.append(list(buffers or []))

    def ask(self, kind: str, **content: Any) -> dict[str, Any]:
        self.editor._canvas._received(None, {"id": "r1", "kind": kind, **content}, [])
        assert self.got[-1]["re"] == "r1"
        return self.got[-1]


@pytest.fixture
def editor() -> Any:
    return annotator.Annotator(FakeSession(), IMAGE)


@pytest.fixture
def front(editor: Any, monkeypatch: pytest.MonkeyPatch) -> Browser:
    return Browser(editor, monkeypatch)


def test_ready_gets_the_image_once_and_the_whole_state(front: Browser) -> None:
    front.editor.do("polygon", path=[[1, 1], [9, 1], [9, 9], [1, 9]])
    front.got.clear()
    front.buffers.clear()
    delta = front.ask("ready")
    image = front.got[0]
    assert (image["kind"], image["width"], image["height"]) == ("image", 280, 216)
    tile = np.asarray(PillowImage.open(BytesIO(front.buffers[0][0])))
    assert np.array_equal(tile, IMAGE.pixels), "the browser gets the grey values themselves"
    assert delta["full"]
    (particle,) = delta["upserts"]
    r0, c0, r1, c1 = particle["box"]
    bits = np.unpackbits(np.frombuffer(front.buffers[-1][0], np.uint8))[: (r1 - r0) * (c1 - c0)]
    assert np.array_equal(bits.reshape(r1 - r0, c1 - c0), front.editor.masks[0].crop)


def test_large_and_deep_images_travel_in_tiles_and_messages() -> None:
    from particle_nb.widgets.prompt_canvas import image_messages

    pixels = np.random.default_rng(0).integers(0, 255, (4100, 5000), np.uint8)
    messages = list(image_messages(Image(pixels)))
    assert len(messages) > 1
    seen = np.zeros_like(pixels)
    for message, buffers in messages:
        assert sum(map(len, buffers)) < 12 * 2**20
        for (x, y), data in zip(message["tiles"], buffers, strict=True):
            tile = np.asarray(PillowImage.open(BytesIO(data)))
            seen[y : y + tile.shape[0], x : x + tile.shape[1]] = tile
    assert np.array_equal(seen, pixels)
    tones = Tones(Image(pixels[:64, :64].astype(np.uint16) * 257))
    assert np.array_equal(tones[:], Image(pixels[:64, :64].astype(np.uint16) * 257).to_uint8())
    deep = next(image_messages(Image(pixels[:64, :64].astype(np.uint16) * 257)))[0]
    assert not deep["exact"]
    colour = next(image_messages(Image(np.dstack([pixels[:64, :64]] * 3))))[0]
    assert colour["channels"] == 3


def test_a_delta_carries_only_what_changed(front: Browser) -> None:
    front.editor._act({"action": "load", "masks": _packed()}, None)
    delta = front.ask("do", line={"action": "set", "ids": [3], "name": "x"})
    assert [p["id"] for p in delta["upserts"]] == [3]
    assert front.buffers[-1] == [], "a new name moves no pixel"
    delta = front.ask("do", line={"action": "delete", "ids": [4]})
    assert (delta["upserts"], delta["removes"]) == ([], [4])
    delta = front.ask("undo")
    assert [p["id"] for p in delta["upserts"]] == [4]
    assert len(front.buffers[-1]) == 1


def _packed() -> list[dict[str, Any]]:
    from particle_nb.core.annotation.actions import load_line

    return load_line(FakeSession().propose(IMAGE))["masks"]


def test_a_copy_is_pasted_into_another_image(
    front: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(annotator, "_CLIPBOARD", [])
    assert "nothing was copied" in front.ask("paste", x=5, y=5)["message"]
    assert "no particle is selected" in front.ask("copy", ids=[])["message"]
    front.editor.do("polygon", path=[[1, 1], [9, 1], [9, 9], [1, 9]])
    assert front.ask("copy", ids=[1]) == {"re": "r1", "kind": "copied", "count": 1}
    front.editor.do("delete", ids=[1])  # what was copied stays as it was
    made = annotator.Annotator(None, Image(np.zeros((40, 50), np.uint8)), autosave=False)
    other = Browser(made, monkeypatch)
    other.editor._canvas._received(None, {"id": "r2", "kind": "paste", "x": 30.2, "y": 20.4}, [])
    delta, select = other.got
    assert [p["id"] for p in delta["upserts"]] == [1]
    assert delta["upserts"][0]["iou"] is None
    assert select == {"re": None, "kind": "select", "ids": [1]}
    assert made.selection == (1,)
    r0, c0, r1, c1 = made.masks[0].bbox
    assert (r1 - r0, c1 - c0) == (9, 9)
    assert abs((c0 + c1 - 1) / 2 - 30.2) <= 0.5
    assert abs((r0 + r1 - 1) / 2 - 20.4) <= 0.5
    made.do("duplicate", ids=[1], shift=[3, 3])
    assert len(made.masks) == 2


def test_errors_go_back_to_their_request(front: Browser) -> None:
    for kind, content, text in (
        ("do", {"line": {"action": "point", "x": 3, "y": 3}}, "found nothing"),
        ("do", {"line": {"action": "fly"}}, "unknown action"),
        ("fly", {}, "unknown message"),
        ("probe", {"x": 9999, "y": 0}, "outside"),
        ("filter", {"settings": {"min_area": -1}}, "min_area"),
    ):
        error = front.ask(kind, **content)
        assert error["kind"] == "error"
        assert error["of"] == kind
        assert text in error["message"]
    with pytest.raises(KeyError):
        front.ask("do")  # a bug still reaches the log, after it was said in the cell
    assert front.got[-1]["kind"] == "error"
    front.editor._canvas._received(None, "nonsense", [])
    front.editor._canvas._received(None, {}, [])


def test_hover_shows_and_changes_nothing(front: Browser) -> None:
    line = {"x": 43, "y": 43, "label": 1, "view": [0, 0, 280, 216]}
    answer = front.ask("hover", line=line)
    assert answer["kind"] == "hover"
    assert len(answer["draft"]["candidates"]) == 1
    assert front.editor.history.position == 0
    assert front.ask("probe", x=43, y=43)["text"] == "200"


def test_the_view_decides_the_window(monkeypatch: pytest.MonkeyPatch) -> None:
    image = squares(12, 16)  # 792 x 1048 px
    front = Browser(annotator.Annotator(FakeSession(), image), monkeypatch)
    front.ask("do", line={"action": "point", "x": 43, "y": 43, "view": [20, 20, 60, 60]})
    _, window = front.editor.session.calls[-1]
    assert window is not None
    x0, y0, x1, y1 = window
    assert x0 <= 20 < 60 <= x1 < 500
    assert y0 <= 20 < 60 <= y1 < 500
    record = front.editor.history.steps[-1].record
    assert tuple(record["window"]) == tuple(window)
    assert "view" not in record
    front.ask("do", line={"action": "point", "x": 900, "y": 43, "view": [20, 20, 60, 60]})
    assert front.editor.session.calls[-1][1] is None, "a point outside asks for the whole image"
    front.ask("do", line={"action": "cancel"})
    front.ask("do", line={"action": "point", "x": 43, "y": 43, "view": [0, 0, 1048, 792]})
    assert front.editor.session.calls[-1][1] is None


def test_sliders_preview_and_then_one_step(front: Browser) -> None:
    front.editor._act({"action": "load", "masks": _packed()}, None)
    calls, steps = len(front.editor.session.calls), front.editor.history.position
    for least in (0.6, 0.7, 0.8):
        answer = front.ask("filter", settings={"min_predicted_iou": least})
    assert front.editor.history.position == steps, "dragging is no step"
    assert answer["summary"]["count"] == len(answer["kept"])
    front.ask("do", line={"action": "filter", "settings": {"min_predicted_iou": 0.8}})
    assert front.editor.history.position == steps + 1
    assert len(front.editor.masks) == len(answer["kept"]) < 12
    assert len(front.editor.session.calls) == calls


def test_a_click_does_not_ask_again_what_hovering_showed(front: Browser) -> None:
    calls = front.editor.session.calls
    line = {"x": 43.25, "y": 43, "label": 1, "view": [0, 0, 280, 216]}
    hovered = front.ask("hover", line=dict(line))["draft"]["candidates"][0]
    delta = front.ask("do", line={"action": "point", **line})
    assert len(calls) == 1, "the same question was answered already"
    assert delta["draft"]["candidates"][0]["box"] == hovered["box"]
    # the next click is another question: there are two points now
    front.ask("hover", line={**line, "x": 107})
    front.ask("do", line={"action": "point", **line, "x": 171})
    assert len(calls) == 3
    front.ask("do", line={"action": "cancel"})
    front.editor.session = FakeSession()
    front.ask("do", line={"action": "point", **line, "x": 171})
    assert len(front.editor.session.calls) == 1, "another session is asked itself"


def test_the_queue_of_doubt_goes_on_behind_what_was_passed_over(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    scores = (0.2, 0.3, 0.4, 0.5, 0.6)
    masks = [
        Mask((10 * i, 0), np.ones((5, 5), bool), IMAGE.shape, score, 1.0)
        for i, score in enumerate(scores)
    ]
    editor = annotator.Annotator(None, IMAGE, MaskSet(tuple(masks), IMAGE.shape), autosave=False)
    front = Browser(editor, monkeypatch)
    assert front.ask("next", after=None)["particle"] == 1
    assert front.ask("next", after=1)["particle"] == 2  # 1 cannot be decided now
    editor.do("accept", ids=[2])
    assert front.ask("next", after=2)["particle"] == 3
    editor.do("reject", ids=[3])
    assert front.ask("next", after=3)["particle"] == 4
    editor.undo()
    assert front.ask("next", after=2)["particle"] == 3
    editor.redo()
    editor.do("accept", ids=[4, 5])
    assert front.ask("next", after=5) == {**front.got[-1], "particle": 1, "left": 1}
    assert front.ask("next", after=1)["particle"] == 1
    editor.do("reject", ids=[1])
    assert front.ask("next", after=1)["particle"] is None


def test_every_threshold_stands_in_the_log_and_what_each_hides_is_told(front: Browser) -> None:
    front.editor._act({"action": "load", "masks": _packed()}, None)
    state = front.ask("ready")
    off = state["off"]
    assert set(off) == {field.name for field in dataclasses.fields(FilterSettings)}
    assert state["settings"] == off
    assert state["removed"] == {}
    tried = front.ask("filter", settings={**off, "min_predicted_iou": 0.7})
    assert tried["removed"] == {"confidence": 12 - tried["summary"]["count"]}
    delta = front.ask("do", line={"action": "filter", "settings": {**off, "edge": "exclude"}})
    assert delta["settings"] == {**off, "edge": "exclude"}
    assert len(front.editor.masks) == 12, "no square touches the frame"
    # from code the thresholds that are left out have their usual values, and the log says them
    front.editor.do("filter", settings={"min_form_factor": 0.5})
    record = front.editor.history.steps[-1].record
    assert record["settings"] == dataclasses.asdict(FilterSettings(min_form_factor=0.5))
    front.editor.undo()
    assert front.got[-1]["settings"] == {**off, "edge": "exclude"}
    error = front.ask("do", line={"action": "filter", "settings": {**off, "min_area": -3}})
    assert "min_area" in error["message"]
    old = {"action": "filter", "settings": {"min_predicted_iou": 0.7}}  # as logs of before have it
    again = perform(front.editor.history, old, IMAGE, None)
    assert len(again.state.masks) == tried["summary"]["count"]


def test_the_target_of_a_prompt_is_logged(front: Browser) -> None:
    line = {"action": "point", "x": 43, "y": 43, "target": "feature"}
    delta = front.ask("do", line=line)
    areas = [m.area for m in front.editor.state.draft.candidates]
    assert areas[delta["draft"]["choice"]] == min(areas)
    front.ask("do", line={"action": "commit"})
    assert front.editor.masks[0].area == 36 * 36
    assert replay(front.editor.log, FakeSession(), IMAGE).masks[0].area == 36 * 36
    error = front.ask("do", line={**line, "target": "nose"})
    assert "target" in error["message"]


def test_grey_values_are_told_in_full(monkeypatch: pytest.MonkeyPatch) -> None:
    for pixels, text in (
        (np.full((9, 9), 65_535, np.uint16), "65535"),
        (np.full((9, 9), 4_000_000_001, np.uint32), "4000000001"),
        (np.full((9, 9), 0.123456789), "0.123457"),
        (np.full((9, 9, 3), 200, np.uint8), "200 200 200"),
    ):
        front = Browser(annotator.Annotator(None, Image(pixels), autosave=False), monkeypatch)
        assert front.ask("probe", x=3, y=4)["text"] == text


def test_autosave_and_going_on(editor: Any) -> None:
    editor.do("point", x=43, y=43)
    assert not list(Path().glob("*.pnb")), "a draft is no commit"
    editor.do("commit")
    (path,) = Path().glob("*.pnb")
    again = annotator.Annotator(FakeSession(), IMAGE)
    assert again.masks.digest == editor.masks.digest
    again.undo()
    assert len(again.masks) == 0
    other = annotator.Annotator(FakeSession(), IMAGE, FakeSession().propose(IMAGE))
    assert len(other.masks) == 12, "other proposals are another annotation"
    path.write_bytes(path.read_bytes()[:100])
    fresh = annotator.Annotator(FakeSession(), IMAGE)
    assert len(fresh.masks) == 0
    assert path.with_name(path.name + ".damaged").exists(), "what cannot be read is not thrown away"


def test_a_full_disk_is_said_and_loses_nothing(
    front: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("particle_nb.core.annotation.archive.os.fsync", full)
        error = front.ask("do", line={"action": "brush", "path": [[50, 50]], "radius": 9})
    assert error["kind"] == "error"
    assert "No space left" in error["message"]
    assert front.got[-2]["upserts"][0]["id"] == 1, "the particle is shown all the same"
    front.ask("do", line={"action": "brush", "path": [[90, 50]], "radius": 9})
    again = annotator.Annotator(FakeSession(), IMAGE)
    assert len(again.masks) == 2, "the next commit saves both"


def test_save_and_open(editor: Any, tmp_path: Path) -> None:
    editor.do("point", x=43, y=43)
    editor.do("commit", label="round")
    editor.do("point", x=107, y=43)
    path = editor.save(tmp_path / "sub" / "x.pnb")
    back = annotator.open_annotation(path, FakeSession())
    assert back.masks.digest == editor.masks.digest
    assert back.masks[0].label == "round"
    assert back.image.calibration == IMAGE.calibration
    assert back.state.draft.points == ((107.0, 43.0),)
    back.jump(0)
    back.jump(3)
    assert back.masks.digest == editor.masks.digest
    assert replay(back.log, FakeSession(), IMAGE).masks.digest == editor.masks.digest
    bare = editor.save(tmp_path / "y.pnb", with_image=False)
    with pytest.raises(DataError, match="without its image"):
        annotator.open_annotation(bare, FakeSession())
    assert len(annotator.open_annotation(bare, FakeSession(), IMAGE).masks) == 1
    with pytest.raises(DataError, match="another image"):
        annotator.open_annotation(bare, FakeSession(), squares(3, 4, 30, 34))


def test_live_numbers_are_those_of_measure_and_numpy(editor: Any) -> None:
    rng = np.random.default_rng(3)
    full = np.zeros(IMAGE.shape, bool)
    for _ in range(30):
        x, y, r = rng.uniform(20, 250), rng.uniform(20, 190), rng.uniform(4, 16)
        editor.do("brush", path=[[x, y]], radius=r)
    editor.do("delete", ids=[3, 9])
    editor.undo()
    editor.do("delete", ids=[4])
    for mask in editor.masks:
        full |= mask.full()
    facts = editor._tally.facts(editor.state)
    assert facts["coverage"] == np.count_nonzero(full) / full.size
    table = measure(editor.masks, IMAGE.calibration)
    sizes = table["x_A_nm"].to_numpy()
    assert np.allclose(editor.table["x_A_nm"], sizes)
    assert facts["count"] == 29
    heights, _ = np.histogram(sizes, facts["edges"])
    assert np.allclose(facts["sizes"]["0"]["heights"], heights / 29)
    d10, d50, d90 = facts["sizes"]["3"]["percentiles"]
    assert d10 < d50 < d90
    order = np.argsort(sizes)
    share = np.cumsum(sizes[order] ** 3) / np.sum(sizes**3)
    assert abs(np.interp(d50, sizes[order], share) - 0.5) < 0.15


def test_an_edit_costs_no_more_with_many_masks() -> None:
    """Measured on the tally and the message: with 300 masks less than 3 times that with 3."""
    times = {}
    for count in (3, 300):
        shape = (1500, 2000)
        masks = [
            Mask((60 * (i // 25) + 5, 60 * (i % 25) + 5), np.ones((40, 40), bool), shape)
            for i in range(count)
        ]
        editor = annotator.Annotator(
            None, Image(np.zeros(shape, np.uint8)), MaskSet(tuple(masks)), autosave=False
        )
        spent = []
        for i in range(9):
            start = time.perf_counter()
            editor.do("brush", path=[[1700 + 20 * i, 1400]], radius=8)
            spent.append(time.perf_counter() - start)
        times[count] = statistics.median(spent)
    assert times[300] < 3 * times[3] + 0.01, times


class _Discs:
    """Answers at once with the same three discs, whatever the image and what is in it."""

    def predict(self, image: Image, prompt: Any, window: Any = None) -> MaskSet:
        x, y = prompt.points[-1]
        return MaskSet(tuple(stroke([[x, y]], r, image.shape) for r in (30, 34, 26)), image.shape)


@pytest.mark.parametrize(
    ("count", "shape"), [(0, (768, 1024)), (300, (768, 1024)), (300, (3000, 4000))]
)
def test_the_work_of_a_click_is_that_of_its_mask(
    count: int, shape: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Counted, not timed: bytes that are sent, masks that are encoded, measured, hashed, saved."""
    from particle_nb.core.annotation import autosave, tally
    from particle_nb.widgets import prompt_canvas

    grid = [(30 * (i // 30) + 2, 30 * (i % 30) + 2) for i in range(count)]
    masks = MaskSet(tuple(Mask(spot, np.ones((20, 20), bool), shape) for spot in grid), shape)
    editor = annotator.Annotator(_Discs(), Image(np.zeros(shape, np.uint8)), masks)
    front = Browser(editor, monkeypatch)
    front.ask("ready")
    done: list[str] = []

    def counted(owner: Any, name: str) -> None:
        was = getattr(owner, name)

        def noted(*args: Any, **options: Any) -> Any:
            some = args[0] if name == "measure" else (None,)
            done.extend([name] * len(some))
            return was(*args, **options)

        monkeypatch.setattr(owner, name, noted)

    counted(prompt_canvas, "mask_message")
    counted(tally, "measure")
    counted(tally.Tally, "facts")
    counted(autosave.ArchiveWriter, "write")
    digest = Mask.digest.fget
    monkeypatch.setattr(Mask, "digest", property(lambda m: done.append("digest") or digest(m)))
    point = {"action": "point", "x": 900, "y": 700, "view": [0, 0, shape[1], shape[0]]}

    front.ask("do", line=dict(point))
    assert sorted(done) == ["digest", "mask_message", "mask_message", "mask_message"]
    sent = len(json.dumps(front.got[-1])) + sum(map(len, front.buffers[-1]))
    assert len(front.buffers[-1]) == 3
    assert sent < 2600, f"{sent} bytes"
    assert front.got[-1]["upserts"] == []
    assert "summary" not in front.got[-1], "the table did not change"
    done.clear()

    front.ask("do", line={"action": "commit"})
    # the archive is written before the particle is shown, its numbers are worked out once
    assert sorted(set(done) - {"digest"}) == ["facts", "mask_message", "measure", "write"]
    assert [done.count(w) for w in ("facts", "mask_message", "measure", "write")] == [1, 1, 1, 1]
    assert done.index("write") < done.index("facts")
    assert [p["id"] for p in front.got[-1]["upserts"]] == [count + 1]
    assert len(front.buffers[-1]) == 1


def test_large_masks_travel_as_runs() -> None:
    """What is sent grows with the outline: a disc of 1500 px takes 13 kB, not 281 kB."""
    from particle_nb.widgets.prompt_canvas import mask_message

    rng = np.random.default_rng(0)
    rows, cols = np.ogrid[:1500, :1500]
    disc = (rows - 750) ** 2 + (cols - 750) ** 2 < 749**2
    noise = rng.random((300, 300)) < 0.5
    noise[0, 0] = True
    for full, runs in (
        (disc, True),
        (~disc, True),
        (np.ones((300, 900), bool), True),
        (noise, False),
        (disc[::50, ::50], False),
    ):
        mask, buffers = Mask.from_full(full), list[bytes]()
        message = mask_message(mask, buffers)
        assert message["runs"] == runs
        (data,) = buffers
        if runs:
            lengths = np.frombuffer(data, "<u4")
            pixels = np.repeat(np.arange(len(lengths)) % 2 == 1, lengths)
            assert len(data) < 14_000
        else:
            pixels = np.unpackbits(np.frombuffer(data, np.uint8))[: mask.crop.size].astype(bool)
        assert np.array_equal(pixels.reshape(mask.crop.shape), mask.crop)


def test_the_answer_goes_before_the_thumbnail(front: Browser) -> None:
    """In a kernel the strip waits until the answer is out, and draws once for a burst of clicks."""
    strip, order = front.editor._strip, list[str]()
    paint = strip._paint

    def painted() -> None:
        order.append("strip")
        paint()

    strip._paint = painted

    async def work() -> None:
        for x in (43, 107, 171):
            answer = front.ask("do", line={"action": "point", "x": x, "y": 43})
            order.append(f"answer {answer['history']['position']}")
        await asyncio.sleep(0.3)
        strip._clicked(6 + 62 * 1 + 5, 20)
        assert front.editor.history.position == 1
        front.ask("ready")  # another page: everything at once
        assert order[-1] == "strip"
        await asyncio.sleep(0.3)

    asyncio.run(work())
    assert order == ["answer 1", "answer 2", "answer 3", "strip", "strip"]
    assert strip._place.value == 1


def test_an_acknowledgement_is_not_answered(front: Browser) -> None:
    front.editor._canvas._received(None, {"kind": "ack"}, [])
    assert front.got == []


def test_counts_and_coverage_of_what_is_shown() -> None:
    """Masks that overlap cover their pixels once; hidden ones count as hidden."""
    shape = (40, 50)
    masks = [Mask((5, c), np.ones((10, 10), bool), shape) for c in (5, 10, 30)]
    state = State(shape).add(*(Particle(mask) for mask in masks))
    tally = Tally(shape)
    facts = tally.facts(state)
    assert (facts["count"], facts["hidden"], facts["coverage"]) == (3, 0, 250 / 2000)
    facts = tally.facts(state.put({1: state[1].replace(kept=False)}))
    assert (facts["count"], facts["hidden"], facts["coverage"]) == (2, 1, 200 / 2000)


def test_redrawing_five_hundred_particles_stays_below_150_ms() -> None:
    shape, rng = (1500, 2000), np.random.default_rng(0)
    state = State(shape).add(
        *(
            Particle(
                Mask(
                    (int(rng.integers(0, 1400)), int(rng.integers(0, 1900))),
                    np.ones((int(rng.integers(5, 60)), int(rng.integers(5, 60))), bool),
                    shape,
                )
            )
            for _ in range(500)
        )
    )
    tally = Tally(shape)
    tally.facts(state)
    spent = []
    for _ in range(7):
        start = time.perf_counter()
        tally.facts(state)
        spent.append(time.perf_counter() - start)
    assert statistics.median(spent) < 0.15


def test_the_picture_shows_contours_where_no_kernel_runs(editor: Any) -> None:
    editor.do("point", x=43, y=43)
    editor.do("commit")
    data, _ = editor._repr_mimebundle_()
    png = np.asarray(PillowImage.open(BytesIO(base64.b64decode(data["image/png"]))))
    assert png.shape[1] == IMAGE.shape[1]
    for x, y in ((24, 24), (63, 40), (40, 63)):  # the rim of the first square
        assert tuple(png[y, x]) == tuple(OKABE_ITO[0])
    assert "1 particle," in data["text/plain"]
    assert "application/vnd.jupyter.widget-view+json" in data


def test_voila_gets_the_live_widget_though_it_asks_for_no_input(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its kernel is run like papermill's, and goes on: a picture alone was all that it showed."""
    shell = SimpleNamespace(kernel=SimpleNamespace(_allow_stdin=False))
    monkeypatch.setattr(annotator, "get_ipython", lambda: shell)
    assert not annotator.someone_is_there()
    monkeypatch.setenv("VOILA_REQUEST_URL", "http://localhost:8866/")
    assert annotator.someone_is_there()


def test_an_executed_report_needs_no_kernel_and_no_network(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What papermill does (nbclient runs the cells), then HTML: the picture is in the file."""
    nbformat = pytest.importorskip("nbformat")
    nbconvert = pytest.importorskip("nbconvert")
    nbclient = pytest.importorskip("nbclient")
    here = Path(__file__).parent
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join((str(here), str(here.parent))))
    code = """
from fake_session import FakeSession, squares
from particle_nb.widgets.annotator import Annotator
editor = Annotator(FakeSession(), squares(3, 4), autosave=False)
editor.do("point", x=43, y=43)
editor.do("commit")
editor
"""
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(code)])
    nbclient.NotebookClient(notebook, timeout=120, kernel_name="python3").execute()
    (output,) = [o for o in notebook.cells[0].outputs if o.output_type == "execute_result"]
    assert "1 particle," in output.data["text/plain"]
    picture = output.data["image/png"].strip()
    assert picture in nbconvert.HTMLExporter().from_notebook_node(notebook)[0]
    # without the stored state of widgets the page does not even look for their code
    notebook.metadata.pop("widgets", None)
    html, _ = nbconvert.HTMLExporter().from_notebook_node(notebook)
    assert picture in html
    assert "vnd.jupyter.widget-view+json" not in html


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ((FakeSession(), np.zeros((4, 4))), ImageError),
        ((FakeSession(), IMAGE, [1]), DataError),
        ((FakeSession(), IMAGE, MaskSet((), (4, 4))), DataError),
        (("session", IMAGE), DataError),
    ],
)
def test_wrong_arguments(arguments: Any, error: type[Exception]) -> None:
    with pytest.raises(error):
        annotator.Annotator(*arguments)


def test_without_a_session_one_draws_by_hand() -> None:
    editor = annotator.Annotator(None, IMAGE, autosave=False)
    editor.do("brush", path=[[50, 50]], radius=10)
    assert len(editor.masks) == 1
    with pytest.raises(PromptError, match="needs a session"):
        editor.do("point", x=43, y=43)
    with pytest.raises(DataError, match="say where"):
        editor.save()


def test_the_strip_draws_only_new_steps(editor: Any) -> None:
    drawn: list[int] = []
    paint = editor._strip._paint_step

    def noted(slot: int, step: Any) -> None:
        drawn.append(slot)
        paint(slot, step)

    editor._strip._paint_step = noted
    for i in range(3):
        editor.do("brush", path=[[50 + 20 * i, 50]], radius=5)
    assert drawn == [1, 2, 3]
    editor.undo()
    editor.redo()
    assert drawn == [1, 2, 3]
    editor._strip._clicked(6 + 62 * 1 + 5, 20)
    assert editor.history.position == 1
    for i in range(40):
        editor.do("brush", path=[[50 + 2 * i, 80]], radius=5)
    assert editor.history.position == 41
    editor._strip._clicked(3000, 20)
    assert editor.history.position == 41


def test_a_full_strip_makes_one_thumbnail_a_step(
    editor: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Thumbnails are made once, and what is there is sent again only when there is no room."""
    from particle_nb.widgets import history_strip

    made: list[Any] = []
    sent: list[int] = []
    make, put = history_strip.thumbnail, type(editor._strip.canvas[0]).put_image_data
    monkeypatch.setattr(history_strip, "thumbnail", lambda *a: made.append(a) or make(*a))

    def noted(canvas: Any, picture: np.ndarray, x: float, y: float) -> None:
        sent[-1] += 1
        put(canvas, picture, x, y)

    monkeypatch.setattr(type(editor._strip.canvas[0]), "put_image_data", noted)
    for i in range(40):
        sent.append(0)
        editor.do("brush", path=[[50 + 2 * i, 80]], radius=5)
    assert len(made) == 40
    assert sent.count(1) >= 34, "what is there already is moved only when there is no room left"
    # the last step is in view, and there is room behind it
    strip = editor._strip
    assert 0 < editor.history.position - strip._first < strip._slots - 1
    assert len(strip._tiles) <= strip._slots


def test_the_strip_shows_all_steps_while_they_have_their_place(front: Browser) -> None:
    strip = front.editor._strip
    for i in range(14):
        front.editor.do("polygon", path=[[i, 1], [i + 9, 1], [i + 9, 9]])
    front.ask("ready")  # as after a reload of the page
    assert strip._shown() == [None, *front.editor.history.steps]
    assert strip._back.disabled
    assert strip._on.disabled
    front.editor.do("polygon", path=[[1, 30], [9, 30], [9, 39]])
    assert strip._shown()[-1] is front.editor.history.steps[-1]
    assert not strip._back.disabled


def test_the_strip_fits_its_cell_and_is_typed_into(front: Browser) -> None:
    editor, strip = front.editor, front.editor._strip
    for i in range(12):
        editor.do("brush", path=[[50 + 5 * i, 50]], radius=5)
    wide = strip.canvas.width
    front.ask("width", width=500)
    assert strip.canvas.width < 500 - 2 * 28 - 64 < wide
    here = strip._first <= editor.history.position < strip._first + strip._slots
    assert here, "the present stays in view"
    front.ask("width", width=0)
    assert strip._slots >= 3
    front.ask("width", width=2000)
    assert strip.canvas.width == wide
    strip._place.value = 4
    assert (editor.history.position, len(editor.masks)) == (4, 4)
    editor.redo()
    assert strip._place.value == 5
    strip._place.value = 99
    assert editor.history.position == 12, "there are twelve steps"


def test_the_still_picture_follows_the_edits(editor: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A picture beside the widget, drawn again once after a burst of edits, not at each."""
    from particle_nb.widgets import still_output

    sent: list[tuple[Any, Any]] = []
    monkeypatch.setattr(
        still_output,
        "publish_display_data",
        lambda data, transient, update: sent.append((data, (transient["display_id"], update))),
    )
    monkeypatch.setattr(still_output, "_PAUSE", 0.05)

    async def work() -> None:
        editor._still.renew()
        editor._still.show()
        for x in (43, 107, 171):
            editor.do("point", x=x, y=43)
            editor.do("commit")
        await asyncio.sleep(0.3)
        editor.do("point", x=43, y=107)  # a draft alone changes no picture
        await asyncio.sleep(0.2)
        editor._still.withdraw()
        editor.do("commit")
        await asyncio.sleep(0.2)

    asyncio.run(work())
    (first, (name, update)), (second, again), (last, gone) = sent
    assert not update
    assert again == gone == (name, True)
    assert "0 particles" in first["text/plain"]
    assert "3 particles" in second["text/plain"]
    assert first["image/png"] != second["image/png"]
    assert last == {"text/plain": ""}


class _Clock:
    """An event loop with a time of its own, and one more thread."""

    def __init__(self) -> None:
        self.now = 0.0
        self.due: list[Any] = []

    def time(self) -> float:
        return self.now

    def call_at(self, when: float, run: Any) -> Any:
        timer = SimpleNamespace(when=when, run=run, cancel=lambda: self._drop(timer))
        self.due.append(timer)
        return timer

    def _drop(self, timer: Any) -> None:
        self.due = [other for other in self.due if other is not timer]

    def call_later(self, delay: float, run: Any) -> Any:
        return self.call_at(self.now + delay, run)

    def run_in_executor(self, _: None, run: Any, *args: Any) -> Any:
        with ThreadPoolExecutor() as pool:
            found = pool.submit(run, *args)
        done = SimpleNamespace(result=found.result, cancelled=lambda: False)
        return SimpleNamespace(add_done_callback=lambda after: after(done))

    def pass_to(self, now: float) -> None:
        self.now = now
        for timer in [timer for timer in self.due if timer.when <= now]:
            self._drop(timer)
            timer.run()


def test_the_still_picture_waits_for_a_pause_and_is_packed_elsewhere(
    front: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody who clicks on waits for it; it comes all the same if the clicking does not end."""
    from particle_nb.widgets import still_output

    clock, shown, threads = _Clock(), list[float](), list[int]()
    pack = still_output.png
    monkeypatch.setattr(still_output.asyncio, "get_running_loop", lambda: clock)
    monkeypatch.setattr(
        still_output, "publish_display_data", lambda *a, **k: shown.append(clock.now)
    )
    monkeypatch.setattr(
        still_output, "png", lambda p: threads.append(threading.get_ident()) or pack(p)
    )
    hover = {"x": 107, "y": 43, "label": 1, "view": [0, 0, 280, 216]}
    brush = {"action": "brush", "path": [[50, 50]], "radius": 9}

    front.editor._still.show()
    front.ask("do", line=dict(brush))
    for tenth in range(1, 31):  # at work for three seconds, without a pause of one
        clock.pass_to(tenth / 10)
        front.ask("hover", line=dict(hover))
    assert shown == [0]
    clock.pass_to(3.9)
    assert shown == [0]
    clock.pass_to(4.1)
    assert shown == [0, 4.1], "one second after the last hover"
    for tenth in range(50, 250):  # at work without an end
        clock.pass_to(tenth / 10)
        front.ask("do", line=dict(brush))
    assert shown == [0, 4.1, 15.0], "ten seconds after the change"
    here = threading.get_ident()
    assert [thread == here for thread in threads] == [True, False, False]


def test_a_still_picture_is_drawn_on_and_packed_without_loss() -> None:
    rng = np.random.default_rng(0)
    grey = rng.integers(0, 255, (300, 420), np.uint8)
    still, state = Still(grey, most=200), State(grey.shape)
    drawn: list[int] = []
    add = still._add
    still._add = lambda picture, number, mask: (drawn.append(number), add(picture, number, mask))

    def same() -> None:
        picture = still.draw(state.particles)
        assert np.array_equal(picture, Still(grey, most=200).draw(state.particles))
        with PillowImage.open(BytesIO(png(picture))) as file:
            file.verify()
        with PillowImage.open(BytesIO(png(picture))) as file:
            assert np.array_equal(np.asarray(file), picture)
        picture[:] = 0  # whoever gets it may draw on it

    same()
    for _ in range(6):
        spot = (int(rng.integers(0, 250)), int(rng.integers(0, 350)))
        state = state.add(Particle(Mask(spot, np.ones((40, 60), bool), grey.shape)))
        same()
    assert drawn == [1, 2, 3, 4, 5, 6], "each once"
    for change in (
        {3: None},
        {5: state[5].replace(visible=False)},
        {2: state[2].replace(mask=state[1].mask)},
    ):
        drawn.clear()
        state = state.put(change)
        same()
        assert len(drawn) == sum(p.visible for p in state.particles.values())


def test_watchers_hear_of_commits_only(editor: Any) -> None:
    heard: list[int] = []
    drafts: list[bool] = []
    editor.watch(lambda e: heard.append(len(e.masks)))
    editor.watch(lambda e: drafts.append(e.state.draft is not None), drafts=True)
    editor.do("point", x=43, y=43)
    editor.do("commit")
    editor.undo()
    assert heard == [1, 0]
    assert drafts == [True, False, True]
