"""Refine a degraded volume and compare with the truth, beside nearest and trilinear interpolation.

The truth is cut from a volume and degraded by blocks: to the most frequent phase, or to fractions.
Of each way back stand: voxels that are right, blocks that average down to what was given, the
greatest difference of S2 and lineal path from the truth (mean over the axes, all phases), and
tortuosity (root of the factor from the mean diffusivity). With --pair the coarse volume and fine
section of another material are used, whose truth nobody knows: the fine section is it. An
interpolation knows the coarse phases only; each stands for the commonest fine phase it holds.

Run: python benchmarks/super_resolve.py electrode.tif [--side 48] [--factor 4] [--sweeps 8]
     python benchmarks/super_resolve.py --pair sem_lr.tif sem_hr.tif
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from typing import Any

import numpy as np
import pandas as pd

import particle_nb as pnb
from particle_nb.core.rebuilding.blocks import block_view, coarsened, smooth
from particle_nb.core.volume import Volume, diffusivity, lineal_path, two_point


def farthest(one: Volume, other: Volume, longest: int) -> tuple[float, float]:
    """Greatest differences of S2 and of the lineal path between two volumes or sections."""
    found = []
    phases = sorted({*one.phases, *other.phases})
    for function, way in ((two_point, "isotropic"), (lineal_path, "mean")):
        values = np.zeros((2, len(phases), longest + 1))
        for place, volume in enumerate((one, other)):
            table = function(volume, longest=longest)
            table = table[table["direction"] == way]
            for at, phase in enumerate(phases):
                # a phase that is not there at all has a curve of 0
                if phase in volume.phases:
                    values[place, at] = table[table["phase"] == phase].iloc[:, -1]
        found.append(float(np.abs(values[0] - values[1]).max()))
    return found[0], found[1]


def tortuosities(volume: Volume) -> list[float]:
    """One number a phase."""
    found = []
    for phase, fraction in zip(volume.phases, volume.fractions.values(), strict=True):
        mean = np.mean([diffusivity(volume, phase, axis).effective for axis in "zyx"])
        found.append(round(float(np.sqrt(fraction / mean)), 2) if mean else np.inf)
    return found


def degraded(options: argparse.Namespace) -> None:
    """Truth known: cut, degrade, refine."""
    whole = pnb.exports.read_volume(options.files[0])
    side, factor = options.side, options.factor
    truth = Volume(np.ascontiguousarray(whole.indices[:side, :side, :side]))
    section = np.ascontiguousarray(whole.indices[whole.shape[0] // 2])
    kinds = len(whole.phases)
    blocks = block_view(truth.labels, factor)
    small = (side // factor,) * 3
    shares = np.stack([(blocks == k).mean(axis=1) for k in range(kinds)]).reshape(kinds, *small)
    labels = shares.argmax(axis=0)
    ways = {
        "nearest": np.kron(labels, np.ones((factor,) * 3, int)),
        "trilinear": np.stack([smooth(one, factor) for one in shares]).argmax(axis=0),
    }
    names = dict(enumerate(map(str, range(kinds))))
    rows: dict[str, dict[str, Any]] = {"truth": {"tortuosity": tortuosities(truth)}}
    for name, given in (("from labels", labels), ("from fractions", shares)):
        before = time.process_time()
        made = pnb.super_resolve(
            given, section, factor, sweeps=options.sweeps, minutes=60, progress=False
        )
        ways[name] = np.asarray(made.labels)
        rows[name] = {"CPU s": round(time.process_time() - before)}
    for name, found in ways.items():
        volume = Volume(found, names=names)
        s2, path = farthest(volume, Volume(truth.labels, names=names), side // 4)
        back = block_view(found.astype(np.uint8), factor)
        kept = coarsened(found.astype(np.uint8), factor, np.arange(kinds))
        mine = np.stack([(back == k).mean(axis=1) for k in range(kinds)])
        rows[name] = rows.get(name, {}) | {
            "right": round(float((found == truth.labels).mean()), 3),
            "blocks' phase kept": round(float((kept == labels).mean()), 3),
            "fractions off": round(float(np.abs(mine - shares.reshape(kinds, -1)).max()), 3),
            "S2 off": round(s2, 3),
            "lineal path off": round(path, 3),
            "tortuosity": tortuosities(volume),
        }
    sys.stdout.write(f"{pd.DataFrame(rows).T.to_string()}\n")


def pair(options: argparse.Namespace) -> None:
    """Truth unknown: slices against the fine section."""
    coarse = pnb.exports.read_volume(options.files[0])
    section = pnb.exports.read_volume(options.files[1])
    side, factor = options.side // options.factor, options.factor
    part = Volume(coarse.labels[:side, :side, :side], names=coarse.names)
    groups = {int(key): value for key, value in json.loads(options.groups).items()}
    before = time.process_time()
    fine = pnb.super_resolve(
        part, section, factor, groups=groups, sweeps=options.sweeps, minutes=60, progress=False
    )
    spent = time.process_time() - before
    of = np.zeros(len(section.phases), int)
    for key, value in groups.items():
        of[[section.phases.index(p) for p in np.ravel(value)]] = part.phases.index(key)
    shares = np.array([(section.indices == k).mean() for k in range(len(of))])
    first = np.array([np.where(of == g, shares, -1).argmax() for g in range(of.max() + 1)])
    parts = np.stack([part.indices == g for g in range(of.max() + 1)]).astype(float)
    ways = {
        "super_resolve": fine.indices,
        "nearest": np.kron(first[part.indices], np.ones((factor,) * 3, int)),
        "trilinear": first[np.stack([smooth(one, factor) for one in parts]).argmax(axis=0)],
    }
    names = dict(enumerate(map(str, range(len(of)))))
    flat = Volume(section.indices.astype(np.uint8), names=names)
    rows: dict[str, dict[str, Any]] = {"section": {"fractions": shares.round(3).tolist()}}
    for name, found in ways.items():
        index = np.ascontiguousarray(found, np.uint8)
        s2, path = farthest(Volume(index, names=names), flat, side * factor // 4)
        rows[name] = {
            "fractions": [round(float((index == k).mean()), 3) for k in range(len(of))],
            "blocks' phase kept": round(
                float((coarsened(index, factor, of) == part.indices).mean()), 4
            ),
            "S2 off": round(s2, 3),
            "lineal path off": round(path, 3),
        }
    sys.stdout.write(f"{fine}\n{spent:.0f} CPU s\n{pd.DataFrame(rows).T.to_string()}\n")


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("files", nargs="+")
    parser.add_argument("--side", type=int, default=48)
    parser.add_argument("--factor", type=int, default=4)
    parser.add_argument("--sweeps", type=int, default=8)
    parser.add_argument("--pair", action="store_true")
    parser.add_argument("--groups", default='{"0": [0, 2], "128": 1}')
    options = parser.parse_args()
    (pair if options.pair else degraded)(options)


if __name__ == "__main__":
    main()
