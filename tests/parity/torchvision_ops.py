"""Let PyPI's torchvision be imported beside a CPU build of torch.

Its compiled operators do not load there, and importing it then fails because the schemas are
missing. They are declared here; only `nms` gets an implementation, since nothing else is used by
segment-anything or by the mask-generation pipeline of transformers. Call `register` before
torchvision is imported for the first time. Nothing happens where the compiled operators load.
"""

from __future__ import annotations

import importlib.machinery
import importlib.util
from pathlib import Path

import torch

_BOXES = "Tensor input, Tensor rois, float spatial_scale, SymInt pooled_height, SymInt pooled_width"
_BACK = (
    "Tensor grad, Tensor rois, {extra}float spatial_scale, SymInt pooled_height, "
    "SymInt pooled_width, {more}SymInt batch_size, SymInt channels, SymInt height, SymInt width"
)
_DEFORM = (
    "Tensor weight, Tensor offset, Tensor mask, Tensor bias, SymInt stride_h, SymInt stride_w, "
    "SymInt pad_h, SymInt pad_w, SymInt dilation_h, SymInt dilation_w, SymInt groups, "
    "SymInt offset_groups, bool use_mask"
)
_SCHEMAS = [
    "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    f"roi_align({_BOXES}, int sampling_ratio, bool aligned) -> Tensor",
    f"roi_pool({_BOXES}) -> (Tensor, Tensor)",
    f"ps_roi_align({_BOXES}, int sampling_ratio) -> (Tensor, Tensor)",
    f"ps_roi_pool({_BOXES}) -> (Tensor, Tensor)",
    "_roi_align_backward("
    + _BACK.format(extra="", more="").replace("width)", "width")
    + ", int sampling_ratio, bool aligned) -> Tensor",
    "_roi_pool_backward(" + _BACK.format(extra="Tensor argmax, ", more="") + ") -> Tensor",
    "_ps_roi_align_backward("
    + _BACK.format(extra="Tensor channel_mapping, ", more="int sampling_ratio, ")
    + ") -> Tensor",
    "_ps_roi_pool_backward("
    + _BACK.format(extra="Tensor channel_mapping, ", more="")
    + ") -> Tensor",
    f"deform_conv2d(Tensor input, {_DEFORM}) -> Tensor",
    f"_deform_conv2d_backward(Tensor grad, Tensor input, {_DEFORM}) "
    "-> (Tensor, Tensor, Tensor, Tensor, Tensor)",
    "_cuda_version() -> int",
]
_HELD: list[torch.library.Library] = []  # a library is gone when it is collected


def nms(dets: torch.Tensor, scores: torch.Tensor, iou_threshold: float) -> torch.Tensor:
    """Greedy suppression as torchvision's CPU kernel does it: float32, stable, one by one."""
    x0, y0, x1, y1 = dets.unbind(1)
    areas = (x1 - x0) * (y1 - y0)
    order = scores.sort(stable=True, dim=0, descending=True)[1].tolist()
    zero = torch.zeros((), dtype=dets.dtype)
    gone, kept = set(), []
    for place, i in enumerate(order):
        if i in gone:
            continue
        kept.append(i)
        rest = torch.tensor(order[place + 1 :], dtype=torch.int64)
        if not len(rest):
            break
        wide = torch.maximum(zero, torch.minimum(x1[i], x1[rest]) - torch.maximum(x0[i], x0[rest]))
        high = torch.maximum(zero, torch.minimum(y1[i], y1[rest]) - torch.maximum(y0[i], y0[rest]))
        both = wide * high
        overlap = both / (areas[i] + areas[rest] - both)
        gone.update(rest[overlap > iou_threshold].tolist())
    return torch.tensor(kept, dtype=torch.int64)


def _compiled_loads() -> bool:
    spec = importlib.util.find_spec("torchvision")
    if spec is None or spec.origin is None:
        return False
    for suffix in importlib.machinery.EXTENSION_SUFFIXES:
        library = Path(spec.origin).parent / f"_C{suffix}"
        if library.is_file():
            try:
                torch.ops.load_library(library)
            except OSError:
                continue
            return True
    return False


def register() -> None:
    """Declare torchvision's operators unless its own can be loaded."""
    if _HELD or _compiled_loads():
        return
    library = torch.library.Library("torchvision", "DEF")
    for schema in _SCHEMAS:
        library.define(schema)
    library.impl("nms", nms, "CPU")
    _HELD.append(library)
    import torchvision.extension

    torchvision.extension._has_ops = lambda: True
