"""Rebuild a volume from one of its slices and compare with the volume; CPU seconds of each method.

Bars at 64^3: S2 within .03 of the truth for every phase, fractions within 1 point, tortuosity
within 10 % of the truth, 600 CPU seconds. Truth is the whole volume; beside it stands how far cubes
cut from it, of the same size, are from it themselves.

Run: python benchmarks/reconstruct.py electrode.tif [--slice 128] [--side 64] [--method patterns]
"""

from __future__ import annotations

import argparse
import sys
import time

import numpy as np
import pandas as pd

import particle_nb as pnb
from particle_nb.core.volume import Volume, connectivity, diffusivity, two_point


def curves(volume: Volume, longest: int) -> np.ndarray:
    """Isotropic S2 (phases, lags)."""
    table = two_point(volume, longest=longest)
    table = table[table["direction"] == "isotropic"]
    return np.array([part["S2"].to_numpy() for _, part in table.groupby("phase")])


def transport(volume: Volume) -> dict[str, float]:
    """Tortuosity of each phase: root of the factor from the mean diffusivity of the three axes."""
    found = {}
    for phase in volume.phases:
        runs = [diffusivity(volume, phase, axis) for axis in "zyx"]
        mean = float(np.mean([run.effective for run in runs]))
        found[volume.name(phase)] = (runs[0].fraction / mean) ** 0.5 if mean else np.inf
    return found


def compared(made: Volume, truth: np.ndarray, longest: int) -> pd.DataFrame:
    """One row a phase."""
    off = np.abs(curves(made, longest) - truth)
    joined = connectivity(made).set_index("name")["connected_fraction"]
    rows = {
        name: {
            "fraction": share,
            "S2 off at most": off[place].max(),
            "S2 off in the mean": off[place].mean(),
            "connected": joined[name],
        }
        for place, (name, share) in enumerate(made.fractions.items())
    }
    table = pd.DataFrame(rows).T
    table["tortuosity"] = pd.Series(transport(made))
    return table


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("file")
    parser.add_argument("--slice", type=int, default=128)
    parser.add_argument("--side", type=int, default=64)
    parser.add_argument("--cubes", type=int, default=3)
    parser.add_argument("--method", nargs="*", default=["patterns"])
    parser.add_argument("--sweeps", type=int, default=24)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--save", default="")
    options = parser.parse_args()
    whole = pnb.exports.read_volume(options.file)
    side, longest = options.side, options.side // 2
    truth = curves(whole, longest)
    section = np.ascontiguousarray(whole.labels[options.slice])
    rng = np.random.default_rng(0)
    for number in range(options.cubes):
        corner = rng.integers(0, np.array(whole.shape) - side + 1)
        cut = tuple(slice(int(c), int(c) + side) for c in corner)
        cube = Volume(np.ascontiguousarray(whole.labels[cut]), names=whole.names)
        sys.stdout.write(f"cube {number} of the truth\n{compared(cube, truth, longest).round(3)}\n")
    for method in options.method:
        before = time.process_time()
        made = pnb.reconstruct(
            pnb.Volume(section, names=whole.names),
            (side,) * 3,
            method=method,
            sweeps=options.sweeps,
            seed=options.seed,
            minutes=60,
            progress=False,
        )
        spent = time.process_time() - before
        sys.stdout.write(f"{method}: {spent:.0f} CPU s, {made.info['network'] or 'no network'}\n")
        sys.stdout.write(f"{compared(made, truth, longest).round(3)}\n")
        if options.save:
            pnb.exports.write_volume(made, f"{options.save}_{method}.tif")


if __name__ == "__main__":
    main()
