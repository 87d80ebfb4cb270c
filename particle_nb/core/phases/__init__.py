"""Phases of an image from a few strokes: features of pixels, a forest, the map and its shares."""

from particle_nb.core.phases.committee import Committee, appoint
from particle_nb.core.phases.dense import DenseFeatures, Plane, joined
from particle_nb.core.phases.filters import channels_of, filter_bank
from particle_nb.core.phases.forest import Forest, Growth, grow
from particle_nb.core.phases.fractions import phase_fractions
from particle_nb.core.phases.phase_map import PhaseMap
from particle_nb.core.phases.smoothing import guided
from particle_nb.core.phases.stroke_log import Stroke, StrokeLog

__all__ = [
    "Committee",
    "DenseFeatures",
    "Forest",
    "Growth",
    "PhaseMap",
    "Plane",
    "Stroke",
    "StrokeLog",
    "appoint",
    "channels_of",
    "filter_bank",
    "grow",
    "guided",
    "joined",
    "phase_fractions",
]
