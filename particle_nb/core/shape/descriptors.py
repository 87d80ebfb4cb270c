"""What is computed of a particle: `Region`, `Descriptor` and the table `DESCRIPTORS`."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np

from particle_nb.core.errors import DataError
from particle_nb.core.masks import Mask
from particle_nb.core.shape.contour import ESTIMATOR, QUANTITIES, measure_particles, outline

_FIELDS = ("area", "perimeter", "hull_perimeter", "hull_area", "feret_min", "feret_max")

_PLACES = [QUANTITIES.index(name) for name in _FIELDS]


@dataclass(frozen=True, eq=False)
class Region:
    """What a descriptor is given: the measured quantities of one particle, in pixels.

    The built-in descriptors are plain arithmetic and are called once for all particles, with
    arrays (N,) in place of the numbers; a descriptor of your own is called particle by particle.

    Parameters
    ----------
    area : float
        Pixel count.
    perimeter : float
        Length of the outer sub-pixel contour of the largest part.
    hull_perimeter, hull_area : float
        Of the convex hull of that contour.
    feret_min, feret_max : float
        Least and greatest distance of parallel tangents to it.
    mask : Mask or None
        The particle itself; None where the numbers are arrays.
    own_area : float
        The area that ratios are made with: of the part whose contour it is, and of the contour
        where the pixel count contradicts it (`contour.measure_particles`). None is `area`.

    Examples
    --------
    >>> Region.of(Mask((0, 0), np.ones((30, 30), bool), (40, 40))).area
    900.0
    """

    area: Any
    perimeter: Any
    hull_perimeter: Any
    hull_area: Any
    feret_min: Any
    feret_max: Any
    mask: Mask | None = None
    own_area: Any = None

    def __post_init__(self) -> None:
        if self.own_area is None:
            object.__setattr__(self, "own_area", self.area)

    @classmethod
    def of(cls, mask: Mask) -> Region:
        """Measure one mask."""
        quantities, own, _ = measure_particles([mask.crop])
        return cls.rows(quantities, own, [mask])[0]

    @classmethod
    def rows(cls, quantities: np.ndarray, own: np.ndarray, masks: Iterable[Mask]) -> list[Region]:
        """Make one Region for each row of what `measure_particles` returns, float (N, 11) in px."""
        chosen = [dict(zip(_FIELDS, row, strict=True)) for row in quantities[:, _PLACES].tolist()]
        return [
            cls(**row, mask=mask, own_area=area)
            for row, mask, area in zip(chosen, masks, own.tolist(), strict=True)
        ]

    @classmethod
    def columns(cls, quantities: np.ndarray, own: np.ndarray) -> Region:
        """Make one Region of arrays (N,) from what `measure_particles` returns."""
        area, perimeter, hull_perimeter, hull_area, low, high = quantities[:, _PLACES].T
        return cls(area, perimeter, hull_perimeter, hull_area, low, high, None, own)

    @property
    def contour(self) -> np.ndarray:
        """The sub-pixel contour as (x, y) in image pixels, float64 (M, 2), not closed."""
        if self.mask is None:
            raise DataError("this Region stands for many particles and has no single contour.")
        row, col = self.mask.origin
        return outline(self.mask.crop) + np.array([col, row], float)


@dataclass(frozen=True)
class Descriptor:
    """One line of `DESCRIPTORS`: a function of a `Region`, and what the number means.

    Tables, figures, documentation and reports read all they write about it here.

    Parameters
    ----------
    function : callable Region -> float
        In pixels; NaN where it cannot be told.
    symbol : str
        As a formula in plain text, ``"4 pi A/P^2"``; `html` writes it for an axis.
    dimension : int
        0 for a ratio, 1 for a length, 2 for an area; decides the scale and the column's ending.
    source : str
        Clause, paper or DOI of the definition.
    columnar : bool
        True where the function also works on arrays and ignores ``region.mask``.
    words : str
        What it is called on an axis; empty takes the name in `DESCRIPTORS`.
    meaning : str
        What a reader must know of it, a few words.
    estimator : str
        What of the mask it is computed from.
    """

    function: Callable[[Region], Any]
    symbol: str
    dimension: int = 0
    source: str = ""
    columnar: bool = False
    words: str = ""
    meaning: str = ""
    estimator: str = "contour"

    def __post_init__(self) -> None:
        if not callable(self.function):
            raise DataError(
                f"a descriptor needs a function Region -> float, not {self.function!r}."
            )
        if self.dimension not in (0, 1, 2):
            raise DataError(
                f"dimension is 0 (ratio), 1 (length) or 2 (area), not {self.dimension!r}."
            )

    @property
    def html(self) -> str:
        """The symbol as HTML with subscripts, superscripts and Greek letters.

        Examples
        --------
        >>> DESCRIPTORS["roundness"].html
        '4A/(πx<sub>Fmax</sub>²)'
        """
        text = re.sub(r" ?\bpi ?", "π", self.symbol.replace("sqrt", "√")).replace("^2", "²")
        return re.sub(r"([A-Za-z])_([A-Za-z]+)", r"\1<sub>\2</sub>", text.replace(" - ", " − "))


def _circularity(r: Region) -> Any:
    return np.sqrt(4 * math.pi * r.own_area) / r.perimeter


def _convexity(r: Region) -> Any:
    # a contour that is its own hull: two sums of the same sides, apart in the last digit
    return np.minimum(r.hull_perimeter / r.perimeter, 1.0)


def _roundness(r: Region) -> Any:
    return 4 * r.own_area / (math.pi * r.feret_max**2)


_ISO = "ISO 9276-6:2008"

_PAPER = "main paper, table 3"

_BOTH = "pixel count and contour"

#: The built-in descriptors by name. A new one is one entry here: `measure`, figures, documentation
#: and reports take all they need from it.
DESCRIPTORS: Mapping[str, Descriptor] = MappingProxyType(
    {
        "area": Descriptor(
            lambda r: r.area, "A", 2, "pixel count", True, "area", "projected area, holes left out",
            "pixel count",
        ),
        "perimeter": Descriptor(
            lambda r: r.perimeter, "P", 1, ESTIMATOR, True, "perimeter",
            "length of the outline", "contour length",
        ),
        "x_A": Descriptor(
            lambda r: np.sqrt(4 * r.area / math.pi), "x_A", 1, _ISO, True,
            "equivalent circle diameter", "diameter of the circle of equal area; also EQPC, ECD",
            "from the pixel count",
        ),
        "x_Fmin": Descriptor(
            lambda r: r.feret_min, "x_Fmin", 1, _ISO, True, "minimum Feret diameter",
            "least Feret diameter; also breadth",
        ),
        "x_Fmax": Descriptor(
            lambda r: r.feret_max, "x_Fmax", 1, _ISO, True, "maximum Feret diameter",
            "greatest Feret diameter; also length",
        ),
        "aspect_ratio": Descriptor(
            lambda r: r.feret_min / r.feret_max, "x_Fmin/x_Fmax", 0, _ISO, True, "aspect ratio",
            "1 for a disc, small for a rod",
        ),
        "elongation": Descriptor(
            lambda r: 1 - r.feret_min / r.feret_max, "1 - x_Fmin/x_Fmax", 0, _PAPER, True,
            "elongation", "0 for a disc; not the elongation of ISO 9276-6",
        ),
        "circularity": Descriptor(
            _circularity, "sqrt(4 pi A)/P", 0, _ISO, True, "circularity",
            "1 for a disc; QICPIC calls it sphericity", _BOTH,
        ),
        "form_factor": Descriptor(
            lambda r: _circularity(r) ** 2, "4 pi A/P^2", 0, "ISO 9276-6:2008, squared", True,
            "form factor", "circularity squared; the paper's “circularity”", _BOTH,
        ),
        "roundness": Descriptor(
            _roundness, "4A/(pi x_Fmax^2)", 0, _ISO, True, "roundness",
            "1 for a disc; ISO's compactness squared", _BOTH,
        ),
        "convexity": Descriptor(
            _convexity, "P_convex/P", 0, _PAPER, True, "convexity",
            "1 where nothing is indented",
        ),
        "solidity": Descriptor(
            lambda r: r.own_area / r.hull_area, "A/A_convex", 0, _ISO, True, "solidity",
            "1 where nothing is indented, by area", _BOTH,
        ),
    }
)  # fmt: skip

#: The main paper's seven names (table 3) -> the descriptor with that formula.
PAPER_NAMES: Mapping[str, str] = MappingProxyType(
    {
        "Aspect Ratio": "aspect_ratio",
        "Sphericity": "circularity",
        "Convexity": "convexity",
        "Elongation": "elongation",
        "Roundness": "roundness",
        "Circularity": "form_factor",
        "Perimeter Regularity": "circularity",
    }
)
