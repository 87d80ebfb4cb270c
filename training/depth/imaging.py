"""What detectors make of the depth model's training surfaces, and which settings are kept back.

Every use of a surface draws a new view: yield law, edge effect, detector side, shadow, materials,
blur, noise, tone. Lengths are pixels of the network's input. Bands of four settings (`HELD`) are
never drawn for training; the evaluation draws from them, one band at a time and all at once, and
beyond all trained ranges.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from scipy import ndimage

from particle_nb.core.errors import DataError
from particle_nb.core.synthetic import Detector, Exposure
from particle_nb.core.synthetic.detectors import Relief, random_field, signal
from particle_nb.core.synthetic.exposure import expose

#: Bands that training never sees: tilt gain and saturation of the yield law, azimuth of the
#: detector in degrees, dose and defocus.
HELD: dict[str, dict[str, tuple[float, float]]] = {
    "yield": {"tilt": (0.55, 0.75), "saturation": (2.6, 3.4)},
    "side": {"azimuth": (20.0, 70.0), "asymmetry": (0.28, 0.36)},
    "noise": {"dose": (250.0, 450.0)},
    "blur": {"defocus": (0.7, 0.95), "edge_px": (2.0, 2.6)},
}

#: Wider than anything trained: a stronger yield law, a detector far to the side, few electrons.
BEYOND: dict[str, tuple[float, float]] = {
    "tilt": (1.6, 2.0),
    "saturation": (9.5, 12.0),
    "asymmetry": (0.62, 0.75),
    "dose": (22.0, 34.0),
    "defocus": (1.9, 2.3),
    "edge_px": (6.5, 8.0),
}

FAMILIES = ("training", "yield", "side", "noise", "blur", "all", "beyond")

_RANGES: dict[str, tuple[float, float]] = {
    "tilt": (0.05, 1.5),
    "saturation": (1.8, 9.0),
    "azimuth": (-180.0, 180.0),
    "asymmetry": (0.0, 0.6),
    "dose": (40.0, 4000.0),
    "defocus": (0.25, 1.8),
    "edge_px": (0.8, 6.0),
}

_LOGARITHMIC = ("saturation", "dose", "defocus", "edge_px")


@dataclass(frozen=True)
class DepthView:
    """How one surface is looked at; lengths in pixels of the picture."""

    detector: Detector
    exposure: Exposure
    reach: float
    ground: float
    albedo_spread: float
    texture: float
    texture_px: float
    coarse: float = 1.0
    after_blur: float = 0.0


def _draw(rng: np.random.Generator, name: str, low: float, high: float) -> float:
    if name in _LOGARITHMIC:
        return float(np.exp(rng.uniform(math.log(low), math.log(high))))
    return float(rng.uniform(low, high))


def _settings(rng: np.random.Generator, family: str) -> dict[str, float]:
    """The settings that have held-back bands."""
    bands = {name: band for group in HELD.values() for name, band in group.items()}
    if family == "beyond":
        wanted = BEYOND
    elif family == "all":
        wanted = bands
    else:
        wanted = HELD.get(family, {})
    values = {}
    for name, (low, high) in _RANGES.items():
        if name in wanted:
            values[name] = _draw(rng, name, *wanted[name])
            continue
        value = _draw(rng, name, low, high)
        while bands[name][0] < value < bands[name][1]:
            value = _draw(rng, name, low, high)
        values[name] = value
    return values


def random_view(
    rng: np.random.Generator, family: str = "training", scale: float = 1.0
) -> DepthView:
    """Draw a view.

    Parameters
    ----------
    rng : numpy Generator
    family : str
        One of `FAMILIES`: which settings come from their held-back bands.
    scale : float
        Pixels of the picture for one pixel of the network's input: lengths grow with it, and the
        dose of a pixel falls with its square.

    Raises
    ------
    DataError
        If there is no such family.

    Examples
    --------
    >>> 20 < random_view(np.random.default_rng(0), "side").detector.azimuth < 70
    True
    """
    if family not in FAMILIES:
        raise DataError(f"no family {family!r} of views; there are {', '.join(FAMILIES)}.")
    values = _settings(rng, family)
    trained = family == "training"
    contrast = float(np.exp(rng.uniform(math.log(0.09), math.log(0.3))))
    detector = Detector(
        # The evaluation is about secondary electrons, training about other detectors as well.
        "BSE" if trained and rng.random() < 0.1 else "SE",
        tilt=values["tilt"],
        saturation=values["saturation"],
        edge=float(rng.uniform(0.0, 1.2)),
        edge_px=values["edge_px"] * scale,
        shadow=float(rng.uniform(0.15, 1.0)),
        asymmetry=values["asymmetry"],
        azimuth=values["azimuth"],
        grain=float(np.exp(rng.uniform(math.log(0.003), math.log(0.06)))),
    )
    exposure = Exposure(
        brightness=float(rng.uniform(0.28, 0.6)),
        contrast=contrast,
        gamma=float(np.exp(rng.uniform(math.log(0.65), math.log(1.5)))),
        defocus=values["defocus"] * scale,
        astigmatism=float(rng.uniform(0.2, 0.8)) * scale if rng.random() < 0.08 else 0.0,
        stigma_angle=float(rng.uniform(0, 180)),
        dose=values["dose"] / scale**2,
        line_noise=float(rng.uniform(0.0, 0.06)) * contrast if rng.random() < 0.5 else 0.0,
        gradient=float(rng.uniform(0.0, 0.08)),
        vignette=float(rng.uniform(0.0, 0.2)) if rng.random() < 0.2 else 0.0,
        charging=float(rng.uniform(0.1, 0.6)) if trained and rng.random() < 0.08 else 0.0,
    )
    return DepthView(
        detector,
        exposure,
        reach=float(rng.uniform(25.0, 100.0)) * scale,
        ground=float(np.exp(rng.uniform(math.log(0.35), math.log(1.6)))),
        albedo_spread=float(rng.uniform(0.0, 0.15)),
        texture=float(np.exp(rng.uniform(math.log(0.01), math.log(0.25)))),
        texture_px=float(np.exp(rng.uniform(math.log(0.8), math.log(40.0)))) * scale,
        coarse=float(rng.uniform(0.4, 1.0)) if trained and rng.random() < 0.3 else 1.0,
        after_blur=float(rng.uniform(0.0, 0.6)) if trained and rng.random() < 0.5 else 0.0,
    )


def render_view(
    height: np.ndarray, labels: np.ndarray, view: DepthView, rng: np.random.Generator
) -> np.ndarray:
    """Return the picture of a surface, float32 (H, W), grey values 0 to 255.

    Parameters
    ----------
    height : float32 (H, W)
        Pixels above the ground.
    labels : int32 (H, W)
        0 on the ground.
    view : DepthView
    rng : numpy Generator

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> flat = np.zeros((32, 32), np.float32)
    >>> render_view(flat, flat.astype(np.int32), random_view(rng), rng).shape
    (32, 32)
    """
    count = int(labels.max()) + 1
    albedo = np.maximum(1 + view.albedo_spread * rng.standard_normal(count), 0.2)
    albedo[0] = view.ground
    share = albedo[labels].astype(np.float32)
    texture = random_field(height.shape, view.texture_px, rng) * np.float32(view.texture)
    on = labels > 0
    share = np.where(on, share, share * np.maximum(1 + texture, 0.05))
    grain = random_field(height.shape, max(1.2, 0.05 * view.reach), rng)
    relief = Relief(height, labels, (0.5 * share).astype(np.float32), 12.0 * share, share, grain)
    seen = signal(relief, view.detector, view.reach)
    if view.detector.kind == "BSE":
        seen = seen * share
    exposure = view.exposure
    if view.coarse < 1:  # a small particle, enlarged for the network
        sigma = 0.45 / view.coarse
        seen = ndimage.gaussian_filter(seen, sigma, truncate=2.5)
        seen = ndimage.zoom(seen, view.coarse, order=1, grid_mode=True, mode="nearest")
        exposure = replace(exposure, defocus=exposure.defocus * view.coarse)
    grey = expose(seen.astype(np.float32), exposure, rng).astype(np.float32)
    if view.coarse < 1:
        back = height.shape[0] / grey.shape[0], height.shape[1] / grey.shape[1]
        grey = ndimage.zoom(grey, back, order=2, grid_mode=True, mode="nearest")
    if view.after_blur > 0:
        grey = ndimage.gaussian_filter(grey, view.after_blur, truncate=2.5)
    return grey.astype(np.float32)
