"""Classes in the cell: what is sent of names and predictions; features are found aside."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Any

from particle_nb.core.annotation.guesses import Guesser, Guesses
from particle_nb.core.annotation.history import Particle
from particle_nb.core.annotation.premises import palette
from particle_nb.core.errors import ParticleError

#: Masks whose numbers are worked out at once, between two looks at whether anybody waits.
_CHUNK = 24
#: So many masks that are new are worked out on the spot.
_FEW = 6
#: Seconds between a change and the predictions that follow from it: the answer goes first.
_PAUSE = 0.02


class ClassBoard:
    """Keeps the browser's view of the classes up to date.

    The numbers of the particles are worked out in a thread at first use, piece by piece, so that
    prompts are answered meanwhile; the browser is told how far it is. After that a label costs a
    fit and a prediction only.

    Parameters
    ----------
    guesser : callable
        Gives the annotation's `Guesser`.
    facts : callable
        Gives its state and premises.
    send : callable
        Takes the content of a message of the kind "classes".
    """

    def __init__(
        self,
        guesser: Callable[[], Guesser],
        facts: Callable[[], Any],
        send: Callable[[dict[str, Any]], None],
    ) -> None:
        self._guesser, self._facts, self._send = guesser, facts, send
        self._guesses: Guesses | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._worker: threading.Thread | None = None
        self._failed = ""
        self._watched = False

    @property
    def _kept(self) -> dict[int, Particle]:
        return {n: p for n, p in self._facts()[0].particles.items() if p.kept}

    @property
    def used(self) -> bool:
        """Whether classes play a part in this annotation."""
        state, premises = self._facts()
        return bool(palette(premises, state)) or self._guesser().given is not None

    def begin(self) -> None:
        """A browser looks: from here on predictions follow what is done."""
        self._watched = True
        if self.used:
            self.show()

    def renew(self) -> None:
        """Particles or names changed: predict again soon, at once where there is no kernel.

        Where nobody looks nothing is worked out before somebody asks for it.
        """
        if not self._watched:
            return
        loop = _running_loop()
        if loop is None:
            self.show()
        elif self._timer is None:
            self._timer = loop.call_later(_PAUSE, self.show)

    def show(self) -> None:
        """Predict and send, as far as the numbers are there."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        kept, guesser = self._kept, self._guesser()
        if not self.used:
            self._guesses = None
            return self._tell({}, 0)
        missing = guesser.missing([p.mask for p in kept.values()])
        # the first of all loads a model, which takes seconds
        aside = len(missing) > (_FEW if guesser.ready else 0)
        if aside and not self._failed and _running_loop() is not None:
            self._guesses = None
            self._start(guesser)
            return self._tell(kept, len(missing))
        try:
            self._guesses = guesser.guess(kept)
        except ParticleError as error:
            self._guesses, self._failed = None, str(error)
        self._tell(kept, 0)

    def next(self, after: int | None) -> tuple[int | None, int]:
        """The particle to name after another one, and how many have no name."""
        if self._timer is not None:
            self.show()
        kept = self._kept
        free = {n for n, p in kept.items() if not p.mask.label}
        queue = [n for n in (self._guesses.queue if self._guesses else sorted(free)) if n in free]
        place = queue.index(after) + 1 if after in queue else 0
        return (queue[place % len(queue)] if queue else None), len(free)

    def _start(self, guesser: Guesser) -> None:
        if self._worker is not None and self._worker.is_alive():
            return
        loop = asyncio.get_running_loop()
        self._worker = threading.Thread(
            target=self._work, args=(guesser, loop), name="particle_nb features", daemon=True
        )
        self._worker.start()

    def _work(self, guesser: Guesser, loop: asyncio.AbstractEventLoop) -> None:
        """In the thread: numbers of all masks that lack them, a few at a time."""
        failed = ""
        try:
            while missing := guesser.missing([p.mask for p in self._kept.values()]):
                if guesser is not self._guesser():
                    break
                guesser.learn(missing[:_CHUNK])
                loop.call_soon_threadsafe(self._tell, None, max(len(missing) - _CHUNK, 0))
        except (ParticleError, RuntimeError, ValueError, OSError, MemoryError) as error:
            failed = str(error) or type(error).__name__
        try:
            loop.call_soon_threadsafe(self._done, failed)
        except RuntimeError:
            return  # the kernel ends

    def _done(self, failed: str) -> None:
        self._worker = None
        self._failed = failed
        self.show()

    def _tell(self, kept: dict[int, Particle] | None, waiting: int) -> None:
        """Send names, counts and predictions; `waiting` masks have no numbers yet."""
        if kept is None:
            if waiting:
                self._send({"waiting": waiting})
            return
        state, premises = self._facts()
        guesses = self._guesses
        classifier = None if guesses is None else guesses.classifier
        names = list(palette(premises, state))
        names += [c for c in getattr(classifier, "classes_", ()) if c not in names]
        told: list[list[Any]] = []
        if guesses is not None and classifier is not None:
            rows = guesses.table[guesses.table["label"] == ""]
            places = {name: place for place, name in enumerate(names)}
            told = [
                [int(n), places.get(name, -1), None if p != p else round(float(p), 4)]
                for n, name, p in zip(rows.index, rows["class"], rows["probability"], strict=True)
            ]
        status = "" if guesses is None else guesses.status
        if self._failed:
            status = f"Classes cannot be predicted: {self._failed}"
        self._send({"names": names, "told": told, "status": status, "waiting": waiting})


def _running_loop() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None
