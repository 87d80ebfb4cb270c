"""A part of an image as a window: the one rule of what lies on it."""

from __future__ import annotations

from typing import Any

from particle_nb.core.errors import ImageError, ParticleError

#: A part of an image as (x0, y0, x1, y1) in pixels, ends exclusive.
Window = tuple[int, int, int, int]


def checked_window(
    window: Any,
    shape: tuple[int, int],
    *,
    clip: bool = False,
    error: type[ParticleError] = ImageError,
) -> Window:
    """Return a window as four integers, the whole image for None.

    Parameters
    ----------
    window : (x0, y0, x1, y1) or None
        Pixels, ends exclusive.
    shape : (H, W)
        Size of the image in pixels.
    clip : bool
        Cut off what sticks out; without it the whole window must lie on the image.
    error : type
        What is raised: `PromptError` where a person points, `ImageError` where a model is asked.

    Raises
    ------
    ImageError, or `error`
        If it is no window, or does not lie on the image.

    Examples
    --------
    >>> checked_window((-5, 2, 20, 99), (32, 48), clip=True)
    (0, 2, 20, 32)
    """
    height, width = shape
    if window is None:
        return 0, 0, width, height
    try:
        x0, y0, x1, y1 = (int(v) for v in window)
    except (TypeError, ValueError, OverflowError):
        raise error(f"a window is (x0, y0, x1, y1) in pixels, not {window!r:.60}.") from None
    if clip:
        x0, y0, x1, y1 = max(0, x0), max(0, y0), min(width, x1), min(height, y1)
    if not (0 <= x0 < x1 <= width and 0 <= y0 < y1 <= height):
        raise error(
            f"the window {tuple(window)} does not lie within the image of {width} x {height} px; "
            "give (x0, y0, x1, y1) with ends exclusive."
        )
    return x0, y0, x1, y1
