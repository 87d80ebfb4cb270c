"""An image, its particles, a model and every step so far; no widget, no browser."""

from particle_nb.core.annotation.annotation import Annotation
from particle_nb.core.annotation.archive import Archive, read_archive
from particle_nb.core.annotation.replaying import Replay, read_log, replay

__all__ = [
    "Annotation",
    "Archive",
    "Replay",
    "read_archive",
    "read_log",
    "replay",
]
