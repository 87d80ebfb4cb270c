"""Particle size, shape and surface roughness from micrographs, in a notebook.

The public names below are imported when they are first used, so that ``import particle_nb`` is
quick and brings in neither torch nor the widgets.

Examples
--------
>>> import particle_nb as pnb
>>> pnb.Calibration(0.31, "um").to("nm")
310.0
"""

from __future__ import annotations

import importlib
from typing import Any

_NAMES = {
    "background": ("BackgroundTune",),
    "batches": (
        "BatchResult",
        "BatchSettings",
        "batch",
        "compare_batches",
        "read_batch",
        "summarise",
        "write_comparison",
    ),
    "core.annotation": ("replay",),
    "core.cascade": ("FilterSettings", "cascade", "mask_values"),
    "core.errors": (
        "CalibrationError",
        "DataError",
        "ImageError",
        "ModelError",
        "ParticleError",
        "PromptError",
    ),
    "core.exports": ("methods_text",),
    "core.image": (
        "Calibration",
        "Image",
        "RegionOfInterest",
        "RegionPart",
        "ScaleBar",
        "find_scale_bar",
        "read_image",
    ),
    "core.learning": (
        "FeatureTable",
        "ShapeClassifier",
        "class_fractions",
        "class_geometry",
        "class_sizes",
        "cover_bias",
        "exclude_classes",
        "neighbour_features",
        "separation",
    ),
    "core.masks": ("Mask", "MaskSet", "Prompt"),
    "core.matching": ("match",),
    "core.phases": ("PhaseMap",),
    "core.shape": ("DESCRIPTORS", "measure", "particle_structure"),
    "core.sizes": (
        "Comparison",
        "SegmentationErrors",
        "SizeDistribution",
        "compare",
        "read_distribution",
        "size_distribution",
    ),
    "core.surface": (
        "DepthMap",
        "PointCloud",
        "RoughnessSettings",
        "contour_roughness",
        "point_cloud",
        "roughness",
    ),
    "core.volume": ("Volume", "microstructure"),
    "models.tuning.settings": ("TuneSettings",),
    "models.tuning.tuned": ("Tuned",),
    "models.unet": ("Unet", "UnetSettings", "train_unet"),
    "reconstruction": ("ReconstructSettings", "reconstruct"),
    "resolution": ("super_resolve",),
    "phase_classifier": ("PhaseClassifier", "PhaseSettings"),
    "session": ("Session",),
    "training_sets": ("TrainingSetSettings", "training_set"),
    "topography": ("particle_depth", "roughness_table"),
    "validation": ("collect", "report", "validate"),
    "widgets.gallery": ("Gallery",),
    "widgets.annotator": ("Annotator", "open_annotation"),
    "widgets.phase_painter": ("PhasePainter",),
}
_WHERE = {name: module for module, names in _NAMES.items() for name in names}
_MODULES = {
    "agreement": "core.agreement",
    "exports": "core.exports",
    "figures": "figures",
    "matching": "core.matching",
    "synthetic": "core.synthetic",
    "volume": "core.volume",
}

__all__ = ["__version__", *sorted([*_WHERE, *_MODULES])]


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        return version("particle_nb")
    if name in _MODULES:
        return importlib.import_module(f"particle_nb.{_MODULES[name]}")
    if name in _WHERE:
        return getattr(importlib.import_module(f"particle_nb.{_WHERE[name]}"), name)
    raise AttributeError(f"module 'particle_nb' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
