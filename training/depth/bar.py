"""Spheres of known roughness in known views, and how well a depth model ranks them."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.stats import spearmanr

from particle_nb.core.errors import DataError
from particle_nb.core.image import Calibration
from particle_nb.core.masks import Mask
from particle_nb.core.surface import DepthMap, point_cloud, roughness
from particle_nb.core.synthetic import Population, SceneSettings, Sizes, rough_sphere, scene
from training.depth.imaging import random_view, render_view

#: Particles of the bar: radius in nm and range of true Sq in nm.
RADIUS_NM = 1000.0

SQ_NM = (5.0, 60.0)


@dataclass(frozen=True, eq=False)
class Specimen:
    """One particle in a picture: grey values 0 to 255, true heights in pixels, mask, truth in nm.

    `family` is the family of views (`depth_imaging.FAMILIES`) that the picture comes from.
    """

    grey: np.ndarray
    height: np.ndarray
    mask: np.ndarray
    sq_nm: float
    correlation_nm: float
    pixel_nm: float
    family: str


@dataclass(frozen=True)
class BarSettings:
    """Which spheres are made.

    Parameters
    ----------
    across_px : (float, float)
        Range of the diameter in pixels of the picture.
    margin : float
        Ground on every side, share of the diameter.
    network_px : float
        Side of the network's input, which the lengths of views are stated for.
    correlation_nm : (float, float)
        Range of the correlation length.
    steepest : float
        Largest ratio of Sq to correlation length: steeper surfaces overhang.
    """

    across_px: tuple[float, float] = (300.0, 360.0)
    margin: float = 0.3
    network_px: float = 256.0
    correlation_nm: tuple[float, float] = (30.0, 150.0)
    steepest: float = 0.8


def make_sphere(
    settings: BarSettings, family: str, sq_nm: float, rng: np.random.Generator
) -> Specimen:
    """Make one sphere on the ground, alone, with a random correlation length and a random view.

    Examples
    --------
    >>> small = BarSettings(across_px=(60.0, 60.0), correlation_nm=(60.0, 60.0))
    >>> made = make_sphere(small, "training", 20.0, np.random.default_rng(0))
    >>> made.grey.shape == made.mask.shape, int(made.mask.sum()) > 2500
    (True, True)
    """
    across = float(rng.uniform(*settings.across_px))
    pixel = 2 * RADIUS_NM / across
    low, high = settings.correlation_nm
    correlation = float(rng.uniform(min(max(low, sq_nm / settings.steepest), high), high))
    body = rough_sphere(RADIUS_NM, sq_nm, correlation, pixel, rng)
    side = math.ceil(max(body.mask.shape) * (1 + 2 * settings.margin) / 1.0)
    rows, cols = body.mask.shape
    top = (side - rows) // 2 + int(rng.integers(-4, 5))
    left = (side - cols) // 2 + int(rng.integers(-4, 5))
    mask = np.zeros((side, side), bool)
    height = np.zeros((side, side), np.float32)
    mask[top : top + rows, left : left + cols] = body.mask
    height[top : top + rows, left : left + cols] = body.height / np.float32(pixel)
    view = random_view(rng, family, max(side / settings.network_px, 1.0))
    grey = render_view(height, mask.astype(np.int32), view, rng)
    return Specimen(grey, height, mask, sq_nm, correlation, pixel, family)


def make_spheres(
    settings: BarSettings, families: Sequence[str], each: int, seed: int
) -> list[Specimen]:
    """Make `each` spheres for every family, Sq spread evenly on a log scale over `SQ_NM`.

    Raises
    ------
    DataError
        If fewer than one is asked for.
    """
    if each < 1:
        raise DataError(f"a family needs at least one sphere, not {each!r}.")
    made = []
    for number, family in enumerate(families):
        rng = np.random.default_rng([seed, number])
        steps = (np.arange(each) + rng.random(each)) / each
        for step in steps:
            sq = SQ_NM[0] * (SQ_NM[1] / SQ_NM[0]) ** float(step)
            made.append(make_sphere(settings, family, sq, rng))
    return made


def estimated_sq(
    heights: np.ndarray, specimen: Specimen, form: str = "sphere", l_filter: float | None = None
) -> float:
    """Sq (Rq for ``form="none"``) in nm of heights of the specimen's picture; NaN if there is none.

    Scaled by the hemisphere assumption from the mask, as for a real particle.
    """
    try:
        cloud = point_cloud(
            DepthMap(heights),
            Mask.from_full(specimen.mask),
            Calibration(specimen.pixel_nm, "nm"),
            height="hemisphere",
        )
        return float(roughness(cloud, form, l_filter=None if form == "none" else l_filter).Sq)
    except DataError:
        return math.nan


def rank_correlation(truth: ArrayLike, found: ArrayLike) -> float:
    """Spearman's coefficient; a particle without an estimate counts as the smoothest.

    Examples
    --------
    >>> rank_correlation([1, 2, 3], [5.0, 7.0, 9.0])
    1.0
    """
    values = np.nan_to_num(np.asarray(found, float), nan=-1.0)
    return float(spearmanr(np.asarray(truth, float), values).statistic)


def quick_bar(
    heights_of: Callable[[np.ndarray], np.ndarray], specimens: Sequence[Specimen]
) -> dict[str, float]:
    """Rank correlation and median ratio of estimated to true Sq, for the training log."""
    truth = [s.sq_nm for s in specimens]
    scores: dict[str, float] = {}
    maps = [heights_of(s.grey) for s in specimens]
    for name, cut in (("", None), ("_l400", 400.0)):
        found = [estimated_sq(h, s, "sphere", cut) for h, s in zip(maps, specimens, strict=True)]
        scores["spearman" + name] = rank_correlation(truth, found)
        scores["ratio" + name] = float(np.nanmedian(np.array(found) / np.array(truth)))
        order = np.argsort(truth)
        third = max(len(truth) // 3, 1)
        scores["smooth_nm" + name] = float(np.nanmedian(np.array(found)[order[:third]]))
    return {name: round(value, 4) for name, value in scores.items()}


_SIZE_NM = 2000.0


def _population(shape: str, sq_nm: float, correlation_nm: float) -> Population:
    return Population(
        shape,
        sizes=Sizes("mono", _SIZE_NM),
        aspect=(0.6, 0.9),
        rounding=0.04,
        sq_nm=sq_nm,
        correlation_nm=correlation_nm,
    )


def make_body(
    shape: str, settings: BarSettings, family: str, sq_nm: float, rng: np.random.Generator
) -> tuple[Specimen, float]:
    """Make one particle 2000 nm across (x_A) of a shape class, and half its thickness in nm.

    Examples
    --------
    >>> small = BarSettings(across_px=(60.0, 60.0), correlation_nm=(100.0, 100.0))
    >>> made, height = make_body("ellipsoid", small, "training", 20.0, np.random.default_rng(0))
    >>> 500 < height < 1000
    True
    """
    across = float(rng.uniform(*settings.across_px))
    pixel = _SIZE_NM / across
    low, high = settings.correlation_nm
    correlation = float(rng.uniform(min(max(low, sq_nm / settings.steepest), high), high))
    side = math.ceil(across * (1.25 + 2 * settings.margin))
    made = scene(
        SceneSettings(
            shape=(side, side),
            pixel_nm=pixel,
            populations=(_population(shape, sq_nm, correlation),),
            count=1,
            inside=True,
        ),
        rng,
    )
    mask = made.labels() > 0
    rows, cols = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    middle = (rows[0] + rows[-1]) // 2, (cols[0] + cols[-1]) // 2
    # The particle in the middle, as its window shows it; the ground goes round at the edges.
    turn = (side // 2 - middle[0], side // 2 - middle[1])
    mask = np.roll(mask, turn, (0, 1))
    height = np.roll(made.height, turn, (0, 1)) / np.float32(pixel)
    view = random_view(rng, family, max(side / settings.network_px, 1.0))
    grey = render_view(height, mask.astype(np.int32), view, rng)
    half = float(made.truth["thickness_nm"].iloc[0]) / 2
    return Specimen(grey, height, mask, sq_nm, correlation, pixel, family), half


def make_bodies(
    shape: str, settings: BarSettings, families: tuple[str, ...], each: int, seed: int
) -> list[tuple[Specimen, float]]:
    """Make `each` particles for every family of views, Sq spread evenly on a log scale."""
    made = []
    for number, family in enumerate(families):
        rng = np.random.default_rng([seed, number])
        for step in (np.arange(each) + rng.random(each)) / each:
            sq = SQ_NM[0] * (SQ_NM[1] / SQ_NM[0]) ** float(step)
            made.append(make_body(shape, settings, family, sq, rng))
    return made
