"""From a prompt to candidates: which part of the image is encoded, which candidate comes first."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from particle_nb.core.annotation.history import Draft
from particle_nb.core.errors import PromptError
from particle_nb.core.image import Image
from particle_nb.core.image.window import checked_window
from particle_nb.core.masks import Mask, MaskSet, Prompt

Box = tuple[int, int, int, int]


class Predictor(Protocol):
    """The part of a session that editing needs."""

    def predict(self, image: Image, prompt: Prompt, window: Any = None) -> MaskSet:
        """Return up to three candidates, best first."""
        ...


@dataclass(eq=False)
class Foresight:
    """A predictor that knows its last answer: a click need not ask again what hovering showed.

    Parameters
    ----------
    session : Predictor

    Examples
    --------
    >>> class Slow:
    ...     asked = 0
    ...     def predict(self, image, prompt, window=None):
    ...         self.asked += 1
    ...         return MaskSet((), image.shape)
    >>> seer, image = Foresight(Slow()), Image(np.zeros((4, 4)))
    >>> for x in (1, 1, 2):
    ...     masks = seer.predict(image, Prompt(((x, 1),), (1,)))
    >>> seer.session.asked
    2
    """

    session: Predictor
    _last: tuple[Image, Prompt, Any, Any, MaskSet] | None = field(default=None, repr=False)

    def predict(self, image: Image, prompt: Prompt, window: Any = None) -> MaskSet:
        """Return the session's answer, without asking if the question is the last one."""
        # a session may have taken other weights since
        model = getattr(self.session, "segmenter", None)
        if self._last is not None:
            seen, asked, around, asker, answer = self._last
            same = seen is image and around == window and asker is model
            if same and _same(asked, prompt):
                return answer
        answer = self.session.predict(image, prompt, window=window)
        self._last = image, prompt, window, model, answer
        return answer


def _same(a: Prompt, b: Prompt) -> bool:
    if (a.points, a.labels, a.box) != (b.points, b.labels, b.box):
        return False
    if a.sketch is None or b.sketch is None:
        return a.sketch is b.sketch
    return np.array_equal(a.sketch, b.sketch)


def encoding_window(view: Sequence[float], shape: tuple[int, int]) -> Box | None:
    """Return the part of the image to encode for a view of it, or None for the whole.

    Windows are squares of 1.5 times a side that halves from the image's, on a grid of half that
    side: neighbouring views share an encoding, and the view always lies inside its window.

    Parameters
    ----------
    view : (x0, y0, x1, y1)
        What is visible, in image pixels.
    shape : (H, W)

    Raises
    ------
    PromptError
        If the view is no box of finite numbers.

    Examples
    --------
    >>> encoding_window((0, 0, 2048, 1536), (1536, 2048)) is None
    True
    >>> encoding_window((1000, 700, 1200, 850), (1536, 2048))
    (896, 640, 1280, 1024)
    """
    height, width = shape
    try:
        x0, y0, x1, y1 = (float(v) for v in view)
    except (TypeError, ValueError):
        raise PromptError(f"a view is (x0, y0, x1, y1) in pixels, not {view!r:.60}.") from None
    if not all(map(math.isfinite, (x0, y0, x1, y1))):
        raise PromptError(f"a view must be finite, not {view!r}.")
    x0, y0, x1, y1 = max(x0, 0), max(y0, 0), min(x1, width), min(y1, height)
    full = max(height, width)
    span = max(x1 - x0, y1 - y0, 1.0)
    if span > full / 2 or full <= 256:
        return None
    side = float(full)
    while side / 2 >= max(span, 256):
        side /= 2
    step = side / 2
    size = min(round(1.5 * side), width), min(round(1.5 * side), height)
    left = min(max(int(x0 // step * step), 0), width - size[0])
    top = min(max(int(y0 // step * step), 0), height - size[1])
    if size == (width, height):
        return None
    return left, top, left + size[0], top + size[1]


def read_window(window: Any, shape: tuple[int, int]) -> Box | None:
    """Return a window (x0, y0, x1, y1) in px, checked against the image's (H, W), or None.

    Raises
    ------
    PromptError
        If it is no box within the image.
    """
    return None if window is None else checked_window(window, shape, error=PromptError)


def _holds(window: Box, draft: Draft) -> bool:
    x0, y0, x1, y1 = window
    spots = list(draft.points)
    if draft.box is not None:
        spots += [draft.box[:2], draft.box[2:]]
    if draft.sketch is not None:
        top, left, bottom, right = draft.sketch.bbox
        spots += [(left, top), (right - 1, bottom - 1)]
    return all(x0 - 0.5 <= x <= x1 - 0.5 and y0 - 0.5 <= y <= y1 - 0.5 for x, y in spots)


def predicted(draft: Draft, image: Image, session: Predictor | None) -> Draft:
    """Return the draft with the model's candidates for its prompt.

    Raises
    ------
    PromptError
        If the prompt lies outside the image or the model finds nothing.
    """
    if draft.window is not None and not _holds(draft.window, draft):
        draft = draft.replace(window=None)
    if draft.box is None and draft.sketch is None and 1 not in draft.labels:
        return draft.replace(candidates=(), choice=0)
    sketch = None if draft.sketch is None else draft.sketch.full()
    prompt = Prompt(draft.points, draft.labels, draft.box, sketch)
    prompt.check(image.shape)
    if session is None:
        raise PromptError("a prompt needs a session with a segmenter to answer it.")
    found = tuple(session.predict(image, prompt, window=draft.window))[:3]
    if not found:
        raise PromptError("the model found nothing there; try a box or a sketch.")
    return draft.replace(candidates=found, choice=choose(found, draft.target))


def choose(candidates: Sequence[Mask], target: str) -> int:
    """Return which candidate is offered first: see `Draft.target`.

    Parameters
    ----------
    candidates : sequence of Mask
        One or more, the best predicted IoU first.
    target : str
        ``"best"``, ``"whole"`` (the largest) or ``"feature"`` (the smallest).

    Examples
    --------
    >>> import numpy as np
    >>> small, large = (Mask((0, 0), np.ones((n, n), bool), (9, 9)) for n in (2, 5))
    >>> [choose((small, large), target) for target in ("best", "whole", "feature")]
    [0, 1, 0]
    """
    if target == "best":
        return 0
    areas = [mask.area for mask in candidates]
    return areas.index(max(areas) if target == "whole" else min(areas))


def read_point(x: Any, y: Any, label: Any) -> tuple[tuple[float, float], int]:
    """Return a click as ((x, y), label): pixels, and 1 for inside or 0 for outside.

    Raises
    ------
    PromptError
        If x or y is no number or the label neither 0 nor 1.

    Examples
    --------
    >>> read_point(3, 4.5, True)
    ((3.0, 4.5), 1)
    """
    try:
        spot = float(x), float(y)
    except (TypeError, ValueError):
        raise PromptError(f"a point is two numbers x, y, not {x!r}, {y!r}.") from None
    if label not in (0, 1):
        raise PromptError(f"a point's label is 1 or 0, not {label!r}.")
    return spot, int(label)
