"""One rule for windows, whoever is asked: session, prompt log or any model."""

import ast
from pathlib import Path

import numpy as np
import pytest

from particle_nb.core.annotation.drafts import read_window
from particle_nb.core.errors import ImageError, PromptError
from particle_nb.core.image import Image
from particle_nb.core.image.window import checked_window
from particle_nb.models import load_model

OUTSIDE = [(0, 0, 49, 10), (-1, 0, 5, 5), (5, 5, 5, 9), (0, 0, 10, 33), "abcd", (1, 2, 3)]


@pytest.mark.parametrize("window", OUTSIDE)
def test_what_does_not_lie_on_the_image_is_refused_in_the_same_words(window) -> None:
    image = Image(np.zeros((32, 48), np.uint8))
    said = []
    with pytest.raises(ImageError, match="window") as caught:
        load_model("classical", "segmenter").encode(image, window)
    said.append(str(caught.value))
    with pytest.raises(PromptError, match="window") as caught:
        read_window(window, image.shape)
    said.append(str(caught.value))
    assert len(set(said)) == 1


def test_a_window_on_the_image_is_taken_as_it_is_and_none_is_all() -> None:
    assert checked_window((0, 0, 48, 32), (32, 48)) == (0, 0, 48, 32)
    assert checked_window(np.array([3, 4, 5, 6]), (32, 48)) == (3, 4, 5, 6)
    assert checked_window(None, (32, 48)) == (0, 0, 48, 32)


def test_clipping_keeps_what_overlaps_and_refuses_the_rest() -> None:
    assert checked_window((40, -9, 60, 5), (32, 48), clip=True) == (40, 0, 48, 5)
    with pytest.raises(ImageError, match="within"):
        checked_window((48, 0, 60, 5), (32, 48), clip=True)


def test_the_check_stands_once() -> None:
    """No other function compares a window's ends with the size of the image."""
    package = Path(__file__).parent.parent / "particle_nb"
    found = []
    for path in package.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Compare) and [
                n.id for n in node.comparators if isinstance(n, ast.Name)
            ] == ["x0", "x1", "width"]:
                found.append(path.name)
    assert found == ["window.py"]
