"""Values of the core as plotly figures; nothing is measured here that `core` does not measure."""

from particle_nb.figures.agreement import bland_altman, correlation
from particle_nb.figures.comparing import compare
from particle_nb.figures.depth_maps import depth, gallery
from particle_nb.figures.learning import feature_map, separation_series
from particle_nb.figures.masks import overlay, triptych
from particle_nb.figures.matching import f1_curve, reliability
from particle_nb.figures.phase_maps import phases
from particle_nb.figures.picking import linked_depth
from particle_nb.figures.roughness import (
    calibration_law,
    cross_section,
    heights,
    roughness_comparison,
)
from particle_nb.figures.sizes import psd, rrsb
from particle_nb.figures.slides import write_slide
from particle_nb.figures.surfaces import point_cloud, surface
from particle_nb.figures.tables import funnel, shapes
from particle_nb.figures.volumes import chords, slices, solids, two_point

__all__ = [
    "bland_altman",
    "calibration_law",
    "chords",
    "compare",
    "correlation",
    "cross_section",
    "depth",
    "f1_curve",
    "feature_map",
    "funnel",
    "gallery",
    "heights",
    "linked_depth",
    "overlay",
    "phases",
    "point_cloud",
    "psd",
    "reliability",
    "roughness_comparison",
    "rrsb",
    "separation_series",
    "shapes",
    "slices",
    "solids",
    "surface",
    "triptych",
    "two_point",
    "write_slide",
]
