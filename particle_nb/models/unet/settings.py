"""Settings of a UNet++ and of its training."""

from __future__ import annotations

from dataclasses import dataclass

from particle_nb.core.errors import DataError, check_number, check_whole

#: Most weights that a network may have.
MOST_WEIGHTS = 2_000_000


@dataclass(frozen=True)
class UnetSettings:
    """What a UNet++ looks like and how it is trained.

    Parameters
    ----------
    minutes : float
        Longest time of training.
    steps : int
        Most steps; one patch a step, as in the paper.
    patch : int
        Side of the patches in pixels, a multiple of 8; the paper has 512.
    widths : tuple of int
        Channels of the levels, finest first, multiples of 8.
    w0, sigma, gamma : float
        Of the weight maps, `weight_map`; sigma in pixels. `gamma` counts with
        ``weights="intensity"`` only.
    vary : float
        Most rotation-free change of shear, zoom and intensity, as a share; the paper has 15 %.
    rate : float
        Highest learning rate.
    least_area : int
        Smaller regions are no particles, px^2.
    seed : int

    Raises
    ------
    DataError
        If a value is out of range.

    Examples
    --------
    >>> UnetSettings(steps=10).sigma
    7.0
    """

    minutes: float = 10.0
    steps: int = 2000
    patch: int = 256
    widths: tuple[int, ...] = (16, 32, 64, 128)
    w0: float = 10.0
    sigma: float = 7.0
    gamma: float = 2.0
    vary: float = 0.15
    rate: float = 1e-3
    least_area: int = 20
    seed: int = 0

    def __post_init__(self) -> None:
        ranges = {
            "minutes": (1e-3, 1e5),
            "w0": (0, 1e3),
            "sigma": (1e-3, 1e3),
            "gamma": (0, 1e3),
            "vary": (0, 0.9),
            "rate": (1e-7, 1),
        }
        for name, (low, high) in ranges.items():
            check_number(name, getattr(self, name), low, high)
        whole = {"steps": (1, 1e8), "patch": (32, 4096), "least_area": (1, 1e9)}
        for name, (low, high) in (whole | {"seed": (0, 2**31)}).items():
            check_whole(name, getattr(self, name), low, high)
        widths = self.widths
        if not isinstance(widths, (tuple, list)) or not 2 <= len(widths) <= 5:
            raise DataError(f"widths are 2 to 5 numbers of channels, not {widths!r:.80}.")
        if any(not isinstance(w, int) or w < 8 or w > 512 or w % 8 for w in widths):
            raise DataError(f"widths must be multiples of 8 from 8 to 512, not {widths!r:.80}.")
        object.__setattr__(self, "widths", tuple(widths))
        if self.patch % 2 ** (len(widths) - 1):
            raise DataError(
                f"patch must be a multiple of {2 ** (len(widths) - 1)}, not {self.patch!r}."
            )
