"""The notebooks run from top to bottom, offline, with their own defaults."""

import ast
import os
from pathlib import Path

import nbformat
import pytest

from particle_nb import validate

NOTEBOOKS = sorted((Path(__file__).parent.parent / "notebooks").glob("*.ipynb"))
#: Lines of a function that may stand in a notebook; a longer one belongs into the package.
LONGEST_FUNCTION = 15


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebooks_are_stored_without_outputs(path: Path) -> None:
    book = nbformat.read(path, as_version=4)
    nbformat.validate(book)
    for cell in book.cells:
        assert not cell.get("outputs"), "outputs belong into reports, not into the repository"
        assert cell.get("execution_count") is None
    assert "widgets" not in book.metadata


def functions(source: str) -> list[tuple[str, int]]:
    """Name and length in lines of every function and class of a cell."""
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Lambda)
    found = [node for node in ast.walk(ast.parse(source)) if isinstance(node, kinds)]
    return [
        (getattr(node, "name", "lambda"), (node.end_lineno or node.lineno) - node.lineno + 1)
        for node in found
    ]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_long_functions_stand_in_the_package_where_they_have_tests(path: Path) -> None:
    cells = [c for c in nbformat.read(path, as_version=4).cells if c.cell_type == "code"]
    assert cells
    for cell in cells:
        for name, lines in functions(cell.source):
            assert lines <= LONGEST_FUNCTION, f"{path.name}: {name} has {lines} lines"


def test_the_walk_sees_functions_within_functions_and_classes() -> None:
    long = "\n".join(
        ["def outer():", "    def inner():", *["        x = 1"] * 20, "    return inner"]
    )
    assert functions(long) == [("outer", 23), ("inner", 21)]
    assert functions("class A:\n    x = 1") == [("A", 2)]


@pytest.mark.parametrize("name", [path.stem for path in NOTEBOOKS if path.stem != "report"])
def test_a_notebook_runs_from_top_to_bottom(name: str, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    keep = os.environ.get("PARTICLE_NB_EXECUTED")  # where `make docs` looks for what ran here
    run = validate(name, out=tmp_path, folder=Path(keep) / name if keep else None)
    assert run.ok, run.error
    assert run.html.stat().st_size > 100_000
    book = nbformat.read(run.notebook, as_version=4)
    silent = [c for c in book.cells if c.cell_type == "code" and c.execution_count is None]
    assert not silent, "a cell did not run"
