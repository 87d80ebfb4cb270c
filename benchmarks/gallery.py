"""Memory and time of a gallery of 300 images that are opened one after another.

    OMP_NUM_THREADS=1 python benchmarks/gallery.py --count 300

Each of 1024 x 768 px is proposed by the classical segmenter, opened, and left for the next. Prints
the resident memory (of Linux) every thirtieth image, beside the budget of the session's cache. With
``--images FOLDER`` they are crops of these micrographs, of as many pixels.
"""

from __future__ import annotations

import argparse
import gc
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image as PillowImage

import particle_nb as pnb


def resident() -> float:
    """Resident memory of this process, MiB."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmRSS"):
            return int(line.split()[1]) / 1024
    return float("nan")


def draw(path: Path, seed: int) -> None:
    """Bright discs on a noisy ground."""
    rng = np.random.default_rng(seed)
    grey = 60 + 6 * rng.standard_normal((768, 1024))
    away = np.hypot(*np.mgrid[-30:31, -30:31])
    for row in range(40, 728, 70):
        for col in range(40, 984, 70):
            part = grey[row - 30 : row + 31, col - 30 : col + 31]
            part[away < rng.uniform(10, 28)] += 110
    PillowImage.fromarray(grey.clip(0, 255).astype(np.uint8)).save(path)


def crop(path: Path, source: Path, seed: int) -> None:
    """A part of a micrograph, enlarged to as many pixels."""
    rng = np.random.default_rng(seed)
    picture = PillowImage.open(source).convert("L")
    x, y = (int(rng.integers(0, side // 5)) for side in picture.size)
    part = picture.crop((x, y, x + 4 * picture.width // 5, y + 4 * picture.height // 5))
    part.resize((1024, 768), PillowImage.Resampling.BICUBIC).save(path)


def main() -> None:
    """Draw, open all, and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=300)
    parser.add_argument("--cache", type=int, default=2048, help="budget of the cache, MiB")
    parser.add_argument("--images", type=Path, help="folder of micrographs")
    given = parser.parse_args()
    count = given.count
    sources = sorted(given.images.iterdir()) if given.images else []
    with tempfile.TemporaryDirectory() as folder:
        for seed in range(count):
            path = Path(folder) / f"image_{seed:03d}.png"
            if sources:
                crop(path, sources[seed % len(sources)], seed)
            else:
                draw(path, seed)
        session = pnb.Session("classical", cache_bytes=given.cache << 20)
        gallery = pnb.Gallery(session, folder, pixel_size="10 nm")
        print(f"{count} images; {session.cache_info()}")
        begun = time.perf_counter()
        for number in range(count):
            gallery.open(number)
            if number % 30 == 0 or number == count - 1:
                gc.collect()
                spent = (time.perf_counter() - begun) / (number + 1)
                held = session.cache_info().nbytes / 2**20
                print(
                    f"{number + 1:4d} open  {resident():7.0f} MiB, of it {held:.0f} in the cache  "
                    f"{spent:.2f} s an image"
                )
        pooled = gallery.distribution()
        print(f"{pooled.n if pooled else 0} particles, states {gallery.states}")


if __name__ == "__main__":
    main()
