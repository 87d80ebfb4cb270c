"""Make the short recording of the annotator that README shows, from a real JupyterLab.

Run it from the root of the repository: ``python docs/tools/recording.py``, with another path for
the GIF where one is named. It needs what `docs/tools/pictures.py` needs.

A rendered powder, found by the automatic mode; the six particles that were taken out again are
clicked, each click answered by the embedded model, and the numbers follow.
"""

from __future__ import annotations

import io
import sys
from pathlib import Path
from typing import Any

from pictures import PICTURES, harnessed
from PIL import Image as PillowImage
from PIL import ImageDraw

SETUP = """
import numpy as np
import particle_nb as pnb
scene = pnb.synthetic.scene(pnb.synthetic.preset("metal powder"), 4)
image = scene.image
session = pnb.Session()
masks, _ = pnb.cascade(session.propose(image, progress=False), image)
order = np.argsort([-m.area for m in masks])
taken = [i for i in order.tolist() if not masks[i].touches_edge][:6]
kept = [i for i in range(len(masks)) if i not in taken]
editor = pnb.Annotator(session, image, masks[kept], autosave=False)
spots = [masks[i].centroid for i in taken]
editor
"""
SIZE = (860, 640)
COLOURS = 96


class Recording:
    """Frames of the cell with the pointer drawn in, each shown for some time."""

    def __init__(self, notebook: Any) -> None:
        self.notebook, self.page = notebook, notebook.page
        self.cell = self.page.locator(".jp-OutputArea-output:has(.pnb)").first
        self.frames: list[PillowImage.Image] = []
        self.times: list[int] = []

    def take(self, milliseconds: int, spot: tuple[float, float] | None = None) -> None:
        """Take a frame; `spot` is where the pointer stands, on the page."""
        box = self.cell.bounding_box()
        frame = PillowImage.open(io.BytesIO(self.cell.screenshot())).convert("RGB")
        if spot is not None:
            x, y = spot[0] - box["x"], spot[1] - box["y"]
            arrow = [(x, y), (x, y + 17), (x + 4.5, y + 13), (x + 12, y + 12)]
            ImageDraw.Draw(frame).polygon(arrow, fill="black", outline="white")
        frame.thumbnail(SIZE)
        self.frames.append(frame)
        self.times.append(milliseconds)

    def write(self, path: Path) -> None:
        """Write the GIF, all frames in the colours of the last."""
        palette = self.frames[-1].quantize(COLOURS)
        frames = [frame.quantize(palette=palette, dither=0) for frame in self.frames]
        frames[0].save(
            path,
            save_all=True,
            append_images=frames[1:],
            duration=self.times,
            loop=0,
            optimize=True,
        )


def main(arguments: list[str]) -> int:
    """Record, into another file where one is named."""
    path = Path(arguments[0]) if arguments else PICTURES / "annotator.gif"
    with harnessed() as open_notebook:
        notebook = open_notebook("recording.ipynb", [SETUP])
        page = notebook.page
        page.set_viewport_size({"width": 1240, "height": 980})
        page.wait_for_timeout(1500)
        recording = Recording(notebook)
        recording.take(1500)
        for x, y in notebook.python("[tuple(map(float, s)) for s in spots]"):
            spot = notebook.spot(x, y)
            page.mouse.move(*spot)
            page.wait_for_timeout(900)
            recording.take(700, spot)
            notebook.click(x, y)
            page.wait_for_timeout(1200)
            recording.take(700, spot)
            page.keyboard.press("Enter")
            page.wait_for_timeout(900)
        recording.take(900, spot)
        recording.take(1800)
        recording.write(path)
    print(f"{path}: {len(recording.frames)} frames, {path.stat().st_size / 1e6:.2f} MB")
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
