"""Clouds and surfaces as files: PLY, CSV, STL, GLB, Gwyddion's GSF and text grids."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from particle_nb.core.errors import DataError
from particle_nb.core.files import atomic
from particle_nb.core.surface import PointCloud


def write_cloud(cloud: PointCloud, path: str | Path, grey: np.ndarray | None = None) -> Path:
    """Write the points of a cloud as ``.ply`` (binary) or ``.csv``.

    PLY has y upwards, as 3D viewers do, so that nothing is mirrored there; CSV has the numbers
    as they are in `PointCloud.xyz`, y down, with the unit in the column names.

    Parameters
    ----------
    cloud : PointCloud
    path : path
        Its ending chooses the format.
    grey : array (N,) or None
        Grey value 0 to 255 of every point, written as its colour.

    Raises
    ------
    DataError
        If the ending is unknown or the grey values do not fit the points.

    Notes
    -----
    G. Turk, The PLY polygon file format, 1994.

    Examples
    --------
    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp())
    >>> write_cloud(PointCloud(np.zeros((3, 3))), folder / "points.csv").stat().st_size > 30
    True
    """
    path = Path(path)
    colour = None if grey is None else _grey(grey, (len(cloud),))
    if path.suffix.lower() == ".csv":
        unit = "nm" if cloud.unit == "nm" else "relative"
        table = pd.DataFrame(cloud.xyz, columns=["x_nm", "y_nm", f"z_{unit}"], copy=False)
        if colour is not None:
            table["grey"] = colour
        with atomic(path) as file:
            table.to_csv(file, index=False, float_format="%.7g")
        return path
    if path.suffix.lower() != ".ply":
        raise DataError(f"points are written as .ply or .csv, not {path.name!r}.")
    fields: list[tuple[str, str]] = [("x", "<f4"), ("y", "<f4"), ("z", "<f4")]
    if colour is not None:
        fields += [(name, "u1") for name in ("red", "green", "blue")]
    rows = np.empty(len(cloud), fields)
    rows["x"], rows["y"], rows["z"] = cloud.xyz[:, 0], -cloud.xyz[:, 1], cloud.xyz[:, 2]
    if colour is not None:
        rows["red"] = rows["green"] = rows["blue"] = colour
    kinds = {"<f4": "float", "u1": "uchar"}
    header = ["ply", "format binary_little_endian 1.0", f"comment unit {cloud.unit}, y up"]
    header += [f"element vertex {len(cloud)}"]
    header += [f"property {kinds[kind]} {name}" for name, kind in fields]
    with atomic(path) as file:
        file.write(("\n".join([*header, "end_header"]) + "\n").encode("ascii"))
        file.write(rows.tobytes())
    return path


def triangles(heights: np.ndarray, pixel_size: float) -> tuple[np.ndarray, np.ndarray]:
    """Return vertices float32 (V, 3) and faces int32 (F, 3) of a height map; y up, z outwards.

    A cell gets two triangles where its four corners are known, one where three are.

    Raises
    ------
    DataError
        If no cell of the map has three known corners.

    Examples
    --------
    >>> vertices, faces = triangles(np.array([[0.0, 1.0], [np.nan, 2.0]]), 10.0)
    >>> len(vertices), faces.tolist()
    (3, [[0, 2, 1]])
    """
    heights = np.asarray(heights, np.float32)
    if heights.ndim != 2:
        raise DataError(f"a surface is a map of heights (h, w), not {heights.shape}.")
    known = np.isfinite(heights)
    number = np.full(heights.shape, -1, np.int32)
    number[known] = np.arange(np.count_nonzero(known), dtype=np.int32)
    a, b, c, d = number[:-1, :-1], number[:-1, 1:], number[1:, :-1], number[1:, 1:]
    faces = []
    for corners, absent in (((a, c, b), None), ((b, c, d), None), ((a, c, d), b), ((a, d, b), c)):
        good = (corners[0] >= 0) & (corners[1] >= 0) & (corners[2] >= 0)
        if absent is not None:  # the other diagonal serves where one corner is missing
            good &= absent < 0
        faces.append(np.stack([corner[good] for corner in corners], axis=1))
    found = np.concatenate(faces)
    if not len(found):
        raise DataError("the surface has no three neighbouring points to make a triangle of.")
    rows, cols = np.nonzero(known)
    vertices = np.stack([cols * pixel_size, -rows * pixel_size, heights[known]], axis=1)
    return vertices.astype(np.float32), found


def write_surface(
    cloud: PointCloud,
    path: str | Path,
    grey: np.ndarray | None = None,
    values: np.ndarray | None = None,
    title: str = "Height",
) -> Path:
    """Write a cloud on a grid as a mesh (``.stl``, ``.glb``) or as a height map.

    ``.gsf`` is Gwyddion's simple field (metres); ``.asc`` is text with the header that Gwyddion
    writes and SurfaceTopography's ``asc`` reader understands (nm). Pixels outside the particle
    are NaN in both: Gwyddion masks them, SurfaceTopography keeps them as NaN.

    Parameters
    ----------
    cloud : PointCloud
        On a regular grid.
    path : path
        Its ending chooses the format.
    grey : array (N,) or None
        Grey value 0 to 255 of every point: vertex colours of a ``.glb``.
    values : array (N,) or None
        Written in place of z, e.g. residuals without the form; nm.
    title : str
        Name of the channel in a height map.

    Raises
    ------
    DataError
        If the ending is unknown, the points lie on no grid, or z has no unit.

    Notes
    -----
    GSF: Gwyddion user guide, Simple Field Files. GLB: glTF 2.0 (ISO/IEC 12113); its unit is the
    metre, one of which stands for one micrometre here so that viewers can show a particle.

    Examples
    --------
    >>> import tempfile
    >>> y, x = np.mgrid[:4, :5].reshape(2, -1).astype(float)
    >>> plane = PointCloud(np.stack([x, y, x + y], axis=1), pixel_size=1)
    >>> write_surface(plane, Path(tempfile.mkdtemp()) / "plane.gsf").read_bytes()[:25]
    b'Gwyddion Simple Field 1.0'
    """
    path = Path(path)
    writers: dict[str, Any] = {".stl": 0, ".glb": 0, ".gsf": _gsf, ".asc": _asc}
    ending = path.suffix.lower()
    if ending not in writers:
        raise DataError(f"a surface is written as .stl, .glb, .gsf or .asc, not {path.name!r}.")
    if cloud.unit != "nm":
        raise DataError("this cloud's z is relative depth; give it a height before writing it.")
    heights = cloud.grid(values)
    pitch = cloud.pitch
    if pitch is None:
        raise DataError("these points lie on no regular grid.")
    if ending in (".gsf", ".asc"):
        writers[ending](heights, pitch, path, title)
        return path
    vertices, faces = triangles(heights, pitch)
    if ending == ".stl":
        _stl(vertices, faces, path)
        return path
    colour = None
    if grey is not None:
        shade = cloud.grid(_grey(grey, (len(cloud),)).astype(np.float32))
        colour = shade[np.isfinite(heights)].astype(np.uint8)
    _glb(vertices / np.float32(1000), faces, colour, path)
    return path


def _grey(grey: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    grey = np.asarray(grey)
    if grey.shape != shape or grey.dtype.kind not in "uif":
        raise DataError(f"grey values are numbers {shape}, not {grey.dtype} {grey.shape}.")
    return np.clip(np.nan_to_num(grey.astype(np.float32)), 0, 255).astype(np.uint8)


def _gsf(heights: np.ndarray, pitch: float, path: Path, title: str) -> None:
    rows, cols = heights.shape
    header = (
        f"Gwyddion Simple Field 1.0\nXRes = {cols}\nYRes = {rows}\n"
        f"XReal = {cols * pitch * 1e-9:.9g}\nYReal = {rows * pitch * 1e-9:.9g}\n"
        f"XYUnits = m\nZUnits = m\nTitle = {' '.join(title.split())}\n"
    ).encode()
    padding = 4 - len(header) % 4  # one to four zero bytes put the data on a multiple of four
    data = (heights.astype(np.float64) * 1e-9).astype("<f4")
    with atomic(path) as file:
        file.write(header + b"\0" * padding + data.tobytes())


def _asc(heights: np.ndarray, pitch: float, path: Path, title: str) -> None:
    rows, cols = heights.shape
    head = f"# Channel: {' '.join(title.split())}\n# Width: {cols * pitch:.9g} nm\n"
    head += f"# Height: {rows * pitch:.9g} nm\n# Value units: nm\n"
    with atomic(path) as file:
        file.write(head.encode("utf-8"))
        np.savetxt(file, heights, fmt="%.7g")


def _stl(vertices: np.ndarray, faces: np.ndarray, path: Path) -> None:
    corners = vertices[faces]
    normal = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    normal /= np.maximum(np.linalg.norm(normal, axis=1, keepdims=True), 1e-30)
    rows = np.zeros(len(faces), [("normal", "<f4", 3), ("corners", "<f4", (3, 3)), ("attr", "<u2")])
    rows["normal"], rows["corners"] = normal, corners
    header = b"particle_nb surface, lengths in nm, y up".ljust(80, b" ")
    with atomic(path) as file:
        file.write(header + struct.pack("<I", len(faces)) + rows.tobytes())


def _glb(vertices: np.ndarray, faces: np.ndarray, grey: np.ndarray | None, path: Path) -> None:
    centred = vertices - (vertices.min(axis=0) + vertices.max(axis=0)) / 2
    parts = [
        (faces.astype("<u4"), 5125, "SCALAR", 34963),
        (centred.astype("<f4"), 5126, "VEC3", 34962),
    ]
    if grey is not None:
        rgba = np.stack([grey, grey, grey, np.full_like(grey, 255)], axis=1)
        parts.append((rgba, 5121, "VEC4", 34962))
    views, accessors, blob = [], [], b""
    for array, component, kind, target in parts:
        data = array.tobytes()
        views.append(
            {"buffer": 0, "byteOffset": len(blob), "byteLength": len(data), "target": target}
        )
        count = array.size if kind == "SCALAR" else len(array)
        accessor: dict[str, Any] = {
            "bufferView": len(views) - 1,
            "componentType": component,
            "count": int(count),
            "type": kind,
        }
        if kind == "VEC3":
            accessor |= {"min": array.min(axis=0).tolist(), "max": array.max(axis=0).tolist()}
        if kind == "VEC4":
            accessor["normalized"] = True
        accessors.append(accessor)
        blob += data + b"\0" * (-len(data) % 4)
    attributes = {"POSITION": 1} | ({"COLOR_0": 2} if grey is not None else {})
    scene = {
        "asset": {"version": "2.0", "generator": "particle_nb"},
        "scene": 0,
        "scenes": [{"nodes": [0]}],
        "nodes": [{"mesh": 0, "extras": {"unit": "1 = 1 micrometre"}}],
        "meshes": [{"primitives": [{"attributes": attributes, "indices": 0, "material": 0}]}],
        "materials": [
            {
                "pbrMetallicRoughness": {"metallicFactor": 0, "roughnessFactor": 1},
                "doubleSided": True,
            }
        ],
        "accessors": accessors,
        "bufferViews": views,
        "buffers": [{"byteLength": len(blob)}],
    }
    text = json.dumps(scene, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 4)
    length = 12 + 8 + len(text) + 8 + len(blob)
    with atomic(path) as file:
        file.write(
            struct.pack("<4sII", b"glTF", 2, length)
            + struct.pack("<I4s", len(text), b"JSON")
            + text
            + struct.pack("<I4s", len(blob), b"BIN\0")
            + blob
        )
