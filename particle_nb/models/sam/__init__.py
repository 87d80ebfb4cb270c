"""Segment Anything behind the toolkit's protocol, by transformers or by its own package."""

from particle_nb.models.sam.sam import load, load_original

__all__ = [
    "load",
    "load_original",
]
