"""Classes from a few labels: macro-F1 by labels a class, and what is called unknown.

    python -m benchmarks.classes EMPS [--features embedded] [--draws 20] [--skip-rendered]

EMPS is a folder with `images/` and `labels/` of the micrographs of tests/data/emps_classes.csv; the
rendered part needs no data. Half of the images, drawn anew each time, give the labels; the others
are the test. Without EMPS only the rendered part runs.
"""

from __future__ import annotations

import argparse
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image as Pillow
from sklearn.metrics import f1_score, roc_auc_score

import particle_nb as pnb
from benchmarks.label_agreement import TABLE, agreed
from particle_nb.core.shape import DESCRIPTORS

#: Shapes of the table that are scored: a covered or cut particle has none.
SHAPES = ("sphere", "oval", "rod", "cube", "faceted", "irregular")
RENDERED = ("sphere", "ellipsoid", "cube", "rod", "triangle", "hexagon", "agglomerate", "blob")
LABELS = (5, 10, 50)


def real(folder: Path, session: pnb.Session) -> tuple[pnb.FeatureTable, np.ndarray]:
    """Features and names of the particles that all passes called alike."""
    rows = pd.read_csv(TABLE)
    rows = rows[agreed(rows) & rows["pass_1"].isin(SHAPES)]
    tables, names = [], []
    for image, chosen in rows.groupby("image"):
        pixels = np.array(Pillow.open(folder / "images" / image).convert("L"))
        labels = np.array(Pillow.open(folder / "labels" / image)).astype(int)
        masks = tuple(pnb.Mask.from_full(labels == label) for label in chosen["label"])
        tables.append(session.features(pnb.Image(pixels), pnb.MaskSet(masks, pixels.shape)))
        names += chosen["pass_1"].tolist()
    return pnb.FeatureTable.join(tables), np.array(names)


def rendered(session: pnb.Session, count: int = 24) -> tuple[pnb.FeatureTable, np.ndarray]:
    """Features and names of particles on drawn scenes, none covered or cut by much."""
    make = pnb.synthetic
    populations = tuple(
        make.Population(
            shape,
            sizes=make.Sizes("lognormal", 300, 1.2),
            aspect=(0.3, 0.5) if shape == "rod" else (0.6, 0.9),
        )
        for shape in RENDERED
    )
    tables, names = [], []
    for seed in range(count):
        settings = make.SceneSettings(shape=(700, 700), populations=populations, count=40)
        scene = make.scene(settings, seed)
        truth = scene.truth[: len(scene.masks)]
        kept = np.flatnonzero((truth["covered"] < 0.02) & ~truth["cut"])
        tables.append(session.features(scene.image, scene.masks)[kept])
        names += truth["class"].iloc[kept].tolist()
    return pnb.FeatureTable.join(tables), np.array(names)


def measured(table: pnb.FeatureTable) -> pnb.FeatureTable:
    """The columns of `measure`: ratios of `DESCRIPTORS` and the size."""
    ratios = {name for name, entry in DESCRIPTORS.items() if not entry.dimension}
    places = [i for i, name in enumerate(table.names) if name in ratios or name.startswith("log_")]
    names = tuple(table.names[i] for i in places)
    return pnb.FeatureTable(table.values[:, places], names, images=table.images)


def sides(
    table: pnb.FeatureTable, names: np.ndarray, labels: int, draws: int
) -> Iterator[tuple[dict[int, str], np.ndarray]]:
    """Labels from half of the images, and the rows of the other half."""
    images = np.array(table.images)
    usable = np.isfinite(table.values).all(axis=1)
    for seed in range(draws):
        rng = np.random.default_rng(seed)
        every = rng.permutation(np.unique(images))
        first = np.isin(images, every[: len(every) // 2]) & usable
        chosen = [
            row
            for name in np.unique(names)
            for row in rng.permutation(np.flatnonzero(first & (names == name)))[:labels]
        ]
        yield {int(row): names[row] for row in chosen}, np.flatnonzero(~first & usable)


def macro_f1(table: pnb.FeatureTable, names: np.ndarray, labels: int, draws: int) -> list[float]:
    """Macro-F1 of every draw, nothing called unknown."""
    found = []
    for known, asked in sides(table, names, labels, draws):
        classes = pnb.ShapeClassifier(reject=0, novelty=0).fit(table, known)
        told = classes.classes_[classes.predict_proba(table[asked]).argmax(axis=1)]
        found.append(f1_score(names[asked], told.astype(str), average="macro", zero_division=0))
    return found


def rejection(
    table: pnb.FeatureTable,
    names: np.ndarray,
    labels: int,
    draws: int,
    seen: bool = True,
    **settings: object,
) -> pd.DataFrame:
    """Each shape left out of the labels in turn: how much of it, and of the others, is unknown.

    With `seen` the classifier is fitted on a table that also holds the particles it is asked for,
    without their names; else only on the images that lend labels. AUROC is that of the novelty
    alone.
    """
    rows = []
    for left_out in np.unique(names):
        for known, asked in sides(table, names, labels, draws):
            first = np.arange(len(table)) if seen else np.setdiff1d(np.arange(len(table)), asked)
            few = {
                int(np.searchsorted(first, row)): name
                for row, name in known.items()
                if name != left_out
            }
            classes = pnb.ShapeClassifier(**settings).fit(table[first], few)
            told = classes.predict(table[asked])["class"].to_numpy()
            unknown, new = told == "unknown", names[asked] == left_out
            strange = classes._novelty.scores(
                classes._rows.values, classes._targets, table[asked].values
            )
            right = (told == names[asked])[~new & ~unknown]
            area = roc_auc_score(new, strange)
            rows.append((left_out, unknown[new].mean(), unknown[~new].mean(), area, right.mean()))
    columns = ["left out", "of it unknown", "of the others unknown", "AUROC", "others told right"]
    return pd.DataFrame(rows, columns=columns).groupby("left out").mean()


def report(title: str, table: pnb.FeatureTable, names: np.ndarray, draws: int) -> None:
    """Write the tables of one set."""
    kinds, counts = np.unique(names, return_counts=True)
    images = len(set(table.images))
    print(f"\n{title}: {len(names)} particles, {images} images, {draws} draws")
    print(", ".join(f"{n} {kind}" for kind, n in zip(kinds, counts, strict=True)))
    tag = next(block for block in table.blocks if block)
    sets = {
        "descriptors of measure": measured(table),
        "all our numbers": table.columns(""),
        f"network alone ({table.model})": table.columns(tag),
        "both (the default)": table,
    }
    for name, columns in sets.items():
        told = [macro_f1(columns, names, labels, draws) for labels in LABELS]
        print(f"| {name} | " + " | ".join(f"{np.mean(f):.3f} ({np.std(f):.3f})" for f in told))
    unnamed(table, names, draws)


def unnamed(table: pnb.FeatureTable, names: np.ndarray, draws: int) -> None:
    """Write how much of a shape that no label names is unknown, and of the others."""
    runs = [
        (10, True, {"reject": 0, "novelty": 0.1}),
        (50, True, {"reject": 0, "novelty": 0.1}),
        (10, False, {"reject": 0, "novelty": 0.1}),
        (10, True, {}),
        (10, True, {"reject": "conformal", "alpha": 0.1}),
    ]
    for labels, seen, settings in runs:
        found = rejection(table, names, labels, max(draws // 2, 1), seen, **settings)
        where = "all particles in the table" if seen else "only images that lend labels in it"
        print(f"\nunknown with {settings or 'the defaults'}, {labels} labels a class, {where}")
        print(found.round(3).to_string())
        print("mean", found.mean().round(3).to_dict())


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", nargs="?", type=Path)
    parser.add_argument("--features", default="embedded")
    parser.add_argument("--draws", type=int, default=20)
    parser.add_argument("--skip-rendered", action="store_true")
    given = parser.parse_args(arguments)
    warnings.simplefilter("ignore", UserWarning)
    session = pnb.Session(features=given.features)
    if not given.skip_rendered:
        report("Rendered", *rendered(session), given.draws)
    if given.folder:
        report("EMPS", *real(given.folder, session), given.draws)


if __name__ == "__main__":
    main()
