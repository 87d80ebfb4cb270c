"""Numbers that tell one particle from another: `FeatureTable`, and those that need no network.

The descriptors of `DESCRIPTORS` without a dimension, the size, a few numbers of the outline's
symmetry and of its grey values. They stand in every feature table beside a network's numbers, so
that a decision can be explained in words of the field.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from scipy import ndimage

from particle_nb.core.errors import DataError
from particle_nb.core.image import Image
from particle_nb.core.learning._outline import NAMES as _OUTLINE
from particle_nb.core.learning._outline import outline_numbers
from particle_nb.core.masks import Mask, MaskSet
from particle_nb.core.shape import DESCRIPTORS, measure

#: Length of blocks of columns together: the outline's, our others (size, grey), a network's. Six
#: shapes of tests/data/emps_classes.csv, macro-F1 at 5, 10, 50 labels a class: .746, .772, .785
#: with the outline alone, .645, .724, .771 with others at 0.5 beside it, .707, .755, .787 as here.
WEIGHTS = (1.0, 0.25, 0.25)
#: Between the tag of a model and the number of its column: ``"dinov2.17"``.
TAG = "."

_GREY = (
    "grey_mean",
    "grey_sd",
    "grey_range",
    "rim_contrast",
    "ground_contrast",
    "texture_fine",
    "texture_coarse",
)
#: Columns of `neighbour_features`.
NEIGHBOURS = (
    "contact_share",
    "neighbours",
    "hidden_share",
    "covering_share",
    "order",
    "overlap_share",
    "frame_share",
    "size_beside",
    "seam_step",
)
#: Grey values of larger particles are looked at on every second, third ... pixel.
_SIDE = 128


@dataclass(frozen=True, eq=False)
class FeatureTable:
    """One row of numbers a particle, with the name of every column and where they come from.

    ``numpy.asarray(table)`` gives float32 (N, D). A whole number or a tuple of indices picks as
    from that array, a name picks a column, a slice, flags or row numbers a smaller table.

    Parameters
    ----------
    values : float array (N, D)
        NaN where a number cannot be told.
    names : tuple of str (D,)
        Names of a network's columns begin with its tag and a point, ``"dinov2.17"``.
    model, digest, licence : str
        The network, SHA-256 of its weights (16 hex digits), licence of these; empty without one.
    images : tuple of str (N,)
        Digest of each row's image: rows of one image are no independent samples.

    Raises
    ------
    DataError
        If lengths do not go together or a name stands twice.

    Examples
    --------
    >>> table = FeatureTable(np.eye(2), ("elongation", "log_x_A_px"))
    >>> table.shape, np.asarray(table).dtype, table["elongation"].tolist()
    ((2, 2), dtype('float32'), [1.0, 0.0])
    """

    values: np.ndarray
    names: tuple[str, ...]
    model: str = ""
    digest: str = ""
    licence: str = ""
    images: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        try:
            values = np.array(self.values, np.float32)
            names, images = tuple(map(str, self.names)), tuple(map(str, self.images))
        except (TypeError, ValueError):
            raise DataError(
                "a FeatureTable takes numbers (N, D) and a sequence of D names, not "
                f"{type(self.values).__name__} and {type(self.names).__name__}."
            ) from None
        if values.ndim != 2 or values.shape[1] != len(names):
            raise DataError(f"{values.shape} values do not go with {len(names)} names of columns.")
        if len(set(names)) < len(names):
            twice = next(name for name in names if names.count(name) > 1)
            raise DataError(f"the column {twice!r} stands twice.")
        images = images or ("",) * len(values)
        if len(images) != len(values):
            raise DataError(f"{len(images)} images are named for {len(values)} rows.")
        values.flags.writeable = False
        for name, value in (("values", values), ("names", names), ("images", images)):
            object.__setattr__(self, name, value)

    @property
    def shape(self) -> tuple[int, int]:
        """Number of particles and of columns."""
        return self.values.shape[0], self.values.shape[1]

    @property
    def dtype(self) -> np.dtype:
        """That of the values, float32."""
        return self.values.dtype

    @property
    def nbytes(self) -> int:
        """Size of the values in bytes."""
        return self.values.nbytes

    @property
    def blocks(self) -> tuple[str, ...]:
        """Tag of the network that each column comes from; empty for our own numbers."""
        return tuple(name.partition(TAG)[0] if TAG in name else "" for name in self.names)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return np.array(self.values, dtype, copy=copy)

    def __len__(self) -> int:
        return len(self.values)

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, str):
            if index not in self.names:
                raise DataError(f"no column {index!r}; there are {', '.join(self.names[:8])} ...")
            return self.values[:, self.names.index(index)]
        if isinstance(index, (int, np.integer, tuple)):
            return self.values[index]
        rows = np.arange(len(self))[index]
        return replace(
            self, values=self.values[rows], images=tuple(self.images[row] for row in rows)
        )

    def columns(self, *tags: str) -> FeatureTable:
        """Return the columns of some networks only, our own numbers under the tag ``""``.

        Examples
        --------
        >>> FeatureTable(np.eye(2), ("elongation", "net.0")).columns("").names
        ('elongation',)
        """
        places = [place for place, tag in enumerate(self.blocks) if tag in tags]
        if not places:
            known = ", ".join(repr(tag) for tag in dict.fromkeys(self.blocks))
            raise DataError(f"no column of {tags}; there are those of {known}.")
        names = tuple(self.names[place] for place in places)
        return replace(self, values=self.values[:, places], names=names)

    def frame(self) -> pd.DataFrame:
        """Return a DataFrame with one column a name."""
        return pd.DataFrame(self.values, columns=list(self.names))

    @property
    def kind(self) -> str:
        """Digest of names, model and weights: two tables of one kind can stand below each other."""
        text = "\n".join((*self.names, self.model, self.digest))
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    @classmethod
    def join(cls, tables: Iterable[FeatureTable]) -> FeatureTable:
        """Put the rows of several images below each other.

        Raises
        ------
        DataError
            If there is none, or they are of different kinds.

        Examples
        --------
        >>> one = FeatureTable(np.eye(2), ("a", "b"))
        >>> FeatureTable.join([one, one]).shape
        (4, 2)
        """
        found = list(tables) if isinstance(tables, Iterable) else []
        if not found or not all(isinstance(table, cls) for table in found):
            raise DataError("join takes FeatureTables as session.features gives, one at least.")
        for table in found[1:]:
            if table.kind != found[0].kind:
                raise DataError(difference(found[0], table))
        images = tuple(image for table in found for image in table.images)
        return replace(found[0], values=np.concatenate([t.values for t in found]), images=images)

    def __repr__(self) -> str:
        model = f", {self.model} ({self.digest}, {self.licence})" if self.model else ""
        return f"<FeatureTable of {len(self)} particles, {len(self.names)} columns{model}>"


def plain_table(features: Any) -> FeatureTable:
    """Return features as a table; columns of an array get numbers for names.

    Raises
    ------
    DataError
        If they are no numbers (N, D).

    Examples
    --------
    >>> plain_table([[1, 2]]).names
    ('column 0', 'column 1')
    """
    if isinstance(features, FeatureTable):
        return features
    try:
        values = np.asarray(features, np.float32)
    except (TypeError, ValueError):
        raise DataError(
            f"features are a FeatureTable or numbers (N, D), not {type(features).__name__}."
        ) from None
    if values.ndim != 2 or not values.shape[1]:
        raise DataError(f"features are numbers (N, D), one row a particle, not {values.shape}.")
    return FeatureTable(values, tuple(f"column {i}" for i in range(values.shape[1])))


def standard(
    table: FeatureTable, weights: tuple[float, float, float] = WEIGHTS
) -> tuple[np.ndarray, np.ndarray]:
    """Return centre and factor (D,) that bring columns to mean 0 and the variance they count with.

    The columns of the outline have a total variance of 1, our others (size, grey values) and those
    of each network 1/16 (a quarter of the length), however many they are, or as the `weights` of
    the three say; those of `neighbour_features` half the length of the outline's. Columns of no
    known name count as the outline's; those that do not vary get the factor 0.

    Raises
    ------
    DataError
        If no particle can be measured.

    Examples
    --------
    >>> centre, factor = standard(FeatureTable([[1, 5], [3, 5]], ("a", "b")))
    >>> centre.tolist(), factor.round(3).tolist()
    ([2.0, 5.0], [0.707, 0.0])
    """
    values = table.values.astype(float)
    usable = values[np.isfinite(values).all(axis=1)]
    if not len(usable):
        raise DataError("none of these particles can be measured; there is nothing to compare.")
    centre, spread = usable.mean(axis=0), usable.std(axis=0)
    length = np.zeros(len(table.names))
    kinds = kinds_of(table.names)
    for kind in set(kinds):
        same = np.array([other == kind for other in kinds])
        total = weights[2] if isinstance(kind, str) else (*weights[:2], weights[0] / 2)[kind]
        length[same] = total / math.sqrt(np.count_nonzero(same))
    varies = spread > 1e-6 * np.maximum(np.abs(centre), 1e-6)
    return centre, np.where(varies, length / np.where(varies, spread, 1), 0.0)


def kinds_of(names: tuple[str, ...]) -> list[int | str]:
    """Say of columns which count together: 0 outline, 1 size and grey, 2 neighbours, else a tag.

    Examples
    --------
    >>> kinds_of(("elongation", "grey_mean", "log_x_A_nm", "dinov2.0"))
    [0, 1, 1, 'dinov2']
    """
    places = dict.fromkeys((*_GREY, "log_x_A_nm", "log_x_A_px"), 1) | dict.fromkeys(NEIGHBOURS, 2)
    return [name.partition(TAG)[0] if TAG in name else places.get(name, 0) for name in names]


def shape_columns(names: tuple[str, ...]) -> list[int]:
    """Return the places of the columns that speak of the outline alone, whatever its size.

    Examples
    --------
    >>> shape_columns(("elongation", "log_x_A_nm", "symmetry_3", "dinov2.0"))
    [0, 2]
    """
    known = {name for name, entry in DESCRIPTORS.items() if entry.dimension == 0} | set(_OUTLINE)
    return [place for place, name in enumerate(names) if name in known]


def difference(wanted: FeatureTable, given: FeatureTable) -> str:
    """Say in a sentence what keeps two tables from being of one kind."""
    if wanted.names != given.names:
        first, second = set(wanted.names) - set(given.names), set(given.names) - set(wanted.names)
        absent = ", ".join(sorted(first)[:3]) or "none"
        extra = ", ".join(sorted(second)[:3]) or "none"
        return (
            f"these are other features: {len(given.names)} columns in place of "
            f"{len(wanted.names)}; absent: {absent}; new: {extra}. Use the same models, and "
            "images that all have a scale, or none."
        )
    return (
        f"these features are of {given.model or 'no model'} ({given.digest}), not of "
        f"{wanted.model or 'no model'} ({wanted.digest}); use the same weights."
    )


def particle_numbers(image: Image, masks: MaskSet) -> FeatureTable:
    """Measure what needs no network: shape, size, symmetry of the outline, grey values, texture.

    Lengths are in parts of x_A, grey values in parts of the image's range (percentiles 1 to 99),
    so that neither magnification nor brightness tells classes apart; only ``log_x_A_nm`` (decimal
    logarithm, ``log_x_A_px`` without a scale) knows the size.

    Parameters
    ----------
    image : Image
    masks : MaskSet
        On the image's frame.

    Returns
    -------
    FeatureTable
        Every dimensionless entry of `DESCRIPTORS`; ``log_x_A``; ``symmetry_n``, the n-fold part of
        the outline (3 for triangles, 4 for squares: Fourier coefficient 1 - n over the first);
        ``outline_detail``, the root of what higher ones hold; ``inscribed``, the largest inscribed
        circle over x_A; ``hole_share``; what the outline turns by, in full turns, from chord to
        chord of 1/21 of its length: at its sharpest places (``corner_turn``), at three corners
        less the fourth, at four, at the fifth and sixth, at its ``deepest_notch``, the shares that
        are flat and concave, the standard deviation over short and wide chords; ``radius_sd`` over
        the mean radius; ``rectangle_fill``, the share of its smallest rectangle;
        ``ellipse_misfit``, the area that the ellipse of equal moments has apart from it;
        ``moment_ratio``, the ratio of that ellipse's axes; and seven numbers of the grey values.
        NaN where the contour says nothing of the mask (a few pixels).

    Raises
    ------
    DataError
        If the masks are of another frame.

    Examples
    --------
    >>> labels = np.zeros((60, 60), int); labels[10:40, 10:40] = 1
    >>> table = particle_numbers(Image(np.eye(60)), MaskSet.from_labels(labels))
    >>> bool(table["symmetry_4"] > table["symmetry_3"]), round(float(table["roundness"][0]), 1)
    (True, 0.7)
    """
    if not isinstance(masks, MaskSet) or masks.shape != image.shape:
        raise DataError(f"the masks must be a MaskSet on the image's frame {image.shape}.")
    table = measure(masks)
    ratios = [name for name, entry in DESCRIPTORS.items() if not entry.dimension]
    columns = {name: table[name].to_numpy(float) for name in ratios}
    # where the contour says nothing of the mask, nothing else does
    unmeasured = table[ratios].isna().any(axis=1).to_numpy(bool)
    pixel, unit = (image.calibration.to("nm"), "nm") if image.calibration else (1.0, "px")
    columns[f"log_x_A_{unit}"] = np.log10(table["x_A_px"].to_numpy(float) * pixel)
    own = np.full((len(masks), len(_OUTLINE) + len(_GREY)), math.nan)
    low, high = grey_range(image.grey)
    for row, mask in enumerate(masks):
        if not unmeasured[row]:
            own[row, : len(_OUTLINE)] = outline_numbers(mask)
        own[row, len(_OUTLINE) :] = _grey_numbers(image.grey, mask, low, high)
    values = np.column_stack([*columns.values(), own])
    values[unmeasured] = math.nan
    return FeatureTable(values, (*columns, *_OUTLINE, *_GREY), images=(image.digest,) * len(masks))


def grey_range(grey: np.ndarray) -> tuple[float, float]:
    """Return percentiles 1 and 99 of grey values (H, W), apart from each other.

    Examples
    --------
    >>> grey_range(np.zeros((2, 2)))[0]
    0.0
    """
    step = max(1, int(math.sqrt(grey.size / 250_000)))
    low, high = np.percentile(grey[::step, ::step], (1, 99))
    return float(low), float(max(high, low + 1e-6 * max(abs(float(low)), 1.0)))


def _grey_numbers(grey: np.ndarray, mask: Mask, low: float, high: float) -> list[float]:
    """Seven numbers of the grey values in and around one mask, in parts of the image's range."""
    r0, c0, r1, c1 = mask.bbox
    border = max(3, round(0.15 * max(r1 - r0, c1 - c0)))
    top, left = max(r0 - border, 0), max(c0 - border, 0)
    bottom, right = min(r1 + border, grey.shape[0]), min(c1 + border, grey.shape[1])
    step = max(1, math.ceil(max(bottom - top, right - left) / _SIDE))
    part = (grey[top:bottom:step, left:right:step] - low) / (high - low)
    inside = np.zeros((bottom - top, right - left), bool)
    inside[r0 - top : r1 - top, c0 - left : c1 - left] = mask.crop
    inside = inside[::step, ::step]
    if not inside.any():
        return [math.nan] * len(_GREY)
    values = part[inside]
    depth = ndimage.distance_transform_edt(inside)
    half = depth[inside].max() / 2
    rim, core = inside & (depth <= half), inside & (depth > half)
    ground = ~inside
    mean = float(values.mean())
    tenth, ninetieth = np.percentile(values, (10, 90))
    return [
        mean,
        float(values.std()),
        float(ninetieth - tenth),
        float(part[rim].mean() - part[core].mean()) if rim.any() and core.any() else 0.0,
        mean - float(part[ground].mean()) if ground.any() else 0.0,
        _texture(part, inside, mean, 1.0),
        _texture(part, inside, mean, max(2.0, 0.25 * half)),
    ]


def _texture(part: np.ndarray, inside: np.ndarray, mean: float, sigma: float) -> float:
    """Standard deviation inside the mask of what a Gaussian, blind to the outside, removes."""
    weight = ndimage.gaussian_filter(inside.astype(np.float32), sigma)
    smooth = ndimage.gaussian_filter(np.where(inside, part - mean, 0).astype(np.float32), sigma)
    return float((part - mean - smooth / np.maximum(weight, 1e-6))[inside].std())
