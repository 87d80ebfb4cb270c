"""The history of an annotation as a strip of thumbnails on an ipycanvas."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable

import ipywidgets
import numpy as np
from ipycanvas import MultiCanvas, hold_canvas

from particle_nb.core.annotation.history import History, Step
from particle_nb.core.annotation.snapshot import thumbnail
from particle_nb.core.image.tones import Tones

_SIDE = 56
_GAP = 6
_TEXT = 16
_MOST = 15
_LEAST = 3
#: What the buttons and the number beside the canvas take, in pixels.
_BESIDE = 28 * 2 + 64 + 36
_LATE = "#9aa3ab"
#: Seconds between a change and its thumbnail: the answer to a click is on the screen by then.
_PAUSE = 0.1


class HistoryStrip(ipywidgets.HBox):
    """Thumbnails of the last steps; a click jumps to the state after one.

    Only new steps are drawn, each cropped to what it changed; a move in the history draws nothing
    but the frame around the present. The number at its end does the same from the keyboard.
    In a kernel it draws a moment after the change, so that the answer to a click goes first.

    Parameters
    ----------
    tones : Tones
        Of the image.
    jump : callable
        Takes the number of steps that shall be in force.
    """

    def __init__(self, tones: Tones, jump: Callable[[int], None]) -> None:
        self._tones: Tones | None = tones
        self._jump = jump
        self._drawn: list[Step | None] = []
        self._tiles: dict[Step | None, np.ndarray] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._first = 0
        self._slots = _MOST
        self._history: History | None = None
        self.canvas = MultiCanvas(2)
        self.canvas.on_mouse_down(self._clicked)
        self._size()
        button = {"width": "28px", "height": f"{_SIDE}px", "padding": "0"}
        self._back = ipywidgets.Button(description="‹", tooltip="earlier steps", layout=button)
        self._on = ipywidgets.Button(description="›", tooltip="later steps", layout=button)
        self._back.on_click(lambda _: self._scroll(1 - self._slots))
        self._on.on_click(lambda _: self._scroll(self._slots - 1))
        self._place = ipywidgets.BoundedIntText(
            tooltip="step that is in force; type another to go there", layout={"width": "64px"}
        )
        self._place.observe(self._typed, "value")
        super().__init__(
            [self._back, self.canvas, self._on, self._place],
            layout=ipywidgets.Layout(align_items="center", overflow="hidden"),
        )

    def rest(self) -> None:
        """Draw nothing more, and let go of the image and its history."""
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._tones = self._history = None
        self._jump = lambda _: None
        self._drawn, self._tiles = [], {}

    def show(self, history: History, again: bool = False) -> None:
        """Draw soon what is new in the history, or everything now (`again`) after a reload."""
        self._history = history
        loop = None if again else _running_loop()
        if loop is None:
            self._draw(again)
        elif self._timer is None:
            self._timer = loop.call_later(_PAUSE, self._draw)

    def _draw(self, again: bool = False) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        position = 0 if self._history is None else self._history.position
        if not self._first <= position < self._first + self._slots or again:
            # room for later steps: otherwise every one of them would move all the others
            self._first = max(0, position + 1 - self._slots + self._slots // 3)
            if self._history is None or len(self._history.steps) < self._slots:
                self._first = 0  # all have their place
            self._drawn = []
        self._paint()

    def fit(self, width: float) -> None:
        """Use as many places as fit into a cell of this width in CSS pixels."""
        room = width if math.isfinite(width) else 0.0
        slots = int(min(max((room - _BESIDE - _GAP) // (_SIDE + _GAP), _LEAST), _MOST))
        if slots != self._slots:
            self._slots = slots
            self._size()
            if self._history is not None:
                self.show(self._history, again=True)

    def _size(self) -> None:
        width, height = self._slots * (_SIDE + _GAP) + _GAP, _SIDE + _TEXT + 2 * _GAP
        self.canvas.width, self.canvas.height = width, height
        self.canvas.layout.width = f"{width}px"
        self.canvas.layout.height = f"{height}px"
        self.canvas.layout.flex = "none"

    def _scroll(self, by: int) -> None:
        if self._history is None:
            return
        total = len(self._history.steps) + 1
        self._first = max(0, min(self._first + by, total - self._slots))
        self._drawn = []
        self._paint()

    def _shown(self) -> list[Step | None]:
        """The steps in the slots; None stands for the beginning."""
        if self._history is None:
            return []
        steps: list[Step | None] = [None, *self._history.steps]
        return steps[self._first : self._first + self._slots]

    def _paint(self) -> None:
        if self._history is None or self._tones is None:
            return
        pictures, frame = self.canvas[0], self.canvas[1]
        shown = self._shown()
        with hold_canvas():
            if not self._drawn:
                pictures.clear()
            kept = min(len(shown), len(self._drawn))
            same = next((i for i in range(kept) if self._drawn[i] is not shown[i]), kept)
            for slot in range(same, max(len(shown), len(self._drawn))):
                pictures.clear_rect(self._left(slot) - 2, 0, _SIDE + _GAP, self.canvas.height)
            self._paint_tiles(self._tones, same, shown)
            for slot in range(same, len(shown)):
                self._paint_step(slot, shown[slot])
            self._drawn = shown
            frame.clear()
            for slot in range(len(shown)):
                late = self._first + slot > self._history.position
                if late:
                    frame.global_alpha = 0.55
                    frame.fill_style = "#808080"
                    frame.fill_rect(self._left(slot), _GAP, _SIDE, _SIDE)
                    frame.global_alpha = 1.0
            here = self._history.position - self._first
            if 0 <= here < len(shown):
                frame.stroke_style = "#0072B2"
                frame.line_width = 3
                frame.stroke_rect(self._left(here) - 1, _GAP - 1, _SIDE + 2, _SIDE + 2)
        total = len(self._history.steps) + 1
        self._back.disabled = self._first == 0
        self._on.disabled = self._first + self._slots >= total
        self._place.unobserve(self._typed, "value")
        try:
            self._place.max = total - 1
            self._place.value = self._history.position
        finally:
            self._place.observe(self._typed, "value")

    def _paint_tiles(self, tones: Tones, first: int, shown: list[Step | None]) -> None:
        """Thumbnails from slot `first` on; each is made once and sent as a picture of its own, as
        several side by side would share JPEG's blocks, which pales the rims."""
        known = self._tiles
        self._tiles = {step: known[step] for step in shown if step in known}
        for slot, step in enumerate(shown[first:], first):
            if step not in self._tiles:
                small = thumbnail(tones, step.focus if step is not None else (), _SIDE)
                self._tiles[step] = np.ascontiguousarray(small)
            self.canvas[0].put_image_data(self._tiles[step], self._left(slot), _GAP)

    def _paint_step(self, slot: int, step: Step | None) -> None:
        """The name of a step below its thumbnail."""
        pictures = self.canvas[0]
        pictures.font = "10px sans-serif"
        pictures.text_align = "center"
        pictures.fill_style = _LATE
        text = "start" if step is None else str(step.record["action"])
        pictures.fill_text(text, self._left(slot) + _SIDE / 2, _SIDE + _GAP + 12)

    @staticmethod
    def _left(slot: int) -> int:
        return _GAP + slot * (_SIDE + _GAP)

    def _clicked(self, x: float, y: float) -> None:
        slot = int((x - _GAP) // (_SIDE + _GAP))
        if 0 <= slot < len(self._shown()):
            self._jump(self._first + slot)

    def _typed(self, change: dict[str, int]) -> None:
        if self._history is not None and change["new"] != self._history.position:
            self._jump(change["new"])


def _running_loop() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None  # no kernel: there is no later
