"""Gaussian-correlated noise in space: what irregular outlines and rough surfaces are made of."""

from __future__ import annotations

import math

import numpy as np

from particle_nb.core.compiled import compiled
from particle_nb.core.smoothing import blur

#: Edge of the periodic noise volume in voxels.
VOLUME = 64
# The quadratic B-spline that interpolates the volume is itself a smoothing of variance 1/4 voxel
# squared; with the Gaussian of sigma 1 before it the autocorrelation exp(-(r/tau)^2) has
# tau = 2 sqrt(1 + 1/4) voxels.
VOXELS_PER_CORRELATION = 2.0 * math.sqrt(1.25)
# Displacements end at this many standard deviations: the irregular outline is bounded by choice,
# the cut of the roughness takes 6e-5 of its values.
OUTLINE_LIMIT = 2.5
ROUGH_LIMIT = 4.0


def noise_volume(rng: np.random.Generator, size: int = VOLUME) -> np.ndarray:
    """Return periodic noise whose B-spline interpolation has mean 0 and variance 1.

    Float32 (size + 2,) * 3, one voxel of the next period around it; the interpolated field has
    the autocorrelation exp(-(r / tau)^2) with tau = `VOXELS_PER_CORRELATION` voxels.

    Examples
    --------
    >>> noise_volume(np.random.default_rng(0), 8).shape
    (10, 10, 10)
    """
    white = rng.standard_normal((size, size, size), dtype=np.float32)
    smooth = blur(white, 1.0, 5.0, "wrap")
    smooth -= smooth.mean()
    samples = sample(np.pad(smooth, 1, mode="wrap"), rng.random((20000, 3)) * size)
    return np.pad((smooth / samples.std()).astype(np.float32), 1, mode="wrap")


@compiled
def _bspline(volume, x, y, z):
    """Quadratic B-spline value of the padded periodic volume at (x, y, z) in voxels."""
    size = volume.shape[0] - 2
    fx, fy, fz = np.floor(x + 0.5), np.floor(y + 0.5), np.floor(z + 0.5)
    # single precision, as the volume has it: a millionth of its standard deviation
    dx, dy, dz = np.float32(x - fx), np.float32(y - fy), np.float32(z - fz)
    half, most = np.float32(0.5), np.float32(0.75)
    ay, by, cy = half * (half - dy) * (half - dy), most - dy * dy, half * (half + dy) * (half + dy)
    az, bz, cz = half * (half - dz) * (half - dz), most - dz * dz, half * (half + dz) * (half + dz)
    # the remainder by floor: integer division is slow; unsigned: no look for indices below zero
    i = np.uint64(np.int64(fx - size * np.floor(fx / size)))
    j = np.uint64(np.int64(fy - size * np.floor(fy / size)))
    k = np.uint64(np.int64(fz - size * np.floor(fz / size)))
    one, two = np.uint64(1), np.uint64(2)
    j1, j2, k1, k2 = j + one, j + two, k + one, k + two
    wx, total = half * (half - dx) * (half - dx), np.float32(0.0)
    for step in range(3):
        total += wx * (
            ay * (az * volume[i, j, k] + bz * volume[i, j, k1] + cz * volume[i, j, k2])
            + by * (az * volume[i, j1, k] + bz * volume[i, j1, k1] + cz * volume[i, j1, k2])
            + cy * (az * volume[i, j2, k] + bz * volume[i, j2, k1] + cz * volume[i, j2, k2])
        )
        i += one
        wx = most - dx * dx if step == 0 else half * (half + dx) * (half + dx)
    return np.float64(total)


@compiled
def sample(volume, points):
    """Value of the noise at points (N, 3) in voxels, float (N,)."""
    values = np.empty(points.shape[0])
    for i in range(points.shape[0]):
        values[i] = _bspline(volume, points[i, 0], points[i, 1], points[i, 2])
    return values


@compiled
def displacement(fields, volume, x, y, z):
    """Displacement along the normal at a point in pixels: irregularity and roughness apart.

    `fields` (2, 5) holds a row for each: standard deviation, voxels a pixel, three offsets.
    """
    coarse = fine = 0.0
    if fields[0, 0] > 0.0:
        s = fields[0, 1]
        value = _bspline(volume, x * s + fields[0, 2], y * s + fields[0, 3], z * s + fields[0, 4])
        coarse = fields[0, 0] * min(max(value, -OUTLINE_LIMIT), OUTLINE_LIMIT)
    if fields[1, 0] > 0.0:
        s = fields[1, 1]
        value = _bspline(volume, x * s + fields[1, 2], y * s + fields[1, 3], z * s + fields[1, 4])
        fine = fields[1, 0] * min(max(value, -ROUGH_LIMIT), ROUGH_LIMIT)
    return coarse, fine
