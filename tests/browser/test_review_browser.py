"""Judging proposals in a real JupyterLab: thresholds, doubt, linked views, history, saved pages."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from board import FIRST, FRESH, SECOND, SETUP, THIRD
from PIL import Image as PillowImage

pytestmark = pytest.mark.browser

# Twelve squares with predicted IoU 0.50, 0.55, ... 0.95, 0.50, 0.55 and, each made for one
# threshold, 13: a less certain copy of square 6, one column aside; 14: a part of square 12;
# 15: a bar of 120 px that the frame cuts; 16: a comb of little contrast and low form factor
PROPOSALS = (
    SETUP
    + """
block = lambda r0, c0, r1, c1, iou: Mask(
    (r0, c0), np.ones((r1 - r0, c1 - c0), bool), image.shape, iou, 0.9)
comb = np.ones((10, 40), bool); comb[:8, ::3] = False
masks = [*session.propose(image), block(88, 89, 128, 129, 0.6), block(160, 222, 170, 232, 0.55),
    block(0, 0, 6, 20, 0.9), Mask((69, 100), comb, image.shape, 0.9, 0.7)]
proposals = MaskSet(tuple(masks), image.shape)
editor = Annotator(session, image, proposals, autosave=False)
editor
"""
)
HIDDEN = "[n for n, p in editor.state.particles.items() if not p.kept]"


def _settings(nb: Any) -> dict[str, Any]:
    return dict(nb.python("dict(editor.history.steps[-1].record['settings'])"))


def test_each_threshold_moves_alone_and_asks_no_model(bench: Any, clean: Callable) -> None:
    nb = clean(bench)
    nb.show(PROPOSALS)
    page = nb.page
    calls = nb.python("len(session.calls)")
    page.locator("summary", has_text="Filter").click()
    assert nb.python(HIDDEN) == []
    off: dict[str, Any] = dict.fromkeys(
        ("min_predicted_iou", "min_stability", "min_area", "max_area", "min_contrast")
    )
    off |= dict.fromkeys(("min_size", "max_size", "min_confidence"))
    off |= {"min_form_factor": None, "duplicate_iou": None, "nested": "keep", "edge": "keep"}
    areas = nb.python("[m.area for m in proposals]")
    # slider, key by key from the end that is off, what it must hide alone
    for name, key, presses, hides in (
        ("min_predicted_iou", "ArrowRight", 52, [1, 11]),
        ("min_stability", "ArrowRight", 80, [16]),
        ("min_area", "ArrowRight", 300, [n for n, a in enumerate(areas, 1) if a < 252]),
        ("max_area", "ArrowLeft", 20, list(range(1, 14))),
        ("min_contrast", "ArrowRight", 20, [14, 15, 16]),  # no grey step at their rims
        ("min_form_factor", "ArrowRight", 50, [16]),
        ("duplicate_iou", "ArrowLeft", 20, [13]),
    ):
        slider = page.locator(f"input[data-filter={name}]")
        # keys as a hand on the slider gives them: one `input` each, and one `change` in the end
        nb.settled(
            lambda slider=slider, key=key, presses=presses: slider.evaluate(
                """(node, [key, count]) => {
                    for (let i = 0; i < count; i++) {
                        key === 'ArrowLeft' ? node.stepDown() : node.stepUp();
                        node.dispatchEvent(new Event('input', {bubbles: true}));
                    }
                    node.dispatchEvent(new Event('change', {bubbles: true}));
                }""",
                [key, presses],
            )
        )
        settings = _settings(nb)
        moved = {k for k in off if settings[k] != off[k]}
        assert moved == {name}, f"{name} moved {moved}"
        assert nb.python(HIDDEN) == hides, name
        nb.wait("count", 16 - len(hides))
        nb.canvas.focus()
        nb.settled(lambda: page.keyboard.press("Control+z"))
    for name, on, hides in (("nested", "resolve", [14]), ("edge", "exclude", [15])):
        box = page.locator(f"input[data-filter={name}]")
        nb.settled(box.check)
        settings = _settings(nb)
        assert {k: v for k, v in settings.items() if v != off[k]} == {name: on}
        # square 6 and its copy are no nest: of two that differ by a column neither lies inside
        assert set(nb.python(HIDDEN)) >= set(hides)
        nb.canvas.focus()
        nb.settled(lambda: page.keyboard.press("Control+z"))
    assert nb.python(HIDDEN) == []
    # what is set stays set while another moves; both say how many they hide
    nb.settled(lambda: page.locator("input[data-filter=min_predicted_iou]").fill("0.52"))
    nb.settled(lambda: page.locator("input[data-filter=duplicate_iou]").fill("0.8"))
    both = _settings(nb)
    assert (both["min_predicted_iou"], both["duplicate_iou"]) == (0.52, 0.8)
    said = page.locator(".pnb-slider:has([data-filter])").all_inner_texts()
    assert "−2" in said[1]
    assert "−1" in said[7]
    nb.settled(lambda: page.get_by_role("button", name="usual thresholds").click())
    usual = nb.python(
        "__import__('dataclasses').asdict(__import__('particle_nb').FilterSettings())"
    )
    assert _settings(nb) == usual
    kept = nb.python("__import__('particle_nb').cascade(proposals, image)[0].digest")
    assert nb.python("editor.masks.digest") == kept
    nb.settled(lambda: page.get_by_role("button", name="all off").click())
    assert nb.python(HIDDEN) == []
    assert nb.python("len(session.calls)") == calls


def test_the_queue_of_doubt_accepts_and_rejects(bench: Any, clean: Callable) -> None:
    nb = clean(bench)
    nb.show(PROPOSALS)
    doubts = dict(nb.python("[(n, p.doubt) for n, p in editor.state.particles.items()]"))
    queue = sorted(doubts, key=lambda n: (-doubts[n], n))
    nb.canvas.focus()
    nb.page.keyboard.press("q")
    nb.wait("selected", queue[0])
    nb.page.keyboard.press("q")
    nb.wait("selected", queue[1])  # looked at, not judged: the queue goes on
    nb.settled(lambda: nb.page.keyboard.press("y"))
    nb.wait("selected", queue[2])  # not back to what was passed over
    nb.settled(lambda: nb.page.keyboard.press("j"))
    nb.wait("selected", queue[3])
    state = nb.python("[(n, p.review) for n, p in editor.state.particles.items() if p.review]")
    assert state == [(queue[1], "accepted")]
    assert queue[2] not in nb.python("list(editor.state.particles)")
    assert "14 not accepted yet" in nb.page.locator(".pnb-hint").inner_text()
    for number in (*queue[3:], queue[0]):  # what was passed over comes back in the end
        nb.wait("selected", number)
        nb.settled(lambda: nb.page.keyboard.press("y"))
    nb.wait("selected", "")
    assert "no doubtful particle is left" in nb.page.locator(".pnb-hint").inner_text()
    nb.settled(lambda: nb.page.keyboard.press("Control+z"))
    nb.page.keyboard.press("q")
    nb.wait("selected", queue[0])


def test_canvas_list_and_histogram_show_one_selection(bench: Any, clean: Callable) -> None:
    nb = clean(bench)
    nb.show(PROPOSALS)
    page = nb.page
    table = dict(nb.python("[(n, float(v)) for n, v in editor.table['x_A_nm'].items()]"))

    def pressed() -> list[tuple[float, float]]:
        edges = nb.root.evaluate("node => node.view.store.summary.edges")
        bars = page.locator(".pnb-bin[aria-pressed=true]")
        bins = [int(bars.nth(i).get_attribute("data-bin")) for i in range(bars.count())]
        return [(edges[i], edges[i + 1]) for i in bins]

    # canvas -> kernel, row and bar
    nb.canvas.focus()
    page.keyboard.press("a")
    nb.click(14, 3)
    nb.wait("selected", 15)
    page.wait_for_function("() => document.querySelectorAll('.pnb-row.pnb-on').length === 1")
    assert nb.python("editor.selection") == (15,)
    assert page.locator(".pnb-row.pnb-on").get_attribute("data-id") == "15"
    ((low, high),) = pressed()
    assert low <= table[15] <= high
    # bar by keyboard -> kernel and canvas; with Shift it adds
    bar = page.locator(".pnb-bin[aria-label*=' particles']:not([aria-label*=': 0 '])").last
    label = bar.get_attribute("aria-label")
    bar.focus()
    page.keyboard.press("Enter")
    picked = list(map(int, nb.attribute("selected").split()))
    assert nb.python("editor.selection") == tuple(picked)
    ((low, high),) = pressed()
    assert sorted(picked) == [n for n, v in table.items() if low <= v <= high]
    assert f"{len(picked)} particles" in label
    # row by keyboard
    page.locator(".pnb-rows").focus()
    page.keyboard.press("Home")
    nb.wait("selected", 1)
    page.keyboard.press("ArrowDown")
    nb.wait("selected", 2)
    page.keyboard.press("Shift+ArrowDown")
    nb.wait("selected", "2 3")
    # the kernel selects too
    nb.python("editor.select([7])")
    nb.wait("selected", 7)
    assert page.locator(".pnb-row.pnb-on").get_attribute("data-id") == "7"


def test_the_history_strip_jumps_where_it_is_clicked(bench: Any, clean: Callable) -> None:
    nb = clean(bench)
    nb.show(FRESH)
    page = nb.page
    for spot in (FIRST, SECOND, THIRD):
        nb.settled(lambda spot=spot: nb.click(*spot))
        nb.settled(lambda: page.keyboard.press("c"))
    strip = page.locator(".jp-OutputArea-output canvas:not(.pnb canvas)").first

    def go(position: int) -> None:
        strip.scroll_into_view_if_needed()
        box = strip.bounding_box()
        nb.settled(
            lambda: page.mouse.click(
                box["x"] + 6 + 62 * position + 28, box["y"] + box["height"] / 3
            )
        )

    for position, committed in ((2, 1), (5, 2), (0, 0), (6, 3)):
        go(position)
        assert nb.python("(editor.history.position, len(editor.masks))") == (position, committed)
        nb.wait("count", committed)
    # its thumbnails; the second commit shows a bright square with a drawn rim
    box = strip.bounding_box()
    clip = {"x": box["x"] + 6 + 62 * 4, "y": box["y"] + 6, "width": 56, "height": 56}
    shot = PillowImage.open(BytesIO(page.screenshot(clip=clip, scale="css"))).convert("RGB")
    picture = np.asarray(shot).astype(int)
    assert picture[28, 28].min() > 170
    rim = ((picture[..., 0] > 180) & (picture[..., 0] - picture[..., 2] > 80)).sum()  # yellow
    assert rim > 60, "the rim of the mask is not drawn"
    # the number at its end does the same from the keyboard
    number = page.locator("input[type=number]:not(.pnb-minutes)").first
    number.focus()
    number.fill("4")
    nb.settled(lambda: page.keyboard.press("Enter"))
    assert nb.python("editor.history.position") == 4
    # going elsewhere from an earlier state forgets what came later, as undo does
    nb.canvas.focus()
    nb.settled(lambda: nb.click(*THIRD))
    assert nb.python("(editor.history.position, len(editor.history.steps))") == (5, 5)


def test_undo_goes_on_after_reopening_a_file(bench: Any, clean: Callable) -> None:
    nb = clean(bench)
    nb.show(FRESH)
    for spot in (FIRST, SECOND):
        nb.settled(lambda spot=spot: nb.click(*spot))
        nb.settled(lambda: nb.page.keyboard.press("c"))
    nb.settled(lambda: nb.page.keyboard.press("Control+z"))
    digest = nb.python("(editor.masks.digest, str(editor.save('reopen.pnb')))")[0]
    nb.show(SETUP + "editor = open_annotation('reopen.pnb', session); editor")
    nb.wait("count", 1)
    assert nb.python("editor.masks.digest") == digest
    assert nb.root.evaluate("node => node.view.store.draft.points.length") == 1
    nb.canvas.focus()
    nb.settled(lambda: nb.page.keyboard.press("Control+Shift+Z"))
    assert nb.python("len(editor.masks)") == 2
    for left in (3, 2, 1, 0):
        nb.settled(lambda: nb.page.keyboard.press("Control+z"))
        assert nb.python("editor.history.position") == left
    assert nb.python("len(editor.masks)") == 0


def test_a_saved_page_shows_the_picture_without_kernel_and_network(
    bench: Any, clean: Callable, lab: Any, chromium: Any, tmp_path: Path
) -> None:
    nbconvert = pytest.importorskip("nbconvert")
    nbformat = pytest.importorskip("nbformat")
    nb = clean(bench)
    nb.show(FRESH)
    page = nb.page
    still = page.locator(".jp-RenderedImage img")
    assert still.count() == 1
    assert not still.is_visible(), "beside the live widget the picture is hidden"
    before = still.get_attribute("src")
    nb.settled(lambda: nb.click(*FIRST))
    nb.settled(lambda: page.keyboard.press("c"))
    # it is drawn again after the edit, and hidden still
    page.wait_for_function(
        "src => document.querySelector('.jp-RenderedImage img').src !== src", arg=before
    )
    assert not still.is_visible()
    page.evaluate("window.jupyterapp.commands.execute('docmanager:save')")
    page.wait_for_function(
        "() => !window.jupyterapp.shell.currentWidget.context.model.dirty", timeout=20_000
    )
    document = nbformat.read(str(lab.folder / "bench.ipynb"), 4)
    widget, picture = document.cells[0].outputs
    assert "1 particle," in picture.data["text/plain"]
    png = np.asarray(PillowImage.open(BytesIO(base64.b64decode(picture.data["image/png"]))))
    assert tuple(png[24, 24]) == (230, 159, 0), "the contour of the first particle"
    # with the widgets' state stored, a page would look for their code on the network
    state = nb.python(
        "__import__('json').dumps(__import__('ipywidgets.embed').embed.embed_data([editor.widget])"
        "['manager_state'])"
    )
    document.metadata["widgets"] = {"application/vnd.jupyter.widget-state+json": json.loads(state)}
    assert "application/vnd.jupyter.widget-view+json" in widget.data
    html, _ = nbconvert.HTMLExporter().from_notebook_node(document)
    file = tmp_path / "saved.html"
    file.write_text(html, encoding="utf-8")
    context = chromium.new_context(offline=True)
    try:
        alone = context.new_page()
        alone.goto(file.as_uri(), wait_until="domcontentloaded")
        shown = alone.locator("img[src^='data:image/png']")
        assert shown.count() == 1
        assert shown.is_visible()
        width, height = shown.evaluate("node => [node.naturalWidth, node.naturalHeight]")
        assert (width, height) == (280, 216 + 22)
    finally:
        context.close()
