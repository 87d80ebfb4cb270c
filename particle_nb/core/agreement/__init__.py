"""How well two methods agree: limits of agreement, correlation, regression, reliability."""

from particle_nb.core.agreement.correlation import (
    Concordance,
    Correlation,
    ccc,
    correlation_interval,
    pearson,
    spearman,
)
from particle_nb.core.agreement.limits import BlandAltman, bland_altman, percentile_deviation
from particle_nb.core.agreement.regression import Regression, deming, passing_bablok
from particle_nb.core.agreement.reliability import Intraclass, Repeatability, icc, repeatability

__all__ = [
    "BlandAltman",
    "Concordance",
    "Correlation",
    "Intraclass",
    "Regression",
    "Repeatability",
    "bland_altman",
    "ccc",
    "correlation_interval",
    "deming",
    "icc",
    "passing_bablok",
    "pearson",
    "percentile_deviation",
    "repeatability",
    "spearman",
]
