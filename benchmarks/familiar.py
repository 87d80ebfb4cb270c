"""What tuned weights take for familiar: pictures of the annotated kind, changed ones, and others.

    python -m benchmarks.familiar [--alloy DIR/super1] [--emps DIR/emps]

Some pictures of a kind are annotated; counted are the last four of the kind, the same four changed,
and pictures of other origin, as far as they are given: validation images of EMPS, drawings, scenes.
With EMPS also ten of its validation images by chance as the annotated ones.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import torch
from scipy import ndimage

from benchmarks.tune import KINDS, TRAIN, alloy, drawn
from particle_nb.core.image import Image
from particle_nb.models.embedded.familiar import known_space
from particle_nb.models.embedded.segmenter import Elsewhere, EmbeddedSegmenter, load
from particle_nb.models.tuning.drawings import draw_field, rendered
from particle_nb.models.tuning.embedded import elsewhere_of
from particle_nb.models.tuning.lessons import read_lessons
from particle_nb.models.tuning.running import remembered
from particle_nb.models.tuning.settings import TuneSettings
from training.segmenter.evaluate import read_folder

GIVEN = (1, 2, 4, 8)
DRAWN, RENDERED = 150, 100
Change = Callable[[np.ndarray, np.random.Generator], np.ndarray]


def _smaller(share: float) -> Change:
    return lambda grey, _: ndimage.zoom(
        ndimage.gaussian_filter(grey, 0.4 / share), share, order=1, mode="nearest"
    )


CHANGES: dict[str, Change] = {
    "magnified 0.5": _smaller(0.5),
    "0.7": _smaller(0.7),
    "1.5": lambda grey, _: ndimage.zoom(grey, 1.5, order=1),
    "2, same size": lambda grey, _: ndimage.zoom(grey, 2, order=1)[: len(grey), : grey.shape[1]],
    "blurred 1.5 px": lambda grey, _: ndimage.gaussian_filter(grey, 1.5),
    "noise 12 %": lambda grey, rng: grey + rng.normal(0, 0.12 * np.ptp(grey), grey.shape),
    "gamma 1.8": lambda grey, _: ((grey - grey.min()) / np.ptp(grey)) ** 1.8,
    "half": lambda grey, _: grey[:, : grey.shape[1] // 2],
    "inverted": lambda grey, _: grey.max() - grey,
}


def places(model: EmbeddedSegmenter, pictures: Iterable[np.ndarray]) -> list[np.ndarray]:
    """Coordinates (K,) of pictures (H, W)."""
    space = known_space(model.digest)
    assert space is not None
    glances = (model.glance(Image(np.ascontiguousarray(one, np.float32))) for one in pictures)
    return [space.place(model.network, glance) for glance in glances]


def share(known: Elsewhere, at: list[np.ndarray]) -> str:
    """Share of places that are familiar."""
    return f"{np.mean([known.familiar.holds(one) for one in at]):.2f}"


def main(argv: list[str] | None = None) -> None:
    """Print one line a kind and number of annotated pictures."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--alloy", type=Path)
    parser.add_argument("--emps", type=Path)
    args = parser.parse_args(argv)
    torch.set_num_threads(1)
    base = load(device="cpu")
    rng = np.random.default_rng(7)
    others = {
        "drawings": places(base, (draw_field(rng)[1][0] for _ in range(DRAWN))),
        "scenes": places(base, (rendered(rng)[0] for _ in range(RENDERED))),
    }
    emps = list(read_folder(args.emps)) if args.emps else []
    if emps:
        others["EMPS"] = places(base, (np.asarray(image.grey) for image, _ in emps))
    kept = remembered(TuneSettings())
    kinds = {kind: drawn(kind) for kind in KINDS}
    if args.alloy:
        kinds["alloy"] = alloy(args.alloy)
    for kind, pairs in kinds.items():
        last = [np.asarray(image.grey, float) for image, _ in pairs[TRAIN:]]
        own = places(base, last)
        changed = {
            name: places(base, (change(one, rng) for one in last))
            for name, change in CHANGES.items()
        }
        for count in GIVEN:
            known = elsewhere_of(base, read_lessons(pairs[:count]), kept)
            assert known is not None
            every = {"own": own, **others, **changed}
            print(kind, count, f"limit {known.familiar.limit:.1f}", end=" ")
            line = {name: share(known, at) for name, at in every.items()}
            print(line, flush=True)
    for draw in range(6 if emps else 0):
        order = np.random.default_rng(draw).permutation(len(emps))
        known = elsewhere_of(base, read_lessons([emps[k] for k in order[:TRAIN]]), kept)
        assert known is not None
        rest = [others["EMPS"][k] for k in order[TRAIN:]]
        print("EMPS", TRAIN, {"own": share(known, rest)}, flush=True)


if __name__ == "__main__":
    main()
