"""Ellipsoids and faceted particles of known roughness, for the depth model's report."""

from __future__ import annotations

import math

import numpy as np

from particle_nb.core.forms import Population, Sizes
from particle_nb.core.synthetic import SceneSettings, scene
from particle_nb.models.embedded.depth_bar import SQ_NM, BarSettings, Specimen
from particle_nb.models.embedded.depth_imaging import random_view, render_view

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
