"""Learning from a few labels: features, classes, how far they lie apart, sizes by class."""

from particle_nb.core.learning.classifier import UNKNOWN, ShapeClassifier
from particle_nb.core.learning.clusters import plane, separation
from particle_nb.core.learning.excluding import CoverBias, cover_bias, exclude_classes
from particle_nb.core.learning.features import FeatureTable, particle_numbers
from particle_nb.core.learning.fractions import class_fractions, class_sizes
from particle_nb.core.learning.geometry import BODIES, class_geometry
from particle_nb.core.learning.neighbours import neighbour_features

__all__ = [
    "BODIES",
    "UNKNOWN",
    "CoverBias",
    "FeatureTable",
    "ShapeClassifier",
    "class_fractions",
    "class_geometry",
    "class_sizes",
    "cover_bias",
    "exclude_classes",
    "neighbour_features",
    "particle_numbers",
    "plane",
    "separation",
]
