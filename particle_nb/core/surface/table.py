"""Roughness of many particles, one row each, with what makes a row doubtful."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import ndimage

from particle_nb.core.errors import CalibrationError, DataError
from particle_nb.core.image import Calibration, Image
from particle_nb.core.masks import Mask, MaskSet
from particle_nb.core.surface.areal import Roughness, SmoothNull, roughness
from particle_nb.core.surface.cloud import PointCloud, parse_height, point_cloud
from particle_nb.core.surface.depth import DepthMap
from particle_nb.core.surface.forms import parse_form
from particle_nb.core.surface.law import CalibrationLaw
from particle_nb.core.surface.texture import check_cutoff

_NOTHING = (math.nan, math.nan, math.nan, math.nan, math.nan)

_NO_NULL = SmoothNull(*[math.nan] * 7)


@dataclass(frozen=True)
class DepthErrors:
    """How far a depth model's Sq is from the truth, by size and roughness.

    Parameters
    ----------
    rows : tuple of (diameter_px, estimate, rms_error)
        Sq as it comes out on spheres of known roughness, and its root mean square error, both as
        shares of the radius.
    source : str
        How they were measured.

    Raises
    ------
    DataError
        If there is no row, or one holds something else than finite numbers.

    Examples
    --------
    >>> errors = DepthErrors(((40, 0.01, 0.008), (40, 0.02, 0.006), (160, 0.01, 0.002)), "test")
    >>> errors.at(40, 0.02), round(errors.at(80, 0.01), 4)
    (0.008, 0.005)
    """

    rows: tuple[tuple[float, float, float], ...]
    source: str

    def __post_init__(self) -> None:
        rows = np.array(self.rows, float)
        if rows.ndim != 2 or rows.shape[1:] != (3,) or not np.isfinite(rows).all() or not rows.size:
            raise DataError("errors of a depth model are rows of diameter, estimate and error.")

    def at(self, diameter: float, share: float) -> float:
        """Return the standard uncertainty of an Sq, both as shares of the radius.

        Between the diameters straight over their logarithm, beyond them as at the nearest. An
        estimate may come from any of the smoother surfaces that give as much, so that the error
        never falls with it; beyond the roughest it grows in proportion.
        """
        sizes = sorted({row[0] for row in self.rows})
        found = []
        for size in sizes:
            pairs = sorted((row[1], row[2]) for row in self.rows if row[0] == size)
            seen = np.array([one for one, _ in pairs])
            errors = np.maximum.accumulate([error for _, error in pairs])
            beyond = max(share / seen[-1], 1.0) if seen[-1] > 0 else 1.0
            found.append(float(np.interp(share, seen, errors)) * beyond)
        return float(np.interp(math.log(diameter), np.log(sizes), found))


@dataclass(frozen=True)
class RoughnessSettings:
    """How every row of a roughness table is made.

    Parameters
    ----------
    form : str
        As in `roughness`; there is no default.
    height : str or float
        As in `point_cloud`: ``"hemisphere"`` or a known height in nm.
    substrate_percentile : float
        Share of lowest points left out, per cent.
    s_filter, l_filter : float or None
        Cut-offs in nm.
    outliers : str
        ``"spikes"``, ``"far"`` or ``"keep"``.
    small_px : float
        Particles with an equivalent circle diameter below this are flagged.
    covered : float
        Share of the outline under nearer neighbours, or of the area under other masks, above
        which a particle is flagged as covered.
    paper : bool
        Put the main paper's Ra, Rq and PV, which have the particle's form in them, and what a
        perfectly smooth particle gives beside the others. Always so with ``form="none"``.
    floor : float or None
        Sq that the depth model gives for a smooth sphere, as a share of the sphere's radius;
        rows that do not rise above it are flagged. None where it is not known.
    depth_errors : DepthErrors or None
        What the depth model is known to get wrong, counted into the uncertainty of Sq. None where
        it is not known.
    law : CalibrationLaw or None
        From `particle_nb.core.surface.fit_law`, applied to Sq in columns of their own.

    Raises
    ------
    DataError
        If the form is missing or unknown, or a limit is not a positive number.
    CalibrationError
        If the height is unusable; ``"none"`` is, because relative depth has no roughness in nm.

    Examples
    --------
    >>> RoughnessSettings("sphere").substrate_percentile
    40
    """

    form: str
    height: str | float = "hemisphere"
    substrate_percentile: float = 40
    s_filter: float | None = None
    l_filter: float | None = None
    outliers: str = "spikes"
    small_px: float = 100
    covered: float = 0.1
    paper: bool = False
    floor: float | None = None
    law: CalibrationLaw | None = None
    depth_errors: DepthErrors | None = None

    def __post_init__(self) -> None:
        name, _ = parse_form(self.form)
        if self.height != "hemisphere":
            parse_height(self.height)
        if name == "none" and (self.s_filter is not None or self.l_filter is not None):
            raise DataError("the filters work on residuals; they need a form other than 'none'.")
        for name in ("small_px", "covered", "s_filter", "l_filter", "floor"):
            value = getattr(self, name)
            if value is None and name not in ("small_px", "covered"):
                continue
            number = isinstance(value, (int, float, np.number)) and not isinstance(value, bool)
            if not number or not 0 < value < math.inf:
                raise DataError(f"{name} is a positive number, not {value!r}.")
        share = self.substrate_percentile
        if isinstance(share, bool) or not isinstance(share, (int, float)) or not 0 <= share < 100:
            raise DataError(f"substrate_percentile lies in [0, 100), not {share!r}.")
        if self.outliers not in ("spikes", "far", "keep"):
            raise DataError(f"outliers is 'spikes', 'far' or 'keep', not {self.outliers!r}.")
        if not isinstance(self.paper, bool):
            raise DataError(f"paper is True or False, not {self.paper!r}.")
        if self.depth_errors is not None and not isinstance(self.depth_errors, DepthErrors):
            raise DataError(f"depth_errors is a DepthErrors, not {self.depth_errors!r:.60}.")
        if self.law is not None and not isinstance(self.law, CalibrationLaw):
            raise DataError(f"law is a CalibrationLaw, not {type(self.law).__name__}; use fit_law.")


def roughness_table(
    depth: DepthMap | Iterable[DepthMap],
    masks: MaskSet,
    calibration: Calibration | None,
    settings: RoughnessSettings,
    image: Image | None = None,
) -> pd.DataFrame:
    """Return the roughness of every particle, one row each.

    Parameters
    ----------
    depth : DepthMap or iterable of DepthMap
        One map for all, or one a particle (in the order of the masks), each with its window; an
        iterable is asked for one at a time, so that they need not all be there at once.
    masks : MaskSet
    calibration : Calibration or None
        None takes the image's.
    settings : RoughnessSettings
    image : Image or None
        Looked at for saturated grey values, where no model can see a slope.

    Returns
    -------
    DataFrame
        ``particle``, ``x_A_px``, ``form``, ``Sa_nm Sq_nm Sz_nm Ssk Sku``, ``Sq_uncertainty_nm``
        (standard uncertainty: of the finite area, of what the form took along and, where it is
        known, of the depth model), ``Sq_depth_uncertainty_nm`` (the depth model's part of it, NaN
        where it is not known and not in it), ``radius_nm``, ``form_error_nm``, ``cap_angle_deg``,
        ``sampled_area_nm2``, ``n_points``, ``n_rejected``, ``floor_Sq_nm`` (NaN where unknown),
        and ``flags`` as text, empty where nothing speaks against the row. With ``paper`` or
        ``form="none"`` also ``Ra_nm Rq_nm PV_nm null_Ra_nm null_Rq_nm null_PV_nm``; with a law
        ``Sq_calibrated_nm`` and the limits that one reference value lies between,
        ``Sq_calibrated_low_nm`` and ``Sq_calibrated_high_nm``. A particle that cannot be measured
        has NaN and the reason. No masks give an empty table with these columns.
        ``attrs`` holds the settings, the model and the digest of its weights.

    Raises
    ------
    CalibrationError
        If there is no pixel size.
    DataError
        If depth maps, masks and image do not fit together.

    Examples
    --------
    >>> y, x = np.mgrid[-80:81, -80:81]
    >>> dome = np.sqrt(np.maximum(60.3**2 - x**2 - y**2, 0))
    >>> one = MaskSet((Mask.from_full(dome > 0),))
    >>> settings = RoughnessSettings("sphere")
    >>> table = roughness_table(DepthMap(dome), one, Calibration(10, "nm"), settings)
    >>> table["radius_nm"].round(-1).tolist(), table["flags"].tolist()
    ([600.0], [''])
    """
    calibration = check_table(masks, calibration, settings, image)
    overlaps = masks.intersections()
    rows, models, weights = [], set(), set()
    maps = _one_each(depth, len(masks))
    for index, mask in enumerate(masks):
        one = next(maps, None)
        if not isinstance(one, DepthMap):
            what = "the depth maps end there" if one is None else f"a {type(one).__name__} is there"
            raise DataError(f"mask {index} of {len(masks)} has no DepthMap: {what}.")
        models.add(one.model)
        weights.add(one.weights)
        shared = overlaps[[index], :].toarray()[0]
        shared[index] = 0
        flags = _context_flags(mask, shared, settings, image)
        if (share := _under_neighbours(index, masks, one)) > settings.covered:
            flags.append(f"covered: nearer neighbours along {100 * share:.0f} % of the outline")
        row: dict[str, object] = {"particle": index, "x_A_px": math.sqrt(4 * mask.area / math.pi)}
        row |= _measured(one, mask, calibration, settings, flags)
        rows.append(row | {"flags": "; ".join(flags)})
    if next(maps, None) is not None:
        raise DataError(f"more depth maps than the {len(masks)} masks; give one or one each.")
    nothing = Roughness(settings.form, *_NOTHING, 0)
    columns = ["particle", "x_A_px", *_columns_of(nothing, nothing, settings), "flags"]
    table = pd.DataFrame(rows, columns=columns)
    table.attrs |= {
        "form": settings.form,
        "height": str(settings.height),
        "substrate_percentile": settings.substrate_percentile,
        "s_filter_nm": settings.s_filter,
        "l_filter_nm": settings.l_filter,
        "outliers": settings.outliers,
        "floor": settings.floor,
        "Sq_uncertainty": "finite area and form"
        + (
            "; the depth model's own error is not known and not in it"
            if settings.depth_errors is None
            else f" and depth model ({settings.depth_errors.source})"
        ),
        "law": "" if settings.law is None else str(settings.law),
        "model": ", ".join(sorted(models - {""})),
        "weights": ", ".join(sorted(weights - {""})),
    }
    return table


def check_table(
    masks: MaskSet,
    calibration: Calibration | None,
    settings: RoughnessSettings,
    image: Image | None,
) -> Calibration:
    """Return the pixel size that a table is made with, or say what is wrong before the work begins.

    Raises
    ------
    CalibrationError
        If there is no pixel size.
    DataError
        If masks, settings and image do not fit together.

    Examples
    --------
    >>> masks = MaskSet.from_labels(np.eye(4, dtype=int))
    >>> check_table(masks, Calibration(5, "nm"), RoughnessSettings("sphere"), None).to("nm")
    5.0
    """
    if not isinstance(masks, MaskSet):
        raise DataError(f"masks are a MaskSet, not {type(masks).__name__}.")
    if not isinstance(settings, RoughnessSettings):
        raise DataError(
            f"settings are RoughnessSettings, not {type(settings).__name__}; write "
            "RoughnessSettings('sphere')."
        )
    if image is not None:
        if not isinstance(image, Image):
            raise DataError(f"image is an Image, not {type(image).__name__}; use read_image.")
        if image.shape != masks.shape:
            raise DataError(f"masks of {masks.shape} do not fit an image of {image.shape}.")
        calibration = calibration or image.calibration
    if not isinstance(calibration, Calibration):
        raise CalibrationError(
            "roughness in nm needs a pixel size; give the image a Calibration, e.g. "
            "read_image(path, pixel_size='5 nm')."
        )
    for name in ("s_filter", "l_filter"):
        check_cutoff(getattr(settings, name), name, calibration.to("nm"))
    return calibration


def _one_each(depth: DepthMap | Iterable[DepthMap], count: int) -> Iterator[DepthMap]:
    if isinstance(depth, DepthMap):
        return itertools.repeat(depth, count)
    if not isinstance(depth, Iterable):
        raise DataError(f"depth is a DepthMap or one for each mask, not {type(depth).__name__}.")
    return iter(depth)


def _measured(
    depth: DepthMap,
    mask: Mask,
    calibration: Calibration,
    settings: RoughnessSettings,
    flags: list[str],
) -> dict[str, object]:
    """One particle's numbers; what speaks against them, or why there are none, joins `flags`."""
    try:
        cloud = point_cloud(
            depth, mask, calibration, settings.height, settings.substrate_percentile
        )
        found = roughness(
            cloud, settings.form, settings.s_filter, settings.l_filter, settings.outliers
        )
        paper = _paper_roughness(cloud, found, settings)
    except DataError as error:
        flags.append(str(error))
        return {"form": settings.form}
    flags += [flag for flag in found.flags if not flag.startswith("form included")]
    if settings.height == "hemisphere" and cloud.info.get("relief") == "99.8 % range":
        flags.append("no dome: the height is the range of the depth")
    seen = (math.sqrt(mask.area / math.pi), calibration.to("nm"))
    row = _columns_of(found, paper, settings, seen)
    floor = row["floor_Sq_nm"]
    if isinstance(floor, float) and found.Sq <= floor:
        flags.append(f"not above the depth model's floor: a smooth sphere gives {floor:.3g} nm")
    if settings.law is not None and bool(settings.law.extrapolates(found.Sq)):
        law = settings.law
        flags.append(f"outside the law: fitted from {law.valid_from:.3g} to {law.valid_to:.3g} nm")
    return row


def _paper_roughness(
    cloud: PointCloud, found: Roughness, settings: RoughnessSettings
) -> Roughness | None:
    if found.form == "none":
        return found
    return roughness(cloud, "none") if settings.paper else None


def _columns_of(
    found: Roughness,
    paper: Roughness | None,
    settings: RoughnessSettings,
    seen: tuple[float, float] = (math.nan, math.nan),
) -> dict[str, object]:
    """One row; `seen` is the radius of the mask's equal circle in pixels, and the pixel in nm."""
    radius, pixel = seen
    # an ellipsoid's own radius is barely fixed by a rough cap, and shares of it would follow it
    size = radius * pixel if found.form == "ellipsoid" else found.radius
    floor, depth = math.nan if settings.floor is None else settings.floor, math.nan
    if settings.depth_errors is not None and found.Sq > 0 and radius > 0:
        depth = size * settings.depth_errors.at(2 * radius, found.Sq / size)
        # what a smooth sphere of that size seems to have
        floor = np.fmax(floor, settings.depth_errors.at(2 * radius, 0.0))
    row: dict[str, object] = {"form": found.form}
    row |= {f"{name}_nm": getattr(found, name) for name in ("Sa", "Sq", "Sz")}
    row |= {
        "Ssk": found.Ssk,
        "Sku": found.Sku,
        "Sq_uncertainty_nm": math.hypot(found.Sq_uncertainty, depth if depth == depth else 0.0),
        "Sq_depth_uncertainty_nm": depth,
        "radius_nm": found.radius,
        "form_error_nm": found.form_error,
        "cap_angle_deg": found.cap_angle,
        "sampled_area_nm2": found.sampled_area,
        "n_points": found.n_points,
        "n_rejected": found.n_rejected,
        # the floor is one of form removal: the paper's mode has its null instead
        "floor_Sq_nm": float(floor * size),
    }
    if settings.law is not None:
        low, high = settings.law.interval(found.Sq)
        row["Sq_calibrated_nm"] = float(settings.law.apply(found.Sq))
        row |= {"Sq_calibrated_low_nm": float(low), "Sq_calibrated_high_nm": float(high)}
    if settings.paper or found.form == "none":
        paper = paper or found
        null = paper.null or _NO_NULL
        row |= {"Ra_nm": paper.Sa, "Rq_nm": paper.Sq, "PV_nm": paper.Sz}
        row |= {f"null_{name}_nm": getattr(null, name) for name in ("Ra", "Rq", "PV")}
    return row


def _context_flags(
    mask: Mask, shared: np.ndarray, settings: RoughnessSettings, image: Image | None
) -> list[str]:
    """What the mask, its overlaps and its grey values say against a particle."""
    flags = []
    diameter = math.sqrt(4 * mask.area / math.pi)
    if diameter < settings.small_px:
        flags.append(f"small: {diameter:.0f} px across, below {settings.small_px:g}")
    if mask.touches_edge:
        flags.append("cut by the edge of the image")
    most = int(shared.max())
    if most > settings.covered * mask.area:
        flags.append(f"covered: {100 * most / mask.area:.0f} % shared with another mask")
    if image is not None:
        r0, c0, r1, c1 = mask.bbox
        grey, inside = image.grey[r0:r1, c0:c1], mask.crop
        top, low = float(image.grey.max()), float(image.grey.min())
        for level, word in ((top, "white"), (low, "black")):
            share = float(np.mean(grey[inside] == level))
            if top > low and share > 0.05:
                flags.append(f"saturated: {100 * share:.0f} % {word}")
    return flags


def _under_neighbours(index: int, masks: MaskSet, depth: DepthMap) -> float:
    """Share of a particle's outline along which a touching neighbour is nearer than it is."""
    mask = masks[index]
    pad = 3
    (row, col), (h, w) = mask.origin, mask.crop.shape
    inside = np.pad(mask.crop, pad)
    rim = inside & ~ndimage.binary_erosion(inside)
    boxes = masks.boxes
    r0, c0, r1, c1 = mask.bbox
    near = (boxes[:, 0] < r1 + pad) & (boxes[:, 2] > r0 - pad)
    near &= (boxes[:, 1] < c1 + pad) & (boxes[:, 3] > c0 - pad)
    near[index] = False
    window = depth.window or (0, 0, depth.shape[1], depth.shape[0])
    covered = np.zeros_like(inside)
    for other in masks[near]:
        frame = np.zeros_like(inside)
        a, b = other.origin[0] - row + pad, other.origin[1] - col + pad
        top, left = max(a, 0), max(b, 0)
        bottom = min(a + other.crop.shape[0], h + 2 * pad)
        right = min(b + other.crop.shape[1], w + 2 * pad)
        if top >= bottom or left >= right:
            continue
        frame[top:bottom, left:right] = other.crop[top - a : bottom - a, left - b : right - b]
        contact = rim & ndimage.binary_dilation(frame, iterations=pad)
        beyond = frame & ~inside & ndimage.binary_dilation(inside, iterations=pad)
        if contact.any() and beyond.any():
            here = _mean_depth(depth, contact, row - pad, col - pad, window)
            there = _mean_depth(depth, beyond, row - pad, col - pad, window)
            if there > here:
                covered |= contact
    return float(covered.sum()) / float(rim.sum())


def _mean_depth(
    depth: DepthMap, where: np.ndarray, row: int, col: int, window: tuple[int, int, int, int]
) -> float:
    rows, cols = np.nonzero(where)
    rows, cols = rows + row - window[1], cols + col - window[0]
    there = (rows >= 0) & (cols >= 0) & (rows < depth.shape[0]) & (cols < depth.shape[1])
    values = depth.relative[rows[there], cols[there]]
    values = values[np.isfinite(values)]
    return float(values.mean()) if values.size else math.nan
