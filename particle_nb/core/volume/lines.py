"""What straight lines through a volume meet: lineal path and chord lengths."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from particle_nb.core.volume._kernels import run_lengths
from particle_nb.core.volume.correlation import checked_lag
from particle_nb.core.volume.volume import Volume, as_volume


def lineal_path(volume: Any, *, periodic: bool = False, longest: int | None = None) -> pd.DataFrame:
    """Return the lineal-path function: a whole segment of a given length lies in the phase.

    Segments run along the axes from voxel centre to voxel centre; every voxel between is asked.

    Parameters
    ----------
    volume, periodic, longest :
        As in `two_point`.

    Returns
    -------
    DataFrame
        ``phase``, ``name``, ``direction`` (``"z"``, ``"y"``, ``"x"``, and ``"mean"`` of the axes),
        ``length_um``, ``probability``.

    Raises
    ------
    DataError
        If it is no volume, or `longest` is out of range.

    References
    ----------
    B. Lu, S. Torquato 1992, doi:10.1103/PhysRevA.45.922.

    Examples
    --------
    >>> table = lineal_path(np.array([[0, 1, 1, 1, 0, 0]] * 6), periodic=True)
    >>> table[(table["phase"] == 1) & (table["direction"] == "x")]["probability"].round(3).tolist()
    [0.5, 0.333, 0.167, 0.0]
    """
    volume = as_volume(volume)
    longest = checked_lag(volume, periodic, longest)
    steps = np.arange(longest + 1)
    by_axis = []
    for axis, n in enumerate(volume.shape):
        runs = _runs(volume, axis, periodic)
        endless = runs[1, :, n] * float(n) if periodic else np.zeros(len(volume.phases))
        if periodic:
            runs[1, :, n] = 0
        counts = runs.sum(axis=0).astype(float)
        # runs longer than k hold (length - k) segments of k steps: sums from the long end
        longer = np.cumsum(counts[:, ::-1], axis=1)[:, ::-1]
        held = np.cumsum(longer[:, ::-1], axis=1)[:, ::-1]
        inside = np.pad(held, ((0, 0), (0, 1)))[:, steps + 1] + endless[:, None]
        lines = volume.labels.size // n
        by_axis.append(inside / (lines * (n if periodic else n - steps)))
    curves = dict(zip(volume.axes, by_axis, strict=True))
    curves["mean"] = np.mean(by_axis, axis=0)
    parts = []
    for place, label in enumerate(volume.phases):
        for direction, values in curves.items():
            columns = {"phase": label, "name": volume.name(label), "direction": direction}
            columns[f"length_{volume.unit}"] = steps * volume.voxel
            parts.append(pd.DataFrame({**columns, "probability": values[place]}))
    table = pd.concat(parts, ignore_index=True)
    table.attrs |= {"volume": volume.digest, "periodic": bool(periodic)}
    return table


def chord_lengths(volume: Any, *, periodic: bool = False) -> pd.DataFrame:
    """Count the chords of every phase along the axes, by their length.

    A chord cut by the frame has no known length and is left out; whole ones count with the inverse
    of the room that the frame has for one of their length, so that long ones, which are cut more
    often, keep their share (Miles-Lantuejoul, as in `measure`).

    Parameters
    ----------
    volume, periodic :
        As in `two_point`.

    Returns
    -------
    DataFrame
        One row a length that occurs: ``phase``, ``name``, ``direction``, ``length_um``, ``count``
        of whole chords, ``share`` of the chords by number after weighting, and ``cut_fraction``,
        the share of the phase's voxels that lie in cut chords: where it is large the long end of
        the distribution was not seen.

    Raises
    ------
    DataError
        If it is no volume.

    Examples
    --------
    >>> table = chord_lengths(np.array([[0, 1, 1, 0, 1, 0]]))
    >>> table[(table["phase"] == 1)][["direction", "length_px", "count"]].values.tolist()
    [['x', 1.0, 1], ['x', 2.0, 1]]
    """
    volume = as_volume(volume)
    parts = []
    for place, label in enumerate(volume.phases):
        for axis, n in enumerate(volume.shape):
            whole, cut = _runs(volume, axis, periodic)[:, place]
            lengths = np.flatnonzero(whole)
            weight = whole[lengths] / (1.0 if periodic else np.maximum(n - 1 - lengths, 1))
            voxels = np.arange(n + 1)
            total = float(((whole + cut) * voxels).sum())
            columns = {"phase": label, "name": volume.name(label), "direction": volume.axes[axis]}
            columns[f"length_{volume.unit}"] = lengths * volume.voxel
            columns |= {"count": whole[lengths], "share": weight / max(weight.sum(), 1e-300)}
            columns["cut_fraction"] = float((cut * voxels).sum()) / total if total else np.nan
            parts.append(pd.DataFrame(columns))
    table = pd.concat(parts, ignore_index=True)
    table.attrs |= {"volume": volume.digest, "periodic": bool(periodic)}
    return table


def _runs(volume: Volume, axis: int, periodic: bool) -> np.ndarray:
    """Histogram of runs (2, phases, N + 1): whole and cut ones."""
    shape = volume.shape
    before = int(np.prod(shape[:axis]))
    view = volume.indices.reshape(before, shape[axis], -1)
    return run_lengths(view, len(volume.phases), bool(periodic))
