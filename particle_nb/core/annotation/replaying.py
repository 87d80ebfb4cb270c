"""Prompt logs: reading them, and executing them again with no browser."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from particle_nb.core.annotation._json import mask_of
from particle_nb.core.annotation.actions import perform
from particle_nb.core.annotation.history import LOG_FORMAT, History
from particle_nb.core.errors import DataError, PromptError
from particle_nb.core.files import parse_json, read_regular
from particle_nb.core.image import Image
from particle_nb.core.masks import MaskSet

#: Least IoU of a mask with the logged one, on the same weights, that rounding accounts for: sums
#: in single precision differ among processors, which moves single pixels of an outline.
ROUNDING = 0.98

_LOG_LIMIT = 512 * 2**20


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
        If the log is damaged, belongs to another image, or gives other masks on the same weights
        (an IoU below `ROUNDING`; single pixels give a warning).
    PromptError
        If a step cannot be done again; the step is named.

    Examples
    --------
    >>> import numpy as np
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
        # equal pixels under another hash: somebody changed the log
        wrong = wrong.assign(iou=wrong["iou"].where(wrong["iou"] < 1, 0.0).fillna(0.0))
        first = wrong.sort_values("iou", kind="stable").iloc[0]
        if first["iou"] < ROUNDING:
            raise DataError(
                f"step {first['step']} ({first['action']}) gave another mask than the log, on the "
                "same weights; the log or the library was changed."
            )
        warnings.warn(
            f"{len(wrong)} of {len(report)} masks differ from the log by single pixels (least IoU "
            f"{first['iou']:.4f}): another processor or number of threads rounds otherwise.",
            stacklevel=2,
        )
    return Replay(history, report, same_model)


def _same_image(header: Mapping[str, Any], image: Image) -> None:
    if header.get("shape") not in (image.shape, list(image.shape)):
        raise DataError(
            f"the log is of an image of shape {header.get('shape')}, not {image.shape}."
        )
    logged = header.get("image")
    logged = logged if isinstance(logged, Mapping) else {}
    digest = logged.get("digest")
    if digest is not None and digest != image.digest:
        raise DataError(
            f"the log is of another image ({logged.get('name', '')!r}, digest {digest}), not of "
            f"{image.name!r} ({image.digest}); read the original file."
        )


def _compare(number: int, line: Mapping[str, Any], history: History) -> list[dict[str, Any]]:
    result = line.get("result")
    result = result if isinstance(result, Mapping) else {}
    digests, stored = result.get("masks") or {}, result.get("rle") or {}
    if not isinstance(digests, Mapping) or not isinstance(stored, Mapping):
        raise DataError(f"step {number} of the log is damaged: its result names no masks.")
    rows = []
    for key, digest in digests.items():
        if not str(key).isdecimal() or len(str(key)) > 18:
            raise DataError(f"step {number} of the log is damaged: {key!r:.60} is no particle.")
        particle = history.state.particles.get(int(key))
        same = particle is not None and particle.mask.digest == digest
        iou = 1.0 if same else math.nan
        if particle is not None and not same and key in stored:
            iou = particle.mask.iou(mask_of(stored[key], history.shape))
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


def read_log(
    log: str | Path | Iterable[Mapping[str, Any]],
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Return header and records of a prompt log: its text, a ``.jsonl`` file, or parsed lines.

    Raises
    ------
    DataError
        If it is no prompt log, too large, or a line of it is damaged; the line is named.

    Examples
    --------
    >>> read_log(History((4, 4)).log())[0]["shape"]
    [4, 4]
    """
    if isinstance(log, str) and log and "\n" not in log and log[0] != "{":
        log = Path(log)
    if isinstance(log, Path):
        path = log
        try:
            log = read_regular(path, _LOG_LIMIT)[0].decode("utf-8")
        except UnicodeDecodeError as error:
            raise DataError(f"cannot read {path}: it is no prompt log: {error}") from None
    lines = list(_lines(log))
    if not lines or lines[0].get("format") != LOG_FORMAT:
        raise DataError(
            f"this is no prompt log: its first line does not say {LOG_FORMAT!r}. "
            "Pass annotator.log, or a file written from it."
        )
    for number, line in enumerate(lines[1:], start=2):
        if not isinstance(line.get("action"), str):
            raise DataError(f"line {number} of the prompt log names no action.")
    return lines[0], lines[1:]


def _lines(log: Any) -> Iterator[dict[str, Any]]:
    rows = log.splitlines() if isinstance(log, str) else log
    try:
        rows = iter(rows)
    except TypeError:
        raise DataError(f"a prompt log is text or lines, not {type(log).__name__}.") from None
    for number, row in enumerate(rows, start=1):
        if isinstance(row, str):
            if not row.strip():
                continue
            row = parse_json(row, f"line {number} of the prompt log")
        if not isinstance(row, Mapping):
            raise DataError(f"line {number} of the prompt log is no JSON object.")
        yield dict(row)
