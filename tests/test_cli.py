"""The command: exit codes, messages, and a whole report made by it."""

import json
import re

import numpy as np
import pytest
import tifffile
from skimage import data, io

from particle_nb import MaskSet
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
