"""Judges of the automatic mode moved towards a tuned network, without forgetting what they knew."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from particle_nb.models.embedded.automatic import asked, passed
from particle_nb.models.embedded.judges import Judge
from particle_nb.models.embedded.network import PromptableNetwork
from particle_nb.models.embedded.one_pass import Dense
from particle_nb.models.embedded.pyramid import view_of
from particle_nb.models.embedded.settling import Judges, Level
from particle_nb.models.embedded.views import View
from particle_nb.models.tuning.crops import normalise
from particle_nb.models.tuning.examples import (
    instance_examples,
    matched,
    on_cells,
    pair_examples,
    scales_for,
)

#: Steps and examples a step of one judge, and its learning rate.
STEPS, EXAMPLES, RATE = 500, 1024, 2e-3
#: Proposals of one picture that are shown to the prompt decoder.
ASKED = 40

Rows = list[tuple[np.ndarray, np.ndarray]]


@dataclass(frozen=True, eq=False)
class KnownPicture:
    """Grey values and labels, both (H, W); a rehearsed one is judged as it was before."""

    grey: np.ndarray
    labels: np.ndarray
    rehearsed: bool = False


def refitted(judge: Judge, new: Rows, old: Sequence[np.ndarray], seed: int = 0) -> Judge:
    """A judge that says what `new` features (N, F) and targets (N, T) ask for, and of `old`
    features (M, F) what it said before."""
    new = [(x, y) for x, y in new if len(x)]
    if not new:
        return judge
    features = np.concatenate([x for x, _ in new])
    targets = np.concatenate([y for _, y in new])
    share = np.concatenate([np.full(len(x), len(x) ** -0.5) for x, _ in new])
    known = np.concatenate([x for x in old if len(x)] or [features[:0]])
    said = judge(known) if len(known) else np.zeros((0, targets.shape[1]))
    return _descended(judge, (features, targets, share / share.sum()), (known, said), seed)


def _descended(
    judge: Judge,
    new: tuple[np.ndarray, np.ndarray, np.ndarray],
    old: tuple[np.ndarray, np.ndarray],
    seed: int,
) -> Judge:
    rng = np.random.default_rng(seed)
    generator = torch.Generator().manual_seed(seed)

    def standard(features: np.ndarray) -> Tensor:
        return torch.from_numpy(((features - judge.middle) / judge.spread).clip(-6, 6)).float()

    x, y = standard(new[0]), torch.from_numpy(new[1]).float()
    known, said = standard(old[0]), torch.from_numpy(old[1]).float()
    layers = [
        (nn.Parameter(torch.tensor(weight)), nn.Parameter(torch.tensor(bias)))
        for weight, bias in judge.layers
    ]
    optimiser = torch.optim.AdamW([p for layer in layers for p in layer], RATE, weight_decay=0.0)

    def answer(rows: Tensor) -> Tensor:
        for number, (weight, bias) in enumerate(layers):
            rows = F.linear(rows, weight, bias)
            if number + 1 < len(layers):
                rows = torch.relu(rows)
        return rows

    for step in range(STEPS):
        for group in optimiser.param_groups:
            group["lr"] = RATE * 0.5 * (1 + np.cos(np.pi * step / STEPS))
        pick = rng.choice(len(x), EXAMPLES, p=new[2])
        rows = x[pick] + 0.05 * torch.randn(EXAMPLES, x.shape[1], generator=generator)
        loss = F.binary_cross_entropy_with_logits(answer(rows), y[pick])
        if len(known):
            pick = rng.integers(len(known), size=EXAMPLES)
            loss = loss + F.binary_cross_entropy_with_logits(answer(known[pick]), said[pick])
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    made = tuple((w.detach().numpy(), b.detach().numpy()) for w, b in layers)
    return replace(judge, layers=made)


@dataclass(frozen=True, eq=False)
class SeenPicture:
    """A picture with its views."""

    picture: KnownPicture
    views: list[View]

    @classmethod
    def of(cls, network: PromptableNetwork, picture: KnownPicture) -> SeenPicture:
        """Encode a picture as the automatic mode does."""
        device = next(network.parameters()).device
        part = torch.from_numpy(normalise(picture.grey))[None, None].to(device)
        scales = scales_for(picture.grey, picture.labels)
        return cls(picture, [view_of(network, part, s, (0.0, 0.0)) for s in scales])


def refit(
    network: PromptableNetwork,
    judges: Judges,
    pictures: Sequence[KnownPicture],
    going: Callable[[], bool] = lambda: True,
) -> Judges:
    """All four judges fitted to a network's proposals for pictures, one after the other.

    Stops early, with what it has, once `going` says no.
    """
    rng = np.random.default_rng(0)
    with torch.inference_mode():
        seen = []
        for picture in pictures:
            if not going():
                break
            seen.append(SeenPicture.of(network, picture))
    if not seen:
        return judges
    wide = len(judges.settled.middle), len(judges.asked.middle)
    new: Rows = []
    old: list[np.ndarray] = []
    for item in seen:
        for view in item.views:
            dense = Dense.of(view)
            truth = on_cells(item.picture.labels, dense.logit.shape, view.scale)
            features, target = pair_examples(dense, truth, rng)
            _add(item, features, target[:, None], new, old)
    joining = refitted(judges.joining, new, old)
    new, old = [], []
    for item in seen:
        for view in item.views:
            features, iou = instance_examples(
                Dense.of(view), item.picture.labels, view.scale, joining
            )
            _add(item, features, np.stack([iou >= 0.5, iou], 1).astype(float), new, old)
    particle = refitted(judges.particle, new, old)
    late: Rows = []
    early: Rows = []
    old_late: list[np.ndarray] = []
    old_early: list[np.ndarray] = []
    for item in seen:
        if not going():
            break
        settled, shown = _late(network, item, joining, particle, wide, rng)
        _add(item, *settled, early, old_early)
        _add(item, *shown, late, old_late)
    return Judges(
        joining,
        particle,
        refitted(judges.settled, early, old_early),
        refitted(judges.asked, late, old_late),
    )


def _add(
    item: SeenPicture,
    features: np.ndarray,
    targets: np.ndarray,
    new: Rows,
    old: list[np.ndarray],
) -> None:
    if item.picture.rehearsed:
        old.append(features)
    else:
        new.append((features, targets))


def _late(
    network: PromptableNetwork,
    item: SeenPicture,
    joining: Judge,
    particle: Judge,
    wide: tuple[int, int],
    rng: np.random.Generator,
) -> tuple[tuple[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]:
    """Features and truth of what the views settle on, before and after the decoder was asked."""
    labels = item.picture.labels
    height, width = labels.shape
    window = (0, 0, width, height)
    with torch.inference_mode():
        levels = [Level.of(view, joining, particle) for view in item.views]
        found = passed(levels, (height, width), window)
        truth = matched([p.mask for p in found], labels)
        picked = rng.permutation(len(found))[:ASKED]
        answers = asked(network, item.views, [found[k] for k in picked], window)
    masks = [mask or found[k].mask for k, (mask, _) in zip(picked, answers, strict=True)]
    shown = (
        np.array([known for _, known in answers]).reshape(-1, wide[1]),
        np.concatenate([truth[picked], matched(masks, labels)], 1),
    )
    return (np.array([p.features for p in found]).reshape(-1, wide[0]), truth), shown
