"""The notebooks run from top to bottom, offline, with their own defaults."""

import os
from pathlib import Path

import nbformat
import pytest

from particle_nb import validate

NOTEBOOKS = sorted((Path(__file__).parent.parent / "notebooks").glob("*.ipynb"))


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebooks_are_stored_without_outputs(path: Path) -> None:
    book = nbformat.read(path, as_version=4)
    nbformat.validate(book)
    for cell in book.cells:
        assert not cell.get("outputs"), "outputs belong into reports, not into the repository"
        assert cell.get("execution_count") is None
    assert "widgets" not in book.metadata


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
