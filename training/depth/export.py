"""Turn a checkpoint of `training.depth.train` into the weights file of the package.

python -m training.depth.export CHECKPOINT --out depth.safetensors
"""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict
from pathlib import Path

import torch
from safetensors.torch import save_file

from particle_nb.core.errors import ModelError
from particle_nb.models.embedded.depth import NAME
from particle_nb.models.embedded.depth_network import DepthNetworkSettings


def export_depth(checkpoint: Path, out: Path, roughness_floor: float | None = None) -> None:
    """Write the averaged weights of a training checkpoint as fp16, with what loads them.

    Parameters
    ----------
    checkpoint, out : Path
    roughness_floor : float or None
        See `EmbeddedDepth`; the evaluation gives it.

    Raises
    ------
    ModelError
        If the checkpoint is missing.

    Examples
    --------
    >>> export_depth(Path("no such file"), Path("depth.safetensors"))
    Traceback (most recent call last):
    ...
    particle_nb.core.errors.ModelError: ...
    """
    if not checkpoint.is_file():
        raise ModelError(f"no checkpoint at {checkpoint}; training.depth.train writes one.")
    state = torch.load(checkpoint, map_location="cpu", weights_only=True)
    network = state["settings"]["network"]
    settings = DepthNetworkSettings(**{key: tuple(value) for key, value in network.items()})
    tensors = {key: value.half().contiguous() for key, value in state["average"].items()}
    metadata = {
        "name": NAME,
        "licence": "MIT",
        "settings": json.dumps(asdict(settings)),
        "training": json.dumps(state["settings"]),
        "steps": str(state["step"]),
        "minutes": f"{state['minutes']:.1f}",
        "surfaces": str(state["surfaces"]),
        "roughness_floor": "" if roughness_floor is None else f"{roughness_floor:.5f}",
    }
    part = out.with_suffix(".part")
    save_file(tensors, str(part), metadata)
    part.replace(out)


def main(argv: list[str] | None = None) -> None:
    """Parse the command line and export."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--report", type=Path, help="of training.depth.evaluate: gives the floor")
    args = parser.parse_args(argv)
    floor = None
    if args.report:
        found = json.loads(args.report.read_text(encoding="utf-8"))
        floor = float(found["smooth_spheres"]["share_of_radius"])
    export_depth(args.checkpoint, args.out, floor)


if __name__ == "__main__":
    main()
