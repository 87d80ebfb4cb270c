"""What a person can do to an annotation: every action of the prompt log.

An action is a mapping such as ``{"action": "point", "x": 10, "y": 20}``. `perform` answers it with
the next history; the widgets, `replay.replay`, papermill and the tests all go through it.
"""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from particle_nb.core.annotation import strokes
from particle_nb.core.annotation._json import mask_json, mask_of
from particle_nb.core.annotation.drafts import Predictor, choose, predicted, read_point, read_window
from particle_nb.core.annotation.history import Draft, History, Particle, State
from particle_nb.core.annotation.premises import (
    Premises,
    drawn_scale,
    premises_of,
    read_class,
    read_names,
)
from particle_nb.core.annotation.thresholds import (
    OFF,
    filtered,
    last_settings,
    read_settings,
)
from particle_nb.core.cascade import FilterSettings
from particle_nb.core.errors import DataError, ParticleError, PromptError
from particle_nb.core.image import Image, RegionOfInterest
from particle_nb.core.image.region import read_parts
from particle_nb.core.masks import Mask, MaskSet, Prompt

# what values of the wrong type or range lead to, where an action does not look at them itself
_WRONG_VALUES = (
    TypeError,
    ValueError,
    KeyError,
    IndexError,
    AttributeError,
    OverflowError,
    RecursionError,
)


@dataclass(frozen=True, eq=False)
class _Bench:
    """What an action works with: the state before it, the image and the model."""

    state: State
    image: Image
    session: Predictor | None
    values: pd.DataFrame | None = None
    original: Image | None = None
    premises: Premises = field(default_factory=Premises)
    settings: FilterSettings | None = None

    def unlocked(self, ids: Any) -> dict[int, Particle]:
        if isinstance(ids, (int, np.integer)):
            ids = [ids]
        if not isinstance(ids, Iterable) or isinstance(ids, (str, bytes)):
            raise DataError(f"ids is a list of particle numbers, not {ids!r:.60}.")
        found = {int(n): self.state[n] for n in ids}
        if not found:
            raise PromptError("no particle is selected; click one first.")
        locked = [n for n, particle in found.items() if particle.locked]
        if locked:
            raise PromptError(f"particle {locked[0]} is locked; unlock it first.")
        return found


def perform(
    history: History,
    line: Mapping[str, Any],
    image: Image,
    session: Predictor | None,
    values: pd.DataFrame | None = None,
) -> History:
    """Return the history after one more action.

    Parameters
    ----------
    history : History
    line : mapping
        ``action`` and its parameters, as in a line of the prompt log; see `ACTIONS`.
    image : Image
    session : Session
        Or anything with its ``predict``; None where no model is asked.
    values : DataFrame
        From `thresholds.filter_values`, for a ``filter`` that is answered at once; measured when
        left out.

    Raises
    ------
    PromptError
        If the prompt or the drawn path cannot be used, a particle is locked, or the model finds
        nothing.
    DataError
        If the action or one of its parameters is unknown.

    Examples
    --------
    >>> image = Image(np.zeros((16, 16), np.uint8))
    >>> square = {"action": "polygon", "path": [[2, 2], [9, 2], [9, 9], [2, 9]]}
    >>> perform(History((16, 16)), square, image, None).state.masks[0].area
    64
    """
    if not isinstance(line, Mapping):
        raise DataError(f"an action is a mapping, not {type(line).__name__}.")
    known = {key: value for key, value in line.items() if key not in ("action", "at", "result")}
    name = line.get("action")
    action = ACTIONS.get(name) if isinstance(name, str) else None
    if action is None:
        raise DataError(f"unknown action {name!r}; known are {', '.join(ACTIONS)}.")
    try:
        inspect.signature(action).bind(None, **known)
    except TypeError as error:
        raise DataError(f"the action {name!r} cannot be done: {error}.") from None
    premises, settings, original = premises_of(history), last_settings(history), image
    image = premises.applied(image)
    bench = _Bench(history.state, image, session, values, original, premises, settings)
    try:
        state = action(bench, **known)
        if image.region is not None and name != "region":
            state = _within(history.state, state, image.region)
    except ParticleError:
        raise
    except _WRONG_VALUES as error:
        raise DataError(
            f"the action {name!r} cannot be done with these values: {type(error).__name__} "
            f"{str(error)[:200]}"
        ) from error
    record = {key: value for key, value in line.items() if key != "result"}
    return history.do({**record, "result": _result(history.state, state)}, state)


def _within(before: State, after: State, region: RegionOfInterest) -> State:
    """The state with new masks outside the region hidden; refused where all of them lie there."""
    fresh = {n: p for n, p in before.changed(after).items() if p is not None and p.kept}
    fresh = {n: p for n, p in fresh.items() if n not in before.particles or _moved(before, n, p)}
    inside = region.holds([p.mask for p in fresh.values()])
    if fresh and not inside.any():
        raise PromptError(
            "this lies outside the region that is analysed; work inside it, or change the region."
        )
    out = [n for n, held in zip(fresh, inside, strict=True) if not held]
    return after.put({n: fresh[n].replace(kept=False) for n in out}) if out else after


def _moved(before: State, number: int, particle: Particle) -> bool:
    """Whether a particle has other pixels than before; a class or a name are none."""
    old = before.particles[number]
    return not old.kept or old.mask.digest != particle.mask.digest


def _result(before: State, after: State) -> dict[str, Any]:
    """What a replay compares with: digests, and pixels where a model may have drawn them."""
    result: dict[str, Any] = {}
    changes = before.changed(after)
    if after.draft is not before.draft and after.draft is not None and after.draft.mask:
        result["draft"] = after.draft.mask.digest
    made = {n: p.mask for n, p in changes.items() if p is not None}
    fresh = {
        n: mask
        for n, mask in made.items()
        if n not in before.particles or before.particles[n].mask is not mask
    }
    if fresh:
        result["masks"] = {str(n): mask.digest for n, mask in fresh.items()}
    if fresh and before.draft is not None:
        result["rle"] = {str(n): mask_json(mask) for n, mask in fresh.items()}
    return result


def preview(state: State, line: Mapping[str, Any], image: Image, session: Predictor) -> Draft:
    """Return the draft that a click at ``x, y`` would give, changing nothing.

    Raises
    ------
    PromptError
        As the action ``point``.
    """
    keys = ("x", "y", "label", "window", "target")
    return _pointed(
        _Bench(state, image, session), **{key: line[key] for key in keys if key in line}
    )


def _pointed(
    bench: _Bench, x: Any, y: Any, label: Any = 1, window: Any = None, target: str | None = None
) -> Draft:
    spot, sign = read_point(x, y, label)
    draft = _open(bench, window, target)
    draft = draft.replace(points=(*draft.points, spot), labels=(*draft.labels, sign))
    return predicted(draft, bench.image, bench.session)


def _open(bench: _Bench, window: Any, target: str | None) -> Draft:
    draft = bench.state.draft or Draft()
    if target is not None:
        draft = draft.replace(target=target)
    if not draft.points and draft.box is None and draft.sketch is None:
        draft = draft.replace(window=read_window(window, bench.image.shape))
    return draft


def _point(
    bench: _Bench, x: Any, y: Any, label: Any = 1, window: Any = None, target: str | None = None
) -> State:
    return bench.state.drafting(_pointed(bench, x, y, label, window, target))


def _box(bench: _Bench, box: Any, window: Any = None, target: str | None = None) -> State:
    rough = Prompt(box=box).box
    draft = _open(bench, window, target).replace(box=rough)
    return bench.state.drafting(predicted(draft, bench.image, bench.session))


def _sketch(
    bench: _Bench, path: Any, radius: Any = None, window: Any = None, target: str | None = None
) -> State:
    shape = bench.image.shape
    drawn = strokes.outline(path, shape) if radius is None else strokes.stroke(path, radius, shape)
    draft = _open(bench, window, target)
    if draft.sketch is not None and draft.refines is None:
        drawn = strokes.union([draft.sketch, drawn])
    draft = draft.replace(sketch=drawn)
    return bench.state.drafting(predicted(draft, bench.image, bench.session))


def _drafting(bench: _Bench) -> Draft:
    if bench.state.draft is None:
        raise PromptError("there is no particle in the making; click, draw a box or a sketch.")
    return bench.state.draft


def _candidate(bench: _Bench, choice: Any) -> State:
    draft = _drafting(bench)
    if not isinstance(choice, int) or not 0 <= choice < len(draft.candidates):
        raise PromptError(f"candidate {choice!r} of {len(draft.candidates)} does not exist.")
    return bench.state.drafting(draft.replace(choice=choice))


def _target(bench: _Bench, target: str) -> State:
    draft = (bench.state.draft or Draft()).replace(target=target)
    return bench.state.drafting(
        draft.replace(choice=choose(draft.candidates, target) if draft.candidates else 0)
    )


def _refine(bench: _Bench, id: Any) -> State:
    ((number, particle),) = bench.unlocked([id]).items()
    return bench.state.drafting(
        Draft(sketch=particle.mask, candidates=(particle.mask,), refines=number)
    )


def _commit(bench: _Bench, label: str = "") -> State:
    draft = _drafting(bench)
    if draft.mask is None:
        raise PromptError("nothing to commit yet; add a point inside the particle.")
    state = bench.state.drafting(None)
    if draft.refines is not None and draft.refines in state.particles:
        old = state[draft.refines]
        mask = draft.mask.replace(label=label or old.mask.label)
        return state.put({draft.refines: old.replace(mask=mask, kept=True, source="model")})
    mask = draft.mask.replace(label=label) if label else draft.mask
    return state.add(Particle(mask, source="model"))


def _cancel(bench: _Bench) -> State:
    _drafting(bench)
    return bench.state.drafting(None)


# ---------------------------------------------------------------------------------------- by hand


def _polygon(bench: _Bench, path: Any, label: str = "") -> State:
    mask = strokes.outline(path, bench.image.shape).replace(label=label)
    return bench.state.add(Particle(mask, source="hand"))


def _brush(bench: _Bench, path: Any, radius: Any, id: Any = None, label: str = "") -> State:
    drawn = strokes.stroke(path, radius, bench.image.shape)
    state = bench.state
    if id is not None:
        ((number, particle),) = bench.unlocked([id]).items()
        return _drawn(state, number, particle, strokes.union([particle.mask, drawn]))
    if state.draft is not None:
        whole = strokes.union([state.draft.mask, drawn]) if state.draft.mask else drawn
        return state.drafting(_by_hand(state.draft, whole))
    return state.add(Particle(drawn.replace(label=label), source="hand"))


def _erase(bench: _Bench, path: Any, radius: Any, id: Any = None) -> State:
    drawn = strokes.stroke(path, radius, bench.image.shape)
    state = bench.state
    if id is not None:
        ((number, particle),) = bench.unlocked([id]).items()
        rest = strokes.subtract(particle.mask, drawn)
        return state.put({number: None}) if rest is None else _drawn(state, number, particle, rest)
    if state.draft is None or state.draft.mask is None:
        raise PromptError("nothing to erase from; select one particle first.")
    rest = strokes.subtract(state.draft.mask, drawn)
    return state.drafting(None if rest is None else _by_hand(state.draft, rest))


def _by_hand(draft: Draft, mask: Mask) -> Draft:
    # what was drawn becomes the sketch, so that a later point refines it instead of losing it
    return Draft(
        sketch=mask,
        window=draft.window,
        target=draft.target,
        candidates=(mask,),
        refines=draft.refines,
    )


def _drawn(state: State, number: int, particle: Particle, mask: Mask) -> State:
    return state.put({number: particle.replace(mask=mask, kept=True, source="hand")})


def _split(bench: _Bench, path: Any, ids: Any = None) -> State:
    state = bench.state
    line = strokes.stroke(strokes.read_path(path, least=2), 0.75, bench.image.shape)
    if ids:
        chosen = bench.unlocked(ids)
    else:
        chosen = {n: p for n, p in state.particles.items() if p.visible and p.kept and not p.locked}
    parts: list[Particle] = []
    changes: dict[int, Particle | None] = {}
    for number, particle in chosen.items():
        if not particle.mask.intersection(line):
            continue
        pieces = strokes.cut(particle.mask, path)
        if len(pieces) > 1:
            changes[number] = particle.replace(mask=pieces[0], source="hand")
            parts += [particle.replace(mask=piece, source="hand") for piece in pieces[1:]]
    if not changes:
        raise PromptError("the line parts no particle; draw it right across one, rim to rim.")
    return state.put(changes).add(*parts)


def _merge(bench: _Bench, ids: Any) -> State:
    chosen = bench.unlocked(ids)
    if len(chosen) < 2:
        raise PromptError("merging takes two particles or more; select them with Shift+click.")
    first, *others = chosen
    mask = strokes.union([particle.mask for particle in chosen.values()])
    state = bench.state.put(dict.fromkeys(others))
    return _drawn(state, first, chosen[first], mask)


def _fill(bench: _Bench, ids: Any) -> State:
    chosen = bench.unlocked(ids)
    filled = {n: strokes.fill_holes(p.mask) for n, p in chosen.items()}
    changes = {
        n: chosen[n].replace(mask=mask, source="hand")
        for n, mask in filled.items()
        if mask.area > chosen[n].mask.area
    }
    if not changes:
        raise PromptError("there is no hole to fill in the selected particles.")
    return bench.state.put(changes)


def _delete(bench: _Bench, ids: Any) -> State:
    return bench.state.put(dict.fromkeys(bench.unlocked(ids)))


def _duplicate(bench: _Bench, ids: Any, shift: Any = (8, 8)) -> State:
    if isinstance(ids, (int, np.integer)):
        ids = [ids]
    copies = []
    for number in ids:
        particle = bench.state[number]
        mask = strokes.moved(particle.mask, shift, bench.image.shape)
        if mask is not None:
            copies.append(Particle(mask, note=particle.note, source="hand"))
    if not copies:
        raise PromptError("nothing of the copy would lie on the image; shift it less.")
    return bench.state.add(*copies)


def _paste(bench: _Bench, masks: Any) -> State:
    return _load(bench, masks, source="hand")


def _set(bench: _Bench, ids: Any, **changes: Any) -> State:
    fields = {"name", "note", "visible", "locked", "label"}
    if not changes or set(changes) - fields:
        raise DataError(f"of a particle one can set {sorted(fields)}, not {sorted(changes)}.")
    if isinstance(ids, (int, np.integer)):
        ids = [ids]
    label = changes.pop("label", None)
    if label is not None and (not isinstance(label, str) or len(label) > 200):
        raise DataError(f"a class is text of at most 200 characters, not {label!r:.60}.")
    new: dict[int, Particle | None] = {}
    for number in ids:
        particle = bench.state[number]
        if label is not None:
            if particle.locked:
                raise PromptError(f"particle {number} is locked; unlock it first.")
            particle = particle.replace(mask=particle.mask.replace(label=label))
        new[int(number)] = particle.replace(**changes)
    return bench.state.put(new)


def _classify(bench: _Bench, ids: Any, label: Any, names: Any = None) -> State:
    """Give particles a class; `names` is the palette from here on."""
    if names is not None:
        read_names(names)
    return bench.state.put(_labelled(bench.unlocked(ids), read_class(label)))


def _classes(bench: _Bench, names: Any, rename: Any = None) -> State:
    """Set the palette; `rename` maps old names to new ones, on the particles too."""
    read_names(names)
    if rename is None:
        return bench.state
    if not isinstance(rename, Mapping) or not all(isinstance(old, str) for old in rename):
        raise DataError(f"rename maps old names of classes to new ones, not {rename!r:.60}.")
    changes: dict[int, Particle | None] = {}
    for old, new in rename.items():
        worn = {n: p for n, p in bench.state.particles.items() if old and p.mask.label == old}
        if worn:
            changes |= _labelled(bench.unlocked(worn), read_class(new))
    return bench.state.put(changes)


def _scale(bench: _Bench, bar: Any = None, length: Any = None, found: Any = False) -> State:
    """Take the scale from a drawn bar; no particle changes, but what is measured does."""
    drawn_scale(bar, length, found)
    return bench.state


def _region(bench: _Bench, parts: Any) -> State:
    """Analyse a part of the image; what lies outside is hidden, what came inside is shown."""
    assert bench.original is not None  # `perform` gives it; this is for the type checker
    premises = dataclasses.replace(bench.premises, parts=read_parts(parts))
    image = premises.applied(bench.original)
    state, region = bench.state, image.region
    hidden: set[int] = set()
    if region is not None:
        inside = region.holds([p.mask for p in state.particles.values()])
        hidden = {n for n, held in zip(state.particles, inside, strict=True) if not held}
    flips = {n: p for n, p in state.particles.items() if p.kept == (n in hidden)}
    state = state.put({n: p.replace(kept=n not in hidden) for n, p in flips.items()})
    if bench.settings is None or bench.settings == OFF:
        return state
    return filtered(state, bench.settings, image, bench.values)[0]


def _labelled(chosen: Mapping[int, Particle], label: str) -> dict[int, Particle | None]:
    return {n: p.replace(mask=p.mask.replace(label=label)) for n, p in chosen.items()}


def _accept(bench: _Bench, ids: Any) -> State:
    chosen = bench.unlocked(ids)
    return bench.state.put({n: p.replace(review="accepted", kept=True) for n, p in chosen.items()})


def _reject(bench: _Bench, ids: Any) -> State:
    return _delete(bench, ids)


# ------------------------------------------------------------------------------- sets of masks


def load_line(masks: MaskSet, source: str = "proposal") -> dict[str, Any]:
    """Return the action that brings a set of masks into an annotation.

    Examples
    --------
    >>> load_line(MaskSet((), (8, 8)))
    {'action': 'load', 'source': 'proposal', 'masks': []}
    """
    return {"action": "load", "source": source, "masks": [mask_json(mask) for mask in masks]}


def paste_line(
    masks: Sequence[Mask], centre: Sequence[float], shape: tuple[int, int]
) -> dict[str, Any]:
    """Return the action that puts copies of masks, together, around a place of an image.

    Parameters
    ----------
    masks : sequence of Mask
        They may come from another image; pixels stay pixels.
    centre : (x, y)
        Where the middle of the box around all of them comes to lie, to a whole pixel.
    shape : (H, W)
        The image's.

    Raises
    ------
    PromptError
        If there is no mask, or none of them would lie on the image.

    Examples
    --------
    >>> dot = Mask((0, 0), np.ones((3, 3), bool), (4, 4))
    >>> line = paste_line([dot], (10, 20), (32, 32))
    >>> mask_of(line["masks"][0], (32, 32)).bbox
    (19, 9, 22, 12)
    """
    if not masks:
        raise PromptError("nothing was copied yet; select particles and press Ctrl+C.")
    boxes = np.array([mask.bbox for mask in masks])
    r0, c0 = boxes[:, :2].min(axis=0)
    r1, c1 = boxes[:, 2:].max(axis=0)
    (x, y), _ = read_point(centre[0], centre[1], 1)
    if not np.isfinite([x, y]).all():
        raise PromptError(f"a place is x and y in pixels of the image, not {centre!r:.60}.")
    shift = x - (c0 + c1 - 1) / 2, y - (r0 + r1 - 1) / 2
    inside = [strokes.moved(mask, shift, shape) for mask in masks]
    stored = [mask_json(mask) for mask in inside if mask is not None]
    if not stored:
        raise PromptError("nothing of the copy would lie on the image; point at another place.")
    return {"action": "paste", "masks": stored}


def _load(bench: _Bench, masks: Any, source: str = "proposal") -> State:
    if not isinstance(masks, list):
        raise DataError("the action 'load' takes a list of stored masks.")
    loaded = [Particle(mask_of(m, bench.image.shape), source=source) for m in masks]
    return bench.state.add(*loaded)


def _filter(bench: _Bench, settings: Any) -> State:
    return filtered(bench.state, read_settings(settings), bench.image, bench.values)[0]


#: Every action of the prompt log by its name.
ACTIONS: dict[str, Callable[..., State]] = {
    "load": _load,
    "filter": _filter,
    "point": _point,
    "box": _box,
    "sketch": _sketch,
    "candidate": _candidate,
    "target": _target,
    "refine": _refine,
    "commit": _commit,
    "cancel": _cancel,
    "polygon": _polygon,
    "brush": _brush,
    "erase": _erase,
    "split": _split,
    "merge": _merge,
    "fill": _fill,
    "delete": _delete,
    "duplicate": _duplicate,
    "paste": _paste,
    "set": _set,
    "classify": _classify,
    "classes": _classes,
    "scale": _scale,
    "region": _region,
    "accept": _accept,
    "reject": _reject,
}
