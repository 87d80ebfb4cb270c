"""What a model is to the rest of the toolkit: three protocols and the list `MODELS`.

Nothing heavy is imported here; torch comes in when a model is loaded.
"""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
import pandas as pd

from particle_nb.core.errors import ModelError
from particle_nb.core.image import Image
from particle_nb.core.masks import MaskSet
from particle_nb.core.prompt import Prompt

#: A part of an image as (x0, y0, x1, y1) in pixels, ends exclusive.
Window = tuple[int, int, int, int]


@dataclass(frozen=True, eq=False)
class Embedding:
    """What a segmenter keeps of an image, or of a window of it, to answer prompts.

    Parameters
    ----------
    model, weights : str
        Name of the model and digest of its weights.
    image : str
        Digest of the image.
    shape : (H, W)
        Size of the whole image in pixels.
    window : (x0, y0, x1, y1)
        The encoded part; the whole image when it spans it.
    arrays : mapping of str to array or tensor
        The cached numbers; the model alone knows what they mean.
    meta : mapping of str to number, str or list
        Small facts that go with them; must survive a round trip through JSON.
    """

    model: str
    weights: str
    image: str
    shape: tuple[int, int]
    window: Window
    arrays: Mapping[str, Any] = field(default_factory=dict)
    meta: Mapping[str, Any] = field(default_factory=dict)

    @property
    def nbytes(self) -> int:
        """Size of the cached numbers in bytes."""
        return int(sum(array.nbytes for array in self.arrays.values()))


#: Called with (done, total); the caller shows it.
Progress = Callable[[int, int], None]
#: How a model gets an embedding of a window: the session answers from its cache.
Encode = Callable[[Image, Window | None], Embedding]


@runtime_checkable
class Segmenter(Protocol):
    """Encode once, prompt many."""

    name: str
    digest: str

    def encode(self, image: Image, window: Window | None = None) -> Embedding:
        """Return what is needed to answer prompts in the window (the whole image if None)."""
        ...

    def predict(self, embedding: Embedding, prompt: Prompt) -> MaskSet:
        """Return up to three candidates in the full image's frame, best predicted IoU first.

        The prompt is in full-image pixels. A sketch is a mask prompt: a rough drawing or the
        previous mask to be refined.
        """
        ...

    def generate(
        self, image: Image, encode: Encode | None = None, progress: Progress | None = None
    ) -> MaskSet:
        """Automatic mode: propose every particle; `encode` serves embeddings from a cache."""
        ...


@runtime_checkable
class DepthEstimator(Protocol):
    """Relative height from one image: larger is nearer to the detector."""

    name: str
    digest: str

    def estimate(self, image: Image, window: Window | None = None) -> np.ndarray:
        """Return relative heights, float32 (h, w) of the window."""
        ...


@runtime_checkable
class FeatureExtractor(Protocol):
    """One vector per particle."""

    name: str
    digest: str

    def extract(self, image: Image, masks: MaskSet) -> np.ndarray:
        """Return float32 (N, D)."""
        ...


@dataclass(frozen=True)
class ModelEntry:
    """One line of `MODELS`: what a model is and how to get it.

    `loader` is ``"module:function"``; the function takes (source, device) and returns the model.
    `hub` (start of the hub id), `package` or `file` (below this folder) says where to look for it.
    """

    kind: str
    loader: str
    about: str
    get: str
    licence: str = ""
    hub: str = ""
    package: str = ""
    file: str = ""


MODELS: dict[str, ModelEntry] = {
    "embedded": ModelEntry(
        "segmenter",
        "particle_nb.models.embedded.segmenter:load",
        "small promptable segmenter trained by this project; offline, on a CPU",
        "comes with the package",
        "MIT",
        file="embedded/segmenter.safetensors",
    ),
    "classical": ModelEntry(
        "segmenter",
        "particle_nb.models.classical:load",
        "Otsu threshold and distance-transform watershed; no weights",
        "comes with the package",
        "MIT",
    ),
    "sam": ModelEntry(
        "segmenter",
        "particle_nb.models.sam:load",
        "Segment Anything (ViT-B/L/H): a hub id such as facebook/sam-vit-huge, "
        "a local folder, or an official sam_vit_*.pth file",
        "hf download facebook/sam-vit-huge",
        "Apache-2.0",
        hub="facebook/sam-vit",
    ),
    "segment-anything": ModelEntry(
        "segmenter",
        "particle_nb.models.sam:load_original",
        "the original segment-anything package on an official .pth file",
        "pip install segment-anything torchvision",
        "Apache-2.0",
        package="segment_anything",
    ),
    "embedded-depth": ModelEntry(
        "depth",
        "particle_nb.models.embedded.depth:load",
        "small depth model trained by this project on rendered particles with true heights; "
        "offline, on a CPU; 'embedded' as depth means this one",
        "comes with the package",
        "MIT",
        file="embedded/depth.safetensors",
    ),
    "dpt": ModelEntry(
        "depth",
        "particle_nb.models.depth:load",
        "monocular depth (DPT-Large, Depth Anything V2, ZoeDepth): a hub id such as "
        "Intel/dpt-large or a local folder",
        "hf download Intel/dpt-large",
        "Apache-2.0",
        hub="intel/dpt",
    ),
    "dinov2": ModelEntry(
        "features",
        "particle_nb.models.features:load",
        "one vector per particle (DINOv2): a hub id such as facebook/dinov2-base or a local folder",
        "hf download facebook/dinov2-base",
        "Apache-2.0",
        hub="facebook/dinov2",
    ),
}


def load_model(source: str, kind: str, device: str = "auto") -> Any:
    """Load a model by its name in `MODELS`, hub id, folder or file.

    Parameters
    ----------
    source : str
        A key of `MODELS`, optionally with ``:`` and a path behind it
        (``"segment-anything:sam_vit_b_01ec64.pth"``), or what the kind's general loader
        understands: a hub id, a folder, a checkpoint.
    kind : str
        ``"segmenter"``, ``"depth"`` or ``"features"``.
    device : str
        ``"auto"``, ``"cpu"``, ``"cuda"`` or ``"mps"``.

    Raises
    ------
    ModelError
        If nothing of that name and kind is known, or it cannot be loaded.

    Examples
    --------
    >>> load_model("classical", "segmenter").name
    'classical'
    """
    if not isinstance(source, str) or not source:
        raise ModelError(f"a model is named by text, not {source!r}; see `particle-nb models`.")
    name, _, rest = source.partition(":")
    entry = MODELS.get(name)
    if entry is not None and entry.kind != kind:
        # "embedded" is the package's own model of whatever kind is asked for.
        entry = MODELS.get(f"{name}-{kind}", entry)
    if entry is not None and entry.kind != kind:
        raise ModelError(f"{name!r} is a {entry.kind}, not a {kind}; see `particle-nb models`.")
    if entry is None:
        name, rest = (
            {"segmenter": "sam", "depth": "dpt", "features": "dinov2"}.get(kind, ""),
            source,
        )
        entry = MODELS.get(name)
        if entry is None:
            known = ", ".join(n for n, e in MODELS.items() if e.kind == kind) or "none yet"
            raise ModelError(f"no {kind} model {source!r}; known here: {known}.")
    module, function = entry.loader.split(":")
    return getattr(importlib.import_module(module), function)(rest, device)


def describe_models() -> pd.DataFrame:
    """List the models: what is here, where it was looked for, how to get the others.

    Returns
    -------
    DataFrame
        ``model``, ``kind``, ``here`` (bool), ``where``, ``about``, ``get``, ``licence``.

    Examples
    --------
    >>> describe_models().set_index("model").here["classical"]
    np.True_
    """
    rows = []
    for name, entry in MODELS.items():
        here, where = _find(name, entry)
        rows.append(
            {
                "model": name,
                "kind": entry.kind,
                "here": here,
                "where": where,
                "about": entry.about,
                "get": "" if here else entry.get,
                "licence": entry.licence,
            }
        )
    return pd.DataFrame(rows)


def _find(name: str, entry: ModelEntry) -> tuple[bool, str]:
    """Where a model was looked for, and whether it is there."""
    if entry.hub:
        from huggingface_hub import constants, scan_cache_dir
        from huggingface_hub.errors import CacheNotFound

        try:
            found = sorted(
                repo.repo_id
                for repo in scan_cache_dir().repos
                if repo.repo_id.lower().startswith(entry.hub)
            )
        except CacheNotFound:
            found = []
        return bool(found), ", ".join(found) or constants.HF_HUB_CACHE
    if entry.package:
        spec = importlib.util.find_spec(entry.package)
        return spec is not None, f"Python package {entry.package}"
    if entry.file:
        path = Path(__file__).parent / entry.file
        return path.is_file(), str(path)
    return True, "part of the code"
