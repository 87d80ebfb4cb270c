"""Depth models of transformers: DPT, Depth Anything, ZoeDepth and their kin.

Any size of image goes in: the part that is asked for is cut into overlapping squares, each goes
through the model at the model's own resolution, and the results, which have no common scale, are
fitted to each other in their overlaps and blended. A particle of 60 px gets the model's full
resolution when its own window is asked for (`particle_window`).
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image as Pillow

from particle_nb.core.errors import ModelError
from particle_nb.core.image import Image
from particle_nb.core.image.window import checked_window
from particle_nb.models import weights as model_weights
from particle_nb.models.pixels import to_rgb
from particle_nb.models.protocols import DepthEstimator, Window
from particle_nb.models.tiles import DepthSettings, estimate_tiled
from particle_nb.models.weights import find_folder, normalisation, read_json, read_model

#: What larger numbers mean in each type's output: +1 nearer (inverse depth), -1 farther (metric).
ORIENTATION = {"dpt": 1, "depth_anything": 1, "depth_pro": 1, "zoedepth": -1, "glpn": -1}
#: Parts of a checkpoint that the forward pass never reads, so that official files lack them.
_UNUSED = re.compile(r"fusion_stage\.layers\.0\.residual_layer1\.|pooler\.")
_BATCH = 4


class TransformersDepth:
    """A depth model of transformers behind the `DepthEstimator` protocol.

    Attributes
    ----------
    name, digest : str
        Source and digest of the weights.
    side : int
        Side of the square that the model sees, in its own pixels.
    sign : int
        +1 where the raw output grows towards the detector, -1 where it grows away from it.
    """

    def __init__(
        self, model: Any, name: str, side: int, sign: int, norm: tuple[Any, Any], digest: str
    ) -> None:
        self.model, self.name, self.side, self.sign = model, name, side, sign
        self.mean, self.std = (np.asarray(v, np.float32) for v in norm)
        self.digest = digest
        self.device = next(model.parameters()).device
        self.settings = DepthSettings()

    def estimate(self, image: Image, window: Window | None = None) -> np.ndarray:
        """Return relative heights of the window, float32 (h, w), larger is nearer.

        Raises
        ------
        ImageError
            If the window does not lie within the image.
        ModelError
            If the model puts out something that is no depth map.
        """
        x0, y0, x1, y1 = checked_window(window, image.shape)
        rgb = to_rgb(image)[y0:y1, x0:x1]
        return estimate_tiled(rgb, self._squares, self.settings)

    def _squares(self, squares: list[np.ndarray]) -> list[np.ndarray]:
        """Return heights for square uint8 (s, s, 3) pictures of any size."""
        found = []
        for start in range(0, len(squares), _BATCH):
            part = squares[start : start + _BATCH]
            batch = np.stack([self._prepare(square) for square in part])
            with torch.inference_mode():
                values = self.model(pixel_values=torch.from_numpy(batch).to(self.device))
                depth = values.predicted_depth.float()
                depth = depth.reshape(len(part), 1, *depth.shape[-2:])
                for square, one in zip(part, depth, strict=True):
                    resized = torch.nn.functional.interpolate(
                        one[None], square.shape[:2], mode="bicubic", align_corners=False
                    )
                    found.append(self.sign * resized[0, 0].cpu().numpy())
        for heights in found:
            if not np.isfinite(heights).all():
                raise ModelError(f"{self.name!r} puts out NaN or infinite depths; weights damaged?")
        return found

    def _prepare(self, square: np.ndarray) -> np.ndarray:
        picture = Pillow.fromarray(np.ascontiguousarray(square))
        picture = picture.resize((self.side, self.side), Pillow.Resampling.BICUBIC)
        unit = np.asarray(picture, np.float32) / 255
        return np.ascontiguousarray(((unit - self.mean) / self.std).transpose(2, 0, 1))

    def __repr__(self) -> str:
        return f"<{type(self.model).__name__} {self.name!r} at {self.side} px, {self.device}>"


def load(
    source: str, device: str = "auto", settings: DepthSettings | None = None
) -> TransformersDepth:
    """Load a depth model by hub id or folder.

    Parameters
    ----------
    source : str
        A folder with ``config.json`` and ``*.safetensors``, or a hub id in the local cache, e.g.
        ``Intel/dpt-large``, ``depth-anything/Depth-Anything-V2-Small-hf``,
        ``Intel/zoedepth-nyu-kitti``. Nothing is downloaded unless the environment says
        ``PARTICLE_NB_DOWNLOAD=1``.
    device : str
        ``"auto"``, ``"cpu"``, ``"cuda"`` or ``"mps"``.
    settings : DepthSettings or None
        Tiles and orientation.

    Raises
    ------
    ModelError
        If it is not there, no depth model, damaged, or of a type with unknown orientation.

    Examples
    --------
    >>> load("no/such-depth-model")
    Traceback (most recent call last):
    ...
    particle_nb.core.errors.ModelError: ...
    """
    from transformers import AutoModelForDepthEstimation

    settings = settings or DepthSettings()
    folder = find_folder(source, "depth model", "Intel/dpt-large")
    target = model_weights.pick_device(device)
    config = read_json(folder / "config.json", source)
    sign = _sign(config, source, settings.orientation)
    model, digest = read_model(folder, source, AutoModelForDepthEstimation, "depth model", _UNUSED)
    saved = folder / "preprocessor_config.json"
    given = read_json(saved, source) if saved.is_file() else {}
    mean, std = normalisation(given, saved)
    side = _side(given, config, model)
    found = TransformersDepth(
        model.to(target).eval(), folder.name if folder == Path(source) else source, side, sign,
        (mean, std), digest,
    )  # fmt: skip
    found.settings = settings
    return found


def _sign(config: dict[str, Any], source: str, orientation: str) -> int:
    kind = str(config.get("model_type"))
    if orientation != "auto":
        return 1 if orientation == "nearer" else -1
    if kind not in ORIENTATION:
        raise ModelError(
            f"{source!r} is a {kind!r} model; known depth models are {', '.join(ORIENTATION)}. If "
            "it is another depth model, say what larger outputs mean: "
            "DepthSettings(orientation='nearer' or 'farther')."
        )
    metric = config.get("depth_estimation_type") == "metric"
    # DPT heads on DINOv2 were trained on distances in metres, those of MiDaS on inverse depth
    backbone = config.get("backbone_config") or {}
    if kind == "dpt" and str(backbone.get("model_type", "")).startswith("dinov2"):
        metric = True
    return -1 if metric else ORIENTATION[kind]


def _side(given: dict[str, Any], config: dict[str, Any], model: Any) -> int:
    """Return the side of the square input: the processor's, else the configuration's."""
    size = given.get("size")
    if isinstance(size, dict):
        size = min((int(v) for v in size.values() if v), default=None)
    backbone = getattr(model.config, "backbone_config", None)
    if not size:
        size = config.get("image_size") or getattr(backbone, "image_size", None) or 384
    size = min(size) if isinstance(size, (list, tuple)) else int(size)
    patch = getattr(backbone, "patch_size", None) or config.get("patch_size") or 16
    patch = max(patch) if isinstance(patch, (list, tuple)) else int(patch)
    return max(patch, size // patch * patch)


def orientation_score(estimator: DepthEstimator, side: int = 256) -> float:
    """Return how well an estimator tells a ball's top from its rim: a correlation, -1 to 1.

    A drawn ball with SEM contrast (bright rim, dark ground) goes in, and what comes out inside
    its outline is compared with its true heights. Clearly negative means that near and far are
    swapped; about 0 that the model sees no ball at all, and that its type alone has to do.

    Examples
    --------
    >>> class Dark:
    ...     name = digest = ""
    ...     def estimate(self, image, window=None):
    ...         return -image.grey
    >>> orientation_score(Dark()) > 0.9
    True
    """
    y, x = np.mgrid[:side, :side] - (side - 1) / 2
    up = np.sqrt(np.maximum(1 - (x**2 + y**2) / (0.36 * side) ** 2, 0))
    grey = np.where(up > 0, 70 + 170 * (1 - up) ** 1.5, 30 + 10 * np.sin(x / 9) * np.sin(y / 7))
    found = estimator.estimate(Image(grey.astype(np.uint8), name="orientation check"))
    if found.shape != (side, side):
        raise ModelError(f"{estimator.name!r} answers {found.shape} for {(side, side)} pixels.")
    seen, truth = np.asarray(found, float)[up > 0], up[up > 0]
    return float(np.corrcoef(seen, truth)[0, 1]) if seen.std() > 0 else 0.0
