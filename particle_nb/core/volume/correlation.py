"""Two-point correlation of the phases by FFT."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from scipy import fft

from particle_nb.core.errors import DataError
from particle_nb.core.volume.volume import Volume, as_volume

#: Above so many voxels the transform is done in single precision (S2 to about 1e-6).
_SINGLE = 2**22


@dataclass(frozen=True, eq=False)
class Radial:
    """Pairs of voxels by their distance, in shells one voxel thick.

    Parameters
    ----------
    radius : array (R,)
        Mean distance of the pairs of each shell in voxels; 0 first.
    lags : array (R,)
        Number of lag vectors of each shell, both signs.
    probability : array (phases, R)
        Probability that both ends lie in the phase.
    ends : array (phases, R)
        Share of the ends of these pairs that lie in the phase; near the fraction.
    along : tuple of arrays (phases, L)
        The same along each axis for lags of 0, 1, 2 ... voxels.
    """

    radius: np.ndarray
    lags: np.ndarray
    probability: np.ndarray
    ends: np.ndarray
    along: tuple[np.ndarray, ...]


def two_point(volume: Any, *, periodic: bool = False, longest: int | None = None) -> pd.DataFrame:
    """Return the two-point correlation S2 of every phase: both ends of a lag lie in the phase.

    By FFT. At lag 0 it is the fraction, far away its square; its slope at 0 along an axis is minus
    the fraction over the mean chord. Without `periodic` each lag is divided by the number of pairs
    inside the frame, so nothing is assumed beyond it.

    Parameters
    ----------
    volume : Volume, phase map, or integer array (D, H, W) or (H, W)
    periodic : bool
        Whether the volume repeats beyond its frame.
    longest : int or None
        Greatest lag in voxels; None is half the shortest edge, which is also the most where
        periodic.

    Returns
    -------
    DataFrame
        ``phase``, ``name``, ``direction`` (``"isotropic"``: the mean over all directions in shells
        one voxel thick; ``"z"``, ``"y"``, ``"x"``: along an axis), ``lag_um`` (``_px`` without a
        scale; of a shell the mean of its pairs), ``S2``.

    Raises
    ------
    DataError
        If it is no volume, or `longest` is out of range.

    References
    ----------
    S. Torquato 2002, Random Heterogeneous Materials, doi:10.1007/978-1-4757-6355-3, ch. 2 and 12.

    Examples
    --------
    >>> stripes = np.tile([0, 1], (8, 4))
    >>> table = two_point(stripes, periodic=True)
    >>> table[(table["phase"] == 1) & (table["direction"] == "x")]["S2"].tolist()
    [0.5, 0.0, 0.5, 0.0, 0.5]
    """
    volume = as_volume(volume)
    found = radial(volume, periodic, checked_lag(volume, periodic, longest))
    parts = []
    for place, label in enumerate(volume.phases):
        curves = [("isotropic", found.radius, found.probability[place])]
        for axis, values in zip(volume.axes, found.along, strict=True):
            curves.append((axis, np.arange(values.shape[1], dtype=float), values[place]))
        for direction, lag, values in curves:
            columns = {"phase": label, "name": volume.name(label), "direction": direction}
            columns[f"lag_{volume.unit}"] = lag * volume.voxel
            parts.append(pd.DataFrame({**columns, "S2": values}))
    table = pd.concat(parts, ignore_index=True)
    table.attrs |= {"volume": volume.digest, "periodic": bool(periodic)}
    return table


def checked_lag(volume: Volume, periodic: bool, longest: Any) -> int:
    """Return the longest lag in voxels.

    Raises
    ------
    DataError
        If the one wanted is longer than the volume allows.
    """
    shortest = min(volume.shape)
    most = shortest // 2 if periodic else shortest - 1
    if longest is None:
        return shortest // 2
    whole = isinstance(longest, (int, np.integer)) and not isinstance(longest, bool)
    if not whole or not 0 <= longest <= most:
        raise DataError(
            f"longest is a whole number of voxels from 0 to {most} for a volume {volume.shape}"
            f"{' that repeats' if periodic else ''}, not {longest!r}."
        )
    return int(longest)


def radial(volume: Volume, periodic: bool, longest: int) -> Radial:
    """`two_point` as arrays, lags in voxels."""
    shape = volume.shape
    count = len(volume.phases)
    lags = np.arange(longest + 1)
    squares, copies, pairs = np.zeros(1), np.ones(1), np.ones(1)
    for n in shape:
        squares = np.add.outer(squares, lags.astype(float) ** 2)
        copies = np.multiply.outer(copies, np.where(lags, 2.0, 1.0))
        pairs = np.multiply.outer(pairs, np.full(lags.size, float(n)) if periodic else n - lags)
    squares, copies, pairs = (a.reshape([lags.size] * len(shape)) for a in (squares, copies, pairs))
    distance = np.sqrt(squares)
    inside = distance <= longest + 1e-9
    shell = np.rint(distance[inside]).astype(np.int64)
    # pairs weigh alike, as every one of them is a look at the structure
    weight = (copies * pairs)[inside]
    total = np.bincount(shell, weight)
    radius = np.bincount(shell, weight * distance[inside]) / total
    probability, ends = np.empty((count, total.size)), np.empty((count, total.size))
    along: list[list[np.ndarray]] = [[] for _ in shape]
    for place, hits in enumerate(_autocorrelations(volume, periodic, longest)):
        values = hits / pairs
        probability[place] = np.bincount(shell, weight * values[inside]) / total
        if periodic:
            ends[place] = values.flat[0]
        else:
            share = _ends(volume.indices == place, longest) / pairs
            ends[place] = np.bincount(shell, weight * share[inside]) / total
        for axis in range(len(shape)):
            along[axis].append(
                values[tuple(slice(None) if a == axis else 0 for a in range(len(shape)))]
            )
    return Radial(
        radius,
        np.bincount(shell, copies[inside]),
        probability,
        ends,
        tuple(np.array(values) for values in along),
    )


def _ends(inside: np.ndarray, longest: int) -> np.ndarray:
    """Voxels of the phase among the ends of the pairs inside the frame by lag, over two.

    For every lag and sign the first ends fill a box at a corner of the frame, the others one at
    the corner across: sums of boxes, axis by axis, mean of both.
    """
    sums: np.ndarray = inside
    for axis, n in enumerate(inside.shape):
        whole = np.cumsum(sums, axis=axis, dtype=np.float64)
        lags = np.arange(longest + 1)
        low = np.take(whole, n - 1 - lags, axis)
        cut = np.take(whole, np.maximum(lags - 1, 0), axis)
        shape = [-1 if a == axis else 1 for a in range(inside.ndim)]
        cut = cut * (lags > 0).reshape(shape)
        sums = (low + np.take(whole, [n - 1], axis) - cut) / 2
    return sums


def _autocorrelations(volume: Volume, periodic: bool, longest: int) -> Iterator[np.ndarray]:
    """Pairs of voxels in each phase by lag 0..longest along each axis, mean of both signs.

    The indicators of the phases add up to 1, so the last one's transform is what the others leave
    of that of the frame: one transform fewer.
    """
    index, shape = volume.indices, volume.shape
    sizes = [n if periodic else _even(n + longest) for n in shape]
    kind = np.float32 if index.size > _SINGLE else np.float64
    left: Any = 1.0
    for axis, (n, size) in enumerate(zip(shape, sizes, strict=True)):
        line = np.zeros(size, kind)
        line[:n] = 1
        half = fft.rfft(line) if axis == len(shape) - 1 else fft.fft(line)
        left = np.multiply.outer(left, half) if axis else half
    for place in range(len(volume.phases)):
        if place < len(volume.phases) - 1:
            found = _transform((index == place).astype(kind), sizes)
            left = np.subtract(left, found, out=left)
        else:
            found = left
        power = found.real**2 + found.imag**2
        for axis, size in enumerate(sizes):
            if axis < len(sizes) - 1:
                power = _both_signs(power, axis, size)
            power = _cosines(power, axis, size, longest)
        yield power / np.prod([float(size) for size in sizes])


def _even(n: int) -> int:
    """The least even length of at least n that is transformed fast."""
    n = fft.next_fast_len(n, real=True)
    while n % 2:
        n = fft.next_fast_len(n + 1, real=True)
    return n


def _transform(values: np.ndarray, sizes: list[int]) -> np.ndarray:
    """Axis by axis, so that what is added as zeros is not transformed before it must be."""
    last = values.ndim - 1
    found = fft.rfft(values, sizes[last], axis=last)
    for axis in range(last - 1, -1, -1):
        found = fft.fft(found, sizes[axis], axis=axis, overwrite_x=True)
    return found


def _both_signs(power: np.ndarray, axis: int, size: int) -> np.ndarray:
    """Mean over both signs of a frequency, kept for those of 0 or more."""
    ahead = np.take(power, np.arange(size // 2 + 1), axis)
    back = np.take(power, -np.arange(size // 2 + 1) % size, axis)
    return (ahead + back) / 2


def _cosines(power: np.ndarray, axis: int, size: int, longest: int) -> np.ndarray:
    """Inverse transform of an even spectrum, for lags up to `longest`, times `size`."""
    if size % 2 == 0 and size > 2:
        found = fft.dct(power, type=1, axis=axis)
        return np.take(found, np.arange(longest + 1), axis)
    frequencies = np.arange(size // 2 + 1)
    copies = np.where((frequencies > 0) & (2 * frequencies != size), 2.0, 1.0)
    waves = np.cos(2 * np.pi * np.outer(np.arange(longest + 1), frequencies) / size) * copies
    return np.moveaxis(np.tensordot(waves.astype(power.dtype), power, axes=(1, axis)), 0, axis)
