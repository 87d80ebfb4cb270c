"""Train the embedded depth model from scratch.

    python -m training.depth.data --out SURFACES
    python -m training.depth.train --data SURFACES --out RUN --minutes 80

The run can be killed at any time and goes on from its last checkpoint with --resume; the schedule
follows the minutes trained. Two processes of one thread each (--processes 2 --threads 1) beat one
process of two threads on a busy machine. log.jsonl holds the losses and, every few minutes, the
rank correlation of estimated and true roughness on a fixed set of spheres.
"""

from __future__ import annotations

import argparse
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from particle_nb.models.embedded.depth_network import (
    DepthNetwork,
    DepthNetworkSettings,
    normalised,
    predict_square,
)
from training.depth.bar import BarSettings, Specimen, make_spheres, quick_bar
from training.depth.data import read_surfaces
from training.depth.losses import DepthBatch, LossWeights, depth_losses, make_depth_batch
from training.run import RunSettings, TrainingRun, add_arguments, launch


@dataclass(frozen=True)
class DepthTrainSettings(RunSettings):
    """What a run depends on besides the surfaces."""

    rate: float = 1.2e-3
    least_rate: float = 1e-5
    weight_decay: float = 0.01
    warmup: int = 100
    clip: float = 2.0
    crops: int = 8
    side: int = 256
    losses: LossWeights = field(default_factory=LossWeights)
    network: DepthNetworkSettings = field(default_factory=DepthNetworkSettings)


class DepthTrainer(TrainingRun):
    """One process: pictures of random surfaces, drawn while the network learns from the last."""

    settings: DepthTrainSettings

    def build(self) -> DepthNetwork:
        """The network, with random weights."""
        return DepthNetwork(self.settings.network)

    def read(self) -> None:
        """Read the surfaces and make the spheres that are scored now and then."""
        self.surfaces = read_surfaces(Path(self.args.data), self.args.limit)
        self.specimens: list[Specimen] = []
        if not self.rank and self.args.score_minutes > 0:
            across = self.settings.side / 1.6
            small = BarSettings(across_px=(across, across), network_px=self.settings.side)
            self.specimens = make_spheres(small, ("training", "all"), self.args.score_spheres, 977)

    def counts(self) -> dict[str, int]:
        """Surfaces for training."""
        return {"surfaces": len(self.surfaces)}

    @property
    def scoring(self) -> bool:
        """The first process, where spheres are asked for."""
        return bool(self.specimens)

    def scores(self) -> dict[str, float]:
        """The cheap version of the bar with the averaged weights."""
        network = DepthNetwork(self.settings.network).to(self.device)
        network.load_state_dict(self.average)
        network.eval().to(memory_format=torch.channels_last)  # type: ignore[call-overload]

        def heights(grey: np.ndarray) -> np.ndarray:
            with torch.inference_mode():
                picture = torch.from_numpy(grey)[None].to(self.device)
                return predict_square(network, picture, self.settings.side)[0].cpu().numpy()

        found: dict[str, float] = {}
        for family in ("training", "all"):
            some = [s for s in self.specimens if s.family == family]
            found |= {f"{family}_{k}": v for k, v in quick_bar(heights, some).items()}
        return found

    def batch(self) -> DepthBatch:
        """The next random batch; processes share a step's crops between them."""
        crops = max(1, self.settings.crops // self.world)
        return make_depth_batch(self.surfaces, crops, self.settings.side, self.rng)

    def run(self) -> None:
        """Train until the minutes are spent."""
        with ThreadPoolExecutor(1) as self.pool:
            self.coming: Future[DepthBatch] = self.pool.submit(self.batch)
            super().run()

    def losses(self) -> tuple[Tensor, dict[str, float]]:
        """Loss of one random batch and what to log."""
        batch = self.coming.result().to(self.device)
        # The next pictures are drawn while the network learns from these.
        self.coming = self.pool.submit(self.batch)
        picture = normalised(batch.picture).contiguous(memory_format=torch.channels_last)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.device.type == "cuda"):
            predicted = self.network(picture)
        return depth_losses(predicted.float(), batch, self.settings.losses, self.step)


def main(argv: list[str] | None = None) -> None:
    """Parse the command line and train."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--data", required=True, help="folder of surfaces (training.depth.data)")
    parser.add_argument("--minutes", type=float, default=80.0, help="training time in all")
    parser.add_argument("--seed", type=int, default=DepthTrainSettings.seed)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--limit", type=int, help="read this many shards only")
    parser.add_argument("--crops", type=int, default=DepthTrainSettings.crops, help="a step")
    parser.add_argument("--side", type=int, default=DepthTrainSettings.side, help="of a crop")
    parser.add_argument("--tiny", action="store_true", help="a small network, for tests")
    parser.add_argument("--log-every", type=int, default=50)
    parser.add_argument("--score-minutes", type=float, default=10.0, help="0 for never")
    parser.add_argument("--score-spheres", type=int, default=16, help="of each of two families")
    add_arguments(parser)
    args = parser.parse_args(argv)
    network = DepthNetworkSettings()
    if args.tiny:
        network = DepthNetworkSettings((8, 12, 16, 16, 16), (1, 1, 1, 1, 1))
    settings = DepthTrainSettings(seed=args.seed, crops=args.crops, side=args.side, network=network)
    launch(DepthTrainer, args, settings)


if __name__ == "__main__":
    main()
