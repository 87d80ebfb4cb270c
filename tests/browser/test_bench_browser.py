"""What surrounds the click, in a real JupyterLab: menu, measuring, copies, lasso, list, history."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from board import FIRST, FRESH, SECOND, SETUP, SHOW, THIRD

pytestmark = pytest.mark.browser

PROPOSED = (
    SETUP + "editor = Annotator(session, image, session.propose(image), autosave=False); editor"
)
LAB_MENU = ".lm-Menu, .jp-ContextMenu"
STEPS = "len(editor.history.steps)"


def _commit(nb: Any, *spots: tuple[float, float]) -> None:
    for spot in spots:
        nb.settled(lambda spot=spot: nb.click(*spot))
        nb.settled(lambda: nb.page.keyboard.press("c"))


def test_keys_on_a_threshold_are_one_step(bench: Any, clean: Callable) -> None:
    nb = clean(bench)
    nb.show(PROPOSED)
    page = nb.page
    page.locator("summary", has_text="Filter").click()
    slider = page.locator("input[data-filter=min_predicted_iou]")
    slider.focus()
    steps = nb.python(STEPS)

    def keys() -> None:
        for _ in range(52):
            page.keyboard.press("ArrowRight")

    nb.settled(keys)
    assert nb.python(STEPS) == steps + 1
    assert nb.python("editor.history.steps[-1].record['settings']['min_predicted_iou']") == 0.52
    hidden = nb.python("[n for n, p in editor.state.particles.items() if not p.kept]")
    assert hidden == [
        n
        for n, v in enumerate(nb.python("[m.predicted_iou for m in session.propose(image)]"), 1)
        if v < 0.52
    ]
    # a drag by the mouse: one step too, and only when the button goes up
    box = slider.bounding_box()
    x, y = box["x"] + 0.52 * box["width"], box["y"] + box["height"] / 2
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x + 0.2 * box["width"], y, steps=8)
    assert nb.python(STEPS) == steps + 1
    nb.settled(page.mouse.up)
    assert nb.python(STEPS) == steps + 2
    # what is done next comes after what the keys have done
    for _ in range(3):
        page.keyboard.press("ArrowRight")
    before = nb.python("editor.history.steps[-1].record['settings']['min_predicted_iou']")
    nb.canvas.focus()
    page.wait_for_function("() => !document.querySelector('.pnb').view.link.acting")
    assert nb.python(STEPS) == steps + 3, "leaving the slider is the end of it"
    assert nb.python(
        "editor.history.steps[-1].record['settings']['min_predicted_iou']"
    ) == pytest.approx(before + 0.03)
    nb.settled(lambda: page.keyboard.press("Control+z"))
    nb.settled(lambda: page.keyboard.press("Control+z"))
    nb.settled(lambda: page.keyboard.press("Control+z"))
    assert nb.python("[n for n, p in editor.state.particles.items() if not p.kept]") == []


def test_the_right_button_opens_a_menu_of_its_own(bench: Any, clean: Callable) -> None:
    nb = clean(bench)
    nb.show(FRESH)
    page, menu = nb.page, nb.page.locator(".pnb-menu")
    _commit(nb, FIRST, SECOND)
    nb.click(*SECOND, button="right")
    menu.wait_for(state="visible")
    nb.wait("selected", 2)
    assert page.locator(LAB_MENU).locator("visible=true").count() == 0, "JupyterLab's menu is open"
    assert nb.python("editor.state.draft") is None, "it is no point"
    # by keys: round the end, and Esc leaves it for the picture
    assert page.evaluate("document.activeElement.dataset.command") == "refine"
    page.keyboard.press("ArrowUp")
    assert page.evaluate("document.activeElement.dataset.command") == "toggleHelp"
    page.keyboard.press("Escape")
    assert not menu.is_visible()
    assert page.evaluate("document.activeElement.className") == "pnb-top"
    # one of its rows, at the foot of the picture: the menu stays in the widget
    nb.click(THIRD[0], 200, button="right")
    inside = nb.root.evaluate(
        """node => { const a = node.getBoundingClientRect();
            const b = node.querySelector('.pnb-menu').getBoundingClientRect();
            return b.left >= a.left && b.right <= a.right && b.top >= a.top
                && b.bottom <= a.bottom; }"""
    )
    assert inside
    steps = nb.python(STEPS)
    nb.click(*THIRD)  # a click beside it closes it, and is no point
    menu.wait_for(state="hidden")
    assert nb.python(STEPS) == steps
    page.keyboard.press("a")
    nb.click(*FIRST, button="right")
    nb.settled(lambda: menu.get_by_role("menuitem", name="Delete particle 1").click())
    assert nb.python("list(editor.state.particles)") == [2]
    # the keyboard's own key, and the list
    page.keyboard.press("Shift+F10")
    menu.wait_for(state="visible")
    page.keyboard.press("Escape")
    page.locator(".pnb-row").first.click(button="right")
    menu.get_by_role("menuitem", name="Lock").click()
    page.wait_for_function(
        "() => document.querySelector('.pnb').view.store.particles.get(2).locked"
    )
    # while a particle is in the making the right button says what is outside
    page.keyboard.press("s")
    nb.settled(lambda: nb.click(*THIRD))
    nb.settled(lambda: nb.click(THIRD[0] + 12, THIRD[1] + 12, button="right"))
    assert nb.python("editor.state.draft.labels") == (1, 0)
    assert not menu.is_visible()
    assert page.locator(LAB_MENU).locator("visible=true").count() == 0
    nb.settled(lambda: page.keyboard.press("Escape"))


def test_lengths_angles_and_areas_are_measured(bench: Any, clean: Callable) -> None:
    nb = clean(bench)
    nb.show(FRESH)
    page, hint = nb.page, nb.page.locator(".pnb-hint")
    steps = nb.python(STEPS)
    nb.canvas.focus()
    page.keyboard.press("u")
    nb.click(20.5, 20.5)
    nb.click(80.5, 100.5)  # 60 and 80 px: 100 px of 5 nm
    page.keyboard.press("Enter")
    said = hint.inner_text()
    number = float(said.split("(")[1].split()[0])
    assert abs(number - 100) < 0.6, said
    assert said.startswith("length 5") or said.startswith("length 49")
    angle = float(said.split(", ")[1].split("°")[0])
    assert abs(angle - (180 - np.degrees(np.arctan2(80, 60)))) < 0.6, said
    for spot in ((20.5, 20.5), (120.5, 20.5), (120.5, 90.5)):
        nb.click(*spot)
    assert abs(float(hint.inner_text().split("angle ")[1].rstrip("°")) - 90) < 0.8
    nb.click(20.5, 90.5)
    nb.click(20.5, 20.5)  # the first corner again
    said = hint.inner_text()
    area, perimeter = (float(part.split("(")[1].split()[0]) for part in said.split(", "))
    assert abs(area - 7000) < 70, said
    assert abs(perimeter - 340) < 1.5, said
    # it stays in the picture until Esc
    page.mouse.move(*nb.spot(200, 180))

    def yellow() -> int:
        return int((np.abs(nb.pixels().astype(int) - (240, 228, 66)).max(axis=2) < 12).sum())

    assert yellow() > 200
    page.keyboard.press("Escape")
    page.wait_for_function("() => document.querySelector('.pnb').view.hand.measured === null")
    assert yellow() < 20
    assert nb.python(STEPS) == steps, "measuring changes nothing"
    # by keyboard alone: the crosshair sets the corners
    for _ in range(2):
        for _ in range(4):
            page.keyboard.press("ArrowRight")
        page.keyboard.press("Enter")
    page.keyboard.press("Enter")
    scale = nb.view()["scale"]
    assert abs(float(hint.inner_text().split("(")[1].split()[0]) - 32 / scale) < 0.01
    page.keyboard.press("s")


def test_particles_are_copied_pasted_and_duplicated(bench: Any, clean: Callable) -> None:
    nb = clean(bench)
    nb.show(FRESH)
    page = nb.page
    _commit(nb, FIRST)
    page.keyboard.press("a")
    nb.click(*FIRST)
    nb.wait("selected", 1)
    page.keyboard.press("Control+c")
    page.wait_for_function(
        "() => document.querySelector('.pnb-hint').textContent.includes('1 particle copied')"
    )
    page.mouse.move(*nb.spot(200.5, 150.5))
    nb.settled(lambda: page.keyboard.press("Control+v"))
    nb.wait("selected", 2)
    r0, c0, r1, c1 = nb.python("editor.state[2].mask.bbox")
    assert (r1 - r0, c1 - c0) == (40, 40)
    assert abs((c0 + c1 - 1) / 2 - 200.5) <= 1
    assert abs((r0 + r1 - 1) / 2 - 150.5) <= 1
    # a copy is nobody's proposal: no score of the model is claimed for it
    assert nb.python("(editor.state[2].source, str(editor.state[2].mask.predicted_iou))") == (
        "hand",
        "nan",
    )
    nb.settled(lambda: page.keyboard.press("Control+d"))
    nb.wait("selected", 3)
    row, col, *_ = nb.python("editor.state[3].mask.bbox")
    assert row > r0
    assert row - r0 == col - c0
    # pasted where the right button is, in part outside: cut off at the frame
    nb.click(275, 100, button="right")
    nb.settled(lambda: page.get_by_role("menuitem", name="Paste here").click())
    assert nb.python("editor.state[4].mask.bbox[3]") == 280
    assert nb.python("editor.state[4].mask.area") < 1600
    assert nb.python(
        "__import__('particle_nb').replay(editor.log, session, image).masks.digest"
        " == editor.masks.digest"
    )
    for left in (3, 2, 1):
        nb.settled(lambda: page.keyboard.press("Control+z"))
        assert nb.python("len(editor.masks)") == left
    # and into another annotator of the kernel
    nb.show(FRESH)
    nb.canvas.focus()
    page.mouse.move(*nb.spot(100.5, 100.5))
    nb.settled(lambda: page.keyboard.press("Control+v"))
    assert nb.python("editor.masks[0].area") == 1600


def test_a_lasso_selects_what_it_surrounds(bench: Any, clean: Callable) -> None:
    nb = clean(bench)
    nb.show(PROPOSED)
    nb.canvas.focus()
    nb.page.keyboard.press("o")
    # around the first two of the upper row and the first of the second: 1, 2, 5 of 4 in a row
    nb.drag([(5, 5), (140, 5), (140, 70), (75, 75), (70, 140), (5, 140), (5, 8)])
    nb.wait("selected", "1 2 5")
    assert nb.python("editor.selection") == (1, 2, 5)
    nb.page.keyboard.down("Shift")
    nb.drag([(150, 5), (200, 5), (200, 70), (150, 70), (150, 8)])
    nb.page.keyboard.up("Shift")
    nb.wait("selected", "1 2 5 3")
    nb.drag([(68, 2), (84, 2), (84, 12), (68, 12)])
    nb.wait("selected", "")
    nb.page.keyboard.press("s")


def test_the_list_is_sorted_and_filtered_by_any_column(bench: Any, clean: Callable) -> None:
    nb = clean(bench)
    nb.show(PROPOSED)
    page = nb.page
    search = page.get_by_label("Filter the list of particles")
    sort = page.get_by_label("Sort the list by")

    def listed() -> list[int]:
        return page.locator(".pnb-rows").evaluate(
            "() => document.querySelector('.pnb').view.list.order"
        )

    table = nb.python("[(n, p.mask.predicted_iou) for n, p in editor.state.particles.items()]")
    sort.select_option("iou")
    assert listed() == [n for n, v in sorted(table, key=lambda row: (row[1], row[0]))]
    page.get_by_label("Descending").click()
    assert listed() == [n for n, v in sorted(table, key=lambda row: (-row[1], row[0]))]
    for column in nb.python("list(editor._tally.columns)"):
        sort.select_option(column)
        shown = f"[(n, None if v != v else v) for n, v in editor.table[{column!r}].items()]"
        values = dict(nb.python(shown))
        order = [values[n] for n in listed() if values[n] is not None]
        assert order == sorted(order, reverse=True), column
    search.fill("iou >= 0.8 iou < 0.9")
    assert sorted(listed()) == [n for n, v in table if 0.8 <= v < 0.9]
    # Ctrl+A in the list takes what is listed
    page.locator(".pnb-rows").focus()
    page.keyboard.press("Control+a")
    assert sorted(map(int, nb.attribute("selected").split())) == sorted(listed())
    search.fill("volume > 3")
    assert "There is no column “volume”" in page.locator(".pnb-rows").inner_text()
    search.fill("")
    assert len(listed()) == 12
    page.get_by_label("Descending").click()
    sort.select_option("id")


def _opened(nb: Any) -> None:
    nb.page.wait_for_function("window.jupyterapp?.shell?.currentWidget?.context !== undefined")
    nb.page.evaluate(
        """async () => {
            await window.jupyterapp.restored;
            await window.jupyterapp.shell.currentWidget.context.sessionContext.ready;
        }"""
    )


def test_history_strip_and_progress_after_reload_and_restart(
    open_notebook: Callable, clean: Callable
) -> None:
    from playwright.sync_api import expect

    work = (
        "from particle_nb.progress import progress_bar\n"
        "with progress_bar('short work', 2) as bar:\n    bar.delay = 0\n"
        "    bar.update(2); bar.refresh()\n"
        "with progress_bar('images', 2, keep=True) as bar:\n    bar.update(2)\n"
    )
    nb = clean(open_notebook("strip.ipynb", [work, SHOW.format(name="strip")]))
    page = nb.page
    _commit(nb, FIRST, SECOND)
    strip = page.locator(".jp-OutputArea-output canvas:not(.pnb canvas)").first

    def drawn() -> int:
        """How many of its pixels the strip has painted."""
        return strip.evaluate(
            """c => { const d = c.getContext('2d').getImageData(0, 0, c.width, c.height).data;
                let n = 0; for (let i = 3; i < d.length; i += 4) n += d[i] > 0; return n; }"""
        )

    def go(position: int) -> None:
        strip.scroll_into_view_if_needed()
        box = strip.bounding_box()
        x = box["x"] + 6 + 62 * position + 28
        nb.settled(lambda: page.mouse.click(x, box["y"] + box["height"] / 3))

    page.wait_for_timeout(400)  # thumbnails come a moment after the answer
    full = drawn()
    assert full > 5 * 56 * 56
    assert "images: 100%" in page.locator(".jp-OutputArea").first.inner_text()
    page.evaluate("window.jupyterapp.commands.execute('docmanager:save')")
    page.reload()
    _opened(nb)
    expect(page.locator("[data-testid=prompt-canvas][data-state=ready]")).to_have_count(
        1, timeout=30_000
    )
    nb.wait("count", 2)
    page.wait_for_timeout(400)
    assert drawn() == full, "the strip is drawn again after a reload"
    first = page.locator(".jp-OutputArea").first.inner_text()
    assert "images: 100%" in first
    assert "short work" not in first
    for text in ("Error displaying widget", "Loading widget"):
        assert text not in page.locator(".jp-Notebook").inner_text()
    go(2)
    assert nb.python("(editor.history.position, len(editor.masks))") == (2, 1)
    page.mouse.move(5, 5)
    # a restart: the strip stays as it is, and takes no clicks that nobody answers; running the
    # cell again brings all steps back
    page.evaluate(
        "window.jupyterapp.shell.currentWidget.context.sessionContext.session.kernel.restart()"
    )
    expect(page.locator(".pnb-banner")).to_be_visible(timeout=20_000)
    assert drawn() > 5 * 56 * 56
    assert strip.evaluate("node => getComputedStyle(node).pointerEvents") == "none"
    nb.run_all()
    page.wait_for_function(
        "document.querySelectorAll('.pnb').length === 1"
        " && !document.querySelector('.pnb').dataset.kernel"
        " && document.querySelector('.pnb').dataset.state === 'ready'"
    )
    page.wait_for_timeout(400)
    assert drawn() >= full - 56 * 56, "all steps are in the strip"
    assert nb.python("(editor.history.position, len(editor.history.steps))") == (2, 4)
    go(4)
    assert nb.python("len(editor.masks)") == 2
    nb.wait("count", 2)


def test_screen_readers_hear_roles_names_and_what_happened(bench: Any, clean: Callable) -> None:
    nb = clean(bench)
    nb.show(PROPOSED)
    page = nb.page
    tree = nb.root.aria_snapshot()
    for part in (
        'toolbar "Annotation tools"',
        'group "tools"',
        'button "Segment by points" [pressed]',
        'button "Redo" [disabled]',
        'combobox "Which candidate is offered first"',
        'application "Micrograph with particle masks. Press question mark for the keys."',
        'group "Histogram of particle sizes; pick a bar to select its particles"',
        'searchbox "Filter the list of particles"',
        'combobox "Sort the list by"',
        'button "Descending"',
        'listbox "Particles"',
        "option",
        'combobox "Class of the selected particles" [disabled]',
    ):
        assert part in tree, f"{part} is not in\n{tree}"
    live = page.locator(".pnb-live")
    nb.canvas.focus()
    page.keyboard.press("a")
    nb.click(*FIRST)
    nb.wait("selected", 1)
    assert live.inner_text() == "particle 1 selected"
    assert 'option "1' in nb.root.aria_snapshot()
    # the list names the row that was selected last, while it has one
    active = (
        "node => document.getElementById(node.getAttribute('aria-activedescendant'))?.innerText"
    )
    rows = page.locator(".pnb-rows")
    assert rows.evaluate(active).startswith("1\n")
    page.get_by_label("Filter the list of particles").fill("id > 3")
    assert rows.get_attribute("aria-activedescendant") is None
    page.get_by_label("Filter the list of particles").fill("")
    assert rows.evaluate(active).startswith("1\n")
    nb.canvas.focus()
    page.keyboard.press("ArrowRight")
    assert live.inner_text().startswith("x ")
    # the menu and the keys take the focus and give it back
    page.keyboard.press("Shift+F10")
    tree = nb.root.aria_snapshot()
    assert 'menu "What can be done here"' in tree
    assert 'menuitem "Select all"' in tree
    page.keyboard.press("Escape")
    page.keyboard.press("?")
    assert page.evaluate("document.activeElement.getAttribute('role')") == "dialog"
    assert 'button "Keys" [expanded]' in nb.root.aria_snapshot()
    page.keyboard.press("?")
    assert page.evaluate("document.activeElement.className") == "pnb-top"
    # errors are alerts
    page.keyboard.press("Escape")
    nb.wait("selected", "")
    page.keyboard.press("g")
    assert "No particle is selected" in page.locator("[role=alert]:visible").inner_text()
    page.keyboard.press("Escape")
    # the way by Tab: the chosen tool, the picture, then the panel from above to below
    page.locator("[data-action=select]").focus()
    stops = []
    for _ in range(10):
        stops.append(
            page.evaluate(
                """() => { const node = document.activeElement;
                    return node.getAttribute('aria-label') || node.textContent.trim(); }"""
            )
        )
        page.keyboard.press("Tab")
    bar = stops.pop(4)
    assert "particles, " in bar
    assert stops == [
        "Select",
        "Micrograph with particle masks. Press question mark for the keys.",
        "Size",
        "Weighting of the size distribution",
        "Particles",
        "Filter the list of particles",
        "Sort the list by",
        "Descending",
        "Particles",
    ]
    page.keyboard.press("s")
