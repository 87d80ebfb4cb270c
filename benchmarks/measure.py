"""Particles per second of `measure` against scikit-image and imea on the same label images.

    python benchmarks/measure.py                     # rendered label images
    python benchmarks/measure.py labels/*.png        # your own label images

The tools take turns, image by image, in one process; processor time is
counted, so that threads gain nothing. A ratio is printed only where
the results agree: areas exactly, Feret diameters and perimeters within the stated tolerance. imea
is optional (``pip install imea``, best into an environment of its own) and is given a sample.
"""

from __future__ import annotations

import argparse
import importlib.util
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from scipy import ndimage
from skimage.io import imread
from skimage.measure import regionprops_table

from particle_nb.core.masks import MaskSet
from particle_nb.core.shape import measure

#: Properties of scikit-image that answer to the columns of `measure` as nearly as they can.
PROPERTIES = (
    "label", "area", "centroid", "perimeter", "area_convex", "feret_diameter_max",
    "equivalent_diameter_area", "solidity",
)  # fmt: skip
#: Relative differences that different estimators of one length may have, in the median.
TOLERANCE = {"area": 0.0, "feret_max": 0.05, "feret_min": 0.08, "perimeter": 0.06}


def rendered(rng: np.random.Generator, count: int = 6) -> list[np.ndarray]:
    """Label images of touching and separate blobs, 1000 to 2000 particles together."""
    images = []
    for _ in range(count):
        field = ndimage.gaussian_filter(rng.standard_normal((1024, 1024)), rng.uniform(7, 12))
        labels, number = ndimage.label(field > 0.9 * field.std())
        sizes = np.bincount(labels.ravel(), minlength=number + 1)
        labels[sizes[labels] < 80] = 0
        images.append(labels)
    return images


def with_skimage(labels: np.ndarray, masks: MaskSet) -> dict[str, np.ndarray]:
    table = regionprops_table(labels, properties=PROPERTIES)
    return {
        "area": table["area"],
        "feret_max": table["feret_diameter_max"],
        "perimeter": table["perimeter"],
    }


def with_imea(labels: np.ndarray, masks: MaskSet) -> dict[str, np.ndarray]:
    from imea import shape_measurements_2d

    full = np.zeros(labels.shape, bool)
    for mask in masks:  # one frame with well separated particles is what imea takes
        r0, c0, r1, c1 = mask.bbox
        full[r0:r1, c0:c1] |= mask.crop
    table = shape_measurements_2d(full, 1.0, dalpha=9)
    return {
        "area": np.sort(table["area_projection"].to_numpy()),
        "feret_max": np.sort(table["feret_max"].to_numpy()),
        "feret_min": np.sort(table["feret_min"].to_numpy()),
        "perimeter": np.sort(table["perimeter"].to_numpy()),
    }


def from_labels(labels: np.ndarray, masks: MaskSet) -> dict[str, np.ndarray]:
    return from_masks(labels, MaskSet.from_labels(labels))


def from_masks(labels: np.ndarray, masks: MaskSet) -> dict[str, np.ndarray]:
    table = measure(masks)
    return {
        "area": table["area_px2"].to_numpy(),
        "feret_max": table["x_Fmax_px"].to_numpy(),
        "feret_min": table["x_Fmin_px"].to_numpy(),
        "perimeter": table["perimeter_px"].to_numpy(),
    }


def compare(ours: list[dict[str, np.ndarray]], theirs: list[dict[str, np.ndarray]]) -> str:
    """Return why the results differ, or an empty text."""
    for name in theirs[0]:
        a = np.concatenate([np.asarray(part[name], float) for part in ours])
        b = np.concatenate([np.asarray(part[name], float) for part in theirs])
        if len(a) != len(b):
            return f"{len(a)} particles against {len(b)}"
        known = np.isfinite(a) & np.isfinite(b) & (b > 0)
        off = np.abs(a[known] / b[known] - 1)
        worst = off.max() if TOLERANCE[name] == 0 else np.median(off)
        print(f"    {name}: {'largest' if TOLERANCE[name] == 0 else 'median'} "
              f"difference {100 * worst:.2f} % (allowed {100 * TOLERANCE[name]:g} %)")  # fmt: skip
        if worst > TOLERANCE[name]:
            return f"{name} differs by {100 * worst:.2f} %"
    return ""


def main() -> int:
    parser = argparse.ArgumentParser(description="measure against scikit-image and imea")
    parser.add_argument("labels", nargs="*", type=Path, help="label images; rendered ones if none")
    parser.add_argument("--rounds", type=int, default=3, help="the best of so many is taken")
    parser.add_argument("--imea", type=int, default=1, help="how many images imea is given")
    args = parser.parse_args()
    images = [imread(path).astype(np.int32) for path in args.labels]
    images = images or rendered(np.random.default_rng(0))
    sets = [MaskSet.from_labels(labels) for labels in images]
    total = sum(map(len, sets))
    width = np.concatenate([np.sqrt(4 / np.pi * masks.areas) for masks in sets])
    print(f"{len(images)} label images, {total} particles, "
          f"median equivalent diameter {np.median(width):.0f} px")  # fmt: skip

    start = time.perf_counter()
    from_masks(images[0], sets[0])
    print(f"first call (compiling or loading compiled code): {time.perf_counter() - start:.2f} s")

    tools: dict[str, Callable[[np.ndarray, MaskSet], dict[str, np.ndarray]]] = {
        "particle_nb": from_masks,
        "particle_nb from labels": from_labels,
        "scikit-image": with_skimage,
    }
    spent = {name: np.full(len(images), np.inf) for name in tools}
    results: dict[str, list[dict[str, np.ndarray]]] = {name: [{}] * len(images) for name in tools}
    for _ in range(args.rounds):
        for k, (labels, masks) in enumerate(zip(images, sets, strict=True)):
            for name, tool in tools.items():
                start = time.process_time()
                results[name][k] = tool(labels, masks)
                spent[name][k] = min(spent[name][k], time.process_time() - start)
    for name in tools:
        print(f"{name}: {total / spent[name].sum():,.0f} particles/s")
    print("agreement with scikit-image:")
    why = compare(results["particle_nb"], results["scikit-image"])
    if why:
        print(f"no ratio to scikit-image: {why}")
        return 1
    base = spent["scikit-image"].sum()
    for name in ("particle_nb", "particle_nb from labels"):
        print(f"ratio {name} / scikit-image: {base / spent[name].sum():.1f}")

    if importlib.util.find_spec("imea") is None:
        print("imea is not installed: no ratio to it")
        return 0
    return against_imea(images[: args.imea], args.rounds)


def against_imea(images: list[np.ndarray], rounds: int) -> int:
    """Compare on parts that imea sees alike: 8-connected, whole, without holes."""
    mine, theirs, spent, again = [], [], 0.0, 0.0
    for labels in images:
        parts, _ = ndimage.label(labels > 0, np.ones((3, 3)))
        masks = MaskSet.from_labels(parts)
        table = measure(masks)
        good = ~table["touches_edge"].to_numpy() & (table["n_holes"] == 0).to_numpy()
        masks = masks[good][:40]
        best = min(_timed(from_masks, labels, masks)[0] for _ in range(rounds))
        again += best
        took, found = _timed(with_imea, labels, masks)
        spent += took
        theirs.append(found)
        mine.append({name: np.sort(v) for name, v in from_masks(labels, masks).items()})
    print("agreement with imea:")
    why = compare(mine, theirs)
    count = sum(len(part["area"]) for part in mine)
    if why:
        print(f"no ratio to imea: {why}")
        return 0
    print(f"imea: {count / spent:,.1f} particles/s on {count}; ratio {spent / again:,.0f}")
    return 0


def _timed(
    tool: Callable[[np.ndarray, MaskSet], dict[str, np.ndarray]], labels: np.ndarray, masks: MaskSet
) -> tuple[float, dict[str, np.ndarray]]:
    start = time.process_time()
    found = tool(labels, masks)
    return time.process_time() - start, found


if __name__ == "__main__":
    sys.exit(main())
