"""Draw the figures of the model card from the training log and an evaluation report.

    python -m training.figures --log LOG --report REPORT --out DIR

Writes learning_curve.png, reliability.png and failures.jpg (synthetic scenes that the shipped
weights find hard). Pillow alone draws them, so no browser is needed.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image as PilImage
from PIL import ImageDraw
from skimage.segmentation import find_boundaries

from particle_nb.core.synthetic import (
    Detector,
    Exposure,
    Ground,
    Population,
    SceneSettings,
    Sizes,
    scene,
)
from particle_nb.models import load_model

SIZE = (760, 460)

FRAME = (70, 40, 560, 400)  # left, top, right, bottom of the axes

COLOURS = ("#0b6e99", "#c2410c", "#4d7c0f", "#7e22ce", "#525252")


@dataclass(frozen=True, eq=False)
class Curve:
    """A named line in data coordinates."""

    name: str
    x: np.ndarray
    y: np.ndarray
    marks: bool = False


def plot(
    title: str, axes: tuple[str, str], curves: Sequence[Curve], limits: tuple[float, ...]
) -> PilImage.Image:
    """A line plot; `limits` is (x0, x1, y0, y1)."""
    picture = PilImage.new("RGB", SIZE, "white")
    pen = ImageDraw.Draw(picture)
    left, top, right, bottom = FRAME
    x0, x1, y0, y1 = limits

    def place(x: float, y: float) -> tuple[float, float]:
        across = left + (x - x0) / (x1 - x0) * (right - left)
        return across, bottom - (y - y0) / (y1 - y0) * (bottom - top)

    for step in range(6):
        x, y = x0 + (x1 - x0) * step / 5, y0 + (y1 - y0) * step / 5
        pen.line([place(x, y0), place(x, y1)], fill="#e5e5e5")
        pen.line([place(x0, y), place(x1, y)], fill="#e5e5e5")
        pen.text((place(x, y0)[0] - 10, bottom + 6), f"{x:g}", fill="black")
        pen.text((left - 34, place(x0, y)[1] - 6), f"{y:.2f}", fill="black")
    pen.rectangle(FRAME, outline="black")
    pen.text((left, 14), title, fill="black")
    pen.text((0.5 * (left + right) - 40, bottom + 26), axes[0], fill="black")
    pen.text((8, top - 18), axes[1], fill="black")
    for number, curve in enumerate(curves):
        colour = COLOURS[number % len(COLOURS)]
        points = [place(float(x), float(y)) for x, y in zip(curve.x, curve.y, strict=True)]
        if len(points) > 1:
            pen.line(points, fill=colour, width=2)
        for x, y in points if curve.marks else ():
            pen.ellipse([x - 3, y - 3, x + 3, y + 3], fill=colour)
        pen.text((right + 14, top + 20 * number), f"- {curve.name}", fill=colour)
    return picture


def smooth(values: np.ndarray, reach: int) -> np.ndarray:
    """Running mean that shortens at the ends."""
    padded = np.convolve(values, np.ones(reach), "same")
    return padded / np.convolve(np.ones(len(values)), np.ones(reach), "same")


def learning_curve(log: Path) -> PilImage.Image:
    """Losses and IoU of the training crops over the minutes trained."""
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    steps = [line for line in lines if "mask" in line and "iou" in line]
    minutes = np.array([line["minutes"] for line in steps])
    names = {
        "iou": "IoU, first round",
        "iou2": "IoU, second round",
        "foreground": "foreground loss",
        "mask": "mask loss",
        "quality": "quality loss",
    }
    curves = []
    for key, name in names.items():
        here = np.array([line.get(key, np.nan) for line in steps])
        good = np.isfinite(here)
        curves.append(Curve(name, minutes[good], smooth(here[good], 9).clip(0, 1.4)))
    limits = (0.0, float(np.ceil(minutes.max() / 10) * 10), 0.0, 1.4)
    return plot("Training crops, EMPS and synthetic", ("minutes", "value"), curves, limits)


def reliability(report: Path) -> PilImage.Image:
    """Predicted against true IoU of first candidates on the validation split."""
    data = json.loads(report.read_text())
    rows = [row for row in data["reliability"] if row["n"] >= 3]
    curves = [
        Curve("perfect", np.array([0.0, 1.0]), np.array([0.0, 1.0])),
        Curve(
            "clicks and boxes",
            np.array([row["predicted"] for row in rows]),
            np.array([row["true"] for row in rows]),
            marks=True,
        ),
    ]
    title = f"Predicted IoU, ECE {data['ece_both']:.3f}"
    return plot(title, ("predicted IoU", "true IoU"), curves, (0.0, 1.0, 0.0, 1.0))


def hard_scenes() -> list[SceneSettings]:
    """A heap seen in noise, thin rods across each other, a film in heavy noise."""
    shape = (384, 384)
    return [
        SceneSettings(
            shape=shape,
            packing="heap",
            count=160,
            populations=(Population(sizes=Sizes("lognormal", 300.0, 1.5)),),
            exposure=Exposure(dose=40, defocus=1.4),
        ),
        SceneSettings(
            shape=shape,
            packing="overlap",
            count=45,
            populations=(
                Population("rod", sizes=Sizes("lognormal", 330.0, 1.2), aspect=(0.08, 0.14)),
            ),
        ),
        SceneSettings(
            shape=shape,
            count=60,
            populations=(Population(sizes=Sizes("lognormal", 110.0, 1.3), material="carbon"),),
            detectors=(Detector("brightfield"),),
            exposure=Exposure(dose=6, brightness=0.6, contrast=0.15),
            ground=Ground(texture=0.3, texture_px=2.0),
        ),
    ]


def failures() -> PilImage.Image:
    """True outlines in blue above what the automatic mode finds in orange."""
    segmenter = load_model("embedded", "segmenter", "cpu")
    columns = []
    for number, settings in enumerate(hard_scenes()):
        made = scene(settings, 500 + number)
        grey = np.stack([made.image.pixels] * 3, -1)
        rows = []
        for masks, colour in (
            (made.masks, (60, 150, 255)),
            (segmenter.generate(made.image), (255, 120, 0)),
        ):
            drawn = grey.copy()
            drawn[find_boundaries(masks.to_labels(), mode="inner")] = colour
            rows.append(drawn)
        columns.append(np.concatenate(rows))
    return PilImage.fromarray(np.concatenate(columns, 1))


def main(argv: list[str] | None = None) -> None:
    """Parse the command line and draw."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--log", type=Path, required=True)
    parser.add_argument("--report", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args(argv)
    args.out.mkdir(parents=True, exist_ok=True)
    learning_curve(args.log).save(args.out / "learning_curve.png", optimize=True)
    reliability(args.report).save(args.out / "reliability.png", optimize=True)
    failures().save(args.out / "failures.jpg", quality=80)


if __name__ == "__main__":
    main()
