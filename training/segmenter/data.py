"""Folders of micrographs with label maps, and which of them are never trained on."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import torch
from PIL import Image as PilImage

from particle_nb.models.tuning.crops import TrainingScene


def is_validation(name: str) -> bool:
    """Whether an image is kept for validation: a sixth of them, by a hash of the file name.

    >>> sum(is_validation(f"{n}.png") for n in range(600)) in range(80, 120)
    True
    """
    return int(hashlib.sha1(name.encode()).hexdigest()[:8], 16) % 6 == 0


def read_scenes(
    folder: Path, validation: bool, device: torch.device, limit: int | None = None
) -> list[TrainingScene]:
    """Scenes of a folder with images/<name>.png and labels/<name>.png, one side of the split."""
    scenes = []
    for path in sorted((folder / "images").glob("*.png")):
        if is_validation(path.name) != validation:
            continue
        with PilImage.open(path) as opened:
            pixels = np.asarray(opened.convert("L"))
        with PilImage.open(folder / "labels" / path.name) as opened:
            labels = np.asarray(opened).astype(np.int64)
        scenes.append(TrainingScene.of(path.name, pixels, labels, device))
        if limit and len(scenes) == limit:
            break
    return scenes


def read_synthetic(
    folder: Path, device: torch.device, limit: int | None = None
) -> list[TrainingScene]:
    """Scenes of a folder of .npz files with `image` and `labels` (H, W)."""
    scenes = []
    for path in sorted(folder.glob("*.npz"))[:limit]:
        with np.load(path) as data:
            scenes.append(
                TrainingScene.of(path.stem, data["image"], data["labels"].astype(np.int64), device)
            )
    return scenes
