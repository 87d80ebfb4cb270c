"""Roughness of many particles, one row each, with what makes a row doubtful."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import ndimage

from particle_nb.core.errors import DataError
from particle_nb.core.formfit import parse_form
from particle_nb.core.image import Calibration, Image
from particle_nb.core.masks import Mask, MaskSet
from particle_nb.core.roughness import Roughness, roughness
from particle_nb.core.surface import DepthMap, point_cloud

_NOTHING = (math.nan, math.nan, math.nan, math.nan, math.nan)


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

    Raises
    ------
    DataError
        If the form is missing or unknown, or a limit is not a positive number.

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

    def __post_init__(self) -> None:
        parse_form(self.form)
        for name in ("small_px", "covered"):
            value = getattr(self, name)
            if not isinstance(value, (int, float)) or not 0 < value < math.inf:
                raise DataError(f"{name} is a positive number, not {value!r}.")


def roughness_table(
    depth: DepthMap | Sequence[DepthMap],
    masks: MaskSet,
    calibration: Calibration | None,
    settings: RoughnessSettings,
    image: Image | None = None,
) -> pd.DataFrame:
    """Return the roughness of every particle, one row each.

    Parameters
    ----------
    depth : DepthMap or sequence of DepthMap
        One map for all, or one a particle (in the order of the masks), each with its window.
    masks : MaskSet
    calibration : Calibration or None
        None takes the image's.
    settings : RoughnessSettings
    image : Image or None
        Looked at for saturated grey values, where no model can see a slope.

    Returns
    -------
    DataFrame
        ``particle``, ``x_A_px``, ``form``, ``Sa_nm Sq_nm Sz_nm Ssk Sku``, ``radius_nm``,
        ``form_error_nm``, ``cap_angle_deg``, ``sampled_area_nm2``, ``n_points``, ``n_rejected``,
        with ``form="none"`` also ``null_Rq_nm``, and ``flags`` as text, empty where nothing
        speaks against the row. A particle that cannot be measured has NaN and the reason.
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
    if not isinstance(masks, MaskSet):
        raise DataError(f"masks are a MaskSet, not {type(masks).__name__}.")
    maps = [depth] * len(masks) if isinstance(depth, DepthMap) else list(depth)
    if len(maps) != len(masks):
        raise DataError(f"{len(maps)} depth maps for {len(masks)} masks; give one or one each.")
    if image is not None and image.shape != masks.shape:
        raise DataError(f"masks of {masks.shape} do not fit an image of {image.shape}.")
    if calibration is None and image is not None:
        calibration = image.calibration
    rows = []
    overlaps = masks.intersections()
    for index, (mask, one) in enumerate(zip(masks, maps, strict=True)):
        shared = overlaps[[index], :].toarray()[0]
        shared[index] = 0
        flags = _context_flags(mask, shared, settings, image)
        if (share := _under_neighbours(index, masks, one)) > settings.covered:
            flags.append(f"covered: nearer neighbours along {100 * share:.0f} % of the outline")
        row: dict[str, object] = {"particle": index, "x_A_px": math.sqrt(4 * mask.area / math.pi)}
        try:
            cloud = point_cloud(
                one, mask, calibration, settings.height, settings.substrate_percentile
            )
            found = roughness(
                cloud, settings.form, settings.s_filter, settings.l_filter, settings.outliers
            )
        except DataError as error:
            rows.append(row | {"form": settings.form, "flags": "; ".join([*flags, str(error)])})
            continue
        flags += [flag for flag in found.flags if not flag.startswith("form included")]
        if settings.height == "hemisphere" and cloud.info.get("relief") == "99.8 % range":
            flags.append("no dome: the height is the range of the depth")
        rows.append(row | _row(found) | {"flags": "; ".join(flags)})
    columns = ["particle", "x_A_px", *_row(Roughness(settings.form, *_NOTHING, 0)), "flags"]
    table = pd.DataFrame(rows, columns=columns)
    table.attrs |= {
        "form": settings.form,
        "height": str(settings.height),
        "substrate_percentile": settings.substrate_percentile,
        "s_filter_nm": settings.s_filter,
        "l_filter_nm": settings.l_filter,
        "model": ", ".join(sorted({m.model for m in maps if m.model})),
        "weights": ", ".join(sorted({m.weights for m in maps if m.weights})),
    }
    return table


def _row(found: Roughness) -> dict[str, object]:
    row: dict[str, object] = {"form": found.form}
    row |= {f"{name}_nm": getattr(found, name) for name in ("Sa", "Sq", "Sz")}
    row |= {
        "Ssk": found.Ssk,
        "Sku": found.Sku,
        "radius_nm": found.radius,
        "form_error_nm": found.form_error,
        "cap_angle_deg": found.cap_angle,
        "sampled_area_nm2": found.sampled_area,
        "n_points": found.n_points,
        "n_rejected": found.n_rejected,
    }
    if found.form == "none":
        row["null_Rq_nm"] = found.null.Rq if found.null is not None else math.nan
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
