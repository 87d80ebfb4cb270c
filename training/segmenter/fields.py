"""Write drawings of `particle_nb.models.tuning.drawings` as training data.

    python -m training.segmenter.fields --out DIR --count 800 --seed 3
    python -m training.segmenter.fields --out DIR --count 620 --seed 71 --more
    python -m training.segmenter.fields --out DIR --count 120 --seed 72 --more specks

With --more those of `training.segmenter.families`, or one of them.
Saved as <seed>_<number>_<family>.npz with `image` (uint8) and `labels` (uint16). The same seed
gives the same files.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from particle_nb.models.tuning.drawings import draw_field
from training.segmenter.families import KINDS, draw_kind


def draw_fields(out: Path, count: int, seed: int, more: str | None = None) -> None:
    """Write `count` drawings, of `more` kinds ("all" of them, or one) where that is given."""
    out.mkdir(parents=True, exist_ok=True)
    for number in range(count):
        rng = np.random.default_rng([seed, number])
        name, (image, labels) = (
            draw_field(rng) if more is None else draw_kind(rng, None if more == "all" else more)
        )
        target = out / f"{seed}_{number:05d}_{name}.npz"
        np.savez_compressed(target, image=image, labels=labels.astype(np.uint16))


def main(argv: list[str] | None = None) -> None:
    """Parse the command line and draw."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--count", type=int, default=800)
    parser.add_argument("--seed", type=int, default=3)
    parser.add_argument("--more", nargs="?", const="all", choices=["all", *KINDS])
    args = parser.parse_args(argv)
    draw_fields(args.out, args.count, args.seed, args.more)


if __name__ == "__main__":
    main()
