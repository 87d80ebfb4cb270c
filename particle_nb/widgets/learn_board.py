"""Learning from a corrected image, in the background: started, watched and stopped in the cell."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable, Mapping
from typing import Any

from particle_nb.background import BackgroundTune
from particle_nb.core.errors import DataError, PromptError
from particle_nb.models.protocols import answering

#: Seconds between two looks at the progress.
_PAUSE = 0.5


class LearnBoard:
    """Keeps one `BackgroundTune` and tells the browser how far it is.

    Parameters
    ----------
    editor : Annotation
        The session learns from its particles.
    send : callable
        Takes the content of a message of the kind "learn".
    """

    def __init__(self, editor: Any, send: Callable[[dict[str, Any]], None]) -> None:
        self._editor, self._send = editor, send
        self.run: BackgroundTune | None = None
        #: Gives what is learned from beside the open image, as `Session.tune` takes it.
        self.others: Callable[[], list[Any]] = list
        self._told = 0.0
        self._used = False
        self._answers = ""

    def attend(self) -> None:
        """Say so where the weights from before tuning answer for the picture, or no longer do."""
        said = self._answers
        self._look()
        if self._answers != said:
            self.tell()

    def _look(self) -> None:
        model = getattr(self._editor.session, "segmenter", None)
        who = answering(model, self._editor.image)
        self._answers = ""
        if model is not None and who is not model:
            self._answers = (
                f"{who.name}, from before tuning, answers here: this picture is unlike those that "
                f"{model.name} was tuned on."
            )

    def do(self, content: Mapping[str, Any]) -> None:
        """Start, stop or use what was learned, as the browser asks.

        Raises
        ------
        PromptError
            If there is nothing to start, stop or use.
        DataError
            If there are too few masks, or the browser asks for something else.
        """
        step = content.get("step")
        if step == "start":
            self._start(float(content.get("minutes", 5)))
        elif self.run is None:
            raise PromptError("nothing was learned here yet; press “learn” first.")
        elif step == "stop":
            self.run.stop()
        elif step == "use":
            self._used = self.run.use()
            self._look()
        else:
            raise DataError(f"learning is started, stopped or used, not {step!r:.40}.")
        self.tell()

    def _start(self, minutes: float) -> None:
        session = self._editor.session
        if not callable(getattr(session, "tune", None)):
            raise PromptError("learning needs a session with a segmenter that can be tuned.")
        if self._editor.region is not None:
            raise PromptError(
                "outside the region all would count as ground; analyse all of the image first."
            )
        if self.run is not None and self.run.state == "running":
            raise PromptError("it learns already; stop it first.")
        loop = asyncio.get_running_loop()

        def watch(run: BackgroundTune) -> None:
            """In the thread that learns."""
            now = time.monotonic()
            if run.state == "running" and now - self._told < _PAUSE:
                return
            self._told = now
            try:
                loop.call_soon_threadsafe(self.tell)
            except RuntimeError:
                return  # the kernel ends

        self._used = False
        given = [self._editor, *self.others()]
        self.run = BackgroundTune(session, given, minutes, watch=watch).start()

    def tell(self) -> None:
        """Say who answers for the picture, how far a run is, and in the end what came out."""
        self._send({**self._progress(), "answers": self._answers})

    def _progress(self) -> dict[str, Any]:
        run = self.run
        if run is None:
            return {"state": "none"}
        progress, result = run.progress, run.result
        before, now = (
            None if math.isnan(v) else round(v, 4) for v in (progress.before, progress.now)
        )
        return {
            "state": run.state,
            "images": len(run.lessons),
            "doing": progress.doing,
            "share": round(progress.share, 4),
            "before": before,
            "now": now,
            "kept": bool(result is not None and result.kept),
            "used": self._used,
            "notes": [] if result is None else list(result.notes),
            "error": "" if run.error is None else str(run.error),
        }
