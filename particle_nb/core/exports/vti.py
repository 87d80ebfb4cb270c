"""Volumes as VTK image data (``.vti``) for ParaView and its kin, by the library vtk."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np

from particle_nb.core.errors import DataError, ImageError
from particle_nb.core.files import read_regular
from particle_nb.core.volume import Volume

#: Name of our notes among a file's field data.
_NOTES = "particle_nb"

_LARGEST = 2**33

#: A file unfolds to at most so many voxels per byte: zlib packs to a thousandth at best.
_FOLDED = 2000

_EXTENT = re.compile(rb'WholeExtent\s*=\s*"\s*((?:-?\d{1,9}\s+){5}-?\d{1,9})\s*"')


def vti_bytes(volume: Volume) -> bytes:
    """Return a volume (D, H, W), or a section (H, W), as the XML of a ``.vti`` file.

    Voxels are cells with the array ``phase``; the spacing is the voxel's edge, whose unit and the
    names of the phases stand in the field data, as VTK has no place for them.

    Raises
    ------
    DataError
        If the library vtk is not installed.
    """
    vtk = _vtk(DataError)
    labels = volume.labels if volume.labels.ndim == 3 else volume.labels[None]
    depth, height, width = labels.shape
    image = vtk.vtkImageData()
    # of a section there is one layer of points and no cell has a thickness
    image.SetDimensions(width + 1, height + 1, depth + 1 if volume.labels.ndim == 3 else 1)
    image.SetSpacing(volume.voxel, volume.voxel, volume.voxel)
    array = vtk.numpy_to_vtk(np.ascontiguousarray(labels).ravel(), deep=True)
    array.SetName("phase")
    image.GetCellData().SetScalars(array)
    notes = {
        "shape": list(volume.shape),
        "unit": None if volume.calibration is None else volume.unit,
        "names": {str(label): volume.name(label) for label in volume.phases},
    }
    text = vtk.vtkStringArray()
    text.SetName(_NOTES)
    text.InsertNextValue(json.dumps(notes))
    image.GetFieldData().AddArray(text)
    writer = vtk.vtkXMLImageDataWriter()
    writer.SetInputData(image)
    writer.SetDataModeToBinary()
    writer.SetWriteToOutputString(True)
    if not writer.Write():
        raise DataError("vtk could not write the volume.")
    return bytes(writer.GetOutputString(), "utf-8")


def read_vti(file: Path) -> tuple[np.ndarray, float, str | None, dict[int, str] | None]:
    """Return labels (D, H, W) or (H, W), the voxel's edge, its unit and names, if they are told.

    Parameters
    ----------
    file : Path
        Of one integer array, on cells or on points.

    Raises
    ------
    ImageError
        If it is no VTK image data, is damaged, its voxels are no cubes, it has several arrays, or
        the library vtk is not installed.
    """
    data, _ = read_regular(file, _LARGEST)
    found = _EXTENT.search(data[: 2**16])
    if found is None or b"ImageData" not in data[: 2**16]:
        raise ImageError(f"{file.name} is no VTK image data (.vti).")
    ends = [int(n) for n in found[1].split()]
    voxels = int(np.prod([max(b - a, 1) for a, b in zip(ends[::2], ends[1::2], strict=True)]))
    if voxels > _FOLDED * len(data):
        raise ImageError(f"{file.name} claims {voxels} voxels in {len(data)} bytes: not read.")
    vtk = _vtk(ImageError)
    reader, troubles = vtk.vtkXMLImageDataReader(), []
    for one in (reader, reader.GetReaderErrorObserver() or reader):
        one.AddObserver("ErrorEvent", lambda *_: troubles.append("error"))
    reader.SetReadFromInputString(True)
    reader.SetInputString(data.decode("latin-1"))
    reader.Update()
    image = reader.GetOutput()
    spacing = image.GetSpacing()
    dimensions = np.array(image.GetDimensions()[::-1])
    values = [
        (where.GetArray(i), where is image.GetPointData())
        for where in (image.GetCellData(), image.GetPointData())
        for i in range(where.GetNumberOfArrays())
    ]
    if troubles or len(values) != 1 or values[0][0] is None:
        raise ImageError(
            f"{file.name} is damaged or has {len(values)} arrays; a volume has one, with a label a "
            "voxel."
        )
    array, on_points = values[0]
    shape = dimensions if on_points else np.maximum(dimensions - 1, 1)
    labels = vtk.vtk_to_numpy(array)
    if labels.ndim != 1 or labels.size != int(np.prod(shape)):
        raise ImageError(f"{file.name} has {labels.shape} values for {tuple(shape)} voxels.")
    if max(spacing) > 1.01 * min(spacing):
        raise ImageError(f"the voxels of {file.name} are no cubes: {spacing}; resample it first.")
    labels = labels.reshape(shape)
    notes = _notes(image.GetFieldData())
    names = {int(k): str(v) for k, v in notes["names"].items()} if "names" in notes else None
    return (labels[0] if shape[0] == 1 else labels), spacing[0], notes.get("unit"), names


def _notes(fields: Any) -> dict[str, Any]:
    """What we left in the field data; empty where it is another's file or was changed."""
    for i in range(fields.GetNumberOfArrays()):
        one = fields.GetAbstractArray(i)
        if one is not None and one.GetName() == _NOTES and one.GetNumberOfValues() == 1:
            try:
                found = json.loads(str(one.GetValue(0)))
                return {"unit": found["unit"], "names": dict(found["names"])}
            except (ValueError, KeyError, TypeError, AttributeError):
                return {}
    return {}


class _Vtk:
    """The few parts of vtk that are used; importing all of it takes seconds."""

    def __init__(self) -> None:
        from vtkmodules.util.numpy_support import numpy_to_vtk, vtk_to_numpy
        from vtkmodules.vtkCommonCore import vtkStringArray
        from vtkmodules.vtkCommonDataModel import vtkImageData
        from vtkmodules.vtkIOXML import vtkXMLImageDataReader, vtkXMLImageDataWriter

        self.numpy_to_vtk, self.vtk_to_numpy = numpy_to_vtk, vtk_to_numpy
        self.vtkStringArray, self.vtkImageData = vtkStringArray, vtkImageData
        self.vtkXMLImageDataReader = vtkXMLImageDataReader
        self.vtkXMLImageDataWriter = vtkXMLImageDataWriter


def _vtk(error: type[Exception]) -> _Vtk:
    try:
        return _Vtk()
    except ImportError:
        raise error('a .vti file needs the library vtk: pip install "particle_nb[vtk]".') from None
