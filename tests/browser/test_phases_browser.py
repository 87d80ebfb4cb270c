"""The phase painter in a real JupyterLab: strokes land where they are aimed, the result is seen."""

from __future__ import annotations

from collections.abc import Callable
from io import BytesIO
from typing import Any

import numpy as np
import pytest
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


@pytest.fixture(scope="module")
def painting(open_notebook: Callable) -> Any:
    notebook = open_notebook("phases.ipynb", [CODE, "1 + 1"], wait=False)
    notebook.page.wait_for_selector(
        "[data-testid=phase-painter][data-state=ready]", timeout=120_000
    )
    notebook.page.locator("[data-testid=phase-painter]").scroll_into_view_if_needed()
    return notebook


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
