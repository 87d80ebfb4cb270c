"""Progress bars: usual on a terminal, plain text in a notebook."""

from __future__ import annotations

from typing import Any

import pytest
from IPython import display

from particle_nb import progress
from particle_nb.progress import progress_bar


@pytest.fixture
def published(monkeypatch: pytest.MonkeyPatch) -> list[tuple[dict[str, Any], bool, str]]:
    """What a notebook would get: data, whether it renews an output, and which."""
    said: list[tuple[dict[str, Any], bool, str]] = []

    def publish(data: Any, *, transient: Any, update: bool) -> None:
        said.append((data, update, transient["display_id"]))

    monkeypatch.setattr(display, "publish_display_data", publish)
    monkeypatch.setattr(progress, "_in_a_notebook", lambda: True)
    return said


def test_a_bar_that_is_kept_says_what_was_done(published: Any, capsys: Any) -> None:
    with progress_bar("images", 4, keep=True) as bar:
        for _ in range(4):
            bar.update()
    assert len({name for *_, name in published}) == 1, "one output"
    assert not published[0][1]
    assert all(update for _, update, _ in published[1:])
    assert set().union(*(data for data, *_ in published)) == {"text/plain"}, "no widget"
    assert "images: 100%" in published[-1][0]["text/plain"]
    assert "4/4" in published[-1][0]["text/plain"]
    assert capsys.readouterr() == ("", ""), "nothing is written beside it"


def test_a_bar_that_is_not_kept_leaves_nothing(
    published: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    with progress_bar("short", 2) as bar:
        bar.update(2)
    assert published == [], "what takes no second shows nothing"
    with progress_bar("long") as bar:
        bar.delay = 0.0
        bar.total = 8
        bar.refresh()
        bar.update(3)
    assert "long:   0%" in published[0][0]["text/plain"]
    assert published[-1][0] == {"text/plain": ""}
    monkeypatch.setattr(progress, "_in_a_notebook", lambda: False)
    published.clear()
    with progress_bar("images", 1, keep=True) as bar:
        bar.update()
    assert published == []


def test_a_bar_that_is_not_shown(published: Any) -> None:
    with progress_bar("images", 4, show=False, keep=True) as bar:
        bar.update(4)
    assert published == []
