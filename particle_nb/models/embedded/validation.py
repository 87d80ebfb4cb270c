"""Quick scores during training: boxes and clicks on particles of held-back images."""

from __future__ import annotations

import numpy as np
import torch
from torch.nn import functional as F  # noqa: N812

from particle_nb.models.embedded.network import (
    MASK,
    STRIDE,
    PromptableNetwork,
    RoiPrompts,
    box_rois,
    mask_boxes,
    point_boxes,
    resample_masks,
)
from particle_nb.models.embedded.training_data import Scene
from particle_nb.models.embedded.training_losses import roi_truth, true_iou
from particle_nb.models.embedded.training_prompts import BANK


def quick_scores(
    network: PromptableNetwork, scenes: list[Scene], most: int = 10
) -> dict[str, float]:
    """Mean over images of the mean IoU of jittered boxes and of middle clicks (first, best of 3)."""
    rng = np.random.default_rng(5)
    rows = []
    pairs = []
    with torch.inference_mode():
        for scene in scenes:
            planes = scene.planes.float()
            height, width = planes.shape[1:]
            pad = (0, -width % STRIDE, 0, -height % STRIDE)
            image = F.pad(planes[None, :1], pad, mode="replicate")
            size = (image.shape[2], image.shape[3])
            labels = F.pad(planes[1], pad).round().long()[None]
            host, centre = labels[0].cpu().numpy(), F.pad(planes[2], pad).cpu().numpy()
            areas = np.bincount(host.ravel())
            able = np.flatnonzero(areas[1:] >= 30) + 1
            if not len(able):
                continue
            chosen = rng.choice(able, min(most, len(able)), replace=False)
            maps = network.encode(image).float()
            spots, boxes = [], []
            for label in chosen:
                rows_, columns = np.nonzero(host == label)
                best = np.argmax(centre[rows_, columns])
                spots.append((columns[best], rows_[best], 1.0))
                box = np.array([columns.min(), rows_.min(), columns.max(), rows_.max()]) + [
                    -0.5,
                    -0.5,
                    0.5,
                    0.5,
                ]
                boxes.append(box + rng.uniform(-0.1, 0.1, 4) * np.tile(box[2:] - box[:2], 2))
            count = len(chosen)
            points = torch.tensor(np.array(spots, np.float32)).reshape(count, 1, 3)
            box = torch.tensor(np.array(boxes, np.float32))
            none = torch.full((1, count, 4), float("nan"))
            target = torch.tensor(chosen)
            area = torch.tensor(areas[chosen].astype(np.float32))

            def iou(logits: torch.Tensor, rois: torch.Tensor, which: torch.Tensor) -> torch.Tensor:
                truth = roi_truth(labels, rois[None], target[which][None], area[which][None])
                return true_iou(logits, rois, truth)

            rois = box_rois(box)
            unused = torch.full((1, count, 1, 3), -1.0)
            logits, score = network.decode(maps, image, rois[None], RoiPrompts(unused, box[None]))
            everyone = torch.arange(count)
            box_iou = iou(logits[0], rois, everyone)
            pairs.append((torch.sigmoid(score[0]), box_iou))

            scores, all_logits, all_rois = [], [], []
            guess = box_rois(point_boxes(maps, points[None, :, 0, :2], size)[0]).clamp(max=600.0)
            sides = torch.tensor(BANK)
            bank = [torch.cat([points[:, 0, :2], s.expand(count, 2)], 1) for s in sides] + [guess]
            for rois in bank:
                logits, score = network.decode(
                    maps, image, rois[None], RoiPrompts(points[None], none)
                )
                scores.append(score[0])
                all_logits.append(logits[0])
                all_rois.append(rois)
            top = torch.stack(scores).topk(3, 0).indices
            ious, finals = [], []
            for rank in range(3):
                pick = top[rank]
                old = torch.stack(all_logits)[pick, everyone]
                old_rois = torch.stack(all_rois)[pick, everyone]
                rois = box_rois(mask_boxes(old > 0, old_rois))
                before = resample_masks(torch.sigmoid(old), old_rois, rois)
                prompts = RoiPrompts(points[None], none, before[None], torch.ones(1, count))
                logits, score = network.decode(maps, image, rois[None], prompts)
                ious.append(iou(logits[0], rois, everyone))
                finals.append(torch.sigmoid(score[0]))
            stacked, final = torch.stack(ious), torch.stack(finals)
            first = stacked[final.argmax(0), everyone]
            pairs.append((final.amax(0), first))
            rows.append((float(box_iou.mean()), float(first.mean()), float(stacked.amax(0).mean())))
    predicted = torch.cat([p for p, _ in pairs])
    real = torch.cat([r for _, r in pairs])
    table = np.array(rows)
    return {
        "box": round(float(table[:, 0].mean()), 4),
        "click": round(float(table[:, 1].mean()), 4),
        "click_best": round(float(table[:, 2].mean()), 4),
        "predicted": round(float(predicted.mean()), 4),
        "real": round(float(real.mean()), 4),
        "images": len(rows),
    }
