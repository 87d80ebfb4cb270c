"""Train the embedded segmenter from scratch.

    python -m particle_nb.models.embedded.train_segmenter --data DIR --out RUN --minutes 120

DIR holds images/<name>.png and 16-bit label maps labels/<name>.png (the layout of EMPS). A sixth
of the images, chosen by a hash of the file name, is never trained on. The run can be killed at any
time and goes on from its last checkpoint with --resume; the schedule follows the minutes trained.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import signal
import time
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor

from particle_nb.models.embedded.network import NetworkSettings, PromptableNetwork
from particle_nb.models.embedded.training_data import (
    Scene,
    make_batch,
    read_scenes,
    read_synthetic,
)
from particle_nb.models.embedded.training_prompts import PromptShares
from particle_nb.models.embedded.training_step import step_losses
from particle_nb.models.embedded.validation import quick_scores

log = logging.getLogger("particle_nb.train_segmenter")


@dataclass(frozen=True)
class TrainSettings:
    """What a run depends on besides the data; stored with the checkpoint."""

    seed: int = 20261121
    rate: float = 1.5e-3
    least_rate: float = 2e-5
    weight_decay: float = 0.02
    warmup: int = 60
    clip: float = 4.0
    ema: float = 0.998
    crops: int = 8
    side: int = 256
    rois: int = 6
    again: int = 3
    large_crops: int = 4
    large_side: int = 384
    large_share: float = 0.3
    synthetic_share: float = 0.4
    prompts: PromptShares = field(default_factory=PromptShares)


class Trainer:
    """One process of a run: data, network, optimiser, checkpoint."""

    def __init__(
        self, args: argparse.Namespace, settings: TrainSettings, rank: int, world: int
    ) -> None:
        self.args, self.settings, self.rank, self.world = args, settings, rank, world
        self.device = torch.device(
            ("cuda" if torch.cuda.is_available() else "cpu")
            if args.device == "auto"
            else args.device
        )
        torch.manual_seed(settings.seed)
        self.network = PromptableNetwork(NetworkSettings())
        self.network.to(self.device)
        self.network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.average = {k: v.detach().clone() for k, v in self.network.state_dict().items()}
        decay = [p for p in self.network.parameters() if p.ndim > 1]
        plain = [p for p in self.network.parameters() if p.ndim <= 1]
        self.optimiser = torch.optim.AdamW(
            [
                {"params": decay, "weight_decay": settings.weight_decay},
                {"params": plain, "weight_decay": 0.0},
            ],
            lr=settings.rate,
            betas=(0.9, 0.99),
        )
        self.step, self.minutes, self.stop = 0, 0.0, False
        self.rng = np.random.default_rng([settings.seed, rank])
        self.generator = torch.Generator(self.device).manual_seed(settings.seed + rank)
        self.out = Path(args.out)
        self.checkpoint = self.out / "checkpoint.pt"
        if args.resume and self.checkpoint.exists():
            self._resume()
        self.scenes = read_scenes(Path(args.data), False, self.device, args.limit)
        self.validation = [] if rank else read_scenes(Path(args.data), True, self.device)
        self.weights = self._weights(self.scenes)
        self.synthetic: list[Scene] = []
        if args.synthetic and Path(args.synthetic).is_dir():
            self.synthetic = read_synthetic(Path(args.synthetic), self.device)
            self.synthetic_weights = self._weights(self.synthetic)
        if not self.scenes:
            raise SystemExit(f"no training images in {args.data}/images")

    @staticmethod
    def _weights(scenes: list[Scene]) -> np.ndarray:
        weights = np.array([max(scene.count, 1) ** 0.25 for scene in scenes])
        return weights / weights.sum()

    def _resume(self) -> None:
        state = torch.load(self.checkpoint, map_location=self.device, weights_only=True)
        self.network.load_state_dict(state["network"])
        self.average = state["average"]
        self.optimiser.load_state_dict(state["optimiser"])
        self.step, self.minutes = state["step"], state["minutes"]
        # A fresh stream for every resumption, never the crops of the first minutes again.
        self.rng = np.random.default_rng([self.settings.seed, self.rank, self.step])
        self.generator.manual_seed(self.settings.seed + self.rank + 7919 * self.step)

    def save(self) -> None:
        """Write the checkpoint so that a kill at any moment leaves a whole one."""
        if self.rank:
            return
        state = {
            "network": self.network.state_dict(),
            "average": self.average,
            "optimiser": self.optimiser.state_dict(),
            "step": self.step,
            "minutes": self.minutes,
            "settings": asdict(self.settings),
            "synthetic": len(self.synthetic),
        }
        part = self.checkpoint.with_suffix(".part")
        torch.save(state, part)
        os.replace(part, self.checkpoint)

    def _stop(self, *_: object) -> None:
        self.stop = True

    def record(self, entry: dict[str, Any]) -> None:
        """One line of the JSON-lines log."""
        with (self.out / "log.jsonl").open("a") as stream:
            stream.write(
                json.dumps({"step": self.step, "minutes": round(self.minutes, 3), **entry}) + "\n"
            )

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
        counts = (settings.rois, settings.again)
        if large:
            counts = (2 * settings.rois, 2 * settings.again)
        return step_losses(self.network, batch, settings.prompts, counts, self.rng, self.generator)

    def rate(self) -> float:
        """Learning rate now: warm-up by steps, cosine by minutes trained."""
        settings = self.settings
        progress = min(self.minutes / self.args.minutes, 1.0)
        cosine = 0.5 * (1 + np.cos(np.pi * progress))
        rate = settings.least_rate + (settings.rate - settings.least_rate) * cosine
        return float(rate * min(1.0, (self.step + 1) / settings.warmup))

    def update(self, loss: Tensor) -> bool:
        """One optimiser step over all processes; True when the time is up."""
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()
        over = self.stop or self.minutes >= self.args.minutes
        gradients = [p.grad for p in self.network.parameters() if p.grad is not None]
        if self.world > 1:
            # The clock travels with the gradients: all must use one learning rate and stop at once.
            shared = loss.new_tensor([float(over), self.minutes])
            flat = torch.cat([g.flatten() for g in gradients] + [shared])
            dist.all_reduce(flat)
            flat /= self.world
            over, self.minutes = bool(flat[-2] > 0), float(flat[-1])
            start = 0
            for gradient in gradients:
                gradient.copy_(flat[start : start + gradient.numel()].view_as(gradient))
                start += gradient.numel()
        norm = torch.nn.utils.clip_grad_norm_(self.network.parameters(), self.settings.clip)
        for group in self.optimiser.param_groups:
            group["lr"] = self.rate()
        if torch.isfinite(norm):
            self.optimiser.step()
        decay = min(self.settings.ema, (1 + self.step) / (10 + self.step))
        with torch.no_grad():
            for name, value in self.network.state_dict().items():
                self.average[name].lerp_(value, 1 - decay)
        return over

    def run(self) -> None:
        """Train until the minutes are spent."""
        if not self.rank:
            self.out.mkdir(parents=True, exist_ok=True)
            self.record(
                {"event": "start", "images": len(self.scenes), "synthetic": len(self.synthetic)}
            )
        signal.signal(signal.SIGTERM, self._stop)
        sums: dict[str, list[float]] = {}
        saved = evaluated = time.monotonic()
        over = False
        while not over:
            begin = time.monotonic()
            loss, stats = self.losses()
            over = self.update(loss)
            self.step += 1
            self.minutes += (time.monotonic() - begin) / 60.0
            if self.rank:
                continue
            for name, value in stats.items():
                sums.setdefault(name, []).append(value)
            if self.step % self.args.log_every == 0:
                means = {name: round(float(np.mean(values)), 4) for name, values in sums.items()}
                self.record({"rate": self.rate(), **means})
                log.info("%d %.1f min %s", self.step, self.minutes, means)
                sums = {}
            if time.monotonic() - saved > 60.0 * self.args.save_minutes:
                self.save()
                saved = time.monotonic()
            if self.world == 1 and time.monotonic() - evaluated > 60.0 * self.args.score_minutes:
                network = PromptableNetwork(self.network.settings).to(self.device)
                network.load_state_dict(self.average)
                self.record(
                    {"event": "score", **quick_scores(network.eval(), self.validation[:20])}
                )
                evaluated = time.monotonic()
        self.save()
        if not self.rank:
            self.record({"event": "end"})


def _process(rank: int, world: int, args: argparse.Namespace, settings: TrainSettings) -> None:
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    torch.set_num_threads(args.threads)
    if world > 1:
        store = (Path(args.out) / "rendezvous").resolve()
        dist.init_process_group("gloo", init_method=f"file://{store}", rank=rank, world_size=world)
    Trainer(args, settings, rank, world).run()
    if world > 1:
        dist.destroy_process_group()


def main(argv: list[str] | None = None) -> None:
    """Parse the command line and train."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--data", required=True, help="folder with images/ and labels/")
    parser.add_argument("--synthetic", help="folder of .npz scenes with image and labels")
    parser.add_argument("--out", required=True, help="folder of checkpoint and log")
    parser.add_argument("--minutes", type=float, default=120.0, help="training time in all")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--processes", type=int, default=1, help="gloo processes on one machine")
    parser.add_argument("--resume", action="store_true")
    parser.add_argument(
        "--limit", type=int, help="train on this many images only (overfitting check)"
    )
    parser.add_argument("--crops", type=int, help="crops a step; a GPU takes 32 and more")
    parser.add_argument("--log-every", type=int, default=25)
    parser.add_argument("--save-minutes", type=float, default=3.0)
    parser.add_argument("--score-minutes", type=float, default=15.0)
    args = parser.parse_args(argv)
    settings = TrainSettings()
    if args.crops:
        settings = replace(settings, crops=args.crops, large_crops=max(1, args.crops // 2))
    out = Path(args.out)
    out.mkdir(parents=True, exist_ok=True)
    (out / "rendezvous").unlink(missing_ok=True)
    if args.processes == 1:
        _process(0, 1, args, settings)
    else:
        torch.multiprocessing.spawn(_process, (args.processes, args, settings), args.processes)


if __name__ == "__main__":
    main()
