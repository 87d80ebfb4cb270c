"""Runs of notebooks: what results.json holds, failing cells, unknown parameters, collecting."""

import json
import re
from pathlib import Path
from urllib.parse import unquote

import nbformat
import numpy as np
import pytest

from particle_nb import DataError, collect, validate
from particle_nb.cli import main
from particle_nb.validation.results import write_json
from particle_nb.validation.running import notebook_parameters

CODE = """
from pathlib import Path
from urllib.parse import unquote
import numpy as np
from particle_nb import validation
if limit < 0:
    raise ValueError(f"limit is {limit}, below 0")
validation.results.write_json(
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


def test_the_page_of_many_runs_links_them_failures_first(notebook: Path, tmp_path: Path) -> None:
    root = tmp_path / "my runs"
    for limit in (2, -3):
        validate(str(notebook), {"limit": limit}, folder=root / f"run <{limit}>")
    (root / "damaged").mkdir()
    (root / "damaged" / "results.json").write_text('{"ok": tr')
    collect(root)
    page = (root / "index.html").read_text(encoding="utf-8")
    assert "3 runs, 2 failed" in page
    body = page.split("<tbody>")[1]
    assert body.index("limit is -3, below 0") < body.index('class="ok"')
    assert body.index("damaged or was not finished") < body.index('class="ok"')
    # the headline: numbers of the run that names none itself
    assert "<dt>size.D50</dt><dd>0.5</dd>" in body
    links = re.findall(r'href="([^"]*)"', page)
    assert len(links) == 2 * 2 + 1
    for link in links:
        assert (root / unquote(link)).is_file(), link
    assert "<script" not in page
    assert "run <2>" not in page, "a folder's name went into the page as markup"

    (root / "index.html").unlink()
    collect(root, index=False)
    assert not (root / "index.html").exists()


def test_a_headline_of_the_notebook_goes_first(tmp_path: Path) -> None:
    write_json(
        tmp_path / "results.json", {"ok": True, "n": 7, "headline": {"D50": "0.5 um", "CV": 0.25}}
    )
    collect(tmp_path)
    page = (tmp_path / "index.html").read_text(encoding="utf-8")
    assert "<dt>D50</dt><dd>0.5 um</dd><dt>CV</dt><dd>0.25</dd>" in page
    assert "<dt>n</dt>" not in page


def test_a_run_that_was_killed_is_no_success(notebook: Path, tmp_path: Path, monkeypatch) -> None:
    import papermill

    def killed(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(papermill, "execute_notebook", killed)
    with pytest.raises(KeyboardInterrupt):
        validate(str(notebook), folder=tmp_path / "runs" / "one")
    table = collect(tmp_path / "runs")
    assert not table["ok"].iloc[0]
    assert table["error"].iloc[0] == "not finished"


def test_the_command_collects(tmp_path: Path, capsys) -> None:
    for name, ok in (("good", True), ("bad", False)):
        (tmp_path / name).mkdir()
        write_json(tmp_path / name / "results.json", {"ok": ok, "n": 7})
    assert main(["collect", str(tmp_path)]) == 0
    printed = capsys.readouterr()
    assert "failed  bad" in printed.err
    assert "good" not in printed.err
    assert (tmp_path / "index.html").is_file()
    assert (tmp_path / "runs.csv").read_text().splitlines()[0].startswith("run,ok,n")
    assert main(["collect", str(tmp_path / "nowhere")]) == 2


@pytest.mark.parametrize(
    ("metadata", "message"),
    [
        ({}, "does not say in which language"),
        ({"kernelspec": {"name": "python3", "display_name": "Python 3"}}, "does not say in which"),
        ({"language_info": {"name": "python"}}, "names no kernel"),
        (
            {"kernelspec": {"name": "ir", "display_name": "R", "language": "R"}},
            "is written in R",
        ),
    ],
)
def test_a_notebook_without_a_language_is_refused_in_words(
    metadata: dict, message: str, notebook: Path, tmp_path: Path
) -> None:
    book = nbformat.read(notebook, as_version=4)
    book.metadata = nbformat.from_dict(metadata)
    nbformat.write(book, notebook)
    with pytest.raises(DataError, match=message) as caught:
        validate(str(notebook), {"limit": 2}, tmp_path / "runs")
    assert notebook.name in str(caught.value)
    assert not (tmp_path / "runs").exists()


def test_a_file_that_is_no_notebook_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.ipynb"
    path.write_text("not JSON")
    with pytest.raises(DataError, match="is no notebook"):
        validate(str(path), out=tmp_path / "runs")
