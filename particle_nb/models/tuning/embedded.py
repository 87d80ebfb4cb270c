"""The embedded segmenter on a user's own masks: decoder, heads and encoder, with rehearsal."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from particle_nb.core.image import Image
from particle_nb.models.embedded.close_ups import SMALL
from particle_nb.models.embedded.familiar import Familiar, known_space
from particle_nb.models.embedded.network import PromptableNetwork
from particle_nb.models.embedded.regions import FEATURES
from particle_nb.models.embedded.segmenter import (
    Elsewhere,
    EmbeddedSegmenter,
    parsed,
    stored_facts,
    stored_tensors,
    view_scales,
)
from particle_nb.models.own import KIND
from particle_nb.models.tuning.crops import (
    Batch,
    TrainingScene,
    compact,
    crop,
    targets,
    vary_intensity,
)
from particle_nb.models.tuning.drawings import draw_field, rendered
from particle_nb.models.tuning.judging import KnownPicture, refit
from particle_nb.models.tuning.lessons import Lesson
from particle_nb.models.tuning.losses import dense_loss
from particle_nb.models.tuning.prompts import PromptShares
from particle_nb.models.tuning.settings import TuneSettings
from particle_nb.models.tuning.step import StepSettings, step_losses
from particle_nb.models.weights import file_digest, packed

#: Kinds of prompts while tuning: the automatic mode asks with boxes, a user clicks.
PROMPTS = PromptShares(background=0.2, box=0.4, sketch=0.05)
#: Share of the finest view in what is trained on; close-ups and coarser views share the rest.
FINEST = 0.5
#: Share of the crops that keep the grey values of their image.
PLAIN = 0.5
#: How much the pull towards what the old network says of rehearsed pictures counts.
REHEARSAL = 1.0
#: Rehearsed pictures that the judges see.
JUDGED = 14
#: Every so many steps train prompts, too: the automatic mode hangs on the dense maps.
PROMPTED = 4
#: How far from the old weights to the learned ones the means lie that are tried beside them, and
#: how far their judges.
WAYS = ((0.35, 0.3), (0.6, 0.5))
#: Weights are averaged over about 1 / (1 - AVERAGE) steps.
AVERAGE = 0.97
#: The way down of the encoder learns so much more slowly.
SLOWER = 0.3
#: Parts of each annotated picture that tell what is like it, and their share of its sides.
PARTS, PART = 5, (0.6, 1.0)


@dataclass(frozen=True, eq=False)
class Rehearsal:
    """Drawn crops (N, 1, S, S) and what the old network says of them, maps (N, 32, S/2, S/2)."""

    images: Tensor
    maps: Tensor
    spread: Tensor

    @classmethod
    def drawn(
        cls, network: PromptableNetwork, settings: TuneSettings, rng: np.random.Generator
    ) -> Rehearsal:
        """Crops of drawings of every family and of rendered scenes, varied in scale and greys."""
        device = next(network.parameters()).device
        generator = torch.Generator(device).manual_seed(settings.seed + 1)
        images = []
        for number in range(settings.rehearsed):
            grey, labels = rendered(rng) if number % 2 else draw_field(rng)[1]
            planes = crop(TrainingScene.of("drawing", grey, labels, device), settings.side, rng)
            marks = torch.from_numpy(compact(planes[1].round().to(torch.int32).cpu().numpy()))
            images.append(vary_intensity(planes[0], marks.to(device), rng, generator))
        stack = torch.stack(images)[:, None]
        with torch.no_grad():
            maps = torch.cat([network.encode(image[None]).float() for image in stack])
        spread = maps[:, :FEATURES].std((0, 2, 3), keepdim=True).clamp(min=0.1)
        return cls(stack, maps.half(), spread)

    def loss(self, network: PromptableNetwork, pick: np.ndarray) -> Tensor:
        """How far a network is from what the old one said of the crops with these numbers (N,)."""
        index = torch.from_numpy(pick)
        now, then = network.encode(self.images[index]).float(), self.maps[index].float()
        features = F.smooth_l1_loss(
            now[:, :FEATURES] / self.spread, then[:, :FEATURES] / self.spread
        )
        dense = F.smooth_l1_loss(now[:, FEATURES:].clamp(-6, 6), then[:, FEATURES:].clamp(-6, 6))
        return features + 2.0 * dense


@dataclass(frozen=True, eq=False)
class LessonScene:
    """A user's image as training sees it, and the scales that the automatic mode looks at."""

    scene: TrainingScene
    scales: tuple[float, ...]
    shares: tuple[float, ...]

    @classmethod
    def of(cls, lesson: Lesson, device: torch.device) -> LessonScene:
        """One of an annotated image."""
        grey = lesson.grey
        scene = TrainingScene.of(lesson.name, grey, lesson.labels, device)
        scales = view_scales(grey.shape[1], grey.shape[0])
        rest = list(scales[1:2])
        if 2.0 * scene.radius * scales[0] < SMALL:
            rest.append(2.0 * scales[0])
        if not rest:
            return cls(scene, (scales[0],), (1.0,))
        shares = (FINEST, *[(1.0 - FINEST) / len(rest)] * len(rest))
        return cls(scene, (scales[0], *rest), shares)


def lesson_batch(
    scenes: Sequence[LessonScene],
    settings: TuneSettings,
    rng: np.random.Generator,
    generator: torch.Generator,
) -> Batch:
    """Crops of a user's images at the scales of the automatic mode."""
    planes, images, hosts = [], [], []
    for index in rng.integers(len(scenes), size=settings.crops):
        item = scenes[index]
        for _ in range(3):  # an empty crop teaches little
            scale = float(rng.choice(item.scales, p=item.shares) * np.exp(rng.uniform(-0.25, 0.25)))
            part = crop(item.scene, settings.side, rng, scale)
            if (part[1] > 0).float().mean() > 0.01:
                break
        host = compact(part[1].round().to(torch.int32).cpu().numpy())
        image = part[0]
        if rng.random() > PLAIN:
            marks = torch.from_numpy(host).to(image.device)
            image = vary_intensity(image, marks, rng, generator)
        planes.append(part)
        images.append(image[None])
        hosts.append(host)
    host = np.stack(hosts)
    labels = torch.from_numpy(host).to(planes[0].device)
    return targets(torch.stack(images), labels, torch.stack(planes)[:, 2], host)


def elsewhere_of(
    base: EmbeddedSegmenter, lessons: Sequence[Lesson], others: Sequence[Lesson] = ()
) -> Elsewhere | None:
    """What answers for pictures unlike those of the lessons, and of earlier tuning.

    `others` are pictures of kinds that must not be forgotten. None where the space of the first
    weights is not known.
    """
    before = base.elsewhere
    first = base if before is None else before.segmenter
    space = known_space(first.digest) if before is None else before.familiar.space
    if space is None:
        return None
    rng = np.random.default_rng(0)
    pictures = [
        one
        for lesson in lessons
        for one in (lesson.grey, *(_turned_part(lesson.grey, rng) for _ in range(PARTS)))
    ]
    seen, strange = (
        np.array([space.place(first.network, first.glance(Image(one))) for one in given])
        for given in (pictures, [lesson.grey for lesson in others])
    )
    strange = strange.reshape(len(others), seen.shape[1])
    whose = np.repeat(np.arange(len(lessons)), PARTS + 1)
    if before is not None:
        known = before.familiar
        seen = np.concatenate([known.seen, seen])
        whose = np.concatenate([known.whose, whose + known.whose.max() + 1])
    return Elsewhere(first, Familiar(space, seen, whose, strange), quiet=True)


def _turned_part(grey: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A part of grey values (H, W), turned or mirrored."""
    sides = [int(n * rng.uniform(*PART)) for n in grey.shape]
    y, x = (int(rng.integers(n - side + 1)) for n, side in zip(grey.shape, sides, strict=True))
    part = np.rot90(grey[y : y + sides[0], x : x + sides[1]], int(rng.integers(4)))
    return np.ascontiguousarray(part[::-1] if rng.random() < 0.5 else part)


class EmbeddedLearner:
    """A copy of an embedded segmenter's network while it learns.

    Parameters
    ----------
    base : EmbeddedSegmenter
    lessons : sequence of Lesson
    settings : TuneSettings
    others : sequence of Lesson
        Pictures of kinds that must not be forgotten.
    """

    def __init__(
        self,
        base: EmbeddedSegmenter,
        lessons: Sequence[Lesson],
        settings: TuneSettings,
        others: Sequence[Lesson] = (),
    ) -> None:
        self.base, self.settings = base, settings
        self.lessons = list(lessons)
        self.scenes = [LessonScene.of(lesson, base.device) for lesson in lessons]
        self.rng = np.random.default_rng([settings.seed, 1])
        self.generator = torch.Generator(base.device).manual_seed(settings.seed)
        self.elsewhere = None if settings.everywhere else elsewhere_of(base, self.lessons, others)
        self.network = copy.deepcopy(base.network).requires_grad_(True).train()
        self.average = copy.deepcopy(base.network).eval()
        self.rehearsal = Rehearsal.drawn(base.network, settings, self.rng)
        encoder = self.network.encoder
        slow = {
            id(p)
            for part in (encoder.stem, encoder.downs, encoder.levels, encoder.context)
            for p in part.parameters()
        }
        groups = [
            {"params": [p for p in self.network.parameters() if id(p) not in slow], "pace": 1.0},
            {"params": [p for p in self.network.parameters() if id(p) in slow], "pace": SLOWER},
        ]
        self.optimiser = torch.optim.AdamW(
            groups, settings.rate, betas=(0.9, 0.99), weight_decay=0.0
        )
        self.steps = 0

    def step(self, progress: float) -> float:
        """One step of descent, `progress` from 0 to 1 of the whole; returns the loss."""
        settings = self.settings
        rate = (
            settings.rate
            * min(1.0, (self.steps + 1) / 15)
            * (0.05 + 0.95 * 0.5 * (1 + np.cos(np.pi * progress)))
        )
        for group in self.optimiser.param_groups:
            group["lr"] = rate * group["pace"]
        self.optimiser.zero_grad(set_to_none=True)
        batch = lesson_batch(self.scenes, settings, self.rng, self.generator)
        if self.steps % PROMPTED == 0:
            step = StepSettings(PROMPTS, settings.prompts, 1)
            loss, _ = step_losses(self.network, batch, step, self.rng, self.generator)
        else:
            raw = self.network.encode(batch.image).float()[:, FEATURES:]
            loss = torch.stack(list(dense_loss(raw, batch).values())).sum()
        loss.backward()
        if self.steps % 2:
            pick = self.rng.integers(len(self.rehearsal.images), size=1)
            (REHEARSAL * self.rehearsal.loss(self.network, pick)).backward()
        norm = torch.nn.utils.clip_grad_norm_(self.network.parameters(), 4.0)
        if torch.isfinite(norm):
            self.optimiser.step()
        self.steps += 1
        decay = min(AVERAGE, self.steps / (self.steps + 9.0))
        with torch.no_grad():
            for mean, value in zip(
                self.average.parameters(), self.network.parameters(), strict=True
            ):
                mean.lerp_(value, 1.0 - decay)
        return float(loss.detach())

    def segmenter(self) -> EmbeddedSegmenter:
        """The averaged network behind the judges of the old one."""
        network = copy.deepcopy(self.average).eval().requires_grad_(False)
        return replace(self.base, network=network, elsewhere=self.elsewhere)

    def finished(self, going: Callable[[], bool] = lambda: True) -> EmbeddedSegmenter:
        """The averaged network with judges that were fitted to it."""
        made = self.segmenter()
        if self.base.judges is None:
            return made
        rng = np.random.default_rng([self.settings.seed, 2])
        judges = refit(made.network, self.base.judges, list(self._pictures(rng)), going)
        return replace(made, judges=judges)

    def variants(self, made: EmbeddedSegmenter) -> list[tuple[float, EmbeddedSegmenter]]:
        """Means of the old and the new weights, and the new ones.

        Notes
        -----
        Between first and fine-tuned weights most of the gain is there, and little is forgotten:
        M. Wortsman et al., arXiv:2109.01903.
        """
        return [*(self._between(made, *way) for way in WAYS), (1.0, made)]

    def _between(
        self, made: EmbeddedSegmenter, way: float, judged: float
    ) -> tuple[float, EmbeddedSegmenter]:
        network = copy.deepcopy(made.network)
        old = self.base.network.state_dict()
        with torch.no_grad():
            for key, value in network.state_dict().items():
                if value.is_floating_point():
                    value.lerp_(old[key].to(value), 1.0 - way)
        judges = made.judges
        if judges is not None and self.base.judges is not None:
            judges = self.base.judges.towards(judges, judged)
        return way, replace(made, network=network, judges=judges)

    def _pictures(self, rng: np.random.Generator) -> Iterator[KnownPicture]:
        """The user's pictures, turned, and drawings, in turns."""
        drawings = min(JUDGED, self.settings.rehearsed)
        for number in range(max(len(self.lessons), drawings)):
            if number < len(self.lessons):
                lesson = self.lessons[number].small()
                grey, labels = lesson.grey, lesson.labels
                yield KnownPicture(grey[::-1].copy(), labels[::-1].copy())
            if number < drawings:
                _, (grey, labels) = draw_field(rng)
                yield KnownPicture(grey[:320, :320], labels[:320, :320].astype(np.int64), True)

    def packed(self, made: Any, about: dict[str, Any]) -> tuple[Any, bytes]:
        """A segmenter as its file will give it, and the bytes of that file."""
        if not about["kept"]:
            name = self.base.name
        else:
            given = json.dumps([one["masks"] for one in about["annotations"]])
            name = f"{self.base.name.partition('+')[0]}+{file_digest(given.encode())[:6]}"
        data = packed(
            stored_tensors(made),
            {
                KIND: "embedded",
                "name": name,
                "licence": "MIT",
                "parentage": about,
                **stored_facts(made),
            },
        )
        return parsed(data, "the tuned weights", made.device), data
