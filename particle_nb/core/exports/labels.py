"""Label images out and in."""

from __future__ import annotations

import os
import warnings
from pathlib import Path
from typing import BinaryIO

import numpy as np
import tifffile

from particle_nb.core.errors import ImageError
from particle_nb.core.exports.npy import is_npy, read_npy, write_seg
from particle_nb.core.files import atomic
from particle_nb.core.image import METRES, Calibration, read_pixels
from particle_nb.core.image.image import checked_calibration
from particle_nb.core.image.reading import checked_path
from particle_nb.core.masks import MaskSet
from particle_nb.core.masks.masks import checked_masks


class OverlapWarning(UserWarning):
    """A label image cannot hold that masks overlap."""


def write_labels(
    masks: MaskSet, path: str | os.PathLike[str], calibration: Calibration | None = None
) -> None:
    """Write masks as a label TIFF, or as an array of NumPy where the name ends with ``.npy``.

    0 is background, mask i has label i + 1. uint16, or uint32 above 65,535 masks; in a TIFF with a
    calibration Fiji shows the scale. A name that ends with ``_seg.npy`` gives a file of Cellpose,
    which opens ``a_seg.npy`` beside the picture ``a``. Scores and classes are not in it: use COCO
    or the ROI zip where they matter.

    Parameters
    ----------
    masks : MaskSet
    path : str or path
    calibration : Calibration or None

    Raises
    ------
    DataError
        If masks is no MaskSet or the file cannot be written.

    Warns
    -----
    OverlapWarning
        If masks overlap: the smaller one keeps the pixels; says how many lose some or all.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_labels(MaskSet.from_labels(np.array([[0, 1], [2, 2]])), f"{folder}/a.tif")
    ...     len(read_labels(f"{folder}/a.tif"))
    2
    """
    masks = checked_masks(masks)
    checked_calibration(calibration)
    labels = masks.to_labels()
    left = np.bincount(labels.ravel(), minlength=len(masks) + 1)[1:]
    lost = masks.areas - left
    if (lost > 0).any():
        warnings.warn(
            f"{int((lost > 0).sum())} of {len(masks)} masks overlap others and lose "
            f"{int(lost.sum())} pixels in the label image {Path(path).name}, "
            f"{int((left == 0).sum())} of them vanish; write_coco and write_rois keep all.",
            OverlapWarning,
            stacklevel=2,
        )
    deep = len(masks) > np.iinfo(np.uint16).max
    image = labels.astype(np.uint32 if deep else np.uint16)
    if str(path).lower().endswith(".npy"):
        with atomic(path) as stream:
            if str(path).lower().endswith("_seg.npy"):
                write_seg(stream, image, Path(path).name)
            else:
                np.save(stream, image, allow_pickle=False)
        return
    with atomic(path) as stream:
        write_label_pixels(stream, image, calibration, max(len(masks), 1))


def write_label_pixels(
    stream: BinaryIO, image: np.ndarray, calibration: Calibration | None, most: float
) -> None:
    """Write whole numbers (H, W) as a TIFF whose scale Fiji shows, grey from 0 to `most`.

    Examples
    --------
    >>> import io
    >>> stream = io.BytesIO()
    >>> write_label_pixels(stream, np.eye(2, dtype=np.uint8), Calibration(2, "um"), 1)
    >>> _ = stream.seek(0)
    >>> tifffile.imread(stream).tolist()
    [[1, 0], [0, 1]]
    """
    unit = calibration.unit if calibration is not None else "pixel"
    edge = calibration.pixel_size if calibration is not None else 1.0
    # a rational of two uint32 keeps 6 digits only for moderate values, so pick a unit near 1
    if calibration is not None:
        unit, edge = _moderate(calibration)
    tifffile.imwrite(
        stream,
        image,
        photometric="minisblack",
        description=f"ImageJ=1.11a\nimages=1\nunit={unit}\nmin=0.0\nmax={float(most)}\n",
        metadata=None,
        resolution=(1 / edge, 1 / edge),
        resolutionunit=1,
        byteorder=">",  # ImageJ's own order
    )


def _moderate(calibration: Calibration) -> tuple[str, float]:
    """Unit and pixel size between 0.01 and 10 of it, for a rational tag to hold it well."""
    metres = calibration.pixel_size * METRES[calibration.unit]
    for unit in ("nm", "um", "mm", "cm"):
        if metres / METRES[unit] < 10:
            return ("micron" if unit == "um" else unit), calibration.to(unit)
    return "cm", calibration.to("cm")


def read_labels(
    path: str | os.PathLike[str], *, page: int | None = None, channel: int | None = None
) -> MaskSet:
    """Read a label image (0 is background) as masks, in the order of the labels.

    TIFF, PNG or BMP by the numbers that are stored, never by the colours of a table that the file
    carries; NumPy's ``.npy``, and the ``_seg.npy`` of Cellpose, of which only arrays are taken:
    nothing of a file is run.

    Parameters
    ----------
    path : str or path
    page : int or None
        Page of a stack, from 0.
    channel : int or None
        Channel of a file that has several, from 0.

    Raises
    ------
    ImageError
        If the file cannot be read, has colours, fractions or negative values, or is binary.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     tifffile.imwrite(f"{folder}/a.tif", np.array([[0, 1], [7, 7]], np.uint8))
    ...     read_labels(f"{folder}/a.tif").areas.tolist()
    [1, 2]
    """
    file = checked_path(path)
    if is_npy(file):
        pixels = _plane(read_npy(file), page, file.name)
    else:
        pixels = read_pixels(file, page, channel=channel, stored=True).pixels
    name = file.name
    if pixels.ndim == 3:
        raise ImageError(
            f"{name} has {pixels.shape[2]} channels; a label image has one number per pixel. "
            "Export labels, not their colours, or name the one with channel=."
        )
    if pixels.dtype.kind == "f":
        if not np.isfinite(pixels).all() or (pixels != np.floor(pixels)).any():
            raise ImageError(f"{name} holds fractions or NaN; a label image has whole numbers.")
        if pixels.size and np.abs(pixels).max() >= 2**53:
            raise ImageError(f"{name} holds numbers that are too large for labels.")
        pixels = pixels.astype(np.int64)
    if not pixels.any():
        return MaskSet((), (int(pixels.shape[0]), int(pixels.shape[1])))
    try:
        return MaskSet.from_labels(pixels)
    except ImageError as error:
        raise ImageError(f"{name}: {error}") from None


def _plane(array: np.ndarray, page: int | None, name: str) -> np.ndarray:
    """One plane of an array: of a stack the page that is named."""
    if array.ndim == 3 and 1 in array.shape[:1]:
        array = array[0]
    if array.ndim == 2 and page in (None, 0):
        return array
    if array.ndim == 3 and page is not None and 0 <= page < len(array):
        return array[page]
    if array.ndim == 3:
        raise ImageError(
            f"{name} is a stack of {len(array)} planes; name one with page=0 to "
            f"page={len(array) - 1}."
        )
    raise ImageError(f"{name} holds an array of shape {array.shape}; labels have rows and columns.")
