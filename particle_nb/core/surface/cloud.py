"""From relative depth to a surface in nanometres: `PointCloud`, `point_cloud`, relief."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from particle_nb.core.errors import CalibrationError, DataError
from particle_nb.core.image import Calibration
from particle_nb.core.masks import Mask
from particle_nb.core.shape.contour import QUANTITIES, measure_crops
from particle_nb.core.surface._kernels import _assemble
from particle_nb.core.surface.depth import DepthMap, _numbers


def assembled(
    index: np.ndarray,
    z: np.ndarray,
    least: float,
    width: int,
    origin: tuple[int, int],
    pixel: float,
) -> np.ndarray:
    """Return x, y and z of the pixels whose height is `least` or more, float32 (M, 3).

    Parameters
    ----------
    index : int32 (N,)
        Flat indices of the pixels in a window, rising.
    z : float array (N,)
        Their heights, nm.
    least : float
        Cut-off, nm.
    width : int
        Of the window.
    origin : (int, int)
        Row and column of the window in the image.
    pixel : float
        Pixel size, nm.

    Examples
    --------
    >>> assembled(np.array([1, 2]), np.array([5.0, 7.0]), 6.0, 2, (10, 20), 0.5).tolist()
    [[10.0, 5.5, 7.0]]
    """
    return _assemble(index, z, least, width, *origin, pixel)


#: Points looked at to find the scale and the form; more would not move the fourth digit.
SAMPLE = 40_000


def spread_sample(n: int, count: int = SAMPLE) -> np.ndarray:
    """Return at most `count` of the indices 0 to n - 1, spread evenly and without a stride.

    A golden-ratio jitter inside equal strata keeps a row-major grid from being sampled along a
    few of its columns.

    Examples
    --------
    >>> spread_sample(3).tolist(), spread_sample(100, 4).tolist()
    ([0, 1, 2], [0, 40, 55, 96])
    """
    if n <= count:
        return np.arange(n)
    strata = np.arange(count)
    jitter = (strata * 0.6180339887498949) % 1.0
    return ((strata + jitter) * (n / count)).astype(np.int64)


def relief_of(
    patch: np.ndarray, inside: np.ndarray, index: np.ndarray | None = None
) -> tuple[float, float, str]:
    """Return base, relief (top minus base) in depth units, and how they were found.

    Parameters
    ----------
    patch : float array (h, w)
        Relative heights around a particle.
    inside : bool array (h, w)
        Its pixels.
    index : int array (N,) or None
        Their flat indices, where they are known already.

    Raises
    ------
    DataError
        If the depth inside is constant.

    Examples
    --------
    >>> y, x = np.mgrid[-60:61, -60:61]
    >>> dome = np.sqrt(np.maximum(57.3**2 - x**2 - y**2, 0))
    >>> base, relief, how = relief_of(3 * dome + 7, dome > 0)
    >>> round(base), round(relief / 3), how
    (7, 57, 'half-ellipsoid law')
    """
    index = np.flatnonzero(inside) if index is None else index
    rows, cols = np.divmod(index[spread_sample(index.size)], inside.shape[1])
    # a 3 x 3 median takes single outliers off; outside the mask the pixel stands for itself
    centre = patch[rows, cols].astype(np.float64)
    stack = [centre]
    height, width = patch.shape
    for dr, dc in ((-1, -1), (-1, 0), (-1, 1), (0, -1), (0, 1), (1, -1), (1, 0), (1, 1)):
        r, c = np.clip(rows + dr, 0, height - 1), np.clip(cols + dc, 0, width - 1)
        stack.append(np.where(inside[r, c], patch[r, c], centre))
    levels = np.sort(np.median(stack, axis=0))
    share = (np.arange(levels.size) + 0.5) / levels.size
    middle = (share > 0.2) & (share < 0.9)
    slope, base = np.polyfit(np.sqrt(share[middle]), levels[middle], 1)
    lowest, low, highest = np.interp([0.001, 0.02, 0.999], share, levels)
    spread = float(np.abs(levels).max())
    if not highest - lowest > 1e-6 * spread:
        raise DataError(
            "the depth is constant inside the mask, so that no height can be read off it; "
            "check that the depth map belongs to this image."
        )
    if slope > 0 and low < base + slope * (math.sqrt(0.02) + 0.1):
        return float(base), float(slope), "half-ellipsoid law"
    return float(lowest), float(highest - lowest), "99.8 % range"


_FEWEST = 16  # pixels of a particle below which no height scale can be read off it


@dataclass(frozen=True, eq=False)
class PointCloud:
    """Points of a particle's upper side in nanometres.

    Parameters
    ----------
    xyz : float array (N, 3)
        x to the right and y down as in the image, z up towards the detector; nm.
    pixel_size : float or None
        Pitch of the square grid that the points lie on, nm; None is found out when needed.
    unit : str
        ``"nm"``, or ``"relative"`` where z has no scale (``point_cloud(height="none")``).
    height : float
        Height of the top above the base that z was scaled to, nm; NaN where unknown.
    percentile : float
        Share of points below the cut-off that were taken for substrate, 0 to 100; NaN if unknown.
    info : dict
        Provenance: x_Fmax in nm, how the relief was found, model, flags.

    Raises
    ------
    DataError
        If the array is not (N, 3), empty, or holds NaN or infinite numbers.

    Examples
    --------
    >>> len(PointCloud(np.zeros((5, 3))))
    5
    """

    xyz: np.ndarray
    pixel_size: float | None = None
    unit: str = "nm"
    height: float = math.nan
    percentile: float = math.nan
    info: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        xyz = _numbers(self.xyz, "a point cloud")
        if xyz.ndim != 2 or xyz.shape[1] != 3 or not len(xyz):
            raise DataError(f"a point cloud is an array (N, 3) of x, y, z in nm, not {xyz.shape}.")
        if not np.isfinite(xyz).all():
            raise DataError("a point cloud holds NaN or infinite numbers; drop those points first.")
        if self.unit not in ("nm", "relative"):
            raise DataError(f"the unit of a cloud is 'nm' or 'relative', not {self.unit!r}.")
        if self.pixel_size is not None and not (0 < self.pixel_size < math.inf):
            raise DataError(f"the pitch of a cloud is a positive number, not {self.pixel_size!r}.")
        xyz = xyz.view()
        xyz.flags.writeable = False
        object.__setattr__(self, "xyz", xyz)

    def __len__(self) -> int:
        return len(self.xyz)

    def sample(self, count: int = SAMPLE) -> np.ndarray:
        """Return the indices, int (K,), of at most `count` points, as `spread_sample` does."""
        return spread_sample(len(self), count)

    @cached_property
    def extent(self) -> float:
        """Longest side of the box around a thousand of the points, in the unit of z."""
        return float(np.ptp(self.xyz[self.sample(1000)], axis=0).max())

    @cached_property
    def pitch(self) -> float | None:
        """Pitch of the square grid under the points in nm; None for scattered points."""
        if self.pixel_size is not None:
            return float(self.pixel_size)
        return _pitch(self.xyz[: 4 * SAMPLE].astype(np.float64), self.xyz)

    def grid_index(self) -> tuple[np.ndarray, np.ndarray, tuple[int, int]]:
        """Return row and column of every point, int32 (N,), and the size of the grid.

        Raises
        ------
        DataError
            If the points lie on no regular grid.
        """
        pitch = self.pitch
        if pitch is None:
            raise DataError(
                "these points lie on no regular grid; filters, spatial parameters and profiles "
                "need one. Make the cloud with point_cloud, or resample it."
            )
        x, y = self.xyz[:, 0], self.xyz[:, 1]
        cols = np.rint((x - x.min()) / pitch).astype(np.int32)
        rows = np.rint((y - y.min()) / pitch).astype(np.int32)
        return rows, cols, (int(rows.max()) + 1, int(cols.max()) + 1)

    def grid(self, values: np.ndarray | None = None) -> np.ndarray:
        """Return z, or one value a point, as a map float32 (h, w); NaN where there is no point.

        Raises
        ------
        DataError
            If the points lie on no regular grid.

        Examples
        --------
        >>> PointCloud([[0, 0, 5], [1, 0, 6], [1, 1, 7.0]], pixel_size=1).grid().tolist()
        [[5.0, 6.0], [nan, 7.0]]
        """
        rows, cols, shape = self.grid_index()
        heights = np.full(shape, np.nan, np.float32)
        heights[rows, cols] = self.xyz[:, 2] if values is None else values
        return heights

    def __repr__(self) -> str:
        return f"<PointCloud of {len(self):,} points, z in {self.unit}>"


def parse_height(height: float | str) -> float:
    """Read a known height in nm, given as a number (nm) or as text such as ``"0.5 um"``.

    Raises
    ------
    CalibrationError
        If it is not a finite positive length.

    Examples
    --------
    >>> parse_height("0.5 um")
    500.0
    """
    try:
        if isinstance(height, str):
            return Calibration.parse(height).to("nm")
        value = math.nan if isinstance(height, bool) else float(height)
    except (CalibrationError, TypeError, ValueError):
        value = math.nan
    if not (math.isfinite(value) and value > 0):
        raise CalibrationError(
            f"cannot use {height!r} as a height; give nm as a number, text such as '500 nm', "
            "'hemisphere' (half the greatest Feret diameter) or 'none'."
        )
    return value


def point_cloud(
    depth: DepthMap,
    mask: Mask,
    calibration: Calibration | None,
    height: float | str = "hemisphere",
    substrate_percentile: float = 40,
) -> PointCloud:
    """Scale one particle's relative depth to nm and drop its lowest points.

    The scale hangs on the particle, never on the frame: its base at the outline gets z = 0 and
    its top gets `height`. The relief that this divides is read off the distribution of depths
    inside the mask, because pixels stop short of a steep limb and single maxima are noise: on a
    half-ellipsoid the share q of the outline lies below ``z = height * sqrt(q)``, which fits the
    middle quantiles; where the limb does not fall away so steeply, the range of the middle 99.8 %
    is taken. Which one was used stands in ``info["relief"]``.

    Parameters
    ----------
    depth : DepthMap
        Heights of the image, or of a window that holds the particle.
    mask : Mask
        The particle. A bool array (H, W) is taken too.
    calibration : Calibration or None
        Pixel size. None is possible with ``height="none"`` only; x and y are then in pixels.
    height : str or float
        ``"hemisphere"`` (x_Fmax / 2, the main paper's assumption), a known height in nm or as
        text (``"500 nm"``), or ``"none"``: z stays relative and `roughness` refuses it.
    substrate_percentile : float
        Points below this percentile of z are taken for substrate and rim, 0 to under 100.

    Returns
    -------
    PointCloud
        ``xyz`` float32 (N, 3) in nm.

    Raises
    ------
    CalibrationError
        If there is no pixel size or the height is unusable.
    DataError
        If depth and mask do not fit, the particle is too small or the depth is constant there.

    Notes
    -----
    Table 1 of the main paper: xy scale, z scale by the hemisphere assumption, 40th percentile.

    Examples
    --------
    >>> y, x = np.mgrid[-50:51, -50:51]
    >>> dome = np.sqrt(np.maximum(49.7**2 - x**2 - y**2, 0))
    >>> cloud = point_cloud(DepthMap(dome), Mask.from_full(dome > 0), Calibration(10, "nm"))
    >>> round(float(cloud.xyz[:, 2].max()), -1)
    500.0
    """
    if not isinstance(depth, DepthMap):
        raise DataError(f"depth is a DepthMap, not {type(depth).__name__}; write DepthMap(array).")
    mask = _one_mask(mask)
    cut = _percentile(substrate_percentile)
    relative_only = isinstance(height, str) and height == "none"
    if calibration is None and not relative_only:
        raise CalibrationError(
            "heights in nm need a pixel size; pass a Calibration, or height='none' to look at "
            "relative depth only."
        )
    if calibration is not None and not isinstance(calibration, Calibration):
        raise CalibrationError(f"calibration is a Calibration, not {type(calibration).__name__}.")
    pixel = calibration.to("nm") if calibration is not None else 1.0
    patch = depth.patch(mask)
    inside = mask.crop & np.isfinite(patch)
    index = np.flatnonzero(inside).astype(np.int32)
    if index.size < _FEWEST:
        raise DataError(
            f"only {index.size} pixels with a depth; a height scale needs {_FEWEST}. "
            "Look at the particle at a higher magnification."
        )
    z = patch.reshape(-1)[index] if patch.flags.c_contiguous else patch[inside]
    feret = float(measure_crops([mask.crop])[0, QUANTITIES.index("feret_max")]) * pixel
    info: dict[str, Any] = {"x_Fmax": feret, "model": depth.model, "weights": depth.weights}
    target = math.nan
    if not relative_only:
        if isinstance(height, str) and height == "hemisphere":
            target = feret / 2
            if not math.isfinite(target):
                raise DataError("the mask has no outline to take its Feret diameter from.")
        else:
            target = parse_height(height)
        base, relief, info["relief"] = relief_of(patch, inside, index)
        z -= base
        z *= target / relief
    least = -math.inf
    if cut > 0:
        order = min(int(cut / 100 * z.size), z.size - 1)
        least = float(np.partition(z, order)[order])
    xyz = assembled(index, z, least, patch.shape[1], mask.origin, float(np.float32(pixel)))
    unit = "relative" if relative_only else "nm"
    return PointCloud(xyz, pixel, unit, target, cut, info)


def _one_mask(mask: Mask | np.ndarray) -> Mask:
    if isinstance(mask, Mask):
        return mask
    if isinstance(mask, np.ndarray) and mask.dtype == bool:
        return Mask.from_full(mask)
    raise DataError(
        f"mask is one Mask or a bool array (H, W), not {type(mask).__name__}; "
        "pick one of a MaskSet, e.g. masks[0]."
    )


def _percentile(value: float) -> float:
    try:
        number = math.nan if isinstance(value, bool) else float(value)
    except (TypeError, ValueError):
        number = math.nan
    if not 0 <= number < 100:
        raise DataError(f"substrate_percentile lies in [0, 100), not {value!r}; the paper has 40.")
    return number


def _pitch(head: np.ndarray, xyz: np.ndarray) -> float | None:
    """Return the pitch of a square grid under points in row- or column-major order, or None."""
    if len(head) < 9:
        return None
    steps = np.abs(np.diff(head[:, :2], axis=0))
    extent = float(np.ptp(head[:, :2], axis=0).max())
    steps = steps[steps > 1e-4 * extent / math.sqrt(len(head))]
    if not steps.size:
        return None
    pitch = float(np.median(steps))
    check = xyz[:: max(1, len(xyz) // SAMPLE), :2].astype(np.float64)
    offset = (check - check.min(axis=0)) / pitch
    slack = 0.02 + 1e-6 * float(np.abs(check).max()) / pitch
    return pitch if np.abs(offset - np.rint(offset)).max() < slack else None
