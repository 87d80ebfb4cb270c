"""`Annotator`: an image, its particles and a model, in one notebook cell."""

from __future__ import annotations

import base64
import hashlib
import io
import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import ipywidgets
import pandas as pd
from IPython import get_ipython
from PIL import Image as PillowImage
from PIL import ImageDraw

from particle_nb.core.archive import Archive, ArchiveWriter, read_archive
from particle_nb.core.drafting import encoding_window
from particle_nb.core.editing import (
    filter_values,
    filterable,
    filtered,
    load_line,
    perform,
    preview,
    read_settings,
)
from particle_nb.core.errors import DataError, ImageError, PromptError
from particle_nb.core.history import History, State
from particle_nb.core.image import Image
from particle_nb.core.masks import Mask, MaskSet
from particle_nb.core.snapshot import still
from particle_nb.core.tally import Tally
from particle_nb.widgets.history_strip import HistoryStrip
from particle_nb.widgets.prompt_canvas import (
    PromptCanvas,
    draft_message,
    image_messages,
    mask_message,
    particle_message,
)


class Annotator:
    """Segment particles in the cell by clicks, boxes, sketches and strokes; every step is logged.

    Show it by leaving it as the last line of a cell. The kernel keeps the truth: after a reload of
    the page or a restart of the kernel, running the cell again brings everything back from the
    autosaved file.

    Parameters
    ----------
    session : Session or None
        Answers prompts; with None masks can be drawn by hand and edited only.
    image : Image
    masks : MaskSet or None
        Proposals to start from; they can be filtered, corrected and judged.
    autosave : bool or path
        True saves at each commit beside the notebook, under a name made from image and proposals;
        a path saves there; False does not save. A file that is there already is continued.

    Raises
    ------
    ImageError, DataError
        If the image is no `Image`, or the masks are of another frame.
    """

    def __init__(
        self,
        session: Any,
        image: Image,
        masks: MaskSet | None = None,
        *,
        autosave: bool | str | os.PathLike[str] = True,
    ) -> None:
        if not isinstance(image, Image):
            raise ImageError(
                f"expected a particle_nb.Image, not {type(image).__name__}; "
                "use read_image(path) or Image(array)."
            )
        if masks is not None and not isinstance(masks, MaskSet):
            raise DataError(f"masks must be a MaskSet or None, not {type(masks).__name__}.")
        if masks is not None and masks.shape != image.shape:
            raise DataError(f"the masks are of a frame {masks.shape}, the image of {image.shape}.")
        if session is not None and not callable(getattr(session, "predict", None)):
            raise DataError(
                f"expected a particle_nb.Session or None, not {type(session).__name__}."
            )
        self.session = session
        self.image = image
        self.selection: tuple[int, ...] = ()
        self._history = History(image.shape)
        self._tally = Tally(image.shape, image.calibration)
        self._writer = ArchiveWriter()
        self._values: pd.DataFrame | None = None
        self._settings: dict[str, Any] | None = None
        self._sent: dict[int, Mask] = {}
        self._sequence = 0
        self._hint = ""
        self._watchers: list[tuple[Callable[[Annotator], None], bool]] = []
        self._path = _autosave_path(autosave, image, masks)
        if masks is not None and len(masks):
            self._history = perform(self._history, load_line(masks), image, None)
        if self._path is not None and self._path.exists():
            self._continue(self._path)
        self._settings = _last_settings(self._history)
        self._canvas = PromptCanvas(self._answer)
        self._strip = HistoryStrip(image, self.jump)
        self._strip.show(self._history)
        self.widget = ipywidgets.VBox([self._canvas, self._strip])

    # -------------------------------------------------------------------------- what it holds

    @property
    def masks(self) -> MaskSet:
        """The committed masks that pass the filter, with their classes as labels."""
        return self._history.state.masks

    @property
    def state(self) -> State:
        """All particles with names, notes and flags, and the draft."""
        return self._history.state

    @property
    def history(self) -> History:
        """Every state so far."""
        return self._history

    @property
    def table(self) -> pd.DataFrame:
        """What was measured on the kept particles, indexed by particle number."""
        return self._tally.table(self.state)

    @property
    def log(self) -> str:
        """The prompt log as JSON lines, for `particle_nb.replay`."""
        return self._history.log(**self._facts())

    def _facts(self) -> dict[str, Any]:
        scale = self.image.calibration
        about: dict[str, Any] = {"digest": self.image.digest, "name": self.image.name}
        if scale is not None:
            about["calibration"] = {
                "pixel_size": scale.pixel_size,
                "unit": scale.unit,
                "source": scale.source,
            }
        facts: dict[str, Any] = {"image": about}
        segmenter = getattr(self.session, "segmenter", None)
        if segmenter is not None:
            facts["model"] = {"name": segmenter.name, "digest": segmenter.digest}
        return facts

    # ------------------------------------------------------------------------------- changing

    def do(self, action: str, **parameters: Any) -> None:
        """Do what a person could do in the cell, e.g. ``do("point", x=10, y=20)``.

        Raises
        ------
        PromptError, DataError
            As `particle_nb.core.editing.perform`.
        """
        self._act({"action": action, **parameters}, None)

    def undo(self) -> None:
        """Go one step back."""
        self._go(self._history.undo(), None)

    def redo(self) -> None:
        """Go one step forward again."""
        self._go(self._history.redo(), None)

    def jump(self, position: int) -> None:
        """Go to the state after so many steps.

        Raises
        ------
        DataError
            If there are fewer.
        """
        self._go(self._history.jump(position), None)

    def select(self, numbers: Any) -> None:
        """Select particles by their numbers, in the canvas, the list and the histogram."""
        self.selection = tuple(n for n in map(int, numbers) if n in self.state.particles)
        self._canvas.reply(None, "select", {"ids": list(self.selection)})

    def watch(self, run: Callable[[Annotator], None], drafts: bool = False) -> None:
        """Call `run(annotator)` after each change of the committed particles (or of drafts too)."""
        self._watchers.append((run, drafts))

    def save(self, path: str | os.PathLike[str] | None = None, with_image: bool = True) -> Path:
        """Write the annotation to a ``.pnb`` file, atomically.

        Parameters
        ----------
        path : path or None
            The autosaved file when left out.
        with_image : bool
            Whether the pixels go in too, so that `open_annotation` needs nothing else.

        Raises
        ------
        DataError
            If there is no path or it cannot be written.
        """
        target = Path(path) if path is not None else self._path
        if target is None:
            raise DataError("autosave is off: say where to save, e.g. annotator.save('a.pnb').")
        image = self.image if with_image else None
        return self._writer.write(target, self._history, self._facts(), image)

    def _act(self, line: dict[str, Any], request: str | None) -> None:
        line["at"] = round(time.time(), 3)
        view = line.pop("view", None)
        if view is not None:
            line["window"] = encoding_window(view, self.image.shape)
        if line.get("action") == "filter":
            self._measure_filter()
        after = perform(self._history, line, self.image, self.session, self._values)
        self._go(after, request)

    def _go(self, history: History, request: str | None) -> None:
        before, self._history = self._history.state, history
        changes = before.changed(history.state)
        self.selection = tuple(n for n in self.selection if n in history.state.particles)
        failure = None
        if changes:
            self._settings = _last_settings(history)
            if self._path is not None:
                try:
                    # saved before it is shown as committed: a kill after this loses nothing
                    self._writer.write(self._path, history, self._facts())
                except DataError as error:
                    failure = error
        self._tell(request, changes, before)
        self._strip.show(history)
        for run, drafts in self._watchers:
            if changes or drafts:
                run(self)
        if failure is not None:
            raise failure

    def _continue(self, path: Path) -> None:
        try:
            archive = read_archive(path)
        except DataError as error:
            kept = path.with_name(path.name + ".damaged")
            os.replace(path, kept)
            self._hint = f"{error} It was kept as {kept.name}."
            return
        if archive.history.shape != self.image.shape:
            raise DataError(
                f"{path} is of an image of {archive.history.shape}, this one is "
                f"{self.image.shape}; give another autosave path."
            )
        _check_image(archive, self.image, path)
        self._history = archive.history
        self._hint = f"continued from {path.name}: {len(self.state.particles)} particles"

    # ------------------------------------------------------------------------------- messages

    def _answer(self, request: str, kind: str, content: Mapping[str, Any]) -> None:
        answers: dict[str, Callable[[str, Mapping[str, Any]], None]] = {
            "ready": self._ready,
            "do": lambda request, content: self._act(dict(content["line"]), request),
            "undo": lambda request, _: self._go(self._history.undo(), request),
            "redo": lambda request, _: self._go(self._history.redo(), request),
            "hover": self._hover,
            "probe": self._probe,
            "select": self._selected,
            "filter": self._try_filter,
            "next": self._next,
            "save": self._save,
        }
        if kind not in answers:
            raise DataError(f"the browser sent an unknown message {kind!r}; reload the page.")
        answers[kind](request, content)

    def _ready(self, request: str, _: Mapping[str, Any]) -> None:
        for message, buffers in image_messages(self.image):
            self._canvas.reply(None, "image", message, buffers)
        self._sent.clear()
        self._tell(request, dict(self.state.particles), State(self.image.shape), full=True)
        self._strip.show(self._history, again=True)

    def _tell(
        self, request: str | None, changes: Mapping[int, Any], before: State, full: bool = False
    ) -> None:
        state = self._history.state
        self._sequence += 1
        buffers: list[bytes] = []
        present = {n: p for n, p in changes.items() if p is not None}
        rows = self._tally.rows(present)
        upserts = []
        for number, particle in present.items():
            known = self._sent.get(number) is particle.mask
            upserts.append(
                particle_message(number, particle, rows[number], None if known else buffers)
            )
            self._sent[number] = particle.mask
        removes = [n for n, p in changes.items() if p is None]
        for number in removes:
            self._sent.pop(number, None)
        message: dict[str, Any] = {
            "seq": self._sequence,
            "full": full,
            "upserts": upserts,
            "removes": removes,
            "history": {"position": self._history.position, "length": len(self._history.steps)},
        }
        if full or state.draft is not before.draft:
            message["draft"] = draft_message(state.draft, buffers)
        if full or changes:
            message["summary"] = self._tally.facts(state)
            message["settings"] = self._settings
        if full:
            message["columns"] = list(self._tally.columns)
            message["select"] = list(self.selection)
            message["hint"] = self._hint
        self._canvas.reply(request, "delta", message, buffers)

    def _hover(self, request: str, content: Mapping[str, Any]) -> None:
        line = dict(content["line"])
        line["window"] = encoding_window(line.pop("view"), self.image.shape)
        draft = preview(self.state, line, self.image, self.session)
        buffers: list[bytes] = []
        # only the candidate that would be shown travels
        chosen = () if draft.mask is None else (draft.mask,)
        message = {"candidates": [mask_message(mask, buffers) for mask in chosen], "choice": 0}
        self._canvas.reply(request, "hover", {"draft": message, "seq": self._sequence}, buffers)

    def _probe(self, request: str, content: Mapping[str, Any]) -> None:
        x, y = int(content["x"]), int(content["y"])
        height, width = self.image.shape
        if not (0 <= x < width and 0 <= y < height):
            raise PromptError(f"the pixel ({x}, {y}) lies outside the image.")
        value = self.image.pixels[y, x]
        text = " ".join(f"{v:g}" for v in value.ravel().tolist())
        self._canvas.reply(request, "value", {"x": x, "y": y, "text": text})

    def _selected(self, request: str, content: Mapping[str, Any]) -> None:
        self.selection = tuple(n for n in map(int, content["ids"]) if n in self.state.particles)
        self._canvas.reply(request, "selected", {})

    def _measure_filter(self) -> None:
        numbers = set(filterable(self.state))
        if self._values is None or not numbers <= set(self._values.index):
            self._values = filter_values(self.state, self.image)

    def _try_filter(self, request: str, content: Mapping[str, Any]) -> None:
        self._measure_filter()
        settings = read_settings(content["settings"])
        state = filtered(self.state, settings, self.image, self._values)
        self._canvas.reply(
            request,
            "kept",
            {
                "of": list(filterable(state)),
                "kept": [n for n, p in state.particles.items() if p.kept],
                "summary": self._tally.facts(state),
            },
        )

    def _next(self, request: str, content: Mapping[str, Any]) -> None:
        number = self.state.most_doubtful(content.get("after"))
        self._canvas.reply(request, "next", {"particle": number})

    def _save(self, request: str, _: Mapping[str, Any]) -> None:
        self._canvas.reply(request, "saved", {"path": str(self.save(with_image=False))})

    # --------------------------------------------------------------------------------- showing

    def picture(self) -> bytes:
        """Return a PNG of the image with its particles and counts, for where no kernel runs."""
        picture = PillowImage.fromarray(still(self.image.to_uint8(), self.state.particles))
        sheet = PillowImage.new("RGB", (picture.width, picture.height + 22), "white")
        sheet.paste(picture, (0, 0))
        ImageDraw.Draw(sheet).text((6, picture.height + 5), repr(self), fill="black")
        file = io.BytesIO()
        sheet.save(file, "PNG")
        return file.getvalue()

    def _repr_mimebundle_(self, **_: Any) -> Any:
        """The live widget, and beside it a picture with the counts for where no kernel runs."""
        png = base64.b64encode(self.picture()).decode()
        still_data = {"text/plain": repr(self), "image/png": png}
        if not _someone_is_there():
            return still_data, {}
        live = self.widget._repr_mimebundle_()
        data, extra = live if isinstance(live, tuple) else (live, {})
        return {**(data or {}), **still_data}, extra

    def __repr__(self) -> str:
        facts = self._tally.facts(self.state)
        d10, d50, d90 = facts["sizes"]["3"]["percentiles"]
        sizes = (
            ""
            if d50 is None
            else f", D10 {d10:.4g}, D50 {d50:.4g}, D90 {d90:.4g} {facts['unit']} (by volume)"
        )
        return (
            f"Annotator of {self.image.name or 'an image'}: {facts['count']} "
            f"particle{'' if facts['count'] == 1 else 's'}, "
            f"{100 * facts['coverage']:.1f} % covered{sizes}"
        )


def open_annotation(
    path: str | os.PathLike[str], session: Any, image: Image | None = None
) -> Annotator:
    """Open a saved annotation with its whole history; it goes on saving to the same file.

    Parameters
    ----------
    path : path
        A ``.pnb`` file.
    session : Session or None
    image : Image or None
        Needed where the file was saved without its image, as autosaved files are.

    Raises
    ------
    DataError
        If the file is damaged or foreign, belongs to another image, or holds no image and none is
        given.
    """
    archive = read_archive(path)
    path = Path(path)
    image = image if image is not None else archive.image
    if image is None:
        raise DataError(f"{path} was saved without its image; pass image=read_image(...).")
    _check_image(archive, image, path)
    return Annotator(session, image, autosave=path)


def _someone_is_there() -> bool:
    """Whether a person may use the cell: what papermill and nbconvert run cannot ask for input.

    A widget left in their output would hide the picture and look for its code on the network.
    """
    shell = get_ipython()
    return getattr(getattr(shell, "kernel", None), "_allow_stdin", True) is not False


def _check_image(archive: Archive, image: Image, path: Path) -> None:
    about = archive.manifest.get("image")
    digest = about.get("digest") if isinstance(about, Mapping) else None
    if digest is not None and digest != image.digest:
        raise DataError(
            f"{path} belongs to another image (digest {digest}, this one is {image.digest}); "
            "read the original file, or save to another path."
        )


def _autosave_path(autosave: Any, image: Image, masks: MaskSet | None) -> Path | None:
    if autosave is False:
        return None
    if autosave is not True:
        return Path(autosave)
    start = image.digest + (masks.digest if masks is not None and len(masks) else "")
    stem = "".join(c if c.isalnum() or c in "-_" else "_" for c in Path(image.name).stem)[:60]
    return Path(f"{stem or 'annotation'}-{hashlib.sha256(start.encode()).hexdigest()[:8]}.pnb")


def _last_settings(history: History) -> dict[str, Any] | None:
    for step in reversed(history.steps[: history.position]):
        if step.record["action"] == "filter":
            return dict(step.record["settings"])
    return None
