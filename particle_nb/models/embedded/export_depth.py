"""Turn a checkpoint of `train_depth` into the weights file of the package.

python -m particle_nb.models.embedded.export_depth CHECKPOINT --out depth.safetensors
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from particle_nb.models.embedded.depth import export_depth


def main(argv: list[str] | None = None) -> None:
    """Parse the command line and export."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--report", type=Path, help="of evaluate_depth: gives the floor")
    args = parser.parse_args(argv)
    floor = None
    if args.report:
        found = json.loads(args.report.read_text(encoding="utf-8"))
        floor = float(found["smooth_spheres"]["share_of_radius"])
    export_depth(args.checkpoint, args.out, floor)


if __name__ == "__main__":
    main()
