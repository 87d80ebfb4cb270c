"""The embedded depth model: a small network that this project trained on rendered particles.

It looks at squares of `SIDE` pixels. A particle's window (`models.tiles`) is one square,
shrunk or enlarged; larger pictures are cut into overlapping tiles. Heights come out in pixels of
the picture, so that a slope of 1 means 45 degrees.
"""

from __future__ import annotations

import json
import math
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch

from particle_nb.core.errors import ImageError, ModelError
from particle_nb.core.image import Image
from particle_nb.core.image.window import checked_window
from particle_nb.core.surface import DepthErrors
from particle_nb.models.embedded.depth_network import (
    DepthNetwork,
    DepthNetworkSettings,
    predict_square,
)
from particle_nb.models.protocols import Window
from particle_nb.models.tiles import DepthSettings, estimate_tiled
from particle_nb.models.weights import pick_device, read_weights, weights_digest

NAME = "pnb-depth-1"

WEIGHTS = Path(__file__).with_name("depth.safetensors")

#: What the model makes of spheres of known roughness (training.depth.roughness_error).
ERRORS = Path(__file__).with_name("depth_errors.json")
SIDE = 256  # pixels of the network's input, as trained

LARGEST = 640  # windows up to this are looked at as one square

TILE = 384  # image pixels of a tile of anything larger

_SMALLEST = 16

_BATCH = 4


class EmbeddedDepth:
    """The package's own depth model behind the `DepthEstimator` protocol.

    Attributes
    ----------
    name, digest : str
        Name and digest of the weights.
    device : torch.device
    settings : DepthSettings
        Tiles; `orientation` plays no part, larger is nearer.
    side : int
        Pixels of the network's input.
    roughness_floor : float or None
        Sq that a smooth sphere seems to have (form="sphere", no filter) as a share of its radius:
        the 90th percentile over views of which most were kept out of training.
    roughness_errors : DepthErrors or None
        How far Sq is from the truth on rendered spheres, by size and roughness; None for weights
        that it was not measured for.
    """

    def __init__(
        self,
        network: DepthNetwork,
        name: str,
        digest: str,
        device: torch.device,
        roughness_floor: float | None = None,
    ) -> None:
        self.network, self.name, self.digest, self.device = network, name, digest, device
        self.roughness_floor = roughness_floor
        self.settings = DepthSettings()
        self.side = SIDE

    @cached_property
    def roughness_errors(self) -> DepthErrors | None:
        """Errors of Sq as measured for these weights (`ERRORS`), None for others."""
        try:
            found = json.loads(ERRORS.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return None
        if found["weights"] != self.digest:
            return None
        rows = tuple((r["diameter_px"], r["estimate"], r["rms_error"]) for r in found["rows"])
        return DepthErrors(rows, found["source"])

    def estimate(self, image: Image, window: Window | None = None) -> np.ndarray:
        """Return heights of the window in pixels of the image, float32 (h, w), larger is nearer.

        Heights have no common zero: what lies higher than what in different particles, and how
        far above the ground a particle begins, is a guess.

        Parameters
        ----------
        image : Image
        window : (x0, y0, x1, y1) or None
            Pixels, ends exclusive; None is the whole image.

        Raises
        ------
        ImageError
            If the window does not lie within the image, or is narrower than 16 pixels.

        Examples
        --------
        >>> model = load(device="cpu")
        >>> model.estimate(Image(np.eye(64))).shape
        (64, 64)
        """
        if not isinstance(image, Image):
            raise ImageError(f"expected a particle_nb.Image, not {type(image).__name__}.")
        x0, y0, x1, y1 = checked_window(window, image.shape)
        width, height = x1 - x0, y1 - y0
        if min(width, height) < _SMALLEST:
            raise ImageError(
                f"a window of {width} x {height} px shows too little for a depth model; "
                f"it takes {_SMALLEST} px and more on both sides."
            )
        grey = image.grey[y0:y1, x0:x1]
        settings = self.settings
        if settings.tile is None and max(width, height) > LARGEST:
            settings = DepthSettings(TILE, settings.overlap, settings.orientation)
        return estimate_tiled(grey, self._squares, settings)

    def _squares(self, squares: list[np.ndarray]) -> list[np.ndarray]:
        """Heights of square grey pictures, each in its own pixels."""
        found: list[np.ndarray] = []
        for start in range(0, len(squares), _BATCH):
            part = np.stack(squares[start : start + _BATCH])
            with torch.inference_mode():
                grey = torch.from_numpy(part).to(self.device)
                found.extend(predict_square(self.network, grey, self.side).cpu().numpy())
        return found

    def __repr__(self) -> str:
        return f"<EmbeddedDepth {self.name!r} at {self.side} px, {self.device}>"


def load(source: str = "", device: str = "auto") -> EmbeddedDepth:
    """Load the depth model that comes with the package, or another weights file of its kind.

    Parameters
    ----------
    source : str
        Path of a .safetensors file; empty for the one of the package.
    device : str
        ``"auto"``, ``"cpu"``, ``"cuda"`` or ``"mps"``.

    Raises
    ------
    ModelError
        If the weights are missing or of another network, or the device is not there.

    Examples
    --------
    >>> load(device="cpu").name
    'pnb-depth-1'
    """
    where = pick_device(device)
    path, stored, metadata = read_weights(source, WEIGHTS, "depth.train")
    try:
        settings: dict[str, Any] = json.loads(metadata["settings"])
        network = DepthNetwork(
            DepthNetworkSettings(**{key: tuple(value) for key, value in settings.items()})
        )
        network.load_state_dict({key: value.float() for key, value in stored.items()})
        floor = float(metadata.get("roughness_floor") or math.nan)
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        raise ModelError(f"{path} holds no weights of this network: {error}") from None
    network.to(where).eval().requires_grad_(False)
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return EmbeddedDepth(
        network,
        metadata.get("name", "pnb-depth"),
        weights_digest(stored),
        where,
        floor if math.isfinite(floor) else None,
    )
