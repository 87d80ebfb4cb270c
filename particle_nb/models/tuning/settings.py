"""Settings of tuning a segmenter on own masks."""

from __future__ import annotations

from dataclasses import dataclass

from particle_nb.core.errors import DataError, check_number, check_whole


@dataclass(frozen=True)
class TuneSettings:
    """How a segmenter is tuned; the defaults are what was measured to work.

    Parameters
    ----------
    steps : int
        Most steps of descent; by default the minutes decide alone.
    held_out : float
        Share of the images that is not learned from but decides whether the result is kept. With
        fewer than three images it is this share of each image.
    least_gain : float
        New weights are kept only if they gain at least this much automatic F1 on what is held out.
    rate : float
        Highest learning rate.
    crops, side : int
        Crops a step, and their side in pixels.
    prompts : int
        Prompts a crop, in every fourth step; the others train the automatic mode.
    rehearsed : int
        Drawn pictures on which the network must go on to say what it said before; a few of them
        are scored before and after.
    everywhere : bool
        Whether the new weights answer for pictures unlike the annotated ones, too; by default the
        old ones do.
    seed : int
        Of all that is drawn.

    Raises
    ------
    DataError
        If a value is out of range.

    Examples
    --------
    >>> TuneSettings(steps=100).held_out
    0.25
    """

    steps: int = 1_000_000
    held_out: float = 0.25
    least_gain: float = 0.01
    rate: float = 8e-4
    crops: int = 3
    side: int = 256
    prompts: int = 4
    rehearsed: int = 32
    everywhere: bool = False
    seed: int = 0

    def __post_init__(self) -> None:
        whole = {"steps": (1, 1e9), "crops": (1, 64), "prompts": (1, 64)}
        whole |= {"rehearsed": (2, 1000), "seed": (0, 2**31)}
        for name, (low, high) in whole.items():
            check_whole(name, getattr(self, name), low, high)
        if not isinstance(self.everywhere, bool):
            raise DataError(f"everywhere is True or False, not {self.everywhere!r}.")
        check_number("held_out", self.held_out, 0.05, 0.9)
        check_number("least_gain", self.least_gain, 0.0, 1.0)
        check_number("rate", self.rate, 1e-7, 1e-1)
        if self.side not in range(64, 1025, 32):
            raise DataError(f"side must be a multiple of 32 from 64 to 1024, not {self.side!r}.")
