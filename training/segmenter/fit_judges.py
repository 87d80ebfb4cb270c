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
from joblib import Parallel, delayed
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
from training.segmenter.families import KINDS, draw_kind
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
    for kind in KINDS:
        for number in range(drawings):
            _, (grey, labels) = draw_kind(np.random.default_rng([seed, number, 4]), kind)
            yield kind, grey, labels.astype(np.int64)
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


def pairs_of(number: int, labels: np.ndarray, levels: list[tuple[Dense, float]]) -> list[Part]:
    """Touching pieces of the views of a picture."""
    rng, parts = np.random.default_rng(number), []
    for dense, scale in levels:
        truth = on_cells(labels, dense.logit.shape, scale)
        features, target = pair_examples(whole(dense), truth, rng)
        parts.append((number, features, target[:, None]))
    return parts


def instances_of(
    joining: Halves, number: int, labels: np.ndarray, levels: list[tuple[Dense, float]]
) -> list[Part]:
    """What the views of a picture propose."""
    parts = []
    for dense, scale in levels:
        features, iou = instance_examples(whole(dense), labels, scale, joining[number % 2])
        parts.append((number, features, np.stack([iou >= 0.5, iou], 1).astype(float)))
    return parts


def late_of(
    network: PromptableNetwork, judges: tuple[Halves, Halves], number: int, picture: Picture
) -> tuple[Part, Part]:
    """What the views of a picture settle on, before and after the prompt decoder was asked.

    Each picture is decoded by the first judges that were not fitted on it: proposals of pictures
    that they know look too good.
    """
    _, grey, labels = picture
    height, width = grey.shape
    window = (0, 0, width, height)
    part = torch.from_numpy(normalise(grey))[None, None]
    joining, particle = (both[1 - number % 2] for both in judges)
    with torch.inference_mode():
        views = [view_of(network, part, s, (0.0, 0.0)) for s in scales_for(grey, labels)]
        found = passed([Level.of(view, joining, particle) for view in views], grey.shape, window)
        truth = matched([p.mask for p in found], labels)
        picked = np.random.default_rng(number).permutation(len(found))[:60]
        answers = asked(network, views, [found[k] for k in picked], window)
    masks = [mask or found[k].mask for k, (mask, _) in zip(picked, answers, strict=True)]
    known = np.array([features for _, features in answers])
    both = np.concatenate([truth[picked], matched(masks, labels)], 1)
    return (number, np.array([p.features for p in found]), truth), (number, known, both)


def halves(parts: Sequence[Part], steps: int) -> Halves:
    """A judge of the pictures of even numbers and one of those of odd ones, on the same scales."""
    fit = Fit.on(gathered(list(parts)).features, steps)
    one, other = (
        fit.committee(gathered([p for p in parts if p[0] % 2 == side]), seed=10 * side)
        for side in (0, 1)
    )
    return one, other


def fitted(network: PromptableNetwork, every: Sequence[Picture], work: Any) -> Judges:
    """All four judges on pictures; `work` is a joblib.Parallel."""
    maps = work(delayed(seen)(network, grey, labels) for _, grey, labels in every)
    known = [(n, picture[2], m) for n, (picture, m) in enumerate(zip(every, maps, strict=True))]
    log.info("%d pictures", len(known))
    joining = halves(_flat(work(delayed(pairs_of)(*one) for one in known)), 1500)
    log.info("joined")
    particle = halves(_flat(work(delayed(instances_of)(joining, *one) for one in known)), 2500)
    log.info("judged in single views")
    known.clear()
    both = (joining, particle)
    late = work(delayed(late_of)(network, both, n, one) for n, one in enumerate(every))
    made = []
    for parts in zip(*late, strict=True):
        examples = gathered(list(parts))
        made.append(Fit.on(examples.features, 2500).committee(examples, 6))
    return Judges(Judge.committee(joining), Judge.committee(particle), *made)


def _flat(lists: Iterable[list[Part]]) -> list[Part]:
    return [part for one in lists for part in one]


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
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--seed", type=int, default=5)
    args = parser.parse_args(argv)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    torch.set_num_threads(1)
    network = load(args.weights, "cpu").network
    every = pictures(args.data, args.drawings, args.scenes, args.seed)
    chosen = [picture for number, picture in enumerate(every) if number % args.every == 0]
    judges = fitted(network, chosen, Parallel(args.processes))
    arrays: dict[str, Any] = dict(judges.stored())
    np.savez(args.out, **arrays)
    log.info("written")


if __name__ == "__main__":
    main()
