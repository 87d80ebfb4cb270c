"""Compiled loops over mask logits: resampling as torch rounds it, and the mask with its counts."""

from __future__ import annotations

import numpy as np

from particle_nb.core.compiled import compiled


@compiled
def resample(source, top, left, row_taps, row_weights, col_taps, col_weights, out):
    """Bilinear resampling of logits (no unit), rounded as fma(a, wa, b * wb) in float32.

    `row_taps` and `col_taps` name the two source px of every px of `out`; `source` begins at `top`
    and `left` px. The weights have no unit. Columns go first.
    """
    height, width = out.shape
    line = np.empty((2, width), np.float32)
    held = np.full(2, -1, np.int64)
    for r in range(height):
        for tap in range(2):
            row = row_taps[tap, r]
            if held[tap] == row:
                continue
            if tap == 0 and held[1] == row:
                line[0, :] = line[1, :]
            else:
                for c in range(width):
                    a = np.float64(source[row - top, col_taps[0, c] - left])
                    b = np.float32(source[row - top, col_taps[1, c] - left] * col_weights[1, c])
                    line[tap, c] = np.float32(a * np.float64(col_weights[0, c]) + np.float64(b))
            held[tap] = row
        near, far = np.float64(row_weights[0, r]), row_weights[1, r]
        for c in range(width):
            b = np.float32(line[1, c] * far)
            out[r, c] = np.float32(np.float64(line[0, c]) * near + np.float64(b))


@compiled
def survey(logits, threshold, offset, mask):
    """Write logits > threshold into mask; return the px^2 above threshold + and - offset.

    Logits, threshold and offset have no unit.
    """
    height, width = logits.shape
    above, below = np.float32(threshold + offset), np.float32(threshold - offset)
    level = np.float32(threshold)
    inner = 0
    outer = 0
    for r in range(height):
        for c in range(width):
            value = logits[r, c]
            inner += value > above
            outer += value > below
            mask[r, c] = value > level
    return inner, outer
