"""Batches compared: one page with the distributions, the differences and what they rest on."""

from __future__ import annotations

import html
import os
from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from particle_nb.batches.results import BatchResult, read_batch
from particle_nb.batches.summary import _STYLE, _table
from particle_nb.core.errors import DataError
from particle_nb.core.exports import write_csv
from particle_nb.core.files import atomic
from particle_nb.core.sizes import Comparison, compare
from particle_nb.figures.style import unit_text

# particles that the frame cuts drop out, and large ones count more to make up for it
_WHOLE = "miles_lantuejoul"


def compare_batches(
    batches: Mapping[str, BatchResult | str | os.PathLike[str]],
    out: str | os.PathLike[str] = "comparison",
    size: str = "x_A",
    r: int = 3,
) -> Comparison:
    """Compare whole batches and write ``comparison.html`` and ``comparison.csv`` into a folder.

    Particles that the frame cuts are left out and made up for (Miles-Lantuejoul weights).

    Parameters
    ----------
    batches : mapping of str to BatchResult or folder
        Names as they stand in tables and figures; every sample is compared with the first.
    out : path
        Folder of the page; made where missing.
    size, r :
        As in `particle_nb.compare`.

    Raises
    ------
    DataError
        If a folder holds no batch, a batch no whole particle, or the page cannot be written.

    Examples
    --------
    >>> compare_batches({"a": "no-such-folder", "b": "no-such-folder"})
    Traceback (most recent call last):
    ...
    particle_nb.core.errors.DataError: no completed batch in 'no-such-folder'; ...
    """
    if not isinstance(batches, Mapping):
        raise DataError(
            "compare_batches takes a dict of names and batches, {'dry': 'out_dry', ...}, not "
            f"{type(batches).__name__}."
        )
    read = {
        str(name): one if isinstance(one, BatchResult) else read_batch(one)
        for name, one in batches.items()
    }
    tables = {}
    for name, one in read.items():
        table = one.particles()
        if "edge_weight" not in table or not (table["edge_weight"] > 0).any():
            raise DataError(f"no whole particle was found in any image of {name!r}.")
        tables[name] = table
    found = compare(tables, size, r, weights=_WHOLE)
    write_comparison(found, out)
    return found


def write_comparison(comparison: Comparison, out: str | os.PathLike[str]) -> Path:
    """Write a comparison as a page that works offline, and its differences as CSV; return the page.

    Parameters
    ----------
    comparison : Comparison
    out : path
        Folder of ``comparison.html`` and ``comparison.csv``; made where missing.

    Raises
    ------
    DataError
        If it is no `Comparison`, or the folder cannot be made.
    """
    if not isinstance(comparison, Comparison):
        raise DataError(
            f"write_comparison takes what compare returns, not {type(comparison).__name__}."
        )
    folder = Path(out)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DataError(f"the folder {str(folder)!r} cannot be made: {error}.") from None
    write_csv(comparison.differences, folder / "comparison.csv")
    with atomic(folder / "comparison.html") as stream:
        stream.write(_page(comparison).encode("utf-8"))
    return folder / "comparison.html"


def _page(comparison: Comparison) -> str:
    from particle_nb.figures.comparing import compare as drawn

    unit = unit_text(comparison.unit)
    samples = [
        [name, int(row.n), int(row.images) or "–", *(f"{row[f'D{p}']:.4g}" for p in (10, 50, 90))]
        for name, row in comparison.samples.iterrows()
    ]
    sizes = [f"x_{p},{comparison.r} / {unit}" for p in (10, 50, 90)]
    title = "Samples compared"
    chances = ["p", "p_Holm"]
    notes = [*comparison.notes, *_doubts(comparison.differences)]
    figure = drawn(comparison).to_html(full_html=False, include_plotlyjs=True)
    parts = [
        f"<h1>{title}: {html.escape(', '.join(comparison.distributions))}</h1>",
        _table(["sample", "particles", "images", *sizes], samples),
        *(f"<p class=note>{html.escape(note)}</p>" for note in notes),
        figure,
        "<h2>Differences</h2>",
        f"<p>Intervals ({100 * comparison.level:g} %) hold: {html.escape(comparison.holds)}. "
        f"Not in them: {html.escape(comparison.lacks)}. Test: {comparison.test}; p<sub>Holm</sub> "
        "is for all quantities of a pair together.</p>",
        _table(
            [
                "quantity",
                "sample",
                "against",
                "difference",
                "interval",
                "%",
                "interval",
                *chances,
            ],
            _lines(comparison.differences),
            (comparison.differences["p_holm"] < 0.05).tolist(),
        ),
    ]
    return (
        f'<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8"><title>{title}</title>'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<style>{_STYLE}</style></head><body>\n" + "\n".join(parts) + "\n</body></html>\n"
    )


def _doubts(differences: pd.DataFrame) -> list[str]:
    return list(dict.fromkeys(text for text in differences["doubt"] if text))


def _lines(differences: pd.DataFrame) -> list[list[str]]:
    lines = []
    for row in differences.to_dict("records"):
        unit = unit_text(row["unit"])
        percent, limits = "–", ("–", "–")
        if row["percent"] == row["percent"]:
            percent = f"{row['percent']:+.1f}"
            limits = (
                f"{row['low']:+.3g} to {row['high']:+.3g}",
                f"{row['percent_low']:+.1f} to {row['percent_high']:+.1f}",
            )
        quantity = row["quantity"].replace("_", " ")
        lines.append(
            [
                "largest distance of the sums" if quantity == "distribution" else quantity,
                row["sample"],
                row["against"],
                f"{row['difference']:+.4g} {unit}".strip(),
                limits[0],
                percent,
                limits[1],
                f"{row['p']:.3g}",
                f"{row['p_holm']:.3g}",
            ]
        )
    return lines
