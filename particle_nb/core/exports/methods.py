"""The paragraph of a paper's methods section, written from what the results say of themselves."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import pandas as pd

from particle_nb.core.cascade import FilterSettings
from particle_nb.core.errors import DataError
from particle_nb.core.sizes import SizeDistribution
from particle_nb.core.sizes.curves import QUANTITY

_UNITS = {"um": "µm"}
#: From this ratio of its limits on an interval is not worth printing: two images that differ.
_SAYS_NOTHING = 100.0
_NAMES = {
    "x_A": "the diameter of a circle of equal area, x_A (ISO 9276-6)",
    "x_Fmin": "the least Feret diameter, x_Fmin (ISO 9276-6)",
    "x_Fmax": "the greatest Feret diameter, x_Fmax (ISO 9276-6)",
}


def methods_text(
    table: pd.DataFrame | Sequence[pd.DataFrame],
    *,
    session: Any = None,
    audit: pd.DataFrame | Sequence[pd.DataFrame] | None = None,
    distribution: SizeDistribution | None = None,
    corrected: str = "",
) -> str:
    """Return a paragraph for a paper: software, model, scale, filters, counts, sizes, intervals.

    It says only what is known from the arguments, and says of what is missing that it was not
    recorded. Read it before you print it.

    Parameters
    ----------
    table : DataFrame or sequence of DataFrame
        From `measure`, or `BatchResult.particles`, which knows its images and models. Of several
        images give the list of their tables, those without a particle too: a joined table has
        lost what they say of scale and estimator, and does not know of an image without particles.
    session : Session or None
        Names the model and the digest of its weights.
    audit : DataFrame, sequence of DataFrame or None
        The second thing that `cascade` returns, one an image: the filters and how many masks were
        proposed.
    distribution : SizeDistribution or None
        Its D10, D50 and D90 with 95 % intervals are told.
    corrected : str
        What a person did by hand, in your words, e.g. ``"12 masks were redrawn"``.

    Raises
    ------
    DataError
        If an argument is not what it should be, there is no particle, or the tables have lengths
        in different units.

    Examples
    --------
    >>> table = pd.DataFrame({"x_A_um": [1.0, 2.0, 4.0]})
    >>> table.attrs.update(estimator="contour", calibration="5 nm/px (FEI tag PixelWidth)")
    >>> text = methods_text([table, table])
    >>> "Two micrographs" in text, "6 particles were measured" in text
    (True, True)
    >>> "at 5 nm/px (FEI tag PixelWidth)" in text
    True
    """
    tables = _tables(table)
    audits = _audits(audit)
    if distribution is not None and not isinstance(distribution, SizeDistribution):
        raise DataError(
            f"distribution is a SizeDistribution, not {type(distribution).__name__}; use "
            "size_distribution(table)."
        )
    if not isinstance(corrected, str):
        raise DataError(f"corrected is a sentence, not {type(corrected).__name__}.")
    images = _images(tables, not isinstance(table, pd.DataFrame))
    if audits and images and len(audits) != images:
        raise DataError(
            f"{len(audits)} audits of {images} images: give one an image, none joined from several."
        )
    parts = [
        _segmented(tables, images, session),
        _filtered(audits, tables),
        f"{corrected.strip().rstrip('.')}." if corrected.strip() else "",
        _measured(tables),
        _sized(distribution) if distribution is not None else "",
        f"Software: The particle_nb developers, particle_nb, version {_version()}, MIT licence.",
    ]
    return " ".join(part for part in parts if part)


def _tables(given: Any) -> list[pd.DataFrame]:
    tables = [given] if isinstance(given, pd.DataFrame) else given
    if not isinstance(tables, Sequence) or isinstance(tables, str):
        tables = []
    right = all(isinstance(table, pd.DataFrame) for table in tables)
    if not right or not sum(len(table) for table in tables):
        raise DataError(
            "methods_text takes a table of measure, or a list of them, with at least one particle."
        )
    units = {str(table.attrs["unit"]) for table in tables if "unit" in table.attrs}
    if len(units) > 1:
        raise DataError(
            f"the tables have lengths in {' and '.join(sorted(units))}: write a text for each, or "
            "measure them in one unit."
        )
    return list(tables)


def _audits(given: Any) -> list[pd.DataFrame]:
    audits = [] if given is None else [given] if isinstance(given, pd.DataFrame) else given
    if not isinstance(audits, Sequence) or not all(
        isinstance(audit, pd.DataFrame) and "settings" in audit.attrs for audit in audits
    ):
        raise DataError(
            "audit is the second value of cascade, with its attrs, or a list of them; joined by "
            "pandas they lose what they say."
        )
    return list(audits)


def _images(tables: Sequence[pd.DataFrame], listed: bool) -> int:
    """How many images there are; 0 where nobody knows."""
    if listed:
        return sum(int(table.attrs.get("images", 1)) for table in tables)
    (table,) = tables
    if "images" in table.attrs:
        return int(table.attrs["images"])
    return int(table["image"].nunique()) if "image" in table else 0


def _version() -> str:
    try:
        return version("particle_nb")
    except PackageNotFoundError:
        return "unknown (not installed)"


def _segmented(tables: Sequence[pd.DataFrame], images: int, session: Any) -> str:
    words = {0: "Micrographs were", 1: "One micrograph was", 2: "Two micrographs were"}
    where = words.get(images, f"{images} micrographs were")
    text = f"{where} segmented with particle_nb {_version()}"
    if session is None:
        models = {table.attrs.get("model", "") for table in tables}
        known = " and ".join(sorted(models)) if all(models) else ""
        return f"{text} by the model {known}." if known else f"{text}; the model was not recorded."
    model = getattr(session, "segmenter", None)
    name, digest = getattr(model, "name", ""), getattr(model, "digest", "")
    if not name:
        raise DataError("session has no segmenter with a name; pass the Session that was used.")
    return f"{text} by the model {model_text(name, digest)}."


def model_text(name: str, digest: str) -> str:
    """Name a model as the paragraph does.

    Examples
    --------
    >>> model_text("pnb-small-3", "f30b69bca88889baffff")
    "'pnb-small-3' (digest of its weights f30b69bca88889ba)"
    """
    return f"{name!r} (digest of its weights {str(digest)[:16]})"


def _filtered(audits: Sequence[pd.DataFrame], tables: Sequence[pd.DataFrame]) -> str:
    """The filters, from audits, or from what the tables of batches say of themselves."""
    known: list[Mapping[Any, Any]] = [_audited(audit) for audit in audits]
    known = known or [table.attrs for table in tables]
    if not all("filters" in one for one in known):
        return "Filters of the proposed masks were not recorded."
    settings = {str(one["filters"]): one["filters"] for one in known}
    proposed = sum(int(one["proposed"]) for one in known)
    stages: Counter[str] = Counter()
    for one in known:
        stages.update(one["removed"])
    told = ", ".join(f"{count} by {name.replace('_', ' ')}" for name, count in stages.items())
    tail = f" ({told} removed)" if told else ""
    filters = "; or, on other images, ".join(_settings_text(one) for one in settings.values())
    kept = proposed - stages.total()
    return f"Of {proposed} proposed masks {kept} were kept{tail}; filters: {filters}."


def _audited(audit: pd.DataFrame) -> dict[str, Any]:
    """What an audit says, as the table of a batch says it."""
    removed = audit[audit["verdict"] == "removed"].drop_duplicates("mask")
    return {
        "filters": dict(audit.attrs["settings"]),
        "proposed": audit.attrs.get("proposals", audit["mask"].nunique()),
        "removed": Counter(map(str, removed["stage"])),
    }


def _settings_text(settings: Mapping[str, Any]) -> str:
    plain = vars(FilterSettings())
    return "; ".join(
        f"{name} = {value}" + ("" if value != plain.get(name) else " (default)")
        for name, value in settings.items()
        if value is not None
    )


def _measured(tables: Sequence[pd.DataFrame]) -> str:
    text = f"{sum(map(len, tables))} particles were measured"
    estimators = {table.attrs.get("estimator", "") for table in tables}
    text += f" (outline: {' or '.join(sorted(estimators))})" if all(estimators) else ""
    scales: Counter[str] = Counter()
    for table in tables:
        one = table.attrs.get("calibration")
        scales.update(table.attrs.get("scales", {one or "": 1}))
    if "" in scales:
        return f"{text}; the source of the scale was not recorded."
    if set(scales) == {"none"}:
        return f"{text} in pixels, without a scale."
    if len(scales) == 1:
        return f"{text} at {next(iter(scales))}."
    each = [
        f"{'in pixels, without a scale,' if one == 'none' else f'at {one}'} on {_many(count)}"
        for one, count in scales.most_common()
    ]
    return f"{text} {'; '.join(each)}."


def _many(count: int) -> str:
    return "one image" if count == 1 else f"{count} images"


def _sized(distribution: SizeDistribution) -> str:
    unit = _UNITS.get(distribution.unit, distribution.unit)
    r = distribution.r
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what they say stands in `doubt`
        rows = distribution.summary()
    shares = []
    for p in (10, 50, 90):
        row = rows.loc[f"D{p}"]
        told = row.low == row.low and row.high < _SAYS_NOTHING * row.low
        limits = (
            f" ({row.low:.4g} to {row.high:.4g} {unit})"
            if told
            else " (no interval: too few particles or images)"
        )
        star = ", a lower bound of its width" if row.doubt and told else ""
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
