"""What every detector records of the particles at rest: signals, noise and info bar."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from particle_nb.core.synthetic.bed import Bed
from particle_nb.core.synthetic.detectors import Relief, random_field, signal
from particle_nb.core.synthetic.exposure import annotate, expose, with_banner
from particle_nb.core.synthetic.population import Population
from particle_nb.core.synthetic.settings import MATERIALS, Ground, SceneSettings
from particle_nb.core.synthetic.solids import Part, Raster


@dataclass(frozen=True, eq=False)
class Placed:
    """A particle at rest: `row`, `col` and `height` of its crop's corner, px, and what it is.

    `size` is what was asked for, nm; `primaries` the areas of its parts' own outlines, px^2, for
    agglomerates.
    """

    crop: Raster
    row: int
    col: int
    height: float
    population: Population
    size: float
    albedo: float
    parts: list[Part]
    primaries: tuple[float, ...] = ()


def _optical_depth(bed: Bed, placed: list[Placed], median_px: float) -> np.ndarray:
    """Optical depth of everything on the way through the specimen."""
    mass = np.zeros(bed.ground.shape, np.float32)
    for item in placed:
        (r0, r1, c0, c1), crop = window(item, bed.ground.shape)
        thick = item.crop.top[crop] - item.crop.bottom[crop]
        inside = item.crop.inside[crop]
        if item.population.hollow:
            # chord through the void of a sphere, from the chord through the whole of it
            outer = float(
                np.max(item.crop.top - item.crop.bottom, where=item.crop.inside, initial=0.0)
            )
            void = np.sqrt(
                np.maximum(
                    thick**2 - outer**2 * (1 - item.population.hollow**2),
                    0,
                    where=inside,
                    out=np.zeros_like(thick),
                )
            )
            thick = thick - void
        opacity = MATERIALS[item.population.material].opacity * item.albedo / median_px
        mass[r0:r1, c0:c1][inside] += thick[inside] * np.float32(opacity)
    return mass


def window(
    item: Placed, shape: tuple[int, int]
) -> tuple[tuple[int, int, int, int], tuple[slice, slice]]:
    """Return the part of a placed particle within the frame.

    Parameters
    ----------
    item : Placed
    shape : (int, int)
        Height and width of the frame, px.

    Returns
    -------
    rows and columns : (first row, past the last, first column, past the last), px
        In the frame; empty or negative where the particle lies outside.
    crop : (slice, slice)
        The same part in the particle's own arrays.
    """
    h, w = item.crop.top.shape
    r0, r1 = max(0, item.row), min(shape[0], item.row + h)
    c0, c1 = max(0, item.col), min(shape[1], item.col + w)
    return (r0, r1, c0, c1), (
        slice(r0 - item.row, r1 - item.row),
        slice(c0 - item.col, c1 - item.col),
    )


def record(
    bed: Bed, placed: list[Placed], settings: SceneSettings, rows: int, rng: np.random.Generator
) -> dict[str, np.ndarray]:
    """Return what every detector records, name -> uint8 (H + rows, W)."""
    shape = bed.ground.shape
    pixel = settings.pixel_nm
    sizes_px = np.array([item.size for item in placed] or [20.0 * pixel]) / pixel
    median = float(np.median(sizes_px))
    ground = settings.ground
    if ground.stretch > 1:
        narrow = (shape[0], max(8, math.ceil(shape[1] / ground.stretch)))
        texture = random_field(narrow, ground.texture_px, rng, ground.power)
        columns = np.linspace(0, narrow[1] - 1.001, shape[1])
        left = columns.astype(int)
        share = (columns - left).astype(np.float32)
        texture = texture[:, left] * (1 - share) + texture[:, left + 1] * share
    else:
        texture = random_field(shape, ground.texture_px, rng, ground.power)
    texture = texture * np.float32(ground.texture)
    if ground.patches:
        patch = random_field(shape, ground.patch_px, rng)
        # an edge about two pixels wide; patches cover a sixth of the ground
        texture += np.float32(ground.patches) * np.clip(
            (patch - 1.0) * np.float32(ground.patch_px / 3) + 0.5, 0, 1
        )
    grain = random_field(shape, float(np.clip(median / 12, 1.2, 12)), rng)
    on = bed.labels > 0
    albedos = np.array([1.0, *(item.albedo for item in placed)], np.float32)[bed.labels]
    atomic = _property_map(bed.labels, ground, placed, "atomic")
    lit_through = any(d.kind in ("STEM", "brightfield") for d in settings.detectors)
    mass = _optical_depth(bed, placed, median) if lit_through else np.zeros(shape, np.float32)
    names: dict[str, np.ndarray] = {}
    for detector in settings.detectors:
        own = np.random.default_rng(int(rng.integers(0, 2**63 - 1)))
        attribute = "se" if detector.kind == "SE" else "tone"
        albedo = _property_map(bed.labels, ground, placed, attribute) * albedos
        film = mass
        if detector.kind == "STEM":
            film = mass + np.maximum(0.0, 0.25 + texture)
        else:
            albedo = np.where(on, albedo, albedo * np.maximum(0.05, 1 + texture))
            if detector.kind == "brightfield":
                albedo = np.where(on, 1.0, albedo)
                film = mass + np.where(on, 0.0, 0.3 * texture)
        relief = Relief(
            bed.ground,
            bed.labels,
            albedo.astype(np.float32),
            atomic,
            film.astype(np.float32),
            grain,
        )
        seen = signal(relief, detector, reach=max(3.0, 0.5 * median))
        if detector.kind == "BSE":
            seen = seen * np.where(on, albedos, 1 + 0.5 * texture)
        grey = expose(seen.astype(np.float32), settings.exposure, own)
        if settings.exposure.annotation:
            annotate(grey, pixel, own)
        if rows:
            grey = with_banner(grey, rows, pixel, detector.kind)
        name, number = detector.kind, 1
        while name in names:
            number += 1
            name = f"{detector.kind} {number}"
        names[name] = grey
    return names


def _property_map(
    labels: np.ndarray, ground: Ground, placed: list[Placed], attribute: str
) -> np.ndarray:
    values = [getattr(MATERIALS[ground.material], attribute)]
    values += [getattr(MATERIALS[item.population.material], attribute) for item in placed]
    return np.array(values, np.float32)[labels]
