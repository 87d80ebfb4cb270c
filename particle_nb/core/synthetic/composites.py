"""Polished sections of composites as two detectors see them, with every pixel's phase known."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
from scipy import ndimage

from particle_nb.core.errors import DataError, check_number
from particle_nb.core.image import Calibration, Image
from particle_nb.core.synthetic.detectors import (
    Detector,
    Exposure,
    Relief,
    random_field,
    signal,
)
from particle_nb.core.synthetic.exposure import expose
from particle_nb.core.synthetic.settings import MATERIALS
from particle_nb.core.synthetic.smoothing import blur

#: How often a place for a particle is looked for before it is left out.
_TRIES = 60
#: Places per particle at most: a matrix that is full takes no more.
_MOST = 6000


@dataclass(frozen=True)
class Inclusion:
    """Particles of one material within the matrix of a composite.

    Parameters
    ----------
    material : str
        A key of `MATERIALS`.
    fraction : float
        Share of the area that is wanted, 0 to 0.6; a full matrix holds less.
    size_px, spread : float
        Median diameter of the sections in pixels, and the geometric standard deviation (1: all
        alike).
    lobes : float
        How far outlines depart from a circle, 0 to 0.4.
    proud : float
        Height above the matrix after polishing, share of the diameter; hard particles stand out.

    Raises
    ------
    DataError
        If the material is unknown or a number out of range.

    Examples
    --------
    >>> Inclusion("silica", 0.2).material
    'silica'
    """

    material: str = "nmc"
    fraction: float = 0.3
    size_px: float = 40.0
    spread: float = 1.4
    lobes: float = 0.12
    proud: float = 0.02

    def __post_init__(self) -> None:
        if self.material not in MATERIALS:
            raise DataError(f"unknown material {self.material!r}; use one of {list(MATERIALS)}.")
        for name, low, high in (
            ("fraction", 0, 0.6),
            ("size_px", 4, 1000),
            ("spread", 1, 3),
            ("lobes", 0, 0.4),
            ("proud", 0, 0.5),
        ):
            check_number(f"Inclusion.{name}", getattr(self, name), low, high)


@dataclass(frozen=True)
class CompositeSettings:
    """What a section through a composite is made of.

    Phases are numbered: 0 the matrix, 1 and so on the inclusions, the last one pores (if any).

    Parameters
    ----------
    shape : (H, W)
        Pixels, 16 to 8192 each.
    pixel_nm : float
    matrix : str
        A key of `MATERIALS`.
    inclusions : tuple of Inclusion
    porosity, pore_px : float
        Share of the matrix that is pores, 0 to 0.8, and their size in pixels.
    debonding : float
        How much rather pores lie along particles than elsewhere; 0 for no difference.
    roughness : float
        Height of what polishing leaves behind, pixels.
    detectors : tuple of Detector
        One channel each.
    exposures : tuple of Exposure
        One a detector, or a single one for all.

    Raises
    ------
    DataError
        If a value is unknown, of the wrong type or out of range.

    Examples
    --------
    >>> CompositeSettings().phases
    ('polymer', 'silica', 'alumina', 'pores')
    """

    shape: tuple[int, int] = (512, 512)
    pixel_nm: float = 50.0
    matrix: str = "polymer"
    inclusions: tuple[Inclusion, ...] = (
        Inclusion("silica", 0.22, 46.0),
        Inclusion("alumina", 0.18, 30.0),
    )
    porosity: float = 0.15
    pore_px: float = 8.0
    debonding: float = 0.6
    roughness: float = 0.15
    detectors: tuple[Detector, ...] = field(
        default_factory=lambda: (
            Detector("SE", grain=0.06),
            Detector("BSE", grain=0.05, tilt=0.15, shadow=0.9),
        )
    )
    exposures: tuple[Exposure, ...] = (Exposure(dose=90, defocus=0.8),)
    name: str = "composite"

    def __post_init__(self) -> None:
        if not isinstance(self.shape, tuple) or len(self.shape) != 2:
            raise DataError(f"CompositeSettings.shape must be (H, W), not {self.shape!r}.")
        for index, edge in enumerate(self.shape):
            check_number(f"CompositeSettings.shape[{index}]", edge, 16, 8192)
            if int(edge) != edge:
                raise DataError(f"CompositeSettings.shape is whole pixels, not {self.shape!r}.")
        if self.matrix not in MATERIALS:
            raise DataError(f"unknown material {self.matrix!r}; use one of {list(MATERIALS)}.")
        for name, low, high in (
            ("pixel_nm", 1e-3, 1e7),
            ("porosity", 0, 0.8),
            ("pore_px", 1, 500),
            ("debonding", 0, 5),
            ("roughness", 0, 20),
        ):
            check_number(f"CompositeSettings.{name}", getattr(self, name), low, high)
        for name, kind in (
            ("inclusions", Inclusion),
            ("detectors", Detector),
            ("exposures", Exposure),
        ):
            items = getattr(self, name)
            if not isinstance(items, tuple) or not all(isinstance(i, kind) for i in items):
                raise DataError(f"CompositeSettings.{name} is a tuple of {kind.__name__}.")
        if not self.detectors or len(self.exposures) not in (1, len(self.detectors)):
            raise DataError(
                "CompositeSettings needs a detector, and one exposure for all or one a detector."
            )
        unfit = [d.kind for d in self.detectors if d.kind in ("STEM", "brightfield")]
        if unfit:
            raise DataError(
                f"a polished section is not seen in transmission: {unfit[0]!r}; "
                "use SE, BSE or reflected."
            )
        if sum(item.fraction for item in self.inclusions) > 0.6:
            raise DataError("the inclusions ask for more than 0.6 of the area; particles jam.")
        for item in self.inclusions:
            if item.size_px > min(self.shape) / 2:
                raise DataError(
                    f"inclusions of {item.size_px:g} px do not fit a frame of {self.shape} px; "
                    "enlarge the frame."
                )

    @property
    def phases(self) -> tuple[str, ...]:
        """Name of every phase, in the order of their numbers."""
        pores = ("pores",) if self.porosity else ()
        return (self.matrix, *(item.material for item in self.inclusions), *pores)


@dataclass(frozen=True, eq=False)
class Composite:
    """A section through a composite and the truth about it.

    Attributes
    ----------
    image : Image
        uint8 (H, W, C), one channel a detector, or (H, W) where there is only one.
    labels : int32 (H, W)
        Phase of every pixel, numbered as in `phases`.
    particles : int32 (H, W)
        Particles numbered from 1, 0 elsewhere; where pores bite into one it keeps its number.
    phases : tuple of str
        Name of every phase.
    fractions : dict
        Share of the area of every phase; of like-named phases the sum.
    height : float32 (H, W)
        Height of the surface, pixels; pores are below 0.
    settings : CompositeSettings
    """

    image: Image
    labels: np.ndarray
    particles: np.ndarray
    phases: tuple[str, ...]
    fractions: dict[str, float]
    height: np.ndarray
    settings: CompositeSettings


def composite(
    settings: CompositeSettings | None = None, rng: np.random.Generator | int = 0
) -> Composite:
    """Make a polished section through a composite: particles in a matrix with pores.

    Secondary electrons tell pores and rims by relief and materials by their yield; backscattered
    ones tell mean atomic numbers. The default holds silica and alumina, whose atomic numbers are
    alike, in a polymer: only both detectors together tell all phases.

    Parameters
    ----------
    settings : CompositeSettings or None
        None for the default.
    rng : numpy Generator or int seed
        The same seed gives the same picture.

    Raises
    ------
    DataError
        If `settings` is no CompositeSettings or `rng` no Generator or seed.

    Examples
    --------
    >>> made = composite(CompositeSettings(shape=(96, 96)), 1)
    >>> made.image.pixels.shape, made.phases
    ((96, 96, 2), ('polymer', 'silica', 'alumina', 'pores'))
    """
    settings = CompositeSettings() if settings is None else settings
    if not isinstance(settings, CompositeSettings):
        raise DataError(f"composite needs CompositeSettings, not {type(settings).__name__}.")
    if not isinstance(rng, np.random.Generator):
        if isinstance(rng, bool) or not isinstance(rng, (int, np.integer)) or rng < 0:
            raise DataError(f"rng must be a numpy Generator or an int seed, not {rng!r}.")
        rng = np.random.default_rng(rng)
    labels, particles = _laid(settings, rng)
    height = _proud(labels, particles, settings)
    _bore(labels, height, settings, rng)
    height += np.float32(settings.roughness) * random_field(settings.shape, 3.0, rng)
    channels = _recorded(labels, height, settings, rng)
    pixels = channels[..., 0] if channels.shape[2] == 1 else channels
    shares = np.bincount(labels.ravel(), minlength=len(settings.phases)) / labels.size
    fractions: dict[str, float] = {}
    for name, share in zip(settings.phases, shares, strict=True):
        fractions[name] = fractions.get(name, 0.0) + float(share)
    kinds = ", ".join(detector.kind for detector in settings.detectors)
    return Composite(
        Image(
            pixels,
            Calibration(settings.pixel_nm, "nm", "synthetic"),
            settings.name,
            {"detectors": kinds},
        ),
        labels,
        particles,
        settings.phases,
        fractions,
        height,
        settings,
    )


def _laid(settings: CompositeSettings, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Phases and numbers of particles, laid largest first where there is room, int32 (H, W)."""
    labels = np.zeros(settings.shape, np.int32)
    particles = np.zeros(settings.shape, np.int32)
    asked: list[tuple[float, int]] = []
    for phase, item in enumerate(settings.inclusions, 1):
        area, wanted = 0.0, item.fraction * labels.size
        while area < wanted and len(asked) < _MOST:
            size = item.size_px * math.exp(rng.normal(0, math.log(item.spread)))
            size = min(max(size, 3.0), 0.6 * min(settings.shape))
            asked.append((size, phase))
            area += math.pi / 4 * size**2
    for number, (size, phase) in enumerate(sorted(asked, reverse=True), 1):
        inside = _section(size, settings.inclusions[phase - 1].lobes, rng)
        place = _room(inside, particles, rng)
        if place is None:
            continue
        window, crop = place
        labels[window][inside[crop]] = phase
        particles[window][inside[crop]] = number
    present = np.unique(particles[particles > 0])
    numbers = np.zeros(int(particles.max(initial=0)) + 1, np.int32)
    numbers[present] = np.arange(1, len(present) + 1)
    return labels, numbers[particles]


def _section(size: float, lobes: float, rng: np.random.Generator) -> np.ndarray:
    """One particle's section, bool (h, w), of the area of a circle of that diameter."""
    orders = np.arange(2, 7)
    waves = lobes * rng.standard_normal(5) / (orders - 1)
    phases = rng.uniform(0, 2 * math.pi, 5)
    reach = math.ceil(size * (0.5 + 1.5 * lobes)) + 1
    y, x = np.mgrid[-reach : reach + 1, -reach : reach + 1]
    angle = np.arctan2(y, x)
    radius = np.ones(angle.shape)
    for order, wave, phase in zip(orders, waves, phases, strict=True):
        radius += wave * np.cos(order * angle + phase)
    radius = np.clip(radius, 0.3, 2.0) * (size / 2) / math.sqrt(1 + float((waves**2).sum()) / 2)
    return np.asarray(np.hypot(y, x) <= radius)


def _room(
    inside: np.ndarray, particles: np.ndarray, rng: np.random.Generator
) -> tuple[tuple[slice, slice], tuple[slice, slice]] | None:
    """Where a section lies without overlap: its window of the frame and the part of its crop."""
    height, width = particles.shape
    h, w = inside.shape
    for row, col in zip(
        rng.integers(-h // 2, height - h // 2, _TRIES),
        rng.integers(-w // 2, width - w // 2, _TRIES),
        strict=True,
    ):
        r0, c0 = max(row, 0), max(col, 0)
        r1, c1 = min(row + h, height), min(col + w, width)
        window = slice(r0, r1), slice(c0, c1)
        crop = slice(r0 - row, r1 - row), slice(c0 - col, c1 - col)
        if not particles[window][inside[crop]].any():
            return window, crop
    return None


def _proud(labels: np.ndarray, particles: np.ndarray, settings: CompositeSettings) -> np.ndarray:
    """Height that polishing leaves hard particles, their rims rounded, float32 (H, W)."""
    tops = [0.0, *(item.proud * item.size_px for item in settings.inclusions)]
    return blur(np.array(tops, np.float32)[labels], 1.2)


def _bore(
    labels: np.ndarray,
    height: np.ndarray,
    settings: CompositeSettings,
    rng: np.random.Generator,
) -> None:
    """Make pores in the matrix, rather along particles; exactly the asked share of it."""
    matrix = labels == 0
    count = round(settings.porosity * int(matrix.sum()))
    if not count:
        return
    wish = random_field(settings.shape, settings.pore_px, rng)
    near = ndimage.distance_transform_edt(matrix) if (labels > 0).any() else np.inf
    wish = wish + np.float32(settings.debonding) * np.exp(-near / settings.pore_px)
    order = np.argpartition(wish[matrix], -count)[-count:]
    rows, columns = (index[order] for index in np.nonzero(matrix))
    labels[rows, columns] = len(settings.inclusions) + 1
    deep = ndimage.distance_transform_edt(labels == len(settings.inclusions) + 1)
    height -= (1.5 * np.sqrt(deep) * np.sqrt(settings.pore_px)).astype(np.float32)


def _recorded(
    labels: np.ndarray,
    height: np.ndarray,
    settings: CompositeSettings,
    rng: np.random.Generator,
) -> np.ndarray:
    """Grey values of every detector, uint8 (H, W, C)."""
    # the floor of a pore is the matrix again, deeper
    names = [settings.matrix, *(item.material for item in settings.inclusions), settings.matrix]
    zero = np.zeros(settings.shape, np.float32)
    texture = random_field(settings.shape, 1.6, rng)
    flat = np.zeros(settings.shape, np.int32)
    shown = []
    exposures = settings.exposures * (len(settings.detectors) // len(settings.exposures))
    for detector, exposure in zip(settings.detectors, exposures, strict=True):
        materials = [MATERIALS[name] for name in names]
        tones = [m.tone if detector.kind == "reflected" else m.se for m in materials]
        albedo = np.array(tones, np.float32)[labels]
        atomic = np.array([m.atomic for m in materials], np.float32)[labels]
        relief = Relief(height, flat, albedo, atomic, zero, texture)
        shown.append(expose(signal(relief, detector, 3 * settings.pore_px), exposure, rng))
    return np.stack(shown, -1)
