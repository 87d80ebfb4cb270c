"""Score the automatic mode on drawings of every family and on rendered scenes.

    python -m training.segmenter.kinds --model embedded
    python -m training.segmenter.kinds --model other.safetensors

Their seeds are those of no training data. For families without particles only false masks count.
"""

from __future__ import annotations

import argparse

import numpy as np
import torch

from particle_nb.core.image import Image
from particle_nb.core.masks import MaskSet
from particle_nb.core.synthetic import scene
from particle_nb.models import load_model
from particle_nb.models.protocols import Segmenter
from particle_nb.models.tuning.drawings import FAMILIES, draw_field
from training.segmenter.evaluate import score_automatic
from training.segmenter.families import KINDS, draw_kind
from training.segmenter.scenes import training_settings


def counts(model: Segmenter, kind: str, number: int) -> tuple[int, int, int]:
    """True, false and missed particles of one picture."""
    if kind == "rendered":
        rng = np.random.default_rng([77, number])
        made = scene(training_settings(rng), rng)
        grey, labels = next(iter(made.detectors.values())), made.primaries
    else:
        draw = draw_kind if kind in KINDS else draw_field
        _, (grey, labels) = draw(np.random.default_rng([99, number]), kind)
    truth = MaskSet.from_labels(np.asarray(labels).astype(np.int64))
    image = Image(np.asarray(grey), name=kind)
    if not len(truth):
        return 0, len(model.generate(image)), 0
    found = score_automatic(model, image, truth)
    return found["tp"], found["fp"], found["fn"]


def main(argv: list[str] | None = None) -> None:
    """Parse the command line and print a line a kind."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--model", default="embedded", help="a segmenter as Session takes it")
    parser.add_argument("--pictures", type=int, default=6, help="of each family; ten are rendered")
    args = parser.parse_args(argv)
    torch.set_num_threads(1)
    model = load_model(args.model, "segmenter", "cpu")
    print("| kind | true | false | missed | F1 |\n|---|---|---|---|---|")
    for kind in (*FAMILIES, *KINDS, "rendered"):
        many = 10 if kind == "rendered" else args.pictures
        true, false, missed = np.sum([counts(model, kind, n) for n in range(many)], 0).tolist()
        score = f"{2 * true / (2 * true + false + missed):.3f}" if true + missed else ""
        print(f"| {kind} | {true} | {false} | {missed} | {score} |", flush=True)


if __name__ == "__main__":
    main()
