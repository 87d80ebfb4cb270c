"""Live numbers of an annotation: count, sizes, histogram and coverage, updated by what changed."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from particle_nb.core.annotation.history import Particle, State
from particle_nb.core.annotation.thresholds import filterable
from particle_nb.core.image import Calibration, RegionOfInterest
from particle_nb.core.masks import Mask, MaskSet
from particle_nb.core.shape import edge_weights, measure
from particle_nb.core.shape.measuring import choose_unit
from particle_nb.core.sizes import SizeDistribution, size_distribution
from particle_nb.core.sizes.intervals import what_it_holds, what_it_lacks

_PERCENTILES = (10, 50, 90)

_MOST_BINS = 24
#: Draws of an interval: fewer than `SizeDistribution.interval` takes, because an edit waits for it.
_DRAWS = 200


@dataclass(eq=False)
class Tally:
    """What a person wants to see beside the image, kept up to date mask by mask.

    A mask is measured once; the cover map changes only where masks changed. Both make the cost of
    an edit independent of the number of particles.

    Parameters
    ----------
    shape : (H, W)
    calibration : Calibration or None
    region : RegionOfInterest or None
        What is analysed; coverage is that of this part.

    Examples
    --------
    >>> mask = Mask((2, 2), np.ones((8, 8), bool), (16, 16))
    >>> tally = Tally((16, 16), None)
    >>> facts = tally.facts(State((16, 16)).add(Particle(mask)))
    >>> facts["count"], facts["coverage"]
    (1, 0.25)
    """

    shape: tuple[int, int]
    calibration: Calibration | None = None
    region: RegionOfInterest | None = None
    _rows: dict[Mask, tuple[float, ...]] = field(default_factory=dict, repr=False)
    _columns: tuple[str, ...] = ()
    _shown: dict[int, Mask] = field(default_factory=dict, repr=False)
    _cover: np.ndarray | None = field(default=None, repr=False)
    _covered: int = 0

    @property
    def unit(self) -> str:
        """Unit of lengths in the table, or ``"px"``."""
        return choose_unit(self.calibration, None)[0]

    @property
    def size_column(self) -> str:
        """The column of the table that holds x_A."""
        return f"x_A_{self.unit}"

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of the numeric columns of `rows`."""
        if not self._columns:
            # one pixel is enough to learn what `measure` calls its columns
            probe = Mask((0, 0), np.ones((5, 5), bool), (5, 5))
            self._measure([probe])
            self._rows.pop(probe)
        return self._columns

    def rows(self, particles: Mapping[int, Particle]) -> dict[int, tuple[float, ...]]:
        """Return the measured values of particles, one tuple per particle in `columns` order."""
        missing = [p.mask for p in particles.values() if p.mask not in self._rows]
        if missing:
            self._measure(missing)
        return {n: self._rows[p.mask] for n, p in particles.items()}

    def _measure(self, masks: list[Mask]) -> None:
        chosen = MaskSet(tuple(masks))
        table = measure(chosen, self.calibration)
        if self.region is not None and chosen.shape == self.shape:
            # what lies outside has a row too: it may come back
            table["edge_weight"] = edge_weights(chosen.boxes, self.shape, self.region)
        numeric = table.select_dtypes("number").drop(columns="label", errors="ignore")
        if not self._columns:
            self._columns = tuple(str(column) for column in numeric.columns)
        values = numeric.reindex(columns=list(self._columns)).to_numpy(float)
        for mask, row in zip(masks, values.tolist(), strict=True):
            self._rows[mask] = tuple(row)

    def table(self, state: State) -> pd.DataFrame:
        """Return the measured particles that pass the filter, indexed by their numbers."""
        kept = {n: p for n, p in state.particles.items() if p.kept}
        rows = self.rows(kept)
        return pd.DataFrame.from_dict(rows, orient="index", columns=list(self.columns))

    def coverage(self, state: State) -> float:
        """Return the share of the image, or of its region, that kept particles cover.

        Overlaps count once.
        """
        if self._cover is None:
            self._cover = np.zeros(self.shape, np.uint16)
        kept = {n: p.mask for n, p in state.particles.items() if p.kept}
        for number, mask in list(self._shown.items()):
            if kept.get(number) is not mask:
                part = self._part(mask)
                part[mask.crop] -= 1
                self._covered -= int(np.count_nonzero(self._inside(mask) & (part == 0)))
                del self._shown[number]
        for number, mask in kept.items():
            if number not in self._shown:
                part = self._part(mask)
                self._covered += int(np.count_nonzero(self._inside(mask) & (part == 0)))
                part[mask.crop] += 1
                self._shown[number] = mask
        return self._covered / (self._cover.size if self.region is None else self.region.area)

    def _inside(self, mask: Mask) -> np.ndarray:
        """The pixels of a mask that are analysed, in its crop."""
        r0, c0, r1, c1 = mask.bbox
        return mask.crop if self.region is None else mask.crop & self.region.mask[r0:r1, c0:c1]

    def _part(self, mask: Mask) -> np.ndarray:
        assert self._cover is not None
        r0, c0, r1, c1 = mask.bbox
        return self._cover[r0:r1, c0:c1]

    def facts(self, state: State) -> dict[str, Any]:
        """Return count, hidden, coverage, percentiles and histogram as JSON-ready values.

        ``sizes`` holds for r = 0 (number) and r = 3 (volume) the percentiles 10, 50, 90 of x_A,
        their 95 % ``intervals``, why one is doubtful (``doubts``, empty texts else), and the share
        in each bin between ``edges`` (logarithmic), which adds up to 1. ``holds`` and ``lacks`` say
        what is in the intervals and what is not: it is one image.
        """
        table = self.table(state)
        sizes = table[self.size_column].to_numpy(float) if len(table) else np.empty(0)
        sizes = sizes[np.isfinite(sizes) & (sizes > 0)]
        edges = _edges(sizes)
        free = filterable(state)
        facts: dict[str, Any] = {
            "count": len(table),
            "hidden": len(state.particles) - len(table),
            "coverage": self.coverage(state),
            "unit": self.unit,
            "size_column": self.size_column,
            "edges": edges.tolist(),
            "sizes": {},
            "holds": what_it_holds(1),
            "lacks": what_it_lacks(1),
            "filterable": len(free),
            "largest": max((p.mask.area for p in free.values()), default=0),
        }
        for r in (0, 3):
            if not len(sizes):
                facts["sizes"][str(r)] = {
                    "percentiles": [None, None, None],
                    "intervals": [None, None, None],
                    "doubts": ["", "", ""],
                    "heights": [],
                }
                continue
            shares, _ = np.histogram(sizes, edges, weights=sizes**r)
            distribution = size_distribution(table, size="x_A", r=r)
            percentiles = distribution.percentile(list(_PERCENTILES))
            intervals, doubts = _live_intervals(distribution)
            facts["sizes"][str(r)] = {
                "percentiles": [float(x) if math.isfinite(x) else None for x in percentiles],
                "intervals": intervals,
                "doubts": doubts,
                "heights": (shares / shares.sum()).tolist(),
            }
        return facts


def _live_intervals(
    distribution: SizeDistribution,
) -> tuple[list[list[float] | None], list[str]]:
    """Intervals of the shown percentiles, and what speaks against each; drawn 200 times."""
    if distribution.n < 3:
        return [None] * len(_PERCENTILES), ["fewer than 3 particles"] * len(_PERCENTILES)
    found: list[list[float] | None] = []
    doubts = []
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        limits = distribution.interval(list(_PERCENTILES), resamples=_DRAWS)
    for p, (low, high) in zip(_PERCENTILES, limits.tolist(), strict=True):
        found.append([low, high])
        about = f"x_{p},{distribution.r} "
        doubts.append(" ".join(str(w.message) for w in said if str(w.message).startswith(about)))
    return found, doubts


def _edges(sizes: np.ndarray) -> np.ndarray:
    """Bin edges on a logarithmic scale, about sqrt(2 n) bins."""
    if not len(sizes):
        return np.empty(0)
    low, high = float(sizes.min()), float(sizes.max())
    if high <= low * 1.000001:
        low, high = low / 1.1, high * 1.1
    bins = int(np.clip(math.ceil(math.sqrt(2 * len(sizes))), 4, _MOST_BINS))
    edges = np.geomspace(low, high, bins + 1)
    # rounding must not push the extremes out of their bins
    edges[0], edges[-1] = min(edges[0], low), max(edges[-1], high)
    return edges
