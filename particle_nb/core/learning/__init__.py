"""Learning from a few labels: features, classes, how far they lie apart, sizes by class."""

from particle_nb.core.learning.classifier import UNKNOWN, ShapeClassifier
from particle_nb.core.learning.clusters import plane, separation
from particle_nb.core.learning.features import FeatureTable, particle_numbers
from particle_nb.core.learning.geometry import BODIES, class_geometry

__all__ = [
    "BODIES",
    "UNKNOWN",
    "FeatureTable",
    "ShapeClassifier",
    "class_geometry",
    "particle_numbers",
    "plane",
    "separation",
]
