"""How many calls and files a value passes on its way: path to image, prompt to mask, mask to table.

    python benchmarks/walk.py

Run it with another checkout on PYTHONPATH to compare. Every walk is done once before it is counted,
so that loading, compiling and caching are not in it. Comprehensions are no calls.
"""

from __future__ import annotations

import itertools
import sys
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np
import tifffile
from skimage import data

import particle_nb as pnb

HOME = Path(pnb.__file__).parent


def calls_of(walk: Callable[[], Any]) -> list[tuple[str, str]]:
    """Calls of functions of the package in their order, by file and name."""
    found: list[tuple[str, str]] = []

    def note(frame: FrameType, event: str, _: Any) -> None:
        path = frame.f_code.co_filename
        inlined = frame.f_code.co_name in ("<listcomp>", "<dictcomp>", "<setcomp>", "<genexpr>")
        if event == "call" and path.startswith(str(HOME)) and not inlined:
            found.append((path.removeprefix(str(HOME)), frame.f_code.co_name))

    walk()
    sys.setprofile(note)
    try:
        walk()
    finally:
        sys.setprofile(None)
    return found


def main() -> None:
    """Print one line a walk."""
    warnings.simplefilter("ignore")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "coins.tif"
        tifffile.imwrite(path, data.coins())
        image = pnb.read_image(path, pixel_size="0.2 mm")
        session = pnb.Session("classical")
        proposals = session.propose(image, progress=False)
        masks, _ = pnb.cascade(proposals, image)
        y, x = np.mgrid[-60:61, -60:61]
        cap = np.sqrt(np.maximum(50.0**2 - x * x - y * y, 0))
        cloud = pnb.point_cloud(
            pnb.DepthMap(cap),
            pnb.Mask.from_full(cap > 0),
            pnb.Calibration(10, "nm"),
            height="hemisphere",
        )
        round_ones = pnb.FilterSettings(min_form_factor=0.5)
        table = pnb.measure(masks, image.calibration)

        def filtered_and_measured() -> None:
            fresh = pnb.MaskSet(tuple(m.replace() for m in proposals), proposals.shape)
            kept, _ = pnb.cascade(fresh, image, round_ones)
            pnb.measure(kept, image.calibration)

        walks: dict[str, Callable[[], Any]] = {
            "path to Image": lambda: pnb.read_image(path, pixel_size="0.2 mm"),
            "Prompt to Mask, cached": lambda: session.predict(
                image, pnb.Prompt(points=((60, 60),))
            ),
            "proposals to cascade": lambda: pnb.cascade(proposals, image),
            "cascade by form, then table": filtered_and_measured,
            "MaskSet to table": lambda: pnb.measure(masks, image.calibration),
            "table to figure": lambda: pnb.figures.psd(pnb.size_distribution(table)),
            "cloud to Roughness": lambda: pnb.roughness(cloud, form="sphere"),
        }
        for name, walk in walks.items():
            found = calls_of(walk)
            files = [file for file, _ in found]
            moves = sum(one != other for one, other in itertools.pairwise(files))
            print(
                f"{name:28s} {len(found):5d} calls of {len(set(found)):3d} functions "
                f"in {len(set(files)):2d} files, from file to file {moves:4d} times"
            )


if __name__ == "__main__":
    main()
