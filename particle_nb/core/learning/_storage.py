"""Fitted classes on the disk: a file without pickle, and back."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import stats

from particle_nb.core.archives import named_damage, unpacked, write_archive
from particle_nb.core.errors import DataError
from particle_nb.core.learning._mixture import Mixture
from particle_nb.core.learning._samples import check_parameters
from particle_nb.core.learning._strangeness import Forms, Novelty
from particle_nb.core.learning.features import FeatureTable, shape_columns

if TYPE_CHECKING:
    from particle_nb.core.learning.classifier import ShapeClassifier

#: 1 had no mixtures and no held-out strangeness.
_FORMAT = 2
_LARGEST_FILE = 1 << 30
#: Arrays of a fitted classifier that a file holds beside the labelled rows.
_ARRAYS = (
    "targets",
    "centre",
    "factor",
    "coefficients",
    "intercepts",
    "held_out",
    "scores",
)
#: Arrays of what it knows of strange forms.
_FORMS = ("outline", "outline_spread")
_STRANGE = ("held_strangeness", "cloud_columns", "cloud_means", "cloud_precisions", "cloud_shares")


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
        "clouds": [[len(m.shares), m.classes] for m in made._novelty.mixtures],
        "usual": [list(pair) for pair in made._novelty.usual],
    }
    arrays = {name: getattr(made, f"_{name}") for name in _ARRAYS} | _of_novelty(made._novelty)
    return write_archive(path, about, {"rows": made._rows.values, **arrays})


def read(cls: type[ShapeClassifier], path: str | os.PathLike[str]) -> ShapeClassifier:
    """Read what `write` wrote."""
    with named_damage(path, "no classes written by save"):
        about, stored = unpacked(path, _LARGEST_FILE)
        names = ("rows", *_ARRAYS, *_FORMS, *(_STRANGE if about["format"] != 1 else ()))
        return _restored(cls, about, {name: stored[name] for name in names})


def _restored(
    cls: type[ShapeClassifier], about: dict[str, Any], arrays: dict[str, np.ndarray]
) -> ShapeClassifier:
    """Make the classifier of a file's words and arrays, after looking at them."""
    if about["format"] not in (1, _FORMAT):
        raise DataError(
            f"these classes are of format {about['format']}, this version reads up to {_FORMAT}."
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
        "coefficients": (size, width),
        "intercepts": (size,),
        "targets": (count,),
        "held_out": (count, size),
        "scores": (count,),
    }
    for name, shape in shapes.items():
        _check(name, arrays[name], shape)
        setattr(made, f"_{name}", arrays[name])
    made._novelty = _novelty(about, arrays, count, width)
    made.n_features_in_ = width
    made._all = None
    made._plain, made._grouped = bool(about["plain"]), bool(about["grouped"])
    made._groups = np.array(about["groups"], object)
    made._folds = [(np.zeros(0, int), np.zeros(0, int))] * int(about["folds"])
    made._temperature = float(about["temperature"])
    made._weights = _three(about["weights"])
    return made


def _check(name: str, values: np.ndarray, shape: tuple[int, ...]) -> None:
    if values.shape != shape or not np.isfinite(values).all():
        raise DataError(f"the file is damaged: {name} is no array of {shape}.")


def _of_novelty(novelty: Novelty) -> dict[str, np.ndarray]:
    """Arrays of what is known of strange forms; those of all mixtures below each other."""
    width = len(novelty.places)
    clouds = novelty.mixtures
    return {
        "outline": novelty.forms.columns,
        "outline_spread": novelty.forms.spread,
        "held_strangeness": novelty.held,
        "cloud_columns": novelty.places,
        "cloud_means": np.concatenate([np.zeros((0, width)), *(m.means for m in clouds)]),
        "cloud_precisions": np.concatenate(
            [np.zeros((0, width, width)), *(m.precisions for m in clouds)]
        ),
        "cloud_shares": np.concatenate([np.zeros(0), *(m.shares for m in clouds)]),
    }


def _novelty(
    about: dict[str, Any], arrays: dict[str, np.ndarray], count: int, width: int
) -> Novelty:
    outline = arrays["outline"]
    _columns("outline", outline, width)
    _check("outline_spread", arrays["outline_spread"], outline.shape)
    logs = not about["plain"] and bool(shape_columns(tuple(about["names"])))
    forms = Forms(outline, arrays["outline_spread"], logs)
    if about["format"] == 1:
        # it only wrote mean, standard deviation and number of held-out distances
        mean, spread, number = _three(about["usual"])
        if not 2 <= number <= count:
            raise DataError("the file is damaged: more held-out distances than labels.")
        normal = stats.norm.ppf((np.arange(int(number)) + 0.5) / int(number))
        held = mean + spread * normal / normal.std(ddof=1)
        return Novelty(forms, (), np.zeros(0, np.int64), (), held)
    places = arrays["cloud_columns"]
    _columns("cloud_columns", places, len(outline))
    _check("held_strangeness", arrays["held_strangeness"], (count,))
    pairs = [(int(many), int(classes)) for many, classes in about["clouds"]]
    usual = tuple((float(mean), float(spread)) for mean, spread in about["usual"])
    total, deep = sum(many for many, _ in pairs), len(places)
    if len(pairs) != len(usual) or not all(0 < k < many for many, k in pairs):
        raise DataError("the file is damaged: its clouds do not go with its mixtures.")
    if not np.isfinite(usual).all() or not all(spread > 0 for _, spread in usual):
        raise DataError("the file is damaged: a usual distance is no number.")
    _check("cloud_means", arrays["cloud_means"], (total, deep))
    _check("cloud_precisions", arrays["cloud_precisions"], (total, deep, deep))
    _check("cloud_shares", arrays["cloud_shares"], (total,))
    if not (arrays["cloud_shares"] > 0).all():
        raise DataError("the file is damaged: cloud_shares are not all positive.")
    ends = np.cumsum([many for many, _ in pairs])
    mixtures = tuple(
        Mixture(
            arrays["cloud_means"][end - many : end],
            arrays["cloud_precisions"][end - many : end],
            arrays["cloud_shares"][end - many : end],
            classes,
        )
        for end, (many, classes) in zip(ends, pairs, strict=True)
    )
    return Novelty(forms, mixtures, places, usual, arrays["held_strangeness"])


def _columns(name: str, values: np.ndarray, width: int) -> None:
    whole = values.ndim == 1 and np.issubdtype(values.dtype, np.integer)
    if not whole or not ((values >= 0) & (values < width)).all():
        raise DataError(f"the file is damaged: {name} names no columns.")


def _three(numbers: list[Any]) -> tuple[float, float, float]:
    first, second, third = (float(number) for number in numbers)
    if not np.isfinite([first, second, third]).all():
        raise DataError("the file is damaged: a weight or a usual distance is no number.")
    return first, second, third
