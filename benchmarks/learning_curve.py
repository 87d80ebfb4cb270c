"""Clicks an image over ten images, with and without tuning after each.

    python -m benchmarks.learning_curve --kind soot --seconds 60

A simulated person starts from the automatic mode's masks and clicks until every true particle of
an image has a mask of IoU 0.7 or more: one click deletes a false mask, one asks for a particle
that is missed, up to two more correct the answer, and what is still wrong is drawn by hand, which
counts ten clicks. After each image the network is tuned on all images so far (from the third on
whole images are held out, before parts of them), and goes on only where it was kept. The clock is
processor time.
"""

from __future__ import annotations

import argparse
import json
import logging
import time

import torch

from benchmarks.tune import Truth, drawn
from particle_nb.core.masks import MaskSet, Prompt
from particle_nb.core.matching import match
from particle_nb.models.embedded.segmenter import load
from particle_nb.models.protocols import Segmenter
from particle_nb.models.tuning.running import Outlook, tune
from particle_nb.models.tuning.scoring import innermost
from particle_nb.models.tuning.settings import TuneSettings
from training.segmenter.evaluate import correction

log = logging.getLogger("benchmarks.learning_curve")
GOOD, BY_HAND, MORE = 0.7, 10, 2


def clicks_for(model: Segmenter, truth: Truth) -> int:
    """Clicks until every particle of an image has its mask."""
    image, masks = truth
    proposals = model.generate(image)
    pairs = match(proposals, masks, threshold=GOOD).pairs if len(proposals) else []
    matched = {int(true) for _, true in pairs}
    clicks = len(proposals) - len(pairs)
    embedding = model.encode(image)
    missed = [index for index in range(len(masks)) if index not in matched]
    return clicks + sum(_clicks_on(model, embedding, masks, index) for index in missed)


def _clicks_on(model: Segmenter, embedding: object, masks: MaskSet, index: int) -> int:
    mask = masks[index]
    points, labels = [innermost(mask)], [1]
    for clicks in range(1, MORE + 2):
        answer = model.predict(embedding, Prompt(tuple(points), tuple(labels)))  # type: ignore[arg-type]
        if any(candidate.iou(mask) >= GOOD for candidate in answer):
            return clicks
        fix = correction(answer[0] if len(answer) else None, mask)
        if fix is None:
            break
        points.append(fix[0])
        labels.append(fix[1])
    return MORE + 1 + BY_HAND


def main(argv: list[str] | None = None) -> None:
    """Parse the command line and print a line an image."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--kind", default="soot")
    parser.add_argument("--images", type=int, default=10)
    parser.add_argument("--seconds", type=float, default=60.0, help="processor time a tuning")
    args = parser.parse_args(argv)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    torch.set_num_threads(1)
    every = drawn(args.kind)[: args.images]
    base = model = load(device="cpu")
    for number, truth in enumerate(every):
        row = {
            "image": number + 1,
            "particles": len(truth[1]),
            "clicks_without": clicks_for(base, truth),
            "clicks_with": clicks_for(model, truth),
        }
        if number + 1 < len(every):
            outlook = Outlook(args.seconds / 60.0, clock=time.process_time)
            tuned = tune(model, every[: number + 1], TuneSettings(seed=number), outlook)
            row["kept"] = tuned.kept
            model = tuned.segmenter  # type: ignore[assignment]
        log.info(json.dumps(row))


if __name__ == "__main__":
    main()
