"""What a run leaves beside its page: ``results.json``, versions, where a number came from."""

from __future__ import annotations

import importlib.metadata
import json
import math
import os
import platform
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from particle_nb.core.errors import DataError
from particle_nb.core.files import atomic, parse_json, read_regular
from particle_nb.core.image import Image
from particle_nb.models.protocols import answering

if TYPE_CHECKING:
    from particle_nb.models import Segmenter
    from particle_nb.session import Session

_LARGEST_RESULTS = 2**28
_DEEPEST = 20  # levels of nested results that become columns
#: Packages whose versions a report names: those that can change a number.
PACKAGES = (
    "particle_nb",
    "numpy",
    "scipy",
    "pandas",
    "scikit-image",
    "scikit-learn",
    "numba",
    "torch",
    "transformers",
    "tifffile",
    "pillow",
    "plotly",
    "papermill",
)


def software() -> dict[str, str]:
    """Return the versions that a number depends on.

    Examples
    --------
    >>> "numpy" in software()
    True
    """
    versions = {"python": platform.python_version(), "system": platform.platform()}
    for package in PACKAGES:
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return versions


def provenance(session: Session, images: Sequence[Image]) -> dict[str, Any]:
    """Return what is needed to repeat a result: images, scales, model, weights, software.

    Examples
    --------
    >>> from particle_nb.session import Session
    >>> about = provenance(Session("classical"), [Image(np.zeros((2, 3)), name="a")])
    >>> about["segmenter"]["name"], about["images"][0]["name"]
    ('classical', 'a')
    """
    model = session.segmenter
    return {
        "segmenter": {
            "name": model.name,
            "weights": model.digest,
            "about": str(getattr(model, "about", "")),
            "settings": repr(getattr(model, "settings", None)),
        },
        "images": [
            {
                "name": image.name,
                "digest": image.digest,
                "height": image.shape[0],
                "width": image.shape[1],
                "scale": str(image.calibration) if image.calibration is not None else "none",
                **_answered(model, image),
                **{key: plain(value) for key, value in image.info.items()},
            }
            for image in images
        ],
        "software": software(),
    }


def _answered(model: Segmenter, image: Image) -> dict[str, str]:
    """Whose weights answer for an image, where they are not the model's own."""
    who = answering(model, image)
    return {} if who is model else {"answered by": f"{who.name} ({who.digest})"}


def write_json(path: str | os.PathLike[str], values: Mapping[str, Any]) -> None:
    """Write a mapping as JSON, whole or not at all; numpy values, NaN and paths are made plain."""
    with atomic(path) as stream:
        stream.write(json.dumps(plain(dict(values)), indent=1, allow_nan=False).encode("utf-8"))


def read_json(path: Path) -> dict[str, Any]:
    """Return what a JSON file holds; empty where it is missing, damaged or no mapping.

    Examples
    --------
    >>> read_json(Path("none.json"))
    {}
    """
    try:
        found = parse_json(read_regular(path, _LARGEST_RESULTS)[0], path.name)
    except DataError:
        return {}
    if not isinstance(found, dict):
        return {}
    # JSON can hold half a character, which no table or page can
    whole: dict[str, Any] = json.loads(
        json.dumps(found, ensure_ascii=False).encode("utf-8", "replace")
    )
    return whole


def image_names(paths: Sequence[str | os.PathLike[str]]) -> list[str]:
    """Return a name for each file that no other has: its stem, or its path below the common folder.

    Examples
    --------
    >>> image_names(["a/1.tif", "a/2.tif"]), image_names(["a/1.tif", "b/1.tif"])
    (['1', '2'], ['a/1.tif', 'b/1.tif'])
    """
    full = [Path(path).absolute() for path in paths]
    names = [path.stem for path in full]
    if len({name.lower() for name in names}) < len(names):
        common = Path(os.path.commonpath([path.parent for path in full]))
        names = [path.relative_to(common).as_posix() for path in full]
    return names


def plain(value: Any) -> Any:
    """Make a value that JSON and papermill can carry."""
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, set, np.ndarray)):
        return [plain(item) for item in value]
    if isinstance(value, (bool, np.bool_)):
        return bool(value)
    if isinstance(value, (int, np.integer)):
        return int(value)
    if isinstance(value, (float, np.floating)):
        return float(value) if math.isfinite(value) else None
    return value if value is None or isinstance(value, str) else str(value)


def flatten(values: Mapping[str, Any], prefix: str = "", depth: int = 0) -> dict[str, Any]:
    """Return nested mappings as one, keys joined by dots, without figures' data and lists.

    Examples
    --------
    >>> flatten({"size": {"D50": 2.0, "all": [1, 2]}, "unit": "um"})
    {'size.D50': 2.0, 'unit': 'um'}
    """
    flat: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, Mapping) and depth < _DEEPEST:
            if key not in ("figures", "software"):
                flat |= flatten(value, f"{prefix}{key}.", depth + 1)
        elif isinstance(value, Mapping):
            flat[f"{prefix}{key}"] = "..."
        elif not isinstance(value, list):
            flat[f"{prefix}{key}"] = value
    return flat
