"""The embedded depth model against surfaces whose heights and roughness are known exactly."""

import json

import numpy as np
import pytest
import torch

from particle_nb import Session
from particle_nb.core.errors import DataError, ImageError, ModelError
from particle_nb.core.image import Image
from particle_nb.models import DepthEstimator, load_model
from particle_nb.models.depth import orientation_score
from particle_nb.models.embedded import depth as embedded
from particle_nb.models.embedded.depth_network import DepthNetwork, DepthNetworkSettings
from particle_nb.models.weights import weights_digest
from training.depth import export
from training.depth.bar import (
    BarSettings,
    estimated_sq,
    make_sphere,
    make_spheres,
    rank_correlation,
)
from training.depth.data import HELD_CORRELATION, read_surfaces, render_shard, surface_settings
from training.depth.evaluate import as_image, spectrum
from training.depth.imaging import HELD, random_view, render_view
from training.depth.losses import DepthBatch, LossWeights, depth_losses, make_depth_batch
from training.depth.train import main as train

TINY = DepthNetworkSettings((8, 8, 8, 8, 8), (1, 1, 1, 1, 1))


@pytest.fixture(scope="module")
def model():
    return embedded.load(device="cpu")


@pytest.fixture(scope="module")
def shard(tmp_path_factory):
    folder = tmp_path_factory.mktemp("surfaces")
    render_shard(folder / "shard_00000.npz", 5, 0, 4)
    return folder


def dome(side=96, radius=30.0, bump=0.0):
    """A ball on the ground with ripples of known height, as a batch of one."""
    y, x = np.mgrid[:side, :side] - (side - 1) / 2.0
    square = radius**2 - x**2 - y**2
    inside = square > 0
    height = np.where(inside, radius + np.sqrt(np.maximum(square, 0)), 0)
    ripple = bump * np.sin(x * 0.8) * np.sin(y * 0.8) * inside
    tensors = [torch.tensor(v, dtype=torch.float32)[None, None] for v in (height, ripple)]
    labels = torch.tensor(inside.astype(np.int64))[None, None]
    return DepthBatch(tensors[0], tensors[0] + tensors[1], labels), tensors[0]


# --- the weights of the package ---------------------------------------------------------------


def test_the_model_is_found_by_name_and_is_the_sessions_own(model):
    found = load_model("embedded", "depth", "cpu")
    assert isinstance(found, DepthEstimator)
    assert (found.name, found.digest) == ("pnb-depth-1", model.digest)
    assert load_model("embedded-depth", "depth", "cpu").digest == model.digest
    assert Session(device="cpu").depth_model.digest == model.digest
    with pytest.raises(ModelError, match="is a segmenter, not a depth"):
        load_model("classical", "depth")
    with pytest.raises(ModelError, match="is a depth, not a segmenter"):
        load_model("dpt", "segmenter")


def test_weights_are_small_and_the_digest_is_that_of_the_file(model, tmp_path):
    from safetensors.torch import load_file, save_file

    assert embedded.WEIGHTS.stat().st_size < 15e6
    tensors = load_file(embedded.WEIGHTS)
    assert all(torch.isfinite(value).all() for value in tensors.values())
    assert model.digest == weights_digest(tensors)
    from safetensors import safe_open

    with safe_open(embedded.WEIGHTS, "pt") as stream:
        metadata = stream.metadata()
    changed = tmp_path / "changed.safetensors"
    tensors["stem.bias"] = tensors["stem.bias"] + 1
    save_file(tensors, changed, metadata)
    assert embedded.load(str(changed), "cpu").digest != model.digest


def test_a_ball_is_higher_in_the_middle(model):
    assert orientation_score(model) > 0.8


@pytest.mark.parametrize("shape", [(64, 64), (300, 300), (200, 330), (700, 900), (40, 700)])
def test_heights_have_the_size_of_the_picture(model, shape):
    picture = np.random.default_rng(0).integers(0, 255, shape).astype(np.uint8)
    heights = model.estimate(Image(picture))
    assert heights.shape == shape
    assert heights.dtype == np.float32
    assert np.isfinite(heights).all()


def test_windows_and_grey_types(model):
    specimen = make_sphere(BarSettings((150.0, 150.0)), "training", 0.0, np.random.default_rng(3))
    grey = np.clip(specimen.grey, 0, 255).astype(np.uint8)
    frame = np.full((grey.shape[0] + 60, grey.shape[1] + 90), int(np.median(grey)), np.uint8)
    frame[20 : 20 + grey.shape[0], 50 : 50 + grey.shape[1]] = grey
    window = (50, 20, 50 + grey.shape[1], 20 + grey.shape[0])
    alone = model.estimate(Image(grey))
    assert np.allclose(model.estimate(Image(frame), window), alone, atol=1e-3)
    # gain and offset of the grey scale, its type and its channels say nothing
    wide = Image(grey.astype(np.uint16) * 100 + 3000)
    assert np.allclose(model.estimate(wide), alone, atol=2e-2)
    rgb = Image(np.repeat(grey[..., None], 3, 2))
    assert np.allclose(model.estimate(rgb), alone, atol=2e-2)
    depth = Session(device="cpu").depth(Image(frame), window)
    assert (depth.shape, depth.model) == (grey.shape, "pnb-depth-1")


def test_flat_pictures_and_bad_input(model, tmp_path):
    assert np.isfinite(model.estimate(Image(np.zeros((80, 80), np.uint8)))).all()
    picture = Image(np.zeros((50, 60), np.uint8))
    with pytest.raises(ImageError, match="does not lie within"):
        model.estimate(picture, (0, 0, 61, 50))
    with pytest.raises(ImageError, match="too little"):
        model.estimate(picture, (0, 0, 10, 50))
    with pytest.raises(ImageError, match="not ndarray"):
        model.estimate(np.zeros((50, 60)))
    with pytest.raises(ModelError, match="no weights at"):
        embedded.load(str(tmp_path / "none.safetensors"))
    junk = tmp_path / "junk.safetensors"
    junk.write_bytes(b"not a tensor in sight" * 9)
    with pytest.raises(ModelError, match="cannot be read"):
        embedded.load(str(junk))
    with pytest.raises(ModelError, match="no weights of this network"):
        embedded.load(str(embedded.WEIGHTS.with_name("segmenter.safetensors")))
    with pytest.raises(ModelError, match="path as text"):
        embedded.load(7)
    with pytest.raises(ModelError, match="device"):
        embedded.load(device="abacus")


def test_a_smooth_sphere_comes_out_round_and_as_high_as_wide(model):
    specimen = make_sphere(BarSettings(), "all", 0.0, np.random.default_rng(31))
    heights = model.estimate(as_image(specimen))
    inside = specimen.mask
    top = specimen.height > np.percentile(specimen.height[inside], 40)
    assert np.corrcoef(heights[top], specimen.height[top])[0, 1] > 0.99
    # heights are in pixels: the cap above the 40th percentile is 0.37 radii high
    seen = np.ptp(np.percentile(heights[top], (1, 99)))
    true = np.ptp(np.percentile(specimen.height[top], (1, 99)))
    assert 0.8 < seen / true < 1.2
    # the formula with the form left in gives 105 nm here
    assert estimated_sq(heights, specimen) < 15
    assert estimated_sq(heights, specimen, "none") > 60


def test_ranks_of_known_roughness_in_views_kept_out_of_training(model):
    specimens = make_spheres(BarSettings((300.0, 300.0)), ("all", "yield"), 6, 60706)
    truth = [s.sq_nm for s in specimens]
    maps = [model.estimate(as_image(s)) for s in specimens]
    iso = [estimated_sq(h, s) for h, s in zip(maps, specimens, strict=True)]
    paper = [estimated_sq(h, s, "none") for h, s in zip(maps, specimens, strict=True)]
    assert rank_correlation(truth, iso) >= 0.9
    assert rank_correlation(truth, iso) > rank_correlation(truth, paper)
    assert 0.6 < np.median(np.array(iso) / truth) < 1.6
    bands = spectrum(specimens, maps)
    main = max(bands, key=lambda band: band["share_of_true_power"])
    assert main["correlation"] > 0.3  # bumps where there are bumps, not just as many
    exact = spectrum(specimens, [s.height for s in specimens])
    assert all(abs(band["amplitude_ratio"] - 1) < 1e-6 for band in exact)


# --- training ---------------------------------------------------------------------------------


def test_what_is_kept_back_is_never_drawn_for_training():
    rng = np.random.default_rng(0)
    for _ in range(400):
        view = random_view(rng)
        drawn = {**vars(view.detector), **vars(view.exposure)}
        for bands in HELD.values():
            for name, (low, high) in bands.items():
                assert not low < drawn[name] < high, name
        for population in surface_settings(rng).populations:
            if population.sq_nm and population.correlation_nm > 1.5:
                share = 2 * population.correlation_nm / population.sizes.x_nm
                assert not HELD_CORRELATION[0] < share < HELD_CORRELATION[1]
    for family, bands in HELD.items():
        view = random_view(rng, family, 2.0)
        drawn = {**vars(view.detector), **vars(view.exposure)}
        for name, (low, high) in bands.items():
            factor = {"dose": 0.25, "defocus": 2.0, "edge_px": 2.0}.get(name, 1.0)
            assert low <= drawn[name] / factor <= high
    with pytest.raises(DataError, match="no family"):
        random_view(rng, "moon")


def test_surfaces_are_whole_and_repeatable(shard, tmp_path):
    surfaces = read_surfaces(shard)
    assert len(surfaces) == 4
    render_shard(tmp_path / "again.npz", 5, 0, 4)
    with np.load(tmp_path / "again.npz") as again:
        assert np.array_equal(again["height"], surfaces.height)
    rng = np.random.default_rng(2)
    for _ in range(6):
        height, labels = surfaces.crop(224, rng)
        assert height.shape == labels.shape == (224, 224)
        assert (height[labels == 0] == 0).all()
        assert (height[labels > 0] > 0).mean() > 0.99
    with pytest.raises(DataError, match="no surfaces"):
        read_surfaces(tmp_path / "nothing")


def test_a_view_shows_the_side_that_faces_the_detector():
    """A flank towards the detector is brighter: Detector.azimuth 0 is +x."""
    from dataclasses import replace

    batch, smooth = dome()
    height, labels = smooth[0, 0].numpy(), batch.labels[0, 0].numpy().astype(np.int32)
    rng = np.random.default_rng(1)
    view = random_view(rng)
    detector = replace(view.detector, kind="SE", asymmetry=0.6, azimuth=0.0, tilt=0.1, edge=0.0)
    exposure = replace(view.exposure, dose=0, charging=0.0, gradient=0.0, vignette=0.0)
    view = replace(view, detector=detector, exposure=exposure, coarse=1.0, albedo_spread=0.0)
    grey = render_view(height, labels, view, rng)
    assert grey[48, 60:72].mean() > grey[48, 24:36].mean() + 5


def test_losses_know_truth_offset_and_flattened_roughness():
    weights = LossWeights()
    batch, smooth = dome(bump=1.0)
    perfect, _ = depth_losses(batch.height.clone(), batch, weights, 10_000)
    assert float(perfect) < 1e-3
    raised = batch.height + 40.0 * (batch.labels > 0)
    _, logs = depth_losses(raised, batch, weights, 10_000)
    assert logs["heights"] + logs["slopes"] < 1e-3 < logs["frame"]
    _, logs = depth_losses(smooth, batch, weights, 10_000)
    assert logs["bias1"] < -0.5
    half = smooth + 0.5 * (batch.height - smooth)
    _, halved = depth_losses(half, batch, weights, 10_000)
    assert logs["bias1"] < halved["bias1"] < -0.2
    doubled, _ = depth_losses(smooth + 2 * (batch.height - smooth), batch, weights, 10_000)
    assert float(doubled) > float(perfect)
    early, logs = depth_losses(smooth, batch, weights, 0)
    assert "bias0" not in logs
    assert float(early) > 0


def test_network_keeps_the_strength_of_a_texture():
    """No layer may scale a texture to unit strength, or roughness could not be read off it."""
    torch.manual_seed(0)
    network = DepthNetwork(TINY).eval()
    y, x = np.mgrid[:64, :64] / 64.0
    form = torch.tensor(np.sin(3 * x) + np.cos(2 * y), dtype=torch.float32)[None, None]
    noise = torch.randn(1, 1, 64, 64)
    with torch.inference_mode():
        base = network(form)
        weak = (network(form + 0.05 * noise) - base).std()
        strong = (network(form + 0.2 * noise) - base).std()
    assert 2.0 < float(strong / weak) < 8.0
    with pytest.raises(ValueError, match="five levels"):
        DepthNetworkSettings((8, 8), (1, 1))


def test_a_tiny_run_learns_stops_and_goes_on(shard, tmp_path):
    out = tmp_path / "run"
    common = ["--data", str(shard), "--out", str(out), "--tiny", "--side", "96", "--crops", "2"]
    common += ["--log-every", "5", "--score-minutes", "0", "--device", "cpu", "--seed", "3"]
    common += ["--threads", "1"]
    train([*common, "--minutes", "0.05"])
    first = torch.load(out / "checkpoint.pt", weights_only=True)
    assert first["step"] > 3
    train([*common, "--minutes", "0.1", "--resume"])
    second = torch.load(out / "checkpoint.pt", weights_only=True)
    assert second["step"] > first["step"]
    assert 0.05 <= first["minutes"] < second["minutes"]
    assert second["settings"]["seed"] == 3
    lines = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
    assert [line["event"] for line in lines if "event" in line] == ["start", "end"] * 2
    losses = [line["slopes"] for line in lines if "slopes" in line]
    assert np.isfinite(losses).all()
    weights = tmp_path / "tiny.safetensors"
    export.export_depth(out / "checkpoint.pt", weights, roughness_floor=0.01)
    tiny = embedded.load(str(weights), "cpu")
    assert tiny.roughness_floor == 0.01
    assert tiny.estimate(Image(np.eye(70))).shape == (70, 70)
    with pytest.raises(ModelError, match="no checkpoint"):
        export.export_depth(tmp_path / "none.pt", weights)


def test_one_surface_can_be_learnt_by_heart():
    """A hundred steps on one ball lower heights and slopes: gradients reach every weight."""
    torch.manual_seed(1)
    batch, _ = dome(64, 22.0, 0.5)
    network = DepthNetwork(DepthNetworkSettings((8, 12, 16, 16, 16), (1, 1, 1, 1, 1)))
    optimiser = torch.optim.Adam(network.parameters(), 3e-3)
    picture = (batch.height - batch.height.mean()) / batch.height.std()
    losses = []
    for step in range(100):
        optimiser.zero_grad()
        loss, _ = depth_losses(network(picture), batch, LossWeights(after=1000), step)
        loss.backward()
        optimiser.step()
        losses.append(float(loss.detach()))
    assert all(p.grad is not None and bool(p.grad.any()) for p in network.parameters())
    assert losses[-1] < losses[0] / 3


def test_batches_hold_pictures_heights_and_labels(shard):
    batch = make_depth_batch(read_surfaces(shard), 2, 128, np.random.default_rng(0))
    assert batch.picture.shape == batch.height.shape == batch.labels.shape == (2, 1, 128, 128)
    assert batch.picture.std() > 3
    with pytest.raises(DataError, match="at least one surface"):
        render_shard(shard / "shard_00001.npz", 0, 0, 0)
