"""Several micrographs of one powder, its particles apart or touching."""

from __future__ import annotations

from collections.abc import Iterator

from particle_nb.core.errors import check_number
from particle_nb.core.synthetic.detectors import Exposure
from particle_nb.core.synthetic.population import Population, Sizes
from particle_nb.core.synthetic.scenes import Scene, scene
from particle_nb.core.synthetic.settings import SceneSettings

_ACROSS = 32  # px across a particle of the median size


def powder(sizes: Sizes, packing: str = "sparse", count: int = 6, seed: int = 0) -> Iterator[Scene]:
    """Make micrographs of a powder of somewhat flattened grains, 32 px across at the median.

    Parameters
    ----------
    sizes : Sizes
        The law of the sizes, nm, by number.
    packing : str
        ``"sparse"`` keeps the particles apart, ``"monolayer"`` lets them touch; see `PACKINGS`.
    count : int
        Micrographs, each of 640 x 640 px and 110 particles.
    seed : int
        Of the first micrograph; the next ones take the next seeds.

    Yields
    ------
    Scene

    Raises
    ------
    DataError
        If a setting is out of range.

    Examples
    --------
    >>> first = next(powder(Sizes("lognormal", 400.0, 1.3)))
    >>> first.image.name, first.image.calibration.pixel_size
    ('sparse 1', 12.5)
    """
    check_number("count", count, 1, 1e6)
    body = Population("ellipsoid", sizes=sizes, aspect=(0.7, 1.0))
    for number in range(int(count)):
        settings = SceneSettings(
            shape=(640, 640),
            pixel_nm=sizes.x_nm / _ACROSS,
            populations=(body,),
            count=110,
            packing=packing,
            exposure=Exposure(dose=150),
            name=f"{packing} {number + 1}",
        )
        yield scene(settings, seed + number)
