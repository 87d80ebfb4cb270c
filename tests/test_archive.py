"""The .pnb file: everything comes back, nothing foreign comes in, no kill loses a commit."""

from __future__ import annotations

import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import time
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fake_session import FakeSession, squares
from test_history import BOX, COMMIT, key, point, run

from particle_nb.core.annotation import read_archive
from particle_nb.core.annotation.actions import load_line
from particle_nb.core.annotation.archive import ArchiveWriter
from particle_nb.core.annotation.history import History
from particle_nb.core.errors import DataError
from particle_nb.core.image import Calibration, Image
from particle_nb.core.masks import MaskSet

IMAGE = squares(3, 4)
MASKS = FakeSession().propose(IMAGE)
LINES = [
    load_line(MASKS),
    point(43, 43),
    {"action": "candidate", "choice": 1},
    COMMIT,
    {"action": "set", "ids": [3], "name": "three", "note": "ünïcode", "label": "round"},
    {"action": "filter", "settings": {"min_predicted_iou": 0.7}},
    {"action": "accept", "ids": [5]},
    {"action": "delete", "ids": [6]},
    {"action": "box", "box": [84, 84, 132, 132]},
    point(60, 60, 0),
    BOX,
]


@pytest.fixture
def history() -> History:
    return run(*LINES)


def _write(path: Path, history: History, **more: Any) -> Path:
    return ArchiveWriter().write(path, history, {"image": {"digest": "d", "name": "n"}}, **more)


def test_every_state_comes_back(tmp_path: Path, history: History) -> None:
    for position in (len(LINES), 4, 0):
        there = history.jump(position)
        back = read_archive(_write(tmp_path / "a.pnb", there)).history
        assert back.position == position
        for i in range(len(LINES) + 1):
            assert key(back.jump(i).state) == key(history.jump(i).state)
        assert back.log() == there.log()


def test_the_image_comes_back(tmp_path: Path, history: History) -> None:
    pixels = np.random.default_rng(0).normal(size=IMAGE.shape).astype(np.float32)
    image = Image(pixels, Calibration(0.31, "um", "bar"), "a.tif")
    about = {
        "digest": image.digest,
        "name": "a.tif",
        "calibration": {"pixel_size": 0.31, "unit": "um", "source": "bar"},
    }
    path = ArchiveWriter().write(tmp_path / "a.pnb", history, {"image": about}, image)
    back = read_archive(path).image
    assert back is not None
    assert (back.digest, back.calibration, back.name) == (image.digest, image.calibration, "a.tif")


def test_other_programs_can_read_the_masks(tmp_path: Path, history: History) -> None:
    pycocotools = pytest.importorskip("pycocotools.mask")
    with zipfile.ZipFile(_write(tmp_path / "a.pnb", history)) as archive:
        coco = json.loads(archive.read("masks.json"))
    names = {c["id"]: c["name"] for c in coco["categories"]}
    masks = list(history.state.masks)
    assert len(coco["annotations"]) == len(masks)
    for annotation, mask in zip(coco["annotations"], masks, strict=True):
        code = annotation["segmentation"]
        full = pycocotools.decode({"size": code["size"], "counts": code["counts"].encode()})
        assert np.array_equal(full.astype(bool), mask.full())
        assert names[annotation["category_id"]] == (mask.label or "particle")
        assert annotation["area"] == mask.area


def test_a_second_write_encodes_only_what_is_new(tmp_path: Path, history: History) -> None:
    writer, path = ArchiveWriter(), tmp_path / "a.pnb"
    writer.write(path, history, {})
    first = path.read_bytes()
    writer.write(path, run(BOX, history=history), {})
    assert path.read_bytes() != first
    writer.write(path, history, {})
    assert path.read_bytes() == first, "equal annotations are equal files"
    assert [p.name for p in tmp_path.iterdir()] == ["a.pnb"], "no temporary file stays"


def test_a_failed_write_leaves_the_old_file(tmp_path: Path, history: History) -> None:
    _write(tmp_path / "a.pnb", history)
    with pytest.raises(DataError, match="cannot write"):
        _write(tmp_path / "a.pnb" / "b.pnb", history)
    assert read_archive(tmp_path / "a.pnb").history.position == len(LINES)


# ------------------------------------------------------------------- damaged and foreign files


def _rewrite(path: Path, change: dict[str, bytes | None], manifest: Any = None) -> None:
    """Change members and make the manifest's checksums right again: only the content is wrong."""
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    about = json.loads(members.pop("manifest.json"))
    for name, data in change.items():
        if data is None:
            members.pop(name)
        else:
            members[name] = data
    about["members"] = {
        name: {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
        for name, data in members.items()
    }
    about.update(manifest or {})
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("manifest.json", json.dumps(about))
        for name, data in members.items():
            archive.writestr(name, data)


def test_no_single_changed_byte_is_taken_for_good(tmp_path: Path, history: History) -> None:
    path = _write(tmp_path / "a.pnb", history)
    good, rng, refused = path.read_bytes(), random.Random(5), 0
    want = key(history.state)
    for _ in range(300):
        bad = bytearray(good)
        bad[rng.randrange(len(bad))] ^= 1 << rng.randrange(8)
        path.write_bytes(bad)
        try:
            # bits that mean nothing (dates, attributes) may change, the content may not
            assert key(read_archive(path).history.state) == want
        except DataError:
            refused += 1
    assert refused > 200
    for length in range(0, len(good), max(1, len(good) // 40)):
        path.write_bytes(good[:length])
        with pytest.raises(DataError):
            read_archive(path)


def test_content_that_its_checksum_does_not_know_is_refused(
    tmp_path: Path, history: History
) -> None:
    """A sound zip with a sound image of the same size: only the digest in the manifest tells."""
    pixels = np.arange(history.state.shape[0] * history.state.shape[1], dtype=np.uint16)
    image_ = Image(pixels.reshape(history.state.shape))
    path = _write(tmp_path / "a.pnb", history, image=image_)
    assert read_archive(path).image is not None
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    image = bytearray(members["image.npy"])
    image[-1] ^= 1
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(name, bytes(image) if name == "image.npy" else data)
    with pytest.raises(DataError, match=r"checksum of image\.npy"):
        read_archive(path)


@pytest.mark.parametrize(
    ("change", "manifest", "text"),
    [
        ({"../evil.py": b"x"}, None, "no part of an annotation"),
        ({"/etc/passwd": b"x"}, None, "no part of an annotation"),
        ({"image.pkl": b"x"}, None, "no part of an annotation"),
        ({"history.json": None}, None, "missing"),
        ({}, {"format": "other"}, "no annotation"),
        ({}, {"version": 99}, "newer"),
        ({}, {"version": "1"}, "damaged"),
        ({}, {"shape": [0, 5]}, "damaged"),
        ({}, {"shape": [2**20, 2**20]}, "damaged"),
        ({}, {"shape": "ab"}, "damaged"),
        ({}, {"position": 999}, "damaged"),
        ({}, {"position": None}, "damaged"),
        ({"history.json": b"{}"}, None, "damaged"),
        ({"history.json": b"NaN"}, None, "damaged"),
        ({"history.json": b"[" * 100_000}, None, "damaged"),
        ({"history.json": b'{"steps":[],"masks":[]}'}, None, "log lines"),
        ({"history.json": b'{"steps":[],"masks":[{"counts":5}]}'}, None, "damaged"),
        ({"log.jsonl": b"\xff\xfe"}, None, "damaged"),
        ({"image.npy": b"not an array"}, None, "damaged"),
    ],
)
def test_foreign_and_damaged_files_are_refused(
    tmp_path: Path, history: History, change: dict[str, Any], manifest: Any, text: str
) -> None:
    path = _write(tmp_path / "a.pnb", history)
    _rewrite(path, change, manifest)
    with pytest.raises(DataError, match=text):
        read_archive(path)


class Trap:
    def __reduce__(self) -> Any:
        return os.mkdir, ("trapped",)


def test_nothing_is_unpickled(tmp_path: Path, history: History) -> None:
    path = _write(tmp_path / "a.pnb", history)
    array = np.empty(1, object)
    array[0] = Trap()
    np.save(tmp_path / "a.npy", array, allow_pickle=True)
    _rewrite(path, {"image.npy": (tmp_path / "a.npy").read_bytes()})
    before = os.getcwd()
    os.chdir(tmp_path)
    try:
        with pytest.raises(DataError):
            read_archive(path)
        assert not (tmp_path / "trapped").exists()
    finally:
        os.chdir(before)


def test_a_bomb_is_refused_before_it_is_unpacked(tmp_path: Path, history: History) -> None:
    path = _write(tmp_path / "a.pnb", history)
    with zipfile.ZipFile(path, "a", zipfile.ZIP_BZIP2) as archive:
        archive.writestr("image.npy", bytes(20_000_000))
    assert path.stat().st_size < 20_000
    with pytest.raises(DataError, match="claims 20000000 bytes"):
        read_archive(path)


def test_what_is_no_archive(tmp_path: Path) -> None:
    (tmp_path / "text.pnb").write_text("hello")
    with zipfile.ZipFile(tmp_path / "other.pnb", "w") as archive:
        archive.writestr("manifest.json", "{}")
    for name, text in (("text.pnb", "no .pnb"), ("other.pnb", "missing"), ("none.pnb", "no file")):
        with pytest.raises(DataError, match=text):
            read_archive(tmp_path / name)
    with pytest.raises(DataError):
        read_archive(tmp_path)


# ------------------------------------------------------------------------------------ SIGKILL

CHILD = """
import os, sys, time
sys.path[:0] = {path!r}
sync = os.fsync
# a disk as slow as they come: half of the time goes by between the first byte and the rename
os.fsync = lambda number: (time.sleep(0.004), sync(number))
from fake_session import squares
from particle_nb.core.annotation.archive import ArchiveWriter
from particle_nb.core.annotation.actions import perform
from particle_nb.core.annotation.history import History
image = squares(3, 4)
history, writer, n = History(image.shape), ArchiveWriter(), 0
while True:
    x = n % 180
    line = {{"action": "polygon", "path": [[x, 1], [x + 9, 1], [x + 9, 9], [x, 9]]}}
    history = perform(history, line, image, None)
    writer.write({file!r}, history, {{}}, image)
    n += 1
    sys.stdout.write(f"{{n}}\\n")  # said only once it is committed
    sys.stdout.flush()
    if n == 150:
        history, n = History(image.shape), 0
        sys.stdout.write("again\\n")
        sys.stdout.flush()
"""


@pytest.mark.skipif(sys.platform == "win32", reason="SIGKILL")
def test_fifty_kills_in_the_middle_of_saves_lose_nothing(tmp_path: Path) -> None:
    file, rng, kills = tmp_path / "a.pnb", random.Random(1), 0
    here = Path(__file__).parent
    code = CHILD.format(path=[str(here), str(here.parent)], file=str(file))
    halves = 0
    while kills < 50:
        child = subprocess.Popen(
            [sys.executable, "-c", "import os\nos.setsid()\n" + FORK.format(code=code)],
            stdout=subprocess.PIPE,
            text=True,
        )
        assert child.stdout is not None
        for _ in range(50):
            if kills == 50:
                break
            pid = int(child.stdout.readline().split()[1])
            said = 0
            # it works for a while, then dies at a random moment, nearly always inside a save
            until = time.monotonic() + rng.uniform(0.005, 0.06)
            while time.monotonic() < until or not said:
                text = child.stdout.readline().strip()
                said = 0 if text == "again" else int(text)
            # the line read last came right after a save: wait until the next one is under way
            time.sleep(rng.uniform(0.001, 0.012))
            os.kill(pid, signal.SIGKILL)
            again = False
            while (text := child.stdout.readline().strip()) != "dead":
                again |= text == "again"
                said = 0 if text == "again" else int(text)
            count = len(read_archive(file).history.state.masks)
            # the save that was under way may have been finished, but none that was said is lost
            assert count in (said, said + 1) or (said == 0 and count in (150, 1))
            halves += len(list(tmp_path.glob(".a.pnb.*.part")))
            kills += 1
        child.kill()
        child.wait()
    assert halves > 0, "not one kill fell into a save: the test tested nothing"


#: Children are forked from one process that has everything imported: 50 kills in seconds.
FORK = """
import sys, os, time
code = {code!r}
setup, work = code.split("history, writer, n =")
exec(setup, globals())
while True:
    pid = os.fork()
    if pid == 0:
        sys.stdout.write(f"pid {{os.getpid()}}\\n")
        sys.stdout.flush()
        exec("history, writer, n =" + work, globals())
    os.waitpid(pid, 0)
    sys.stdout.write("dead\\n")
    sys.stdout.flush()
"""


def test_how_sure_the_model_was_comes_back(tmp_path: Path) -> None:
    masks = [mask.replace(confidence=0.25 * (i % 4)) for i, mask in enumerate(MASKS)]
    history = run(load_line(MaskSet((*masks, MASKS[0]))))
    back = read_archive(_write(tmp_path / "a.pnb", history)).history
    found = [p.mask for p in back.state.particles.values()]
    assert [m.confidence for m in found] == [*(m.confidence for m in masks), None]
    # also when something else of a mask changes before its pixels were looked at
    assert found[1].replace(label="round").confidence == 0.25
