"""What was painted, step by step: it can be undone, stored and painted again."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from particle_nb.core.annotation.strokes import outline, stroke
from particle_nb.core.errors import DataError, PromptError
from particle_nb.core.files import atomic, parse_json, read_regular
from particle_nb.core.masks import Mask

TOOLS = ("brush", "eraser", "polygon")
_FORMAT = 1
_LARGEST_FILE = 64 << 20
_MOST_PHASES = 64


@dataclass(frozen=True)
class Stroke:
    """One stroke of a tool.

    Parameters
    ----------
    tool : str
        ``"brush"``, ``"eraser"`` or ``"polygon"`` (filled).
    phase : int
        0 to 63; of an eraser it says nothing.
    path : tuple of (x, y)
        In image pixels, pixel centres at integers.
    radius : float
        Half the width of brush and eraser, pixels.

    Raises
    ------
    PromptError
        If the tool is none, or a number out of range.

    Examples
    --------
    >>> Stroke("brush", 1, ((3, 4), (9, 4)), 2.0).phase
    1
    """

    tool: str
    phase: int
    path: tuple[tuple[float, float], ...]
    radius: float = 2.0

    def __post_init__(self) -> None:
        if self.tool not in TOOLS:
            raise PromptError(f"there is no tool {self.tool!r}; use one of {', '.join(TOOLS)}.")
        whole = isinstance(self.phase, (int, np.integer)) and not isinstance(self.phase, bool)
        if not whole or not 0 <= self.phase < _MOST_PHASES:
            raise PromptError(f"a phase is a number from 0 to {_MOST_PHASES - 1}, not {self.phase}")
        try:
            # as the file has it, so that painting it again gives the same pixels
            path = tuple((round(float(x), 2), round(float(y), 2)) for x, y in self.path)
            radius = round(float(self.radius), 3)
        except (TypeError, ValueError):
            raise PromptError(f"a path is a list of (x, y), not {self.path!r:.60}.") from None
        object.__setattr__(self, "phase", int(self.phase))
        object.__setattr__(self, "path", path)
        object.__setattr__(self, "radius", radius)

    def mask(self, shape: tuple[int, int]) -> Mask:
        """Return the pixels (H, W) that it reaches.

        Raises
        ------
        PromptError
            If path or radius cannot be used, or it lies outside the image.
        """
        if self.tool == "polygon":
            return outline(self.path, shape)
        return stroke(self.path, self.radius, shape)

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON holds it."""
        path = [list(point) for point in self.path]
        return {"tool": self.tool, "phase": self.phase, "path": path, "radius": self.radius}


@dataclass
class StrokeLog:
    """Strokes on an image in their order, of which the last ones may be undone.

    Parameters
    ----------
    shape : (H, W)
        Of the image.
    names : dict
        Phase -> what it is called.
    image : str
        Digest of the image, so that a log is not painted on another one.

    Examples
    --------
    >>> log = StrokeLog((8, 8))
    >>> log.add(Stroke("brush", 1, ((2, 2),), 1.0))
    >>> log.undo(); log.redo()
    True
    True
    >>> int((log.labels == 1).sum())
    5
    """

    shape: tuple[int, int]
    names: dict[int, str] = field(default_factory=dict)
    image: str = ""
    strokes: list[Stroke] = field(default_factory=list)
    position: int = 0
    labels: np.ndarray = field(init=False)

    def __post_init__(self) -> None:
        self.labels = self._painted(self.position)

    def add(self, item: Stroke) -> None:
        """Paint a stroke; what had been undone is gone.

        Raises
        ------
        PromptError
            If it cannot be painted; the log is then as it was.
        """
        _paint(self.labels, item)
        self.strokes = [*self.strokes[: self.position], item]
        self.position += 1

    def undo(self) -> bool:
        """Take the last stroke back; False where there is none."""
        return self._goto(self.position - 1)

    def redo(self) -> bool:
        """Paint the stroke again that was undone last; False where there is none."""
        return self._goto(self.position + 1)

    def _goto(self, position: int) -> bool:
        if not 0 <= position <= len(self.strokes):
            return False
        self.labels = self._painted(position)
        self.position = position
        return True

    def _painted(self, position: int) -> np.ndarray:
        """Phases (H, W) painted by the first strokes, -1 elsewhere."""
        labels = np.full(self.shape, -1, np.int16)
        for item in self.strokes[:position]:
            _paint(labels, item)
        return labels

    def write(self, path: str | os.PathLike[str]) -> Path:
        """Write the log as JSON, whole or not at all.

        Raises
        ------
        DataError
            If nothing can be written there.
        """
        about = {
            "format": _FORMAT,
            "kind": "strokes",
            "shape": list(self.shape),
            "image": self.image,
            "names": {str(k): v for k, v in self.names.items()},
            "position": self.position,
            "strokes": [item.to_json() for item in self.strokes],
        }
        with atomic(path) as stream:
            stream.write(json.dumps(about, ensure_ascii=False).encode())
        return Path(path)

    @classmethod
    def read(cls, path: str | os.PathLike[str]) -> StrokeLog:
        """Read what `write` wrote, and paint it again.

        Raises
        ------
        DataError
            If it cannot be read, is damaged, or of another kind.

        Examples
        --------
        >>> StrokeLog.read("no such file")
        Traceback (most recent call last):
        ...
        particle_nb.core.errors.DataError: ...
        """
        data, _ = read_regular(path, _LARGEST_FILE)
        about = parse_json(data, str(path))
        if not isinstance(about, Mapping) or about.get("kind") != "strokes":
            raise DataError(f"{path} holds no strokes.")
        if about.get("format") != _FORMAT:
            raise DataError(f"{path} is of format {about.get('format')}, not {_FORMAT}.")
        try:
            height, width = (int(n) for n in about["shape"])
            if not (0 < height <= 65536 and 0 < width <= 65536 and height * width <= 2**30):
                raise DataError(f"{path} is for an image of {width} x {height} px.")
            strokes = [Stroke(**item) for item in about["strokes"]]
            names = {int(k): str(v) for k, v in about["names"].items()}
            position = int(about["position"])
            if not 0 <= position <= len(strokes):
                raise DataError(f"{path} stands at stroke {position} of {len(strokes)}.")
            return cls((height, width), names, str(about["image"]), strokes, position)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            if isinstance(error, DataError):
                raise
            raise DataError(f"{path} holds no strokes that can be painted: {error}") from None


def _paint(labels: np.ndarray, item: Stroke) -> None:
    mask = item.mask((labels.shape[0], labels.shape[1]))
    r0, c0, r1, c1 = mask.bbox
    labels[r0:r1, c0:c1][mask.crop] = -1 if item.tool == "eraser" else item.phase
