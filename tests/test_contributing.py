"""The recipes of CONTRIBUTING.md, run on a copy of the package."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
TEXT = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
BLOCK = re.compile(r"<!-- (file: .+?|check) -->\n```python\n(.*?)```", re.DOTALL)


def recipes() -> dict[str, list[tuple[str, str]]]:
    """Blocks of every section: what to do with each, and its text."""
    parts = re.split(r"^## ", TEXT, flags=re.MULTILINE)[1:]
    return {part.split("\n", 1)[0]: BLOCK.findall(part) for part in parts if BLOCK.search(part)}


def apply(order: str, block: str, root: Path) -> str:
    """Carry out one block on the copy; returns the file that it changed."""
    name, _, how = order.removeprefix("file: ").partition(", ")
    path = root / name
    if how == "new":
        assert not path.exists()
        path.write_text(block, encoding="utf-8")
        return name
    text = path.read_text(encoding="utf-8")
    if how == "end":
        path.write_text(text + block, encoding="utf-8")
        return name
    kind, _, rest = how.partition(": ")
    anchor, _, behind = rest.partition(", after: ")
    anchor = anchor.encode().decode("unicode_escape")
    start = text.index(behind) if behind else 0
    at = text.index(anchor, start)
    if not behind:
        assert text.count(anchor) == 1, f"{anchor!r} stands {text.count(anchor)} times in {name}"
    # a bracket that closes the table stands at the left margin
    if behind:
        at = text.index("\n" + anchor, start) + 1
    if kind == "before":
        changed = text[:at] + block + text[at:]
    else:
        assert kind == "replace"
        changed = text[:at] + block.rstrip("\n") + text[at + len(anchor) :]
    path.write_text(changed, encoding="utf-8")
    return name


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("package")
    unneeded = shutil.ignore_patterns("__pycache__", "*.safetensors", "*.png", "*.jpg", "*.jsonl")
    shutil.copytree(ROOT / "particle_nb", place / "particle_nb", ignore=unneeded)
    return place


def test_every_kind_of_addition_has_a_recipe() -> None:
    titles = re.findall(r"^## Add an? (.+)$", TEXT, re.MULTILINE)
    assert titles == ["descriptor", "vendor", "model", "figure", "notebook"]


@pytest.mark.parametrize("name", list(recipes()))
def test_a_recipe_is_true_and_touches_three_files_at_most(
    name: str, package: Path, tmp_path: Path
) -> None:
    blocks = recipes()[name]
    files = {apply(order, block, package) for order, block in blocks if order != "check"}
    assert 1 <= len(files) <= 2  # and the test's own makes three
    (check,) = [block for order, block in blocks if order == "check"]
    where = "import particle_nb\nassert particle_nb.__file__.startswith(PLACE)\n"
    code = where.replace("PLACE", repr(str(package))) + check
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(package)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr


def test_added_lines_keep_the_style(package: Path) -> None:
    """The copy, with every recipe in it, passes the linter."""
    for blocks in recipes().values():
        for order, block in blocks:
            if order.startswith("file: ") and order.endswith(", new"):
                assert (package / order.removeprefix("file: ").partition(", ")[0]).exists()
            assert block
    config = ["--config", str(ROOT / "pyproject.toml")]
    done = subprocess.run(
        [sys.executable, "-m", "ruff", "check", *config, "--no-cache", str(package)],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout
