"""Particle forms: from a shape class and a size to the parts that `solids.draw` rasterises."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from particle_nb.core.errors import DataError, check_number
from particle_nb.core.synthetic._kernels import (
    CAPSULE,
    CYLINDER,
    ELLIPSOID,
    POLYHEDRON,
    VOXELS_PER_CORRELATION,
    _touching_centres,
    corners,
    hull_area,
    raster_smooth,
)
from particle_nb.core.synthetic.polyhedra import facets, prism
from particle_nb.core.synthetic.solids import Part, draw, shadow, shadow_area

SHAPES = (
    "sphere",
    "ellipsoid",
    "polyhedron",
    "cube",
    "rod",
    "triangle",
    "hexagon",
    "blob",
    "agglomerate",
)

SIZES = ("lognormal", "rrsb", "uniform", "mono", "given")


@dataclass(frozen=True)
class Sizes:
    """A number distribution of x_A, the diameter of the circle as large as the outline.

    Parameters
    ----------
    kind : str
        ``"lognormal"`` (median `x_nm`, geometric standard deviation `spread`), ``"rrsb"``
        (x' = `x_nm`, uniformity n = `spread`; here the NUMBER follows RRSB), ``"uniform"``
        (`x_nm` / `spread` to `x_nm` * `spread`), ``"mono"`` or ``"given"``.
    x_nm, spread : float
        Location in nm and width.
    values : tuple of float
        Sizes in nm for ``"given"``; used in turn.

    Raises
    ------
    DataError
        If the kind is unknown or a number is out of range.

    Examples
    --------
    >>> Sizes("given", values=(10.0, 20.0)).draw(3, np.random.default_rng(0)).tolist()
    [10.0, 20.0, 10.0]
    """

    kind: str = "lognormal"
    x_nm: float = 400.0
    spread: float = 1.3
    values: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        if self.kind not in SIZES:
            raise DataError(f"unknown size distribution {self.kind!r}; use one of {SIZES}.")
        check_number("Sizes.x_nm", self.x_nm, 1e-3, 1e9)
        check_number("Sizes.spread", self.spread, 1.0 if self.kind != "rrsb" else 0.3, 50)
        if self.kind == "given":
            if not self.values:
                raise DataError("Sizes('given') needs values=(...) in nm.")
            for value in self.values:
                check_number("Sizes.values", value, 1e-3, 1e9)

    def draw(self, count: int, rng: np.random.Generator) -> np.ndarray:
        """Return `count` sizes in nm, float (count,)."""
        if self.kind == "given":
            return np.resize(np.array(self.values, float), count)
        if self.kind == "lognormal":
            sizes = np.exp(math.log(self.spread) * rng.standard_normal(count)) * self.x_nm
        elif self.kind == "rrsb":
            sizes = self.x_nm * (-np.log1p(-rng.random(count))) ** (1.0 / self.spread)
        elif self.kind == "uniform":
            low, high = self.x_nm / self.spread, self.x_nm * self.spread
            sizes = low + (high - low) * rng.random(count)
        else:
            sizes = np.full(count, float(self.x_nm))
        # nine digits: the last bits of exp and log differ between machines
        return np.array([float(f"{size:.9g}") for size in sizes])


@dataclass(frozen=True)
class Population:
    """One kind of particle in a scene.

    Parameters
    ----------
    shape : str
        One of `SHAPES`.
    share : float
        Share of the number of particles, relative to the other populations.
    sizes : Sizes
        Of x_A of the whole particle; for an agglomerate the primaries follow from their number.
    aspect : (float, float)
        Range of the axis ratio, smallest over largest: ellipsoid, rod (width over length), plate
        (thickness over width), cube (shortest over longest edge).
    rounding : float
        Radius of edges and corners, share of x_A.
    irregularity : float
        Standard deviation of the outline, share of the radius; ``"blob"`` uses at least 0.08.
    sq_nm, correlation_nm : float
        Roughness along the surface normal and its correlation length.
    flat : bool
        Lies on its largest side; False for any orientation.
    primaries : (int, int)
        Number of primaries of an agglomerate.
    compactness : float
        0 for a chain-like agglomerate to 1 for a dense one.
    hollow : float
        Radius of a void inside, share of the particle's; seen in transmission only.
    material : str
        A key of `synthetic.MATERIALS`.

    Raises
    ------
    DataError
        If the shape is unknown or a number is out of range.

    Examples
    --------
    >>> Population("cube").shape
    'cube'
    """

    shape: str = "sphere"
    share: float = 1.0
    sizes: Sizes = Sizes()
    aspect: tuple[float, float] = (0.5, 0.9)
    rounding: float = 0.0
    irregularity: float = 0.0
    sq_nm: float = 0.0
    correlation_nm: float = 30.0
    flat: bool = True
    primaries: tuple[int, int] = (8, 30)
    compactness: float = 0.5
    hollow: float = 0.0
    material: str = "silica"

    def __post_init__(self) -> None:
        if self.shape not in SHAPES:
            raise DataError(f"unknown shape {self.shape!r}; use one of {', '.join(SHAPES)}.")
        if not isinstance(self.sizes, Sizes):
            raise DataError(f"Population.sizes must be Sizes(...), not {self.sizes!r}.")
        for name, low, high in (
            ("share", 1e-9, 1e9),
            ("rounding", 0, 0.5),
            ("irregularity", 0, 0.4),
            ("sq_nm", 0, 1e8),
            ("correlation_nm", 1e-3, 1e9),
            ("compactness", 0, 1),
            ("hollow", 0, 0.98),
        ):
            check_number(f"Population.{name}", getattr(self, name), low, high)
        for name, low, high in (("aspect", 0.02, 1), ("primaries", 1, 2000)):
            pair = getattr(self, name)
            if not isinstance(pair, tuple) or len(pair) != 2:
                raise DataError(f"Population.{name} must be (low, high), not {pair!r}.")
            check_number(f"Population.{name}[0]", pair[0], low, high)
            check_number(f"Population.{name}[1]", pair[1], pair[0], high)


def rotations(rng: np.random.Generator, count: int) -> np.ndarray:
    """Return random rotations (count, 3, 3), every orientation as likely as any other."""
    q = rng.standard_normal((count, 4))
    w, x, y, z = (q / np.sqrt((q * q).sum(axis=1, keepdims=True))).T
    rows = (
        (1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)),
        (2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)),
        (2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)),
    )
    return np.array(rows).transpose(2, 0, 1).copy()


def rotation(rng: np.random.Generator, flat: bool, axis_up: bool = True) -> np.ndarray:
    """Return a random world-to-local rotation (3, 3).

    `flat` keeps the local z axis vertical (or horizontal when not `axis_up`).
    """
    if not flat:
        return rotations(rng, 1)[0]
    c, s = rng.standard_normal(2)
    n = math.hypot(c, s)
    c, s = c / n, s / n
    turn = np.array([[c, s, 0.0], [-s, c, 0.0], [0.0, 0.0, 1.0]])
    if axis_up:
        return turn
    return np.array([[0.0, 0.0, -1.0], [0.0, 1.0, 0.0], [1.0, 0.0, 0.0]]) @ turn


def _primaries(population: Population, rng: np.random.Generator) -> list[Part]:
    """Primaries stuck together one by one."""
    low, high = population.primaries
    low_ratio, high_ratio = population.aspect
    count = int(rng.integers(low, high + 1))
    radii = np.exp(0.12 * rng.standard_normal(count))
    tries = 4 + int(150 * population.compactness**2)
    hosts = rng.random((count, tries))
    directions = rng.standard_normal((count, tries, 3))
    centres = _touching_centres(radii, hosts, directions, population.compactness)
    centres -= centres.mean(axis=0)
    squash = low_ratio + (high_ratio - low_ratio) * rng.random((count, 3))
    semis = radii[:, None] * squash / squash.max(axis=1, keepdims=True)
    return [
        _part(ELLIPSOID, turn, semi, centre=centre)
        for turn, semi, centre in zip(rotations(rng, count), semis, centres, strict=True)
    ]


def _part(
    kind: int,
    turn: np.ndarray,
    semi: np.ndarray,
    planes: np.ndarray | None = None,
    rounding: float = 0.0,
    centre: np.ndarray | None = None,
    extent: np.ndarray | None = None,
) -> Part:
    return Part(
        kind,
        turn,
        np.zeros(3) if centre is None else centre,
        np.asarray(semi, float),
        np.zeros((1, 4)) if planes is None else planes,
        rounding,
        np.zeros((2, 5)),
        2.0 * np.asarray(semi, float) if extent is None else extent,
    )


def _polyhedron(planes: np.ndarray, turn: np.ndarray, rounding: float) -> Part:
    vertices = corners(planes)
    reach = float(np.sqrt((vertices**2).sum(axis=1).max()))
    semi = np.array([0.0, 0.0, reach])
    return _part(POLYHEDRON, turn, semi, planes, rounding, extent=np.ptp(vertices, axis=0))


def build(
    population: Population,
    size: float,
    pixel_nm: float,
    volume: np.ndarray,
    rng: np.random.Generator,
) -> list[Part]:
    """Return the parts of one particle whose outline has x_A = `size` px, lengths in px.

    `volume`, float32 (n, n, n), is the noise that lumpy and rough ones are displaced by.
    """
    shape, flat = population.shape, population.flat
    low, high = population.aspect
    ratio = low + (high - low) * float(rng.random())
    rounding = 2.0 * population.rounding
    if shape in ("sphere", "blob"):
        semi = np.ones(3) if shape == "sphere" else 1 - (1 - low) * rng.random(3)
        parts = [_part(ELLIPSOID, rotation(rng, False), semi)]
    elif shape == "ellipsoid":
        middle = ratio + (1 - ratio) * float(rng.random())
        parts = [_part(ELLIPSOID, rotation(rng, flat), np.array([1.0, middle, ratio]))]
    elif shape == "rod":
        kind = CAPSULE if population.rounding >= 0.2 else CYLINDER
        half = 1.0 / ratio
        turn = rotation(rng, flat, False)
        if kind == CYLINDER and rng.random() < 0.5:
            parts = [_polyhedron(prism(6, half), turn, rounding)]
        else:
            parts = [_part(kind, turn, np.array([1.0, 1.0, half]), rounding=rounding)]
    elif shape == "agglomerate":
        parts = _primaries(population, rng)
    else:
        if shape == "cube":
            edges = np.array([1.0, ratio + (1 - ratio) * float(rng.random()), ratio])
            planes = np.column_stack([np.vstack([np.eye(3), -np.eye(3)]), np.tile(edges, 2)])
        elif shape == "polyhedron":
            planes = facets(rng)
        else:
            planes = prism(3 if shape == "triangle" else 6, ratio)
            if shape == "triangle":  # corners cut off, as grown plates have them
                cut = prism(3, ratio)[:3]
                cut[:, :2] *= -1
                cut[:, 3] = 1.35 + 0.6 * float(rng.random())
                planes = np.vstack([planes, cut])
        parts = [_polyhedron(planes, rotation(rng, flat and shape != "polyhedron"), rounding)]
    irregular = population.irregularity
    if shape == "blob":
        irregular = max(irregular, 0.08)
    if irregular:
        for part in parts:
            radius = float(part.semi.max()) if part.kind != POLYHEDRON else 1.0
            part.fields[0] = irregular * radius, (0.45 + 0.5 * rng.random()) * radius, 0, 0, 0
            part.fields[0, 2:] = rng.random(3) * 64
    factor = _scale_to_size(parts, size, volume)
    parts = [part.scaled(factor) for part in parts]
    if population.sq_nm:
        for part in parts:
            part.fields[1, :2] = population.sq_nm / pixel_nm, population.correlation_nm / pixel_nm
            part.fields[1, 2:] = rng.random(3) * 64
    return parts


def _union_area(parts: list[Part]) -> float:
    """Area of the common shadow of smooth ellipsoids, counted on a grid of 52 cells across."""
    centres = np.array([part.centre for part in parts])
    semis = np.array([part.semi for part in parts])
    extent = float(np.abs(centres).max() + semis.max())
    cell = extent / 26.0
    maps = [np.full((55, 55), fill, np.float32) for fill in (-np.inf, np.inf, 0.0)]
    seen = np.full((55, 55), -1, np.int32)
    turns = np.array([part.rotation for part in parts])
    raster_smooth(turns, centres / cell, semis / cell, -27.0, -27.0, *maps, seen)
    return float(np.count_nonzero(seen >= 0)) * cell * cell


def outline_areas(parts: list[Part], volume: np.ndarray) -> tuple[float, ...]:
    """Return the area in px^2 of each ellipsoid's own outline from above, without roughness.

    `volume`, float32 (n, n, n), is the noise that a lumpy one is displaced by.
    """
    turns, semis = np.array([p.rotation for p in parts]), np.array([p.semi for p in parts])
    areas = shadow_area(turns, semis).tolist()
    for index, part in enumerate(parts):
        if part.fields[0, 0]:
            fields = part.fields.copy()
            fields[0, 1], fields[1] = VOXELS_PER_CORRELATION / fields[0, 1], 0.0
            areas[index] = shadow(part.rotation, part.semi, fields, volume)
    return tuple(areas)


def _scale_to_size(parts: list[Part], size: float, volume: np.ndarray) -> float:
    """Factor that gives the outline x_A = `size`."""
    if len(parts) == 1 and parts[0].kind == ELLIPSOID:
        return size / math.sqrt(4 * outline_areas(parts, volume)[0] / math.pi)
    sharp = parts[0].kind == POLYHEDRON and not parts[0].rounding
    if len(parts) == 1 and sharp and not parts[0].fields[0, 0]:
        turned = corners(parts[0].planes) @ parts[0].rotation
        return size / math.sqrt(4 * hull_area(turned[np.argsort(turned[:, 0])]) / math.pi)
    if all(part.kind == ELLIPSOID and not part.fields[0, 0] for part in parts):
        return size / math.sqrt(4 * _union_area(parts) / math.pi)
    extent = max(float(np.abs(part.centre).max()) + part.reach - 0.5 for part in parts)
    # rays through a displaced surface cost more: a coarser grid, still 0.3 % of x_A
    coarse = (15.0 if parts[0].fields[0, 0] else 26.0) / extent
    crop = draw([part.scaled(coarse) for part in parts], volume)
    return size * coarse / math.sqrt(4 * np.count_nonzero(crop.inside) / math.pi)
