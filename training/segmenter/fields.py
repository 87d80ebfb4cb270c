"""Write drawings of `particle_nb.models.tuning.drawings` as training data.

    python -m training.segmenter.fields --out DIR --count 800 --seed 3

Saved as <seed>_<number>_<family>.npz with `image` (uint8) and `labels` (uint16). The same seed
gives the same files.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from particle_nb.models.tuning.drawings import draw_field


def draw_fields(out: Path, count: int, seed: int) -> None:
    """Write `count` drawings."""
    out.mkdir(parents=True, exist_ok=True)
    for number in range(count):
        name, (image, labels) = draw_field(np.random.default_rng([seed, number]))
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
    args = parser.parse_args(argv)
    draw_fields(args.out, args.count, args.seed)


if __name__ == "__main__":
    main()
