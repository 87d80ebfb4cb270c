"""Render the synthetic part of the training data: varied scenes from `core.synthetic`.

    python -m training.segmenter.scenes --out DIR --count 700 --seed 7

Every scene is seen by one to three detectors and saved as <number>_<detector>.npz with `image`
(uint8) and `labels` (uint16; the primaries of agglomerates apart). The same seed gives the same
files. A killed run goes on where it stopped.
"""

from __future__ import annotations

import argparse
import math
from dataclasses import replace
from pathlib import Path

import numpy as np

from particle_nb.core.synthetic import (
    MATERIALS,
    Detector,
    Exposure,
    Ground,
    Population,
    SceneSettings,
    Sizes,
    scene,
)

FAMILIES = (
    ("powder", 0.26),
    ("monolayer", 0.14),
    ("film", 0.16),
    ("stem", 0.06),
    ("mixed", 0.14),
    ("light", 0.06),
    ("rods", 0.18),
)

FILM_SHAPES = (
    "sphere",
    "sphere",
    "ellipsoid",
    "polyhedron",
    "cube",
    "rod",
    "agglomerate",
    "triangle",
)

MIXED_SHAPES = (
    "rod",
    "triangle",
    "hexagon",
    "cube",
    "blob",
    "sphere",
    "agglomerate",
    "ellipsoid",
)

RODS_SEEN_BY = (("SE", "SE"), ("SE", "BSE"), ("STEM",), ("brightfield",))

EDGE = 448


def _between(rng: np.random.Generator, low: float, high: float) -> float:
    return float(np.exp(rng.uniform(math.log(low), math.log(high))))


def _exposure(rng: np.random.Generator, bright: bool) -> Exposure:
    middle = (0.45, 0.75) if bright else (0.2, 0.6)
    return Exposure(
        brightness=rng.uniform(*middle),
        contrast=_between(rng, 0.07, 0.3),
        gamma=_between(rng, 0.6, 1.6),
        invert=bool(rng.random() < 0.06),
        defocus=_between(rng, 0.3, 2.0),
        astigmatism=rng.uniform(0, 1.5) if rng.random() < 0.1 else 0.0,
        stigma_angle=rng.uniform(0, 180),
        dose=_between(rng, 12, 2000),
        line_noise=rng.uniform(0, 0.03) if rng.random() < 0.3 else 0.0,
        gradient=rng.uniform(0, 0.3) if rng.random() < 0.4 else 0.02,
        vignette=rng.uniform(0, 0.3) if rng.random() < 0.2 else 0.0,
        charging=rng.uniform(0, 0.6) if rng.random() < 0.15 and not bright else 0.0,
        banner=bool(rng.random() < 0.15),
    )


def _detector(kind: str, rng: np.random.Generator) -> Detector:
    return Detector(
        kind,
        tilt=rng.uniform(0.1, 1.5),
        saturation=rng.uniform(2, 8),
        edge=rng.uniform(0, 1.0),
        edge_px=rng.uniform(1, 5),
        shadow=rng.uniform(0.2, 1.0),
        asymmetry=rng.uniform(-0.5, 0.5),
        azimuth=rng.uniform(0, 360),
        grain=rng.uniform(0, 0.12),
    )


def _population(shape: str, x_px: float, rng: np.random.Generator, material: str) -> Population:
    rough = rng.random() < 0.4
    low = (
        rng.uniform(0.15, 0.5) if shape in ("rod", "triangle", "hexagon") else rng.uniform(0.4, 0.9)
    )
    return Population(
        shape,
        sizes=Sizes("lognormal", x_px, _between(rng, 1.03, 1.7)),
        aspect=(low, min(1.0, low + rng.uniform(0.05, 0.4))),
        rounding=rng.uniform(0, 0.2),
        irregularity=rng.uniform(0.02, 0.15) if rng.random() < 0.35 else 0.0,
        sq_nm=x_px * rng.uniform(0.005, 0.03) if rough else 0.0,
        correlation_nm=max(1.5, x_px * rng.uniform(0.05, 0.3)),
        flat=bool(rng.random() < 0.7),
        primaries=(3, 20),
        compactness=rng.uniform(0, 1),
        material=material,
    )


def training_settings(rng: np.random.Generator) -> SceneSettings:
    """Settings of one scene; one pixel is one nanometre, sizes span 8 to 130 px.

    >>> training_settings(np.random.default_rng(0)).shape
    (448, 448)
    """
    names, shares = zip(*FAMILIES, strict=True)
    family = str(rng.choice(names, p=shares))
    materials = list(MATERIALS)
    material = str(rng.choice(materials))
    x_px = _between(rng, 10, 95)
    coverage = rng.uniform(0.08, 0.7)
    kinds: list[str]
    if family == "powder":
        kinds = ["SE", "SE", "BSE"]
        packing = str(rng.choice(["heap", "heap", "overlap", "clusters"]))
        main = str(rng.choice(["sphere", "sphere", "ellipsoid", "blob", "polyhedron"]))
        populations = [_population(main, x_px, rng, material)]
        if rng.random() < 0.55:  # satellites and fines
            fine = _population("sphere", max(7.0, x_px * rng.uniform(0.15, 0.4)), rng, material)
            populations.append(replace(fine, share=rng.uniform(0.3, 3.0)))
        coverage = rng.uniform(0.3, 2.2) if packing == "heap" else rng.uniform(0.2, 1.0)
    elif family == "monolayer":
        kinds = ["SE", "SE", "BSE"]
        packing = str(rng.choice(["monolayer", "clusters", "sparse"]))
        main = str(rng.choice(["sphere", "sphere", "cube", "hexagon", "polyhedron", "ellipsoid"]))
        populations = [_population(main, x_px, rng, material)]
        populations[0] = replace(
            populations[0], sizes=Sizes("lognormal", x_px, _between(rng, 1.02, 1.2))
        )
        coverage = rng.uniform(0.2, 1.0)
    elif family in ("film", "stem"):
        kinds = ["brightfield", "brightfield"] if family == "film" else ["STEM", "STEM"]
        packing = str(rng.choice(["sparse", "clusters", "monolayer", "overlap"]))
        main = str(
            rng.choice(
                [
                    "sphere",
                    "sphere",
                    "ellipsoid",
                    "polyhedron",
                    "cube",
                    "rod",
                    "agglomerate",
                    "triangle",
                ]
            )
        )
        populations = [_population(main, x_px, rng, material)]
        if rng.random() < 0.25:
            populations.append(_population("rod", x_px, rng, material))
        coverage = rng.uniform(0.05, 0.6)
    elif family == "mixed":
        kinds = ["SE", "BSE", "SE"]
        packing = str(rng.choice(["sparse", "overlap", "heap", "clusters", "monolayer"]))
        shapes = rng.choice(MIXED_SHAPES, 2)
        populations = [
            _population(str(s), x_px * rng.uniform(0.7, 1.4), rng, str(rng.choice(materials)))
            for s in shapes
        ]
    elif family == "rods":  # thin ones, lying across each other, some with something else between
        kinds = list(RODS_SEEN_BY[int(rng.choice(len(RODS_SEEN_BY), p=[0.4, 0.25, 0.15, 0.2]))])
        packing = str(rng.choice(["sparse", "overlap", "overlap", "heap", "clusters", "monolayer"]))
        low = _between(rng, 0.06, 0.4)
        rod = _population("rod", x_px, rng, material)
        populations = [replace(rod, aspect=(low, min(0.6, low * rng.uniform(1.1, 2.0))))]
        if rng.random() < 0.3:
            mate = str(rng.choice(["sphere", "triangle", "hexagon", "polyhedron"]))
            other = _population(mate, x_px * rng.uniform(0.5, 1.5), rng, material)
            populations.append(replace(other, share=rng.uniform(0.1, 0.6)))
        coverage = rng.uniform(0.3, 1.3) if packing == "heap" else rng.uniform(0.05, 0.6)
    else:
        kinds = ["reflected", "brightfield"]
        packing = str(rng.choice(["sparse", "overlap", "clusters"]))
        main = str(rng.choice(["blob", "polyhedron", "sphere", "ellipsoid"]))
        populations = [_population(main, x_px, rng, material)]
    for index, population in enumerate(populations):
        if population.shape == "agglomerate":  # its primaries are the particles
            primaries = math.sqrt(0.5 * sum(population.primaries))
            sizes = replace(
                population.sizes, x_nm=min(max(population.sizes.x_nm, 12.0) * primaries, 260.0)
            )
            populations[index] = replace(population, sizes=sizes)
    shares_ = np.array([p.share for p in populations])
    areas = np.array([math.pi / 4 * p.sizes.x_nm**2 for p in populations])
    mean_area = float((shares_ * areas).sum() / shares_.sum())
    count = int(np.clip(coverage * EDGE * EDGE / mean_area, 2, 420))
    bright = kinds[0] in ("brightfield", "reflected")
    number = min(int(rng.integers(1, 3)), len(kinds))
    return SceneSettings(
        shape=(EDGE, EDGE),
        pixel_nm=1.0,
        populations=tuple(populations),
        count=count,
        packing=packing,
        gap_px=int(rng.integers(1, 6)),
        spread_albedo=rng.uniform(0, 0.3),
        ground=Ground(
            material=str(rng.choice(["carbon", "carbon", "silicon", "polymer", material])),
            texture=_between(rng, 0.01, 0.4),
            texture_px=_between(rng, 0.8, 60),
            power=rng.uniform(1, 3) if rng.random() < 0.3 else None,
            stretch=rng.uniform(1, 12) if rng.random() < 0.1 else 1.0,
        ),
        detectors=tuple(_detector(kind, rng) for kind in kinds[:number]),
        exposure=_exposure(rng, bright),
    )


def render(out: Path, count: int, seed: int) -> int:
    """Write the files of `count` scenes that are not there yet; returns how many were made."""
    out.mkdir(parents=True, exist_ok=True)
    made = 0
    for number in range(count):
        if (out / f"{number:05d}.done").exists():
            continue
        rng = np.random.default_rng([seed, number])
        result = scene(training_settings(rng), rng)
        labels = result.primaries.astype(np.int64)
        sizes = np.bincount(labels.ravel())
        labels[sizes[labels] < 12] = 0  # slivers that nobody would mark
        for name, grey in result.detectors.items():
            target = out / f"{number:05d}_{name.replace(' ', '')}.npz"
            np.savez_compressed(target, image=grey, labels=labels.astype(np.uint16))
        (out / f"{number:05d}.done").touch()
        made += 1
    return made


def main(argv: list[str] | None = None) -> None:
    """Parse the command line and render."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=7)
    args = parser.parse_args(argv)
    render(args.out, args.count, args.seed)


if __name__ == "__main__":
    main()
