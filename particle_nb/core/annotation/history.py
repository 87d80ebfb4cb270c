"""Every state of an annotation, undoable without limit: `Particle`, `Draft`, `State`, `History`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from types import MappingProxyType
from typing import Any

from particle_nb.core.errors import DataError
from particle_nb.core.masks import Mask, MaskSet

#: What the first line of every prompt log says about itself.
LOG_FORMAT = "particle_nb.log/1"

_SOURCES = ("", "proposal", "model", "hand")

_REVIEWS = ("", "accepted")

_TARGETS = ("best", "whole", "feature")

_TEXT_LIMIT = 10_000


def _text(value: Any, what: str) -> str:
    if not isinstance(value, str) or len(value) > _TEXT_LIMIT:
        raise DataError(f"{what} is text of at most {_TEXT_LIMIT} characters, not {value!r:.60}.")
    try:
        value.encode("utf-8")
    except UnicodeEncodeError:
        raise DataError(f"{what} holds half a character: {value!r:.60}.") from None
    return value


@dataclass(frozen=True, eq=False)
class Particle:
    """One annotated particle: its mask and what a person said about it.

    Parameters
    ----------
    mask : Mask
        Its pixels; ``mask.label`` is its class.
    name, note : str
    visible, locked : bool
        Whether it is drawn; whether edits are refused.
    kept : bool
        Whether it passes the filter's thresholds.
    review : str
        ``"accepted"`` once a person has looked at it, else empty.
    source : str
        ``"proposal"``, ``"model"`` (a prompt was answered) or ``"hand"``.

    Raises
    ------
    DataError
        If the mask is no `Mask`, or a field is of the wrong type or unknown.

    Examples
    --------
    >>> import numpy as np
    >>> Particle(Mask((0, 0), np.ones((2, 2), bool), (4, 4)), name="a").kept
    True
    """

    mask: Mask
    name: str = ""
    note: str = ""
    visible: bool = True
    locked: bool = False
    kept: bool = True
    review: str = ""
    source: str = ""

    def __post_init__(self) -> None:
        if not isinstance(self.mask, Mask):
            raise DataError(f"a particle needs a Mask, not {type(self.mask).__name__}.")
        for part in ("name", "note"):
            _text(getattr(self, part), f"a particle's {part}")
        for part in ("visible", "locked", "kept"):
            if not isinstance(getattr(self, part), bool):
                raise DataError(f"a particle's {part} is true or false.")
        if self.review not in _REVIEWS or self.source not in _SOURCES:
            raise DataError(
                f"a particle's review is one of {_REVIEWS} and its source one of {_SOURCES}, "
                f"not {self.review!r} and {self.source!r}."
            )

    def replace(self, **changes: Any) -> Particle:
        """Return a copy with some fields changed."""
        return replace(self, **changes)

    @property
    def doubt(self) -> float:
        """One minus the confidence, 0 to 1, or where the model gave none, one minus predicted IoU
        times stability; 0.5 where it gave no score at all.

        Examples
        --------
        >>> import numpy as np
        >>> mask = Mask((0, 0), np.ones((2, 2), bool), (4, 4), 0.9, 0.5)
        >>> round(Particle(mask).doubt, 6)
        0.55
        >>> sure = Mask((0, 0), np.ones((2, 2), bool), (4, 4), confidence=0.8)
        >>> round(Particle(sure).doubt, 6)
        0.2
        """
        if self.mask.confidence is not None:
            return 1.0 - self.mask.confidence
        known = [
            min(max(score, 0.0), 1.0)
            for score in (self.mask.predicted_iou, self.mask.stability_score)
            if score == score
        ]
        if not known:
            return 0.5
        product = 1.0
        for score in known:
            product *= score
        return 1.0 - product


@dataclass(frozen=True, eq=False)
class Draft:
    """A particle in the making: the prompt so far and the model's candidates.

    Parameters
    ----------
    points : tuple of (x, y)
    labels : tuple of 0 or 1
    box : (x0, y0, x1, y1) or None
    sketch : Mask or None
        Drawn by hand, or the mask that is being refined.
    window : (x0, y0, x1, y1) or None
        The part of the image whose encoding answers; None for the whole image.
    target : str
        Which candidate is offered first: ``"best"`` predicted IoU, the ``"whole"`` particle
        (the largest) or a ``"feature"`` on it (the smallest).
    candidates : tuple of Mask
    choice : int
        The candidate that a commit takes.
    refines : int or None
        The particle that a commit replaces.
    """

    points: tuple[tuple[float, float], ...] = ()
    labels: tuple[int, ...] = ()
    box: tuple[float, float, float, float] | None = None
    sketch: Mask | None = None
    window: tuple[int, int, int, int] | None = None
    target: str = "best"
    candidates: tuple[Mask, ...] = ()
    choice: int = 0
    refines: int | None = None

    def __post_init__(self) -> None:
        if len(self.points) != len(self.labels):
            raise DataError(f"{len(self.points)} points but {len(self.labels)} labels in a draft.")
        if self.target not in _TARGETS:
            raise DataError(f"a draft's target is one of {_TARGETS}, not {self.target!r}.")
        for part in ("box", "window"):
            corners = getattr(self, part)
            if corners is not None and (not isinstance(corners, tuple) or len(corners) != 4):
                raise DataError(f"a draft's {part} is (x0, y0, x1, y1), not {corners!r:.60}.")
        if self.candidates and not 0 <= self.choice < len(self.candidates):
            raise DataError(f"candidate {self.choice} of {len(self.candidates)} does not exist.")

    def replace(self, **changes: Any) -> Draft:
        """Return a copy with some fields changed."""
        return replace(self, **changes)

    @property
    def mask(self) -> Mask | None:
        """The chosen candidate, or None."""
        return self.candidates[self.choice] if self.candidates else None


@dataclass(frozen=True, eq=False)
class State:
    """All particles by their number, and the draft, at one moment.

    Parameters
    ----------
    shape : (H, W)
    particles : mapping of int to Particle
        In the order in which they were made.
    draft : Draft or None
    next_id : int
        The number of the next particle; never given twice.
    """

    shape: tuple[int, int]
    particles: Mapping[int, Particle] = field(default_factory=dict)
    draft: Draft | None = None
    next_id: int = 1

    def __post_init__(self) -> None:
        object.__setattr__(self, "particles", MappingProxyType(dict(self.particles)))

    def __reduce__(self) -> Any:
        # a read-only view of a dict can be neither pickled nor copied
        return State, (self.shape, dict(self.particles), self.draft, self.next_id)

    def put(self, changes: Mapping[int, Particle | None]) -> State:
        """Return the state with some particles added, replaced or (None) removed."""
        particles = dict(self.particles)
        for number, particle in changes.items():
            if particle is None:
                particles.pop(number, None)
            else:
                particles[number] = particle
        top = max((self.next_id, *(number + 1 for number in changes)))
        return State(self.shape, particles, self.draft, top)

    def add(self, *particles: Particle) -> State:
        """Return the state with new particles behind the others."""
        return self.put({self.next_id + i: particle for i, particle in enumerate(particles)})

    def drafting(self, draft: Draft | None) -> State:
        """Return the state with another draft."""
        return State(self.shape, self.particles, draft, self.next_id)

    def __getitem__(self, number: int) -> Particle:
        try:
            return self.particles[int(number)]
        except (KeyError, TypeError, ValueError):
            raise DataError(f"there is no particle {number!r}; it may have been deleted.") from None

    @property
    def masks(self) -> MaskSet:
        """The committed masks that pass the filter, in order."""
        return MaskSet(tuple(p.mask for p in self.particles.values() if p.kept), self.shape)

    def most_doubtful(
        self, after: int | None = None, gone: Mapping[int, Particle | None] | None = None
    ) -> int | None:
        """Number of the kept particle to look at next: most doubtful first, accepted ones never.

        Parameters
        ----------
        after : int or None
            The particle that was looked at last; the queue goes on behind it, also where it has
            been accepted since, and begins again at its end.
        gone : mapping of int to Particle, or None
            Where `after` is found if it has been deleted since.
        """
        queue = sorted(
            (-p.doubt, n) for n, p in self.particles.items() if p.kept and p.review != "accepted"
        )
        last = None if after is None else self.particles.get(after) or (gone or {}).get(after)
        if not queue or last is None:
            return queue[0][1] if queue else None
        return next((n for doubt, n in queue if (doubt, n) > (-last.doubt, after)), queue[0][1])

    def changed(self, other: State) -> dict[int, Particle | None]:
        """What must be `put` into this state to get the particles of the other."""
        mine, its = self.particles, other.particles
        changes: dict[int, Particle | None] = {n: None for n in mine if n not in its}
        changes.update({n: p for n, p in its.items() if mine.get(n) is not p})
        return changes


@dataclass(frozen=True, eq=False)
class Step:
    """One change of state: what was done and what it changed, forwards and backwards.

    Parameters
    ----------
    record : mapping
        The line of the prompt log: ``action``, its parameters, ``result``.
    after, before : mapping of int to Particle or None
        Only the particles that changed; None where there is none.
    draft, draft_before : Draft or None
    """

    record: Mapping[str, Any]
    after: Mapping[int, Particle | None] = field(default_factory=dict)
    before: Mapping[int, Particle | None] = field(default_factory=dict)
    draft: Draft | None = None
    draft_before: Draft | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.record, MappingProxyType):
            object.__setattr__(self, "record", MappingProxyType(dict(self.record)))

    def __reduce__(self) -> Any:
        changes = dict(self.after), dict(self.before), self.draft, self.draft_before
        return Step, (dict(self.record), *changes)

    @property
    def commits(self) -> bool:
        """Whether a particle changed, not only the draft."""
        return bool(self.after)

    @property
    def focus(self) -> tuple[Mask, ...]:
        """The masks that a picture of this step shows; at most 64."""
        found = [p.mask for p in self.after.values() if p is not None]
        if not found and self.draft is not None and self.draft.mask is not None:
            found = [self.draft.mask]
        if not found:
            found = [p.mask for p in self.before.values() if p is not None]
        return tuple(found[:: -(-len(found) // 64) or 1])


@dataclass(frozen=True, eq=False)
class History:
    """An immutable sequence of steps with a position in it.

    `do`, `undo`, `redo` and `jump` return another history; nothing is ever forgotten but the
    steps that were undone before something else was done. A step holds only what it changed.
    It can be copied and pickled.

    Parameters
    ----------
    shape : (H, W)
        Size of the image in pixels.
    steps : tuple of Step
    position : int
        Number of steps that are in force.
    state : State or None
        The state there; worked out from the steps when left out.

    Examples
    --------
    >>> import numpy as np
    >>> mask = Mask((0, 0), np.ones((2, 2), bool), (4, 4))
    >>> start = History((4, 4))
    >>> made = start.do({"action": "polygon"}, start.state.add(Particle(mask)))
    >>> len(made.state.particles), len(made.undo().state.particles)
    (1, 0)
    >>> len(made.undo().redo().state.particles)
    1
    """

    shape: tuple[int, int]
    steps: tuple[Step, ...] = ()
    position: int = 0
    state: State = None  # type: ignore[assignment]

    def __post_init__(self) -> None:
        if not 0 <= self.position <= len(self.steps):
            raise DataError(f"position {self.position} lies outside {len(self.steps)} steps.")
        if self.state is None:
            state = State(self.shape)
            for step in self.steps[: self.position]:
                state = state.put(step.after).drafting(step.draft)
            object.__setattr__(self, "state", state)

    def do(self, record: Mapping[str, Any], state: State) -> History:
        """Return the history after one more step that leads to `state`; undone steps go.

        Raises
        ------
        DataError
            If the record names no action.
        """
        if not isinstance(record, Mapping) or not isinstance(record.get("action"), str):
            raise DataError(f"a step's record names its action, not {record!r:.80}.")
        after = self.state.changed(state)
        before = {number: self.state.particles.get(number) for number in after}
        step = Step(dict(record), after, before, state.draft, self.state.draft)
        return History(self.shape, (*self.steps[: self.position], step), self.position + 1, state)

    def undo(self) -> History:
        """Return the history one step back; itself at the beginning."""
        return self.jump(self.position - 1) if self.position else self

    def redo(self) -> History:
        """Return the history one step forward; itself at the end."""
        return self.jump(self.position + 1) if self.position < len(self.steps) else self

    def jump(self, position: int) -> History:
        """Return the history with the first `position` steps in force.

        Raises
        ------
        DataError
            If there are fewer steps.
        """
        if not isinstance(position, int) or not 0 <= position <= len(self.steps):
            raise DataError(
                f"there is no step {position!r} to jump to; steps run from 0 to {len(self.steps)}."
            )
        state = self.state
        if position < self.position:
            for step in reversed(self.steps[position : self.position]):
                state = state.put(step.before).drafting(step.draft_before)
        for step in self.steps[self.position : position]:
            state = state.put(step.after).drafting(step.draft)
        # a particle that comes back takes its old place, and numbers follow from the steps in
        # force alone: otherwise a replayed log, which knows no undo, would number differently
        number = 1 + max((n for step in self.steps[:position] for n in step.after), default=0)
        state = State(self.shape, dict(sorted(state.particles.items())), state.draft, number)
        return History(self.shape, self.steps, position, state)

    @cached_property
    def digest(self) -> str:
        """Digest of the committed masks."""
        return self.state.masks.digest

    def log(self, **facts: Any) -> str:
        """Return the prompt log as JSON lines: a header with `facts`, then the steps in force.

        Examples
        --------
        >>> History((4, 4)).log(image={"digest": "0"})
        '{"format": "particle_nb.log/1", "shape": [4, 4], "image": {"digest": "0"}}\\n'
        """
        lines = [{"format": LOG_FORMAT, "shape": list(self.shape), **facts}]
        lines += [dict(step.record) for step in self.steps[: self.position]]
        return "".join(json.dumps(line, allow_nan=False) + "\n" for line in lines)
