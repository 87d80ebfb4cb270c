"""Turn a training checkpoint into the weights file of the package.

python -m training.segmenter.export CHECKPOINT --out segmenter.safetensors
python -m training.segmenter.export segmenter.safetensors --judges JUDGES.npz --out COPY
"""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file

from particle_nb.models.embedded.network import NetworkSettings
from particle_nb.models.embedded.segmenter import JUDGE
from particle_nb.models.weights import read_weights

NAME = "pnb-small-3"


def export(
    checkpoint: Path,
    out: Path,
    calibration: tuple[list[float], list[float]] | None = None,
    automatic: dict[str, Any] | None = None,
) -> None:
    """Write the averaged weights as fp16 with what is needed to load and to judge them."""
    state = torch.load(checkpoint, map_location="cpu", weights_only=True)
    tensors = {key: value.half().contiguous() for key, value in state["average"].items()}
    metadata = {
        "name": NAME,
        "licence": "MIT",
        "settings": json.dumps(asdict(NetworkSettings())),
        "training": json.dumps(state["settings"]),
        "steps": str(state["step"]),
        "minutes": f"{state['minutes']:.1f}",
        "synthetic_scenes": str(state.get("synthetic", 0)),
        "calibration": json.dumps(calibration or [[0, 1], [0, 1]]),
        "automatic": json.dumps(automatic or {}),
    }
    part = out.with_suffix(".part")
    save_file(tensors, str(part), metadata)
    part.replace(out)


def with_judges(weights: Path, judges: Path, out: Path, name: str) -> None:
    """Write a weights file again with the judges of an .npz of `fit_judges` and this name."""
    _, tensors, metadata = read_weights(str(weights), weights, "train_segmenter")
    kept = {key: value for key, value in tensors.items() if not key.startswith(JUDGE)}
    with np.load(judges) as arrays:
        kept |= {JUDGE + key: torch.from_numpy(arrays[key]) for key in arrays.files}
    part = out.with_suffix(".part")
    save_file(kept, str(part), metadata | {"name": name, "automatic": "{}"})
    part.replace(out)


def isotonic(
    predicted: list[float], real: list[float], knots: int = 12
) -> tuple[list[float], list[float]]:
    """A monotone piecewise linear map from raw to calibrated predicted IoU.

    >>> x, y = isotonic([0.1, 0.2, 0.8, 0.9] * 50, [0.0, 0.2, 0.7, 0.9] * 50, 3)
    >>> y == sorted(y)
    True
    """
    from sklearn.isotonic import IsotonicRegression

    x, y = np.asarray(predicted), np.asarray(real)
    fitted = IsotonicRegression(y_min=0.0, y_max=1.0, out_of_bounds="clip").fit(x, y)
    at = np.unique(np.concatenate([[0.0], np.quantile(x, np.linspace(0.02, 0.98, knots)), [1.0]]))
    # Averages around each knot, so that a step of the fit does not become a cliff.
    half = 0.03
    fine = np.linspace(-half, half, 9)
    values = fitted.predict(np.clip(at[:, None] + fine, 0, 1).ravel()).reshape(len(at), 9).mean(1)
    # Prompts rarely score near 0, so the fit knows nothing there; a sure failure stays one.
    values[0] = 0.0
    return at.round(4).tolist(), np.maximum.accumulate(values).round(4).tolist()


def main(argv: list[str] | None = None) -> None:
    """Parse the command line and export."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("checkpoint", type=Path, help="checkpoint, or a weights file with --judges")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--report", type=Path, help="evaluation on training images to calibrate by")
    parser.add_argument("--automatic", default="{}", help="OnePassSettings as JSON")
    parser.add_argument("--judges", type=Path, help="what fit_judges wrote; goes into a copy")
    parser.add_argument("--name", default=NAME)
    args = parser.parse_args(argv)
    if args.judges:
        with_judges(args.checkpoint, args.judges, args.out, args.name)
        return
    calibration = None
    if args.report:
        predicted, real = json.loads(args.report.read_text())["pairs"]
        calibration = isotonic(predicted, real)
    export(args.checkpoint, args.out, calibration, json.loads(args.automatic))


if __name__ == "__main__":
    main()
