"""Real JupyterLab, real Chromium: one server and one browser for all browser tests."""

from __future__ import annotations

import ast
import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from board import SHOW

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
CI = os.environ.get("CI", "").lower() == "true"
ROOT_SELECTOR = "[data-testid=prompt-canvas]"
READY = f"{ROOT_SELECTOR}[data-state=ready]"
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "browser: needs JupyterLab and Chromium")
    config.addinivalue_line("markers", "xdist_group(name): tests that one worker runs")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if HERE in item.path.parents:
            # one JupyterLab and one browser for all of them, also under pytest-xdist
            item.add_marker(pytest.mark.xdist_group("browser"))


def _chromium() -> str | None:
    named = os.environ.get("PARTICLE_NB_CHROMIUM")
    for name in (named, "chromium", "chromium-browser", "google-chrome"):
        found = shutil.which(name) if name else None
        if found:
            return found
    return None


def _missing(what: str) -> None:
    text = f"no browser tests: {what}"
    if CI:
        pytest.fail(text)
    pytest.skip(text)


def _free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


@dataclass
class Lab:
    """A running JupyterLab and the folder that it shows."""

    url: str
    folder: Path

    def write(self, name: str, cells: list[str]) -> None:
        """Write a notebook; every cell is code."""
        notebook = {
            "cells": [
                {
                    "cell_type": "code",
                    "id": f"cell{i}",
                    "metadata": {},
                    "execution_count": None,
                    "outputs": [],
                    "source": source,
                }
                for i, source in enumerate(cells)
            ],
            "metadata": {
                "kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}
            },
            "nbformat": 4,
            "nbformat_minor": 5,
        }
        (self.folder / name).write_text(json.dumps(notebook))


@pytest.fixture(scope="session")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    if shutil.which("jupyter-lab", path=str(Path(sys.executable).parent)) is None:
        _missing("JupyterLab is not installed (pip install jupyterlab)")
    home = tmp_path_factory.mktemp("jupyter")
    folder = home / "work"
    folder.mkdir()
    # or a question about news covers the notebook
    settings = home / "SETTINGS" / "@jupyterlab" / "apputils-extension"
    settings.mkdir(parents=True)
    quiet = {"fetchNews": "false", "checkForUpdates": False, "doNotDisturbMode": True}
    (settings / "notification.jupyterlab-settings").write_text(json.dumps(quiet))
    names = ("CONFIG_DIR", "DATA_DIR", "RUNTIME_DIR")
    extra = {f"JUPYTER_{name}": str(home / name.lower()) for name in names}
    extra |= {f"JUPYTERLAB_{name}_DIR": str(home / name) for name in ("WORKSPACES", "SETTINGS")}
    extra |= {"IPYTHONDIR": str(home / "ipython"), "JUPYTER_PLATFORM_DIRS": "0"}
    paths = [str(ROOT), str(HERE.parent), os.environ.get("PYTHONPATH", "")]
    environment = {
        **os.environ,
        **extra,
        "PYTHONPATH": os.pathsep.join(p for p in paths if p),
        "OMP_NUM_THREADS": "2",
        # the coverage of the other tests must not be written from the kernels
        "COVERAGE_PROCESS_START": "",
    }
    port = _free_port()
    command = [
        str(Path(sys.executable).parent / "jupyter-lab"),
        "--no-browser",
        "--allow-root",
        "--ip=127.0.0.1",
        f"--port={port}",
        "--ServerApp.port_retries=0",
        "--IdentityProvider.token=",
        "--PasswordIdentityProvider.password_required=False",
        "--ServerApp.disable_check_xsrf=True",
        "--LabApp.expose_app_in_browser=True",
        "--LabApp.extension_manager=readonly",
        "--LabApp.news_url=None",
        "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate",
        f"--ServerApp.root_dir={folder}",
    ]
    log = home / "lab.log"
    with open(log, "wb") as output:
        server = subprocess.Popen(command, env=environment, stdout=output, stderr=output, cwd=home)
    url = f"http://127.0.0.1:{port}"
    try:
        deadline = time.monotonic() + 60
        while True:
            try:
                urllib.request.urlopen(f"{url}/api/status", timeout=2).read()
                break
            except OSError:
                if server.poll() is not None or time.monotonic() > deadline:
                    pytest.fail(f"JupyterLab did not start:\n{log.read_text()[-3000:]}")
                time.sleep(0.1)
        yield Lab(url, folder)
    finally:
        server.terminate()
        try:
            server.wait(10)
        except subprocess.TimeoutExpired:
            server.kill()


@pytest.fixture(scope="session")
def chromium() -> Iterator[Any]:
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        _missing("playwright is not installed (pip install playwright)")
    path = _chromium()
    if path is None:
        _missing("no Chromium found (Debian: apt-get install chromium)")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=FLAGS)
        yield browser
        browser.close()


@dataclass
class Notebook:
    """A notebook that is open in JupyterLab, with an annotator in it."""

    page: Any
    errors: list[str] = field(default_factory=list)
    strangers: list[str] = field(default_factory=list)

    @property
    def root(self) -> Any:
        return self.page.locator(ROOT_SELECTOR)

    @property
    def canvas(self) -> Any:
        return self.page.locator(f"{READY} canvas.pnb-top")

    def python(self, expression: str) -> Any:
        """Evaluate an expression in the kernel, once it has answered what widgets asked of it.

        Their messages and code come to it on two channels, so that code may overtake them.
        """
        found = self.page.evaluate(
            """async (expression) => {
                const asked = (node) => node.view?.link?.pending?.size > 0;
                for (let look = 0; look < 200; look += 1) {
                    if (![...document.querySelectorAll(".pnb")].some(asked)) break;
                    await new Promise((go) => setTimeout(go, 25));
                }
                const context = window.jupyterapp.shell.currentWidget.context;
                const kernel = context.sessionContext.session.kernel;
                const future = kernel.requestExecute({code: "", silent: false,
                    store_history: false, user_expressions: {value: expression}});
                return (await future.done).content.user_expressions.value;
            }""",
            expression,
        )
        if found["status"] != "ok":
            raise AssertionError(f"{expression}: {found['ename']}: {found['evalue']}")
        return ast.literal_eval(found["data"]["text/plain"])

    def run_all(self) -> None:
        self.page.evaluate("window.jupyterapp.commands.execute('notebook:run-all-cells')")

    def show(self, code: str) -> None:
        """Put other code into the first cell, run it and wait for its annotator.

        The page and the kernel stay: that saves most of what a test of its own would cost.
        """
        from playwright.sync_api import expect

        self.page.evaluate(
            """(code) => {
                document.querySelectorAll('.pnb').forEach((node) => { node.dataset.old = ''; });
                const {content} = window.jupyterapp.shell.currentWidget;
                content.widgets[0].model.sharedModel.setSource(code);
            }""",
            code,
        )
        self.run_all()
        try:
            expect(self.page.locator(f"{READY}:not([data-old])")).to_have_count(1, timeout=120_000)
        except AssertionError:
            said = self.page.locator(".jp-OutputArea").all_inner_texts()
            raise AssertionError(f"no annotator appeared; the cells said {said}") from None
        expect(self.page.locator(".pnb[data-old]")).to_have_count(0)
        self.canvas.scroll_into_view_if_needed()

    def cells(self) -> int:
        return self.page.evaluate(
            "window.jupyterapp.shell.currentWidget.content.model.cells.length"
        )

    def attribute(self, name: str) -> str:
        return self.root.get_attribute(f"data-{name}") or ""

    def wait(self, name: str, value: Any) -> None:
        """Wait until an attribute of the widget has a value."""
        from playwright.sync_api import expect

        expect(self.root).to_have_attribute(f"data-{name}", str(value), timeout=60_000)

    def settled(self, change: Callable[[], None]) -> None:
        """Do something and wait until the kernel's answer is painted."""
        before = self.attribute("mask-seq")
        change()
        from playwright.sync_api import expect

        expect(self.root).not_to_have_attribute("data-mask-seq", before, timeout=60_000)

    def painted(self, change: Callable[[], None], name: str = "mask-seq") -> None:
        """As `settled`, where time is measured: nothing looks at the page in the meantime.

        Each look of Playwright at an attribute takes the page's only thread for about 20 ms.
        """
        self.root.evaluate(
            """(node, name) => { window.painted = new Promise((done, fail) => {
                const seen = new MutationObserver(() => { seen.disconnect(); done(); });
                seen.observe(node, {attributes: true, attributeFilter: [name]});
                setTimeout(() => fail(new Error(`no new ${name}`)), 60000);
            }); window.painted.catch(() => null); }""",
            f"data-{name}",
        )
        change()
        self.page.evaluate("window.painted")

    def view(self) -> dict[str, float]:
        return self.root.evaluate(
            "node => ({...node.view.camera.view, ratio: node.view.camera.ratio})"
        )

    def spot(self, x: float, y: float) -> tuple[float, float]:
        """Where an image position lies on the page."""
        box, view = self.canvas.bounding_box(), self.view()
        size = self.root.evaluate("node => node.view.camera.size")
        return (
            box["x"] + (x + 0.5 - view["x"]) * view["scale"] * box["width"] / size["width"],
            box["y"] + (y + 0.5 - view["y"]) * view["scale"] * box["height"] / size["height"],
        )

    def click(self, x: float, y: float, **options: Any) -> None:
        self.page.mouse.click(*self.spot(x, y), **options)

    def drag(self, path: list[tuple[float, float]]) -> None:
        spots = [self.spot(x, y) for x, y in path]
        self.page.mouse.move(*spots[0])
        self.page.mouse.down()
        for spot in spots[1:]:
            self.page.mouse.move(*spot, steps=4)
        self.page.mouse.up()

    def pixels(self) -> np.ndarray:
        """What the page shows inside the canvas, uint8 (h, w, 3), one pixel per CSS pixel."""
        from PIL import Image as PillowImage

        shot = self.canvas.screenshot(scale="css")
        return np.asarray(PillowImage.open(BytesIO(shot)).convert("RGB"))


@pytest.fixture(scope="session")
def open_notebook(lab: Lab, chromium: Any) -> Iterator[Callable[..., Notebook]]:
    """Open a notebook of given cells in a page of its own, run it, wait for the annotator."""
    from playwright.sync_api import Error, expect

    opened: list[Notebook] = []
    contexts = []

    def attempt(name: str, wait: bool, options: dict[str, Any]) -> Notebook:
        context = chromium.new_context(
            viewport={"width": 1500, "height": 1000}, service_workers="block", **options
        )
        contexts.append(context)
        page = context.new_page()
        notebook = Notebook(page)
        page.on("pageerror", lambda error: notebook.errors.append(f"{name}: {error}"))

        def asked(request: Any) -> None:
            if not request.url.startswith(
                (lab.url, lab.url.replace("http", "ws"), "data:", "blob:")
            ):
                notebook.strangers.append(request.url)

        page.on("request", asked)
        page.goto(f"{lab.url}/lab/tree/{name}?reset")
        page.wait_for_function("window.jupyterapp !== undefined", timeout=60_000)
        page.evaluate(
            """async () => {
                const app = window.jupyterapp;
                await app.started;
                await app.restored;
            }"""
        )
        page.wait_for_function("window.jupyterapp.shell.currentWidget?.context !== undefined")
        page.evaluate(
            """async () => {
                const context = window.jupyterapp.shell.currentWidget.context;
                await context.ready;
                await context.sessionContext.ready;
                await window.jupyterapp.commands.execute('application:toggle-left-area')
                    .catch(() => null);
            }"""
        )
        notebook.run_all()
        if wait:
            try:
                expect(page.locator(READY)).to_have_count(1, timeout=120_000)
            except AssertionError:
                said = page.locator(".jp-OutputArea").all_inner_texts()
                raise AssertionError(f"no annotator appeared; the cells said {said}") from None
            page.locator(READY).scroll_into_view_if_needed()
        opened.append(notebook)
        return notebook

    def run(name: str, cells: list[str], wait: bool = True, **options: Any) -> Notebook:
        lab.write(name, cells)
        try:
            return attempt(name, wait, options)
        except Error as error:
            # the only failure that may be tried again: the browser itself lost its page
            if "Target closed" not in str(error) and "TargetClosed" not in type(error).__name__:
                raise
            print(f"one retry after {error}")
            return attempt(name, wait, options)

    yield run
    for context in contexts:
        context.close()
    for notebook in opened:
        assert notebook.errors == []
        assert notebook.strangers == []


@pytest.fixture(scope="session")
def bench(open_notebook: Callable[..., Notebook]) -> Notebook:
    """One page with a kernel that many tests use in turn, each with `Notebook.show`."""
    return open_notebook("bench.ipynb", [SHOW.format(name="bench")])


@pytest.fixture
def clean() -> Iterator[Callable[[Notebook], Notebook]]:
    """Fail the test in which a page raised an error or asked another host."""
    watched: list[Notebook] = []

    def watch(notebook: Notebook) -> Notebook:
        watched.append(notebook)
        return notebook

    yield watch
    for notebook in watched:
        assert notebook.errors == []
        assert notebook.strangers == []
