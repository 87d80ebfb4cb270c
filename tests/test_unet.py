"""UNet++ of one's own: weight maps by hand, touching particles, and the way through a session."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

import particle_nb as pnb  # noqa: E402
from particle_nb.models.tuning.lessons import Lesson  # noqa: E402
from particle_nb.models.unet.network import NestedUnet  # noqa: E402
from particle_nb.models.unet.segmenter import parsed  # noqa: E402
from particle_nb.models.unet.training import Planes, patch_loss  # noqa: E402
from particle_nb.models.unet.weight_maps import (  # noqa: E402
    nearest_two,
    parted_foreground,
    particles_of,
    weight_map,
)
from particle_nb.models.weights import packed  # noqa: E402

TINY = pnb.UnetSettings(steps=70, minutes=999, patch=64, widths=(8, 16), rate=5e-3)


def pair() -> tuple[pnb.Image, np.ndarray]:
    """Two discs that touch and one apart, 96 x 96 px."""
    rows, columns = np.mgrid[:96, :96]
    labels = np.zeros((96, 96), int)
    for number, (x, y) in enumerate([(30, 30), (52, 30), (70, 70)], start=1):
        labels[np.hypot(columns - x, rows - y) <= 11] = number
    noise = np.random.default_rng(0).normal(0, 6, labels.shape)
    return pnb.Image((np.where(labels > 0, 180, 40) + noise).clip(0, 255).astype(np.uint8)), labels


@pytest.fixture(scope="module")
def trained() -> pnb.Unet:
    image, labels = pair()
    return pnb.train_unet([image], [labels], settings=TINY, progress=False)


def test_weights_are_those_of_equation_one() -> None:
    """Two walls 5 px apart: between them d1 + d2 is 6 at every pixel."""
    labels = np.zeros((40, 40), int)
    labels[:, 5:15], labels[:, 20:30] = 1, 2
    grey = np.zeros((40, 40))
    grey[:, 16] = 1.0
    got = weight_map(labels, grey, gamma=2.0)
    between = 1.0 + 10.0 * math.exp(-(6.0**2) / (2 * 49.0))
    np.testing.assert_allclose(got[:, [15, 17, 18, 19]], between, rtol=1e-5)
    np.testing.assert_allclose(got[:, 16], between + 2.0, rtol=1e-5)
    assert (got[:, 5:15] == 1.0).all()  # particles weigh 1
    far = 1.0 + 10.0 * math.exp(-((5.0 + 20.0) ** 2) / (2 * 49.0))
    # the outermost pixel: 5 px from the first wall, 20 from the second
    np.testing.assert_allclose(weight_map(labels)[:, 0], far, rtol=1e-4)


def test_the_two_nearest_particles_are_those_of_a_full_distance_transform() -> None:
    from scipy import ndimage

    rng = np.random.default_rng(1)
    labels = np.zeros((60, 70), int)
    for number in range(1, 8):
        row, column = rng.integers(5, 55), rng.integers(5, 65)
        labels[row - 3 : row + 3, column - 3 : column + 3] = number
    every = np.sort(
        [ndimage.distance_transform_edt(labels != n) for n in np.unique(labels) if n], axis=0
    )
    first, second = nearest_two(labels, 200.0)
    np.testing.assert_allclose(first, every[0])
    np.testing.assert_allclose(second, every[1])


def test_touching_particles_are_parted_and_put_together_again() -> None:
    labels = np.zeros((30, 40), int)
    labels[5:25, 5:20], labels[5:25, 20:35] = 1, 2
    apart = parted_foreground(labels)
    assert not apart[10, 19:21].any()
    back = particles_of(apart)
    assert back.max() == 2
    assert np.array_equal(back > 0, labels > 0)


def test_every_node_of_the_network_is_used_and_it_is_small() -> None:
    network = NestedUnet((8, 16, 24))
    assert len(network.blocks) == 6
    network(torch.zeros(1, 1, 16, 20)).sum().backward()
    assert all(value.grad is not None for value in network.parameters())
    assert network(torch.zeros(2, 1, 16, 20)).shape == (2, 16, 20)
    assert 400_000 < NestedUnet(pnb.UnetSettings().widths).count < 2_000_000


def test_weights_decide_what_the_loss_looks_at() -> None:
    logits = torch.tensor([[[4.0, 4.0]]])
    truth = torch.tensor([[[1.0, 0.0]]])
    even = patch_loss(logits, truth, torch.ones(1, 1, 2))
    heavy = patch_loss(logits, truth, torch.tensor([[[1.0, 11.0]]]))
    wrong, right = math.log1p(math.exp(4.0)), math.log1p(math.exp(-4.0))
    assert float(even) == pytest.approx((wrong + right) / 2)
    assert float(heavy) == pytest.approx((11 * wrong + right) / 12)


def test_patches_vary_and_keep_image_and_truth_together() -> None:
    image, labels = pair()
    lesson = Lesson("a", image, pnb.MaskSet.from_labels(labels))
    planes, rng = Planes.of(lesson, "distance", TINY), np.random.default_rng(0)
    patches = [planes.patch(TINY, rng) for _ in range(4)]
    for patch in patches:
        inside = patch[1] > 0
        if inside.any() and not inside.all():
            assert patch[0][inside].mean() > patch[0][~inside].mean() + 0.5
    assert not torch.equal(patches[0], patches[1])


def test_it_learns_to_part_touching_discs(trained: pnb.Unet) -> None:
    image, labels = pair()
    first, last = trained.log[0][1], trained.log[-1][1]
    assert last < 0.8 * first
    result = pnb.match(trained.generate(image), pnb.MaskSet.from_labels(labels), threshold=0.5)
    assert len(result.pairs) == 3


def test_a_saved_one_answers_alike_through_a_session(trained: pnb.Unet, tmp_path: Path) -> None:
    image, _ = pair()
    path = trained.save(tmp_path / "mine.safetensors")
    session = pnb.Session(segmenter=str(path), device="cpu")
    assert session.segmenter.digest == trained.digest
    assert session.segmenter.settings == TINY
    assert np.array_equal(
        session.propose(image, progress=False).to_labels(), trained.generate(image).to_labels()
    )
    click = session.predict(image, pnb.Prompt(points=((70, 70),)))
    assert click[0].full()[70, 70]
    box = session.predict(image, pnb.Prompt(box=(57, 57, 83, 83)))
    assert box[0].iou(click[0]) > 0.9
    with pytest.raises(pnb.ModelError, match="safetensors"):
        trained.save(tmp_path / "mine.pth")


def test_tiles_of_a_large_image_fit_together(trained: pnb.Unet, monkeypatch) -> None:
    image, _ = pair()
    whole = trained.probability(image)
    monkeypatch.setattr("particle_nb.models.unet.segmenter.TILE", 48)
    monkeypatch.setattr("particle_nb.models.unet.segmenter.MARGIN", 32)
    tiled = trained.probability(image)
    assert tiled.shape == whole.shape
    # normalisation by groups sees each tile apart, so only the verdict must agree
    assert ((tiled > 0.5) == (whole > 0.5)).mean() > 0.97


def test_networks_that_are_too_large_and_files_of_others_are_refused(trained: pnb.Unet) -> None:
    image, labels = pair()
    wide = dataclasses.replace(TINY, widths=(64, 128, 256), patch=64)
    with pytest.raises(pnb.DataError, match="2,000,000"):
        pnb.train_unet([image], [labels], settings=wide, progress=False)
    with pytest.raises(pnb.ModelError, match="safetensors"):
        parsed(trained.data[:100], "the file", torch.device("cpu"))
    with pytest.raises(pnb.ModelError, match="no UNet"):
        parsed(packed({"a": torch.zeros(2)}, {}), "the file", torch.device("cpu"))
