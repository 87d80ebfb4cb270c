"""Fitted forms and what they tell about points: sphere, ellipsoid, polynomial."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

import numpy as np

#: Normals flatter than this count as if they stood here: one pixel never weighs more than 20.
STEEPEST = 0.05


class Form(Protocol):
    """What a fitted form can tell about points x, y, z (float64 arrays in nm)."""

    @property
    def name(self) -> str:
        """``"sphere"``, ``"ellipsoid"`` or ``"polynomial"``."""
        ...

    def residual(self, x: np.ndarray, y: np.ndarray, z: np.ndarray) -> tuple[np.ndarray, ...]:
        """Return the signed normal distance in nm and the normal; its z clipped at `STEEPEST`."""
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
        """Return the signed normal distance in nm and the normal's x, y and z."""
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
        """Return the signed normal distance (exact to first order) in nm and the normal."""
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
        """Semi-axes in nm, longest first, and their directions as columns."""
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
        """Return the height above the polynomial along its normal in nm, and the normal."""
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
