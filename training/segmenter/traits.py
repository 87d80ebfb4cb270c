"""Learn the space in which tuned weights tell pictures like the annotated ones from others.

    python -m training.segmenter.traits --data DIR

DIR holds images/ and labels/ as for training; its training split, drawings and rendered scenes make
the law of the pictures that the package's weights know. Run it again when those weights change.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

from particle_nb.core.image import Image
from particle_nb.models.embedded.familiar import TRAITS, TraitSpace, traits
from particle_nb.models.embedded.segmenter import load
from particle_nb.models.tuning.drawings import draw_field, rendered
from training.segmenter.evaluate import read_folder

#: Coordinates; drawings and rendered scenes, which together weigh half of the real pictures.
COORDINATES, DRAWN, RENDERED = 8, 150, 100


def main(argv: list[str] | None = None) -> None:
    """Parse the command line, look at all pictures, write the space."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, default=TRAITS)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args(argv)
    model = load(device="cpu")
    rng = np.random.default_rng(args.seed)
    pictures = [np.asarray(image.pixels) for image, _ in read_folder(args.data, "train")]
    weights = [1.0 / len(pictures)] * len(pictures)
    pictures += [draw_field(rng)[1][0] for _ in range(DRAWN)]
    pictures += [rendered(rng)[0] for _ in range(RENDERED)]
    weights += [0.5 / (DRAWN + RENDERED)] * (DRAWN + RENDERED)
    found = np.array([traits(model.network, model.glance(Image(grey))) for grey in pictures])
    space = TraitSpace.of(found, np.array(weights), COORDINATES)
    arrays = {key: np.ascontiguousarray(v, np.float32) for key, v in space.stored().items()}
    save_file(arrays, str(args.out), {"weights": model.digest, "seed": str(args.seed)})


if __name__ == "__main__":
    main()
