"""From a label to the colours of 500 particles in JupyterLab and Chromium, and where time goes.

    python benchmarks/label_to_colours.py [--particles 500] [--labels 16] [--features embedded]

Labels discs and rods in turn by key, with cached features, and prints for each label (the first
one waits for the features): wall time from the key to the painted colours; processor time of the
kernel and of the page's main thread, with what the measurement itself asks of them; the kernel's
part in fitting and predicting. On a machine that is shared the wall time says what else ran;
processor time says what the toolkit costs.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
SETUP = """
import os
# further threads of a linear algebra library spin where other processes hold the cores
os.environ["OMP_NUM_THREADS"] = "1"
import time
import numpy as np
import particle_nb as pnb
from particle_nb.core.annotation.guesses import Guesser

rng = np.random.default_rng(0)
count, side = {count}, int(np.ceil(np.sqrt({count})))
y, x = np.mgrid[-15:16, -15:16]
masks = []
for i in range(count):
    size = rng.uniform(8, 14)
    crop = (abs(y) <= 0.3 * size) & (abs(x) <= size) if i % 2 else np.hypot(x, y) <= size
    place = 34 * (i // side) + 1, 34 * (i % side) + 1
    masks.append(pnb.Mask(place, crop, (34 * side, 34 * side)))
masks = pnb.MaskSet(tuple(masks))
grey = 60 + 100 * (masks.to_labels() > 0) + rng.normal(0, 4, masks.shape)
session = pnb.Session(features="{features}")
image = pnb.Image(grey.clip(0, 255).astype(np.uint8))
editor = pnb.Annotator(session, image, masks, autosave=False)
costs = []
whole = Guesser.guess


def guess(self, particles):
    began = time.process_time()
    found = whole(self, particles)
    costs.append(time.process_time() - began)
    return found


Guesser.guess = guess
editor
"""


def page_seconds(session: Any) -> float:
    """Processor seconds that the page's main thread has been busy."""
    found = session.send("Performance.getMetrics")["metrics"]
    return float(next(m["value"] for m in found if m["name"] == "TaskDuration"))


def label(nb: Any, session: Any, number: int, key: str) -> dict[str, float]:
    """Give one particle a class by key; milliseconds of what that took."""
    nb.page.mouse.move(*nb.spot(*nb.python(f"list(editor.state[{number}].mask.centroid)")))
    nb.page.wait_for_timeout(300)
    fits = nb.python("len(costs)")
    kernel, page = nb.python("time.process_time()"), page_seconds(session)
    began = time.perf_counter()
    nb.painted(lambda: nb.page.keyboard.press(key), "class-seq")
    wall = time.perf_counter() - began
    nb.page.wait_for_timeout(100)
    after, fitted = nb.python("time.process_time()"), nb.python(f"sum(costs[{fits}:])")
    found = {
        "wall": wall,
        "kernel": after - kernel,
        "of it fit and predict": fitted,
        "page": page_seconds(session) - page,
    }
    return {name: 1000 * value for name, value in found.items()}


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--particles", type=int, default=500)
    parser.add_argument("--labels", type=int, default=16)
    parser.add_argument("--features", default="embedded")
    given = parser.parse_args(arguments)
    sys.path[:0] = [str(ROOT / "docs" / "tools"), str(ROOT / "tests"), str(ROOT / "tests/browser")]
    from pictures import harnessed

    with harnessed() as open_notebook:
        nb = open_notebook(
            "labels.ipynb", [SETUP.format(count=given.particles, features=given.features)]
        )
        session = nb.page.context.new_cdp_session(nb.page)
        # processor time of the page, not time on the clock
        session.send("Performance.enable", {"timeDomain": "threadTicks"})
        nb.canvas.focus()
        rows = []
        for number in range(1, given.labels + 1):
            rows.append(label(nb, session, number, "12"[(number - 1) % 2]))
            # the numbers of the particles are worked out after the first label, and cached
            nb.page.wait_for_function(
                "() => !document.querySelector('.pnb').view.store.classing.waiting", timeout=0
            )
            told = nb.python("0 if not costs else int((editor.classes['label'] == '').sum())")
            print(number, told, {name: round(value) for name, value in rows[-1].items()})
    for row in rows:
        row["kernel and page"] = row["kernel"] + row["page"]
    # from 5 labels a class on the rows without a label are looked at as well
    parts = {"first prediction": rows[3:4], "2 to 4 a class": rows[4:9], "from 5 on": rows[9:]}
    for name in rows[0]:
        medians = (
            f"{part} {statistics.median(row[name] for row in some):.0f}"
            for part, some in parts.items()
            if some
        )
        print(f"{name} / ms: {', '.join(medians)}")


if __name__ == "__main__":
    main()
