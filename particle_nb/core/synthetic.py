"""Synthetic micrographs with known truth: masks, heights, classes, sizes and roughness."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import pandas as pd

from particle_nb.core.errors import DataError
from particle_nb.core.exposure import annotate, banner_rows, expose, with_banner
from particle_nb.core.forms import Population, Sizes, build
from particle_nb.core.image import Calibration, Image
from particle_nb.core.imaging import Detector, Exposure, Relief, random_field, signal
from particle_nb.core.masks import Mask, MaskSet
from particle_nb.core.noise import noise_volume
from particle_nb.core.packing import Bed
from particle_nb.core.presets import PRESETS, preset, random_settings
from particle_nb.core.reference import ReferenceBody, rough_sphere
from particle_nb.core.solids import Crop, Part, draw
from particle_nb.core.specimens import MATERIALS, PACKINGS, Ground, SceneSettings

__all__ = [
    "COLUMNS",
    "MATERIALS",
    "PACKINGS",
    "PRESETS",
    "Detector",
    "Exposure",
    "Ground",
    "Population",
    "ReferenceBody",
    "Scene",
    "SceneSettings",
    "Sizes",
    "gallery",
    "preset",
    "random_settings",
    "rough_sphere",
    "scene",
]

#: Columns of `Scene.truth`. `x_nm y_nm z_nm` is the body's own centre; `size_nm` what was asked
#: for, `x_A_nm` of the whole outline, `_amodal` of what of it lies in the frame, `_visible` of
#: what is seen; `axis_*` the smooth body's lengths along its own axes; `thickness_nm` its height;
#: `base_nm` where it rests; `covered` the hidden share of the outline in the frame; `sq_nm` the
#: nominal roughness; `order` counts from the first particle laid; `cut` is by the frame.
COLUMNS = (
    "label",
    "class",
    "material",
    "x_nm",
    "y_nm",
    "z_nm",
    "size_nm",
    "x_A_nm",
    "x_A_amodal_nm",
    "x_A_visible_nm",
    "axis_a_nm",
    "axis_b_nm",
    "axis_c_nm",
    "thickness_nm",
    "base_nm",
    "covered",
    "sq_nm",
    "correlation_nm",
    "primaries",
    "order",
    "cut",
)


@dataclass(frozen=True, eq=False)
class Scene:
    """A synthetic micrograph and the truth about it.

    Attributes
    ----------
    image : Image
        What the first detector shows, uint8, with its calibration.
    masks : MaskSet
        Visible parts; they never overlap. ``masks[i]`` belongs to row i of `truth`.
    amodal : MaskSet
        Whole outlines within the frame, one for every row of `truth`; they may overlap.
    height : float32 (H, W)
        Height of the topmost surface above the substrate, nm; 0 on the substrate.
    truth : DataFrame
        One row a particle, the visible ones first in the order of `masks`.
    detectors : dict
        Name -> uint8 (H, W), e.g. ``"SE"``, ``"BSE"``, ``"SE 2"``.
    primaries : int32 (H, W)
        Parts of agglomerates seen from above, numbered from 1; 0 on the substrate.
    primary_truth : DataFrame
        One row a part: its number, particle, x_A and centre.
    relief : float32 (H, W)
        Roughness along the surface normal, nm.
    dropped : int
        Particles for which there was no room.
    settings : SceneSettings
    """

    image: Image
    masks: MaskSet
    amodal: MaskSet
    height: np.ndarray
    truth: pd.DataFrame
    detectors: dict[str, np.ndarray]
    primaries: np.ndarray
    primary_truth: pd.DataFrame
    relief: np.ndarray
    dropped: int
    settings: SceneSettings

    def labels(self) -> np.ndarray:
        """Visible particles as a label image, int32 (H, W); row i of `truth` is i + 1."""
        return self.masks.to_labels()


@dataclass(frozen=True, eq=False)
class _Placed:
    crop: Crop
    row: int
    col: int
    height: float
    population: Population
    size: float
    albedo: float
    parts: list[Part]


def scene(settings: SceneSettings, rng: np.random.Generator | int) -> Scene:
    """Make one synthetic micrograph.

    Parameters
    ----------
    settings : SceneSettings
    rng : numpy Generator or int seed
        The same seed gives the same picture.

    Raises
    ------
    DataError
        If `settings` is not a SceneSettings or `rng` no Generator or seed.

    Examples
    --------
    >>> made = scene(SceneSettings(shape=(64, 64), count=4), 0)
    >>> made.image.shape, len(made.masks) == len(made.truth)
    ((64, 64), True)
    """
    if not isinstance(settings, SceneSettings):
        raise DataError(f"scene needs SceneSettings, not {type(settings).__name__}.")
    streams = _streams(rng, 3)
    height, width = (int(edge) for edge in settings.shape)
    rows = banner_rows(height) if settings.exposure.banner else 0
    bed = Bed((height - rows, width))
    needed = any(p.shape == "blob" or p.irregularity or p.sq_nm for p in settings.populations)
    volume = noise_volume(streams[2]) if needed else np.zeros((3, 3, 3), np.float32)
    placed, dropped = _fill(bed, settings, volume, streams[0])
    detectors = _expose(bed, placed, settings, rows, streams[1])
    return _truth(bed, placed, settings, rows, detectors, dropped)


def _streams(rng: np.random.Generator | int, count: int) -> list[np.random.Generator]:
    """Independent streams, so that a detector more does not move the particles."""
    if isinstance(rng, (int, np.integer)) and not isinstance(rng, bool) and rng >= 0:
        rng = np.random.default_rng(int(rng))
    if not isinstance(rng, np.random.Generator):
        raise DataError(f"rng must be a numpy Generator or a seed of 0 or more, not {rng!r}.")
    return [np.random.default_rng(int(s)) for s in rng.integers(0, 2**63 - 1, count)]


def _fill(
    bed: Bed, settings: SceneSettings, volume: np.ndarray, rng: np.random.Generator
) -> tuple[list[_Placed], int]:
    """Draw the particles and let them fall."""
    shares = np.array([population.share for population in settings.populations], float)
    which = np.searchsorted(np.cumsum(shares / shares.sum()), rng.random(settings.count))
    which = np.minimum(which, len(shares) - 1)
    sizes = np.empty(settings.count)
    for index, population in enumerate(settings.populations):
        mine = which == index
        sizes[mine] = population.sizes.draw(int(mine.sum()), rng)
    order = np.arange(settings.count)
    if settings.packing == "sparse":
        order = np.argsort(-sizes, kind="stable")  # large ones first, or they find no room
    elif settings.packing in ("monolayer", "clusters"):
        mixed = sizes * (0.6 + 0.8 * rng.random(settings.count))
        order = np.argsort(-mixed, kind="stable")
    elif settings.packing == "ordered" and settings.count:
        bed.rule(1.02 * float(np.percentile(sizes, 90)) / settings.pixel_nm + 1.0, rng)
    seeds = rng.integers(0, 2**63 - 1, settings.count)
    albedos = np.maximum(0.05, 1 + settings.spread_albedo * rng.standard_normal(settings.count))
    placed: list[_Placed] = []
    dropped = 0
    for number in order:
        # a stream of its own: rejected places do not change the particles that follow
        own = np.random.default_rng(int(seeds[number]))
        population = settings.populations[which[number]]
        size = float(sizes[number]) / settings.pixel_nm
        parts = build(population, size, settings.pixel_nm, volume, own)
        crop = draw(parts, volume, (float(own.random()) - 0.5, float(own.random()) - 0.5))
        spot = bed.place(crop, settings.packing, own, settings.inside, int(settings.gap_px))
        if spot is None:
            dropped += 1
            continue
        bed.lay(crop, *spot)
        placed.append(
            _Placed(crop, *spot, population, float(sizes[number]), float(albedos[number]), parts)
        )
    return placed, dropped


def _mass(bed: Bed, placed: list[_Placed], median_px: float) -> np.ndarray:
    """Optical depth of everything on the way through the specimen."""
    mass = np.zeros(bed.ground.shape, np.float32)
    for item in placed:
        (r0, r1, c0, c1), crop = _window(item, bed.ground.shape)
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


def _window(
    item: _Placed, shape: tuple[int, int]
) -> tuple[tuple[int, int, int, int], tuple[slice, slice]]:
    h, w = item.crop.top.shape
    r0, r1 = max(0, item.row), min(shape[0], item.row + h)
    c0, c1 = max(0, item.col), min(shape[1], item.col + w)
    return (r0, r1, c0, c1), (
        slice(r0 - item.row, r1 - item.row),
        slice(c0 - item.col, c1 - item.col),
    )


def _expose(
    bed: Bed, placed: list[_Placed], settings: SceneSettings, rows: int, rng: np.random.Generator
) -> dict[str, np.ndarray]:
    """What every detector records."""
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
    atomic = _by_label(bed.labels, ground, placed, "atomic")
    mass = _mass(bed, placed, median)
    names: dict[str, np.ndarray] = {}
    for detector in settings.detectors:
        own = np.random.default_rng(int(rng.integers(0, 2**63 - 1)))
        attribute = "se" if detector.kind == "SE" else "tone"
        albedo = _by_label(bed.labels, ground, placed, attribute) * albedos
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


def _by_label(
    labels: np.ndarray, ground: Ground, placed: list[_Placed], attribute: str
) -> np.ndarray:
    values = [getattr(MATERIALS[ground.material], attribute)]
    values += [getattr(MATERIALS[item.population.material], attribute) for item in placed]
    return np.array(values, np.float32)[labels]


def _truth(
    bed: Bed,
    placed: list[_Placed],
    settings: SceneSettings,
    rows: int,
    detectors: dict[str, np.ndarray],
    dropped: int,
) -> Scene:
    """Masks and the table, the visible particles first."""
    pixel = settings.pixel_nm
    shape = bed.ground.shape
    frame = (shape[0] + rows, shape[1])
    visible_area = np.bincount(bed.labels.ravel(), minlength=len(placed) + 1)[1:]
    amodal: list[Mask] = []
    visible: list[Mask] = []
    table: list[dict[str, object]] = []
    primary: list[dict[str, object]] = []
    order = sorted(range(len(placed)), key=lambda i: visible_area[i] == 0)
    first = np.concatenate([[0], np.cumsum([int(p.crop.parts.max()) + 1 for p in placed])])
    for index in order:
        item = placed[index]
        (r0, r1, c0, c1), crop = _window(item, shape)
        inside = item.crop.inside[crop] if r1 > r0 and c1 > c0 else np.zeros((0, 0), bool)
        if not inside.any():
            continue
        shape_name = item.population.shape
        mask = Mask((r0, c0), np.ascontiguousarray(inside), frame, label=shape_name)
        amodal.append(mask)
        if visible_area[index]:
            seen = bed.labels[r0:r1, c0:c1] == index + 1
            visible.append(Mask((r0, c0), seen, frame, label=shape_name))
        number = len(amodal)
        full = int(np.count_nonzero(item.crop.inside))
        axes = sorted((pixel * float(v) for v in item.parts[0].extent), reverse=True)
        if len(item.parts) > 1:
            axes = [math.nan] * 3
        top = item.crop.top[item.crop.inside]
        table.append(
            {
                "label": number,
                "class": shape_name,
                "material": item.population.material,
                "x_nm": (item.crop.centre[0] + item.col) * pixel,
                "y_nm": (item.crop.centre[1] + item.row) * pixel,
                "z_nm": (item.crop.centre[2] + item.height) * pixel,
                "size_nm": item.size,
                "x_A_nm": math.sqrt(4 * full / math.pi) * pixel,
                "x_A_amodal_nm": math.sqrt(4 * mask.area / math.pi) * pixel,
                "x_A_visible_nm": math.sqrt(4 * int(visible_area[index]) / math.pi) * pixel,
                "axis_a_nm": axes[0],
                "axis_b_nm": axes[1],
                "axis_c_nm": axes[2],
                "thickness_nm": float(top.max()) * pixel,
                "base_nm": item.height * pixel,
                "covered": 1.0 - int(visible_area[index]) / mask.area,
                "sq_nm": item.population.sq_nm,
                "correlation_nm": item.population.correlation_nm
                if item.population.sq_nm
                else math.nan,
                "primaries": len(item.parts),
                "order": index,
                "cut": full != mask.area,
            }
        )
        if shape_name == "agglomerate":
            primary += [
                {
                    "part": int(first[index]) + k + 1,
                    "label": number,
                    "x_A_nm": 2 * pixel * float(part.semi.max()),
                }
                for k, part in enumerate(item.parts)
            ]
    pad = ((0, rows), (0, 0))
    name, grey = next(iter(detectors.items()))
    image = Image(
        grey,
        Calibration(pixel, "nm", "synthetic"),
        settings.name,
        {"source": "synthetic", "detector": name, "info_bar_rows": rows},
    )
    return Scene(
        image,
        MaskSet(tuple(visible), frame),
        MaskSet(tuple(amodal), frame),
        np.pad(bed.ground * np.float32(pixel), pad),
        pd.DataFrame(table, columns=list(COLUMNS)),
        detectors,
        np.pad(bed.parts, pad),
        pd.DataFrame(primary, columns=["part", "label", "x_A_nm"]),
        np.pad(bed.relief * np.float32(pixel), pad),
        dropped,
        settings,
    )


def gallery(rng: np.random.Generator | int = 0) -> list[tuple[str, Scene]]:
    """Return every preset as (title, Scene), for a figure that shows what can be made.

    Examples
    --------
    >>> len(gallery(0)) == len(PRESETS)  # doctest: +SKIP
    True
    """
    streams = _streams(rng, len(PRESETS))
    return [
        (name, scene(settings, stream))
        for (name, settings), stream in zip(PRESETS.items(), streams, strict=True)
    ]
