"""Train the embedded segmenter from scratch.

    python -m training.segmenter.train --data DIR --out RUN --minutes 120

DIR holds images/<name>.png and 16-bit label maps labels/<name>.png (the layout of EMPS). A sixth
of the images, chosen by a hash of the file name, is never trained on. The run can be killed at any
time and goes on from its last checkpoint with --resume; the schedule follows the minutes trained.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from particle_nb.models.embedded.network import NetworkSettings, PromptableNetwork
from particle_nb.models.embedded.segmenter import load
from particle_nb.models.tuning.crops import TrainingScene, make_batch
from particle_nb.models.tuning.prompts import PromptShares
from particle_nb.models.tuning.step import StepSettings, step_losses
from training.run import RunSettings, TrainingRun, add_arguments, launch
from training.segmenter.data import read_scenes, read_synthetic
from training.segmenter.scores import quick_scores


@dataclass(frozen=True)
class TrainSettings(RunSettings):
    """What a run depends on besides the data."""

    crops: int = 8
    side: int = 256
    rois: int = 6
    again: int = 3
    large_crops: int = 4
    large_side: int = 384
    large_share: float = 0.3
    synthetic_share: float = 0.4
    half: bool = False
    start: str = ""
    prompts: PromptShares = field(default_factory=PromptShares)


class Trainer(TrainingRun):
    """One process: micrographs and synthetic scenes, prompts on random crops of them."""

    settings: TrainSettings
    network: PromptableNetwork

    def build(self) -> PromptableNetwork:
        """The network, with random weights or those of a weights file."""
        network = PromptableNetwork(NetworkSettings())
        if self.settings.start:
            network.load_state_dict(load(self.settings.start, "cpu").network.state_dict())
        return network

    def read(self) -> None:
        """Read the images of both splits and the synthetic ones."""
        args = self.args
        self.scenes = read_scenes(Path(args.data), False, self.device, args.limit)
        self.validation = [] if self.rank else read_scenes(Path(args.data), True, self.device)
        self.weights = self._weights(self.scenes)
        self.synthetic: list[TrainingScene] = []
        if args.synthetic and Path(args.synthetic).is_dir():
            self.synthetic = read_synthetic(Path(args.synthetic), self.device)
            self.synthetic_weights = self._weights(self.synthetic)
        if not self.scenes:
            raise SystemExit(f"no training images in {args.data}/images")

    @staticmethod
    def _weights(scenes: list[TrainingScene]) -> np.ndarray:
        weights = np.array([max(scene.count, 16) ** 0.25 for scene in scenes])
        return weights / weights.sum()

    def counts(self) -> dict[str, int]:
        """Images for training, real and synthetic."""
        return {"images": len(self.scenes), "synthetic": len(self.synthetic)}

    @property
    def scoring(self) -> bool:
        """Only alone, the other processes would wait; and where there is something to score."""
        return self.world == 1 and bool(self.validation)

    def scores(self) -> dict[str, Any]:
        """Clicks and boxes on a few validation images with the averaged weights."""
        network = PromptableNetwork(self.network.settings).to(self.device)
        network.load_state_dict(self.average)
        return quick_scores(network.eval(), self.validation[:20])

    def losses(self) -> tuple[Tensor, dict[str, float]]:
        """Loss of one random batch and what to log."""
        settings = self.settings
        large = self.step > 500 and self.rng.random() < settings.large_share
        # Processes share a step's crops between them.
        crops, side = (
            (settings.large_crops, settings.large_side)
            if large
            else (settings.crops, settings.side)
        )
        crops = max(1, crops // self.world)
        synthetic = bool(self.synthetic) and self.rng.random() < settings.synthetic_share
        scenes, weights = (
            (self.synthetic, self.synthetic_weights) if synthetic else (self.scenes, self.weights)
        )
        batch = make_batch(scenes, weights, crops, side, self.rng, self.generator)
        more = 2 if large else 1
        step = StepSettings(
            settings.prompts, more * settings.rois, more * settings.again, settings.half
        )
        return step_losses(self.network, batch, step, self.rng, self.generator)


def main(argv: list[str] | None = None) -> None:
    """Parse the command line and train."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--data", required=True, help="folder with images/ and labels/")
    parser.add_argument("--synthetic", help="folder of .npz scenes with image and labels")
    parser.add_argument("--minutes", type=float, default=120.0, help="training time in all")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument(
        "--limit", type=int, help="train on this many images only (overfitting check)"
    )
    parser.add_argument("--crops", type=int, help="crops a step; a GPU takes 32 and more")
    parser.add_argument("--start", default="", help="weights file to go on from, not from scratch")
    parser.add_argument("--rate", type=float, help="highest learning rate")
    parser.add_argument("--rois", type=int, help="prompts a crop; half as many are corrected")
    parser.add_argument("--synthetic-share", type=float, help="of the steps")
    parser.add_argument("--half", action="store_true", help="bf16 also on a CPU, if it can (AMX)")
    parser.add_argument("--log-every", type=int, default=25)
    parser.add_argument("--score-minutes", type=float, default=15.0)
    add_arguments(parser)
    args = parser.parse_args(argv)
    settings = TrainSettings()
    if args.crops:
        settings = replace(settings, crops=args.crops, large_crops=max(1, args.crops // 2))
    if args.rois:
        settings = replace(settings, rois=args.rois, again=max(1, args.rois // 2))
    if args.rate:
        settings = replace(settings, rate=args.rate)
    if args.synthetic_share is not None:
        settings = replace(settings, synthetic_share=args.synthetic_share)
    launch(Trainer, args, replace(settings, half=args.half, start=args.start))


if __name__ == "__main__":
    main()
