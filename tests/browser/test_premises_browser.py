"""Scale from a bar and regions, drawn in a real JupyterLab."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

pytestmark = pytest.mark.browser

#: twelve squares of 40 px above a band with a bar of 100 px, columns 60 to 159
BAR = """
import numpy as np
from fake_session import FakeSession, squares
from particle_nb.core.image import Image
from particle_nb.widgets.annotator import Annotator
above = squares(3, 4)
pixels = np.vstack([above.pixels, np.full((40, above.shape[1]), 30, np.uint8)])
pixels[232:236, 60:160] = 255
image = Image(pixels, name="bar")
proposals = FakeSession().propose(above)
from particle_nb.core.masks import Mask, MaskSet
bar = Mask((232, 60), np.ones((4, 100), bool), image.shape)
masks = MaskSet((*(Mask(m.origin, m.crop, image.shape) for m in proposals), bar))
editor = Annotator(FakeSession(), image, masks, autosave=False)
editor
"""

#: the same picture as a file whose band `read_image` cuts off
CUT = """
import numpy as np
from PIL import Image as PillowImage
from fake_session import FakeSession, squares
from particle_nb import read_image
from particle_nb.widgets.annotator import Annotator
above = squares(3, 4)
pixels = np.vstack([above.pixels, np.full((40, above.shape[1]), 0, np.uint8)])
pixels[232:236, 60:160] = 255
PillowImage.fromarray(pixels).save("cut.png")
editor = Annotator(FakeSession(), read_image("cut.png", crop_bar=40), autosave=False)
editor
"""


def test_the_scale_from_a_bar_that_is_drawn_along(bench: Any, clean: Callable) -> None:
    from playwright.sync_api import expect

    nb = clean(bench)
    nb.show(BAR)
    page, cells = nb.page, nb.cells()
    ask = page.get_by_role("group", name="Scale")
    nb.canvas.focus()
    page.keyboard.press("z")
    ask.wait_for(state="visible")
    # the bar is found; nothing is printed at it
    expect(ask).to_contain_text("bar of 100.0 px found", timeout=60_000)
    # a little oblique and too long: it becomes horizontal, and its ends lie on the bar's
    nb.drag([(57, 234), (110, 235), (163, 236)])
    assert "100.0 px" in ask.inner_text()
    length = page.get_by_label("Length of the bar, with its unit")
    assert length.evaluate("node => node === document.activeElement")
    length.fill("200")
    length.press("Enter")
    page.locator(".pnb-error").wait_for(state="visible")
    assert "a number and a unit" in page.locator(".pnb-error").inner_text()
    length.fill("200 nm")
    nb.settled(lambda: length.press("Enter"))
    assert nb.python("str(editor.image.calibration)") == (
        "2 nm/px (bar drawn by hand: 100.0 px = 200 nm)"
    )
    assert nb.attribute("scale-bar").endswith("nm")
    assert "nm" in page.locator(".pnb-numbers").inner_text()
    assert "Now: 2 nm/px" in ask.inner_text()
    assert nb.python("'x_A_nm' in editor.table")
    nb.canvas.focus()
    nb.settled(lambda: page.keyboard.press("Control+z"))
    assert nb.python("editor.image.calibration") is None
    assert nb.attribute("scale-bar").endswith("px")
    assert nb.cells() == cells


def test_a_bar_in_an_info_bar_that_was_left_out_is_proposed(bench: Any, clean: Callable) -> None:
    from playwright.sync_api import expect

    nb = clean(bench)
    nb.show(CUT)
    page, ask = nb.page, nb.page.get_by_role("group", name="Scale")
    assert nb.python("editor.image.shape") == (216, 280), "the info bar is not in the picture"
    nb.canvas.focus()
    page.keyboard.press("z")
    ask.wait_for(state="visible")
    ask.get_by_text("In the info bar below the picture").wait_for()
    expect(ask).to_contain_text("bar of 100.0 px found", timeout=60_000)
    assert nb.python("editor.image.calibration") is None, "a proposal only"
    length = page.get_by_label("Length of the bar, with its unit")
    length.fill("2 um")
    nb.settled(lambda: length.press("Enter"))
    assert nb.python("str(editor.image.calibration)") == (
        "0.02 um/px (scale bar found in the info bar and confirmed: 100.0 px = 2 um)"
    )
    assert nb.python("editor.region is None or editor.region.share == 1")
    nb.canvas.focus()
    nb.settled(lambda: page.keyboard.press("Control+z"))
    page.keyboard.press("s")


def test_regions_are_drawn_and_kept_to(bench: Any, clean: Callable) -> None:
    nb = clean(bench)
    nb.show(BAR)
    page, cells = nb.page, nb.cells()
    nb.canvas.focus()
    page.keyboard.press("i")
    ask = page.get_by_role("group", name="Region")
    assert "100.0 %" in ask.inner_text()
    # the bar is left out
    page.keyboard.press("t")
    nb.settled(lambda: nb.drag([(40, 225), (120, 240), (180, 245)]))
    assert nb.python("[n for n, p in editor.state.particles.items() if not p.kept]") == [13]
    share = nb.python("editor.region.share")
    assert f"{100 * share:.1f} %" in ask.inner_text()
    box, (x, y) = nb.canvas.bounding_box(), nb.spot(100, 234)
    assert 90 < nb.pixels()[round(y - box["y"]), round(x - box["x"])].max() < 160, "it is dark"
    # a polygon that is analysed, by clicks and the keyboard's Enter
    page.keyboard.press("t")
    for spot in ((5, 5), (140, 5), (140, 250), (5, 250)):
        nb.click(*spot)
    nb.settled(lambda: page.keyboard.press("Enter"))
    assert nb.python("[n for n, p in editor.state.particles.items() if p.kept]") == [
        1, 2, 5, 6, 9, 10,
    ]  # fmt: skip
    assert nb.python("editor.region.mask[[230, 250], [50, 20]].tolist()") == [False, True]
    assert nb.attribute("count") == "6"
    nb.settled(lambda: ask.get_by_role("button", name="take the last away").click())
    assert nb.attribute("count") == "12"
    nb.settled(lambda: ask.get_by_role("button", name="all of the image").click())
    assert nb.attribute("count") == "13"
    nb.canvas.focus()
    nb.settled(lambda: page.keyboard.press("Control+z"))
    assert nb.attribute("count") == "12"
    assert nb.cells() == cells
