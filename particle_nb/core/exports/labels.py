"""Label images out and in."""

from __future__ import annotations

import io
import os
import re
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import tifffile

from particle_nb.core.errors import DataError, ImageError
from particle_nb.core.files import atomic, read_regular
from particle_nb.core.image import METRES, Calibration, read_pixels
from particle_nb.core.image.image import checked_calibration
from particle_nb.core.masks import MaskSet
from particle_nb.core.masks.masks import checked_masks

# where a spreadsheet begins a cell, whichever separator it takes, and what begins a formula
_CELL, _FORMULA = r"(?:^|(?<=[,;|\t\r\n\"]))", r"(?=[=+\-@\t\r\n＝＋－＠])"

_UNGUARDED = re.compile(f"{_CELL}('*){_FORMULA}")

_GUARDED = re.compile(f"{_CELL}'('*){_FORMULA}")

_WHOLE = re.compile(r"-?(?:0|[1-9]\d{0,17})")

#: Columns that are text whatever stands in them: an image may be called 000.
TEXTS = ("image", "class_name", "flag", "path", "name", "note", "notes", "message", "status")

_LARGEST_CSV = 2**31


class OverlapWarning(UserWarning):
    """A label image cannot hold that masks overlap."""


def write_labels(
    masks: MaskSet, path: str | os.PathLike[str], calibration: Calibration | None = None
) -> None:
    """Write masks as a label TIFF: 0 is background, mask i has label i + 1.

    uint16, or uint32 above 65,535 masks; with a calibration Fiji shows the scale. Scores and
    classes are not in it: use COCO or the ROI zip where they matter.

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
    unit = calibration.unit if calibration is not None else "pixel"
    edge = calibration.pixel_size if calibration is not None else 1.0
    # a rational of two uint32 keeps 6 digits only for moderate values, so pick a unit near 1
    if calibration is not None:
        unit, edge = _moderate(calibration)
    description = f"ImageJ=1.11a\nimages=1\nunit={unit}\nmin=0.0\nmax={float(max(len(masks), 1))}\n"
    with atomic(path) as stream:
        tifffile.imwrite(
            stream,
            image,
            photometric="minisblack",
            description=description,
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


def read_labels(path: str | os.PathLike[str], *, page: int | None = None) -> MaskSet:
    """Read a label image (TIFF or PNG; 0 is background) as masks, in the order of the labels.

    Parameters
    ----------
    path : str or path
    page : int or None
        Page of a stack.

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
    pixels = read_pixels(path, page).pixels
    name = Path(path).name
    if pixels.ndim == 3:
        raise ImageError(
            f"{name} has {pixels.shape[2]} channels; a label image has one number per pixel. "
            "Export labels, not their colours."
        )
    if np.issubdtype(pixels.dtype, np.floating):
        if not np.isfinite(pixels).all() or (pixels != np.floor(pixels)).any():
            raise ImageError(f"{name} holds fractions or NaN; a label image has whole numbers.")
        pixels = pixels.astype(np.int64)
    if not pixels.any():
        return MaskSet((), (int(pixels.shape[0]), int(pixels.shape[1])))
    try:
        return MaskSet.from_labels(pixels)
    except ImageError as error:
        raise ImageError(f"{name}: {error}") from None


def read_csv(path: str | os.PathLike[str]) -> pd.DataFrame:
    """Read a table that `write_csv` wrote: numbers as numbers, text as it was, 000 as ``"000"``.

    A column is one of numbers where every cell is written as `write_csv` writes numbers; names
    (``image``, ``class_name``, ...) are text always. An empty cell is NaN among numbers and ``""``
    among text.

    Raises
    ------
    DataError
        If there is no such file or it is no CSV.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_csv(pd.DataFrame({"image": ["000", "=1"], "x_A_um": [0.1, 2]}), f"{folder}/a.csv")
    ...     read_csv(f"{folder}/a.csv").to_numpy().tolist()
    [['000', 0.1], ['=1', 2.0]]
    """
    data, _ = read_regular(path, _LARGEST_CSV)
    try:
        table = pd.read_csv(io.BytesIO(data), dtype=str, na_filter=False, encoding="utf-8")
    except (ValueError, MemoryError) as error:  # ValueError is also what pandas' parser raises
        raise DataError(f"{path} is no CSV table: {error}") from None
    for place, name in enumerate(table.columns):
        cells = table.iloc[:, place]
        found = None if name in TEXTS else _numbers(cells)
        if found is None:
            found = cells.map(lambda text: _GUARDED.sub(r"\1", text))
        table.isetitem(place, found)
    return table.rename(columns=lambda name: _GUARDED.sub(r"\1", name))


def _numbers(cells: pd.Series) -> pd.Series | None:
    """The cells as whole numbers, numbers or truth values; None where one is none of these."""
    given = cells[cells != ""]
    if len(given) == len(cells) and given.isin(("True", "False")).all() and len(given):
        return cells == "True"
    if given.map(lambda text: _WHOLE.fullmatch(text) is not None).all():
        return cells.astype("int64") if len(given) == len(cells) else pd.to_numeric(cells)
    return pd.to_numeric(cells) if given.map(_is_float).all() else None


def _is_float(text: str) -> bool:
    try:
        return repr(float(text)) == text
    except ValueError:
        return False


def _harmless(table: pd.DataFrame) -> pd.DataFrame:
    """The table with an apostrophe wherever a spreadsheet would take text for a formula."""
    guarded = table.copy()
    for place in range(table.shape[1]):
        cells = table.iloc[:, place]
        if not pd.api.types.is_numeric_dtype(cells.dtype):
            guarded.isetitem(place, cells.map(_guard))
    return guarded.rename(columns=_guard, index=_guard)


def _guard(value: Any) -> Any:
    if value is None or isinstance(value, (bool, int, float, np.generic)):
        return value
    return _UNGUARDED.sub(r"'\1", value) if isinstance(value, str) else value
