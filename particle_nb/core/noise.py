"""Gaussian-correlated noise in space: what irregular outlines and rough surfaces are made of."""

from __future__ import annotations

import math

import numpy as np
from scipy import ndimage

from particle_nb.core.compiled import compiled

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
    smooth = ndimage.gaussian_filter(white, 1.0, mode="wrap", truncate=5.0)
    smooth -= smooth.mean()
    samples = sample(np.pad(smooth, 1, mode="wrap"), rng.random((20000, 3)) * size)
    return np.pad((smooth / samples.std()).astype(np.float32), 1, mode="wrap")


@compiled
def _bspline(volume, x, y, z):
    """Quadratic B-spline value of the padded periodic volume at (x, y, z) in voxels."""
    size = volume.shape[0] - 2
    fx, fy, fz = math.floor(x + 0.5), math.floor(y + 0.5), math.floor(z + 0.5)
    dx, dy, dz = x - fx, y - fy, z - fz
    ay, by, cy = 0.5 * (0.5 - dy) ** 2, 0.75 - dy * dy, 0.5 * (0.5 + dy) ** 2
    az, bz, cz = 0.5 * (0.5 - dz) ** 2, 0.75 - dz * dz, 0.5 * (0.5 + dz) ** 2
    # the remainder by floor: integer division is slow
    i = int(fx - size * math.floor(fx / size))
    j = int(fy - size * math.floor(fy / size))
    k = int(fz - size * math.floor(fz / size))
    total = 0.0
    for step in range(3):
        if step == 0:
            wx = 0.5 * (0.5 - dx) ** 2
        elif step == 1:
            wx = 0.75 - dx * dx
        else:
            wx = 0.5 * (0.5 + dx) ** 2
        row = volume[i + step]
        total += wx * (
            ay * (az * row[j, k] + bz * row[j, k + 1] + cz * row[j, k + 2])
            + by * (az * row[j + 1, k] + bz * row[j + 1, k + 1] + cz * row[j + 1, k + 2])
            + cy * (az * row[j + 2, k] + bz * row[j + 2, k + 1] + cz * row[j + 2, k + 2])
        )
    return total


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
