"""Areal roughness of a particle with its form taken off, and the main paper's formulas beside it.

The main paper's Ra, Rq and PV are taken of the heights themselves, so that they mostly measure
how round a particle is: a perfectly smooth hemisphere of 1000 nm has Rq = 105 nm.
`roughness` therefore asks which form to take off and has no default for it.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from particle_nb.core.errors import DataError
from particle_nb.core.surface._kernels import _central_moments, _first_moments
from particle_nb.core.surface.cloud import PointCloud
from particle_nb.core.surface.forms import fit_form, parse_form
from particle_nb.core.surface.levelling import Levelled, level, require_nm
from particle_nb.core.surface.texture import check_cutoff, texture_map
from particle_nb.core.surface.uncertainty import (
    cap_angle,
    form_error,
    form_left,
    radius_spread,
    sampled_area,
    taken_with_form,
    uncertainty_of_sq,
)


def areal_parameters(
    heights: np.ndarray, weights: np.ndarray | None = None, kept: np.ndarray | None = None
) -> dict[str, float]:
    """Return Sa, Sq, Sz, Ssk and Sku of heights about their weighted mean.

    Parameters
    ----------
    heights : float array
        Residual heights in nm; NaN is passed over.
    weights : float array of the same shape or None
        Surface area that each height stands for.
    kept : bool array of the same shape or None
        Heights that count; None takes all.

    Raises
    ------
    DataError
        If no height is finite, or shapes differ.

    Notes
    -----
    ISO 25178-2, clauses on height parameters. Sums run in float64.

    Examples
    --------
    >>> areal_parameters(np.array([-1.0, 1.0, -1.0, 1.0]))
    {'Sa': 1.0, 'Sq': 1.0, 'Sz': 2.0, 'Ssk': 0.0, 'Sku': 1.0}
    """
    flat = _flat_float(heights)
    area = np.empty(0, np.float32) if weights is None else _flat_float(weights)
    which = np.empty(0, bool) if kept is None else np.asarray(kept, bool).reshape(-1)
    if weights is not None and area.shape != flat.shape:
        raise DataError(f"{area.size} weights do not fit {flat.size} heights.")
    if kept is not None and which.shape != flat.shape:
        raise DataError(f"{which.size} marks of what is kept do not fit {flat.size} heights.")
    total, first, low, high = _first_moments(flat, area, which)
    if not total > 0:
        raise DataError("there is no finite height to take a roughness of.")
    sums = _central_moments(flat, area, which, first / total)
    sa, variance, third, fourth = (float(v) / total for v in sums)
    sq = math.sqrt(variance)
    skewness = third / sq**3 if sq > 0 else math.nan
    kurtosis = fourth / sq**4 if sq > 0 else math.nan
    return {"Sa": sa, "Sq": sq, "Sz": high - low, "Ssk": skewness, "Sku": kurtosis}


def _flat_float(values: np.ndarray) -> np.ndarray:
    """Flat and in float32 or float64, so that there are no more compiled variants than these."""
    flat = np.ascontiguousarray(values).reshape(-1)
    return flat if flat.dtype in (np.float32, np.float64) else flat.astype(np.float64)


_FEWEST = 30


@dataclass(frozen=True)
class SmoothNull:
    """What the main paper's formulas give for a perfectly smooth particle of the same size.

    Heights of a half-ellipsoid `height` nm high above its outline, without the lowest
    `percentile` per cent of its points. Lengths in nm.
    """

    height: float
    percentile: float
    Ra: float
    Rq: float
    PV: float
    Ssk: float
    Sku: float


@dataclass(frozen=True)
class Roughness:
    """Roughness of one surface. Lengths in nm, areas in nm**2, angles in degrees.

    Parameters
    ----------
    form : str
        What was taken off; ``"none"`` means that the particle's own roundness is in the numbers.
    Sa, Sq, Sz, Ssk, Sku : float
        Arithmetical mean, root mean square, greatest height difference, skewness, kurtosis
        (ISO 25178-2), weighted by surface area unless the form is in.
    n_points, n_rejected : int
        Points used, and spikes left out.
    Sq_uncertainty : float
        Standard uncertainty of Sq as that of the process which made the surface: from sampling a
        finite area of it (the larger of `uncertainty.sq_uncertainty` and `sq_correlated`) and from
        the long waves that the fit took along. Errors of the heights, the scale or a depth model
        come on top.
    sampled_area : float
        Area of the form's surface under the points.
    radius, cap_angle : float
        Fitted radius (geometric mean of the semi-axes of an ellipsoid, which a rough cap barely
        fixes: a flag says how far), and how far from the pole the points reach.
    form_error : float
        Root mean square of what a fourth-degree surface still finds in the residuals: how badly
        the form describes the particle, counted into Sq unless an L-filter takes it out.
    s_filter, l_filter : float or None
        Cut-offs of the Gaussian filters.
    lateral : str
        Where the filters measured distance: ``"equal-area"``, ``"projected"`` or ``""``.
    Ra, Rq, PV : float or None
        The main paper's names for Sa, Sq, Sz with the form left in; None once it is taken off.
    null : SmoothNull or None
        With ``form="none"``, the same formulas on a smooth particle.
    form_parameters : dict
        The fitted form.
    flags : tuple of str
        What makes the numbers doubtful.
    """

    form: str
    Sa: float
    Sq: float
    Sz: float
    Ssk: float
    Sku: float
    n_points: int
    n_rejected: int = 0
    Sq_uncertainty: float = math.nan
    sampled_area: float = math.nan
    radius: float = math.nan
    cap_angle: float = math.nan
    form_error: float = math.nan
    s_filter: float | None = None
    l_filter: float | None = None
    lateral: str = ""
    Ra: float | None = None
    Rq: float | None = None
    PV: float | None = None
    null: SmoothNull | None = None
    form_parameters: dict[str, float] = field(default_factory=dict)
    flags: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Return all numbers as a flat dict, the null's with ``null_`` before their names."""
        row = asdict(self)
        null, row["flags"] = row.pop("null"), "; ".join(self.flags)
        row |= {f"null_{name}": value for name, value in (null or {}).items()}
        return row

    def __str__(self) -> str:
        if self.form == "none":
            lines = [
                f"Ra {self.Ra:.1f} nm, Rq {self.Rq:.1f} nm, PV {self.PV:.1f} nm, "
                f"Ssk {self.Ssk:.2f}, Sku {self.Sku:.2f} (form included, {self.n_points:,} points)"
            ]
            if self.null is not None:
                n = self.null
                lines.append(
                    f"a perfectly smooth particle {n.height:.0f} nm high, upper "
                    f"{100 - n.percentile:.0f} %, gives Ra {n.Ra:.1f}, Rq {n.Rq:.1f}, "
                    f"PV {n.PV:.1f}, Ssk {n.Ssk:.2f}, Sku {n.Sku:.2f}"
                )
        else:
            lines = [
                f"Sa {self.Sa:.2f} nm, Sq {self.Sq:.2f} nm (standard uncertainty from the finite "
                f"area {self.Sq_uncertainty:.2f} nm), Sz {self.Sz:.1f} nm, "
                f"Ssk {self.Ssk:.2f}, Sku {self.Sku:.2f}",
                f"{self.form} of radius {self.radius:.1f} nm taken off, form error "
                f"{self.form_error:.2f} nm, cap {self.cap_angle:.0f} deg, {self.n_points:,} "
                f"points, {self.n_rejected:,} spikes left out",
            ]
        return "\n".join(lines + [f"! {flag}" for flag in self.flags])


def smooth_form_null(height: float, percentile: float = 40) -> SmoothNull:
    """Return what the main paper's formulas give for a perfectly smooth half-ellipsoid.

    Parameters
    ----------
    height : float
        Top above the outline, nm; the radius of a hemisphere.
    percentile : float
        Share of the points, lowest first, that is left out, in per cent.

    Raises
    ------
    DataError
        If the height is not positive or the percentile not in [0, 100).

    Notes
    -----
    Points even over the projection lie below ``height * sqrt(q)`` with share q, whatever the two
    lateral semi-axes; the moments are integrals of powers of that.

    Examples
    --------
    >>> null = smooth_form_null(1000)
    >>> round(null.Ra, 1), round(null.Rq, 1), round(null.PV, 1)
    (90.9, 105.2, 367.5)
    """
    if not (math.isfinite(height) and height > 0 and 0 <= percentile < 100):
        raise DataError(
            f"a smooth particle has a positive height and a percentile in [0, 100), not "
            f"{height!r} and {percentile!r}."
        )
    p = percentile / 100
    raw = [(1 - p ** (1 + k / 2)) / (1 + k / 2) / (1 - p) for k in range(5)]
    mean = raw[1]
    variance = raw[2] - mean**2
    third = raw[3] - 3 * mean * raw[2] + 2 * mean**3
    fourth = raw[4] - 4 * mean * raw[3] + 6 * mean**2 * raw[2] - 3 * mean**4
    q = mean**2
    ra = 2 / (1 - p) * ((1 - q**1.5) / 1.5 - mean * (1 - q))
    return SmoothNull(
        height,
        percentile,
        height * ra,
        height * math.sqrt(variance),
        height * (1 - math.sqrt(p)),
        third / variance**1.5,
        fourth / variance**2,
    )


def roughness(
    cloud: PointCloud,
    form: str | None = None,
    s_filter: float | None = None,
    l_filter: float | None = None,
    outliers: str = "spikes",
) -> Roughness:
    """Return areal roughness parameters of a point cloud.

    Parameters
    ----------
    cloud : PointCloud
        In nm, from `point_cloud` or made of an array (N, 3).
    form : str
        ``"sphere"``, ``"ellipsoid"``, ``"polynomial"`` (degree 2; ``"polynomial-1"`` to ``-8``):
        fitted robustly and taken off along its normal, areas as weights. ``"none"``: the main
        paper's formulas on the heights themselves, every point alike, with what a smooth
        particle would give beside them. There is no default.
    s_filter, l_filter : float or None
        Cut-offs in nm of the areal Gaussian filters on the residuals: wavelengths below
        `s_filter` (noise, pixels) and above `l_filter` (waviness, form error) are taken out.
    outliers : str
        ``"spikes"`` leaves single outlying points out, ``"far"`` also whole patches beyond six
        robust deviations, ``"keep"`` nothing. Not applied with ``form="none"``.

    Returns
    -------
    Roughness

    Raises
    ------
    DataError
        If the form is missing or unknown, does not fit, or there are too few points.
    CalibrationError
        If the cloud's z is relative depth without a scale.

    Notes
    -----
    ISO 25178-2 (parameters), ISO 25178-3 (S-F and S-L surface), ISO 16610-61 (filters).

    Any fit takes the long waves of the roughness that its parameters can follow, the more of them
    the longer the correlation length is and the more parameters the form has. On the upper 60 %
    of a sphere of radius R (points by height), correlation exp(-d**2 / L**2), least squares are
    left with a mean Sq of

    ============= ====== ========= ====================
    L / R         sphere ellipsoid polynomial of degree 4
    ============= ====== ========= ====================
    0.03          -0.2 % -0.5 %    -0.9 %
    0.06          -0.7 % -1.8 %    -3.4 %
    0.10          -1.9 % -4.5 %    -8.6 %
    0.15          -4.2 % -9.1 %    -17 %
    ============= ====== ========= ====================

    and particles scatter about that by half as much; on gentle slopes sphere and ellipsoid here
    lose the same within 2 % for each particle and 0.3 % on average. Where it is more than 5 %, by
    what `form_error` finds in the other long waves, a flag says so: take the form with the fewest
    parameters that describes the particle. A degree-2 polynomial is no sphere: on one it leaves
    5.1 nm for 1000 nm of radius (degree 4: 0.6 nm).

    Two losses come with the points, whatever the form: a percentile cut through high roughness
    keeps the hills and drops the valleys along the rim (-5 % at Sq = 0.06 R and L = 0.15 R), and
    slopes above about 60 degrees hide what lies behind them (-5 % at Sq = 0.06 R, L = 0.03 R).

    Examples
    --------
    >>> y, x = np.mgrid[-770:771:10, -770:771:10].reshape(2, -1).astype(float)
    >>> top = x**2 + y**2 < 0.6 * 1000.0**2
    >>> z = np.sqrt(1000.0**2 - x[top] ** 2 - y[top] ** 2)
    >>> smooth = PointCloud(np.stack([x[top], y[top], z], axis=1))
    >>> round(roughness(smooth, form="none").Rq), round(roughness(smooth, form="sphere").Sq, 3)
    (105, 0.0)
    """
    name, _ = parse_form(form)
    if not isinstance(cloud, PointCloud):
        raise DataError(f"a surface is a PointCloud, not {type(cloud).__name__}; use point_cloud.")
    require_nm(cloud)
    if len(cloud) < _FEWEST:
        raise DataError(f"{len(cloud)} points are too few for a roughness; it takes {_FEWEST}.")
    if form is None or name == "none":
        if s_filter is not None or l_filter is not None:
            raise DataError("the filters work on residuals; they need a form other than 'none'.")
        return _form_included(cloud)
    pitch = cloud.pitch
    if pitch is not None:
        check_cutoff(s_filter, "s_filter", pitch)
        check_cutoff(l_filter, "l_filter", pitch)
    levelled = level(cloud, form, outliers)
    lateral, kept = "", None
    if s_filter is not None or l_filter is not None:
        texture = texture_map(levelled).filtered(s_filter, l_filter)
        lateral, known = texture.lateral, np.isfinite(texture.heights)
        heights, (rows, cols) = texture.heights[known], np.nonzero(known)
        area = np.ones(heights.size) if texture.area is None else texture.area[known]
    else:
        heights, rows, cols = levelled.residual, cloud.xyz[:, 1], cloud.xyz[:, 0]
        area = levelled.area
        if levelled.rejected:
            # leaving the spikes out would copy millions of points: they get no weight, and lie
            # where another point is, so that the cells of the uncertainty are those of the rest
            kept = levelled.kept
            one, area = int(kept.argmax()), np.where(kept, area, np.float32(0))
            rows, cols = np.where(kept, rows, rows[one]), np.where(kept, cols, cols[one])
    values: dict[str, Any] = areal_parameters(heights, area, kept)
    sq, error, angle = values["Sq"], form_error(levelled), cap_angle(levelled)
    loss = taken_with_form(levelled, sq, error)
    return Roughness(
        form,
        **values,
        n_points=levelled.kept.size - levelled.rejected,
        n_rejected=levelled.rejected,
        Sq_uncertainty=uncertainty_of_sq((heights, area, rows, cols), sq, loss),
        sampled_area=sampled_area(levelled),
        radius=float(levelled.form.radius),
        cap_angle=angle,
        form_error=error,
        s_filter=s_filter,
        l_filter=l_filter,
        lateral=lateral,
        form_parameters=levelled.form.parameters,
        flags=_flags(levelled, sq, error, angle, loss),
    )


def _flags(
    levelled: Levelled, sq: float, error: float, angle: float, loss: float
) -> tuple[str, ...]:
    flags = []
    count, size = levelled.kept.size, levelled.form.radius
    if count < 1000:
        flags.append(f"few points: {count}")
    if levelled.rejected > 0.01 * count:
        flags.append(f"spikes left out: {100 * levelled.rejected / count:.1f} % of the points")
    if levelled.outlying > 0.005:
        flags.append(
            f"patches beyond six robust deviations: {100 * levelled.outlying:.1f} % of the points"
        )
    if error > 0.7 * sq and error > 1e-3 * (size if math.isfinite(size) else sq):
        flags.append(f"poor form fit: {error:.1f} nm of the residual is long-waved")
    elif loss > 0.05:
        flags.append(
            f"long waves: taking the {levelled.form.name} off takes about {100 * loss:.0f} % of Sq "
            "along"
        )
    if (extra := form_left(levelled)) > 0.05:
        flags.append(
            f"no sphere: Sq holds about {100 * extra:.0f} % that is the form of an ellipsoid; "
            "use form='ellipsoid'"
        )
    if (loose := radius_spread(levelled)) > 0.05:
        flags.append(
            f"radius: the cap fixes it to {100 * min(loose, 9.99):.0f} % only (one standard "
            "deviation); Sq does not need it"
        )
    if angle < 20:
        flags.append(f"shallow cap: {angle:.0f} degrees do not fix a radius")
    if getattr(levelled.form, "sign", 1.0) < 0:
        flags.append("hollow: the sphere was fitted from inside")
    return tuple(flags)


def _form_included(cloud: PointCloud) -> Roughness:
    values: dict[str, Any] = areal_parameters(np.ascontiguousarray(cloud.xyz[:, 2]))
    null = None
    if math.isfinite(cloud.height) and math.isfinite(cloud.percentile):
        null = smooth_form_null(cloud.height, cloud.percentile)
    else:
        points = cloud.xyz[cloud.sample()].astype(np.float64)
        try:
            fitted = fit_form(points, "sphere")
            above = float(np.percentile(points[:, 2], 0.5)) - fitted.parameters["z"]
            share = 100 * min(max(above / fitted.radius, 0.0), 0.999) ** 2
            null = smooth_form_null(fitted.radius, share)
        except DataError:
            null = None  # too flat for a cap: the formulas then hold no form to compare with
    return Roughness(
        "none",
        **values,
        n_points=len(cloud),
        Ra=values["Sa"],
        Rq=values["Sq"],
        PV=values["Sz"],
        null=null,
        flags=("form included: a smooth particle is not 0 here, compare with the null",),
    )
