"""Batches: nothing lost and nothing twice, whatever dies.

Truth: drawn discs of known size, the same steps done by hand for one image, and a run that nobody
disturbed.
"""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import PIL.Image
import pyarrow.parquet as pq
import pytest

import particle_nb as pnb
from particle_nb.batches import BatchSettings, batch, read_batch, running, summarise
from particle_nb.batches.store import Store
from particle_nb.batches.work import Job, work
from particle_nb.core.cascade import FilterSettings, cascade
from particle_nb.core.errors import CalibrationError, DataError, ModelError
from particle_nb.core.image import read_image
from particle_nb.core.learning import ShapeClassifier
from particle_nb.core.shape import measure
from particle_nb.session import Session

SETTINGS = BatchSettings("0.5 um", segmenter="classical")


def draw(path: Path, seed: int, radii: range = range(8, 20)) -> list[int]:
    """Bright discs of these radii in px on a dark noisy ground, in a grid; the radii come back."""
    rng = np.random.default_rng(seed)
    order = rng.permutation(np.array(radii))
    rows, cols = np.mgrid[:180, :240]
    picture = rng.normal(60, 4, rows.shape)
    for k, radius in enumerate(order):
        y, x = 30 + 60 * (k // 4) + rng.uniform(-4, 4), 30 + 60 * (k % 4) + rng.uniform(-4, 4)
        picture[(rows - y) ** 2 + (cols - x) ** 2 <= radius**2] += 120
    PIL.Image.fromarray(np.clip(picture, 0, 255).astype(np.uint8)).save(path)
    return order.tolist()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ten good images."""
    root = tmp_path_factory.mktemp("images")
    for k in range(10):
        draw(root / f"image_{k}.png", seed=k)
    return root


@pytest.fixture(scope="module")
def undisturbed(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> pd.DataFrame:
    out = tmp_path_factory.mktemp("reference")
    return batch(folder, SETTINGS, out, progress=False).particles()


def parts(out: Path) -> dict[str, int]:
    """When each finished image was written."""
    return {path.name: path.stat().st_mtime_ns for path in (out / "parts").glob("*.json")}


# ---------------------------------------------------------------- what comes out


def classes_of(path: Path, out: Path, least: float) -> Path:
    """A classifier of the discs of one image: the larger ones are "large"."""
    image = read_image(path, pixel_size="0.5 um")
    session = Session("classical")
    masks, _ = cascade(session.propose(image, progress=False), image, FilterSettings())
    sizes = measure(masks, image.calibration)["x_A_um"]
    labels = {row: "large" if size > least else "small" for row, size in enumerate(sizes)}
    classifier = ShapeClassifier(reject=0, novelty=0)
    return classifier.fit(session.features(image, masks), labels).save(out)


def test_particles_carry_classes(folder: Path, tmp_path: Path) -> None:
    images = [folder / f"image_{k}.png" for k in range(3)]
    PIL.Image.fromarray(np.full((90, 90), 40, np.uint8)).save(tmp_path / "empty.png")
    images.append(tmp_path / "empty.png")
    told = classes_of(images[0], tmp_path / "my.pnbclasses", 13.4)
    settings = dataclasses.replace(SETTINGS, classes=str(told))
    result = batch(images, settings, tmp_path / "out", workers=2, progress=False)
    table = result.particles()
    assert result.images["n"].tolist() == [12, 12, 12, 0]
    assert (table["class"] == np.where(table["x_A_um"] > 13.4, "large", "small")).mean() > 0.9
    np.testing.assert_allclose(table["p_large"] + table["p_small"], 1)
    assert (table["class_probability"] == table[["p_large", "p_small"]].max(axis=1)).all()
    assert result.images["classes"].str.startswith("my.pnbclasses").all()
    page = summarise(result).page.read_text("utf-8")
    assert "<h2>Classes</h2>" in page
    assert "36 particles, 0 of them unknown" in page
    proposed = int(result.images["proposed"].sum())
    for part in (
        "4 micrographs were segmented",  # the empty one too
        f"Of {proposed} proposed masks 36 were kept",
        "min_area = 30 (default)",
        "36 particles were measured (outline: ",
        "at 0.5 um/px (typed)",
        f"(digest of its weights {result.images['weights'].iloc[0][:16]})",
    ):
        assert part in page, part
    both = pnb.methods_text([table, table])  # two batches, say
    assert "8 micrographs were segmented" in both
    assert f"Of {2 * proposed} proposed masks 72 were kept" in both

    before = parts(tmp_path / "out")
    batch(images, settings, tmp_path / "out", progress=False)
    assert parts(tmp_path / "out") == before
    classes_of(images[0], told, 17.0)  # the same name, another content
    again = batch(images, settings, tmp_path / "out", progress=False).particles()
    assert (again["class"] == "large").sum() < (table["class"] == "large").sum()
    with pytest.raises(DataError, match=r"none\.pnbclasses"):
        BatchSettings(classes=str(tmp_path / "none.pnbclasses"))


def test_sizes_of_drawn_discs(folder: Path, undisturbed: pd.DataFrame) -> None:
    """Each image has radii 8 to 19 px at 0.5 um/px, so x_A of 8 to 19 um; watershed within 5%."""
    assert undisturbed["image"].unique().tolist() == [f"image_{k}.png" for k in range(10)]
    for _, group in undisturbed.groupby("image"):
        assert len(group) == 12
        expected = np.arange(8.0, 20.0)
        np.testing.assert_allclose(np.sort(group["x_A_um"]), expected, rtol=0.05)


def test_one_image_is_what_the_steps_give_by_hand(folder: Path, undisturbed: pd.DataFrame) -> None:
    image = read_image(folder / "image_3.png", "0.5 um")
    masks, _ = cascade(Session("classical").propose(image), image, FilterSettings())
    expected = measure(masks, image.calibration, image="image_3.png", unit="um")
    got = undisturbed[undisturbed["image"] == "image_3.png"].reset_index(drop=True)
    pd.testing.assert_frame_equal(got, expected, check_dtype=False)


def test_one_row_group_per_image(folder: Path, tmp_path: Path) -> None:
    result = batch(folder, SETTINGS, tmp_path, progress=False)
    file = pq.ParquetFile(tmp_path / "particles.parquet")
    assert file.num_row_groups == 10
    for (name, table), k in zip(result.by_image(), range(10), strict=True):
        assert name == f"image_{k}.png"
        assert table["image"].eq(name).all()
        assert len(table) == 12
    images = pd.read_csv(tmp_path / "images.csv")
    assert images["n"].tolist() == [12] * 10
    assert images["image_digest"].nunique() == 10
    again = read_batch(tmp_path)
    pd.testing.assert_frame_equal(again.images, result.images)


def test_several_processes_give_the_same(
    folder: Path, tmp_path: Path, undisturbed: pd.DataFrame
) -> None:
    result = batch(folder, SETTINGS, tmp_path, workers=2, progress=False)
    pd.testing.assert_frame_equal(result.particles(), undisturbed)


def test_bad_images_are_recorded_and_skipped(folder: Path, tmp_path: Path) -> None:
    root = tmp_path / "mixed"
    root.mkdir()
    shutil.copy(folder / "image_0.png", root / "b_good.png")
    whole = (folder / "image_1.png").read_bytes()
    (root / "a_half.png").write_bytes(whole[: len(whole) // 2])
    (root / "c_text.tif").write_text("no image at all")
    (root / "d_empty.png").write_bytes(b"")
    PIL.Image.fromarray(np.full((50, 60), 90, np.uint8)).save(root / "e_blank.png")
    (root / "notes.txt").write_text("not looked at")
    shutil.copy(folder / "image_0.png", root / "f_again.png")
    result = batch(root, SETTINGS, tmp_path / "out", progress=False)
    table = result.images.set_index("image")
    assert table.index.tolist() == [
        "a_half.png", "b_good.png", "c_text.tif", "d_empty.png", "e_blank.png", "f_again.png",
    ]  # fmt: skip
    expected = ["failed", "done", "failed", "failed", "done", "duplicate"]
    assert table["status"].tolist() == expected
    assert table["n"].tolist() == [0, 12, 0, 0, 0, 0]
    assert table.loc["f_again.png", "message"] == "same as b_good.png"
    assert result.errors["image"].tolist() == ["a_half.png", "c_text.tif", "d_empty.png"]
    assert result.errors["error"].eq("ImageError").all()
    assert result.errors["message"].str.contains(r"_half|_text|_empty").all()
    assert result.particles()["image"].unique().tolist() == ["b_good.png"]


def test_nothing_usable_still_ends_with_a_table(tmp_path: Path) -> None:
    PIL.Image.fromarray(np.full((50, 60), 90, np.uint8)).save(tmp_path / "blank.png")
    (tmp_path / "text.png").write_text("no image")
    result = batch(tmp_path, SETTINGS, tmp_path / "out", progress=False)
    assert len(result.particles()) == 0
    assert list(result.by_image()) == []
    only_bad = batch([tmp_path / "text.png"], SETTINGS, tmp_path / "out", progress=False)
    assert only_bad.images["status"].tolist() == ["failed"]
    assert len(only_bad.particles()) == 0


def test_an_image_without_a_scale_is_no_silent_pixel_count(folder: Path, tmp_path: Path) -> None:
    plain = BatchSettings(segmenter="classical")
    result = batch([folder / "image_0.png"], plain, tmp_path / "um", progress=False)
    assert result.errors["message"].str.contains("pixel_size").all()
    pixels = BatchSettings(segmenter="classical", unit="px")
    counted = batch([folder / "image_0.png"], pixels, tmp_path / "px", progress=False)
    assert counted.particles()["x_A_px"].between(15, 40).all()


def test_a_mapping_gives_each_file_its_scale(folder: Path, tmp_path: Path) -> None:
    scales = {folder / "image_0.png": "0.5 um", str(folder / "image_1.png"): "1000 nm"}
    table = batch(scales, SETTINGS, tmp_path, progress=False).particles()
    largest = table.groupby("image")["x_A_um"].max()
    assert largest["image_0.png"] == pytest.approx(19, rel=0.05)
    assert largest["image_1.png"] == pytest.approx(38, rel=0.05)


def test_same_names_in_different_folders_stay_apart(tmp_path: Path) -> None:
    for name, seed in (("one", 1), ("two", 2)):
        (tmp_path / name).mkdir()
        draw(tmp_path / name / "a.png", seed)
    table = batch(tmp_path, SETTINGS, tmp_path / "out", progress=False).particles()
    assert table["image"].unique().tolist() == ["one/a.png", "two/a.png"]


# ---------------------------------------------------------------- again


def test_done_images_are_not_done_again(folder: Path, tmp_path: Path) -> None:
    first = batch(folder, SETTINGS, tmp_path, progress=False)
    before = parts(tmp_path)
    half, record, gone = (tmp_path / "parts" / name for name in sorted(before)[:3])
    data = half.with_suffix(".parquet").read_bytes()
    half.with_suffix(".parquet").write_bytes(data[: len(data) // 2])
    record.write_text('{"status": "do')
    gone.with_suffix(".parquet").unlink()
    second = batch(folder, SETTINGS, tmp_path, progress=False)
    after = parts(tmp_path)
    assert {name for name in after if after[name] != before[name]} == {
        path.name for path in (half, record, gone)
    }
    pd.testing.assert_frame_equal(first.particles(), second.particles())


def test_changed_settings_or_content_are_done_again(folder: Path, tmp_path: Path) -> None:
    root = tmp_path / "images"
    root.mkdir()
    for k in range(3):
        shutil.copy(folder / f"image_{k}.png", root)
    out = tmp_path / "out"
    batch(root, SETTINGS, out, progress=False)
    before = parts(out)
    draw(root / "image_1.png", seed=77, radii=range(8, 14))
    changed = batch(root, SETTINGS, out, progress=False)
    assert changed.images["n"].tolist() == [12, 6, 12]
    assert len(parts(out).keys() - before.keys()) == 1
    smaller = BatchSettings("0.5 um", segmenter="classical", filters=FilterSettings(min_area=700))
    filtered = batch(root, smaller, out, progress=False).particles()
    assert 0 < len(filtered) < 30
    assert (filtered["area_um2"] >= 700 * 0.25).all()
    assert len(parts(out).keys() - before.keys()) == 4
    # how the work is shared out changes no number and redoes nothing
    count = parts(out)
    threaded = BatchSettings("500 nm", segmenter="classical", threads=1)
    batch(root, SETTINGS, out, progress=False)
    assert parts(out) == count
    assert threaded.result_key("w") == SETTINGS.result_key("w")
    assert SETTINGS.result_key("w") != SETTINGS.result_key("other weights")


def test_a_file_of_the_same_size_written_later_is_read_again(tmp_path: Path) -> None:
    """Size alone does not tell that a file is the one of before; nor does a second run's memory."""
    store = Store(tmp_path / "out")
    path = tmp_path / "a.tif"
    path.write_bytes(b"one!")
    os.utime(path, ns=(0, 0))
    first = store.inputs(path)
    assert first == Store(tmp_path / "other").inputs(path)
    path.write_bytes(b"two!")
    later = path.stat().st_mtime_ns + 10**9
    os.utime(path, ns=(later, later))
    assert store.inputs(path) == Store(tmp_path / "third").inputs(path) != first


def test_renamed_files_are_not_done_again(folder: Path, tmp_path: Path) -> None:
    root = tmp_path / "images"
    shutil.copytree(folder, root)
    out = tmp_path / "out"
    batch(root, SETTINGS, out, progress=False)
    before = parts(out)
    (root / "image_0.png").rename(root / "zz.png")
    result = batch(root, SETTINGS, out, progress=False)
    assert parts(out) == before
    assert result.particles()["image"].unique().tolist()[-1] == "zz.png"


def sidecar(folder: Path, name: str, nm: float) -> None:
    text = f"[SemImageFile]\nPixelSize={nm}\nDataSize=240x180\n"
    (folder / f"{name}.txt").write_text(text)


def test_a_changed_sidecar_is_a_changed_image(tmp_path: Path) -> None:
    """Hitachi keeps the scale beside the picture: 500 nm, corrected to 50 nm, is a tenth."""
    draw(tmp_path / "a.png", 1)
    shutil.copy(tmp_path / "a.png", tmp_path / "b.png")
    settings, out = BatchSettings(segmenter="classical"), tmp_path / "out"
    sidecar(tmp_path, "a", 500)
    sidecar(tmp_path, "b", 500)
    first = batch([tmp_path / "a.png", tmp_path / "b.png"], settings, out, progress=False)
    assert first.images["status"].tolist() == ["done", "duplicate"]
    assert first.images["message"].tolist() == ["", "same as a.png"]
    sidecar(tmp_path, "a", 50)
    second = batch([tmp_path / "a.png", tmp_path / "b.png"], settings, out, progress=False)
    assert second.images["status"].tolist() == ["done", "done"], "one picture at two scales"
    assert [text.split(" (")[0] for text in second.images["scale"]] == ["50 nm/px", "0.5 um/px"]
    largest = second.particles().groupby("image")["x_A_um"].max()
    assert largest["b.png"] / largest["a.png"] == pytest.approx(10, rel=1e-6)
    (tmp_path / "a.txt").unlink()
    third = batch([tmp_path / "a.png"], settings, out, progress=False)
    assert third.images["status"].tolist() == ["failed"], "a scale that is gone is no scale"


def test_the_same_size_and_time_are_not_the_same_picture(tmp_path: Path) -> None:
    path, out = tmp_path / "a.bmp", tmp_path / "out"  # pictures of one size in pixels and bytes
    draw(path, 1)
    about = path.stat()
    assert batch([path], SETTINGS, out, progress=False).images["n"].tolist() == [12]
    draw(path, 7, radii=range(8, 14))
    os.utime(path, ns=(about.st_atime_ns, about.st_mtime_ns))
    assert path.stat().st_size == about.st_size
    assert batch([path], SETTINGS, out, progress=False).images["n"].tolist() == [6]


def test_a_picture_that_changes_while_it_is_read_is_kept_under_its_own_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from particle_nb.batches import work as working

    path, out, original = tmp_path / "a.bmp", tmp_path / "out", working.read_image
    draw(path, 1)
    whole = path.read_bytes()

    def swapped(file: Path, *args: object, **options: object) -> object:
        if path.read_bytes() == whole:
            draw(path, 7, radii=range(8, 14))
        return original(file, *args, **options)

    monkeypatch.setattr(working, "read_image", swapped)
    assert batch([path], SETTINGS, out, progress=False).images["n"].tolist() == [6]
    monkeypatch.undo()
    path.write_bytes(whole)
    assert batch([path], SETTINGS, out, progress=False).images["n"].tolist() == [12]

    rng = np.random.default_rng(0)

    def restless(file: Path, *args: object, **options: object) -> object:
        found = original(file, *args, **options)
        path.write_bytes(path.read_bytes() + rng.bytes(1))
        return found

    monkeypatch.setattr(working, "read_image", restless)
    path.write_bytes(whole)
    failed = batch([path], SETTINGS, out / "2", progress=False).errors
    assert failed["message"].str.contains("changed while it was read").all()
    assert len(failed) == 1


def test_damaged_records_are_done_again_and_damaged_tables_named(
    folder: Path, tmp_path: Path
) -> None:
    image, out = folder / "image_0.png", tmp_path
    batch([image], SETTINGS, out, progress=False)
    (record,) = (out / "parts").glob("*.json")
    good = record.read_text()
    about = json.loads(good)
    for bad in (
        "[]", "1", "[" * 5000, *(json.dumps({**about, **change}) for change in (
            {"seconds": "abc"}, {"stamps": True}, {"stamps": [[1]]}, {"n": -1}, {"n": 10**30},
            {"removed": []}, {"status": "x"}, {"bytes": None}, {"path": 3}, {"table_digest": 1},
            {"removed": {"size": "x"}}, {"filters": "{"}, {"estimator": 3},
        ))
    ):  # fmt: skip
        record.write_text(bad)
        assert batch([image], SETTINGS, out, progress=False).images["n"].tolist() == [12]
    part = record.with_suffix(".parquet")
    data = bytearray(part.read_bytes())
    for place in range(4, len(data) - 4, len(data) // 12):
        data[place] ^= 0xFF
        part.write_bytes(data)
        assert batch([image], SETTINGS, out, progress=False).images["n"].tolist() == [12]
    images = pd.read_parquet(out / "images.parquet")
    for name, text in (("filters", "{"), ("filters", "[1]"), ("removed", "size 3")):
        images.assign(**{name: text}).to_parquet(out / "images.parquet")
        with pytest.raises(DataError, match=r"images\.parquet is damaged"):
            read_batch(out).particles()
    images.to_parquet(out / "images.parquet")
    assert read_batch(out).particles().attrs["filters"]["min_area"] == 30
    table = (out / "images.parquet").read_bytes()
    (out / "images.parquet").write_bytes(table[: len(table) // 2])
    with pytest.raises(DataError, match="damaged"):
        read_batch(out)


# ---------------------------------------------------------------- deaths

SCRIPT = """
import sys
from particle_nb.batches import BatchSettings, batch
if __name__ == "__main__":
    settings = BatchSettings("0.5 um", segmenter="classical")
    batch(sys.argv[1], settings, sys.argv[2], workers=int(sys.argv[3]), progress=False)
"""


def alive(token: str) -> list[int]:
    """Processes whose command line or environment holds a token."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and token in (entry / "environ").read_text(errors="replace"):
                found.append(int(entry.name))
        except OSError:
            continue
    return found


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="looks for orphans in /proc")
@pytest.mark.parametrize("workers", [1, 2])
def test_killed_in_the_middle_and_resumed(
    folder: Path, tmp_path: Path, undisturbed: pd.DataFrame, workers: int
) -> None:
    script, out = tmp_path / "run.py", tmp_path / "out"
    script.write_text(SCRIPT)
    token = f"BATCH_TEST={tmp_path}"
    environment = os.environ | {"BATCH_TEST": str(tmp_path), "OMP_NUM_THREADS": "1"}
    environment["PYTHONPATH"] = str(Path(__file__).parent.parent)
    command = [sys.executable, str(script), str(folder), str(out), str(workers)]
    process = subprocess.Popen(command, env=environment)
    try:
        deadline = time.monotonic() + 240
        while len(parts(out)) < 3 and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.001)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    before = parts(out)
    assert 3 <= len(before) < 10, "the kill came too late or too early to test anything"
    assert not (out / "particles.parquet").exists()
    deadline = time.monotonic() + 30
    while alive(token) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not alive(token), "worker processes outlive their parent"
    result = batch(folder, SETTINGS, out, workers=workers, progress=False)
    after = parts(out)
    assert {name: after[name] for name in before} == before
    assert len(after) == 10
    pd.testing.assert_frame_equal(result.particles(), undisturbed)


def deadly_work(job: Job, settings: BatchSettings) -> tuple[dict, bytes]:
    """What `work` does, but two of the images take their process with them."""
    if job.name in ("image_2.png", "image_7.png"):
        os.kill(os.getpid(), signal.SIGKILL)
    return work(job, settings)


def test_an_image_that_kills_its_worker_is_found(
    folder: Path, tmp_path: Path, undisturbed: pd.DataFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(running, "work", deadly_work)
    result = batch(folder, SETTINGS, tmp_path, workers=2, progress=False)
    assert result.errors["image"].tolist() == ["image_2.png", "image_7.png"]
    assert result.errors["message"].str.contains("memory").all()
    others = undisturbed[~undisturbed["image"].isin(["image_2.png", "image_7.png"])]
    pd.testing.assert_frame_equal(result.particles(), others.reset_index(drop=True))
    monkeypatch.undo()
    healed = batch(folder, SETTINGS, tmp_path, progress=False)
    pd.testing.assert_frame_equal(healed.particles(), undisturbed)


def slow_work(job: Job, settings: BatchSettings) -> tuple[dict, bytes]:
    time.sleep(0.3)
    return work(job, settings)


def test_dask_cluster_that_loses_a_worker(
    folder: Path, tmp_path: Path, undisturbed: pd.DataFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    distributed = pytest.importorskip("distributed")
    monkeypatch.setattr(running, "work", slow_work)
    seen: list[int] = []

    with (
        distributed.LocalCluster(
            n_workers=3, threads_per_worker=1, processes=True, dashboard_address=None
        ) as cluster,
        distributed.Client(cluster) as client,
    ):
        pids = client.run(os.getpid)
        victim = next(iter(pids.values()))
        original = running.Store.write

        def write_and_kill(store, part, record, data, path):
            original(store, part, record, data, path)
            seen.append(1)
            if len(seen) == 3:
                os.kill(victim, signal.SIGKILL)

        monkeypatch.setattr(running.Store, "write", write_and_kill)
        result = batch(folder, SETTINGS, tmp_path, client=client, progress=False)
        assert len(set(pids.values())) == 3
        assert victim not in client.run(os.getpid).values(), "the victim was not killed"
    assert len(seen) == 10
    assert result.images["status"].eq("done").all()
    pd.testing.assert_frame_equal(result.particles(), undisturbed)


def test_no_more_images_wait_than_the_queue_holds(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    most = 0
    original = running.futures.wait

    def counting(waiting, **options):
        nonlocal most
        most = max(most, len(waiting))
        return original(waiting, **options)

    monkeypatch.setattr(running.futures, "wait", counting)
    batch(folder, SETTINGS, tmp_path, progress=False)
    assert 1 <= most <= 2


def test_embeddings_outlive_a_run_and_are_not_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Other filters are other results; the images are as they were and are not encoded again."""
    from particle_nb.batches.work import _session, _session_of

    draw(tmp_path / "a.png", 1)
    cache = str(tmp_path / "cache")
    plain = BatchSettings("0.5 um", cache_dir=cache)
    model = _session_of(plain).segmenter
    encoded = []
    encode = type(model).encode

    def counting(self, image, window=None):
        encoded.append(window)
        return encode(self, image, window)

    monkeypatch.setattr(type(model), "encode", counting)
    first = batch([tmp_path / "a.png"], plain, tmp_path / "one", progress=False)
    assert len(encoded) >= 1
    assert len(list((tmp_path / "cache").glob("*.safetensors"))) == len(encoded)
    again, encoded[:] = len(encoded), []
    strict = BatchSettings("0.5 um", cache_dir=cache, filters=FilterSettings(min_area=700))
    second = batch([tmp_path / "a.png"], strict, tmp_path / "two", progress=False)
    assert encoded == [], f"encoded {len(encoded)} of {again} again"
    assert 0 < second.images["n"].iloc[0] < first.images["n"].iloc[0]
    _session.cache_clear()


# ---------------------------------------------------------------- the summary


def test_the_summary_names_the_odd_image_and_what_failed(folder: Path, tmp_path: Path) -> None:
    root = tmp_path / "images"
    shutil.copytree(folder, root)
    rows, cols = np.mgrid[:180, :240]
    big = np.where((rows - 90) ** 2 + (cols - 120) ** 2 < 60**2, 190, 60).astype(np.uint8)
    PIL.Image.fromarray(big).save(root / "odd <b>.png")
    (root / "broken.png").write_text("no image")
    result = batch(root, SETTINGS, tmp_path / "out", progress=False)
    done = summarise(result)
    assert done.page == tmp_path / "out" / "report.html"
    assert done.variation is not None
    assert done.variation.outliers == ["odd <b>.png"]
    assert done.distribution is not None
    assert done.distribution.n == 12 * 10 + 1
    page = done.page.read_text(encoding="utf-8")
    assert "11 micrographs were segmented" in page  # one of twelve failed
    assert "odd &lt;b&gt;.png" in page
    assert "<tr class=odd><td>odd &lt;b&gt;.png</td>" in page
    assert "<td>broken.png</td><td>ImageError</td>" in page
    # radii 8 to 19 and one of 60 px: r^3 of the large one is 216,000 of 562,000 (before weights)
    assert "One particle carries" in page
    assert "11 done, 1 failed" in page
    table = pd.read_csv(tmp_path / "out" / "summary.csv")
    assert table["image"].iloc[0] == "odd <b>.png"
    assert len(table) == 11


def test_a_summary_of_nothing_says_so(tmp_path: Path) -> None:
    PIL.Image.fromarray(np.full((50, 60), 90, np.uint8)).save(tmp_path / "blank.png")
    done = summarise(batch(tmp_path, SETTINGS, tmp_path / "out", progress=False))
    assert done.table is None
    assert "No whole particle" in done.page.read_text(encoding="utf-8")
    with pytest.raises(DataError, match="summarise takes"):
        summarise(None)


# ---------------------------------------------------------------- bad input


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda f, o: batch(f / "none", SETTINGS, o), DataError, "no folder"),
        (lambda f, o: batch([], SETTINGS, o), DataError, "no image"),
        (lambda f, o: batch(3, SETTINGS, o), DataError, "save arrays"),
        (lambda f, o: batch([f / "image_0.png"] * 2, SETTINGS, o), DataError, "given twice"),
        (lambda f, o: batch(f, {"unit": "um"}, o), DataError, "BatchSettings"),
        (lambda f, o: batch(f, SETTINGS, o, workers=0), DataError, "workers"),
        (lambda f, o: batch(f, SETTINGS, o, workers=1.5), DataError, "workers"),
        (lambda f, o: batch(f, SETTINGS, o, client="tcp://here"), DataError, "client"),
        (lambda f, o: batch({f / "image_0.png": "3"}, SETTINGS, o), CalibrationError, "unit"),
        (lambda f, o: batch(f, BatchSettings(segmenter="x/y/z"), o), ModelError, "x/y/z"),
        (lambda f, o: batch(f, SETTINGS, f / "image_0.png"), DataError, "cannot be made"),
        (lambda f, o: read_batch(o), DataError, "no completed batch"),
        (lambda f, o: BatchSettings(pixel_size="0 um"), CalibrationError, "positive"),
        (lambda f, o: BatchSettings(segmenter=Session()), DataError, "segmenter"),
        (lambda f, o: BatchSettings(filters=None), DataError, "filters"),
        (lambda f, o: BatchSettings(unit="mm"), DataError, "unit"),
        (lambda f, o: BatchSettings(threads=0), DataError, "threads"),
    ],
)
def test_bad_input_is_named(call, error, words, folder: Path, tmp_path: Path) -> None:
    with pytest.raises(error, match=words):
        call(folder, tmp_path)


def test_a_folder_without_images_says_what_it_looked_for(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("1")
    with pytest.raises(DataError, match=r"\.tif"):
        batch(tmp_path, SETTINGS, tmp_path / "out", progress=False)


def test_records_are_complete(folder: Path, tmp_path: Path) -> None:
    batch([folder / "image_0.png"], SETTINGS, tmp_path, progress=False)
    (record,) = (json.loads(path.read_text()) for path in (tmp_path / "parts").glob("*.json"))
    image = read_image(folder / "image_0.png", "0.5 um")
    assert record["image_digest"] == image.digest
    assert (record["height_px"], record["width_px"]) == (180, 240)
    assert record["scale"] == "0.5 um/px (typed)"
    assert record["segmenter"] == "classical"
    assert record["weights"] == Session("classical").segmenter.digest
    assert record["n"] + sum(record["removed"].values()) == record["proposed"]
