"""Convex polyhedra given by planes (N, 4), a point p inside if n.p <= d for every row (n, d)."""

from __future__ import annotations

import numpy as np

from particle_nb.core.compiled import compiled


@compiled
def corners(planes):
    """Vertices (N, 3) of the polyhedron n.p <= d: every three planes that meet on its surface."""
    count = planes.shape[0]
    found = np.empty((count * count * count // 6 + 1, 3))
    number = 0
    for i in range(count):
        for j in range(i + 1, count):
            a, b = planes[i], planes[j]
            ux = a[1] * b[2] - a[2] * b[1]
            uy = a[2] * b[0] - a[0] * b[2]
            uz = a[0] * b[1] - a[1] * b[0]
            for k in range(j + 1, count):
                c = planes[k]
                volume = ux * c[0] + uy * c[1] + uz * c[2]
                if abs(volume) < 1e-6:
                    continue
                px = a[3] * (b[1] * c[2] - b[2] * c[1]) + b[3] * (c[1] * a[2] - c[2] * a[1])
                py = a[3] * (b[2] * c[0] - b[0] * c[2]) + b[3] * (c[2] * a[0] - c[0] * a[2])
                pz = a[3] * (b[0] * c[1] - b[1] * c[0]) + b[3] * (c[0] * a[1] - c[1] * a[0])
                px = (px + c[3] * ux) / volume
                py = (py + c[3] * uy) / volume
                pz = (pz + c[3] * uz) / volume
                inside = True
                for m in range(count):
                    q = planes[m]
                    if q[0] * px + q[1] * py + q[2] * pz > q[3] + 1e-7:
                        inside = False
                        break
                if inside:
                    found[number, 0], found[number, 1], found[number, 2] = px, py, pz
                    number += 1
    return found[:number]


@compiled
def hull_area(points):
    """Area of the convex hull of points (N, 2 or more) in x and y, sorted by x."""
    count = len(points)
    area = 0.0
    chain = np.empty((count, 2))
    for side in (1.0, -1.0):  # the lower chain, then the upper one
        number = 0
        for i in range(count):
            x, y = points[i, 0], points[i, 1]
            while number > 1:
                ux = chain[number - 1, 0] - chain[number - 2, 0]
                uy = chain[number - 1, 1] - chain[number - 2, 1]
                if side * (ux * (y - chain[number - 2, 1]) - uy * (x - chain[number - 2, 0])) > 0.0:
                    break
                number -= 1
            chain[number, 0], chain[number, 1] = x, y
            number += 1
        for i in range(1, number):
            width = chain[i, 0] - chain[i - 1, 0]
            area -= side * 0.5 * width * (chain[i, 1] + chain[i - 1, 1])
    return area


def prism(sides: int, half: float) -> np.ndarray:
    """A right prism, inradius 1, half height `half`: planes (sides + 2, 4)."""
    angle = 2 * np.pi * (np.arange(sides) + 0.5) / sides
    ring = np.stack([np.cos(angle), np.sin(angle), 0 * angle, 0 * angle + 1.0], axis=1)
    return np.vstack([ring, [0, 0, 1, half], [0, 0, -1, half]])


def facets(rng: np.random.Generator) -> np.ndarray:
    """Planes of a grown crystal (cube and octahedron faces) or of a broken grain."""
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
