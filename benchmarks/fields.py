"""What the automatic mode finds on drawn fields of known truth: balls, sparse dots, lone rods.

    OMP_NUM_THREADS=1 python benchmarks/fields.py
    OMP_NUM_THREADS=1 python benchmarks/fields.py --only rods

One line a picture: how many were drawn, found and matched at an IoU of 0.5, the area of the largest
mask against that of the largest particle (a sheet over many of them shows there), and CPU seconds.
"""

from __future__ import annotations

import argparse
import itertools
import time
from collections.abc import Iterator

import numpy as np
import torch
from scipy import ndimage

import particle_nb as pnb
from particle_nb.core.matching import score

Field = tuple[str, pnb.Image, pnb.MaskSet]


def balls(edges: tuple[int, int], across: float, pitch: float, noise: float = 4.0) -> Field:
    """Bright balls in a square lattice on a dark ground; the name says size and pitch."""
    rng = np.random.default_rng(int(edges[0] + 10 * pitch + across))
    grey, labels = np.full(edges, 60.0), np.zeros(edges, int)
    rows, columns = np.mgrid[: edges[0], : edges[1]]
    step, reach = pitch * across, int(across / 2) + 2
    spots = itertools.product(*(np.arange(step, edge - step / 2, step) for edge in edges))
    for number, (y, x) in enumerate(spots, 1):
        box = np.s_[int(y) - reach : int(y) + reach + 1, int(x) - reach : int(x) + reach + 1]
        far = np.hypot(rows[box] - y, columns[box] - x) / (across / 2)
        inside = far < 1
        grey[box][inside] = 120 + 80 * np.sqrt(1 - far[inside] ** 2)
        labels[box][inside] = number
    grey = ndimage.gaussian_filter(grey, 0.5) + noise * rng.standard_normal(edges)
    image = pnb.Image(grey.clip(0, 255).astype(np.uint8))
    return (
        f"{edges[0]} x {edges[1]}, {across:g} px at {pitch:g}",
        image,
        pnb.MaskSet.from_labels(labels),
    )


def rod(inside: str, ratio: int) -> Field:
    """One dark rod of 880 px (700 px where it is wide) across a plain ground."""
    rng = np.random.default_rng(ratio)
    rows, columns = np.mgrid[:512, :1024].astype(float)
    turn, length = np.deg2rad(-16), 880.0 if ratio > 3 else 700.0
    along = (columns - 512) * np.cos(turn) + (rows - 256) * np.sin(turn)
    across = (rows - 256) * np.cos(turn) - (columns - 512) * np.sin(turn)
    here = (abs(along) < length / 2) & (abs(across) < length / ratio / 2)
    grain = ndimage.gaussian_filter(rng.normal(size=here.shape), 2)
    grain /= grain.std()
    core = np.where(abs(across) < 0.28 * length / ratio, 130, 70) + 15 * grain
    grey = 190 + 5 * rng.normal(size=here.shape)
    grey[here] = {"plain": 60 + 0 * grain, "grainy": 90 + 30 * grain, "tube": core}[inside][here]
    grey = ndimage.gaussian_filter(grey, 1) + 3 * rng.normal(size=here.shape)
    image = pnb.Image(grey.clip(0, 255).astype(np.uint8))
    return f"{inside} rod, 1:{ratio}", image, pnb.MaskSet.from_labels(here.astype(int))


def fields(only: str | None) -> Iterator[Field]:
    """All pictures, or those of one kind."""
    if only in (None, "balls"):
        for edge, pitch, across in itertools.product((1024, 2048), (1.3, 2.1, 3.0, 4.0), (28, 60)):
            yield balls((edge, edge), across, pitch)
    if only in (None, "dots"):
        for edges in ((500, 700), (1000, 1400), (1600, 2400)):
            yield balls(edges, 8, 12)
    if only in (None, "rods"):
        for inside, ratio in itertools.product(("plain", "grainy", "tube"), (3, 6, 10, 16, 25)):
            yield rod(inside, ratio)


def main() -> None:
    """Print one line a picture."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", choices=("balls", "dots", "rods"))
    only = parser.parse_args().only
    torch.set_num_threads(1)
    session = pnb.Session()
    for name, image, truth in fields(only):
        start = time.process_time()
        found = session.propose(image, progress=False)
        spent = time.process_time() - start
        session.cache_clear()
        matched = int(score(found, truth).tp[0]) if len(found) else 0
        print(
            f"{name:28s} drawn {len(truth):5d} found {len(found):5d} matched {matched:5d} "
            f"largest {max(found.areas, default=0):7d} of {max(truth.areas):7d} {spent:5.1f} s",
            flush=True,
        )


if __name__ == "__main__":
    main()
