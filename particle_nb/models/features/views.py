"""Maps of a vision transformer without the trace of where in its window a patch lay.

A transformer adds a code of the position to every patch, and its answer keeps some of it. Each
patch is therefore seen at many places of many windows, upright, mirrored and turned, and the
answers are averaged: what depends on the place cancels, what depends on the picture stays.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

#: Windows that a patch lies in, along each axis; even, so that half of them are mirrored. Each is
#: also seen turned by half a turn, so that what rises with the place cancels in every pair.
SHIFTS = 4
_BATCH = 8

Tokens = Callable[[Tensor], Tensor]


def view_averaged(picture: np.ndarray, patch: int, side: int, tokens: Tokens) -> np.ndarray:
    """Return the mean answer for every patch over shifted and mirrored windows.

    Parameters
    ----------
    picture : float32 (3, H, W)
        As the model wants it.
    patch, side : int
        Sides of a patch and of a window in pixels; a whole number of patches.
    tokens : function
        From windows (B, 3, side, side) to answers (B, n, n, C), n = side / patch.

    Returns
    -------
    float32 (ceil(H / patch), ceil(W / patch), C)

    Examples
    --------
    >>> grey = lambda x: x.mean(1)[:, ::2, ::2, None]
    >>> view_averaged(np.ones((3, 8, 6), np.float32), 2, 8, grey).shape
    (4, 3, 1)
    """
    across = side // patch
    step = max(1, across // SHIFTS)
    rows, columns = (-(-n // patch) for n in picture.shape[1:])
    # every patch must lie in as many windows as any other
    before = across - step
    tall, wide = (-(-(n + before) // step) * step + before for n in (rows, columns))
    after = [(tall - before) * patch - picture.shape[1], (wide - before) * patch - picture.shape[2]]
    framed = np.pad(
        picture,
        [(0, 0), (before * patch, after[0]), (before * patch, after[1])],
        mode="symmetric",
    )
    places = [
        (r, c, turned)
        for r in range(0, tall - across + 1, step)
        for c in range(0, wide - across + 1, step)
        for turned in (False, True)
    ]
    total: np.ndarray | None = None
    seen = np.zeros((tall, wide, 1), np.float32)
    for start in range(0, len(places), _BATCH):
        part = places[start : start + _BATCH]
        views = [
            _view(framed, r * patch, c * patch, side, _mirrors(r, c, step, turned))
            for r, c, turned in part
        ]
        found = tokens(torch.from_numpy(np.stack(views))).float().cpu().numpy()
        if total is None:
            total = np.zeros((tall, wide, found.shape[3]), np.float32)
        for (r, c, turned), answer in zip(part, found, strict=True):
            down, along = _mirrors(r, c, step, turned)
            upright = answer[:: -1 if down else 1, :: -1 if along else 1]
            total[r : r + across, c : c + across] += upright
            seen[r : r + across, c : c + across] += 1
    assert total is not None  # at least one window covers the picture
    inner = slice(before, before + rows), slice(before, before + columns)
    return np.asarray(total[inner] / seen[inner])


def _mirrors(row: int, column: int, step: int, turned: bool) -> tuple[bool, bool]:
    """Whether the window at these patches is mirrored upside down, and left to right."""
    return bool(row // step % 2) != turned, bool(column // step % 2) != turned


def _view(
    framed: np.ndarray, top: int, left: int, side: int, mirrors: tuple[bool, bool]
) -> np.ndarray:
    part = framed[:, top : top + side, left : left + side]
    down, along = mirrors
    return np.ascontiguousarray(part[:, :: -1 if down else 1, :: -1 if along else 1])


def projection(width: int, most: int) -> np.ndarray:
    """Return a fixed random projection (width, K) to at most `most` numbers; alike everywhere.

    W. Johnson, J. Lindenstrauss, 1984: distances stay nearly as they are.

    Examples
    --------
    >>> projection(8, 64).shape, projection(256, 64).shape
    ((8, 8), (256, 64))
    """
    if width <= most:
        return np.eye(width, dtype=np.float32)
    drawn = np.random.default_rng(0).standard_normal((width, most))
    return (drawn / np.sqrt(most)).astype(np.float32)
