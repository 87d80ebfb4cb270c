"""Same weights, same pixels, same masks: against the original package and transformers' pipeline.

Truth: segment_anything 1.0 and transformers' `mask-generation` pipeline themselves. The encoder
is a small ViT at the real input size of 1024 and the decoder is SAM's own; PARITY_VIT_B=1 takes
the real ViT-B architecture instead (an hour on two cores).
"""

from __future__ import annotations

import copy
import os

import numpy as np
import pytest
import skimage.data
import skimage.transform
import torch
from sam_weights import random_sam, save
from segment_anything import SamAutomaticMaskGenerator, SamPredictor
from transformers import MaskGenerationPipeline, SamModel
from transformers.models.sam.image_processing_pil_sam import SamImageProcessorPil

from particle_nb.core.image import Image
from particle_nb.core.masks import Mask, Prompt
from particle_nb.models.sam import load, load_original
from particle_nb.models.sam.automatic import AutomaticSettings, point_grid
from particle_nb.models.sam.prompts import sketch_logits

SIDE = 6
SIDE_OF_INPUT = 1024
STABLE = 0.95


@pytest.fixture(scope="session")
def paths(tmp_path_factory):
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "2")))
    size = {"hidden": 768, "layers": 12} if os.environ.get("PARITY_VIT_B") == "1" else {}
    return save(random_sam(seed=0, **size), tmp_path_factory.mktemp("weights"))


@pytest.fixture(scope="session")
def image():
    """Coins: 303 x 384 px, so that both steps of the upsampling are at work."""
    return Image(np.repeat(skimage.data.coins()[..., None], 3, axis=2), name="coins")


@pytest.fixture(scope="session")
def square():
    """The same at 1024 x 1024, where no peer resizes."""
    grey = skimage.transform.resize(skimage.data.coins(), (1024, 1024), preserve_range=True)
    return Image(np.repeat(grey.astype(np.uint8)[..., None], 3, axis=2), name="square")


@pytest.fixture(scope="session")
def package(paths):
    return load_original(str(paths[1]), "cpu")


def counts(mask: Mask) -> list[int]:
    """Uncompressed COCO run lengths, down the columns, background first."""
    flat = mask.full().T.ravel()
    ends = np.flatnonzero(np.diff(flat)) + 1
    runs = np.diff(np.concatenate([[0], ends, [flat.size]])).tolist()
    return [0, *runs] if flat[0] else runs


def box(mask: Mask) -> tuple[int, int, int, int]:
    """(x, y, width, height) as the original package writes it: last minus first pixel."""
    r0, c0, r1, c1 = mask.bbox
    return c0, r0, c1 - 1 - c0, r1 - 1 - r0


def assert_informative(masks) -> None:
    """Equality of nothing, or of full frames, would prove nothing."""
    share = masks.areas / np.prod(masks.shape)
    assert len(masks) >= 5
    assert (share > 0).all()
    assert np.count_nonzero(share < 0.5) >= 5


def assert_same_as_package(ours, records) -> None:
    assert_informative(ours)
    assert len(ours) == len(records)
    for mask, record in zip(ours, records, strict=True):
        assert counts(mask) == record["segmentation"]["counts"]
        assert box(mask) == tuple(record["bbox"])
        assert mask.area == record["area"]
        assert mask.predicted_iou == pytest.approx(record["predicted_iou"], abs=1e-5)
        # a ratio of pixel counts: one pixel more above +-offset moves it by 1/area
        assert mask.stability_score == pytest.approx(
            record["stability_score"], abs=max(2e-6, 2.1 / mask.area)
        )


def run_package(model, settings, image):
    return SamAutomaticMaskGenerator(
        model,
        points_per_side=settings.points_per_side,
        pred_iou_thresh=settings.pred_iou_thresh,
        stability_score_thresh=settings.stability_score_thresh,
        crop_n_layers=settings.crop_n_layers,
        crop_n_points_downscale_factor=settings.crop_n_points_downscale_factor,
        min_mask_region_area=settings.min_mask_region_area,
        output_mode="uncompressed_rle",
    ).generate(image.pixels)


@pytest.mark.parametrize("which", ["image", "square"])
def test_automatic_equals_package(which, request, paths, package):
    picture = request.getfixturevalue(which)
    settings = AutomaticSettings(points_per_side=SIDE)
    ours = load(str(paths[1]), "cpu", settings).generate(picture)
    assert_same_as_package(ours, run_package(package.model, settings, picture))


def test_automatic_with_crops_equals_package(image, paths, package):
    settings = AutomaticSettings(
        points_per_side=4,
        crop_n_layers=1,
        crop_n_points_downscale_factor=2,
        stability_score_thresh=STABLE,
    )
    ours = load(str(paths[1]), "cpu", settings).generate(image)
    assert_same_as_package(ours, run_package(package.model, settings, image))


def test_small_regions_equal_package(image, paths, package):
    settings = AutomaticSettings(
        points_per_side=5, min_mask_region_area=60, stability_score_thresh=0.9
    )
    ours = load(str(paths[1]), "cpu", settings).generate(image)
    plain = AutomaticSettings(points_per_side=5, stability_score_thresh=0.9)
    assert [m.digest for m in load(str(paths[1]), "cpu", plain).generate(image)] != [
        m.digest for m in ours
    ], "nothing was tidied: the test would be empty"
    assert_same_as_package(ours, run_package(package.model, settings, image))


def run_pipeline(paths, image, **options):
    from PIL import Image as Pillow

    pipeline = MaskGenerationPipeline(
        model=SamModel.from_pretrained(paths[0]).eval(), image_processor=SamImageProcessorPil()
    )
    return pipeline(
        Pillow.fromarray(image.pixels), output_rle_mask=True, output_bboxes_mask=True, **options
    )


@pytest.mark.parametrize(
    ("which", "crops", "side"), [("image", 0, SIDE), ("square", 0, SIDE), ("image", 1, 3)]
)
def test_automatic_equals_pipeline(which, crops, side, request, paths):
    picture = request.getfixturevalue(which)
    settings = AutomaticSettings(
        points_per_side=side,
        crop_n_layers=crops,
        crop_merge="pooled",
        stability_score_thresh=STABLE,
    )
    ours = load(str(paths[0]), "cpu", settings).generate(picture)
    theirs = run_pipeline(
        paths, picture, points_per_crop=side, crops_n_layers=crops, stability_score_thresh=STABLE
    )
    assert_informative(ours)
    assert [counts(m) for m in ours] == [rle["counts"] for rle in theirs["rle_mask"]]
    for mask, theirs_box in zip(ours, theirs["bounding_boxes"].tolist(), strict=True):
        x, y, wide, high = box(mask)
        assert [x, y, x + wide, y + high] == theirs_box
    np.testing.assert_allclose(ours.predicted_iou, theirs["scores"].numpy(), rtol=0, atol=1e-5)


def sketch(shape) -> np.ndarray:
    rows, cols = np.ogrid[: shape[0], : shape[1]]
    return (rows - 120) ** 2 + (cols - 200) ** 2 < 30**2


@pytest.mark.parametrize(
    "prompt",
    [
        Prompt(points=((200, 120),)),
        Prompt(points=((200.5, 120), (60, 40)), labels=(1, 0)),
        Prompt(box=(170, 90, 230, 150)),
        Prompt(points=((200, 120),), box=(170, 90, 230, 150)),
        Prompt(points=((200, 120),), box=(170, 90, 230, 150), sketch=sketch((303, 384))),
    ],
    ids=["point", "two points", "box", "point and box", "sketch"],
)
def test_prompts_equal_predictor(prompt, image, paths, package):
    ours = load(str(paths[1]), "cpu")
    embedding = ours.encode(image)
    predictor = SamPredictor(package.model)
    predictor.set_image(image.pixels)
    drawn = None
    if prompt.sketch is not None:
        drawn = sketch_logits(prompt.sketch, ours.frame(embedding))[None]
    masks, scores, _ = predictor.predict(
        np.array(prompt.points) if prompt.points else None,
        np.array(prompt.labels) if prompt.points else None,
        np.array(prompt.box) if prompt.box else None,
        drawn,
    )
    found = ours.predict(embedding, prompt)
    order = [i for i in np.argsort(-scores, kind="stable") if masks[i].any()]
    assert len(found) == len(order) > 0
    assert any(0 < mask.area < mask.crop.size * 100 for mask in found)
    for mask, i in zip(found, order, strict=True):
        assert np.count_nonzero(mask.full() ^ masks[i]) == 0
        assert mask.predicted_iou == pytest.approx(float(scores[i]), abs=1e-5)


def in_double(model, image, places):
    """The package's own modules in double precision: its logits and scores without rounding."""
    model = copy.deepcopy(model).double()
    layer = model.prompt_encoder.pe_layer
    plain, kind = layer._pe_encoding, torch.float64
    # the package casts coordinates to float32 on the way
    layer._pe_encoding = lambda at: plain(at.to(kind))
    layer.forward_with_coords = lambda at, size: layer._pe_encoding(at / SIDE_OF_INPUT)
    return by_package(model, image, places, kind)


def by_package(model, image, places, kind=torch.float32):
    """Logits (B, 3, 256, 256), scores (B, 3) of the package at points of a 1024 px image."""
    pixels = torch.as_tensor(image.pixels.transpose(2, 0, 1).copy())[None]
    labels = torch.ones(len(places), 1, dtype=torch.int)
    with torch.inference_mode():
        features = model.image_encoder((pixels - model.pixel_mean) / model.pixel_std)
        at = torch.as_tensor(places[:, None], dtype=kind)
        sparse, dense = model.prompt_encoder(points=(at, labels), boxes=None, masks=None)
        where = model.prompt_encoder.get_dense_pe()
        return model.mask_decoder(features, where, sparse.to(kind), dense, multimask_output=True)


def test_as_near_to_double_precision_as_the_package(square, paths, package):
    """Where the two differ in a pixel, its logit rounds to 0: neither is nearer to the truth."""
    places = point_grid(4) * SIDE_OF_INPUT
    truth, scores = in_double(package.model, square, places)
    theirs, _ = by_package(package.model, square, places)
    sam = load(str(paths[1]), "cpu")
    embedding, decoder = sam.encode(square), sam.decoder
    with torch.inference_mode():
        at = decoder.coordinates(places[:, None])
        labels = torch.ones(at.shape[:2], dtype=torch.int64)
        iou, tokens, keys = decoder.tokens(
            sam.shared(embedding), decoder.sparse(at, labels, None), sam.workspace()
        )
        ours = decoder.masks(tokens, keys, sam.workspace())
    assert float((iou[:, 1:] - scores).abs().max()) < 1e-5
    error, known = ((x.double() - truth).abs() for x in (ours, theirs))
    assert 0 < float(known.max()) < 1e-5 * float(truth.abs().max())
    assert float(error.max()) < 1.5 * float(known.max())
    assert float(error.mean()) < 1.5 * float(known.mean())


def test_package_behind_the_protocol(image, paths, package):
    """The optional backend gives the same candidates and proposals as the fast path."""
    ours = load(str(paths[1]), "cpu", AutomaticSettings(points_per_side=3))
    theirs = package.with_settings(ours.settings)
    window = (100, 50, 300, 250)
    prompt = Prompt(points=((200, 120),), box=(170, 90, 230, 150))
    first = ours.predict(ours.encode(image, window), prompt)
    second = theirs.predict(theirs.encode(image, window), prompt)
    assert [m.digest for m in first] == [m.digest for m in second]
    assert [m.digest for m in ours.generate(image)] == [m.digest for m in theirs.generate(image)]
