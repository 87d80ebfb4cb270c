"""Score the embedded segmenter, or any segmenter, on micrographs with label maps.

    python -m training.segmenter.evaluate --data DIR --out report.json

By default on the validation split of the training data: images chosen by a hash of their names and
never trained on. Every number is a mean over images of the mean over an image's particles, unless
it says otherwise.
"""

from __future__ import annotations

import argparse
import json
import logging
import multiprocessing
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image as PilImage
from scipy import ndimage

from particle_nb.core.image import Image
from particle_nb.core.masks import Mask, MaskSet, Prompt
from particle_nb.core.matching import best_iou, calibration, score
from particle_nb.models import Segmenter, load_model
from training.segmenter.data import is_validation

Truth = tuple[Image, MaskSet]

log = logging.getLogger("training.segmenter.evaluate")


def read_folder(folder: Path, split: str = "validation") -> Iterable[Truth]:
    """Images and true masks of a folder with images/ and labels/, in the order of their names."""
    for path in sorted((folder / "images").glob("*.png")):
        if split != "all" and is_validation(path.name) != (split == "validation"):
            continue
        with PilImage.open(path) as opened:
            pixels = np.asarray(opened.convert("L"))
        with PilImage.open(folder / "labels" / path.name) as opened:
            labels = np.asarray(opened).astype(np.int64)
        if labels.any():
            yield Image(pixels, name=path.stem), MaskSet.from_labels(labels)


def middle(mask: np.ndarray) -> tuple[float, float]:
    """The (x, y) deepest inside a bool array (h, w)."""
    depth = ndimage.distance_transform_edt(np.pad(mask, 1))[1:-1, 1:-1]
    row, column = np.unravel_index(int(depth.argmax()), mask.shape)
    return float(column), float(row)


def correction(predicted: Mask | None, truth: Mask) -> tuple[tuple[float, float], int] | None:
    """The click that corrects most, (x, y) and label: in the larger of missed and false area."""
    wanted = truth.full()
    given = np.zeros_like(wanted) if predicted is None else predicted.full()
    missed, false = wanted & ~given, given & ~wanted
    label = int(missed.sum() >= false.sum())
    error = _largest(missed if label else false)
    if error is None:
        return None
    row, column, crop = error
    x, y = middle(crop)
    return (x + column, y + row), label


def false_click(predicted: Mask, truth: Mask) -> tuple[float, float] | None:
    """The middle of the largest falsely covered part, if that is a tenth of the mask or more."""
    error = _largest(predicted.full() & ~truth.full())
    if error is None or np.count_nonzero(error[2]) < 0.1 * predicted.area:
        return None
    x, y = middle(error[2])
    return x + error[1], y + error[0]


def _largest(error: np.ndarray) -> tuple[int, int, np.ndarray] | None:
    parts, count = ndimage.label(error)
    if not count:
        return None
    best = int(np.argmax(np.bincount(parts.ravel())[1:])) + 1
    rows, columns = ndimage.find_objects(parts)[best - 1]
    return rows.start, columns.start, parts[rows, columns] == best


def shape_class(mask: Mask) -> str:
    """``compact``, ``elongated``, ``rod`` or ``irregular``, from second moments and solidity."""
    from skimage.measure import regionprops

    region = regionprops(mask.crop.astype(np.uint8))[0]
    ratio = region.axis_minor_length / max(region.axis_major_length, 1e-6)
    if region.area_convex and region.area / region.area_convex < 0.85:
        return "irregular"
    return "rod" if ratio < 0.4 else "elongated" if ratio < 0.7 else "compact"


def size_class(mask: Mask) -> str:
    """Class of the equivalent diameter in pixels."""
    diameter = 2.0 * np.sqrt(mask.area / np.pi)
    for limit, name in ((10, "< 10 px"), (20, "10-20 px"), (40, "20-40 px"), (100, "40-100 px")):
        if diameter < limit:
            return name
    return ">= 100 px"


def radius_error(predicted: Mask, truth: Mask) -> float:
    """Radius of the circle as large as the predicted mask less the true one's, px; NaN below
    an IoU of 0.5, where the two are not the same particle."""
    if predicted.iou(truth) < 0.5:
        return float("nan")
    return float((np.sqrt(predicted.area) - np.sqrt(truth.area)) / np.sqrt(np.pi))


def matched_errors(masks: MaskSet, truth: MaskSet) -> list[list[Any]]:
    """Size class, radius error in px and in per cent of every true particle that was found."""
    labels = truth.to_labels()
    out: list[list[Any]] = []
    for mask in masks:
        r0, c0, r1, c1 = mask.bbox
        seen = np.bincount(labels[r0:r1, c0:c1][mask.crop], minlength=len(truth) + 1)
        best = int(seen[1:].argmax())
        error = radius_error(mask, truth[best])
        if np.isfinite(error):
            radius = np.sqrt(truth[best].area / np.pi)
            out.append([size_class(truth[best]), round(error, 3), round(100 * error / radius, 2)])
    return out


def size_bias(rows: Sequence[Sequence[Any]]) -> dict[str, dict[str, float]]:
    """Median radius error of each size class and of all, in px and in per cent."""
    table = pd.DataFrame(rows, columns=["size", "px", "percent"]).dropna()
    groups = [*table.groupby("size"), ("all", table)]
    return {
        str(name): {
            "count": len(group),
            "px": round(float(group["px"].median()), 3),
            "percent": round(float(group["percent"].median()), 2),
        }
        for name, group in groups
        if len(group)
    }


def score_prompts(
    segmenter: Segmenter, image: Image, truth: MaskSet, most: int, rng: np.random.Generator
) -> list[dict[str, Any]]:
    """One row per particle: IoU of clicks, boxes, corrections, and the predicted IoU."""
    embedding = segmenter.encode(image)
    able = np.flatnonzero(truth.areas >= 20)
    rows = []
    for index in rng.permutation(able)[:most]:
        mask = truth[int(index)]
        x, y = middle(mask.crop)
        spot = (x + mask.origin[1], y + mask.origin[0])
        candidates = segmenter.predict(embedding, Prompt(points=(spot,)))
        ious = [candidate.iou(mask) for candidate in candidates]
        first = candidates[0] if len(candidates) else None
        row: dict[str, Any] = {
            "image": image.name,
            "area": mask.area,
            "shape": shape_class(mask),
            "size": size_class(mask),
            "click": ious[0] if ious else 0.0,
            "best": max(ious, default=0.0),
            "predicted": first.predicted_iou if first else 0.0,
            "click_error": radius_error(first, mask) if first else float("nan"),
        }
        fix = correction(first, mask)
        if fix is not None and row["click"] < 0.98:
            points, labels = (spot, fix[0]), (1, fix[1])
            row["second_plain"] = _first_iou(segmenter, embedding, Prompt(points, labels), mask)
            sketch = first.full() if first else None
            row["second"] = _first_iou(
                segmenter, embedding, Prompt(points, labels, sketch=sketch), mask
            )
        else:
            row["second"] = row["second_plain"] = row["click"]
        negative = false_click(first, mask) if first else None
        if negative is not None and first is not None:
            points, labels = (spot, negative), (1, 0)
            row["negative_before"] = row["click"]
            row["negative_plain"] = _first_iou(segmenter, embedding, Prompt(points, labels), mask)
            row["negative"] = _first_iou(
                segmenter, embedding, Prompt(points, labels, sketch=first.full()), mask
            )
        r0, c0, r1, c1 = mask.bbox
        box = np.array([c0, r0, c1 - 1, r1 - 1], float)
        extent = np.array([c1 - c0, r1 - r0] * 2, float)
        noisy = box + rng.uniform(-0.1, 0.1, 4) * extent
        if noisy[2] <= noisy[0] or noisy[3] <= noisy[1]:
            noisy = box + np.array([-0.5, -0.5, 0.5, 0.5])
        answer = segmenter.predict(embedding, Prompt(box=tuple(noisy)))
        row["box"] = answer[0].iou(mask) if len(answer) else 0.0
        row["box_best"] = max((a.iou(mask) for a in answer), default=0.0)
        row["box_error"] = radius_error(answer[0], mask) if len(answer) else float("nan")
        row["box_predicted"] = answer[0].predicted_iou if len(answer) else 0.0
        rows.append(row)
    return rows


def _first_iou(segmenter: Segmenter, embedding: Any, prompt: Prompt, truth: Mask) -> float:
    answer = segmenter.predict(embedding, prompt)
    return answer[0].iou(truth) if len(answer) else 0.0


def score_automatic(segmenter: Segmenter, image: Image, truth: MaskSet) -> dict[str, Any]:
    """F1 at IoU 0.5, AJI, counts and seconds of the automatic mode on one image."""
    begin = time.perf_counter()
    masks = segmenter.generate(image)
    seconds = time.perf_counter() - begin
    result = score(masks, truth)
    tp = int(result.tp[0])
    return {
        "image": image.name,
        "f1": result.f1 if np.isfinite(result.f1) else 0.0,
        "aji": result.aji if np.isfinite(result.aji) else 0.0,
        "tp": tp,
        "fp": result.n_predicted - tp,
        "fn": result.n_truth - tp,
        "seconds": seconds,
        "errors": matched_errors(masks, truth),
        "predicted": [round(float(v), 4) for v in masks.predicted_iou],
        "real": [round(float(v), 4) for v in best_iou(masks, truth)] if len(masks) else [],
        "confidence": [round(float(v), 4) for v in np.nan_to_num(masks.confidence)],
    }


def judged(confidence: np.ndarray, real: np.ndarray) -> dict[str, float]:
    """Calibration error and AUROC of confidences (N,) against best IoUs (N,) with the truth.

    >>> judged(np.array([0.9, 0.8, 0.2]), np.array([0.9, 0.7, 0.1]))["auroc"]
    1.0
    """
    hit = real >= 0.5
    order = np.argsort(confidence, kind="stable")
    ranks = np.empty(len(order))
    _, group = np.unique(confidence[order], return_inverse=True)
    ranks[order] = (
        np.bincount(group, np.arange(1, len(order) + 1))[group] / np.bincount(group)[group]
    )
    good, bad = int(hit.sum()), int((~hit).sum())
    out = {"proposals": len(hit), "true": round(good / max(len(hit), 1), 4)}
    out["ece"] = round(calibration(confidence, hit.astype(float)).expected_error, 4)
    if good and bad:
        area = (ranks[hit].sum() - good * (good + 1) / 2) / (good * bad)
        out["auroc"] = round(float(area), 4)
    return out


def by_class(table: pd.DataFrame, column: str, values: list[str]) -> dict[str, dict[str, float]]:
    """Mean over particles of each class, with its count."""
    out = {}
    for name, group in table.groupby(column):
        out[str(name)] = {"count": len(group)} | {
            v: round(float(group[v].mean()), 4) for v in values
        }
    return out


def summarise(rows: list[dict[str, Any]], autos: list[dict[str, Any]]) -> dict[str, Any]:
    """What the model card quotes, from the rows of `score_prompts` and `score_automatic`."""
    out: dict[str, Any] = {}
    if rows:
        table = pd.DataFrame(rows)
        values = ["click", "best", "box", "box_best", "second_plain", "second"]
        means = table.groupby("image")[values].mean()
        out["images"], out["particles"] = len(means), len(table)
        out |= {v: round(float(means[v].mean()), 4) for v in values}
        out["corrections"] = _corrections(table)
        real = {name: table[name].to_numpy() for name in ("click", "box")}
        predicted = {
            "click": table["predicted"].to_numpy(),
            "box": table["box_predicted"].to_numpy(),
        }
        real["both"] = np.concatenate([real["click"], real["box"]])
        predicted["both"] = np.concatenate([predicted["click"], predicted["box"]])
        for name in real:
            checked = calibration(predicted[name], real[name])
            out["ece_" + name] = round(checked.expected_error, 4)
        out["reliability"] = checked.table.round(4).to_dict("records")
        out["by_shape"] = by_class(table, "shape", ["click", "best", "box"])
        out["by_size"] = by_class(table, "size", ["click", "best", "box"])
        radii = np.sqrt(table["area"] / np.pi)
        for kind in ("click", "box"):
            error = table[kind + "_error"]
            out["size_bias_" + kind] = size_bias(
                list(zip(table["size"], error, 100 * error / radii, strict=True))
            )
        out["per_image"] = means.round(4).to_dict("index")
        out["pairs"] = [predicted["both"].round(4).tolist(), real["both"].round(4).tolist()]
    if autos:
        out["f1"] = round(float(np.mean([a["f1"] for a in autos])), 4)
        out["aji"] = round(float(np.mean([a["aji"] for a in autos])), 4)
        out["seconds_automatic"] = round(float(np.mean([a["seconds"] for a in autos])), 3)
        out["size_bias_automatic"] = size_bias([row for a in autos for row in a["errors"]])
        found = np.concatenate([a["predicted"] for a in autos])
        true = np.concatenate([a["real"] for a in autos])
        if len(found):
            out["ece_automatic"] = round(calibration(found, true).expected_error, 4)
            sure = np.concatenate([a["confidence"] for a in autos])
            out["confidence"] = judged(sure, true)
        out["automatic"] = [{k: v for k, v in a.items() if k != "errors"} for a in autos]
    return out


def _corrections(table: pd.DataFrame) -> dict[str, float]:
    """Mean IoU over particles before and after a second and a negative click."""
    second = table[table["click"] < 0.98]
    out = {
        "second_count": len(second),
        "second_before": float(second["click"].mean()),
        "second_after": float(second["second_plain"].mean()),
        "second_after_from_mask": float(second["second"].mean()),
    }
    if "negative" in table:
        some = table.dropna(subset=["negative"])
        out |= {
            "negative_count": len(some),
            "negative_before": float(some["negative_before"].mean()),
            "negative_after": float(some["negative_plain"].mean()),
            "negative_after_from_mask": float(some["negative"].mean()),
        }
    return {name: round(value, 4) for name, value in out.items()}


@dataclass(frozen=True)
class Task:
    """What one process scores: some images of a folder."""

    folder: str
    split: str
    numbers: tuple[int, ...]
    model: str
    most: int
    only: str | None
    threads: int


def evaluate(task: Task) -> tuple[list[dict[str, Any]], list[dict[str, Any]], str, str]:
    """Rows of particles, rows of images, model name and weights digest."""
    import torch

    torch.set_num_threads(task.threads)
    segmenter = load_model(task.model, "segmenter", "cpu")
    rows: list[dict[str, Any]] = []
    autos: list[dict[str, Any]] = []
    for number, (image, truth) in enumerate(read_folder(Path(task.folder), task.split)):
        if number not in task.numbers:
            continue
        if task.only != "automatic":
            rng = np.random.default_rng([1, number])
            rows += score_prompts(segmenter, image, truth, task.most, rng)
        if task.only != "prompts":
            autos.append(score_automatic(segmenter, image, truth))
        log.info("%s: %d particles", image.name, len(truth))
    return rows, autos, segmenter.name, segmenter.digest


def main(argv: list[str] | None = None) -> None:
    """Parse the command line and write the report."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--data", required=True, help="folder with images/ and labels/")
    parser.add_argument("--split", choices=("validation", "train", "all"), default="validation")
    parser.add_argument("--model", default="embedded", help="a segmenter as Session takes it")
    parser.add_argument("--most", type=int, default=25, help="particles prompted per image")
    parser.add_argument("--every", type=int, default=1, help="score every n-th image only")
    parser.add_argument("--only", choices=("prompts", "automatic"))
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--out", type=Path, required=True, help="JSON report")
    args = parser.parse_args(argv)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    count = sum(1 for _ in read_folder(Path(args.data), args.split))
    chosen = list(range(0, count, args.every))
    tasks = [
        Task(
            args.data,
            args.split,
            tuple(chosen[part :: args.processes]),
            args.model,
            args.most,
            args.only,
            args.threads,
        )
        for part in range(args.processes)
    ]
    with multiprocessing.get_context("spawn").Pool(args.processes) as pool:
        done = pool.map(evaluate, tasks)
    rows = [row for part in done for row in part[0]]
    autos = [row for part in done for row in part[1]]
    result = {"model": done[0][2], "weights": done[0][3]} | summarise(rows, autos)
    args.out.write_text(json.dumps(result, indent=1))
    long = ("per_image", "pairs", "automatic", "reliability")
    log.info(json.dumps({k: v for k, v in result.items() if k not in long}, indent=1))


if __name__ == "__main__":
    main()
