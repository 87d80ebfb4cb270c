"""The gallery in a real JupyterLab: open by click and by keys, count, next, reload."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest

pytestmark = pytest.mark.browser

SHOW = """
import particle_nb as pnb
from fake_session import Proposing
gallery = pnb.Gallery(Proposing(), "gallery_images", pixel_size="5 nm"); gallery
"""
GRID = "[data-testid=gallery]"
WAIT = 60_000  # milliseconds
READY = "[data-testid=prompt-canvas][data-state=ready] canvas.pnb-top"


def _images(folder: Path) -> None:
    folder.mkdir()
    for k in range(5):
        pixels = np.full((160, 200), 30 + 5 * k, np.uint8)
        for n in range(4):
            pixels[20 + 70 * (n // 2) :, 20 + 80 * (n % 2) :][: 20 + 4 * k, : 20 + 4 * k] = 220
        PIL.Image.fromarray(pixels).save(folder / f"{k}.png")


def test_a_folder_is_worked_through_in_one_cell(
    lab: Any, open_notebook: Callable, clean: Callable
) -> None:
    from playwright.sync_api import expect

    _images(lab.folder / "gallery_images")
    nb = clean(open_notebook("gallery.ipynb", [SHOW], wait=False))
    page = nb.page
    grid = page.locator(GRID)
    expect(grid).to_have_attribute("data-state", "ready", timeout=2 * WAIT)
    cards = grid.locator(".pnb-gallery-card")
    expect(cards).to_have_count(5, timeout=WAIT)
    expect(grid).to_contain_text("5 new", timeout=WAIT)
    page.wait_for_function(
        "() => [...document.querySelectorAll('.pnb-gallery-picture')]"
        ".every((picture) => picture.naturalWidth > 100)"
    )
    # by the mouse
    cards.nth(0).click()
    expect(page.locator(READY)).to_have_count(1, timeout=WAIT)
    expect(cards.nth(0)).to_contain_text("4 particles, D50 113 nm", timeout=WAIT)
    expect(grid).to_contain_text("D50 113 nm", timeout=WAIT)
    # the next one by a key, from within the annotator
    page.locator(READY).focus()
    page.keyboard.press("Alt+ArrowDown")
    expect(grid).to_have_attribute("data-open", "1", timeout=WAIT)
    expect(page.locator(READY)).to_have_count(1, timeout=WAIT)
    expect(cards.nth(1)).to_contain_text("proposed", timeout=WAIT)
    assert nb.python("gallery.editor.image.name") == "1"
    # a correction is news in the grid, and no cell was touched
    nb.python("gallery.editor.do('delete', ids=[1])")
    expect(cards.nth(1)).to_contain_text("3 particles", timeout=WAIT)
    expect(cards.nth(1)).to_contain_text("corrected", timeout=WAIT)
    assert nb.cells() == 1
    # by the keyboard alone
    cards.nth(1).focus()
    page.keyboard.press("End")
    page.keyboard.press("Enter")
    expect(grid).to_have_attribute("data-open", "4", timeout=WAIT)
    expect(grid).to_contain_text("11 whole particles of 3 images", timeout=WAIT)
    assert nb.python("gallery.distribution().n") == 11
    page.keyboard.press("Alt+ArrowDown")
    expect(grid.get_by_role("alert")).to_have_text("There is no further image.", timeout=WAIT)
    grid.locator("select").select_option("corrected")
    expect(cards).to_have_count(1, timeout=WAIT)
    # the most doubtful of those that nobody worked on: masks are proposed for the next ones
    grid.locator("select").select_option("all")
    expect(cards).to_have_count(5, timeout=WAIT)
    page.locator(READY).focus()
    page.keyboard.press("Alt+Shift+ArrowDown")
    expect(grid).to_contain_text("4 proposed, 1 corrected", timeout=WAIT)
    expect(grid).to_have_attribute("aria-busy", "false", timeout=WAIT)
    assert nb.python("gallery.editor.image.name") == "0"
    # run again, everything is as it was
    nb.run_all()
    expect(grid).to_contain_text("4 proposed, 1 corrected", timeout=WAIT)


def test_images_opened_faster_than_the_page_builds_them(
    lab: Any, open_notebook: Callable, clean: Callable
) -> None:
    from playwright.sync_api import expect

    _images(lab.folder / "gallery_haste")
    code = SHOW.replace("gallery_images", "gallery_haste")
    nb = clean(open_notebook("haste.ipynb", [code], wait=False))
    expect(nb.page.locator(GRID)).to_have_attribute("data-state", "ready", timeout=2 * WAIT)
    widgets = "len(__import__('ipywidgets').widgets.widget._instances)"
    nb.python("gallery.open(0) is None")
    expect(nb.page.locator(READY)).to_have_count(1, timeout=WAIT)
    one = nb.python(widgets)
    for last in (4, 2):
        nb.python(f"[gallery.open(k) is None for k in (0, 1, 2, 3, {last})]")
        expect(nb.page.locator(GRID)).to_have_attribute("data-open", str(last), timeout=WAIT)
        expect(nb.page.locator(READY)).to_have_count(1, timeout=WAIT)
    deadline = time.monotonic() + 60
    while (now := nb.python(widgets)) > one and time.monotonic() < deadline:
        nb.page.wait_for_timeout(200)
    assert now == one  # all that was left is closed
    nb.page.wait_for_timeout(2500)  # anywidget says after 2 s that a module was not loaded
