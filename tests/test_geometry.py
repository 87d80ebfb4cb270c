"""The canvas's geometry, tested under Node where it is installed."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest


def test_the_geometry_of_the_canvas_under_node() -> None:
    node = shutil.which("node")
    if node is None:
        if os.environ.get("CI", "").lower() == "true":
            pytest.fail("node is missing")
        pytest.skip("node is not installed")
    done = subprocess.run(
        [node, "--test", str(Path(__file__).with_name("geometry.test.mjs"))],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "# pass " in done.stdout
    assert "# pass 0" not in done.stdout
