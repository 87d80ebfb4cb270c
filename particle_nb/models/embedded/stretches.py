"""Undivided stretches of foreground: how far a particle goes that was seen in part only."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from particle_nb.models.embedded.regions import FEATURES, MASK, resample_masks, sample_rois
from particle_nb.models.embedded.views import Decoded, View, fitting

#: Cells that a boundary takes on either side of a stretch.
RIM = 2


def stretches(view: View, strength: float) -> tuple[np.ndarray, np.ndarray]:
    """Numbered parts, int (h, w), of the foreground, bool (h, w), of a view without its padding:
    what hangs together without a boundary of this probability across, less its rim."""
    height, width = (view.size[0] + 1) // 2, (view.size[1] + 1) // 2
    dense = view.maps[0, FEATURES : FEATURES + 2, :height, :width].cpu().numpy()
    solid = dense[0] > 0.0
    parts, _ = ndimage.label(solid & (dense[1] < math.log(strength / (1.0 - strength))))
    return parts, solid


def stretch_box(view: View, spot: Tensor, strength: float) -> Tensor | None:
    """Box (4,) in image pixels around the stretch under a spot (2,); None where there is none."""
    parts, solid = stretches(view, strength)
    column, row = ((view.into(spot) + 0.5) / 2.0).long().tolist()
    if not (0 <= row < parts.shape[0] and 0 <= column < parts.shape[1]) or not parts[row, column]:
        return None
    here = parts == parts[row, column]
    rows, columns = np.flatnonzero(here.any(1)), np.flatnonzero(here.any(0))
    top, left = max(rows[0] - RIM, 0), max(columns[0] - RIM, 0)
    window = slice(top, rows[-1] + RIM + 1), slice(left, columns[-1] + RIM + 1)
    whole = ndimage.binary_dilation(here[window], iterations=RIM) & solid[window]
    rows, columns = np.flatnonzero(whole.any(1)), np.flatnonzero(whole.any(0))
    low = spot.new_tensor([left + columns[0], top + rows[0]])
    high = spot.new_tensor([left + columns[-1] + 1, top + rows[-1] + 1])
    return torch.cat([view.out(2.0 * low - 0.5), view.out(2.0 * high - 0.5)])


def seam(views: Sequence[View], whole: Decoded, part: Decoded) -> float:
    """Mean boundary probability within one mask along the outline of another one, both of one."""
    extent = float(whole.rois[0, 2:].max())
    view = views[fitting(views, extent)]
    inner = torch.cat([view.into(whole.rois[:, :2]), whole.rois[:, 2:] * view.scale], 1)
    boundary = view.maps[:, FEATURES + 1 : FEATURES + 2]
    boundary = torch.sigmoid(sample_rois(boundary, inner[None], MASK, view.frame))[0, 0]
    large = (whole.logits > 0).float()[:, None]
    small = (resample_masks((part.logits > 0).float(), part.rois, whole.rois) > 0.5).float()[
        :, None
    ]
    # its ends lie on the outline of the whole, where there is a boundary whatever divides the two
    inside = F.max_pool2d(1.0 - F.pad(large, (3, 3, 3, 3)), 7, 1) < 0.5
    strip = (F.max_pool2d(small, 5, 1, 2) > -F.max_pool2d(-small, 5, 1, 2)) & inside
    return float(boundary[strip[0, 0]].mean()) if bool(strip.any()) else 0.0
