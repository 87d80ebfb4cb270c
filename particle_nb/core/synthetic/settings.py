"""What a synthetic micrograph is made of: materials, substrate, packing and detectors."""

from __future__ import annotations

from dataclasses import dataclass, field

from particle_nb.core.errors import DataError, check_number
from particle_nb.core.synthetic.detectors import Detector, Exposure
from particle_nb.core.synthetic.population import Population

PACKINGS = ("sparse", "monolayer", "ordered", "clusters", "overlap", "heap")


@dataclass(frozen=True)
class Material:
    """What a detector sees of a substance.

    `atomic` is the mean atomic number, `se` the secondary yield at normal incidence (arbitrary),
    `opacity` the optical depth of a particle of the median size, `tone` the reflectance.
    """

    atomic: float
    se: float
    opacity: float
    tone: float


MATERIALS = {
    "carbon": Material(6.0, 0.30, 0.55, 0.15),
    "polymer": Material(6.2, 0.45, 0.45, 0.55),
    "silica": Material(10.8, 0.50, 0.8, 0.6),
    "alumina": Material(10.7, 0.60, 0.9, 0.75),
    "silicon": Material(14.0, 0.40, 1.0, 0.5),
    "titania": Material(16.4, 0.55, 1.3, 0.9),
    "iron": Material(26.0, 0.55, 1.9, 0.45),
    "nmc": Material(20.5, 0.50, 1.6, 0.3),
    "copper": Material(29.0, 0.55, 2.1, 0.6),
    "silver": Material(47.0, 0.65, 3.0, 0.95),
    "gold": Material(79.0, 0.75, 4.0, 0.85),
}


@dataclass(frozen=True)
class Ground:
    """The substrate below the particles.

    Parameters
    ----------
    material : str
        A key of `MATERIALS`; of a film for transmission only its texture counts.
    texture, texture_px : float
        Amplitude of the variation of its signal, and its length in pixels.
    power : float or None
        None for a Gaussian-correlated texture, else the exponent of a power-law spectrum.
    stretch : float
        1 for isotropic; larger for drawn-out marks (rolled metal, scratches) along x.
    patches, patch_px : float
        Step in the signal of patches with sharp edges (residue, membrane pores), relative and
        signed, and their size in pixels; 0 for none.
    """

    material: str = "carbon"
    texture: float = 0.04
    texture_px: float = 3.0
    power: float | None = None
    stretch: float = 1.0
    patches: float = 0.0
    patch_px: float = 60.0

    def __post_init__(self) -> None:
        if self.material not in MATERIALS:
            raise DataError(f"unknown material {self.material!r}; use one of {list(MATERIALS)}.")
        for name, low, high in (
            ("texture", 0, 2),
            ("texture_px", 0.3, 500),
            ("stretch", 1, 50),
            ("patches", -0.95, 3),
            ("patch_px", 2, 1000),
        ):
            check_number(f"Ground.{name}", getattr(self, name), low, high)
        if self.power is not None:
            check_number("Ground.power", self.power, 0.1, 6)


@dataclass(frozen=True)
class SceneSettings:
    """Everything that a synthetic micrograph is made of.

    Parameters
    ----------
    shape : (H, W)
        Pixels, 16 to 8192 each.
    pixel_nm : float
    populations : tuple of Population
    count : int
        Particles to place; where no room is left fewer are placed, see ``Scene.dropped``.
    packing : str
        ``"sparse"`` (apart), ``"monolayer"`` (on the substrate, touching), ``"ordered"``
        (on a hexagonal lattice), ``"clusters"``,
        ``"overlap"`` (dropped at random) or ``"heap"`` (dropped and rolled downhill).
    gap_px : int
        Least distance of the particles when sparse.
    inside : bool
        Keep every particle inside the frame.
    spread_albedo : float
        Standard deviation of the signal from particle to particle, relative.
    ground : Ground
    detectors : tuple of Detector
        The first one gives the image.
    exposure : Exposure

    Raises
    ------
    DataError
        If a value is unknown, of the wrong type or out of range.

    Examples
    --------
    >>> SceneSettings(count=3).packing
    'sparse'
    """

    shape: tuple[int, int] = (512, 512)
    pixel_nm: float = 10.0
    populations: tuple[Population, ...] = (Population(),)
    count: int = 60
    packing: str = "sparse"
    gap_px: int = 2
    inside: bool = False
    spread_albedo: float = 0.05
    ground: Ground = field(default_factory=Ground)
    detectors: tuple[Detector, ...] = (Detector(),)
    exposure: Exposure = field(default_factory=Exposure)
    name: str = "synthetic"

    def __post_init__(self) -> None:
        if not isinstance(self.shape, tuple) or len(self.shape) != 2:
            raise DataError(f"SceneSettings.shape must be (H, W), not {self.shape!r}.")
        for index, edge in enumerate(self.shape):
            check_number(f"SceneSettings.shape[{index}]", edge, 16, 8192)
            if int(edge) != edge:
                raise DataError(f"SceneSettings.shape must be whole pixels, not {self.shape!r}.")
        check_number("SceneSettings.pixel_nm", self.pixel_nm, 1e-3, 1e7)
        check_number("SceneSettings.count", self.count, 0, 20000)
        check_number("SceneSettings.gap_px", self.gap_px, 0, 500)
        check_number("SceneSettings.spread_albedo", self.spread_albedo, 0, 2)
        if self.packing not in PACKINGS:
            raise DataError(f"unknown packing {self.packing!r}; use one of {', '.join(PACKINGS)}.")
        for name, kind in (("populations", Population), ("detectors", Detector)):
            items = getattr(self, name)
            if not isinstance(items, tuple) or not items:
                raise DataError(f"SceneSettings.{name} must be a tuple with at least one element.")
            for item in items:
                if not isinstance(item, kind):
                    raise DataError(f"SceneSettings.{name} holds {kind.__name__}, not {item!r}.")
        for population in self.populations:
            if population.material not in MATERIALS:
                raise DataError(
                    f"unknown material {population.material!r}; use one of {list(MATERIALS)}."
                )
            largest = 0.5 * min(self.shape) * 8
            if population.sizes.x_nm / self.pixel_nm > largest:
                raise DataError(
                    f"particles of {population.sizes.x_nm:g} nm are more than four frames wide at "
                    f"{self.pixel_nm:g} nm/px; enlarge the frame or the pixels."
                )
        if not isinstance(self.ground, Ground) or not isinstance(self.exposure, Exposure):
            raise DataError("SceneSettings.ground is a Ground and .exposure an Exposure.")
