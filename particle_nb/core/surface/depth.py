"""`DepthMap`: relative heights as a depth model sees them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from particle_nb.core.errors import DataError
from particle_nb.core.masks import Mask


@dataclass(frozen=True, eq=False)
class DepthMap:
    """Relative heights seen by a model: larger is nearer to the detector, that is higher.

    Parameters
    ----------
    relative : float array (h, w)
        Heights up to an unknown scale and offset; NaN where unknown. Kept in float32 or float64.
    model, weights, image : str
        Provenance: name of the model, digest of its weights, digest of the image.
    window : (x0, y0, x1, y1) or None
        The part of the image that was looked at, ends exclusive; None is the whole image.

    Raises
    ------
    DataError
        If the array is not numeric, not 2-D, empty or nowhere finite, or does not fit the window.

    Examples
    --------
    >>> DepthMap([[0.0, 1.0], [1.0, 2.0]], model="example").shape
    (2, 2)
    """

    relative: np.ndarray
    model: str = ""
    weights: str = ""
    image: str = ""
    window: tuple[int, int, int, int] | None = None

    def __post_init__(self) -> None:
        relative = _numbers(self.relative, "relative depth")
        if relative.ndim != 2 or relative.size == 0:
            raise DataError(
                f"relative depth is one number a pixel, (H, W) and not empty, not {relative.shape}."
            )
        if not np.isfinite(relative).any():
            raise DataError("relative depth holds no finite number; look at the model's output.")
        if self.window is not None:
            x0, y0, x1, y1 = (int(v) for v in self.window)
            if (y1 - y0, x1 - x0) != relative.shape or x0 < 0 or y0 < 0:
                raise DataError(
                    f"depth of {relative.shape} does not fill the window {self.window} "
                    f"of {(y1 - y0, x1 - x0)} pixels."
                )
            object.__setattr__(self, "window", (x0, y0, x1, y1))
        relative = relative.view()
        relative.flags.writeable = False
        object.__setattr__(self, "relative", relative)

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width of the map in pixels."""
        return int(self.relative.shape[0]), int(self.relative.shape[1])

    def patch(self, mask: Mask) -> np.ndarray:
        """Return the heights in the bounding box of a mask, a view (h, w).

        Raises
        ------
        DataError
            If the mask belongs to a frame of another size or leaves the window.

        Examples
        --------
        >>> DepthMap(np.eye(3)).patch(Mask((1, 1), np.ones((2, 2), bool), (3, 3))).tolist()
        [[1.0, 0.0], [0.0, 1.0]]
        """
        r0, c0, r1, c1 = mask.bbox
        if self.window is None:
            if mask.shape != self.shape:
                raise DataError(
                    f"a mask of a frame {mask.shape} does not fit a depth map of {self.shape}; "
                    "both must come from the same image."
                )
            return self.relative[r0:r1, c0:c1]
        x0, y0, x1, y1 = self.window
        if c0 < x0 or r0 < y0 or c1 > x1 or r1 > y1:
            raise DataError(f"the mask at rows {r0}-{r1}, columns {c0}-{c1} leaves {self.window}.")
        return self.relative[r0 - y0 : r1 - y0, c0 - x0 : c1 - x0]


def _numbers(values: Any, what: str) -> np.ndarray:
    """Return a float32 or float64 array, or say what is wrong."""
    try:
        array = np.asarray(values)
        if array.dtype not in (np.float32, np.float64):
            if array.dtype.kind not in "iufb":
                raise TypeError(f"its type is {array.dtype}")
            array = array.astype(np.float64 if array.dtype.itemsize > 2 else np.float32)
    except (TypeError, ValueError) as error:
        raise DataError(f"{what} must be an array of real numbers: {error}.") from None
    return array
