"""Volumes of phases, and what is measured of them: statistics, surfaces, transport."""

from particle_nb.core.volume.connecting import connectivity
from particle_nb.core.volume.correlation import two_point
from particle_nb.core.volume.interfaces import interface_areas
from particle_nb.core.volume.intervals import DiffusionInterval, diffusivity_interval
from particle_nb.core.volume.lines import chord_lengths, lineal_path
from particle_nb.core.volume.representative import representativity
from particle_nb.core.volume.table import MicrostructureSettings, microstructure
from particle_nb.core.volume.transport import (
    ConvergenceWarning,
    Diffusion,
    TransportSettings,
    diffusivity,
)
from particle_nb.core.volume.volume import Volume, as_volume

__all__ = [
    "ConvergenceWarning",
    "Diffusion",
    "DiffusionInterval",
    "MicrostructureSettings",
    "TransportSettings",
    "Volume",
    "as_volume",
    "chord_lengths",
    "connectivity",
    "diffusivity",
    "diffusivity_interval",
    "interface_areas",
    "lineal_path",
    "microstructure",
    "representativity",
    "two_point",
]
