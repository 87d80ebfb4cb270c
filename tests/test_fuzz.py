"""A minute of `python -m tests.fuzz` with the same inputs each time."""

from __future__ import annotations

import logging
import sys
from pathlib import Path
from typing import Any

import hypothesis
import pytest

pytest.importorskip("resource", reason="memory is measured as POSIX does")
sys.path.insert(0, str(Path(__file__).parent.parent))
from tests import fuzz


@pytest.fixture(autouse=True)
def _silent() -> Any:
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


@pytest.mark.parametrize("name", sorted(fuzz.READERS))
def test_good_inputs_are_read(name: str, tmp_path: Path) -> None:
    for seed, data in fuzz.READERS[name].seeds().items():
        path = tmp_path / seed.replace("/", "_") / seed.replace("/", "_")
        path.parent.mkdir()
        path.write_bytes(data)
        if seed == "stack.tif":
            continue  # refused until a page is named
        fuzz.READERS[name].use(path)


@hypothesis.settings(
    max_examples=700,
    derandomize=True,
    database=None,
    deadline=None,
    suppress_health_check=list(hypothesis.HealthCheck),
)
@hypothesis.given(fuzz.cases())
def test_changed_inputs_get_named_errors_in_time(case: Any) -> None:
    (name, seed), changes = case
    fuzz.check(name, seed, changes)


def test_the_check_finds_what_it_looks_for(monkeypatch: pytest.MonkeyPatch) -> None:
    def wrong(path: Path) -> None:
        raise KeyError("x")

    for use in (wrong, lambda path: sum(range(10**7))):
        monkeypatch.setitem(fuzz.READERS, "csv", fuzz.Reader(lambda: {"a": b"1"}, use))
        monkeypatch.setattr(fuzz, "SECONDS", 0.01)
        with pytest.raises(fuzz.WrongAnswerError):
            fuzz.check("csv", "a", [("flip", 0, 0)])
