"""The errors that particle_nb raises on bad input.

Every message says what was wrong, where, and what to do about it.
"""

from __future__ import annotations

import numpy as np


class ParticleError(ValueError):
    """Base of every error that particle_nb raises on purpose; also a ``ValueError``."""


class ImageError(ParticleError):
    """A file or an array that cannot be read as a micrograph or a label image."""


class CalibrationError(ParticleError):
    """A missing, contradictory or unusable pixel size."""


class PromptError(ParticleError):
    """A prompt that lies outside the image or has no usable part."""


class ModelError(ParticleError):
    """A model, checkpoint or backend that is unknown, missing or damaged."""


class DataError(ParticleError):
    """Masks, tables, distributions or settings that a computation cannot use."""


def check_whole(where: str, value: object, low: float, high: float) -> None:
    """Raise `DataError` unless a value is a whole number within bounds; 3.0 is one."""
    check_number(where, value, low, high)
    if int(value) != value:  # type: ignore[call-overload]
        raise DataError(f"{where} must be a whole number, not {value!r}.")


def check_number(where: str, value: object, low: float, high: float) -> None:
    """Raise `DataError` unless a value is a number within bounds."""
    ok = isinstance(value, (int, float, np.integer, np.floating)) and not isinstance(value, bool)
    if not ok or not low <= float(value) <= high:  # type: ignore[arg-type]
        raise DataError(f"{where} must be a number from {low:g} to {high:g}, not {value!r}.")
