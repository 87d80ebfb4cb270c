"""What tuning gives: a segmenter with its scores and its parentage, and the file it is kept in."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd
from torch import Tensor

from particle_nb.core.errors import ModelError
from particle_nb.core.files import atomic
from particle_nb.models.protocols import Segmenter


@dataclass(frozen=True, eq=False)
class Tuned:
    """A segmenter after tuning.

    Parameters
    ----------
    segmenter : Segmenter
        The tuned one, or the old one where tuning gained nothing.
    scores : DataFrame
        A row for each held-out image, and for each drawn picture that was to be remembered:
        ``kind`` ("held out" or "rehearsed"), ``particles``, ``f1_before``, ``f1_after``,
        ``click_before``, ``click_after``. ``scores.attrs["confidence_error"]`` says how far
        confidences were off on the held-out images, before and after.
    kept : bool
        Whether the new weights are in `segmenter`.
    notes : tuple of str
        What to know of it, in words.
    about : dict
        Parentage: ``parent``, ``annotations`` (with digests), ``settings``, ``scores``, ``date``,
        ``version``, ``steps``, ``minutes``.
    """

    segmenter: Segmenter
    scores: pd.DataFrame
    kept: bool
    notes: tuple[str, ...]
    about: dict[str, Any]
    data: bytes = field(repr=False, default=b"")

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write the weights with their parentage; ``Session(segmenter=path)`` loads them.

        Raises
        ------
        DataError
            If nothing can be written there.
        ModelError
            If the name does not end in ``.safetensors``.
        """
        if not isinstance(path, (str, os.PathLike)) or Path(path).suffix != ".safetensors":
            raise ModelError(
                f"weights are saved as a .safetensors file, not as {str(path)[:80]!r}; name it "
                "like 'mine.safetensors'."
            )
        with atomic(path) as stream:
            stream.write(self.data)
        return Path(path)

    @property
    def gain(self) -> float:
        """Mean automatic F1 on the held-out images, after less before."""
        held = self.scores[self.scores["kind"] == "held out"]
        return float((held["f1_after"] - held["f1_before"]).mean())

    def __repr__(self) -> str:
        held = self.scores[self.scores["kind"] == "held out"]
        before, after = held["f1_before"].mean(), held["f1_after"].mean()
        said = "kept" if self.kept else "not kept, the old weights stay"
        return (
            f"Tuned {self.segmenter.name}: automatic F1 {before:.3f} -> {after:.3f} on "
            f"{len(held)} held-out picture{'' if len(held) == 1 else 's'}, {said}"
        )


def packed(tensors: Mapping[str, Tensor], metadata: Mapping[str, Any]) -> bytes:
    """Tensors and facts as the bytes of a safetensors file; what is no text becomes JSON."""
    from safetensors.torch import save

    words = {
        key: value if isinstance(value, str) else json.dumps(value)
        for key, value in metadata.items()
    }
    held = {key: value.detach().cpu().contiguous() for key, value in tensors.items()}
    return save(held, words)


def file_digest(data: bytes) -> str:
    """SHA-256 of a weights file, 16 hex digits."""
    return hashlib.sha256(data).hexdigest()[:16]
