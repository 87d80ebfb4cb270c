"""Time point_cloud and roughness on a particle of four million pixels; bar: one second together.

The last column is processor time of the cloud and of that roughness together, which the bar is
for. The last rows have a tenth of their points thrown about by up to the particle's radius.

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
from particle_nb.core.surface import DepthMap, PointCloud, point_cloud, roughness


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
    wild = (rng.random(up.shape) < 0.1) & (up > 0)
    thrown = np.where(wild, rng.uniform(-radius, radius, up.shape), 0).astype(np.float32)
    lines = []
    for percentile, heights in ((0, depth), (40, depth), (40, DepthMap(depth.relative + thrown))):

        def make(p: int = percentile, h: DepthMap = heights) -> PointCloud:
            return point_cloud(h, mask, nm, substrate_percentile=p)

        wall, cpu, cloud = best_of(make, options.repeats)
        assert isinstance(cloud, PointCloud)
        name = f"point_cloud, percentile {percentile}" + ("" if heights is depth else ", outliers")
        lines.append((name, len(cloud), wall, cpu, cpu))
        for form in ("none", "sphere", "ellipsoid", "polynomial"):
            part = best_of(lambda f=form, c=cloud: roughness(c, form=f), options.repeats)
            lines.append((f"  roughness, {form}", len(cloud), part[0], part[1], cpu + part[1]))
    sys.stdout.write(f"{'':38s}{'points':>12s}{'wall s':>9s}{'CPU s':>9s}{'together':>10s}\n")
    for name, count, wall, cpu, both in lines:
        sys.stdout.write(f"{name:38s}{count:12,d}{wall:9.3f}{cpu:9.3f}{both:10.3f}\n")


if __name__ == "__main__":
    main()
