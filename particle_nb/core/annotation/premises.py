"""What the log says beside the particles: classes, the scale, the part that is analysed."""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from particle_nb.core.annotation.history import History, State
from particle_nb.core.errors import CalibrationError, DataError, PromptError
from particle_nb.core.image import Calibration, Image, RegionOfInterest, RegionPart
from particle_nb.core.image.region import read_parts

#: Names of classes that keys give; more can be named, without a key.
KEYS = 9

_MOST_CLASSES = 100
_LONGEST = 200


@dataclass(frozen=True)
class Premises:
    """What holds for the whole image at one moment of an annotation.

    Parameters
    ----------
    classes : tuple of str
        Names of classes in the order of their keys, also those that no particle has yet.
    calibration : Calibration or None
        From a bar that was drawn; None where the image's own holds.
    parts : tuple of RegionPart
        Of the region that is analysed; empty for all of the image.

    Examples
    --------
    >>> Premises().after({"action": "classes", "names": ["rod"]}).classes
    ('rod',)
    """

    classes: tuple[str, ...] = ()
    calibration: Calibration | None = None
    parts: tuple[RegionPart, ...] = ()

    def after(self, record: Mapping[str, Any]) -> Premises:
        """Return what holds after a line of the log."""
        action = record.get("action")
        if action in ("classes", "classify") and record.get("names") is not None:
            return dataclasses.replace(self, classes=read_names(record["names"]))
        if action == "scale":
            scale = drawn_scale(record.get("bar"), record.get("length"), record.get("found", False))
            return dataclasses.replace(self, calibration=scale)
        if action == "region":
            return dataclasses.replace(self, parts=read_parts(record.get("parts")))
        return self

    def applied(self, image: Image) -> Image:
        """Return the image with this scale and this region, where they are not its own already."""
        changes: dict[str, Any] = {}
        if self.calibration is not None and self.calibration != image.calibration:
            changes["calibration"] = self.calibration
        if self.parts:
            changes["region"] = _region_of(image.shape, self.parts)
        return image.replace(**changes) if changes else image


@functools.lru_cache(maxsize=8)
def _region_of(shape: tuple[int, int], parts: tuple[RegionPart, ...]) -> RegionOfInterest:
    """The same region for the same parts: every action asks for it."""
    return RegionOfInterest(shape, parts)


def premises_of(history: History) -> Premises:
    """Return what holds where the history stands.

    Examples
    --------
    >>> premises_of(History((4, 4))).classes
    ()
    """
    found = Premises()
    for step in history.steps[: history.position]:
        found = found.after(step.record)
    return found


def read_class(name: Any) -> str:
    """Return the name of a class, or "" for none.

    Raises
    ------
    DataError
        If it is no text, too long, or a word that a table of classes needs.

    Examples
    --------
    >>> read_class(" rod ")
    'rod'
    """
    if not isinstance(name, str) or len(name) > _LONGEST:
        raise DataError(f"a class is text of at most {_LONGEST} characters, not {name!r:.60}.")
    name = name.strip()
    if name in ("unknown", "class", "probability", "label"):
        raise DataError(f"no class may be called {name!r}: tables of classes use that word.")
    return name


def read_names(names: Any) -> tuple[str, ...]:
    """Return names of classes, each of them once.

    Raises
    ------
    DataError
        If they are no list, one is no name or stands twice, or they are too many.

    Examples
    --------
    >>> read_names(["rod", "disc"])
    ('rod', 'disc')
    """
    if not isinstance(names, (list, tuple)) or len(names) > _MOST_CLASSES:
        raise DataError(f"names is a list of at most {_MOST_CLASSES} classes, not {names!r:.60}.")
    found = tuple(read_class(name) for name in names)
    if "" in found or len(set(found)) < len(found):
        raise DataError(f"every class needs a name of its own; given are {list(found)!r:.200}.")
    return found


def palette(premises: Premises, state: State) -> tuple[str, ...]:
    """Return the names of all classes: those with a place first, then as particles have them.

    Examples
    --------
    >>> palette(Premises(("rod",)), State((4, 4)))
    ('rod',)
    """
    worn = (p.mask.label for p in state.particles.values() if p.mask.label)
    return tuple(dict.fromkeys((*premises.classes, *worn)))


def with_key(names: tuple[str, ...], key: int) -> tuple[str, ...]:
    """Return the palette with a class at a key, 1 to 9; new ones are called after their keys.

    Raises
    ------
    DataError
        If there is no such key.

    Examples
    --------
    >>> with_key(("rod",), 3)
    ('rod', 'class 2', 'class 3')
    """
    if isinstance(key, bool) or not isinstance(key, int) or not 1 <= key <= KEYS:
        raise DataError(f"classes have the keys 1 to {KEYS}, not {key!r}.")
    made = list(names)
    while len(made) < key:
        number = len(made) + 1
        while f"class {number}" in made:
            number += 1
        made.append(f"class {number}")
    return tuple(made)


#: Actions that an older package would pass over, and then give other numbers.
DECISIVE = ("scale", "region")


#: How a bar came about, as the log says it.
_HOW = {
    False: "bar drawn by hand",
    True: "scale bar found and confirmed",
    "info bar": "scale bar found in the info bar and confirmed",
}


def drawn_scale(bar: Any, length: Any, found: bool | str = False) -> Calibration | None:
    """Return the scale of a bar in the picture; None where no bar is given, to take one back.

    Parameters
    ----------
    bar : (x0, y0, x1, y1) or None
        Its ends in image pixels, as they were drawn, to a part of a pixel.
    length : str or None
        What the bar stands for: ``"200 nm"``.
    found : bool or "info bar"
        Whether `find_scale_bar` proposed it and a person agreed, in place of drawing it; the
        text where it lies in the info bar that was left out on reading.

    Raises
    ------
    PromptError
        If the ends are no places or less than two pixels apart.
    CalibrationError
        If the length is no positive length with a unit.

    Examples
    --------
    >>> str(drawn_scale((10, 5, 110, 5), "200 nm"))
    '2 nm/px (bar drawn by hand: 100.0 px = 200 nm)'
    """
    if bar is None:
        return None
    try:
        x0, y0, x1, y1 = (float(v) for v in bar)
        pixels = math.hypot(x1 - x0, y1 - y0)
    except (TypeError, ValueError, OverflowError):
        raise PromptError(f"a bar is drawn as (x0, y0, x1, y1), not {bar!r:.60}.") from None
    if not 2 <= pixels < math.inf:
        raise PromptError(
            f"a bar of {pixels:.3g} px gives no scale; drag from one of its ends to the other."
        )
    try:
        whole = Calibration.parse(length)
    except CalibrationError:
        raise CalibrationError(
            f"cannot read {length!r:.60} as the length of the bar; write a number and a unit, "
            "such as 200 nm or 5 um."
        ) from None
    how = _HOW.get(found if isinstance(found, (bool, str)) else False, _HOW[False])
    source = f"{how}: {pixels:.1f} px = {length.strip()}"
    return Calibration(whole.pixel_size / pixels, whole.unit, source)
