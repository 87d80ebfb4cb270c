"""Single bodies with exact heights: what roughness and size estimators are checked against."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from particle_nb.core.errors import DataError, check_number
from particle_nb.core.synthetic._kernels import ELLIPSOID, VOXELS_PER_CORRELATION, sample
from particle_nb.core.synthetic.solids import Part, draw, noise_volume


@dataclass(frozen=True, eq=False)
class ReferenceBody:
    """One particle on a flat ground, seen from above, and what is true of it.

    Attributes
    ----------
    height : float32 (H, W)
        Height above the ground the body rests on, nm; 0 outside.
    mask : bool (H, W)
    relief : float32 (H, W)
        Displacement along the normal at every pixel, nm.
    centre : (x, y, z)
        Centre of the smooth sphere: pixels, pixels, nm.
    radius_nm, sq_nm, correlation_nm, pixel_nm : float
        `sq_nm` is the root mean square deviation of the upper hemisphere's displacement.
    """

    height: np.ndarray
    mask: np.ndarray
    relief: np.ndarray
    centre: tuple[float, float, float]
    radius_nm: float
    sq_nm: float
    correlation_nm: float
    pixel_nm: float


def rough_sphere(
    radius_nm: float,
    sq_nm: float,
    correlation_nm: float,
    pixel_nm: float,
    rng: np.random.Generator,
) -> ReferenceBody:
    """Return a sphere whose roughness along the normal has exactly the stated Sq.

    The displacement is a Gaussian random field with autocorrelation exp(-(r / correlation)^2) in
    space, scaled so that its standard deviation over the upper hemisphere is `sq_nm`; 0 gives a
    smooth sphere with analytic heights. Heights are those of the displaced surface itself.

    Parameters
    ----------
    radius_nm, sq_nm, correlation_nm, pixel_nm : float
        In nm; the radius spans 2 to 2000 pixels.
    rng : numpy Generator

    Raises
    ------
    DataError
        If a length is out of range, or the roughness is no longer small against the sphere.

    Examples
    --------
    >>> body = rough_sphere(1000.0, 0.0, 60.0, 20.0, np.random.default_rng(0))
    >>> float(body.height.max().round(-1))
    2000.0
    """
    if not isinstance(rng, np.random.Generator):
        raise DataError(f"rng must be a numpy Generator, not {rng!r}.")
    check_number("pixel_nm", pixel_nm, 1e-3, 1e7)
    check_number("radius_nm", radius_nm, 2 * pixel_nm, 2000 * pixel_nm)
    check_number("sq_nm", sq_nm, 0.0, 0.15 * radius_nm)
    check_number("correlation_nm", correlation_nm, 0.3 * pixel_nm, 2 * radius_nm)
    radius, correlation = radius_nm / pixel_nm, correlation_nm / pixel_nm
    # the noise is periodic: a finer one where the period is short against the sphere
    volume = noise_volume(rng, 64 if radius < 12 * correlation else 128)
    fields = np.zeros((2, 5))
    if sq_nm:
        offsets = rng.random(3) * (volume.shape[0] - 2)
        index = np.arange(20000) + 0.5
        z = 1 - index / 20000
        ring, turn = np.sqrt(1 - z * z), math.pi * (1 + math.sqrt(5)) * index
        points = np.stack([ring * np.cos(turn), ring * np.sin(turn), z], axis=1)
        values = sample(volume, points * (radius * VOXELS_PER_CORRELATION / correlation) + offsets)
        fields[1] = sq_nm / pixel_nm / values.std(), correlation, *offsets
    part = Part(
        ELLIPSOID,
        np.eye(3),
        np.zeros(3),
        np.full(3, radius),
        np.zeros((1, 4)),
        0.0,
        fields,
        np.full(3, 2 * radius),
    )
    shift = (float(rng.random()) - 0.5, float(rng.random()) - 0.5)
    crop = draw([part], volume, shift)
    inside = np.pad(crop.inside, 2)
    height = np.zeros(inside.shape, np.float32)
    height[2:-2, 2:-2][crop.inside] = crop.top[crop.inside] * np.float32(pixel_nm)
    return ReferenceBody(
        height,
        inside,
        np.pad(crop.relief, 2) * np.float32(pixel_nm),
        (crop.centre[0] + 2.0, crop.centre[1] + 2.0, crop.centre[2] * pixel_nm),
        float(radius_nm),
        float(sq_nm),
        float(correlation_nm),
        float(pixel_nm),
    )
