"""How far an effective diffusivity would be another one in another piece of the material."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass

import numpy as np
from scipy import stats

from particle_nb.core.agreement.correlation import confidence
from particle_nb.core.errors import DataError
from particle_nb.core.volume.transport import Diffusion, TransportSettings, diffusivity
from particle_nb.core.volume.volume import Volume, as_volume

#: A block has at least so many voxels along each edge.
_LEAST = 8


@dataclass(frozen=True)
class DiffusionInterval:
    """Diffusion through a volume with an interval from its blocks; see `diffusivity_interval`.

    Attributes
    ----------
    whole : Diffusion
        Of the whole volume.
    low, high : float
        Interval of the effective diffusivity.
    tortuosity_factor_low, tortuosity_factor_high : float
        The same as fraction over diffusivity; infinite where the diffusivity reaches 0.
    blocks : tuple of float
        Effective diffusivities of the blocks, 0 where the phase does not reach through.
    flag : str
        ``"blocks too small"`` where their mean lies outside the interval: they are cut so small
        that paths end at their sides, and the interval is too narrow. ``"not converged"`` where
        a block's solver gave no number.
    """

    whole: Diffusion
    low: float
    high: float
    tortuosity_factor_low: float
    tortuosity_factor_high: float
    blocks: tuple[float, ...]
    flag: str


def diffusivity_interval(
    volume: object,
    phase: int | str,
    axis: str = "z",
    *,
    parts: int = 2,
    level: float = 0.95,
    settings: TransportSettings | None = None,
) -> DiffusionInterval:
    """Return the effective diffusivity with an interval from parts^3 blocks of the volume.

    It holds sampling alone: how far another volume of this size, from the same material, would
    differ. Blocks are taken for independent, and the standard error of the whole for their
    scatter over the root of their number, with Student's t. It does not hold what voxel size and
    segmentation do to the number, nor, of a volume rebuilt from a section, what the section does
    not show.

    Parameters
    ----------
    volume : Volume or integer array (D, H, W)
    phase : int or str
    axis : str
        ``"z"``, ``"y"`` or ``"x"``.
    parts : int
        Blocks along each axis, 2 to 8; each block at least 8 voxels along every edge.
    level : float
        Coverage.
    settings : TransportSettings or None

    Raises
    ------
    DataError
        If it is no volume, there is no such phase or axis, or blocks would be too small.

    Examples
    --------
    >>> layers = np.zeros((16, 16, 16), int); layers[:, ::2] = 1
    >>> found = diffusivity_interval(layers, 1)
    >>> round(found.low, 3), round(found.high, 3)
    (0.5, 0.5)
    """
    volume = as_volume(volume)
    confidence(level)
    whole_number = isinstance(parts, (int, np.integer)) and not isinstance(parts, bool)
    if not whole_number or not 2 <= parts <= 8:
        raise DataError(f"parts is a whole number from 2 to 8, not {parts!r}.")
    if volume.labels.ndim != 3 or min(volume.shape) // parts < _LEAST:
        raise DataError(
            f"a volume {volume.shape} in {parts} parts along each axis: a block needs {_LEAST} "
            "voxels along every edge."
        )
    place = volume.phases[volume.place(phase)]
    whole = diffusivity(volume, place, axis, settings)
    cuts = [np.linspace(0, n, parts + 1).astype(int) for n in volume.shape]
    found = []
    for corner in itertools.product(range(parts), repeat=3):
        box = tuple(slice(c[i], c[i + 1]) for c, i in zip(cuts, corner, strict=True))
        block = Volume(volume.labels[box], volume.calibration, volume.names)
        found.append(diffusivity(block, place, axis, settings).effective)
    return _interval(whole, np.array(found), level)


def _interval(whole: Diffusion, blocks: np.ndarray, level: float) -> DiffusionInterval:
    half = float(stats.t.ppf(0.5 + level / 2, blocks.size - 1) * blocks.std(ddof=1))
    half /= math.sqrt(blocks.size)
    low, high = max(whole.effective - half, 0.0), whole.effective + half
    factor = [whole.fraction / d if d > 0 else math.inf for d in (high, low)]
    flag = ""
    if not np.isfinite([half, whole.effective]).all():
        flag = "not converged"
    elif not low - 1e-9 <= blocks.mean() <= high + 1e-9:
        flag = "blocks too small"
    return DiffusionInterval(whole, low, high, factor[0], factor[1], tuple(blocks.tolist()), flag)
