"""What a classifier of phases takes: images, strokes, and features of the caller's own."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from particle_nb.core.errors import DataError, ImageError
from particle_nb.core.image import Image, read_image
from particle_nb.core.phases.dense import DenseFeatures, Plane

#: Kinds of features that a classifier makes itself.
KINDS = ("both", "filters", "network")
#: What is an image in a folder, by its ending.
_SUFFIXES = (".tif", ".tiff", ".btf", ".png", ".jpg", ".jpeg", ".bmp")

Own = Callable[[Image], Any]


def checked_kinds(features: Any) -> tuple[str | Own, ...]:
    """Return the kinds of features asked for, "both" taken apart.

    Raises
    ------
    DataError
        If one is unknown.
    """
    kinds = (features,) if isinstance(features, str) or callable(features) else features
    if not isinstance(kinds, Sequence) or not kinds:
        raise DataError(f"features are {', '.join(KINDS)} or functions, not {features!r}.")
    found: list[str | Own] = []
    for kind in kinds:
        if not callable(kind) and kind not in KINDS:
            raise DataError(
                f"there are no features {kind!r}; name {', '.join(KINDS)}, or pass a function "
                "that takes an Image and returns numbers (H, W, D)."
            )
        found += ["filters", "network"] if kind == "both" else [kind]
    return tuple(dict.fromkeys(found))


def name_of(function: Any) -> str:
    """Return what a function is called."""
    return str(getattr(function, "__qualname__", type(function).__name__))


def own_features(values: Any, image: Image, tag: str, origin: str) -> DenseFeatures:
    """Return numbers of the caller's own, (H, W) or (H, W, D), as features of the image.

    Raises
    ------
    DataError
        If they do not fit the image.
    """
    if isinstance(values, DenseFeatures):
        if values.shape != image.shape:
            raise DataError(f"own features are of a frame {values.shape}, not {image.shape}.")
        return values
    try:
        array = np.asarray(values, np.float32)
    except (TypeError, ValueError):
        raise DataError("own features are numbers (H, W, D).") from None
    array = array[..., None] if array.ndim == 2 else array
    if array.ndim != 3 or array.shape[:2] != image.shape or not array.shape[2]:
        raise DataError(f"own features are (H, W, D) on {image.shape}, not {array.shape}.")
    names = tuple(f"{tag}.{i}" for i in range(array.shape[2]))
    return DenseFeatures((Plane(array, names),), image.shape, origin=(f"own {origin}",))


def checked_image(image: Any) -> Image:
    """Return an image, also of an array (H, W) or (H, W, C).

    Raises
    ------
    ImageError
        If it is neither.
    """
    if isinstance(image, Image):
        return image
    if isinstance(image, np.ndarray):
        return Image(image)
    raise ImageError(
        f"expected a particle_nb.Image or an array, not {type(image).__name__}; "
        "use read_image(path)."
    )


def checked_images(images: Any) -> list[Image]:
    """Return a list of images of one or of several.

    Raises
    ------
    ImageError
        If one is none.
    """
    if isinstance(images, (Image, np.ndarray)):
        return [checked_image(images)]
    if isinstance(images, (str, bytes, Mapping)) or not isinstance(images, Sequence) or not images:
        raise ImageError(
            f"expected an Image, or a list of them, not {type(images).__name__}; "
            "use read_image(path)."
        )
    return [checked_image(image) for image in images]


def checked_strokes(strokes: Any, images: Sequence[Image]) -> list[np.ndarray]:
    """Return strokes as int16 arrays (H, W), one for each image.

    Raises
    ------
    DataError
        If they do not fit the images or are no phases.
    """
    many = isinstance(strokes, (list, tuple)) and any(np.ndim(part) == 2 for part in strokes)
    given = list(strokes) if many else [strokes]
    if len(given) != len(images):
        raise DataError(f"{len(given)} arrays of strokes for {len(images)} images; one for each.")
    found = []
    for part, image in zip(given, images, strict=True):
        part = getattr(part, "labels", part)
        array = np.asarray(part)
        if array.dtype.kind not in "iu" or array.shape != image.shape:
            raise DataError(
                f"strokes are whole numbers on the image's frame {image.shape}, -1 where nothing "
                f"was painted, not {array.dtype} of {array.shape}."
            )
        if array.min() < -1 or array.max() > 63:
            raise DataError(
                f"phases are 0 to 63 and -1 for unpainted; the strokes hold {array.min()} to "
                f"{array.max()}."
            )
        found.append(array.astype(np.int16))
    return found


def checked_own(own: Any, images: Sequence[Image]) -> list[Any]:
    """Return the own features of each image, None for none.

    Raises
    ------
    DataError
        If there is not one for each.
    """
    if own is None:
        return [None] * len(images)
    given = list(own) if isinstance(own, (list, tuple)) else [own]
    if len(given) != len(images):
        raise DataError(f"own features of {len(given)} images for {len(images)}.")
    return given


def each_image(source: Any) -> Iterator[Image]:
    """Images of a sequence, a folder or a stack."""
    if isinstance(source, (str, os.PathLike)):
        path = Path(source)
        if path.is_dir():
            files = sorted(p for p in path.iterdir() if p.suffix.lower() in _SUFFIXES)
            for file in files:
                yield from _pages(file)
            return
        yield from _pages(path)
        return
    if isinstance(source, (Image, np.ndarray)):
        yield checked_image(source)
        return
    if isinstance(source, Mapping) or not hasattr(source, "__iter__"):
        raise DataError(f"images are a sequence, a folder or a stack, not {source!r:.60}.")
    for item in source:
        if isinstance(item, (str, os.PathLike)):
            yield from _pages(Path(item))
        else:
            yield checked_image(item)


def _pages(file: Path) -> Iterator[Image]:
    """The image of a file, or its pages where it is a stack."""
    try:
        yield read_image(file)
        return
    except ImageError as error:
        try:
            first = read_image(file, page=0)
        except ImageError:
            raise error from None
        if first.info.get("pages", 1) < 2:
            raise
    yield first
    for page in range(1, int(first.info["pages"])):
        yield read_image(file, page=page)
