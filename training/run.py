"""What every training run of this folder shares: optimiser, averaged weights, clock, checkpoint.

A run can be killed at any time and goes on from its last checkpoint; its schedule follows the
minutes trained. Processes of one run share gradients and clock through gloo.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import signal
import time
from abc import ABC, abstractmethod
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor, nn

log = logging.getLogger("training")


@dataclass(frozen=True)
class RunSettings:
    """What any run depends on besides its data; stored with the checkpoint."""

    seed: int = 20261121
    rate: float = 1.5e-3
    least_rate: float = 2e-5
    weight_decay: float = 0.02
    warmup: int = 60
    clip: float = 4.0
    ema: float = 0.998


class TrainingRun(ABC):
    """One process of a run; a subclass brings network, data, losses and scores."""

    def __init__(
        self, args: argparse.Namespace, settings: RunSettings, rank: int, world: int
    ) -> None:
        self.args, self.settings, self.rank, self.world = args, settings, rank, world
        self.device = torch.device(
            ("cuda" if torch.cuda.is_available() else "cpu")
            if args.device == "auto"
            else args.device
        )
        torch.manual_seed(settings.seed)
        self.network = self.build().to(self.device)
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
        self.read()

    @abstractmethod
    def build(self) -> nn.Module:
        """The network, with random weights."""

    @abstractmethod
    def read(self) -> None:
        """Read the data."""

    @abstractmethod
    def counts(self) -> dict[str, int]:
        """How much data there is, for log and checkpoint."""

    @abstractmethod
    def losses(self) -> tuple[Tensor, dict[str, float]]:
        """Loss of one random batch and what to log."""

    @abstractmethod
    def scores(self) -> dict[str, Any]:
        """Scores of the averaged weights on the validation data, for the log."""

    @property
    @abstractmethod
    def scoring(self) -> bool:
        """Whether this process scores now and then."""

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
            **self.counts(),
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
            self.record({"event": "start", **self.counts()})
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
            if self.scoring and time.monotonic() - evaluated > 60.0 * self.args.score_minutes:
                self.record({"event": "score", **self.scores()})
                evaluated = time.monotonic()
        self.save()
        if not self.rank:
            if self.scoring:
                self.record({"event": "score", **self.scores()})
            self.record({"event": "end"})


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options that every run has."""
    parser.add_argument("--out", required=True, help="folder of checkpoint and log")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--processes", type=int, default=1, help="gloo processes on one machine")
    parser.add_argument("--resume", action="store_true")
    parser.add_argument("--save-minutes", type=float, default=3.0)


def launch(kind: type[TrainingRun], args: argparse.Namespace, settings: RunSettings) -> None:
    """Run in this process, or in as many as `args.processes` says."""
    out = Path(args.out)
    out.mkdir(parents=True, exist_ok=True)
    (out / "rendezvous").unlink(missing_ok=True)
    if args.processes == 1:
        _process(0, 1, kind, args, settings)
    else:
        given = (args.processes, kind, args, settings)
        torch.multiprocessing.spawn(_process, given, args.processes)


def _process(
    rank: int, world: int, kind: type[TrainingRun], args: argparse.Namespace, settings: RunSettings
) -> None:
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    torch.set_num_threads(args.threads)
    if world > 1:
        store = (Path(args.out) / "rendezvous").resolve()
        dist.init_process_group("gloo", init_method=f"file://{store}", rank=rank, world_size=world)
    kind(args, settings, rank, world).run()
    if world > 1:
        dist.destroy_process_group()
