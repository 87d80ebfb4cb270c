"""Training, evaluation and cards live beside the package and can be run from a checkout."""

import importlib
import re
from pathlib import Path
from types import SimpleNamespace

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
