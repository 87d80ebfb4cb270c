"""Untrusted input: files that stand for gigabytes, text that is code elsewhere, slow patterns.

Truth: the limits of the issue (a gigabyte and five seconds for any input under 10 MB), the text
that went in, and the pixels that an independent implementation draws.
"""

from __future__ import annotations

import ast
import hashlib
import io
import json
import os
import re
import struct
import sys
import time
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nbformat
import numpy as np
import pandas as pd
import pytest
import tifffile
from growth import grows_linearly
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage.draw import polygon

import particle_nb as pnb
from particle_nb.core import exports
from particle_nb.core.annotation import strokes
from particle_nb.core.annotation.archive import read_archive
from particle_nb.core.annotation.replaying import read_log, replay
from particle_nb.core.exports import polygons
from particle_nb.core.files import Allowance, parse_json
from particle_nb.core.masks import Mask, rle
from particle_nb.core.shape.reference import read_shapes
from particle_nb.validation import collect, image_names, literal, write_html

PACKAGE = Path(pnb.__file__).parent
TEN_MB = 10 * 2**20
POSIX = pytest.mark.skipif(sys.platform == "win32", reason="forks")


# --------------------------------------------------------------------- what a small file stands for


def coco(path: Path, side: int, masks: int, counts: Any = None) -> Path:
    counts = [0, side * side] if counts is None else counts
    one = {"image_id": 1, "segmentation": {"size": [side, side], "counts": counts}}
    image = {"id": 1, "height": side, "width": side}
    path.write_text(json.dumps({"images": [image], "annotations": [one] * masks}))
    return path


def coco_of(path: Path, side: int, segmentations: list[Any], more: str = "") -> Path:
    image = {"id": 1, "height": side, "width": side}
    items = [{"image_id": 1, "segmentation": one} for one in segmentations]
    path.write_text(json.dumps({"images": [image], "annotations": items}))
    return path


def annotation(path: Path, side: int, count: int, shown: bool) -> Path:
    code = {"counts": rle.compress(np.array([0, side * side], np.int64))}
    after = {str(k): {"mask": k} for k in range(count)}
    steps = [{"after": after, "draft": None}] if shown else []
    members = {
        "log.jsonl": b'{"action": "load"}\n' if shown else b"",
        "history.json": json.dumps({"steps": steps, "masks": [code] * count}).encode(),
        "masks.json": b"{}",
    }
    return archive(path, members, side, len(steps))


def archive(path: Path, members: dict[str, bytes], side: int = 8, steps: int = 0) -> Path:
    sums = {name: {"sha256": hashlib.sha256(data).hexdigest()} for name, data in members.items()}
    about = {"format": "particle_nb.annotation", "version": 1, "shape": [side, side]}
    about |= {"position": steps, "members": sums}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("manifest.json", json.dumps(about))
        for name, data in members.items():
            file.writestr(name, data)
    return path


def nested_archive(path: Path) -> Path:
    many = b'{"steps":[],"masks":[' + b"[]," * 30_000_000 + b"[]]}"
    return archive(path, {"log.jsonl": b"", "history.json": many, "masks.json": b"{}"})


def oval(path: Path, side: int) -> Path:
    import roifile

    roi = roifile.ImagejRoi()
    roi.roitype, roi.version = roifile.ROI_TYPE.OVAL, 228
    roi.bottom = roi.right = side
    roi.props = f"frame_height: {side}\nframe_width: {side}\n"
    path.write_bytes(roi.tobytes())
    return path


def many_rois(path: Path, data: bytes, count: int) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for k in range(count):
            file.writestr(f"{k}.roi", data)
    return path


def flat_tiff(path: Path, side: int) -> Path:
    with tifffile.TiffWriter(path) as writer:
        rows = (zlib.compress(bytes(side * 256), 9) for _ in range(-(-side // 256)))
        writer.write(
            rows, shape=(side, side), dtype=np.uint8, compression="adobe_deflate", rowsperstrip=256,
            metadata=None, photometric="minisblack",
        )  # fmt: skip
    return path


def endless_pages(path: Path, count: int) -> Path:
    pages = b"".join(
        struct.pack("<HHHLLL", 1, 256, 4, 1, 1, 8 + 18 * (k + 1)) for k in range(count)
    )
    path.write_bytes(b"II*\0" + struct.pack("<L", 8) + pages)
    return path


ZIGZAG = [[float(v) for k in range(200_000) for v in (k % 7, 9000 * (k % 2))]]
HUGE: dict[str, tuple[Callable[[Path], Path], Callable[[Path], Any]]] = {
    "one mask": (lambda p: coco(p, 20_000, 1), exports.read_coco),
    "masks that add up": (lambda p: coco(p, 10_000, 30), exports.read_coco),
    "masks at the limit": (lambda p: coco(p, 10_000, 4), exports.read_coco),
    "many runs": (lambda p: coco(p, 3000, 2, "11" * 2_000_000 + "1"), exports.read_coco),
    "parts far apart": (
        lambda p: coco_of(
            p, 30_000, [[[0, 0, 2, 0, 2, 2], [29990, 29990, 29999, 29990, 29999, 29999]]]
        ),
        exports.read_coco,
    ),
    "a zigzag": (lambda p: coco_of(p, 9000, [ZIGZAG]), exports.read_coco),
    "many annotations": (
        lambda p: coco_of(p, 9, [[[0, 0, 0, 2, 2, 2]]] * 150_000),
        exports.read_coco,
    ),
    "masks of the past": (lambda p: annotation(p, 8192, 40, False), read_archive),
    "masks shown": (lambda p: annotation(p, 8192, 40, True), read_archive),
    "nested lists": (nested_archive, read_archive),
    "zeros in an archive": (
        lambda p: archive(
            p,
            {"log.jsonl": bytes(250 << 20), "history.json": b" " * (200 << 20), "masks.json": b""},
        ),
        read_archive,
    ),
    "an ellipse": (lambda p: oval(p, 30_000), lambda p: exports.read_rois(p)),
    "zeros in a ROI zip": (
        lambda p: many_rois(p, b"Iout" + bytes(60 << 20), 8),
        lambda p: exports.read_rois(p, (9, 9)),
    ),
    "a flat picture": (lambda p: flat_tiff(p, 30_000), pnb.read_image),
    "endless pages": (lambda p: endless_pages(p, 300_000), pnb.read_image),
    "endless cells": (
        lambda p: p.write_bytes(b"size,volume\n" + b"1," * 4_000_000) and p,
        pnb.read_distribution,
    ),
}


@POSIX
@pytest.mark.parametrize("name", HUGE)
def test_no_small_file_takes_a_gigabyte_or_five_seconds(name: str, tmp_path: Path) -> None:
    make, read = HUGE[name]
    path = make(tmp_path / "input")
    assert path.stat().st_size < TEN_MB
    pid = os.fork()
    if pid == 0:
        try:
            read(path)
        except pnb.ParticleError:
            os._exit(3)
        except BaseException:
            os._exit(4)
        os._exit(0)
    before = int(Path("/proc/self/statm").read_text().split()[1]) * 4096
    _, status, used = os.wait4(pid, 0)
    assert os.waitstatus_to_exitcode(status) in (0, 3), "an error without a name, or a death"
    assert used.ru_maxrss * 1024 - before < 2**30
    assert used.ru_utime + used.ru_stime < 5
    # what is refused is refused; the rest is within the limits, not merely quick to fail
    fits = name in ("masks at the limit", "masks of the past")
    assert (os.waitstatus_to_exitcode(status) == 0) == fits


def test_an_allowance_grows_with_the_file() -> None:
    small = Allowance()
    for _ in range(3):
        small.take_pixels(2**27)
    with pytest.raises(pnb.DataError, match="unfold"):
        small.take_pixels(1)
    large = Allowance(100 * 2**20)
    for _ in range(29):
        large.take_pixels(2**27)
    with pytest.raises(pnb.DataError, match="larger than any particle"):
        large.take_pixels(2**28)
    with pytest.raises(pnb.DataError, match="no JSON"):
        parse_json("[" * 100_000, "a.json")
    with pytest.raises(pnb.DataError, match="no JSON"):
        parse_json("9" * 5000, "a.json")


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(-8, 60), st.integers(-8, 60)), min_size=3, max_size=12))
def test_an_outline_is_that_of_an_independent_implementation(points: Any) -> None:
    """scikit-image's point_in_polygon on every pixel, which takes a hundred times as long."""
    path = np.array(points, float) / 2
    rows, cols = polygon(path[:, 1], path[:, 0], (28, 24))
    expected = np.zeros((28, 24), bool)
    expected[rows, cols] = True
    try:
        found = strokes.outline(path, (28, 24)).full()
    except pnb.PromptError:
        found = np.zeros((28, 24), bool)
    assert np.array_equal(found, expected)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.integers(-20, 130), st.integers(-20, 130)), min_size=1, max_size=6),
    st.sampled_from([0.5, 0.75, 1, 7.5, 40]),
)
def test_a_stroke_drawn_in_bands_is_the_same_stroke(points: Any, radius: float) -> None:
    path, shape = np.array(points, float), (110, 100)
    y, x = np.mgrid[:110, :100]
    expected = np.zeros(shape, bool)
    for (ax, ay), (bx, by) in zip(path, path[1:] if len(path) > 1 else path, strict=False):
        ux, uy = bx - ax, by - ay
        along = np.clip(((x - ax) * ux + (y - ay) * uy) / max(ux * ux + uy * uy, 1e-300), 0, 1)
        expected |= (x - ax - along * ux) ** 2 + (y - ay - along * uy) ** 2 <= radius**2
    try:
        found = strokes.stroke(path, radius, shape).full()
    except pnb.PromptError:
        found = np.zeros(shape, bool)
    assert np.array_equal(found, expected)


@settings(max_examples=80, deadline=None)
@given(st.lists(st.tuples(st.integers(-9, 120), st.integers(-9, 120)), min_size=3, max_size=9))
def test_small_polygons_are_drawn_as_large_ones_are(points: Any) -> None:
    ring = np.array(points, float) / 2
    quick = polygons.rasterise([ring], (48, 52))
    few, polygons._FEW_POINTS = polygons._FEW_POINTS, 0
    try:
        arrays = polygons.rasterise([ring], (48, 52))
    finally:
        polygons._FEW_POINTS = few
    assert (quick and quick.digest) == (arrays and arrays.digest)


def test_strokes_and_outlines_without_end_are_refused() -> None:
    rng = np.random.default_rng(0)
    start = time.process_time()
    with pytest.raises(pnb.PromptError, match="several"):
        strokes.stroke(rng.uniform(0, 8000, (20_000, 2)), 2000, (8192, 8192))
    with pytest.raises(pnb.PromptError, match="jagged"):
        strokes.outline(rng.uniform(0, 8000, (20_000, 2)), (8192, 8192))
    strokes.stroke([[0, 0], [8191, 8191]], 0.75, (8192, 8192))
    assert time.process_time() - start < 10


# ------------------------------------------------------------------------------- slow patterns


def patterns() -> dict[str, tuple[str, set[str]]]:
    """Every constant regular expression of the package by where it stands, and how it is used."""
    found: dict[str, tuple[str, set[str]]] = {}
    uses = {"search", "match", "fullmatch", "split", "sub", "findall", "finditer"}
    for path in PACKAGE.rglob("*.py"):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        asked: dict[str, set[str]] = {}
        for node in ast.walk(tree):
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
                asked.setdefault(node.value.id, set()).add(node.attr)
        bound = {
            id(node.value): target.id
            for node in ast.walk(tree)
            if isinstance(node, ast.Assign)
            for target in node.targets
            if isinstance(target, ast.Name)
        }
        for node in ast.walk(tree):
            called = isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)
            if not called or not isinstance(node.func.value, ast.Name) or not node.args:
                continue
            text, how = node.args[0], {node.func.attr}
            if node.func.value.id != "re" or not isinstance(text, ast.Constant):
                continue
            if how == {"compile"}:
                how = asked.get(bound.get(id(node), ""), uses)
            found[f"{path.name}:{node.lineno}"] = (str(text.value), how & uses)
    return found


def test_no_pattern_is_quadratic() -> None:
    """Twice as long a text takes about twice as long, whatever it repeats."""
    known = patterns()
    assert len(known) > 20, "the walk finds hardly any pattern"
    slow = []
    for place, (text, how) in known.items():
        pattern = re.compile(text)
        first = re.match(r"[^\\\[(.*+?^$|{]*", text)[0]  # type: ignore[index]
        pieces = {" ", "\t", "a", "A_", "0", "1,", "<", "=", '"', ":", "-", ".", "'", "x", "( "}
        pieces |= {first} if len(first) > 1 else set()
        for piece in sorted(pieces):
            for start in ("", first, "<a ", "1"):
                long = start + piece * (6000 // len(piece)) + "\x00"
                begin = time.process_time()
                for name in sorted(how & {"match", "fullmatch"} or {"search"}):
                    getattr(pattern, name)(long)
                # quadratic: 6000 x 6000 / 2 steps take a quarter of a second and more
                if time.process_time() - begin > 0.15:
                    slow.append((place, text, start, piece))
    assert not slow


@pytest.mark.parametrize(
    ("code", "head", "piece", "size"),
    [
        (34118, b"AP_IMAGE_PIXEL_SIZE\r\n", b" ", 300_000),
        (34683, b'<pixelWidth unit="nm">', b" ", 300_000),
        (34683, b"", b"<pixelWidth ", 30_000),
        (270, b"<OME ", b"<Pixels ", 40_000),
        (34682, b"", b"[", 300_000),
    ],
)
def test_tags_are_read_in_linear_time(
    code: int, head: bytes, piece: bytes, size: int, tmp_path: Path
) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (96, 128)).astype(np.uint8)

    def read(count: int) -> None:
        text = head + piece * count + b"x"
        tags = [(code, 1 if code != 270 else 2, len(text), text, True)]
        tifffile.imwrite(tmp_path / "a.tif", noise, extratags=tags, metadata=None)
        assert pnb.read_image(tmp_path / "a.tif").calibration is None

    assert grows_linearly(read, size)


# ---------------------------------------------------------------------- text that is code elsewhere


@settings(max_examples=200, deadline=None)
@given(
    st.lists(
        st.text(st.sampled_from("=+-@'\t\r\n,;|\" a0＝é"), max_size=8) | st.text(max_size=6),
        min_size=1,
        max_size=4,
    )
)
def test_text_in_tables_is_no_formula_and_comes_back(texts: list[str]) -> None:
    texts = [text.replace("\r", "\n") for text in texts]  # CSV readers know one end of line
    texts = [text.encode("utf-8", "replace").decode() for text in texts]
    table = pd.DataFrame({"image": texts, "x_A_um": np.arange(len(texts)) + 0.5})
    path = Path(_folder()) / "a.csv"
    exports.write_csv(table, path)
    pd.testing.assert_frame_equal(exports.read_csv(path), table, check_dtype=False)
    raw = pd.read_csv(path, dtype=str, na_filter=False)
    for text in raw["image"]:
        for cell in re.split(r"[,;|\t\n\"]", text):
            assert not cell or cell[0] not in "=+-@＝＋－＠", f"{text!r} would be run"


_FOLDERS: list[str] = []


def _folder() -> str:
    import tempfile

    if not _FOLDERS:
        _FOLDERS.append(tempfile.mkdtemp())
    return _FOLDERS[0]


def test_codes_stay_text_and_numbers_numbers(tmp_path: Path) -> None:
    table = pd.DataFrame(
        {
            "image": ["000", "001"],
            "label": [1, 2],
            "x_A_um": [-0.1, np.nan],
            "class_name": ["=HYPERLINK(1)", "-5"],
            "=heading": ["0x10", "007"],
            "touches_edge": [True, False],
            "flag": ["", "too_small"],
        }
    )
    exports.write_csv(table, tmp_path / "a.csv")
    back = exports.read_csv(tmp_path / "a.csv")
    pd.testing.assert_frame_equal(back, table, check_dtype=False)
    assert [dtype.kind for dtype in back.dtypes[1:3]] == ["i", "f"]
    text = (tmp_path / "a.csv").read_text()
    assert "'=HYPERLINK" in text
    assert "'-5" in text
    assert "'=heading" in text
    assert ",-0.1," in text
    for bad in (b"\xff\xfe\x00", b'a,b\n"1'):
        (tmp_path / "bad.csv").write_bytes(bad)
        with pytest.raises(pnb.DataError, match="no CSV table"):
            exports.read_csv(tmp_path / "bad.csv")


EVIL = "a`<img src=x onerror=alert(1)>*[x](javascript:alert(2))$x$"


def test_text_in_a_report_stays_text(tmp_path: Path) -> None:
    assert re.fullmatch(r"[\w ]*(&#\d+;[\w ]*)*", literal(EVIL))
    output = nbformat.v4.new_output("display_data", {"text/markdown": f"**x** `{EVIL}`"})
    sub = nbformat.v4.new_output("display_data", {"text/markdown": "Q<sub>3</sub>"})
    safe = nbformat.v4.new_output("display_data", {"text/markdown": f"**y** {literal(EVIL)}"})
    styled = pd.DataFrame({"a": [EVIL]}).style.format(escape="html").to_html()
    table = nbformat.v4.new_output("display_data", {"text/html": styled})
    cell = nbformat.v4.new_code_cell("", outputs=[output, safe, sub, table])
    nbformat.write(nbformat.v4.new_notebook(cells=[cell]), tmp_path / "a.ipynb")
    page = write_html(tmp_path / "a.ipynb").read_text(encoding="utf-8")
    assert "<img src=x" not in page
    assert 'href="javascript' not in page
    assert "<p>Q<sub>" in page, "what Markdown may use of HTML stays"
    assert "onerror" in page, "the text itself is shown"


def test_names_of_images_come_from_their_paths() -> None:
    assert image_names(["x/000.tif", "x/001.tif"]) == ["000", "001"]
    assert image_names(["x/a/1.tif", "x/b/1.tif", "x/2.tif"]) == ["a/1.tif", "b/1.tif", "2.tif"]
    assert image_names(["a.tif", "a.png", "A.bmp"]) == ["a.tif", "a.png", "A.bmp"]
    assert image_names([]) == []


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="file names of any bytes")
def test_a_file_name_that_is_no_text_can_be_reported(tmp_path: Path) -> None:
    name = os.fsdecode(b"\xff\xfe.tif")
    tifffile.imwrite(tmp_path / "a.tif", np.eye(64, dtype=np.uint8) * 200)
    (tmp_path / "a.tif").rename(tmp_path / name)
    image = pnb.read_image(tmp_path / name)
    assert image.name.isascii()
    found = pnb.batch([tmp_path / name], pnb.BatchSettings("1 um", segmenter="classical"),
                      tmp_path / "out", progress=False)  # fmt: skip
    assert found.images["status"].tolist() == ["done"]


def test_results_of_others_link_only_below_their_folder(tmp_path: Path) -> None:
    run = tmp_path / "runs" / "<b>one"
    run.mkdir(parents=True)
    (tmp_path / "secret.html").write_text("x")
    deep: dict[str, Any] = {}
    for _ in range(200):
        deep = {"a": deep}
    about = {
        "notebook": "../../secret",
        "ok": True,
        "files": {"x": "../../secret.html", "y": "/etc/passwd", "z": "\0"},
        "headline": {"<script>": "<script>"},
        "deep": deep,
    }
    (run / "results.json").write_text(json.dumps(about))
    assert len(collect(tmp_path / "runs")) == 1
    page = (tmp_path / "runs" / "index.html").read_text()
    assert "secret" not in page.replace("&lt;", "<").split("<body>")[0]
    assert 'href="..' not in page
    assert "passwd" not in page
    assert "<script" not in page
    os.remove(run / "results.json")
    if hasattr(os, "mkfifo"):
        os.mkfifo(run / "results.json")
        assert len(collect(tmp_path / "runs")) == 1


# ------------------------------------------------------------------------------ names for errors

IMAGE = pnb.Image(np.zeros((8, 8), np.uint8))


def log(**header: Any) -> str:
    return json.dumps({"format": "particle_nb.log/1", "shape": [8, 8], **header}) + "\n"


SQUARE = {"action": "polygon", "path": [[0, 0], [5, 0], [5, 5], [0, 5]]}


@pytest.mark.parametrize(
    "text",
    [
        log(shape=1),
        log(shape={}),
        *[log() + json.dumps({**SQUARE, "result": r}) for r in (
            {"masks": "x"}, {"masks": {"a": "b"}}, {"masks": {"²": "b"}}, {"masks": ["1"]},
            {"masks": {"1": "x"}, "rle": [1]}, {"masks": {"9" * 5000: "b"}},
        )],
        *[log() + json.dumps(line) for line in (
            {**SQUARE, "label": {}}, {**SQUARE, "label": "\ud800"}, {**SQUARE, "path": {}},
            {"action": "set", "ids": 1.5}, {"action": "set", "ids": [[1]], "name": "x"},
            {"action": "delete", "ids": [None]}, {"action": "delete", "ids": ["x"]},
            {"action": "filter", "settings": {"min_area": []}}, {"action": "load", "masks": [1]},
            {"action": "load", "masks": [{"counts": "525", "label": 3}]},
            {"action": "merge", "ids": {"1": 2}}, {"action": "box", "box": {}},
        )],
        log() + "9" * 5000,
        log() + "[" * 5000,
    ],
)  # fmt: skip
def test_damaged_logs_get_a_named_error(text: str) -> None:
    with pytest.raises((pnb.DataError, pnb.PromptError)):
        replay(text, None, IMAGE)


@pytest.mark.parametrize("draft", [
    {"box": [1, 2]}, {"window": [1]}, {"window": "abcd"}, {"points": [[1]]}, {"refines": []},
    {"labels": [1]}, {"choice": 5, "candidates": [0]}, {"sketch": 7}, {"target": []},
])  # fmt: skip
def test_damaged_drafts_get_a_named_error(draft: dict[str, Any], tmp_path: Path) -> None:
    usual = {"points": [], "labels": [], "box": None, "sketch": None, "window": None}
    usual |= {"target": "best", "candidates": [], "choice": 0, "refines": None}
    step = {"after": {}, "draft": usual | draft}
    content = {"steps": [step], "masks": [{"counts": "00"}]}
    members = {"log.jsonl": b'{"action": "point"}\n', "masks.json": b"{}"}
    members["history.json"] = json.dumps(content).encode()
    with pytest.raises(pnb.DataError, match="damaged"):
        read_archive(archive(tmp_path / "a.pnb", members, steps=1))


@POSIX
def test_no_reader_waits_for_a_pipe(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a")
    readers: list[Callable[[Any], Any]] = [
        pnb.read_image, pnb.read_distribution, read_shapes, read_archive, exports.read_coco,
        exports.read_rois, exports.read_labels, exports.read_csv,
        pnb.ShapeClassifier.load, pnb.PhaseMap.load, pnb.PhaseClassifier.load,
        lambda path: read_log(Path(path)),
        lambda path: pnb.batch([path], out=tmp_path / "out", progress=False).errors.pipe(_failed),
    ]  # fmt: skip
    for read in readers:
        with pytest.raises(pnb.ParticleError):
            read(tmp_path / "a")


def _failed(errors: pd.DataFrame) -> None:
    assert len(errors) == 1
    raise pnb.DataError(errors["message"].iloc[0])


@pytest.mark.parametrize("change", [
    {"images": 1}, {"images": [{"id": 1, "height": float("inf"), "width": 4}]},
    {"categories": 3}, {"annotations": [{"image_id": 1, "segmentation": [[10**400] * 6]}]},
    {"annotations": [{"image_id": 1, "segmentation": {"size": [4, 1e999], "counts": [16]}}]},
    {"annotations": [{"image_id": 1, "segmentation": {"size": [4, 4], "counts": [[1], 2]}}]},
])  # fmt: skip
def test_damaged_coco_files_get_a_named_error(change: dict[str, Any], tmp_path: Path) -> None:
    good = {"images": [{"id": 1, "height": 4, "width": 4}], "categories": [{"id": []}]}
    good["annotations"] = [
        {"image_id": 1, "category_id": [], "segmentation": {"size": [4, 4], "counts": [0, 16]}}
    ]  # type: ignore[list-item]
    path = tmp_path / "a.json"
    path.write_text(json.dumps(good))
    assert len(exports.read_coco(path)) == 1
    path.write_text(json.dumps(good | change))
    with pytest.raises(pnb.ParticleError, match=r"a\.json"):
        exports.read_coco(path)


def test_durations_are_no_pixels() -> None:
    with pytest.raises(pnb.ImageError, match="timedelta"):
        pnb.Image(np.zeros((4, 4), "m8[s]"))
    with pytest.raises(pnb.DataError, match="label is text"):
        Mask((0, 0), np.ones((2, 2), bool), (4, 4), label=3)  # type: ignore[arg-type]


def test_surfaces_are_written_whole_or_not_at_all(tmp_path: Path) -> None:
    y, x = np.mgrid[:4, :5].reshape(2, -1).astype(float)
    cloud = pnb.PointCloud(np.stack([x, y, x + y], axis=1), pixel_size=1)
    victim = tmp_path / "victim"
    victim.write_bytes(b"precious")
    for ending in ("gsf", "asc", "stl", "glb"):
        if hasattr(os, "symlink"):
            (tmp_path / f"a.{ending}").symlink_to(victim)
        exports.write_surface(cloud, tmp_path / f"a.{ending}")
        assert not (tmp_path / f"a.{ending}").is_symlink()
    for ending in ("ply", "csv"):
        exports.write_cloud(cloud, tmp_path / f"a.{ending}")
    assert victim.read_bytes() == b"precious"
    assert len(list(tmp_path.iterdir())) == 7
    assert io.BytesIO((tmp_path / "a.stl").read_bytes()).read(11) == b"particle_nb"
