"""What a person points at: points, a box, a rough sketch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from particle_nb.core.errors import PromptError


@dataclass(frozen=True, eq=False)
class Prompt:
    """Points with labels, a box and a sketch, all in image pixels; every part is optional.

    Parameters
    ----------
    points : sequence of (x, y)
        Pixel centres lie at integers; x runs along columns, y along rows.
    labels : sequence of 0 or 1
        1 for "belongs to the particle", 0 for "does not"; all 1 when left out.
    box : (x0, y0, x1, y1) or None
        Corners in any order; drawn roughly is fine.
    sketch : bool array (H, W) or None
        A rough mask drawn by hand, of the size of the image.

    Raises
    ------
    PromptError
        If no part is given, a number is not finite, labels do not match the points,
        the box has no area, or the sketch is empty.

    Examples
    --------
    >>> Prompt(points=((10, 20),)).labels
    (1,)
    """

    points: tuple[tuple[float, float], ...] = ()
    labels: tuple[int, ...] | None = None
    box: tuple[float, float, float, float] | None = None
    sketch: np.ndarray | None = None

    def __post_init__(self) -> None:
        points = self._numbers(self.points, "points", (-1, 2))
        labels = (1,) * len(points) if self.labels is None else tuple(self.labels)
        if len(labels) != len(points) or any(label not in (0, 1) for label in labels):
            raise PromptError(
                f"{len(points)} points need {len(points)} labels of 0 or 1, not {self.labels!r}."
            )
        object.__setattr__(self, "points", tuple((float(x), float(y)) for x, y in points))
        object.__setattr__(self, "labels", tuple(int(label) for label in labels))
        if self.box is not None:
            x0, y0, x1, y1 = self._numbers(self.box, "box", (4,))
            x0, x1, y0, y1 = min(x0, x1), max(x0, x1), min(y0, y1), max(y0, y1)
            if x1 - x0 <= 0 or y1 - y0 <= 0:
                raise PromptError(f"the box {self.box!r} has no area; drag from corner to corner.")
            object.__setattr__(self, "box", (float(x0), float(y0), float(x1), float(y1)))
        if self.sketch is not None:
            sketch = np.asarray(self.sketch)
            if sketch.ndim != 2 or sketch.dtype != bool:
                raise PromptError(
                    "a sketch is a bool array (H, W) of the image's size, not "
                    f"{sketch.dtype} {sketch.shape}."
                )
            if not sketch.any():
                raise PromptError("the sketch is empty; draw over the particle.")
            object.__setattr__(self, "sketch", sketch)
        if not len(points) and self.box is None and self.sketch is None:
            raise PromptError("an empty prompt; give points, a box or a sketch.")

    @staticmethod
    def _numbers(value: Any, part: str, shape: tuple[int, ...]) -> np.ndarray:
        try:
            array = np.asarray(value, float)
            array = array.reshape(shape) if array.size or shape[0] > 0 else np.empty((0, 2))
        except (TypeError, ValueError):
            raise PromptError(
                f"{part} cannot be read: {value!r}; write points=((x, y), ...), "
                "box=(x0, y0, x1, y1)."
            ) from None
        if not np.isfinite(array).all() or np.abs(array).max(initial=0) > 1e7:
            raise PromptError(f"{part} must be finite pixel coordinates, not {value!r}.")
        return array

    def check(self, shape: tuple[int, int]) -> None:
        """Raise `PromptError` unless every part lies on an image of this (height, width).

        A box may reach beyond the image, but must overlap it.

        Examples
        --------
        >>> Prompt(points=((10, 20),)).check((64, 64))
        """
        height, width = shape
        for x, y in self.points:
            if not (-0.5 <= x <= width - 0.5 and -0.5 <= y <= height - 0.5):
                raise PromptError(
                    f"the point ({x:g}, {y:g}) lies outside the image of {width} x {height} px."
                )
        if self.box is not None:
            x0, y0, x1, y1 = self.box
            if x1 < 0 or y1 < 0 or x0 > width - 1 or y0 > height - 1:
                raise PromptError(
                    f"the box {self.box} lies outside the image of {width} x {height} px."
                )
        if self.sketch is not None and self.sketch.shape != tuple(shape):
            raise PromptError(
                f"the sketch is {self.sketch.shape} but the image is {tuple(shape)}; "
                "draw it on the full image."
            )
