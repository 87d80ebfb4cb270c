"""Compiled loops of phase maps: sampling coarse planes, medians, and the votes of a forest."""

from __future__ import annotations

import numpy as np

from particle_nb.core.compiled import compiled


@compiled
def _sampled(values: np.ndarray, rows: np.ndarray, cols: np.ndarray, out: np.ndarray) -> None:
    """Bilinear samples of values (h, w, C) at N places in its own cells, into out (N, C)."""
    height, width, channels = values.shape
    for i in range(len(rows)):
        row = min(max(rows[i], 0.0), height - 1.0)
        col = min(max(cols[i], 0.0), width - 1.0)
        r, c = int(row), int(col)
        r1, c1 = min(r + 1, height - 1), min(c + 1, width - 1)
        v, u = np.float32(row - r), np.float32(col - c)
        one = np.float32(1.0)
        a, b = (one - v) * (one - u), (one - v) * u
        d, e = v * (one - u), v * u
        for k in range(channels):
            out[i, k] = (
                a * values[r, c, k]
                + b * values[r, c1, k]
                + d * values[r1, c, k]
                + e * values[r1, c1, k]
            )


@compiled
def _medians(padded: np.ndarray, radius: int, out: np.ndarray) -> None:
    """Median over squares of 2 * radius + 1 cells; padded (H + 2 radius, W + 2 radius)."""
    side = 2 * radius + 1
    middle = side * side // 2
    held = np.empty(side * side, np.float32)
    for r in range(out.shape[0]):
        for c in range(out.shape[1]):
            count = 0
            for i in range(side):
                for j in range(side):
                    value = padded[r + i, c + j]
                    k = count
                    while k > 0 and held[k - 1] > value:
                        held[k] = held[k - 1]
                        k -= 1
                    held[k] = value
                    count += 1
            out[r, c] = held[middle]


@compiled
def _votes(
    rows: np.ndarray,
    roots: np.ndarray,
    feature: np.ndarray,
    threshold: np.ndarray,
    children: np.ndarray,
    leaves: np.ndarray,
    out: np.ndarray,
) -> None:
    """Add the shares of every tree's leaf to out (N, K); feature below 0 is a leaf; no unit."""
    for tree in range(len(roots)):
        for i in range(len(rows)):
            node = roots[tree]
            while feature[node] >= 0:
                node = children[node, 0 if rows[i, feature[node]] <= threshold[node] else 1]
            for k in range(out.shape[1]):
                out[i, k] += leaves[node, k]
