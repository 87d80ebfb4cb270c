"""Numbers at every pixel of an image, kept as coarse as they are and sampled where needed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from particle_nb.core.errors import DataError
from particle_nb.core.phases._kernels import _sampled


@dataclass(frozen=True, eq=False)
class Plane:
    """Features on a grid of cells that are `stride` pixels wide.

    Parameters
    ----------
    values : float32 (h, w, C)
    names : tuple of str
        One a channel.
    stride : float
        Cell i has its centre at pixel (i + 0.5) * stride - 0.5.
    slope : float32 (h, w, C) or None
        Where given a feature is ``slope * guide + values``, both sampled: it then has the edges of
        the guide (K. He, J. Sun, 2015, arXiv:1505.00996).
    family : str
        What features belong together: each family gets a forest of its own, so that many features
        of one kind do not drown a few of another.

    Raises
    ------
    DataError
        If arrays and names do not fit.
    """

    values: np.ndarray
    names: tuple[str, ...]
    stride: float = 1.0
    slope: np.ndarray | None = None
    family: str = "own"

    def __post_init__(self) -> None:
        values = np.ascontiguousarray(self.values, np.float32)
        if values.ndim != 3 or values.shape[2] != len(self.names) or not self.stride > 0:
            raise DataError(
                f"a plane holds (h, w, {len(self.names)}) numbers for its names, not "
                f"{values.shape}."
            )
        if not np.isfinite(values).all():
            raise DataError("features must be finite; there are NaN or infinite ones.")
        object.__setattr__(self, "values", values)
        if self.slope is not None:
            slope = np.ascontiguousarray(self.slope, np.float32)
            if slope.shape != values.shape:
                raise DataError(f"a plane's slope is {values.shape}, not {slope.shape}.")
            object.__setattr__(self, "slope", slope)

    @property
    def nbytes(self) -> int:
        """Size in bytes."""
        return self.values.nbytes + (0 if self.slope is None else self.slope.nbytes)


@dataclass(frozen=True, eq=False)
class DenseFeatures:
    """D numbers at every pixel of an image.

    Parameters
    ----------
    planes : tuple of Plane
    shape : (H, W)
        Of the image.
    guide : float32 (H, W) or None
        What planes with a slope are steered by.
    origin : tuple of str
        What made them (filters, models with the digest of their weights), in order.
    licence : str
        Of the weights, where there are any.

    Examples
    --------
    >>> ramp = np.arange(12, dtype=np.float32).reshape(3, 4, 1)
    >>> dense = DenseFeatures((Plane(ramp, ("ramp",)),), (3, 4))
    >>> dense.at(np.array([1]), np.array([2])).tolist(), dense.names
    ([[6.0]], ('ramp',))
    """

    planes: tuple[Plane, ...]
    shape: tuple[int, int]
    guide: np.ndarray | None = None
    origin: tuple[str, ...] = ()
    licence: str = ""
    names: tuple[str, ...] = field(init=False)
    families: tuple[str, ...] = field(init=False)

    def __post_init__(self) -> None:
        names = tuple(name for plane in self.planes for name in plane.names)
        if not names:
            raise DataError("there are no features; name at least one plane.")
        if len(set(names)) != len(names):
            raise DataError("two features bear the same name.")
        if self.guide is None and any(plane.slope is not None for plane in self.planes):
            raise DataError("planes with a slope need the guide.")
        if self.guide is not None and self.guide.shape != self.shape:
            raise DataError(f"the guide is {self.guide.shape}, the image {self.shape}.")
        families = tuple(plane.family for plane in self.planes for _ in plane.names)
        object.__setattr__(self, "names", names)
        object.__setattr__(self, "families", families)

    @property
    def nbytes(self) -> int:
        """Size of all planes and the guide in bytes."""
        return sum(p.nbytes for p in self.planes) + (0 if self.guide is None else self.guide.nbytes)

    def at(self, rows: np.ndarray, cols: np.ndarray) -> np.ndarray:
        """Return the features of N pixels, float32 (N, D).

        Parameters
        ----------
        rows, cols : int arrays (N,)
        """
        out = np.empty((len(rows), len(self.names)), np.float32)
        rows, cols = np.asarray(rows), np.asarray(cols)
        start = 0
        for plane in self.planes:
            stop = start + len(plane.names)
            if plane.stride == 1 and plane.values.shape[:2] == self.shape and plane.slope is None:
                out[:, start:stop] = plane.values[rows, cols]
            else:
                out[:, start:stop] = self._sampled(plane, rows, cols)
            start = stop
        return out

    def _sampled(self, plane: Plane, rows: np.ndarray, cols: np.ndarray) -> np.ndarray:
        at_rows = (rows + 0.5) / plane.stride - 0.5
        at_cols = (cols + 0.5) / plane.stride - 0.5
        found = np.empty((len(rows), len(plane.names)), np.float32)
        _sampled(plane.values, at_rows, at_cols, found)
        if plane.slope is not None and self.guide is not None:
            steep = np.empty_like(found)
            _sampled(plane.slope, at_rows, at_cols, steep)
            found += steep * self.guide[rows, cols][:, None]
        return found

    def maps(self, names: Sequence[str] | None = None) -> np.ndarray:
        """Return features as pictures, float32 (H, W, D); all of them or the named ones.

        Raises
        ------
        DataError
            If a name is none of these.
        """
        chosen = list(self.names if names is None else names)
        unknown = set(chosen) - set(self.names)
        if unknown:
            raise DataError(f"no feature is called {sorted(unknown)[0]!r}; see .names.")
        places = [self.names.index(name) for name in chosen]
        height, width = self.shape
        out = np.empty((height, width, len(places)), np.float32)
        band = max(1, 65536 // width)
        for top in range(0, height, band):
            rows, cols = np.mgrid[top : min(top + band, height), :width]
            part = self.at(rows.ravel(), cols.ravel())[:, places]
            out[top : top + band] = part.reshape(*rows.shape, len(places))
        return out


def joined(parts: Sequence[DenseFeatures]) -> DenseFeatures:
    """Put the features of one image side by side.

    Raises
    ------
    DataError
        If they are of different frames or share names.
    """
    if not parts:
        raise DataError("there are no features; name at least one kind.")
    shapes = {part.shape for part in parts}
    if len(shapes) > 1:
        raise DataError(f"these features are of frames of {sorted(shapes)}; use one image.")
    guides = [part.guide for part in parts if part.guide is not None]
    licences = dict.fromkeys(part.licence for part in parts if part.licence)
    return DenseFeatures(
        tuple(plane for part in parts for plane in part.planes),
        parts[0].shape,
        guides[0] if guides else None,
        tuple(text for part in parts for text in part.origin),
        ", ".join(licences),
    )
