"""`Annotator`: an image, its particles and a model, in one notebook cell."""

from __future__ import annotations

import base64
import os
from collections.abc import Callable, Mapping
from typing import Any

import ipywidgets
import numpy as np
from IPython import get_ipython
from IPython.display import publish_display_data
from PIL import Image as PillowImage
from PIL import ImageDraw

from particle_nb.core.annotation import Annotation, read_archive
from particle_nb.core.annotation.actions import paste_line
from particle_nb.core.annotation.annotation import Advance
from particle_nb.core.annotation.history import State
from particle_nb.core.annotation.premises import palette, with_key
from particle_nb.core.annotation.snapshot import Still, png
from particle_nb.core.annotation.thresholds import OFF, filterable, write_settings
from particle_nb.core.cascade import FilterSettings
from particle_nb.core.errors import DataError, PromptError
from particle_nb.core.image import Image, find_scale_bar
from particle_nb.core.image.tones import Tones
from particle_nb.core.masks import Mask, MaskSet
from particle_nb.widgets.class_board import ClassBoard
from particle_nb.widgets.history_strip import HistoryStrip
from particle_nb.widgets.learn_board import LearnBoard
from particle_nb.widgets.prompt_canvas import (
    PromptCanvas,
    channel_of,
    draft_message,
    image_messages,
    mask_message,
    particle_message,
)
from particle_nb.widgets.still_output import StillOutput

#: Actions that the segmenter answers.
_ASKING = ("point", "box", "sketch")
#: What was copied last: it can be pasted into every annotator of the kernel.
_CLIPBOARD: list[Mask] = []


class Annotator(Annotation):
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
        super().__init__(session, image, masks, autosave=autosave)
        self._sent: dict[int, Mask] = {}
        self._sequence = 0
        self._told: FilterSettings | None = None
        self._named: tuple[str, ...] = ()
        self._based: Image | None = None
        self._seen = 0
        self._tones = Tones(image)
        self._pictures = Still(self._tones)
        self._canvas = PromptCanvas(self._answer)
        self._board = ClassBoard(
            lambda: self._guesser,
            lambda: (self.state, self._premises),
            lambda content: self._canvas.reply(None, "classes", content),
        )
        self._lessons = LearnBoard(self, lambda content: self._canvas.reply(None, "learn", content))
        self._strip = HistoryStrip(self._tones, self.jump)
        self._strip.show(self._history)
        self._still = StillOutput(lambda: (repr(self), self._sheet()))
        self.widget = ipywidgets.VBox([self._canvas, self._strip])

    def learn_from(self, others: Callable[[], list[Any]]) -> None:
        """Let "learn" also learn from what `others` gives then, as `Session.tune` takes it."""
        self._lessons.others = others

    def attend(self) -> None:
        """Say in the cell where weights from before tuning answer for the picture."""
        self._lessons.attend()

    def rest(self) -> None:
        """Let the widgets know nothing of this annotation any more; they answer no message."""
        self._canvas.rest()
        self._strip.rest()

    def select(self, numbers: Any) -> None:
        """Select particles by their numbers, in the canvas, the list and the histogram."""
        super().select(numbers)
        self._canvas.reply(None, "select", {"ids": list(self.selection)})

    def _show(self, advance: Advance, request: str | None) -> None:
        if advance.changes:
            self._still.renew()
        names = palette(self._premises, self.state)
        if (advance.changes and self._board.used) or names != self._named:
            self._board.renew()
        self._named = names
        self._tell(request, advance.changes, advance.before)
        self._strip.show(self._history)

    def _classes_changed(self) -> None:
        self._board.renew()

    # ------------------------------------------------------------------------------- messages

    def _answer(self, request: str, kind: str, content: Mapping[str, Any]) -> None:
        answers: dict[str, Callable[[str, Mapping[str, Any]], None]] = {
            "ready": self._ready,
            "do": self._done,
            "copy": self._copied,
            "paste": self._paste,
            "undo": lambda request, _: self._go(self._history.undo(), request),
            "redo": lambda request, _: self._go(self._history.redo(), request),
            "hover": self._hover,
            "probe": self._probe,
            "select": self._selected,
            "filter": self._filter,
            "classify": self._classify,
            "scale_bar": self._scale_bar,
            "channel": self._channel,
            "learn": self._learn,
            "next": self._next,
            "save": self._save,
            "width": self._resized,
        }
        if kind not in answers:
            raise DataError(f"the browser sent an unknown message {kind!r}; reload the page.")
        self._still.postpone()
        answers[kind](request, content)

    def _done(self, request: str, content: Mapping[str, Any]) -> None:
        line, before = dict(content["line"]), set(self.state.particles)
        self._act(line, request)
        if line.get("action") in _ASKING:
            self._lessons.attend()
        if line.get("action") in ("duplicate", "paste"):
            self.select(n for n in self.state.particles if n not in before)

    def _copied(self, request: str, content: Mapping[str, Any]) -> None:
        masks = [self.state[n].mask for n in content["ids"]]
        if not masks:
            raise PromptError("no particle is selected; click one first.")
        _CLIPBOARD[:] = masks
        self._canvas.reply(request, "copied", {"count": len(masks)})

    def _paste(self, request: str, content: Mapping[str, Any]) -> None:
        line = paste_line(_CLIPBOARD, (content["x"], content["y"]), self.image.shape)
        self._done(request, {"line": line})

    def _ready(self, request: str, content: Mapping[str, Any]) -> None:
        if content.get("hides_still") is False:
            self._still.withdraw()
        self._send_image()
        self._board.begin()
        self._lessons.tell()
        self._sent.clear()
        self._told = None
        self._tell(request, dict(self.state.particles), State(self.image.shape), full=True)
        self._strip.show(self._history, again=True)

    def _send_image(self) -> None:
        seen = channel_of(self.image, self._seen)
        tones = self._tones if seen is self.image else None
        for message, buffers in image_messages(seen, tones):
            self._canvas.reply(None, "image", message, buffers)

    def _learn(self, request: str, content: Mapping[str, Any]) -> None:
        self._lessons.do(content)
        self._canvas.reply(request, "learning", {})

    def _channel(self, request: str, content: Mapping[str, Any]) -> None:
        """Show the next of the image's channels, or all of them; only what is seen changes."""
        total = self.image.channels
        if total < 2:
            raise PromptError(
                "this image has one channel; several detectors stand on its last axis, (H, W, C)."
            )
        self._seen = (self._seen + int(content["step"])) % (total + 1)
        self._send_image()
        text = f"channel {self._seen} of {total}" if self._seen else "all channels"
        self._canvas.reply(request, "channel", {"text": text})

    def _tell(
        self, request: str | None, changes: Mapping[int, Any], before: State, full: bool = False
    ) -> None:
        state = self._history.state
        if self._based is not self.image:  # all was measured anew
            changes = {**dict(state.particles), **{n: p for n, p in changes.items() if p is None}}
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
        moved, self._told = self._settings != self._told, self._settings
        if full or changes or moved:
            message["summary"] = self._tally.facts(state)
            message["settings"] = write_settings(self._settings)
        if moved:
            message["removed"] = self._removed()
        if full or self._based is not self.image:
            message["columns"] = list(self._tally.columns)
            message["premises"] = self._premises_message()
            self._based = self.image
        if full:
            message["usual"] = write_settings(FilterSettings())
            message["off"] = write_settings(OFF)
            message["select"] = list(self.selection)
            message["hint"] = self._hint
        self._canvas.reply(request, "delta", message, buffers)

    def _premises_message(self) -> dict[str, Any]:
        scale, region = self.image.calibration, self.image.region
        return {
            "pixel": None if scale is None else [scale.pixel_size, scale.unit],
            "scale": "" if scale is None else str(scale),
            "drawn": self._premises.calibration is not None,
            "regions": [] if region is None else region.json(),
            "share": 1.0 if region is None else region.share,
        }

    def _scale_bar(self, request: str, _: Mapping[str, Any]) -> None:
        """Propose what looks like a scale bar; nothing of it is used before somebody says so."""
        self._canvas.reply(request, "bar", {"found": _proposed_bar(self.image)})

    def _hover(self, request: str, content: Mapping[str, Any]) -> None:
        draft = self._preview(dict(content["line"]))
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
        text = " ".join(
            f"{v:.6g}" if isinstance(v, float) else str(v) for v in value.ravel().tolist()
        )
        self._canvas.reply(request, "value", {"x": x, "y": y, "text": text})

    def _selected(self, request: str, content: Mapping[str, Any]) -> None:
        super().select(content["ids"])
        # to every view: what is selected in one cell is selected in all that show this annotator
        self._canvas.reply(request, "selected", {"ids": list(self.selection)})

    def _filter(self, request: str, content: Mapping[str, Any]) -> None:
        state, removed = self._try_filter(content["settings"])
        self._canvas.reply(
            request,
            "kept",
            {
                "of": list(filterable(state)),
                "kept": [n for n, p in state.particles.items() if p.kept],
                "removed": removed,
                "summary": self._tally.facts(state),
            },
        )

    def _classify(self, request: str, content: Mapping[str, Any]) -> None:
        """Give the class at a key: the log names it, as keys mean something else tomorrow."""
        names = palette(self._premises, self.state)
        line: dict[str, Any] = {"action": "classify", "ids": content["ids"]}
        names = with_key(names, content["key"])
        if names != self._premises.classes:  # from here on every class keeps its key
            line["names"] = list(names)
        self._act({**line, "label": names[content["key"] - 1]}, request)

    def _next(self, request: str, content: Mapping[str, Any]) -> None:
        if content.get("by") == "class":
            number, left = self._board.next(content.get("after"))
            message = {"particle": number, "left": left, "by": "class"}
            return self._canvas.reply(request, "next", message)
        steps = self._history.steps[: self._history.position]
        number = self.state.most_doubtful(content.get("after"), steps[-1].before if steps else None)
        left = sum(p.kept and p.review != "accepted" for p in self.state.particles.values())
        self._canvas.reply(request, "next", {"particle": number, "left": left})

    def _resized(self, request: str, content: Mapping[str, Any]) -> None:
        self._strip.fit(float(content["width"]))
        self._canvas.reply(request, "resized", {})

    def _save(self, request: str, _: Mapping[str, Any]) -> None:
        self._canvas.reply(request, "saved", {"path": str(self.save(with_image=False))})

    # --------------------------------------------------------------------------------- showing

    def picture(self) -> bytes:
        """Return a PNG of the image with its particles and counts, for where no kernel runs."""
        return png(self._sheet())

    def _sheet(self) -> np.ndarray:
        picture = PillowImage.fromarray(self._pictures.draw(self.state.particles))
        sheet = PillowImage.new("RGB", (picture.width, picture.height + 22), "white")
        sheet.paste(picture, (0, 0))
        ImageDraw.Draw(sheet).text((6, picture.height + 5), repr(self), fill="black")
        return np.asarray(sheet)

    def _ipython_display_(self) -> None:
        """Show the live widget, and a picture below it for where no kernel runs."""
        if not someone_is_there():
            raise NotImplementedError  # IPython then takes `_repr_mimebundle_`
        live = self.widget._repr_mimebundle_()
        data, extra = live if isinstance(live, tuple) else (live, {})
        publish_display_data({**(data or {}), "text/plain": repr(self)}, extra)
        self._still.show()

    def _repr_mimebundle_(self, **_: Any) -> Any:
        """A picture with the counts, and the live widget where somebody could use it."""
        picture = base64.b64encode(self.picture()).decode()
        data = {"text/plain": repr(self), "image/png": picture}
        if not someone_is_there():
            return data, {}
        live = self.widget._repr_mimebundle_()
        found, extra = live if isinstance(live, tuple) else (live, {})
        return {**(found or {}), **data}, extra


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
    frame = image.shape[0] * image.shape[1] if isinstance(image, Image) else 0
    archive = read_archive(path, frame=frame)
    image = image if image is not None else archive.original
    if image is None:
        raise DataError(f"{path} was saved without its image; pass image=read_image(...).")
    return Annotator(session, image, autosave=path)


def _proposed_bar(image: Image) -> dict[str, Any] | None:
    """What `find_scale_bar` finds in the picture, as the browser takes it."""
    found = find_scale_bar(image)
    if found.ends is None:
        return None
    below = found.ends[1] > image.shape[0] - 1  # in the info bar that was left out on reading
    return {
        "bar": list(found.ends),
        "length": found.text or None,
        "box": None if found.box is None or below else list(found.box),
        "note": found.note,
        "found": "info bar" if below else True,
    }


def someone_is_there() -> bool:
    """Whether a person may use the cell: what papermill and nbconvert run cannot ask for input.

    A widget left in their output would hide the picture and look for its code on the network.
    Voila asks for no input either, but goes on with the kernel; it is told by its environment.
    """
    if "VOILA_REQUEST_URL" in os.environ or "VOILA_KERNEL_ID" in os.environ:
        return True
    shell = get_ipython()
    return getattr(getattr(shell, "kernel", None), "_allow_stdin", True) is not False
