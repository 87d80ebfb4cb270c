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
TABLE = pnb.measure(MASKS, SCALE)
FILTERS = lambda: pnb.PhaseClassifier(  # noqa: E731
    features="filters", settings=pnb.PhaseSettings(trees=3)
)
WRONG = (None, 3, "text", [], {}, np.zeros((0, 3)), object())

#: public name -> calls that must be refused


def fitted() -> pnb.ShapeClassifier:
    return pnb.ShapeClassifier(novelty=0).fit(np.eye(4), ["a", "a", "b", "b"])


BAD = {
    "Annotator": [
        lambda: pnb.Annotator(SESSION, None),
        lambda: pnb.Annotator(SESSION, "a.tif"),
        lambda: pnb.Annotator(SESSION, IMAGE, "masks"),
        lambda: pnb.Annotator("session", IMAGE),
    ],
    "BackgroundTune": [
        lambda: pnb.BackgroundTune("session", [(IMAGE, MASKS)]),
        lambda: pnb.BackgroundTune(SESSION, []),
        lambda: pnb.BackgroundTune(SESSION, [(IMAGE, MASKS)], NAN),
        lambda: pnb.BackgroundTune(SESSION, [(IMAGE, MASKS)], watch=3),
        lambda: pnb.BackgroundTune(SESSION, [(IMAGE, MASKS)], settings={}),
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
    "Gallery": [
        lambda: pnb.Gallery("session", "."),
        lambda: pnb.Gallery(SESSION, "no-such-folder"),
        lambda: pnb.Gallery(SESSION, []),
        lambda: pnb.Gallery(SESSION, 3),
        lambda: pnb.Gallery(SESSION, ["a.png"], pixel_size="wide"),
    ],
    "Image": [
        lambda: pnb.Image(np.full((5, 5), NAN)),
        lambda: pnb.Image([]),
        lambda: pnb.Image("a.tif"),
        lambda: pnb.Image(np.zeros((5, 5)), "0.31 um"),
        lambda: pnb.Image(np.zeros((5, 5)), info=3),
        lambda: pnb.Image(np.zeros((5, 5)), region=np.ones((5, 5), bool)),
        lambda: pnb.Image(np.zeros((5, 5)), region=pnb.RegionOfInterest((4, 4))),
        lambda: IMAGE.replace(pixels=None),
        lambda: IMAGE.replace(calibration="0.31 um"),
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
    "ScaleBar": [
        lambda: pnb.ScaleBar(None, value=200.0, unit="nm"),
        lambda: pnb.ScaleBar((1.0, 1.0, 1.0, 1.0)),
        lambda: pnb.ScaleBar((NAN, 1.0, 2.0, 1.0)),
        lambda: pnb.ScaleBar(None).calibration("200 nm"),
        lambda: pnb.ScaleBar((0.0, 0.0, 9.0, 0.0)).calibration(),
        lambda: pnb.ScaleBar((0.0, 0.0, 9.0, 0.0)).calibration("two hundred"),
    ],
    "RegionOfInterest": [
        lambda: pnb.RegionOfInterest(None),
        lambda: pnb.RegionOfInterest((0, 5)),
        lambda: pnb.RegionOfInterest((5, 5), "all"),
        lambda: pnb.RegionOfInterest((5, 5), 3),
        lambda: pnb.RegionOfInterest((5, 5), (pnb.RegionPart.box(0, 0, 9, 9, False),)),
    ],
    "RegionPart": [
        lambda: pnb.RegionPart([]),
        lambda: pnb.RegionPart("corners"),
        lambda: pnb.RegionPart(((0, 0), (1, NAN), (1, 1))),
        lambda: pnb.RegionPart(((0, 0), (1e300, 0), (1, 1))),
        lambda: pnb.RegionPart(((0, 0), (1, 0), (1, 1)), None),
        lambda: pnb.RegionPart.box(0, 0, "a", 1),
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
        lambda: SESSION.tune([(IMAGE, MASKS)]),
        lambda: SESSION.tune(None),
        lambda: SESSION.tune([(IMAGE, LABELS[:5])]),
        lambda: SESSION.tune("missing.pnb"),
        lambda: SESSION.tune([(IMAGE, MASKS)], NAN),
        lambda: SESSION.tune([(IMAGE, MASKS)], stop=True),
        lambda: SESSION.tune([(IMAGE, MASKS)], settings={"steps": 3}),
        lambda: SESSION.use(3),
        lambda: SESSION.use("missing.safetensors"),
    ],
    "SizeDistribution": [
        lambda: pnb.SizeDistribution([], []),
        lambda: pnb.SizeDistribution([NAN], [1]),
        lambda: pnb.SizeDistribution("x", [1]),
    ],
    "Tuned": [],  # a plain value that `Session.tune` makes
    "TuneSettings": [
        lambda: pnb.TuneSettings(steps=0),
        lambda: pnb.TuneSettings(held_out=NAN),
        lambda: pnb.TuneSettings(rate="fast"),
        lambda: pnb.TuneSettings(side=100),
        lambda: pnb.TuneSettings(crops=1.5),
        lambda: pnb.TuneSettings(everywhere="no"),
    ],
    "Unet": [],  # a plain value that `train_unet` makes
    "UnetSettings": [
        lambda: pnb.UnetSettings(steps=0),
        lambda: pnb.UnetSettings(widths=(7, 9)),
        lambda: pnb.UnetSettings(widths="wide"),
        lambda: pnb.UnetSettings(patch=100),
        lambda: pnb.UnetSettings(sigma=NAN),
    ],
    "train_unet": [
        lambda: pnb.train_unet([IMAGE], [], progress=False),
        lambda: pnb.train_unet(None, [MASKS], progress=False),
        lambda: pnb.train_unet([IMAGE], [MASKS], "heavy", progress=False),
        lambda: pnb.train_unet([IMAGE], [LABELS[:5]], progress=False),
        lambda: pnb.train_unet([IMAGE], [np.zeros_like(LABELS)], progress=False),
        lambda: pnb.train_unet([IMAGE], [MASKS], settings={"steps": 3}, progress=False),
        lambda: pnb.train_unet([IMAGE], [MASKS], stop=3, progress=False),
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
    "Comparison": [lambda: pnb.write_comparison("comparison", "never")],
    "compare": [
        *[lambda bad=bad: pnb.compare(bad) for bad in WRONG],
        lambda: pnb.compare({"a": TABLE}),
        lambda: pnb.compare({"a": TABLE, "b": "table"}),
        lambda: pnb.compare({"a": TABLE, "b": TABLE.iloc[:0]}),
        lambda: pnb.compare({1: TABLE, 2: TABLE}),
        lambda: pnb.compare({"a": TABLE, "b": TABLE}, size="x_Z"),
        lambda: pnb.compare({"a": TABLE, "b": TABLE}, level=NAN),
        lambda: pnb.compare({"a": TABLE, "b": TABLE}, rng="dice"),
        lambda: pnb.compare({"a": TABLE, "b": pnb.measure(MASKS)}),
    ],
    "compare_batches": [
        lambda: pnb.compare_batches(None),
        lambda: pnb.compare_batches({"a": "no-such-folder", "b": "no-such-folder"}),
        lambda: pnb.compare_batches({}),
    ],
    "write_comparison": [
        lambda: pnb.write_comparison(None, "never"),
        lambda: pnb.write_comparison(TABLE, "never"),
    ],
    "contour_roughness": [
        lambda: pnb.contour_roughness(None, SCALE),
        lambda: pnb.contour_roughness(MASKS, 5),
        lambda: pnb.contour_roughness(MASKS, "5 nm"),
        lambda: pnb.contour_roughness(MASKS, SCALE, "ball"),
    ],
    "TrainingSetSettings": [
        lambda: pnb.TrainingSetSettings(shape=3),
        lambda: pnb.TrainingSetSettings(shape=(8, 8)),
        lambda: pnb.TrainingSetSettings(shape=(NAN, 64)),
        lambda: pnb.TrainingSetSettings(kinds=3),
        lambda: pnb.TrainingSetSettings(kinds=("scene",)),
        lambda: pnb.TrainingSetSettings(composites=2),
        lambda: pnb.TrainingSetSettings(seed=0.5),
    ],
    "training_set": [
        lambda: pnb.training_set("settings", 1, "set"),
        lambda: pnb.training_set(None, 0, "set"),
        lambda: pnb.training_set(None, 1.5, "set"),
        lambda: pnb.training_set(None, NAN, "set"),
        lambda: pnb.training_set(None, 10**9, "set"),
        lambda: pnb.training_set(None, 1, None),
        lambda: pnb.training_set(None, 1, ""),
        lambda: pnb.training_set(None, 1, b"set"),
        lambda: pnb.training_set(None, 1, "set", workers=0),
        lambda: pnb.training_set(None, 1, "set", progress=3),
    ],
    "reconstruct": [
        *[lambda w=w: pnb.reconstruct(w) for w in WRONG],
        lambda: pnb.reconstruct(np.zeros((8, 8), int)),
        lambda: pnb.reconstruct(np.zeros((20, 20, 20), int)),
        lambda: pnb.reconstruct({"z": LABELS}),
        lambda: pnb.reconstruct({"z": LABELS, "w": LABELS}),
        lambda: pnb.reconstruct(LABELS, (8, 8)),
        lambda: pnb.reconstruct(LABELS, (8, 8, 10**9)),
        lambda: pnb.reconstruct(LABELS, (8, 8, NAN)),
        lambda: pnb.reconstruct(LABELS, settings=3),
        lambda: pnb.reconstruct(LABELS, progress="bar"),
        lambda: pnb.reconstruct(LABELS, colour=1),
        lambda: pnb.reconstruct(LABELS, minutes=NAN),
    ],
    "ReconstructSettings": [
        lambda: pnb.ReconstructSettings(method="magic"),
        lambda: pnb.ReconstructSettings(network=None),
        lambda: pnb.ReconstructSettings(sweeps=0.5),
        lambda: pnb.ReconstructSettings(seed=-1),
        lambda: pnb.ReconstructSettings(minutes="long"),
    ],
    "super_resolve": [
        *[lambda w=w: pnb.super_resolve(w, LABELS) for w in WRONG],
        *[lambda w=w: pnb.super_resolve(np.ones((4, 4, 4), int), w) for w in WRONG],
        lambda: pnb.super_resolve(np.ones((4, 4, 4), int), LABELS, 1),
        lambda: pnb.super_resolve(np.ones((4, 4, 4), int), LABELS, NAN),
        lambda: pnb.super_resolve(np.full((4, 4, 4), 9), LABELS),
        lambda: pnb.super_resolve(np.full((3, 4, 4, 4), 0.9), LABELS),
        lambda: pnb.super_resolve(np.full((3, 4, 4, 4), NAN), LABELS),
        lambda: pnb.super_resolve(np.full((4, 4, 4), 0.5), LABELS),
        lambda: pnb.super_resolve(np.ones((4, 4, 4), int), LABELS, groups={1: 5}),
        lambda: pnb.super_resolve(np.ones((4, 4, 4), int), LABELS, method="network"),
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
    "find_scale_bar": [
        *[lambda bad=bad: pnb.find_scale_bar(bad) for bad in WRONG],
        lambda: pnb.find_scale_bar(np.full((50, 50), NAN)),
        lambda: pnb.find_scale_bar("no-such-file.png"),
    ],
    "methods_text": [
        *[lambda bad=bad: pnb.methods_text(bad) for bad in WRONG],
        lambda: pnb.methods_text(TABLE, audit=TABLE),
        lambda: pnb.methods_text([TABLE, 3]),
        lambda: pnb.methods_text([]),
        lambda: pnb.methods_text(TABLE, distribution="q3"),
        lambda: pnb.methods_text(TABLE, session="embedded"),
        lambda: pnb.methods_text(TABLE, corrected=3),
        lambda: exports.write_workbook("never.xlsx", None),
        lambda: exports.write_workbook("never.xlsx", TABLE, figures={"a": 3}),
        lambda: exports.write_workbook("never.xlsx", TABLE, figures={"a": b"no picture"}),
        lambda: exports.write_workbook("never.xlsx", TABLE, settings="strict"),
        lambda: exports.write_workbook("never.xlsx", TABLE, methods=3),
        lambda: exports.napari_layers(None),
        lambda: exports.napari_layers(IMAGE, LABELS),
        lambda: exports.napari_layers(IMAGE, MASKS, TABLE.iloc[:1]),
        lambda: exports.napari_layers(IMAGE, None, TABLE),
        lambda: pnb.figures.write_slide(None, "never.png"),
    ],
    "measure": [
        lambda: pnb.measure(MASKS, SCALE, pnb.FilterSettings()),
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
    "SegmentationErrors": [
        lambda: pnb.SegmentationErrors([1, 2], [[1]], [[2]], [[0]], [1, 1], [1, 1]),
        lambda: pnb.SegmentationErrors("wide", [], [], [], [], []),
        lambda: pnb.SegmentationErrors([2, 1], [[1]] * 2, [[1]] * 2, [[0]] * 2, [1, 1], [1, 1]),
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
    "class_fractions": [
        lambda: pnb.class_fractions("classes", np.eye(4)),
        lambda: pnb.class_fractions(pnb.ShapeClassifier(), np.eye(4)),
        lambda: pnb.class_fractions(fitted(), np.eye(4), [1, 2]),
        lambda: pnb.class_fractions(fitted(), np.eye(4), [1, 2, 3, -4]),
        lambda: pnb.class_fractions(fitted(), np.eye(4), level=2),
        lambda: pnb.class_fractions(fitted(), np.eye(4), rng="dice"),
    ],
    "class_sizes": [
        lambda: pnb.class_sizes(None, None),
        lambda: pnb.class_sizes(pd.DataFrame({"x_A_px": [1.0]}), pd.DataFrame({"class": ["a"]})),
        lambda: pnb.class_sizes(pd.DataFrame(), fitted().predict(np.eye(4))),
    ],
    "cover_bias": [
        lambda: pnb.cover_bias("scene"),
        lambda: pnb.cover_bias(pnb.synthetic.SceneSettings(), scenes=0),
        lambda: pnb.cover_bias(pnb.synthetic.SceneSettings(), hidden=NAN),
        lambda: pnb.cover_bias(pnb.synthetic.SceneSettings(shape=(64, 64), count=1), scenes=1),
    ],
    "exclude_classes": [
        lambda: pnb.exclude_classes(None, ["a"]),
        lambda: pnb.exclude_classes(pd.DataFrame({"x_A_px": [1.0]}), ["a", "b"]),
        lambda: pnb.exclude_classes(pd.DataFrame({"x_A_px": [1.0]}), 3),
        lambda: pnb.exclude_classes(pd.DataFrame({"x_A_px": [1.0]}), ["a"], 3),
        lambda: pnb.exclude_classes(pd.DataFrame({"x_A_px": [1.0]}), ["a"], correction="some"),
    ],
    "neighbour_features": [
        lambda: pnb.neighbour_features(None, MASKS),
        lambda: pnb.neighbour_features(IMAGE, None),
        lambda: pnb.neighbour_features(IMAGE, MASKS, "features"),
    ],
    "particle_structure": [
        lambda: pnb.particle_structure("masks"),
        lambda: pnb.particle_structure(MASKS, "image"),
        lambda: pnb.particle_structure(MASKS, pnb.Image(np.zeros((7, 9), np.uint8))),
        lambda: pnb.particle_structure(MASKS, unit="nm"),
        lambda: pnb.particle_structure(MASKS, calibration="0.31 um"),
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
        lambda: pnb.figures.compare(None),
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
