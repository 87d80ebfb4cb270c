"""A UNet++ of one's own: trained from scratch on a few annotated images."""

from particle_nb.models.unet.segmenter import Unet
from particle_nb.models.unet.settings import UnetSettings
from particle_nb.models.unet.training import train_unet

__all__ = ["Unet", "UnetSettings", "train_unet"]
