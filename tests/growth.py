"""How the time of a piece of work grows with its input: a ratio, so that a busy machine passes."""

from __future__ import annotations

import time
from collections.abc import Callable


def grows_linearly(work: Callable[[int], object], size: int) -> bool:
    """Whether four times as much input takes at most nine times as long (quadratic: sixteen).

    CPU time, at the smaller size the shortest of three; what takes less than 5 ms at `size` is not
    told from nothing.
    """

    def least(size: int, runs: int) -> float:
        spent = []
        for _ in range(runs):
            begun = time.process_time()
            work(size)
            spent.append(time.process_time() - begun)
        return min(spent)

    work(size // 4)  # whatever is made once
    whole = least(size, 1)
    return whole < 0.005 or whole < 9 * least(size // 4, 3)
