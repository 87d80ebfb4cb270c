"""Automatic mode of the embedded segmenter against one pass of a ResNet-50 backbone.

    OMP_NUM_THREADS=1 python benchmarks/embedded.py --runs 3

The picture is rendered: 1920 x 1200 px with 260 particles. The backbone (transformers, random
weights, nothing is fetched) sees 800 x 1280, what a Mask R-CNN makes of such a picture. The two
take turns in one process on one thread and are timed in CPU seconds, so neighbours on the machine
slow both alike; the ratio of the medians is the result. `--growth` times pictures of 1 to 12.6 Mpx
and of 260 to 2080 particles; `--memory` runs 12.6 Mpx in a process of its own for its peak.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import subprocess
import sys
import time

import numpy as np
import torch

from particle_nb.core.image import Image
from particle_nb.models import load_model


def picture(height: int, width: int, count: int, seed: int = 0) -> Image:
    """Bright balls with a rim on a dark noisy ground, none upon another, and how many there are."""
    rng = np.random.default_rng(seed)
    grey = np.full((height, width), 60.0)
    taken = np.zeros((height, width), bool)
    radius = 0.28 * np.sqrt(height * width / count)
    made = 0
    for _ in range(400 * count):
        if made == count:
            break
        r = float(radius * np.exp(rng.normal(0, 0.25)))
        x, y = rng.uniform(r + 2, width - r - 2), rng.uniform(r + 2, height - r - 2)
        rows = slice(int(y - r) - 1, int(y + r) + 3)
        columns = slice(int(x - r) - 1, int(x + r) + 3)
        v, u = np.mgrid[rows, columns]
        far = np.hypot(u - x, v - y) / r
        if (taken[rows, columns] & (far < 1.03)).any():
            continue
        taken[rows, columns] |= far < 1
        depth = np.sqrt(np.clip(1 - far**2, 0.02, 1))
        grey[rows, columns][far < 1] = (110 + 25 / depth)[far < 1].clip(max=235)
        made += 1
    if made < count:
        raise SystemExit(f"room for {made} of {count} particles only")
    noisy = grey + rng.normal(0, 5, grey.shape)
    return Image(noisy.clip(0, 255).astype(np.uint8))


def spent(call) -> float:
    """CPU seconds of a call."""
    begin = time.process_time()
    call()
    return time.process_time() - begin


def compare(runs: int) -> dict:
    """Seconds of both, by turns, and the ratio of their medians."""
    from transformers import ResNetConfig, ResNetModel

    backbone = ResNetModel(ResNetConfig()).eval()
    pixels = torch.randn(1, 3, 800, 1280)
    model = load_model("embedded", "segmenter", "cpu")
    image = picture(1200, 1920, 260)

    def once() -> None:
        with torch.inference_mode():
            backbone(pixels)

    found = len(model.generate(image))
    once()
    ours, theirs = [], []
    for _ in range(runs):
        theirs.append(spent(once))
        ours.append(spent(lambda: model.generate(image)))
    return {
        "found": found,
        "automatic_s": [round(t, 2) for t in ours],
        "backbone_s": [round(t, 2) for t in theirs],
        "passes": round(statistics.median(ours) / statistics.median(theirs), 2),
    }


def growth() -> list[dict]:
    """CPU seconds over pixels at one particle density, and over particles at 2.3 Mpx."""
    model = load_model("embedded", "segmenter", "cpu")
    rows = []
    sizes = [(768, 1280, 110), (1200, 1920, 260), (1600, 2560, 463), (3072, 4096, 1420)]
    for height, width, count in [*sizes, (1200, 1920, 1040), (1200, 1920, 2080)]:
        image = picture(height, width, count)
        begin = time.process_time()
        found = len(model.generate(image))
        row = {"mpx": round(height * width / 1e6, 2), "particles": count, "found": found}
        rows.append(row | {"cpu_s": round(time.process_time() - begin, 2)})
    return rows


def memory() -> dict:
    """Peak memory of a process that runs the automatic mode on 12.6 Mpx."""
    model = load_model("embedded", "segmenter", "cpu")
    found = len(model.generate(picture(3072, 4096, 1420)))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {"found": found, "peak_mb": round(peak)}


def main() -> None:
    """Parse the command line and print JSON lines."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--growth", action="store_true")
    parser.add_argument("--memory", action="store_true")
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    torch.set_num_threads(1)
    if args.child:
        print(json.dumps(memory()))
        return
    if args.memory:
        subprocess.run([sys.executable, __file__, "--child"], check=True)
    elif args.growth:
        for row in growth():
            print(json.dumps(row), flush=True)
    else:
        print(json.dumps(compare(args.runs)))


if __name__ == "__main__":
    main()
