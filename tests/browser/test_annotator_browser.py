"""The annotator in a real JupyterLab: what is aimed at, what the kernel gets, what is painted.

The picture has bright squares at known places, and the fake segmenter gives exactly the square
that is pointed at: so kernel state and painted pixels are both known.
"""

from __future__ import annotations

import base64
from collections.abc import Callable
from io import BytesIO
from typing import Any

import numpy as np
import pytest
from board import FIRST, SECOND, SHOW
from PIL import Image as PillowImage
from scipy import ndimage

pytestmark = pytest.mark.browser

READY = "[data-testid=prompt-canvas][data-state=ready]"


@pytest.fixture(scope="module")
def empty(open_notebook: Callable) -> Any:
    return open_notebook("empty.ipynb", [SHOW.format(name="empty"), "1 + 1"])


def _count(notebook: Any) -> int:
    return notebook.python("len(editor.masks)")


def test_points_candidates_commit_undo_and_redo(empty: Any, clean: Callable) -> None:
    nb = clean(empty)
    nb.settled(lambda: nb.click(*FIRST))
    x, y = nb.python("editor.state.draft.points[0]")
    assert abs(x - FIRST[0]) < 0.5
    assert abs(y - FIRST[1]) < 0.5
    assert nb.python("editor.state.draft.mask.bbox") == (24, 24, 64, 64)
    nb.settled(lambda: nb.page.keyboard.press("n"))
    assert nb.python("editor.state.draft.choice") == 1
    nb.settled(lambda: nb.page.keyboard.press("n"))
    nb.settled(lambda: nb.page.keyboard.press("n"))
    nb.settled(lambda: nb.click(*SECOND))
    assert nb.python("editor.state.draft.mask.area") == 2 * 40 * 40
    nb.settled(lambda: _alt_click(nb, 60, 60))
    assert nb.python("editor.state.draft.labels") == (1, 1, 0)
    assert nb.python("editor.state.draft.mask.area") < 2 * 40 * 40
    nb.settled(lambda: nb.page.keyboard.press("c"))
    assert _count(nb) == 1
    nb.wait("count", 1)
    # painted: Okabe-Ito orange over grey 200 is not grey, the ground is
    shot = nb.pixels()
    spot, box = nb.spot(107.5, 43.5), nb.canvas.bounding_box()
    colour = shot[int(spot[1] - box["y"]), int(spot[0] - box["x"])].astype(int)
    assert colour[0] - colour[2] > 30
    steps = nb.python("editor.history.position")
    for _ in range(steps):
        nb.settled(lambda: nb.page.keyboard.press("Control+z"))
    assert nb.python("(len(editor.masks), editor.state.draft is None)") == (0, True)
    for _ in range(steps):
        nb.settled(lambda: nb.page.keyboard.press("Control+Shift+Z"))
    assert _count(nb) == 1


def _alt_click(nb: Any, x: float, y: float) -> None:
    nb.page.keyboard.down("Alt")
    nb.click(x, y)
    nb.page.keyboard.up("Alt")


def test_box_sketch_polygon_brush_split_merge(empty: Any, clean: Callable) -> None:
    nb = clean(empty)
    start = _count(nb)
    nb.page.keyboard.press("b")
    nb.settled(lambda: nb.drag([(84, 84), (132, 132)]))
    assert nb.python("editor.state.draft.mask.bbox") == (88, 88, 128, 128)
    nb.settled(lambda: nb.page.keyboard.press("c"))
    nb.page.keyboard.press("k")
    ring = [(150, 85), (195, 86), (196, 131), (151, 131), (149, 90)]
    nb.settled(lambda: nb.drag(ring))
    assert nb.python("editor.state.draft.sketch is not None")
    assert nb.python("editor.state.draft.mask.bbox") == (88, 152, 128, 192)
    nb.settled(lambda: nb.page.keyboard.press("c"))
    nb.page.keyboard.press("p")
    for corner in ((216, 88), (255, 88), (255, 127), (216, 127)):
        nb.click(*corner)
    nb.settled(lambda: nb.page.keyboard.press("Enter"))
    assert _count(nb) == start + 3
    area = nb.python("editor.masks[-1].area")
    assert abs(area - 40 * 40) <= 160  # corners are aimed at a pixel or so on the screen
    nb.page.keyboard.press("x")
    nb.settled(lambda: nb.drag([(235.5, 80), (235.5, 135)]))
    assert _count(nb) == start + 4
    assert nb.python("editor.masks[-1].area + editor.masks[-2].area") == area
    numbers = nb.python("list(editor.state.particles)[-2:]")
    nb.page.keyboard.press("a")
    nb.click(220, 100)
    nb.page.keyboard.down("Shift")
    nb.click(250, 100)
    nb.page.keyboard.up("Shift")
    nb.wait("selected", " ".join(map(str, numbers)))
    nb.settled(lambda: nb.page.keyboard.press("g"))
    assert nb.python("editor.masks[-1].area") == area
    nb.page.keyboard.press("e")
    for _ in range(12):
        nb.page.keyboard.press("[")
    radius = nb.root.evaluate("node => node.view.hand.radius")
    nb.settled(lambda: nb.drag([(225, 108), (245, 108)]))
    assert nb.python("editor.masks[-1].area") < area
    assert radius == 1
    nb.page.keyboard.press("a")
    nb.settled(lambda: nb.page.keyboard.press("f"))
    assert nb.python("editor.masks[-1].area") == area
    nb.page.keyboard.press("d")
    nb.settled(lambda: nb.drag([(255, 108), (262, 108)]))
    assert nb.python("editor.masks[-1].area") > area
    nb.page.keyboard.press("s")


def test_keys_stay_in_the_widget(empty: Any, clean: Callable) -> None:
    nb = clean(empty)
    cells = nb.cells()
    nb.canvas.focus()
    for key in ("x", "x", "d", "d", "a", "b", "y", "m", "z", "c", "v", "0", "0", "Escape", "s"):
        nb.page.keyboard.press(key)
    assert nb.cells() == cells
    assert nb.page.evaluate("document.activeElement.className") == "pnb-top"
    nb.page.keyboard.press("?")
    assert nb.page.locator(".pnb-help").is_visible()
    nb.page.keyboard.press("?")


def test_by_keyboard_alone(empty: Any, clean: Callable) -> None:
    nb = clean(empty)
    before = _count(nb)
    nb.canvas.focus()
    nb.page.keyboard.press("s")
    nb.page.keyboard.press("0")
    # the crosshair starts in the middle; the middle of a 3 x 4 board is between two squares
    scale = nb.view()["scale"]
    for _ in range(round(32 * scale / 8)):
        nb.page.keyboard.press("ArrowRight")
    nb.settled(lambda: nb.page.keyboard.press("Enter"))
    assert nb.python("editor.state.draft.mask.bbox") == (88, 152, 128, 192)
    nb.settled(lambda: nb.page.keyboard.press("Enter"))
    assert _count(nb) == before + 1
    nb.page.keyboard.press("Tab")
    assert nb.page.evaluate("document.activeElement.closest('.pnb') !== null")


def test_errors_show_in_the_cell(empty: Any, clean: Callable) -> None:
    nb = clean(empty)
    nb.page.keyboard.press("0")
    nb.canvas.focus()
    nb.page.keyboard.press("s")
    nb.click(12, 12)  # dark ground: the flood fill finds nothing
    error = nb.page.locator(".pnb-error")
    error.wait_for(state="visible")
    assert "found nothing" in error.inner_text()
    nb.settled(lambda: nb.click(*FIRST))  # and it goes on
    assert not error.is_visible()
    nb.settled(lambda: nb.page.keyboard.press("Escape"))


def test_hover_keeps_one_request_in_flight(empty: Any, clean: Callable) -> None:
    nb = clean(empty)
    nb.page.keyboard.press("s")
    nb.python("setattr(session, 'delay', 0.05)")
    nb.python("session.calls.clear()")
    before = int(nb.attribute("hover-seq"))
    sent = nb.root.evaluate("node => node.view.foresight.sent")
    first, last = nb.spot(30, 40), nb.spot(59.5, 40)
    nb.page.mouse.move(*first)
    nb.page.mouse.move(*last, steps=60)
    from playwright.sync_api import expect

    expect(nb.root).not_to_have_attribute("data-hover-seq", str(before), timeout=10_000)
    nb.page.wait_for_function(
        "() => { const {foresight} = document.querySelector('.pnb').view;"
        " return !foresight.busy && !foresight.wanted; }"
    )
    asked = nb.root.evaluate("node => node.view.foresight.sent") - sent
    calls = nb.python("len(session.calls)")
    assert calls == asked
    assert 1 <= asked < 40, "60 moves must not be 60 requests"
    # the last answer is the last place
    x, _ = nb.python("session.calls[-1][0].points[0]")
    assert abs(x - 59.5) < 0.5
    # pressing the button asks what letting it go will need, with and without a preview
    nb.page.keyboard.press("h")
    nb.python("session.calls.clear()")
    nb.page.mouse.move(*nb.spot(40, 40))
    sent = nb.root.evaluate("node => node.view.foresight.sent")
    nb.page.mouse.down()
    nb.page.wait_for_function(
        "sent => { const {foresight} = document.querySelector('.pnb').view;"
        " return foresight.sent > sent && !foresight.busy; }",
        arg=sent,
    )
    assert nb.python("(len(session.calls), editor.state.draft is None)") == (1, True)
    nb.settled(nb.page.mouse.up)
    assert nb.python("(len(session.calls), editor.state.draft.mask.bbox)") == (1, (24, 24, 64, 64))
    nb.page.keyboard.press("h")
    nb.settled(lambda: nb.page.keyboard.press("Escape"))
    nb.python("setattr(session, 'delay', 0.0)")


def test_list_histogram_and_canvas_select_the_same(empty: Any, clean: Callable) -> None:
    nb = clean(empty)
    numbers = nb.python("[n for n, p in editor.state.particles.items() if p.kept]")
    nb.page.locator(".pnb-row").first.click()
    nb.wait("selected", numbers[0])
    bars = nb.page.locator(".pnb-bin[aria-label*=' particles']:not([aria-label*=': 0 '])")
    picked = set()
    for i in range(bars.count()):
        bars.nth(i).click(modifiers=["Shift"] if i else [])
    picked = set(map(int, nb.attribute("selected").split()))
    assert picked == set(numbers), "together the bars hold every particle"
    assert nb.page.locator(".pnb-row[aria-selected=true]").count() > 0
    nb.canvas.focus()
    nb.page.keyboard.press("a")
    nb.click(300, 3)
    nb.wait("selected", "")
    # class and note of a selection, then colour by class
    nb.page.locator(".pnb-row").first.click()
    box = nb.page.get_by_label("Class of the selected particles")
    box.fill("square")
    nb.settled(lambda: box.press("Enter"))
    assert nb.python("editor.masks[0].label") == "square"


@pytest.mark.parametrize("ratio", [1, 2])
def test_a_click_lands_where_it_was_aimed(
    open_notebook: Callable, clean: Callable, ratio: int
) -> None:
    """Aim at a bright square found on the screenshot: zoomed, panned, resized, browser-zoomed."""
    name = f"aim{ratio}"
    nb = clean(open_notebook(f"{name}.ipynb", [SHOW.format(name=name)], device_scale_factor=ratio))

    session = nb.page.context.new_cdp_session(nb.page)

    def aim(zoom: float = 1) -> None:
        # the page as the screen shows it, in device pixels: no rounding to CSS pixels
        if zoom == 1:
            png = nb.page.screenshot(scale="device")
        else:  # Playwright's own screenshots turn the zoom off
            sent = session.send("Page.captureScreenshot", {"format": "png"})
            png = base64.b64decode(sent["data"])
        shot = np.asarray(PillowImage.open(BytesIO(png)).convert("RGB")).astype(int)
        assert shot.shape[1] == round(nb.page.evaluate("innerWidth") * ratio * zoom)
        box, k = nb.canvas.bounding_box(), ratio * zoom
        top, left = int(box["y"] * k) + 3, int(box["x"] * k) + 3
        bottom = min(int((box["y"] + box["height"]) * k) - 3, shot.shape[0])
        right = min(int((box["x"] + box["width"]) * k) - 3, shot.shape[1])
        part = shot[top:bottom, left:right]
        labels, _ = ndimage.label((part.min(axis=2) > 190) & (np.ptp(part, axis=2) < 12))
        for rows, cols in ndimage.find_objects(labels):
            # whole squares only
            side = (rows.stop - rows.start, cols.stop - cols.start)
            inside = rows.start > 0 and cols.start > 0
            inside &= rows.stop < part.shape[0] and cols.stop < part.shape[1]
            if inside and min(side) > 30 and abs(side[0] - side[1]) <= 3:
                break
        else:
            raise AssertionError("no whole square is visible")
        x = (left + (cols.start + cols.stop) / 2) / k
        y = (top + (rows.start + rows.stop) / 2) / k
        nb.settled(lambda: nb.page.mouse.click(x, y))
        got = np.array(nb.python("editor.state.draft.points[-1]"))
        centres = 43.5 + 64 * np.round((got - 43.5) / 64)
        assert np.abs(got - centres).max() < 0.5, f"{got} is off a centre"
        nb.settled(lambda: nb.page.keyboard.press("Escape"))

    nb.canvas.focus()
    nb.page.keyboard.press("h")  # no hover preview over the squares that are looked for
    aim()
    nb.page.mouse.move(*nb.spot(150, 100))
    for _ in range(3):
        nb.page.mouse.wheel(0, -120)
    nb.page.wait_for_function("document.querySelector('.pnb').view.camera.view.scale > 3.5")
    aim()
    for _ in range(4):
        nb.page.keyboard.press("Alt+ArrowRight")
    nb.page.keyboard.press("Alt+ArrowDown")
    aim()
    nb.page.locator(".pnb-main").evaluate("node => { node.style.height = '431px'; }")
    nb.page.set_viewport_size({"width": 1233, "height": 870})
    nb.page.wait_for_function("document.querySelector('.pnb').view.camera.size.height < 431")
    aim()
    # what the browser's own zoom does to the page: CSS sizes and screen sizes part
    nb.page.evaluate("document.querySelector('.pnb').style.zoom = '1.25'")
    nb.page.keyboard.press("0")
    nb.page.wait_for_timeout(200)
    aim()
    nb.page.evaluate("document.querySelector('.pnb').style.zoom = ''")
    # and that zoom itself: more device pixels to a CSS pixel, fewer CSS pixels to the window
    for zoom in (1.1, 1.5):
        metrics = {"width": round(1233 / zoom), "height": round(870 / zoom), "mobile": False}
        metrics["deviceScaleFactor"] = ratio * zoom
        session.send("Emulation.setDeviceMetricsOverride", metrics)
        nb.page.wait_for_function(
            "ratio => Math.abs(document.querySelector('.pnb').view.camera.ratio - ratio) < 1e-6"
            " && Math.abs(window.devicePixelRatio - ratio) < 1e-6",
            arg=ratio * zoom,
        )
        nb.canvas.scroll_into_view_if_needed()
        nb.canvas.focus()
        nb.page.keyboard.press("0")
        nb.page.wait_for_timeout(200)
        aim(zoom)
    session.send("Emulation.clearDeviceMetricsOverride")
    nb.page.set_viewport_size({"width": 1233, "height": 869})
    nb.page.wait_for_function("ratio => window.devicePixelRatio === ratio", arg=ratio)
    nb.page.evaluate("document.querySelector('.pnb').style.transform = 'scale(.8)'")
    # Chromium draws a transformed layer up to a device pixel beside its place: keep that small
    nb.page.keyboard.press("+")
    nb.page.keyboard.press("+")
    nb.page.wait_for_timeout(200)
    aim()


def test_reload_restart_and_rerun_bring_everything_back(
    open_notebook: Callable, clean: Callable
) -> None:
    from playwright.sync_api import expect

    nb = clean(open_notebook("back.ipynb", [SHOW.format(name="back")]))
    nb.settled(lambda: nb.click(*FIRST))
    nb.settled(lambda: nb.page.keyboard.press("c"))
    nb.settled(lambda: nb.click(*SECOND))
    digest = nb.python("editor.masks.digest")
    nb.page.evaluate("window.jupyterapp.commands.execute('docmanager:save')")
    nb.page.reload()
    nb.page.wait_for_function("window.jupyterapp?.shell?.currentWidget?.context !== undefined")
    nb.page.evaluate(
        """async () => {
            await window.jupyterapp.restored;
            await window.jupyterapp.shell.currentWidget.context.sessionContext.ready;
        }"""
    )
    expect(nb.page.locator(READY)).to_have_count(1, timeout=30_000)
    nb.wait("count", 1)
    assert nb.root.evaluate("node => node.view.store.draft.points.length") == 1, (
        "the draft came back"
    )
    # a restart leaves the picture and says so; running the cell again goes on
    nb.page.evaluate(
        "window.jupyterapp.shell.currentWidget.context.sessionContext.session.kernel.restart()"
    )
    expect(nb.page.locator(".pnb-banner")).to_be_visible(timeout=20_000)
    assert "gone" in nb.page.locator(".pnb-banner").inner_text()
    assert nb.attribute("count") == "1"
    nb.run_all()
    nb.page.wait_for_function(
        "document.querySelectorAll('.pnb').length === 1"
        " && !document.querySelector('.pnb').dataset.kernel"
        " && document.querySelector('.pnb').dataset.state === 'ready'"
    )
    assert nb.python("editor.masks.digest") == digest
    nb.canvas.focus()
    nb.settled(lambda: nb.page.keyboard.press("Control+z"))
    assert _count(nb) == 0, "undo works after reopening"
