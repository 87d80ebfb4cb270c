"""From relative depth to a surface in nanometres, and its roughness."""

from particle_nb.core.surface.areal import (
    Roughness,
    SmoothNull,
    areal_parameters,
    roughness,
    smooth_form_null,
)
from particle_nb.core.surface.cloud import PointCloud, point_cloud
from particle_nb.core.surface.depth import DepthMap
from particle_nb.core.surface.law import CalibrationLaw, fit_law
from particle_nb.core.surface.levelling import Levelled, level
from particle_nb.core.surface.profile import ContourProfile, contour_roughness
from particle_nb.core.surface.table import DepthErrors, RoughnessSettings, roughness_table
from particle_nb.core.surface.texture import (
    Section,
    SpatialParameters,
    TextureMap,
    residual_map,
    section,
    spatial_parameters,
    texture_map,
)

__all__ = [
    "CalibrationLaw",
    "ContourProfile",
    "DepthErrors",
    "DepthMap",
    "Levelled",
    "PointCloud",
    "Roughness",
    "RoughnessSettings",
    "Section",
    "SmoothNull",
    "SpatialParameters",
    "TextureMap",
    "areal_parameters",
    "contour_roughness",
    "fit_law",
    "level",
    "point_cloud",
    "residual_map",
    "roughness",
    "roughness_table",
    "section",
    "smooth_form_null",
    "spatial_parameters",
    "texture_map",
]
