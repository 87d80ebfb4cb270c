"""The lists of packages agree, and a wheel carries what it needs."""

import re
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PIN = re.compile(r"^([A-Za-z0-9._-]+)==(\S+)$")


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def constraints() -> dict[str, str]:
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pins = [line.split(";")[0].strip() for line in lines if line and not line.startswith("#")]
    return {normal(match[1]): match[2] for match in map(PIN.match, pins) if match}


def project() -> dict:
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def direct(groups: tuple[str, ...] = ("dev",)) -> set[str]:
    about = project()
    wanted = list(about["dependencies"])
    for group in groups:
        wanted += about["optional-dependencies"][group]
    return {normal(re.split(r"[<>=!~\[; ]", requirement)[0]) for requirement in wanted}


def test_every_direct_dependency_is_pinned_and_the_pin_fits() -> None:
    from packaging.requirements import Requirement

    pins = constraints()
    assert len(pins) > 50
    about = project()
    for line in about["dependencies"] + about["optional-dependencies"]["dev"]:
        requirement = Requirement(line)
        assert requirement.specifier.contains(pins[normal(requirement.name)]), line


def test_the_pins_bring_neither_torchvision_nor_cuda() -> None:
    pins = constraints()
    assert pins["torch"] == "2.13.0"
    assert not [name for name in pins if name.startswith(("nvidia", "torchvision", "triton"))]


def test_environment_yml_gives_the_same_set() -> None:
    text = (ROOT / "environment.yml").read_text(encoding="utf-8")
    listed = dict(re.findall(r"^\s+- ([A-Za-z0-9._-]+)==(\S+)$", text, re.MULTILINE))
    listed = {normal(name): version for name, version in listed.items()}
    assert set(listed) == direct()
    pins = constraints()
    assert listed == {name: pins[name] for name in listed}
    assert "-c constraints.txt" in text


def test_a_wheel_holds_notebooks_scripts_and_weights(tmp_path: Path) -> None:
    pytest.importorskip("hatchling", reason="hatchling is installed with the dev extra")
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)],
        cwd=ROOT,
        check=True,
        capture_output=True,
    )
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        assert archive.testzip() is None
    for needed in (
        "particle_nb/notebooks/report.ipynb",
        "particle_nb/notebooks/quickstart.ipynb",
        "particle_nb/widgets/prompt_canvas.js",
        "particle_nb/models/embedded/segmenter.safetensors",
        "particle_nb/core/masks.py",
    ):
        assert needed in names, f"{needed} is not in the wheel"
    site = tmp_path / "site"
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(site)
    done = subprocess.run(
        [sys.executable, "-m", "particle_nb", "--version"],
        cwd=tmp_path,
        env={"PYTHONPATH": str(site), "PATH": ""},
        check=True,
        capture_output=True,
        text=True,
    )
    assert done.stdout.split() == ["particle_nb", project()["version"]]
