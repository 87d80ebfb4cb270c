"""The summary of a batch: one page over all its images, and the tables behind it."""

from __future__ import annotations

import html
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from particle_nb.core.errors import DataError
from particle_nb.core.exports import methods_text, write_csv
from particle_nb.core.files import atomic
from particle_nb.core.sizes import (
    ImageVariation,
    SizeDistribution,
    image_variation,
    size_distribution,
)

if TYPE_CHECKING:
    import plotly.graph_objects as go

    from particle_nb.batches.results import BatchResult

# particles that the frame cuts drop out, and large ones count more to make up for it
_WHOLE = "miles_lantuejoul"
_MOST_ROWS = 2000
_MANY = 1_000_000
# beyond these the pooled numbers are those of a few particles, or of several samples
_ONE_CARRIES = 0.1
_DIFFERENT = 50.0

_NOTHING = "<p>No whole particle was found in any image.</p>"

_STYLE = """
html { color-scheme: light; background: #fff; }
body { font: 15px/1.45 Inter, "Segoe UI", Helvetica, Arial, sans-serif; color: #1f2933;
  margin: 2em auto; max-width: 1040px; padding: 0 1em; }
h1 { font-size: 1.5em; } h2 { font-size: 1.2em; margin-top: 2em; }
table { border-collapse: collapse; font-size: 14px; }
/* what is wider than a narrow window scrolls by itself, not the whole page */
table, div:has(> .plotly-graph-div) { display: block; max-width: 100%; overflow-x: auto; }
th, td { text-align: right; padding: .3em .7em; border-bottom: 1px solid #e4e7eb; }
th { border-bottom: 2px solid #1f2933; } td:first-child, th:first-child { text-align: left; }
tr.odd td { background: #fdeee5; } .left :is(th, td) { text-align: left; } small { color: #5b6770; }
.note { background: #fdeee5; padding: .5em .8em; max-width: 860px; }
"""


@dataclass(frozen=True, eq=False)
class BatchSummary:
    """What `summarise` wrote and found.

    Parameters
    ----------
    page : Path
        ``report.html``: works offline.
    table : Path or None
        ``summary.csv``: one row an image, the most unusual first; None without a whole particle.
    variation : ImageVariation or None
    distribution : SizeDistribution or None
        Of all images pooled, by volume.
    """

    page: Path
    table: Path | None
    variation: ImageVariation | None
    distribution: SizeDistribution | None


def summarise(result: BatchResult, size: str = "x_A", r: int = 3) -> BatchSummary:
    """Write the report of a batch into its folder: pooled distribution, image by image, failures.

    Percentiles, span and means are of all whole particles pooled, with Miles-Lantuejoul weights
    and intervals that know the images (`SizeDistribution.summary`); the table begins with the
    images that are least like the others.

    Parameters
    ----------
    result : BatchResult
    size : str
    r : int
        3 volume, 0 number.

    Raises
    ------
    DataError
        If `result` is no BatchResult, or the page cannot be written.

    Examples
    --------
    >>> summarise("out")
    Traceback (most recent call last):
    ...
    particle_nb.core.errors.DataError: summarise takes what batch or read_batch returns, not str.
    """
    from particle_nb.batches.results import BatchResult

    if not isinstance(result, BatchResult):
        raise DataError(
            f"summarise takes what batch or read_batch returns, not {type(result).__name__}."
        )
    table = result.particles()
    found, pooled, csv = None, None, None
    if "edge_weight" in table and (table["edge_weight"] > 0).any():
        found = image_variation(table, size, r, weights=_WHOLE)
        pooled = size_distribution(table, size, r, weights=_WHOLE)
        csv = result.folder / "summary.csv"
        write_csv(found.images, csv)
    page = result.folder / "report.html"
    with atomic(page) as stream:
        parts = _sizes(found, pooled) if found is not None and pooled is not None else [_NOTHING]
        if "class_probability" in table:
            parts += _classes(table, size, r)
        if len(table):
            parts += [
                "<h2>For the methods section of a paper</h2>",
                f"<p>{html.escape(methods_text(table, distribution=pooled))}</p>",
            ]
        stream.write(_page(result, parts).encode("utf-8"))
    return BatchSummary(page, csv, found, pooled)


def _page(result: BatchResult, sections: list[str]) -> str:
    images = result.images
    counts = images["status"].value_counts()
    facts = [
        f"{len(images)} images: " + ", ".join(f"{n} {status}" for status, n in counts.items()),
        f"{int(images['n'].sum())} particles",
    ]
    for name in ("segmenter", "weights", "scale", "classes", "features"):
        values = [value for value in images[name].unique() if value] if name in images else []
        if values:
            more = f" and {len(values) - 3} more" if len(values) > 3 else ""
            facts.append(f"{name} {', '.join(values[:3])}{more}")
    parts = [f"<h1>Batch of {len(images)} images</h1>", f"<p>{html.escape('; '.join(facts))}</p>"]
    parts += [*sections, *_failures(images)]
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8"><title>Batch</title>'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<style>{_STYLE}</style></head><body>\n" + "\n".join(parts) + "\n</body></html>\n"
    )


def _sizes(found: ImageVariation, pooled: SizeDistribution) -> list[str]:
    from particle_nb.figures.sizes import psd
    from particle_nb.figures.style import unit_text

    unit = unit_text(found.unit)
    rows = []
    known = pooled.summary()
    for name, row in zip(map(str, known.index), known.to_dict("records"), strict=True):
        limits = f"{row['low']:.4g} to {row['high']:.4g}" if row["low"] == row["low"] else "–"
        limits += "*" if row["doubt"] else ""
        count = ""
        if name.startswith("D") and "[" not in name:
            needed = pooled.counts_needed(float(name[1:]))
            count = f"{needed:,}" if needed <= _MANY else f"more than {_MANY:,}"
            name += f",{found.r}"
        rows.append([name, f"{row['value']:.4g}", limits, count])
    held = f"In the intervals (95 %): {known['holds'].iloc[0]}. Not in them: " + (
        f"{known['lacks'].iloc[0]}."
    )
    if (known["doubt"] != "").any():
        held += " * too few particles or images: in truth it is wider."
    spread = f"{found.between_percent:.1f} %" if len(found.images) > 1 else "unknown (one image)"
    odd = ", ".join(found.outliers) or "none"
    figure = psd(pooled, title="All images pooled")
    shown = found.images.drop(columns=["outlier"]).head(_MOST_ROWS)
    kinds = dict.fromkeys(shown, "{:.4g}") | {"image": "{}", "n": "{}", "score": "{:+.1f}"}
    kinds["deviation_percent"] = "{:+.1f}"
    lines = [
        [kinds[name].format(value) if value == value else "–" for name, value in row.items()]
        for row in shown.to_dict("records")
    ]
    left = len(found.images) - len(shown)
    return [
        "<h2>All images pooled</h2>",
        f"<p>{pooled.n} whole particles; those that the frame cuts are left out and made up for by "
        f"Miles-Lantuejoul weights. {held}</p>",
        _table(["", unit, "interval", "particles needed for ±5 %"], rows),
        *_warnings(found, pooled),
        _embedded(figure, True),
        "<h2>Image by image</h2>",
        f"<p>Medians scatter by <b>{spread}</b> between images. Unusual images (modified z-score "
        f"of ln D50 beyond 3.5): <b>{html.escape(odd)}</b>.</p>",
        _embedded(_medians(found), False),
        _table(
            [_heading(str(name)) for name in shown],
            lines,
            found.images["outlier"].head(_MOST_ROWS).tolist(),
        ),
        f"<p><small>{left} more in summary.csv</small></p>" if left else "",
    ]


def _classes(table: pd.DataFrame, size: str, r: int) -> list[str]:
    """What the classifier told: particles and sizes of every class over all images."""
    from particle_nb.core.learning import class_sizes
    from particle_nb.figures.style import unit_text

    names = [name for name in table if str(name).startswith("p_")]
    told = table[["class", "class_probability", *names]].rename(
        columns={"class_probability": "probability", **{name: str(name)[2:] for name in names}}
    )
    sized = class_sizes(table, told, size, r, rng=0)
    counts = table["class"].value_counts()
    rows = []
    for name, row in sized.iterrows():
        cells = [str(name), f"{counts.get(name, 0)}", f"{row['particles']:.1f}"]
        for place in (10, 50, 90):
            low, high = row[f"x_{place}_low"], row[f"x_{place}_high"]
            value = f"{row[f'x_{place}']:.4g}" if row[f"x_{place}"] == row[f"x_{place}"] else "–"
            cells.append(f"{value} ({low:.4g} to {high:.4g})" if low == low else value)
        rows.append(cells)
    unknown = int(counts.get("unknown", 0))
    return [
        "<h2>Classes</h2>",
        f"<p>{len(table)} particles, {unknown} of them unknown. Sizes of a class count every "
        "particle with its probability there; each interval (95 %) holds that, and the sampling, "
        "and no edge weights.</p>",
        _table(
            ["class", "told", "expected"]
            + [f"D{place},{r} {unit_text(sized.attrs['unit'])}" for place in (10, 50, 90)],
            rows,
        ),
    ]


def _warnings(found: ImageVariation, pooled: SizeDistribution) -> list[str]:
    told = []
    most = float(pooled.amounts.max())
    if most > _ONE_CARRIES:
        told.append(
            f"One particle carries {100 * most:.0f} % of the pooled distribution (its size and its "
            "edge weight): the upper percentiles are its own."
        )
    if len(found.images) > 1 and found.between_percent > _DIFFERENT:
        told.append(
            "The medians of the images differ so much that they may be of several samples; one "
            "distribution of all says little then."
        )
    return [f"<p class=note>{text}</p>" for text in told]


def _medians(found: ImageVariation) -> go.Figure:
    import plotly.graph_objects as go

    from particle_nb.figures.style import PALETTE, axis_title, layout

    columns = found.images.sort_values("image")
    middle = next(
        (name for name in map(str, columns) if name.startswith("D50_")), str(columns.columns[2])
    )
    fig = go.Figure(
        go.Scatter(
            x=columns["image"],
            y=columns[middle],
            mode="markers",
            marker={
                "size": 6 + 10 * np.sqrt(columns["n"] / columns["n"].max()),
                "color": np.where(columns["outlier"], PALETTE[5], PALETTE[0]),
                "symbol": np.where(columns["outlier"], "x", "circle"),
            },
            customdata=columns["n"],
            hovertemplate="%{x}: %{y:.4g}, %{customdata} particles<extra></extra>",
        )
    )
    value = float(found.pooled["value"].iloc[len(found.pooled) // 2])
    fig.add_hline(y=value, line={"color": PALETTE[0], "width": 1.5, "dash": "dash"})
    layout(fig, "Median of each image (dashed: pooled; crosses: unusual)", width=900, height=420)
    wide = columns[middle].max() > 20 * columns[middle].min()
    fig.update_yaxes(
        title=axis_title(found.size, found.unit),
        **({"type": "log", "exponentformat": "none"} if wide else {"rangemode": "tozero"}),
    )
    names = columns["image"].astype(str).tolist()[:: max(1, -(-len(columns) // 30))]
    short = [name if len(name) <= 24 else f"{name[:10]}…{name[-12:]}" for name in names]
    fig.update_xaxes(
        tickangle=-45, type="category", automargin=True, tickvals=names, ticktext=short
    )
    fig.update_layout(margin={"b": 130, "l": 110})
    return fig


def _failures(images: pd.DataFrame) -> list[str]:
    parts = []
    failed = images[images["status"] == "failed"]
    if len(failed):
        rows = failed[["image", "error", "message"]].astype(str).to_numpy().tolist()
        parts += ["<h2>Failed</h2>", _table(["image", "error", "message"], rows, text=True)]
    others = images[(images["status"] == "duplicate") | (images["notes"] != "")]
    if len(others):
        rows = others[["image", "message", "notes"]].astype(str).to_numpy().tolist()
        parts += ["<h2>Notes</h2>", _table(["image", "", "note"], rows[:_MOST_ROWS], text=True)]
    return parts


def _embedded(figure: go.Figure, script: bool) -> str:
    """The first figure brings plotly's code along for the others."""
    return figure.to_html(full_html=False, include_plotlyjs=script)


def _heading(name: str) -> str:
    """A column's name as people write it: ``D10 / µm`` for ``D10_um``."""
    for ending, unit in (("_um", "µm"), ("_nm", "nm"), ("_px", "px"), ("_percent", "%")):
        if name.endswith(ending):
            return f"{name.removesuffix(ending).replace('_', ' ')} / {unit}"
    return name.replace("_", " ")


def _table(
    heads: list[str],
    rows: list[list[Any]],
    marked: list[bool] | None = None,
    text: bool = False,
) -> str:
    marked = marked if marked is not None else [False] * len(rows)
    top = "".join(f"<th>{html.escape(str(head))}</th>" for head in heads)
    body = "".join(
        f"<tr{' class=odd' if odd else ''}>"
        + "".join(f"<td>{html.escape(str(cell))}</td>" for cell in row)
        + "</tr>"
        for row, odd in zip(rows, marked, strict=True)
    )
    kind = " class=left" if text else ""
    return f"<table{kind}><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table>"
