"""Arrays and facts in one file, without pickle: what classifiers and phase maps are kept in."""

from __future__ import annotations

import io
import json
import os
import struct
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from particle_nb.core.errors import DataError
from particle_nb.core.files import atomic, read_regular

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
    with named_damage(path, "nothing that save wrote"):
        about, arrays = unpacked(path, _LARGEST)
        found, version = about["kind"], about["format"]
    if found != kind:
        raise DataError(f"{path} holds {found!r}, not {kind!r}.")
    if version != newest:
        raise DataError(f"{path} is of format {version}, this version reads {newest}.")
    return about, arrays


def unpacked(
    path: str | os.PathLike[str], most: int
) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Return facts and arrays of a file of `write_archive`, whatever they are.

    Parameters
    ----------
    path : path
        A regular file; pipes and the like are refused at once.
    most : int
        Bytes, of the file and of what it unfolds to.

    Raises
    ------
    DataError
        If it cannot be read or unfolds to more. What a damaged one raises besides is for
        `named_damage` to name.
    """
    data = io.BytesIO(read_regular(path, most)[0])
    with zipfile.ZipFile(data) as archive:
        if sum(entry.file_size for entry in archive.infolist()) > most:
            raise DataError(f"{path} unfolds to more than {most >> 30} GiB; it is none of ours.")
    with np.load(data, allow_pickle=False) as stored:
        arrays = {name: stored[name] for name in stored.files}
    return json.loads(arrays.pop(_ABOUT).tobytes()), arrays


@contextmanager
def named_damage(path: str | os.PathLike[str], what: str) -> Iterator[None]:
    """Turn what a damaged file raises into a `DataError` that says that the file holds `what`.

    Examples
    --------
    >>> with named_damage("a.npz", "no numbers"):
    ...     {}["numbers"]
    Traceback (most recent call last):
    ...
    particle_nb.core.errors.DataError: a.npz holds no numbers: 'numbers'.
    """
    try:
        yield
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
        raise DataError(f"{path} holds {what}: {error}.") from None
