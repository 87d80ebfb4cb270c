"""Surface between phases, counted along thirteen directions (Crofton)."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from particle_nb.core.agreement.correlation import confidence
from particle_nb.core.volume._kernels import contacts, counted
from particle_nb.core.volume.volume import Volume, as_volume

#: The 13 directions to the neighbours of a voxel; the last three run along the axes.
STEPS = np.array(
    [
        *[(1, a, b) for a in (-1, 1) for b in (-1, 1)],
        *[(0, 1, 1), (0, 1, -1), (1, 0, 1), (1, 0, -1), (1, 1, 0), (1, -1, 0)],
        *[(1, 0, 0), (0, 1, 0), (0, 0, 1)],
    ]
)
# share of the sphere that is nearer to a direction, by the number of its steps: axis, face, body
# diagonal (Ohser and Muecklich 2000, Statistical Analysis of Microstructures in Materials Science)
_SHARES = {1: 0.0915561, 2: 0.0739612, 3: 0.0703910}
# in a section four directions, 45 degrees apart
_FLAT = np.array([(0, 1, 1), (0, 1, -1), (0, 1, 0), (0, 0, 1)])


@dataclass(frozen=True, eq=False)
class Crossings:
    """Changes of phase along the directions, per length, in blocks of the volume.

    Parameters
    ----------
    steps : int array (S, 3)
    per_length : array (blocks, S, phases, phases)
        Changes from one phase to another per voxel edge of test line.
    fraction : array (blocks, phases)
    weight : array (blocks,)
        Share of the volume.
    """

    steps: np.ndarray
    per_length: np.ndarray
    fraction: np.ndarray
    weight: np.ndarray

    def mean(self) -> np.ndarray:
        """(S, phases, phases) of the whole volume."""
        return np.average(self.per_length, axis=0, weights=self.weight)


def crossings(volume: Volume, periodic: bool, blocks: int) -> Crossings:
    """Count the changes of phase in `blocks` parts an axis."""
    index = volume.indices if volume.labels.ndim == 3 else volume.indices[None]
    steps = STEPS if volume.labels.ndim == 3 else _FLAT
    count = len(volume.phases)
    length = np.sqrt((steps**2).sum(axis=1))
    edges = [np.linspace(0, n, min(blocks, n) + 1).astype(int) for n in index.shape]
    if volume.labels.ndim == 2:
        edges[0] = np.array([0, 1])
    rates, shares, weights = [], [], []
    for parts in itertools.product(*([(a, b) for a, b in itertools.pairwise(e)] for e in edges)):
        bounds = np.array(parts).ravel()
        found = contacts(index, bounds, steps, count, bool(periodic)).astype(float)
        pairs = np.ones(len(steps))
        for axis, ((low, high), n) in enumerate(zip(parts, index.shape, strict=True)):
            shift = steps[:, axis]
            room = np.minimum(high, n - shift) - np.maximum(low, -shift)
            pairs *= high - low if periodic else np.maximum(room, 0)
        with np.errstate(invalid="ignore"):
            rates.append(found / (pairs * length)[:, None, None])
        inside = counted(index, bounds, count)
        shares.append(inside / inside.sum())
        weights.append(inside.sum() / index.size)
    return Crossings(steps, np.array(rates), np.array(shares), np.array(weights))


def areas(found: Crossings) -> np.ndarray:
    """Area between every two phases per volume, 1/voxel: (blocks, phases, phases), symmetric."""
    flat = len(found.steps) == len(_FLAT)
    kind = (found.steps != 0).sum(axis=1)
    share = np.full(4, 0.25) if flat else np.array([_SHARES[k] for k in kind])
    # a direction that a thin volume has no pairs in leaves its share to the others
    seen = np.isfinite(found.per_length).all(axis=(0, 2, 3))
    share = np.where(seen, share, 0) / share[seen].sum()
    both = found.per_length + np.swapaxes(found.per_length, 2, 3)
    # isotropic test lines meet a surface twice as often as its area per volume is large, halved
    return 2 * np.einsum("s,bsij->bij", share, np.nan_to_num(both))


def faces(found: Crossings) -> np.ndarray:
    """Area of the voxel faces between every two phases per volume, 1/voxel, (phases, phases)."""
    straight = (found.steps != 0).sum(axis=1) == 1
    mean = np.nan_to_num(found.mean()[straight]).sum(axis=0)
    return mean + mean.T


def spread(values: np.ndarray, level: float) -> np.ndarray:
    """Half-width of the interval of a mean over blocks (N, ...), by Student's t; NaN for one."""
    n = len(values)
    if n < 2:
        return np.full(values.shape[1:], np.nan)
    return stats.t.ppf(0.5 + level / 2, n - 1) * values.std(axis=0, ddof=1) / np.sqrt(n)


def interface_areas(volume: Any, *, periodic: bool = False, level: float = 0.95) -> pd.DataFrame:
    """Return the area between every two phases per volume of the material.

    Crofton's formula over thirteen directions of voxel neighbours. For surfaces in all directions
    it is right to 1 % for balls of 4 voxels radius and more, and loses 2 or 3 % more where bodies
    meet in sharp grooves; for planes along the voxel axes it is 7.3 % too small. Counting voxel
    faces, given beside it, is right for such planes and 50 % too large for surfaces in all
    directions. Of a section the area follows from four directions on the assumption that the
    material is isotropic. The outer faces of the volume do not count.

    Parameters
    ----------
    volume, periodic :
        As in `two_point`.
    level : float
        Coverage of the interval, from 64 blocks (16 of a section), which takes them as independent.

    Returns
    -------
    DataFrame
        ``phase_a``, ``name_a``, ``phase_b``, ``name_b``, ``area_per_volume_per_um`` with ``_low``
        and ``_high``, ``voxel_faces_per_um``; area over volume, hence one over a length.

    Raises
    ------
    DataError
        If it is no volume or `level` is out of range.

    References
    ----------
    G. Lehmann, D. Legland 2012, Efficient N-dimensional surface estimation using Crofton formula
    and run-length encoding, The Insight Journal; J. Ohser, F. Muecklich 2000.

    Examples
    --------
    >>> layers = np.zeros((8, 8, 8), int); layers[4:] = 1
    >>> table = interface_areas(layers)
    >>> table["voxel_faces_per_px"].round(3).tolist()
    [0.125]
    """
    volume = as_volume(volume)
    confidence(level)
    found = crossings(volume, periodic, 4)
    values, plain = areas(found), faces(found)
    mean = np.average(values, axis=0, weights=found.weight)
    half = spread(values, level)
    per = f"per_{volume.unit}"
    rows = []
    for a, b in itertools.combinations(range(len(volume.phases)), 2):
        one, other = volume.phases[a], volume.phases[b]
        row = {"phase_a": one, "name_a": volume.name(one)}
        row |= {"phase_b": other, "name_b": volume.name(other)}
        row[f"area_per_volume_{per}"] = mean[a, b] / volume.voxel
        row[f"area_per_volume_{per}_low"] = max(mean[a, b] - half[a, b], 0) / volume.voxel
        row[f"area_per_volume_{per}_high"] = (mean[a, b] + half[a, b]) / volume.voxel
        row[f"voxel_faces_{per}"] = plain[a, b] / volume.voxel
        rows.append(row)
    names = ["phase_a", "name_a", "phase_b", "name_b", f"area_per_volume_{per}"]
    table = pd.DataFrame(rows) if rows else pd.DataFrame(columns=names)
    table.attrs |= {"volume": volume.digest, "periodic": bool(periodic), "level": level}
    return table
