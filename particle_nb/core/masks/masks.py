"""Instance masks as cropped arrays: `Mask`, `MaskSet`, their overlaps."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any, overload

import numpy as np
from scipy import sparse

from particle_nb.core.errors import DataError
from particle_nb.core.masks._labels import crops_of

#: What a mask carries beside its pixels.
CARRIED = ("predicted_iou", "stability_score", "label", "grid_px", "confidence")


def probability(value: Any) -> float | None:
    """Return a number of 0 to 1 that another program calls a confidence; None for anything else.

    Examples
    --------
    >>> probability(0.5), probability(87), probability("high")
    (0.5, None, None)
    """
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return float(value) if number and 0.0 <= value <= 1.0 else None


@dataclass(frozen=True, eq=False)
class Mask:
    """One particle: a tight bool crop and where it lies in its frame.

    Parameters
    ----------
    origin : (row, col)
        Pixel of the frame at ``crop[0, 0]``.
    crop : bool array (h, w)
        Not empty; rows and columns without a pixel at its rim are trimmed away.
    shape : (H, W)
        Size of the frame.
    predicted_iou, stability_score : float
        The model's own confidence, 0 to 1; NaN where it gave none.
    label : str
        Class name given by a person or a classifier; empty for none.
    confidence : float or None
        Probability, 0 to 1, that it matches a true particle at an IoU of 0.5 or more; None where
        no model said so.
    grid_px : float
        Size in image pixels of one cell of the grid that the mask was made on: 1 where it was
        drawn on pixels; SAM's logits on an untiled image have max(H, W) / 256. `measure` flags
        particles that are few cells across.

    Raises
    ------
    DataError
        If the crop is empty, not boolean, or reaches out of the frame, or grid_px is no size.

    Examples
    --------
    >>> Mask((2, 3), np.ones((4, 5), bool), (10, 10)).area
    20
    """

    origin: tuple[int, int]
    crop: np.ndarray
    shape: tuple[int, int]
    predicted_iou: float = math.nan
    stability_score: float = math.nan
    label: str = ""
    grid_px: float = 1.0
    confidence: float | None = None

    def __post_init__(self) -> None:
        crop = np.asarray(self.crop)
        if crop.ndim != 2 or crop.dtype != bool:
            raise DataError(f"a mask's crop is a bool array (h, w), not {crop.dtype} {crop.shape}.")
        try:
            row, col = (int(v) for v in self.origin)
            height, width = (int(v) for v in self.shape)
        except (TypeError, ValueError):
            raise DataError(
                f"origin is (row, col) and shape (H, W), not {self.origin!r} and {self.shape!r}."
            ) from None
        # the rims of a tight crop tell that it is one, which is quicker than all of it
        rims = crop.size and (crop[0].any(), crop[-1].any(), crop[:, 0].any(), crop[:, -1].any())
        if not rims or not all(rims):
            rows = np.flatnonzero(crop.any(axis=1))
            if not rows.size:
                raise DataError("a mask without a single pixel; drop it before making a Mask.")
            cols = np.flatnonzero(crop.any(axis=0))
            top, bottom, left, right = rows[0], rows[-1] + 1, cols[0], cols[-1] + 1
            crop = crop[top:bottom, left:right].copy()
            row, col = row + int(top), col + int(left)
        if row < 0 or col < 0 or row + crop.shape[0] > height or col + crop.shape[1] > width:
            raise DataError(
                f"a mask of {crop.shape} at row {row}, column {col} reaches out of its frame "
                f"of {(height, width)}."
            )
        try:
            grid = float(self.grid_px)
        except (TypeError, ValueError, OverflowError):
            grid = math.nan
        if not 0 < grid < math.inf:
            raise DataError(f"grid_px is a positive number of pixels, not {self.grid_px!r}.")
        if not isinstance(self.label, str):
            raise DataError(f"a mask's label is text, not {self.label!r:.60}.")
        if not self.label.isascii():
            _checked_text(self.label, "a mask's label")
        sure = self.confidence
        if sure is not None:
            sure = float(sure) if isinstance(sure, (int, float, np.number)) else math.nan
            if not 0.0 <= sure <= 1.0:
                raise DataError(
                    f"confidence is a probability of 0 to 1 or None, not {self.confidence!r}."
                )
        crop = np.ascontiguousarray(crop).view()
        crop.flags.writeable = False
        object.__setattr__(self, "crop", crop)
        object.__setattr__(self, "origin", (row, col))
        object.__setattr__(self, "shape", (height, width))
        object.__setattr__(self, "predicted_iou", float(self.predicted_iou))
        object.__setattr__(self, "stability_score", float(self.stability_score))
        object.__setattr__(self, "grid_px", grid)
        object.__setattr__(self, "confidence", sure)

    @classmethod
    def _tight(cls, origin: tuple[int, int], crop: np.ndarray, shape: tuple[int, ...]) -> Mask:
        """Make a mask of a read-only crop known to be tight and inside: nothing is checked.

        The checks take longer than measuring the particle does.
        """
        mask = object.__new__(cls)
        held = mask.__dict__
        held["origin"], held["crop"], held["shape"] = origin, crop, shape
        held["predicted_iou"] = held["stability_score"] = math.nan
        held["label"], held["grid_px"], held["confidence"] = "", 1.0, None
        return mask

    def __setstate__(self, state: dict[str, Any]) -> None:
        # arrays come out of a pickle or a deep copy writeable
        self.__dict__.update(state)
        if "crop" in state:
            state["crop"].flags.writeable = False

    @classmethod
    def from_full(cls, full: np.ndarray, **scores: Any) -> Mask:
        """Make a mask from a full-frame bool array (H, W).

        Raises
        ------
        DataError
            If the array is not 2-D boolean or is empty.

        Examples
        --------
        >>> Mask.from_full(np.eye(3, dtype=bool)).area
        3
        """
        full = np.asarray(full)
        if full.ndim != 2:
            raise DataError(f"a full-frame mask is (H, W), not {full.shape}.")
        return cls((0, 0), full, full.shape, **scores)

    @property
    def area(self) -> int:
        """Number of pixels."""
        return int(np.count_nonzero(self.crop))

    @property
    def bbox(self) -> tuple[int, int, int, int]:
        """First row, first column, one past the last row, one past the last column."""
        (row, col), (h, w) = self.origin, self.crop.shape
        return row, col, row + h, col + w

    @property
    def centroid(self) -> tuple[float, float]:
        """Centre of mass (x, y) in image pixels."""
        rows, cols = np.nonzero(self.crop)
        return float(cols.mean() + self.origin[1]), float(rows.mean() + self.origin[0])

    @property
    def touches_edge(self) -> bool:
        """Whether a pixel of it lies on the rim of the frame."""
        r0, c0, r1, c1 = self.bbox
        return r0 == 0 or c0 == 0 or r1 == self.shape[0] or c1 == self.shape[1]

    def full(self) -> np.ndarray:
        """Return the mask as a full-frame bool array (H, W)."""
        full = np.zeros(self.shape, bool)
        r0, c0, r1, c1 = self.bbox
        full[r0:r1, c0:c1] = self.crop
        return full

    def intersection(self, other: Mask) -> int:
        """Number of pixels that both masks cover.

        Examples
        --------
        >>> a = Mask((0, 0), np.ones((4, 4), bool), (8, 8))
        >>> a.intersection(Mask((2, 2), np.ones((4, 4), bool), (8, 8)))
        4
        """
        if not isinstance(other, Mask):
            raise DataError(f"a mask is compared with a Mask, not with {type(other).__name__}.")
        a, b = self.bbox, other.bbox
        r0, c0, r1, c1 = max(a[0], b[0]), max(a[1], b[1]), min(a[2], b[2]), min(a[3], b[3])
        if r0 >= r1 or c0 >= c1:
            return 0
        mine = self.crop[r0 - a[0] : r1 - a[0], c0 - a[1] : c1 - a[1]]
        its = other.crop[r0 - b[0] : r1 - b[0], c0 - b[1] : c1 - b[1]]
        return int(np.count_nonzero(mine & its))

    def iou(self, other: Mask) -> float:
        """Intersection over union with another mask of the same frame."""
        both = self.intersection(other)
        return both / (self.area + other.area - both)

    def replace(self, **changes: Any) -> Mask:
        """Return a copy with some fields changed (`dataclasses.replace`)."""
        unknown = changes.keys() - {item.name for item in fields(self)}
        if unknown:
            raise DataError(f"a Mask has no {', '.join(sorted(unknown))}.")
        return replace(self, **changes)

    @property
    def digest(self) -> str:
        """SHA-256 of frame, place and pixels, 16 hex digits."""
        (height, width), (r0, c0, r1, c1) = self.shape, self.bbox
        # written out: repr of the two tuples takes as long as everything else here
        place = f"(({height}, {width}), ({r0}, {c0}, {r1}, {c1}))".encode()
        return hashlib.sha256(place + np.packbits(self.crop).tobytes()).hexdigest()[:16]


@dataclass(frozen=True, eq=False)
class MaskSet:
    """The masks of one image; they may overlap.

    Parameters
    ----------
    masks : sequence of Mask
    shape : (H, W) or None
        Size of the frame; taken from the masks when left out, needed when there are none.
    drawn_scale : Calibration or None
        The scale that a person drew where the masks come from, in place of the image's own.
    drawn_region : RegionOfInterest or None
        The part of the image that a person chose there. `measure` goes by both.

    Raises
    ------
    DataError
        If something in it is no Mask, frames differ, or an empty set comes without a shape.

    Examples
    --------
    >>> masks = MaskSet.from_labels(np.array([[0, 1], [2, 2]]))
    >>> len(masks), masks[1].area
    (2, 2)
    """

    masks: tuple[Mask, ...] = ()
    shape: tuple[int, int] | None = None
    drawn_scale: Any = field(default=None, kw_only=True)
    drawn_region: Any = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        try:
            masks = tuple(self.masks)
        except TypeError:
            raise DataError(
                f"a MaskSet takes a sequence of Mask, not {type(self.masks).__name__}; "
                "for a label image use MaskSet.from_labels."
            ) from None
        for index, mask in enumerate(masks):
            if not isinstance(mask, Mask):
                raise DataError(
                    f"element {index} is {type(mask).__name__}, not a Mask; "
                    "for arrays use Mask.from_full or MaskSet.from_labels."
                )
        shape = self.shape
        if shape is None:
            if not masks:
                raise DataError("an empty MaskSet needs the shape (H, W) of its image.")
            shape = masks[0].shape
        try:
            height, width = (int(n) for n in shape)
        except (TypeError, ValueError, OverflowError):
            height = width = 0
        if height < 1 or width < 1:
            raise DataError(f"the shape of a frame is (H, W), both positive, not {shape!r}.")
        shape = (height, width)
        for index, mask in enumerate(masks):
            if mask.shape != shape:
                raise DataError(f"mask {index} is of a frame {mask.shape}, the set of {shape}.")
        object.__setattr__(self, "masks", masks)
        object.__setattr__(self, "shape", shape)

    @classmethod
    def from_labels(cls, labels: np.ndarray) -> MaskSet:
        """Make a set from an integer label image (H, W); 0 is background.

        Masks come in the order of their labels; parts of one label stay one mask.

        Raises
        ------
        ImageError
            If it is not a 2-D integer image or has negative labels.

        Examples
        --------
        >>> len(MaskSet.from_labels(np.array([[1, 0, 7]])))
        2
        """
        found, shape = crops_of(labels), np.shape(labels)
        return cls(tuple(Mask._tight(place, crop, shape) for place, crop in found), shape)

    def to_labels(self) -> np.ndarray:
        """Return a label image int32 (H, W): mask i has label i + 1.

        Where masks overlap the smaller one is on top, so that none disappears behind another.
        """
        assert self.shape is not None
        labels = np.zeros(self.shape, np.int32)
        for index in np.argsort(-self.areas, kind="stable"):
            mask = self.masks[index]
            r0, c0, r1, c1 = mask.bbox
            labels[r0:r1, c0:c1][mask.crop] = index + 1
        return labels

    def __len__(self) -> int:
        return len(self.masks)

    def __iter__(self) -> Iterator[Mask]:
        return iter(self.masks)

    @overload
    def __getitem__(self, index: int) -> Mask: ...
    @overload
    def __getitem__(self, index: slice | Sequence[int] | np.ndarray) -> MaskSet: ...
    def __getitem__(self, index: Any) -> Mask | MaskSet:
        if isinstance(index, (int, np.integer)):
            return self.masks[int(index)]
        if isinstance(index, slice):
            return replace(self, masks=self.masks[index])
        picked = np.asarray(index)
        if picked.dtype == bool:
            if picked.shape != (len(self),):
                raise DataError(f"{picked.shape} flags cannot pick from {len(self)} masks.")
            picked = np.flatnonzero(picked)
        if picked.ndim != 1 or (picked.size and not np.issubdtype(picked.dtype, np.integer)):
            raise DataError(f"masks are picked by number, slice, numbers or flags, not {index!r}.")
        return replace(self, masks=tuple(self.masks[i] for i in picked.tolist()))

    def __add__(self, other: MaskSet | Iterable[Mask]) -> MaskSet:
        if isinstance(other, MaskSet):
            other = _same_frame(self, other)
        try:
            return replace(self, masks=(*self.masks, *other))
        except TypeError:
            raise DataError(f"masks are added to masks, not to {type(other).__name__}.") from None

    @property
    def areas(self) -> np.ndarray:
        """Pixel counts, int64 (N,)."""
        return np.array([mask.area for mask in self.masks], np.int64)

    @property
    def boxes(self) -> np.ndarray:
        """Bounding boxes (row0, col0, row1, col1), ends exclusive, int64 (N, 4)."""
        return np.array([mask.bbox for mask in self.masks], np.int64).reshape(-1, 4)

    @property
    def predicted_iou(self) -> np.ndarray:
        """The model's own confidence, float (N,); NaN where none."""
        return np.array([mask.predicted_iou for mask in self.masks], float)

    @property
    def stability_score(self) -> np.ndarray:
        """Stability under threshold shifts, float (N,); NaN where none."""
        return np.array([mask.stability_score for mask in self.masks], float)

    @property
    def confidence(self) -> np.ndarray:
        """Probability that each is a particle, float (N,); NaN where no model said so."""
        return np.array(
            [math.nan if m.confidence is None else m.confidence for m in self.masks], float
        )

    def where(self, *, confidence: float) -> MaskSet:
        """Masks at least this sure; those without a confidence, drawn by hand say, stay.

        Raises
        ------
        DataError
            If the limit is no probability.

        Examples
        --------
        >>> sure, unsure = (Mask((0, 0), np.ones((2, 2), bool), (9, 9), confidence=c)
        ...                 for c in (0.9, 0.2))
        >>> len(MaskSet((sure, unsure)).where(confidence=0.5))
        1
        """
        number = isinstance(confidence, (int, float, np.number)) and not isinstance(
            confidence, bool
        )
        if not number or not 0.0 <= confidence <= 1.0:
            raise DataError(f"confidence is a limit of 0 to 1, not {confidence!r}.")
        return self[~(self.confidence < confidence)]

    def coverage(self) -> float:
        """Covered share of the frame, 0 to 1, overlaps counted once."""
        return float(np.count_nonzero(self.to_labels()) / np.prod(self.shape or (1, 1)))

    def intersections(self, other: MaskSet | None = None) -> sparse.csr_array:
        """Common pixels of every pair, sparse int64 (N, M); with itself when left out.

        Only pairs whose bounding boxes overlap are looked at.

        Examples
        --------
        >>> MaskSet.from_labels(np.array([[1, 2, 2]])).intersections().toarray().tolist()
        [[1, 0], [0, 2]]
        """
        second = self if other is None else _same_frame(self, other)
        a, b = self.boxes, second.boxes
        entries: list[tuple[int, int, int]] = []
        for i, box in enumerate(a):
            near = (b[:, 0] < box[2]) & (b[:, 2] > box[0]) & (b[:, 1] < box[3]) & (b[:, 3] > box[1])
            if other is None:
                near[:i] = False
            for j in map(int, np.flatnonzero(near)):
                count = self.masks[i].intersection(second.masks[j])
                if count:
                    entries.append((i, j, count))
                    if other is None and i != j:
                        entries.append((j, i, count))
        rows, cols, values = np.array(entries, np.int64).reshape(-1, 3).T
        return sparse.csr_array((values, (rows, cols)), shape=(len(self), len(second)))

    def iou(self, other: MaskSet | None = None) -> sparse.csr_array:
        """Intersection over union of every overlapping pair, sparse float (N, M)."""
        second = self if other is None else _same_frame(self, other)
        pairs = self.intersections(other).tocoo()
        i, j = pairs.coords
        union = self.areas[i] + second.areas[j] - pairs.data
        return sparse.csr_array((pairs.data / union, (i, j)), shape=(len(self), len(second)))

    @property
    def digest(self) -> str:
        """SHA-256 of all masks in order, 16 hex digits."""
        text = repr(self.shape) + "".join(mask.digest for mask in self.masks)
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def __repr__(self) -> str:
        assert self.shape is not None
        return f"<MaskSet of {len(self)} masks on {self.shape[1]} x {self.shape[0]} px>"


def _checked_text(text: str, what: str) -> None:
    """Refuse half a character (a lone surrogate), which JSON can hold and no file can."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        raise DataError(f"{what} is no text: {text!r:.60}.") from None


def _same_frame(masks: MaskSet, other: object) -> MaskSet:
    """Return the other set; `DataError` where it is none, or of another frame."""
    if not isinstance(other, MaskSet):
        raise DataError(
            f"masks are put beside a MaskSet, not {type(other).__name__}; "
            "for a label image use MaskSet.from_labels."
        )
    if other.shape != masks.shape:
        raise DataError(f"masks of a frame {masks.shape} do not go with those of {other.shape}.")
    return other


def checked_masks(masks: Any) -> MaskSet:
    """Return the masks, or say that they are no MaskSet.

    Raises
    ------
    DataError
        If so.
    """
    if not isinstance(masks, MaskSet):
        raise DataError(
            f"masks come as a MaskSet, not {type(masks).__name__}; "
            "for a label image use MaskSet.from_labels."
        )
    return masks
