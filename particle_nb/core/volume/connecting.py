"""What hangs together: pieces of each phase, and which of them reach from face to face."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from particle_nb.core.errors import DataError
from particle_nb.core.volume._kernels import clusters, pieces
from particle_nb.core.volume.volume import Volume, as_volume


@dataclass(frozen=True, eq=False)
class ConnectedPieces:
    """ConnectedPieces of every phase that hang together by voxel faces, inside the frame.

    Parameters
    ----------
    numbers : signed array of the volume's shape
        Number of each voxel's piece, from 0.
    size, phase : arrays (N,)
        Voxels of each piece, and the place of its phase.
    periodic : bool
        Whether pieces go on across the frame (`joined`, and sideways in `spanning`).
    """

    numbers: np.ndarray
    size: np.ndarray
    phase: np.ndarray
    periodic: bool

    def joined(self) -> np.ndarray:
        """Piece that each piece belongs to across the frame, (N,); itself where not periodic."""
        return self._across(range(3)) if self.periodic else np.arange(self.size.size)

    def spanning(self, axis: int) -> np.ndarray:
        """Tell which pieces reach from the first to the last face along an axis, bool (N,)."""
        group = np.arange(self.size.size)
        if self.periodic:
            group = self._across([other for other in range(3) if other != axis])
        reach = np.zeros((2, self.size.size), bool)
        for side, place in enumerate((0, -1)):
            reach[side, group[np.unique(np.take(self.numbers, place, axis))]] = True
        return np.logical_and(reach[0], reach[1])[group]

    def _across(self, axes: Any) -> np.ndarray:
        pairs = []
        for axis in axes:
            low = np.take(self.numbers, 0, axis).ravel()
            high = np.take(self.numbers, -1, axis).ravel()
            same = self.phase[low] == self.phase[high]
            pairs.append(np.unique(np.stack([low[same], high[same]]), axis=1))
        one, other = np.concatenate(pairs, axis=1)
        graph = coo_matrix((np.ones(one.size, bool), (one, other)), shape=[self.size.size] * 2)
        return connected_components(graph, directed=False)[1]


def find_pieces(index: np.ndarray, periodic: bool) -> ConnectedPieces:
    """Return the pieces of a uint8 array (D, H, W) of phases.

    Examples
    --------
    >>> find_pieces(np.array([[[0, 1, 0]]], np.uint8), periodic=True).joined().tolist()
    [0, 1, 0]
    """
    kind = np.int32 if index.size < 2**31 else np.int64
    numbers = np.empty(index.size, kind)
    total = clusters(index, numbers)
    size, phase = pieces(numbers, index.ravel(), total)
    return ConnectedPieces(numbers.reshape(index.shape), size, phase, periodic)


def solid_volume(volume: Any, what: str) -> Volume:
    """Return a `Volume` of three axes, or refuse a section.

    Raises
    ------
    DataError
        If it has two.
    """
    volume = as_volume(volume)
    if volume.labels.ndim != 3:
        raise DataError(
            f"{what} of a volume cannot be told from a section {volume.shape}: what is apart in "
            "a plane may be joined above or below it. Give a volume (D, H, W)."
        )
    return volume


def connectivity(volume: Any, *, periodic: bool = False) -> pd.DataFrame:
    """Tell how far each phase hangs together, by faces of voxels (6-connected).

    Parameters
    ----------
    volume : Volume or integer array (D, H, W)
    periodic : bool
        Whether the volume repeats: pieces then go on across the frame. Percolation along an axis
        still means from face to face along it, and wraps sideways only, as diffusion does.

    Returns
    -------
    DataFrame
        One row a phase: ``phase``, ``name``, ``pieces``, ``connected_fraction`` (largest piece
        over the phase), and for each axis ``percolates_z`` and ``percolating_fraction_z`` (share
        of the phase in pieces that reach from the first to the last face). Fractions of a phase
        that does not occur are NaN.

    Raises
    ------
    DataError
        If it is no volume, or a section.

    Examples
    --------
    >>> labels = np.zeros((3, 3, 3), int); labels[:, 1, 1] = 1
    >>> connectivity(labels)[["pieces", "percolates_z", "percolates_y"]].values.tolist()
    [[1, True, True], [1, True, False]]
    """
    volume = solid_volume(volume, "connectivity")
    return pd.DataFrame(rows_of(volume, find_pieces(volume.indices, periodic)))


def rows_of(volume: Volume, found: ConnectedPieces) -> list[Mapping[str, Any]]:
    """Rows of `connectivity` from pieces that are known already."""
    group = found.joined()
    whole = np.bincount(group, found.size, group.max() + 1)
    phase_of = np.zeros(whole.size, np.int64)
    phase_of[group] = found.phase
    used = whole > 0
    spans = [found.spanning(axis) for axis in range(3)]
    rows: list[Mapping[str, Any]] = []
    for place, label in enumerate(volume.phases):
        mine = whole[used & (phase_of == place)]
        total = mine.sum()
        row: dict[str, Any] = {"phase": label, "name": volume.name(label), "pieces": mine.size}
        row["connected_fraction"] = mine.max() / total if total else np.nan
        for axis, span in zip(volume.axes, spans, strict=True):
            reached = found.size[span & (found.phase == place)].sum()
            row[f"percolates_{axis}"] = bool(reached > 0)
            row[f"percolating_fraction_{axis}"] = reached / total if total else np.nan
        rows.append(row)
    return rows
