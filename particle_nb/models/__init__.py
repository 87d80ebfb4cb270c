"""What a model is to the rest of the toolkit: three protocols and the list `MODELS`."""

from particle_nb.models.protocols import (
    DepthEstimator,
    Embedding,
    Encode,
    FeatureExtractor,
    Progress,
    Segmenter,
    Window,
)
from particle_nb.models.registry import MODELS, ModelEntry, describe_models, load_model

__all__ = [
    "MODELS",
    "DepthEstimator",
    "Embedding",
    "Encode",
    "FeatureExtractor",
    "ModelEntry",
    "Progress",
    "Segmenter",
    "Window",
    "describe_models",
    "load_model",
]
