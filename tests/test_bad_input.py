"""Every public function answers bad input with one of the named errors, in words.

Each is fed with the wrong type, something empty, something huge and NaN, where it takes such.
"""

import inspect

import numpy as np
import pandas as pd
import pytest

import particle_nb as pnb
from particle_nb.core import exports
from particle_nb.core.exports import write_coco, write_geojson

NAN = float("nan")
IMAGE = pnb.Image(np.random.default_rng(0).integers(0, 255, (40, 50)).astype(np.uint8))
LABELS = np.zeros((40, 50), int)
LABELS[5:15, 5:15], LABELS[20:35, 20:40] = 1, 2
MASKS = pnb.MaskSet.from_labels(LABELS)
SCALE = pnb.Calibration(5, "nm")
CLOUD = pnb.PointCloud(np.random.default_rng(0).normal(size=(500, 3)) * 100)
SESSION = pnb.Session("classical")
FILTERS = lambda: pnb.PhaseClassifier(  # noqa: E731
    features="filters", settings=pnb.PhaseSettings(trees=3)
)
WRONG = (None, 3, "text", [], {}, np.zeros((0, 3)), object())

#: public name -> calls that must be refused
BAD = {
    "Annotator": [
        lambda: pnb.Annotator(SESSION, None),
        lambda: pnb.Annotator(SESSION, "a.tif"),
        lambda: pnb.Annotator(SESSION, IMAGE, "masks"),
        lambda: pnb.Annotator("session", IMAGE),
    ],
    "Calibration": [
        lambda: pnb.Calibration(NAN, "um"),
        lambda: pnb.Calibration("", "um"),
        lambda: pnb.Calibration(1e30, "um"),
        lambda: pnb.Calibration(1, None),
    ],
    "DepthMap": [
        lambda: pnb.DepthMap(np.full((5, 5), NAN)),
        lambda: pnb.DepthMap(np.zeros((0, 5))),
        lambda: pnb.DepthMap("depth"),
        lambda: pnb.DepthMap(np.zeros(7)),
    ],
    "FeatureTable": [
        lambda: pnb.FeatureTable("values", ("a",)),
        lambda: pnb.FeatureTable(np.eye(2), ("a",)),
        lambda: pnb.FeatureTable(np.eye(2), 3),
        lambda: pnb.FeatureTable(np.eye(2), ("a", "a")),
        lambda: pnb.FeatureTable(np.eye(2), ("a", "b"), images=("x",)),
        lambda: pnb.FeatureTable(np.eye(2), ("a", "b"))["c"],
        lambda: pnb.FeatureTable.join([]),
        lambda: pnb.FeatureTable.join(None),
    ],
    "FilterSettings": [
        lambda: pnb.FilterSettings(min_area=NAN),
        lambda: pnb.FilterSettings(min_contrast=1e9),
        lambda: pnb.FilterSettings(min_form_factor="round"),
        lambda: pnb.FilterSettings(edge=None),
        lambda: pnb.FilterSettings(min_area=True),
        lambda: pnb.FilterSettings().replace(colour=1),
    ],
    "Image": [
        lambda: pnb.Image(np.full((5, 5), NAN)),
        lambda: pnb.Image([]),
        lambda: pnb.Image("a.tif"),
        lambda: pnb.Image(np.zeros((5, 5)), "0.31 um"),
        lambda: pnb.Image(np.zeros((5, 5)), info=3),
    ],
    "Mask": [
        lambda: pnb.Mask((0, 0), np.zeros((3, 3), bool), (5, 5)),
        lambda: pnb.Mask((0, 0), np.ones((9, 9), bool), (5, 5)),
        lambda: pnb.Mask(None, np.ones((3, 3), bool), (5, 5)),
        lambda: pnb.Mask.from_full(np.ones(4, bool)),
        lambda: pnb.Mask.from_full("mask"),
        lambda: pnb.Mask((0, 0), np.ones((3, 3), bool), (5, 5), grid_px=NAN),
        lambda: MASKS[0].replace(colour="red"),
        lambda: MASKS[0].intersection(LABELS),
        lambda: MASKS[0].iou(None),
    ],
    "MaskSet": [
        lambda: pnb.MaskSet(None),
        lambda: pnb.MaskSet([]),
        lambda: pnb.MaskSet(["mask"]),
        lambda: pnb.MaskSet.from_labels(np.full((5, 5), NAN)),
        lambda: pnb.MaskSet.from_labels(None),
        *[lambda shape=shape: pnb.MaskSet((), shape) for shape in ((0, 0), "ab", 5, (NAN, 3))],
        *[lambda i=i: MASKS[i] for i in (1.5, "a", None, [0.5], [[0, 1]], [True])],
        lambda: MASKS + 3,
        lambda: MASKS + pnb.MaskSet((), (3, 3)),
        lambda: MASKS.iou(LABELS),
        lambda: MASKS.intersections(pnb.MaskSet((), (3, 3))),
    ],
    "PointCloud": [
        lambda: pnb.PointCloud(np.zeros((0, 3))),
        lambda: pnb.PointCloud(np.full((5, 3), NAN)),
        lambda: pnb.PointCloud(np.zeros((5, 2))),
        lambda: pnb.PointCloud("cloud"),
    ],
    "Prompt": [
        lambda: pnb.Prompt(),
        lambda: pnb.Prompt(points=((NAN, 1),)),
        lambda: pnb.Prompt(points=((1e300, 1),)),
        lambda: pnb.Prompt(box="all"),
        lambda: pnb.Prompt(sketch=[[]]),
    ],
    "Session": [
        lambda: pnb.Session(cache_bytes="much"),
        lambda: pnb.Session(device=3),
        lambda: pnb.Session(segmenter="").segmenter,
        lambda: pnb.Session(segmenter=7).segmenter,
        lambda: SESSION.propose(None),
        lambda: SESSION.predict(IMAGE, None),
        lambda: SESSION.encode(IMAGE, (NAN, 0, 1, 1)),
        lambda: SESSION.depth("a.tif"),
        lambda: SESSION.features(IMAGE, []),
    ],
    "SizeDistribution": [
        lambda: pnb.SizeDistribution([], []),
        lambda: pnb.SizeDistribution([NAN], [1]),
        lambda: pnb.SizeDistribution("x", [1]),
    ],
    "PhaseClassifier": [
        lambda: pnb.PhaseClassifier("session"),
        lambda: pnb.PhaseClassifier(features="colours"),
        lambda: pnb.PhaseClassifier(features=[]),
        lambda: pnb.PhaseClassifier(settings={"trees": 3}),
        lambda: pnb.PhaseClassifier(seed=-1),
        lambda: pnb.PhaseClassifier(seed=NAN),
        lambda: FILTERS().fit(None, LABELS),
        lambda: FILTERS().fit("a.tif", LABELS),
        lambda: FILTERS().fit(IMAGE, None),
        lambda: FILTERS().fit(IMAGE, LABELS.astype(float)),
        lambda: FILTERS().fit(IMAGE, LABELS[:5]),
        lambda: FILTERS().fit(IMAGE, LABELS - 7),
        lambda: FILTERS().fit(IMAGE, LABELS * 0),
        lambda: FILTERS().fit(IMAGE, LABELS * 0 - 1),
        lambda: FILTERS().fit(IMAGE, [LABELS, LABELS]),
        lambda: FILTERS().fit(IMAGE, LABELS, names=("a", "a", "b")),
        lambda: FILTERS().fit(IMAGE, LABELS, own=np.zeros((3, 3))),
        lambda: FILTERS().fit(IMAGE, LABELS, own=np.full((40, 50), NAN)),
        lambda: FILTERS().predict(IMAGE),
        lambda: FILTERS().fit(IMAGE, LABELS).predict(np.zeros((40, 50, 2))),
        lambda: FILTERS().fit(IMAGE, LABELS).predict(None),
        lambda: next(FILTERS().fit(IMAGE, LABELS).predict_all(3)),
        lambda: next(FILTERS().fit(IMAGE, LABELS).predict_all(["missing.tif"])),
        lambda: FILTERS().save("never.written"),
        lambda: pnb.PhaseClassifier.load(None),
    ],
    "PhaseMap": [
        lambda: pnb.PhaseMap(None),
        lambda: pnb.PhaseMap("labels"),
        lambda: pnb.PhaseMap(np.full((5, 5), NAN)),
        lambda: pnb.PhaseMap(np.zeros((0, 5), int)),
        lambda: pnb.PhaseMap(np.zeros((2, 2, 2), int)),
        lambda: pnb.PhaseMap(np.full((2, 2), 900)),
        lambda: pnb.PhaseMap(LABELS, np.zeros((3, 3, 3))),
        lambda: pnb.PhaseMap(LABELS, names="abc"),
        lambda: pnb.PhaseMap(LABELS, names=("a", "a", "b")),
        lambda: pnb.PhaseMap(LABELS, calibration="5 nm"),
        lambda: pnb.PhaseMap(LABELS).fractions(interval=NAN),
        lambda: pnb.PhaseMap(LABELS).fractions(interval=95),
        lambda: pnb.PhaseMap(LABELS).mask("pore"),
        lambda: pnb.PhaseMap(LABELS).particles(1, least=0),
        lambda: pnb.PhaseMap(LABELS).save("no-such-folder/a"),
        lambda: pnb.PhaseMap.load(None),
    ],
    "PhasePainter": [
        lambda: pnb.PhasePainter(None, None),
        lambda: pnb.PhasePainter(None, "a.tif"),
        lambda: pnb.PhasePainter("session", IMAGE, autosave=False),
        lambda: pnb.PhasePainter(None, IMAGE, "pore", autosave=False),
        lambda: pnb.PhasePainter(None, IMAGE, ("pore",), autosave=False),
        lambda: pnb.PhasePainter(None, IMAGE, ("a", "a"), autosave=False),
        lambda: pnb.PhasePainter(None, IMAGE, autosave=3),
        lambda: pnb.PhasePainter(None, IMAGE, autosave=False, classifier="forest"),
        lambda: pnb.PhasePainter(None, IMAGE, autosave=False).phases,
        lambda: pnb.PhasePainter(None, IMAGE, autosave=False).stroke("spray", 0, [(1, 1)]),
        lambda: pnb.PhasePainter(None, IMAGE, autosave=False).stroke("brush", 9, [(1, 1)]),
        lambda: pnb.PhasePainter(None, IMAGE, autosave=False).stroke("brush", 0, [(NAN, 1)]),
        lambda: pnb.PhasePainter(None, IMAGE, autosave=False).save(),
    ],
    "PhaseSettings": [
        lambda: pnb.PhaseSettings(trees=0),
        lambda: pnb.PhaseSettings(trees=1.5),
        lambda: pnb.PhaseSettings(smooth=NAN),
        lambda: pnb.PhaseSettings(depth="deep"),
        lambda: pnb.PhaseSettings(balance=None),
    ],
    "cascade": [
        lambda: pnb.cascade(None, IMAGE),
        lambda: pnb.cascade(MASKS, None),
        lambda: pnb.cascade(MASKS, IMAGE, "strict"),
        lambda: pnb.cascade(MASKS, IMAGE, values=pd.DataFrame()),
    ],
    "collect": [lambda: pnb.collect("no-such-folder"), lambda: pnb.collect(None)],
    "contour_roughness": [
        lambda: pnb.contour_roughness(None, SCALE),
        lambda: pnb.contour_roughness(MASKS, 5),
        lambda: pnb.contour_roughness(MASKS, "5 nm"),
        lambda: pnb.contour_roughness(MASKS, SCALE, "ball"),
    ],
    "microstructure": [lambda: pnb.microstructure("abc"), lambda: pnb.microstructure(3)],
    "Volume": [
        lambda: pnb.Volume("abc"),
        lambda: pnb.Volume(np.zeros((2, 2, 2, 2), int)),
        lambda: pnb.Volume(np.full((3, 3, 3), 0.5)),
        lambda: pnb.Volume(np.zeros((0, 3, 3), int)),
        lambda: pnb.Volume(np.zeros((3, 3, 3), int), calibration="1 um"),
    ],
    "mask_values": [lambda: pnb.mask_values(None, IMAGE), lambda: pnb.mask_values(MASKS, 3)],
    "match": [
        lambda: pnb.match(None, MASKS),
        lambda: pnb.match(LABELS, np.full(LABELS.shape, NAN)),
        lambda: pnb.match(LABELS, LABELS[:5]),
        lambda: pnb.match(LABELS, LABELS, threshold=NAN),
    ],
    "measure": [
        lambda: pnb.measure(None),
        lambda: pnb.measure(np.zeros((4, 4))),
        lambda: pnb.measure(MASKS, 0.31),
        lambda: pnb.measure(MASKS, unit="um"),
        lambda: pnb.measure(MASKS, colour=1),
        lambda: pnb.measure(MASKS, settings={"unit": "px"}),
        lambda: pnb.measure(MASKS, descriptors={"flag": lambda region: 1}),
        lambda: pnb.measure(MASKS, grid_px=0),
    ],
    "open_annotation": [
        lambda: pnb.open_annotation("missing.pnb", SESSION),
        lambda: pnb.open_annotation(None, SESSION),
    ],
    "point_cloud": [
        lambda: pnb.point_cloud(None, MASKS[0], SCALE),
        lambda: pnb.point_cloud(pnb.DepthMap(np.ones((40, 50))), None, SCALE),
        lambda: pnb.point_cloud(pnb.DepthMap(np.ones((40, 50))), MASKS[0], None),
        lambda: pnb.point_cloud(pnb.DepthMap(np.ones((4, 5))), MASKS[0], SCALE),
        lambda: pnb.point_cloud(pnb.DepthMap(np.eye(40, 50)), MASKS[0], SCALE, height=NAN),
    ],
    "read_distribution": [
        lambda: pnb.read_distribution("missing.csv"),
        lambda: pnb.read_distribution(None),
    ],
    "read_image": [
        lambda: pnb.read_image("missing.tif"),
        lambda: pnb.read_image(None),
        lambda: pnb.read_image("."),
        lambda: pnb.read_image(""),
        lambda: pnb.read_image(b"a.tif"),
        lambda: pnb.read_image(["a.tif", "b.tif"]),
        lambda: pnb.read_image("https://example.org/a.tif"),
        *[
            lambda size=size: pnb.Calibration.parse(size)
            for size in ("0.31", "0.31 parsec", "0,31 um", "um", "-1 nm", "1/3 um", 0.31, None)
        ],
    ],
    "replay": [
        lambda: pnb.replay("", SESSION, IMAGE),
        lambda: pnb.replay(None, SESSION, IMAGE),
        lambda: pnb.replay("{}", SESSION, IMAGE),
    ],
    "RoughnessSettings": [
        lambda: pnb.RoughnessSettings(None),
        lambda: pnb.RoughnessSettings(3),
        lambda: pnb.RoughnessSettings("sphere", small_px=NAN),
        lambda: pnb.RoughnessSettings("sphere", l_filter=-1),
        lambda: pnb.RoughnessSettings("sphere", height=[]),
        lambda: pnb.RoughnessSettings("sphere", floor=1e999),
    ],
    "particle_depth": [
        lambda: pnb.particle_depth(None, IMAGE, MASKS[0]),
        lambda: pnb.particle_depth(SESSION, IMAGE, MASKS),
        lambda: pnb.particle_depth(SESSION, IMAGE, MASKS[0], NAN),
        lambda: pnb.particle_depth(SESSION, IMAGE, MASKS[0], "wide"),
    ],
    "roughness_table": [
        lambda: pnb.roughness_table(SESSION, IMAGE, MASKS),
        lambda: pnb.roughness_table(SESSION, IMAGE, MASKS, "cube"),
        lambda: pnb.roughness_table(SESSION, IMAGE, MASKS, "sphere"),
        lambda: pnb.roughness_table(None, IMAGE, MASKS, "sphere"),
        lambda: pnb.roughness_table(SESSION, None, MASKS, "sphere"),
        lambda: pnb.roughness_table(SESSION, IMAGE, None, "sphere"),
    ],
    "BatchResult": [],  # a plain value that `batch` makes
    "BatchSettings": [
        lambda: pnb.BatchSettings(unit="mm"),
        lambda: pnb.BatchSettings(segmenter=3),
        lambda: pnb.BatchSettings(threads=0),
    ],
    "batch": [
        lambda: pnb.batch("no-such-folder"),
        lambda: pnb.batch([]),
        lambda: pnb.batch(3),
    ],
    "read_batch": [lambda: pnb.read_batch("no-such-folder")],
    "summarise": [lambda: pnb.summarise(None)],
    "report": [lambda: pnb.report([]), lambda: pnb.report(["missing.tif"])],
    "roughness": [
        lambda: pnb.roughness(CLOUD),
        lambda: pnb.roughness(None, form="sphere"),
        lambda: pnb.roughness(CLOUD, form="cube"),
        lambda: pnb.roughness(CLOUD, form="polynomial", s_filter=NAN),
    ],
    "size_distribution": [
        lambda: pnb.size_distribution(None),
        lambda: pnb.size_distribution([]),
        lambda: pnb.size_distribution([1.0, NAN]),
        lambda: pnb.size_distribution([1.0, -2.0]),
        lambda: pnb.size_distribution(pd.DataFrame({"a": [1]})),
        lambda: pnb.size_distribution([1.0], r=9),
        lambda: pnb.size_distribution(pnb.measure(MASKS), size="x"),
        lambda: pnb.size_distribution([1.0, 2.0, 3.0]).interval(50, rng="dice"),
        lambda: pnb.size_distribution([1.0, 2.0, 3.0]).interval(50, rng=-1),
        lambda: pnb.size_distribution([1.0, 2.0, 3.0]).counts_needed([50, 90]),
        lambda: pnb.size_distribution([1.0]).percentile(NAN),
    ],
    "ShapeClassifier": [
        lambda: pnb.ShapeClassifier().fit("features", {0: "a"}),
        lambda: pnb.ShapeClassifier().fit(np.eye(4), None),
        lambda: pnb.ShapeClassifier().fit(np.full((4, 2), NAN), ["a", "a", "b", "b"]),
        lambda: pnb.ShapeClassifier(reject=NAN).fit(np.eye(4), ["a", "a", "b", "b"]),
        lambda: pnb.ShapeClassifier().fit(np.eye(4), ["a", "a", "b", "b"], [1, 2]),
        lambda: pnb.ShapeClassifier().fit(np.eye(4), ["a", "a", "b", "b"]).predict(np.eye(3)),
        lambda: pnb.ShapeClassifier().predict(np.eye(4)),
        lambda: pnb.ShapeClassifier().save("never.written"),
        lambda: pnb.ShapeClassifier.load(None),
    ],
    "class_geometry": [
        lambda: pnb.class_geometry(MASKS, ["sphere"] * 99),
        lambda: pnb.class_geometry("masks", []),
        lambda: pnb.class_geometry(MASKS, 3),
        lambda: pnb.class_geometry(MASKS, ["sphere"] * len(MASKS), "0.31 um"),
    ],
    "separation": [
        lambda: pnb.separation("features", ["a"]),
        lambda: pnb.separation(np.eye(6), None),
        lambda: pnb.separation(np.eye(6), ["a"] * 6),
        lambda: pnb.separation(np.eye(6), list("aaabbb"), level=2),
        lambda: pnb.separation(np.eye(6), list("aaabbb"), rng="dice"),
        lambda: pnb.separation(np.full((6, 2), NAN), list("aaabbb")),
    ],
    "validate": [
        lambda: pnb.validate("no-such-notebook"),
        lambda: pnb.validate(None),
        lambda: pnb.validate("report", {"colour": 1}),
    ],
    "exports": [
        *[
            lambda write=write: write(MASKS, "never.written", "0.31 um")
            for write in (exports.write_labels, write_coco, write_geojson)
        ],
    ],
    "figures": [
        *[lambda f=f: f(None) for f in (pnb.figures.psd, pnb.figures.rrsb, pnb.figures.shapes)],
        lambda: pnb.figures.funnel(pd.DataFrame()),
        lambda: pnb.figures.overlay(IMAGE, None),
        lambda: pnb.figures.overlay(None, MASKS),
        lambda: pnb.figures.overlay(IMAGE, MASKS, opacity=NAN),
        lambda: pnb.figures.triptych(IMAGE, LABELS),
        lambda: pnb.figures.phases(IMAGE, LABELS),
        lambda: pnb.figures.phases(None, pnb.PhaseMap(LABELS)),
        lambda: pnb.figures.phases(IMAGE, pnb.PhaseMap(LABELS[:5])),
        lambda: pnb.figures.phases(IMAGE, pnb.PhaseMap(LABELS), opacity=NAN),
        lambda: pnb.figures.shapes(pd.DataFrame({"a": [1.0]})),
    ],
}
NAMED = (
    pnb.ImageError,
    pnb.CalibrationError,
    pnb.PromptError,
    pnb.ModelError,
    pnb.DataError,
)


@pytest.mark.parametrize("name", sorted(BAD))
def test_bad_input_gets_a_named_error_that_says_something(name: str) -> None:
    for call in BAD[name]:
        with pytest.raises(NAMED) as caught:
            call()
        assert len(str(caught.value)) > 20, inspect.getsource(call)


def test_every_public_function_is_fed() -> None:
    values = {"DESCRIPTORS", "__version__"}
    modules = {"agreement", "exports", "matching", "synthetic", "volume"}  # fed by their own tests
    for name in pnb.__all__:
        if name in values | modules or name.endswith("Error"):
            continue
        assert name in BAD, f"no bad input is tried on particle_nb.{name}"
