"""Make the pictures of the annotator anew, light and dark, from a real JupyterLab.

Run it from the root of the repository: ``python docs/tools/pictures.py``. With a folder as argument
the pictures go there, and more of them: with tools in use, and narrow. It needs JupyterLab,
playwright and Chromium, as the browser tests do, and takes their harness.
"""

from __future__ import annotations

import contextlib
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from PIL import Image as PillowImage

ROOT = Path(__file__).parent.parent.parent
PICTURES = ROOT / "docs" / "pictures"
CELL = """
import numpy as np
import particle_nb as pnb
rng = np.random.default_rng(3)
shape, placed, kinds, height = (560, 760), [], [], np.zeros((560, 760))
rows, cols = np.mgrid[-40:41, -40:41]
for i in range(600):
    turn, size, rod = rng.uniform(0, np.pi), rng.uniform(13, 24), rng.random() < 0.5
    c0, s0 = np.cos(turn), np.sin(turn)
    along, across = c0 * cols + s0 * rows, c0 * rows - s0 * cols
    far = np.hypot(rows, cols) / size
    if rod:
        far = np.hypot(np.maximum(abs(along) - size, 0), across) / 9
    r, c = rng.integers(0, shape[0] - 81), rng.integers(0, shape[1] - 81)
    part = height[r : r + 81, c : c + 81]
    if (part[far < 1.25] > 0).any() or len(placed) == 60:
        continue
    part[far < 1] = np.sqrt(1 - far[far < 1] ** 2)
    sure = float(rng.uniform(0.35, 1))
    placed.append(pnb.Mask((int(r), int(c)), far < 1, shape, confidence=sure))
    kinds.append("rod" if rod else "sphere")
grey = 70 + 130 * height + rng.normal(0, 9, shape)
image = pnb.Image(grey.clip(0, 255).astype(np.uint8), pnb.Calibration(4, "nm"), "particles.tif")
editor = pnb.Annotator(None, image, pnb.MaskSet(tuple(placed)), autosave=False)
editor.do("classes", names=["sphere", "rod"])
for name in ("sphere", "rod"):
    ids = [n for n, kind in enumerate(kinds, 1) if kind == name][:8]
    editor.do("classify", ids=ids, label=name)
editor
"""
READY = "[data-testid=prompt-canvas][data-state=ready]"


def opened(open_notebook: Any) -> Any:
    """Open the annotator with classes predicted; returns its page."""
    page = open_notebook("annotator.ipynb", [CELL]).page
    page.wait_for_function(
        "() => document.querySelector('.pnb').view.store.told.size > 0", timeout=180_000
    )
    page.locator("summary", has_text="Classes").click()
    page.locator(READY).evaluate("node => node.view.appearance.colourBy('class')")
    return page


def shot(page: Any, theme: str, path: Path, width: int = 1400) -> None:
    """Write a picture of the cell, as wide as a window of `width` CSS pixels lets it be."""
    page.set_viewport_size({"width": width, "height": 1050})
    page.evaluate(
        "theme => window.jupyterapp.commands.execute('apputils:change-theme', {theme})", theme
    )
    light = str("Dark" not in theme).lower()
    page.wait_for_selector(f"body[data-jp-theme-light={light}]", state="attached")
    page.wait_for_timeout(1500)  # the canvas follows the size of its cell
    page.locator(".jp-OutputArea-output:has(.pnb)").first.screenshot(path=str(path))
    # 256 colours are enough for it, and a third of the bytes
    PillowImage.open(path).convert("RGB").quantize(256).save(path, optimize=True)


@contextlib.contextmanager
def harnessed() -> Iterator[Any]:
    """What opens a notebook in a JupyterLab of its own, as the browser tests do."""
    sys.path[:0] = [str(ROOT), str(ROOT / "tests"), str(ROOT / "tests" / "browser")]
    import conftest as harness

    class Folders:
        """What the harness asks pytest for."""

        def mktemp(self, name: str) -> Path:
            return Path(tempfile.mkdtemp(prefix=name))

    labs = harness.lab.__wrapped__(Folders())
    browsers = harness.chromium.__wrapped__()
    pages = harness.open_notebook.__wrapped__(next(labs), next(browsers))
    try:
        yield next(pages)
    finally:
        for fixture in (pages, browsers, labs):
            next(fixture, None)


def main(arguments: list[str]) -> int:
    """Write the pictures, into another folder where one is named."""
    with harnessed() as open_notebook:
        draw(opened(open_notebook), arguments)
    return 0


def draw(page: Any, arguments: list[str]) -> None:
    """Write the pictures of an open annotator."""
    out = Path(arguments[0]) if arguments else PICTURES
    shot(page, "JupyterLab Light", out / "annotator.png")
    shot(page, "JupyterLab Dark", out / "annotator-dark.png")
    if arguments:  # looked at, not shown in the documentation
        for tool in "iz":
            page.locator("canvas.pnb-top").focus()
            page.keyboard.press(tool)
            shot(page, "JupyterLab Light", out / f"annotator-{tool}.png")
        shot(page, "JupyterLab Dark", out / "annotator-narrow.png", 620)


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
