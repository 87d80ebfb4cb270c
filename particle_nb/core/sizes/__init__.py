"""Size distributions: percentiles, moments, laws, intervals, and those of other instruments."""

from particle_nb.core.sizes.comparing import Comparison, compare
from particle_nb.core.sizes.distribution import SizeDistribution
from particle_nb.core.sizes.finding import SegmentationErrors
from particle_nb.core.sizes.intervals import ConfidenceInterval
from particle_nb.core.sizes.laws import RRSB, Interval, LogNormal, fit_lognormal, fit_rrsb
from particle_nb.core.sizes.measured import size_distribution
from particle_nb.core.sizes.reference import (
    ReferenceDistribution,
    ReferenceWarning,
    read_distribution,
)
from particle_nb.core.sizes.uncertainty import percentile_count
from particle_nb.core.sizes.variation import ImageVariation, image_variation, shape_means

__all__ = [
    "RRSB",
    "Comparison",
    "ConfidenceInterval",
    "ImageVariation",
    "Interval",
    "LogNormal",
    "ReferenceDistribution",
    "ReferenceWarning",
    "SegmentationErrors",
    "SizeDistribution",
    "compare",
    "fit_lognormal",
    "fit_rrsb",
    "image_variation",
    "percentile_count",
    "read_distribution",
    "shape_means",
    "size_distribution",
]
