"""Score a segmenter's automatic mode on a folder of micrographs with label images.

    python benchmarks/segmentation.py DATA [--segmenter classical] [--cascade] [--every N]

DATA holds ``images/NAME.png`` and ``labels/NAME.png`` (0 background, 1..N particles). Prints the
mean over the images of F1 at IoU 0.5 and of AJI, the same pooled over all particles, and seconds
an image.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
from PIL import Image as PILImage

import particle_nb as pnb
from particle_nb.core.matching import pool, score


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("--segmenter", default="classical")
    parser.add_argument("--cascade", action="store_true", help="filter with FilterSettings()")
    parser.add_argument("--every", type=int, default=1, help="only each Nth image")
    given = parser.parse_args()
    session = pnb.Session(segmenter=given.segmenter, cache_bytes=0)
    settings = pnb.FilterSettings(edge="keep")
    scores, seconds = [], 0.0
    for path in sorted((given.data / "images").glob("*.png"))[:: given.every]:
        truth = np.asarray(PILImage.open(given.data / "labels" / path.name)).astype(np.int64)
        image = pnb.read_image(path, crop_bar=False)
        start = time.perf_counter()
        masks = session.propose(image, progress=False)
        if given.cascade:
            masks, _ = pnb.cascade(masks, image, settings)
        seconds += time.perf_counter() - start
        scores.append(score(masks, truth))
    f1 = np.array([one.f1 for one in scores])
    aji = np.array([one.aji for one in scores])
    pooled = pool(scores)
    model = session.segmenter
    print(f"segmenter {model.name} {model.digest}, cascade {'on' if given.cascade else 'off'}")
    print(f"images {len(scores)}, {seconds / len(scores):.2f} s an image")
    print(f"per-image mean F1@0.5 {np.nanmean(f1):.4f}, AJI {np.nanmean(aji):.4f}")
    print(f"pooled F1@0.5 {pooled.f1:.4f}, AJI {pooled.aji:.4f}")


if __name__ == "__main__":
    main()
