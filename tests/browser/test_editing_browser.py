"""Editing in a real JupyterLab: refining, candidates, brushes, the list of particles.

The truth is the picture: squares of 40 x 40 px, and a flood fill that gives the square that is
pointed at, once as it is, once grown by 3 px, once shrunk by 2 px.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from board import FIRST, FRESH, SECOND, SETUP, THIRD

pytestmark = pytest.mark.browser
#: three steps to the four neighbours leave six pixels out at each corner
SQUARE, GROWN = 40 * 40, 46 * 46 - 4 * 6


def _commit(nb: Any, *spots: tuple[float, float]) -> None:
    for spot in spots:
        nb.settled(lambda spot=spot: nb.click(*spot))
        nb.settled(lambda: nb.page.keyboard.press("c"))


def _colour(nb: Any, x: float, y: float) -> np.ndarray:
    spot, box = nb.spot(x, y), nb.canvas.bounding_box()
    return nb.pixels()[int(spot[1] - box["y"]), int(spot[0] - box["x"])].astype(int)


def test_refining_replaces_the_particle_and_can_be_undone(bench: Any, clean: Callable) -> None:
    nb = clean(bench)
    nb.show(FRESH)
    _commit(nb, FIRST, SECOND)
    nb.page.locator(".pnb-row").first.click()
    nb.wait("selected", 1)
    nb.canvas.focus()
    nb.settled(lambda: nb.page.keyboard.press("r"))
    assert nb.python("editor.state.draft.refines") == 1
    assert "refining 1" in nb.page.locator(".pnb-hud").inner_text()
    nb.page.keyboard.down("Alt")
    nb.settled(lambda: nb.click(58, 58))
    nb.page.keyboard.up("Alt")
    assert nb.python("editor.state[1].mask.area") == SQUARE, "not before it is committed"
    area = nb.python("editor.state.draft.mask.area")
    assert area < SQUARE
    # what the particle was does not shine through where the draft no longer is
    nb.page.mouse.move(5, 5)
    spot = _colour(nb, 58.5, 62)
    assert np.ptp(spot) < 12, f"{spot} is coloured"
    nb.settled(lambda: nb.page.keyboard.press("c"))
    assert nb.python("[(n, p.mask.area) for n, p in editor.state.particles.items()]") == [
        (1, area),
        (2, SQUARE),
    ]
    assert nb.python("editor.state[1].source") == "model"
    for _ in range(3):
        nb.settled(lambda: nb.page.keyboard.press("Control+z"))
    assert nb.python("editor.state[1].mask.area") == SQUARE


def test_candidates_for_the_whole_and_for_a_feature(bench: Any, clean: Callable) -> None:
    nb = clean(bench)
    nb.show(FRESH)
    hud = nb.page.locator(".pnb-hud")
    nb.canvas.focus()
    nb.settled(lambda: nb.click(*FIRST))
    assert nb.python("[m.area for m in editor.state.draft.candidates]") == [SQUARE, GROWN, 36 * 36]
    seen = []
    for _ in range(3):
        seen.append(hud.inner_text().split("\n"))
        nb.settled(lambda: nb.page.keyboard.press("n"))
    assert [part[1] for part in seen] == [f"candidate {i} of 3" for i in (1, 2, 3)]
    assert [part[2:] for part in seen] == [
        ["IoU 0.950", "stability 0.900"],
        ["IoU 0.800", "stability 0.700"],
        ["IoU 0.600", "stability 0.500"],
    ]
    assert nb.python("editor.state.draft.choice") == 0
    # W turns what is offered first: of this draft, and of all that follow
    nb.settled(lambda: nb.page.keyboard.press("w"))
    assert nb.python("editor.state.draft.mask.area") == GROWN, "the whole particle is the largest"
    nb.settled(lambda: nb.page.keyboard.press("w"))
    assert nb.python("editor.state.draft.mask.area") == 1296, "a feature is the smallest"
    nb.settled(lambda: nb.page.keyboard.press("c"))
    nb.settled(lambda: nb.click(*SECOND))
    assert nb.python("editor.state.draft.mask.area") == 1296
    nb.settled(lambda: nb.page.keyboard.press("c"))
    steps = nb.python("editor.history.position")
    nb.page.keyboard.press("w")
    assert nb.page.get_by_label("Which candidate is offered first").input_value() == "best"
    nb.settled(lambda: nb.click(*THIRD))
    assert nb.python("editor.state.draft.mask.area") == 1600
    assert nb.python("editor.history.position") == steps + 1, "turning it alone is no step"
    # the log says so, and gives the same masks without a browser
    assert nb.python(
        "__import__('particle_nb').replay(editor.log, session, image).masks.digest"
        " == editor.masks.digest"
    )


def test_brush_and_eraser_have_the_size_that_they_show(bench: Any, clean: Callable) -> None:
    """The pixels within the radius of the path in the log, counted here by brute force."""
    nb = clean(bench)
    nb.show(FRESH)
    nb.canvas.focus()

    def disc(number: int) -> int:
        line = dict(nb.python(f"dict(editor.history.steps[{number}].record)"))
        y, x = np.mgrid[:216, :280]
        near = [(x - px) ** 2 + (y - py) ** 2 <= line["radius"] ** 2 for px, py in line["path"]]
        return int(np.logical_or.reduce(near).sum())

    nb.page.keyboard.press("d")
    radii = []
    for i, keys in enumerate(("", "]]]", "[[[[[[")):
        for key in keys:
            nb.page.keyboard.press(key)
        radii.append(nb.root.evaluate("node => node.view.hand.radius"))
        nb.settled(lambda i=i: nb.click(50.25 + 75 * i, 100.5))
        assert nb.python("editor.masks[-1].area") == disc(i)
    assert radii[1] > radii[0] > radii[2]
    slider = nb.page.get_by_label("Brush radius in image pixels")
    slider.fill("30")
    nb.settled(lambda: nb.click(140, 170))
    assert nb.python("editor.history.steps[-1].record['radius']") == 30
    assert nb.python("editor.masks[-1].area") == disc(3)
    # the eraser takes from the selected particle; all of it means that it is gone
    nb.canvas.focus()
    nb.page.keyboard.press("a")
    nb.click(140, 170)
    nb.wait("selected", 4)
    nb.page.keyboard.press("e")
    slider.fill("12")
    nb.settled(lambda: nb.click(140, 170))
    assert nb.python("editor.state[4].mask.area") == disc(3) - disc(4)
    slider.fill("60")
    nb.settled(lambda: nb.click(140, 170))
    assert nb.python("list(editor.state.particles)") == [1, 2, 3]
    assert not nb.page.locator(".pnb-error").is_visible()
    nb.page.keyboard.press("s")


def test_the_list_names_hides_locks_and_deletes(bench: Any, clean: Callable) -> None:
    nb = clean(bench)
    nb.show(FRESH)
    _commit(nb, FIRST, SECOND, THIRD)
    page, rows = nb.page, nb.page.locator(".pnb-row")

    def write(label: str, text: str) -> None:
        box = page.get_by_label(label)
        box.fill(text)
        nb.settled(lambda: box.press("Enter"))

    rows.nth(1).click()
    write("Name of the selected particle", "middle")
    write("Class of the selected particles", "round")
    write("Note on the selected particle", "a note\twith “quotes” & <b>")
    particle = "(lambda p: (p.name, p.mask.label, p.note))(editor.state[2])"
    assert nb.python(particle) == ("middle", "round", "a note\twith “quotes” & <b>")
    assert "middle" in rows.nth(1).inner_text()
    page.get_by_label("Filter the list of particles").fill("roun")
    assert rows.count() == 1
    page.get_by_label("Filter the list of particles").fill("")
    # hidden: no colour; locked: refused in words; then deleted, and back by undo
    assert np.ptp(_colour(nb, *SECOND)) > 12
    nb.canvas.focus()
    nb.settled(lambda: page.keyboard.press("v"))
    page.mouse.move(5, 5)
    rows.nth(0).click()
    assert np.ptp(_colour(nb, *SECOND)) < 12
    rows.nth(1).click()
    nb.canvas.focus()
    nb.settled(lambda: page.keyboard.press("l"))
    page.keyboard.press("Delete")
    error = page.locator(".pnb-error")
    error.wait_for(state="visible")
    assert "particle 2 is locked" in error.inner_text()
    nb.settled(lambda: page.keyboard.press("l"))
    nb.settled(lambda: page.keyboard.press("Delete"))
    assert nb.python("list(editor.state.particles)") == [1, 3]
    nb.settled(lambda: page.keyboard.press("Control+z"))
    assert nb.python(particle)[0] == "middle"
    # several at once, from the list: Shift takes what lies between
    rows.nth(0).click()
    rows.nth(2).click(modifiers=["Shift"])
    nb.wait("selected", "1 2 3")
    write("Class of the selected particles", "square")
    assert nb.python("[m.label for m in editor.state.masks]") == ["square"] * 3


def test_a_click_draws_no_mask_that_is_there_already(bench: Any, clean: Callable) -> None:
    """With 191 particles a click draws its own mask, and a commit one more; counted, not timed."""
    nb = clean(bench)
    nb.show(
        SETUP
        + """
image = Image(squares(12, 16).pixels, Calibration(5, "nm"), "many")
editor = Annotator(session, image, session.propose(image)[1:], autosave=False); editor"""
    )
    page, drawn = nb.page, lambda: nb.root.evaluate("node => node.view.painter.masksDrawn")
    wait = """node => new Promise((done) => { node.view.painter.paint(done); })"""
    nb.root.evaluate(
        """node => { const {model} = node.view.link, send = model.send; window.kinds = [];
            model.send = (content, ...more) => {
                window.kinds.push(content.kind); return send(content, ...more); }; }"""
    )
    assert nb.attribute("count") == "191"
    nb.canvas.focus()
    before = drawn()
    for _ in range(3):  # hovering included: the pointer comes from elsewhere
        nb.page.mouse.move(5, 5)
        nb.settled(lambda: nb.click(*FIRST))
        nb.settled(lambda: page.keyboard.press("Escape"))
    nb.settled(lambda: nb.click(*FIRST))
    assert drawn() == before, "a draft lies on a canvas of its own"
    kinds = page.evaluate("window.kinds")
    assert kinds.count("do") == 7
    # what is sent at the kernel's "busy" carries the acknowledgement that the answer waits for
    assert "ack" in kinds[kinds.index("do") + 1 :]

    def whole() -> bool:
        """Whether what is seen is what drawing everything anew gives."""
        page.mouse.move(5, 5)
        seen = nb.pixels()
        nb.root.evaluate(wait)
        return np.array_equal(seen, nb.pixels())

    before = drawn()
    nb.settled(lambda: page.keyboard.press("c"))
    assert drawn() == before + 1, "the others stay as they are drawn"
    nb.wait("count", 192)
    assert np.ptp(_colour(nb, *FIRST)) > 12, "the new particle has its colour"
    assert whole()
    before = drawn()
    nb.settled(lambda: page.keyboard.press("Control+z"))
    assert drawn() == before + 191, "it went away: the others are drawn without it"
    before = drawn()
    nb.settled(lambda: page.keyboard.press("Control+Shift+z"))
    assert drawn() == before + 1
    assert whole()
    # moved in the same moment: what was drawn before lies elsewhere
    nb.settled(lambda: page.keyboard.press("Control+z"))
    nb.settled(
        lambda: nb.root.evaluate(
            """node => { const {camera, link} = node.view, old = camera.view;
                camera.look({...old, scale: 1.2 * old.scale, x: old.x + 3});
                link.request("redo"); }"""
        )
    )
    assert whole()
    page.keyboard.press("0")
    # where a colour means something about all of them, all are drawn anew
    nb.root.evaluate("node => { node.view.palette.set('class'); }")
    nb.settled(lambda: page.keyboard.press("Control+z"))
    before = drawn()
    nb.settled(lambda: page.keyboard.press("Control+Shift+z"))
    assert drawn() == before + 192
    assert whole()


def test_texts_follow_undo_and_delete(bench: Any, clean: Callable) -> None:
    nb = clean(bench)
    nb.show(FRESH)
    _commit(nb, FIRST, SECOND)
    page, rows = nb.page, nb.page.locator(".pnb-row")
    name, label = (
        page.get_by_label(f"{what} of the selected particle") for what in ("Name", "Class")
    )
    rows.nth(1).click()
    name.fill("second")
    nb.settled(lambda: name.press("Enter"))
    label.fill("round")
    nb.settled(lambda: label.press("Enter"))
    nb.canvas.focus()
    nb.settled(lambda: page.keyboard.press("Control+z"))
    assert (name.input_value(), label.input_value()) == ("second", "")
    nb.settled(lambda: page.keyboard.press("Control+z"))
    assert name.input_value() == ""
    nb.settled(lambda: page.keyboard.press("Control+Shift+z"))
    assert name.input_value() == "second"
    # what somebody is typing stays when the kernel changes something else
    label.focus()
    page.keyboard.type("ha")
    nb.settled(lambda: nb.python("editor.do('set', ids=[2], name='other')"))
    assert (name.input_value(), label.input_value()) == ("other", "ha")
    nb.settled(nb.canvas.focus)  # leaving the box writes it
    assert nb.python("editor.state[2].mask.label") == "ha"
    # nothing is selected any more: nothing can be written
    nb.settled(lambda: page.keyboard.press("Delete"))
    assert nb.attribute("selected") == ""
    for box in (name, label):
        assert box.input_value() == ""
        assert box.is_disabled()


def test_a_click_shows_before_the_model_has_answered(bench: Any, clean: Callable) -> None:
    nb = clean(bench)
    nb.show(FRESH)
    nb.canvas.focus()
    nb.page.keyboard.press("h")  # no preview
    nb.python("setattr(session, 'delay', 1.5)")
    x, y = FIRST
    before = _colour(nb, x - 0.9, y - 0.9)
    sequence = nb.attribute("mask-seq")

    def look() -> None:
        nb.click(x, y)
        nb.page.mouse.move(5, 5)
        seen = _colour(nb, x - 0.9, y - 0.9)
        assert nb.attribute("mask-seq") == sequence, "the model is still at work"
        assert seen[1] - seen[0] > 30, f"{before} became {seen}: no green point"

    nb.settled(look)
    nb.python("setattr(session, 'delay', 0.0)")
    assert nb.root.evaluate("node => node.view.hand.asked.size") == 0
    assert nb.python("len(editor.state.draft.points)") == 1
    # refused: it goes
    nb.click(-20, y)  # beside the image
    nb.page.locator(".pnb-error").wait_for(state="visible")
    nb.page.wait_for_function("document.querySelector('.pnb').view.hand.asked.size === 0")


def test_corners_are_closed_once_and_can_be_given_up(bench: Any, clean: Callable) -> None:
    nb = clean(bench)
    nb.show(FRESH)
    page = nb.page
    nb.canvas.focus()
    page.keyboard.press("p")
    corners = [(24, 24), (63, 24), (63, 63)]
    for corner in corners:
        nb.click(*corner)
    # a double click on the first corner closes as one click there does
    nb.settled(lambda: page.mouse.dblclick(*nb.spot(*corners[0])))
    assert nb.root.evaluate("node => node.view.hand.polygon.length") == 0
    assert nb.attribute("errors") == ""
    # and the next polygon may begin at once, somewhere else
    for corner in [(88, 24), (127, 24), (127, 63)]:
        nb.click(*corner)
    nb.settled(lambda: nb.click(88, 24))
    nb.click(152, 24)
    assert nb.root.evaluate("node => node.view.hand.polygon.length") == 1
    page.keyboard.press("Escape")
    assert nb.python("len(editor.masks)") == 2
    # a box's first corner set by a key goes with Escape, another tool and the mouse
    give_up = {
        "Escape": lambda: page.keyboard.press("Escape"),
        "tool": lambda: page.keyboard.press("k"),
        "mouse": lambda: nb.click(*THIRD),
    }
    for name, leave in give_up.items():
        page.keyboard.press("b")
        page.keyboard.press("ArrowRight")
        page.keyboard.press("Enter")
        assert nb.root.evaluate("node => !!node.view.hand.mark")
        leave()
        assert not nb.root.evaluate("node => !!node.view.hand.mark"), name
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Escape")
    assert nb.root.evaluate("node => node.view.hand.cross") is None
    # an error goes with the next thing that is done
    for key in ("Escape", "Control+z"):
        page.keyboard.press("g")
        error = page.locator(".pnb-error")
        error.wait_for(state="visible")
        page.keyboard.press(key)
        error.wait_for(state="hidden")
