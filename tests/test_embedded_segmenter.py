"""The embedded segmenter: geometry against analytic shapes, the weights against drawn particles."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from PIL import Image as PilImage  # noqa: E402

from particle_nb.core.errors import DataError, ImageError, ModelError, PromptError  # noqa: E402
from particle_nb.core.image import Image  # noqa: E402
from particle_nb.core.masks import (  # noqa: E402
    Mask,
    MaskSet,
    Prompt,
)
from particle_nb.core.matching import score  # noqa: E402
from particle_nb.core.synthetic import Population, SceneSettings, Sizes  # noqa: E402
from particle_nb.core.synthetic import scene as synthetic_scene  # noqa: E402
from particle_nb.models import Segmenter, load_model  # noqa: E402
from particle_nb.models.embedded import automatic, regions, segmenter, views  # noqa: E402
from particle_nb.models.tuning import crops as training_data  # noqa: E402
from particle_nb.models.tuning import losses as training_losses  # noqa: E402
from particle_nb.models.tuning import prompts as training_prompts  # noqa: E402
from training.segmenter import evaluate  # noqa: E402
from training.segmenter import train as train_segmenter  # noqa: E402
from training.segmenter.data import is_validation  # noqa: E402
from training.segmenter.export import export, isotonic  # noqa: E402


def discs(
    shape: tuple[int, int], circles: list[tuple[float, float, float]]
) -> tuple[np.ndarray, np.ndarray]:
    """Grey image and labels of bright discs (x, y, radius), later ones in front."""
    rows, columns = np.mgrid[: shape[0], : shape[1]]
    grey = np.full(shape, 60.0)
    labels = np.zeros(shape, np.int32)
    for number, (x, y, radius) in enumerate(circles, start=1):
        distance = np.hypot(columns - x, rows - y)
        inside = distance <= radius
        # A ball's secant-law rim, as in a secondary-electron image.
        depth = np.sqrt(np.clip(1 - (distance / radius) ** 2, 0.02, 1))
        grey[inside] = (110 + 25 / depth[inside]).clip(max=235)
        labels[inside] = number
    noise = np.random.default_rng(3).normal(0, 5, shape)
    return (grey + noise).clip(0, 255).astype(np.uint8), labels


CIRCLES = [
    (60, 70, 30),
    (150, 60, 25),
    (170, 150, 34),
    (80, 170, 28),
    (210, 215, 20),
    (30, 220, 18),
]


@pytest.fixture(scope="module")
def scene() -> tuple[Image, MaskSet]:
    grey, labels = discs((256, 256), CIRCLES)
    return Image(grey, name="discs"), MaskSet.from_labels(labels)


@pytest.fixture(scope="module")
def model() -> segmenter.EmbeddedSegmenter:
    return segmenter.load(device="cpu")


# ---- geometry: what is sampled where ------------------------------------------------------------


def test_rois_sample_the_pixels_they_name() -> None:
    """A picture of its own coordinates, sampled on an ROI, gives the coordinates of the samples."""
    rows, columns = torch.meshgrid(torch.arange(64.0), torch.arange(96.0), indexing="ij")
    ramp = torch.stack([columns, rows])[None]
    rois = torch.tensor([[[40.0, 30.0, 20.0, 12.0], [50.5, 20.25, 8.0, 30.0]]])
    got = regions.sample_rois(ramp, rois, 12, (64, 96))
    x, y = regions.roi_coordinates(rois, 12)
    np.testing.assert_allclose(got[:, 0, 0], x[0], atol=1e-4)
    np.testing.assert_allclose(got[:, 1, :, 0], y[0], atol=1e-4)
    assert float(x[0, 0, 0]) == pytest.approx(40 - 10 + 20 / 24)


def test_points_and_half_resolution_maps_share_the_same_coordinates() -> None:
    """A stride-2 cell j averages pixels 2j and 2j+1, so its centre lies at 2j + 0.5."""
    ramp = torch.arange(32.0).repeat(32, 1)[None, None]
    half = torch.nn.functional.avg_pool2d(ramp, 2)
    points = torch.tensor([[[10.5, 8.0], [11.3, 20.0]]])
    got = regions.sample_points(half, points, (32, 32))[0, :, 0]
    np.testing.assert_allclose(got, [10.5, 11.3], atol=1e-4)


def test_mask_boxes_of_rectangles_and_of_nothing() -> None:
    inside = torch.zeros(2, 96, 96, dtype=torch.bool)
    inside[0, 24:48, 12:72] = True
    rois = torch.tensor([[50.0, 40.0, 96.0, 48.0], [5.0, 6.0, 10.0, 12.0]])
    boxes = regions.mask_boxes(inside, rois)
    assert boxes[0].tolist() == pytest.approx([2 + 12, 16 + 12, 2 + 72, 16 + 24])
    assert boxes[1].tolist() == pytest.approx([0, 0, 10, 12])  # empty: the whole ROI


def test_resampling_a_mask_on_another_roi_moves_it_by_the_difference() -> None:
    values = torch.zeros(1, 96, 96)
    values[0, 40:56, 40:56] = 1.0
    old = torch.tensor([[48.0, 48.0, 96.0, 96.0]])
    shifted = regions.resample_masks(values, old, torch.tensor([[58.0, 38.0, 96.0, 96.0]]))
    assert regions.mask_boxes(shifted > 0.5, old)[0].tolist() == pytest.approx([30, 50, 46, 66])
    zoomed = regions.resample_masks(values, old, torch.tensor([[48.0, 48.0, 32.0, 32.0]]))
    assert float((zoomed > 0.5).float().mean()) == pytest.approx(0.25, abs=0.03)


def test_a_decoded_disc_becomes_the_same_disc_in_image_pixels() -> None:
    x, y, radius = 71.3, 52.8, 22.0
    roi = torch.tensor([x + 3, y - 2, 3.0 * radius, 2.7 * radius])
    at_x, at_y = regions.roi_coordinates(roi[None, None], regions.MASK)
    distance = torch.hypot(at_x[0, 0][None, :] - x, at_y[0, 0][:, None] - y)
    made = views.pixel_mask(radius - distance, roi, (0, 0, 200, 150))
    assert made is not None
    mask = Mask(made[0], made[1], (150, 200))
    rows, columns = np.mgrid[:150, :200]
    truth = Mask.from_full(np.hypot(columns - x, rows - y) <= radius)
    assert mask.iou(truth) > 0.985


def test_view_coordinates_there_and_back() -> None:
    empty = torch.zeros(1, 1, 32, 32)
    view = views.View(empty, empty, (32, 32), (7.0, 3.0), 0.37)
    points = torch.tensor([[0.0, 0.0], [55.25, 12.5]])
    np.testing.assert_allclose(view.out(view.into(points)), points, atol=1e-4)
    # The left edge of the window is the left edge of the view.
    assert view.into(torch.tensor([6.5, 2.5])).tolist() == pytest.approx([-0.5, -0.5])


def test_training_targets_of_a_disc() -> None:
    """Centreness is 1 in the middle; the four sides add up to the diameter."""
    grey, labels = discs((64, 64), [(31.5, 31.5, 20.0)])
    scene_ = training_data.TrainingScene.of("disc", grey, labels, torch.device("cpu"))
    images = scene_.planes[None, :1]
    batch = training_data.targets(
        images, torch.from_numpy(labels)[None], scene_.planes[2][None], labels[None]
    )
    assert float(batch.centre[0, 31, 31]) == pytest.approx(1.0, abs=0.06)
    assert float(batch.centre[0, 31, 11 + 5]) == pytest.approx(5 / 20, abs=0.06)
    sides = batch.sides[0, :, 15, 15]
    assert float(sides[0] + sides[2]) == pytest.approx(40.0, abs=1.0)
    assert float(batch.radius[0, 0, 15, 15]) == pytest.approx(np.log(20 / 16), abs=0.02)
    assert batch.boxes[0][0].tolist() == pytest.approx([11.5, 11.5, 51.5, 51.5], abs=1.0)
    assert float(batch.foreground.mean()) == pytest.approx(np.pi * 400 / 4096, rel=0.02)


def test_crops_keep_image_and_labels_together() -> None:
    """Any scale, turn and flip: where the label is, the disc's grey is."""
    grey, labels = discs((256, 256), CIRCLES)
    scene_ = training_data.TrainingScene.of("discs", grey, labels, torch.device("cpu"))
    rng = np.random.default_rng(0)
    for _ in range(12):
        planes = training_data.crop(scene_, 128, rng)
        inside = planes[1] > 0
        if 200 < int(inside.sum()) < 128 * 128 - 200:
            bright = planes[0] > 0.35
            agree = (bright & inside).sum() / (bright | inside).sum()
            assert float(agree) > 0.85


def test_intensity_variation_stays_finite_and_bounded() -> None:
    grey, labels = discs((96, 96), [(40, 40, 20), (70, 70, 12)])
    image = torch.from_numpy(training_data.normalise(grey))
    rng, generator = np.random.default_rng(1), torch.Generator().manual_seed(1)
    changed = 0
    for _ in range(40):
        varied = training_data.vary_intensity(image, torch.from_numpy(labels), rng, generator)
        assert torch.isfinite(varied).all()
        assert float(varied.abs().max()) <= 3.0
        changed += not torch.allclose(varied, image, atol=0.05)
    assert changed > 30


def test_the_split_is_fixed_for_ever() -> None:
    """The first 8 hex digits of SHA-1 by sha1sum and bash, modulo 6, of a.png to l.png."""
    names = [f"{letter}.png" for letter in "abcdefghijkl"]
    held_back = [name[0] for name in names if is_validation(name)]
    assert held_back == ["b"]


def test_true_iou_counts_what_lies_outside_the_roi() -> None:
    """Half of a 40x40 square is visible in the ROI and all of that is predicted: IoU 1/2."""
    labels = torch.zeros(1, 96, 96, dtype=torch.long)
    labels[0, 20:60, 20:60] = 1
    rois = torch.tensor([[[30.0 - 0.5, 40.0 - 0.5, 20.0, 60.0]]])
    truth = training_losses.roi_truth(labels, rois, torch.tensor([[1]]), torch.tensor([[1600.0]]))
    logits = torch.where(truth.mask > 0.5, 5.0, -5.0)
    got = training_losses.true_iou(logits, rois[0], truth)
    assert float(got[0]) == pytest.approx(0.5, abs=0.02)


def test_a_correcting_click_lands_in_the_larger_error() -> None:
    rois = torch.tensor([[48.0, 48.0, 96.0, 96.0]])
    mask = torch.zeros(1, 96, 96)
    mask[0, 10:80, 10:80] = 1.0
    truth = training_losses.RoiTruth(mask, torch.tensor([4900.0]), torch.tensor([True]))
    logits = torch.full((1, 96, 96), -4.0)
    logits[0, 10:80, 10:50] = 4.0  # misses x 50..80
    logits[0, 84:90, 84:90] = 4.0  # a small false part
    points = torch.full((1, 4, 3), -1.0)
    points[0, 0] = torch.tensor([20.0, 20.0, 1.0])
    clicked = training_prompts.correct(
        logits, rois, truth, points, torch.Generator().manual_seed(0)
    )
    x, y, label = clicked[0, 1].tolist()
    assert label == 1.0
    assert 50 <= x < 80
    assert 10 <= y < 80


# ---- training and export ------------------------------------------------------------------------


@pytest.fixture(scope="module")
def tiny_run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A data folder of drawn discs and the output of a few training steps on it."""
    folder = tmp_path_factory.mktemp("discs")
    (folder / "images").mkdir()
    (folder / "labels").mkdir()
    rng = np.random.default_rng(0)
    for number in range(9):
        circles = [(*rng.uniform(20, 140, 2), rng.uniform(8, 22)) for _ in range(6)]
        grey, labels = discs((160, 160), circles)
        PilImage.fromarray(grey).save(folder / "images" / f"{number}.png")
        PilImage.fromarray(labels.astype(np.uint16)).save(folder / "labels" / f"{number}.png")
    out = tmp_path_factory.mktemp("run")
    arguments = ["--data", str(folder), "--out", str(out), "--device", "cpu", "--resume"]
    arguments += ["--threads", "1", "--log-every", "1", "--score-minutes", "60"]
    arguments += ["--crops", "2", "--minutes"]
    train_segmenter.main([*arguments, "0.02"])
    train_segmenter.main([*arguments, "0.06"])
    return folder, out


def test_training_resumes_where_it_stopped(tiny_run: tuple[Path, Path]) -> None:
    lines = [json.loads(line) for line in (tiny_run[1] / "log.jsonl").read_text().splitlines()]
    starts = [line["step"] for line in lines if line.get("event") == "start"]
    steps = [line["step"] for line in lines if "mask" in line]
    assert len(starts) == 2
    assert starts[1] > 0
    assert steps == sorted(set(steps))
    assert all(np.isfinite(line["mask"]) for line in lines if "mask" in line)


def test_exported_weights_are_the_averaged_ones_in_half_precision(
    tiny_run: tuple[Path, Path], tmp_path: Path
) -> None:
    out = tmp_path / "weights.safetensors"
    export(tiny_run[1] / "checkpoint.pt", out, ([0.0, 1.0], [0.1, 0.8]), {"least_score": 0.3})
    loaded = segmenter.load(str(out), "cpu")
    state = torch.load(tiny_run[1] / "checkpoint.pt", weights_only=True)["average"]
    for key, value in loaded.network.state_dict().items():
        assert torch.equal(value, state[key].half().float()), key
    assert loaded.calibration == ((0.0, 1.0), (0.1, 0.8))
    assert loaded.settings == automatic.OnePassSettings(least_score=0.3)
    assert out.stat().st_size < 15e6


def test_isotonic_calibration_removes_a_known_distortion() -> None:
    rng = np.random.default_rng(0)
    real = rng.uniform(0, 1, 4000)
    raw = np.clip(real**2 + rng.normal(0, 0.02, 4000), 0, 1)
    knots, values = isotonic(raw.tolist(), real.tolist())
    assert np.abs(np.interp(raw, knots, values) - real).mean() < 0.05
    assert np.abs(raw - real).mean() > 0.15


# ---- the weights of the package -----------------------------------------------------------------


def test_it_is_a_segmenter_of_a_few_megabytes(model: segmenter.EmbeddedSegmenter) -> None:
    assert isinstance(model, Segmenter)
    assert model.name.startswith("pnb-small")
    assert segmenter.WEIGHTS.stat().st_size < 15e6
    assert load_model("embedded", "segmenter", "cpu").digest == model.digest


@pytest.mark.parametrize("number", range(len(CIRCLES)))
def test_a_click_finds_the_disc(
    model: segmenter.EmbeddedSegmenter, scene: tuple[Image, MaskSet], number: int
) -> None:
    image, truth = scene
    x, y, _ = CIRCLES[number]
    answer = model.predict(model.encode(image), Prompt(points=((x, y),)))
    assert 1 <= len(answer) <= 3
    assert answer[0].iou(truth[number]) > 0.85
    scores = answer.predicted_iou
    assert (np.diff(scores) <= 1e-9).all()
    assert ((scores >= 0) & (scores <= 1)).all()
    r0, c0, r1, c1 = answer[0].bbox
    assert answer[0].crop.shape == (r1 - r0, c1 - c0)
    assert answer[0].crop.size < image.pixels.size / 4


def test_a_rough_box_and_a_rough_sketch_find_the_disc(
    model: segmenter.EmbeddedSegmenter, scene: tuple[Image, MaskSet]
) -> None:
    image, truth = scene
    embedding = model.encode(image)
    x, y, radius = CIRCLES[2]
    box = (x - 1.1 * radius, y - 0.95 * radius, x + radius, y + 1.1 * radius)
    assert model.predict(embedding, Prompt(box=box))[0].iou(truth[2]) > 0.88
    rows, columns = np.mgrid[:256, :256]
    drawn = np.hypot((columns - x - 4) / 1.1, rows - y + 3) < 0.8 * radius
    assert model.predict(embedding, Prompt(sketch=drawn))[0].iou(truth[2]) > 0.85


def test_a_negative_click_is_obeyed(
    model: segmenter.EmbeddedSegmenter, scene: tuple[Image, MaskSet]
) -> None:
    image, truth = scene
    prompt = Prompt(points=(CIRCLES[0][:2], CIRCLES[3][:2]), labels=(1, 0))
    answer = model.predict(model.encode(image), prompt)
    assert answer[0].iou(truth[0]) > 0.85
    assert answer[0].intersection(truth[3]) == 0


def test_automatic_mode_finds_every_disc_once(
    model: segmenter.EmbeddedSegmenter, scene: tuple[Image, MaskSet]
) -> None:
    image, truth = scene
    calls: list[tuple[int, int]] = []
    masks = model.generate(image, progress=lambda done, total: calls.append((done, total)))
    assert score(masks, truth).f1 > 0.85
    assert score(masks, truth).aji > 0.75
    assert calls[-1][0] == calls[-1][1]


def test_a_window_answers_in_the_frame_of_the_whole_image(
    model: segmenter.EmbeddedSegmenter, scene: tuple[Image, MaskSet]
) -> None:
    image, truth = scene
    embedding = model.encode(image, (100, 90, 250, 250))
    answer = model.predict(embedding, Prompt(points=(CIRCLES[2][:2],)))
    assert answer.shape == image.shape
    assert answer[0].iou(truth[2]) > 0.85
    assert embedding.window == (100, 90, 250, 250)
    assert json.loads(json.dumps(dict(embedding.meta)))["scales"][0] > 0


def test_the_same_prompt_gives_the_same_mask(
    model: segmenter.EmbeddedSegmenter, scene: tuple[Image, MaskSet]
) -> None:
    prompt = Prompt(points=((60, 70), (150, 60)), labels=(1, 0))
    first = model.predict(model.encode(scene[0]), prompt)
    second = model.predict(model.encode(scene[0]), prompt)
    assert first.digest == second.digest


@pytest.mark.parametrize(
    "pixels",
    [
        np.zeros((1, 1), np.uint8),
        np.full((40, 300), 7, np.uint16),
        np.random.default_rng(0).normal(size=(33, 65, 3)),
        np.where(np.eye(50) > 0, np.nan, 1e30),
    ],
    ids=["one pixel", "constant strip", "three channels", "nan and huge"],
)
def test_odd_images_neither_fail_nor_give_masks_outside(
    model: segmenter.EmbeddedSegmenter, pixels: np.ndarray
) -> None:
    image = Image(pixels)
    answer = model.predict(model.encode(image), Prompt(points=((0, 0),)))
    assert answer.shape == image.shape
    assert model.generate(image).shape == image.shape


def test_bad_requests_raise_named_errors(
    model: segmenter.EmbeddedSegmenter, scene: tuple[Image, MaskSet], tmp_path: Path
) -> None:
    image, _ = scene
    embedding = model.encode(image)
    with pytest.raises(PromptError, match="negative"):
        model.predict(embedding, Prompt(points=((5, 5),), labels=(0,)))
    with pytest.raises(PromptError, match="outside"):
        model.predict(embedding, Prompt(points=((5000, 5),)))
    with pytest.raises(ImageError, match="window"):
        model.encode(image, (0, 0, 500, 500))
    with pytest.raises(ModelError, match="train"):
        segmenter.load(str(tmp_path / "nothing.safetensors"), "cpu")
    broken = tmp_path / "broken.safetensors"
    broken.write_bytes(b"no tensors")
    with pytest.raises(ModelError, match="safetensors"):
        segmenter.load(str(broken), "cpu")
    with pytest.raises(ModelError, match="device"):
        segmenter.load("", "abacus")
    with pytest.raises(DataError):
        automatic.OnePassSettings(least_score=2.0)
    foreign = type(embedding)("other", "0", image.digest, image.shape, embedding.window)
    with pytest.raises(ModelError, match="other"):
        model.predict(foreign, Prompt(points=((5, 5),)))


def test_the_corrections_of_the_evaluation_hit_the_error() -> None:
    """A square without its right half wants a positive click there; a doubled one a negative."""
    full = np.zeros((60, 60), bool)
    full[10:50, 10:50] = True
    half = full.copy()
    half[:, 30:] = False
    truth, part = Mask.from_full(full), Mask.from_full(half)
    (x, y), label = evaluate.correction(part, truth) or ((0.0, 0.0), -1)
    assert label == 1
    assert 30 <= x < 50
    assert 10 <= y < 50
    (x, y), label = evaluate.correction(truth, part) or ((0.0, 0.0), -1)
    assert label == 0
    assert 30 <= x < 50
    assert evaluate.false_click(part, truth) is None


def test_radius_errors_are_signed_and_need_a_match() -> None:
    """Squares of 40 and 44 px: radii 40 / sqrt(pi) and 44 / sqrt(pi)."""
    full = np.zeros((80, 80), bool)
    full[10:50, 10:50] = True
    wide = np.zeros((80, 80), bool)
    wide[8:52, 8:52] = True
    truth, grown = Mask.from_full(full), Mask.from_full(wide)
    assert evaluate.radius_error(grown, truth) == pytest.approx(4 / np.sqrt(np.pi))
    assert evaluate.radius_error(truth, grown) == pytest.approx(-4 / np.sqrt(np.pi))
    corner = np.zeros((80, 80), bool)
    corner[:30, :30] = True
    assert np.isnan(evaluate.radius_error(Mask.from_full(corner), truth))
    rows = evaluate.matched_errors(MaskSet((grown,), (80, 80)), MaskSet((truth,), (80, 80)))
    assert rows == [["40-100 px", 2.257, 10.0]]
    assert evaluate.size_bias(rows)["all"] == {"count": 1, "px": 2.257, "percent": 10.0}


def test_rods_stay_whole_in_the_automatic_mode(model: segmenter.EmbeddedSegmenter) -> None:
    """Rendered rods, three to eight times as long as wide, against the truth of the renderer."""
    rods = Population("rod", sizes=Sizes("lognormal", 300.0, 1.2), aspect=(0.12, 0.3), rounding=0.3)
    settings = SceneSettings(shape=(256, 256), populations=(rods,), count=14, inside=True)
    made = synthetic_scene(settings, 0)
    assert len(made.masks) > 8
    result = score(model.generate(made.image), made.masks)
    assert result.f1 > 0.85
    assert result.aji > 0.8
