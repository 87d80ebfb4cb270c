"""The phase painter in a real JupyterLab: strokes land where they are aimed, the result is seen."""

from __future__ import annotations

from collections.abc import Callable
from io import BytesIO
from typing import Any

import numpy as np
import pytest
from hands import Hand
from PIL import Image as PillowImage

pytestmark = pytest.mark.browser

CODE = """
import numpy as np
import particle_nb as pnb
truth = np.zeros((120, 160), int)
truth[:, 80:] = 1
grey = np.random.default_rng(0).normal(80 + 70 * truth, 9).clip(0, 255).astype(np.uint8)
image = pnb.Image(grey, name='halves')
painter = pnb.PhasePainter(None, image, ('dark', 'bright'), 'halves.strokes.json')
painter
"""


ROOT = "document.querySelector('[data-testid=phase-painter]')"
POSITION = "painter.log.position"
PAINTED = "[int((painter.strokes == phase).sum()) for phase in range(2)]"


def opened(open_notebook: Callable, name: str, code: str, **options: Any) -> Any:
    notebook = open_notebook(name, [code, "1 + 1"], wait=False, **options)
    notebook.page.wait_for_selector(
        "[data-testid=phase-painter][data-state=ready]", timeout=120_000
    )
    notebook.page.locator("[data-testid=phase-painter]").scroll_into_view_if_needed()
    return notebook


@pytest.fixture(scope="module")
def painting(open_notebook: Callable) -> Any:
    return opened(open_notebook, "phases.ipynb", CODE)


@pytest.fixture(scope="module")
def tablet(open_notebook: Callable) -> Any:
    """The same on a screen that fingers work on."""
    code = CODE.replace("'halves.strokes.json'", "False")
    return opened(open_notebook, "phases_touch.ipynb", code, has_touch=True)


@pytest.fixture
def hand(tablet: Any, clean: Callable) -> Hand:
    nb = clean(tablet)
    nb.page.keyboard.press("Escape")
    while nb.python(POSITION):
        told(nb, "stroke-seq", lambda: nb.page.locator("[data-command=undo]").tap())
    nb.page.get_by_role("button", name="paint dark").tap()
    nb.page.locator("[data-command=brush]").tap()
    nb.page.locator("[data-command=fit]").tap()
    return Hand(nb)


def spot(nb: Any, x: float, y: float) -> tuple[float, float]:
    """Where an image position lies on the page."""
    box = nb.page.locator("[data-testid=phase-painter] canvas.pnb-top").bounding_box()
    view, size = nb.page.evaluate(
        "() => { const v = document.querySelector('[data-testid=phase-painter]').view;"
        " return [v.camera.view, v.camera.size]; }"
    )
    return (
        box["x"] + (x + 0.5 - view["x"]) * view["scale"] * box["width"] / size["width"],
        box["y"] + (y + 0.5 - view["y"]) * view["scale"] * box["height"] / size["height"],
    )


def told(nb: Any, name: str, change: Callable[[], None]) -> None:
    """Do something and wait until an attribute of the painter has changed."""
    from playwright.sync_api import expect

    root = nb.page.locator("[data-testid=phase-painter]")
    before = root.get_attribute(f"data-{name}") or ""
    change()
    expect(root).not_to_have_attribute(f"data-{name}", before, timeout=60_000)


def drag(nb: Any, *path: tuple[float, float]) -> None:
    places = [spot(nb, x, y) for x, y in path]
    nb.page.mouse.move(*places[0])
    nb.page.mouse.down()
    for place in places[1:]:
        nb.page.mouse.move(*place, steps=5)
    nb.page.mouse.up()


def colour(nb: Any, x: float, y: float) -> np.ndarray:
    shot = nb.page.screenshot(scale="css")
    pixels = np.asarray(PillowImage.open(BytesIO(shot)).convert("RGB")).astype(int)
    column, row = spot(nb, x, y)
    return pixels[int(row), int(column)]


def test_painting_gives_phases_undo_takes_them_back(painting: Any, clean: Callable) -> None:
    nb = clean(painting)
    cells = nb.cells()
    told(nb, "stroke-seq", lambda: drag(nb, (20, 20), (40, 60)))
    rows, columns = nb.python("[v.tolist() for v in np.nonzero(painter.strokes == 0)]")
    assert min(rows) in range(16, 19)
    assert max(rows) in range(62, 65)
    assert min(columns) in range(16, 19)
    nb.page.keyboard.press("2")
    told(nb, "result-seq", lambda: drag(nb, (120, 20), (140, 60)))
    assert nb.python("int((painter.strokes == 1).sum())") > 100
    assert nb.python("float((painter.phases.labels == truth).mean())") > 0.97
    # painted on the page: blue on the left, orange on the right, where no stroke lies
    left, right = colour(nb, 30, 100), colour(nb, 130, 100)
    assert left[2] - left[0] > 20
    assert right[0] - right[2] > 20
    nb.page.keyboard.press("v")
    assert abs(colour(nb, 130, 100)[0] - colour(nb, 130, 100)[2]) < 6
    nb.page.keyboard.press("v")
    nb.page.keyboard.press("x")  # would cut the cell
    told(nb, "stroke-seq", lambda: nb.page.keyboard.press("Control+z"))
    assert nb.python("painter.log.position") == 1
    told(nb, "stroke-seq", lambda: nb.page.keyboard.press("Control+Shift+z"))
    assert nb.python("painter.log.position") == 2
    nb.page.keyboard.press("p")
    lasso = [(100, 80), (110, 80), (110, 90), (100, 90), (100, 81)]
    told(nb, "stroke-seq", lambda: drag(nb, *lasso))
    assert nb.python("int(painter.strokes[85, 105])") == 1
    nb.page.keyboard.press("e")
    told(nb, "stroke-seq", lambda: drag(nb, (105, 85), (106, 85)))
    assert nb.python("int(painter.strokes[85, 105])") == -1
    again = "int((pnb.PhasePainter(None, image, autosave='halves.strokes.json').strokes"
    assert nb.python(f"{again} == painter.strokes).all())") == 1
    assert nb.cells() == cells


def view(nb: Any) -> dict[str, float]:
    return nb.page.evaluate(f"{ROOT}.view.camera.view")


def paths(nb: Any, *path: tuple[float, float]) -> list[tuple[float, float]]:
    return [spot(nb, x, y) for x, y in path]


def test_one_finger_paints_and_the_page_stays(hand: Hand) -> None:
    nb, page = hand.nb, hand.nb.page
    scrolled = "[...document.querySelectorAll('*')].map((n) => n.scrollTop + n.scrollLeft)"
    before = page.evaluate(f"{scrolled}.reduce((a, b) => a + b)")
    told(nb, "stroke-seq", lambda: hand.stroke(paths(nb, (20, 90), (20, 60), (20, 20))))
    assert page.evaluate(f"{scrolled}.reduce((a, b) => a + b)") == before
    rows, columns = nb.python("[v.tolist() for v in np.nonzero(painter.strokes == 0)]")
    assert (min(rows), max(rows)) == pytest.approx((17, 93), abs=1)
    assert (min(columns), max(columns)) == pytest.approx((17, 23), abs=1)
    page.get_by_role("button", name="paint bright").tap()
    told(nb, "result-seq", lambda: hand.stroke(paths(nb, (120, 20), (140, 60))))
    assert nb.python("float((painter.phases.labels == truth).mean())") > 0.97
    page.locator("[data-command=eraser]").tap()
    told(nb, "stroke-seq", lambda: hand.tap(*spot(nb, 20, 50)))
    assert nb.python("int(painter.strokes[50, 20])") == -1


def test_two_fingers_move_the_view_and_paint_nothing(hand: Hand) -> None:
    nb, before = hand.nb, view(hand.nb)
    middle = np.array(spot(nb, 60, 60))
    apart, moved = np.array([40.0, 0]), np.array([30.0, 20.0])
    hand.touch("touchStart", middle - apart)
    hand.touch("touchMove", middle - apart + 12)  # the first one slips before the second is down
    hand.touch("touchMove", middle - apart)
    hand.touch("touchStart", middle - apart, middle + apart)
    for k in range(1, 9):
        out, by = apart * (1 + k / 8), moved * k / 8
        hand.touch("touchMove", middle + by - out, middle + by + out)
    hand.touch("touchEnd", middle + moved - 2 * apart)
    hand.touch("touchMove", middle)  # the finger that is left paints nothing
    hand.touch("touchEnd")
    assert view(nb)["scale"] / before["scale"] == pytest.approx(2, rel=0.02)
    assert spot(nb, 60, 60) == pytest.approx(tuple(middle + moved), abs=2)
    told(nb, "stroke-seq", lambda: hand.tap(*spot(nb, 60, 60)))
    assert nb.python(POSITION) == 1, "the tap alone"
    rows, _ = nb.python("[v.tolist() for v in np.nonzero(painter.strokes == 0)]")
    assert (min(rows), max(rows)) == pytest.approx((57, 63), abs=1)


def test_a_late_second_finger_keeps_what_is_painted(hand: Hand) -> None:
    nb, page = hand.nb, hand.nb.page
    path, other = paths(nb, (20, 20), (40, 60)), spot(nb, 100, 60)

    def both() -> None:
        hand.touch("touchStart", path[0])
        hand.touch("touchMove", path[1])
        page.wait_for_timeout(600)
        hand.touch("touchStart", path[1], other)
        hand.touch("touchEnd")

    told(nb, "stroke-seq", both)
    assert nb.python(POSITION) == 1
    assert nb.python(PAINTED)[0] > 200
    assert nb.python("int((painter.strokes[:, 60:] == 0).sum())") == 0


def test_a_tap_right_after_a_stroke_chooses_a_phase(hand: Hand) -> None:
    """Chromium takes a stroke that ends in motion for a fling, and the next tap for its end."""
    nb = hand.nb
    hand.stroke(paths(nb, (20, 20), (40, 60)))
    nb.page.get_by_role("button", name="paint bright").tap()
    told(nb, "result-seq", lambda: hand.stroke(paths(nb, (120, 20), (140, 60))))
    assert min(nb.python(PAINTED)) > 200


def test_a_finger_that_rests_opens_no_menu(hand: Hand) -> None:
    nb, page = hand.nb, hand.nb.page
    at = spot(nb, 60, 60)
    hand.touch("touchStart", at)
    page.wait_for_timeout(1200)
    assert page.locator(".lm-Menu").count() == 0
    told(nb, "stroke-seq", lambda: hand.touch("touchEnd"))
    assert nb.python("int(painter.strokes[60, 60])") == 0


def test_taps_set_corners_and_a_tap_on_the_first_closes(hand: Hand) -> None:
    nb = hand.nb
    nb.page.locator("[data-command=polygon]").tap()
    corners = paths(nb, (100, 80), (130, 80), (130, 110), (100, 110))
    for corner in corners:
        hand.tap(*corner)
    told(nb, "stroke-seq", lambda: hand.tap(*corners[0]))
    assert nb.python(PAINTED)[0] == pytest.approx(900, rel=0.1)
    assert nb.page.evaluate(f"{ROOT}.view.corners.length") == 0


def test_a_pen_paints_its_second_button_and_its_other_end_erase(hand: Hand) -> None:
    nb, page = hand.nb, hand.nb.page
    told(nb, "stroke-seq", lambda: hand.pen(paths(nb, (20, 100), (60, 100))))
    assert nb.python("painter.strokes[100, [22, 40, 58]].tolist()") == [0, 0, 0]
    told(nb, "stroke-seq", lambda: hand.pen(paths(nb, (20, 100), (26, 100)), "right"))
    assert page.locator(".lm-Menu").count() == 0
    assert nb.python("painter.strokes[100, [22, 40, 58]].tolist()") == [-1, 0, 0]
    # Chromium's tools know no other end: its event as the Pointer Events standard says it is
    x, y = spot(nb, 58, 100)
    end = """([x, y]) => {
        const top = document.querySelector('[data-testid=phase-painter] .pnb-top');
        for (const [kind, buttons] of [['pointerdown', 32], ['pointerup', 0]])
            top.dispatchEvent(new PointerEvent(kind, {pointerId: 1, pointerType: 'pen', button: 5,
                buttons, clientX: x, clientY: y, bubbles: true, cancelable: true})); }"""
    told(nb, "stroke-seq", lambda: page.evaluate(end, [x, y]))
    assert nb.python("painter.strokes[100, [22, 40, 58]].tolist()") == [-1, 0, -1]
    assert nb.page.locator("[data-command=brush]").get_attribute("aria-pressed") == "true"


def test_the_hand_that_holds_a_pen_paints_nothing(hand: Hand) -> None:
    nb = hand.nb
    path, palm = paths(nb, (20, 30), (60, 30)), spot(nb, 110, 100)

    def written() -> None:
        about = {"pointerType": "pen", "button": "left", "clickCount": 1, "force": 0.5}
        for kind, (x, y), buttons in (
            ("mousePressed", path[0], 1),
            ("mouseMoved", path[1], 1),
            ("mouseReleased", path[1], 0),
        ):
            event = {"type": kind, "x": x, "y": y, "buttons": buttons, **about}
            hand.client.send("Input.dispatchMouseEvent", event)
            if kind == "mousePressed":
                hand.touch("touchStart", palm)
                hand.touch("touchMove", (palm[0] + 30, palm[1]))
        hand.touch("touchEnd")

    told(nb, "stroke-seq", written)
    assert nb.python(POSITION) == 1
    assert nb.python("painter.strokes[30, [22, 40, 58]].tolist()") == [0, 0, 0]
    assert nb.python("int((painter.strokes[60:] == 0).sum())") == 0


def test_fingers_find_the_buttons(hand: Hand) -> None:
    sizes = hand.nb.page.evaluate(
        f"[...{ROOT}.querySelectorAll('button, input, select')].map((node) => {{"
        "const box = (node.closest('label') ?? node).getBoundingClientRect();"
        "return [node.ariaLabel ?? node.title, box.width, box.height]; })"
    )
    shown = [row for row in sizes if row[2]]
    assert len(shown) > 14
    assert [row for row in shown if min(row[1:]) < 32] == []
