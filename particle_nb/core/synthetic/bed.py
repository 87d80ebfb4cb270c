"""Packing: particles dropped onto a substrate one after the other, none inside another."""

from __future__ import annotations

import math

import numpy as np

from particle_nb.core.synthetic._kernels import (
    _height_at_rest,
    _is_free,
    _lay_down,
    _roll_downhill,
    _slide_towards,
)
from particle_nb.core.synthetic.solids import Raster


class Bed:
    """The scene while it is being filled: heights in pixels, labels from 1, parts from 1.

    Parameters
    ----------
    shape : (H, W)
    """

    def __init__(self, shape: tuple[int, int]) -> None:
        self.ground = np.zeros(shape, np.float32)
        self.labels = np.zeros(shape, np.int32)
        self.parts = np.zeros(shape, np.int32)
        self.relief = np.zeros(shape, np.float32)
        self.centres: list[tuple[float, float]] = []
        self.lattice: list[tuple[float, float]] = []
        self.count = 0
        self.part_count = 0

    def lay(self, crop: Raster, row: int, col: int, height: float, parts: int = 1) -> None:
        """Add a particle of `parts` parts whose crop begins at (row, col), at rest at a height."""
        self.count += 1
        _lay_down(
            self.ground,
            self.labels,
            self.parts,
            self.relief,
            crop.top,
            crop.bottom,
            crop.relief,
            crop.parts,
            row,
            col,
            np.float32(height),
            self.count,
            self.part_count + 1,
        )
        self.part_count += parts  # those that are not seen as well
        h, w = crop.top.shape
        self.centres.append((row + (h - 1) / 2, col + (w - 1) / 2))

    def place(
        self, crop: Raster, packing: str, rng: np.random.Generator, inside: bool, gap: int
    ) -> tuple[int, int, float] | None:
        """Find where a particle comes to lie: (row, col, height), or None if there is no room."""
        rows, cols = self.ground.shape
        h, w = crop.top.shape
        if inside:
            if h + 2 > rows or w + 2 > cols:
                return None
            low, high = (1, 1), (rows - h - 1, cols - w - 1)
        else:  # the centre may lie a third of the particle outside
            low, high = (-h * 2 // 3, -w * 2 // 3), (rows - h // 3 - 1, cols - w // 3 - 1)
        draws = rng.random((48, 2))
        room = np.array([high[0] - low[0] + 1, high[1] - low[1] + 1])
        starts = (np.array(low) + (draws * room).astype(np.int64)).tolist()
        if packing == "sparse":
            for row, col in starts:
                if _is_free(self.ground, crop.inside, row, col, gap):
                    return row, col, 0.0
            return None
        if packing == "ordered":
            return self._on_lattice(crop, 0.02 * float(crop.top.max()), low, high)
        if packing in ("monolayer", "clusters"):
            touch = 0.02 * float(crop.top.max())
            for (row, col), (u, v) in zip(starts[:24], draws[24:], strict=True):
                if (
                    not self.centres
                    or _height_at_rest(self.ground, crop.bottom, row, col, touch) > touch
                ):
                    if not self.centres:
                        return row, col, 0.0
                    continue
                if packing == "clusters":
                    target = self.centres[int(u * u * len(self.centres))]
                    goal = int(target[0] - h / 2), int(target[1] - w / 2)
                else:  # drift together in some direction
                    goal = row + int((u - 0.5) * 4 * h), col + int((v - 0.5) * 4 * w)
                goal = (min(max(goal[0], low[0]), high[0]), min(max(goal[1], low[1]), high[1]))
                row, col, ok = _slide_towards(self.ground, crop.bottom, row, col, *goal, touch)
                if ok:
                    return row, col, _height_at_rest(self.ground, crop.bottom, row, col, 1e30)
            return None
        if packing == "overlap":
            row, col = starts[0]
            return row, col, _height_at_rest(self.ground, crop.bottom, row, col, 1e30)
        best = None
        limit = 1e30
        for row, col in starts[:6]:
            height = _height_at_rest(self.ground, crop.bottom, row, col, limit)
            if height < limit:
                best, limit = (row, col), height
        assert best is not None
        stride = max(1, min(h, w) // 5)
        row, col, height = _roll_downhill(self.ground, crop.bottom, *best, stride, 14, low, high)
        return row, col, height

    def rule(self, pitch: float, rng: np.random.Generator) -> None:
        """Lay out a hexagonal lattice of places, in random order, for ordered packing."""
        rows, cols = self.ground.shape
        angle = float(rng.random()) * math.pi / 3
        cos, sin = math.cos(angle), math.sin(angle)
        steps = math.ceil(math.hypot(rows, cols) / pitch) + 2
        u, v = np.meshgrid(np.arange(-steps, steps + 1), np.arange(-steps, steps + 1))
        x, y = pitch * (u + 0.5 * v).ravel(), pitch * math.sqrt(0.75) * v.ravel()
        places = np.stack([y * cos + x * sin + rows / 2, x * cos - y * sin + cols / 2], axis=1)
        seen = ((places > -pitch / 2) & (places < np.array([rows, cols]) + pitch / 2)).all(axis=1)
        places = places[seen]
        # whole domains rather than scattered single places
        seed = places[int(rng.integers(len(places)))]
        order = np.argsort(((places - seed) ** 2).sum(axis=1), kind="stable")
        self.lattice = [(float(r), float(c)) for r, c in places[order]]

    def _on_lattice(
        self, crop: Raster, touch: float, low: tuple[int, int], high: tuple[int, int]
    ) -> tuple[int, int, float] | None:
        h, w = crop.top.shape
        while self.lattice:
            place = self.lattice.pop(0)
            row, col = round(place[0] - (h - 1) / 2), round(place[1] - (w - 1) / 2)
            if low[0] <= row <= high[0] and low[1] <= col <= high[1]:
                height = _height_at_rest(self.ground, crop.bottom, row, col, 1e30)
                if height <= touch:
                    return row, col, height
        return None
