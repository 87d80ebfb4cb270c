"""How detectors see a scene: secondary and backscattered electrons, transmission, light.

Signals are dimensionless, about 0 to 1; `expose` turns one into grey values with blur, uneven
illumination, charging, noise and an info bar. Physics in outline: L. Reimer, Scanning Electron
Microscopy, 2nd ed., Springer 1998 (secant law, chapter 4; backscattering, chapter 4).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy import fft

from particle_nb.core.errors import DataError, check_number
from particle_nb.core.synthetic._kernels import _sky_share, _surface_slopes
from particle_nb.core.synthetic.smoothing import blur


def topography(height: np.ndarray, labels: np.ndarray, reach: float) -> tuple[np.ndarray, ...]:
    """Slopes d/dx, d/dy and open sky (share, mean direction x and y) of a height map in pixels.

    Parameters
    ----------
    height : float32 (H, W)
    labels : int32 (H, W)
        Surfaces; no slope is taken across their borders.
    reach : float
        Distance in pixels at which the last of the horizon is looked for.

    Examples
    --------
    >>> flat = np.zeros((8, 8), np.float32)
    >>> float(topography(flat, flat.astype(np.int32), 4.0)[2].min())
    1.0
    """
    height = np.ascontiguousarray(height)
    strides = np.unique(np.maximum(1, np.rint(reach * np.array([0.08, 0.2, 0.45, 1.0])))).astype(
        np.int64
    )
    gx, gy, sky, sx, sy = (np.empty(height.shape, np.float32) for _ in range(5))
    _surface_slopes(height, labels, gx, gy)
    margin = int(strides[-1])
    padded = np.pad(height, margin, constant_values=np.float32(-1e6))
    _sky_share(height, padded, margin, strides, sky, sx, sy)
    return gx, gy, sky, sx, sy


DETECTORS = ("SE", "BSE", "STEM", "brightfield", "reflected")


@dataclass(frozen=True)
class Detector:
    """One detector and how strongly each of its effects shows.

    Parameters
    ----------
    kind : str
        ``"SE" "BSE" "STEM" "brightfield"`` or ``"reflected"``.
    tilt, saturation : float
        Gain of the secant law, 1 + tilt * (s - 1), where s = sec(theta) limited smoothly to
        `saturation`; backscattered electrons obey the same limit.
    edge, edge_px : float
        Brightening of convex edges and the escape depth in pixels over which it acts. In a blurred
        picture a bright rim moves the grey edge outwards, as it does in a microscope: half way
        between ground and interior lies 0.1 px outside the true outline at ``defocus`` 0.7 with
        the default rim, 0.6 px at 1.5; half way up to the rim itself within 0.1 px of it.
    shadow : float
        How much of the signal is lost in crevices, 0 to 1.
    asymmetry, azimuth : float
        Share of the signal that depends on the slope towards the detector, and its direction in
        degrees (0 is +x, 90 is up the picture).
    grain : float
        Fine variation of the signal within a particle.

    Raises
    ------
    DataError
        If the kind is unknown or a number is out of range.

    Examples
    --------
    >>> Detector("BSE").kind
    'BSE'
    """

    kind: str = "SE"
    tilt: float = 0.6
    saturation: float = 4.0
    edge: float = 0.3
    edge_px: float = 2.5
    shadow: float = 0.7
    asymmetry: float = 0.2
    azimuth: float = 60.0
    grain: float = 0.03

    def __post_init__(self) -> None:
        if self.kind not in DETECTORS:
            raise DataError(f"unknown detector {self.kind!r}; use one of {', '.join(DETECTORS)}.")
        for name, low, high in (
            ("tilt", 0, 5),
            ("saturation", 1.01, 100),
            ("edge", -2, 5),
            ("edge_px", 0.3, 50),
            ("shadow", 0, 1),
            ("asymmetry", -1, 1),
            ("azimuth", -360, 360),
            ("grain", 0, 1),
        ):
            check_number(f"Detector.{name}", getattr(self, name), low, high)


@dataclass(frozen=True)
class Exposure:
    """What happens to a signal between the specimen and the file.

    Parameters
    ----------
    brightness, contrast, gamma : float
        Mean grey (0 to 1), its spread (standard deviation, 0 to 1) and tone curve.
    invert : bool
        Dark for bright.
    defocus, astigmatism, stigma_angle : float
        Blur (Gaussian sigma, px), its difference between two directions, and their angle (deg).
    dose : float
        Electrons or photons a pixel: Poisson noise; 0 for none.
    line_noise : float
        Standard deviation of the offset of each scan line, share of full scale.
    gradient, vignette : float
        Uneven illumination, share of full scale.
    charging : float
        Bright halos and streaks along the scan.
    banner : bool
        Info bar with a scale bar in the lowest rows; no particle lies there.
    annotation : bool
        A letter and a scale bar written into the picture, over the particles.

    Raises
    ------
    DataError
        If a number is out of range.

    Examples
    --------
    >>> Exposure(dose=100).dose
    100
    """

    brightness: float = 0.42
    contrast: float = 0.2
    gamma: float = 1.0
    invert: bool = False
    defocus: float = 0.6
    astigmatism: float = 0.0
    stigma_angle: float = 0.0
    dose: float = 150.0
    line_noise: float = 0.005
    gradient: float = 0.05
    vignette: float = 0.0
    charging: float = 0.0
    banner: bool = False
    annotation: bool = False

    def __post_init__(self) -> None:
        for name, low, high in (
            ("brightness", 0, 1),
            ("contrast", 0.001, 1),
            ("gamma", 0.2, 5),
            ("defocus", 0, 50),
            ("astigmatism", 0, 20),
            ("stigma_angle", -360, 360),
            ("dose", 0, 1e9),
            ("line_noise", 0, 1),
            ("gradient", 0, 1),
            ("vignette", 0, 1),
            ("charging", 0, 2),
        ):
            check_number(f"Exposure.{name}", getattr(self, name), low, high)


@dataclass(frozen=True, eq=False)
class Relief:
    """The finished scene as a detector sees it; arrays (H, W), lengths in pixels.

    `albedo` is the material's own signal for the detector, `mass` the mass thickness, `texture`
    a unit-variance field.
    """

    height: np.ndarray
    labels: np.ndarray
    albedo: np.ndarray
    atomic: np.ndarray
    mass: np.ndarray
    texture: np.ndarray


def random_field(
    shape: tuple[int, int], length: float, rng: np.random.Generator, power: float | None = None
) -> np.ndarray:
    """Return a unit-variance random field, float32 (H, W).

    Gaussian-correlated with length `length` in pixels, exp(-(r / length)^2), or with a power-law
    spectrum |k|^-power above that wavelength's frequency when `power` is given.

    Examples
    --------
    >>> random_field((32, 48), 4.0, np.random.default_rng(0)).shape
    (32, 48)
    """
    rows, cols = shape
    big = fft.next_fast_len(rows, real=True), fft.next_fast_len(cols, real=True)
    white = rng.standard_normal(big, dtype=np.float32)
    ky, kx = fft.fftfreq(big[0]), fft.rfftfreq(big[1])
    if power is None:
        # the Gaussian of the wave vector is one of its rows times one of its columns
        down, along = (np.exp(-((math.pi * length) ** 2) * k * k / 2) for k in (ky, kx))
        gain = down[:, None] * along
    else:
        gain = (ky[:, None] ** 2 + kx**2 + 1.0 / (length * length)) ** (-power / 4)
        gain[0, 0] = 0.0
    spectrum = fft.rfft2(white) * gain.astype(np.float32)
    values = fft.irfft2(spectrum, s=big)[:rows, :cols]
    values = values - values.mean()
    return (values / max(float(values.std()), 1e-12)).astype(np.float32)


def signal(relief: Relief, detector: Detector, reach: float) -> np.ndarray:
    """Return what a detector collects at every pixel, float32 (H, W), about 0 to 1.

    Parameters
    ----------
    relief : Relief
    detector : Detector
    reach : float
        Distance in pixels over which neighbours shadow a point.

    Examples
    --------
    >>> zero = np.zeros((8, 8), np.float32)
    >>> flat = Relief(zero, zero.astype(np.int32), zero + 0.5, zero + 10, zero, zero)
    >>> float(signal(flat, Detector("SE"), 4.0)[4, 4])
    0.5
    """
    if detector.kind == "STEM":
        return _transmitted(relief, detector)
    gx, gy, sky, sx, sy = topography(relief.height, relief.labels, reach)
    square = gx * gx + gy * gy
    secant = np.sqrt(1.0 + square)
    angle = math.radians(detector.azimuth)
    ux, uy = math.cos(angle), -math.sin(angle)
    # component of the unit normal towards the detector, and the open side of a crevice
    facing = -(gx * ux + gy * uy) / secant + 0.5 * (sx * ux + sy * uy)
    lit = (1.0 - detector.shadow) + detector.shadow * sky
    grain = 1.0 + detector.grain * relief.texture
    limit = detector.saturation - 1.0
    excess = secant - 1.0
    excess = excess * limit / (excess + limit)  # smooth saturation at grazing incidence
    if detector.kind == "SE":
        curved = relief.height - blur(relief.height, detector.edge_px)
        curved /= np.float32(detector.edge_px)
        np.clip(curved, 0.0, 1.0, out=curved)  # convex edges only
        seen = relief.albedo * grain
        seen *= 1.0 + detector.tilt * excess + detector.edge * curved
        seen *= lit
        seen *= 1.0 + detector.asymmetry * facing
        return seen.astype(np.float32, copy=False)
    if detector.kind == "BSE":
        z = relief.atomic
        # coefficient of W. Reuter, Proc. 6th ICXOM, 1972, p. 121; tilt after F. Arnal et al. 1969
        eta = -0.0254 + 0.016 * z - 1.86e-4 * z * z + 8.3e-7 * z * z * z
        # near an outline electrons leave through the far side: no infinitely narrow bright rim
        cosine = 1.0 / (1.0 + excess)
        eta = (1.0 + cosine) ** (-9.0 / np.sqrt(z)) / 2.0 ** (-9.0 / np.sqrt(z)) * eta
        return (eta * grain * lit * (1.0 + detector.asymmetry * 2.0 * facing)).astype(np.float32)
    if detector.kind == "reflected":
        cosine = 1.0 / secant
        aim = np.maximum(0.0, (0.35 * -(gx * ux + gy * uy) + 0.94) / secant)
        shine = aim**40
        return (
            relief.albedo * grain * lit * (0.35 + 0.65 * cosine) + detector.edge * 0.8 * shine
        ).astype(np.float32)
    # bright field: light bent out of the lens by steep surfaces is lost, flat parts pass
    bent = 1.0 - 1.0 / (1.0 + 0.7 * detector.tilt * square)
    through = np.exp(-0.6 * relief.mass * relief.albedo) * (1.0 - 0.85 * bent)
    covered = (relief.labels > 0).astype(np.float32)
    ring = blur(covered, detector.edge_px) - blur(covered, 2.2 * detector.edge_px)
    return (
        through * (1.0 + 0.15 * detector.grain * relief.texture) - 0.5 * detector.edge * ring
    ).astype(np.float32)


def _transmitted(relief: Relief, detector: Detector) -> np.ndarray:
    """Beer-Lambert absorption by mass thickness, diffraction grain and a Fresnel fringe."""
    through = np.exp(-relief.mass * (1.0 + detector.grain * relief.texture))
    fringe = through - blur(through, detector.edge_px)
    return (through + detector.edge * fringe).astype(np.float32)
