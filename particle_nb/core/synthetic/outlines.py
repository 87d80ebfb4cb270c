"""Flat outlines whose area, perimeter and diameters are known from geometry."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy import special

from particle_nb.core.errors import DataError, check_number
from particle_nb.core.masks import Mask

#: What `KnownOutline` can draw.
OUTLINES = ("disc", "ellipse 2:1", "square")


@dataclass(frozen=True)
class KnownOutline:
    """A disc, an ellipse of axes 2 : 1 or a square, and what is true of its size and shape.

    Parameters
    ----------
    kind : str
        One of `OUTLINES`.
    diameter : float
        Diameter of the circle of equal area, px; 1 to 4000.

    Raises
    ------
    DataError
        If the kind is unknown or the diameter out of range.

    Examples
    --------
    >>> KnownOutline("square", 20.0).truth()["aspect_ratio"]
    0.7071067811865475
    """

    kind: str
    diameter: float

    def __post_init__(self) -> None:
        if self.kind not in OUTLINES:
            raise DataError(f"kind is one of {', '.join(OUTLINES)}, not {self.kind!r}.")
        check_number("diameter", self.diameter, 1, 4000)

    @property
    def area(self) -> float:
        """Area, px^2."""
        return math.pi * self.diameter**2 / 4

    @property
    def axes(self) -> tuple[float, float]:
        """Greatest and least extent along the outline's own axes, px; of a square its edges."""
        if self.kind == "square":
            return math.sqrt(self.area), math.sqrt(self.area)
        if self.kind == "disc":
            return self.diameter, self.diameter
        return 2 * (self.diameter / math.sqrt(2)), 2 * (self.diameter / math.sqrt(8))

    def truth(self) -> dict[str, float]:
        """Return the true values by the names that `measure` gives them, px, px^2 or 1.

        The perimeter of the ellipse is 4 a E(m) with the complete elliptic integral of the second
        kind and m = 1 - (b / a)^2.

        Examples
        --------
        >>> round(KnownOutline("disc", 10.0).truth()["perimeter"], 4)
        31.4159
        """
        longest, shortest = self.axes
        if self.kind == "square":
            perimeter, longest = 4 * shortest, shortest * math.sqrt(2)
        else:
            perimeter = 2 * longest * special.ellipe(1 - (shortest / longest) ** 2)
        return {
            "perimeter": float(perimeter),
            "x_Fmax": longest,
            "x_Fmin": shortest,
            "area": self.area,
            "form_factor": 4 * math.pi * self.area / float(perimeter) ** 2,
            "aspect_ratio": shortest / longest,
            "convexity": 1.0,
        }

    def contains(self, u: np.ndarray, v: np.ndarray) -> np.ndarray:
        """Return where points lie inside, bool as `u` and `v`.

        Parameters
        ----------
        u, v : float arrays of one shape
            Distances from the centre along the outline's own axes, px.
        """
        a, b = (edge / 2 for edge in self.axes)
        if self.kind == "square":
            return (abs(u) < a) & (abs(v) < a)
        return (u / a) ** 2 + (v / b) ** 2 < 1

    def draw(self, rng: np.random.Generator) -> Mask:
        """Return its mask at a random place within a pixel and a random angle.

        A pixel belongs to the mask where its centre lies inside.

        Examples
        --------
        >>> mask = KnownOutline("disc", 40.0).draw(np.random.default_rng(0))
        >>> abs(mask.area / KnownOutline("disc", 40.0).area - 1) < 0.02
        True
        """
        reach = self.truth()["x_Fmax"] / 2
        half = math.ceil(reach) + 3
        y, x = np.mgrid[-half : half + 1, -half : half + 1].astype(float)
        x, y = x - rng.random(), y - rng.random()
        turn = 2 * math.pi * rng.random()
        along = x * math.cos(turn) + y * math.sin(turn)
        across = y * math.cos(turn) - x * math.sin(turn)
        return Mask.from_full(self.contains(along, across))
