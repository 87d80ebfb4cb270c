"""Micrographs as they come from the microscope: pixels, scale, info bar."""

from particle_nb.core.image.image import METRES, Calibration, Image
from particle_nb.core.image.reading import read_image, read_pixels
from particle_nb.core.image.region import RegionOfInterest, RegionPart
from particle_nb.core.image.scale import CalibrationWarning

__all__ = [
    "METRES",
    "Calibration",
    "CalibrationWarning",
    "Image",
    "RegionOfInterest",
    "RegionPart",
    "read_image",
    "read_pixels",
]
