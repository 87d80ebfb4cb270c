"""The canvas in the cell: transport between the kernel and the modules in ``js``."""

from __future__ import annotations

import io
import math
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import anywidget
import numpy as np
from PIL import Image as PillowImage

from particle_nb.core.annotation.history import Draft, Particle
from particle_nb.core.errors import ParticleError
from particle_nb.core.image import Image
from particle_nb.core.image.tones import Tones
from particle_nb.core.masks import Mask
from particle_nb.widgets._esm import joined_modules, packed_module

_HERE = Path(__file__).parent
_TILE = 2048
#: What one image message carries at most, in bytes; proxies in front of a hub refuse much more.
_MESSAGE = 6 * 2**20
#: Bytes of a mask's bits from which on runs are tried.
_LARGE = 4096

Answer = Callable[[str, str, Mapping[str, Any]], None]


class PromptCanvas(anywidget.AnyWidget):
    """An anywidget that shows an image and masks and reports what a person does.

    Every message from the browser carries a request id; `answer` is called with (id, kind,
    content) and replies with `reply`. An error goes back to the request that caused it.

    Parameters
    ----------
    answer : callable
        Takes the request id, its kind and its content.
    """

    _esm = packed_module(joined_modules(_HERE / "js" / "widget.mjs"))
    # a path would be watched by anywidget, which then never lets go of a widget
    _css = (_HERE / "prompt_canvas.css").read_text("utf-8")

    def __init__(self, answer: Answer) -> None:
        super().__init__()
        self._answer = answer
        self.on_msg(self._received)

    def reply(
        self, request: str | None, kind: str, content: Mapping[str, Any], buffers: Any = ()
    ) -> None:
        """Send one message; `request` is the id it answers, or None."""
        self.send({"re": request, "kind": kind, **content}, list(buffers))

    def rest(self) -> None:
        """Answer no message any more, and let go of who answered."""
        self._answer = lambda *_: None

    def _received(self, _: Any, content: Any, __: Any) -> None:
        if not isinstance(content, Mapping) or not isinstance(content.get("kind"), str):
            return
        request, kind = str(content.get("id", "")), content["kind"]
        if kind == "ack":
            return  # sent for the acknowledgement that travels with it
        try:
            self._answer(request, kind, content)
        except ParticleError as error:
            self._fail(request, kind, str(error))
        except (
            ValueError,
            TypeError,
            LookupError,
            RuntimeError,
            MemoryError,
            OSError,
            ArithmeticError,
            AttributeError,
        ) as error:
            # a bug must show in the cell, not in a log that nobody reads, and must not end there
            self._fail(request, kind, f"{type(error).__name__}: {error}")
            raise

    def _fail(self, request: str, kind: str, text: str) -> None:
        self.reply(request, "error", {"of": kind, "message": text})


def mask_message(mask: Mask, buffers: list[bytes]) -> dict[str, Any]:
    """Return box and scores of a mask and append its pixels to `buffers`.

    One bit each; of large masks, where that is shorter, the lengths of runs of zeros and of ones in
    turn (uint32, row by row, zeros first): what travels then grows with the outline only.
    """
    pixels, runs = np.packbits(mask.crop).tobytes(), False
    if len(pixels) > _LARGE:
        lengths = _runs(mask.crop)
        if len(lengths) < len(pixels):
            pixels, runs = lengths, True
    buffers.append(pixels)
    return {
        "box": list(mask.bbox),
        "buffer": len(buffers) - 1,
        "runs": runs,
        **_scores(mask),
    }


def _scores(mask: Mask) -> dict[str, float | None]:
    return {
        "iou": _number(mask.predicted_iou),
        "stability": _number(mask.stability_score),
        "confidence": mask.confidence,
    }


def particle_message(
    number: int, particle: Particle, row: tuple[float, ...], buffers: list[bytes] | None
) -> dict[str, Any]:
    """Return what the browser knows of a particle; pixels only if `buffers` is given."""
    mask = particle.mask
    message: dict[str, Any] = _scores(mask) if buffers is None else mask_message(mask, buffers)
    message.update(
        id=number,
        name=particle.name,
        note=particle.note,
        label=mask.label,
        visible=particle.visible,
        locked=particle.locked,
        kept=particle.kept,
        review=particle.review,
        area=mask.area,
        centre=list(mask.centroid),
        row=[_number(value) for value in row],
    )
    return message


def draft_message(draft: Draft | None, buffers: list[bytes]) -> dict[str, Any] | None:
    """Return the draft with its candidates, their pixels appended to `buffers`."""
    if draft is None:
        return None
    return {
        "points": [list(point) for point in draft.points],
        "labels": list(draft.labels),
        "box": None if draft.box is None else list(draft.box),
        "window": None if draft.window is None else list(draft.window),
        "target": draft.target,
        "choice": draft.choice,
        "refines": draft.refines,
        "candidates": [mask_message(mask, buffers) for mask in draft.candidates],
    }


def channel_of(image: Image, number: int) -> Image:
    """Return one channel of an image, counted from 1; the image itself for 0."""
    if not number:
        return image
    return Image(image.pixels[..., number - 1], image.calibration, image.name)


def image_messages(
    image: Image, tones: Tones | None = None
) -> Iterator[tuple[dict[str, Any], list[bytes]]]:
    """Yield messages that carry the image once: lossless PNG tiles with their places.

    8-bit images travel as they are, so that the browser knows their grey values; others travel
    stretched to 8 bits, and the browser asks for values.
    """
    pixels = image.pixels
    shown: Any = pixels
    exact = pixels.dtype == np.uint8 and (pixels.ndim == 2 or pixels.shape[2] in (1, 3, 4))
    if exact:
        if pixels.ndim == 3:
            shown = pixels[..., :3] if pixels.shape[2] > 1 else pixels[..., 0]
        channels = 1 if shown.ndim == 2 else 3
        low, high = (float(v) for v in np.percentile(shown[::4, ::4], (0.1, 99.9)))
        if high - low < 1:
            low, high = 0.0, 255.0
    else:
        shown, channels = tones if tones is not None else Tones(image), 1
        low, high = 0.0, 255.0
    height, width = image.shape
    scale = image.calibration
    places = [(x, y) for y in range(0, height, _TILE) for x in range(0, width, _TILE)]
    head = {
        "width": width,
        "height": height,
        "channels": channels,
        "exact": exact,
        "low": low,
        "high": high,
        "total": len(places),
        "pixel": None if scale is None else [scale.pixel_size, scale.unit],
        "grey": f"({pixels.dtype})",
        "name": image.name,
    }
    tiles: list[tuple[int, int]] = []
    buffers: list[bytes] = []
    first = True
    for number, (x, y) in enumerate(places, start=1):
        file = io.BytesIO()
        part = np.ascontiguousarray(shown[y : y + _TILE, x : x + _TILE])
        PillowImage.fromarray(part).save(file, "PNG", compress_level=1)
        tiles.append((x, y))
        buffers.append(file.getvalue())
        if sum(map(len, buffers)) > _MESSAGE or number == len(places):
            yield {**head, "first": first, "tiles": tiles}, buffers
            tiles, buffers, first = [], [], False


def _runs(crop: np.ndarray) -> bytes:
    flat = crop.ravel()
    ends = np.flatnonzero(flat[1:] != flat[:-1]) + 1
    lengths = np.diff(ends, prepend=0, append=flat.size)
    if flat[0]:
        lengths = np.concatenate([[0], lengths])
    return lengths.astype("<u4").tobytes()


def _number(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None
