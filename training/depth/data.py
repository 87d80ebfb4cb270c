"""Training surfaces of the embedded depth model: rendered particles with their true heights.

    python -m training.depth.data --out DIR --shards 100 --seed 11

A shard is one npz file of `PER_SHARD` surfaces: `height` (uint16, hundredths of a pixel above the
ground) and `labels` (uint8, 0 is ground), both (PER_SHARD, SIDE, SIDE). No picture is stored: what
a detector makes of a surface is drawn anew every time it is used (`depth_imaging`). The same seed
gives the same files; a killed run goes on where it stopped. Correlation lengths within
`HELD_CORRELATION` (share of the radius) are kept out: the evaluation uses them.
"""

from __future__ import annotations

import argparse
import math
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from particle_nb.core.errors import DataError
from particle_nb.core.synthetic import Population, SceneSettings, Sizes, scene

SIDE = 288

PER_SHARD = 25

STEPS = 100.0  # height steps a pixel

HELD_CORRELATION = (0.052, 0.068)

KINDS = (
    ("sphere", 0.44),
    ("smooth sphere", 0.09),
    ("touching spheres", 0.12),
    ("large", 0.06),
    ("ellipsoid", 0.12),
    ("faceted", 0.08),
    ("blob", 0.05),
    ("mixed", 0.04),
)


def _between(rng: np.random.Generator, low: float, high: float) -> float:
    return float(np.exp(rng.uniform(math.log(low), math.log(high))))


def _roughness(x_px: float, rng: np.random.Generator) -> tuple[float, float]:
    """Sq and correlation length in pixels for a particle `x_px` across."""
    share = rng.uniform(0.025, 0.2)
    while HELD_CORRELATION[0] < share < HELD_CORRELATION[1]:
        share = rng.uniform(0.025, 0.2)
    correlation = max(0.5 * x_px * share, 1.5)
    # Beyond a slope of about 1 the surface overhangs and no view from above shows its Sq.
    highest = min(0.8, 0.0375 * x_px / correlation)
    return correlation * _between(rng, 0.015, highest), correlation


def _population(
    shape: str, x_px: float, spread: float, rng: np.random.Generator, rough: bool
) -> Population:
    sq, correlation = _roughness(x_px, rng) if rough else (0.0, 2.0)
    low = rng.uniform(0.5, 0.9)
    return Population(
        shape,
        sizes=Sizes("lognormal", x_px, spread),
        aspect=(low, min(1.0, low + rng.uniform(0.05, 0.3))),
        rounding=float(rng.choice([0.0, 0.02, 0.06, 0.12])),
        irregularity=rng.uniform(0.02, 0.1) if shape == "blob" else 0.0,
        sq_nm=sq,
        correlation_nm=correlation,
        flat=bool(rng.random() < 0.6),
        primaries=(3, 10),
        compactness=rng.uniform(0.4, 1.0),
    )


def surface_settings(rng: np.random.Generator) -> SceneSettings:
    """Settings of one surface; one pixel is one nanometre.

    Examples
    --------
    >>> surface_settings(np.random.default_rng(0)).shape
    (288, 288)
    """
    names, shares = zip(*KINDS, strict=True)
    kind = str(rng.choice(names, p=shares))
    x_px, count, packing, inside, spread = rng.uniform(110, 245), 1, "sparse", True, 1.0
    rough = bool(rng.random() < 0.75)
    shapes = ["sphere"]
    if kind == "sphere":
        rough = True
    elif kind == "smooth sphere":
        rough = False
    elif kind == "touching spheres":
        x_px, count = _between(rng, 55, 170), int(rng.integers(3, 11))
        packing, inside = str(rng.choice(["clusters", "heap", "monolayer", "overlap"])), False
        spread = _between(rng, 1.02, 1.35)
    elif kind == "large":  # only a part of it is in the picture, as in a tile of a large image
        x_px, inside = rng.uniform(230, 460), False
        shapes = [str(rng.choice(["sphere", "ellipsoid"]))]
    elif kind == "ellipsoid":
        shapes = ["ellipsoid"]
    elif kind == "faceted":
        shapes = [str(rng.choice(["polyhedron", "polyhedron", "cube", "hexagon", "rod"]))]
    elif kind == "blob":
        shapes = ["blob"]
    else:
        x_px, count = _between(rng, 55, 150), int(rng.integers(3, 10))
        packing, inside = str(rng.choice(["clusters", "heap", "overlap"])), False
        shapes = [str(s) for s in rng.choice(["ellipsoid", "polyhedron", "blob", "agglomerate"], 2)]
        spread = _between(rng, 1.02, 1.4)
    if count == 1 and rng.random() < 0.2 and kind != "large":
        count, inside = int(rng.integers(2, 4)), False
        packing = "monolayer"
    return SceneSettings(
        shape=(SIDE, SIDE),
        pixel_nm=1.0,
        populations=tuple(_population(s, x_px, spread, rng, rough) for s in shapes),
        count=count,
        packing=packing,
        inside=inside,
    )


def render_shard(path: Path, seed: int, number: int, surfaces: int = PER_SHARD) -> None:
    """Render one shard, whole or not at all.

    Examples
    --------
    >>> render_shard(Path("unused.npz"), 0, 0, 0)
    Traceback (most recent call last):
    ...
    particle_nb.core.errors.DataError: ...
    """
    if surfaces < 1:
        raise DataError(f"a shard holds at least one surface, not {surfaces!r}.")
    rng = np.random.default_rng([seed, number])
    heights = np.zeros((surfaces, SIDE, SIDE), np.uint16)
    labels = np.zeros((surfaces, SIDE, SIDE), np.uint8)
    for index in range(surfaces):
        while not labels[index].any():
            made = scene(surface_settings(rng), rng)
            labels[index] = np.minimum(made.labels(), 255)
            heights[index] = np.clip(np.rint(made.height * STEPS), 0, 65535)
    part = path.with_suffix(".part")
    with part.open("wb") as stream:
        np.savez_compressed(stream, height=heights, labels=labels)
    os.replace(part, path)


@dataclass(frozen=True, eq=False)
class Surfaces:
    """Surfaces in memory: height uint16 (N, SIDE, SIDE) and labels uint8 of the same shape."""

    height: np.ndarray
    labels: np.ndarray

    def __len__(self) -> int:
        return len(self.height)

    def crop(self, side: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """A random surface, cut, turned and mirrored: height in pixels and labels."""
        index = int(rng.integers(len(self)))
        row, col = (int(v) for v in rng.integers(0, SIDE - side + 1, 2))
        window = (index, slice(row, row + side), slice(col, col + side))
        turns, mirror = int(rng.integers(4)), bool(rng.random() < 0.5)
        height = self.height[window].astype(np.float32) / np.float32(STEPS)
        labels = self.labels[window].astype(np.int32)
        height, labels = np.rot90(height, turns), np.rot90(labels, turns)
        if mirror:
            height, labels = height[:, ::-1], labels[:, ::-1]
        return np.ascontiguousarray(height), np.ascontiguousarray(labels)


def read_surfaces(folder: Path, limit: int | None = None) -> Surfaces:
    """Read the shards of a folder, at most `limit` of them.

    Raises
    ------
    DataError
        If there is none.

    Examples
    --------
    >>> read_surfaces(Path("no such folder"))
    Traceback (most recent call last):
    ...
    particle_nb.core.errors.DataError: ...
    """
    parts = list(_shards(folder, limit))
    if not parts:
        raise DataError(
            f"no surfaces in {str(folder)!r}; make them with: "
            f"python -m training.depth.data --out {folder}"
        )
    return Surfaces(
        np.concatenate([height for height, _ in parts]),
        np.concatenate([labels for _, labels in parts]),
    )


def _shards(folder: Path, limit: int | None) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    for path in sorted(folder.glob("shard_*.npz"))[:limit]:
        with np.load(path) as data:
            yield data["height"], data["labels"]


def main(argv: list[str] | None = None) -> None:
    """Parse the command line and render."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--first", type=int, default=0, help="number of the first shard")
    parser.add_argument("--shards", type=int, default=200)
    parser.add_argument("--surfaces", type=int, default=PER_SHARD, help="surfaces a shard")
    parser.add_argument("--seed", type=int, default=11)
    args = parser.parse_args(argv)
    args.out.mkdir(parents=True, exist_ok=True)
    for number in range(args.first, args.first + args.shards):
        path = args.out / f"shard_{number:05d}.npz"
        if not path.exists():
            render_shard(path, args.seed, number, args.surfaces)


if __name__ == "__main__":
    main()
