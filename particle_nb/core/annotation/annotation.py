"""`Annotation`: an image, its particles, a model and every step so far; no widget, no browser."""

from __future__ import annotations

import dataclasses
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from particle_nb.core.annotation.actions import load_line, perform, preview
from particle_nb.core.annotation.autosave import Autosave
from particle_nb.core.annotation.drafts import Foresight, encoding_window
from particle_nb.core.annotation.guesses import Guesser, Guesses
from particle_nb.core.annotation.history import Draft, History, Particle, State
from particle_nb.core.annotation.premises import premises_of
from particle_nb.core.annotation.tally import Tally
from particle_nb.core.annotation.thresholds import (
    OFF,
    filter_values,
    filterable,
    filtered,
    last_settings,
    read_settings,
    write_settings,
)
from particle_nb.core.errors import DataError, ImageError, PromptError
from particle_nb.core.image import Calibration, Image, RegionOfInterest
from particle_nb.core.learning import ShapeClassifier
from particle_nb.core.masks import MaskSet


@dataclass(frozen=True, eq=False)
class Advance:
    """What moving to another place of the history changed.

    Parameters
    ----------
    before : State
    changes : mapping of int to Particle or None
        As `State.changed`.
    failure : DataError or None
        Why it could not be saved.
    """

    before: State
    changes: Mapping[int, Particle | None]
    failure: DataError | None


class Annotation:
    """What the annotator in the cell works on; it does the same without a cell.

    Parameters
    ----------
    session : Session or None
        Answers prompts; with None masks can be drawn by hand and edited only.
    image : Image
    masks : MaskSet or None
        Proposals to start from; they can be filtered, corrected and judged.
    autosave : bool or path
        True saves at each commit in the working folder (a notebook's own), under a name made from
        image and proposals; a path saves there; False does not save. A file that is there already
        is continued.

    Raises
    ------
    ImageError, DataError
        If the image is no `Image`, or the masks are of another frame.

    Examples
    --------
    >>> import numpy as np
    >>> made = Annotation(None, Image(np.zeros((16, 16), np.uint8)), autosave=False)
    >>> made.do("polygon", path=[[2, 2], [9, 2], [9, 9], [2, 9]])
    >>> made.masks[0].area
    64
    >>> made.undo()
    >>> len(made.masks)
    0
    """

    def __init__(
        self,
        session: Any,
        image: Image,
        masks: MaskSet | None = None,
        *,
        autosave: bool | str | os.PathLike[str] = True,
    ) -> None:
        if not isinstance(image, Image):
            raise ImageError(
                f"expected a particle_nb.Image, not {type(image).__name__}; "
                "use read_image(path) or Image(array)."
            )
        if masks is not None and not isinstance(masks, MaskSet):
            raise DataError(f"masks must be a MaskSet or None, not {type(masks).__name__}.")
        if masks is not None and masks.shape != image.shape:
            raise DataError(f"the masks are of a frame {masks.shape}, the image of {image.shape}.")
        if session is not None and not callable(getattr(session, "predict", None)):
            raise DataError(
                f"expected a particle_nb.Session or None, not {type(session).__name__}."
            )
        self.session = session
        self._original = image
        self.image = image
        self.selection: tuple[int, ...] = ()
        self._history = History(image.shape)
        self._tally = Tally(image.shape, image.calibration)
        self._foresight: Foresight | None = None
        self._values: pd.DataFrame | None = None
        self._watchers: list[tuple[Callable[[Any], None], bool]] = []
        self._autosave = Autosave(autosave, image, masks)
        if masks is not None and len(masks):
            self._history = perform(self._history, load_line(masks), image, None)
        saved, self._hint = self._autosave.load()
        self._history = saved or self._history
        self._settings = last_settings(self._history)
        self._premises = premises_of(self._history)
        self._guesser = Guesser(session, image)
        self._suppose()

    # -------------------------------------------------------------------------- what it holds

    @property
    def masks(self) -> MaskSet:
        """The committed masks that pass the filter, with their classes as labels.

        They carry the scale and the region that were drawn here: ``measure(editor.masks)``.
        """
        drawn: dict[str, Any] = {"drawn_scale": self._premises.calibration}
        if self._premises.parts:
            drawn["drawn_region"] = self.image.region
        return dataclasses.replace(self._history.state.masks, **drawn)

    @property
    def calibration(self) -> Calibration | None:
        """The scale that holds now: the drawn one, or else the image's own; None without any."""
        return self.image.calibration

    @property
    def state(self) -> State:
        """All particles with names, notes and flags, and the draft."""
        return self._history.state

    @property
    def history(self) -> History:
        """Every state so far."""
        return self._history

    @property
    def table(self) -> pd.DataFrame:
        """What was measured on the kept particles, indexed by particle number."""
        return self._tally.table(self.state)

    @property
    def region(self) -> RegionOfInterest | None:
        """The part of the image that is analysed, for ``measure(..., region=editor.region)``.

        None for all of it. ``region.mask`` is a bool array (H, W).
        """
        return self.image.region

    @property
    def labels(self) -> dict[int, str]:
        """Classes that a person gave, by the index of the mask in `masks`.

        As `ShapeClassifier.fit` takes them beside ``session.features(image, editor.masks)``.
        """
        return {i: mask.label for i, mask in enumerate(self.masks) if mask.label}

    @property
    def classes(self) -> pd.DataFrame:
        """The class of every kept particle, one row each in the order of `masks`.

        Indexed by particle number: ``label`` (given by a person, "" for none), ``class`` (that, or
        else the predicted one; "unknown" where none is certain), ``probability`` (1 for a label,
        NaN where nothing can be predicted yet) and one column a predicted class. ``attrs`` says
        model, digest and licence of the features. The numbers of new masks are worked out first,
        which takes a moment.

        Raises
        ------
        ModelError
            If the session's feature model cannot be loaded.
        """
        return self._guesses().table

    @property
    def classifier(self) -> ShapeClassifier | None:
        """The classifier that `classes` come from; None while labels are too few.

        One that was fitted before, on another image, can be set: it predicts until this image has
        labels that suffice, and its rules (``reject``, ``novelty`` ...) go on to hold.

        Raises
        ------
        DataError
            If what is set is no fitted `ShapeClassifier` or None.
        """
        return self._guesses().classifier

    @classifier.setter
    def classifier(self, given: ShapeClassifier | None) -> None:
        """Predict by a classifier that was fitted before; None takes it back."""
        if given is not None and not hasattr(given, "classes_"):
            raise DataError(
                f"expected a fitted ShapeClassifier or None, not {type(given).__name__}; "
                "load one with ShapeClassifier.load(path), or name particles here."
            )
        self._guesser.given = given
        self._classes_changed()

    def _suppose(self) -> None:
        """Take the scale and the region that hold now."""
        image = self._premises.applied(self._original)
        known = self.image
        if image.calibration == known.calibration and image.region is known.region:
            return
        self.image = image
        self._tally = Tally(image.shape, image.calibration, image.region)
        # the size in physical units is one of the features
        self._guesser = Guesser(self.session, image, self._guesser.given)

    def _guesses(self) -> Guesses:
        return self._guesser.guess({n: p for n, p in self.state.particles.items() if p.kept})

    def _classes_changed(self) -> None:
        """Where an annotation is shown, this shows other classes."""

    @property
    def log(self) -> str:
        """The prompt log as JSON lines, for `particle_nb.replay`."""
        return self._history.log(**self._facts())

    def _facts(self) -> dict[str, Any]:
        scale, own = self.image.calibration, self._original.calibration
        about: dict[str, Any] = {"digest": self.image.digest, "name": self.image.name}
        if scale is not None:
            about["calibration"] = dataclasses.asdict(scale)
        if scale != own:
            about["own_calibration"] = own and dataclasses.asdict(own)
        if self.image.region is not self._original.region:
            region = self._original.region
            about["own_region"] = region and region.json()
        facts: dict[str, Any] = {"image": about}
        if self.image.region is not None:
            facts["region"] = self.image.region.json()
        segmenter = getattr(self.session, "segmenter", None)
        if segmenter is not None:
            facts["model"] = {"name": segmenter.name, "digest": segmenter.digest}
        return facts

    # ------------------------------------------------------------------------------- changing

    def do(self, action: str, **parameters: Any) -> None:
        """Do what a person could do in the cell, e.g. ``do("point", x=10, y=20)``.

        Raises
        ------
        PromptError, DataError
            As `particle_nb.core.annotation.actions.perform`.
        """
        self._act({"action": action, **parameters})

    def undo(self) -> None:
        """Go one step back."""
        self._go(self._history.undo())

    def redo(self) -> None:
        """Go one step forward again."""
        self._go(self._history.redo())

    def jump(self, position: int) -> None:
        """Go to the state after so many steps.

        Raises
        ------
        DataError
            If there are fewer.
        """
        self._go(self._history.jump(position))

    def select(self, numbers: Any) -> None:
        """Select particles by their numbers; numbers that are not there are passed over."""
        self.selection = tuple(n for n in map(int, numbers) if n in self.state.particles)

    def watch(self, run: Callable[[Any], None], drafts: bool = False) -> None:
        """Call `run(self)` after each change of the committed particles (or of drafts too)."""
        self._watchers.append((run, drafts))

    def save(self, path: str | os.PathLike[str] | None = None, with_image: bool = True) -> Path:
        """Write the annotation to a ``.pnb`` file, atomically.

        Parameters
        ----------
        path : path or None
            The autosaved file when left out.
        with_image : bool
            Whether the pixels go in too, so that `open_annotation` needs nothing else.

        Raises
        ------
        DataError
            If there is no path or it cannot be written.
        """
        return self._autosave.save(path, self._history, self._facts(), with_image)

    def _act(self, line: dict[str, Any], request: str | None = None) -> None:
        """Do the action of a log line; ``view`` in it becomes the window that is encoded."""
        line["at"] = round(time.time(), 3)
        view = line.pop("view", None)
        if view is not None:
            line["window"] = encoding_window(view, self.image.shape)
        if line.get("action") == "region" and self._settings != OFF:
            self._measure_filter()
        if line.get("action") == "filter":
            self._measure_filter()
            # the log says all thresholds, also those that have their default
            # sliders and logs count pixels
            settings = read_settings(line.get("settings")).in_pixels(self.image.calibration)
            line["settings"] = write_settings(settings)
        after = perform(self._history, line, self._original, self._predictor, self._values)
        self._go(after, request)

    def _go(self, history: History, request: str | None = None) -> None:
        """Take another history, tell who wants to know, and only then say what failed."""
        advance = self._advance(history)
        self._show(advance, request)
        for run, drafts in self._watchers:
            if advance.changes or drafts:
                run(self)
        if advance.failure is not None:
            raise advance.failure

    def _advance(self, history: History) -> Advance:
        before, self._history = self._history.state, history
        changes = before.changed(history.state)
        self.selection = tuple(n for n in self.selection if n in history.state.particles)
        failure = None
        settings = last_settings(history)
        moved, self._settings = settings != self._settings, settings
        premises = premises_of(history)
        moved, self._premises = moved or premises != self._premises, premises
        self._suppose()
        if changes or moved:  # a threshold that hides nothing now is set all the same
            try:
                # saved before it is shown as committed: a kill after this loses nothing
                self._autosave.commit(history, self._facts())
            except DataError as error:
                failure = error
        return Advance(before, changes, failure)

    def _show(self, advance: Advance, request: str | None) -> None:
        """Where an annotation is shown, this shows what changed."""

    # --------------------------------------------------------------------------------- asking

    @property
    def _predictor(self) -> Foresight | None:
        if self.session is None:
            return None
        if self._foresight is None or self._foresight.session is not self.session:
            self._foresight = Foresight(self.session)
        return self._foresight

    def _preview(self, line: dict[str, Any]) -> Draft:
        """What a click would give, changing nothing."""
        predictor = self._predictor
        if predictor is None:
            raise PromptError("a prompt needs a session with a segmenter to answer it.")
        line["window"] = encoding_window(line.pop("view"), self.image.shape)
        return preview(self.state, line, self.image, predictor)

    def _measure_filter(self) -> None:
        numbers = set(filterable(self.state))
        if self._values is None or not numbers <= set(self._values.index):
            self._values = filter_values(self.state, self.image)

    def _try_filter(self, settings: Any) -> tuple[State, dict[str, int]]:
        """The state under other thresholds, and how many each stage hides; no step is made."""
        self._measure_filter()
        return filtered(self.state, read_settings(settings), self.image, self._values)

    def _removed(self) -> dict[str, int]:
        """How many proposals each stage of the cascade hides now."""
        if self._settings == OFF or not filterable(self.state):
            return {}
        return self._try_filter(write_settings(self._settings))[1]

    def __reduce_ex__(self, protocol: Any) -> Any:
        raise TypeError(
            f"an {type(self).__name__} cannot be copied or pickled: it is tied to its session and "
            "to the file that it saves to, which two would write. Copy or pickle its history, "
            "masks or table, or save it with save('a.pnb') and open that with open_annotation."
        )

    def __repr__(self) -> str:
        facts = self._tally.facts(self.state)
        d10, d50, d90 = facts["sizes"]["3"]["percentiles"]
        sizes = (
            ""
            if d50 is None
            else f", D10 {d10:.4g}, D50 {d50:.4g}, D90 {d90:.4g} {facts['unit']} (by volume)"
        )
        return (
            f"{type(self).__name__} of {self.image.name or 'an image'}: {facts['count']} "
            f"particle{'' if facts['count'] == 1 else 's'}, "
            f"{100 * facts['coverage']:.1f} % covered{sizes}"
        )
