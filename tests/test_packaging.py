"""The lists of packages agree, and a wheel carries what it needs."""

import os
import re
import runpy
import subprocess
import sys
import sysconfig
import tomllib
import venv
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from skimage import data
from skimage.io import imsave

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


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("hatchling", reason="hatchling is installed with the dev extra")
    folder = tmp_path_factory.mktemp("wheel")
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)],
        cwd=ROOT,
        check=True,
        capture_output=True,
    )
    (made,) = folder.glob("*.whl")
    return made


def test_a_wheel_holds_notebooks_scripts_and_weights(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        assert archive.testzip() is None
    for needed in (
        "particle_nb/notebooks/report.ipynb",
        "particle_nb/notebooks/quickstart.ipynb",
        "particle_nb/widgets/js/widget.mjs",
        "particle_nb/widgets/prompt_canvas.css",
        "particle_nb/models/embedded/segmenter.safetensors",
        "particle_nb/core/masks/masks.py",
    ):
        assert needed in names, f"{needed} is not in the wheel"
    outside = ("training/", "tests/", "oracles/", "benchmarks/")
    assert not [name for name in names if name.startswith(outside)]


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The scripts of a fresh environment with the wheel in it, and the dependencies of this one."""
    pytest.importorskip("pip", reason="an environment without pip cannot install a wheel")
    place = tmp_path_factory.mktemp("fresh")
    venv.create(place, symlinks=True)
    scripts = place / "bin"
    python = scripts / "python"
    paths = subprocess.run(
        [python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"],
        check=True,
        capture_output=True,
        text=True,
    )
    # packages come from here, but the .pth of an editable install is not read from a path in a .pth
    here = sysconfig.get_path("purelib")
    (Path(paths.stdout.strip()) / "dependencies.pth").write_text(here, encoding="utf-8")
    install = [sys.executable, "-m", "pip", "--python", str(python), "install", "--no-deps"]
    subprocess.run([*install, "--no-index", "--quiet", str(wheel)], check=True, capture_output=True)
    return scripts


def outside(command: list[object], folder: Path) -> subprocess.CompletedProcess[str]:
    """Run a command far from the repository, so that nothing of it is on the path."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "PYTEST", "COV"))}
    # nbconvert's templates are data of the environment, not of its packages
    kept["JUPYTER_PATH"] = str(Path(sys.prefix) / "share" / "jupyter")
    return subprocess.run(
        [str(part) for part in command], cwd=folder, env=kept, capture_output=True, text=True
    )


def test_an_installed_wheel_says_what_it_is(installed: Path, tmp_path: Path) -> None:
    code = "import particle_nb; print(particle_nb.__file__)"
    where = outside([installed / "python", "-c", code], tmp_path).stdout.strip()
    assert Path(where).is_relative_to(installed.parent)
    done = outside([installed / "python", "-m", "particle_nb", "--version"], tmp_path)
    assert done.stdout.split() == ["particle_nb", project()["version"]], done.stderr
    done = outside([installed / "particle-nb", "models"], tmp_path)
    assert done.returncode == 0, done.stderr
    assert "embedded  (segmenter, MIT): here" in done.stdout


def test_an_installed_wheel_makes_a_report(installed: Path, tmp_path: Path) -> None:
    """With the notebook and the weights of the wheel, on a real image outside the repository."""
    imsave(tmp_path / "coins.png", data.coins()[:200, :256], check_contrast=False)
    done = outside(
        [installed / "particle-nb", "report", "coins.png", "--pixel-size", "0.2 mm"], tmp_path
    )
    assert done.returncode == 0, done.stderr[-2000:]
    written = dict(line.split(maxsplit=1) for line in done.stdout.splitlines() if line.strip())
    html = (tmp_path / written["report"]).read_text(encoding="utf-8")
    assert "pnb-small" in html
    assert not re.search(r'(src|href)="https?://[^"]+\.(js|css)', html)
    table = pd.read_csv(tmp_path / written["table"], comment="#")
    # the four whole coins of each row in the cut are about 50 px of 0.2 mm across
    across = table["x_A_um"] / 1000
    assert np.count_nonzero((across > 6) & (across < 14)) >= 8
    assert (tmp_path / written["labels"]).is_file()


def test_what_the_wheel_says_of_itself_is_taken_by_an_index(wheel: Path) -> None:
    """What `twine check` looks at: valid metadata, and a description that is rendered."""
    from packaging.metadata import Metadata

    with zipfile.ZipFile(wheel) as archive:
        (name,) = [name for name in archive.namelist() if name.endswith(".dist-info/METADATA")]
        about = Metadata.from_email(archive.read(name), validate=True)
    assert about.name == "particle_nb"
    assert about.description_content_type == "text/markdown"
    assert len(about.description or "") > 500
    assert about.license_expression == "MIT"
    # pictures and pages of the repository are not there on an index
    page = about.description
    assert re.findall(r"\]\((?!https?://|#)[^)]*\)", page) == []
    assert not re.search(r"<(img|a) |^\[[^\]]+\]:", page, re.MULTILINE)
    # nor is the line that announces a picture; all else is as in the repository
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert "(press `?` in it for the keys)" in readme
    assert "(press `?` in it for the keys)" not in page
    headings = re.findall(r"^#+ .+$", readme, re.MULTILINE)
    assert re.findall(r"^#+ .+$", page, re.MULTILINE) == headings
    fences = re.findall(r"^```.*$", readme, re.MULTILINE)
    assert re.findall(r"^```.*$", page, re.MULTILINE) == fences
    assert len(page) > 0.9 * len(re.sub(r"^!.*$", "", readme, flags=re.MULTILINE))
    for path in re.findall(
        r"\]\((?!https?://|#)([^)\s]+)", re.sub(r"^!.*$", "", readme, flags=re.M)
    ):
        assert f"(`{path}`)" in page
        assert (ROOT / path).exists(), path


@pytest.mark.parametrize(
    ("readme", "shown"),
    [
        ("See [the web](https://example.org) and [below](#below).", None),
        ("As [here](docs/a.md#b).", "As here (`docs/a.md#b`)."),
        ("One.\n\nA long\nline:\n\n![a](b.png)\n\nTwo.\n", "One.\n\nTwo.\n"),
        (
            "One.\n\n![a](b.png)\n\n![c](d.png)\n\nTwo:\n\n```\nx\n```\n",
            "One.\n\nTwo:\n\n```\nx\n```\n",
        ),
        ("![a](https://example.org/a.png)\n", None),
    ],
)
def test_links_into_the_repository_become_paths(readme: str, shown: str | None) -> None:
    pytest.importorskip("hatchling", reason="hatchling is installed with the dev extra")
    found: dict = runpy.run_path(str(ROOT / "hatch_build.py"))
    assert found["index_page"](readme) == (readme if shown is None else shown)


def test_docker_and_binder_name_what_there_is() -> None:
    text = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    for line in re.findall(r"^COPY (.+)$", text, re.MULTILINE):
        *sources, _ = line.split()
        assert all((ROOT / source).exists() for source in sources), line
    assert re.search(r"^COPY .*\bhatch_build\.py\b", text, re.MULTILINE), "the build needs it"
    (start,) = re.findall(r"default_url=/lab/tree/([\w.]+)", text)
    assert (ROOT / "notebooks" / start).is_file()
    version = re.findall(r"^FROM python:(\d+\.\d+)-slim$", text, re.MULTILINE)
    folder = ROOT / ".binder"
    lines = (folder / "requirements.txt").read_text(encoding="utf-8").splitlines()
    (pins,) = [line.split()[1] for line in lines if line.startswith("-c ")]
    assert (folder / pins).resolve() == ROOT / "constraints.txt"
    extras = re.findall(r"\.\[(\w+)\]", "\n".join([text, *lines]))
    assert set(extras) <= set(project()["optional-dependencies"])
    runtime = (folder / "runtime.txt").read_text(encoding="utf-8").strip()
    assert version == [runtime.removeprefix("python-")]
    from packaging.specifiers import SpecifierSet

    assert SpecifierSet(project()["requires-python"]).contains(f"{version[0]}.0")
