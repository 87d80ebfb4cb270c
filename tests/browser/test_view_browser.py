"""What the canvas shows in a real JupyterLab: tones, colours, deep and large images, any cell."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from board import FIRST, FRESH, SETUP

pytestmark = pytest.mark.browser

#: five grey fields of 40 px, the columns between them black
STEPS = (
    SETUP
    + """
pixels = np.zeros((100, 200), np.{dtype})
for i, value in enumerate({values}):
    pixels[:, 40 * i + 2 : 40 * i + 38] = value
editor = Annotator(session, Image(pixels, name="steps"), autosave=False)
editor
"""
)
THEME = "theme => window.jupyterapp.commands.execute('apputils:change-theme', {theme})"
GREYS = (40, 90, 128, 200, 250)


def _at(nb: Any, *spots: tuple[float, float]) -> list[np.ndarray]:
    shot, box = nb.pixels(), nb.canvas.bounding_box()
    places = [nb.spot(*spot) for spot in spots]
    return [shot[int(y - box["y"]), int(x - box["x"])].astype(int) for x, y in places]


def test_brightness_contrast_and_gamma_are_what_they_say(bench: Any, clean: Callable) -> None:
    """Painted greys against the formula: ((v - low) / (high - low) - 1/2) c + 1/2 + b, then 1/g."""
    nb = clean(bench)
    nb.show(STEPS.format(dtype="uint8", values=GREYS))
    page = nb.page
    page.locator("summary", has_text="View").click()
    low, high = nb.root.evaluate(
        "({view}) => [view.appearance.tone.low, view.appearance.tone.high]"
    )
    assert (low, high) == tuple(
        np.percentile(nb.python("editor.image.pixels[::4, ::4].tolist()"), (0.1, 99.9))
    )
    fields = [(40 * i + 19.5, 50.5) for i in range(5)]
    values = (np.array(GREYS) - low) / (high - low)
    page.mouse.move(5, 5)
    for settings in (
        {},
        {"brightness": 0.2},
        {"contrast": 2.0},
        {"gamma": 2.0},
        {"brightness": -0.1, "contrast": 0.5, "gamma": 0.5},
    ):
        page.get_by_role("button", name="reset", exact=True).click()
        for name, value in settings.items():
            page.get_by_label(name, exact=True).fill(str(value))
        want = (values - 0.5) * settings.get("contrast", 1) + 0.5 + settings.get("brightness", 0)
        want = 255 * np.clip(want, 0, 1) ** (1 / settings.get("gamma", 1))
        seen = np.array(_at(nb, *fields))
        assert np.ptp(seen, axis=1).max() == 0, "grey stays grey"
        assert np.abs(seen[:, 0] - want).max() <= 1.01, f"{settings}: {seen[:, 0]} is not {want}"
    page.get_by_role("button", name="reset", exact=True).click()
    page.get_by_label("invert").check()
    assert (
        np.abs(np.array(_at(nb, *fields))[:, 0] - (255 - 255 * np.clip(values, 0, 1))).max() <= 1.01
    )
    page.get_by_role("button", name="reset", exact=True).click()
    assert not page.get_by_label("invert").is_checked()
    assert np.abs(np.array(_at(nb, *fields))[:, 0] - 255 * np.clip(values, 0, 1)).max() <= 1.01


def test_a_16_bit_image_tells_its_own_grey_values(bench: Any, clean: Callable) -> None:
    nb = clean(bench)
    greys = (300, 12_000, 33_000, 51_400, 65_535)
    nb.show(STEPS.format(dtype="uint16", values=greys))
    place = nb.page.locator(".pnb-place")
    for i, value in enumerate(greys):
        nb.page.mouse.move(*nb.spot(40 * i + 19.5, 50.5))
        nb.page.wait_for_function(
            "text => document.querySelector('.pnb-place').textContent.includes(text)",
            arg=f"grey {value} (uint16)",
        )
    assert place.inner_text().startswith("x 179.")
    nb.page.mouse.move(5, 5)
    shown = np.array(_at(nb, *((40 * i + 19.5, 50.5) for i in range(5))))[:, 0]
    assert np.abs(shown - np.array(greys) / 65_535 * 255).max() <= 1.5


def test_colours_follow_class_confidence_and_any_column(bench: Any, clean: Callable) -> None:
    nb = clean(bench)
    nb.show(
        SETUP
        + """
block = lambda r0, c0, side, iou, label: Mask(
    (r0, c0), np.ones((side, side), bool), image.shape, iou, 0.9, label)
masks = MaskSet((block(24, 24, 10, 0.0, "a"), block(24, 88, 20, 0.5, "b"),
    block(24, 152, 40, 1.0, "a")), image.shape)
editor = Annotator(session, image, masks, autosave=False)
editor
"""
    )
    page, legend = nb.page, nb.page.locator(".pnb-legend")
    assert not legend.is_visible()
    page.locator("summary", has_text="View").click()
    page.get_by_label("opacity").fill("1")
    page.mouse.move(5, 5)
    centres = [(28.5, 28.5), (97.5, 33.5), (171.5, 43.5)]
    choose = page.get_by_label("Colour particles by")
    # viridis by its published ends and middle; x_A is 2 sqrt(A / pi): the sides are 10, 20, 40
    dark, middle, light = (68, 1, 84), (33, 145, 140), (253, 231, 37)
    for column in nb.python("list(editor._tally.columns)"):
        choose.select_option(column)
        assert column in legend.inner_text()
    choose.select_option("x_A_nm")
    small, mid, large = _at(nb, *centres)
    assert np.abs(small - dark).max() <= 3
    assert np.abs(large - light).max() <= 3
    third = np.array((49, 104, 142))  # viridis(1/3)
    assert np.abs(mid - third).max() <= 6
    ends = [f"{2 * 5 * side / np.sqrt(np.pi):.3g}" for side in (10, 40)]
    assert legend.inner_text().split() == ["x_A_nm", *ends]
    choose.select_option("iou")
    for seen, want in zip(_at(nb, *centres), (dark, middle, light), strict=True):
        assert np.abs(seen - want).max() <= 6
    assert legend.inner_text().split() == ["predicted", "IoU", "0", "1"]
    choose.select_option("class")
    first, second, third = _at(nb, *centres)
    assert np.array_equal(first, third)
    assert tuple(first) == (230, 159, 0)
    assert tuple(second) == (86, 180, 233)
    assert "a" in legend.inner_text().split()
    nb.canvas.focus()
    page.keyboard.press("v")
    assert np.ptp(_at(nb, centres[2])[0]) < 12, "V alone hides all masks"
    page.keyboard.press("v")


def test_detectors_are_switched_by_key(bench: Any, clean: Callable) -> None:
    """Two detectors on the last axis: each alone, then both; the work stays."""
    nb = clean(bench)
    nb.show(
        SETUP
        + """
both = np.stack([image.pixels, 255 - image.pixels], axis=-1)
editor = Annotator(session, Image(both, name="SE and BSE"), autosave=False)
editor.do("brush", path=[[43, 43], [43, 44]], radius=4)
editor
"""
    )
    page, hint = nb.page, nb.page.locator(".pnb-hint")
    nb.canvas.focus()
    square, ground = (171.5, 43.5), (140.5, 75.5)

    def press(key: str, said: str) -> tuple[int, int]:
        page.keyboard.press(key)
        page.wait_for_function(
            "(said) => document.querySelector('.pnb-hint').textContent === said", arg=said
        )
        page.mouse.move(5, 5)
        page.wait_for_timeout(200)
        first, second = _at(nb, square, ground)
        return int(first.mean()), int(second.mean())

    bright, dark = press(".", "channel 1 of 2")
    assert bright > dark + 100
    dark, bright = press(".", "channel 2 of 2")
    assert bright > dark + 100
    assert "of 2" in hint.inner_text()
    assert press(",", "channel 1 of 2")[0] > 200
    press(",", "all channels")
    assert nb.attribute("count") == "1"
    assert nb.python("len(editor.masks)") == 1


def test_two_views_of_one_annotator_select_the_same(
    open_notebook: Callable, clean: Callable
) -> None:
    """Also the filter and the masks; each view keeps its own zoom."""
    from playwright.sync_api import expect

    cell = SETUP + "editor = Annotator(session, image, session.propose(image), autosave=False)"
    nb = clean(open_notebook("views.ipynb", [f"{cell}; editor", "editor"], wait=False))
    page, views = nb.page, nb.page.locator("[data-testid=prompt-canvas][data-state=ready]")
    expect(views).to_have_count(2, timeout=120_000)
    first, second = views.nth(0), views.nth(1)
    second.locator(".pnb-row", has_text="nm").nth(2).click()
    for view in (first, second):
        expect(view).to_have_attribute("data-selected", "3")
    assert nb.python("editor.selection") == (3,)
    first.locator("canvas.pnb-top").focus()
    page.keyboard.press("Control+a")
    expect(second).to_have_attribute("data-selected", " ".join(map(str, range(1, 13))))
    page.keyboard.press("+")
    scale = "node => node.view.camera.view.scale"
    assert first.evaluate(scale) > second.evaluate(scale)
    page.keyboard.press("Delete")
    for view in (first, second):
        expect(view).to_have_attribute("data-count", "0")
        expect(view).to_have_attribute("data-selected", "")


def test_a_hundred_megapixels_open_and_take_a_click(bench: Any, clean: Callable) -> None:
    nb = clean(bench)
    nb.show(
        SETUP
        + """
import tracemalloc
from particle_nb.core.annotation.strokes import stroke
class Disc:
    def predict(self, image, prompt, window=None):
        return MaskSet((stroke([prompt.points[-1]], 40, image.shape),))
pixels = np.zeros((10_000, 10_000), np.uint8)
pixels[:] = np.arange(10_000) // 64
pixels[7000:7100, 8200:8300] = 255
large = Image(pixels, Calibration(2, "nm"), "large")
tracemalloc.start()
editor = Annotator(Disc(), large, autosave=False)
made = tracemalloc.get_traced_memory()[1] / 2**20
editor
"""
    )
    page = nb.page
    assert nb.python("made") < 64, "no copy of the image is made to show it"
    shown = nb.python("(tracemalloc.get_traced_memory()[1] / 2**20, tracemalloc.stop())")[0]
    assert shown < 400, f"{shown:.0f} MB in the kernel to send 100 MB"
    levels = nb.root.evaluate("node => node.view.store.picture.levels.map(l => l.width)")
    assert levels[0] == 10_000
    assert levels[-1] <= 512
    heap = page.evaluate("performance.memory.usedJSHeapSize / 2 ** 20")
    assert heap < 500, f"{heap:.0f} MB in the page for an image of 100 MB"
    nb.canvas.focus()
    page.mouse.move(*nb.spot(8250, 7050))
    for _ in range(7):
        page.mouse.wheel(0, -300)
    page.wait_for_function("document.querySelector('.pnb').view.camera.view.scale > 3")
    # tiles of the full resolution are drawn: the bright square has a sharp edge at 8199.5
    left, right = _at(nb, (8198.6, 7050), (8201, 7050))
    assert right.min() > 250 > left.max() + 30
    nb.settled(lambda: nb.click(8250.25, 7050.5))
    x, y = nb.python("editor.state.draft.points[0]")
    assert abs(x - 8250.25) < 0.5
    assert abs(y - 7050.5) < 0.5
    nb.settled(lambda: page.keyboard.press("c"))
    assert abs(nb.python("editor.masks[0].area") - np.pi * 40**2) < 60
    # hundreds of tiles pass under a wide pan; only some are kept
    page.keyboard.press("%")
    for _ in range(12):
        page.keyboard.press("Alt+ArrowLeft")
    assert nb.root.evaluate("node => node.view.store.picture.tiles.size") <= 96


def test_narrow_and_dark_cells_stay_usable(bench: Any, clean: Callable) -> None:
    nb = clean(bench)
    nb.show(FRESH)
    page = nb.page
    try:
        page.evaluate(THEME, "JupyterLab Dark")
        page.wait_for_function("document.body.dataset.jpThemeLight === 'false'")
        page.set_viewport_size({"width": 560, "height": 1400})
        page.wait_for_function("() => document.querySelector('.pnb').view.camera.size.width < 500")
        outside = nb.root.evaluate(
            """node => { const {left, right} = node.getBoundingClientRect();
                return [...node.querySelectorAll('button, input, select')].filter((n) => {
                    const b = n.getBoundingClientRect();
                    return b.width && (b.left < left - 1 || b.right > right + 1); }).length; }"""
        )
        assert outside == 0, "something reaches out of the cell"
        # the strip keeps to the cell too, as soon as the kernel knows how wide it is
        page.wait_for_function(
            "() => document.querySelector('.jp-OutputArea-output canvas:not(.pnb canvas)')"
            ".getBoundingClientRect().width < 480"
        )
        nb.settled(lambda: nb.click(*FIRST))
        assert nb.python("editor.state.draft.mask.bbox") == (24, 24, 64, 64)
        # WCAG 2.2, 1.4.3: text of 4.5 to 1 on what lies behind it
        weak = nb.root.evaluate(
            """node => {
                const rgb = (c) => c.match(/[\\d.]+/g).map((v, i) => // color(srgb ...): shares of 1
                    Number(v) * (c.startsWith('color(') && i < 3 ? 255 : 1));
                const light = ([r, g, b]) => [r, g, b].map((v) => (v /= 255) <= 0.04045
                    ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
                    .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
                const ground = (n) => { for (; n; n = n.parentElement) {
                    const c = rgb(getComputedStyle(n).backgroundColor);
                    if (c.length < 4 || c[3] > 0.6) return c; } return [255, 255, 255]; };
                const texts = [...node.querySelectorAll('.pnb-numbers *, .pnb-status *, summary,'
                    + '.pnb-slider span, .pnb-hud *, .pnb-text-button, .pnb-row *')];
                return texts.filter((n) => n.childElementCount === 0 && n.textContent.trim()
                    && n.getBoundingClientRect().width && !n.closest('[disabled]')).map((n) => {
                    const a = light(rgb(getComputedStyle(n).color)), b = light(ground(n));
                    return [n.className + ' ' + n.textContent,
                        (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05)]; })
                    .filter(([, ratio]) => ratio < 4.5);
            }"""
        )
        assert weak == []
    finally:
        page.set_viewport_size({"width": 1500, "height": 1000})
        page.evaluate(THEME, "JupyterLab Light")


def test_every_control_has_a_name_and_every_key_is_listed(bench: Any, clean: Callable) -> None:
    nb = clean(bench)
    nb.show(FRESH)
    nameless = nb.root.evaluate(
        """node => [...node.querySelectorAll('button, input, select, [role=button], [role=listbox],'
            + '[role=application]')].filter((n) => !(n.getAttribute('aria-label')
            || n.closest('label')?.textContent.trim() || n.textContent.trim()))
            .map((n) => n.outerHTML)"""
    )
    assert nameless == []
    # every key of BROWSER.md and of the code stands in the list that `?` shows
    nb.canvas.focus()
    nb.page.keyboard.press("?")
    listed = " ".join(nb.page.locator(".pnb-help dt").all_inner_texts())
    nb.page.keyboard.press("?")
    # the table of single keys in the code
    single = set(nb.root.evaluate("node => node.view.keyboard.names"))
    assert {"c", "n", "w", "?", "0", "[", "]", "-"} <= single
    names = {"delete": "Del", "escape": "Esc", "enter": "Enter", "backspace": "Backspace"}
    names |= {"-": "−", "=": "+"}
    handled = {names.get(key, key) for key in single - {" "}} | set("sabkpdexou")
    handled |= {"Space", "Tab", "arrows", "wheel", "Alt+click", "Shift+click"}
    handled |= {"Ctrl+Z", "Ctrl+Shift+Z", "Ctrl+Y", "Ctrl+S", "Ctrl+A"}
    handled |= {"Ctrl+C", "Ctrl+V", "Ctrl+D", "Shift+F10"}
    words = set(listed.replace("·", " ").replace(",", " ").split()) | {*listed.split()}
    missing = {key for key in handled if key not in words and key.upper() not in words}
    assert missing == set()


ACTIVE = """() => { const node = document.activeElement;
    return [node.getAttribute('aria-label') || node.textContent.trim().slice(0, 40),
        !!node.closest('.pnb')]; }"""


def test_from_a_fresh_cell_without_a_mouse(bench: Any, clean: Callable) -> None:
    """From the cell by Tab into the tools, the picture and the panel; a particle; and out again."""
    nb = clean(bench)
    nb.show(FRESH)
    page = nb.page
    page.evaluate(
        """async () => {
            await window.jupyterapp.commands.execute('notebook:enter-command-mode');
            document.querySelector('.jp-Notebook-cell').focus();
        }"""
    )
    cells, stops = nb.cells(), []
    while "Micrograph" not in page.evaluate(ACTIVE)[0]:
        page.keyboard.press("Tab")
        stops.append(page.evaluate(ACTIVE)[0])
        assert len(stops) < 12, f"the picture is far away: {stops}"
    assert stops[-2] == "Segment by points", "the tools are one stop, the chosen one"
    page.keyboard.press("Shift+Tab")
    # along the tools by arrows, round the end; Enter picks and goes to the picture
    page.keyboard.press("ArrowLeft")
    assert page.evaluate(ACTIVE)[0] == "Select"
    page.keyboard.press("ArrowLeft")
    assert page.evaluate(ACTIVE)[0] == "Keys"
    page.keyboard.press("Home")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Enter")
    assert "Micrograph" in page.evaluate(ACTIVE)[0]
    ring = page.evaluate("getComputedStyle(document.activeElement).boxShadow")
    assert "rgb(0, 114, 178)" in ring, "the focus is seen"
    # the middle of the board lies between two squares: 32 px to the right is the next one
    for _ in range(round(32 * nb.view()["scale"] / 8)):
        page.keyboard.press("ArrowRight")
    nb.settled(lambda: page.keyboard.press("Enter"))
    nb.settled(lambda: page.keyboard.press("c"))
    assert nb.python("editor.masks[0].bbox") == (88, 152, 128, 192)
    # on to the panel: the histogram's bar keeps the focus when it is picked
    for _ in range(12):
        page.keyboard.press("Tab")
        if "1 particles" in page.evaluate(ACTIVE)[0]:
            break
    page.keyboard.press("Enter")
    nb.wait("selected", 1)
    assert "1 particles" in page.evaluate(ACTIVE)[0]
    outlines = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
    assert outlines == "solid"
    seen = []
    while page.evaluate(ACTIVE)[1]:
        page.keyboard.press("Tab")
        seen.append(page.evaluate(ACTIVE)[0])
        assert len(seen) < 30, f"no way out of the widget: {seen}"
    for name in ("Particles", "Name of the selected particle", "Filter", "View"):
        assert name in seen
    assert nb.cells() == cells
    # a help that is open scrolls by keyboard, and Esc leaves it for the picture
    nb.canvas.focus()
    page.keyboard.press("?")
    page.locator(".pnb-help").focus()
    page.keyboard.press("Escape")
    assert not page.locator(".pnb-help").is_visible()
    assert "Micrograph" in page.evaluate(ACTIVE)[0]
