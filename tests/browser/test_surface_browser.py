"""The written HTML of figures in a real Chromium: every view button, and picking, by clicks."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import particle_nb as pnb

pytestmark = pytest.mark.browser

#: Where the camera stands seen from the middle: axis and sign of its largest component.
SIDES = {
    "top": ("z", 1),
    "bottom": ("z", -1),
    "front": ("y", -1),
    "left": ("x", -1),
    "right": ("x", 1),
    "cross-section": ("y", -1),
}
STATE = """() => {
  const plot = document.querySelector('.js-plotly-plot'), scene = plot._fullLayout.scene;
  const camera = scene._scene.getCamera();
  return {eye: camera.eye, up: camera.up, y: scene.yaxis.range.slice().sort((a, b) => a - b),
          shown: plot._fullData.map(trace => trace.visible)};
}"""


@pytest.fixture(scope="module")
def page(chromium: Any) -> Iterator[Any]:
    """A page without JupyterLab, which these files do not need."""
    context = chromium.new_context(viewport={"width": 1200, "height": 800})
    page = context.new_page()
    page.wrong = []
    page.on("pageerror", lambda error: page.wrong.append(str(error)))
    page.on(
        "request",
        lambda r: page.wrong.append(r.url) if r.url.startswith(("http:", "https:")) else None,
    )
    yield page
    context.close()


@pytest.fixture(scope="module")
def scene() -> tuple[pnb.Image, pnb.MaskSet, np.ndarray]:
    """Two spheres side by side: image, masks, true heights in nm."""
    first = pnb.synthetic.rough_sphere(400.0, 15.0, 50.0, 8.0, np.random.default_rng(1))
    second = pnb.synthetic.rough_sphere(300.0, 0.0, 50.0, 8.0, np.random.default_rng(2))
    height = np.zeros((140, 240), np.float32)
    labels = np.zeros(height.shape, int)
    for number, (body, row, col) in enumerate(((first, 10, 10), (second, 25, 140)), start=1):
        h, w = body.height.shape
        height[row : row + h, col : col + w][body.mask] = body.height[body.mask]
        labels[row : row + h, col : col + w][body.mask] = number
    grey = np.clip(40 + height / 5, 0, 255).astype(np.uint8)
    image = pnb.Image(grey, pnb.Calibration(8, "nm"), "two spheres")
    return image, pnb.MaskSet.from_labels(labels), height


@pytest.mark.parametrize("kind", ["surface", "point_cloud"])
def test_every_view_button_moves_the_camera_where_it_says(kind, page, scene, tmp_path) -> None:
    image, masks, height = scene
    cloud = pnb.point_cloud(pnb.DepthMap(height), masks[0], image.calibration)
    path = tmp_path / f"{kind}.html"
    getattr(pnb.figures, kind)(cloud, image).write_html(path, include_plotlyjs=True)
    page.wrong.clear()
    page.goto(path.as_uri())
    page.wait_for_selector(".gl-container canvas")
    start = page.evaluate(STATE)
    seen = [start["eye"]]
    for name, (axis, sign) in SIDES.items():
        before = page.screenshot()
        page.locator(".updatemenu-button", has_text=name).click()
        page.wait_for_function(
            f"() => {{ const eye = ({STATE})().eye; "
            f"return {sign} * eye.{axis} > 0.8 && Math.abs(eye.{axis}) > 2 * Math.max("
            f"...['x', 'y', 'z'].filter(a => a !== '{axis}').map(a => Math.abs(eye[a]))); }}"
        )
        page.wait_for_timeout(300)  # the frame after the camera
        state = page.evaluate(STATE)
        assert all(np.abs([state["eye"][a] - old[a] for a in "xyz"]).max() > 0.2 for old in seen)
        seen.append(state["eye"])
        assert page.screenshot() != before, f"{name}: nothing was drawn anew"
        cut = name == "cross-section"
        assert state["shown"] == [True, cut, cut]
        width = state["y"][1] - state["y"][0]
        full = start["y"][1] - start["y"][0]
        assert width == pytest.approx(full * (0.5 if cut else 1), rel=0.05)
    page.locator(".updatemenu-button", has_text="oblique").click()
    page.wait_for_function(f"() => Math.abs(({STATE})().eye.z - 0.72) < 1e-3")
    assert page.evaluate(STATE)["y"] == start["y"], "the part before the cut came back"
    assert not page.wrong


def picked(page: Any) -> tuple[str, list[list[int]]]:
    """What the page says is picked, and which outlines are marked in each picture."""
    return page.evaluate(
        """() => [document.querySelector('.pnb-pick').dataset.picked,
            [...document.querySelectorAll('.pnb-pick svg')].map(svg =>
                [...svg.querySelectorAll('path.on')].map(path => Number(path.dataset.i)))]"""
    )


def test_a_click_picks_the_particle_in_the_micrograph_and_in_its_depth(
    page, scene, tmp_path
) -> None:
    image, masks, height = scene
    table = pnb.measure(masks, image.calibration)
    path = pnb.figures.linked_depth(image, height, masks, table).write_html(tmp_path / "a.html")
    page.wrong.clear()
    page.goto(path.as_uri())
    pictures = page.locator(".pnb-pick svg")
    assert picked(page) == ["", [[], []]]
    for panel, mask, number in ((0, masks[0], 0), (1, masks[1], 1), (0, masks[1], 1)):
        box = pictures.nth(panel).bounding_box()
        x, y = mask.centroid
        spot = {
            "x": (x + 0.5) / image.shape[1] * box["width"],
            "y": (y + 0.5) / image.shape[0] * box["height"],
        }
        pictures.nth(panel).click(position=spot)
        assert picked(page) == [str(number), [[number], [number]]]
        said = page.locator(".pnb-pick .say").inner_text()
        assert f"{table['x_A_nm'][number]:.4g}" in said.replace("\n", " ")
    # alone, and back
    pictures.nth(0).dblclick(position=spot)
    assert page.evaluate("document.querySelector('.pnb-pick svg').getAttribute('viewBox')") != (
        f"-0.5 -0.5 {image.shape[1]} {image.shape[0]}"
    )
    page.keyboard.press("Escape")
    views = page.evaluate(
        "[...document.querySelectorAll('.pnb-pick svg')].map(svg => svg.getAttribute('viewBox'))"
    )
    assert views == [f"-0.5 -0.5 {image.shape[1]} {image.shape[0]}"] * 2
    page.keyboard.press("Tab")
    pictures.nth(0).click(position={"x": 3, "y": 3})
    assert picked(page) == ["", [[], []]]
    # the outline that is marked is the particle's own: its pixels change colour
    page.locator('.pnb-pick svg path[data-i="0"]').first.focus()
    page.keyboard.press("Enter")
    assert picked(page) == ["0", [[0], [0]]]
    assert not page.wrong


LINKED = """
import numpy as np, particle_nb as pnb
y, x = np.mgrid[:90, :160]
domes = [np.sqrt(np.maximum(900 - (x - c) ** 2 - (y - 45) ** 2, 0)) for c in (40, 115)]
masks = pnb.MaskSet.from_labels((domes[0] > 0) + 2 * (domes[1] > 0))
picture = pnb.Image((4 * np.maximum(*domes)).astype(np.uint8))
pnb.figures.linked_depth(picture, np.maximum(*domes).astype(np.float32), masks)
"""


def test_picking_works_in_jupyterlab_too(open_notebook) -> None:
    notebook = open_notebook("linked.ipynb", [LINKED], wait=False)
    page = notebook.page
    page.wait_for_selector(".pnb-pick svg path", timeout=60_000)
    page.locator(".pnb-pick svg").nth(1).locator('path[data-i="1"]').click()
    assert picked(page) == ["1", [[1], [1]]]
    assert "particle" in page.locator(".pnb-pick .say").inner_text()
    assert not notebook.errors
    assert not notebook.strangers
