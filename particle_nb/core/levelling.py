"""Taking the form off a cloud: normal residuals, area weights and what was thrown out.

A pixel does not stand for the same area of the form everywhere. Seen from above, a slope that
faces the viewer fills many pixels and one that faces away few or none, and on a rough flank both
lie side by side. So every point counts with the form's area between the feet of its neighbours,
the foot of a point being where its normal meets the form; what a hill hides then goes half to the
hill and half to the valley behind it. Weighting with the form's own slope only lets facing slopes
count too much: on a sphere of 1000 nm with Sq = 39.1 nm it gives 5 % too little at a correlation
length of 60 nm and 10 % too little at 30 nm.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.spatial import cKDTree

from particle_nb.core.compiled import compiled
from particle_nb.core.errors import CalibrationError, DataError
from particle_nb.core.formfit import STEEPEST, Form, fit_form, robust_sigma
from particle_nb.core.surface import PointCloud

#: Points treated at a time, so that the temporaries stay in the processor's cache.
BLOCK = 1 << 16
_SPIKE = 4.5  # times its neighbours' own scatter that a spike lies off their median
_FAR = 2.5  # and from the form, in robust deviations of the whole
_OUTLYING = 6.0  # beyond this a whole patch is called outlying, and reported


@dataclass(frozen=True, eq=False)
class Levelled:
    """A cloud with its form taken off.

    Parameters
    ----------
    cloud : PointCloud
    form : Form
    residual : float32 (N,)
        Distance from the form along its normal, nm; not yet centred.
    area : float32 (N,)
        Area of the form that each point stands for, in projected pixels; 1 / normal_z for
        scattered points.
    kept : bool (N,)
        Points that are no spikes.
    sigma : float
        Robust standard deviation of the residuals, nm.
    outlying : float
        Share of the kept points farther than six robust deviations from the form.
    """

    cloud: PointCloud
    form: Form
    residual: np.ndarray
    area: np.ndarray
    kept: np.ndarray
    sigma: float
    outlying: float

    @property
    def rejected(self) -> int:
        """Number of spikes."""
        return int(self.kept.size - np.count_nonzero(self.kept))


def level(cloud: PointCloud, form: str, outliers: str = "spikes") -> Levelled:
    """Fit a form to a cloud and return the residuals along its normal.

    Parameters
    ----------
    cloud : PointCloud
        In nm.
    form : str
        See `particle_nb.core.formfit.fit_form`.
    outliers : str
        ``"spikes"`` drops single points that leave both the form and their neighbours,
        ``"far"`` drops everything six robust deviations from the form as well, ``"keep"`` nothing.
        The fit of the form is robust in every case.

    Raises
    ------
    CalibrationError
        If z has no scale.
    DataError
        If the form cannot be fitted or `outliers` is unknown.

    Examples
    --------
    >>> y, x = np.mgrid[-60:61, -60:61].reshape(2, -1).astype(float)
    >>> sphere = np.stack([x, y, np.sqrt(100.0**2 - x**2 - y**2)], axis=1)
    >>> bool(np.abs(level(PointCloud(sphere), "sphere").residual).max() < 1e-4)
    True
    """
    if not isinstance(cloud, PointCloud):
        raise DataError(f"a surface is a PointCloud, not {type(cloud).__name__}; use point_cloud.")
    if outliers not in ("spikes", "far", "keep"):
        raise DataError(f"outliers is 'spikes', 'far' or 'keep', not {outliers!r}.")
    require_nm(cloud)
    fitted = fit_form(cloud.xyz[cloud.sample()], form)
    count = len(cloud)
    unit = 1 / (cloud.pitch or 1.0)
    grid = None if cloud.pitch is None else cloud.grid_index()
    residual, up = np.empty(count, np.float32), np.empty(count, np.float32)
    foot = np.empty((2, count), np.float32)
    corner = cloud.xyz[0].astype(np.float64)  # far from the origin float32 would lose the feet
    for start in range(0, count, BLOCK):
        part = slice(start, start + BLOCK)
        x, y, z = np.ascontiguousarray(cloud.xyz[part].T, np.float64)
        distance, nx, ny, up[part] = fitted.residual(x, y, z)
        foot[0, part] = (x - corner[0] - distance * nx) * unit
        foot[1, part] = (y - corner[1] - distance * ny) * unit
        residual[part] = distance
    probe = residual[cloud.sample()]
    centre, sigma = float(np.median(probe)), robust_sigma(probe)
    floor = 1e-6 * float(np.ptp(probe)) + 1e-30
    far = np.abs(residual - np.float32(centre)) > np.float32(_FAR * max(sigma, floor))
    kept = np.ones(count, bool)
    if outliers != "keep":
        suspects = np.flatnonzero(far)
        if suspects.size:
            found = _is_spike(cloud, grid, residual, suspects, max(sigma, floor))
            kept[suspects[found]] = False
    limit = np.float32(_OUTLYING * max(sigma, 1e-6 * _extent(cloud)))
    beyond = kept & far & (np.abs(residual - np.float32(centre)) > limit)
    outlying = float(beyond.sum()) / max(int(kept.sum()), 1)
    if outliers == "far":
        kept &= ~beyond
    area = 1 / up if grid is None else _areas(*grid, foot, up, kept)
    return Levelled(cloud, fitted, residual, area, kept, sigma, outlying)


def require_nm(cloud: PointCloud) -> None:
    """Raise CalibrationError unless z is in nm.

    Roughness in units of a model's relative depth would look like a number in nm and be none:
    it is refused rather than returned.
    """
    if cloud.unit != "nm":
        raise CalibrationError(
            "this cloud's z is relative depth without a scale; make it with "
            "point_cloud(..., height='hemisphere') or a known height in nm."
        )


@compiled
def _areas(rows, cols, shape, foot, up, kept):
    """Area of the form around the foot of every point, in pixels, from its neighbours' feet."""
    index = np.full((shape[0] + 2, shape[1] + 2), -1, np.int32)
    for i in range(rows.size):
        if kept[i]:
            index[rows[i] + 1, cols[i] + 1] = i
    area = np.empty(rows.size, np.float32)
    slope = np.empty((2, 2))
    for i in range(rows.size):
        r, c = rows[i] + 1, cols[i] + 1
        for axis in range(2):
            before = index[r, c - 1] if axis == 0 else index[r - 1, c]
            after = index[r, c + 1] if axis == 0 else index[r + 1, c]
            span = (before >= 0) + (after >= 0)
            before, after = before if before >= 0 else i, after if after >= 0 else i
            for k in range(2):
                if span > 0:
                    slope[axis, k] = (foot[k, after] - foot[k, before]) / span
                else:  # alone in its row or column
                    slope[axis, k] = 1.0 if axis == k else 0.0
        spread = slope[0, 0] * slope[1, 1] - slope[0, 1] * slope[1, 0]
        # a spike that was kept can fold the feet over each other
        area[i] = min(max(spread, 0.0) / up[i], 1.0 / STEEPEST)
    return area


def _extent(cloud: PointCloud) -> float:
    return float(np.ptp(cloud.xyz[cloud.sample(1000)], axis=0).max())


def _is_spike(
    cloud: PointCloud,
    grid: tuple[np.ndarray, np.ndarray, tuple[int, int]] | None,
    residual: np.ndarray,
    suspects: np.ndarray,
    sigma: float,
) -> np.ndarray:
    """Tell which of the suspects stand alone, by the median and scatter of their neighbours.

    The summit of a real feature lies within the spread of its neighbours, however smooth the
    rest of the particle is; a spike leaves them by many times that spread.
    """
    if grid is not None:
        rows, cols, shape = grid
        frame = np.full((shape[0] + 4, shape[1] + 4), np.nan, np.float32)
        frame[rows + 2, cols + 2] = residual
        flat, width = frame.reshape(-1), frame.shape[1]
        steps = [dr * width + dc for dr in range(-2, 3) for dc in range(-2, 3) if dr or dc]
        here = (rows[suspects] + 2).astype(np.int64) * width + cols[suspects] + 2

        def neighbours(part: slice) -> np.ndarray:
            return np.stack([flat[here[part] + step] for step in steps], axis=1)
    else:
        near = cKDTree(cloud.xyz[:, :2]).query(cloud.xyz[suspects, :2], k=min(17, len(cloud)))[1][
            :, 1:
        ]

        def neighbours(part: slice) -> np.ndarray:
            return residual[near[part]]

    found = np.zeros(suspects.size, bool)
    for start in range(0, suspects.size, BLOCK):
        part = slice(start, start + BLOCK)
        around = neighbours(part)
        middle = _median_of(around)
        spread = 1.4826 * _median_of(np.abs(around - middle[:, None]))
        limit = np.maximum(_SPIKE * spread, _FAR * sigma)
        found[part] = np.abs(residual[suspects[part]] - middle) > limit
    return found


def _median_of(values: np.ndarray) -> np.ndarray:
    """Median along axis 1 that passes over NaN; where all are NaN, 0 (the form itself)."""
    ordered = np.sort(values, axis=1)  # NaN goes last
    count = np.count_nonzero(np.isfinite(ordered), axis=1)
    low = np.maximum(count - 1, 0)[:, None] // 2
    high = np.minimum(count // 2, values.shape[1] - 1)[:, None]
    middle = np.take_along_axis(ordered, low, 1) + np.take_along_axis(ordered, high, 1)
    return np.where(count > 0, middle[:, 0] / 2, 0.0)
