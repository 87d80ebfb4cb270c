"""Fit the judges of the one-pass decoding on training images and on drawings made afresh.

    python -m training.segmenter.fit_judges --data DIR --weights FILE --out judges.npz

The judge of joining sees every pair of pieces that touch, while pieces are joined by the truth; the
judge of particles sees what the finished joining proposes, so its false examples are the automatic
mode's own mistakes. Each is a committee of six. Images of the validation split are never looked at.
"""

from __future__ import annotations

import argparse
import logging
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image as PilImage
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from particle_nb.core.synthetic import scene
from particle_nb.models.embedded.automatic import asked, passed
from particle_nb.models.embedded.judges import HIDDEN, Judge
from particle_nb.models.embedded.network import PromptableNetwork
from particle_nb.models.embedded.one_pass import (
    Dense,
)
from particle_nb.models.embedded.pyramid import view_of
from particle_nb.models.embedded.segmenter import load
from particle_nb.models.embedded.settling import Judges, Level
from particle_nb.models.tuning.crops import compact, normalise
from particle_nb.models.tuning.drawings import FAMILIES, draw_field
from particle_nb.models.tuning.examples import (
    Examples,
    gathered,
    instance_examples,
    matched,
    on_cells,
    pair_examples,
    scales_for,
)
from training.segmenter.data import is_validation
from training.segmenter.scenes import training_settings

log = logging.getLogger("particle_nb.fit_judges")
Picture = tuple[str, np.ndarray, np.ndarray]
Part = tuple[int, np.ndarray, np.ndarray]


def pictures(folder: Path, drawings: int, scenes: int, seed: int) -> Iterator[Picture]:
    """Names, grey values and labels: training images, some changed, drawings and renderings."""
    rng = np.random.default_rng(seed)
    for number, path in enumerate(sorted((folder / "images").glob("*.png"))):
        if is_validation(path.name):
            continue
        grey = np.asarray(PilImage.open(path).convert("L"))
        labels = np.asarray(PilImage.open(folder / "labels" / path.name)).astype(np.int64)
        if number // 2 % 2:  # other than what the network was trained on
            factor = float(np.exp(rng.uniform(np.log(0.45), np.log(1.2))))
            size = (max(160, int(grey.shape[1] * factor)), max(160, int(grey.shape[0] * factor)))
            picture = PilImage.fromarray(grey).resize(size, PilImage.Resampling.BILINEAR)
            turned = PilImage.fromarray(labels.astype(np.int32)).resize(
                size, PilImage.Resampling.NEAREST
            )
            grey, labels = np.asarray(picture)[::-1], np.asarray(turned)[::-1].astype(np.int64)
            noisy = 255 * (grey / 255.0) ** np.exp(rng.normal(0, 0.3))
            noisy = noisy + rng.exponential(4) * rng.standard_normal(grey.shape)
            grey = noisy.clip(0, 255).astype(np.uint8)
        yield "emps", grey, labels
    for family in FAMILIES:
        for number in range(drawings):
            _, (grey, labels) = draw_field(np.random.default_rng([seed, number, 1]), family)
            yield family, grey, labels.astype(np.int64)
    yield from dense_drawings(2 * drawings, seed)
    for number in range(scenes):
        own = np.random.default_rng([seed, number, 2])
        made = scene(training_settings(own), own)
        grey = next(iter(made.detectors.values()))
        yield "scene", grey, made.primaries.astype(np.int64)


def dense_drawings(count: int, seed: int) -> Iterator[Picture]:
    """Crops of drawings full of small particles, which the others have too few of."""
    made = number = 0
    while made < count:
        rng = np.random.default_rng([seed, number, 3])
        family = ("field", "field", "squares", "primaries")[number % 4]
        number += 1
        _, (grey, labels) = draw_field(rng, family)
        x, y = rng.integers(0, grey.shape[1] - 256), rng.integers(0, grey.shape[0] - 224)
        grey, labels = grey[y : y + 224, x : x + 256], compact(labels[y : y + 224, x : x + 256])
        sizes = np.sqrt(4 / np.pi * np.bincount(labels.ravel())[1:])
        few = len(sizes) < 20 or (labels > 0).mean() < 0.3
        if few or (np.median(sizes) > 22 and rng.random() < 0.7):
            continue
        made += 1
        yield "dense", np.ascontiguousarray(grey), labels.astype(np.int64)


def seen(
    network: PromptableNetwork, grey: np.ndarray, labels: np.ndarray
) -> list[tuple[Dense, float]]:
    """Dense maps of the views of a picture, and their scales."""
    part = torch.from_numpy(normalise(grey))[None, None]
    out = []
    with torch.inference_mode():
        for scale in scales_for(grey, labels):
            view = view_of(network, part, scale, (0.0, 0.0))
            dense = Dense.of(view)
            halves = {
                item.name: getattr(dense, item.name).astype(np.float16) for item in fields(dense)
            }
            out.append((Dense(**halves), scale))  # many pictures are held at once
    return out


def whole(dense: Dense) -> Dense:
    """Dense maps in single precision again."""
    return Dense(**{f.name: getattr(dense, f.name).astype(np.float32) for f in fields(dense)})


@dataclass(frozen=True, eq=False)
class Fit:
    """How one kind of judge is fitted: what features are less and divided by, steps, members."""

    middle: np.ndarray
    spread: np.ndarray
    steps: int

    @classmethod
    def on(cls, features: np.ndarray, steps: int) -> Fit:
        """Scales from features (N, F)."""
        return cls(np.median(features, 0), features.std(0) + 1e-3, steps)

    def committee(self, examples: Examples, members: int = 3, seed: int = 0) -> Judge:
        """Judges of the same examples, each on pictures drawn with replacement, as one."""
        return Judge.committee([self._member(examples, seed + k) for k in range(members)])

    def _member(self, examples: Examples, seed: int) -> Judge:
        torch.manual_seed(seed)
        rng = np.random.default_rng(seed)
        times = rng.poisson(1.0, int(examples.pictures.max()) + 1)
        share = examples.weights * (times[examples.pictures] if times.any() else 1.0)
        rows = ((examples.features - self.middle) / self.spread).clip(-6, 6)
        x, y = torch.from_numpy(rows).float(), torch.from_numpy(examples.targets).float()
        net = nn.Sequential(
            nn.Linear(x.shape[1], HIDDEN),
            nn.ReLU(),
            nn.Linear(HIDDEN, HIDDEN),
            nn.ReLU(),
            nn.Linear(HIDDEN, y.shape[1]),
        )
        optimiser = torch.optim.AdamW(net.parameters(), 3e-3, weight_decay=0.03)
        picks = rng.choice(len(x), (self.steps, 2048), p=share / share.sum())
        for step, pick in enumerate(picks):
            for group in optimiser.param_groups:
                group["lr"] = 3e-3 * 0.5 * (1 + np.cos(np.pi * step / self.steps))
            noise = 0.05 * torch.randn(len(pick), x.shape[1])
            loss: Tensor = F.binary_cross_entropy_with_logits(net(x[pick] + noise), y[pick])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
        layers = tuple(
            (layer.weight.detach().numpy(), layer.bias.detach().numpy())
            for layer in net
            if isinstance(layer, nn.Linear)
        )
        return Judge(self.middle.astype(np.float32), self.spread.astype(np.float32), layers)


Known = list[tuple[int, np.ndarray, list[tuple[Dense, float]]]]
Halves = tuple[Judge, Judge]


def halves(parts: Sequence[Part], steps: int) -> Halves:
    """A judge of the pictures of even numbers and one of those of odd ones, on the same scales."""
    fit = Fit.on(gathered(list(parts)).features, steps)
    one, other = (
        fit.committee(gathered([p for p in parts if p[0] % 2 == side]), seed=10 * side)
        for side in (0, 1)
    )
    return one, other


def first_judges(known: Known) -> tuple[Halves, Halves]:
    """Halves of the judges of joining and of one view's proposals, from truth and dense maps."""
    rng = np.random.default_rng(0)
    parts: list[Part] = []
    for number, labels, levels in known:
        for dense, scale in levels:
            truth = on_cells(labels, dense.logit.shape, scale)
            parts.append((number, *pair_examples(whole(dense), truth, rng)))
    joining = halves(parts, 1500)
    parts = []
    for number, labels, levels in known:
        for dense, scale in levels:
            judge = joining[number % 2]
            features, iou = instance_examples(whole(dense), labels, scale, judge)
            parts.append((number, features, np.stack([iou >= 0.5, iou], 1).astype(float)))
    return joining, halves(parts, 2500)


def late_judges(
    network: PromptableNetwork, every: Iterable[Picture], joining: Halves, particle: Halves
) -> tuple[Judge, Judge]:
    """The judges of settled proposals, before and after the prompt decoder was asked.

    Each picture is decoded by the first judges that were not fitted on it: proposals of pictures
    that they know look too good.
    """
    settled: list[Part] = []
    shown: list[Part] = []
    for number, (_, grey, labels) in enumerate(every):
        height, width = grey.shape
        window = (0, 0, width, height)
        part = torch.from_numpy(normalise(grey))[None, None]
        other = 1 - number % 2
        with torch.inference_mode():
            views = [view_of(network, part, s, (0.0, 0.0)) for s in scales_for(grey, labels)]
            levels = [Level.of(view, joining[other], particle[other]) for view in views]
            found = passed(levels, grey.shape, window)
            truth = matched([p.mask for p in found], labels)
            settled.append((number, np.array([p.features for p in found]), truth))
            rng = np.random.default_rng(number)
            picked = rng.permutation(len(found))[:60]
            answers = asked(network, views, [found[k] for k in picked], window)
        masks = [mask or found[k].mask for k, (mask, _) in zip(picked, answers, strict=True)]
        features = np.array([known for _, known in answers])
        shown.append((number, features, np.concatenate([truth[picked], matched(masks, labels)], 1)))
    made = []
    for parts in (settled, shown):
        examples = gathered(parts)
        made.append(Fit.on(examples.features, 2500).committee(examples, 6))
    return made[0], made[1]


def main(argv: list[str] | None = None) -> None:
    """Parse the command line, fit and write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--weights", default="", help="weights file; the package's own if left out")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--drawings", type=int, default=14, help="drawings of each family")
    parser.add_argument("--scenes", type=int, default=40, help="rendered scenes")
    parser.add_argument("--every", type=int, default=1, help="every n-th picture only")
    parser.add_argument("--seed", type=int, default=5)
    args = parser.parse_args(argv)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    network = load(args.weights, "cpu").network

    def some() -> Iterator[Picture]:
        every = pictures(args.data, args.drawings, args.scenes, args.seed)
        return (picture for number, picture in enumerate(every) if number % args.every == 0)

    known = [(n, labels, seen(network, grey, labels)) for n, (_, grey, labels) in enumerate(some())]
    log.info("%d pictures", len(known))
    joining, particle = first_judges(known)
    known.clear()
    log.info("judges of single views")
    settled, shown = late_judges(network, some(), joining, particle)
    judges = Judges(Judge.committee(joining), Judge.committee(particle), settled, shown)
    arrays: dict[str, Any] = dict(judges.stored())
    np.savez(args.out, **arrays)
    log.info("written")


if __name__ == "__main__":
    main()
