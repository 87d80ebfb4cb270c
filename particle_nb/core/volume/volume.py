"""A volume of phases: `Volume`, and what else is taken for one."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from types import MappingProxyType
from typing import Any

import numpy as np

from particle_nb.core.errors import DataError
from particle_nb.core.image import Calibration
from particle_nb.core.image.image import checked_calibration

#: More labels than this are grey values that were never divided into phases.
MOST_PHASES = 32

#: Names of the array axes of a volume (D, H, W) and of a section (H, W).
AXES = {3: ("z", "y", "x"), 2: ("y", "x")}


@dataclass(frozen=True, eq=False)
class Volume:
    """Phases of a material voxel by voxel, or pixel by pixel of one section, with their scale.

    Parameters
    ----------
    labels : integer or bool array (D, H, W), or (H, W) for a section
        One label a voxel, 0 or more, at most 32 different ones; copied and made read-only. Axes
        are called z, y, x in this order.
    calibration : Calibration or None
        Edge of one cubic voxel; None leaves lengths in voxels (``_px``).
    names : mapping {label: name}, sequence of names by rising label, or None
        A mapping may name labels that do not occur here: a phase of fraction 0.
    info : dict
        Provenance, kept as given.

    Raises
    ------
    DataError
        If labels are no whole numbers of 0 or more, not 2-D or 3-D, empty, more than 32 different
        ones, or not the ones that `names` names.
    CalibrationError
        If `calibration` is something else.

    Examples
    --------
    >>> volume = Volume(np.arange(8).reshape(2, 2, 2) % 2, Calibration(50, "nm"), ("pore", "solid"))
    >>> volume.fractions
    {'pore': 0.5, 'solid': 0.5}
    >>> volume
    <Volume 2 x 2 x 2 voxels of 50 nm: pore 0.5, solid 0.5>
    """

    labels: np.ndarray
    calibration: Calibration | None = None
    names: Mapping[int, str] | Sequence[str] | None = None
    info: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        labels = _checked_labels(self.labels)
        checked_calibration(self.calibration)
        if not isinstance(self.info, Mapping):
            raise DataError(f"info is a dict of notes, not {type(self.info).__name__}.")
        counts = np.bincount(labels.ravel()) if labels.max() < 2**20 else None
        if counts is None:
            present = [int(v) for v in np.unique(labels)]
        else:
            present = [int(v) for v in np.flatnonzero(counts)]
        if len(present) > MOST_PHASES:
            raise DataError(
                f"the volume has {len(present)} different values, from {present[0]} to "
                f"{present[-1]}: that looks like grey values. Divide it into phases first "
                f"(at most {MOST_PHASES})."
            )
        names = _checked_names(self.names, present)
        smallest = np.min_scalar_type(max(present))
        labels = np.array(labels, smallest, order="C")
        labels.flags.writeable = False
        object.__setattr__(self, "labels", labels)
        object.__setattr__(self, "names", MappingProxyType(names))
        object.__setattr__(self, "info", dict(self.info))

    def __reduce__(self) -> tuple[Any, ...]:
        names = dict(self.names)  # type: ignore[arg-type]
        return type(self), (np.array(self.labels), self.calibration, names, self.info)

    @property
    def shape(self) -> tuple[int, ...]:
        """(D, H, W) or (H, W) in voxels."""
        return self.labels.shape

    @property
    def axes(self) -> tuple[str, ...]:
        """Names of the array axes, ``("z", "y", "x")`` or ``("y", "x")``."""
        return AXES[self.labels.ndim]

    @property
    def phases(self) -> tuple[int, ...]:
        """Labels of the phases, rising."""
        assert isinstance(self.names, Mapping)
        return tuple(self.names)

    @property
    def unit(self) -> str:
        """Unit of lengths: that of the calibration, or ``"px"``."""
        return "px" if self.calibration is None else self.calibration.unit

    @property
    def voxel(self) -> float:
        """Edge of a voxel in `unit`."""
        return 1.0 if self.calibration is None else self.calibration.pixel_size

    @cached_property
    def indices(self) -> np.ndarray:
        """Place of each voxel's label in `phases`, uint8 of the volume's shape, read-only."""
        phases = np.array(self.phases)
        if np.array_equal(phases, np.arange(phases.size)) and self.labels.dtype == np.uint8:
            return self.labels
        found = np.empty(self.labels.shape, np.uint8)
        if phases[-1] < 2**20:
            places = np.zeros(int(phases[-1]) + 1, np.uint8)
            places[phases] = np.arange(phases.size)
            found[...] = places[self.labels]
        else:
            found[...] = np.searchsorted(phases, self.labels)
        found.flags.writeable = False
        return found

    @cached_property
    def fractions(self) -> dict[str, float]:
        """Share of the voxels of each phase, by name."""
        counts = np.bincount(self.indices.ravel(), minlength=len(self.phases))
        shares = counts / self.labels.size
        return {self.name(phase): float(v) for phase, v in zip(self.phases, shares, strict=True)}

    @cached_property
    def digest(self) -> str:
        """SHA-256 of shape, dtype and labels, 16 hex digits."""
        digest = hashlib.sha256(f"{self.labels.shape}{self.labels.dtype.str}".encode())
        digest.update(self.labels.data)
        return digest.hexdigest()[:16]

    def name(self, phase: int) -> str:
        """Name of a label."""
        assert isinstance(self.names, Mapping)
        return self.names[phase]

    def place(self, phase: int | str) -> int:
        """Return where a phase, given by its label or its name, stands in `phases`.

        Raises
        ------
        DataError
            If there is no such phase.

        Examples
        --------
        >>> Volume([[0, 85]], names=("pore", "solid")).place("solid")
        1
        """
        assert isinstance(self.names, Mapping)
        whole = isinstance(phase, (int, np.integer)) and not isinstance(phase, bool)
        for place, (label, name) in enumerate(self.names.items()):
            if name == phase or (whole and label == phase):
                return place
        known = ", ".join(f"{label} ({name})" for label, name in self.names.items())
        raise DataError(f"there is no phase {phase!r} in this volume; it has {known}.")

    def __repr__(self) -> str:
        size = " x ".join(str(n) for n in self.shape)
        kind = "voxels" if self.labels.ndim == 3 else "pixels, a section"
        edge = "" if self.calibration is None else f" of {self.voxel:g} {self.unit}"
        parts = ", ".join(f"{name} {share:.3g}" for name, share in self.fractions.items())
        return f"<Volume {size} {kind}{edge}: {parts}>"


def as_volume(phases: Any) -> Volume:
    """Return a Volume, what has `labels` (a phase map), or an integer array, as a `Volume`.

    Raises
    ------
    DataError
        If it is nothing of the kind.

    Examples
    --------
    >>> as_volume(np.eye(2, dtype=int)).axes
    ('y', 'x')
    """
    if isinstance(phases, Volume):
        return phases
    labels = getattr(phases, "labels", phases)
    if not isinstance(labels, np.ndarray) and not isinstance(labels, (list, tuple)):
        raise DataError(
            f"a volume is a Volume, a phase map or an integer array, not {type(phases).__name__}."
        )
    names = getattr(phases, "names", None)
    return Volume(np.asarray(labels), getattr(phases, "calibration", None), names)


def _checked_labels(labels: Any) -> np.ndarray:
    try:
        array = np.asarray(labels)
    except (TypeError, ValueError) as error:
        raise DataError(f"labels cannot be read as an array: {error}") from None
    if array.dtype == bool:
        array = array.astype(np.uint8)
    if not np.issubdtype(array.dtype, np.integer):
        raise DataError(
            f"labels are whole numbers, one a phase, not {array.dtype}; round them if they are "
            "phases, divide the grey values into phases if they are not."
        )
    if array.ndim not in (2, 3) or array.size == 0:
        raise DataError(
            f"labels are (D, H, W), or (H, W) for a section, and not empty; their shape is "
            f"{array.shape}."
        )
    low = int(array.min())
    if low < 0:
        raise DataError(
            f"labels are 0 or more, but the least is {low}; voxels without a phase cannot be "
            "measured: crop them off or give them a label of their own."
        )
    return array


def _checked_names(names: Any, present: list[int]) -> dict[int, str]:
    if names is None:
        return {label: f"phase {label}" for label in present}
    if isinstance(names, Mapping):
        found = {}
        for label, name in names.items():
            if isinstance(label, bool) or not isinstance(label, (int, np.integer)) or label < 0:
                raise DataError(f"names maps labels, whole numbers of 0 or more, not {label!r}.")
            found[int(label)] = str(name)
        missing = [label for label in present if label not in found]
        if missing:
            raise DataError(f"labels {missing} have no name; names has {sorted(found)}.")
    else:
        if isinstance(names, (str, bytes)) or not isinstance(names, Sequence):
            raise DataError(f"names is a mapping or a list of names, not {names!r}.")
        if len(names) != len(present):
            raise DataError(
                f"{len(names)} names for the {len(present)} labels {present}; give one each, or a "
                "mapping {label: name} where some labels do not occur."
            )
        found = {label: str(name) for label, name in zip(present, names, strict=True)}
    if len(found) > MOST_PHASES:
        raise DataError(f"{len(found)} phases are named; at most {MOST_PHASES} are taken.")
    if len(set(found.values())) < len(found):
        raise DataError(f"every phase needs a name of its own, not {list(found.values())}.")
    return dict(sorted(found.items()))
