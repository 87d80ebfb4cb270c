"""What the embedded depth model makes of rough spheres of known Sq, by size and roughness.

Writes ``depth_errors.json`` beside the weights: for every diameter in pixels and every true Sq the
median of the Sq that a roughness table gives (form sphere, no filter) and its root mean square
error, both as shares of the radius. `topography.roughness_table` reads from it what the depth model
adds to the uncertainty of a row.

    python -m training.depth.roughness_error --scenes 6
"""

from __future__ import annotations

import argparse
import json
import math
from pathlib import Path

import numpy as np

from particle_nb.core.synthetic import Population, SceneSettings, Sizes, scene
from particle_nb.models.embedded.depth import ERRORS
from particle_nb.session import Session
from particle_nb.topography import roughness_table

DIAMETERS = (40, 80, 160, 320)
SHARES = (0.0, 0.01, 0.02, 0.03, 0.045)
CORRELATIONS = (0.06, 0.15)  # of the radius, drawn evenly in the logarithm
PIXEL = 5.0


def measure(diameter: int, share: float, scenes: int) -> tuple[float, float]:
    """Return median estimate and root mean square error of Sq, as shares of the radius."""
    session, radius = Session(device="cpu"), diameter * PIXEL / 2
    rng = np.random.default_rng([diameter, round(1000 * share)])
    found = []
    for seed in range(scenes):
        length = math.exp(rng.uniform(*np.log(CORRELATIONS)))
        one = Population(
            shape="sphere",
            sizes=Sizes("mono", 2 * radius),
            sq_nm=share * radius,
            correlation_nm=length * radius,
        )
        settings = SceneSettings(
            shape=(max(128, 2 * diameter),) * 2,
            pixel_nm=PIXEL,
            count=1,
            inside=True,
            populations=(one,),
        )
        made = scene(settings, 1000 + seed)
        row = roughness_table(session, made.image, made.masks, "sphere", progress=False).iloc[0]
        found.append(row["Sq_nm"] / radius)
    found = [one for one in found if math.isfinite(one)]
    return float(np.median(found)), float(np.sqrt(np.mean((np.array(found) - share) ** 2)))


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--scenes", type=int, default=6)
    parser.add_argument("--out", type=Path, default=ERRORS)
    given = parser.parse_args(argv)
    rows = []
    for diameter in DIAMETERS:
        for share in SHARES:
            estimate, error = measure(diameter, share, given.scenes)
            rows.append(
                {
                    "diameter_px": diameter,
                    "true": share,
                    "estimate": round(estimate, 5),
                    "rms_error": round(error, 5),
                }
            )
            print(rows[-1], flush=True)
    digest = Session(device="cpu").depth_model.digest
    about = (
        f"{given.scenes} rendered spheres a row, correlation {CORRELATIONS[0]:g} to "
        f"{CORRELATIONS[1]:g} of the radius, default detector, form sphere, no filter"
    )
    given.out.write_text(json.dumps({"weights": digest, "source": about, "rows": rows}, indent=1))


if __name__ == "__main__":
    main()
