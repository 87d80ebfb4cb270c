"""Measure what the automatic mode misses, invents and outlines wrongly, image by image.

    python -m training.segmenter.finding --data DIR --out particle_nb/core/sizes/finding.json

DIR holds images/ and labels/ as for training; its validation split, which nothing was trained on,
is taken. `pnb.SizeDistribution.interval(masks=)` draws from the table. With --check every image is
taken out in turn: how often do intervals of the median by number, made with the table of the other
images, hold the truth?
"""

from __future__ import annotations

import argparse
import json
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from particle_nb import Session, measure, size_distribution
from particle_nb.core.masks import MaskSet
from particle_nb.core.sizes.finding import SegmentationErrors
from training.segmenter.evaluate import read_folder

#: Limits of classes of x_A, px.
LIMITS = (3.0, 10.0, 20.0, 40.0, 100.0, 1000.0)


def across(masks: MaskSet) -> np.ndarray:
    """x_A of masks, px, float (N,)."""
    return np.sqrt(4 / np.pi * masks.areas)


def row_of(found: MaskSet, truth: MaskSet) -> dict[str, Any]:
    """What one image adds to the table; masks and particles match at an IoU of 0.5."""
    iou = found.iou(truth).tocoo()
    mask, particle = (index[iou.data >= 0.5] for index in iou.coords)
    sizes, measured = across(truth), across(found)
    kind = np.clip(np.searchsorted(LIMITS, sizes, side="right") - 1, 0, len(LIMITS) - 2)
    classes = len(LIMITS) - 1
    _, first = np.unique(particle, return_index=True)
    mask, particle = mask[first], particle[first]
    count = np.bincount(kind[particle], minlength=classes)
    error = np.bincount(kind[particle], measured[mask] - sizes[particle], minlength=classes)
    return {
        "true": np.bincount(kind, minlength=classes).tolist(),
        "found": count.tolist(),
        "outline": np.round(error / np.maximum(count, 1), 3).tolist(),
        "told": round(float(np.nansum(found.confidence)), 2),
        "right": len(np.unique(mask)),
    }


def table_of(rows: Sequence[dict[str, Any]], source: str) -> dict[str, Any]:
    """The table of all images, as `SegmentationErrors` takes it."""
    columns = {key: [row[key] for row in rows] for key in rows[0]}
    return {"limits": list(LIMITS), **columns, "source": source}


def checked(
    rows: Sequence[dict[str, Any]], pairs: Sequence[tuple[MaskSet, MaskSet]]
) -> dict[str, Any]:
    """How often 95 % intervals of x_50,0 hold the truth, with and without the table's errors."""
    inside = {"sampling": [], "with masks": []}  # type: dict[str, list[bool]]
    for left, (found, truth) in enumerate(pairs):
        if len(found) < 10 or len(truth) < 10:
            continue
        errors = SegmentationErrors(**table_of([*rows[:left], *rows[left + 1 :]], ""))
        q0 = size_distribution(measure(found), r=0)
        wanted = size_distribution(across(truth), r=0).percentile(50)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            for name, more in (("sampling", {}), ("with masks", {"masks": found})):
                low, high = q0.interval(50, **more, errors=errors if more else None)
                inside[name].append(bool(low <= wanted <= high))
    return {name: [sum(hits), len(hits)] for name, hits in inside.items()}


def main(argv: list[str] | None = None) -> None:
    """Parse the command line, measure and write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--data", required=True, help="folder with images/ and labels/")
    parser.add_argument("--out", required=True, help="table to write, .json")
    parser.add_argument("--check", action="store_true", help="also print the coverage")
    args = parser.parse_args(argv)
    session = Session()
    rows, pairs = [], []
    for image, truth in read_folder(Path(args.data)):
        found = session.propose(image)
        session.cache_clear()
        rows.append(row_of(found, truth))
        pairs.append((found, truth))
    model = session.segmenter.name
    source = f"{model} on {len(rows)} EMPS micrographs that it was not trained on"
    Path(args.out).write_text(json.dumps(table_of(rows, source)) + "\n", encoding="utf-8")
    if args.check:
        print(json.dumps(checked(rows, pairs)))


if __name__ == "__main__":
    main()
