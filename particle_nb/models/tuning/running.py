"""Tuning from the first look at the masks to the verdict on what is held out."""

from __future__ import annotations

import datetime
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from importlib.metadata import PackageNotFoundError, version
from typing import Any, Protocol

import numpy as np
import pandas as pd

from particle_nb.core.errors import DataError, ModelError, check_number
from particle_nb.core.image import Image
from particle_nb.core.masks import MaskSet
from particle_nb.models.protocols import Segmenter
from particle_nb.models.tuning.drawings import draw_field, rendered
from particle_nb.models.tuning.lessons import Lesson, parted, read_lessons
from particle_nb.models.tuning.scoring import confidence_error, mean_f1, scores_of
from particle_nb.models.tuning.settings import TuneSettings
from particle_nb.models.tuning.tuned import Tuned
from particle_nb.progress import progress_bar

#: Share of the time that is kept for fitting the judges and for the last scores.
LAST = 0.25
#: When, in shares of the descent, a score is taken while it goes on.
LOOKS = (0.34, 0.67)
#: A look that takes more than this share of the minutes is not taken while it goes on.
QUICK = 0.1
#: Drawn and rendered pictures that are scored before and after, to see what was forgotten.
REMEMBERED = ("field", "primaries", "boulders", "heap", "dots")
RENDERED = 5
#: What may be lost on them, and clicks on what is held out, without a warning; what is lost beyond
#: it counts so many times what is gained.
MAY_LOSE, WEIGHT = 0.02, 3.0


@dataclass(frozen=True)
class TuneProgress:
    """How far tuning has come.

    Parameters
    ----------
    doing : str
        In words.
    share : float
        0 to 1 of the whole.
    before, now : float
        Automatic F1 on the held-out images, with the old weights and at the last look.
    steps : int
    """

    doing: str
    share: float
    before: float = float("nan")
    now: float = float("nan")
    steps: int = 0


@dataclass(frozen=True, eq=False)
class Outlook:
    """Who watches a run, what stops it, and whose clock it goes by."""

    minutes: float = 5.0
    report: Callable[[TuneProgress], None] | None = None
    stop: threading.Event = field(default_factory=threading.Event)
    clock: Callable[[], float] = time.monotonic

    def __post_init__(self) -> None:
        check_number("minutes", self.minutes, 1e-3, 24 * 60)

    def tell(self, progress: TuneProgress) -> None:
        """Say how far it has come."""
        if self.report is not None:
            self.report(progress)


class Learner(Protocol):
    """A copy of a segmenter while it learns."""

    steps: int

    def step(self, progress: float) -> float:
        """One step of descent; returns the loss."""
        ...

    def segmenter(self) -> Any:
        """What it is so far."""
        ...

    def finished(self, going: Callable[[], bool]) -> Any:
        """What it is, with all that goes with it fitted."""
        ...

    def variants(self, made: Any) -> list[tuple[float, Any]]:
        """Segmenters between the old one and this, each with its share of the way, and this."""
        ...

    def packed(self, made: Any, about: dict[str, Any]) -> tuple[Any, bytes]:
        """A segmenter as its file will give it, and the bytes of that file."""
        ...


def learner_of(
    segmenter: Any, lessons: Sequence[Lesson], settings: TuneSettings, others: Sequence[Lesson] = ()
) -> Learner:
    """What can tune this segmenter; `others` are pictures of kinds that must not be forgotten.

    Raises
    ------
    ModelError
        If nothing can.
    """
    from particle_nb.models.embedded.segmenter import EmbeddedSegmenter
    from particle_nb.models.sam.sam import Sam

    if isinstance(segmenter, EmbeddedSegmenter):
        from particle_nb.models.tuning.embedded import EmbeddedLearner

        return EmbeddedLearner(segmenter, lessons, settings, others)
    if isinstance(segmenter, Sam):
        from particle_nb.models.tuning.sam import SamLearner

        return SamLearner(segmenter, lessons, settings)
    raise ModelError(
        f"{getattr(segmenter, 'name', type(segmenter).__name__)!r} cannot be tuned; the embedded "
        "segmenter can, and Segment Anything loaded through transformers. For a network of your "
        "own see particle_nb.train_unet."
    )


def tune(
    segmenter: Segmenter,
    annotations: Any,
    settings: TuneSettings | None = None,
    outlook: Outlook | None = None,
) -> Tuned:
    """Tune a copy of a segmenter on annotated images; what is held out decides.

    Parameters
    ----------
    segmenter : Segmenter
        Stays as it is.
    annotations
        As `read_lessons` takes them.
    settings : TuneSettings or None
    outlook : Outlook or None
        Minutes, who is told, what stops it. Stopped or interrupted it goes on with what it has.

    Raises
    ------
    DataError
        If there is nothing to learn from or to judge by.
    ModelError
        If this segmenter cannot be tuned.
    """
    settings, outlook = settings or TuneSettings(), outlook or Outlook()
    if not isinstance(settings, TuneSettings):
        raise DataError(f"settings are TuneSettings, not {type(settings).__name__}.")
    given = read_lessons(annotations)
    learned, held = parted(given, settings.held_out, settings.seed)
    return _Run(segmenter, settings, outlook, given, learned, held).done()


class _Run:
    """One tuning: the parts of it in their order."""

    def __init__(
        self,
        base: Segmenter,
        settings: TuneSettings,
        outlook: Outlook,
        given: list[Lesson],
        learned: list[Lesson],
        held: list[Lesson],
    ) -> None:
        self.base, self.settings, self.outlook = base, settings, outlook
        self.given = given
        self.begin = outlook.clock()
        self.drawn = remembered(settings)
        self.learner = learner_of(base, list(learned), settings, self.drawn)
        self.held = [lesson.small() for lesson in held]
        self.learned = learned
        self.best: tuple[float, Segmenter] | None = None
        self.way = 1.0
        self.now = float("nan")

    @property
    def spent(self) -> float:
        """Share of the minutes that are gone."""
        return (self.outlook.clock() - self.begin) / (60.0 * self.outlook.minutes)

    def tell(self, doing: str) -> None:
        before = mean_f1(self.before) if hasattr(self, "before") else float("nan")
        share = min(self.spent, 1.0)
        self.outlook.tell(TuneProgress(doing, share, before, self.now, self.learner.steps))

    def done(self) -> Tuned:
        """Score, descend, fit, score again, and decide."""
        self.tell("scoring the old weights")
        begin = self.spent
        self.before = scores_of(self.base, self.held)
        self.quick = self.spent - begin < QUICK
        self.before_drawn = scores_of(self.base, self.drawn, clicks=False)
        interrupted = self.descend()
        made, notes = self.finish(interrupted)
        self.way, made, after, drawn = self.choose(made)
        return self.verdict(made, after, drawn, notes)

    def choose(
        self, made: Segmenter
    ) -> tuple[float, Segmenter, list[dict[str, Any]], list[dict[str, Any]]]:
        """How far to go: what gains most on what is held out, less what is lost elsewhere.

        Returns the share of the way, the segmenter there, and its scores on what is held out and on
        drawings.
        """
        old, tried = mean_f1(self.before_drawn), []
        for way, one in [(1.0, made)] if made is self.base else self.learner.variants(made):
            after = scores_of(one, self.held)
            drawn = scores_of(one, self.drawn, clicks=False)
            lost = WEIGHT * max(old - mean_f1(drawn) - MAY_LOSE, 0.0)
            tried.append((mean_f1(after) - lost, (way, one, after, drawn)))
        return max(tried, key=lambda entry: entry[0])[1]

    def descend(self) -> bool:
        """Steps until the time is up, all are done, or somebody stops it; whether that was so."""
        looks = list(LOOKS)
        start = self.spent
        end = max(1.0 - LAST - start, 0.05)
        try:
            while self.learner.steps < self.settings.steps:
                share = max((self.spent - start) / end, self.learner.steps / self.settings.steps)
                if share >= 1.0 or self.outlook.stop.is_set():
                    break
                self.learner.step(share)
                self.tell("learning")
                if looks and self.quick and share >= looks[0]:
                    looks.pop(0)
                    self.look()
        except KeyboardInterrupt:
            return True
        return self.outlook.stop.is_set()

    def look(self) -> None:
        """The score of what is there so far, which is kept if it is the best."""
        made = self.learner.segmenter()
        self.now = mean_f1(scores_of(made, self.held, clicks=False))
        if self.now > max(mean_f1(self.before), self.best[0] if self.best else -1.0):
            self.best = self.now, made
        self.tell("learning")

    def finish(self, interrupted: bool) -> tuple[Segmenter, list[str]]:
        """The judges fitted to the network; interrupted again, the best that was seen before."""
        self.tell("fitting the judges")
        notes = ["interrupted: this is what was learned until then."] if interrupted else []
        limit = max(self.spent, 1.0 - LAST) + LAST
        try:
            return self.learner.finished(lambda: self.spent < limit), notes
        except KeyboardInterrupt:
            made = self.best[1] if self.best else self.base
            return made, [*notes, "interrupted twice: the best that was scored until then."]

    def verdict(
        self,
        made: Segmenter,
        after: list[dict[str, Any]],
        drawn: list[dict[str, Any]],
        notes: list[str],
    ) -> Tuned:
        """Which weights stay, and what to say of it."""
        scores = self.table(after, drawn)
        gain = mean_f1(after) - mean_f1(self.before)
        clicks = float((scores["click_after"] - scores["click_before"]).mean())
        least = self.settings.least_gain
        better = gain >= max(least, 1e-9) or (gain > -least and clicks >= max(least, 1e-9))
        kept = made is not self.base and better
        if not kept:
            notes.append(
                f"no gain: automatic F1 on what was held out went from {mean_f1(self.before):.3f} "
                f"to {mean_f1(after):.3f} and clicks by {clicks:+.3f}; the old weights stay."
            )
        else:
            notes += self.warnings(scores, made)
        about = self.about(scores, kept)
        segmenter, data = self.learner.packed(made if kept else self.base, about)
        self.now = mean_f1(after)
        self.tell("done")
        return Tuned(segmenter, scores, kept, tuple(notes), about, data)

    def warnings(self, scores: pd.DataFrame, made: Any) -> list[str]:
        if getattr(made, "elsewhere", None) is None:
            notes = [
                "judges refitted on these images and on drawings: confidences hold for pictures "
                "like these; on others check them, or use the old weights."
            ]
        else:
            notes = ["for pictures unlike the annotated ones the old weights answer."]
            strange = [lesson.name for lesson in self.held if not made.answers(lesson.image)]
            if strange:
                notes.append(f"so they do for {len(strange)} held-out pictures: {strange[0]}, ...")
        if self.way < 1.0:
            notes.append(
                f"the weights lie {100 * self.way:.0f} % of the way from the old to the learned "
                "ones, which forgets less."
            )
        lost = scores["f1_before"] - scores["f1_after"]
        drawn = float(lost[scores["kind"] == "rehearsed"].mean())
        if drawn > MAY_LOSE:
            notes.append(
                f"on drawn and rendered pictures of other kinds automatic F1 fell by {drawn:.3f}: "
                "use these weights for pictures like the annotated ones only."
            )
        clicks = float((scores["click_before"] - scores["click_after"]).mean())
        if clicks > MAY_LOSE:
            notes.append(f"clicks became worse by {clicks:.3f} of IoU.")
        if int(scores.loc[scores["kind"] == "held out", "particles"].sum()) < 20:
            notes.append("fewer than 20 held-out particles: the scores are rough.")
        return notes

    def table(self, after: list[dict[str, Any]], drawn: list[dict[str, Any]]) -> pd.DataFrame:
        rows = []
        for kind, old, new in (
            ("held out", self.before, after),
            ("rehearsed", self.before_drawn, drawn),
        ):
            for a, b in zip(old, new, strict=True):
                rows.append(
                    {
                        "image": a["image"],
                        "kind": kind,
                        "particles": a["particles"],
                        "f1_before": a["f1"],
                        "f1_after": b["f1"],
                        "click_before": a["click"],
                        "click_after": b["click"],
                    }
                )
        table = pd.DataFrame(rows).set_index("image")
        errors = confidence_error(self.before), confidence_error(after)
        table.attrs["confidence_error"] = dict(zip(("before", "after"), errors, strict=True))
        return table

    def about(self, scores: pd.DataFrame, kept: bool) -> dict[str, Any]:
        held = {lesson.name.removesuffix(" (held out)") for lesson in self.held}
        try:
            own = version("particle_nb")
        except PackageNotFoundError:
            own = "unknown"
        return {
            "parent": {"name": self.base.name, "digest": self.base.digest},
            "annotations": [
                lesson.facts | {"held_out": lesson.name in held} for lesson in self.given
            ],
            "settings": asdict(self.settings) | {"minutes": self.outlook.minutes},
            "scores": scores.reset_index().round(4).to_dict("records"),
            "confidence_error": scores.attrs["confidence_error"],
            "kept": kept,
            "steps": self.learner.steps,
            "minutes": round(self.spent * self.outlook.minutes, 2),
            "date": datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M"),
            "version": own,
        }


def remembered(settings: TuneSettings) -> list[Lesson]:
    """Drawn and rendered pictures of kinds that should not be forgotten."""
    made = {}
    for number, family in enumerate(REMEMBERED[: settings.rehearsed // 2]):
        _, both = draw_field(np.random.default_rng([settings.seed, 77, number]), family)
        made[f"drawn {family}"] = tuple(plane[:288, :288].copy() for plane in both)
    for number in range(min(RENDERED, settings.rehearsed // 4)):
        rng = np.random.default_rng([settings.seed, 78, number])
        made[f"rendered {number + 1}"] = rendered(rng)
    return [
        Lesson(name, Image(grey, name=name), MaskSet.from_labels(labels.astype(np.int64)))
        for name, (grey, labels) in made.items()
    ]


@contextmanager
def tuning_bar(show: bool) -> Iterator[Any]:
    """Give what shows the progress of tuning, with the score before and now; None shows nothing."""
    if not show:
        yield None
        return
    with progress_bar("tuning", 100, keep=True) as bar:

        def report(told: TuneProgress) -> None:
            scores = f", F1 {told.before:.3f} -> {told.now:.3f}" if told.now == told.now else ""
            if told.before == told.before and not scores:
                scores = f", F1 {told.before:.3f} before"
            bar.set_description(f"{told.doing}{scores}", refresh=False)
            bar.update(round(100 * told.share) - bar.n)

        yield report
