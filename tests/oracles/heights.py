"""Sums of heights in array operations, block by block."""

from __future__ import annotations

import math

import numpy as np

from particle_nb.core.surface.levelling import BLOCK


def _block(
    heights: np.ndarray, area: np.ndarray, kept: np.ndarray, start: int
) -> tuple[np.ndarray, np.ndarray]:
    part = slice(start, start + BLOCK)
    z = heights[part].astype(np.float64)
    w = area[part].astype(np.float64) if area.size else np.ones(z.size)
    known = np.isfinite(z) & kept[part] if kept.size else np.isfinite(z)
    return (z, w) if known.all() else (z[known], w[known])


def _block_firsts(
    heights: np.ndarray, area: np.ndarray, kept: np.ndarray
) -> tuple[float, float, float, float]:
    """`_firsts` without compiled loops."""
    total = first = 0.0
    low, high = math.inf, -math.inf
    for start in range(0, heights.size, BLOCK):
        z, w = _block(heights, area, kept, start)
        if z.size:
            # sums of products, not dot products: BLAS would wake its threads for every block
            total, first = total + float(w.sum()), first + float((w * z).sum())
            low, high = min(low, float(z.min())), max(high, float(z.max()))
    return total, first, low, high


def _block_centrals(
    heights: np.ndarray, area: np.ndarray, kept: np.ndarray, mean: float
) -> tuple[float, ...]:
    """`_centrals` without compiled loops."""
    sums = np.zeros(4)
    for start in range(0, heights.size, BLOCK):
        z, w = _block(heights, area, kept, start)
        z -= mean
        wz = w * z
        wzz = wz * z
        sums += np.abs(wz).sum(), wzz.sum(), (wzz * z).sum(), (wzz * z * z).sum()
    return tuple(sums.tolist())
