"""The gallery: states, counts and sizes of drawn squares, one image in memory at a time."""

from __future__ import annotations

import gc
import io
import json
import weakref
from pathlib import Path
from types import SimpleNamespace

import ipywidgets
import numpy as np
import PIL.Image
import pytest
from fake_session import Proposing

import particle_nb as pnb
from particle_nb import DataError, ImageError
from particle_nb.core.annotation.album import Album
from particle_nb.core.masks import MaskSet
from particle_nb.widgets._esm import joined_modules
from particle_nb.widgets.gallery import GalleryGrid

SIDES = {"a.png": 12, "b.png": 12, "sub/c.png": 24}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "sub").mkdir()
    for name, side in SIDES.items():
        pixels = np.full((120, 160), 30, np.uint8)
        for k in range(4):
            pixels[20 + 50 * (k // 2) :, 20 + 60 * (k % 2) :][:side, :side] = 220
        PIL.Image.fromarray(pixels).save(tmp_path / name)
    (tmp_path / "d.png").write_bytes(b"no image")
    return tmp_path


def sent(gallery: pnb.Gallery) -> list[dict]:
    """What the grid would send from now on."""
    said: list[dict] = []
    gallery._grid.reply = lambda request, kind, content, buffers=(): said.append(
        {"re": request, "kind": kind, **content, "buffers": list(buffers)}
    )
    return said


def test_states_counts_and_sizes(folder):
    session = Proposing()
    gallery = pnb.Gallery(session, folder, pixel_size="0.5 um")
    assert [page.name for page in gallery.album.pages] == ["a.png", "b.png", "d.png", "sub/c.png"]
    assert gallery.states == {"new": 4}
    assert gallery.distribution() is None
    gallery.open("a.png")
    assert gallery.states == {"new": 3, "proposed": 1}
    editor = gallery.next()
    assert editor.image.name == "b"
    assert len(editor.masks) == 4
    editor.do("delete", ids=[1])
    assert gallery.states == {"new": 2, "proposed": 1, "corrected": 1}
    with pytest.raises(ImageError):
        gallery.next()
    gallery.open("sub/c.png")
    assert gallery.states == {"proposed": 2, "corrected": 1, "failed": 1}
    assert gallery.next() is None
    found = gallery.distribution(r=0)
    assert (found.n, found.image_count, found.unit) == (11, 3, "um")
    true = {side: 0.5 * side * np.sqrt(4 / np.pi) for side in SIDES.values()}
    assert found.x[:7] == pytest.approx(true[12], rel=0.03)
    assert found.x[7:] == pytest.approx(true[24], rel=0.03)
    table = gallery.table
    assert table["image"].value_counts().to_dict() == {"a.png": 4, "b.png": 3, "sub/c.png": 4}
    assert session.asked == 3


def test_a_new_kernel_goes_on_without_reading_an_image(folder, monkeypatch):
    gallery = pnb.Gallery(Proposing(), folder, pixel_size="0.5 um")
    gallery.open("a.png")
    gallery.open("b.png").do("delete", ids=[1])
    monkeypatch.setattr(Album, "read", lambda *_: pytest.fail("an image was read"))
    again = pnb.Gallery(Proposing(), folder, pixel_size="0.5 um")
    assert again.states == {"new": 2, "proposed": 1, "corrected": 1}
    assert again.distribution().n == 7
    monkeypatch.undo()
    session = Proposing()
    third = pnb.Gallery(session, folder, pixel_size="0.5 um")
    assert len(third.open("b.png").masks) == 3
    assert not hasattr(session, "asked")


def test_a_note_that_is_not_of_this_file_does_not_count(folder):
    gallery = pnb.Gallery(Proposing(), folder)
    gallery.open("a.png")
    note = folder / "annotations" / "a.png.json"
    record = json.loads(note.read_text())
    for damaged in (b"{", b"[]", json.dumps(record | {"sizes": [1.0]}).encode()):
        note.write_bytes(damaged)
        page = Album(folder)["a.png"]
        assert (page.state, page.sizes) == ("proposed", [])
    note.write_text(json.dumps(record | {"stamp": [0, 0]}))
    assert Album(folder)["a.png"].sizes == []


def test_masks_the_model_doubts_make_an_image_doubtful(folder):
    class Unsure(Proposing):
        def propose(self, image, progress=True):
            return MaskSet(tuple(m.replace(predicted_iou=0.3) for m in super().propose(image)))

    gallery = pnb.Gallery(Unsure(), folder)
    gallery.open("a.png")
    assert gallery.states["doubtful"] == 1


def test_the_kernel_lets_go_of_what_was_open(folder):
    gallery = pnb.Gallery(Proposing(), folder)
    gallery.open("a.png")
    gone = weakref.ref(gallery.editor.image)
    for name in ("b.png", "a.png", "b.png"):
        gallery.open(name)
    widgets = len(ipywidgets.widgets.widget._instances)
    for _ in range(3):
        gallery.open("a.png")
        gallery.open("b.png")
    assert len(ipywidgets.widgets.widget._instances) <= widgets
    gc.collect()
    assert gone() is None


def test_widgets_are_closed_once_a_page_has_built_them(folder):
    gallery = pnb.Gallery(Proposing(), folder)
    said = sent(gallery)
    gallery._answered("1", "ready", {})
    gone = weakref.ref(gallery.open("a.png").image)
    widgets = len(ipywidgets.widgets.widget._instances)
    canvas = gallery.editor._canvas
    gallery.open("b.png")
    left = next(message["ids"] for message in said if message["kind"] == "left")
    assert canvas.model_id in left
    assert canvas.comm is not None
    gc.collect()
    assert gone() is None  # the image and its masks are not kept till then
    gallery._answered("2", "ready", {})  # the page was loaded again before it answered
    assert [message["ids"] for message in said if message["kind"] == "left"] == [left, left]
    gallery._answered("3", "left", {"ids": left})
    assert said[-1]["re"] == "3"
    gallery._answered("4", "left", {"ids": [*left, "no such widget"]})
    assert canvas.comm is None
    assert len(ipywidgets.widgets.widget._instances) == widgets


def test_messages(folder):
    gallery = pnb.Gallery(Proposing(), folder, pixel_size="0.5 um")
    said = sent(gallery)
    gallery._answered("1", "ready", {})
    assert said[-1]["re"] == "1"
    assert [page["state"] for page in said[-1]["pages"]] == ["new"] * 4
    gallery._answered("2", "thumbnail", {"index": 0})
    picture = PIL.Image.open(io.BytesIO(said[-1]["buffers"][0]))
    assert max(picture.size) <= 144
    gallery._answered("3", "open", {"index": 0})
    assert (said[-1]["kind"], said[-1]["open"]) == ("opened", 0)
    assert said[-2]["page"]["count"] == 4
    assert sum(said[-2]["pooled"]["shares"]) == pytest.approx(1)
    gallery._answered("4", "step", {"by": -1})
    assert (said[-1]["moved"], said[-1]["open"]) == (False, 0)
    with pytest.raises(DataError, match="unknown message"):
        gallery._answered("5", "dance", {})
    # the real way: an error is sent to who asked
    grid = GalleryGrid(gallery._answered)
    told: list[dict] = []
    grid.send = lambda content, buffers=None: told.append(content)
    grid._received(None, {"id": "6", "kind": "open", "index": 2}, [])
    assert told[-1]["kind"] == "error"
    assert told[-1]["re"] == "6"
    assert "d.png" in told[-1]["message"]


def test_what_it_carries_is_small_and_its_table_is_shown_without_a_kernel(folder):
    folder_of_js = Path(pnb.__file__).parent / "widgets" / "js"
    assert str(GalleryGrid._esm) == joined_modules(folder_of_js / "gallery.mjs")
    assert len(str(GalleryGrid._esm).encode()) < 100_000
    data, _ = pnb.Gallery(None, folder)._repr_mimebundle_()
    assert "<td>a.png</td><td>new</td>" in data["text/html"]
    assert data["text/plain"] == "<Gallery of 4 images: 4 new>"


class Learning(Proposing):
    """Proposes with weights that can change, and doubts what lies in dark pictures."""

    def __init__(self) -> None:
        super().__init__()
        self.segmenter = SimpleNamespace(name="fake", digest="old")
        self.learned_from: list = []

    def propose(self, image, progress=True):
        found = super().propose(image)
        sure = 0.2 if image.name == "c" and self.segmenter.digest == "old" else 0.9
        return MaskSet(tuple(m.replace(confidence=sure) for m in found))


def test_the_most_doubtful_of_the_next_images_comes_first(folder):
    session = Learning()
    gallery = pnb.Gallery(session, folder, pixel_size="0.5 um")
    gallery.open("a.png").do("delete", ids=[1])
    editor = gallery.most_doubtful(among=4)
    assert editor.image.name == "c"
    assert session.asked == 3
    assert gallery.states == {"corrected": 1, "failed": 1, "proposed": 1, "doubtful": 1}
    assert [p.doubtful for p in gallery.album.pages] == [0, 0, 0, 4]
    # new weights: what nobody touched is proposed anew, what a person corrected stays
    session.segmenter.digest = "new"
    editor = gallery.most_doubtful(among=4)
    assert editor.image.name == "b"
    gallery.open("sub/c.png")
    assert session.asked == 5
    assert gallery.states == {"corrected": 1, "failed": 1, "proposed": 2}
    assert len(gallery.open("a.png").masks) == 3
    assert session.asked == 5
    # a new kernel knows whose proposals they are
    again = pnb.Gallery(session, folder, pixel_size="0.5 um")
    again.open("b.png")
    assert session.asked == 5
    session.segmenter.digest = "newer"
    again.open("sub/c.png")
    assert session.asked == 6
    with pytest.raises(DataError, match="above 0"):
        again.most_doubtful(0)


def test_learning_in_the_gallery_takes_all_corrected_images(folder):
    gallery = pnb.Gallery(Learning(), folder, pixel_size="0.5 um")
    gallery.open("a.png").do("delete", ids=[1])
    gallery.open("b.png")
    editor = gallery.open("sub/c.png")
    given = editor._lessons.others()
    assert [(image.name, len(masks)) for image, masks in given] == [("a", 3)]
