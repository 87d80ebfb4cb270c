"""Quick scores during training: boxes and clicks on particles of held-back images."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from particle_nb.models.embedded.inference import refine
from particle_nb.models.embedded.network import STRIDE, PromptableNetwork
from particle_nb.models.embedded.regions import box_rois
from particle_nb.models.embedded.views import Decoded, View, decode
from particle_nb.models.tuning.crops import TrainingScene
from particle_nb.models.tuning.losses import RoiTruth, roi_truth, true_iou
from particle_nb.models.tuning.prompts import BANK


def quick_scores(
    network: PromptableNetwork, scenes: list[TrainingScene], most: int = 10
) -> dict[str, float]:
    """Mean over images of the mean IoU of jittered boxes and of clicks (first, best of 3).

    It looks at one view only, so `evaluate` gives better numbers; these are for the log.
    """
    rng = np.random.default_rng(5)
    rows, pairs = [], []
    with torch.inference_mode():
        for scene in scenes:
            found = _score(network, scene, most, rng)
            if found is not None:
                rows.append(found[0])
                pairs.append(found[1])
    table = np.array(rows).mean(0)
    predicted, real = np.concatenate(pairs, 1).mean(1)
    names = ("box", "click", "click_best", "predicted", "real")
    values = (*table, predicted, real)
    scores = {name: round(float(v), 4) for name, v in zip(names, values, strict=True)}
    return scores | {"images": len(rows)}


def _score(
    network: PromptableNetwork, scene: TrainingScene, most: int, rng: np.random.Generator
) -> tuple[list[float], np.ndarray] | None:
    planes = scene.planes
    height, width = planes.shape[1:]
    pad = (0, -width % STRIDE, 0, -height % STRIDE)
    image = F.pad(planes[None, :1], pad, mode="replicate")
    labels = F.pad(planes[1], pad).round().long()[None]
    host, centre = labels[0].cpu().numpy(), F.pad(planes[2], pad).cpu().numpy()
    areas = np.bincount(host.ravel())
    able = np.flatnonzero(areas[1:] >= 30) + 1
    if not len(able):
        return None
    chosen = rng.choice(able, min(most, len(able)), replace=False)
    view = View(image, network.encode(image).float(), (height, width))
    spots, boxes = [], []
    for label in chosen:
        rows, columns = np.nonzero(host == label)
        best = np.argmax(centre[rows, columns])
        spots.append((columns[best], rows[best], 1.0))
        box = np.array(
            [columns.min() - 0.5, rows.min() - 0.5, columns.max() + 0.5, rows.max() + 0.5]
        )
        boxes.append(box + rng.uniform(-0.1, 0.1, 4) * np.tile(box[2:] - box[:2], 2))
    points = torch.tensor(np.array(spots, np.float32), device=image.device)[:, None]
    box_ = torch.tensor(np.array(boxes, np.float32), device=image.device)
    target = torch.tensor(chosen, device=image.device)
    area = torch.tensor(areas[chosen].astype(np.float32), device=image.device)

    def iou(decoded: Decoded) -> Tensor:
        truth: RoiTruth = roi_truth(labels, decoded.rois[None], target[None], area[None])
        return true_iou(decoded.logits, decoded.rois, truth)

    boxed = decode(network, view, box_rois(box_), torch.full_like(points, -1.0), box_)
    tried = [view.guess(points[:, 0, :2])]
    for side in BANK:
        extent = points.new_full((len(points), 2), side)
        tried.append(torch.cat([points[:, 0, :2], extent], 1))
    first = [decode(network, view, rois, points) for rois in tried]
    top = torch.stack([d.score for d in first]).topk(3, 0).indices
    every = torch.arange(len(chosen), device=image.device)
    ious, scores = [], []
    for pick in top:
        old = Decoded(
            torch.stack([d.logits for d in first])[pick, every],
            torch.stack([d.rois for d in first])[pick, every],
            torch.stack([d.score for d in first])[pick, every],
        )
        new = refine(network, [view], old, points)
        ious.append(iou(new))
        scores.append(new.score)
    real, predicted = torch.stack(ious), torch.stack(scores)
    click = real[predicted.argmax(0), every]
    box_iou = iou(boxed)
    row = [float(v.mean()) for v in (box_iou, click, real.amax(0))]
    pair = torch.stack([torch.cat([boxed.score, predicted.amax(0)]), torch.cat([box_iou, click])])
    return row, pair.cpu().numpy()
