"""Micrographs of rough spheres of known Sq, and a depth model that knows their heights."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from particle_nb.core.errors import DataError
from particle_nb.core.image.window import checked_window
from particle_nb.core.synthetic.detectors import Detector, Exposure
from particle_nb.core.synthetic.population import Population, Sizes
from particle_nb.core.synthetic.scenes import Scene, scene
from particle_nb.core.synthetic.settings import SceneSettings

_MOST_PICTURES = 40


class TrueHeights:
    """Stands where a depth model stands, and knows the heights.

    Parameters
    ----------
    heights : float (H, W)
        Height of every pixel, nm or any other unit: a depth map is relative.

    Examples
    --------
    >>> TrueHeights(np.arange(12).reshape(3, 4)).estimate(None, (1, 0, 3, 2)).tolist()
    [[1, 2], [5, 6]]
    """

    name, digest = "true heights", ""

    def __init__(self, heights: np.ndarray) -> None:
        if np.ndim(heights) != 2:
            raise DataError(f"heights are an array (H, W), not of {np.ndim(heights)} dimensions.")
        self.heights = np.asarray(heights)

    def estimate(
        self, image: object, window: tuple[int, int, int, int] | None = None
    ) -> np.ndarray:
        """Return the heights within a window (x0, y0, x1, y1) in px, or all; `image` is not read.

        Raises
        ------
        DataError
            If the window does not lie within the heights.
        """
        x0, y0, x1, y1 = checked_window(window, self.heights.shape, error=DataError)
        return self.heights[y0:y1, x0:x1]


def rough_spheres(
    sq_nm: Sequence[float],
    diameter_nm: float,
    correlation_nm: float,
    pixel_nm: float,
    rng: np.random.Generator,
) -> Scene:
    """Return a micrograph with one sphere for every Sq, all seen by the same detector.

    Parameters
    ----------
    sq_nm : floats
        Roughness of each sphere, nm; 0 is smooth.
    diameter_nm : float
        Median diameter, nm; diameters differ by 3 %.
    correlation_nm : float
        Correlation length of the roughness, nm; twice the Sq where that is more, so that slopes
        stay below some 35 degrees.
    pixel_nm : float
        Pixel size, nm.
    rng : numpy Generator

    Raises
    ------
    DataError
        If a value is out of range, or the spheres find no room in 40 pictures.

    Examples
    --------
    >>> made = rough_spheres((0.0, 20.0), 600.0, 60.0, 10.0, np.random.default_rng(1))
    >>> sorted(made.truth["sq_nm"]), made.image.shape
    ([0.0, 20.0], (81, 162))
    """
    asked = sorted(float(sq) for sq in sq_nm)
    if not asked:
        raise DataError("sq_nm is empty: give the roughness of one sphere at least.")
    kinds = tuple(
        Population(
            sizes=Sizes("lognormal", diameter_nm, 1.03),
            sq_nm=sq,
            correlation_nm=max(correlation_nm, 2 * sq),
        )
        for sq in sq_nm
    )
    side = round(1.35 * diameter_nm / pixel_nm)
    settings = SceneSettings(
        shape=(side, side * len(kinds)),
        pixel_nm=pixel_nm,
        populations=kinds,
        count=len(kinds),
        inside=True,
        gap_px=8,
        name="synthetic spheres",
    )
    for _ in range(
        _MOST_PICTURES
    ):  # which kinds come is drawn at random: until there is one of each
        made = scene(settings, rng)
        if sorted(made.truth["sq_nm"]) == asked:
            return made
    raise DataError(
        f"the spheres found no room in {_MOST_PICTURES} pictures; make them smaller or smoother."
    )


def random_sphere(
    sq_nm: float,
    diameter_nm: float,
    correlation_nm: float,
    pixel_nm: float,
    rng: np.random.Generator,
) -> Scene:
    """Return a micrograph of one rough sphere, seen by a detector drawn at random.

    Parameters
    ----------
    sq_nm : float
        Roughness, nm.
    diameter_nm : float
        Median diameter, nm; the logarithm of the sphere's own scatters by 0.1.
    correlation_nm : float
        Correlation length of the roughness, nm; twice the Sq where that is more.
    pixel_nm : float
        Pixel size, nm.
    rng : numpy Generator
        Draws diameter, detector, exposure and roughness.

    Raises
    ------
    DataError
        If a value is out of range.

    Examples
    --------
    >>> made = random_sphere(10.0, 600.0, 60.0, 10.0, np.random.default_rng(1))
    >>> len(made.masks), made.truth["sq_nm"].tolist()
    (1, [10.0])
    """
    size = diameter_nm * float(np.exp(rng.normal(0, 0.1)))
    detector = Detector(
        tilt=rng.uniform(0.3, 1.2),
        edge=rng.uniform(0.1, 0.6),
        shadow=rng.uniform(0.3, 0.9),
        asymmetry=rng.uniform(0.0, 0.5),
        azimuth=rng.uniform(-180, 180),
    )
    exposure = Exposure(
        contrast=rng.uniform(0.14, 0.24),
        defocus=rng.uniform(0.4, 1.2),
        dose=float(np.exp(rng.uniform(math.log(80), math.log(1000)))),
    )
    kind = Population(
        sizes=Sizes("lognormal", size, 1.001),
        sq_nm=sq_nm,
        correlation_nm=max(correlation_nm, 2 * sq_nm),
    )
    side = round(1.5 * size / pixel_nm)
    settings = SceneSettings(
        shape=(side, side),
        pixel_nm=pixel_nm,
        populations=(kind,),
        count=1,
        inside=True,
        detectors=(detector,),
        exposure=exposure,
    )
    return scene(settings, rng)
