"""Training sets: what is in the files, the same again, grown, damaged, and never mixed."""

import hashlib
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import tifffile
from PIL import Image as Picture

import particle_nb as pnb
from particle_nb.training_sets import PHASES, SECTION, TrainingSetSettings, example

SMALL = TrainingSetSettings(shape=(96, 96), composites=0.5, seed=11)


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("set")
    pnb.training_set(SMALL, 4, out, progress=False)
    return out


def digests(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.suffix != ".parquet"
    }


def test_all_files_tell_of_the_same_particles(folder) -> None:
    document = json.loads((folder / "annotations.json").read_text())
    table = pd.read_parquet(folder / "particles.parquet")
    names = {one["id"]: one["name"] for one in document["categories"]}
    assert len(document["images"]) == 4
    assert len(document["annotations"]) == len(table) > 10
    assert {one["kind"] for one in document["images"]} == {"scene", "composite"}
    for entry in document["images"]:
        stem = f"{entry['id']:05d}"
        labels = tifffile.imread(folder / f"labels/{stem}.tif")
        phases = tifffile.imread(folder / f"phases/{stem}.tif")
        heights = tifffile.imread(folder / f"heights/{stem}.tif")
        assert labels.shape == phases.shape == heights.shape == (96, 96)
        assert (labels.dtype, heights.dtype) == (np.uint16, np.float32)
        for path in entry["detectors"].values():
            assert np.asarray(Picture.open(folder / path)).shape == (96, 96)
        rows = table[table["image"] == entry["id"]]
        mine = [one for one in document["annotations"] if one["image_id"] == entry["id"]]
        assert np.array_equal(rows["label"], np.arange(1, len(rows) + 1))
        masks = pnb.exports.read_coco(folder / "annotations.json", image=entry["id"])
        assert np.array_equal(masks.to_labels(), labels)
        assert [names[one["category_id"]] for one in mine] == rows["class"].tolist()
        assert np.array_equal([one["area"] for one in mine], rows["area_px2"])
        for label, material in zip(rows["label"], rows["material"], strict=True):
            inside = phases[labels == label]
            # pores bite into the particles of a composite, but never hold most of one
            assert np.bincount(inside).argmax() == PHASES.index(material)


def test_pycocotools_reads_the_file(folder) -> None:
    coco = pytest.importorskip("pycocotools.coco").COCO(str(folder / "annotations.json"))
    for number in coco.getImgIds():
        labels = tifffile.imread(folder / f"labels/{number:05d}.tif")
        for place, one in enumerate(coco.loadAnns(coco.getAnnIds(imgIds=[number])), 1):
            assert np.array_equal(coco.annToMask(one) > 0, labels == place)


def test_the_same_seed_gives_the_same_files_whoever_makes_them(folder, tmp_path) -> None:
    pnb.training_set(SMALL, 2, tmp_path, progress=False)
    pnb.training_set(SMALL, 4, tmp_path, progress=False)
    assert digests(tmp_path) == digests(folder)
    other = example(TrainingSetSettings(shape=(96, 96), composites=0.5, seed=12), 1)
    same = example(SMALL, 1)
    first = next(iter(same.detectors.values()))
    assert not np.array_equal(first, next(iter(other.detectors.values())))


def test_what_is_damaged_is_made_again(folder, tmp_path) -> None:
    pnb.training_set(SMALL, 2, tmp_path, progress=False)
    before = digests(tmp_path)
    (tmp_path / "labels/00001.tif").write_bytes(b"half")
    (tmp_path / "parts/00002.json").write_text("{")
    pnb.training_set(SMALL, 2, tmp_path, progress=False)
    assert digests(tmp_path) == before


def test_sets_are_not_mixed(folder, tmp_path) -> None:
    with pytest.raises(pnb.DataError, match="another training set"):
        pnb.training_set(TrainingSetSettings(shape=(96, 96), seed=1), 4, folder)
    with pytest.raises(pnb.DataError, match="as many or more"):
        pnb.training_set(SMALL, 2, folder)
    (tmp_path / "mine.txt").write_text("data")
    with pytest.raises(pnb.DataError, match="not empty"):
        pnb.training_set(SMALL, 1, tmp_path)
    assert (tmp_path / "mine.txt").read_text() == "data"
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_given_kinds_are_made_in_turn(tmp_path) -> None:
    kinds = (
        pnb.synthetic.SceneSettings(shape=(80, 90), count=5),
        pnb.synthetic.CompositeSettings(shape=(96, 128)),
    )
    table = pnb.training_set(TrainingSetSettings(kinds=kinds), 2, tmp_path, progress=False)
    document = json.loads((tmp_path / "annotations.json").read_text())
    assert [(one["height"], one["width"]) for one in document["images"]] == [(80, 90), (96, 128)]
    assert [one["kind"] for one in document["images"]] == ["scene", "composite"]
    assert set(table[table["image"] == 2]["class"]) == {SECTION}
    two = tifffile.imread(tmp_path / "phases/00002.tif")
    share = (two == PHASES.index("pores")).mean()
    assert 0.02 < share < 0.2


def test_the_card_counts_what_is_there(folder) -> None:
    card = (folder / "README.md").read_text()
    table = pd.read_csv(folder / "particles.csv")
    assert f"4 images, {len(table)} particles" in card
    assert "1 pores" in card


def test_a_set_gives_lessons_detector_by_detector(folder) -> None:
    from training.on_set import lessons

    both = list(lessons(folder, 10, "all"))
    document = json.loads((folder / "annotations.json").read_text())
    assert len(both) == sum(len(one["detectors"]) for one in document["images"])
    assert all(picture.shape == labels.shape and labels.any() for picture, labels in both)
    sections = sum(one["kind"] == "composite" for one in document["images"])
    assert len(list(lessons(folder, 10, "composite"))) == 2 * sections


def test_a_set_is_written_as_the_segmenter_is_trained_on(folder, tmp_path) -> None:
    import torch

    from training.on_set import lessons, write_pairs
    from training.segmenter.data import read_scenes

    both = list(lessons(folder, 10, "all"))
    assert write_pairs(both, tmp_path) == len(both)
    read = [
        scene
        for side in (True, False)
        for scene in read_scenes(tmp_path, side, torch.device("cpu"))
    ]
    assert len(read) == len(both)
    for number, (picture, labels) in enumerate(both):
        name = f"{number:05d}.png"
        for part, values in (("images", picture), ("labels", labels)):
            with Picture.open(tmp_path / part / name) as opened:
                np.testing.assert_array_equal(np.asarray(opened), values)
