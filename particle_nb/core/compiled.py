"""Compile a function with numba."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from numba import njit


def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compile when first called; keep the machine code on disk where a folder can be written.

    Parameters
    ----------
    function : callable
        Plain Python over numbers and arrays, as numba takes it. It runs without holding the
        interpreter's lock, and without `fastmath`: the same bits on every machine matter more.

    Examples
    --------
    >>> twice = compiled(lambda x: 2.0 * x)
    >>> twice(1.5)
    3.0
    """
    try:
        return njit(cache=True, nogil=True)(function)
    except RuntimeError:  # a read-only installation without a writable user cache
        return njit(nogil=True)(function)
