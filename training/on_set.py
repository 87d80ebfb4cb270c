"""Train a UNet++ on a synthetic training set alone, and score it on real micrographs.

    python -m training.on_set SET --data EMPS [--count 200] [--steps 1500] [--every 10]

SET is a folder of `pnb.training_set`. EMPS holds ``images/NAME.png`` and ``labels/NAME.png``; none
of it is trained on. Beside the network stands the classical segmenter, which needs no training.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import tifffile
from PIL import Image as Picture

import particle_nb as pnb
from particle_nb.core.matching import pool, score


def lessons(folder: Path, count: int, kind: str = "scene") -> Iterator[tuple[np.ndarray, ...]]:
    """Yield picture and labels, (H, W) each, of the first images of a kind, detector by detector.

    Of a composite, sections of particles are marked; powders are what EMPS shows.
    """
    document = json.loads((folder / "annotations.json").read_text(encoding="utf-8"))
    for entry in [one for one in document["images"] if kind in (one["kind"], "all")][:count]:
        labels = tifffile.imread(folder / f"labels/{entry['id']:05d}.tif").astype(np.int64)
        if not labels.any():
            continue
        for name in entry["detectors"].values():
            yield np.asarray(Picture.open(folder / name)), labels


def scored(session: pnb.Session, data: Path, every: int) -> dict[str, float]:
    """F1 at IoU 0.5 and AJI, means over images and pooled."""
    scores = []
    for path in sorted((data / "images").glob("*.png"))[::every]:
        truth = np.asarray(Picture.open(data / "labels" / path.name)).astype(np.int64)
        image = pnb.read_image(path, crop_bar=False)
        scores.append(score(session.propose(image, progress=False), truth))
    pooled = pool(scores)
    return {
        "images": len(scores),
        "mean F1": round(float(np.nanmean([one.f1 for one in scores])), 3),
        "mean AJI": round(float(np.nanmean([one.aji for one in scores])), 3),
        "pooled F1": round(float(pooled.f1), 3),
    }


def main(argv: list[str] | None = None) -> None:
    """Train, save beside the set, print scores."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("set", type=Path)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--count", type=int, default=200)
    parser.add_argument("--kind", choices=("scene", "composite", "all"), default="scene")
    parser.add_argument("--steps", type=int, default=1500)
    parser.add_argument("--every", type=int, default=10)
    parser.add_argument("--out", type=Path, default=Path("on_set.safetensors"))
    given = parser.parse_args(argv)
    pairs = list(lessons(given.set, given.count, given.kind))
    settings = pnb.UnetSettings(steps=given.steps)
    net = pnb.train_unet([a for a, _ in pairs], [b for _, b in pairs], settings=settings)
    net.save(given.out)
    for name, session in (
        ("trained on the set alone", pnb.Session(segmenter=net, cache_bytes=0)),
        ("classical", pnb.Session(segmenter="classical", cache_bytes=0)),
    ):
        sys.stdout.write(f"{name}: {scored(session, given.data, given.every)}\n")


if __name__ == "__main__":
    main()
