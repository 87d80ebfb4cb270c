"""Files written whole or not at all."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from particle_nb.core.errors import DataError


@contextmanager
def atomic(path: str | os.PathLike[str]) -> Iterator[BinaryIO]:
    """Open a new file beside `path` that takes its place when all has been written.

    A reader never sees half a file, and a failure leaves an older one as it was.

    Raises
    ------
    DataError
        If the path is no path, its folder does not exist, or nothing can be written there.

    Examples
    --------
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     with atomic(f"{folder}/a.txt") as stream:
    ...         _ = stream.write(b"all")
    ...     os.listdir(folder)
    ['a.txt']
    """
    if not isinstance(path, (str, os.PathLike)) or isinstance(os.fspath(path), bytes):
        raise DataError(f"a file is named by a str or a path, not {type(path).__name__}.")
    target = Path(path)
    try:
        if not target.parent.is_dir():
            raise DataError(f"there is no folder {target.parent}; make it first.")
        if target.is_dir():
            raise DataError(f"{target} is a folder; name a file in it.")
        handle, name = tempfile.mkstemp(prefix=f".{target.name[:40]}.", dir=target.parent)
        os.close(handle)
    except (OSError, ValueError) as error:
        if isinstance(error, DataError):
            raise
        raise DataError(f"nothing can be written at {str(target)[:200]!r}: {error}") from None
    try:
        with open(name, "wb") as stream:
            yield stream
        # a temporary file is private; the real one gets the rights of any new file
        os.chmod(name, 0o666 & ~_umask())
        os.replace(name, target)
    except OSError as error:
        raise DataError(f"{target} could not be written: {error}; is the disk full?") from None
    finally:
        Path(name).unlink(missing_ok=True)


def _umask() -> int:
    current = os.umask(0o022)
    os.umask(current)
    return current
