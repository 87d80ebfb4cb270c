"""A calibration law from estimated to reference roughness, kept as a value with its provenance."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

import numpy as np
from scipy import stats

from particle_nb.core.errors import DataError


@dataclass(frozen=True)
class CalibrationLaw:
    """``reference = slope * estimate + intercept``, with intervals and where it came from.

    Parameters
    ----------
    kind : str
        ``"scale"`` (no intercept) or ``"linear"``.
    slope, intercept : float
        Slope without unit, intercept in nm.
    slope_interval, intercept_interval : (float, float)
        Limits at `confidence`, from Student's t.
    residual_sd : float
        Standard deviation of the references about the law, nm.
    loo_rmse, loo_mae, loo_bias : float
        Errors of predicting each reference from a law fitted to all the others, nm.
    uncalibrated_rmse : float
        The same error without any law, nm: what calibrating has to beat.
    n : int
        Number of pairs.
    valid_from, valid_to : float
        Range of the estimates it was fitted on, nm.
    mean, spread : float
        Mean (0 for a scale) and sum of squares of the estimates, for intervals of predictions.
    confidence : float
    method, reference, source : str
        What was estimated, what it was compared with, and where the pairs come from.
    """

    kind: str
    slope: float
    intercept: float
    slope_interval: tuple[float, float]
    intercept_interval: tuple[float, float]
    residual_sd: float
    loo_rmse: float
    loo_mae: float
    loo_bias: float
    uncalibrated_rmse: float
    n: int
    valid_from: float
    valid_to: float
    mean: float
    spread: float
    confidence: float = 0.95
    method: str = ""
    reference: str = ""
    source: str = ""

    def apply(self, estimates: Any) -> np.ndarray:
        """Return calibrated values in nm, float64 of the same shape; NaN stays NaN.

        Examples
        --------
        >>> fit_law([10, 20, 30], [5.1, 9.9, 15.0], "scale").apply([40]).round(1).tolist()
        [20.0]
        """
        return self.slope * _values(estimates, "estimates") + self.intercept

    def interval(self, estimates: Any) -> tuple[np.ndarray, np.ndarray]:
        """Return limits in nm, (N,) each, that one new reference value lies between.

        Examples
        --------
        >>> law = fit_law([10, 20, 30, 40], [5.1, 9.9, 15.0, 20.2], "scale")
        >>> low, high = law.interval([20])
        >>> bool(low[0] < 10 < high[0])
        True
        """
        x = _values(estimates, "estimates")
        free = 1 if self.kind == "scale" else 2
        t = float(stats.t.ppf(0.5 + self.confidence / 2, self.n - free))
        own = 0.0 if self.kind == "scale" else 1 / self.n
        half = t * self.residual_sd * np.sqrt(1 + own + (x - self.mean) ** 2 / self.spread)
        middle = self.apply(x)
        return middle - half, middle + half

    def extrapolates(self, estimates: Any) -> np.ndarray:
        """Tell which estimates in nm lie outside the range that the law was fitted on, bool (N,).

        Examples
        --------
        >>> fit_law([10, 20, 30], [5, 10, 15.2]).extrapolates([5, 25]).tolist()
        [True, False]
        """
        x = _values(estimates, "estimates")
        return (x < self.valid_from) | (x > self.valid_to)

    def to_json(self) -> str:
        """Return the law as JSON text; `from_json` reads it."""
        return json.dumps(asdict(self), indent=1)

    @classmethod
    def from_json(cls, text: str) -> CalibrationLaw:
        """Read a law from JSON text.

        Raises
        ------
        DataError
            If it is not JSON, or has missing, unknown or unusable entries.

        Examples
        --------
        >>> law = fit_law([10, 20, 30], [5, 10, 15.2])
        >>> CalibrationLaw.from_json(law.to_json()) == law
        True
        """
        try:
            entries = json.loads(text)
            names = {f.name for f in fields(cls)}
            if not isinstance(entries, dict) or set(entries) - names:
                raise TypeError("it holds other entries than a law")
            for name in ("slope_interval", "intercept_interval"):
                low, high = entries[name]
                entries[name] = (float(low), float(high))
            law = cls(**entries)
            numbers = [law.slope, law.intercept, law.residual_sd, law.mean, law.spread]
            if law.kind not in ("scale", "linear") or not np.isfinite(numbers).all():
                raise ValueError("kind or numbers are unusable")
        except (ValueError, TypeError, KeyError) as error:
            raise DataError(f"this text is no calibration law: {error}.") from None
        return law

    def __str__(self) -> str:
        low, high = self.slope_interval
        text = f"{self.reference or 'reference'} = {self.slope:.3g} x {self.method or 'estimate'}"
        if self.kind == "linear":
            text += f" {self.intercept:+.3g} nm"
        return (
            f"{text}; slope {low:.3g} to {high:.3g} ({100 * self.confidence:.0f} %), n = {self.n}, "
            f"leave-one-out error {self.loo_rmse:.3g} nm (uncalibrated "
            f"{self.uncalibrated_rmse:.3g} nm), valid {self.valid_from:.3g} to "
            f"{self.valid_to:.3g} nm"
        )


def fit_law(
    estimates: Sequence[float] | np.ndarray,
    references: Sequence[float] | np.ndarray,
    kind: str = "linear",
    confidence: float = 0.95,
    provenance: dict[str, str] | None = None,
) -> CalibrationLaw:
    """Fit a calibration law by least squares and test it by leaving one pair out at a time.

    Parameters
    ----------
    estimates, references : float (N,)
        Roughness from depth, and from AFM or the profile method on the same particles, nm.
    kind : str
        ``"scale"`` (one factor, from 2 pairs) or ``"linear"`` (factor and offset, from 4 pairs on
        worth reporting, 3 at least).
    confidence : float
        Of the intervals, between 0 and 1.
    provenance : dict
        ``method``, ``reference`` and ``source``, each as text.

    Raises
    ------
    DataError
        If there are too few pairs, they differ in number, are not finite, or all estimates
        are equal.

    Notes
    -----
    Estimates are taken as given without error; where both sides err alike, the slope is biased
    towards 0 and Deming regression (`particle_nb.core.agreement.regression`) tells by how much.

    Examples
    --------
    >>> law = fit_law([60, 75, 90, 105], [10, 20, 30, 40])
    >>> round(law.slope, 3), round(law.intercept, 1), round(law.loo_rmse, 6)
    (0.667, -30.0, 0.0)
    """
    x, y = _values(estimates, "estimates").ravel(), _values(references, "references").ravel()
    if kind not in ("scale", "linear"):
        raise DataError(f"a law is 'scale' or 'linear', not {kind!r}.")
    if x.size != y.size:
        raise DataError(f"{x.size} estimates and {y.size} references; they go in pairs.")
    if not (np.isfinite(x).all() and np.isfinite(y).all()):
        raise DataError("estimates and references must be finite; leave incomplete pairs out.")
    fewest = 2 if kind == "scale" else 3
    if x.size < fewest:
        raise DataError(f"{x.size} pairs are too few; a {kind} law takes {fewest}.")
    if not 0 < confidence < 1:
        raise DataError(f"confidence lies between 0 and 1, not {confidence!r}.")
    origin = {"method": "", "reference": "", "source": ""} | (provenance or {})
    if set(origin) != {"method", "reference", "source"}:
        raise DataError("provenance has the entries method, reference and source only.")
    mean = 0.0 if kind == "scale" else float(x.mean())
    spread = float(((x - mean) ** 2).sum())
    if not spread > 1e-12 * float((x**2).sum()):
        raise DataError("all estimates are equal; no law can be read off them.")
    base = 0.0 if kind == "scale" else float(y.mean())
    slope = float(((x - mean) * (y - base)).sum() / spread)
    intercept = base - slope * mean
    free = 1 if kind == "scale" else 2
    residual = y - slope * x - intercept
    sd = math.sqrt(float((residual**2).sum()) / (x.size - free))
    t = float(stats.t.ppf(0.5 + confidence / 2, x.size - free))
    slope_half = t * sd / math.sqrt(spread)
    offset_half = 0.0 if kind == "scale" else t * sd * math.sqrt(1 / x.size + mean**2 / spread)
    # a pair's own leverage gives its left-out error without fitting again
    leverage = (x - mean) ** 2 / spread + (0.0 if kind == "scale" else 1 / x.size)
    left_out = np.divide(
        residual, 1 - leverage, out=np.full_like(residual, np.nan), where=leverage < 1 - 1e-9
    )
    return CalibrationLaw(
        kind,
        slope,
        intercept,
        (slope - slope_half, slope + slope_half),
        (intercept - offset_half, intercept + offset_half),
        sd,
        float(np.sqrt(np.mean(left_out**2))),
        float(np.mean(np.abs(left_out))),
        float(np.mean(-left_out)),
        float(np.sqrt(np.mean((y - x) ** 2))),
        int(x.size),
        float(x.min()),
        float(x.max()),
        mean,
        spread,
        confidence,
        **{name: str(value) for name, value in origin.items()},
    )


def _values(values: Any, what: str) -> np.ndarray:
    try:
        return np.asarray(values, np.float64)
    except (TypeError, ValueError):
        raise DataError(f"{what} must be numbers in nm, not {type(values).__name__}.") from None
