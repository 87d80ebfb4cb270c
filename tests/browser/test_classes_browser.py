"""Classes and confidence in a real JupyterLab: keys, palette, predicted colours, the queue."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

pytestmark = pytest.mark.browser

SHAPES = """
import numpy as np
from fake_session import FakeSession
from particle_nb.core.image import Image
from particle_nb.core.masks import Mask, MaskSet
from particle_nb.widgets.annotator import Annotator, open_annotation
y, x = np.mgrid[-15:16, -15:16]
masks = []
for i in range(24):
    size = 9 + (i * 7) % 5
    rod = i % 2 == 1
    crop = (abs(y) <= 0.35 * size) & (abs(x) <= size) if rod else np.hypot(x, y) <= size
    place = (40 * (i // 6) + 5, 40 * (i % 6) + 5)
    masks.append(Mask(place, crop, (170, 250), confidence=0.3 if i == 5 else 0.9))
masks = MaskSet(tuple(masks))
noise = np.random.default_rng(0).normal(0, 4, masks.shape)
image = Image((60 + 90 * (masks.to_labels() > 0) + noise).astype(np.uint8), name="shapes")
editor = Annotator(FakeSession(), image, masks, autosave={autosave})
editor
"""
DISC, ROD = "#E69F00", "#56B4E9"


def _centre(nb: Any, number: int) -> tuple[float, float]:
    return tuple(nb.python(f"list(editor.state[{number}].mask.centroid)"))


def _classed(nb: Any, change: Callable[[], None]) -> None:
    """Do something and wait until the predictions that follow are painted."""
    nb.painted(change, "class-seq")


def test_classes_by_keys_and_the_rest_predicted(bench: Any, clean: Callable) -> None:
    nb = clean(bench)
    nb.show(SHAPES.format(autosave="'classes.pnb'"))
    page, cells = nb.page, nb.cells()
    page.locator("summary", has_text="Classes").click()
    page.keyboard.press("1")  # the focus is elsewhere: nothing
    nb.canvas.focus()
    page.keyboard.press("a")
    # the selected, then what lies under the cursor
    nb.click(*_centre(nb, 1))
    nb.wait("selected", 1)
    nb.settled(lambda: page.keyboard.press("1"))
    page.keyboard.press("Escape")
    for number, key in ((2, "2"), (3, "1")):
        page.mouse.move(*nb.spot(*_centre(nb, number)))
        nb.settled(lambda key=key: page.keyboard.press(key))
    page.mouse.move(*nb.spot(*_centre(nb, 4)))
    _classed(nb, lambda: page.keyboard.press("2"))
    page.wait_for_function("() => document.querySelector('.pnb').view.store.told.size === 20")
    assert nb.python("editor.labels") == {0: "class 1", 1: "class 2", 2: "class 1", 3: "class 2"}
    # the palette: names, counts, another name
    rows = page.locator("[data-class]")
    assert rows.count() == 2
    box = page.get_by_label("Name of class 2")
    box.fill("rod")
    nb.settled(lambda: box.press("Enter"))
    page.wait_for_selector("[data-class=rod]")
    assert nb.python("editor.labels[3]") == "rod"
    assert nb.python("editor.classes['class'].tolist().count('class 2')") == 0
    told = nb.python("editor.classes['class'].tolist()")
    wrong = [t for t, i in zip(told, range(24), strict=True) if t == ("class 1", "rod")[1 - i % 2]]
    assert wrong == []
    assert rows.nth(1).locator(".pnb-count").inner_text() == f"2 + {told.count('rod') - 2}"
    # colours: what is named in the colour of its class, what is predicted in a paler one
    page.locator("summary", has_text="View").click()
    page.get_by_label("opacity").fill("1")
    page.wait_for_timeout(50)
    seen = nb.pixels()
    known = next(n for n in range(5, 25) if told[n - 1] == "class 1")
    colours = [_colour(nb, seen, n) for n in (1, 2, known)]
    assert np.abs(np.array(colours) - [(230, 159, 0), (86, 180, 233), (241, 202, 115)]).max() < 12
    assert page.locator(".pnb-legend").inner_text().split() == [
        "class", "1", "rod", "predicted", "unknown", "confidence", "below", "0.50",
    ]  # fmt: skip
    # Q goes to what is least sure, and a key goes on
    page.get_by_label("What Q goes to next").select_option("class")
    nb.canvas.focus()
    page.keyboard.press("q")
    page.wait_for_function("() => document.querySelector('.pnb').dataset.selected !== ''")
    first = int(nb.attribute("selected"))
    assert first > 4
    _classed(nb, lambda: page.keyboard.press("1" if first % 2 else "2"))
    page.wait_for_function(
        "(n) => !['', n].includes(document.querySelector('.pnb').dataset.selected)", arg=str(first)
    )
    assert nb.python("len(editor.labels)") == 5
    nb.settled(lambda: page.keyboard.press("Control+z"))
    assert nb.python("len(editor.labels)") == 4
    assert nb.cells() == cells
    # a reload brings all of it back
    page.evaluate("window.jupyterapp.commands.execute('docmanager:save')")
    assert nb.python("open_annotation('classes.pnb', None, image).labels == editor.labels")


def _colour(nb: Any, seen: np.ndarray, number: int) -> np.ndarray:
    """The colour in the middle of a particle."""
    box = nb.canvas.bounding_box()
    x, y = nb.spot(*_centre(nb, number))
    return seen[round(y - box["y"]), round(x - box["x"])]


def test_uncertain_masks_are_dashed_and_hidden_by_a_threshold(bench: Any, clean: Callable) -> None:
    nb = clean(bench)
    nb.show(SHAPES.format(autosave="False"))
    page = nb.page
    page.locator("summary", has_text="View").click()
    page.get_by_label("fills").uncheck()
    page.locator("summary", has_text="Particles").focus()

    def inked(number: int) -> int:
        r0, c0, r1, c1 = nb.python(f"list(editor.state[{number}].mask.bbox)")
        (x0, y0), (x1, y1) = nb.spot(c0 - 2, r0 - 2), nb.spot(c1 + 2, r1 + 2)
        box, seen = nb.canvas.bounding_box(), nb.pixels().astype(int)
        part = seen[
            round(y0 - box["y"]) : round(y1 - box["y"]), round(x0 - box["x"]) : round(x1 - box["x"])
        ]
        return int((np.ptp(part, axis=2) > 60).sum())

    # 6 and 16 are rods of one size
    assert nb.python("editor.state[6].mask.area == editor.state[16].mask.area")
    assert inked(6) < 0.8 * inked(16)
    assert "confidence below 0.50" in page.locator(".pnb-legend").inner_text()
    page.get_by_label("certain from").fill("0.2")
    page.wait_for_timeout(50)
    assert inked(6) > 0.85 * inked(16)
    assert not page.locator(".pnb-legend").is_visible()
    nb.canvas.focus()
    page.keyboard.press("q")
    nb.wait("selected", 6)
    page.locator("summary", has_text="Filter").click()
    slider = page.locator("input[data-filter=min_confidence]")
    slider.focus()
    nb.settled(lambda: slider.fill("0.5"))
    assert nb.python("[n for n, p in editor.state.particles.items() if not p.kept]") == [6]
