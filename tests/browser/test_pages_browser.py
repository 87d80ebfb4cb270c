"""Pages of batches in a real browser: nothing is cut off in a narrow window."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest

from particle_nb.batches import BatchSettings, batch, summarise

pytestmark = pytest.mark.browser


def test_the_page_of_a_batch_fits_a_narrow_window(chromium: Any, tmp_path: Path) -> None:
    """Wide figures and tables scroll by themselves; long names of images are read whole or cut."""
    for k in range(2):
        pixels = np.random.default_rng(k).normal(60, 4, (120, 240))
        for n in range(6):
            away = np.hypot(*np.mgrid[-30:30, -40:40])
            part = pixels[60 * (n // 3) :, 80 * (n % 3) :][:60, :80]
            part[away < 12 + 2 * n + k] += 120
        name = f"a_rather_long_name_of_one_image_of_a_sample_{k}.png"
        PIL.Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(tmp_path / name)
    (tmp_path / "broken.png").write_bytes(b"no image")
    images = sorted(tmp_path.glob("*.png"))
    settings = BatchSettings("0.5 um", segmenter="classical")
    page_file = summarise(batch(images, settings, tmp_path / "out", progress=False)).page
    page = chromium.new_page(viewport={"width": 600, "height": 900}, color_scheme="dark")
    try:
        page.goto(page_file.as_uri(), timeout=120_000)
        page.locator(".plotly-graph-div .main-svg").first.wait_for(timeout=60_000)
        assert page.evaluate("document.documentElement.scrollWidth") <= 600
        # dark text on a light ground, whatever the system likes
        assert page.evaluate("getComputedStyle(document.documentElement).backgroundColor") == (
            "rgb(255, 255, 255)"
        )
        heads = page.locator("th").all_inner_texts()
        assert "D50 / µm" in heads
        assert "deviation / %" in heads
        ticks = page.locator(".xaxislayer-above .xtick text").all_text_contents()
        assert sorted(t for t in ticks if "…" in t) == [
            "a_rather_l…sample_0.png",
            "a_rather_l…sample_1.png",
        ]
    finally:
        page.close()
