"""Prompts answered from a label image: the region under a click, in a box, or under a sketch."""

from __future__ import annotations

import math

import numpy as np
from scipy import ndimage

from particle_nb.core.masks import Mask, MaskSet, Prompt
from particle_nb.models.protocols import Embedding, Progress


def every_region(embedding: Embedding, progress: Progress | None) -> MaskSet:
    """Every region of the label image that an embedding holds; they never overlap."""
    masks = MaskSet.from_labels(np.asarray(embedding.arrays["labels"]))
    if progress is not None:
        progress(1, 1)
    return masks


def looked_up(labels: np.ndarray, embedding: Embedding, prompt: Prompt) -> MaskSet:
    """The region of labels (h, w) that a prompt means, then that merged with its neighbours.

    Raises
    ------
    PromptError
        If the prompt lies outside the image.
    """
    prompt.check(embedding.shape)
    x0, y0, x1, y1 = embedding.window
    wanted: set[int] = set()
    barred: set[int] = set()
    for (x, y), label in zip(prompt.points, prompt.labels or (), strict=True):
        row, col = math.floor(y + 0.5) - y0, math.floor(x + 0.5) - x0
        if 0 <= row < labels.shape[0] and 0 <= col < labels.shape[1]:
            (wanted if label else barred).add(int(labels[row, col]))
    rough = None
    if prompt.sketch is not None:
        rough = prompt.sketch[y0:y1, x0:x1]
    elif prompt.box is not None:
        rough = np.zeros(labels.shape, bool)
        bx0, by0, bx1, by1 = prompt.box
        rough[
            max(0, round(by0) - y0) : max(0, round(by1) - y0 + 1),
            max(0, round(bx0) - x0) : max(0, round(bx1) - x0 + 1),
        ] = True
    if rough is not None:
        inside = np.bincount(labels[rough], minlength=int(labels.max()) + 1)
        whole = np.bincount(labels.ravel(), minlength=len(inside))
        wanted |= set(np.flatnonzero(inside > 0.5 * np.maximum(whole, 1)).tolist())
    wanted -= barred | {0}
    if not wanted:
        return MaskSet((), embedding.shape)
    region = np.isin(labels, list(wanted))
    grown = ndimage.binary_dilation(region, iterations=2)
    merged = np.isin(labels, list(set(np.unique(labels[grown]).tolist()) - barred - {0}))
    candidates = [region]
    if merged.sum() > region.sum():
        candidates.append(merged)
    return MaskSet(
        tuple(Mask((y0, x0), candidate, embedding.shape) for candidate in candidates),
        embedding.shape,
    )
