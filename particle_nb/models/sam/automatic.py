"""SAM's automatic mode: a grid of points, three masks each, the good and distinct ones kept.

The steps and thresholds are those of ``segment_anything.SamAutomaticMaskGenerator`` and of the
``mask-generation`` pipeline of transformers, and so are the results. What is left out is work on
masks that are dropped: predicted IoU is looked at before masks are upscaled, stability is
computed on the mask's own crop, and only what survives non-maximum suppression becomes a mask.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import product
from typing import Any, Protocol

import numpy as np
import torch
from scipy import ndimage

from particle_nb.core.errors import DataError
from particle_nb.core.image import Image
from particle_nb.core.masks import Mask, MaskSet
from particle_nb.models.protocols import Embedding, Encode, Progress, Window
from particle_nb.models.sam.crops import Frame, non_maximum_suppression
from particle_nb.models.sam.decoder import FastDecoder, Workspace

_BORDER = 20.0  # px: masks that end this close to a crop's inner border are cut off by it


@dataclass(frozen=True)
class AutomaticSettings:
    """What the automatic mode keeps; the defaults are the original package's.

    Parameters
    ----------
    points_per_side : int
        The grid has this many points along each side of the image.
    pred_iou_thresh, stability_score_thresh : float
        Masks at or below (predicted IoU) or below (stability) are dropped.
    stability_score_offset : float
        Shift of the threshold, in logits, under which the stability is looked at.
    box_nms_thresh, crop_nms_thresh : float
        Bounding boxes that overlap more than this (IoU) are duplicates, within a crop and
        between crops.
    crop_n_layers : int
        0: the image once. n: also 4, 16, ... overlapping crops at full resolution, for small
        particles in large images.
    crop_overlap_ratio : float
        Overlap of the crops as a share of the image's short side.
    crop_n_points_downscale_factor : int
        The grid of layer n has points_per_side / factor^n points a side.
    min_mask_region_area : int
        Holes and islands smaller than this many pixels are removed; 0 leaves masks as they are.
    crop_merge : str
        ``"layered"``: the original package's way, within each crop first and then between crops,
        smaller crops winning. ``"pooled"``: transformers' way, one pass with `crop_nms_thresh`
        over everything by predicted IoU. They differ only with crops.
    points_per_batch : int
        Points decoded together; 0 picks a number that suits the device. Results do not depend
        on it beyond rounding.

    Raises
    ------
    DataError
        If a value is out of its range.

    Examples
    --------
    >>> AutomaticSettings(points_per_side=16).pred_iou_thresh
    0.88
    """

    points_per_side: int = 32
    pred_iou_thresh: float = 0.88
    stability_score_thresh: float = 0.95
    stability_score_offset: float = 1.0
    box_nms_thresh: float = 0.7
    crop_n_layers: int = 0
    crop_nms_thresh: float = 0.7
    crop_overlap_ratio: float = 512 / 1500
    crop_n_points_downscale_factor: int = 1
    min_mask_region_area: int = 0
    crop_merge: str = "layered"
    points_per_batch: int = 0

    def __post_init__(self) -> None:
        counts = {
            "points_per_side": (1, 512),
            "crop_n_layers": (0, 4),
            "crop_n_points_downscale_factor": (1, 64),
            "min_mask_region_area": (0, 10**9),
            "points_per_batch": (0, 4096),
        }
        for field, (low, high) in counts.items():
            value = getattr(self, field)
            if isinstance(value, bool) or not isinstance(value, (int, np.integer)):
                raise DataError(f"{field} is a whole number, not {value!r}.")
            if not low <= value <= high:
                raise DataError(f"{field} must lie in {low}..{high}, not {value}.")
        shares = [f for f in self.__dataclass_fields__ if f.endswith("_thresh")]
        for field in [*shares, "crop_overlap_ratio"]:
            self._number(field, -10.0 if field == "pred_iou_thresh" else 0.0, 1.0)
        self._number("stability_score_offset", 0.0, 100.0)
        if self.crop_merge not in ("layered", "pooled"):
            raise DataError(f"crop_merge is 'layered' or 'pooled', not {self.crop_merge!r}.")
        if self.points_per_side // self.crop_n_points_downscale_factor**self.crop_n_layers < 1:
            raise DataError(
                f"{self.points_per_side} points a side leave none in layer {self.crop_n_layers} "
                f"with a downscale factor of {self.crop_n_points_downscale_factor}."
            )

    def _number(self, field: str, low: float, high: float) -> None:
        value = getattr(self, field)
        if isinstance(value, (bool, str)) or not isinstance(value, (int, float, np.number)):
            raise DataError(f"{field} is a number, not {value!r}.")
        if not low <= float(value) <= high:  # also refuses NaN
            raise DataError(f"{field} must lie in {low:g}..{high:g}, not {value}.")


class Engine(Protocol):
    """What the automatic mode needs of a loaded SAM."""

    @property
    def decoder(self) -> FastDecoder:
        """The prompt and mask decoder."""
        ...

    @property
    def settings(self) -> AutomaticSettings:
        """What is kept."""
        ...

    def encode(self, image: Image, window: Window | None = None) -> Embedding:
        """Encode an image or a window of it."""
        ...

    def shared(self, embedding: Embedding) -> dict[str, torch.Tensor]:
        """Return what all prompts on an embedding share."""
        ...

    def frame(self, embedding: Embedding) -> Frame:
        """Return the way from logits to pixels."""
        ...

    def workspace(self) -> Workspace:
        """Return buffers that are this thread's for now."""
        ...

    def batch(self) -> tuple[int, int]:
        """Return (prompts decoded together, prompts whose image side is together)."""
        ...


@dataclass(frozen=True)
class _Candidate:
    """A mask that passed predicted IoU, stability and the crop's border.

    `held` has its packed pixels, or its low-resolution logits where those are smaller.
    """

    box: tuple[int, int, int, int]
    predicted_iou: float
    stability: float
    origin: tuple[int, int]
    size: tuple[int, int]
    held: np.ndarray
    frame: Frame

    def mask(self, shape: tuple[int, int], offset: float) -> Mask | None:
        """Unpack into a Mask of the full image; None where not a pixel is set."""
        if self.held.dtype == np.uint8:
            height, width = self.size
            flat = np.unpackbits(self.held, count=height * width)
            pixels = flat.view(bool).reshape(height, width)
        else:
            pixels = self.frame.crop(self.held, offset).pixels
        if not pixels.any():
            return None
        scores = self.predicted_iou, self.stability
        return Mask(self.origin, pixels, shape, *scores, grid_px=self.frame.grid_px)


def propose(
    model: Engine, image: Image, encode: Encode | None = None, progress: Progress | None = None
) -> MaskSet:
    """Propose every particle of an image.

    Parameters
    ----------
    model : Engine
        A loaded SAM; `model.settings` says what is kept.
    image : Image
    encode : callable or None
        Serves embeddings, e.g. from a cache; the model's own `encode` when left out.
    progress : callable or None
        Called with (points done, points in all).

    Returns
    -------
    MaskSet
        In the order of the original package: best predicted IoU first (with crops: smallest
        crops first).
    """
    settings = model.settings
    windows, layers = crop_windows(image.shape, settings)
    grids = [
        point_grid(int(settings.points_per_side / settings.crop_n_points_downscale_factor**layer))
        for layer in range(settings.crop_n_layers + 1)
    ]
    total, done = sum(len(grids[layer]) for layer in layers), 0
    kept: list[_Candidate] = []
    crop_areas: list[float] = []
    for window, layer in zip(windows, layers, strict=True):
        whole = (window[2], window[3]) == image.shape[::-1] and window[:2] == (0, 0)
        embedding = (encode or model.encode)(image, None if whole else window)
        found: list[_Candidate] = []

        def step(points: int) -> None:
            nonlocal done
            done += points
            if progress is not None:
                progress(done, total)

        _decode_grid(model, embedding, grids[layer], found, step)
        if settings.crop_merge == "layered":
            found = _without_duplicates(
                found, [c.predicted_iou for c in found], settings.box_nms_thresh
            )
        kept += found
        crop_areas += [(window[2] - window[0]) * (window[3] - window[1])] * len(found)
    if settings.crop_merge == "pooled":
        kept = _without_duplicates(kept, [c.predicted_iou for c in kept], settings.crop_nms_thresh)
    elif len(windows) > 1:
        small_first = [float(np.float32(1) / np.float32(area)) for area in crop_areas]
        kept = _without_duplicates(kept, small_first, settings.crop_nms_thresh)
    offset = settings.stability_score_offset
    masks = [m for c in kept if (m := c.mask(image.shape, offset)) is not None]
    if settings.min_mask_region_area:
        masks = _without_small_parts(masks, settings)
    return MaskSet(tuple(masks), image.shape)


def _decode_grid(
    model: Engine, embedding: Embedding, grid: np.ndarray, found: list[_Candidate], step: Any
) -> None:
    """Decode a grid of points on one embedding and append what passes to `found`."""
    settings, decoder, frame = model.settings, model.decoder, model.frame(embedding)
    shared, space = model.shared(embedding), model.workspace()
    batch, chunk = model.batch()
    batch = settings.points_per_batch or batch
    height, width = frame.size
    # in the order of the original packages, for equal rounding: to the crop's pixels, then to the
    # padded square
    places = grid * np.array([[width, height]])
    places = places * np.array([[frame.resized[1] / width, frame.resized[0] / height]])
    first = decoder.mask_tokens - int(decoder.decoder.num_multimask_outputs)
    with torch.inference_mode():
        for start in range(0, len(places), batch):
            part = decoder.coordinates(places[start : start + batch, None])
            labels = torch.ones(part.shape[:2], dtype=torch.int64, device=part.device)
            iou, tokens, keys = decoder.tokens(
                shared, decoder.sparse(part, labels, None), space, chunk
            )
            iou = iou[:, first:]
            good = iou > settings.pred_iou_thresh
            if settings.pred_iou_thresh <= 0:
                good = torch.ones_like(good)
            rows = torch.nonzero(good.any(dim=1))[:, 0]
            if len(rows):
                logits = decoder.masks(tokens[rows], keys[rows], space, chunk)
                chosen = good[rows]
                scores = iou[rows][chosen].float().cpu().numpy()
                for low, score in zip(logits[chosen].cpu().numpy(), scores, strict=True):
                    candidate = _candidate_of(low, float(score), frame, embedding, settings)
                    if candidate is not None:
                        found.append(candidate)
            step(len(part))


def _candidate_of(
    low: np.ndarray, score: float, frame: Frame, embedding: Embedding, settings: AutomaticSettings
) -> _Candidate | None:
    """Look at one mask's own crop: stability, then the border of the encoded window."""
    crop = frame.crop(low, settings.stability_score_offset)
    limit = settings.stability_score_thresh
    if limit > 0 and not crop.stability >= limit:  # NaN does not pass
        return None
    x0, y0, x1, y1 = crop.box
    left, top, right, bottom = embedding.window
    box = (x0 + left, y0 + top, x1 + left, y1 + top)
    height, width = embedding.shape
    for value, inner, outer in zip(
        box, (left, top, right, bottom), (0, 0, width, height), strict=True
    ):
        if abs(value - inner) <= _BORDER and not abs(value - outer) <= _BORDER:
            return None
    small = crop.pixels.size <= 8 * low.nbytes
    return _Candidate(
        box=box,
        predicted_iou=score,
        stability=crop.stability,
        origin=(crop.row + top, crop.col + left),
        size=crop.pixels.shape,
        held=np.packbits(crop.pixels) if small else low.copy(),
        frame=frame,
    )


def _without_duplicates(
    candidates: list[_Candidate], scores: list[float], threshold: float
) -> list[_Candidate]:
    if not candidates:
        return []
    boxes = np.array([c.box for c in candidates])
    kept = non_maximum_suppression(boxes, np.array(scores), threshold)
    return [candidates[i] for i in kept]


def _without_small_parts(masks: list[Mask], settings: AutomaticSettings) -> list[Mask]:
    """Fill small holes, drop small islands, and drop the duplicates that this makes."""
    tidied, unchanged, boxes = [], [], []
    for mask in masks:
        full, filled = _flip_small_parts(mask.full(), settings.min_mask_region_area, holes=True)
        full, dropped = _flip_small_parts(full, settings.min_mask_region_area, holes=False)
        changed = filled or dropped
        new = (
            Mask.from_full(
                full,
                predicted_iou=mask.predicted_iou,
                stability_score=mask.stability_score,
                grid_px=mask.grid_px,
            )
            if changed
            else mask
        )
        row0, col0, row1, col1 = new.bbox
        tidied.append(new)
        unchanged.append(float(not changed))
        boxes.append((col0, row0, col1 - 1, row1 - 1))
    if not tidied:
        return []
    limit = max(settings.box_nms_thresh, settings.crop_nms_thresh)
    kept = non_maximum_suppression(np.array(boxes), np.array(unchanged), limit)
    return [tidied[i] for i in kept]


def _flip_small_parts(mask: np.ndarray, area: int, holes: bool) -> tuple[np.ndarray, bool]:
    """Flip 8-connected parts smaller than `area`; the largest island always stays."""
    labels, count = ndimage.label(mask ^ holes, structure=np.ones((3, 3), bool))
    sizes = np.bincount(labels.ravel(), minlength=count + 1)[1:]
    small = sizes < area
    if not small.any():
        return mask, False
    keep = np.concatenate([[False], ~small])
    if holes:
        return ~keep[labels], True
    if not keep.any():
        keep[1 + int(np.argmax(sizes))] = True
    return keep[labels], True


def point_grid(side: int) -> np.ndarray:
    """Return points spread evenly over the unit square, float64 (side^2, 2), x first.

    Examples
    --------
    >>> point_grid(2).tolist()
    [[0.25, 0.25], [0.75, 0.25], [0.25, 0.75], [0.75, 0.75]]
    """
    half = 1 / (2 * side)
    line = np.linspace(half, 1 - half, side)
    x, y = np.meshgrid(line, line)
    return np.stack([x, y], axis=-1).reshape(-1, 2)


def crop_windows(
    shape: tuple[int, int], settings: AutomaticSettings
) -> tuple[list[Window], list[int]]:
    """Return the windows of a multi-crop search and the layer of each, the whole image first.

    Examples
    --------
    >>> crop_windows((100, 200), AutomaticSettings(crop_n_layers=1))[0][:2]
    [(0, 0, 200, 100), (0, 0, 117, 67)]
    """
    height, width = shape
    windows: list[Window] = [(0, 0, width, height)]
    layers = [0]
    for layer in range(1, settings.crop_n_layers + 1):
        count = 2**layer
        overlap = int(settings.crop_overlap_ratio * min(height, width) * (2 / count))
        wide = math.ceil((overlap * (count - 1) + width) / count)
        high = math.ceil((overlap * (count - 1) + height) / count)
        lefts = [(wide - overlap) * i for i in range(count)]
        tops = [(high - overlap) * i for i in range(count)]
        for left, top in product(lefts, tops):
            windows.append((left, top, min(left + wide, width), min(top + high, height)))
            layers.append(layer)
    return windows, layers
