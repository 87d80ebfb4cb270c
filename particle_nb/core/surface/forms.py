"""A particle's form, fitted robustly so that it can be taken off: sphere, ellipsoid, polynomial.

Every form gives the same numbers for a point: its residual along the form's outward normal
(nm, positive outside) and that normal. One pixel of the projection stands for about
``1 / normal_z`` pixels of surface, which is the area weight of the fits.

The start is a least-median-of-squares search (P. J. Rousseeuw, 1984,
doi:10.1080/01621459.1984.10477105) for the sphere; refinement is iteratively reweighted least
squares with Tukey's biweight, so that a tenth of outliers, and more, moves nothing.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from particle_nb.core.errors import DataError
from particle_nb.core.surface._kernels import STEEPEST


class Form(Protocol):
    """What a fitted form can tell about points x, y, z (float64 arrays in nm)."""

    @property
    def name(self) -> str:
        """``"sphere"``, ``"ellipsoid"`` or ``"polynomial"``."""
        ...

    def residual(self, x: np.ndarray, y: np.ndarray, z: np.ndarray) -> tuple[np.ndarray, ...]:
        """Return the signed normal distance in nm and the normal; its z clipped at `STEEPEST`.

        x, y and z, in nm, are of one shape; so are the four arrays that come back.
        """
        ...

    @property
    def parameters(self) -> dict[str, float]:
        """The fitted numbers by name, lengths in nm, angles in degrees."""
        ...

    @property
    def radius(self) -> float:
        """Radius in nm, the geometric mean of three semi-axes; NaN for a polynomial."""
        ...


@dataclass(frozen=True)
class SphereForm:
    """A sphere; ``sign`` is -1 where the surface is a hollow seen from inside."""

    x: float
    y: float
    z: float
    radius: float
    sign: float = 1.0
    name: str = "sphere"

    def residual(self, x: np.ndarray, y: np.ndarray, z: np.ndarray) -> tuple[np.ndarray, ...]:
        """Return the signed normal distance in nm and the normal's x, y and z, of one shape."""
        dx, dy, dz = x - self.x, y - self.y, z - self.z
        distance = np.sqrt(dx * dx + dy * dy + dz * dz)
        unit = self.sign / np.maximum(distance, 1e-12 * self.radius)
        up = np.maximum(dz * unit, STEEPEST)
        return self.sign * (distance - self.radius), dx * unit, dy * unit, up

    @property
    def parameters(self) -> dict[str, float]:
        """Centre and radius in nm."""
        return {"x": self.x, "y": self.y, "z": self.z, "radius": self.radius}


@dataclass(frozen=True, eq=False)
class EllipsoidForm:
    """An ellipsoid ``|lower.T @ (p - centre)| = 1``; `lower` is a Cholesky factor in 1/nm."""

    centre: np.ndarray
    lower: np.ndarray
    name: str = "ellipsoid"

    def residual(self, x: np.ndarray, y: np.ndarray, z: np.ndarray) -> tuple[np.ndarray, ...]:
        """Return the signed normal distance (to first order) in nm and the normal, of one shape."""
        # written out: a product of tall thin matrices would only wake the threads of BLAS
        (a, _, _), (b, c, _), (d, e, f) = self.lower.tolist()
        dx, dy, dz = x - self.centre[0], y - self.centre[1], z - self.centre[2]
        u, v, w = a * dx + b * dy + d * dz, c * dy + e * dz, f * dz
        scale = np.sqrt(u * u + v * v + w * w)
        gx, gy, gz = a * u, b * u + c * v, d * u + e * v + f * w
        steep = np.sqrt(gx * gx + gy * gy + gz * gz)
        steep = np.maximum(steep, 1e-12 * np.abs(self.lower).max())
        up = np.maximum(gz / steep, STEEPEST)
        return (scale - 1) * scale / steep, gx / steep, gy / steep, up

    @property
    def axes(self) -> tuple[np.ndarray, np.ndarray]:
        """Semi-axes in nm, longest first, float (3,), and their directions as columns (3, 3)."""
        values, vectors = np.linalg.eigh(self.lower @ self.lower.T)
        return 1 / np.sqrt(values), vectors

    @property
    def radius(self) -> float:
        """Geometric mean of the semi-axes in nm."""
        return float(np.prod(self.axes[0]) ** (1 / 3))

    @property
    def parameters(self) -> dict[str, float]:
        """Centre, semi-axes a >= b >= c in nm, and tilt of c's normal plane in degrees."""
        lengths, vectors = self.axes
        upright = float(np.abs(vectors[2]).max())
        return {
            "x": float(self.centre[0]),
            "y": float(self.centre[1]),
            "z": float(self.centre[2]),
            "a": float(lengths[0]),
            "b": float(lengths[1]),
            "c": float(lengths[2]),
            "tilt": math.degrees(math.acos(min(1.0, upright))),
        }


@dataclass(frozen=True, eq=False)
class PolynomialForm:
    """A height polynomial of total degree `degree` in coordinates scaled to about -1..1."""

    degree: int
    origin: tuple[float, float]
    scale: float
    coefficients: np.ndarray
    name: str = "polynomial"
    radius: float = math.nan

    def residual(self, x: np.ndarray, y: np.ndarray, z: np.ndarray) -> tuple[np.ndarray, ...]:
        """Return the height above the polynomial along its normal in nm and that, of one shape."""
        u, v = (x - self.origin[0]) / self.scale, (y - self.origin[1]) / self.scale
        height, slope_u, slope_v = np.zeros_like(z), np.zeros_like(z), np.zeros_like(z)
        us, vs = [np.ones_like(u)], [np.ones_like(v)]
        for _ in range(self.degree):
            us.append(us[-1] * u)
            vs.append(vs[-1] * v)
        for (i, j), value in zip(exponents(self.degree), self.coefficients.tolist(), strict=True):
            height += value * us[i] * vs[j]
            if i:
                slope_u += value * i * us[i - 1] * vs[j]
            if j:
                slope_v += value * j * us[i] * vs[j - 1]
        slope_x, slope_y = slope_u / self.scale, slope_v / self.scale
        up = 1 / np.sqrt(1 + slope_x**2 + slope_y**2)
        return (z - height) * up, -slope_x * up, -slope_y * up, np.maximum(up, STEEPEST)

    @property
    def parameters(self) -> dict[str, float]:
        """Degree, and the coefficients ``c_ij`` of u**i * v**j in nm."""
        named = zip(exponents(self.degree), self.coefficients, strict=True)
        return {"degree": float(self.degree)} | {f"c_{i}{j}": float(c) for (i, j), c in named}


def exponents(degree: int) -> list[tuple[int, int]]:
    """Return the powers of u and v in a polynomial, in the order of its coefficients."""
    return [(i, k - i) for k in range(degree + 1) for i in range(k, -1, -1)]


#: What `roughness` and its kin accept as form besides "none".
FORMS = ("sphere", "ellipsoid", "polynomial")

_TUKEY = 4.685  # 95 % efficiency on Gaussian residuals

MAD = 1.4826  # median absolute deviation to standard deviation of a Gaussian


def parse_form(form: str | None) -> tuple[str, int]:
    """Return the name of a form and the degree of a polynomial (2 unless said otherwise).

    Raises
    ------
    DataError
        If it is missing or unknown.

    Examples
    --------
    >>> parse_form("polynomial-4")
    ('polynomial', 4)
    """
    if form is None:
        raise DataError(
            "form has no default, because it decides what counts as roughness: write "
            "form='sphere', 'ellipsoid' or 'polynomial' to take the particle's form off, or "
            "form='none' for the main paper's formulas, which leave it in."
        )
    if isinstance(form, str):
        if form in ("none", *FORMS):
            return form, 2
        match = re.fullmatch(r"polynomial-([1-8])", form)
        if match:
            return "polynomial", int(match[1])
    raise DataError(
        f"unknown form {form!r}; use 'none', 'sphere', 'ellipsoid', 'polynomial' (degree 2) or "
        "'polynomial-1' to 'polynomial-8'."
    )


def robust_sigma(residual: np.ndarray) -> float:
    """Return the standard deviation of residuals (N,) as seen by the median absolute deviation.

    Examples
    --------
    >>> float(round(robust_sigma(np.array([-1.0, 0.0, 1.0, 900.0])), 4))
    1.4826
    """
    return MAD * float(np.median(np.abs(residual - np.median(residual))))


def fit_form(xyz: np.ndarray, form: str) -> Form:
    """Fit a form to points, robustly.

    Parameters
    ----------
    xyz : float array (N, 3)
        Points in nm, spread evenly over the projection; some ten thousand are plenty.
    form : str
        ``"sphere"``, ``"ellipsoid"``, ``"polynomial"`` or ``"polynomial-3"``.

    Raises
    ------
    DataError
        If there are too few points, or they are too flat for a sphere or an ellipsoid.

    Examples
    --------
    >>> y, x = np.mgrid[-60:61, -60:61].reshape(2, -1).astype(float)
    >>> fit = fit_form(np.stack([x, y, np.sqrt(100.0**2 - x**2 - y**2)], axis=1), "sphere")
    >>> round(fit.radius, 6)
    100.0
    """
    name, degree = parse_form(form)
    if name == "none":
        raise DataError("form='none' fits nothing; name a form.")
    fewest = 3 * {"sphere": 4, "ellipsoid": 9}.get(name, len(exponents(degree)))
    if len(xyz) < fewest:
        raise DataError(f"{len(xyz)} points are too few to fit a {name}; it takes {fewest}.")
    xyz = np.asarray(xyz, np.float64)
    origin = np.median(xyz, axis=0)
    scale = float(np.percentile(np.abs(xyz - origin), 99)) or 1.0
    points = (xyz - origin) / scale
    if name == "polynomial":
        return _fit_polynomial(xyz, origin, degree)
    sphere = _fit_sphere(points)
    plane = np.column_stack([points[:, :2], np.ones(len(points))])
    tilt = np.linalg.lstsq(plane, points[:, 2], rcond=None)[0]
    flat = robust_sigma(points[:, 2] - plane @ tilt)
    bent = robust_sigma(sphere.residual(*points.T)[0])
    if not (sphere.radius < 300 and bent < 0.98 * flat):
        x, y = points[:, 0], points[:, 1]
        bowl = np.column_stack([plane, x * x, x * y, y * y])
        curved = robust_sigma(
            points[:, 2] - bowl @ np.linalg.lstsq(bowl, points[:, 2], rcond=None)[0]
        )
        if curved < 0.9 * flat:
            raise DataError(
                "the points are curved, but not as a sphere or an ellipsoid is: along one "
                "direction only, as a cylinder or a ridge, or hollow in one direction; use "
                "form='polynomial' (degree 2) or 'polynomial-4'."
            )
        raise DataError(
            "the points are flat within their scatter, so that no sphere or ellipsoid can be "
            "fitted; use form='polynomial-1' (a plane) or 'polynomial'."
        )
    if name == "sphere":
        centre = origin + scale * np.array([sphere.x, sphere.y, sphere.z])
        x, y, z = map(float, centre)
        return SphereForm(x, y, z, scale * sphere.radius, sphere.sign)
    return _fit_ellipsoid(points, sphere, origin, scale)


def _tukey(residual: np.ndarray, floor: float) -> np.ndarray:
    """Return Tukey's biweight of centred residuals; scatter below `floor` counts as rounding."""
    away = residual - np.median(residual)
    sigma = max(MAD * float(np.median(np.abs(away))), floor)
    return np.maximum(1 - (away / (_TUKEY * sigma)) ** 2, 0) ** 2


def _fit_sphere(points: np.ndarray) -> SphereForm:
    """Fit a sphere to points scaled to about 1: subsets of eight, best median, then Tukey."""
    rng = np.random.default_rng(0)  # a fixed search: the same points always give the same form
    trials = points[rng.integers(0, len(points), (400, 8))]
    system = np.concatenate([2 * trials, np.ones((*trials.shape[:2], 1))], axis=2)
    square = (trials**2).sum(axis=2)
    normal = np.swapaxes(system, 1, 2) @ system + 1e-12 * np.eye(4)
    solved = np.linalg.solve(normal, np.einsum("tij,ti->tj", system, square)[..., None])[..., 0]
    centres = solved[:, :3]
    radii = np.sqrt(np.maximum(solved[:, 3] + (centres**2).sum(axis=1), 1e-12))
    judge = points[rng.integers(0, len(points), min(len(points), 1500))]
    reach = (judge**2).sum(axis=1) + (centres**2).sum(axis=1)[:, None] - 2 * centres @ judge.T
    away = np.abs(np.sqrt(np.maximum(reach, 0)) - radii[:, None])
    best = int(np.argmin(np.median(away, axis=1)))
    c, radius = centres[best], float(radii[best])
    for _ in range(40):
        d = points - c
        rho = np.sqrt(np.einsum("ij,ij->i", d, d))
        residual = rho - radius
        area = 1 / np.maximum(np.abs(d[:, 2]) / rho, STEEPEST)
        weight = _tukey(residual, 1e-9) * area
        jacobian = np.concatenate([d / rho[:, None], np.ones((len(d), 1))], axis=1)
        weighted = jacobian * weight[:, None]
        matrix = jacobian.T @ weighted
        matrix[np.diag_indices(4)] *= 1 + 1e-12
        step = np.linalg.lstsq(matrix, weighted.T @ residual, rcond=None)[0]
        c, radius = c + step[:3], radius + float(step[3])
        if not radius < 1e4 or np.abs(step).max() < 1e-11 * (1 + radius):
            break
    up = float(np.median(points[:, 2])) >= c[2]
    return SphereForm(float(c[0]), float(c[1]), float(c[2]), abs(radius), 1.0 if up else -1.0)


def _fit_ellipsoid(
    points: np.ndarray, sphere: SphereForm, origin: np.ndarray, scale: float
) -> EllipsoidForm:
    """Refine a sphere into an ellipsoid: Levenberg-Marquardt on first-order distances."""
    if sphere.sign < 0:
        raise DataError("the surface is hollow; an ellipsoid needs a dome. Use a polynomial.")
    if len(points) > 6_000:
        points = points[:: len(points) // 6_000 + 1]
    rows, cols = np.tril_indices(3)
    form = EllipsoidForm(np.array([sphere.x, sphere.y, sphere.z]), np.eye(3) / sphere.radius)
    residual, _, _, normal = form.residual(*points.T)
    upright = _upright_ellipsoid(points, residual)
    if upright is not None:
        other, _, _, other_normal = upright.residual(*points.T)
        if robust_sigma(other) < robust_sigma(residual):
            form, residual, normal = upright, other, other_normal
    damping = 1e-3
    for _ in range(60):
        weight = _tukey(residual, 1e-9) / normal
        d = points - form.centre
        u = d @ form.lower
        size = np.sqrt(np.einsum("ij,ij->i", u, u))
        gradient = u @ form.lower.T
        steep = np.sqrt(np.einsum("ij,ij->i", gradient, gradient))
        size = np.maximum(size, 1e-12)[:, None]
        steep = np.maximum(steep, 1e-12)[:, None]
        turned = gradient @ form.lower
        of_size = np.concatenate([-gradient, d[:, rows] * u[:, cols]], axis=1) / size
        of_steep = gradient[:, rows] * u[:, cols] + d[:, rows] * turned[:, cols]
        of_steep = np.concatenate([-turned @ form.lower.T, of_steep], axis=1) / steep
        # the distance's own derivative: with that of its first order, which leaves the gradient's
        # change out, rough caps got stuck where the cost hardly changes with their semi-axes
        jacobian = ((2 * size - 1) * of_size - residual[:, None] * of_steep) / steep
        weighted = jacobian * weight[:, None]
        matrix, target = jacobian.T @ weighted, -(weighted.T @ residual)
        cost = float(weight @ residual**2)
        for _ in range(12):
            damped = matrix + damping * np.diag(np.diag(matrix) + 1e-12 * np.trace(matrix))
            step = np.linalg.solve(damped, target)
            lower = form.lower.copy()
            lower[rows, cols] += step[3:]
            trial = EllipsoidForm(form.centre + step[:3], lower)
            usable = bool((np.diag(lower) > 1e-4).all())
            if usable:
                new_residual, _, _, new_normal = trial.residual(*points.T)
                if float(weight @ new_residual**2) <= cost * (1 + 1e-12):
                    break
            damping = min(damping * 4, 1e8)
        else:
            break
        form, residual, normal = trial, new_residual, new_normal
        damping = max(damping / 9, 1e-12)
        if np.abs(step).max() < 1e-7:
            break
    return EllipsoidForm(origin + scale * form.centre, form.lower / scale)


def _upright_ellipsoid(points: np.ndarray, residual: np.ndarray) -> EllipsoidForm | None:
    """Fit an ellipsoid with one vertical axis in closed form, or None where it is none.

    With the coefficient of z*z set to 1 the other seven are linear; the algebraic residual over
    its gradient is the distance that the biweight judges. Elongated and flattened particles
    start from here, because the way there from a sphere is long and has other valleys.
    """
    x, y, z = points.T
    system = np.stack([x * x, x * y, y * y, x, y, z, np.ones_like(x)], axis=1)
    weight = _tukey(residual, 1e-9)
    found = None
    for _ in range(25):
        weighted = system * weight[:, None]
        q = np.linalg.lstsq(weighted.T @ system, -(weighted.T @ (z * z)), rcond=None)[0]
        matrix = np.array([[q[0], q[1] / 2, 0], [q[1] / 2, q[2], 0], [0, 0, 1]])
        if np.linalg.eigvalsh(matrix)[0] <= 1e-6:
            break
        centre = -0.5 * np.linalg.solve(matrix, q[3:6])
        size = float(centre @ matrix @ centre - q[6])
        if size <= 1e-9:
            break
        found = EllipsoidForm(centre, np.linalg.cholesky(matrix / size))
        distance = found.residual(x, y, z)[0]
        gradient = np.linalg.norm(2 * (points - centre) @ matrix, axis=1)
        weight = _tukey(distance, 1e-9) / np.maximum(gradient, 1e-3) ** 2
    return found


def _fit_polynomial(xyz: np.ndarray, origin: np.ndarray, degree: int) -> PolynomialForm:
    """Fit heights in closed form, reweighted until they stay."""
    lateral = float(np.abs(xyz[:, :2] - origin[:2]).max()) or 1.0
    u, v = ((xyz[:, :2] - origin[:2]) / lateral).T
    us, vs = (np.vander(w, degree + 1, increasing=True) for w in (u, v))
    system = np.stack([us[:, i] * vs[:, j] for i, j in exponents(degree)], axis=1)
    z = xyz[:, 2]
    floor = 1e-9 * max(float(np.ptp(z)), lateral)
    coefficients, weight = np.zeros(system.shape[1]), np.ones(len(z))
    for step in range(30):
        weighted = system * weight[:, None]
        before = coefficients
        coefficients = np.linalg.lstsq(weighted.T @ system, weighted.T @ z, rcond=None)[0]
        residual = z - system @ coefficients
        if step < 5:  # absolute values first: they find the middle that Tukey must start from
            weight = 1 / np.maximum(np.abs(residual), max(robust_sigma(residual), floor) / 4)
            weight /= weight.max()
        else:
            weight = _tukey(residual, floor)
        if step > 6 and float(np.abs(coefficients - before).max()) < floor:
            break
    return PolynomialForm(degree, (float(origin[0]), float(origin[1])), lateral, coefficients + 0.0)
