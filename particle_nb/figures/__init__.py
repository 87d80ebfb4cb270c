"""Values of the core as plotly figures; nothing is measured here that `core` does not measure."""

from particle_nb.figures.distributions import psd, rrsb
from particle_nb.figures.pictures import overlay, triptych
from particle_nb.figures.tables import funnel, shapes

__all__ = ["funnel", "overlay", "psd", "rrsb", "shapes", "triptych"]
