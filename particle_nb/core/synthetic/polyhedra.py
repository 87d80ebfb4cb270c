"""Convex polyhedra given by planes (N, 4), a point p inside if n.p <= d for every row (n, d)."""

from __future__ import annotations

import numpy as np


def prism(sides: int, half: float) -> np.ndarray:
    """A right prism, inradius 1, half height `half`: planes (sides + 2, 4)."""
    angle = 2 * np.pi * (np.arange(sides) + 0.5) / sides
    ring = np.stack([np.cos(angle), np.sin(angle), 0 * angle, 0 * angle + 1.0], axis=1)
    return np.vstack([ring, [0, 0, 1, half], [0, 0, -1, half]])


def facets(rng: np.random.Generator) -> np.ndarray:
    """Planes (n, 4) of a grown crystal (cube and octahedron faces) or of a broken grain.

    A row is an outward normal of length 1 and the distance of its plane from the centre.
    """
    if rng.random() < 0.5:
        cube = np.vstack([np.eye(3), -np.eye(3)])
        octa = np.array([[i, j, k] for i in (-1, 1) for j in (-1, 1) for k in (-1, 1)]) / 3**0.5
        # between the octahedron (1.73) and the cube (0.58) every truncation
        ratio = 0.62 + 1.05 * rng.random()
        d = np.concatenate([np.full(6, ratio), np.ones(8)])
        normals = np.vstack([cube, octa])
        d *= 1 + 0.06 * (rng.random(14) - 0.5)
    else:
        count = int(rng.integers(7, 15))
        index = np.arange(count) + 0.5
        z = 1 - 2 * index / count
        golden = np.pi * (1 + 5**0.5) * index
        ring = np.sqrt(1 - z * z)
        normals = np.stack([ring * np.cos(golden), ring * np.sin(golden), z], axis=1)
        normals = normals + 0.28 * rng.standard_normal((count, 3))
        normals /= np.sqrt((normals**2).sum(axis=1, keepdims=True))
        d = 1 + 0.45 * (rng.random(count) - 0.5)
        # six sides of a box keep the body closed whatever the random faces do
        normals = np.vstack([normals, np.eye(3), -np.eye(3)])
        d = np.concatenate([d, np.full(6, 1.35)])
    return np.column_stack([normals, d])
