"""Autosave: nothing that is not its own is touched, and nothing acknowledged is lost.

Truth: what was on the disk before, byte for byte, and the particles that were committed.
"""

from __future__ import annotations

import copy
import os
import pickle
import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest

from particle_nb.core.annotation import archive as archives
from particle_nb.core.annotation.annotation import Annotation
from particle_nb.core.annotation.archive import DamagedArchiveError, read_archive
from particle_nb.core.annotation.autosave import Autosave
from particle_nb.core.errors import DataError
from particle_nb.core.files import atomic, one_at_a_time, read_regular, sweep
from particle_nb.core.image import Image
from particle_nb.core.masks import Mask, MaskSet
from particle_nb.session import Session

sys.path.insert(0, str(Path(__file__).parent.parent))
from tests import kills

IMAGE = Image(np.zeros((64, 64), np.uint8), None, "a")
POSIX = pytest.mark.skipif(sys.platform == "win32", reason="links, pipes and signals of POSIX")


def made(path: Any, count: int = 0) -> Annotation:
    annotation = Annotation(None, IMAGE, autosave=path)
    for k in range(count):
        draw(annotation, k)
    return annotation


def draw(annotation: Annotation, k: int) -> None:
    annotation.do("polygon", path=[[2, 2 + k], [9, 2 + k], [9, 9 + k]], label=f"p{k}")


def contents(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


# --------------------------------------------------------------------------- what is not its own


def a_folder(path: Path) -> None:
    path.mkdir()
    (path / "precious.txt").write_text("x")


def a_picture(path: Path) -> None:
    PIL.Image.new("L", (64, 64)).save(path, "TIFF")


def another_zip(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("manifest.json", '{"manifest_version": 3}')


def a_damaged_other_zip(path: Path) -> None:
    another_zip(path)
    path.write_bytes(path.read_bytes()[:-8])


def a_newer_one(path: Path) -> None:
    made(path, 1)
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    members["manifest.json"] = members["manifest.json"].replace(b'"version": 1', b'"version": 9')
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in members.items():
            archive.writestr(name, data)


def of_another_image(path: Path) -> None:
    Annotation(None, Image(np.ones((64, 64), np.uint8)), autosave=path).do(
        "polygon", path=[[2, 2], [9, 2], [9, 9]]
    )


FOREIGN = [
    a_folder,
    a_picture,
    another_zip,
    a_damaged_other_zip,
    a_newer_one,
    of_another_image,
    lambda path: path.write_text("no annotation"),
    lambda path: path.write_bytes(b""),
    lambda path: path.write_bytes(bytes(5000)),
]


@pytest.mark.parametrize("make", FOREIGN)
def test_what_is_not_ours_is_refused_and_stays(tmp_path: Path, make: Any) -> None:
    make(tmp_path / "a.pnb")
    before = contents(tmp_path)
    with pytest.raises(DataError, match=r"autosave path|original file"):
        made(tmp_path / "a.pnb")
    assert contents(tmp_path) == before
    with pytest.raises(DataError, match="nothing was saved over"):
        made(False, 1).save(tmp_path / "a.pnb")
    assert contents(tmp_path) == before


def test_a_disk_that_fails_for_a_moment_is_no_damage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made(tmp_path / "a.pnb", 5)
    before = contents(tmp_path)

    def fail(*_: Any, **__: Any) -> Any:
        raise OSError(5, "Input/output error")

    for owner, name in ((archives.zipfile, "ZipFile"), (os, "open"), (os, "fstat"), (os, "stat")):
        with monkeypatch.context() as patch:
            patch.setattr(owner, name, fail)
            with pytest.raises(DataError, match=r"cannot read|could not be read"):
                made(tmp_path / "a.pnb")
    assert contents(tmp_path) == before
    assert len(made(tmp_path / "a.pnb").masks) == 5


@POSIX
@pytest.mark.skipif(hasattr(os, "geteuid") and os.geteuid() == 0, reason="root may read all")
def test_a_file_without_permission_is_no_damage(tmp_path: Path) -> None:
    made(tmp_path / "a.pnb", 2)
    (tmp_path / "a.pnb").chmod(0)
    with pytest.raises(DataError, match="cannot read"):
        made(tmp_path / "a.pnb")
    assert sorted(os.listdir(tmp_path)) == ["a.pnb"]


def test_damaged_annotations_are_kept_one_beside_the_other(tmp_path: Path) -> None:
    path, kept = tmp_path / "a.pnb", []
    for count in (1, 2, 3):
        annotation = made(path, count)
        whole = path.read_bytes()
        kept.append(whole[: len(whole) // 2 + count])
        path.write_bytes(kept[-1])
        with pytest.raises(DamagedArchiveError):
            read_archive(path)
        fresh = made(path)
        assert "kept as" in fresh._hint
        assert path.read_bytes() == kept[-1], "nothing is replaced before something is saved"
        assert made(path)._hint == fresh._hint, "the same bytes are kept once"
        draw(fresh, 0)
        assert len(fresh.masks) == 1
        path.unlink()
        del annotation
    found = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert found == {
        "a.pnb.damaged": kept[0],
        "a.pnb.damaged-2": kept[1],
        "a.pnb.damaged-3": kept[2],
    }


# -------------------------------------------------------------------------------- a second kernel


def test_two_on_one_file_lose_nothing(tmp_path: Path) -> None:
    path = tmp_path / "a.pnb"
    one, two = made(path), made(path)
    for k in range(5):
        draw(one, k)
    with pytest.raises(DataError, match=r"nothing is lost.*open_annotation") as told:
        draw(two, 7)
    assert "a-conflict-1.pnb" in str(told.value)
    draw(two, 8)  # told once
    draw(one, 5)
    labels = {
        name: [p.mask.label for p in read_archive(tmp_path / name).history.state.particles.values()]
        for name in os.listdir(tmp_path)
    }
    assert labels == {
        "a.pnb": ["p0", "p1", "p2", "p3", "p4", "p5"],
        "a-conflict-1.pnb": ["p7", "p8"],
    }
    assert "a-conflict-1.pnb" in made(path)._hint
    three = made(path)
    draw(one, 9)
    with pytest.raises(DataError, match=r"a-conflict-2\.pnb"):
        three.undo()
    assert two.save().name == "a-conflict-1.pnb"


def test_the_first_commit_of_two_new_ones_is_a_conflict_too(tmp_path: Path) -> None:
    one, two = made(tmp_path / "a.pnb"), made(tmp_path / "a.pnb")
    draw(two, 0)
    with pytest.raises(DataError, match="nothing is lost"):
        one.save()
    assert sorted(os.listdir(tmp_path)) == ["a-conflict-1.pnb", "a.pnb"]


def test_what_did_not_change_is_no_conflict(tmp_path: Path) -> None:
    path = tmp_path / "a.pnb"
    annotation = made(path, 1)
    data = path.read_bytes()
    path.unlink()
    path.write_bytes(data)  # copied back, as a synchronised folder does
    os.utime(path, (0, 0))
    draw(annotation, 1)
    path.unlink()  # somebody tidied up: all of it is here
    draw(annotation, 2)
    assert len(read_archive(path).history.state.particles) == 3
    assert sorted(os.listdir(tmp_path)) == ["a.pnb"]
    os.chdir(tmp_path.parent)
    draw(annotation, 3)
    assert len(read_archive(path).history.state.particles) == 4


@POSIX
def test_kills_with_two_kernels_lose_nothing_acknowledged(tmp_path: Path) -> None:
    """`python -m tests.kills --count 100` is the long version."""
    tally = kills.run(8, tmp_path, seed=1)
    assert tally.lost == []
    assert tally.acknowledged > 8


@POSIX
def test_the_test_of_kills_finds_a_writer_that_does_not_look(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Autosave, "_is_own", lambda self, path: True)
    assert kills.run(4, tmp_path, seed=1).lost


@POSIX
def test_one_folder_is_held_by_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from particle_nb.core import files

    monkeypatch.setattr(files, "_LOCK_PATIENCE", 0.05)
    with one_at_a_time(tmp_path):
        with pytest.raises(DataError, match="another process"), one_at_a_time(tmp_path):
            pass
        with pytest.raises(DataError, match="another process"):
            draw(made(tmp_path / "a.pnb"), 0)
    with one_at_a_time(tmp_path):
        pass
    assert os.listdir(tmp_path) == []


# ------------------------------------------------------------------------------- links and pipes


@POSIX
def test_planted_links_are_not_followed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    victim = tmp_path / "victim"
    victim.write_text("precious")
    from particle_nb.core import files

    (tmp_path / f".a.pnb.{os.getpid()}.part").symlink_to(victim)
    draw(made(tmp_path / "a.pnb"), 0)
    assert victim.read_text() == "precious"
    assert not (tmp_path / "a.pnb").is_symlink()
    monkeypatch.setattr(files.secrets, "token_hex", lambda _: "0" * 16)  # an attacker who guesses
    (tmp_path / f".a.pnb.{'0' * 16}.part").symlink_to(victim)
    with pytest.raises(DataError, match="cannot write"):
        draw(made(tmp_path / "a.pnb"), 1)
    assert victim.read_text() == "precious"
    (tmp_path / "b.pnb").symlink_to(victim)
    with pytest.raises(DataError, match=r"no \.pnb file"):
        made(tmp_path / "b.pnb")
    (tmp_path / "c.pnb").symlink_to(tmp_path / "nowhere")
    with pytest.raises(DataError, match="leads nowhere"):
        made(tmp_path / "c.pnb")
    assert not (tmp_path / "nowhere").exists()


@POSIX
def test_a_link_of_ones_own_is_saved_through(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    made(tmp_path / "data" / "real.pnb", 1)
    (tmp_path / "a.pnb").symlink_to(tmp_path / "data" / "real.pnb")
    draw(made(tmp_path / "a.pnb"), 1)
    assert (tmp_path / "a.pnb").is_symlink()
    assert len(read_archive(tmp_path / "data" / "real.pnb").history.state.particles) == 2


@POSIX
def test_pipes_and_devices_are_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", Path("/dev/zero"), Path("/dev/null")):
        with pytest.raises(DataError, match="pipe or a device"):
            read_regular(path, 10)
        with pytest.raises(DataError, match="pipe or a device"):
            made(path)
        with pytest.raises(DataError, match="pipe or a device"), atomic(path):
            pass
    (tmp_path / "file").write_bytes(b"1234")
    with pytest.raises(DataError, match="more than the 3"):
        read_regular(tmp_path / "file", 3)


def test_only_own_leftovers_are_swept_away(tmp_path: Path) -> None:
    names = [".a[1].pnb.0123456789abcdef.part", ".ab.pnb.0123456789abcdef.part", ".a.pnb.keep.part"]
    names += [".other", "x.part"]
    for name in names:
        (tmp_path / name).write_text("x")
        os.utime(tmp_path / name, (0, 0))
    sweep(tmp_path, "a[1].pnb")
    assert sorted(os.listdir(tmp_path)) == sorted(names[1:])
    sweep(tmp_path)
    assert sorted(os.listdir(tmp_path)) == sorted(names[2:])
    (tmp_path / names[0]).write_text("young")
    sweep(tmp_path)
    assert (tmp_path / names[0]).exists()


# ------------------------------------------------------------------------------ copies and pickles


def test_histories_copy_and_pickle(tmp_path: Path) -> None:
    annotation = made(tmp_path / "h.pnb", 3)
    annotation.undo()
    history = annotation.history
    for twin in (
        pickle.loads(pickle.dumps(history)),
        copy.deepcopy(history),
        copy.copy(history),
        pickle.loads(pickle.dumps(read_archive(tmp_path / "h.pnb").history)),
    ):
        assert twin.log() == history.log()
        assert twin.redo().digest == history.redo().digest
        mask = next(iter(twin.state.particles.values())).mask
        with pytest.raises(ValueError, match="read-only"):
            mask.crop[0, 0] = False
    image = pickle.loads(pickle.dumps(IMAGE))
    assert image.digest == IMAGE.digest
    assert not image.pixels.flags.writeable


def test_annotations_say_why_they_do_not(tmp_path: Path) -> None:
    annotation = made(tmp_path / "a.pnb", 1)
    for act in (copy.copy, copy.deepcopy, pickle.dumps):
        with pytest.raises(TypeError, match=r"history.*save.*open_annotation"):
            act(annotation)


def test_sessions_copy_and_pickle() -> None:
    pixels = np.zeros((64, 64), np.uint8)
    pixels[20:40, 20:40] = 200
    session = Session("classical", cache_bytes=1 << 20, cache_dir="somewhere")
    found = session.propose(Image(pixels))
    for twin in (copy.copy(session), copy.deepcopy(session), pickle.loads(pickle.dumps(session))):
        assert repr(twin) == repr(session)
        assert twin.cache_info().entries == 0
        assert (twin.cache_info().max_bytes, twin.cache_dir) == (1 << 20, session.cache_dir)
        assert twin.propose(Image(pixels)).digest == found.digest
    assert copy.copy(session).segmenter is session.segmenter


# ------------------------------------------------------------------------------------ large ones


def test_a_long_history_of_a_large_particle_stays_small_and_opens(tmp_path: Path) -> None:
    """600 corrections of a mask of a megapixel: the masks of the past stay run-length codes."""
    image = Image(np.zeros((1100, 1100), np.uint8))
    annotation = Annotation(None, image, autosave=False)
    annotation.do("polygon", path=[[0, 0], [1050, 0], [1050, 1050], [0, 1050]])
    history = annotation.history
    mask = history.state.particles[1].mask
    for k in range(600):
        crop = mask.crop.copy()
        crop[k, :5] = False
        particle = history.state.particles[1].replace(mask=Mask((0, 0), crop, image.shape))
        history = history.do({"action": "erase"}, history.state.put({1: particle}))
    path = archives.ArchiveWriter().write(tmp_path / "a.pnb", history, {})
    assert path.stat().st_size < 10_000_000
    back = read_archive(path).history
    held = [p.mask for step in back.steps for p in step.after.values() if p is not None]
    assert sum("crop" in vars(mask) for mask in held) == 0
    assert back.state.masks.digest == history.state.masks.digest
    assert back.undo().state.masks.digest == history.undo().state.masks.digest


def test_coded_masks_are_masks() -> None:
    from particle_nb.core.masks.rle import CodedMask, encode

    rng = np.random.default_rng(3)
    for _ in range(50):
        full = rng.random((9, 7)) < 0.4
        full[4, 3] = True
        plain = Mask.from_full(full, predicted_iou=0.5, label="x")
        coded = CodedMask(encode(plain), predicted_iou=0.5, label="x")
        area = (plain.bbox[2] - plain.bbox[0]) * (plain.bbox[3] - plain.bbox[1])
        assert coded.unfolds_to >= area
        assert (coded.digest, coded.bbox, coded.label) == (plain.digest, plain.bbox, "x")
        assert coded.replace(label="y").label == "y"
        assert type(coded.replace(label="y")) is Mask
        assert MaskSet((coded, plain)).iou().toarray().min() == 1
        again = pickle.loads(pickle.dumps(CodedMask(encode(plain))))
        assert again.digest == plain.digest
