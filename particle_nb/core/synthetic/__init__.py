"""Synthetic micrographs with known truth: masks, heights, classes, sizes and roughness."""

from particle_nb.core.synthetic.bodies import ReferenceBody, rough_sphere
from particle_nb.core.synthetic.composites import (
    Composite,
    CompositeSettings,
    Inclusion,
    composite,
)
from particle_nb.core.synthetic.detectors import Detector, Exposure
from particle_nb.core.synthetic.operators import redrawn
from particle_nb.core.synthetic.outlines import OUTLINES, KnownOutline
from particle_nb.core.synthetic.population import Population, Sizes
from particle_nb.core.synthetic.powders import powder
from particle_nb.core.synthetic.presets import PRESETS, preset
from particle_nb.core.synthetic.random_specimens import random_settings
from particle_nb.core.synthetic.scenes import COLUMNS, Scene, gallery, scene
from particle_nb.core.synthetic.settings import MATERIALS, PACKINGS, Ground, SceneSettings
from particle_nb.core.synthetic.spheres import TrueHeights, random_sphere, rough_spheres

__all__ = [
    "COLUMNS",
    "MATERIALS",
    "OUTLINES",
    "PACKINGS",
    "PRESETS",
    "Composite",
    "CompositeSettings",
    "Detector",
    "Exposure",
    "Ground",
    "Inclusion",
    "KnownOutline",
    "Population",
    "ReferenceBody",
    "Scene",
    "SceneSettings",
    "Sizes",
    "TrueHeights",
    "composite",
    "gallery",
    "powder",
    "preset",
    "random_settings",
    "random_sphere",
    "redrawn",
    "rough_sphere",
    "rough_spheres",
    "scene",
]
