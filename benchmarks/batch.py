"""Measure how a batch scales over worker processes, and that nothing is lost or done twice.

    python benchmarks/batch.py [--workers 1 2 4] [--budget 200] [--images N]
                               [--segmenter classical] [--dask] [--large]

Draws micrographs of 1024 x 1024 px with 169 discs each, or with `--large` of 1920 x 1200 px with
260 balls, works on all of them with each number of workers, and prints seconds, images a second and
the ratio to one worker. How many images fit into the budget of seconds is tried on two of them
first. One thread a worker, so that the ratio is that of processes. The rate counts from the moment
at which each worker has had one image, so that start-up (imports, model) is left out. The load of
the machine before each run stands beside it: where that leaves no idle cores, the ratios mean
little.

Checked in every run: each image is there once, in a row group of its own, with the particles that
one worker finds; a second call does none of them again.
"""

from __future__ import annotations

import argparse
import functools
import os
import resource
import sys
import tempfile
import time
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import PIL.Image
import pyarrow.parquet as pq

from particle_nb.batches import BatchResult, BatchSettings, batch

# what one run costs besides its images: processes, imports, the model
_START = 12.0


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


def draw_large(path: Path, number: int) -> None:
    """One of twelve pictures, moved round its edges so that no two files are alike."""
    times, seed = divmod(number, 12)
    moved = np.roll(balls(seed), (37 * times, 71 * times), (0, 1))
    PIL.Image.fromarray(moved).save(path)


@functools.cache
def balls(seed: int) -> np.ndarray:
    from benchmarks.embedded import picture

    return picture(1200, 1920, 260, seed=seed).pixels


def stamps(out: Path) -> dict[str, int]:
    return {path.name: path.stat().st_mtime_ns for path in (out / "parts").glob("*.json")}


def check(result: BatchResult, names: list[str], expected: pd.DataFrame | None) -> pd.DataFrame:
    """Return the particles; stop the benchmark where one is lost or counted twice."""
    particles = result.particles()
    groups = pq.ParquetFile(result.folder / "particles.parquet")
    in_groups = [
        groups.read_row_group(k, ["image"]).column(0).unique().to_pylist()
        for k in range(groups.num_row_groups)
    ]
    problems = []
    if result.images["image"].tolist() != names or not result.images["status"].eq("done").all():
        problems.append("the images are not all done, each once")
    if in_groups != [[name] for name in names]:
        problems.append("the row groups are not the images, each once")
    if particles.groupby("image").size().to_dict() != dict(
        zip(result.images["image"], result.images["n"], strict=True)
    ):
        problems.append("the counts of particles differ between the tables")
    if particles.duplicated(["image", "label"]).any():
        problems.append("a particle stands twice")
    if expected is not None and not particles.equals(expected):
        problems.append("the particles are not those that one worker finds")
    if problems:
        sys.exit("FAILED: " + "; ".join(problems))
    return particles


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, help="how many; by the budget when left out")
    parser.add_argument("--budget", type=float, default=200.0, help="seconds (default: 200)")
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2, 4])
    parser.add_argument("--segmenter", default="classical")
    parser.add_argument("--dask", action="store_true", help="on a local Dask cluster")
    parser.add_argument("--large", action="store_true", help="1920 x 1200 px, 260 particles")
    given = parser.parse_args()
    settings = BatchSettings("0.1 um", segmenter=given.segmenter, threads=1)
    began = time.perf_counter()
    rows = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "images"
        folder.mkdir()
        rng = np.random.default_rng(0)
        count_of = given.images

        def drawn(k: int) -> None:
            path = folder / f"{k:04d}.png"
            draw_large(path, k) if given.large else draw(path, rng)

        if count_of is None:
            for k in range(2):
                drawn(k)
            tried = batch(folder, settings, Path(name) / "tried", progress=False)
            # the second one: the first also loads the model and compiles
            each = float(tried.images["seconds"].iloc[1])
            work = sum(1 / workers for workers in given.workers) * each
            left = given.budget - _START * len(given.workers)
            count_of = int(np.clip(left / work, 2 * max(given.workers), 400)) // 4 * 4
            print(f"one image takes {each:.2f} s: {count_of} images", flush=True)
        for k in range(len(list(folder.iterdir())), count_of):
            drawn(k)
        names = [path.name for path in sorted(folder.iterdir())]
        expected = None
        for count in given.workers:
            out = Path(name) / f"out{count}"
            load = os.getloadavg()[0]
            with cluster_of(count, given.dask) as client:
                workers = {"client": client} if client is not None else {"workers": count}
                start = time.perf_counter()
                result = batch(folder, settings, out, progress=False, **workers)
                seconds = time.perf_counter() - start
            times = np.array(sorted(stamps(out).values())) / 1e9
            steady = (len(times) - count) / (times[-1] - times[count - 1])
            particles = check(result, names, expected)
            expected = particles if expected is None else expected
            before = stamps(out)
            batch(folder, settings, out, progress=False)
            if stamps(out) != before:
                sys.exit("FAILED: a second call did images again that were done")
            rows.append(
                {
                    "workers": count,
                    "load_before": round(load, 1),
                    "seconds": round(seconds, 1),
                    "images_per_s": round(float(steady), 3),
                    "particles": len(particles),
                }
            )
            print(rows[-1], flush=True)
    table = pd.DataFrame(rows)
    table["ratio"] = (table["images_per_s"] / table["images_per_s"].iloc[0]).round(2)
    where = "Dask" if given.dask else "processes"
    print(f"{count_of} images, {given.segmenter}, {where}, {os.cpu_count()} cores")
    print(table.to_string(index=False))
    print("nothing lost, nothing twice, nothing done again")
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024  # KiB on Linux
    print(f"largest worker process {peak:.0f} MiB; {time.perf_counter() - began:.0f} s in all")


if __name__ == "__main__":
    main()
