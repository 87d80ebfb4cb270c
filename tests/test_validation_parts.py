"""What the validation notebooks call, against analytic shapes, laws and exact segmenters."""

from __future__ import annotations

import json
import math
import sys
import types
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from particle_nb import Image, Mask, MaskSet, ModelError, PromptError, Session, size_distribution
from particle_nb.core.annotation import Annotation
from particle_nb.core.errors import DataError
from particle_nb.core.matching import score
from particle_nb.core.sizes import ReferenceDistribution
from particle_nb.figures.accuracy import error_by_size
from particle_nb.validation import counting, estimators, write_html
from particle_nb.validation.annotations import common_particles, outline_budget
from particle_nb.validation.counting import (
    convention_errors,
    frame_bias,
    interval_coverage,
    lognormal_percentiles,
)
from particle_nb.validation.estimators import (
    conventional_estimates,
    kept_limits,
    outline_accuracy,
)
from particle_nb.validation.expert import Expert, ExpertSettings, polygon_around
from particle_nb.validation.methods import canny_edges, cellpose_method
from particle_nb.validation.percentiles import counts_table, percentile_table, quiet_intervals
from particle_nb.validation.roughness_pairs import SphereSettings, roughness_pairs


def discs(*places: tuple[float, float, float], shape=(200, 240)) -> np.ndarray:
    """Label image of discs (x, y, radius)."""
    rows, cols = np.ogrid[: shape[0], : shape[1]]
    labels = np.zeros(shape, np.int32)
    for number, (x, y, radius) in enumerate(places, start=1):
        labels[(cols - x) ** 2 + (rows - y) ** 2 <= radius**2] = number
    return labels


# ------------------------------------------------------------------------------- estimators


def test_conventional_estimates_of_a_square_are_known() -> None:
    found = conventional_estimates(Mask((5, 7), np.ones((20, 20), bool), (60, 60)))
    # scikit-image counts the way along the pixel centres of the rim: 4 x 19
    assert found["perimeter, skimage"] == 76
    # marching squares runs half a pixel outside the centres and cuts the corners
    assert found["perimeter, plain contour"] == pytest.approx(4 * 19 + 4 * math.sqrt(0.5))
    assert found["x_Fmax, pixel centres"] == pytest.approx(19 * math.sqrt(2))
    assert found["form_factor, skimage"] == pytest.approx(4 * math.pi * 400 / 76**2)
    # around whole pixels it is the diagonal of 20 x 20, about
    assert found["x_Fmax, skimage"] == pytest.approx(20 * math.sqrt(2), abs=1.0)
    for flat in (np.ones((1, 9), bool), np.ones((1, 1), bool)):
        with pytest.raises(DataError, match="on one line"):
            conventional_estimates(Mask((0, 0), flat, (9, 9)))


def test_accuracy_of_a_disc_keeps_the_promises_and_a_biased_estimator_does_not() -> None:
    table = outline_accuracy([24, 60], 12, np.random.default_rng(0), ["disc"])
    assert set(table["ECD / px"]) == {24, 60}
    by = table.set_index(["ECD / px", "quantity"])["bias / %"]
    assert abs(by[60, "area"]) < 0.5
    assert abs(by[60, "perimeter"]) < 0.5
    # the unsmoothed contour of a disc is some 5 % too long, at every size
    assert by[60, "perimeter, plain contour"] == pytest.approx(5.5, abs=1.5)
    checks = kept_limits(table)
    assert checks["kept"].all()
    assert set(checks["shape"]) == {"disc"}
    spoilt = table.assign(**{"bias / %": table["bias / %"] - 3})
    broken = kept_limits(spoilt)
    assert not broken["kept"].any(), "3 per cent are beyond every limit"
    assert (broken["at ECD / px"] >= broken["from ECD / px"]).all()
    with pytest.raises(DataError, match="samples must be 2 or more"):
        outline_accuracy([24], 1, np.random.default_rng(0))


def test_every_limit_names_a_quantity_that_is_measured() -> None:
    drawn = outline_accuracy([40], 2, np.random.default_rng(1))
    measured = set(zip(drawn["shape"], drawn["quantity"], strict=True))
    promised = {(kind, quantity) for kinds, quantity, *_ in estimators.LIMITS for kind in kinds}
    assert promised <= measured


def test_the_figure_of_accuracy_draws_what_the_table_holds() -> None:
    table = outline_accuracy([20, 40], 3, np.random.default_rng(0), ["disc"])
    names = {"perimeter": "this package", "perimeter, skimage": "skimage"}
    fig = error_by_size(table, "disc", names, title="Perimeter")
    assert [trace.name for trace in fig.data] == ["this package", "skimage"]
    wanted = table[table["quantity"] == "perimeter"]
    assert fig.data[0].y == pytest.approx(wanted["bias / %"].tolist())
    assert fig.data[0].error_y.array == pytest.approx(wanted["scatter / %"].tolist())
    assert list(fig.layout.xaxis.tickvals) == [20, 40]
    means = error_by_size(table, "disc", {"form_factor": "this package"}, value="mean")
    assert means.data[0].error_y.array is None
    for wrong in ({"outline": "star"}, {"estimators": {"colour": "?"}}, {"value": "median"}):
        with pytest.raises(DataError):
            error_by_size(**{"accuracy": table, "outline": "disc", "estimators": names, **wrong})


# ------------------------------------------------------------------------------- counting


def test_percentiles_of_the_law_are_those_of_a_great_sample_by_volume() -> None:
    x = np.exp(np.random.default_rng(0).normal(0, math.log(1.4), 400_000))
    found = size_distribution(x, r=3).percentile([10, 50, 90])
    assert lognormal_percentiles(1.4) == pytest.approx(found, rel=0.01)
    with pytest.raises(DataError, match="gsd"):
        lognormal_percentiles(1.0)


def test_conventions_part_with_few_particles_and_meet_with_many() -> None:
    errors, apart = convention_errors([60, 6000], 1.4, 20, np.random.default_rng(1))
    assert apart.loc[0, "D90,3"] > 10 * apart.loc[1, "D90,3"] > 0
    large = errors[(errors["n"] == 6000) & (errors["percentile"] == "D50,3")]
    assert large["bias / %"].abs().max() < 1
    # with few particles the heaviest ones are missed: every convention reads D90 too small
    small = errors[(errors["n"] == 60) & (errors["percentile"] == "D90,3")]
    assert (small["bias / %"] < 0).all()
    assert set(small["convention"]) == {"midpoint", "step", "linear"}


def test_a_parametric_interval_covers_a_lognormal_powder_as_it_promises() -> None:
    table = interval_coverage([80], 1.4, 120, np.random.default_rng(2)).set_index("interval")
    assert table.loc["parametric", "D50,3"] == pytest.approx(95, abs=6)
    # the bootstrap does not know of the large particles that it has not met
    assert table.loc["bootstrap", "D90,3"] < table.loc["parametric", "D90,3"]


def test_edge_weights_make_up_for_what_the_frame_cuts(monkeypatch) -> None:
    monkeypatch.setattr(counting, "_DISCS", 100_000)
    table = frame_bias([0.1], 1.4, np.random.default_rng(3))
    row = table.iloc[0]
    assert row["cut ones left out"] < -3
    assert abs(row["Miles-Lantuejoul"]) < abs(row["cut ones left out"]) / 3
    with pytest.raises(DataError, match="share"):
        frame_bias([0.9], 1.3, np.random.default_rng(0))


def test_a_percentile_beside_its_reference() -> None:
    x = np.exp(stats.norm.ppf((np.arange(999) + 0.5) / 999) * 0.2)
    ours = size_distribution(x, r=0, unit="um")
    at = np.linspace(-3, 3, 61)
    reference = ReferenceDistribution(1.2 * np.exp(0.2 * at), stats.norm.cdf(at), 0, "um", "law")
    limits = [(0.7, 0.8), (0.9, 1.3), (math.nan, math.nan)]
    table = percentile_table(ours, limits, reference, tolerance=17.0)
    assert table["percentile"].tolist() == ["D10", "D50", "D90"]
    assert table["deviation_percent"].tolist() == pytest.approx([100 * (1 / 1.2 - 1)] * 3, abs=0.3)
    assert table["agrees"].all()
    assert table["within_interval"].tolist() == [False, True, None]
    assert not percentile_table(ours, limits, reference, tolerance=16.0)["agrees"].any()
    bare = percentile_table(ours, limits)
    assert list(bare) == ["n", "percentile", "value", "low", "high"]
    with pytest.raises(DataError, match="intervals"):
        percentile_table(ours, limits[:2], reference)
    with pytest.raises(DataError, match="unit"):
        percentile_table(ours, limits, reference.to("nm"))


def test_quiet_intervals_are_those_of_the_distribution_without_its_warning(recwarn) -> None:
    few = size_distribution(np.exp(np.random.default_rng(0).normal(0, 0.3, 40)))
    found = quiet_intervals(few, seed=3)
    assert not recwarn.list
    with pytest.warns(UserWarning, match="40 particles"):
        assert (found == few.interval([10, 50, 90], rng=3)).all()


def test_counts_say_what_five_per_cent_takes() -> None:
    x = np.exp(stats.norm.ppf((np.arange(400) + 0.5) / 400) * 0.3)
    table = counts_table(size_distribution(x, r=0)).set_index("percentile")
    assert table.index.tolist() == ["D10,0", "D50,0", "D90,0"]
    assert (table["counted"] == 400).all()
    # the standard error of a normal median is 1.2533 sigma / sqrt(n); 1.96 of it are 5 %
    needed = (1.96 * 1.2533 * 0.3 / 0.05) ** 2
    assert table.loc["D50,0", "needed for ±5 %"] == pytest.approx(needed, rel=0.05)
    about = table.loc["D50,0", "known to about"]
    assert about == pytest.approx(5 * math.sqrt(needed / 400), rel=0.03)
    assert table.loc["D50,0", "enough"] == (needed <= 400)


# ------------------------------------------------------------------------------- annotations


def annotations() -> tuple[dict, dict]:
    """Four discs of one image; B misses the second, sees the others in another order."""
    places = [(50, 50, 20), (120, 50, 25), (50, 140, 30), (150, 140, 35)]
    masks = [Mask.from_full(discs(place) == 1) for place in places]
    sets = {
        ("a.tif", "A", 1): MaskSet(tuple(masks)),
        ("a.tif", "B", 1): MaskSet((masks[3], masks[0], masks[2])),
        ("b.tif", "A", 1): MaskSet((masks[1],)),
        ("b.tif", "B", 1): MaskSet((masks[1],)),
    }
    tables = {key: pd.DataFrame({"area_px2": found.areas}) for key, found in sets.items()}
    return sets, tables


def test_common_particles_are_matched_whatever_their_order() -> None:
    sets, tables = annotations()
    tracks = common_particles(sets, tables, ["area_px2"])
    assert len(tracks) == 2 * 3 + 2 * 1
    wide = tracks.pivot(index=["image", "particle"], columns="operator", values="area_px2")
    assert (wide["A"] == wide["B"]).all(), "the same discs, pixel by pixel"
    missed = sets["a.tif", "A", 1][1].area
    assert missed not in wide.loc["a.tif", "A"].tolist()
    assert wide.loc["b.tif", "A"].tolist() == [missed]
    with pytest.raises(DataError, match="one row for each"):
        common_particles(sets, {**tables, ("b.tif", "B", 1): tables["a.tif", "A", 1]}, [])


def test_the_budget_of_outlines_is_that_of_the_law() -> None:
    sizes = size_distribution(np.full(400, 20.0), r=0)
    budget = outline_budget(sizes, 0.5, 0.0, np.random.default_rng(1), 1000).set_index("source")
    # every diameter changes by twice a normal shift: 1.96 x 2 x 0.5 of 20 are 9.8 %
    for end, sign in (("-", -1), ("+", 1)):
        assert sign * budget.loc["outline", f"D50 {end}"] == pytest.approx(9.8, rel=0.12)
        assert budget.loc["count", f"D50 {end}"] == 0, "alike particles: nothing to count wrong"
    spread = np.exp(stats.norm.ppf((np.arange(200) + 0.5) / 200) * 0.3)
    budget = outline_budget(size_distribution(spread, r=0), 0.0, 0.0, np.random.default_rng(2), 800)
    budget = budget.set_index("source")
    assert (budget.loc["outline"] == 0).all(), "no shift, no interval"
    error = 100 * 1.96 * 1.2533 * 0.3 / math.sqrt(200)
    assert budget.loc["count", "D50 +"] == pytest.approx(error, rel=0.2)
    with pytest.raises(DataError, match="habit_sd"):
        outline_budget(sizes, -1.0, 0.0, np.random.default_rng(0))


# ------------------------------------------------------------------------------- methods


def test_canny_edges_find_discs_but_neither_cut_nor_touching_ones() -> None:
    free = discs((60, 60, 25), (160, 120, 30))
    grey = np.where(free, 200, 60) + np.random.default_rng(0).normal(0, 3, free.shape)
    found = score(canny_edges(Image(grey.clip(0, 255).astype(np.uint8))), MaskSet.from_labels(free))
    assert found.f1 == 1.0
    touching = discs((60, 60, 25), (108, 60, 25), (0, 150, 30))
    grey = np.where(touching, 200, 60) + np.random.default_rng(1).normal(0, 3, touching.shape)
    masks = canny_edges(Image(grey.clip(0, 255).astype(np.uint8)))
    assert len(masks) == 1, "the touching ones are one, the cut one is open"


def test_cellpose_is_left_out_asked_for_and_run(monkeypatch, tmp_path) -> None:
    monkeypatch.setitem(sys.modules, "cellpose", None)
    assert cellpose_method() == (None, "Cellpose is not installed and was left out.")
    with pytest.raises(ModelError, match="pip install cellpose"):
        cellpose_method(fetch=True)

    class Model:
        def __init__(self, gpu: bool) -> None:
            assert not gpu

        def eval(self, grey: np.ndarray) -> tuple[np.ndarray, list, list]:
            return (grey > 100).astype(np.uint16), [], []

    fake = types.ModuleType("cellpose")
    fake.models = types.SimpleNamespace(CellposeModel=Model)  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "cellpose", fake)
    monkeypatch.setenv("CELLPOSE_LOCAL_MODELS_PATH", str(tmp_path / "none"))
    method, said = cellpose_method()
    assert method is None
    assert "there are no weights" in said
    (tmp_path / "none").mkdir()
    (tmp_path / "none" / "cyto3").write_bytes(b"weights")
    method, said = cellpose_method()
    assert "untrained on these images" in said
    labels = discs((60, 60, 25))
    masks = method(Image(np.where(labels, 200, 60).astype(np.uint8)))
    assert (masks[0].full() == (labels == 1)).all()


# ------------------------------------------------------------------------------- expert


class Oracle:
    """A segmenter that answers a prompt with the true particle under it, or spoils it."""

    name, digest, stride = "oracle", "0", 1

    def __init__(self, labels: np.ndarray, spoil=None) -> None:
        self.labels, self.spoil = labels, spoil or (lambda full, prompt: full)

    def load(self) -> Oracle:
        return self

    def __call__(self, prompt) -> MaskSet:
        if prompt.box is not None:
            x0, y0, x1, y1 = (round(v) for v in prompt.box)
            inside = self.labels[max(y0, 0) : y1 + 1, max(x0, 0) : x1 + 1]
            number = np.bincount(inside[inside > 0]).argmax()
        else:
            (x, y), *_ = prompt.points
            number = self.labels[round(y), round(x)]
        if not number:
            raise PromptError("there is nothing here.")
        full = self.spoil(self.labels == number, prompt)
        return MaskSet((Mask.from_full(np.zeros_like(full) | full[::-1]), Mask.from_full(full)))


def annotation_of(oracle: Oracle) -> Annotation:
    grey = np.where(oracle.labels, 200, 60).astype(np.uint8)
    session = types.SimpleNamespace(
        segmenter=oracle, predict=lambda image, prompt, window=None: oracle(prompt)
    )
    return Annotation(session, Image(grey, name="drawn"), autosave=False)


LABELS = discs((60, 50, 25), (150, 60, 30), (60, 140, 28), (160, 150, 35), (215, 20, 5))


def test_an_expert_with_an_exact_segmenter_gets_every_particle_with_one_click() -> None:
    annotation = annotation_of(Oracle(LABELS))
    expert = Expert(annotation, np.random.default_rng(0), ExpertSettings(least_px=200))
    assert expert.segment(LABELS, "primary") == 4, "the small one is not tried"
    found = {int(np.unique(LABELS[mask.full()]).item()) for mask in annotation.masks}
    assert found == {1, 2, 3, 4}
    assert {mask.label for mask in annotation.masks} == {"primary"}
    actions = [json.loads(line)["action"] for line in annotation.log.splitlines()[1:]]
    # the better of two candidates is chosen, nothing needs correcting
    assert actions == ["point", "candidate", "commit"] * 4


def test_an_expert_stops_when_enough_is_done_and_repeats_with_the_same_seed() -> None:
    kept = []
    for _ in range(2):
        annotation = annotation_of(Oracle(LABELS))
        wanted = ExpertSettings(wanted=2, least_px=200)
        assert Expert(annotation, np.random.default_rng(4), wanted).segment(LABELS, "a") == 2
        kept.append([mask.digest for mask in annotation.masks])
    assert kept[0] == kept[1]


def test_an_expert_boxes_what_clicks_do_not_give_and_gives_up_what_nothing_gives() -> None:
    def half_unless_boxed(full: np.ndarray, prompt) -> np.ndarray:
        return full if prompt.box is not None else full & (np.indices(full.shape)[1] % 2 == 0)

    annotation = annotation_of(Oracle(LABELS, half_unless_boxed))
    settings = ExpertSettings(least_px=200)
    assert Expert(annotation, np.random.default_rng(0), settings).segment(LABELS, "a") == 4
    actions = [json.loads(line)["action"] for line in annotation.log.splitlines()[1:]]
    assert actions.count("box") == 4
    assert min(mask.iou(Mask.from_full(LABELS[mask.full()].max() == LABELS))
               for mask in annotation.masks) == 1.0  # fmt: skip

    def always_half(full: np.ndarray, prompt) -> np.ndarray:
        return full & (np.indices(full.shape)[1] % 2 == 0)

    annotation = annotation_of(Oracle(LABELS, always_half))
    assert Expert(annotation, np.random.default_rng(0), settings).segment(LABELS, "a") == 0
    assert not len(annotation.masks)
    assert annotation.state.draft is None


def test_an_expert_outlines_a_whole_by_a_box_or_by_hand() -> None:
    whole = LABELS == 4
    boxed = annotation_of(Oracle(LABELS))
    Expert(boxed, np.random.default_rng(0)).outline(whole, "agglomerate")
    assert (boxed.masks[0].full() == whole).all()
    # a segmenter that never sees more than the upper half of it
    upper = np.indices(LABELS.shape)[0] < 150
    wrong = annotation_of(Oracle(LABELS, lambda full, prompt: full & upper))
    Expert(wrong, np.random.default_rng(0)).outline(whole, "agglomerate")
    assert wrong.masks[0].iou(Mask.from_full(whole)) > 0.95
    assert wrong.masks[0].label == "agglomerate"


def test_an_expert_refuses_labels_of_another_frame_and_settings_out_of_range() -> None:
    annotation = annotation_of(Oracle(LABELS))
    with pytest.raises(DataError, match="labels of"):
        Expert(annotation, np.random.default_rng(0)).segment(LABELS[1:], "a")
    for wrong in ({"wanted": 0}, {"good": 1.2}, {"least_px": "many"}):
        with pytest.raises(DataError, match=next(iter(wrong))):
            ExpertSettings(**wrong)


def test_a_polygon_around_a_tiny_or_holed_body_keeps_to_its_rim() -> None:
    assert 3 <= len(polygon_around(np.pad(np.ones((2, 3), bool), 2))) <= 60
    ring = discs((60, 60, 40), shape=(120, 120)) - discs((60, 60, 20), shape=(120, 120))
    corners = np.array(polygon_around(ring == 1)) - 60
    assert (np.hypot(*corners.T) > 38).all(), "the hole counts for nothing"


# ------------------------------------------------------------------------------- roughness


def test_pairs_of_roughness_hold_every_method_and_the_sq_put_in() -> None:
    lengths = SphereSettings(radius_nm=500, correlation_nm=50, l_filter_nm=250, pixel_nm=6.0)
    pairs = roughness_pairs([6.0, 25.0], None, np.random.default_rng(1), lengths)
    methods = ["sphere removed", "form included", "waves below 250 nm"]
    expected = [f"true heights: {m}" for m in methods] + ["form-only null", "silhouette"]
    assert pairs["method"].tolist() == expected * 2
    assert pairs["reference_nm"].tolist() == [6.0] * 5 + [25.0] * 5
    removed = pairs[pairs["method"] == "true heights: sphere removed"]
    assert (removed["estimate_nm"] / removed["reference_nm"]).between(0.75, 1.25).all()
    wide = pairs.pivot(index="particle", columns="method", values="estimate_nm")
    # a smooth hemisphere gives 0.105 R by the main paper's way, and form included hardly more
    assert wide["form-only null"].to_numpy() == pytest.approx(0.105 * 500, rel=0.2)
    assert (wide["true heights: form included"] > 0.9 * wide["form-only null"]).all()
    # waves that are left out leave less
    assert (wide["true heights: waves below 250 nm"] < wide["true heights: sphere removed"]).all()
    assert pairs["x_A_px"].to_numpy() == pytest.approx(1000 / 6, rel=0.3)


def test_a_model_under_test_stands_beside_the_true_heights() -> None:
    class Flat:
        name, digest = "flat", "0"

        def estimate(self, image, window=None):
            x0, y0, x1, y1 = window
            return np.zeros((y1 - y0, x1 - x0), np.float32)

    lengths = SphereSettings(radius_nm=300, pixel_nm=8.0)
    pairs = roughness_pairs([8.0], Session(depth=Flat()), np.random.default_rng(0), lengths)
    assert pairs["method"].str.startswith("flat: ").sum() == 3
    assert pairs["method"].str.startswith("true heights: ").sum() == 3
    assert pairs.loc[pairs["method"].str.startswith("flat"), "estimate_nm"].isna().any()
    with pytest.raises(DataError, match="pixel_nm"):
        SphereSettings(pixel_nm=0)
    assert isinstance(pairs, pd.DataFrame)


def test_indices_of_markdown_stay_whole_on_the_page(tmp_path: Path) -> None:
    """nbconvert closes every tag it looks into for images: Q_3 became an empty index and a 3."""
    import nbformat

    text = "# The Q<sub>3</sub> sum\n\nQ<sub>0</sub> counts, x<sup>3</sup> *weighs* <b>more</b>."
    book = nbformat.v4.new_notebook(cells=[nbformat.v4.new_markdown_cell(text)])
    book.cells.append(nbformat.v4.new_code_cell("1"))
    book.cells[1].outputs = [nbformat.v4.new_output("display_data", {"text/markdown": text})]
    nbformat.write(book, tmp_path / "a.ipynb")
    page = write_html(tmp_path / "a.ipynb").read_text(encoding="utf-8")
    assert page.count("Q<sub>0</sub> counts, x<sup>3</sup> <em>weighs</em> <b>more</b>.") == 2
    assert page.count("Q<sub>3</sub> sum") >= 2
    assert "\ue000" not in page
    assert "%EE%80%80" not in page
