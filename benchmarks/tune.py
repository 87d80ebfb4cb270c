"""What ten corrected images are worth: automatic F1 before and after `session.tune`, by kind.

    python -m benchmarks.tune --kind fibres
    python -m benchmarks.tune --kind alloy --data DIR/super1
    python -m benchmarks.tune --weights tuned.safetensors --forget DIR/emps --every 4

Kinds that the embedded segmenter fails on; ten images of a kind are given with their true masks,
four others are scored. The clock is processor time of one thread, so that a busy machine does not
count: five minutes on two cores are 600 s of it. `--forget` scores validation images of EMPS with
the old and the new weights; what neither may lose is in LEARNING's bars.
"""

from __future__ import annotations

import argparse
import json
import logging
import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image as PilImage
from scipy import ndimage, spatial

from particle_nb.core.image import Image
from particle_nb.core.masks import MaskSet
from particle_nb.models.embedded.segmenter import load
from particle_nb.models.tuning.lessons import Lesson
from particle_nb.models.tuning.running import Outlook, TuneProgress, tune
from particle_nb.models.tuning.scoring import mean_f1, scores_of
from particle_nb.models.tuning.settings import TuneSettings
from particle_nb.models.tuning.tuned import Tuned
from training.segmenter.evaluate import read_folder

log = logging.getLogger("benchmarks.tune")
EDGE = 320
TRAIN, TEST = 10, 4
Drawn = tuple[np.ndarray, np.ndarray]


def _finished(rng: np.random.Generator, image: np.ndarray, blur: float, noise: float) -> np.ndarray:
    image = ndimage.gaussian_filter(image, blur) + noise * rng.standard_normal(image.shape)
    return (255 * image.clip(0, 1)).astype(np.uint8)


def dots(rng: np.random.Generator) -> Drawn:
    """Discs of 5 to 6 px at a pitch of about 1.4 diameters, dark on a grainy film."""
    pitch = 7.5
    places = np.stack(np.meshgrid(*[np.arange(0, EDGE, pitch)] * 2), -1).reshape(-1, 2)
    places = places + rng.uniform(-1.2, 1.2, places.shape)
    places = places[rng.random(len(places)) > 0.15]
    yy, xx = np.mgrid[:EDGE, :EDGE]
    far, index = spatial.cKDTree(places).query(np.stack([xx, yy], -1).reshape(-1, 2))
    radius = rng.uniform(2.4, 3.1, len(places))
    labels = np.where(far < radius[index], index + 1, 0).reshape(EDGE, EDGE).astype(np.int32)
    film = 0.62 + 0.05 * ndimage.gaussian_filter(rng.standard_normal((EDGE, EDGE)), 2) * 7
    image = np.where(labels > 0, film - rng.uniform(0.2, 0.3), film)
    return _finished(rng, image, 0.8, 0.05), labels


def fibres(rng: np.random.Generator) -> Drawn:
    """Long bent fibres of 7 to 11 px that cross; later ones lie on top."""
    labels = np.zeros((EDGE, EDGE), np.int32)
    image = 0.22 + 0.03 * ndimage.gaussian_filter(rng.standard_normal((EDGE, EDGE)), 8) * 25
    yy, xx = np.mgrid[:EDGE, :EDGE].astype(float)
    for number in range(1, 10):
        width, angle = rng.uniform(7, 11), rng.uniform(0, math.pi)
        x, y = rng.uniform(0, EDGE, 2)
        u = (xx - x) * math.cos(angle) + (yy - y) * math.sin(angle)
        v = (yy - y) * math.cos(angle) - (xx - x) * math.sin(angle)
        v = v + rng.normal(0, 0.08) * u * u / EDGE
        here = (np.abs(u) < rng.uniform(90, 220)) & (np.abs(v) < width / 2)
        across = np.sqrt((1 - (2 * v / width) ** 2).clip(0))
        image[here] = (rng.uniform(0.3, 0.42) + 0.3 * (1 - 0.7 * across))[here]
        labels[here] = number
    return _finished(rng, image, 0.8, 0.04), labels


def plates(rng: np.random.Generator) -> Drawn:
    """Overlapping thin plates: only their bright rims tell one from the next."""
    labels = np.zeros((EDGE, EDGE), np.int32)
    image = np.full((EDGE, EDGE), 0.3)
    yy, xx = np.mgrid[:EDGE, :EDGE].astype(float)
    for number in range(1, 46):
        x, y = rng.uniform(0, EDGE, 2)
        corners = int(rng.integers(5, 8))
        reach, turn = rng.uniform(24, 40), rng.uniform(0, math.pi)
        squash = rng.uniform(0.35, 0.8)
        axis = rng.uniform(0, math.pi)
        u = (xx - x) * math.cos(axis) + (yy - y) * math.sin(axis)
        v = ((yy - y) * math.cos(axis) - (xx - x) * math.sin(axis)) / squash
        faces = turn + 2 * math.pi * np.arange(corners) / corners
        depth = np.min([reach - u * math.cos(f) - v * math.sin(f) for f in faces], 0) * squash
        here = depth > 0
        rim = 0.3 * np.exp(-depth / 1.3)
        image[here] = (0.42 + rng.normal(0, 0.02) + rim)[here]
        labels[here] = number
    return _finished(rng, image, 0.9, 0.05), labels


def pores(rng: np.random.Generator) -> Drawn:
    """The holes of a foam: the network was taught that they are none of its business."""
    yy, xx = np.mgrid[:EDGE, :EDGE]
    middles = rng.uniform(-20, EDGE + 20, (170, 2))
    points = np.stack(
        [
            xx + 3 * ndimage.gaussian_filter(rng.standard_normal((EDGE, EDGE)), 8) * 25,
            yy + 3 * ndimage.gaussian_filter(rng.standard_normal((EDGE, EDGE)), 8) * 25,
        ],
        -1,
    )
    near, index = spatial.cKDTree(middles).query(points.reshape(-1, 2), k=2)
    wall = (near[:, 1] - near[:, 0]).reshape(EDGE, EDGE)
    index = index[:, 0].reshape(EDGE, EDGE)
    labels = np.where(wall > 7, index + 1, 0).astype(np.int32)
    shade = 0.28 + 0.12 * np.tanh((wall - 7) / 12)
    texture = 0.05 * ndimage.gaussian_filter(rng.standard_normal((EDGE, EDGE)), 1.5) * 5
    image = np.where(labels > 0, 0.42 - shade, 0.72 - 0.02 * wall) + texture
    return _finished(rng, image, 1.0, 0.04), labels


def soot(rng: np.random.Generator) -> Drawn:
    """Primaries of aggregates that overlap in transmission."""
    labels = np.zeros((EDGE, EDGE), np.int32)
    dark = np.zeros((EDGE, EDGE))
    yy, xx = np.mgrid[:EDGE, :EDGE].astype(float)
    number = 0
    for _ in range(6):
        at = [rng.uniform(40, EDGE - 40, 2)]
        while len(at) < 16:
            angle = rng.uniform(0, 2 * math.pi)
            at.append(at[rng.integers(len(at))] + 19 * np.array([math.cos(angle), math.sin(angle)]))
        for x, y in at:
            radius = rng.uniform(10, 13)
            far = np.hypot(xx - x, yy - y)
            here = far < radius
            number += 1
            dark += np.where(here, 0.09 + 0.012 * np.sqrt((radius**2 - far**2).clip(0)), 0)
            labels[here] = number
    return _finished(rng, 0.85 - dark.clip(0, 0.7), 1.2, 0.05), labels


KINDS: dict[str, Callable[[np.random.Generator], Drawn]] = {
    f.__name__: f for f in (dots, fibres, plates, pores, soot)
}
Truth = tuple[Image, MaskSet]


def truth_of(name: str, grey: np.ndarray, labels: np.ndarray) -> Truth:
    """An image and its masks; slivers that nobody would mark are left out."""
    sizes = np.bincount(labels.ravel())
    kept = np.where(sizes[labels] < 12, 0, labels).astype(np.int64)
    return Image(grey, name=name), MaskSet.from_labels(kept)


def drawn(kind: str) -> list[Truth]:
    """Images of a rendered kind with their truth."""
    out = []
    for number in range(TRAIN + TEST):
        grey, labels = KINDS[kind](np.random.default_rng([number, 9]))
        out.append(truth_of(f"{kind} {number}", grey, labels))
    return out


def alloy(folder: Path) -> list[Truth]:
    """Real images with phase labels (`data/phases/super1`): precipitates as particles."""
    out = []
    for path in sorted((folder / "images").glob("*.png")):
        with PilImage.open(folder / "labels" / path.name) as opened:
            labels, _ = ndimage.label(np.asarray(opened) > 0)
        with PilImage.open(path) as opened:
            out.append(truth_of(path.stem, np.asarray(opened.convert("L")), labels))
    return out


def measured(pairs: list[Truth], seconds: float, out: Path | None) -> tuple[dict[str, Any], Tuned]:
    """Scores of the last images before and after tuning on the first ten."""
    given, rest = pairs[:TRAIN], pairs[TRAIN:]
    tests = [Lesson(image.name or "", image, masks) for image, masks in rest]
    base = load(device="cpu")
    begin = time.process_time()

    def told(progress: TuneProgress) -> None:
        if progress.steps % 25 == 0 or progress.doing != "learning":
            spent = time.process_time() - begin
            log.info("%4.0f s %4d %s %.3f", spent, progress.steps, progress.doing, progress.now)

    outlook = Outlook(seconds / 60.0, told, clock=time.process_time)
    tuned = tune(base, given, TuneSettings(), outlook)
    spent = time.process_time() - begin
    if out is not None:
        tuned.save(out)
    before, after = (scores_of(model, tests) for model in (base, tuned.segmenter))
    return {
        "seconds": round(spent),
        "steps": tuned.about["steps"],
        "kept": tuned.kept,
        "particles": sum(len(masks) for _, masks in given),
        "f1_before": round(mean_f1(before), 3),
        "f1_after": round(mean_f1(after), 3),
        "click_before": round(float(np.mean([row["click"] for row in before])), 3),
        "click_after": round(float(np.mean([row["click"] for row in after])), 3),
        "answered": sum(tuned.segmenter.answers(test.image) for test in tests),
        "notes": tuned.notes,
        "held_out": tuned.scores.reset_index().round(3).to_dict("records"),
    }, tuned


def forgotten(folder: Path, model: str, every: int) -> dict[str, float]:
    """Automatic F1 on every n-th validation image of EMPS with the package's weights and others."""
    chosen = list(read_folder(folder))[::every]
    tests = [Lesson(image.name or "", image, masks) for image, masks in chosen]
    out = {"images": float(len(tests))}
    for name, source in (("before", ""), ("after", model)):
        segmenter = load(source, "cpu")
        out[name] = round(mean_f1(scores_of(segmenter, tests, clicks=False)), 4)
    out["answered by the new weights"] = float(sum(segmenter.answers(t.image) for t in tests))
    return out


def main(argv: list[str] | None = None) -> None:
    """Parse the command line, tune and score."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--kind", choices=[*KINDS, "alloy"], default="fibres")
    parser.add_argument("--data", type=Path, help="folder of the real images, for alloy")
    parser.add_argument("--seconds", type=float, default=600.0, help="processor time")
    parser.add_argument("--weights", type=Path, help="where the tuned weights are saved")
    parser.add_argument("--forget", type=Path, help="folder of EMPS; scores --weights and the old")
    parser.add_argument("--every", type=int, default=4)
    args = parser.parse_args(argv)
    if args.weights is not None and args.weights.suffix != ".safetensors":
        parser.error("--weights is a .safetensors file")  # not after ten minutes of tuning
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    torch.set_num_threads(1)
    if args.forget:
        log.info(json.dumps(forgotten(args.forget, str(args.weights), args.every)))
        return
    pairs = alloy(args.data) if args.kind == "alloy" else drawn(args.kind)
    log.info(json.dumps(measured(pairs, args.seconds, args.weights)[0], indent=1))


if __name__ == "__main__":
    main()
