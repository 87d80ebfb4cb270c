"""The part of an image that is analysed: drawn by a person, respected by everything that counts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from skimage.draw import polygon as filled_polygon

from particle_nb.core.errors import ImageError

_MOST_PARTS = 1000

_MOST_CORNERS = 20_000


@dataclass(frozen=True)
class RegionPart:
    """A polygon that is analysed, or one that is left out.

    Parameters
    ----------
    corners : sequence of (x, y)
        In image pixels, pixel centres at integers; three at least. A rectangle has four.
    include : bool
        Whether it is analysed; False for what is left out, such as a scale bar and its text.

    Raises
    ------
    ImageError
        If there are too few corners, or one is no place.

    Examples
    --------
    >>> RegionPart.box(0, 0, 9, 4).corners
    ((0.0, 0.0), (9.0, 0.0), (9.0, 4.0), (0.0, 4.0))
    """

    corners: tuple[tuple[float, float], ...]
    include: bool = True

    def __post_init__(self) -> None:
        try:
            found = np.asarray(self.corners, float)
        except (TypeError, ValueError):
            found = np.empty(0)
        if found.ndim != 2 or found.shape[1:] != (2,) or not 3 <= len(found) <= _MOST_CORNERS:
            raise ImageError(
                f"a part of a region has 3 to {_MOST_CORNERS} corners (x, y), "
                f"not {self.corners!r:.60}."
            )
        if not np.isfinite(found).all() or np.abs(found).max() > 1e7:
            raise ImageError("the corners of a region are finite places in image pixels.")
        if not isinstance(self.include, bool):
            raise ImageError(f"include is true or false, not {self.include!r:.60}.")
        object.__setattr__(self, "corners", tuple((x, y) for x, y in found.tolist()))

    @classmethod
    def box(cls, x0: float, y0: float, x1: float, y1: float, include: bool = True) -> RegionPart:
        """Make a rectangle from two opposite corners; pixels whose centres lie on it belong to it.

        Raises
        ------
        ImageError
            If a corner is no place.
        """
        return cls(((x0, y0), (x1, y0), (x1, y1), (x0, y1)), include)


@dataclass(frozen=True, eq=False)
class RegionOfInterest:
    """The part of an image that is analysed.

    Without a part that is included all of the image is; what is excluded is taken away from that.
    A pixel belongs to a polygon if its centre lies inside or on it.

    Parameters
    ----------
    shape : (H, W)
        Of the image in pixels.
    parts : sequence of RegionPart
        May overlap; their order does not matter.

    Raises
    ------
    ImageError
        If a part is none, or nothing is left to analyse.

    Examples
    --------
    >>> bar = RegionPart.box(0, 8, 9, 9, include=False)
    >>> region = RegionOfInterest((10, 10), (bar,))
    >>> region.area, bool(region.mask[9, 3]), region.share
    (80, False, 0.8)
    """

    shape: tuple[int, int]
    parts: tuple[RegionPart, ...] = ()

    def __post_init__(self) -> None:
        try:
            height, width = (int(n) for n in self.shape)
            parts = tuple(self.parts)
        except (TypeError, ValueError):
            raise ImageError(
                f"a region takes the shape (H, W) of its image and parts, not {self.shape!r:.60}."
            ) from None
        if not all(isinstance(part, RegionPart) for part in parts) or len(parts) > _MOST_PARTS:
            raise ImageError(f"the parts of a region are at most {_MOST_PARTS} RegionParts.")
        if height < 1 or width < 1:
            raise ImageError(f"the shape of an image is (H, W), both positive, not {self.shape!r}.")
        object.__setattr__(self, "shape", (height, width))
        object.__setattr__(self, "parts", parts)
        if not self.mask.any():
            raise ImageError("nothing of the image is left to analyse; exclude less of it.")

    @cached_property
    def mask(self) -> np.ndarray:
        """Which pixels are analysed, bool (H, W), read-only."""
        included = [part for part in self.parts if part.include]
        inside = np.full(self.shape, not included, bool)
        for part in (*included, *(part for part in self.parts if not part.include)):
            x, y = np.array(part.corners).T
            rows, cols = _filled(y, x, self.shape)
            inside[rows, cols] = part.include
        inside.flags.writeable = False
        return inside

    @property
    def area(self) -> int:
        """Number of pixels that are analysed."""
        return int(np.count_nonzero(self.mask))

    @property
    def share(self) -> float:
        """Analysed part of the image, 0 to 1."""
        return self.area / self.mask.size

    def holds(self, masks: Sequence[Any]) -> np.ndarray:
        """Tell which masks lie inside, bool (N,): at least half of their pixels do.

        Parameters
        ----------
        masks : MaskSet or sequence of Mask

        Examples
        --------
        >>> from particle_nb.core.masks import Mask
        >>> region = RegionOfInterest((10, 10), (RegionPart.box(0, 0, 4, 9),))
        >>> masks = [Mask((0, x), np.ones((4, 4), bool), (10, 10)) for x in (0, 3, 6)]
        >>> region.holds(masks).tolist()
        [True, True, False]
        """
        return held(self.mask, masks)

    def json(self) -> list[dict[str, Any]]:
        """Return the parts as JSON-ready values; `read_parts` reads them."""
        return [{"path": [list(c) for c in p.corners], "include": p.include} for p in self.parts]


def held(inside: np.ndarray, masks: Sequence[Any]) -> np.ndarray:
    """Tell of which masks at least half of the pixels lie on a bool array (H, W), bool (N,).

    Examples
    --------
    >>> held(np.ones((4, 4), bool), []).tolist()
    []
    """
    found = np.zeros(len(masks), bool)
    for place, mask in enumerate(masks):
        r0, c0, r1, c1 = mask.bbox
        both = np.count_nonzero(mask.crop & inside[r0:r1, c0:c1])
        found[place] = 2 * both >= mask.area
    return found


def _filled(rows: np.ndarray, cols: np.ndarray, shape: tuple[int, int]) -> Any:
    """The pixels whose centres lie inside a polygon or on its rim."""
    low, high = rows.min(), rows.max()
    left, right = cols.min(), cols.max()
    upright = len(rows) == 4 and set(rows) <= {low, high} and set(cols) <= {left, right}
    if not upright:
        return filled_polygon(rows, cols, shape)
    # skimage leaves out some pixels of the rim of a rectangle
    top, bottom = max(int(np.ceil(low)), 0), min(int(np.floor(high)) + 1, shape[0])
    first, last = max(int(np.ceil(left)), 0), min(int(np.floor(right)) + 1, shape[1])
    return slice(top, max(bottom, top)), slice(first, max(last, first))


def read_parts(parts: Any) -> tuple[RegionPart, ...]:
    """Return the parts of a region as a log or a person writes them.

    Parameters
    ----------
    parts : list of mapping
        Each with ``path``, corners (x, y), or ``box``, (x0, y0, x1, y1), and ``include`` (true
        when left out).

    Raises
    ------
    ImageError
        If one is something else.

    Examples
    --------
    >>> read_parts([{"box": [0, 0, 9, 4], "include": False}])[0].include
    False
    """
    if not isinstance(parts, (list, tuple)):
        raise ImageError(f"a region is a list of parts, not {parts!r:.60}.")
    found = []
    for part in parts:
        if not isinstance(part, Mapping) or set(part) - {"path", "box", "include"}:
            raise ImageError(
                f"a part of a region has 'path' or 'box', and 'include', not {part!r:.60}."
            )
        include = part.get("include", True)
        if "box" in part:
            try:
                x0, y0, x1, y1 = (float(v) for v in part["box"])
            except (TypeError, ValueError):
                raise ImageError(f"a box is (x0, y0, x1, y1), not {part['box']!r:.60}.") from None
            found.append(RegionPart.box(x0, y0, x1, y1, include))
        else:
            found.append(RegionPart(part.get("path"), include))  # type: ignore[arg-type]
    return tuple(found)


def region_mask(region: Any, shape: tuple[int, int]) -> np.ndarray | None:
    """Return a region as a bool array (H, W); None for all of the image.

    Parameters
    ----------
    region : RegionOfInterest, bool array (H, W) or None
    shape : (H, W)
        Of the image or the masks that it goes with.

    Raises
    ------
    ImageError
        If it is something else, of another image, or empty.

    Examples
    --------
    >>> region_mask(np.ones((2, 3), bool), (2, 3)).sum()
    np.int64(6)
    """
    if region is None:
        return None
    found = region.mask if isinstance(region, RegionOfInterest) else region
    if not isinstance(found, np.ndarray) or found.dtype != bool:
        raise ImageError(
            f"a region is a RegionOfInterest or a bool array (H, W), not {type(region).__name__}."
        )
    if found.shape != tuple(shape):
        raise ImageError(f"the region is of an image {found.shape}, not of {tuple(shape)}.")
    if not found.any():
        raise ImageError("the region is empty: nothing of the image is left to analyse.")
    return found
