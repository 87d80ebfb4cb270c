"""Synthetic micrographs with known truth: masks, heights, classes, sizes and roughness."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import pandas as pd

from particle_nb.core.errors import DataError
from particle_nb.core.image import Calibration, Image
from particle_nb.core.masks import Mask, MaskSet
from particle_nb.core.synthetic.bed import Bed
from particle_nb.core.synthetic.exposure import banner_rows
from particle_nb.core.synthetic.population import build, outline_areas
from particle_nb.core.synthetic.presets import PRESETS
from particle_nb.core.synthetic.recording import Placed, record, window
from particle_nb.core.synthetic.settings import SceneSettings
from particle_nb.core.synthetic.solids import draw, noise_volume

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
        One row a part: its number, particle, and the x_A of its own smooth outline seen from
        above, whether others hide it or not.
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
    streams = _random_streams(rng, 3)
    height, width = (int(edge) for edge in settings.shape)
    rows = banner_rows(height) if settings.exposure.banner else 0
    bed = Bed((height - rows, width))
    needed = any(p.shape == "blob" or p.irregularity or p.sq_nm for p in settings.populations)
    volume = noise_volume(streams[2]) if needed else np.zeros((3, 3, 3), np.float32)
    placed, dropped = _place_particles(bed, settings, volume, streams[0])
    detectors = record(bed, placed, settings, rows, streams[1])
    return _scene_of(bed, placed, settings, rows, detectors, dropped)


def _random_streams(rng: np.random.Generator | int, count: int) -> list[np.random.Generator]:
    """Independent streams, so that a detector more does not move the particles."""
    if isinstance(rng, (int, np.integer)) and not isinstance(rng, bool) and rng >= 0:
        rng = np.random.default_rng(int(rng))
    if not isinstance(rng, np.random.Generator):
        raise DataError(f"rng must be a numpy Generator or a seed of 0 or more, not {rng!r}.")
    return [np.random.default_rng(int(s)) for s in rng.integers(0, 2**63 - 1, count)]


def _place_particles(
    bed: Bed, settings: SceneSettings, volume: np.ndarray, rng: np.random.Generator
) -> tuple[list[Placed], int]:
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
    placed: list[Placed] = []
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
        bed.lay(crop, *spot, len(parts))
        grown = population.shape == "agglomerate"
        areas = outline_areas(parts, volume) if grown else ()
        size, albedo = float(sizes[number]), float(albedos[number])
        placed.append(Placed(crop, *spot, population, size, albedo, parts, areas))
    return placed, dropped


def _scene_of(
    bed: Bed,
    placed: list[Placed],
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
    first = np.concatenate([[0], np.cumsum([len(p.parts) for p in placed])])
    for index in order:
        item = placed[index]
        (r0, r1, c0, c1), crop = window(item, shape)
        outline = item.crop.inside
        inside = outline[crop] if r1 > r0 and c1 > c0 else np.zeros((0, 0), bool)
        if not inside.any():
            continue
        shape_name = item.population.shape
        mask = Mask((r0, c0), np.ascontiguousarray(inside), frame, label=shape_name)
        amodal.append(mask)
        if visible_area[index]:
            seen = bed.labels[r0:r1, c0:c1] == index + 1
            visible.append(Mask((r0, c0), seen, frame, label=shape_name))
        number = len(amodal)
        full = int(np.count_nonzero(outline))
        axes = sorted((pixel * float(v) for v in item.parts[0].extent), reverse=True)
        if len(item.parts) > 1:
            axes = [math.nan] * 3
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
                "thickness_nm": float(item.crop.top.max()) * pixel,
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
        primary += [
            {
                "part": int(first[index]) + k + 1,
                "label": number,
                "x_A_nm": pixel * math.sqrt(4 * area / math.pi),
            }
            for k, area in enumerate(item.primaries)
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
    streams = _random_streams(rng, len(PRESETS))
    return [
        (name, scene(settings, stream))
        for (name, settings), stream in zip(PRESETS.items(), streams, strict=True)
    ]
