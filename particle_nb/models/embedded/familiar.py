"""Whether a picture is like those that a network was tuned on, told from pooled maps."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path

import numpy as np
import torch
from safetensors import safe_open
from torch import Tensor

from particle_nb.models.embedded.network import PromptableNetwork

#: Coordinates of the pictures that the weights of the package were trained on.
TRAITS = Path(__file__).with_name("traits.safetensors")
#: Annotated pictures are few: so many made-up ones, spread by WIDE of the variance of all pictures
#: around their mean, count beside them.
MADE_UP, WIDE = 3.0, 0.3
#: Share of the annotated pictures that may be unlike the others.
EXCEPTIONS = 0.2
#: What the limit leaves between itself and what nearly all annotated pictures score, where pictures
#: of other kinds would pass without it.
ROOM = 4.0
#: Coordinates beyond this are cut, in standard deviations of a trait.
FAR = 8.0


@dataclass(frozen=True, eq=False)
class TraitSpace:
    """Coordinates in which pictures that a network was trained on are standard normal.

    Parameters
    ----------
    middle, spread : float (F,)
        Mean and standard deviation of each trait.
    axes : float (F, K)
        Principal axes, scaled.
    """

    middle: np.ndarray
    spread: np.ndarray
    axes: np.ndarray

    def place(self, network: PromptableNetwork, picture: Tensor) -> np.ndarray:
        """Coordinates (K,) of a normalised picture (1, 1, H, W) at the scale it is looked at."""
        return self.coordinates(traits(network, picture))

    def coordinates(self, found: np.ndarray) -> np.ndarray:
        """Coordinates (..., K) of traits (..., F)."""
        standard = ((found - self.middle) / self.spread).clip(-FAR, FAR)
        return np.asarray(standard @ self.axes)

    @classmethod
    def of(cls, found: np.ndarray, weights: np.ndarray, count: int) -> TraitSpace:
        """Space of `count` coordinates of traits (N, F) with weights (N,)."""
        share = (weights / weights.sum())[:, None]
        middle = (share * found).sum(0)
        spread = np.sqrt((share * (found - middle) ** 2).sum(0)) + 1e-6
        _, length, axes = np.linalg.svd(
            np.sqrt(share) * (found - middle) / spread, full_matrices=False
        )
        return cls(middle, spread, axes[:count].T / length[:count])

    @classmethod
    def read(cls, arrays: Mapping[str, np.ndarray]) -> TraitSpace:
        """One of stored arrays; KeyError where one lacks."""
        return cls(arrays["middle"], arrays["spread"], arrays["axes"])

    def stored(self) -> dict[str, np.ndarray]:
        """Arrays that `read` makes it of again."""
        return {"middle": self.middle, "spread": self.spread, "axes": self.axes}


def traits(network: PromptableNetwork, picture: Tensor) -> np.ndarray:
    """Mean and standard deviation over a picture (1, 1, H, W) of every map of a network, (F,).

    Its sides are multiples of the network's `STRIDE`.
    """
    with torch.inference_mode():
        encoder = network.encoder
        kept = encoder.pyramid(picture.contiguous(memory_format=torch.channels_last))
        top = encoder.decoded(kept)
        levels = [*kept[1:], torch.cat([encoder.features(top), encoder.dense(top)], 1)]
        rows = [level[0].flatten(1).float() for level in levels]
        pooled = [part for row in rows for part in (row.mean(1), row.std(1, correction=0))]
    return torch.cat(pooled).cpu().numpy().astype(float)


@lru_cache(maxsize=1)
def known_space(digest: str) -> TraitSpace | None:
    """The space that comes with the package for the weights of this digest; None for others."""
    with safe_open(str(TRAITS), framework="np") as stream:
        if (stream.metadata() or {}).get("weights") != digest:
            return None
        return TraitSpace.read(
            {key: stream.get_tensor(key).astype(float) for key in stream.keys()}  # noqa: SIM118
        )


@dataclass(frozen=True, eq=False)
class Familiar:
    """Tells pictures like the annotated ones from others.

    Two normal laws in the space: that of the pictures a network was first trained on, and one
    around the annotated ones.

    Parameters
    ----------
    space : TraitSpace
    seen : float (N, K)
        Coordinates of annotated pictures and of parts of them.
    whose : int (N,)
        Which annotated picture each is of.
    others : float (M, K)
        Coordinates of pictures known to be of other kinds.
    """

    space: TraitSpace
    seen: np.ndarray
    whose: np.ndarray
    others: np.ndarray

    def holds(self, place: np.ndarray) -> bool:
        """Whether a picture at these coordinates (K,) is like the annotated ones."""
        return self.score(place) > self.limit

    def score(self, place: np.ndarray) -> float:
        """How much likelier coordinates (K,) are among the annotated pictures, as a logarithm."""
        return self._law.score(place)

    @cached_property
    def limit(self) -> float:
        """Least score of a familiar picture: 0, or less where annotated ones are of many kinds.

        Each of them, judged by the others, passes it with few exceptions. It is more where pictures
        of other kinds score more and annotated ones leave ROOM above them.
        """
        numbers = np.unique(self.whose)
        if len(numbers) < 2:
            return 0.0
        held = []
        for number in numbers:
            own = self.whose == number
            law = _Law.of(self.seen[~own], len(numbers) - 1)
            held.append(np.median([law.score(place) for place in self.seen[own]]))
        usual = float(np.quantile(held, EXCEPTIONS))
        strangest = max((self.score(place) for place in self.others), default=-np.inf)
        return max(min(0.0, usual), min(strangest, usual - ROOM))

    @cached_property
    def _law(self) -> _Law:
        return _Law.of(self.seen, len(np.unique(self.whose)))

    @classmethod
    def read(cls, arrays: Mapping[str, np.ndarray]) -> Familiar:
        """One of stored arrays; KeyError where one lacks, ValueError where they do not fit."""
        space, seen, whose = TraitSpace.read(arrays), arrays["seen"], arrays["whose"]
        others = arrays["others"]
        every = (*space.stored().values(), seen, whose, others)
        if not (
            space.axes.ndim == seen.ndim == others.ndim == 2
            and others.shape[1] == seen.shape[1]
            and space.middle.shape == space.spread.shape == space.axes.shape[:1]
            and seen.shape[1] == space.axes.shape[1]
            and whose.shape == seen.shape[:1] != (0,)
            and all(np.isfinite(one).all() for one in every)
        ):
            raise ValueError("what tells familiar pictures is damaged")
        return cls(space, seen, whose.astype(int), others)

    def stored(self) -> dict[str, np.ndarray]:
        """Arrays that `read` makes it of again."""
        own = {"seen": self.seen, "whose": self.whose, "others": self.others}
        return self.space.stored() | own


@dataclass(frozen=True, eq=False)
class _Law:
    """A normal law around annotated pictures: mean (K,), whitening (K, K), log determinant."""

    middle: np.ndarray
    white: np.ndarray
    scale: float

    @classmethod
    def of(cls, seen: np.ndarray, pictures: int) -> _Law:
        middle = seen.mean(0)
        off = seen - middle
        own, made_up = off.T @ off / len(off), WIDE * np.eye(len(middle))
        spread = (pictures * own + MADE_UP * made_up) / (pictures + MADE_UP)
        lower = np.linalg.cholesky(spread)
        return cls(middle, np.linalg.inv(lower), 2.0 * float(np.log(np.diag(lower)).sum()))

    def score(self, place: np.ndarray) -> float:
        own = self.white @ (place - self.middle)
        return float(0.5 * (place @ place - own @ own - self.scale))


def centre(height: int, width: int, most: int) -> tuple[int, int, int, int]:
    """The middle (x0, y0, x1, y1) of a picture, of its form and at most so many pixels.

    >>> centre(100, 200, 5000)
    (50, 25, 150, 75)
    """
    share = min(1.0, math.sqrt(most / (height * width)))
    rows, columns = max(1, round(height * share)), max(1, round(width * share))
    y, x = (height - rows) // 2, (width - columns) // 2
    return x, y, x + columns, y + rows
