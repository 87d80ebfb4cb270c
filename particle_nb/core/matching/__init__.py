"""A segmentation against the truth: pairs, overlaps and scores."""

from particle_nb.core.matching.pairs import IouCalibration, Matching, best_iou, calibration, match
from particle_nb.core.matching.scores import IOU_THRESHOLDS, SegmentationScores, pool, score

__all__ = [
    "IOU_THRESHOLDS",
    "IouCalibration",
    "Matching",
    "SegmentationScores",
    "best_iou",
    "calibration",
    "match",
    "pool",
    "score",
]
