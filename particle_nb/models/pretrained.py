"""Reading a transformers checkpoint from a folder, with errors that say what to do."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import torch

from particle_nb.core.errors import ModelError
from particle_nb.models import sam_load


def find_folder(source: str, what: str, example: str) -> Path:
    """Return the folder of a checkpoint named by a path or a hub id.

    Parameters
    ----------
    source : str
        A folder, or a hub id whose files lie in the local cache.
    what, example : str
        What is looked for (``"depth model"``) and a hub id of one, for the message.

    Raises
    ------
    ModelError
        If it is neither, or not there.

    Examples
    --------
    >>> find_folder("/no/such/folder", "depth model", "Intel/dpt-large")
    Traceback (most recent call last):
    ...
    particle_nb.core.errors.ModelError: ...
    """
    if not isinstance(source, str) or not source.strip():
        raise ModelError(f"name a {what}: a folder or a hub id such as {example!r}.")
    folder = Path(source).expanduser()
    if folder.is_dir():
        return folder
    if not re.fullmatch(r"[\w.-]+/[\w.-]+", source):
        raise ModelError(
            f"no {what} {source!r}: it is neither a folder nor a hub id of the form "
            f"owner/name. Get one with: hf download {example}"
        )
    return sam_load.cached(source)


def read_model(
    folder: Path, source: str, auto: Any, what: str, unused: re.Pattern[str] | None = None
) -> tuple[Any, str]:
    """Return a model and the digest of its weights, all of them from the folder.

    Parameters
    ----------
    folder : Path
        With ``config.json`` and ``*.safetensors``.
    source : str
        What the user called it.
    auto : class
        The transformers class whose ``from_pretrained`` builds the model.
    what : str
        What it should be, for the message.
    unused : pattern or None
        Names of tensors that the forward pass never reads, so that files may lack them.

    Raises
    ------
    ModelError
        If files are absent, damaged or of another kind, or lack tensors of the model.
    """
    from safetensors import SafetensorError

    if not list(folder.glob("*.safetensors")):
        raise ModelError(
            f"{str(folder)!r} has no *.safetensors; get the whole model with: hf download {source}"
        )
    try:
        loaded: Any = auto.from_pretrained(
            folder,
            local_files_only=True,
            use_safetensors=True,
            dtype=torch.float32,
            output_loading_info=True,
        )
    except (
        OSError,
        ValueError,
        RuntimeError,
        KeyError,
        TypeError,
        ImportError,
        SafetensorError,
    ) as error:
        raise ModelError(
            f"the weights in {str(folder)!r} cannot be read as a {what} "
            f"({str(error).splitlines()[0]}); get them with: hf download {source}"
        ) from None
    model, report = loaded
    absent = sorted(k for k in report["missing_keys"] if not (unused and unused.search(k)))
    wrong = sorted(map(str, report.get("mismatched_keys") or ()))
    if absent or wrong:
        raise ModelError(
            f"the weights in {str(folder)!r} lack {len(absent) + len(wrong)} tensors of the "
            f"model, e.g. {(absent or wrong)[0]!r}."
        )
    made_up = set(report["missing_keys"])
    tensors = {k: v for k, v in model.state_dict().items() if k not in made_up}
    return model, sam_load.weights_digest(tensors)


def read_json(path: Path, source: str) -> dict[str, Any]:
    """Return the object that a JSON file of a checkpoint holds.

    Raises
    ------
    ModelError
        If it cannot be read, or holds no object.
    """
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ModelError(
            f"{str(path)!r} cannot be read ({error}); get the model with: hf download {source}"
        ) from None
    if not isinstance(found, dict):
        raise ModelError(f"{str(path)!r} holds no JSON object.")
    return found


def normalisation(given: dict[str, Any], path: Path) -> tuple[Any, Any]:
    """Return mean and standard deviation per channel of a preprocessor's settings.

    Raises
    ------
    ModelError
        If they are there and unusable.
    """
    mean, std = given.get("image_mean", [0.5] * 3), given.get("image_std", [0.5] * 3)
    try:
        usable = np.shape(mean) == np.shape(std) == (3,) and min(map(float, std)) > 0
    except (TypeError, ValueError):
        usable = False
    if not usable:
        raise ModelError(f"{str(path)!r} has no usable image_mean and image_std.")
    return mean, std
