"""The picture beside a live widget: what a saved notebook shows where no kernel runs."""

from __future__ import annotations

import asyncio
import base64
import secrets
from collections.abc import Callable
from typing import Any

import numpy as np
from IPython.display import publish_display_data

from particle_nb.core.annotation.snapshot import png

#: Seconds between the last thing that was done and the picture of it: drawing must not delay the
#: next click.
_PAUSE = 1.0
#: The picture follows a change after so many pauses, even while somebody goes on working.
_MOST = 10


class StillOutput:
    """A PNG of its own below the widget, renewed after changes; the live widget hides it.

    An output that holds both a widget and a picture shows only the widget, in nbconvert too, where
    it needs code from the network. A picture in a second output is shown by all of them, and it
    can be renewed without touching the widget.

    Parameters
    ----------
    draw : callable
        Returns a line of text and a picture, uint8 (h, w, 3).
    """

    def __init__(self, draw: Callable[[], tuple[str, np.ndarray]]) -> None:
        self._draw = draw
        self._name = f"particle_nb-{secrets.token_hex(8)}"
        self._shown = False
        self._timer: asyncio.TimerHandle | None = None
        self._since = 0.0

    def show(self) -> None:
        """Put the picture below the output that was displayed last."""
        self._shown = True
        text, picture = self._draw()
        self._publish(text, png(picture), update=False)

    def renew(self) -> None:
        """Draw the picture again soon, in this cell and in every other that shows it."""
        if self._shown:
            self._arm()

    def postpone(self) -> None:
        """Somebody is at work: a picture that is due waits for the next pause, within limits."""
        if self._timer is not None:
            self._arm()

    def _arm(self) -> None:
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            return  # no kernel: nobody could see it
        if self._timer is None:
            self._since = loop.time()
        else:
            self._timer.cancel()
        when = min(loop.time() + _PAUSE, self._since + _MOST * _PAUSE)
        self._timer = loop.call_at(when, self._again)

    def _again(self) -> None:
        self._timer = None
        text, picture = self._draw()

        def send(done: asyncio.Future[bytes]) -> None:
            if self._shown and not done.cancelled():
                self._publish(text, done.result(), update=True)

        # packing takes far longer than drawing, and needs neither the kernel's thread nor its lock
        asyncio.get_running_loop().run_in_executor(None, png, picture).add_done_callback(send)

    def withdraw(self) -> None:
        """Take the picture away, where the page cannot hide it beside the live widget."""
        if self._shown:
            self._shown = False
            if self._timer is not None:
                self._timer.cancel()
                self._timer = None
            publish_display_data({"text/plain": ""}, transient=self._id(), update=True)

    def _publish(self, text: str, picture: bytes, update: bool) -> None:
        data = {"text/plain": text, "image/png": base64.b64encode(picture).decode()}
        publish_display_data(data, transient=self._id(), update=update)

    def _id(self) -> dict[str, Any]:
        return {"display_id": self._name}
