"""The painter's side in the kernel: strokes, live result, autosave, what travels to the browser."""

import asyncio
import io
import re

import numpy as np
import pytest
from PIL import Image as PillowImage

import particle_nb as pnb
from particle_nb.core.errors import DataError
from particle_nb.core.phases import StrokeLog

pytest.importorskip("anywidget")

from particle_nb.widgets.phase_painter import PhaseCanvas, PhasePainter

TRUTH = np.zeros((60, 80), int)
TRUTH[:, 40:] = 1
IMAGE = pnb.Image(
    np.random.default_rng(0).normal(80 + 70 * TRUTH, 9).clip(0, 255).astype(np.uint8),
    name="a b.tif",
)
FAST = pnb.PhaseSettings(trees=15)


@pytest.fixture
def painter(tmp_path):
    """A painter, and what it said: (request, kind, content, buffers)."""
    classifier = pnb.PhaseClassifier(features="filters", settings=FAST)
    made = PhasePainter(None, IMAGE, ("dark", "bright"), tmp_path / "a.strokes.json", classifier)
    made.said = []
    made.widget.send = lambda content, buffers=None: made.said.append((content, buffers))
    return made


def ask(painter, kind, **content):
    """A message from the browser; what came back for it."""
    painter.said.clear()
    painter.widget._received(None, {"id": "r1", "kind": kind, **content}, [])
    return [(c["kind"], c, b) for c, b in painter.said]


def stroke(painter, phase, path, tool="brush", radius=2):
    return ask(painter, "stroke", tool=tool, phase=phase, path=path, radius=radius)


def test_a_stroke_of_each_phase_gives_a_result(painter) -> None:
    ready = ask(painter, "ready")
    assert [kind for kind, _, _ in ready] == ["image", "state", "say"]
    first = {kind: content for kind, content, _ in stroke(painter, 0, [[5, 5], [20, 30]])}
    assert "result" not in first
    assert "two phases" in first["say"]["text"]
    second = stroke(painter, 1, [[60, 5], [70, 30]])
    kinds = [kind for kind, _, _ in second]
    assert kinds == ["say", "state", "result", "say"] or kinds == ["state", "say", "result", "say"]
    content, buffers = next((c, b) for kind, c, b in second if kind == "result")
    labels = np.asarray(PillowImage.open(io.BytesIO(buffers[0])))
    assert labels.shape == (content["height"], content["width"]) == TRUTH.shape
    assert (labels == TRUTH).mean() > 0.95
    assert sum(row["fraction"] for row in content["phases"]) == pytest.approx(1)
    assert (painter.phases.labels == TRUTH).mean() > 0.97
    assert painter.phases.names == {0: "dark", 1: "bright"}
    assert painter.classifier.painted == {
        "dark": int((painter.strokes == 0).sum()),
        "bright": int((painter.strokes == 1).sum()),
    }


def test_what_travels_is_the_part_that_changed(painter) -> None:
    (content, buffers) = next(
        (c, b) for kind, c, b in stroke(painter, 1, [[30, 20]]) if kind == "state"
    )
    r0, c0, r1, c1 = content["box"]
    assert (r0, c0, r1, c1) == (18, 28, 23, 33)
    crop = np.frombuffer(buffers[0], np.uint8).reshape(r1 - r0, c1 - c0)
    assert set(np.unique(crop)) == {1, 255}
    assert (crop == 1).sum() == (painter.strokes == 1).sum()
    (content, _) = next((c, b) for kind, c, b in ask(painter, "undo") if kind == "state")
    assert content["box"] == [18, 28, 23, 33]
    assert content["position"] == 0
    assert content["length"] == 1
    assert (painter.strokes == -1).all()


def test_every_stroke_is_saved_and_taken_up_again(painter, tmp_path) -> None:
    stroke(painter, 0, [[5, 5], [20, 30]])
    stroke(painter, 1, [[50, 10], [70, 10], [70, 40], [50, 40]], tool="polygon")
    stroke(painter, 1, [[60, 20]], tool="eraser", radius=4)
    ask(painter, "undo")
    ask(painter, "rename", phase=1, name="light")
    again = PhasePainter(None, IMAGE, autosave=tmp_path / "a.strokes.json")
    np.testing.assert_array_equal(again.strokes, painter.strokes)
    assert again.log.names == {0: "dark", 1: "light"}
    assert again.redo()
    assert not again.redo()
    other = pnb.Image(IMAGE.pixels[:, ::-1])
    with pytest.raises(DataError, match="another image"):
        PhasePainter(None, other, autosave=tmp_path / "a.strokes.json")
    assert StrokeLog.read(tmp_path / "a.strokes.json").position == 3


def test_the_file_is_named_after_the_image(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    made = PhasePainter(None, IMAGE)
    made.stroke("brush", 0, [(5, 5)])
    (file,) = tmp_path.iterdir()
    assert re.fullmatch(r"a_b-[0-9a-f]{6}\.strokes\.json", file.name)
    silent = PhasePainter(None, IMAGE, autosave=False)
    silent.stroke("brush", 0, [(5, 5)])
    assert len(list(tmp_path.iterdir())) == 1
    assert silent.save(tmp_path / "own.json").exists()


def test_errors_go_back_to_the_cell_and_change_nothing(painter) -> None:
    for wrong in (
        {"tool": "spray", "phase": 0, "path": [[1, 1]], "radius": 2},
        {"tool": "brush", "phase": 7, "path": [[1, 1]], "radius": 2},
        {"tool": "brush", "phase": 0, "path": [[900, 900]], "radius": 2},
        {"tool": "brush", "phase": 0, "path": [], "radius": 2},
    ):
        ((kind, content, _),) = ask(painter, "stroke", **wrong)
        assert (kind, content["re"], content["of"]) == ("error", "r1", "stroke")
        assert len(content["message"]) > 15
    assert ask(painter, "rename", phase=1, name="dark")[0][0] == "error"
    assert not painter.log.strokes
    assert (painter.strokes == -1).all()


def test_phases_are_added_and_painted(painter) -> None:
    (_, content, _) = ask(painter, "add")[0]
    assert [row["name"] for row in content["phases"]] == ["dark", "bright", "phase 2"]
    stroke(painter, 2, [[5, 5]])
    assert (painter.strokes == 2).any()
    for _ in range(13):
        ask(painter, "add")
    assert ask(painter, "add")[0][0] == "error"


def test_every_pixel_is_answered_for_when_the_hand_rests(painter, monkeypatch) -> None:
    monkeypatch.setattr("particle_nb.widgets.phase_painter._LIVE", 300)
    monkeypatch.setattr("particle_nb.widgets.phase_painter._PAUSE", 0.01)

    async def paint():
        stroke(painter, 0, [[5, 5], [20, 30]])
        live = stroke(painter, 1, [[60, 5], [70, 30]])
        for _ in range(400):
            await asyncio.sleep(0.02)
            if any(c["kind"] == "result" and c["step"] == 1 for c, _ in painter.said):
                return live
        raise AssertionError("no result for every pixel")

    live = asyncio.run(paint())
    assert next(c["step"] for kind, c, _ in live if kind == "result") == 4
    whole = painter._phases
    np.testing.assert_array_equal(
        whole.labels,
        pnb.PhaseClassifier(features="filters", settings=FAST)
        .fit(IMAGE, painter.strokes, whole.names)
        .predict(IMAGE)
        .labels,
    )


def test_the_channel_to_look_at_is_chosen() -> None:
    image = pnb.Image(np.stack([IMAGE.pixels, 255 - IMAGE.pixels], -1))
    made = PhasePainter(None, image, autosave=False)
    made.said = []
    made.widget.send = lambda content, buffers=None: made.said.append((content, buffers))
    assert next(c for k, c, _ in ask(made, "ready") if k == "state")["channels"] == [
        "channel 1",
        "channel 2",
    ]
    ((kind, _, buffers),) = ask(made, "show", channel=1)
    shown = np.asarray(PillowImage.open(io.BytesIO(buffers[0])))
    assert kind == "image"
    assert shown[5, 5] > shown[5, 70]


def test_what_the_widget_carries_is_small_and_whole() -> None:
    code = str(PhaseCanvas._esm)
    assert len(code.encode()) < 100_000
    assert not re.search(r"\bimport\b|^export (?!default)", code, re.MULTILINE)
    for part in ("class PhaseView", "class Camera", "function paintLabels"):
        assert part in code


def test_a_saved_page_shows_a_picture(painter) -> None:
    data, _ = painter._repr_mimebundle_()
    assert data["image/png"]
    assert "dark 0 px" in data["text/plain"]
    painter.stroke("brush", 0, [(5, 5), (20, 30)])
    picture = np.asarray(PillowImage.open(io.BytesIO(painter.picture())))
    assert picture.shape == (60, 80, 3)
    assert tuple(picture[5, 5]) != tuple(picture[50, 5])
