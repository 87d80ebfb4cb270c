"""The phases of an image: which pixel is what, how certain that is, and how much there is."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from particle_nb.core.archives import read_archive, write_archive
from particle_nb.core.errors import DataError
from particle_nb.core.exports.labels import write_label_pixels
from particle_nb.core.files import atomic
from particle_nb.core.image import Calibration
from particle_nb.core.image.image import checked_calibration
from particle_nb.core.masks import MaskSet
from particle_nb.core.phases.fractions import phase_fractions

#: Most phases that a map may hold.
MOST = 64
_FORMAT = 1


@dataclass(frozen=True, eq=False)
class PhaseMap:
    """The phase of every pixel of an image.

    Parameters
    ----------
    labels : int array (H, W)
        Phases 0 to K - 1; -1 where the image holds no number.
    probabilities : float array (H, W, K) or None
        Share of the classifier's votes for each phase, kept as float16; None where unknown.
    names : sequence of str (K,) or mapping of int to str
        What the phases are called, afterwards a dict of all; "phase 0" and so on where nothing is
        given.
    calibration : Calibration or None
        Of the image.
    name : str
        Of the image.
    info : dict
        How it was made: features, digests, painted pixels, version.

    Raises
    ------
    DataError
        If labels are no whole numbers of two dimensions, or arrays and names do not fit.

    Examples
    --------
    >>> phases = PhaseMap(np.array([[0, 0], [0, 1]]), names=("matrix", "pore"))
    >>> phases.fractions(interval=None)["fraction"].to_dict()
    {'matrix': 0.75, 'pore': 0.25}
    """

    labels: np.ndarray
    probabilities: np.ndarray | None = None
    names: Sequence[str] | Mapping[int, str] = ()
    calibration: Calibration | None = None
    name: str = ""
    info: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        labels = _checked_labels(self.labels)
        probable = self.probabilities
        if probable is not None:
            probable = np.array(probable, np.float16)
            if probable.ndim != 3 or probable.shape[:2] != labels.shape:
                raise DataError(
                    f"probabilities are (H, W, K) on the labels' frame {labels.shape}, not "
                    f"{probable.shape}."
                )
            probable.flags.writeable = False
        count = int(labels.max()) + 1
        if probable is not None:
            count = max(count, probable.shape[2])
        names = _checked_names(self.names, count)
        if probable is not None and probable.shape[2] != len(names):
            raise DataError(f"{len(names)} names for {probable.shape[2]} phases.")
        checked_calibration(self.calibration)
        if not isinstance(self.info, Mapping):
            raise DataError(f"info is a dict of notes, not {type(self.info).__name__}.")
        labels.flags.writeable = False
        object.__setattr__(self, "labels", labels)
        object.__setattr__(self, "probabilities", probable)
        object.__setattr__(self, "names", names)
        object.__setattr__(self, "name", str(self.name))
        object.__setattr__(self, "info", dict(self.info))

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width in pixels."""
        return int(self.labels.shape[0]), int(self.labels.shape[1])

    @cached_property
    def certainty(self) -> np.ndarray:
        """Share of the votes for the phase that was chosen, float32 (H, W); NaN where unknown.

        It orders pixels by doubt; it is no probability of being right.
        """
        if self.probabilities is None:
            return np.full(self.shape, np.nan, np.float32)
        place = np.maximum(self.labels, 0).astype(np.int64)[..., None]
        found = np.take_along_axis(self.probabilities, place, 2)[..., 0].astype(np.float32)
        found[self.labels < 0] = np.nan
        return found

    @property
    def words(self) -> tuple[str, ...]:
        """Names in the order of the phases."""
        return tuple(self.names.values())  # type: ignore[union-attr]

    def place(self, phase: int | str) -> int:
        """Return the number of a phase that is given by number or name.

        Raises
        ------
        DataError
            If there is none.

        Examples
        --------
        >>> PhaseMap(np.eye(2, dtype=int), names=("pore", "solid")).place("solid")
        1
        """
        whole = isinstance(phase, (int, np.integer)) and not isinstance(phase, bool)
        for number, name in enumerate(self.words):
            if name == phase or (whole and number == phase):
                return number
        known = ", ".join(f"{i} ({name})" for i, name in enumerate(self.words))
        raise DataError(f"there is no phase {phase!r}; there are {known}.")

    def fractions(self, interval: float | None = 0.95) -> pd.DataFrame:
        """Return the area fraction of every phase and an interval for the material's.

        The interval accounts for pixels being alike near each other, and takes the image for a
        random section of the material; what the classifier gets wrong is not in it.

        Parameters
        ----------
        interval : float or None
            Coverage, inside 0..1.

        Returns
        -------
        DataFrame
            As `particle_nb.core.phases.phase_fractions` tells.

        Raises
        ------
        DataError
            If the interval is none, or no pixel has a phase.
        """
        table = phase_fractions(self.labels, self.words, interval)
        table.attrs["image"] = self.name
        return table

    def mask(self, phase: int | str) -> np.ndarray:
        """Return where a phase is, bool (H, W).

        Raises
        ------
        DataError
            If there is no such phase.
        """
        return np.asarray(self.labels == self.place(phase))

    def particles(self, phase: int | str, least: int = 1) -> MaskSet:
        """Return the connected regions of a phase as masks, for `measure` and all else.

        Parameters
        ----------
        phase : int or str
        least : int
            Fewest pixels of a region.

        Raises
        ------
        DataError
            If there is no such phase, or `least` is no number of pixels.
        """
        from scipy import ndimage

        if isinstance(least, bool) or not isinstance(least, (int, np.integer)) or least < 1:
            raise DataError(f"least is a number of pixels, 1 or more, not {least!r}.")
        parts, _ = ndimage.label(self.mask(phase))
        areas = np.bincount(parts.ravel())
        areas[0] = least
        parts[areas[parts] < least] = 0
        if not parts.any():
            return MaskSet((), self.shape)
        return MaskSet.from_labels(parts)

    def export(self, path: str | os.PathLike[str]) -> Path:
        """Write the labels as they are as a TIFF with its scale (uint8; 255 for no phase).

        Raises
        ------
        DataError
            If it cannot be written.

        Examples
        --------
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     PhaseMap(np.eye(2, dtype=int)).export(f"{folder}/a.tif").name
        'a.tif'
        """
        pixels = np.where(self.labels < 0, 255, self.labels).astype(np.uint8)
        with atomic(path) as stream:
            write_label_pixels(stream, pixels, self.calibration, max(len(self.names) - 1, 1))
        return Path(path)

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write labels, probabilities, names, scale and origin to a file without pickle.

        Where the name ends with ``.tif`` or ``.tiff`` only the labels are written, as `export`
        does.

        Raises
        ------
        DataError
            If it cannot be written.

        Examples
        --------
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = PhaseMap(np.eye(2, dtype=int), name="a").save(f"{folder}/a.pnbphases")
        ...     PhaseMap.load(path).labels.tolist()
        [[1, 0], [0, 1]]
        """
        if str(path).lower().endswith((".tif", ".tiff")):
            return self.export(path)
        scale = self.calibration
        about = {
            "format": _FORMAT,
            "kind": "phases",
            "names": list(self.words),
            "name": self.name,
            "calibration": scale and [scale.pixel_size, scale.unit, scale.source],
            "info": self.info,
        }
        arrays = {"labels": self.labels}
        if self.probabilities is not None:
            arrays["probabilities"] = self.probabilities
        return write_archive(path, about, arrays)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> PhaseMap:
        """Read what `save` wrote.

        Raises
        ------
        DataError
            If it cannot be read, is damaged, or of another kind.

        Examples
        --------
        >>> PhaseMap.load("no such file")
        Traceback (most recent call last):
        ...
        particle_nb.core.errors.DataError: ...
        """
        about, arrays = read_archive(path, "phases", _FORMAT)
        try:
            scale = about["calibration"]
            return cls(
                arrays["labels"],
                arrays.get("probabilities"),
                tuple(about["names"]),
                Calibration(*scale) if scale else None,
                about["name"],
                about["info"],
            )
        except (KeyError, TypeError, ValueError) as error:
            raise DataError(f"{path} holds no phase map: {error}.") from None

    def __repr__(self) -> str:
        height, width = self.shape
        counts = np.bincount(self.labels[self.labels >= 0], minlength=len(self.names))
        total = max(int(counts.sum()), 1)
        parts = ", ".join(f"{n} {c / total:.3g}" for n, c in zip(self.words, counts, strict=True))
        return f"<PhaseMap {self.name!r} {width} x {height} px: {parts}>"


def _checked_labels(labels: Any) -> np.ndarray:
    try:
        array = np.asarray(labels)
    except (TypeError, ValueError) as error:
        raise DataError(f"labels cannot be read as an array: {error}") from None
    if array.dtype == bool:
        array = array.astype(np.int16)
    if array.dtype.kind not in "iu" or array.ndim != 2 or not array.size:
        raise DataError(
            f"labels are whole numbers (H, W), one a phase, not {array.dtype} of {array.shape}."
        )
    low, high = int(array.min()), int(array.max())
    if low < -1 or high >= MOST:
        raise DataError(f"phases are -1 (none) to {MOST - 1}; these go from {low} to {high}.")
    return np.array(array, np.int16)


def _checked_names(names: Any, count: int) -> dict[int, str]:
    if isinstance(names, Mapping):
        numbers = [int(n) for n in names if isinstance(n, (int, np.integer)) and 0 <= n < MOST]
        if len(numbers) != len(names):
            raise DataError(f"names maps phases 0 to {MOST - 1} to text, not {dict(names)!r}.")
        size = max([count, *(n + 1 for n in numbers)])
        found = [str(names.get(i, f"phase {i}")) for i in range(size)]
    elif isinstance(names, str) or not isinstance(names, Sequence):
        raise DataError(f"names is a sequence of text or a mapping, not {names!r}.")
    else:
        found = [str(name) for name in names]
        found += [f"phase {i}" for i in range(len(found), count)]
    if len(found) > MOST:
        raise DataError(f"{len(found)} phases are named; at most {MOST} are taken.")
    if len(set(found)) < len(found) or not all(name.strip() for name in found):
        raise DataError(f"every phase needs a name of its own, not {found}.")
    return dict(enumerate(found))
