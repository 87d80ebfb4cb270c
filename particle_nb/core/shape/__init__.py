"""Size and shape of particles from their outlines."""

from particle_nb.core.shape.contour import ESTIMATOR
from particle_nb.core.shape.descriptors import DESCRIPTORS, PAPER_NAMES, Descriptor, Region
from particle_nb.core.shape.measuring import MeasureSettings, edge_weights, measure
from particle_nb.core.shape.reference import compare_shapes, read_shapes, shape_percentiles
from particle_nb.core.shape.structure import particle_structure

__all__ = [
    "DESCRIPTORS",
    "ESTIMATOR",
    "PAPER_NAMES",
    "Descriptor",
    "MeasureSettings",
    "Region",
    "compare_shapes",
    "edge_weights",
    "measure",
    "particle_structure",
    "read_shapes",
    "shape_percentiles",
]
