"""A UNet++ with and without weight maps: pixel and Rand scores as in table 1 of Bals and Epple.

    python -m benchmarks.unet --steps 150
    python -m benchmarks.unet --steps 150 --data DIR/emps

Rendered STEM images of touching particles, or parts of EMPS images (SE and TEM mixed). For each
kind of weight map one network is trained on the same patches in the same order. Short runs: they
compare the maps, they are not the networks that hours would give.
"""

from __future__ import annotations

import argparse
import json
import logging
import time
from pathlib import Path

import numpy as np
import torch

from particle_nb.core.image import Image
from particle_nb.core.masks import MaskSet
from particle_nb.core.matching import SegmentationScores, score
from particle_nb.core.synthetic import Detector, Population, SceneSettings, Sizes, scene
from particle_nb.models.unet import UnetSettings, train_unet
from training.segmenter.evaluate import read_folder

log = logging.getLogger("benchmarks.unet")
SIDE = 256
Truth = tuple[Image, MaskSet]


def stem(count: int, first: int = 0) -> list[Truth]:
    """Rendered STEM images: clusters of near-spheres that touch."""
    shape = Population("sphere", sizes=Sizes("lognormal", 26.0, 1.15))
    settings = SceneSettings(
        shape=(SIDE, SIDE),
        pixel_nm=1.0,
        populations=(shape,),
        count=45,
        packing="clusters",
        gap_px=1,
        detectors=(Detector("STEM"),),
    )
    made = [scene(settings, first + number) for number in range(count)]
    return [(one.image, one.masks) for one in made]


def emps(folder: Path, split: str, count: int) -> list[Truth]:
    """The part with the most particles of some images of EMPS."""
    out = []
    for image, masks in read_folder(folder, split):
        if len(masks) < 8 or min(image.shape) < SIDE:
            continue
        labels = masks.to_labels()
        height, width = labels.shape
        top, left = (height - SIDE) // 2, (width - SIDE) // 2
        window = slice(top, top + SIDE), slice(left, left + SIDE)
        part = MaskSet.from_labels(labels[window].astype(np.int64))
        if len(part) >= 5:
            out.append((Image(np.ascontiguousarray(image.grey[window]), name=image.name), part))
        if len(out) == count:
            break
    return out


def pixel_scores(one: SegmentationScores) -> dict[str, float]:
    """Equations 2 to 7 of the paper, and the Rand error."""
    both, false, missed, neither = one.pixel_counts
    return {
        "precision": both / max(both + false, 1),
        "recall": both / max(both + missed, 1),
        "accuracy": (both + neither) / (both + false + missed + neither),
        "iou": both / max(both + false + missed, 1),
        "f1": 2 * both / max(2 * both + false + missed, 1),
        "rand_error": one.rand_error,
    }


def table(name: str, train: list[Truth], test: list[Truth], steps: int) -> list[dict[str, object]]:
    """A row for each kind of weight map."""
    rows: list[dict[str, object]] = []
    for weights in ("none", "distance", "intensity"):
        settings = UnetSettings(steps=steps, minutes=1e4, patch=SIDE // 2)
        begin = time.process_time()
        net = train_unet(
            [image for image, _ in train],
            [masks for _, masks in train],
            weights,
            settings=settings,
            progress=False,
        )
        seconds = time.process_time() - begin
        found = [score(net.generate(image), masks) for image, masks in test]
        row: dict[str, object] = {"set": name, "weights": weights, "cpu_s": round(seconds)}
        parts = [pixel_scores(one) for one in found]
        row |= {key: round(float(np.mean([part[key] for part in parts])), 3) for key in parts[0]}
        row["particle_f1"] = round(float(np.mean([s.f1 for s in found])), 3)
        log.info(json.dumps(row))
        rows.append(row)
    return rows


def main(argv: list[str] | None = None) -> None:
    """Parse the command line, train and score."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--steps", type=int, default=150)
    parser.add_argument("--data", type=Path, help="folder of EMPS; rendered STEM images without")
    args = parser.parse_args(argv)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    torch.set_num_threads(1)
    if args.data:
        train, test = emps(args.data, "train", 10), emps(args.data, "validation", 5)
        table("EMPS", train, test, args.steps)
    else:
        table("STEM, rendered", stem(10), stem(5, 100), args.steps)


if __name__ == "__main__":
    main()
