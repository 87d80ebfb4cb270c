"""Fingers and a pen on the annotator of a real JupyterLab, as Chromium hands them on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from board import FIRST, FRESH, SECOND, THIRD
from hands import Hand

pytestmark = pytest.mark.browser

STEPS = "len(editor.history.steps)"


@pytest.fixture
def hand(bench: Any, clean: Callable) -> Hand:
    nb = clean(bench)
    nb.show(FRESH)
    nb.page.evaluate(
        """() => { window.kinds = new Set(); document.querySelector('.pnb-top')
            .addEventListener('pointerdown', (e) => window.kinds.add(e.pointerType)); }"""
    )
    return Hand(nb)


def test_a_finger_points_and_draws(hand: Hand) -> None:
    nb, page = hand.nb, hand.nb.page
    nb.settled(lambda: hand.tap(*nb.spot(*FIRST)))
    assert nb.python("editor.state.draft.labels") == (1,)
    button = page.locator("[data-action=commit]").bounding_box()
    nb.settled(
        lambda: hand.tap(button["x"] + button["width"] / 2, button["y"] + button["height"] / 2)
    )
    assert nb.python("(len(editor.masks), editor.masks[0].area)") == (1, 1600)
    # one finger draws: a box around the second square
    page.locator("[data-action=box]").click()
    nb.settled(lambda: hand.stroke([nb.spot(84, 20), nb.spot(110, 50), nb.spot(131, 67)]))
    nb.settled(lambda: page.keyboard.press("c"))
    assert nb.python("(len(editor.masks), editor.masks[1].area)") == (2, 1600)
    assert page.evaluate("[...window.kinds]") == ["touch"]
    page.keyboard.press("s")


def test_two_fingers_zoom_and_move_and_begin_nothing(hand: Hand) -> None:
    nb = hand.nb
    steps, before = nb.python(STEPS), nb.view()
    middle = np.array(nb.spot(*SECOND))
    apart, moved = np.array([40.0, 0]), np.array([30.0, 20.0])
    hand.touch("touchStart", middle - apart)
    hand.touch("touchStart", middle - apart, middle + apart)
    for k in range(1, 9):
        out, by = apart * (1 + k / 8), moved * k / 8
        hand.touch("touchMove", middle + by - out, middle + by + out)
    hand.touch("touchEnd")
    after = nb.view()
    assert after["scale"] / before["scale"] == pytest.approx(2, rel=0.02)
    # what lay in the middle of the fingers lies there again
    assert nb.spot(*SECOND) == pytest.approx(tuple(middle + moved), abs=2)
    assert nb.python(STEPS) == steps
    assert nb.python("editor.state.draft") is None
    # the next finger alone is a point again
    nb.settled(lambda: hand.tap(*nb.spot(*SECOND)))
    assert nb.python("editor.state.draft.labels") == (1,)
    nb.settled(lambda: nb.page.keyboard.press("Escape"))
    nb.page.keyboard.press("0")


def test_a_finger_that_stays_opens_the_menu(hand: Hand) -> None:
    nb, page, menu = hand.nb, hand.nb.page, hand.nb.page.locator(".pnb-menu")
    nb.settled(lambda: hand.tap(*nb.spot(*THIRD)))
    nb.settled(lambda: page.keyboard.press("c"))
    steps = nb.python(STEPS)
    hand.touch("touchStart", nb.spot(*THIRD))
    menu.wait_for(state="visible", timeout=10_000)
    hand.touch("touchEnd")
    page.wait_for_timeout(300)
    assert menu.is_visible()
    nb.wait("selected", 1)
    assert nb.python("editor.state.draft") is None, "it is no point"
    assert nb.python(STEPS) == steps
    row = menu.get_by_role("menuitem", name="Delete particle 1").bounding_box()
    nb.settled(lambda: hand.tap(row["x"] + 20, row["y"] + row["height"] / 2))
    assert nb.python("len(editor.masks)") == 0


def test_a_pen_draws_as_a_mouse_does(hand: Hand) -> None:
    nb, page = hand.nb, hand.nb.page
    page.locator("[data-action=sketch]").click()
    around = [(22, 22), (66, 22), (66, 66), (22, 66), (22, 26)]
    nb.settled(lambda: hand.pen([nb.spot(*spot) for spot in around]))
    nb.settled(lambda: page.keyboard.press("c"))
    assert nb.python("editor.masks[0].area") == 1600
    page.keyboard.press("s")
    nb.settled(lambda: hand.pen([nb.spot(*SECOND)]))
    assert nb.python("editor.state.draft.labels") == (1,)
    nb.settled(lambda: page.keyboard.press("Escape"))
    assert page.evaluate("[...window.kinds]") == ["pen"]


def test_a_tap_right_after_a_stroke_takes_a_tool(hand: Hand) -> None:
    """Chromium takes a stroke that ends in motion for a fling, and the next tap for its end."""
    nb, page = hand.nb, hand.nb.page
    boxes = [page.locator(f"[data-action={name}]").bounding_box() for name in ("sketch", "box")]
    sketch, box = ((at["x"] + at["width"] / 2, at["y"] + at["height"] / 2) for at in boxes)
    for _ in range(4):
        hand.tap(*sketch)
        nb.wait("tool", "sketch")
        nb.settled(lambda: hand.stroke([nb.spot(22, 22), nb.spot(66, 22), nb.spot(66, 66)]))
        hand.tap(*box)
        nb.wait("tool", "box")
    nb.settled(lambda: page.keyboard.press("Escape"))
    page.keyboard.press("s")
