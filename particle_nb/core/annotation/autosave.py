"""Where an annotation is saved at each commit, and how it is taken up again."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from particle_nb.core.annotation.archive import Archive, ArchiveWriter, read_archive
from particle_nb.core.annotation.history import History
from particle_nb.core.errors import DataError
from particle_nb.core.image import Image
from particle_nb.core.masks import MaskSet


class Autosave:
    """The file of one annotation.

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

    def load(self) -> tuple[History | None, str]:
        """Return the saved history, or None, and what to tell the person.

        A file that cannot be read is kept under another name.

        Raises
        ------
        DataError
            If the file is of another image.
        """
        path = self.path
        if path is None or not path.exists():
            return None, ""
        try:
            archive = read_archive(path)
        except DataError as error:
            kept = path.with_name(path.name + ".damaged")
            os.replace(path, kept)
            return None, f"{error} It was kept as {kept.name}."
        if archive.history.shape != self.image.shape:
            raise DataError(
                f"{path} is of an image of {archive.history.shape}, this one is "
                f"{self.image.shape}; give another autosave path."
            )
        check_image(archive, self.image, path)
        count = len(archive.history.state.particles)
        return archive.history, f"continued from {path.name}: {count} particles"

    def commit(self, history: History, facts: Mapping[str, Any]) -> None:
        """Write the history, if it is to be saved at all.

        Raises
        ------
        DataError
            If the file cannot be written.
        """
        if self.path is not None:
            self._writer.write(self.path, history, facts)

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
            If there is no path or it cannot be written.
        """
        target = Path(path) if path is not None else self.path
        if target is None:
            raise DataError("autosave is off: say where to save, e.g. annotator.save('a.pnb').")
        return self._writer.write(target, history, facts, self.image if with_image else None)


def check_image(archive: Archive, image: Image, path: Path) -> None:
    """Refuse an archive that belongs to another image.

    Raises
    ------
    DataError
        If the digests differ.
    """
    about = archive.manifest.get("image")
    digest = about.get("digest") if isinstance(about, Mapping) else None
    if digest is not None and digest != image.digest:
        raise DataError(
            f"{path} belongs to another image (digest {digest}, this one is {image.digest}); "
            "read the original file, or save to another path."
        )


def _path(choice: Any, image: Image, masks: MaskSet | None) -> Path | None:
    if choice is False:
        return None
    if choice is not True:
        return Path(choice)
    start = image.digest + (masks.digest if masks is not None and len(masks) else "")
    stem = "".join(c if c.isalnum() or c in "-_" else "_" for c in Path(image.name).stem)[:60]
    return Path(f"{stem or 'annotation'}-{hashlib.sha256(start.encode()).hexdigest()[:8]}.pnb")
