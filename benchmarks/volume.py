"""Time microstructure on a volume; bars at 256^3: 10 s without diffusion, 60 s with, 4 GB.

CPU seconds of each part and the greatest memory of the process. Without a file the volume is three
phases from two thresholded Gaussian fields.

Run: python benchmarks/volume.py [--file electrode.tif] [--side 256] [--axes z]
"""

from __future__ import annotations

import argparse
import itertools
import resource
import sys
import time

import numpy as np
from scipy import ndimage

from particle_nb.core.exports import read_volume
from particle_nb.core.volume import MicrostructureSettings, Volume, microstructure


def made(side: int) -> Volume:
    """Grains of one phase, a second phase around them, pores."""
    rng = np.random.default_rng(0)
    grains, binder = (
        ndimage.gaussian_filter(rng.normal(size=(side, side, side)).astype(np.float32), s)
        for s in (6, 2)
    )
    labels = (grains > np.quantile(grains, 0.6)).astype(np.uint8)
    labels[(labels == 0) & (binder > np.quantile(binder, 0.75))] = 2
    return Volume(labels)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--file")
    parser.add_argument("--side", type=int, default=256)
    parser.add_argument("--axes", default="z")
    options = parser.parse_args()
    settings = MicrostructureSettings(transport_axes=options.axes)
    microstructure(made(24), settings)  # compiles
    volume = made(options.side)
    if options.file:
        whole = read_volume(options.file).labels
        volume = Volume(whole[: options.side, : options.side, : options.side])
    marks: list[tuple[str, float]] = []
    table = microstructure(
        volume, settings, lambda what, _: marks.append((what, time.process_time()))
    )
    spent = {what: after - before for (what, before), (_, after) in itertools.pairwise(marks)}
    solving = sum(seconds for what, seconds in spent.items() if what.startswith("diffusion"))
    for what, seconds in spent.items():
        sys.stdout.write(f"{what:44s}{seconds:8.2f} CPU s\n")
    rest = sum(spent.values()) - solving
    sys.stdout.write(
        f"{'all but diffusion':44s}{rest:8.2f} CPU s\n{'diffusion':44s}{solving:8.2f} CPU s\n"
    )
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    sys.stdout.write(f"{'memory':44s}{memory:8.2f} GiB\n\n{table.T.to_string()}\n")


if __name__ == "__main__":
    main()
