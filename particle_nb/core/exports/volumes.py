"""Volumes of phases out and in: TIFF stacks, npy, and VTK image data."""

from __future__ import annotations

import json
import os
import re
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import tifffile

from particle_nb.core.errors import DataError, ImageError
from particle_nb.core.exports.vti import read_vti, vti_bytes
from particle_nb.core.files import atomic
from particle_nb.core.image import Calibration, CalibrationWarning, read_pixels
from particle_nb.core.image.reading import DAMAGE, checked_path
from particle_nb.core.image.scale import calibrate, metres, unit_metres
from particle_nb.core.image.tiff import refuse_bomb
from particle_nb.core.volume import Volume, as_volume

#: Slices and pixels count as equally far apart while they differ by less than this.
_CUBES = 0.01


def write_volume(volume: Any, path: str | os.PathLike[str]) -> None:
    """Write a volume as a TIFF stack (``.tif``), a numpy file (``.npy``) or for VTK (``.vti``).

    The TIFF is ImageJ's: one slice a page, uint8 or uint16, with voxel size and the names of the
    phases. A npy file holds the labels alone. A ``.vti`` file (ParaView; needs the extra ``vtk``)
    holds them as cells, with voxel size and names.

    Parameters
    ----------
    volume : Volume, phase map, or integer array (D, H, W) or (H, W)
    path : str or path

    Raises
    ------
    DataError
        If it is no volume, has labels above 65,535 for a TIFF, the suffix is another one, the
        file cannot be written, or vtk is missing for a ``.vti``.

    Warns
    -----
    CalibrationWarning
        If a npy file loses the voxel size or the names.

    Examples
    --------
    >>> import tempfile
    >>> volume = Volume(np.arange(8).reshape(2, 2, 2) % 2, Calibration(50, "nm"), ("pore", "solid"))
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_volume(volume, f"{folder}/a.tif")
    ...     read_volume(f"{folder}/a.tif")
    <Volume 2 x 2 x 2 voxels of 50 nm: pore 0.5, solid 0.5>
    """
    volume = as_volume(volume)
    suffix = Path(path).suffix.lower() if isinstance(path, (str, os.PathLike)) else ""
    writers: dict[str, Callable[[Volume, BinaryIO, str], None]] = {
        ".tif": _write_tiff,
        ".tiff": _write_tiff,
        ".npy": _write_npy,
        ".vti": _write_vti,
    }
    if suffix not in writers:
        kinds = ".tif, .tiff, .npy or .vti"
        raise DataError(f"a volume is written to a file named {kinds}, not {str(path)[:200]!r}.")
    with atomic(path) as stream:
        writers[suffix](volume, stream, Path(path).name)


def _write_tiff(volume: Volume, stream: BinaryIO, name: str) -> None:
    labels = volume.labels
    if labels.dtype.itemsize > 2:
        raise DataError(
            f"labels up to {int(labels.max())} do not fit into the 16 bits of an ImageJ stack; "
            "number the phases from 0, or write a .npy."
        )
    if labels.nbytes >= 2**32 - 2**25:
        raise DataError(
            f"{labels.nbytes / 2**30:.1f} GiB do not fit into an ImageJ stack (4 GiB); "
            "write a .npy."
        )
    names = {str(label): volume.name(label) for label in volume.phases}
    notes = {"particle_nb": "volume", "shape": list(volume.shape), "names": names}
    # JSON in ASCII: ImageJ's Info has no encoding of its own
    metadata: dict[str, Any] = {"Info": json.dumps(notes)}
    settings: dict[str, Any] = {}
    if volume.calibration is not None:
        edge, unit = volume.voxel, volume.unit
        settings["resolution"] = (1 / edge, 1 / edge)
        metadata |= {"unit": "micron" if unit == "um" else unit, "spacing": edge}
    metadata["axes"] = "ZYX" if labels.ndim == 3 else "YX"
    tifffile.imwrite(stream, labels, imagej=True, metadata=metadata, **settings)


def _write_vti(volume: Volume, stream: BinaryIO, name: str) -> None:
    stream.write(vti_bytes(volume))


def _write_npy(volume: Volume, stream: BinaryIO, name: str) -> None:
    lost = (
        [] if volume.calibration is None else [f"the voxel size ({volume.voxel:g} {volume.unit})"]
    )
    if any(volume.name(label) != f"phase {label}" for label in volume.phases):
        lost.append("the names of the phases")
    if lost:
        warnings.warn(
            f"{name} holds the labels alone: {' and '.join(lost)} are not in it; give them again "
            "to read_volume, or write a .tif.",
            CalibrationWarning,
            stacklevel=4,
        )
    np.save(stream, volume.labels, allow_pickle=False)


def read_volume(
    path: str | os.PathLike[str],
    voxel_size: str | tuple[float, str] | Calibration | None = None,
    names: Mapping[int, str] | Sequence[str] | None = None,
) -> Volume:
    """Read a volume of phases from a TIFF stack, a numpy or a ``.vti`` file; a page is a section.

    Parameters
    ----------
    path : str or path
    voxel_size : str, (float, str), Calibration or None
        ``"50 nm"``, the edge of a cubic voxel; wins over what the file says.
    names : mapping {label: name}, names by rising label, or None
        None takes those that `write_volume` left in the file.

    Raises
    ------
    ImageError
        If the file cannot be read, has colours or channels, or its voxels are no cubes.
    DataError
        If its values are no phases: fractions, negative, or more than 32 different ones.
    CalibrationError
        If `voxel_size` cannot be read.

    Warns
    -----
    CalibrationWarning
        If the file gives the size of a pixel but not the distance of the slices.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     np.save(f"{folder}/a.npy", np.array([[[0, 1]]]))
    ...     read_volume(f"{folder}/a.npy", "50 nm", ("pore", "solid")).voxel
    50.0
    """
    file = checked_path(path)
    with open(file, "rb") as stream:
        head = stream.read(6)
    if head == b"\x93NUMPY":
        return _read_npy(file, voxel_size, names)
    if file.suffix.lower() == ".vti":
        return _read_vti(file, voxel_size, names)
    pixels = read_pixels(file, 0)
    if pixels.info.get("format") != "TIFF":
        raise ImageError(
            f"{file.name} is a {pixels.info.get('format')}; a volume is a TIFF stack or a .npy."
        )
    labels, spacing, info = _stack(file)
    scale = calibrate(
        pixels.readings, voxel_size, width=labels.shape[-1], height=labels.shape[-2], name=file.name
    )
    if voxel_size is None and scale is not None and labels.ndim == 3:
        scale = _cubes(scale, spacing, file.name)
    ours = _ours(info, labels)
    if ours is not None:
        labels = labels.reshape(ours["shape"])
        if names is None:
            names = {int(label): name for label, name in ours["names"].items()}
    try:
        return Volume(_whole(labels), scale, names, {"file": file.name})
    except DataError as error:
        raise DataError(f"{file.name}: {error}") from None


def _read_npy(file: Path, voxel_size: Any, names: Any) -> Volume:
    try:
        labels = np.load(file, allow_pickle=False, mmap_mode="r")
    except (ValueError, OSError, EOFError) as error:
        raise ImageError(f"{file.name} is no numpy file of numbers: {error}.") from None
    if voxel_size is None or isinstance(voxel_size, Calibration):
        scale = voxel_size
    else:
        scale = Calibration.parse(voxel_size)
    try:
        return Volume(_whole(labels), scale, names, {"file": file.name})
    except DataError as error:
        raise DataError(f"{file.name}: {error}") from None


def _read_vti(file: Path, voxel_size: Any, names: Any) -> Volume:
    labels, edge, unit, told = read_vti(file)
    scale = None if unit is None else Calibration(edge, unit, f"{file.name}: spacing")
    if voxel_size is not None:
        given = isinstance(voxel_size, Calibration)
        scale = voxel_size if given else Calibration.parse(voxel_size)
    elif scale is None and edge != 1:
        warnings.warn(
            f"{file.name} has a spacing of {edge:g} without a unit; lengths are in voxels. Give "
            'voxel_size, such as "50 nm".',
            CalibrationWarning,
            stacklevel=3,
        )
    try:
        return Volume(_whole(labels), scale, told if names is None else names, {"file": file.name})
    except DataError as error:
        raise DataError(f"{file.name}: {error}") from None


def _whole(labels: np.ndarray) -> np.ndarray:
    """Whole numbers stored as fractions, as integers; anything else as it is."""
    if np.issubdtype(labels.dtype, np.floating):
        if not np.isfinite(labels).all() or (labels != np.floor(labels)).any():
            raise DataError("it holds fractions or NaN; a volume has one whole number a voxel.")
        if np.abs(labels).max(initial=0) > 2**31:
            raise DataError("its values are too large for labels of phases.")
        return labels.astype(np.int64)
    return labels


def _stack(file: Path) -> tuple[np.ndarray, float | None, str]:
    """All slices, the distance of two in metres where the file says it, and ImageJ's Info."""
    try:
        with tifffile.TiffFile(file) as tif:
            series = tif.series[0]
            extra = [
                (axis, n)
                for axis, n in zip(series.axes, series.shape, strict=True)
                if axis in "SCT" and n > 1
            ]
            if extra or tif.pages[0].aspage().samplesperpixel > 1:
                raise ImageError(
                    f"{file.name} has the axes {series.axes} {series.shape}: colours, channels or "
                    "times; a volume has one label a voxel, save one channel as a stack."
                )
            shape = tuple(n for axis, n in zip(series.axes, series.shape, strict=True) if n > 1)
            if len(shape) > 3:
                raise ImageError(
                    f"{file.name} has the axes {series.axes} {series.shape}, not z y x."
                )
            if len(tif.series) > 1 and len(tif.pages) > len(series.pages):
                raise ImageError(
                    f"the {len(tif.pages)} pages of {file.name} differ in size or type; a volume "
                    "has slices of one kind."
                )
            stored = file.stat().st_size
            rows = int(np.prod(series.shape[:-1]))
            refuse_bomb(file, int(series.shape[-1]), rows, int(series.nbytes), stored)
            labels = np.asarray(series.asarray())
            last = dict(zip(series.axes, series.shape, strict=True))
            flat = int(last.get("Y") or labels.shape[-2]), int(last.get("X") or labels.shape[-1])
            labels = labels.reshape(-1, *flat)
            imagej = tif.imagej_metadata or {}
            spacing = _spacing(imagej, tif.ome_metadata or "")
            return (labels[0] if len(labels) == 1 else labels), spacing, str(imagej.get("Info", ""))
    except ImageError:
        raise
    except DAMAGE as error:
        raise ImageError(
            f"{file.name} is damaged or no stack of one kind of page ({error}); save it anew."
        ) from None


def _spacing(imagej: Mapping[str, Any], ome: str) -> float | None:
    """Distance of two slices in metres, from ImageJ's or OME's description."""
    unit = str(imagej.get("zunit", imagej.get("unit", "")))
    if "spacing" in imagej and unit_metres(unit) is not None:
        return metres(str(abs(float(imagej["spacing"]))), unit)
    found = re.search(r'\bPhysicalSizeZ\s?=\s?"([^"]{1,40})"', ome)
    if found is None:
        return None
    named = re.search(r'\bPhysicalSizeZUnit\s?=\s?"([^"]{1,20})"', ome)
    return metres(found[1], named[1] if named else "um")


def _cubes(scale: Calibration, spacing: float | None, name: str) -> Calibration:
    """The scale, where slices are as far apart as pixels."""
    if spacing is None:
        guess = "slices taken to be as far apart as pixels"
        warnings.warn(
            f"{name} gives a pixel of {scale.pixel_size:g} {scale.unit} but no distance of the "
            f"slices; {guess}. Give voxel_size='... {scale.unit}' if that is right.",
            CalibrationWarning,
            stacklevel=3,
        )
        return replace(scale, source=f"{scale.source}, guessed: {guess}")
    ratio = spacing / scale.to("m")
    if abs(ratio - 1) > _CUBES:
        raise ImageError(
            f"{name}: slices are {ratio:.4g} pixels apart, so voxels are no cubes; resample the "
            "stack (nearest neighbour along z), or give voxel_size if the file is wrong."
        )
    return scale


def _ours(info: str, labels: np.ndarray) -> dict[str, Any] | None:
    """What `write_volume` noted, where it fits the pixels."""
    try:
        notes = json.loads(info)
    except ValueError:
        return None
    if not isinstance(notes, dict) or notes.get("particle_nb") != "volume":
        return None
    shape, names = notes.get("shape"), notes.get("names")
    if not isinstance(shape, list) or not isinstance(names, dict):
        return None
    fits = all(isinstance(n, int) and n > 0 for n in shape) and len(shape) in (2, 3)
    if not fits or int(np.prod(shape)) != labels.size or shape[-2:] != list(labels.shape[-2:]):
        return None  # cropped or stacked by another program since
    if not all(label.isdecimal() for label in names):
        return None
    return notes
