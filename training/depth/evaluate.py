"""Score the embedded depth model against true heights on spheres it was never trained on.

    python -m training.depth.evaluate --out depth_report.json

Spheres of R = 1000 nm and true Sq 5 to 60 nm, 300 to 360 px across, correlation lengths 30 to
150 nm, other seeds than the training's. Besides views like those of the training there are views
whose yield law, detector side, noise or blur was kept out of it (`depth_imaging.HELD`), all of
these at once, and views beyond every trained range. Every particle is judged in ISO mode
(form="sphere"), by the main paper's formula (form="none"), by its smooth form alone, and by the
contrast of its grey values without any model.
"""

from __future__ import annotations

import argparse
import json
import logging
import math
import time
from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from scipy import ndimage

from particle_nb.core.errors import DataError
from particle_nb.core.image import Calibration, Image
from particle_nb.core.masks import Mask
from particle_nb.core.surface import DepthMap, point_cloud, roughness, smooth_form_null
from particle_nb.models.embedded.depth import EmbeddedDepth, load
from training.depth.bar import (
    RADIUS_NM,
    BarSettings,
    Specimen,
    estimated_sq,
    make_bodies,
    make_sphere,
    make_spheres,
    rank_correlation,
)
from training.depth.data import HELD_CORRELATION
from training.depth.imaging import BEYOND, FAMILIES, HELD
from training.depth.losses import clipped_share

log = logging.getLogger("training.depth.evaluate")

SEED = 90210

#: Families of views that the bar is about: one group of settings, or all, kept out of training.
BAR_FAMILIES = ("yield", "side", "noise", "blur", "all")

MODES = ("iso", "paper", "null", "contrast", "oracle")

#: Share of black or white pixels above which `roughness_table` flags a particle as saturated.
FLAGGED = 0.05

#: Wavelengths in nm between which the spectra are compared.
WAVELENGTHS = (60.0, 90.0, 130.0, 190.0, 280.0, 420.0, 650.0)


def as_image(specimen: Specimen) -> Image:
    """The specimen's picture as an 8-bit image with its calibration."""
    grey = np.clip(np.rint(specimen.grey), 0, 255).astype(np.uint8)
    return Image(grey, Calibration(specimen.pixel_nm, "nm"), "specimen")


def contrast(specimen: Specimen) -> float:
    """Spread of the band-passed grey values over that of all, on the inner part of a particle."""
    fine = ndimage.gaussian_filter(specimen.grey, 1.5) - ndimage.gaussian_filter(specimen.grey, 6.0)
    distance = ndimage.distance_transform_edt(specimen.mask)
    inner = distance > 0.25 * distance.max()
    return float(fine[inner].std() / max(float(specimen.grey[specimen.mask].std()), 1e-6))


def null_rq(specimen: Specimen) -> float:
    """Rq of the main paper's formula for a smooth particle of the same outline, nm."""
    cloud = point_cloud(
        DepthMap(specimen.height),
        Mask.from_full(specimen.mask),
        Calibration(specimen.pixel_nm, "nm"),
    )
    return smooth_form_null(cloud.height, 40).Rq


def judge(model: EmbeddedDepth, specimens: Sequence[Specimen]) -> tuple[pd.DataFrame, list[Any]]:
    """One row a sphere with every mode's number, and the model's heights."""
    rows, maps = [], []
    for specimen in specimens:
        heights = model.estimate(as_image(specimen))
        maps.append(heights)
        rows.append(
            {
                "family": specimen.family,
                "clipped": clipped_share(np.rint(specimen.grey), specimen.mask),
                "sq_nm": specimen.sq_nm,
                "correlation_nm": specimen.correlation_nm,
                "iso": estimated_sq(heights, specimen, "sphere"),
                "iso_l500": estimated_sq(heights, specimen, "sphere", 500.0),
                "paper": estimated_sq(heights, specimen, "none"),
                "null": null_rq(specimen),
                "contrast": contrast(specimen),
                "oracle": estimated_sq(specimen.height, specimen, "sphere"),
            }
        )
    return pd.DataFrame(rows), maps


def summary(table: pd.DataFrame, modes: Sequence[str] = MODES) -> dict[str, Any]:
    """Rank correlation of every mode, and the ratio of estimated to true Sq in ISO mode."""
    found: dict[str, Any] = {"n": len(table)}
    for mode in modes:
        found[f"spearman_{mode}"] = round(rank_correlation(table["sq_nm"], table[mode]), 3)
    ratio = (table["iso"] / table["sq_nm"]).to_numpy()
    low, middle, high = np.nanpercentile(ratio, (10, 50, 90))
    found |= {
        "ratio_10": round(float(low), 3),
        "ratio_median": round(float(middle), 3),
        "ratio_90": round(float(high), 3),
        "failed": int(np.isnan(ratio).sum()),
    }
    return found


def interval(table: pd.DataFrame, mode: str, seed: int = 0) -> tuple[float, float]:
    """Bootstrap interval (2.5 to 97.5 %) of a mode's rank correlation over particles."""
    rng = np.random.default_rng(seed)
    truth, found = table["sq_nm"].to_numpy(), table[mode].to_numpy()
    draws = rng.integers(0, len(table), (1000, len(table)))
    values = [rank_correlation(truth[pick], found[pick]) for pick in draws]
    low, high = np.percentile(values, (2.5, 97.5))
    return round(float(low), 3), round(float(high), 3)


def other_radii(table: pd.DataFrame, seed: int) -> dict[str, float]:
    """Rank correlations if every sphere had a radius of its own, 700 to 1300 nm.

    A picture has no scale: with another pixel size the same one shows a smaller or larger sphere,
    and every length goes along. At one radius the null reads the roughness off the outline, which
    it widens; with radii of their own the particles give that away no longer.
    """
    factor = np.random.default_rng([seed, 5]).uniform(0.7, 1.3, len(table))
    truth = table["sq_nm"].to_numpy() * factor
    return {
        f"spearman_{mode}": round(rank_correlation(truth, table[mode].to_numpy() * factor), 3)
        for mode in ("iso", "paper", "null", "oracle")
    }


def floor(model: EmbeddedDepth, settings: BarSettings, each: int, seed: int) -> dict[str, float]:
    """What smooth spheres of R = 1000 nm seem to have as Sq, nm, over all families of views."""
    found = []
    for number, family in enumerate(FAMILIES):
        rng = np.random.default_rng([seed, 77, number])
        for _ in range(each):
            specimen = make_sphere(settings, family, 0.0, rng)
            found.append(estimated_sq(model.estimate(as_image(specimen)), specimen))
    median, high = np.nanpercentile(found, (50, 90))
    return {
        "n": len(found),
        "median_nm": round(float(median), 2),
        "percentile_90_nm": round(float(high), 2),
        "share_of_radius": round(float(high) / RADIUS_NM, 5),
    }


def _residual(heights: np.ndarray, specimen: Specimen) -> np.ndarray:
    """Heights in nm of the square within the particle's middle, a fourth-degree surface off."""
    rows, cols = np.nonzero(specimen.mask)
    r, c = round(float(rows.mean())), round(float(cols.mean()))
    half = int(0.45 * RADIUS_NM / specimen.pixel_nm)
    z = heights[r - half : r + half, c - half : c + half].astype(np.float64) * specimen.pixel_nm
    v, u = np.mgrid[-1 : 1 : 1j * z.shape[0], -1 : 1 : 1j * z.shape[1]]
    system = np.stack([(u**i * v ** (k - i)).ravel() for k in range(5) for i in range(k + 1)], 1)
    return z - (system @ np.linalg.lstsq(system, z.ravel(), rcond=None)[0]).reshape(z.shape)


def spectrum(specimens: Sequence[Specimen], maps: Sequence[np.ndarray]) -> list[dict[str, float]]:
    """Amplitude of the model's roughness over the true one, and their coherence, by wavelength."""
    sums = np.zeros((len(WAVELENGTHS) - 1, 3))
    for specimen, heights in zip(specimens, maps, strict=True):
        true, seen = _residual(specimen.height, specimen), _residual(heights, specimen)
        window = np.outer(np.hanning(true.shape[0]), np.hanning(true.shape[1]))
        a, b = np.fft.rfft2(true * window), np.fft.rfft2(seen * window)
        fy = np.fft.fftfreq(true.shape[0], specimen.pixel_nm)[:, None]
        fx = np.fft.rfftfreq(true.shape[1], specimen.pixel_nm)[None]
        wavelength = 1 / np.maximum(np.hypot(fy, fx), 1e-9)
        # Every particle counts alike, whatever its roughness.
        scale = 1 / float((np.abs(a) ** 2).sum())
        for band, (low, high) in enumerate(pairwise(WAVELENGTHS)):
            inside = (wavelength >= low) & (wavelength < high)
            sums[band] += scale * np.array(
                [
                    (np.abs(a[inside]) ** 2).sum(),
                    (np.abs(b[inside]) ** 2).sum(),
                    (a[inside] * b[inside].conj()).sum().real,
                ]
            )
    bands = pairwise(WAVELENGTHS)
    return [
        {
            "from_nm": low,
            "to_nm": high,
            "amplitude_ratio": round(math.sqrt(seen / true), 3),
            "correlation": round(cross / math.sqrt(seen * true), 3),
            "share_of_true_power": round(true / float(sums[:, 0].sum()), 3),
        }
        for (low, high), (true, seen, cross) in zip(bands, sums, strict=True)
    ]


def other_shapes(
    model: EmbeddedDepth, settings: BarSettings, each: int, seed: int
) -> dict[str, dict[str, Any]]:
    """Ellipsoids (form and half thickness known) and faceted particles: reported, no bar."""
    found: dict[str, dict[str, Any]] = {}
    plans: tuple[tuple[str, str, float | None, bool], ...] = (
        ("ellipsoid", "ellipsoid", None, True),
        ("polyhedron", "polynomial-4", 400.0, False),
    )
    for number, (shape, form, cut, known) in enumerate(plans):
        rows = []
        bodies = make_bodies(shape, settings, ("training", "all"), each, seed + number)
        for specimen, half in bodies:
            seen = _sq(model.estimate(as_image(specimen)), specimen, half, form, cut, known)
            true = _sq(specimen.height, specimen, half, form, cut, known)
            rows.append(
                {"sq_nm": specimen.sq_nm, "iso": seen, "oracle": true, "family": specimen.family}
            )
        table = pd.DataFrame(rows)
        scores = summary(table, ("iso", "oracle"))
        scores |= {"form": form, "l_filter_nm": cut, "known_height": known}
        found[shape] = scores | {"rows": _plain(table)}
    return found


def _sq(
    heights: np.ndarray, specimen: Specimen, half: float, form: str, cut: float | None, known: bool
) -> float:
    try:
        cloud = point_cloud(
            DepthMap(heights),
            Mask.from_full(specimen.mask),
            Calibration(specimen.pixel_nm, "nm"),
            height=half if known else "hemisphere",
        )
        return float(roughness(cloud, form, l_filter=cut).Sq)
    except DataError:
        return math.nan


def seconds(work: Callable[[], Any], repeats: int = 3) -> float:
    """CPU seconds of one call after a first one."""
    work()
    begin = time.process_time()
    for _ in range(repeats):
        work()
    return round((time.process_time() - begin) / repeats, 3)


def _plain(table: pd.DataFrame) -> list[dict[str, Any]]:
    return json.loads(table.round(3).to_json(orient="records"))


def report(model: EmbeddedDepth, each: int, seed: int = SEED) -> dict[str, Any]:
    """Everything that the model card says in numbers."""
    settings = BarSettings()
    specimens = make_spheres(settings, FAMILIES, each, seed)
    log.info("%d spheres made", len(specimens))
    table, maps = judge(model, specimens)
    low, high = (share * RADIUS_NM for share in HELD_CORRELATION)
    bins = {
        f"below {low:.0f} nm": table["correlation_nm"] < low,
        f"{low:.0f} to {high:.0f} nm (kept out of training)": table["correlation_nm"].between(
            low, high
        ),
        f"above {high:.0f} nm": table["correlation_nm"] > high,
    }
    # The bar is about settings kept out of training; beyond all trained ranges is reported apart.
    held = table["family"].isin(BAR_FAMILIES)
    seen = held & (table["clipped"] <= FLAGGED)
    picture = np.random.default_rng(0).integers(0, 255, (1024, 1024)).astype(np.uint8)
    crop, whole = Image(picture[:288, :288]), Image(picture)
    found = {
        "model": model.name,
        "weights": model.digest,
        "network_side": model.side,
        "seed": seed,
        "held_back": {"views": HELD, "beyond": BEYOND, "correlation_share": HELD_CORRELATION},
        "bar": {
            **summary(table[held]),
            "interval_iso": interval(table[held], "iso"),
            "interval_paper": interval(table[held], "paper"),
        },
        "bar_not_clipped": {**summary(table[seen]), "interval_iso": interval(table[seen], "iso")},
        "bar_other_radii": other_radii(table[held], seed),
        "all_views": summary(table),
        "l_filter_500_nm": round(
            rank_correlation(table["sq_nm"][held], table["iso_l500"][held]), 3
        ),
        "by_family": {str(name): summary(part) for name, part in table.groupby("family")},
        "by_correlation": {n: summary(table[pick]) for n, pick in bins.items() if pick.sum() > 3},
        "smooth_spheres": floor(model, settings, max(each // 4, 2), seed),
        "spectrum": spectrum(specimens, maps),
        "other_shapes": other_shapes(model, settings, each, seed + 1),
        "cpu_seconds": {
            "crop_288": seconds(lambda: model.estimate(crop)),
            "image_1024": seconds(lambda: model.estimate(whole), 1),
            "threads": torch.get_num_threads(),
        },
        "spheres": _plain(table),
    }
    return found


def as_text(found: dict[str, Any]) -> str:
    """The report's main numbers as a table for reading."""
    lines = [
        f"{found['model']} {found['weights']}: Spearman of estimated and true Sq, "
        "and estimated / true in ISO mode",
        f"{'':42}{'n':>4}  ISO   paper null  grey  truth   10%  median 90%",
    ]
    groups = {
        "THE BAR: views kept out of training": found["bar"],
        "of these, not flagged as saturated": found["bar_not_clipped"],
        "all views": found["all_views"],
    }
    groups |= {f"views: {name}": part for name, part in found["by_family"].items()}
    groups |= {f"correlation {name}": part for name, part in found["by_correlation"].items()}
    for name, part in groups.items():
        ranks = "  ".join(f"{part[f'spearman_{mode}']:5.2f}"[:5] for mode in MODES)
        ratios = " ".join(f"{part[f'ratio_{q}']:6.2f}" for q in ("10", "median", "90"))
        lines.append(f"{name:42}{part['n']:>4} {ranks} {ratios}")
    other = "  ".join(
        f"{found['bar_other_radii'].get(f'spearman_{m}', math.nan):5.2f}" for m in MODES
    )
    lines.append(f"{'the bar, radii spread over 700 to 1300 nm':42}{found['bar']['n']:>4} {other}")
    smooth = found["smooth_spheres"]
    lines.append(
        f"smooth spheres of R = 1000 nm: Sq {smooth['median_nm']} nm (median), "
        f"{smooth['percentile_90_nm']} nm (90th percentile of {smooth['n']})"
    )
    for name, part in found["other_shapes"].items():
        lines.append(
            f"{name}, form {part['form']}, L-filter {part['l_filter_nm']}: Spearman "
            f"{part['spearman_iso']} (true heights {part['spearman_oracle']}), "
            f"estimated / true {part['ratio_median']}"
        )
    lines.append("wavelength, nm   amplitude ratio   correlation   share of true power")
    for band in found["spectrum"]:
        lines.append(
            f"{band['from_nm']:5.0f} to {band['to_nm']:<5.0f}  {band['amplitude_ratio']:12.2f}"
            f"{band['correlation']:16.2f}{band['share_of_true_power']:18.2f}"
        )
    return "\n".join(lines)


def main(argv: list[str] | None = None) -> None:
    """Parse the command line, score and write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--out", type=Path, required=True, help="JSON; a .txt lies beside it")
    parser.add_argument("--weights", default="", help="other weights than the package's")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--each", type=int, default=14, help="spheres of every family of views")
    parser.add_argument("--seed", type=int, default=SEED)
    args = parser.parse_args(argv)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    torch.set_num_threads(args.threads)
    found = report(load(args.weights, args.device), args.each, args.seed)
    args.out.write_text(json.dumps(found, indent=1), encoding="utf-8")
    text = as_text(found)
    args.out.with_suffix(".txt").write_text(text + "\n", encoding="utf-8")
    log.info("\n%s", text)


if __name__ == "__main__":
    main()
