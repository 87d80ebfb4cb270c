"""Sections that a volume is rebuilt from, and the statistics that they give."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from scipy import fft

from particle_nb.core.errors import CalibrationError, DataError
from particle_nb.core.image import Calibration
from particle_nb.core.volume import Volume, as_volume

#: A section has at least so many pixels a side; fewer hold no statistics.
_LEAST = 16

_NORMALS = {"z": 0, "y": 1, "x": 2}

#: Numbers of different patterns stay below this.
_MOST_PATTERNS = 2**18

_SQUARE = tuple((i, j) for i in (-1, 0, 1) for j in (-1, 0, 1))
_PLUS = ((0, 0), (-1, 0), (1, 0), (0, -1), (0, 1))
_STENCILS = (_SQUARE, _PLUS, ((0, 0), (0, 1), (1, 0), (1, 1)), ((0, 0), (0, 1), (1, 0)))


@dataclass(frozen=True, eq=False)
class Sections:
    """Sections of one material by the array axis that stands upright on each; see `sections_of`.

    Parameters
    ----------
    planes : dict {axis: uint8 (H, W)}
        Places of the phases. Of an isotropic material the same picture stands for all three.
    isotropic : bool
    phases, names : tuple
        Labels and names.
    calibration : Calibration or None
    digests : tuple of str
    aim : array (K,) or None
        Fractions wanted of the volume, where they are not those of the sections: statistics are
        brought to them.
    """

    planes: dict[int, np.ndarray]
    isotropic: bool
    phases: tuple[int, ...]
    names: tuple[str, ...]
    calibration: Calibration | None
    digests: tuple[str, ...]
    aim: np.ndarray | None = None

    @property
    def shortest(self) -> int:
        """Shortest edge of all sections, pixels."""
        return min(min(plane.shape) for plane in self.planes.values())

    @property
    def fractions(self) -> np.ndarray:
        """Share of each phase that is wanted, (K,)."""
        return self.seen if self.aim is None else self.aim

    @cached_property
    def seen(self) -> np.ndarray:
        """Share of each phase (K,), mean over the sections."""
        count = len(self.phases)
        shares = [np.bincount(p.ravel(), minlength=count) / p.size for p in self.planes.values()]
        return np.mean(shares, axis=0)

    @cached_property
    def _correlations(self) -> dict[int, np.ndarray]:
        found: dict[int, np.ndarray] = {}
        for axis, plane in self.planes.items():
            twin = next((a for a in found if self.planes[a] is plane), None)
            found[axis] = found[twin] if twin is not None else _correlated(plane, len(self.phases))
        return found

    def pairs(self, step: tuple[int, int, int]) -> np.ndarray:
        """Chance that both ends of a step (z, y, x) in voxels lie in the phase, (K,)."""
        seen = []
        for axis, table in self._correlations.items():
            if step[axis] != 0:
                continue
            dy, dx = (step[a] for a in range(3) if a != axis)
            lags = {(dy, dx)}
            if self.isotropic:
                lags = {(dy, dx), (dx, dy), (dy, -dx), (dx, -dy)}
            seen += [table[:, y, x] for y, x in sorted(lags)]
        found = np.mean(seen, axis=0)
        if self.aim is None:
            return found
        # the same correlation of the fluctuations, around other fractions
        spread = np.maximum(self.seen * (1 - self.seen), 1e-9)
        return self.aim**2 + (found - self.seen**2) / spread * self.aim * (1 - self.aim)

    def covers(self, step: tuple[int, int, int]) -> bool:
        """Whether a section holds pairs one step (z, y, x) apart."""
        return any(step[axis] == 0 for axis in self.planes)

    def crosses(self, step: tuple[int, int, int]) -> bool:
        """Whether segments along a direction (z, y, x) are known."""
        return self.covers(step) or (self.isotropic and set(map(abs, step)) == {1})

    def segments(self, step: tuple[int, int, int], lengths: np.ndarray) -> np.ndarray:
        """Chance that all of so many steps (z, y, x) in voxels stay in the phase, (L, K).

        Voxels across a cube's diagonal lie in no section: between those across a square's diagonal
        and every second one along an axis, whose spacings are the next smaller and larger.
        """
        if not self.covers(step):
            nearer, farther = self.segments((0, 1, 1), lengths), self.segments((0, 0, 2), lengths)
            part = (3**0.5 - 2**0.5) / (2 - 2**0.5)
            return np.asarray((1 - part) * nearer + part * farther)
        seen = []
        for normal, plane in self.planes.items():
            if step[normal] != 0:
                continue
            a, b = (step[axis] for axis in range(3) if axis != normal)
            turned = {(a, b), (b, -a)} if self.isotropic else {(a, b)}
            seen += [_segments(plane, one, lengths, len(self.phases)) for one in sorted(turned)]
            if self.isotropic:
                break
        return np.mean(seen, axis=0) * (self.fractions / np.maximum(self.seen, 1e-9))

    @cached_property
    def stencil(self) -> tuple[tuple[int, int], ...]:
        """Cells of a pattern: as many as the number of phases allows."""
        count = max(len(self.phases), 2)
        return next(s for s in _STENCILS if count ** len(s) <= _MOST_PATTERNS)

    def patterns(self, axis: int, distance: int) -> np.ndarray:
        """Share of every pattern (codes,) of cells `distance` pixels apart, across an axis."""
        plane = self.planes[axis]
        views = [plane]
        if self.isotropic:
            views = [np.rot90(one, k) for one in (plane, plane[:, ::-1]) for k in range(4)]
        count = len(self.phases)
        powers = count ** np.arange(len(self.stencil))
        found = np.zeros(count ** len(self.stencil))
        for view in views:
            h, w = view.shape
            code = np.zeros((h - 2 * distance, w - 2 * distance), np.int64)
            for power, (i, j) in zip(powers, self.stencil, strict=True):
                y, x = distance * (1 + i), distance * (1 + j)
                code += power * view[y : y + code.shape[0], x : x + code.shape[1]]
            found += np.bincount(code.ravel(), minlength=found.size)
        # every pattern counts as its middle does
        middle = np.arange(found.size) // powers[self.stencil.index((0, 0))] % count
        found *= (self.fractions / np.maximum(self.seen, 1e-9))[middle]
        return found / found.sum()


def sections_of(phases: Any) -> Sections:
    """Return what a volume is rebuilt from, checked.

    Parameters
    ----------
    phases : phase map, section, integer array (H, W), or dict {"z": ..., "y": ..., "x": ...}
        One section stands for all directions. In a dict the key is the axis across which it was
        cut: ``"z"`` holds (y, x), ``"y"`` holds (z, x), ``"x"`` holds (z, y).

    Raises
    ------
    DataError
        If there is no section, one is no section or smaller than 16 pixels, they do not agree in
        names, or fewer than two directions are given in a dict.
    CalibrationError
        If their pixel sizes differ.

    Examples
    --------
    >>> sections_of(np.eye(32, dtype=int)).isotropic
    True
    """
    isotropic = not isinstance(phases, Mapping)
    given = dict.fromkeys("zyx", phases) if isotropic else dict(phases)
    unknown = [key for key in given if key not in _NORMALS]
    if unknown or len(given) < 2:
        raise DataError(
            "sections in several directions are a dict of two or three of 'z', 'y' and 'x', the "
            f"axis each was cut across, not {list(given)}; of an isotropic material give one "
            "section without a dict."
        )
    made: dict[int, Volume] = {}
    for key, one in given.items():
        first = next(iter(made.values()), None)
        made[_NORMALS[key]] = first if isotropic and first is not None else _section(one, key)
    first = next(iter(made.values()))
    labels = sorted({label for one in made.values() for label in one.phases})
    names: dict[int, str] = {}
    for one in made.values():
        for label in one.phases:
            if names.setdefault(label, one.name(label)) != one.name(label):
                raise DataError(
                    f"phase {label} is called {names[label]!r} and {one.name(label)!r}; "
                    "the sections are not of one material."
                )
        if one.unit != first.unit or not np.isclose(one.voxel, first.voxel, rtol=1e-3):
            raise CalibrationError(
                f"the sections have pixels of {first.voxel:g} {first.unit} and {one.voxel:g} "
                f"{one.unit}; bring them to one size first."
            )
    places: dict[int, np.ndarray] = {}
    planes: dict[int, np.ndarray] = {}
    for axis, one in made.items():
        if id(one) not in places:
            places[id(one)] = np.searchsorted(labels, one.labels).astype(np.uint8)
        planes[axis] = places[id(one)]
    digests = tuple(dict.fromkeys(one.digest for one in made.values()))
    named = tuple(names[label] for label in labels)
    return Sections(planes, isotropic, tuple(labels), named, first.calibration, digests)


def _section(phases: Any, key: str) -> Volume:
    made = as_volume(phases)
    if made.labels.ndim != 2:
        raise DataError(
            f"a section is (H, W), but that for {key} is {made.shape}; take a slice of the volume."
        )
    if min(made.shape) < _LEAST:
        raise DataError(
            f"a section has at least {_LEAST} pixels a side, but that for {key} is {made.shape}."
        )
    return made


def _correlated(plane: np.ndarray, count: int) -> np.ndarray:
    """Two-point probabilities (K, lags, lags) up to half the edges; negative lags from the end."""
    h, w = plane.shape
    sizes = [fft.next_fast_len(2 * n) for n in (h, w)]
    pairs = fft.irfft2(np.abs(fft.rfft2(np.ones(plane.shape), sizes)) ** 2, sizes)
    found = []
    for place in range(count):
        power = np.abs(fft.rfft2((plane == place).astype(float), sizes)) ** 2
        found.append(fft.irfft2(power, sizes) / np.maximum(pairs, 1))
    return np.clip(found, 0, 1)


def _segments(
    plane: np.ndarray, step: tuple[int, int], lengths: np.ndarray, count: int
) -> np.ndarray:
    """Share of the segments of `lengths` steps (rows, columns) inside a phase, (L, K)."""
    found = np.zeros((len(lengths), count))
    a, b = step if step > (0, 0) else (-step[0], -step[1])
    plane, b = (plane[:, ::-1], -b) if b < 0 else (plane, b)
    h, w = plane.shape
    # how many steps every pixel is from the end of its run
    left = np.zeros((h + a, w + b), np.int32)
    for y in range(h - 1, -1, -1) if a else ():
        same = np.zeros(w, bool)
        if y + a < h:
            same[: w - b] = plane[y, : w - b] == plane[y + a, b:]
        left[y, :w] = np.where(same, left[y + a, b:] + 1, 0)
    for x in range(w - b - 1, -1, -1) if not a else ():
        same = plane[:, x] == plane[:, x + b]
        left[:h, x] = np.where(same, left[:h, x + b] + 1, 0)
    for i, n in enumerate(lengths):
        room = (h - a * n) * (w - b * n)
        if room > 0 and min(h - a * n, w - b * n) > 0:
            hits = np.bincount(plane[left[:h, :w] >= n], minlength=count)
            found[i] = hits / room
    return found
