"""The filter cascade: scores, area, contrast, form factor; then duplicates and the edge."""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import ndimage

from particle_nb.core.errors import CalibrationError, DataError, ImageError
from particle_nb.core.image import METRES, Calibration, Image
from particle_nb.core.masks import Mask, MaskSet
from particle_nb.core.shape import DESCRIPTORS, Region
from particle_nb.core.shape.contour import measured_masks
from particle_nb.core.shape.measuring import touches

#: The stages in the order in which they are applied.
STAGES = (
    "region",
    "confidence",
    "stability",
    "area",
    "contrast",
    "form_factor",
    "duplicates",
    "edge",
)


@dataclass(frozen=True)
class FilterSettings:
    """Thresholds of the cascade; None switches a threshold off, each independently.

    Parameters
    ----------
    min_confidence : float or None
        Least probability that the mask is a particle (`Mask.confidence`), 0 to 1: at 0.5 it is
        more likely one than not. A mask without a confidence passes.
    min_predicted_iou, min_stability : float or None
        What the model says of the outline, 0 to 1. A mask without a score passes.
    min_area, max_area : float, str or None
        A number counts pixels; a text is an area in physical units, ``"0.05 um2"`` or
        ``"800 nm2"``, which takes an image with a pixel size.
    min_size, max_size : float, str or None
        The same as a diameter, x_A: pixels, or a length such as ``"250 nm"``.
    min_contrast : float or None
        Grey-value step across the contour, as a share of the image's grey range (0 to 1).
    min_form_factor : float or None
        4 pi A / P^2 of the smoothed sub-pixel contour (the paper's "circularity"). A mask that has
        none, because it has no contour or is several parts, does not pass.
    duplicate_iou : float or None
        Of two masks that overlap more than this, the less confident goes.
    nested : {"resolve", "keep"}
        ``"resolve"``: of a mask and the masks inside it, either the outer or the inner ones stay
        (see `cascade`).
    edge : {"exclude", "keep"}
        What happens to masks that the frame cuts.

    Raises
    ------
    DataError
        If a threshold is out of its range.

    Examples
    --------
    >>> FilterSettings(min_form_factor=0.8).max_area is None
    True
    """

    min_predicted_iou: float | None = 0.5
    min_stability: float | None = None
    min_area: float | str | None = 30
    max_area: float | str | None = None
    min_contrast: float | None = 0.02
    min_form_factor: float | None = None
    duplicate_iou: float | None = 0.6
    nested: str = "resolve"
    edge: str = "exclude"
    min_size: float | str | None = None
    max_size: float | str | None = None
    min_confidence: float | None = 0.5

    def __post_init__(self) -> None:
        for name, top in (
            ("min_confidence", 1.0),
            ("min_predicted_iou", 1.0),
            ("min_stability", 1.0),
            ("min_area", math.inf),
            ("max_area", math.inf),
            ("min_size", math.inf),
            ("max_size", math.inf),
            ("min_contrast", 1.0),
            ("min_form_factor", 1.0),
            ("duplicate_iou", 1.0),
        ):
            value = getattr(self, name)
            if value is None:
                continue
            if isinstance(value, str) and name.endswith(("_area", "_size")):
                _physical(name, value)
                continue
            try:
                number = math.nan if isinstance(value, bool) else float(value)
            except (TypeError, ValueError):
                number = math.nan
            if not 0 <= number <= top:
                raise DataError(f"{name} must lie in 0 .. {top:g} or be None, not {value!r}.")
        for what in ("area", "size"):
            low, high = getattr(self, f"min_{what}"), getattr(self, f"max_{what}")
            if low is None or high is None or isinstance(low, str) != isinstance(high, str):
                continue
            limits = [_physical(what, v) if isinstance(v, str) else v for v in (low, high)]
            if limits[0] > limits[1]:
                raise DataError(f"min_{what} {low} exceeds max_{what} {high}.")
        if self.nested not in ("resolve", "keep"):
            raise DataError(f"nested is 'resolve' or 'keep', not {self.nested!r}.")
        if self.edge not in ("exclude", "keep"):
            raise DataError(f"edge is 'exclude' or 'keep', not {self.edge!r}.")

    def in_pixels(self, calibration: Calibration | None) -> FilterSettings:
        """Return the same thresholds with areas in pixels and diameters as areas.

        Raises
        ------
        CalibrationError
            If one is in physical units and there is no pixel size.
        DataError
            If a least one exceeds a greatest one.

        Examples
        --------
        >>> scale = Calibration(10, "nm")
        >>> FilterSettings(min_area="0.05 um2").in_pixels(scale).min_area
        500.0
        >>> round(FilterSettings(min_area=None, min_size="200 nm").in_pixels(scale).min_area, 1)
        314.2
        """
        lows = [self._in_pixels(name, calibration) for name in ("min_area", "min_size")]
        highs = [self._in_pixels(name, calibration) for name in ("max_area", "max_size")]
        low = max((v for v in lows if v is not None), default=None)
        high = min((v for v in highs if v is not None), default=None)
        if low is not None and high is not None and low > high:
            raise DataError(
                f"no area lies above {low:g} px and below {high:g} px; min_area, min_size, "
                "max_area and max_size contradict each other."
            )
        return dataclasses.replace(self, min_area=low, max_area=high, min_size=None, max_size=None)

    def _in_pixels(self, name: str, calibration: Calibration | None) -> float | None:
        value = getattr(self, name)
        if isinstance(value, str):
            if calibration is None:
                raise CalibrationError(
                    f"{name} = {value!r} needs a pixel size and the image has none: read it with "
                    "pixel_size=, or give the threshold in pixels."
                )
            pixel = calibration.to("nm") ** (2 if "area" in name else 1)
            size = float(f"{_physical(name, value) / pixel:.12g}")
        elif value is None:
            return None
        else:
            size = value
        return math.pi / 4 * float(size) ** 2 if "size" in name else size

    @classmethod
    def paper(cls) -> FilterSettings:
        """Return the main paper's defaults.

        Its area range, 10 to 1000 px, removes every particle more than 35.7 px across.

        Examples
        --------
        >>> FilterSettings.paper().max_area
        1000
        """
        return cls(
            min_confidence=None,
            min_predicted_iou=0.88,
            min_stability=0.95,
            min_area=10,
            max_area=1000,
            min_form_factor=0.8,
        )

    def replace(self, **changes: object) -> FilterSettings:
        """Return a copy with some thresholds changed.

        Examples
        --------
        >>> FilterSettings().replace(min_area=99).min_area
        99
        """
        unknown = set(changes) - {field.name for field in dataclasses.fields(self)}
        if unknown:
            raise DataError(f"FilterSettings has no {', '.join(sorted(unknown))}.")
        return dataclasses.replace(self, **changes)  # type: ignore[arg-type]


def _physical(name: str, value: str) -> float:
    """Return an area in nm2, or a length in nm where `name` is that of a size."""
    power = 1 if "size" in name else 2
    units = "|".join(METRES)
    text = value.strip().replace("µ", "u").replace("μ", "u").replace("²", "2").replace("^2", "2")
    found = re.fullmatch(
        rf"([0-9.]+(?:[eE][-+]?[0-9]+)?)\s*({units}){'2' if power == 2 else ''}", text
    )
    try:
        number = float(found[1]) if found else math.nan
    except ValueError:
        number = math.nan
    if found is None or not number >= 0:
        like = "'0.05 um2' or '800 nm2'" if power == 2 else "'250 nm' or '1.5 um'"
        raise DataError(f"{name} is a number of pixels or a text like {like}, not {value!r}.")
    return number * (METRES[found[2]] / METRES["nm"]) ** power


def mask_values(proposals: MaskSet, image: Image) -> pd.DataFrame:
    """Measure what the cascade looks at, once; thresholds can then move freely.

    Returns
    -------
    DataFrame
        One row a mask: ``confidence``, ``predicted_iou``, ``stability``, ``area`` (px),
        ``contrast`` (share of the grey range), ``form_factor``, ``touches_edge``.

    Raises
    ------
    ImageError, DataError
        If the arguments are no `Image` or `MaskSet`, or of different frames.

    Examples
    --------
    >>> picture = np.zeros((32, 32), np.uint8); picture[8:24, 8:24] = 100
    >>> masks = MaskSet.from_labels((picture > 0).astype(int))
    >>> float(mask_values(masks, Image(picture)).contrast[0]) > 0.5
    True
    """
    _check_pair(proposals, image)
    return pd.DataFrame({name: values(proposals, image) for name, values in _VALUES.items()})


def _check_pair(proposals: MaskSet, image: Image) -> None:
    if not isinstance(image, Image):
        raise ImageError(f"expected a particle_nb.Image, not {type(image).__name__}.")
    if not isinstance(proposals, MaskSet):
        raise DataError(f"expected a MaskSet, not {type(proposals).__name__}.")
    if proposals.shape != image.shape:
        raise DataError(f"masks of a frame {proposals.shape} on an image of {image.shape}.")


def edge_step(image: Image) -> np.ndarray:
    """Return the grey-value step around each pixel as a share of the grey range, float32 (H, W).

    It is the range of the lightly smoothed grey values in a 5 x 5 neighbourhood (a morphological
    gradient), so that the thin dark line between two touching particles counts as an edge too.

    Examples
    --------
    >>> float(edge_step(Image(np.full((8, 8), 7))).max())
    0.0
    """
    grey = image.grey
    low, high = np.percentile(grey[:: max(1, grey.shape[0] // 1024)], (0.1, 99.9))
    if high <= low:
        return np.zeros(grey.shape, np.float32)
    smooth = ndimage.gaussian_filter(grey, 1.0)
    step = ndimage.maximum_filter(smooth, 5) - ndimage.minimum_filter(smooth, 5)
    return (step / np.float32(high - low)).astype(np.float32)


def _contrasts(masks: MaskSet, image: Image) -> np.ndarray:
    step = edge_step(image)
    boxes = masks.boxes.tolist()
    return np.array([_contrast(m.crop, step, b) for m, b in zip(masks, boxes, strict=True)], float)


def _form_factors(masks: MaskSet, image: Image) -> np.ndarray:
    quantities, own, _ = measured_masks(masks)
    return np.asarray(DESCRIPTORS["form_factor"].function(Region.columns(quantities, own)), float)


#: What the stages look at, by column of `mask_values`.
_VALUES: dict[str, Callable[[MaskSet, Image], np.ndarray]] = {
    "confidence": lambda masks, image: masks.confidence,
    "predicted_iou": lambda masks, image: masks.predicted_iou,
    "stability": lambda masks, image: masks.stability_score,
    "area": lambda masks, image: masks.areas,
    "contrast": _contrasts,
    "form_factor": _form_factors,
    "touches_edge": lambda masks, image: touches(masks.boxes, image.shape, image.region),
}


def _contrast(crop: np.ndarray, step: np.ndarray, box: list[int]) -> float:
    r0, c0, r1, c1 = box
    inner = np.pad(crop, 1)
    core = inner[1:-1, 1:-1] & inner[:-2, 1:-1] & inner[2:, 1:-1] & inner[1:-1, :-2]
    core &= inner[1:-1, 2:]
    return float(step[r0:r1, c0:c1][crop & ~core].mean())


def cascade(
    proposals: MaskSet,
    image: Image,
    settings: FilterSettings | None = None,
    values: pd.DataFrame | None = None,
) -> tuple[MaskSet, pd.DataFrame]:
    """Filter proposals stage by stage and say of each mask what became of it.

    No model runs here. A mask that fails a stage does not reach the next.

    Duplicates: of two masks with IoU above `duplicate_iou` the less confident goes. A mask that
    lies inside another (80% of it or more) goes as a feature of the outer one, unless two or more
    such masks fill at least 60% of the outer one and their mean confidence is not below its own:
    then the outer one is an agglomerate or a background blob, and goes.

    Of an image with a region only masks inside it get so far (`RegionOfInterest.holds`; stage
    ``"region"``), and its rim counts as that of the frame.

    Parameters
    ----------
    proposals : MaskSet
    image : Image
        The image they were found on.
    settings : FilterSettings
    values : DataFrame
        From `mask_values`, when thresholds change often.

    Returns
    -------
    masks : MaskSet
        What was kept, in the order of the proposals.
    audit : DataFrame
        One row per mask and stage it reached: ``mask`` (index into the proposals), ``stage``,
        ``value`` (NaN for a stage that is off: nothing is measured for it), ``threshold`` (text),
        ``verdict`` (``"kept"``, ``"removed"`` or ``"off"``).

    Raises
    ------
    ImageError, DataError
        If the arguments do not fit together.

    Examples
    --------
    >>> picture = np.zeros((64, 64), np.uint8); picture[8:24, 8:24] = 100; picture[40, 40] = 90
    >>> masks = MaskSet.from_labels(np.where(picture == 100, 1, np.where(picture == 90, 2, 0)))
    >>> kept, audit = cascade(masks, Image(picture), FilterSettings())
    >>> len(kept), audit[audit.verdict == "removed"].stage.tolist()
    (1, ['area'])
    """
    settings = settings if settings is not None else FilterSettings()
    if not isinstance(settings, FilterSettings):
        raise DataError(f"settings must be FilterSettings, not {type(settings).__name__}.")
    if values is None:
        _check_pair(proposals, image)
    elif len(values) != len(proposals):
        raise DataError(f"values of {len(values)} masks do not fit {len(proposals)} proposals.")
    alive = np.ones(len(proposals), bool)
    rows: list[pd.DataFrame] = []

    def look(column: str) -> np.ndarray:
        """Values of the masks that are still there; nothing else is measured."""
        if values is not None:
            return values[column].to_numpy(float)
        found = np.full(len(proposals), math.nan)
        if alive.any():
            found[alive] = _VALUES[column](proposals[alive], image)
        return found

    def record(
        stage: str, value: np.ndarray, threshold: str | list[str], keep: np.ndarray, on: bool
    ) -> None:
        index = np.flatnonzero(alive)
        rows.append(
            pd.DataFrame(
                {
                    "mask": index,
                    "stage": stage,
                    "value": np.asarray(value, float)[index],
                    "threshold": np.asarray(threshold, object)[index]
                    if isinstance(threshold, list)
                    else threshold,
                    "verdict": np.where(keep[index], "kept", "removed") if on else "off",
                }
            )
        )
        if on:
            np.logical_and(alive, keep, out=alive)

    given, settings = settings, settings.in_pixels(image.calibration)
    if image.region is not None:
        held = image.region.holds(proposals.masks)
        record("region", np.full(len(held), math.nan), "inside the region", held, True)
    scores = {name: look(name) for name in ("confidence", "predicted_iou")}
    record("confidence", *_sure_enough(scores, settings))
    for stage, low, high in (
        ("stability", settings.min_stability, None),
        ("area", settings.min_area, settings.max_area),
        ("contrast", settings.min_contrast, None),
        ("form_factor", settings.min_form_factor, None),
    ):
        on = low is not None or high is not None
        value = look(stage) if on else np.full(len(proposals), math.nan)
        # a score that the model did not give cannot be held against a mask; a value that could
        # not be measured passes no threshold
        keep = np.isnan(value) & (stage == "stability")
        keep |= (value >= (-math.inf if low is None else low)) & (
            value <= (math.inf if high is None else high)
        )
        bounds = [f">= {low:g}"] if low is not None else []
        bounds += [f"<= {high:g}"] if high is not None else []
        record(stage, value, " and ".join(bounds), keep, on)

    sure = np.where(np.isnan(scores["confidence"]), *reversed(scores.values()))
    overlap, reason = _resolve(proposals, sure, alive, settings)
    on = settings.duplicate_iou is not None or settings.nested == "resolve"
    record("duplicates", overlap, reason, np.array([not text for text in reason], bool), on)
    edge = look("touches_edge") == 1
    if values is not None and image.region is not None:  # the values may be older than the region
        edge = touches(proposals.boxes, image.shape, image.region)
    record("edge", edge, "inside the frame", ~edge, settings.edge == "exclude")

    audit = pd.concat(rows, ignore_index=True).sort_values(["mask", "stage"], key=_order)
    audit = audit.reset_index(drop=True)
    audit.attrs["settings"] = dataclasses.asdict(given)
    audit.attrs["proposals"] = len(proposals)
    return proposals[alive], audit


def _sure_enough(
    scores: dict[str, np.ndarray], settings: FilterSettings
) -> tuple[np.ndarray, str | list[str], np.ndarray, bool]:
    """The first stage: values, thresholds in words, who passes, and whether it is on.

    A mask's value is its confidence, or, where it has none or fails by its outline, the predicted
    IoU. A score that the model did not give cannot be held against a mask.
    """
    sure, outline = scores["confidence"], scores["predicted_iou"]
    least, best = settings.min_confidence, settings.min_predicted_iou
    if np.isnan(sure).all():
        least = None
    unsure = sure < (-math.inf if least is None else least)
    poor = outline < (-math.inf if best is None else best)
    by_outline = np.isnan(sure) | (poor & ~unsure) | (least is None)
    told = [f">= {bound:g}" if bound is not None else "" for bound in (least, best)]
    by = np.where(~by_outline, told[0], told[1])
    value = np.where(by_outline, outline, sure)
    if least is None and best is None:
        value = np.full(len(sure), math.nan)
    return value, by.tolist(), ~(unsure | poor), least is not None or best is not None


def _order(column: pd.Series) -> pd.Series:
    return column.map(STAGES.index) if column.name == "stage" else column


def _resolve(
    proposals: MaskSet, confidence: np.ndarray, alive: np.ndarray, settings: FilterSettings
) -> tuple[np.ndarray, list[str]]:
    """Find duplicates and nested masks among the living.

    Returns the overlap that decided (per proposal, 0 for none) and why a mask goes ("" = stays).
    """
    overlap = np.zeros(len(proposals))
    reason = [""] * len(proposals)
    index = np.flatnonzero(alive)
    if index.size < 2:
        return overlap, reason
    subset = proposals[index]
    areas = subset.areas.astype(float)
    score = np.nan_to_num(confidence[index], nan=0.0)
    common = subset.intersections().tolil()
    gone = np.zeros(len(subset), bool)

    def drop(loser: int, value: float, why: str) -> None:
        gone[loser] = True
        overlap[index[loser]] = value
        reason[index[loser]] = why

    if settings.duplicate_iou is not None:
        for i in np.lexsort((-areas, -score)):
            if gone[i]:
                continue
            for j, both in zip(common.rows[i], common.data[i], strict=True):
                iou = both / (areas[i] + areas[j] - both)
                if j != i and not gone[j] and iou > settings.duplicate_iou:
                    drop(
                        j, iou, f"IoU <= {settings.duplicate_iou:g} (duplicate of mask {index[i]})"
                    )
    if settings.nested == "resolve":
        for i in np.argsort(-areas, kind="stable"):
            if gone[i]:
                continue
            inside = [
                (j, both / areas[j])
                for j, both in zip(common.rows[i], common.data[i], strict=True)
                if j != i and not gone[j] and areas[j] < areas[i] and both >= 0.8 * areas[j]
            ]
            if not inside:
                continue
            parts = np.array([j for j, _ in inside])
            r0, c0, r1, c1 = subset[i].bbox
            filled = np.zeros((r1 - r0, c1 - c0), bool)
            for j in parts:
                _paint(filled, subset[int(j)], r0, c0)
            share = np.count_nonzero(filled & subset[i].crop) / areas[i]
            mean = np.average(score[parts], weights=areas[parts])
            if len(parts) >= 2 and share >= 0.6 and mean >= score[i]:
                drop(i, share, f"not filled by {len(parts)} better masks inside it")
            else:
                for j, part in inside:
                    drop(j, part, f"not inside mask {index[i]}")
    return overlap, reason


def _paint(target: np.ndarray, mask: Mask, row: int, col: int) -> None:
    r0, c0, r1, c1 = mask.bbox
    top, left = max(r0, row), max(c0, col)
    bottom, right = min(r1, row + target.shape[0]), min(c1, col + target.shape[1])
    if top < bottom and left < right:
        target[top - row : bottom - row, left - col : right - col] |= mask.crop[
            top - r0 : bottom - r0, left - c0 : right - c0
        ]
