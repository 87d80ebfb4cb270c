"""Images with a user's own masks: read from what holds them, cut to size, and parted."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from particle_nb.core.annotation import read_archive
from particle_nb.core.errors import DataError
from particle_nb.core.image import Image, read_image
from particle_nb.core.masks import MaskSet

#: Side of the part of an image that is looked at where looking at all of it would take long, px.
LARGEST = 768
#: A part of an image that is held out or learned from has at least this side, px.
SMALLEST = 48


@dataclass(frozen=True, eq=False)
class Lesson:
    """An image with its own masks.

    Parameters
    ----------
    name : str
    image : Image
    masks : MaskSet
        All particles of it: what is not marked counts as ground.
    """

    name: str
    image: Image
    masks: MaskSet

    @property
    def facts(self) -> dict[str, Any]:
        """What a file of weights says of it."""
        return {
            "image": self.name,
            "digest": self.image.digest,
            "masks": self.masks.digest,
            "particles": len(self.masks),
        }

    @property
    def grey(self) -> np.ndarray:
        """Grey values (H, W)."""
        return np.asarray(self.image.grey)

    @property
    def labels(self) -> np.ndarray:
        """Label image int64 (H, W)."""
        return self.masks.to_labels().astype(np.int64)

    def part(self, rows: slice, columns: slice, word: str) -> Lesson:
        """A part of it; what is left of a particle that is cut counts as a particle."""
        labels = self.labels[rows, columns]
        picture = Image(np.ascontiguousarray(self.grey[rows, columns]), name=self.image.name)
        return Lesson(f"{self.name}{word}", picture, MaskSet.from_labels(labels))

    def small(self, side: int = LARGEST) -> Lesson:
        """The part of at most this side with the most particles."""
        height, width = self.image.shape
        if max(height, width) <= side:
            return self
        boxes = np.array([mask.bbox for mask in self.masks], float).reshape(-1, 4)
        middles = 0.5 * (boxes[:, :2] + boxes[:, 2:])
        places = [(row, column) for row in _starts(height, side) for column in _starts(width, side)]
        inside = [
            int(((middles >= place) & (middles < np.array(place) + side)).all(1).sum())
            for place in places
        ]
        row, column = places[int(np.argmax(inside))]
        return self.part(slice(row, row + side), slice(column, column + side), "")


def _starts(extent: int, side: int) -> list[int]:
    last = max(extent - side, 0)
    return sorted({*range(0, last, max(1, side // 2)), last})


def read_lessons(annotations: Any) -> list[Lesson]:
    """Images and masks of whatever holds them.

    Parameters
    ----------
    annotations : sequence or mapping of annotations, or one of them
        Each an `Annotation` (or the annotator in the cell), the path of a ``.pnb`` file that holds
        its image, or a pair of an image (`Image`, path or array) and its masks (`MaskSet` or an
        integer label image (H, W)). The keys of a mapping are names.

    Raises
    ------
    DataError
        If something is none of these, frames differ, or no particle is marked.

    Examples
    --------
    >>> labels = np.zeros((64, 64), int); labels[8:20, 8:20] = 1
    >>> [lesson.name for lesson in read_lessons({"a": (np.zeros((64, 64), np.uint8), labels)})]
    ['a']
    """
    lessons = [_lesson(item, name) for name, item in _items(annotations)]
    if not any(len(lesson.masks) for lesson in lessons):
        raise DataError("no particle is marked in any annotation; nothing can be learned.")
    for lesson in lessons:
        if min(lesson.image.shape) < SMALLEST:
            raise DataError(
                f"{lesson.name} is {lesson.image.shape[1]} x {lesson.image.shape[0]} px; give "
                f"images of at least {SMALLEST} px a side."
            )
    return lessons


def _items(annotations: Any) -> Iterable[tuple[str, Any]]:
    if isinstance(annotations, Mapping):
        return [(str(name), item) for name, item in annotations.items()]
    if _is_one(annotations):
        annotations = [annotations]
    if not isinstance(annotations, Iterable) or isinstance(annotations, (str, bytes, np.ndarray)):
        raise DataError(
            "annotations are a list of (image, masks) pairs, of Annotations or of .pnb paths, not "
            f"{type(annotations).__name__}."
        )
    items = list(annotations)
    if not items:
        raise DataError("there is no annotation to learn from; give at least one.")
    return [("", item) for item in items]


def _is_one(item: Any) -> bool:
    """Whether this is one annotation and no collection of them."""
    if isinstance(item, (str, os.PathLike)) or hasattr(item, "masks"):
        return True
    return isinstance(item, tuple) and len(item) == 2 and isinstance(item[1], (MaskSet, np.ndarray))


def _lesson(item: Any, name: str) -> Lesson:
    if isinstance(item, Lesson):
        return item
    if isinstance(item, (str, os.PathLike)):
        archive = read_archive(item)
        if archive.image is None:
            raise DataError(
                f"{item} holds masks but no image; give the pair (image, masks), or save it with "
                "its image."
            )
        return _checked(name or Path(item).stem, archive.image, archive.history.state.masks)
    image, masks = getattr(item, "image", None), getattr(item, "masks", None)
    if image is None or masks is None:
        if not isinstance(item, Sequence) or len(item) != 2:
            raise DataError(
                f"an annotation is a pair (image, masks), an Annotation or a .pnb path, not "
                f"{type(item).__name__}."
            )
        image, masks = item
    return _checked(name, image, masks)


def _checked(name: str, image: Any, masks: Any) -> Lesson:
    if isinstance(image, (str, os.PathLike)):
        image = read_image(image)
    if isinstance(image, np.ndarray):
        image = Image(image, name=name)
    if not isinstance(image, Image):
        raise DataError(f"an annotation's image is an Image, not {type(image).__name__}.")
    if isinstance(masks, np.ndarray):
        masks = MaskSet.from_labels(masks)
    if not isinstance(masks, MaskSet):
        raise DataError(f"an annotation's masks are a MaskSet, not {type(masks).__name__}.")
    if masks.shape != image.shape:
        raise DataError(
            f"the masks of {name or image.name or 'an image'} are of a frame {masks.shape}, the "
            f"image of {image.shape}."
        )
    return Lesson(name or image.name or "image", image, masks)


def parted(lessons: Sequence[Lesson], share: float, seed: int) -> tuple[list[Lesson], list[Lesson]]:
    """What is learned from, and what is held out: whole images, or parts where there are few.

    Raises
    ------
    DataError
        If one of the two would hold no particle.
    """
    rng = np.random.default_rng([seed, 11])
    if len(lessons) >= 3:
        order = [int(i) for i in rng.permutation(len(lessons)) if len(lessons[i].masks)]
        empty = [i for i, lesson in enumerate(lessons) if not len(lesson.masks)]
        count = min(max(1, round(share * len(lessons))), len(order) - 1)
        held = sorted(order[: max(count, 0)])
        learned = sorted([*order[max(count, 0) :], *empty])
        parts = [lessons[i] for i in learned], [lessons[i] for i in held]
    else:
        cuts = [_cut(lesson, share) for lesson in lessons]
        parts = [a for a, _ in cuts], [b for _, b in cuts if len(b.masks)]
    if not parts[1] or not any(len(lesson.masks) for lesson in parts[0]):
        raise DataError(
            "there are too few marked particles to learn from some and to judge by others; "
            "correct another image."
        )
    return parts


def _cut(lesson: Lesson, share: float) -> tuple[Lesson, Lesson]:
    """A lesson cut across its longer side, where the held-out part holds its share of masks."""
    axis = int(np.argmax(lesson.image.shape))
    extent = lesson.image.shape[axis]
    boxes = np.array([mask.bbox for mask in lesson.masks], float).reshape(-1, 4)
    middles = 0.5 * (boxes[:, axis] + boxes[:, axis + 2])
    at = int(np.quantile(middles, 1.0 - share)) if len(middles) else int(extent * (1.0 - share))
    least = min(SMALLEST, extent // 3)
    at = min(max(at, least), extent - least)
    every = slice(None)
    first, second = slice(0, at), slice(at, None)
    if axis == 0:
        return lesson.part(first, every, " (learned)"), lesson.part(second, every, " (held out)")
    return lesson.part(every, first, " (learned)"), lesson.part(every, second, " (held out)")
