"""Particles left out by their class, and what leaving covered ones out does to sizes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from scipy import optimize, special

from particle_nb.core.errors import DataError, check_number
from particle_nb.core.learning._samples import UNKNOWN
from particle_nb.core.sizes.curves import size_column

if TYPE_CHECKING:
    from particle_nb.core.synthetic import SceneSettings

#: Weight of the prior that neither size nor a class says anything of what is hidden.
_RIDGE = 1e-3
#: A particle weighs no more than this: rarely seen sizes cannot be made up for.
_MOST = 20.0


@dataclass(frozen=True)
class CoverBias:
    """How probably a particle is covered, by its size, on scenes of known truth.

    Parameters
    ----------
    coefficients : (float, float, float)
        a, b, c of log(P / (1 - P)) = a + b s + c s^2 with s = log10(x_A / middle), for the
        probability P of being covered.
    middle : float
        Median x_A in nm of all particles of the scenes.
    hidden : float
        Share of its outline's area from which on a particle counts as covered.
    table : DataFrame
        By class of size: ``x_nm`` (median), ``particles``, ``covered`` (share found).
    bias : dict of str to float
        x_50,0 and x_50,3 of the particles that are left over those of all, less 1; with weights
        the same under ``corrected``.

    Examples
    --------
    >>> CoverBias((0.0, 0.0, 0.0), 100.0, 0.1, pd.DataFrame(), {}).weights([50.0, 200.0]).tolist()
    [2.0, 2.0]
    """

    coefficients: tuple[float, float, float]
    middle: float
    hidden: float
    table: pd.DataFrame
    bias: dict[str, float]

    def covered(self, x_nm: Sequence[float] | np.ndarray) -> np.ndarray:
        """Return the probability that particles of x_A (N,) in nm are covered, float (N,).

        Raises
        ------
        DataError
            If a size is no positive number.
        """
        try:
            sizes = np.asarray(x_nm, float)
        except (TypeError, ValueError):
            raise DataError(f"sizes are numbers in nm, not {x_nm!r}.") from None
        if not np.isfinite(sizes).all() or (sizes <= 0).any():
            raise DataError("sizes are positive numbers in nm, one a particle.")
        return special.expit(_powers(np.log10(sizes / self.middle)) @ np.array(self.coefficients))

    def weights(self, x_nm: Sequence[float] | np.ndarray) -> np.ndarray:
        """Return number weights (N,) of particles that are not covered: 1 / P(not covered | x_A).

        For `size_distribution`. No weight is above 20.

        Raises
        ------
        DataError
            If a size is no positive number.

        References
        ----------
        D. Horvitz, D. Thompson, 1952, doi:10.1080/01621459.1952.10483446.
        """
        return np.minimum(1 / np.maximum(1 - self.covered(x_nm), 1e-9), _MOST)


def cover_bias(settings: SceneSettings, scenes: int = 8, hidden: float = 0.1) -> CoverBias:
    """Measure on drawn scenes how size decides whether a particle is covered.

    Draw scenes like the micrograph: the same sizes, shapes, packing and number of particles.
    Particles that others hide wholly are among those that are covered.

    Parameters
    ----------
    settings : SceneSettings
    scenes : int
        1 to 200; seeds 0, 1, 2 ...
    hidden : float
        Share of the outline's area, 0.01 to 0.9, that makes a particle covered.

    Raises
    ------
    DataError
        If a number is out of range, or fewer than 30 particles were drawn.

    Examples
    --------
    >>> from particle_nb.core.synthetic import SceneSettings
    >>> made = cover_bias(SceneSettings(shape=(200, 200), count=40, packing="heap"), scenes=2)
    >>> bool(0 < made.covered([400.0])[0] < 1)
    True
    """
    from particle_nb.core.synthetic import SceneSettings, scene

    if not isinstance(settings, SceneSettings):
        raise DataError(f"cover_bias needs SceneSettings, not {type(settings).__name__}.")
    check_number("scenes", scenes, 1, 200)
    check_number("hidden", hidden, 0.01, 0.9)
    truth = pd.concat([scene(settings, seed).truth for seed in range(int(scenes))])
    truth = truth[~truth["cut"].to_numpy(bool)]
    if len(truth) < 30:
        raise DataError(f"only {len(truth)} whole particles were drawn; draw more scenes.")
    sizes, covered = truth["x_A_nm"].to_numpy(float), truth["covered"].to_numpy(float) > hidden
    middle = float(np.median(sizes))
    powers = _powers(np.log10(sizes / middle))

    def loss(line: np.ndarray) -> float:
        told = powers @ line
        return float(np.logaddexp(0, np.where(covered, -told, told)).sum() + _RIDGE * line @ line)

    a, b, c = optimize.minimize(loss, np.zeros(3)).x.tolist()
    made = CoverBias((a, b, c), middle, float(hidden), pd.DataFrame(), {})
    seen = sizes[~covered]
    found: dict[str, float] = {}
    if len(seen):
        for name, r in (("x_50,0", 0), ("x_50,3", 3)):
            whole = _median(sizes, sizes**r)
            found[name] = _median(seen, seen**r) / whole - 1
            found[f"{name} corrected"] = _median(seen, seen**r * made.weights(seen)) / whole - 1
    bins = pd.qcut(sizes, min(6, len(sizes) // 10), labels=False, duplicates="drop")
    by_size = pd.DataFrame({"bin": bins, "x_nm": sizes, "covered": covered}).groupby("bin")
    table = pd.DataFrame(
        {
            "x_nm": by_size["x_nm"].median(),
            "particles": by_size.size(),
            "covered": by_size["covered"].mean(),
        }
    ).reset_index(drop=True)
    return CoverBias(made.coefficients, middle, float(hidden), table, found)


def _powers(logs: np.ndarray) -> np.ndarray:
    return np.stack([np.ones_like(logs), logs, logs**2], axis=-1)


def _median(sizes: np.ndarray, weights: np.ndarray) -> float:
    order = np.argsort(sizes, kind="stable")
    shares = np.cumsum(weights[order])
    return float(sizes[order][np.searchsorted(shares, shares[-1] / 2)])


def exclude_classes(
    table: pd.DataFrame,
    classes: pd.DataFrame | pd.Series | Sequence[str],
    names: Sequence[str] = ("covered", "agglomerate", "edge"),
    unknown: bool = False,
    correction: CoverBias | None = None,
) -> pd.DataFrame:
    """Leave particles of some classes out of a table of sizes, and say how many.

    Covered particles are not covered by chance: large ones are more or less often than small ones.
    `correction` gives each that is left the weight that makes up for it.

    Parameters
    ----------
    table : DataFrame (N rows)
        From `measure`.
    classes : DataFrame with a column ``class``, or names (N,)
        From `ShapeClassifier.predict`.
    names : sequence of str
        Classes that are left out; ``"edge"`` also leaves out what the table says is cut by the
        frame (``touches_edge``).
    unknown : bool
        Whether particles called "unknown" are left out.
    correction : CoverBias or None
        From `cover_bias`; needs sizes in nm or um and "covered" among `names`.

    Returns
    -------
    DataFrame
        Rows that are left, with a column ``class``, and ``weight`` with a correction: give it to
        `size_distribution` as ``weights``. ``attrs["excluded"]`` counts what went for which class.

    Raises
    ------
    DataError
        If lengths differ, there is no size in nm or um to correct by, or a correction is given
        and covered particles stay.

    Examples
    --------
    >>> sizes = pd.DataFrame({"x_A_nm": [100.0, 120.0, 80.0]})
    >>> left = exclude_classes(sizes, ["sphere", "covered", "sphere"])
    >>> left["x_A_nm"].tolist(), left.attrs["excluded"]
    ([100.0, 80.0], {'covered': 1})
    """
    if not isinstance(table, pd.DataFrame):
        raise DataError(f"exclude_classes needs a table of measure, not {type(table).__name__}.")
    told = class_names(classes, len(table))
    if isinstance(names, str):
        names = (names,)
    try:
        gone = {str(name) for name in names} | ({UNKNOWN} if unknown else set())
    except TypeError:
        raise DataError(f"names are names of classes, not {names!r}.") from None
    if "edge" in gone and "touches_edge" in table:
        told = np.where(table["touches_edge"].to_numpy(bool), "edge", told)
    out = np.isin(told.astype(str), sorted(gone))
    left = table[~out].copy()
    left["class"] = told[~out]
    kinds, counts = np.unique(told[out].astype(str), return_counts=True)
    left.attrs["excluded"] = {str(k): int(n) for k, n in zip(kinds, counts, strict=True)}
    if correction is not None:
        if not isinstance(correction, CoverBias):
            raise DataError(f"correction is a CoverBias, not {type(correction).__name__}.")
        if "covered" not in gone:
            raise DataError("the correction is for covered particles left out; they stay here.")
        column, unit = size_column(table, "x_A")
        if unit not in ("nm", "um"):
            raise DataError("the correction needs x_A in nm or um; give the image a pixel size.")
        left["weight"] = correction.weights(left[column].to_numpy() * (1000 if unit == "um" else 1))
        a, b, c = correction.coefficients
        left.attrs["correction"] = (
            f"1 / P(not covered | x_A), log odds {a:.3f} + {b:.3f} s + {c:.3f} s^2, "
            f"s = log10(x_A / {correction.middle:.4g} nm)"
        )
    return left


def class_names(classes: Any, count: int) -> np.ndarray:
    """Return names (N,) of a table with a column ``class``, or of a sequence of them."""
    if isinstance(classes, pd.DataFrame):
        if "class" not in classes:
            raise DataError("the table has no column 'class'; use that of ShapeClassifier.predict.")
        classes = classes["class"]
    try:
        found = np.array(["" if not isinstance(name, str) else name for name in classes], object)
    except TypeError:
        raise DataError(f"classes are names, one each, not {type(classes).__name__}.") from None
    if len(found) != count:
        raise DataError(f"{len(found)} classes for {count} particles; give one each.")
    return found
