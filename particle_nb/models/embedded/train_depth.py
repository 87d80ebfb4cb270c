"""Train the embedded depth model from scratch.

    python -m particle_nb.models.embedded.depth_data --out SURFACES
    python -m particle_nb.models.embedded.train_depth --data SURFACES --out RUN --minutes 80

The run can be killed at any time and goes on from its last checkpoint with --resume; the schedule
follows the minutes trained. Two processes of one thread each (--processes 2 --threads 1) beat one
process of two threads on a busy machine. log.jsonl holds the losses and, every few minutes, the
rank correlation of estimated and true roughness on a fixed set of spheres.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import signal
import time
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor

from particle_nb.models.embedded.depth_bar import BarSettings, Specimen, make_spheres, quick_bar
from particle_nb.models.embedded.depth_data import read_surfaces
from particle_nb.models.embedded.depth_network import (
    DepthNetwork,
    DepthNetworkSettings,
    predict_square,
)
from particle_nb.models.embedded.depth_training import (
    DepthBatch,
    LossWeights,
    depth_losses,
    make_depth_batch,
)

log = logging.getLogger("particle_nb.train_depth")


@dataclass(frozen=True)
class DepthTrainSettings:
    """What a run depends on besides the surfaces; stored with the checkpoint."""

    seed: int = 20261121
    rate: float = 1.2e-3
    least_rate: float = 1e-5
    weight_decay: float = 0.01
    warmup: int = 100
    clip: float = 2.0
    ema: float = 0.998
    crops: int = 8
    side: int = 256
    losses: LossWeights = field(default_factory=LossWeights)
    network: DepthNetworkSettings = field(default_factory=DepthNetworkSettings)


class DepthTrainer:
    """One process of a run: surfaces, network, optimiser, checkpoint."""

    def __init__(
        self, args: argparse.Namespace, settings: DepthTrainSettings, rank: int, world: int
    ) -> None:
        self.args, self.settings, self.rank, self.world = args, settings, rank, world
        self.device = torch.device(
            ("cuda" if torch.cuda.is_available() else "cpu")
            if args.device == "auto"
            else args.device
        )
        torch.manual_seed(settings.seed)
        self.network = DepthNetwork(settings.network).to(self.device)
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
        self.out = Path(args.out)
        self.checkpoint = self.out / "checkpoint.pt"
        if args.resume and self.checkpoint.exists():
            self._resume()
        self.surfaces = read_surfaces(Path(args.data), args.limit)
        self.specimens: list[Specimen] = []
        if not rank and args.score_minutes > 0:
            across = settings.side / 1.6
            small = BarSettings(across_px=(across, across), network_px=settings.side)
            self.specimens = make_spheres(small, ("training", "all"), args.score_spheres, 977)

    def _resume(self) -> None:
        state = torch.load(self.checkpoint, map_location=self.device, weights_only=True)
        self.network.load_state_dict(state["network"])
        self.average = state["average"]
        self.optimiser.load_state_dict(state["optimiser"])
        self.step, self.minutes = state["step"], state["minutes"]
        # A fresh stream for every resumption, never the crops of the first minutes again.
        self.rng = np.random.default_rng([self.settings.seed, self.rank, self.step])

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
            "surfaces": len(self.surfaces),
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

    def batch(self) -> DepthBatch:
        """The next random batch; processes share a step's crops between them."""
        crops = max(1, self.settings.crops // self.world)
        return make_depth_batch(self.surfaces, crops, self.settings.side, self.rng)

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

    def run(self) -> None:
        """Train until the minutes are spent."""
        if not self.rank:
            self.record({"event": "start", "surfaces": len(self.surfaces)})
        signal.signal(signal.SIGTERM, self._stop)
        sums: dict[str, list[float]] = {}
        saved = evaluated = time.monotonic()
        over = False
        with ThreadPoolExecutor(1) as pool:
            coming: Future[DepthBatch] = pool.submit(self.batch)
            while not over:
                begin = time.monotonic()
                batch = coming.result().to(self.device)
                # The next pictures are drawn while the network learns from these.
                coming = pool.submit(self.batch)
                loss, stats = self.losses(batch)
                over = self.update(loss)
                self.step += 1
                self.minutes += (time.monotonic() - begin) / 60.0
                if self.rank:
                    continue
                for name, value in stats.items():
                    sums.setdefault(name, []).append(value)
                if self.step % self.args.log_every == 0:
                    means = {name: round(float(np.mean(v)), 4) for name, v in sums.items()}
                    self.record({"rate": self.rate(), **means})
                    log.info("%d %.1f min %s", self.step, self.minutes, means)
                    sums = {}
                if time.monotonic() - saved > 60.0 * self.args.save_minutes:
                    self.save()
                    saved = time.monotonic()
                if self.specimens and (
                    time.monotonic() - evaluated > 60.0 * self.args.score_minutes
                ):
                    self.record({"event": "score", **self.scores()})
                    evaluated = time.monotonic()
        self.save()
        if not self.rank:
            if self.specimens:
                self.record({"event": "score", **self.scores()})
            self.record({"event": "end"})

    def losses(self, batch: DepthBatch) -> tuple[Tensor, dict[str, float]]:
        """Loss of a batch and what to log."""
        from particle_nb.models.embedded.depth_network import normalised

        picture = normalised(batch.picture).contiguous(memory_format=torch.channels_last)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.device.type == "cuda"):
            predicted = self.network(picture)
        return depth_losses(predicted.float(), batch, self.settings.losses, self.step)


def _process(rank: int, world: int, args: argparse.Namespace, settings: DepthTrainSettings) -> None:
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    torch.set_num_threads(args.threads)
    if world > 1:
        store = (Path(args.out) / "rendezvous").resolve()
        dist.init_process_group("gloo", init_method=f"file://{store}", rank=rank, world_size=world)
    DepthTrainer(args, settings, rank, world).run()
    if world > 1:
        dist.destroy_process_group()


def main(argv: list[str] | None = None) -> None:
    """Parse the command line and train."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--data", required=True, help="folder of surfaces (depth_data)")
    parser.add_argument("--out", required=True, help="folder of checkpoint and log")
    parser.add_argument("--minutes", type=float, default=80.0, help="training time in all")
    parser.add_argument("--seed", type=int, default=DepthTrainSettings.seed)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--processes", type=int, default=1, help="gloo processes on one machine")
    parser.add_argument("--resume", action="store_true")
    parser.add_argument("--limit", type=int, help="read this many shards only")
    parser.add_argument("--crops", type=int, default=DepthTrainSettings.crops, help="a step")
    parser.add_argument("--side", type=int, default=DepthTrainSettings.side, help="of a crop")
    parser.add_argument("--tiny", action="store_true", help="a small network, for tests")
    parser.add_argument("--log-every", type=int, default=50)
    parser.add_argument("--save-minutes", type=float, default=3.0)
    parser.add_argument("--score-minutes", type=float, default=10.0, help="0 for never")
    parser.add_argument("--score-spheres", type=int, default=16, help="of each of two families")
    args = parser.parse_args(argv)
    network = DepthNetworkSettings()
    if args.tiny:
        network = DepthNetworkSettings((8, 12, 16, 16, 16), (1, 1, 1, 1, 1))
    settings = DepthTrainSettings(seed=args.seed, crops=args.crops, side=args.side, network=network)
    out = Path(args.out)
    out.mkdir(parents=True, exist_ok=True)
    (out / "rendezvous").unlink(missing_ok=True)
    if args.processes == 1:
        _process(0, 1, args, settings)
    else:
        torch.multiprocessing.spawn(_process, (args.processes, args, settings), args.processes)


if __name__ == "__main__":
    main()
