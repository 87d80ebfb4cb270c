"""Fingers and a pen for the browser tests."""

from __future__ import annotations

from typing import Any


class Hand:
    """Fingers and a pen, by the protocol of Chromium's own tools."""

    def __init__(self, nb: Any) -> None:
        self.nb = nb
        self.client = nb.page.context.new_cdp_session(nb.page)

    def touch(self, kind: str, *spots: tuple[float, float]) -> None:
        points = [{"x": x, "y": y, "id": k} for k, (x, y) in enumerate(spots)]
        self.client.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})

    def tap(self, x: float, y: float) -> None:
        self.touch("touchStart", (x, y))
        self.touch("touchEnd")

    def stroke(self, path: list[tuple[float, float]]) -> None:
        self.touch("touchStart", path[0])
        for spot in path[1:]:
            self.touch("touchMove", spot)
        self.touch("touchEnd")

    def pen(self, path: list[tuple[float, float]], button: str = "left") -> None:
        pressed = {"left": 1, "right": 2}[button]
        for kind, spot in (
            ("mousePressed", path[0]),
            *(("mouseMoved", spot) for spot in path[1:]),
            ("mouseReleased", path[-1]),
        ):
            about = {"type": kind, "x": spot[0], "y": spot[1], "pointerType": "pen"}
            about |= {"button": button, "buttons": pressed * (kind != "mouseReleased")}
            about |= {"clickCount": 1, "force": 0.5}
            self.client.send("Input.dispatchMouseEvent", about)
