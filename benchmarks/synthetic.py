"""Time synthetic scenes on one core, and draw a contact sheet of every preset.

    OMP_NUM_THREADS=1 python benchmarks/synthetic.py [--sheet sheet.png] [--random 24]

The bar: 512 x 512 with 100 particles in 0.3 s, once numba's code is compiled.
"""

from __future__ import annotations

import argparse
import sys
import time

import numpy as np
from skimage import io, transform

from particle_nb.core import synthetic
from particle_nb.core.synthetic import Population, Scene, SceneSettings, Sizes
from particle_nb.core.synthetic.population import SHAPES


def seconds(settings: SceneSettings, repeats: int = 9) -> float:
    """Least CPU seconds of a scene: neighbours on the machine only ever add to it."""
    synthetic.scene(settings, 1)
    found = []
    for seed in range(repeats):
        start = time.process_time()
        synthetic.scene(settings, seed)
        found.append(time.process_time() - start)
    return min(found)


def contact_sheet(scenes: list[tuple[str, Scene]], columns: int = 4, edge: int = 384) -> np.ndarray:
    """Thumbnails side by side, uint8; titles go to the terminal in reading order."""
    rows = -(-len(scenes) // columns)
    sheet = np.zeros((rows * edge, columns * edge), np.uint8)
    for index, (_, made) in enumerate(scenes):
        small = transform.resize(made.image.pixels, (edge - 4, edge - 4), anti_aliasing=True)
        row, col = divmod(index, columns)
        sheet[row * edge : row * edge + edge - 4, col * edge : col * edge + edge - 4] = small * 255
    return sheet


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sheet", help="write a contact sheet to this PNG")
    parser.add_argument("--random", type=int, default=0, help="random scenes in place of presets")
    arguments = parser.parse_args()
    start = time.perf_counter()
    synthetic.scene(SceneSettings(shape=(64, 64), count=3), 0)
    sys.stdout.write(f"first scene of the process {time.perf_counter() - start:.2f} s\n")
    if arguments.sheet:
        if arguments.random:
            scenes = []
            for seed in range(arguments.random):
                rng = np.random.default_rng(seed)
                settings = synthetic.random_settings(rng)
                forms = "/".join(population.shape for population in settings.populations)
                title = f"{seed} {settings.detectors[0].kind} {settings.packing} {forms}"
                scenes.append((title, synthetic.scene(settings, rng)))
        else:
            scenes = synthetic.gallery(1)
        io.imsave(arguments.sheet, contact_sheet(scenes), check_contrast=False)
        sys.stdout.write("\n".join(title for title, _ in scenes) + "\n")
        return
    for shape in SHAPES:
        population = Population(shape, sizes=Sizes("lognormal", 420, 1.3))
        settings = SceneSettings(populations=(population,), count=100, packing="heap")
        sys.stdout.write(f"100 x {shape:12s} {seconds(settings):.3f} s CPU\n")
    rough = Population("sphere", sizes=Sizes("lognormal", 420, 1.3), sq_nm=8, correlation_nm=60)
    settings = SceneSettings(populations=(rough,), count=100, packing="heap")
    sys.stdout.write(f"100 x rough sphere {seconds(settings):.3f} s CPU\n")
    for name, settings in synthetic.PRESETS.items():
        found = f"{seconds(settings, 5):.3f} s CPU, {len(settings.detectors)} detector(s)"
        sys.stdout.write(f"{settings.count:3d} particles, preset {name:22s} {found}\n")


if __name__ == "__main__":
    main()
