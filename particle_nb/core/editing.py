"""What a person can do to an annotation: every action of the prompt log, and its replay.

An action is a mapping such as ``{"action": "point", "x": 10, "y": 20}``. `perform` answers it with
the next history; the widgets, `replay`, papermill and the tests all go through it.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pandas as pd

from particle_nb.core import rle, strokes
from particle_nb.core.cascade import FilterSettings, cascade, mask_values
from particle_nb.core.errors import DataError, PromptError
from particle_nb.core.history import Draft, History, Particle, State, read_log
from particle_nb.core.image import Image
from particle_nb.core.masks import Mask, MaskSet
from particle_nb.core.prompt import Prompt

Box = tuple[int, int, int, int]


class Predictor(Protocol):
    """The part of a session that editing needs."""

    def predict(self, image: Image, prompt: Prompt, window: Any = None) -> MaskSet:
        """Return up to three candidates, best first."""
        ...


@dataclass(frozen=True, eq=False)
class _Bench:
    """What an action works with: the state before it, the image and the model."""

    state: State
    image: Image
    session: Predictor | None
    values: pd.DataFrame | None = None

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
        From `filter_values`, for a ``filter`` that is answered at once; measured when left out.

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
    state = action(_Bench(history.state, image, session, values), **known)
    record = {key: value for key, value in line.items() if key != "result"}
    return history.do({**record, "result": _result(history.state, state)}, state)


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
        result["rle"] = {str(n): pack(mask) for n, mask in fresh.items()}
    return result


def pack(mask: Mask) -> dict[str, Any]:
    """Return a mask as JSON: compressed COCO RLE in its frame, scores and class.

    Examples
    --------
    >>> pack(Mask((1, 1), np.ones((2, 1), bool), (4, 3)))
    {'counts': '525'}
    """
    packed: dict[str, Any] = {"counts": rle.compress(rle.counts_of(mask))}
    for key, score in (("iou", mask.predicted_iou), ("stability", mask.stability_score)):
        if math.isfinite(score):
            packed[key] = score
    if mask.label:
        packed["label"] = mask.label
    return packed


def unpack(packed: Any, shape: tuple[int, int]) -> Mask:
    """Return the mask of `pack`.

    Raises
    ------
    DataError
        If it is damaged.

    Examples
    --------
    >>> unpack({"counts": "525"}, (4, 3)).bbox
    (1, 1, 3, 2)
    """
    try:
        counts = packed["counts"]
        iou, stability = (float(packed.get(key, math.nan)) for key in ("iou", "stability"))
        label = packed.get("label", "")
    except (KeyError, TypeError, ValueError, AttributeError):
        raise DataError("a stored mask is damaged: its pixels or scores are missing.") from None
    if not isinstance(counts, str) or not isinstance(label, str):
        raise DataError("a stored mask is damaged: its pixels are no compressed run lengths.")
    return rle.decode(
        {"size": list(shape), "counts": counts},
        predicted_iou=iou,
        stability_score=stability,
        label=label,
    )


# ---------------------------------------------------------------------------------------- prompts


def encoding_window(view: Sequence[float], shape: tuple[int, int]) -> Box | None:
    """Return the part of the image to encode for a view of it, or None for the whole.

    Windows are squares of 1.5 times a side that halves from the image's, on a grid of half that
    side: neighbouring views share an encoding, and the view always lies inside its window.

    Parameters
    ----------
    view : (x0, y0, x1, y1)
        What is visible, in image pixels.
    shape : (H, W)

    Raises
    ------
    PromptError
        If the view is no box of finite numbers.

    Examples
    --------
    >>> encoding_window((0, 0, 2048, 1536), (1536, 2048)) is None
    True
    >>> encoding_window((1000, 700, 1200, 850), (1536, 2048))
    (896, 640, 1280, 1024)
    """
    height, width = shape
    try:
        x0, y0, x1, y1 = (float(v) for v in view)
    except (TypeError, ValueError):
        raise PromptError(f"a view is (x0, y0, x1, y1) in pixels, not {view!r:.60}.") from None
    if not all(map(math.isfinite, (x0, y0, x1, y1))):
        raise PromptError(f"a view must be finite, not {view!r}.")
    x0, y0, x1, y1 = max(x0, 0), max(y0, 0), min(x1, width), min(y1, height)
    full = max(height, width)
    span = max(x1 - x0, y1 - y0, 1.0)
    if span > full / 2 or full <= 256:
        return None
    side = float(full)
    while side / 2 >= max(span, 256):
        side /= 2
    step = side / 2
    size = min(round(1.5 * side), width), min(round(1.5 * side), height)
    left = min(max(int(x0 // step * step), 0), width - size[0])
    top = min(max(int(y0 // step * step), 0), height - size[1])
    if size == (width, height):
        return None
    return left, top, left + size[0], top + size[1]


def _read_window(window: Any, shape: tuple[int, int]) -> Box | None:
    if window is None:
        return None
    try:
        x0, y0, x1, y1 = (int(v) for v in window)
    except (TypeError, ValueError, OverflowError):
        raise PromptError(f"a window is (x0, y0, x1, y1) in pixels, not {window!r:.60}.") from None
    if not (0 <= x0 < x1 <= shape[1] and 0 <= y0 < y1 <= shape[0]):
        raise PromptError(f"the window {(x0, y0, x1, y1)} lies outside the image.")
    return x0, y0, x1, y1


def _holds(window: Box, draft: Draft) -> bool:
    x0, y0, x1, y1 = window
    spots = list(draft.points)
    if draft.box is not None:
        spots += [draft.box[:2], draft.box[2:]]
    if draft.sketch is not None:
        top, left, bottom, right = draft.sketch.bbox
        spots += [(left, top), (right - 1, bottom - 1)]
    return all(x0 - 0.5 <= x <= x1 - 0.5 and y0 - 0.5 <= y <= y1 - 0.5 for x, y in spots)


def predicted(draft: Draft, image: Image, session: Predictor | None) -> Draft:
    """Return the draft with the model's candidates for its prompt.

    Raises
    ------
    PromptError
        If the prompt lies outside the image or the model finds nothing.
    """
    if draft.window is not None and not _holds(draft.window, draft):
        draft = draft.replace(window=None)
    if draft.box is None and draft.sketch is None and 1 not in draft.labels:
        return draft.replace(candidates=(), choice=0)
    sketch = None if draft.sketch is None else draft.sketch.full()
    prompt = Prompt(draft.points, draft.labels, draft.box, sketch)
    prompt.check(image.shape)
    if session is None:
        raise PromptError("a prompt needs a session with a segmenter to answer it.")
    found = tuple(session.predict(image, prompt, window=draft.window))[:3]
    if not found:
        raise PromptError("the model found nothing there; try a box or a sketch.")
    return draft.replace(candidates=found, choice=_choice(found, draft.target))


def _choice(candidates: Sequence[Mask], target: str) -> int:
    if target == "best":
        return 0
    areas = [mask.area for mask in candidates]
    return areas.index(max(areas) if target == "whole" else min(areas))


def _spot(x: Any, y: Any, label: Any) -> tuple[tuple[float, float], int]:
    try:
        spot = float(x), float(y)
    except (TypeError, ValueError):
        raise PromptError(f"a point is two numbers x, y, not {x!r}, {y!r}.") from None
    if label not in (0, 1):
        raise PromptError(f"a point's label is 1 or 0, not {label!r}.")
    return spot, int(label)


def preview(state: State, line: Mapping[str, Any], image: Image, session: Predictor) -> Draft:
    """Return the draft that a click at ``x, y`` would give, changing nothing.

    Raises
    ------
    PromptError
        As the action ``point``.
    """
    keys = ("x", "y", "label", "window")
    return _pointed(
        _Bench(state, image, session), **{key: line[key] for key in keys if key in line}
    )


def _pointed(bench: _Bench, x: Any, y: Any, label: Any = 1, window: Any = None) -> Draft:
    spot, sign = _spot(x, y, label)
    draft = _open(bench, window)
    draft = draft.replace(points=(*draft.points, spot), labels=(*draft.labels, sign))
    return predicted(draft, bench.image, bench.session)


def _open(bench: _Bench, window: Any) -> Draft:
    draft = bench.state.draft or Draft()
    if not draft.points and draft.box is None and draft.sketch is None:
        draft = draft.replace(window=_read_window(window, bench.image.shape))
    return draft


def _point(bench: _Bench, x: Any, y: Any, label: Any = 1, window: Any = None) -> State:
    return bench.state.drafting(_pointed(bench, x, y, label, window))


def _box(bench: _Bench, box: Any, window: Any = None) -> State:
    rough = Prompt(box=box).box
    draft = _open(bench, window).replace(box=rough)
    return bench.state.drafting(predicted(draft, bench.image, bench.session))


def _sketch(bench: _Bench, path: Any, radius: Any = None, window: Any = None) -> State:
    shape = bench.image.shape
    drawn = strokes.outline(path, shape) if radius is None else strokes.stroke(path, radius, shape)
    draft = _open(bench, window)
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
        draft.replace(choice=_choice(draft.candidates, target) if draft.candidates else 0)
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
        chosen = {
            n: p for n, p in state.particles.items() if p.visible and p.kept and not p.locked
        }
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
    state = bench.state.put({number: None for number in others})
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


def _accept(bench: _Bench, ids: Any) -> State:
    chosen = bench.unlocked(ids)
    return bench.state.put(
        {n: p.replace(review="accepted", kept=True) for n, p in chosen.items()}
    )


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
    return {"action": "load", "source": source, "masks": [pack(mask) for mask in masks]}


def _load(bench: _Bench, masks: Any, source: str = "proposal") -> State:
    if not isinstance(masks, list):
        raise DataError("the action 'load' takes a list of stored masks.")
    loaded = [Particle(unpack(m, bench.image.shape), source=source) for m in masks]
    return bench.state.add(*loaded)


def filterable(state: State) -> dict[int, Particle]:
    """Return the particles that thresholds may hide: proposals that nobody accepted or locked."""
    return {
        n: p
        for n, p in state.particles.items()
        if p.source == "proposal" and p.review != "accepted" and not p.locked
    }


def filter_values(state: State, image: Image) -> pd.DataFrame:
    """Return what the cascade looks at (`cascade.mask_values`), indexed by particle number."""
    chosen = filterable(state)
    values = mask_values(MaskSet(tuple(p.mask for p in chosen.values()), state.shape), image)
    return values.set_index(pd.Index(list(chosen), name="particle"))


def read_settings(settings: Any) -> FilterSettings:
    """Return the thresholds of a log line as `FilterSettings`.

    Raises
    ------
    DataError
        If one is unknown or out of its range.

    Examples
    --------
    >>> read_settings({"min_area": 12}).min_area
    12
    """
    if not isinstance(settings, Mapping):
        raise DataError(f"thresholds are a mapping, not {settings!r:.60}.")
    return FilterSettings().replace(**{str(key): value for key, value in settings.items()})


def filtered(
    state: State,
    settings: FilterSettings,
    image: Image,
    values: pd.DataFrame | None = None,
) -> State:
    """Return the state in which every proposal is kept or hidden as the cascade says.

    Parameters
    ----------
    state : State
    settings : FilterSettings
    image : Image
    values : DataFrame
        From `filter_values`; measured when left out or when particles have changed since.
    """
    chosen = filterable(state)
    numbers = list(chosen)
    proposals = MaskSet(tuple(p.mask for p in chosen.values()), state.shape)
    rows = None
    if values is not None and set(numbers) <= set(values.index):
        rows = values.loc[numbers].reset_index(drop=True)
    _, audit = cascade(proposals, image, settings, rows)
    removed = {numbers[int(i)] for i in audit.loc[audit["verdict"] == "removed", "mask"]}
    return state.put(
        {
            n: p.replace(kept=n not in removed)
            for n, p in chosen.items()
            if p.kept == (n in removed)
        }
    )


def _filter(bench: _Bench, settings: Any) -> State:
    return filtered(bench.state, read_settings(settings), bench.image, bench.values)


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
    "set": _set,
    "accept": _accept,
    "reject": _reject,
}


# ----------------------------------------------------------------------------------------- replay


@dataclass(frozen=True, eq=False)
class Replay:
    """What came out of a replayed log.

    Parameters
    ----------
    history : History
    report : DataFrame
        One row per mask that a step made: ``step``, ``action``, ``particle``, ``identical``
        (same pixels as logged) and ``iou`` with the logged mask (NaN where it was not logged).
    same_model : bool or None
        Whether name and digest of the weights are those of the log; None where it names none.
    """

    history: History
    report: pd.DataFrame
    same_model: bool | None

    @property
    def masks(self) -> MaskSet:
        """The committed masks."""
        return self.history.state.masks

    @property
    def identical(self) -> bool:
        """Whether every mask has the pixels that were logged."""
        return bool(self.report["identical"].all())


def replay(log: str | Path | Iterable[Mapping[str, Any]], session: Any, image: Image) -> Replay:
    """Execute a prompt log again, with no browser and no widget.

    Parameters
    ----------
    log : str, path or lines
        ``annotator.log``, a ``.jsonl`` file, or its parsed lines.
    session : Session
    image : Image

    Raises
    ------
    DataError
        If the log is damaged, belongs to another image, or gives other masks on the same weights.
    PromptError
        If a step cannot be done again; the step is named.

    Examples
    --------
    >>> image = Image(np.zeros((16, 16), np.uint8))
    >>> square = {"action": "polygon", "path": [[2, 2], [9, 2], [9, 9], [2, 9]]}
    >>> done = perform(History((16, 16)), square, image, None)
    >>> replay(done.log(), None, image).masks.digest == done.state.masks.digest
    True
    """
    header, lines = read_log(log)
    _same_image(header, image)
    logged = header.get("model")
    segmenter = getattr(session, "segmenter", None)
    same_model: bool | None = None
    if isinstance(logged, Mapping) and segmenter is not None:
        same_model = [logged.get("name"), logged.get("digest")] == [
            segmenter.name,
            segmenter.digest,
        ]
    history = History(image.shape)
    rows: list[dict[str, Any]] = []
    for number, line in enumerate(lines, start=1):
        try:
            history = perform(history, line, image, session)
        except (DataError, PromptError) as error:
            raise type(error)(f"step {number} ({line['action']}) of the log: {error}") from None
        rows += _compare(number, line, history)
    report = pd.DataFrame(rows, columns=["step", "action", "particle", "identical", "iou"])
    wrong = report.loc[~report["identical"].astype(bool)]
    if same_model and len(wrong):
        first = wrong.iloc[0]
        raise DataError(
            f"step {first['step']} ({first['action']}) gave another mask than the log, on the same "
            f"weights (IoU {first['iou']:.4f}); the log or the library was changed."
        )
    return Replay(history, report, same_model)


def _same_image(header: Mapping[str, Any], image: Image) -> None:
    if tuple(header.get("shape", ())) != image.shape:
        raise DataError(
            f"the log is of an image of shape {header.get('shape')}, not {image.shape}."
        )
    logged = header.get("image")
    digest = logged.get("digest") if isinstance(logged, Mapping) else None
    if digest is not None and digest != image.digest:
        raise DataError(
            f"the log is of another image ({logged.get('name', '')!r}, digest {digest}), not of "
            f"{image.name!r} ({image.digest}); read the original file."
        )


def _compare(number: int, line: Mapping[str, Any], history: History) -> list[dict[str, Any]]:
    result = line.get("result")
    digests = result.get("masks") if isinstance(result, Mapping) else None
    stored = (result.get("rle") if isinstance(result, Mapping) else None) or {}
    rows = []
    for key, digest in (digests or {}).items():
        particle = history.state.particles.get(int(key))
        same = particle is not None and particle.mask.digest == digest
        iou = 1.0 if same else math.nan
        if particle is not None and not same and key in stored:
            iou = particle.mask.iou(unpack(stored[key], history.shape))
        rows.append(
            {
                "step": number,
                "action": line["action"],
                "particle": int(key),
                "identical": same,
                "iou": iou,
            }
        )
    return rows
