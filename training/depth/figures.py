"""Pictures of the depth model's card: learning curve, estimated and true Sq, examples.

    python -m training.depth.figures --log LOG --report REPORT --out DIR

Pillow alone draws them. --real PICTURE,LABELS,NUMBER adds particles of real micrographs (PNG and
16-bit label map; the number counts the particles from 0).
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image as Pillow
from PIL import ImageDraw

from particle_nb.core.image import Image
from particle_nb.core.masks import MaskSet
from particle_nb.models.embedded.depth import EmbeddedDepth, load
from particle_nb.models.tiles import particle_window
from training.depth.bar import BarSettings, Specimen, make_body, make_sphere
from training.depth.evaluate import BAR_FAMILIES, as_image
from training.figures import Curve, plot, smooth

CELL = 190

_STOPS = np.array(
    [(68, 1, 84), (59, 82, 139), (33, 145, 140), (94, 201, 98), (253, 231, 37)], float
)


def coloured(values: np.ndarray, low: float, high: float) -> np.ndarray:
    """Heights from `low` to `high` as colours from violet to yellow, white for NaN, uint8.

    Examples
    --------
    >>> coloured(np.array([[0.0, 1.0, np.nan]]), 0.0, 1.0)[0].tolist()
    [[68, 1, 84], [253, 231, 37], [255, 255, 255]]
    """
    share = np.clip((np.nan_to_num(values) - low) / (high - low), 0, 1) * (len(_STOPS) - 1)
    known = np.stack(
        [np.interp(share, np.arange(len(_STOPS)), _STOPS[:, band]) for band in range(3)], -1
    )
    known[np.isnan(values)] = 255
    return np.rint(known).astype(np.uint8)


def tile(pixels: np.ndarray, text: str) -> Pillow.Image:
    """One cell with a line of text below it."""
    picture = Pillow.new("RGB", (CELL + 6, CELL + 20), "white")
    drawn = Pillow.fromarray(pixels).convert("RGB").resize((CELL, CELL), Pillow.Resampling.BOX)
    picture.paste(drawn, (0, 0))
    ImageDraw.Draw(picture).text((2, CELL + 4), text, fill="black")
    return picture


def sheet(rows: Sequence[Sequence[Pillow.Image]]) -> Pillow.Image:
    """Cells side by side and row below row."""
    width, height = rows[0][0].size
    picture = Pillow.new("RGB", (width * len(rows[0]), height * len(rows)), "white")
    for r, row in enumerate(rows):
        for c, cell in enumerate(row):
            picture.paste(cell, (c * width, r * height))
    return picture


def learning(log_file: Path) -> Pillow.Image:
    """Losses, amplitude and the cheap bar over the minutes trained."""
    lines = [json.loads(line) for line in log_file.read_text(encoding="utf-8").splitlines()]
    steps = [line for line in lines if "slopes" in line]
    banded = [line for line in lines if "bias1" in line]
    scores = [line for line in lines if line.get("event") == "score"]

    def minutes(chosen: list[dict[str, Any]]) -> np.ndarray:
        return np.array([line["minutes"] for line in chosen])

    curves = [
        Curve(
            "slope loss",
            minutes(steps),
            smooth(np.array([line["slopes"] for line in steps]), 5),
        ),
        Curve(
            "heights, L1 in px / 20",
            minutes(steps),
            smooth(np.array([line["heights"] / 2 for line in steps]), 5).clip(0, 1),
        ),
        Curve(
            "amplitude / true, middle band",
            minutes(banded),
            smooth(np.exp([line["bias1"] for line in banded]), 5),
        ),
        Curve(
            "Spearman, views as trained",
            minutes(scores),
            np.array([line["training_spearman"] for line in scores]),
            marks=True,
        ),
        Curve(
            "Spearman, views kept out",
            minutes(scores),
            np.array([line["all_spearman"] for line in scores]),
            marks=True,
        ),
    ]
    limits = (0.0, float(np.ceil(minutes(steps).max() / 10) * 10), 0.0, 1.0)
    title = "Training; Spearman of Sq on 16 + 16 spheres 160 px across"
    return plot(title, ("minutes", "value"), curves, limits)


def scatter(found: dict[str, Any]) -> Pillow.Image:
    """Estimated against true Sq: ISO mode, the paper's mode, the smooth form alone."""
    titles = {"iso": "ISO mode", "paper": "paper's mode (form left in)", "null": "form alone"}
    width, height, edge = 300, 300, 44
    picture = Pillow.new("RGB", (width * 3, height + 20), "white")
    pen = ImageDraw.Draw(picture)
    for number, (mode, title) in enumerate(titles.items()):
        low, high = (2.5, 120.0) if mode == "iso" else (60.0, 240.0)

        def place(
            x: float, y: float, low: float = low, high: float = high, left: int = number * width
        ) -> tuple[float, float]:
            across = np.log(x / 4.0) / np.log(80.0 / 4.0)
            up = np.log(np.clip(y, low, high) / low) / np.log(high / low)
            return (
                left + edge + float(across) * (width - edge - 10),
                height - 30 - float(up) * (height - 60),
            )

        pen.rectangle([*place(4.0, high), *place(80.0, low)], outline="black")
        for x in (5.0, 10, 20, 40, 60):
            pen.text((place(x, low)[0] - 6, height - 26), f"{x:g}", fill="black")
        for y in (3.0, 5, 10, 20, 40, 60, 80, 100, 150, 200):
            if low <= y <= high:
                pen.text((number * width + 16, place(4, y)[1] - 6), f"{y:>3g}", fill="black")
                pen.line([place(4, y), place(80, y)], fill="#e5e5e5")
        if mode == "iso":
            pen.line([place(4, 4), place(80, 80)], fill="#888888")
        for row in found["spheres"]:
            if row[mode] is not None:
                colour = "#0b6e99" if row["family"] in BAR_FAMILIES else "#d97706"
                x, y = place(row["sq_nm"], row[mode])
                pen.ellipse([x - 2.5, y - 2.5, x + 2.5, y + 2.5], fill=colour)
        rank = found["bar"][f"spearman_{mode}"]
        pen.text((number * width + edge, 6), f"{title}: Spearman {rank:.2f}", fill="black")
        pen.text((number * width + 120, height - 12), "true Sq, nm", fill="black")
    caption = (
        "estimated Sq, nm.  Blue: views kept out of training (Spearman is of these);"
        "  orange: as trained, and beyond all ranges"
    )
    pen.text((10, height + 4), caption, fill="black")
    return picture


def _below_top(heights: np.ndarray, mask: np.ndarray) -> np.ndarray:
    return np.where(mask, heights - np.percentile(heights[mask], 99), np.nan)


def _lit(heights: np.ndarray) -> np.ndarray:
    """A relief lit from the upper left, uint8."""
    down, right = np.gradient(heights)
    bright = (1 + 0.7 * right + 0.7 * down) / np.sqrt(1 + right**2 + down**2) / np.sqrt(2)
    return np.rint(255 * np.clip(bright, 0, 1)).astype(np.uint8)


def examples(model: EmbeddedDepth, specimens: Sequence[tuple[str, Specimen]]) -> Pillow.Image:
    """Picture, true and predicted heights in nm on one colour scale, both lit from one side."""
    rows = []
    for name, specimen in specimens:
        heights = model.estimate(as_image(specimen))
        true = _below_top(specimen.height, specimen.mask) * specimen.pixel_nm
        seen = _below_top(heights, specimen.mask) * specimen.pixel_nm
        low = float(np.nanpercentile(true, 5))
        grey = np.clip(np.rint(specimen.grey), 0, 255).astype(np.uint8)
        rows.append(
            [
                tile(grey, name),
                tile(coloured(true, low, 0.0), f"true: {low:.0f} to 0 nm below the top"),
                tile(coloured(seen, low, 0.0), "predicted, same colours"),
                tile(
                    np.where(specimen.mask, _lit(specimen.height), 255).astype(np.uint8),
                    "true, lit from upper left",
                ),
                tile(
                    np.where(specimen.mask, _lit(heights), 255).astype(np.uint8),
                    "predicted, lit alike",
                ),
            ]
        )
    return sheet(rows)


def real(model: EmbeddedDepth, plans: Sequence[str]) -> Pillow.Image:
    """Particles of real micrographs, whose heights nobody knows: what the model makes of them."""
    rows = []
    for plan in plans:
        picture, labels, number = plan.rsplit(",", 2)
        image = Image(np.asarray(Pillow.open(picture).convert("L")), name=Path(picture).stem)
        mask = MaskSet.from_labels(np.asarray(Pillow.open(labels)).astype(np.int64))[int(number)]
        x0, y0, x1, y1 = window = particle_window(mask)
        heights = model.estimate(image, window)
        inside = np.zeros(heights.shape, bool)
        r0, c0, r1, c1 = mask.bbox
        inside[r0 - y0 : r1 - y0, c0 - x0 : c1 - x0] = mask.crop
        below = _below_top(heights, inside)
        low = float(np.nanpercentile(below, 5))
        rows.append(
            [
                tile(image.grey[y0:y1, x0:x1].astype(np.uint8), f"real SEM, {x1 - x0} px wide"),
                tile(coloured(below, low, 0.0), f"predicted: {low:.0f} to 0 px"),
                tile(_lit(heights), "predicted, lit from upper left"),
            ]
        )
    return sheet(rows)


def main(argv: list[str] | None = None) -> None:
    """Parse the command line and draw."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--log", type=Path, required=True)
    parser.add_argument("--report", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--weights", default="")
    parser.add_argument("--real", nargs="*", default=[], help="picture.png,labels.png,number")
    args = parser.parse_args(argv)
    args.out.mkdir(parents=True, exist_ok=True)
    learning(args.log).save(args.out / "depth_learning.png", optimize=True)
    found = json.loads(args.report.read_text(encoding="utf-8"))
    scatter(found).save(args.out / "depth_sq.png", optimize=True)
    model = load(args.weights, "cpu")
    rng = np.random.default_rng(515)
    settings = BarSettings()
    shown = [
        (f"sphere, Sq {sq:g} nm", make_sphere(settings, "all", sq, rng)) for sq in (0.0, 12.0, 40.0)
    ]
    for shape in ("ellipsoid", "polyhedron"):
        shown.append((f"{shape}, Sq 15 nm", make_body(shape, settings, "all", 15.0, rng)[0]))
    examples(model, shown).convert("P", palette=Pillow.Palette.ADAPTIVE, colors=128).save(
        args.out / "depth_examples.png", optimize=True
    )
    if args.real:
        real(model, args.real).save(args.out / "depth_real.png", optimize=True)


if __name__ == "__main__":
    main()
