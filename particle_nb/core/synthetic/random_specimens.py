"""Specimens drawn at random, to train segmenters and depth models on."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from particle_nb.core.synthetic.detectors import Detector, Exposure
from particle_nb.core.synthetic.population import SHAPES, Population, Sizes
from particle_nb.core.synthetic.settings import MATERIALS, Ground, SceneSettings


def _uniform(rng: np.random.Generator, low: float, high: float) -> float:
    return low + (high - low) * float(rng.random())


def _log_uniform(rng: np.random.Generator, low: float, high: float) -> float:
    return low * (high / low) ** float(rng.random())


def _random_population(
    rng: np.random.Generator, size_px: float, share: float, kind: str, materials: list[str]
) -> Population:
    shape = str(rng.choice(SHAPES, p=[0.24, 0.12, 0.13, 0.08, 0.11, 0.05, 0.06, 0.14, 0.07]))
    low = {"rod": 0.08, "triangle": 0.1, "hexagon": 0.1, "ellipsoid": 0.35}.get(shape, 0.5)
    first, second = sorted((_uniform(rng, low, 0.95), _uniform(rng, low, 0.95)))
    if shape == "rod":
        first, second = sorted((_uniform(rng, 0.07, 0.6), _uniform(rng, 0.07, 0.6)))
    spread = _uniform(rng, 1.02, 1.25) if rng.random() < 0.45 else _uniform(rng, 1.25, 1.75)
    rough = rng.random() < 0.45 and size_px > 20
    correlation = size_px * _log_uniform(rng, 0.02, 0.2)
    compact = float(rng.random())
    return Population(
        shape,
        share,
        Sizes("lognormal", size_px, spread),
        (first, second),
        rounding=_uniform(rng, 0.2, 0.4)
        if shape == "rod" and rng.random() < 0.5
        else float(rng.choice([0.0, 0.01, 0.04, 0.1])),
        irregularity=_uniform(rng, 0.02, 0.2)
        if shape == "blob"
        else (_uniform(rng, 0.01, 0.06) if rng.random() < 0.25 else 0.0),
        sq_nm=correlation * _uniform(rng, 0.03, 0.35) if rough else 0.0,
        correlation_nm=max(correlation, 0.7),
        flat=bool(rng.random() < 0.6),
        primaries=(int(3 + 10 * compact), int(12 + 80 * compact)),
        compactness=compact,
        hollow=_uniform(rng, 0.4, 0.95) if kind == "STEM" and rng.random() < 0.12 else 0.0,
        material=str(rng.choice(materials)),
    )


def random_settings(rng: np.random.Generator, shape: tuple[int, int] = (512, 512)) -> SceneSettings:
    """Return settings drawn widely, to train segmenters and depth models on.

    Sizes (8 to 200 px), forms, packing, detectors, substrates, contrast, noise and blur all vary;
    particles are brighter than, darker than or as bright as what lies under them.

    Examples
    --------
    >>> random_settings(np.random.default_rng(0)).shape
    (512, 512)
    """
    kind = str(
        rng.choice(
            ["SE", "BSE", "STEM", "brightfield", "reflected"], p=[0.5, 0.12, 0.24, 0.06, 0.08]
        )
    )
    edge = min(shape)
    size = min(_log_uniform(rng, 11, 170), 0.45 * edge)
    materials = [str(name) for name in rng.permutation(list(MATERIALS))[: int(rng.integers(1, 3))]]
    populations = [
        _random_population(
            rng,
            size * (1.0 if i == 0 else _log_uniform(rng, 0.35, 1.2)),
            1.0 if i == 0 else _uniform(rng, 0.1, 0.9),
            kind,
            materials,
        )
        for i in range(int(rng.choice([1, 2, 3], p=[0.6, 0.28, 0.12])))
    ]
    packing = str(
        rng.choice(
            ["sparse", "monolayer", "ordered", "clusters", "overlap", "heap"],
            p=[0.2, 0.15, 0.06, 0.2, 0.15, 0.24],
        )
    )
    if kind == "STEM" and packing == "heap":
        packing = "overlap"
    cover = {
        "sparse": _uniform(rng, 0.05, 0.45),
        "monolayer": _uniform(rng, 0.3, 0.85),
        "ordered": _uniform(rng, 0.4, 0.95),
        "clusters": _uniform(rng, 0.1, 0.7),
        "overlap": _uniform(rng, 0.08, 0.7),
        "heap": _uniform(rng, 0.6, 2.4),
    }[packing]
    weights = np.array([p.share for p in populations])
    areas = np.array(
        [
            math.pi / 4 * p.sizes.x_nm**2 * math.exp(2 * math.log(p.sizes.spread) ** 2)
            for p in populations
        ]
    )
    mean_area = float((weights * areas).sum() / weights.sum())
    count = int(np.clip(cover * shape[0] * shape[1] / mean_area, 1, 420))
    if any(p.shape == "agglomerate" for p in populations):
        count = min(count, 120)
    # the substrate may be any material, the particles' own as well: brightness says nothing
    ground_material = str(rng.choice(list(MATERIALS))) if rng.random() < 0.75 else materials[0]
    rough_ground = rng.random() < 0.3 and kind != "STEM"
    patchy = rng.random() < 0.15
    ground = Ground(
        ground_material,
        texture=_log_uniform(rng, 0.12, 0.4) if rough_ground else _log_uniform(rng, 0.01, 0.12),
        texture_px=_log_uniform(rng, 1.0, 40),
        power=float(_uniform(rng, 1.5, 4)) if rng.random() < 0.5 else None,
        stretch=float(_log_uniform(rng, 2, 25)) if rng.random() < 0.12 else 1.0,
        patches=_uniform(rng, -0.7, 0.7) if patchy else 0.0,
        patch_px=_log_uniform(rng, 12, 150),
    )
    detector = Detector(
        kind,
        tilt=_uniform(rng, 0.0, 1.4) if kind != "brightfield" else _uniform(rng, 0.3, 2.0),
        saturation=_log_uniform(rng, 1.8, 9),
        edge=_uniform(rng, -0.2, 1.6),
        edge_px=_log_uniform(rng, 0.8, max(1.0, size / 10) + 1.5),
        shadow=_uniform(rng, 0.1, 1.0),
        asymmetry=_uniform(rng, 0.0, 0.7),
        azimuth=_uniform(rng, -180, 180),
        grain=_log_uniform(rng, 0.005, 0.22),
    )
    contrast = _log_uniform(rng, 0.06, 0.3)
    exposure = Exposure(
        brightness=_uniform(rng, 0.2, 0.75),
        contrast=contrast,
        gamma=_log_uniform(rng, 0.6, 1.7),
        invert=bool(rng.random() < 0.15),
        defocus=_log_uniform(rng, 0.3, 2.6) if size > 18 else _log_uniform(rng, 0.3, 1.2),
        astigmatism=_uniform(rng, 0.2, 1.6) if rng.random() < 0.12 else 0.0,
        stigma_angle=_uniform(rng, 0, 180),
        # a weak signal with few electrons would leave nothing to see
        dose=_log_uniform(rng, 16, 1500) * max(1.0, (0.16 / contrast) ** 2),
        line_noise=_log_uniform(rng, 0.001, 0.2 * contrast),
        gradient=_uniform(rng, 0.0, 0.12),
        vignette=_uniform(rng, 0.0, 0.5) if rng.random() < 0.25 else 0.0,
        charging=_uniform(rng, 0.1, 1.0) if kind == "SE" and rng.random() < 0.2 else 0.0,
        banner=bool(rng.random() < 0.22),
        annotation=bool(rng.random() < 0.22),
    )
    settings = SceneSettings(
        shape=shape,
        pixel_nm=1.0,
        populations=tuple(populations),
        count=count,
        packing=packing,
        gap_px=int(rng.integers(1, 5)),
        spread_albedo=_log_uniform(rng, 0.01, 0.35),
        ground=ground,
        detectors=(detector,),
        exposure=exposure,
        name="random",
    )
    return _at_scale(settings, _log_uniform(rng, 0.3, 400))


def _at_scale(settings: SceneSettings, pixel_nm: float) -> SceneSettings:
    """The same picture with a pixel of another size: every length follows."""
    factor = pixel_nm / settings.pixel_nm
    populations = tuple(
        replace(
            p,
            sizes=replace(
                p.sizes,
                x_nm=p.sizes.x_nm * factor,
                values=tuple(v * factor for v in p.sizes.values),
            ),
            sq_nm=p.sq_nm * factor,
            correlation_nm=p.correlation_nm * factor,
        )
        for p in settings.populations
    )
    return replace(settings, populations=populations, pixel_nm=pixel_nm)
