"""What finding and outlining the particles adds to the uncertainty of a size distribution.

The sizes of particles that a model found differ from those of the sample in three ways that no
bootstrap sees: some masks are no particles, some particles have no mask, and outlines lie to one
side. How much so differs from image to image and was measured on micrographs whose particles
people had outlined (`SegmentationErrors`). Every draw takes one of those micrographs for each of
the user's images: masks drop out with one minus their confidence, what is left counts for what is
missed at its size, and every diameter moves by the micrograph's error at its size.
"""

from __future__ import annotations

import functools
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy import stats

from particle_nb.core.errors import DataError
from particle_nb.core.masks import MaskSet
from particle_nb.core.sizes.intervals import ConfidenceInterval, Quantity, Sample

#: Systematic difference of x_A, px, between two people who outline one picture; assumed, as the
#: outlines of one person say nothing of it.
BY_HAND = 1.0

_SHIPPED = Path(__file__).with_name("finding.json")
_PRIOR = 10.0  # particles' worth of all images that one image's own numbers are mixed with
_FEWEST = 20  # draws of which fewer have a quantity say nothing


@dataclass(frozen=True, eq=False)
class SegmentationErrors:
    """How a segmenter's masks differed from the particles that people see, image by image.

    Parameters
    ----------
    limits : float array (K + 1,)
        Limits of classes of x_A, px, increasing.
    true, found : int array (M, K)
        Particles of each of M images in each class, and how many of them have a mask.
    outline : float array (M, K)
        Mean of what the masks' x_A are too large by, px; anything where none was found.
    told, right : float array (M,)
        Sum of the confidences of all masks of an image, and how many match a particle.
    source : str
        What was measured on what.

    Raises
    ------
    DataError
        If the arrays do not fit together.

    Examples
    --------
    >>> errors = SegmentationErrors.shipped()
    >>> errors.true.shape == (errors.images, len(errors.limits) - 1)
    True
    """

    limits: np.ndarray
    true: np.ndarray
    found: np.ndarray
    outline: np.ndarray
    told: np.ndarray
    right: np.ndarray
    source: str = ""

    def __post_init__(self) -> None:
        for name in ("limits", "true", "found", "outline", "told", "right"):
            try:
                array = np.array(getattr(self, name), float)
            except (TypeError, ValueError):
                raise DataError(f"{name} is an array of numbers.") from None
            array.flags.writeable = False
            object.__setattr__(self, name, array)
        if self.limits.ndim != 1 or len(self.limits) < 2 or (np.diff(self.limits) <= 0).any():
            raise DataError("limits are increasing limits of size classes, px.")
        shape = (len(self.told), len(self.limits) - 1)
        if any(getattr(self, name).shape != shape for name in ("true", "found", "outline")):
            raise DataError(f"true, found and outline are one row an image, {shape}.")
        if self.told.shape != self.right.shape or len(self.told) < 2:
            raise DataError("told and right are one number an image, of two images or more.")
        if (self.found > self.true).any() or (self.found < 0).any():
            raise DataError("found counts some of the true particles of a class, not more.")

    @classmethod
    @functools.cache
    def shipped(cls) -> SegmentationErrors:
        """Return those of the embedded segmenter on micrographs that it never saw.

        Examples
        --------
        >>> SegmentationErrors.shipped().images > 40
        True
        """
        return cls(**json.loads(_SHIPPED.read_text(encoding="utf-8")))

    @property
    def images(self) -> int:
        """Number of micrographs on which they were measured."""
        return len(self.told)

    @functools.cached_property
    def _centres(self) -> np.ndarray:
        """Middles of the classes on the logarithm, of particles in them."""
        return np.log(np.sqrt(self.limits[:-1] * self.limits[1:]))

    @functools.cached_property
    def _recall(self) -> np.ndarray:
        """Share found by image and class (M, K), drawn together where an image has few."""
        every = self.found.sum(axis=0) + 1.0
        every /= self.true.sum(axis=0) + 1.0
        mixed = (self.found + _PRIOR * every) / (self.true + _PRIOR)
        return np.clip(mixed, 0.05, 1.0)

    @functools.cached_property
    def _shift(self) -> np.ndarray:
        """What x_A is too large by, px, by image and class (M, K), drawn together likewise."""
        known = np.where(self.found > 0, self.outline, 0.0) * self.found
        every = known.sum(axis=0) / np.maximum(self.found.sum(axis=0), 1.0)
        return np.asarray((known + _PRIOR / 2 * every) / (self.found + _PRIOR / 2))

    @functools.cached_property
    def _trust(self) -> np.ndarray:
        """What confidences are to be multiplied by, by image (M,), drawn together likewise."""
        every = self.right.sum() / max(float(self.told.sum()), 1e-9)
        return np.asarray((self.right + _PRIOR * every) / (self.told + _PRIOR))

    def drawn(
        self, across: np.ndarray, sure: np.ndarray, rng: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray]:
        """Draw the errors of one image: number weights (N,) and what x_A is too large by, px (N,).

        Parameters
        ----------
        across : float array (N,)
            x_A of its masks, px.
        sure : float array (N,)
            Their confidences, NaN for masks drawn by hand: those are particles, and complete.
        rng : Generator
        """
        by_hand = np.isnan(sure)
        size, like = np.log(across), int(rng.integers(self.images))
        recall = np.interp(size, self._centres, self._recall[like])
        shift = np.interp(size, self._centres, self._shift[like])
        chance = np.clip(
            np.where(by_hand, 1.0, sure) * np.where(by_hand, 1, self._trust[like]), 0, 1
        )
        weights = (rng.random(len(size)) < chance) / np.where(by_hand, 1.0, recall)
        return weights, np.where(by_hand, BY_HAND * rng.standard_normal(), shift)


def checked_sets(masks: MaskSet | Sequence[MaskSet], rows: np.ndarray | None) -> list[MaskSet]:
    """Return masks as one set an image, in the order of the rows (N,) of the table measured.

    Raises
    ------
    DataError
        If they are no masks, or there are fewer than the rows ask for.

    Examples
    --------
    >>> checked_sets(MaskSet.from_labels(np.eye(2, dtype=int)), np.array([0]))[0].areas.tolist()
    [2]
    """
    sets = [masks] if isinstance(masks, MaskSet) else list(masks) if _several(masks) else []
    if not sets or not all(isinstance(one, MaskSet) for one in sets):
        raise DataError("masks is the MaskSet that was measured, or a list of one for each image.")
    if rows is None:
        raise DataError("masks= takes a distribution made of a table of measure, not of sizes.")
    if int(rows.max(initial=-1)) >= sum(map(len, sets)):
        raise DataError(
            f"{sum(map(len, sets))} masks are fewer than the rows of the table; pass the masks of "
            "every image, in the order of the rows."
        )
    return sets


def _several(masks: object) -> bool:
    return isinstance(masks, Sequence) and not isinstance(masks, (str, bytes))


def widened(
    sample: Sample,
    rows: np.ndarray,
    sets: Sequence[MaskSet],
    found: Sequence[tuple[Quantity, ConfidenceInterval, ConfidenceInterval]],
    draws: tuple[np.random.Generator, int],
    errors: SegmentationErrors,
) -> list[ConfidenceInterval]:
    """Return intervals with the errors of finding and outlining in them, and the share of each.

    Parameters
    ----------
    sample : Sample
        Sizes x_A (N,) in any unit, increasing.
    rows : int array (N,)
        Which mask each size is of, counted through all sets.
    sets : sequence of MaskSet
        The masks of each image.
    found : sequence of (Quantity, ConfidenceInterval, ConfidenceInterval)
        Each quantity, its interval, and the one that holds the sampling of particles alone.
    draws : Generator and int
    errors : SegmentationErrors

    Raises
    ------
    DataError
        If the masks are not those of the sizes.
    """
    across = np.concatenate([np.sqrt(4 / math.pi * one.areas) for one in sets])[rows]
    sure = np.concatenate([one.confidence for one in sets])[rows]
    owner = np.repeat(np.arange(len(sets)), [len(one) for one in sets])[rows]
    pixel = float(np.median(sample.x / across))
    if not np.allclose(sample.x, across * pixel, rtol=1e-6):
        raise DataError(
            "the masks are not those of the table: their sizes differ. Pass the masks that were "
            "measured, in the order of its rows, and size='x_A'."
        )
    rng, count = draws
    kinds: tuple[list[list[float]], ...] = ([], [], [])  # finding, outlining, both
    for _ in range(count):
        weights, shift = np.ones(len(across)), np.zeros(len(across))
        for image in range(len(sets)):
            held = owner == image
            weights[held], shift[held] = errors.drawn(across[held], sure[held], rng)
        moved = np.maximum(across - shift, across / 5) * pixel
        for kind, x, counted in zip(
            kinds,
            (sample.x, moved, moved),
            (sample.weights * weights, sample.weights, sample.weights * weights),
            strict=True,
        ):
            kind.append(_values(x, counted, [one for one, *_ in found]))
    return [
        _combined(sample, one, np.array([np.array(kind)[:, k] for kind in kinds]), errors)
        for k, one in enumerate(found)
    ]


def _values(x: np.ndarray, weights: np.ndarray, wanted: Sequence[Quantity]) -> list[float]:
    kept = weights > 0
    if np.count_nonzero(kept) < 2:
        return [math.nan] * len(wanted)
    order = np.argsort(x[kept], kind="stable")
    return [one.of(x[kept][order], weights[kept][order]) for one in wanted]


def _combined(
    sample: Sample,
    asked: tuple[Quantity, ConfidenceInterval, ConfidenceInterval],
    drawn: np.ndarray,
    errors: SegmentationErrors,
) -> ConfidenceInterval:
    """Put an interval and the draws (3, D) of the logarithm together, as independent errors are."""
    quantity, whole, sampling = asked
    value = quantity.of(sample.x, sample.weights)
    drawn = drawn[:, np.isfinite(drawn).all(axis=0)] - value
    if drawn.shape[1] < _FEWEST:
        raise DataError("too few of the masks are likely to be particles for an interval.")
    z = float(stats.norm.ppf((1 + whole.level) / 2))
    low, high = np.log(whole.low) - value, np.log(whole.high) - value
    # about the estimate as it is, and as it is with the mean error taken off: that of other images
    # may be the other way round on this one
    middle = float(np.median(drawn[2]))
    away = float(np.quantile(np.abs(drawn[2] - middle), whole.level))
    far = float(np.quantile(np.abs(drawn[2]), whole.level))
    below = min(-math.hypot(low, far), middle - math.hypot(low, away))
    above = max(math.hypot(high, far), middle + math.hypot(high, away))
    around = np.exp([value + below, value + above])
    spread = {
        "sampling": ((math.log(sampling.high) - math.log(sampling.low)) / 2 / z) ** 2,
        "missed and false particles": float(np.mean(drawn[0] ** 2)),
        "outlines": float(np.mean(drawn[1] ** 2)),
    }
    between = ((high - low) / 2 / z) ** 2 - spread["sampling"]
    if whole.images > 1:
        spread["image to image"] = max(between, 0.0)
    total = sum(spread.values())
    shares = {name: part / total for name, part in spread.items()} if total > 0 else {}
    return ConfidenceInterval(
        tuple(around), whole.level, f"{whole.method}; finding and outlining", whole.images, shares
    )
