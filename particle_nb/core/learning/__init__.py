"""Learning from a few labels: features, classes, how far they lie apart, sizes by class."""

from particle_nb.core.learning.features import FeatureTable, particle_numbers

__all__ = ["FeatureTable", "particle_numbers"]
