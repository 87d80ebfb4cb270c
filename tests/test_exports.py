"""Exports and the way back.

Truths: the masks themselves (round trips without loss), pycocotools for run-length codes, roifile
and shapely-free even-odd counting for outlines, tifffile's reading of ImageJ tags.
"""

from __future__ import annotations

import io
import json
import math
import os
import pickle
import struct
import sys
import warnings
import zipfile
from pathlib import Path

import numpy as np
import openpyxl
import pandas as pd
import pytest
import roifile
import tifffile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image as Picture
from pycocotools import mask as oracle

from particle_nb.core.errors import DataError, ImageError
from particle_nb.core.exports import (
    AnnotationWarning,
    OverlapWarning,
    RoiWarning,
    read_coco,
    read_geojson,
    read_labels,
    read_rois,
    read_xlsx,
    write_coco,
    write_csv,
    write_geojson,
    write_labels,
    write_parquet,
    write_rois,
    write_xlsx,
)
from particle_nb.core.exports.polygons import outlines, rasterise, union
from particle_nb.core.files import atomic
from particle_nb.core.image import Calibration
from particle_nb.core.masks import Mask, MaskSet, rle

quick = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
frames = st.tuples(st.integers(1, 14), st.integers(1, 14))
scores = st.one_of(st.just(math.nan), st.floats(0, 1))
sure = st.one_of(st.none(), st.floats(0, 1))
grids = st.one_of(st.just(1.0), st.floats(1e-3, 1e3))
names = st.text(st.characters(exclude_categories=["Cs"]), max_size=6)


@st.composite
def arrays(draw: st.DrawFn, shape: tuple[int, int] | None = None) -> np.ndarray:
    """A full-frame mask with at least one pixel: specks, holes, diagonals, whole frames."""
    shape = shape or draw(frames)
    full = draw(hnp.arrays(bool, shape, fill=st.booleans()))
    if not full.any():
        full[draw(st.integers(0, shape[0] - 1)), draw(st.integers(0, shape[1] - 1))] = True
    return full


@st.composite
def mask_sets(draw: st.DrawFn) -> MaskSet:
    """Masks that overlap freely, with scores and classes."""
    shape = draw(frames)
    masks = [
        Mask.from_full(
            draw(arrays(shape)),
            predicted_iou=draw(scores),
            stability_score=draw(scores),
            label=draw(names),
            grid_px=draw(grids),
            confidence=draw(sure),
        )
        for _ in range(draw(st.integers(0, 4)))
    ]
    return MaskSet(tuple(masks), shape)


def same(a: MaskSet, b: MaskSet) -> bool:
    """Equal pixels, order, scores, classes and grids; NaN equals NaN."""
    return (
        a.digest == b.digest
        and np.array_equal(a.predicted_iou, b.predicted_iou, equal_nan=True)
        and np.array_equal(a.stability_score, b.stability_score, equal_nan=True)
        and [(m.label, m.grid_px, m.confidence) for m in a]
        == [(m.label, m.grid_px, m.confidence) for m in b]
    )


def some_masks() -> MaskSet:
    """A ring with an island in it, two pixels touching at a corner, an overlap, a frame edge."""
    ring = np.zeros((40, 50), bool)
    ring[5:25, 5:25] = True
    ring[9:21, 9:21] = False
    ring[13:16, 13:16] = True
    corner = np.zeros_like(ring)
    corner[30, 40] = corner[31, 41] = True
    over = np.zeros_like(ring)
    over[20:40, 0:20] = True
    return MaskSet(
        (
            Mask.from_full(ring, predicted_iou=0.9, stability_score=0.1 + 0.2, label="ring, 'µ'"),
            Mask.from_full(corner, label="two\nlines \\n"),
            Mask.from_full(over),
        )
    )


# ---------------------------------------------------------------------------------- run lengths


@given(arrays())
@quick
def test_run_lengths_equal_pycocotools(full: np.ndarray) -> None:
    truth = oracle.encode(np.asfortranarray(full, np.uint8))
    mask = Mask.from_full(full)
    code = rle.encode(mask)
    assert code["size"] == truth["size"]
    assert rle.compress(code["counts"]) == truth["counts"].decode()
    assert rle.decompress(truth["counts"]).tolist() == code["counts"]
    for counts in (code["counts"], truth["counts"], truth["counts"].decode()):
        back = rle.decode({"size": truth["size"], "counts": counts}, predicted_iou=0.5)
        assert back.digest == mask.digest
        assert back.predicted_iou == 0.5


@given(st.lists(st.integers(0, 2**40), min_size=1, max_size=12))
@quick
def test_any_counts_survive_compression(counts: list[int]) -> None:
    assert rle.decompress(rle.compress(counts)).tolist() == counts


@pytest.mark.parametrize("last", [1, 2, 40])
def test_many_runs_are_cut_to_their_box(last: int) -> None:
    """More than the short way takes; the last run begins in a column of its own."""
    rng = np.random.default_rng(last)
    full = np.zeros((60, 120), bool)
    full[5:50, 10:70] = rng.random((45, 60)) < 0.5
    full[30 : 30 + last, 100] = True
    if last == 40:
        full[30:, 101] = True  # one run over two columns, to the last pixel
    mask = Mask.from_full(full)
    code = rle.encode(mask)
    assert len(code["counts"]) > 400
    back = rle.decode(code)
    assert back.digest == mask.digest
    np.testing.assert_array_equal(back.full(), full)


def test_run_lengths_of_a_large_frame_come_from_the_crop() -> None:
    mask = Mask((4000, 90), np.ones((3, 2), bool), (30_000, 40_000))
    assert rle.encode(mask)["counts"] == [90 * 30_000 + 4000, 3, 29_997, 3, 1_197_265_994 + 3]
    assert sum(rle.encode(mask)["counts"]) == 30_000 * 40_000


@pytest.mark.parametrize(
    "code",
    [
        None,
        {},
        {"size": [4, 3]},
        {"size": [4, 3], "counts": [5, 2, 6]},
        {"size": [4, 3], "counts": [5, -2, 9]},
        {"size": [4, 3], "counts": [12]},
        {"size": [4, 3], "counts": [0.5, 11.5]},
        {"size": [4, 3], "counts": [[1], [2, 3]]},
        {"size": "ab", "counts": [12]},
        {"size": [0, 3], "counts": []},
        {"size": [10**9, 10**9], "counts": "0"},
        {"size": [4, 3], "counts": "\x01"},
        {"size": [4, 3], "counts": "52U"},
        {"size": [4, 3], "counts": "µ"},
        {"size": [4, 3], "counts": "o" * 40 + "0"},
    ],
)
def test_bad_run_lengths_are_refused(code: object) -> None:
    with pytest.raises(DataError):
        rle.decode(code)  # type: ignore[arg-type]


def test_run_lengths_are_made_of_masks() -> None:
    with pytest.raises(DataError, match=r"Mask\.from_full"):
        rle.encode(np.ones((3, 3), bool))  # type: ignore[arg-type]
    with pytest.raises(DataError):
        rle.compress([0.5])  # type: ignore[list-item]


# ------------------------------------------------------------------------------------- outlines


def shoelace(ring: np.ndarray) -> float:
    x, y = ring.T.astype(float)
    return 0.5 * float(np.dot(x, np.roll(y, -1)) - np.dot(y, np.roll(x, -1)))


@given(arrays())
@quick
def test_outlines_come_back_as_the_same_pixels(full: np.ndarray) -> None:
    mask = Mask.from_full(full)
    polygons = outlines(mask)
    back = rasterise([ring for polygon in polygons for ring in polygon], mask.shape)
    assert back is not None
    assert back.digest == mask.digest
    # parts do not overlap, and the shoelace area of a polygon is its pixel count
    parts = [rasterise(polygon, mask.shape) for polygon in polygons]
    assert sum(part.area for part in parts if part is not None) == mask.area
    assert sum(shoelace(ring) for polygon in polygons for ring in polygon) == mask.area
    for exterior, *holes in polygons:
        assert shoelace(exterior) > 0
        assert all(shoelace(hole) < 0 for hole in holes)
        for ring in (exterior, *holes):
            assert len(np.unique(ring, axis=0)) == len(ring)  # no ring meets itself


def test_outline_of_a_part_that_touches_itself_is_valid() -> None:
    # a ring of pixels closed by a corner only: the hole is a ring of its own, not a pinch
    full = np.array([[1, 1, 1], [1, 0, 1], [1, 1, 0]], bool)
    ((exterior, hole),) = outlines(Mask.from_full(full))
    assert sorted(hole.tolist()) == [[1, 1], [1, 2], [2, 1], [2, 2]]
    assert [2, 2] in exterior.tolist()


def test_a_slanted_polygon_holds_the_pixels_whose_centres_it_holds() -> None:
    triangle = np.array([[0.0, 0.0], [10.0, 0.0], [0.0, 10.0]])
    mask = rasterise([triangle], (12, 12))
    assert mask is not None
    rows, cols = np.mgrid[:12, :12]
    assert np.array_equal(mask.full(), (cols + 0.5) + (rows + 0.5) < 10)
    assert rasterise([triangle + 100], (12, 12)) is None
    assert rasterise([triangle * 0.01], (12, 12)) is None
    assert rasterise([], (12, 12)) is None


def test_union_of_parts() -> None:
    a, b = Mask((0, 0), np.ones((2, 2), bool), (9, 9)), Mask((5, 6), np.ones((1, 2), bool), (9, 9))
    assert np.array_equal(union([a, b]).full(), a.full() | b.full())


@pytest.mark.parametrize("ring", [[[0, 0, 0]] * 3, [[0, math.nan]] * 3, "abc", [[0, 1e9]] * 3])
def test_bad_polygons_are_refused(ring: object) -> None:
    with pytest.raises(DataError):
        rasterise([ring], (5, 5))  # type: ignore[list-item]


def test_a_polygon_that_fills_an_absurd_frame_is_refused() -> None:
    ring = np.array([[0, 0], [9e6, 0], [9e6, 9e6]])
    with pytest.raises(DataError, match="larger than any particle"):
        rasterise([ring], (10**7, 10**7))


# ----------------------------------------------------------------------------------- round trips


@given(masks=mask_sets())
@quick
def test_coco_round_trip(masks: MaskSet, tmp_path: Path) -> None:
    write_coco(masks, tmp_path / "m.json", Calibration(0.31, "um"), "a.tif")
    assert same(read_coco(tmp_path / "m.json"), masks)


@given(masks=mask_sets())
@quick
def test_roi_round_trip(masks: MaskSet, tmp_path: Path) -> None:
    write_rois(masks, tmp_path / "m.zip")
    assert same(read_rois(tmp_path / "m.zip"), masks)


@given(labels=hnp.arrays(np.int32, frames, elements=st.integers(0, 5)))
@quick
def test_label_round_trip(labels: np.ndarray, tmp_path: Path) -> None:
    masks = (
        MaskSet.from_labels(labels)
        if labels.any()
        else MaskSet((), (labels.shape[0], labels.shape[1]))
    )
    write_labels(masks, tmp_path / "m.tif", Calibration(12, "nm"))
    assert read_labels(tmp_path / "m.tif").digest == masks.digest


def test_written_twice_is_the_same_file(tmp_path: Path) -> None:
    for name, write in (("a.zip", write_rois), ("a.json", write_coco), ("a.tif", write_labels)):
        path = tmp_path / name
        masks = some_masks()[:2]
        write(masks, path)
        first = path.read_bytes()
        write(masks, path)
        assert path.read_bytes() == first


def test_overlaps_are_lost_only_in_label_images_which_say_so(tmp_path: Path) -> None:
    masks = some_masks()
    hidden = Mask((30, 2), np.ones((2, 2), bool), masks.shape or (0, 0))
    twice = MaskSet((*masks, hidden, hidden.replace(label="same place")))
    shared = masks[0].intersection(masks[2])
    with pytest.warns(OverlapWarning, match=rf"2 of 5 masks .* {shared + 8} pixels .* 1 of"):
        write_labels(twice, tmp_path / "m.tif")
    for write, read in ((write_coco, read_coco), (write_rois, read_rois)):
        write(twice, tmp_path / "m")
        assert same(read(tmp_path / "m"), twice)


def test_a_label_image_without_overlaps_does_not_warn(
    tmp_path: Path, recwarn: pytest.WarningsRecorder
) -> None:
    write_labels(some_masks()[:2], tmp_path / "m.tif")
    assert not recwarn.list


def test_label_tiff_depth_and_scale_as_imagej_reads_them(tmp_path: Path) -> None:
    for calibration, unit in ((Calibration(0.31, "um"), "micron"), (Calibration(3.7, "nm"), "nm")):
        write_labels(some_masks()[:2], tmp_path / "m.tif", calibration)
        with tifffile.TiffFile(tmp_path / "m.tif") as tif:
            assert tif.is_imagej
            assert (tif.imagej_metadata or {})["unit"] == unit
            top, bottom = tif.pages[0].aspage().tags[282].value
            assert bottom / top == pytest.approx(calibration.pixel_size, rel=1e-6)
            assert tif.pages[0].dtype == np.uint16
    # 65,536 masks of one pixel need more than 16 bits
    one = np.ones((1, 1), bool)
    many = MaskSet(tuple(Mask(divmod(i, 256), one, (256, 256)) for i in range(65_536)))
    write_labels(many, tmp_path / "many.tif", Calibration(1, "um"))
    labels = tifffile.imread(tmp_path / "many.tif")
    assert labels.dtype == np.uint32
    assert np.array_equal(labels.ravel(), np.arange(1, 65_537))


def test_labels_from_png_and_float(tmp_path: Path) -> None:
    labels = np.zeros((6, 7), np.uint16)
    labels[1:3, 1:3], labels[4, 4:] = 1, 300
    Picture.fromarray(labels).save(tmp_path / "m.png")
    tifffile.imwrite(tmp_path / "m.tif", labels.astype(np.float32))
    for name in ("m.png", "m.tif"):
        assert read_labels(tmp_path / name).areas.tolist() == [4, 3]
    tifffile.imwrite(tmp_path / "f.tif", np.full((3, 3), 0.5, np.float32))
    with pytest.raises(ImageError, match="fractions"):
        read_labels(tmp_path / "f.tif")
    tifffile.imwrite(tmp_path / "n.tif", np.full((3, 3), -1, np.int16))
    with pytest.raises(ImageError, match="negative"):
        read_labels(tmp_path / "n.tif")
    Picture.new("RGB", (4, 4), (1, 2, 3)).save(tmp_path / "c.png")
    with pytest.raises(ImageError, match="3 channels"):
        read_labels(tmp_path / "c.png")


# ------------------------------------------------------------------------------------------ COCO


def test_coco_as_pycocotools_reads_it(tmp_path: Path) -> None:
    from pycocotools.coco import COCO

    masks = some_masks()
    write_coco(masks, tmp_path / "m.json", Calibration(0.31, "um", "Zeiss tag"), "a.tif")
    coco = COCO(str(tmp_path / "m.json"))
    for entry, mask in zip(coco.loadAnns(coco.getAnnIds()), masks, strict=True):
        assert np.array_equal(coco.annToMask(entry).astype(bool), mask.full())
        code = entry["segmentation"]
        assert entry["area"] == oracle.area(code)
        assert entry["bbox"] == oracle.toBbox(code).tolist()
    image = coco.loadImgs([1])[0]
    assert (image["height"], image["width"], image["file_name"]) == (40, 50, "a.tif")
    assert (image["pixel_size"], image["pixel_unit"]) == (0.31, "um")
    assert coco.getAnnIds(catIds=coco.getCatIds(catNms=["ring, 'µ'"])) == [1]
    assert coco.anns[1]["score"] == 0.9
    assert "score" not in coco.anns[2]


def foreign(**changes: object) -> dict[str, object]:
    square = [2.0, 1.0, 6.0, 1.0, 6.0, 4.0, 2.0, 4.0]
    document: dict[str, object] = {
        "images": [
            {"id": 7, "file_name": "b.png", "height": 8, "width": 9},
            {"id": 8, "file_name": "c.png", "height": 5, "width": 5},
        ],
        "categories": [{"id": 3, "name": "rod"}],
        "annotations": [
            {"image_id": 7, "category_id": 3, "segmentation": [square, [7, 6, 9, 6, 9, 8, 7, 8]]},
            {
                "image_id": 7,
                "category_id": 3,
                "iscrowd": 1,
                "segmentation": {"size": [8, 9], "counts": [8, 3, 61]},
            },
            {"image_id": 8, "category_id": 3, "segmentation": [[0, 0, 5, 0, 5, 5]]},
        ],
    }
    return document | changes


def test_foreign_coco_with_polygons_and_plain_counts(tmp_path: Path) -> None:
    path = tmp_path / "m.json"
    path.write_text(json.dumps(foreign()))
    with pytest.raises(DataError, match=r"2 images.*'b\.png'"):
        read_coco(path)
    masks = read_coco(path, "b.png")
    assert masks.shape == (8, 9)
    truth = np.zeros((8, 9), bool)
    truth[1:4, 2:6] = truth[6:8, 7:9] = True
    assert np.array_equal(masks[0].full(), truth)
    assert masks[0].label == "rod"
    assert (masks[1].bbox, masks[1].area) == ((0, 1, 3, 2), 3)
    assert len(read_coco(path, 8)) == 1


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "{}",
        "\xff\xfe",
        json.dumps(foreign(images=[])),
        json.dumps(foreign(images=[{"id": 7}], annotations=[])),
        json.dumps(foreign(images=[{"id": 7, "height": -8, "width": 9}])),
        json.dumps(foreign(images=[{"id": 7, "height": 9, "width": 8}])),
        json.dumps(foreign(images=[{"id": 7, "height": 10**9, "width": 10**9}])),
        json.dumps(foreign(images=[{"id": 7, "height": 8, "width": 9}], annotations=[3])),
        *(
            json.dumps(
                foreign(
                    images=[{"id": 7, "height": 8, "width": 9}],
                    annotations=[{"image_id": 7, "segmentation": segmentation}],
                )
            )
            for segmentation in (None, [], [[1, 2]], [["a"] * 6], [[90, 90, 91, 90, 91, 91]], [3])
        ),
        "[" * 100_000,
    ],
)
def test_bad_coco_is_refused(text: str, tmp_path: Path) -> None:
    path = tmp_path / "m.json"
    path.write_text(text, encoding="latin-1")
    with pytest.raises((DataError, ImageError)):
        read_coco(path)


# ------------------------------------------------------------------------------------------- ROI


def test_rois_as_roifile_reads_them(tmp_path: Path) -> None:
    write_rois(some_masks(), tmp_path / "m.zip")
    rois = roifile.roiread(tmp_path / "m.zip")
    assert isinstance(rois, list)
    ring, corner, over = rois
    assert (ring.composite, corner.composite, over.composite) == (True, True, False)
    assert len(ring.coordinates(multi=True)) == 3  # ring, hole, island
    assert (over.top, over.left, over.bottom, over.right) == (20, 0, 40, 20)
    assert np.array(over.coordinates()).tolist() == [[0, 20], [20, 20], [20, 40], [0, 40]]
    assert over.properties["frame_height"] == 40


def test_foreign_rois(tmp_path: Path) -> None:
    box = roifile.ImagejRoi()
    box.roitype, box.top, box.left, box.bottom, box.right = roifile.ROI_TYPE.RECT, 1, 2, 4, 6
    oval = roifile.ImagejRoi()
    oval.roitype, oval.top, oval.left, oval.bottom, oval.right = roifile.ROI_TYPE.OVAL, 5, 5, 25, 15
    line = roifile.ImagejRoi()
    line.roitype, line.x2, line.y2 = roifile.ROI_TYPE.LINE, 5.0, 5.0
    free = roifile.ImagejRoi.frompoints(np.array([[0.5, 0.5], [8.5, 0.5], [0.5, 8.5]]))
    with zipfile.ZipFile(tmp_path / "m.zip", "w") as archive:
        for name, roi in (("b", box), ("o", oval), ("l", line), ("f", free)):
            archive.writestr(f"{name}.roi", roi.tobytes())
    with pytest.raises(DataError, match="shape="):
        read_rois(tmp_path / "m.zip")
    with pytest.warns(RoiWarning, match="1 of 4"):
        masks = read_rois(tmp_path / "m.zip", (30, 30))
    assert masks[0].bbox == (1, 2, 4, 6)
    assert masks[1].bbox == (5, 5, 25, 15)
    assert masks[1].area == pytest.approx(math.pi * 10 * 5, rel=0.02)
    assert masks[2].area == pytest.approx(32, rel=0.15)
    (tmp_path / "one.roi").write_bytes(box.tobytes())
    assert read_rois(tmp_path / "one.roi", (30, 30))[0].area == 12


def zipped(**entries: bytes) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in entries.items():
            archive.writestr(name, data)
    return stream.getvalue()


@pytest.mark.parametrize(
    "data",
    [
        b"PK\x03\x04 broken",
        b"no zip",
        b"Iout",
        roifile.ImagejRoi.frompoints(np.eye(9, 2, dtype=int)).tobytes()[:90],
        zipped(),
        zipped(**{"a.txt": b"x"}),
        zipped(**{"a.roi": b"x" * 100}),
        zipped(**{"../a.roi": roifile.ImagejRoi().tobytes()}),
        zipped(**{"/etc/a.roi": roifile.ImagejRoi().tobytes()}),
        zipped(**{"..\\a.roi": roifile.ImagejRoi().tobytes()}),
        zipped(**{"C:a.roi": roifile.ImagejRoi().tobytes()}),
        zipped(**{"a.roi": bytes(2**26 + 9)}),  # 64 MiB of zeros in 64 KiB
    ],
    ids=range(12),
)
def test_bad_roi_files_are_refused(data: bytes, tmp_path: Path) -> None:
    path = tmp_path / "m.zip"
    path.write_bytes(data)
    with pytest.raises(DataError):
        read_rois(path, (10, 10))
    assert os.listdir(tmp_path) == ["m.zip"]


def test_a_damaged_roi_zip_is_refused_or_read_whole(tmp_path: Path) -> None:
    masks = some_masks()
    write_rois(masks, tmp_path / "m.zip")
    whole = (tmp_path / "m.zip").read_bytes()
    rng = np.random.default_rng(1)
    outcomes = set()
    for place in rng.integers(0, len(whole), 80):
        damaged = bytearray(whole)
        damaged[place] ^= 0xFF
        (tmp_path / "d.zip").write_bytes(bytes(damaged))
        try:
            read_rois(tmp_path / "d.zip")
            outcomes.add("read")
        except DataError:
            outcomes.add("refused")
    assert "refused" in outcomes


@pytest.mark.parametrize("shape", [5, (0, 3), (3, -1), ("a", 2), (math.inf, 2)])
def test_bad_shapes_are_refused(shape: object, tmp_path: Path) -> None:
    write_rois(some_masks(), tmp_path / "m.zip")
    with pytest.raises(DataError, match="shape"):
        read_rois(tmp_path / "m.zip", shape)  # type: ignore[arg-type]


# ------------------------------------------------------------------------------ GeoJSON and tables


def test_geojson_has_polygons_with_holes(tmp_path: Path) -> None:
    masks = some_masks()
    write_geojson(masks, tmp_path / "m.geojson", Calibration(0.31, "um"))
    document = json.loads((tmp_path / "m.geojson").read_text())
    assert document["particle_nb"]["width"] == 50
    assert document["particle_nb"]["pixel_size"] == 0.31
    for feature, mask in zip(document["features"], masks, strict=True):
        geometry = feature["geometry"]
        parts = geometry["coordinates"]
        parts = [parts] if geometry["type"] == "Polygon" else parts
        rings = [np.array(ring) for part in parts for ring in part]
        assert all((ring[0] == ring[-1]).all() for ring in rings)
        back = rasterise(rings, mask.shape)
        assert back is not None
        assert back.digest == mask.digest
        assert feature["properties"]["measurements"]["area_px2"] == mask.area
    kinds = [feature["geometry"]["type"] for feature in document["features"]]
    assert kinds == ["MultiPolygon", "MultiPolygon", "Polygon"]
    assert [len(p) for p in document["features"][0]["geometry"]["coordinates"]] == [2, 1]
    assert document["features"][0]["properties"]["classification"]["name"] == "ring, 'µ'"


def test_tables_keep_every_bit_and_their_attrs(tmp_path: Path) -> None:
    table = pd.DataFrame({"x_A_um": [0.1 + 0.2, 1e-300, np.nan], "class": ["a", 'µ,"b"', None]})
    table.attrs["calibration"] = "0.31 um/px (typed)"
    write_csv(table, tmp_path / "t.csv")
    pd.testing.assert_frame_equal(pd.read_csv(tmp_path / "t.csv"), table, check_exact=True)
    write_parquet(table, tmp_path / "t.parquet")
    back = pd.read_parquet(tmp_path / "t.parquet")
    pd.testing.assert_frame_equal(back, table, check_exact=True)
    assert back.attrs == table.attrs


def test_a_named_index_is_kept(tmp_path: Path) -> None:
    table = pd.DataFrame({"n": [1, 2]}, index=pd.Index(["a", "b"], name="image"))
    write_csv(table, tmp_path / "t.csv")
    assert pd.read_csv(tmp_path / "t.csv", index_col="image").equals(table)


# --------------------------------------------------------------------------------- whole or not


def test_a_failed_write_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "t.parquet"
    write_parquet(pd.DataFrame({"a": [1]}), path)
    before = path.read_bytes()
    with pytest.raises(DataError, match="Parquet"):
        write_parquet(pd.DataFrame({"a": [1, "x", object()]}), path)
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ["t.parquet"]

    def interrupted() -> None:
        with atomic(path) as stream:
            stream.write(b"half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ["t.parquet"]


@pytest.mark.parametrize("write", [write_labels, write_coco, write_geojson, write_rois])
def test_masks_and_paths_are_checked(write: object, tmp_path: Path) -> None:
    masks = some_masks()[:1]
    for bad in (None, np.ones((3, 3), int), [masks[0]], "masks"):
        with pytest.raises(DataError, match="MaskSet"):
            write(bad, tmp_path / "m")  # type: ignore[operator]
    for path in (5, None, tmp_path, tmp_path / "no" / "m", "a\0b", b"bytes"):
        with pytest.raises(DataError):
            write(masks, path)  # type: ignore[operator]
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("write", [write_csv, write_parquet])
def test_tables_are_checked(write: object, tmp_path: Path) -> None:
    for bad in (None, {"a": [1]}, np.ones(3)):
        with pytest.raises(DataError, match="DataFrame"):
            write(bad, tmp_path / "t")  # type: ignore[operator]


@pytest.mark.parametrize("read", [read_labels, read_coco, read_rois])
def test_missing_files_are_named(read: object, tmp_path: Path) -> None:
    for bad in (tmp_path / "none", tmp_path, 5, None):
        with pytest.raises(ImageError):
            read(bad)  # type: ignore[operator]


def test_an_array_file_with_pickles_is_not_opened(tmp_path: Path) -> None:
    np.save(tmp_path / "m.npy", np.array([{}], object), allow_pickle=True)
    with pytest.raises(ImageError, match="no TIFF"):
        read_labels(tmp_path / "m.npy")


# ---------------------------------------------------------- label images by value, not by colour


def five_labels() -> np.ndarray:
    """Five particles of 90 to 130 px."""
    labels = np.zeros((60, 80), np.uint8)
    for k, (r, c) in enumerate([(5, 5), (5, 30), (30, 5), (30, 40), (45, 60)], 1):
        labels[r : r + 10, c : c + 8 + k] = k
    return labels


def tables() -> dict[str, np.ndarray]:
    colours = np.random.default_rng(1).integers(30, 255, (256, 3))
    greys = np.repeat(np.arange(256)[:, None], 3, 1)
    shared = greys.copy()
    shared[1:6] = [[50] * 3, [50] * 3, [90] * 3, [90] * 3, [120] * 3]
    black = np.zeros((256, 3), int)
    return {"colours": colours, "two of one grey": shared, "inverse": greys[::-1], "black": black}


@pytest.mark.parametrize("table", tables())
@pytest.mark.parametrize("end", ["png", "tif", "bmp"])
def test_the_index_is_the_label_whatever_its_colour(end: str, table: str, tmp_path: Path) -> None:
    picture = Picture.fromarray(five_labels(), mode="P")
    picture.putpalette(tables()[table].astype(np.uint8).ravel().tolist())
    picture.save(tmp_path / f"m.{end}")
    assert read_labels(tmp_path / f"m.{end}").areas.tolist() == [90, 100, 110, 120, 130]


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_white_as_zero_does_not_turn_labels_over(dtype: type, tmp_path: Path) -> None:
    labels = five_labels().astype(dtype)
    tifffile.imwrite(tmp_path / "m.tif", labels, photometric="miniswhite", metadata=None)
    assert read_labels(tmp_path / "m.tif").areas.tolist() == [90, 100, 110, 120, 130]
    stack = np.stack([labels * 0, labels])
    tifffile.imwrite(tmp_path / "s.tif", stack, imagej=True, photometric="miniswhite")
    assert read_labels(tmp_path / "s.tif", page=1).areas.tolist() == [90, 100, 110, 120, 130]


def test_a_channel_of_labels(tmp_path: Path) -> None:
    both = np.stack([five_labels() * 40, five_labels()])
    tifffile.imwrite(tmp_path / "m.tif", both, imagej=True, metadata={"axes": "CYX"})
    with pytest.raises(ImageError, match=r"2 channels.*channel="):
        read_labels(tmp_path / "m.tif")
    assert len(read_labels(tmp_path / "m.tif", channel=1)) == 5


@pytest.mark.parametrize("dtype", ["u1", "i4", "u8", "f4", ">u2"])
@pytest.mark.parametrize("order", ["C", "F"])
def test_arrays_of_numpy(dtype: str, order: str, tmp_path: Path) -> None:
    np.save(tmp_path / "m.npy", five_labels().astype(dtype, order=order))  # type: ignore[call-overload]
    assert read_labels(tmp_path / "m.npy").areas.tolist() == [90, 100, 110, 120, 130]
    np.save(tmp_path / "s.npy", np.stack([five_labels()] * 3).astype(dtype))
    with pytest.raises(ImageError, match=r"page=0 to page=2"):
        read_labels(tmp_path / "s.npy")
    assert len(read_labels(tmp_path / "s.npy", page=2)) == 5


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_cellpose(protocol: int, tmp_path: Path) -> None:
    """Its dictionary of arrays, pickled as `numpy.save` does and by newer protocols."""
    found = {
        "outlines": five_labels() * 0,
        "masks": five_labels().astype(np.uint16),
        "chan_choose": [0, 0],
        "ismanual": np.zeros(5, bool),
        "filename": "C:/images/µ.tif",
        "flows": [np.ones((60, 80, 3), np.uint8), np.float32(1.5), [0, np.zeros((2, 60, 80))]],
        "diameter": np.float64(11.2),
        "model_path": 0,
    }
    np.save(tmp_path / "a_seg.npy", found)  # type: ignore[arg-type]
    assert read_labels(tmp_path / "a_seg.npy").areas.tolist() == [90, 100, 110, 120, 130]
    held = np.empty((), object)
    held[()] = found
    stream = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        stream, {"descr": "|O", "fortran_order": False, "shape": ()}
    )
    pickle.dump(held, stream, protocol=protocol)
    (tmp_path / "b_seg.npy").write_bytes(stream.getvalue())
    assert read_labels(tmp_path / "b_seg.npy").areas.tolist() == [90, 100, 110, 120, 130]


def test_what_cellpose_is_to_open_has_the_members_of_its_own_files(tmp_path: Path) -> None:
    masks = MaskSet.from_labels(five_labels())
    write_labels(masks, tmp_path / "grains_seg.npy")
    found = np.load(tmp_path / "grains_seg.npy", allow_pickle=True).item()
    assert (found["masks"] == five_labels()).all()
    assert found["masks"].dtype == np.uint16
    inner = found["outlines"] > 0
    assert (found["outlines"][inner] == found["masks"][inner]).all()
    assert 0 < inner.sum() < (found["masks"] > 0).sum()
    assert found["filename"] == "grains"
    assert found["ismanual"].shape == (5,)
    assert found["est_diam"] == pytest.approx(np.sqrt(4 / np.pi * 110))
    assert read_labels(tmp_path / "grains_seg.npy").digest == masks.digest


class Harmful:
    def __init__(self, call: object, *given: object) -> None:
        self.call, self.given = call, given

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return self.call, self.given


@pytest.mark.parametrize(
    ("call", "given"),
    [
        (os.system, ("touch pwned",)),
        (eval, ("open('pwned', 'w')",)),
        (np.load, ("x.npy",)),
        (np.ndarray, ((10**12,),)),
        (np.fromfile, ("/etc/hostname",)),
        (io.open, ("pwned", "w")),
    ],
)
def test_nothing_of_a_pickle_is_run(
    call: object, given: tuple[object, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    stream = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        stream, {"descr": "|O", "fortran_order": False, "shape": ()}
    )
    pickle.dump({"masks": Harmful(call, *given)}, stream, protocol=2)
    Path("m_seg.npy").write_bytes(stream.getvalue())
    with pytest.raises(ImageError, match="no TIFF"):
        read_labels("m_seg.npy")
    assert os.listdir() == ["m_seg.npy"]


def test_damaged_arrays_of_numpy_are_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "m.npy", five_labels())
    whole = (tmp_path / "m.npy").read_bytes()
    huge = whole.replace(b"(60, 80)", b"(9**99,)")
    for data in (whole[:200], whole[:9], whole[:40] + b"x" * 60, huge):
        (tmp_path / "d.npy").write_bytes(data)
        with pytest.raises(ImageError, match=r"d\.npy"):
            read_labels(tmp_path / "d.npy")
    for bad in (np.zeros(4), np.zeros((2, 2), complex), np.array("text"), np.zeros((2, 2, 2, 2))):
        np.save(tmp_path / "b.npy", bad)
        with pytest.raises(ImageError, match=r"b\.npy"):
            read_labels(tmp_path / "b.npy")


# ------------------------------------------------------------------- every area type of ImageJ

KIND, SUB = roifile.ROI_TYPE, roifile.ROI_SUBTYPE
TURN = np.linspace(0, 2 * np.pi, 72, endpoint=False)
#: Half axes of 20 and 10 px, turned.
ELLIPSE = np.c_[
    50 + 16 * np.cos(TURN) - 6 * np.sin(TURN), 50 + 12 * np.cos(TURN) + 8 * np.sin(TURN)
]
SLANTED = np.array([[20, 30], [50, 20], [56, 38], [26, 48]], float)  # 600 px


def drawn(points: np.ndarray, kind: object, sub: object = SUB.UNDEFINED) -> bytes:
    roi = roifile.ImagejRoi.frompoints(points)
    roi.roitype, roi.subtype, roi.version = kind, sub, 228
    if sub != SUB.UNDEFINED:
        roi.x1, roi.y1, roi.x2, roi.y2 = 34, 38, 66, 62
    return roi.tobytes()


def boxed(
    kind: object,
    bounds: tuple[int, int, int, int] = (10, 20, 40, 60),
    arc: int = 0,
    exact: tuple[float, float, float, float] | None = None,
) -> bytes:
    roi = roifile.ImagejRoi()
    roi.roitype, roi.version = kind, 228
    roi.top, roi.left, roi.bottom, roi.right = bounds
    roi.rounded_rect_arc_size = arc
    if exact:
        roi.options |= roifile.ROI_OPTIONS.SUB_PIXEL_RESOLUTION
        roi.xd, roi.yd, roi.widthd, roi.heightd = exact
    return roi.tobytes()


def axis_only(sub: object, ratio: float) -> bytes:
    """What the tool stores beside its polygon: an axis of 40 px, and a ratio or a width."""
    data = bytearray(drawn(ELLIPSE, KIND.FREEHAND, sub))
    struct.pack_into(">H", data, 16, 0)  # without the polygon
    struct.pack_into(">f", data, 52, ratio)
    struct.pack_into(">i", data, 60, 0)
    return bytes(data[:64])


def composite(path: list[float]) -> bytes:
    roi = roifile.ImagejRoi()
    roi.roitype, roi.version = KIND.RECT, 228
    roi.multi_coordinates, roi.shape_roi_size = np.array(path, np.float32), len(path)
    roi.top, roi.left, roi.bottom, roi.right = 0, 0, 90, 90
    return roi.tobytes()


def circle(x: float, y: float, r: float) -> list[float]:
    """Four cubic curves, as Java draws an ellipse."""
    k = 0.5522847498 * r
    return [0, x + r, y, 3, x + r, y + k, x + k, y + r, x, y + r,
            3, x - k, y + r, x - r, y + k, x - r, y, 3, x - r, y - k, x - k, y - r, x, y - r,
            3, x + k, y - r, x + r, y - k, x + r, y, 4]  # fmt: skip


AREAS = {
    "polygon": (drawn(SLANTED, KIND.POLYGON), 600),
    "freehand": (drawn(ELLIPSE, KIND.FREEHAND), 200 * np.pi),
    "traced": (drawn(SLANTED, KIND.TRACED), 600),
    "ellipse tool": (drawn(ELLIPSE, KIND.FREEHAND, SUB.ELLIPSE), 200 * np.pi),
    "rotated rectangle tool": (drawn(SLANTED, KIND.FREEHAND, SUB.ROTATED_RECT), 600),
    "ellipse by its axis": (axis_only(SUB.ELLIPSE, 0.5), 200 * np.pi),
    "rectangle by its axis": (axis_only(SUB.ROTATED_RECT, 15.0), 600),
    "rectangle": (boxed(KIND.RECT), 1200),
    "oval": (boxed(KIND.OVAL), 300 * np.pi),
    "round corners": (boxed(KIND.RECT, arc=20), 1200 - (4 - np.pi) * 100),
    "corners as round as can be": (boxed(KIND.RECT, arc=300), 300 * np.pi),
    "sub-pixel rectangle": (boxed(KIND.RECT, (10, 20, 32, 41), 0, (20.4, 10.6, 20, 20)), 400),
    "sub-pixel oval": (
        boxed(KIND.OVAL, (10, 20, 32, 41), 0, (20.4, 10.6, 20.5, 20.5)), 10.25**2 * np.pi,
    ),
    "composite of curves": (composite(circle(40, 40, 20) + circle(40, 40, 10)), 300 * np.pi),
    "composite of quadratic curves": (
        composite([0, 10, 40, 2, 40, -20, 70, 40, 4]), 2 / 3 * 60 * 30,
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", AREAS)
def test_every_area_type_of_imagej(name: str, tmp_path: Path) -> None:
    data, area = AREAS[name]
    (tmp_path / "a.zip").write_bytes(zipped(**{"a.roi": data}))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        (found,) = read_rois(tmp_path / "a.zip", (100, 100))
    # pixel centres on a grid tell the area of a smooth outline within about its length / 20
    assert found.area == pytest.approx(area, abs=max(4, 0.015 * area))


@pytest.mark.parametrize(
    "data",
    [
        axis_only(SUB.ELLIPSE, float("nan")),
        axis_only(SUB.ROTATED_RECT, -3.0),
        composite([0, 1, 1, 7, 2, 2]),
        composite([1, 1, 1, 1, 2, 2]),
        composite([0, 1, 1, 3, 2, 2]),
    ],
)
def test_areas_that_make_no_sense_are_damaged(data: bytes, tmp_path: Path) -> None:
    (tmp_path / "a.zip").write_bytes(zipped(**{"a.roi": data}))
    with pytest.raises(DataError, match=r"a\.roi is damaged"):
        read_rois(tmp_path / "a.zip", (100, 100))


# ------------------------------------------------------------------- one bad among good ones

SQUARE = [5, 5, 15, 5, 15, 15, 5, 15]
CODE = {"size": [30, 40], "counts": [155, 10, 1035]}


def coco_of(*segmentations: object) -> dict[str, object]:
    picture = {"id": 1, "file_name": "a.png", "width": 40, "height": 30}
    items = [
        {"id": k, "image_id": 1, "category_id": 3, "bbox": [5, 5, 10, 10], "segmentation": found}
        for k, found in enumerate(segmentations)
    ]
    return {
        "images": [picture],
        "categories": [{"id": 3, "name": "p"}],
        "annotations": items,
    }


BAD = {
    "two points": ([[1, 1, 2, 2]], "three x, y pairs"),
    "between pixel centres": ([[20.6, 20.6, 20.9, 20.6, 20.9, 20.9]], "no pixel centre"),
    "a box alone": ([], "no 'segmentation'"),
    "outside": ([[90, 90, 99, 90, 99, 99]], "no pixel centre"),
    "words": ([["a", "b", "c", "d", "e", "f"]], "list of numbers"),
    "another size": ({"size": [3, 3], "counts": [0, 9]}, "the image is"),
    "a code too short": ({"size": [30, 40], "counts": [5]}, "add up to 5"),
}


@pytest.mark.parametrize("bad", BAD)
def test_a_bad_annotation_among_good_ones(bad: str, tmp_path: Path) -> None:
    path = tmp_path / "c.json"
    found, words = BAD[bad]
    path.write_text(json.dumps(coco_of(*[[SQUARE]] * 4, found, *[[SQUARE]] * 5)))
    with pytest.warns(AnnotationWarning, match="1 of 10 annotations were left out.*annotation 4"):
        masks = read_coco(path)
    assert masks.areas.tolist() == [100] * 9
    # alone it is no file of masks
    path.write_text(json.dumps(coco_of(found)))
    with pytest.raises(DataError, match=words):
        read_coco(path)


def test_a_bad_part_of_a_good_annotation(tmp_path: Path) -> None:
    path = tmp_path / "c.json"
    path.write_text(json.dumps(coco_of([SQUARE, [1, 1, 2, 2]], [SQUARE])))
    with pytest.warns(AnnotationWarning, match="annotation 0 has 1 of 2 polygons without area"):
        assert read_coco(path).areas.tolist() == [100, 100]


@pytest.mark.parametrize(
    "document",
    [
        coco_of(SQUARE),
        {"image": {"image_id": 1, "width": 40, "height": 30}, "annotations": [
            {"id": 9, "segmentation": CODE, "predicted_iou": 0.9, "stability_score": 0.8}]},
        [{"image_id": "007", "category_id": 1, "segmentation": CODE, "score": 0.9}],
    ],
)  # fmt: skip
def test_other_documents_with_annotations(document: object, tmp_path: Path) -> None:
    path = tmp_path / "c.json"
    path.write_text(json.dumps(document))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        (mask,) = read_coco(path)
    assert mask.area in (10, 100)
    if mask.area == 10:
        assert mask.predicted_iou == 0.9


def test_results_of_several_images_and_codes_that_are_text(tmp_path: Path) -> None:
    path = tmp_path / "c.json"
    rows = [{"image_id": name, "segmentation": CODE} for name in ("007", "7", "7")]
    path.write_text(json.dumps(rows))
    with pytest.raises(DataError, match="2 images"):
        read_coco(path)
    assert len(read_coco(path, "007")) == 1
    assert len(read_coco(path, 7)) == 2
    # an id that is a number in one place and text in the other is one id
    document = coco_of([SQUARE])
    document["annotations"][0]["image_id"] = "1"  # type: ignore[index]
    path.write_text(json.dumps(document))
    assert len(read_coco(path)) == 1


@given(mask_sets())
@quick
def test_geojson_round_trip(tmp_path: Path, masks: MaskSet) -> None:
    write_geojson(masks, tmp_path / "m.geojson")
    assert same(read_geojson(tmp_path / "m.geojson"), masks)


def test_geojson_of_qupath(tmp_path: Path) -> None:
    """Features without a collection, classes by name, measurements as a list, a bad one between."""
    ring = [[5, 5], [15, 5], [15, 15], [5, 15], [5, 5]]
    hole = [[8, 8], [10, 8], [10, 10], [8, 10], [8, 8]]

    def feature(geometry: object, **properties: object) -> dict[str, object]:
        return {"type": "Feature", "geometry": geometry, "properties": properties}

    def polygon(*rings: object) -> dict[str, object]:
        return {"type": "Polygon", "coordinates": rings}

    shifted = [[x + 2, y] for x, y in ring]
    features = [
        feature(polygon(ring), objectType="annotation", classification={"name": "Al", "color": []}),
        feature({"type": "Point", "coordinates": [3, 3]}),
        feature(polygon(ring, hole), classification={"names": ["A", "b"]},
                measurements=[{"name": "predicted_iou", "value": 0.5}]),
        # parts that overlap are one area, not a hole
        feature({"type": "MultiPolygon", "coordinates": [[ring], [shifted]]}),
        feature({"type": "GeometryCollection", "geometries": [polygon(ring)]}),
    ]  # fmt: skip
    path = tmp_path / "q.geojson"
    for document in (features, {"type": "FeatureCollection", "features": features}):
        path.write_text(json.dumps(document))
        with pytest.raises(DataError, match="shape="):
            read_geojson(path)
        with pytest.warns(AnnotationWarning, match="1 of 5.*object 1: a 'Point' is no area"):
            masks = read_geojson(path, (30, 40))
        assert masks.areas.tolist() == [100, 96, 120, 100]
        assert [mask.label for mask in masks] == ["Al", "A: b", "", ""]
        assert masks[1].predicted_iou == 0.5
    path.write_text(json.dumps(features[0]))
    assert read_geojson(path, (30, 40)).areas.tolist() == [100]


@pytest.mark.parametrize(
    "text",
    ["", "{}", "[1]", "[[", '{"features": 3}', '[{"geometry": {"type": "Point"}}]',
     '[{"geometry": {"type": "Polygon", "coordinates": [[[0]]]}}]',
     '[{"geometry": {"type": "Polygon", "coordinates": [[["a", 1], [2, 3], [4, 5]]]}}]',
     '[{"geometry": {"type": "MultiPolygon", "coordinates": [1]}}]'],
)  # fmt: skip
def test_bad_geojson_is_refused(text: str, tmp_path: Path) -> None:
    (tmp_path / "q.geojson").write_text(text or " ")
    with pytest.raises(DataError, match=r"q\.geojson"):
        read_geojson(tmp_path / "q.geojson", (9, 9))


# --------------------------------------------------------------------------- arrays and workbooks


@given(mask_sets())
@quick
def test_label_arrays_round_trip(tmp_path: Path, masks: MaskSet) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", OverlapWarning)
        write_labels(masks, tmp_path / "m.npy")
        write_labels(masks, tmp_path / "m.tif")
    assert np.array_equal(np.load(tmp_path / "m.npy"), tifffile.imread(tmp_path / "m.tif"))
    assert read_labels(tmp_path / "m.npy").digest == read_labels(tmp_path / "m.tif").digest


def test_workbooks_keep_numbers_and_text(tmp_path: Path) -> None:
    table = pd.DataFrame(
        {
            "image": ["000", "=1+1", "@a"],
            "x_A_um": [0.1 + 0.2, 1e-300, np.nan],
            "n": [1, -2, 3],
            "flag": ["", "µ\x07", "+5"],
            "whole": [True, False, True],
        }
    )
    table.attrs["calibration"] = "0.31 um/px (typed)"
    write_xlsx(table, tmp_path / "t.xlsx")
    table.loc[1, "flag"] = "µ "  # a bell has no place in XML
    # 16 digits stand in a workbook
    back = read_xlsx(tmp_path / "t.xlsx")
    pd.testing.assert_frame_equal(back, table, check_exact=False, rtol=1e-15, atol=0)
    about = read_xlsx(tmp_path / "t.xlsx", "about")
    assert about.to_numpy().tolist() == [["calibration", "0.31 um/px (typed)"]]
    for cell in openpyxl.load_workbook(tmp_path / "t.xlsx")["table"]["A"]:
        assert cell.data_type == "s"  # no formula is run when it is opened
    named = pd.DataFrame({"n": [1]}, index=pd.Index(["a"], name="image"))
    write_xlsx(named, tmp_path / "i.xlsx")
    assert read_xlsx(tmp_path / "i.xlsx").columns.tolist() == ["image", "n"]


def test_bad_workbooks_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a.xlsx").write_bytes(b"PK\x03\x04 broken")
    write_xlsx(pd.DataFrame({"n": [1]}), tmp_path / "b.xlsx")
    whole = (tmp_path / "b.xlsx").read_bytes()
    (tmp_path / "c.xlsx").write_bytes(whole[:-200])
    for name, words in (("a.xlsx", "no Excel"), ("c.xlsx", "no Excel"), ("d.xlsx", "d.xlsx")):
        with pytest.raises((DataError, ImageError), match=words):
            read_xlsx(tmp_path / name)
    with pytest.raises(DataError, match="no sheet 'x'"):
        read_xlsx(tmp_path / "b.xlsx", "x")
    for bad in (None, 3, b"x"):
        with pytest.raises(DataError, match="named by"):
            read_xlsx(bad)  # type: ignore[arg-type]
    with pytest.raises(DataError, match="DataFrame"):
        write_xlsx({"a": [1]}, tmp_path / "t.xlsx")  # type: ignore[arg-type]


def test_a_workbook_without_openpyxl_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "openpyxl", None)
    with pytest.raises(DataError, match="pip install openpyxl"):
        write_xlsx(pd.DataFrame({"n": [1]}), tmp_path / "t.xlsx")
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("words", [b"40 1/", b"40 ,8", b"x 60", b"40 -3"])
def test_a_zip_of_regions_whose_frame_is_damaged_is_refused(words: bytes, tmp_path: Path) -> None:
    mask = Mask((3, 4), np.ones((5, 6), bool), (40, 60))
    path = tmp_path / "a.zip"
    write_rois(MaskSet((mask,)), path)
    assert read_rois(path).shape == (40, 60)
    with zipfile.ZipFile(path, "a") as archive:
        archive.comment = b"particle_nb " + words
    with pytest.raises(DataError, match="comment"):
        read_rois(path)
