"""What tuning gives: a segmenter with its scores and its parentage, and the file it is kept in."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from particle_nb.models.protocols import Segmenter
from particle_nb.models.weights import write_weights


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
        return write_weights(path, self.data)

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
