"""Measure how a batch scales over worker processes.

    python benchmarks/batch.py [--images 48] [--workers 1 2 4] [--segmenter classical] [--dask]

Draws micrographs of 1024 x 1024 px with 169 discs each, works on all of them with each number of
workers, and prints seconds, images a second and the ratio to one worker. One thread a worker, so
that the ratio is that of processes. The rate counts from the moment at which each worker has had
one image, so that start-up (imports, model) is left out. The load of the machine before each run
stands beside it: where that leaves no idle cores, the ratios mean little.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import PIL.Image

from particle_nb.batches import BatchSettings, batch


def draw(path: Path, rng: np.random.Generator) -> None:
    rows, cols = np.mgrid[:1024, :1024]
    picture = rng.normal(60, 6, rows.shape).astype(np.float32)
    for y in range(40, 1000, 78):
        for x in range(40, 1000, 78):
            radius = rng.uniform(12, 30)
            near = np.s_[y - 39 : y + 39, x - 39 : x + 39]
            inside = (rows[near] - y) ** 2 + (cols[near] - x) ** 2 <= radius**2
            picture[near][inside] += 110
    PIL.Image.fromarray(np.clip(picture, 0, 255).astype(np.uint8)).save(path)


def cluster_of(count: int, dask: bool) -> Any:
    if not dask:
        return nullcontext()
    import distributed

    return distributed.Client(
        n_workers=count, threads_per_worker=1, processes=True, dashboard_address=None
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=48)
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2, 4])
    parser.add_argument("--segmenter", default="classical")
    parser.add_argument("--dask", action="store_true", help="on a local Dask cluster")
    given = parser.parse_args()
    settings = BatchSettings("0.1 um", segmenter=given.segmenter, threads=1)
    rows = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "images"
        folder.mkdir()
        rng = np.random.default_rng(0)
        for k in range(given.images):
            draw(folder / f"{k:04d}.png", rng)
        expected = None
        for count in given.workers:
            out = Path(name) / f"out{count}"
            load = os.getloadavg()[0]
            with cluster_of(count, given.dask) as client:
                workers = {"client": client} if client is not None else {"workers": count}
                start = time.perf_counter()
                result = batch(folder, settings, out, progress=False, **workers)
                seconds = time.perf_counter() - start
            written = sorted(path.stat().st_mtime for path in (out / "parts").glob("*.json"))
            steady = (len(written) - count) / (written[-1] - written[count - 1])
            particles = result.particles()
            if expected is None:
                expected = particles
            pd.testing.assert_frame_equal(particles, expected)
            rows.append(
                {
                    "workers": count,
                    "load_before": round(load, 1),
                    "seconds": round(seconds, 1),
                    "images_per_s": round(steady, 3),
                    "particles": len(particles),
                }
            )
    table = pd.DataFrame(rows)
    table["speed_up"] = (table["images_per_s"] / table["images_per_s"].iloc[0]).round(2)
    where = "Dask" if given.dask else "processes"
    print(f"{given.images} images, {given.segmenter}, {where}, {os.cpu_count()} cores")
    print(table.to_string(index=False))


if __name__ == "__main__":
    main()
