"""Roughness of the silhouette: the contour profile method on a mask's sub-pixel outline.

The outline (`particle_nb.core.shape.contour.outline`) is resampled evenly, a circle or an ellipse
is taken off along its normal, and the rest is a profile whose Rq is compared with what a perfect
disc gives on the same pixels: the noise floor of the method.

A silhouette keeps the outermost of all heights along each line of sight, so that it is smoother
than the surface: its Rq is `AREAL_RATIO` of the areal Sq of the same simulated particles.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import ndimage

from particle_nb.core.errors import CalibrationError, DataError
from particle_nb.core.image import Calibration
from particle_nb.core.masks import Mask, MaskSet
from particle_nb.core.shape.contour import SIGMA_PX, outline

#: Rq of the silhouette over the areal Sq of the same particle, lowest and highest simulated.
AREAL_RATIO = (0.59, 0.80)

#: Wavelength in px at which the outline's smoothing halves an amplitude: 2 g - g*g = 1/2.
SHORTEST = 2 * math.pi * SIGMA_PX / math.sqrt(-2 * math.log(1 - math.sqrt(0.5)))

_STEP = 0.5  # px between resampled points of the outline

_MARGIN = 3  # px to a neighbour or the frame within which the outline is not the particle's own

_FLOOR_DISCS = 24


@dataclass(frozen=True, eq=False)
class ContourProfile:
    """A silhouette without its form; lengths in pixels.

    Parameters
    ----------
    points : float (K, 2)
        Evenly spaced outline, x and y.
    residual : float (K,)
        Distance from the circle or ellipse along its normal, positive outside, mean 0 over `own`.
    own : bool (K,)
        Points that neither the frame nor a neighbour has shaped.
    form : str
        ``"circle"`` or ``"ellipse"``.
    axes : (float, float)
        Semi-axes of the fitted form, longer first.
    centre : (float, float)
    """

    points: np.ndarray
    residual: np.ndarray
    own: np.ndarray
    form: str
    axes: tuple[float, float]
    centre: tuple[float, float]

    @property
    def Rq(self) -> float:
        """Root mean square of the residual over the particle's own outline, px."""
        return float(np.sqrt(np.mean(self.residual[self.own] ** 2)))

    @property
    def Ra(self) -> float:
        """Mean absolute residual over the particle's own outline, px."""
        return float(np.mean(np.abs(self.residual[self.own])))


def contour_profile(
    mask: Mask, form: str = "circle", others: Iterable[Mask] = ()
) -> ContourProfile:
    """Take a circle or an ellipse off one silhouette.

    Parameters
    ----------
    mask : Mask
    form : str
        ``"circle"`` or ``"ellipse"``.
    others : iterable of Mask
        Neighbours; outline within three pixels of one of them, or of the frame, is not used.

    Raises
    ------
    DataError
        If the form is unknown, or less than a quarter of the outline is the particle's own.

    Examples
    --------
    >>> y, x = np.mgrid[:100, :100]
    >>> disc = Mask.from_full(np.hypot(x - 50.2, y - 49.7) < 40)
    >>> bool(contour_profile(disc).Rq < 0.2)
    True
    """
    if form not in ("circle", "ellipse"):
        raise DataError(f"the form of a silhouette is 'circle' or 'ellipse', not {form!r}.")
    if not isinstance(mask, Mask):
        raise DataError(f"a silhouette is taken of a Mask, not {type(mask).__name__}.")
    points = _equally_spaced(outline(mask.crop))
    if len(points) < 24:
        raise DataError(f"an outline of {len(points) * _STEP:.0f} px is too short for a profile.")
    own = _away_from_neighbours(points, mask, others)
    if np.count_nonzero(own) < max(24, len(points) // 4):
        raise DataError("less than a quarter of the outline is the particle's own.")
    centre, lower = _fit_silhouette(points[own], form)
    d = points - centre
    u = d @ lower
    size = np.linalg.norm(u, axis=1)
    residual = (size - 1) * size / np.linalg.norm(u @ lower.T, axis=1)
    residual -= residual[own].mean()
    axes = np.sort(1 / np.linalg.svd(lower, compute_uv=False))[::-1]
    shift = np.array([mask.origin[1], mask.origin[0]], float)
    x, y = map(float, centre + shift)
    return ContourProfile(
        points + shift, residual, own, form, (float(axes[0]), float(axes[1])), (x, y)
    )


def contour_noise_floor(
    radius: float, rng: np.random.Generator | int = 0, discs: int = _FLOOR_DISCS
) -> tuple[float, float]:
    """Return mean and standard deviation of Rq (px) that perfect discs of a radius (px) give.

    Discs with random sub-pixel offsets are drawn on pixels and measured like any particle. Above
    60 px the floor no longer depends on the radius, and 60 px stands for all.

    Raises
    ------
    DataError
        If the radius is below three pixels or `discs` below 2.

    Examples
    --------
    >>> mean, spread = contour_noise_floor(30, rng=1)
    >>> bool(0.05 < mean < 0.2)
    True
    """
    if not (math.isfinite(radius) and radius >= 3 and discs >= 2):
        raise DataError(
            f"a floor needs a radius of 3 px or more and two discs, not {radius!r} and {discs!r}."
        )
    radius = min(float(radius), 60.0)
    generator = np.random.default_rng(rng)
    half = math.ceil(radius) + 3
    y, x = np.mgrid[-half : half + 1, -half : half + 1]
    found = []
    for dx, dy, dr in generator.uniform(-0.5, 0.5, (discs, 3)):
        disc = np.hypot(x - dx, y - dy) < radius + dr
        found.append(contour_profile(Mask.from_full(disc), "circle").Rq)
    return float(np.mean(found)), float(np.std(found, ddof=1))


def contour_roughness(
    masks: MaskSet | Mask,
    calibration: Calibration | None = None,
    form: str = "circle",
    rng: np.random.Generator | int = 0,
) -> pd.DataFrame:
    """Return the silhouette roughness of every particle, one row each.

    Parameters
    ----------
    masks : MaskSet or Mask
    calibration : Calibration or None
        Lengths come in nm with one, else in px; the columns' endings say which.
    form : str
        ``"circle"`` or ``"ellipse"``.
    rng : Generator or int
        Places the discs of the noise floor.

    Returns
    -------
    DataFrame
        ``particle``, ``Rq``, ``Ra`` (as measured), ``floor`` and ``floor_sd`` (perfect discs of the
        same size), ``Rq_corrected`` (the floor taken out in quadrature, 0 below it),
        ``shortest_wavelength`` (amplitudes halved by the outline's smoothing), semi-axes ``a`` and
        ``b``, ``own_share`` of the outline, ``flags``. Rq is NaN where no profile can be taken.
        ``attrs["note"]`` states the ratio to the areal Sq.

    Raises
    ------
    CalibrationError
        If `calibration` is something else.
    DataError
        If the form is unknown or `masks` are none.

    Notes
    -----
    ISO 21920-2 (Rq, Ra). The main paper's reference method.

    Examples
    --------
    >>> y, x = np.mgrid[:100, :100]
    >>> disc = Mask.from_full(np.hypot(x - 50.2, y - 49.7) < 40)
    >>> contour_roughness(disc, Calibration(5, "nm"))["a_nm"].round(-1).tolist()
    [200.0]
    """
    if form not in ("circle", "ellipse"):
        raise DataError(f"the form of a silhouette is 'circle' or 'ellipse', not {form!r}.")
    if isinstance(masks, Mask):
        masks = MaskSet((masks,))
    if not isinstance(masks, MaskSet):
        raise DataError(f"masks are a MaskSet or a Mask, not {type(masks).__name__}.")
    if calibration is not None and not isinstance(calibration, Calibration):
        raise CalibrationError(
            f"calibration must be a Calibration or None, not {type(calibration).__name__}; "
            "write Calibration(5, 'nm')."
        )
    scale, unit = (1.0, "px") if calibration is None else (calibration.to("nm"), "nm")
    boxes = masks.boxes
    floors: dict[int, tuple[float, float]] = {}
    rows = []
    for index, mask in enumerate(masks):
        box = boxes[index]
        near = (boxes[:, 0] < box[2] + _MARGIN) & (boxes[:, 2] > box[0] - _MARGIN)
        near &= (boxes[:, 1] < box[3] + _MARGIN) & (boxes[:, 3] > box[1] - _MARGIN)
        near[index] = False
        row: dict[str, float | str] = {"particle": index}
        flags = ["touches the frame"] if mask.touches_edge else []
        try:
            profile = contour_profile(mask, form, masks[near])
        except DataError as error:
            rows.append(row | {"flags": "; ".join([*flags, str(error)])})
            continue
        radius = math.sqrt(profile.axes[0] * profile.axes[1])
        key = round(8 * math.log2(max(min(radius, 60.0), 3.0)))
        if key not in floors:
            floors[key] = contour_noise_floor(max(2 ** (key / 8), 3.0), rng)
        floor, spread = floors[key]
        measured, share = profile.Rq, float(profile.own.mean())
        if measured < floor + 2 * spread:
            flags.append("not above the pixel noise")
        if share < 0.9:
            flags.append(f"{100 * (1 - share):.0f} % of the outline left out")
        values = {
            "Rq": measured,
            "Ra": profile.Ra,
            "floor": floor,
            "floor_sd": spread,
            "Rq_corrected": math.sqrt(max(measured**2 - floor**2, 0)),
            "shortest_wavelength": SHORTEST,
            "a": profile.axes[0],
            "b": profile.axes[1],
        }
        row |= {f"{name}_{unit}": value * scale for name, value in values.items()}
        rows.append(row | {"own_share": share, "flags": "; ".join(flags)})
    names = ("Rq", "Ra", "floor", "floor_sd", "Rq_corrected", "shortest_wavelength", "a", "b")
    columns = ["particle", *(f"{name}_{unit}" for name in names), "own_share", "flags"]
    table = pd.DataFrame(rows, columns=columns)
    table.attrs["note"] = (
        f"silhouette without its {form}; its Rq is {AREAL_RATIO[0]:.2f} to {AREAL_RATIO[1]:.2f} of "
        "the areal Sq of the same simulated particle"
    )
    return table


def _equally_spaced(points: np.ndarray) -> np.ndarray:
    """Resample a closed outline at equal arc lengths."""
    if len(points) < 3:
        return np.zeros((0, 2))
    closed = np.concatenate([points, points[:1]])
    arc = np.concatenate([[0], np.cumsum(np.linalg.norm(np.diff(closed, axis=0), axis=1))])
    at = np.arange(int(arc[-1] / _STEP)) * (arc[-1] / max(int(arc[-1] / _STEP), 1))
    return np.stack([np.interp(at, arc, closed[:, k]) for k in (0, 1)], axis=1)


def _away_from_neighbours(points: np.ndarray, mask: Mask, others: Iterable[Mask]) -> np.ndarray:
    """Tell which outline points lie away from the frame and from every neighbour."""
    (row, col), (height, width) = mask.origin, mask.shape
    x, y = points[:, 0] + col, points[:, 1] + row
    own = np.minimum(np.minimum(x, y), np.minimum(width - 1 - x, height - 1 - y)) > _MARGIN
    pad = _MARGIN + 2
    h, w = mask.crop.shape
    taken = np.zeros((h + 2 * pad, w + 2 * pad), bool)
    for other in others:
        r0, c0 = other.origin[0] - row + pad, other.origin[1] - col + pad
        r1, c1 = r0 + other.crop.shape[0], c0 + other.crop.shape[1]
        a, b, c, d = max(r0, 0), min(r1, h + 2 * pad), max(c0, 0), min(c1, w + 2 * pad)
        if a < b and c < d:
            taken[a:b, c:d] |= other.crop[a - r0 : b - r0, c - c0 : d - c0]
    if taken.any():
        distance = ndimage.distance_transform_edt(~taken)
        at = [points[:, 1] + pad, points[:, 0] + pad]
        own &= ndimage.map_coordinates(distance, at, order=1, mode="nearest") > _MARGIN
    return own


def _fit_silhouette(points: np.ndarray, form: str) -> tuple[np.ndarray, np.ndarray]:
    """Fit by Gauss-Newton on normal distances; return centre and L with |L.T (p - c)| = 1."""
    origin = points.mean(axis=0)
    scale = float(np.abs(points - origin).max())
    p = (points - origin) / scale
    # algebraic circle as the start: an arc's centre of mass is not its centre
    system = np.column_stack([2 * p, np.ones(len(p))])
    found = np.linalg.lstsq(system, (p**2).sum(axis=1), rcond=None)[0]
    centre, radius = found[:2], math.sqrt(max(found[2] + found[:2] @ found[:2], 1e-6))
    lower = np.eye(2) / radius
    for _ in range(60):
        d = p - centre
        u = d @ lower
        size = np.linalg.norm(u, axis=1)
        gradient = u @ lower.T
        steep = np.linalg.norm(gradient, axis=1)
        residual = (size - 1) * size / steep
        if form == "circle":
            change = -size / lower[0, 0]  # of |u| by 1/L, that is by the radius, times L
            columns = [-gradient, (change * lower[0, 0] * steep)[:, None]]
        else:
            columns = [-gradient, d[:, [0, 1, 1]] * u[:, [0, 0, 1]]]
        jacobian = np.concatenate(columns, axis=1) / steep[:, None]
        step = np.linalg.lstsq(jacobian, -residual, rcond=None)[0]
        centre = centre + step[:2]
        if form == "circle":
            lower = np.eye(2) / max(1 / lower[0, 0] + step[2], 1e-6)
        else:
            new = lower + np.array([[step[2], 0], [step[3], step[4]]])
            lower = new if new[0, 0] > 1e-3 and new[1, 1] > 1e-3 else lower
        if np.abs(step).max() < 1e-12:
            break
    return origin + scale * centre, lower / scale
