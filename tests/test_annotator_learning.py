"""The Learn button of the annotator: what it starts, what it tells, what it refuses."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest
from fake_session import FakeSession, squares

from particle_nb.core.image import Image

annotator = pytest.importorskip("particle_nb.widgets.annotator")
learn_board = pytest.importorskip("particle_nb.widgets.learn_board")


class Run:
    """Stands for `BackgroundTune`, which has tests of its own."""

    def __init__(self, session: Any, annotations: Any, minutes: float, watch: Any) -> None:
        self.given = session, annotations, minutes
        self.state, self.error, self.result, self.watch = "waiting", None, None, watch
        self.lessons = annotations
        self.progress = SimpleNamespace(doing="waiting", share=0.0, before=float("nan"), now=0.5)

    def start(self) -> Run:
        self.state = "running"
        return self

    def stop(self) -> None:
        self.state = "done"
        self.progress = SimpleNamespace(doing="done", share=1.0, before=0.5, now=0.75)
        self.result = SimpleNamespace(kept=True, notes=("one image",))
        self.watch(self)

    def use(self) -> bool:
        return self.result.kept


class Learner(FakeSession):
    def tune(self) -> None:
        raise AssertionError("the background does it")


def test_learning_is_started_watched_stopped_and_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(learn_board, "BackgroundTune", Run)
    image = Image(squares().pixels)
    session = Learner()
    editor = annotator.Annotator(session, image, session.propose(image), autosave=False)
    sent: list[Any] = []
    monkeypatch.setattr(editor._canvas, "send", lambda c, b=None: sent.append(c))

    def ask(step: str, **more: Any) -> list[Any]:
        sent.clear()
        message = {"id": "r", "kind": "learn", "step": step, **more}
        editor._canvas._received(None, message, [])
        return [m for m in sent if m["kind"] in ("learn", "error")]

    async def learn() -> None:
        assert "press" in ask("stop")[0]["message"]
        (told,) = ask("start", minutes=2)
        assert (told["state"], told["before"], told["kept"]) == ("running", None, False)
        assert editor._lessons.run.given == (session, [editor], 2.0)
        assert "already" in ask("start")[0]["message"]
        ask("stop")
        await asyncio.sleep(0.01)
        told = sent[-1]
        assert (told["state"], told["kept"], told["used"]) == ("done", True, False)
        assert (told["before"], told["now"], told["notes"]) == (0.5, 0.75, ["one image"])
        assert ask("use")[0]["used"]
        assert "started, stopped or used" in ask("dance")[0]["message"]

    asyncio.run(learn())
    editor.session = FakeSession()
    assert "can be tuned" in ask("start")[0]["message"]


def test_the_cell_says_that_weights_from_before_tuning_answer() -> None:
    old = SimpleNamespace(name="small", digest="1")

    class Tuned(SimpleNamespace):
        def answering(self, image: Image) -> Any:
            return old if image.name == "foreign" else self

    session = FakeSession()
    session.segmenter = Tuned(name="small, tuned", digest="0")
    told = {}
    for name in ("own", "foreign"):
        editor = annotator.Annotator(session, Image(squares().pixels, name=name), autosave=False)
        sent: list[Any] = []
        editor._canvas.send = lambda c, b=None, sent=sent: sent.append(c)
        line = {"action": "polygon", "path": [[2, 2], [9, 2], [9, 9], [2, 9]]}
        editor._canvas._received(None, {"id": "1", "kind": "do", "line": line}, [])
        assert "learn" not in [m["kind"] for m in sent]  # the segmenter was not asked
        for number in (2, 3):
            line = {"action": "point", "x": 43, "y": 43}
            editor._canvas._received(None, {"id": str(number), "kind": "do", "line": line}, [])
        told[name] = [m["answers"] for m in sent if m["kind"] == "learn"]
    assert told["own"] == []
    (once,) = told["foreign"]
    assert once.startswith("small, from before tuning, answers here: this picture is unlike")
    sent.clear()
    editor._canvas._received(None, {"id": "4", "kind": "ready"}, [])
    assert [m["answers"] for m in sent if m["kind"] == "learn"] == [once]
    session.segmenter = old  # not tuned
    editor.attend()
    assert sent[-1]["answers"] == ""
