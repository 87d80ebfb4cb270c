"""Height parameters of millions of residuals in two passes over them."""

from __future__ import annotations

import math

import numpy as np

from particle_nb.core.compiled import compiled
from particle_nb.core.errors import DataError
from particle_nb.core.residuals_numpy import BLOCK


def areal_parameters(
    heights: np.ndarray, weights: np.ndarray | None = None, kept: np.ndarray | None = None
) -> dict[str, float]:
    """Return Sa, Sq, Sz, Ssk and Sku of heights about their weighted mean.

    Parameters
    ----------
    heights : float array
        Residual heights in nm; NaN is passed over.
    weights : float array of the same shape or None
        Surface area that each height stands for.
    kept : bool array of the same shape or None
        Heights that count; None takes all.

    Raises
    ------
    DataError
        If no height is finite, or shapes differ.

    Notes
    -----
    ISO 25178-2, clauses on height parameters. Sums run in float64.

    Examples
    --------
    >>> areal_parameters(np.array([-1.0, 1.0, -1.0, 1.0]))
    {'Sa': 1.0, 'Sq': 1.0, 'Sz': 2.0, 'Ssk': 0.0, 'Sku': 1.0}
    """
    flat = _real(heights)
    area = np.empty(0, np.float32) if weights is None else _real(weights)
    which = np.empty(0, bool) if kept is None else np.asarray(kept, bool).reshape(-1)
    if weights is not None and area.shape != flat.shape:
        raise DataError(f"{area.size} weights do not fit {flat.size} heights.")
    if kept is not None and which.shape != flat.shape:
        raise DataError(f"{which.size} marks of what is kept do not fit {flat.size} heights.")
    total, first, low, high = _firsts(flat, area, which)
    if not total > 0:
        raise DataError("there is no finite height to take a roughness of.")
    sums = _centrals(flat, area, which, first / total)
    sa, variance, third, fourth = (float(v) / total for v in sums)
    sq = math.sqrt(variance)
    skewness = third / sq**3 if sq > 0 else math.nan
    kurtosis = fourth / sq**4 if sq > 0 else math.nan
    return {"Sa": sa, "Sq": sq, "Sz": high - low, "Ssk": skewness, "Sku": kurtosis}


def _real(values: np.ndarray) -> np.ndarray:
    """Flat and in float32 or float64, so that there are no more compiled variants than these."""
    flat = np.ascontiguousarray(values).reshape(-1)
    return flat if flat.dtype in (np.float32, np.float64) else flat.astype(np.float64)


@compiled
def _firsts(heights, area, kept):
    """Sums of weights and weighted heights, least and greatest height."""
    total = first = 0.0
    low, high = np.inf, -np.inf
    for i in range(heights.size):
        z = float(heights[i])
        if not math.isfinite(z) or (kept.size > 0 and not kept[i]):
            continue
        w = float(area[i]) if area.size > 0 else 1.0
        total += w
        first += w * z
        low, high = z if z < low else low, z if z > high else high
    return total, first, low, high


@compiled
def _centrals(heights, area, kept, mean):
    """Weighted sums of the absolute height and of its second, third and fourth power."""
    absolute = second = third = fourth = 0.0
    for i in range(heights.size):
        z = float(heights[i]) - mean
        if not math.isfinite(z) or (kept.size > 0 and not kept[i]):
            continue
        wz = float(area[i]) * z if area.size > 0 else z
        wzz = wz * z
        absolute += abs(wz)
        second += wzz
        third += wzz * z
        fourth += wzz * z * z
    return absolute, second, third, fourth


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
