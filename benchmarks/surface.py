"""Time point_cloud and roughness on a particle of four million pixels; bar: one second together.

Run: python benchmarks/surface.py [side in pixels]
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time

import numpy as np

from particle_nb.core.image import Calibration
from particle_nb.core.masks import Mask
from particle_nb.core.roughness import roughness
from particle_nb.core.surface import DepthMap, PointCloud, point_cloud


def best_of(function, repeats: int) -> tuple[float, float, object]:
    """Return median wall and median CPU seconds, and the last result."""
    walls, cpus, result = [], [], None
    for _ in range(repeats):
        wall, cpu = time.perf_counter(), time.process_time()
        result = function()
        walls.append(time.perf_counter() - wall)
        cpus.append(time.process_time() - cpu)
    return statistics.median(walls), statistics.median(cpus), result


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("side", type=int, nargs="?", default=2280)
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    n = options.side
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:n, :n].astype(np.float32) - np.float32(n / 2)
    radius = n / 2 - 4.3
    up = np.sqrt(np.maximum(radius**2 - x**2 - y**2, 0))
    depth = DepthMap(up + 0.004 * radius * rng.normal(size=up.shape).astype(np.float32) * (up > 0))
    mask = Mask.from_full(up > 0)
    nm = Calibration(1000 / radius, "nm")
    point_cloud(depth, mask, nm)  # compiles the outline once
    lines = []
    for percentile in (0, 40):

        def make(p: int = percentile) -> PointCloud:
            return point_cloud(depth, mask, nm, substrate_percentile=p)

        wall, cpu, cloud = best_of(make, options.repeats)
        assert isinstance(cloud, PointCloud)
        lines.append((f"point_cloud, percentile {percentile}", len(cloud), wall, cpu))
        for form in ("none", "sphere", "ellipsoid", "polynomial"):
            part = best_of(lambda f=form, c=cloud: roughness(c, form=f), options.repeats)
            lines.append((f"  roughness, {form}", len(cloud), part[0], part[1]))
    sys.stdout.write(f"{'':32s}{'points':>12s}{'wall s':>9s}{'CPU s':>9s}\n")
    for name, count, wall, cpu in lines:
        sys.stdout.write(f"{name:32s}{count:12,d}{wall:9.3f}{cpu:9.3f}\n")


if __name__ == "__main__":
    main()
