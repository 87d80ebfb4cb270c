"""The paragraph of a paper's methods section, written from what the results say of themselves."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import pandas as pd

from particle_nb.core.cascade import FilterSettings
from particle_nb.core.errors import DataError
from particle_nb.core.sizes import SizeDistribution
from particle_nb.core.sizes.curves import QUANTITY

_UNITS = {"um": "µm"}
_NAMES = {
    "x_A": "the diameter of a circle of equal area, x_A (ISO 9276-6)",
    "x_Fmin": "the least Feret diameter, x_Fmin (ISO 9276-6)",
    "x_Fmax": "the greatest Feret diameter, x_Fmax (ISO 9276-6)",
}


def methods_text(
    table: pd.DataFrame,
    *,
    session: Any = None,
    audit: pd.DataFrame | None = None,
    distribution: SizeDistribution | None = None,
    corrected: str = "",
) -> str:
    """Return a paragraph for a paper: software, model, scale, filters, counts, sizes, intervals.

    It says only what is known from the arguments, and says of what is missing that it was not
    recorded. Read it before you print it.

    Parameters
    ----------
    table : DataFrame
        From `measure` or a batch.
    session : Session or None
        Names the model and the digest of its weights.
    audit : DataFrame or None
        The second thing that `cascade` returns: the filters and how many masks were proposed.
    distribution : SizeDistribution or None
        Its D10, D50 and D90 with 95 % intervals are told.
    corrected : str
        What a person did by hand, in your words, e.g. ``"12 masks were redrawn"``.

    Raises
    ------
    DataError
        If an argument is not what it should be, or the table is empty.

    Examples
    --------
    >>> table = pd.DataFrame({"x_A_um": [1.0, 2.0, 4.0]})
    >>> table.attrs.update(estimator="contour", calibration="5 nm/px (FEI tag PixelWidth)")
    >>> text = methods_text(table)
    >>> "3 particles were measured" in text, "5 nm/px (FEI tag PixelWidth)" in text
    (True, True)
    """
    _check(table, audit, distribution, corrected)
    parts = [
        _segmented(table, session),
        _filtered(audit),
        f"{corrected.strip().rstrip('.')}." if corrected.strip() else "",
        _measured(table),
        _sized(distribution) if distribution is not None else "",
        f"Software: The particle_nb developers, particle_nb, version {_version()}, MIT licence.",
    ]
    return " ".join(part for part in parts if part)


def _check(table: Any, audit: Any, distribution: Any, corrected: Any) -> None:
    if not isinstance(table, pd.DataFrame) or table.empty:
        raise DataError("methods_text takes a table of measure with at least one particle.")
    if audit is not None and not (isinstance(audit, pd.DataFrame) and "settings" in audit.attrs):
        raise DataError("audit is the second value of cascade, with its attrs.")
    if distribution is not None and not isinstance(distribution, SizeDistribution):
        raise DataError(
            f"distribution is a SizeDistribution, not {type(distribution).__name__}; use "
            "size_distribution(table)."
        )
    if not isinstance(corrected, str):
        raise DataError(f"corrected is a sentence, not {type(corrected).__name__}.")


def _version() -> str:
    try:
        return version("particle_nb")
    except PackageNotFoundError:
        return "unknown (not installed)"


def _segmented(table: pd.DataFrame, session: Any) -> str:
    images = table["image"].nunique() if "image" in table else 0
    where = "One micrograph was" if images == 1 else f"{images} micrographs were"
    where = where if images else "Micrographs were"
    text = f"{where} segmented with particle_nb {_version()}"
    if session is None:
        return f"{text}; the model was not recorded."
    model = getattr(session, "segmenter", None)
    name, digest = getattr(model, "name", ""), getattr(model, "digest", "")
    if not name:
        raise DataError("session has no segmenter with a name; pass the Session that was used.")
    return f"{text} by the model {name!r} (digest of its weights {str(digest)[:16]})."


def _filtered(audit: pd.DataFrame | None) -> str:
    if audit is None:
        return "Filters of the proposed masks were not recorded."
    settings: Mapping[str, Any] = audit.attrs["settings"]
    plain = vars(FilterSettings())
    on = [
        f"{name} = {value}" + ("" if value != plain.get(name) else " (default)")
        for name, value in settings.items()
        if value is not None
    ]
    removed = audit[audit["verdict"] == "removed"]
    stages = ", ".join(
        f"{count} by {str(stage).replace('_', ' ')}"
        for stage, count in removed["stage"].value_counts(sort=False).items()
    )
    proposed = int(audit.attrs.get("proposals", audit["mask"].nunique()))
    kept = proposed - removed["mask"].nunique()
    tail = f" ({stages} removed)" if stages else ""
    return f"Of {proposed} proposed masks {kept} were kept{tail}; filters: {'; '.join(on)}."


def _measured(table: pd.DataFrame) -> str:
    scale = table.attrs.get("calibration")
    estimator = table.attrs.get("estimator")
    text = f"{len(table)} particles were measured"
    text += f" (outline: {estimator})" if estimator else ""
    if scale and scale != "none":
        return f"{text} at {scale}."
    if scale == "none":
        return f"{text} in pixels, without a scale."
    return f"{text}; the source of the scale was not recorded."


def _sized(distribution: SizeDistribution) -> str:
    unit = _UNITS.get(distribution.unit, distribution.unit)
    r = distribution.r
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what they say stands in `doubt`
        rows = distribution.summary()
    shares = []
    for p in (10, 50, 90):
        row = rows.loc[f"D{p}"]
        limits = (
            f" ({row.low:.4g} to {row.high:.4g} {unit})"
            if row.low == row.low
            else " (no interval: too few particles)"
        )
        star = ", a lower bound of its width" if row.doubt and row.low == row.low else ""
        shares.append(f"x_{p},{r} = {row.value:.4g} {unit}{limits}{star}")
    size = _NAMES.get(distribution.size, distribution.size)
    uneven = distribution.weights.max() > distribution.weights.min()
    weights = (
        "; particles cut by the frame were left out and made up for by weights after Miles and "
        "Lantuéjoul"
        if uneven
        else ""
    )
    first = rows.iloc[0]
    return (
        f"Size is {size}, weighted by {QUANTITY[r]} (Q_{r}, ISO 9276-1), of {distribution.n} "
        f"particles{weights}: {'; '.join(shares)}. In parentheses: 95 % confidence intervals, "
        f"which hold {first['holds']}, and not {first['lacks']}."
    )
