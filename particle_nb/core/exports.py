"""Results as files: label TIFF, CSV, Parquet; and label images back to masks."""

from __future__ import annotations

import os
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import tifffile

from particle_nb.core.errors import DataError, ImageError
from particle_nb.core.image import METRES, Calibration
from particle_nb.core.masks import MaskSet
from particle_nb.core.reading import read_pixels
from particle_nb.core.writing import atomic, checked_calibration, checked_masks


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


def write_csv(table: pd.DataFrame, path: str | os.PathLike[str]) -> None:
    """Write a table as CSV (UTF-8, comma, point); units stand in the column names.

    Numbers are written so that they read back as the same float64.

    Raises
    ------
    DataError
        If it is no DataFrame or the file cannot be written.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_csv(pd.DataFrame({"x_A_um": [0.1]}), f"{folder}/a.csv")
    ...     open(f"{folder}/a.csv").read()
    'x_A_um\\n0.1\\n'
    """
    table = _checked_table(table)
    with atomic(path) as stream:
        stream.write(table.to_csv(index=_named(table), lineterminator="\n").encode("utf-8"))


def write_parquet(table: pd.DataFrame, path: str | os.PathLike[str]) -> None:
    """Write a table as Parquet, with dtypes and ``table.attrs``; `pandas.read_parquet` reads it.

    Raises
    ------
    DataError
        If it is no DataFrame, holds what Parquet cannot, or the file cannot be written.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     table = pd.DataFrame({"x_A_um": [0.1]})
    ...     table.attrs["unit"] = "um"
    ...     write_parquet(table, f"{folder}/a.parquet")
    ...     pd.read_parquet(f"{folder}/a.parquet").attrs
    {'unit': 'um'}
    """
    import pyarrow

    table = _checked_table(table)
    with atomic(path) as stream:
        try:
            table.to_parquet(stream, engine="pyarrow", index=None)
        except (TypeError, ValueError, pyarrow.ArrowException) as error:
            raise DataError(
                f"this table does not fit into Parquet: {error}; keep one type per column and "
                "plain values in table.attrs."
            ) from None


def _checked_table(table: Any) -> pd.DataFrame:
    if not isinstance(table, pd.DataFrame):
        raise DataError(f"a table is a pandas DataFrame, not {type(table).__name__}.")
    return table


def _named(table: pd.DataFrame) -> bool:
    """Whether the index holds more than row numbers."""
    return not isinstance(table.index, pd.RangeIndex)
