"""What network maps add to filters: mIoU of phases from strokes on 0.12 % of an image.

    python -m benchmarks.phases --data DIR/super1 --session embedded

DIR holds images/<name>.png and labels/<name>.png. Each draw paints strokes on one image: short
lines within regions of one phase, as many pixels of each. Scored are the pixels of that image that
were not painted and those of another one. "weka" is the usual way: one random forest on the
filters, its votes as they are; "filters" is this package without a network, "both" with the maps of
the session's feature model.
"""

from __future__ import annotations

import argparse
import json
import logging
from pathlib import Path

import numpy as np
import torch
from PIL import Image as PilImage
from scipy import ndimage

import particle_nb as pnb

log = logging.getLogger("benchmarks.phases")
WAYS = {
    "weka": ("filters", pnb.PhaseSettings(linear=False, smooth=0)),
    "filters": ("filters", pnb.PhaseSettings()),
    "both": ("both", pnb.PhaseSettings()),
}


def strokes(labels: np.ndarray, share: float, rng: np.random.Generator) -> np.ndarray:
    """Strokes (H, W), -1 where nothing is painted: lines of 1 px width and up to 24 px length."""
    out = np.full(labels.shape, -1)
    phases = [int(p) for p in np.unique(labels)]
    wanted = int(share * labels.size / len(phases))
    for phase in phases:
        inside = ndimage.binary_erosion(labels == phase, iterations=1)
        places = np.argwhere(inside if inside.sum() > 3 * wanted else labels == phase)
        painted = 0
        while painted < wanted:
            row, column = places[rng.integers(len(places))]
            angle, length = rng.uniform(0, np.pi), int(rng.integers(8, 25))
            steps = np.arange(length)
            rows = np.round(row + steps * np.sin(angle)).astype(int)
            columns = np.round(column + steps * np.cos(angle)).astype(int)
            there = (rows < labels.shape[0]) & (columns >= 0) & (columns < labels.shape[1])
            rows, columns = rows[there], columns[there]
            same = np.cumprod(labels[rows, columns] == phase).astype(bool)  # up to the edge
            rows, columns = rows[same][: wanted - painted], columns[same][: wanted - painted]
            painted += int((out[rows, columns] < 0).sum())
            out[rows, columns] = phase
    return out


def mean_iou(found: np.ndarray, truth: np.ndarray, scored: np.ndarray) -> float:
    """Mean over the phases of the truth of the IoU, within `scored` pixels."""
    ious = []
    for phase in np.unique(truth[scored]):
        one, other = (found == phase) & scored, (truth == phase) & scored
        ious.append((one & other).sum() / (one | other).sum())
    return float(np.mean(ious))


def main(argv: list[str] | None = None) -> None:
    """Parse the command line and print a line a draw, then the means."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--session", default="embedded", help="feature model, as Session takes it")
    parser.add_argument("--draws", type=int, default=10)
    parser.add_argument("--share", type=float, default=0.0012, help="of the pixels is painted")
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args(argv)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    torch.set_num_threads(1)
    names = sorted(path.name for path in (args.data / "images").glob("*.png"))
    session = pnb.Session(features=args.session)
    rows = []
    for draw in range(args.draws):
        rng = np.random.default_rng([args.seed, draw])
        own, other = rng.choice(names, 2, replace=False)
        pictures, truths = [], []
        for name in (own, other):
            with PilImage.open(args.data / "images" / name) as opened:
                pictures.append(pnb.Image(np.asarray(opened.convert("L")), None, name))
            with PilImage.open(args.data / "labels" / name) as opened:
                truths.append(np.asarray(opened).astype(int))
        painted = strokes(truths[0], args.share, rng)
        row = {}
        for way, (features, settings) in WAYS.items():
            made = pnb.PhaseClassifier(session, features, settings, seed=draw).fit(
                pictures[0], painted
            )
            for where, picture, truth, scored in zip(
                ("same", "other"),
                pictures,
                truths,
                (painted < 0, np.ones_like(painted, bool)),
                strict=True,
            ):
                found = made.predict(picture).labels
                row[f"{way}_{where}"] = round(mean_iou(found, truth, scored), 4)
        rows.append(row)
        log.info(json.dumps({"draw": draw} | row))
    log.info(json.dumps({key: round(float(np.mean([r[key] for r in rows])), 4) for key in rows[0]}))


if __name__ == "__main__":
    main()
