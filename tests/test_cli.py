"""The command: exit codes, messages, and a whole report made by it."""

import json
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import tifffile
from skimage import data, io

import particle_nb as pnb
from particle_nb import MaskSet
from particle_nb.batches import read_batch
from particle_nb.cli import main


def test_the_version_and_the_list_of_models(capsys) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["--version"])
    assert stop.value.code == 0
    assert capsys.readouterr().out.startswith("particle_nb ")
    assert main(["models"]) == 0
    listed = capsys.readouterr().out
    for name in ("embedded", "classical", "sam", "facebook/sam-vit"):
        assert name in listed


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["report", "missing.tif"], "no file missing.tif"),
        (["validate", "no_such"], "no notebook 'no_such'"),
        (["validate", "report", "-p", "colour", "red"], "no parameter 'colour'"),
        (["batch", "no-such-folder"], "there is no folder or file 'no-such-folder'"),
    ],
)
def test_bad_input_is_told_in_words_and_exits_2(arguments, message, capsys) -> None:
    assert main(arguments) == 2
    assert message in capsys.readouterr().err


def test_no_verb_prints_the_help(capsys) -> None:
    assert main([]) == 2
    assert "report" in capsys.readouterr().out


def test_a_report_of_two_images_one_of_them_damaged(tmp_path, capsys) -> None:
    coins, broken, out = tmp_path / "coins.png", tmp_path / "broken.tif", tmp_path / "run"
    io.imsave(coins, data.coins(), check_contrast=False)
    broken.write_bytes(b"II*\x00\x08\x00")
    arguments = ["report", str(coins), str(broken), "--segmenter", "classical", "--out", str(out)]
    assert main([*arguments, "--pixel-size", "0.5 um"]) == 0
    printed = capsys.readouterr().out
    results = json.loads((out / "results.json").read_text())
    assert results["ok"]
    assert results["failed"][0]["image"] == str(broken)
    assert "ImageError" in results["failed"][0]["error"]
    about = results["provenance"]
    assert about["images"][0]["scale"] == "0.5 um/px (typed)"
    assert about["segmenter"]["name"] == "classical"
    for name in results["files"].values():
        assert (out / name).is_file(), name
        assert str(out / name) in printed

    html = (out / "report.html").read_text()
    # links that a reader may click are fine, things that the page loads are not
    assert not re.findall(r"<(?:script|link|img|iframe)[^>]*(?:src|href)=[\"']?https?:", html)
    assert "@import url(http" not in html
    assert "Plotly.newPlot" in html
    assert "classical" in html

    labels = tifffile.imread(out / results["files"]["labels"])
    assert labels.shape == data.coins().shape
    count = len(MaskSet.from_labels(labels))
    table = np.genfromtxt(out / "particles.csv", delimiter=",", names=True, dtype=None)
    assert len(table) == count == results["particles"]
    # coins of 21 to 30 px radius: at 0.5 um a pixel their diameters are about 20 to 30 um
    assert 15 < np.median(table["x_A_um"]) < 35


def test_a_report_that_fails_holds_the_error_and_exits_1(tmp_path, capsys) -> None:
    broken, out = tmp_path / "broken.tif", tmp_path / "run"
    broken.write_bytes(b"not a picture")
    assert main(["report", str(broken), "--segmenter", "classical", "--out", str(out)]) == 1
    assert "ImageError" in capsys.readouterr().err
    assert "ImageError" in (out / "report.html").read_text()
    assert json.loads((out / "results.json").read_text())["ok"] is False


def discs(radii: list[float], shift: float = 0.0) -> np.ndarray:
    """Bright discs of known radii on a dark ground, three in a row."""
    y, x = np.mgrid[:300, :300]
    picture = np.full((300, 300), 40.0)
    for k, radius in enumerate(radii):
        row, col = 50 + 100 * (k // 3), 50 + 100 * (k % 3)
        picture[np.hypot(y - row - shift, x - col) < radius] = 200
    return np.random.default_rng(0).normal(picture, 4).clip(0, 255).astype(np.uint8)


def test_a_batch_pools_images_names_the_odd_one_and_resumes(tmp_path, capsys) -> None:
    folder, out = tmp_path / "images", tmp_path / "out"
    folder.mkdir()
    radii = [19, 20, 21] * 3
    for k in range(5):
        io.imsave(folder / f"{k}.png", discs(radii, k / 5), check_contrast=False)
    io.imsave(folder / "odd.png", discs([2 * r for r in radii]), check_contrast=False)
    (folder / "broken.tif").write_bytes(b"II*\x00\x08\x00")
    arguments = ["batch", str(folder), "--pixel-size", "0.5 um", "--segmenter", "classical"]
    assert main([*arguments, "--out", str(out)]) == 0
    printed = capsys.readouterr()
    assert "6 done" in printed.out
    assert "1 failed" in printed.out
    assert "broken.tif: ImageError" in printed.err
    assert "unusual images: odd.png" in printed.out

    # 45 discs of 19, 20 and 21 px radius and nine twice as large, at 0.5 um a pixel: by volume
    # the large ones hold 9 * 8 of 45 + 9 * 8 parts, so that the pooled median is one of them
    median = float(re.search(r"D50,3\s+([\d.]+) um", printed.out)[1])
    assert 38 <= median <= 42
    summary = np.genfromtxt(
        out / "summary.csv", delimiter=",", names=True, dtype=None, encoding="utf-8"
    )
    assert summary["image"][0] == "odd.png"
    assert summary["n"].tolist() == [9] * 6
    assert summary["D50_um"][1:] == pytest.approx([20] * 5, rel=0.04)
    page = (out / "report.html").read_text(encoding="utf-8")
    assert page.count("Plotly.newPlot") >= 2
    assert not re.findall(r"<(?:script|link|img|iframe)[^>]*(?:src|href)=[\"']?https?:", page)
    # the odd image heads the table, and what failed is said
    assert "<tr class=odd><td>odd.png</td>" in page.split("<tbody>")[2][:60]
    assert "<td>broken.tif</td><td>ImageError</td>" in page

    before = read_batch(out).images.set_index("image")["seconds"]
    assert main([*arguments, "--out", str(out)]) == 0
    after = read_batch(out).images.set_index("image")["seconds"]
    done = before.index != "broken.tif"
    assert after[done].tolist() == before[done].tolist(), "an image that was done was done again"


def test_a_batch_in_which_nothing_works_exits_1(tmp_path, capsys) -> None:
    (tmp_path / "a.png").write_bytes(b"not a picture")
    arguments = ["batch", str(tmp_path / "a.png"), "--segmenter", "classical"]
    assert main([*arguments, "--out", str(tmp_path / "out")]) == 1
    assert "ImageError" in capsys.readouterr().err


def test_wildcards_where_the_shell_has_none(tmp_path, monkeypatch, capsys) -> None:
    """cmd and PowerShell hand on ``*.tif`` as it stands."""
    from particle_nb import cli

    for name in ("b.tif", "a.tif", "c[1].tif", "d.png"):
        (tmp_path / name).write_bytes(b"x")
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "a.tif").write_bytes(b"x")
    monkeypatch.chdir(tmp_path)
    assert cli._expanded(["*.tif"]) == ["a.tif", "b.tif", "c[1].tif"]
    assert cli._expanded(["b.tif", "[ab].tif", "d.png"]) == ["b.tif", "a.tif", "d.png"]
    assert cli._expanded(["c[1].tif", "missing.tif"]) == ["c[1].tif", "missing.tif"]
    assert cli._expanded(["**/a.tif"]) == ["a.tif", str(Path("sub/a.tif"))]
    for verb in ("report", "batch"):
        assert main([verb, "*.jpg"]) == 2
        assert "no file matches '*.jpg'" in capsys.readouterr().err


def test_a_batch_of_a_wildcard(tmp_path, monkeypatch) -> None:
    folder = tmp_path / "images"
    folder.mkdir()
    for k in range(2):
        io.imsave(folder / f"{k}.png", discs([19, 20, 21] * 3, k / 5), check_contrast=False)
    monkeypatch.chdir(tmp_path)
    arguments = ["batch", "images/*.png", "--pixel-size", "0.5 um", "--segmenter", "classical"]
    assert main([*arguments, "--out", "out"]) == 0
    assert read_batch("out").images["status"].tolist() == ["done", "done"]


def test_a_reference_that_cannot_be_read_costs_nothing_else(tmp_path, capsys) -> None:
    """The particles are there, the report says what is missing and which option settles it."""
    coins, out = tmp_path / "coins.png", tmp_path / "run"
    io.imsave(coins, data.coins(), check_contrast=False)
    table = "Channel Diameter (Lower)\tDiff. Volume\n5\t10\n10\t40\n20\t40\n40\t10\n80\t\n"
    (tmp_path / "ls.csv").write_text(table)
    arguments = ["report", str(coins), "--pixel-size", "0.5 um", "--segmenter", "classical"]
    arguments += ["--reference", str(tmp_path / "ls.csv")]
    assert main([*arguments, "--out", str(out)]) == 0
    assert "names no unit of size" in capsys.readouterr().err
    assert (out / "particles.csv").is_file()
    assert "names no unit" in (out / "report.html").read_text("utf-8")
    options = ["--reference-unit", "um", "--classes", "lower", "--columns", "0", "1"]
    options += ["--kind", "share", "--decimal", ".", "--reference-r", "3"]
    assert main([*arguments, *options, "--out", str(tmp_path / "again")]) == 0
    assert "reference" not in capsys.readouterr().err
    assert "ls.csv" in (tmp_path / "again" / "report.html").read_text("utf-8")


def test_a_report_carries_classes(tmp_path, capsys) -> None:
    """Learned on some of the coins, told of all; a file that is not there is refused at once."""
    coins, out = tmp_path / "coins.png", tmp_path / "run"
    io.imsave(coins, data.coins(), check_contrast=False)
    image = pnb.read_image(coins, pixel_size="0.5 um")
    session = pnb.Session("classical")
    masks, _ = pnb.cascade(session.propose(image, progress=False), image, pnb.FilterSettings())
    features = session.features(image, masks)
    order = np.argsort(features["log_x_A_nm"])
    labels = dict.fromkeys(order[:5].tolist(), "small") | dict.fromkeys(
        order[-5:].tolist(), "large"
    )
    pnb.ShapeClassifier(reject=0, novelty=0).fit(features, labels).save(tmp_path / "my.pnbclasses")
    arguments = ["report", str(coins), "--pixel-size", "0.5 um", "--segmenter", "classical"]
    assert main([*arguments, "--classes", str(tmp_path / "none.pnbclasses")]) == 2
    assert "none.pnbclasses" in capsys.readouterr().err
    arguments += ["--classes", str(tmp_path / "my.pnbclasses"), "--out", str(out)]
    assert main(arguments) == 0
    table = pd.read_csv(out / "particles.csv")
    assert table["class"].isin(["small", "large"]).all()
    told = session.classify(image, masks, pnb.ShapeClassifier.load(tmp_path / "my.pnbclasses"))
    assert table["class"].tolist() == told["class"].tolist()
    page = (out / "report.html").read_text("utf-8")
    assert "5 of large" in page
    assert "beside our own" in page
