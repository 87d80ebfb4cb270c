"""Tuning beside other work: a thread that learns while clicks go on being answered."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from particle_nb.core.errors import DataError, ParticleError

if TYPE_CHECKING:
    from particle_nb.models.tuning.running import TuneProgress
    from particle_nb.models.tuning.settings import TuneSettings
    from particle_nb.models.tuning.tuned import Tuned
    from particle_nb.session import Session

#: States of a background run, in their order.
STATES = ("waiting", "running", "done", "failed")


class BackgroundTune:
    """One run of `Session.tune` in a thread of its own.

    The session goes on answering with the old weights; `use` takes the new ones where they were
    kept. Masks are read when it is made: what is corrected afterwards is not in it.

    Parameters
    ----------
    session : Session
    annotations
        As `Session.tune` takes them.
    minutes : float
    settings : TuneSettings or None
    watch : function or None
        Called with this object after every step and in the end, in the thread that learns.

    Raises
    ------
    DataError
        If there is nothing to learn from.

    Examples
    --------
    >>> from particle_nb.session import Session
    >>> import numpy as np
    >>> grey, labels = np.zeros((64, 64), np.uint8), np.zeros((64, 64), int)
    >>> labels[4:20, 4:20] = 1
    >>> BackgroundTune(Session(), [(grey, labels)]).state
    'waiting'
    """

    def __init__(
        self,
        session: Session,
        annotations: Any,
        minutes: float = 5.0,
        *,
        settings: TuneSettings | None = None,
        watch: Callable[[BackgroundTune], None] | None = None,
    ) -> None:
        from particle_nb.models.tuning.lessons import read_lessons
        from particle_nb.models.tuning.running import Outlook, TuneProgress
        from particle_nb.models.tuning.settings import TuneSettings

        if not callable(getattr(session, "tune", None)):
            raise DataError(f"expected a particle_nb.Session, not {type(session).__name__}.")
        if watch is not None and not callable(watch):
            raise DataError(f"watch is a function of this run, not {type(watch).__name__}.")
        if settings is not None and not isinstance(settings, TuneSettings):
            raise DataError(f"settings are TuneSettings, not {type(settings).__name__}.")
        self.session, self.settings = session, settings
        self.lessons = read_lessons(annotations)
        self.state = "waiting"
        self.progress = TuneProgress("waiting", 0.0)
        self.result: Tuned | None = None
        self.error: Exception | None = None
        self._watch = watch
        self._outlook = Outlook(minutes, self._told)
        self._thread: threading.Thread | None = None

    def start(self) -> BackgroundTune:
        """Begin; returns at once.

        Raises
        ------
        DataError
            If it was started before.
        """
        if self._thread is not None:
            raise DataError("this run was started already; make another one.")
        self.state = "running"
        self._thread = threading.Thread(target=self._run, name="particle_nb tune", daemon=True)
        self._thread.start()
        return self

    def stop(self) -> None:
        """End the learning early; what was learned is judged and kept as in any other case."""
        self._outlook.stop.set()

    def wait(self, seconds: float | None = None) -> bool:
        """Wait until it is over, or for so long; returns whether it is over."""
        if self._thread is not None:
            self._thread.join(seconds)
        return self.state in ("done", "failed")

    def use(self) -> bool:
        """Let the session go on with the new weights where they were kept; whether it does.

        Raises
        ------
        DataError
            If it is not over yet.
        ParticleError
            What it failed with.
        """
        if self.state == "failed" and self.error is not None:
            raise self.error
        if self.result is None:
            raise DataError("the run is not over yet; wait() for it, or stop() it.")
        if self.result.kept:
            self.session.use(self.result)
        return self.result.kept

    def _run(self) -> None:
        from particle_nb.models.tuning.running import tune

        try:
            self.result = tune(self.session.segmenter, self.lessons, self.settings, self._outlook)
            self.state = "done"
        except (ParticleError, RuntimeError, OSError, MemoryError) as error:
            self.error, self.state = error, "failed"
        if self._watch is not None:
            self._watch(self)

    def _told(self, progress: TuneProgress) -> None:
        self.progress = progress
        if self._watch is not None:
            self._watch(self)

    def __repr__(self) -> str:
        return f"BackgroundTune {self.state}: {self.progress.doing}, {self.progress.share:.0%}"
