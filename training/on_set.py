"""Train a network on a synthetic training set alone, and score it on real micrographs.

    python -m training.on_set SET --data EMPS [--count 200] [--steps 1500] [--every 10]
        [--patch 256] [--widths 16 32 64 128] [--threads 1]     a UNet++
    python -m training.on_set SET --pairs FOLDER                pictures for another network:
    python -m training.segmenter.train --data FOLDER ...
    python -m training.segmenter.export CHECKPOINT --out FILE
    python -m training.segmenter.fit_judges --data FOLDER --weights FILE --drawings 0 --scenes 0 ...
    python -m training.on_set SET --data EMPS --model FILE      its scores

SET is a folder of `pnb.training_set`. EMPS holds ``images/NAME.png`` and ``labels/NAME.png``; none
of it is trained on. Beside the network stands the classical segmenter, which needs no training.
Automatic mode: F1 at IoU 0.5 and AJI. Clicks: one in the middle of each particle, at most 20 an
image. Time is CPU seconds of the training.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import tifffile
import torch
from PIL import Image as Picture

import particle_nb as pnb
from particle_nb.core.matching import pool, score
from training.segmenter.evaluate import middle


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


def write_pairs(pairs: Iterable[tuple[np.ndarray, ...]], out: Path) -> int:
    """Write pictures and labels as `training.segmenter.train` reads them; how many there are."""
    for name in ("images", "labels"):
        (out / name).mkdir(parents=True, exist_ok=True)
    count = 0
    for grey, labels in pairs:
        Picture.fromarray(grey).convert("L").save(out / f"images/{count:05d}.png")
        Picture.fromarray(labels.astype(np.uint16)).save(out / f"labels/{count:05d}.png")
        count += 1
    return count


def clicked(
    session: pnb.Session, image: pnb.Image, truth: np.ndarray, most: int = 20
) -> list[float]:
    """IoU of what one click in the middle of each particle gives, first candidate."""
    found = []
    numbers = np.unique(truth[truth > 0])
    for number in numbers[np.linspace(0, len(numbers) - 1, min(most, len(numbers))).astype(int)]:
        own = truth == number
        masks = session.predict(image, pnb.Prompt(points=(middle(own),)))
        mine = masks[0].full() if len(masks) else np.zeros(own.shape, bool)
        found.append(float((mine & own).sum() / (mine | own).sum()))
    return found


def scored(session: pnb.Session, data: Path, every: int) -> dict[str, float]:
    """F1 at IoU 0.5 and AJI, means over images and pooled; mean IoU of one click a particle."""
    scores, clicks = [], []
    for path in sorted((data / "images").glob("*.png"))[::every]:
        truth = np.asarray(Picture.open(data / "labels" / path.name)).astype(np.int64)
        image = pnb.read_image(path, crop_bar=False)
        scores.append(score(session.propose(image, progress=False), truth))
        clicks += clicked(session, image, truth)
    pooled = pool(scores)
    return {
        "images": len(scores),
        "mean F1": round(float(np.nanmean([one.f1 for one in scores])), 3),
        "mean AJI": round(float(np.nanmean([one.aji for one in scores])), 3),
        "pooled F1": round(float(pooled.f1), 3),
        "clicks": len(clicks),
        "mean IoU of a click": round(float(np.mean(clicks)), 3),
        "clicks with IoU 0.5": round(float(np.mean(np.array(clicks) >= 0.5)), 3),
    }


def main(argv: list[str] | None = None) -> None:
    """Train, save beside the set, print scores."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("set", type=Path)
    parser.add_argument("--data", type=Path, help="EMPS")
    parser.add_argument("--pairs", type=Path, help="only write pictures and labels there")
    parser.add_argument("--model", help="only score this segmenter, as Session takes it")
    parser.add_argument("--count", type=int, default=200)
    parser.add_argument("--kind", choices=("scene", "composite", "all"), default="scene")
    parser.add_argument("--steps", type=int, default=1500)
    parser.add_argument("--every", type=int, default=10)
    parser.add_argument("--patch", type=int, default=256)
    parser.add_argument("--widths", type=int, nargs="*", default=(16, 32, 64, 128))
    parser.add_argument("--threads", type=int, default=0, help="of torch; 0 leaves them")
    parser.add_argument("--out", type=Path, default=Path("on_set.safetensors"))
    given = parser.parse_args(argv)
    if (given.pairs is None) == (given.data is None):
        parser.error("give --data to score on, or --pairs to write to")
    if given.threads:
        torch.set_num_threads(given.threads)
    if given.pairs is not None:
        many = write_pairs(lessons(given.set, given.count, given.kind), given.pairs)
        sys.stdout.write(f"{many} pictures\n")
        return
    if given.model:
        session = pnb.Session(segmenter=given.model)
        sys.stdout.write(f"{given.model}: {scored(session, given.data, given.every)}\n")
        return
    pairs = list(lessons(given.set, given.count, given.kind))
    # bounded by steps, not by the clock: a busy machine trains the same network
    settings = pnb.UnetSettings(
        steps=given.steps, patch=given.patch, widths=tuple(given.widths), minutes=1e4
    )
    before = time.process_time()
    net = pnb.train_unet([a for a, _ in pairs], [b for _, b in pairs], settings=settings)
    net.save(given.out)
    spent = time.process_time() - before
    sys.stdout.write(f"{len(pairs)} pictures, {given.steps} steps, {spent:.0f} CPU s\n")
    for name, session in (
        ("trained on the set alone", pnb.Session(segmenter=net)),
        ("classical", pnb.Session(segmenter="classical")),
    ):
        sys.stdout.write(f"{name}: {scored(session, given.data, given.every)}\n")


if __name__ == "__main__":
    main()
