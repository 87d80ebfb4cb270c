"""Roughness of synthetic spheres by several methods, paired with the Sq that was put in."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from particle_nb.core.errors import check_number
from particle_nb.core.surface import RoughnessSettings, contour_roughness
from particle_nb.core.synthetic.scenes import Scene
from particle_nb.core.synthetic.spheres import TrueHeights, random_sphere
from particle_nb.session import Session
from particle_nb.topography import roughness_table


@dataclass(frozen=True)
class SphereSettings:
    """Which spheres are made, and the long waves that one of the methods leaves out.

    Parameters
    ----------
    radius_nm : float
        Median radius, nm.
    correlation_nm : float
        Correlation length of the roughness, nm; twice the Sq where that is more.
    l_filter_nm : float
        Waves longer than this are taken out in one of the methods, nm.
    pixel_nm : float
        Pixel size, nm.

    Raises
    ------
    DataError
        If a length is not positive.
    """

    radius_nm: float = 1000.0
    correlation_nm: float = 60.0
    l_filter_nm: float = 500.0
    pixel_nm: float = 5.5

    def __post_init__(self) -> None:
        for name in ("radius_nm", "correlation_nm", "l_filter_nm", "pixel_nm"):
            check_number(name, getattr(self, name), 1e-3, 1e7)


def roughness_pairs(
    sq_nm: Sequence[float],
    session: Session | None,
    rng: np.random.Generator,
    settings: SphereSettings | None = None,
) -> pd.DataFrame:
    """Return what each method says of spheres of known Sq, each seen by a detector of its own.

    Parameters
    ----------
    sq_nm : floats
        The Sq of each sphere, nm.
    session : Session or None
        With the depth model under test; None tests the formulas on the true heights alone, which
        otherwise stand beside it.
    rng : numpy Generator
    settings : SphereSettings or None

    Returns
    -------
    DataFrame
        One row a sphere and method: ``particle``, ``method``, ``estimate_nm``, ``null_nm`` (what a
        smooth sphere gives, where the form is included), ``reference_nm`` (the Sq put in),
        ``x_A_px`` and ``flags``.

    Examples
    --------
    >>> lengths = SphereSettings(radius_nm=300, pixel_nm=8.0, l_filter_nm=150)
    >>> pairs = roughness_pairs([8.0], None, np.random.default_rng(0), lengths)
    >>> one = pairs.set_index("method").loc["true heights: sphere removed"]
    >>> bool(abs(one["estimate_nm"] / one["reference_nm"] - 1) < 0.3)
    True
    """
    settings = settings or SphereSettings()
    rows = []
    for number, sq in enumerate(sq_nm):
        made = random_sphere(
            float(sq), 2 * settings.radius_nm, settings.correlation_nm, settings.pixel_nm, rng
        )
        true = Session(depth=TrueHeights(made.height))
        rows += [
            {"particle": number, **row, "reference_nm": float(sq)}
            for row in _methods(made, [true] if session is None else [session, true], settings)
        ]
    columns = [
        "particle",
        "method",
        "estimate_nm",
        "null_nm",
        "reference_nm",
        "x_A_px",
        "flags",
    ]
    return pd.DataFrame(rows, columns=columns)


def _methods(
    made: Scene, sessions: list[Session], settings: SphereSettings
) -> list[dict[str, object]]:
    """What each method says of one sphere."""
    outline = contour_roughness(made.masks, made.image.calibration)
    ways = (
        RoughnessSettings("sphere", paper=True),
        RoughnessSettings("sphere", l_filter=settings.l_filter_nm),
    )
    found = []
    for session in sessions:
        name = session.depth_model.name
        plain, fine = (
            roughness_table(session, made.image, made.masks, settings=way, progress=False).iloc[0]
            for way in ways
        )
        smooth, flags = plain["null_Rq_nm"], plain["flags"]
        below = f"{name}: waves below {settings.l_filter_nm:g} nm"
        found += [
            (f"{name}: sphere removed", plain["Sq_nm"], np.nan, flags),
            (f"{name}: form included", plain["Rq_nm"], smooth, flags),
            (below, fine["Sq_nm"], np.nan, fine["flags"]),
        ]
    silhouette = float(outline["Rq_corrected_nm"].iloc[0])
    found += [("form-only null", smooth, np.nan, ""), ("silhouette", silhouette, np.nan, "")]
    return [
        {
            "method": method,
            "estimate_nm": value,
            "null_nm": null,
            "x_A_px": plain["x_A_px"],
            "flags": flags,
        }
        for method, value, null, flags in found
    ]
