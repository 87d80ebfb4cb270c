"""Estimators of size and shape on outlines whose geometry is known: bias, scatter and limits."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pandas as pd
from scipy.spatial import ConvexHull
from scipy.spatial.distance import pdist
from skimage import measure as sk_measure

from particle_nb.core.errors import DataError
from particle_nb.core.masks import Mask, MaskSet
from particle_nb.core.shape import measure
from particle_nb.core.synthetic.outlines import OUTLINES, KnownOutline

_SMOOTH = ("disc", "ellipse 2:1")
#: What this package promises: outlines, quantity, from which x_A in px, largest bias in per cent.
LIMITS = (
    (_SMOOTH, "area", 20, 0.3),
    (_SMOOTH, "perimeter", 20, 0.5),
    (_SMOOTH, "form_factor", 20, 2.0),
    (_SMOOTH, "x_Fmax", 20, 1.5),
    (_SMOOTH, "x_Fmin", 20, 1.5),
    (_SMOOTH, "x_Fmax", 40, 1.0),
    (_SMOOTH, "x_Fmin", 40, 1.0),
    (("disc",), "convexity", 20, 0.5),
    (("disc",), "aspect_ratio", 20, 3.0),
    (("disc",), "aspect_ratio", 40, 2.0),
    (("square",), "perimeter", 40, 2.0),
    (("square",), "x_Fmax", 40, 2.5),
)


def conventional_estimates(mask: Mask) -> dict[str, float]:
    """Return what other tools would say of the same mask, px or 1.

    scikit-image's perimeter (4-neighbourhood), its Crofton perimeter in four directions, the
    length of the unsmoothed contour at 0.5, the greatest distance between pixel centres,
    scikit-image's ``feret_diameter_max``, and 4 pi A / P^2 with scikit-image's perimeter.

    Raises
    ------
    DataError
        If the mask has fewer than three pixels that do not lie on one line.

    Examples
    --------
    >>> found = conventional_estimates(Mask((2, 2), np.ones((10, 10), bool), (20, 20)))
    >>> found["perimeter, skimage"], round(found["x_Fmax, pixel centres"], 3)
    (36.0, 12.728)
    """
    full = np.pad(mask.crop, 2)
    corners = np.argwhere(full)
    if len(corners) < 3 or np.ptp(corners, axis=0).min() == 0:
        raise DataError(f"a mask of {len(corners)} px on one line has no outline to compare.")
    region = sk_measure.regionprops(full.astype(np.uint8))[0]
    contour = max(sk_measure.find_contours(full.astype(float), 0.5), key=len)
    corners = corners[ConvexHull(corners).vertices]
    perimeter = sk_measure.perimeter(full, 4)
    return {
        "perimeter, skimage": float(perimeter),
        "perimeter, Crofton": float(sk_measure.perimeter_crofton(full, 4)),
        "perimeter, plain contour": float(np.linalg.norm(np.diff(contour, axis=0), axis=1).sum()),
        "x_Fmax, pixel centres": float(pdist(corners).max()),
        "x_Fmax, skimage": float(region.feret_diameter_max),
        "form_factor, skimage": 4 * math.pi * mask.area / perimeter**2,
    }


def outline_accuracy(
    diameters: Sequence[float],
    samples: int,
    rng: np.random.Generator,
    outlines: Sequence[str] = OUTLINES,
) -> pd.DataFrame:
    """Return how far estimates of size and shape lie from the truth of known outlines.

    Parameters
    ----------
    diameters : floats
        Of the circle of equal area, px.
    samples : int
        Drawings of each outline and size, each at its own place and angle; 2 or more.
    rng : numpy Generator
    outlines : names of `OUTLINES`

    Returns
    -------
    DataFrame
        One row an outline, diameter and quantity: columns ``shape``, ``ECD / px``, ``quantity``
        (this package's by the names of `measure`, others with the tool behind a comma),
        ``bias / %`` and ``scatter / %`` (one standard deviation) of the truth, and ``mean`` in px,
        px^2 or 1.

    Raises
    ------
    DataError
        If there are fewer than two samples, or an outline is unknown or too small.

    Examples
    --------
    >>> table = outline_accuracy([40], 5, np.random.default_rng(0), ["disc"])
    >>> bool(table.set_index("quantity").loc["perimeter", "bias / %"] < 0.5)
    True
    """
    if not isinstance(samples, (int, np.integer)) or samples < 2:
        raise DataError(f"samples must be 2 or more, not {samples!r}: a scatter needs two.")
    rows = []
    for kind in outlines:
        for diameter in diameters:
            outline = KnownOutline(kind, diameter)
            true = outline.truth()
            masks = [outline.draw(rng) for _ in range(int(samples))]
            for name, values in _estimates(masks).items():
                error = 100 * (np.asarray(values, float) / true[name.split(",")[0]] - 1)
                rows.append(
                    {
                        "shape": kind,
                        "ECD / px": diameter,
                        "quantity": name,
                        "bias / %": error.mean(),
                        "scatter / %": error.std(ddof=1),
                        "mean": float(np.mean(values)),
                    }
                )
    return pd.DataFrame(rows)


def _estimates(masks: list[Mask]) -> dict[str, pd.Series]:
    """Every quantity of every mask, this package's first."""
    ours = measure(MaskSet(tuple(masks)))
    return {
        "area": ours["area_px2"],
        **{name: ours[f"{name}_px"] for name in ("perimeter", "x_Fmax", "x_Fmin")},
        **{name: ours[name] for name in ("form_factor", "aspect_ratio", "convexity")},
        **pd.DataFrame([conventional_estimates(mask) for mask in masks]),
    }


def kept_limits(accuracy: pd.DataFrame) -> pd.DataFrame:
    """Return each of `LIMITS` beside the worst bias from its size on.

    Parameters
    ----------
    accuracy : DataFrame
        From `outline_accuracy`.

    Returns
    -------
    DataFrame
        Columns ``shape``, ``quantity``, ``from ECD / px``, ``limit / %``, ``worst bias / %``,
        ``at ECD / px`` and ``kept``; limits whose outlines or sizes were not drawn are left out.

    Examples
    --------
    >>> row = {"shape": "disc", "ECD / px": 50, "quantity": "area", "bias / %": -0.4}
    >>> kept_limits(pd.DataFrame([row]))["kept"].tolist()
    [False]
    """
    checks = []
    for shapes, quantity, least, limit in LIMITS:
        for kind in shapes:
            part = accuracy[
                (accuracy["shape"] == kind)
                & (accuracy["quantity"] == quantity)
                & (accuracy["ECD / px"] >= least)
            ]
            if part.empty:
                continue
            worst = part.iloc[int(part["bias / %"].abs().argmax())]
            checks.append(
                {
                    "shape": kind,
                    "quantity": quantity,
                    "from ECD / px": least,
                    "limit / %": limit,
                    "worst bias / %": worst["bias / %"],
                    "at ECD / px": worst["ECD / px"],
                    "kept": bool(abs(worst["bias / %"]) <= limit),
                }
            )
    return pd.DataFrame(checks)
