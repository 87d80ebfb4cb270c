"""Arrays and facts in one file, without pickle: what phase maps and classifiers are kept in."""

from __future__ import annotations

import json
import os
import struct
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from particle_nb.core.errors import DataError
from particle_nb.core.files import atomic

_LARGEST = 4 << 30
_ABOUT = "about"


def write_archive(
    path: str | os.PathLike[str], about: Mapping[str, Any], arrays: Mapping[str, np.ndarray]
) -> Path:
    """Write facts that JSON can hold, and arrays of numbers, as a compressed .npz file.

    Raises
    ------
    DataError
        If something is no JSON, or nothing can be written there.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = write_archive(f"{folder}/a", {"format": 1, "kind": "x"}, {"n": np.arange(3)})
    ...     read_archive(path, "x", 1)[1]["n"].tolist()
    [0, 1, 2]
    """
    try:
        text = json.dumps(dict(about))
    except (TypeError, ValueError) as error:
        raise DataError(f"the notes that go with it cannot be written: {error}.") from None
    with atomic(path) as stream:
        np.savez_compressed(
            stream,
            allow_pickle=False,
            **{_ABOUT: np.frombuffer(text.encode(), np.uint8), **arrays},
        )
    return Path(path)


def read_archive(
    path: str | os.PathLike[str], kind: str, newest: int
) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Return facts and arrays of a file of that kind and of a format up to `newest`.

    Raises
    ------
    DataError
        If it cannot be read, is damaged, of another kind, or newer than this version.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            if sum(entry.file_size for entry in archive.infolist()) > _LARGEST:
                raise DataError(f"{path} unfolds to more than 4 GiB; it is none of ours.")
        with np.load(path, allow_pickle=False) as stored:
            arrays = {name: stored[name] for name in stored.files}
        about = json.loads(arrays.pop(_ABOUT).tobytes())
        found, version = about["kind"], about["format"]
    except DataError:
        raise
    except (
        OSError,
        EOFError,
        KeyError,
        IndexError,
        TypeError,
        ValueError,
        AttributeError,
        zipfile.BadZipFile,
        zlib.error,
        struct.error,
        RuntimeError,
        MemoryError,
        SyntaxError,
    ) as error:
        raise DataError(f"{path} holds nothing that save wrote: {error}.") from None
    if found != kind:
        raise DataError(f"{path} holds {found!r}, not {kind!r}.")
    if version != newest:
        raise DataError(f"{path} is of format {version}, this version reads {newest}.")
    return about, arrays
