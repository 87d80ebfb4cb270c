"""Fitted classes on the disk: a file without pickle, and back."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from particle_nb.core.archives import named_damage, unpacked, write_archive
from particle_nb.core.errors import DataError
from particle_nb.core.learning._samples import check_parameters
from particle_nb.core.learning.features import FeatureTable

if TYPE_CHECKING:
    from particle_nb.core.learning.classifier import ShapeClassifier

_FORMAT = 1
_LARGEST_FILE = 1 << 30
#: Arrays of a fitted classifier that a file holds beside the labelled rows.
_ARRAYS = (
    "targets",
    "centre",
    "factor",
    "outline",
    "outline_spread",
    "coefficients",
    "intercepts",
    "held_out",
    "scores",
)


def write(made: ShapeClassifier, path: str | os.PathLike[str]) -> Path:
    """Write a fitted classifier: what predicting needs, and the labelled rows."""
    weight = made.class_weight
    about = {
        "format": _FORMAT,
        "parameters": {
            "reject": made.reject if isinstance(made.reject, str) else float(made.reject),
            "alpha": float(made.alpha),
            "class_weight": (
                {name: float(value) for name, value in weight.items()}
                if isinstance(weight, Mapping)
                else weight
            ),
            "novelty": float(made.novelty),
            "strength": float(made.strength),
        },
        "classes": [str(name) for name in made.classes_],
        "names": list(made._rows.names),
        "model": made._rows.model,
        "digest": made._rows.digest,
        "licence": made._rows.licence,
        "images": list(made._rows.images),
        "groups": [str(group) for group in made._groups],
        "grouped": made._grouped,
        "plain": made._plain,
        "folds": len(made._folds),
        "temperature": made._temperature,
        "weights": list(made._weights),
        "usual": list(made._usual),
    }
    arrays = {name: getattr(made, f"_{name}") for name in _ARRAYS}
    return write_archive(path, about, {"rows": made._rows.values, **arrays})


def read(cls: type[ShapeClassifier], path: str | os.PathLike[str]) -> ShapeClassifier:
    """Read what `write` wrote."""
    with named_damage(path, "no classes written by save"):
        about, stored = unpacked(path, _LARGEST_FILE)
        return _restored(cls, about, {name: stored[name] for name in ("rows", *_ARRAYS)})


def _restored(
    cls: type[ShapeClassifier], about: dict[str, Any], arrays: dict[str, np.ndarray]
) -> ShapeClassifier:
    """Make the classifier of a file's words and arrays, after looking at them."""
    if about["format"] != _FORMAT:
        raise DataError(
            f"these classes are of format {about['format']}, this version reads {_FORMAT}."
        )
    made = cls(**about["parameters"])
    check_parameters(made.get_params())
    made.classes_ = np.array(about["classes"], object)
    made._rows = FeatureTable(
        arrays.pop("rows"),
        tuple(about["names"]),
        about["model"],
        about["digest"],
        about["licence"],
        tuple(about["images"]),
    )
    count, width = made._rows.shape
    size = len(made.classes_)
    shapes = {
        "centre": (width,),
        "factor": (width,),
        "outline_spread": arrays["outline"].shape,
        "coefficients": (size, width),
        "intercepts": (size,),
        "targets": (count,),
        "held_out": (count, size),
        "scores": (count,),
    }
    for name, shape in shapes.items():
        if arrays[name].shape != shape or not np.isfinite(arrays[name]).all():
            raise DataError(f"the file is damaged: {name} is no array of {shape}.")
    for name, values in arrays.items():
        setattr(made, f"_{name}", values)
    made.n_features_in_ = width
    made._all = None
    made._plain, made._grouped = bool(about["plain"]), bool(about["grouped"])
    made._groups = np.array(about["groups"], object)
    made._folds = [(np.zeros(0, int), np.zeros(0, int))] * int(about["folds"])
    made._temperature = float(about["temperature"])
    made._weights = _three(about["weights"])
    made._usual = _three(about["usual"])
    return made


def _three(numbers: list[Any]) -> tuple[float, float, float]:
    first, second, third = (float(number) for number in numbers)
    if not np.isfinite([first, second, third]).all():
        raise DataError("the file is damaged: a weight or a usual distance is no number.")
    return first, second, third
