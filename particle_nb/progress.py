"""How far a long piece of work has come: on a terminal as usual, in a notebook as plain text."""

from __future__ import annotations

import io
import secrets
import sys
from typing import Any

from tqdm import tqdm


def progress_bar(
    text: str, total: int | None = None, *, show: bool = True, keep: bool = False
) -> tqdm:
    """Return a progress bar, to be used in a ``with`` statement.

    In a notebook it is text in the cell's output and no widget: a widget that is gone would show
    as "Error displaying widget" when the notebook is opened again.

    Parameters
    ----------
    text : str
        What is being done.
    total : int or None
        Number of steps, None if it is not known yet.
    show : bool
    keep : bool
        Whether it stays when the work is done; otherwise it also comes only after a second.

    Examples
    --------
    >>> with progress_bar("images", 3, show=False) as bar:
    ...     bar.update(3)
    """
    made = _CellBar if _in_a_notebook() else tqdm
    return made(desc=text, total=total, disable=not show, leave=keep, delay=0.0 if keep else 1.0)


def _in_a_notebook() -> bool:
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    return getattr(shell, "kernel", None) is not None


class _CellBar(tqdm):
    """The same bar as a text output that is renewed, and emptied in the end unless it is kept."""

    def __init__(self, **settings: Any) -> None:
        self._output = f"particle_nb-{secrets.token_hex(8)}"
        self._there = False
        super().__init__(file=io.StringIO(), ncols=80, **settings)

    def display(self, msg: str | None = None, pos: int | None = None) -> None:
        from IPython.display import publish_display_data

        said = str(self) if msg is None else msg
        if said or self._there:
            transient = {"display_id": self._output}
            publish_display_data({"text/plain": said}, transient=transient, update=self._there)
            self._there = True
