"""The command ``particle-nb``: thin verbs, each one library call."""

from __future__ import annotations

import argparse
import glob
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from particle_nb.core.errors import DataError, ImageError, ParticleError

#: Which size of its class a row of a reference distribution names.
_EDGES = ("upper", "lower", "centre")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one verb; returns the exit code: 0 done, 1 a report with an error in it, 2 bad input.

    Examples
    --------
    >>> main(["--version"])  # doctest: +SKIP
    particle_nb 0.2.0
    """
    parser = _parser()
    given = parser.parse_args(arguments)
    if given.verb is None:
        parser.print_help()
        return 2
    try:
        return given.run(given)
    except ParticleError as error:
        print(f"particle-nb: {type(error).__name__}: {error}", file=sys.stderr)
        return 2


def _parser() -> argparse.ArgumentParser:
    from particle_nb import __version__

    parser = argparse.ArgumentParser(
        prog="particle-nb",
        description="Particle size, shape and surface roughness from micrographs.",
    )
    parser.add_argument("--version", action="version", version=f"particle_nb {__version__}")
    verbs = parser.add_subparsers(dest="verb", metavar="VERB")

    report = verbs.add_parser("report", help="size-and-shape report of one or more micrographs")
    report.add_argument("images", nargs="+", metavar="IMAGE")
    _report_options(report)
    report.set_defaults(run=_report)

    demo = verbs.add_parser("demo", help="the report on scikit-image's photograph of coins")
    demo.add_argument("images", nargs="*", metavar="IMAGE", help="more images of your own")
    _report_options(demo)
    demo.set_defaults(run=_demo)

    batch = verbs.add_parser("batch", help="many images into one table; can be stopped and resumed")
    batch.add_argument("images", nargs="+", metavar="PATH", help="a folder, or files")
    batch.add_argument("--pixel-size", metavar="'0.31 um'", help="of all images")
    batch.add_argument("--segmenter", default="embedded", help="see `particle-nb models`")
    batch.add_argument("--unit", default="um", choices=("um", "nm", "px"), help="of all lengths")
    batch.add_argument(
        "--classes", metavar="FILE", help="names for the particles, from ShapeClassifier.save"
    )
    batch.add_argument("--workers", type=int, default=1, help="processes (default: 1)")
    batch.add_argument("--cache", metavar="DIR", help="keep embeddings here, for other runs too")
    batch.add_argument("--out", default="batch", help="folder of the results (default: batch)")
    batch.set_defaults(run=_batch)

    compared = verbs.add_parser(
        "compare", help="two or more batches: sizes and shapes, with a test"
    )
    compared.add_argument("batches", nargs="+", metavar="BATCH", help="folders of `batch`")
    compared.add_argument(
        "--names", nargs="+", metavar="NAME", help="instead of the folders' names"
    )
    compared.add_argument("--size", default="x_A", help="which size (default: x_A)")
    compared.add_argument(
        "--r", type=int, default=3, choices=(0, 1, 2, 3), help="0 number, 3 volume (default: 3)"
    )
    compared.add_argument("--out", default="comparison", help="folder of the page")
    compared.set_defaults(run=_compare)

    models = verbs.add_parser("models", help="which models there are, where, how to get others")
    models.set_defaults(run=_models)

    validate = verbs.add_parser("validate", help="run a validation notebook into a report")
    validate.add_argument("name", metavar="NAME", help="e.g. validate_metrology")
    validate.add_argument(
        "-p", nargs=2, action="append", default=[], metavar=("KEY", "VALUE"), dest="parameters"
    )
    validate.add_argument("--out", default="runs", help="folder of all runs (default: runs)")
    validate.set_defaults(run=_validate)

    collect = verbs.add_parser("collect", help="one table and one page over many runs")
    collect.add_argument("folder", nargs="?", default="runs", help="of the runs (default: runs)")
    collect.set_defaults(run=_collect)
    return parser


def _report_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--pixel-size", metavar="'0.31 um'", help="overrides the file's scale")
    parser.add_argument("--segmenter", default="embedded", help="see `particle-nb models`")
    parser.add_argument("--reference", metavar="FILE", help="reference size distribution")
    parser.add_argument(
        "--reference-unit", metavar="UNIT", help="of its sizes, where the file names none"
    )
    parser.add_argument(
        "--reference-r", type=int, choices=(0, 1, 2, 3), help="0 number, 3 volume or mass"
    )
    parser.add_argument(
        "--classes",
        metavar="FILE",
        help="names for the particles, from ShapeClassifier.save; or which size of its class a row "
        "of the reference names: upper, lower, centre",
    )
    parser.add_argument(
        "--columns",
        nargs=2,
        metavar=("SIZE", "VALUE"),
        help="columns of the reference, by heading or by number from 0",
    )
    parser.add_argument(
        "--kind",
        choices=("undersize", "oversize", "share", "density"),
        help="what the values of the reference are",
    )
    parser.add_argument(
        "--decimal", choices=(".", ","), help="decimal sign of the reference, where nothing tells"
    )
    parser.add_argument("--out", help="folder of the report (default: a new one below runs/)")


def _expanded(paths: Sequence[str]) -> list[str]:
    """Paths with wildcards as the files that they match, for shells that leave them alone."""
    found: list[str] = []
    for path in paths:
        if Path(path).exists() or not glob.has_magic(path):
            found.append(path)
            continue
        matched = sorted(glob.glob(path, recursive=True))
        if not matched:
            raise ImageError(f"no file matches {path!r} in {Path.cwd()}; check name and folder.")
        found += [name for name in matched if name not in found]
    return found


def _report(given: argparse.Namespace) -> int:
    from particle_nb.validation.running import report

    reference = str(Path(given.reference).resolve()) if given.reference else None
    edges = given.classes if given.classes in _EDGES else None
    classes = given.classes if edges is None else None
    if classes is not None and not Path(classes).is_file():
        raise DataError(
            f"no file {classes!r} of classes; give one that ShapeClassifier.save wrote (or upper, "
            "lower, centre for the classes of a reference)."
        )
    options = {
        "r": given.reference_r,
        "classes": edges,
        "columns": given.columns,
        "kind": given.kind,
        "decimal": given.decimal,
    }
    run = report(
        _expanded(given.images),
        folder=given.out,
        pixel_size=given.pixel_size,
        segmenter=given.segmenter,
        classes=classes and str(Path(classes).resolve()),
        reference=reference,
        reference_unit=given.reference_unit,
        reference_options={key: value for key, value in options.items() if value is not None},
    )
    return _say(run)


def _demo(given: argparse.Namespace) -> int:
    from skimage import data, io

    folder = Path(given.out or "runs/demo")
    folder.mkdir(parents=True, exist_ok=True)
    coins = folder / "coins.png"
    io.imsave(coins, data.coins(), check_contrast=False)
    given.images = [str(coins), *given.images]
    given.out = str(folder)
    return _report(given)


def _batch(given: argparse.Namespace) -> int:
    from particle_nb.batches import BatchSettings, batch, summarise

    images: str | list[str] = _expanded(given.images)
    # one folder or file goes by its own name; what a wildcard matched is a list
    images = images[0] if given.images == images and len(images) == 1 else images
    settings = BatchSettings(
        pixel_size=given.pixel_size,
        segmenter=given.segmenter,
        unit=given.unit,
        cache_dir=given.cache,
        classes=given.classes,
    )
    result = batch(images, settings, given.out, workers=given.workers)
    for row in result.errors.to_dict("records"):
        print(f"particle-nb: {row['path']}: {row['error']}: {row['message']}", file=sys.stderr)
    counts = result.images["status"].value_counts()
    print("images  " + ", ".join(f"{count} {status}" for status, count in counts.items()))
    if not counts.get("done", 0):
        return 1
    print(f"table   {result.folder / 'particles.parquet'}")
    summary = summarise(result)
    print(f"report  {summary.page}")
    found = summary.variation
    if found is None:
        print("no whole particle was found in any image")
        return 0
    print(f"summary {summary.table} (the most unusual images first)")
    for name, value, low, high in found.pooled.itertuples():
        # NaN below five images, from which no interval can be drawn
        limits = f" ({low:.4g} to {high:.4g})" if low == low else ""
        print(f"{name},3  {value:.4g} {found.unit}{limits}")
    if len(found.images) > 1:
        print(f"between images {found.between_percent:.1f} %")
    if found.outliers:
        print(f"unusual images: {', '.join(found.outliers)}")
    return 0


def _compare(given: argparse.Namespace) -> int:
    from particle_nb.batches import compare_batches

    names = given.names or _short_names(given.batches)
    if len(names) != len(given.batches) or len(set(names)) != len(names):
        raise DataError(
            f"--names takes one name for each of the {len(given.batches)} batches, all different."
        )
    found = compare_batches(
        dict(zip(names, given.batches, strict=True)), given.out, given.size, given.r
    )
    for name, sample in found.samples.iterrows():
        print(f"{name}  {sample['n']:.0f} particles, {sample['images']:.0f} images")
    for row in found.differences.to_dict("records"):
        change = f"{row['difference']:+.4g} {row['unit']}".strip()
        if row["percent"] == row["percent"]:
            change = (
                f"{row['percent']:+.1f} % ({row['percent_low']:+.1f} to {row['percent_high']:+.1f})"
            )
        print(f"{row['sample']} - {row['against']}  {row['quantity']}  {change}, p {row['p']:.3g}")
    for note in found.notes:
        print(f"note    {note}")
    print(f"page    {Path(given.out) / 'comparison.html'}")
    return 0


def _short_names(folders: Sequence[str]) -> list[str]:
    """The folders' own names where they differ, else their paths."""
    names = [Path(folder).resolve().name for folder in folders]
    return names if len(set(names)) == len(names) else list(folders)


def _models(given: argparse.Namespace) -> int:
    from particle_nb.models import describe_models

    for row in describe_models().to_dict("records"):
        here = "here" if row["here"] else "not here"
        print(f"{row['model']}  ({row['kind']}, {row['licence']}): {here}")
        print(f"    {row['about']}")
        print(f"    looked for: {row['where']}")
        if row["get"]:
            print(f"    get it:     {row['get']}")
    return 0


def _validate(given: argparse.Namespace) -> int:
    from particle_nb.validation.running import validate

    run = validate(
        given.name, {key: _value(value) for key, value in given.parameters}, out=given.out
    )
    return _say(run)


def _collect(given: argparse.Namespace) -> int:
    from particle_nb.core.exports import write_csv
    from particle_nb.validation.collection import collect

    table = collect(given.folder)
    folder = Path(given.folder)
    write_csv(table, folder / "runs.csv")
    for row in table.to_dict("records"):
        # missing where results.json is damaged
        if row.get("ok") != True:  # noqa: E712 - may be a numpy bool, or NaN
            print(f"failed  {row['run']}", file=sys.stderr)
    print(f"runs    {len(table)}")
    print(f"page    {folder / 'index.html'}")
    print(f"table   {folder / 'runs.csv'}")
    return 0


def _value(text: str) -> Any:
    """Read a typed parameter: a JSON value where it is one, else the text itself."""
    import json

    try:
        return json.loads(text)
    except ValueError:
        return text


def _say(run: Any) -> int:
    problem = run.results.get("reference_problem")
    if problem:
        print(f"particle-nb: the reference is left out: {problem}", file=sys.stderr)
    if not run.ok:
        print(f"particle-nb: a cell failed: {run.error}", file=sys.stderr)
    print(f"report  {run.html}")
    for title, name in run.results.get("files", {}).items():
        print(f"{title:<7} {run.folder / name}")
    if not run.html.is_file():
        raise DataError(f"the report {run.html} was not written.")
    return 0 if run.ok else 1
