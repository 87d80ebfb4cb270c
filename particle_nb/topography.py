"""From a micrograph and its masks to a table of roughness, through a session's depth model."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pandas as pd

from particle_nb.core.errors import DataError
from particle_nb.core.image import Image
from particle_nb.core.masks import Mask, MaskSet
from particle_nb.core.surface import DepthErrors, DepthMap, RoughnessSettings
from particle_nb.core.surface import roughness_table as table_of
from particle_nb.core.surface.table import check_table
from particle_nb.models.tiles import particle_window
from particle_nb.progress import progress_bar
from particle_nb.session import Session


def particle_depth(session: Session, image: Image, mask: Mask, margin: float = 0.3) -> DepthMap:
    """Return the depth of one particle, seen through a window of its own.

    The model gets the particle and a little of its surroundings at the model's full resolution:
    a particle of 60 px in a frame of 2048 px would fill eleven of its pixels otherwise.

    Parameters
    ----------
    session : Session
    image : Image
    mask : Mask
        Of the image's frame.
    margin : float
        Free space around the particle, as a share of its longer side.

    Raises
    ------
    DataError, ImageError
        If session, image and mask do not fit together.
    ModelError
        If the depth model cannot be loaded, or the margin is negative.

    Examples
    --------
    >>> import numpy as np
    >>> class Flat:
    ...     name, digest = "flat", ""
    ...     def estimate(self, image, window=None):
    ...         x0, y0, x1, y1 = window
    ...         return np.zeros((y1 - y0, x1 - x0), np.float32)
    >>> one = Mask((40, 50), np.ones((20, 20), bool), (100, 100))
    >>> picture = Image(np.zeros((100, 100), np.uint8))
    >>> particle_depth(Session(depth=Flat()), picture, one).window
    (44, 34, 76, 66)
    """
    _session(session)
    if not isinstance(mask, Mask):
        raise DataError(f"mask is one Mask, not {type(mask).__name__}; pick one, e.g. masks[0].")
    if isinstance(image, Image) and mask.shape != image.shape:
        raise DataError(f"a mask of a frame {mask.shape} on an image of {image.shape}.")
    return session.depth(image, particle_window(mask, margin))


def roughness_table(
    session: Session,
    image: Image,
    masks: MaskSet | Mask,
    form: str | None = None,
    *,
    settings: RoughnessSettings | None = None,
    progress: bool = True,
) -> pd.DataFrame:
    """Return the roughness of every particle of a micrograph, one row each.

    Every particle is looked at through a window of its own (`particle_depth`), its depth is scaled
    on the particle (`point_cloud`), its form is taken off (`roughness`). Depth maps stay in the
    session's cache: interrupting loses only the particle at hand, and calling again, with another
    form too, goes on from there.

    Parameters
    ----------
    session : Session
    image : Image
        With a calibration.
    masks : MaskSet or Mask
    form : str
        ``"sphere"``, ``"ellipsoid"``, ``"polynomial"`` (``"polynomial-1"`` to ``-8``) or
        ``"none"`` for the main paper's formulas. It has no default, because it decides what
        counts as roughness.
    settings : RoughnessSettings or None
        Everything else: height, filters, the paper's values beside the others, a calibration
        law, limits of the flags. Its form counts where `form` is left out.
    progress : bool
        Show a bar where it takes longer than a second.

    Returns
    -------
    DataFrame
        As `particle_nb.core.surface.roughness_table` describes it, lengths in nm. The
        column ``floor_Sq_nm`` is what the depth model gives for a smooth sphere of that radius:
        the settings' `floor`, else the one that the model states of itself, else NaN. So with the
        model's own error in ``Sq_uncertainty_nm``: the settings' `depth_errors`, else the model's
        `roughness_errors`, else it is not in it and ``attrs["Sq_uncertainty"]`` says so.

    Raises
    ------
    CalibrationError
        If the image has no pixel size.
    DataError, ImageError
        If an argument is of the wrong type, the form is missing, or the masks are of another frame.
    ModelError
        If the depth model cannot be loaded.

    Examples
    --------
    >>> import numpy as np
    >>> from particle_nb.core.image import Calibration
    >>> class Truth:
    ...     name, digest = "true heights", ""
    ...     def estimate(self, image, window=None):
    ...         x0, y0, x1, y1 = window
    ...         y, x = np.mgrid[y0:y1, x0:x1] - 100.0
    ...         return np.sqrt(np.maximum(60.3**2 - x**2 - y**2, 0))
    >>> y, x = np.mgrid[:200, :200] - 100
    >>> picture = Image(np.full((200, 200), 90, np.uint8), Calibration(10, "nm"))
    >>> one = Mask.from_full(x**2 + y**2 < 60.3**2)
    >>> table = roughness_table(Session(depth=Truth()), picture, one, form="sphere")
    >>> table["radius_nm"].round(-1).tolist(), bool(table["Sq_nm"][0] < 0.6)
    ([600.0], True)
    """
    _session(session)
    if isinstance(masks, Mask):
        masks = MaskSet((masks,))
    if settings is None:
        settings = RoughnessSettings(form)  # type: ignore[arg-type]  # None is refused by name
    elif not isinstance(settings, RoughnessSettings):
        raise DataError(
            f"settings are RoughnessSettings, not {type(settings).__name__}; write "
            "RoughnessSettings('sphere', l_filter=300)."
        )
    elif form is not None:
        settings = replace(settings, form=form)
    if not isinstance(image, Image):
        raise DataError(f"image is an Image, not {type(image).__name__}; use read_image.")
    calibration = check_table(masks, image.calibration, settings, image)
    if not len(masks):
        return table_of((), masks, calibration, settings, image)
    if settings.floor is None:
        settings = replace(settings, floor=_stated_floor(session.depth_model, settings))
    if settings.depth_errors is None and _as_measured(settings):
        stated = getattr(session.depth_model, "roughness_errors", None)
        if isinstance(stated, DepthErrors):
            settings = replace(settings, depth_errors=stated)
    return table_of(_depths(session, image, masks, progress), masks, calibration, settings, image)


def _stated_floor(model: Any, settings: RoughnessSettings) -> float | None:
    """Sq over radius of a smooth sphere, as an embedded model states it of itself."""
    stated = getattr(model, "roughness_floor", None)
    if not _as_measured(settings):
        return None
    return float(stated) if isinstance(stated, (int, float)) and stated > 0 else None


def _as_measured(settings: RoughnessSettings) -> bool:
    """Whether what a model states of itself holds: a form taken off, and no filter after it."""
    filtered = settings.s_filter is not None or settings.l_filter is not None
    return not filtered and settings.form in ("sphere", "ellipsoid")


def _depths(session: Session, image: Image, masks: MaskSet, show: bool) -> Iterator[DepthMap]:
    """One depth map after the other, so that only the session's cache holds them all."""
    with progress_bar("depth and roughness", len(masks), show=show) as bar:
        for mask in masks:
            yield particle_depth(session, image, mask)
            bar.update()


def _session(session: Any) -> None:
    if not isinstance(session, Session):
        raise DataError(
            f"session is a Session, not {type(session).__name__}; write particle_nb.Session()."
        )
