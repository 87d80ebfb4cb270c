"""`PhasePainter`: an image, strokes and the phases that follow from them, in one notebook cell."""

from __future__ import annotations

import asyncio
import base64
import io
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from IPython.display import publish_display_data
from PIL import Image as PillowImage

from particle_nb.core.annotation.snapshot import png
from particle_nb.core.errors import DataError, ImageError, ParticleError
from particle_nb.core.image import Image
from particle_nb.core.phases import (
    DenseFeatures,
    PhaseMap,
    Stroke,
    StrokeLog,
    channels_of,
)
from particle_nb.figures.phase_maps import coloured
from particle_nb.phase_classifier import PhaseClassifier, PhaseSettings
from particle_nb.widgets._esm import joined_modules
from particle_nb.widgets.annotator import someone_is_there
from particle_nb.widgets.prompt_canvas import PromptCanvas, image_messages
from particle_nb.widgets.still_output import StillOutput

#: Pixels that are answered for while somebody paints; all others follow when the hand rests.
_LIVE = 36_000
#: Trees that grow while somebody paints, and painted pixels that they learn from.
_LIVE_SETTINGS = PhaseSettings(trees=24, most_pixels=2000, smooth=0)
_PAUSE = 0.6  # seconds without a stroke after which every pixel is answered for
_MOST_PHASES = 16


class PhaseCanvas(PromptCanvas):
    """The painting canvas in the cell; it speaks as `PromptCanvas` does.

    Parameters
    ----------
    answer : callable
        Takes the request id, its kind and its content.
    """

    _esm = joined_modules(Path(__file__).parent / "js" / "phase_painter.mjs")


class PhasePainter:
    """Paint a few strokes of each phase; the phases of all pixels follow while you paint.

    Number keys choose the phase, D brush, E eraser, P polygon or lasso, V shows or hides the
    result, C shows where it is doubtful, Ctrl+Z undoes. Every stroke is saved.

    Parameters
    ----------
    session : Session or None
        Makes and keeps the network's maps; None paints on filters alone.
    image : Image
        (H, W) or (H, W, C); every channel (SE, BSE) counts.
    names : sequence of str
        What the phases are called, two or more; more can be added in the cell.
    autosave : path, True or False
        Where the strokes are saved after each of them and taken up again; True is a file in the
        working directory named after the image.
    classifier : PhaseClassifier or None
        How the phases are learned (features, settings, seed); None is the default one.

    Raises
    ------
    ImageError, DataError
        If something of it cannot be used, or the file belongs to another image.

    Examples
    --------
    >>> painter = PhasePainter(None, Image(np.eye(40)), ("pore", "solid"), autosave=False)
    >>> painter.stroke("brush", 1, [(5, 5), (30, 30)], radius=2)
    >>> int((painter.strokes == 1).sum()) > 100
    True
    """

    def __init__(
        self,
        session: Any,
        image: Image,
        names: Sequence[str] = ("phase 0", "phase 1"),
        autosave: str | os.PathLike[str] | bool = True,
        classifier: PhaseClassifier | None = None,
    ) -> None:
        if not isinstance(image, Image):
            raise ImageError(
                f"expected a particle_nb.Image, not {type(image).__name__}; "
                "use read_image(path) or Image(array)."
            )
        self.image = image
        if classifier is None:
            classifier = PhaseClassifier(session, "filters" if session is None else "both")
        if not isinstance(classifier, PhaseClassifier):
            raise DataError(
                f"classifier is a PhaseClassifier or None, not {type(classifier).__name__}."
            )
        self._classifier = classifier
        self._live = PhaseClassifier(
            session, classifier.features, _LIVE_SETTINGS, seed=classifier.seed
        )
        self._path = _path(autosave, image)
        self.log = self._begun(_names(names))
        self._channels = channels_of(image)
        self._maps: DenseFeatures | None = None
        self._phases: PhaseMap | None = None
        self._version = 0  # of the strokes
        self._sequence = 0  # of what was told
        self._fitted = -1  # strokes that the classifier knows
        self._timer: asyncio.TimerHandle | None = None
        self._canvas = PhaseCanvas(self._answer)
        self._still = StillOutput(lambda: (repr(self), self._sheet()))

    def _begun(self, names: Sequence[str]) -> StrokeLog:
        """The strokes of the file, or none."""
        image = self.image
        if self._path is not None and self._path.exists():
            log = StrokeLog.read(self._path)
            if (log.shape, log.image) != (image.shape, image.digest):
                raise DataError(
                    f"{self._path} holds strokes on another image; name another file: autosave=."
                )
            return log
        return StrokeLog(image.shape, dict(enumerate(names)), image.digest)

    # --------------------------------------------------------------------------------- values

    @property
    def strokes(self) -> np.ndarray:
        """Painted phases, int16 (H, W), -1 where nothing was painted."""
        found = self.log.labels.view()
        found.flags.writeable = False
        return found

    @property
    def classifier(self) -> PhaseClassifier:
        """The classifier, taught with all that is painted now.

        Raises
        ------
        DataError
            If fewer than two phases are painted.
        """
        if self._fitted != self._version:
            maps = self._features()
            self._classifier.fit_maps([maps], [self.log.labels], [self.image], self.log.names)
            self._fitted = self._version
        return self._classifier

    @property
    def phases(self) -> PhaseMap:
        """The phase of every pixel, after the strokes that are painted now.

        Raises
        ------
        DataError
            If fewer than two phases are painted.
        """
        if self._phases is None:
            self._phases = self.classifier.predict_maps(self._features(), self.image)
        return self._phases

    def _features(self) -> DenseFeatures:
        if self._maps is None:
            self._maps = self._classifier.maps(self.image)
        return self._maps

    # --------------------------------------------------------------------------------- actions

    def stroke(
        self, tool: str, phase: int, path: Sequence[tuple[float, float]], radius: float = 3.0
    ) -> None:
        """Paint as the hand does.

        Parameters
        ----------
        tool : str
            ``"brush"``, ``"eraser"`` or ``"polygon"``.
        phase : int
        path : sequence of (x, y)
            In image pixels, pixel centres at integers.
        radius : float
            Half the width of the brush, pixels.

        Raises
        ------
        PromptError
            If it cannot be painted.
        """
        if phase not in self.log.names:
            raise DataError(f"there is no phase {phase}; there are 0 to {len(self.log.names) - 1}.")
        before = self.log.labels.copy()
        self.log.add(Stroke(tool, phase, tuple(path), radius))
        self._changed(before)

    def undo(self) -> bool:
        """Take the last stroke back; False where there is none."""
        before = self.log.labels
        return self.log.undo() and self._changed(before)

    def redo(self) -> bool:
        """Paint again what was undone last; False where there is nothing."""
        before = self.log.labels
        return self.log.redo() and self._changed(before)

    def save(self, path: str | os.PathLike[str] | None = None) -> Path:
        """Write the strokes, to be replayed by `StrokeLog.read` or another painter.

        Raises
        ------
        DataError
            If there is no path, or nothing can be written there.
        """
        target = self._path if path is None else Path(path)
        if target is None:
            raise DataError("name the file: this painter was made with autosave=False.")
        return self.log.write(target)

    def _changed(self, before: np.ndarray) -> bool:
        self._version += 1
        self._phases = None
        if self._path is not None:
            self.log.write(self._path)
        self._tell(_box(before != self.log.labels))
        self._still.renew()
        return True

    # --------------------------------------------------------------------------------- the cell

    @property
    def widget(self) -> PhaseCanvas:
        """The canvas, for layouts of your own."""
        return self._canvas

    def _answer(self, request: str, kind: str, content: Mapping[str, Any]) -> None:
        if kind == "ready":
            for message, buffers in image_messages(self.image):
                self._canvas.reply(None, "image", message, buffers)
            self._tell((0, 0, *self.image.shape), request)
            self._answer_live(request)
        elif kind == "stroke":
            self.stroke(
                str(content["tool"]), int(content["phase"]), content["path"], content["radius"]
            )
            self._answer_live(request)
        elif kind in ("undo", "redo"):
            getattr(self, kind)()
            self._answer_live(request)
        elif kind == "rename":
            self._rename(int(content["phase"]), str(content["name"]))
            self._tell(None, request)
        elif kind == "add":
            self._add()
            self._tell(None, request)
        elif kind == "show":
            channel = self._channels[int(content["channel"])]
            for message, buffers in image_messages(Image(channel, self.image.calibration)):
                self._canvas.reply(request, "image", message, buffers)
        elif kind == "save":
            self._canvas.reply(request, "say", {"text": f"saved as {self.save()}"})

    def _rename(self, phase: int, name: str) -> None:
        names = {**self.log.names, phase: name.strip()}
        if phase not in self.log.names or len(set(names.values())) < len(names) or not name.strip():
            raise DataError(f"every phase needs a name of its own, not {name!r}.")
        self.log.names = names
        self._renamed()

    def _add(self) -> None:
        count = len(self.log.names)
        if count >= _MOST_PHASES:
            raise DataError(f"at most {_MOST_PHASES} phases can be painted.")
        taken = set(self.log.names.values())
        number = next(n for n in range(count, 2 * count + 1) if f"phase {n}" not in taken)
        self.log.names = {**self.log.names, count: f"phase {number}"}
        self._renamed()

    def _renamed(self) -> None:
        self._version += 1
        self._phases = None
        if self._path is not None:
            self.log.write(self._path)

    def _tell(self, box: tuple[int, ...] | None, request: str | None = None) -> None:
        """What is painted within a box, and how many of the strokes are done."""
        self._sequence += 1
        buffers = []
        message: dict[str, Any] = {
            "seq": self._sequence,
            "position": self.log.position,
            "length": len(self.log.strokes),
            "phases": self._rows(None),
            "channels": [f"channel {i + 1}" for i in range(len(self._channels))],
        }
        if box is not None:
            r0, c0, r1, c1 = box
            crop = self.log.labels[r0:r1, c0:c1]
            buffers.append(np.where(crop < 0, 255, crop).astype(np.uint8).tobytes())
            message["box"] = list(box)
        if len(np.unique(self.log.labels[self.log.labels >= 0])) < 2:
            message["clear"] = True
        self._canvas.reply(request, "state", message, buffers)

    def _rows(self, shares: np.ndarray | None) -> list[dict[str, Any]]:
        painted = np.bincount(
            self.log.labels[self.log.labels >= 0].astype(int), minlength=len(self.log.names)
        )
        return [
            {
                "name": name,
                "painted": int(painted[phase]),
                "fraction": None if shares is None else float(shares[phase]),
            }
            for phase, name in self.log.names.items()
        ]

    def _answer_live(self, request: str | None) -> None:
        """A quick answer for some of the pixels; the others follow when the hand rests."""
        painted = np.unique(self.log.labels[self.log.labels >= 0])
        if len(painted) < 2:
            text = "paint a stroke of at least two phases: number keys choose the phase"
            self._canvas.reply(request, "say", {"text": text})
            return
        if self._maps is None:
            self._canvas.reply(None, "say", {"text": "the features of the image are made, once …"})
        maps = self._features()
        height, width = self.image.shape
        step = max(1, int(np.ceil(np.sqrt(height * width / _LIVE))))
        self._live.fit_maps([maps], [self.log.labels], [self.image], self.log.names)
        votes = self._live.votes(maps, step)
        labels = np.asarray(self._live.classes, np.uint8)[votes.argmax(axis=2)]
        self._send(labels, votes.max(axis=2), step)
        self._canvas.reply(request, "say", {"text": "" if step == 1 else "every pixel follows …"})
        self._rest()

    def _send(self, labels: np.ndarray, certainty: np.ndarray, step: int) -> None:
        height, width = labels.shape
        known = labels[labels != 255].astype(int)
        shares = np.bincount(known, minlength=len(self.log.names)) / max(len(known), 1)
        message = {
            "seq": self._version * 2 + (step == 1),
            "step": step,
            "width": width,
            "height": height,
            "phases": self._rows(shares),
        }
        certain = np.nan_to_num(certainty * 255).round().clip(0, 255).astype(np.uint8)
        self._canvas.reply(None, "result", message, [_png(labels), _png(certain)])

    def _rest(self) -> None:
        """Answer for every pixel once nothing has been painted for a moment."""
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            return  # no kernel: `phases` answers when it is asked for
        if self._timer is not None:
            self._timer.cancel()
        self._timer = loop.call_later(_PAUSE, self._whole)

    def _whole(self) -> None:
        self._timer = None
        version, maps = self._version, self._features()
        worker = PhaseClassifier(
            None, self._classifier.features, self._classifier.settings, seed=self._classifier.seed
        )
        painted, names, image = self.log.labels.copy(), dict(self.log.names), self.image

        def work() -> PhaseMap:
            worker.fit_maps([maps], [painted], [image], names)
            return worker.predict_maps(maps, image)

        def done(future: asyncio.Future[PhaseMap]) -> None:
            if future.cancelled() or version != self._version:
                return
            error = future.exception()
            if error is not None:
                known = isinstance(error, ParticleError)
                text = str(error) if known else f"{type(error).__name__}: {error}"
                self._canvas.reply(None, "error", {"of": "result", "message": text})
                return
            self._phases = future.result()
            labels = np.where(self._phases.labels < 0, 255, self._phases.labels).astype(np.uint8)
            self._send(labels, self._phases.certainty, 1)
            self._canvas.reply(None, "say", {"text": repr(self._phases)})
            self._still.renew()

        # trees and votes run without the interpreter's lock for the most part
        asyncio.get_running_loop().run_in_executor(None, work).add_done_callback(done)

    # --------------------------------------------------------------------------------- showing

    def picture(self) -> bytes:
        """Return a PNG of the image with its phases, or its strokes where there is no result."""
        return png(self._sheet())

    def _sheet(self) -> np.ndarray:
        step = max(1, -(-max(self.image.shape) // 1000))
        shown = self.log.labels if self._phases is None else self._phases.labels
        return coloured(self.image.to_uint8()[::step, ::step], shown[::step, ::step], 0.5)

    def _ipython_display_(self) -> None:
        """Show the live widget, and a picture below it for where no kernel runs."""
        if not someone_is_there():
            raise NotImplementedError  # IPython then takes `_repr_mimebundle_`
        live = self._canvas._repr_mimebundle_()
        data, extra = live if isinstance(live, tuple) else (live, {})
        publish_display_data({**(data or {}), "text/plain": repr(self)}, extra)
        self._still.show()

    def _repr_mimebundle_(self, **_: Any) -> Any:
        """A picture of the phases: papermill and nbconvert cannot paint."""
        picture = base64.b64encode(self.picture()).decode()
        return {"text/plain": repr(self), "image/png": picture}, {}

    def __repr__(self) -> str:
        rows = ", ".join(f"{row['name']} {row['painted']} px" for row in self._rows(None))
        return f"<PhasePainter {self.image.name!r}: painted {rows}>"


def _names(names: Any) -> list[str]:
    if isinstance(names, str) or not isinstance(names, Sequence) or len(names) < 2:
        raise DataError(f"names are two phases or more, as ('pore', 'solid'), not {names!r}.")
    found = [str(name).strip() for name in names]
    if len(set(found)) < len(found) or not all(found) or len(found) > _MOST_PHASES:
        raise DataError(f"every phase needs a name of its own, at most {_MOST_PHASES}: {found}.")
    return found


def _path(autosave: Any, image: Image) -> Path | None:
    if autosave is False:
        return None
    if autosave is True:
        stem = re.sub(r"[^\w.-]+", "_", Path(image.name).stem) or "image"
        return Path(f"{stem[:60]}-{image.digest[:6]}.strokes.json")
    if isinstance(autosave, (str, os.PathLike)):
        return Path(autosave)
    raise DataError(f"autosave is a path, True or False, not {autosave!r}.")


def _box(changed: np.ndarray) -> tuple[int, ...] | None:
    """First and last rows and columns of what changed."""
    rows, columns = np.flatnonzero(changed.any(1)), np.flatnonzero(changed.any(0))
    if not len(rows):
        return None
    return int(rows[0]), int(columns[0]), int(rows[-1]) + 1, int(columns[-1]) + 1


def _png(values: np.ndarray) -> bytes:
    file = io.BytesIO()
    PillowImage.fromarray(np.ascontiguousarray(values, np.uint8)).save(
        file, "PNG", compress_level=1
    )
    return file.getvalue()
