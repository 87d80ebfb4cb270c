"""Where an annotation is saved at each commit, and how it is taken up again."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from particle_nb.core.annotation.archive import (
    Archive,
    ArchiveWriter,
    DamagedArchiveError,
    parse_archive,
)
from particle_nb.core.annotation.history import History
from particle_nb.core.errors import DataError
from particle_nb.core.files import Stamp, atomic, one_at_a_time, read_regular
from particle_nb.core.image import Image
from particle_nb.core.masks import MaskSet

_LARGEST_FILE = 2**33

_LEFT = "It was left as it is: give another autosave path, or move it away."


class Autosave:
    """The file of one annotation.

    It writes over nothing but what it has read or written itself: where somebody else has saved
    to the file since, it goes on in a file of its own beside it and says so.

    Parameters
    ----------
    choice : bool or path
        True names the file after image and proposals, in the working folder, which in a notebook
        is the notebook's; a path is taken as it is; False saves nothing.
    image : Image
    masks : MaskSet or None
        The proposals that the annotation starts from.

    Examples
    --------
    >>> import numpy as np
    >>> Autosave(False, Image(np.zeros((4, 4)), name="a.tif"), None).load()
    (None, '')
    """

    def __init__(
        self, choice: bool | str | os.PathLike[str], image: Image, masks: MaskSet | None
    ) -> None:
        self.image = image
        self.path = _path(choice, image, masks)
        self._writer = ArchiveWriter()
        # what this object read or wrote last: the stamp, and the contents that are its own
        self._stamp: Stamp | None = None
        self._own: tuple[str, ...] = ()

    def load(self) -> tuple[History | None, str]:
        """Return the saved history, or None, and what to tell the person.

        A damaged annotation is kept under another name; whatever else cannot be read is left alone.

        Raises
        ------
        DataError
            If the file is of another image, no annotation, of a newer version, or cannot be read
            at the moment.
        """
        path = self.path
        if path is None or not os.path.lexists(path):
            return None, ""
        try:
            data, stamp = read_regular(path, _LARGEST_FILE)
        except DataError as error:
            raise DataError(f"{error} {_LEFT}") from None
        self._stamp, self._own = stamp, (hashlib.sha256(data).hexdigest(),)
        try:
            archive = parse_archive(data, path, frame=self.image.shape[0] * self.image.shape[1])
        except DamagedArchiveError as error:
            return None, f"{error} It was kept as {_kept(path, data).name}."
        except DataError as error:
            raise DataError(f"{error} {_LEFT}") from None
        check_image(archive, self.image, path)
        count = len(archive.history.state.particles)
        beside = ", ".join(other.name for other in _beside(path))
        more = f"; beside it lies {beside}, the work of another kernel" if beside else ""
        return archive.history, f"continued from {path.name}: {count} particles{more}"

    def commit(self, history: History, facts: Mapping[str, Any]) -> None:
        """Write the history, if it is to be saved at all.

        Raises
        ------
        DataError
            If the file cannot be written; or if somebody else has written it since, and the
            history was saved in another file, which is named.
        """
        if self.path is not None:
            self._commit(self.path, history, facts, None)

    def save(
        self,
        path: str | os.PathLike[str] | None,
        history: History,
        facts: Mapping[str, Any],
        with_image: bool,
    ) -> Path:
        """Write the history to a path, or to the usual file.

        Raises
        ------
        DataError
            If there is no path, it cannot be written, or something else than an annotation of
            this image is there.
        """
        image = self.image if with_image else None
        if path is None:
            if self.path is None:
                raise DataError("autosave is off: say where to save, e.g. annotator.save('a.pnb').")
            return self._commit(self.path, history, facts, image)
        target = _real(path)
        if self.path is not None and target.absolute() == self.path:
            self._commit(self.path, history, facts, image)
            return Path(path)
        with one_at_a_time(_folder(target)):
            if os.path.lexists(target):
                self._check_own(target)
            self._writer.write(target, history, facts, image)
        return Path(path)

    def _commit(
        self, path: Path, history: History, facts: Mapping[str, Any], image: Image | None
    ) -> Path:
        with one_at_a_time(_folder(path)):
            taken = not self._is_own(path)
            target = _free(path, "-conflict-", path.suffix) if taken else path
            before = self._writer.written
            try:
                self._writer.write(target, history, facts, image)
            finally:
                # also where an interrupt comes between the file and this line
                if self._writer.written != before:
                    self._own = (*self._own[-1:], self._writer.written)
            self.path, self._stamp = target, Stamp.of(os.stat(target))
        if taken:
            raise DataError(
                f"{path.name} was saved by somebody else (another kernel or annotator) since it "
                f"was last read here. It was left as it is, and this annotation was saved in "
                f"{target.name} and goes on there: nothing is lost. Close one of the two; "
                "open_annotation opens either file."
            )
        return target

    def _is_own(self, path: Path) -> bool:
        """Whether what is there now was last read or written by this object."""
        try:
            about = os.lstat(path)
        except FileNotFoundError:
            return True  # moved away or deleted: all of it is here
        except OSError:
            return False
        if not stat.S_ISREG(about.st_mode):
            return False
        if self._stamp is not None and Stamp.of(about) == self._stamp:
            return True
        try:
            data, _ = read_regular(path, _LARGEST_FILE)
        except DataError:
            return False
        return hashlib.sha256(data).hexdigest() in self._own

    def _check_own(self, target: Path) -> None:
        """Refuse to save over what is no annotation of this image."""
        try:
            data, _ = read_regular(target, _LARGEST_FILE)
            archive = parse_archive(data, target, frame=self.image.shape[0] * self.image.shape[1])
            check_image(archive, self.image, target)
        except DataError as error:
            raise DataError(f"nothing was saved over {target}: {error}") from None


def check_image(archive: Archive, image: Image, path: Path) -> None:
    """Refuse an archive that belongs to another image.

    Raises
    ------
    DataError
        If the sizes or the digests differ.
    """
    if archive.history.shape != image.shape:
        raise DataError(
            f"{path} is of another image: of {archive.history.shape}, this one is {image.shape}; "
            "give another autosave path."
        )
    about = archive.manifest.get("image")
    digest = about.get("digest") if isinstance(about, Mapping) else None
    if digest is not None and digest != image.digest:
        raise DataError(
            f"{path} belongs to another image (digest {str(digest)[:64]}, this one is "
            f"{image.digest}); read the original file, or save to another path."
        )


def _real(path: Any) -> Path:
    """The path itself, or where it leads as a link: the file is replaced, not the link."""
    if not isinstance(path, (str, os.PathLike)) or isinstance(os.fspath(path), bytes):
        raise DataError(f"a file is named by a str or a path, not {type(path).__name__}.")
    found = Path(path)
    try:
        if found.is_symlink():
            if not found.exists():
                raise DataError(f"{found} is a link that leads nowhere; remove it first.")
            return Path(os.path.realpath(found))
    except (OSError, ValueError) as error:
        if isinstance(error, DataError):
            raise
        raise DataError(f"cannot read {str(found)[:200]!r}: {error}.") from None
    return found


def _path(choice: Any, image: Image, masks: MaskSet | None) -> Path | None:
    if choice is False:
        return None
    if choice is not True:
        return _real(choice).absolute()
    start = image.digest + (masks.digest if masks is not None and len(masks) else "")
    stem = "".join(c if c.isalnum() or c in "-_" else "_" for c in Path(image.name).stem)[:60]
    name = f"{stem or 'annotation'}-{hashlib.sha256(start.encode()).hexdigest()[:8]}.pnb"
    return _real(name).absolute()


def _folder(path: Path) -> Path:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DataError(f"cannot write {path}: {error}. Give another path to save to.") from None
    return path.parent


def _beside(path: Path) -> list[Path]:
    """Files in which other kernels went on."""
    start, found = f"{path.stem}-conflict-", []
    for number in range(1, 10):
        other = path.with_name(f"{start}{number}{path.suffix}")
        if not other.is_file():
            break
        found.append(other)
    return found


def _free(path: Path, word: str, suffix: str) -> Path:
    """A name beside the file that nothing has yet."""
    number = 1
    while True:
        found = path.with_name(f"{path.stem}{word}{number}{suffix}")
        if not os.path.lexists(found):
            return found
        number += 1


def _kept(path: Path, data: bytes) -> Path:
    """Keep the bytes of a damaged annotation under a name that nothing else has."""
    with one_at_a_time(path.parent):
        number, name = 1, f"{path.name}.damaged"
        while os.path.lexists(path.with_name(name)):
            kept = path.with_name(name)
            # seen before, and nothing was saved since
            if kept.is_file() and kept.stat().st_size == len(data) and kept.read_bytes() == data:
                return kept
            number += 1
            name = f"{path.name}.damaged-{number}"
        kept = path.with_name(name)
        with atomic(kept, durable=True) as stream:
            stream.write(data)
    return kept
