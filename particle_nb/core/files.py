"""Files written whole or not at all, and read within limits."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import re
import secrets
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

from particle_nb.core.errors import DataError

#: Seconds after which a half-written file is nobody's.
STALE = 3600.0

_LOCK_PATIENCE = 20.0  # seconds; a file is held for milliseconds

# systems that cannot lock a folder (some network drives) say so with one of these
_NO_LOCKS = {errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EINVAL, errno.EBADF, errno.ENOSYS}


@contextmanager
def atomic(path: str | os.PathLike[str], *, durable: bool = False) -> Iterator[BinaryIO]:
    """Open a new file beside `path` that takes its place when all has been written.

    A reader never sees half a file, and a failure leaves an older one as it was. The new file has
    a name that nobody can guess and that must not exist, so that no planted link is followed.

    Parameters
    ----------
    path : path
    durable : bool
        Whether the file must be on the disk, not only with the system, at the end.

    Raises
    ------
    DataError
        If the path is no path, its folder does not exist, something else than a file has that
        name, or nothing can be written there.

    Examples
    --------
    >>> import tempfile
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
        if target.exists() and not target.is_file():
            raise DataError(f"{target} is a pipe or a device; name a file.")
        name = target.with_name(f".{target.name[:40]}.{secrets.token_hex(8)}.part")
        stream = open(name, "xb", opener=_fresh)  # noqa: SIM115 - closed below
    except (OSError, ValueError) as error:
        if isinstance(error, DataError):
            raise
        raise DataError(f"nothing can be written at {str(target)[:200]!r}: {error}") from None
    try:
        with stream:
            yield stream
            if durable:
                stream.flush()
                os.fsync(stream.fileno())
        os.replace(name, target)
        if durable:
            _sync_folder(target.parent)
    except OSError as error:
        raise DataError(f"{target} could not be written: {error}; is the disk full?") from None
    finally:
        name.unlink(missing_ok=True)


def _fresh(name: str, flags: int) -> int:
    """Open a file that must not exist: what has its name by then was planted by somebody else."""
    flags = os.O_CREAT | os.O_EXCL | os.O_WRONLY | getattr(os, "O_NOFOLLOW", 0)
    return os.open(name, flags | getattr(os, "O_BINARY", 0), 0o666)


def _sync_folder(folder: Path) -> None:
    """Make a rename itself durable; not every system can open a folder."""
    if not hasattr(os, "O_DIRECTORY"):
        return
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def sweep(folder: Path, name: str | None = None) -> None:
    """Remove what `atomic` left half written more than an hour ago: of one file, or of all.

    Examples
    --------
    >>> sweep(Path("no-such-folder"))
    """
    start = r".+" if name is None else re.escape(name[:40])
    half = re.compile(rf"\.{start}\.[0-9a-f]{{16}}\.part", re.DOTALL)
    with contextlib.suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            if not half.fullmatch(entry.name):
                continue
            with contextlib.suppress(OSError):
                about = entry.stat(follow_symlinks=False)
                if stat.S_ISREG(about.st_mode) and time.time() - about.st_mtime > STALE:
                    os.unlink(entry.path)


@contextmanager
def one_at_a_time(folder: Path) -> Iterator[None]:
    """Let one process at a time look at a file of a folder and then replace it.

    The folder itself is locked, so nothing is left behind; a process that is killed lets go. On
    systems that cannot lock a folder (Windows, some network drives) nobody waits.

    Raises
    ------
    DataError
        If another process does not let go within 20 s.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder, one_at_a_time(Path(folder)):
    ...     os.listdir(folder)
    []
    """
    try:
        import fcntl
    except ImportError:
        yield
        return
    handle = -1
    try:
        handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        until = time.monotonic() + _LOCK_PATIENCE
        while True:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except OSError as error:
                if error.errno in _NO_LOCKS:
                    break
                if error.errno not in (errno.EAGAIN, errno.EACCES, errno.EINTR):
                    raise DataError(f"{folder} cannot be locked: {error}.") from None
            if time.monotonic() > until:
                raise DataError(
                    f"another process has held {folder} for {_LOCK_PATIENCE:g} s; is one stopped "
                    "in the middle of saving?"
                )
            time.sleep(0.002)
        yield
    finally:
        if handle >= 0:
            os.close(handle)


@dataclass(frozen=True)
class Stamp:
    """What the system says of a file: equal stamps mean that nobody has written it since.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.NamedTemporaryFile() as file:
    ...     Stamp.of(os.stat(file.name)) == Stamp.of(os.stat(file.name))
    True
    """

    device: int
    inode: int
    size: int
    written: int
    changed: int

    @classmethod
    def of(cls, about: os.stat_result) -> Stamp:
        """Return the stamp in what `os.stat` says of a file."""
        return cls(about.st_dev, about.st_ino, about.st_size, about.st_mtime_ns, about.st_ctime_ns)


def read_regular(path: str | os.PathLike[str], most: int) -> tuple[bytes, Stamp]:
    """Return all bytes of a regular file, and its stamp when they were read.

    Folders, pipes, sockets and devices are refused at once, not waited for.

    Parameters
    ----------
    path : path
    most : int
        Bytes; a larger file is refused before it is read.

    Raises
    ------
    DataError
        If there is no such file, it is no regular file, too large, cannot be read, or is being
        written at the moment. A failure of the disk is no sign of a damaged file.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.NamedTemporaryFile() as file:
    ...     read_regular(file.name, 10)[0]
    b''
    """
    if not isinstance(path, (str, os.PathLike)) or isinstance(os.fspath(path), bytes):
        raise DataError(f"a file is named by a str or a path, not {type(path).__name__}.")
    try:
        _checked_kind(os.stat(path), path, most)
        # a pipe that took the file's place meanwhile would hold up an ordinary open for ever
        flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
        with open(os.open(path, flags), "rb") as stream:
            before = os.fstat(stream.fileno())
            _checked_kind(before, path, most)
            data = stream.read(before.st_size + 1)
            after = os.fstat(stream.fileno())
    except FileNotFoundError:
        raise DataError(f"cannot read {path}: there is no file of that name; check it.") from None
    except MemoryError:
        raise DataError(f"{path} does not fit into memory.") from None
    except (OSError, ValueError) as error:  # ValueError is also what DataError is
        if isinstance(error, DataError):
            raise
        reason = getattr(error, "strerror", None) or error
        raise DataError(f"cannot read {str(path)[:300]!r}: {reason}; try again later.") from None
    # (that another file took its place meanwhile is no change of what was read)
    if len(data) != before.st_size or before.st_mtime_ns != after.st_mtime_ns:
        raise DataError(f"{path} could not be read whole or is being written; try again.")
    return data, Stamp.of(after)


def _checked_kind(about: os.stat_result, path: Any, most: int) -> None:
    if stat.S_ISDIR(about.st_mode):
        raise DataError(f"cannot read {path}: it is a folder; name a file in it.")
    if not stat.S_ISREG(about.st_mode):
        raise DataError(f"cannot read {path}: it is a pipe or a device and no regular file.")
    if about.st_size > most:
        raise DataError(
            f"{path} has {about.st_size} bytes, more than the {most} that are read; is it the "
            "right file?"
        )


# ------------------------------------------------------------------------- what it unfolds to

#: A single mask may have a bounding box of so many pixels.
LARGEST_MASK = 2**27

_PIXELS, _CROSSINGS, _OBJECTS = 3 * 2**27, 2**25, 2**29

_TEN_MB = 10 * 2**20


@dataclass
class Allowance:
    """What one file may unfold to in all: a few bytes can stand for any number of pixels.

    Up to 10 MB a file gets the same; a larger one gets more in proportion.

    Parameters
    ----------
    stored : int
        Bytes of the file.
    pixels : int
        Pixels of bounding boxes that are left.
    crossings : int
        Rows crossed by edges of polygons that are left.

    Examples
    --------
    >>> Allowance().take_pixels(2**40)
    Traceback (most recent call last):
    ...
    particle_nb.core.errors.DataError: a mask of 1099511627776 pixels ...
    """

    stored: int = 0
    pixels: int = field(default=-1)
    crossings: int = field(default=-1)

    def __post_init__(self) -> None:
        share = max(1.0, self.stored / _TEN_MB)
        self.pixels = int(_PIXELS * share) if self.pixels < 0 else self.pixels
        self.crossings = int(_CROSSINGS * share) if self.crossings < 0 else self.crossings

    @property
    def spent(self) -> bool:
        """Whether the file has unfolded to more than it may; what follows is not read."""
        return self.pixels < 0 or self.crossings < 0

    def take_pixels(self, count: int) -> None:
        """Use up the pixels of a mask's bounding box.

        Raises
        ------
        DataError
            If it is larger than any particle, or the file unfolds to too much in all.
        """
        if count > LARGEST_MASK:
            raise DataError(
                f"a mask of {count} pixels is larger than any particle ({LARGEST_MASK}); tile the "
                "image."
            )
        self.pixels -= count
        if self.pixels < 0:
            raise DataError(
                f"the masks of this file of {self.stored} bytes unfold to more pixels than any "
                "image has room for; split it."
            )

    def take_crossings(self, count: int) -> None:
        """Use up rows that the edges of a polygon cross.

        Raises
        ------
        DataError
            If the file's polygons cross too many in all.
        """
        self.crossings -= count
        if self.crossings < 0:
            raise DataError("the polygons cross more rows than any outline does; split the file.")


def parse_json(data: bytes | str, name: str, *, constants: bool = True) -> Any:
    """Return the value of a JSON text that does not unfold to gigabytes.

    Parameters
    ----------
    data : bytes or str
    name : str
        Named in errors.
    constants : bool
        Whether NaN and Infinity, which are no JSON, are taken.

    Raises
    ------
    DataError
        If it is no JSON, nested without end, or holds absurdly many values.

    Examples
    --------
    >>> parse_json(b'{"a": [1]}', "a.json")
    {'a': [1]}
    """
    kinds: tuple[Any, Any, Any] = ("{", "[", ",") if isinstance(data, str) else (b"{", b"[", b",")
    # bytes that Python takes for an object, a list and an item
    cost = 232 * data.count(kinds[0]) + 64 * data.count(kinds[1]) + 40 * data.count(kinds[2])
    if cost > max(_OBJECTS, 32 * len(data)):
        raise DataError(f"{name} holds absurdly many values for its size; it was not read.")

    def refuse(text: str) -> Any:
        raise ValueError(f"{text} is no JSON number")

    try:
        return json.loads(data, parse_constant=None if constants else refuse)
    except (ValueError, RecursionError, MemoryError) as error:
        raise DataError(f"{name} is no JSON ({str(error)[:200]}).") from None
