"""The picture beside a live widget: what a saved notebook shows where no kernel runs."""

from __future__ import annotations

import asyncio
import base64
import secrets
from collections.abc import Callable
from typing import Any

from IPython.display import publish_display_data

#: Seconds between the last change and the picture of it: drawing must not delay the next click.
_PAUSE = 1.0


class StillOutput:
    """A PNG of its own below the widget, renewed after changes; the live widget hides it.

    An output that holds both a widget and a picture shows only the widget, in nbconvert too, where
    it needs code from the network. A picture in a second output is shown by all of them, and it
    can be renewed without touching the widget.

    Parameters
    ----------
    draw : callable
        Returns a line of text and a PNG.
    """

    def __init__(self, draw: Callable[[], tuple[str, bytes]]) -> None:
        self._draw = draw
        self._name = f"particle_nb-{secrets.token_hex(8)}"
        self._shown = False
        self._timer: asyncio.TimerHandle | None = None

    def show(self) -> None:
        """Put the picture below the output that was displayed last."""
        self._shown = True
        self._publish(update=False)

    def renew(self) -> None:
        """Draw the picture again soon, in this cell and in every other that shows it."""
        if not self._shown:
            return
        if self._timer is not None:
            self._timer.cancel()
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            return  # no kernel: nobody could see it
        self._timer = loop.call_later(_PAUSE, self._publish)

    def withdraw(self) -> None:
        """Take the picture away, where the page cannot hide it beside the live widget."""
        if self._shown:
            self._shown = False
            if self._timer is not None:
                self._timer.cancel()
            publish_display_data({"text/plain": ""}, transient=self._id(), update=True)

    def _publish(self, update: bool = True) -> None:
        text, png = self._draw()
        data = {"text/plain": text, "image/png": base64.b64encode(png).decode()}
        publish_display_data(data, transient=self._id(), update=update)

    def _id(self) -> dict[str, Any]:
        return {"display_id": self._name}
