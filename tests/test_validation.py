"""Runs of notebooks: what results.json holds, failing cells, unknown parameters, collecting."""

import json
from pathlib import Path

import nbformat
import numpy as np
import pytest

from particle_nb import DataError, collect, validate
from particle_nb.cli import main
from particle_nb.validation import notebook_parameters, write_json

CODE = """
from pathlib import Path
import numpy as np
from particle_nb import validation
if limit < 0:
    raise ValueError(f"limit is {limit}, below 0")
validation.write_json(
    Path(out) / "results.json",
    {"size": {"D50": np.float32(limit / 4), "D90": np.nan}, "figures": {"x": np.arange(3)}},
)
print("the last line")
"""


@pytest.fixture
def notebook(tmp_path: Path) -> Path:
    """A notebook of one parameter, which fails below 0."""
    book = nbformat.v4.new_notebook(
        cells=[
            nbformat.v4.new_code_cell(
                'limit = 2  # of something\nout = "."', metadata={"tags": ["parameters"]}
            ),
            nbformat.v4.new_code_cell(CODE),
        ],
        metadata={
            "kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}
        },
    )
    path = tmp_path / "small.ipynb"
    nbformat.write(book, path)
    return path


def test_a_run_leaves_notebook_page_and_results(notebook: Path, tmp_path: Path) -> None:
    run = validate(str(notebook), {"limit": np.int64(10)}, tmp_path / "runs")
    assert run.ok, run.error
    assert run.folder.parent == tmp_path / "runs"
    results = json.loads((run.folder / "results.json").read_text(encoding="utf-8"))
    assert results["size"] == {"D50": 2.5, "D90": None}
    assert results["figures"] == {"x": [0, 1, 2]}
    assert results["parameters"] == {"limit": 10}
    assert results["ok"] is True
    assert results["software"]["numpy"] == np.__version__
    assert "the last line" in run.html.read_text(encoding="utf-8")
    assert "limit = 10" in run.notebook.read_text(encoding="utf-8")
    # the folder that the notebook wrote to is not a parameter that a user may set
    assert list(notebook_parameters(str(notebook))) == ["limit"]


def test_a_failing_cell_leaves_the_error_in_the_report(
    notebook: Path, tmp_path: Path, capsys
) -> None:
    run = validate(str(notebook), {"limit": -1}, folder=tmp_path / "run")
    assert not run.ok
    assert run.error == "ValueError: limit is -1, below 0"
    page = run.html.read_text(encoding="utf-8")
    assert "limit is -1, below 0" in page
    assert "the last line" not in page.split("limit is -1, below 0")[-1]
    assert json.loads((run.folder / "results.json").read_text())["error"] == run.error

    assert main(["validate", str(notebook), "-p", "limit", "-1", "--out", str(tmp_path)]) == 1
    assert "limit is -1" in capsys.readouterr().err


def test_results_of_an_earlier_run_do_not_survive_a_failure(notebook: Path, tmp_path: Path) -> None:
    assert validate(str(notebook), folder=tmp_path / "run").results["size"]["D50"] == 0.5
    assert "size" not in validate(str(notebook), {"limit": -1}, folder=tmp_path / "run").results


def test_unknown_parameters_and_notebooks_are_refused_with_the_known(
    notebook: Path, tmp_path: Path
) -> None:
    with pytest.raises(DataError, match=r"no parameter 'limits'; it has limit\."):
        validate(str(notebook), {"limits": 3}, tmp_path / "runs")
    with pytest.raises(DataError, match="no parameter 'out'"):
        validate(str(notebook), {"out": "elsewhere"}, tmp_path / "runs")
    with pytest.raises(DataError, match=r"there are .*validate_metrology"):
        validate("validate_colour", out=tmp_path / "runs")
    assert not (tmp_path / "runs").exists()


def test_collect_makes_one_row_a_run(notebook: Path, tmp_path: Path) -> None:
    for limit in (1, 2, -3):
        validate(str(notebook), {"limit": limit}, folder=tmp_path / "runs" / f"run {limit}")
    table = collect(tmp_path / "runs").set_index("run")
    assert sorted(table.index) == ["run -3", "run 1", "run 2"]
    assert table.loc["run 2", "size.D50"] == 0.5
    assert table.loc["run 1", "parameters.limit"] == 1
    assert table.loc["run -3", "error"].startswith("ValueError")
    assert not table.loc["run -3", "ok"]
    assert not [name for name in table if name.startswith(("figures", "software"))]


def test_collect_says_where_there_is_nothing(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no run below"):
        collect(tmp_path)
    with pytest.raises(DataError, match="no folder"):
        collect(tmp_path / "nowhere")


def test_a_damaged_result_does_not_hide_the_others(tmp_path: Path) -> None:
    for name, text in (("good", '{"ok": true}'), ("damaged", '{"ok": tr')):
        (tmp_path / name).mkdir()
        (tmp_path / name / "results.json").write_text(text)
    assert collect(tmp_path).set_index("run").loc["good", "ok"]


def test_numbers_that_json_cannot_hold_become_null(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    write_json(path, {"a": [np.inf, np.nan, np.float64(0.1)], "b": np.bool_(True), 3: Path("x")})
    assert json.loads(path.read_text()) == {"a": [None, None, 0.1], "b": True, "3": "x"}
