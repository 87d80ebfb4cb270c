"""Classes of the particles that nobody has named, from those that somebody has."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

import numpy as np
import pandas as pd

from particle_nb.core.annotation.history import Particle
from particle_nb.core.errors import DataError
from particle_nb.core.image import Image
from particle_nb.core.learning import UNKNOWN, FeatureTable, ShapeClassifier, particle_numbers
from particle_nb.core.masks import Mask, MaskSet

#: Labels that a class needs before it can be told.
LEAST = 2


class Describer(Protocol):
    """What gives rows of numbers; a `particle_nb.Session` does."""

    def features(self, image: Image, masks: MaskSet) -> FeatureTable:
        """Return one row a mask."""


@dataclass(frozen=True, eq=False)
class Guesses:
    """What is known and thought of the classes of particles at one moment.

    Parameters
    ----------
    table : DataFrame
        Indexed by particle number: ``label`` (given by a person, "" for none), ``class`` (that,
        or else the predicted one), ``probability`` (1 for a label; NaN where nothing is
        predicted), and one column a predicted class.
    queue : tuple of int
        Particles without a label, the one to name next first.
    status : str
        What is missing before classes can be predicted; empty where they are.
    classifier : ShapeClassifier or None
    """

    table: pd.DataFrame
    queue: tuple[int, ...]
    status: str
    classifier: ShapeClassifier | None


@dataclass(eq=False)
class Guesser:
    """Predicts classes from labels; the numbers of a mask are worked out once.

    Parameters
    ----------
    session : Session or None
        None: by our own numbers alone, with no network.
    image : Image
    given : ShapeClassifier or None
        Fitted before, e.g. on another image: it predicts until this image's labels suffice.

    Examples
    --------
    >>> mask = Mask((2, 2), np.ones((6, 6), bool), (16, 16), label="square")
    >>> guesser = Guesser(None, Image(np.eye(16)))
    >>> guesser.guess({1: Particle(mask)}).status
    'Name two particles of each of two classes: 1 square so far.'
    """

    session: Describer | None
    image: Image
    given: ShapeClassifier | None = None
    _rows: dict[str, np.ndarray] = field(default_factory=dict, repr=False)
    _digests: dict[Mask, str] = field(default_factory=dict, repr=False)
    _head: FeatureTable | None = field(default=None, repr=False)

    @property
    def ready(self) -> bool:
        """Whether the numbers of some masks were worked out already."""
        return self._head is not None

    def missing(self, masks: Sequence[Mask]) -> list[Mask]:
        """Return the masks whose numbers are not there yet."""
        found = {self._digest(mask): mask for mask in masks}
        return [mask for digest, mask in found.items() if digest not in self._rows]

    def learn(self, masks: Sequence[Mask]) -> None:
        """Work out the numbers of masks; slow where a network takes part.

        Raises
        ------
        ModelError
            If the feature model cannot be loaded.
        """
        if not masks:
            return
        chosen = MaskSet(tuple(masks), self.image.shape)
        describe = getattr(self.session, "features", None)
        found = describe(self.image, chosen) if describe else particle_numbers(self.image, chosen)
        self._head = found[:0]
        for mask, row in zip(masks, found.values, strict=True):
            self._rows[self._digest(mask)] = row

    def features(self, masks: Sequence[Mask]) -> FeatureTable:
        """Return the rows of masks, working out what is missing."""
        self.learn(self.missing(masks))
        if self._head is None:
            return particle_numbers(self.image, MaskSet(tuple(masks), self.image.shape))
        rows = [self._rows[self._digest(mask)] for mask in masks]
        values = np.array(rows, np.float32).reshape(len(rows), len(self._head.names))
        return replace(self._head, values=values, images=(self.image.digest,) * len(rows))

    def _digest(self, mask: Mask) -> str:
        # a mask with another label is another object with the same pixels
        if mask not in self._digests:
            self._digests[mask] = mask.digest
        return self._digests[mask]

    def guess(self, particles: Mapping[int, Particle]) -> Guesses:
        """Return classes of particles from their labels, fitting and predicting anew.

        Parameters
        ----------
        particles : mapping of int to Particle
            Those that count; ``mask.label`` is what a person called them.
        """
        numbers = list(particles)
        labels = [particles[n].mask.label for n in numbers]
        table = pd.DataFrame(
            {
                "label": labels,
                "class": labels,
                "probability": [1.0 if v else np.nan for v in labels],
            },
            index=pd.Index(numbers, name="particle"),
        ).astype({"label": object, "class": object})
        usable, status = enough(labels)
        if not usable and self.given is None:
            return Guesses(table, self._far(particles), status, None)
        features = self.features([particles[n].mask for n in numbers])
        try:
            classifier, told, status = self._fitted(features, usable, status)
        except DataError as error:
            # labels of what cannot be measured, or a classifier of other features
            return Guesses(table, self._far(particles), str(error), None)
        names = [str(name) for name in classifier.classes_]
        for name in names:
            table[name] = told[name].to_numpy()
        free = np.array([not label for label in labels], bool)
        table.loc[free, "class"] = told["class"].to_numpy()[free]
        table.loc[free, "probability"] = told["probability"].to_numpy()[free]
        table.attrs.update(told.attrs)
        return Guesses(table, _unsure(table, names), status if usable else "", classifier)

    def _fitted(
        self, features: FeatureTable, usable: Mapping[int, str], status: str
    ) -> tuple[ShapeClassifier, pd.DataFrame, str]:
        """A classifier, what it says of every row, and what is missing yet."""
        classifier = self.given
        with warnings.catch_warnings():
            # of particles that are too small to be measured the table itself tells
            warnings.simplefilter("ignore")
            if usable:
                rules = {} if self.given is None else self.given.get_params()
                classifier = ShapeClassifier(**rules).fit(features, usable)
            assert classifier is not None
            return classifier, classifier.predict(features), status

    def _far(self, particles: Mapping[int, Particle]) -> tuple[int, ...]:
        """Particles without a label, those that are least like the named ones first.

        Without any name the most usual one comes first.
        """
        masks = [p.mask for p in particles.values()]
        named = np.array([bool(mask.label) for mask in masks], bool)
        numbers = np.array(list(particles), int)
        if len(masks) < 3 or self.missing(masks):
            return tuple(numbers[~named].tolist())
        values = self.features(masks).columns("").values.astype(float)
        usual, spread = np.nanmedian(values, axis=0), np.nanstd(values, axis=0)
        space = np.nan_to_num((values - usual) / np.where(spread > 0, spread, 1.0))
        if named.any():
            gaps = ((space[:, None] - space[named][None]) ** 2).sum(axis=2).min(axis=1)
        else:
            gaps = -(space**2).sum(axis=1)
        order = np.argsort(-gaps, kind="stable")
        return tuple(numbers[[i for i in order if not named[i]]].tolist())


def enough(labels: Sequence[str]) -> tuple[dict[int, str], str]:
    """Return the labels by row that classes can be learned from, and what is missing yet.

    A class with a single label does not take part.

    Examples
    --------
    >>> enough(["rod", "", "rod", "disc"])
    ({}, 'Name two particles of each of two classes: 2 rod, 1 disc so far.')
    >>> enough(["rod", "rod", "disc", "disc", "cube"])[1]
    'One label more is needed for cube.'
    """
    counts: dict[str, int] = {}
    for label in filter(None, labels):
        counts[label] = counts.get(label, 0) + 1
    full = {name for name, count in counts.items() if count >= LEAST}
    short = [name for name in counts if name not in full]
    if len(full) < 2:
        told = ", ".join(f"{count} {name}" for name, count in counts.items()) or "none"
        return {}, f"Name two particles of each of two classes: {told} so far."
    usable = {row: label for row, label in enumerate(labels) if label in full}
    return usable, f"One label more is needed for {', '.join(short)}." if short else ""


def _unsure(table: pd.DataFrame, names: Sequence[str]) -> tuple[int, ...]:
    """Particles without a label, those that a label would teach most about first.

    That is where the two most probable classes are nearly as probable (margin sampling; B. Settles,
    Active Learning, 2012, 2.3), and before them what is like no label at all. Those that cannot be
    measured come last.
    """
    free = table[table["label"] == ""]
    if free.empty:
        return ()
    ranked = np.sort(free[list(names)].to_numpy(float), axis=1)
    margin = ranked[:, -1] - ranked[:, -2] if ranked.shape[1] > 1 else 1 - ranked[:, -1]
    strange = (free["class"] == UNKNOWN).to_numpy() & (margin > 0.5)
    order = np.argsort(np.where(strange, margin - 2, np.where(margin == margin, margin, 2)))
    return tuple(int(n) for n in free.index[order])
