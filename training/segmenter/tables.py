"""Print the tables of the model card from an evaluation report.

python -m training.segmenter.tables particle_nb/models/embedded/segmenter_report.json
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

SIZES = ("< 10 px", "10-20 px", "20-40 px", "40-100 px", ">= 100 px", "all")
KINDS = ("automatic", "click", "box")


def table(head: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """A Markdown table.

    >>> print(table(["a", "b"], [[1, 0.5]]))
    | a | b |
    |---|---|
    | 1 | 0.500 |
    """
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    for row in rows:
        cells = [f"{cell:.3f}" if isinstance(cell, float) else str(cell) for cell in row]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def prompts(report: dict[str, Any]) -> Iterable[str]:
    """Accuracy of clicks and boxes, of corrections, by class, and reliability."""
    ece = " / ".join(f"{report['ece_' + name]:.3f}" for name in ("click", "box", "both"))
    yield table(
        ["", ""],
        [
            ["one click in the middle, first candidate, IoU", report["click"]],
            ["best of its three candidates", report["best"]],
            ["box, each side off by up to 10%", report["box"]],
            ["expected calibration error of predicted IoU: clicks / boxes / both", ece],
        ],
    )
    fixes = report["corrections"]
    rows = []
    for name, text in (
        ("second", "a second click in the middle of the largest error ({} below 0.98)"),
        ("negative", "a negative click in the largest false part, if a tenth of the mask ({})"),
    ):
        if f"{name}_count" in fixes:
            values = [fixes[f"{name}_{key}"] for key in ("before", "after", "after_from_mask")]
            rows.append([text.format(fixes[f"{name}_count"]), *values])
    yield table(["", "before", "after, clicks alone", "after, clicks and the previous mask"], rows)
    for key, order in (("by_shape", None), ("by_size", SIZES)):
        found = report[key]
        names = [name for name in (order or sorted(found)) if name in found]
        yield table(
            ["class", "particles", "click, first", "click, best of 3", "box"],
            [[n, *(found[n][k] for k in ("count", "click", "best", "box"))] for n in names],
        )
    yield table(
        ["predicted IoU", "prompts", "mean predicted", "mean true"],
        [
            [f"{row['low']:.1f} to {row['high']:.1f}", int(row["n"]), row["predicted"], row["true"]]
            for row in report["reliability"]
            if row["n"]
        ],
    )


def automatic(report: dict[str, Any]) -> Iterable[str]:
    """The automatic mode in all, and where it did worst."""
    images = report["automatic"]
    true, false, missed = (sum(one[key] for one in images) for key in ("tp", "fp", "fn"))
    sure = report["confidence"]
    yield table(
        ["", ""],
        [
            ["true, false, missed", f"{true}, {false}, {missed}"],
            ["F1 of all particles", 2 * true / (2 * true + false + missed)],
            ["mean F1 of the images", report["f1"]],
            ["mean AJI of the images", report["aji"]],
            ["calibration error of `confidence`", sure["ece"]],
            ["AUROC of `confidence`", sure.get("auroc", "")],
            ["calibration error of predicted IoU", report["ece_automatic"]],
        ],
    )
    worst = sorted(images, key=lambda one: (one["f1"], one["aji"]))[:8]
    yield table(
        ["image", "true", "found", "F1", "AJI"],
        [
            [
                Path(one["image"]).stem[:10],
                one["tp"] + one["fn"],
                one["tp"] + one["fp"],
                f"{one['f1']:.2f}",
                f"{one['aji']:.2f}",
            ]
            for one in worst
        ],
    )


def sizes(report: dict[str, Any]) -> str:
    """Error of the radius by diameter."""
    rows = []
    for name in SIZES:
        row = [name]
        for kind in KINDS:
            one = report.get(f"size_bias_{kind}", {}).get(name)
            row.append(
                f"{one['px']:+.2f} px, {one['percent']:+.1f}% ({one['count']})" if one else ""
            )
        rows.append(row)
    return table(["diameter", "automatic mode", "one click", "box"], rows)


def main(argv: list[str] | None = None) -> None:
    """Parse the command line and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("report", type=Path)
    report = json.loads(parser.parse_args(argv).report.read_text())
    for text in (*prompts(report), *automatic(report), sizes(report)):
        print(text, end="\n\n")


if __name__ == "__main__":
    main()
