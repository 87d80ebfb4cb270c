"""Smooth ellipsoids on the pixel grid."""

from __future__ import annotations

import math

import numpy as np

from particle_nb.core.compiled import compiled


@compiled
def raster_smooth(rotation, centre, semi, x0, y0, top, bottom, relief, parts):
    """Draw N smooth ellipsoids at once: rotation (N, 3, 3), centre and semi (N, 3)."""
    rows, cols = top.shape
    for n in range(len(semi)):
        turn, axes = rotation[n], semi[n]
        # z of the surface over (x, y): the roots of a z^2 + 2 (bx x + by y) z + ... = 1
        a = bx = by = cxx = cxy = cyy = 0.0
        for i in range(3):
            q = 1.0 / (axes[i] * axes[i])
            a += turn[i, 2] * turn[i, 2] * q
            bx += turn[i, 2] * turn[i, 0] * q
            by += turn[i, 2] * turn[i, 1] * q
            cxx += turn[i, 0] * turn[i, 0] * q
            cxy += turn[i, 0] * turn[i, 1] * q
            cyy += turn[i, 1] * turn[i, 1] * q
        reach = max(axes[0], max(axes[1], axes[2]))
        left, high = centre[n, 0] - x0, centre[n, 1] - y0
        for r in range(max(0, math.ceil(high - reach)), min(rows, math.floor(high + reach) + 1)):
            y = r - high
            width = math.sqrt(max(reach * reach - y * y, 0.0))
            for c in range(
                max(0, math.ceil(left - width)), min(cols, math.floor(left + width) + 1)
            ):
                x = c - left
                b = bx * x + by * y
                root = b * b - a * (cxx * x * x + 2.0 * cxy * x * y + cyy * y * y - 1.0)
                if root <= 0.0:
                    continue
                root = math.sqrt(root)
                if centre[n, 2] + (root - b) / a > top[r, c]:
                    top[r, c] = centre[n, 2] + (root - b) / a
                    relief[r, c] = 0.0
                    parts[r, c] = n
                if centre[n, 2] - (root + b) / a < bottom[r, c]:
                    bottom[r, c] = centre[n, 2] - (root + b) / a


def shadow_area(rotation: np.ndarray, semi: np.ndarray) -> np.ndarray:
    """Area of the shadow that smooth ellipsoids cast along z: pi sqrt(sum of (b c n_a)^2).

    Parameters
    ----------
    rotation : float (..., 3, 3)
        World to local axes; n_a are the components of z along the local axes.
    semi : float (..., 3)
        Semi-axes a, b, c.

    Examples
    --------
    >>> bool(shadow_area(np.eye(3), np.array([3.0, 2.0, 1.0])) == 6 * math.pi)
    True
    """
    a, n = np.asarray(semi, float), np.asarray(rotation, float)[..., 2]
    first = (a[..., 1] * a[..., 2] * n[..., 0]) ** 2
    second = (a[..., 0] * a[..., 2] * n[..., 1]) ** 2
    third = (a[..., 0] * a[..., 1] * n[..., 2]) ** 2
    return math.pi * np.sqrt(first + second + third)
