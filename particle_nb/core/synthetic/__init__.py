"""Synthetic micrographs with known truth: masks, heights, classes, sizes and roughness."""

from particle_nb.core.synthetic.bodies import ReferenceBody, rough_sphere
from particle_nb.core.synthetic.detectors import Detector, Exposure
from particle_nb.core.synthetic.population import Population, Sizes
from particle_nb.core.synthetic.presets import PRESETS, preset
from particle_nb.core.synthetic.random_specimens import random_settings
from particle_nb.core.synthetic.scenes import COLUMNS, Scene, gallery, scene
from particle_nb.core.synthetic.settings import MATERIALS, PACKINGS, Ground, SceneSettings

__all__ = [
    "COLUMNS",
    "MATERIALS",
    "PACKINGS",
    "PRESETS",
    "Detector",
    "Exposure",
    "Ground",
    "Population",
    "ReferenceBody",
    "Scene",
    "SceneSettings",
    "Sizes",
    "gallery",
    "preset",
    "random_settings",
    "rough_sphere",
    "scene",
]
