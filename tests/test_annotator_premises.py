"""Scale and region drawn in the cell: steps like all others, and every number follows them."""

from __future__ import annotations

import json
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fake_session import FakeSession, squares
from PIL import Image as PillowImage

from particle_nb.core.annotation import Annotation, read_archive, replay
from particle_nb.core.annotation.premises import drawn_scale
from particle_nb.core.errors import CalibrationError, DataError, ImageError, PromptError
from particle_nb.core.image import Calibration, Image, RegionOfInterest, RegionPart, read_image
from particle_nb.core.image.scale import CalibrationWarning
from particle_nb.core.shape import edge_weights, measure

annotator = pytest.importorskip("particle_nb.widgets.annotator")
BAR = {"bar": [10, 5, 110, 5], "length": "200 nm"}
LEFT = {"parts": [{"box": [0, 0, 139, 215]}]}


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def made(autosave: Any = False, scale: Calibration | None = None) -> Any:
    """Twelve squares of 40 px, six of them in the left half of the picture."""
    image = Image(squares(3, 4).pixels, scale, "squares")
    return annotator.Annotator(
        FakeSession(), image, FakeSession().propose(image), autosave=autosave
    )


def test_a_drawn_bar_gives_the_scale_with_its_source() -> None:
    assert drawn_scale(None, None) is None
    scale = drawn_scale([10.2, 40, 133.6, 40.0], " 5 µm ")
    assert scale.unit == "um"
    assert scale.pixel_size == pytest.approx(5 / 123.4)
    assert scale.source == "bar drawn by hand: 123.4 px = 5 µm"
    assert drawn_scale([0, 0, 30, 40], "0.1 mm").to("um") == 2
    assert drawn_scale([0, 0, 30, 40], "1 um", True).source == (
        "scale bar found and confirmed: 50.0 px = 1 um"
    )
    for bar, length, error in (
        ([1, 2, 3], "5 nm", PromptError),
        ([1, 2, 1.5, 2], "5 nm", PromptError),
        ([0, 0, np.nan, 0], "5 nm", PromptError),
        ([0, 0, 99, 0], "5", CalibrationError),
        ([0, 0, 99, 0], None, CalibrationError),
        ([0, 0, 99, 0], "-5 nm", CalibrationError),
        ([0, 0, 99, 0], "5 parsec", CalibrationError),
    ):
        with pytest.raises(error):
            drawn_scale(bar, length)


def test_the_scale_is_a_step_and_all_numbers_follow(tmp_path: Path) -> None:
    path = tmp_path / "a.pnb"
    editor = made(path)
    assert editor.table["x_A_px"].iloc[0] == pytest.approx(2 * 40 / np.sqrt(np.pi), rel=1e-6)
    editor.do("scale", **BAR)
    assert str(editor.image.calibration) == "2 nm/px (bar drawn by hand: 100.0 px = 200 nm)"
    table = measure(editor.masks, editor.image.calibration)
    assert np.allclose(editor.table["x_A_nm"], table["x_A_nm"])
    assert editor.table["x_A_nm"].iloc[0] == pytest.approx(2 * 2 * 40 / np.sqrt(np.pi), rel=1e-6)
    assert "nm (by volume)" in repr(editor)
    editor.do("scale", bar=[0, 0, 50, 0], length="1 um")
    assert editor.image.calibration.to("nm") == 20
    editor.undo()
    assert editor.image.calibration.to("nm") == 2
    editor.undo()
    assert editor.image.calibration is None
    assert "x_A_px" in editor.table
    editor.redo()
    again = annotator.open_annotation(path, None, Image(squares(3, 4).pixels, None, "squares"))
    assert again.image.calibration == editor.image.calibration
    assert json.loads(editor.log.splitlines()[0])["image"]["calibration"]["pixel_size"] == 2
    done = replay(editor.log, None, Image(squares(3, 4).pixels))
    assert done.masks.digest == editor.masks.digest


def test_a_file_with_its_pixels_knows_both_scales(tmp_path: Path) -> None:
    editor = made(scale=Calibration(7, "nm", "tag"))
    editor.do("scale", **BAR)
    editor.do("region", **LEFT)
    path = editor.save(tmp_path / "b.pnb")
    archive = read_archive(path)
    assert archive.image.calibration.to("nm") == 2, "who reads it measures with what holds"
    assert archive.image.region.share == 0.5
    assert archive.original.calibration == Calibration(7, "nm", "tag")
    assert archive.original.region is None
    assert archive.manifest["version"] == 2, "an older package would pass over both"
    again = annotator.open_annotation(path, None)
    assert (again.image.calibration.to("nm"), again.region.share) == (2, 0.5)
    again.jump(1)
    assert (again.image.calibration.to("nm"), again.region) == (7, None)
    plain = made()
    assert read_archive(plain.save(tmp_path / "c.pnb")).manifest["version"] == 1


def test_a_region_hides_what_lies_outside_and_gives_it_back() -> None:
    editor = made()
    editor.do("region", **LEFT)
    assert [n for n, p in editor.state.particles.items() if p.kept] == [1, 2, 5, 6, 9, 10]
    assert len(editor.masks) == 6
    assert editor.region.share == 0.5
    assert editor._tally.facts(editor.state)["coverage"] == 6 * 1600 / (140 * 216)
    assert np.allclose(
        editor.table["edge_weight"],
        edge_weights(editor.masks.boxes, editor.image.shape, editor.region.mask),
    )
    assert editor.table["edge_weight"].iloc[0] > 1
    table = measure(editor.masks, region=editor.region)
    assert np.allclose(table["edge_weight"], editor.table["edge_weight"])
    # what is drawn outside is refused, and the cascade keeps to the region too
    with pytest.raises(PromptError, match="outside the region"):
        editor.do("polygon", path=[[200, 100], [209, 100], [209, 109], [200, 109]])
    editor.do("filter", settings={"min_area": 30})
    assert len(editor.masks) == 6
    editor.do("region", parts=[])
    assert len(editor.masks) == 12
    assert editor.region is None
    editor.undo()
    assert len(editor.masks) == 6
    for _ in range(2):
        editor.undo()
    assert len(editor.masks) == 12
    # a square that the rim cuts
    editor.do("region", parts=[{"box": [0, 0, 50, 215]}])
    editor.do("filter", settings={})
    assert len(editor.masks) == 0
    cut = {n for n, p in editor.state.particles.items() if not p.kept}
    assert cut == set(range(1, 13))


def test_hand_drawn_and_accepted_particles_follow_the_region_too() -> None:
    editor = Annotation(None, Image(np.zeros((60, 80))), autosave=False)
    for x in (5, 60):
        editor.do("polygon", path=[[x, 5], [x + 9, 5], [x + 9, 14], [x, 14]])
    editor.do("accept", ids=[2])
    editor.do("region", parts=[{"box": [0, 0, 30, 59]}])
    assert [p.kept for p in editor.state.particles.values()] == [True, False]
    editor.do("set", ids=[2], name="out")  # no other pixels: nothing to refuse
    editor.do("region", parts=[{"path": [[0, 0], [79, 0], [79, 59], [0, 20]]}])
    assert [p.kept for p in editor.state.particles.values()] == [True, True]
    for parts, said in (
        ([{"box": [0, 0, 79, 59], "include": False}], "nothing of the image"),
        ([{"path": [[0, 0]]}], "corners"),
        ("all", "list of parts"),
        ([{"circle": [1, 2, 3]}], "'path' or 'box'"),
    ):
        with pytest.raises((ImageError, DataError), match=said):
            editor.do("region", parts=parts)
    own = RegionOfInterest((60, 80), (RegionPart.box(0, 0, 40, 59),))
    editor = Annotation(None, Image(np.zeros((60, 80)), region=own), autosave=False)
    editor.do("region", parts=[{"box": [0, 0, 10, 59]}])
    editor.do("region", parts=[])
    assert editor.region is own, "taking back gives the image's own region"


def test_the_browser_hears_of_another_scale_and_gets_all_rows_without_pixels(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    editor = made()
    sent: list[tuple[Any, Any]] = []
    monkeypatch.setattr(editor._canvas, "send", lambda c, b=None: sent.append((c, list(b or []))))
    ask = lambda kind, **more: editor._canvas._received(None, {"id": "r", "kind": kind, **more}, [])  # noqa: E731
    ask("ready")
    assert sent[-1][0]["premises"] == {
        "pixel": None, "scale": "", "drawn": False, "regions": [], "share": 1.0,
    }  # fmt: skip
    ask("do", line={"action": "scale", **BAR})
    message, buffers = sent[-1]
    assert buffers == []
    assert len(message["upserts"]) == 12
    assert "x_A_nm" in message["columns"]
    assert message["premises"]["pixel"] == [2, "nm"]
    assert (message["summary"]["unit"], message["premises"]["drawn"]) == ("nm", True)
    ask("do", line={"action": "region", **LEFT})
    message, _ = sent[-1]
    assert message["premises"]["regions"] == [
        {"path": [[0, 0], [139, 0], [139, 215], [0, 215]], "include": True}
    ]
    ask("do", line={"action": "set", "ids": [1], "name": "x"})
    assert "premises" not in sent[-1][0]
    assert len(sent[-1][0]["upserts"]) == 1
    ask("undo")
    ask("undo")
    assert sent[-1][0]["premises"]["regions"] == []
    ask("scale_bar")
    assert sent[-1][0] == {"re": "r", "kind": "bar", "found": None}


def test_a_bar_in_the_picture_is_proposed_and_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    pixels = np.random.default_rng(0).integers(60, 90, (400, 600)).astype(np.uint8)
    pixels[360:365, 420:560] = 255
    editor = annotator.Annotator(None, Image(pixels), autosave=False)
    sent: list[Any] = []
    monkeypatch.setattr(editor._canvas, "send", lambda c, b=None: sent.append(c))
    editor._canvas._received(None, {"id": "r", "kind": "scale_bar"}, [])
    found = json.loads(json.dumps(sent[-1]["found"]))
    assert found["bar"] == pytest.approx([419.5, 362, 559.5, 362], abs=0.6)
    assert found["length"] is None
    assert found["note"]
    assert editor.image.calibration is None, "a proposal only"


def test_a_bar_in_the_info_bar_is_proposed_with_its_provenance(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """What `read_image` cut away lies below the picture; it is proposed all the same."""
    pixels = np.random.default_rng(0).integers(60, 90, (260, 600)).astype(np.uint8)
    pixels[200:] = 0
    pixels[230:234, 420:520] = 255
    PillowImage.fromarray(pixels).save(tmp_path / "cut.png")
    image = read_image(tmp_path / "cut.png", crop_bar=60)
    assert image.shape == (200, 600)
    editor = annotator.Annotator(None, image, autosave=False)
    sent: list[Any] = []
    monkeypatch.setattr(editor._canvas, "send", lambda c, b=None: sent.append(c))
    editor._canvas._received(None, {"id": "r", "kind": "scale_bar"}, [])
    found = json.loads(json.dumps(sent[-1]["found"]))
    assert found["bar"] == pytest.approx([419.5, 231.5, 519.5, 231.5], abs=0.6)
    assert (found["found"], found["box"]) == ("info bar", None)
    editor.do("scale", bar=found["bar"], length="2 um", found=found["found"])
    assert str(editor.image.calibration) == (
        "0.02 um/px (scale bar found in the info bar and confirmed: 100.0 px = 2 um)"
    )


def test_what_a_newcomer_types_after_drawing_a_scale_is_right_or_loud() -> None:
    own = Calibration(3.0, "nm", "tag")
    editor = made(scale=own)
    assert editor.calibration == own
    editor.do("scale", **BAR)
    for given in (None, editor.calibration):
        assert "x_A_nm" in measure(editor.masks, given)
        assert measure(editor.masks, given).attrs["pixel_size"] == 2.0
        assert measure(editor.masks[:1], given).attrs["pixel_size"] == 2.0
    with pytest.warns(CalibrationWarning, match=r"bar drawn by hand.*editor\.calibration"):
        table = measure(editor.masks, own)
    assert table.attrs["pixel_size"] == 3.0, "what was given counts"
    editor.undo()
    assert measure(editor.masks, own).attrs["pixel_size"] == 3.0
    assert measure(editor.masks).attrs["unit"] == "px"


def test_masks_carry_the_region_that_was_drawn() -> None:
    editor = made()
    height, width = editor.image.shape
    half = {"path": [[0, 0], [width // 2, 0], [width // 2, height - 1], [0, height - 1]]}
    editor.do("region", parts=[{**half, "include": True}])
    taken, given = measure(editor.masks), measure(editor.masks, region=editor.region)
    assert taken["edge_weight"].tolist() == given["edge_weight"].tolist()
    whole = measure(editor.masks, region=np.ones(editor.image.shape, bool))
    assert taken["edge_weight"].tolist() != whole["edge_weight"].tolist()
    assert editor.masks.drawn_scale is None


def test_lengths_in_mm_are_live_too() -> None:
    editor = made(scale=Calibration(0.1, "mm"))
    assert editor._tally.facts(editor.state)["unit"] == "um"
    assert editor.table["x_A_um"].iloc[0] == pytest.approx(100 * 80 / np.sqrt(np.pi), rel=1e-6)


def test_channels_are_shown_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    pixels = np.random.default_rng(0).integers(0, 255, (30, 40, 2), np.uint8)
    editor = annotator.Annotator(None, Image(pixels, name="SE and BSE"), autosave=False)
    sent: list[tuple[Any, Any]] = []
    monkeypatch.setattr(editor._canvas, "send", lambda c, b=None: sent.append((c, list(b or []))))

    def ask(kind: str, **more: Any) -> Any:
        sent.clear()
        editor._canvas._received(None, {"id": "r", "kind": kind, **more}, [])
        return sent[0][0], sent[0][1], sent[-1][0]

    def shown(buffers: list[bytes]) -> np.ndarray:
        return np.asarray(PillowImage.open(BytesIO(buffers[0])))

    for channel in (0, 1):
        image, buffers, said = ask("channel", step=1)
        assert np.array_equal(shown(buffers), pixels[..., channel])
        assert said["text"] == f"channel {channel + 1} of 2"
        assert image["exact"]
    assert np.array_equal(shown(ask("ready")[1]), pixels[..., 1]), "after a reload too"
    assert ask("channel", step=1)[2]["text"] == "all channels"
    assert ask("channel", step=-1)[2]["text"] == "channel 2 of 2"
    editor = made()
    monkeypatch.setattr(editor._canvas, "send", lambda c, b=None: sent.append((c, list(b or []))))
    editor._canvas._received(None, {"id": "r", "kind": "channel", "step": 1}, [])
    assert "one channel" in sent[-1][0]["message"]


def test_a_selection_is_shared_between_the_views_of_one_annotator(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    editor, sent = made(), []
    monkeypatch.setattr(editor._canvas, "send", lambda c, b=None: sent.append(c))
    editor._canvas._received(None, {"id": "v-1", "kind": "select", "ids": [3, 99]}, [])
    assert editor.selection == (3,)
    assert sent == [{"re": "v-1", "kind": "selected", "ids": [3]}], "every view hears of it"


def test_a_damaged_scale_or_region_in_a_file_is_damage(tmp_path: Path) -> None:
    from particle_nb.core.annotation.archive import ArchiveWriter, DamagedArchiveError
    from particle_nb.core.annotation.history import History

    for line in (
        {"action": "scale", "bar": [1, 2], "length": "5 nm"},
        {"action": "scale", "bar": [0, 0, 9, 9], "length": "long"},
        {"action": "region", "parts": [{"box": [0, 0, 99, 99], "include": False}]},
        {"action": "region", "parts": 3},
        {"action": "classes", "names": ["a", "a"]},
    ):
        history = History((20, 20))
        path = ArchiveWriter().write(tmp_path / "d.pnb", history.do(line, history.state), {})
        with pytest.raises(DamagedArchiveError):
            read_archive(path)
