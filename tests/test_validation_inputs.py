"""The validation notebooks on a user's own files, not on their synthetic defaults.

Truth: drawn discs of known radii, outlines shifted by known amounts, a replayed log.
"""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pandas as pd
import PIL.Image
import pytest

from particle_nb import Annotator, Image, Mask, MaskSet, Session, exports, validate

RADII = (14, 16, 18, 20, 22, 24, 17, 19, 21)


def disc(shape: tuple[int, int], x: float, y: float, radius: float) -> np.ndarray:
    rows, cols = np.ogrid[: shape[0], : shape[1]]
    return (rows - y) ** 2 + (cols - x) ** 2 <= radius**2


def picture(seed: int, radii=RADII) -> tuple[np.ndarray, list[np.ndarray]]:
    """Nine bright discs in a grid, and their masks."""
    rng = np.random.default_rng(seed)
    places = [(50 + 80 * (k % 3), 50 + 80 * (k // 3)) for k in range(len(radii))]
    found = [
        disc((260, 260), x + rng.uniform(-3, 3), y + rng.uniform(-3, 3), radius)
        for (x, y), radius in zip(places, radii, strict=True)
    ]
    grey = rng.normal(60, 4, (260, 260))
    grey[np.any(found, axis=0)] += 120
    return grey.clip(0, 255).astype(np.uint8), found


def test_psd_and_shapes_of_two_series_against_files(tmp_path: Path) -> None:
    for series, factor in (("wet", 1.0), ("dry", 1.25)):
        (tmp_path / series).mkdir()
        for k in range(2):
            grey, _ = picture(k, [factor * radius for radius in RADII])
            PIL.Image.fromarray(grey).save(tmp_path / series / f"{k}.png")
    (tmp_path / "laser.csv").write_text("size / um;Q0 / %\n14;0\n19;50\n24;100\n")
    (tmp_path / "shapes.csv").write_text(
        "parameter;D10;D50;D90;low;high;series\n"
        "sphericity;0,97;0,98;0,99;0,90;1,0;wet\nsphericity;0,5;0,6;0,7;0,4;0,8;dry\n"
    )
    run = validate(
        "validate_psd",
        {
            "images": str(tmp_path / "wet"),
            "images_b": str(tmp_path / "dry"),
            "names": ["wet", "dry"],
            "pixel_size": "0.5 um",
            "reference": str(tmp_path / "laser.csv"),
            "reference_shapes": str(tmp_path / "shapes.csv"),
        },
        folder=tmp_path / "run",
    )
    assert run.ok, run.error
    results = run.results
    # radii 14 to 24 px at 0.5 um a pixel, by number: the middle one of nine is 19 um wide
    assert results["size"]["wet"]["D50"] == pytest.approx(19, rel=0.03)
    assert results["size"]["dry"]["D50"] == pytest.approx(1.25 * 19, rel=0.03)
    assert results["deviation_percent"]["dry"]["D50"] == pytest.approx(25, abs=4)
    deviations = pd.DataFrame(results["figures"]["shape_deviations"])
    assert set(deviations["parameter"]) == {"circularity"}
    wet, dry = (deviations[deviations["series"] == name] for name in ("wet", "dry"))
    assert wet["within_whiskers"].all(), "discs are round"
    assert not dry["within_whiskers"].any()


def annotate(masks: list[np.ndarray], shift: float, path: Path, image: Image) -> None:
    """Draw the masks as polygons, moved outwards by `shift` px, through the editor's own action."""
    editor = Annotator(None, image, autosave=False)
    for mask in masks:
        rows, cols = np.nonzero(mask)
        x, y, radius = cols.mean(), rows.mean(), math.sqrt(len(rows) / math.pi) + shift
        angle = np.linspace(0, 2 * np.pi, 90, endpoint=False)
        corners = np.stack([x + radius * np.cos(angle), y + radius * np.sin(angle)], 1)
        editor.do("polygon", path=corners.round(2).tolist())
    if path.suffix == ".pnb":
        editor.save(path, with_image=False)
    else:
        exports.write_labels(editor.masks, path)


def test_operators_on_several_images_from_saved_annotations(tmp_path: Path) -> None:
    """Two images, operators who draw 0, 1 and 2 px too far out, twice each (0.1 px apart)."""
    rows = []
    for number in range(2):
        grey, masks = picture(number)
        image = Image(grey, name=f"image {number}")
        for operator, habit in (("A", 0.0), ("B", 1.0), ("C", 2.0)):
            for repeat in (1, 2):
                end = "pnb" if (operator, repeat) == ("B", 2) else "tif"
                name = f"{number}{operator}{repeat}.{end}"
                annotate(masks, habit + 0.1 * (repeat - 1.5), tmp_path / name, image)
                rows.append([f"image {number}", operator, repeat, name])
    pd.DataFrame(rows, columns=["image", "operator", "repeat", "labels"]).to_csv(
        tmp_path / "annotations.csv", index=False
    )
    run = validate(
        "validate_operator",
        {"annotations": str(tmp_path / "annotations.csv"), "pixel_size": "0.5 um", "r": 0},
        folder=tmp_path / "run",
    )
    assert run.ok, run.error
    # diameters are 18 to 19 um and grow by 1 um from operator to operator: s_L = 1 um
    spread = run.results["precision_percent"]["D50"]
    middle = 0.5 * 2 * (19 + 1)
    assert spread["s_L / %"] == pytest.approx(100 * 1.0 / middle, rel=0.1)
    assert spread["s_r / %"] == pytest.approx(100 * 0.1 / math.sqrt(2) / middle, rel=0.5)
    total = math.hypot(spread["s_L / %"], spread["s_r / %"])
    assert spread["s_R / %"] == pytest.approx(total, rel=1e-6)
    # all 18 particles are found by all; six annotations shifted by -1.05 .. 1.05 px
    shifts = np.array([h + s for h in (-1, 0, 1) for s in (-0.05, 0.05)])
    assert run.results["outline_px"]["between_annotations"] == pytest.approx(
        shifts.std(ddof=1), rel=0.05
    )
    sizes = pd.read_csv(tmp_path / "run" / "particles.csv")
    assert len(sizes) == 2 * 9 * 6
    # ICC(A,1) of the model: variance between particles over all variance
    icc = run.results["icc"]["x_A_um, all annotations"]
    between = sizes.groupby(["image", "particle"])["x_A_um"].mean().var(ddof=1)
    expected = between / (between + shifts.var(ddof=1))
    assert icc == pytest.approx(expected, abs=0.02)
    budget = pd.DataFrame(run.results["figures"]["budget"]).set_index("source")
    # 0.92 px of one standard deviation is 0.92 um of diameter, 4.8 % of 19 um: about +-9 %
    half = 1.96 * 100 * shifts.std(ddof=1) / 19
    assert budget.loc["outline", "D50 +"] == pytest.approx(half, rel=0.3)
    assert budget.loc["both", "D50 +"] > budget.loc["outline", "D50 +"]


FAKE = """
import numpy as np
from scipy import ndimage

class CellposeModel:
    def __init__(self, gpu=False):
        assert gpu is False

    def eval(self, picture):
        # one blob swallows its neighbour, as touching cells are merged
        bright = ndimage.binary_dilation(picture > 120, iterations=1)
        return ndimage.label(bright)[0].astype(np.uint16), [], np.zeros(256)
"""


def test_cellpose_is_compared_where_it_is_installed(tmp_path: Path, monkeypatch) -> None:
    for name in ("images", "labels"):
        (tmp_path / name).mkdir()
    grey, masks = picture(3)
    PIL.Image.fromarray(grey).save(tmp_path / "images" / "a.png")
    exports.write_labels(
        MaskSet(tuple(Mask.from_full(mask) for mask in masks)), tmp_path / "labels" / "a.tif"
    )
    given = {
        "images": str(tmp_path / "images"),
        "labels": str(tmp_path / "labels"),
        "segmenter": "classical",
    }
    package = tmp_path / "site" / "cellpose"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("")
    (package / "models.py").write_text(FAKE)
    weights = tmp_path / "weights"
    weights.mkdir()
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "site"))
    monkeypatch.setenv("CELLPOSE_LOCAL_MODELS_PATH", str(weights))

    # installed, but its weights are not: nothing is fetched without being asked for
    run = validate("validate_segmentation", given, folder=tmp_path / "without")
    assert run.ok, run.error
    assert "cellpose" not in run.results["pooled"]
    assert "there are no weights" in run.html.read_text(encoding="utf-8")

    (weights / "cyto3").write_bytes(b"weights")
    run = validate("validate_segmentation", given, folder=tmp_path / "with")
    assert run.ok, run.error
    assert run.results["pooled"]["cellpose"]["n_predicted"] == 9
    assert run.results["pooled"]["cellpose"]["f1"] == 1.0
    scores = pd.read_csv(tmp_path / "with" / "scores.csv").set_index("method")
    # one pixel more all around: discs of 14 to 24 px radius are some 5 % wider
    assert 3 < scores.loc["cellpose", "size_bias_percent"] < 8


def test_an_agglomerate_of_ones_own_from_a_saved_annotation(tmp_path: Path) -> None:
    """Nine discs as primaries and their hull as the agglomerate, clicked with a real segmenter."""
    grey, masks = picture(5)
    PIL.Image.fromarray(grey).save(tmp_path / "own.png")
    image = Image(grey, name="own.png")
    editor = Annotator(Session("classical"), image, autosave=False)
    for mask in masks:
        rows, cols = np.nonzero(mask)
        editor.do("point", x=float(cols.mean()), y=float(rows.mean()))
        editor.do("commit", label="primary")
    hull = [[10, 10], [250, 10], [250, 250], [10, 250]]
    editor.do("polygon", path=hull, label="agglomerate")
    editor.save(tmp_path / "own.pnb", with_image=False)
    (tmp_path / "laser.csv").write_text("size / um;Q3 / %\n80;0\n100;50\n120;100\n")
    given = {
        "image": str(tmp_path / "own.png"),
        "pixel_size": "0.5 um",
        "log": str(tmp_path / "own.pnb"),
        "reference": str(tmp_path / "laser.csv"),
        "segmenter": "classical",
        "r": 0,
    }
    run = validate("batteries", given, folder=tmp_path / "run")
    assert run.ok, run.error
    results = run.results
    assert results["r"] == 3, "the reference counts by volume"
    assert results["primaries"]["n"] == 9
    volumes = np.array(RADII, float) ** 3
    order = np.argsort(RADII)
    reached = (np.cumsum(volumes[order]) - volumes[order] / 2) / volumes.sum()
    median = np.interp(0.5, reached, np.array(RADII, float)[order])  # diameter at 0.5 um a pixel
    assert results["primaries"]["D50"] == pytest.approx(median, rel=0.03)
    assert results["factor"] == pytest.approx(100 / median, rel=0.03)
    assert results["replay"] == {
        "identical": 10,
        "masks": 10,
        "least_iou": 1.0,
        "same_weights": True,
        "log": "own.pnb",
    }
    assert results["truth"] == {}
    assert "Warning: 9 particles of one agglomerate" in run.html.read_text(encoding="utf-8")
    other = validate("batteries", {**given, "log": None}, folder=tmp_path / "without log")
    assert "give the prompt log" in other.error


def test_the_stored_log_belongs_to_the_picture_of_the_notebook() -> None:
    path = Path(__file__).parent.parent / "notebooks" / "batteries.jsonl"
    header, *lines = (json.loads(line) for line in path.read_text("utf-8").splitlines())
    with np.load(path.with_suffix(".npz")) as stored:
        made = dict(stored)
    assert header["image"]["digest"] == Image(made["pixels"]).digest
    assert header["image"]["calibration"]["pixel_size"] == made["pixel_nm"]
    # the truth beside it: 1,200 bodies of which some are seen, all within the outline
    assert made["sizes_nm"].shape == (1200,)
    assert made["primaries"].max() <= 1200
    assert not (made["primaries"][~made["outline"]] > 0).any()
    labels = [line["label"] for line in lines if line["action"] == "commit"]
    wholes = [line for line in lines if line.get("label") == "agglomerate"]
    assert labels.count("primary") == 150
    assert len(wholes) == 1


def test_files_of_one_stem_keep_their_own_truth(tmp_path: Path) -> None:
    """a.png and a.bmp are two pictures; a third has two label images, and that is said."""
    for name in ("images", "labels"):
        (tmp_path / name).mkdir()
    for seed, file in enumerate(("a.png", "a.bmp", "b.png")):
        grey, masks = picture(seed, [r + 3 * seed for r in RADII])
        PIL.Image.fromarray(grey).save(tmp_path / "images" / file)
        truth = MaskSet(tuple(Mask.from_full(mask) for mask in masks)).to_labels()
        if file != "b.png":
            PIL.Image.fromarray(truth.astype(np.uint8)).save(tmp_path / "labels" / file)
        else:
            np.save(tmp_path / "labels" / "b_seg.npy", truth)
            exports.write_labels(MaskSet.from_labels(truth), tmp_path / "labels" / "b.tif")
    given = {"images": str(tmp_path / "images"), "labels": str(tmp_path / "labels")}
    run = validate(
        "validate_segmentation", given | {"segmenter": "classical"}, folder=tmp_path / "run"
    )
    assert run.ok, run.error
    scores = pd.read_csv(tmp_path / "run" / "scores.csv")
    assert set(scores["image"]) == {"a.png", "a.bmp"}
    assert (scores["f1"] > 0.9).all()
    (failed,) = run.results["failed"]
    assert "b.tif, b_seg.npy" in failed["error"]
