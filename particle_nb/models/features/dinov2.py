"""Features from a vision transformer (DINOv2, ViT) of transformers: of particles and of pixels."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import torch
from PIL import Image as Pillow

from particle_nb.core.errors import DataError, ModelError
from particle_nb.core.image import Image
from particle_nb.core.masks import Mask, MaskSet
from particle_nb.core.phases import DenseFeatures
from particle_nb.models import weights as model_weights
from particle_nb.models.features.maps import edge_plane, padded, standard_grey
from particle_nb.models.features.views import projection, view_averaged
from particle_nb.models.pixels import to_rgb
from particle_nb.models.tiles import particle_window
from particle_nb.models.weights import find_folder, normalisation, read_json, read_model

#: Types whose output is one token per patch behind the class (and register) tokens.
KINDS = ("dinov2", "dinov2_with_registers", "vit", "deit")
#: Types that take crops of one size only.
_FIXED = ("vit", "deit")
#: Numbers a pixel that maps are brought down to.
_MAP_WIDTH = 96
#: Side in pixels that a particle's crop is brought to, rounded down to whole patches.
SIDE = 224
_BATCH = 16


class PatchFeatures:
    """A DINOv2 model behind the `FeatureExtractor` protocol.

    Each particle is seen in a square crop of its own with a little of its surroundings; the
    vector is the mean of the patch tokens, each weighted by how much of its patch is particle.
    So it tells texture and shape, not size: a particle's size is in the table of `measure`.

    Attributes
    ----------
    name, digest : str
        Source and digest of the weights.
    licence : str
        That of the published weights.
    side : int
        Side of the model's input in pixels.
    """

    licence = "Apache-2.0"

    def __init__(
        self, model: Any, name: str, digest: str, side: int, norm: tuple[Any, Any]
    ) -> None:
        self.model, self.name, self.digest, self.side = model, name, digest, side
        self.mean, self.std = (np.asarray(v, np.float32) for v in norm)
        self.device = next(model.parameters()).device

    @property
    def width(self) -> int:
        """Length D of a vector."""
        return int(self.model.config.hidden_size)

    @property
    def names(self) -> tuple[str, ...]:
        """Name of every column."""
        return tuple(f"dinov2.{i}" for i in range(self.width))

    def extract(self, image: Image, masks: MaskSet) -> np.ndarray:
        """Return one vector per mask, float32 (N, D).

        Raises
        ------
        DataError
            If the masks are of another frame.
        ModelError
            If the model puts out NaN.
        """
        if not isinstance(masks, MaskSet) or masks.shape != image.shape:
            raise DataError(f"the masks must be a MaskSet on the image's frame {image.shape}.")
        rgb = to_rgb(image)
        rows = np.zeros((len(masks), self.width), np.float32)
        for start in range(0, len(masks), _BATCH):
            part = [masks[i] for i in range(start, min(start + _BATCH, len(masks)))]
            views = [self._view(rgb, mask) for mask in part]
            pixels = torch.from_numpy(np.stack([pixels for pixels, _ in views]))
            weights = torch.from_numpy(np.stack([weights for _, weights in views]))
            with torch.inference_mode():
                tokens = self.model(pixel_values=pixels.to(self.device)).last_hidden_state
                tokens = tokens[:, -weights.shape[1] :].float()
                means = (tokens * weights[..., None].to(tokens.device)).sum(1)
            rows[start : start + len(part)] = means.cpu().numpy()
        if not np.isfinite(rows).all():
            raise ModelError(f"{self.name!r} puts out NaN or infinite features; weights damaged?")
        return rows

    def maps(self, image: Image) -> DenseFeatures:
        """Return the model's answer at every pixel, without its trace of the position.

        Averaged over shifted and mirrored windows, and brought to the edges of the image; of wide
        models a fixed random projection to 96 numbers. A window is `side` pixels of the image.

        Raises
        ------
        ModelError
            If the model puts out NaN.
        """
        patch = int(self.model.config.patch_size)
        rgb = to_rgb(image).astype(np.float32) / 255
        picture = ((rgb - self.mean) / self.std).transpose(2, 0, 1).astype(np.float32)
        found = view_averaged(picture, patch, self.side, self._tokens)
        if not np.isfinite(found).all():
            raise ModelError(f"{self.name!r} puts out NaN or infinite features; weights damaged?")
        found = found @ projection(self.width, _MAP_WIDTH)
        grey = standard_grey(image)
        maps = torch.from_numpy(np.ascontiguousarray(found.transpose(2, 0, 1)))[None]
        whole = padded(torch.from_numpy(grey)[None, None], patch)
        names = [f"vit.{i}" for i in range(found.shape[2])]
        plane = edge_plane(maps, whole, names, float(patch))
        origin = f"{self.name} {self.digest}, maps 1"
        return DenseFeatures((plane,), image.shape, grey, (origin,), self.licence)

    def _tokens(self, views: torch.Tensor) -> torch.Tensor:
        """Answers (B, n, n, C) for the patches of windows (B, 3, side, side)."""
        across = self.side // int(self.model.config.patch_size)
        with torch.inference_mode():
            tokens = self.model(pixel_values=views.to(self.device)).last_hidden_state
        return tokens[:, -across * across :].reshape(len(views), across, across, -1)

    def _view(self, rgb: np.ndarray, mask: Mask) -> tuple[np.ndarray, np.ndarray]:
        """The crop as the model wants it, (3, side, side), and the patches' weights (P,)."""
        x0, y0, x1, y1 = particle_window(mask, 0.15)
        size = (self.side, self.side)
        crop = Pillow.fromarray(np.ascontiguousarray(rgb[y0:y1, x0:x1]))
        unit = np.asarray(crop.resize(size, Pillow.Resampling.BICUBIC), np.float32) / 255
        pixels = np.ascontiguousarray(((unit - self.mean) / self.std).transpose(2, 0, 1))
        inside = np.zeros((y1 - y0, x1 - x0), np.float32)
        r0, c0, r1, c1 = mask.bbox
        inside[r0 - y0 : r1 - y0, c0 - x0 : c1 - x0] = mask.crop
        patches = self.side // int(self.model.config.patch_size)
        shares = Pillow.fromarray(inside).resize((patches, patches), Pillow.Resampling.BOX)
        weights = np.asarray(shares, np.float32).ravel()
        total = float(weights.sum())
        if total <= 0:
            raise DataError(f"the particle at {mask.bbox} has no pixels; remove it from the masks.")
        return pixels, weights / total

    def __repr__(self) -> str:
        return f"<PatchFeatures {self.name!r}, {self.width} numbers a particle, {self.device}>"


def load(source: str, device: str = "auto") -> PatchFeatures:
    """Load a DINOv2 model by hub id or folder.

    Parameters
    ----------
    source : str
        A folder with ``config.json`` and ``*.safetensors``, or a hub id in the local cache, e.g.
        ``facebook/dinov2-base``. Nothing is downloaded unless the environment says
        ``PARTICLE_NB_DOWNLOAD=1``.
    device : str
        ``"auto"``, ``"cpu"``, ``"cuda"`` or ``"mps"``.

    Raises
    ------
    ModelError
        If it is not there, no DINOv2 model, or damaged.

    Examples
    --------
    >>> load("no/such-feature-model")
    Traceback (most recent call last):
    ...
    particle_nb.core.errors.ModelError: ...
    """
    from transformers import AutoModel

    folder = find_folder(source, "feature model", "facebook/dinov2-base")
    target = model_weights.pick_device(device)
    config = read_json(folder / "config.json", source)
    kind = str(config.get("model_type"))
    if kind not in KINDS:
        raise ModelError(f"{source!r} is a {kind!r} model; feature models are {', '.join(KINDS)}.")
    # some files leave out the head that nothing here asks for
    unused = re.compile(r"^pooler\.")
    model, digest = read_model(folder, source, AutoModel, "feature model", unused)
    saved = folder / "preprocessor_config.json"
    given = read_json(saved, source) if saved.is_file() else {}
    patch = int(model.config.patch_size)
    side = max(patch, SIDE // patch * patch)
    if kind in _FIXED:
        side = int(model.config.image_size)
    return PatchFeatures(model.to(target).eval(), source, digest, side, normalisation(given, saved))
