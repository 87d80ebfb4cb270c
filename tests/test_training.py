"""Training, evaluation and cards live beside the package and can be run from a checkout."""

import importlib
import re
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

pytest.importorskip("torch")

ROOT = Path(__file__).parent.parent
SCRIPTS = sorted(
    ".".join(path.relative_to(ROOT).with_suffix("").parts)
    for path in (ROOT / "training").rglob("*.py")
    if "__main__" in path.read_text(encoding="utf-8")
)


def test_there_are_scripts_for_both_models() -> None:
    assert {"training.segmenter.train", "training.segmenter.evaluate", "training.depth.train"} <= {
        *SCRIPTS
    }


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_script_says_how_it_is_run(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    script = importlib.import_module(name)
    with pytest.raises(SystemExit) as ended:
        script.main(["--help"])
    assert ended.value.code == 0
    assert "usage" in capsys.readouterr().out


def test_training_goes_on_from_the_weights_of_the_package() -> None:
    """Weights that ship carry judges, which are no part of the network."""
    from particle_nb.models.embedded import segmenter
    from training.segmenter.train import Trainer, TrainSettings

    run = SimpleNamespace(settings=TrainSettings(start=str(segmenter.WEIGHTS)))
    built = Trainer.build(run).state_dict()  # type: ignore[arg-type]
    shipped = segmenter.load(device="cpu").network.state_dict()
    assert all(built[key].equal(value) for key, value in shipped.items())


@pytest.mark.parametrize("card", sorted((ROOT / "particle_nb" / "models").rglob("CARD_*.md")))
def test_the_scripts_that_a_card_names_are_there(card: Path) -> None:
    named = set(re.findall(r"training/[\w/]+\.py", card.read_text(encoding="utf-8")))
    assert named
    assert all((ROOT / name).is_file() for name in named)


def test_drawings_for_training_repeat_and_mark_what_is_seen() -> None:
    from training.segmenter.families import KINDS, draw_kind

    for kind in KINDS:
        name, (grey, labels) = draw_kind(np.random.default_rng(3), kind)
        again = draw_kind(np.random.default_rng(3), kind)[1]
        assert name == kind
        np.testing.assert_array_equal(grey, again[0])
        np.testing.assert_array_equal(labels, again[1])
        areas = np.bincount(labels.ravel())[1:]
        if kind == "foam":
            assert not len(areas)
        else:
            assert (areas > 0).sum() > 2
            assert areas[areas > 0].min() >= 9


def test_pictures_of_holes_are_not_inverted_into_particles() -> None:
    import torch

    from particle_nb.models.tuning.crops import vary_intensity

    ramp = torch.linspace(-1, 1, 64).repeat(64, 1)
    falls = {False: 0, True: 0}
    for marked in falls:
        labels = torch.zeros(64, 64)
        labels[:2, :2] = float(marked)
        for seed in range(60):
            rng, torch_rng = np.random.default_rng(seed), torch.Generator().manual_seed(seed)
            varied = vary_intensity(ramp.clone(), labels, rng, torch_rng)
            falls[marked] += bool(varied[:, -16:].mean() < varied[:, :16].mean())
    assert falls[False] == 0
    assert falls[True] > 2
