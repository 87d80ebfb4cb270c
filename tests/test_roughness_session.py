"""Roughness through a session: windows of their own, the table's rows, what is refused.

The depth model here renders true heights of drawn bodies, so that the truth is analytic or that
of `core.synthetic.bodies`, and notes which windows it was asked for.
"""

import numpy as np
import pytest

from particle_nb.core.errors import CalibrationError, DataError, ImageError, ModelError
from particle_nb.core.image import Calibration, Image
from particle_nb.core.masks import Mask, MaskSet
from particle_nb.core.surface import RoughnessSettings, fit_law
from particle_nb.core.synthetic import rough_sphere
from particle_nb.session import Session
from particle_nb.topography import particle_depth, roughness_table

PIXEL = 8.0


class TrueHeights:
    """A depth model that knows the heights of one frame."""

    name, digest = "true heights", "d1"

    def __init__(self, heights, stop_at=None, floor=None):
        self.heights, self.windows, self.stop_at = heights, [], stop_at
        if floor is not None:
            self.roughness_floor = floor

    def estimate(self, image, window=None):
        if self.stop_at is not None and len(self.windows) == self.stop_at:
            raise KeyboardInterrupt
        self.windows.append(window)
        x0, y0, x1, y1 = window or (0, 0, *self.heights.shape[::-1])
        return 0.01 * self.heights[y0:y1, x0:x1] + 3


@pytest.fixture(scope="module")
def frame():
    """A smooth and a rough sphere of 800 nm, one cut by the frame, one small: heights, masks."""
    heights = np.zeros((460, 640), np.float32)
    masks = []
    for sq, row, col, radius in (
        (0, 20, 20, 800),
        (30, 20, 300, 800),
        (0, 330, -60, 800),
        (0, 250, 560, 100),
    ):
        body = rough_sphere(radius, sq, 70, PIXEL, np.random.default_rng(4))
        full = np.zeros((900, 1200), np.float32)
        full[200 + row :, 200 + col :][: body.height.shape[0], : body.height.shape[1]] = body.height
        part = full[200:660, 200:840]
        heights = np.maximum(heights, part)
        masks.append(Mask.from_full(part > 0))
    grey = np.clip(40 + heights / 12, 0, 250).astype(np.uint8)
    return heights, MaskSet(masks), Image(grey, Calibration(PIXEL, "nm"))


def test_every_particle_has_a_row_and_a_window_of_its_own(frame):
    heights, masks, image = frame
    model = TrueHeights(heights)
    session = Session(depth=model)
    table = roughness_table(session, image, masks, form="sphere", progress=False)
    assert len(table) == len(masks) == len(model.windows) == 4
    for mask, (x0, y0, x1, y1) in zip(masks, model.windows, strict=True):
        r0, c0, r1, c1 = mask.bbox
        assert x0 <= c0
        assert y0 <= r0
        assert x1 >= c1
        assert y1 >= r1
        assert max(x1 - x0, y1 - y0) <= 1.7 * max(r1 - r0, c1 - c0)
    smooth, rough, cut, small = (table.iloc[i] for i in range(4))
    assert smooth["Sq_nm"] < 1e-3 * 800
    assert rough["Sq_nm"] == pytest.approx(30, abs=3 * rough["Sq_uncertainty_nm"])
    assert 0.5 < rough["Sq_uncertainty_nm"] < 5
    assert smooth["radius_nm"] == pytest.approx(800, rel=0.01)
    assert smooth["flags"] == ""
    assert "cut by the edge" in cut["flags"]
    assert "small" in small["flags"]
    assert table.attrs["model"] == "true heights"
    assert table.attrs["weights"] == "d1"
    # another form takes the depth out of the cache
    again = roughness_table(session, image, masks, form="ellipsoid", progress=False)
    assert len(model.windows) == 4
    assert set(again["form"]) == {"ellipsoid"}


def test_the_papers_values_stand_beside_with_their_null(frame):
    heights, masks, image = frame
    session = Session(depth=TrueHeights(heights))
    settings = RoughnessSettings("sphere", paper=True)
    table = roughness_table(session, image, masks[:2], settings=settings, progress=False)
    smooth, rough = table.iloc[0], table.iloc[1]
    # form included, the smooth one looks as rough as its null says: 0.1052 R
    assert smooth["Rq_nm"] == pytest.approx(smooth["null_Rq_nm"], rel=0.02)
    assert smooth["null_Rq_nm"] == pytest.approx(0.1052 * 800, rel=0.01)
    assert rough["Rq_nm"] == pytest.approx(smooth["Rq_nm"], rel=0.15)
    assert rough["Sq_nm"] > 30 * smooth["Sq_nm"]
    alone = roughness_table(session, image, masks[:2], form="none", progress=False)
    np.testing.assert_allclose(alone["Rq_nm"], table["Rq_nm"])
    np.testing.assert_allclose(alone["Sq_nm"], alone["Rq_nm"])


def test_a_form_beside_settings_is_the_one_used(frame):
    heights, masks, image = frame
    session = Session(depth=TrueHeights(heights))
    settings = RoughnessSettings("sphere", substrate_percentile=60)
    table = roughness_table(
        session, image, masks[:1], "ellipsoid", settings=settings, progress=False
    )
    assert table["form"].tolist() == ["ellipsoid"]
    assert table.attrs["substrate_percentile"] == 60


def test_a_law_is_applied_and_extrapolation_flagged(frame):
    heights, masks, image = frame
    law = fit_law([10, 20, 30, 40], [21, 40.5, 59, 81])
    settings = RoughnessSettings("sphere", law=law)
    session = Session(depth=TrueHeights(heights))
    table = roughness_table(session, image, masks[:2], settings=settings, progress=False)
    np.testing.assert_allclose(table["Sq_calibrated_nm"], law.apply(table["Sq_nm"]))
    low, high = law.interval(table["Sq_nm"])
    np.testing.assert_allclose(table["Sq_calibrated_low_nm"], low)
    np.testing.assert_allclose(table["Sq_calibrated_high_nm"], high)
    assert "outside the law" in table["flags"][0]
    assert "outside the law" not in table["flags"][1]
    assert "slope" in table.attrs["law"]


def test_rows_below_the_models_own_floor_are_flagged(frame):
    heights, masks, image = frame
    session = Session(depth=TrueHeights(heights, floor=0.02))
    table = roughness_table(session, image, masks[:2], form="sphere", progress=False)
    np.testing.assert_allclose(table["floor_Sq_nm"], 0.02 * table["radius_nm"])
    assert "floor" in table["flags"][0]
    assert "floor" not in table["flags"][1]
    # one's own floor goes before the model's; a filter makes the model's meaningless
    own = RoughnessSettings("sphere", floor=0.1)
    table = roughness_table(session, image, masks[:2], settings=own, progress=False)
    assert all("floor" in text for text in table["flags"])
    fine = RoughnessSettings("sphere", l_filter=300)
    table = roughness_table(session, image, masks[:2], settings=fine, progress=False)
    assert table["floor_Sq_nm"].isna().all()
    unknown = roughness_table(
        Session(depth=TrueHeights(heights)), image, masks[:1], "sphere", progress=False
    )
    assert unknown["floor_Sq_nm"].isna().all()


def test_interrupting_keeps_what_was_estimated(frame):
    heights, masks, image = frame
    model = TrueHeights(heights, stop_at=2)
    session = Session(depth=model)
    with pytest.raises(KeyboardInterrupt):
        roughness_table(session, image, masks, form="sphere", progress=False)
    model.stop_at = None
    table = roughness_table(session, image, masks, form="sphere", progress=False)
    assert len(table) == 4
    assert len(model.windows) == 4  # the first two were not asked for again


def test_no_masks_give_an_empty_table_with_the_same_columns(frame):
    heights, masks, image = frame
    model = TrueHeights(heights)
    settings = RoughnessSettings("sphere", paper=True, law=fit_law([1, 2, 3], [1, 2, 3.1]))
    none = roughness_table(Session(depth=model), image, MaskSet((), image.shape), settings=settings)
    some = roughness_table(
        Session(depth=model), image, masks[:1], settings=settings, progress=False
    )
    assert len(none) == 0
    assert list(none) == list(some)
    assert {"Sq_nm", "Sq_uncertainty_nm", "Sq_calibrated_nm", "null_Rq_nm", "flags"} <= set(none)


def test_a_flat_particle_is_a_row_with_its_reason(frame):
    _, masks, image = frame
    flat = Session(depth=TrueHeights(np.zeros(image.shape, np.float32)))
    table = roughness_table(flat, image, masks[:1], form="sphere", progress=False)
    assert np.isnan(table["Sq_nm"][0])
    assert "constant inside the mask" in table["flags"][0]


def test_bad_arguments_are_named_before_any_depth_is_estimated(frame):
    heights, masks, image = frame
    model = TrueHeights(heights)
    session = Session(depth=model)
    bare = Image(image.pixels)
    for call, error, words in (
        (lambda: roughness_table(session, image, masks), DataError, "no default"),
        (lambda: roughness_table(session, image, masks, "cube"), DataError, "unknown form"),
        (lambda: roughness_table(session, bare, masks, "sphere"), CalibrationError, "pixel size"),
        (lambda: roughness_table(session, image, None, "sphere"), DataError, "MaskSet"),
        (lambda: roughness_table(session, "a.tif", masks, "sphere"), DataError, "read_image"),
        (lambda: roughness_table("session", image, masks, "sphere"), DataError, "Session"),
        (
            lambda: roughness_table(
                session, Image(image.pixels[:50], image.calibration), masks, "sphere"
            ),
            DataError,
            "do not fit",
        ),
        (
            lambda: roughness_table(
                session, image, masks, settings=RoughnessSettings("sphere", s_filter=2.0)
            ),
            DataError,
            "two pixels",
        ),
        (lambda: roughness_table(session, image, masks, settings="sphere"), DataError, "Settings"),
        (lambda: particle_depth(session, image, masks), DataError, "one Mask"),
        (lambda: particle_depth(session, image, masks[0], -1.0), ModelError, "margin"),
        (lambda: particle_depth(session, image, masks[0], "wide"), ModelError, "margin"),
        (lambda: particle_depth(session, "a.tif", masks[0]), ImageError, "Image"),
        (lambda: particle_depth(session, Image(image.pixels[:9]), masks[0]), DataError, "frame"),
    ):
        with pytest.raises(error, match=words):
            call()
    assert not model.windows


@pytest.mark.parametrize(
    "bad",
    [
        {"height": "none"},
        {"height": -5},
        {"substrate_percentile": 100},
        {"substrate_percentile": "40"},
        {"outliers": "some"},
        {"small_px": 0},
        {"small_px": None},
        {"floor": -1},
        {"floor": float("nan")},
        {"l_filter": "long"},
        {"paper": "yes"},
        {"law": 2.0},
    ],
)
def test_settings_refuse_what_makes_no_sense(bad):
    with pytest.raises((DataError, CalibrationError)):
        RoughnessSettings("sphere", **bad)


def test_a_small_depth_model_of_the_real_layout_goes_through(tmp_path, frame):
    torch = pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(1)
    config = transformers.DPTConfig(
        hidden_size=32,
        num_hidden_layers=4,
        num_attention_heads=2,
        intermediate_size=48,
        image_size=64,
        patch_size=16,
        backbone_out_indices=[0, 1, 2, 3],
        neck_hidden_sizes=[8, 8, 8, 8],
        fusion_hidden_size=8,
        initializer_range=0.2,
    )
    model = transformers.DPTForDepthEstimation(config).eval()
    with torch.no_grad():
        model.head.head[-2].bias.fill_(3.0)
    model.save_pretrained(tmp_path)
    _, masks, image = frame
    session = Session(depth=str(tmp_path), device="cpu")
    table = roughness_table(session, image, masks[:2], form="polynomial", progress=False)
    assert table.attrs["weights"]
    assert table.attrs["model"] == session.depth_model.name
    assert np.isfinite(table["Sq_nm"]).all()
