"""Micrographs as they come from the microscope: pixels, scale, info bar."""

from particle_nb.core.image.image import METRES, Calibration, Image
from particle_nb.core.image.reading import read_image, read_pixels
from particle_nb.core.image.region import RegionOfInterest, RegionPart
from particle_nb.core.image.scale import CalibrationWarning
from particle_nb.core.image.scale_bar import ScaleBar, find_scale_bar

__all__ = [
    "METRES",
    "Calibration",
    "CalibrationWarning",
    "Image",
    "RegionOfInterest",
    "RegionPart",
    "ScaleBar",
    "find_scale_bar",
    "read_image",
    "read_pixels",
]
