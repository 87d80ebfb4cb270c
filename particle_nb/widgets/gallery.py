"""`Gallery`: the images of a folder in one cell, one of them open in the annotator."""

from __future__ import annotations

import html
import io
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import ipywidgets
import numpy as np
import pandas as pd
from PIL import Image as PillowImage

from particle_nb.core.annotation import Annotation
from particle_nb.core.annotation.album import STATES, Album, Page
from particle_nb.core.errors import DataError, ParticleError
from particle_nb.core.image import Image
from particle_nb.core.image.tones import Tones
from particle_nb.core.masks import MaskSet
from particle_nb.core.sizes import SizeDistribution
from particle_nb.widgets._esm import joined_modules
from particle_nb.widgets.annotator import Annotator, someone_is_there
from particle_nb.widgets.prompt_canvas import PromptCanvas

_HERE = Path(__file__).parent
_SIDE = 144  # pixels of a thumbnail
_BINS = 24
#: Corrected images that are learned from beside the open one, the last of the album.
_LESSONS = 30


class GalleryGrid(PromptCanvas):
    """Thumbnails with states and numbers, and the pooled distribution; speaks as `PromptCanvas`.

    Parameters
    ----------
    answer : callable
        Takes the request id, its kind and its content.
    """

    _esm = joined_modules(_HERE / "js" / "gallery.mjs")
    # a path would be watched by anywidget, which then never lets go of a widget
    _css = (_HERE / "gallery.css").read_text("utf-8")


class Gallery:
    """Work through the images of a folder: thumbnails, states, counts, and one pooled distribution.

    Leave it as the last line of a cell. A click on a thumbnail (Enter on the keyboard) opens the
    image in the annotator below; Alt+Down and Alt+Up go to the next and the previous one,
    Alt+Shift+Down to the most doubtful of those that come. Masks are proposed when a new image is
    opened, and each commit is saved: a kernel that was restarted goes
    on where it was. One image is in memory at a time.

    Parameters
    ----------
    session : Session or None
        Proposes masks and answers prompts; with None masks are drawn by hand.
    images : folder, or sequence of paths
    out : path or None
        Folder of the annotations; None is ``annotations`` in the folder of the images.
    pixel_size : str, (float, str), Calibration or None
        Of all images; None takes what each file says.

    Raises
    ------
    DataError
        If there is no image, the folder cannot be made, or the session is none.
    CalibrationError
        If `pixel_size` cannot be read.
    """

    def __init__(
        self,
        session: Any,
        images: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
        out: str | os.PathLike[str] | None = None,
        *,
        pixel_size: Any = None,
    ) -> None:
        if session is not None and not callable(getattr(session, "propose", None)):
            raise DataError(
                f"expected a particle_nb.Session or None, not {type(session).__name__}."
            )
        self.session = session
        self.album = Album(images, out, pixel_size)
        self.editor: Annotator | None = None
        self._open: Page | None = None
        self._shown = False  # whether a page has shown the grid
        self._leaving: dict[str, ipywidgets.Widget] = {}  # closed once the page has built them
        self._grid = GalleryGrid(self._answered)
        self._stage = ipywidgets.VBox([])
        self.widget = ipywidgets.VBox([self._grid, self._stage])

    def open(self, name: str | int) -> Annotator:
        """Open an image, by its name or number, in the annotator below; the last one is closed.

        Raises
        ------
        DataError
            If there is no such image.
        ImageError, CalibrationError, ModelError
            If it cannot be read, or masks cannot be proposed.
        """
        page = self.album[name]
        if self._open is page and self.editor is not None:
            return self.editor
        self.close()
        image = self._read(page)
        masks = self._proposals(page, image)
        editor = Annotator(self.session, image, masks, autosave=self.album.file(page))
        self._kept(page, editor, masks)
        editor.learn_from(self._lessons)
        if masks is not None:
            editor.attend()
        self.editor, self._open = editor, page
        editor.watch(lambda one: self._changed(page, one))
        self._changed(page, editor)
        self._stage.children = [editor.widget]
        return editor

    def close(self) -> None:
        """Close the open image; what was committed is saved already."""
        if self.editor is None:
            return
        self._stage.children = []
        self.editor.rest()
        self._leaving.update((part.model_id, part) for part in _parts(self.editor.widget))
        self.editor = self._open = None
        self._leave()

    def _leave(self) -> None:
        """Close the widgets of images that were open, once the page is done with them.

        A page builds a widget step by step, and a part that is closed meanwhile is an error there.
        """
        names = list(self._leaving)
        if self._shown:
            self._grid.reply(None, "left", {"ids": names})
        else:
            self._close(names)

    def _close(self, names: Sequence[str]) -> None:
        for name in names:
            part = self._leaving.pop(name, None)
            if part is not None:
                part.close()

    def next(self, step: int = 1) -> Annotator | None:
        """Open the next image (or the one `step` away); None at the end.

        Raises
        ------
        DataError
            If `step` is no whole number.
        """
        if isinstance(step, bool) or not isinstance(step, int):
            raise DataError(f"step is a whole number, not {step!r}.")
        at = -1 if self._open is None else self.album.pages.index(self._open)
        at += step
        return self.open(at) if 0 <= at < len(self.album) else None

    def most_doubtful(self, among: int = 3) -> Annotator | None:
        """Open the image whose particles are the most doubtful, of those that nobody worked on.

        Masks are proposed first for up to `among` of them that come next and have none, or have
        those of a segmenter from before the last learning.

        Raises
        ------
        DataError
            If `among` is no whole number above 0.
        ImageError, CalibrationError, ModelError
            As `open`.
        """
        if isinstance(among, bool) or not isinstance(among, int) or among < 1:
            raise DataError(f"among is a whole number above 0, not {among!r}.")
        at = -1 if self._open is None else self.album.pages.index(self._open)
        pages = self.album.pages[at + 1 :] + self.album.pages[: at + 1]
        waiting = [p for p in pages if p is not self._open and not p.touched]
        asked = [p for p in waiting if p.state != "failed" and self._wanting(p)][:among]
        for page in asked:
            try:
                image = self._read(page)
            except ParticleError:
                continue
            masks = self._proposals(page, image)
            one = Annotation(self.session, image, masks, autosave=self.album.file(page))
            self._kept(page, one, masks)
            self._changed(page, one)
        able = [p for p in waiting if p.state in ("proposed", "doubtful")]
        if not able:
            return None
        worst = max(able, key=lambda p: p.doubtful / max(len(p.sizes), 1))
        return self.open(self.album.pages.index(worst))

    def distribution(self, r: int = 3) -> SizeDistribution | None:
        """Return the sizes of all images pooled, None before the first whole particle.

        Particles know their images, so that intervals hold the variation between these.
        """
        return self.album.distribution(r)

    @property
    def table(self) -> pd.DataFrame:
        """The particles of all annotated images; every image is read once more for it."""
        return self.album.particles()

    @property
    def states(self) -> dict[str, int]:
        """How many images are in which state."""
        found = [page.state for page in self.album.pages]
        return {state: found.count(state) for state in STATES if state in found}

    def __repr__(self) -> str:
        told = ", ".join(f"{count} {state}" for state, count in self.states.items())
        return f"<Gallery of {len(self.album)} images: {told}>"

    # ------------------------------------------------------------------------------- proposing

    def _read(self, page: Page) -> Image:
        """Read a picture; of one that cannot be read the grid is told."""
        try:
            return self.album.read(page)
        except ParticleError as error:
            self.album.fail(page, error)
            self._tell(page)
            raise

    def _wanting(self, page: Page) -> bool:
        """Whether masks are to be proposed: there are none, or untouched ones of older weights."""
        if self.session is None:
            return False
        if not self.album.file(page).exists():
            return True
        return not page.touched and page.proposer not in ("", self._model)

    @property
    def _model(self) -> str:
        return str(getattr(getattr(self.session, "segmenter", None), "digest", ""))

    def _proposals(self, page: Page, image: Image) -> MaskSet | None:
        if not self._wanting(page):
            return None
        masks: MaskSet = self.session.propose(image, progress=False)
        self.album.file(page).unlink(missing_ok=True)
        page.proposer = self._model
        return masks

    def _kept(self, page: Page, one: Annotation, masks: MaskSet | None) -> None:
        path = self.album.file(page)
        if masks is not None and not path.exists():
            one.save(path, with_image=False)

    def _lessons(self) -> list[tuple[Image, MaskSet]]:
        """Images that a person corrected, beside the open one, with their masks."""
        pages = [p for p in self.album.pages if p.state == "corrected" and p is not self._open]
        read = [self.album.annotation(page) for page in pages[-_LESSONS:]]
        return [(one.image, one.masks) for one in read]

    # ------------------------------------------------------------------------------- messages

    def _answered(self, request: str, kind: str, content: Mapping[str, Any]) -> None:
        answers: dict[str, Callable[[str, Mapping[str, Any]], None]] = {
            "ready": self._ready,
            "thumbnail": self._thumbnail,
            "open": lambda request, c: self._opened(request, lambda: self.open(int(c["index"]))),
            "step": lambda request, c: self._opened(request, lambda: self.next(int(c["by"]))),
            "doubtful": lambda request, _: self._opened(request, self.most_doubtful),
            "left": self._left,
        }
        if kind not in answers:
            raise DataError(f"the browser sent an unknown message {kind!r}; reload the page.")
        answers[kind](request, content)

    def _ready(self, request: str, _: Mapping[str, Any]) -> None:
        pages = [self._message(k, page) for k, page in enumerate(self.album.pages)]
        message = {"pages": pages, "open": self._place(), **self._pooled()}
        self._grid.reply(request, "pages", message)
        self._shown = True
        if self._leaving:
            self._leave()  # a page that was closed or loaded again has not answered

    def _thumbnail(self, request: str, content: Mapping[str, Any]) -> None:
        index = int(content["index"])
        page = self.album[index]
        try:
            picture = Tones(self.album.read(page))
        except ParticleError as error:
            self.album.fail(page, error)
            self._tell(page)
            return
        step = max(1, min(picture.shape) // (2 * _SIDE))
        grey = np.asarray(picture[::step, ::step])
        small = PillowImage.fromarray(grey)
        small.thumbnail((_SIDE, _SIDE))
        stream = io.BytesIO()
        small.save(stream, "PNG")
        self._grid.reply(request, "thumbnail", {"index": index}, [stream.getvalue()])

    def _opened(self, request: str, run: Callable[[], Any]) -> None:
        moved = run() is not None
        self._grid.reply(request, "opened", {"open": self._place(), "moved": moved})

    def _left(self, request: str, content: Mapping[str, Any]) -> None:
        self._close(content["ids"])
        self._grid.reply(request, "closed", {})

    def _place(self) -> int | None:
        return None if self._open is None else self.album.pages.index(self._open)

    def _changed(self, page: Page, editor: Any) -> None:
        self.album.note(page, editor)
        self._tell(page)

    def _tell(self, page: Page) -> None:
        index = self.album.pages.index(page)
        message = {"page": self._message(index, page), "open": self._place(), **self._pooled()}
        self._grid.reply(None, "page", message)

    def _message(self, index: int, page: Page) -> dict[str, Any]:
        found = page.distribution()
        return {
            "index": index,
            "name": page.name,
            "state": page.state,
            "count": len(page.sizes),
            "d50": None if found is None else float(found.percentile(50)),
            "unit": page.unit,
            "message": page.message,
        }

    def _pooled(self) -> dict[str, Any]:
        found = self.album.distribution()
        if found is None:
            return {"pooled": None, "states": self.states}
        density = found.q(min(_BINS, max(5, round(2 * found.n ** (1 / 3)))))
        low, middle, high = found.percentile([10, 50, 90])
        scaled = sum(any(page.weights) for page in self.album.pages)
        pooled = {
            "n": found.n,
            "images": found.image_count,
            "left": scaled - found.image_count,
            "unit": found.unit,
            "percentiles": [float(low), float(middle), float(high)],
            "edges": [float(edge) for edge in density.edges],
            "shares": [float(share) for share in density.shares],
        }
        return {"pooled": pooled, "states": self.states}

    # --------------------------------------------------------------------------------- showing

    def _repr_mimebundle_(self, **given: Any) -> Any:
        """A table of the images, and the live widget where somebody could use it."""
        data = {"text/plain": repr(self), "text/html": self._sheet()}
        if not someone_is_there():
            return data, {}
        live = self.widget._repr_mimebundle_(**given)
        found, extra = live if isinstance(live, tuple) else (live, {})
        return {**(found or {}), **data}, extra

    def _sheet(self) -> str:
        rows = []
        for k, page in enumerate(self.album.pages):
            told = self._message(k, page)
            median = "" if told["d50"] is None else f"{told['d50']:.4g} {told['unit']}"
            cells = (page.name, page.state, str(told["count"]), median)
            rows.append("".join(f"<td>{html.escape(cell)}</td>" for cell in cells))
        head = "<tr><th>image</th><th>state</th><th>particles</th><th>D50, by volume</th></tr>"
        return f"<table>{head}{''.join(f'<tr>{row}</tr>' for row in rows)}</table>"


def _parts(widget: Any) -> Iterator[ipywidgets.Widget]:
    """Yield all that a widget holds, and the widget itself last."""
    # an ipycanvas of several layers has these beside its children
    for child in (*getattr(widget, "children", ()), *getattr(widget, "_canvases", ())):
        yield from _parts(child)
    for name in ("layout", "style"):
        part = getattr(widget, name, None)
        if isinstance(part, ipywidgets.Widget):
            yield part
    yield widget
