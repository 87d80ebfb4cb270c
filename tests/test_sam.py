"""SAM without torchvision: encoding, prompts, the fast decoder and the automatic mode.

Truth: transformers' own modules (`SamModel.forward`, `SamImageProcessorPil`), torch's
`interpolate`, and plain definitions. The comparison with the original package is in tests/parity.
"""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from sam_weights import random_sam, save
from transformers.models.sam.image_processing_pil_sam import SamImageProcessorPil

from particle_nb.core.errors import DataError, ImageError, ModelError, PromptError
from particle_nb.core.image import Image
from particle_nb.core.masks import Prompt
from particle_nb.core.shape import measure
from particle_nb.models.pixels import to_rgb
from particle_nb.models.sam import load
from particle_nb.models.sam.automatic import AutomaticSettings, crop_windows, point_grid
from particle_nb.models.sam.crops import Frame, non_maximum_suppression
from particle_nb.models.sam.prompts import Preprocessing, sketch_logits

SIDE = 256  # of the encoder's input: a small SAM with SAM's own decoder


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    model = random_sam(seed=0, hidden=64, layers=2, side=SIDE, mlp=64)
    return model, *save(model, tmp_path_factory.mktemp("sam"))


@pytest.fixture(scope="module")
def sam(weights):
    settings = AutomaticSettings(points_per_side=8, stability_score_thresh=0.8, pred_iou_thresh=0.8)
    return load(str(weights[1]), "cpu", settings)


@pytest.fixture(scope="module")
def image():
    rng = np.random.default_rng(3)
    rows, cols = np.mgrid[:180, :240]
    grey = np.full((180, 240), 60.0)
    for _ in range(25):
        row, col, radius = rng.uniform(0, 180), rng.uniform(0, 240), rng.uniform(5, 16)
        grey[(rows - row) ** 2 + (cols - col) ** 2 < radius**2] = rng.uniform(120, 220)
    return Image(np.clip(grey + rng.normal(0, 8, grey.shape), 0, 255).astype(np.uint8))


# ---------------------------------------------------------------- pixels


@pytest.mark.parametrize("shape", [(180, 240), (300, 200), (256, 256), (37, 501)])
def test_preprocessing_is_that_of_transformers(shape):
    rgb = np.random.default_rng(0).integers(0, 256, (*shape, 3), np.uint8)
    expected = SamImageProcessorPil()(images=rgb, return_tensors="pt")
    ours, size = Preprocessing(1024)(rgb)
    assert tuple(expected["reshaped_input_sizes"][0].tolist()) == size
    np.testing.assert_array_equal(ours.numpy(), expected["pixel_values"].numpy())
    # the package subtracts 255*mean and divides by 255*std: the same but for rounding
    other, _ = Preprocessing(1024, original=True)(rgb)
    assert (ours - other).abs().max() < 2e-6


def test_which_pixels_are_stretched():
    grey = np.arange(40, 60, dtype=np.uint8).reshape(4, 5)
    rgb = np.stack([grey, grey + 1, grey + 2], axis=-1)
    np.testing.assert_array_equal(to_rgb(Image(grey)), np.repeat(grey[..., None], 3, axis=2))
    np.testing.assert_array_equal(to_rgb(Image(rgb)), rgb)
    np.testing.assert_array_equal(to_rgb(Image(np.dstack([rgb, grey]))), rgb)
    for pixels in (grey.astype(np.uint16) * 100, grey / 7.0, np.dstack([grey, grey])):
        stretched = to_rgb(Image(pixels))
        assert stretched.dtype == np.uint8
        assert stretched.shape == (4, 5, 3)
        assert (stretched.min(), stretched.max()) == (0, 255)


# ---------------------------------------------------------------- decoder


def reference(sam, embedding, **prompt):
    """transformers' own forward on an embedding."""
    grid = sam.decoder.grid
    image = embedding.arrays["image"].t().reshape(1, -1, grid, grid)
    with torch.inference_mode():
        out = sam.model(image_embeddings=image, **prompt)
    return out.pred_masks[0].numpy(), out.iou_scores[0].numpy()


def test_decoder_equals_transformers(sam, image):
    embedding = sam.encode(image)
    decoder, space = sam.decoder, sam.workspace()
    rng = np.random.default_rng(1)
    points = torch.from_numpy(rng.uniform(0, SIDE, (9, 2, 2)))
    labels = torch.from_numpy(rng.integers(0, 2, (9, 2)))
    boxes = torch.from_numpy(np.sort(rng.uniform(0, SIDE, (9, 2, 2)), axis=1).reshape(9, 4))
    for p, q, b in [(points, labels, None), (None, None, boxes), (points, labels, boxes)]:
        masks, scores = reference(
            sam,
            embedding,
            input_points=None if p is None else p[None],
            input_labels=None if q is None else q[None],
            input_boxes=None if b is None else b[None],
        )
        positive = (masks > 0).mean(axis=(2, 3))
        assert np.count_nonzero((positive > 0.001) & (positive < 0.999)) > masks.shape[0]
        for chunk in (1, 4):
            with torch.inference_mode():
                iou, tokens, keys = decoder.tokens(
                    sam.shared(embedding), decoder.sparse(p, q, b), space, chunk
                )
                ours = decoder.masks(tokens, keys, space, chunk).numpy()
            np.testing.assert_allclose(iou[:, 1:].numpy(), scores, rtol=0, atol=1e-5)
            assert np.abs(ours - masks).max() < 1e-5 * np.abs(masks).max()
            np.testing.assert_array_equal(ours > 0, masks > 0)


def test_mask_prompts_equal_transformers(sam, image):
    embedding = sam.encode(image)
    drawn = np.zeros(image.shape, bool)
    drawn[60:110, 80:150] = True
    logits = torch.from_numpy(sketch_logits(drawn, sam.frame(embedding)))
    points = torch.tensor([[[115.0, 85.0]]], dtype=torch.float64)
    labels = torch.ones(1, 1, dtype=torch.int64)
    expected, _ = reference(
        sam, embedding, input_points=points[None], input_labels=labels[None],
        input_masks=logits[None, None],
    )  # fmt: skip
    decoder, space = sam.decoder, sam.workspace()
    with torch.inference_mode():
        shared = decoder.share(embedding.arrays["image"], decoder.dense(logits))
        _, tokens, keys = decoder.tokens(shared, decoder.sparse(points, labels, None), space)
        ours = decoder.masks(tokens, keys, space).numpy()
        plain = decoder.tokens(sam.shared(embedding), decoder.sparse(points, labels, None), space)
        without = decoder.masks(plain[1], plain[2], space).numpy()
    assert np.abs(ours - expected).max() < 1e-5 * np.abs(expected).max()
    assert np.abs(ours - without).max() > 1e-3 * np.abs(expected).max()


def test_sdpa_encoder_equals_eager(weights, sam, image):
    from transformers import SamModel

    eager = SamModel.from_pretrained(weights[1], attn_implementation="eager").eval()
    pixels, _ = sam.preprocessing(to_rgb(image))
    with torch.inference_mode():
        expected = eager.get_image_embeddings(pixels)[0].flatten(1).t()
    ours = sam.encode(image).arrays["image"]
    assert expected.std() > 0.05, "a dead encoder would make this test empty"
    assert (ours - expected).abs().max() < 1e-5 * expected.abs().max() * 10


# ---------------------------------------------------------------- crops of masks


@pytest.mark.parametrize(
    ("size", "resized"),
    [((1024, 1024), (1024, 1024)), ((600, 800), (768, 1024)), ((1536, 900), (1024, 600)),
     ((200, 133), (1024, 681))],
)  # fmt: skip
def test_crops_are_torch_interpolate_bit_for_bit(size, resized):
    generator = torch.Generator().manual_seed(4)
    interpolate = torch.nn.functional.interpolate
    rough = interpolate(torch.randn(1, 6, 12, 12, generator=generator), (256, 256), mode="bicubic")
    low = rough * 8 - torch.arange(6).view(1, 6, 1, 1) * 3
    full = interpolate(low, (1024, 1024), mode="bilinear", align_corners=False)
    full = full[..., : resized[0], : resized[1]]
    full = interpolate(full, size, mode="bilinear", align_corners=False)[0].numpy()
    frame = Frame(256, 1024, resized, size)
    for index in range(6):
        crop = frame.crop(low[0, index].numpy(), 1.0)
        ours = np.zeros(size, bool)
        h, w = crop.pixels.shape
        ours[crop.row : crop.row + h, crop.col : crop.col + w] = crop.pixels
        np.testing.assert_array_equal(ours, full[index] > 0)
        inner, outer = (full[index] > 1).sum(), (full[index] > -1).sum()
        assert crop.stability == float(np.float32(inner) / np.float32(outer))
        if torch.backends.cpu.get_cpu_capability() in ("AVX2", "AVX512"):
            row, col, logits = frame.logits(low[0, index].numpy(), -1.0)
            part = full[index][row : row + logits.shape[0], col : col + logits.shape[1]]
            np.testing.assert_array_equal(logits, part)


def test_a_mask_of_nothing():
    frame = Frame(64, 256, (256, 256), (256, 256))
    crop = frame.crop(np.full((64, 64), -5, np.float32), 1.0)
    assert crop.pixels.size == 0
    assert crop.box == (0, 0, 0, 0)
    assert np.isnan(crop.stability)


def slow_suppression(boxes, scores, threshold):
    """By the definition, one pair at a time."""
    order = sorted(range(len(boxes)), key=lambda i: -scores[i])
    kept = []
    for i in order:
        for j in kept:
            w = max(0, min(boxes[i][2], boxes[j][2]) - max(boxes[i][0], boxes[j][0]))
            h = max(0, min(boxes[i][3], boxes[j][3]) - max(boxes[i][1], boxes[j][1]))
            areas = [(b[2] - b[0]) * (b[3] - b[1]) for b in (boxes[i], boxes[j])]
            if w * h > threshold * (sum(areas) - w * h):
                break
        else:
            kept.append(i)
    return kept


def test_suppression_is_greedy_and_stable():
    rng = np.random.default_rng(0)
    corner = rng.integers(0, 60, (200, 2))
    boxes = np.concatenate([corner, corner + rng.integers(5, 40, (200, 2))], axis=1)
    scores = rng.integers(0, 20, 200) / 32  # many ties, exact in float32
    kept = non_maximum_suppression(boxes, scores, 0.5)
    assert kept.tolist() == slow_suppression(boxes.tolist(), scores.tolist(), 0.5)
    assert 5 < len(kept) < 200
    assert non_maximum_suppression(np.empty((0, 4)), np.empty(0), 0.5).size == 0


# ---------------------------------------------------------------- prompts


def test_predict_gives_three_candidates_best_first(sam, image):
    embedding = sam.encode(image)
    found = sam.predict(embedding, Prompt(points=((120, 90),)))
    assert 1 <= len(found) <= 3
    assert (np.diff(found.predicted_iou) <= 0).all()
    assert np.isfinite(found.stability_score).all()
    assert found.shape == image.shape
    assert any(0.001 < mask.area / image.pixels.size < 0.6 for mask in found)
    again = sam.predict(embedding, Prompt(points=((120, 90),)))
    assert [m.digest for m in again] == [m.digest for m in found]


def test_an_embedding_survives_numpy(sam, image):
    """A cache may keep embeddings as plain arrays."""
    from dataclasses import replace

    embedding = sam.encode(image)
    stored = replace(
        embedding,
        arrays={k: v.numpy().copy() for k, v in embedding.arrays.items()},
        meta=json.loads(json.dumps(dict(embedding.meta))),
    )
    prompt = Prompt(points=((120, 90),), box=(100, 70, 140, 110))
    first, second = sam.predict(embedding, prompt), sam.predict(stored, prompt)
    assert [m.digest for m in first] == [m.digest for m in second]
    assert embedding.nbytes == stored.nbytes > 0


def test_a_window_is_the_cropped_image(sam, image):
    window = (40, 30, 200, 150)
    cropped = Image(image.pixels[30:150, 40:200])
    inside = sam.predict(sam.encode(image, window), Prompt(points=((120, 90),)))
    alone = sam.predict(sam.encode(cropped), Prompt(points=((80, 60),)))
    assert len(inside) == len(alone) > 0
    for a, b in zip(inside, alone, strict=True):
        assert a.origin == (b.origin[0] + 30, b.origin[1] + 40)
        np.testing.assert_array_equal(a.crop, b.crop)


def test_a_sketch_brings_its_box_and_point(sam, image):
    embedding = sam.encode(image)
    drawn = np.zeros(image.shape, bool)
    drawn[70:111, 100:141] = True
    alone = sam.predict(embedding, Prompt(sketch=drawn))
    spelled = sam.predict(
        embedding, Prompt(points=((120, 90),), box=(100, 70, 140, 110), sketch=drawn)
    )
    assert [m.digest for m in alone] == [m.digest for m in spelled]
    assert len(alone) > 0


def test_prompts_outside_the_window(sam, image):
    embedding = sam.encode(image, (0, 0, 100, 100))
    far = np.zeros(image.shape, bool)
    far[150:160, 200:210] = True
    for prompt in (
        Prompt(points=((150, 50),)),
        Prompt(box=(150, 120, 170, 150)),
        Prompt(sketch=far),
    ):
        with pytest.raises(PromptError, match="outside"):
            sam.predict(embedding, prompt)


def test_windows_that_do_not_fit(sam, image):
    for window in [(0, 0, 500, 10), (5, 5, 5, 9), (-1, 0, 5, 5), "abcd", (1, 2, 3)]:
        with pytest.raises(ImageError, match="window"):
            sam.encode(image, window)
    with pytest.raises(ImageError, match="too thin"):
        sam.encode(Image(np.zeros((1, 5000), np.uint8)))


def test_an_embedding_of_other_weights(sam, image):
    from dataclasses import replace

    embedding = replace(sam.encode(image), weights="0" * 16)
    with pytest.raises(ModelError, match="encode the image with this model"):
        sam.predict(embedding, Prompt(points=((5, 5),)))


def test_masks_know_the_grid_of_their_logits(sam, image):
    """64 logits over the long side of the encoded window: 240 px of the image, 160 of the window.

    Truth: METROLOGY's rule, a particle below ten logits across is limited by them.
    """
    prompt = Prompt(points=((120, 90),))
    assert {m.grid_px for m in sam.predict(sam.encode(image), prompt)} == {240 / 64}
    window = sam.encode(image, (40, 30, 200, 150))
    assert {m.grid_px for m in sam.predict(window, prompt)} == {160 / 64}
    small = Image(image.pixels[:30, :40])
    assert {m.grid_px for m in sam.predict(sam.encode(small), Prompt(points=((20, 9),)))} == {1.0}
    proposals = sam.generate(image)
    assert {m.grid_px for m in proposals} == {240 / 64}
    table = measure(proposals)
    coarse = table["flag"].str.contains("too_small")
    np.testing.assert_array_equal(coarse, table["x_A_px"] < 10 * 240 / 64)
    assert 0 < coarse.sum() < len(table)


# ---------------------------------------------------------------- automatic mode


def plain_automatic(sam, image):
    """The automatic mode by its definition, on whole frames and transformers' modules."""
    s, height, width = sam.settings, *image.shape
    embedding = sam.encode(image)
    h, w = embedding.meta["resized"]
    places = point_grid(s.points_per_side) * [w, h]
    masks, scores = reference(
        sam,
        embedding,
        input_points=torch.from_numpy(places)[None, :, None],
        input_labels=torch.ones(1, len(places), 1, dtype=torch.int64),
    )
    scale = torch.nn.functional.interpolate
    full = scale(torch.from_numpy(masks), (SIDE, SIDE), mode="bilinear")[..., :h, :w]
    full = scale(full, image.shape, mode="bilinear").numpy().reshape(-1, height, width)
    scores = scores.ravel()
    stability = (full > 1).sum((1, 2)) / np.maximum((full > -1).sum((1, 2)), 1)
    good = np.flatnonzero((scores > s.pred_iou_thresh) & (stability >= s.stability_score_thresh))
    full, scores = full[good] > 0, scores[good]
    boxes = []
    for mask in full:
        rows, cols = np.nonzero(mask)
        boxes.append([cols.min(), rows.min(), cols.max(), rows.max()])
    kept = slow_suppression(boxes, scores.tolist(), s.box_nms_thresh)
    return full[kept], scores[kept], len(scores)


def test_automatic_mode_is_its_definition(sam, image):
    steps = []
    ours = sam.generate(image, progress=lambda done, total: steps.append((done, total)))
    masks, scores, before = plain_automatic(sam, image)
    assert before > len(masks) >= 5, "suppression must have something to do"
    assert len(ours) == len(masks)
    for mask, expected in zip(ours, masks, strict=True):
        np.testing.assert_array_equal(mask.full(), expected)
    np.testing.assert_allclose(ours.predicted_iou, scores, rtol=0, atol=1e-5)
    assert steps[-1] == (64, 64)
    assert [a for a, _ in steps] == sorted({a for a, _ in steps})


def test_automatic_mode_takes_embeddings_from_the_cache(sam, image):
    embedding, asked = sam.encode(image), []

    def encode(picture, window):
        asked.append(window)
        return embedding

    served = sam.generate(image, encode)
    assert asked == [None]
    assert served.digest == sam.generate(image).digest


def test_batches_do_not_change_the_result(weights, image):
    digests = set()
    for batch in (1, 5, 64):
        settings = AutomaticSettings(
            points_per_side=5, stability_score_thresh=0.8, points_per_batch=batch
        )
        digests.add(load(str(weights[1]), "cpu", settings).generate(image).digest)
    assert len(digests) == 1


def test_crops_look_at_windows_at_full_resolution(weights, image):
    settings = AutomaticSettings(
        points_per_side=4, crop_n_layers=1, stability_score_thresh=0.8, pred_iou_thresh=0.8
    )
    model, asked = load(str(weights[1]), "cpu", settings), []

    def encode(picture, window):
        asked.append(window)
        return model.encode(picture, window)

    found = model.generate(image, encode)
    assert asked == [None, *crop_windows(image.shape, settings)[0][1:]]
    assert len(asked) == 5
    assert len(found) > 0
    for mask in found:  # nothing is cut off by an inner border
        assert mask.shape == image.shape


def test_windows_cover_the_image():
    settings = AutomaticSettings(crop_n_layers=2)
    windows, layers = crop_windows((301, 487), settings)
    assert [layers.count(n) for n in (0, 1, 2)] == [1, 4, 16]
    for layer in (1, 2):
        seen = np.zeros((301, 487), int)
        for (x0, y0, x1, y1), n in zip(windows, layers, strict=True):
            if n == layer:
                seen[y0:y1, x0:x1] += 1
        assert seen.min() >= 1
        assert seen.max() > 1


def test_small_regions_are_tidied(weights, image):
    from scipy import ndimage

    settings = AutomaticSettings(
        points_per_side=6, min_mask_region_area=40, stability_score_thresh=0.6
    )
    found = load(str(weights[1]), "cpu", settings).generate(image)
    eight = np.ones((3, 3))
    assert len(found) > 0
    for mask in found:
        for part in (mask.full(), ~mask.full()):
            labels, count = ndimage.label(part, eight)
            sizes = np.bincount(labels.ravel())[1:]
            assert count == 1 or (sizes >= 40).all()


@pytest.mark.parametrize(
    "wrong",
    [
        {"points_per_side": 0}, {"points_per_side": 2.5}, {"points_per_side": True},
        {"pred_iou_thresh": float("nan")}, {"pred_iou_thresh": "0.9"},
        {"stability_score_thresh": 1.5}, {"box_nms_thresh": -0.1}, {"crop_n_layers": 9},
        {"min_mask_region_area": -1}, {"crop_merge": "mixed"},
        {"points_per_side": 4, "crop_n_layers": 3, "crop_n_points_downscale_factor": 4},
        {"stability_score_offset": float("inf")}, {"crop_overlap_ratio": 2},
    ],
)  # fmt: skip
def test_settings_out_of_range(wrong):
    with pytest.raises(DataError):
        AutomaticSettings(**wrong)
