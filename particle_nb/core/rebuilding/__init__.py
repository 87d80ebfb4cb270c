"""Volumes from sections: their statistics, and annealing until the volume has them too."""

from particle_nb.core.rebuilding.annealing import Course, annealed, match_fractions, stages
from particle_nb.core.rebuilding.counts import Terms
from particle_nb.core.rebuilding.sections import Sections, sections_of
from particle_nb.core.rebuilding.settings import METHODS, ReconstructSettings

__all__ = [
    "METHODS",
    "Course",
    "ReconstructSettings",
    "Sections",
    "Terms",
    "annealed",
    "match_fractions",
    "sections_of",
    "stages",
]
