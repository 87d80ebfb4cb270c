"""What a click tries: regions, distinct candidates, and the undivided stretch under it."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from particle_nb.core.image import Calibration, Image  # noqa: E402
from particle_nb.core.masks import (  # noqa: E402
    Mask,
    MaskSet,
    Prompt,
)
from particle_nb.core.shape import measure  # noqa: E402
from particle_nb.core.synthetic import preset  # noqa: E402
from particle_nb.core.synthetic import scene as synthetic_scene  # noqa: E402
from particle_nb.models.embedded import inference, segmenter, views  # noqa: E402
from particle_nb.models.embedded.regions import FEATURES, MASK  # noqa: E402
from training.segmenter.evaluate import middle  # noqa: E402


def drawn_view(
    bar: tuple[slice, slice],
    wall: tuple[slice, slice] | None = None,
    origin: tuple[float, float] = (0.0, 0.0),
    scale: float = 1.0,
    radius: float = 16.0,
) -> views.View:
    """A view of 128 x 96 px whose dense maps see one bar (cells) and a boundary across it."""
    maps = torch.zeros(1, 32, 48, 64)
    maps[:, FEATURES] = -6.0
    maps[0, FEATURES][bar] = 6.0
    maps[:, FEATURES + 1] = -6.0
    if wall is not None:
        maps[0, FEATURES + 1][wall] = 6.0
    maps[:, FEATURES + 3] = float(np.log(radius / 16.0))
    return views.View(torch.zeros(1, 1, 96, 128), maps, (96, 128), origin, scale)


def block(roi: tuple[float, ...], box: tuple[float, ...]) -> views.Decoded:
    """A decoded mask that is a box (x0, y0, x1, y1) on an ROI."""
    cx, cy, w, h = roi
    x = cx - w / 2 + (torch.arange(MASK) + 0.5) / MASK * w
    y = cy - h / 2 + (torch.arange(MASK) + 0.5) / MASK * h
    inside = ((y > box[1]) & (y < box[3]))[:, None] & ((x > box[0]) & (x < box[2]))[None]
    return views.Decoded(
        torch.where(inside, 8.0, -8.0)[None], torch.tensor([roi]), torch.tensor([0.9])
    )


BAR = (slice(20, 26), slice(10, 50))  # cells: x 20 to 100, y 40 to 52 in view pixels


@pytest.mark.parametrize(("origin", "scale"), [((0.0, 0.0), 1.0), ((30.0, 8.0), 0.5)])
def test_a_stretch_is_boxed_from_end_to_end(origin: tuple[float, float], scale: float) -> None:
    view = drawn_view(BAR, None, origin, scale)
    spot = view.out(torch.tensor([60.0, 46.0]))
    box = views.stretch_box(view, spot, 0.45)
    assert box is not None
    expected = [20 / scale - 0.5 + origin[0], 40 / scale - 0.5 + origin[1]]
    expected += [100 / scale - 0.5 + origin[0], 52 / scale - 0.5 + origin[1]]
    assert box.tolist() == pytest.approx(expected)
    assert views.stretch_box(view, view.out(torch.tensor([60.0, 80.0])), 0.45) is None


def test_a_boundary_ends_a_stretch() -> None:
    view = drawn_view(BAR, (slice(15, 31), slice(30, 32)))
    box = views.stretch_box(view, torch.tensor([40.0, 46.0]), 0.45)
    assert box is not None
    # As far as the boundary, which counts as rim on this side.
    assert box[0] == pytest.approx(19.5)
    assert 59 <= float(box[2]) <= 64


def test_the_seam_of_a_piece_is_what_the_network_sees_there() -> None:
    roi = (60.0, 46.0, 112.0, 28.0)
    whole, piece = block(roi, (20, 40, 100, 52)), block(roi, (20, 40, 61, 52))
    open_ = views.seam([drawn_view(BAR)], whole, piece)
    walled = views.seam([drawn_view(BAR, (slice(15, 31), slice(29, 32)))], whole, piece)
    assert open_ < 0.05
    assert walled > 0.9
    assert views.seam([drawn_view(BAR)], whole, whole) == 0.0


def test_only_distinct_masks_are_refined() -> None:
    one = block((50.0, 46.0, 90.0, 60.0), (30, 30, 70, 60))
    again = block((52.0, 44.0, 80.0, 70.0), (30, 30, 70.5, 60))
    part = block((50.0, 46.0, 90.0, 60.0), (30, 30, 70, 45))
    joined = views.Decoded.join([one, again, part])
    assert inference.distinct(joined, torch.tensor([1, 0, 2])).tolist() == [1, 2]


def test_sides_far_above_the_expected_size_are_not_tried() -> None:
    click = torch.tensor([[60.0, 46.0, 1.0]])
    views_ = [drawn_view(BAR, radius=8.0)]
    assert inference.bank(views_, click)[:, 2].tolist() == [30.0, 87.0]
    # Two clicks far apart: nothing smaller than what holds both.
    both = torch.tensor([[10.0, 46.0, 1.0], [110.0, 46.0, 1.0]])
    assert inference.bank(views_, both)[:, 2].min() >= 130.0


def test_a_box_around_two_offers_one_of_them_as_well() -> None:
    """Two touching discs in one box: the box's own answer first, a disc among the others."""
    rows, columns = np.mgrid[:256, :256]
    one, two = (np.hypot(columns - x, rows - 128) <= 30 for x in (98, 158))
    grey = np.where(one | two, 170, 60) + np.random.default_rng(0).normal(0, 4, one.shape)
    image = Image(grey.clip(0, 255).astype(np.uint8))
    model = segmenter.load(device="cpu")
    prompt = Prompt(points=((98, 128),), labels=(1,), box=(68, 98, 188, 158))
    answer = model.predict(model.encode(image), prompt)
    assert len(answer) >= 2
    both, first = Mask.from_full(one | two), Mask.from_full(one)
    assert max(mask.iou(first) for mask in answer) > 0.8
    assert answer[0].iou(both) > 0.8


def test_a_click_takes_whole_rods() -> None:
    """Rendered rods of seeds that nothing was chosen on; 0.57 before clicks followed stretches."""
    model = segmenter.load(device="cpu")
    ious = []
    for seed in (300, 301):
        truth = synthetic_scene(preset("rods"), seed)
        embedding = model.encode(truth.image)
        masks = [mask for mask in truth.masks if mask.area >= 100][:10]
        for mask in masks:
            x, y = middle(mask.crop)
            spot = (x + mask.origin[1], y + mask.origin[0])
            ious.append(model.predict(embedding, Prompt(points=(spot,)))[0].iou(mask))
    assert np.mean(ious) > 0.8


def test_masks_from_a_shrunk_image_say_how_coarse_they_are() -> None:
    """A disc of 26 px in an image shrunk 3.5 times is 8 cells across, and flagged."""
    rows, columns = np.mgrid[-300:301, -300:301]
    pixels = np.full((4400, 4400), 60, np.uint8)
    for x, y, radius in ((700, 800, 13), (2000, 1500, 300)):
        inside = np.hypot(columns, rows) <= radius
        pixels[y - 300 : y + 301, x - 300 : x + 301][inside] = 180
    model = segmenter.load(device="cpu")
    image = Image(pixels, Calibration(2.0, "nm"))
    embedding = model.encode(image)
    scale = embedding.meta["scales"][0]
    small = model.predict(embedding, Prompt(points=((700, 800),)))[0]
    large = model.predict(embedding, Prompt(points=((2000, 1500),)))[0]
    assert small.grid_px == pytest.approx(1 / scale, rel=1e-3)
    assert large.grid_px >= small.grid_px
    assert small.area < 1000
    flags = measure(MaskSet((small, large), image.shape), image.calibration)["flag"]
    assert "too_small" in flags[0]
    assert "too_small" not in flags[1]
    near = model.encode(image, (600, 700, 800, 900))
    assert model.predict(near, Prompt(points=((700, 800),)))[0].grid_px == 1.0
