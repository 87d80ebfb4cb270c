"""The cascade's thresholds on an annotation: which proposals they may hide, and which they do."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import pandas as pd

from particle_nb.core.annotation.history import History, Particle, State
from particle_nb.core.cascade import FilterSettings, cascade, mask_values
from particle_nb.core.errors import DataError
from particle_nb.core.image import Image
from particle_nb.core.masks import MaskSet

#: Every threshold switched off: what holds before a slider was moved.
OFF = FilterSettings(
    min_confidence=None,
    min_predicted_iou=None,
    min_area=None,
    min_contrast=None,
    duplicate_iou=None,
    nested="keep",
    edge="keep",
)


def filterable(state: State) -> dict[int, Particle]:
    """Return the particles that thresholds may hide: proposals that nobody accepted or locked.

    Examples
    --------
    >>> import numpy as np
    >>> from particle_nb.core.masks import Mask
    >>> mask = Mask((0, 0), np.ones((2, 2), bool), (4, 4))
    >>> list(filterable(State((4, 4)).add(Particle(mask), Particle(mask, source="proposal"))))
    [2]
    """
    return {
        n: p
        for n, p in state.particles.items()
        if p.source == "proposal" and p.review != "accepted" and not p.locked
    }


def filter_values(state: State, image: Image) -> pd.DataFrame:
    """Return what the cascade looks at (`cascade.mask_values`), indexed by particle number.

    Examples
    --------
    >>> import numpy as np
    >>> from particle_nb.core.masks import Mask
    >>> mask = Mask((0, 0), np.ones((2, 2), bool), (4, 4))
    >>> state = State((4, 4)).add(Particle(mask, source="proposal"))
    >>> filter_values(state, Image(np.zeros((4, 4)))).area.to_dict()
    {1: 4}
    """
    chosen = filterable(state)
    image = image.replace(region=None)  # the cascade looks at the region of the day by itself
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


def write_settings(settings: FilterSettings) -> dict[str, Any]:
    """Return all thresholds for a log line; `read_settings` gives the same ones again.

    Examples
    --------
    >>> read_settings(write_settings(OFF)) == OFF
    True
    """
    return dataclasses.asdict(settings)


def last_settings(history: History) -> FilterSettings:
    """Return the thresholds that hold where a history stands.

    Examples
    --------
    >>> last_settings(History((4, 4))) == OFF
    True
    """
    for step in reversed(history.steps[: history.position]):
        if step.record["action"] == "filter":
            return read_settings(step.record.get("settings"))
    return OFF


def filtered(
    state: State,
    settings: FilterSettings,
    image: Image,
    values: pd.DataFrame | None = None,
) -> tuple[State, dict[str, int]]:
    """Return the state in which every proposal is kept or hidden as the cascade says.

    Parameters
    ----------
    state : State
    settings : FilterSettings
    image : Image
    values : DataFrame
        From `filter_values`; measured when left out or when particles have changed since.

    Returns
    -------
    state : State
    removed : dict of str to int
        How many proposals each stage of the cascade hides, where it hides any.

    Examples
    --------
    >>> import numpy as np
    >>> from particle_nb.core.masks import Mask
    >>> mask = Mask((0, 0), np.ones((2, 2), bool), (4, 4))
    >>> state = State((4, 4)).add(Particle(mask, source="proposal"))
    >>> after, removed = filtered(state, FilterSettings(), Image(np.zeros((4, 4))))
    >>> after[1].kept, removed
    (False, {'area': 1})
    """
    chosen = filterable(state)
    numbers = list(chosen)
    proposals = MaskSet(tuple(p.mask for p in chosen.values()), state.shape)
    rows = None
    if values is not None and set(numbers) <= set(values.index):
        rows = values.loc[numbers].reset_index(drop=True)
    _, audit = cascade(proposals, image, settings, rows)
    out = audit.loc[audit["verdict"] == "removed"]
    removed = {numbers[int(i)] for i in out["mask"]}
    after = state.put(
        {n: p.replace(kept=n not in removed) for n, p in chosen.items() if p.kept == (n in removed)}
    )
    return after, {str(stage): int(count) for stage, count in out["stage"].value_counts().items()}
