"""How good a segmenter is on images with known masks: automatic F1, and the first click."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy import ndimage

from particle_nb.core.masks import Mask, MaskSet, Prompt
from particle_nb.core.matching import best_iou, calibration, score
from particle_nb.models.protocols import Segmenter
from particle_nb.models.tuning.lessons import Lesson

#: Particles clicked on in each image; smaller ones than this many pixels are left out.
CLICKS, LEAST_AREA = 8, 20


def innermost(mask: Mask) -> tuple[float, float]:
    """The (x, y) deepest inside a mask."""
    depth = ndimage.distance_transform_edt(np.pad(mask.crop, 1))[1:-1, 1:-1]
    row, column = np.unravel_index(int(depth.argmax()), mask.crop.shape)
    return float(column + mask.origin[1]), float(row + mask.origin[0])


def automatic_f1(masks: MaskSet, truth: MaskSet) -> float:
    """F1 at an IoU of 0.5; 1 where nothing is there and nothing was found."""
    if not len(masks) and not len(truth):
        return 1.0
    value = score(masks, truth).f1
    return float(value) if np.isfinite(value) else 0.0


def click_iou(segmenter: Segmenter, lesson: Lesson) -> float:
    """Mean IoU of the first answer to a click in the middle, over some particles; NaN for none."""
    able = np.flatnonzero(lesson.masks.areas >= LEAST_AREA)
    if not len(able):
        return float("nan")
    embedding = segmenter.encode(lesson.image)
    chosen = np.random.default_rng(3).permutation(able)[:CLICKS]
    ious = []
    for index in chosen:
        mask = lesson.masks[int(index)]
        answer = segmenter.predict(embedding, Prompt(points=(innermost(mask),)))
        ious.append(answer[0].iou(mask) if len(answer) else 0.0)
    return float(np.mean(ious))


def scores_of(
    segmenter: Segmenter, lessons: Sequence[Lesson], clicks: bool = True
) -> list[dict[str, Any]]:
    """A row a lesson: ``f1``, ``click`` and the confidences and IoUs of what was found."""
    rows = []
    for lesson in lessons:
        found = segmenter.generate(lesson.image)
        true = best_iou(found, lesson.masks) if len(found) else np.zeros(0)
        rows.append(
            {
                "image": lesson.name,
                "particles": len(lesson.masks),
                "f1": automatic_f1(found, lesson.masks),
                "click": click_iou(segmenter, lesson) if clicks else float("nan"),
                "confidence": np.asarray(found.confidence, float),
                "iou": np.asarray(true, float),
            }
        )
    return rows


def mean_f1(rows: Sequence[dict[str, Any]]) -> float:
    """Mean of the images' F1."""
    return float(np.mean([row["f1"] for row in rows])) if rows else float("nan")


def confidence_error(rows: Sequence[dict[str, Any]]) -> float:
    """Expected calibration error of the confidences of what was found; NaN where there are none."""
    sure = np.concatenate([row["confidence"] for row in rows] or [np.zeros(0)])
    true = np.concatenate([row["iou"] for row in rows] or [np.zeros(0)])
    known = np.isfinite(sure)
    if not known.any():
        return float("nan")
    return float(calibration(sure[known], (true[known] >= 0.5).astype(float)).expected_error)
