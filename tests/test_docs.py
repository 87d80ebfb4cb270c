"""The documentation is true: its code runs, its links lead somewhere, its numbers hold."""

import ast
import contextlib
import dataclasses
import importlib.util
import io
import os
import re
import shutil
import sys
import textwrap
import warnings
from pathlib import Path
from types import ModuleType

import nbformat
import numpy as np
import pytest
import vendor_files
from skimage import data
from skimage.io import imsave

import particle_nb as pnb
from particle_nb import cli, validation

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
PAGES = sorted(path for path in DOCS.rglob("*.md"))
NUMBER = re.compile(r"-?\d+\.?\d*")
FENCE = re.compile(r"^( *)```(\w+)[^\n]*\n(.*?)^\1```$", re.M | re.S)
#: Set by `make docs`: the site that it built. Without it there is none to look at.
SITE = os.environ.get("PARTICLE_NB_SITE", "")


def tool(name: str) -> ModuleType:
    """One of the scripts that build the site."""
    spec = importlib.util.spec_from_file_location(name, DOCS / "tools" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


execution, rendering, checking = tool("execution"), tool("rendering"), tool("checking")


def blocks(page: Path) -> list[tuple[str, str, int]]:
    """Language, text and first line of every fenced block of a page."""
    text = page.read_text(encoding="utf-8")
    return [
        (found[2], textwrap.dedent(found[3]), text[: found.start()].count("\n") + 2)
        for found in FENCE.finditer(text)
    ]


CODE = [page for page in PAGES if any(kind == "python" for kind, _, _ in blocks(page))]


# ------------------------------------------------------------------------------ the code runs


@pytest.fixture(scope="module")
def files(tmp_path_factory) -> Path:
    """The files that the pages name: micrographs, a reference, small stand-ins of large models."""
    torch = pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")
    import sam_weights

    folder = tmp_path_factory.mktemp("docs")
    imsave(folder / "coins.png", data.coins(), check_contrast=False)
    vendor_files.tiff(folder / "sem.tif", [(34682, vendor_files.fei())])
    small = dataclasses.replace(pnb.synthetic.preset("sparse spheres"), shape=(256, 256), count=15)
    (folder / "images").mkdir()
    for place in range(3):
        scene = pnb.synthetic.scene(small, rng=place)
        imsave(folder / "images" / f"{place}.png", scene.image.pixels, check_contrast=False)
    scale = 1 / scene.image.calibration.to("um")
    vendor_files.tifffile.imwrite(
        folder / "powder.tif",
        scene.image.pixels,
        imagej=True,
        resolution=(scale, scale),
        metadata={"unit": "um"},
    )
    rows = "".join(f"{x};{100 * q:.1f}\n" for x, q in ((0.2, 0), (0.4, 0.3), (0.8, 0.9), (1.6, 1)))
    (folder / "qicpic.csv").write_text("x_o / um;Q3 / %\n" + rows, encoding="utf-8")
    sam, checkpoint = sam_weights.save(sam_weights.random_sam(layers=1, side=256, mlp=256), folder)
    sam.rename(folder / "sam-vit-base")
    checkpoint.rename(folder / "sam_vit_b_01ec64.pth")
    torch.manual_seed(1)
    sizes = {"hidden_size": 32, "num_attention_heads": 2, "intermediate_size": 48}
    dpt = transformers.DPTForDepthEstimation(
        transformers.DPTConfig(
            **sizes,
            num_hidden_layers=4,
            image_size=64,
            patch_size=16,
            backbone_out_indices=[0, 1, 2, 3],
            neck_hidden_sizes=[8, 8, 8, 8],
            fusion_hidden_size=8,
        )
    )
    dpt.save_pretrained(folder / "dpt-large")
    return folder


@pytest.mark.parametrize("page", CODE, ids=lambda page: page.relative_to(DOCS).as_posix())
def test_the_code_of_a_page_runs_from_top_to_bottom(
    page: Path, files: Path, tmp_path: Path, monkeypatch
) -> None:
    for path in files.iterdir():
        (tmp_path / path.name).symlink_to(path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(validation, "validate", told)
    names: dict = {"__name__": "page"}
    said, shown = None, io.StringIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of small counts, as the pages say
        for kind, text, line in blocks(page):
            where = f"{page.name}, line {line}"
            if kind == "python":
                shown = io.StringIO()
                with contextlib.redirect_stdout(shown):
                    said = run(text, where, names)
            elif kind == "text" and shown.getvalue():
                alike(shown.getvalue(), text, where)
            elif kind == "text" and said is not None:
                alike(repr(said), text, where)


def alike(found: str, written: str, where: str) -> None:
    """The same words; numbers to 1 % or to the last decimal, as machines and libraries differ."""
    words = [NUMBER.sub("#", text).split() for text in (found, written)]
    assert words[0] == words[1], where
    for mine, theirs in zip(NUMBER.findall(found), NUMBER.findall(written), strict=True):
        decimals = len(theirs.partition(".")[2])
        slack = max(0.01 * abs(float(theirs)), 1.001 * 10**-decimals if decimals else 0)
        assert float(mine) == pytest.approx(float(theirs), rel=0, abs=slack), where


def told(name: str, parameters: dict, out: str) -> validation.running.Run:
    """In place of a notebook's run, which its own test makes: name and parameters must be known."""
    assert set(parameters) <= set(validation.running.notebook_parameters(name))
    folder = Path(out) / name
    folder.mkdir(parents=True)
    results = {"notebook": name, "ok": True, "seconds": 1.0}
    validation.results.write_json(folder / "results.json", results)
    return validation.running.Run(
        name, folder, folder / f"{name}.html", folder / f"{name}.ipynb", results
    )


def run(text: str, where: str, names: dict) -> object:
    """Execute a block as a notebook's cell; return the value of its last line, where it has one."""
    tree = ast.parse(text, where)
    tail = tree.body.pop() if tree.body and isinstance(tree.body[-1], ast.Expr) else None
    exec(compile(tree, where, "exec"), names)
    if not isinstance(tail, ast.Expr):
        return None
    return eval(compile(ast.Expression(tail.value), where, "eval"), names)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(DOCS).as_posix())
def test_commands_are_those_that_there_are(page: Path) -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z]+):", makefile, re.M))
    import shlex

    for kind, text, _ in blocks(page):
        for line in text.splitlines() if kind == "console" else ():
            words = shlex.split(line, comments=True)
            if words[0] == "particle-nb":
                assert cli._parser().parse_args(words[1:]).verb == words[1]
            elif words[0] == "make":
                assert set(words[1:]) <= targets, line
            elif words[:2] == ["pip", "install"]:
                pins = (ROOT / "constraints.txt").read_text(encoding="utf-8")
                names = {re.split(r"[\[=]", word)[0] for word in words[2:] if word[0] != "-"}
                known = {"particle_nb"} | set(re.findall(r"^([\w.-]+)==", pins, re.M))
                assert names <= known, f"{names - known} of {line!r} are not pinned"
            else:
                assert words[:2] == ["hf", "download"], line


def test_most_pages_have_code_that_is_run() -> None:
    assert len(CODE) >= 15
    assert sum(kind == "python" for page in CODE for kind, _, _ in blocks(page)) >= 50


# ------------------------------------------------------------------------- the numbers are true


def cells(page: str, first: str) -> list[list[str]]:
    """Rows of the first table of a page whose heading begins so."""
    text = (DOCS / page).read_text(encoding="utf-8")
    start = text.index(f"| {first}")
    rows = text[start:].split("\n\n")[0].splitlines()[2:]
    return [[cell.strip() for cell in row.strip("|").split("|")] for row in rows]


def number(text: str) -> float:
    return float(text.replace("−", "-").replace("%", "").strip())


def test_medians_by_number_and_volume_of_a_lognormal() -> None:
    for width, ratio in cells("explanation/distributions.md", "geometric standard"):
        truth = np.exp(3 * np.log(float(width)) ** 2)  # Hatch and Choate 1929
        assert float(ratio) == pytest.approx(truth, abs=0.005)


def test_perimeters_of_discs() -> None:
    from skimage.measure import perimeter, perimeter_crofton

    from particle_nb.core.shape.contour import outline

    def plain(disc: np.ndarray) -> float:
        from skimage.measure import find_contours

        line = find_contours(disc.astype(float), 0.5)[0]
        return float(np.linalg.norm(np.diff(line, axis=0), axis=1).sum())

    def ours(disc: np.ndarray) -> float:
        line = outline(disc)
        return float(np.linalg.norm(line - np.roll(line, 1, axis=0), axis=1).sum())

    methods = [ours, lambda d: perimeter(d, 4), lambda d: perimeter_crofton(d, 4), plain]
    rows = cells("explanation/outline.md", "perimeter of a perfect disc")
    rng = np.random.default_rng(0)
    sizes = {8: 300, 20: 300, 40: 60, 200: 10}  # px across, and discs that make the mean steady
    for column, (size, count) in enumerate(sizes.items(), start=1):
        y, x = np.mgrid[: size + 7, : size + 7]
        found = []
        for dx, dy in rng.random((count, 2)):
            disc = np.hypot(x - size / 2 - 3 - dx, y - size / 2 - 3 - dy) < size / 2
            found.append([100 * (method(disc) / (np.pi * size) - 1) for method in methods])
        written = [number(row[column]) for row in rows]
        assert np.mean(found, axis=0) == pytest.approx(written, abs=0.3 if size < 10 else 0.15)


def test_shape_limits_between_parameters() -> None:
    # pitfalls.md: convexity 0.95 and roundness 0.8 force a circularity of 0.85
    assert 0.95 * np.sqrt(0.8) == pytest.approx(0.85, abs=0.005)
    assert np.square([0.7, 0.8]) == pytest.approx([0.49, 0.64])
    assert np.sqrt(4 * 1000 / np.pi) == pytest.approx(35.7, abs=0.05)


# ---------------------------------------------------------------------------- how it is built


def notebook(*made: nbformat.NotebookNode) -> nbformat.NotebookNode:
    return nbformat.v4.new_notebook(cells=list(made))


def test_outputs_become_parts_of_a_page(tmp_path: Path) -> None:
    v4 = nbformat.v4
    figure = '<div><script>Plotly.newPlot("id", [{"y": [1, 2]}], {"width": 400}, {})</script></div>'
    kinds = [
        {"text/html": "<script>/** * plotly.js v9 */</script>"},
        {"text/html": figure},
        {"application/vnd.plotly.v1+json": {"data": [], "layout": {"title": {"text": "</x>"}}}},
        {"text/html": "<table><tr><td>3</td></tr></table>", "text/plain": "3"},
        {"image/png": "AAAA", "text/plain": "<Image>"},
        {"text/markdown": "**bold**"},
        {"application/vnd.jupyter.widget-view+json": {}, "text/plain": "Box()"},
        {"text/plain": "1 < 2"},
    ]
    outputs = [v4.new_output("display_data", kind) for kind in kinds]
    outputs += [v4.new_output("stream", name=name, text=name) for name in ("stdout", "stderr")]
    code = v4.new_code_cell("1 + 1", outputs=outputs, metadata={"tags": ["hide-input"]})
    injected = v4.new_code_cell("out = 3", metadata={"tags": ["injected-parameters"]})
    path = tmp_path / "a.ipynb"
    nbformat.write(notebook(injected, v4.new_markdown_cell("# Title\n\nText"), code), path)
    page = rendering.render(path, "intro", "../")
    assert page.title == "Title"
    assert "out = 3" not in page.markdown
    assert '??? quote "Code"' in page.markdown
    assert "**bold**" in page.markdown
    whole = "".join(page.outputs)
    assert whole.count("data-figure") == 2
    assert "plotly.js v9" not in whole
    assert "Box()" not in whole
    assert "stderr" not in whole
    assert "1 &lt; 2" in whole
    assert page.files["assets/notebooks/a-3.png"] == b"\0\0\0"
    scripts = {name: text for name, text in page.files.items() if name.endswith(".js")}
    assert len(scripts) == 2
    assert all(b"</x>" not in text for text in scripts.values())


def test_a_notebook_is_run_again_when_it_or_the_package_changed(tmp_path: Path) -> None:
    source = execution.NOTEBOOKS / "quickstart.ipynb"
    folder = tmp_path / "quickstart"
    folder.mkdir()
    shutil.copy(source, folder)
    (folder / "results.json").write_text('{"ok": true}', encoding="utf-8")
    now = (folder / source.name).stat().st_mtime
    assert execution.fresh(source, folder, since=now - 1)
    assert not execution.fresh(source, folder, since=now + 1)
    (folder / "results.json").write_text('{"ok": false}', encoding="utf-8")
    assert not execution.fresh(source, folder, since=now - 1)
    (folder / "results.json").write_text('{"ok": true}', encoding="utf-8")
    book = nbformat.read(source, as_version=4)
    book.cells[1].source += "\n"
    nbformat.write(book, folder / source.name)
    assert not execution.fresh(source, folder, since=0)
    assert not execution.fresh(source, tmp_path / "none", since=0)


def test_broken_links_and_fetched_files_are_found(tmp_path: Path) -> None:
    (tmp_path / "b.html").write_text('<h2 id="there">x</h2>', encoding="utf-8")
    (tmp_path / "a.html").write_text(
        '<a href="b.html#there">1</a><a href="b.html#gone">2</a><a href="c.html">3</a>'
        '<a href="https://example.org/x">4</a><a href="https://nowhere/">5</a>'
        '<script src="https://cdn.example.org/x.js"></script><img src="d.png">'
        '<link rel="canonical" href="https://example.org/"><a href="/b.html">6</a>'
        "<style>@import url(https://example.org/font.css)</style>",
        encoding="utf-8",
    )
    wrong, outside = checking.check(tmp_path)
    assert sorted(re.sub(r"^a\.html: ", "", text) for text in wrong) == [
        "/b.html does not work from a disk",
        "b.html#gone names an anchor that b.html has not",
        "c.html leads nowhere",
        "d.png leads nowhere",
        "fetches https://cdn.example.org/x.js from the network",
        "fetches https://example.org/font.css from the network",
        "https://nowhere/ is no address",
    ]
    assert "https://example.org/x" in outside


def test_packages_that_build_the_docs_are_pinned() -> None:
    import tomllib

    from packaging.requirements import Requirement

    about = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    pins = dict(re.findall(r"^([\w.-]+)==(\S+)$", (ROOT / "constraints.txt").read_text(), re.M))
    for line in about["optional-dependencies"]["docs"]:
        requirement = Requirement(line)
        assert requirement.specifier.contains(pins[requirement.name]), line


# ---------------------------------------------------------------------------- the built site


@pytest.fixture(scope="module")
def site() -> Path:
    if not SITE:
        pytest.skip("`make docs` builds the site and runs this")
    return Path(SITE).resolve()


def test_the_site_holds_together_and_asks_for_nothing(site: Path) -> None:
    wrong, _ = checking.check(site)
    assert not wrong
    assert len(list(site.rglob("plotly*.js"))) == 1
    here = str(ROOT)
    for page in site.rglob("*.html"):
        assert here not in page.read_text(encoding="utf-8"), f"{page} names a path of this machine"


def test_the_site_describes_every_public_name(site: Path) -> None:
    sys.path.insert(0, str(DOCS / "tools"))
    try:
        public = tool("names").public()
    finally:
        sys.path.remove(str(DOCS / "tools"))
    reference = "".join(p.read_text(encoding="utf-8") for p in (site / "reference").glob("*.html"))
    for name, full in public.items():
        if full and name not in ("DESCRIPTORS", "__version__"):
            assert f'id="{full}"' in reference, name


def test_the_site_works_from_a_disk_without_a_network(site: Path) -> None:
    sync = pytest.importorskip("playwright.sync_api")
    browser = next(filter(None, map(shutil.which, ("chromium", "chromium-browser"))), None)
    if browser is None:
        pytest.skip("no Chromium")
    with sync.sync_playwright() as driver:
        chromium = driver.chromium.launch(executable_path=browser, args=["--no-sandbox"])
        page = chromium.new_context(offline=True).new_page()
        wrong: list[str] = []
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on(
            "request",
            lambda request: wrong.append(request.url) if request.url.startswith("http") else None,
        )
        page.goto(f"file://{site}/notebooks/quickstart.html")
        figure = page.locator("[data-figure]").first
        figure.scroll_into_view_if_needed()
        page.wait_for_selector("[data-figure][data-drawn] .plot-container", timeout=60_000)
        page.goto(f"file://{site}/index.html")
        page.locator("[data-md-component=search-query]").click()
        page.keyboard.type("staircase")
        page.wait_for_selector(".md-search-result__item a", state="attached", timeout=30_000)
        found = page.locator(".md-search-result__item a").all()
        assert any("outline" in (link.get_attribute("href") or "") for link in found)
        assert not wrong
        chromium.close()


def test_the_table_of_instruments_is_that_of_the_code() -> None:
    from particle_nb.core.image.vendors import VENDORS

    table = tool("tables").TABLES["vendors"]()
    rows = [line for line in table.splitlines() if line.startswith("| ")][1:]
    rows = [row for row in rows if "---" not in row]
    assert len(rows) == len(VENDORS)
    for vendor in VENDORS:
        (row,) = [row for row in rows if row.startswith(f"| {vendor.name} |")]
        assert all(str(code) in row for code in vendor.tags)
        assert all(mark in row for mark in vendor.marks)
    assert "<!-- table: vendors -->" in (DOCS / "how-to" / "scale.md").read_text("utf-8")
