"""Slopes of a height map within each surface, and how much of the sky every point sees."""

from __future__ import annotations

import numpy as np

from particle_nb.core.compiled import compiled


@compiled
def _slopes(height, labels, gx, gy):
    rows, cols = height.shape
    for r in range(rows):
        for c in range(cols):
            own = labels[r, c]
            up, down = max(r - 1, 0), min(r + 1, rows - 1)
            left, right = max(c - 1, 0), min(c + 1, cols - 1)
            # one-sided across an outline: the step there is no slope of the surface
            if labels[up, c] != own:
                up = r
            if labels[down, c] != own:
                down = r
            if labels[r, left] != own:
                left = c
            if labels[r, right] != own:
                right = c
            gy[r, c] = (height[down, c] - height[up, c]) / max(down - up, 1)
            gx[r, c] = (height[r, right] - height[r, left]) / max(right - left, 1)


@compiled
def _raise(steep, seen, own, inverse):
    """Steepest slope so far towards one side, for a row of points."""
    for c in range(len(steep)):
        steep[c] = max(steep[c], (seen[c] - own[c]) * inverse)


@compiled
def _add_sky(steep, ux, uy, total, ax, ay):
    one = np.float32(1.0)
    for c in range(len(steep)):
        # cos^2 of the horizon angle: the share of a Lambertian sky above it; "/" would look for
        # zeros, point by point
        share = np.divide(one, one + steep[c] * steep[c])
        total[c] += share
        ax[c] += share * ux
        ay[c] += share * uy


@compiled
def _open_sky(height, padded, margin, strides, sky, sx, sy):
    """Share and mean direction of the sky from 8 horizons, a picture row at a time.

    `padded` is the height with `margin` pixels of very low ground around it.
    """
    rows, cols = height.shape
    zero = np.float32(0.0)
    steep = np.empty(cols, np.float32)
    for r in range(rows):
        own, total, ax, ay = height[r], sky[r], sx[r], sy[r]
        total[:] = zero
        ax[:] = zero
        ay[:] = zero
        for d in range(8):
            dr = 0 if d == 0 or d == 4 else (1 if d < 4 else -1)
            dc = 0 if d == 2 or d == 6 else (1 if d == 0 or d == 1 or d == 7 else -1)
            unit = 1.0 if d % 2 == 0 else 1.4142135623730951
            ux, uy = np.float32(dc / unit), np.float32(dr / unit)
            steep[:] = zero
            for stride in strides:
                first = margin + dc * stride
                seen = padded[r + margin + dr * stride, first : first + cols]
                _raise(steep, seen, own, np.float32(1.0 / (stride * unit)))
            _add_sky(steep, ux, uy, total, ax, ay)
        for c in range(cols):
            total[c] *= np.float32(0.125)
            ax[c] *= np.float32(0.25)
            ay[c] *= np.float32(0.25)


def topography(height: np.ndarray, labels: np.ndarray, reach: float) -> tuple[np.ndarray, ...]:
    """Slopes d/dx, d/dy and open sky (share, mean direction x and y) of a height map in pixels.

    Parameters
    ----------
    height : float32 (H, W)
    labels : int32 (H, W)
        Surfaces; no slope is taken across their borders.
    reach : float
        Distance in pixels at which the last of the horizon is looked for.

    Examples
    --------
    >>> flat = np.zeros((8, 8), np.float32)
    >>> float(topography(flat, flat.astype(np.int32), 4.0)[2].min())
    1.0
    """
    height = np.ascontiguousarray(height)
    strides = np.unique(np.maximum(1, np.rint(reach * np.array([0.08, 0.2, 0.45, 1.0])))).astype(
        np.int64
    )
    gx, gy, sky, sx, sy = (np.empty(height.shape, np.float32) for _ in range(5))
    _slopes(height, labels, gx, gy)
    margin = int(strides[-1])
    padded = np.pad(height, margin, constant_values=np.float32(-1e6))
    _open_sky(height, padded, margin, strides, sky, sx, sy)
    return gx, gy, sky, sx, sy
